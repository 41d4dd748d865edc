//! Activations, counted: texts, rows, parts of data.

use super::bench::Bench;
use super::tiny;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use twolane::formats::mlpackage::MODEL_PATH;
use twolane::formats::safetensors::{Dtype, Layout};

/// The value of this name in what `calibrate --json` printed.
fn value<'d>(document: &'d Value, name: &str) -> &'d Value {
    let values = document["values"].as_array().unwrap_or_else(|| panic!("{document}"));
    values.iter().find(|value| value["name"] == name).unwrap_or_else(|| panic!("{name}"))
}

#[test]
fn every_token_of_a_text_is_counted_once_and_no_padding() {
    let bench = Bench::new();
    let model = format!("{}/fixtures/stdlib-llama", env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(format!("{model}/eval.txt")).unwrap();
    let end = text.char_indices().nth(1_500).unwrap().0;
    fs::write(bench.path("text.txt"), &text[..end]).unwrap();
    let config = fs::read_to_string(format!("{model}/config.json")).unwrap();
    let config: Value = serde_json::from_str(&config).unwrap();
    let width = config["hidden_size"].as_u64().unwrap();
    // Functions of 1 and 16 tokens over a cache; and one for the whole text.
    let steps = ["--prefill-chunk", "16", "--context", "128"];
    for (out, words) in [("steps", &steps[..]), ("whole", &["-t", "ios17", "--context", "192"])] {
        let convert = [&model, "-q", "-o", out, "--scheme", "float16", "--to", "mlpackage"];
        let said = bench.run(&[&convert, words].concat());
        assert_eq!(said.code, 0, "{}", said.err);
        let counted = bench.json(&["calibrate", out, "text.txt", "-o", "counts.safetensors"]);
        let scored = bench.json(&["validate", out, "--text", "text.txt", "--skip-speed"]);
        let number = |name: &str| scored["text"][name].as_u64().unwrap();
        let windows = counted["data"][0]["samples"].as_u64().unwrap();
        let embedded = value(&counted, "embedded");
        assert_eq!(windows, number("windows"));
        // The first of each window is predicted by none.
        assert_eq!(embedded["numbers"], (number("tokens") + windows) * width);
        let norm = value(&counted, "layers_0_attention_norm");
        assert!(norm["read_by"].as_array().unwrap().contains(&"linear".into()));
        assert!(norm["columns"].as_f64().unwrap() > 1.0, "a norm's weights differ by column");
        let decibels = |grid: &str| norm[grid]["sqnr_db"].as_f64().unwrap();
        assert!(decibels("symmetric") > 25.0 && decibels("asymmetric") > 25.0, "{norm}");
        let end = |of: &Value, end: &str| of[end].as_f64().unwrap();
        let most = end(&norm["extremes"], "high").max(-end(&norm["extremes"], "low"));
        assert!(end(&norm["symmetric"]["range"], "high") <= most);
    }
}

/// A bench with `q`, an encoder, and a tokenizer of three words.
fn with_encoder(name: &str) -> Bench {
    let bench = Bench::new();
    let words = ["--scheme", "float16", "--to", "mlpackage", "-q", "-o", "q"];
    let said = bench.run(&[&[tiny(name).as_str()], &words[..]].concat());
    assert_eq!(said.code, 0, "{}", said.err);
    let tokenizer = r#"{"version": "1.0", "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "truncation": null,
        "padding": null, "decoder": null, "model": {"type": "WordLevel", "unk_token": "c",
        "vocab": {"a": 5, "b": 6, "c": 7}}}"#;
    fs::write(bench.path("q/tokenizer.json"), tokenizer).unwrap();
    bench
}

