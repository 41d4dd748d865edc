//! Where values lie while a function runs.

use crate::graph::DataType;
use crate::runtime::{Data, Tensor};
use half::f16;
use half::slice::HalfFloatSliceExt;
use ndarray::ArrayD;

/// Elements of one kind. FP16 values are f32 numbers here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Float,
    Int,
    Bool,
    /// INT8, as W8A8 layers multiply them.
    Code,
}

/// A piece of memory that values of one kind take turns in.
pub(super) enum Buffer {
    Float(Vec<f32>),
    Int(Vec<i32>),
    Bool(Vec<bool>),
    Code(Vec<i8>),
    /// A state: the caller's own array while the function runs.
    State(ArrayD<f32>),
}

/// A value's place: the first `len` elements of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub kind: Kind,
    pub slot: usize,
    pub len: usize,
}

/// All buffers of a prepared function.
pub(super) struct Buffers(Vec<Buffer>);

impl Kind {
    /// What a value of this type is computed as; `None` for what no tensor holds.
    pub(super) fn of(dtype: DataType) -> Option<Self> {
        Some(match dtype {
            DataType::Float16 | DataType::Float32 => Self::Float,
            DataType::UInt8 | DataType::Int16 | DataType::UInt16 | DataType::Int32 => Self::Int,
            DataType::Bool => Self::Bool,
            DataType::Int8 => Self::Code,
            _ => return None,
        })
    }

    /// Bytes of one element.
    pub(super) fn size(self) -> usize {
        match self {
            Self::Float | Self::Int => 4,
            Self::Bool | Self::Code => 1,
        }
    }
}

impl Default for Buffer {
    fn default() -> Self {
        Self::Float(Vec::new())
    }
}

impl Buffer {
    /// Zeros.
    pub(super) fn new(kind: Kind, len: usize) -> Self {
        match kind {
            Kind::Float => Self::Float(vec![0.0; len]),
            Kind::Int => Self::Int(vec![0; len]),
            Kind::Bool => Self::Bool(vec![false; len]),
            Kind::Code => Self::Code(vec![0; len]),
        }
    }

    /// The elements of a tensor; `None` for labels and scores.
    pub(super) fn of(tensor: &Tensor) -> Option<Self> {
        Some(match &tensor.data {
            Data::Float(array) => Self::Float(array.iter().copied().collect()),
            Data::Int(array) if tensor.dtype == DataType::Int8 => {
                Self::Code(array.iter().map(|&code| code as i8).collect())
            }
            Data::Int(array) => Self::Int(array.iter().copied().collect()),
            Data::Bool(array) => Self::Bool(array.iter().copied().collect()),
            Data::Label(_) | Data::Scores(_) => return None,
        })
    }
}

/// Access by kind. A value is planned to lie in a buffer of its kind, so another one is a bug here.
macro_rules! elements {
    ($one:ident, $one_mut:ident, $ty:ty, $kind:ident $(, $state:ident)?) => {
        impl Buffers {
            pub(super) fn $one(&self, place: Place) -> &[$ty] {
                match &self.0[place.slot] {
                    Buffer::$kind(elements) => &elements[..place.len],
                    $(Buffer::$state(array) => &array.as_slice().expect("row-major")[..place.len],)?
                    _ => unreachable!("a value lies in a buffer of its kind"),
                }
            }
        }

        impl Buffer {
            pub(super) fn $one_mut(&mut self, len: usize) -> &mut [$ty] {
                match self {
                    Self::$kind(elements) => &mut elements[..len],
                    $(Self::$state(array) => &mut array.as_slice_mut().expect("row-major")[..len],)?
                    _ => unreachable!("a value lies in a buffer of its kind"),
                }
            }
        }
    };
}

elements!(floats, floats_mut, f32, Float, State);
elements!(ints, ints_mut, i32, Int);
elements!(bools, bools_mut, bool, Bool);
elements!(codes, codes_mut, i8, Code);

impl Buffers {
    pub(super) fn new(buffers: Vec<Buffer>) -> Self {
        Self(buffers)
    }

    /// Takes a buffer out, to be written while others are read.
    pub(super) fn take(&mut self, slot: usize) -> Buffer {
        std::mem::take(&mut self.0[slot])
    }

    pub(super) fn put(&mut self, slot: usize, buffer: Buffer) {
        self.0[slot] = buffer;
    }

