//! Tensor names as identifiers of MIL.
//!
//! Identifiers match `[A-Za-z_][A-Za-z0-9_@]*` (Core ML's public `MIL.proto`). As coremltools does,
//! every other character becomes `_`, a leading digit gets `_` before it, and reserved words get
//! `_workaround` behind them. Where different names meet, later ones get `_2`, `_3`, …

use std::collections::{BTreeMap, BTreeSet};

/// Words that MIL's text form reserves, from coremltools.
#[rustfmt::skip]
const RESERVED: [&str; 24] = [
    "any", "bool", "program", "func", "tensor", "list", "dict", "tuple", "true", "false", "string",
    "bf16", "fp16", "fp32", "fp64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32",
    "uint64", "state",
];

/// Whether MIL takes it as a name.
pub fn is_identifier(name: &str) -> bool {
    let first = |c: char| c.is_ascii_alphabetic() || c == '_';
    let later = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '@';
    name.starts_with(first) && name.chars().all(later)
}

/// The identifier of a name, if no other name needs it.
pub fn sanitize(name: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '@';
    let mut mapped: String = name.chars().map(|c| if allowed(c) { c } else { '_' }).collect();
    if !mapped.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') {
        mapped.insert(0, '_');
    }
    if RESERVED.contains(&mapped.as_str()) {
        mapped.push_str("_workaround");
    }
    mapped
}

/// `name`, or with the first free of the suffixes `_2`, `_3`, …
pub fn free(name: &str, taken: impl Fn(&str) -> bool) -> String {
    let numbered = (2..).map(|n| format!("{name}_{n}"));
    let mut candidates = std::iter::once(name.to_owned()).chain(numbered);
    candidates.find(|candidate| !taken(candidate)).expect("there are more numbers than names")
}

/// The identifier of each name. Names are served in their own order, whatever the order of
/// `names`; those in `taken` are never given out.
pub fn identifiers<'a>(
    names: impl IntoIterator<Item = &'a str>,
    taken: impl IntoIterator<Item = String>,
) -> BTreeMap<String, String> {
    let sorted: BTreeSet<_> = names.into_iter().collect();
    let mut taken: BTreeSet<String> = taken.into_iter().collect();
    let mut identifiers = BTreeMap::new();
    for name in sorted {
        let identifier = free(&sanitize(name), |candidate| taken.contains(candidate));
        taken.insert(identifier.clone());
        identifiers.insert(name.to_owned(), identifier);
    }
    identifiers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_identifiers_that_differ() {
        #[rustfmt::skip]
        let cases: &[(&[&str], &[&str])] = &[
            (&["model.layers.0.q_proj.weight"],  &["model_layers_0_q_proj_weight"]),
            (&["0.weight", "", "état", "a@b"],   &["_0_weight", "_", "_tat", "a@b"]),
            (&["tensor", "int8", "Tensor"],      &["tensor_workaround", "int8_workaround", "Tensor"]),
            (&["a_b", "a.b", "a-b", "a_b_2"],    &["a_b_3", "a_b_2", "a_b", "a_b_2_2"]),
            (&["é", "ü", "_"],                   &["__2", "__3", "_"]),
            (&["x", "y.z"],                      &["x_2", "y_z"]),
        ];
        for (names, want) in cases {
            let got = identifiers(names.iter().copied(), ["x".into(), "y".into()]);
            let got: Vec<_> = names.iter().map(|&name| got[name].as_str()).collect();
            assert_eq!(got, *want, "{names:?}");
            assert!(got.iter().all(|name| is_identifier(name)));
        }
    }
}
