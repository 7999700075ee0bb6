//! What must be refused, and Mei's stop. Each is a beat that the director checks itself.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use countersign_client::{
    customer::{Acknowledged, Activity, Compared, Customer},
    proto::log::v1::Kind,
};

use super::{
    cast::{MEI, Who},
    day::Day,
    link::LOOKS_AT,
    story::{Story, count},
};
use crate::{
    control::{Answer, Command, Moved},
    journey::{Brand, Row, row},
    stage::refusal,
};

/// By this time a source must have said that a stop is in its book.
const STOPS_WITHIN: Duration = Duration::from_secs(60);

/// The traveller whose row is read to the end.
const READ_OUT: Who = 1;

/// The beats so far.
#[derive(Default)]
pub(super) struct Beats {
    held: u32,
    failed: Vec<String>,
}

impl Beats {
    /// Tells a beat, and keeps whether it holds.
    pub(super) fn check(&mut self, story: &Story, holds: bool, what: &str, small: &str) {
        story.beat(holds, what, small);
        if holds {
            self.held += 1;
        } else {
            self.failed.push(what.to_owned());
        }
    }

    pub(super) fn held(&self) -> u32 {
        self.held
    }

    /// What does not hold.
    pub(super) fn failed(&self) -> &[String] {
        &self.failed
    }
}

/// What the stop came to.
pub(super) struct Stop {
    /// The record of Mei's stop.
    pub(super) index: u64,
    grant: String,
}

/// What left first under the rows that Mei looked at is what she saw: by Skylark's word, which the broker can't make.
pub(super) async fn compared(day: &Day<'_>, mei: &Customer, beats: &mut Beats) -> Result<()> {
    let compared = mei.comparisons().await?;
    let mut same = compared.len() == LOOKS_AT.len();
    for number in LOOKS_AT {
        let grant = day.cast.mei().grant(u8::try_from(number)?)?;
        same &= compared.get(grant).is_some_and(Compared::as_previewed);
    }
    let fields: usize = compared.values().map(|one| one.fields.len()).sum();
    let small = format!("{}, by Skylark's signed marks", count(fields as u64, "value"));
    beats.check(&day.story, same, "What moved first is what Mei saw: as previewed", &small);
    Ok(())
}

/// Hopp asks for the fare.
pub(super) async fn fare(day: &Day<'_>, beats: &mut Beats) -> Result<()> {
    let asked = fetch(day, MEI, 1, known(1)?.purpose, &["trip.fare"]).await;
    let what = "Hopp asks for Mei's `fare`: not granted";
    refused(day, beats, &asked, "FIELD_NOT_GRANTED", what);
    Ok(())
}

/// Chirp wants to use the gate for something else.
pub(super) async fn purpose(day: &Day<'_>, beats: &mut Beats) -> Result<()> {
    let asked = fetch(day, MEI, 4, "support_chat", &["trip.gate"]).await;
    let what = "Chirp wants the gate for its support: another purpose";
    refused(day, beats, &asked, "PURPOSE_NOT_ALLOWED", what);
    Ok(())
}

/// Another traveller's row 1 is read until its uses are spent, and once more.
pub(super) async fn too_many(day: &mut Day<'_>, beats: &mut Beats) -> Result<()> {
    let row = known(1)?;
    let name = day.cast.travellers[READ_OUT].name.clone();
    let before = day.cast.travellers[READ_OUT].uses.get(&1).copied().unwrap_or_default();
    for _ in before..u64::from(row.uses) {
        let moved = fetch(day, READ_OUT, 1, row.purpose, row.fields).await?;
        day.take(READ_OUT, 1, &moved)?;
    }
    day.cast.travellers[READ_OUT].ended.insert(1);
    let asked = fetch(day, READ_OUT, 1, row.purpose, row.fields).await;
    let what = format!("Hopp reads {name}'s trip {} times, and once more: too often", row.uses);
    refused(day, beats, &asked, "FREQUENCY_EXCEEDED", &what);
    Ok(())
}

