//! Matrix products.

use super::super::product::product;
use super::super::shape::{broadcast, elements};
use super::conv::bias;
use super::elementwise::zip;
use super::{Arguments, Data, One, Tensor, places};
use ndarray::{Array2, ArrayD, ArrayView2, Dimension, IxDyn};

/// `x · Wᵀ + b`: x `[.., I]`, W `[O, I]`, b `[O]` → `[.., O]`. Integers multiply exactly and wrap.
pub(in super::super) fn linear(arguments: &Arguments<'_>) -> One {
    let x = arguments.tensor("x")?;
    let weight = arguments.tensor("weight")?;
    let (Some((&inside, rows)), &[out, columns]) = (x.shape().split_last(), weight.shape()) else {
        return Err(format!("`weight` is {} for {}", weight.ty(), x.ty()));
    };
    if inside != columns {
        return Err(format!("`weight` is {} for {}", weight.ty(), x.ty()));
    }
    let shape = [rows, &[out]].concat();
    elements(&shape)?;
    let rows: usize = rows.iter().product();
    let data = match (&x.data, &weight.data) {
        (Data::Float(a), Data::Float(w)) => {
            let bias = bias(arguments, out)?;
            let start = bias.broadcast((rows, out)).ok_or("`bias` does not fit")?;
            let (a, w) = (matrix(a, rows, inside)?, matrix(w, out, inside)?);
            let y = product(arguments, x.dtype, a.view(), w.t(), start);
            Data::Float(places::array(&shape, y.into_raw_vec_and_offset().0)?)
        }
        (Data::Int(a), Data::Int(w)) => {
            let y = batched(a, w, (false, true), exact)?;
            let bias = arguments
                .optional("bias")
                .map(|bias| bias.as_int().ok_or_else(|| format!("`bias` is {}", bias.ty())));
            Data::Int(match bias.transpose()? {
                None => y,
                Some(bias) => zip(&y, bias, |y, &bias| y.wrapping_add(bias))?,
            })
        }
        _ => return Err(format!("`weight` is {} for {}", weight.ty(), x.ty())),
    };
    Ok(Tensor { dtype: x.dtype, data })
}

/// `x · y` over the last two axes, either transposed first; the others broadcast. A vector is a row
/// on the left and a column on the right, and its dimension goes afterwards. Integers multiply
/// exactly and wrap.
pub(in super::super) fn matmul(arguments: &Arguments<'_>) -> One {
    let (x, y) = (arguments.tensor("x")?, arguments.tensor("y")?);
    let transpose = (arguments.flag("transpose_x")?, arguments.flag("transpose_y")?);
    match (&x.data, &y.data) {
        (Data::Float(a), Data::Float(b)) => {
            let multiply = |a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>| {
                let start = Array2::zeros((a.nrows(), b.ncols()));
                product(arguments, x.dtype, a, b, start.view())
            };
            Ok(Tensor::float(x.dtype, batched(a, b, transpose, multiply)?))
        }
        (Data::Int(a), Data::Int(b)) => Ok(Tensor::int(x.dtype, batched(a, b, transpose, exact)?)),
        _ => Err(format!("`x` is {} beside `y`, which is {}", x.ty(), y.ty())),
    }
}

/// `a · b` on integers, which wrap.
fn exact(a: ArrayView2<'_, i32>, b: ArrayView2<'_, i32>) -> Array2<i32> {
    Array2::from_shape_fn((a.nrows(), b.ncols()), |(m, n)| {
        let pairs = a.row(m).into_iter().zip(b.column(n));
        pairs.fold(0_i32, |sum, (&a, &b)| sum.wrapping_add(a.wrapping_mul(b)))
    })
}

