//! Which codes stand for which numbers: `quantize` and `dequantize` with one scale.

use super::node::Node;
use crate::graph::DataType;
use crate::runtime::integer::Affine;

/// What the INT8 codes of a `quantize` or `dequantize` stand for; `None` for another operation,
/// another type, or scales along an axis.
///
/// All 256 codes stand for finite numbers, which differ.
pub(super) fn affine(node: Node<'_>) -> Option<Affine> {
    let codes = match node.kind() {
        "quantize" => node.out_dtype(0),
        "dequantize" => node.dtype("input"),
        _ => return None,
    };
    let one = |name: &str| node.shape(name).is_ok_and(|shape| shape.is_empty());
    let zero = node.operation.argument("zero_point").is_some();
    if codes != Ok(DataType::Int8) || !one("scale") || (zero && !one("zero_point")) {
        return None;
    }
    let scale = node.number("scale").ok()?;
    let zero_point = if zero { node.number("zero_point").ok()? as i8 } else { 0 };
    (scale > 0.0 && (255.0 * scale).is_finite()).then_some(Affine { scale, zero_point })
}
