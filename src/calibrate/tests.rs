use super::*;
use crate::formats::safetensors::{Dtype, Layout};
use crate::graph::{Builder, DataType, Sizes, TensorType};
use crate::source::Source;
use half::f16;
use proptest::prelude::*;
use regex::Regex;
use std::collections::BTreeMap;

fn watch(name: &str, axis: Option<usize>) -> Watch {
    Watch {
        name: name.into(),
        made_by: "gelu".into(),
        read_by: vec!["linear".into()],
        axis,
        windows: axis.map(|_| None).into_iter().collect(),
    }
}

fn model() -> Model {
    Model { package: "m.mlpackage".into(), blake3: "ab".repeat(32), function: None }
}

/// Samples of one value, `[rows, 3]` each, as counted from the data `name`.
fn counted(name: &str, samples: &[Vec<f32>]) -> Calibration {
    let mut recorder = Recorder::default();
    recorder.gather_hessians(&Regex::new("").unwrap());
    let x = recorder.expect(&watch("x", Some(1))).unwrap();
    for sample in samples {
        // In two pieces, as a text may be fed.
        let (a, b) = sample.split_at(sample.len() / 6 * 3);
        recorder.record([(x, a, &[a.len() / 3, 3][..])]).unwrap();
        recorder.record([(x, b, &[b.len() / 3, 3][..])]).unwrap();
        recorder.end_sample();
    }
    let data = Data { blake3: name.into(), file: name.into(), samples: samples.len() as u64 };
    recorder.finish(model(), data)
}

fn bytes(calibration: &Calibration) -> Vec<u8> {
    let mut bytes = Vec::new();
    calibration.write().unwrap()(&mut bytes).unwrap();
    bytes
}

/// Any FP16 number and what is none, and some that round to it.
fn number() -> impl Strategy<Value = f32> {
    prop_oneof![
        8 => any::<u16>().prop_map(|bits| f16::from_bits(bits).to_f32()),
        2 => -3.0f32..3.0,
        1 => any::<f32>(),
    ]
}

fn samples() -> impl Strategy<Value = Vec<Vec<f32>>> {
    let sample = (0usize..8).prop_flat_map(|rows| prop::collection::vec(number(), rows * 3));
    prop::collection::vec(sample, 0..6)
}

proptest! {
    #[test]
    fn parts_merged_are_the_whole_bit_for_bit_in_any_order(
        a in samples(), b in samples(), c in samples()
    ) {
        let whole = counted("whole", &[&a[..], &b, &c].concat());
        let parts = || [counted("a", &a), counted("b", &b), counted("c", &c)];
        let merged = |order: [usize; 3]| {
            let all = parts();
            let mut merged = all[order[0]].clone();
            merged.merge(all[order[1]].clone()).unwrap();
            merged.merge(all[order[2]].clone()).unwrap();
            merged
        };
        let one = merged([0, 1, 2]);
        prop_assert_eq!(&one.values, &whole.values);
        for order in [[1, 0, 2], [2, 1, 0], [1, 2, 0]] {
            prop_assert_eq!(bytes(&merged(order)), bytes(&one));
        }
        // Through files.
        prop_assert_eq!(Calibration::parse(&bytes(&one).into(), "file").unwrap(), one);
    }

    #[test]
    fn counts_are_those_of_the_numbers_themselves(x in prop::collection::vec(number(), 1..200)) {
        let x = &x[..x.len() / 3 * 3];
        let calibration = counted("x", &[x.to_vec()]);
        let statistics = &calibration.values["x"].statistics;
        let rounded: Vec<f64> = x.iter().map(|&x| f16::from_f32(x).to_f64()).collect();
        let mut finite: Vec<f64> = rounded.iter().copied().filter(|x| x.is_finite()).collect();
        finite.sort_by(f64::total_cmp);
        let counts = statistics.counts();
        let all: Vec<f64> =
            counts.iter().flat_map(|&(x, n)| std::iter::repeat_n(x, n as usize)).collect();
        prop_assert_eq!(all, finite.iter().map(|x| x + 0.0).collect::<Vec<_>>());
        prop_assert_eq!(statistics.non_finite(), (x.len() - finite.len()) as u64);
        let ends = finite.first().copied().zip(finite.last().copied());
        prop_assert_eq!(statistics.mean_extremes(), ends);
        for (column, square) in statistics.squares().into_iter().enumerate() {
            let of_column = rounded.iter().skip(column).step_by(3).filter(|x| x.is_finite());
            let sum: f64 = of_column.map(|x| x * x).sum();
            prop_assert!((square - sum).abs() <= 1e-12 * sum);
        }
        for (column, sum) in statistics.sums().into_iter().flat_map(|(sums, _)| sums).enumerate() {
            let of_column = rounded.iter().skip(column).step_by(3).filter(|x| x.is_finite());
            let units: i128 = of_column.map(|x| (x * f64::from(1 << 24)) as i128).sum();
            prop_assert_eq!(sum, units as f64 / f64::from(1 << 24));
        }
        let [hessian] = &calibration.values["x"].hessians[..] else {
            prop_assert!(x.is_empty());
            return Ok(());
        };
        // Products of two such numbers are exact in f64, and the sum is rounded once.
        let found = hessian.of_group(0);
        for (i, j) in (0..3).flat_map(|i| (0..3).map(move |j| (i, j))) {
            let of = |i: usize| rounded.iter().skip(i).step_by(3).map(|&x| if x.is_finite() { x } else { 0.0 });
            let units = |x: f64| (x * f64::from(1 << 24)) as i128;
            let sum: i128 = of(i).zip(of(j)).map(|(a, b)| units(a) * units(b)).sum();
            prop_assert_eq!(found[i * 3 + j], sum as f64 / (1u64 << 48) as f64);
        }
    }

    #[test]
    fn any_bytes_are_a_file_or_an_error(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut file = bytes(&counted("x", &[vec![0.5, -2.0, f32::NAN, 7.0, 7.0, 0.0]]));
        let at = at.index(file.len());
        file[at] = byte;
        // What is accepted is sound: it can be written, merged and turned into ranges.
        if let Ok(read) = Calibration::parse(&file.clone().into(), "file") {
            prop_assert_eq!(Calibration::parse(&bytes(&read).into(), "file").unwrap(), read.clone());
            let mut twice = read.clone();
            let _ = twice.merge(counted("y", &[vec![1.0; 3]]));
            for entry in read.values.values() {
                for hessian in &entry.hessians {
                    prop_assert!(hessian.of_group(0).iter().all(|sum| sum.is_finite()));
                }
                for observer in ["mse", "min-max", "moving-average", "entropy", "percentile:99"] {
                    let range = observer.parse::<Observer>().unwrap();
                    let range = range.range(&entry.statistics, Symmetry::Asymmetric);
                    prop_assert!(range.is_none_or(|r| r.low.is_finite() && r.high.is_finite()));
                }
            }
        }
    }
}

