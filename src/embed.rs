//! Texts through an encoder's package ([`Encoder`]), and as vectors ([`Embedder`]), on any machine.
//!
//! What the function takes shows in its features:
//!
//! | feature | type |
//! |---|---|
//! | ids, `input_ids` | INT32 `[1, T]` |
//! | mask, `attention_mask` | INT32 `[1, T]`, 1 for a token and 0 for padding |
//! | types, `token_type_ids` (some) | INT32 `[1, T]` |
//! | vector: `sentence_embedding`, else `pooler_output` | float `[1, D]` |

use crate::generate::within;
use crate::graph::{DataType, Feature, Function, Sizes, ValueType};
use crate::runtime::{Backend, Prepared, Shapes, Tensor, Tensors};
use crate::{Error, Result};
use ndarray::ArrayD;
use std::collections::BTreeMap;

/// Tokens by which texts are padded where they may have any length: the function is prepared once for
/// each.
const STRIDE: usize = 32;

/// Outputs that are vectors of a text, the best first.
const VECTORS: [&str; 2] = ["sentence_embedding", "pooler_output"];

const IDS: &str = "input_ids";
/// The input that tells tokens from padding.
pub(crate) const MASK: &str = "attention_mask";
const TYPES: &str = "token_type_ids";

/// An encoder's package: texts in, whatever it makes of them out.
pub struct Encoder {
    function: Function,
    context: usize,
    /// Texts are padded to a multiple of so many tokens.
    stride: usize,
    backend: Box<dyn Backend>,
    /// The function by the lengths of texts: all that there were, or of one text the last.
    lengths: BTreeMap<usize, Box<dyn Prepared>>,
    keeps_lengths: bool,
}

impl std::fmt::Debug for Encoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Encoder").field("context", &self.context).finish_non_exhaustive()
    }
}

impl Encoder {
    /// Opens an encoder: the first function that is one.
    ///
    /// # Errors
    /// [`Error::Input`] where none is.
    pub fn open<'f>(
        candidates: impl IntoIterator<Item = &'f Function>,
        backend: Box<dyn Backend>,
    ) -> Result<Self> {
        let mut encoders = candidates.into_iter().filter_map(|f| Some((f, lengths(f)?)));
        let Some((function, [context, stride])) = encoders.next() else {
            return Err(Error::input(
                "the package",
                format!("no function takes {IDS} [1, T] with an {MASK} beside it"),
                "give the package of an encoder; a language model's is for `quantize generate`",
            ));
        };
        let (function, lengths) = (function.clone(), BTreeMap::new());
        Ok(Self { function, context, stride, backend, lengths, keeps_lengths: true })
    }

    /// The same for texts as long as they are, where the function takes any length: for those who look
    /// inside. It is prepared anew for each other length, and the last is kept.
    pub fn unpadded(self) -> Self {
        let value = |feature: &Feature| self.function.value(feature.value);
        let mut ids = self.function.inputs.iter().filter(|feature| value(feature).name == IDS);
        let is_any = ids.next().is_some_and(|ids| matches!(ids.sizes, Sizes::Ranges(_)));
        let stride = if is_any { 1 } else { self.stride };
        Self { stride, keeps_lengths: false, ..self }
    }

    /// How long a text may be, in tokens.
    pub fn context(&self) -> usize {
        self.context
    }

    /// The outputs for a text.
    ///
    /// # Errors
    /// [`Error::Usage`] for no tokens, more than there is room for, or ids that the model has not; as
    /// [`Backend::prepare`] and [`Prepared::run`].
    pub fn run(&mut self, ids: &[i32]) -> Result<Tensors> {
        let (count, context) = (ids.len(), self.context);
        if count == 0 {
            return Err(Error::Usage("there is no token to embed; give a text".into()));
        }
        if count > context {
            return Err(Error::Usage(format!(
                "{count} tokens are more than the {context} that the package takes; shorten the text"
            )));
        }
        within(ids, self.function.rows_chosen_by(IDS))?;
        let length = count.next_multiple_of(self.stride).min(context);
        let row = |value: &dyn Fn(usize) -> i32| {
            let values = ArrayD::from_shape_fn(vec![1, length], |at| value(at[1]));
            Tensor::int(DataType::Int32, values)
        };
        let one = |feature: &Feature| {
            let name = self.function.value(feature.value).name.clone();
            let tensor = match name.as_str() {
                IDS => row(&|at| ids.get(at).copied().unwrap_or(0)),
                MASK => row(&|at| i32::from(at < count)),
                // One text alone is of type 0.
                _ => row(&|_| 0),
            };
            (name, tensor)
        };
        let inputs: Tensors = self.function.inputs.iter().map(one).collect();
        if !self.lengths.contains_key(&length) {
            let shapes = inputs.keys().map(|name| (name.clone(), vec![1, length]));
            let shapes: Shapes = shapes.collect();
            let prepared = self.backend.prepare(&self.function, &shapes)?;
            // Not before: they may share their weights.
            if !self.keeps_lengths {
                self.lengths.clear();
            }
            self.lengths.insert(length, prepared);
        }
        let prepared = self.lengths.get_mut(&length);
        let prepared =
            prepared.ok_or_else(|| Error::bug("a text", "nothing is prepared for it"))?;
        let mut outputs = Tensors::new();
        prepared.run(&inputs, &mut Tensors::new(), &mut outputs)?;
        Ok(outputs)
    }
}

