//! Texts as token ids: the `tokenizer.json` beside a package.

use std::path::Path;
use tokenizers::{PostProcessor, Tokenizer, TruncationParams};
use twolane::{Error, Result};

/// The output folder that a package lies in, or that `package` is.
pub(super) fn folder_of(package: &Path) -> &Path {
    // A package is a folder too: one with a manifest.
    match package.join("Manifest.json").is_file() {
        true => package.parent().unwrap_or(Path::new("")),
        false => package,
    }
}

/// The tokenizer in an output folder, or beside a package.
///
/// # Errors
/// [`Error::Usage`] where there is none, which ends in `instead`; [`Error::Input`] for one that cannot
/// be read.
pub(super) fn beside(package: &Path, instead: &str) -> Result<Tokenizer> {
    let place = &folder_of(package).join("tokenizer.json");
    if !place.is_file() {
        return Err(Error::Usage(format!(
            "there is no {}; put the model's own there{instead}",
            place.display()
        )));
    }
    let unreadable = |why: tokenizers::Error| {
        let remedy = "give the model's own tokenizer.json";
        Error::input(place.display().to_string(), why.to_string(), remedy)
    };
    let mut tokenizer = Tokenizer::from_file(place).map_err(unreadable)?;
    // The file may ask for texts of one length, as training did; what is too long shows later.
    tokenizer.with_truncation(None).map_err(unreadable)?;
    tokenizer.with_padding(None);
    Ok(tokenizer)
}

/// A text as ids, with the tokens that the model expects around it.
///
/// # Errors
/// [`Error::Input`] for a text that the tokenizer refuses.
pub(super) fn encode(tokenizer: &Tokenizer, text: &str) -> Result<Vec<i32>> {
    ids(tokenizer, text, true)
}

/// A text that goes on: the tokens that the model expects before it, and its own. What the tokenizer
/// would put behind a whole text is left out.
///
/// # Errors
/// As [`encode`].
pub(super) fn encode_open(tokenizer: &Tokenizer, text: &str) -> Result<(Vec<i32>, Vec<i32>)> {
    // Any text shows what stands before it.
    let (bare, around) = (ids(tokenizer, "a", false)?, ids(tokenizer, "a", true)?);
    let at = around.windows(bare.len().max(1)).position(|window| window == bare);
    let before = around[..at.unwrap_or(0)].to_vec();
    Ok((before, ids(tokenizer, text, false)?))
}

fn ids(tokenizer: &Tokenizer, text: &str, around: bool) -> Result<Vec<i32>> {
    let refused = |why: tokenizers::Error| {
        Error::input("the text", why.to_string(), "give text that the model's tokenizer knows")
    };
    let encoded = tokenizer.encode(text, around).map_err(refused)?;
    Ok(encoded.get_ids().iter().map(|&id| id as i32).collect())
}

/// A text as at most `most` ids, and whether its end was cut off for that. The tokens around it stay.
///
/// # Errors
/// As [`encode`]; [`Error::Usage`] where those tokens alone are too many.
pub(super) fn encode_up_to(
    tokenizer: &Tokenizer,
    text: &str,
    most: usize,
) -> Result<(Vec<i32>, bool)> {
    let ids = encode(tokenizer, text)?;
    if ids.len() <= most {
        return Ok((ids, false));
    }
    let around = tokenizer.get_post_processor().map_or(0, |post| post.added_tokens(false));
    if around >= most {
        return Err(Error::Usage(format!(
            "the tokenizer puts {around} tokens around a text, and the package takes {most}; convert \
             with a larger --context"
        )));
    }
    let mut cutting = tokenizer.clone();
    let to = TruncationParams { max_length: most, ..TruncationParams::default() };
    cutting.with_truncation(Some(to)).map_err(|why| {
        Error::input("the tokenizer", why.to_string(), "give the model's own tokenizer.json")
    })?;
    Ok((encode(&cutting, text)?, true))
}

/// Tokens that may wait for one another: a character is four bytes at the most, and a token a byte at
/// the least.
const WAITING: usize = 4;

