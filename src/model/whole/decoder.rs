//! Decoders: what the options ask for, resolved, and the package's words and metadata.

use super::super::decoder::{self, Decoder, Names};
use super::super::emit::Weights;
use super::{Built, CONTEXT, ENDS, Whole, style, suited};
use crate::graph::DataType;
use crate::plan::{FeatureNames, Kv, ModelOptions, Options, PrefillLogits, Unit};
use crate::target::Target;
use crate::{Error, Result};

/// The key under which swift-transformers looks for a model's name on the hub, where its tokenizer is.
const EXPORTERS_NAME: &str = "co.huggingface.exporters.name";

impl Whole {
    pub(super) fn decoder(
        &self,
        decoder: &Decoder,
        weights: &Weights,
        options: &Options,
        float: DataType,
    ) -> Result<Built> {
        let context = decoder.context;
        let mut notes = about_context(decoder, options);
        let style = style(options, float)?;
        let kv = caches(options, float)?;
        let names = names(options, kv, context)?;
        let is_ranged = kv.is_some() && names.position.is_none();
        let asked = options.model.prefill_chunk.filter(|_| kv.is_some() && !is_ranged);
        let prefill_chunk = asked.unwrap_or((context / 2).clamp(1, ModelOptions::CHUNK));
        let built = decoder::Options {
            style,
            float,
            target: options.target,
            context,
            prefill_chunk,
            names,
            kv,
            argmax: options.model.argmax,
            last_row: last_row(options, kv.filter(|_| !is_ranged))?,
        };
        let chunks = options.model.chunks;
        let mut programs = decoder::build_chunks(decoder, weights, &built, chunks)?;
        let ends: Vec<String> = self.ends.iter().map(i64::to_string).collect();
        for program in &mut programs {
            let about = &mut program.metadata.user;
            about.insert(ENDS.into(), ends.join(","));
            about.insert(CONTEXT.into(), context.to_string());
            if let (FeatureNames::SwiftTransformers, Some(hub)) = (options.model.names, &self.hub) {
                about.insert(EXPORTERS_NAME.into(), hub.clone());
            }
        }
        let form = match (kv, options.target >= Target::Ios18) {
            (Some(Kv::State), _) if is_ranged => "main, any number of tokens over states".into(),
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
            "{}, {} layers{}{}; {form}, context {context}",
            self.model_type,
            decoder.layers.len(),
            if chunks > 1 { format!(" in {chunks} packages") } else { String::new() },
            suited(style)
        );
        Ok(Built { programs, words, notes })
    }
}

/// What to know of the longest text.
fn about_context(decoder: &Decoder, options: &Options) -> Vec<String> {
    let (context, longest) = (decoder.context, decoder.longest);
    let mut notes = Vec::new();
    if context > longest {
        notes.push(format!(
            "--context {context} is beyond the {longest} tokens that the model was trained for"
        ));
    } else if options.model.context.is_none() && context < longest {
        notes.push(format!(
            "the package takes texts up to {context} tokens, the model up to {longest}; --context N \
             chooses"
        ));
    }
    if let Some(short) = decoder.ropes.iter().find_map(|rope| rope.short_up_to) {
        notes.push(format!(
            "--context {context} is beyond {short} tokens: texts of any length turn by LongRoPE's \
             factors for long ones, while the model itself has others up to {short} tokens; \
             --context {short} takes those"
        ));
    }
    notes
}

/// What features are called: Hugging Face's Swift runtime loads only some forms.
fn names(options: &Options, kv: Option<Kv>, context: usize) -> Result<Names> {
    if options.model.names == FeatureNames::Transformers {
        return Ok(Names::TRANSFORMERS);
    }
    let refused = |why: String| Err(Error::Usage(format!("--names swift-transformers: {why}")));
    match (options.model.unit, kv) {
        (Unit::Ane, _) => refused(
            "that runtime feeds ids and one mask, and none of the inputs that --unit ane asks its host \
             for; choose --unit gpu"
                .into(),
        ),
        (_, Some(Kv::Io)) => refused(
            "that runtime refuses caches that are inputs and outputs; choose --kv state".into(),
        ),
        (_, Some(Kv::State)) if context < 3 => refused(format!(
            "--context {context}: that runtime wants a range of at least 1 to 3 tokens"
        )),
        (_, Some(Kv::State) | None) => Ok(Names::SWIFT_TRANSFORMERS),
    }
}

/// Whether a prompt's steps return one row of logits: by default where there are such steps.
fn last_row(options: &Options, kv: Option<Kv>) -> Result<bool> {
    match (options.model.prefill_logits, kv) {
        (Some(PrefillLogits::Last), None) => Err(Error::Usage(
            "--prefill-logits last: this package has no prefill: its one function takes any number of \
             tokens and returns the logits of each. From ios18 on in FP16, or with --unit ane, and with \
             --names transformers there is one"
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
