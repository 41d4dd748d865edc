//! Convolution and its transpose.

use super::arguments::{Arguments, Inferred, listed, one, require};
use super::dims::{self, fixed};
use super::domain::{FLOAT, INT, WEIGHT};
use super::linear::bias;
use super::{Default, Kind, Param, Row};
use crate::graph::{Dim, TensorType};
use crate::target::Target;

const X: Param = Param::tensor("x", FLOAT);
const BIAS: Param = Param::constant("bias", WEIGHT).or(Default::Absent);
const STRIDES: Param = Param::constant("strides", INT).or(Default::Each(1));
const PAD_TYPE: Param = Param::word("pad_type").or(Default::Text("valid"));
const PAD: Param = Param::constant("pad", INT).or(Default::Each(0));
const DILATIONS: Param = Param::constant("dilations", INT).or(Default::Each(1));
const GROUPS: Param = Param::int("groups").or(Default::Int(1));

pub(super) static ROWS: &[Row] = &[
    // `same_lower` came with iOS 16; a weight that is not constant takes no dilations.
    Row::new(
        "conv",
        &[
            X,
            Param::tensor("weight", WEIGHT),
            BIAS.of(Kind::ConstantBefore(Target::Ios17)),
            STRIDES,
            PAD_TYPE,
            PAD,
            DILATIONS,
            GROUPS,
        ],
        conv,
    ),
    Row::new(
        "conv_transpose",
        &[
            X,
            Param::tensor("weight", WEIGHT).of(Kind::ConstantBefore(Target::Ios17)),
            BIAS,
            PAD,
            Param::constant("output_shape", INT).or(Default::Absent),
            PAD_TYPE,
            STRIDES,
            DILATIONS,
            GROUPS,
        ],
        conv_transpose,
    ),
];

/// How a window moves along one dimension.
pub(super) struct Window {
    /// From the first tap to the last, dilations included.
    pub(super) reach: i128,
    pub(super) stride: i64,
    pub(super) pad: Padding,
    /// Whether a window that only begins inside counts.
    pub(super) ceil: bool,
}

/// What stands before and after a dimension.
#[derive(Clone, Copy)]
pub(super) enum Padding {
    /// As much as makes `⌈d / stride⌉` windows.
    Same,
    /// So much in sum.
    Sum(i128),
}

impl Padding {
    /// The padding of each spatial dimension. `same` puts what is odd behind, `same_lower` before.
    pub(super) fn of(args: &Arguments<'_>, spatial: usize) -> Result<Vec<Self>, String> {
        let pad_type = args.word("pad_type", &["valid", "same", "same_lower", "custom"])?;
        require(pad_type != "same_lower" || args.target >= Target::Ios16, || {
            format!("`pad_type` same_lower needs ios16, the target is {}", args.target)
        })?;
        Ok(match pad_type {
            "valid" => vec![Self::Sum(0); spatial],
            "custom" => {
                let pad = args.vector("pad", 2 * spatial, 0)?;
                let sum = |pair: &[i64]| Self::Sum(pair.iter().copied().map(i128::from).sum());
                pad.chunks_exact(2).map(sum).collect()
            }
            _ => vec![Self::Same; spatial],
        })
    }
}

impl Window {
    /// How many places the window has in a dimension of `size`; `None` for none.
    pub(super) fn places(&self, size: Dim) -> Option<Dim> {
        dims::map(size, |size| {
            let stride = i128::from(self.stride);
            let pad = match self.pad {
                Padding::Sum(pad) => pad,
                Padding::Same => {
                    let covered = (size + stride - 1).div_euclid(stride) * stride;
                    (covered - size + self.reach - stride).max(0)
                }
            };
            let room = (size + pad).checked_sub(self.reach)?;
            let mut places = room.div_euclid(stride) + 1;
            if self.ceil {
                places = (room + stride - 1).div_euclid(stride) + 1;
                // A window must not begin in the padding behind.
                if 2 * (places - 1) * stride >= 2 * size + pad && pad > 0 {
                    places -= 1;
                }
            }
            (places > 0).then_some(places)
        })
    }
}

/// What the two have in common: the number of spatial dimensions, and each window.
struct Form<'a> {
    x: &'a TensorType,
    weight: &'a TensorType,
    groups: usize,
    windows: Vec<(Dim, Window)>,
}

