//! A planned blob is a sound safetensors file with every promise of alignment kept.

use crate::build::{linear, palette, weight};
use proptest::prelude::*;
use twolane_formats::Error;
use twolane_formats::metal_blob::*;

/// A blob whose every plane of weight number `w` is filled with bytes of value `w + 1`.
fn filled(plan: &Plan) -> Vec<u8> {
    let mut bytes = Vec::new();
    plan.write_to(&mut bytes, |plane, out| {
        let byte = plane.holds.unwrap().0 as u8 + 1;
        out.write_all(&vec![byte; plane.len as usize])
    })
    .unwrap();
    bytes
}

/// Checks every promise of `plan` and opens its file with the safetensors library.
fn check(plan: &Plan) {
    assert!((plan.header().len() as u64).is_multiple_of(PAGE));
    assert!(plan.file_len().is_multiple_of(PAGE));
    let mut end = plan.header().len() as u64;
    for plane in plan.planes() {
        assert_eq!(plane.offset, end, "{} follows its neighbour", plane.name);
        end += plane.len;
        match plane.holds {
            Some(_) if plane.len >= LARGE => assert!(plane.offset.is_multiple_of(PAGE)),
            Some(_) => assert!(plane.offset.is_multiple_of(SMALL_ALIGN)),
            None => assert!((1..PAGE).contains(&plane.len)),
        }
    }
    assert_eq!(end, plan.file_len());

    let bytes = filled(plan);
    assert_eq!(bytes.len() as u64, plan.file_len());
    let opened = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    assert_eq!(opened.len(), plan.planes().len());
    for plane in plan.planes() {
        let tensor = opened.tensor(&plane.name).unwrap();
        assert_eq!((tensor.dtype(), tensor.shape()), (plane.dtype, &plane.shape[..]));
        let byte = plane.holds.map_or(0, |(weight, _)| weight as u8 + 1);
        assert!(tensor.data().iter().all(|&b| b == byte), "{}", plane.name);
    }
}

#[test]
fn plane_shapes_follow_shape_and_encoding() {
    use Lanes::*;
    let channel = Granularity::Channel { axis: 0 };
    let input = Granularity::Channel { axis: 1 };
    let block = Granularity::Block { size: 2 };
    let vector = |axis, lanes| Encoding::Palette(Palette { vector: 2, axis, ..palette(6, lanes) });
    let grouped = Encoding::Palette(Palette {
        grouping: Grouping::Group { size: 4 },
        vector: 2,
        entries: Entries::Int8,
        channel_scale: true,
        ..palette(4, K2)
    });
    #[rustfmt::skip]
    let cases: &[(&[usize], Encoding, &str)] = &[
        (&[8, 6], linear(8, channel, false, Row), "I8[8, 6] F16[1, 8]"),
        (&[8, 5], linear(8, channel, false, K2), "I8[3, 8, 2] F16[1, 8]"),
        (&[8, 6], linear(8, Granularity::Tensor, true, K4), "I8[2, 8, 4] F16[1, 1] I8[1, 1]"),
        (&[7, 6], linear(8, input, true, O2), "I8[4, 6, 2] F16[6, 1] I8[6, 1]"),
        (&[8, 6], linear(8, block, true, K2), "I8[3, 8, 2] F16[3, 8] I8[3, 8]"),
        (&[8, 6, 3, 3], linear(8, block, false, K4), "I8[14, 8, 4] F16[3, 8]"),
        (&[3, 5], linear(4, channel, false, Row), "U8[8] F16[1, 3]"),
        (&[3, 5], linear(4, channel, true, K2), "I8[3, 3, 2] F16[1, 3] I8[1, 3]"),
        (&[5], linear(8, channel, false, K2), "I8[1, 5, 2] F16[1, 5]"),
        (&[], linear(8, channel, false, O2), "I8[1, 1, 2] F16[1, 1]"),
        (&[0, 4], linear(8, channel, false, K2), "I8[2, 0, 2] F16[1, 0]"),
        (&[3, 5], Encoding::Palette(palette(3, Row)), "U8[6] F16[1, 8, 1]"),
        (&[3, 5], Encoding::Palette(palette(8, Row)), "U8[3, 5] F16[1, 256, 1]"),
        (&[3, 5], Encoding::Palette(palette(1, K4)), "U8[2, 3, 4] F16[1, 2, 1]"),
        (&[6, 5, 3], vector(0, K2), "U8[8, 3, 2] F16[1, 64, 2]"),
        (&[5, 6, 3], vector(1, O2), "U8[3, 9, 2] F16[1, 64, 2]"),
        (&[8, 6], grouped, "U8[3, 4, 2] I8[2, 16, 2] F16[2] F16[8]"),
        (&[8, 6], Encoding::Float { dtype: Dtype::F16 }, "F16[8, 6]"),
        (&[], Encoding::Raw { dtype: Dtype::I64 }, "I64[]"),
        (&[2, 1, 1, 1, 3, 1, 1, 1], Encoding::Raw { dtype: Dtype::BOOL }, "BOOL[2, 1, 1, 1, 3, 1, 1, 1]"),
    ];
    for &(shape, encoding, want) in cases {
        let planes = encoding.planes(shape).unwrap();
        let got: Vec<_> = planes.iter().map(|p| format!("{}{:?}", p.dtype, p.shape)).collect();
        assert_eq!(got.join(" "), want, "{encoding:?} of {shape:?}");
        check(&Plan::new(vec![weight("w", shape, encoding)]).unwrap());
    }
}

