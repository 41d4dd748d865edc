//! Combinations that went wrong for somebody.
//!
//! Each row holds what its thread reports and no more: on which unit, and what did well in its place.
//! Several are of Core AI, whose compiler for the Neural Engine is Core ML's. A row goes when its
//! thread is closed by a repair in a system that users have.

use super::{Confidence, Effect, Found, Rule, Scene};
use crate::graph::weight::Storage;
use crate::graph::{DataType, Flow, Operation, Sizes, TensorType, ValueType};
use crate::int8_path::{Class, StoredWeight};
use crate::target::Target;

/// Tokens whose keys and values one update of a state wrote on the Neural Engine.
const TOKENS: usize = 32;

/// What the last axis of a state must be a multiple of.
const STATE_ROW: usize = 32;

#[rustfmt::skip]
pub(super) static RULES: &[Rule] = &[
    Rule { id: "per-block", effect: Effect::Wrong, confidence: Confidence::Measured, look: per_block,
        source: "https://github.com/apple/coreai-models/issues/279" },
    Rule { id: "scales-along-inputs", effect: Effect::Wrong, confidence: Confidence::Measured, look: scales_along_inputs,
        source: "https://github.com/apple/coreai-torch/issues/93" },
    Rule { id: "one-narrow-table", effect: Effect::Wrong, confidence: Confidence::Reported, look: one_narrow_table,
        source: "https://github.com/apple/coremltools/issues/2716" },
    Rule { id: "gate-between-pairs", effect: Effect::Wrong, confidence: Confidence::Measured, look: gate_between_pairs,
        source: "https://github.com/apple/coreai-torch/issues/112" },
    Rule { id: "log-softmax", effect: Effect::Wrong, confidence: Confidence::Reported, look: log_softmax,
        source: "https://github.com/apple/coremltools/issues/2728" },
    Rule { id: "channel-scale", effect: Effect::Fails, confidence: Confidence::Reported, look: channel_scale,
        source: "https://github.com/apple/coremltools/pull/2688" },
    Rule { id: "narrow-palette-with-states", effect: Effect::Fails, confidence: Confidence::Reported, look: narrow_palette_with_states,
        source: "https://github.com/apple/coremltools/issues/2716" },
    Rule { id: "state-row", effect: Effect::Fails, confidence: Confidence::Reported, look: state_row,
        source: "https://github.com/apple/coremltools/issues/2631" },
    Rule { id: "enumerated-shapes", effect: Effect::Fails, confidence: Confidence::Reported, look: enumerated_shapes,
        source: "https://github.com/apple/coremltools/issues/2730" },
    Rule { id: "int4", effect: Effect::Placement, confidence: Confidence::Reported, look: int4,
        source: "https://github.com/apple/coreai-models/issues/205" },
    Rule { id: "shape-ranges", effect: Effect::Placement, confidence: Confidence::Reported, look: shape_ranges,
        source: "https://github.com/apple/coremltools/issues/2370, https://github.com/apple/coremltools/issues/1764, https://github.com/apple/coremltools/issues/1029" },
    Rule { id: "enumerated-layer-norm", effect: Effect::Placement, confidence: Confidence::Reported, look: enumerated_layer_norm,
        source: "https://github.com/apple/coremltools/issues/1909" },
    Rule { id: "flexible-with-states", effect: Effect::Placement, confidence: Confidence::Reported, look: flexible_with_states,
        source: "https://github.com/apple/coremltools/issues/2600" },
    Rule { id: "wide-state-update", effect: Effect::Placement, confidence: Confidence::Reported, look: wide_state_update,
        source: "https://github.com/apple/coremltools/issues/2553, https://github.com/Anemll/Anemll/issues/27" },
    Rule { id: "recurrent", effect: Effect::Placement, confidence: Confidence::Documented, look: recurrent,
        source: "https://github.com/apple/coremltools/issues/1780" },
    Rule { id: "weights-alone", effect: Effect::Slower, confidence: Confidence::Documented, look: weights_alone,
        source: "https://github.com/apple/coremltools/issues/2227" },
    Rule { id: "int8-table-chip", effect: Effect::Slower, confidence: Confidence::Documented, look: int8_table_chip,
        source: "https://github.com/apple/coremltools/issues/2410" },
];

