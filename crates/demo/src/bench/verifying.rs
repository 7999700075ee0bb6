//! `countersign log verify`, as a process of its own on one core.

use std::{process::Stdio, time::Duration};

use anyhow::{Context, Result, ensure};
use tokio::{
    process::Command,
    time::{Instant, sleep},
};

use super::{
    figures::Verify,
    load::progress,
    machine::{Resident, pin, processor_time, resident},
    synthetic,
};
use crate::{
    stage::{Binaries, Folder},
    verify::{Report, arguments},
};

/// How often the kernel is asked. Memory's peak is kept by the kernel itself, so nothing is missed but what comes within
/// the last moment.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Makes a log up, and has it checked.
pub(super) async fn measure(records: u64) -> Result<Verify> {
    let binaries = Binaries::beside_this_one()?;
    let folder = Folder::open(None, false)?;
    let bar = progress(records, "records made up");
    let (path, told) = (folder.path().to_owned(), bar.clone());
    let made =
        tokio::task::spawn_blocking(move || synthetic::make(&path, records, |done| told.set_position(done)));
    let made = made.await??;
    bar.finish_and_clear();

    let mut line = arguments(&folder.path().join("log"), &folder.broker_file());
    line.push("--json".to_owned());
    let begun = Instant::now();
    let child = Command::new(&binaries.countersign)
        .args(&line)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context("`countersign log verify` can't be started")?;
    let pid = child.id().context("it has ended")?;
    pin(pid)?;
    let finished = child.wait_with_output();
    tokio::pin!(finished);
    let (mut held, mut busy) = (Resident::default(), Duration::ZERO);
    let output = loop {
        tokio::select! {
            output = &mut finished => break output?,
            () = sleep(LOOK_EVERY) => {
                // A process that is just ending tells no more; what it told last counts.
                held = resident(pid).unwrap_or(held);
                busy = processor_time(pid).unwrap_or(busy);
            }
        }
    };
    let seconds = begun.elapsed().as_secs_f64();
    let report: Report = serde_json::from_slice(&output.stdout).context("the checker's report")?;
    ensure!(output.status.success() && report.findings.is_empty(), "the made-up log does not verify");
    ensure!(report.records == made.records && report.grants == made.grants, "the checker read another log");
    Ok(Verify {
        records: made.records,
        grants: made.grants,
        bytes: made.bytes,
        seconds,
        records_per_second: made.records as f64 / seconds,
        cpu_seconds: busy.as_secs_f64(),
        peak_kib: held.peak_kib,
    })
}
