//! Keys and values of earlier tokens, one bank of caches for each distance that layers see.
//!
//! A bank is read once and written once in a step: `[layers, K, D, length]`, the layers that share it
//! on the first axis. New keys find their columns by a product with one-hot rows, and
//! `cache · (1 − m) + new · update` keeps the others, without an index anywhere.

use super::super::Decoder;
use super::super::build::{Names, Options};
use crate::graph::{Sizes, TensorType, ValueId};
use crate::model::blocks::{Around, Memory};
use crate::model::emit::Emitter;
use crate::plan::Kv;
use crate::{Error, Result};

/// What a bank is called, and how long it is.
#[derive(Clone, Debug)]
pub(super) struct Form {
    pub(super) window: Option<usize>,
    pub(super) length: usize,
    pub(super) mask: String,
    pub(super) update: String,
    /// Keys, values.
    pub(super) kept: [String; 2],
    /// Outputs that take their places.
    pub(super) next: [String; 2],
}

/// The banks that the layers of a decoder need.
///
/// A window's bank is a ring of `window + T` columns: a step of T tokens overwrites none that its
/// first token sees.
pub(super) fn forms(decoder: &Decoder, options: &Options) -> Vec<Form> {
    let mut windows: Vec<Option<usize>> =
        decoder.layers.iter().map(|layer| seen(layer.attention.window, options)).collect();
    windows.sort_unstable();
    windows.dedup();
    windows.into_iter().map(|window| Form::new(window, options)).collect()
}

/// A window whose ring is shorter than the whole context.
fn seen(window: Option<usize>, options: &Options) -> Option<usize> {
    window.filter(|window| window.saturating_add(options.prefill_chunk) < options.context)
}

impl Form {
    fn new(window: Option<usize>, options: &Options) -> Self {
        let Names { mask, update, keys, values, .. } = options.names;
        let (prefix, length) = match window {
            None => (String::new(), options.context),
            Some(window) => (format!("window_{window}_"), window + options.prefill_chunk),
        };
        let named = |name: &str| format!("{prefix}{name}");
        Self {
            window,
            length,
            mask: named(mask),
            update: named(update),
            kept: [named(keys), named(values)],
            next: [format!("next_{prefix}{keys}"), format!("next_{prefix}{values}")],
        }
    }
}

/// All banks of a function.
#[derive(Debug)]
pub(in super::super) struct Banks {
    banks: Vec<Bank>,
    /// For each layer, its bank and its place there.
    places: Vec<(usize, usize)>,
    kv: Kv,
}

/// One bank within a function.
#[derive(Debug)]
struct Bank {
    form: Form,
    /// One-hot rows `[1, 1, T, length]`.
    update: ValueId,
    /// 1 in columns that stay, `[1, 1, 1, length]`.
    keep: ValueId,
    /// Keys and values.
    caches: [Cache; 2],
}

/// Keys or values of a bank.
#[derive(Debug)]
struct Cache {
    feature: ValueId,
    before: ValueId,
    /// Of each layer so far, `[1, K, D, length]`.
    after: Vec<ValueId>,
}

impl Banks {
    /// The inputs and states of the caches; their masks are told to `around`.
    pub(super) fn new(
        e: &mut Emitter<'_>,
        decoder: &Decoder,
        options: &Options,
        count: usize,
        kv: Kv,
        around: &mut Around,
    ) -> Result<Self> {
        let heads = decoder.kv_heads()?;
        let forms = forms(decoder, options);
        let mut layers = vec![0; forms.len()];
        let mut places = Vec::with_capacity(decoder.layers.len());
        for layer in &decoder.layers {
            let window = layer.attention.window;
            let bank = forms.iter().position(|form| form.window == seen(window, options));
            let bank = bank.ok_or_else(|| Error::bug("a layer", "without a cache"))?;
            places.push((bank, layers[bank]));
            layers[bank] += 1;
        }
        let masks = forms.iter().map(|form| mask(e, form, count)).collect::<Result<Vec<_>>>()?;
        for (layer, &(bank, _)) in decoder.layers.iter().zip(&places) {
            around.masks.insert(layer.attention.window, masks[bank]);
        }
        let banks = forms
            .into_iter()
            .zip(layers)
            .map(|(form, layers)| Bank::new(e, form, count, kv, [layers, heads[0], heads[1]]));
        Ok(Self { banks: banks.collect::<Result<_>>()?, places, kv })
    }
}

