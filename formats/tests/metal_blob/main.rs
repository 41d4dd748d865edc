//! The Metal blob from outside: what a plan promises, what a reader believes, and what others made.

mod build;
mod hostile;
mod plan;
mod read;
mod shared;
mod spec;
