//! What the features of a function are for, and what a step of a text puts there.
//!
//! Packages for the Neural Engine say it in their metadata ([`Host`]). In others it shows in the
//! features, whatever they are called:
//!
//! | feature | type |
//! |---|---|
//! | ids | INT32 `[1, T]` |
//! | hidden values, in place of ids | float `[1, T, coordinates]` |
//! | position | INT32 `[1]` |
//! | row whose logits are returned | INT32 `[1]`, `last…`, where a function returns one row |
//! | mask | float `[1, 1, T, context]`; where no position is asked for, `[1, 1, T, end]`: the step ends there |
//! | logits, or hidden values for the next package | float `[1, T, vocabulary]` |

use crate::graph::{DataType, Dim, Feature, Function, Sizes, Value, ValueType};
use crate::model::decoder::ane::{Host, Rotation};
use crate::runtime::{Shapes, Tensor, Tensors};
use crate::{Error, Result};
use half::f16;
use ndarray::ArrayD;
use std::collections::BTreeMap;

/// What hidden scores get added.
const MASKED: f32 = -30_000.0;

/// What features are called.
#[derive(Clone, Debug)]
pub(super) struct Roles {
    pub(super) tokens: Given,
    /// Logits, or hidden values.
    pub(super) result: String,
    position: Option<String>,
    last: Option<Last>,
    sights: Vec<Sight>,
    rotations: Vec<(Rotation, DataType)>,
    /// Caches that go around from an output to an input.
    pub(super) carried: Vec<Carried>,
}

/// The input that says which row's logits are returned.
#[derive(Clone, Debug)]
enum Last {
    /// By its index.
    Index(String),
    /// By a one-hot row.
    Column(String, DataType),
}

/// What a function takes of the tokens themselves.
#[derive(Clone, Debug)]
pub(super) enum Given {
    /// Their ids.
    Ids(String),
    /// What the package before made of them: so many coordinates each.
    Hidden(String, usize),
}

/// A mask, and where the new tokens go in its caches.
#[derive(Clone, Debug)]
struct Sight {
    window: Option<usize>,
    /// Columns; without it, as many as tokens stand in the cache behind the step.
    length: Option<usize>,
    mask: (String, DataType),
    update: Option<(String, DataType)>,
}

/// An input whose value an output of the step before is.
#[derive(Clone, Debug)]
pub(super) struct Carried {
    pub(super) input: String,
    pub(super) output: String,
    dtype: DataType,
    shape: Vec<usize>,
}

impl Carried {
    /// Its value before the first step.
    pub(super) fn zeros(&self) -> Tensor {
        Tensor::float(self.dtype, ArrayD::zeros(self.shape.clone()))
    }

    /// A value as the function takes it.
    pub(super) fn hold(&self, mut array: ArrayD<f32>) -> Tensor {
        if self.dtype == DataType::Float16 {
            array.mapv_inplace(|x| f16::from_f32(x).to_f32());
        }
        Tensor::float(self.dtype, array)
    }
}

/// How many tokens a function takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Tokens {
    /// So many.
    Step { count: usize, context: usize },
    /// Any number behind those in its cache.
    Ranged { context: usize },
    /// All of a text.
    Whole { context: usize },
}

impl Tokens {
    /// The longest text.
    pub(super) fn context(self) -> usize {
        match self {
            Self::Step { context, .. } | Self::Ranged { context } | Self::Whole { context } => {
                context
            }
        }
    }
}

impl Roles {
    /// The roles of a function's features; `None` if it is no language model's.
    pub(super) fn of(function: &Function, host: Option<&Host>) -> Option<(Self, Tokens)> {
        match host {
            Some(host) => told(function, host),
            None => seen(function),
        }
    }

    /// Whether the function returns one row of logits, whatever it takes.
    pub(super) fn is_last_only(&self) -> bool {
        self.last.is_some()
    }

    /// The shapes of a step of `count` tokens behind `position` others, where they are not fixed.
    pub(super) fn shapes(&self, count: usize, position: usize) -> Shapes {
        let (name, shape) = match &self.tokens {
            Given::Ids(name) => (name, vec![1, count]),
            Given::Hidden(name, width) => (name, vec![1, count, *width]),
        };
        let mask = |sight: &Sight| (sight.mask.0.clone(), vec![1, 1, count, position + count]);
        let masks = self.sights.iter().filter(|sight| sight.length.is_none()).map(mask);
        masks.chain([(name.clone(), shape)]).collect()
    }

