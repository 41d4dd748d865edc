//! Weights as codes in lane order, and what a code means.

use super::kernel::{Quad, ROWS, SIGNED_UNIT, Simd, Table};

/// Columns of a unit: four quads.
pub(super) const COLUMNS: usize = 16;

/// A matrix of codes: panels of sixteen rows, each a sequence of units of sixteen columns.
///
/// A unit is four quads, each of them sixteen rows by four columns of layout `k4`. Codes of eight bits
/// are stored as they are, so that a panel *is* the `k4` plane of its rows. Of codes of four bits,
/// two quads share 64 bytes, the first in the low halves. Codes of six bits are those of their
/// low four bits, then 64 bytes of crumbs: of the upper two bits of the four quads, from the low
/// end. Missing rows and columns are padded.
#[derive(Debug)]
pub(super) struct Coded {
    /// `[N, K]`.
    pub(super) shape: [usize; 2],
    /// Bits of a stored code: 4, 6 or 8.
    pub(super) bits: usize,
    /// The units.
    pub(super) plane: Vec<u8>,
    /// Units of a segment: a run of columns with the same parameters.
    pub(super) run: usize,
    /// What codes stand for, before offset and scale.
    pub(super) meaning: Meaning,
    /// Subtracted from what codes stand for, `[panels, segments, 16]`.
    pub(super) offset: Option<Vec<i8>>,
    /// What sums are multiplied by, `[panels, segments, 16]`.
    pub(super) scale: Option<Numbers>,
    /// Factors of the columns `[K]`, which activations take over.
    pub(super) columns: Option<Vec<f32>>,
    /// What products of integers need, if they are possible.
    pub(super) integer: Option<Integer>,
}

/// What a code stands for.
#[derive(Debug)]
pub(super) enum Meaning {
    /// Itself, a signed integer of eight bits.
    Itself,
    /// An entry of a table of sixteen bytes, signed integers: `[tables, 16]`.
    Integers(Tables<u8>),
    /// An entry of a table of sixteen numbers, the same for all rows of a panel.
    Sixteen(Tables<f32>),
    /// An entry of a table of FP16 numbers, the same for all rows of a panel.
    Halves(Tables<u16>),
    /// An entry of any table.
    Numbers(Tables<f32>),
}

/// Tables that follow each other, segment by segment for each group of rows.
#[derive(Debug)]
pub(super) struct Tables<T> {
    /// The entries of all tables; of numbers in memory, 256 from the start of each table on.
    pub(super) entries: Vec<T>,
    /// Entries of a table.
    pub(super) size: usize,
    /// Where the tables of each row start, padded to whole panels.
    pub(super) start: Vec<u32>,
    /// Whether each segment has a table of its own.
    pub(super) by_segment: bool,
}

impl<T> Tables<T> {
    /// The entries from this segment's first table on, and where each row's start there.
    #[inline(always)]
    fn at(&self, panel: usize, segment: usize) -> (&[T], &[u32; ROWS]) {
        let skipped = if self.by_segment { segment * self.size } else { 0 };
        let start = self.start[panel * ROWS..].first_chunk().expect("whole panels");
        (&self.entries[skipped..], start)
    }

    /// The table that all rows of a panel share.
    #[inline(always)]
    fn shared<const N: usize>(&self, panel: usize, segment: usize) -> &[T; N] {
        let (entries, start) = self.at(panel, segment);
        entries[start[0] as usize..].first_chunk().expect("whole tables")
    }
}

/// Parameters in the precision of the package.
#[derive(Debug)]
pub(super) enum Numbers {
    /// FP16 numbers.
    Half(Vec<u16>),
    /// FP32 numbers.
    Single(Vec<f32>),
}

impl Numbers {
    #[inline(always)]
    fn row<S: Simd>(&self, s: S, i: usize) -> S::Row {
        match self {
            Self::Half(bits) => s.half(bits[i * ROWS..].first_chunk().expect("whole rows")),
            Self::Single(x) => s.get(x[i * ROWS..].first_chunk().expect("whole rows")),
        }
    }

    fn byte_len(&self) -> usize {
        match self {
            Self::Half(bits) => 2 * bits.len(),
            Self::Single(x) => 4 * x.len(),
        }
    }
}

/// What products with codes of activations need.
#[derive(Debug)]
pub(super) struct Integer {
    /// Sums of the rows, padding included, before the offset.
    pub(super) sums: Vec<i32>,
    /// No integer is −128.
    pub(super) narrow: bool,
}

impl Coded {
    /// Panels of sixteen rows.
    pub(super) fn panels(&self) -> usize {
        self.shape[0].div_ceil(ROWS)
    }

    /// Units of a panel.
    pub(super) fn units(&self) -> usize {
        self.shape[1].div_ceil(COLUMNS)
    }

    /// Bytes of a unit.
    pub(super) fn unit_bytes(bits: usize) -> usize {
        ROWS * COLUMNS * bits / 8
    }

