//! Ranges as words: `mse`, `none`, `percentile:99.9`.

use super::Clip;
use super::text::{ParseError, refuse};
use std::{fmt, str::FromStr};

impl FromStr for Clip {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let lower = text.trim().to_ascii_lowercase();
        match lower.as_str() {
            "mse" => return Ok(Self::Mse),
            "none" => return Ok(Self::None),
            "percentile" => return refuse("`percentile` needs a number, such as percentile:99.9"),
            _ => {}
        }
        let Some(number) = lower.strip_prefix("percentile:") else {
            return refuse(format!(
                "unknown range `{text}`; use mse (least squared error), none (the absolute maximum) \
                 or percentile:99.9"
            ));
        };
        match number.parse::<f64>() {
            Ok(p) if p > 0.0 && p <= 100.0 => Ok(Self::Percentile(p)),
            _ => refuse(format!(
                "`{text}`: a percentile of |w| lies above 0 and at most at 100, such as percentile:99.9"
            )),
        }
    }
}

impl fmt::Display for Clip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mse => f.pad("mse"),
            Self::None => f.pad("none"),
            Self::Percentile(p) => f.pad(&format!("percentile:{p}")),
        }
    }
}

impl serde::Serialize for Clip {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Clip {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let words = <std::borrow::Cow<'de, str>>::deserialize(from)?;
        words.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_range_prints_as_it_was_written() {
        for words in ["mse", "none", "percentile:99.9", "percentile:100", "percentile:0.5"] {
            assert_eq!(words.parse::<Clip>().unwrap().to_string(), words);
        }
    }

    #[test]
    fn a_range_that_means_nothing_is_refused_with_what_would_do() {
        let refused = |words: &str| words.parse::<Clip>().unwrap_err().to_string();
        insta::assert_snapshot!(refused("entropy"), @"unknown range `entropy`; use mse (least squared error), none (the absolute maximum) or percentile:99.9");
        insta::assert_snapshot!(refused("percentile"), @"`percentile` needs a number, such as percentile:99.9");
        insta::assert_snapshot!(refused("percentile:101"), @"`percentile:101`: a percentile of |w| lies above 0 and at most at 100, such as percentile:99.9");
        for words in
            ["percentile:0", "percentile:-1", "percentile:nan", "percentile:inf", "", "percentile:"]
        {
            assert!(words.parse::<Clip>().is_err(), "{words}");
        }
    }

    proptest! {
        #[test]
        fn a_percentile_survives_print_and_parse(p in 1e-6f64..=100.0) {
            let clip = Clip::Percentile(p);
            prop_assert_eq!(clip.to_string().parse::<Clip>().unwrap(), clip);
            let json = serde_json::to_string(&clip).unwrap();
            prop_assert_eq!(serde_json::from_str::<Clip>(&json).unwrap(), clip);
        }

        #[test]
        fn no_words_panic(words in ".{0,40}") {
            let _ = words.parse::<Clip>();
        }
    }
}
