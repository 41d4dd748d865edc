//! Layers: products with packed weights. `linear` and `matmul` with a constant here, convolutions in
//! their own file; and all of them on codes.

use super::{Io, Step, conv, stage};
use crate::graph::DataType;
use crate::graph::weight::{Data, Operand, Storage, Weight};
use crate::runtime::cpu::affine::affine;
use crate::runtime::cpu::buffers::{Kind, Place};
use crate::runtime::cpu::matrix::{Codes, Matrix, Out, Stage};
use crate::runtime::cpu::node::{Found, Node};
use crate::runtime::cpu::plan::Planner;
use crate::runtime::integer::Affine;
use std::ops::Range;
use std::sync::Arc;

/// What a layer multiplies.
#[derive(Clone, Copy)]
pub(in crate::runtime::cpu) enum Input {
    Floats(Place),
    Codes(Place, Affine),
}

impl Input {
    /// The codes that an operation dequantizes.
    pub(in crate::runtime::cpu) fn of(
        planner: &mut Planner<'_>,
        dequantize: Node<'_>,
    ) -> Found<Self> {
        let affine = affine(dequantize).ok_or("`dequantize` is not of INT8 with one scale")?;
        Ok(Self::Codes(planner.argument(dequantize, "input")?, affine))
    }
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
            rows(planner, node, x, weight, &[], outputs[0]).map(Some)
        }
        "matmul" => {
            let Some(weight) = right_operand(node, weight)? else { return Ok(None) };
            let x = Input::Floats(planner.argument(node, "x")?);
            rows(planner, node, x, &weight, &[], outputs[0]).map(Some)
        }
        "conv" => {
            let x = planner.argument(node, "x")?;
            conv::build(planner, node, Input::Floats(x), weight, &[], outputs[0])
        }
        _ => conv::transposed(planner, node, weight, outputs[0]),
    }
}

/// Whether a layer can multiply codes: beside a weight that is stored as codes.
pub(in crate::runtime::cpu) fn takes_codes(layer: Node<'_>) -> bool {
    let weight = layer.weight("weight").filter(|_| matches!(layer.kind(), "linear" | "conv"));
    let coded = weight.is_some_and(|weight| !matches!(weight.storage, Storage::Dense(_)));
    coded && !layer.varies("bias")
}

/// A layer on codes, and what follows it on the way to codes of its results.
pub(in crate::runtime::cpu) fn coded(
    planner: &mut Planner<'_>,
    layer: Node<'_>,
    x: Input,
    then: &[Node<'_>],
    to: Place,
) -> Found<Step> {
    let weight = layer.weight("weight").ok_or("`weight` is not constant")?;
    match layer.kind() {
        "linear" => rows(planner, layer, x, weight, then, to),
        _ => conv::build(planner, layer, x, weight, then, to)?
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
    then: &[Node<'_>],
    to: Place,
) -> Found<Step> {
    let all = weight.shape.first().copied().unwrap_or(0);
    let matrix = pack(planner, weight, 0..all)?;
    let [n, k] = matrix.shape();
    let m = to.len / n.max(1);
    let bias = planner.optional(node, "bias")?;
    fn by_row<T>(data: &mut [T], n: usize) -> Out<'_, T> {
        Out { data, row_stride: n, col_stride: 1 }
    }
    match (x, then) {
        (Input::Floats(x), _) => {
            planner.needs_scratch(matrix.scratch_len(m));
            Ok(Box::new(move |io: &mut Io<'_>| {
                let bias = bias.map(|bias| io.buffers.floats(bias));
                let out = by_row(io.outputs[0].floats_mut(to.len), n);
                let x = &io.buffers.floats(x)[..m * k];
                matrix.multiply(x, m, bias, out, io.scratch);
                Ok(())
            }))
        }
        (Input::Codes(x, affine), []) => {
            let multiplier = Multiplier::new(matrix, affine, m);
            planner.needs_scratch(multiplier.scratch);
            Ok(Box::new(move |io: &mut Io<'_>| {
                let bias = bias.map(|bias| io.buffers.floats(bias));
                let out = by_row(io.outputs[0].floats_mut(to.len), n);
                multiplier.numbers(&io.buffers.codes(x)[..m * k], m, bias, out, io.scratch);
                Ok(())
            }))
        }
        (Input::Codes(x, affine), then) => {
            let multiplier = Multiplier::new(matrix, affine, m);
            planner.needs_scratch(multiplier.scratch + m * n);
            let bias = node.floats("bias")?;
            let stage = multiplier.stage(then, bias.as_deref())?;
            Ok(Box::new(move |io: &mut Io<'_>| {
                let out = by_row(io.outputs[0].codes_mut(to.len), n);
                let (x, bias) = (&io.buffers.codes(x)[..m * k], bias.as_deref());
                multiplier.codes(x, m, bias, &stage, out, io.scratch);
                Ok(())
            }))
        }
    }
}

