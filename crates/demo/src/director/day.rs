//! The day: a clock that replays it faster than life, and what moves because of it. Between two moments everybody comes
//! to rest, so that what was fetched can be held against what Skylark's data said right then.

use std::{collections::HashMap, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use tokio::time::{Instant, sleep_until, timeout};

use super::{
    cast::{Cast, MEI, Who},
    news::news,
    story::{Story, count},
};
use crate::{
    control::{Answer, Command, Event, Moved},
    flights::{MINUTE, Timeline, UnixMs, moment},
    journey::{BRANDS, Brand, row},
    stage::Stage,
};

/// The clock stops at least this often: drivers set out and arrive between the announcements, too.
const STEP: UnixMs = 10 * MINUTE;

/// How long it may take until everybody is at rest: a notice, an event and a fetch, twice, for some hundred people.
const RESTS_WITHIN: Duration = Duration::from_secs(60);

/// No flight of the day goes on longer than this after the first announcement: a bound on the replay.
const LONGEST_DAY: UnixMs = 36 * 60 * MINUTE;

/// What moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Grants that both sides hold and have acknowledged: counted once for each side.
    pub(super) sides: u64,
    /// Transfers, each verified with its proof.
    pub(super) transfers: u64,
    /// Values that were equal to what they must be.
    pub(super) values: u64,
    /// The newest record of a transfer.
    pub(super) newest: u64,
}

/// The replay.
pub(super) struct Day<'a> {
    pub(super) stage: &'a mut Stage,
    pub(super) cast: Cast,
    pub(super) story: Story,
    pub(super) tally: Tally,
    /// The grants of which a brand said that their stop is in its book, by brand.
    pub(super) stopped: Vec<(Brand, String)>,
    /// The grants under which a brand said that it has to delete, by brand.
    pub(super) due: Vec<(Brand, String)>,
    /// How late it is.
    pub(super) clock: UnixMs,
    timeline: Timeline,
    /// How much faster than life; 0 doesn't wait at all.
    speed: u32,
    stepped: Instant,
    /// Who still has to follow something up, and under which row. For a moment a count can be negative: a notice can be
    /// followed up before we hear that it went out.
    pending: HashMap<(Who, u8), i64>,
    /// What moved since everybody was last at rest.
    moved: Vec<(Brand, Who, u8, Moved, Option<String>)>,
    hour: Hour,
}

/// What the others did within one hour.
#[derive(Default)]
struct Hour {
    ends: UnixMs,
    before: Tally,
    meis: u64,
}

impl<'a> Day<'a> {
    pub(super) fn dawn(stage: &'a mut Stage, cast: Cast, story: Story, speed: u32) -> Result<Self> {
        let timeline = Timeline::of(cast.travellers.iter().map(|traveller| &traveller.flight));
        let (first, _) = timeline.span().context("nothing happens to anybody")?;
        let clock = first - STEP;
        Ok(Self {
            stage,
            cast,
            story,
            tally: Tally::default(),
            stopped: Vec::new(),
            due: Vec::new(),
            clock,
            timeline,
            speed,
            stepped: Instant::now(),
            pending: HashMap::new(),
            moved: Vec::new(),
            hour: Hour { ends: next_hour(clock), ..Hour::default() },
        })
    }

    /// What is told before the first approval: every brand's clock.
    pub(super) async fn set_clocks(&self, brands: &[Brand]) -> Result<()> {
        for brand in brands {
            self.stage.brand(*brand)?.ask(Command::Clock { at: self.clock }).await?;
        }
        Ok(())
    }

    /// Both sides take the new grants of these travellers into their books, and recipients fetch for the first time.
    pub(super) async fn grants_arrive(&mut self, of: &[Who]) -> Result<()> {
        let mut sides = self.tally.sides;
        for who in of {
            for row in 1..=4 {
                sides += 2;
                self.expect(*who, row);
            }
        }
        self.rest_until(|day| day.tally.sides >= sides).await
    }

    /// Replays until a moment, or until the last ride has ended.
    pub(super) async fn run_until(&mut self, until: Option<UnixMs>) -> Result<()> {
        let (first, _) = self.timeline.span().context("nothing happens to anybody")?;
        loop {
            let change = self.timeline.next_after(self.clock);
            let driving = self.cast.travellers.iter().any(|one| one.ride.drives());
            if until.is_none() && change.is_none() && !driving {
                return Ok(());
            }
            ensure!(self.clock < first + LONGEST_DAY, "the day does not end");
            let step = self.clock - self.clock % STEP + STEP;
            let next = change.map_or(step, |change| change.min(step));
            if until.is_some_and(|until| next > until) {
                return Ok(());
            }
            self.pace(next).await;
            self.clock = next;
            self.moment().await?;
        }
    }

