use super::*;

fn figures(noise: f32) -> Figures {
    let x = [3.0, -4.0, 12.0, 0.5];
    Figures::new(&Closeness::of(&x, &x.map(|x| x + noise)).unwrap())
}

fn layer(weight: &str, noise: f32) -> LayerCheck {
    LayerCheck {
        function: weight.replace('.', "_"),
        operation: "linear".into(),
        weight: weight.into(),
        shape: vec![64, 64],
        stored_as: "linear int8".into(),
        bytes: 4224,
        weights: Some(figures(noise)),
        outputs: Some(figures(noise * 2.0)),
        overflows: None,
    }
}

fn validation() -> Validation {
    let mut v = Validation::new("m.mlpackage".into(), "drawn, 1 sample".into());
    v.against = Some("m.safetensors".into());
    v.layers = vec![layer("good.weight", 0.01), layer("bad.weight", 0.5)];
    let mut rows = Divergence::default();
    rows.add(crate::metrics::Rows::Logits, 2, &[0.0, 1.0, 2.0, 1.0], &[0.1, 1.0, 1.0, 1.5]);
    v.outputs = vec![OutputCheck {
        function: "main".into(),
        output: "logits".into(),
        figures: figures(0.1),
        classes: Some(Classes::new(&rows)),
    }];
    v.agreement = vec![AgreementCheck {
        function: "main".into(),
        output: "logits".into(),
        between: ["reference".into(), "cpu".into()],
        elements: 1024,
        relative: 3e-7,
        own_codes: None,
    }];
    v.speed = vec![Speed {
        function: "main".into(),
        backend: "cpu".into(),
        runs: 50,
        median_ms: 1.5,
        p5_ms: 1.25,
        p95_ms: 2.0,
        unit: "items".into(),
        units: 3,
        units_per_second: 2000.0,
        bytes_moved: 3 << 20,
        gb_per_second: 2.1,
        macs: 3_000_000,
        gmac_per_second: 2.0,
        held_bytes: 0,
    }];
    v.probe = Some(Probe {
        threads: 2,
        gb_per_second: 21.0,
        gmac_per_second: 80.0,
        int8_gmac_per_second: 400.0,
    });
    v.peak_memory_bytes = Some(12 << 20);
    v.unproven = vec!["nothing ran on a device".into()];
    v
}

fn not_finite() -> NotFinite {
    NotFinite {
        function: "main".into(),
        output: "logits".into(),
        backend: "cpu".into(),
        count: 3,
        elements: 40,
        step: 0,
        index: vec![0, 7],
        value: "inf".into(),
    }
}

