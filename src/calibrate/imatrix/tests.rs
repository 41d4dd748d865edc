//! Files of llama.cpp's own Python package, and its table of names (`fixtures/imatrix`).

use super::*;
use crate::source::Source;
use std::path::PathBuf;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/imatrix")
}

#[test]
fn means_are_those_of_numpy() {
    let expected = Source::open(fixtures().join("expected.safetensors")).unwrap();
    let mut compared = 0;
    for file in ["llama.gguf", "moe.gguf"] {
        let path = fixtures().join(file);
        assert!(Imatrix::is_at(&path).unwrap());
        let imatrix = Imatrix::read(&path).unwrap();
        assert_eq!(imatrix.datasets, ["calibration.txt", "more.txt"]);
        for (name, Entry { sums, counts }) in &imatrix.entries {
            let wanted = format!("{file}/{name}");
            let wanted = expected.tensors().iter().find(|t| t.name == wanted).unwrap();
            assert_eq!(wanted.shape, [counts.len(), sums.len() / counts.len()], "{name}");
            let (numbers, columns) = (expected.bytes(wanted).as_chunks().0, wanted.shape[1]);
            for (i, (sum, number)) in sums.iter().zip(numbers).enumerate() {
                let mean = f64::from(*sum) / f64::from(counts[i / columns]);
                let wanted = f64::from_le_bytes(*number);
                assert!(mean == wanted || mean.is_nan() && wanted.is_nan(), "{name}");
            }
            compared += 1;
        }
    }
    assert_eq!(compared, expected.tensors().len());
}

#[test]
fn names_are_those_of_llama_cpp() {
    let names = std::fs::read(fixtures().join("names.json")).unwrap();
    let names: BTreeMap<String, BTreeMap<String, String>> = serde_json::from_slice(&names).unwrap();
    let mut compared = 0;
    for (architecture, names) in names {
        for (name, wanted) in names {
            // The table has experts without their numbers, for they are stored as one.
            let numbered = name.replace(".experts.", ".experts.1.");
            let place = names::place(&format!("{numbered}.weight"));
            // Norms multiply nothing, and an embedding is looked up.
            let is_read = !wanted.contains("norm") && wanted != "token_embd";
            // Its table has nothing for a name of two parts, which the architecture lacks.
            assert_eq!(place.is_some(), is_read, "{architecture}: {name}");
            let Some(place) = place else { continue };
            assert_eq!(place.names[0], format!("{wanted}.weight"), "{architecture}: {name}");
            assert_eq!(place.expert, (numbered != name).then_some(1), "{name}");
            compared += 1;
        }
    }
    assert!(compared > 100, "{compared}");
}

#[test]
fn inputs_are_found_by_a_checkpoints_names() {
    let imatrix = Imatrix::read(&fixtures().join("llama.gguf")).unwrap();
    let of = |name: &str| imatrix.energies(name);
    let query = of("model.layers.0.self_attn.q_proj.weight").unwrap();
    assert_eq!(query.name, "blk.0.attn_q.weight");
    assert_eq!(of("layers.0.self_attn.q_proj.weight").unwrap(), query);
    let fused = of("model.language_model.layers.0.self_attn.qkv_proj.weight").unwrap();
    assert_eq!(fused, query, "what it is made of reads the same");
    let experts = Imatrix::read(&fixtures().join("moe.gguf")).unwrap();
    let expert = |n| experts.energies(&format!("model.layers.0.mlp.experts.{n}.down_proj.weight"));
    assert_eq!(expert(0).unwrap().columns.len(), 6);
    assert_ne!(expert(0), expert(2));
    let told = [
        of("model.layers.0.self_attn.q_proj.bias").unwrap_err(),
        of("vision_tower.encoder.layers.0.self_attn.q_proj.weight").unwrap_err(),
        of("model.layers.900.mlp.down_proj.weight").unwrap_err(),
        of("model.layers.0.mlp.experts.0.down_proj.weight").unwrap_err(),
        expert(1).unwrap_err(),
        expert(3).unwrap_err(),
    ];
    insta::assert_snapshot!(told.join("\n"), @r"
    llama.cpp's name for it is not known
    llama.cpp's name for it is not known
    not in the imatrix: blk.900.ffn_down.weight
    not in the imatrix: blk.0.ffn_down_exps.weight
    blk.0.ffn_down_exps.weight: no token came to it in the imatrix
    blk.0.ffn_down_exps.weight has 3 matrices in the imatrix
    ");
}

#[test]
fn other_files_are_refused() {
    let legacy = fixtures().join("legacy.dat");
    assert!(Imatrix::is_at(&legacy).unwrap());
    assert!(!Imatrix::is_at(&fixtures().join("names.json")).unwrap());
    let good = std::fs::read(fixtures().join("llama.gguf")).unwrap();
    let replaced = |from: &[u8], to: &[u8]| {
        let at = good.windows(from.len()).position(|part| part == from).unwrap();
        let changed = [&good[..at], to, &good[at + from.len()..]].concat();
        Imatrix::parse(&changed, "changed.gguf").unwrap_err().to_string()
    };
    let told = [
        Imatrix::read(&legacy).unwrap_err().to_string(),
        replaced(b"imatrix", b"adapter"),
        replaced(b"general.type", b"general.typo"),
        replaced(b"blk.0.attn_k.weight.counts", b"blk.0.attn_k.weight.county"),
        replaced(&6144f32.to_le_bytes(), &f32::NAN.to_le_bytes()),
        replaced(&6144f32.to_le_bytes(), &(-1f32).to_le_bytes()),
        Imatrix::parse(&good[..good.len() - 64], "cut.gguf").unwrap_err().to_string(),
    ];
    insta::assert_snapshot!(told.join("\n"), @r"
    legacy.dat: it is an imatrix of the older format; convert it: llama-imatrix --in-file legacy.dat -o imatrix.gguf
    changed.gguf: it is a GGUF of type `adapter`; give the file that llama-imatrix wrote
    changed.gguf: it is a GGUF that does not say what it holds; give the file that llama-imatrix wrote
    changed.gguf: `blk.0.attn_k.weight` has no counts; compute it again with llama-imatrix
    changed.gguf: `blk.0.attn_k.weight.counts` holds NaN; compute it again with llama-imatrix
    changed.gguf: `blk.0.attn_k.weight.counts` holds -1; compute it again with llama-imatrix
    malformed GGUF, at byte 2925: tensor `blk.2.ffn_up.weight.in_sum2` [1, 40] reaches beyond the file; fetch or write the file again
    ");
}
