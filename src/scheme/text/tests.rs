use super::*;
use proptest::prelude::*;

#[test]
fn words_print_in_their_canonical_form() {
    #[rustfmt::skip]
    let cases: &[(&str, &str)] = &[
        ("linear-int8",                        "linear-int8"),
        ("LINEAR-INT8",                        "linear-int8"),
        ("linear-int8,channel",                "linear-int8"),
        ("linear-int8,symmetric,axis:0",       "linear-int8"),
        ("linear-int8, axis:1 ,channel",       "linear-int8,axis:1"),
        ("linear-int4,asymmetric,block:32",    "linear-int4,block:32,asymmetric"),
        ("linear-int4,tensor",                 "linear-int4,tensor"),
        ("palette-4",                          "palette-4"),
        ("palette-4,tensor",                   "palette-4"),
        ("palette-3,vector:2,group:16",        "palette-3,group:16,vector:2"),
        ("palette-6,axis:1,vector:4",          "palette-6,vector:4,axis:1"),
        ("palette-8,unique",                   "palette-8,unique"),
        ("palette-2,unique",                   "palette-2,unique"),
        ("palette-2,unique,group:4",           "palette-2,group:4,unique"),
        ("palette-1,channel-scale,lut-int8",   "palette-1,lut-int8,channel-scale"),
        ("palette-4,group:1,axis:1,channel-scale", "palette-4,group:1,axis:1,channel-scale"),
        ("float16",                            "float16"),
        ("float32",                            "float32"),
    ];
    for (words, canonical) in cases {
        let scheme: Scheme = words.parse().expect(words);
        assert_eq!(scheme.to_string(), *canonical, "{words}");
        assert_eq!(canonical.parse(), Ok(scheme), "{words}");
    }
}