/// Products with a stored weight; of a sparse one, how its values are stored.
fn stored<'a>(
    scene: &Scene<'a>,
) -> impl Iterator<Item = (&'a Operation, StoredWeight<'a>, &'a Storage)> {
    let function = scene.function;
    function.operations.iter().filter_map(move |operation| {
        let weight = StoredWeight::of(function, operation)?;
        let storage = match &weight.weight.storage {
            Storage::Sparse { values, .. } => values,
            other @ (Storage::Dense(_) | Storage::Linear { .. } | Storage::Palette { .. }) => other,
        };
        Some((operation, weight, storage))
    })
}

/// A finding at each product whose weight is stored so.
fn at_weights(
    scene: &Scene<'_>,
    holds: impl Fn(&StoredWeight<'_>, &Storage) -> bool,
    about: &str,
    remedy: &str,
) -> Vec<Found> {
    let found = stored(scene).filter(|(_, weight, storage)| holds(weight, storage));
    found.map(|(operation, ..)| Found::new(&operation.name, about, remedy)).collect()
}

fn per_block(scene: &Scene<'_>) -> Vec<Found> {
    let blocks = |weight: &StoredWeight<'_>, storage: &Storage| match storage {
        Storage::Linear { codes, scale, .. } => {
            is_byte(codes.dtype) && weight.is_inside(&scale.shape)
        }
        Storage::Dense(_) | Storage::Palette { .. } | Storage::Sparse { .. } => false,
    };
    at_weights(
        scene,
        blocks,
        "8-bit codes with a scale for each block gave a cosine of 0.367 on a Neural Engine, 0.999 on \
         the GPU, and no error",
        "palette-8,group:32 gave 0.9975 there; linear-int8 has one scale a channel",
    )
}

fn scales_along_inputs(scene: &Scene<'_>) -> Vec<Found> {
    let inside = |weight: &StoredWeight<'_>, storage: &Storage| match storage {
        Storage::Palette { table_scale, channel_scale, .. } => {
            let mut scales = [table_scale, channel_scale].into_iter().flatten();
            scales.any(|scale| weight.is_inside(&scale.shape))
        }
        Storage::Dense(_) | Storage::Linear { .. } | Storage::Sparse { .. } => false,
    };
    at_weights(
        scene,
        inside,
        "scales of a palette for groups of inputs were read in a wrong order on a Neural Engine (half \
         of the results wrong)",
        "let groups run along output channels (without axis:1)",
    )
}

fn one_narrow_table(scene: &Scene<'_>) -> Vec<Found> {
    let one = |_: &StoredWeight<'_>, storage: &Storage| match storage {
        Storage::Palette { table, .. } => {
            let groups = &table.shape[..table.shape.len().saturating_sub(2)];
            is_narrow(storage) && groups.iter().all(|groups| *groups == 1)
        }
        Storage::Dense(_) | Storage::Linear { .. } | Storage::Sparse { .. } => false,
    };
    at_weights(
        scene,
        one,
        "one 4-bit table for a weight: a decoder so stored gave a cosine of 0.03 on the CPU and 0.63 on \
         the Neural Engine of an M4",
        "validate on the device; linear-int8 gave 0.9992 there",
    )
}

fn gate_between_pairs(scene: &Scene<'_>) -> Vec<Found> {
    let flow = Flow::new(scene.function);
    let muls = scene.function.operations.iter().filter(|operation| operation.row.name == "mul");
    let between = |operation: &&Operation| {
        let read = flow.activations(operation);
        let made = |id, kind| flow.maker(id).is_some_and(|(_, maker)| maker.row.name == kind);
        let given = operation.outputs.iter().flat_map(|&id| flow.readers(id));
        read.len() == 2
            && read.iter().any(|&id| made(id, "dequantize"))
            && given.into_iter().any(|(_, reader)| reader.row.name == "quantize")
    };
    let found = muls.filter(between).map(|operation| {
        Found::new(
            &operation.name,
            "a product of activations between pairs of different scales returned 2, 4 or 8 for 1 on a \
             Neural Engine",
            "leave it in float, or clip its result to the range of the pair behind it",
        )
    });
    found.collect()
}

