//! The chips, one row each. What no source says is left out, and so unknown.
//!
//! Rates of the Neural Engine on A18 Pro and A19 Pro are of a 3x3 convolution with weights of zeros, which
//! a chip may skip: effective rates, not roofs of other work. M6 has two engines: its rates are of one,
//! 2048 channels and 1x1; both together reached 39.8 in FP16, and 38.6 in INT8 on thin layers.

use super::Kind::{Claimed, Derived, Measured, Spec};
use super::{Chip, Fact, Figure};

const ACCELERATORS: &str = "tzakharko.github.io/apple-neural-accelerators-benchmark";
const ANEMLL_GIST: &str = "Anemll gist, ANE INT8 W8A8 Benchmark (2026-03-08)";
const CAPACITY: &str = "github.com/freedomtan/measure_ane_capacity";
const COREMLTOOLS: &str =
    "coremltools' guide, opt-overview: `int8-int8 compute path` on A17 Pro, M4";
const COREMLTOOLS_A16: &str = "coremltools' guide, opt-quantization-perf: ResNet50 W8A8 1.62 times \
    as fast, which less traffic may explain";
const COREMLTOOLS_OPT: &str = "coremltools' guide, opt-opt1_3: 4-bit palette 6.2 times as fast";
const FORGE: &str = "github.com/Anemll/anemll-forge, RESULTS_M5_MAX_INT8.md";
const GUIDE: &str = "arXiv 2606.22283, github.com/sbryngelson/ane-guide";
const HMC: &str = "hmc-tech.com, clock and cores";
const LLAMA_1642: &str = "github.com/ggml-org/llama.cpp/pull/1642";
const LLAMA_2248: &str = "github.com/ggml-org/llama.cpp/pull/2248";
const M6_STUDY: &str = "github.com/751K/Apple-Neural-Engine-Microarchitecture-Study-M6";
const MADERIX: &str = "github.com/maderix/ANE";
const MADERIX_4: &str = "maderix, Inside the M4 ANE, part 4, by the study of 751K";
const METAL_BENCHMARKS: &str = "github.com/philipturner/metal-benchmarks";
const NO_PAGE: &str = "stated without a page to read";
const ORANGES: &str = "arXiv 2502.05317";
const PRESS: &str = "press on the announcement";
const SME: &str = "github.com/tzakharko/m4-sme-exploration";

const UNKNOWN: Chip = Chip {
    name: "",
    dram_gbps: Figure::new(0.0, Claimed, NO_PAGE),
    cpu_gbps: None,
    gpu_gbps: None,
    slc_mb: None,
    ane_fp16_tops: None,
    ane_int8_tops: None,
    ane_weight_gbps: None,
    ane_operand_mib: None,
    ane_axis: None,
    ane_call_ms: None,
    ane_int8_path: None,
    ane_streams_linear: None,
    ane_streams_blocks: None,
    ane_streams_narrow_palettes: None,
    gpu_fp16_tflops: None,
    gpu_int8_tops: None,
    cpu_fp16_tflops: None,
    cpu_int8_tops: None,
};

const fn figure(value: f64, kind: super::Kind, source: &'static str) -> Option<Figure> {
    Some(Figure::new(value, kind, source))
}

const fn fact(holds: bool, kind: super::Kind, source: &'static str) -> Option<Fact> {
    Some(Fact::new(holds, kind, source))
}

