//! A visitor in Mei's place: whoever sits at the terminal links the three brands in the companion, brings each its code as
//! in its own app, and is asked once for the five rows. Then the day goes by, ten minutes a line.

use std::{collections::BTreeMap, future::pending};

use anyhow::{Context, Result, bail};
use countersign_client::InvitationPackage;
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines, Stdin, stdin};

use super::{cast::MEIS_FLIGHT, story::Story};
use crate::{
    control::{Answer, Command},
    flights::{FlightDay, MINUTE, UnixMs},
    journey::{BRANDS, Brand, ROWS},
    stage::Stage,
};

/// How long before the flight leaves the visitor's day begins.
const EARLY: UnixMs = 60 * MINUTE;

/// How far a line at the terminal moves the clocks.
const STEP: UnixMs = 10 * MINUTE;

/// How many codes a brand looks at before it invites anew.
const TRIES: usize = 3;

/// How the visitor knows the account at a brand.
const LABEL: &str = "you, as Mei";

/// Leads the visitor through; comes back only with an error, since whoever is done presses Ctrl-C.
pub(super) async fn welcome(stage: &Stage) -> Result<()> {
    let (story, mut lines) = (Story::new(), BufReader::new(stdin()).lines());
    story.title("Be Mei yourself");
    story.note("The companion, in a browser on this machine (with a passkey, or without):");
    story.command(&stage.app_address());
    let flight = FlightDay::load()?.find(MEIS_FLIGHT).context("Mei's flight is not among the day's")?.clone();
    let mut clock = flight.scheduled_departure - EARLY;
    set_clocks(stage, clock).await?;

    let mut subjects = BTreeMap::new();
    for brand in BRANDS {
        subjects.insert(brand, link(stage, brand, &story, &mut lines).await?);
    }
    let subject = subjects.remove(&Brand::Skylark).context("it is one of the three")?;
    let rows = ROWS.iter().map(|row| {
        let offer = stage.offers.get(&row.number).cloned();
        Ok((offer.with_context(|| format!("no offer for row {}", row.number))?, row.optional))
    });
    let request = Command::Request { subject, rows: rows.collect::<Result<_>>()? };
    stage.brand(Brand::Skylark)?.ask(request).await?;
    story.note("Skylark has asked: the request is in the companion. Then press Enter, each time for ten minutes more.");
    loop {
        next(&mut lines).await?;
        clock += STEP;
        set_clocks(stage, clock).await?;
        for brand in [Brand::Skylark, Brand::Hopp] {
            stage.brand(brand)?.ask(Command::Act).await?;
        }
        story.note(&format!("{} in New York", flight.origin.wall_clock(clock)));
    }
}

/// Invites until a code fits; the brand's handle of the visitor.
async fn link(
    stage: &Stage,
    brand: Brand,
    story: &Story,
    lines: &mut Lines<BufReader<Stdin>>,
) -> Result<String> {
    let process = stage.brand(brand)?;
    loop {
        let flight = (brand == Brand::Skylark).then(|| MEIS_FLIGHT.to_owned());
        let invite = Command::Invite { label: LABEL.to_owned(), flight, return_address: None };
        let Answer::Invited { package, link, subject } = process.ask(invite).await? else {
            bail!("{brand} did not invite");
        };
        let fragment = InvitationPackage::parse(&package)?.to_fragment();
        story.note(&format!(
            "{} invites you. Open this, and type the code that the companion shows:",
            brand.display_name()
        ));
        story.command(&format!("{}/#{fragment}", stage.app_address()));
        for _ in 0..TRIES {
            let code = next(lines).await?;
            match process.ask(Command::Confirm { link: link.clone(), code }).await {
                Ok(_) => {
                    story.note(&format!("{} is linked.", brand.display_name()));
                    return Ok(subject);
                }
                Err(error) => story.note(&format!("{error:#}")),
            }
        }
    }
}

async fn set_clocks(stage: &Stage, at: UnixMs) -> Result<()> {
    for brand in BRANDS {
        stage.brand(brand)?.ask(Command::Clock { at }).await?;
    }
    Ok(())
}

/// The next line at the terminal. Where nobody sits at one, everything goes on running.
async fn next(lines: &mut Lines<BufReader<Stdin>>) -> Result<String> {
    match lines.next_line().await? {
        Some(line) => Ok(line.trim().to_owned()),
        None => pending().await,
    }
}