fn log_softmax(scene: &Scene<'_>) -> Vec<Found> {
    let flow = Flow::new(scene.function);
    let logs = scene.function.operations.iter().filter(|operation| operation.row.name == "log");
    let of_softmax = |operation: &&Operation| {
        let x = operation.argument("x");
        let half = x.and_then(|x| scene.function.value(x).ty.tensor());
        half.is_some_and(|ty| ty.dtype == DataType::Float16)
            && x.and_then(|x| flow.maker(x)).is_some_and(|(_, maker)| maker.row.name == "softmax")
    };
    let found = logs.filter(of_softmax).map(|operation| {
        Found::new(
            &operation.name,
            "probabilities below 6e-5 become 0 in FP16, and their logarithm minus infinity",
            "compute x - max - log(sum(exp(x - max)))",
        )
    });
    found.collect()
}

fn channel_scale(scene: &Scene<'_>) -> Vec<Found> {
    if scene.planned && scene.target < Target::Ios26 {
        return vec![];
    }
    let scaled = |_: &StoredWeight<'_>, storage: &Storage| {
        matches!(storage, Storage::Palette { channel_scale: Some(_), .. })
    };
    at_weights(
        scene,
        scaled,
        "a palette with scales of channels behind it failed to load on the Neural Engine of macOS 26",
        "use group:1, one table a channel, or target ios18, where the scale becomes a mul",
    )
}

fn narrow_palette_with_states(scene: &Scene<'_>) -> Vec<Found> {
    if !has_states(scene) || !stored(scene).any(|(.., storage)| is_narrow(storage)) {
        return vec![];
    }
    vec![Found::new(
        "states",
        "a model of 4-bit palettes and states crashed after 100 to 200 predictions on the Neural Engine",
        "--kv io keeps keys and values with the caller",
    )]
}

fn state_row(scene: &Scene<'_>) -> Vec<Found> {
    let found = states(scene).filter_map(|(name, ty)| {
        let last = ty.dims.last()?.size()?;
        (last % STATE_ROW != 0).then(|| {
            Found::new(
                name,
                format!(
                    "its last axis of {last} is no multiple of {STATE_ROW}: a state of 270 failed \
                         on the Neural Engine, one of 256 ran"
                ),
                format!(
                    "pad it to {}, or choose such a --context",
                    last.next_multiple_of(STATE_ROW)
                ),
            )
        })
    });
    found.collect()
}

fn enumerated_shapes(scene: &Scene<'_>) -> Vec<Found> {
    at_inputs(
        scene,
        |sizes| matches!(sizes, Sizes::Enumerated(all) if all.len() > 1),
        "an input of enumerated shapes: predictions with other shapes than the default failed",
        "give each shape a function of its own, or make a package for each",
    )
}

fn int4(scene: &Scene<'_>) -> Vec<Found> {
    let four = |_: &StoredWeight<'_>, storage: &Storage| match storage {
        Storage::Linear { codes, .. } => matches!(codes.dtype, DataType::Int4 | DataType::UInt4),
        Storage::Dense(_) | Storage::Palette { .. } | Storage::Sparse { .. } => false,
    };
    at_weights(
        scene,
        four,
        "the compiler for the Neural Engine refused linear 4-bit codes, and everything ran on the GPU",
        "palette-4,group:16 stays on the Neural Engine",
    )
}

fn shape_ranges(scene: &Scene<'_>) -> Vec<Found> {
    at_inputs(
        scene,
        is_range,
        "an input of flexible shape: shapes other than the default ran on the CPU",
        "fix the shape, or give each size a function of its own",
    )
}

fn enumerated_layer_norm(scene: &Scene<'_>) -> Vec<Found> {
    let inputs = &scene.declared.inputs;
    let enumerated =
        inputs.iter().any(|input| matches!(&input.sizes, Sizes::Enumerated(all) if all.len() > 1));
    let norms = scene.function.operations.iter().filter(|op| op.row.name == "layer_norm");
    let found = norms.filter(|_| enumerated).map(|operation| {
        Found::new(
            &operation.name,
            "a layer norm in a function of enumerated shapes kept all of it off the Neural Engine",
            "fix the shape",
        )
    });
    found.collect()
}

