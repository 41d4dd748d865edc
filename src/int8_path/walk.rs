//! The analysis: operation by operation, in order.

use super::edges::{Edge, Passage, Sum, grid, passage};
use super::weight::StoredWeight;
use super::{Break, Class, Int8Path, Product, Reason, Shares};
use crate::graph::{DataType, Function, Operation, ValueId, macs};

/// Analyses a function.
pub(super) fn walk(function: &Function) -> Int8Path {
    let mut walk = Walk {
        function,
        edges: vec![Edge::Float; function.values.len()],
        quantized: function.operations.iter().any(|operation| operation.row.name == "dequantize"),
        makers: vec![None; function.values.len()],
        products: Vec::new(),
        breaks: Vec::new(),
    };
    for input in &function.inputs {
        if let Some(DataType::Int8 | DataType::UInt8) =
            function.value(input.value).ty.tensor().map(|ty| ty.dtype)
        {
            walk.edges[input.value.0] = Edge::Codes;
        }
    }
    for (place, operation) in function.operations.iter().enumerate() {
        walk.step(place, operation);
    }
    let Walk { products, breaks, .. } = walk;
    Int8Path { shares: Shares::of(&products), products, breaks }
}

struct Walk<'a> {
    function: &'a Function,
    /// What each value is.
    edges: Vec<Edge>,
    /// Whether any activation is quantized at all.
    quantized: bool,
    /// Which operation makes each value.
    makers: Vec<Option<usize>>,
    products: Vec<Product>,
    breaks: Vec<Break>,
}

