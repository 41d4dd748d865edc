//! The estimate of peak memory: a formula, so that a plan can print it before any data is read.

/// What the pipeline holds at once. Mapped input is not counted: the system can drop it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Held whatever the model: headers, the plan, the package's messages.
    pub fixed_bytes: u64,
    /// Bands that are worked on at once: one a thread.
    pub bands: u64,
    /// Weights in a band.
    pub band_elements: u64,
    /// Bytes held for each weight of a band: 4 for its f32, 1 for its code, more where a second
    /// copy is made in lane order or as FP16.
    pub bytes_per_element: u64,
    /// The most that one tensor holds outside its bands: parameters, a palette's histogram or
    /// sample, codes that wait for their writer.
    pub tensor_bytes: u64,
    /// Tensors that are held at once.
    pub tensors: u64,
    /// Buffers of the writers.
    pub writer_bytes: u64,
}

impl Memory {
    /// `fixed + bands · band_elements · bytes_per_element + tensors · tensor_bytes + writers`,
    /// saturating.
    pub fn peak_bytes(self) -> u64 {
        let bands =
            self.bands.saturating_mul(self.band_elements).saturating_mul(self.bytes_per_element);
        let tensors = self.tensors.saturating_mul(self.tensor_bytes);
        self.fixed_bytes
            .saturating_add(bands)
            .saturating_add(tensors)
            .saturating_add(self.writer_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_the_sum_of_what_is_held() {
        let memory = Memory {
            fixed_bytes: 1000,
            bands: 2,
            band_elements: 100,
            bytes_per_element: 5,
            tensor_bytes: 70,
            tensors: 3,
            writer_bytes: 1,
        };
        assert_eq!(memory.peak_bytes(), 1000 + 1000 + 210 + 1);
        let huge = Memory { bands: u64::MAX, band_elements: 2, bytes_per_element: 2, ..memory };
        assert_eq!(huge.peak_bytes(), u64::MAX);
    }
}
