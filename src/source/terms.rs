//! Who made a model and under which terms it may be used, where its folder says so.

use super::{Source, find};
use crate::Result;

/// The model card of a folder.
const CARD: &str = "README.md";

/// The longest card that is read: longer ones exist as jokes only.
const MOST_CARD_BYTES: u64 = 1 << 20;

/// What is stated of a model; empty where nothing is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// The licence: a name, and a link where one is given.
    pub license: String,
    /// Who made it.
    pub author: String,
}

impl Source {
    /// What is stated of the model, once it was [read](Source::read_terms).
    pub fn terms(&self) -> &Terms {
        &self.terms
    }

    /// Reads what the files' own metadata state (`license` and `author`, also as `modelspec.license` and
    /// `modelspec.author` of the Model Metadata Specification), and what the model card's front matter
    /// states of the licence (`license`, `license_name`, `license_link`) where they do not. A card that
    /// states it is an input.
    ///
    /// # Errors
    /// [`crate::Error::Io`] for a card that cannot be read.
    pub fn read_terms(&mut self) -> Result<()> {
        let stated = |key: &str| {
            let spec = format!("modelspec.{key}");
            let metadata = self.files.iter().map(|file| &file.metadata);
            let mut found = metadata.filter_map(|m| m.get(key).or_else(|| m.get(&spec)));
            found.find(|text| !text.trim().is_empty()).map(|text| text.trim().to_owned())
        };
        let author = stated("author").unwrap_or_default();
        if let Some(license) = stated("license") {
            self.terms = Terms { license, author };
            return Ok(());
        }
        let card = match std::fs::metadata(self.folder.join(CARD)) {
            Ok(about) if about.len() <= MOST_CARD_BYTES => find::beside(&self.folder, CARD)?,
            Ok(_) | Err(_) => None,
        };
        let license = card.as_ref().and_then(|(_, bytes)| license(&String::from_utf8_lossy(bytes)));
        self.beside.extend(card.filter(|_| license.is_some()));
        self.terms = Terms { license: license.unwrap_or_default(), author };
        Ok(())
    }
}

/// The licence in a card's front matter: YAML between two lines `---`, of which plain entries of one
/// line are understood, and the first of a list.
fn license(card: &str) -> Option<String> {
    let mut lines = card.trim_start_matches('\u{feff}').lines().map(str::trim_end);
    lines.next().filter(|line| *line == "---")?;
    let matter: Vec<&str> = lines.take_while(|line| *line != "---").collect();
    let plain = |text: &str| {
        let text = text.trim().trim_matches(['"', '\'', '[', ']']).trim();
        (!text.is_empty() && !text.starts_with(['|', '>', '#'])).then(|| text.to_owned())
    };
    let entry = |key: &str| {
        let at = matter.iter().position(|line| {
            line.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with(':'))
        })?;
        let (_, value) = matter[at].split_once(':')?;
        let listed = || plain(matter.get(at + 1)?.trim_start().strip_prefix("- ")?);
        plain(value).or_else(listed)
    };
    // `other` only says that the name stands elsewhere.
    let name = entry("license_name").or_else(|| entry("license"))?;
    Some(match entry("license_link") {
        Some(link) => format!("{name} ({link})"),
        None => name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_states_its_licence_in_its_front_matter_or_not_at_all() {
        #[rustfmt::skip]
        let cases = [
            ("---\nlanguage: en\nlicense: apache-2.0\n---\n# Model", Some("apache-2.0")),
            ("---\r\nlicense: \"mit\"\r\n---\r\n",                   Some("mit")),
            ("---\nlicense:\n- cc-by-4.0\n- mit\ntags: x\n---\n",     Some("cc-by-4.0")),
            ("---\nlicense: [mit]\n---\n",                           Some("mit")),
            ("---\nlicense: other\nlicense_name: big-1\nlicense_link: https://a.b/c\n---\n",
             Some("big-1 (https://a.b/c)")),
            ("---\nlicense:\n---\n",                                 None),
            ("---\ntags: x\n---\nlicense: mit\n",                    None),
            ("license: mit\n",                                       None),
            ("",                                                     None),
        ];
        for (card, want) in cases {
            assert_eq!(license(card).as_deref(), want, "{card}");
        }
    }
}
