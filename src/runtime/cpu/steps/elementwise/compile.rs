//! From operations to programs.

use super::function::{Binary, Unary};
use super::{BLOCK, Instruction, Operand, Program, REGISTERS};
use crate::graph::{DataType, ValueId};
use crate::runtime::cpu::buffers::{Kind, Place};
use crate::runtime::cpu::node::{Found, Node, shape};
use crate::runtime::cpu::plan::Planner;
use crate::runtime::cpu::steps::{Io, Step};
use crate::runtime::cpu::strided::View;
use crate::runtime::integer::Function;
use std::collections::BTreeMap;

/// Whether an operation can be part of a chain.
pub(in crate::runtime::cpu) fn takes(node: Node<'_>) -> bool {
    let kind = |name: &str| node.dtype(name).ok().and_then(Kind::of);
    let is = |name: &str, wanted: Kind| kind(name) == Some(wanted);
    let known = match node.kind() {
        "select" => {
            let same = |wanted| is("a", wanted) && is("b", wanted);
            is("cond", Kind::Bool) && (same(Kind::Float) || same(Kind::Bool))
        }
        "cast" => {
            let to = node.out_dtype(0);
            let to_float = matches!(to, Ok(DataType::Float16 | DataType::Float32 | DataType::Bool));
            kind("x").is_some() && (to_float || (to == Ok(DataType::Int32) && is("x", Kind::Float)))
        }
        "quantize" | "dequantize" => kind("input").is_some() && !node.varies("scale"),
        "batch_norm" => is("x", Kind::Float),
        "prelu" | "softplus_parametric" => is("x", Kind::Float),
        "logical_and" | "logical_or" | "logical_xor" => is("x", Kind::Bool),
        "logical_not" => is("x", Kind::Bool),
        _ if binary(node).is_some() => is("x", Kind::Float) && is("y", Kind::Float),
        _ => is("x", Kind::Float) && unary(node).is_ok_and(|f| f.is_some()),
    };
    known && operands_fit(node)
}

/// Whether every operand broadcasts to the result in a way that a view can express.
fn operands_fit(node: Node<'_>) -> bool {
    let Ok(out) = node.out_shape(0) else { return false };
    node.operation.arguments.iter().all(|argument| {
        let Some(ty) = node.value(argument.value).ty.tensor() else { return true };
        if ty.dtype == DataType::String {
            return true;
        }
        let from = ty.shape().unwrap_or_default();
        // Parameters of channels stand along an axis of their own.
        from.len() <= 1 || View::broadcast(&from, &out).is_some()
    })
}

/// The function of an operation of one operand.
fn unary(node: Node<'_>) -> Found<Option<Unary>> {
    let number = |name: &str| node.number(name);
    Ok(Some(match node.kind() {
        "abs" => Unary::Abs,
        "acos" => Unary::Acos,
        "asin" => Unary::Asin,
        "atan" => Unary::Atan,
        "atanh" => Unary::Atanh,
        "ceil" => Unary::Ceil,
        "clamped_relu" => Unary::ClampedRelu(number("alpha")?, number("beta")?),
        "clip" => Unary::Clip(number("alpha")?, number("beta")?),
        "cos" => Unary::Cos,
        "cosh" => Unary::Cosh,
        "elu" => Unary::Elu(number("alpha")?),
        "erf" => Unary::Erf,
        "exp" => Unary::Exp,
        "exp2" => Unary::Exp2,
        "floor" => Unary::Floor,
        "gelu" => match node.text("mode")? {
            "EXACT" => Unary::Gelu,
            "TANH_APPROXIMATION" => Unary::GeluTanh,
            "SIGMOID_APPROXIMATION" => Unary::GeluSigmoid,
            _ => return Ok(None),
        },
        "inverse" => Unary::Inverse(number("epsilon")?),
        "leaky_relu" => Unary::LeakyRelu(number("alpha")?),
        "linear_activation" => Unary::Line(number("alpha")?, number("beta")?),
        "log" => Unary::Log(number("epsilon")?),
        "relu" => Unary::Relu,
        "relu6" => Unary::Clip(0.0, 6.0),
        "round" => Unary::Round,
        "rsqrt" => Unary::Rsqrt(number("epsilon")?),
        "scaled_tanh" => Unary::ScaledTanh(number("alpha")?, number("beta")?),
        "sigmoid" => Unary::Sigmoid,
        "sigmoid_hard" => Unary::SigmoidHard(number("alpha")?, number("beta")?),
        "sign" => Unary::Sign,
        "silu" => Unary::Silu,
        "sin" => Unary::Sin,
        "sinh" => Unary::Sinh,
        "softplus" => Unary::Softplus,
        "softsign" => Unary::Softsign,
        "sqrt" => Unary::Sqrt,
        "square" => Unary::Square,
        "tan" => Unary::Tan,
        "tanh" => Unary::Tanh,
        "threshold" => Unary::Threshold(number("alpha")?),
        "thresholded_relu" => Unary::ThresholdedRelu(number("alpha")?),
        _ => return Ok(None),
    }))
}

