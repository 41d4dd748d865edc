//! `quantize inspect --int8-path`: which multiplications of a package run in INT8, and where chains
//! break.

use super::args::Global;
use super::forecast::OnChip;
use super::inspect::Inspect;
use super::screen;
use std::path::Path;
use std::process::ExitCode;
use twolane::advice::{Remark, Topic, advise, to_text};
use twolane::chips::Chip;
use twolane::chips::forecast::{Activations, Load};
use twolane::graph::Function;
use twolane::int8_path::FunctionPath;
use twolane::runtime::{Shapes, specialize};
use twolane::source::Package;
use twolane::text::printable;
use twolane::{Error, Result};

/// One package: its paths, and what follows for a chip.
#[derive(serde::Serialize)]
struct InPackage {
    package: String,
    functions: Vec<FunctionPath>,
    /// Shapes that hardware of pairs dislikes.
    shapes: Vec<Remark>,
    /// What is known to go wrong.
    remarks: Vec<Remark>,
    /// What `--chip` allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    forecast: Option<OnChip>,
}

impl InPackage {
    fn new(package: &Package, chip: Option<&'static Chip>) -> Self {
        let fixed = |function: &Function| specialize(function, &Shapes::new()).ok();
        let Package { program, target, .. } = package;
        let advise = |topic| advise(topic, program, *target, chip, &fixed, false);
        let functions = FunctionPath::of_program(program, &fixed);
        let forecast = chip.map(|chip| {
            let mut on = OnChip::new(chip);
            on.add(None, Activations::AsTheyAre, &Load::of_program(program, &fixed));
            on
        });
        let (shapes, remarks) = (advise(Topic::Shapes), advise(Topic::Threads));
        Self { package: name(package), functions, shapes, remarks, forecast }
    }

    fn to_text(&self, width: Option<usize>) -> String {
        let texts = self.functions.iter().map(|function| function.to_text(width));
        let mut out = texts.collect::<Vec<_>>().join("\n");
        let more = [
            to_text("shapes, for the Neural Engine", &self.shapes, width),
            to_text("known to go wrong", &self.remarks, width),
            self.forecast.as_ref().map_or_else(String::new, |on| on.to_text(width)),
        ];
        for text in more.iter().filter(|text| !text.is_empty()) {
            out.push('\n');
            out.push_str(text);
        }
        out
    }
}

/// Prints the INT8 path of each function.
pub(super) fn run(args: &Inspect, global: &Global) -> anyhow::Result<ExitCode> {
    let chip = args.chip.as_deref().map(Chip::find).transpose()?;
    holds_a_graph(&args.path)?;
    let packages = match super::inspect::open(&args.path, global)? {
        Ok(packages) => packages,
        Err(code) => return Ok(code),
    };
    let found: Vec<InPackage> =
        packages.iter().map(|package| InPackage::new(package, chip)).collect();
    if global.json {
        #[derive(serde::Serialize)]
        struct Document {
            packages: Vec<InPackage>,
        }
        screen::write_json(&Document { packages: found })?;
    } else if !global.quiet {
        let width = screen::width();
        let several = found.len() > 1;
        let mut out = String::new();
        for package in &found {
            if several {
                out.push_str(&format!("{}\n\n", printable(&package.package)));
            }
            out.push_str(&package.to_text(width));
        }
        screen::write(out.as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn name(package: &Package) -> String {
    package.dir.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Whether `path` can hold a package at all: a checkpoint has tensors and no graph.
fn holds_a_graph(path: &Path) -> Result<()> {
    let checkpoint = match path.is_dir() {
        true => path.join("config.json").is_file() && !holds_a_package(path),
        false => path.extension().is_some_and(|e| e == "safetensors" || e == "json"),
    };
    if checkpoint && path.exists() {
        return Err(Error::input(
            path.display().to_string(),
            "a checkpoint has tensors and no graph, so that nothing shows what meets what",
            "convert it (quantize INPUT -o DIR) and inspect DIR",
        ));
    }
    Ok(())
}

fn holds_a_package(path: &Path) -> bool {
    Package::is_in(path) || Package::is_in_chunks(path)
}
