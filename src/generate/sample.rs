//! From logits to a token.

use crate::{Error, Result};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Chooses tokens: the likeliest, or at random by `softmax(logits / temperature)`.
#[derive(Clone, Debug)]
pub struct Sampler {
    temperature: f32,
    random: StdRng,
}

impl Sampler {
    /// A temperature of 0 always takes the likeliest; equal seeds choose alike.
    ///
    /// # Errors
    /// [`Error::Usage`] for a temperature below 0 or not finite.
    pub fn new(temperature: f32, seed: u64) -> Result<Self> {
        if !temperature.is_finite() || temperature < 0.0 {
            let found = format!("a temperature of {temperature} is none; give 0 or more");
            return Err(Error::Usage(found));
        }
        Ok(Self { temperature, random: StdRng::seed_from_u64(seed) })
    }

    /// The next token. Of equal logits the first is taken.
    ///
    /// # Errors
    /// [`Error::Input`] for logits that are NaN or +∞: the model overflowed.
    pub fn next(&mut self, logits: &[f32]) -> Result<i32> {
        if let Some(at) = logits.iter().position(|x| x.is_nan() || *x == f32::INFINITY) {
            return Err(Error::input(
                "logits",
                format!("that of token {at} is {}", logits[at]),
                "a value overflowed FP16 on the way; find where with `quantize validate`",
            ));
        }
        let best =
            (0..logits.len()).fold(0, |best, i| if logits[i] > logits[best] { i } else { best });
        if self.temperature == 0.0 {
            return Ok(best as i32);
        }
        let share = |&x: &f32| f64::from((x - logits[best]) / self.temperature).exp();
        let all: f64 = logits.iter().map(share).sum();
        let mut left = self.random.random::<f64>() * all;
        for (token, logit) in logits.iter().enumerate() {
            left -= share(logit);
            if left < 0.0 {
                return Ok(token as i32);
            }
        }
        Ok(best as i32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn temperature_0_takes_the_first_of_the_likeliest() {
        let mut sampler = Sampler::new(0.0, 1).unwrap();
        assert_eq!(sampler.next(&[0.5, 2.0, f32::NEG_INFINITY, 2.0]).unwrap(), 1);
        assert!(sampler.next(&[0.0, f32::NAN]).is_err());
        assert!(Sampler::new(-1.0, 0).is_err());
        assert!(Sampler::new(f32::NAN, 0).is_err());
    }

    #[test]
    fn tokens_come_by_their_shares_and_equal_seeds_choose_alike() {
        let logits = [0.0, 3.0_f32.ln(), f32::NEG_INFINITY];
        let draw = |seed| {
            let mut sampler = Sampler::new(1.0, seed).unwrap();
            (0..4000).map(|_| sampler.next(&logits).unwrap()).collect::<Vec<_>>()
        };
        let drawn = draw(7);
        assert_eq!(drawn, draw(7));
        assert_ne!(drawn, draw(8));
        assert!(!drawn.contains(&2));
        let ones = drawn.iter().filter(|&&token| token == 1).count();
        assert!((2850..3150).contains(&ones), "{ones} of 4000 at a share of 3/4");
    }
}
