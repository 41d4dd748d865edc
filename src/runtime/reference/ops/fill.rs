//! Tensors made from sizes, padding, and what stands in a band.

use super::super::places::{FILL, all, grid, take_or};
use super::super::shape::{elements, size};
use super::elementwise::wrap;
use super::{Arguments, Data, One, Tensor};
use ndarray::{Array1, ArrayD, IxDyn};

/// `value` in this shape.
pub(in super::super) fn fill(arguments: &Arguments<'_>) -> One {
    let shape = arguments.ints("shape", 0)?;
    let shape = shape.into_iter().map(size).collect::<Result<Vec<_>, _>>()?;
    filled(arguments, &shape)
}

/// `value` in the shape of another tensor.
pub(in super::super) fn fill_like(arguments: &Arguments<'_>) -> One {
    filled(arguments, arguments.tensor("ref_tensor")?.shape())
}

fn filled(arguments: &Arguments<'_>, shape: &[usize]) -> One {
    elements(shape)?;
    let value = arguments.scalar("value")?;
    Ok(take_or(&value, 0.0, &ArrayD::zeros(IxDyn(shape))))
}

/// `start`, `start + step`, … before `end`: ⌈(end − start) / step⌉ numbers.
pub(in super::super) fn range_1d(arguments: &Arguments<'_>) -> One {
    let dtype = arguments.tensor("start")?.dtype;
    let [start, end, step] = ["start", "end", "step"].map(|name| arguments.number(name));
    let (start, end, step) = (start?, end?, step?);
    let count = ((end - start) / step).ceil();
    if step == 0.0 || !count.is_finite() {
        return Err(format!("there is no range from {start} to {end} by {step}"));
    }
    let count = elements(&[count.max(0.0) as usize])?;
    let numbers: Array1<f64> = (0..count).map(|i| start + i as f64 * step).collect();
    Ok(match arguments.tensor("start")?.data {
        Data::Float(_) => Tensor::float(dtype, numbers.mapv(|x| x as f32).into_dyn()),
        _ => Tensor::int(dtype, numbers.mapv(|x| wrap(dtype, x as i64)).into_dyn()),
    })
}

/// The last two axes with 0 outside a band: `lower` diagonals below the main one are kept and `upper`
/// above; a negative number keeps all.
pub(in super::super) fn band_part(arguments: &Arguments<'_>) -> One {
    let x = arguments.tensor("x")?;
    let (lower, upper) = (arguments.int("lower")?, arguments.int("upper")?);
    let &[.., rows, columns] = x.shape() else {
        return Err(format!("`x` is {}, no matrix", x.ty()));
    };
    let kept = |place: usize| {
        let below = (place / columns % rows) as i64 - (place % columns) as i64;
        let inside = (lower < 0 || below <= lower) && (upper < 0 || -below <= upper);
        if inside { place } else { FILL }
    };
    Ok(take_or(x, 0.0, &all(x.shape())?.mapv(kept)))
}

/// Elements put around: `pad` holds how many before and after, for the last dimensions. `constant`
/// puts `constant_val`, `replicate` the nearest element, `reflect` those behind it in mirror order.
pub(in super::super) fn pad(arguments: &Arguments<'_>) -> One {
    let x = arguments.tensor("x")?;
    let rank = x.shape().len();
    let count = arguments.ints("pad", 0)?.len();
    let pads = arguments.sizes("pad", count, 0)?;
    let mode = arguments.text("mode")?;
    let first = (count % 2 == 0).then_some(count / 2).and_then(|n| rank.checked_sub(n));
    let first = first.ok_or_else(|| format!("`pad` is {pads:?} for {}", x.ty()))?;
    let amounts = |axis: usize| match axis.checked_sub(first) {
        Some(i) => (pads[2 * i], pads[2 * i + 1]),
        None => (0, 0),
    };
    let size = |axis: usize| {
        let (before, after) = amounts(axis);
        x.shape()[axis].checked_add(before)?.checked_add(after)
    };
    let shape: Option<Vec<_>> = (0..rank).map(size).collect();
    elements(&shape.ok_or_else(|| format!("`pad` is {pads:?} for {}", x.ty()))?)?;
    let taken = (0..rank).map(|axis| {
        let (length, (before, after)) = (x.shape()[axis], amounts(axis));
        let most = match mode {
            "constant" => usize::MAX,
            "replicate" => {
                if length == 0 {
                    0
                } else {
                    usize::MAX
                }
            }
            "reflect" => length.saturating_sub(1),
            _ => return Err(format!("`mode` is `{mode}`")),
        };
        if before > most || after > most {
            return Err(format!("`pad` is {pads:?} for {} in mode {mode}", x.ty()));
        }
        let source = |place: usize| match (place.checked_sub(before), mode) {
            (Some(i), _) if i < length => i,
            (_, "constant") => FILL,
            (None, "replicate") => 0,
            (None, _) => before - place,
            (Some(_), "replicate") => length - 1,
            (Some(i), _) => 2 * (length - 1) - i,
        };
        Ok((0..before + length + after).map(source).collect())
    });
    let taken = taken.collect::<Result<Vec<_>, _>>()?;
    let filling = if mode == "constant" { arguments.number("constant_val")? } else { 0.0 };
    Ok(take_or(x, filling, &grid(x.shape(), &taken)?))
}
