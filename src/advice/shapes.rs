//! Rules about shapes.
//!
//! The Neural Engine's INT8 mode doubles its rate by computing two output channels where FP16 computes
//! one, and its cores take output channels in turn; so channels come in pairs and sixteens. The other
//! rules are limits of tensors. Sources by short name: *guide* is sbryngelson/ane-guide (arXiv
//! 2606.22283), *M6 study* is 751K/Apple-Neural-Engine-Microarchitecture-Study-M6.

use super::{Confidence, Effect, Found, Rule, Scene};
use crate::chips::Figure;
use crate::graph::{Function, Operation, TensorType, ValueId, ValueType};
use crate::int8_path::{Product, StoredWeight};
use crate::text::size;

/// Bytes of a row of an input or output, to which narrower rows are padded.
const ROW_BYTES: u64 = 64;

/// Axes of a tensor on the Neural Engine.
const MOST_AXES: usize = 5;

/// The largest width or height on chips of which no other limit is known.
const AXIS: f64 = 16_384.0;

/// The largest batch or number of channels.
const OUTER_AXIS: usize = 65_536;

/// The largest operand that stays on chip, where no other size is known, MiB.
const OPERAND_MIB: f64 = 2.0;

/// The widest kernel of a convolution.
const KERNEL: usize = 13;

/// The longest axis of which the engine finds the largest element.
const ARGMAX_AXIS: usize = 2_048;

/// Products below this share of a function's multiply-accumulates are not worth a remark.
const LEAST_SHARE: f64 = 0.01;

/// Multiples of 64 are worth no more than this share of multiply-accumulates.
const FREE: f64 = 0.05;

#[rustfmt::skip]
pub(super) static RULES: &[Rule] = &[
    Rule { id: "odd-channels", effect: Effect::Slower, confidence: Confidence::Inferred, look: odd_channels,
        source: "guide ch. 20, M6 study H51: INT8 serves two output channels where FP16 serves one" },
    Rule { id: "channels-16", effect: Effect::Slower, confidence: Confidence::Inferred, look: channels_16,
        source: "guide ch. 20: output channel c goes to core c mod 16" },
    Rule { id: "channels-64", effect: Effect::Slower, confidence: Confidence::Inferred, look: channels_64,
        source: "maderix, Inside the M4 ANE, part 4, by the M6 study: 64 channels after space-to-depth, 4 times the rate" },
    Rule { id: "narrow-row", effect: Effect::Slower, confidence: Confidence::Reported, look: narrow_row,
        source: "Apple, Deploying Transformers on the Apple Neural Engine; skyfallsin/apple-neural-engine-field-guide" },
    Rule { id: "rank", effect: Effect::Placement, confidence: Confidence::Inferred, look: rank,
        source: "guide ch. 17" },
    Rule { id: "axis", effect: Effect::Placement, confidence: Confidence::Reported, look: axis,
        source: "https://github.com/FluidInference/FluidAudio/issues/121, https://github.com/ncdrone/rustane/issues/13, guide ch. 17" },
    Rule { id: "kernel", effect: Effect::Placement, confidence: Confidence::Inferred, look: kernel,
        source: "guide ch. 12" },
    Rule { id: "argmax-axis", effect: Effect::Placement, confidence: Confidence::Inferred, look: argmax_axis,
        source: "guide ch. 17" },
    Rule { id: "operand", effect: Effect::Slower, confidence: Confidence::Measured, look: operand,
        source: "guide ch. 9, M6 study (memory): larger operands are cut into tiles and streamed" },
    Rule { id: "linear", effect: Effect::Slower, confidence: Confidence::Measured, look: linear,
        source: "maderix, Inside the M4 Apple Neural Engine, part 2" },
];

/// Products with a stored weight that count, and their output channels.
fn channels<'a>(scene: &Scene<'a>) -> impl Iterator<Item = (&'a Product, u64)> {
    let path = scene.path;
    let total = path.shares.all.total() as f64;
    let counts = move |product: &&Product| {
        product.macs.is_some_and(|macs| macs as f64 >= LEAST_SHARE * total)
    };
    path.products.iter().filter(counts).filter_map(|product| Some((product, product.channels?)))
}

