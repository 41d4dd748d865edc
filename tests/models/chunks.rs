//! Decoders in chunks that run one after the other.

use super::{DECODERS, Expected, ane, apart, described, folder, forms, options};
use twolane::generate::{Sampler, Session, generate};
use twolane::graph::Program;
use twolane::model::architectures::Model;
use twolane::model::decoder::ane::Host;
use twolane::model::decoder::{self, Chunk, Options};
use twolane::plan::Kv;
use twolane::runtime::{Backend, Cpu, Reference};
use twolane::target::Target;

fn programs(name: &str, options: &Options, count: usize) -> Vec<Program> {
    let (whole, weights) = described(&folder(name), Some(options.context));
    let Model::Decoder(described) = &whole.model else { panic!("{name} is no decoder") };
    decoder::build_chunks(described, &weights, options, count).unwrap()
}

fn session(programs: &[Program], backend: Box<dyn Backend>) -> Session {
    let hosts: Vec<_> = programs.iter().map(|program| Host::of(program).unwrap()).collect();
    let chain = programs.iter().zip(&hosts);
    Session::chain(chain.map(|(p, host)| (p.functions.values(), host.as_ref())), backend).unwrap()
}

/// The logits of every token of a text in steps.
fn logits(session: &mut Session, ids: &[i32], split: &[usize]) -> Vec<f32> {
    session.restart();
    let mut got = Vec::new();
    for &count in split {
        let step = &ids[session.position()..][..count];
        session.feed_each(step, &mut |_, row| got.extend_from_slice(row)).unwrap();
    }
    got
}

#[test]
fn chunks_give_what_the_whole_model_does_up_to_a_full_cache() {
    for name in DECODERS {
        let expected = Expected::of(name);
        let prefix = if name == "phi3-longrope" { "long." } else { "" };
        let ids = expected.ints(&format!("{prefix}ids"));
        for form in forms(ids.len()).into_iter().chain([options(ids.len(), None)]) {
            let what = format!("{name} {:?} {:?} {}", form.style, form.kv, form.target);
            let whole = programs(name, &form, 1);
            assert!(Chunk::of(&whole[0]).unwrap().is_none());
            for count in [2, whole_layers(name)] {
                let chunks = programs(name, &form, count);
                assert_eq!(chunks.len(), count);
                let mut layers = 0;
                for (place, program) in chunks.iter().enumerate() {
                    let chunk = Chunk::of(program).unwrap().unwrap();
                    assert_eq!((chunk.number, chunk.of), (place + 1, count), "{what}");
                    assert_eq!(chunk.layers.start, layers, "{what}");
                    layers = chunk.layers.end;
                }
                assert_eq!(layers, whole_layers(name));
                // The last steps are padded beyond the context.
                for split in [&[5, 5, 5, 5, 4][..], &[3, 1, 4, 5, 2, 1, 5, 3]] {
                    let by = |programs: &[Program], backend: Box<dyn Backend>| {
                        logits(&mut session(programs, backend), &ids, split)
                    };
                    let want = by(&whole, Box::<Reference>::default());
                    let got = by(&chunks, Box::<Reference>::default());
                    assert!(got == want, "{what} in {count}: {:.1e}", apart(&got, &want));
                    let far = apart(&by(&chunks, Box::new(Cpu)), &by(&whole, Box::new(Cpu)));
                    assert!(far <= 1e-6, "{what} in {count} on cpu: {far:.1e}");
                }
            }
        }
    }
}

/// The layers of a tiny model.
fn whole_layers(name: &str) -> usize {
    let (whole, _) = described(&folder(name), None);
    let Model::Decoder(described) = &whole.model else { panic!("{name} is no decoder") };
    described.layers.len()
}

#[test]
fn greedy_tokens_of_chunks_are_those_of_transformers() {
    for name in ["gemma3", "gpt2", "llama"] {
        let expected = Expected::of(name);
        let (ids, want) = (expected.ints("ids"), expected.ints("greedy"));
        let context = 8 + want.len();
        for form in [options(context, Some(Kv::State)), ane(context, Kv::Io, Target::Ios18)] {
            let form = Options { last_row: true, ..form };
            let mut session = session(&programs(name, &form, 3), Box::new(Cpu));
            let mut sampler = Sampler::new(0.0, 0).unwrap();
            let listen = &mut |_| Ok(std::ops::ControlFlow::Continue(()));
            let got = generate(&mut session, &ids[..8], &mut sampler, want.len(), &[], listen);
            assert_eq!(got.unwrap().ids, want, "{name} {:?}", form.style);
        }
    }
}