/// Mei stops row 1: recorded at once, stopped on Skylark's own word, and refused from then on.
pub(super) async fn stop(day: &mut Day<'_>, mei: &Customer, beats: &mut Beats) -> Result<Stop> {
    let row = known(1)?;
    let grant = day.cast.mei().grant(1)?.clone();
    let recorded = mei.stop(&grant, false).await?;
    let index = recorded.receipt().index();
    let size = recorded.receipt().checkpoint().size();
    let small = format!("record {index} of {size}, proof verified");
    day.story.line(&day.time(), "Mei", "stops row 1, Skylark \u{2192} Hopp: recorded", &small);
    let word = recorded.wait_until_acknowledged(STOPS_WITHIN).await?;
    let stopped = matches!(&word, Acknowledged::BySource { source, .. } if *source == row.source.partner());
    beats.check(
        &day.story,
        stopped,
        "Mei's stop: recorded with proof, then stopped",
        "Skylark signed that it is in its book",
    );
    day.cast.travellers[MEI].ended.insert(1);
    let name = grant.to_string();
    day.rest_until(|day| {
        let has = |brand: Brand| day.stopped.iter().any(|(by, grant)| *by == brand && *grant == name);
        has(row.source) && has(row.recipient)
    })
    .await?;
    let asked = fetch(day, MEI, 1, row.purpose, row.fields).await;
    refused(day, beats, &asked, "GRANT_ENDED", "Hopp reads again after the stop: over");
    Ok(Stop { index, grant: name })
}

/// What Mei's own app shows, from the log.
pub(super) async fn activity(day: &Day<'_>, mei: &Customer, stop: &Stop, beats: &mut Beats) -> Result<()> {
    let all = mei.activity(0, &[]).await?;
    let refusals: Vec<&Activity> = all.iter().filter(|one| one.kind() == Kind::TransferRefused).collect();
    let reasons: Vec<&str> = refusals.iter().map(|one| one.record.reason.as_str()).collect();
    let expected = ["FIELD_NOT_GRANTED", "PURPOSE_NOT_ALLOWED", "GRANT_ENDED"];
    let indexes: Vec<String> = refusals.iter().map(|one| one.index().to_string()).collect();
    let small = format!("records {}", indexes.join(", "));
    beats.check(&day.story, reasons == expected, "Mei's activity shows all three refusals", &small);

    let transfers: Vec<&Activity> = all.iter().filter(|one| one.kind() == Kind::Transfer).collect();
    let received: u64 = day.cast.mei().uses.values().sum();
    let what = format!("Mei's activity shows each of her {}", count(received, "transfer"));
    beats.check(
        &day.story,
        transfers.len() as u64 == received,
        &what,
        &format!("{} records in all", all.len()),
    );

    let late =
        transfers.iter().filter(|one| one.event.grant == stop.grant && one.index() > stop.index).count();
    let small = format!("record {} is the last word on row 1", stop.index);
    beats.check(&day.story, late == 0, "After the stop no data moved under row 1", &small);
    Ok(())
}

/// Has a row's recipient fetch.
async fn fetch(day: &Day<'_>, who: Who, number: u8, purpose: &str, fields: &[&str]) -> Result<Moved> {
    let grant = day.cast.travellers[who].grant(number)?.to_string();
    let fields = fields.iter().map(|field| (*field).to_owned()).collect();
    let command = Command::Fetch { grant, purpose: purpose.to_owned(), fields };
    match day.stage.brand(known(number)?.recipient)?.ask(command).await? {
        Answer::Fetched(moved) => Ok(moved),
        other => bail!("it answers {other:?}"),
    }
}

fn refused(day: &Day<'_>, beats: &mut Beats, asked: &Result<Moved>, reason: &str, what: &str) {
    let (holds, small) = match asked {
        Ok(moved) => (false, format!("data moved: record {}", moved.index)),
        Err(error) => {
            (refusal(error) == Some(reason), refusal(error).map_or(format!("{error:#}"), str::to_owned))
        }
    };
    beats.check(&day.story, holds, what, &small);
}

fn known(number: u8) -> Result<&'static Row> {
    row(number).with_context(|| format!("there is no row {number}"))
}
