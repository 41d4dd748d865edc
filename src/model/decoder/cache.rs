//! Keys and values of earlier tokens, in two states `[layers, 1, K, context, D]`.

use super::Decoder;
use super::build::Options;
use crate::graph::{TensorType, ValueId};
use crate::model::blocks::Memory;
use crate::model::emit::Emitter;
use crate::{Error, Result};

/// The keys and values of earlier tokens.
#[derive(Debug)]
pub(super) struct Cache {
    keys: ValueId,
    values: ValueId,
    kv_heads: usize,
    context: usize,
    head_dim: usize,
    rows: Rows,
}

/// Which rows of the cache a step writes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rows {
    /// So many from this one on; all rows are read.
    Fixed { begin: ValueId, count: usize },
    /// From one on up to another, behind which none is read.
    Ranged { begin: ValueId, end: ValueId },
}

impl Memory for Cache {
    fn exchange(
        &mut self,
        e: &mut Emitter<'_>,
        layer: usize,
        keys: ValueId,
        values: ValueId,
    ) -> Result<[ValueId; 2]> {
        Ok([
            self.update(e, "k_cache", self.keys, layer, keys)?,
            self.update(e, "v_cache", self.values, layer, values)?,
        ])
    }

    /// Each layer has written its own.
    fn finish(&mut self, _: &mut Emitter<'_>) -> Result<()> {
        Ok(())
    }
}

impl Cache {
    pub(super) fn new(
        e: &mut Emitter<'_>,
        decoder: &Decoder,
        options: &Options,
        rows: Rows,
    ) -> Result<Self> {
        let ([kv_heads, head_dim], context) = (decoder.kv_heads()?, options.context);
        let ty =
            TensorType::fixed(e.float(), &[decoder.layers.len(), 1, kv_heads, context, head_dim]);
        let mut state = |name: &str, about: &str| {
            let value = e.builder().state(name, ty.clone())?;
            e.builder().about(about);
            Ok::<_, Error>(value)
        };
        let keys = state(
            options.names.keys,
            "keys of all tokens so far, [layer, 1, head, position, coordinate]",
        )?;
        let values =
            state(options.names.values, "values of all tokens so far, in the same places")?;
        Ok(Self { keys, values, kv_heads, context, head_dim, rows })
    }

    /// The keys in the first row of the first layer, before this step: `[1, 1, K, 1, D]`.
    pub(super) fn first_row(&self, e: &mut Emitter<'_>) -> Result<ValueId> {
        let keys = e.op("read_state", "keys_before", &[("input", self.keys)])?;
        let begin = e.ints(&[0; 5])?;
        let size = e.ints(&[1, 1, self.kv_heads as i32, 1, self.head_dim as i32])?;
        e.op("slice_by_size", "first_keys", &[("x", keys), ("begin", begin), ("size", size)])
    }

    fn update(
        &self,
        e: &mut Emitter<'_>,
        name: &str,
        state: ValueId,
        layer: usize,
        new: ValueId,
    ) -> Result<ValueId> {
        let part = |what: &str| format!("{name}_{what}");
        let (heads, dim) = (self.kv_heads as i32, self.head_dim as i32);
        let before = e.op("read_state", &part("before"), &[("input", state)])?;
        let tokens = match self.rows {
            Rows::Fixed { count, .. } => count as i32,
            Rows::Ranged { .. } => -1,
        };
        let mut new = e.reshape(&part("new"), new, &[1, 1, heads, tokens, dim])?;
        let (begin, end) = match self.rows {
            Rows::Ranged { begin, end } => (begin, end),
            Rows::Fixed { begin: position, count } => {
                let mut begin = position;
                if count > 1 {
                    let [position, tokens] = [position, new];
                    (begin, new) =
                        self.within(e, &part("within"), before, layer, [position, tokens], count)?;
                }
                let count = e.ints(&[tokens])?;
                (begin, e.add(&part("last"), begin, count)?)
            }
        };
        let behind = end;
        let (zero, layer_) = (e.ints(&[0])?, layer as i32);
        let first = e.ints(&[layer_, 0, 0])?;
        let begin = e.concat(&part("begin"), &[first, begin, zero], 0)?;
        let (last, across) = (e.ints(&[layer_ + 1, 1, heads])?, e.ints(&[dim])?);
        let end = e.concat(&part("end"), &[last, end, across], 0)?;
        let arguments = [("x", before), ("update", new), ("begin", begin), ("end", end)];
        let after = e.op("slice_update", &part("after"), &arguments)?;
        e.effect("write_state", &part("write"), &[("input", state), ("data", after)])?;
        let whole = e.op("read_state", &part("whole"), &[("input", state)])?;
        match self.rows {
            Rows::Fixed { .. } => {
                let own = e.slice(&part("layer"), whole, 5, 0, layer..layer + 1)?;
                e.reshape(name, own, &[1, heads, self.context as i32, dim])
            }
            Rows::Ranged { .. } => {
                let begin = e.ints(&[layer_, 0, 0, 0, 0])?;
                let end = e.concat(&part("so_far"), &[last, behind, across], 0)?;
                let arguments = [("x", whole), ("begin", begin), ("end", end)];
                let own = e.op("slice_by_index", &part("layer"), &arguments)?;
                e.reshape(name, own, &[1, heads, -1, dim])
            }
        }
    }

    /// Where rows would reach beyond the context: the begin that does not, and rows that hold what
    /// already stands before the new ones.
    ///
    /// With `shift` rows too many, the last T rows of the cache become rows `T − shift..2T − shift`
    /// of the T rows before the position, followed by the new ones.
    fn within(
        &self,
        e: &mut Emitter<'_>,
        name: &str,
        cache: ValueId,
        layer: usize,
        [position, new]: [ValueId; 2],
        count: usize,
    ) -> Result<(ValueId, ValueId)> {
        let part = |what: &str| format!("{name}_{what}");
        let (heads, tokens, dim) = (self.kv_heads as i32, count as i32, self.head_dim as i32);
        let (room, count, zero) =
            (e.ints(&[self.context as i32 - tokens])?, e.ints(&[tokens])?, e.ints(&[0])?);
        let begin = e.op("minimum", &part("begin"), &[("x", position), ("y", room)])?;
        let shift = e.op("sub", &part("shift"), &[("x", position), ("y", begin)])?;
        let from = e.op("sub", &part("from"), &[("x", position), ("y", count)])?;
        let from = e.op("maximum", &part("from_start"), &[("x", from), ("y", zero)])?;
        let size = e.ints(&[1, 1, heads, tokens, dim])?;
        let window = |e: &mut Emitter<'_>, what: &str, x, first: [i32; 3], row| {
            let first = e.ints(&first)?;
            let begin = e.concat(&part(&format!("{what}_begin")), &[first, row, zero], 0)?;
            let arguments = [("x", x), ("begin", begin), ("size", size)];
            e.op("slice_by_size", &part(what), &arguments)
        };
        let old = window(e, "old", cache, [layer as i32, 0, 0], from)?;
        let both = e.concat(&part("both"), &[old, new], 3)?;
        let row = e.op("sub", &part("row"), &[("x", count), ("y", shift)])?;
        let rows = window(e, "rows", both, [0, 0, 0], row)?;
        Ok((begin, rows))
    }
}
