//! What a package says of its own making.

use super::hash::Hashes;
use super::package::Subject;
use crate::graph::Metadata;
use crate::plan::Plan;
use crate::report::{InputFile, Provenance};
use crate::source::Source;

/// The files that were read, with their hashes, in the order of [`Source::inputs`].
pub(super) fn inputs(source: &Source, hashes: impl IntoIterator<Item = Hashes>) -> Vec<InputFile> {
    let input = |((path, bytes), hashes): ((_, &[u8]), Hashes)| InputFile {
        name: source.name_of(path),
        bytes: bytes.len() as u64,
        blake3: hashes.blake3,
        sha256: hashes.sha256,
    };
    source.inputs().zip(hashes).map(input).collect()
}

/// Enters what is known before a weight is read; in the place of hashes stand zeros. What a package
/// said before it was compressed stays.
pub(super) fn enter(metadata: &mut Metadata, source: &Source, plan: &Plan, subject: &Subject) {
    let model = plan.model.as_deref().unwrap_or_default();
    let terms = source.terms();
    let stated = [
        (&mut metadata.description, model),
        (&mut metadata.author, &terms.author),
        (&mut metadata.license, &terms.license),
    ];
    for (field, stated) in stated {
        if field.is_empty() {
            *field = stated.to_owned();
        }
    }
    let unknown = std::iter::repeat_with(|| Hashes::unknown(plan.options.sha256));
    let whole = matches!(subject, Subject::Whole(_));
    let run = Provenance::new(plan.options.words(whole), inputs(source, unknown));
    run.enter(&mut metadata.user);
}
