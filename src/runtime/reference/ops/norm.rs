//! Normalizations.

use super::activation::per_channel;
use super::elementwise::zip;
use super::rows::each_row;
use super::{Arguments, One, Tensor};

/// (x − mean) / √(variance + ε) along `axes`, times γ, plus β; the population's variance.
/// γ and β have the shape of the normalized axes.
pub(in super::super) fn layer_norm(arguments: &Arguments<'_>) -> One {
    let x = arguments.float("x")?;
    let axes = arguments.axes("axes", x.ndim())?;
    let epsilon = arguments.number("epsilon")?;
    let (gamma, beta) = (arguments.optional_float("gamma")?, arguments.optional_float("beta")?);
    let len: usize = axes.iter().map(|&axis| x.shape()[axis]).product();
    for (name, vector) in [("gamma", gamma), ("beta", beta)] {
        if let Some(other) = vector.filter(|vector| vector.len() != len) {
            return Err(format!("`{name}` has shape {:?} for rows of {len}", other.shape()));
        }
    }
    let y = each_row(x, &axes, |row| {
        normalize(row, epsilon);
        if let Some(gamma) = gamma {
            row.iter_mut().zip(gamma).for_each(|(x, &gamma)| *x *= f64::from(gamma));
        }
        if let Some(beta) = beta {
            row.iter_mut().zip(beta).for_each(|(x, &beta)| *x += f64::from(beta));
        }
    })?;
    Ok(Tensor::float(arguments.tensor("x")?.dtype, y))
}

/// As [`layer_norm`] over the spatial axes, with γ and β for each channel (axis 1).
pub(in super::super) fn instance_norm(arguments: &Arguments<'_>) -> One {
    let x = arguments.float("x")?;
    let axes: Vec<_> = (2..x.ndim()).collect();
    let epsilon = arguments.number("epsilon")?;
    let channels = x.shape().get(1).copied().ok_or("`x` has no channels")?;
    let vector = |name, default: f64| match arguments.optional_float(name)? {
        None => Ok(vec![default; channels]),
        Some(vector) if vector.len() == channels => {
            Ok(vector.iter().map(|&x| x.into()).collect::<Vec<f64>>())
        }
        Some(vector) => {
            Err(format!("`{name}` has {} numbers for {channels} channels", vector.len()))
        }
    };
    let (gamma, beta) = (vector("gamma", 1.0)?, vector("beta", 0.0)?);
    let mut row_number = 0;
    let y = each_row(x, &axes, |row| {
        let channel = row_number % channels;
        row_number += 1;
        normalize(row, epsilon);
        row.iter_mut().for_each(|x| *x = *x * gamma[channel] + beta[channel]);
    })?;
    Ok(Tensor::float(arguments.tensor("x")?.dtype, y))
}

/// (x − mean) / √(variance + ε) · γ + β, each a vector along the channels (axis 1).
pub(in super::super) fn batch_norm(arguments: &Arguments<'_>) -> One {
    let x = arguments.float("x")?;
    let epsilon = arguments.number("epsilon")?;
    let mean = per_channel(arguments, "mean", x.ndim())?.mapv(f64::from);
    let variance = per_channel(arguments, "variance", x.ndim())?;
    let mut scale = variance.mapv(|variance| 1.0 / (f64::from(variance) + epsilon).sqrt());
    if arguments.optional("gamma").is_some() {
        let gamma = per_channel(arguments, "gamma", x.ndim())?;
        scale = zip(&scale, &gamma, |scale, &gamma| scale * f64::from(gamma))?;
    }
    let centred = zip(x, &mean, |&x, mean| f64::from(x) - mean)?;
    let mut y = zip(&centred, &scale, |x, scale| x * scale)?;
    if arguments.optional("beta").is_some() {
        let beta = per_channel(arguments, "beta", x.ndim())?;
        y = zip(&y, &beta, |y, &beta| y + f64::from(beta))?;
    }
    Ok(Tensor::float(arguments.tensor("x")?.dtype, y.mapv(|y| y as f32)))
}

/// x / √(Σx² + ε) over the last three axes together.
pub(in super::super) fn l2_norm(arguments: &Arguments<'_>) -> One {
    let x = arguments.float("x")?;
    let first = x.ndim().checked_sub(3).ok_or("`x` has fewer than three dimensions")?;
    let axes: Vec<_> = (first..x.ndim()).collect();
    let epsilon = arguments.number("epsilon")?;
    let y = each_row(x, &axes, |row| {
        let length = (row.iter().map(|x| x * x).sum::<f64>() + epsilon).sqrt();
        row.iter_mut().for_each(|x| *x /= length);
    })?;
    Ok(Tensor::float(arguments.tensor("x")?.dtype, y))
}

/// x / (k + α/size · Σx²)^β, the sum over the `size` channels from `size / 2` before to
/// `(size − 1) / 2` after, those that exist: the window of torch's `LocalResponseNorm`.
pub(in super::super) fn local_response_norm(arguments: &Arguments<'_>) -> One {
    let x = arguments.float("x")?;
    if x.ndim() < 2 {
        return Err("`x` has no channels".into());
    }
    let size = arguments.sizes("size", 1, 1)?[0];
    let (alpha, beta, k) =
        (arguments.number("alpha")?, arguments.number("beta")?, arguments.number("k")?);
    let y = each_row(x, &[1], |row| {
        let squares: Vec<_> = row.iter().map(|x| x * x).collect();
        for (channel, x) in row.iter_mut().enumerate() {
            let from = channel.saturating_sub(size / 2);
            let to = channel.saturating_add((size - 1) / 2 + 1).min(squares.len());
            let sum: f64 = squares[from..to].iter().sum();
            *x /= (k + alpha / size as f64 * sum).powf(beta);
        }
    })?;
    Ok(Tensor::float(arguments.tensor("x")?.dtype, y))
}

/// (x − mean) / √(variance + ε).
fn normalize(row: &mut [f64], epsilon: f64) {
    let count = row.len() as f64;
    let mean = row.iter().sum::<f64>() / count;
    row.iter_mut().for_each(|x| *x -= mean);
    let variance = row.iter().map(|x| x * x).sum::<f64>() / count;
    let scale = 1.0 / (variance + epsilon).sqrt();
    row.iter_mut().for_each(|x| *x *= scale);
}
