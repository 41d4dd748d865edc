//! The way: read → plan → quantize → lay out → write → report.

use crate::plan::{Header, Options, Plan};
use crate::report::Report;
use crate::source::Source;
use crate::{Error, Result};
use std::path::{Path, PathBuf};

/// Who is told how far a run has come, in bytes of input. Called from any thread.
pub trait Progress: Sync {
    /// The work begins, and will be this many bytes.
    fn start(&self, total_bytes: u64);
    /// So many more bytes are done.
    fn advance(&self, bytes: u64);
    /// The work is done.
    fn finish(&self);
}

/// Tells nobody.
impl Progress for () {
    fn start(&self, _: u64) {}
    fn advance(&self, _: u64) {}
    fn finish(&self) {}
}

/// A planned run.
pub struct Job {
    plan: Plan,
    folder: PathBuf,
}

/// Reads every header and plans; no weight is read.
///
/// # Errors
/// What [`Source::open`] and [`Plan::new`] refuse.
pub fn prepare(input: &Path, options: &Options) -> Result<Job> {
    let source = Source::open(input)?;
    let files = source.files();
    let header = |t: &crate::source::SourceTensor| Header {
        name: t.name.clone(),
        file: files[t.file].path().file_name().unwrap_or_default().to_string_lossy().into(),
        dtype: format!("{:?}", t.dtype),
        shape: t.shape.clone(),
        bytes: t.byte_len(),
    };
    let headers: Vec<Header> = source.tensors().iter().map(header).collect();
    let plan = Plan::new(&headers, options)?;
    Ok(Job { plan, folder: options.folder(source.stem()) })
}

impl Job {
    /// What will be done.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The output folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Does it.
    ///
    /// # Errors
    /// Always, until the rooms behind the plan are joined to it.
    pub fn run(&self, _progress: &dyn Progress) -> Result<Report> {
        Err(Error::bug("pipeline", "quantizing is not joined to the plan yet"))
    }
}
