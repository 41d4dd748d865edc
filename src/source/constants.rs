//! The floating-point constants of a package as a checkpoint: each is a tensor in its blob file, or
//! codes there that are decoded when they are wanted.

use super::derived::Derived;
use super::{Package, Source, SourceFile, SourceTensor, Terms};
use crate::formats::safetensors::Dtype;
use crate::graph::weight::{Bytes, Data, Operand, Storage, Weight};
use crate::graph::{DataType, Role, ValueId};
use crate::map::Map;
use crate::tensor::FloatType;
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Range;
use std::path::Path;

/// What makes two constants one: file, offset and shape, and of a compressed one where all its parts
/// stand.
type Key = (usize, usize, Vec<usize>, Vec<String>);

/// A constant that a package's functions share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Constant {
    /// Where it stands: function and value.
    pub places: Vec<(String, ValueId)>,
    /// What operations do with it.
    pub role: Role,
    /// Whether it is stored as codes.
    pub compressed: bool,
}

impl Source {
    /// The FP16 and FP32 constants of a package that lie in its blob files, compressed ones as what they
    /// stand for, and what is known of each. Constants of equal place and shape are one, in whatever
    /// functions they stand.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn of_package(package: &Package) -> Result<(Self, Vec<Constant>)> {
        let mut found: BTreeMap<Key, (SourceTensor, Constant)> = BTreeMap::new();
        for (name, function) in &package.program.functions {
            let mut roles = function.roles();
            for (at, value) in function.values.iter().enumerate() {
                let weight = value.constant.as_ref().and_then(|constant| constant.as_weight());
                let Some(weight) = weight else { continue };
                let Some((key, tensor)) = tensor_of(package, weight) else { continue };
                let (_, constant) = found.entry(key).or_insert_with(|| {
                    let compressed = tensor.derived.is_some();
                    (tensor, Constant { compressed, ..Constant::default() })
                });
                let id = ValueId(at);
                constant.places.push((name.clone(), id));
                constant.role.extend(roles.remove(&id).unwrap_or_default());
            }
        }
        let names = names(package, found.values().map(|(_, constant)| constant));
        let named = found.into_values().zip(names);
        let (tensors, constants) = named
            .map(|((tensor, constant), name)| (SourceTensor { name, ..tensor }, constant))
            .unzip();
        let open = |(path, _): &(_, _)| {
            let path: &std::path::PathBuf = path;
            Ok(SourceFile { path: path.clone(), map: Map::open(path)?, metadata: BTreeMap::new() })
        };
        let files = package.blobs.iter().map(open).collect::<Result<_>>()?;
        let unreadable = |source| Error::io("read", package.model.display().to_string(), source);
        let model = std::fs::read(&package.model).map_err(unreadable)?;
        let stem = package.dir.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        // Blob files go by their real paths; what they are called in the folder follows from its own.
        let dir = package.dir.canonicalize();
        let dir = dir.map_err(|e| Error::io("read", package.dir.display().to_string(), e))?;
        let mut source = Self {
            stem,
            folder: dir.parent().unwrap_or(Path::new("/")).to_owned(),
            files,
            tensors,
            by_name: HashMap::new(),
            index: Some((package.model.clone(), model)),
            config: None,
            beside: Vec::new(),
            terms: Terms::default(),
            made: Default::default(),
        };
        source.settle();
        Ok((source, constants))
    }
}

/// A constant as a tensor that still lacks its name; `None` for one of another type, or outside of all
/// blob files.
fn tensor_of(package: &Package, weight: &Weight) -> Option<(Key, SourceTensor)> {
    let (float, dtype) = match weight.storage.dtype() {
        DataType::Float16 => (FloatType::F16, Dtype::F16),
        DataType::Float32 => (FloatType::F32, Dtype::F32),
        _ => return None,
    };
    let mut operands: Vec<&Operand> = Vec::new();
    if let Storage::Sparse { mask, .. } = &weight.storage {
        operands.push(mask);
    }
    operands.extend(weight.storage.operands().into_iter().map(|(_, operand)| operand));
    let place = |operand: &&Operand| {
        let Data::Bytes(bytes) = &operand.data else { return None };
        Some((file_of(package, bytes)?, bytes.place()))
    };
    let (file, range): (usize, Range<usize>) = operands.iter().find_map(place)?;
    let (parts, derived) = match &weight.storage {
        Storage::Dense(_) => (Vec::new(), None),
        Storage::Linear { .. } | Storage::Palette { .. } | Storage::Sparse { .. } => {
            // Scales of one value stand in the model itself.
            let part = |operand: &&Operand| match (place(operand), &operand.data) {
                (Some((file, range)), _) => format!("{file} {} {:?}", range.start, operand.shape),
                (None, Data::Bytes(bytes)) => blake3::hash(bytes).to_hex().to_string(),
                (None, Data::Later(slot)) => format!("{slot:?}"),
            };
            let parts = operands.iter().map(part).collect();
            (parts, Some(Derived::decoded(weight.clone(), float)))
        }
    };
    let shape = weight.shape.clone();
    let key = (file, range.start, shape.clone(), parts);
    Some((key, SourceTensor { name: String::new(), dtype, shape, file, range, derived }))
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
