//! This backend against the definition: the same numbers, whatever the operation, the shapes and
//! the number of threads.

mod chains;
mod edges;
mod elementwise;
mod graphs;
mod layers;
mod movement;

use super::Cpu;
use crate::graph::DataType::{Bool, Float16, Float32, Int32};
use crate::graph::ops::{Bound, Row};
use crate::graph::weight::{Operand, Weight};
use crate::graph::{Argument, Constant, DataType, Feature, Function, Operation, TensorType};
use crate::graph::{Value, ValueId, ValueType};
use crate::runtime::{Backend, Data, Reference, Shapes, Tensor, Tensors};
use crate::target::Target;
use ndarray::{ArrayD, IxDyn};

/// Numbers that look random, the same every time.
struct Numbers(u32);

impl Numbers {
    fn next(&mut self) -> u32 {
        self.0 = self.0.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        self.0 >> 8
    }

    /// Below `end`.
    fn below(&mut self, end: usize) -> usize {
        self.next() as usize % end
    }

    /// Between −2 and 2, never too near to 0 to be divided by.
    fn float(&mut self) -> f32 {
        let x = self.next() as f32 / (1 << 22) as f32 - 2.0;
        if x.abs() < 0.05 { x + 0.1 } else { x }
    }
}

fn count(shape: &[usize]) -> usize {
    shape.iter().product()
}

fn weight(numbers: &mut Numbers, dtype: DataType, shape: &[usize]) -> Constant {
    let half = |x: f32| half::f16::from_f32(x).to_le_bytes().to_vec();
    let bytes: Vec<u8> = (0..count(shape))
        .flat_map(|_| match dtype {
            Float16 => half(numbers.float()),
            _ => numbers.float().to_le_bytes().to_vec(),
        })
        .collect();
    Weight::dense(Operand::new(dtype, shape, bytes)).into()
}

/// Inputs for a function, drawn from its types; integers are below 3.
fn draw(function: &Function, numbers: &mut Numbers) -> (Tensors, Tensors) {
    let (mut inputs, mut states) = (Tensors::new(), Tensors::new());
    for feature in &function.inputs {
        let value = function.value(feature.value);
        let ty = value.ty.tensor().expect("a tensor");
        let shape = IxDyn(&ty.shape().expect("a fixed shape"));
        let tensor = match ty.dtype {
            Bool => Tensor::bool(ArrayD::from_shape_simple_fn(shape, || numbers.below(2) == 1)),
            Float16 | Float32 => {
                Tensor::float(ty.dtype, ArrayD::from_shape_simple_fn(shape, || numbers.float()))
            }
            dtype => {
                Tensor::int(dtype, ArrayD::from_shape_simple_fn(shape, || numbers.below(3) as i32))
            }
        };
        let state = matches!(value.ty, ValueType::State(_));
        if state { &mut states } else { &mut inputs }.insert(value.name.clone(), tensor);
    }
    (inputs, states)
}

/// Both backends over three runs in a row, states carried from one to the next.
fn agree(name: &str, function: &Function) {
    let mut numbers = Numbers(name.bytes().map(u32::from).sum());
    let prepare = |backend: &dyn Backend| {
        backend.prepare(function, &Shapes::new()).unwrap_or_else(|why| panic!("{name}: {why}"))
    };
    let (mut reference, mut cpu) = (prepare(&Reference::default()), prepare(&Cpu));
    let (_, states) = draw(function, &mut numbers);
    let (mut want_states, mut got_states) = (states.clone(), states);
    let (mut want, mut got) = (Tensors::new(), Tensors::new());
    for run in 0..3 {
        let (inputs, _) = draw(function, &mut numbers);
        let failed = |why| panic!("{name}: {why}");
        reference.run(&inputs, &mut want_states, &mut want).unwrap_or_else(failed);
        cpu.run(&inputs, &mut got_states, &mut got).unwrap_or_else(failed);
        for (want, got) in [(&want, &got), (&want_states, &got_states)] {
            assert_eq!(want.len(), got.len(), "{name}, run {run}");
            for ((key, want), (_, got)) in want.iter().zip(got) {
                near(&format!("{name}, run {run}, `{key}`"), want, got);
            }
        }
    }
}

