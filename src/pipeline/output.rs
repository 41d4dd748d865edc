//! The output folder is one transaction: built as a hidden sibling, synced, and renamed once.
//!
//! At any moment, a `kill -9` or a power cut included, the folder's name shows the old content or
//! the new, never a half. What an interrupted run leaves behind is a hidden sibling that nobody
//! holds a lock on; the next run for the same name removes it.

use crate::map::Map;
use crate::{Error, Result};
use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

/// A folder of ours holds this file; `--force` replaces only such folders.
pub const REPORT: &str = "report.json";

/// The start of every report: it tells our folders from others'.
const SIGNATURE: &str = "\"tool\": \"twolane\"";

/// An output folder under construction.
#[derive(Debug)]
pub struct Transaction {
    target: PathBuf,
    staging: PathBuf,
    replace: bool,
    /// The staging folder, locked: other runs leave it alone.
    _lock: File,
    finished: bool,
}

impl Transaction {
    /// Checks that `target` may be written, and creates its staging sibling.
    ///
    /// # Errors
    /// [`Error::Usage`] if `target` exists and either `force` is off or it is no folder that this
    /// tool wrote; [`Error::Io`] if the sibling cannot be created.
    pub fn begin(target: &Path, force: bool) -> Result<Self> {
        check_target(target, force)?;
        let parent = parent_of(target);
        fs::create_dir_all(&parent).map_err(|e| io_error("create", &parent, e))?;
        let prefix = staging_prefix(target)?;
        remove_stale(&parent, &prefix);
        let staging = parent.join(format!("{prefix}{}", std::process::id()));
        fs::create_dir(&staging).map_err(|e| match e.kind() {
            // Stale ones are gone: another container's process of this number, or this process.
            io::ErrorKind::AlreadyExists => Error::Usage(format!(
                "another run is writing {}; wait for it, or choose another with --output",
                target.display()
            )),
            _ => io_error("create", &staging, e),
        })?;
        let lock = lock(&staging).map_err(|e| io_error("lock", &staging, e))?;
        let replace = target.exists();
        Ok(Self { target: target.into(), staging, replace, _lock: lock, finished: false })
    }

    /// Creates a file of exactly `len` bytes, and its folders, inside the staging folder. Space is
    /// reserved at once where the file system can, so that a full disk shows before the work.
    ///
    /// # Errors
    /// [`Error::Io`], a full disk included.
    pub fn create(&self, path: &str, len: u64) -> Result<OutputFile> {
        let full = self.staging.join(path);
        let name = self.target.join(path).display().to_string();
        let fail = |e| Error::io("write", name.clone(), e);
        if let Some(parent) = full.parent() {
            fs::create_dir_all(parent).map_err(fail)?;
        }
        let file =
            OpenOptions::new().read(true).write(true).create_new(true).open(&full).map_err(fail)?;
        reserve(&file, len).map_err(fail)?;
        Ok(OutputFile { file, name })
    }

    /// Where something of this name may be put that goes with the staging folder: room for another run.
    pub fn room(&self, name: &str) -> PathBuf {
        self.staging.join(name)
    }

    /// A file of exactly `len` bytes without a name, which disappears when it is closed: room for
    /// what does not fit into memory, on the disk of the output.
    ///
    /// # Errors
    /// [`Error::Io`], a full disk included.
    pub fn scratch(&self, len: u64) -> Result<File> {
        const NAME: &str = ".scratch";
        let file = self.create(NAME, len)?.file;
        let path = self.staging.join(NAME);
        fs::remove_file(&path).map_err(|e| io_error("remove", &path, e))?;
        Ok(file)
    }

    /// The same, to be written as the files with names are.
    ///
    /// # Errors
    /// [`Error::Io`], a full disk included.
    pub fn unnamed(&self, len: u64) -> Result<OutputFile> {
        let name = self.target.join("an unnamed file").display().to_string();
        Ok(OutputFile { file: self.scratch(len)?, name })
    }

    /// Writes a small file whole.
    ///
    /// # Errors
    /// [`Error::Io`], a full disk included.
    pub fn write(&self, path: &str, bytes: &[u8]) -> Result<()> {
        self.create(path, bytes.len() as u64)?.write_at(bytes, 0)
    }

