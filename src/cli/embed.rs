//! `quantize embed`: texts as vectors, and how near they are.

use super::args::{Global, Ids};
use super::{screen, tokenizer};
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;
use twolane::embed::{Embedder, cosine};
use twolane::execute::Engine;
use twolane::model::{LOWER_CASE, PROMPT};
use twolane::runtime::Mode;
use twolane::source::Package;
use twolane::text::{Column, Table};
use twolane::{Error, Result};

/// Texts as vectors.
#[derive(Args, Debug)]
#[command(after_help = "\
A text becomes the package's `sentence_embedding`, which folders of sentence-transformers have, else
its `pooler_output`. Texts get the folder's own treatment first: its default prompt, lower case where
it asks for that, the tokens that its tokenizer adds, and no more tokens than it takes.

Examples:
  quantize embed model-linear-int8/ --text 'a cat' --text 'a kitten' --text 'a house'
  quantize embed model-linear-int8/ --file questions.txt --json
  quantize embed model.mlpackage --ids 101,1037,4937,102")]
pub(crate) struct Embed {
    /// The package of an encoder, or an output folder of quantize
    pub(crate) package: PathBuf,
    /// A text; needs the tokenizer.json that quantize puts beside the package. May be repeated
    #[arg(long, value_name = "TEXT")]
    pub(crate) text: Vec<String>,
    /// More texts, one a line
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// A text as token ids with commas between, those around it included. May be repeated
    #[arg(long, value_name = "LIST", allow_negative_numbers = true)]
    pub(crate) ids: Vec<Ids>,
    /// Who evaluates: cpu or reference [default: cpu]
    #[arg(long, value_name = "BACKEND")]
    pub(crate) on: Option<Engine>,
}

/// Texts of which each is compared with each: more make a table that nobody reads, of a size that
/// grows with the square.
const COMPARED: usize = 64;

/// Numbers of a vector that a terminal shows.
const SHOWN: usize = 6;

/// Embeds texts, and prints their vectors and similarities.
pub(super) fn run(args: &Embed, global: &Global) -> anyhow::Result<ExitCode> {
    let package = Package::open(&args.package)?;
    let functions = package.program.functions.values();
    let engine = args.on.unwrap_or(Engine::Cpu);
    let mut embedder = Embedder::open(functions, engine.backend(Mode::F32))?;
    let texts = texts(args, &package, embedder.context(), global.quiet)?;
    let mut embedded = Vec::with_capacity(texts.len());
    for Text { text, ids } in texts {
        let embedding = embedder.embed(&ids)?;
        embedded.push(Embedded { text, ids, embedding });
    }
    let document = Document {
        output: embedder.output(),
        similarities: similarities(&embedded),
        texts: embedded,
    };
    if global.json {
        screen::write_json(&document)?;
    } else {
        screen::write(document.tables().as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A text, if it was given as such, and its tokens.
struct Text {
    text: Option<String>,
    ids: Vec<i32>,
}

/// What is to be embedded, in the order given: texts, lines of the file, ids.
fn texts(args: &Embed, package: &Package, context: usize, quiet: bool) -> Result<Vec<Text>> {
    let mut given = args.text.clone();
    if let Some(path) = &args.file {
        let lines = screen::read_text(path)?;
        given.extend(lines.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned));
    }
    let mut texts = Vec::new();
    if !given.is_empty() {
        let tokenizer = tokenizer::beside(&args.package, ", or give --ids instead of text")?;
        let treatment = Treatment::of(package);
        let mut cut = 0;
        for text in given {
            let treated = treatment.treated(&text);
            let (ids, was_cut) = tokenizer::encode_up_to(&tokenizer, &treated, context)?;
            cut += usize::from(was_cut);
            texts.push(Text { text: Some(text), ids });
        }
        if cut > 0 && !quiet {
            let texts = if cut == 1 { "1 text is".into() } else { format!("{cut} texts are") };
            eprintln!("{texts} longer than {context} tokens: the rest is cut off");
        }
    }
    texts.extend(args.ids.iter().map(|ids| Text { text: None, ids: ids.0.clone() }));
    if texts.is_empty() {
        return Err(Error::Usage("there is no text to embed; give --text, --file or --ids".into()));
    }
    Ok(texts)
}

/// What a model's folder does to texts before its tokenizer, as sentence-transformers does.
pub(super) struct Treatment<'p> {
    prompt: &'p str,
    lower_case: bool,
}

impl<'p> Treatment<'p> {
    pub(super) fn of(package: &'p Package) -> Self {
        let about = &package.program.metadata.user;
        let lower_case = about.get(LOWER_CASE).is_some_and(|value| value == "true");
        Self { prompt: about.get(PROMPT).map_or("", String::as_str), lower_case }
    }

    pub(super) fn treated(&self, text: &str) -> String {
        let treated = format!("{}{text}", self.prompt).trim().to_owned();
        if self.lower_case { treated.to_lowercase() } else { treated }
    }
}

/// The cosine of each text with each, unless there are too many.
fn similarities(texts: &[Embedded]) -> Option<Vec<Vec<f64>>> {
    let row = |a: &Embedded| texts.iter().map(|b| cosine(&a.embedding, &b.embedding)).collect();
    (texts.len() <= COMPARED).then(|| texts.iter().map(row).collect())
}

/// What `--json` prints.
#[derive(serde::Serialize)]
struct Document<'a> {
    output: &'a str,
    texts: Vec<Embedded>,
    /// Cosines, row by row; not of more texts than [`COMPARED`].
    #[serde(skip_serializing_if = "Option::is_none")]
    similarities: Option<Vec<Vec<f64>>>,
}

