//! The policy is a table, tried from the top; the first row that matches a tensor chooses.
//!
//! | row | tensors | becomes |
//! |---|---|---|
//! | `--rule`, in their order | the pattern matches the name | the rule's scheme |
//! | `--rules FILE`, in their order | the pattern matches the name | the rule's scheme |
//! | not float | F64, integers, 8-bit floats, booleans | copied |
//! | empty | no elements | float |
//! | rank | fewer than two dimensions: norms, biases, scalars | float |
//! | operation | what no `linear`, `conv`, `matmul` or `gather` of a package or a whole model takes as its weight: tables that are added, gains of norms | float |
//! | size | fewer than `--min-elements` elements | float |
//! | default | all others | `--scheme` |
//!
//! A rule overrides the size, but cannot make a quantized weight of what has no rows: a copied type,
//! an empty tensor, a vector. "Float" is FP16, or FP32 where `--scheme` is `float32`.

use super::fit::{fit, turn};
use super::{Header, Options, Output, PlannedTensor, Rule};
use crate::graph::Role;
use crate::graph::lower::supports;
use crate::graph::weight::Storage;
use crate::scheme::{Float, Scheme};
use crate::target::Target;
use crate::tensor::FloatType;
use crate::{Error, Result};
use serde::{Serialize, Serializer};
use std::fmt;

/// Which row of the policy chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chosen {
    /// A rule, in its own words.
    Rule(String),
    /// The stored type is not one that can be quantized.
    NotFloat,
    /// There are no elements.
    Empty,
    /// There are fewer than two dimensions.
    Rank,
    /// No operation takes it as its weight.
    Operation,
    /// There are fewer elements than this limit.
    Small(u64),
    /// No row above: the default scheme.
    Default,
}

impl fmt::Display for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(words) => f.write_str(words),
            Self::NotFloat => f.write_str("not float"),
            Self::Empty => f.write_str("empty"),
            Self::Rank => f.write_str("rank < 2"),
            Self::Operation => f.write_str("operation"),
            Self::Small(limit) => write!(f, "< {limit} elements"),
            Self::Default => f.write_str("default"),
        }
    }
}

