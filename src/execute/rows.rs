//! Samples as the rows of tensors.

use super::convert::{Stored, check_pixels, check_shape, convert};
use super::{draw, key};
use crate::formats::safetensors::Dtype;
use crate::graph::{Dim, Feature, Function, ValueType};
use crate::runtime::{Shapes, Tensors};
use crate::source::Source;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::Path;

#[cfg(feature = "data")]
use super::{Folder, Images, Npz, Processor};

/// Samples as they lie on a disk.
#[derive(Debug)]
pub struct RowData {
    name: String,
    hash: blake3::Hash,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    File(Box<dyn RowFile>),
    #[cfg(feature = "data")]
    Images(Folder, Processor),
}

impl RowData {
    /// Opens what holds samples by its name: a `.safetensors` or `.npz` file of named inputs, or a folder
    /// of images, which become inputs as the `preprocessor_config.json` in the folder `model` says. `None` for
    /// anything else.
    ///
    /// # Errors
    /// As [`Source::open`], [`Npz::open`], [`Folder::open`] and [`Processor::in_folder`]; [`Error::Usage`]
    /// for what this build does not read.
    pub fn open(path: &Path, model: &Path) -> Result<Option<Self>> {
        let ending = path.extension().and_then(|ending| ending.to_str());
        let (hash, kind) = match ending {
            _ if path.is_dir() => images(path, model)?,
            Some("safetensors") => {
                let file = Source::open(path)?;
                let mut hash = blake3::Hasher::new();
                file.files().iter().for_each(|file| {
                    hash.update_rayon(file.bytes());
                });
                (hash.finalize(), Kind::File(Box::new(file)))
            }
            Some("npz") => npz(path)?,
            _ => return Ok(None),
        };
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Ok(Some(Self { name, hash, kind }))
    }

    /// The name of the file or folder.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The BLAKE3 of its bytes.
    pub fn hash(&self) -> blake3::Hash {
        self.hash
    }

    /// About so many of the images, spread over all, where they are images: those that are left out are
    /// never decoded. Of other files, all.
    #[cfg_attr(not(feature = "data"), allow(unused_variables))]
    pub fn spread(self, most: usize) -> Self {
        let kind = match self.kind {
            #[cfg(feature = "data")]
            Kind::Images(folder, processor) => Kind::Images(folder.spread(most), processor),
            file => file,
        };
        Self { kind, ..self }
    }

    /// The tensors for a function.
    ///
    /// # Errors
    /// As [`Images::new`].
    #[cfg_attr(not(feature = "data"), allow(unused_variables, clippy::unnecessary_wraps))]
    pub fn tensors<'a>(&'a self, function: &'a Function) -> Result<Box<dyn RowFile + 'a>> {
        match &self.kind {
            Kind::File(file) => Ok(Box::new(&**file)),
            #[cfg(feature = "data")]
            Kind::Images(folder, processor) => {
                Ok(Box::new(Images::new(folder, processor, function)?))
            }
        }
    }
}

#[cfg(feature = "data")]
fn images(path: &Path, model: &Path) -> Result<(blake3::Hash, Kind)> {
    let folder = Folder::open(path)?;
    let processor = Processor::in_folder(model)?;
    Ok((folder.hash()?, Kind::Images(folder, processor)))
}

#[cfg(feature = "data")]
fn npz(path: &Path) -> Result<(blake3::Hash, Kind)> {
    let file = Npz::open(path)?;
    Ok((blake3::Hasher::new().update_rayon(file.bytes()).finalize(), Kind::File(Box::new(file))))
}

#[cfg(not(feature = "data"))]
fn images(path: &Path, _: &Path) -> Result<(blake3::Hash, Kind)> {
    npz(path)
}

#[cfg(not(feature = "data"))]
fn npz(path: &Path) -> Result<(blake3::Hash, Kind)> {
    let found = "this build reads .safetensors files alone; build it with the feature `data`";
    Err(Error::Usage(format!("{}: {found}", path.display())))
}