#[test]
fn each_meaningless_combination_is_refused_with_what_would_do() {
    let words = [
        "auto",
        "int8",
        "nonsense",
        "linear-int6",
        "palette-5",
        "palette-7",
        "palette-16",
        "linear-int8,group:16",
        "linear-int8,vector:2",
        "linear-int8,lut-int8",
        "linear-int8,channel-scale",
        "linear-int8,unique",
        "linear-int8,symmetric,asymmetric",
        "linear-int8,tensor,block:32",
        "linear-int8,block:32,axis:1",
        "linear-int8,tensor,axis:1",
        "linear-int8,axis:2",
        "linear-int8,block",
        "linear-int8,block:0",
        "linear-int8,block:x",
        "linear-int8,channel:3",
        "linear-int8,channel,channel",
        "linear-int8,blocks:32",
        "linear-int8,",
        "palette-4,asymmetric",
        "palette-4,block:32",
        "palette-4,channel",
        "palette-4,tensor,group:4",
        "palette-4,vector:3",
        "palette-4,group:6,vector:4",
        "palette-4,axis:1",
        "palette-4,group:1,channel-scale",
        "palette-4,unique,vector:2",
        "palette-4,unique,lut-int8",
        "float16,block:32",
    ];
    let told: Vec<String> =
        words.iter().map(|w| w.parse::<Scheme>().expect_err(w).to_string()).collect();
    insta::assert_snapshot!(told.join("\n"), @r"
    `auto` is no scheme of one weight: --scheme auto chooses for all; name a scheme, such as linear-int8
    unknown scheme `int8`; did you mean `linear-int8`?
    unknown scheme `nonsense`; schemes are linear-int8, linear-int4, palette-8, -6, -4, -3, -2, -1, float16 and float32, with options such as linear-int4,block:32
    unknown linear scheme `linear-int6`; use linear-int8 or linear-int4 (3, 6 and other widths exist as palettes, such as palette-6)
    no index type has 5 bits; use palette-6 (or palette-4)
    no index type has 7 bits; use palette-8 (or palette-6)
    unknown palette `palette-16`; a palette has 8, 6, 4, 3, 2 or 1 bits
    `linear-int8,group:16`: `group:` is an option of palettes; linear codes share a scale by block:B along the input
    `linear-int8,vector:2`: `vector:` is an option of palettes; a linear code stands for one weight
    `linear-int8,lut-int8`: `lut-int8` is an option of palettes; linear codes have no table
    `linear-int8,channel-scale`: `channel-scale` is an option of palettes; `channel` (the default) is one scale a channel
    `linear-int8,unique`: `unique` is an option of palettes; float16 is the lossless choice
    `linear-int8,symmetric,asymmetric`: symmetric and asymmetric exclude each other; name one
    `linear-int8,tensor,block:32`: channel, tensor and block:B exclude each other; name one
    `linear-int8,block:32,axis:1`: blocks always run along the input channels, so axis:1 cannot go with block:32; leave axis out
    `linear-int8,tensor,axis:1`: one scale for the whole tensor has no axis; use channel,axis:1 or leave axis out
    `linear-int8,axis:2`: axis:2 is not one that parameters can follow; use axis:0 (output channels) or axis:1 (input channels)
    `linear-int8,block`: `block` needs a number, such as block:32
    `linear-int8,block:0`: `block:0` is not a number that fits; write it like block:32
    `linear-int8,block:x`: `block:x` is not a number that fits; write it like block:32
    `linear-int8,channel:3`: `channel` takes no value, and `:3` follows it; leave it out
    `linear-int8,channel,channel`: `channel` is given twice; once is enough
    `linear-int8,blocks:32`: unknown option `blocks:32`; options are channel, tensor, block:B, axis:N, asymmetric (linear) and tensor, group:G, vector:V, axis:N, lut-int8, channel-scale, unique (palette)
    `linear-int8,`: an option is empty; write them as linear-int4,block:32
    `palette-4,asymmetric`: `asymmetric` is an option of linear schemes; a table has no zero point, its entries lie wherever the weights are
    `palette-4,block:32`: `block:32` is an option of linear schemes; a palette is shared by channels: use group:32 (or group:32,axis:1 along the input)
    `palette-4,channel`: `channel` is an option of linear schemes; one table a channel is group:1
    `palette-4,tensor,group:4`: tensor and group:G exclude each other; name one
    `palette-4,vector:3`: vector:3 does not exist; use vector:2 or vector:4
    `palette-4,group:6,vector:4`: vector:4 does not divide group:6, so a vector would lie in two groups; use group:8
    `palette-4,axis:1`: one table for the whole tensor has no axis; axis:1 goes with group:G or vector:V
    `palette-4,group:1,channel-scale`: group:1 gives each output channel a table of its own, which channel-scale adds nothing to; leave channel-scale out
    `palette-4,unique,vector:2`: unique keeps every weight exactly, and `vector:` changes weights; leave one out
    `palette-4,unique,lut-int8`: unique keeps every weight exactly, and `lut-int8` changes weights; leave one out
    `float16,block:32`: `block:` says how to quantize, and a float scheme does not; leave it out
    ");
}

/// Every scheme that words can say.
fn any_scheme() -> impl Strategy<Value = Scheme> {
    let granularity = prop_oneof![
        Just(LinearGranularity::Tensor),
        (0u8..2).prop_map(|axis| LinearGranularity::Channel { axis }),
        (1u32..=u32::MAX).prop_map(|size| LinearGranularity::Block { size }),
    ];
    let bits = prop_oneof![Just(LinearBits::Int8), Just(LinearBits::Int4)];
    let linear = (bits, any::<bool>(), granularity).prop_map(|(bits, asymmetric, granularity)| {
        Scheme::Linear(Linear { bits, asymmetric, granularity })
    });
    let bits = prop::sample::select(vec![1u8, 2, 3, 4, 6, 8]);
    let vector = prop::sample::select(vec![1u8, 2, 4]);
    let palette = (bits, vector, 0u8..2, prop::option::of(1u32..1 << 28), any::<[bool; 3]>())
        .prop_map(|(bits, vector, axis, group, [int8, channel_scale, unique])| {
            let granularity = match group {
                Some(groups) => PaletteGranularity::Group { size: groups * u32::from(vector) },
                None => PaletteGranularity::Tensor,
            };
            let plain = group.is_none() && vector == 1;
            let axis = if plain { 0 } else { axis };
            let unique = unique && vector == 1 && !int8 && !channel_scale;
            let own = granularity == PaletteGranularity::Group { size: 1 } && axis == 0;
            Scheme::Palette(Palette {
                bits,
                granularity,
                vector,
                axis,
                entries: if int8 { Entries::Int8 } else { Entries::F16 },
                channel_scale: channel_scale && !own,
                unique,
            })
        });
    let float = prop_oneof![Just(Float::F16), Just(Float::F32)].prop_map(Scheme::Float);
    prop_oneof![linear, palette, float]
}

proptest! {
    #[test]
    fn a_scheme_survives_print_and_parse(scheme in any_scheme()) {
        let words = scheme.to_string();
        prop_assert_eq!(words.parse::<Scheme>(), Ok(scheme));
        let json = serde_json::to_string(&scheme).unwrap();
        prop_assert_eq!(&json, &format!("\"{words}\""));
        prop_assert_eq!(serde_json::from_str::<Scheme>(&json).unwrap(), scheme);
    }

    #[test]
    fn no_words_panic(head in "(linear-int8|linear-int4|palette-[0-9]|float16|.{0,8})",
                      tail in "(,(channel|tensor|block:[0-9]{0,12}|group:[0-9]{0,4}|axis:[0-9]|vector:[0-9]|unique|.{0,5})){0,5}") {
        if let Ok(scheme) = format!("{head}{tail}").parse::<Scheme>() {
            prop_assert_eq!(scheme.to_string().parse::<Scheme>(), Ok(scheme));
        }
    }
}
