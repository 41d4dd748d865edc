//! What stands beside `config.json` in a model's folder and says more of the model.
//!
//! | file | says |
//! |---|---|
//! | `modules.json` and what it names | what sentence-transformers puts behind an encoder |
//! | `generation_config.json` | which tokens end a text: transformers' generation reads them there first |
//! | `adapter_config.json` | that other weights are to be added to these |

use super::architectures::Architecture;
use super::config::Config;
use super::encoder::Sentence;
use crate::{Error, Result};

/// What else a model's folder says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Companions {
    /// What becomes of an encoder's tokens.
    pub sentence: Option<Sentence>,
    /// Tokens that end a text.
    pub ends: Vec<i64>,
}

/// A file of the folder by its name in it: the place for messages, and the content.
pub type Read<'a> = dyn Fn(&str) -> Result<Option<(String, Vec<u8>)>> + 'a;

impl Companions {
    /// Reads what stands beside this configuration; nothing for a `model_type` that is not known.
    ///
    /// # Errors
    /// As `read`; [`Error::Input`] for a file that cannot be understood, or that makes another model of
    /// this one.
    pub fn read(config: &Config, read: &Read<'_>) -> Result<Self> {
        let Some(architecture) = config.model_type().and_then(Architecture::find) else {
            return Ok(Self::default());
        };
        if let Some((place, _)) = read("adapter_config.json")? {
            let found = "an adapter stands beside the model, and would change its weights";
            let remedy = "merge it first (peft's merge_and_unload), or take its files away for the \
                          model without it";
            return Err(Error::input(place, found, remedy));
        }
        let sentence = match architecture.pools() {
            true => Sentence::read(read)?,
            false => refuse_modules(read)?,
        };
        let ends = match read("generation_config.json")? {
            Some((place, bytes)) => Config::parse(&place, &bytes)?.ids("eos_token_id")?,
            None => Vec::new(),
        };
        Ok(Self { sentence, ends })
    }
}

/// What sentence-transformers puts behind other models is not supported.
fn refuse_modules(read: &Read<'_>) -> Result<Option<Sentence>> {
    let Some((place, _)) = read("modules.json")? else { return Ok(None) };
    let found = "sentence-transformers' modules.json stands beside a model of this type";
    let remedy = "give a folder of BERT, RoBERTa or DistilBERT, or take modules.json away";
    Err(Error::input(place, found, remedy))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a folder of these files says of a model of this type.
    fn read(model_type: &str, files: &[(&str, &str)]) -> Result<Companions> {
        let config = format!(r#"{{"model_type": "{model_type}"}}"#);
        let config = Config::parse("config.json", config.as_bytes()).unwrap();
        Companions::read(&config, &|name| {
            let found = files.iter().find(|(known, _)| *known == name);
            Ok(found.map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())))
        })
    }

    #[test]
    fn the_ends_of_a_text_are_those_of_generation() {
        let ends = |text| read("llama", &[("generation_config.json", text)]).map(|all| all.ends);
        assert_eq!(ends(r#"{"eos_token_id": [1, 107], "do_sample": true}"#).unwrap(), [1, 107]);
        assert_eq!(ends(r#"{"eos_token_id": 2}"#).unwrap(), [2]);
        assert!(ends(r#"{"eos_token_id": null}"#).unwrap().is_empty());
        let refused = [r#"{"eos_token_id": "</s>"}"#, "{"].map(|text| ends(text).unwrap_err());
        insta::assert_snapshot!(refused.map(|error| error.to_string()).join("\n"), @r#"
        generation_config.json: `eos_token_id` is "</s>"; it must be a whole number or a list of them
        generation_config.json: EOF while parsing an object at line 1 column 1; give the model's own generation_config.json
        "#);
    }

    #[test]
    fn files_that_make_another_model_of_it_are_refused_where_its_type_is_known() {
        let dense = r#"[{"path": "", "type": "x.Transformer"}, {"path": "2", "type": "x.Dense"}]"#;
        let (modules, adapter) = (("modules.json", dense), ("adapter_config.json", "{}"));
        let refused = [("qwen3", modules), ("bert", modules), ("llama", adapter)]
            .map(|(model_type, file)| read(model_type, &[file]).unwrap_err().to_string());
        insta::assert_snapshot!(refused.join("\n"), @r"
        modules.json: sentence-transformers' modules.json stands beside a model of this type; give a folder of BERT, RoBERTa or DistilBERT, or take modules.json away
        modules.json: its modules are Transformer, Dense; Transformer, Pooling and then Normalize or nothing are supported; take modules.json away for the model alone
        adapter_config.json: an adapter stands beside the model, and would change its weights; merge it first (peft's merge_and_unload), or take its files away for the model without it
        ");
        assert_eq!(read("mpnet", &[modules, adapter]).unwrap(), Companions::default());
    }
}
