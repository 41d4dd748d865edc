//! The package directory.
