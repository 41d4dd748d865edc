//! Where a function's ids, positions, masks and cached keys come from.
//!
//! | form | tokens T | position | mask | cache |
//! |---|---|---|---|---|
//! | whole | 1 to the context | 0 | made from T | none |
//! | step | fixed | input `position` | input `[1, 1, T, context]` | two states `[layers, 1, K, context, D]` |
//! | ranged | 1 to the context | from shapes | input `[1, 1, T, end]` | two states: `ranged` |
//! | hosted | fixed | none | inputs | states or inputs: [`ane`] |
//!
//! A step writes its keys and values at rows `position..position + T` of the cache. Rows behind the
//! real tokens of a padded step are written too, hidden by the mask, and overwritten by the next step;
//! those that would lie beyond the context are dropped. Of its logits the caller may want one row's.

use super::build::{Names, Options};
use super::cache::{Cache, Rows};
use super::chunk::Part;
use super::{Decoder, ane, ranged};
use crate::graph::{DataType, Dim, SizeRange, Sizes, TensorType, ValueId};
use crate::model::blocks::{Angles, Around, MASKED, Memory};
use crate::model::emit::{Emitter, Style};
use crate::target::Target;
use crate::{Error, Result};

/// How many tokens a function takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tokens {
    /// So many.
    Fixed(usize),
    /// Any number up to the context.
    Any,
}

/// What a function takes, and what follows from that alone.
#[derive(Debug)]
pub(super) struct Feed {
    /// Ids `[1, T]`; hidden values `[1, T, coordinates]`, where another package made them.
    pub(super) given: ValueId,
    /// Which row's logits are wanted, where that is not every one's.
    pub(super) last: Option<ValueId>,
    pub(super) span: Option<Span>,
    /// Where the number of tokens is not fixed.
    pub(super) grid: Option<Grid>,
    pub(super) around: Around,
    pub(super) memory: Option<Box<dyn Memory>>,
}

/// The positions of the tokens; the first is an INT32 `[1]` value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) begin: ValueId,
    pub(super) length: Length,
}

/// How many tokens these are.
#[derive(Clone, Copy, Debug)]
pub(super) enum Length {
    /// So many.
    Fixed(usize),
    /// Those up to this position, which the last is before: INT32 `[1]`.
    UpTo(ValueId),
    /// So many: INT32 `[1]`.
    Counted(ValueId),
}

/// Rows and columns of scores as positions in the cache: `[1, 1, T, 1]` and `[1, 1, 1, S]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Grid {
    pub(super) rows: ValueId,
    pub(super) columns: ValueId,
}

impl Grid {
    /// Of two INT32 vectors.
    pub(super) fn new(e: &mut Emitter<'_>, rows: ValueId, columns: ValueId) -> Result<Self> {
        let rows = e.reshape("token_positions_down", rows, &[1, 1, -1, 1])?;
        let columns = e.reshape("cache_positions_across", columns, &[1, 1, 1, -1])?;
        Ok(Self { rows, columns })
    }
}

impl Feed {
    /// The inputs of a function, and what follows from them alone.
    pub(super) fn new(
        e: &mut Emitter<'_>,
        part: &Part,
        options: &Options,
        tokens: Tokens,
    ) -> Result<Self> {
        let decoder = &part.decoder;
        let given = given(e, part, options, tokens)?;
        let mut feed = match (tokens, options.style) {
            (Tokens::Fixed(count), Style::Ane) => {
                let feed = Self::hosted(e, decoder, options, given, count)?;
                return feed.with_last(e, part, options, count);
            }
            (Tokens::Fixed(count), Style::Gpu) => {
                Self::step(e, decoder, options, given, count)?.with_last(e, part, options, count)?
            }
            (Tokens::Any, _) if options.kv.is_some() => ranged::feed(e, decoder, options, given)?,
            (Tokens::Any, _) => Self::whole(e, given)?,
        };
        let rows = match tokens {
            // A padded step may reach beyond the context.
            Tokens::Fixed(_) => options.context + options.prefill_chunk,
            Tokens::Any => options.context,
        };
        for (kind, rope) in decoder.turned() {
            let pairs = rope.frequencies.len();
            let shape = [rows, pairs];
            let suffix = if kind == 0 { String::new() } else { format!("_{kind}") };
            let cos = e.table(&format!("rope_cos{suffix}"), &shape, || rope.tables(rows).0)?;
            let sin = e.table(&format!("rope_sin{suffix}"), &shape, || rope.tables(rows).1)?;
            let cos = feed.rows(e, "cos", cos, pairs)?;
            let sin = feed.rows(e, "sin", sin, pairs)?;
            feed.around.angles.insert(kind, Angles { cos, sin, pairs });
        }
        feed.around.fused = options.target >= Target::Ios18;
        for window in decoder.layers.iter().filter_map(|layer| layer.attention.window) {
            feed.add_window(e, window, options.context)?;
        }
        Ok(feed)
    }

