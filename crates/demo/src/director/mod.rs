//! The director: sets the stage, tells the story, and checks each beat of it.

mod beats;
mod cast;
mod day;
mod deletion;
mod finale;
mod later;
mod link;
mod news;
mod proof;
mod story;
mod visitor;

use std::path::PathBuf;

use anyhow::{Context, Result};
use countersign_client::customer::Customer;
use tokio::time::Instant;

pub(crate) use self::story::{Story, count, grouped};
use self::{
    beats::{Beats, Stop},
    cast::{Cast, MEI, Who},
    day::Day,
};
use crate::{
    flights::{FlightDay, MINUTE},
    journey::BRANDS,
    signals::interrupted,
    stage::{Folder, Setting, Stage, with_companion},
};

/// How the journey is played.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How many people travel. The first is Mei, whose story is told.
    #[arg(long, value_name = "N", default_value_t = 25, value_parser = clap::value_parser!(u16).range(2..=1000))]
    travellers: u16,
    /// Leave everything running at the end, and print commands to try.
    #[arg(long)]
    keep: bool,
    /// How much faster than life the day goes by: 3600 is an hour a second; 0 does not wait at all.
    #[arg(long, value_name = "TIMES", default_value_t = 3600)]
    speed: u32,
    /// An absent or empty folder to work in, which stays. Without it, a temporary one.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Plays the journey; whether every beat held.
pub(crate) async fn run(arguments: &Arguments) -> Result<bool> {
    let played = tokio::select! {
        played = play(arguments) => played?,
        () = interrupted() => {
            // Broker and brands went with what was dropped.
            eprintln!("interrupted");
            return Ok(false);
        }
    };
    if let Some(mut stage) = played.kept {
        tokio::select! {
            welcomed = visitor::welcome(&stage) => welcomed?,
            () = interrupted() => {}
        }
        stage.close().await?;
    }
    Ok(played.good)
}

/// What a journey came to.
struct Played {
    good: bool,
    /// Still running.
    kept: Option<Stage>,
}

async fn play(arguments: &Arguments) -> Result<Played> {
    let begun = Instant::now();
    let flights = FlightDay::load()?;
    let cast = Cast::of(&flights, usize::from(arguments.travellers))?;
    let mut story = Story::new();
    let late = flights.delayed_flights(41).len();
    story.title(&format!(
        "Countersign, by the flights of 8 March 2013: {} left New York, {late} came in over 40 minutes late.",
        flights.flights().len()
    ));

    story.chapter("A broker and three brands, a process each");
    let folder = Folder::open(arguments.data.as_deref(), arguments.keep)?;
    let setting = Setting { brands: &BRANDS, environment: with_companion() };
    let mut stage = Stage::set(folder, setting).await?;
    story.note(&format!("{:<14}{}", "broker", stage.broker.address()));
    story.aside(&format!(
        "{:<14}log {}, everything under {}",
        "",
        stage.trust.origin,
        stage.folder.path().display()
    ));
    for brand in BRANDS {
        story.note(&format!(
            "{:<14}{}, with keys and a book of its own",
            brand.display_name(),
            brand.trade()
        ));
    }

    let mut beats = Beats::default();
    let Scene { mut story, totals, stop } = scenes(&mut stage, cast, story, arguments, &mut beats).await?;

    story.chapter("The log, without the broker");
    let running = arguments.keep;
    if running {
        story.aside("everything goes on running, so a copy of the log is checked");
    } else {
        let code = stage.close().await?;
        beats.check(&story, code == Some(0), "The broker is told to end, and does", "SIGTERM, exit code 0");
    }
    let records = proof::prove(&stage, &totals, stop, running, &story, &mut beats).await;
    let records = records.context("checking the log")?;

    finale::totals(&mut story, &totals, records, &beats, begun.elapsed());
    finale::next(&story, &stage, &totals, running);
    Ok(Played { good: beats.failed().is_empty(), kept: running.then_some(stage) })
}

