use super::*;
use crate::advice::{Confidence, Effect};
use crate::int8_path::{ByClass, Folded, Shares, Summary};
use proptest::prelude::*;

/// Statistics of a ramp quantized to tenths, with the codes it would have.
fn stats(noise: f32) -> Stats {
    let mut stats = Stats::default();
    for i in -100i32..=100 {
        let x = i as f32 / 100.0;
        let wave = [0.2, -0.7, 1.0, -0.4, 0.6][i.rem_euclid(5) as usize];
        stats.add_weighted(x, x - wave * noise, 1 + (100 - i.unsigned_abs() as u64) / 10);
        stats.add_code(i.rem_euclid(13) as u8, 1);
    }
    stats
}

fn tensor(name: &str, scheme: Option<&str>, error: Option<ErrorReport>) -> TensorReport {
    TensorReport {
        name: name.into(),
        dtype: "F16".into(),
        shape: vec![64, 172],
        scheme: scheme.map(|s| s.parse().unwrap()),
        requested: scheme.map(|s| s.parse().unwrap()),
        rule: "default".into(),
        notes: vec![],
        elements: 64 * 172,
        bytes_before: 64 * 172 * 2,
        bytes_after: 64 * 172,
        error,
    }
}

fn measured(name: &str, scheme: &str, noise: f32, curve: bool) -> TensorReport {
    let points = (0..20).map(|i| {
        let factor = 1.0 - 0.04 * f64::from(i);
        ClipPoint::new(factor, Some(40.0 - 60.0 * (factor - 0.8).powi(2)))
    });
    let curve = curve
        .then(|| ClipCurve { points: points.collect(), chosen: ClipPoint::new(0.8, Some(40.0)) });
    let error = ErrorReport::new(scheme.parse().unwrap(), &stats(noise), curve);
    tensor(name, Some(scheme), Some(error))
}

/// A chain that a softmax breaks, and a name that would move a cursor.
fn path() -> InPackage {
    let all = ByClass { w8a8: 960, float: 40, ..ByClass::default() };
    let weights = ByClass { w8a8: 960, ..ByClass::default() };
    let folded = |operations: &str, kind: &str, times, macs| Folded {
        operations: operations.into(),
        kind: kind.into(),
        times,
        reason: kind.into(),
        why: format!("{kind} has no INT8 form"),
        macs,
    };
    let function = Summary {
        function: "main".into(),
        shares: Shares { all, weights, unknown: 0 },
        int8_share: all.int8_share(),
        int8_share_of_weights: weights.int8_share(),
        breaks: vec![
            folded("layers_*_softmax", "softmax", 6, 40),
            folded("\u{1b}[2J", "norm", 1, 0),
        ],
    };
    InPackage { package: "m.mlpackage".into(), functions: vec![function] }
}

/// What is known to go wrong with blocks.
fn remark(at: &str, times: usize) -> Remark {
    Remark {
        rule: "per-block".into(),
        effect: Effect::Wrong,
        at: at.into(),
        times,
        about: "codes with a scale for each block".into(),
        remedy: "one scale a channel would do".into(),
        source: "https://example.com/1".into(),
        confidence: Confidence::Reported,
    }
}

