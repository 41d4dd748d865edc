//! The same elements in another order: transposing, reversing, and blocks between dimensions.

use super::arguments::{Arguments, Inferred, listed, on_axis, one, require};
use super::dims::{divided, map, times};
use super::domain::{COUNT, FLOAT, INT, MOVED, SIZES, WINDOWED};
use super::elementwise::same;
use super::{Default, Param, Row};
use crate::graph::Dim;
use crate::target::Target;

const X: Param = Param::tensor("x", MOVED);
const IMAGE: Param = Param::tensor("x", FLOAT);
const BLOCK: Param = Param::constant("block_shape", INT);

pub(super) static ROWS: &[Row] = &[
    Row::new("batch_to_space", &[IMAGE, BLOCK, Param::constant("crops", INT)], batch_to_space),
    // Channel (i, j, c) becomes pixel (i, j) of channel c.
    Row::new("depth_to_space", &[IMAGE, Param::int("block_size")], depth_to_space),
    // Channel (c, i, j) becomes pixel (i, j) of channel c.
    Row::new("pixel_shuffle", &[IMAGE, Param::int("upscale_factor")], pixel_shuffle),
    Row::new(
        "pixel_unshuffle",
        &[IMAGE, Param::constant("downscale_factor", COUNT)],
        pixel_unshuffle,
    )
    .since(Target::Ios16),
    Row::new("reverse", &[X, Param::constant("axes", INT).or(Default::Absent)], reverse),
    // The first `lengths[b]` elements of each sequence.
    Row::new(
        "reverse_sequence",
        &[
            X,
            Param::tensor("lengths", SIZES),
            Param::int("seq_axis").or(Default::Int(0)),
            Param::int("batch_axis").or(Default::Int(0)),
        ],
        reverse_sequence,
    ),
    Row::new(
        "sliding_windows",
        &[
            Param::tensor("x", WINDOWED),
            Param::int("axis"),
            Param::int("size"),
            Param::int("stride").or(Default::Int(1)),
        ],
        sliding_windows,
    ),
    Row::new("space_to_batch", &[IMAGE, BLOCK, Param::constant("paddings", INT)], space_to_batch),
    Row::new("space_to_depth", &[IMAGE, Param::int("block_size")], space_to_depth),
    Row::new("transpose", &[X, Param::constant("perm", INT)], transpose),
];

fn transpose(args: &Arguments<'_>) -> Inferred {
    let x = args.tensor("x")?;
    let perm = args.vector("perm", x.rank(), i64::MIN)?;
    let axes: Vec<_> =
        perm.iter().map(|&axis| on_axis("perm", axis, x.rank())).collect::<Result<_, _>>()?;
    let all = (0..x.rank()).all(|axis| axes.contains(&axis));
    require(all, || format!("`perm` is {}, no permutation", listed(&perm)))?;
    one(x.dtype, axes.iter().map(|&axis| x.dims[axis]).collect())
}

fn reverse(args: &Arguments<'_>) -> Inferred {
    args.axes("axes", args.tensor("x")?.rank())?;
    same(args)
}

fn reverse_sequence(args: &Arguments<'_>) -> Inferred {
    let (x, lengths) = (args.tensor("x")?, args.tensor("lengths")?);
    args.axis("seq_axis", x.rank())?;
    let batch = x.dims[args.axis("batch_axis", x.rank())?];
    let fits = matches!(lengths.dims[..], [count] if count.may_equal(batch));
    require(fits, || format!("`lengths` is {lengths} beside `x`, which is {x}"))?;
    same(args)
}

/// `[.., d, ..]` → `[.., windows, size, ..]`.
fn sliding_windows(args: &Arguments<'_>) -> Inferred {
    let x = args.tensor("x")?;
    let axis = args.axis("axis", x.rank())?;
    let (size, stride) = (args.size("size", 1)?, args.size("stride", 1)?);
    let windows =
        map(x.dims[axis], |d| (d >= size as i128).then(|| (d - size as i128) / stride as i128 + 1));
    let mut dims = x.dims.clone();
    dims[axis] = windows.ok_or_else(|| format!("`size` is {size}, and `x` is {x}"))?;
    dims.insert(axis + 1, Dim::Fixed(size));
    one(x.dtype, dims)
}