/// What the day leaves behind.
struct Scene {
    story: Story,
    totals: Totals,
    /// The record of Mei's stop.
    stop: u64,
}

/// What there was, for the end.
pub(crate) struct Totals {
    pub(crate) travellers: u64,
    pub(crate) grants: u64,
    pub(crate) transfers: u64,
    pub(crate) refusals: u64,
    pub(crate) values: u64,
    /// A grant of Mei's that stands, for the commands to try.
    pub(crate) grant: String,
    /// How many records the log has at least, once everything is published.
    pub(crate) records: u64,
}

async fn scenes(
    stage: &mut Stage,
    cast: Cast,
    story: Story,
    arguments: &Arguments,
    beats: &mut Beats,
) -> Result<Scene> {
    let mut day = Day::dawn(stage, cast, story, arguments.speed)?;
    day.set_clocks(&BRANDS).await?;
    let waits = later::who_waits(&day.cast)?;
    let (mei, waits) = link::everybody(day.stage, &mut day.cast, &mut day.story, waits).await?;
    day.story.note("Books take the grants in, and Hopp and Chirp read for the first time:");
    let travellers = day.cast.travellers.len();
    let approved: Vec<Who> = (0..travellers).filter(|who| *who != waits.who).collect();
    day.grants_arrive(&approved).await?;
    let held = day.tally.sides == 2 * day.cast.grants();
    let people = count(approved.len() as u64, "traveller");
    let what = format!("{people} and {}, each in both books", count(day.cast.grants(), "grant"));
    beats.check(&day.story, held, &what, "verified and acknowledged by both sides");

    beats::compared(&day, &mei, beats).await?;

    day.story.chapter("An evening of late flights");
    later::approves(&mut day, waits, beats).await?;
    let stop = evening(&mut day, &mei, beats).await?;

    day.story.chapter("What each side can show");
    beats::too_many(&mut day, beats).await?;
    beats::activity(&day, &mei, &stop, beats).await?;
    day.story.chapter("She deletes");
    deletion::delete(&mut day, &mei, beats).await?;
    let tally = day.tally;
    let what = format!("{} equal what the brands held true at that moment", count(tally.values, "value"));
    beats.check(&day.story, true, &what, &format!("{} checked", count(tally.transfers, "transfer")));
    // Her wallet and book are free for the command line from here on.
    drop(mei);

    let grant = day.cast.travellers[MEI].grant(2)?.to_string();
    // The last transfer, and the refusal of one more.
    let records = tally.newest + 2;
    let (transfers, values) = (tally.transfers, tally.values);
    let (travellers, grants) = (travellers as u64, day.cast.grants());
    let totals = Totals { travellers, grants, transfers, refusals: REFUSALS, values, grant, records };
    Ok(Scene { story: day.story, totals, stop: stop.index })
}

/// `fare`, the wrong purpose, one read too many, one read too late.
const REFUSALS: u64 = 4;

/// The day goes by; in between Hopp and Chirp ask for what they may not have, and Mei stops a row in the air.
async fn evening(day: &mut Day<'_>, mei: &Customer, beats: &mut Beats) -> Result<Stop> {
    let flight = day.cast.mei().flight.clone();
    let scheduled = flight.scheduled_departure;
    day.run_until(Some(scheduled)).await?;
    beats::fare(day, beats).await?;
    day.run_until(Some(scheduled + 15 * MINUTE)).await?;
    beats::purpose(day, beats).await?;
    // She is in the air by now, and the landing will move once more.
    let delay = u64::try_from(flight.departure_delay_minutes().unwrap_or_default()).unwrap_or_default();
    day.run_until(Some(scheduled + (delay + 20) * MINUTE)).await?;
    let stop = beats::stop(day, mei, beats).await?;
    day.run_until(None).await?;
    Ok(stop)
}