fn form<'a>(args: &Arguments<'a>) -> Result<Form<'a>, String> {
    let (x, weight) = (args.tensor("x")?, args.tensor("weight")?);
    let spatial = x.rank().saturating_sub(2);
    require((1..=3).contains(&spatial) && weight.rank() == x.rank(), || {
        format!("`x` is {x} beside `weight`, which is {weight}; 1 to 3 spatial dimensions")
    })?;
    let strides = args.vector("strides", spatial, 1)?;
    let dilations = args.vector("dilations", spatial, 1)?;
    let pads = Padding::of(args, spatial)?;
    let window = |axis: usize| {
        let taps = weight.dims[axis + 2].size().filter(|&taps| taps > 0);
        let taps = taps.ok_or_else(|| format!("`weight` is {weight}"))? as i128;
        let reach = (taps - 1).checked_mul(dilations[axis].into()).and_then(|r| r.checked_add(1));
        let reach = reach.ok_or("`dilations` overflow")?;
        let (stride, pad) = (strides[axis], pads[axis]);
        Ok((x.dims[axis + 2], Window { reach, stride, pad, ceil: false }))
    };
    let windows = (0..spatial).map(window).collect::<Result<_, String>>()?;
    Ok(Form { x, weight, groups: args.size("groups", 1)?, windows })
}

/// Convolution: x `[n, C, *d]`, W `[O, C/groups, *k]`, 1 to 3 spatial dimensions.
fn conv(args: &Arguments<'_>) -> Inferred {
    let Form { x, weight, groups, windows } = form(args)?;
    let dilated = args.ints("dilations", 0)?.filter(|dilations| dilations.iter().any(|&d| d > 1));
    if let (Some(dilations), true) = (dilated, args.varies("weight")) {
        return Err(format!("`dilations` are {dilations:?} and `weight` is not constant"));
    }
    let (out, inside) = (weight.dims[0], weight.dims[1]);
    let channels = dims::times(inside, groups);
    let divides = dims::divided(out, groups).is_some();
    require(divides && channels.is_some_and(|c| c.may_equal(x.dims[1])), || {
        format!("`x` is {x} beside `weight` {weight} in {groups} groups")
    })?;
    bias(args, out)?;
    let mut dims = vec![x.dims[0], out];
    for (size, window) in windows {
        let places = window.places(size);
        let over = || format!("`weight` {weight} reaches over the end of `x` {x}");
        dims.push(places.ok_or_else(over)?);
    }
    one(x.dtype, dims)
}

/// Transposed convolution: x `[n, C, *d]`, W `[C, O/groups, *k]`. Where strides leave the result's
/// sizes open, `output_shape` gives all of them.
fn conv_transpose(args: &Arguments<'_>) -> Inferred {
    let Form { x, weight, groups, windows } = form(args)?;
    require(args.word("pad_type", &["valid", "same", "custom"]).is_ok(), || {
        "`pad_type` is `same_lower`; valid, same, custom would do".to_owned()
    })?;
    let out = dims::times(weight.dims[1], groups);
    let divides = dims::divided(x.dims[1], groups).is_some();
    let fits = divides && weight.dims[0].may_equal(x.dims[1]);
    let out = out
        .filter(|_| fits)
        .ok_or_else(|| format!("`x` is {x} beside `weight` {weight} in {groups} groups"))?;
    bias(args, out)?;
    let grown = |&(size, ref window): &(Dim, Window)| {
        dims::map(size, |size| {
            let stride = i128::from(window.stride);
            let grown = match window.pad {
                Padding::Same => stride.checked_mul(size)?,
                Padding::Sum(pad) => {
                    stride.checked_mul(size - 1)?.checked_add(window.reach)?.checked_sub(pad)?
                }
            };
            (grown > 0).then_some(grown)
        })
    };
    let head = [x.dims[0], out];
    let none =
        || format!("`x` is {x} beside `weight` {weight}: the result has no elements, or too many");
    let spatial = windows.iter().map(|axis| grown(axis).ok_or_else(none));
    let dims: Vec<_> = head.into_iter().map(Ok).chain(spatial).collect::<Result<_, String>>()?;
    let Some(shape) = args.ints("output_shape", 0)? else { return one(x.dtype, dims) };
    let wanted: Option<Vec<_>> = shape.iter().map(|&size| fixed(size.into())).collect();
    let wanted = wanted.filter(|wanted| {
        wanted.len() == x.rank()
            && dims::may_equal(&wanted[..2], &head)
            && !wanted.contains(&Dim::Fixed(0))
    });
    let refused = || {
        format!("`output_shape` is {}, and {x} gives [{}, {out}, ..]", listed(&shape), x.dims[0])
    };
    one(x.dtype, wanted.ok_or_else(refused)?)
}
