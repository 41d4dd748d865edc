//! What people read in a terminal: aligned tables, sizes, block-character plots.
//!
//! Names come from files that anybody may have made, so control characters never reach the
//! terminal: see [`printable`].
//!
//! | item | what it is |
//! |---|---|
//! | [`Table`], [`Column`] | aligned columns that fit a terminal |
//! | [`left()`] | the table of what was not quantized |
//! | [`bar`], [`bars`], [`curve`] | plots of block characters |
//! | [`wrapped`] | sentences on lines that fit a terminal |
//! | [`nearest`], [`distance`] | which word was meant |
//! | [`listed`] | a few names of many |
//! | [`size`], [`exact_size`], [`grouped`], [`shape`] | numbers in words |

mod left;
mod near;
mod plot;
mod table;
mod wrap;

pub use left::{Left, left};
pub use near::{distance, nearest};
pub use plot::{bar, bars, curve};
pub use table::{Column, Table};
pub use wrap::wrapped;

use std::borrow::Cow;

/// A size in the unit that suits it: `999 B`, `1.5 KiB`, `20.0 MiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    // What would print as 1024.0 belongs to the next unit.
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A size in the unit that suits it and in bytes: `1.5 KiB (1,536 bytes)`; `999 bytes`.
pub fn exact_size(bytes: u64) -> String {
    match bytes {
        0..1024 => format!("{bytes} bytes"),
        _ => format!("{} ({} bytes)", size(bytes), grouped(bytes)),
    }
}

/// A whole number with its thousands apart: `1,234,567`.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A shape as `[64, 3, 3, 3]`.
pub fn shape(shape: &[usize]) -> String {
    format!("{shape:?}")
}

/// The first five names, and how many more there are: `a, b, c, d, e and 7 more`.
pub fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const SHOWN: usize = 5;
    let names: Vec<_> = names.into_iter().map(printable).collect();
    let first = names[..names.len().min(SHOWN)].join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

/// `text` with every control character (escape sequences, line ends, direction marks) replaced by
/// `�`.
pub fn printable(text: &str) -> Cow<'_, str> {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    if text.contains(hidden) { text.replace(hidden, "\u{fffd}").into() } else { text.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_take_the_unit_that_suits_them() {
        #[rustfmt::skip]
        let cases: &[(u64, &str)] = &[
            (0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (1536, "1.5 KiB"),
            (1_048_575, "1.0 MiB"), (20 << 20, "20.0 MiB"), (u64::MAX, "16.0 EiB"),
        ];
        for &(bytes, words) in cases {
            assert_eq!(size(bytes), words, "{bytes}");
        }
    }

    #[test]
    fn exact_sizes_say_both() {
        assert_eq!(exact_size(999), "999 bytes");
        assert_eq!(exact_size(1536), "1.5 KiB (1,536 bytes)");
    }

    #[test]
    fn thousands_stand_apart() {
        for (n, words) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(n), words);
        }
    }

    #[test]
    fn a_name_cannot_command_the_terminal() {
        assert_eq!(printable("a\u{1b}[2Jb\nc\u{202e}d"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}d");
        assert!(matches!(printable("層.weight"), Cow::Borrowed(_)));
    }
}
