//! Opening a package: every path is checked before it is followed.

use super::{DATA_PATH, FORMAT, MANIFEST_PATH, MAX_MANIFEST_BYTES, Manifest, REMEDY, plain_names};
use crate::mil::{MAX_MODEL_BYTES, Model};
use crate::{Error, Result};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// An opened package whose manifest has been checked.
#[derive(Clone, Debug)]
pub struct Package {
    /// With all symbolic links resolved.
    dir: PathBuf,
    manifest: Manifest,
    /// The model's file, with all symbolic links resolved.
    model: PathBuf,
}

impl Package {
    /// Opens the package at `dir`: reads and checks its manifest, and that each item exists inside
    /// the folder. `dir` itself may be a symbolic link.
    ///
    /// # Errors
    /// [`Error::Io`] where the folder or its manifest cannot be read; [`Error::Malformed`] and
    /// [`Error::Unsupported`] as in [`Manifest::parse`], and for an item that is missing or lies
    /// outside the folder, be it through a symbolic link.
    pub fn open(dir: &Path) -> Result<Self> {
        let io = |source| Error::Io { what: dir.display().to_string(), source };
        let dir = fs::canonicalize(dir).map_err(io)?;
        let manifest_path = resolve(&dir, &dir.join(MANIFEST_PATH), MANIFEST_PATH)?;
        let text = read_limited(&manifest_path, MANIFEST_PATH, MAX_MANIFEST_BYTES)?;
        let manifest = Manifest::parse(&text)?;
        let mut model = None;
        for (id, item) in &manifest.item_info_entries {
            let names = plain_names(&item.path).unwrap_or_default(); // `Manifest::parse` has looked.
            let place = format!("item `{}`", item.path);
            let path = resolve(&dir, &below(dir.join(DATA_PATH), &names), &place)?;
            if *id == manifest.root_model_identifier {
                model = Some(path);
            }
        }
        let model = model.ok_or_else(|| malformed(MANIFEST_PATH, "no item is the model".into()))?;
        Ok(Self { dir, manifest, model })
    }

    /// The folder, with all symbolic links resolved.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Reads the model.
    ///
    /// # Errors
    /// [`Error::Io`]; else as [`Model::parse`], with the size looked at before reading.
    pub fn model(&self) -> Result<Model> {
        Model::parse(&self.model_bytes()?)
    }

    /// Where `model.mlmodel` lies.
    pub fn model_path(&self) -> &Path {
        &self.model
    }

    /// The bytes of the model, as they stand in its file.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Unsupported`] for more than [`MAX_MODEL_BYTES`].
    pub fn model_bytes(&self) -> Result<Vec<u8>> {
        read_limited(&self.model, "model.mlmodel", MAX_MODEL_BYTES)
    }

    /// Opens the blob file that a `BlobFileValue` names, `@model_path/weights/weight.bin`; the
    /// caller maps it for a [`crate::weight_blob::Reader`].
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be opened; [`Error::Malformed`] for another form of name, and
    /// for a file that is missing, is none, or lies outside the package.
    pub fn open_blob_file(&self, file_name: &str) -> Result<File> {
        open_file(&self.blob_path(file_name)?, &format!("blob file `{file_name}`"))
    }

    /// Where that file lies.
    ///
    /// # Errors
    /// As [`Self::open_blob_file`].
    pub fn blob_path(&self, file_name: &str) -> Result<PathBuf> {
        let place = format!("blob file `{file_name}`");
        let names =
            file_name.strip_prefix("@model_path/").and_then(plain_names).ok_or_else(|| {
                malformed(&place, "the name is not `@model_path/` and a path behind it".into())
            })?;
        let folder = self.model.parent().unwrap_or(&self.dir).to_owned();
        resolve(&self.dir, &below(folder, &names), &place)
    }
}

/// The path that these names lead to from `folder`.
fn below(mut folder: PathBuf, names: &[&str]) -> PathBuf {
    folder.extend(names);
    folder
}

/// `path` with all symbolic links resolved, which must still lie in `dir`.
fn resolve(dir: &Path, path: &Path, place: &str) -> Result<PathBuf> {
    let resolved = fs::canonicalize(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            malformed(place, format!("there is no {}", path.display()))
        }
        _ => Error::Io { what: path.display().to_string(), source },
    })?;
    if !resolved.starts_with(dir) {
        return Err(malformed(
            place,
            format!("it leads out of the package, to {}", resolved.display()),
        ));
    }
    Ok(resolved)
}