#[test]
fn people_read_the_worst_first_and_the_verdict_last() {
    let mut v = validation();
    v.judge(&Limits { min_sqnr_db: Some(20.0), ..Limits::default() });
    insta::assert_snapshot!(v.to_text(None), @r"
    m.mlpackage against m.safetensors
    inputs: drawn, 1 sample

    layer        operation  shape     stored as    weight dB  output dB    cosine  max error
    bad.weight   linear     [64, 64]  linear int8      22.29      16.26  0.991766      1.000
    good.weight  linear     [64, 64]  linear int8      56.26      50.24  0.999996    0.02000

    output  SQNR dB    cosine  max error  KL mean  KL p99  KL max  rows  top-1 same
    logits    36.26  0.999906     0.1000   0.1292  0.2574  0.2574     2     50.00 %

    reference and cpu differ by 3.0e-7 of the largest element at most (main); one output, 1,024 elements

    function  cpu ms       p5 … p95  per second    moved   GB/s  of probe  GMAC/s  of probe
    main       1.500  1.250 … 2.000  2000 items  3.0 MiB  2.100      10 %   2.000       2 %
    median of runs on cpu
    probe, in this process: 21.00 GB/s read, 80.00 GMAC/s in f32, 400.0 in INT8, 2 threads
    peak memory, the probe's aside: 12.0 MiB (12,582,912 bytes)

    not proven: nothing ran on a device
    failed: layer bad.weight: 16.26 dB, less than 20 dB
    ");
}

#[test]
fn a_thousand_layers_are_summed_up() {
    let mut v = validation();
    v.layers = (0..1000).map(|i| layer(&format!("l{i}.weight"), 0.001 * (i + 1) as f32)).collect();
    v.judge(&Limits { min_cosine: Some(0.99), ..Limits::default() });
    let text = v.to_text(Some(80));
    assert!(text.lines().count() < 70, "{text}");
    assert!(text.contains("and 980 more layers, the worst "), "{text}");
    assert!(text.contains("failed: and "), "{text}");
}

#[test]
fn speed_has_a_row_for_each_function_and_says_what_is_left_out() {
    let mut v = validation();
    let speed = v.speed[0].clone();
    let on = |i: u32, backend: &str, median_ms: f64| Speed {
        function: format!("f{i}"),
        backend: backend.into(),
        median_ms,
        ..speed.clone()
    };
    let pair = |i: u32| [on(i, "reference", 100.0 + f64::from(i)), on(i, "cpu", f64::from(i + 1))];
    v.speed = (0..36).flat_map(pair).collect();
    v.speed.push(on(99, "reference", 500.0));
    let text = v.to_text(None);
    let has = |words: &[&str]| {
        text.lines().any(|line| line.split_whitespace().take(3).eq(words.iter().copied()))
    };
    assert!(has(&["f99", "500.0", "–"]), "{text}");
    assert!(has(&["f35", "135.0", "36.00"]), "{text}");
    assert!(!text.contains("\nf16 "), "{text}");
    assert!(text.contains("and 17 functions that are faster on cpu\n"), "{text}");
    assert!(text.contains("cpu: 36 functions, one run of each 666.0 ms\n"), "{text}");
    assert!(text.contains("reference: 37 functions, one run of each 4730 ms\n"), "{text}");
}

#[test]
fn limits_name_what_misses_them() {
    let failed = |limits: Limits, change: fn(&mut Validation)| {
        let mut v = validation();
        change(&mut v);
        v.judge(&limits);
        v.failed.join("\n")
    };
    let none = Limits::default();
    assert_eq!(failed(none, |_| ()), "");
    let exact = Limits { min_sqnr_db: Some(1e9), ..none };
    assert_eq!(
        failed(exact, |v| {
            v.layers.truncate(1);
            v.layers[0].weights = Some(figures(0.0));
            v.layers[0].outputs = None;
            v.outputs.clear();
        }),
        "",
        "what is exact passes"
    );
    assert_eq!(failed(none, |v| v.agreement[0].relative = 3e-5), "");
    assert!(failed(none, |v| v.agreement[0].relative = 3.1e-5).contains("differ by 3.1e-5"));
    fn codes(v: &mut Validation, differ: u64, most: u64, beyond_tie: f64) {
        let new = CodesCheck::new("main", ["reference", "cpu"]);
        let (edges, codes, worst) = (2, 4096, "x_codes".into());
        v.codes = vec![CodesCheck { edges, codes, differ, most, beyond_tie, worst, ..new }];
    }
    assert_eq!(failed(none, |v| codes(v, 12, 1, 1.0 / 256.0)), "", "codes at ties");
    let told = [
        failed(Limits { min_cosine: Some(0.999), ..none }, |_| ()),
        failed(Limits { max_kl: Some(0.01), ..none }, |_| ()),
        failed(Limits { max_kl: Some(0.01), ..none }, |v| v.outputs[0].classes = None),
        failed(none, |v| v.agreement[0].relative = 0.01),
        failed(none, |v| v.agreement[0].relative = f64::INFINITY),
        failed(none, |v| codes(v, 1234, 3, 0.0040)),
        failed(none, |v| codes(v, 1, 1, f64::INFINITY)),
        failed(none, |v| v.outputs[0].figures.broken = 3),
        failed(none, |v| {
            v.outputs[0].figures.broken = 3;
            v.not_finite = vec![not_finite()];
        }),
        failed(none, |v| {
            v.against = None;
            v.not_finite = vec![NotFinite { count: 1, step: 2, ..not_finite() }];
        }),
        failed(none, |v| v.findings.push("fc1: is [2, 3], and the source has [3, 2]".into())),
        failed(Limits { min_cosine: Some(0.5), ..none }, |v| {
            v.outputs.clear();
            v.layers.clear();
        }),
    ];
    insta::assert_snapshot!(told.join("\n"), @r"
    weight bad.weight: cosine 0.997784, less than 0.999
    layer bad.weight: cosine 0.991766, less than 0.999
    output logits of main: mean KL 1.292e-1, more than 0.01
    --max-kl: no output is a distribution over classes; name one with --logits
    output logits of main: reference and cpu differ by 1.0e-2 of the largest element
    output logits of main: reference and cpu differ without measure: elements are finite, or not 0, on one side only
    INT8 activations of main: 1,234 of 4,096 codes of 2 edges differ on reference and cpu, by 3 at most, 4.0e-3 of a step beyond a tie (`x_codes`)
    INT8 activations of main: reference and cpu give other codes, `x_codes`
    output logits of main: 3 elements are finite on one side only
    output logits of main: 3 of 40 elements are not finite on cpu, the first inf at [0, 7]
    output logits of main: 1 of 40 elements is not finite on cpu, the first inf at [0, 7] of step 2; --against SOURCE tells whether the source's are
    fc1: is [2, 3], and the source has [3, 2]
    nothing was compared with a source; give one with --against
    ");
}

#[test]
fn a_validation_comes_back_as_it_was_written() {
    let mut v = validation();
    v.not_finite = vec![not_finite()];
    let text = v.to_json();
    assert_eq!(serde_json::from_str::<Validation>(&text).unwrap(), v);
    let mut older: serde_json::Value = serde_json::from_str(&text).unwrap();
    older.as_object_mut().unwrap().remove("not_finite");
    assert_eq!(serde_json::from_value::<Validation>(older).unwrap().not_finite, []);
}
