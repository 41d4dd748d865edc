//! Everything about a blob that follows from shapes and encodings.

use super::encoding::{Encoding, Part, PlaneType};
use super::{Dtype, LARGE, PAGE, SMALL_ALIGN, header};
use crate::safetensors::MAX_HEADER_BYTES;
use crate::{Error, Result};
use std::collections::HashSet;
use std::io::{self, Write};

/// One weight to be stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Weight {
    /// Its name in the checkpoint.
    pub name: String,
    /// Its logical shape, `[O, I, …]`.
    pub shape: Vec<usize>,
    /// How it is stored.
    pub encoding: Encoding,
}

/// One tensor of the file: a plane of a weight, or a gap.
#[derive(Clone, Debug, PartialEq)]
pub struct Plane {
    /// The name in the safetensors header.
    pub name: String,
    /// Which weight of the plan and which part of it; `None` for a gap, whose bytes are zero.
    pub holds: Option<(usize, Part)>,
    /// The type in the safetensors header.
    pub dtype: Dtype,
    /// The shape in the safetensors header.
    pub shape: Vec<usize>,
    /// Where it starts, in bytes from the start of the file.
    pub offset: u64,
    /// Its length in bytes.
    pub len: u64,
}

/// The complete layout of a blob: header bytes, and name, offset and length of every plane. It
/// depends on shapes and encodings alone, so it stands before a byte of data is read.
///
/// ```
/// use twolane_formats::metal_blob::{Encoding, Granularity, Lanes, Linear, Part, Plan, Weight};
///
/// let linear = Linear {
///     bits: 8,
///     signed: true,
///     granularity: Granularity::Channel { axis: 0 },
///     offset: false,
///     lanes: Lanes::K2,
/// };
/// let weight = Weight {
///     name: "fc.weight".into(),
///     shape: vec![128, 512],
///     encoding: Encoding::Linear(linear),
/// };
/// let plan = Plan::new(vec![weight])?;
/// let codes = plan.plane(0, Part::Codes).unwrap();
/// assert_eq!((codes.offset, codes.len), (16_384, 65_536));
/// assert_eq!(codes.shape, [256, 128, 2]);
/// assert_eq!(plan.plane(0, Part::Scale).unwrap().shape, [1, 128]);
/// assert_eq!(plan.file_len(), 16_384 + 65_536 + 16_384);
/// # Ok::<(), twolane_formats::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    weights: Vec<Weight>,
    header: Vec<u8>,
    planes: Vec<Plane>,
    /// For each weight, where its planes stand in `planes`, in the order of their parts.
    of_weight: Vec<Vec<usize>>,
    file_len: u64,
}

impl Plan {
    /// Lays out `weights`, in this order: first every plane of 64 KiB or more, each on a page, then
    /// one run, starting on a page, of the smaller ones at 256-byte offsets, then up to a page.
    ///
    /// A plane of codes, and the values of a float or raw weight, carry the weight's name; others
    /// have a suffix (`.scale`, ...; [`Part::suffix`]). Where that name is taken, `_2`, `_3`, ...
    /// follows, the first that is free; the weights' own names are taken first.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a weight called `__metadata__`, and for more weights than a
    /// safetensors header can list; [`Error::Bug`] for two weights of one name, and for an encoding
    /// that does not fit its shape.
    pub fn new(weights: Vec<Weight>) -> Result<Self> {
        let mut taken = HashSet::new();
        for weight in &weights {
            check_name(&weight.name)?;
            if !taken.insert(weight.name.clone()) {
                return Err(bug(&weight.name, "two weights have this name"));
            }
        }

        let mut parts = Vec::new();
        for (index, weight) in weights.iter().enumerate() {
            let types = weight.encoding.planes(&weight.shape);
            for plane in types.map_err(|why| bug(&weight.name, why))? {
                let name = match plane.part.suffix() {
                    "" => weight.name.clone(),
                    suffix => free_name(format!("{}{suffix}", weight.name), &mut taken),
                };
                parts.push((index, name, plane));
            }
        }

        let mut layout = Layout { taken, planes: Vec::new(), end: 0, pads: 0 };
        let large = |plane: &PlaneType| plane.byte_len().is_some_and(|len| len >= LARGE);
        let (large, small): (Vec<_>, Vec<_>) = parts.into_iter().partition(|(.., p)| large(p));
        for part in large {
            layout.pad_to(PAGE)?;
            layout.place(part)?;
        }
        layout.pad_to(PAGE)?;
        for part in small {
            layout.pad_to(SMALL_ALIGN)?;
            layout.place(part)?;
        }
        layout.pad_to(PAGE)?;
        let Layout { mut planes, end, .. } = layout;

        let header = header::write(&weights, &planes)
            .map_err(|e| bug("the header", format!("it cannot be written as JSON: {e}")))?;
        let start = header.len() as u64;
        if start - 8 > MAX_HEADER_BYTES {
            return Err(Error::Unsupported {
                place: "Metal blob".into(),
                found: format!("{} weights need a header of {start} bytes", weights.len()),
                can: "safetensors allows 100,000,000; split the model".into(),
            });
        }
        let mut of_weight = vec![Vec::new(); weights.len()];
        for (index, plane) in planes.iter_mut().enumerate() {
            plane.offset += start;
            if let Some((weight, _)) = plane.holds {
                of_weight[weight].push(index);
            }
        }
        for list in &mut of_weight {
            list.sort_unstable_by_key(|&index| planes[index].holds);
        }
        Ok(Self { weights, header, planes, of_weight, file_len: start + end })
    }