    /// The inputs of a step of `count` tokens but what is carried and hidden values: `ids`, padded,
    /// behind `position` others.
    pub(super) fn inputs(&self, ids: &[i32], count: usize, position: usize) -> Result<Tensors> {
        let mut inputs = Tensors::new();
        if let Given::Ids(name) = &self.tokens {
            inputs.insert(name.clone(), ids_tensor(ids, count));
        }
        if let Some(name) = &self.position {
            let at = array(&[1], vec![position as i32])?;
            inputs.insert(name.clone(), Tensor::int(DataType::Int32, at));
        }
        let last = ids.len() - 1;
        match &self.last {
            None => {}
            Some(Last::Index(name)) => {
                let at = array(&[1], vec![last as i32])?;
                inputs.insert(name.clone(), Tensor::int(DataType::Int32, at));
            }
            Some(Last::Column(name, dtype)) => {
                let row = (0..count).map(|at| f32::from(u8::from(at == last))).collect();
                inputs.insert(name.clone(), floats(*dtype, &[1, 1, 1, count], row)?);
            }
        }
        // Rows of padding see what the last token sees, so that no row is empty.
        let places = (0..count).map(|row| position + row.min(last));
        for sight in &self.sights {
            let Sight { window, length, mask: (name, dtype), update } = sight;
            let length = &length.unwrap_or(position + count);
            let mut rows = vec![MASKED; count * length];
            for (row, place) in rows.chunks_mut(*length).zip(places.clone()) {
                let seen = window.map_or(place + 1, |window| window.min(place + 1));
                (place + 1 - seen..=place).for_each(|place| row[place % length] = 0.0);
            }
            let shape = [1, 1, count, *length];
            inputs.insert(name.clone(), floats(*dtype, &shape, rows)?);
            if let Some((name, dtype)) = update {
                let mut rows = vec![0.0; count * length];
                for (row, place) in rows.chunks_mut(*length).zip(places.clone()).take(ids.len()) {
                    row[place % length] = 1.0;
                }
                inputs.insert(name.clone(), floats(*dtype, &shape, rows)?);
            }
        }
        for (Rotation { cos, sin, rope }, dtype) in &self.rotations {
            let (cosines, sines) = places.clone().flat_map(|place| rope.row(place)).unzip();
            for (name, rows) in [(cos, cosines), (sin, sines)] {
                let shape = [1, 1, count, rope.frequencies.len()];
                inputs.insert(name.clone(), floats(*dtype, &shape, rows)?);
            }
        }
        Ok(inputs)
    }
}

/// Ids `[1, length]`, padded with token 0.
fn ids_tensor(ids: &[i32], length: usize) -> Tensor {
    let padded = ArrayD::from_shape_fn(vec![1, length], |at| ids.get(at[1]).copied().unwrap_or(0));
    Tensor::int(DataType::Int32, padded)
}

/// Numbers of this type, rounded to it.
fn floats(dtype: DataType, shape: &[usize], mut values: Vec<f32>) -> Result<Tensor> {
    if dtype == DataType::Float16 {
        values.iter_mut().for_each(|x| *x = f16::from_f32(*x).to_f32());
    }
    Ok(Tensor::float(dtype, array(shape, values)?))
}

fn array<T>(shape: &[usize], values: Vec<T>) -> Result<ArrayD<T>> {
    ArrayD::from_shape_vec(shape, values).map_err(|why| Error::bug("an input", why.to_string()))
}

/// Roles by what the metadata says. Every input has one, or the function is not what it speaks of.
fn told(function: &Function, host: &Host) -> Option<(Roles, Tokens)> {
    let mut inputs = BTreeMap::new();
    for feature in &function.inputs {
        let value = function.value(feature.value);
        if let ValueType::Tensor(ty) = &value.ty {
            inputs.insert(value.name.clone(), (ty.dtype, ty.shape()?));
        }
    }
    let integers = |rank: usize| {
        let is = |(dtype, shape): &(DataType, Vec<usize>)| {
            *dtype == DataType::Int32 && shape.len() == rank && shape[0] == 1
        };
        inputs.iter().find(|(_, ty)| is(ty)).map(|(name, _)| name.clone())
    };
    let (ids, position) = (integers(2), integers(1));
    let hidden =
        inputs.iter().find(|(_, (_, shape))| shape.len() == 3).map(|(name, _)| name.clone());
    let name = ids.clone().or(hidden)?;
    let (_, shape) = inputs.remove(&name)?;
    let (count, tokens) = match ids {
        Some(ids) => (shape[1], Given::Ids(ids)),
        None => (shape[1], Given::Hidden(name, shape[2])),
    };
    position.iter().for_each(|name| drop(inputs.remove(name)));
    let mut rows = |name: &str, width: usize| {
        let (dtype, shape) = inputs.remove(name)?;
        (shape == [1, 1, count, width]).then(|| (name.to_owned(), dtype))
    };
    let mut sights = Vec::new();
    for bank in &host.caches {
        let (window, length) = (bank.window, bank.length);
        let (mask, update) = (rows(&bank.mask, length)?, rows(&bank.update, length)?);
        let length = Some(length);
        sights.push(Sight { window, length, mask, update: Some(update) });
    }
    let mut rotations = Vec::new();
    for rotation in &host.rotations {
        let pairs = rotation.rope.frequencies.len();
        let (_, dtype) = rows(&rotation.cos, pairs)?;
        rows(&rotation.sin, pairs)?;
        rotations.push((rotation.clone(), dtype));
    }
    let mut returned: BTreeMap<&str, &ValueType> = BTreeMap::new();
    for feature in &function.outputs {
        let value = function.value(feature.value);
        returned.insert(&value.name, &value.ty);
    }
    let mut carried = Vec::new();
    for (input, output) in host.caches.iter().flat_map(|bank| &bank.carried) {
        let (dtype, shape) = inputs.remove(input)?;
        // Each input has an output of its own, which can be fed in its place.
        let ty = returned.remove(output.as_str())?.tensor()?;
        if ty.dtype != dtype || ty.shape().as_ref() != Some(&shape) {
            return None;
        }
        carried.push(Carried { input: input.clone(), output: output.clone(), dtype, shape });
    }
    let last = host.last.as_ref().and_then(|name| {
        let (dtype, _) = inputs.get(name).filter(|(_, shape)| *shape == [1, 1, 1, count])?;
        let column = Last::Column(name.clone(), *dtype);
        inputs.remove(name);
        Some(column)
    });
    let context = host.context;
    let result = result(function)?;
    let roles = Roles { tokens, result, position, last, sights, rotations, carried };
    inputs.is_empty().then_some((roles, Tokens::Step { count, context }))
}