/// A file of named tensors, each of which can be read from its first byte to its last.
pub trait RowFile: std::fmt::Debug {
    /// The file, in errors.
    fn stem(&self) -> &str;

    /// Its tensors: name, type of elements and shape.
    fn tensors(&self) -> Vec<(&str, Dtype, &[usize])>;

    /// The little-endian elements of tensor number `place` in row-major order, as many as its shape has.
    /// Reading them fails with an [`Error`] within the [`io::Error`] where there is more to say than where
    /// they lie in the file.
    ///
    /// # Errors
    /// [`Error::Input`] for a file that holds something else there than it says.
    fn read(&self, place: usize) -> Result<Box<dyn Read + '_>>;
}

impl<F: RowFile + ?Sized> RowFile for &F {
    fn stem(&self) -> &str {
        (**self).stem()
    }

    fn tensors(&self) -> Vec<(&str, Dtype, &[usize])> {
        (**self).tensors()
    }

    fn read(&self, place: usize) -> Result<Box<dyn Read + '_>> {
        (**self).read(place)
    }
}

impl RowFile for Source {
    fn stem(&self) -> &str {
        Self::stem(self)
    }

    fn tensors(&self) -> Vec<(&str, Dtype, &[usize])> {
        let tensors = Self::tensors(self).iter();
        tensors.map(|t| (t.name.as_str(), t.dtype, t.shape.as_slice())).collect()
    }

    fn read(&self, place: usize) -> Result<Box<dyn Read + '_>> {
        Ok(Box::new(self.bytes(&Self::tensors(self)[place])))
    }
}

/// Tensors `[N, ..]` of a file for the inputs `[B, ..]` of a function: `N / B` samples, `B` rows each,
/// an iterator that reads them one after the other. Where the function takes any number of rows, `B` is 1.
///
/// Names are as for `quantize run` ([`key`]), without steps and states; numbers become the declared
/// types, and an input that may be left out its default value.
pub struct Rows<'a> {
    stem: &'a str,
    function: &'a Function,
    inputs: Vec<Input<'a>>,
    samples: usize,
    done: usize,
}

/// An input and what is stored for it.
struct Input<'a> {
    name: &'a str,
    feature: &'a Feature,
    /// `None`: its default value.
    tensor: Option<Column<'a>>,
}

/// A tensor, read sample by sample.
struct Column<'a> {
    dtype: Dtype,
    /// The shape of one sample.
    shape: Vec<usize>,
    rest: Box<dyn Read + 'a>,
    sample: Vec<u8>,
}

