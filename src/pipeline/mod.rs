//! The way.
