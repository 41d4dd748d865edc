//! The run: every tensor is read, quantized and measured once, and handed to every sink.

use super::bytes::{self, param_bytes, transposed_bytes};
use super::files;
use super::inputs::Known;
use super::output::OutputFile;
use super::sink::{Content, Sink};
use super::window::{self, Extent, Rows};
use super::{InputHash, Progress};
use crate::layout::{self, Lanes};
use crate::metrics::Stats;
use crate::plan::PlannedTensor;
use crate::quantize::{self, ClipCurve, Encoded, Guide, Params, Quantizer};
use crate::scheme::{Clip, Float, Scheme};
use crate::source::Source;
use crate::tensor::Weights;
use crate::{Error, Result};
use half::f16;
use rayon::prelude::*;
use std::ops::Range;

/// What is done with one tensor.
#[derive(Clone, Copy, Debug)]
pub(super) enum Task<'a> {
    /// Codes are made.
    Quantize(Weights<'a>, Scheme),
    /// Values are stored in a floating-point type; `keep` lets NaN and infinity through.
    Convert { weights: Weights<'a>, to: Float, keep: bool },
    /// Bytes are copied.
    Copy(&'a [u8]),
}

/// One tensor's work.
#[derive(Debug)]
pub(super) struct Tensor<'a> {
    /// What is done.
    pub(super) task: Task<'a>,
    /// The shape of that work.
    pub(super) extent: Extent,
    /// The matrix `[rows, cols]` of its codes: a vector palette has fewer of either than weights.
    pub(super) codes: [usize; 2],
    /// Where it goes.
    pub(super) sinks: Vec<Sink>,
    /// Whether its parameters are wanted after the run as well.
    pub(super) keep_params: bool,
    /// What guides its codes.
    pub(super) known: &'a Known,
}

impl Tensor<'_> {
    /// Rows of codes in the first `rows` of `all` rows of weights.
    fn code_rows(&self, rows: usize, all: usize) -> usize {
        rows * self.codes[0] / all.max(1)
    }
}

/// What came of one tensor.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Errors of a quantized tensor.
    pub(super) stats: Option<Stats>,
    /// Error against range, for linear codes.
    pub(super) curve: Option<ClipCurve>,
    /// Its parameters, where they were wanted.
    pub(super) params: Option<Params>,
    /// What rounding takes from its outputs on average, row by row, where its mean input is known.
    pub(super) shift: Vec<f64>,
}

/// What came of one piece of a quantized tensor.
struct Done {
    tensor: usize,
    encoded: Encoded,
    shift: Vec<f64>,
}

/// A tensor that some of the windows so far have begun.
struct Active<'a> {
    quantizer: Option<Quantizer<'a>>,
    /// Parameters of the rows so far, behind those that all rows share.
    params: Params,
    outcome: Outcome,
}

/// One piece's codes, and their place in the window's buffer.
struct Piece<'b> {
    tensor: usize,
    rows: Range<usize>,
    codes: &'b mut [u8],
}

/// What a run works on.
pub(super) struct Work<'w, 'a> {
    /// The input.
    pub(super) source: &'a Source,
    /// What is done with each of its tensors.
    pub(super) tensors: &'w [Tensor<'a>],
    /// The files that their sinks name.
    pub(super) files: &'w [OutputFile],
    /// How ranges of linear codes are chosen.
    pub(super) clip: Clip,
    /// Elements of a window.
    pub(super) window: usize,
}

/// Buffers of one thread, reused from piece to piece.
#[derive(Default)]
struct Scratch {
    bytes: Vec<u8>,
    values: Vec<f16>,
}

