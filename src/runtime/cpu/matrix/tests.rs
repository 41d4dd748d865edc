use super::*;
use crate::graph::DataType::{self, Float16, Float32, Int4, Int8, UInt1, UInt4, UInt8};
use crate::graph::weight::{Operand, Storage};
use crate::runtime::integer::{self, Affine};
use half::f16;
use proptest::prelude::*;

/// A stream of numbers that look random.
struct Draw(u64);

impl Draw {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed ^ mixed >> 27
    }

    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    /// An operand of this type: codes of all bits, numbers in ±1.
    fn operand(&mut self, dtype: DataType, shape: &[usize]) -> Operand {
        let len: usize = shape.iter().product();
        let bytes: Vec<u8> = match dtype {
            Float16 => (0..len).flat_map(|_| f16::from_f32(self.unit()).to_le_bytes()).collect(),
            Float32 => (0..len).flat_map(|_| self.unit().to_le_bytes()).collect(),
            _ => {
                let bits = len * dtype.bits().unwrap() as usize;
                let mut bytes: Vec<u8> = (0..bits.div_ceil(8)).map(|_| self.next() as u8).collect();
                if !bits.is_multiple_of(8) {
                    *bytes.last_mut().unwrap() &= (1 << (bits % 8)) - 1;
                }
                bytes
            }
        };
        Operand::new(dtype, shape, bytes)
    }

    fn linear(
        &mut self,
        codes: DataType,
        shape: &[usize],
        scale: (DataType, &[usize]),
        offset: Option<DataType>,
    ) -> Weight {
        let storage = Storage::Linear {
            codes: self.operand(codes, shape),
            scale: self.operand(scale.0, scale.1),
            offset: offset.map(|dtype| self.operand(dtype, scale.1)),
        };
        Weight { shape: shape.to_vec(), storage }
    }

    /// `scales`: of tables, of channels.
    fn palette(
        &mut self,
        bits: u8,
        shape: &[usize],
        groups: &[usize],
        entries: DataType,
        scales: [bool; 2],
    ) -> Weight {
        let mut channels = vec![1; shape.len()];
        channels[0] = shape[0];
        let storage = Storage::Palette {
            indices: self.operand(DataType::index(bits).unwrap(), shape),
            table: self.operand(entries, &[groups, &[1 << bits, 1]].concat()),
            table_scale: scales[0].then(|| self.operand(Float16, &[groups, &[1, 1]].concat())),
            vector_axis: 0,
            channel_scale: scales[1].then(|| self.operand(Float16, &channels)),
        };
        Weight { shape: shape.to_vec(), storage }
    }
}

