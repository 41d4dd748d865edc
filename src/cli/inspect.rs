//! `quantize inspect`: a finished run, a package, or a validation that was kept.

use super::args::Global;
use super::validate::finite;
use super::{exit, screen};
use clap::Args;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use twolane::Error;
use twolane::formats::mlpackage::MANIFEST_PATH;
use twolane::graph::{Finding, Function};
use twolane::report::validation::{FILE, Limits};
use twolane::report::{Model, Report, TensorReport, Validation, locate};
use twolane::runtime::{Shapes, specialize};
use twolane::source::Package;
use twolane::text::{listed, printable};

/// The reader of reports and packages.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  quantize inspect model-linear-int8/
  quantize inspect model-linear-int8/ --tensor lm_head.weight
  quantize inspect model-linear-int8/ --min-sqnr 30 --quiet && echo good enough
  quantize inspect model-linear-int8/ --model
  quantize inspect model-linear-int8/ --int8-path
  quantize inspect model-linear-int8/ --chip M4
  quantize inspect other.mlpackage")]
pub(crate) struct Inspect {
    /// An output folder of quantize or its report.json, to see the report; any .mlpackage, to see what
    /// it holds; or the validation.json that `quantize validate --save` keeps. With a flag below that is about the report, the .mlpackage in an output folder
    /// also means its report
    pub(crate) path: PathBuf,
    /// Show what the package of an output folder holds (functions, inputs, operations, weights,
    /// MACs), checked
    #[arg(long)]
    pub(crate) model: bool,
    /// Show which multiplications of the package run in INT8 on hardware that can, and why the others do
    /// not; which shapes such hardware dislikes; and what is known to go wrong with such packages, each
    /// with its source
    #[arg(long, conflicts_with = "model")]
    pub(crate) int8_path: bool,
    /// As --int8-path for one chip, `M4` or `A17 Pro`: limits and rules are its own, and the least time of a
    /// call is predicted from bytes and operations
    #[arg(long, value_name = "NAME", conflicts_with = "model")]
    pub(crate) chip: Option<String>,
    /// One tensor, with its error histogram and clip curve; part of a name will do if it is the
    /// only one
    #[arg(long, value_name = "NAME")]
    pub(crate) tensor: Option<String>,
    /// Fail (exit code 1) if a quantized tensor is below this SQNR
    #[arg(long, value_name = "DB", allow_negative_numbers = true)]
    pub(crate) min_sqnr: Option<f64>,
    /// Fail (exit code 1) if a quantized tensor has a lower cosine with its source
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub(crate) min_cosine: Option<f64>,
    /// Fail (exit code 1) if an output has a higher mean KL divergence, in nats, by the validation
    /// that `quantize validate --save` stored in the folder
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    pub(crate) max_kl: Option<f64>,
    /// Also write all figures as CSV; - is standard output
    #[arg(long, value_name = "FILE")]
    pub(crate) csv: Option<PathBuf>,
}

/// The packages that `path` means. Everything that is wrong with one is bad input: then it is told, and
/// the exit code comes back.
pub(super) fn open(path: &Path, global: &Global) -> anyhow::Result<Result<Vec<Package>, ExitCode>> {
    let opened = match Package::is_in_chunks(path) {
        true => Package::open_all(path),
        false => Package::open(path).map(|package| vec![package]),
    };
    match opened {
        Ok(packages) => Ok(Ok(packages)),
        Err(Error::Findings { place, findings }) if global.json => {
            #[derive(serde::Serialize)]
            struct Wrong {
                package: String,
                findings: Vec<Finding>,
            }
            screen::write_json(&Wrong { package: place, findings })?;
            Ok(Err(ExitCode::from(exit::BAD_INPUT)))
        }
        Err(Error::Findings { place, findings }) => {
            let findings_are = if findings.len() == 1 { "finding" } else { "findings" };
            eprintln!("error: {}: {} {findings_are}", printable(&place), findings.len());
            for finding in &findings {
                eprintln!("  {}", printable(&finding.to_string()));
            }
            Ok(Err(ExitCode::from(exit::BAD_INPUT)))
        }
        Err(other) => Err(other.into()),
    }
}

/// Prints what a package holds.
fn model(args: &Inspect, global: &Global) -> anyhow::Result<ExitCode> {
    let packages = match open(&args.path, global)? {
        Ok(packages) => packages,
        Err(code) => return Ok(code),
    };
    let fixed = |function: &Function| specialize(function, &Shapes::new()).ok();
    let model = |package: &Package| Model::new(&package.program, package.target, &fixed);
    if let [package] = &packages[..] {
        let model = model(package);
        match (global.json, global.quiet) {
            (true, _) => screen::write(model.to_json().as_bytes())?,
            (false, true) => {}
            (false, false) => screen::write(model.to_text(screen::width()).as_bytes())?,
        }
        return Ok(ExitCode::SUCCESS);
    }
    // In the order in which they run.
    let name = |package: &Package| {
        package.dir.file_name().unwrap_or_default().to_string_lossy().into_owned()
    };
    if global.json {
        #[derive(serde::Serialize)]
        struct InChunks {
            chunks: Vec<(String, Model)>,
        }
        let chunks = packages.iter().map(|package| (name(package), model(package))).collect();
        screen::write_json(&InChunks { chunks })?;
    } else if !global.quiet {
        for package in &packages {
            let text = model(package).to_text(screen::width());
            screen::write(format!("{}\n\n{text}\n", printable(&name(package))).as_bytes())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints a validation that was kept. Its verdict stands, unless limits are given: then they decide,
/// beside what always fails.
fn validation(args: &Inspect, limits: &Limits, global: &Global) -> anyhow::Result<ExitCode> {
    if args.model || args.tensor.is_some() || args.csv.is_some() {
        let found = format!(
            "--model, --tensor and --csv show nothing of {}; name the output folder",
            args.path.display()
        );
        return Err(Error::Usage(found).into());
    }
    let mut found = Validation::read(&args.path)?;
    if !limits.is_empty() {
        found.judge(limits);
    }
    super::validate::tell(&found, global)
}

/// Whether `path` names a validation that was kept.
fn is_validation(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name == FILE) && path.is_file()
}

/// Whether `path` names a package itself, not the output folder around it, whatever that is called.
fn is_package(path: &Path) -> bool {
    let is_named = path.extension().is_some_and(|extension| extension == "mlpackage");
    path.join(MANIFEST_PATH).is_file()
        || (is_named && path.is_dir() && !path.join("report.json").exists())
}

/// The flags, of those that were given, which ask something of the report.
fn of_report(args: &Inspect) -> Vec<&'static str> {
    let flags = [
        ("--tensor", args.tensor.is_some()),
        ("--min-sqnr", args.min_sqnr.is_some()),
        ("--min-cosine", args.min_cosine.is_some()),
        ("--max-kl", args.max_kl.is_some()),
        ("--csv", args.csv.is_some()),
    ];
    flags.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag).collect()
}

