//! One element of each operand makes one element of the result.

use super::super::shape::broadcast;
use super::{Arguments, Data, One, Tensor};
use crate::graph::DataType;
use ndarray::{ArrayD, IxDyn, Zip};

/// f(x).
pub(in super::super) fn unary(arguments: &Arguments<'_>, f: impl Fn(f64) -> f64) -> One {
    let x = arguments.tensor("x")?;
    let data = match &x.data {
        Data::Float(array) => Data::Float(array.mapv(|x| f(x.into()) as f32)),
        Data::Int(array) => Data::Int(array.mapv(|n| wrap(x.dtype, f(n.into()) as i64))),
        _ => return Err(format!("`x` is {}, not of numbers", x.ty())),
    };
    Ok(Tensor { dtype: x.dtype, data })
}

/// x ∘ y, broadcast: `f` on numbers, `g` on integers, which wrap to their type.
pub(in super::super) fn binary(
    arguments: &Arguments<'_>,
    f: impl Fn(f64, f64) -> f64,
    g: impl Fn(i64, i64) -> i64,
) -> One {
    let (x, y) = (arguments.tensor("x")?, arguments.tensor("y")?);
    let x_type = x.dtype;
    let data = match (&x.data, &y.data) {
        (Data::Float(a), Data::Float(b)) => {
            Data::Float(zip(a, b, |&x, &y| f(x.into(), y.into()) as f32)?)
        }
        (Data::Int(a), Data::Int(b)) => {
            Data::Int(zip(a, b, |&x, &y| wrap(x_type, g(x.into(), y.into())))?)
        }
        _ => return Err(format!("`x` is {} beside `y`, which is {}", x.ty(), y.ty())),
    };
    Ok(Tensor { dtype: x.dtype, data })
}

/// x ? y, broadcast: a flag.
pub(in super::super) fn compare(arguments: &Arguments<'_>, f: impl Fn(f64, f64) -> bool) -> One {
    let (x, y) = (arguments.tensor("x")?, arguments.tensor("y")?);
    let flags = match (&x.data, &y.data) {
        (Data::Float(a), Data::Float(b)) => zip(a, b, |&x, &y| f(x.into(), y.into()))?,
        (Data::Int(a), Data::Int(b)) => zip(a, b, |&x, &y| f(x.into(), y.into()))?,
        (Data::Bool(a), Data::Bool(b)) => zip(a, b, |&x, &y| f(x.into(), y.into()))?,
        _ => return Err(format!("`x` is {} beside `y`, which is {}", x.ty(), y.ty())),
    };
    Ok(Tensor::bool(flags))
}

/// x ∘ y on flags, broadcast.
pub(in super::super) fn logic(arguments: &Arguments<'_>, f: impl Fn(bool, bool) -> bool) -> One {
    let flags = |name| {
        let tensor = arguments.tensor(name)?;
        tensor.as_bool().ok_or_else(|| format!("`{name}` is {}, not of flags", tensor.ty()))
    };
    Ok(Tensor::bool(zip(flags("x")?, flags("y")?, |&x, &y| f(x, y))?))
}

/// Where `cond` holds, `a`, elsewhere `b`; all three broadcast.
pub(in super::super) fn select(arguments: &Arguments<'_>) -> One {
    let [cond, a, b] = ["cond", "a", "b"].map(|name| arguments.tensor(name));
    let (cond, a, b) = (cond?, a?, b?);
    let flags = cond.as_bool().ok_or_else(|| format!("`cond` is {}, not of flags", cond.ty()))?;
    fn choose<T: Copy>(
        cond: &ArrayD<bool>,
        a: &ArrayD<T>,
        b: &ArrayD<T>,
    ) -> Result<ArrayD<T>, String> {
        // Pairs first: three shapes broadcast as two and the third.
        let pairs = zip(a, b, |&a, &b| (a, b))?;
        zip(cond, &pairs, |&cond, &(a, b)| if cond { a } else { b })
    }
    let data = match (&a.data, &b.data) {
        (Data::Float(a), Data::Float(b)) => Data::Float(choose(flags, a, b)?),
        (Data::Int(a), Data::Int(b)) => Data::Int(choose(flags, a, b)?),
        (Data::Bool(a), Data::Bool(b)) => Data::Bool(choose(flags, a, b)?),
        _ => return Err(format!("`a` is {} beside `b`, which is {}", a.ty(), b.ty())),
    };
    Ok(Tensor { dtype: a.dtype, data })
}

/// `x` in another type. Numbers lose their fraction on the way to integers, and what does not fit an
/// integer type becomes the nearest number that does; NaN becomes 0. A flag holds for anything but 0.
pub(in super::super) fn cast(arguments: &Arguments<'_>) -> One {
    let x = arguments.tensor("x")?;
    let word = arguments.text("dtype")?;
    let dtype = dtype(word).ok_or_else(|| format!("`dtype` is `{word}`"))?;
    convert(x, dtype)
}

/// The elements in another type, as [`cast`].
pub(in super::super) fn convert(x: &Tensor, dtype: DataType) -> One {
    let numbers = match &x.data {
        Data::Float(array) => array.mapv(f64::from),
        Data::Int(array) => array.mapv(f64::from),
        Data::Bool(array) => array.mapv(f64::from),
        Data::Label(_) | Data::Scores(_) => return Err("a label is no number".into()),
    };
    Ok(match dtype {
        DataType::Float16 | DataType::Float32 => Tensor::float(dtype, numbers.mapv(|x| x as f32)),
        DataType::Bool => Tensor::bool(numbers.mapv(|x| x != 0.0)),
        _ => {
            let (low, high) =
                dtype.range().ok_or_else(|| format!("{dtype} is no type to cast to"))?;
            let int = |x: f64| (x as i64).clamp(low, high) as i32;
            Tensor::int(dtype, numbers.mapv(int))
        }
    })
}