    /// Segments of a panel.
    pub(super) fn segments(&self) -> usize {
        self.units().div_ceil(self.run)
    }

    /// The units of a panel.
    #[inline(always)]
    pub(super) fn panel(&self, panel: usize) -> &[u8] {
        let len = self.units() * Self::unit_bytes(self.bits);
        &self.plane[panel * len..][..len]
    }

    /// Bytes that it holds.
    pub(super) fn byte_len(&self) -> usize {
        let tables = match &self.meaning {
            Meaning::Itself => 0,
            Meaning::Integers(t) => t.entries.len() + 4 * t.start.len(),
            Meaning::Halves(t) => 2 * t.entries.len() + 4 * t.start.len(),
            Meaning::Sixteen(t) | Meaning::Numbers(t) => 4 * (t.entries.len() + t.start.len()),
        };
        self.plane.len()
            + tables
            + self.offset.as_ref().map_or(0, Vec::len)
            + self.scale.as_ref().map_or(0, Numbers::byte_len)
            + self.columns.as_ref().map_or(0, |c| 4 * c.len())
            + self.integer.as_ref().map_or(0, |i| 4 * i.sums.len())
    }

    /// What the numbers that decoders return are too large by.
    pub(super) fn unit(&self) -> f32 {
        match &self.meaning {
            Meaning::Itself | Meaning::Integers(_) => SIGNED_UNIT,
            Meaning::Sixteen(_) | Meaning::Halves(_) | Meaning::Numbers(_) => 1.0,
        }
    }

    /// The scale of a row, where it has one.
    pub(super) fn channel_scale(&self, row: usize) -> f32 {
        match &self.scale {
            None => 1.0,
            Some(Numbers::Half(bits)) => half::f16::from_bits(bits[row]).to_f32(),
            Some(Numbers::Single(x)) => x[row],
        }
    }

    /// The scales of a segment's rows.
    #[inline(always)]
    pub(super) fn scales<S: Simd>(&self, s: S, panel: usize, segment: usize) -> Option<S::Row> {
        let scale = self.scale.as_ref()?;
        Some(scale.row(s, panel * self.segments() + segment))
    }
}

/// The four quads of a unit, one code a byte. `bits` is a constant wherever this is called.
#[inline(always)]
pub(super) fn quads<S: Simd>(s: S, bits: usize, unit: &[u8]) -> [S::Codes; 4] {
    let quad = |i: usize| -> &Quad { unit[64 * i..].first_chunk().expect("a whole unit") };
    if bits == 8 {
        return [s.load(quad(0)), s.load(quad(1)), s.load(quad(2)), s.load(quad(3))];
    }
    let [a, b] = [s.load(quad(0)), s.load(quad(1))];
    let [a, b, c, d] = [s.low(a), s.high(a), s.low(b), s.high(b)];
    if bits == 4 {
        return [a, b, c, d];
    }
    let crumbs = s.load(quad(2));
    [s.join(a, crumbs, 0), s.join(b, crumbs, 1), s.join(c, crumbs, 2), s.join(d, crumbs, 3)]
}

/// How the codes of one segment of a panel become numbers.
pub(super) trait Decoder<'a, S: Simd>: Sized {
    const BITS: usize;
    fn new(s: S, coded: &'a Coded, panel: usize, segment: usize) -> Self;
    /// A quad's numbers, column by column, [`Coded::unit`] times as large.
    fn numbers(&self, s: S, codes: S::Codes) -> [S::Row; 4];
}

/// Codes of eight bits that stand for themselves.
pub(super) struct Itself;

impl<'a, S: Simd> Decoder<'a, S> for Itself {
    const BITS: usize = 8;
    #[inline(always)]
    fn new(_: S, _: &Coded, _: usize, _: usize) -> Self {
        Self
    }
    #[inline(always)]
    fn numbers(&self, s: S, codes: S::Codes) -> [S::Row; 4] {
        s.signed(codes)
    }
}

/// Codes of four bits that stand for small integers.
pub(super) struct Integers<'a>(&'a [u8; 16]);

impl<'a, S: Simd> Decoder<'a, S> for Integers<'a> {
    const BITS: usize = 4;
    #[inline(always)]
    fn new(_: S, coded: &'a Coded, panel: usize, segment: usize) -> Self {
        Self(coded.integers(panel, segment))
    }
    #[inline(always)]
    fn numbers(&self, s: S, codes: S::Codes) -> [S::Row; 4] {
        s.signed(s.look_up(codes, self.0))
    }
}

impl Coded {
    /// The table of integers of a panel.
    #[inline(always)]
    pub(super) fn integers(&self, panel: usize, segment: usize) -> &[u8; 16] {
        match &self.meaning {
            Meaning::Integers(tables) => tables.shared(panel, segment),
            _ => unreachable!("only codes with tables of integers"),
        }
    }
}

