//! What becomes a graph.
//!
//! | module | what it builds |
//! |---|---|
//! | [`mod@layer_package`] | bare tensors: one function for each weight matrix |
//! | [`layer`] | which operation a bare tensor feeds, by shape and by name |

pub mod layer;
pub mod layer_package;

pub use layer::{Kind, Rules};
pub use layer_package::{Layer, LayerPackage, Options, Outcome, layer_package};
