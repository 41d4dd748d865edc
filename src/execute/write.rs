//! What came out, as safetensors; files that appear whole or not at all.

use crate::formats::safetensors::{Dtype, Layout};
use crate::runtime::{Data, Label, Tensor};
use crate::{Error, Result};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

/// A tensor as safetensors holds it.
#[derive(Clone, Debug, PartialEq)]
pub struct Plain {
    /// F32, I32, U8 (flags as 0 and 1 are BOOL) or F64 (scores).
    pub dtype: Dtype,
    /// The shape.
    pub shape: Vec<usize>,
    /// Little-endian elements.
    pub bytes: Vec<u8>,
}

impl Plain {
    /// Floating-point numbers are stored as F32 whatever type the program declares, for they are not
    /// rounded in every mode; scores as one F64 each, in the order of the labels. `None` for a label.
    pub fn of(tensor: &Tensor) -> Option<Self> {
        let (dtype, bytes, shape) = match &tensor.data {
            Data::Float(a) => {
                (Dtype::F32, a.iter().flat_map(|x| x.to_le_bytes()).collect(), a.shape())
            }
            Data::Int(a) => {
                (Dtype::I32, a.iter().flat_map(|x| x.to_le_bytes()).collect(), a.shape())
            }
            Data::Bool(a) => (Dtype::BOOL, a.iter().map(|&x| x.into()).collect(), a.shape()),
            Data::Label(_) => return None,
            Data::Scores(scores) => {
                let bytes = scores.iter().flat_map(|(_, x)| x.to_le_bytes()).collect();
                (Dtype::F64, bytes, &[scores.len()][..])
            }
        };
        Some(Self { dtype, shape: shape.to_vec(), bytes })
    }
}

/// Writes tensors as a safetensors file, at once. A label has no tensor: it goes into the metadata,
/// under the output's name; so do the labels of scores, as a JSON list under `NAME.labels`.
///
/// # Errors
/// [`Error::Io`]; [`Error::Format`] for more names than a header holds.
pub fn write_outputs(path: &Path, tensors: &BTreeMap<String, &Tensor>) -> Result<()> {
    let mut metadata = BTreeMap::new();
    let mut plain = Vec::new();
    for (name, tensor) in tensors {
        match &tensor.data {
            Data::Label(label) => drop(metadata.insert(name.clone(), label.to_string())),
            Data::Scores(scores) => {
                let labels: Vec<String> =
                    scores.iter().map(|(label, _)| label.to_string()).collect();
                metadata.insert(format!("{name}.labels"), serde_json::json!(labels).to_string());
            }
            Data::Float(_) | Data::Int(_) | Data::Bool(_) => {}
        }
        plain.extend(Plain::of(tensor).map(|plain| (name.clone(), plain)));
    }
    let listed: Vec<_> =
        plain.iter().map(|(name, p)| (name.clone(), p.dtype, p.shape.clone())).collect();
    let layout = Layout::new(&listed, &metadata)?;
    let mut order: Vec<usize> = (0..plain.len()).collect();
    order.sort_by_key(|&i| layout.offsets[i]);
    replace_file(path, &|file| {
        file.write_all(&layout.header)?;
        order.iter().try_for_each(|&i| file.write_all(&plain[i].1.bytes))
    })
}

/// Writes a file beside `path`, syncs it, and gives it the name: whatever happens, the old content or
/// the new stands there, never a half.
///
/// # Errors
/// [`Error::Io`].
pub fn replace_file(
    path: &Path,
    write: &dyn Fn(&mut dyn Write) -> std::io::Result<()>,
) -> Result<()> {
    let failed = |error| Error::io("write", path.display().to_string(), error);
    let name = path.file_name().ok_or_else(|| {
        Error::Usage(format!("{} names no file that could be written", path.display()))
    })?;
    let beside = format!(".{}.twolane-{}", name.to_string_lossy(), std::process::id());
    let beside = path.with_file_name(beside);
    let written = File::create(&beside).and_then(|mut file| {
        write(&mut std::io::BufWriter::new(&mut file))?;
        file.sync_all()?;
        fs::rename(&beside, path)
    });
    if written.is_err() {
        // Nothing better can be done with a failure here; the first one is told.
        let _ = fs::remove_file(&beside);
    }
    written.map_err(failed)
}

impl std::fmt::Display for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Int(n) => write!(f, "{n}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::DataType;
    use crate::runtime::Tensor;
    use crate::source::Source;
    use ndarray::ArrayD;

    #[test]
    fn outputs_come_back_from_their_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.safetensors");
        let y = ArrayD::from_shape_vec(vec![2, 1], vec![0.5f32, -3.0]).unwrap();
        let y = Tensor::float(DataType::Float16, y);
        let label = Label::Text("seven".into());
        let scores = Data::Scores(vec![(label.clone(), 0.75), (Label::Int(8), 0.25)]);
        let scores = Tensor { dtype: DataType::String, data: scores };
        let label = Tensor { dtype: DataType::String, data: Data::Label(label) };
        let flags = Tensor::bool(ArrayD::from_elem(vec![3], true));
        let all = [("y", &y), ("probs", &scores), ("class", &label), ("flags", &flags)];
        let all = all.map(|(name, tensor)| (name.to_string(), tensor)).into();
        write_outputs(&path, &all).unwrap();
        write_outputs(&path, &all).unwrap();
        let file = Source::open(&path).unwrap();
        let mut told: Vec<_> = file
            .tensors()
            .iter()
            .map(|t| format!("{} {} {:?}", t.name, t.dtype, t.shape))
            .collect();
        told.sort();
        assert_eq!(told, ["flags BOOL [3]", "probs F64 [2]", "y F32 [2, 1]"]);
        assert_eq!(file.bytes(file.tensor("y").unwrap())[4..], (-3.0f32).to_le_bytes());
        let metadata = file.files()[0].metadata();
        assert_eq!(metadata["class"], "seven");
        assert_eq!(metadata["probs.labels"], r#"["seven","8"]"#);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        fs::write(&path, "old").unwrap();
        let full = |_: &mut dyn Write| Err(std::io::Error::other("full"));
        assert!(replace_file(&path, &full).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