/// Opens a plain file: a pipe or a device would block or never end.
fn open_file(path: &Path, place: &str) -> Result<File> {
    let io = |source| Error::Io { what: path.display().to_string(), source };
    if !fs::metadata(path).map_err(io)?.is_file() {
        return Err(malformed(place, format!("{} is not a file", path.display())));
    }
    File::open(path).map_err(io)
}

/// The whole file, where it is no longer than `limit`.
fn read_limited(path: &Path, place: &str, limit: u64) -> Result<Vec<u8>> {
    let io = |source| Error::Io { what: path.display().to_string(), source };
    let file = open_file(path, place)?;
    let len = file.metadata().map_err(io)?.len();
    if len > limit {
        return Err(Error::Unsupported {
            place: format!("{FORMAT}, {place}"),
            found: format!("it takes {len} bytes"),
            can: format!("up to {} MiB can be read", limit >> 20),
        });
    }
    let mut bytes = Vec::with_capacity(len as usize);
    // A file that grows meanwhile is cut, and then refused by whoever parses it.
    file.take(limit).read_to_end(&mut bytes).map_err(io)?;
    Ok(bytes)
}

fn malformed(place: &str, found: String) -> Error {
    Error::Malformed { format: FORMAT, place: place.into(), found, remedy: REMEDY }
}

#[cfg(test)]
mod tests {
    use super::super::{MODEL_PATH, WEIGHT_BIN_PATH, WEIGHTS_PATH};
    use super::*;
    use crate::mil::{Program, WEIGHT_FILE_NAME};
    use tempfile::TempDir;

    /// A folder `p` with a sound package in it, and beside it a file `secret`.
    fn package() -> (TempDir, PathBuf) {
        let home = TempDir::new().expect("a temporary folder");
        let dir = home.path().join("p");
        fs::create_dir_all(dir.join(WEIGHTS_PATH)).expect("folders");
        let put = |path: &str, bytes: &[u8]| fs::write(dir.join(path), bytes).expect("a file");
        put(MANIFEST_PATH, Manifest::new(&[0; 32]).to_json().as_bytes());
        let program = Some(Program { version: 1, ..Program::default() });
        let model = Model { specification_version: 9, ml_program: program, ..Model::default() };
        put(MODEL_PATH, &model.to_bytes());
        put(WEIGHT_BIN_PATH, b"blobs");
        fs::write(home.path().join("secret"), b"secret").expect("a file");
        (home, dir)
    }

    /// The error's text, with the folder's own path, which differs from run to run, left out.
    fn text<T>(result: Result<T>, dir: &Path) -> String {
        let home = fs::canonicalize(dir.parent().expect("a parent")).expect("a folder");
        let error = result.err().expect("an error").to_string();
        error.replace(&home.display().to_string(), "HOME")
    }

    #[test]
    fn a_sound_package_opens() {
        let (_home, dir) = package();
        let package = Package::open(&dir).expect("a sound package");
        assert_eq!(package.manifest(), &Manifest::new(&[0; 32]));
        assert_eq!(package.model().expect("a model").specification_version, 9);
        let mut blobs = String::new();
        let mut file = package.open_blob_file(WEIGHT_FILE_NAME).expect("a blob file");
        file.read_to_string(&mut blobs).expect("a readable file");
        assert_eq!(blobs, "blobs");
    }

    #[test]
    fn missing_parts_are_named() {
        let (_home, dir) = package();
        let package = Package::open(&dir).expect("a sound package");
        fs::remove_file(dir.join(WEIGHT_BIN_PATH)).expect("removed");
        insta::assert_snapshot!(text(package.open_blob_file(WEIGHT_FILE_NAME), &dir), @"malformed .mlpackage, blob file `@model_path/weights/weight.bin`: there is no HOME/p/Data/com.apple.CoreML/weights/weight.bin; fetch or convert the package again");
        fs::remove_dir(dir.join(WEIGHTS_PATH)).expect("removed");
        insta::assert_snapshot!(text(Package::open(&dir), &dir), @"malformed .mlpackage, item `com.apple.CoreML/weights`: there is no HOME/p/Data/com.apple.CoreML/weights; fetch or convert the package again");
        fs::remove_file(dir.join(MANIFEST_PATH)).expect("removed");
        insta::assert_snapshot!(text(Package::open(&dir), &dir), @"malformed .mlpackage, Manifest.json: there is no HOME/p/Manifest.json; fetch or convert the package again");
    }

