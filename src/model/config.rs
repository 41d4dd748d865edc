//! `config.json` as Hugging Face writes it.
//!
//! A key that is passed over may change the arithmetic in silence. So every key is read by its
//! architecture, or stands in the list of those that change nothing, or is off (null or false), or is
//! an error; all such errors are told at once.

use crate::{Error, Result};
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::collections::BTreeSet;

/// The largest size that a configuration may state: no tensor dimension is near it, and products of
/// two stay far from overflow.
const LARGEST: u64 = 1 << 31;

/// Keys that say how often something is repeated, and the largest number that they may state: no model
/// has so many layers, and each of them becomes operations.
const REPEATED: &[&str] = &["n_layer", "n_layers", "num_hidden_layers"];
const MOST_LAYERS: usize = 4096;

/// Keys that change nothing of what a trained model computes: names and dates, how it is trained or
/// initialized, how text is generated from it, what else the library should return, which program
/// computes the same numbers, and what other programs noted in released folders for themselves.
#[rustfmt::skip]
const NEUTRAL: &[&str] = &[
    "_attn_implementation", "_attn_implementation_autoset", "_attn_implementation_internal",
    "_commit_hash", "_name_or_path", "_num_labels", "architectures", "attention_dropout",
    "attention_probs_dropout_prob", "attn_implementation", "attn_pdrop", "auto_map",
    "bad_words_ids", "begin_suppress_tokens", "bos_token_id", "cache_implementation",
    "chunk_size_feed_forward", "classifier_dropout", "cls_token_id", "decoder_start_token_id",
    "diversity_penalty", "do_sample", "dropout", "dtype", "early_stopping", "embd_pdrop",
    "encoder_no_repeat_ngram_size", "eos_token_id", "exponential_decay_length_penalty",
    "finetuning_task", "forced_bos_token_id", "forced_eos_token_id", "gradient_checkpointing",
    "hidden_dropout", "hidden_dropout_prob", "id2label", "initializer_factor", "initializer_range",
    "is_llama_config", "label2id", "language", "length_penalty", "license", "mask_token_id", "max_length",
    "max_new_tokens", "min_length", "model_max_length", "n_ctx", "no_repeat_ngram_size",
    "num_beam_groups", "num_beams", "num_return_sequences", "output_attentions",
    "output_hidden_states", "output_past", "output_scores", "pad_token_id", "prefix", "pretraining_tp",
    "problem_type", "qa_dropout", "remove_invalid_values", "repetition_penalty", "resid_pdrop",
    "return_dict", "return_dict_in_generate", "sbert_ce_default_activation_function",
    "sentence_transformers", "sep_token_id", "seq_classif_dropout",
    "sinusoidal_pos_embds", "summary_activation", "summary_first_dropout", "summary_proj_to_labels",
    "summary_type", "summary_use_proj", "suppress_tokens", "task_specific_params", "temperature",
    "tf_legacy_loss", "tokenizer_class", "top_k", "top_p", "torch_dtype", "torchscript",
    "transformers.js_config", "transformers_version", "typical_p", "unk_token_id", "unsloth_fixed",
    "unsloth_version", "use_bfloat16", "use_cache",
];

/// An object of a configuration, which remembers which of its keys were read.
#[derive(Debug)]
pub struct Config {
    place: String,
    keys: Map<String, Value>,
    read: RefCell<BTreeSet<String>>,
}

impl Config {
    /// Parses a `config.json`.
    ///
    /// # Errors
    /// [`Error::Input`] for what is no JSON object.
    pub fn parse(place: &str, bytes: &[u8]) -> Result<Self> {
        let name = place.rsplit(['/', '\\']).next().unwrap_or(place);
        let wrong =
            |found: String| Error::input(place, found, format!("give the model's own {name}"));
        match serde_json::from_slice(bytes) {
            Ok(Value::Object(keys)) => Ok(Self::new(place, keys)),
            Ok(_) => Err(wrong("it holds no JSON object".into())),
            Err(error) => Err(wrong(error.to_string())),
        }
    }

    fn new(place: &str, keys: Map<String, Value>) -> Self {
        Self { place: place.into(), keys, read: RefCell::default() }
    }

