//! Forms of steps: those that return one row of logits, and those of any number of tokens.

use super::support::session;
use super::{DECODERS, Expected, apart, folder, forms, int_tensor, options, program, text, values};
use twolane::generate::Session;
use twolane::graph::{DataType, Program, Value};
use twolane::model::decoder::{Names, Options};
use twolane::plan::Kv;
use twolane::runtime::{Backend, Cpu, Reference, Shapes, Tensor, Tensors};
use twolane::target::Target;

/// The logits behind each step of a text.
fn behind_steps(session: &mut Session, ids: &[i32], split: &[usize]) -> Vec<f32> {
    session.restart();
    let mut got = Vec::new();
    for &count in split {
        let at = session.position();
        got.extend(session.feed(&ids[at..at + count]).unwrap());
    }
    got
}

#[test]
fn the_last_row_is_that_of_all_rows_also_padded_and_up_to_a_full_cache() {
    for name in DECODERS {
        let expected = Expected::of(name);
        let prefix = if name == "phi3-longrope" { "long." } else { "" };
        let ids = expected.ints(&format!("{prefix}ids"));
        for form in forms(ids.len()) {
            let all = program(&folder(name), &form);
            let last = program(&folder(name), &Options { last_row: true, ..form });
            for (name, function) in &last.functions {
                let logits = function.value(function.find("logits").unwrap());
                let rows = |value: &Value| value.ty.tensor().unwrap().shape().unwrap()[1];
                assert_eq!(rows(logits), 1, "{name}");
            }
            let what = format!("{name} {:?} {:?} {}", form.style, form.kv, form.target);
            // The last steps are padded beyond the context, and some are of one token.
            for split in [&[5, 5, 5, 5, 4][..], &[3, 1, 4, 5, 2, 1, 5, 3], &[24]] {
                let by = |program: &Program, backend: Box<dyn Backend>| {
                    behind_steps(&mut session(program, backend), &ids, split)
                };
                let one = by(&last, Box::<Reference>::default());
                let want = by(&all, Box::<Reference>::default());
                assert!(one == want, "{what} {split:?}: {:.1e}", apart(&one, &want));
                let far = apart(&by(&last, Box::new(Cpu)), &by(&all, Box::new(Cpu)));
                assert!(far <= 1e-6, "{what} {split:?} on cpu: {far:.1e}");
            }
        }
    }
}

#[test]
fn every_tokens_logits_come_one_by_one_where_a_step_returns_one_row() {
    let expected = Expected::of("gemma3");
    let (ids, want) = (expected.ints("ids"), expected.floats("logits").unwrap());
    for form in forms(ids.len()) {
        let one_function = form.target < Target::Ios18;
        let program = program(&folder("gemma3"), &Options { last_row: true, ..form });
        let mut session = session(&program, Box::new(Cpu));
        assert_eq!(session.each_at_once(), 1);
        let mut got = Vec::new();
        let mut places = Vec::new();
        session
            .feed_each(&ids, &mut |place, row| {
                places.push(place);
                got.extend_from_slice(row);
            })
            .unwrap();
        assert_eq!(places, (0..ids.len()).collect::<Vec<_>>());
        assert!(apart(&got, &want) <= 1e-5);
        let (name, _) = twolane::generate::widest(&program).unwrap();
        assert_eq!(name, if one_function { "main" } else { "decode" });
    }
}

/// A decoder whose position follows from shapes.
fn ranged(name: &str, context: usize) -> Program {
    let names = Names::SWIFT_TRANSFORMERS;
    program(&folder(name), &Options { names, ..options(context, Some(Kv::State)) })
}

#[test]
fn steps_of_any_length_give_what_transformers_does_up_to_a_full_cache() {
    for name in DECODERS {
        let (ids, want) = text(name);
        let program = ranged(name, ids.len());
        for split in [&[24][..], &[1, 3, 5, 1, 1, 4, 5, 2, 2]] {
            for backend in [Box::new(Cpu) as Box<dyn Backend>, Box::<Reference>::default()] {
                let who = backend.name();
                let mut session = session(&program, backend);
                assert_eq!(session.context(), ids.len());
                let mut got = Vec::new();
                for &count in split {
                    let step = &ids[session.position()..][..count];
                    session.feed_each(step, &mut |_, row| got.extend_from_slice(row)).unwrap();
                }
                let far = apart(&got, &want);
                assert!(far <= 1e-5, "{name} {split:?} on {who}: {far:.1e}");
                assert!(session.feed(&[1]).is_err(), "a full cache takes no more");
            }
        }
    }
}

/// What swift-transformers' `LanguageModelWithStatefulKVCache` feeds: the prompt, then one token at a
/// time, each with one row of zeros that is a column longer than the text.
#[test]
fn what_the_swift_runtime_feeds_gives_what_transformers_does() {
    for name in DECODERS {
        let (ids, want) = text(name);
        let width = want.len() / ids.len();
        let program = ranged(name, ids.len() + 1);
        let function = &program.functions["main"];
        for prompt in [1, 11] {
            let mut states = Tensors::new();
            for end in prompt..=ids.len() {
                let begin = if end == prompt { 0 } else { end - 1 };
                let mask = Tensor::float(
                    DataType::Float32,
                    ndarray::ArrayD::zeros(vec![1, 1, 1, end + 1]),
                );
                let inputs = Tensors::from([
                    ("inputIds".to_owned(), int_tensor(&[1, end - begin], &ids[begin..end])),
                    ("causalMask".to_owned(), mask),
                ]);
                let shapes: Shapes =
                    inputs.iter().map(|(name, x)| (name.clone(), x.shape().to_vec())).collect();
                let mut outputs = Tensors::new();
                let mut prepared = Cpu.prepare(function, &shapes).unwrap();
                prepared.run(&inputs, &mut states, &mut outputs).unwrap();
                let far = apart(&values(&outputs["logits"]), &want[begin * width..end * width]);
                assert!(far <= 2e-5, "{name}, {begin} to {end}: {far:.1e}");
            }
            let named: Vec<&str> = states.keys().map(String::as_str).collect();
            assert_eq!(named, ["keyCache", "valueCache"]);
        }
    }
}
