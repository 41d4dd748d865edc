//! The functions of one and of two elements.

use crate::runtime::cpu::blocks::simd;
use crate::runtime::cpu::math;

/// A function of one element. α and β stand in the operation's order.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)] // MIL's own names.
pub(super) enum Unary {
    Abs,
    Acos,
    Asin,
    Atan,
    Atanh,
    Ceil,
    Clip(f32, f32),
    Cos,
    Cosh,
    Elu(f32),
    Erf,
    Exp,
    Exp2,
    Floor,
    Gelu,
    GeluSigmoid,
    GeluTanh,
    /// 1 / (x + ε)
    Inverse(f32),
    LeakyRelu(f32),
    /// αx + β
    Line(f32, f32),
    /// ln(x + ε)
    Log(f32),
    Not,
    /// Whether it is anything but 0.
    Truth,
    Relu,
    Round,
    /// 1 / √(x + ε)
    Rsqrt(f32),
    /// α · tanh(βx)
    ScaledTanh(f32, f32),
    Sigmoid,
    /// clip(αx + β, 0, 1)
    SigmoidHard(f32, f32),
    Sign,
    Silu,
    Sin,
    Sinh,
    Softplus,
    Softsign,
    Sqrt,
    Square,
    /// To the nearest integer, ties to even; NaN to 0: what a code counts.
    Steps,
    Tan,
    Tanh,
    /// max(x, α)
    Threshold(f32),
    /// 0 below α, else x
    ThresholdedRelu(f32),
    /// min(x, β), below zero min(αx, β)
    ClampedRelu(f32, f32),
    Trunc,
}

/// A function of two elements.
#[derive(Clone, Copy, Debug, PartialEq)]
#[allow(missing_docs)] // MIL's own names.
pub(super) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    FloorDiv,
    Mod,
    Maximum,
    Minimum,
    Pow,
    Equal,
    NotEqual,
    Greater,
    GreaterEqual,
    Less,
    LessEqual,
    And,
    Or,
    Xor,
    /// x, below zero x·y
    Prelu,
}

/// A value of each element, in vector code of its own. A macro, for a function would be called: only what
/// is inlined becomes such code.
macro_rules! each {
    ($from:ident, $to:ident, $x:ident => $value:expr) => {
        simd(
            #[inline(always)]
            || {
                for (to, &$x) in $to.iter_mut().zip($from) {
                    *to = $value;
                }
            },
        )
    };
}

/// A value of each pair.
macro_rules! both {
    ($left:ident, $right:ident, $to:ident, |$x:ident, $y:ident| $value:expr) => {
        simd(
            #[inline(always)]
            || {
                for ((to, &$x), &$y) in $to.iter_mut().zip($left).zip($right) {
                    *to = $value;
                }
            },
        )
    };
}

/// A flag.
#[inline(always)]
fn flag(holds: bool) -> f32 {
    if holds { 1.0 } else { 0.0 }
}

/// The smaller; NaN where either is.
#[inline(always)]
fn least(x: f32, y: f32) -> f32 {
    if x > y || y.is_nan() { y } else { x }
}

/// To the nearest integer, ties to even.
///
/// Numbers of 2²³ and more are integers; below, adding 2²³ leaves no room for a fraction.
#[inline(always)]
fn round(x: f32) -> f32 {
    const ROUND: f32 = 8_388_608.0;
    let rounded = ((x.abs() + ROUND) - ROUND).copysign(x);
    if x.abs() < ROUND { rounded } else { x }
}

#[inline(always)]
fn trunc(x: f32) -> f32 {
    let nearest = round(x);
    if nearest.abs() > x.abs() { nearest - 1f32.copysign(x) } else { nearest }
}

#[inline(always)]
fn floor(x: f32) -> f32 {
    let nearest = round(x);
    if nearest > x { nearest - 1.0 } else { nearest }
}

