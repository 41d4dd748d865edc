//! A file's parts, checked.

use super::MAGIC;
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::ops::Range;

const FORMAT: &str = "GGUF";

/// Where data start by default.
const ALIGNMENT: u64 = 32;

/// The largest alignment: beyond a page of any system it is none.
const MOST_ALIGNMENT: u64 = 1 << 20;

/// The highest rank that ggml has.
const MOST_RANK: u32 = 4;

/// An open file.
#[derive(Clone, Debug, PartialEq)]
pub struct Reader<'f> {
    file: &'f [u8],
    /// The metadata, by key.
    pub metadata: BTreeMap<&'f str, Value<'f>>,
    /// The tensors, in the file's order.
    pub tensors: Vec<Tensor<'f>>,
}

/// A value of the metadata.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value<'f> {
    /// Of 8 to 64 bits.
    Unsigned(u64),
    /// Of 8 to 64 bits.
    Signed(i64),
    /// Of 32 or 64 bits.
    Float(f64),
    /// True or false.
    Bool(bool),
    /// UTF-8.
    Text(&'f str),
    /// Values of one type.
    List(List<'f>),
}

/// A list of the metadata, every value of which was checked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct List<'f> {
    kind: u32,
    len: u64,
    /// The file from the first value on.
    from: &'f [u8],
}

/// A tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tensor<'f> {
    /// Its name.
    pub name: &'f str,
    /// The number of its type, as `ggml_type` counts them.
    pub kind: u32,
    /// Its shape in row-major order: the slowest dimension first.
    pub shape: Vec<u64>,
    /// Where its data lie in the file; `None` for types that are not understood.
    data: Option<Range<usize>>,
}

/// Types of elements that are numbers by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ElementType {
    F32,
    F16,
    BF16,
    F64,
    I8,
    I16,
    I32,
    I64,
}

impl ElementType {
    /// By `ggml_type`'s number; `None` for a quantized type.
    pub fn numbered(kind: u32) -> Option<Self> {
        use ElementType::{BF16, F16, F32, F64, I8, I16, I32, I64};
        let known =
            [(0, F32), (1, F16), (24, I8), (25, I16), (26, I32), (27, I64), (28, F64), (30, BF16)];
        known.iter().find(|(number, _)| *number == kind).map(|(_, of)| *of)
    }

    /// Bytes of one.
    pub fn byte_len(self) -> u64 {
        match self {
            Self::I8 => 1,
            Self::F16 | Self::BF16 | Self::I16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::F64 | Self::I64 => 8,
        }
    }
}

impl<'f> Reader<'f> {
    /// Checks a file's head, metadata and tensors.
    ///
    /// # Errors
    /// [`Error::Malformed`] at the first byte that is not as it should be; [`Error::Unsupported`] for
    /// another version, big-endian files, and lists of lists.
    pub fn open(file: &'f [u8]) -> Result<Self> {
        let mut cursor = Cursor { file, at: 0 };
        if cursor.array()? != MAGIC {
            return Err(malformed(0, "it does not begin with `GGUF`"));
        }
        let version = cursor.u32()?;
        if !(2..=3).contains(&version) {
            let found = match version.swap_bytes() {
                swapped @ 1..=3 => format!("version {swapped}, big-endian"),
                _ => format!("version {version}"),
            };
            return Err(Error::Unsupported {
                place: FORMAT.into(),
                found,
                can: "versions 2 and 3, little-endian, are read".into(),
            });
        }
        let (tensor_count, entry_count) = (cursor.u64()?, cursor.u64()?);
        let mut metadata = BTreeMap::new();
        for _ in 0..entry_count {
            let at = cursor.at;
            let key = cursor.text()?;
            let kind = cursor.u32()?;
            let value = cursor.value(kind, true)?;
            if metadata.insert(key, value).is_some() {
                return Err(malformed(at, format!("the key `{key}` stands twice")));
            }
        }
        let alignment = match metadata.get("general.alignment") {
            None => ALIGNMENT,
            Some(&Value::Unsigned(n)) if n.is_power_of_two() && n <= MOST_ALIGNMENT => n,
            Some(other) => {
                let found =
                    format!("`general.alignment` is {other:?}, and no power of two to 2^20");
                return Err(malformed(cursor.at, found));
            }
        };
        let mut heads = Vec::new();
        let mut names = std::collections::BTreeSet::new();
        for _ in 0..tensor_count {
            let at = cursor.at;
            let (tensor, offset) = cursor.tensor()?;
            if !names.insert(tensor.name) {
                return Err(malformed(at, format!("tensor `{}` stands twice", tensor.name)));
            }
            heads.push((tensor, offset, at));
        }
        let start = (cursor.at as u64).next_multiple_of(alignment);
        let mut tensors = Vec::with_capacity(heads.len());
        for (mut tensor, offset, at) in heads {
            let name = tensor.name;
            if offset % alignment != 0 {
                let found =
                    format!("tensor `{name}` begins at {offset}, no multiple of {alignment}");
                return Err(malformed(at, found));
            }
            if let Some(of) = ElementType::numbered(tensor.kind) {
                let len = tensor.shape.iter().try_fold(of.byte_len(), |n, &d| n.checked_mul(d));
                let begin = start.checked_add(offset);
                let range = begin.zip(len).and_then(|(begin, len)| {
                    let end = usize::try_from(begin.checked_add(len)?).ok()?;
                    (end <= file.len()).then_some(begin as usize..end)
                });
                let beyond = || {
                    let shape = &tensor.shape;
                    malformed(at, format!("tensor `{name}` {shape:?} reaches beyond the file"))
                };
                tensor.data = Some(range.ok_or_else(beyond)?);
            }
            tensors.push(tensor);
        }
        Ok(Self { file, metadata, tensors })
    }