fn flexible_with_states(scene: &Scene<'_>) -> Vec<Found> {
    let flexible = |sizes: &Sizes| is_range(sizes) || matches!(sizes, Sizes::Enumerated(_));
    if !has_states(scene) || !scene.declared.inputs.iter().any(|input| flexible(&input.sizes)) {
        return vec![];
    }
    vec![Found::new(
        "states",
        "states beside inputs of flexible shape: every operation ran on the CPU",
        "fix the shapes: one function for prompts, one for single tokens",
    )]
}

fn wide_state_update(scene: &Scene<'_>) -> Vec<Found> {
    if !has_states(scene) {
        return vec![];
    }
    let updates = scene.function.operations.iter().filter(|op| op.row.name == "slice_update");
    let found = updates.filter_map(|operation| {
        let update = scene.function.value(operation.argument("update")?).ty.tensor()?;
        let tokens = update.dims.get(update.rank().checked_sub(2)?)?.size()?;
        (tokens > TOKENS).then(|| {
            Found::new(
                &operation.name,
                format!(
                    "writes {tokens} rows of a state at once: 128 did not run on the Neural Engine, \
                     {TOKENS} did"
                ),
                format!("--prefill-chunk {TOKENS}, or --unit ane, which updates by a mask"),
            )
        })
    });
    found.collect()
}

fn recurrent(scene: &Scene<'_>) -> Vec<Found> {
    let kinds = ["lstm", "gru", "rnn"];
    let found = scene.function.operations.iter().filter(|op| kinds.contains(&op.row.name));
    let about = "the Neural Engine has no recurrent operations";
    let remedy = "unroll it into linear layers, or leave it to the CPU";
    found.map(|operation| Found::new(&operation.name, about, remedy)).collect()
}

fn weights_alone(scene: &Scene<'_>) -> Vec<Found> {
    let quantized = scene.function.operations.iter().any(|op| op.row.name == "quantize");
    let alone = scene.path.products.iter().any(|product| product.class == Class::W8a16);
    if quantized || !alone {
        return vec![];
    }
    vec![Found::new(
        "weights",
        "codes of weights alone are multiplied in FP16",
        "--activations int8 makes the other operand INT8 as well",
    )]
}

fn int8_table_chip(scene: &Scene<'_>) -> Vec<Found> {
    if !scene.path.products.iter().any(|product| product.class == Class::Lut8a8) {
        return vec![];
    }
    let about = match scene.chip {
        Some(chip) if chip.ane_int8_path.is_some_and(|path| path.holds) => return vec![],
        Some(chip) => {
            format!("INT8 tables are for A17 Pro, M4 and later, and {} is none", chip.name)
        }
        None => "INT8 tables meet INT8 activations in INT8 on A17 Pro, M4 and later".to_owned(),
    };
    let remedy = "for older Neural Engines linear INT8 of both operands may be better; measure";
    vec![Found::new("tables", about, remedy)]
}

/// A finding at each input that takes such sizes.
fn at_inputs(
    scene: &Scene<'_>,
    holds: impl Fn(&Sizes) -> bool,
    about: &str,
    remedy: &str,
) -> Vec<Found> {
    let found = scene.declared.inputs.iter().filter(|input| holds(&input.sizes));
    let name = |id| &scene.declared.value(id).name;
    found.map(|input| Found::new(name(input.value), about, remedy)).collect()
}

fn is_range(sizes: &Sizes) -> bool {
    matches!(sizes, Sizes::Ranges(ranges) if ranges.iter().any(|range| range.low != range.high))
}

fn states<'a>(scene: &Scene<'a>) -> impl Iterator<Item = (&'a str, &'a TensorType)> {
    let function = scene.function;
    function.inputs.iter().filter_map(move |input| {
        let value = function.value(input.value);
        let ValueType::State(ty) = &value.ty else { return None };
        Some((value.name.as_str(), ty))
    })
}

fn has_states(scene: &Scene<'_>) -> bool {
    states(scene).next().is_some()
}

fn is_byte(dtype: DataType) -> bool {
    matches!(dtype, DataType::Int8 | DataType::UInt8)
}

/// Whether it is a palette of at most 16 entries a table.
fn is_narrow(storage: &Storage) -> bool {
    match storage {
        Storage::Palette { indices, .. } => indices.dtype.bits().is_some_and(|bits| bits <= 4),
        Storage::Dense(_) | Storage::Linear { .. } | Storage::Sparse { .. } => false,
    }
}
