//! A checkpoint with its `config.json`: a whole model.

mod decoder;

use super::architectures::{Architecture, Model};
use super::companions::Companions;
use super::config::Config;
use super::emit::{Style, Weights};
use super::encoder::{self, Encoder};
use super::parameters::{Checkpoint, Parameter};
use super::vision::{self, Vision};
use crate::graph::weight::Storage;
use crate::graph::{DataType, Program};
use crate::plan::{FeatureNames, ModelOptions, Options, Unit};
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
    /// Tokens that end a text: those of generation, then those of the configuration alone.
    pub ends: Vec<i64>,
    /// Its name on Hugging Face's hub, `owner/name`, where the configuration says it.
    pub hub: Option<String>,
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
    /// Describes the model of a configuration and of what stands beside it over these tensors; `None`
    /// for a `model_type` that is not known. `context` is the longest text that a decoder's package is
    /// to take; without it, the longest that the model was trained for, at most
    /// [`ModelOptions::LONGEST`].
    ///
    /// # Errors
    /// [`Error::Input`] for keys that are not understood, and for weights that are missing,
    /// left over or of other shapes, all at once.
    pub fn describe<'a>(
        config: &Config,
        beside: Companions,
        tensors: impl IntoIterator<Item = (&'a str, &'a [usize])>,
        context: Option<usize>,
    ) -> Result<Option<Self>> {
        let Some(model_type) = config.model_type() else { return Ok(None) };
        let mut checkpoint = Checkpoint::new(tensors);
        let Some(architecture) = Architecture::find(model_type) else { return Ok(None) };
        let model = architecture.describe(config, &mut checkpoint, context, beside.sentence)?;
        let copies = checkpoint.copies().to_vec();
        let parameters = checkpoint.finish(config.place())?;
        let mut ends = beside.ends;
        for end in config.ids("eos_token_id")? {
            if !ends.contains(&end) {
                ends.push(end);
            }
        }
        let hub =
            config.optional_word("_name_or_path").ok().flatten().filter(|name| is_on_hub(name));
        let (model_type, hub) = (model_type.to_owned(), hub.map(str::to_owned));
        Ok(Some(Self { model_type, model, parameters, copies, ends, hub }))
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
        let mut built = match &self.model {
            Model::Decoder(decoder) => self.decoder(decoder, &weights, options, float),
            Model::Encoder(encoder) => self.encoder(encoder, &weights, options, float),
            Model::Vision(vision) => self.vision(vision, &weights, options, float),
        }?;
        for program in &mut built.programs {
            program.metadata.user.insert(MODEL_TYPE.into(), self.model_type.clone());
        }
        Ok(built)
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
        about.insert(LABELS.into(), serde_json::json!(vision.labels).to_string());
        let words = format!("{}{}, {}", self.model_type, suited(style), vision.body.words(style));
        Ok(Built { programs: vec![program], words, notes: Vec::new() })
    }

    fn encoder(
        &self,
        encoder: &Encoder,
        weights: &Weights,
        options: &Options,
        float: DataType,
    ) -> Result<Built> {
        refuse_of_decoders(&options.model, "an encoder")?;
        let style = style(options, float)?;
        let context = options.model.context.unwrap_or(encoder.usual());
        let built = encoder::Options { style, float, target: options.target, context };
        let mut program = encoder::build(encoder, weights, &built)?;
        let about = &mut program.metadata.user;
        about.insert(CONTEXT.into(), context.to_string());
        if let Some(classifier) = &encoder.classifier {
            about.insert(LABELS.into(), serde_json::json!(classifier.labels).to_string());
        }
        if let Some(sentence) = &encoder.sentence {
            if sentence.lower_case {
                about.insert(LOWER_CASE.into(), "true".into());
            }
            if let Some(prompt) = &sentence.prompt {
                about.insert(PROMPT.into(), prompt.clone());
            }
        }
        let mut notes = Vec::new();
        if context > encoder.usual() {
            notes.push(format!(
                "--context {context} is beyond the {} tokens to which sentence-transformers cuts texts \
                 for this model",
                encoder.usual()
            ));
        }
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
        Ok(Built { programs: vec![program], words, notes })
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

/// Whether this is an `owner/name`, and no path of whoever saved the model.
fn is_on_hub(name: &str) -> bool {
    let is_part = |part: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        !part.is_empty() && !part.starts_with('.') && part.chars().all(plain)
    };
    name.split_once('/').is_some_and(|(owner, name)| is_part(owner) && is_part(name))
}

/// Words that say something of a language model alone.
fn refuse_of_decoders(asked: &ModelOptions, model: &str) -> Result<()> {
    let ModelOptions { kv, argmax, prefill_logits, names, chunks, .. } = asked;
    let words = [
        ("--kv", kv.is_some()),
        ("--argmax", *argmax),
        ("--prefill-logits", prefill_logits.is_some()),
        ("--names", *names != FeatureNames::default()),
        ("--chunks", *chunks > 1),
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

/// A model's package.
#[derive(Clone, Debug)]
pub struct Built {
    /// Its program; of a model in chunks theirs, in the order in which they run.
    pub programs: Vec<Program>,
    /// What it is, for people.
    pub words: String,
    /// What the user should know.
    pub notes: Vec<String>,
}