/// Every form at sizes around the edges of panels, units and tiles.
fn weights() -> Vec<(&'static str, Weight)> {
    let mut d = Draw(5);
    let d = &mut d;
    let mut vector = d.palette(4, &[6, 40], &[1, 1], Float16, [false; 2]);
    let Storage::Palette { table, vector_axis, .. } = &mut vector.storage else { unreachable!() };
    *table = d.operand(Float16, &[1, 1, 16, 2]);
    *vector_axis = 1;
    vector.shape = vec![6, 80];
    let mask = Operand::new(UInt1, &[4, 8], vec![0b0101_0101u8; 4]);
    let values = Box::new(Storage::Dense(d.operand(Float16, &[16])));
    let sparse = Weight { shape: vec![4, 8], storage: Storage::Sparse { mask, values } };
    #[rustfmt::skip]
    let all = vec![
        ("fp16",                        Weight::dense(d.operand(Float16, &[37, 133]))),
        ("fp32",                        Weight::dense(d.operand(Float32, &[16, 64]))),
        ("fp16, long",                  Weight::dense(d.operand(Float16, &[3, 1100]))),
        ("no columns",                  Weight::dense(d.operand(Float16, &[5, 0]))),
        ("no rows",                     Weight::dense(d.operand(Float16, &[0, 5]))),
        ("one row, one tap",            d.linear(Int8, &[1, 1], (Float16, &[1, 1]), None)),
        ("vector of codes",             d.linear(Int8, &[20], (Float16, &[20]), None)),
        ("int8 channel",                d.linear(Int8, &[50, 150], (Float16, &[50, 1]), None)),
        ("int8 channel, long",          d.linear(Int8, &[33, 1301], (Float32, &[33, 1]), None)),
        ("int8 channel, fp32",          d.linear(Int8, &[32, 64], (Float32, &[32, 1]), None)),
        ("int8 tensor",                 d.linear(Int8, &[7, 48], (Float16, &[1, 1]), None)),
        ("int8 asymmetric",             d.linear(Int8, &[19, 40], (Float16, &[19, 1]), Some(Int8))),
        ("uint8",                       d.linear(UInt8, &[19, 40], (Float16, &[19, 1]), Some(UInt8))),
        ("uint8 without an offset",     d.linear(UInt8, &[19, 41], (Float16, &[19, 1]), None)),
        ("int8 by column",              d.linear(Int8, &[9, 20, 3, 3], (Float16, &[1, 20, 1, 1]), None)),
        ("int8 by column, offset",      d.linear(Int8, &[9, 20], (Float16, &[1, 20]), Some(Int8))),
        ("int8 blocks",                 d.linear(Int8, &[18, 96], (Float16, &[18, 3]), None)),
        ("int8 blocks of 5",            d.linear(Int8, &[18, 20], (Float16, &[18, 4]), None)),
        ("uint8 blocks, convolution",   d.linear(UInt8, &[18, 64, 3, 3], (Float16, &[18, 2, 1, 1]), Some(UInt8))),
        ("int8, offsets in fp16",       d.linear(Int8, &[8, 24], (Float16, &[8, 1]), Some(Float16))),
        ("int4 blocks",                 d.linear(Int4, &[34, 1088], (Float16, &[34, 34]), None)),
        ("int4 channel, odd",           d.linear(Int4, &[21, 27], (Float16, &[21, 1]), None)),
        ("uint4 blocks",                d.linear(UInt4, &[17, 64], (Float16, &[17, 2]), Some(UInt4))),
        ("int4 asymmetric",             d.linear(Int4, &[17, 50], (Float16, &[17, 1]), Some(Int4))),
        ("int8 scales by tap",          d.linear(Int8, &[4, 3, 2], (Float16, &[1, 1, 2]), None)),
        ("palette 8",                   d.palette(8, &[40, 90], &[1, 1], Float16, [false; 2])),
        ("palette 6",                   d.palette(6, &[40, 91], &[1, 1], Float16, [false; 2])),
        ("palette 4",                   d.palette(4, &[40, 600], &[1, 1], Float16, [false; 2])),
        ("palette 3",                   d.palette(3, &[18, 37], &[1, 1], Float16, [false; 2])),
        ("palette 2",                   d.palette(2, &[18, 37], &[1, 1], Float32, [false; 2])),
        ("palette 1",                   d.palette(1, &[18, 37], &[1, 1], Float16, [false; 2])),
        ("palette 4, groups of rows",   d.palette(4, &[64, 40], &[2, 1], Float16, [false; 2])),
        ("palette 4, rows of their own", d.palette(4, &[20, 40], &[20, 1], Float16, [false; 2])),
        ("palette 4, groups of columns", d.palette(4, &[20, 96], &[1, 3], Float16, [false; 2])),
        ("palette 4, both",             d.palette(4, &[32, 96], &[2, 3], Float16, [false; 2])),
        ("palette 4, runs of 5",        d.palette(4, &[20, 40], &[1, 8], Float16, [false; 2])),
        ("palette 8, both",             d.palette(8, &[24, 64], &[3, 2], Float16, [false; 2])),
        ("palette 6, both, channels",   d.palette(6, &[24, 64], &[3, 2], Float16, [false, true])),
        ("palette 4, channel scales",   d.palette(4, &[24, 64], &[1, 1], Float16, [false, true])),
        ("palette 4, scaled tables",    d.palette(4, &[32, 64], &[2, 1], Float16, [true, false])),
        ("palette 8, uint8 entries",    d.palette(8, &[32, 64], &[2, 1], UInt8, [true, false])),
        ("palette 4, int8 entries",     d.palette(4, &[50, 150], &[1, 1], Int8, [true, false])),
        ("palette 4, int8, channels",   d.palette(4, &[50, 150], &[1, 1], Int8, [false, true])),
        ("palette 4, int8, both scales", d.palette(4, &[48, 32], &[3, 1], Int8, [true, true])),
        ("palette 4, int8, own rows",   d.palette(4, &[50, 32], &[50, 1], Int8, [true, false])),
        ("palette 4, int8, columns",    d.palette(4, &[16, 64], &[1, 2], Int8, [true, false])),
        ("palette 3, int8 entries",     d.palette(3, &[17, 33], &[1, 1], Int8, [true, false])),
        ("palette 6, int8 entries",     d.palette(6, &[17, 33], &[1, 1], Int8, [true, false])),
        ("palette 8, int8 entries",     d.palette(8, &[34, 66], &[2, 1], Int8, [true, false])),
        ("palette of vectors",          vector),
        ("sparse",                      sparse),
    ];
    all
}

