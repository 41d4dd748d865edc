//! A checkpoint with its `config.json`: a whole model.

use super::architectures::{self, Model};
use super::config::Config;
use super::decoder::{self, Decoder};
use super::emit::{Style, Weights};
use super::encoder::{self, Encoder};
use super::parameters::{Checkpoint, Parameter};
use super::vision::{self, Vision};
use crate::graph::weight::Storage;
use crate::graph::{DataType, Program};
use crate::plan::{Kv, ModelOptions, Options, PrefillLogits, Unit};
use crate::target::Target;
use crate::{Error, Result};

/// A model whose architecture is known, and the weights that it computes with.
#[derive(Clone, Debug)]
pub struct Whole {
    /// Hugging Face's name of the architecture.
    pub model_type: String,
    /// The description.
    pub model: Model,
    /// The weights, in the order in which the model uses them.
    pub parameters: Vec<Parameter>,
    /// Tensors that must equal another one, by name: a head beside the embedding it is tied to.
    pub copies: Vec<[String; 2]>,
    /// Tokens that end a text.
    pub ends: Vec<i64>,
}

/// The key of the package's metadata under which the tokens stand that end a text.
pub const ENDS: &str = "twolane.eos_token_ids";

/// The key under which the name of the architecture stands: a package with it holds a whole model.
pub const MODEL_TYPE: &str = "twolane.model_type";

/// The key under which the longest text stands, in tokens.
pub const CONTEXT: &str = "twolane.context";

/// The key under which `true` stands if texts are put in lower case before the tokenizer.
pub const LOWER_CASE: &str = "twolane.lower_case";

/// The key under which what is put before every text stands.
pub const PROMPT: &str = "twolane.prompt";
/// The key under which the names of a classifier's classes stand, as a JSON list.
pub const LABELS: &str = "twolane.labels";

