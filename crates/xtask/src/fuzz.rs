//! `cargo xtask fuzz`: libFuzzer over every parser of bytes from outside, on nightly.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    sync::Mutex,
};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::{cargo::target_dir, steps};

/// The largest input that is tried: every parser's own bound is within its reach, but for the largest catalogue and proof
/// file, which are refused by their length alone.
const MAX_INPUT_BYTES: usize = 20_000;

/// The largest single allocation, in MiB: what a length in an input promises must not be believed. The largest honest one
/// is a copy of the input.
const MAX_ALLOCATION_MIB: usize = 16;

/// All memory of one process, in MiB, most of which is the sanitizer's own.
const MAX_MEMORY_MIB: usize = 2_048;

/// An input that takes longer, in seconds, is a finding. The first one waits for the story, and a machine may be busy.
const MAX_INPUT_SECONDS: usize = 60;

/// What a committed corpus may have; the test `fuzz_corpora` holds it to the first.
const MAX_KEPT_FILES: usize = 80;
const MAX_KEPT_FILE_BYTES: u64 = 2_048;

/// What begins the names of inputs that are made from the story, and not found.
const SEED: &str = "seed-";

#[derive(Args)]
pub(crate) struct Options {
    /// Which targets; all of `tests/fuzz/fuzz_targets` if none is named.
    targets: Vec<String>,
    /// How long each target runs.
    #[arg(long, default_value_t = 600)]
    seconds: u64,
    /// How many targets run at a time, each on one core.
    #[arg(long, default_value_t = 1)]
    jobs: usize,
    /// Afterwards, put the inputs that reach something new into the committed corpora, as far as these stay small.
    #[arg(long)]
    keep: bool,
}

/// Builds the targets, runs them, and reports what each did.
pub(crate) fn run(options: &Options) -> Result<ExitCode> {
    installed()?;
    let place = Place::new()?;
    let targets = place.targets(&options.targets)?;
    eprintln!("  building {} targets with libFuzzer (the first time takes some minutes)", targets.len());
    steps::command(place.cargo_fuzz("build").args(targets.first().filter(|_| targets.len() == 1)))?;
    let queue = Mutex::new(targets.iter());
    let rows = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..options.jobs.max(1) {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().expect("no thread panics while it holds this").next();
                    let Some(target) = next else { return };
                    eprintln!("  {target}: {} s", options.seconds);
                    let row = place.fuzz(target, options);
                    rows.lock().expect("no thread panics while it holds this").push((target.as_str(), row));
                }
            });
        }
    });
    let mut rows = rows.into_inner().expect("no thread panics while it holds this");
    rows.sort_by_key(|(target, _)| *target);
    Ok(report(&rows))
}

/// Names what is missing, with the command that installs it.
fn installed() -> Result<()> {
    let runs = |program: &str, arguments: &[&str]| {
        let done = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
        done.is_ok_and(|status| status.success())
    };
    let mut missing = Vec::new();
    if !runs("rustup", &["run", "nightly", "rustc", "--version"]) {
        missing.push("the nightly toolchain:\n  rustup toolchain install nightly --profile minimal");
    }
    if !runs("cargo-fuzz", &["--version"]) {
        missing.push("cargo-fuzz:\n  cargo install cargo-fuzz --locked");
    }
    ensure!(missing.is_empty(), "something must be installed first\n\n{}", missing.join("\n\n"));
    Ok(())
}

struct Place {
    fuzz: PathBuf,
    target: PathBuf,
}

impl Place {
    fn new() -> Result<Self> {
        Ok(Self { fuzz: xtask::workspace_root().join("tests/fuzz"), target: target_dir()?.join("fuzz") })
    }

    /// All targets, or those that were asked for.
    fn targets(&self, asked: &[String]) -> Result<Vec<String>> {
        let mut known: Vec<String> = files(&self.fuzz.join("fuzz_targets"))?
            .iter()
            .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
            .collect();
        known.sort();
        if let Some(unknown) = asked.iter().find(|name| !known.contains(name)) {
            bail!("there is no target `{unknown}`; there are {}", known.join(", "));
        }
        Ok(if asked.is_empty() { known } else { asked.to_vec() })
    }

    fn cargo_fuzz(&self, verb: &str) -> Command {
        let mut command = Command::new("rustup");
        command.args(["run", "nightly", "cargo", "fuzz", verb, "--fuzz-dir"]).arg(&self.fuzz);
        command.arg("--target-dir").arg(&self.target).current_dir(xtask::workspace_root());
        command
    }

    /// Runs one target. What it finds goes beside the build, not into the committed corpus.
    fn fuzz(&self, target: &str, options: &Options) -> Result<Row> {
        let (corpus, found) = (self.fuzz.join("corpus").join(target), self.target.join("found").join(target));
        let (crashes, logs) = (self.target.join("crashes").join(target), self.target.join("logs"));
        for folder in [&found, &crashes, &logs] {
            fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        }
        let log = logs.join(format!("{target}.log"));
        let output = fs::File::create(&log).with_context(|| format!("writing {}", log.display()))?;
        let mut command = self.cargo_fuzz("run");
        command.arg(target).args([&found, &corpus]).arg("--");
        command.arg(format!("-max_total_time={}", options.seconds)).args([
            "-print_final_stats=1".to_owned(),
            format!("-max_len={MAX_INPUT_BYTES}"),
            format!("-malloc_limit_mb={MAX_ALLOCATION_MIB}"),
            format!("-rss_limit_mb={MAX_MEMORY_MIB}"),
            format!("-timeout={MAX_INPUT_SECONDS}"),
            format!("-artifact_prefix={}/", crashes.display()),
        ]);
        let status = command.stdout(output.try_clone()?).stderr(output).status().context("running rustup")?;
        let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        let row = Row::read(&text, files(&crashes)?);
        ensure!(row.executions > 0 || status.success(), "it did not run; see {}", log.display());
        if options.keep && row.crashes.is_empty() {
            self.keep(target, &corpus, &found)?;
        }
        Ok(row)
    }