/// Does the work: tells `progress` of input bytes, `hashes` of input that was read, and, after each
/// window, `finished` of the tensors that are done with.
///
/// # Errors
/// Of the first window that has one, whatever thread met it: the first tensor whose quantizer cannot
/// be prepared, else the first piece that cannot be encoded.
pub(super) fn run<'a>(
    work: &Work<'_, 'a>,
    hashes: &mut InputHash<'a>,
    progress: &dyn Progress,
    finished: &dyn Fn(Range<usize>),
) -> Result<Vec<Outcome>> {
    let &Work { source, tensors, files, clip, window } = work;
    let extents: Vec<Extent> = tensors.iter().map(|tensor| tensor.extent).collect();
    let mut active: Vec<Option<Active<'a>>> = (0..tensors.len()).map(|_| None).collect();
    let mut outcomes: Vec<Outcome> = Vec::new();
    let mut codes = Vec::new();
    for window in window::windows(&extents, window) {
        let begun = begin(&window, tensors, clip, &mut active)?;
        let last = window.last().expect("a window is never empty");
        let whole = last.rows.end == extents[last.tensor].rows;
        let read = whole.then(|| &source.tensors()[last.tensor]);
        let (encoded, (curves, ())) = rayon::join(
            || encode(&window, tensors, &extents, &active, files, &mut codes, progress),
            || {
                rayon::join(
                    || clip_curves(&begun, &active),
                    || read.into_iter().for_each(|t| hashes.advance((t.file, t.range.end))),
                )
            },
        );
        for (tensor, curve) in begun.into_iter().zip(curves) {
            active[tensor].as_mut().expect("begun above").outcome.curve = curve;
        }
        for Done { tensor, encoded, shift } in encoded? {
            let active = active[tensor].as_mut().expect("begun above");
            active.params.append(&encoded.params);
            active.outcome.stats.get_or_insert_default().merge(&encoded.stats);
            active.outcome.shift.extend(shift);
        }
        write_lanes(&window, tensors, &extents, files, &codes)?;
        let first = outcomes.len();
        for rows in &window {
            if rows.rows.end == extents[rows.tensor].rows {
                let mut done = active[rows.tensor].take().expect("begun above");
                write_params(&tensors[rows.tensor], &done.params, files)?;
                done.outcome.params = tensors[rows.tensor].keep_params.then_some(done.params);
                outcomes.push(done.outcome);
            }
        }
        finished(first..outcomes.len());
    }
    hashes.finish();
    Ok(outcomes)
}

/// The extent of a tensor's work. Rows are those of the weight where codes are made; values that
/// are converted and bytes that are copied are rows of one.
pub(super) fn extent(planned: &PlannedTensor) -> Extent {
    let (rows, cols, granule, rows_per_code) = match planned.scheme {
        Some(scheme @ (Scheme::Linear(_) | Scheme::Palette(_))) => {
            let rows = planned.shape.first().copied().unwrap_or(1);
            let rows_per_code = rows / files::code_matrix(planned)[0].max(1);
            let cols = planned.shape.iter().skip(1).product();
            (rows, cols, quantize::granule_rows(scheme), rows_per_code)
        }
        Some(Scheme::Float(_)) => (planned.elements as usize, 1, 1, 1),
        None => (planned.bytes_before as usize, 1, 1, 1),
    };
    Extent { rows, cols, granule, rows_per_code }
}

