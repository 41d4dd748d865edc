//! The layer package: bare tensors have no graph, so each weight matrix becomes a function of its
//! own, `x → operation → y`, that can be loaded, validated and timed alone.
//!
//! Before iOS 18 a package has one function: `main` then takes `x_0`, `x_1`, … and returns `y_0`,
//! `y_1`, …

use super::layer::{Kind, ROWS, Rules, SPATIAL, kind, role};
use crate::graph::weight::{Storage, Weight};
use crate::graph::{
    Builder, Constant, DataType, Function, Program, Sizes, TensorType, ValueId, names,
};
use crate::target::Target;
use crate::{Error, Result};
use regex::Regex;
use std::collections::{BTreeMap, HashMap};

/// A tensor of a checkpoint, as the package will hold it.
#[derive(Clone, Debug)]
pub struct Layer {
    /// Its name in the checkpoint.
    pub name: String,
    /// Its shape, `[O, I, …]`.
    pub shape: Vec<usize>,
    /// How it is stored.
    pub storage: Storage,
}

/// What may be chosen.
#[derive(Clone, Debug)]
pub struct Options {
    /// Only tensors whose name this finds get a function.
    pub layers: Option<Regex>,
    /// Beyond this many matrices, one stands for all of its role and shape.
    pub cap: usize,
    /// What names say.
    pub rules: Rules,
}

impl Default for Options {
    fn default() -> Self {
        Self { layers: None, cap: 1000, rules: Rules::default() }
    }
}

/// What became of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is the weight of this function (before iOS 18, the value of this name in `main`).
    Layer {
        /// The mapped name.
        identifier: String,
        /// The operation.
        kind: Kind,
    },
    /// It is the bias beside this tensor.
    Bias {
        /// The weight's name in the checkpoint.
        of: String,
    },
    /// The package does not hold it.
    Left {
        /// Why, in words for the report.
        why: String,
    },
}

/// A program of layers.
#[derive(Clone, Debug)]
pub struct LayerPackage {
    /// The program; its user metadata lead from identifiers to original names.
    pub program: Program,
    /// What became of each tensor, in the order they were given.
    pub outcomes: Vec<Outcome>,
    /// What the user should know.
    pub notes: Vec<String>,
}

/// Builds the layer package of these tensors, given in the order of their checkpoint.
///
/// `X.bias` of length O and of the weight's type joins `X.weight` of a linear layer or convolution.
/// Input and output are of that type too.
///
/// # Errors
/// [`Error::Usage`] where no tensor has a function, or too many roles are left to give each one.
pub fn layer_package(tensors: &[Layer], target: Target, options: &Options) -> Result<LayerPackage> {
    let mut plan = Plan::new(tensors, options)?;
    let functions = target >= Target::Ios18;
    let used = plan.layers.iter().flat_map(|layer| [Some(layer.weight), layer.bias]).flatten();
    let features = (0..plan.layers.len()).flat_map(|n| [format!("x_{n}"), format!("y_{n}")]);
    let own: Vec<_> = if functions { ["x".into(), "y".into()].into() } else { features.collect() };
    let identifiers = names::identifiers(used.map(|i| tensors[i].name.as_str()), own);
    let identify = |index: usize| identifiers[&tensors[index].name].as_str();

    let mut program = Program::default();
    if functions {
        for planned in &plan.layers {
            let mut builder = Builder::new();
            let started = planned.start(&mut builder, tensors, identify, "x")?;
            started.finish(&mut builder, "y")?;
            program.functions.insert(identify(planned.weight).into(), builder.finish());
        }
        program.default_function = identify(plan.layers[0].weight).into();
    } else {
        program = Program::single(plan.main(tensors, identify)?);
        plan.notes.push(format!(
            "{target} has no packages with several functions: `main` takes {n} inputs and runs all \
             {n} layers at each prediction, so that none can be loaded, checked or timed alone; \
             `--target ios18` gives each a function of its own",
            n = plan.layers.len(),
        ));
    }
    for planned in &plan.layers {
        let identifier = identify(planned.weight).into();
        plan.outcomes[planned.weight] = Outcome::Layer { identifier, kind: planned.kind };
    }
    let original = |(name, identifier): (&String, &String)| (identifier.clone(), name.clone());
    program.metadata.user = identifiers.iter().map(original).collect();
    Ok(LayerPackage { program, outcomes: plan.outcomes, notes: plan.notes })
}

