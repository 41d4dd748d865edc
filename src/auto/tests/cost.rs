//! Plans by time and by bytes: what is chosen, and that no budget is exceeded.

use super::super::{
    Budget, Evaluator, Form, Input, Metric, Price, Subject, Time, Variant, Weight, choose,
};
use super::scheme;
use crate::Result;
use proptest::prelude::*;

/// Divergences add up exactly.
struct Sum<'s>(&'s Subject, &'s [Vec<f64>]);

impl Evaluator for Sum<'_> {
    fn alone(&mut self, _: usize, _: Form) -> Result<f64> {
        unreachable!("all is known")
    }

    fn together(&mut self, forms: &[Form]) -> Result<f64> {
        let each = forms.iter().zip(&self.0.weights).zip(self.1);
        let of = |((form, weight), divergences): ((&Form, &Weight), &Vec<f64>)| {
            let place = weight.variants.iter().position(|variant| variant.form == *form);
            divergences[place.unwrap()]
        };
        Ok(each.map(of).sum())
    }
}

/// A call of so many microseconds, at 5 GB/s.
fn price(bytes: u64, us: f64) -> Price {
    Price { bytes, time: Some(Time { call: us * 1e-6, reading: bytes as f64 / 5e9 }) }
}

/// Two layers of a prompt that multiply for a microsecond in float, and so much in INT8.
fn layers(int8_us: f64) -> (Subject, Vec<Vec<f64>>) {
    let (float, int8) = (Form::float, Form::int8);
    let variants = [
        (float(scheme("palette-4")), 500, 1.0),
        (int8(scheme("palette-4,lut-int8")), 500, int8_us),
        (float(scheme("palette-6")), 750, 1.0),
        (float(scheme("linear-int8")), 1000, 1.0),
        (int8(scheme("linear-int8")), 1000, int8_us),
        (float(scheme("float16")), 2000, 1.0),
    ];
    let variant = |&(form, bytes, us): &(Form, u64, f64)| Variant { form, price: price(bytes, us) };
    let weight = |name: &str| Weight {
        name: name.into(),
        elements: 1000,
        variants: variants.iter().map(variant).collect(),
    };
    let others = price(100, 1.0);
    let subject =
        Subject { weights: vec![weight("even"), weight("outliers")], others, elements: 2000 };
    // The second layer's input has outliers, which INT8 cannot hold.
    let even = vec![0.1, 0.11, 0.01, 0.001, 0.003, 0.0];
    let outliers = vec![0.1, 0.6, 0.01, 0.001, 0.5, 0.0];
    (subject, vec![even, outliers])
}

fn chosen(subject: &Subject, divergences: &[Vec<f64>], budget: Budget) -> super::super::Choice {
    choose(subject, divergences, budget, Metric::Kl, &mut Sum(subject, divergences)).unwrap()
}