/// Which product, that its channels are no multiple of this, and what padding them costs.
fn padded(product: &Product, channels: u64, to: u64, why: &str) -> Found {
    let full = channels.next_multiple_of(to);
    let more = (full as f64 / channels.max(1) as f64 - 1.0) * 100.0;
    Found::new(
        &product.operation,
        format!("{channels} output channels {why}"),
        format!("pad {channels} to {full} channels: {more:.1} % more MACs"),
    )
}

fn odd_channels(scene: &Scene<'_>) -> Vec<Found> {
    if scene.chip.and_then(|chip| chip.ane_int8_path).is_some_and(|path| !path.holds) {
        return vec![];
    }
    let odd = channels(scene).filter(|(_, channels)| channels % 2 == 1);
    let why = "leave the last without a pair: in INT8 it costs what two cost";
    odd.map(|(product, channels)| padded(product, channels, 2, why)).collect()
}

fn channels_16(scene: &Scene<'_>) -> Vec<Found> {
    let uneven = channels(scene).filter(|(_, channels)| channels % 16 != 0);
    let why = "are no multiple of 16, so that some of 16 cores wait for the others";
    uneven.map(|(product, channels)| padded(product, channels, 16, why)).collect()
}

fn channels_64(scene: &Scene<'_>) -> Vec<Found> {
    let cheap = |channels: u64| {
        let more = channels.next_multiple_of(64) - channels;
        more as f64 <= FREE * channels as f64
    };
    let uneven = channels(scene)
        .filter(|(_, channels)| channels % 64 != 0 && channels % 16 == 0 && cheap(*channels));
    let why = "are no multiple of 64, and it is nearly free to have them so";
    uneven.map(|(product, channels)| padded(product, channels, 64, why)).collect()
}

fn narrow_row(scene: &Scene<'_>) -> Vec<Found> {
    let features = scene.function.inputs.iter().chain(&scene.function.outputs);
    let found = features.filter(|feature| feature.image.is_none()).filter_map(|feature| {
        let value = scene.function.value(feature.value);
        let (ValueType::Tensor(ty) | ValueType::State(ty)) = &value.ty else { return None };
        let last = ty.dims.last()?.size()?;
        let bytes = last as u64 * u64::from(ty.dtype.bits()?) / 8;
        (computes(ty) && ty.rank() > 1 && bytes < ROW_BYTES).then(|| {
            let times = ROW_BYTES as f64 / bytes.max(1) as f64;
            Found::new(
                &value.name,
                format!(
                    "its last axis of {last} is {bytes} bytes, padded to {ROW_BYTES}: {times:.1} times \
                     the memory"
                ),
                "let a longer axis be the last",
            )
        })
    });
    found.collect()
}

fn rank(scene: &Scene<'_>) -> Vec<Found> {
    let found = results(scene.function).filter(|(_, ty)| ty.rank() > MOST_AXES);
    let about = |ty: &TensorType| format!("its result has {} axes, and 5 are the most", ty.rank());
    let remedy = "join axes with a reshape in front";
    found.map(|(at, ty)| Found::new(at, about(ty), remedy)).collect()
}

fn axis(scene: &Scene<'_>) -> Vec<Found> {
    let known = scene.chip.and_then(|chip| chip.ane_axis);
    let limit = known.map_or(AXIS, |figure: Figure| figure.value) as usize;
    let found = results(scene.function).filter(|(_, ty)| computes(ty)).filter_map(|(at, ty)| {
        let sizes = ty.dims.iter().rev().map(|dim| dim.size());
        let beyond = sizes.enumerate().find_map(|(place, size)| {
            let most = if place < 2 { limit } else { OUTER_AXIS };
            size.filter(|&size| size > most).map(|size| (size, most))
        });
        let (size, most) = beyond?;
        Some(Found::new(
            at,
            format!("an axis of {size} elements, and {most} are the most"),
            "split it into parts, or let it be the channels of a 1x1 conv",
        ))
    });
    found.collect()
}

fn kernel(scene: &Scene<'_>) -> Vec<Found> {
    let convs = scene.function.operations.iter().filter(|operation| operation.row.name == "conv");
    let found = convs.filter_map(|operation| {
        let weight = StoredWeight::of(scene.function, operation)?.weight;
        let width = *weight.shape.get(2..)?.last()?;
        (width > KERNEL).then(|| {
            Found::new(
                &operation.name,
                format!("a kernel of width {width}, and {KERNEL} is the widest (15 from M4 on)"),
                "use two convolutions of smaller kernels",
            )
        })
    });
    found.collect()
}