    /// Creates an empty folder inside the staging folder.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn create_dir(&self, path: &str) -> Result<()> {
        let full = self.staging.join(path);
        fs::create_dir_all(&full).map_err(|e| io_error("create", &full, e))
    }

    /// Syncs everything and gives the folder its name.
    ///
    /// # Errors
    /// [`Error::Io`] if a sync or the rename fails: then the old state stands. [`Error::Usage`] if
    /// another run took the name meanwhile, or the file system cannot exchange two folders.
    pub fn commit(mut self) -> Result<()> {
        sync_tree(&self.staging)?;
        let fail = |e| io_error("rename the finished folder to", &self.target, e);
        if self.replace {
            // Whatever stood there may have been changed while we worked.
            check_target(&self.target, true)?;
            match renameat_with(CWD, &self.staging, CWD, &self.target, RenameFlags::EXCHANGE) {
                Ok(()) => {}
                Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                    return Err(Error::Usage(format!(
                        "this file system cannot exchange two folders in one step; remove {} \
                         first, or choose another with --output",
                        self.target.display()
                    )));
                }
                Err(e) => return Err(fail(e.into())),
            }
            sync_dir(&parent_of(&self.target))?;
            // The staging name now holds the old content; dropping removes it.
        } else {
            match renameat_with(CWD, &self.staging, CWD, &self.target, RenameFlags::NOREPLACE) {
                Ok(()) => {}
                // A file system without the flag: a plain rename replaces at most an empty folder.
                Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {
                    fs::rename(&self.staging, &self.target).map_err(fail)?;
                }
                Err(rustix::io::Errno::EXIST) => {
                    return Err(Error::Usage(format!(
                        "{} appeared while this run was at work, and is left as it is; replace it \
                         with --force, or choose another with --output",
                        self.target.display()
                    )));
                }
                Err(e) => return Err(fail(e.into())),
            }
            sync_dir(&parent_of(&self.target))?;
            self.finished = true;
        }
        Ok(())
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if !self.finished {
            // Nothing better can be done with a failure here: the next run tries again.
            let _ = fs::remove_dir_all(&self.staging);
        }
    }
}

/// One file of a transaction, written at any offset from any thread.
#[derive(Debug)]
pub struct OutputFile {
    file: File,
    name: String,
}

impl OutputFile {
    /// Writes `bytes` at `offset`.
    ///
    /// # Errors
    /// [`Error::Io`], a full disk included.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> Result<()> {
        use std::os::unix::fs::FileExt;
        self.file.write_all_at(bytes, offset).map_err(|e| Error::io("write", &self.name, e))
    }

    /// What was written so far, mapped.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Input`] for an empty file.
    pub(super) fn map(&self) -> Result<Map> {
        Map::of(&self.file, &self.name)
    }

    /// Asks the system to begin to bring what was written to the disk, without waiting for it. A
    /// hint: where it is not understood, the sync at the end does all the work.
    pub fn begin_writeback(&self) {
        // On Linux, pages that are "not needed" are written if they are dirty.
        #[cfg(target_os = "linux")]
        let _ = rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::DontNeed);
    }

    /// The file's length now.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn current_len(&self) -> Result<u64> {
        let metadata = self.file.metadata().map_err(|e| Error::io("read", &self.name, e))?;
        Ok(metadata.len())
    }
}

/// Runs `work` beside a thread that does `task` with whatever `work` hands to its argument: what
/// need not be waited for.
pub fn behind<M: Send, T>(task: impl Fn(M) + Send, work: impl FnOnce(&dyn Fn(M)) -> T) -> T {
    std::thread::scope(|scope| {
        let (hand, handed) = mpsc::channel();
        scope.spawn(move || handed.into_iter().for_each(task));
        // The thread takes all that comes, so that nothing can be refused.
        work(&|message| drop(hand.send(message)))
    })
}

/// Whether `dir` is a folder that this tool wrote: it holds a report with our signature.
pub fn is_ours(dir: &Path) -> bool {
    use std::io::Read;
    // Bytes, not text: the cut may fall within a letter of a rule.
    let mut start = Vec::new();
    let read = File::open(dir.join(REPORT)).and_then(|file| file.take(256).read_to_end(&mut start));
    read.is_ok() && start.windows(SIGNATURE.len()).any(|part| part == SIGNATURE.as_bytes())
}

