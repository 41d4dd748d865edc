//! What quantized weights stand for, as their checkpoint would hold it: its names, its shapes.
//!
//! A program that loads the checkpoint loads this file in its place, and computes what the package
//! computes. Where the package wants tensors that the checkpoint holds otherwise:
//!
//! | in the package | in this file |
//! |---|---|
//! | transposed | transposed back |
//! | a convolution with the norm behind it folded in | the folded weight under the convolution's name, and a norm that adds what is left as its bias: gain 1, mean 0, variance 1 − ε |
//!
//! What is transposed back stands in a file without a name until the run has written all of it:
//! writing its columns as they come would take a write for each.

use super::files::Files;
use super::output::OutputFile;
use super::sink::{Content, Sink};
use crate::formats::safetensors::{Dtype, Layout};
use crate::graph::weight::Bytes;
use crate::plan::{Output, Plan};
use crate::scheme::{Float, Scheme};
use crate::source::Source;
use crate::tensor::transposed;
use crate::{Error, Result};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Rows of a transpose that are made at once: as many streams as a core's cache follows.
const ROWS: usize = 32;

/// Matrices that are to be transposed back.
#[derive(Debug)]
pub(super) struct Turned {
    /// The file that holds them as they are computed, and the one that wants them turned.
    from: usize,
    to: usize,
    matrices: Vec<Matrix>,
}

#[derive(Debug)]
struct Matrix {
    /// Its shape as it is computed.
    shape: [usize; 2],
    /// Bytes of an element.
    size: usize,
    from: u64,
    to: u64,
}

/// Adds `STEM.dequantized.safetensors`.
///
/// # Errors
/// As [`Layout::new`].
pub(super) fn add(files: &mut Files, stem: &str, source: &Source, plan: &Plan) -> Result<()> {
    let mut tensors = Vec::new();
    let mut contents = Vec::new();
    let mut turned = Vec::new();
    let mut end = 0;
    for (planned, tensor) in plan.tensors.iter().zip(source.tensors()) {
        let (dtype, size, content) = match planned.scheme {
            None => (tensor.dtype, 0, Content::Raw),
            Some(Scheme::Float(Float::F32)) => (Dtype::F32, 4, Content::Values(Float::F32)),
            Some(Scheme::Float(Float::F16) | Scheme::Linear(_) | Scheme::Palette(_)) => {
                (Dtype::F16, 2, Content::Values(Float::F16))
            }
        };
        let mut shape = planned.shape.clone();
        let mut scratch = None;
        if tensor.is_turned() {
            let [rows, cols] = shape[..] else {
                return Err(Error::bug(&planned.name, "a transposed tensor is no matrix"));
            };
            turned.push((tensors.len(), Matrix { shape: [rows, cols], size, from: end, to: 0 }));
            scratch = Some(end);
            end += (rows * cols * size) as u64;
            shape.reverse();
        }
        tensors.push((tensor.stored_name().to_owned(), dtype, shape));
        contents.push((content, scratch));
    }
    let neutral = source.tensors().iter().flat_map(|tensor| {
        let channels = tensor.elements() as usize;
        tensor.neutral().into_iter().map(move |(name, value)| (name, channels, value))
    });
    let neutral: Vec<(&str, usize, f32)> = neutral.collect();
    tensors.extend(neutral.iter().map(|(name, n, _)| ((*name).to_owned(), Dtype::F32, vec![*n])));
    let metadata = BTreeMap::from([("format".to_string(), "pt".to_string())]);
    let layout = Layout::new(&tensors, &metadata)?;
    let mut prelude: Vec<(u64, Bytes)> = vec![(0, layout.header.into())];
    let (own, others) = layout.offsets.split_at(contents.len());
    for (&(_, channels, value), &offset) in neutral.iter().zip(others) {
        prelude.push((offset, value.to_le_bytes().repeat(channels).into()));
    }
    let path = format!("{stem}.dequantized.safetensors");
    let to = files.add(Output::Dense, path, layout.file_len, prelude);
    // Without an element there is nothing to turn, nor to map.
    let from = match end {
        0 => None,
        _ => Some(files.add_unnamed(Output::Dense, end)),
    };
    for ((sinks, &(content, scratch)), &offset) in files.sinks.iter_mut().zip(&contents).zip(own) {
        sinks.push(match (scratch, from) {
            (Some(offset), Some(file)) => Sink { file, offset, content },
            _ => Sink { file: to, offset, content },
        });
    }
    if let Some(from) = from {
        let place = |(i, matrix)| Matrix { to: own[i], ..matrix };
        let matrices = turned.into_iter().map(place).collect();
        files.turned = Some(Turned { from, to, matrices });
    }
    Ok(())
}

impl Turned {
    /// Transposes all back.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn write(&self, files: &[OutputFile]) -> Result<()> {
        let all = files[self.from].map()?;
        for &Matrix { shape: [rows, cols], size, from, to } in &self.matrices {
            let range = from as usize..from as usize + rows * cols * size;
            let stored = &all.bytes()[range.clone()];
            (0..cols.div_ceil(ROWS)).into_par_iter().try_for_each(|block| {
                let wanted = block * ROWS..cols.min((block + 1) * ROWS);
                let at = to + (wanted.start * rows * size) as u64;
                let bytes = match size {
                    2 => transposed::<2>(stored, cols, wanted),
                    _ => transposed::<4>(stored, cols, wanted),
                };
                files[self.to].write_at(&bytes, at)
            })?;
            all.done(range);
        }
        Ok(())
    }
}
