//! Broken files, the `safetensors` crate as a second opinion, and what mutations do.

use super::{Dtype, Entry, Header, Index, Layout, shown};
use ::safetensors::SafeTensors;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// A file of a header's text and `data` bytes.
fn file(header: &str, data: usize) -> Vec<u8> {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend_from_slice(header.as_bytes());
    file.extend((0..data).map(|i| i as u8));
    file
}

/// One line a case: its name, and the words that its error has for users.
fn lines<E: std::fmt::Display>(
    cases: impl IntoIterator<Item = (&'static str, Option<E>)>,
) -> String {
    let line = |(name, error): (&str, Option<E>)| match error {
        Some(error) => format!("{name}:\n  {error}\n"),
        None => format!("{name}:\n  (accepted)\n"),
    };
    cases.into_iter().map(line).collect()
}

#[test]
fn each_broken_file_gives_its_own_place_finding_and_remedy() {
    let one = |fields: &str, data| file(&format!("{{\"x\":{{{fields}}}}}"), data);
    let huge = [&u64::MAX.to_le_bytes()[..], b"{}"].concat();
    let f16 = |dims: &str, offsets: &str, data| {
        one(&format!(r#""dtype":"F16","shape":[{dims}],"data_offsets":[{offsets}]"#), data)
    };
    let two = |a: &str, b: &str, data| {
        let u8s = |name: &str, range: &str| {
            let (begin, end) = range.split_once(',').expect("two numbers");
            let len = end.parse::<u64>().expect("end") - begin.parse::<u64>().expect("begin");
            format!(r#""{name}":{{"dtype":"U8","shape":[{len}],"data_offsets":[{range}]}}"#)
        };
        file(&format!("{{{},{}}}", u8s("a", a), u8s("b", b)), data)
    };
    let mut not_utf8 = file(r#"{"?":{}}"#, 0);
    not_utf8[10] = 0xff;
    let deep = file(&format!("{{\"x\":{}", "[".repeat(1000)), 0);
    let long_name = "n".repeat(100_000);

    #[rustfmt::skip]
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("seven bytes",              vec![0; 7]),
        ("a length beyond the file", file("{}", 0)[..9].to_vec()),
        ("a length beyond all",      huge),
        ("a length above the limit", (200_000_000u64).to_le_bytes().to_vec()),
        ("a Git LFS pointer",        b"version https://git-lfs.github.com/spec/v1\n".to_vec()),
        ("a PyTorch file",           b"PK\x03\x04\x00\x00\x08\x08rest of it".to_vec()),
        ("a web page",               b"<!DOCTYPE html><html>".to_vec()),
        ("no header",                file("", 0)),
        ("not UTF-8",                not_utf8),
        ("a list",                   file("[1]", 0)),
        ("a space before",           file(" {}", 0)),
        ("text behind",              file("{} x", 0)),
        ("not closed",               file("{\"x\":", 0)),
        ("not JSON, second line",    file("{\n  \"x\": nope}", 0)),
        ("a lone surrogate",         file(r#"{"\ud800":{}}"#, 0)),
        ("nesting",                  deep),
        ("an entry that is a list",  file(r#"{"x":["F16",[1],[0,2]]}"#, 2)),
        ("a tensor twice",           file(r#"{"x":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"\u0078":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}"#, 1)),
        ("a field twice",            one(r#""dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]"#, 0)),
        ("metadata twice",           file(r#"{"__metadata__":{},"__metadata__":{}}"#, 0)),
        ("a metadata key twice",     file(r#"{"__metadata__":{"a":"1","a":"2"}}"#, 0)),
        ("metadata of numbers",      file(r#"{"__metadata__":{"a":1}}"#, 0)),
        ("metadata of null",         file(r#"{"__metadata__":null}"#, 0)),
        ("an unknown field",         one(r#""dtype":"U8","strides":[1]"#, 0)),
        ("no dtype",                 one(r#""shape":[0],"data_offsets":[0,0]"#, 0)),
        ("no shape",                 one(r#""dtype":"U8","data_offsets":[0,0]"#, 0)),
        ("no offsets",               one(r#""dtype":"U8","shape":[0]"#, 0)),
        ("one offset",               one(r#""dtype":"U8","shape":[0],"data_offsets":[0]"#, 0)),
        ("three offsets",            one(r#""dtype":"U8","shape":[0],"data_offsets":[0,0,0]"#, 0)),
        ("an unknown type",          one(r#""dtype":"Q4_0","shape":[0],"data_offsets":[0,0]"#, 0)),
        ("a type as an object",      one(r#""dtype":{"F16":null},"shape":[0],"data_offsets":[0,0]"#, 0)),
        ("a negative offset",        f16("1", "-2,0", 2)),
        ("a negative dimension",     f16("-1", "0,2", 2)),
        ("a fractional dimension",   f16("1.5", "0,2", 2)),
        ("an offset of 2^64",        f16("1", "0,18446744073709551616", 2)),
        ("a dimension as text",      f16("\"1\"", "0,2", 2)),
        ("offsets backwards",        f16("1", "2,0", 2)),
        ("bytes beyond the data",    f16("4", "0,8", 6)),
        ("an overflowing shape",     f16("4294967296,4294967296", "0,2", 2)),
        ("an overflowing type",      f16("2305843009213693952", "0,2", 2)),
        ("overflow behind a zero",   f16("0,4294967296,4294967296", "0,0", 0)),
        ("too short for its shape",  f16("3", "0,4", 4)),
        ("a long shape",             f16("1,1,1,1,1,1,1,1,1,2", "0,2", 2)),
        ("rank 64",                  f16(&["1"; 64].join(","), "0,2", 2)),
        ("rank 65",                  f16(&["1"; 65].join(","), "0,2", 2)),
        ("half a byte",              one(r#""dtype":"F4","shape":[3],"data_offsets":[0,1]"#, 1)),
        ("an overlap",               two("0,4", "2,6", 6)),
        ("one place for two",        two("0,4", "0,4", 4)),
        ("a hole",                   two("0,2", "4,6", 6)),
        ("a hole at the start",      two("2,4", "4,6", 6)),
        ("bytes behind the last",    two("0,2", "2,4", 7)),
        ("bytes of no tensor",       file("{}", 3)),
        ("a name with a newline",    file("{\"a\\n\\u001b[31mb\":{}}", 0)),
        ("a long name",              file(&format!("{{\"{long_name}\":{{}}}}"), 0)),
        ("a long type",              one(&format!(r#""dtype":"{long_name}""#), 0)),
        ("a long text for a list",   one(&format!(r#""shape":"{long_name}""#), 0)),
    ];
    let errors = cases.into_iter().map(|(name, bytes)| (name, Header::parse(&bytes).err()));
    insta::assert_snapshot!(lines(errors), @r#"
    seven bytes:
      malformed safetensors, byte 0: the file has 7 bytes; a header's length takes 8; the file is cut short or damaged: download it again
    a length beyond the file:
      malformed safetensors, byte 0: a header of 2 bytes does not fit in a file of 9; the file is cut short or damaged: download it again
    a length beyond all:
      malformed safetensors, byte 0: a header of 18446744073709551615 bytes is above the limit of 100000000; give a .safetensors file
    a length above the limit:
      malformed safetensors, byte 0: a header of 200000000 bytes is above the limit of 100000000; give a .safetensors file
    a Git LFS pointer:
      malformed safetensors, byte 0: this is a Git LFS pointer, not the weights; run `git lfs pull`
    a PyTorch file:
      malformed safetensors, byte 0: this is a zip archive, as PyTorch and NumPy write them; save the weights as .safetensors first
    a web page:
      malformed safetensors, byte 0: this is a web page or XML; download the file itself, not its page
    no header:
      malformed safetensors, byte 8: the header is empty; give a .safetensors file
    not UTF-8:
      malformed safetensors, byte 10: the header is not UTF-8 text; the file is cut short or damaged: download it again
    a list:
      malformed safetensors, byte 8: the header starts with `[`, not `{`; give a .safetensors file
    a space before:
      malformed safetensors, byte 8: the header starts with ` `, not `{`; give a .safetensors file
    text behind:
      malformed safetensors, byte 11: trailing characters; the file is damaged: download it again
    not closed:
      malformed safetensors, byte 13, tensor `x`: EOF while parsing a value; the file is damaged: download it again
    not JSON, second line:
      malformed safetensors, byte 18, tensor `x`: expected ident; the file is damaged: download it again
    a lone surrogate:
      malformed safetensors, byte 16: unexpected end of hex escape; the file is damaged: download it again
    nesting:
      malformed safetensors, byte 12, tensor `x`: invalid type: sequence, expected an object of `dtype`, `shape` and `data_offsets`; the program that wrote it has a fault: save it again with another
    an entry that is a list:
      malformed safetensors, byte 12, tensor `x`: invalid type: sequence, expected an object of `dtype`, `shape` and `data_offsets`; the program that wrote it has a fault: save it again with another
    a tensor twice:
      malformed safetensors, byte 68: `x` is listed a second time; the program that wrote it has a fault: save it again with another
    a field twice:
      malformed safetensors, byte 38, tensor `x`, `dtype`: the field stands there a second time; the program that wrote it has a fault: save it again with another
    metadata twice:
      malformed safetensors, byte 40: `__metadata__` is listed a second time; the program that wrote it has a fault: save it again with another
    a metadata key twice:
      malformed safetensors, byte 40, `__metadata__`: key `a` stands there a second time; the program that wrote it has a fault: save it again with another
    metadata of numbers:
      malformed safetensors, byte 29, `__metadata__`: invalid type: integer `1`, expected a string; the program that wrote it has a fault: save it again with another
    metadata of null:
      malformed safetensors, byte 27, `__metadata__`: invalid type: null, expected an object of strings; the program that wrote it has a fault: save it again with another
    an unknown field:
      malformed safetensors, byte 35, tensor `x`: field `strides` is none of `dtype`, `shape`, `data_offsets`; the program that wrote it has a fault: save it again with another
    no dtype:
      malformed safetensors, byte 46, tensor `x`: `dtype` is missing; the program that wrote it has a fault: save it again with another
    no shape:
      malformed safetensors, byte 47, tensor `x`: `shape` is missing; the program that wrote it has a fault: save it again with another
    no offsets:
      malformed safetensors, byte 38, tensor `x`: `data_offsets` is missing; the program that wrote it has a fault: save it again with another
    one offset:
      malformed safetensors, byte 57, tensor `x`: `data_offsets` holds 1 numbers, not 2; the program that wrote it has a fault: save it again with another
    three offsets:
      malformed safetensors, byte 60, tensor `x`, `data_offsets`: the list holds more than 2 numbers; the program that wrote it has a fault: save it again with another
    an unknown type:
      byte 27, tensor `x`, `dtype`: type `Q4_0` is unknown; known are F16, BF16, F32 (which can be quantized), F64, C64, BOOL, U8, I8, U16, I16, U32, I32, U64, I64, F8_E4M3, F8_E5M2, F8_E8M0, F8_E4M3FNUZ, F8_E5M2FNUZ, F6_E2M3, F6_E3M2, F4
    a type as an object:
      malformed safetensors, byte 21, tensor `x`, `dtype`: invalid type: map, expected the name of a type, such as "F16"; the program that wrote it has a fault: save it again with another
    a negative offset:
      malformed safetensors, byte 57, tensor `x`, `data_offsets`: -2 is negative; the program that wrote it has a fault: save it again with another
    a negative dimension:
      malformed safetensors, byte 38, tensor `x`, `shape`: -1 is negative; the program that wrote it has a fault: save it again with another
    a fractional dimension:
      malformed safetensors, byte 39, tensor `x`, `shape`: 1.5 is not a whole number below 2^64; the program that wrote it has a fault: save it again with another
    an offset of 2^64:
      malformed safetensors, byte 77, tensor `x`, `data_offsets`: 1.8446744073709552e19 is not a whole number below 2^64; the program that wrote it has a fault: save it again with another
    a dimension as text:
      malformed safetensors, byte 39, tensor `x`, `shape`: invalid type: string "1", expected a whole number; the program that wrote it has a fault: save it again with another
    offsets backwards:
      malformed safetensors, tensor `x`: its bytes begin at 2 and end before, at 0; the program that wrote it has a fault: save it again with another
    bytes beyond the data:
      malformed safetensors, tensor `x`: its bytes end at 8 of the data, which has 6; the file is cut short or damaged: download it again
    an overflowing shape:
      malformed safetensors, tensor `x`: shape [4294967296, 4294967296] of F16 has 2^64 bits or more; the program that wrote it has a fault: save it again with another
    an overflowing type:
      malformed safetensors, tensor `x`: shape [2305843009213693952] of F16 has 2^64 bits or more; the program that wrote it has a fault: save it again with another
    overflow behind a zero:
      malformed safetensors, tensor `x`: shape [0, 4294967296, 4294967296] of F16 has 2^64 bits or more; the program that wrote it has a fault: save it again with another
    too short for its shape:
      malformed safetensors, tensor `x`: shape [3] of F16 takes 6 bytes, the offsets give it 4; the program that wrote it has a fault: save it again with another
    a long shape:
      malformed safetensors, tensor `x`: shape [1, 1, 1, 1, 1, 1, 1, 1, …] of F16 takes 4 bytes, the offsets give it 2; the program that wrote it has a fault: save it again with another
    rank 64:
      (accepted)
    rank 65:
      byte 166, tensor `x`, `shape`: the list holds more than 64 numbers; shapes of up to 64 can be read
    half a byte:
      malformed safetensors, tensor `x`: shape [3] of F4 ends within a byte; the program that wrote it has a fault: save it again with another
    an overlap:
      malformed safetensors, tensor `b`: its bytes begin at 2 of the data, within tensor `a`, which ends at 4; the program that wrote it has a fault: save it again with another
    one place for two:
      malformed safetensors, tensor `b`: its bytes begin at 0 of the data, within tensor `a`, which ends at 4; the program that wrote it has a fault: save it again with another
    a hole:
      malformed safetensors, tensor `b`: bytes 2 to 4 of the data before it belong to no tensor; the program that wrote it has a fault: save it again with another
    a hole at the start:
      malformed safetensors, tensor `a`: bytes 0 to 2 of the data before it belong to no tensor; the program that wrote it has a fault: save it again with another
    bytes behind the last:
      malformed safetensors, byte 4 of the data: 3 bytes behind the last tensor belong to none; the file is cut short or damaged: download it again
    bytes of no tensor:
      malformed safetensors, byte 0 of the data: 3 bytes behind the last tensor belong to none; the file is cut short or damaged: download it again
    a name with a newline:
      malformed safetensors, byte 27, tensor `a\n\u{1b}[31mb`: `dtype` is missing; the program that wrote it has a fault: save it again with another
    a long name:
      malformed safetensors, byte 100013, tensor `nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn…`: `dtype` is missing; the program that wrote it has a fault: save it again with another
    a long type:
      byte 100023, tensor `x`, `dtype`: type `nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn…` is unknown; known are F16, BF16, F32 (which can be quantized), F64, C64, BOOL, U8, I8, U16, I16, U32, I32, U64, I64, F8_E4M3, F8_E5M2, F8_E8M0, F8_E4M3FNUZ, F8_E5M2FNUZ, F6_E2M3, F6_E3M2, F4
    a long text for a list:
      malformed safetensors, byte 100023, tensor `x`, `shape`: invalid type: string "nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn…; the program that wrote it has a fault: save it again with another
    "#);
}

#[test]
fn each_broken_index_gives_its_own_place_finding_and_remedy() {
    let map = |entries: &str| format!(r#"{{"metadata":{{}},"weight_map":{{{entries}}}}}"#);
    #[rustfmt::skip]
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("not UTF-8",           b"{\"\xff\"".to_vec()),
        ("empty",               vec![]),
        ("a list",              b"[]".to_vec()),
        ("no map",              br#"{"metadata":{}}"#.to_vec()),
        ("an empty map",        map("").into()),
        ("a map of lists",      map(r#""x":["a.safetensors"]"#).into()),
        ("a map that is none",  br#"{"weight_map":[]}"#.to_vec()),
        ("two maps",            br#"{"weight_map":{"x":"a.safetensors"},"weight_map":{"x":"a.safetensors"}}"#.to_vec()),
        ("a tensor twice",      map(r#""x":"a.safetensors","x":"b.safetensors""#).into()),
        ("a parent folder",     map(r#""x":"../a.safetensors""#).into()),
        ("a backslash",         map(r#""x":"..\\a.safetensors""#).into()),
        ("an absolute path",    map(r#""x":"/etc/a.safetensors""#).into()),
        ("a drive",             map(r#""x":"C:a.safetensors""#).into()),
        ("no name",             map(r#""x":"""#).into()),
        ("a hidden file",       map(r#""x":"..""#).into()),
        ("another format",      map(r#""x":"pytorch_model-00001-of-00002.bin""#).into()),
        ("text behind",         format!("{} {{}}", map(r#""x":"a.safetensors""#)).into()),
    ];
    let errors = cases.into_iter().map(|(name, bytes)| (name, Index::parse(&bytes).err()));
    insta::assert_snapshot!(lines(errors), @r#"
    not UTF-8:
      malformed safetensors index, byte 2: this is not UTF-8 text; download the file again
    empty:
      malformed safetensors index, byte 0: EOF while parsing a value; the file is damaged: download it again
    a list:
      malformed safetensors index, byte 0: invalid type: sequence, expected an object with a `weight_map`; the program that wrote it has a fault: save it again with another
    no map:
      malformed safetensors index, byte 14: `weight_map` is missing; give the index of a checkpoint
    an empty map:
      malformed safetensors index, byte 30: `weight_map` names no tensor; the program that wrote it has a fault: save it again with another
    a map of lists:
      malformed safetensors index, byte 32, tensor `x`: invalid type: sequence, expected a string; the program that wrote it has a fault: save it again with another
    a map that is none:
      malformed safetensors index, byte 13, `weight_map`: invalid type: sequence, expected an object of tensor names and file names; the program that wrote it has a fault: save it again with another
    two maps:
      malformed safetensors index, byte 70: field `weight_map` stands there a second time; the program that wrote it has a fault: save it again with another
    a tensor twice:
      malformed safetensors index, byte 68, tensor `x`: the tensor is listed a second time; the program that wrote it has a fault: save it again with another
    a parent folder:
      malformed safetensors index, byte 51, tensor `x`: `../a.safetensors` is not the plain name of a file; shards lie beside their index
    a backslash:
      malformed safetensors index, byte 52, tensor `x`: `..\\a.safetensors` is not the plain name of a file; shards lie beside their index
    an absolute path:
      malformed safetensors index, byte 53, tensor `x`: `/etc/a.safetensors` is not the plain name of a file; shards lie beside their index
    a drive:
      malformed safetensors index, byte 50, tensor `x`: `C:a.safetensors` is not the plain name of a file; shards lie beside their index
    no name:
      malformed safetensors index, byte 35, tensor `x`: `` is not a .safetensors file; save the weights as .safetensors first
    a hidden file:
      malformed safetensors index, byte 37, tensor `x`: `..` is not the plain name of a file; shards lie beside their index
    another format:
      malformed safetensors index, byte 67, tensor `x`: `pytorch_model-00001-of-00002.bin` is not a .safetensors file; save the weights as .safetensors first
    text behind:
      malformed safetensors index, byte 51: trailing characters; the file is damaged: download it again
    "#);
}

#[test]
fn an_index_gives_its_map_in_order_and_its_shards_once() {
    let text = br#"{"metadata": {"total_size": 1e3, "deep": [[{}]]},
        "weight_map": {"z": "b.safetensors", "a": "a.safetensors", "m": "b.safetensors"}}"#;
    let index = Index::parse(text).expect("a sound index");
    let names: Vec<&str> = index.weight_map.iter().map(|(name, _)| &name[..]).collect();
    assert_eq!(names, ["z", "a", "m"]);
    assert_eq!(index.shards(), ["a.safetensors", "b.safetensors"]);
}

#[test]
fn a_header_is_read_from_a_prefix_of_its_file() {
    let header = r#"{"x":{"dtype":"U8","shape":[1000000],"data_offsets":[0,1000000]}}"#;
    let prefix = file(header, 0);
    let file_len = prefix.len() as u64 + 1_000_000;
    assert_eq!(Header::data_start(&prefix[..8], file_len).expect("a length"), prefix.len() as u64);
    let parsed = Header::parse_prefix(&prefix, file_len).expect("sound");
    assert_eq!(parsed.tensors[0].shape, [1_000_000]);
    let short = Header::parse_prefix(&prefix[..20], file_len);
    insta::assert_snapshot!(short.expect_err("too short"), @"bug in twolane, header: 20 bytes were given of 73; please report it");
}

#[test]
fn empty_tensors_keep_the_headers_order_and_scalars_have_no_shape() {
    let u8s = |name: &str, shape: &str, begin: u64, end: u64| {
        format!(r#""{name}":{{"shape":{shape},"data_offsets":[{begin},{end}],"dtype":"U8"}}"#)
    };
    let header = [
        u8s("last", "[1,1,1,1,1,1,1,1]", 1, 2),
        u8s("empty b", "[0]", 1, 1),
        u8s("empty a", "[3,0]", 1, 1),
        u8s("scalar", "[]", 0, 1),
    ];
    let bytes = file(&format!("{{{}}}   ", header.join(",")), 2);
    let parsed = sound(&bytes).expect("sound");
    let names: Vec<&str> = parsed.tensors.iter().map(|t| &t.name[..]).collect();
    assert_eq!(names, ["scalar", "empty b", "empty a", "last"]);
    assert_eq!(parsed.tensors[0].shape, [0; 0]);
}

#[test]
fn every_type_that_is_said_to_be_known_is_read() {
    let (_, types) = super::wire::KNOWN_DTYPES.split_once("are ").expect("a list");
    let types = types.replace(" (which can be quantized)", "");
    let types: Vec<&str> = types.split(", ").collect();
    assert_eq!(types.len(), 22);
    for dtype in types {
        let text = format!(r#"{{"x":{{"dtype":"{dtype}","shape":[0],"data_offsets":[0,0]}}}}"#);
        let parsed = sound(&file(&text, 0)).expect(dtype);
        assert_eq!(parsed.tensors[0].dtype.to_string(), dtype);
    }
}

#[test]
fn a_layout_aligns_every_tensor_and_is_what_the_header_says() {
    let tensors = [
        ("odd".to_owned(), Dtype::U8, vec![3]),
        ("half".to_owned(), Dtype::F16, vec![5]),
        ("count".to_owned(), Dtype::I64, vec![]),
        ("none".to_owned(), Dtype::F32, vec![0, 7]),
        ("other half".to_owned(), Dtype::BF16, vec![1, 2]),
    ];
    let metadata = BTreeMap::from([("format".into(), "pt".into()), ("b\"".into(), "\n".into())]);
    let layout = Layout::new(&tensors, &metadata).expect("a layout");
    insta::assert_snapshot!(String::from_utf8_lossy(&layout.header[8..]), @r#"{"__metadata__":{"b\"":"\n","format":"pt"},"count":{"dtype":"I64","shape":[],"data_offsets":[0,8]},"none":{"dtype":"F32","shape":[0,7],"data_offsets":[8,8]},"half":{"dtype":"F16","shape":[5],"data_offsets":[8,18]},"other half":{"dtype":"BF16","shape":[1,2],"data_offsets":[18,22]},"odd":{"dtype":"U8","shape":[3],"data_offsets":[22,25]}}"#);
    for ((name, dtype, _), &offset) in tensors.iter().zip(&layout.offsets) {
        assert_eq!(offset as usize * 8 % dtype.bitsize(), 0, "{name}");
    }
    assert_eq!(layout.header.len() % 8, 0);
    assert_eq!(layout.file_len, layout.header.len() as u64 + 8 + 10 + 4 + 3);
}

#[test]
fn a_layout_refuses_what_no_reader_would_take() {
    let layout = |tensors: &[(&str, Dtype, &[usize])]| {
        let owned =
            tensors.iter().map(|&(name, dtype, shape)| (name.into(), dtype, shape.to_vec()));
        Layout::new(&owned.collect::<Vec<_>>(), &BTreeMap::new()).err()
    };
    const NINE: [&str; 9] = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
    let big: &[usize] = &[usize::MAX / 8];
    let cases = [
        ("a name twice", layout(&[("x", Dtype::U8, &[1]), ("x", Dtype::U8, &[1])])),
        ("the name of metadata", layout(&[("__metadata__", Dtype::U8, &[1])])),
        ("half a byte", layout(&[("x", Dtype::F4, &[3])])),
        ("too many bits", layout(&[("x", Dtype::F16, &[usize::MAX])])),
        ("too many together", layout(&NINE.map(|name| (name, Dtype::U8, big)))),
        ("a long header", layout(&[(&"x".repeat(100_000_000), Dtype::U8, &[1])])),
    ];
    insta::assert_snapshot!(lines(cases), @r#"
    a name twice:
      bug in twolane, safetensors tensor `x`: the header cannot hold this name a second time; please report it
    the name of metadata:
      bug in twolane, safetensors tensor `__metadata__`: the header cannot hold this name a second time; please report it
    half a byte:
      bug in twolane, safetensors tensor `x`: its shape and type give no length in bytes; please report it
    too many bits:
      bug in twolane, safetensors tensor `x`: its shape and type give no length in bytes; please report it
    too many together:
      bug in twolane, safetensors tensor `i`: its shape and type give no length in bytes; please report it
    a long header:
      header to be written: names, shapes and metadata take 100000056 bytes; the format allows 100000000
    "#);
}

#[test]
fn an_empty_layout_is_a_file() {
    let layout = Layout::new(&[], &BTreeMap::new()).expect("a layout");
    assert_eq!(layout.header, b"\x08\0\0\0\0\0\0\0{}      ");
    assert!(sound(&layout.header).expect("sound").tensors.is_empty());
}

#[test]
fn names_are_printed_without_control_characters_and_cut() {
    assert_eq!(shown("a\u{1b}[2Jb\n\u{202e}"), "a\\u{1b}[2Jb\\n\\u{202e}");
    assert_eq!(shown(&"ä".repeat(119)), "ä".repeat(119));
    assert_eq!(shown(&"ä".repeat(500)), format!("{}…", "ä".repeat(120)));
}

/// Parses a whole file; what passes must pass the `safetensors` crate too, and mean the same.
fn sound(bytes: &[u8]) -> Option<Header> {
    let header = Header::parse(bytes).ok()?;
    let theirs = SafeTensors::deserialize(bytes).expect("the safetensors crate accepts it too");
    assert_eq!(theirs.len(), header.tensors.len());
    let data = &bytes[header.data_start as usize..];
    let mut covered = 0;
    for Entry { name, dtype, shape, data_offsets } in &header.tensors {
        assert_eq!(data_offsets.start, covered);
        covered = data_offsets.end;
        let view = theirs.tensor(name).expect("the same name");
        assert_eq!((view.dtype(), view.shape()), (*dtype, &shape[..]));
        assert_eq!(view.data(), &data[data_offsets.start as usize..data_offsets.end as usize]);
    }
    assert_eq!(covered, data.len() as u64);
    let (_, metadata) = SafeTensors::read_metadata(bytes).expect("read just before");
    let theirs = metadata.metadata().clone().unwrap_or_default();
    assert_eq!(theirs.into_iter().collect::<BTreeMap<_, _>>(), header.metadata);
    Some(header)
}

const DTYPES: [Dtype; 9] = [
    Dtype::F16,
    Dtype::BF16,
    Dtype::F32,
    Dtype::F64,
    Dtype::I64,
    Dtype::U8,
    Dtype::BOOL,
    Dtype::I32,
    Dtype::F8_E4M3,
];

fn any_tensors() -> impl Strategy<Value = Vec<(String, Dtype, Vec<usize>)>> {
    let tensor = (
        any::<String>().prop_filter("reserved", |name| name != "__metadata__"),
        proptest::sample::select(&DTYPES[..]),
        proptest::collection::vec(0usize..5, 0..=4),
    );
    proptest::collection::vec(tensor, 0..8).prop_map(|mut tensors| {
        tensors.sort_by(|a, b| a.0.cmp(&b.0));
        tensors.dedup_by(|a, b| a.0 == b.0);
        tensors
    })
}

fn any_metadata() -> impl Strategy<Value = BTreeMap<String, String>> {
    proptest::collection::btree_map(any::<String>(), any::<String>(), 0..4)
}

/// A laid out file, its data filled with a pattern.
fn filled(tensors: &[(String, Dtype, Vec<usize>)], metadata: &BTreeMap<String, String>) -> Vec<u8> {
    let layout = Layout::new(tensors, metadata).expect("small and sound");
    let mut bytes = layout.header;
    bytes.extend((bytes.len() as u64..layout.file_len).map(|i| (i * 31) as u8));
    bytes
}

/// Pieces of headers, sound and not, to be put into other headers.
const PIECES: [&str; 24] = [
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "\"",
    "0",
    "1",
    "-1",
    "2",
    "1e9",
    "18446744073709551615",
    "null",
    "\"dtype\":\"F16\"",
    "\"shape\":[]",
    "\"data_offsets\":[0,0]",
    "\"F4\"",
    "\"__metadata__\":{}",
    "\"x\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}",
    "\\u0000",
    " ",
    "\n",
    "[0,0]",
];

proptest! {
    #[test]
    fn what_is_laid_out_is_read_back(tensors in any_tensors(), metadata in any_metadata()) {
        let layout = Layout::new(&tensors, &metadata).expect("small and sound");
        let header = sound(&filled(&tensors, &metadata)).expect("sound");
        prop_assert_eq!(&header.metadata, &metadata);
        prop_assert_eq!(header.data_start, layout.header.len() as u64);
        prop_assert_eq!(header.tensors.len(), tensors.len());
        for ((name, dtype, shape), offset) in tensors.iter().zip(&layout.offsets) {
            let entry = header.tensors.iter().find(|t| t.name == *name).expect("laid out");
            prop_assert_eq!((entry.dtype, &entry.shape), (*dtype, shape));
            prop_assert_eq!(header.data_start + entry.data_offsets.start, *offset);
        }
    }

    #[test]
    fn a_mutated_file_is_an_error_or_sound(
        tensors in any_tensors(),
        metadata in any_metadata(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in proptest::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = filled(&tensors, &metadata);
        for (at, value) in edits {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        sound(&bytes);
    }

    #[test]
    fn a_header_with_pieces_put_in_is_an_error_or_sound(
        tensors in any_tensors(),
        pieces in proptest::collection::vec(
            (any::<prop::sample::Index>(), 0usize..12, proptest::sample::select(&PIECES[..])),
            1..4,
        ),
    ) {
        let bytes = filled(&tensors, &BTreeMap::new());
        let data_start = Header::parse(&bytes).expect("sound").data_start as usize;
        let mut header = bytes[8..data_start].to_vec();
        for (at, removed, piece) in pieces {
            let at = at.index(header.len());
            let end = (at + removed).min(header.len());
            header.splice(at..end, piece.bytes());
        }
        let mut bytes = [&(header.len() as u64).to_le_bytes()[..], &header].concat();
        bytes.extend(std::iter::repeat_n(7, bytes.len() % 16));
        sound(&bytes);
    }

    #[test]
    fn any_text_as_an_index_is_an_error_or_names_plain_files(
        pieces in proptest::collection::vec(
            proptest::sample::select(&["{", "}", ":", ",", "\"weight_map\"", "\"a\"", "\"b\"",
                "\"a.safetensors\"", "\"../b.safetensors\"", "[", "]", "1"][..]),
            0..12,
        ),
    ) {
        if let Ok(index) = Index::parse(pieces.concat().as_bytes()) {
            prop_assert!(index.shards().iter().all(|shard| !shard.contains("..")));
        }
    }
}
