//! Data through a model.

use super::watching::{Watching, locked};
use crate::calibrate::{Calibration, Data, Model};
use crate::embed::Encoder;
use crate::execute::{RowData, Rows, choose};
use crate::generate::Session;
use crate::model::decoder::ane::Host;
use crate::progress::Progress;
use crate::runtime::{Backend, Tensors};
use crate::source::Package;
use crate::validate::Text;
use crate::{Error, Result};
use regex::Regex;

/// What a model is run on.
pub enum Samples<'a> {
    /// A text for a language model, cut into windows of its context that do not overlap; each window is
    /// a sample, and begins with what the model expects before a text.
    Windows(&'a Text),
    /// Texts for an encoder, as token ids that fit into its context, made as they are asked for.
    Texts(&'a mut dyn Iterator<Item = Result<Vec<i32>>>),
    /// Rows of named tensors, or images, for a function, the default one without a name: see [`Rows`].
    Rows(&'a RowData, Option<&'a str>),
}

/// What was counted.
#[derive(Clone, Debug)]
pub struct Counted {
    /// The counts.
    pub calibration: Calibration,
    /// The names of values that were counted with padding, for it is not known where they have it.
    pub padded: Vec<String>,
}

/// Runs a package on all samples, and counts its activations. `file` and `blake3` say what they are;
/// `hessians` names the values whose readers' Hessians are gathered; progress is told in tokens, texts or rows, as many as `samples` is known to have.
///
/// Nothing is padded where the package takes any length, or single tokens. Where an encoder takes texts of
/// one length alone, places of padding are left out of values that have them; those of which that is not
/// known are named.
///
/// # Errors
/// [`Error::Usage`] for data that gives no sample; as [`Session::chain`], [`Encoder::open`],
/// [`Rows::open`] and the backend.
pub fn calibrate(
    package: &Package,
    samples: Samples<'_>,
    (file, blake3): (&str, &str),
    hessians: Option<&Regex>,
    progress: &dyn Progress,
) -> Result<Counted> {
    let watching = Watching::default();
    let (recorder, padded) = (watching.recorder(), watching.padded());
    if let Some(of) = hessians {
        locked(&recorder)?.gather_hessians(of);
    }
    let mut count = 0;
    let mut end_sample = || -> Result<()> {
        count += 1;
        locked(&recorder)?.end_sample();
        Ok(())
    };
    let mut function = None;
    match samples {
        Samples::Windows(text) => windows(package, text, watching, &mut end_sample, progress)?,
        Samples::Texts(texts) => {
            let functions = package.program.functions.values();
            let mut encoder = Encoder::open(functions, Box::new(watching))?.unpadded();
            for ids in texts {
                encoder.run(&ids?)?;
                end_sample()?;
                progress.advance(1);
            }
        }
        Samples::Rows(data, name) => {
            let (name, found) = choose(&package.program, name)?;
            let tensors = data.tensors(found)?;
            let rows = Rows::open(&*tensors, &package.program.functions, name)?;
            let mut prepared = watching.prepare(found, &rows.shapes())?;
            progress.start(rows.len() as u64);
            let mut outputs = Tensors::new();
            for row in rows {
                prepared.run(&row?, &mut Tensors::new(), &mut outputs)?;
                end_sample()?;
                progress.advance(1);
            }
            function = Some(name.to_owned());
        }
    }
    progress.finish();
    if count == 0 {
        return Err(Error::Usage(format!("{file} gives no sample; give more of it")));
    }
    let data = Data { blake3: blake3.into(), file: file.into(), samples: count };
    let recorder = std::mem::take(&mut *locked(&recorder)?);
    let calibration = recorder.finish(Model { function, ..identity(package)? }, data);
    let padded = std::mem::take(&mut *locked(&padded)?).into_iter().collect();
    Ok(Counted { calibration, padded })
}

fn windows(
    package: &Package,
    text: &Text,
    watching: Watching,
    end_sample: &mut dyn FnMut() -> Result<()>,
    progress: &dyn Progress,
) -> Result<()> {
    let host = Host::of(&package.program)?;
    let functions = package.program.functions.values();
    let mut session = Session::open(functions, host.as_ref(), Box::new(watching))?.unpadded();
    let context = session.context();
    let room = context.saturating_sub(text.begin.len());
    if room == 0 {
        let found = format!("the package takes {context} tokens, all of which stand before a text");
        return Err(Error::Usage(format!("{found}; convert with a larger --context")));
    }
    progress.start(text.ids.len() as u64);
    for part in text.ids.chunks(room) {
        let window = [&text.begin[..], part].concat();
        session.restart();
        let mut rest = &window[..];
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(session.piece(rest.len()));
            session.feed(piece)?;
            rest = behind;
        }
        end_sample()?;
        progress.advance(part.len() as u64);
    }
    Ok(())
}

/// What tells this package from others.
fn identity(package: &Package) -> Result<Model> {
    let program = std::fs::read(&package.model)
        .map_err(|why| Error::io("read", package.model.display().to_string(), why))?;
    let mut hash = blake3::Hasher::new();
    let mut blobs: Vec<_> = package.blobs.iter().collect();
    blobs.sort_by(|a, b| a.0.cmp(&b.0));
    for bytes in std::iter::once(&program[..]).chain(blobs.iter().map(|(_, bytes)| &bytes[..])) {
        // With their lengths, nothing can move from one to the next.
        hash.update(&(bytes.len() as u64).to_le_bytes());
        hash.update_rayon(bytes);
    }
    let name = package.dir.file_name().unwrap_or_default();
    Ok(Model {
        package: name.to_string_lossy().into_owned(),
        blake3: hash.finalize().to_hex().to_string(),
        function: None,
    })
}
