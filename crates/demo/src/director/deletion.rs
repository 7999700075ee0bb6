//! Mei has what two brands received deleted: one is quick, and one is late, which shows in red until it has.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use countersign_client::{
    customer::{Customer, ErasureView},
    grants::id::GrantName,
    proto::{log::v1::Kind, v1::grant::ErasureState},
};
use tokio::time::{Instant, sleep};

use super::{beats::Beats, cast::MEI, day::Day};
use crate::{
    control::Command,
    journey::{Brand, Row, row},
};

/// How long it may take until what is late is told so: its due time of ten seconds, and a busy machine.
const LATE_WITHIN: Duration = Duration::from_secs(60);

/// Between two looks at it.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Mei stopped row 1 before, and orders to delete what Hopp received by it; of row 4 Chirp may keep nothing.
pub(super) async fn delete(day: &mut Day<'_>, mei: &Customer, beats: &mut Beats) -> Result<()> {
    let (quick, slow) = (known(1)?, known(4)?);
    for row in [quick, slow] {
        let grant = day.cast.mei().grant(row.number)?.clone();
        let recorded = mei.stop(&grant, true).await?;
        let small = format!("record {}, proof verified", recorded.receipt().index());
        let what = format!("row {}: {} is to delete what it received", row.number, row.recipient);
        day.story.line(&day.time(), "Mei", &what, &small);
        day.cast.travellers[MEI].ended.insert(row.number);
    }
    let orders = [order(day, quick)?, order(day, slow)?];
    day.rest_until(|day| orders.iter().all(|order| day.due.contains(order))).await?;

    done(day, quick).await?;
    let seen = view(mei, &order_name(day, quick)?).await?;
    let what = "Hopp deleted, and signed that it has";
    beats.check(&day.story, seen.state() == ErasureState::Attested, what, "its own signature, verified");

    let late = until_late(mei, &order_name(day, slow)?).await?;
    day.story.late(
        &day.time(),
        "Chirp",
        "OVERDUE: it has not said that it deleted",
        "due at once, by the terms",
    );
    beats.check(
        &day.story,
        late,
        "Chirp is late, and Mei sees it in red",
        "by what she signed and her own clock",
    );
    done(day, slow).await?;
    let seen = view(mei, &order_name(day, slow)?).await?;
    let what = "Chirp deleted too: late, and signed";
    beats.check(&day.story, seen.state() == ErasureState::Attested, what, "two attestations in all");

    let all = mei.activity(0, &[]).await?;
    let count = |kind: Kind| all.iter().filter(|one| one.kind() == kind).count();
    let kinds = [Kind::ErasureOrdered, Kind::ErasureOverdue, Kind::ErasureAttested].map(count);
    beats.check(
        &day.story,
        kinds == [2, 1, 2],
        "The log has both orders, one that was late, both attestations",
        "",
    );
    Ok(())
}

/// Has a row's recipient delete.
async fn done(day: &Day<'_>, row: &Row) -> Result<()> {
    let (recipient, grant) = order(day, row)?;
    day.stage.brand(recipient)?.ask(Command::Delete { grant }).await.map(drop)
}

async fn view(mei: &Customer, grant: &GrantName) -> Result<ErasureView> {
    let grants = mei.grants().await?;
    let seen = grants.iter().find(|one| one.row.name == *grant).context("her grant is listed")?;
    seen.erasure.context("she ordered it")
}

/// Waits until an order is late, by the customer's own reckoning and by a record of the log; whether it came to both.
async fn until_late(mei: &Customer, grant: &GrantName) -> Result<bool> {
    let until = Instant::now() + LATE_WITHIN;
    loop {
        let seen = view(mei, grant).await?;
        ensure!(seen.attested.is_none(), "nobody deleted anything yet");
        let recorded = mei.activity(0, &[Kind::ErasureOverdue]).await?;
        if seen.overdue && recorded.iter().any(|one| one.event.grant == grant.as_str()) {
            return Ok(true);
        }
        if Instant::now() > until {
            return Ok(false);
        }
        sleep(LOOK_EVERY).await;
    }
}

fn order(day: &Day<'_>, row: &Row) -> Result<(Brand, String)> {
    Ok((row.recipient, order_name(day, row)?.to_string()))
}

fn order_name(day: &Day<'_>, row: &Row) -> Result<GrantName> {
    day.cast.mei().grant(row.number).cloned()
}

fn known(number: u8) -> Result<&'static Row> {
    row(number).with_context(|| format!("there is no row {number}"))
}
