use super::*;

/// Sums of one pattern repeated, added to sevens.
struct Run<'a> {
    w: &'a [Quad],
    x: &'a [[u8; 4]],
}

impl IntegerWork for Run<'_> {
    type Output = i32;

    #[inline(always)]
    fn run<D: Dot>(self, d: D) -> i32 {
        let sign = if D::UNSIGNED { 0x80 } else { 0 };
        let x: Vec<[[u8; 4]; 2]> = self.x.iter().map(|x| [x.map(|x| x ^ sign); 2]).collect();
        let mut sums = [[[7; ROWS]; PANELS]; 2];
        tile(Quads(d), [self.w; PANELS], &x, &mut sums);
        assert!(sums.as_flattened().as_flattened().iter().all(|&sum| sum == sums[0][0][0]));
        let weights: i32 =
            self.w.iter().map(|w| w[..4].iter().map(|&w| i32::from(w as i8)).sum::<i32>()).sum();
        sums[0][0][0] - 7 - if D::UNSIGNED { 128 * weights } else { 0 }
    }
}

#[test]
fn no_kernel_saturates_at_the_extremes() {
    let extremes = [-128, -127, -1, 0, 1, 127];
    for kernel in Kernel::available() {
        for narrow in [false, true] {
            for w in extremes.into_iter().filter(|&w| !narrow || w != -128) {
                for (a, b) in extremes.iter().flat_map(|&a| extremes.map(move |b| (a, b))) {
                    let quads = [[w as i8 as u8; 64]; 5];
                    let x = [[a as i8 as u8, b as i8 as u8, b as i8 as u8, a as i8 as u8]; 5];
                    let got = kernel.run_integer(narrow, Run { w: &quads, x: &x });
                    assert_eq!(got, 5 * 2 * w * (a + b), "{} {narrow} {w} {a} {b}", kernel.name());
                }
            }
        }
    }
}

#[test]
fn the_environment_names_a_kernel_among_those_there_are() {
    let names: Vec<_> = Kernel::available().into_iter().map(Kernel::name).collect();
    assert_eq!(names.last(), Some(&"portable"));
    assert!(names.contains(&Kernel::detect().name()));
}

/// Every way from a code to a number.
struct Numbers<'a> {
    quad: &'a Quad,
    start: &'a [u32; ROWS],
    entries: &'a [f32],
    bytes: &'a [u8; 16],
    halves: &'a [u16; 256],
}

impl Numbers<'_> {
    /// By their definitions.
    fn expected(&self) -> Vec<f32> {
        let low = self.quad.map(|code| code & 15);
        let high = self.quad.map(|code| code >> 4);
        let join =
            |i: usize| std::array::from_fn(|at| low[at] + 16 * (self.quad[at] >> (2 * i) & 3));
        let by_column = |quad: Quad, number: &dyn Fn(usize, u8) -> f32| -> Vec<f32> {
            let of = |c: usize, n: usize| number(n, quad[4 * n + c]);
            (0..4).flat_map(|c| (0..ROWS).map(move |n| (c, n))).map(|(c, n)| of(c, n)).collect()
        };
        let signed = |quad| by_column(quad, &|_, code| f32::from(code as i8) * SIGNED_UNIT);
        let look_up = |quad: Quad| quad.map(|code| self.bytes[usize::from(code)]);
        let pick = |quad| by_column(quad, &|_, code| self.entries[usize::from(code)]);
        let gather = |quad| {
            by_column(quad, &|n, code| self.entries[self.start[n] as usize + usize::from(code)])
        };
        let half = |code: u8| half::f16::from_bits(self.halves[usize::from(code)]).to_f32();
        let choose = |quad| by_column(quad, &|_, code| half(code));
        let mut out = [
            signed(*self.quad),
            signed(low),
            signed(high),
            signed(look_up(low)),
            pick(low),
            pick(high),
            gather(*self.quad),
            choose(*self.quad),
            choose(join(1)),
        ]
        .concat();
        out.extend((0..4).flat_map(|i| gather(join(i))));
        out.extend(look_up(high).map(f32::from));
        out
    }
}

impl Work for &Numbers<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Vec<f32> {
        let codes = s.load(self.quad);
        let [low, high] = [s.low(codes), s.high(codes)];
        let table = Table::new(self.entries, self.start);
        let sixteen = s.get(self.entries[..16].first_chunk().expect("sixteen"));
        let joined = (0..4).map(|i| s.gather(s.join(low, codes, i), &table));
        let all = [
            s.signed(codes),
            s.signed(low),
            s.signed(high),
            s.signed(s.look_up(low, self.bytes)),
            s.pick(low, sixteen),
            s.pick(high, sixteen),
            s.gather(codes, &table),
            s.choose(codes, self.halves, 256),
            s.choose(s.join(low, codes, 1), self.halves, 64),
        ];
        let mut out = Vec::new();
        for row in all.into_iter().chain(joined).flatten() {
            let mut lanes = [0.0; ROWS];
            s.put(row, &mut lanes);
            out.extend(lanes);
        }
        let mut quad = [0; 64];
        s.store(s.look_up(high, self.bytes), &mut quad);
        out.extend(quad.map(f32::from));
        out
    }
}

#[test]
fn codes_become_the_numbers_that_they_stand_for() {
    let entries: Vec<f32> = (0..256 + 45).map(|i| (i * i) as f32 - 7000.0).collect();
    let bytes = std::array::from_fn(|i| (i * 37 + 11) as u8);
    let start = std::array::from_fn(|i| 3 * i as u32);
    let halves = std::array::from_fn(|i| half::f16::from_f32(i as f32 * 0.25).to_bits());
    for seed in 0..40u64 {
        let quad = std::array::from_fn(|i| {
            ((i as u64 + 64 * seed).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8
        });
        let numbers = Numbers {
            quad: &quad,
            start: &start,
            entries: &entries,
            bytes: &bytes,
            halves: &halves,
        };
        for kernel in Kernel::available() {
            assert_eq!(kernel.run(&numbers), numbers.expected(), "{}", kernel.name());
        }
    }
}

/// The arithmetic on rows.
struct Rows;

impl Work for Rows {
    type Output = Vec<f32>;

    #[inline(always)]
    fn run<S: Simd>(self, s: S) -> Vec<f32> {
        let a = std::array::from_fn(|i| i as f32 * 0.5 - 3.0);
        let half = std::array::from_fn(|i| half::f16::from_f32(1.5 * i as f32 - 7.25).to_bits());
        let small = std::array::from_fn(|i| 8 * i as i8 - 64);
        let [a, b, c] = [s.get(&a), s.half(&half), s.small(&small)];
        let rows = [s.add(a, b), s.sub(b, c), s.mul(a, c), s.fma(a, b, c), s.splat(2.5)];
        let mut out = Vec::new();
        for row in rows {
            let mut lanes = [0.0; ROWS];
            s.put(row, &mut lanes);
            out.extend(lanes);
        }
        out
    }
}

#[test]
fn rows_are_exact_where_the_numbers_are_short() {
    for kernel in Kernel::available() {
        assert_eq!(kernel.run(Rows), Kernel::portable().run(Rows), "{}", kernel.name());
    }
}

#[test]
#[should_panic(expected = "256 entries from each start on")]
fn a_table_that_codes_could_leave_is_refused() {
    Table::new(&[0.0; 260], &[5; ROWS]);
}