impl Whole {
    /// Describes the model of a configuration over these tensors; `None` for a `model_type` that is
    /// not known. `context` is the longest text it will see; without it, the longest it was trained
    /// for.
    ///
    /// # Errors
    /// [`crate::Error::Input`] for keys that are not understood, and for weights that are missing,
    /// left over or of other shapes, all at once.
    pub fn describe<'a>(
        config: &Config,
        tensors: impl IntoIterator<Item = (&'a str, &'a [usize])>,
        context: Option<usize>,
    ) -> Result<Option<Self>> {
        let Some(model_type) = config.model_type() else { return Ok(None) };
        let mut checkpoint = Checkpoint::new(tensors);
        let described = architectures::describe(model_type, config, &mut checkpoint, context);
        let Some(model) = described else { return Ok(None) };
        let model = model?;
        let copies = checkpoint.copies().to_vec();
        let parameters = checkpoint.finish(config.place())?;
        let ends = config.ids("eos_token_id");
        Ok(Some(Self { model_type: model_type.into(), model, parameters, copies, ends }))
    }

    /// Files of the model's folder that say more of it than `config.json`, by their names there.
    pub fn files(&self) -> &[String] {
        match &self.model {
            Model::Encoder(encoder) => encoder.sentence.as_ref().map_or(&[], |s| &s.files),
            Model::Decoder(_) | Model::Vision(_) => &[],
        }
    }

    /// The package of this model, its weights stored so, in the order of [`Whole::parameters`],
    /// computing in FP16 or FP32.
    ///
    /// # Errors
    /// [`Error::Usage`] for options that this model or target cannot follow.
    pub fn program(
        &self,
        storages: Vec<Storage>,
        options: &Options,
        float: DataType,
    ) -> Result<Built> {
        let weights = Weights::new(self.parameters.clone(), storages);
        match &self.model {
            Model::Decoder(decoder) => self.decoder(decoder, &weights, options, float),
            Model::Encoder(encoder) => self.encoder(encoder, &weights, options, float),
            Model::Vision(vision) => self.vision(vision, &weights, options, float),
        }
    }

    fn decoder(
        &self,
        decoder: &Decoder,
        weights: &Weights,
        options: &Options,
        float: DataType,
    ) -> Result<Built> {
        let mut notes = Vec::new();
        let asked = options.model.context;
        let context = asked.unwrap_or(decoder.longest.min(ModelOptions::LONGEST));
        if context > decoder.longest {
            notes.push(format!(
                "--context {context} is beyond the {} tokens that the model was trained for",
                decoder.longest
            ));
        } else if asked.is_none() && context < decoder.longest {
            notes.push(format!(
                "the package takes texts up to {context} tokens, the model up to {}; --context N \
                 chooses",
                decoder.longest
            ));
        }
        let style = style(options, float)?;
        let kv = caches(options, float)?;
        let prefill_chunk = options.model.prefill_chunk.min(context / 2).max(1);
        let built = decoder::Options {
            style,
            float,
            target: options.target,
            context,
            prefill_chunk,
            names: decoder::Names::TRANSFORMERS,
            kv,
            argmax: options.model.argmax,
            last_row: last_row(options, kv)?,
        };
        let mut program = decoder::build(decoder, weights, &built)?;
        let about = &mut program.metadata;
        let ends: Vec<String> = self.ends.iter().map(i64::to_string).collect();
        about.user.insert(ENDS.into(), ends.join(","));
        about.user.insert(MODEL_TYPE.into(), self.model_type.clone());
        about.user.insert(CONTEXT.into(), context.to_string());
        let form = match (kv, options.target >= Target::Ios18) {
            (Some(Kv::State), _) => {
                format!("prefill ({prefill_chunk} tokens) and decode over states")
            }
            (Some(Kv::Io), true) => {
                format!("prefill ({prefill_chunk} tokens) and decode over caches of the caller")
            }
            (Some(Kv::Io), false) => {
                notes.push(format!(
                    "below ios18 a package has one function, here of {prefill_chunk} tokens, fewer of \
                     which are padded; --prefill-chunk 1 suits it to one token at a time"
                ));
                format!("main ({prefill_chunk} tokens) over caches of the caller")
            }
            (None, _) => "main, without states".into(),
        };
        let words = format!(
            "{}, {} layers{}; {form}, context {context}",
            self.model_type,
            decoder.layers.len(),
            suited(style)
        );
        Ok(Built { program, words, notes })
    }

    fn vision(
        &self,
        vision: &Vision,
        weights: &Weights,
        options: &Options,
        float: DataType,
    ) -> Result<Built> {
        let asked = &options.model;
        if asked.context.is_some() {
            let found = "--context is for models of text; leave it out for images";
            return Err(Error::Usage(found.into()));
        }
        refuse_of_decoders(asked, "a classifier of images")?;
        let style = style(options, float)?;
        let built = vision::Options { style, float, target: options.target };
        let mut program = vision::build(vision, weights, &built)?;
        let about = &mut program.metadata.user;
        about.insert(MODEL_TYPE.into(), self.model_type.clone());
        about.insert(LABELS.into(), serde_json::json!(vision.labels).to_string());
        let words = format!("{}{}, {}", self.model_type, suited(style), vision.body.words(style));
        Ok(Built { program, words, notes: Vec::new() })
    }
}