/// The type that a word such as `fp16` names.
pub(in super::super) fn dtype(word: &str) -> Option<DataType> {
    Some(match word {
        "bool" => DataType::Bool,
        "fp16" => DataType::Float16,
        "fp32" => DataType::Float32,
        "int8" => DataType::Int8,
        "uint8" => DataType::UInt8,
        "int16" => DataType::Int16,
        "uint16" => DataType::UInt16,
        "int32" => DataType::Int32,
        _ => return None,
    })
}

/// The low bits of an integer, as its type holds them.
pub(in super::super) fn wrap(dtype: DataType, n: i64) -> i32 {
    match dtype {
        DataType::Int8 => (n as i8).into(),
        DataType::UInt8 => (n as u8).into(),
        DataType::Int16 => (n as i16).into(),
        DataType::UInt16 => (n as u16).into(),
        _ => n as i32,
    }
}

/// f on the pairs that broadcasting makes.
pub(in super::super) fn zip<A, B, C>(
    a: &ArrayD<A>,
    b: &ArrayD<B>,
    f: impl Fn(&A, &B) -> C,
) -> Result<ArrayD<C>, String> {
    let shape = broadcast(a.shape(), b.shape())?;
    let clash = || format!("{:?} and {:?} do not broadcast", a.shape(), b.shape());
    let a = a.broadcast(IxDyn(&shape)).ok_or_else(clash)?;
    let b = b.broadcast(IxDyn(&shape)).ok_or_else(clash)?;
    Ok(Zip::from(a).and(b).map_collect(f))
}

/// Quotient toward −∞; 0 for a zero divisor, as numpy has it.
pub(in super::super) fn floor_div(x: i64, y: i64) -> i64 {
    match y {
        0 => 0,
        _ => x.div_euclid(y) - i64::from(y < 0 && x.rem_euclid(y) != 0),
    }
}

/// Remainder with the sign of the divisor.
pub(in super::super) fn modulo(x: f64, y: f64) -> f64 {
    let rest = x % y;
    if rest != 0.0 && (rest < 0.0) != (y < 0.0) { rest + y } else { rest }
}

/// xʸ on integers: wrapped; a negative power truncates toward zero.
pub(in super::super) fn power(x: i64, y: i64) -> i64 {
    match u32::try_from(y) {
        Ok(y) => x.wrapping_pow(y),
        Err(_) if y > 0 => 0,
        Err(_) => match x {
            1 => 1,
            -1 => 1 - 2 * (y % 2).abs(),
            _ => 0,
        },
    }
}

/// 1 / √(x + ε).
pub(in super::super) fn rsqrt(arguments: &Arguments<'_>) -> One {
    let epsilon = arguments.number("epsilon")?;
    unary(arguments, |x| 1.0 / (x + epsilon).sqrt())
}

/// 1 / (x + ε).
pub(in super::super) fn inverse(arguments: &Arguments<'_>) -> One {
    let epsilon = arguments.number("epsilon")?;
    unary(arguments, |x| 1.0 / (x + epsilon))
}

/// ln(x + ε).
pub(in super::super) fn log(arguments: &Arguments<'_>) -> One {
    let epsilon = arguments.number("epsilon")?;
    unary(arguments, |x| (x + epsilon).ln())
}

/// min(max(x, α), β).
pub(in super::super) fn clip(arguments: &Arguments<'_>) -> One {
    let (alpha, beta) = (arguments.number("alpha")?, arguments.number("beta")?);
    unary(arguments, |x| least(largest(x, alpha), beta))
}

/// max(x, α).
pub(in super::super) fn threshold(arguments: &Arguments<'_>) -> One {
    let alpha = arguments.number("alpha")?;
    unary(arguments, |x| largest(x, alpha))
}

/// Not x.
pub(in super::super) fn logical_not(arguments: &Arguments<'_>) -> One {
    let x = arguments.tensor("x")?;
    let flags = x.as_bool().ok_or_else(|| format!("`x` is {}, not of flags", x.ty()))?;
    Ok(Tensor::bool(flags.mapv(|flag| !flag)))
}

/// The larger; NaN where either is.
pub(in super::super) fn largest(x: f64, y: f64) -> f64 {
    if x > y || x.is_nan() { x } else { y }
}

/// The smaller; NaN where either is.
pub(in super::super) fn least(x: f64, y: f64) -> f64 {
    if x < y || x.is_nan() { x } else { y }
}

/// −1, 0 or 1.
pub(in super::super) fn sign(x: f64) -> f64 {
    if x == 0.0 { 0.0 } else { x.signum() }
}

/// The error function, 2/√π · e^(−x²) · Σ 2ⁿ x²ⁿ⁺¹ / (1·3·…·(2n+1)): all terms have one sign, so
/// nothing cancels. Abramowitz and Stegun 7.1.6. Beyond 6 it is 1 in f64.
pub(in super::super) fn erf(x: f64) -> f64 {
    if x.is_nan() || x.abs() > 6.0 {
        return if x.is_nan() { x } else { x.signum() };
    }
    let (mut term, mut sum, mut n) = (x, x, 0.0);
    while term.abs() > sum.abs() * 1e-17 {
        n += 1.0;
        term *= 2.0 * x * x / (2.0 * n + 1.0);
        sum += term;
    }
    std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

/// x / y on integers: truncated toward zero; 0 for a zero divisor.
pub(in super::super) fn quotient(x: i64, y: i64) -> i64 {
    x.checked_div(y).unwrap_or(0)
}