    /// All tokens of a text at once.
    fn whole(e: &mut Emitter<'_>, given: ValueId) -> Result<Self> {
        let end = e.dimension("tokens", given, 1)?;
        let begin = e.ints(&[0])?;
        let rows = e.range("rows", begin, end)?;
        let grid = Grid::new(e, rows, rows)?;
        let later = e.op("greater", "later", &[("x", grid.columns), ("y", grid.rows)])?;
        let mask = hide(e, "causal", later)?;
        let span = Some(Span { begin, length: Length::UpTo(end) });
        let around = Around { masks: [(None, mask)].into(), ..Around::default() };
        Ok(Self { given, last: None, span, grid: Some(grid), around, memory: None })
    }

    /// Some tokens behind those in the cache.
    fn step(
        e: &mut Emitter<'_>,
        decoder: &Decoder,
        options: &Options,
        given: ValueId,
        count: usize,
    ) -> Result<Self> {
        let (names, context) = (options.names, options.context);
        let begin = position(e, names)?;
        let ty = TensorType::fixed(e.float(), &[1, 1, count, context]);
        let about = "what is added to attention scores: 0 where a token may look, -30000 where not";
        let mask = e.input(names.mask, ty, Sizes::Fixed, about)?;
        let cache = Cache::new(e, decoder, options, Rows::Fixed { begin, count })?;
        let span = Some(Span { begin, length: Length::Fixed(count) });
        let around =
            Around { masks: [(None, mask)].into(), one_row: count == 1, ..Around::default() };
        let memory: Option<Box<dyn Memory>> = Some(Box::new(cache));
        Ok(Self { given, last: None, span, grid: None, around, memory })
    }

    /// Some tokens, with all that follows from their positions as inputs.
    fn hosted(
        e: &mut Emitter<'_>,
        decoder: &Decoder,
        options: &Options,
        given: ValueId,
        count: usize,
    ) -> Result<Self> {
        // Learned positions are rows of a table, as embeddings are, and are read beside them.
        let begin = decoder.positions.map(|_| position(e, options.names)).transpose()?;
        let span = begin.map(|begin| Span { begin, length: Length::Fixed(count) });
        let (around, banks) = ane::inputs(e, decoder, options, count)?;
        let memory: Option<Box<dyn Memory>> = Some(Box::new(banks));
        Ok(Self { given, last: None, span, grid: None, around, memory })
    }

    /// The same with an input that says whose logits are wanted: the index of a row, or, for the Neural
    /// Engine, a one-hot row, since an index would be an integer operation before the head.
    fn with_last(
        self,
        e: &mut Emitter<'_>,
        part: &Part,
        options: &Options,
        count: usize,
    ) -> Result<Self> {
        if !options.last_row || !part.is_last || count == 1 {
            return Ok(self);
        }
        let (ty, about) = match options.style {
            Style::Gpu => (
                TensorType::fixed(DataType::Int32, &[1]),
                "the row whose logits are returned: that of the last token that is no padding",
            ),
            Style::Ane => (
                TensorType::fixed(e.float(), &[1, 1, 1, count]),
                "1 in the column of the row whose logits are returned, 0 in the others",
            ),
        };
        let last = e.input(options.names.last, ty, Sizes::Fixed, about)?;
        Ok(Self { last: Some(last), ..self })
    }

    fn span(&self) -> Result<Span> {
        self.span.ok_or_else(|| Error::bug("a function", "without positions"))
    }

    /// The rows of a table `[rows, width]` for the tokens' positions.
    pub(super) fn rows(
        &self,
        e: &mut Emitter<'_>,
        name: &str,
        table: ValueId,
        width: usize,
    ) -> Result<ValueId> {
        let span = self.span()?;
        let (zero, across) = (e.ints(&[0])?, e.ints(&[width as i32])?);
        let begin = e.concat(&format!("{name}_begin"), &[span.begin, zero], 0)?;
        let size = match span.length {
            Length::Fixed(count) => e.ints(&[count as i32, width as i32])?,
            Length::Counted(count) => e.concat(&format!("{name}_size"), &[count, across], 0)?,
            Length::UpTo(end) => {
                let end = e.concat(&format!("{name}_end"), &[end, across], 0)?;
                let arguments = [("x", table), ("begin", begin), ("end", end)];
                return e.op("slice_by_index", name, &arguments);
            }
        };
        e.op("slice_by_size", name, &[("x", table), ("begin", begin), ("size", size)])
    }