/// Prints the report, or one tensor of it, and holds it against the gate.
pub(super) fn run(args: &Inspect, global: &Global) -> anyhow::Result<ExitCode> {
    let limits = Limits {
        min_sqnr_db: finite("--min-sqnr", args.min_sqnr)?,
        min_cosine: finite("--min-cosine", args.min_cosine)?,
        max_kl: finite("--max-kl", args.max_kl)?,
    };
    if is_validation(&args.path) {
        return validation(args, &limits, global);
    }
    let of_report = of_report(args);
    let of_package = match (args.model, args.int8_path, &args.chip) {
        (true, ..) => Some("--model"),
        (false, true, _) => Some("--int8-path"),
        (false, false, Some(_)) => Some("--chip"),
        (false, false, None) => None,
    };
    if let Some(flag) = of_package.filter(|_| !of_report.is_empty()) {
        let flags = of_report.join(", ");
        return Err(Error::Usage(format!(
            "{flag} shows what the package holds, and {flags} what the report says; give one or the \
             other"
        ))
        .into());
    }
    if args.int8_path || args.chip.is_some() {
        return super::int8_path::run(args, global);
    }
    if args.model || (of_report.is_empty() && is_package(&args.path)) {
        return model(args, global);
    }
    let report = Report::read(&args.path)?;
    let divergence = limits.max_kl.map(|most| above(&args.path, most)).transpose()?;
    let tensor = args.tensor.as_deref().map(|name| find(&report, name)).transpose()?;
    let to_stdout = args.csv.as_deref() == Some(Path::new("-"));
    if let Some(file) = args.csv.as_deref().filter(|_| !to_stdout) {
        std::fs::write(file, report.to_csv())
            .map_err(|error| Error::io("write", file.display().to_string(), error))?;
    }
    let shown = match tensor {
        _ if to_stdout => report.to_csv(),
        _ if global.quiet && !global.json => String::new(),
        Some(tensor) if global.json => serde_json::to_string_pretty(tensor)? + "\n",
        None if global.json => report.to_json(),
        Some(tensor) => report.tensor_text(tensor),
        None => report.to_text(screen::width()),
    };
    let written = screen::write(shown.as_bytes());
    // A reader that has seen enough does not change the verdict.
    match written {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(gate(&report, tensor, &limits, &divergence.unwrap_or_default())),
    }
}

/// The exit code: whether a tensor (of those shown) or an output misses what was asked for.
fn gate(
    report: &Report,
    tensor: Option<&TensorReport>,
    limits: &Limits,
    divergence: &[String],
) -> ExitCode {
    let below = limits.min_sqnr_db.map(|db| (report.below(db), format!("{db} dB")));
    let apart = limits.min_cosine.map(|least| (report.apart(least), format!("cosine {least}")));
    let mut failed = false;
    for (mut low, limit) in below.into_iter().chain(apart) {
        low.retain(|low| tensor.is_none_or(|shown| std::ptr::eq(*low, shown)));
        if !low.is_empty() {
            let (count, names) = (low.len(), low.iter().map(|t| t.name.as_str()));
            eprintln!("failed: {count} of the quantized tensors below {limit}: {}", listed(names));
            failed = true;
        }
    }
    for failure in divergence {
        eprintln!("failed: {failure}");
        failed = true;
    }
    if failed { ExitCode::from(exit::FAILED_CHECK) } else { ExitCode::SUCCESS }
}

/// The outputs of the stored validation whose mean KL is above `most`.
fn above(path: &Path, most: f64) -> twolane::Result<Vec<String>> {
    let validation = Validation::read_beside(&locate(path)?)?;
    Ok(validation.misses(&Limits { max_kl: Some(most), ..Limits::default() }))
}

/// The tensor of this name, or the only one whose name holds it.
fn find<'a>(report: &'a Report, name: &str) -> twolane::Result<&'a TensorReport> {
    if let Some(tensor) = report.tensors.iter().find(|t| t.name == name) {
        return Ok(tensor);
    }
    let near: Vec<_> = report.tensors.iter().filter(|t| t.name.contains(name)).collect();
    match near[..] {
        [tensor] => Ok(tensor),
        [] => {
            let names = listed(report.tensors.iter().map(|t| t.name.as_str()));
            Err(Error::Usage(format!("no tensor is named `{name}`; there are {names}")))
        }
        _ => {
            let names = listed(near.iter().map(|t| t.name.as_str()));
            Err(Error::Usage(format!(
                "`{name}` is part of several names: {names}; give one in full"
            )))
        }
    }
}