#[test]
fn int8_is_taken_where_it_is_faster_and_near_enough() {
    let (fast, divergences) = layers(0.5);
    let choice = chosen(&fast, &divergences, Budget::Kl(0.02));
    let told: Vec<String> = fast.forms(&choice.variants).iter().map(Form::to_string).collect();
    assert_eq!(told, ["linear-int8 on INT8 inputs", "palette-6"]);
    assert_eq!(choice.price.time.map(|time| (time.call * 1e9).round()), Some(2500.0));
    insta::assert_snapshot!(choice.why.join("\n"), @r"
    float16 takes 0.7000 µs more and gains 4.29e-3 a µs; steps taken gain 1.07e0 a µs or more
    linear-int8 takes 0.0500 µs more and gains 1.80e-1 a µs; steps taken gain 1.07e0 a µs or more
    ");
    // Where INT8 is no faster it only costs accuracy, and bytes decide among what is as fast.
    let (slow, divergences) = layers(1.0);
    let choice = chosen(&slow, &divergences, Budget::Kl(0.02));
    let told: Vec<String> = slow.forms(&choice.variants).iter().map(Form::to_string).collect();
    assert_eq!(told, ["palette-6", "palette-6"]);
    insta::assert_snapshot!(choice.why.join("\n"), @r"
    linear-int8 takes 0.0500 µs more and gains 1.80e-1 a µs; steps taken gain 1.80e0 a µs or more
    linear-int8 takes 0.0500 µs more and gains 1.80e-1 a µs; steps taken gain 1.80e0 a µs or more
    ");
}

#[test]
fn a_limit_of_time_gives_the_nearest_plan_that_is_so_fast() {
    let (subject, divergences) = layers(0.5);
    let choice = chosen(&subject, &divergences, Budget::Time(2.51e-3));
    let told: Vec<String> = subject.forms(&choice.variants).iter().map(Form::to_string).collect();
    assert_eq!(told, ["linear-int8 on INT8 inputs", "float16"]);
    let run = |budget| {
        choose(&subject, &divergences, budget, Metric::Kl, &mut Sum(&subject, &divergences))
    };
    let told = run(Budget::Time(1e-3)).unwrap_err();
    insta::assert_snapshot!(told, @"--max-ms 0.001: the fastest plan of these candidates takes 0.0020 ms; allow more, or add a --candidate that takes less");
    // Bytes alone know no time: INT8 inputs would only cost accuracy.
    let choice = chosen(&subject, &divergences, Budget::Bits(9.0));
    assert!(subject.forms(&choice.variants).iter().all(|form| form.input == Input::Float));
}

/// A weight's variants: bytes, microseconds, divergence.
fn variants() -> impl Strategy<Value = Vec<(u64, f64, f64)>> {
    proptest::collection::vec((1u64..5000, 0.0f64..3.0, 0.0f64..1.0), 1..8)
}

proptest! {
    /// Whatever the weights, a plan holds its budget, or no plan does; and the same plan comes again.
    #[test]
    fn no_plan_exceeds_its_budget(
        weights in proptest::collection::vec(variants(), 1..7),
        others in 0u64..1000,
        limit in 0.0f64..1.0,
        which in 0usize..3,
    ) {
        let of = |(place, variants): (usize, &Vec<(u64, f64, f64)>)| {
            let mut seen = super::distinct_forms();
            let variant = |&(bytes, us, _): &(u64, f64, f64)| Variant {
                form: seen.next().unwrap(),
                price: price(bytes, us),
            };
            Weight { name: place.to_string(), elements: 1000, variants: variants.iter().map(variant).collect() }
        };
        let subject = Subject {
            weights: weights.iter().enumerate().map(of).collect(),
            others: price(others, 0.0),
            elements: 1000 * weights.len() as u64,
        };
        let divergences: Vec<Vec<f64>> =
            weights.iter().map(|variants| variants.iter().map(|v| v.2).collect()).collect();
        let each = |least: &dyn Fn(&(u64, f64, f64)) -> f64| -> f64 {
            let of = |variants: &Vec<(u64, f64, f64)>| variants.iter().map(least).fold(f64::INFINITY, f64::min);
            weights.iter().map(of).sum()
        };
        let least_bytes = each(&|v| v.0 as f64) + others as f64;
        let (least_us, least_divergence) = (each(&|v| v.1), each(&|v| v.2));
        let budget = match which {
            0 => Budget::Bits(40.0 * limit),
            1 => Budget::Time(3e-3 * limit * weights.len() as f64),
            _ => Budget::Kl(limit * weights.len() as f64),
        };
        let run = || choose(&subject, &divergences, budget, Metric::Kl, &mut Sum(&subject, &divergences));
        match (run(), budget) {
            (Ok(choice), Budget::Bits(bits)) => prop_assert!(choice.bits <= bits),
            (Ok(choice), Budget::Time(ms)) => prop_assert!(choice.price.time.unwrap().call * 1e3 <= ms),
            (Ok(choice), Budget::Kl(nats) | Budget::Sqnr(nats)) => prop_assert!(choice.divergence <= nats),
            (Err(_), Budget::Bits(bits)) => {
                prop_assert!((bits * subject.elements as f64 / 8.0).floor() < least_bytes);
            }
            // A byte counts a femtosecond, so that time may be missed by so much.
            (Err(_), Budget::Time(ms)) => prop_assert!(ms / 1e3 < least_us * 1e-6 + 1e-9),
            (Err(_), Budget::Kl(nats) | Budget::Sqnr(nats)) => prop_assert!(nats < least_divergence + 1e-9),
        }
        prop_assert_eq!(run().ok(), run().ok());
    }
}
