//! Models: an error, or a message whose bytes give the same message.
#![no_main]

use libfuzzer_sys::fuzz_target;
use twolane_formats::mil::Model;

fuzz_target!(|input: &[u8]| {
    whole(input);
    // Mutations seldom get past the outermost fields, so they are written for them here: version
    // 9, and the input as the program (field 502) or as the description (field 2).
    for field in [&[0xb2, 0x1f][..], &[0x12]] {
        let mut file = vec![0x08, 0x09];
        file.extend_from_slice(field);
        varint(input.len() as u64, &mut file);
        file.extend_from_slice(input);
        if field == [0x12] {
            file.extend_from_slice(&[0xb2, 0x1f, 0]);
        }
        whole(&file);
    }
});

fn whole(file: &[u8]) {
    let Ok(model) = Model::parse(file) else { return };
    assert!(model.ml_program.is_some());
    // Bytes are compared, not messages: a float may be NaN.
    let bytes = model.to_bytes();
    let again = Model::parse(&bytes).expect("our own bytes");
    assert_eq!(again.to_bytes(), bytes);
}

fn varint(mut n: u64, out: &mut Vec<u8>) {
    while n > 0x7f {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}
