//! Who hears how far long work is.

/// Who hears how far work is, in bytes of weights.
pub trait Progress: Sync {
    /// The work begins; this many bytes will be dealt with.
    fn start(&self, total_bytes: u64);
    /// This many more bytes were dealt with. Called from any thread.
    fn advance(&self, bytes: u64);
    /// The work is done; what may follow takes no time that depends on the bytes.
    fn finish(&self);
}

/// Nobody hears.
impl Progress for () {
    fn start(&self, _: u64) {}
    fn advance(&self, _: u64) {}
    fn finish(&self) {}
}
