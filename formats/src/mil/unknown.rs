//! Fields that the format does not have.
//!
//! Decoding passes over unknown fields, as protobuf wants it. But a field with a wrong number is a
//! part of a model that would be lost in silence, so whoever trusts a model asks for them here.
//!
//! Field numbers: Core ML's public `Model.proto`, `FeatureTypes.proto` and `MIL.proto`.

use prost::encoding::{WireType, decode_key, decode_varint};

/// A message: the name and the number of each field, and what it holds.
struct Message(&'static [(u32, &'static str, Field)]);

#[derive(Clone, Copy)]
enum Field {
    /// Nothing with fields of its own.
    Plain,
    /// A message.
    Of(&'static Message),
    /// Entries of keys without fields and messages.
    MapTo(&'static Message),
}
use Field::{MapTo, Of, Plain};

/// How many are listed.
const MOST: usize = 100;
/// As deep as messages are decoded.
const DEEPEST: usize = 100;

#[rustfmt::skip]
mod schema {
    use super::{Message, MapTo, Of, Plain};
    pub(super) static MODEL: Message = Message(&[
        (1, "specificationVersion", Plain), (2, "description", Of(&DESCRIPTION)),
        (10, "isUpdatable", Plain), (502, "mlProgram", Of(&PROGRAM)),
    ]);
    static DESCRIPTION: Message = Message(&[
        (1, "input", Of(&FEATURE)), (10, "output", Of(&FEATURE)), (11, "predictedFeatureName", Plain),
        (12, "predictedProbabilitiesName", Plain), (13, "state", Of(&FEATURE)),
        (20, "functions", Of(&DESCRIBED)), (21, "defaultFunctionName", Plain),
        (50, "trainingInput", Of(&FEATURE)), (100, "metadata", Of(&METADATA)),
    ]);
    static DESCRIBED: Message = Message(&[
        (1, "name", Plain), (2, "input", Of(&FEATURE)), (3, "output", Of(&FEATURE)),
        (4, "predictedFeatureName", Plain), (5, "predictedProbabilitiesName", Plain),
        (6, "state", Of(&FEATURE)),
    ]);
    static METADATA: Message = Message(&[
        (1, "shortDescription", Plain), (2, "versionString", Plain), (3, "author", Plain),
        (4, "license", Plain), (100, "userDefined", MapTo(&Message(&[]))),
    ]);
    static FEATURE: Message = Message(&[
        (1, "name", Plain), (2, "shortDescription", Plain), (3, "type", Of(&FEATURE_TYPE)),
    ]);
    static FEATURE_TYPE: Message = Message(&[
        (1, "int64Type", Of(&EMPTY)), (2, "doubleType", Of(&EMPTY)), (3, "stringType", Of(&EMPTY)),
        (4, "imageType", Of(&IMAGE)), (5, "multiArrayType", Of(&ARRAY)),
        (6, "dictionaryType", Of(&Message(&[
            (1, "int64KeyType", Of(&EMPTY)), (2, "stringKeyType", Of(&EMPTY)),
        ]))),
        (7, "sequenceType", Of(&Message(&[
            (1, "int64Type", Of(&EMPTY)), (3, "stringType", Of(&EMPTY)), (101, "sizeRange", Of(&RANGE)),
        ]))),
        (8, "stateType", Of(&Message(&[(1, "arrayType", Of(&ARRAY))]))),
        (1000, "isOptional", Plain),
    ]);
    static EMPTY: Message = Message(&[]);
    static RANGE: Message = Message(&[(1, "lowerBound", Plain), (2, "upperBound", Plain)]);
    static ARRAY: Message = Message(&[
        (1, "shape", Plain), (2, "dataType", Plain),
        (21, "enumeratedShapes", Of(&Message(&[(1, "shapes", Of(&Message(&[(1, "shape", Plain)])))]))),
        (31, "shapeRange", Of(&Message(&[(1, "sizeRanges", Of(&RANGE))]))),
        (41, "intDefaultValue", Plain), (51, "floatDefaultValue", Plain), (61, "doubleDefaultValue", Plain),
    ]);
    static IMAGE: Message = Message(&[
        (1, "width", Plain), (2, "height", Plain), (3, "colorSpace", Plain),
        (21, "enumeratedSizes", Of(&Message(&[
            (1, "sizes", Of(&Message(&[(1, "width", Plain), (2, "height", Plain)]))),
        ]))),
        (31, "imageSizeRange", Of(&Message(&[(1, "widthRange", Of(&RANGE)), (2, "heightRange", Of(&RANGE))]))),
    ]);
    static PROGRAM: Message = Message(&[
        (1, "version", Plain), (2, "functions", MapTo(&FUNCTION)), (3, "docString", Plain),
        (4, "attributes", MapTo(&VALUE)),
    ]);
    static FUNCTION: Message = Message(&[
        (1, "inputs", Of(&NAMED)), (2, "opset", Plain), (3, "block_specializations", MapTo(&BLOCK)),
        (4, "attributes", MapTo(&VALUE)),
    ]);
    static BLOCK: Message = Message(&[
        (1, "inputs", Of(&NAMED)), (2, "outputs", Plain), (3, "operations", Of(&OPERATION)),
        (4, "attributes", MapTo(&VALUE)),
    ]);
    static OPERATION: Message = Message(&[
        (1, "type", Plain), (2, "inputs", MapTo(&ARGUMENT)), (3, "outputs", Of(&NAMED)),
        (4, "blocks", Of(&BLOCK)), (5, "attributes", MapTo(&VALUE)),
    ]);
    static ARGUMENT: Message = Message(&[
        (1, "arguments", Of(&Message(&[(1, "name", Plain), (2, "value", Of(&VALUE))]))),
    ]);
    static NAMED: Message = Message(&[(1, "name", Plain), (2, "type", Of(&TYPE))]);
    static TYPE: Message = Message(&[
        (1, "tensorType", Of(&Message(&[
            (1, "dataType", Plain), (2, "rank", Plain), (3, "dimensions", Of(&DIMENSION)),
            (4, "attributes", MapTo(&VALUE)),
        ]))),
        (2, "listType", Of(&Message(&[(1, "type", Of(&TYPE)), (2, "length", Of(&DIMENSION))]))),
        (3, "tupleType", Of(&Message(&[(1, "types", Of(&TYPE))]))),
        (4, "dictionaryType", Of(&Message(&[(1, "keyType", Of(&TYPE)), (2, "valueType", Of(&TYPE))]))),
        (5, "stateType", Of(&Message(&[(1, "wrappedType", Of(&TYPE))]))),
    ]);
    static DIMENSION: Message = Message(&[
        (1, "constant", Of(&Message(&[(1, "size", Plain)]))),
        (2, "unknown", Of(&Message(&[(1, "variadic", Plain)]))),
    ]);
    static VALUE: Message = Message(&[
        (1, "docString", Plain), (2, "type", Of(&TYPE)), (3, "immediateValue", Of(&IMMEDIATE)),
        (5, "blobFileValue", Of(&Message(&[(1, "fileName", Plain), (2, "offset", Plain)]))),
    ]);
    static IMMEDIATE: Message = Message(&[
        (1, "tensor", Of(&Message(&[
            (1, "floats", Of(&VALUES)), (2, "ints", Of(&VALUES)), (3, "bools", Of(&VALUES)),
            (4, "strings", Of(&VALUES)), (5, "longInts", Of(&VALUES)), (6, "doubles", Of(&VALUES)),
            (7, "bytes", Of(&VALUES)),
        ]))),
        (2, "tuple", Of(&MEMBERS)), (3, "list", Of(&MEMBERS)),
        (4, "dictionary", Of(&Message(&[
            (1, "values", Of(&Message(&[(1, "key", Of(&VALUE)), (2, "value", Of(&VALUE))]))),
        ]))),
    ]);
    static VALUES: Message = Message(&[(1, "values", Plain)]);
    static MEMBERS: Message = Message(&[(1, "values", Of(&VALUE))]);
}

/// The fields of a model's bytes that the format does not have, each with its path:
/// `mlProgram.functions.opset, field 9`. One hundred are listed at most. Bytes that are no message
/// end the search: decoding says what is wrong with them.
pub fn unknown_fields(model: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    let _ = walk(model, &schema::MODEL, &mut Vec::new(), &mut found);
    found
}

/// `None` where the bytes are no message.
fn walk(
    mut bytes: &[u8],
    message: &'static Message,
    path: &mut Vec<&'static str>,
    found: &mut Vec<String>,
) -> Option<()> {
    while !bytes.is_empty() {
        let (tag, wire) = decode_key(&mut bytes).ok()?;
        let content = match wire {
            WireType::Varint => decode_varint(&mut bytes).ok().map(|_| &[][..])?,
            WireType::ThirtyTwoBit => bytes.split_off(..4)?,
            WireType::SixtyFourBit => bytes.split_off(..8)?,
            WireType::LengthDelimited => {
                let length = usize::try_from(decode_varint(&mut bytes).ok()?).ok()?;
                bytes.split_off(..length)?
            }
            WireType::StartGroup | WireType::EndGroup => return None,
        };
        let Some((_, name, field)) = message.0.iter().find(|(known, ..)| *known == tag) else {
            if found.len() < MOST {
                let path = if path.is_empty() { "Model".to_owned() } else { path.join(".") };
                found.push(format!("{path}, field {tag}"));
            }
            continue;
        };
        if path.len() >= DEEPEST {
            continue;
        }
        path.push(name);
        match field {
            Plain => {}
            Of(inner) => walk(content, inner, path, found)?,
            MapTo(inner) => walk_entry(content, inner, path, found)?,
        }
        path.pop();
    }
    Some(())
}

/// An entry of a map: a key, 1, and a value, 2.
fn walk_entry(
    bytes: &[u8],
    message: &'static Message,
    path: &mut Vec<&'static str>,
    found: &mut Vec<String>,
) -> Option<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let (tag, wire) = decode_key(&mut rest).ok()?;
        let WireType::LengthDelimited = wire else { return None };
        let length = usize::try_from(decode_varint(&mut rest).ok()?).ok()?;
        let content = rest.split_off(..length)?;
        match tag {
            1 => {}
            2 if message.0.is_empty() => {} // A map to text.
            2 => walk(content, message, path, found)?,
            _ if found.len() < MOST => found.push(format!("{}, field {tag}", path.join("."))),
            _ => {}
        }
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mil::{DataType, Model, Value, ValueType};

    fn model() -> Model {
        let op = crate::mil::Operation::constant("c", Value::int32(1));
        let block = crate::mil::Block { operations: vec![op], ..Default::default() };
        let function = crate::mil::Function {
            inputs: vec![crate::mil::NamedValueType::new(
                "x",
                ValueType::tensor(DataType::Float16, &[2]),
            )],
            opset: "CoreML8".into(),
            block_specializations: [("CoreML8".into(), block)].into(),
            ..Default::default()
        };
        let program = crate::mil::Program {
            version: 1,
            functions: [("main".into(), function)].into(),
            ..Default::default()
        };
        let user_defined = [("key".to_owned(), "\u{0a}\u{0a}".to_owned())].into();
        let metadata = crate::mil::Metadata { user_defined, ..Default::default() };
        let description =
            crate::mil::ModelDescription { metadata: Some(metadata), ..Default::default() };
        Model {
            specification_version: 9,
            description: Some(description),
            ml_program: Some(program),
            ..Default::default()
        }
    }

    #[test]
    fn a_model_of_ours_has_none_and_a_strange_field_is_named_with_its_path() {
        let bytes = model().to_bytes();
        assert_eq!(unknown_fields(&bytes), [""; 0]);
        let strange = |bytes: &[u8]| unknown_fields(bytes).join("; ");
        assert_eq!(strange(&[&bytes[..], &[0x78, 1]].concat()), "Model, field 15");
        // Field 6 of the operation `const`, whose length is made to fit.
        let at = bytes.windows(7).position(|window| window == b"\x0a\x05const").expect("a const");
        let mut wrong = bytes.clone();
        wrong[at] = 0x32;
        assert_eq!(
            strange(&wrong),
            "mlProgram.functions.block_specializations.operations, field 6"
        );
    }

    #[test]
    fn bytes_that_are_no_message_end_the_search() {
        for bytes in [&[0x12, 0xff][..], &[0xff; 20], &[0x13]] {
            assert_eq!(unknown_fields(bytes), [""; 0]);
        }
        let mut deep = vec![];
        for _ in 0..1000 {
            let mut outer = vec![0x2a];
            prost::encoding::encode_varint(deep.len() as u64, &mut outer);
            deep = [outer, deep].concat();
        }
        unknown_fields(&deep);
    }
}
