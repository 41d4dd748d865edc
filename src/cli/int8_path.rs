//! `quantize inspect --int8-path`: which multiplications of a package run in INT8, and where chains
//! break.

use super::args::{Global, Inspect};
use super::screen;
use std::path::Path;
use std::process::ExitCode;
use twolane::graph::Function;
use twolane::int8_path::FunctionPath;
use twolane::runtime::{Shapes, specialize};
use twolane::source::Package;
use twolane::text::printable;
use twolane::{Error, Result};

/// One package and its paths.
#[derive(serde::Serialize)]
struct InPackage {
    package: String,
    functions: Vec<FunctionPath>,
}

/// Prints the INT8 path of each function.
pub(super) fn run(args: &Inspect, global: &Global) -> anyhow::Result<ExitCode> {
    holds_a_graph(&args.path)?;
    let packages = match super::inspect::open(&args.path, global)? {
        Ok(packages) => packages,
        Err(code) => return Ok(code),
    };
    let fixed = |function: &Function| specialize(function, &Shapes::new()).ok();
    let found: Vec<InPackage> = packages
        .iter()
        .map(|package| InPackage {
            package: name(package),
            functions: FunctionPath::of_program(&package.program, &fixed),
        })
        .collect();
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
        for InPackage { package, functions } in &found {
            if several {
                out.push_str(&format!("{}\n\n", printable(package)));
            }
            let texts = functions.iter().map(|function| function.to_text(width));
            out.push_str(&texts.collect::<Vec<_>>().join("\n"));
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
