//! What follows a layer on the way to its codes: elementwise functions and a `quantize`, as one output
//! stage.

use super::elementwise;
use crate::graph::Function as Graph;
use crate::runtime::cpu::affine::affine;
use crate::runtime::cpu::cone::Cone;
use crate::runtime::cpu::node::{Found, Node};
use crate::runtime::integer::{Affine, Stage};

/// Whether an output stage can do what a cone does.
pub(in crate::runtime::cpu) fn takes(function: &Graph, cone: &Cone) -> bool {
    let node = |&i: &usize| Node { function, operation: &function.operations[i] };
    let nodes: Vec<_> = cone.operations.iter().map(node).collect();
    build(&nodes, &[], None).is_ok()
}

/// The stage of `then`, elementwise operations and a `quantize`, for channels whose sums are multiples
/// of `units`.
///
/// Clamps bound the codes; what else there is becomes a function.
pub(super) fn build(then: &[Node<'_>], units: &[f64], bias: Option<&[f32]>) -> Found<Stage> {
    let (quantize, functions) = then.split_last().ok_or("nothing makes codes")?;
    let to = affine(*quantize).ok_or("`quantize` is not to INT8 with one scale")?;
    if let Some(range) = clamps(functions, to)? {
        return Ok(Stage::new(units, bias, None, to, range));
    }
    let function = elementwise::function(functions)?.ok_or("is no chain of functions")?;
    Ok(Stage::new(units, bias, Some(function), to, [-128, 127]))
}

/// The codes between which clamps, one after the other, leave those of a number; `None` if one of the
/// operations is another.
fn clamps(nodes: &[Node<'_>], to: Affine) -> Found<Option<[i8; 2]>> {
    let mut range = [-128, 127];
    for node in nodes {
        let [low, high] = match node.kind() {
            "relu" => [0.0, f32::INFINITY],
            "relu6" => [0.0, 6.0],
            "clip" => [node.number("alpha")?, node.number("beta")?],
            _ => return Ok(None),
        };
        // As the operation does: what is below `low` becomes that, then what is above `high` this.
        let clamp = |code: i8| code.max(to.code(low)).min(to.code(high));
        range = range.map(clamp);
    }
    Ok(Some(range))
}