/// Roles by what features look like.
fn seen(function: &Function) -> Option<(Roles, Tokens)> {
    let mut given = None;
    let (mut position, mut last, mut mask) = (None, None, None);
    for feature in &function.inputs {
        let value = function.value(feature.value);
        let ValueType::Tensor(ty) = &value.ty else { continue };
        let is_float = matches!(ty.dtype, DataType::Float16 | DataType::Float32);
        match (ty.dtype, &ty.dims[..]) {
            (DataType::Int32, [Dim::Fixed(1), tokens]) => {
                let ids = Given::Ids(value.name.clone());
                // An encoder also takes which tokens are none.
                if given.replace((ids, *tokens, most(feature))).is_some() {
                    return None;
                }
            }
            (_, [Dim::Fixed(1), tokens, Dim::Fixed(width)]) if is_float => {
                let hidden = Given::Hidden(value.name.clone(), *width);
                if given.replace((hidden, *tokens, most(feature))).is_some() {
                    return None;
                }
            }
            (DataType::Int32, [Dim::Fixed(1)]) if value.name.starts_with("last") => {
                last = Some(Last::Index(value.name.clone()));
            }
            (DataType::Int32, [Dim::Fixed(1)]) => position = Some(value.name.clone()),
            (_, [Dim::Fixed(1), Dim::Fixed(1), _, length]) if is_float => {
                mask = Some(((value.name.clone(), ty.dtype), *length));
            }
            _ => return None,
        }
    }
    let (given, tokens, most) = given?;
    let roles = Roles {
        tokens: given,
        result: result(function)?,
        position,
        last,
        sights: Vec::new(),
        rotations: Vec::new(),
        carried: Vec::new(),
    };
    match (tokens, &roles.position, mask, most) {
        (Dim::Fixed(count), Some(_), Some((mask, Dim::Fixed(length))), _) => {
            let sights = vec![Sight { window: None, length: Some(length), mask, update: None }];
            let tokens = Tokens::Step { count, context: length };
            Some((Roles { sights, ..roles }, tokens))
        }
        (Dim::Flexible, None, Some((mask, Dim::Flexible)), Some(context)) => {
            let sights = vec![Sight { window: None, length: None, mask, update: None }];
            Some((Roles { sights, ..roles }, Tokens::Ranged { context }))
        }
        (Dim::Flexible, None, None, Some(context)) => Some((roles, Tokens::Whole { context })),
        _ => None,
    }
}

/// The most tokens that an input of flexible shape can be.
fn most(tokens: &Feature) -> Option<usize> {
    match &tokens.sizes {
        Sizes::Ranges(ranges) => ranges.get(1).map(|range| range.high),
        Sizes::Enumerated(_) | Sizes::Fixed => None,
    }
}

/// The output of logits, or of hidden values.
fn result(function: &Function) -> Option<String> {
    let is_result = |value: &&Value| {
        value.ty.tensor().is_some_and(|ty| ty.rank() == 3 && ty.dtype != DataType::Int32)
    };
    let mut outputs = function.outputs.iter().map(|output| function.value(output.value));
    outputs.find(is_result).map(|value| value.name.clone())
}