    /// A copy of a value as a tensor.
    pub(super) fn tensor(&self, place: Place, dtype: DataType, shape: &[usize]) -> Tensor {
        fn array<T>(shape: &[usize], elements: Vec<T>) -> ArrayD<T> {
            ArrayD::from_shape_vec(shape, elements).expect("a value is as long as its shape says")
        }
        match place.kind {
            Kind::Float => Tensor::float(dtype, array(shape, self.floats(place).to_vec())),
            Kind::Int => Tensor::int(dtype, array(shape, self.ints(place).to_vec())),
            Kind::Bool => Tensor::bool(array(shape, self.bools(place).to_vec())),
            Kind::Code => {
                let codes = self.codes(place).iter().map(|&code| code.into()).collect();
                Tensor::int(dtype, array(shape, codes))
            }
        }
    }

    /// Copies a value into an array of the same shape.
    pub(super) fn copy_to(&self, place: Place, data: &mut Data) {
        match data {
            Data::Float(array) => copy(self.floats(place), array, |x| x),
            Data::Int(array) if place.kind == Kind::Code => {
                copy(self.codes(place), array, i32::from);
            }
            Data::Int(array) => copy(self.ints(place), array, |x| x),
            Data::Bool(array) => copy(self.bools(place), array, |x| x),
            Data::Label(_) | Data::Scores(_) => unreachable!("labels lie in no buffer"),
        }
    }
}

fn copy<S: Copy, T>(from: &[S], to: &mut ArrayD<T>, convert: impl Fn(S) -> T) {
    // Iterators of arrays of any rank count every dimension: many times slower than a slice.
    match to.as_slice_mut() {
        Some(to) => to.iter_mut().zip(from).for_each(|(to, from)| *to = convert(*from)),
        None => to.iter_mut().zip(from).for_each(|(to, from)| *to = convert(*from)),
    }
}

impl Buffer {
    /// The kind and the number of elements.
    pub(super) fn extent(&self) -> (Kind, usize) {
        match self {
            Self::Float(elements) => (Kind::Float, elements.len()),
            Self::Int(elements) => (Kind::Int, elements.len()),
            Self::Bool(elements) => (Kind::Bool, elements.len()),
            Self::Code(elements) => (Kind::Code, elements.len()),
            Self::State(array) => (Kind::Float, array.len()),
        }
    }

    /// Copies another buffer's first elements, of the same kind.
    pub(super) fn copy_from(&mut self, from: &Buffers, place: Place) {
        match place.kind {
            Kind::Float => self.floats_mut(place.len).copy_from_slice(from.floats(place)),
            Kind::Int => self.ints_mut(place.len).copy_from_slice(from.ints(place)),
            Kind::Bool => self.bools_mut(place.len).copy_from_slice(from.bools(place)),
            Kind::Code => self.codes_mut(place.len).copy_from_slice(from.codes(place)),
        }
    }

    /// Copies a tensor of the same kind, FP16 numbers rounded to such: what a caller gives.
    pub(super) fn copy_input(&mut self, tensor: &Tensor, len: usize) {
        self.copy_exact(tensor, len);
        if tensor.dtype == DataType::Float16 {
            round_to_half(self.floats_mut(len));
        }
    }

    /// Copies a tensor of the same kind.
    pub(super) fn copy_exact(&mut self, tensor: &Tensor, len: usize) {
        match (&tensor.data, self) {
            (Data::Int(array), Self::Code(codes)) => {
                fill(&mut codes[..len], array, |&code| code as i8);
            }
            (Data::Float(array), to) => fill(to.floats_mut(len), array, |&x| x),
            (Data::Int(array), to) => fill(to.ints_mut(len), array, |&x| x),
            (Data::Bool(array), to) => fill(to.bools_mut(len), array, |&x| x),
            (Data::Label(_) | Data::Scores(_), _) => unreachable!("labels lie in no buffer"),
        }
    }
}

fn fill<S, T>(to: &mut [T], from: &ArrayD<S>, convert: impl Fn(&S) -> T) {
    match from.as_slice() {
        Some(from) => to.iter_mut().zip(from).for_each(|(to, from)| *to = convert(from)),
        None => to.iter_mut().zip(from).for_each(|(to, from)| *to = convert(from)),
    }
}

/// Rounds numbers to FP16, many at a time: one by one, each is a call.
pub(super) fn round_to_half(numbers: &mut [f32]) {
    let mut halves = [f16::ZERO; 256];
    for numbers in numbers.chunks_mut(halves.len()) {
        let halves = &mut halves[..numbers.len()];
        halves.convert_from_f32_slice(numbers);
        halves.convert_to_f32_slice(numbers);
    }
}
