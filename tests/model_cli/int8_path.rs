//! `quantize inspect --int8-path`.

use super::tiny;
use crate::bench::Bench;

#[test]
fn weights_alone_leave_all_arithmetic_in_float() {
    let bench = Bench::new();
    let said = bench.run(&[&tiny("bert"), "-o", "q", "--to", "mlpackage"]);
    assert_eq!(said.code, 0, "{}", said.err);
    let document = bench.json(&["inspect", "q", "--int8-path"]);
    let function = &document["packages"][0]["functions"][0];
    let all = &function["shares"]["all"];
    assert_eq!(all["w8a8"], 0);
    assert!(all["w8a16"].as_u64() > Some(0));
    let products = function["products"].as_array().unwrap();
    let sum: u64 = products.iter().map(|product| product["macs"].as_u64().unwrap()).sum();
    let classes = ["w8a16", "float", "fp_palette", "lut8a8"];
    assert_eq!(sum, classes.iter().map(|class| all[class].as_u64().unwrap()).sum::<u64>());
    // The report keeps the same summary.
    let report = bench.json(&["inspect", "q"]);
    let kept = &report["int8_path"][0]["functions"][0];
    assert_eq!(report["int8_path"][0]["package"], document["packages"][0]["package"]);
    for key in ["function", "shares", "int8_share", "int8_share_of_weights", "breaks"] {
        assert_eq!(kept[key], function[key], "{key}");
        assert!(!kept[key].is_null(), "{key}");
    }
    let said = bench.run(&["inspect", "q"]);
    assert!(
        said.out.contains("\nINT8 path of main: 0.0 % of MACs (float 55.9 %, W8A16 "),
        "{}",
        said.out
    );
    let said = bench.run(&["inspect", "q", "--int8-path"]);
    assert_eq!(said.code, 0);
    let folded = said.out.lines().find(|line| line.contains("_mlp_up")).unwrap();
    assert!(folded.starts_with("layers_*_mlp_up"), "{folded}");
    assert!(folded.ends_with("activations-in-float"), "{folded}");
}

#[test]
fn a_checkpoint_has_no_path_and_the_flags_of_reports_none_to_show() {
    let bench = Bench::new();
    for (words, code, said) in [
        (vec!["inspect", &tiny("llama"), "--int8-path"], 3, "no graph"),
        (vec!["inspect", "none", "--int8-path"], 3, "there is no such file"),
        (vec!["inspect", "q", "--int8-path", "--min-sqnr", "3"], 2, "--int8-path shows"),
        (vec!["inspect", "q", "--int8-path", "--model"], 2, "cannot be used with"),
    ] {
        let got = bench.run(&words);
        assert_eq!(got.code, code, "{words:?}: {}", got.err);
        assert!(got.err.contains(said), "{words:?}: {}", got.err);
    }
}
