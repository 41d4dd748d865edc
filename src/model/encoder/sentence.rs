//! What sentence-transformers puts behind a model, as its folders say it.
//!
//! | file | says |
//! |---|---|
//! | `modules.json` | which modules follow each other |
//! | `N_Pooling/config.json` | how tokens become one vector |
//! | `sentence_bert_config.json` | the longest text, and whether it is put in lower case first |
//! | `config_sentence_transformers.json` | what is put before a text |

use crate::model::Read;
use crate::model::config::Config;
use crate::{Error, Result};
use serde::Deserialize;

/// What becomes of a text and of its tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sentence {
    /// Ways to pool, whose vectors follow each other.
    pub pooling: Vec<Pooling>,
    /// Whether the vector gets length 1.
    pub normalize: bool,
    /// Coordinates of a token, where the pooling says so.
    pub width: Option<usize>,
    /// The longest text, in tokens, those that the tokenizer adds included.
    pub longest: Option<usize>,
    /// Whether texts are put in lower case.
    pub lower_case: bool,
    /// What is put before every text.
    pub prompt: Option<String>,
    /// The files that say all this, by their names in the folder.
    pub files: Vec<String>,
}

/// How tokens become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// The first token.
    First,
    /// The greatest of each coordinate.
    Max,
    /// `Σx / T`.
    Mean,
    /// `Σx / √T`.
    MeanBySqrt,
    /// `Σ(t·x) / Σt`, t from 1.
    WeightedMean,
    /// The last token.
    Last,
}

/// Ways to pool: the flag of older files, the word of newer ones; in the order in which older files
/// put vectors behind each other.
const POOLINGS: [(&str, &str, Pooling); 6] = [
    ("pooling_mode_cls_token", "cls", Pooling::First),
    ("pooling_mode_max_tokens", "max", Pooling::Max),
    ("pooling_mode_mean_tokens", "mean", Pooling::Mean),
    ("pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len_tokens", Pooling::MeanBySqrt),
    ("pooling_mode_weightedmean_tokens", "weightedmean", Pooling::WeightedMean),
    ("pooling_mode_lasttoken", "lasttoken", Pooling::Last),
];

/// Files that say how long a text may be, by the model that wrote them.
const LENGTHS: [&str; 3] = [
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
];

/// An entry of `modules.json`.
#[derive(Debug, Deserialize)]
struct Module {
    path: String,
    #[serde(rename = "type")]
    class: String,
}

impl Module {
    /// The class without its package, which moved between versions.
    fn kind(&self) -> &str {
        self.class.rsplit('.').next().unwrap_or_default()
    }
}

impl Sentence {
    /// Reads what follows a model in its folder; `None` for a folder without `modules.json`.
    ///
    /// # Errors
    /// As `read`; [`Error::Input`] for a module, a key or a value that is not understood.
    pub fn read(read: &Read<'_>) -> Result<Option<Self>> {
        let Some((place, bytes)) = read("modules.json")? else { return Ok(None) };
        let (folder, normalize) = modules(&place, &bytes)?;
        let files = vec!["modules.json".to_owned()];
        let mut sentence = Self { normalize, files, ..Self::default() };
        let config = |name: &str, files: &mut Vec<String>| -> Result<Option<Config>> {
            let Some((place, bytes)) = read(name)? else { return Ok(None) };
            files.push(name.to_owned());
            Config::parse(&place, &bytes).map(Some)
        };
        let name = format!("{folder}/config.json");
        let Some(pooling) = config(&name, &mut sentence.files)? else {
            let found = format!("{name} is missing");
            return Err(Error::input(&place, found, "give the whole folder"));
        };
        let pools_prompt = sentence.pool(&pooling)?;
        for name in LENGTHS {
            if let Some(about) = config(name, &mut sentence.files)? {
                sentence.longest = about.optional_size("max_seq_length")?;
                sentence.lower_case = about.flag_or("do_lower_case", false)?;
                about.finish()?;
                break;
            }
        }
        if let Some(about) = config("config_sentence_transformers.json", &mut sentence.files)? {
            sentence.prompts(&about, pools_prompt)?;
        }
        Ok(Some(sentence))
    }

