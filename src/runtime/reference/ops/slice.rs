//! Parts of a tensor.

use super::super::arguments::axis;
use super::super::places::{grid, take};
use super::super::shape::size;
use super::{Arguments, Data, One, Tensor, places};

/// What a slice takes along each axis, and which axes go afterwards.
struct Slices {
    taken: Vec<Vec<usize>>,
    squeezed: Vec<bool>,
}

impl Slices {
    /// `begin`, `end`, `stride` and the masks of slice_by_index, as numpy slices: negative numbers
    /// count from the end, what lies outside is cut off, a mask means as far as possible, and a
    /// squeezed axis is the one element at `begin`.
    fn new(arguments: &Arguments<'_>, shape: &[usize]) -> Result<Self, String> {
        let rank = shape.len();
        let (begin, end) = (arguments.ints("begin", rank)?, arguments.ints("end", rank)?);
        let stride = arguments.optional_ints("stride")?.unwrap_or_else(|| vec![1; rank]);
        let mask = |name| {
            let flags = arguments.flags(name)?;
            Ok::<_, String>(match flags[..] {
                [] | [false] => vec![false; rank],
                _ => flags,
            })
        };
        let (from_start, to_end) = (mask("begin_mask")?, mask("end_mask")?);
        let squeezed = mask("squeeze_mask")?;
        let lengths = [begin.len(), end.len(), stride.len()];
        let masks = [from_start.len(), to_end.len(), squeezed.len()];
        if lengths.into_iter().chain(masks).any(|len| len != rank) {
            return Err(format!(
                "{rank} dimensions are sliced with vectors of {lengths:?} and {masks:?}"
            ));
        }
        let taken = (0..rank).map(|axis_number| {
            let length = shape[axis_number];
            let first = begin[axis_number];
            if squeezed[axis_number] {
                let first = if from_start[axis_number] { 0 } else { first };
                return Ok(vec![axis("begin", first, length)?]);
            }
            let begin = (!from_start[axis_number]).then_some(first);
            let end = (!to_end[axis_number]).then_some(end[axis_number]);
            range(length, begin, end, stride[axis_number])
        });
        Ok(Self { taken: taken.collect::<Result<_, String>>()?, squeezed })
    }

    fn shape(&self) -> Vec<usize> {
        let kept = self.taken.iter().zip(&self.squeezed).filter(|(_, squeezed)| !**squeezed);
        kept.map(|(taken, _)| taken.len()).collect()
    }
}

/// The indices of a numpy slice of a dimension of `length`.
fn range(
    length: usize,
    begin: Option<i64>,
    end: Option<i64>,
    stride: i64,
) -> Result<Vec<usize>, String> {
    let length = length as i64;
    if stride == 0 {
        return Err("`stride` holds a zero".into());
    }
    // Going down, one before the first element is a place too.
    let (low, high) = if stride > 0 { (0, length) } else { (-1, length - 1) };
    let place = |n: i64| if n < 0 { n.saturating_add(length) } else { n }.clamp(low, high);
    let (start, stop) = if stride > 0 { (low, high) } else { (high, low) };
    let (start, stop) = (begin.map_or(start, place), end.map_or(stop, place));
    let mut indices = vec![];
    let mut at = start;
    while (stride > 0 && at < stop) || (stride < 0 && at > stop) {
        indices.push(size(at)?);
        at = at.saturating_add(stride);
    }
    Ok(indices)
}

/// `x[begin : end : stride]` along each axis, as numpy.
pub(in super::super) fn slice_by_index(arguments: &Arguments<'_>) -> One {
    let x = arguments.tensor("x")?;
    let slices = Slices::new(arguments, x.shape())?;
    let part = take(x, &grid(x.shape(), &slices.taken)?);
    places::reshaped(&part, &slices.shape())
}

/// `x` with the part that [`slice_by_index`] would take replaced by `update`, which has its shape.
pub(in super::super) fn slice_update(arguments: &Arguments<'_>) -> One {
    let (x, update) = (arguments.tensor("x")?, arguments.tensor("update")?);
    let slices = Slices::new(arguments, x.shape())?;
    let shape = slices.shape();
    if update.shape() != shape {
        return Err(format!("`update` is {} for a part of shape {shape:?}", update.ty()));
    }
    let targets = grid(x.shape(), &slices.taken)?;
    fn replace<T: Copy>(
        x: &ndarray::ArrayD<T>,
        update: &ndarray::ArrayD<T>,
        targets: &ndarray::ArrayD<usize>,
    ) -> Result<ndarray::ArrayD<T>, String> {
        let mut elements = places::flat(x).into_owned();
        targets.iter().zip(update).for_each(|(&target, &value)| elements[target] = value);
        places::array(x.shape(), elements)
    }
    let data = match (&x.data, &update.data) {
        (Data::Float(x), Data::Float(update)) => Data::Float(replace(x, update, &targets)?),
        (Data::Int(x), Data::Int(update)) => Data::Int(replace(x, update, &targets)?),
        (Data::Bool(x), Data::Bool(update)) => Data::Bool(replace(x, update, &targets)?),
        _ => return Err(format!("`update` is {} for {}", update.ty(), x.ty())),
    };
    Ok(Tensor { dtype: x.dtype, data })
}

/// `size` elements from `begin` along each axis; −1 is all that follow.
pub(in super::super) fn slice_by_size(arguments: &Arguments<'_>) -> One {
    let x = arguments.tensor("x")?;
    let rank = x.shape().len();
    let (begin, sizes) = (arguments.ints("begin", rank)?, arguments.ints("size", rank)?);
    if begin.len() != rank || sizes.len() != rank {
        return Err(format!("`begin` is {begin:?} and `size` {sizes:?} for {}", x.ty()));
    }
    let taken =
        x.shape().iter().zip(begin.iter().zip(&sizes)).map(|(&length, (&begin, &count))| {
            let outside = || format!("{count} elements from {begin} do not lie in {}", x.ty());
            let begin = if begin < 0 { begin.saturating_add(length as i64) } else { begin };
            let begin = usize::try_from(begin).ok().filter(|&n| n <= length).ok_or_else(outside)?;
            let end = match usize::try_from(count) {
                Ok(count) => {
                    begin.checked_add(count).filter(|&n| n <= length).ok_or_else(outside)?
                }
                Err(_) => length,
            };
            Ok((begin..end).collect())
        });
    Ok(take(x, &grid(x.shape(), &taken.collect::<Result<Vec<_>, String>>()?)?))
}
