use super::*;

/// Numbers between −1 and 1 that look random.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    fn code(&mut self) -> i8 {
        (self.next() * 128.0).floor() as i8
    }

    fn scale(&mut self) -> f32 {
        (self.next() * 12.0).exp2() as f32
    }
}

#[test]
fn ties_go_to_even_and_ends_saturate() {
    #[rustfmt::skip]
    let cases: [(&str, f32, i8, f32, i8); 9] = [
        ("a tie below",          0.5,  0, 0.25, 0),
        ("a tie above",          0.5,  0, 0.75, 2),
        ("ties before the zero point is added", 0.5, 1, 0.25, 1),
        ("the top",              1.0,  0, 127.6, 127),
        ("the bottom",           1.0,  0, -1e9, -128),
        ("the bottom, shifted",  1.0, 100, -1e9, -128),
        ("infinity",             1.0, -5, f32::INFINITY, 127),
        ("NaN",                  1.0, -5, f32::NAN, -5),
        ("no number at all",     1e-40, 7, 0.0, 7),
    ];
    for (name, scale, zero_point, x, want) in cases {
        assert_eq!(Affine { scale, zero_point }.code(x), want, "{name}");
    }
}

#[test]
fn the_same_scale_twice_changes_no_code() {
    let mut draw = Draw(1);
    let ends = [f32::MIN_POSITIVE, 1e-44, 1.3e36, 0.1, 1.0 / 3.0];
    let scales = ends.into_iter().chain((0..200).map(|_| draw.scale())).collect::<Vec<_>>();
    for scale in scales {
        for (zero_point, code) in
            [-128, -7, 0, 127].iter().flat_map(|z| (-128..=127).map(|c| (*z, c)))
        {
            let affine = Affine { scale, zero_point };
            assert_eq!(affine.code(affine.number(code)), code, "{affine:?}");
        }
    }
}

#[test]
fn clamps_of_numbers_are_clamps_of_codes() {
    let mut draw = Draw(2);
    for _ in 0..2000 {
        let to = Affine { scale: draw.scale(), zero_point: draw.code() };
        let [a, b, x] = [(); 3].map(|()| draw.next() as f32 * to.scale * 200.0);
        let (low, high) = (a.min(b), a.max(b));
        let clamped = to.code(x.clamp(low, high));
        assert_eq!(clamped, to.code(x).clamp(to.code(low), to.code(high)), "{x} in {low}..{high}");
    }
}

#[test]
fn sums_are_exact() {
    let mut draw = Draw(3);
    for len in [0, 1, 3, 500, 33_024] {
        let [x, w] = [(); 2].map(|()| (0..len).map(|_| draw.code()).collect::<Vec<_>>());
        let (zero, offset) = (draw.code(), draw.code());
        let products = x
            .iter()
            .zip(&w)
            .map(|(&x, &w)| (i64::from(x) - i64::from(zero)) * (i64::from(w) - i64::from(offset)));
        assert_eq!(i64::from(sum(&x, zero, &w, offset)), products.sum::<i64>());
    }
}

/// Codes differ from those of the evaluation number by number only at a tie, within the bound, and
/// by one.
#[test]
fn stages_differ_from_the_program_at_ties_only() {
    let mut draw = Draw(4);
    let (mut different, mut all) = (0, 0);
    for _ in 0..3000 {
        // Scales of FP16 in a package, and results that fill the range.
        let half = |x: f32| half::f16::from_f32(x).to_f32();
        let (unit, step) = (f64::from(half(0.01)) * f64::from(half(0.003)), half(0.05));
        let [unit, bias] = [unit * (1.5 + draw.next()), draw.next() * 3.0];
        let to = Affine { scale: step, zero_point: draw.code() };
        let stage = Stage::new(&[unit], Some(&[bias as f32]), None, to, [-128, 127]);
        for _ in 0..100 {
            let sum = (draw.next() * 150_000.0) as i32;
            let exact = f64::from(sum) * unit + f64::from(bias as f32);
            let steps = exact / f64::from(step);
            let (want, got) = (to.code(exact as f32), stage.code(0, sum));
            let (p, b) = (f64::from(sum) * unit / f64::from(step), bias / f64::from(step));
            let bound = (3.0 * p.abs() + b.abs() + 3.0 * steps.abs()) / f64::from(1 << 24) * 1.01;
            let to_tie = (steps - steps.floor() - 0.5).abs();
            all += 1;
            if want != got {
                assert!(to_tie <= bound, "{steps} is {to_tie} from a tie, beyond {bound}");
                assert_eq!(i16::from(want).abs_diff(i16::from(got)), 1);
                different += 1;
            }
        }
    }
    assert!(different * 10_000 < all, "{different} of {all}");
}

#[test]
fn functions_run_between_sums_and_codes() {
    let to = Affine { scale: 0.5, zero_point: -10 };
    let square = || -> Function { Box::new(|all| all.iter_mut().for_each(|x| *x *= *x)) };
    let stage = Stage::new(&[0.25, 1.0], Some(&[1.0, f32::NAN]), Some(square()), to, [-128, 127]);
    // (−12 / 4 + 1)² = 4, eight steps above the zero point.
    assert_eq!(stage.code(0, -12), -2);
    assert_eq!(stage.code(1, 5), -10, "NaN is the zero point");
    let (mut numbers, mut codes) = ([-2.0, 100.0, f32::NAN], [0; 3]);
    stage.finish(&mut numbers, &mut codes);
    assert_eq!(codes, [-2, 127, -10]);
    let infinite = Stage::new(&[1.0], Some(&[f32::INFINITY]), None, to, [-5, 9]);
    assert_eq!(infinite.code(0, -1000), 9);
}
