//! Models from checkpoints as tests of graphs build them: every option theirs, in any type.

use half::f16;
use std::fs;
use std::path::Path;
use twolane::generate::Session;
use twolane::graph::weight::{Operand, Storage};
use twolane::graph::{DataType, Program};
use twolane::model::architectures::Model;
use twolane::model::config::Config;
use twolane::model::decoder::ane::Host;
use twolane::model::decoder::{self, Options};
use twolane::model::emit::Weights;
use twolane::model::parameters::Parameter;
use twolane::model::{Companions, Whole};
use twolane::runtime::Backend;
use twolane::source::Source;

/// The model of a configuration, and the weights of a checkpoint in this type.
pub(crate) fn described(
    checkpoint: &Path,
    config: &Config,
    float: DataType,
    context: Option<usize>,
) -> (Whole, Weights) {
    let mut source = Source::open(checkpoint).unwrap();
    let tensors = source.tensors().iter().map(|t| (t.name.as_str(), t.shape.as_slice()));
    let beside = Companions::read(config, &|name| {
        let found = source.beside(name)?;
        Ok(found.map(|(path, bytes)| (path.display().to_string(), bytes)))
    });
    let whole = Whole::describe(config, beside.unwrap(), tensors, context).unwrap().unwrap();
    source.derive(&whole.parameters).unwrap();
    let storage = |parameter: &Parameter| {
        let values = source.values(source.tensor(&parameter.name).unwrap()).unwrap();
        let bytes: Vec<u8> = match float {
            DataType::Float32 => values.iter().flat_map(|v: &f32| v.to_le_bytes()).collect(),
            _ => values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect(),
        };
        Storage::Dense(Operand::new(float, &parameter.shape, bytes))
    };
    let storages = whole.parameters.iter().map(storage).collect();
    let weights = Weights::new(whole.parameters.clone(), storages);
    (whole, weights)
}

/// The `config.json` of a folder.
pub(crate) fn config(folder: &Path) -> Config {
    let bytes = fs::read(folder.join("config.json")).unwrap();
    Config::parse(&folder.display().to_string(), &bytes).unwrap()
}

/// A decoder with the weights of a checkpoint, in the type that its functions compute in.
pub(crate) fn decoder(checkpoint: &Path, config: &Config, options: &Options) -> Program {
    let (whole, weights) = described(checkpoint, config, options.float, Some(options.context));
    let Model::Decoder(described) = &whole.model else { panic!("{checkpoint:?} is no decoder") };
    decoder::build(described, &weights, options).unwrap()
}

/// A language model, ready for a text.
pub(crate) fn session(program: &Program, backend: Box<dyn Backend>) -> Session {
    let host = Host::of(program).unwrap();
    Session::open(program.functions.values(), host.as_ref(), backend).unwrap()
}
