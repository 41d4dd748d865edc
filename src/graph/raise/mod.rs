//! From the messages of a package to the graph.
//!
//! | module | what it reads |
//! |---|---|
//! | `program` | the whole program, and what holds of it as a whole |
//! | `function` | a function: inputs, operations, outputs, and which name stands for what |
//! | `operation` | one operation: parameters, and the types of its outputs |
//! | `feature` | the description: sizes, images, labels; held against the function |
//! | `constexpr` | chains of constexpr operations → one weight with its storage |
//! | `form` | how each constexpr operation is written for each target |
//! | `values` | literals and blobs → constants |
//! | `types` | types |
//! | `finding` | findings as they come, and why a value cannot be read |
//!
//! What comes in was written by others: every reference, type and length is checked before use. What
//! is wrong does not end the search, so that all of it is found at once: a value that cannot be read
//! has the type that it declares, and what only follows from a finding is none.

mod constexpr;
mod feature;
mod finding;
mod form;
mod function;
mod operation;
mod program;
mod types;
mod values;

#[cfg(test)]
mod tests;

pub use super::finding::Finding;
pub(crate) use super::finding::listed;
pub(crate) use program::beside;
pub use program::{Raised, program};
