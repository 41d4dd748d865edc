//! Error measures.

/// Error statistics of some weights, merged in a fixed order.
#[derive(Clone, Debug, Default)]
pub struct Stats {}
