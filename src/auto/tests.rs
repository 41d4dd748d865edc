mod cost;

use super::path::path;
use super::{Budget, Evaluator, Form, Input, Metric, Plan, Price, Subject};
use super::{Variant, Weight, choose, measure};
use crate::scheme::Scheme;
use crate::{Error, Result};
use std::collections::BTreeMap;

fn scheme(words: &str) -> Scheme {
    words.parse().unwrap()
}

/// As many forms as a test needs, each its own.
fn distinct_forms() -> impl Iterator<Item = Form> {
    let words = [
        "palette-1",
        "palette-2",
        "palette-3",
        "palette-4",
        "palette-6",
        "palette-8",
        "linear-int8",
    ];
    words.into_iter().map(|words| Form::float(scheme(words)))
}

/// Four variants, all on a hull: from 4 to 16 bits.
fn weight(name: &str, elements: u64) -> Weight {
    let of = [("palette-4", 4), ("palette-6", 6), ("linear-int8", 8), ("float16", 16)];
    let variants = of.map(|(words, bits)| Variant {
        form: Form::float(scheme(words)),
        price: Price { bytes: elements * bits / 8, time: None },
    });
    Weight { name: name.into(), elements, variants: variants.into() }
}

fn subject() -> Subject {
    let weights = vec![weight("a", 800), weight("b", 400), weight("c", 80)];
    Subject { elements: 1300, others: Price { bytes: 40, time: None }, weights }
}

/// Weights whose divergences add up, `sensitivity · 4^(8 − bits)`, and 5 % more together.
struct Model {
    subject: Subject,
    runs: usize,
}

const SENSITIVITY: [f64; 3] = [1e-4, 3e-3, 8e-4];

impl Model {
    fn of(&self, weight: usize, form: Form) -> f64 {
        let Weight { elements, variants, .. } = &self.subject.weights[weight];
        let variant = variants.iter().find(|known| known.form == form).unwrap();
        let bits = (variant.price.bytes * 8 / elements) as i32;
        if bits == 16 { 0.0 } else { SENSITIVITY[weight] * 4f64.powi(8 - bits) }
    }
}

impl Evaluator for Model {
    fn alone(&mut self, weight: usize, form: Form) -> Result<f64> {
        self.runs += 1;
        Ok(self.of(weight, form))
    }

    fn together(&mut self, forms: &[Form]) -> Result<f64> {
        let each = forms.iter().enumerate().map(|(weight, form)| self.of(weight, *form));
        Ok(1.05 * each.sum::<f64>())
    }
}

fn measured() -> (Model, Vec<Vec<f64>>) {
    let mut model = Model { subject: subject(), runs: 0 };
    let all = measure(&subject(), &mut model, &mut BTreeMap::new(), &mut |_| Ok(()), &()).unwrap();
    (model, all)
}

/// All mixes of three weights' four candidates.
fn mixes() -> impl Iterator<Item = Vec<usize>> {
    (0..64).map(|i| vec![i / 16, i / 4 % 4, i % 4])
}

#[test]
fn every_plan_of_the_path_is_the_best_for_its_bytes() {
    let (_, divergences) = measured();
    let weights = subject().weights;
    let bytes = |weight: &Weight| -> Vec<f64> {
        weight.variants.iter().map(|variant| variant.price.bytes as f64).collect()
    };
    let path = path(&weights.iter().map(bytes).collect::<Vec<_>>(), &divergences);
    let cost = |mix: &[usize]| {
        let bytes: u64 = mix.iter().zip(&weights).map(|(&c, w)| w.variants[c].price.bytes).sum();
        let divergence: f64 = mix.iter().zip(&divergences).map(|(&c, of)| of[c]).sum();
        (bytes, divergence)
    };
    assert_eq!(path.steps.len(), 9);
    for steps in 0..=9 {
        let (bytes, divergence) = cost(&path.after(steps));
        let better =
            mixes().map(|mix| cost(&mix)).find(|m| m.0 <= bytes && m.1 < divergence - 1e-12);
        assert_eq!(better, None, "after {steps}");
    }
}

#[test]
fn candidates_above_the_hull_are_passed_over() {
    let candidates = [(4.0, 1.0), (6.0, 0.9), (8.0, 0.1), (8.0, 0.2), (16.0, 0.3)];
    let [costs, divergences] = [0, 1].map(|which| {
        let of = |&(cost, divergence): &(f64, f64)| [cost, divergence][which];
        vec![candidates.iter().map(of).collect::<Vec<f64>>()]
    });
    let found = path(&costs, &divergences);
    assert_eq!(found.start, [0]);
    let steps: Vec<_> = found.steps.iter().map(|step| (step.from, step.to)).collect();
    assert_eq!(steps, [(0, 2)]);
}

