//! Decoders in the style of the Neural Engine.
//!
//! | module | what it holds |
//! |---|---|
//! | [`Host`] | what the host feeds each step, as the package's metadata says it |
//! | `banks` | caches: states, or inputs and outputs |
//!
//! What made transformers run there, by those who shipped them (john-rocky/CoreML-LLM, Anemll,
//! apple/ml-ane-transformers), and what becomes of it here:
//!
//! | technique | here |
//! |---|---|
//! | linear layers as 1x1 convolutions over `[1, C, 1, T]` | yes, the head too; weights `[O, I]` are seen as `[O, I, 1, 1]`, stored once |
//! | root mean square as the layer norm of `[x, −x]` | yes |
//! | RoPE cosines and sines as inputs | yes; the metadata holds the frequencies, so that a package needs no second file |
//! | masks as inputs | yes; no integer operation is left in a layer |
//! | caches in states updated by masks, or as inputs and outputs | both: `--kv state`, `--kv io` |
//! | attention as matmul, add, softmax, matmul | yes, by key head, its query heads in one product; a scale is multiplied as it stands, by the smaller factor first, and never undone |
//! | softmax as max, sub, exp, sum, div | no: the one operation has the same numerics in FP16, and nobody published a gain |
//! | argmax in the graph | `--argmax`: output `next_token` beside the logits |
//! | sliding windows with a cache of the window's length | yes: a ring of `window + prefill chunk` columns, in place of a shift |
//! | embedding outside or on the CPU | inside, before the first layer; Core ML runs a gather on the CPU, and one file holds the table that embedding and head share |
//! | a model in chunks | `--chunks N`: packages of about equal size, cut between layers, each with the caches of its own |
//! | a long prefill in one call | `--prefill-chunk 512` |
//! | a prefill without logits that nobody reads | yes: the head sees one row, chosen by a one-hot input; `--prefill-logits all` returns every one |
//!
//! The last axis of every input and output is long (`T` last would be padded to 64 bytes for a single
//! token), and heads have an even number of coordinates: an architecture refuses others, so channels
//! stay pairs. A head of more than 65,536 rows is beyond the channels of some engines; Core ML then
//! runs it elsewhere.
//!
//! The norm's kernel takes squares of hidden values; how wide it sums them is the device's affair. The
//! reference backend sums in f32.

mod banks;
mod host;

pub(super) use banks::Banks;
pub use host::{Bank, HOST, Host, Rotation};

use super::Decoder;
use super::build::{Names, Options};
use crate::graph::{Sizes, TensorType, ValueId};
use crate::model::blocks::{Angles, Around};
use crate::model::emit::Emitter;
use crate::{Error, Result};

/// The inputs of a step but its ids, and what layers share of them.
pub(super) fn inputs(
    e: &mut Emitter<'_>,
    decoder: &Decoder,
    options: &Options,
    count: usize,
) -> Result<(Around, Banks)> {
    let kv = options.kv.ok_or_else(|| Error::bug("a step", "without caches"))?;
    let mut around = Around::default();
    for (kind, rope) in decoder.turned() {
        let pairs = rope.frequencies.len();
        let [cos, sin] = angle_names(options.names, kind);
        let cos = angles(e, &cos, "cosines", [count, pairs])?;
        let sin = angles(e, &sin, "sines", [count, pairs])?;
        around.angles.insert(kind, Angles { cos, sin, pairs });
    }
    let banks = Banks::new(e, decoder, options, count, kv, &mut around)?;
    Ok((around, banks))
}

/// What the cosines and sines of a kind of rotation are called.
fn angle_names(names: Names, kind: usize) -> [String; 2] {
    let suffix = if kind == 0 { String::new() } else { format!("_{kind}") };
    [format!("{}{suffix}", names.cos), format!("{}{suffix}", names.sin)]
}

/// An input of rows `[1, 1, T, pairs]`, as `[1, 1, pairs, T]`.
fn angles(
    e: &mut Emitter<'_>,
    name: &str,
    what: &str,
    [count, pairs]: [usize; 2],
) -> Result<ValueId> {
    let ty = TensorType::fixed(e.float(), &[1, 1, count, pairs]);
    let about = format!("{what} of each token's angles, one a pair of coordinates");
    let rows = e.input(name, ty, Sizes::Fixed, &about)?;
    e.transpose(&format!("{name}_columns"), rows, &[0, 1, 3, 2])
}
