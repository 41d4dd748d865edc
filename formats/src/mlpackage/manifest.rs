//! `Manifest.json`: which item of the package is the model.

use super::{FORMAT, MAX_MANIFEST_BYTES, REMEDY, plain_names};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The only version there is.
const VERSION: [u64; 3] = [1, 0, 0];
const AUTHOR: &str = "com.apple.CoreML";

/// The manifest. Its fields stand in alphabetical order, as coremltools writes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// `1.0.0`.
    pub file_format_version: String,
    /// Identifier → item.
    pub item_info_entries: BTreeMap<String, Item>,
    /// The identifier of the model's item.
    pub root_model_identifier: String,
}

/// A file or folder of the package.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    /// Who made it: the first part of `path`.
    pub author: String,
    /// What it is.
    pub description: String,
    /// Its name: the last part of `path`.
    pub name: String,
    /// Where it is, relative to the folder `Data`.
    pub path: String,
}

impl Manifest {
    /// The manifest of a package with a model and a folder of weights.
    ///
    /// The two identifiers are UUIDs made from `hash`, so that the same contents give the same
    /// manifest. They carry version 8 of RFC 9562, "custom", for they are not random; Core ML
    /// looks at no version.
    pub fn new(hash: &[u8; 32]) -> Self {
        let (halves, _) = hash.as_chunks::<16>();
        // One bit keeps the two apart whatever the hash is.
        let model = uuid(halves[0], 0);
        let weights = uuid(halves[1], 1);
        let item = |name: &str, description: &str| Item {
            author: AUTHOR.into(),
            description: description.into(),
            name: name.into(),
            path: format!("{AUTHOR}/{name}"),
        };
        Self {
            file_format_version: VERSION.map(|n| n.to_string()).join("."),
            item_info_entries: [
                (model.clone(), item("model.mlmodel", "CoreML Model Specification")),
                (weights, item("weights", "CoreML Model Weights")),
            ]
            .into(),
            root_model_identifier: model,
        }
    }

    /// Reads a manifest and checks all that can be known without the folder around it. Keys that
    /// it does not know are passed over.
    ///
    /// # Errors
    /// [`Error::Malformed`] for text that is no JSON, lacks a key, names a root that is no item,
    /// or has an item whose path leaves the package; [`Error::Unsupported`] for a version above
    /// 1.0.0 and for more than [`MAX_MANIFEST_BYTES`].
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        if bytes.len() as u64 > MAX_MANIFEST_BYTES {
            return Err(unsupported(
                format!("it takes {} bytes", bytes.len()),
                "up to 1 MiB can be read",
            ));
        }
        let manifest: Self =
            serde_json::from_slice(bytes).map_err(|e| malformed("", e.to_string()))?;
        let version = &manifest.file_format_version;
        match parse_version(version) {
            None => {
                return Err(malformed(
                    ", fileFormatVersion",
                    format!("`{version}` is not three numbers between dots"),
                ));
            }
            Some(parsed) if parsed > VERSION => {
                return Err(unsupported(
                    format!("its format version is {version}"),
                    "version 1.0.0 can be read",
                ));
            }
            Some(_) => {}
        }
        for (id, item) in &manifest.item_info_entries {
            if plain_names(&item.path).is_none() {
                return Err(malformed(
                    &format!(", item `{id}`"),
                    format!("`{}` is not a path inside the package", item.path),
                ));
            }
        }
        let root = &manifest.root_model_identifier;
        if !manifest.item_info_entries.contains_key(root) {
            return Err(malformed(
                ", rootModelIdentifier",
                format!("`{root}` is none of the items"),
            ));
        }
        Ok(manifest)
    }

    /// The model's item.
    pub fn root(&self) -> Option<&Item> {
        self.item_info_entries.get(&self.root_model_identifier)
    }

    /// The text of `Manifest.json`, laid out as coremltools does it: sorted keys, four spaces.
    pub fn to_json(&self) -> String {
        let mut text = Vec::new();
        let layout = serde_json::ser::PrettyFormatter::with_indent(b"    ");
        let mut json = serde_json::Serializer::with_formatter(&mut text, layout);
        self.serialize(&mut json).expect("strings in memory have a JSON form");
        text.push(b'\n');
        String::from_utf8(text).expect("JSON is UTF-8")
    }
}

/// Three numbers between dots.
fn parse_version(text: &str) -> Option<[u64; 3]> {
    let digits = |n: &str| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit());
    let numbers: Option<Vec<u64>> =
        text.split('.').map(|n| digits(n).then(|| n.parse().ok())?).collect();
    numbers?.try_into().ok()
}

/// Version 8, variant 10, and `last` as the last bit, in lower case with hyphens.
fn uuid(mut bytes: [u8; 16], last: u8) -> String {
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    bytes[15] = bytes[15] & 0xfe | last;
    let mut text = String::with_capacity(36);
    for (i, byte) in bytes.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
    }
    text
}

fn malformed(place: &str, found: String) -> Error {
    Error::Malformed {
        format: FORMAT,
        place: format!("Manifest.json{place}"),
        found,
        remedy: REMEDY,
    }
}

