//! Type inference: one function for each family of operations.
//!
//! Weights and biases may be of another floating-point type than `x` from iOS 17; whether the target
//! allows it is checked with the opset.

use super::Arguments;
use crate::graph::{DataType, Dim, TensorType, ValueType};

type Inferred = Result<Vec<ValueType>, String>;

fn require(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}

fn float(name: &str, tensor: &TensorType) -> Result<(), String> {
    let is = matches!(tensor.dtype, DataType::Float16 | DataType::Float32);
    require(is, || format!("`{name}` is {tensor}, no floating-point tensor"))
}

fn same_dtype(names: [&str; 2], a: &TensorType, b: &TensorType) -> Result<(), String> {
    let [first, second] = names;
    require(a.dtype == b.dtype, || format!("`{second}` is {b} beside `{first}`, which is {a}"))
}

/// Numpy's broadcast of two lists of dimensions.
fn broadcast(a: &[Dim], b: &[Dim]) -> Option<Vec<Dim>> {
    let rank = a.len().max(b.len());
    let at = |dims: &[Dim], i: usize| match (i + dims.len()).checked_sub(rank) {
        Some(place) => dims[place],
        None => Dim::Fixed(1),
    };
    let join = |i| match (at(a, i), at(b, i)) {
        (x, y) if x == y => Some(x),
        (Dim::Fixed(1), other) | (other, Dim::Fixed(1)) => Some(other),
        // A flexible size beside a fixed one above 1 must turn out to be 1 or the same.
        (Dim::Flexible, fixed) | (fixed, Dim::Flexible) => Some(fixed),
        (Dim::Fixed(_), Dim::Fixed(_)) => None,
    };
    (0..rank).map(join).collect()
}

/// `x ∘ y`, broadcast, of one type.
pub(super) fn elementwise(args: &Arguments<'_>) -> Inferred {
    let (x, y) = (args.tensor("x")?, args.tensor("y")?);
    same_dtype(["x", "y"], x, y)?;
    let dims =
        broadcast(&x.dims, &y.dims).ok_or_else(|| format!("{x} and {y} do not broadcast"))?;
    Ok(vec![TensorType::new(x.dtype, dims).into()])
}

/// `x` in another type, named by a word.
pub(super) fn cast(args: &Arguments<'_>) -> Inferred {
    let word = args.text("dtype")?;
    let dtype = match word {
        "fp16" => DataType::Float16,
        "fp32" => DataType::Float32,
        "int32" => DataType::Int32,
        "bool" => DataType::Bool,
        _ => return Err(format!("`dtype` is `{word}`; fp16, fp32, int32 and bool are known")),
    };
    Ok(vec![TensorType::new(dtype, args.tensor("x")?.dims.clone()).into()])
}

/// `x · Wᵀ + b`: x `[.., I]` of rank 1 to 3, W `[O, I]`, b `[O]` → `[.., O]`.
pub(super) fn linear(args: &Arguments<'_>) -> Inferred {
    let (x, weight) = (args.tensor("x")?, args.tensor("weight")?);
    float("x", x)?;
    float("weight", weight)?;
    let [out, inside] = weight.dims[..] else {
        return Err(format!("`weight` is {weight}, not [O, I]"));
    };
    require((1..=3).contains(&x.rank()), || format!("`x` is {x}, not of rank 1 to 3"))?;
    let mut dims = x.dims.clone();
    let last = dims.last_mut().ok_or("`x` is a scalar")?;
    require(last.may_equal(inside), || format!("`x` is {x} beside `weight`, which is {weight}"))?;
    *last = out;
    bias(args, out)?;
    Ok(vec![TensorType::new(x.dtype, dims).into()])
}

fn bias(args: &Arguments<'_>, out: Dim) -> Result<(), String> {
    let Some(bias) = args.optional("bias") else { return Ok(()) };
    float("bias", bias)?;
    require(bias.dims == [out], || format!("`bias` is {bias} for {out} outputs"))
}

/// Batched matrix product, with either matrix transposed.
pub(super) fn matmul(args: &Arguments<'_>) -> Inferred {
    let (x, y) = (args.tensor("x")?, args.tensor("y")?);
    float("x", x)?;
    float("y", y)?;
    require(x.rank() >= 2 && y.rank() >= 2, || format!("{x} and {y} are no matrices"))?;
    let split = |dims: &[Dim], transpose: bool| {
        let (batch, matrix) = dims.split_at(dims.len() - 2);
        let [rows, cols] = if transpose { [matrix[1], matrix[0]] } else { [matrix[0], matrix[1]] };
        (batch.to_vec(), rows, cols)
    };
    let (batch_x, rows, inside_x) = split(&x.dims, args.flag("transpose_x")?);
    let (batch_y, inside_y, cols) = split(&y.dims, args.flag("transpose_y")?);
    let fits = inside_x.may_equal(inside_y);
    let batch = broadcast(&batch_x, &batch_y).filter(|_| fits);
    let mut dims = batch.ok_or_else(|| format!("{x} and {y} do not multiply"))?;
    dims.extend([rows, cols]);
    Ok(vec![TensorType::new(x.dtype, dims).into()])
}