/// Which tensors become layers, by their place in the list.
struct Plan {
    layers: Vec<Planned>,
    outcomes: Vec<Outcome>,
    notes: Vec<String>,
}

struct Planned {
    weight: usize,
    bias: Option<usize>,
    kind: Kind,
}

impl Plan {
    fn new(tensors: &[Layer], options: &Options) -> Result<Self> {
        let chosen = |name: &str| options.layers.as_ref().is_none_or(|regex| regex.is_match(name));
        let mut outcomes = Vec::with_capacity(tensors.len());
        let mut layers = Vec::new();
        for (index, tensor) in tensors.iter().enumerate() {
            let kind = kind(&tensor.name, &tensor.shape, &options.rules);
            let why = match kind {
                Err(why) => why,
                Ok(_) if !chosen(&tensor.name) => "`--layers` does not choose it".into(),
                Ok(kind) => {
                    layers.push(Planned { weight: index, bias: None, kind });
                    String::new() // Replaced when its identifier is known.
                }
            };
            outcomes.push(Outcome::Left { why });
        }
        let mut plan = Self { layers, outcomes, notes: Vec::new() };
        plan.cap(tensors, options)?;
        plan.join_biases(tensors);
        if plan.layers.is_empty() {
            return Err(Error::Usage(match &options.layers {
                Some(regex) => format!(
                    "`--layers {regex}` chooses no weight matrix; it must match a part of a name that `--dry-run` prints"
                ),
                None => "the checkpoint holds no weight matrix, so that an .mlpackage would be \
                         empty; use `--to metal`"
                    .into(),
            }));
        }
        Ok(plan)
    }

    /// Beyond the cap, keeps the first layer of each role, shape and storage.
    fn cap(&mut self, tensors: &[Layer], options: &Options) -> Result<()> {
        let all = self.layers.len();
        if all <= options.cap {
            return Ok(());
        }
        let mut first = HashMap::new();
        let mut kept = Vec::new();
        for planned in std::mem::take(&mut self.layers) {
            let Layer { name, shape, storage } = &tensors[planned.weight];
            let form = |(part, operand): (_, &crate::graph::weight::Operand)| {
                (part, operand.dtype, operand.shape.clone())
            };
            let forms: Vec<_> = storage.operands().into_iter().map(form).collect();
            let stands = first.entry((role(name), shape, forms)).or_insert(planned.weight);
            if *stands == planned.weight {
                kept.push(planned);
            } else {
                let why = format!("`{}` stands for its role and shape", tensors[*stands].name);
                self.outcomes[planned.weight] = Outcome::Left { why };
            }
        }
        let (n, cap) = (kept.len(), options.cap);
        if n > cap {
            return Err(Error::Usage(format!(
                "{all} weight matrices of {n} roles and shapes are more than the {cap} functions a \
                 package is given; choose with `--layers REGEX`"
            )));
        }
        self.notes.push(format!(
            "{all} weight matrices are more than the {cap} functions a package is given: one \
             function stands for each of {n} roles and shapes; choose others with `--layers REGEX`"
        ));
        self.layers = kept;
        Ok(())
    }

