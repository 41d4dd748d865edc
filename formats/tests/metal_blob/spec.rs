//! The worked example of `docs/metal-blob.md` is what the writer makes and the reader reads.

use crate::build::{Logical, file, linear, weight};
use half::f16;
use twolane_formats::metal_blob::*;

const PAGE_TEXT: &str = include_str!("../../../docs/metal-blob.md");

/// The nth fenced block of this language behind the heading of the worked example.
fn block(language: &str, nth: usize) -> &'static str {
    let (_, example) = PAGE_TEXT.split_once("## 6. A worked example").unwrap();
    let fence = format!("```{language}\n");
    let text = example.split(&fence).nth(nth + 1).unwrap();
    text.split("```").next().unwrap()
}

/// The file as `hexdump -C` shows it, without the columns of text, for the rows that `keep` wants.
fn hex(file: &[u8], keep: impl Fn(usize) -> bool) -> String {
    let rows = file.chunks(16).enumerate().filter(|(row, _)| keep(row * 16));
    let row = |(row, bytes): (usize, &[u8])| {
        let bytes: Vec<_> = bytes.iter().map(|b| format!("{b:02x}")).collect();
        format!("{:04x}  {}  {}\n", row * 16, bytes[..8].join(" "), bytes[8..].join(" "))
    };
    rows.map(row).collect()
}

#[test]
fn the_worked_example_is_the_file() {
    let per_channel = Granularity::Channel { axis: 0 };
    let example = Logical {
        weight: weight("fc.weight", &[2, 3], linear(8, per_channel, false, Lanes::K2)),
        codes: [1i8, -2, 3, 4, 5, -6].map(|q| q as u8).to_vec(),
        params: Params { scale: [0.5, 0.25].map(f16::from_f32).to_vec(), ..Params::default() },
        values: Vec::new(),
    };
    let file = file(&[example]);
    let header = std::str::from_utf8(&file[8..PAGE as usize]).unwrap().trim_end();
    assert_eq!(block("json", 0).replace('\n', ""), header);
    let filled = |at: usize| file[at..at + 16].iter().any(|&b| b != 0);
    let shown = hex(&file, |at| at < 32 || (at >= 0x4000 && filled(at)));
    assert_eq!(block("text", 1), shown);

    let reader = Reader::open(&file).unwrap();
    let want = [0.5, -1.0, 1.5, 1.0, 1.25, -1.5].map(f16::from_f32);
    assert_eq!(reader.dequantize("fc.weight").unwrap(), Some(Values::F16(want.to_vec())));
}
