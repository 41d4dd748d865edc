//! Options in the words of the command line.

use super::{ModelOptions, Options};
use crate::activations::Pairs;
use std::fmt::Display;

impl Options {
    /// The options that the bytes of a package follow from, as they could stand on a command line.
    /// Where a package is written, and what else is, is not among them. Those of whole models are
    /// left out for anything else.
    pub fn words(&self, whole_model: bool) -> String {
        let mut words = Words::default();
        words.add("--scheme", self.scheme);
        for rule in &self.rules {
            words.add("--rule", format!("{}={}", rule.pattern, rule.scheme));
        }
        words.add("--min-elements", self.min_elements);
        words.add("--clip", self.clip);
        words.add("--non-finite", self.non_finite);
        words.add("--target", self.target);
        if let Some(smooth) = self.smooth {
            words.0.push(smooth.to_string());
        }
        if let Some(activations) = &self.activations {
            words.add("--activations", activations);
            activations.float.iter().for_each(|pattern| words.add("--a16", pattern));
            if activations.pairs != Pairs::default() {
                words.add("--pairs", activations.pairs);
            }
        }
        // Both are of the same data.
        let counted = self.calibration.as_ref().or(self.recalibration.as_ref());
        for data in counted.iter().flat_map(|calibration| &calibration.data) {
            words.add("--calibration", format!("{}@{}", data.file, data.blake3));
        }
        if let Some(imatrix) = &self.imatrix {
            words.add("--calibration", format!("{}@{}", imatrix.file, imatrix.blake3));
        }
        if self.importance {
            words.0.push("--importance".into());
        }
        if let Some(order) = self.gptq {
            words.0.push(format!("--gptq={order}"));
        }
        if self.bias_correction {
            words.0.push("--bias-correction".into());
        }
        if self.requantize {
            words.0.push("--requantize".into());
        }
        if let Some(layers) = &self.layers {
            words.add("--layers", layers);
        }
        match whole_model {
            true => words.add_model(self.model),
            // Where layers are chosen, they are alone.
            false if self.model.layer_package && self.layers.is_none() => {
                words.0.push("--layer-package".into());
            }
            false => {}
        }
        words.0.join(" ")
    }
}

#[derive(Default)]
struct Words(Vec<String>);

impl Words {
    fn add(&mut self, flag: &str, value: impl Display) {
        self.0.push(flag.into());
        self.0.push(quoted(&value.to_string()));
    }

    fn add_model(&mut self, options: ModelOptions) {
        // Named one by one, so that none is forgotten.
        let ModelOptions {
            layer_package: _,
            context,
            prefill_chunk,
            unit,
            kv,
            argmax,
            prefill_logits,
            names,
            chunks,
        } = options;
        self.add("--unit", unit);
        if let Some(context) = context {
            self.add("--context", context);
        }
        if let Some(chunk) = prefill_chunk {
            self.add("--prefill-chunk", chunk);
        }
        if let Some(logits) = prefill_logits {
            self.add("--prefill-logits", logits);
        }
        if let Some(kv) = kv {
            self.add("--kv", kv);
        }
        if names != ModelOptions::default().names {
            self.add("--names", names);
        }
        if chunks > 1 {
            self.add("--chunks", chunks);
        }
        if argmax {
            self.0.push("--argmax".into());
        }
    }
}

/// A word as a POSIX shell reads it back.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-.,:=/+%".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.into(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Kv, ModelOptions, Rule, Unit};

    #[test]
    fn options_are_words_that_a_shell_takes() {
        let options = Options {
            rules: ["head|it's=palette-8", "op:conv=linear-int4,block:32"]
                .map(|rule| Rule::parse(rule).unwrap())
                .into(),
            model: ModelOptions {
                context: Some(512),
                prefill_chunk: Some(32),
                unit: Unit::Ane,
                kv: Some(Kv::Io),
                argmax: true,
                ..ModelOptions::default()
            },
            ..Options::default()
        };
        let bare = "--scheme linear-int8 --rule 'head|it'\\''s=palette-8' --rule \
                    op:conv=linear-int4,block:32 --min-elements 2048 --clip mse --non-finite error \
                    --target ios18";
        assert_eq!(options.words(false), bare);
        let whole = " --unit ane --context 512 --prefill-chunk 32 --kv io --argmax";
        assert_eq!(options.words(true), format!("{bare}{whole}"));
    }

    #[test]
    fn a_pattern_of_layers_says_that_they_are_alone() {
        let mut options = Options::default();
        options.model.layer_package = true;
        assert!(options.words(false).ends_with(" --layer-package"));
        options.layers = Some(regex::Regex::new("q_proj").unwrap());
        assert!(options.words(false).ends_with("--target ios18 --layers q_proj"));
    }
}
