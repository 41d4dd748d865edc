//! Where a package comes from, as its metadata says: which files went in, what made it of them, and
//! with which options.
//!
//! | key | value |
//! |---|---|
//! | `twolane.version` | the program and its version |
//! | `twolane.options` | the options that its bytes follow from, in the words of the command line |
//! | `twolane.sources` | the files that were read, with sizes and hashes, as a JSON list of [`InputFile`] |
//!
//! A package that was made of a package keeps what that one said, numbered from its first run on:
//! `twolane.version.1`, ...

use super::InputFile;
use crate::smooth::Smooth;
use serde::Serialize;
use std::collections::BTreeMap;

const VERSION: &str = "twolane.version";
const OPTIONS: &str = "twolane.options";

/// The key of the list of files.
pub const SOURCES: &str = "twolane.sources";

/// One run that a package went through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Provenance {
    /// The program and its version: `twolane 0.1.0`.
    pub version: String,
    /// The options, in the words of the command line.
    pub options: String,
    /// The files that were read, by their names in the input's folder.
    pub sources: Vec<InputFile>,
}

impl Provenance {
    /// Of a run of this program.
    pub fn new(options: String, sources: Vec<InputFile>) -> Self {
        let version = concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")).into();
        Self { version, options, sources }
    }

    /// Whether columns of weights were scaled: they are not those of the source.
    pub fn is_rescaled(&self) -> bool {
        let scaling = [Smooth::Equalized, Smooth::Measured(0.0)].map(Smooth::word);
        let mut words = self.options.split_whitespace();
        words.any(|word| scaling.contains(&word.split('=').next().unwrap_or(word)))
    }

    /// Enters it into a package's metadata, behind what stands there of earlier runs.
    pub fn enter(&self, metadata: &mut BTreeMap<String, String>) {
        let number = (1..).find(|n| !metadata.contains_key(&format!("{VERSION}.{n}")));
        let number = number.unwrap_or_default();
        for key in [VERSION, OPTIONS, SOURCES] {
            if let Some(earlier) = metadata.remove(key) {
                metadata.insert(format!("{key}.{number}"), earlier);
            }
        }
        metadata.insert(VERSION.into(), self.version.clone());
        metadata.insert(OPTIONS.into(), self.options.clone());
        metadata.insert(SOURCES.into(), sources_text(&self.sources));
    }

    /// The runs that a package's metadata tells of, the first one first. A list of files that is not
    /// in the form of ours is empty: anybody may have written it.
    pub fn read(metadata: &BTreeMap<String, String>) -> Vec<Self> {
        let one = |ending: &str| {
            let of = |key: &str| metadata.get(&format!("{key}{ending}")).cloned();
            let sources = of(SOURCES).and_then(|text| serde_json::from_str(&text).ok());
            Some(Self {
                version: of(VERSION)?,
                options: of(OPTIONS).unwrap_or_default(),
                sources: sources.unwrap_or_default(),
            })
        };
        let earlier = (1..).map_while(|n: u32| one(&format!(".{n}")));
        earlier.chain(one("")).collect()
    }
}

/// The value of [`SOURCES`]; its length depends on names, sizes and kinds of hashes alone.
pub fn sources_text(sources: &[InputFile]) -> String {
    serde_json::to_string(sources).expect("strings and numbers")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(options: &str, hash: char) -> Provenance {
        let source = InputFile {
            name: "1_Pooling/config.json".into(),
            bytes: 7,
            blake3: hash.to_string().repeat(64),
            sha256: None,
        };
        Provenance::new(options.into(), vec![source])
    }

    #[test]
    fn every_run_is_kept_in_order() {
        let mut metadata = BTreeMap::from([("other".to_owned(), "stays".to_owned())]);
        let runs = [run("--scheme float16", 'a'), run("--scheme palette-4", 'b'), run("", 'c')];
        runs.iter().for_each(|run| run.enter(&mut metadata));
        assert_eq!(Provenance::read(&metadata), runs);
        assert_eq!(metadata["twolane.options.2"], "--scheme palette-4");
        assert_eq!((metadata.len(), metadata["other"].as_str()), (10, "stays"));
    }

    #[test]
    fn what_others_wrote_under_the_keys_is_no_list() {
        let mut metadata = BTreeMap::new();
        assert!(Provenance::read(&metadata).is_empty());
        metadata.insert(VERSION.into(), "x".into());
        metadata.insert(SOURCES.into(), "[{\"name\": 3}]".into());
        let runs = Provenance::read(&metadata);
        assert_eq!((runs.len(), runs[0].version.as_str(), runs[0].sources.len()), (1, "x", 0));
    }

    #[test]
    fn the_words_tell_of_scaled_columns() {
        for (words, rescaled) in [
            ("--scheme linear-int8 --smooth=0.5 --activations int8", true),
            ("--scheme float16 --equalize", true),
            ("--scheme linear-int8 --rule 'smooth=float16'", false),
        ] {
            assert_eq!(run(words, 'a').is_rescaled(), rescaled, "{words}");
        }
    }
}
