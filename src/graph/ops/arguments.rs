//! What type inference sees of an operation.

use super::{Default, Kind, Param, Row, dims, domain};
use crate::graph::{Constant, DataType, Dim, TensorType, ValueType};
use crate::target::Target;

/// What type inference sees of a value that is bound to a parameter.
#[derive(Clone, Copy, Debug)]
pub struct Bound<'a> {
    /// The parameter.
    pub param: &'a str,
    /// The value's type.
    pub ty: &'a ValueType,
    /// The value itself, where it is constant.
    pub constant: Option<&'a Constant>,
}

/// Most integers of one parameter: sizes and places of a few dimensions, and of the parts of a split.
const MOST_NUMBERS: usize = 1 << 16;

/// The arguments of one operation, defaults included.
pub(super) struct Arguments<'a> {
    pub(super) row: &'static Row,
    pub(super) bound: &'a [Bound<'a>],
    /// What the operation must run on: opsets differ in the types that they take.
    pub(super) target: Target,
}

/// The types of the outputs, or what does not fit.
pub(super) type Inferred = Result<Vec<ValueType>, String>;

/// One output.
pub(super) fn one(dtype: DataType, dims: Vec<Dim>) -> Inferred {
    Ok(vec![TensorType::new(dtype, dims).into()])
}

/// A sentence unless a condition holds.
pub(super) fn require(holds: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(why()) }
}

impl<'a> Arguments<'a> {
    /// What is wrong with the bound values one by one: parameter, and what about it.
    pub(super) fn misfits(&self) -> Vec<(&'a str, String)> {
        let mut misfits = Vec::new();
        for (i, bound) in self.bound.iter().enumerate() {
            let Some(param) = self.row.param(bound.param) else {
                misfits.push((bound.param, "is no parameter of this operation".to_owned()));
                continue;
            };
            // Of several values there may be a million: they are not compared with each other.
            let once = param.kind != Kind::Many;
            if once && self.bound[..i].iter().any(|b| b.param == bound.param) {
                misfits.push((bound.param, "is bound twice".to_owned()));
            }
            let misfit = kind(param, bound, self.target).or_else(|| self.element(param, bound));
            misfits.extend(misfit.map(|found| (bound.param, found)));
        }
        for param in self.row.params.iter().filter(|p| p.default == Default::Required) {
            if self.get(param.name).is_none() {
                misfits.push((param.name, "is missing".to_owned()));
            }
        }
        misfits
    }

    /// Why the element type does not fit, by itself or beside parameters that share it.
    fn element(&self, param: &Param, bound: &Bound<'_>) -> Option<String> {
        let ty = bound.ty.tensor()?;
        let stage = domain::stage_of(param.domain, self.target)?;
        if !stage.types.contains(ty.dtype) {
            let types = stage.types;
            return Some(format!("is {ty}; {types} would do for {}", self.target));
        }
        let shares = |other: &&Param| {
            stage.share != domain::Share::Alone
                && domain::stage_of(other.domain, self.target)
                    .is_some_and(|other| other.share == stage.share)
        };
        let first = self
            .row
            .params
            .iter()
            .filter(shares)
            .find_map(|other| Some((other.name, self.get(other.name)?.ty.tensor()?)));
        let (name, other) = first.filter(|(_, other)| other.dtype != ty.dtype)?;
        Some(format!("is {ty} beside `{name}`, which is {other}; {} needs one type", self.target))
    }

    pub(super) fn get(&self, name: &str) -> Option<&'a Bound<'a>> {
        self.bound.iter().find(|b| b.param == name)
    }

    fn default(&self, name: &str) -> Default {
        self.row.param(name).map_or(Default::Required, |param| param.default)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    pub(super) fn optional(&self, name: &str) -> Option<&'a TensorType> {
        self.get(name)?.ty.tensor()
    }

