//! Pooling over windows.

use super::arguments::{Arguments, Inferred, listed, one, require};
use super::conv::{Padding, Window};
use super::domain::{FLOAT, INT};
use super::{Default, Param, Row};

const X: Param = Param::tensor("x", FLOAT);
const KERNEL: Param = Param::constant("kernel_sizes", INT);
const STRIDES: Param = Param::constant("strides", INT).or(Default::Each(1));
const PAD_TYPE: Param = Param::word("pad_type");
const PAD: Param = Param::constant("pad", INT).or(Default::Each(0));
const CEIL: Param = Param::flag("ceil_mode", false);

/// `same_lower` came with iOS 16.
pub(super) static ROWS: &[Row] = &[
    Row::new(
        "avg_pool",
        &[
            X,
            KERNEL,
            STRIDES,
            PAD_TYPE,
            PAD,
            Param::flag("exclude_padding_from_average", false),
            CEIL,
        ],
        pool,
    ),
    // The root of the sum of squares.
    Row::new("l2_pool", &[X, KERNEL, STRIDES, PAD_TYPE, PAD, CEIL], l2_pool),
    Row::new("max_pool", &[X, KERNEL, STRIDES, PAD_TYPE, PAD, CEIL], pool),
];

/// x `[n, C, *d]` → `[n, C, *windows]`, 1 to 3 spatial dimensions.
fn pool(args: &Arguments<'_>) -> Inferred {
    let x = args.tensor("x")?;
    let spatial = x.rank().saturating_sub(2);
    require((1..=3).contains(&spatial), || format!("`x` is {x}; 1 to 3 spatial dimensions"))?;
    let kernel = args.vector("kernel_sizes", spatial, 1)?;
    let strides = args.vector("strides", spatial, 1)?;
    let pads = Padding::of(args, spatial)?;
    let ceil = args.flag("ceil_mode")?;
    let pad = args.vector("pad", 2 * spatial, 0)?;
    if ceil {
        let same = matches!(pads[0], Padding::Same);
        let even = pad.chunks_exact(2).all(|pair| pair[0] == pair[1]);
        require(spatial <= 2 && even && !same, || {
            format!(
                "`ceil_mode` takes 1 or 2 spatial dimensions and even padding; `x` is {x}, `pad` {}",
                listed(&pad)
            )
        })?;
    }
    let mut dims = x.dims[..2].to_vec();
    for axis in 0..spatial {
        let (reach, stride) = (kernel[axis].into(), strides[axis]);
        let places = Window { reach, stride, pad: pads[axis], ceil }.places(x.dims[axis + 2]);
        dims.push(places.ok_or_else(|| {
            format!("`kernel_sizes` {} reach over the end of `x` {x}", listed(&kernel))
        })?);
    }
    one(x.dtype, dims)
}

fn l2_pool(args: &Arguments<'_>) -> Inferred {
    let x = args.tensor("x")?;
    require(x.rank() <= 4, || format!("`x` is {x}; 1 or 2 spatial dimensions"))?;
    pool(args)
}
