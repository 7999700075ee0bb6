//! One who looks at what would leave, waits, and approves when the flight has slipped: what changed since is told by name.

use anyhow::{Context, Result, ensure};
use countersign_client::{
    customer::{Compared, SincePreview},
    grants::catalogue::FieldPath,
};

use super::{
    beats::Beats,
    cast::{Cast, MEI, Who},
    day::Day,
    link::Waits,
};
use crate::{
    flights::{Flight, UnixMs},
    journey::row,
};

/// Whose flight slips first, but for Mei's.
pub(super) fn who_waits(cast: &Cast) -> Result<Who> {
    let mei = cast.mei().flight.scheduled_departure;
    let slips = |who: &Who| slips(&cast.travellers[*who].flight).unwrap_or(UnixMs::MAX);
    let who = (MEI + 1..cast.travellers.len()).min_by_key(slips).context("Mei travels alone")?;
    ensure!(slips(&who) < mei, "no flight slips before Mei's leaves");
    Ok(who)
}

/// When another arrival was announced than the schedule's.
fn slips(flight: &Flight) -> Option<UnixMs> {
    let beliefs = flight.beliefs();
    beliefs.iter().find(|belief| belief.arrival != beliefs[0].arrival).map(|belief| belief.since)
}

/// The flight slips, and then its traveller approves: what Hopp reads first is no longer all that was shown.
pub(super) async fn approves(day: &mut Day<'_>, waits: Waits, beats: &mut Beats) -> Result<()> {
    let (row, looked_at) = (row(1).context("there is a row 1")?, day.clock);
    let (name, flight) = {
        let one = &day.cast.travellers[waits.who];
        (one.name.clone(), one.flight.clone())
    };
    day.run_until(slips(&flight)).await?;
    let (before, now) = (flight.trip_at(looked_at), flight.trip_at(day.clock));
    day.cast.travellers[waits.who].grants = waits.approve().await?;
    let what = format!("approves rows 1 to 4: {} slipped since the look", flight.number);
    day.story.line(
        &day.time(),
        &name,
        &what,
        &format!("{} to {}", flight.origin.code, flight.destination.code),
    );
    day.grants_arrive(&[waits.who]).await?;

    let differs = |field: &&&str| {
        let field = field.trim_start_matches("trip.");
        before.value(field) != now.value(field)
    };
    let expected: Vec<&str> = row.fields.iter().filter(differs).copied().collect();
    let compared = waits.customer.comparisons().await?;
    let found = compared.get(day.cast.travellers[waits.who].grant(1)?);
    let that = |stand| {
        let fields = found.into_iter().flat_map(|found: &Compared| found.fields_that(stand));
        fields.map(FieldPath::as_str).collect::<Vec<_>>()
    };
    let (changed, same) = (that(SincePreview::Changed), that(SincePreview::AsPreviewed));
    let holds = !expected.is_empty() && changed == expected && same.len() + changed.len() == row.fields.len();
    let named = if changed.is_empty() { "nothing".to_owned() } else { changed.join(", ") };
    let small = format!("as previewed: {}", same.join(", "));
    beats.check(&day.story, holds, &format!("What changed since {name} looked: {named}"), &small);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flights::FlightDay;

    #[test]
    fn somebody_waits_however_many_travel() {
        let day = FlightDay::load().unwrap();
        for travellers in [2, 3, 25, 1000] {
            let cast = Cast::of(&day, travellers).unwrap();
            assert_ne!(who_waits(&cast).unwrap(), MEI, "{travellers}");
        }
    }
}