    pub(super) fn tensor(&self, name: &str) -> Result<&'a TensorType, String> {
        self.optional(name).ok_or_else(|| format!("`{name}` is missing"))
    }

    /// A tensor of this rank.
    pub(super) fn of_rank(&self, name: &str, rank: usize) -> Result<&'a TensorType, String> {
        let tensor = self.tensor(name)?;
        require(tensor.rank() == rank, || format!("`{name}` is {tensor}, not of rank {rank}"))?;
        Ok(tensor)
    }

    /// All tensors that are bound to a parameter of several.
    pub(super) fn many(&self, name: &str) -> impl Iterator<Item = &'a Bound<'a>> {
        self.bound.iter().filter(move |b| b.param == name)
    }

    pub(super) fn constant(&self, name: &str) -> Option<&'a Constant> {
        self.get(name)?.constant
    }

    /// Whether the parameter is bound to a value that only the run knows.
    pub(super) fn varies(&self, name: &str) -> bool {
        self.get(name).is_some_and(|bound| bound.constant.is_none())
    }

    /// The integers of a constant vector or scalar; `None` where it is not constant or, without a
    /// default, not bound. A default of [`Default::Each`] is given `each` times.
    pub(super) fn ints(&self, name: &str, each: usize) -> Result<Option<Vec<i64>>, String> {
        match (self.get(name), self.default(name)) {
            (Some(Bound { constant: Some(constant), ty, .. }), _) => {
                let count = ty.tensor().and_then(|ty| dims::product(&ty.dims)?.size());
                let few = count.is_some_and(|count| count <= MOST_NUMBERS);
                let ints = if few { constant.as_ints() } else { None };
                let refused = || format!("`{name}` is {ty}, not up to {MOST_NUMBERS} integers");
                ints.map(Some).ok_or_else(refused)
            }
            (Some(_), _) => Ok(None),
            (None, Default::Each(n)) => Ok(Some(vec![n; each])),
            (None, Default::Int(n)) => Ok(Some(vec![n])),
            (None, _) => Ok(None),
        }
    }

    /// Exactly `len` constant integers, each at least `least`.
    pub(super) fn vector(&self, name: &str, len: usize, least: i64) -> Result<Vec<i64>, String> {
        let numbers = self.ints(name, len)?.ok_or_else(|| format!("`{name}` is missing"))?;
        require(numbers.len() == len && numbers.iter().all(|&n| n >= least), || {
            format!("`{name}` is {}, not {len} numbers from {least}", listed(&numbers))
        })?;
        Ok(numbers)
    }

    /// As [`Arguments::ints`], for a parameter that must name one number for each of `rank`
    /// dimensions: the count is checked even where the numbers are not known.
    pub(super) fn per_axis(&self, name: &str, rank: usize) -> Result<Option<Vec<i64>>, String> {
        if let Some(ty) = self.optional(name) {
            let fits = matches!(ty.dims[..], [len] if len.may_equal(Dim::Fixed(rank)));
            require(fits, || format!("`{name}` is {ty}, not {rank} numbers"))?;
        }
        self.ints(name, rank)
    }

    pub(super) fn int(&self, name: &str) -> Result<i64, String> {
        match self.ints(name, 1)?.as_deref() {
            Some(&[n]) => Ok(n),
            Some(several) => Err(format!("`{name}` is {}, not one number", listed(several))),
            None => Err(format!("`{name}` is missing")),
        }
    }

    /// A size: one number from `least`.
    pub(super) fn size(&self, name: &str, least: usize) -> Result<usize, String> {
        let number = self.int(name)?;
        let size = usize::try_from(number).ok().filter(|&n| n >= least);
        size.ok_or_else(|| format!("`{name}` is {number}; it must be at least {least}"))
    }

    /// One axis of `rank`, counted from either end.
    pub(super) fn axis(&self, name: &str, rank: usize) -> Result<usize, String> {
        on_axis(name, self.int(name)?, rank)
    }

    /// Different axes of `rank`, ascending; all where the parameter is absent.
    pub(super) fn axes(&self, name: &str, rank: usize) -> Result<Vec<usize>, String> {
        let Some(numbers) = self.ints(name, rank)? else { return Ok((0..rank).collect()) };
        require(numbers.len() <= rank, || {
            format!("`{name}` is {} for {rank} dimensions", listed(&numbers))
        })?;
        let mut axes: Vec<_> =
            numbers.iter().map(|&axis| on_axis(name, axis, rank)).collect::<Result<_, _>>()?;
        axes.sort_unstable();
        require(axes.windows(2).all(|pair| pair[0] != pair[1]), || {
            format!("`{name}` is {}, an axis twice", listed(&numbers))
        })?;
        Ok(axes)
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, String> {
        match (self.constant(name), self.default(name)) {
            (Some(constant), _) => {
                constant.as_bool().ok_or_else(|| format!("`{name}` holds no flag"))
            }
            (None, Default::Bool(flag)) => Ok(flag),
            (None, _) => Err(format!("`{name}` is missing")),
        }
    }

    /// `len` flags; none is set where the parameter is absent.
    pub(super) fn flags(&self, name: &str, len: usize) -> Result<Vec<bool>, String> {
        let Some(constant) = self.constant(name) else { return Ok(vec![false; len]) };
        let flags = constant.as_bools().filter(|flags| flags.len() == len);
        flags.ok_or_else(|| format!("`{name}` does not hold {len} flags"))
    }

    /// A word, one of those that are allowed.
    pub(super) fn word(&self, name: &str, allowed: &[&str]) -> Result<&'a str, String> {
        let word = match (self.constant(name), self.default(name)) {
            (Some(constant), _) => {
                constant.as_text().ok_or_else(|| format!("`{name}` holds no word"))?
            }
            (None, Default::Text(text)) => text,
            (None, _) => return Err(format!("`{name}` is missing")),
        };
        require(allowed.contains(&word), || {
            format!("`{name}` is `{word}`; {} would do", allowed.join(", "))
        })?;
        Ok(word)
    }

    /// One constant number of floating point.
    pub(super) fn float(&self, name: &str) -> Result<f32, String> {
        match (self.constant(name), self.default(name)) {
            (Some(constant), _) => match constant.as_floats().as_deref() {
                Some(&[number]) => Ok(number),
                _ => Err(format!("`{name}` is {}, not one number", constant.ty())),
            },
            (None, Default::Float(number)) => Ok(number),
            (None, _) => Err(format!("`{name}` is missing")),
        }
    }
}