/// The dimensions of a batch of images, and a factor that is at least 1, squared too.
fn images(args: &Arguments<'_>, factor: &str) -> Result<([Dim; 4], usize, usize), String> {
    let x = args.of_rank("x", 4)?;
    let factor_is = args.size(factor, 1)?;
    let square = factor_is.checked_mul(factor_is);
    let square = square.ok_or_else(|| format!("`{factor}` is {factor_is}"))?;
    Ok(([x.dims[0], x.dims[1], x.dims[2], x.dims[3]], factor_is, square))
}

fn image(args: &Arguments<'_>, factor: &str, dims: [Option<Dim>; 4]) -> Inferred {
    let x = args.tensor("x")?;
    let dims: Option<Vec<_>> = dims.into_iter().collect();
    one(x.dtype, dims.ok_or_else(|| format!("`{factor}` does not fit `x`, which is {x}"))?)
}

/// Channels become pixels.
fn spread(args: &Arguments<'_>, factor: &str) -> Inferred {
    let ([n, c, h, w], by, square) = images(args, factor)?;
    image(args, factor, [Some(n), divided(c, square), times(h, by), times(w, by)])
}

/// Pixels become channels.
fn gathered(args: &Arguments<'_>, factor: &str) -> Inferred {
    let ([n, c, h, w], by, square) = images(args, factor)?;
    image(args, factor, [Some(n), times(c, square), divided(h, by), divided(w, by)])
}

fn depth_to_space(args: &Arguments<'_>) -> Inferred {
    spread(args, "block_size")
}

fn pixel_shuffle(args: &Arguments<'_>) -> Inferred {
    spread(args, "upscale_factor")
}

fn space_to_depth(args: &Arguments<'_>) -> Inferred {
    gathered(args, "block_size")
}

fn pixel_unshuffle(args: &Arguments<'_>) -> Inferred {
    gathered(args, "downscale_factor")
}

/// The two block sizes, their product, and what `edges` says of each side of both dimensions.
fn blocks(args: &Arguments<'_>, edges: &str) -> Result<([usize; 2], usize, [i128; 2]), String> {
    args.of_rank("x", 4)?;
    let block = args.vector("block_shape", 2, 1)?;
    let ty = args.tensor(edges)?;
    require(ty.dims == [Dim::Fixed(2); 2], || format!("`{edges}` is {ty}, not [2, 2]"))?;
    let edges = args.vector(edges, 4, 0)?;
    let block = [block[0] as usize, block[1] as usize];
    let product = block[0].checked_mul(block[1]).ok_or("`block_shape` overflows")?;
    let sum = |a: i64, b: i64| i128::from(a) + i128::from(b);
    Ok((block, product, [sum(edges[0], edges[1]), sum(edges[2], edges[3])]))
}

fn batch_to_space(args: &Arguments<'_>) -> Inferred {
    let (block, product, crops) = blocks(args, "crops")?;
    let x = args.tensor("x")?;
    let grown = |axis: usize| {
        let size = times(x.dims[axis + 2], block[axis])?;
        map(size, |size| size.checked_sub(crops[axis]))
    };
    image(args, "block_shape", [divided(x.dims[0], product), Some(x.dims[1]), grown(0), grown(1)])
}

fn space_to_batch(args: &Arguments<'_>) -> Inferred {
    let (block, product, paddings) = blocks(args, "paddings")?;
    let x = args.tensor("x")?;
    let shrunk = |axis: usize| {
        let size = map(x.dims[axis + 2], |size| size.checked_add(paddings[axis]))?;
        divided(size, block[axis])
    };
    image(args, "block_shape", [times(x.dims[0], product), Some(x.dims[1]), shrunk(0), shrunk(1)])
}
