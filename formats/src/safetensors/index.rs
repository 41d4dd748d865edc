//! `model.safetensors.index.json`: which shard holds which tensor.

use super::MAX_HEADER_BYTES;
use super::json::{REWRITE, Trail, shown};
use crate::Error;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use std::collections::HashSet;
use std::fmt;

const FORMAT: &str = "safetensors index";

/// The index of a sharded checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    /// Tensor name and shard, in the index's order. Shards are plain names of files beside the
    /// index; no tensor stands there twice.
    pub weight_map: Vec<(String, String)>,
}

impl Index {
    /// Reads an index. Fields other than `weight_map` are skipped: `metadata.total_size` is wrong
    /// in many published checkpoints.
    ///
    /// # Errors
    /// [`Error::Malformed`] for text that is not such a JSON object, a name given twice, a shard
    /// that is not a plain name of a `.safetensors` file, and an empty map.
    pub fn parse(file: &[u8]) -> Result<Self, Error> {
        let fault = |place: String, found: String, remedy| Error::Malformed {
            format: FORMAT,
            place,
            found,
            remedy,
        };
        if file.len() as u64 > MAX_HEADER_BYTES {
            let found = format!("{} bytes are above the limit of {MAX_HEADER_BYTES}", file.len());
            return Err(fault("byte 0".into(), found, "give the index of a checkpoint"));
        }
        let text = std::str::from_utf8(file).map_err(|error| {
            let place = format!("byte {}", error.valid_up_to());
            fault(place, "this is not UTF-8 text".into(), "download the file again")
        })?;
        let mut trail = Trail::default();
        let mut reader = serde_json::Deserializer::from_str(text);
        let weight_map = IndexSeed(&mut trail)
            .deserialize(&mut reader)
            .and_then(|map| reader.end().map(|()| map))
            .map_err(|stopped| trail.error(FORMAT, text, 0, &stopped))?;
        Ok(Self { weight_map })
    }

    /// The shards that the index names, sorted.
    pub fn shards(&self) -> Vec<&str> {
        let mut shards: Vec<&str> = self.weight_map.iter().map(|(_, shard)| &shard[..]).collect();
        shards.sort_unstable();
        shards.dedup();
        shards
    }
}

struct IndexSeed<'t>(&'t mut Trail);

impl<'de> DeserializeSeed<'de> for IndexSeed<'_> {
    type Value = Vec<(String, String)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for IndexSeed<'_> {
    type Value = Vec<(String, String)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a `weight_map`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut seen = HashSet::new();
        let mut weight_map = None;
        while let Some(key) = map.next_key::<String>()? {
            if key == "weight_map" {
                self.0.within = Some("`weight_map`".into());
                weight_map = Some(map.next_value_seed(WeightMapSeed(self.0))?);
                self.0.within = None;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
            let words = shown(&key);
            if !seen.insert(key) {
                let found = format!("field `{words}` stands there a second time");
                return Err(self.0.malformed(found, REWRITE));
            }
        }
        match weight_map {
            Some(map) if !map.is_empty() => Ok(map),
            Some(_) => Err(self.0.malformed("`weight_map` names no tensor", REWRITE)),
            None => {
                Err(self.0.malformed("`weight_map` is missing", "give the index of a checkpoint"))
            }
        }
    }
}

struct WeightMapSeed<'t>(&'t mut Trail);

impl<'de> DeserializeSeed<'de> for WeightMapSeed<'_> {
    type Value = Vec<(String, String)>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for WeightMapSeed<'_> {
    type Value = Vec<(String, String)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensor names and file names")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut seen = HashSet::new();
        let mut weight_map = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            self.0.within = Some(format!("tensor `{}`", shown(&name)));
            let shard: String = map.next_value()?;
            if !seen.insert(name.clone()) {
                return Err(self.0.malformed("the tensor is listed a second time", REWRITE));
            }
            if !is_plain(&shard) {
                let found = format!("`{}` is not the plain name of a file", shown(&shard));
                return Err(self.0.malformed(found, "shards lie beside their index"));
            }
            if !shard.ends_with(".safetensors") {
                let found = format!("`{}` is not a .safetensors file", shown(&shard));
                return Err(self.0.malformed(found, "save the weights as .safetensors first"));
            }
            weight_map.push((name, shard));
        }
        Ok(weight_map)
    }
}

/// Whether a name stays within its folder, on any system: no separator, drive, parent or NUL.
fn is_plain(name: &str) -> bool {
    !name.starts_with('.') && !name.contains(['/', '\\', ':', '\0'])
}
