//! The floating-point constants of a package as a checkpoint: each is a tensor in its blob file.

use super::{Package, Source, SourceFile, SourceTensor, Terms};
use crate::formats::safetensors::Dtype;
use crate::graph::weight::{Bytes, Data, Operand, Storage};
use crate::graph::{DataType, Role, ValueId};
use crate::map::Map;
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::path::Path;

/// File, offset and shape: what makes two constants one.
type Key = (usize, usize, Vec<usize>);

/// A constant that a package's functions share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Constant {
    /// Where it stands: function and value.
    pub places: Vec<(String, ValueId)>,
    /// What operations do with it.
    pub role: Role,
}

impl Source {
    /// The dense FP16 and FP32 constants of a package that lie in its blob files, and what is known
    /// of each. Constants of equal place and shape are one, in whatever functions they stand.
    ///
    /// # Errors
    /// [`Error::Usage`] for a package without such constants; [`Error::Io`].
    pub fn of_package(package: &Package) -> Result<(Self, Vec<Constant>)> {
        let mut found: BTreeMap<Key, (Dtype, Range<usize>, Constant)> = BTreeMap::new();
        for (name, function) in &package.program.functions {
            let mut roles = function.roles();
            for (at, value) in function.values.iter().enumerate() {
                let weight = value.constant.as_ref().and_then(|constant| constant.as_weight());
                let Some(weight) = weight else { continue };
                let Storage::Dense(Operand { dtype, data: Data::Bytes(bytes), .. }) =
                    &weight.storage
                else {
                    continue;
                };
                let dtype = match dtype {
                    DataType::Float16 => Dtype::F16,
                    DataType::Float32 => Dtype::F32,
                    _ => continue,
                };
                let Some(file) = file_of(package, bytes) else { continue };
                let (id, place) = (ValueId(at), bytes.place());
                let entry = found.entry((file, place.start, weight.shape.clone()));
                let (_, _, constant) = entry.or_insert_with(|| (dtype, place, Constant::default()));
                constant.places.push((name.clone(), id));
                constant.role.extend(roles.remove(&id).unwrap_or_default());
            }
        }
        let names = names(package, found.values().map(|(_, _, constant)| constant));
        let mut tensors = Vec::new();
        let mut constants = Vec::new();
        for (((file, _, shape), (dtype, range, constant)), name) in found.into_iter().zip(names) {
            tensors.push(SourceTensor { name, dtype, shape, file, range, derived: None });
            constants.push(constant);
        }
        if tensors.is_empty() {
            let shown = package.dir.display();
            let found = format!("{shown} holds no floating-point weight that could be compressed");
            return Err(Error::Usage(found));
        }
        let open = |(path, _): &(_, _)| {
            let path: &std::path::PathBuf = path;
            Ok(SourceFile { path: path.clone(), map: Map::open(path)?, metadata: BTreeMap::new() })
        };
        let files = package.blobs.iter().map(open).collect::<Result<_>>()?;
        let unreadable = |source| Error::io("read", package.model.display().to_string(), source);
        let model = std::fs::read(&package.model).map_err(unreadable)?;
        let by_name = tensors.iter().enumerate().map(|(i, t)| (t.name.clone(), i)).collect();
        let stem = package.dir.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let source = Self {
            stem,
            folder: package.dir.parent().unwrap_or(Path::new(".")).to_owned(),
            files,
            tensors,
            by_name,
            index: Some((package.model.clone(), model)),
            config: None,
            beside: Vec::new(),
            terms: Terms::default(),
            made: Default::default(),
        };
        Ok((source, constants))
    }
}

/// Which blob file holds these bytes.
fn file_of(package: &Package, bytes: &Bytes) -> Option<usize> {
    package.blobs.iter().position(|(_, blob)| blob.is_beside(bytes))
}

/// A name for each constant: its value's, with the function's before it where two constants share it.
fn names<'a>(package: &Package, constants: impl Iterator<Item = &'a Constant>) -> Vec<String> {
    let first: Vec<(&str, &str)> = constants
        .map(|constant| {
            let (function, id) = &constant.places[0];
            let value = package.program.functions[function].value(*id);
            (function.as_str(), value.name.as_str())
        })
        .collect();
    let mut counts: HashMap<&str, usize> = HashMap::new();
    for (_, name) in &first {
        *counts.entry(name).or_default() += 1;
    }
    let mut taken = BTreeSet::new();
    let name = |(function, name): (&str, &str)| {
        let plain = if counts[name] == 1 { name.to_owned() } else { format!("{function}/{name}") };
        let free = crate::graph::names::free(&plain, |name| taken.contains(name));
        taken.insert(free.clone());
        free
    };
    first.into_iter().map(name).collect()
}
