//! Multiply-accumulates by class.

use super::{Class, Product};
use serde::{Deserialize, Serialize};

/// The multiply-accumulates of a function, by class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shares {
    /// Of all products.
    pub all: ByClass,
    /// Of those with a stored weight; the rest is activations times activations, as in attention.
    pub weights: ByClass,
    /// Products whose size is not known.
    pub unknown: usize,
}

/// Multiply-accumulates of each class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByClass {
    /// [`Class::W8a8`].
    pub w8a8: u64,
    /// [`Class::Lut8a8`].
    pub lut8a8: u64,
    /// [`Class::W8a16`].
    pub w8a16: u64,
    /// [`Class::FpPalette`].
    pub fp_palette: u64,
    /// [`Class::Float`].
    pub float: u64,
}

impl ByClass {
    /// Those of one class.
    pub fn of(&self, class: Class) -> u64 {
        match class {
            Class::W8a8 => self.w8a8,
            Class::Lut8a8 => self.lut8a8,
            Class::W8a16 => self.w8a16,
            Class::FpPalette => self.fp_palette,
            Class::Float => self.float,
        }
    }

    /// Adds to one class.
    pub fn add(&mut self, class: Class, macs: u64) {
        let sum = match class {
            Class::W8a8 => &mut self.w8a8,
            Class::Lut8a8 => &mut self.lut8a8,
            Class::W8a16 => &mut self.w8a16,
            Class::FpPalette => &mut self.fp_palette,
            Class::Float => &mut self.float,
        };
        *sum = sum.saturating_add(macs);
    }

    /// The sum of all classes.
    pub fn total(&self) -> u64 {
        Class::ALL.into_iter().fold(0, |sum, class| self.of(class).saturating_add(sum))
    }

    /// The share of one class, 0 to 1; `None` where nothing is multiplied.
    pub fn share(&self, class: Class) -> Option<f64> {
        let total = self.total();
        (total > 0).then(|| self.of(class) as f64 / total as f64)
    }

    /// The share whose arithmetic is INT8, 0 to 1; `None` where nothing is multiplied.
    pub fn int8_share(&self) -> Option<f64> {
        let total = self.total();
        (total > 0).then(|| self.w8a8.saturating_add(self.lut8a8) as f64 / total as f64)
    }
}

impl Shares {
    /// Counts products.
    pub fn of<'a>(products: impl IntoIterator<Item = &'a Product>) -> Self {
        let mut shares = Self::default();
        for product in products {
            let Some(macs) = product.macs else {
                shares.unknown += 1;
                continue;
            };
            shares.all.add(product.class, macs);
            if product.weight.is_some() {
                shares.weights.add(product.class, macs);
            }
        }
        shares
    }
}