#[test]
fn an_encoding_that_does_not_fit_says_why() {
    let said = |shape: &[usize], encoding: Encoding| {
        let error = Plan::new(vec![weight("w", shape, encoding)]).unwrap_err();
        assert!(matches!(error, Error::Bug { .. }));
        error.to_string()
    };
    let per = |granularity| linear(8, granularity, false, Lanes::K2);
    let table = Encoding::Palette;
    let p = palette(4, Lanes::Row);
    insta::assert_snapshot!(said(&[4, 6], per(Granularity::Block { size: 4 })), @"bug in twolane, w: a block of 4 does not divide its axis of 6; please report it");
    insta::assert_snapshot!(said(&[4, 6], per(Granularity::Block { size: 0 })), @"bug in twolane, w: a block of 0 does not divide its axis of 6; please report it");
    insta::assert_snapshot!(said(&[4, 6], per(Granularity::Channel { axis: 2 })), @"bug in twolane, w: a scale per channel of axis 2; 0 and 1 exist; please report it");
    insta::assert_snapshot!(said(&[4, 6], linear(6, Granularity::Tensor, false, Lanes::K2)), @"bug in twolane, w: linear codes of 6 bits; 4 and 8 exist; please report it");
    insta::assert_snapshot!(said(&[4, 6], table(Palette { bits: 5, ..p })), @"bug in twolane, w: indices of 5 bits; 1, 2, 3, 4, 6 and 8 exist; please report it");
    insta::assert_snapshot!(said(&[4, 6], table(Palette { vector: 3, ..p })), @"bug in twolane, w: vectors of 3; 1, 2 and 4 exist; please report it");
    insta::assert_snapshot!(said(&[4, 6], table(Palette { vector: 4, axis: 1, ..p })), @"bug in twolane, w: a vector of 4 does not divide its axis of 6; please report it");
    insta::assert_snapshot!(said(&[4, 6], table(Palette { vector: 4, grouping: Grouping::Group { size: 2 }, ..p })), @"bug in twolane, w: a vector of 4 does not divide its axis of 2; please report it");
    insta::assert_snapshot!(said(&[usize::MAX, 2], per(Granularity::Tensor)), @"bug in twolane, w: shape [18446744073709551615, 2] has too many elements; please report it");
    insta::assert_snapshot!(said(&[3], Encoding::Raw { dtype: Dtype::F4 }), @"bug in twolane, w: F4 [3] is no sound number of bytes; please report it");
}

