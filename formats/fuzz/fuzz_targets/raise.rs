//! Packages: findings, or a program that holds together and is itself again once it is lowered.
//!
//! The input is the length of the model in two bytes, the model, and the blob file.
#![no_main]

use libfuzzer_sys::fuzz_target;
use twolane::formats::mil::{Model, unknown_fields};
use twolane::graph::weight::{Bytes, Data};
use twolane::graph::raise::{Raised, program};
use twolane::graph::lower;
use twolane::target::Target;

fuzz_target!(|input: &[u8]| {
    let Some((length, rest)) = input.split_first_chunk::<2>() else { return };
    let length = usize::from(u16::from_le_bytes(*length)).min(rest.len());
    let (model, blobs) = rest.split_at(length);
    unknown_fields(model);
    let Ok(model) = Model::parse(model) else { return };
    let Some(once) = raised(&model, blobs.to_vec()) else { return };
    for function in once.program.functions.values() {
        assert_eq!(function.check(once.target), []);
    }
    if once.target < Target::Ios16 {
        return;
    }
    // A sound program can ask for what its own target has no form for.
    let Ok(lowered) = lower(&once.program, once.target) else { return };
    let mut file = vec![0; lowered.plan.byte_len() as usize];
    let mut put = |at: u64, bytes: &[u8]| file[at as usize..][..bytes.len()].copy_from_slice(bytes);
    lowered.plan.records().for_each(|(at, record)| put(at, &record));
    for blob in &lowered.blobs {
        let Data::Bytes(bytes) = &blob.data else { panic!("bytes that come later") };
        put(blob.entry.data_offset, bytes);
    }
    let again = raised(&lowered.model, file).expect("our own package");
    assert!(again == once, "{again:#?}\n{once:#?}");
});

fn raised(model: &Model, blobs: Vec<u8>) -> Option<Raised> {
    let blobs = Bytes::from(blobs);
    program(model, &mut |_| Ok(blobs.clone())).ok()
}