/// The function of an operation on `x` and `y`.
fn binary(node: Node<'_>) -> Option<Binary> {
    Some(match node.kind() {
        "add" => Binary::Add,
        "equal" => Binary::Equal,
        "floor_div" => Binary::FloorDiv,
        "greater" => Binary::Greater,
        "greater_equal" => Binary::GreaterEqual,
        "less" => Binary::Less,
        "less_equal" => Binary::LessEqual,
        "logical_and" => Binary::And,
        "logical_or" => Binary::Or,
        "logical_xor" => Binary::Xor,
        "maximum" => Binary::Maximum,
        "minimum" => Binary::Minimum,
        "mod" => Binary::Mod,
        "mul" => Binary::Mul,
        "not_equal" => Binary::NotEqual,
        "pow" => Binary::Pow,
        "real_div" => Binary::Div,
        "sub" => Binary::Sub,
        _ => return None,
    })
}

/// A chain of operations, each on the result of the one before it and on constants of one element, as
/// one function in place; `None` if it is no such chain.
pub(in crate::runtime::cpu) fn function(nodes: &[Node<'_>]) -> Found<Option<Function>> {
    let mut chain = Vec::with_capacity(nodes.len());
    for (i, node) in nodes.iter().enumerate() {
        let before = i.checked_sub(1).map(|i| nodes[i].operation.outputs[0]);
        let carried = |name: &str| match before {
            Some(before) => node.id(name) == Ok(before),
            None => node.varies(name),
        };
        chain.push(match (binary(*node), unary(*node)?) {
            (Some(f), _) if carried("x") && !node.varies("y") => Link::Right(f, node.number("y")?),
            (Some(f), _) if carried("y") && !node.varies("x") => Link::Left(node.number("x")?, f),
            (None, Some(f)) if carried("x") => Link::One(f),
            _ => return Ok(None),
        });
    }
    Ok(Some(Box::new(move |numbers: &mut [f32]| {
        let (mut from, mut constants) = ([0.0; BLOCK], [0.0; BLOCK]);
        for to in numbers.chunks_mut(BLOCK) {
            let (from, constants) = (&mut from[..to.len()], &mut constants[..to.len()]);
            for link in &chain {
                from.copy_from_slice(to);
                match *link {
                    Link::One(f) => f.apply(from, to),
                    Link::Right(f, y) => {
                        constants.fill(y);
                        f.apply(from, constants, to);
                    }
                    Link::Left(x, f) => {
                        constants.fill(x);
                        f.apply(constants, from, to);
                    }
                }
            }
        }
    })))
}

/// An operation of a chain: on a number, or on a number and a constant.
enum Link {
    One(Unary),
    Right(Binary, f32),
    Left(f32, Binary),
}

/// A program that gives the values `kept`, in this order, of a chain of operations.
pub(in crate::runtime::cpu) fn build(
    planner: &mut Planner<'_>,
    nodes: &[Node<'_>],
    kept: &[ValueId],
    places: &[Place],
) -> Found<Step> {
    let out = nodes[0].out_shape(0)?;
    let mut compiler = Compiler {
        planner,
        out: &out,
        program: Program::default(),
        registers: BTreeMap::new(),
        ones: Vec::new(),
        reads: BTreeMap::new(),
        free: (ONES..REGISTERS).rev().collect(),
    };
    for node in nodes {
        for argument in &node.operation.arguments {
            *compiler.reads.entry(argument.value).or_insert(0) += 1;
        }
    }
    for id in kept {
        *compiler.reads.entry(*id).or_insert(0) += 1;
    }
    for node in nodes {
        compiler.operation(*node)?;
    }
    let results = kept.iter().map(|id| compiler.registers.get(id).copied());
    let results: Option<Vec<_>> = results.collect();
    compiler.program.results = results.ok_or("a chain lacks one of its results")?;
    let mut program = compiler.program;
    let written = program.before.iter().chain(&program.code).map(Instruction::to);
    program.registers = written.max().map_or(0, |last| last + 1);
    let len = out.iter().product();
    if places.iter().any(|place| place.len != len) {
        return Err("results of a chain differ in size".into());
    }
    Ok(Box::new(move |io: &mut Io<'_>| {
        program.run(io, len);
        Ok(())
    }))
}

struct Compiler<'p, 'a> {
    planner: &'p mut Planner<'a>,
    out: &'p [usize],
    program: Program,
    /// Registers of values that the chain gave so far.
    registers: BTreeMap<ValueId, usize>,
    /// Operands of one element, loaded once.
    ones: Vec<(Place, usize)>,
    /// How often each value is read from now on.
    reads: BTreeMap<ValueId, usize>,
    free: Vec<usize>,
}

/// Registers, the first ones, that hold operands of one element: loaded once, written by nothing
/// else.
const ONES: usize = 8;

impl Compiler<'_, '_> {
    fn register(&mut self) -> Found<usize> {
        self.free.pop().ok_or_else(|| "a chain needs too many registers".into())
    }

    /// The register of a value, which is loaded if it lies in memory.
    fn value(&mut self, node: Node<'_>, id: ValueId, channels: Option<usize>) -> Found<usize> {
        if let Some(&register) = self.registers.get(&id) {
            return Ok(register);
        }
        let from = shape(node.value(id))?;
        let place = self.planner.operand(id)?;
        self.load(place, &from, channels)
    }

    /// Loads an operand; a vector with a number for each channel stands along axis `channels`.
    fn load(&mut self, place: Place, from: &[usize], channels: Option<usize>) -> Found<usize> {
        let mut shape = from.to_vec();
        if let (Some(axis), [count]) = (channels, from) {
            shape = vec![1; self.out.len()];
            shape[axis] = *count;
        }
        let view = View::broadcast(&shape, self.out).ok_or("an operand does not broadcast")?;
        let one = view.is_one();
        if let Some((_, register)) = self.ones.iter().find(|(other, _)| one && *other == place) {
            return Ok(*register);
        }
        let operand = self.program.operands.len();
        self.program.operands.push(Operand { place, view });
        if one && self.ones.len() < ONES {
            let to = self.ones.len();
            self.ones.push((place, to));
            self.program.before.push(Instruction::Load { operand, to });
            return Ok(to);
        }
        let to = self.register()?;
        self.program.code.push(Instruction::Load { operand, to });
        Ok(to)
    }

    /// Gives back what was loaded for one instruction only.
    fn release(&mut self, register: usize) {
        let kept = register < ONES
            || self.registers.values().any(|&r| r == register)
            || self.free.contains(&register);
        if !kept {
            self.free.push(register);
        }
    }

    fn unary(&mut self, f: Unary, x: usize) -> Found<usize> {
        let to = self.register()?;
        self.program.code.push(Instruction::Unary { f, x, to });
        self.release(x);
        Ok(to)
    }

    fn binary(&mut self, f: Binary, x: usize, y: usize) -> Found<usize> {
        let to = self.register()?;
        self.program.code.push(Instruction::Binary { f, x, y, to });
        self.release(x);
        self.release(y);
        Ok(to)
    }

    /// One operation: its result's register, and those back that nobody reads from now on.
    fn operation(&mut self, node: Node<'_>) -> Found<()> {
        let to = self.expression(node)?;
        self.registers.insert(node.operation.outputs[0], to);
        for argument in &node.operation.arguments {
            let left = self.reads.get_mut(&argument.value);
            let left = left.map(|left| {
                *left -= 1;
                *left
            });
            if left == Some(0)
                && let Some(register) = self.registers.remove(&argument.value)
            {
                self.release(register);
            }
        }
        Ok(())
    }

    fn expression(&mut self, node: Node<'_>) -> Found<usize> {
        let axis_1 = Some(1);
        match node.kind() {
            "select" => {
                let condition = self.value(node, node.id("cond")?, None)?;
                let a = self.value(node, node.id("a")?, None)?;
                let b = self.value(node, node.id("b")?, None)?;
                let to = self.register()?;
                self.program.code.push(Instruction::Select { condition, a, b, to });
                [condition, a, b].into_iter().for_each(|register| self.release(register));
                Ok(to)
            }
            "cast" => {
                let x = self.value(node, node.id("x")?, None)?;
                let f = match node.out_dtype(0)? {
                    DataType::Bool => Unary::Truth,
                    DataType::Int32 => Unary::Trunc,
                    _ => Unary::Line(1.0, 0.0),
                };
                self.unary(f, x)
            }
            "quantize" => {
                let x = self.value(node, node.id("input")?, None)?;
                let axis = axis(node)?;
                let scale = self.value(node, node.id("scale")?, axis)?;
                let scaled = self.binary(Binary::Div, x, scale)?;
                let mut code = self.unary(Unary::Steps, scaled)?;
                if node.operation.argument("zero_point").is_some() {
                    let zero = self.value(node, node.id("zero_point")?, axis)?;
                    code = self.binary(Binary::Add, code, zero)?;
                }
                let (low, high) = match node.out_dtype(0)? {
                    DataType::UInt8 => (0.0, 255.0),
                    _ => (-128.0, 127.0),
                };
                self.unary(Unary::Clip(low, high), code)
            }
            "dequantize" => {
                let mut x = self.value(node, node.id("input")?, None)?;
                let axis = axis(node)?;
                if node.operation.argument("zero_point").is_some() {
                    let zero = self.value(node, node.id("zero_point")?, axis)?;
                    x = self.binary(Binary::Sub, x, zero)?;
                }
                let scale = self.value(node, node.id("scale")?, axis)?;
                self.binary(Binary::Mul, x, scale)
            }
            "batch_norm" => {
                let x = self.value(node, node.id("x")?, None)?;
                let [scale, shift] = normalization(node)?;
                let count = scale.len();
                let (scale, shift) = (self.planner.numbers(scale), self.planner.numbers(shift));
                let scale = self.load(scale, &[count], axis_1)?;
                let scaled = self.binary(Binary::Mul, x, scale)?;
                let shift = self.load(shift, &[count], axis_1)?;
                self.binary(Binary::Add, scaled, shift)
            }
            "prelu" => {
                let x = self.value(node, node.id("x")?, None)?;
                let alpha = self.value(node, node.id("alpha")?, axis_1)?;
                self.binary(Binary::Prelu, x, alpha)
            }
            "softplus_parametric" => {
                let x = self.value(node, node.id("x")?, None)?;
                let beta = self.value(node, node.id("beta")?, axis_1)?;
                let scaled = self.binary(Binary::Mul, x, beta)?;
                let soft = self.unary(Unary::Softplus, scaled)?;
                let alpha = self.value(node, node.id("alpha")?, axis_1)?;
                self.binary(Binary::Mul, soft, alpha)
            }
            "logical_not" => {
                let x = self.value(node, node.id("x")?, None)?;
                self.unary(Unary::Not, x)
            }
            _ => match (binary(node), unary(node)?) {
                (Some(f), _) => {
                    let x = self.value(node, node.id("x")?, None)?;
                    let y = self.value(node, node.id("y")?, None)?;
                    self.binary(f, x, y)
                }
                (None, Some(f)) => {
                    let x = self.value(node, node.id("x")?, None)?;
                    self.unary(f, x)
                }
                (None, None) => Err("is no elementwise operation".into()),
            },
        }
    }
}

/// The axis along which a vector of scales runs.
fn axis(node: Node<'_>) -> Found<Option<usize>> {
    match node.operation.argument("axis") {
        Some(_) => node.axis("axis", node.shape("input")?.len()).map(Some),
        None => Ok(None),
    }
}

/// Batch normalization as `x · scale + shift` for each channel, computed in f64 and rounded once.
fn normalization(node: Node<'_>) -> Found<[Vec<f32>; 2]> {
    let needed = |name: &str| {
        let found = node.floats(name)?;
        found.ok_or_else(|| format!("`{name}` is missing"))
    };
    let (mean, variance) = (needed("mean")?, needed("variance")?);
    let (gamma, beta) = (node.floats("gamma")?, node.floats("beta")?);
    let epsilon = f64::from(node.number("epsilon")?);
    let of = |all: &Option<Vec<f32>>, c: usize, otherwise: f64| {
        all.as_ref().and_then(|all| all.get(c)).map_or(otherwise, |&x| x.into())
    };
    let scale: Vec<f64> = (variance.iter().enumerate())
        .map(|(c, &v)| of(&gamma, c, 1.0) / (f64::from(v) + epsilon).sqrt())
        .collect();
    let shift = (mean.iter().zip(&scale).enumerate())
        .map(|(c, (&mean, scale))| (of(&beta, c, 0.0) - f64::from(mean) * scale) as f32);
    let shift = shift.collect();
    Ok([scale.iter().map(|&scale| scale as f32).collect(), shift])
}
