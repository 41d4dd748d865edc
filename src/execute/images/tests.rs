//! Pictures beside what Pillow and transformers make of them (`fixtures/images`).

use super::resample::{Filter, resize};
use super::*;
use crate::source::Source;
use serde_json::Value;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/images")
}

fn expected() -> Source {
    Source::open(fixtures().join("expected.safetensors")).unwrap()
}

fn picture(name: &str, channels: usize) -> Picture {
    decode::decode(&fixtures().join("pictures").join(name), channels).unwrap()
}

#[test]
fn sizes_are_pillows_bit_for_bit() {
    let expected = expected();
    let mut compared = 0;
    for tensor in expected.tensors() {
        let Some(rest) = tensor.name.strip_prefix("resize/") else { continue };
        let filter = Filter::numbered(rest[..1].parse().unwrap()).unwrap();
        let sides = [tensor.shape[0], tensor.shape[1]];
        let got = resize(picture("color.png", 3), sides, filter);
        assert_eq!([got.height, got.width], sides);
        assert_eq!(got.bytes, expected.bytes(tensor), "{}", tensor.name);
        compared += 1;
    }
    assert_eq!(compared, 36);
}

#[test]
fn images_are_turned_as_exif_says() {
    let expected = expected();
    for orientation in 1..=8 {
        let wanted = format!("turned/{orientation}");
        let wanted = expected.tensors().iter().find(|t| t.name == wanted).unwrap();
        let path = fixtures().join(format!("turned/{orientation}.png"));
        let got = decode::decode(&path, 3).unwrap();
        assert_eq!([got.height, got.width, 3], wanted.shape[..], "{orientation}");
        assert_eq!(got.bytes, expected.bytes(wanted), "{orientation}");
    }
}

#[test]
fn gray_is_pillows() {
    let expected = expected();
    for name in ["color.png", "alpha.png", "gray.png", "palette.png"] {
        let wanted = format!("gray/{name}");
        let wanted = expected.tensors().iter().find(|t| t.name == wanted).unwrap();
        let got = picture(name, 1);
        assert_eq!([got.height, got.width], wanted.shape[..]);
        assert_eq!(got.bytes, expected.bytes(wanted), "{name}");
    }
}