/// Whether `target` may be written, as [`Transaction::begin`] decides it.
///
/// # Errors
/// [`Error::Usage`] if not.
pub fn check_target(target: &Path, force: bool) -> Result<()> {
    let Ok(metadata) = fs::symlink_metadata(target) else { return Ok(()) };
    let name = target.display();
    if !metadata.is_dir() {
        return Err(Error::Usage(format!(
            "{name} exists and is no folder; choose another with --output"
        )));
    }
    match (is_ours(target), force) {
        (true, true) => Ok(()),
        (true, false) => Err(Error::Usage(format!(
            "{name} exists; replace it with --force, or choose another with --output"
        ))),
        // Not even an empty one: it may be where another program is about to write.
        (false, _) => Err(Error::Usage(format!(
            "{name} exists and holds no {REPORT} of twolane, so not even --force replaces it; choose another with --output"
        ))),
    }
}

/// Removes what this process has built for `target` and not yet committed. For a process that is
/// about to end: whatever still works on the transaction fails from here on.
pub fn abandon(target: &Path) {
    let Ok(prefix) = staging_prefix(target) else { return };
    let (parent, id) = (parent_of(target), std::process::id());
    let staging = parent.join(format!("{prefix}{id}"));
    // First another name: a commit in another thread finds no staging folder or a whole one.
    let doomed = parent.join(format!("{prefix}{id}-abandoned"));
    if fs::rename(staging, &doomed).is_ok() {
        // What cannot be removed is left to the next run, which knows the name's start.
        let _ = fs::remove_dir_all(doomed);
    }
}

fn io_error(doing: &'static str, path: &Path, source: io::Error) -> Error {
    Error::io(doing, path.display().to_string(), source)
}

fn parent_of(target: &Path) -> PathBuf {
    match target.parent() {
        Some(parent) if parent != Path::new("") => parent.into(),
        _ => PathBuf::from("."),
    }
}

/// `.NAME.twolane-`, to be followed by a process id.
fn staging_prefix(target: &Path) -> Result<String> {
    let name = target.file_name().ok_or_else(|| {
        Error::Usage(format!("{} names no folder; choose another with --output", target.display()))
    })?;
    Ok(format!(".{}.twolane-", name.to_string_lossy()))
}

/// Removes what interrupted runs left for the same name: staging folders that nobody has locked.
fn remove_stale(parent: &Path, prefix: &str) {
    let Ok(entries) = fs::read_dir(parent) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(prefix)).unwrap_or_default();
        let ours = !process.is_empty() && process.bytes().all(|b| b.is_ascii_digit());
        if !ours || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if let Ok(_lock) = lock(&entry.path()) {
            // Left to the next run if it cannot be removed: this run does not need the name.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Locks a staging folder, or fails at once where another run holds it.
fn lock(staging: &Path) -> io::Result<File> {
    let folder = File::open(staging)?;
    flock(&folder, FlockOperation::NonBlockingLockExclusive)?;
    Ok(folder)
}

/// Reserves `len` bytes; where the file system cannot, only sets the length.
fn reserve(file: &File, len: u64) -> io::Result<()> {
    use rustix::io::Errno;
    #[cfg(target_os = "linux")]
    if len > 0 {
        match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, len) {
            Ok(()) => return Ok(()),
            Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {}
            Err(e) => return Err(e.into()),
        }
    }
    file.set_len(len)
}

/// Syncs every file and folder below `dir`, and `dir`.
fn sync_tree(dir: &Path) -> Result<()> {
    let fail = |e| io_error("sync", dir, e);
    for entry in fs::read_dir(dir).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        if entry.file_type().map_err(fail)?.is_dir() {
            sync_tree(&entry.path())?;
        } else {
            let synced = File::open(entry.path()).and_then(|file| file.sync_all());
            synced.map_err(|e| io_error("sync", &entry.path(), e))?;
        }
    }
    sync_dir(dir)
}

