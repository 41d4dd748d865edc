//! Quantizes one matrix through the library and prints what was lost under several schemes.
//!
//! `cargo run --example quantize_tensor`

use ndarray::ArrayD;
use twolane::quantize::array;
use twolane::scheme::{Clip, Linear, LinearBits, LinearGranularity, Scheme};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A smooth matrix [64, 256] with an outlier in every row.
    let weights = ArrayD::from_shape_fn(vec![64, 256], |place| {
        let (row, column) = (place[0] as f32, place[1] as f32);
        let outlier = if place[1] == 7 * place[0] % 256 { 12.0 } else { 1.0 };
        (row * 1.7 + column * 0.31).sin() * 0.05 * outlier
    });

    println!(
        "{:<24} {:>9} {:>9} {:>11} {:>8}",
        "scheme", "SQNR dB", "RMSE", "max |error|", "clipped"
    );
    for (name, bits, granularity, clip) in [
        ("int8, whole tensor", LinearBits::Int8, LinearGranularity::Tensor, Clip::Mse),
        ("int8, channel", LinearBits::Int8, LinearGranularity::Channel { axis: 0 }, Clip::Mse),
        ("int8, blocks of 32", LinearBits::Int8, LinearGranularity::Block { size: 32 }, Clip::Mse),
        ("int4, blocks of 32", LinearBits::Int4, LinearGranularity::Block { size: 32 }, Clip::Mse),
        (
            "the same, no search",
            LinearBits::Int4,
            LinearGranularity::Block { size: 32 },
            Clip::None,
        ),
    ] {
        let scheme = Scheme::Linear(Linear { bits, asymmetric: false, granularity });
        let quantized = array(weights.view(), scheme, clip)?;
        let stats = &quantized.stats;
        println!(
            "{name:<24} {:>9.2} {:>9.6} {:>11.6} {:>7.2}%",
            stats.sqnr_db().unwrap_or(f64::INFINITY),
            stats.rmse(),
            stats.max_error,
            100.0 * stats.clipped_share(),
        );
        assert_eq!(quantized.dequantize().shape(), weights.shape());
    }
    Ok(())
}
