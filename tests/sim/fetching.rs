//! A recipient at work: one fetch after the other, several at once, and the same one twice.

use std::{sync::Arc, time::Duration};

use countersign_client::{
    Error, Fetched,
    book::{GrantRow, Side},
    channel::call,
};
use countersign_grants::{
    envelope,
    statement::{Fetch, MAX_FETCH_AGE},
    time::Timestamp,
};
use countersign_proto::{
    log::v1::Kind,
    statement::v1 as wire,
    v1::{FetchDataRequest, FetchDataResponse},
};
use tokio::{task::JoinSet, time::sleep};

use crate::{
    partner::{Desk, FIELDS, PURPOSE, short},
    random::Random,
    tapping,
    world::{Phase, key_of, value_of},
};

/// The most fetches that are under way at once.
const AT_ONCE: u64 = 5;

pub(crate) async fn fetch(desk: Arc<Desk>) {
    let mut random = desk.world.random(&format!("{} fetch", desk.host));
    while desk.works() {
        sleep(Duration::from_millis(random.between(200, 2_500))).await;
        let grants = grants(&desk);
        let Some(row) = random.pick(&grants) else { continue };
        match random.below(11) {
            10 if tapping::has_place(row) => tapping::untapped(&desk, row).await,
            0..=4 => drop(one(&desk, row).await),
            5..=7 => several(&desk, row, random.between(2, AT_ONCE)).await,
            _ => twice(&desk, row, &mut random).await,
        }
    }
    while desk.world.phase() == Phase::Settles {
        sleep(Duration::from_millis(random.between(1_000, 3_000))).await;
        for row in grants(&desk) {
            at_last(&desk, &row).await;
        }
    }
}

/// The grants under which this partner receives, in one order.
fn grants(desk: &Desk) -> Vec<GrantRow> {
    let mut rows = desk.partner.book().grants();
    rows.retain(|row| row.side() == Side::Recipient);
    rows.sort_by_key(GrantRow::digest);
    rows
}

async fn one(desk: &Desk, row: &GrantRow) -> Option<Fetched> {
    let came = desk.partner.fetch(row.name(), PURPOSE, &FIELDS).await;
    judge(desk, row, &came);
    came.ok()
}

/// Fetches against each other, often for the last uses.
async fn several(desk: &Arc<Desk>, row: &GrantRow, number: u64) {
    let mut fetches = JoinSet::new();
    for _ in 0..number {
        let (desk, row) = (Arc::clone(desk), row.clone());
        fetches.spawn(async move { drop(one(&desk, &row).await) });
    }
    fetches.join_all().await;
}

/// What was opened was proven, and is this customer's.
pub(crate) fn judge(desk: &Desk, row: &GrantRow, came: &Result<Fetched, Error>) {
    let what = format!("fetch {}", short(row.name().as_str()));
    desk.outcome(&what, came, |fetched| {
        format!("use {}, record {}", fetched.use_number(), fetched.receipt.index())
    });
    let Ok(fetched) = came else { return };
    // A newer revision may stand in the place of the one that was named.
    let newest = desk.partner.book().grant(&fetched.grant);
    let row = newest.as_ref().unwrap_or(row);
    let record = fetched.receipt.record();
    if record.kind() != Kind::Transfer || record.grant_tag.as_ref() != row.terms().log_tag.as_slice() {
        desk.world.fail("opened", format!("{}: {what} came with a record of something else", desk.host));
    }
    let customer = desk.world.board.lock().signed.get(row.name()).map(|(customer, _)| *customer);
    let expected = customer.map(value_of);
    for (field, value) in &fetched.values {
        if value.as_str() != expected.as_deref() {
            desk.world.fail("opened", format!("{}: {what}: {field} is of somebody else", desk.host));
        }
    }
    let store = desk.world.storage.current();
    desk.world.checks.lock().acknowledged(desk.host, &store, &fetched.receipt);
}

/// One fetch, signed by hand and sent on several connections' worth of calls: it brings the same bytes or nothing.
async fn twice(desk: &Arc<Desk>, row: &GrantRow, random: &mut Random) {
    let world = &desk.world;
    let Ok(checkpoint) = desk.partner.monitor().for_signing().await else { return };
    let system = world.system(desk.host);
    let message = wire::Fetch {
        broker: world.trust.origin.to_string(),
        recipient: desk.partner.name().to_string(),
        terms: row.digest().into(),
        purpose: PURPOSE.to_owned(),
        fields: FIELDS.map(str::to_owned).to_vec(),
        request_id: system.draw_uuid(),
        time_ms: system.now().as_millis(),
        // A key of which nobody has the other half: nothing of this is opened.
        sealing_key: vec![9; 32].into(),
        checkpoint,
        ..wire::Fetch::default()
    };
    let signed = envelope::sign::<Fetch>(&message, &[&key_of(world.seed, &format!("working {}", desk.at))]);
    let pauses = [0, random.below(300), random.below(20_000)];
    let mut sent = JoinSet::new();
    for pause in pauses {
        let (desk, signed) = (Arc::clone(desk), signed.clone());
        let name = short(row.name().as_str());
        sent.spawn(async move {
            sleep(Duration::from_millis(pause)).await;
            let asked = FetchDataRequest { statement: Some(signed) };
            let came = desk.partner.connection().transfers().fetch_data(call(asked)).await;
            let came = came.map(tonic::Response::into_inner).map_err(Error::from);
            desk.outcome(&format!("same fetch {name}"), &came, |answer| {
                let index = answer.receipt.as_ref().map_or(0, |receipt| receipt.index);
                format!("{} bytes, record {index}", answer.sealed_fields.len())
            });
            came.ok()
        });
    }
    let answers: Vec<FetchDataResponse> = sent.join_all().await.into_iter().flatten().collect();
    if answers.windows(2).any(|two| two[0].sealed_fields != two[1].sealed_fields) {
        world.fail("repeat", format!("{}: the same fetch brought other bytes", desk.host));
    }
    let age = system.now().since(Timestamp::from_millis(message.time_ms));
    if answers.len() > 1 && age > MAX_FETCH_AGE * 2 {
        world.note(desk.host, "answers to one fetch lie far apart");
    }
}

/// When the faults are over, every open grant yields data again.
async fn at_last(desk: &Desk, row: &GrantRow) {
    let name = row.name();
    {
        let board = desk.world.board.lock();
        if board.fetched_at_last.contains_key(name) || !desk.world.checks.lock().is_open(&row.terms().log_tag)
        {
            return;
        }
    }
    let came = desk.partner.fetch(name, PURPOSE, &FIELDS).await;
    judge(desk, row, &came);
    let done = match &came {
        Ok(_) => true,
        // The source counts what it provided and was never released: its own uses may be spent before the log's.
        Err(Error::Refused(refused)) => {
            let by_source = refused.metadata.get("source_reason").map(String::as_str);
            refused.reason == "SOURCE_REFUSED" && by_source == Some("FREQUENCY_EXCEEDED") && spent(desk, row)
        }
        Err(_) => false,
    };
    if done {
        desk.world.board.lock().fetched_at_last.insert(name.clone(), came.is_ok());
    }
}

/// Whether the source's own count has reached the limit.
fn spent(desk: &Desk, row: &GrantRow) -> bool {
    let board = desk.world.board.lock();
    let sources = board.partners.iter().flatten().filter(|partner| *partner.name() == row.terms().source);
    let rows: Vec<_> = sources.filter_map(|source| source.book().grant(row.name())).collect();
    rows.iter().any(|at_source| at_source.spent().uses >= row.terms().uses)
}
