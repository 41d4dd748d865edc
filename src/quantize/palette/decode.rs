//! From indices back to weights.

use super::shape::Shape;
use super::table::int8_value;
use crate::quantize::Params;
use crate::scheme::{self, Entries, PaletteGranularity};
use half::f16;

/// What the entries of all tables decode to, `[groups, P, V]`.
fn values(scheme: scheme::Palette, params: &Params) -> Vec<f16> {
    match scheme.entries {
        Entries::F16 => params.table.clone(),
        Entries::Int8 => {
            let size = usize::from(scheme.vector) << scheme.bits;
            let tables = params.table_codes.chunks_exact(size).zip(&params.table_scale);
            tables.flat_map(|(codes, &s)| codes.iter().map(move |&q| int8_value(q, s))).collect()
        }
    }
}

/// Decodes whole lines. `tables` hold the tables of these rows, `scales` their channels' scales or
/// none. `Err` says which length is wrong.
pub(super) fn rows(
    shape: &Shape,
    scheme: scheme::Palette,
    codes: &[u8],
    tables: &Params,
    scales: &[f16],
    out: &mut [f16],
) -> Result<(), String> {
    let (v, step, run) = (shape.vector, shape.rows_per_line(), shape.run());
    let (per_line, size) = (shape.codes_per_line(), v << scheme.bits);
    let lines = codes.len() / per_line;
    let values = values(scheme, tables);
    let rows_per_table = if shape.tables_by_row() { shape.granule_rows() } else { lines * step };
    let wanted = if shape.tables_by_row() { lines * step / rows_per_table } else { shape.groups };
    if values.len() != wanted * size {
        return Err(format!("{} table values instead of {}", values.len(), wanted * size));
    }
    if out.len() != lines * step * shape.cols {
        return Err(format!("{} decoded weights for {} codes", out.len(), codes.len()));
    }
    if scheme.channel_scale && scales.len() != lines * step {
        return Err(format!("{} channel scales for {} rows", scales.len(), lines * step));
    }
    if let Some(code) = codes.iter().find(|&&c| usize::from(c) >= size / v) {
        return Err(format!("code {code} in a palette of {}", size / v));
    }
    let line_codes = codes.chunks_exact(per_line);
    for (i, (codes, out)) in line_codes.zip(out.chunks_exact_mut(step * shape.cols)).enumerate() {
        for (j, codes) in codes.chunks_exact(run).enumerate() {
            let table = if shape.tables_by_row() { i * step / rows_per_table } else { j };
            let table = &values[table * size..(table + 1) * size];
            for d in 0..v {
                for (p, &code) in codes.iter().enumerate() {
                    let at = shape.position(j * run + p, d);
                    out[at] = table[usize::from(code) * v + d];
                }
            }
        }
        for (out, s) in out.chunks_exact_mut(shape.cols).zip(scales.iter().skip(i * step)) {
            for w in out {
                *w = f16::from_f32(w.to_f32() * s.to_f32());
            }
        }
    }
    Ok(())
}

/// Decodes a whole tensor by the formula alone: for each weight, which index, which table, which
/// component.
///
/// # Panics
/// If codes or parameters are not those of the shape and scheme.
pub(in crate::quantize) fn dequantize(
    scheme: scheme::Palette,
    shape: &[usize],
    codes: &[u8],
    params: &Params,
) -> Vec<f16> {
    let (axis, v) = (usize::from(scheme.axis), usize::from(scheme.vector));
    let (o, i) = (shape[0], shape[1]);
    let taps: usize = shape[2..].iter().product();
    let group = match scheme.granularity {
        PaletteGranularity::Tensor => shape[axis],
        PaletteGranularity::Group { size } => size as usize,
    };
    let mut out = Vec::with_capacity(o * i * taps);
    for row in 0..o {
        for channel in 0..i {
            for tap in 0..taps {
                let (code_row, code_channel, along) =
                    if axis == 0 { (row / v, channel, row) } else { (row, channel / v, channel) };
                let channels = if axis == 0 { i } else { i / v };
                let code = usize::from(codes[(code_row * channels + code_channel) * taps + tap]);
                let table = along / group;
                let entry = ((table << scheme.bits) + code) * v + along % v;
                let value = match scheme.entries {
                    Entries::F16 => params.table[entry],
                    Entries::Int8 => {
                        let product = params.table_scale[table].to_f32()
                            * f32::from(params.table_codes[entry]);
                        f16::from_f32(product)
                    }
                };
                out.push(if scheme.channel_scale {
                    f16::from_f32(value.to_f32() * params.channel_scale[row].to_f32())
                } else {
                    value
                });
            }
        }
    }
    out
}
