//! The end: what there was, and what to try next.

use std::time::Duration;

use super::{
    Totals,
    beats::Beats,
    story::{Story, count},
};
use crate::{
    stage::{AUDITOR, Stage},
    verify,
};

/// What there was.
pub(super) fn totals(story: &mut Story, totals: &Totals, records: u64, beats: &Beats, took: Duration) {
    let Totals { travellers, grants, transfers, refusals, values, .. } = totals;
    story.chapter("In all");
    story.note(&format!(
        "{}, {}, {}, {}, {} in the log, {:.0} s",
        count(*travellers, "traveller"),
        count(*grants, "grant"),
        count(*transfers, "transfer"),
        count(*refusals, "refusal"),
        count(records, "record"),
        took.as_secs_f64()
    ));
    story.aside(&format!(
        "{} compared; {} checked",
        count(*values, "value"),
        count(u64::from(beats.held()), "beat")
    ));
    for failed in beats.failed() {
        story.beat(false, failed, "");
    }
}

/// What to try next.
pub(super) fn next(story: &Story, stage: &Stage, totals: &Totals, running: bool) {
    let folder = &stage.folder;
    if !running {
        story.note("To look around in it, and to be Mei in the companion: cargo xtask demo --keep");
        return;
    }
    let countersign = stage.binaries.countersign.display();
    let broker = format!("--broker {}", folder.broker_file().display());
    let mei = folder.traveller("Mei");
    let customer = format!("--home {}", mei.display());
    let auditor = format!("--name {AUDITOR} --key {}", folder.auditor_key().display());
    story.note("All of it is running. Try:");
    story.command(&format!("{countersign} customer activity {broker} {customer}"));
    story.command(&format!("{countersign} customer stop {} {broker} {customer}", totals.grant));
    story.command(&format!("{countersign} audit list {broker} {auditor}"));
    story.command(&format!(
        "{countersign} {}",
        verify::arguments(&folder.log(), &folder.broker_file()).join(" ")
    ));
    story.command(&format!("curl {}/checkpoint", stage.broker.address()));
    story.note("Ctrl-C ends it.");
}
