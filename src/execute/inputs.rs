//! What a function is fed.

use super::convert::{Stored, check_pixels, convert};
use super::sizes::sizes;
use super::{draw, key};
use crate::generate::Script;
use crate::graph::{Feature, Function, Program, ValueType};
use crate::model::decoder::ane::Host;
use crate::runtime::{Data, Shapes, Tensors};
use crate::source::Source;
use crate::{Error, Result};
use std::collections::BTreeMap;

/// The most steps of one run.
const MOST_STEPS: usize = 1 << 16;

/// Steps of tensors by the names of inputs, and states to begin with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inputs {
    /// One map a step.
    pub steps: Vec<Tensors>,
    /// What states hold before the first step; those that are missing are zero.
    pub states: Tensors,
}

impl Inputs {
    /// Draws `steps` steps for a function of this name, in the default shapes; see [`draw()`]. Of a
    /// language model that takes some tokens at a time, position, masks and angles are not drawn:
    /// they are those of a text, whose tokens are the ids of one step after the other. `host` is what
    /// the package says of them.
    ///
    /// # Errors
    /// As [`draw()`].
    pub fn drawn(
        name: &str,
        function: &Function,
        host: Option<&Host>,
        steps: usize,
    ) -> Result<Self> {
        let script = Script::of(function, host);
        let default = |step| script.as_ref().map(|s| s.shapes(step)).unwrap_or_default();
        Self::of_shapes(name, function, script.as_ref(), steps, &default)
    }

    /// The same in the [`Self::sampled_shapes`]. In every second sample the last quarter of an
    /// `attention_mask` says that there is no token.
    ///
    /// # Errors
    /// As [`draw()`].
    pub(crate) fn sampled(
        name: &str,
        function: &Function,
        script: Option<&Script>,
        steps: usize,
    ) -> Result<Self> {
        let shapes = |step| Self::sampled_shapes(function, script, step);
        let mut inputs = Self::of_shapes(name, function, script, steps, &shapes)?;
        for sample in inputs.steps.iter_mut().skip(1).step_by(2) {
            let mask = sample.get_mut("attention_mask").map(|mask| &mut mask.data);
            if let Some(Data::Int(mask)) = mask
                && let [1, count] = *mask.shape()
            {
                mask.iter_mut().skip(count - count / 4).for_each(|token| *token = 0);
            }
        }
        Ok(inputs)
    }

    /// The shapes that sample number `step` is recorded at, where they are not fixed: those of a text
    /// in steps, else all [`sizes`] in turn.
    pub(crate) fn sampled_shapes(
        function: &Function,
        script: Option<&Script>,
        step: usize,
    ) -> Shapes {
        let mut shapes = sizes(function, step);
        shapes.extend(script.map(|script| script.shapes(step)).unwrap_or_default());
        shapes
    }

    fn of_shapes(
        name: &str,
        function: &Function,
        script: Option<&Script>,
        steps: usize,
        shapes: &dyn Fn(usize) -> Shapes,
    ) -> Result<Self> {
        let step = |step| {
            let mut inputs = draw(function, &format!("{name}/{step}"), &shapes(step))?;
            if let Some(script) = script {
                script.put(step, &mut inputs)?;
            }
            Ok(inputs)
        };
        Ok(Self { steps: (0..steps).map(step).collect::<Result<_>>()?, states: Tensors::new() })
    }