    /// The same of a table that ends with the context: padded tokens behind it get the last row.
    pub(super) fn rows_within(
        &self,
        e: &mut Emitter<'_>,
        name: &str,
        table: ValueId,
        [rows, width]: [usize; 2],
    ) -> Result<ValueId> {
        let Length::Fixed(count @ 2..) = self.span()?.length else {
            return self.rows(e, name, table, width);
        };
        let offsets: Vec<i32> = (0..count as i32).collect();
        let (offsets, last) = (e.ints(&offsets)?, e.ints(&[rows as i32 - 1])?);
        let at = e.add(&format!("{name}_wanted"), offsets, self.span()?.begin)?;
        let at = e.op("minimum", &format!("{name}_within"), &[("x", at), ("y", last)])?;
        e.gather(name, table, at)
    }

    /// The positions of the tokens beside those of all rows of the cache.
    fn grid(&self, e: &mut Emitter<'_>, context: usize) -> Result<Grid> {
        let span = self.span()?;
        let (None, Length::Fixed(count)) = (self.grid, span.length) else {
            return self.grid.ok_or_else(|| Error::bug("a window", "any tokens without a grid"));
        };
        let offsets: Vec<i32> = (0..count as i32).collect();
        let offsets = e.ints(&offsets)?;
        let rows = e.add("token_positions", offsets, span.begin)?;
        let columns: Vec<i32> = (0..context as i32).collect();
        let columns = e.ints(&columns)?;
        Grid::new(e, rows, columns)
    }

    /// A mask that also hides what lies `window` positions back or more.
    fn add_window(&mut self, e: &mut Emitter<'_>, window: usize, context: usize) -> Result<()> {
        if self.around.masks.contains_key(&Some(window)) {
            return Ok(());
        }
        let full = self.around.masks[&None];
        if window >= context {
            self.around.masks.insert(Some(window), full);
            return Ok(());
        }
        let Grid { rows, columns } = self.grid(e, context)?;
        let back = e.op("sub", "distance", &[("x", rows), ("y", columns)])?;
        let limit = e.int(window as i32)?;
        let far = e.op("greater_equal", "beyond_window", &[("x", back), ("y", limit)])?;
        let hidden = hide(e, "hidden_by_window", far)?;
        let name = format!("mask_window_{window}");
        let mask = e.op("minimum", &name, &[("x", full), ("y", hidden)])?;
        self.around.masks.insert(Some(window), mask);
        Ok(())
    }
}

/// What is added to scores where these flags are set: [`MASKED`], and 0 elsewhere. (coremltools infers
/// a scalar where `select` chooses between scalars, so numbers are multiplied instead.)
pub(super) fn hide(e: &mut Emitter<'_>, name: &str, flags: ValueId) -> Result<ValueId> {
    let float = e.float();
    let ones = e.cast(&format!("{name}_ones"), flags, float)?;
    let masked = e.number(MASKED)?;
    e.mul(name, ones, masked)
}

fn position(e: &mut Emitter<'_>, names: Names) -> Result<ValueId> {
    let name = names.position.ok_or_else(|| Error::bug("a step", "without a position"))?;
    let ty = TensorType::fixed(DataType::Int32, &[1]);
    let about = "how many tokens stand in the cache: the position of the first one given";
    e.input(name, ty, Sizes::Fixed, about)
}

/// The input of the tokens themselves.
fn given(e: &mut Emitter<'_>, part: &Part, options: &Options, tokens: Tokens) -> Result<ValueId> {
    let (names, context) = (options.names, options.context);
    let (name, dtype, width, about) = match part.is_first {
        true => (names.ids, DataType::Int32, None, "token ids"),
        false => {
            let about = "what the package before made of the tokens, [1, T, coordinates]";
            (names.hidden, e.float(), Some(part.decoder.hidden), about)
        }
    };
    let count = match tokens {
        Tokens::Fixed(count) => Dim::Fixed(count),
        Tokens::Any => Dim::Flexible,
    };
    let dims = [Dim::Fixed(1), count].into_iter().chain(width.map(Dim::Fixed)).collect();
    let sizes = match tokens {
        Tokens::Fixed(_) => Sizes::Fixed,
        Tokens::Any => {
            let range = |low, default, high| SizeRange { low, default, high };
            let count = range(1, context.min(64), context);
            let width = width.map(|width| range(width, width, width));
            Sizes::Ranges([range(1, 1, 1), count].into_iter().chain(width).collect())
        }
    };
    e.input(name, TensorType::new(dtype, dims), sizes, about)
}