/// A product in f64, and the sum of magnitudes that its error is measured by.
fn slow(weight: &Weight, rows: Range<usize>, x: &[f32], m: usize) -> Vec<(f64, f64)> {
    let cols: usize = weight.shape.iter().skip(1).product();
    let w = weight.unrounded().unwrap();
    let mut out = Vec::new();
    for (i, n) in (0..m).flat_map(|i| rows.clone().map(move |n| (i, n))) {
        let pairs = x[i * cols..][..cols].iter().zip(&w[n * cols..][..cols]);
        let products = pairs.map(|(&x, &w)| f64::from(x) * f64::from(w));
        out.push(products.fold((0.0, 0.0), |(sum, size), p| (sum + p, size + p.abs())));
    }
    out
}

/// The product, row-major.
fn fast(matrix: &Matrix, x: &[f32], m: usize, bias: Option<&[f32]>) -> Vec<f32> {
    let [n, _] = matrix.shape();
    let mut data = vec![f32::NAN; m * n];
    let mut scratch = vec![f32::NAN; matrix.scratch_len(m)];
    let out = Out { data: &mut data, row_stride: n, col_stride: 1 };
    matrix.multiply(x, m, bias, out, &mut scratch);
    data
}

#[test]
fn every_form_on_every_kernel_is_the_dequantized_product() {
    let mut draw = Draw(9);
    for (name, weight) in weights() {
        let n = weight.shape[0];
        let cols: usize = weight.shape.iter().skip(1).product();
        for kernel in Kernel::available() {
            for rows in [0..n, n / 3..n - n / 4] {
                let matrix = Matrix::with(&weight, rows.clone(), kernel).unwrap();
                assert_eq!(matrix.shape(), [rows.len(), cols]);
                for m in [0, 1, 2, 7, 30] {
                    let x: Vec<f32> = (0..m * cols).map(|_| draw.unit()).collect();
                    let bias: Vec<f32> = (0..rows.len()).map(|_| draw.unit()).collect();
                    let got = fast(&matrix, &x, m, Some(&bias));
                    let want = slow(&weight, rows.clone(), &x, m);
                    for (i, (got, (want, size))) in got.iter().zip(want).enumerate() {
                        let want = want + f64::from(bias[i % rows.len()]);
                        let error = (f64::from(*got) - want).abs();
                        let place = format!("{name}, {}, m {m}, {rows:?}, {i}", kernel.name());
                        assert!(error <= 4e-7 * (size + 1.0), "{place}: {got} for {want}");
                    }
                }
            }
        }
    }
}