/// A text and its vector.
#[derive(serde::Serialize)]
struct Embedded {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    ids: Vec<i32>,
    embedding: Vec<f32>,
}

impl Document<'_> {
    /// The vectors' beginnings, and for several texts how near they are.
    fn tables(&self) -> String {
        let mut vectors = Table::new(vec![
            Column::right("#"),
            Column::left("text").cut_to(12),
            Column::right("tokens"),
            Column::right("length"),
            Column::left(self.output.to_owned()),
        ]);
        for (number, text) in self.texts.iter().enumerate() {
            let shown = text.text.clone().unwrap_or_else(|| listed(&text.ids));
            let squares = text.embedding.iter().map(|&x| f64::from(x) * f64::from(x));
            vectors.row(vec![
                (number + 1).to_string(),
                shown,
                text.ids.len().to_string(),
                format!("{:.4}", squares.sum::<f64>().sqrt()),
                beginning(&text.embedding),
            ]);
        }
        let mut told = vectors.render(screen::width());
        if let Some(similarities) = self.similarities.as_ref().filter(|rows| rows.len() > 1) {
            let headings = (1..=self.texts.len()).map(|n| Column::right(n.to_string()));
            let mut near =
                Table::new([Column::right("cosine")].into_iter().chain(headings).collect());
            for (number, row) in similarities.iter().enumerate() {
                let cells = row.iter().map(|cosine| format!("{cosine:.4}"));
                near.row([(number + 1).to_string()].into_iter().chain(cells).collect());
            }
            told.push('\n');
            told.push_str(&near.render(screen::width()));
        }
        told
    }
}

fn listed(ids: &[i32]) -> String {
    let ids: Vec<String> = ids.iter().map(i32::to_string).collect();
    ids.join(",")
}

/// The first numbers of a vector, and how many there are.
fn beginning(vector: &[f32]) -> String {
    let numbers: Vec<String> = vector.iter().take(SHOWN).map(|x| format!("{x:.4}")).collect();
    let more = if vector.len() > SHOWN { ", …" } else { "" };
    format!("[{}{more}] ({})", numbers.join(", "), vector.len())
}
