//! Opening a blob: nothing is believed that was not checked.

use super::header::{Entry, VERSION_KEY, WEIGHTS_KEY};
use super::{FORMAT, Part, Plane, VERSION, Weight, check};
use crate::safetensors::{self, Header, shown};
use crate::{Error, Result};
use std::collections::HashMap;

/// What would do about a file that breaks its promises.
pub(super) const REWRITE: &str = "write the blob again with `quantize --to metal`";

/// A blob whose every promise was verified: what it hands out can be sliced and decoded without
/// another thought.
///
/// It works from the file and its specification alone, element by element and by the plain
/// formulas, so that it can judge whatever wrote the file.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    file: &'a [u8],
    weights: Vec<Weight>,
    /// Every tensor of the file, in file order, gaps included.
    planes: Vec<Plane>,
    /// For each weight, where its planes stand in `planes`, in the order of their parts.
    of_weight: Vec<Vec<usize>>,
}

impl<'a> Reader<'a> {
    /// Opens the bytes of a whole file (mapped or read; at any address) and verifies:
    ///
    /// - it is a sound safetensors file: see [`Header::parse`];
    /// - its layout version is known, and the metadata lists every weight, with planes of exactly
    ///   the types and shapes that encoding and shape demand, each claimed once;
    /// - data and file end on pages; planes of 64 KiB or more come first, in the order of the
    ///   weights, each on a page; smaller ones follow in one run at 256-byte offsets;
    /// - every gap is one `__pad.N` tensor of zeros, no longer than alignment asks for;
    /// - padding lanes and the unused bits of bit streams are zero, codes of less than 8 bits stay
    ///   in their range, and scales and table entries are finite.
    ///
    /// # Errors
    /// [`Error::Malformed`] at the first broken promise; [`Error::Unsupported`] for a version from
    /// the future.
    pub fn open(file: &'a [u8]) -> Result<Self> {
        let header = Header::parse(file)?;
        let entries = entries(&header)?;
        let (weights, planes) = claim(header, entries)?;
        let mut of_weight = vec![Vec::new(); weights.len()];
        for (index, plane) in planes.iter().enumerate() {
            if let Some((weight, _)) = plane.holds {
                of_weight[weight].push(index);
            }
        }
        for list in &mut of_weight {
            list.sort_unstable_by_key(|&index| planes[index].holds);
        }
        let reader = Self { file, weights, planes, of_weight };
        check::placement(&reader.planes, file.len() as u64)?;
        check::contents(&reader)?;
        Ok(reader)
    }

    /// The weights, in the order of the file's metadata.
    pub fn weights(&self) -> &[Weight] {
        &self.weights
    }

    /// The number of the weight of this name.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.weights.iter().position(|weight| weight.name == name)
    }

    /// Every tensor of the file in file order, gaps included.
    pub fn planes(&self) -> &[Plane] {
        &self.planes
    }

    /// The planes of weight number `weight`, in the order of their parts.
    pub fn planes_of(&self, weight: usize) -> impl Iterator<Item = &Plane> {
        self.of_weight[weight].iter().map(|&index| &self.planes[index])
    }

    /// The bytes of a plane of this reader, as they stand in the file.
    pub fn bytes(&self, plane: &Plane) -> &'a [u8] {
        // In range: the header was checked to cover the file exactly.
        &self.file[plane.offset as usize..(plane.offset + plane.len) as usize]
    }

    /// The bytes of a part of weight number `weight`, if its encoding has that part.
    pub fn part(&self, weight: usize, part: Part) -> Option<&'a [u8]> {
        self.planes_of(weight).find(|p| p.holds == Some((weight, part))).map(|p| self.bytes(p))
    }
}

/// What the metadata says of all weights.
fn entries(header: &Header) -> Result<Vec<Entry>> {
    let missing = |key: &str| {
        let found = format!("there is no `{key}`: this is a safetensors file, but no Metal blob");
        malformed("`__metadata__`", found, "give a weights.safetensors that quantize wrote")
    };
    let version = header.metadata.get(VERSION_KEY).ok_or_else(|| missing(VERSION_KEY))?;
    if version != VERSION {
        return Err(Error::Unsupported {
            place: format!("Metal blob, `{VERSION_KEY}`"),
            found: format!("layout version {}", shown(version)),
            can: format!("this program reads version {VERSION}: use a newer one"),
        });
    }
    let json = header.metadata.get(WEIGHTS_KEY).ok_or_else(|| missing(WEIGHTS_KEY))?;
    serde_json::from_str(json)
        .map_err(|error| malformed(format!("`{WEIGHTS_KEY}`"), shown(&error.to_string()), REWRITE))
}

/// Gives every tensor of the header to the weight that claims it, with the type and shape that the
/// weight's encoding demands; what nobody claims is a gap.
fn claim(header: Header, entries: Vec<Entry>) -> Result<(Vec<Weight>, Vec<Plane>)> {
    let Header { tensors, data_start, .. } = header;
    let names: HashMap<String, usize> =
        tensors.iter().enumerate().map(|(i, tensor)| (tensor.name.clone(), i)).collect();
    let place = |t: safetensors::Entry| Plane {
        name: t.name,
        holds: None,
        dtype: t.dtype,
        shape: t.shape,
        // The sum stays below the file's length.
        offset: data_start + t.data_offsets.start,
        len: t.data_offsets.end - t.data_offsets.start,
    };
    let mut planes: Vec<Plane> = tensors.into_iter().map(place).collect();

    let mut weights = Vec::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let Entry { name, shape, encoding, planes: mut claimed } = entry;
        let fault = |found: String| malformed(weight(&name), found, REWRITE);
        for want in encoding.planes(&shape).map_err(fault)? {
            let part = want.part;
            let Some(tensor) = claimed.remove(&part) else {
                return Err(fault(format!("its {part} have no tensor")));
            };
            if part.suffix().is_empty() && tensor != name {
                return Err(fault(format!("its {part} are in `{}`", shown(&tensor))));
            }
            let Some(&at) = names.get(&tensor) else {
                return Err(fault(format!("its {part}, `{}`, are not there", shown(&tensor))));
            };
            let plane = &mut planes[at];
            if plane.holds.is_some() {
                return Err(fault(format!("`{}` is claimed twice", shown(&tensor))));
            }
            if (plane.dtype, &plane.shape) != (want.dtype, &want.shape) {
                return Err(fault(format!(
                    "its {part} are {} {}, not {} {}",
                    plane.dtype,
                    dims(&plane.shape),
                    want.dtype,
                    dims(&want.shape)
                )));
            }
            plane.holds = Some((index, part));
        }
        if let Some((part, _)) = claimed.first_key_value() {
            return Err(fault(format!("its encoding has no {part}")));
        }
        weights.push(Weight { name, shape, encoding });
    }
    Ok((weights, planes))
}

pub(super) fn malformed(
    place: impl Into<String>,
    found: impl Into<String>,
    remedy: &'static str,
) -> Error {
    Error::Malformed { format: FORMAT, place: place.into(), found: found.into(), remedy }
}

/// A weight or tensor in an error's place.
pub(super) fn weight(name: &str) -> String {
    format!("`{}`", shown(name))
}

/// A shape in an error: hostile ones have a million dimensions.
fn dims(shape: &[usize]) -> String {
    if shape.len() > 8 { format!("of rank {}", shape.len()) } else { format!("{shape:?}") }
}