    /// The elements of a tensor of FP32, in row-major order; `None` for one of another type.
    pub fn floats(&self, tensor: &Tensor<'_>) -> Option<impl ExactSizeIterator<Item = f32> + 'f> {
        let of = ElementType::numbered(tensor.kind).filter(|of| *of == ElementType::F32);
        let bytes = self.file.get(tensor.data.clone().filter(|_| of.is_some())?)?;
        Some(bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)))
    }

    /// The text under a key.
    pub fn text(&self, key: &str) -> Option<&'f str> {
        match self.metadata.get(key)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
}

impl<'f> List<'f> {
    /// How many values there are.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The values.
    pub fn values(&self) -> impl Iterator<Item = Value<'f>> + use<'f> {
        let (mut cursor, kind) = (Cursor { file: self.from, at: 0 }, self.kind);
        (0..self.len).map_while(move |_| cursor.value(kind, false).ok())
    }
}

/// A place in the file.
struct Cursor<'f> {
    file: &'f [u8],
    at: usize,
}

fn malformed(at: usize, found: impl Into<String>) -> Error {
    Error::Malformed {
        format: FORMAT,
        place: format!("at byte {at}"),
        found: found.into(),
        remedy: "fetch or write the file again",
    }
}

impl<'f> Cursor<'f> {
    fn take(&mut self, len: u64) -> Result<&'f [u8]> {
        let rest = &self.file[self.at..];
        let taken = usize::try_from(len).ok().and_then(|len| rest.get(..len));
        let taken = taken.ok_or_else(|| {
            malformed(self.at, format!("{} bytes are left where {len} should be", rest.len()))
        })?;
        self.at += taken.len();
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let at = self.at;
        let bytes = self.take(N as u64)?;
        bytes.try_into().map_err(|_| malformed(at, "the file ends"))
    }

    fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn text(&mut self) -> Result<&'f str> {
        let len = self.u64()?;
        let at = self.at;
        std::str::from_utf8(self.take(len)?)
            .map_err(|why| malformed(at + why.valid_up_to(), "a text is not UTF-8"))
    }

    /// A value of this type; lists only where they may stand.
    fn value(&mut self, kind: u32, or_list: bool) -> Result<Value<'f>> {
        let at = self.at;
        Ok(match kind {
            0 => Value::Unsigned(u8::from_le_bytes(self.array()?).into()),
            1 => Value::Signed(i8::from_le_bytes(self.array()?).into()),
            2 => Value::Unsigned(u16::from_le_bytes(self.array()?).into()),
            3 => Value::Signed(i16::from_le_bytes(self.array()?).into()),
            4 => Value::Unsigned(self.u32()?.into()),
            5 => Value::Signed(i32::from_le_bytes(self.array()?).into()),
            6 => Value::Float(f32::from_le_bytes(self.array()?).into()),
            7 => match self.array()? {
                [bit @ 0..=1] => Value::Bool(bit == 1),
                [other] => return Err(malformed(at, format!("{other} is neither true nor false"))),
            },
            8 => Value::Text(self.text()?),
            9 if or_list => {
                let (kind, len) = (self.u32()?, self.u64()?);
                let from = &self.file[self.at..];
                // Each takes a byte at least: the file's end is the limit.
                for _ in 0..len {
                    self.value(kind, false)?;
                }
                Value::List(List { kind, len, from })
            }
            9 => {
                return Err(Error::Unsupported {
                    place: format!("{FORMAT}, at byte {at}"),
                    found: "a list of lists".into(),
                    can: "lists of numbers, flags and texts are read".into(),
                });
            }
            10 => Value::Unsigned(self.u64()?),
            11 => Value::Signed(i64::from_le_bytes(self.array()?)),
            12 => Value::Float(f64::from_le_bytes(self.array()?)),
            other => return Err(malformed(at, format!("{other} is no type of a value"))),
        })
    }

    /// A tensor without its data, and their offset.
    fn tensor(&mut self) -> Result<(Tensor<'f>, u64)> {
        let name = self.text()?;
        let at = self.at;
        let rank = self.u32()?;
        if rank > MOST_RANK {
            let found =
                format!("tensor `{name}` has {rank} dimensions, and {MOST_RANK} are the most");
            return Err(malformed(at, found));
        }
        let mut shape = (0..rank).map(|_| self.u64()).collect::<Result<Vec<_>>>()?;
        shape.reverse();
        let kind = self.u32()?;
        let offset = self.u64()?;
        Ok((Tensor { name, kind, shape, data: None }, offset))
    }
}