/// How far apart numbers are at the most.
fn apart(got: &[f32], wanted: &[u8]) -> f32 {
    let wanted = wanted.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
    assert_eq!(got.len(), wanted.len());
    got.iter().zip(wanted).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

#[test]
fn inputs_are_those_of_transformers() {
    let expected = expected();
    let cases: Value = serde_json::from_str(&expected.files()[0].metadata()["cases"]).unwrap();
    for (case, words) in cases.as_object().unwrap() {
        let bytes = serde_json::to_vec(words).unwrap();
        let processor = Processor::parse("preprocessor_config.json", &bytes, None).unwrap();
        let values = processor.values(3);
        // What one step of a pixel is worth.
        let step = values.iter().map(|of| of[1] - of[0]).fold(0.0, f32::max);
        for tensor in expected.tensors() {
            let Some(name) = tensor.name.strip_prefix(&format!("{case}/")) else { continue };
            let shaped = processor.shape(picture(name, 3)).unwrap();
            assert_eq!(tensor.shape, [3, shaped.height, shaped.width]);
            let plane = |channel: usize| {
                let values = &values[channel];
                let of_this = shaped.bytes.iter().skip(channel).step_by(3);
                of_this.map(|&x| values[usize::from(x)])
            };
            let got: Vec<f32> = (0..3).flat_map(plane).collect();
            let worst = apart(&got, expected.bytes(tensor));
            println!("{case}/{name}: {worst:e}, {:.2} steps", worst / step);
            match name.ends_with("png") {
                true => assert_eq!(worst, 0.0, "{case}/{name}"),
                // Decoders of JPEG may round the cosine transform and colors as they like.
                false => assert!(worst <= 3.01 * step, "{case}/{name}: {worst}"),
            }
        }
    }
}

/// What is told of a processor's file.
fn refused(words: &str, model: Option<&str>) -> String {
    Processor::parse("p.json", words.as_bytes(), model).unwrap_err().to_string()
}

#[test]
fn processors_are_understood_or_refused_by_name() {
    let vit = |more: &str| {
        refused(&format!(r#"{{"image_processor_type": "ViTImageProcessor"{more}}}"#), None)
    };
    let clip = |more: &str| {
        refused(&format!(r#"{{"feature_extractor_type": "CLIPFeatureExtractor"{more}}}"#), None)
    };
    let told = [
        refused("[]", None),
        refused("{}", Some("llama")),
        refused(r#"{"image_processor_type": "SamImageProcessorFast"}"#, None),
        vit(r#", "do_pad": true, "pad_size": {"height": 3, "width": 4}"#),
        vit(r#", "size": {"longest_edge": 30}"#),
        vit(r#", "size": {"shortest_edge": 30, "longest_edge": 40}"#),
        vit(r#", "size": 1000000"#),
        vit(r#", "resample": 6"#),
        vit(r#", "image_std": [0.5, 0.5, 0]"#),
        vit(r#", "image_mean": "none""#),
        clip(r#", "crop_size": {"shortest_edge": 30}"#),
        refused(r#"{"size": {"height": 3, "width": 4}}"#, Some("resnet")),
        refused(r#"{"size": 300, "crop_pct": 1e-9}"#, Some("resnet")),
    ];
    insta::assert_snapshot!(told.join("\n"), @r#"
    p.json: it holds no JSON object; give the model's own p.json
    p.json: it does not say which image processor it is for; add image_processor_type, as the model's page has it
    p.json: its image processor is SamImageProcessorFast; ViTImageProcessor, DeiTImageProcessor, ConvNextImageProcessor, CLIPImageProcessor, BitImageProcessor are supported; give a .safetensors or .npz file of inputs
    p.json: keys that are not understood may change the arithmetic: `do_pad`: true, `pad_size`: {"height":3,"width":4}; set those that change no pixel to null
    p.json, `size`: `height` is missing; give a size
    p.json, `size`: keys that are not understood may change the arithmetic: `longest_edge`: 40; leave shortest_edge, or height and width
    p.json: `size` is 1000000; it must give images of 1 to 16384 pixels a side
    p.json: `resample` is 6; it must be a number from 0 to 5
    p.json: `image_std` is [0.5,0.5,0]; it must be numbers above 0
    p.json: `image_mean` is "none"; it must be a list of numbers
    p.json: `crop_size` is {"shortest_edge":30}; it must be a height and a width
    p.json: `size` is {"height":3,"width":4}; it must be {"shortest_edge": N}
    p.json: `crop_pct` is 1e-9; it must give images of 1 to 16384 pixels a side
    "#);
    // As the folders of google/vit-base-patch16-224 and microsoft/resnet-50 have them.
    let vit = r#"{"do_normalize": true, "do_resize": true, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5], "size": 224}"#;
    let vit = Processor::parse("p", vit.as_bytes(), Some("vit")).unwrap();
    assert_eq!(vit.sides(), Some([224, 224]));
    let resnet = r#"{"crop_pct": 0.875, "do_normalize": true, "do_resize": true, "feature_extractor_type": "ConvNextFeatureExtractor",
        "image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225], "resample": 3, "size": 224}"#;
    let resnet = Processor::parse("p", resnet.as_bytes(), None).unwrap();
    assert_eq!(resnet.sides(), Some([224, 224]));
}

#[test]
fn files_that_are_no_image_are_told_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
    let read = |name: &str| std::fs::read(fixtures().join("pictures").join(name)).unwrap();
    let (png, jpeg) = (read("color.png"), read("whole.JPEG"));
    put("cut.png", &png[..png.len() / 2]);
    put("cut.jpg", &jpeg[..jpeg.len() / 2]);
    put("text.png", b"no image");
    // Width and height of 65,535: the checksum behind them is that of the header.
    let mut vast = png.clone();
    vast[16..24].copy_from_slice(&[0, 0, 0xFF, 0xFF, 0, 0, 0xFF, 0xFF]);
    let mut crc = flate2::Crc::new();
    crc.update(&vast[12..29]);
    vast[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    put("vast.png", &vast);
    let deep = folder.path().join("deep.png");
    image::ImageBuffer::<image::Luma<u16>, _>::from_raw(2, 1, vec![1, 60_000])
        .unwrap()
        .save(deep)
        .unwrap();
    let told = ["cut.png", "cut.jpg", "text.png", "vast.png", "deep.png"].map(|name| {
        let Err(error) = decode::decode(&folder.path().join(name), 3) else { panic!("{name}") };
        let told = error.to_string();
        told[told.find(name).unwrap()..].to_owned()
    });
    insta::assert_snapshot!(told.join("\n"), @r"
    cut.png: it cannot be decoded: unexpected end of file; give a whole PNG or JPEG, or take it away
    cut.jpg: its data end early; give a whole PNG or JPEG, or take it away
    text.png: it is neither PNG nor JPEG; convert it, or take it away
    vast.png: it has 65535 × 65535 pixels; give images of 134217728 pixels at the most
    deep.png: its pixels are L16; save it with 8 bits a channel
    ");
}

#[test]
fn folders_are_read_by_name_and_nothing_is_left_out_in_silence() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("b")).unwrap();
    for name in ["c.png", "b/2.JPG", "b/1.jpeg", "a.png", ".hidden.png", "labels.txt"] {
        std::fs::write(folder.path().join(name), name).unwrap();
    }
    let found = Folder::open(folder.path()).unwrap();
    let names = |folder_of: &Folder| -> Vec<String> {
        let name = |file: &PathBuf| file.strip_prefix(folder.path()).unwrap().display().to_string();
        folder_of.files.iter().map(name).collect()
    };
    assert_eq!(names(&found), ["a.png", "b/1.jpeg", "b/2.JPG", "c.png"]);
    assert_eq!(names(&found.spread(2)), ["a.png", "b/2.JPG"]);
    let hash = found.hash().unwrap();
    std::fs::write(folder.path().join("a.png"), "other").unwrap();
    assert_ne!(found.hash().unwrap(), hash);
    std::fs::write(folder.path().join("b/x.WebP"), "").unwrap();
    assert!(Folder::open(folder.path()).unwrap_err().to_string().contains("x.WebP: PNG and JPEG"));
}

#[test]
fn the_middle_has_zeros_around_a_small_image() {
    let bytes = (1..=6).collect();
    let small = Picture { width: 3, height: 2, channels: 1, bytes };
    assert_eq!(small.middle([1, 1]).bytes, [2]);
    assert_eq!(small.middle([2, 2]).bytes, [1, 2, 4, 5]);
    assert_eq!(small.middle([3, 2]).bytes, [0, 0, 1, 2, 4, 5]);
    assert_eq!(small.middle([3, 6]).bytes, [0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 0, 0, 0, 4, 5, 6, 0]);
}