/// What is added to the scores of a bank's layers.
fn mask(e: &mut Emitter<'_>, form: &Form, count: usize) -> Result<ValueId> {
    let ty = TensorType::fixed(e.float(), &[1, 1, count, form.length]);
    let about = match form.window {
        None => "what is added to scores: 0 where a token may look, -30000 where not".into(),
        Some(window) => format!("the same for layers that see the last {window} positions"),
    };
    e.input(&form.mask, ty, Sizes::Fixed, &about)
}

impl Bank {
    fn new(
        e: &mut Emitter<'_>,
        form: Form,
        count: usize,
        kv: Kv,
        [layers, heads, dim]: [usize; 3],
    ) -> Result<Self> {
        let ty = TensorType::fixed(e.float(), &[1, 1, count, form.length]);
        let about = "1 where a token's keys and values go, in the column of its position";
        let update = e.input(&form.update, ty, Sizes::Fixed, about)?;
        let mut cache = |what: &str, name: &String| {
            let ty = TensorType::fixed(e.float(), &[layers, heads, dim, form.length]);
            let about = format!("{what} of tokens so far, [layer, head, coordinate, column]");
            let feature = match kv {
                Kv::Io => e.input(name, ty, Sizes::Fixed, &about)?,
                Kv::State => {
                    let state = e.builder().state(name, ty)?;
                    e.builder().about(&about);
                    state
                }
            };
            let before = match kv {
                Kv::Io => feature,
                Kv::State => e.op("read_state", &format!("{name}_read"), &[("input", feature)])?,
            };
            Ok::<_, Error>(Cache { feature, before, after: Vec::with_capacity(layers) })
        };
        let [keys, values] = &form.kept;
        let caches = [cache("keys", keys)?, cache("values", values)?];
        let (rows, kept) = (e.ints(&[2])?, e.flag(true)?);
        let arguments = [("x", update), ("axes", rows), ("keep_dims", kept)];
        let written = e.op("reduce_sum", &format!("{}_columns", form.update), &arguments)?;
        let one = e.number(1.0)?;
        let arguments = [("x", one), ("y", written)];
        let keep = e.op("sub", &format!("{}_kept", form.update), &arguments)?;
        Ok(Self { form, update, keep, caches })
    }

    /// The cache of the layer in this place with its new columns.
    fn renew(
        &mut self,
        e: &mut Emitter<'_>,
        name: &str,
        which: usize,
        (place, layers): (usize, usize),
        new: ValueId,
    ) -> Result<ValueId> {
        let part = |what: &str| format!("{name}_{what}");
        let cache = &mut self.caches[which];
        let before = match layers {
            1 => cache.before,
            _ => e.slice(&part("before"), cache.before, 4, 0, place..place + 1)?,
        };
        let kept = e.mul(&part("kept"), before, self.keep)?;
        let placed = e.op("matmul", &part("placed"), &[("x", new), ("y", self.update)])?;
        let after = e.add(name, kept, placed)?;
        cache.after.push(after);
        Ok(after)
    }
}

impl Memory for Banks {
    fn exchange(
        &mut self,
        e: &mut Emitter<'_>,
        layer: usize,
        keys: ValueId,
        values: ValueId,
    ) -> Result<[ValueId; 2]> {
        let (bank, place) = self.places[layer];
        let layers = self.places.iter().filter(|(other, _)| *other == bank).count();
        let bank = &mut self.banks[bank];
        Ok([
            bank.renew(e, "k_cache", 0, (place, layers), keys)?,
            bank.renew(e, "v_cache", 1, (place, layers), values)?,
        ])
    }

    fn finish(&mut self, e: &mut Emitter<'_>) -> Result<()> {
        for bank in &self.banks {
            let names = bank.form.kept.iter().zip(&bank.form.next);
            for (cache, (name, next)) in bank.caches.iter().zip(names) {
                match self.kv {
                    Kv::State => {
                        let all = e.concat(&format!("{name}_after"), &cache.after, 0)?;
                        let arguments = [("input", cache.feature), ("data", all)];
                        e.effect("write_state", &format!("{name}_write"), &arguments)?;
                    }
                    Kv::Io => {
                        let axis = e.int(0)?;
                        let mut arguments: Vec<(&str, ValueId)> =
                            cache.after.iter().map(|&after| ("values", after)).collect();
                        arguments.push(("axis", axis));
                        let all = e.named("concat", next, &arguments)?;
                        e.builder().output(all, &format!("`{name}` of the next step"));
                    }
                }
            }
        }
        Ok(())
    }
}
