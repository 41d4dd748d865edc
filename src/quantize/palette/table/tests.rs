use super::*;
use crate::quantize::palette::solver::Points;

fn points(x: &[f64]) -> Points {
    Points { x: x.to_vec(), w: vec![1.0; x.len()] }
}

fn scalar(x: &[f64], bits: u8, entries: Entries) -> Table {
    let mut sums = Sums::new(&points(x));
    let cuts = sums.partition(1 << bits);
    Table::scalar(&sums, x, &cuts, bits, entries, 65504.0)
}

fn error(x: &[f64], table: &Table) -> f64 {
    let distance = |x: f64| {
        table.values.iter().map(|v| (x - v.to_f64()).powi(2)).fold(f64::INFINITY, f64::min)
    };
    x.iter().map(|&x| distance(x)).sum()
}

#[test]
fn entries_ascend_and_unused_slots_repeat_the_last() {
    let table = scalar(&[-1.0, 0.5, 2.0], 2, Entries::F16);
    assert_eq!(table.values, [-1.0, 0.5, 2.0, 2.0].map(f16::from_f32));
    let table = scalar(&[0.0], 3, Entries::Int8);
    assert_eq!((table.values, table.scale), (vec![f16::ZERO; 8], Some(f16::ONE)));
}

#[test]
fn int8_entries_are_never_worse_than_rounding_the_centroids() {
    let mut state = 7u64;
    for (n, bits) in [(30, 2), (200, 3), (500, 4), (2000, 6), (3000, 8)] {
        let mut x: Vec<f64> = (0..n)
            .map(|_| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                let unit = (state >> 11) as f64 / (1u64 << 53) as f64;
                f64::from(((unit - 0.4) * 3.0) as f32)
            })
            .collect();
        x.sort_by(f64::total_cmp);
        x.dedup();
        let table = scalar(&x, bits, Entries::Int8);
        let mut sums = Sums::new(&points(&x));
        let cuts = sums.partition(1 << bits);
        let means: Vec<f64> =
            cuts.windows(2).map(|c| sums.mean(c[0] as usize, c[1] as usize)).collect();
        let largest = means.iter().fold(0f64, |m, c| m.max(c.abs())) as f32;
        let scale = table_scale(largest / 127.0, 65504.0);
        let plain = means.iter().map(|&c| code(c as f32, scale.to_f32())).collect();
        let plain = Table::int8(plain, scale);
        assert!(error(&x, &table) <= error(&x, &plain) * (1.0 + 1e-9), "{bits} bits");
        for (value, &q) in table.values.iter().zip(&table.codes) {
            assert_eq!(*value, int8_value(q, table.scale.unwrap()));
        }
    }
}

#[test]
fn int8_scales_are_neither_zero_nor_too_large() {
    #[rustfmt::skip]
    let cases: &[(&str, f64)] = &[
        ("the largest FP16 number", 65504.0),
        ("subnormal",               6e-8),
        ("below every FP16 number", 1e-20),
    ];
    for &(name, x) in cases {
        let table = scalar(&[-x, x / 2.0, x], 2, Entries::Int8);
        assert!(table.scale.unwrap() > f16::ZERO, "{name}");
        assert!(int8_value(127, table.scale.unwrap()).is_finite(), "{name}");
        assert!(table.values.iter().all(|v| v.is_finite()), "{name}");
        assert!(error(&[-x, x], &table).sqrt() <= (0.01 * x).max(6e-8), "{name}");
    }
}
