//! Lane orders, by definition.

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// The order in which a matrix of codes `[N, K]` lies in its plane.
///
/// N and K are zero-padded up to the group; a lane order holds one byte a code.
///
/// | lanes | plane | element (n, k) lies at | for |
/// |---|---|---|---|
/// | `row` | `[N, K]` | `n·K + k` | CoreML, MLX, plain loops |
/// | `k2` | `[⌈K/2⌉, N, 2]` | `(⌊k/2⌋·N + n)·2 + k mod 2` | pair multiplies, 16-bit GPU loads |
/// | `k4` | `[⌈K/4⌉, N, 4]` | `(⌊k/4⌋·N + n)·4 + k mod 4` | 4-wide dot products |
/// | `o2` | `[⌈N/2⌉, K, 2]` | `(⌊n/2⌋·K + k)·2 + n mod 2` | the ANE's pairing, for inspection |
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Lanes {
    /// Row-major.
    Row,
    /// Two successive codes of the reduction in one 16-bit word.
    #[default]
    K2,
    /// Four successive codes of the reduction in one 32-bit word.
    K4,
    /// Two successive output channels in one 16-bit word.
    O2,
}

impl Lanes {
    /// All lane orders.
    pub const ALL: [Self; 4] = [Self::Row, Self::K2, Self::K4, Self::O2];

    /// The name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Row => "row",
            Self::K2 => "k2",
            Self::K4 => "k4",
            Self::O2 => "o2",
        }
    }

    /// Rows and columns of a group: what N and K are padded to multiples of.
    pub fn group(self) -> [usize; 2] {
        match self {
            Self::Row => [1, 1],
            Self::K2 => [1, 2],
            Self::K4 => [1, 4],
            Self::O2 => [2, 1],
        }
    }

    /// The shape of the plane of a matrix `[rows, cols]`.
    pub fn shape(self, rows: usize, cols: usize) -> Vec<usize> {
        match self {
            Self::Row => vec![rows, cols],
            Self::K2 => vec![cols.div_ceil(2), rows, 2],
            Self::K4 => vec![cols.div_ceil(4), rows, 4],
            Self::O2 => vec![rows.div_ceil(2), cols, 2],
        }
    }

    /// The number of codes in the plane of a matrix `[rows, cols]`, padding included.
    ///
    /// # Panics
    /// May panic or wrap where that number overflows `usize`.
    pub fn plane_len(self, rows: usize, cols: usize) -> usize {
        self.shape(rows, cols).iter().product()
    }

    /// Where element (n, k) of a matrix `[rows, cols]` lies in its plane. This *is* the definition
    /// of the order; everything faster is tested against it.
    ///
    /// `n` and `k` may point into the padding.
    pub fn position(self, rows: usize, cols: usize, n: usize, k: usize) -> usize {
        match self {
            Self::Row => n * cols + k,
            Self::K2 => ((k / 2) * rows + n) * 2 + k % 2,
            Self::K4 => ((k / 4) * rows + n) * 4 + k % 4,
            Self::O2 => ((n / 2) * cols + k) * 2 + n % 2,
        }
    }
}

impl fmt::Display for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A word that names no lane order.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown layout `{0}`; use row, k2, k4 or o2")]
pub struct UnknownLanes(String);

impl FromStr for Lanes {
    type Err = UnknownLanes;

    fn from_str(word: &str) -> Result<Self, UnknownLanes> {
        let lower = word.to_ascii_lowercase();
        Self::ALL.into_iter().find(|l| l.name() == lower).ok_or_else(|| UnknownLanes(word.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_parses_to_its_lanes() {
        for lanes in Lanes::ALL {
            assert_eq!(lanes.to_string().parse(), Ok(lanes));
            assert_eq!(serde_json::to_string(&lanes).unwrap(), format!("\"{lanes}\""));
        }
        insta::assert_snapshot!("k8".parse::<Lanes>().unwrap_err(), @"unknown layout `k8`; use row, k2, k4 or o2");
    }

    #[test]
    fn a_3_by_5_matrix_lies_as_written_by_hand() {
        // Element (n, k) is written nk; `..` is padding.
        #[rustfmt::skip]
        let cases = [
            (Lanes::Row, "00 01 02 03 04 10 11 12 13 14 20 21 22 23 24"),
            (Lanes::K2, "00 01 10 11 20 21 02 03 12 13 22 23 04 .. 14 .. 24 .."),
            (Lanes::K4, "00 01 02 03 10 11 12 13 20 21 22 23 04 .. .. .. 14 .. .. .. 24 .. .. .."),
            (Lanes::O2, "00 10 01 11 02 12 03 13 04 14 20 .. 21 .. 22 .. 23 .. 24 .."),
        ];
        for (lanes, want) in cases {
            let mut plane = vec!["..".to_string(); lanes.plane_len(3, 5)];
            for (n, k) in (0..3).flat_map(|n| (0..5).map(move |k| (n, k))) {
                plane[lanes.position(3, 5, n, k)] = format!("{n}{k}");
            }
            assert_eq!(plane.join(" "), want, "{lanes}");
        }
    }

    #[test]
    fn positions_are_a_permutation_of_the_padded_matrix() {
        for lanes in Lanes::ALL {
            for (rows, cols) in [(1, 1usize), (2usize, 4), (3, 5), (7, 9), (4, 1), (1, 6)] {
                let [gn, gk] = lanes.group();
                let (n_max, k_max) = (rows.next_multiple_of(gn), cols.next_multiple_of(gk));
                let mut seen: Vec<_> = (0..n_max)
                    .flat_map(|n| (0..k_max).map(move |k| (n, k)))
                    .map(|(n, k)| lanes.position(rows, cols, n, k))
                    .collect();
                seen.sort_unstable();
                let all: Vec<_> = (0..lanes.plane_len(rows, cols)).collect();
                assert_eq!(seen, all, "{lanes} [{rows}, {cols}]");
            }
        }
    }
}
