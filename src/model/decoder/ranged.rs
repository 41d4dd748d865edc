//! One function for any number of tokens over states, without a position: shapes say it, as Hugging
//! Face's Swift runtime feeds decoders (swift-transformers, `Sources/Models/LanguageModel.swift`).
//!
//! | feature | type |
//! |---|---|
//! | input ids | int32 `[1, T]` |
//! | input mask | `[1, 1, T, end]`, or one row `[1, 1, 1, end]` for all |
//! | states | keys and values `[layers, 1, K, context, D]` |
//!
//! Keys and values are written at rows `end − T..end` of the cache. Two things that a mask can say the
//! graph says too, because that runtime's masks are one row of zeros: no token sees a later one, and
//! nobody sees a row that was never written. There is one: the runtime counts `end` from 1 on, so that
//! a text begins at row 1. Row 0 then holds zeros, by which the graph knows it; positions are counted
//! without it, and logits are those of the same text from row 0 on.

use super::Decoder;
use super::build::Options;
use super::cache::{Cache, Rows};
use super::feed::{Feed, Grid, Length, Span, hide};
use crate::Result;
use crate::graph::{DataType, Dim, SizeRange, Sizes, TensorType, ValueId};
use crate::model::blocks::{Around, Memory};
use crate::model::emit::Emitter;

/// The inputs of such a function beside its ids, and what follows from them.
pub(super) fn feed(
    e: &mut Emitter<'_>,
    decoder: &Decoder,
    options: &Options,
    ids: ValueId,
) -> Result<Feed> {
    let given = mask(e, options)?;
    let count = e.dimension("tokens", ids, 1)?;
    let end = e.dimension("mask", given, 3)?;
    let begin = e.op("sub", "first_row", &[("x", end), ("y", count)])?;
    let rows = Rows::Ranged { begin, end };
    let cache = Cache::new(e, decoder, options, rows)?;
    let unwritten = unwritten(e, &cache, begin)?;
    let position = e.op("sub", "position", &[("x", begin), ("y", unwritten)])?;

    let zero = e.ints(&[0])?;
    let columns = e.range("cache_positions", zero, end)?;
    let rows = e.range("token_positions", begin, end)?;
    let grid = Grid::new(e, rows, columns)?;
    let later = e.op("greater", "later", &[("x", grid.columns), ("y", grid.rows)])?;
    let later = hide(e, "causal", later)?;
    let empty = e.op("less", "never_written", &[("x", grid.columns), ("y", unwritten)])?;
    let empty = hide(e, "written", empty)?;
    let own = e.op("minimum", "own_mask", &[("x", later), ("y", empty)])?;
    let mask = e.op("minimum", "mask", &[("x", own), ("y", given)])?;
    let around = Around { masks: [(None, mask)].into(), ..Around::default() };
    let span = Span { begin: position, length: Length::Counted(count) };
    let memory: Option<Box<dyn Memory>> = Some(Box::new(cache));
    Ok(Feed { given: ids, last: None, span: Some(span), grid: Some(grid), around, memory })
}

/// The input that is added to scores.
fn mask(e: &mut Emitter<'_>, options: &Options) -> Result<ValueId> {
    let dims = vec![Dim::Fixed(1), Dim::Fixed(1), Dim::Flexible, Dim::Flexible];
    let range = |low, default, high| SizeRange { low, default, high };
    let (one, any) = (range(1, 1, 1), range(1, options.context.min(64), options.context));
    let sizes = Sizes::Ranges(vec![one, one, any, any]);
    let about = "what is added to attention scores; as many columns as tokens stand in the cache behind \
                 this step";
    e.input(options.names.mask, TensorType::new(e.float(), dims), sizes, about)
}

/// 1 where a text began behind row 0, which holds zeros then; else 0; INT32 `[1]`.
fn unwritten(e: &mut Emitter<'_>, cache: &Cache, begin: ValueId) -> Result<ValueId> {
    let keys = cache.first_row(e)?;
    let size = e.op("abs", "first_keys_size", &[("x", keys)])?;
    let (axes, kept) = (e.ints(&[0, 1, 2, 3, 4])?, e.flag(true)?);
    let arguments = [("x", size), ("axes", axes), ("keep_dims", kept)];
    let most = e.op("reduce_max", "first_keys_most", &arguments)?;
    let most = e.reshape("first_keys_largest", most, &[1])?;
    let none = e.number(0.0)?;
    let is_zero = e.op("equal", "first_keys_zero", &[("x", most), ("y", none)])?;
    let is_zero = e.cast("first_keys_are_zero", is_zero, DataType::Int32)?;
    // In a step that begins at row 0, it is about to be written.
    let one = e.ints(&[1])?;
    let behind = e.op("minimum", "behind_first", &[("x", begin), ("y", one)])?;
    e.mul("unwritten", behind, is_zero)
}