/// Ids as text, piece by piece.
///
/// A token may be a part of a character, and what it adds may depend on what stands before it. So the
/// last tokens are decoded anew with each one, from where the piece before the last began, and a piece
/// is what the text grew by. Bytes that never become a character are shown as U+FFFD.
pub(super) struct Pieces<'t> {
    tokenizer: &'t Tokenizer,
    ids: Vec<u32>,
    /// Where decoding begins, and up to where the text has been given out.
    from: usize,
    given: usize,
}

impl<'t> Pieces<'t> {
    pub(super) fn new(tokenizer: &'t Tokenizer) -> Self {
        Self { tokenizer, ids: Vec::new(), from: 0, given: 0 }
    }

    /// What this id adds to the text; nothing as long as a character is not whole.
    ///
    /// # Errors
    /// [`Error::Input`] for a tokenizer that cannot turn ids into text.
    pub(super) fn push(&mut self, id: i32) -> Result<String> {
        self.ids.push(id as u32);
        self.grown(false)
    }

    /// What was held back at the end of the text.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub(super) fn finish(&mut self) -> Result<String> {
        self.grown(true)
    }

    fn grown(&mut self, at_the_end: bool) -> Result<String> {
        let before = self.decode(self.from..self.given)?;
        let now = self.decode(self.from..self.ids.len())?;
        let is_open = now.ends_with(char::REPLACEMENT_CHARACTER);
        if is_open && !at_the_end && self.ids.len() - self.given < WAITING {
            return Ok(String::new());
        }
        let common = before.chars().zip(now.chars()).take_while(|(a, b)| a == b);
        let piece = now.chars().skip(common.count()).collect();
        (self.from, self.given) = (self.given, self.ids.len());
        Ok(piece)
    }

    fn decode(&self, range: std::ops::Range<usize>) -> Result<String> {
        self.tokenizer.decode(&self.ids[range], true).map_err(|why| {
            Error::input("the tokenizer", why.to_string(), "give the model's own tokenizer.json")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes as tokens, as Llama-2's and Gemma's tokenizers write what they do not know, and two words.
    fn bytes() -> Tokenizer {
        let bytes = (0..256).map(|b| format!("\"<0x{b:02X}>\": {b}"));
        let words = ["\"\u{2581}a\": 256".to_owned(), "\"\u{2581}b\": 257".to_owned()];
        let vocabulary: Vec<String> = bytes.chain(words).collect();
        let text = format!(
            r#"{{"version": "1.0", "added_tokens": [], "normalizer": null, "pre_tokenizer": null,
            "post_processor": null, "truncation": null, "padding": null,
            "decoder": {{"type": "Sequence", "decoders": [
                {{"type": "Replace", "pattern": {{"String": "\u2581"}}, "content": " "}},
                {{"type": "ByteFallback"}}, {{"type": "Fuse"}},
                {{"type": "Strip", "content": " ", "start": 1, "stop": 0}}]}},
            "model": {{"type": "BPE", "dropout": null, "unk_token": null, "byte_fallback": true,
                "continuing_subword_prefix": null, "end_of_word_suffix": null, "fuse_unk": false,
                "vocab": {{{}}}, "merges": []}}}}"#,
            vocabulary.join(", ")
        );
        text.parse().unwrap()
    }

    fn pieces(ids: &[i32]) -> Vec<String> {
        let tokenizer = bytes();
        let mut pieces = Pieces::new(&tokenizer);
        let mut told: Vec<String> = ids.iter().map(|&id| pieces.push(id).unwrap()).collect();
        told.push(pieces.finish().unwrap());
        told
    }

    #[test]
    fn characters_wait_for_their_bytes_and_words_for_nothing() {
        assert_eq!(pieces(&[256, 257, 0xC3, 0xA9, 256]), ["a", " b", "", "é", " a", ""]);
        assert_eq!(pieces(&[0xF0, 0x9F, 0x99, 0x82]), ["", "", "", "🙂", ""]);
    }

    #[test]
    fn bytes_that_are_no_text_end_nothing() {
        for ids in [&[256, 0xFF, 257][..], &[0xFF; 9], &[256, 0xE2, 0x82], &[0x80, 256, 0xC3]] {
            let told = pieces(ids).concat();
            let whole: Vec<u32> = ids.iter().map(|&id| id as u32).collect();
            assert_eq!(told, bytes().decode(&whole, true).unwrap(), "{ids:?}");
        }
    }
}
