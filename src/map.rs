//! Files mapped into memory: the one place outside the kernels that needs `unsafe`.
//!
//! A mapped file costs no memory of its own: its pages are the system's cache, read when touched
//! and dropped when memory is short.
#![allow(unsafe_code)]

use crate::{Error, Result};
use memmap2::Mmap;
use std::fs::{self, File};
use std::ops::Range;
use std::path::Path;

/// A whole file, mapped for reading.
#[derive(Debug)]
pub(crate) struct Map(Mmap);

impl AsRef<[u8]> for Map {
    fn as_ref(&self) -> &[u8] {
        self.bytes()
    }
}

impl Map {
    /// Maps a regular file that is not empty.
    ///
    /// # Errors
    /// [`Error::Input`] for an empty file and for what is no regular file: a pipe or a device
    /// cannot be mapped; [`Error::Io`] if the system refuses.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let shown = path.display().to_string();
        let unreadable = |source| Error::io("read", &shown, source);
        // Asked before opening, for opening a pipe waits until somebody writes into it; and again
        // after, of the file that was really opened.
        check(&shown, &fs::metadata(path).map_err(unreadable)?)?;
        Self::of(&File::open(path).map_err(unreadable)?, &shown)
    }

    /// Maps a file that is open; `shown` names it in errors.
    ///
    /// # Errors
    /// As [`Map::open`].
    pub(crate) fn of(file: &File, shown: &str) -> Result<Self> {
        check(shown, &file.metadata().map_err(|source| Error::io("read", shown, source))?)?;
        // SAFETY: the map is read-only and is only ever seen as bytes, of which every value is
        // valid. If another program writes to the file while it is mapped, other bytes may be read
        // than were checked; each use slices within the mapped length, which does not change, so
        // that gives wrong weights, not a wrong address. If another program cuts the file short,
        // reading behind its new end stops this process with SIGBUS; that is the documented price
        // of mapping, and the same as in every tool that maps checkpoints.
        let map = unsafe { Mmap::map(file) };
        Ok(Self(map.map_err(|source| Error::io("map", shown, source))?))
    }

    /// The file's bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// Tells the system that a range will be read soon, so that it reads ahead. Only a hint.
    pub(crate) fn will_need(&self, range: Range<usize>) {
        #[cfg(unix)]
        {
            let _ = self.0.advise_range(memmap2::Advice::WillNeed, range.start, range.len());
        }
        #[cfg(not(unix))]
        let _ = range;
    }

    /// Tells the system that a range was read for the last time, so that its pages no longer count
    /// as this process's memory. Only a hint: a later read finds the same bytes.
    pub(crate) fn done(&self, range: Range<usize>) {
        #[cfg(unix)]
        {
            use memmap2::UncheckedAdvice::DontNeed;
            // SAFETY: on a read-only map of a file, dropped pages are read again from the file
            // when they are touched, so no reference into the map changes its meaning. (The advice
            // is only dangerous on private maps that were written to.)
            let advised =
                unsafe { self.0.unchecked_advise_range(DontNeed, range.start, range.len()) };
            let _ = advised;
        }
        #[cfg(not(unix))]
        let _ = range;
    }
}

fn check(shown: &str, metadata: &fs::Metadata) -> Result<()> {
    let kind = metadata.file_type();
    if kind.is_dir() {
        return Err(Error::input(shown, "this is a folder", "give the file in it"));
    }
    if !kind.is_file() {
        let found = "this is no regular file, and cannot be mapped into memory";
        return Err(Error::input(shown, found, "save its bytes to a file first"));
    }
    if metadata.len() == 0 {
        return Err(Error::input(shown, "the file is empty", "download it again"));
    }
    Ok(())
}
