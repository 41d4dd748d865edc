//! Opens a Metal blob, verifies every promise, and prints its weights with their first values:
//! `cargo run --example read_blob -- weights.safetensors`. Without a path it reads the blob that
//! `docs/metal-blob.md` works through, made in memory.

use std::process::ExitCode;
use twolane::formats::half::f16;
use twolane::formats::metal_blob::{Encoding, Granularity, Linear, Part, Plan, Reader};
use twolane::formats::metal_blob::{Values, Weight};
use twolane::layout::{Lanes, pack};
use twolane::source::Source;

fn main() -> ExitCode {
    let shown = match std::env::args_os().nth(1) {
        // Mapped, not read: a blob can be larger than memory.
        Some(path) => Source::open(path).and_then(|source| show(source.files()[0].bytes())),
        None => example().and_then(|file| show(&file)),
    };
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// One linear INT8 weight `[2, 3]` in `k2`.
fn example() -> twolane::Result<Vec<u8>> {
    let codes = [1i8, -2, 3, 4, 5, -6].map(|q| q as u8);
    let scales = [0.5, 0.25].map(f16::from_f32);
    let plan = Plan::new(vec![Weight {
        name: "fc.weight".into(),
        shape: vec![2, 3],
        encoding: Encoding::Linear(Linear {
            bits: 8,
            signed: true,
            granularity: Granularity::Channel { axis: 0 },
            offset: false,
            lanes: Lanes::K2,
        }),
    }])?;
    let mut file = Vec::new();
    plan.write_to(&mut file, |plane, out| match plane.holds {
        Some((_, Part::Codes)) => {
            let mut bytes = vec![0; plane.len as usize];
            pack(Lanes::K2, &codes, 2, 3, &mut bytes);
            out.write_all(&bytes)
        }
        // `[1, N]`: per output channel there is nothing to turn around.
        _ => scales.iter().try_for_each(|scale| out.write_all(&scale.to_le_bytes())),
    })?;
    Ok(file)
}

/// Verifies the file and prints a line for each weight.
fn show(file: &[u8]) -> twolane::Result<()> {
    let reader = Reader::open(file)?;
    println!("{} bytes, every promise kept\n", file.len());
    println!("{:<32} {:<16} {:<20} {:>12}  first values", "weight", "shape", "stored", "bytes");
    for (index, weight) in reader.weights().iter().enumerate() {
        let bytes: u64 = reader.planes_of(index).map(|plane| plane.len).sum();
        let first = match reader.values(index)? {
            Values::F16(values) => first(values.iter().map(|v| v.to_f32())),
            Values::F32(values) => first(values.into_iter()),
            Values::Raw(_) => "(passed through)".into(),
        };
        let shape = format!("{:?}", weight.shape);
        let stored = stored(&weight.encoding);
        println!("{:<32} {shape:<16} {stored:<20} {bytes:>12}  {first}", weight.name);
    }
    Ok(())
}

/// An encoding in a few words.
fn stored(encoding: &Encoding) -> String {
    match encoding {
        Encoding::Linear(linear) => format!("linear-int{} {}", linear.bits, linear.lanes),
        Encoding::Palette(palette) => format!("palette-{} {}", palette.bits, palette.lanes),
        Encoding::Float { dtype } | Encoding::Raw { dtype } => dtype.to_string(),
    }
}

/// The first four values.
fn first(values: impl Iterator<Item = f32>) -> String {
    values.take(4).map(|v| v.to_string()).collect::<Vec<_>>().join(" ")
}
