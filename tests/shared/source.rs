//! Checkpoints that other programs wrote, where they are at hand.

use twolane::formats::safetensors::Dtype;
use twolane::source::Source;

#[test]
fn every_file_opens_and_reads_as_the_safetensors_crate_reads_it() {
    let Some(fixtures) = super::fixtures() else { return };
    let mut opened = 0;
    let mut folders = vec![fixtures];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path.extension().is_none_or(|ending| ending != "safetensors") {
                continue;
            }
            let source = Source::open(&path).expect("a sound file");
            let bytes = std::fs::read(&path).expect("its bytes");
            let theirs = safetensors::SafeTensors::deserialize(&bytes).expect("a sound file");
            assert_eq!(source.tensors().len(), theirs.len());
            for tensor in source.tensors() {
                let view = theirs.tensor(&tensor.name).expect("the same name");
                assert_eq!((view.dtype(), view.shape()), (tensor.dtype, &tensor.shape[..]));
                assert_eq!(view.data(), source.bytes(tensor), "{}", tensor.name);
            }
            opened += 1;
        }
    }
    assert!(opened >= 100, "only {opened} files were found");
}

#[test]
fn two_shards_hold_what_one_file_holds() {
    let Some(fixtures) = super::fixtures() else { return };
    let whole = Source::open(fixtures.join("stories260k")).expect("a folder with one model");
    assert_eq!(whole.stem(), "stories260k");
    let folder = fixtures.join("variants/sharded_f16");
    for path in [folder.clone(), folder.join("model.safetensors.index.json")] {
        let shards = Source::open(path).expect("a folder with an index");
        assert_eq!((shards.stem(), shards.files().len()), ("sharded_f16", 2));
        assert_eq!(shards.folder(), folder);
        assert_eq!(shards.tensors().len(), whole.tensors().len());
        for tensor in shards.tensors() {
            let same = whole.tensor(&tensor.name).expect("the same name");
            assert_eq!(shards.bytes(tensor), whole.bytes(same), "{}", tensor.name);
        }
    }
}

#[test]
fn the_three_float_types_of_one_model_decode_to_each_other() {
    let Some(fixtures) = super::fixtures() else { return };
    let open = |name: &str| Source::open(fixtures.join(name)).expect(name);
    let single = open("variants/stories260k_f32.safetensors");
    let decoded = |source: &Source, name: &str| {
        let weights = source.tensor(name).and_then(|t| source.weights(t)).expect("floats");
        let mut values = vec![0.0f32; weights.len()];
        weights.decode(0..weights.len(), &mut values);
        values
    };
    // The largest relative rounding error: half a unit of 11 and of 8 significant bits.
    let others = [
        ("stories260k/model.safetensors", 1.0 / 2048.0),
        ("variants/stories260k_bf16.safetensors", 1.0 / 256.0),
    ];
    for (file, relative) in others {
        let source = open(file);
        assert_eq!(source.tensors().len(), single.tensors().len());
        for tensor in source.tensors() {
            let exact = decoded(&single, &tensor.name);
            for (x, e) in decoded(&source, &tensor.name).into_iter().zip(exact) {
                assert!((x - e).abs() <= e.abs() * relative + 1e-7, "{}: {x} {e}", tensor.name);
            }
        }
    }
}

#[test]
fn integers_beside_weights_are_no_weights() {
    let Some(fixtures) = super::fixtures() else { return };
    let source = Source::open(fixtures.join("variants/mnist_cnn_f32.safetensors")).expect("sound");
    let counters: Vec<_> = source.tensors().iter().filter(|t| t.dtype == Dtype::I64).collect();
    assert_eq!(counters.len(), 2);
    for counter in counters {
        assert!(counter.name.ends_with("num_batches_tracked") && counter.shape.is_empty());
        assert!(source.weights(counter).is_none());
    }
}

#[test]
fn a_folder_of_several_models_is_no_checkpoint() {
    let Some(fixtures) = super::fixtures() else { return };
    let error = Source::open(fixtures.join("digits")).expect_err("four networks in one folder");
    let words = error.to_string();
    assert!(words.contains("no index says that they are one checkpoint"), "{words}");
}
