//! GGUF: an error, or a file whose lists and tensors are as long as it says.
#![no_main]

use libfuzzer_sys::fuzz_target;
use twolane_formats::gguf::{MAGIC, Reader, Value};

fuzz_target!(|input: &[u8]| {
    whole(input);
    // Mutations seldom keep the magic and the version, so they are written for them here.
    whole(&[&MAGIC[..], &3u32.to_le_bytes(), input].concat());
});

fn whole(file: &[u8]) {
    let Ok(reader) = Reader::open(file) else { return };
    for value in reader.metadata.values() {
        if let Value::List(list) = value {
            assert_eq!(list.values().count() as u64, list.len());
        }
    }
    for tensor in &reader.tensors {
        if let Some(floats) = reader.floats(tensor) {
            assert_eq!(floats.len() as u64, tensor.shape.iter().product::<u64>());
        }
    }
}