    /// Takes the inputs of `function` from a file, whose names say what they are for: see [`key`].
    /// Numbers become the declared types, an optional input that the file lacks its default value.
    /// Without `steps`, there are as many as the file has.
    ///
    /// # Errors
    /// [`Error::Usage`] for more steps than the file has; [`Error::Input`] for an input that is
    /// missing, given twice, or does not fit what the function declares, and for what is no pixel.
    pub fn read(
        file: &Source,
        program: &Program,
        name: &str,
        steps: Option<usize>,
    ) -> Result<Self> {
        let function = &program.functions[name];
        let file_name = name_of(file);
        let place = |key: &str| format!("{file_name}, `{key}`");
        let features: BTreeMap<&str, &Feature> =
            function.inputs.iter().map(|f| (function.value(f.value).name.as_str(), f)).collect();
        // By step (None: every one) and input.
        let mut given: BTreeMap<Option<usize>, Tensors> = BTreeMap::new();
        let mut states = Tensors::new();
        for tensor in file.tensors() {
            let is_function = |word: &str| program.functions.contains_key(word);
            let Some(key) = key::parse(&tensor.name, &is_function) else { continue };
            let Some(feature) = features.get(key.name) else { continue };
            let is_state = matches!(function.value(feature.value).ty, ValueType::State(_));
            if key.function.is_some_and(|meant| meant != name) || is_state != key.is_state {
                continue;
            }
            let (dtype, shape) = (tensor.dtype, tensor.shape.as_slice());
            let stored = Stored { dtype, shape, bytes: file.bytes(tensor) };
            let converted = convert(stored, function, feature).map_err(|why| {
                let remedy = format!("store it as what function `{name}` declares");
                Error::input(place(&tensor.name), format!("input `{}` {why}", key.name), remedy)
            })?;
            if let Err(why) = check_pixels(&converted, feature.image) {
                let remedy =
                    "give pixels as an image file has them: the package scales them itself";
                let found = format!("input `{}` {why}", key.name);
                return Err(Error::input(place(&tensor.name), found, remedy));
            }
            let group = match is_state {
                true => &mut states,
                false => given.entry(key.step).or_default(),
            };
            if group.insert(key.name.into(), converted).is_some() {
                let found = format!("input `{}` is given twice", key.name);
                return Err(Error::input(place(&tensor.name), found, "leave one of them out"));
            }
        }
        let common = given.remove(&None).unwrap_or_default();
        let in_file = given.keys().next_back().map_or(0, |last| last.map_or(0, |last| last + 1));
        let count = match (steps, in_file) {
            (None, n) => n.max(1),
            (Some(asked), n) if n == 0 || asked <= n => asked,
            (Some(asked), n) => {
                return Err(Error::Usage(format!(
                    "--steps {asked}: {file_name} has inputs of {n} steps"
                )));
            }
        };
        if count > MOST_STEPS {
            return Err(Error::Usage(format!("{count} steps are more than {MOST_STEPS}")));
        }
        let step = |step: usize| {
            let mut tensors = common.clone();
            for (input, tensor) in given.get(&Some(step)).into_iter().flatten() {
                if tensors.insert(input.clone(), tensor.clone()).is_some() {
                    let found = format!("input `{input}` is given with and without a step");
                    return Err(Error::input(&*file_name, found, "leave one of them out"));
                }
            }
            for (input, feature) in &features {
                let is_tensor = matches!(function.value(feature.value).ty, ValueType::Tensor(_));
                if !is_tensor || tensors.contains_key(*input) {
                    continue;
                }
                let remedy = || format!("add a tensor `{input}` or `in.{input}`; {}", held(file));
                let default = draw::left_out(function, feature, None).map_err(|why| {
                    let found = format!("input `{input}` of function `{name}` is left out: {why}");
                    Error::input(&*file_name, found, remedy())
                })?;
                let default = default.ok_or_else(|| {
                    let of = format!("input `{input}` of function `{name}` is missing");
                    let found = if count == 1 { of } else { format!("{of} in step {step}") };
                    Error::input(&*file_name, found, remedy())
                })?;
                tensors.insert((*input).into(), default);
            }
            Ok(tensors)
        };
        Ok(Self { steps: (0..count).map(step).collect::<Result<_>>()?, states })
    }
}

/// A file's own name; a folder's, of several files.
fn name_of(file: &Source) -> String {
    let own = match file.files() {
        [one] => one.path().file_name(),
        _ => None,
    };
    own.map_or_else(|| file.stem().into(), |name| name.to_string_lossy().into_owned())
}

