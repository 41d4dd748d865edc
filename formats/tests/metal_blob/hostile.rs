//! Files that break a promise are refused with place, finding and remedy; none makes the reader
//! panic.

use crate::build::{Random, file, linear, palette, weight};
use crate::plan::any_weights;
use proptest::prelude::*;
use twolane_formats::metal_blob::*;

/// A small blob with something of everything: a large plane, gaps, padding lanes, bit streams.
fn sample() -> Vec<u8> {
    let channel = Granularity::Channel { axis: 0 };
    let int8 = Palette { entries: Entries::Int8, ..palette(4, Lanes::O2) };
    let mut random = Random(11);
    let weights = [
        weight("big", &[257, 259], linear(8, channel, false, Lanes::K2)),
        weight("odd", &[3, 5], linear(4, channel, true, Lanes::K4)),
        weight("bits", &[3, 5], linear(4, channel, false, Lanes::Row)),
        weight("pal", &[3, 4], Encoding::Palette(int8)),
        weight("pal3", &[3, 3], Encoding::Palette(palette(3, Lanes::Row))),
        weight("norm", &[6], Encoding::Float { dtype: Dtype::F16 }),
        weight("ids", &[2], Encoding::Raw { dtype: Dtype::I64 }),
    ];
    file(&weights.map(|w| random.logical(w)))
}

/// The same file with its header's text changed, and its spaces so that nothing else moves.
fn edit(mut file: Vec<u8>, from: &str, to: &str) -> Vec<u8> {
    let end = 8 + u64::from_le_bytes(file[..8].try_into().unwrap()) as usize;
    let text = std::str::from_utf8(&file[8..end]).unwrap();
    assert!(text.contains(from), "{from} is not in {text}");
    let mut text = text.replacen(from, to, 1).trim_end().to_string().into_bytes();
    assert!(text.len() <= end - 8);
    text.resize(end - 8, b' ');
    file[8..end].copy_from_slice(&text);
    file
}

/// The same file with one byte of a tensor changed.
fn poke(mut file: Vec<u8>, tensor: &str, at: usize, to: u8) -> Vec<u8> {
    let plane = {
        let reader = Reader::open(&file).unwrap();
        reader.planes().iter().find(|p| p.name == tensor).unwrap().clone()
    };
    assert!((at as u64) < plane.len);
    file[plane.offset as usize + at] = to;
    file
}

fn said(file: &[u8]) -> String {
    Reader::open(file).unwrap_err().to_string()
}

