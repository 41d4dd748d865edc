//! Classifiers of images: hidden values and logits.

use super::{Expected, apart, described, folder, observed, values};
use twolane::graph::DataType;
use twolane::model::architectures::Model;
use twolane::model::emit::Style;
use twolane::model::vision;
use twolane::runtime::{Backend, Cpu, Reference, Tensor, Tensors};
use twolane::target::Target;

#[test]
fn what_images_become_is_that_of_transformers() {
    let mut far = Vec::new();
    // The names of the values that transformers returns as hidden states, the last one excepted.
    let cases: [(&str, &[&str]); 3] = [
        ("resnet-basic", &["embedded", "stages_0_blocks_0_active"]),
        ("resnet-bottleneck", &["embedded", "stages_0_blocks_0_active"]),
        ("vit", &["embedded_placed", "layers_0_mlp_sum", "layers_1_mlp_sum"]),
    ];
    for (name, on_the_way) in cases {
        let (whole, weights) = described(&folder(name), None);
        let Model::Vision(described) = &whole.model else { panic!("{name} sees no images") };
        let expected = Expected::of(name);
        let pixels = expected.floats("pixel_values").unwrap();
        let image = pixels.len() / 2;
        for (target, backend) in
            [(Target::Ios16, &Reference::default() as &dyn Backend), (Target::Ios18, &Cpu)]
        {
            let float = DataType::Float32;
            let built = vision::Options { style: Style::Gpu, float, target };
            let program = vision::build(described, &weights, &built).unwrap();
            let function = &program.functions["main"];
            for (i, pixels) in pixels.chunks(image).enumerate() {
                let shape = vec![1, 3, 32, 32];
                let shapes = [("pixel_values".to_owned(), shape.clone())].into();
                let pixels = ndarray::ArrayD::from_shape_vec(shape, pixels.to_vec()).unwrap();
                let pixels = Tensor::float(DataType::Float32, pixels);
                let inputs = Tensors::from([("pixel_values".to_owned(), pixels)]);
                let shown = |name: &str| on_the_way.contains(&name);
                let (_, hidden) = observed(function, &inputs, &shown);
                let mut outputs = Tensors::new();
                let mut prepared = backend.prepare(function, &shapes).unwrap();
                prepared.run(&inputs, &mut Tensors::new(), &mut outputs).unwrap();
                let last = on_the_way.len();
                let ways = on_the_way.iter().enumerate();
                let ways = ways.map(|(n, way)| (format!("hidden.{n}"), hidden[*way].clone()));
                let ends = [
                    (format!("hidden.{last}"), values(&outputs["last_hidden_state"])),
                    ("last_hidden_state".to_owned(), values(&outputs["last_hidden_state"])),
                    ("logits".to_owned(), values(&outputs["logits"])),
                ];
                for (key, got) in ways.chain(ends) {
                    let want = expected.floats(&key).unwrap();
                    let want = &want[i * want.len() / 2..(i + 1) * want.len() / 2];
                    let worst = apart(&got, want);
                    if worst > 1e-5 {
                        far.push(format!(
                            "{name} on {}, {key} of {i}: {worst:.1e}",
                            backend.name()
                        ));
                    }
                }
                assert!(!expected.0.contains_key(&format!("hidden.{}", last + 1)), "{name}");
            }
        }
    }
    assert!(far.is_empty(), "{far:?}");
}

#[test]
fn channels_first_give_the_same() {
    for (name, side) in [("resnet-basic", 224), ("resnet-bottleneck", 224), ("vit", 32)] {
        let (whole, weights) = described(&folder(name), None);
        let Model::Vision(described) = &whole.model else { panic!("{name} sees no images") };
        let shape = [1, 3, side, side];
        let pixels = ndarray::ArrayD::from_shape_fn(&shape[..], |at| {
            let [_, channel, y, x] = [at[0], at[1], at[2], at[3]];
            ((y * 7 + x * 3 + channel * 11) as f32 * 0.1).sin()
        });
        let pixels = Tensor::float(DataType::Float32, pixels);
        let inputs = Tensors::from([("pixel_values".to_owned(), pixels)]);
        let shapes = [("pixel_values".to_owned(), shape.to_vec())].into();
        let outputs = [Style::Gpu, Style::Ane].map(|style| {
            let float = DataType::Float32;
            let built = vision::Options { style, float, target: Target::Ios18 };
            let program = vision::build(described, &weights, &built).unwrap();
            let function = &program.functions["main"];
            assert_eq!(function.check(Target::Ios18), [], "{name}");
            let mut outputs = Tensors::new();
            let mut prepared = Cpu.prepare(function, &shapes).unwrap();
            prepared.run(&inputs, &mut Tensors::new(), &mut outputs).unwrap();
            outputs
        });
        for (output, want) in &outputs[0] {
            let got = &outputs[1][output];
            assert_eq!(got.shape(), want.shape(), "{name}, {output}");
            let worst = apart(&values(got), &values(want));
            assert!(worst <= 1e-5, "{name}, {output}: {worst}");
        }
    }
}
