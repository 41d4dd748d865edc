//! Codes of activations of one backend beside the reference's.

use super::finite;
use serde::{Deserialize, Serialize};

/// Codes of activations of one function, every `quantize` fed with what the reference made of those
/// before it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CodesCheck {
    /// The function.
    pub function: String,
    /// The reference, and the other backend.
    pub between: [String; 2],
    /// Each `quantize`.
    pub edges: u64,
    /// Codes that were compared, over all steps.
    pub codes: u64,
    /// How many differ.
    pub differ: u64,
    /// max |code − the reference's|.
    pub most: u64,
    /// The largest distance of the reference's number from the other's code beyond ½, in steps of the
    /// code: 0 where it could have been rounded to either. `null`: there are other codes than the
    /// reference's.
    #[serde(with = "finite")]
    pub beyond_tie: f64,
    /// The `quantize` where that is; empty where no code differs.
    pub worst: String,
}

impl CodesCheck {
    /// Of nothing yet.
    pub(crate) fn new(function: &str, between: [&str; 2]) -> Self {
        Self {
            function: function.into(),
            between: between.map(Into::into),
            edges: 0,
            codes: 0,
            differ: 0,
            most: 0,
            beyond_tie: 0.0,
            worst: String::new(),
        }
    }

    /// Adds the codes of a `quantize`: the numbers in its steps that the reference rounded, what it made of
    /// them, and what the other backend made.
    pub(crate) fn add(&mut self, name: &str, numbers: &[f64], codes: &[f32], others: &[f32]) {
        self.codes += codes.len() as u64;
        let mut beyond = |by: f64| {
            if by > self.beyond_tie || self.worst.is_empty() {
                (self.beyond_tie, self.worst) = (by.max(self.beyond_tie), name.into());
            }
        };
        if [numbers.len(), others.len()] != [codes.len(); 2] {
            return beyond(f64::INFINITY);
        }
        for ((number, code), other) in numbers.iter().zip(codes).zip(others) {
            if code != other {
                self.differ += 1;
                self.most = self.most.max((code - other).abs() as u64);
                beyond((number - f64::from(*other)).abs() - 0.5);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_told_in_steps_beyond_the_tie() {
        let mut check = CodesCheck::new("main", ["reference", "cpu"]);
        check.add("a", &[0.25, 1.5], &[0.0, 2.0], &[0.0, 2.0]);
        assert_eq!((check.codes, check.differ, check.worst.as_str()), (2, 0, ""));
        check.add("b", &[1.5, -3.25], &[2.0, -3.0], &[1.0, -3.0]);
        assert_eq!((check.codes, check.differ, check.most), (4, 1, 1));
        assert_eq!((check.beyond_tie, check.worst.as_str()), (0.0, "b"), "a tie is both");
        check.add("c", &[2.25, 7.0], &[2.0, 7.0], &[3.0, 4.0]);
        assert_eq!((check.differ, check.most, check.beyond_tie), (3, 3, 2.5));
        check.add("d", &[2.25], &[2.0], &[1.5]);
        assert_eq!((check.beyond_tie, check.worst.as_str()), (2.5, "c"));
        check.add("e", &[2.25], &[2.0], &[]);
        assert!(check.beyond_tie.is_infinite() && check.worst == "e");
    }
}
