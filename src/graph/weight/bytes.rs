//! Bytes that many values can share, and that may lie in a mapped file.

use std::sync::{Arc, Weak};
use std::{fmt, ops::Deref, ops::Range};

/// A cheaply cloned piece of bytes with a common owner: a vector, or a mapped package.
#[derive(Clone)]
pub struct Bytes {
    owner: Arc<dyn AsRef<[u8]> + Send + Sync>,
    range: Range<usize>,
}

impl Bytes {
    /// All bytes of `owner`.
    pub fn new(owner: impl AsRef<[u8]> + Send + Sync + 'static) -> Self {
        let range = 0..owner.as_ref().len();
        Self { owner: Arc::new(owner), range }
    }

    /// Where these bytes lie among all bytes of their owner.
    pub fn place(&self) -> Range<usize> {
        self.range.clone()
    }

    /// Whether both are parts of one owner.
    pub fn is_beside(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.owner, &other.owner)
    }

    /// Which bytes they are.
    pub fn identity(&self) -> Identity {
        Identity { owner: Arc::downgrade(&self.owner), range: self.range.clone() }
    }

    /// A part of these bytes, without a copy; `None` if they do not reach so far.
    pub fn slice(&self, part: Range<usize>) -> Option<Self> {
        self.get(part.clone())?;
        let range = self.range.start + part.start..self.range.start + part.end;
        Some(Self { owner: Arc::clone(&self.owner), range })
    }
}

/// Which bytes of which owner: what tells [`Bytes`] apart without looking at them or keeping them.
#[derive(Clone)]
pub struct Identity {
    owner: Weak<dyn AsRef<[u8]> + Send + Sync>,
    range: Range<usize>,
}

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        self.range == other.range && self.owner.ptr_eq(&other.owner)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bytes {:?} of {:p}", self.range, self.owner.as_ptr())
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &(*self.owner).as_ref()[self.range.clone()]
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self::new(bytes)
    }
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Bytes {}

impl PartialOrd for Bytes {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Bytes {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (**self).cmp(&**other)
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_of_a_slice_stays_inside_it() {
        let bytes = Bytes::from(vec![0, 1, 2, 3, 4, 5]);
        let inner = bytes.slice(1..5).unwrap();
        assert_eq!(*inner.slice(1..3).unwrap(), [2, 3]);
        assert_eq!(inner.slice(3..5), None);
        assert_eq!(inner, Bytes::from(vec![1, 2, 3, 4]));
        assert_eq!(inner.identity(), bytes.slice(1..5).unwrap().identity());
        assert_ne!(inner.identity(), bytes.slice(1..4).unwrap().identity());
        assert_ne!(inner.identity(), Bytes::from(vec![1, 2, 3, 4]).identity());
    }
}
