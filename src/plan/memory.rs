//! The estimate of peak memory: a formula, so that a plan can print it before any data is read.

/// What a run holds at once, in anonymous memory. Mapped input and the system's cache of written
/// output are not counted: the system can drop them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Held whatever is quantized: the program, headers, the plan, the package's messages.
    pub fixed_bytes: u64,
    /// Codes of the largest window of tensors, one byte each.
    pub window_bytes: u64,
    /// Parameters of that window's tensors, as they are made and as they are joined.
    pub params_bytes: u64,
    /// What a quantizer needs to see a whole tensor: histograms, sorted values, samples.
    pub fit_bytes: u64,
    /// Threads.
    pub threads: u64,
    /// Buffers of one thread: a piece as f32, as FP16, as packed codes; a strip of a plane.
    pub thread_bytes: u64,
}

impl Memory {
    /// `fixed + window + params + threads · (fit + thread)`, saturating.
    pub fn peak_bytes(self) -> u64 {
        let threads = self.threads.saturating_mul(self.fit_bytes.saturating_add(self.thread_bytes));
        self.fixed_bytes
            .saturating_add(self.window_bytes)
            .saturating_add(self.params_bytes)
            .saturating_add(threads)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_the_sum_of_what_is_held() {
        let memory = Memory {
            fixed_bytes: 1000,
            window_bytes: 500,
            params_bytes: 70,
            fit_bytes: 30,
            threads: 2,
            thread_bytes: 5,
        };
        assert_eq!(memory.peak_bytes(), 1000 + 500 + 70 + 2 * 35);
        assert_eq!(Memory { threads: u64::MAX, ..memory }.peak_bytes(), u64::MAX);
    }
}