impl Whole {
    fn encoder(
        &self,
        encoder: &Encoder,
        weights: &Weights,
        options: &Options,
        float: DataType,
    ) -> Result<Built> {
        refuse_of_decoders(&options.model, "an encoder")?;
        let style = style(options, float)?;
        let context = options.model.context.unwrap_or(encoder.longest);
        let built = encoder::Options { style, float, target: options.target, context };
        let mut program = encoder::build(encoder, weights, &built)?;
        let about = &mut program.metadata.user;
        about.insert(MODEL_TYPE.into(), self.model_type.clone());
        about.insert(CONTEXT.into(), context.to_string());
        if let Some(sentence) = &encoder.sentence {
            if sentence.lower_case {
                about.insert(LOWER_CASE.into(), "true".into());
            }
            if let Some(prompt) = &sentence.prompt {
                about.insert(PROMPT.into(), prompt.clone());
            }
        }
        let mut notes = Vec::new();
        if style == Style::Ane && options.model.context.is_none() {
            notes.push(format!(
                "the Neural Engine compiles for one shape: every text costs as much as one of {context} \
                 tokens; --context N chooses"
            ));
        }
        let layers = encoder.layers.len();
        let words = format!(
            "{}, {layers} layers{}; main, context {context}",
            self.model_type,
            suited(style)
        );
        Ok(Built { program, words, notes })
    }
}

/// The style that suits the unit of the options.
fn style(options: &Options, float: DataType) -> Result<Style> {
    match options.model.unit {
        Unit::Gpu | Unit::Cpu => Ok(Style::Gpu),
        Unit::Ane if float == DataType::Float16 => Ok(Style::Ane),
        Unit::Ane => Err(Error::Usage(
            "--unit ane beside --scheme float32: the Neural Engine computes in FP16; use float16, or \
             --unit gpu"
                .into(),
        )),
    }
}

/// A style in words, behind what suits it.
fn suited(style: Style) -> &'static str {
    match style {
        Style::Ane => " for the Neural Engine",
        Style::Gpu => "",
    }
}

/// Words that say something of a language model alone.
fn refuse_of_decoders(asked: &ModelOptions, model: &str) -> Result<()> {
    let ModelOptions { kv, argmax, prefill_logits, .. } = asked;
    let words = [
        ("--kv", kv.is_some()),
        ("--argmax", *argmax),
        ("--prefill-logits", prefill_logits.is_some()),
    ];
    let given: Vec<&str> = words.into_iter().filter_map(|(word, is)| is.then_some(word)).collect();
    match given.is_empty() {
        true => Ok(()),
        false => Err(Error::Usage(format!(
            "{}: for language models; leave it out for {model}",
            given.join(", ")
        ))),
    }
}

/// Whether a prompt's steps return one row of logits: by default where there are such steps.
fn last_row(options: &Options, kv: Option<Kv>) -> Result<bool> {
    match (options.model.prefill_logits, kv) {
        (Some(PrefillLogits::Last), None) => Err(Error::Usage(
            "--prefill-logits last: this package keeps nothing from call to call and has no prefill; \
             it takes a whole text, padded, and returns the logits of each token. With caches (from \
             ios18 on in FP16, or --unit ane) there is one"
                .into(),
        )),
        (Some(PrefillLogits::All), _) | (None, None) => Ok(false),
        (Some(PrefillLogits::Last) | None, Some(_)) => Ok(true),
    }
}

/// Where a language model keeps its keys and values: where the options say, or in states where the
/// target has them. States are FP16, and came with iOS 18.
fn caches(options: &Options, float: DataType) -> Result<Option<Kv>> {
    let can = options.target >= Target::Ios18 && float == DataType::Float16;
    match (options.model.unit, options.model.kv) {
        (_, Some(Kv::State)) if !can => Err(Error::Usage(format!(
            "--kv state: states hold FP16 and came with ios18, but the package is for {} and computes \
             in {float}",
            options.target
        ))),
        (_, Some(kv)) => Ok(Some(kv)),
        (_, None) if can => Ok(Some(Kv::State)),
        (Unit::Ane, None) => Ok(Some(Kv::Io)),
        (Unit::Gpu | Unit::Cpu, None) => Ok(None),
    }
}

/// A model's package.
#[derive(Clone, Debug)]
pub struct Built {
    /// Its program.
    pub program: Program,
    /// What it is, for people.
    pub words: String,
    /// What the user should know.
    pub notes: Vec<String>,
}
