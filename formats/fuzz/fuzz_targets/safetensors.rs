//! Headers and indexes: an error, or what the safetensors crate reads too.
#![no_main]

use libfuzzer_sys::fuzz_target;
use safetensors::SafeTensors;
use twolane_formats::safetensors::{Header, Index, Layout};

fuzz_target!(|input: &[u8]| {
    whole(input);
    // Mutations seldom get the header's length right, so it is written for them here; the first
    // byte says how many bytes of data follow the header.
    if let Some((&data, header)) = input.split_first() {
        let mut file = (header.len() as u64).to_le_bytes().to_vec();
        file.extend_from_slice(header);
        file.extend(0..data);
        whole(&file);
        let _ = Index::parse(header);
    }
});

/// What is accepted must be sound: the other reader agrees, and laying it out again loses nothing.
fn whole(file: &[u8]) {
    let Ok(header) = Header::parse(file) else { return };
    let theirs = SafeTensors::deserialize(file).expect("the safetensors crate accepts it too");
    assert_eq!(theirs.len(), header.tensors.len());
    let data = &file[header.data_start as usize..];
    let mut covered = 0;
    for tensor in &header.tensors {
        let offsets = tensor.data_offsets.clone();
        assert_eq!(offsets.start, covered);
        covered = offsets.end;
        let view = theirs.tensor(&tensor.name).expect("the same name");
        assert_eq!((view.dtype(), view.shape()), (tensor.dtype, &tensor.shape[..]));
        assert_eq!(view.data(), &data[offsets.start as usize..offsets.end as usize]);
    }
    assert_eq!(covered, data.len() as u64);

    let list: Vec<_> =
        header.tensors.iter().map(|t| (t.name.clone(), t.dtype, t.shape.clone())).collect();
    let layout = Layout::new(&list, &header.metadata).expect("it was a file before");
    let again = Header::parse_prefix(&layout.header, layout.file_len).expect("our own header");
    assert_eq!(again.metadata, header.metadata);
    for (tensor, offset) in header.tensors.iter().zip(layout.offsets) {
        let same = again.tensors.iter().find(|t| t.name == tensor.name).expect("laid out");
        assert_eq!((same.dtype, &same.shape), (tensor.dtype, &tensor.shape));
        assert_eq!(again.data_start + same.data_offsets.start, offset);
        let length = tensor.data_offsets.end - tensor.data_offsets.start;
        assert_eq!(same.data_offsets.end - same.data_offsets.start, length);
    }
}
