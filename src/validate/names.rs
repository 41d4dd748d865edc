//! Names of weights in programs and in checkpoints.

/// What converters and compressors append to the name of a weight. Source: coremltools' passes that
/// make constants half as wide, and its compressions.
const SUFFIXES: [&str; 10] = [
    "_to_fp16",
    "_to_fp32",
    "_quantized",
    "_palettized",
    "_pcs",
    "_sparsified",
    "_compressed",
    "_affine_dequantize",
    "_lut",
    "_dequantized",
];

/// A value's name without what converters and compressors appended.
pub(super) fn stem(name: &str) -> &str {
    let mut stem = name;
    while let Some(shorter) = SUFFIXES.iter().find_map(|suffix| stem.strip_suffix(suffix)) {
        stem = shorter;
    }
    stem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_appended_comes_off() {
        for (name, want) in [
            ("fc1_weight_to_fp16_quantized", "fc1_weight"),
            ("fc1_weight_to_fp16_palettized_pcs", "fc1_weight"),
            ("fc1_weight", "fc1_weight"),
            ("w_quantized_by_me", "w_quantized_by_me"),
        ] {
            assert_eq!(stem(name), want);
        }
    }
}
