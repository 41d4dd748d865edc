//! Sentences on lines that fit a terminal.

use unicode_width::UnicodeWidthStr;

/// The text on lines of at most `width` columns, broken between words, all but the first indented by
/// `indent`; each ends with a line feed. A word that is longer than a line stays whole. Without a
/// width it is one line.
pub fn wrapped(text: &str, width: Option<usize>, indent: usize) -> String {
    let mut out = String::new();
    let mut used = 0;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let length = word.width();
        if used > 0 {
            if width.is_some_and(|width| used + 1 + length > width) {
                out.push('\n');
                out.push_str(&" ".repeat(indent));
                used = indent;
            } else {
                out.push(' ');
                used += 1;
            }
        }
        out.push_str(word);
        used += length;
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_break_between_words() {
        let text = "one FP16 operand makes the product FP16";
        assert_eq!(wrapped(text, None, 2), format!("{text}\n"));
        insta::assert_snapshot!(wrapped(text, Some(16), 2), @r"
        one FP16 operand
          makes the
          product FP16
        ");
        assert_eq!(wrapped("unbreakable word", Some(4), 1), "unbreakable\n word\n");
    }
}
