//! Layers: products with packed weights. `linear` and `matmul` with a constant here, convolutions in
//! their own file; and all of them on codes.

use super::{Io, Step, conv};
use crate::graph::DataType;
use crate::graph::weight::{Data, Operand, Storage, Weight};
use crate::runtime::cpu::buffers::{Kind, Place};
use crate::runtime::cpu::matrix::{Codes, Matrix, Out};
use crate::runtime::cpu::node::{Found, Node};
use crate::runtime::cpu::plan::Planner;
use std::ops::Range;
use std::sync::Arc;

/// What a layer multiplies.
#[derive(Clone, Copy)]
pub(super) enum Input {
    Floats(Place),
    /// `x = scale · (code − zero_point)`
    Codes {
        place: Place,
        scale: f32,
        zero_point: i8,
    },
}

/// `linear`, `matmul` with a constant, `conv` and `conv_transpose`, if their weight is constant.
pub(super) fn build(
    planner: &mut Planner<'_>,
    node: Node<'_>,
    outputs: &[Place],
) -> Found<Option<Step>> {
    let weight = match node.kind() {
        "linear" | "conv" | "conv_transpose" => node.weight("weight"),
        "matmul" => node.weight("y"),
        _ => None,
    };
    let Some(weight) = weight else { return Ok(None) };
    if !node.varies("x") || Kind::of(node.dtype("x")?) != Some(Kind::Float) {
        return Ok(None);
    }
    match node.kind() {
        "linear" => {
            let x = Input::Floats(planner.argument(node, "x")?);
            rows(planner, node, x, weight, outputs[0]).map(Some)
        }
        "matmul" => {
            let Some(weight) = right_operand(node, weight)? else { return Ok(None) };
            let x = Input::Floats(planner.argument(node, "x")?);
            rows(planner, node, x, &weight, outputs[0]).map(Some)
        }
        "conv" => {
            let x = planner.argument(node, "x")?;
            conv::build(planner, node, Input::Floats(x), weight, outputs[0])
        }
        _ => conv::transposed(planner, node, weight, outputs[0]),
    }
}

/// Whether a layer can multiply the codes that `dequantize` reads: INT8 with one scale, beside a
/// weight that is stored as codes.
pub(in crate::runtime::cpu) fn takes_codes(layer: Node<'_>, dequantize: Node<'_>) -> bool {
    let one = |name: &str| dequantize.shape(name).is_ok_and(|shape| shape.is_empty());
    let zero = dequantize.operation.argument("zero_point").is_none() || one("zero_point");
    let weight = layer.weight("weight").filter(|_| matches!(layer.kind(), "linear" | "conv"));
    let coded = weight.is_some_and(|weight| !matches!(weight.storage, Storage::Dense(_)));
    dequantize.kind() == "dequantize"
        && dequantize.dtype("input") == Ok(DataType::Int8)
        && one("scale")
        && zero
        && !dequantize.varies("scale")
        && !dequantize.varies("zero_point")
        && coded
}

/// A layer on the codes that an operation dequantizes.
pub(in crate::runtime::cpu) fn coded(
    planner: &mut Planner<'_>,
    layer: Node<'_>,
    dequantize: Node<'_>,
    to: Place,
) -> Found<Step> {
    let place = planner.argument(dequantize, "input")?;
    let scale = dequantize.number("scale")?;
    let zero_point = match dequantize.operation.argument("zero_point") {
        Some(_) => dequantize.number("zero_point")? as i8,
        None => 0,
    };
    let x = Input::Codes { place, scale, zero_point };
    let weight = layer.weight("weight").ok_or("`weight` is not constant")?;
    match layer.kind() {
        "linear" => rows(planner, layer, x, weight, to),
        _ => conv::build(planner, layer, x, weight, to)?
            .ok_or_else(|| "this convolution cannot read codes".into()),
    }
}

/// Packs some rows of a weight.
pub(super) fn pack(
    planner: &mut Planner<'_>,
    weight: &Weight,
    rows: Range<usize>,
) -> Found<Arc<Matrix>> {
    let matrix = planner.packed.rows(weight, rows)?;
    planner.holds(matrix.byte_len());
    Ok(matrix)
}

/// `x · Wᵀ + b` for each row of x.
fn rows(
    planner: &mut Planner<'_>,
    node: Node<'_>,
    x: Input,
    weight: &Weight,
    to: Place,
) -> Found<Step> {
    let all = weight.shape.first().copied().unwrap_or(0);
    let matrix = pack(planner, weight, 0..all)?;
    let [n, k] = matrix.shape();
    let m = to.len / n.max(1);
    let bias = planner.optional(node, "bias")?;
    let multiplier = Multiplier::new(planner, matrix, x, m);
    Ok(Box::new(move |io: &mut Io<'_>| {
        let bias = bias.map(|bias| io.buffers.floats(bias));
        let data = io.outputs[0].floats_mut(to.len);
        let out = Out { data, row_stride: n, col_stride: 1 };
        match x {
            Input::Floats(x) => {
                multiplier.matrix.multiply(
                    &io.buffers.floats(x)[..m * k],
                    m,
                    bias,
                    out,
                    io.scratch,
                );
            }
            Input::Codes { place, .. } => {
                multiplier.codes(&io.buffers.codes(place)[..m * k], m, bias, out, io.scratch);
            }
        }
        Ok(())
    }))
}