    /// The weights, in the order given.
    pub fn weights(&self) -> &[Weight] {
        &self.weights
    }

    /// The bytes before the data: a multiple of [`PAGE`].
    pub fn header(&self) -> &[u8] {
        &self.header
    }

    /// Every tensor of the file in file order, gaps included: they follow each other without a
    /// hole from the end of the header to the end of the file.
    pub fn planes(&self) -> &[Plane] {
        &self.planes
    }

    /// The planes of weight number `weight`, in the order of their parts.
    pub fn planes_of(&self, weight: usize) -> impl Iterator<Item = &Plane> {
        self.of_weight[weight].iter().map(|&index| &self.planes[index])
    }

    /// The plane that holds a part of weight number `weight`, if its encoding has that part.
    pub fn plane(&self, weight: usize, part: Part) -> Option<&Plane> {
        self.planes_of(weight).find(|plane| plane.holds == Some((weight, part)))
    }

    /// The length of the file: a multiple of [`PAGE`].
    pub fn file_len(&self) -> u64 {
        self.file_len
    }

    /// Writes the whole file in order. `fill` is asked once for each plane of a weight, in file
    /// order, and writes its bytes; gaps are written here.
    ///
    /// # Errors
    /// [`Error::Io`] from `out` or `fill`; [`Error::Bug`] if a plane's bytes are not as many as
    /// planned.
    pub fn write_to(
        &self,
        out: &mut dyn Write,
        mut fill: impl FnMut(&Plane, &mut dyn Write) -> io::Result<()>,
    ) -> Result<()> {
        let failed = |what: &str, source| Error::Io { what: what.into(), source };
        out.write_all(&self.header).map_err(|e| failed("the header of the Metal blob", e))?;
        for plane in &self.planes {
            let mut counted = Counted { out: &mut *out, len: 0 };
            let result = match plane.holds {
                Some(_) => fill(plane, &mut counted),
                None => counted.write_all(&vec![0; plane.len as usize]),
            };
            result.map_err(|e| failed(&plane.name, e))?;
            if counted.len != plane.len {
                let why = format!("{} bytes were written, {} planned", counted.len, plane.len);
                return Err(bug(&plane.name, why));
            }
        }
        Ok(())
    }
}

/// Counts what goes through.
struct Counted<'a> {
    out: &'a mut dyn Write,
    len: u64,
}

impl Write for Counted<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.len += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Planes being placed; offsets count from the start of the data until the header is known.
struct Layout {
    taken: HashSet<String>,
    planes: Vec<Plane>,
    end: u64,
    pads: u64,
}

impl Layout {
    /// Declares a gap up to the next multiple of `align`, if there is one.
    fn pad_to(&mut self, align: u64) -> Result<()> {
        let gap = self.end.next_multiple_of(align) - self.end;
        if gap == 0 {
            return Ok(());
        }
        let name = loop {
            let name = format!("__pad.{}", self.pads);
            self.pads += 1;
            if self.taken.insert(name.clone()) {
                break name;
            }
        };
        let shape = vec![gap as usize];
        self.push(Plane { name, holds: None, dtype: Dtype::U8, shape, offset: 0, len: gap })
    }

    fn place(&mut self, (weight, name, plane): (usize, String, PlaneType)) -> Result<()> {
        let len = plane.byte_len().ok_or_else(|| bug(&name, "its length overflows"))?;
        let PlaneType { part, dtype, shape } = plane;
        self.push(Plane { name, holds: Some((weight, part)), dtype, shape, offset: 0, len })
    }

    fn push(&mut self, plane: Plane) -> Result<()> {
        let offset = self.end;
        // Bounded far below 2^64, so that rounding up and adding the header cannot overflow.
        let end = offset.checked_add(plane.len).filter(|&end| end <= 1 << 62);
        self.end = end.ok_or_else(|| Error::Unsupported {
            place: plane.name.clone(),
            found: "the file would be longer than 2^62 bytes".into(),
            can: "check the shapes of the input".into(),
        })?;
        self.planes.push(Plane { offset, ..plane });
        Ok(())
    }
}

/// The first of `name`, `name_2`, `name_3`, ... that is free; takes it.
fn free_name(name: String, taken: &mut HashSet<String>) -> String {
    if taken.insert(name.clone()) {
        return name;
    }
    let numbered = (2u64..).map(|i| format!("{name}_{i}"));
    let free = numbered.into_iter().find(|n| !taken.contains(n)).expect("names do not run out");
    taken.insert(free.clone());
    free
}

fn check_name(name: &str) -> Result<()> {
    if name == "__metadata__" {
        return Err(Error::Unsupported {
            place: format!("tensor `{name}`"),
            found: "safetensors keeps this name for its metadata".into(),
            can: "rename the tensor".into(),
        });
    }
    Ok(())
}

fn bug(place: &str, why: impl Into<String>) -> Error {
    Error::Bug { place: place.into(), why: why.into() }
}