/// Rows of `x` along `axis`: `x[.., indices, ..]`.
pub(super) fn gather(args: &Arguments<'_>) -> Inferred {
    let (x, indices) = (args.tensor("x")?, args.tensor("indices")?);
    let integer = matches!(indices.dtype, DataType::Int32 | DataType::Int16 | DataType::UInt16);
    require(integer, || format!("`indices` is {indices}, not of integers"))?;
    let rank = x.rank() as i64;
    let axis = args.int("axis")?;
    require((-rank..rank).contains(&axis), || format!("`x` is {x} and has no axis {axis}"))?;
    let axis = axis.rem_euclid(rank) as usize;
    let batch = args.int("batch_dims")?;
    let shared = usize::try_from(batch).ok().filter(|&n| n <= axis && n <= indices.rank());
    let shared = shared.ok_or_else(|| format!("`batch_dims` is {batch} for axis {axis}"))?;
    let dims = [&x.dims[..axis], &indices.dims[shared..], &x.dims[axis + 1..]].concat();
    Ok(vec![TensorType::new(x.dtype, dims).into()])
}

/// Convolution: x `[n, C, *d]`, W `[O, C/groups, *k]`, 1 to 3 spatial dimensions.
pub(super) fn conv(args: &Arguments<'_>) -> Inferred {
    let (x, weight) = (args.tensor("x")?, args.tensor("weight")?);
    float("x", x)?;
    float("weight", weight)?;
    let spatial = x.rank().saturating_sub(2);
    require((1..=3).contains(&spatial) && weight.rank() == x.rank(), || {
        format!("`x` is {x} beside `weight`, which is {weight}; 1 to 3 spatial dimensions")
    })?;
    let groups = args.int("groups")?;
    let size = |dim| match dim {
        Dim::Fixed(size) => i64::try_from(size).ok(),
        Dim::Flexible => None,
    };
    let (out, inside) = (weight.dims[0], weight.dims[1]);
    let channels = size(x.dims[1]).ok_or("`x` has a flexible number of channels")?;
    let divides = groups > 0
        && size(inside).and_then(|i| i.checked_mul(groups)) == Some(channels)
        && size(out).is_some_and(|o| o % groups == 0);
    require(divides, || format!("`x` is {x} beside `weight` {weight} in {groups} groups"))?;
    bias(args, out)?;
    let vector = |name: &str, len: usize, least: i64| {
        let mut numbers = args.ints(name, len)?;
        // The default has one number a spatial dimension, whatever the vector's length.
        if args.constant(name).is_none() {
            numbers.resize(len, least);
        }
        require(numbers.len() == len && numbers.iter().all(|&n| n >= least), || {
            format!("`{name}` is {numbers:?}, not {len} numbers from {least}")
        })?;
        Ok::<_, String>(numbers)
    };
    let strides = vector("strides", spatial, 1)?;
    let dilations = vector("dilations", spatial, 1)?;
    let pad_type = args.text("pad_type")?;
    let pad = match pad_type {
        "custom" => vector("pad", 2 * spatial, 0)?,
        _ => vec![0; 2 * spatial],
    };
    let mut dims = vec![x.dims[0], out];
    for axis in 0..spatial {
        let (stride, dilation) = (strides[axis], dilations[axis]);
        let (Some(d), Some(k)) = (size(x.dims[axis + 2]), size(weight.dims[axis + 2])) else {
            dims.push(Dim::Flexible);
            continue;
        };
        let length = match pad_type {
            "same" | "same_lower" => (d.checked_sub(1)).map(|d| d / stride + 1),
            "valid" | "custom" => (k.checked_sub(1))
                .and_then(|k| k.checked_mul(dilation))
                .and_then(|reach| {
                    d.checked_add(pad[2 * axis])?
                        .checked_add(pad[2 * axis + 1])?
                        .checked_sub(reach + 1)
                })
                .filter(|&room| room >= 0)
                .map(|room| room / stride + 1),
            _ => return Err(format!("`pad_type` is `{pad_type}`")),
        };
        let length = length.and_then(|n| usize::try_from(n).ok());
        dims.push(Dim::Fixed(
            length.ok_or_else(|| format!("`weight` {weight} reaches over the end of `x` {x}"))?,
        ));
    }
    Ok(vec![TensorType::new(x.dtype, dims).into()])
}
