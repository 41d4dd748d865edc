//! Against what other programs made: checkpoints, coremltools' packages, outputs of torch.
//!
//! The data lies beside the repository, in `../shared`, or in the folder that `TWOLANE_SHARED` names;
//! without it each test says so and passes.

mod linear;
mod models;
mod packages;
mod palette;
mod programs;
mod runtime;
mod smooth;
mod source;
#[path = "../support/model.rs"]
mod support;
mod weights;

use std::path::{Path, PathBuf};

/// The folder of shared fixtures, where there is one.
fn fixtures() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let fixtures =
        std::env::var_os("TWOLANE_SHARED").map_or(beside, PathBuf::from).join("fixtures");
    if !fixtures.is_dir() {
        println!("skipped: no ../shared");
        return None;
    }
    Some(fixtures)
}