    fn join_biases(&mut self, tensors: &[Layer]) {
        let by_name: HashMap<_, _> =
            tensors.iter().enumerate().map(|(i, tensor)| (tensor.name.as_str(), i)).collect();
        for planned in &mut self.layers {
            let weight = &tensors[planned.weight];
            let stem = weight.name.strip_suffix(".weight");
            let Some(&index) = stem.and_then(|stem| by_name.get(format!("{stem}.bias").as_str()))
            else {
                continue;
            };
            let bias = &tensors[index];
            let takes = matches!(planned.kind, Kind::Linear | Kind::Conv { .. });
            if !takes || bias.shape != weight.shape[..1] {
                continue;
            }
            let (of, is) = (weight.storage.dtype(), bias.storage.dtype());
            if of != is {
                let why = format!("it is {is} beside a weight of {of}; the two need one type");
                self.outcomes[index] = Outcome::Left { why };
                continue;
            }
            planned.bias = Some(index);
            self.outcomes[index] = Outcome::Bias { of: weight.name.clone() };
        }
    }

    /// All layers in one function. Weights are named before anything else may take a name.
    fn main<'a>(
        &self,
        tensors: &[Layer],
        identify: impl Fn(usize) -> &'a str + Copy,
    ) -> Result<Function> {
        let mut builder = Builder::new();
        let start = |(n, planned): (usize, &Planned)| {
            planned.start(&mut builder, tensors, identify, &format!("x_{n}"))
        };
        let started = self.layers.iter().enumerate().map(start).collect::<Result<Vec<_>>>()?;
        for (n, started) in started.into_iter().enumerate() {
            started.finish(&mut builder, &format!("y_{n}"))?;
        }
        Ok(builder.finish())
    }
}

/// A layer whose input, weight and bias exist.
struct Started<'a> {
    tensor: &'a Layer,
    kind: Kind,
    x: ValueId,
    weight: ValueId,
    bias: Option<ValueId>,
}

impl Planned {
    fn start<'a, 't>(
        &self,
        builder: &mut Builder,
        tensors: &'t [Layer],
        identify: impl Fn(usize) -> &'a str,
        x: &str,
    ) -> Result<Started<'t>> {
        let tensor = &tensors[self.weight];
        let x = builder.input(x, input_type(tensor, self.kind), Sizes::Fixed)?;
        builder.about(&format!("input of {}", tensor.name));
        let mut constant = |index: usize| {
            let Layer { shape, storage, .. } = &tensors[index];
            let weight = Weight { shape: shape.clone(), storage: storage.clone() };
            builder.constant(identify(index), weight)
        };
        let weight = constant(self.weight)?;
        let bias = self.bias.map(constant).transpose()?;
        Ok(Started { tensor, kind: self.kind, x, weight, bias })
    }
}

fn input_type(tensor: &Layer, kind: Kind) -> TensorType {
    let shape = &tensor.shape;
    let dtype = tensor.storage.dtype();
    match kind {
        Kind::Linear => TensorType::fixed(dtype, &[ROWS, shape[1]]),
        Kind::Embedding => TensorType::fixed(DataType::Int32, &[ROWS]),
        Kind::Experts => TensorType::fixed(dtype, &[shape[0], ROWS, shape[2]]),
        Kind::Conv { groups } => {
            let mut input = vec![1, shape[1] * groups];
            input.extend(shape[2..].iter().map(|&kernel| kernel.max(SPATIAL)));
            TensorType::fixed(dtype, &input)
        }
    }
}