fn argmax_axis(scene: &Scene<'_>) -> Vec<Found> {
    let kinds = ["reduce_argmax", "reduce_argmin"];
    let operations = scene.function.operations.iter();
    let found = operations.filter(|operation| kinds.contains(&operation.row.name)).filter_map(
        |operation| {
            let x = scene.function.value(operation.argument("x")?).ty.tensor()?;
            let bound = operation.argument("axis").map(|id| scene.function.value(id));
            let axis = match bound {
                Some(value) => *value.constant.as_ref()?.as_ints()?.first()?,
                None => -1,
            };
            let axis = if axis < 0 { axis.checked_add(x.rank() as i64)? } else { axis };
            let size = x.dims.get(usize::try_from(axis).ok()?)?.size()?;
            (size > ARGMAX_AXIS).then(|| {
                Found::new(
                    &operation.name,
                    format!("it looks along {size} elements, and {ARGMAX_AXIS} are the most"),
                    "take it in parts and compare their winners, or return the scores",
                )
            })
        },
    );
    found.collect()
}

fn operand(scene: &Scene<'_>) -> Vec<Found> {
    let known = scene.chip.and_then(|chip| chip.ane_operand_mib);
    let mib = known.map_or(OPERAND_MIB, |figure| figure.value);
    let most = (mib * f64::from(1 << 20)) as u64;
    let mut found = Vec::new();
    for product in &scene.path.products {
        let operation =
            scene.function.operations.iter().find(|other| other.name == product.operation);
        let Some(operation) = operation else { continue };
        let int8 = product.class.is_int8();
        let largest = operands(scene.function, operation)
            .filter_map(|ty| bytes(ty, int8))
            .max()
            .filter(|bytes| *bytes > most);
        if let Some(bytes) = largest {
            found.push(Found::new(
                &product.operation,
                format!("an operand of {}, and {} stay on chip", size(bytes), size(most)),
                "cut the longest axis into parts; INT8 activations are half as large",
            ));
        }
    }
    found
}

fn linear(scene: &Scene<'_>) -> Vec<Found> {
    let is_linear = |product: &&Product| {
        product.weight.is_some() && matches!(product.kind, "linear" | "matmul")
    };
    let count = scene.path.products.iter().filter(is_linear).count();
    let about = format!(
        "{count} of {} products are linear or matmul; the same work as a 1x1 conv was 3 times as fast",
        scene.path.products.len()
    );
    let remedy = "--unit ane writes a language model's layers so";
    if count == 0 { vec![] } else { vec![Found::new("layers", about, remedy)] }
}

/// What operations return: the operation's name and the tensor.
fn results(function: &Function) -> impl Iterator<Item = (&str, &TensorType)> {
    function.operations.iter().flat_map(move |operation| {
        let types = operation.outputs.iter().filter_map(|&id| function.value(id).ty.tensor());
        types.map(|ty| (operation.name.as_str(), ty))
    })
}

/// The activations that an operation takes and gives.
fn operands<'f>(
    function: &'f Function,
    operation: &'f Operation,
) -> impl Iterator<Item = &'f TensorType> {
    let taken = operation.arguments.iter().map(|argument| argument.value);
    let given = operation.outputs.iter().copied();
    let all = taken.chain(given).map(move |id: ValueId| function.value(id));
    all.filter(|value| value.constant.is_none()).filter_map(|value| value.ty.tensor())
}

fn bytes(ty: &TensorType, int8: bool) -> Option<u64> {
    let bits = if int8 { 8 } else { u64::from(ty.dtype.bits()?) };
    let elements = ty.dims.iter().try_fold(1u64, |n, dim| n.checked_mul(dim.size()? as u64))?;
    Some(elements.checked_mul(bits)?.div_ceil(8))
}

/// Whether a tensor holds what the engine computes with.
fn computes(ty: &TensorType) -> bool {
    use crate::graph::DataType::{Float16, Float32, Int8, UInt8};
    matches!(ty.dtype, Float16 | Float32 | Int8 | UInt8)
}
