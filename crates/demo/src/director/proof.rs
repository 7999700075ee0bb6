//! The log, checked from its folder alone; and what the check says of a copy in which one bit was flipped.

use std::{path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use countersign_client::{BrokerTrust, tlog::SignedCheckpoint};
use tokio::time::{Instant, sleep};

use super::{
    Totals,
    beats::Beats,
    story::{Story, count, grouped},
};
use crate::{
    stage::Stage,
    verify::{Checked, FOUND_SOMETHING, check, copy, flip},
};

/// How long it may take until what stands is published: a few of the log's rounds.
const PUBLISHED_WITHIN: Duration = Duration::from_secs(20);

/// How often we look.
const LOOK_EVERY: Duration = Duration::from_millis(100);

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
        published(&stage.trust, &folder.log(), totals.records).await?;
        let copied = folder.path().join("log-copy");
        copy(&folder.log(), &copied)?;
        copied
    } else {
        folder.log()
    };
    let Checked { code, report } = check(&stage.binaries.countersign, &log, &folder.broker_file()).await?;
    let sound = code == Some(0) && report.findings.is_empty();
    let what = format!(
        "`log verify` proves all {} of {}",
        count(report.records, "record"),
        count(report.grants, "grant")
    );
    beats.check(story, sound, &what, "every hash, signature, number, approval, stop");
    for (kind, ours, one) in
        [("TRANSFER", totals.transfers, "transfer"), ("TRANSFER_REFUSED", totals.refusals, "refusal")]
    {
        let found = report.kinds.get(kind).copied().unwrap_or_default();
        let what = format!("The log holds the {} that the brands met", count(ours, one));
        beats.check(story, found == ours, &what, &format!("{} {kind}", count(found, "record")));
    }

    let size = size(&stage.trust, &log)?;
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

/// Waits until the log is published as far as this. It is once a second.
async fn published(trust: &BrokerTrust, log: &Path, records: u64) -> Result<()> {
    let until = Instant::now() + PUBLISHED_WITHIN;
    while size(trust, log)? < records {
        ensure!(Instant::now() < until, "the log is not published up to record {records}");
        sleep(LOOK_EVERY).await;
    }
    Ok(())
}

/// How many records the published head stands for.
fn size(trust: &BrokerTrust, log: &Path) -> Result<u64> {
    let bytes = std::fs::read(log.join("checkpoint")).context("the checkpoint")?;
    Ok(SignedCheckpoint::verify(bytes, &trust.log_key).context("the checkpoint")?.size())
}
