//! The file: safetensors, with the names in its metadata.
//!
//! Of each value `V`:
//!
//! | tensor | what it holds |
//! |---|---|
//! | `V.codes` U16 `[n]` | the FP16 numbers that occurred, as bits, ascending |
//! | `V.counts` U64 `[n]` | how often |
//! | `V.extremes` U64 `[2, 2]` | Σ of the samples' least numbers and of their largest: INT128 in units of 2⁻²⁴, low half first |
//! | `V.sums` U64 `[K, 2]` | Σx of each column, where the value meets a weight: INT128 in units of 2⁻²⁴, low half first; not in form 1 |
//! | `V.squares` U64 `[K, 2]` | Σx² of each column, where the value meets a weight: UINT128 in units of 2⁻⁴⁸, low half first |
//! | `V.hessian` U64 `[groups, C(C+1)/2, 2]`, then `V.hessian.1` .. | Σxxᵀ of the layers that read it, on request: upper triangles, INT128 in units of 2⁻⁴⁸, low half first |
//!
//! The metadata's `twolane.calibration` is a JSON object ([`Head`]).

use super::hessian::MOST_COLUMNS;
use super::statistics::MOST;
use super::{Calibration, Data, Entry, Hessian, Model, Statistics, Window, tally};
use crate::formats::safetensors::{self, Dtype, Header, Layout};
use crate::graph::weight::Bytes;
use crate::map::Map;
use crate::{Error, Result};
use half::f16;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;

/// The key in the file's metadata.
const KEY: &str = "twolane.calibration";

/// The form that is written. Form 1, which lacks the sums of columns, is read as well.
const FORM: u32 = 2;

/// What the metadata say.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    form: u32,
    tool: String,
    model: Model,
    data: Vec<Data>,
    values: BTreeMap<String, About>,
}

/// What they say of one value.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct About {
    made_by: String,
    read_by: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    axis: Option<usize>,
    samples: u64,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    hessians: Vec<AboutHessian>,
}

/// What they say of a Hessian.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AboutHessian {
    columns: usize,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    window: Option<Window>,
}

impl Calibration {
    /// Whether a file holds statistics: by its metadata, whatever its name.
    ///
    /// # Errors
    /// [`Error::Io`] if the system refuses.
    pub fn is_at(path: &Path) -> Result<bool> {
        if !path.is_file() {
            return Ok(false);
        }
        // What cannot be mapped, as an empty file, holds none.
        let Ok(map) = Map::open(path) else { return Ok(false) };
        let header = Header::parse(map.bytes());
        Ok(header.is_ok_and(|header| header.metadata.contains_key(KEY)))
    }

    /// The file, ready to be written: its bytes depend on the counts alone.
    ///
    /// # Errors
    /// [`Error::Format`] for more names than a header holds.
    pub fn write(&self) -> Result<impl Fn(&mut dyn Write) -> io::Result<()>> {
        let about = |(name, entry): (&String, &Entry)| {
            let Entry { made_by, read_by, axis, statistics, hessians } = entry;
            let (made_by, read_by) = (made_by.clone(), read_by.clone());
            let hessian = |hessian: &Hessian| AboutHessian {
                columns: hessian.columns,
                window: hessian.window.clone(),
            };
            let hessians = hessians.iter().map(hessian).collect();
            let (axis, samples) = (*axis, statistics.samples);
            (name.clone(), About { made_by, read_by, axis, samples, hessians })
        };
        let head = Head {
            form: FORM,
            tool: concat!("twolane ", env!("CARGO_PKG_VERSION")).into(),
            model: self.model.clone(),
            data: self.data.clone(),
            values: self.values.iter().map(about).collect(),
        };
        let head = serde_json::to_string(&head).map_err(|why| Error::bug(KEY, why.to_string()))?;
        let mut tensors = Vec::new();
        let mut bytes: Vec<Bytes> = Vec::new();
        for (name, Entry { statistics, hessians, .. }) in &self.values {
            let (codes, counts): (Vec<u16>, Vec<u64>) = statistics.counts.iter().copied().unzip();
            let extremes = [statistics.minima, statistics.maxima].map(|sum| sum as u128);
            let mut put = |word: &str, dtype, shape: Vec<usize>, of: Bytes| {
                tensors.push((format!("{name}.{word}"), dtype, shape));
                bytes.push(of);
            };
            let n = codes.len();
            let codes: Vec<u8> = codes.iter().flat_map(|c| c.to_le_bytes()).collect();
            put("codes", Dtype::U16, vec![n], codes.into());
            let counts: Vec<u8> = counts.iter().flat_map(|c| c.to_le_bytes()).collect();
            put("counts", Dtype::U64, vec![n], counts.into());
            put("extremes", Dtype::U64, vec![2, 2], halves(&extremes).into());
            if !statistics.sums.is_empty() {
                let sums: Vec<u128> = statistics.sums.iter().map(|&sum| sum as u128).collect();
                put("sums", Dtype::U64, vec![sums.len(), 2], halves(&sums).into());
            }
            if !statistics.squares.is_empty() {
                let shape = vec![statistics.squares.len(), 2];
                put("squares", Dtype::U64, shape, halves(&statistics.squares).into());
            }
            for (i, hessian) in hessians.iter().enumerate() {
                put(&word_of(i), Dtype::U64, hessian.shape().into(), hessian.sums.clone());
            }
        }
        let layout = Layout::new(&tensors, &[(KEY.to_owned(), head)].into())?;
        let mut order: Vec<usize> = (0..bytes.len()).collect();
        order.sort_by_key(|&i| layout.offsets[i]);
        Ok(move |file: &mut dyn Write| {
            file.write_all(&layout.header)?;
            order.iter().try_for_each(|&i| file.write_all(&bytes[i]))
        })
    }