#[test]
fn texts_rows_and_parts_give_the_same_counts() {
    let bench = with_encoder("sentence-bert");
    let lines = ["a b c a", "c c b a", "b b b b", "a c b c"];
    fs::write(bench.path("all.txt"), lines.join("\n")).unwrap();
    fs::write(bench.path("1.txt"), format!("{}\n\n{}", lines[3], lines[0])).unwrap();
    fs::write(bench.path("2.txt"), lines[1..3].join("\n")).unwrap();
    let all = bench.json(&["calibrate", "q", "all.txt", "--out", "all.safetensors"]);
    assert_eq!(all["data"][0]["samples"], 4);
    assert_eq!(value(&all, "layers_0_mlp_norm")["numbers"], 4 * 4 * 36, "no padding is counted");

    for part in ["1", "2"] {
        let (data, out) = (format!("{part}.txt"), format!("{part}.safetensors"));
        assert_eq!(bench.run(&["calibrate", "q", &data, "-o", &out, "-q"]).code, 0);
    }
    let merge = ["calibrate", "--merge", "2.safetensors", "1.safetensors", "-o", "both"];
    assert_eq!(bench.json(&merge)["values"], all["values"]);
    assert_eq!(bench.json(&["calibrate", "--merge", "both"])["values"], all["values"]);
    let other_way = ["calibrate", "--merge", "1.safetensors", "2.safetensors", "-o", "again"];
    assert_eq!(bench.run(&other_way).code, 0);
    let read = |name: &str| fs::read(bench.path(name)).unwrap();
    assert_eq!(read("both"), read("again"), "bit for bit");
    let twice = bench.run(&["calibrate", "--merge", "both", "1.safetensors"]);
    assert_eq!(twice.code, 2, "{}", twice.out);
    assert!(twice.err.contains("`1.txt` is counted in both"), "{}", twice.err);

    let ids: Vec<i32> = lines.iter().flat_map(|line| line.split(' ')).map(id).collect();
    let tensors = ["input_ids", "attention_mask", "token_type_ids"];
    let contents = [ids, vec![1; 16], vec![0; 16]];
    let listed = tensors.map(|name| (name.to_owned(), Dtype::I32, vec![4, 4]));
    let layout = Layout::new(&listed, &BTreeMap::new()).unwrap();
    let mut file = layout.header.clone();
    for content in contents {
        file.extend(content.iter().flat_map(|id| id.to_le_bytes()));
    }
    fs::write(bench.path("rows.safetensors"), file).unwrap();
    let rows = bench.json(&["calibrate", "q", "rows.safetensors", "-o", "rows"]);
    assert_eq!(rows["data"][0]["samples"], 4);
    assert_eq!(rows["values"], all["values"]);
    // The same ids as numpy saves them.
    let tokens = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/npz/tokens.npz");
    let numpy = bench.json(&["calibrate", "q", tokens, "-o", "numpy"]);
    assert_eq!(numpy["data"][0]["samples"], 4);
    assert_eq!(numpy["values"], all["values"]);
    // A function's own counts are not those of whatever a package is fed as a text.
    let refused = bench.run(&["calibrate", "--merge", "rows", "all.safetensors"]);
    assert_eq!(refused.code, 2, "{}", refused.out);
    assert!(refused.err.contains("different models"), "{}", refused.err);
}

fn id(word: &str) -> i32 {
    match word {
        "a" => 5,
        "b" => 6,
        _ => 7,
    }
}

#[test]
fn an_encoder_needs_no_vector_to_be_counted() {
    let bench = with_encoder("distilbert");
    fs::write(bench.path("text.txt"), "a b\nc a b").unwrap();
    assert_eq!(bench.run(&["embed", "q", "--file", "text.txt"]).code, 3, "it has none");
    let counted = bench.json(&["calibrate", "q", "text.txt", "-o", "counts"]);
    assert_eq!(value(&counted, "layers_0_mlp_sum")["numbers"], 5 * 36, "five tokens");
    assert_eq!(counted["data"][0]["samples"], 2);
}

#[test]
fn what_cannot_be_counted_is_told() {
    let bench = with_encoder("sentence-bert");
    fs::write(bench.path("blank.txt"), "\n \n").unwrap();
    fs::write(bench.path("a.txt"), "a b").unwrap();
    fs::write(bench.path("a.npz"), "a b").unwrap();
    let other = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/npz/stored.npz");
    for (words, code, told) in [
        (&["q", "blank.txt", "-o", "c"][..], 2, "blank.txt gives no sample"),
        (&["q", "none.txt", "-o", "c"], 3, "there is no such file"),
        (&["q", "a.txt"], 2, "--out <FILE>"),
        (&["q", "a.txt", "-o", "none/c"], 2, "there is no folder none"),
        (&["q", "a.txt", "-o", "c", "--function", "main"], 2, "--function chooses"),
        (&["q", "a.txt", "-o", "c", "--observer", "percentile:3"], 2, "unknown observer"),
        (&["q", "none.safetensors", "-o", "c"], 3, "there is no such file"),
        (&["q", "a.npz", "-o", "c"], 3, "it is no .npz"),
        (&["q", other, "-o", "c"], 3, "there is no tensor for it"),
        (&["--merge", "a.txt"], 3, "give a file of `quantize calibrate`"),
        (&["q", "a.txt", "-o", "c", "--merge", "a.txt"], 2, "cannot be used with"),
    ] {
        let said = bench.run(&[&["calibrate"], words].concat());
        assert_eq!(said.code, code, "{words:?}: {}{}", said.out, said.err);
        assert!(said.err.contains(told), "{words:?}: {}", said.err);
        assert!(!bench.path("c").exists());
    }
}