#[test]
fn forms_are_what_they_should_be() {
    let forms: Vec<String> = weights()
        .iter()
        .map(|(name, weight)| {
            let matrix = Matrix::new(weight).unwrap();
            let form = match &matrix.form {
                Form::Dense(dense) if dense.owned => "decompressed".to_string(),
                Form::Dense(_) => "as it is".to_string(),
                Form::Coded(coded) => format!("{} bits", coded.bits),
            };
            let integer = if matrix.takes_codes() { ", takes codes" } else { "" };
            format!("{name}: {form}{integer}")
        })
        .collect();
    insta::assert_snapshot!(forms.join("\n"), @r"
    fp16: as it is
    fp32: as it is
    fp16, long: as it is
    no columns: as it is
    no rows: as it is
    one row, one tap: 8 bits, takes codes
    vector of codes: 8 bits, takes codes
    int8 channel: 8 bits, takes codes
    int8 channel, long: 8 bits, takes codes
    int8 channel, fp32: 8 bits, takes codes
    int8 tensor: 8 bits, takes codes
    int8 asymmetric: 8 bits, takes codes
    uint8: 8 bits, takes codes
    uint8 without an offset: 8 bits, takes codes
    int8 by column: 8 bits
    int8 by column, offset: decompressed
    int8 blocks: 8 bits
    int8 blocks of 5: decompressed
    uint8 blocks, convolution: 8 bits
    int8, offsets in fp16: decompressed
    int4 blocks: 4 bits
    int4 channel, odd: 4 bits, takes codes
    uint4 blocks: 4 bits
    int4 asymmetric: 4 bits, takes codes
    int8 scales by tap: decompressed
    palette 8: 8 bits
    palette 6: 6 bits
    palette 4: 4 bits
    palette 3: 4 bits
    palette 2: 4 bits
    palette 1: 4 bits
    palette 4, groups of rows: 4 bits
    palette 4, rows of their own: 4 bits
    palette 4, groups of columns: 4 bits
    palette 4, both: 4 bits
    palette 4, runs of 5: decompressed
    palette 8, both: 8 bits
    palette 6, both, channels: 6 bits
    palette 4, channel scales: 4 bits
    palette 4, scaled tables: 4 bits
    palette 8, uint8 entries: 8 bits
    palette 4, int8 entries: 4 bits, takes codes
    palette 4, int8, channels: 4 bits, takes codes
    palette 4, int8, both scales: 4 bits, takes codes
    palette 4, int8, own rows: 8 bits, takes codes
    palette 4, int8, columns: 4 bits
    palette 3, int8 entries: 4 bits, takes codes
    palette 6, int8 entries: 8 bits, takes codes
    palette 8, int8 entries: 8 bits, takes codes
    palette of vectors: decompressed
    sparse: decompressed
    ");
}

#[test]
fn products_go_where_strides_say() {
    let weight = Draw(1).linear(Int8, &[20, 30], (Float16, &[20, 1]), None);
    let matrix = Matrix::new(&weight).unwrap();
    for m in [1, 5] {
        let x: Vec<f32> = (0..m * 30).map(|i| i as f32).collect();
        let rows = fast(&matrix, &x, m, None);
        let mut turned = vec![-1.0; 20 * 7];
        let out = Out { data: &mut turned, row_stride: 1, col_stride: 7 };
        matrix.multiply(&x, m, None, out, &mut vec![0.0; matrix.scratch_len(m)]);
        for (i, n) in (0..7).flat_map(|i| (0..20).map(move |n| (i, n))) {
            let want = if i < m { rows[i * 20 + n] } else { -1.0 };
            assert_eq!(turned[n * 7 + i], want, "({i}, {n})");
        }
    }
}

#[test]
fn threads_do_not_change_a_bit() {
    let mut draw = Draw(3);
    let w8 = draw.linear(Int8, &[400, 1500], (Float16, &[400, 1]), None);
    let p4 = draw.palette(4, &[400, 1500], &[1, 1], Float16, [false; 2]);
    let dense = Weight::dense(draw.operand(Float16, &[400, 1500]));
    for weight in [w8, p4, dense] {
        let matrix = Matrix::new(&weight).unwrap();
        for m in [1, 33] {
            let x: Vec<f32> = (0..m * 1500).map(|_| draw.unit()).collect();
            let on = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                pool.install(|| fast(&matrix, &x, m, None))
            };
            let bits = |x: Vec<f32>| x.into_iter().map(f32::to_bits).collect::<Vec<_>>();
            let one = bits(on(1));
            assert!(one == bits(on(2)) && one == bits(on(5)), "{m} rows");
        }
    }
}

