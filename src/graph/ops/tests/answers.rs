//! Our answers beside coremltools' (`fixtures/ops_infer`, whose `make.py` describes the form).

use super::super::{Bound, Row, ValueType, rows};
use crate::graph::weight::{Operand, Weight};
use crate::graph::{Constant, DataType, Dim, Labels, TensorType};
use crate::target::Target;
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Where we answer otherwise on purpose: the operation, a part of the arguments that marks the
/// cases, and why.
const DIFFERENT: &[(&str, &str, &str)] = &[
    ("add", r#""x":"fp16[0, 3]","y":"fp16[?, 3]""#, "what broadcasts with no element has none"),
    ("prelu", r#""x":"fp16[1, ?, 4, 5]""#, "an open number of channels may turn out to fit"),
    (
        "stack",
        r#"["fp16[?, ?]","fp16[?, 3]"]"#,
        "coremltools keeps a size open that another value fixes",
    ),
    ("select", r#""a":"fp16[]""#, "coremltools leaves a larger `cond` out of the shape"),
    ("matmul", r#""x":"fp16[4]","y":"fp16[2,"#, "coremltools drops the batch instead of the row"),
    ("conv_transpose", r#""=fp16[3, 6, 3]""#, "coremltools does not look at the weight's channels"),
    ("batch_norm", r#""=fp16[2]""#, "coremltools does not look at the number of channels"),
    ("layer_norm", r#"{"x":"fp16[2, 3, 4]"}"#, "coremltools cannot form its own default, all axes"),
    (
        "layer_norm",
        r#""axes":[2],"beta""#,
        "coremltools looks for the shape of gamma, which is absent",
    ),
    ("transpose", "[0,1,1]", "coremltools takes an axis twice"),
    ("slice_by_index", r#""fp16[1]""#, "coremltools answers 1 for any slice of one element"),
    ("scatter", "erase", "coremltools does not look at the mode"),
    ("scatter_along_axis", "erase", "coremltools does not look at the mode"),
    ("write_state", "", "the Builder's name for it belongs to no opset; states came with iOS 18"),
];

/// The element types that the file asks for.
const ASKED: [DataType; 9] = [
    DataType::Bool,
    DataType::Float16,
    DataType::Float32,
    DataType::Int8,
    DataType::Int16,
    DataType::Int32,
    DataType::UInt8,
    DataType::UInt16,
    DataType::UInt32,
];

/// The opsets that the file asks for, oldest first.
const OPSETS: [Target; 5] =
    [Target::Ios15, Target::Ios16, Target::Ios17, Target::Ios18, Target::Ios26];

/// A value as the file writes it.
struct Given {
    param: String,
    ty: ValueType,
    constant: Option<Constant>,
}

fn tensor_type(text: &str) -> TensorType {
    let (dtype, dims) = text.strip_suffix(']').and_then(|t| t.split_once('[')).unwrap();
    let dim = |size: &str| size.parse().map_or(Dim::Flexible, Dim::Fixed);
    let dims = dims.split(", ").filter(|dim| !dim.is_empty()).map(dim).collect();
    TensorType::new(DataType::named(dtype).unwrap(), dims)
}

fn element(dtype: DataType, number: f64) -> Vec<u8> {
    match dtype {
        DataType::Float16 => half::f16::from_f64(number).to_le_bytes().to_vec(),
        DataType::Float32 => (number as f32).to_le_bytes().to_vec(),
        DataType::Bool | DataType::Int8 | DataType::UInt8 => vec![number as i64 as u8],
        DataType::Int16 | DataType::UInt16 => (number as i64 as u16).to_le_bytes().to_vec(),
        DataType::Int32 | DataType::UInt32 => (number as i64 as u32).to_le_bytes().to_vec(),
        other => panic!("the file holds constants of {other}"),
    }
}

fn dense(dtype: DataType, shape: &[usize], numbers: &[f64]) -> Constant {
    let bytes: Vec<_> = numbers.iter().flat_map(|&number| element(dtype, number)).collect();
    Weight::dense(Operand::new(dtype, shape, bytes)).into()
}

/// Nested lists of numbers or flags: shape and elements.
fn nested(value: &Value) -> (Vec<usize>, Vec<f64>) {
    match value {
        Value::Bool(flag) => (vec![], vec![f64::from(u8::from(*flag))]),
        Value::Array(list) => {
            let parts: Vec<_> = list.iter().map(nested).collect();
            let inside = parts.first().map_or(&[][..], |(shape, _)| shape);
            let shape = [&[list.len()], inside].concat();
            (shape, parts.into_iter().flat_map(|(_, numbers)| numbers).collect())
        }
        number => (vec![], vec![number.as_f64().unwrap()]),
    }
}

fn constant(dtype: DataType, value: &Value) -> Constant {
    let (shape, numbers) = nested(value);
    dense(dtype, &shape, &numbers)
}

fn is_flag(value: &Value) -> bool {
    value.as_array().map_or(value.is_boolean(), |list| is_flag(&list[0]))
}

fn given(param: &str, value: &Value) -> Vec<Given> {
    let one = |ty: ValueType, constant| vec![Given { param: param.into(), ty, constant }];
    let known = |constant: Constant| one(constant.ty(), Some(constant));
    match value {
        Value::String(text) => match text.strip_prefix('=') {
            None => one(tensor_type(text).into(), None),
            Some(text) => {
                let ty = tensor_type(text);
                let shape = ty.shape().unwrap();
                known(dense(ty.dtype, &shape, &vec![1.0; shape.iter().product()]))
            }
        },
        Value::Object(object) => {
            let (kind, value) = object.iter().next().unwrap();
            match kind.as_str() {
                "word" => known(Constant::text(value.as_str().unwrap())),
                "many" => value.as_array().unwrap().iter().flat_map(|v| given(param, v)).collect(),
                "state" => one(ValueType::State(tensor_type(value.as_str().unwrap())), None),
                "labels" => {
                    let labels = value.as_array().unwrap();
                    let texts = labels.iter().map(|label| label.as_str().map(str::to_owned));
                    known(Constant::Labels(match texts.collect() {
                        Some(texts) => Labels::Texts(texts),
                        None => Labels::Ints(labels.iter().filter_map(Value::as_i64).collect()),
                    }))
                }
                dtype => known(constant(DataType::named(dtype).unwrap(), value)),
            }
        }
        value if is_flag(value) => known(constant(DataType::Bool, value)),
        value => known(constant(DataType::Int32, value)),
    }
}

/// The types of our outputs, or what we find.
pub(super) fn ours(
    row: &'static Row,
    args: &Map<String, Value>,
    target: Target,
) -> Result<Vec<String>, String> {
    let given: Vec<_> = args.iter().flat_map(|(param, value)| given(param, value)).collect();
    let bound: Vec<_> = given
        .iter()
        .map(|Given { param, ty, constant }| Bound { param, ty, constant: constant.as_ref() })
        .collect();
    if let Some(finding) = row.check(&bound, target).first() {
        return Err(finding.to_string());
    }
    let types = row.infer(&bound, target)?;
    Ok(types.iter().map(ValueType::to_string).collect())
}

/// What coremltools says of a case.
#[derive(Debug)]
enum Theirs {
    /// These types.
    Types(Vec<String>),
    /// That it has some types.
    Agrees,
    /// That it does not hold.
    Refuses,
}

/// What was compared, and what came out differently.
#[derive(Default)]
struct Comparison {
    compared: usize,
    unexplained: Vec<String>,
    explained: BTreeSet<usize>,
}

impl Comparison {
    fn compare(
        &mut self,
        row: &'static Row,
        args: &Map<String, Value>,
        target: Target,
        theirs: Theirs,
    ) {
        self.compared += 1;
        let ours = ours(row, args, target);
        let same = match (&ours, &theirs) {
            (Ok(ours), Theirs::Types(types)) => ours == types,
            (Ok(_), Theirs::Agrees) | (Err(_), Theirs::Refuses) => true,
            (Ok(_), Theirs::Refuses) | (Err(_), Theirs::Types(_) | Theirs::Agrees) => false,
        };
        if same {
            return;
        }
        let text = Value::Object(args.clone()).to_string();
        let explains =
            |(name, mark, _): &(&str, &str, &str)| *name == row.name && text.contains(mark);
        match DIFFERENT.iter().position(explains) {
            Some(place) => _ = self.explained.insert(place),
            None => {
                self.unexplained.push(format!("{row:?} {text} {target}: {ours:?}, not {theirs:?}"));
            }
        }
    }

    /// Whether the case holds: a digit an opset.
    fn digits(&mut self, row: &'static Row, args: &Map<String, Value>, digits: &str) {
        assert_eq!(digits.len(), OPSETS.len());
        for (target, digit) in OPSETS.into_iter().zip(digits.chars()) {
            let theirs = if digit == '1' { Theirs::Agrees } else { Theirs::Refuses };
            self.compare(row, args, target, theirs);
        }
    }

    fn case(&mut self, row: &'static Row, case: &Value) {
        let args = case[0].as_object().unwrap();
        for answer in case[1].as_array().unwrap() {
            let words = answer[0].as_str().unwrap();
            let asked = |target: &Target| words.split(' ').any(|word| word == target.to_string());
            for target in OPSETS.into_iter().filter(asked) {
                let types: Option<_> = serde_json::from_value(answer[1].clone()).unwrap();
                self.compare(row, args, target, types.map_or(Theirs::Refuses, Theirs::Types));
            }
        }
    }

    /// A constant parameter bound to an input of its type.
    fn constness(&mut self, row: &'static Row, args: &Map<String, Value>, answers: &Value) {
        for (param, digits) in answers.as_object().unwrap() {
            let ty = given(param, &args[param]).remove(0).ty.to_string();
            let mut args = args.clone();
            args.insert(param.clone(), ty.into());
            self.digits(row, &args, digits.as_str().unwrap());
        }
    }

    /// Each parameter in each element type, alone or with those that have its type.
    fn element_types(&mut self, row: &'static Row, first: &Map<String, Value>, answers: &Value) {
        for (param, kinds) in answers.as_object().unwrap() {
            let was = element_type(&first[param]);
            for (kind, answers) in kinds.as_object().unwrap() {
                for dtype in ASKED {
                    let mut args = first.clone();
                    for (other, value) in &mut args {
                        if other == param || (kind == "all" && element_type(value) == was) {
                            *value = retyped(value, dtype);
                        }
                    }
                    let digits = answers.get(dtype.to_string()).and_then(Value::as_str);
                    self.digits(row, &args, digits.unwrap_or("00000"));
                }
            }
        }
    }
}

/// The element type of a value that says it.
fn element_type(value: &Value) -> Option<DataType> {
    match value {
        Value::String(text) => Some(tensor_type(text.trim_start_matches('=')).dtype),
        Value::Object(object) => DataType::named(object.keys().next()?),
        _ => None,
    }
}

fn retyped(value: &Value, dtype: DataType) -> Value {
    match value {
        Value::String(text) => {
            let (head, dims) = text.split_once('[').unwrap();
            let sign = if head.starts_with('=') { "=" } else { "" };
            format!("{sign}{dtype}[{dims}").into()
        }
        Value::Object(object) => {
            let value = object.values().next().unwrap().clone();
            Value::Object([(dtype.to_string(), value)].into_iter().collect())
        }
        _ => unreachable!("only what says its type is given another"),
    }
}

/// What is asked of each operation, and what coremltools answers.
fn answers() -> Vec<Value> {
    serde_json::from_str(include_str!("../../../../fixtures/ops_infer/answers.json")).unwrap()
}

#[test]
fn coremltools_infers_and_refuses_the_same() {
    let mut comparison = Comparison::default();
    let mut asked = BTreeSet::new();
    for entry in &answers() {
        let row = Row::find(entry["op"].as_str().unwrap()).unwrap();
        asked.insert(row.name);
        let cases = entry["cases"].as_array().unwrap();
        assert!(cases.len() >= 3, "{row:?} has {} cases", cases.len());
        cases.iter().for_each(|case| comparison.case(row, case));
        let first = cases[0][0].as_object().unwrap();
        comparison.constness(row, first, &entry["constant"]);
        comparison.element_types(row, first, &entry["types"]);
    }
    assert_eq!(asked, rows().map(|row| row.name).collect());
    let Comparison { compared, unexplained, explained } = comparison;
    assert!(unexplained.is_empty(), "of {compared} cases:\n{}", unexplained.join("\n"));
    assert_eq!(explained.len(), DIFFERENT.len(), "a difference is none any more: {explained:?}");
}

#[test]
fn a_size_that_becomes_known_contradicts_nothing() {
    let (mut agreeing, mut contradictions) = (0, Vec::new());
    for entry in &answers() {
        let row = Row::find(entry["op"].as_str().unwrap()).unwrap();
        for case in entry["cases"].as_array().unwrap() {
            let flexible = case[0].to_string();
            let Ok(before) = ours(row, case[0].as_object().unwrap(), Target::Ios26) else {
                continue;
            };
            // Slices of the cases begin at 8 at most; behind the end there is nothing to be sliced.
            let sizes = if row.name == "slice_by_index" { 9..=24 } else { 1..=24 };
            for size in sizes.filter(|_| flexible.contains('?')) {
                let fixed = flexible.replace('?', &size.to_string());
                let Ok(after) = ours(row, &serde_json::from_str(&fixed).unwrap(), Target::Ios26)
                else {
                    continue;
                };
                let agrees = |(before, after): (&String, &String)| match before.contains('[') {
                    true => tensor_type(before).may_equal(&tensor_type(after)),
                    false => before == after,
                };
                let pairs = before.iter().zip(&after);
                if before.len() == after.len() && pairs.into_iter().all(agrees) {
                    agreeing += 1;
                } else {
                    contradictions.push(format!("{row:?} {fixed}: {before:?}, then {after:?}"));
                }
            }
        }
    }
    assert!(contradictions.is_empty(), "{}", contradictions.join("\n"));
    assert!(agreeing > 1000, "{agreeing}");
}