#[test]
fn budgets_hold_and_what_cannot_be_held_is_told() {
    let (mut model, divergences) = measured();
    let subject = subject();
    let mut chosen =
        |budget: Budget| choose(&subject, &divergences, budget, budget.metric(true), &mut model);
    let by_bits = chosen(Budget::Bits(6.0)).unwrap();
    assert!(by_bits.bits <= 6.0 && by_bits.bits > 5.5, "{by_bits:?}");
    assert!((by_bits.divergence / by_bits.predicted - 1.05).abs() < 1e-9);
    assert!(by_bits.variants[1] > by_bits.variants[0], "the sensitive one has more bits");
    // As small as can be on the path: one step less does not hold.
    let by_kl = chosen(Budget::Kl(0.02)).unwrap();
    assert!(by_kl.divergence <= 0.02);
    let less =
        choose(&subject, &divergences, Budget::Bits(by_kl.bits - 0.01), Metric::Kl, &mut model);
    assert!(less.unwrap().divergence > 0.02);
    let mut chosen =
        |budget: Budget| choose(&subject, &divergences, budget, budget.metric(true), &mut model);
    assert_eq!(chosen(Budget::Kl(0.0)).unwrap().variants, [3, 3, 3]);
    assert_eq!(chosen(Budget::Kl(9.0)).unwrap().variants, [0, 0, 0]);
    let told = chosen(Budget::Bits(3.0)).unwrap_err();
    insta::assert_snapshot!(told, @"--target-bpw 3: the smallest plan of these candidates takes 4.185 bits a weight; allow more, or add a --candidate that takes less");
    // 30 dB: a thousandth of the energy.
    assert!(chosen(Budget::Sqnr(30.0)).unwrap().divergence <= 1e-3);
}

#[test]
fn a_limit_that_no_mix_holds_is_told() {
    let mut model = Model { subject: subject(), runs: 0 };
    for weight in &mut model.subject.weights {
        weight.variants.truncate(2);
    }
    let subject = model.subject.clone();
    let mut known = BTreeMap::new();
    let all = measure(&subject, &mut model, &mut known, &mut |_| Ok(()), &()).unwrap();
    let told = choose(&subject, &all, Budget::Kl(1e-3), Metric::Kl, &mut model).unwrap_err();
    insta::assert_snapshot!(told, @"--max-kl 0.001: the nearest plan of these candidates has KL 6.552e-2 nats; allow more, or add a --candidate that is nearer to the model in float");
}

#[test]
fn what_was_measured_before_an_interruption_is_not_measured_again() {
    let (mut model, all) = measured();
    assert_eq!(model.runs, 9, "float costs nothing");
    let mut known = BTreeMap::new();
    let mut saved = BTreeMap::new();
    let mut stop = |known: &super::Measured| {
        saved = known.clone();
        let full = known.len() == 6;
        if full { Err(Error::Usage("interrupted".into())) } else { Ok(()) }
    };
    measure(&subject(), &mut model, &mut known, &mut stop, &()).unwrap_err();
    model.runs = 0;
    let again = measure(&subject(), &mut model, &mut saved, &mut |_| Ok(()), &()).unwrap();
    assert_eq!((again, model.runs), (all, 3));
}

const TEXT: &str = r#"
model = "1234"
data = "drawn"
measured = "kl, --clip mse"
budget = "--max-kl 0.01"
reached = "5.125 bits a weight, KL 9.1e-3 nats"

[[tensor]]
name = "a.\"b\\c\".weight"
scheme = "palette-4,group:16"
why = "no candidate is nearer"
candidates = [
    { scheme = "palette-4,group:16", bytes = 512, divergence = 1.25e-7 },
    { scheme = "linear-int8", bytes = 1024, divergence = inf },
]

[[tensor]]
name = "later"
candidates = [
]
"#;

#[test]
fn a_plan_reads_as_it_was_written() {
    let plan = Plan::parse(TEXT, "p.toml").unwrap();
    let text = plan.to_toml();
    assert_eq!(text.split_once("stored so.").unwrap().1, TEXT);
    assert_eq!(Plan::parse(&text, "p.toml").unwrap(), plan);
    let known = plan.known();
    let key = (plan.rows[0].name.clone(), "palette-4,group:16".to_owned(), Input::Float);
    assert_eq!((known.len(), known[&key]), (2, 1.25e-7));
    let told = plan.rules("p.toml").unwrap_err();
    insta::assert_snapshot!(told, @"p.toml, `later`: it has no scheme yet; let `quantize --scheme auto` finish, or add one");
}

