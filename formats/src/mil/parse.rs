//! From untrusted bytes to a [`Model`].

use super::Model;
use crate::{Error, Result};
use prost::Message;
use prost::encoding::{WireType, decode_key, decode_varint};

/// The largest model that [`Model::parse`] takes: 64 MiB.
///
/// Weights stand beside the model, so that real ones take a few MiB. But two bytes on the wire can
/// become a struct of 144 in memory: this bounds what a hostile file can ask for to less than
/// 5 GiB.
pub const MAX_MODEL_BYTES: u64 = 64 << 20;

const FORMAT: &str = "model.mlmodel";
/// The field that holds the program.
const ML_PROGRAM: u32 = 502;
/// Specification versions whose programs this version knows.
const VERSIONS: std::ops::RangeInclusive<i32> = 6..=10;

/// The members of `Model.Type`, from Core ML's public `Model.proto`.
#[rustfmt::skip]
const TYPES: &[(u32, &str)] = &[
    (200, "pipelineClassifier"), (201, "pipelineRegressor"), (202, "pipeline"),
    (300, "glmRegressor"), (301, "supportVectorRegressor"), (302, "treeEnsembleRegressor"),
    (303, "neuralNetworkRegressor"), (304, "bayesianProbitRegressor"),
    (400, "glmClassifier"), (401, "supportVectorClassifier"), (402, "treeEnsembleClassifier"),
    (403, "neuralNetworkClassifier"), (404, "kNearestNeighborsClassifier"),
    (500, "neuralNetwork"), (501, "itemSimilarityRecommender"), (ML_PROGRAM, "mlProgram"),
    (555, "customModel"), (556, "linkedModel"), (560, "classConfidenceThresholding"),
    (600, "oneHotEncoder"), (601, "imputer"), (602, "featureVectorizer"), (603, "dictVectorizer"),
    (604, "scaler"), (606, "categoricalMapping"), (607, "normalizer"),
    (609, "arrayFeatureExtractor"), (610, "nonMaximumSuppression"), (900, "identity"),
    (2000, "textClassifier"), (2001, "wordTagger"), (2002, "visionFeaturePrint"),
    (2003, "soundAnalysisPreprocessing"), (2004, "gazetteer"), (2005, "wordEmbedding"),
    (2006, "audioFeaturePrint"), (3000, "serializedModel"),
];

impl Model {
    /// Reads the bytes of `model.mlmodel`.
    ///
    /// The top level is walked first, without decoding: a model of another kind is refused by
    /// name however large it is, and nothing is allocated for it. Messages may nest 100 deep
    /// (prost's limit), so that hostile nesting cannot exhaust the stack. Whether the program
    /// makes sense is for whoever raises it to say.
    ///
    /// # Errors
    /// [`Error::Malformed`] for bytes that are no such message, or no model at all;
    /// [`Error::Unsupported`] for a model that is not an ML Program, is of an unknown
    /// specification version, or is larger than [`MAX_MODEL_BYTES`].
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        let top = TopLevel::scan(bytes)?;
        match top.kind {
            Some(ML_PROGRAM) => {}
            Some(tag) => {
                let name = TYPES.iter().find(|(t, _)| *t == tag).map_or("unknown", |(_, n)| n);
                return Err(unsupported(
                    format!("it holds a `{name}` (field {tag})"),
                    "only ML Programs can be read: convert with coremltools' \
                     `convert_to=\"mlprogram\"`",
                ));
            }
            None => {
                return Err(malformed(
                    format!("byte {}", bytes.len()),
                    "the message ends without any model in it".into(),
                ));
            }
        }
        if !VERSIONS.contains(&top.specification_version) {
            return Err(unsupported(
                format!("its specification version is {}", top.specification_version),
                "versions 6 (iOS 15) to 10 (iOS 26) can be read",
            ));
        }
        if bytes.len() as u64 > MAX_MODEL_BYTES {
            return Err(unsupported(
                format!("it takes {} bytes", bytes.len()),
                "up to 64 MiB can be read: large constants belong in weight.bin",
            ));
        }
        Self::decode(bytes).map_err(|e| malformed("in its messages".into(), e.to_string()))
    }

    /// The bytes of `model.mlmodel`; the same for equal models.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.encode_to_vec()
    }
}

/// What the outermost fields say.
#[derive(Default)]
struct TopLevel {
    specification_version: i32,
    /// The last member of `Type`: protobuf lets the last one win.
    kind: Option<u32>,
}

impl TopLevel {
    /// Steps over every outermost field.
    fn scan(bytes: &[u8]) -> Result<Self> {
        let mut found = Self::default();
        let mut rest = bytes;
        while !rest.is_empty() {
            let at = bytes.len() - rest.len();
            let broken = |why: String| malformed(format!("byte {at}"), why);
            let wire = |e: prost::DecodeError| broken(e.to_string());
            let (tag, wire_type) = decode_key(&mut rest).map_err(wire)?;
            if tag == 1 && wire_type == WireType::Varint {
                // An int32 is the low half of its varint.
                found.specification_version = decode_varint(&mut rest).map_err(wire)? as i32;
                continue;
            }
            if TYPES.iter().any(|(t, _)| *t == tag) {
                found.kind = Some(tag);
            }
            let len = match wire_type {
                WireType::Varint => {
                    decode_varint(&mut rest).map_err(wire)?;
                    0
                }
                WireType::ThirtyTwoBit => 4,
                WireType::SixtyFourBit => 8,
                WireType::LengthDelimited => decode_varint(&mut rest).map_err(wire)?,
                WireType::StartGroup | WireType::EndGroup => {
                    return Err(broken(format!("field {tag} is a group, which proto3 lacks")));
                }
            };
            rest = usize::try_from(len).ok().and_then(|len| rest.get(len..)).ok_or_else(|| {
                broken(format!("field {tag} takes {len} bytes, and {} are left", rest.len()))
            })?;
        }
        Ok(found)
    }
}

fn malformed(place: String, found: String) -> Error {
    Error::Malformed { format: FORMAT, place, found, remedy: "fetch or convert the package again" }
}

fn unsupported(found: String, can: &str) -> Error {
    Error::Unsupported { place: FORMAT.into(), found, can: can.into() }
}
