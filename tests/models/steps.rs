//! Steps that return one row of logits.

use super::{DECODERS, Expected, ane, apart, folder, options, program};
use twolane::generate::Session;
use twolane::graph::{Program, Value};
use twolane::model::decoder::Options;
use twolane::model::decoder::ane::Host;
use twolane::plan::Kv;
use twolane::runtime::{Backend, Cpu, Reference};
use twolane::target::Target;

/// The forms of a package over caches.
fn forms(context: usize) -> [Options; 4] {
    [
        options(context, Some(Kv::State)),
        ane(context, Kv::State, Target::Ios18),
        ane(context, Kv::Io, Target::Ios18),
        ane(context, Kv::Io, Target::Ios16),
    ]
}

fn session(program: &Program, backend: Box<dyn Backend>) -> Session {
    let host = Host::of(program).unwrap();
    Session::open(program.functions.values(), host.as_ref(), backend).unwrap()
}

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
                let one = by(&last, Box::new(Reference::default()));
                let want = by(&all, Box::new(Reference::default()));
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
