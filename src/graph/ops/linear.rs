//! Matrix products: `linear`, `matmul`, `einsum`.

use super::arguments::{Arguments, Inferred, one, require};
use super::dims::broadcast;
use super::domain::{FLOAT, NUMBER, NUMBER_WEIGHT};
use super::{Default, Kind, Param, Row};
use crate::graph::{Dim, TensorType};

pub(super) static ROWS: &[Row] = &[
    Row::new(
        "einsum",
        &[Param::tensor("values", FLOAT).of(Kind::Many), Param::word("equation")],
        einsum,
    ),
    Row::new(
        "linear",
        &[
            Param::tensor("x", NUMBER),
            Param::constant("weight", NUMBER_WEIGHT),
            Param::constant("bias", NUMBER_WEIGHT).or(Default::Absent),
        ],
        linear,
    ),
    // From iOS 17 a constant operand may be of another type; the result has the other one's.
    Row::new(
        "matmul",
        &[
            Param::tensor("x", NUMBER),
            Param::tensor("y", NUMBER_WEIGHT),
            Param::flag("transpose_x", false),
            Param::flag("transpose_y", false),
        ],
        matmul,
    ),
];

/// `x · Wᵀ + b`: x `[.., I]`, W `[O, I]`, b `[O]` → `[.., O]`.
fn linear(args: &Arguments<'_>) -> Inferred {
    let (x, weight) = (args.tensor("x")?, args.tensor("weight")?);
    let [out, inside] = weight.dims[..] else {
        return Err(format!("`weight` is {weight}, not [O, I]"));
    };
    let mut dims = x.dims.clone();
    let last = dims.last_mut().ok_or("`x` is a scalar")?;
    require(last.may_equal(inside), || format!("`x` is {x} beside `weight`, which is {weight}"))?;
    *last = out;
    bias(args, out)?;
    one(x.dtype, dims)
}

/// A number for each output.
pub(super) fn bias(args: &Arguments<'_>, out: Dim) -> Result<(), String> {
    let Some(bias) = args.optional("bias") else { return Ok(()) };
    let fits = matches!(bias.dims[..], [count] if count.may_equal(out));
    require(fits, || format!("`bias` is {bias} for {out} outputs"))
}

/// Batched matrix product, with either matrix transposed; `x` may be a row.
fn matmul(args: &Arguments<'_>) -> Inferred {
    let (x, y) = (args.tensor("x")?, args.tensor("y")?);
    let (transpose_x, transpose_y) = (args.flag("transpose_x")?, args.flag("transpose_y")?);
    let row = x.rank() == 1;
    require(x.rank() >= 1 && y.rank() >= 2 && !(row && transpose_x), || {
        format!("{x} and {y} are no matrices")
    })?;
    let (x_varies, y_varies) = (args.varies("x"), args.varies("y"));
    require(x.dtype == y.dtype || x_varies != y_varies, || {
        format!("`y` is {y} beside `x`, which is {x}, and neither alone is constant")
    })?;
    let split = |dims: &[Dim], transpose: bool| {
        let (batch, matrix) = dims.split_at(dims.len() - 2);
        let [rows, cols] = if transpose { [matrix[1], matrix[0]] } else { [matrix[0], matrix[1]] };
        (batch.to_vec(), rows, cols)
    };
    let raised = if row { [&[Dim::Fixed(1)], &x.dims[..]].concat() } else { x.dims.clone() };
    let (batch_x, rows, inside_x) = split(&raised, transpose_x);
    let (batch_y, inside_y, cols) = split(&y.dims, transpose_y);
    let fits = inside_x.may_equal(inside_y);
    let batch = broadcast(&batch_x, &batch_y).filter(|_| fits);
    let mut dims = batch.ok_or_else(|| format!("{x} and {y} do not multiply"))?;
    dims.extend((!row).then_some(rows));
    dims.push(cols);
    one(if x_varies { x.dtype } else { y.dtype }, dims)
}

/// The two forms that Core ML has, by whatever letters: `nchw,nwhu->nchu` and `chw,whr->chr`.
fn einsum(args: &Arguments<'_>) -> Inferred {
    let values: Vec<_> = args.many("values").filter_map(|bound| bound.ty.tensor()).collect();
    let [x, y] = values[..] else {
        return Err(format!("`values` are {} tensors, not two", values.len()));
    };
    let equation = args.constant("equation").and_then(|c| c.as_text()).unwrap_or_default();
    let form = if x.rank() == 4 { "nchw,nwhu->nchu" } else { "chw,whr->chr" };
    require(x.rank() == y.rank() && renames(equation, form), || {
        format!("`equation` is `{equation}` for {x} and {y}; {form} would do")
    })?;
    let mismatch = || format!("{x} and {y} do not multiply");
    product(x, y).ok_or_else(mismatch)
}

fn product(x: &TensorType, y: &TensorType) -> Option<Vec<crate::graph::ValueType>> {
    let rank = x.rank();
    let [.., c, h, w] = x.dims[..] else { return None };
    let [.., inside, h_y, u] = y.dims[..] else { return None };
    let batch = broadcast(&x.dims[..rank - 3], &y.dims[..rank - 3])?;
    let height = broadcast(&[h], &[h_y])?;
    if !w.may_equal(inside) {
        return None;
    }
    let dims = [&batch[..], &[c], &height, &[u]].concat();
    Some(vec![TensorType::new(x.dtype, dims).into()])
}

/// Whether one equation is the other with its letters renamed.
fn renames(equation: &str, form: &str) -> bool {
    let letter = |c: char| c.is_ascii_alphabetic();
    let place = |text: &str, c: char| text.find(c);
    equation.len() == form.len()
        && equation.chars().zip(form.chars()).all(|(a, b)| {
            if letter(b) { letter(a) && place(equation, a) == place(form, b) } else { a == b }
        })
}