/// An encoder that has a vector of a whole text.
#[derive(Debug)]
pub struct Embedder {
    encoder: Encoder,
    /// The output that is the vector.
    vector: &'static str,
}

impl Embedder {
    /// Opens an encoder: the first function that is one.
    ///
    /// # Errors
    /// [`Error::Input`] where none is, or where it has no vector of a whole text.
    pub fn open<'f>(
        candidates: impl IntoIterator<Item = &'f Function>,
        backend: Box<dyn Backend>,
    ) -> Result<Self> {
        let encoder = Encoder::open(candidates, backend)?;
        let function = &encoder.function;
        let outputs: Vec<&str> =
            function.outputs.iter().map(|o| function.value(o.value).name.as_str()).collect();
        let Some(vector) = VECTORS.into_iter().find(|name| outputs.contains(name)) else {
            return Err(Error::input(
                "the package",
                format!("it gives {} and no vector of a whole text", outputs.join(", ")),
                "convert a folder of sentence-transformers, which says how tokens are pooled, or \
                 see its outputs with `quantize run`",
            ));
        };
        Ok(Self { encoder, vector })
    }

    /// How long a text may be, in tokens.
    pub fn context(&self) -> usize {
        self.encoder.context()
    }

    /// The output that is a text's vector.
    pub fn output(&self) -> &str {
        self.vector
    }

    /// The vector of a text.
    ///
    /// # Errors
    /// As [`Encoder::run`]; [`Error::Input`] for a vector that is not finite.
    pub fn embed(&mut self, ids: &[i32]) -> Result<Vec<f32>> {
        let outputs = self.encoder.run(ids)?;
        let vector = outputs.get(self.vector).and_then(Tensor::as_float);
        let vector = vector.ok_or_else(|| Error::bug(self.vector, "is no float tensor"))?;
        let vector: Vec<f32> = vector.iter().copied().collect();
        match vector.iter().find(|x| !x.is_finite()) {
            None => Ok(vector),
            Some(x) => Err(Error::input(
                self.vector,
                format!("holds {x}"),
                "a value overflowed FP16 on the way; find where with `quantize validate`",
            )),
        }
    }
}

/// The longest text of an encoder's function, and what lengths are a multiple of, which is the same
/// where it takes one length only; `None` for any other function.
fn lengths(function: &Function) -> Option<[usize; 2]> {
    let mut lengths = None;
    let mut masked = false;
    for feature in &function.inputs {
        let value = function.value(feature.value);
        let ValueType::Tensor(ty) = &value.ty else { return None };
        if ty.dtype != DataType::Int32 || ty.rank() != 2 {
            return None;
        }
        match value.name.as_str() {
            IDS => {
                lengths = match &feature.sizes {
                    Sizes::Ranges(ranges) => ranges.get(1).map(|range| [range.high, STRIDE]),
                    Sizes::Fixed => ty.shape().map(|shape| [shape[1]; 2]),
                    Sizes::Enumerated(_) => None,
                };
            }
            MASK => masked = true,
            TYPES => {}
            _ => return None,
        }
    }
    lengths.filter(|[context, _]| masked && *context > 0)
}

/// The cosine of the angle between two vectors of one length; 0 where one of them is zero.
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y)).sum()
    };
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    if lengths > 0.0 { dot(a, b) / lengths } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cosines_do_not_depend_on_lengths() {
        assert!((cosine(&[1.0, 0.0], &[3.0, 3.0]) - 0.5_f64.sqrt()).abs() < 1e-12);
        assert!((cosine(&[1e-20, 0.0], &[-2.0, 0.0]) + 1.0).abs() < 1e-12);
        assert_eq!(cosine(&[0.0, 0.0], &[1.0, 2.0]), 0.0);
    }
}
