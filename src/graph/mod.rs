//! The typed MIL program: the only intermediate representation.
//!
//! | module | what it holds |
//! |---|---|
//! | [`DataType`] | element types |
//! | [`weight`] | a weight is a value with a storage |

mod data_type;
pub mod weight;

pub use data_type::DataType;
