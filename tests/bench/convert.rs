//! A whole run, from a checkpoint to a synced output: `cargo bench --bench convert`.
//!
//! Every time is given beside `cp` and `fsync` of the input in the same run, memory as the peak of
//! anonymous pages. `TWOLANE_BENCH_GB` sets the checkpoint's size (1.2 by default),
//! `TWOLANE_BENCH_DIR` a folder on the disk to be measured.

use half::f16;
use half::slice::HalfFloatSliceExt;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The matrices of one layer of a decoder of width 2048.
const LAYER: &[(&str, [usize; 2])] = &[
    ("self_attn.q_proj", [2048, 2048]),
    ("self_attn.k_proj", [2048, 2048]),
    ("self_attn.v_proj", [2048, 2048]),
    ("self_attn.o_proj", [2048, 2048]),
    ("mlp.gate_proj", [8192, 2048]),
    ("mlp.up_proj", [8192, 2048]),
    ("mlp.down_proj", [2048, 8192]),
];

fn main() -> io::Result<()> {
    // `cargo test --benches` passes no `--bench`: nothing is measured then.
    if !std::env::args().any(|arg| arg == "--bench") {
        return Ok(());
    }
    let gigabytes: f64 =
        std::env::var("TWOLANE_BENCH_GB").ok().and_then(|v| v.parse().ok()).unwrap_or(1.2);
    let dir = match std::env::var_os("TWOLANE_BENCH_DIR") {
        Some(dir) => tempfile::tempdir_in(dir)?,
        None => tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?,
    };
    let input = dir.path().join("model.safetensors");
    write_checkpoint(&input, gigabytes)?;
    let bytes = fs::metadata(&input)?.len();
    println!("checkpoint of {:.2} GB, FP16, in the page cache", bytes as f64 / 1e9);

    let copy = median(3, || copy_and_sync(&input, &dir.path().join("copy")))?;
    println!("{:<44} {:>8} {:>9} {:>12}", "", "seconds", "of cp", "anonymous");
    println!("{:<44} {:>8.2} {:>9.2}", "cp + fsync", copy.as_secs_f64(), 1.0);
    let runs: &[(&str, &[&str], f64)] = &[
        ("linear-int8 --clip none → mlpackage", &["--clip", "none", "--to", "mlpackage"], 0.5),
        ("linear-int8 --clip none → mlpackage,metal", &["--clip", "none"], 1.0),
        ("linear-int8 --clip mse → mlpackage", &["--to", "mlpackage"], f64::NAN),
        ("linear-int8 --clip mse → mlpackage,metal", &[], f64::NAN),
        ("linear-int4,block:32 → mlpackage,metal", &["--scheme", "linear-int4,block:32"], f64::NAN),
        ("palette-8 → mlpackage,metal", &["--scheme", "palette-8"], f64::NAN),
        ("palette-4,group:16 → mlpackage,metal", &["--scheme", "palette-4,group:16"], f64::NAN),
    ];
    for &(name, args, goal) in runs {
        let output = dir.path().join("out");
        let mut peak = 0;
        let time = median(if goal.is_nan() { 1 } else { 3 }, || {
            let _ = fs::remove_dir_all(&output);
            let (time, anonymous) = convert(&input, &output, args)?;
            peak = peak.max(anonymous);
            Ok(time)
        })?;
        let ratio = time.as_secs_f64() / copy.as_secs_f64();
        let goal = if goal.is_nan() { String::new() } else { format!("  goal ≤ {goal}") };
        println!(
            "{name:<44} {:>8.2} {ratio:>9.2} {:>9.0} MB{goal}",
            time.as_secs_f64(),
            peak as f64 / 1e6
        );
        fs::remove_dir_all(&output)?;
    }
    Ok(())
}

/// The median of some runs.
fn median(runs: usize, mut run: impl FnMut() -> io::Result<Duration>) -> io::Result<Duration> {
    let mut times = (0..runs).map(|_| run()).collect::<io::Result<Vec<_>>>()?;
    times.sort();
    Ok(times[runs / 2])
}