    /// Reads a file.
    ///
    /// # Errors
    /// [`Error::Format`] for a file that is no safetensors; [`Error::Input`] for one that holds no
    /// statistics, another form of them, or such as no data gives; [`Error::Io`].
    pub fn read(path: &Path) -> Result<Self> {
        let shown = path.display().to_string();
        Self::parse(&Bytes::new(Map::open(path)?), &shown)
    }

    /// Reads a file's bytes; `place` names it in errors. Hessians stay where they are.
    pub(super) fn parse(file: &Bytes, place: &str) -> Result<Self> {
        let header = Header::parse(file).map_err(|why| {
            Error::input(place, why.to_string(), "give a file of `quantize calibrate`")
        })?;
        let broken = |found: String| Error::input(place, found, "calibrate again");
        let head = header.metadata.get(KEY).ok_or_else(|| {
            let found = format!("its metadata have no `{KEY}`");
            Error::input(place, found, "give a file of `quantize calibrate`")
        })?;
        #[derive(Deserialize)]
        struct Form {
            form: u32,
        }
        let form: Form = serde_json::from_str(head)
            .map_err(|why| broken(format!("`{KEY}` is no JSON object with a form: {why}")))?;
        if !(1..=FORM).contains(&form.form) {
            let found = format!("its form is {}, and this program reads 1 to {FORM}", form.form);
            return Err(Error::input(place, found, "use the version that wrote it"));
        }
        let head: Head =
            serde_json::from_str(head).map_err(|why| broken(format!("`{KEY}`: {why}")))?;
        if super::calibration::samples(&head.data).is_none() {
            return Err(broken("its data have too many samples".into()));
        }
        let start = header.data_start as usize;
        let mut tensors = BTreeMap::new();
        for safetensors::Entry { name, dtype, shape, data_offsets } in &header.tensors {
            // The header was held against the file's length.
            let range = start + data_offsets.start as usize..start + data_offsets.end as usize;
            let bytes = file.slice(range).ok_or_else(|| broken(format!("`{name}` is cut off")))?;
            tensors.insert(name.as_str(), Tensor { dtype: *dtype, shape, bytes });
        }
        let mut values = BTreeMap::new();
        for (name, about) in head.values {
            let mut take = |word: &str| tensors.remove(format!("{name}.{word}").as_str());
            let statistics = statistics(&about, &mut take)
                .map_err(|found| broken(format!("value `{name}`: {found}")))?;
            let about_hessians = about.hessians.into_iter().enumerate();
            let hessians = about_hessians
                .map(|(i, of)| hessian(of, about.axis, &statistics, take(&word_of(i))))
                .collect::<std::result::Result<_, _>>()
                .map_err(|found| broken(format!("value `{name}`: {found}")))?;
            let About { made_by, read_by, axis, .. } = about;
            values.insert(name, Entry { made_by, read_by, axis, statistics, hessians });
        }
        if let Some(name) = tensors.keys().next() {
            return Err(broken(format!("tensor `{name}` belongs to no value")));
        }
        Ok(Self { model: head.model, data: head.data, values })
    }
}

/// A tensor of the file.
struct Tensor<'f> {
    dtype: Dtype,
    shape: &'f [usize],
    /// As many as type and shape say.
    bytes: Bytes,
}

