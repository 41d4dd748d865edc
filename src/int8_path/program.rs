//! The INT8 paths of a program, function by function.

use super::{Break, Folded, Int8Path, Product, Shares, fold};
use crate::graph::{Function, Program};
use serde::{Deserialize, Serialize, Serializer};

/// The INT8 path of a function, or of all functions of a layer package as one. In JSON it is its
/// [`Summary`], with every product and every break beside.
#[derive(Clone, Debug, PartialEq)]
pub struct FunctionPath {
    /// The function's name; of a layer package what its functions are.
    pub function: String,
    /// Its path; in a layer package operations have the names of their functions.
    pub path: Int8Path,
}

/// What a report keeps of a path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The function.
    pub function: String,
    /// Its multiply-accumulates by class.
    pub shares: Shares,
    /// The share of all of them whose arithmetic is INT8; `null` where nothing is multiplied.
    pub int8_share: Option<f64>,
    /// The share of those with a stored weight.
    pub int8_share_of_weights: Option<f64>,
    /// Where INT8 ends, those that cost the most first.
    pub breaks: Vec<Folded>,
}

/// What a report keeps of a package.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InPackage {
    /// The package's folder: `model.mlpackage`.
    pub package: String,
    /// Its functions, the default one first.
    pub functions: Vec<Summary>,
}

impl Serialize for FunctionPath {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct InFull<'a> {
            #[serde(flatten)]
            summary: Summary,
            products: &'a [Product],
            every_break: &'a [Break],
        }
        let Int8Path { products, breaks: every_break, .. } = &self.path;
        InFull { summary: self.summary(), products, every_break }.serialize(to)
    }
}

impl FunctionPath {
    /// The paths of a program's functions, the default one first. `fixed` gives a function with the
    /// default shapes of its inputs, where that can be known: multiply-accumulates are counted in it.
    ///
    /// Functions of one product each are the layers of a layer package: they are one list.
    pub fn of_program(
        program: &Program,
        fixed: &dyn Fn(&Function) -> Option<Function>,
    ) -> Vec<Self> {
        let mut functions: Vec<_> = program.functions.iter().collect();
        functions.sort_by_key(|(name, _)| **name != program.default_function);
        let path = |(name, function): (&String, &Function)| {
            let path = match fixed(function) {
                Some(fixed) => Int8Path::of(&fixed),
                None => Int8Path::of(function),
            };
            Self { function: name.clone(), path }
        };
        let paths: Vec<_> = functions.into_iter().map(path).collect();
        if paths.len() > 1 && paths.iter().all(|each| each.path.products.len() <= 1) {
            return vec![Self::of_layers(paths)];
        }
        paths
    }

    /// Layers as one list, each called as its function.
    fn of_layers(layers: Vec<Self>) -> Self {
        let function = format!("{} layers, a function each", layers.len());
        let mut path = Int8Path::default();
        for Self { function, path: layer } in layers {
            let named = |name: &mut String| name.clone_from(&function);
            path.products.extend(layer.products.into_iter().map(|mut product| {
                named(&mut product.operation);
                product
            }));
            path.breaks.extend(layer.breaks.into_iter().map(|mut found| {
                named(&mut found.operation);
                found
            }));
        }
        path.shares = Shares::of(&path.products);
        Self { function, path }
    }

    /// What a report keeps of it.
    pub fn summary(&self) -> Summary {
        let Self { function, path } = self;
        Summary {
            function: function.clone(),
            shares: path.shares,
            int8_share: path.shares.all.int8_share(),
            int8_share_of_weights: path.shares.weights.int8_share(),
            breaks: fold(&path.breaks),
        }
    }

    /// Shares and breaks for a terminal of `width` columns.
    pub fn to_text(&self, width: Option<usize>) -> String {
        self.path.to_text(&self.function, width)
    }
}
