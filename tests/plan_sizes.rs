//! What the plan promises, the quantizer delivers: the number of codes and of each parameter, for
//! every scheme on every shape that the plan fitted it to.

use half::f16;
use proptest::prelude::*;
use twolane::graph::weight::{Part, Storage};
use twolane::plan::fit::fit;
use twolane::plan::{Header, Options, Plan, Rule};
use twolane::quantize::{Params, Quantizer, dequantize};
use twolane::scheme::{Clip, Scheme};
use twolane::tensor::{FloatType, Weights};

/// Options that each head takes, alone or together; what contradicts itself does not parse.
fn any_scheme() -> impl Strategy<Value = Scheme> {
    let linear = ["linear-int8", "linear-int4"];
    let ranges = ["", ",tensor", ",axis:1", ",block:2", ",block:4", ",block:6", ",block:32"];
    let zeros = ["", ",asymmetric"];
    let palette = ["palette-8", "palette-6", "palette-4", "palette-3", "palette-2", "palette-1"];
    let groups = ["", ",group:1", ",group:2", ",group:4", ",group:16"];
    let vectors = ["", ",vector:2", ",vector:4"];
    let more = ["", ",lut-int8", ",channel-scale", ",lut-int8,channel-scale"];
    let axes = ["", ",axis:1"];
    let pick = |from: &[&'static str]| prop::sample::select(from.to_vec());
    let linear =
        (pick(&linear), pick(&ranges), pick(&zeros)).prop_map(|(a, b, c)| [a, b, c].concat());
    let palette = (pick(&palette), pick(&groups), pick(&vectors), pick(&more), pick(&axes))
        .prop_map(|(a, b, c, d, e)| [a, b, c, d, e].concat());
    prop_oneof![linear, palette]
        .prop_filter_map("words that contradict each other", |words| words.parse().ok())
}

fn stored(params: &Params, codes: &[u8], part: Part) -> usize {
    match part {
        Part::Codes => codes.len(),
        Part::Scale => params.scale.len(),
        Part::Offset => params.offset.len(),
        Part::Table => params.table.len() + params.table_codes.len(),
        Part::TableScale => params.table_scale.len(),
        Part::ChannelScale => params.channel_scale.len(),
        other => panic!("no quantized weight has {other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]
    #[test]
    fn every_part_is_as_long_as_planned(
        asked in any_scheme(),
        shape in prop::collection::vec(1usize..14, 2..5),
        seed in 1u32..1000,
    ) {
        let n: usize = shape.iter().product();
        let value = |i: usize| f16::from_f32(((i as u32).wrapping_mul(seed * 7919) % 2003) as f32 / 1000.0 - 1.0);
        let bytes: Vec<u8> = (0..n).flat_map(|i| value(i).to_le_bytes()).collect();
        let weights = Weights { name: "w", dtype: FloatType::F16, shape: &shape, bytes: &bytes };

        let (scheme, _) = fit(asked, &shape);
        prop_assert_eq!(fit(scheme, &shape), (scheme, vec![]), "what fits is left alone");
        let quantizer = Quantizer::new(weights, scheme, Clip::Mse).unwrap();
        let rows = shape[0];
        let mut codes = vec![0; quantizer.code_len(rows)];
        let encoded = quantizer.encode(0..rows, &mut codes).unwrap();
        let mut params = quantizer.shared();
        params.append(&encoded.params);
        prop_assert_eq!(dequantize(scheme, &shape, &codes, &params).len(), n);

        let storage = Storage::planned(scheme, &shape, 0);
        for (part, operand) in storage.operands() {
            prop_assert_eq!(stored(&params, &codes, part), operand.elements(), "{} {:?}", scheme, part);
        }
        let header = Header {
            name: "w".into(),
            file: "f".into(),
            dtype: "F16".into(),
            shape: shape.clone(),
            bytes: 2 * n as u64,
            role: None,
            keeps_type: false,
        };
        let rule = Rule::parse(&format!("w={asked}")).unwrap();
        let options = Options { rules: vec![rule], ..Options::default() };
        let planned = &Plan::new(&[header], &options).unwrap().tensors[0];
        prop_assert_eq!(planned.scheme, Some(scheme));
        prop_assert_eq!(planned.storage.as_ref(), Some(&storage));
        let bits = planned.bits_per_weight().unwrap();
        prop_assert!(bits > 0.0 && bits.is_finite());
    }
}