#[test]
fn large_planes_come_first_on_pages_and_small_ones_in_one_run() {
    let channel = Granularity::Channel { axis: 0 };
    let plan = Plan::new(vec![
        weight("norm", &[100], Encoding::Float { dtype: Dtype::F16 }),
        weight("a", &[300, 301], linear(8, channel, true, Lanes::K2)),
        weight("ids", &[3], Encoding::Raw { dtype: Dtype::I64 }),
        weight("b", &[256, 256], linear(8, channel, false, Lanes::Row)),
    ])
    .unwrap();
    check(&plan);
    let start = plan.header().len() as u64;
    let lines: Vec<_> = plan
        .planes()
        .iter()
        .map(|p| format!("{:>6} {:>5} {} {:?}", p.offset - start, p.len, p.name, p.shape))
        .collect();
    insta::assert_snapshot!(lines.join("\n"), @r"
         0 90600 a [151, 300, 2]
     90600  7704 __pad.0 [7704]
     98304 65536 b [256, 256]
    163840   200 norm [100]
    164040    56 __pad.1 [56]
    164096   600 a.scale [1, 300]
    164696   168 __pad.2 [168]
    164864   300 a.offset [1, 300]
    165164   212 __pad.3 [212]
    165376    24 ids [3]
    165400   232 __pad.4 [232]
    165632   512 b.scale [1, 256]
    166144 14080 __pad.5 [14080]
    ");
    let header = String::from_utf8(plan.header()[8..].to_vec()).unwrap();
    let by_lines = header.trim_end().replace("},", "},\n");
    insta::assert_snapshot!(by_lines, @r#"
    {"__metadata__":{"twolane.version":"1","twolane.weights":"[{\"name\":\"norm\",\"shape\":[100],\"encoding\":{\"kind\":\"float\",\"dtype\":\"F16\"},
    \"planes\":{\"values\":\"norm\"}},
    {\"name\":\"a\",\"shape\":[300,301],\"encoding\":{\"kind\":\"linear\",\"bits\":8,\"signed\":true,\"granularity\":{\"per\":\"channel\",\"axis\":0},
    \"offset\":true,\"lanes\":\"k2\"},
    \"planes\":{\"codes\":\"a\",\"scale\":\"a.scale\",\"offset\":\"a.offset\"}},
    {\"name\":\"ids\",\"shape\":[3],\"encoding\":{\"kind\":\"raw\",\"dtype\":\"I64\"},
    \"planes\":{\"values\":\"ids\"}},
    {\"name\":\"b\",\"shape\":[256,256],\"encoding\":{\"kind\":\"linear\",\"bits\":8,\"signed\":true,\"granularity\":{\"per\":\"channel\",\"axis\":0},
    \"offset\":false,\"lanes\":\"row\"},
    \"planes\":{\"codes\":\"b\",\"scale\":\"b.scale\"}}]"},
    "a":{"dtype":"I8","shape":[151,300,2],"data_offsets":[0,90600]},
    "__pad.0":{"dtype":"U8","shape":[7704],"data_offsets":[90600,98304]},
    "b":{"dtype":"I8","shape":[256,256],"data_offsets":[98304,163840]},
    "norm":{"dtype":"F16","shape":[100],"data_offsets":[163840,164040]},
    "__pad.1":{"dtype":"U8","shape":[56],"data_offsets":[164040,164096]},
    "a.scale":{"dtype":"F16","shape":[1,300],"data_offsets":[164096,164696]},
    "__pad.2":{"dtype":"U8","shape":[168],"data_offsets":[164696,164864]},
    "a.offset":{"dtype":"I8","shape":[1,300],"data_offsets":[164864,165164]},
    "__pad.3":{"dtype":"U8","shape":[212],"data_offsets":[165164,165376]},
    "ids":{"dtype":"I64","shape":[3],"data_offsets":[165376,165400]},
    "__pad.4":{"dtype":"U8","shape":[232],"data_offsets":[165400,165632]},
    "b.scale":{"dtype":"F16","shape":[1,256],"data_offsets":[165632,166144]},
    "__pad.5":{"dtype":"U8","shape":[14080],"data_offsets":[166144,180224]}}
    "#);
}

#[test]
fn a_name_that_is_taken_gets_the_next_free_number() {
    let linear = linear(8, Granularity::Tensor, false, Lanes::K2);
    let raw = Encoding::Raw { dtype: Dtype::U8 };
    let plan = Plan::new(vec![
        weight("w", &[2, 2], linear),
        weight("w.scale", &[2, 2], linear),
        weight("w.scale_2", &[1], raw),
        weight("__pad.0", &[1], raw),
        weight("__pad.2", &[1], raw),
    ])
    .unwrap();
    check(&plan);
    let name = |w| plan.plane(w, Part::Scale).unwrap().name.as_str();
    assert_eq!(name(0), "w.scale_3");
    assert_eq!(name(1), "w.scale.scale");
    let pads = plan.planes().iter().filter(|p| p.holds.is_none()).map(|p| &p.name[..]);
    assert_eq!(pads.take(3).collect::<Vec<_>>(), ["__pad.1", "__pad.3", "__pad.4"]);

    let twice = vec![weight("w", &[1], raw), weight("w", &[1], raw)];
    insta::assert_snapshot!(Plan::new(twice).unwrap_err(), @"bug in twolane, w: two weights have this name; please report it");
    let reserved = vec![weight("__metadata__", &[1], raw)];
    insta::assert_snapshot!(Plan::new(reserved).unwrap_err(), @"tensor `__metadata__`: safetensors keeps this name for its metadata; rename the tensor");
}

#[test]
fn a_blob_of_nothing_is_a_header() {
    let plan = Plan::new(Vec::new()).unwrap();
    assert_eq!(plan.file_len(), PAGE);
    check(&plan);
}

#[test]
fn a_plane_of_another_length_than_planned_is_a_bug() {
    let raw = Encoding::Raw { dtype: Dtype::U8 };
    let plan = Plan::new(vec![weight("w", &[3], raw)]).unwrap();
    let error = plan.write_to(&mut Vec::new(), |_, out| out.write_all(&[1, 2])).unwrap_err();
    insta::assert_snapshot!(error, @"bug in twolane, w: 2 bytes were written, 3 planned; please report it");
}

pub(crate) fn any_encoding() -> impl Strategy<Value = Encoding> {
    let lanes = prop::sample::select(&Lanes::ALL[..]);
    let linear = (any::<bool>(), 0..4u8, any::<bool>(), lanes.clone()).prop_map(
        |(wide, granularity, offset, lanes)| {
            let granularity = match granularity {
                0 => Granularity::Tensor,
                1 => Granularity::Channel { axis: 0 },
                2 => Granularity::Channel { axis: 1 },
                _ => Granularity::Block { size: 4 },
            };
            linear(if wide { 8 } else { 4 }, granularity, offset, lanes)
        },
    );
    let bits = prop::sample::select(&[1u8, 2, 3, 4, 6, 8][..]);
    let palette = (bits, any::<bool>(), 0..2u8, 0..3u32, any::<[bool; 2]>(), lanes).prop_map(
        |(bits, grouped, axis, vector, [int8, channel_scale], lanes)| {
            let grouping = if grouped { Grouping::Group { size: 4 } } else { Grouping::Tensor };
            let entries = if int8 { Entries::Int8 } else { Entries::F16 };
            let vector = 1 << vector;
            Encoding::Palette(Palette {
                bits,
                grouping,
                axis,
                vector,
                entries,
                channel_scale,
                lanes,
            })
        },
    );
    let float = prop::sample::select(&[Dtype::F16, Dtype::F32][..]);
    let raw = prop::sample::select(&[Dtype::BF16, Dtype::I64, Dtype::BOOL, Dtype::F4][..]);
    prop_oneof![
        linear,
        palette,
        float.prop_map(|dtype| Encoding::Float { dtype }),
        raw.prop_map(|dtype| Encoding::Raw { dtype }),
    ]
}

/// A few weights of any encoding, whose shapes it fits.
pub(crate) fn any_weights() -> impl Strategy<Value = Vec<Weight>> {
    let shape = prop::collection::vec(0..5usize, 1..6);
    let parts = (any_encoding(), shape, 0..60usize).prop_map(|(encoding, mut shape, factor)| {
        // Multiples of 4, which blocks, groups and vectors divide, and some large planes.
        shape.iter_mut().take(2).for_each(|dim| *dim *= 4);
        shape[0] *= factor;
        if shape.len() == 1 {
            shape.push(4);
        }
        weight("", &shape, encoding)
    });
    prop::collection::vec(parts, 0..8).prop_map(|mut weights| {
        weights.iter_mut().enumerate().for_each(|(i, w)| w.name = format!("w{i}"));
        weights
    })
}

proptest! {
    #[test]
    fn any_weights_make_a_sound_file(weights in any_weights()) {
        check(&Plan::new(weights).unwrap());
    }
}