fn sync_dir(dir: &Path) -> Result<()> {
    File::open(dir).and_then(|file| file.sync_all()).map_err(|e| io_error("sync", dir, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    fn write_one(target: &Path, force: bool, content: &str) -> Result<()> {
        let transaction = Transaction::begin(target, force)?;
        transaction.write("sub/file", content.as_bytes())?;
        transaction.write(REPORT, format!("{{\n  {SIGNATURE}\n}}").as_bytes())?;
        transaction.commit()
    }

    #[test]
    fn a_commit_shows_the_whole_folder_and_leaves_nothing_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out");
        write_one(&target, false, "new").unwrap();
        assert_eq!(fs::read(target.join("sub/file")).unwrap(), b"new");
        assert_eq!(names(dir.path()), ["out"]);
        assert_eq!(names(&target), ["report.json", "sub"]);
    }

    #[test]
    fn a_dropped_transaction_leaves_the_old_folder_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out");
        write_one(&target, false, "old").unwrap();
        let transaction = Transaction::begin(&target, true).unwrap();
        transaction.write("sub/file", b"half").unwrap();
        assert_eq!(names(dir.path()).len(), 2);
        drop(transaction);
        assert_eq!(fs::read(target.join("sub/file")).unwrap(), b"old");
        assert_eq!(names(dir.path()), ["out"]);
    }

    #[test]
    fn force_exchanges_a_folder_of_ours_and_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out");
        write_one(&target, false, "old").unwrap();
        let refused = write_one(&target, false, "new").unwrap_err().to_string();
        assert!(
            refused
                .ends_with("out exists; replace it with --force, or choose another with --output")
        );
        write_one(&target, true, "new").unwrap();
        assert_eq!(fs::read(target.join("sub/file")).unwrap(), b"new");
        assert_eq!(names(dir.path()), ["out"]);

        let foreign = dir.path().join("foreign");
        fs::create_dir(&foreign).unwrap();
        fs::write(foreign.join("thesis.txt"), "years of work").unwrap();
        let refused = write_one(&foreign, true, "new").unwrap_err().to_string();
        assert!(refused.contains("holds no report.json of twolane"), "{refused}");
        assert_eq!(names(&foreign), ["thesis.txt"]);
    }

    #[test]
    fn what_a_killed_run_left_is_removed_and_what_a_living_one_holds_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out");
        let stale = dir.path().join(".out.twolane-1");
        fs::create_dir(&stale).unwrap();
        fs::write(stale.join("half"), "").unwrap();
        let living = dir.path().join(".out.twolane-2");
        fs::create_dir(&living).unwrap();
        let _held = lock(&living).unwrap();
        // Names of others that only look alike.
        fs::create_dir(dir.path().join(".out.twolane-notes")).unwrap();
        fs::write(dir.path().join(".out.twolane-3"), "a file").unwrap();
        write_one(&target, false, "new").unwrap();
        let kept = [".out.twolane-2", ".out.twolane-3", ".out.twolane-notes", "out"];
        assert_eq!(names(dir.path()), kept);
    }

    #[test]
    fn two_runs_for_one_name_do_not_meet() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out");
        let first = Transaction::begin(&target, false).unwrap();
        first.write("file", b"first").unwrap();
        let refused = Transaction::begin(&target, false).unwrap_err();
        assert!(matches!(&refused, Error::Usage(why) if why.contains("another run is writing")));
        first.commit().unwrap();
        assert_eq!(fs::read(target.join("file")).unwrap(), b"first");
        assert_eq!(names(dir.path()), ["out"]);
    }

    #[test]
    fn a_folder_is_ours_whatever_letters_its_report_holds() {
        let dir = tempfile::tempdir().unwrap();
        for shift in 0..3 {
            let rules = "é".repeat(300);
            let report = format!("{{\n{}{SIGNATURE},\n\"rules\": \"{rules}\"}}", " ".repeat(shift));
            fs::write(dir.path().join(REPORT), report).unwrap();
            assert!(is_ours(dir.path()));
        }
    }

    #[test]
    fn a_name_taken_meanwhile_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out");
        let transaction = Transaction::begin(&target, false).unwrap();
        transaction.write("file", b"late").unwrap();
        fs::create_dir(&target).unwrap();
        fs::write(target.join("file"), "early").unwrap();
        let refused = transaction.commit().unwrap_err();
        assert!(matches!(&refused, Error::Usage(why) if why.contains("appeared while")));
        assert_eq!(fs::read(target.join("file")).unwrap(), b"early");
        assert_eq!(names(dir.path()), ["out"]);
    }

    #[test]
    fn an_abandoned_transaction_cannot_commit_and_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("out");
        write_one(&target, false, "old").unwrap();
        let transaction = Transaction::begin(&target, true).unwrap();
        transaction.write("sub/file", b"half").unwrap();
        abandon(&target);
        assert_eq!(names(dir.path()), ["out"]);
        assert!(transaction.commit().is_err());
        assert_eq!(fs::read(target.join("sub/file")).unwrap(), b"old");
        abandon(&target);
        assert_eq!(names(dir.path()), ["out"]);
    }
}
