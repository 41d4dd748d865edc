//! An .mlpackage as a program.

use crate::graph::Program;
use crate::target::Target;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// An opened package.
#[derive(Clone, Debug)]
pub struct Package {
    /// The .mlpackage folder.
    pub dir: PathBuf,
    /// What it holds; weights stay in the mapped blob file.
    pub program: Program,
    /// The target that it was written for.
    pub target: Target,
}

impl Package {
    /// Opens `path`: an .mlpackage, or an output folder that holds one.
    ///
    /// # Errors
    /// As [`crate::graph::raise::program`] and [`crate::formats::mlpackage::Package::open`].
    pub fn open(path: &Path) -> Result<Self> {
        let _ = path;
        Err(Error::bug("package", "not written yet"))
    }
}