/// Prepares the quantizers of the tensors that this window begins, and says which these are.
fn begin<'a>(
    window: &[Rows],
    tensors: &[Tensor<'a>],
    clip: Clip,
    active: &mut [Option<Active<'a>>],
) -> Result<Vec<usize>> {
    let new: Vec<usize> =
        window.iter().map(|r| r.tensor).filter(|&t| active[t].is_none()).collect();
    // One after the other, for they share what is costly, which uses all threads itself.
    let guide = |&t: &usize| match tensors[t].task {
        Task::Quantize(weights, _) => tensors[t].known.guide(weights.name, weights.shape),
        Task::Convert { .. } | Task::Copy(_) => Ok(Guide::default()),
    };
    let guides: Vec<Guide> = new.iter().map(guide).collect::<Result<_>>()?;
    let prepared: Vec<Result<Active<'a>>> = new
        .par_iter()
        .zip(guides)
        .map(|(&t, guide)| {
            let Task::Quantize(weights, scheme) = tensors[t].task else {
                return Ok(Active {
                    quantizer: None,
                    params: Params::default(),
                    outcome: Outcome::default(),
                });
            };
            let quantizer = Quantizer::guided(weights, scheme, clip, guide)?;
            let outcome = Outcome { stats: Some(Stats::default()), ..Outcome::default() };
            Ok(Active { params: quantizer.shared(), quantizer: Some(quantizer), outcome })
        })
        .collect();
    for (&t, prepared) in new.iter().zip(prepared) {
        active[t] = Some(prepared?);
    }
    Ok(new)
}

/// Error against range for each of these tensors.
fn clip_curves(tensors: &[usize], active: &[Option<Active>]) -> Vec<Option<ClipCurve>> {
    let quantizer = |&t: &usize| active[t].as_ref()?.quantizer.as_ref()?.clip_curve();
    tensors.par_iter().map(quantizer).collect()
}

/// Encodes the window's pieces into `codes` and writes all that needs no other piece.
fn encode<'a>(
    window: &[Rows],
    tensors: &[Tensor<'a>],
    extents: &[Extent],
    active: &[Option<Active<'a>>],
    files: &[OutputFile],
    codes: &mut Vec<u8>,
    progress: &dyn Progress,
) -> Result<Vec<Done>> {
    let quantizer = |t: usize| active[t].as_ref().and_then(|a| a.quantizer.as_ref());
    let code_len = |t: usize, rows: usize| quantizer(t).map_or(0, |q| q.code_len(rows));
    let needed: usize = window.iter().map(|r| code_len(r.tensor, r.rows.len())).sum();
    if codes.len() < needed {
        codes.resize(needed, 0);
    }
    let mut rest = &mut codes[..needed];
    let mut pieces = Vec::new();
    for part in window {
        for rows in window::pieces(&part.rows, extents[part.tensor].piece_rows()) {
            let (codes, tail) =
                std::mem::take(&mut rest).split_at_mut(code_len(part.tensor, rows.len()));
            rest = tail;
            pieces.push(Piece { tensor: part.tensor, rows, codes });
        }
    }
    let encoded: Vec<Result<Option<Done>>> = pieces
        .into_par_iter()
        .map_init(Scratch::default, |scratch, piece| {
            let tensor = &tensors[piece.tensor];
            let (t, rows) = (piece.tensor, piece.rows.len());
            let (bytes, outcome) = match tensor.task {
                Task::Quantize(weights, _) => {
                    let quantizer = quantizer(t).expect("begun with the window");
                    let encoded = quantizer.encode(piece.rows.clone(), piece.codes)?;
                    write_codes(tensor, weights, quantizer, &piece, &encoded, files, scratch)?;
                    let shift = match &tensor.known.means {
                        Some(means) => {
                            let (rows, params) = (&piece.rows, &encoded.params);
                            means.shift(weights, quantizer, rows, piece.codes, params)?
                        }
                        None => vec![],
                    };
                    let done = Done { tensor: t, encoded, shift };
                    (rows * weights.cols() * weights.dtype.bytes(), Some(done))
                }
                Task::Convert { weights, to, keep } => {
                    convert(tensor, weights, to, keep, piece.rows, files, scratch)?;
                    (rows * weights.dtype.bytes(), None)
                }
                Task::Copy(bytes) => {
                    for sink in &tensor.sinks {
                        let at = sink.offset + piece.rows.start as u64;
                        files[sink.file].write_at(&bytes[piece.rows.clone()], at)?;
                    }
                    (rows, None)
                }
            };
            progress.advance(bytes as u64);
            Ok(outcome)
        })
        .collect();
    encoded.into_iter().filter_map(Result::transpose).collect()
}

/// Writes one piece's codes to the sinks that take them row by row, and its values to those that
/// want values.
#[allow(clippy::too_many_arguments)] // One call; a struct for it would be named after the call.
fn write_codes(
    tensor: &Tensor,
    weights: Weights,
    quantizer: &Quantizer,
    piece: &Piece,
    encoded: &Encoded,
    files: &[OutputFile],
    scratch: &mut Scratch,
) -> Result<()> {
    for sink in &tensor.sinks {
        match sink.content {
            Content::Codes { bits } => {
                let first = quantizer.code_len(piece.rows.start) as u64;
                let packed = bytes::pack(piece.codes, bits, &mut scratch.bytes)?;
                files[sink.file].write_at(packed, sink.offset + first * u64::from(bits) / 8)?;
            }
            Content::Values(Float::F16) => {
                let first = piece.rows.start * weights.cols();
                scratch.values.resize(piece.rows.len() * weights.cols(), f16::ZERO);
                let params = &encoded.params;
                quantizer.decode(piece.rows.clone(), piece.codes, params, &mut scratch.values)?;
                let bytes = bytes::halves(&scratch.values, &mut scratch.bytes);
                files[sink.file].write_at(bytes, sink.offset + 2 * first as u64)?;
            }
            Content::Lanes(_) | Content::Params { .. } | Content::Transposed { .. } => {}
            Content::Values(Float::F32) | Content::Raw => {
                return Err(Error::bug(weights.name, "a quantized tensor has no such sink"));
            }
        }
    }
    Ok(())
}

/// Converts elements to FP16 or FP32 and writes them.
fn convert(
    tensor: &Tensor,
    weights: Weights,
    to: Float,
    keep: bool,
    elements: Range<usize>,
    files: &[OutputFile],
    scratch: &mut Scratch,
) -> Result<()> {
    let start = elements.start as u64;
    bytes::convert(weights, elements, to, keep, &mut scratch.bytes)?;
    let size = match to {
        Float::F16 => 2,
        Float::F32 => 4,
    };
    for sink in &tensor.sinks {
        if sink.content != Content::Values(to) {
            return Err(Error::bug(weights.name, "a float tensor has only sinks of its type"));
        }
        files[sink.file].write_at(&scratch.bytes, sink.offset + start * size)?;
    }
    Ok(())
}

/// A share of one tensor's lane plane: some of its outermost groups.
struct Strip<'w> {
    sink: Sink,
    lanes: Lanes,
    /// The window's codes of this tensor, `[rows.len(), cols]`.
    codes: &'w [u8],
    /// Which rows of codes these are.
    rows: Range<usize>,
    /// All rows of codes of the tensor, and its columns.
    matrix: [usize; 2],
    groups: Range<usize>,
}

/// Groups of a strip come in multiples of this: fewer would read parts of cache lines.
const TILE: usize = 64;

/// Bytes that a strip aims at.
pub(super) const STRIP: usize = 256 << 10;

/// Writes the window's codes in lane order.
fn write_lanes(
    window: &[Rows],
    tensors: &[Tensor],
    extents: &[Extent],
    files: &[OutputFile],
    codes: &[u8],
) -> Result<()> {
    let mut strips = Vec::new();
    let mut rest = codes;
    for part in window {
        let tensor = &tensors[part.tensor];
        let [start, end] = [part.rows.start, part.rows.end]
            .map(|r| tensor.code_rows(r, extents[part.tensor].rows));
        let cols = tensor.codes[1];
        let codes = rest.split_off(..(end - start) * cols).expect("the window holds its codes");
        for &sink in &tensor.sinks {
            let Content::Lanes(lanes) = sink.content else { continue };
            let shape = lanes.shape(end - start, cols);
            let group: usize = shape[1..].iter().product();
            let step = (STRIP / group.max(1)).next_multiple_of(TILE);
            for groups in window::pieces(&(0..shape[0]), step) {
                let (rows, matrix) = (start..end, tensor.codes);
                strips.push(Strip { sink, lanes, codes, rows, matrix, groups });
            }
        }
    }
    strips
        .into_par_iter()
        .map_init(Vec::new, |buffer, strip| write_strip(&strip, files, buffer))
        .collect()
}

fn write_strip(strip: &Strip, files: &[OutputFile], buffer: &mut Vec<u8>) -> Result<()> {
    let Strip { sink, lanes, codes, rows, matrix: [all, cols], groups } = strip;
    let group: usize = lanes.shape(rows.len(), *cols)[1..].iter().product();
    let before = groups.start * group;
    buffer.resize(groups.len() * group, 0);
    layout::pack_groups(*lanes, codes, rows.len(), *cols, groups.clone(), buffer);
    let file = &files[sink.file];
    if rows.len() == *all {
        return file.write_at(buffer, sink.offset + before as u64);
    }
    // The groups are apart in the plane of all rows, or, where the outermost dimension runs over
    // rows, one run of them.
    for run in layout::runs(*lanes, *all, *cols, rows.clone()) {
        let from = run.band.max(before);
        let to = (run.band + run.len).min(before + buffer.len());
        if from < to {
            let at = sink.offset + (run.plane + from - run.band) as u64;
            file.write_at(&buffer[from - before..to - before], at)?;
        }
    }
    Ok(())
}

/// Writes a finished tensor's parameters.
fn write_params(tensor: &Tensor, params: &Params, files: &[OutputFile]) -> Result<()> {
    for sink in &tensor.sinks {
        let bytes = match sink.content {
            Content::Params { part, bits } => param_bytes(params, part, bits)?,
            Content::Transposed { part, blocks } => transposed_bytes(params, part, blocks)?,
            Content::Codes { .. } | Content::Lanes(_) | Content::Values(_) | Content::Raw => {
                continue;
            }
        };
        files[sink.file].write_at(&bytes, sink.offset)?;
    }
    Ok(())
}
