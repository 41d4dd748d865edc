//! Starting points of vector palettes: k-means++ on a bounded sample, by `kmeans_colors`.
//!
//! # Source
//! Arthur, Vassilvitskii 2007, "k-means++: the advantages of careful seeding".

use kmeans_colors::Calculate;
use rand::{Rng, RngCore};

/// A sampled vector; coordinates are scaled so that none exceeds 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point<const V: usize>(pub(super) [f32; V]);

impl<const V: usize> Calculate for Point<V> {
    fn get_closest_centroid(buffer: &[Self], centroids: &[Self], indices: &mut Vec<u8>) {
        indices.extend(buffer.iter().map(|point| {
            let mut best = (f32::INFINITY, 0);
            for (i, centroid) in centroids.iter().enumerate() {
                let distance = Self::difference(point, centroid);
                if distance < best.0 {
                    best = (distance, i as u8);
                }
            }
            best.1
        }));
    }

    fn recalculate_centroids(
        rng: &mut impl Rng,
        buffer: &[Self],
        centroids: &mut [Self],
        indices: &[u8],
    ) {
        let mut sums = vec![([0f64; V], 0f64); centroids.len()];
        for (point, &i) in buffer.iter().zip(indices) {
            let (sum, count) = &mut sums[usize::from(i)];
            sum.iter_mut().zip(point.0).for_each(|(s, x)| *s += f64::from(x));
            *count += 1.0;
        }
        for (centroid, (sum, count)) in centroids.iter_mut().zip(sums) {
            *centroid = if count == 0.0 {
                Self::create_random(rng)
            } else {
                Self(sum.map(|s| (s / count) as f32))
            };
        }
    }

    fn check_loop(centroids: &[Self], old_centroids: &[Self]) -> f32 {
        centroids.iter().zip(old_centroids).map(|(a, b)| Self::difference(a, b)).sum()
    }

    fn create_random(rng: &mut impl Rng) -> Self {
        Self(std::array::from_fn(|_| rng.random_range(-1.0..=1.0)))
    }

    fn difference(a: &Self, b: &Self) -> f32 {
        a.0.iter().zip(b.0).map(|(a, b)| (a - b) * (a - b)).sum()
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014): written out here so that no release of a dependency
/// changes the palettes of old checkpoints.
pub(super) struct Random(u64);

impl Random {
    /// Seeded from a tensor's name, a table's number and an attempt, by FNV-1a.
    pub(super) fn new(name: &str, group: usize, attempt: usize) -> Self {
        let numbers = [group as u64, attempt as u64].map(u64::to_le_bytes).concat();
        let hash = |h: u64, b: &u8| (h ^ u64::from(*b)).wrapping_mul(0x0000_0100_0000_01B3);
        Self(name.as_bytes().iter().chain(&numbers).fold(0xCBF2_9CE4_8422_2325, hash))
    }
}

impl RngCore for Random {
    fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn fill_bytes(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            chunk.copy_from_slice(&self.next_u64().to_le_bytes()[..chunk.len()]);
        }
    }
}

/// `k` starting centroids for a sample that is not empty; fewer distinct ones where the sample has
/// fewer distinct points (the last is repeated).
pub(super) fn plus_plus<const V: usize>(
    sample: &[[f32; V]],
    k: usize,
    random: &mut Random,
) -> Vec<[f32; V]> {
    // The crate weighs points by squared distances in f32: scaled to 1, they do not underflow.
    let largest = sample.iter().flatten().fold(0f32, |m, x| m.max(x.abs()));
    let scale = if largest > 0.0 { largest } else { 1.0 };
    let points: Vec<_> = sample.iter().map(|p| Point(p.map(|x| x / scale))).collect();
    let mut centroids = Vec::with_capacity(k);
    kmeans_colors::init_plus_plus(k, random, &points, &mut centroids);
    let mut centroids: Vec<[f32; V]> =
        centroids.into_iter().map(|p| p.0.map(|x| x * scale)).collect();
    centroids.resize(k, centroids[centroids.len() - 1]);
    centroids
}