    /// The file, for messages.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The architecture's name.
    pub fn model_type(&self) -> Option<&str> {
        self.get("model_type")?.as_str()
    }

    /// A size that must be there.
    ///
    /// # Errors
    /// [`Error::Input`] where it is missing, or is no number from 1 to 2³¹.
    pub fn size(&self, key: &str) -> Result<usize> {
        self.optional_size(key)?.ok_or_else(|| self.missing(key, "a size"))
    }

    /// A size, or the library's default.
    ///
    /// # Errors
    /// As [`Config::size`].
    pub fn size_or(&self, key: &str, default: usize) -> Result<usize> {
        Ok(self.optional_size(key)?.unwrap_or(default))
    }

    /// A size that may be absent or null.
    ///
    /// # Errors
    /// As [`Config::size`].
    pub fn optional_size(&self, key: &str) -> Result<Option<usize>> {
        match self.typed(key, size, "a whole number from 1 to 2^31")? {
            Some(count) if count > MOST_LAYERS && REPEATED.contains(&key) => {
                Err(self.unsupported(key, &format!("it must be {MOST_LAYERS} at the most")))
            }
            size => Ok(size),
        }
    }

    /// A finite number, or the library's default.
    ///
    /// # Errors
    /// [`Error::Input`] for anything else.
    pub fn number_or(&self, key: &str, default: f64) -> Result<f64> {
        Ok(self.optional_number(key)?.unwrap_or(default))
    }

    /// A finite number that must be there.
    ///
    /// # Errors
    /// [`Error::Input`] where it is missing or no number.
    pub fn number(&self, key: &str) -> Result<f64> {
        self.optional_number(key)?.ok_or_else(|| self.missing(key, "a number"))
    }

    /// A finite number that may be absent or null.
    ///
    /// # Errors
    /// [`Error::Input`] for anything else.
    pub fn optional_number(&self, key: &str) -> Result<Option<f64>> {
        self.typed(key, |value| value.as_f64().filter(|x| x.is_finite()), "a number")
    }

    /// A number above 0, or the library's default.
    ///
    /// # Errors
    /// [`Error::Input`] for anything else: an ε, a base or a factor of 0 makes the model's numbers NaN.
    pub fn positive_or(&self, key: &str, default: f64) -> Result<f64> {
        Ok(self.optional_positive(key)?.unwrap_or(default))
    }

    /// A number above 0 that must be there.
    ///
    /// # Errors
    /// [`Error::Input`] where it is missing or anything else.
    pub fn positive(&self, key: &str) -> Result<f64> {
        self.optional_positive(key)?.ok_or_else(|| self.missing(key, "a number above 0"))
    }

    /// A number above 0 that may be absent or null.
    ///
    /// # Errors
    /// [`Error::Input`] for anything else.
    pub fn optional_positive(&self, key: &str) -> Result<Option<f64>> {
        let above_0 = |value: &Value| value.as_f64().filter(|x| x.is_finite() && *x > 0.0);
        self.typed(key, above_0, "a number above 0")
    }

    /// A flag, or the library's default.
    ///
    /// # Errors
    /// [`Error::Input`] for anything else.
    pub fn flag_or(&self, key: &str, default: bool) -> Result<bool> {
        Ok(self.typed(key, Value::as_bool, "true or false")?.unwrap_or(default))
    }

    /// A word that may be absent or null.
    ///
    /// # Errors
    /// [`Error::Input`] for anything else.
    pub fn optional_word(&self, key: &str) -> Result<Option<&str>> {
        self.typed(key, Value::as_str, "a word")
    }

    /// Numbers in a row, which may be absent or null.
    ///
    /// # Errors
    /// [`Error::Input`] for anything else.
    pub fn optional_numbers(&self, key: &str) -> Result<Option<Vec<f64>>> {
        let read = |value: &Value| {
            let number = |value: &Value| value.as_f64().filter(|x| x.is_finite());
            value.as_array()?.iter().map(number).collect()
        };
        self.typed(key, read, "a list of numbers")
    }

