//! Checking a whole log, from a folder or from an address.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result};
use bytes::Bytes;
use clap::Args;
use countersign_client::{
    auditor::{FolderLog, HttpLog, LogSource, Progress, Report, verify},
    tlog::VerifierKey,
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::LogKey;
use crate::{arguments::Setting, explain::Damaged, homes, output::Output, words};

/// How many findings are printed for the eye; JSON has them all.
const SHOWN_FINDINGS: usize = 20;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The log's folder (C2SP layout), or an address that serves one
    #[arg(value_name = "FOLDER|URL")]
    log: String,
    #[command(flatten)]
    key: LogKey,
    /// An older checkpoint that the log must continue; repeat for several
    #[arg(long, value_name = "FILE")]
    since: Vec<PathBuf>,
    /// For an address: the auditor who is given the entries, `auditors/{auditor}`
    #[arg(long, value_name = "NAME", requires = "auditor_key")]
    name: Option<String>,
    /// For an address: the auditor's key file
    #[arg(long, value_name = "FILE", requires = "name")]
    auditor_key: Option<PathBuf>,
    /// For an `https` address: the authorities that may vouch for it, PEM; without it, those of the broker file
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
}

impl Arguments {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        let key = self.key.read(setting)?;
        let older = self
            .since
            .iter()
            .map(|path| std::fs::read(path).map(Bytes::from).with_context(|| path.display().to_string()));
        let older = older.collect::<Result<Vec<_>>>()?;
        let source = self.source(setting)?;
        let bar = progress_bar(setting.json);
        let report = tokio::task::spawn_blocking(move || check(source, &key, &older, &bar)).await??;
        setting.output().show(&report_json(&report), |output| report_words(output, &report));
        if report.is_sound() {
            return Ok(());
        }
        let first =
            report.findings.first().map_or_else(String::new, |first| format!("; the first at {first}"));
        let count = words::counted(report.finding_count, "finding");
        Err(Damaged(format!("the log does not hold: {count}{first}")).into())
    }

    fn source(&self, setting: &Setting) -> Result<Box<dyn LogSource + Send>> {
        if !self.log.starts_with("http://") && !self.log.starts_with("https://") {
            return Ok(Box::new(FolderLog::open(Path::new(&self.log))?));
        }
        let ca = match &self.ca {
            Some(path) => Some(std::fs::read_to_string(path).with_context(|| path.display().to_string())?),
            None => setting.trust().ok().and_then(|trust| trust.ca_pem),
        };
        let authorization = match (&self.name, &self.auditor_key) {
            (Some(name), Some(key)) => {
                let heads = key.parent().filter(|parent| !parent.as_os_str().is_empty());
                let auditor = homes::auditor(setting, name, key, heads.unwrap_or(Path::new(".")))?;
                Some(auditor.authorization())
            }
            _ => None,
        };
        Ok(Box::new(HttpLog::open(&self.log, ca.as_deref(), authorization)?))
    }
}

fn check(
    mut source: Box<dyn LogSource + Send>,
    key: &VerifierKey,
    older: &[Bytes],
    bar: &ProgressBar,
) -> Result<Report> {
    let report = verify(source.as_mut(), key, older, &mut |progress: Progress| {
        bar.set_length(progress.size);
        bar.set_position(progress.records);
        if progress.findings > 0 {
            bar.set_message(words::counted(progress.findings, "finding"));
        }
    })?;
    bar.finish_and_clear();
    Ok(report)
}

/// On standard error, and only where somebody looks.
fn progress_bar(json: bool) -> ProgressBar {
    let bar = ProgressBar::no_length();
    bar.set_draw_target(if json { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() });
    let style = ProgressStyle::with_template(
        "{bar:40} {human_pos} of {human_len} records, {per_sec}, {eta} left {msg}",
    );
    bar.set_style(style.expect("the template names what the library knows"));
    bar.enable_steady_tick(Duration::from_millis(200));
    bar
}

fn report_json(report: &Report) -> Value {
    let kinds: BTreeMap<&str, u64> =
        report.kinds.iter().map(|(kind, count)| (words::kind(*kind), *count)).collect();
    let findings = report.findings.iter().map(|finding| {
        json!({ "index": finding.index, "check": finding.problem.check(), "problem": finding.problem.to_string() })
    });
    let checkpoint = report.checkpoint.as_ref().map(|checkpoint| {
        json!({
            "origin": checkpoint.origin().as_str(),
            "size": checkpoint.size(),
            "root": checkpoint.root().to_string(),
        })
    });
    json!({
        "sound": report.is_sound(),
        "checkpoint": checkpoint,
        "records": report.records,
        "grants": report.grants,
        "overdue_erasures": report.overdue_erasures,
        "abandoned": report.abandoned,
        "kinds": kinds,
        "first_time": report.first_time.map(words::rfc3339),
        "last_time": report.last_time.map(words::rfc3339),
        "continues": report.continues,
        "finding_count": report.finding_count,
        "findings": findings.collect::<Vec<_>>(),
    })
}

fn report_words(output: Output, report: &Report) -> String {
    let mut lines = Vec::new();
    if let Some(checkpoint) = &report.checkpoint {
        let size = words::counted(checkpoint.size(), "record");
        lines.push(format!(
            "{}: {size}, root {}",
            output.bold(checkpoint.origin().as_str()),
            checkpoint.root()
        ));
    }
    if let (Some(first), Some(last)) = (report.first_time, report.last_time) {
        lines.push(format!(
            "from {} to {}, {}",
            words::moment(first),
            words::moment(last),
            words::counted(report.grants, "grant")
        ));
    }
    let rows = report.kinds.iter().map(|(kind, count)| [words::kind(*kind).to_owned(), count.to_string()]);
    lines.push(output.table(["kind", "records"], rows.collect()));
    if report.overdue_erasures > 0 {
        let late = words::counted(report.overdue_erasures, "deletion");
        lines.push(output.bad(&format!("{late} that a customer ordered: overdue, and not attested since")));
    }
    if report.abandoned > 0 {
        let gone = words::counted(report.abandoned, "account");
        lines.push(format!("{gone} erased because no link stood any more, by no word of the customer"));
    }
    for size in &report.continues {
        lines.push(format!("continues the older log of {}", words::counted(*size, "record")));
    }
    if report.is_sound() {
        let what = "every record, tile and signature, every number, approval and stop";
        lines.push(format!("{}: {what}", output.good("everything holds")));
        return lines.join("\n");
    }
    lines.push(output.bad(&words::counted(report.finding_count, "finding")));
    lines.extend(report.findings.iter().take(SHOWN_FINDINGS).map(ToString::to_string));
    if report.finding_count > SHOWN_FINDINGS as u64 {
        lines.push(format!(
            "… and {} more: --json has up to a thousand",
            report.finding_count - SHOWN_FINDINGS as u64
        ));
    }
    lines.join("\n")
}
