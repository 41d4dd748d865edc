//! Plan before data.