/// The names in the bench's folder, hidden ones included.
fn names(bench: &Bench) -> Vec<String> {
    let entries = fs::read_dir(bench.path("")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

/// `model` with a tokenizer, and `text.txt`.
pub(super) fn with_checkpoint() -> Bench {
    let bench = with_encoder("sentence-bert");
    fs::create_dir(bench.path("model")).unwrap();
    for name in ["config.json", "model.safetensors"] {
        fs::copy(format!("{}/{name}", tiny("sentence-bert")), bench.path(&format!("model/{name}")))
            .unwrap();
    }
    fs::copy(bench.path("q/tokenizer.json"), bench.path("model/tokenizer.json")).unwrap();
    fs::write(bench.path("text.txt"), "a b c\nc c a").unwrap();
    bench
}

#[test]
fn data_take_the_place_of_their_counts() {
    let bench = with_checkpoint();
    assert_eq!(bench.run(&["calibrate", "q", "text.txt", "-o", "counts.txt", "-q"]).code, 0);
    let convert = |input: &str, data: &str, out: &str| {
        let int8 = ["--activations", "int8", "--calibration", data, "--to", "mlpackage"];
        let said = bench.run(&[&[input, "-q", "-o", out][..], &int8].concat());
        assert_eq!(said.code, 0, "{}", said.err);
        let report = fs::read(bench.path(out).join("report.json")).unwrap();
        let report: Value = serde_json::from_slice(&report).unwrap();
        let data = &report["options"]["calibration"][0];
        assert_eq!((&data["file"], &data["samples"]), (&"text.txt".into(), &2.into()));
        let hash = blake3::hash(b"a b c\nc c a").to_hex();
        assert_eq!(data["blake3"], hash.as_str());
        let model = format!("{}.mlpackage", if input == "q" { "sentence-bert" } else { input });
        let model = bench.path(out).join(model).join(MODEL_PATH);
        fs::read(model).unwrap()
    };
    // A file of counts is known by what it holds, and the text counted first comes to the same.
    let stored = convert("model", "counts.txt", "stored");
    assert!(stored == convert("model", "text.txt", "counted"));
    let stored = convert("q", "counts.txt", "package-stored");
    assert!(stored == convert("q", "text.txt", "package"));
    let text = String::from_utf8_lossy(&stored);
    assert!(text.contains("text.txt@"), "a package says what it was calibrated on");
    assert!(text.contains("dequantize"), "there are INT8 activations");
    let made = ["counted", "package", "package-stored", "stored"];
    assert_eq!(
        names(&bench),
        [&["counted", "counts.txt", "model"][..], &made[1..3], &["q", "stored", "text.txt"]]
            .concat()
    );
}

#[test]
fn data_that_fail_leave_nothing_behind() {
    let bench = with_checkpoint();
    fs::write(bench.path("blank.txt"), "\n").unwrap();
    let before = names(&bench);
    for (words, code, told) in [
        (&["model", "--calibration", "blank.txt"][..], 2, "blank.txt gives no sample"),
        (&["model", "--calibration", "none.txt"], 3, "there is no such file"),
        (&["model", "--calibration", "text.txt", "-n"], 2, "none; let `quantize calibrate`"),
        (&["model", "--calibration", "text.txt", "-t", "ios16"], 2, "has no INT8 activations"),
        (&["model", "--calibration", "text.txt", "--layer-package"], 2, "a bare checkpoint"),
        (&["model", "--calibration", "text.txt", "--a16", "."], 2, "no layer"),
    ] {
        let said = bench.run(&[words, &["--activations", "int8", "--to", "mlpackage"]].concat());
        assert_eq!(said.code, code, "{words:?}: {}{}", said.out, said.err);
        assert!(said.err.contains(told), "{words:?}: {}", said.err);
    }
    assert_eq!(names(&bench), before);
}

#[test]
fn an_interrupted_count_leaves_nothing_behind() {
    let bench = with_checkpoint();
    fs::write(bench.path("text.txt"), "a b c a b c a c\n".repeat(200_000)).unwrap();
    let before = names(&bench);
    let words = ["model", "--activations", "int8", "--calibration", "text.txt", "-o", "out", "-q"];
    let mut child = bench.command(&words).spawn().unwrap();
    let room = bench.path(&format!(".out.twolane-{}", child.id())).join("float/report.json");
    let since = std::time::Instant::now();
    while !room.is_file() {
        assert!(since.elapsed().as_secs() < 60 && child.try_wait().unwrap().is_none());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let id = child.id().to_string();
    let told = std::process::Command::new("kill").args(["-INT", &id]).status().unwrap();
    assert!(told.success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(names(&bench), before);
}

/// A folder of three drawn images of 32 × 32 pixels, and the inputs that they are.
fn draw_images(bench: &Bench) {
    fs::create_dir_all(bench.path("pictures/more")).unwrap();
    let names = ["pictures/b.png", "pictures/more/a.png", "pictures/a.png"];
    let mut inputs = BTreeMap::new();
    for (seed, name) in (1..).zip(names) {
        let mut state: u32 = seed;
        let mut drawn = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let pixels: Vec<u8> = (0..32 * 32 * 3).map(|_| drawn()).collect();
        image::save_buffer(bench.path(name), &pixels, 32, 32, image::ColorType::Rgb8).unwrap();
        let scaled = |&x: &u8| ((f64::from(x) / 255.0) as f32 - 0.5) / 0.5;
        let plane = |channel| pixels.iter().skip(channel).step_by(3).map(scaled);
        inputs.insert(name, (0..3).flat_map(plane).collect::<Vec<f32>>());
    }
    let tensor = ("pixel_values".to_owned(), Dtype::F32, vec![3, 3, 32, 32]);
    let mut file = Layout::new(&[tensor], &BTreeMap::new()).unwrap().header;
    file.extend(inputs.values().flatten().flat_map(|x| x.to_le_bytes()));
    fs::write(bench.path("rows.safetensors"), file).unwrap();
}

const PROCESSOR: &str = r#"{"image_processor_type": "ViTImageProcessor", "do_resize": false,
    "rescale_factor": 0.00392156862745098}"#;

#[test]
fn a_folder_of_images_is_counted_as_its_inputs_are() {
    let bench = Bench::new();
    draw_images(&bench);
    let words = ["--scheme", "float16", "--to", "mlpackage", "-q", "-o"];
    for (name, unit) in [("vit", "gpu"), ("resnet-basic", "gpu"), ("vit", "ane")] {
        let out = format!("{name}-{unit}");
        let said =
            bench.run(&[&[tiny(name).as_str(), "--unit", unit], &words[..], &[&out]].concat());
        assert_eq!(said.code, 0, "{}", said.err);
        let refused = bench.run(&["calibrate", &out, "pictures", "-o", "c"]);
        assert_eq!(refused.code, 2, "{}", refused.err);
        assert!(refused.err.contains("there is no"), "{}", refused.err);
        fs::write(bench.path(&out).join("preprocessor_config.json"), PROCESSOR).unwrap();
        let rows = bench.json(&["calibrate", &out, "rows.safetensors", "-o", "rows"]);
        if name == "resnet-basic" {
            // Its function takes any size, and nothing says which these have.
            let said = bench.run(&["calibrate", &out, "pictures", "-o", "c"]);
            assert_eq!(said.code, 3, "{}", said.err);
            assert!(said.err.contains("images of different sizes"), "{}", said.err);
            let sized = PROCESSOR.replace("false", r#"true, "size": 32"#);
            fs::write(bench.path(&out).join("preprocessor_config.json"), sized).unwrap();
        }
        let images = bench.json(&["calibrate", &out, "pictures", "-o", "images"]);
        assert_eq!(images["values"], rows["values"], "{out}");
        assert_eq!(images["data"][0]["file"], "pictures");
        assert_eq!(images["data"][0]["samples"], 3);
    }
    fs::write(bench.path("pictures/more/b.png"), "broken").unwrap();
    let said = bench.run(&["calibrate", "vit-gpu", "pictures", "-o", "c"]);
    assert_eq!(said.code, 3, "{}", said.err);
    assert!(said.err.contains("more/b.png: it is neither PNG nor JPEG"), "{}", said.err);
    let sized = PROCESSOR.replace("false", r#"true, "size": 64"#);
    fs::write(bench.path("vit-gpu/preprocessor_config.json"), sized).unwrap();
    let said = bench.run(&["calibrate", "vit-gpu", "pictures", "-o", "c"]);
    assert!(said.err.contains("it makes images of 64 × 64 pixels"), "{}", said.err);
    assert!(!bench.path("c").exists());
}

#[test]
fn a_checkpoint_is_quantized_by_images() {
    let bench = Bench::new();
    draw_images(&bench);
    fs::create_dir(bench.path("model")).unwrap();
    for name in ["config.json", "model.safetensors"] {
        fs::copy(format!("{}/{name}", tiny("vit")), bench.path("model").join(name)).unwrap();
    }
    fs::write(bench.path("model/preprocessor_config.json"), PROCESSOR).unwrap();
    let int8 = ["--activations", "int8", "--calibration", "pictures", "--to", "mlpackage"];
    let said = bench.run(&[&["model", "-q", "-o", "q"], &int8[..]].concat());
    assert_eq!(said.code, 0, "{}", said.err);
    let report: Value =
        serde_json::from_slice(&fs::read(bench.path("q/report.json")).unwrap()).unwrap();
    assert_eq!(report["options"]["calibration"][0]["file"], "pictures");
    // The same choice as on the inputs that the images are.
    let chosen = |data: &str, out: &str| {
        let auto =
            ["--scheme", "auto", "--target-bpw", "7", "--data", data, "--min-elements", "64"];
        let said =
            bench.run(&[&["model", "-q", "-o", out, "--to", "mlpackage"], &auto[..]].concat());
        assert_eq!(said.code, 0, "{}", said.err);
        let plan = fs::read_to_string(bench.path(&format!("{out}.plan.toml"))).unwrap();
        plan.lines().filter(|line| !line.contains("data")).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(chosen("pictures", "by-images"), chosen("rows.safetensors", "by-rows"));
}

#[test]
fn counts_without_a_use_are_refused() {
    let bench = with_checkpoint();
    for more in [&[][..], &["--scheme", "palette-4"], &["--dry-run"]] {
        let words = ["model", "--calibration", "text.txt", "-o", "out"];
        let said = bench.run(&[&words[..], more].concat());
        assert_eq!(said.code, 2, "{}", said.out);
        assert!(said.err.contains("--calibration: nothing would be decided by it"), "{}", said.err);
        assert!(!bench.path("out").exists());
    }
}

#[test]
fn padding_of_a_fixed_length_is_not_counted() {
    for (model, more) in
        [("sentence-bert", &[][..]), ("sentence-bert", &["-t", "ios16"]), ("roberta", &[])]
    {
        let bench = with_encoder(model);
        fs::write(bench.path("text.txt"), "a b c a\nc c b a\nb b b b").unwrap();
        let counted = |context: &str| {
            let words = ["--scheme", "float16", "--to", "mlpackage", "-q", "--unit", "ane"];
            let out = format!("fixed-{context}");
            let named = [tiny(model), "--context".into(), context.into(), "-o".into(), out.clone()];
            let named: Vec<&str> = named.iter().map(String::as_str).collect();
            let said = bench.run(&[&named, &words[..], more].concat());
            assert_eq!(said.code, 0, "{}", said.err);
            let tokenizer = fs::read(bench.path("q/tokenizer.json")).unwrap();
            fs::write(bench.path(&out).join("tokenizer.json"), tokenizer).unwrap();
            let words = [
                "calibrate",
                &out,
                "text.txt",
                "--json",
                "--hessians",
                "-o",
                &format!("c{context}"),
            ];
            let said = bench.run(&words);
            assert_eq!((said.code, said.err.as_str()), (0, ""));
            serde_json::from_str::<Value>(&said.out).unwrap()
        };
        // As long as the texts, and five times that.
        let (exact, padded) = (counted("4"), counted("20"));
        let values = |of: &Value| of["values"].as_array().unwrap().clone();
        assert_eq!(values(&exact).len(), values(&padded).len());
        for value in values(&exact) {
            let name = value["name"].as_str().unwrap();
            let other = self::value(&padded, name);
            assert_eq!(value["numbers"], other["numbers"], "{model}: {name}");
            // Sums of other lengths may round otherwise.
            for (place, of) in
                [("/extremes/low", 1e-3), ("/extremes/high", 1e-3), ("/columns", 1e-2)]
            {
                let both =
                    [&value, other].map(|value| value.pointer(place).and_then(Value::as_f64));
                match both {
                    [Some(a), Some(b)] => {
                        assert!((a - b).abs() <= of * a.abs().max(0.1), "{model}: {name}: {a} {b}");
                    }
                    both => assert_eq!(both[0], both[1], "{model}: {name}"),
                }
            }
        }
    }
}

#[test]
fn importance_comes_from_llama_cpp_as_well() {
    let bench = Bench::new();
    let fixture = |name: &str| format!("{}/fixtures/imatrix/{name}", env!("CARGO_MANIFEST_DIR"));
    let convert = |model: &str, data: &str, more: &[&str]| {
        let (model, data) = (tiny(model), fixture(data));
        let words = [&model, "--calibration", &data, "--min-elements", "16", "--to", "dense"];
        bench.run(&[&words[..], &["--scheme", "palette-3", "-q", "--force"], more].concat())
    };
    let weighted = convert("llama", "llama.gguf", &["--importance", "-o", "weighted"]);
    assert_eq!(weighted.code, 0, "{}", weighted.err);
    let report = fs::read(bench.path("weighted/report.json")).unwrap();
    let report: Value = serde_json::from_slice(&report).unwrap();
    assert_eq!(report["options"]["imatrix"]["file"], "llama.gguf");
    assert_eq!(report["options"]["imatrix"]["datasets"][0], "calibration.txt");
    let notes = |name: &str| {
        let tensors = report["tensors"].as_array().unwrap();
        tensors.iter().find(|tensor| tensor["name"] == name).unwrap()["notes"].to_string()
    };
    let query = notes("model.layers.1.self_attn.q_proj.weight");
    assert!(query.contains("errors weighted by E[x²] of blk.1.attn_q.weight"), "{query}");
    assert!(notes("lm_head.weight").contains("not in the imatrix: output.weight"));
    // The layers of a bare checkpoint have names as well.
    let bare = convert("llama", "llama.gguf", &["--importance", "--layer-package", "-o", "bare"]);
    assert_eq!(bare.code, 0, "{}", bare.err);
    let said = bench.run(&[
        &tiny("llama"),
        "--min-elements",
        "16",
        "--to",
        "dense",
        "-q",
        "-o",
        "plain",
        "-s",
        "palette-3",
    ]);
    assert_eq!(said.code, 0, "{}", said.err);
    let read = |out: &str| {
        let folder = fs::read_dir(bench.path(out)).unwrap();
        let mut files = folder.map(|entry| entry.unwrap().path());
        fs::read(files.find(|path| path.extension().is_some_and(|e| e == "safetensors")).unwrap())
            .unwrap()
    };
    assert!(read("weighted") != read("plain"), "other codes are chosen");
    assert!(read("weighted") == read("bare"));

    for (model, data, more, code, told) in [
        ("llama", "llama.gguf", &["--gptq"][..], 2, "--gptq: "),
        ("llama", "llama.gguf", &["--activations", "int8"], 2, "which knows the mean square"),
        ("llama", "llama.gguf", &[], 2, "nothing would be decided by it"),
        (
            "llama",
            "legacy.dat",
            &["--importance"],
            3,
            "llama-imatrix --in-file legacy.dat -o imatrix.gguf",
        ),
        ("llama", "moe.gguf", &["--importance"], 2, "knows the input of none of the weights"),
        ("bert", "llama.gguf", &["--importance"], 2, "knows the input of none of the weights"),
        ("qwen3", "llama.gguf", &["--importance"], 3, "are not its own"),
    ] {
        let said = convert(model, data, &[more, &["-o", "refused"]].concat());
        assert_eq!(said.code, code, "{model} {data} {more:?}: {}", said.err);
        assert!(said.err.contains(told), "{model} {data} {more:?}: {}", said.err);
        assert!(!bench.path("refused").exists());
    }
}
