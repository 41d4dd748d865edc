//! How each constexpr operation is written for each target.

use super::finding::{quoted, quoted_all};
use crate::formats::mil;
use crate::target::Target;
use Written::{Always, As16, As18};

/// Which targets know a form.
#[derive(Clone, Copy, PartialEq)]
enum Written {
    /// Before iOS 18: parameters are attributes.
    As16,
    /// From iOS 18 on: parameters are inputs.
    As18,
    /// In all targets, as attributes: it has no later form.
    Always,
}

/// Operation, targets, parameters.
#[rustfmt::skip]
const FORMS: [(&str, Written, &[&str]); 10] = [
    ("constexpr_affine_dequantize",            Always, &["axis", "quantized_data", "scale", "zero_point"]),
    ("constexpr_blockwise_shift_scale",        As18,   &["data", "offset", "scale"]),
    ("constexpr_cast",                         As16,   &["output_dtype", "source_val"]),
    ("constexpr_cast",                         As18,   &["output_dtype", "source_val"]),
    ("constexpr_lut_to_dense",                 As16,   &["indices", "lut", "shape"]),
    ("constexpr_lut_to_dense",                 As18,   &["indices", "lut", "vector_axis"]),
    ("constexpr_lut_to_sparse",                As18,   &["indices_mask", "indices_nonzero_data", "lut", "vector_axis"]),
    ("constexpr_sparse_blockwise_shift_scale", As18,   &["data_mask", "nonzero_data", "offset", "scale"]),
    ("constexpr_sparse_to_dense",              As16,   &["mask", "nonzero_data", "shape"]),
    ("constexpr_sparse_to_dense",              As18,   &["mask", "nonzero_data"]),
];

/// What of a constexpr operation is not written as `target` wants it: parameter and finding.
pub(super) fn check(operation: &mil::Operation, target: Target) -> Vec<(String, String)> {
    let kind = operation.r#type.as_str();
    let known = |written| match written {
        As16 => (Target::Ios16..Target::Ios18).contains(&target),
        As18 => target >= Target::Ios18,
        Always => target >= Target::Ios16,
    };
    let mut forms = FORMS.iter().filter(|(name, ..)| *name == kind).peekable();
    if forms.peek().is_none() {
        return vec![(String::new(), format!("there is no operation {}", quoted(kind)))];
    }
    let Some((_, written, params)) = forms.find(|(_, written, _)| known(*written)) else {
        let since = if target < Target::Ios16 { Target::Ios16 } else { Target::Ios18 };
        return vec![(String::new(), format!("it needs {since}, the package is for {target}"))];
    };
    let attributes = operation.attributes.keys().filter(|name| *name != "name");
    let inputs = operation.inputs.keys();
    let (right, wrong): (Vec<_>, Vec<_>) = match written {
        As16 | Always => (attributes.collect(), inputs.collect()),
        As18 => (inputs.collect(), attributes.collect()),
    };
    let (are, not) = match written {
        As16 | Always => ("attributes", "inputs"),
        As18 => ("inputs", "attributes"),
    };
    let misplaced = wrong.into_iter().map(|name| {
        (name.clone(), format!("parameters of {kind} are {are} for {target}, not {not}"))
    });
    let unknown = right.into_iter().filter(|name| !params.contains(&name.as_str()));
    let unknown = unknown.map(|name| {
        let known = quoted_all(params.iter().copied());
        (name.clone(), format!("{kind} has no such parameter; it has {known}"))
    });
    misplaced.chain(unknown).collect()
}