/// Within 10⁻⁵ of the largest.
fn near(name: &str, want: &Tensor, got: &Tensor) {
    assert_eq!(want.ty(), got.ty(), "{name}");
    let (Data::Float(want), Data::Float(got)) = (&want.data, &got.data) else {
        return assert_eq!(want.data, got.data, "{name}");
    };
    let finite = want.iter().filter(|x| x.is_finite());
    let most = finite.fold(0.0f32, |most, x| most.max(x.abs()));
    for (i, (want, got)) in want.iter().zip(got).enumerate() {
        let same = want == got || (want.is_nan() && got.is_nan());
        assert!(same || (want - got).abs() <= 1e-5 * most, "{name} at {i}: {got}, not {want}");
    }
}

/// A function that is being built.
struct Graph {
    function: Function,
    numbers: Numbers,
}

impl Graph {
    fn new(seed: u32) -> Self {
        Self { function: Function::default(), numbers: Numbers(seed) }
    }

    fn value(&mut self, ty: ValueType, constant: Option<Constant>) -> ValueId {
        let id = ValueId(self.function.values.len());
        self.function.values.push(Value { name: format!("v{}", id.0), ty, constant });
        id
    }

    fn feature(&mut self, ty: ValueType) -> ValueId {
        let value = self.value(ty, None);
        self.function.inputs.push(Feature::new(value));
        value
    }

    fn input(&mut self, dtype: DataType, shape: &[usize]) -> ValueId {
        self.feature(TensorType::fixed(dtype, shape).into())
    }

    fn state(&mut self, dtype: DataType, shape: &[usize]) -> ValueId {
        self.feature(ValueType::State(TensorType::fixed(dtype, shape)))
    }

    fn constant(&mut self, constant: Constant) -> ValueId {
        self.value(constant.ty(), Some(constant))
    }

    fn weight(&mut self, dtype: DataType, shape: &[usize]) -> ValueId {
        let weight = weight(&mut self.numbers, dtype, shape);
        self.constant(weight)
    }

    /// An operation on values and constants, with all its results.
    fn all(
        &mut self,
        kind: &str,
        values: &[(&str, ValueId)],
        rest: &[(&str, Constant)],
    ) -> Vec<ValueId> {
        let row = Row::find(kind).unwrap_or_else(|| panic!("there is no {kind}"));
        let constants = rest.iter().map(|(name, c)| (*name, self.constant(c.clone())));
        let constants: Vec<_> = constants.collect();
        let arguments: Vec<_> = (values.iter().chain(&constants))
            .map(|&(name, value)| Argument { param: row.param(name).expect(name).name, value })
            .collect();
        let bound: Vec<_> = arguments
            .iter()
            .map(|argument| {
                let value = self.function.value(argument.value);
                Bound { param: argument.param, ty: &value.ty, constant: value.constant.as_ref() }
            })
            .collect();
        let types = row.infer(&bound, Target::Ios26).unwrap_or_else(|why| panic!("{kind}: {why}"));
        let outputs: Vec<_> = types.into_iter().map(|ty| self.value(ty, None)).collect();
        let name = format!("{kind}_{}", self.function.operations.len());
        let operation = Operation { name, row, arguments, outputs: outputs.clone() };
        self.function.operations.push(operation);
        outputs
    }

    fn op(&mut self, kind: &str, values: &[(&str, ValueId)], rest: &[(&str, Constant)]) -> ValueId {
        self.all(kind, values, rest)[0]
    }

    fn output(&mut self, value: ValueId) {
        self.function.outputs.push(Feature::new(value));
    }

    fn shape(&self, id: ValueId) -> Vec<usize> {
        self.function.value(id).ty.tensor().unwrap().shape().unwrap()
    }
}

fn float(x: f32) -> Constant {
    Weight::dense(Operand::new(Float32, &[], x.to_le_bytes().to_vec())).into()
}

/// One operation on inputs of these types, all its results outputs.
fn one(kind: &str, inputs: &[(&str, DataType, &[usize])], rest: &[(&str, Constant)]) {
    let mut graph = Graph::new(1);
    let values: Vec<_> =
        inputs.iter().map(|(name, dtype, shape)| (*name, graph.input(*dtype, shape))).collect();
    for id in graph.all(kind, &values, rest) {
        graph.output(id);
    }
    agree(&format!("{kind} {inputs:?} {}", rest.len()), &graph.function);
}
