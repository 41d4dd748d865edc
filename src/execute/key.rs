//! Which input a tensor of a file is meant for: its name says so.
//!
//! ```text
//! [FUNCTION.][stepN.][in.]NAME    an input; without stepN, of every step
//! [FUNCTION.]state.NAME           what a state holds before the first step
//! ```
//!
//! `/` may stand for `.`, and the words before NAME in any order. Any other name (`out.NAME`,
//! `final.NAME`, a weight's) is none of an input: a file may hold more than inputs.

/// A name, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key<'a> {
    /// The function that it is meant for; any, if absent.
    pub function: Option<&'a str>,
    /// The step that it is meant for; every one, if absent.
    pub step: Option<usize>,
    /// Whether it is a state to begin with.
    pub is_state: bool,
    /// The feature.
    pub name: &'a str,
}

/// Takes a name apart; `is_function` knows the functions of the package. `None` for the name of
/// something else.
pub fn parse<'a>(key: &'a str, is_function: &dyn Fn(&str) -> bool) -> Option<Key<'a>> {
    let (words, name) = key.rsplit_once(['.', '/']).unwrap_or(("", key));
    let mut parsed = Key { function: None, step: None, is_state: false, name };
    let mut is_input = false;
    for word in words.split(['.', '/']).filter(|_| !words.is_empty()) {
        match word {
            "in" if !is_input && !parsed.is_state => is_input = true,
            "state" if !is_input && !parsed.is_state => parsed.is_state = true,
            _ if parsed.step.is_none() && step(word).is_some() => parsed.step = step(word),
            _ if parsed.function.is_none() && is_function(word) => parsed.function = Some(word),
            _ => return None,
        }
    }
    // A state begins before every step.
    let contradicts = parsed.is_state && parsed.step.is_some();
    (!name.is_empty() && !contradicts).then_some(parsed)
}

/// `N` of `stepN`.
fn step(word: &str) -> Option<usize> {
    let digits = word.strip_prefix("step")?;
    digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_what_they_are_for() {
        let input = |function, step, name| Key { function, step, is_state: false, name };
        #[rustfmt::skip]
        let cases: &[(&str, Option<Key<'_>>)] = &[
            ("x",                   Some(input(None, None, "x"))),
            ("in.x",                Some(input(None, None, "x"))),
            ("in.in",               Some(input(None, None, "in"))),
            ("step3.in.ids",        Some(input(None, Some(3), "ids"))),
            ("step3.ids",           Some(input(None, Some(3), "ids"))),
            ("prefill.in.ids",      Some(input(Some("prefill"), None, "ids"))),
            ("prefill/ids",         Some(input(Some("prefill"), None, "ids"))),
            ("prefill/step0.in.x",  Some(input(Some("prefill"), Some(0), "x"))),
            ("step0.prefill.in.x",  Some(input(Some("prefill"), Some(0), "x"))),
            ("state.k",             Some(Key { is_state: true, ..input(None, None, "k") })),
            ("out.logits.f32",      None),
            ("step0.out.logits",    None),
            ("final.k_cache.f32",   None),
            ("dequant.fc1.weight",  None),
            ("in.",                 None),
            ("step1.step2.x",       None),
            ("step.x",              None),
            ("step99999999999999999999.x", None),
            ("step0.state.k",       None),
            ("decode.x",            None),
            ("",                    None),
        ];
        for (key, want) in cases {
            assert_eq!(parse(key, &|word| word == "prefill"), *want, "{key}");
        }
    }
}