impl Started<'_> {
    fn finish(self, builder: &mut Builder, y: &str) -> Result<()> {
        let Self { tensor, kind, x, weight, bias } = self;
        let mut constants = BTreeMap::new();
        let (operation, weight_param) = match kind {
            Kind::Linear => ("linear", "weight"),
            Kind::Embedding => {
                constants.insert("axis", Constant::int(0));
                constants.insert("batch_dims", Constant::int(0));
                ("gather", "x")
            }
            Kind::Experts => {
                constants.insert("transpose_x", Constant::bool(false));
                constants.insert("transpose_y", Constant::bool(true));
                ("matmul", "y")
            }
            Kind::Conv { groups } => {
                let spatial = tensor.shape.len() - 2;
                let groups = i32::try_from(groups)
                    .map_err(|_| Error::bug(&tensor.name, "more groups than INT32 counts"))?;
                constants.insert("strides", Constant::ints(&vec![1; spatial]));
                constants.insert("pad_type", Constant::text("valid"));
                constants.insert("pad", Constant::ints(&vec![0; 2 * spatial]));
                constants.insert("dilations", Constant::ints(&vec![1; spatial]));
                constants.insert("groups", Constant::int(groups));
                ("conv", "weight")
            }
        };
        let x_param = if kind == Kind::Embedding { "indices" } else { "x" };
        let mut arguments = vec![(x_param, x), (weight_param, weight)];
        arguments.extend(bias.map(|bias| ("bias", bias)));
        for (param, constant) in constants {
            let name = builder.free(&format!("{y}_{param}"));
            arguments.push((param, builder.constant(&name, constant)?));
        }
        let output = builder.op(operation, y, &arguments)?;
        builder.output(output, &format!("output of {}", tensor.name));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scheme::Scheme;

    fn tensors(list: &[(&str, &[usize])], scheme: &str) -> Vec<Layer> {
        let tensor = |(index, (name, shape)): (usize, &(&str, &[usize]))| {
            let scheme: Scheme = if shape.len() < 2 { "float16" } else { scheme }.parse().unwrap();
            let storage = Storage::planned(scheme, shape, index);
            Layer { name: (*name).into(), shape: shape.to_vec(), storage }
        };
        list.iter().enumerate().map(tensor).collect()
    }

    /// What became of each tensor, a line each.
    fn outcomes(tensors: &[Layer], package: &LayerPackage) -> String {
        let line = |(tensor, outcome): (&Layer, &Outcome)| match outcome {
            Outcome::Layer { identifier, kind } => {
                format!("{} is {identifier}, {kind:?}", tensor.name)
            }
            Outcome::Bias { of } => format!("{} is the bias of {of}", tensor.name),
            Outcome::Left { why } => format!("{} is left: {why}", tensor.name),
        };
        tensors.iter().zip(&package.outcomes).map(line).collect::<Vec<_>>().join("\n")
    }

    const SMALL: &[(&str, &[usize])] = &[
        ("model.embed_tokens.weight", &[512, 64]),
        ("model.layers.0.fc.weight", &[32, 64]),
        ("model.layers.0.fc.bias", &[32]),
        ("model.layers.0.fc_weight", &[16, 64]),
        ("model.norm.weight", &[64]),
        ("other.weight", &[8, 64]),
        ("other.bias", &[9]),
        ("x", &[4, 4]),
        ("nothing.weight", &[0, 64]),
    ];

    #[test]
    fn every_tensor_has_an_outcome() {
        let tensors = tensors(SMALL, "linear-int8");
        let package = layer_package(&tensors, Target::Ios18, &Options::default()).unwrap();
        insta::assert_snapshot!(outcomes(&tensors, &package), @r"
        model.embed_tokens.weight is model_embed_tokens_weight, Embedding
        model.layers.0.fc.weight is model_layers_0_fc_weight, Linear
        model.layers.0.fc.bias is the bias of model.layers.0.fc.weight
        model.layers.0.fc_weight is model_layers_0_fc_weight_2, Linear
        model.norm.weight is left: a tensor of rank 1 feeds no operation of its own
        other.weight is other_weight, Linear
        other.bias is left: a tensor of rank 1 feeds no operation of its own
        x is x_2, Linear
        nothing.weight is left: it is empty
        ");
        assert_eq!(package.notes, [""; 0]);
        assert_eq!(package.program.default_function, "model_embed_tokens_weight");
        assert_eq!(
            package.program.metadata.user["model_layers_0_fc_weight_2"],
            "model.layers.0.fc_weight"
        );
        for (name, function) in &package.program.functions {
            assert_eq!(function.check(Target::Ios18), [], "{name}");
            assert!(function.find(name).is_some(), "the weight's value has the function's name");
        }
    }

    #[test]
    fn before_ios18_main_holds_all_layers_and_a_note_says_what_that_costs() {
        let tensors = tensors(SMALL, "linear-int8");
        let package = layer_package(&tensors, Target::Ios16, &Options::default()).unwrap();
        assert!(package.program.is_single());
        let main = &package.program.functions["main"];
        let names = |features: &[crate::graph::Feature]| {
            features.iter().map(|f| main.value(f.value).name.clone()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(&main.inputs), "x_0 x_1 x_2 x_3 x_4");
        assert_eq!(names(&main.outputs), "y_0 y_1 y_2 y_3 y_4");
        insta::assert_snapshot!(package.notes.join("\n"), @r"ios16 has no packages with several functions: `main` takes 5 inputs and runs all 5 layers at each prediction, so that none can be loaded, checked or timed alone; `--target ios18` gives each a function of its own");
    }

    #[test]
    fn beyond_the_cap_one_stands_for_its_role_and_shape() {
        let tensors = tensors(
            &[
                ("layers.0.w1.weight", &[32, 64]),
                ("layers.0.w2.weight", &[64, 32]),
                ("layers.1.w1.weight", &[32, 64]),
                ("layers.1.w1.bias", &[32]),
                ("layers.1.w2.weight", &[64, 16]),
            ],
            "palette-4",
        );
        let options = Options { cap: 3, ..Options::default() };
        let package = layer_package(&tensors, Target::Ios18, &options).unwrap();
        insta::assert_snapshot!(outcomes(&tensors, &package), @r"
        layers.0.w1.weight is layers_0_w1_weight, Linear
        layers.0.w2.weight is layers_0_w2_weight, Linear
        layers.1.w1.weight is left: `layers.0.w1.weight` stands for its role and shape
        layers.1.w1.bias is left: a tensor of rank 1 feeds no operation of its own
        layers.1.w2.weight is layers_1_w2_weight, Linear
        ");
        insta::assert_snapshot!(package.notes.join("\n"), @r"4 weight matrices are more than the 3 functions a package is given: one function stands for each of 3 roles and shapes; choose others with `--layers REGEX`");
        let refused =
            layer_package(&tensors, Target::Ios18, &Options { cap: 2, ..Options::default() });
        insta::assert_snapshot!(refused.unwrap_err(), @r"4 weight matrices of 3 roles and shapes are more than the 2 functions a package is given; choose with `--layers REGEX`");
        let layers = Some(Regex::new("w1").unwrap());
        let options = Options { cap: 2, layers, ..Options::default() };
        let package = layer_package(&tensors, Target::Ios18, &options).unwrap();
        insta::assert_snapshot!(outcomes(&tensors, &package), @r"
        layers.0.w1.weight is layers_0_w1_weight, Linear
        layers.0.w2.weight is left: `--layers` does not choose it
        layers.1.w1.weight is layers_1_w1_weight, Linear
        layers.1.w1.bias is the bias of layers.1.w1.weight
        layers.1.w2.weight is left: `--layers` does not choose it
        ");
    }

    #[test]
    fn a_bias_of_another_type_does_not_join() {
        let mut tensors = tensors(&[("fc.weight", &[32, 64]), ("fc.bias", &[32])], "float32");
        assert_eq!(tensors[0].storage.dtype(), DataType::Float32);
        let package = layer_package(&tensors, Target::Ios17, &Options::default()).unwrap();
        insta::assert_snapshot!(outcomes(&tensors, &package), @r"
        fc.weight is fc_weight, Linear
        fc.bias is left: it is fp16 beside a weight of fp32; the two need one type
        ");
        tensors.truncate(0);
        let refused = layer_package(&tensors, Target::Ios18, &Options::default()).unwrap_err();
        insta::assert_snapshot!(refused, @r"the checkpoint holds no weight matrix, so that an .mlpackage would be empty; use `--to metal`");
    }
}
