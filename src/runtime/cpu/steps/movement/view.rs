//! Operations whose result is a strided view of `x`.

use super::slice;
use crate::runtime::cpu::node::{Found, Node};
use crate::runtime::cpu::strided::{View, row_major};

/// What the result shows of `x`; `None` if it is no view that is known before the run.
pub(super) fn fixed(node: Node<'_>) -> Found<Option<View>> {
    let known = [
        "transpose",
        "reverse",
        "tile",
        "slice_by_index",
        "slice_by_size",
        "depth_to_space",
        "space_to_depth",
        "pixel_shuffle",
        "pixel_unshuffle",
        "sliding_windows",
    ];
    if !known.contains(&node.kind()) {
        return Ok(None);
    }
    let x = node.shape("x")?;
    let strides = row_major(&x);
    let square = |name: &str| -> Found<(usize, isize)> {
        let by = usize::try_from(node.int(name)?).ok().filter(|&by| by > 0);
        let by = by.ok_or_else(|| format!("`{name}` is no size"))?;
        Ok((by, by as isize))
    };
    // Sizes and strides of a batch of images.
    let image = || match (&x[..], &strides[..]) {
        (&[n, c, h, w], &[sn, sc, sh, sw]) => Ok(([n, c, h, w], [sn, sc, sh, sw])),
        _ => Err("takes batches of images only".to_owned()),
    };
    Ok(match node.kind() {
        "transpose" => {
            let rank = x.len() as i64;
            let axis = |&n: &i64| usize::try_from(if n < 0 { n + rank } else { n }).ok();
            let perm = node.ints("perm", 0)?;
            let perm: Option<Vec<usize>> = perm.iter().map(axis).collect();
            let perm = perm.filter(|perm| perm.iter().all(|&axis| axis < x.len()));
            let perm = perm.ok_or("`perm` is no permutation")?;
            let shape: Vec<_> = perm.iter().map(|&axis| x[axis]).collect();
            let strides: Vec<_> = perm.iter().map(|&axis| strides[axis]).collect();
            View::new(&shape, &strides, 0)
        }
        "reverse" => {
            let (mut strides, mut offset) = (strides, 0);
            for axis in node.axes("axes", x.len())? {
                offset += x[axis].saturating_sub(1) * strides[axis].unsigned_abs();
                strides[axis] = -strides[axis];
            }
            View::new(&x, &strides, offset)
        }
        "tile" if !node.varies("reps") => {
            let reps = node.sizes("reps", x.len())?;
            let shape: Vec<_> = reps.iter().zip(&x).flat_map(|(&r, &d)| [r, d]).collect();
            let strides: Vec<_> = strides.iter().flat_map(|&stride| [0, stride]).collect();
            View::new(&shape, &strides, 0)
        }
        "slice_by_index" | "slice_by_size" => match slice::read(node)? {
            Some(slice) => slice.fixed(),
            None => None,
        },
        "depth_to_space" => {
            let ([n, c, h, w], [sn, sc, sh, sw]) = image()?;
            let (by, b) = square("block_size")?;
            let c = c / (by * by);
            let kept = c as isize * sc;
            View::new(&[n, c, h, by, w, by], &[sn, sc, sh, b * kept, sw, kept], 0)
        }
        "pixel_shuffle" => {
            let ([n, c, h, w], [sn, sc, sh, sw]) = image()?;
            let (by, b) = square("upscale_factor")?;
            View::new(&[n, c / (by * by), h, by, w, by], &[sn, b * b * sc, sh, b * sc, sw, sc], 0)
        }
        "space_to_depth" => {
            let ([n, c, h, w], [sn, sc, sh, sw]) = image()?;
            let (by, b) = square("block_size")?;
            View::new(&[n, by, by, c, h / by, w / by], &[sn, sh, sw, sc, b * sh, b * sw], 0)
        }
        "pixel_unshuffle" => {
            let ([n, c, h, w], [sn, sc, sh, sw]) = image()?;
            let (by, b) = square("downscale_factor")?;
            View::new(&[n, c, by, by, h / by, w / by], &[sn, sc, sh, sw, b * sh, b * sw], 0)
        }
        "sliding_windows" => {
            let axis = node.axis("axis", x.len())?;
            let (_, step) = square("stride")?;
            let shape = node.out_shape(0)?;
            let mut windows = strides.clone();
            windows[axis] = strides[axis] * step;
            windows.insert(axis + 1, strides[axis]);
            View::new(&shape, &windows, 0)
        }
        _ => None,
    })
}