    /// Words in a row, which may be absent or null.
    ///
    /// # Errors
    /// [`Error::Input`] for anything else.
    pub fn optional_words(&self, key: &str) -> Result<Option<Vec<String>>> {
        let read = |value: &Value| {
            value.as_array()?.iter().map(|word| word.as_str().map(str::to_owned)).collect()
        };
        self.typed(key, read, "a list of words")
    }

    /// One word or several in a row, which may be absent or null.
    ///
    /// # Errors
    /// [`Error::Input`] for anything else.
    pub fn optional_word_or_words(&self, key: &str) -> Result<Option<Vec<String>>> {
        match self.get(key) {
            Some(Value::String(word)) => Ok(Some(vec![word.clone()])),
            _ => self.optional_words(key),
        }
    }

    /// Sizes in a row, or the library's default.
    ///
    /// # Errors
    /// [`Error::Input`] for anything else.
    pub fn sizes_or(&self, key: &str, default: &[usize]) -> Result<Vec<usize>> {
        let read = |value: &Value| value.as_array()?.iter().map(size).collect();
        let sizes = self.typed(key, read, "a list of whole numbers from 1 to 2^31")?;
        Ok(sizes.unwrap_or_else(|| default.to_vec()))
    }

    /// Height and width, one number for both or a list of the two, or the library's default for both.
    ///
    /// # Errors
    /// [`Error::Input`] for anything else.
    pub fn sides_or(&self, key: &str, default: usize) -> Result<[usize; 2]> {
        let read = |value: &Value| match value.as_array() {
            None => size(value).map(|both| [both; 2]),
            Some(sides) => match &sides[..] {
                [height, width] => Some([size(height)?, size(width)?]),
                _ => None,
            },
        };
        let sides = self.typed(key, read, "a whole number from 1 to 2^31, or two of them")?;
        Ok(sides.unwrap_or([default; 2]))
    }

    /// The names of classes, words or numbers in an object with the keys 0, 1, 2 and so on, which may be
    /// absent or null.
    ///
    /// # Errors
    /// [`Error::Input`] for anything else.
    pub fn optional_labels(&self, key: &str) -> Result<Option<Vec<String>>> {
        let read = |value: &Value| {
            let names = value.as_object().filter(|names| !names.is_empty())?;
            let name = |class: usize| match names.get(&class.to_string())? {
                Value::String(name) => Some(name.clone()),
                Value::Number(name) => Some(name.to_string()),
                _ => None,
            };
            (0..names.len()).map(name).collect()
        };
        self.typed(key, read, "an object that names the classes 0, 1, 2 and so on")
    }

    /// An object within, which may be absent or null.
    ///
    /// # Errors
    /// [`Error::Input`] for anything else.
    pub fn optional_section(&self, key: &str) -> Result<Option<Self>> {
        let keys = self.typed(key, |value| value.as_object().cloned(), "an object")?;
        Ok(keys.map(|keys| Self::new(&format!("{}, `{key}`", self.place), keys)))
    }

    /// Whether the key is there, and null.
    pub fn is_null(&self, key: &str) -> bool {
        self.keys.get(key).is_some_and(Value::is_null)
    }

    /// A count, which may be 0, or the library's default.
    ///
    /// # Errors
    /// [`Error::Input`] for anything else.
    pub fn count_or(&self, key: &str, default: usize) -> Result<usize> {
        let read = |value: &Value| value.as_u64().filter(|&n| n <= LARGEST);
        let count = self.typed(key, read, "a whole number up to 2^31")?;
        Ok(count.map_or(default, |n| n as usize))
    }

    /// Whether the key is there with a value.
    pub fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// Whether there are no keys.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Flags of 0 and 1 in a row, which may be absent or null.
    ///
    /// # Errors
    /// [`Error::Input`] for anything else.
    pub fn optional_flags(&self, key: &str) -> Result<Option<Vec<bool>>> {
        let read = |value: &Value| {
            let flag = |value: &Value| match value.as_u64() {
                Some(flag @ 0..=1) => Some(flag == 1),
                _ => value.as_bool(),
            };
            value.as_array()?.iter().map(flag).collect()
        };
        self.typed(key, read, "a list of 0 and 1")
    }

    /// How many entries an object has; `None` where the key is absent or null.
    ///
    /// # Errors
    /// [`Error::Input`] for anything else.
    pub fn entries(&self, key: &str) -> Result<Option<usize>> {
        self.typed(key, |value| value.as_object().map(Map::len), "an object")
    }