    /// Reads how tokens become one vector; returns whether those of a prompt are among them.
    fn pool(&mut self, config: &Config) -> Result<bool> {
        let old = config.optional_size("word_embedding_dimension")?;
        self.width = config.optional_size("embedding_dimension")?.or(old);
        let older = POOLINGS.map(|(flag, _, pooling)| {
            // Files that do not say otherwise mean the mean.
            let on = config.flag_or(flag, pooling == Pooling::Mean)?;
            Ok::<_, Error>(on.then_some(pooling))
        });
        let older = older.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten();
        self.pooling = match config.optional_word_or_words("pooling_mode")? {
            None => older.collect(),
            Some(words) => {
                let find = |word: &String| POOLINGS.iter().find(|(_, known, _)| known == word);
                let found = words.iter().map(find).collect::<Option<Vec<_>>>();
                let known = POOLINGS.map(|(_, word, _)| word).join(", ");
                let found = found.ok_or_else(|| {
                    config.unsupported("pooling_mode", &format!("it must be of {known}"))
                })?;
                found.into_iter().map(|(_, _, pooling)| *pooling).collect()
            }
        };
        if self.pooling.is_empty() {
            return Err(config.unsupported("pooling_mode", "one way to pool must be chosen"));
        }
        let pools_prompt = config.flag_or("include_prompt", true)?;
        config.finish()?;
        Ok(pools_prompt)
    }

    /// Reads what is put before every text.
    fn prompts(&mut self, config: &Config, pooled: bool) -> Result<()> {
        // Who wrote it, and by what similarity vectors are compared.
        for key in ["__version__", "similarity_fn_name", "model_type"] {
            config.has(key);
        }
        let prompts = config.optional_section("prompts")?;
        if let Some(name) = config.optional_word("default_prompt_name")? {
            let prompt = match &prompts {
                Some(prompts) => prompts.optional_word(name)?,
                None => None,
            };
            let Some(prompt) = prompt else {
                return Err(config.unsupported("default_prompt_name", "`prompts` must have it"));
            };
            if !pooled && !prompt.is_empty() {
                let can = "a prompt whose tokens are not pooled (`include_prompt` false) is not \
                           supported; set it to null";
                return Err(config.unsupported("default_prompt_name", can));
            }
            self.prompt = Some(prompt.to_owned()).filter(|prompt| !prompt.is_empty());
        }
        config.finish()
    }
}