fn unsupported(found: String, can: &str) -> Error {
    Error::Unsupported { place: format!("{FORMAT}, Manifest.json"), found, can: can.into() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_manifest_reads_like_that_of_coremltools() {
        let mut hash = [0xab; 32];
        hash[16..].fill(0x11);
        insta::assert_snapshot!(Manifest::new(&hash).to_json(), @r#"
        {
            "fileFormatVersion": "1.0.0",
            "itemInfoEntries": {
                "11111111-1111-8111-9111-111111111111": {
                    "author": "com.apple.CoreML",
                    "description": "CoreML Model Weights",
                    "name": "weights",
                    "path": "com.apple.CoreML/weights"
                },
                "abababab-abab-8bab-abab-abababababaa": {
                    "author": "com.apple.CoreML",
                    "description": "CoreML Model Specification",
                    "name": "model.mlmodel",
                    "path": "com.apple.CoreML/model.mlmodel"
                }
            },
            "rootModelIdentifier": "abababab-abab-8bab-abab-abababababaa"
        }
        "#);
    }

    #[test]
    fn two_items_stay_two_whatever_the_hash() {
        for hash in [[0; 32], [0xff; 32]] {
            let manifest = Manifest::new(&hash);
            assert_eq!(manifest.item_info_entries.len(), 2);
            assert_eq!(manifest.root().expect("a model").name, "model.mlmodel");
        }
    }

    #[test]
    fn every_refusal_says_place_finding_and_remedy() {
        let text = Manifest::new(&[0; 32]).to_json();
        let error = |from: &str, to: &str| {
            assert!(text.contains(from), "{from}");
            Manifest::parse(text.replacen(from, to, 1).as_bytes()).unwrap_err().to_string()
        };
        insta::assert_snapshot!(error("\"1.0.0\"", "\"1.0\""), @"malformed .mlpackage, Manifest.json, fileFormatVersion: `1.0` is not three numbers between dots; fetch or convert the package again");
        insta::assert_snapshot!(error("\"1.0.0\"", "\"1.+0.0\""), @"malformed .mlpackage, Manifest.json, fileFormatVersion: `1.+0.0` is not three numbers between dots; fetch or convert the package again");
        insta::assert_snapshot!(error("\"1.0.0\"", "\"1.0.1\""), @".mlpackage, Manifest.json: its format version is 1.0.1; version 1.0.0 can be read");
        insta::assert_snapshot!(error("\"author\"", "\"writer\""), @"malformed .mlpackage, Manifest.json: missing field `author` at line 9 column 9; fetch or convert the package again");
        insta::assert_snapshot!(error("\"rootModelIdentifier\": \"0", "\"rootModelIdentifier\": \"1"), @"malformed .mlpackage, Manifest.json, rootModelIdentifier: `10000000-0000-8000-8000-000000000000` is none of the items; fetch or convert the package again");
        insta::assert_snapshot!(error("com.apple.CoreML/model", "../model"), @"malformed .mlpackage, Manifest.json, item `00000000-0000-8000-8000-000000000000`: `../model.mlmodel` is not a path inside the package; fetch or convert the package again");
        insta::assert_snapshot!(Manifest::parse(b"{").unwrap_err(), @"malformed .mlpackage, Manifest.json: EOF while parsing an object at line 1 column 1; fetch or convert the package again");
        insta::assert_snapshot!(Manifest::parse(&vec![b' '; 1 << 21]).unwrap_err(), @".mlpackage, Manifest.json: it takes 2097152 bytes; up to 1 MiB can be read");
    }

    #[test]
    fn paths_that_could_leave_the_package_are_none() {
        let bad = [
            "",
            "/",
            "/etc/passwd",
            "..",
            "a/..",
            "a/../b",
            "./a",
            "a//b",
            "a/",
            "C:/x",
            "a\\..\\b",
            "a\0b",
        ];
        for path in bad {
            assert_eq!(plain_names(path), None, "{path:?}");
        }
        for path in ["a", "com.apple.CoreML/model.mlmodel", "..a/b..", "ü"] {
            assert!(plain_names(path).is_some(), "{path:?}");
        }
    }

    proptest! {
        #[test]
        fn every_hash_gives_a_manifest_that_reads_back(hash: [u8; 32]) {
            let manifest = Manifest::new(&hash);
            prop_assert_eq!(Manifest::parse(manifest.to_json().as_bytes()).expect("own text"), manifest);
        }

        #[test]
        fn mutated_manifests_are_errors_or_sound_never_a_panic(
            edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        ) {
            let mut text = Manifest::new(&[7; 32]).to_json().into_bytes();
            for (at, byte) in edits {
                let at = at.index(text.len());
                text[at] = byte;
            }
            if let Ok(manifest) = Manifest::parse(&text) {
                prop_assert!(manifest.root().is_some());
                prop_assert!(manifest.item_info_entries.values().all(|i| plain_names(&i.path).is_some()));
            }
        }
    }
}
