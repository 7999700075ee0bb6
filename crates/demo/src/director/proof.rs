//! The log, checked from its folder alone; and what the check says of a copy in which one bit was flipped.

use anyhow::{Context, Result};
use countersign_client::tlog::SignedCheckpoint;

use super::{
    Totals,
    beats::Beats,
    story::{Story, count, grouped},
};
use crate::{
    stage::Stage,
    verify::{Checked, FOUND_SOMETHING, check, copy, flip},
};

/// Proves the folder, then damages a copy at the record of Mei's stop: how many records there are.
pub(super) async fn prove(
    stage: &Stage,
    totals: &Totals,
    stop: u64,
    running: bool,
    story: &Story,
    beats: &mut Beats,
) -> Result<u64> {
    let folder = &stage.folder;
    // While the broker runs, its folder grows: a copy has an end.
    let log = if running {
        let copied = folder.path().join("log-copy");
        copy(&folder.log(), &copied)?;
        copied
    } else {
        folder.log()
    };
    let Checked { code, report } = check(&stage.binaries.countersign, &log, &folder.broker_file()).await?;
    let sound = code == Some(0) && report.findings.is_empty();
    let what = format!(
        "`countersign log verify` proves all {} of {}",
        count(report.records, "record"),
        count(report.grants, "grant")
    );
    beats.check(story, sound, &what, "every hash, signature, number, approval, stop");
    if let Some(transfers) = report.kinds.get("TRANSFER") {
        let what =
            format!("The log holds the {} that the brands received", count(totals.transfers, "transfer"));
        beats.check(story, *transfers == totals.transfers, &what, "none more, none less");
    }

    let bytes = std::fs::read(log.join("checkpoint")).context("the checkpoint")?;
    let size = SignedCheckpoint::verify(bytes, &stage.trust.log_key).context("the checkpoint")?.size();
    let damaged = folder.path().join("log-damaged");
    copy(&log, &damaged)?;
    let (path, at) = flip(&damaged, stop, size)?;
    let path = path.strip_prefix(&damaged).unwrap_or(&path).display().to_string();
    story.aside(&format!("in a copy, one bit of Mei's stop is flipped: byte {at} of {path}"));
    let Checked { code, report: found } =
        check(&stage.binaries.countersign, &damaged, &folder.broker_file()).await?;
    let first = found.findings.first().map(|finding| finding.index);
    let what = match first {
        Some(index) => format!("The check says where: record {}", grouped(index)),
        None => "The check says where".to_owned(),
    };
    let holds = code == Some(FOUND_SOMETHING) && first == Some(stop);
    let code = code.map_or_else(|| "no exit code".to_owned(), |code| format!("exit code {code}"));
    beats.check(story, holds, &what, &code);
    Ok(report.records)
}