    /// One id or several; none where the key is absent or null.
    ///
    /// # Errors
    /// [`Error::Input`] for anything else.
    pub fn ids(&self, key: &str) -> Result<Vec<i64>> {
        let read = |value: &Value| match value {
            Value::Array(ids) => ids.iter().map(Value::as_i64).collect(),
            id => Some(vec![id.as_i64()?]),
        };
        Ok(self.typed(key, read, "a whole number or a list of them")?.unwrap_or_default())
    }

    /// A key of which one value is understood, which is also its default.
    ///
    /// # Errors
    /// [`Error::Input`] for another value.
    pub fn only(&self, key: &str, understood: impl Into<Value>) -> Result<()> {
        let understood = understood.into();
        match self.get(key) {
            Some(value) if *value != understood => {
                Err(self.unsupported(key, &format!("only {understood} is supported")))
            }
            _ => Ok(()),
        }
    }

    /// An error about a key's value.
    pub fn unsupported(&self, key: &str, remedy: &str) -> Error {
        let value = self.keys.get(key).map_or_else(|| "absent".into(), Value::to_string);
        Error::input(&self.place, format!("`{key}` is {value}"), remedy)
    }

    /// Whether a list stands under the key.
    pub fn is_list(&self, key: &str) -> bool {
        self.get(key).is_some_and(Value::is_array)
    }

    /// Ends the reading: every key must have been read, be neutral, or be off (null or false).
    ///
    /// A flag that its class does not read is of another class, or of a later version, and switches
    /// something on: false is what it means to be without it. The known exception, `is_causal`, is read
    /// by every decoder.
    ///
    /// # Errors
    /// [`Error::Input`] with all keys that are left.
    pub fn finish(&self) -> Result<()> {
        self.finish_or(
            "set those that change nothing to null, or write the layers alone with --layer-package",
        )
    }

    /// The same for another file than a model's configuration; `remedy` says what would do.
    ///
    /// # Errors
    /// As [`Config::finish`].
    pub fn finish_or(&self, remedy: &str) -> Result<()> {
        let read = self.read.borrow();
        let known = |key: &String| read.contains(key) || NEUTRAL.contains(&key.as_str());
        let off = |value: &Value| value.is_null() || *value == Value::Bool(false);
        let left = self.keys.iter().filter(|(key, value)| !off(value) && !known(key));
        let left: Vec<String> = left.map(|(key, value)| format!("`{key}`: {value}")).collect();
        if left.is_empty() {
            return Ok(());
        }
        let found =
            format!("keys that are not understood may change the arithmetic: {}", left.join(", "));
        Err(Error::input(&self.place, found, remedy))
    }

    fn get(&self, key: &str) -> Option<&Value> {
        self.read.borrow_mut().insert(key.to_owned());
        self.keys.get(key).filter(|value| !value.is_null())
    }

    fn typed<'a, T>(
        &'a self,
        key: &str,
        read: impl Fn(&'a Value) -> Option<T>,
        wanted: &str,
    ) -> Result<Option<T>> {
        match self.get(key) {
            None => Ok(None),
            Some(value) => match read(value) {
                Some(value) => Ok(Some(value)),
                None => Err(self.unsupported(key, &format!("it must be {wanted}"))),
            },
        }
    }

    fn missing(&self, key: &str, wanted: &str) -> Error {
        Error::input(&self.place, format!("`{key}` is missing"), format!("give {wanted}"))
    }
}

