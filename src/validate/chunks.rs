//! A model in chunks: a text through all of its packages.

use super::source::Against;
use super::{Options, last_name, probe, text};
use crate::graph::Program;
use crate::progress::Progress;
use crate::report::Validation;
use crate::source::Package;
use crate::{Error, Result};

/// Feeds a text to the packages of a model, and to its source if there is one.
///
/// # Errors
/// [`Error::Usage`] without a text, or for words that are about one package; as [`Package::open_all`]
/// and [`text::check`].
pub(super) fn validate(options: &Options, progress: &dyn Progress) -> Result<Validation> {
    let Some(of) = &options.text else {
        return Err(Error::Usage(format!(
            "{} holds a model in chunks: name one of its packages to see its weights, layers and \
             outputs, or give --text, which runs them all",
            options.package.display()
        )));
    };
    let of_one = [
        ("--function", options.function.is_some()),
        ("--golden", options.golden.is_some()),
        ("--inputs", options.inputs.is_some()),
        ("--logits", !options.logits.is_empty()),
    ];
    if let Some((word, _)) = of_one.into_iter().find(|(_, given)| *given) {
        return Err(Error::Usage(format!(
            "{word} is about one package, and {} holds several; name the one that is meant",
            options.package.display()
        )));
    }
    let packages = Package::open_all(&options.package)?;
    let programs: Vec<&Program> = packages.iter().map(|package| &package.program).collect();
    let against = options.against.as_deref().map(|path| Against::open(path, programs[0]));
    let against = against.transpose()?;
    let words = format!("a text, for {} packages", packages.len());
    let mut found = Validation::new(last_name(&options.package), words);
    found.against = options.against.as_deref().map(last_name);
    found.text = Some(text::check(options, of, &programs, against.as_ref(), progress)?);
    found.peak_memory_bytes = probe::peak_memory_bytes();
    progress.finish();
    let mut say = |what: &str| found.unproven.push(what.into());
    say("each weight, layer and output: give one of the packages after the other");
    say("how fast it is: `quantize generate` tells");
    say("how a device runs it: nothing ran on Apple hardware");
    Ok(found)
}