/// Codes of four bits into a table of numbers that a vector or two hold.
pub(super) struct Sixteen<Row>(Row);

impl<'a, S: Simd> Decoder<'a, S> for Sixteen<S::Row> {
    const BITS: usize = 4;
    #[inline(always)]
    fn new(s: S, coded: &'a Coded, panel: usize, segment: usize) -> Self {
        match &coded.meaning {
            Meaning::Sixteen(tables) => Self(s.get(tables.shared(panel, segment))),
            _ => unreachable!("only codes with tables of sixteen numbers"),
        }
    }
    #[inline(always)]
    fn numbers(&self, s: S, codes: S::Codes) -> [S::Row; 4] {
        s.pick(codes, self.0)
    }
}

/// Codes of six or eight bits into a table of FP16 numbers.
pub(super) struct Chosen<'a, const BITS: usize>(&'a [u16; 256]);

impl<'a, S: Simd, const BITS: usize> Decoder<'a, S> for Chosen<'a, BITS> {
    const BITS: usize = BITS;
    #[inline(always)]
    fn new(_: S, coded: &'a Coded, panel: usize, segment: usize) -> Self {
        match &coded.meaning {
            Meaning::Halves(tables) => Self(tables.shared(panel, segment)),
            _ => unreachable!("only codes with tables of FP16 numbers"),
        }
    }
    #[inline(always)]
    fn numbers(&self, s: S, codes: S::Codes) -> [S::Row; 4] {
        s.choose(codes, self.0, 1 << BITS)
    }
}

/// Codes of any size into a table in memory.
pub(super) struct Gathered<'a, const BITS: usize>(Table<'a>);

impl<'a, S: Simd, const BITS: usize> Decoder<'a, S> for Gathered<'a, BITS> {
    const BITS: usize = BITS;
    #[inline(always)]
    fn new(_: S, coded: &'a Coded, panel: usize, segment: usize) -> Self {
        match &coded.meaning {
            Meaning::Numbers(tables) => {
                let (entries, start) = tables.at(panel, segment);
                Self(Table::new(entries, start))
            }
            _ => unreachable!("only codes with tables of numbers"),
        }
    }
    #[inline(always)]
    fn numbers(&self, s: S, codes: S::Codes) -> [S::Row; 4] {
        s.gather(codes, &self.0)
    }
}

/// A decoder, and an offset that is subtracted from its numbers.
pub(super) struct Shifted<D, Row>(D, Row);

impl<'a, S: Simd, D: Decoder<'a, S>> Decoder<'a, S> for Shifted<D, S::Row> {
    const BITS: usize = D::BITS;
    #[inline(always)]
    fn new(s: S, coded: &'a Coded, panel: usize, segment: usize) -> Self {
        let offset = coded.offset.as_ref().expect("only codes with an offset");
        let at = (panel * coded.segments() + segment) * ROWS;
        let offset = s.small(offset[at..].first_chunk().expect("whole rows"));
        Self(D::new(s, coded, panel, segment), s.mul(offset, s.splat(SIGNED_UNIT)))
    }
    #[inline(always)]
    fn numbers(&self, s: S, codes: S::Codes) -> [S::Row; 4] {
        let [a, b, c, d] = self.0.numbers(s, codes);
        [s.sub(a, self.1), s.sub(b, self.1), s.sub(c, self.1), s.sub(d, self.1)]
    }
}

/// Calls a function with the decoder of a matrix as its second type.
macro_rules! with_decoder {
    ($coded:expr, $function:ident::<$S:ty>($($arg:expr),*)) => {
        match (&$coded.meaning, $coded.offset.is_some(), $coded.bits) {
            (Meaning::Itself, false, _) => $function::<$S, Itself>($($arg),*),
            (Meaning::Itself, true, _) =>
                $function::<$S, Shifted<Itself, <$S>::Row>>($($arg),*),
            (Meaning::Integers(_), false, _) => $function::<$S, Integers<'_>>($($arg),*),
            (Meaning::Integers(_), true, _) =>
                $function::<$S, Shifted<Integers<'_>, <$S>::Row>>($($arg),*),
            (Meaning::Sixteen(_), ..) => $function::<$S, Sixteen<<$S>::Row>>($($arg),*),
            (Meaning::Halves(_), _, 6) => $function::<$S, Chosen<'_, 6>>($($arg),*),
            (Meaning::Halves(_), ..) => $function::<$S, Chosen<'_, 8>>($($arg),*),
            (Meaning::Numbers(_), _, 4) => $function::<$S, Gathered<'_, 4>>($($arg),*),
            (Meaning::Numbers(_), _, 6) => $function::<$S, Gathered<'_, 6>>($($arg),*),
            (Meaning::Numbers(_), ..) => $function::<$S, Gathered<'_, 8>>($($arg),*),
        }
    };
}
pub(super) use with_decoder;
