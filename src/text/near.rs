//! Which word was meant.

/// Words further apart than this are different words.
const EDITS: usize = 2;
/// Longer words are not compared.
const LONGEST: usize = 64;

/// The candidate that is nearest to a word, if it is a misspelling of it: at most two characters
/// are added, left out or others, and less than half of the word.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > LONGEST {
        return None;
    }
    let near = |candidate| Some((distance(word, candidate), candidate));
    let least = candidates.into_iter().filter_map(near).min()?;
    (least.0 <= EDITS && 2 * least.0 < word.chars().count()).then_some(least.1)
}

/// Levenshtein's distance, in characters.
pub fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, &y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_edits() {
        for (a, b, edits) in [("", "abc", 3), ("kitten", "sitting", 3), ("same", "same", 0)] {
            assert_eq!(distance(a, b), edits);
        }
    }

    #[test]
    fn a_misspelling_is_near_and_another_word_is_not() {
        let words = ["relu", "softmax", "x"];
        for (word, meant) in [("reluu", Some("relu")), ("softmx", Some("softmax")), ("y", None)] {
            assert_eq!(nearest(word, words), meant, "{word}");
        }
        assert_eq!(nearest(&"relu".repeat(100), words), None);
    }
}