impl Walk<'_> {
    fn step(&mut self, place: usize, operation: &Operation) {
        let result = match operation.row.name {
            "quantize" => self.quantize(operation),
            "dequantize" => self.dequantize(operation),
            "linear"
            | "conv"
            | "conv_transpose"
            | "matmul"
            | "einsum"
            | "scaled_dot_product_attention" => self.product(operation),
            _ => self.other(place, operation),
        };
        for output in &operation.outputs {
            self.edges[output.0] = result.clone();
            self.makers[output.0] = Some(place);
        }
    }

    fn quantize(&mut self, operation: &Operation) -> Edge {
        let input = operation.argument("input");
        if let Some(Edge::Sum(Sum { moved: Some(mover), .. })) =
            input.map(|input| self.edges[input.0].clone())
        {
            let mover = &self.function.operations[mover];
            self.end(mover, Reason::MovedResult, 0);
        }
        match grid(self.function, operation) {
            Some(_) => Edge::Codes,
            None => Edge::Float,
        }
    }

    fn dequantize(&mut self, operation: &Operation) -> Edge {
        let Some(input) = operation.argument("input") else { return Edge::Float };
        match (grid(self.function, operation), &self.edges[input.0]) {
            (Some(grid), Edge::Codes) => Edge::Pair(grid),
            _ => Edge::ChannelPair,
        }
    }

    /// Classes a product, and says why where it is not INT8.
    fn product(&mut self, operation: &Operation) -> Edge {
        let constant = |id: ValueId| self.function.value(id).constant.as_ref();
        let stored = StoredWeight::of(self.function, operation);
        let activations: Vec<ValueId> = operation
            .arguments
            .iter()
            .filter(|argument| constant(argument.value).is_none())
            .map(|argument| argument.value)
            .collect();
        let fits = activations.iter().map(|id| self.operand(*id)).collect::<Result<Vec<_>, _>>();
        let kind = operation.row.name;
        let (class, with_pairs, reason) = match (stored, fits) {
            _ if kind == "scaled_dot_product_attention" => {
                (Class::Float, Class::Float, Some(Reason::FusedAttention))
            }
            (None, Ok(_)) => (Class::W8a8, Class::W8a8, None),
            (None, Err(reason)) => {
                (Class::Float, Class::W8a8, Some(self.computed(&activations, reason)))
            }
            (Some(stored), fits) => match (stored.class(), fits) {
                ((Ok(class), _), Ok(_)) => (class, class, None),
                ((Ok(class), float), Err(reason)) => (float, class, Some(reason)),
                // Pairs alone would change nothing.
                ((Err(reason), float), _) => (float, float, Some(reason)),
            },
        };
        let macs = macs(self.function, operation);
        let (weight, channels) = match stored {
            Some(stored) => (
                Some(self.function.value(stored.id).name.clone()),
                stored.weight.shape.get(stored.outputs).map(|&channels| channels as u64),
            ),
            None => (None, None),
        };
        let name = operation.name.clone();
        let operation_name = name.clone();
        self.products.push(Product {
            operation: operation_name,
            kind,
            class,
            with_pairs,
            macs,
            weight,
            channels,
        });
        match reason {
            None => Edge::Sum(Sum { from: name, moved: None }),
            Some(reason) => {
                self.end(operation, reason, macs.unwrap_or(0));
                Edge::Float
            }
        }
    }

    /// Whether a value can be an INT8 operand, or why not.
    fn operand(&self, id: ValueId) -> Result<(), Reason> {
        match &self.edges[id.0] {
            Edge::Pair(_) => Ok(()),
            _ if !self.quantized => Err(Reason::NoActivations),
            Edge::ChannelPair => Err(Reason::ActivationScales),
            Edge::Moved { by, .. } => Err(Reason::MovedInput { by: by.clone() }),
            Edge::Sum(Sum { from, .. }) => Err(Reason::NoPairBetween { from: from.clone() }),
            Edge::Float | Edge::Codes => Err(Reason::FloatActivation { from: self.source(id) }),
        }
    }

    /// Two activations: where just one is INT8, that is the finding.
    fn computed(&self, activations: &[ValueId], reason: Reason) -> Reason {
        let any = activations.iter().any(|id| self.operand(*id).is_ok());
        if any { Reason::ComputedWeight } else { reason }
    }

    /// What a value in float comes from, beyond operations that only move: `layer_norm`, `an input`.
    fn source(&self, id: ValueId) -> String {
        let mut id = id;
        // Operations read what stands above them, so this ends.
        while let Some(maker) = self.makers[id.0] {
            let operation = &self.function.operations[maker];
            let moves = passage(self.function, operation) == Passage::Moves;
            match operation.arguments.first().filter(|_| moves) {
                Some(argument) => id = argument.value,
                None => return operation.row.name.to_owned(),
            }
        }
        "an input".to_owned()
    }

    /// An operation that multiplies nothing: INT8 passes through it, or ends.
    fn other(&mut self, place: usize, operation: &Operation) -> Edge {
        let operands: Vec<Edge> = operation
            .arguments
            .iter()
            .filter(|argument| self.function.value(argument.value).constant.is_none())
            .map(|argument| self.edges[argument.value.0].clone())
            .collect();
        if !operands.iter().any(Edge::is_int8) {
            return Edge::Float;
        }
        let name = || operation.name.clone();
        let sum = || Edge::Sum(Sum { from: name(), moved: None });
        let first = operands.first().cloned().unwrap_or(Edge::Float);
        let kind = operation.row.name;
        match (passage(self.function, operation), first) {
            (Passage::Ignores, _) => Edge::Float,
            (Passage::Pointwise, Edge::Pair(_)) => sum(),
            (Passage::Pointwise, Edge::Sum(sum)) if sum.moved.is_none() => Edge::Sum(sum),
            (Passage::Pointwise, _) => {
                self.end(operation, Reason::Nonlinearity, 0);
                Edge::Float
            }
            (Passage::Moves, Edge::Pair(grid)) => Edge::Moved { by: kind.to_owned(), grid },
            (Passage::Moves, Edge::Sum(Sum { from, moved })) => {
                Edge::Sum(Sum { from, moved: moved.or(Some(place)) })
            }
            (Passage::Moves, edge) => edge,
            (Passage::Pools, Edge::Pair(_) | Edge::Moved { .. }) => sum(),
            (Passage::Joins, _) => self.join(operation, &operands),
            (Passage::Pools | Passage::Ends, _) => {
                let reason = match Reason::of_kind(kind) {
                    Reason::Unsupported if kind.ends_with("_pool") => Reason::OneSided,
                    reason => reason,
                };
                self.end(operation, reason, 0);
                Edge::Float
            }
        }
    }

    /// `add` and `concat`: INT8 where all operands are, on one grid.
    fn join(&mut self, operation: &Operation, operands: &[Edge]) -> Edge {
        let grid = |edge: &Edge| match edge {
            Edge::Pair(grid) | Edge::Moved { grid, .. } => Some(*grid),
            Edge::Float | Edge::Codes | Edge::Sum(_) | Edge::ChannelPair => None,
        };
        let Some(grids) = operands.iter().map(grid).collect::<Option<Vec<_>>>() else {
            let paired = operands.iter().any(|edge| match edge {
                Edge::Pair(_) | Edge::Moved { .. } | Edge::ChannelPair | Edge::Codes => true,
                Edge::Sum(_) | Edge::Float => false,
            });
            let reason = if paired { Reason::OneSided } else { Reason::FloatOperands };
            self.end(operation, reason, 0);
            return Edge::Float;
        };
        if grids.windows(2).any(|pair| pair[0] != pair[1]) {
            self.end(operation, Reason::UnequalScales, 0);
        }
        Edge::Sum(Sum { from: operation.name.clone(), moved: None })
    }

    fn end(&mut self, operation: &Operation, reason: Reason, macs: u64) {
        self.breaks.push(Break {
            operation: operation.name.clone(),
            kind: operation.row.name.to_owned(),
            reason: reason.code().to_owned(),
            why: reason.why().into_owned(),
            macs,
        });
    }
}
