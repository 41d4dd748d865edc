//! The header: what is written at the front of a blob.

use super::{Dtype, Encoding, PAGE, Part, Plane, VERSION, Weight};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};
use std::collections::BTreeMap;

/// The metadata's key of the layout version.
pub(super) const VERSION_KEY: &str = "twolane.version";
/// The metadata's key of the JSON of all weights.
pub(super) const WEIGHTS_KEY: &str = "twolane.weights";

/// What the metadata says of one weight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) encoding: Encoding,
    /// The name of the tensor that holds each part.
    pub(super) planes: BTreeMap<Part, String>,
}

/// One tensor of the header. Offsets count from the start of the data.
#[derive(Serialize)]
struct TensorInfo<'a> {
    dtype: Dtype,
    shape: &'a [usize],
    data_offsets: [u64; 2],
}

struct Header<'a> {
    metadata: BTreeMap<&'a str, &'a str>,
    planes: &'a [Plane],
}

impl Serialize for Header<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let mut map = to.serialize_map(Some(1 + self.planes.len()))?;
        map.serialize_entry("__metadata__", &self.metadata)?;
        for plane in self.planes {
            let data_offsets = [plane.offset, plane.offset + plane.len];
            let info = TensorInfo { dtype: plane.dtype, shape: &plane.shape, data_offsets };
            map.serialize_entry(&plane.name, &info)?;
        }
        map.end()
    }
}

/// The bytes before the data: length, JSON, spaces up to a page. `planes` are in file order, with
/// offsets that count from the start of the data.
pub(super) fn write(weights: &[Weight], planes: &[Plane]) -> serde_json::Result<Vec<u8>> {
    let mut entries: Vec<_> = weights
        .iter()
        .map(|w| Entry {
            name: w.name.clone(),
            shape: w.shape.clone(),
            encoding: w.encoding,
            planes: BTreeMap::new(),
        })
        .collect();
    for plane in planes {
        if let Some((weight, part)) = plane.holds {
            entries[weight].planes.insert(part, plane.name.clone());
        }
    }
    let weights = serde_json::to_string(&entries)?;
    let metadata = BTreeMap::from([(VERSION_KEY, VERSION), (WEIGHTS_KEY, &weights)]);
    let json = serde_json::to_string(&Header { metadata, planes })?;

    let total = (8 + json.len()).next_multiple_of(PAGE as usize);
    let mut bytes = Vec::with_capacity(total);
    bytes.extend_from_slice(&(total as u64 - 8).to_le_bytes());
    bytes.extend_from_slice(json.as_bytes());
    bytes.resize(total, b' ');
    Ok(bytes)
}