#[test]
fn the_sample_is_sound() {
    let file = sample();
    let reader = Reader::open(&file).unwrap();
    let planes = reader
        .planes()
        .iter()
        .map(|p| format!("{} {} at {} + {}", p.name, p.dtype, p.offset / PAGE, p.offset % PAGE));
    insta::assert_snapshot!(planes.collect::<Vec<_>>().join("\n"), @r"
    big I8 at 1 + 0
    __pad.0 U8 at 5 + 1284
    big.scale F16 at 6 + 0
    __pad.1 U8 at 6 + 514
    odd I8 at 6 + 768
    __pad.2 U8 at 6 + 792
    odd.scale F16 at 6 + 1024
    __pad.3 U8 at 6 + 1030
    odd.offset I8 at 6 + 1280
    __pad.4 U8 at 6 + 1283
    bits U8 at 6 + 1536
    __pad.5 U8 at 6 + 1544
    bits.scale F16 at 6 + 1792
    __pad.6 U8 at 6 + 1798
    pal U8 at 6 + 2048
    __pad.7 U8 at 6 + 2064
    pal.table I8 at 6 + 2304
    __pad.8 U8 at 6 + 2320
    pal.table_scale F16 at 6 + 2560
    __pad.9 U8 at 6 + 2562
    pal3 U8 at 6 + 2816
    __pad.10 U8 at 6 + 2820
    pal3.table F16 at 6 + 3072
    __pad.11 U8 at 6 + 3088
    norm F16 at 6 + 3328
    __pad.12 U8 at 6 + 3340
    ids I64 at 6 + 3584
    __pad.13 U8 at 6 + 3600
    ");
}

#[test]
fn metadata_that_lies_is_refused() {
    let edited = |from: &str, to: &str| said(&edit(sample(), from, to));
    insta::assert_snapshot!(edited("twolane.version", "another.version"), @"malformed Metal blob, `__metadata__`: there is no `twolane.version`: this is a safetensors file, but no Metal blob; give a weights.safetensors that quantize wrote");
    insta::assert_snapshot!(edited(r#""twolane.version":"1""#, r#""twolane.version":"2""#), @"Metal blob, `twolane.version`: layout version 2; this program reads version 1: use a newer one");
    insta::assert_snapshot!(edited("twolane.weights", "another.weights"), @"malformed Metal blob, `__metadata__`: there is no `twolane.weights`: this is a safetensors file, but no Metal blob; give a weights.safetensors that quantize wrote");
    insta::assert_snapshot!(edited(r#"\"lanes\":\"k2\""#, r#"\"lanes\":\"k3\""#), @"malformed Metal blob, `twolane.weights`: unknown variant `k3`, expected one of `row`, `k2`, `k4`, `o2` at line 1 column 153; write the blob again with `quantize --to metal`");
    insta::assert_snapshot!(edited(r#"\"lanes\":\"k2\""#, r#"\"lanes\":\"o2\""#), @"malformed Metal blob, `big`: its codes are I8 [130, 257, 2], not I8 [129, 259, 2]; write the blob again with `quantize --to metal`");
    insta::assert_snapshot!(edited(r#"\"kind\":\"linear\","#, r#"\"kind\":\"linear\",\"x\":1,"#), @"malformed Metal blob, `twolane.weights`: unknown field `x`, expected one of `bits`, `signed`, `granularity`, `offset`, `lanes` at line 1 column 159; write the blob again with `quantize --to metal`");
    insta::assert_snapshot!(edited(r#"\"shape\":[257,259]"#, r#"\"shape\":[257,258]"#), @"malformed Metal blob, `big`: its codes are I8 [130, 257, 2], not I8 [129, 257, 2]; write the blob again with `quantize --to metal`");
    insta::assert_snapshot!(edited(r#"\"shape\":[257,259]"#, r#"\"shape\":[4294967296,4294967296]"#), @"malformed Metal blob, `big`: shape [4294967296, 4294967296] has too many elements; write the blob again with `quantize --to metal`");
    insta::assert_snapshot!(edited(r#"\"shape\":[257,259]"#, r#"\"shape\":[-1]"#), @"malformed Metal blob, `twolane.weights`: invalid value: integer `-1`, expected usize at line 1 column 26; write the blob again with `quantize --to metal`");
    insta::assert_snapshot!(edited(r#",\"scale\":\"big.scale\""#, ""), @"malformed Metal blob, `big`: its scales have no tensor; write the blob again with `quantize --to metal`");
    insta::assert_snapshot!(edited(r#"\"scale\":\"big.scale\""#, r#"\"scale\":\"big.scales\""#), @"malformed Metal blob, `big`: its scales, `big.scales`, are not there; write the blob again with `quantize --to metal`");
    insta::assert_snapshot!(edited(r#"\"scale\":\"big.scale\""#, r#"\"scale\":\"big\""#), @"malformed Metal blob, `big`: `big` is claimed twice; write the blob again with `quantize --to metal`");
    insta::assert_snapshot!(edited(r#"\"codes\":\"big\""#, r#"\"codes\":\"ids\""#), @"malformed Metal blob, `big`: its codes are in `ids`; write the blob again with `quantize --to metal`");
    insta::assert_snapshot!(edited(r#"\"scale\":\"big.scale\""#, r#"\"scale\":\"big.scale\",\"table\":\"ids\""#), @"malformed Metal blob, `big`: its encoding has no table entries; write the blob again with `quantize --to metal`");
    insta::assert_snapshot!(edited(r#"\"name\":\"bits\""#, r#"\"name\":\"odd\""#), @"malformed Metal blob, `odd`: its codes are in `bits`; write the blob again with `quantize --to metal`");
    insta::assert_snapshot!(edited(r#"\"dtype\":\"F16\""#, r#"\"dtype\":\"I16\""#), @"malformed Metal blob, `norm`: I16 is no type of a float weight; F16 and F32 are; write the blob again with `quantize --to metal`");
    insta::assert_snapshot!(edited("__pad.0", "__pad.00"), @"malformed Metal blob, `__pad.00`: no weight claims it, and it is no `__pad.N` of U8; write the blob again with `quantize --to metal`");
    insta::assert_snapshot!(edited("__pad.0", "gap"), @"malformed Metal blob, `gap`: no weight claims it, and it is no `__pad.N` of U8; write the blob again with `quantize --to metal`");
}

#[test]
fn planes_out_of_place_are_refused() {
    // The two weights change places in the metadata alone.
    let file = sample();
    let text = String::from_utf8_lossy(&file[8..]).into_owned();
    let entry = |name: &str| {
        let start = text.find(&format!(r#"{{\"name\":\"{name}\""#)).unwrap();
        text[start..start + text[start..].find("}},").or(text[start..].find("}}]")).unwrap() + 2]
            .to_string()
    };
    let (norm, ids) = (entry("norm"), entry("ids"));
    let swapped = edit(file.clone(), &format!("{norm},{ids}"), &format!("{ids},{norm}"));
    insta::assert_snapshot!(said(&swapped), @"malformed Metal blob, `ids`: it lies behind `norm`, out of order; write the blob again with `quantize --to metal`");

    // A file of others, whose data starts where its header ends.
    let header = br#"{"__metadata__":{"twolane.version":"1","twolane.weights":"[]"}}"#;
    let mut tight = (header.len() as u64).to_le_bytes().to_vec();
    tight.extend_from_slice(header);
    insta::assert_snapshot!(said(&tight), @"malformed Metal blob, header: the data starts at 71, not on a page of 16384; write the blob again with `quantize --to metal`");

    insta::assert_snapshot!(said(&[]), @"malformed safetensors, byte 0: the file has 0 bytes; a header's length takes 8; the file is cut short or damaged: download it again");
    insta::assert_snapshot!(said(&file[..file.len() - 1]), @"malformed safetensors, tensor `__pad.13`: its bytes end at 98304 of the data, which has 98303; the file is cut short or damaged: download it again");
    let mut longer = file.clone();
    longer.extend_from_slice(&[0; 16_384]);
    insta::assert_snapshot!(said(&longer), @"malformed safetensors, byte 98304 of the data: 16384 bytes behind the last tensor belong to none; the file is cut short or damaged: download it again");
}

/// A blob made by hand: metadata, then tensors of these names and lengths, all U8 zeros.
fn by_hand(weights: &str, tensors: &[(&str, usize)]) -> Vec<u8> {
    let metadata = serde_json::json!({"twolane.version": "1", "twolane.weights": weights});
    let mut header = serde_json::json!({ "__metadata__": metadata });
    let mut end = 0;
    for &(name, len) in tensors {
        header[name] =
            serde_json::json!({"dtype": "U8", "shape": [len], "data_offsets": [end, end + len]});
        end += len;
    }
    let mut file = (PAGE - 8).to_le_bytes().to_vec();
    file.extend_from_slice(header.to_string().as_bytes());
    file.resize(PAGE as usize, b' ');
    file.resize(PAGE as usize + end, 0);
    file
}

/// The metadata of raw U8 weights.
fn raw(weights: &[(&str, usize)]) -> String {
    let entry = |(name, len): &(&str, usize)| {
        serde_json::json!({"name": name, "shape": [len], "planes": {"values": name},
            "encoding": {"kind": "raw", "dtype": "U8"}})
    };
    serde_json::Value::Array(weights.iter().map(entry).collect()).to_string()
}

#[test]
fn gaps_and_alignment_are_exact() {
    let (large, page) = (LARGE as usize, PAGE as usize);
    let case = |weights: &[(&str, usize)], tensors: &[(&str, usize)]| {
        let file = by_hand(&raw(weights), tensors);
        Reader::open(&file).map_or_else(|error| error.to_string(), |_| "sound".to_string())
    };
    let ab = [("a", 100), ("b", 100)];
    let sound = [("a", 100), ("__pad.0", 156), ("b", 100), ("__pad.1", page - 356)];
    assert_eq!(case(&ab, &sound), "sound");
    let mut weights = ab;
    weights.swap(0, 1);
    insta::assert_snapshot!(case(&weights, &sound), @"malformed Metal blob, `b`: it lies behind `a`, out of order; write the blob again with `quantize --to metal`");
    insta::assert_snapshot!(case(&ab, &[("a", 100), ("b", 100), ("__pad.0", page - 200)]), @"malformed Metal blob, `b`: it starts at 16484, and should at 16640; write the blob again with `quantize --to metal`");
    insta::assert_snapshot!(case(&ab, &[("a", 100), ("__pad.0", 412), ("b", 100), ("__pad.1", page - 612)]), @"malformed Metal blob, `b`: it starts at 16896, and should at 16640; write the blob again with `quantize --to metal`");
    insta::assert_snapshot!(case(&ab, &[("a", 100), ("__pad.0", 100), ("__pad.1", 56), ("b", 100), ("__pad.2", page - 356)]), @"malformed Metal blob, `__pad.1`: a second gap follows `__pad.0`; write the blob again with `quantize --to metal`");
    insta::assert_snapshot!(case(&ab, &[("a", 100), ("__pad.0", 156), ("b", 100)]), @"malformed Metal blob, end of file: the last plane ends at 16740, the file at 16740, not at 32768; write the blob again with `quantize --to metal`");
    insta::assert_snapshot!(case(&ab, &[("a", 100), ("__pad.0", 156), ("b", 100), ("__pad.1", 2 * page - 356)]), @"malformed Metal blob, end of file: the last plane ends at 16740, the file at 49152, not at 32768; write the blob again with `quantize --to metal`");
    let al = [("a", 100), ("l", large)];
    assert_eq!(case(&al, &[("l", large), ("a", 100), ("__pad.0", page - 100)]), "sound");
    insta::assert_snapshot!(case(&al, &[("a", 100), ("__pad.0", page - 100), ("l", large)]), @"malformed Metal blob, `l`: a plane of 64 KiB or more lies behind a smaller one; write the blob again with `quantize --to metal`");
    let l1 = [("a", 100), ("l", large + 1)];
    assert_eq!(
        case(&l1, &[("l", large + 1), ("__pad.0", page - 1), ("a", 100), ("__pad.1", page - 100)]),
        "sound"
    );
    insta::assert_snapshot!(case(&l1, &[("l", large + 1), ("__pad.0", 255), ("a", 100), ("__pad.1", page - 356)]), @"malformed Metal blob, `a`: it starts at 82176, and should at 98304; write the blob again with `quantize --to metal`");
    let e = [("e", 0), ("a", page)];
    assert_eq!(case(&e, &[("e", 0), ("a", page)]), "sound");
    insta::assert_snapshot!(case(&e, &[("__pad.0", 0), ("e", 0), ("a", page)]), @"malformed Metal blob, `e`: an empty gap stands before it; write the blob again with `quantize --to metal`");
    assert_eq!(case(&[], &[]), "sound");
    insta::assert_snapshot!(case(&[], &[("__pad.0", page)]), @"malformed Metal blob, end of file: the last plane ends at 16384, the file at 32768, not at 16384; write the blob again with `quantize --to metal`");
}

#[test]
fn padding_and_parameters_are_looked_at() {
    let poked = |tensor: &str, at, to| said(&poke(sample(), tensor, at, to));
    insta::assert_snapshot!(poked("__pad.1", 7, 1), @"malformed Metal blob, `__pad.1`: byte 7 of the gap is 1, not 0; write the blob again with `quantize --to metal`");
    // k2: the last of 130 groups holds column 258 and padding; row 3's is its byte 7.
    insta::assert_snapshot!(poked("big", 129 * 257 * 2 + 7, 1), @"malformed Metal blob, `big`: padding at (3, 259) of a [257, 259] matrix is not 0; write the blob again with `quantize --to metal`");
    insta::assert_snapshot!(poked("odd", 12 + 4 + 3, 1), @"malformed Metal blob, `odd`: padding at (1, 7) of a [3, 5] matrix is not 0; write the blob again with `quantize --to metal`");
    insta::assert_snapshot!(poked("odd", 0, 8), @"malformed Metal blob, `odd`: code 0 of the plane is 8, beyond 4 bits; write the blob again with `quantize --to metal`");
    insta::assert_snapshot!(poked("odd.offset", 2, 0x77), @"malformed Metal blob, `odd.offset`: offset 2 does not fit in 4 bits; write the blob again with `quantize --to metal`");
    insta::assert_snapshot!(poked("bits", 7, 0x10), @"malformed Metal blob, `bits`: the unused bits of the last byte are not 0; write the blob again with `quantize --to metal`");
    insta::assert_snapshot!(poked("pal", 8 + 3, 1), @"malformed Metal blob, `pal`: padding at (3, 1) of a [3, 4] matrix is not 0; write the blob again with `quantize --to metal`");
    insta::assert_snapshot!(poked("pal", 1, 16), @"malformed Metal blob, `pal`: code 1 of the plane is 16, beyond 4 bits; write the blob again with `quantize --to metal`");
    insta::assert_snapshot!(poked("pal3", 3, 0xf8), @"malformed Metal blob, `pal3`: the unused bits of the last byte are not 0; write the blob again with `quantize --to metal`");
    insta::assert_snapshot!(poked("big.scale", 3, 0x7c), @"malformed Metal blob, `big.scale`: element 1 is not finite; write the blob again with `quantize --to metal`");
    insta::assert_snapshot!(poked("pal.table_scale", 1, 0xff), @"malformed Metal blob, `pal.table_scale`: element 0 is not finite; write the blob again with `quantize --to metal`");
    insta::assert_snapshot!(poked("pal3.table", 15, 0x7e), @"malformed Metal blob, `pal3.table`: element 7 is not finite; write the blob again with `quantize --to metal`");
}

#[test]
fn an_empty_weight_with_a_huge_dimension_is_not_counted_up_to() {
    let huge = 1usize << 50;
    let shapes: [&[usize]; 5] =
        [&[huge, 0], &[0, huge], &[1, huge, 0], &[1, 0, huge], &[huge, 1, 0, 2]];
    let mut random = Random(3);
    let mut weights = Vec::new();
    for shape in shapes {
        for lanes in Lanes::ALL {
            for encoding in [
                linear(8, Granularity::Tensor, false, lanes),
                Encoding::Palette(palette(3, lanes)),
                Encoding::Palette(Palette { axis: 1, ..palette(8, lanes) }),
            ] {
                let name = format!("w{}", weights.len());
                let mut logical = random.logical(weight(&name, &[0, 0], encoding));
                logical.weight.shape = shape.to_vec();
                weights.push(logical);
            }
        }
    }
    let bytes = file(&weights);
    let reader = Reader::open(&bytes).unwrap();
    for index in 0..weights.len() {
        assert_eq!(reader.values(index).unwrap(), Values::F16(Vec::new()));
    }
}

/// Opens a file, and decodes all of it if it is sound.
fn use_all(file: &[u8]) {
    if let Ok(reader) = Reader::open(file) {
        for index in 0..reader.weights().len() {
            let codes = reader.codes(index).unwrap();
            let _ = (codes, reader.params(index), reader.values(index).unwrap());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn changed_bytes_never_panic(
        weights in any_weights(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::weighted(0.1, any::<prop::sample::Index>()),
    ) {
        let mut random = Random(5);
        let weights: Vec<_> = weights.into_iter().map(|w| random.logical(w)).collect();
        let mut bytes = file(&weights);
        // The length and the header's text, or where there is data, every other time, anything.
        let text = bytes[..PAGE as usize].iter().rposition(|&b| b == b'}').map_or(8, |at| at + 1);
        for (index, byte) in changes {
            let at = index.index(if byte % 2 == 0 { text } else { bytes.len() });
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        use_all(&bytes);
    }

    #[test]
    fn changed_numbers_and_words_never_panic(
        weights in any_weights(),
        changes in prop::collection::vec(
            (any::<prop::sample::Index>(), any::<prop::sample::Index>()), 1..4),
    ) {
        let mut random = Random(5);
        let weights: Vec<_> = weights.into_iter().map(|w| random.logical(w)).collect();
        let bytes = file(&weights);
        let end = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let mut text = String::from_utf8(bytes[8..end].to_vec()).unwrap().trim_end().to_string();
        const PIECES: [&str; 24] = [
            "0", "1", "2", "3", "4", "255", "256", "65536", "4611686018427387904",
            "9223372036854775808", "18446744073709551615", "18446744073709551616", "-1", "null",
            "true", "false", "row", "k2", "k4", "o2", "F16", "U8", "linear", "palette",
        ];
        for (place, piece) in changes {
            // A run of letters or digits is replaced whole.
            let starts: Vec<usize> = text
                .char_indices()
                .filter(|&(i, c)| {
                    c.is_ascii_alphanumeric()
                        && !text[..i].ends_with(|b: char| b.is_ascii_alphanumeric())
                })
                .map(|(i, _)| i)
                .collect();
            let start = starts[place.index(starts.len())];
            let rest = &text[start..];
            let len = rest.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(rest.len());
            text.replace_range(start..start + len, PIECES[piece.index(PIECES.len())]);
        }
        let mut changed = text.into_bytes();
        changed.resize((8 + changed.len()).next_multiple_of(PAGE as usize) - 8, b' ');
        let mut changed_file = (changed.len() as u64).to_le_bytes().to_vec();
        changed_file.extend_from_slice(&changed);
        changed_file.extend_from_slice(&bytes[end..]);
        use_all(&changed_file);
    }
}
