//! A misspelt subcommand looks like an input that does not exist: say what was meant.

use std::ffi::OsString;
use std::path::Path;
use twolane::text::distance;

/// What users type; the hidden ones are typed by packagers.
const SUBCOMMANDS: [&str; 7] =
    ["inspect", "validate", "run", "generate", "embed", "calibrate", "plan"];

/// The subcommand that the first word which is no flag looks like, if no such file exists.
pub(super) fn in_words(words: &[OsString]) -> Option<&'static str> {
    let first = words.iter().skip(1).find(|word| !word.to_string_lossy().starts_with('-'))?;
    of(Path::new(first))
}

/// The subcommand that an input looks like, if no such file exists.
pub(super) fn of(input: &Path) -> Option<&'static str> {
    let is_right = SUBCOMMANDS.contains(&input.to_str()?);
    let word = input.to_str()?.to_ascii_lowercase();
    if is_right || input.exists() || word.contains(['/', '\\', '.']) {
        return None;
    }
    let near = |name: &&str| {
        // A short name is near to many words.
        let edits = if name.len() < 5 { 1 } else { 2 };
        distance(&word, name) <= edits || (word.len() >= 3 && name.starts_with(&word))
    };
    SUBCOMMANDS.into_iter().find(near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_meant_and_files_are_not() {
        for word in ["inspct", "Inspect", "insepct", "inspects", "insp"] {
            assert_eq!(of(Path::new(word)), Some("inspect"), "{word}");
        }
        for (word, meant) in [("rum", "run"), ("validat", "validate"), ("vaildate", "validate")] {
            assert_eq!(of(Path::new(word)), Some(meant), "{word}");
        }
        for word in ["model", "./inspct", "in", "inspct.safetensors"] {
            assert_eq!(of(Path::new(word)), None, "{word}");
        }
    }
}
