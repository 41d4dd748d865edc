//! Blob files: an error, or blobs that a plan of the same types and counts describes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use twolane_formats::mil::DataType;
use twolane_formats::weight_blob::{Plan, Reader};

fuzz_target!(|input: &[u8]| {
    if let Ok(reader) = Reader::new(input) {
        for offset in (0..=input.len() as u64 + 128).step_by(32).chain([u64::MAX, u64::MAX - 63]) {
            let Ok(blob) = reader.get(offset) else { continue };
            assert_eq!(blob.metadata_offset, offset);
            assert_eq!(blob.dtype.byte_len(blob.elements), Some(blob.data.len() as u64));
        }
        if let Ok(blobs) = reader.walk() {
            assert_eq!(blobs.len() as u64, u64::from(reader.count()));
        }
    }
    planned(input);
});

/// Plans a blob for each pair of bytes, a type and a count, and reads the file back.
fn planned(input: &[u8]) {
    let mut plan = Plan::new();
    for pair in input.as_chunks::<2>().0.iter().take(64) {
        let dtype = DataType::ALL[usize::from(pair[0]) % DataType::ALL.len()];
        let _ = plan.add(dtype, pair[1].into());
    }
    let mut file = vec![0; plan.byte_len() as usize];
    for (at, record) in plan.records() {
        file[at as usize..][..record.len()].copy_from_slice(&record);
    }
    let blobs = Reader::new(&file).expect("our own file").walk().expect("our own file");
    assert_eq!(blobs.len(), plan.entries().len());
    for (blob, entry) in blobs.iter().zip(plan.entries()) {
        assert_eq!((blob.dtype, blob.elements), (entry.dtype, entry.elements));
        assert_eq!(blob.metadata_offset, entry.metadata_offset);
    }
}