/// Σ (x − z) · w in i64, `w` the integers that the weight stands for when all scales are 1; and the
/// codes that the scalar model makes of it.
fn check_codes(weight: &Weight, m: usize, codes: &[i8], zero_point: i8) {
    let [n, cols] = [weight.shape[0], weight.shape[1]];
    let integers: Vec<i64> = weight.unrounded().unwrap().iter().map(|&w| w as i64).collect();
    let sum = |i: usize, row: usize| {
        let pairs = codes[i * cols..][..cols].iter().zip(&integers[row * cols..][..cols]);
        let product = |(&x, &w): (&i8, &i64)| (i64::from(x) - i64::from(zero_point)) * w;
        i32::try_from(pairs.map(product).sum::<i64>()).unwrap()
    };
    let places = || (0..m).flat_map(|i| (0..n).map(move |row| (i, row)));
    let sums: Vec<i32> = places().map(|(i, row)| sum(i, row)).collect();
    let bias: Vec<f32> = (0..n).map(|n| n as f32).collect();
    let x = Codes { codes, scale: 0.5, zero_point };
    // Results that fill the range, between ends of their own.
    let most = sums.iter().map(|sum| sum.unsigned_abs()).max().unwrap_or(1).max(1);
    let stages = [None, Some(())].map(|function| {
        let units: Vec<f64> = (1..=n).map(|n| 1.3 * n as f64).collect();
        let to = Affine { scale: 0.011 * most as f32, zero_point: zero_point / 3 };
        let range = if zero_point % 2 == 0 { [-128, 127] } else { [zero_point / 3, 100] };
        let function = function.map(|()| -> integer::Function {
            Box::new(|all| all.iter_mut().for_each(|x| *x = if *x < 0.0 { 0.1 * *x } else { *x }))
        });
        integer::Stage::new(&units, Some(&bias), function, to, range)
    });
    let expected = stages.each_ref().map(|stage| -> Vec<i8> {
        places().zip(&sums).map(|((_, row), &sum)| stage.code(row, sum)).collect()
    });
    let stages = stages.map(Stage::from);
    for kernel in Kernel::available() {
        let matrix = Matrix::with(weight, 0..n, kernel).unwrap();
        assert!(matrix.takes_codes());
        let mut data = vec![f32::NAN; m * n];
        let mut scratch = vec![f32::NAN; matrix.scratch_len(m)];
        let out = Out { data: &mut data, row_stride: n, col_stride: 1 };
        matrix.multiply_codes(x, m, Some(&bias), out, &mut scratch);
        for ((got, sum), (i, row)) in data.iter().zip(&sums).zip(places()) {
            assert_eq!(*got, *sum as f32 * 0.5 + bias[row], "{} ({i}, {row})", kernel.name());
        }
        for (stage, expected) in stages.iter().zip(&expected) {
            let mut got = vec![0; m * n];
            let out = Out { data: &mut got, row_stride: n, col_stride: 1 };
            matrix.requantize(x, m, stage, out, &mut scratch);
            assert_eq!(got, *expected, "{}", kernel.name());
            let out = Out { data: &mut got, row_stride: 1, col_stride: m };
            matrix.requantize(x, m, stage, out, &mut scratch);
            let turned = places().map(|(i, row)| got[row * m + i]);
            assert!(turned.eq(expected.iter().copied()), "{} by channel", kernel.name());
        }
    }
}