    /// Waits as long as the time until `next` takes at this speed.
    async fn pace(&mut self, next: UnixMs) {
        if self.speed > 0 {
            let wait = Duration::from_millis(next - self.clock) / self.speed;
            sleep_until(self.stepped + wait).await;
        }
        self.stepped = Instant::now();
    }

    /// One moment: the airline announces, recipients follow it up; then drivers do what the hour asks for.
    async fn moment(&mut self) -> Result<()> {
        self.set_clocks(&BRANDS).await?;
        self.announce();
        for brand in [Brand::Skylark, Brand::Hopp] {
            if brand == Brand::Hopp {
                for traveller in &mut self.cast.travellers {
                    traveller.ride.advance(self.clock);
                }
            }
            let Answer::Told { subjects } = self.stage.brand(brand)?.ask(Command::Act).await? else {
                bail!("{brand} does not say whom it told");
            };
            for subject in subjects {
                let who = self.cast.who(&subject)?;
                for row in [1, 2, 4] {
                    let from = row_source(row)?;
                    if from == brand && self.cast.travellers[who].stands(row) {
                        self.expect(who, row);
                    }
                }
            }
            self.rest().await?;
        }
        if self.clock >= self.hour.ends {
            self.close_hour();
        }
        Ok(())
    }

    /// What Mei's flight does right now.
    fn announce(&self) {
        let mei = self.cast.mei();
        let changes = self.timeline.between(self.clock - 1, self.clock);
        for change in changes.iter().filter(|change| change.flight == mei.flight.number) {
            let (what, route) = news(&mei.flight, &change.before, &change.after);
            let moves = change.moves_arrival() || change.moves_departure();
            let small = if moves && !mei.stands(1) {
                "row 1 is stopped: Hopp hears nothing".to_owned()
            } else {
                route
            };
            self.story.line(&self.time(), "Skylark", &what, &small);
        }
    }

    fn expect(&mut self, who: Who, row: u8) {
        count_up(&mut self.pending, (who, row), 1);
    }

    /// Waits until everything that was told has been followed up; then checks and tells what moved.
    pub(super) async fn rest(&mut self) -> Result<()> {
        self.rest_until(|_| true).await
    }

    /// The same, and until something else holds too.
    pub(super) async fn rest_until(&mut self, holds: impl Fn(&Self) -> bool) -> Result<()> {
        let until = Instant::now() + RESTS_WITHIN;
        while !self.pending.is_empty() || !holds(self) {
            let event =
                timeout(until.saturating_duration_since(Instant::now()), self.stage.events.recv()).await;
            let Ok(event) = event else {
                let waiting = self
                    .pending
                    .keys()
                    .map(|(who, row)| format!("{} (row {row})", self.cast.travellers[*who].name));
                bail!("nothing more happens, and these wait: {}", waiting.collect::<Vec<_>>().join(", "));
            };
            let (brand, event) = event.context("all brands have ended")?;
            self.heed(brand, event)?;
        }
        self.check_moved()
    }

    fn heed(&mut self, brand: Brand, event: Event) -> Result<()> {
        match event {
            Event::Granted { grant, subject, row, receives } => {
                let who = self.cast.who(&subject)?;
                let signed = self.cast.travellers[who].grant(row)?;
                ensure!(signed.to_string() == grant, "{brand} holds another grant for row {row}");
                let known = row_of(row)?;
                ensure!(receives == (known.recipient == brand), "{brand} is on the wrong side of row {row}");
                self.tally.sides += 1;
            }
            Event::Followed { subject, row, moved, told, says } => {
                let who = self.cast.who(&subject)?;
                count_up(&mut self.pending, (who, row), -1);
                if told {
                    self.expect(who, 2);
                }
                if let Some(moved) = moved {
                    self.moved.push((brand, who, row, moved, says));
                }
            }
            Event::Stopped { grant, .. } => self.stopped.push((brand, grant)),
            Event::EraseDue { grant } => self.due.push((brand, grant)),
            Event::Tapped { .. } => {}
            Event::Trouble { what } => bail!("{brand}: {what}"),
        }
        Ok(())
    }

