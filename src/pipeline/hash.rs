//! Hashes of the input files, taken while their pages are in memory anyway.

use sha2::{Digest, Sha256};

/// The input files, hashed in order.
pub(super) struct InputHash<'a> {
    files: Vec<&'a [u8]>,
    /// File and offset up to which all bytes were hashed.
    at: (usize, usize),
    blake3: blake3::Hasher,
    sha256: Option<Sha256>,
    done: Vec<Hashes>,
}

/// The hashes of one file, in lower-case hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Hashes {
    /// BLAKE3, 256 bits.
    pub(super) blake3: String,
    /// SHA-256, if asked for.
    pub(super) sha256: Option<String>,
}

impl Hashes {
    /// What stands for hashes before they are known, as long as they.
    pub(super) fn unknown(sha256: bool) -> Self {
        let zeros = || "0".repeat(64);
        Self { blake3: zeros(), sha256: sha256.then(zeros) }
    }
}

impl<'a> InputHash<'a> {
    /// Hashes of these files; SHA-256 as well if asked for, which takes one core much longer.
    pub(super) fn new(files: Vec<&'a [u8]>, sha256: bool) -> Self {
        Self {
            files,
            at: (0, 0),
            blake3: blake3::Hasher::new(),
            sha256: sha256.then(Sha256::new),
            done: vec![],
        }
    }

    /// Hashes everything before this file and offset that was not hashed yet.
    pub(super) fn advance(&mut self, to: (usize, usize)) {
        while self.at.0 < to.0 {
            self.update(self.files[self.at.0].len());
            let sha256 = self.sha256.as_mut().map(|hasher| hex(&hasher.finalize_reset()));
            self.done.push(Hashes { blake3: self.blake3.finalize().to_hex().to_string(), sha256 });
            self.blake3.reset();
            self.at = (self.at.0 + 1, 0);
        }
        if to.0 < self.files.len() && to.1 > self.at.1 {
            self.update(to.1);
        }
    }

    /// Hashes what is left.
    pub(super) fn finish(&mut self) {
        self.advance((self.files.len(), 0));
    }

    /// The files' hashes, in order; call after [`Self::finish`].
    pub(super) fn into_hashes(self) -> Vec<Hashes> {
        self.done
    }

    fn update(&mut self, end: usize) {
        let bytes = &self.files[self.at.0][self.at.1..end];
        rayon::join(
            || self.blake3.update_rayon(bytes),
            || self.sha256.as_mut().map(|hasher| hasher.update(bytes)),
        );
        self.at.1 = end;
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_give_the_hashes_of_whole_files() {
        let files: Vec<Vec<u8>> = vec![vec![7; 300_000], vec![], (0..=255).collect()];
        let mut hash = InputHash::new(files.iter().map(Vec::as_slice).collect(), true);
        for to in [(0, 10), (0, 200_000), (0, 100), (2, 0), (2, 256)] {
            hash.advance(to);
        }
        hash.finish();
        let hashes = hash.into_hashes();
        assert_eq!(hashes.len(), 3);
        for (file, hashes) in files.iter().zip(hashes) {
            assert_eq!(hashes.blake3, blake3::hash(file).to_hex().as_str());
            assert_eq!(hashes.sha256, Some(hex(&Sha256::digest(file))));
        }
    }
}