/// Why a value is not of the kind that a parameter takes.
fn kind(param: &Param, bound: &Bound<'_>, target: Target) -> Option<String> {
    let is_constant = bound.constant.is_some();
    let (fits, wanted) = match (param.kind, bound.ty) {
        (Kind::Any, _) => (true, ""),
        (Kind::State, ty) => (matches!(ty, ValueType::State(_)), "a state"),
        (Kind::Labels, ty) => (matches!(ty, ValueType::Labels(..)) && is_constant, "labels"),
        (_, ValueType::State(_) | ValueType::Labels(..) | ValueType::Scores(_)) => {
            (false, "a tensor")
        }
        (Kind::Constant, _) => (is_constant, "constant"),
        (Kind::ConstantBefore(free), _) => (is_constant || target >= free, "constant"),
        (Kind::Tensor | Kind::Many, ValueType::Tensor(_)) => (true, ""),
    };
    match (fits, wanted) {
        (true, _) => None,
        (false, "constant") => Some("must be constant".to_owned()),
        (false, wanted) => Some(format!("is {}, not {wanted}", bound.ty)),
    }
}

/// An axis counted from either end.
pub(super) fn on_axis(name: &str, axis: i64, rank: usize) -> Result<usize, String> {
    let place = if axis < 0 { axis.checked_add_unsigned(rank as u64) } else { Some(axis) };
    let place = place.and_then(|axis| usize::try_from(axis).ok()).filter(|&axis| axis < rank);
    place.ok_or_else(|| format!("`{name}` is {axis}, and there are {rank} dimensions"))
}

/// A few numbers for a message.
pub(super) fn listed(numbers: &[i64]) -> String {
    match numbers.len() {
        0..=16 => format!("{numbers:?}"),
        many => format!("{many} numbers"),
    }
}