fn report() -> Report {
    let mut norm = tensor("norm", Some("float16"), None);
    norm.notes = vec!["left in float16: rank 1: codes need rows and columns".into()];
    let mut evil = measured("evil\u{1b}[31m\n,\"name\"", "palette-4", 1e-2, false);
    evil.notes = vec!["group:16 does not divide 37 → tensor (no divisor ≥ 4)".into()];
    Report::new(Parts {
        options: serde_json::from_str(r#"{"scheme":"linear-int8","clip":"mse"}"#).unwrap(),
        inputs: vec![InputFile {
            name: "model.safetensors".into(),
            bytes: 123_456,
            blake3: "00ff".into(),
            sha256: None,
        }],
        outputs: vec![OutputFile {
            kind: "metal".into(),
            path: "m.metal/weights.safetensors".into(),
            bytes: 65_536,
        }],
        tensors: vec![
            measured("l0.weight", "linear-int8", 1e-3, true),
            norm,
            evil,
            measured("exact", "palette-8,unique", 0.0, false),
            tensor("ids", None, None),
        ],
        int8_path: vec![path()],
        remarks: vec![remark("layers_*_up", 6), remark("lm_head", 1)],
        warnings: vec!["--rule 'x=float16' matches no tensor".into()],
    })
}

#[test]
fn the_table_is_worst_first_and_says_why_a_tensor_was_left() {
    insta::assert_snapshot!(report().to_text(None), @r#"
    tensor             shape      scheme            SQNR dB      RMSE  max error    cosine  clipped  codes used     after  notes
    evil�[31m�,"name"  [64, 172]  palette-4           36.58  0.006374    0.01000  0.999890      0 %       13/16  10.8 KiB  group:16 does not divide 37 → tensor (no divisor ≥ 4)
    l0.weight          [64, 172]  linear-int8         56.58  6.374e-4   0.001000  0.999999      0 %      13/255  10.8 KiB
    exact              [64, 172]  palette-8,unique    exact         0          0  1.000000      0 %      13/256  10.8 KiB

    not quantized  type  shape      stored as  chosen by    before     after  why
    norm           F16   [64, 172]  float16    default    21.5 KiB  10.8 KiB  rank 1: codes need rows and columns
    ids            F16   [64, 172]  copied     default    21.5 KiB  10.8 KiB

    5 tensors: 3 quantized, 1 in float, 1 copied
    weights: 107.5 KiB (110,080 bytes) → 53.8 KiB (55,040 bytes), 8.000 bits a weight
    SQNR of all quantized weights: 41.31 dB
    metal: m.metal/weights.safetensors, 64.0 KiB (65,536 bytes)
    INT8 path of main: 96.0 % of MACs (W8A8 96.0 %, float 4.0 %); float at layers_*_softmax (softmax, 6 times), �[2J (norm)
    remark: layers_*_up and others, 7 places: per-block: codes with a scale for each block; one scale a channel would do (reported: https://example.com/1)
    warning: --rule 'x=float16' matches no tensor
    "#);
    let narrow = report().to_text(Some(80));
    insta::assert_snapshot!(narrow.lines().take(7).collect::<Vec<_>>().join("\n"), @r#"
    tensor             shape      scheme            SQNR dB     after  notes
    evil�[31m�,"name"  [64, 172]  palette-4           36.58  10.8 KiB  group:16 doe…
    l0.weight          [64, 172]  linear-int8         56.58  10.8 KiB
    exact              [64, 172]  palette-8,unique    exact  10.8 KiB

    not quantized  type  shape      stored as     after  why
    norm           F16   [64, 172]  float16    10.8 KiB  rank 1: codes need rows an…
    "#);
}

#[test]
fn one_tensor_shows_its_histogram_and_its_clip_curve() {
    let report = report();
    insta::assert_snapshot!(report.tensor_text(&report.tensors[0]), @r"
    l0.weight  [64, 172]  F16 → linear-int8
    chosen by: default
    21.5 KiB → 10.8 KiB, 8.00 bits a weight
    SQNR 56.58 dB, RMSE 6.374e-4, max |error| 0.001000, cosine 0.999999
    clipped: 0 % of the weights, 0 % of their energy
    codes: 13 of 255 used, entropy 3.70 of 7.99 bits (1,111 weights counted)

    errors (weight − quantized), 64 bins, the tallest 231:
                        ▅    ▅         █     ▅      ▅
                        █    █         █     █      █
                        █    █         █     █      █
                        █    █         █     █      █
                        █    █         █     █      █
                        █    █         █     █      █
                        █    █         █     █      █
                        █    █         █     █      █
    ────────────────────────────────┼───────────────────────────────
    -0.001953                                               0.001953

    SQNR of a sample of rows against range (share of max |w|), 21.18 to 40.00 dB; chosen ▲ 0.800, 40.00 dB:
                                   ▁▂▃▃▄▅▅▆▆▇▇▇████████▇▇▇▆▆▅▅▄▃▃▂▁
                            ▁▃▄▅▆▇██████████████████████████████████
                       ▂▄▅▇█████████████████████████████████████████
                  ▁▃▅▇██████████████████████████████████████████████
              ▁▃▅▇██████████████████████████████████████████████████
           ▃▅▇██████████████████████████████████████████████████████
       ▁▃▆██████████████████████████████████████████████████████████
    ▁▄▆█████████████████████████████████████████████████████████████
                                                  ▲
    0.24                                                        1.00
    ");
    insta::assert_snapshot!(report.tensor_text(&report.tensors[1]), @r"
    norm  [64, 172]  F16 → float16
    chosen by: default
    note: left in float16: rank 1: codes need rows and columns
    21.5 KiB → 10.8 KiB, 8.00 bits a weight
    ");
}

#[test]
fn csv_quotes_what_must_be_quoted() {
    let mut report = report();
    report.tensors[0].name = "=1+2".into();
    insta::assert_snapshot!(report.to_csv(), @r#"
    name,dtype,shape,scheme,requested,rule,notes,elements,bytes_before,bytes_after,bits_per_weight,sqnr_db,rmse,max_abs,cosine,clipped_share,clipped_energy_share,codes_possible,codes_used,code_entropy_bits
    '=1+2,F16,64x172,linear-int8,linear-int8,default,,11008,22016,11008,8,56.582897738219096,0.0006374424430744413,0.0010000020265579224,0.9999989018649885,0,0,255,13,3.6996909322789553
    norm,F16,64x172,float16,float16,default,left in float16: rank 1: codes need rows and columns,11008,22016,11008,8,,,,,,,,,
    "evil�[31m�,""name""",F16,64x172,palette-4,palette-4,default,group:16 does not divide 37 → tensor (no divisor ≥ 4),11008,22016,11008,8,36.582857642751485,0.0063744538561837,0.01000000536441803,0.9998901769459874,0,0,16,13,3.6996909322789553
    exact,F16,64x172,"palette-8,unique","palette-8,unique",default,,11008,22016,11008,8,,0,0,1,0,0,256,13,3.6996909322789553
    ids,F16,64x172,,,default,,11008,22016,11008,8,,,,,,,,,
    "#);
}

#[test]
fn totals_follow_from_the_tensors() {
    let totals = report().totals;
    assert_eq!((totals.tensors, totals.quantized, totals.float, totals.copied), (5, 3, 1, 1));
    assert_eq!(
        (totals.bytes_before, totals.bytes_after, totals.output_bytes),
        (5 * 22016, 5 * 11008, 65_536)
    );
    assert_eq!(totals.bits_per_weight, Some(8.0));
    assert_eq!(totals.worst, ["evil\u{1b}[31m\n,\"name\"", "l0.weight", "exact"]);
    let (a, b) = (stats(1e-3), stats(1e-2));
    let all = 10.0 * (3.0 * a.signal / (a.noise + b.noise)).log10();
    assert!((totals.sqnr_db.unwrap() - all).abs() < 1e-9);
}

#[test]
fn a_gate_fails_the_tensors_below_it() {
    let names = |db| {
        report().below(db).iter().map(|t| t.name.chars().take(4).collect()).collect::<Vec<String>>()
    };
    assert_eq!(names(20.0), [""; 0]);
    assert_eq!(names(50.0), ["evil"]);
    assert_eq!(names(1e9), ["evil", "l0.w"], "what is exact passes every gate");
}

#[test]
fn a_report_comes_back_as_it_was_written() {
    let report = report();
    let text = report.to_json();
    assert_eq!(Report::from_json(&text, "report.json").unwrap(), report);
    assert!(!text.contains("NaN") && !text.contains("inf"));
    let value: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(value["tensors"][3]["error"]["sqnr_db"].is_null(), "exact weights have no SQNR");
    let mut odd = report;
    odd.tensors[0].error.as_mut().unwrap().cosine = f64::INFINITY;
    let back = Report::from_json(&odd.to_json(), "report.json").unwrap();
    assert!(back.tensors[0].error.as_ref().unwrap().cosine.is_nan());
}

#[test]
fn a_broken_report_is_refused_with_its_place() {
    let mut few = report();
    few.tensors[0].error.as_mut().unwrap().histogram.bins.pop();
    let good = report().to_json();
    #[rustfmt::skip]
    let cases = [
        String::new(),
        "{\"form\": 99}".into(),
        "{\"form\": 1}".into(),
        "[1, 2".into(),
        few.to_json(),
        good.replace("\"elements\": 11008", "\"elements\": -1"),
        good.replace("\"palette-4\"", "\"palette-5\""),
    ];
    let told: Vec<String> = cases
        .iter()
        .map(|text| Report::from_json(text, "report.json").expect_err(text).to_string())
        .collect();
    insta::assert_snapshot!(told.join("\n"), @r"
    report.json, line 1, column 0: not a report: EOF while parsing a value; run quantize again to make a new one
    report.json: its form is 99, and this version reads form 1; use the version of quantize that wrote it
    report.json, line 1, column 11: not a report: missing field `tool`; run quantize again to make a new one
    report.json, line 1, column 5: not a report: trailing characters; run quantize again to make a new one
    report.json, tensor `l0.weight`: its histogram has 63 bins, not 64; run quantize again to make a new one
    report.json, line 123, column 20: not a report: invalid value: integer `-1`, expected u64; run quantize again to make a new one
    report.json, line 325, column 27: not a report: no index type has 5 bits; use palette-6 (or palette-4); run quantize again to make a new one
    ");
}

#[test]
fn a_report_is_found_from_the_folder_and_from_what_is_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let package = folder.path().join("m.mlpackage");
    std::fs::create_dir(&package).unwrap();
    let missing = locate(folder.path()).unwrap_err().to_string();
    assert!(missing.contains("there is no report.json"), "{missing}");
    let file = folder.path().join("report.json");
    std::fs::write(&file, report().to_json()).unwrap();
    for path in [folder.path(), &package, &file] {
        assert_eq!(locate(path).unwrap(), file);
        assert_eq!(Report::read(path).unwrap(), report());
    }
    assert!(Report::read(&folder.path().join("nowhere")).is_err());
    std::fs::write(&file, b"\xff").unwrap();
    assert!(Report::read(&file).unwrap_err().to_string().contains("not UTF-8"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn mutated_reports_are_refused_or_print(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = report().to_json().into_bytes();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(text) = String::from_utf8(bytes)
            && let Ok(report) = Report::from_json(&text, "report.json")
        {
            report.to_text(Some(80));
            report.to_csv();
            report.tensors.iter().for_each(|t| drop(report.tensor_text(t)));
        }
    }
}
