//! What the tests of whole runs share.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use twolane::formats::safetensors::{Dtype, Layout};

/// A safetensors file: name, type, shape and bytes of each tensor.
pub(crate) fn checkpoint(tensors: &[(&str, Dtype, &[usize], Vec<u8>)]) -> Vec<u8> {
    let listed: Vec<_> = tensors
        .iter()
        .map(|(name, dtype, shape, _)| ((*name).to_owned(), *dtype, shape.to_vec()))
        .collect();
    let layout = Layout::new(&listed, &BTreeMap::new()).unwrap();
    let mut file = layout.header;
    file.resize(layout.file_len as usize, 0);
    for ((.., bytes), offset) in tensors.iter().zip(layout.offsets) {
        file[offset as usize..][..bytes.len()].copy_from_slice(bytes);
    }
    file
}

/// Some numbers between −1 and 1, more of them near 0.
pub(crate) fn numbers(n: usize, seed: u32) -> impl Iterator<Item = f32> {
    let mut state = seed;
    (0..n).map(move |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        ((state >> 8) as f32 / (1 << 23) as f32 - 1.0).powi(3)
    })
}

/// Every file below a folder, by its path in it; empty folders end with a slash.
pub(crate) fn tree(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            let below = tree(&path);
            if below.is_empty() {
                found.insert(format!("{name}/"), vec![]);
            }
            found.extend(below.into_iter().map(|(path, bytes)| (format!("{name}/{path}"), bytes)));
        } else {
            found.insert(name, fs::read(&path).unwrap());
        }
    }
    found
}