/// The first names in a file, for one who misses a name.
fn held(file: &Source) -> String {
    const SHOWN: usize = 8;
    let names: Vec<_> =
        file.tensors().iter().take(SHOWN).map(|tensor| format!("`{}`", tensor.name)).collect();
    match file.tensors().len() {
        0 => "the file is empty".into(),
        n if n > SHOWN => format!("the file has {} and {} more", names.join(", "), n - SHOWN),
        _ => format!("the file has {}", names.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::execute::write_outputs;
    use crate::graph::{Builder, DataType, Sizes, TensorType};
    use crate::runtime::Tensor;
    use ndarray::ArrayD;

    /// Functions `a` and `b` of an input `x` [2] and a state `k` [1].
    fn program() -> Program {
        let mut builder = Builder::new();
        let ty = |n| TensorType::fixed(DataType::Float32, &[n]);
        let x = builder.input("x", ty(2), Sizes::Fixed).unwrap();
        builder.state("k", ty(1)).unwrap();
        builder.output(x, "");
        let function = builder.finish();
        let functions = [("a".into(), function.clone()), ("b".into(), function)].into();
        Program { functions, ..Program::default() }
    }

    /// Reads the inputs of `a` from a file of these tensors: key, elements.
    fn read(tensors: &[(&str, &[f32])], steps: Option<usize>) -> Result<Inputs> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("in.safetensors");
        let tensor = |values: &[f32]| {
            let array = ArrayD::from_shape_vec(vec![values.len()], values.to_vec()).unwrap();
            Tensor::float(DataType::Float32, array)
        };
        let stored: Vec<_> = tensors.iter().map(|(key, v)| (key.to_string(), tensor(v))).collect();
        write_outputs(&path, &stored.iter().map(|(key, t)| (key.clone(), t)).collect()).unwrap();
        Inputs::read(&Source::open(&path).unwrap(), &program(), "a", steps)
    }

    fn x(inputs: &Inputs, step: usize) -> &[f32] {
        inputs.steps[step]["x"].as_float().unwrap().as_slice().unwrap()
    }

    #[test]
    fn steps_functions_and_states_are_told_apart() {
        let both: &[(&str, &[f32])] = &[
            ("a.step0.in.x", &[1.0, 2.0]),
            ("step1.x", &[3.0, 4.0]),
            ("b.in.x", &[9.0, 9.0]),
            ("state.k", &[7.0]),
            ("out.x", &[0.0]),
            ("x.weight", &[0.0]),
        ];
        let inputs = read(both, None).unwrap();
        assert_eq!(
            (inputs.steps.len(), x(&inputs, 0), x(&inputs, 1)),
            (2, &[1.0, 2.0][..], &[3.0, 4.0][..])
        );
        assert_eq!(inputs.states["k"].shape(), [1]);
        assert_eq!(read(both, Some(1)).unwrap().steps.len(), 1);
        let one = read(&[("in.x", &[1.0, 2.0])], Some(3)).unwrap();
        assert_eq!((one.steps.len(), x(&one, 2)), (3, &[1.0, 2.0][..]), "without a step: of each");
    }

    #[test]
    fn an_optional_input_has_its_default_value_and_an_image_its_pixels() {
        let mut builder = Builder::new();
        let image = TensorType::fixed(DataType::Float32, &[1, 1, 1, 2]);
        let image = builder.input("image", image, Sizes::Fixed).unwrap();
        for (name, dtype) in [("half", DataType::Float16), ("count", DataType::Int32)] {
            builder.input(name, TensorType::fixed(dtype, &[2]), Sizes::Fixed).unwrap();
        }
        builder.output(image, "");
        let mut function = builder.finish();
        function.inputs[0].image = Some(crate::graph::ColorSpace::Grayscale);
        function.inputs[1].default = Some(0.1);
        function.inputs[2].default = Some(3.0);
        let drawn = Inputs::drawn("main", &function, None, 1).unwrap();
        let program = Program::single(function);
        let read = |tensors: &[(&str, &[f32], &[usize])]| {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("in.safetensors");
            let tensor = |values: &[f32], shape: &[usize]| {
                let array = ArrayD::from_shape_vec(shape.to_vec(), values.to_vec()).unwrap();
                Tensor::float(DataType::Float32, array)
            };
            let stored: Vec<_> =
                tensors.iter().map(|(key, v, s)| (key.to_string(), tensor(v, s))).collect();
            write_outputs(&path, &stored.iter().map(|(k, t)| (k.clone(), t)).collect()).unwrap();
            Inputs::read(&Source::open(&path).unwrap(), &program, "main", None)
        };
        let image: (&str, &[f32], &[usize]) = ("image", &[0.0, 255.0], &[1, 2]);
        let inputs = read(&[image]).unwrap();
        let tenth = half::f16::from_f32(0.1).to_f32();
        assert_eq!(inputs.steps[0]["half"].as_float().unwrap().as_slice().unwrap(), [tenth; 2]);
        assert_eq!(inputs.steps[0]["count"].as_int().unwrap().as_slice().unwrap(), [3, 3]);
        assert_eq!(inputs.steps[0]["half"], drawn.steps[0]["half"]);
        let given = read(&[image, ("step1.half", &[1.0, 2.0], &[2])]).unwrap();
        let half = |step: usize| given.steps[step]["half"].as_float().unwrap()[[1]];
        assert_eq!((half(0), half(1)), (tenth, 2.0), "given in one step");
        let bright = read(&[("image", &[0.0, 300.0], &[1, 2])]);
        insta::assert_snapshot!(bright.unwrap_err(), @"in.safetensors, `image`: input `image` holds 300 at channel 0, row 0, column 1; the pixels of an image are whole numbers from 0 to 255; give pixels as an image file has them: the package scales them itself");
    }

    #[test]
    fn what_is_missing_or_double_is_named() {
        let two = [1.0, 2.0];
        let told = [
            read(&[("b.in.x", &two)], None),
            read(&[("step1.x", &two)], None),
            read(&[("x", &two), ("in.x", &two)], None),
            read(&[("x", &two), ("step0.x", &two)], None),
            read(&[("step0.x", &two)], Some(2)),
            read(&[("x", &[1.0])], None),
            read(&[("step99999.x", &two)], None),
        ];
        let told: Vec<String> = told.into_iter().map(|r| r.unwrap_err().to_string()).collect();
        insta::assert_snapshot!(told.join("\n"), @r"
        in.safetensors: input `x` of function `a` is missing; add a tensor `x` or `in.x`; the file has `b.in.x`
        in.safetensors: input `x` of function `a` is missing in step 0; add a tensor `x` or `in.x`; the file has `step1.x`
        in.safetensors, `x`: input `x` is given twice; leave one of them out
        in.safetensors: input `x` is given with and without a step; leave one of them out
        --steps 2: in.safetensors has inputs of 1 steps
        in.safetensors, `x`: input `x` is [1] in the file, and the function takes fp32[2]; store it as what function `a` declares
        100000 steps are more than 65536
        ");
    }
}