    /// The seeds stay; beside them go the smallest set of found inputs that reach what the seeds don't.
    fn keep(&self, target: &str, corpus: &Path, found: &Path) -> Result<()> {
        let merged = self.target.join("merged").join(target);
        if merged.exists() {
            fs::remove_dir_all(&merged)?;
        }
        fs::create_dir_all(&merged)?;
        let seeds: Vec<PathBuf> =
            files(corpus)?.into_iter().filter(|path| named(path).starts_with(SEED)).collect();
        for seed in &seeds {
            fs::copy(seed, merged.join(named(seed)))?;
        }
        let mut merge = self.cargo_fuzz("run");
        merge.arg(target).args([merged.as_path(), found, corpus]).args(["--", "-set_cover_merge=1"]);
        steps::command(merge.stderr(Stdio::null()))?;
        let mut news = Vec::new();
        for path in files(&merged)? {
            let bytes = fs::metadata(&path)?.len();
            if !named(&path).starts_with(SEED) && bytes <= MAX_KEPT_FILE_BYTES {
                news.push((bytes, path));
            }
        }
        news.sort();
        for old in files(corpus)?.iter().filter(|path| !named(path).starts_with(SEED)) {
            fs::remove_file(old)?;
        }
        // Of too many some of every length: the short ones reach little, and the long ones would fill the folder.
        let room = MAX_KEPT_FILES.saturating_sub(seeds.len()).min(news.len());
        for at in 0..room {
            let (_, path) = &news[at * news.len() / room];
            fs::copy(path, corpus.join(named(path)))?;
        }
        Ok(())
    }
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

fn named(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// What one target did.
#[derive(Debug, Default, PartialEq, Eq)]
struct Row {
    executions: u64,
    coverage: u64,
    features: u64,
    new_inputs: u64,
    peak_mib: u64,
    crashes: Vec<PathBuf>,
}

impl Row {
    /// Reads libFuzzer's output: status lines as `#123 NEW cov: 45 ft: 67 …`, then `stat::name: 8`.
    fn read(output: &str, crashes: Vec<PathBuf>) -> Self {
        let mut row = Self { crashes, ..Self::default() };
        for line in output.lines() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let after = |name: &str| {
                let at = words.iter().position(|word| *word == name)?;
                words.get(at + 1)?.parse::<u64>().ok()
            };
            if let Some(count) = words.first().and_then(|word| word.strip_prefix('#')) {
                row.executions = count.parse().unwrap_or(row.executions);
                row.coverage = after("cov:").unwrap_or(row.coverage);
                row.features = after("ft:").unwrap_or(row.features);
            }
            row.executions = after("stat::number_of_executed_units:").unwrap_or(row.executions);
            row.new_inputs = after("stat::new_units_added:").unwrap_or(row.new_inputs);
            row.peak_mib = after("stat::peak_rss_mb:").unwrap_or(row.peak_mib);
        }
        row
    }
}

fn report(rows: &[(&str, Result<Row>)]) -> ExitCode {
    println!(
        "\n{:<14} {:>13} {:>9} {:>9} {:>11} {:>9}  crashes",
        "target", "executions", "coverage", "features", "new inputs", "peak MiB"
    );
    let mut good = true;
    for (target, row) in rows {
        match row {
            Ok(row) => {
                println!(
                    "{target:<14} {:>13} {:>9} {:>9} {:>11} {:>9}  {}",
                    row.executions,
                    row.coverage,
                    row.features,
                    row.new_inputs,
                    row.peak_mib,
                    row.crashes.len()
                );
                for crash in &row.crashes {
                    good = false;
                    println!("  {}", crash.display());
                }
            }
            Err(error) => {
                good = false;
                println!("{target:<14} {error:#}");
            }
        }
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_read_from_what_libfuzzer_prints() {
        let output = "INFO: seed corpus: files: 3\n#3\tINITED cov: 10 ft: 11 corp: 1/1b exec/s: 0 rss: 40Mb\n\
            #2097152\tpulse  cov: 128 ft: 400 corp: 60/2Kb lim: 4096 exec/s: 9 rss: 90Mb\n\
            stat::number_of_executed_units: 3000000\nstat::average_exec_per_sec:     5000\n\
            stat::new_units_added:          59\nstat::peak_rss_mb:              95\n";
        let expected = Row {
            executions: 3_000_000,
            coverage: 128,
            features: 400,
            new_inputs: 59,
            peak_mib: 95,
            crashes: vec![],
        };
        assert_eq!(Row::read(output, vec![]), expected);
        assert_eq!(Row::read("error: could not compile", vec![]), Row::default());
    }

    #[test]
    fn every_target_is_found() {
        let place = Place { fuzz: xtask::workspace_root().join("tests/fuzz"), target: PathBuf::new() };
        assert!(place.targets(&[]).unwrap().contains(&"statement".to_owned()));
        assert!(place.targets(&["nothing".to_owned()]).is_err());
    }
}