#[test]
fn observers_answer_as_numpy() {
    let path = format!("{}/fixtures/calibration/observers.safetensors", env!("CARGO_MANIFEST_DIR"));
    let file = Source::open(&path).unwrap();
    let expected = &file.files()[0].metadata()["expected"];
    let expected: serde_json::Value = serde_json::from_str(expected).unwrap();
    let mut compared = 0;
    for tensor in file.tensors() {
        let weights = file.weights(tensor).unwrap();
        let mut x = vec![0.0; weights.len()];
        weights.decode(0..weights.len(), &mut x);
        let mut recorder = Recorder::default();
        let place = recorder.expect(&watch("x", None)).unwrap();
        for row in x.chunks(tensor.shape[1]) {
            recorder.record([(place, row, &tensor.shape[1..])]).unwrap();
            recorder.end_sample();
        }
        let data = Data { blake3: String::new(), file: String::new(), samples: 12 };
        let calibration = recorder.finish(model(), data);
        let statistics = &calibration.values["x"].statistics;
        for (name, ranges) in expected[&tensor.name].as_object().unwrap() {
            for symmetry in [Symmetry::Symmetric, Symmetry::Asymmetric] {
                let wanted = &ranges[symmetry.to_string()];
                let near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * b.abs().max(1e-9);
                let place = format!("{} {name} {symmetry}", tensor.name);
                if name == "error" {
                    let range = Observer::Mse.range(statistics, symmetry).unwrap();
                    let moments = Moments::of(&statistics.counts());
                    let error = moments.squared_error(Grid::of(range, symmetry));
                    assert!(near(error, wanted.as_f64().unwrap()), "{place}: {error} {wanted}");
                } else {
                    let observer: Observer = name.parse().unwrap();
                    let Range { low, high } = observer.range(statistics, symmetry).unwrap();
                    let ends = [0, 1].map(|end| wanted[end].as_f64().unwrap());
                    let same = near(low, ends[0]) && near(high, ends[1]);
                    assert!(same, "{place}: {low} {high}, not {ends:?}");
                }
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 7 * 7 * 2);
}

#[test]
fn only_one_models_counts_are_merged_and_each_data_once() {
    let told = |change: &dyn Fn(&mut Calibration)| {
        let mut other = counted("b", &[vec![1.0; 3]]);
        change(&mut other);
        counted("a", &[vec![2.0; 6]]).merge(other).map_err(|why| why.to_string()).err()
    };
    assert_eq!(told(&|_| {}), None);
    insta::assert_snapshot!(told(&|c| c.model.blake3 = "cd".repeat(32)).unwrap(), @"statistics of different models cannot be merged: m.mlpackage (abababababab) and m.mlpackage (cdcdcdcdcdcd)");
    insta::assert_snapshot!(told(&|c| c.data[0].blake3 = "a".into()).unwrap(), @"`b` is counted in both, and would count double; leave one of them out");
    let widened = |c: &mut Calibration| {
        c.values.get_mut("x").unwrap().statistics.squares.push(0);
    };
    insta::assert_snapshot!(told(&widened).unwrap(), @"value `x`: its columns differ in the two files, or its sums are beyond all bounds; calibrate again");
    assert!(told(&|c| c.values.get_mut("x").unwrap().statistics.squares.fill(u128::MAX)).is_some());
    let many = |c: &mut Calibration| {
        c.values.get_mut("x").unwrap().statistics.counts = vec![(0x3C00, 1 << 56)];
    };
    assert!(told(&many).unwrap().contains("beyond all bounds"));
    insta::assert_snapshot!(told(&|c| c.data[0].samples = 1 << 56).unwrap(), @"the data: they have too many samples; merge fewer files");
    // A package that was renamed is the same model.
    assert_eq!(told(&|c| c.model.package = "renamed".into()), None);
}

#[test]
fn what_was_counted_without_sums_of_columns_merges_into_what_has_none() {
    let old = || {
        let mut old = counted("old", &[vec![1.0, 2.0, 3.0]]);
        old.values.get_mut("x").unwrap().statistics.sums.clear();
        old
    };
    let new = || counted("new", &[vec![4.0, 5.0, 7.0]]);
    assert_eq!(new().values["x"].statistics.sums(), Some((vec![4.0, 5.0, 7.0], 1.0)));
    // As a file of form 1 has it.
    let mut file = bytes(&old());
    let form = file.windows(8).position(|word| word == br#"form\":2"#).unwrap();
    file[form + 7] = b'1';
    assert_eq!(Calibration::parse(&file.into(), "file").unwrap(), old());
    for [mut first, second] in [[old(), new()], [new(), old()]] {
        first.merge(second).unwrap();
        let merged = &first.values["x"].statistics;
        assert_eq!((merged.sums(), merged.squares()), (None, vec![17.0, 29.0, 58.0]));
        assert_eq!(Calibration::parse(&bytes(&first).into(), "file").unwrap(), first);
    }
    // No number is no part.
    let mut all = new();
    all.merge(counted("none", &[])).unwrap();
    assert_eq!(all.values["x"].statistics.sums(), new().values["x"].statistics.sums());
}

#[test]
fn files_that_no_data_gives_are_refused() {
    let json = |samples: u64| {
        format!(
            r#"{{"form": 1, "tool": "t", "model": {{"package": "m", "blake3": "00"}}, "data": [],
                "values": {{"x": {{"made_by": "a", "read_by": [], "samples": {samples}}}}}}}"#
        )
    };
    let file = |json: String, codes: &[u16], counts: &[u64], extremes: [i128; 2]| {
        let tensors = [
            (
                "x.codes",
                Dtype::U16,
                vec![codes.len()],
                codes.iter().flat_map(|c| c.to_le_bytes()).collect::<Vec<u8>>(),
            ),
            (
                "x.counts",
                Dtype::U64,
                vec![counts.len()],
                counts.iter().flat_map(|c| c.to_le_bytes()).collect(),
            ),
            (
                "x.extremes",
                Dtype::U64,
                vec![2, 2],
                extremes.iter().flat_map(|c| c.to_le_bytes()).collect(),
            ),
        ];
        let listed: Vec<_> =
            tensors.iter().map(|(n, d, s, _)| ((*n).into(), *d, s.clone())).collect();
        let metadata = BTreeMap::from([("twolane.calibration".to_owned(), json)]);
        let layout = Layout::new(&listed, &metadata).unwrap();
        let mut file = layout.header.clone();
        file.resize(layout.file_len as usize, 0);
        for ((.., bytes), offset) in tensors.iter().zip(&layout.offsets) {
            file[*offset as usize..][..bytes.len()].copy_from_slice(bytes);
        }
        Calibration::parse(&file.into(), "f").map_err(|why| why.to_string())
    };
    // 1.0 is 0x3C00, 2^24 units.
    let one = 1i128 << 24;
    assert!(file(json(1), &[0x3C00], &[2], [one, one]).is_ok());
    let told = |json, codes: &[u16], counts: &[u64], extremes| {
        file(json, codes, counts, extremes).unwrap_err()
    };
    insta::assert_snapshot!(told(json(1), &[0x3C00, 0], &[1, 1], [0, one]), @"f: value `x`: code 0x0000, counted 1 times, is out of place; calibrate again");
    insta::assert_snapshot!(told(json(1), &[0x8000], &[1], [0, 0]), @"f: value `x`: code 0x8000, counted 1 times, is out of place; calibrate again");
    insta::assert_snapshot!(told(json(1), &[0x3C00], &[0], [one, one]), @"f: value `x`: code 0x3c00, counted 0 times, is out of place; calibrate again");
    insta::assert_snapshot!(told(json(1), &[0, 0x3C00], &[u64::MAX, 2], [0, one]), @"f: value `x`: too many counts; calibrate again");
    insta::assert_snapshot!(told(json(3), &[0x3C00], &[2], [one, one]), @"f: value `x`: its samples' extremes are none of these numbers; calibrate again");
    insta::assert_snapshot!(told(json(1), &[0x3C00], &[2], [one, 2 * one]), @"f: value `x`: its samples' extremes are none of these numbers; calibrate again");
    insta::assert_snapshot!(told(json(1), &[0x3C00], &[2, 2], [one, one]), @"f: value `x`: codes [1] beside counts [2]; calibrate again");
    insta::assert_snapshot!(told(json(1).replace("\"form\": 1", "\"form\": 3"), &[], &[], [0, 0]), @"f: its form is 3, and this program reads 1 to 2; use the version that wrote it");
    insta::assert_snapshot!(told(json(1).replace("\"x\"", "\"y\""), &[], &[], [0, 0]), @"f: value `y`: codes is missing; calibrate again");
}

#[test]
fn operations_and_axes_say_what_is_watched() {
    let mut builder = Builder::new();
    let ty = |shape: &[usize]| TensorType::fixed(DataType::Float32, shape);
    let zeros = |shape: &[usize]| {
        use crate::graph::weight::{Operand, Weight};
        let bytes = vec![0; shape.iter().product::<usize>() * 4];
        Weight::dense(Operand::new(DataType::Float32, shape, bytes))
    };
    let x = builder.input("x", ty(&[2, 3]), Sizes::Fixed).unwrap();
    let i = builder.input("i", ty(&[1, 3, 4, 4]), Sizes::Fixed).unwrap();
    let w = builder.constant("w", zeros(&[3, 3])).unwrap();
    let k = builder.constant("k", zeros(&[5, 3, 1, 1])).unwrap();
    let h = builder.op("linear", "h", &[("x", x), ("weight", w)]).unwrap();
    let r = builder.op("relu", "r", &[("x", h)]).unwrap();
    let e = builder.op("exp", "e", &[("x", r)]).unwrap();
    let s = builder.op("add", "s", &[("x", r), ("y", x)]).unwrap();
    let m = builder.op("matmul", "m", &[("x", s), ("y", w)]).unwrap();
    let c = builder.op("conv", "c", &[("x", i), ("weight", k)]).unwrap();
    for output in [m, c, e] {
        builder.output(output, "");
    }
    let told: Vec<String> = watched(&builder.finish())
        .into_iter()
        .map(|w| format!("{} {} → {} {:?}", w.name, w.made_by, w.read_by.join(","), w.axis))
        .collect();
    assert_eq!(
        told,
        [
            "x input → linear,add Some(1)",
            "i input → conv Some(1)",
            "h linear → relu None",
            "r relu → exp,add None",
            "s add → matmul Some(1)",
            "m matmul →  None",
            "c conv →  None",
        ]
    );
}

#[test]
fn columns_follow_their_axis() {
    let mut recorder = Recorder::default();
    let x = recorder.expect(&watch("x", Some(1))).unwrap();
    // [1, 2, 3]: two channels of three places.
    recorder.record([(x, &[1.0, 1.0, 2.0, 3.0, 0.5, 0.0][..], &[1, 2, 3][..])]).unwrap();
    recorder.end_sample();
    assert!(recorder.record([(x, &[1.0; 3][..], &[1, 3, 1][..])]).is_err());
    assert!(recorder.expect(&watch("x", Some(2))).is_err());
    let data = Data { blake3: String::new(), file: String::new(), samples: 1 };
    let counted = recorder.finish(model(), data);
    assert_eq!(counted.values["x"].statistics.squares(), [6.0, 9.25]);
}

#[test]
fn hessians_are_those_of_the_rows_that_layers_read() {
    // More rows than are multiplied at once, of numbers at both ends of FP16.
    let number = |i: usize| {
        let x = f16::from_f32(((i * 37 % 101) as f32 - 50.0) * [6e-8, 0.3, 1300.0][i % 3]);
        x.to_f32()
    };
    let shape = [2, 4, 25, 14];
    let x: Vec<f32> = (0..shape.iter().product()).map(number).collect();
    let conv = Window {
        kernel: vec![3, 2],
        strides: vec![2, 1],
        dilations: vec![1, 1],
        pad_type: "same".into(),
        pad: vec![],
        groups: 2,
    };
    let windows = vec![None, Some(conv.clone())];
    let watch = Watch { windows, ..watch("x", Some(1)) };
    let mut recorder = Recorder::default();
    recorder.gather_hessians(&Regex::new("^x$").unwrap());
    let place = recorder.expect(&watch).unwrap();
    recorder.record([(place, &x[..], &shape[..])]).unwrap();
    recorder.end_sample();
    let data = Data { blake3: String::new(), file: String::new(), samples: 1 };
    let counted = recorder.finish(model(), data);
    let [plain, grouped] = &counted.values["x"].hessians[..] else { panic!("two Hessians") };
    assert_eq!((plain.columns, plain.groups), (4, 1));
    assert_eq!((grouped.columns, grouped.groups), (12, 2));

    let at = |n: usize, c: usize, i: usize, j: usize| {
        // One row of padding before and after, one column after: same.
        if !(1..=25).contains(&i) || j >= 14 {
            return 0;
        }
        (f64::from(x[((n * 4 + c) * 25 + i - 1) * 14 + j]) * f64::from(1 << 24)) as i128
    };
    for group in 0..2 {
        let found = grouped.of_group(group);
        let column = |c: usize| (group * 2 + c / 6, c % 6 / 2, c % 2);
        for (a, b) in (0..12).flat_map(|a| (0..12).map(move |b| (a, b))) {
            let mut sum = 0;
            for (n, i, j) in (0..2 * 13 * 14).map(|p| (p / (13 * 14), p / 14 % 13, p % 14)) {
                let of = |(c, down, right)| at(n, c, 2 * i + down, j + right);
                sum += of(column(a)) * of(column(b));
            }
            assert_eq!(found[a * 12 + b], sum as f64 / (1u64 << 48) as f64, "{group} {a} {b}");
        }
    }
    let read = Calibration::parse(&bytes(&counted).into(), "file").unwrap();
    assert_eq!(read, counted);
    let mut twice = read.clone();
    twice.data[0].blake3 = "other".into();
    twice.merge(read.clone()).unwrap();
    assert_eq!(twice.values["x"].hessians[0].of_group(0)[1], 2.0 * plain.of_group(0)[1]);

    let mut without = read;
    without.data[0].blake3 = "other".into();
    without.values.get_mut("x").unwrap().hessians.clear();
    insta::assert_snapshot!(without.merge(counted).unwrap_err(), @"`x` has a Hessian in one file alone, and that of a part would pass for that of the whole; calibrate both with --hessians, or both without");
}

#[test]
fn a_hessian_has_bounds() {
    let mut recorder = Recorder::default();
    recorder.gather_hessians(&Regex::new("").unwrap());
    let x = recorder.expect(&watch("x", Some(1))).unwrap();
    let wide = vec![0.0; 8193];
    let refused = recorder.record([(x, &wide[..], &[1, 8193][..])]).unwrap_err();
    insta::assert_snapshot!(refused, @"--hessians: `x` has 8193 columns, whose Hessian would take 512 MiB, and 8192 columns are the most; choose other values with --hessians=REGEX");
}

#[test]
fn grids_hold_zero_and_their_ends() {
    let of = |low, high, symmetry| Grid::of(Range { low, high }, symmetry);
    let grid = of(-1.0, 127.0, Symmetry::Symmetric);
    assert_eq!((grid.scale, grid.zero_point), (1.0, 0));
    let grid = of(0.0, 255.0, Symmetry::Asymmetric);
    assert_eq!((grid.scale, grid.zero_point), (1.0, -128));
    // A range beside 0 is widened to it.
    let grid = of(-510.0, -100.0, Symmetry::Asymmetric);
    assert_eq!((grid.scale, grid.zero_point, grid.value(127)), (2.0, 127, 0.0));
    assert_eq!(of(0.0, 0.0, Symmetry::Asymmetric).scale, 1.0);
    assert_eq!(of(0.0, 1e-9, Symmetry::Symmetric).scale, 2f32.powi(-24));
}