    #[test]
    fn blob_names_that_lead_elsewhere_are_refused() {
        let (_home, dir) = package();
        let package = Package::open(&dir).expect("a sound package");
        let names = [
            "weights/weight.bin",
            "/etc/passwd",
            "@model_path",
            "@model_path/",
            "@model_path/../x",
        ];
        for name in names {
            assert!(package.open_blob_file(name).is_err(), "{name}");
        }
        insta::assert_snapshot!(text(package.open_blob_file("@model_path/../../../secret"), &dir), @"malformed .mlpackage, blob file `@model_path/../../../secret`: the name is not `@model_path/` and a path behind it; fetch or convert the package again");
        insta::assert_snapshot!(text(package.open_blob_file("@model_path/weights"), &dir), @"malformed .mlpackage, blob file `@model_path/weights`: HOME/p/Data/com.apple.CoreML/weights is not a file; fetch or convert the package again");
    }

    #[test]
    fn files_beyond_their_limit_are_not_read() {
        let (_home, dir) = package();
        let model = File::create(dir.join(MODEL_PATH)).expect("a file");
        model.set_len(MAX_MODEL_BYTES + 1).expect("a sparse file");
        let package = Package::open(&dir).expect("a sound package");
        insta::assert_snapshot!(text(package.model(), &dir), @".mlpackage, model.mlmodel: it takes 67108865 bytes; up to 64 MiB can be read");
        let manifest = File::create(dir.join(MANIFEST_PATH)).expect("a file");
        manifest.set_len(MAX_MANIFEST_BYTES + 1).expect("a sparse file");
        insta::assert_snapshot!(text(Package::open(&dir), &dir), @".mlpackage, Manifest.json: it takes 1048577 bytes; up to 1 MiB can be read");
    }

    #[cfg(unix)]
    #[test]
    fn links_out_of_the_package_are_not_followed() {
        use std::os::unix::fs::symlink;
        let (home, dir) = package();
        let secret = home.path().join("secret");
        let package = Package::open(&dir).expect("a sound package");

        fs::remove_file(dir.join(WEIGHT_BIN_PATH)).expect("removed");
        symlink(&secret, dir.join(WEIGHT_BIN_PATH)).expect("a link");
        insta::assert_snapshot!(text(package.open_blob_file(WEIGHT_FILE_NAME), &dir), @"malformed .mlpackage, blob file `@model_path/weights/weight.bin`: it leads out of the package, to HOME/secret; fetch or convert the package again");

        fs::remove_file(dir.join(MODEL_PATH)).expect("removed");
        symlink(&secret, dir.join(MODEL_PATH)).expect("a link");
        insta::assert_snapshot!(text(Package::open(&dir), &dir), @"malformed .mlpackage, item `com.apple.CoreML/model.mlmodel`: it leads out of the package, to HOME/secret; fetch or convert the package again");

        fs::remove_file(dir.join(MANIFEST_PATH)).expect("removed");
        symlink(&secret, dir.join(MANIFEST_PATH)).expect("a link");
        insta::assert_snapshot!(text(Package::open(&dir), &dir), @"malformed .mlpackage, Manifest.json: it leads out of the package, to HOME/secret; fetch or convert the package again");
    }

    #[cfg(unix)]
    #[test]
    fn links_inside_the_package_and_to_it_are_followed() {
        use std::os::unix::fs::symlink;
        let (home, dir) = package();
        fs::rename(dir.join(WEIGHT_BIN_PATH), dir.join("blobs")).expect("moved");
        symlink("../../../blobs", dir.join(WEIGHT_BIN_PATH)).expect("a link");
        symlink(&dir, home.path().join("link")).expect("a link");
        let package = Package::open(&home.path().join("link")).expect("a sound package");
        assert!(package.open_blob_file(WEIGHT_FILE_NAME).is_ok());
    }
}