fn ones(shape: &[usize]) -> Operand {
    let len: usize = shape.iter().product();
    Operand::new(Float32, shape, 1f32.to_le_bytes().repeat(len))
}

#[test]
fn integer_products_are_exact_at_the_extremes() {
    for (weight, x) in [(-128, -128), (-127, -128), (127, -128), (127, 127), (-128, 127)] {
        for (cols, zero_point) in [(1, 0), (63, 127), (64, -128), (4099, 0)] {
            let codes = Operand::new(Int8, &[3, cols], vec![weight as i8 as u8; 3 * cols]);
            let storage = Storage::Linear { codes, scale: ones(&[3, 1]), offset: None };
            let weight = Weight { shape: vec![3, cols], storage };
            check_codes(&weight, 2, &vec![x as i8; 2 * cols], zero_point);
        }
    }
}

proptest! {
    #[test]
    fn integer_products_are_exact(
        n in 1usize..40, cols in 1usize..150, m in 1usize..15, zero_point: i8,
        kind in 0usize..7, seed: u64,
    ) {
        let mut draw = Draw(seed);
        let codes = [Int8, Int8, UInt8, Int4, UInt4, Int8, Int8][kind];
        let storage = if kind < 5 {
            let offset = [None, Some(Int8), Some(UInt8), Some(Int4), None][kind];
            Storage::Linear {
                codes: draw.operand(codes, &[n, cols]),
                scale: ones(&[n, 1]),
                offset: offset.map(|dtype| draw.operand(dtype, &[n, 1])),
            }
        } else {
            let bits = [4, 6][kind - 5];
            Storage::Palette {
                indices: draw.operand(DataType::index(bits).unwrap(), &[n, cols]),
                table: draw.operand(Int8, &[1, 1, 1 << bits, 1]),
                table_scale: Some(ones(&[1, 1, 1, 1])),
                vector_axis: 0,
                channel_scale: None,
            }
        };
        let x: Vec<i8> = (0..m * cols).map(|_| draw.next() as i8).collect();
        check_codes(&Weight { shape: vec![n, cols], storage }, m, &x, zero_point);
    }
}

#[test]
fn plain_weights_stay_where_they_are_and_codes_take_their_size() {
    let mut draw = Draw(2);
    let dense = Matrix::new(&Weight::dense(draw.operand(Float16, &[64, 512]))).unwrap();
    assert_eq!(dense.byte_len(), 0);
    let sizes = [
        (draw.linear(Int8, &[64, 512], (Float16, &[64, 1]), None), 64 * 512),
        (draw.linear(Int4, &[64, 512], (Float16, &[64, 16]), None), 64 * 512 / 2 + 64 * 16 * 2),
        (draw.palette(6, &[64, 512], &[1, 1], Float16, [false; 2]), 64 * 512 * 6 / 8),
        (draw.palette(4, &[64, 512], &[1, 1], Float16, [false; 2]), 64 * 512 / 2),
    ];
    for (weight, codes) in sizes {
        let held = Matrix::new(&weight).unwrap().byte_len() as usize;
        assert!((codes..codes + codes / 10).contains(&held), "{held} bytes for {codes}");
    }
}

#[test]
fn sums_that_could_leave_i32_are_not_formed() {
    let weight = |cols| {
        let codes = Operand::new(Int8, &[1, cols], vec![127; cols]);
        let storage = Storage::Linear { codes, scale: ones(&[1, 1]), offset: None };
        Matrix::new(&Weight { shape: vec![1, cols], storage }).unwrap()
    };
    assert!(weight(65_792).takes_codes());
    assert!(!weight(65_793).takes_codes());
}