/// The counts of one value, checked.
fn statistics<'f>(
    about: &About,
    take: &mut dyn FnMut(&str) -> Option<Tensor<'f>>,
) -> std::result::Result<Statistics, String> {
    let mut typed = |word: &str, dtype: Dtype| match take(word) {
        Some(tensor) if tensor.dtype == dtype => Ok(Some(tensor)),
        Some(tensor) => Err(format!("{word} is {:?}, not {dtype:?}", tensor.dtype)),
        None => Ok(None),
    };
    let mut needed = |word: &str, dtype| typed(word, dtype)?.ok_or(format!("{word} is missing"));
    let (codes, counts) = (needed("codes", Dtype::U16)?, needed("counts", Dtype::U64)?);
    let extremes = needed("extremes", Dtype::U64)?;
    let (sums, squares) = (typed("sums", Dtype::U64)?, typed("squares", Dtype::U64)?);
    if codes.shape.len() != 1 || codes.shape != counts.shape {
        return Err(format!("codes {:?} beside counts {:?}", codes.shape, counts.shape));
    }
    let mut kept: Vec<(u16, u64)> = Vec::new();
    let mut total = 0u64;
    let pairs = codes.bytes.as_chunks().0.iter().zip(counts.bytes.as_chunks().0);
    for (&code, &count) in pairs {
        let (code, count) = (u16::from_le_bytes(code), u64::from_le_bytes(count));
        let is_new = kept.last().is_none_or(|(last, _)| *last < code);
        if !is_new || tally::canonical(f16::from_bits(code)) != code || count == 0 {
            return Err(format!("code {code:#06x}, counted {count} times, is out of place"));
        }
        total = total.checked_add(count).filter(|&total| total <= MOST).ok_or("too many counts")?;
        kept.push((code, count));
    }
    if extremes.shape != [2, 2] {
        return Err(format!("extremes {:?}, not [2, 2]", extremes.shape));
    }
    let &[minima, maxima] = &wide(&extremes.bytes)[..] else {
        return Err("extremes of another length".into());
    };
    let (minima, maxima) = (minima as i128, maxima as i128);
    let finite = kept.iter().map(|(bits, _)| *bits).filter(|bits| tally::is_finite(*bits));
    let finite = finite.map(tally::units);
    let (low, high) = (finite.clone().min(), finite.max());
    let (low, high) = (i128::from(low.unwrap_or(0)), i128::from(high.unwrap_or(0)));
    let samples = i128::from(about.samples);
    // No more than 2⁵⁶ samples, each of 2⁴⁰ at the most: nothing overflows.
    let sound = about.samples <= total
        && low * samples <= minima
        && minima <= maxima
        && maxima <= high * samples;
    if !sound {
        return Err("its samples' extremes are none of these numbers".into());
    }
    let squares = match (squares, about.axis) {
        (None, _) => Vec::new(),
        (Some(of), Some(_)) if matches!(of.shape, [_, 2]) && !of.bytes.is_empty() => {
            wide(&of.bytes)
        }
        (Some(of), axis) => {
            return Err(format!("squares {:?} along {axis:?}", of.shape));
        }
    };
    let sums: Vec<i128> = match sums {
        None => Vec::new(),
        Some(of) if of.shape == [squares.len(), 2] => {
            wide(&of.bytes).into_iter().map(|sum| sum as i128).collect()
        }
        Some(of) => return Err(format!("sums {:?} beside {} squares", of.shape, squares.len())),
    };
    // Of no more than 2⁵⁶ numbers of 2⁴⁰ at the most.
    let ends = low.min(0) * i128::from(total)..=high.max(0) * i128::from(total);
    if !sums.iter().all(|sum| ends.contains(sum)) {
        return Err("the sum of a column is none of these numbers".into());
    }
    Ok(Statistics { counts: kept, samples: about.samples, minima, maxima, sums, squares })
}

/// What a value's Hessian of this number is called.
fn word_of(number: usize) -> String {
    if number == 0 { "hessian".into() } else { format!("hessian.{number}") }
}

/// A Hessian of a value, checked.
fn hessian(
    about: AboutHessian,
    axis: Option<usize>,
    statistics: &Statistics,
    tensor: Option<Tensor<'_>>,
) -> std::result::Result<Hessian, String> {
    let AboutHessian { columns, window } = about;
    if axis.is_none() || !(1..=MOST_COLUMNS).contains(&columns) {
        return Err(format!("a Hessian of {columns} columns along {axis:?}"));
    }
    if !window.as_ref().is_none_or(Window::is_sound) {
        return Err("a Hessian whose window is none".into());
    }
    let Tensor { dtype, shape, bytes } = tensor.ok_or("a Hessian is missing")?;
    let groups = window.as_ref().map_or(1, |window| window.groups);
    let hessian = Hessian { window, columns, groups, sums: bytes };
    if dtype != Dtype::U64 || shape != hessian.shape() {
        return Err(format!("a Hessian is {dtype:?} {shape:?}, not U64 {:?}", hessian.shape()));
    }
    let diagonal = (0..groups).flat_map(|group| hessian.diagonal(group));
    let same = match &hessian.window {
        None => diagonal.eq(statistics.squares.iter().map(|&sum| sum as i128)),
        Some(_) => diagonal.into_iter().all(|sum| sum >= 0),
    };
    if !same {
        return Err("a Hessian's diagonal is not the sum of its squares".into());
    }
    Ok(hessian)
}

/// Numbers of 16 bytes as U64 pairs hold them.
fn halves(numbers: &[u128]) -> Vec<u8> {
    numbers.iter().flat_map(|n| n.to_le_bytes()).collect()
}

/// The same back.
fn wide(bytes: &[u8]) -> Vec<u128> {
    bytes.as_chunks().0.iter().map(|chunk| u128::from_le_bytes(*chunk)).collect()
}