fn copy_and_sync(from: &Path, to: &Path) -> io::Result<Duration> {
    let _ = fs::remove_file(to);
    let start = Instant::now();
    let status = Command::new("cp").arg(from).arg(to).status()?;
    assert!(status.success());
    File::open(to)?.sync_all()?;
    let time = start.elapsed();
    fs::remove_file(to)?;
    Ok(time)
}

/// Runs the tool; its time and the peak of its anonymous memory in bytes (0 where the system does
/// not tell).
fn convert(input: &Path, output: &PathBuf, args: &[&str]) -> io::Result<(Duration, u64)> {
    let start = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_quantize"))
        .args(args)
        .arg("-q")
        .arg("-o")
        .arg(output)
        .arg(input)
        .stdout(Stdio::null())
        .spawn()?;
    let status_file = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        peak = peak.max(anonymous(&status_file).unwrap_or(0));
        std::thread::sleep(Duration::from_millis(2));
    };
    assert!(status.success(), "quantize failed");
    Ok((start.elapsed(), peak))
}

/// `RssAnon` of a process, in bytes.
fn anonymous(status_file: &str) -> Option<u64> {
    let text = fs::read_to_string(status_file).ok()?;
    let line = text.lines().find(|line| line.starts_with("RssAnon:"))?;
    Some(line.split_whitespace().nth(1)?.parse::<u64>().ok()? * 1024)
}

/// Heavy-tailed weights (Student's t with 5 degrees of freedom times 0.02, one in a thousand 4 to 12
/// times larger, rows of log-normal scale) in the shape of a decoder.
fn write_checkpoint(path: &Path, gigabytes: f64) -> io::Result<()> {
    let mut tensors: Vec<(String, [usize; 2])> =
        vec![("model.embed_tokens.weight".into(), [32_000, 2048])];
    let mut elements = 32_000 * 2048;
    for layer in 0.. {
        if elements as f64 * 2.0 >= gigabytes * 1e9 {
            break;
        }
        for (name, shape) in LAYER {
            tensors.push((format!("model.layers.{layer}.{name}.weight"), *shape));
            elements += shape[0] * shape[1];
        }
    }
    let mut header = serde_json::Map::new();
    let mut end = 0;
    for (name, shape) in &tensors {
        let start = end;
        end += shape[0] * shape[1] * 2;
        let entry =
            serde_json::json!({"dtype": "F16", "shape": shape, "data_offsets": [start, end]});
        header.insert(name.clone(), entry);
    }
    let mut text = serde_json::to_vec(&header)?;
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut file = BufWriter::with_capacity(4 << 20, File::create(path)?);
    file.write_all(&(text.len() as u64).to_le_bytes())?;
    file.write_all(&text)?;

    let mut random = Random(1);
    let pool: Vec<f32> = (0..1 << 22).map(|_| random.weight()).collect();
    let mut halves = vec![];
    let mut row = vec![];
    for (_, [rows, cols]) in &tensors {
        for _ in 0..*rows {
            let scale = (0.5 * random.normal()).exp();
            let start = random.next() as usize % (pool.len() - cols);
            row.clear();
            row.extend(pool[start..start + cols].iter().map(|w| w * scale));
            halves.resize(*cols, f16::ZERO);
            halves.convert_from_f32_slice(&row);
            let bytes: Vec<u8> = halves.iter().flat_map(|h| h.to_le_bytes()).collect();
            file.write_all(&bytes)?;
        }
    }
    file.into_inner()?.sync_all()
}

/// A small generator of random numbers (xorshift64*), the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    fn uniform(&mut self) -> f32 {
        (self.next() >> 24) as f32 / (1 << 24) as f32
    }

    fn normal(&mut self) -> f32 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f32::consts::TAU * self.uniform()).cos()
    }

    /// A weight as speed is measured on in this project.
    fn weight(&mut self) -> f32 {
        let chi: f32 = (0..5).map(|_| self.normal().powi(2)).sum();
        let t = self.normal() / (chi / 5.0).sqrt();
        let outlier = if self.uniform() < 0.001 { 4.0 + 8.0 * self.uniform() } else { 1.0 };
        0.02 * t * outlier
    }
}
