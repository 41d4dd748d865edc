//! The Metal blob.