impl<'a> Rows<'a> {
    /// Finds the tensors of each input of the function `name`.
    ///
    /// # Errors
    /// [`Error::Input`] for an input that is missing, given twice or has no rows, and for numbers of
    /// rows and shapes that do not fit.
    pub fn open(
        file: &'a dyn RowFile,
        functions: &'a BTreeMap<String, Function>,
        name: &str,
    ) -> Result<Self> {
        let function = &functions[name];
        let is_function = |word: &str| functions.contains_key(word);
        let tensors = file.tensors();
        let mut inputs = Vec::new();
        let mut samples: Option<usize> = None;
        for feature in &function.inputs {
            let value = function.value(feature.value);
            let ValueType::Tensor(ty) = &value.ty else { continue };
            let place = format!("{}, input `{}`", file.stem(), value.name);
            let wrong = |found: String, remedy: &str| Error::input(&place, found, remedy);
            let of_this = |(_, (stored, ..)): &(usize, &(&str, Dtype, &[usize]))| {
                let key = key::parse(stored, &is_function);
                key.is_some_and(|key| {
                    let here = key.function.is_none_or(|meant| meant == name);
                    here && key.name == value.name && key.step.is_none() && !key.is_state
                })
            };
            let mut found = tensors.iter().enumerate().filter(of_this);
            let input = match (found.next(), found.next()) {
                (Some(_), Some(_)) => {
                    return Err(wrong("it is given twice".into(), "leave one of them out"));
                }
                (None, _) if feature.default.is_some() => {
                    Input { name: &value.name, feature, tensor: None }
                }
                (None, _) => {
                    let remedy = "add a tensor of this name, its samples along the first axis";
                    return Err(wrong("there is no tensor for it".into(), remedy));
                }
                (Some((place_in_file, &(_, dtype, stored))), None) => {
                    let batch = match ty.dims.first() {
                        Some(Dim::Fixed(batch)) => (*batch).max(1),
                        _ => 1,
                    };
                    let rows = stored.first().copied().unwrap_or(0);
                    let count = rows / batch;
                    let others = samples.replace(count).filter(|&others| others != count);
                    if rows == 0 || rows % batch != 0 || others.is_some() {
                        let found = match others {
                            Some(n) => format!("{count} samples beside {n} of another input"),
                            None => format!("{rows} rows for samples of {batch}"),
                        };
                        return Err(wrong(found, "give as many rows for each input"));
                    }
                    let shape = [&[batch], &stored[1..]].concat();
                    check_shape(function, feature, &shape)
                        .map_err(|why| wrong(format!("it {why}"), STORE))?;
                    let rest = file.read(place_in_file)?;
                    let column = Column { dtype, shape, rest, sample: Vec::new() };
                    Input { name: &value.name, feature, tensor: Some(column) }
                }
            };
            inputs.push(input);
        }
        let (stem, samples) = (file.stem(), samples.unwrap_or(0));
        Ok(Self { stem, function, inputs, samples, done: 0 })
    }

    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.samples
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.samples == 0
    }

    /// The shapes of one sample; those of inputs that are left out follow from their types.
    pub fn shapes(&self) -> Shapes {
        let shape = |input: &Input<'_>| {
            let tensor = input.tensor.as_ref()?;
            Some((input.name.to_owned(), tensor.shape.clone()))
        };
        self.inputs.iter().filter_map(shape).collect()
    }

    /// The next sample; there is one.
    fn read(&mut self) -> Result<Tensors> {
        let (stem, function, sample) = (self.stem, self.function, self.done);
        let one = |Input { name, feature, tensor }: &mut Input<'_>| {
            let wrong = |why: String| {
                let place = format!("{stem}, input `{name}`");
                Error::input(place, format!("in sample {sample}, it {why}"), STORE)
            };
            let tensor = match tensor {
                None => draw::left_out(function, feature, None).map_err(wrong)?,
                Some(column) => {
                    column.read().map_err(|why| match why.downcast::<Error>() {
                        Ok(error) => error,
                        Err(why) => wrong(format!("cannot be read: {why}")),
                    })?;
                    let Column { dtype, shape, sample, .. } = column;
                    let stored = Stored { dtype: *dtype, shape, bytes: sample };
                    let converted = convert(stored, function, feature).map_err(wrong)?;
                    check_pixels(&converted, feature.image).map_err(wrong)?;
                    Some(converted)
                }
            };
            let tensor = tensor.ok_or_else(|| Error::bug(*name, "it has no default"))?;
            Ok(((*name).to_owned(), tensor))
        };
        self.inputs.iter_mut().map(one).collect()
    }
}

/// What would do for an input that does not fit.
const STORE: &str = "store it as what the function declares, samples along the first axis";

impl Column<'_> {
    /// Reads the next sample: memory grows with what is really there.
    fn read(&mut self) -> io::Result<()> {
        let broken = |why: &str| Err(io::Error::new(io::ErrorKind::InvalidData, why));
        let bytes = self.shape.iter().try_fold(self.dtype.bitsize() / 8, |n, &d| n.checked_mul(d));
        let Some(bytes) = bytes else { return broken("it is beyond all bounds") };
        self.sample.clear();
        match self.rest.by_ref().take(bytes as u64).read_to_end(&mut self.sample)? {
            read if read == bytes => Ok(()),
            _ => broken("it is cut off"),
        }
    }
}

impl Iterator for Rows<'_> {
    type Item = Result<Tensors>;

    fn next(&mut self) -> Option<Result<Tensors>> {
        if self.done == self.samples {
            return None;
        }
        let read = self.read();
        self.done += 1;
        Some(read)
    }
}
