//! What the host of a package for the Neural Engine feeds besides ids, as its metadata says it.

use super::super::Decoder;
use super::super::build::Options;
use super::banks;
use crate::graph::Program;
use crate::model::rope::Rope;
use crate::plan::Kv;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The key of the package's metadata under which [`Host`] stands, as JSON.
pub const HOST: &str = "twolane.host";

/// What a host feeds each step of T tokens, the first of them at position `p`.
///
/// | feature | row `t` |
/// |---|---|
/// | [`Rotation::cos`], [`Rotation::sin`], `[1, 1, T, pairs]` | `factor · cos((p + t) · frequency)`, the angle in f32 |
/// | [`Bank::mask`], `[1, 1, T, length]` | 0 in the columns of the positions that token `p + t` sees, −30000 in the others |
/// | [`Host::last`], `[1, 1, 1, T]`, of functions that have it | its one row: 1 in the column of the last token that is no padding, 0 in the others |
/// | [`Bank::update`], `[1, 1, T, length]` | 1 in the column of position `p + t`, 0 in the others; all 0 where the row is padding |
///
/// The column of position `q` is `q mod length`. A token sees the positions up to its own; with a
/// window of `w`, the last `w` of them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// The longest text, in tokens.
    pub context: usize,
    /// Cosines and sines.
    pub rotations: Vec<Rotation>,
    /// Caches with their masks.
    pub caches: Vec<Bank>,
    /// The input that says which row's logits are returned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<String>,
}

/// Cosines and sines of one kind of rotation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rotation {
    /// The input of cosines.
    pub cos: String,
    /// The input of sines.
    pub sin: String,
    /// The angles.
    #[serde(flatten)]
    pub rope: Rope,
}

/// The caches of the layers that see as far as each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bank {
    /// How many positions back a token sees, itself included; without it, all.
    pub window: Option<usize>,
    /// Columns of the caches.
    pub length: usize,
    /// The input that is added to scores.
    pub mask: String,
    /// The input that says which columns are written.
    pub update: String,
    /// Caches that are inputs, zero before the first step, each with the output that is fed in its
    /// place to the next; empty where they are states.
    pub carried: BTreeMap<String, String>,
}

impl Host {
    /// What this decoder's functions want.
    pub(in super::super) fn new(decoder: &Decoder, options: &Options) -> Self {
        let rotation = |(kind, rope): (usize, &Rope)| {
            let [cos, sin] = super::angle_names(options.names, kind);
            Rotation { cos, sin, rope: rope.clone() }
        };
        let bank = |bank: banks::Form| Bank {
            carried: match options.kv {
                Some(Kv::Io) => bank.kept.iter().cloned().zip(bank.next.iter().cloned()).collect(),
                Some(Kv::State) | None => BTreeMap::new(),
            },
            window: bank.window,
            length: bank.length,
            mask: bank.mask,
            update: bank.update,
        };
        Self {
            context: options.context,
            rotations: decoder.turned().map(rotation).collect(),
            caches: banks::forms(decoder, options).into_iter().map(bank).collect(),
            last: (options.last_row && options.prefill_chunk > 1)
                .then(|| options.names.last.into()),
        }
    }

    /// What the functions of a package want; `None` for one that does not say so.
    ///
    /// # Errors
    /// [`Error::Input`] for metadata that cannot be read.
    pub fn of(program: &Program) -> Result<Option<Self>> {
        let Some(text) = program.metadata.user.get(HOST) else { return Ok(None) };
        let host: Self = serde_json::from_str(text).map_err(|why| {
            let found = format!("its metadata `{HOST}` cannot be read: {why}");
            Error::input("the package", found, "convert the model again")
        })?;
        // A cache holds what its tokens see: the window, or the whole text.
        let seen =
            |bank: &Bank| bank.window.map_or(host.context, |window| window.min(host.context));
        if host.caches.iter().any(|bank| seen(bank) == 0 || bank.length < seen(bank)) {
            let found = format!(
                "its metadata `{HOST}` has a cache with fewer columns than a token sees, or none"
            );
            return Err(Error::input("the package", found, "convert the model again"));
        }
        Ok(Some(host))
    }

    pub(in super::super) fn to_json(&self) -> String {
        serde_json::to_string(self).expect("names and numbers are JSON")
    }
}
