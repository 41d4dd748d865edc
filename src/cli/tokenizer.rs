//! Texts as token ids: the `tokenizer.json` beside a package.

use std::path::{Path, PathBuf};
use tokenizers::{
    DecodeStream, DecoderWrapper, ModelWrapper, NormalizerWrapper, PostProcessor,
    PostProcessorWrapper, PreTokenizerWrapper, Tokenizer, TruncationParams,
};
use twolane::{Error, Result};

/// The tokenizer in an output folder, or beside the package in it.
///
/// # Errors
/// [`Error::Usage`] where there is none; [`Error::Input`] for one that cannot be read.
pub(super) fn beside(package: &Path) -> Result<Tokenizer> {
    let mut places: Vec<PathBuf> = [Some(package), package.parent()]
        .into_iter()
        .flatten()
        .map(|folder| folder.join("tokenizer.json"))
        .collect();
    places.retain(|place| place.is_file());
    let Some(place) = places.first() else {
        return Err(Error::Usage(format!(
            "there is no tokenizer.json in {} or beside it; give --ids instead of text, or put the \
             model's own there",
            package.display()
        )));
    };
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
    let refused = |why: tokenizers::Error| {
        Error::input("the text", why.to_string(), "give text that the model's tokenizer knows")
    };
    let encoded = tokenizer.encode(text, true).map_err(refused)?;
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

/// Ids as text, piece by piece: a token may be a part of a character, and the space before it may depend
/// on what stands there.
pub(super) struct Pieces<'t>(
    DecodeStream<
        't,
        ModelWrapper,
        NormalizerWrapper,
        PreTokenizerWrapper,
        PostProcessorWrapper,
        DecoderWrapper,
    >,
);

impl<'t> Pieces<'t> {
    pub(super) fn new(tokenizer: &'t Tokenizer) -> Self {
        Self(tokenizer.decode_stream(true))
    }

    /// What this id adds to the text; nothing as long as a character is not whole.
    ///
    /// # Errors
    /// [`Error::Input`] for an id that the tokenizer does not know.
    pub(super) fn push(&mut self, id: i32) -> Result<String> {
        let piece = self.0.step(id as u32).map_err(|why| {
            Error::input(
                format!("token {id}"),
                why.to_string(),
                "give the model's own tokenizer.json",
            )
        })?;
        Ok(piece.unwrap_or_default())
    }
}