/// A packed weight, and how codes are multiplied with it.
pub(super) struct Multiplier {
    pub matrix: Arc<Matrix>,
    /// Elements of scratch space that a product needs.
    pub scratch: usize,
    input: Input,
    exact: bool,
}

impl Multiplier {
    /// For products of at most `m` rows.
    pub(super) fn new(
        planner: &mut Planner<'_>,
        matrix: Arc<Matrix>,
        input: Input,
        m: usize,
    ) -> Self {
        let exact = matrix.takes_codes();
        let values = match input {
            Input::Codes { .. } if !exact => m * matrix.shape()[1],
            Input::Codes { .. } | Input::Floats(_) => 0,
        };
        let scratch = matrix.scratch_len(m) + values;
        planner.needs_scratch(scratch);
        Self { matrix, scratch, input, exact }
    }

    /// The product of `[m, K]` codes: of the codes themselves where the weight allows it, else of
    /// the numbers that they stand for.
    pub(super) fn codes(
        &self,
        codes: &[i8],
        m: usize,
        bias: Option<&[f32]>,
        out: Out<'_>,
        scratch: &mut [f32],
    ) {
        let Input::Codes { scale, zero_point, .. } = self.input else {
            unreachable!("only layers that read codes multiply them")
        };
        if self.exact {
            self.matrix.multiply_codes(Codes { codes, scale, zero_point }, m, bias, out, scratch);
            return;
        }
        let (values, scratch) = scratch.split_at_mut(codes.len());
        for (value, &code) in values.iter_mut().zip(codes) {
            *value = scale * f32::from(i16::from(code) - i16::from(zero_point));
        }
        self.matrix.multiply(values, m, bias, out, scratch);
    }
}

/// The second operand of `matmul` as `[N, K]`; `None` if it is no single matrix, or is multiplied
/// from the left by something that is transposed.
fn right_operand(node: Node<'_>, weight: &Weight) -> Found<Option<Weight>> {
    let (rank, x) = (weight.shape.len(), node.shape("x")?);
    let single = rank >= 2 && weight.shape[..rank - 2].iter().all(|&size| size == 1);
    if !single || x.len() < rank.max(2) || node.flag("transpose_x")? {
        return Ok(None);
    }
    if node.flag("transpose_y")? && rank == 2 {
        return Ok(Some(weight.clone()));
    }
    if rank > 2 {
        return Ok(None);
    }
    transposed(weight).map(Some)
}

/// A weight `[A, B]` as `[B, A]`. Plain elements and INT8 codes are moved as they are; other forms
/// are decoded.
pub(super) fn transposed(weight: &Weight) -> Found<Weight> {
    let rows = *weight.shape.first().ok_or("a scalar cannot be transposed")?;
    let cols = weight.shape[1..].iter().product::<usize>();
    let turned = |operand: &Operand, [a, b]: [usize; 2]| -> Option<Operand> {
        let Data::Bytes(bytes) = &operand.data else { return None };
        let size = operand.dtype.bits().filter(|bits| bits % 8 == 0)? as usize / 8;
        let mut to = vec![0; bytes.len()];
        for (i, element) in bytes.chunks_exact(size).enumerate() {
            let at = (i % b * a + i / b) * size;
            to[at..at + size].copy_from_slice(element);
        }
        Some(Operand::new(operand.dtype, &[b, a], to))
    };
    let matrix = |operand: &Operand| match operand.shape[..] {
        [a, b] => turned(operand, [a, b]),
        _ => None,
    };
    let storage = match &weight.storage {
        Storage::Dense(values) => turned(values, [rows, cols]).map(Storage::Dense),
        Storage::Linear { codes, scale, offset } => {
            let offset = match offset {
                Some(offset) => matrix(offset).map(Some),
                None => Some(None),
            };
            (matrix(codes).zip(matrix(scale)).zip(offset))
                .map(|((codes, scale), offset)| Storage::Linear { codes, scale, offset })
        }
        Storage::Palette { .. } | Storage::Sparse { .. } => None,
    };
    let shape = vec![cols, rows];
    match storage {
        Some(storage) => Ok(Weight { shape, storage }),
        None => {
            let values = weight.unrounded().map_err(|why| why.to_string())?;
            let dense = plain(&[rows, cols], &values);
            transposed(&dense)
        }
    }
}

/// FP32 values as a weight.
pub(super) fn plain(shape: &[usize], values: &[f32]) -> Weight {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Weight::dense(Operand::new(DataType::Float32, shape, bytes))
}
