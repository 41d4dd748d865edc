//! Codes from codes: what is computed element by element of dequantized codes and quantized again is
//! one of 256 results, which the reference evaluates once.

use super::fallback::evaluate;
use super::{Io, Step};
use crate::graph::DataType;
use crate::runtime::cpu::blocks;
use crate::runtime::cpu::buffers::Place;
use crate::runtime::cpu::node::{Found, Node};
use crate::runtime::cpu::plan::Planner;
use crate::runtime::{Data, Tensor};
use ndarray::ArrayD;
use std::collections::BTreeMap;

/// Codes that one thread looks up at a time.
const BLOCK: usize = 1 << 14;

/// The table of a `dequantize`, elementwise operations of its result alone, and a `quantize`.
pub(in crate::runtime::cpu) fn build(
    planner: &mut Planner<'_>,
    nodes: &[Node<'_>],
    to: Place,
) -> Found<Step> {
    let table = table(nodes)?;
    let from = planner.argument(*nodes.first().ok_or("is empty")?, "input")?;
    Ok(Box::new(move |io: &mut Io<'_>| {
        let from = io.buffers.codes(from);
        blocks::each(io.outputs[0].codes_mut(to.len), BLOCK, |start, to| {
            let from = &from[start..start + to.len()];
            to.iter_mut().zip(from).for_each(|(to, &code)| *to = table[usize::from(code as u8)]);
        });
        Ok(())
    }))
}

/// The results for all codes, found by their bits.
fn table(nodes: &[Node<'_>]) -> Found<[i8; 256]> {
    let (first, last) = (nodes.first().ok_or("is empty")?, nodes.last().ok_or("is empty")?);
    let codes: Vec<i32> = (0..=255u8).map(|bits| i32::from(bits as i8)).collect();
    let codes = ArrayD::from_shape_vec(vec![256], codes).map_err(|why| why.to_string())?;
    let mut values = BTreeMap::new();
    values.insert(first.id("input")?, Tensor::int(DataType::Int8, codes));
    for node in nodes {
        let results = evaluate(*node, &values)?;
        values.extend(node.operation.outputs.iter().copied().zip(results));
    }
    let result = values.get(&last.operation.outputs[0]).map(|tensor| &tensor.data);
    let Some(Data::Int(results)) = result else { return Err("gives no codes".into()) };
    let mut table = [0; 256];
    for (entry, &code) in table.iter_mut().zip(results) {
        *entry = code as i8;
    }
    Ok(table)
}
