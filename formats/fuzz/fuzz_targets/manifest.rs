//! Manifests: an error, or one whose text gives the same manifest and whose paths stay inside.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::path::{Component, Path};
use twolane_formats::mlpackage::Manifest;

fuzz_target!(|input: &[u8]| {
    let Ok(manifest) = Manifest::parse(input) else { return };
    assert!(manifest.root().is_some());
    for item in manifest.item_info_entries.values() {
        assert!(Path::new(&item.path).components().all(|c| matches!(c, Component::Normal(_))));
    }
    let again = Manifest::parse(manifest.to_json().as_bytes());
    // Escapes can make the text longer, past the limit; nothing else may refuse it.
    if manifest.to_json().len() < 1 << 20 {
        assert_eq!(again.expect("our own text"), manifest);
    }
});
