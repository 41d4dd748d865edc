//! Properties of the whole table.

mod answers;

use super::*;
use std::collections::BTreeSet;

#[test]
fn each_name_stands_once() {
    let mut names = BTreeSet::new();
    for row in rows() {
        assert!(names.insert(row.name), "{row:?}");
        let params: BTreeSet<_> = row.params.iter().map(|param| param.name).collect();
        assert_eq!(params.len(), row.params.len(), "{row:?}");
    }
}

#[test]
fn absurd_sizes_are_refused() {
    #[rustfmt::skip]
    let cases = [
        ("tile", r#"{"x":"fp16[2, 2]","reps":[2147483647,2147483647]}"#,
         "fp16[4294967294, 4294967294] has more than 2^40 elements"),
        ("tile", r#"{"x":"fp16[2, 2]","reps":"=int32[70000]"}"#, "`reps` is int32[70000], not 2 numbers"),
        ("split", r#"{"x":"fp16[?]","num_splits":2147483647,"axis":0}"#, "2147483647 parts are more than 65536"),
        ("split", r#"{"x":"fp16[?]","split_sizes":"=int32[65537]","axis":0}"#,
         "`split_sizes` is int32[65537], not up to 65536 integers"),
        ("expand_dims", r#"{"x":"fp16[2, 2]","axes":[0,1,2,3,4,5,6]}"#,
         "fp16 of 9 dimensions has more than 8"),
        ("expand_dims", r#"{"x":"fp16[]","axes":"=int32[1099511627776, 0]"}"#, "`axes` are more than 8"),
        ("reshape", r#"{"x":"fp16[?]","shape":[2147483647,2147483647,2147483647]}"#,
         "`shape` is [2147483647, 2147483647, 2147483647], which `x`, fp16[?], cannot take"),
        ("reshape", r#"{"x":"fp16[?]","shape":"int32[9]"}"#, "`shape` is int32[9]: more than 8 dimensions"),
        ("reshape", r#"{"x":"fp16[0]","shape":[-1,0]}"#, "`shape` is [-1, 0], which `x`, fp16[0], cannot take"),
        ("fill", r#"{"shape":[2147483647,2147483647]}"#, "fp32[2147483647, 2147483647] has more than 2^40 elements"),
        ("fill", r#"{"shape":"int32[?]"}"#, "`shape` is int32[?], not up to 8 numbers"),
        ("conv", r#"{"x":"fp16[1, 1, 9]","weight":"=fp16[1, 1, 3]","dilations":[2147483647]}"#,
         "`weight` fp16[1, 1, 3] reaches over the end of `x` fp16[1, 1, 9]"),
        ("conv", r#"{"x":"fp16[1, 1, 9]","weight":"=fp16[1, 1, 3]","strides":[0]}"#,
         "`strides` is [0], not 1 numbers from 1"),
        ("conv_transpose", r#"{"x":"fp16[1, 1, 1099511627776]","weight":"=fp16[1, 1, 3]","strides":[2147483647]}"#,
         "`x` is fp16[1, 1, 1099511627776] beside `weight` fp16[1, 1, 3]: the result has no elements, or too many"),
        ("depth_to_space", r#"{"x":"fp16[1, ?, 9, 9]","block_size":2147483647}"#,
         "fp16[1, ?, 19327352823, 19327352823] has more than 2^40 elements"),
        ("space_to_batch", r#"{"x":"fp16[9, 1, ?, ?]","block_shape":[2147483647,2147483647],"paddings":[[0,0],[0,0]]}"#,
         "`block_shape` does not fit `x`, which is fp16[9, 1, ?, ?]"),
        ("upsample_bilinear", r#"{"x":"fp16[1, 9, 9]","scale_factor_height":{"fp32":1e39}}"#,
         "`scale_factor_height` does not fit `x`, which is fp16[1, 9, 9]"),
        ("range_1d", r#"{"start":0,"end":5,"step":0}"#, "`end` cannot be reached from `start` by `step`"),
        ("range_1d", r#"{"start":{"fp32":0},"end":{"fp32":3e38},"step":{"fp32":1e-38}}"#,
         "`end` cannot be reached from `start` by `step`"),
        ("slice_by_index", r#"{"x":"fp16[9]","begin":[0],"end":[9],"stride":[0]}"#, "`stride` is [0]"),
        ("slice_by_size", r#"{"x":"fp16[9]","begin":[3],"size":[-2]}"#, "`size` is [-2], and `x` is fp16[9]"),
        ("slice_by_size", r#"{"x":"fp16[9]","begin":[3],"size":[7]}"#, "`size` is [7], and `x` is fp16[9]"),
        ("softmax", r#"{"x":"fp16[2]","axis":-2147483648}"#, "`axis` is -2147483648, and there are 1 dimensions"),
    ];
    let mut differ = Vec::new();
    for (operation, args, refused) in cases {
        let args = serde_json::from_str(args).unwrap();
        let found = answers::ours(Row::find(operation).unwrap(), &args, Target::Ios18);
        let found = found.map_or_else(|why| why, |types| types.concat());
        differ.extend((found != refused).then(|| format!("{operation}: {found}")));
    }
    assert_eq!(differ, [""; 0]);
}