/// A packed weight, and how codes are multiplied with it: as they are where the weight allows it, else
/// as the numbers that they stand for.
pub(super) struct Multiplier {
    matrix: Arc<Matrix>,
    affine: Affine,
    exact: bool,
    /// Elements of scratch space that a product needs; one that gives codes, one more for each.
    pub scratch: usize,
}

impl Multiplier {
    /// For products of at most `m` rows.
    pub(super) fn new(matrix: Arc<Matrix>, affine: Affine, m: usize) -> Self {
        let exact = matrix.takes_codes();
        let values = if exact { 0 } else { m * matrix.shape()[1] };
        let scratch = matrix.scratch_len(m) + values;
        Self { matrix, affine, exact, scratch }
    }

    /// The stage that makes codes of the products.
    pub(super) fn stage(&self, then: &[Node<'_>], bias: Option<&[f32]>) -> Found<Stage> {
        let units = match self.exact {
            true => self.matrix.channel_scales(),
            false => vec![1.0; self.matrix.shape()[0]],
        };
        let unit = |scale: &f32| f64::from(self.affine.scale) * f64::from(*scale);
        let units: Vec<f64> = units.iter().map(unit).collect();
        stage::build(then, &units, bias).map(Stage::from)
    }

    /// The product of `[m, K]` codes, in f32.
    pub(super) fn numbers(
        &self,
        codes: &[i8],
        m: usize,
        bias: Option<&[f32]>,
        out: Out<'_>,
        scratch: &mut [f32],
    ) {
        let Affine { scale, zero_point } = self.affine;
        if self.exact {
            let codes = Codes { codes, scale, zero_point };
            return self.matrix.multiply_codes(codes, m, bias, out, scratch);
        }
        let (values, scratch) = scratch.split_at_mut(codes.len());
        for (value, &code) in values.iter_mut().zip(codes) {
            *value = self.affine.number(code);
        }
        self.matrix.multiply(values, m, bias, out, scratch);
    }

    /// The same as codes, by a stage that has the bias already.
    pub(super) fn codes(
        &self,
        codes: &[i8],
        m: usize,
        bias: Option<&[f32]>,
        stage: &Stage,
        out: Out<'_, i8>,
        scratch: &mut [f32],
    ) {
        let Affine { scale, zero_point } = self.affine;
        if self.exact {
            let codes = Codes { codes, scale, zero_point };
            return self.matrix.requantize(codes, m, stage, out, scratch);
        }
        let n = stage.channels();
        let (data, scratch) = scratch.split_at_mut(m * n);
        let numbers = Out { data: &mut *data, row_stride: n, col_stride: 1 };
        self.numbers(codes, m, bias, numbers, scratch);
        let mut row = vec![0; n];
        for (i, numbers) in data.chunks_exact_mut(n.max(1)).enumerate() {
            stage.finish(numbers, &mut row);
            for (channel, &code) in row.iter().enumerate() {
                out.data[i * out.row_stride + channel * out.col_stride] = code;
            }
        }
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