fn size(value: &Value) -> Option<usize> {
    value.as_u64().filter(|n| (1..=LARGEST).contains(n)).map(|n| n as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        Config::parse("config.json", text.as_bytes()).unwrap()
    }

    #[test]
    fn keys_that_nobody_read_are_told_at_once() {
        let config = config(
            r#"{"hidden_size": 8, "use_cache": true, "new_gate": 2, "nothing": null, "softcap": 50.0}"#,
        );
        assert_eq!(config.size("hidden_size").unwrap(), 8);
        insta::assert_snapshot!(config.finish().unwrap_err(), @"config.json: keys that are not understood may change the arithmetic: `new_gate`: 2, `softcap`: 50.0; set those that change nothing to null, or write the layers alone with --layer-package");
        assert_eq!(config.number_or("softcap", 0.0).unwrap(), 50.0);
        config.only("new_gate", 2).unwrap();
        config.finish().unwrap();
    }

    #[test]
    fn values_of_another_kind_are_refused_with_their_place() {
        let config = config(
            r#"{"a": 0, "b": -1, "c": 1e99, "d": "x", "e": {"f": 1.5}, "g": [1, "x"], "h": "other",
                "n_layer": 4097, "sizes": [1, 0], "sides": [2, 3, 4], "labels": {"1": "one"},
                "eos_token_id": [2, "</s>"]}"#,
        );
        let refused = [
            config.size("a").unwrap_err(),
            config.size("b").unwrap_err(),
            config.size("c").unwrap_err(),
            config.number_or("d", 0.0).unwrap_err(),
            config.size("missing").unwrap_err(),
            config.optional_section("e").unwrap().unwrap().size("f").unwrap_err(),
            config.optional_numbers("g").unwrap_err(),
            config.only("h", "silu").unwrap_err(),
            config.size("n_layer").unwrap_err(),
            config.sizes_or("sizes", &[]).unwrap_err(),
            config.sides_or("sides", 1).unwrap_err(),
            config.optional_labels("labels").unwrap_err(),
            config.positive("a").unwrap_err(),
            config.positive_or("b", 1.0).unwrap_err(),
            config.positive("missing").unwrap_err(),
            config.ids("eos_token_id").unwrap_err(),
            config.ids("d").unwrap_err(),
            Config::parse("config.json", b"[]").unwrap_err(),
            Config::parse("config.json", b"{").unwrap_err(),
        ];
        let lines: Vec<String> = refused.iter().map(|error| format!("{error}\n")).collect();
        insta::assert_snapshot!(lines.concat(), @r#"
        config.json: `a` is 0; it must be a whole number from 1 to 2^31
        config.json: `b` is -1; it must be a whole number from 1 to 2^31
        config.json: `c` is 1e+99; it must be a whole number from 1 to 2^31
        config.json: `d` is "x"; it must be a number
        config.json: `missing` is missing; give a size
        config.json, `e`: `f` is 1.5; it must be a whole number from 1 to 2^31
        config.json: `g` is [1,"x"]; it must be a list of numbers
        config.json: `h` is "other"; only "silu" is supported
        config.json: `n_layer` is 4097; it must be 4096 at the most
        config.json: `sizes` is [1,0]; it must be a list of whole numbers from 1 to 2^31
        config.json: `sides` is [2,3,4]; it must be a whole number from 1 to 2^31, or two of them
        config.json: `labels` is {"1":"one"}; it must be an object that names the classes 0, 1, 2 and so on
        config.json: `a` is 0; it must be a number above 0
        config.json: `b` is -1; it must be a number above 0
        config.json: `missing` is missing; give a number above 0
        config.json: `eos_token_id` is [2,"</s>"]; it must be a whole number or a list of them
        config.json: `d` is "x"; it must be a whole number or a list of them
        config.json: it holds no JSON object; give the model's own config.json
        config.json: EOF while parsing an object at line 1 column 1; give the model's own config.json
        "#);
    }

    #[test]
    fn sides_and_labels_are_read_in_every_form() {
        let config = config(
            r#"{"square": 8, "sides": [4, 6], "labels": {"10": "k", "0": "a", "1": "b", "2": "c", "3": "d",
                "4": "e", "5": "f", "6": "g", "7": "h", "8": "i", "9": "j"}}"#,
        );
        assert_eq!(config.sides_or("square", 1).unwrap(), [8, 8]);
        assert_eq!(config.sides_or("sides", 1).unwrap(), [4, 6]);
        assert_eq!(config.sides_or("absent", 3).unwrap(), [3, 3]);
        assert_eq!(config.sizes_or("sides", &[]).unwrap(), [4, 6]);
        let labels = config.optional_labels("labels").unwrap().unwrap().concat();
        assert_eq!(labels, "abcdefghijk", "by number, not by letter");
    }
}
