//! Operation → function, the one place.

use super::ops::{activation, arrange, attention, classify, conv, elementwise, fill, image, index};
use super::ops::{join, linear, norm, order, pool, quantize, reduce, reshape, slice};
use super::{Arguments, Tensor};

/// How an operation is evaluated.
pub(in crate::runtime) enum Function {
    /// One number from one number.
    Unary(fn(f64) -> f64),
    /// One number from two, on numbers and on integers.
    Binary(fn(f64, f64) -> f64, fn(i64, i64) -> i64),
    /// A flag from two numbers.
    Compare(fn(f64, f64) -> bool),
    /// A flag from two flags.
    Logic(fn(bool, bool) -> bool),
    /// One number from all along some axes.
    Reduce(fn(&[f64]) -> f64),
    /// One tensor from the arguments.
    One(fn(&Arguments<'_>) -> Result<Tensor, String>),
    /// Several.
    Many(fn(&Arguments<'_>) -> Result<Vec<Tensor>, String>),
}

use Function::{Binary, Compare, Logic, Many, One, Reduce, Unary};

/// How the operation of this name is evaluated.
pub(in crate::runtime) fn function(operation: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|(name, _)| *name == operation).map(|(_, function)| function)
}

/// Every operation that the reference knows, in alphabetical order.
static FUNCTIONS: &[(&str, Function)] = &[
    ("abs", Unary(f64::abs)),
    ("acos", Unary(f64::acos)),
    ("add", Binary(|x, y| x + y, |x, y| x + y)),
    ("affine", One(image::affine)),
    ("argsort", One(order::argsort)),
    ("asin", Unary(f64::asin)),
    ("atan", Unary(f64::atan)),
    ("atanh", Unary(f64::atanh)),
    ("avg_pool", One(pool::avg_pool)),
    ("band_part", One(fill::band_part)),
    ("batch_norm", One(norm::batch_norm)),
    ("batch_to_space", One(arrange::batch_to_space)),
    ("cast", One(elementwise::cast)),
    ("ceil", Unary(f64::ceil)),
    ("clamped_relu", One(activation::clamped_relu)),
    ("classify", Many(classify::classify)),
    ("clip", One(elementwise::clip)),
    ("concat", One(join::concat)),
    ("conv", One(conv::conv)),
    ("conv_transpose", One(conv::conv_transpose)),
    ("cos", Unary(f64::cos)),
    ("cosh", Unary(f64::cosh)),
    ("crop", One(image::crop)),
    ("crop_resize", One(image::crop_resize)),
    ("cumsum", One(order::cumsum)),
    ("depth_to_space", One(arrange::depth_to_space)),
    ("dequantize", One(quantize::dequantize)),
    ("einsum", One(linear::einsum)),
    ("elu", One(activation::elu)),
    ("equal", Compare(|x, y| x == y)),
    ("erf", Unary(elementwise::erf)),
    ("exp", Unary(f64::exp)),
    ("exp2", Unary(f64::exp2)),
    ("expand_dims", One(reshape::expand_dims)),
    ("fill", One(fill::fill)),
    ("fill_like", One(fill::fill_like)),
    ("flatten2d", One(reshape::flatten2d)),
    ("floor", Unary(f64::floor)),
    ("floor_div", Binary(|x, y| (x / y).floor(), elementwise::floor_div)),
    ("gather", One(index::gather)),
    ("gather_along_axis", One(index::gather_along_axis)),
    ("gather_nd", One(index::gather_nd)),
    ("gelu", One(activation::gelu)),
    ("greater", Compare(|x, y| x > y)),
    ("greater_equal", Compare(|x, y| x >= y)),
    ("identity", One(|arguments| reshape::identity(arguments, "x"))),
    ("instance_norm", One(norm::instance_norm)),
    ("inverse", One(elementwise::inverse)),
    ("l2_norm", One(norm::l2_norm)),
    ("l2_pool", One(pool::l2_pool)),
    ("layer_norm", One(norm::layer_norm)),
    ("leaky_relu", One(activation::leaky_relu)),
    ("less", Compare(|x, y| x < y)),
    ("less_equal", Compare(|x, y| x <= y)),
    ("linear", One(linear::linear)),
    ("linear_activation", One(activation::linear_activation)),
    ("local_response_norm", One(norm::local_response_norm)),
    ("log", One(elementwise::log)),
    ("logical_and", Logic(|x, y| x & y)),
    ("logical_not", One(elementwise::logical_not)),
    ("logical_or", Logic(|x, y| x | y)),
    ("logical_xor", Logic(|x, y| x ^ y)),
    ("matmul", One(linear::matmul)),
    ("max_pool", One(pool::max_pool)),
    ("maximum", Binary(elementwise::largest, |x, y| x.max(y))),
    ("minimum", Binary(elementwise::least, |x, y| x.min(y))),
    (
        "mod",
        Binary(elementwise::modulo, |x, y| {
            x.wrapping_sub(y.wrapping_mul(elementwise::floor_div(x, y)))
        }),
    ),
    ("mul", Binary(|x, y| x * y, |x, y| x * y)),
    ("non_zero", One(index::non_zero)),
    ("not_equal", Compare(|x, y| x != y)),
    ("one_hot", One(index::one_hot)),
    ("pad", One(fill::pad)),
    ("pixel_shuffle", One(arrange::pixel_shuffle)),
    ("pixel_unshuffle", One(arrange::pixel_unshuffle)),
    ("pow", Binary(f64::powf, elementwise::power)),
    ("prelu", One(activation::prelu)),
    ("quantize", One(quantize::quantize)),
    ("range_1d", One(fill::range_1d)),
    ("read_state", One(|arguments| reshape::identity(arguments, "input"))),
    ("real_div", Binary(|x, y| x / y, elementwise::quotient)),
    ("reduce_argmax", One(reduce::argmax)),
    ("reduce_argmin", One(reduce::argmin)),
    ("reduce_l1_norm", Reduce(reduce::l1_norm)),
    ("reduce_l2_norm", Reduce(reduce::l2_norm)),
    ("reduce_log_sum", Reduce(reduce::log_sum)),
    ("reduce_log_sum_exp", Reduce(reduce::log_sum_exp)),
    ("reduce_max", Reduce(reduce::max)),
    ("reduce_mean", Reduce(reduce::mean)),
    ("reduce_min", Reduce(reduce::min)),
    ("reduce_prod", Reduce(reduce::prod)),
    ("reduce_sum", Reduce(reduce::sum)),
    ("reduce_sum_square", Reduce(reduce::sum_square)),
    ("relu", Unary(activation::relu)),
    ("relu6", Unary(activation::relu6)),
    ("resample", One(image::resample)),
    ("reshape", One(reshape::reshape)),
    ("reshape_like", One(reshape::reshape_like)),
    ("resize", One(image::resize)),
    ("resize_bilinear", One(image::resize_bilinear)),
    ("resize_nearest_neighbor", One(image::resize_nearest_neighbor)),
    ("reverse", One(arrange::reverse)),
    ("reverse_sequence", One(arrange::reverse_sequence)),
    ("round", Unary(f64::round_ties_even)),
    ("rsqrt", One(elementwise::rsqrt)),
    ("scaled_dot_product_attention", One(attention::scaled_dot_product_attention)),
    ("scaled_tanh", One(activation::scaled_tanh)),
    ("scatter", One(index::scatter)),
    ("scatter_along_axis", One(index::scatter_along_axis)),
    ("scatter_nd", One(index::scatter_nd)),
    ("select", One(elementwise::select)),
    ("shape", One(reshape::shape)),
    ("sigmoid", Unary(activation::sigmoid)),
    ("sigmoid_hard", One(activation::sigmoid_hard)),
    ("sign", Unary(elementwise::sign)),
    ("silu", Unary(activation::silu)),
    ("sin", Unary(f64::sin)),
    ("sinh", Unary(f64::sinh)),
    ("slice_by_index", One(slice::slice_by_index)),
    ("slice_by_size", One(slice::slice_by_size)),
    ("slice_update", One(slice::slice_update)),
    ("sliding_windows", One(arrange::sliding_windows)),
    ("softmax", One(activation::softmax)),
    ("softplus", Unary(activation::softplus)),
    ("softplus_parametric", One(activation::softplus_parametric)),
    ("softsign", Unary(activation::softsign)),
    ("space_to_batch", One(arrange::space_to_batch)),
    ("space_to_depth", One(arrange::space_to_depth)),
    ("split", Many(join::split)),
    ("sqrt", Unary(f64::sqrt)),
    ("square", Unary(|x| x * x)),
    ("squeeze", One(reshape::squeeze)),
    ("stack", One(join::stack)),
    ("sub", Binary(|x, y| x - y, |x, y| x - y)),
    ("tan", Unary(f64::tan)),
    ("tanh", Unary(f64::tanh)),
    ("threshold", One(elementwise::threshold)),
    ("thresholded_relu", One(activation::thresholded_relu)),
    ("tile", One(join::tile)),
    ("topk", Many(order::topk)),
    ("transpose", One(arrange::transpose)),
    ("upsample_bilinear", One(image::upsample_bilinear)),
    ("upsample_nearest_neighbor", One(image::upsample_nearest_neighbor)),
    ("write_state", One(|arguments| reshape::identity(arguments, "data"))),
];

#[cfg(test)]
mod tests {
    use super::FUNCTIONS;
    use crate::graph::ops::rows;

    #[test]
    fn every_operation_of_the_graph_has_its_function() {
        for row in rows() {
            assert!(FUNCTIONS.iter().any(|(name, _)| *name == row.name), "{}", row.name);
        }
    }

    #[test]
    fn every_function_belongs_to_an_operation_of_the_graph() {
        for (name, _) in FUNCTIONS {
            assert!(rows().any(|row| row.name == *name), "{name}");
        }
    }

    #[test]
    fn functions_stand_in_alphabetical_order() {
        assert!(FUNCTIONS.is_sorted_by_key(|(name, _)| name));
    }
}