pub(super) static CHIPS: &[Chip] = &[
    Chip {
        name: "A14",
        dram_gbps: Figure::new(34.1, Claimed, NO_PAGE),
        slc_mb: figure(16.0, Claimed, METAL_BENCHMARKS),
        ane_axis: figure(16384.0, Derived, GUIDE),
        ane_int8_path: fact(false, Derived, CAPACITY),
        ane_streams_linear: fact(false, Derived, GUIDE),
        ane_streams_blocks: fact(false, Derived, GUIDE),
        gpu_fp16_tflops: figure(0.654, Derived, METAL_BENCHMARKS),
        ..UNKNOWN
    },
    Chip {
        name: "A15",
        dram_gbps: Figure::new(34.1, Claimed, NO_PAGE),
        slc_mb: figure(32.0, Claimed, METAL_BENCHMARKS),
        ane_axis: figure(16384.0, Derived, GUIDE),
        ane_streams_linear: fact(true, Derived, GUIDE),
        ane_streams_blocks: fact(false, Derived, GUIDE),
        gpu_fp16_tflops: figure(1.713, Derived, METAL_BENCHMARKS),
        ..UNKNOWN
    },
    Chip {
        name: "A16",
        dram_gbps: Figure::new(51.2, Claimed, NO_PAGE),
        slc_mb: figure(24.0, Claimed, METAL_BENCHMARKS),
        ane_axis: figure(16384.0, Derived, GUIDE),
        ane_int8_path: fact(true, Measured, COREMLTOOLS_A16),
        ane_streams_linear: fact(true, Derived, GUIDE),
        ane_streams_blocks: fact(true, Derived, GUIDE),
        gpu_fp16_tflops: figure(1.789, Derived, METAL_BENCHMARKS),
        ..UNKNOWN
    },
    Chip {
        name: "A17 Pro",
        dram_gbps: Figure::new(51.2, Claimed, NO_PAGE),
        ane_int8_path: fact(true, Claimed, COREMLTOOLS),
        ane_streams_linear: fact(true, Derived, GUIDE),
        ane_streams_blocks: fact(true, Derived, GUIDE),
        ane_streams_narrow_palettes: fact(true, Measured, COREMLTOOLS_OPT),
        ..UNKNOWN
    },
    Chip {
        name: "A18",
        dram_gbps: Figure::new(60.0, Claimed, NO_PAGE),
        ane_int8_path: fact(true, Derived, COREMLTOOLS),
        ..UNKNOWN
    },
    Chip {
        name: "A18 Pro",
        dram_gbps: Figure::new(60.0, Claimed, PRESS),
        ane_fp16_tops: figure(30.18, Measured, CAPACITY),
        ane_int8_tops: figure(48.46, Measured, CAPACITY),
        ane_axis: figure(65536.0, Derived, GUIDE),
        ane_int8_path: fact(true, Measured, CAPACITY),
        ..UNKNOWN
    },
    Chip {
        name: "A19",
        dram_gbps: Figure::new(68.0, Claimed, NO_PAGE),
        ane_int8_path: fact(true, Derived, COREMLTOOLS),
        gpu_fp16_tflops: figure(7.5, Measured, ACCELERATORS),
        gpu_int8_tops: figure(13.5, Measured, ACCELERATORS),
        ..UNKNOWN
    },
    Chip {
        name: "A19 Pro",
        dram_gbps: Figure::new(76.0, Claimed, PRESS),
        ane_fp16_tops: figure(44.41, Measured, CAPACITY),
        ane_int8_tops: figure(49.27, Measured, CAPACITY),
        ane_int8_path: fact(true, Measured, CAPACITY),
        gpu_fp16_tflops: figure(9.0, Derived, ACCELERATORS),
        gpu_int8_tops: figure(16.2, Derived, ACCELERATORS),
        ..UNKNOWN
    },
    Chip {
        name: "M1",
        dram_gbps: Figure::new(68.2, Spec, LLAMA_1642),
        cpu_gbps: figure(53.3, Measured, LLAMA_1642),
        slc_mb: figure(8.0, Claimed, METAL_BENCHMARKS),
        ane_fp16_tops: figure(10.83, Measured, CAPACITY),
        ane_int8_tops: figure(11.36, Measured, CAPACITY),
        ane_weight_gbps: figure(51.0, Measured, GUIDE),
        ane_operand_mib: figure(2.0, Derived, GUIDE),
        ane_axis: figure(16384.0, Measured, GUIDE),
        ane_call_ms: figure(0.23, Measured, GUIDE),
        ane_int8_path: fact(false, Measured, CAPACITY),
        ane_streams_linear: fact(false, Derived, GUIDE),
        ane_streams_blocks: fact(false, Derived, GUIDE),
        gpu_fp16_tflops: figure(2.617, Derived, METAL_BENCHMARKS),
        ..UNKNOWN
    },
    Chip {
        name: "M1 Pro",
        dram_gbps: Figure::new(204.8, Spec, LLAMA_1642),
        cpu_gbps: figure(88.4, Measured, LLAMA_1642),
        slc_mb: figure(24.0, Claimed, METAL_BENCHMARKS),
        ane_operand_mib: figure(2.0, Derived, GUIDE),
        ane_axis: figure(16384.0, Derived, GUIDE),
        ane_int8_path: fact(false, Derived, CAPACITY),
        ane_streams_linear: fact(false, Derived, GUIDE),
        ane_streams_blocks: fact(false, Derived, GUIDE),
        gpu_fp16_tflops: figure(5.308, Derived, METAL_BENCHMARKS),
        ..UNKNOWN
    },
    Chip {
        name: "M1 Max",
        dram_gbps: Figure::new(409.6, Spec, LLAMA_1642),
        cpu_gbps: figure(100.0, Measured, LLAMA_1642),
        gpu_gbps: figure(345.0, Measured, LLAMA_2248),
        slc_mb: figure(48.0, Claimed, METAL_BENCHMARKS),
        ane_fp16_tops: figure(12.0, Measured, GUIDE),
        ane_weight_gbps: figure(51.0, Measured, GUIDE),
        ane_operand_mib: figure(2.0, Derived, GUIDE),
        ane_axis: figure(16384.0, Derived, GUIDE),
        ane_call_ms: figure(0.23, Measured, GUIDE),
        ane_int8_path: fact(false, Derived, CAPACITY),
        ane_streams_linear: fact(false, Derived, GUIDE),
        ane_streams_blocks: fact(false, Derived, GUIDE),
        gpu_fp16_tflops: figure(10.617, Derived, METAL_BENCHMARKS),
        ..UNKNOWN
    },
    Chip {
        name: "M1 Ultra",
        dram_gbps: Figure::new(800.0, Spec, PRESS),
        slc_mb: figure(96.0, Claimed, METAL_BENCHMARKS),
        ane_axis: figure(16384.0, Derived, GUIDE),
        ane_int8_path: fact(false, Derived, CAPACITY),
        ane_streams_linear: fact(false, Derived, GUIDE),
        ane_streams_blocks: fact(false, Derived, GUIDE),
        gpu_fp16_tflops: figure(21.233, Derived, METAL_BENCHMARKS),
        ..UNKNOWN
    },
    Chip {
        name: "M2",
        dram_gbps: Figure::new(102.4, Spec, PRESS),
        slc_mb: figure(8.0, Claimed, METAL_BENCHMARKS),
        ane_axis: figure(16384.0, Derived, GUIDE),
        ane_streams_linear: fact(true, Derived, GUIDE),
        ane_streams_blocks: fact(false, Derived, GUIDE),
        gpu_fp16_tflops: figure(3.579, Derived, METAL_BENCHMARKS),
        ..UNKNOWN
    },
    Chip {
        name: "M2 Pro",
        dram_gbps: Figure::new(204.8, Spec, PRESS),
        slc_mb: figure(24.0, Claimed, METAL_BENCHMARKS),
        ane_axis: figure(16384.0, Derived, GUIDE),
        ane_streams_linear: fact(true, Measured, GUIDE),
        ane_streams_blocks: fact(false, Measured, GUIDE),
        gpu_fp16_tflops: figure(6.8, Derived, METAL_BENCHMARKS),
        ..UNKNOWN
    },
    Chip {
        name: "M2 Max",
        dram_gbps: Figure::new(409.6, Claimed, NO_PAGE),
        slc_mb: figure(48.0, Claimed, METAL_BENCHMARKS),
        ane_axis: figure(16384.0, Derived, GUIDE),
        ane_streams_linear: fact(true, Derived, GUIDE),
        ane_streams_blocks: fact(false, Derived, GUIDE),
        gpu_fp16_tflops: figure(13.6, Derived, METAL_BENCHMARKS),
        ..UNKNOWN
    },
    Chip {
        name: "M2 Ultra",
        dram_gbps: Figure::new(800.0, Spec, PRESS),
        ane_axis: figure(16384.0, Derived, GUIDE),
        ane_streams_linear: fact(true, Derived, GUIDE),
        ane_streams_blocks: fact(false, Derived, GUIDE),
        gpu_fp16_tflops: figure(27.2, Derived, PRESS),
        ..UNKNOWN
    },
    Chip {
        name: "M3",
        dram_gbps: Figure::new(102.4, Spec, PRESS),
        ane_axis: figure(16384.0, Derived, GUIDE),
        ane_streams_linear: fact(true, Derived, GUIDE),
        ane_streams_blocks: fact(true, Derived, GUIDE),
        gpu_fp16_tflops: figure(3.58, Derived, HMC),
        ..UNKNOWN
    },
    Chip {
        name: "M3 Pro",
        dram_gbps: Figure::new(153.6, Spec, PRESS),
        ane_fp16_tops: figure(16.77, Measured, MADERIX),
        ane_axis: figure(16384.0, Derived, GUIDE),
        ane_streams_linear: fact(true, Derived, GUIDE),
        ane_streams_blocks: fact(true, Derived, GUIDE),
        gpu_fp16_tflops: figure(6.44, Derived, HMC),
        ..UNKNOWN
    },
    Chip {
        name: "M3 Max",
        dram_gbps: Figure::new(400.0, Spec, PRESS),
        ane_axis: figure(16384.0, Derived, GUIDE),
        ane_streams_linear: fact(true, Derived, GUIDE),
        ane_streams_blocks: fact(true, Derived, GUIDE),
        gpu_fp16_tflops: figure(14.3, Derived, HMC),
        ..UNKNOWN
    },
    Chip {
        name: "M3 Ultra",
        dram_gbps: Figure::new(819.0, Claimed, NO_PAGE),
        ane_axis: figure(16384.0, Derived, GUIDE),
        ane_streams_linear: fact(true, Derived, GUIDE),
        ane_streams_blocks: fact(true, Derived, GUIDE),
        gpu_fp16_tflops: figure(28.6, Derived, HMC),
        ..UNKNOWN
    },
    Chip {
        name: "M4",
        dram_gbps: Figure::new(120.0, Spec, PRESS),
        cpu_gbps: figure(103.0, Measured, ORANGES),
        gpu_gbps: figure(100.0, Measured, ORANGES),
        ane_fp16_tops: figure(18.6, Measured, MADERIX),
        ane_int8_tops: figure(35.1, Measured, MADERIX),
        ane_operand_mib: figure(2.0, Measured, MADERIX_4),
        ane_axis: figure(65536.0, Derived, GUIDE),
        ane_call_ms: figure(0.09, Measured, MADERIX_4),
        ane_int8_path: fact(true, Measured, MADERIX),
        ane_streams_linear: fact(true, Derived, GUIDE),
        ane_streams_blocks: fact(true, Derived, GUIDE),
        gpu_fp16_tflops: figure(4.04, Derived, HMC),
        cpu_fp16_tflops: figure(2.36, Measured, SME),
        cpu_int8_tops: figure(4.7, Measured, SME),
        ..UNKNOWN
    },
    Chip {
        name: "M4 Pro",
        dram_gbps: Figure::new(273.0, Spec, PRESS),
        ane_fp16_tops: figure(18.5, Measured, CAPACITY),
        ane_int8_tops: figure(35.91, Measured, CAPACITY),
        ane_axis: figure(65536.0, Derived, GUIDE),
        ane_int8_path: fact(true, Measured, CAPACITY),
        ane_streams_linear: fact(true, Derived, GUIDE),
        ane_streams_blocks: fact(true, Derived, GUIDE),
        gpu_fp16_tflops: figure(8.08, Derived, HMC),
        ..UNKNOWN
    },
    Chip {
        name: "M4 Max",
        dram_gbps: Figure::new(546.0, Spec, PRESS),
        ane_axis: figure(65536.0, Derived, GUIDE),
        ane_int8_path: fact(true, Derived, COREMLTOOLS),
        ane_streams_linear: fact(true, Derived, GUIDE),
        ane_streams_blocks: fact(true, Derived, GUIDE),
        gpu_fp16_tflops: figure(16.2, Derived, HMC),
        ..UNKNOWN
    },
    Chip {
        name: "M5",
        dram_gbps: Figure::new(153.0, Spec, PRESS),
        ane_fp16_tops: figure(17.99, Measured, ANEMLL_GIST),
        ane_int8_tops: figure(33.86, Measured, ANEMLL_GIST),
        ane_axis: figure(65536.0, Derived, GUIDE),
        ane_int8_path: fact(true, Measured, ANEMLL_GIST),
        ane_streams_linear: fact(true, Derived, GUIDE),
        ane_streams_blocks: fact(true, Derived, GUIDE),
        gpu_fp16_tflops: figure(16.4, Derived, ACCELERATORS),
        gpu_int8_tops: figure(32.8, Derived, ACCELERATORS),
        ..UNKNOWN
    },
    Chip {
        name: "M5 Pro",
        dram_gbps: Figure::new(307.0, Claimed, NO_PAGE),
        cpu_gbps: figure(130.4, Measured, GUIDE),
        gpu_gbps: figure(229.7, Measured, GUIDE),
        ane_fp16_tops: figure(18.77, Measured, GUIDE),
        ane_weight_gbps: figure(145.0, Measured, GUIDE),
        ane_operand_mib: figure(4.5, Measured, GUIDE),
        ane_axis: figure(65536.0, Derived, GUIDE),
        ane_int8_path: fact(true, Derived, COREMLTOOLS),
        ane_streams_linear: fact(true, Measured, GUIDE),
        ane_streams_blocks: fact(true, Derived, GUIDE),
        gpu_fp16_tflops: figure(30.9, Measured, GUIDE),
        gpu_int8_tops: figure(65.5, Derived, ACCELERATORS),
        ..UNKNOWN
    },
    Chip {
        name: "M5 Max",
        dram_gbps: Figure::new(614.0, Spec, PRESS),
        cpu_gbps: figure(288.0, Claimed, NO_PAGE),
        ane_weight_gbps: figure(159.0, Measured, FORGE),
        ane_axis: figure(65536.0, Derived, GUIDE),
        ane_int8_path: fact(true, Derived, COREMLTOOLS),
        ane_streams_linear: fact(true, Measured, FORGE),
        ane_streams_blocks: fact(true, Derived, GUIDE),
        ane_streams_narrow_palettes: fact(false, Measured, FORGE),
        gpu_fp16_tflops: figure(70.0, Derived, ACCELERATORS),
        gpu_int8_tops: figure(130.0, Derived, ACCELERATORS),
        ..UNKNOWN
    },
    Chip {
        name: "M6",
        dram_gbps: Figure::new(170.0, Claimed, MADERIX_4),
        ane_fp16_tops: figure(20.6, Measured, M6_STUDY),
        ane_int8_tops: figure(35.4, Measured, M6_STUDY),
        ane_weight_gbps: figure(150.0, Measured, M6_STUDY),
        ane_operand_mib: figure(2.0, Measured, M6_STUDY),
        ane_axis: figure(65536.0, Derived, GUIDE),
        ane_call_ms: figure(0.16, Measured, M6_STUDY),
        ane_int8_path: fact(true, Measured, M6_STUDY),
        ane_streams_linear: fact(true, Measured, M6_STUDY),
        ane_streams_blocks: fact(true, Derived, GUIDE),
        ane_streams_narrow_palettes: fact(true, Measured, FORGE),
        ..UNKNOWN
    },
];
