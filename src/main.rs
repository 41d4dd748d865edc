//! `quantize`: words in, words out.
fn main() {}
