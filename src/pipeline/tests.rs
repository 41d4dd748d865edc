//! Windows that split tensors leave no trace in the outputs.

use super::prepare;
use super::window::WINDOW;
use crate::formats::safetensors::{Dtype, Layout};
use crate::plan::{Lanes, Options, Output};
use crate::report::Report;
use crate::scheme::Clip;
use crate::target::Target;
use half::f16;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Tensors of several pieces each, with rows that no lane order's group divides, between small
/// ones that share their windows.
const TENSORS: &[(&str, &[usize])] = &[
    ("a.weight", &[16, 40]),
    ("tall.weight", &[301, 1024]),
    ("tall.bias", &[301]),
    ("wide.weight", &[18, 19_998]),
    ("conv.weight", &[42, 514, 3, 3]),
    ("z.weight", &[3, 5]),
];

fn write_input(path: &Path) {
    let tensors: Vec<_> =
        TENSORS.iter().map(|(name, shape)| ((*name).into(), Dtype::F16, shape.to_vec())).collect();
    let layout = Layout::new(&tensors, &BTreeMap::new()).unwrap();
    let mut bytes = layout.header;
    let mut state = 1u32;
    while (bytes.len() as u64) < layout.file_len {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let value = ((state >> 8) as f32 / (1 << 23) as f32 - 1.0).powi(3);
        bytes.extend(f16::from_f32(value).to_le_bytes());
    }
    fs::write(path, bytes).unwrap();
}

/// The outputs of a run by name, and its report.
fn outputs(dir: &Path, window: usize, options: &Options) -> (Vec<(String, Vec<u8>)>, Report) {
    let out = dir.join("out");
    let options = Options { output: Some(out.clone()), ..options.clone() };
    let mut job = prepare(&dir.join("m.safetensors"), &options).unwrap();
    job.window = window;
    let report = job.run(&()).unwrap();
    let read = |path: &str| (path.to_owned(), fs::read(out.join(path)).unwrap());
    let files = report.outputs.iter().map(|o| read(&o.path)).chain([read("report.json")]);
    let files = files.collect();
    fs::remove_dir_all(out).unwrap();
    (files, report)
}

#[test]
fn the_bytes_do_not_depend_on_where_windows_cut() {
    let dir = tempfile::tempdir().unwrap();
    write_input(&dir.path().join("m.safetensors"));
    const ALL: [Lanes; 4] = [Lanes::Row, Lanes::K2, Lanes::K4, Lanes::O2];
    let cases: &[(&str, &[Lanes])] = &[
        ("linear-int8", &ALL),
        ("linear-int4,block:2,asymmetric", &ALL),
        ("linear-int8,axis:1,asymmetric", &[Lanes::O2]),
        ("palette-3,group:14", &ALL),
        ("palette-6,group:2,axis:1", &[Lanes::K4]),
        ("palette-2,vector:2", &ALL),
        ("palette-1,vector:2,axis:1", &[Lanes::K2, Lanes::O2]),
        ("palette-4,channel-scale,lut-int8", &[Lanes::K2]),
        ("float32", &[Lanes::K2]),
    ];
    for (scheme, lanes) in cases {
        for &lanes in *lanes {
            let options = Options {
                scheme: scheme.parse().unwrap(),
                lanes,
                min_elements: 1,
                clip: Clip::None,
                target: Target::Ios26,
                outputs: Output::ALL.iter().copied().collect(),
                ..Options::default()
            };
            let (whole, report) = outputs(dir.path(), WINDOW, &options);
            let quantized = if *scheme == "float32" { 0 } else { 5 };
            assert_eq!(report.totals.quantized, quantized);
            for window in [1, 150_000] {
                for (cut, whole) in outputs(dir.path(), window, &options).0.iter().zip(&whole) {
                    assert_eq!(cut.0, whole.0);
                    let differ = cut.1.iter().zip(&whole.1).position(|(a, b)| a != b);
                    let place = (scheme, lanes, window, &cut.0);
                    assert_eq!((differ, cut.1.len()), (None, whole.1.len()), "{place:?}");
                }
            }
        }
    }
}
