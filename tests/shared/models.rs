//! A trained model from its folder, against what torch made of it.

use super::fixtures;
use super::support::{self, session};
use safetensors::SafeTensors;
use std::fs;
use std::path::Path;
use twolane::generate::{Sampler, generate};
use twolane::graph::{DataType, Program};
use twolane::model::decoder::{Names, Options, Style};
use twolane::plan::Kv;
use twolane::runtime::{Cpu, Mode, Reference};
use twolane::target::Target;

/// stories260k with the weights at `path`, as stored or rounded to FP16, which its functions compute
/// in.
fn program(path: &Path, float: DataType, style: Style, kv: Option<Kv>) -> Program {
    let options = Options {
        style,
        float,
        target: Target::Ios18,
        context: 256,
        prefill_chunk: 16,
        names: Names::TRANSFORMERS,
        kv,
        argmax: false,
        last_row: false,
    };
    let beside = path.ancestors().map(|folder| folder.join("stories260k"));
    let folder = beside.into_iter().find(|folder| folder.join("config.json").is_file()).unwrap();
    support::decoder(path, &support::config(&folder), &options)
}

/// Little-endian numbers of a stored tensor.
fn words<T>(file: &SafeTensors<'_>, name: &str, read: fn([u8; 4]) -> T) -> Vec<T> {
    file.tensor(name).unwrap().data().as_chunks().0.iter().map(|&word| read(word)).collect()
}

#[test]
fn stories260k_gives_the_stored_logits() {
    let Some(fixtures) = fixtures() else { return };
    let bytes = fs::read(fixtures.join("stories260k/reference.safetensors")).unwrap();
    let stored = SafeTensors::deserialize(&bytes).unwrap();
    let folder = "stories260k";
    for (weights, float, mode, bound) in [
        (folder, DataType::Float32, Mode::F32, 2e-4),
        ("variants/sharded_f16", DataType::Float32, Mode::F32, 2e-4),
        // Weights before they were rounded to FP16, as the stored logits' are, and after rounding to BF16.
        ("variants/stories260k_f32.safetensors", DataType::Float32, Mode::F32, 0.05),
        ("variants/stories260k_bf16.safetensors", DataType::Float32, Mode::F32, 0.5),
        // Tables and scales are FP16; values on the way are not.
        (folder, DataType::Float16, Mode::F32, 0.03),
        // Every value is FP16, as in torch's own FP16 arithmetic.
        (folder, DataType::Float16, Mode::F16, 0.04),
    ] {
        let program = program(&fixtures.join(weights), float, Style::Gpu, None);
        let mut session = session(&program, Box::new(Reference { mode }));
        let mut worst = 0.0_f32;
        for prompt in 0..6 {
            let ids = words(&stored, &format!("p{prompt}.ids"), i32::from_le_bytes);
            let want = words(&stored, &format!("p{prompt}.logits"), f32::from_le_bytes);
            session.restart();
            let mut got = Vec::new();
            session.feed_each(&ids, &mut |_, logits| got.extend_from_slice(logits)).unwrap();
            assert_eq!(got.len(), want.len());
            let apart = got.iter().zip(&want).map(|(a, b)| (a - b).abs());
            worst = apart.fold(worst, f32::max);
        }
        println!("{weights} in {float}, {mode:?}: {worst:.1e}");
        assert!(worst <= bound, "{weights} in {float}, {mode:?}: {worst}");
    }
}

#[test]
fn stories260k_predicts_its_evaluation_set_as_torch_does() {
    let Some(fixtures) = fixtures() else { return };
    let folder = fixtures.join("stories260k");
    let bytes = fs::read(folder.join("reference.safetensors")).unwrap();
    let stored = SafeTensors::deserialize(&bytes).unwrap();
    let ids = words(&stored, "eval.ids", i32::from_le_bytes);
    let want = words(&stored, "eval.nll", f32::from_le_bytes);
    let program = program(&folder, DataType::Float32, Style::Gpu, Some(Kv::State));
    let mut session = session(&program, Box::new(Cpu));
    let (mut sum, mut worst, mut count) = (0.0, 0.0_f32, 0);
    for (window, want) in ids.chunks(256).zip(want.chunks(255)) {
        session.restart();
        session
            .feed_each(&window[..255], &mut |row, logits| {
                let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let all: f32 = logits.iter().map(|x| (x - most).exp()).sum();
                let nll = most + all.ln() - logits[window[row + 1] as usize];
                sum += f64::from(nll);
                worst = worst.max((nll - want[row]).abs());
                count += 1;
            })
            .unwrap();
    }
    let mean = sum / f64::from(count);
    println!("NLL {mean:.5} over {count} tokens, the worst of them {worst:.1e} apart");
    assert!((mean - 1.30179).abs() <= 5e-4, "{mean}");
    assert!(worst <= 2e-3, "{worst}");
}

#[test]
fn stories260k_continues_texts_as_torch_does_until_it_comes_near_a_tie() {
    let Some(fixtures) = fixtures() else { return };
    let folder = fixtures.join("stories260k");
    let bytes = fs::read(folder.join("reference.safetensors")).unwrap();
    let stored = SafeTensors::deserialize(&bytes).unwrap();
    for (style, kv) in [(Style::Gpu, Kv::State), (Style::Ane, Kv::State), (Style::Ane, Kv::Io)] {
        let program = program(&folder, DataType::Float16, style, Some(kv));
        continues(&program, &stored);
    }
}

/// Follows torch's greedy tokens of all prompts, and fills a cache.
fn continues(program: &Program, stored: &SafeTensors<'_>) {
    let mut session = session(program, Box::new(Cpu));
    let mut sampler = Sampler::new(0.0, 0).unwrap();
    let mut all = 0;
    for prompt in 0..6 {
        let ids = words(stored, &format!("p{prompt}.ids"), i32::from_le_bytes);
        let want = words(stored, &format!("p{prompt}.greedy"), i32::from_le_bytes);
        // A path that nobody steers off: each token is torch's, up to one that was nearly another.
        session.restart();
        let uneven = ids.len() / 2;
        if uneven > 0 {
            session.feed(&ids[..uneven]).unwrap();
        }
        let mut logits = session.feed(&ids[uneven..]).unwrap();
        let mut same = 0;
        for &token in &want {
            let mut sorted = logits.clone();
            sorted.sort_by(|a, b| b.total_cmp(a));
            if sorted[0] - sorted[1] < 0.05 {
                break;
            }
            assert_eq!(sampler.next(&logits).unwrap(), token, "prompt {prompt}, token {same}");
            same += 1;
            logits = session.feed(&[token]).unwrap();
        }
        println!("prompt {prompt}: {same} of {} tokens before a near tie", want.len());
        all += same;
    }
    assert!(all > 100, "{all} tokens compared");
    session.restart();
    let ids = words(stored, "p0.ids", i32::from_le_bytes);
    let mut heard = Vec::new();
    let generated = generate(&mut session, &ids, &mut sampler, 400, &[], &mut |token| {
        heard.push(token);
        Ok(std::ops::ControlFlow::Continue(()))
    });
    let generated = generated.unwrap();
    assert_eq!(generated.ids, heard);
    assert_eq!(generated.stop, twolane::generate::Stop::Context);
    assert_eq!(heard.len(), 256 - ids.len() + 1, "the last token is told, and not fed");
}