#[test]
fn a_plan_tells_all_that_it_stands_on() {
    let candidate = |words: &str, activations, bytes, us, divergence| super::Candidate {
        scheme: words.into(),
        activations,
        bytes,
        us: Some(us),
        divergence,
    };
    let row = |name: &str, chosen: Option<(&str, Input)>, why: &str, candidates| super::Row {
        name: name.into(),
        scheme: chosen.map(|(scheme, _)| scheme.into()),
        activations: chosen.map(|(_, input)| input),
        why: why.into(),
        candidates,
    };
    let (float, int8) = (Input::Float, Input::Int8);
    let plan = Plan {
        model: "7c67".into(),
        data: "7375".into(),
        measured: "kl, --clip mse, --activations int8 by 5f1e".into(),
        chip: "a call of `prefill` on M5, GPU: weights at 127.0 GB/s, 16.4 Tops, 32.8 in INT8"
            .into(),
        budget: "--max-kl 0.02".into(),
        reached: "6.102 bits a weight, KL 1.9e-2 nats, 0.0021 ms".into(),
        rows: vec![
            row(
                "up.weight",
                Some(("linear-int8", int8)),
                "no candidate is nearer",
                vec![
                    candidate("palette-4", float, 8224, 1.0, 0.01),
                    candidate("linear-int8", int8, 16640, 0.51234, 1.5e-5),
                ],
            ),
            row(
                "down.weight",
                Some(("palette-4", float)),
                "the only candidate",
                vec![candidate("palette-4", float, 8224, 1.0, 0.25)],
            ),
        ],
    };
    insta::assert_snapshot!(plan.to_toml(), @r#"
    # What `quantize --scheme auto` measured and chose. To have it otherwise, edit `scheme` and
    # convert with `--plan` and this file. `divergence` is how far the model moves with this
    # weight alone stored so.
    # `activations` is what layers multiply the weight with: int8, which takes a scheme of
    # INT8 codes or of a palette with INT8 entries, or float.
    # `us` is the weight's share of a call's time, in microseconds.
    model = "7c67"
    data = "7375"
    measured = "kl, --clip mse, --activations int8 by 5f1e"
    chip = "a call of `prefill` on M5, GPU: weights at 127.0 GB/s, 16.4 Tops, 32.8 in INT8"
    budget = "--max-kl 0.02"
    reached = "6.102 bits a weight, KL 1.9e-2 nats, 0.0021 ms"

    [[tensor]]
    name = "up.weight"
    scheme = "linear-int8"
    activations = "int8"
    why = "no candidate is nearer"
    candidates = [
        { scheme = "palette-4", bytes = 8224, us = 1.0000, divergence = 0.01 },
        { scheme = "linear-int8", activations = "int8", bytes = 16640, us = 0.5123, divergence = 1.5e-5 },
    ]

    [[tensor]]
    name = "down.weight"
    scheme = "palette-4"
    activations = "float"
    why = "the only candidate"
    candidates = [
        { scheme = "palette-4", bytes = 8224, us = 1.0000, divergence = 0.25 },
    ]
    "#);
    assert_eq!(
        Plan::parse(&plan.to_toml(), "p.toml").unwrap().rows[0].candidates[1].us,
        Some(0.5123)
    );
    let patterns: Vec<String> = plan.in_float().map(|pattern| pattern.to_string()).collect();
    assert_eq!((plan.has_int8(), patterns), (true, vec![r"^down\.weight$".to_owned()]));
}

#[test]
fn a_plan_becomes_rules_for_whole_names() {
    let mut plan = Plan::parse(TEXT, "p.toml").unwrap();
    plan.rows.truncate(1);
    let rules = plan.rules("p.toml").unwrap();
    assert_eq!(rules[0].pattern.to_string(), r#"^a\."b\\c"\.weight$"#);
    assert_eq!(rules[0].scheme, scheme("palette-4,group:16"));
    plan.rows[0].scheme = Some("palette-5".into());
    let told = plan.rules("p.toml").unwrap_err().to_string();
    assert!(told.contains("no index type has 5 bits"), "{told}");
}

#[test]
fn what_is_no_plan_is_told_with_its_line() {
    let files =
        ["model = 3\n", "model = \"\"\ndata = \"\"\nmeasured = \"\"\nbits = 4\n", "[[rule]\n", ""];
    let told: Vec<String> =
        files.iter().map(|text| Plan::parse(text, "p.toml").expect_err(text).to_string()).collect();
    insta::assert_snapshot!(told.join("\n"), @r"
    p.toml:1: invalid type: integer `3`, expected a string; a plan is what --scheme auto writes
    p.toml:4: unknown field `bits`, expected one of `model`, `data`, `measured`, `chip`, `budget`, `reached`, `tensor`; a plan is what --scheme auto writes
    p.toml:1: unclosed array table, expected `]`; a plan is what --scheme auto writes
    p.toml:1: missing field `model`; a plan is what --scheme auto writes
    ");
}
