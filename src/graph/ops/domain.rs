//! Which element types a parameter takes, opset by opset.

use crate::graph::DataType;
use crate::target::Target;
use std::fmt;

/// The element types of a parameter: the last stage that is no younger than the target holds.
pub type Domain = &'static [Stage];

/// What one opset and the following ones take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// The first target of this stage.
    pub since: Target,
    /// Which parameters share their type with this one.
    pub share: Share,
    /// The types.
    pub types: Types,
}

/// Parameters of one operation that share a letter have one element type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// Its type is its own.
    Alone,
    /// The type of the data.
    T,
    /// A second type: weights from iOS 17, indices.
    U,
}

/// A set of element types.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Types(u32);

impl Types {
    const fn of(list: &[DataType]) -> Self {
        let (mut bits, mut i) = (0, 0);
        while i < list.len() {
            bits |= 1 << list[i] as u32;
            i += 1;
        }
        Self(bits)
    }

    /// Whether this type is among them.
    pub fn contains(self, dtype: DataType) -> bool {
        self.0 >> dtype as u32 & 1 == 1
    }
}

impl fmt::Display for Types {
    /// `fp16, fp32`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let members = DataType::ALL.into_iter().filter(|dtype| self.contains(*dtype));
        for (i, dtype) in members.enumerate() {
            write!(f, "{}{dtype}", if i == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}

use DataType::*;
use Share::{Alone, T, U};
use Target::{Ios15, Ios16, Ios17};

const FLOATS: Types = Types::of(&[Float16, Float32]);
const NUMBERS: Types = Types::of(&[Float16, Float32, Int32]);
const PLAIN: Types = Types::of(&[Float16, Float32, Int32, Bool]);
const WIDE: Types = Types::of(&[Float16, Float32, Int8, Int16, Int32, UInt8, UInt16, Bool]);
const WIDE_NUMBERS: Types = Types::of(&[Float16, Float32, Int8, Int16, Int32, UInt8, UInt16]);
const SMALL_INTS: Types = Types::of(&[Int8, Int16, Int32]);
const BYTES: Types = Types::of(&[Int8, UInt8]);

const fn stage(since: Target, share: Share, types: Types) -> Stage {
    Stage { since, share, types }
}

/// The stage of a domain that holds for a target.
pub fn stage_of(domain: Domain, target: Target) -> Option<Stage> {
    domain.iter().rev().find(|stage| stage.since <= target).copied()
}

/// Whatever is bound.
pub(super) const ANY: Domain = &[];
/// Data of floating point.
pub(super) const FLOAT: Domain = &[stage(Ios15, T, FLOATS)];
/// Floating-point and INT32 data.
pub(super) const NUMBER: Domain = &[stage(Ios15, T, NUMBERS)];
/// Numbers and flags.
pub(super) const ELEMENT: Domain = &[stage(Ios15, T, PLAIN)];
/// Numbers and flags, of another type than the data.
pub(super) const ELEMENT_U: Domain = &[stage(Ios15, U, PLAIN)];
/// What only moves: 8 and 16 bits join in with iOS 17.
pub(super) const MOVED: Domain = &[stage(Ios15, T, PLAIN), stage(Ios17, T, WIDE)];
/// What is only moved or compared, without flags before iOS 17.
pub(super) const WINDOWED: Domain = &[stage(Ios15, T, NUMBERS), stage(Ios17, T, WIDE)];
/// Numbers that only move: 8 and 16 bits join in with iOS 17.
pub(super) const GATHERED: Domain = &[stage(Ios15, T, NUMBERS), stage(Ios17, T, WIDE_NUMBERS)];
/// Weights and parameters beside floating-point data: of their own type from iOS 17.
pub(super) const WEIGHT: Domain = &[stage(Ios15, T, FLOATS), stage(Ios17, U, FLOATS)];
/// Weights beside data that may be INT32.
pub(super) const NUMBER_WEIGHT: Domain = &[stage(Ios15, T, NUMBERS), stage(Ios17, U, NUMBERS)];
/// Sizes and places: small integers join in with iOS 17.
pub(super) const SIZES: Domain =
    &[stage(Ios15, Alone, Types::of(&[Int32])), stage(Ios17, U, SMALL_INTS)];
/// Indices: 16 bits from iOS 16, 8 bits from iOS 17.
pub(super) const INDICES: Domain = &[
    stage(Ios15, Alone, Types::of(&[Int32])),
    stage(Ios16, Alone, Types::of(&[Int16, Int32, UInt16])),
    stage(Ios17, Alone, Types::of(&[Int8, Int16, Int32, UInt8, UInt16])),
];
/// INT32, as almost every integer parameter.
pub(super) const INT: Domain = &[stage(Ios15, Alone, Types::of(&[Int32]))];
/// Counts of a few late operations.
pub(super) const COUNT: Domain = &[stage(Ios15, Alone, Types::of(&[UInt32]))];
/// Flags.
pub(super) const BOOL: Domain = &[stage(Ios15, Alone, Types::of(&[Bool]))];
/// Words.
pub(super) const WORD: Domain = &[stage(Ios15, Alone, Types::of(&[String]))];
/// FP32 alone.
pub(super) const FLOAT32: Domain = &[stage(Ios15, Alone, Types::of(&[Float32]))];
/// INT8 codes.
pub(super) const CODE: Domain = &[stage(Ios15, U, BYTES)];
/// `scale_factor_*`, which must be of one type.
pub(super) const FACTOR: Domain = &[stage(Ios15, U, Types::of(&[Float32, Int32]))];
/// The sizes of `resize`.
pub(super) const TARGET_SIZES: Domain =
    &[stage(Ios15, Alone, Types::of(&[Int16, Int32, UInt16, UInt32]))];
/// Places of `resample`.
pub(super) const COORDINATES: Domain = &[
    stage(Ios15, Alone, Types::of(&[Float32, Int32])),
    stage(Ios16, Alone, NUMBERS),
    stage(Ios17, Alone, WIDE_NUMBERS),
];
/// Boxes of `crop_resize`, and which image each is cut from.
pub(super) const BOXES: Domain = &[stage(Ios15, Alone, Types::of(&[Float16, Float32, UInt16]))];
/// See [`BOXES`].
pub(super) const BOX_INDICES: Domain = &[stage(Ios15, Alone, Types::of(&[Int32, UInt16]))];
/// What an attention mask holds: flags, or what is added to the scores.
pub(super) const MASK: Domain = &[stage(Ios15, Alone, Types::of(&[Bool, Float16, Float32]))];
/// `k` of `topk`.
pub(super) const TOP: Domain =
    &[stage(Ios15, Alone, Types::of(&[Int32])), stage(Ios17, Alone, SMALL_INTS)];
