//! The header's JSON as it is written, with every duplicate, unknown and missing field seen.

use super::json::{Number, REWRITE, Trail, shown};
use super::{Dtype, FORMAT};
use crate::Error;
use serde::Deserialize;
use serde::de::value::{Error as ValueError, StrDeserializer};
use serde::de::{
    self, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor,
};
use std::collections::{BTreeMap, HashSet};
use std::fmt;

/// The types that the format knows, for those who met another.
pub(super) const KNOWN_DTYPES: &str = "known are F16, BF16, F32 (which can be quantized), \
    F64, C64, BOOL, U8, I8, U16, I16, U32, I32, U64, I64, F8_E4M3, F8_E5M2, F8_E8M0, F8_E4M3FNUZ, \
    F8_E5M2FNUZ, F6_E2M3, F6_E3M2, F4";

/// No tensor library goes beyond this rank (NumPy and PyTorch stop at 64). A limit keeps shapes
/// small enough to be copied and printed without a second thought.
const MAX_RANK: usize = 64;

/// A tensor as the header states it.
pub(super) struct RawEntry {
    pub(super) name: String,
    pub(super) dtype: Dtype,
    pub(super) shape: Vec<u64>,
    pub(super) begin: u64,
    pub(super) end: u64,
}

/// All that a header states, in its own order.
#[derive(Default)]
pub(super) struct RawHeader {
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) entries: Vec<RawEntry>,
}

/// Reads the header's text, which starts at byte `start` of the file.
pub(super) fn read(text: &str, start: u64) -> Result<RawHeader, Error> {
    let mut trail = Trail::default();
    let mut reader = serde_json::Deserializer::from_str(text);
    HeaderSeed(&mut trail)
        .deserialize(&mut reader)
        .and_then(|raw| reader.end().map(|()| raw))
        .map_err(|stopped| trail.error(FORMAT, text, start, &stopped))
}

struct HeaderSeed<'t>(&'t mut Trail);

impl<'de> DeserializeSeed<'de> for HeaderSeed<'_> {
    type Value = RawHeader;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<RawHeader, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for HeaderSeed<'_> {
    type Value = RawHeader;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
        let mut raw = RawHeader::default();
        let mut seen = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            if !seen.insert(name.clone()) {
                let found = format!("`{}` is listed a second time", shown(&name));
                return Err(self.0.malformed(found, REWRITE));
            }
            if name == "__metadata__" {
                self.0.within = Some("`__metadata__`".into());
                raw.metadata = map.next_value_seed(MetadataSeed(self.0))?;
            } else {
                self.0.within = Some(format!("tensor `{}`", shown(&name)));
                raw.entries.push(map.next_value_seed(EntrySeed { name, trail: self.0 })?);
            }
            self.0.within = None;
        }
        Ok(raw)
    }
}

struct MetadataSeed<'t>(&'t mut Trail);

impl<'de> DeserializeSeed<'de> for MetadataSeed<'_> {
    type Value = BTreeMap<String, String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for MetadataSeed<'_> {
    type Value = BTreeMap<String, String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut metadata = BTreeMap::new();
        while let Some(key) = map.next_key::<String>()? {
            let words = shown(&key);
            if metadata.insert(key, map.next_value::<String>()?).is_some() {
                let found = format!("key `{words}` stands there a second time");
                return Err(self.0.malformed(found, REWRITE));
            }
        }
        Ok(metadata)
    }
}

struct EntrySeed<'t> {
    name: String,
    trail: &'t mut Trail,
}

impl<'de> DeserializeSeed<'de> for EntrySeed<'_> {
    type Value = RawEntry;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<RawEntry, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for EntrySeed<'_> {
    type Value = RawEntry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of `dtype`, `shape` and `data_offsets`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawEntry, A::Error> {
        let (mut dtype, mut shape, mut offsets) = (None, None, None);
        let Self { name, trail } = self;
        while let Some(key) = map.next_key::<String>()? {
            let twice = match key.as_str() {
                "dtype" => {
                    trail.field = Some("dtype");
                    dtype.replace(map.next_value_seed(DtypeSeed(trail))?).is_some()
                }
                "shape" => {
                    trail.field = Some("shape");
                    shape.replace(map.next_value_seed(Numbers { trail, max: MAX_RANK })?).is_some()
                }
                "data_offsets" => {
                    trail.field = Some("data_offsets");
                    offsets.replace(map.next_value_seed(Numbers { trail, max: 2 })?).is_some()
                }
                other => {
                    let found = format!(
                        "field `{}` is none of `dtype`, `shape`, `data_offsets`",
                        shown(other)
                    );
                    return Err(trail.malformed(found, REWRITE));
                }
            };
            if twice {
                return Err(trail.malformed("the field stands there a second time", REWRITE));
            }
            trail.field = None;
        }
        let mut missing = |field| trail.malformed(format!("`{field}` is missing"), REWRITE);
        let dtype = dtype.ok_or_else(|| missing("dtype"))?;
        let shape = shape.ok_or_else(|| missing("shape"))?;
        let offsets = offsets.ok_or_else(|| missing("data_offsets"))?;
        let [begin, end] = offsets[..] else {
            let found = format!("`data_offsets` holds {} numbers, not 2", offsets.len());
            return Err(trail.malformed(found, REWRITE));
        };
        Ok(RawEntry { name, dtype, shape, begin, end })
    }
}

struct DtypeSeed<'t>(&'t mut Trail);

impl<'de> DeserializeSeed<'de> for DtypeSeed<'_> {
    type Value = Dtype;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Dtype, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for DtypeSeed<'_> {
    type Value = Dtype;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a type, such as \"F16\"")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<Dtype, E> {
        let word: StrDeserializer<'_, ValueError> = name.into_deserializer();
        Dtype::deserialize(word).map_err(|_| {
            let found = format!("type `{}` is unknown", shown(name));
            self.0.unsupported(found, KNOWN_DTYPES.into())
        })
    }
}

/// A list of whole numbers; one more than `max` is read, to say that there are too many.
struct Numbers<'t> {
    trail: &'t mut Trail,
    max: usize,
}

impl<'de> DeserializeSeed<'de> for Numbers<'_> {
    type Value = Vec<u64>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<u64>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Numbers<'_> {
    type Value = Vec<u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of whole numbers")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<u64>, A::Error> {
        let mut numbers = Vec::new();
        while let Some(number) = list.next_element_seed(Number(self.trail))? {
            numbers.push(number);
            if numbers.len() > self.max {
                let found = format!("the list holds more than {} numbers", self.max);
                return Err(match self.max {
                    MAX_RANK => {
                        self.trail.unsupported(found, "shapes of up to 64 can be read".into())
                    }
                    _ => self.trail.malformed(found, REWRITE),
                });
            }
        }
        Ok(numbers)
    }
}