impl Serialize for Chosen {
    fn serialize<S: Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// Chooses for each tensor, in order; returns warnings beside.
///
/// # Errors
/// [`Error::Usage`] for a scheme that the target lacks, where an .mlpackage is asked for.
pub fn apply(headers: &[Header], options: &Options) -> Result<(Vec<PlannedTensor>, Vec<String>)> {
    let choose = |(index, header)| plan_tensor(index, header, options);
    let tensors = headers.iter().enumerate().map(choose).collect::<Result<Vec<_>>>()?;
    Ok((tensors, idle_rules(headers, &options.rules)))
}

fn plan_tensor(index: usize, header: &Header, options: &Options) -> Result<PlannedTensor> {
    let (rule, requested) = choose(header, options);
    let (scheme, notes) = settle(header, requested, &rule, options);
    if options.outputs.contains(&Output::Mlpackage) {
        for scheme in [requested, scheme].into_iter().flatten() {
            check_target(&header.name, scheme, options.target)?;
        }
    }
    let float = float_of(header, options);
    let storage = scheme.map(|scheme| {
        let storage = Storage::planned(scheme, &header.shape, index);
        // What the weight stands for has the type of the constant it replaces.
        if header.keeps_type && float == Float::F32 { storage.widened() } else { storage }
    });
    // The shape of an empty tensor may overflow before its zero is met.
    let bytes_after = match &storage {
        Some(storage) if header.elements() > 0 => storage.byte_len(),
        _ => header.bytes,
    };
    Ok(PlannedTensor {
        name: header.name.clone(),
        file: header.file.clone(),
        dtype: header.dtype.clone(),
        shape: header.shape.clone(),
        scheme,
        requested,
        rule,
        notes,
        elements: header.elements(),
        bytes_before: header.bytes,
        bytes_after,
        float,
        storage,
    })
}

/// What a tensor is stored as that stays in float: a package's constant keeps its type.
fn float_of(header: &Header, options: &Options) -> Float {
    match (header.keeps_type, header.float()) {
        (true, Some(FloatType::F32)) => Float::F32,
        (true, _) => Float::F16,
        (false, _) => options.float(),
    }
}

/// Whether a rule or the default chooses for this tensor.
pub fn asks(header: &Header, options: &Options) -> bool {
    choose(header, options).1.is_some()
}

/// The first row that matches, and the scheme it asks for.
fn choose(header: &Header, options: &Options) -> (Chosen, Option<Scheme>) {
    if let Some(rule) = options.rules.iter().find(|rule| rule.matches(header)) {
        return (Chosen::Rule(rule.to_string()), Some(rule.scheme));
    }
    if header.float().is_none() {
        (Chosen::NotFloat, None)
    } else if header.elements() == 0 {
        (Chosen::Empty, None)
    } else if header.shape.len() < 2 {
        (Chosen::Rank, None)
    } else if header.role.as_ref().is_some_and(|role| role.operations.is_empty()) {
        (Chosen::Operation, None)
    } else if header.elements() < options.min_elements {
        (Chosen::Small(options.min_elements), None)
    } else {
        (Chosen::Default, Some(options.scheme))
    }
}

/// What becomes of the tensor, and why that is not what was asked for.
fn settle(
    header: &Header,
    requested: Option<Scheme>,
    rule: &Chosen,
    options: &Options,
) -> (Option<Scheme>, Vec<String>) {
    if header.float().is_none() {
        let why = format!("{} is not F16, BF16 or F32: copied as it is", header.dtype);
        return (None, vec![why]);
    }
    let float = match requested {
        Some(Scheme::Float(float)) if !header.keeps_type => float,
        _ => float_of(header, options),
    };
    let why = if header.elements() == 0 {
        "it holds no elements".into()
    } else if header.shape.len() < 2 {
        format!("rank {}: codes need rows and columns", header.shape.len())
    } else {
        match requested {
            Some(Scheme::Linear(_) | Scheme::Palette(_)) if is_batched(header) => {
                "a product of its matrices one by one, whose outputs lie along no axis that scales or \
                 tables can follow"
                    .into()
            }
            Some(scheme @ (Scheme::Linear(_) | Scheme::Palette(_))) => {
                let second = header.role.as_ref().is_some_and(|role| role.outputs_second);
                let (scheme, mut turned) = if second { turn(scheme) } else { (scheme, vec![]) };
                let (scheme, mut notes) = fit(scheme, &header.shape);
                turned.append(&mut notes);
                let mut notes = turned;
                notes.extend(outgrown(scheme, header));
                return (Some(scheme), notes);
            }
            Some(Scheme::Float(asked)) if asked != float => {
                format!("a constant of a package keeps its type, whatever {} says", Scheme::Float(asked))
            }
            Some(Scheme::Float(_)) => {
                let whose = if *rule == Chosen::Default { "--scheme" } else { "the rule" };
                format!("{whose} says so")
            }
            None if *rule == Chosen::Operation => no_weight(header),
            None => format!("{} elements, fewer than {}", header.elements(), options.min_elements),
        }
    };
    let scheme = Scheme::Float(float);
    (Some(scheme), vec![format!("left in {scheme}: {why}")])
}

/// Whether it holds a matrix for each of several products, as those of experts: outputs along its last
/// axis or the one before, where scales for each output would be shared by all matrices or run along the
/// reduction.
fn is_batched(header: &Header) -> bool {
    let multiplied = |role: &Role| role.operations.contains("matmul");
    header.shape.len() > 2 && header.role.as_ref().is_some_and(multiplied)
}

/// Why it is no weight of an operation.
fn no_weight(header: &Header) -> String {
    let others = header.role.iter().flat_map(|role| &role.others);
    let others: Vec<&str> = others.map(String::as_str).collect();
    match others[..] {
        [] => "no operation takes it as its weight".into(),
        _ => format!("{} takes it, not as a weight", others.join(" and ")),
    }
}

/// A note where tables and scales outweigh what the codes save.
fn outgrown(scheme: Scheme, header: &Header) -> Option<String> {
    let stored = Storage::planned(scheme, &header.shape, 0).byte_len();
    let float = header.elements().saturating_mul(2);
    (stored >= float).then(|| format!("{stored} bytes; float16 takes {float}"))
}

/// Warns of each rule that chooses for no tensor.
fn idle_rules(headers: &[Header], rules: &[Rule]) -> Vec<String> {
    let mut chooses = vec![false; rules.len()];
    let mut matches = vec![false; rules.len()];
    for header in headers {
        let mut first = true;
        for (i, rule) in rules.iter().enumerate() {
            if rule.matches(header) {
                chooses[i] |= std::mem::take(&mut first);
                matches[i] = true;
            }
        }
    }
    let warn = |(i, rule): (usize, &Rule)| match (chooses[i], matches[i]) {
        (true, _) => None,
        (false, true) => {
            Some(format!("{rule} has no effect: earlier rules take every tensor that it matches"))
        }
        (false, false) => Some(format!("{rule} matches no tensor")),
    };
    rules.iter().enumerate().filter_map(warn).collect()
}

/// Refuses a scheme that the target has no form for, with the tensor that it was chosen for.
fn check_target(tensor: &str, scheme: Scheme, target: Target) -> Result<()> {
    supports(scheme, target).map_err(|error| match error {
        Error::Usage(why) => Error::Usage(format!("`{tensor}` as {scheme}: {why}")),
        other => other,
    })
}

#[cfg(test)]
mod tests;