/// Reads `modules.json`: the folder of the pooling, and whether its vector gets length 1.
fn modules(place: &str, bytes: &[u8]) -> Result<(String, bool)> {
    let wrong = |found: String, remedy: &str| Error::input(place, found, remedy);
    let modules: Vec<Module> = serde_json::from_slice(bytes).map_err(|why| {
        wrong(why.to_string(), "give the model's own modules.json, or take it away")
    })?;
    let kinds: Vec<&str> = modules.iter().map(Module::kind).collect();
    let normalize = match kinds[..] {
        ["Transformer", "Pooling"] => false,
        ["Transformer", "Pooling", "Normalize"] => true,
        _ => {
            let found = format!("its modules are {}", kinds.join(", "));
            let can = "Transformer, Pooling and then Normalize or nothing are supported; take \
                       modules.json away for the model alone";
            return Err(wrong(found, can));
        }
    };
    if !modules[0].path.is_empty() {
        let found = format!("the model lies in its folder `{}`", modules[0].path);
        return Err(wrong(found, "move that folder's files beside modules.json"));
    }
    let folder = &modules[1].path;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    if folder.is_empty() || !folder.chars().all(is_plain) {
        let found = format!("its pooling lies in `{folder}`");
        return Err(wrong(found, "give a folder beside it, such as 1_Pooling"));
    }
    Ok((folder.clone(), normalize))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of these files.
    fn read(files: &[(&str, &str)]) -> Result<Option<Sentence>> {
        Sentence::read(&|name| {
            let found = files.iter().find(|(known, _)| *known == name);
            Ok(found.map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())))
        })
    }

    const MODULES: (&str, &str) = (
        "modules.json",
        r#"[{"idx": 0, "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "path": "1_Pooling", "type": "x.Pooling"},
            {"idx": 2, "path": "2_Normalize", "type": "x.y.Normalize"}]"#,
    );

    #[test]
    fn older_flags_and_newer_words_say_the_same() {
        assert_eq!(read(&[]).unwrap(), None);
        let pool = |text| read(&[MODULES, ("1_Pooling/config.json", text)]).unwrap().unwrap();
        let old = pool(
            r#"{"word_embedding_dimension": 8, "pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false,
                "pooling_mode_max_tokens": true, "pooling_mode_weightedmean_tokens": false}"#,
        );
        assert_eq!(old.pooling, [Pooling::First, Pooling::Max]);
        assert_eq!((old.width, old.normalize), (Some(8), true));
        assert_eq!(pool("{}").pooling, [Pooling::Mean]);
        let new = pool(r#"{"embedding_dimension": 8, "pooling_mode": ["max", "cls"]}"#);
        assert_eq!(new.pooling, [Pooling::Max, Pooling::First], "in the order of the list");
        assert_eq!(pool(r#"{"pooling_mode": "lasttoken"}"#).pooling, [Pooling::Last]);
    }

    #[test]
    fn texts_are_prepared_as_the_folder_says() {
        let pooling = ("1_Pooling/config.json", r#"{"pooling_mode": "mean"}"#);
        let about =
            ("sentence_bert_config.json", r#"{"max_seq_length": 128, "do_lower_case": true}"#);
        let prompts = (
            "config_sentence_transformers.json",
            r#"{"__version__": {"pytorch": "2"}, "prompts": {"query": "query: "},
                "default_prompt_name": "query", "similarity_fn_name": "cosine"}"#,
        );
        let sentence = read(&[MODULES, pooling, about, prompts]).unwrap().unwrap();
        assert_eq!((sentence.longest, sentence.lower_case), (Some(128), true));
        assert_eq!(sentence.prompt.as_deref(), Some("query: "));
        let apart =
            ("1_Pooling/config.json", r#"{"pooling_mode": "mean", "include_prompt": false}"#);
        assert!(read(&[MODULES, apart, about]).is_ok());
        let refused = read(&[MODULES, apart, prompts]).unwrap_err().to_string();
        assert!(refused.contains("`default_prompt_name` is \"query\""), "{refused}");
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        let modules = |kinds: &str| {
            let one = |kind| format!(r#"{{"path": "", "type": "a.{kind}"}}"#);
            let text: Vec<String> = kinds.split(' ').map(one).collect();
            let text = format!("[{}]", text.join(","));
            read(&[("modules.json", &text)]).unwrap_err().to_string()
        };
        insta::assert_snapshot!(modules("Transformer Pooling Dense Normalize"), @"modules.json: its modules are Transformer, Pooling, Dense, Normalize; Transformer, Pooling and then Normalize or nothing are supported; take modules.json away for the model alone");
        insta::assert_snapshot!(modules("Transformer Pooling"), @"modules.json: its pooling lies in ``; give a folder beside it, such as 1_Pooling");
        let refused =
            |text| read(&[MODULES, ("1_Pooling/config.json", text)]).unwrap_err().to_string();
        insta::assert_snapshot!(refused(r#"{"pooling_mode_attention": true}"#), @"1_Pooling/config.json: keys that are not understood may change the arithmetic: `pooling_mode_attention`: true; set those that change nothing to null, or write the layers alone with --layer-package");
        insta::assert_snapshot!(refused(r#"{"pooling_mode": "median"}"#), @r#"1_Pooling/config.json: `pooling_mode` is "median"; it must be of cls, max, mean, mean_sqrt_len_tokens, weightedmean, lasttoken"#);
        insta::assert_snapshot!(refused(r#"{"pooling_mode_mean_tokens": false}"#), @"1_Pooling/config.json: `pooling_mode` is absent; one way to pool must be chosen");
    }
}