/// The products of the matrices in the last two axes, over the broadcast of the others.
pub(super) fn batched<T: Copy + Default>(
    x: &ArrayD<T>,
    y: &ArrayD<T>,
    (transpose_x, transpose_y): (bool, bool),
    multiply: impl Fn(ArrayView2<'_, T>, ArrayView2<'_, T>) -> Array2<T>,
) -> Result<ArrayD<T>, String> {
    let misfit = || format!("{:?} and {:?} do not multiply", x.shape(), y.shape());
    if x.ndim() == 0 || y.ndim() == 0 {
        return Err(misfit());
    }
    let (row, column) = (x.ndim() == 1, y.ndim() == 1);
    let mut a = x.view();
    let mut b = y.view();
    match row {
        true => a.insert_axis_inplace(ndarray::Axis(0)),
        false if transpose_x => a.swap_axes(x.ndim() - 1, x.ndim() - 2),
        false => {}
    }
    match column {
        true => b.insert_axis_inplace(ndarray::Axis(1)),
        false if transpose_y => b.swap_axes(y.ndim() - 1, y.ndim() - 2),
        false => {}
    }
    let (batch_a, matrix_a) = a.shape().split_at(a.ndim() - 2);
    let (batch_b, matrix_b) = b.shape().split_at(b.ndim() - 2);
    let (&[m, k], &[k_b, n]) = (matrix_a, matrix_b) else { return Err(misfit()) };
    if k != k_b {
        return Err(misfit());
    }
    let batch = broadcast(batch_a, batch_b).map_err(|_| misfit())?;
    let shape = [&batch[..], &[m, n]].concat();
    let mut products = Vec::with_capacity(elements(&shape)?);
    let a = a.broadcast(IxDyn(&[&batch[..], &[m, k]].concat())).ok_or_else(misfit)?;
    let b = b.broadcast(IxDyn(&[&batch[..], &[k, n]].concat())).ok_or_else(misfit)?;
    for index in ndarray::indices(IxDyn(&batch)) {
        let (mut a, mut b) = (a.clone(), b.clone());
        for &i in index.slice() {
            a = a.index_axis_move(ndarray::Axis(0), i);
            b = b.index_axis_move(ndarray::Axis(0), i);
        }
        let (a, b) = (a.into_dimensionality(), b.into_dimensionality());
        let (a, b) = (a.map_err(|_| misfit())?, b.map_err(|_| misfit())?);
        products.extend(multiply(a, b).iter().copied());
    }
    let mut shape = shape;
    if column {
        shape.pop();
    }
    if row {
        shape.remove(batch.len());
    }
    places::array(&shape, products)
}

/// `Σ_w x[.., c, h, w] · y[.., w, h, u]`: the two equations that MIL has, `nchw,nwhu->nchu` and
/// `chw,whr->chr`, in whatever letters. `n` and `h` broadcast.
pub(in super::super) fn einsum(arguments: &Arguments<'_>) -> One {
    let values = arguments.many("values")?;
    let equation = arguments.text("equation")?;
    let &[x, y] = &values[..] else {
        return Err(format!("`values` are {}, not two", values.len()));
    };
    let (Some(a), Some(b)) = (x.as_float(), y.as_float()) else {
        return Err(format!("{} and {} are not both of numbers", x.ty(), y.ty()));
    };
    let rank = a.ndim();
    let known = matches!(pattern(equation).as_str(), "abcd,adce->abce" | "abc,cbd->abd");
    if !known || !(3..=4).contains(&rank) || b.ndim() != rank || equation.find(',') != Some(rank) {
        return Err(format!("`equation` is `{equation}` for {} and {}", x.ty(), y.ty()));
    }
    // h becomes a batch axis: [n, h, c, w] · [n, h, w, u] = [n, h, c, u].
    let h_first = |array: &ArrayD<f32>| {
        let mut array = array.clone();
        array.swap_axes(rank - 3, rank - 2);
        array
    };
    let multiply = |a: ArrayView2<'_, f32>, b: ArrayView2<'_, f32>| {
        let start = Array2::zeros((a.nrows(), b.ncols()));
        product(arguments, x.dtype, a, b, start.view())
    };
    let product = batched(&h_first(a), &h_first(b), (false, false), multiply)?;
    Ok(Tensor::float(x.dtype, h_first(&product)))
}

/// An equation with its letters renamed in the order in which they come.
fn pattern(equation: &str) -> String {
    let mut seen = String::new();
    let rename = |letter: char| {
        if !letter.is_alphabetic() {
            return letter;
        }
        let place = seen.chars().position(|known| known == letter).unwrap_or_else(|| {
            seen.push(letter);
            seen.chars().count() - 1
        });
        char::from_u32('a' as u32 + place as u32).unwrap_or('?')
    };
    equation.chars().filter(|c| !c.is_whitespace()).map(rename).collect()
}

/// The elements as a matrix.
fn matrix(array: &ArrayD<f32>, rows: usize, columns: usize) -> Result<Array2<f32>, String> {
    let elements = places::flat(array).into_owned();
    Array2::from_shape_vec((rows, columns), elements)
        .map_err(|_| format!("{:?} is no matrix [{rows}, {columns}]", array.shape()))
}