impl Unary {
    pub(super) fn apply(self, x: &[f32], to: &mut [f32]) {
        match self {
            Self::Abs => each!(x, to, x => x.abs()),
            Self::Acos => each!(x, to, x => x.acos()),
            Self::Asin => each!(x, to, x => x.asin()),
            Self::Atan => each!(x, to, x => x.atan()),
            Self::Atanh => each!(x, to, x => x.atanh()),
            Self::Ceil => each!(x, to, x => -floor(-x)),
            Self::Clip(a, b) => each!(x, to, x => least(if x < a { a } else { x }, b)),
            Self::Cos => each!(x, to, x => x.cos()),
            Self::Cosh => each!(x, to, x => x.cosh()),
            Self::Elu(a) => each!(x, to, x => if x < 0.0 { a * (math::exp(x) - 1.0) } else { x }),
            Self::Erf => each!(x, to, x => math::erf(x)),
            Self::Exp => each!(x, to, x => math::exp(x)),
            Self::Exp2 => each!(x, to, x => x.exp2()),
            Self::Floor => each!(x, to, x => floor(x)),
            Self::Gelu => each!(x, to, x => math::gelu(x)),
            Self::GeluSigmoid => each!(x, to, x => math::gelu_sigmoid(x)),
            Self::GeluTanh => each!(x, to, x => math::gelu_tanh(x)),
            Self::Inverse(e) => each!(x, to, x => 1.0 / (x + e)),
            Self::LeakyRelu(a) => each!(x, to, x => if x < 0.0 { a * x } else { x }),
            Self::Line(a, b) => each!(x, to, x => a * x + b),
            Self::Log(e) => each!(x, to, x => (x + e).ln()),
            Self::Not => each!(x, to, x => flag(x == 0.0)),
            Self::Truth => each!(x, to, x => flag(x != 0.0)),
            Self::Relu => each!(x, to, x => if x < 0.0 { 0.0 } else { x }),
            Self::Round => each!(x, to, x => round(x)),
            Self::Rsqrt(e) => each!(x, to, x => 1.0 / (x + e).sqrt()),
            Self::ScaledTanh(a, b) => each!(x, to, x => a * math::tanh(b * x)),
            Self::Sigmoid => each!(x, to, x => math::sigmoid(x)),
            Self::SigmoidHard(a, b) => each!(x, to, x => (a * x + b).clamp(0.0, 1.0)),
            Self::Sign => {
                each!(x, to, x => if x.is_nan() { x } else { flag(x > 0.0) - flag(x < 0.0) })
            }
            Self::Silu => each!(x, to, x => math::silu(x)),
            Self::Sin => each!(x, to, x => x.sin()),
            Self::Sinh => each!(x, to, x => x.sinh()),
            Self::Softplus => each!(x, to, x => x.max(0.0) + (-x.abs()).exp().ln_1p()),
            Self::Softsign => each!(x, to, x => x / (1.0 + x.abs())),
            Self::Sqrt => each!(x, to, x => x.sqrt()),
            Self::Square => each!(x, to, x => x * x),
            Self::Steps => each!(x, to, x => if x.is_nan() { 0.0 } else { round(x) }),
            Self::Tan => each!(x, to, x => x.tan()),
            Self::Tanh => each!(x, to, x => math::tanh(x)),
            Self::Threshold(a) => each!(x, to, x => if x < a { a } else { x }),
            Self::ThresholdedRelu(a) => each!(x, to, x => if x < a { 0.0 } else { x }),
            Self::ClampedRelu(a, b) => {
                each!(x, to, x => least(if x < 0.0 { a * x } else { x }, b));
            }
            Self::Trunc => each!(x, to, x => trunc(x)),
        }
    }
}

impl Binary {
    pub(super) fn apply(self, x: &[f32], y: &[f32], to: &mut [f32]) {
        match self {
            Self::Add => both!(x, y, to, |x, y| x + y),
            Self::Sub => both!(x, y, to, |x, y| x - y),
            Self::Mul => both!(x, y, to, |x, y| x * y),
            Self::Div => both!(x, y, to, |x, y| x / y),
            // In f64, or a quotient that f32 rounds to an integer has another floor.
            Self::FloorDiv => {
                both!(x, y, to, |x, y| (f64::from(x) / f64::from(y)).floor() as f32);
            }
            // Exact, where x − ⌊x / y⌋ · y would cancel.
            Self::Mod => both!(x, y, to, |x, y| {
                let rest = x % y;
                if rest != 0.0 && (rest < 0.0) != (y < 0.0) { rest + y } else { rest }
            }),
            Self::Maximum => both!(x, y, to, |x, y| if x < y || y.is_nan() { y } else { x }),
            Self::Minimum => both!(x, y, to, |x, y| least(x, y)),
            Self::Pow => both!(x, y, to, |x, y| x.powf(y)),
            Self::Equal => both!(x, y, to, |x, y| flag(x == y)),
            Self::NotEqual => both!(x, y, to, |x, y| flag(x != y)),
            Self::Greater => both!(x, y, to, |x, y| flag(x > y)),
            Self::GreaterEqual => both!(x, y, to, |x, y| flag(x >= y)),
            Self::Less => both!(x, y, to, |x, y| flag(x < y)),
            Self::LessEqual => both!(x, y, to, |x, y| flag(x <= y)),
            Self::And => both!(x, y, to, |x, y| flag(x != 0.0 && y != 0.0)),
            Self::Or => both!(x, y, to, |x, y| flag(x != 0.0 || y != 0.0)),
            Self::Xor => both!(x, y, to, |x, y| flag((x != 0.0) != (y != 0.0))),
            Self::Prelu => both!(x, y, to, |x, y| if x < 0.0 { x * y } else { x }),
        }
    }
}
