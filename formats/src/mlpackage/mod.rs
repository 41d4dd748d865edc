//! The `.mlpackage` directory: a manifest, a model, and a folder of weights.
//!
//! ```text
//! NAME.mlpackage/
//!   Manifest.json
//!   Data/com.apple.CoreML/model.mlmodel          crate::mil::Model
//!   Data/com.apple.CoreML/weights/weight.bin     crate::weight_blob; absent without large weights
//! ```
//!
//! To write one, put [`Manifest::to_json`], the model's bytes and the planned blobs at the
//! relative paths below, in whatever transaction the caller has; Core ML wants the weights folder
//! to exist even when it is empty. To read one, [`Package::open`] it: nothing outside the folder is
//! ever opened, whatever its manifest, its model or its symbolic links say, and nothing is read
//! before its size is known to be sane.

mod manifest;
mod package;

pub use manifest::{Item, Manifest};
pub use package::Package;

/// The manifest, relative to the package.
pub const MANIFEST_PATH: &str = "Manifest.json";
/// The model, relative to the package.
pub const MODEL_PATH: &str = "Data/com.apple.CoreML/model.mlmodel";
/// The folder of weights, relative to the package.
pub const WEIGHTS_PATH: &str = "Data/com.apple.CoreML/weights";
/// The blob file, relative to the package.
pub const WEIGHT_BIN_PATH: &str = "Data/com.apple.CoreML/weights/weight.bin";
/// What item paths in a manifest are relative to.
const DATA_PATH: &str = "Data";
/// The largest manifest that is read: 1 MiB. Real ones take less than one KiB.
pub const MAX_MANIFEST_BYTES: u64 = 1 << 20;

const FORMAT: &str = ".mlpackage";
const REMEDY: &str = "fetch or convert the package again";

/// The parts of a relative path, where each is a plain name: no `..`, no root, no drive, and
/// nothing that another system would take for one.
fn plain_names(path: &str) -> Option<Vec<&str>> {
    let names: Vec<_> = path.split('/').collect();
    let plain =
        |name: &&str| !matches!(*name, "" | "." | "..") && !name.contains(['\\', ':', '\0']);
    names.iter().all(plain).then_some(names)
}