    /// Checks what moved, in the order of the log, and tells Mei's part of it.
    fn check_moved(&mut self) -> Result<()> {
        let mut moved = std::mem::take(&mut self.moved);
        moved.sort_by_key(|(_, _, _, moved, _)| moved.index);
        // What Hopp was told first: Chirp is told what follows from it.
        for (_, who, row, moved, _) in &moved {
            if *row == 1 {
                let lands = moved.get("trip.eta").and_then(moment).context("`trip.eta` is a moment")?;
                self.cast.travellers[*who].ride.plan(lands);
            }
        }
        for (_, who, row, moved, says) in &moved {
            self.take(*who, *row, moved)?;
            if *who == MEI {
                self.tell(*row, moved, says.as_deref())?;
            }
        }
        Ok(())
    }

    /// Checks one transfer: its values against the flight data or the ride of this moment, its use against our own count.
    pub(super) fn take(&mut self, who: Who, row: u8, moved: &Moved) -> Result<()> {
        let traveller = &mut self.cast.travellers[who];
        let name = &traveller.name;
        ensure!(moved.clock == self.clock, "row {row} of {name} moved at another moment than this");
        let trip = traveller.flight.trip_at(self.clock);
        for (field, value) in &moved.values {
            let expected = match field.split_once('.') {
                Some(("trip", field)) => trip.value(field).map(str::to_owned),
                Some(("ride", field)) => traveller.ride.value(field),
                Some(("contact", "reply_alias")) => {
                    value.ends_with("@reply.chirp.example").then(|| value.clone())
                }
                _ => None,
            };
            ensure!(
                expected.as_deref() == Some(value),
                "row {row} of {name}: `{field}` came as `{value}`, and it is {expected:?}"
            );
            self.tally.values += 1;
        }
        let uses = traveller.uses.entry(row).or_default();
        *uses += 1;
        ensure!(
            moved.use_number == *uses,
            "row {row} of {name}: use {} by the log, {uses} by us",
            moved.use_number
        );
        self.tally.transfers += 1;
        self.tally.newest = self.tally.newest.max(moved.index);
        if who == MEI {
            self.hour.meis += 1;
        }
        Ok(())
    }

    fn tell(&self, number: u8, moved: &Moved, says: Option<&str>) -> Result<()> {
        let row = row_of(number)?;
        let airport = &self.cast.mei().flight.destination;
        let what = match number {
            1 => {
                let lands = moved
                    .get("trip.eta")
                    .and_then(moment)
                    .map_or_else(String::new, |at| airport.wall_clock(at));
                format!(
                    "{} lands {lands}; {}",
                    moved.get("trip.flight_no").unwrap_or_default(),
                    says.unwrap_or_default()
                )
            }
            _ => says.unwrap_or("nothing new").to_owned(),
        };
        let small = format!("row {number}, {} of {}, record {}", moved.use_number, row.uses, moved.index);
        self.story.line(&self.time(), &format!("{} \u{2192} {}", row.source, row.recipient), &what, &small);
        Ok(())
    }

    fn close_hour(&mut self) {
        let transfers = self.tally.transfers - self.hour.before.transfers;
        let others = transfers.saturating_sub(self.hour.meis);
        if others > 0 {
            let what = format!("the other {}: {}", self.cast.travellers.len() - 1, count(others, "transfer"));
            self.story.line(&self.time(), "", &what, "each verified with its proof");
        }
        self.hour = Hour { ends: next_hour(self.clock), before: self.tally, meis: 0 };
    }

    /// What the clocks of New York show.
    pub(super) fn time(&self) -> String {
        self.cast.mei().flight.origin.wall_clock(self.clock)
    }
}

fn next_hour(clock: UnixMs) -> UnixMs {
    const HOUR: UnixMs = 60 * MINUTE;
    clock - clock % HOUR + HOUR
}

fn row_of(number: u8) -> Result<&'static crate::journey::Row> {
    row(number).with_context(|| format!("there is no row {number}"))
}

fn row_source(number: u8) -> Result<Brand> {
    row_of(number).map(|row| row.source)
}

/// Counts, and forgets what came to nothing.
fn count_up(pending: &mut HashMap<(Who, u8), i64>, key: (Who, u8), by: i64) {
    let count = pending.entry(key).or_default();
    *count += by;
    if *count == 0 {
        pending.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_followed_up_before_it_was_told_comes_to_nothing() {
        let mut pending = HashMap::new();
        count_up(&mut pending, (0, 2), -1);
        assert!(!pending.is_empty());
        count_up(&mut pending, (0, 2), 1);
        assert!(pending.is_empty());
    }

    #[test]
    fn hours_end_on_the_hour() {
        assert_eq!(next_hour(0), 60 * MINUTE);
        assert_eq!(next_hour(59 * MINUTE), 60 * MINUTE);
        assert_eq!(next_hour(60 * MINUTE), 120 * MINUTE);
    }
}
