//! What a recipient makes of a customer's tap: one fetch is served by it, however many are sent.

use std::{sync::Arc, time::Duration};

use countersign_client::book::GrantRow;
use countersign_grants::{catalogue::FieldPath, digest::Digest};
use tokio::{task::JoinSet, time::sleep};

use crate::{
    fetching::judge,
    partner::{Desk, FIELDS, PURPOSE, short},
};

/// The field that leaves by a tap alone.
pub(crate) const PLACE: &str = "pickup.location";

/// What is asked for with it.
const ASKED: [&str; 2] = [FIELDS[1], PLACE];

/// The most fetches that are under way by one tap.
const AT_ONCE: u64 = 3;

/// Whether the grant has the field.
pub(crate) fn has_place(row: &GrantRow) -> bool {
    row.terms().fields.iter().any(FieldPath::needs_tap)
}

/// Fetches by a tap that was heard of: several at once, and once more when it may be used or over.
pub(crate) async fn fetch(desk: Arc<Desk>, row: GrantRow, tap: Digest) {
    let mut random = desk.random("tap");
    sleep(Duration::from_millis(random.below(2_000))).await;
    let mut fetches = JoinSet::new();
    for _ in 0..random.between(1, AT_ONCE) {
        let (desk, row) = (Arc::clone(&desk), row.clone());
        fetches.spawn(async move { once(&desk, &row, tap).await });
    }
    fetches.join_all().await;
    if random.chance(40) {
        sleep(Duration::from_millis(random.below(20_000))).await;
        once(&desk, &row, tap).await;
    }
}

async fn once(desk: &Desk, row: &GrantRow, tap: Digest) {
    let came = desk.partner.fetch_tapped(row.name(), PURPOSE, &ASKED, tap).await;
    judge(desk, row, &came);
    if came.is_ok() {
        desk.world.checks.lock().served(tap, desk.host);
    }
}

/// Asks for the place without a tap.
pub(crate) async fn untapped(desk: &Desk, row: &GrantRow) {
    let came = desk.partner.fetch(row.name(), PURPOSE, &ASKED).await;
    judge(desk, row, &came);
    if came.is_ok() {
        let detail =
            format!("{}: the place came without one under {}", desk.host, short(row.name().as_str()));
        desk.world.fail("tap", detail);
    }
}
