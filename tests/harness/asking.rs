//! How people are asked, through the SDK on both sides.

use std::time::Duration;

use countersign_grants::id::RequestName;
use countersign_proto::{
    log::v1::Kind,
    v1::{Asking, QuietHours},
};

use crate::{
    journey::check_world,
    world::{Brand, Granted, PATIENCE},
};

/// As long as a request can wait.
pub(crate) const LIFETIME: Duration = Duration::from_secs(7 * 24 * 3600);

const DAY: Duration = Duration::from_secs(24 * 3600);

impl Granted {
    pub(crate) async fn asks(&self, brand: &Brand) -> Result<RequestName, countersign_client::Error> {
        let offer = self.hopp.offer_trip(&self.skylark, 12).await;
        let subject = if brand.name() == self.hopp.name() { &self.at_hopp } else { &self.at_skylark };
        brand.partner.request(subject, &[(offer, false)], LIFETIME).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_hears_of_each_request_at_its_turn() {
    let granted = Granted::start().await;
    // The grant's own request was opened by her, which spends nothing. Nothing is shown before both others wait.
    let paused = Asking { paused: true, ..Asking::default() };
    granted.mei.set_asking(paused).await.expect("set");
    let first = granted.asks(&granted.skylark).await.expect("asks");
    let second = granted.asks(&granted.hopp).await.expect("asks");
    granted.mei.set_asking(Asking::default()).await.expect("set");
    let mut watch = granted.mei.watch(0, &[Kind::RequestShown]);
    let mut hears = async || {
        let heard = tokio::time::timeout(PATIENCE, watch.next()).await.expect("the turn comes");
        let activity = heard.expect("verifies");
        (activity.event.grant_request, activity.event.reason)
    };
    if hears().await.1 != "OPENED" {
        // The machine was so busy that its turn came before she opened it, which has spent the day's.
        granted.world.clock.advance(DAY);
    }
    // Hopp was in no request before, and Skylark was: so Hopp's comes first, though Skylark's is older.
    assert_eq!(hears().await, (second.to_string(), String::new()));
    let listed = granted.mei.requests().await.expect("a list");
    assert_eq!(listed.len(), 2);
    granted.world.clock.advance(DAY);
    assert_eq!(hears().await, (first.to_string(), String::new()));
    granted.mei.read_request(&first).await.expect("verifies");
    check_world(&granted.world.records().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_that_was_refused_twice_is_told_when_to_come_again() {
    let granted = Granted::start().await;
    for _ in 0..2 {
        let asked = granted.asks(&granted.skylark).await.expect("asks");
        granted.mei.refuse(&asked).await.expect("refused");
    }
    let silent = granted.asks(&granted.skylark).await.expect_err("it is silent");
    let countersign_client::Error::Refused(refused) = silent else { panic!("{silent}") };
    assert_eq!(refused.reason, "ASK_COOLDOWN");
    assert_eq!(refused.retry_after, Some(90 * DAY));
    granted.asks(&granted.hopp).await.expect("another may");
    let profile = granted.mei.profile().await.expect("her own");
    assert_eq!(profile.silences[0].partner, granted.skylark.name().as_str());
    let profile = granted.mei.end_silence(granted.skylark.name()).await.expect("hears it again");
    assert_eq!(profile.silences, []);
    granted.asks(&granted.skylark).await.expect("asks again");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_person_sets_is_kept() {
    let granted = Granted::start().await;
    let wanted = Asking {
        time_zone: "America/New_York".to_owned(),
        quiet_hours: Some(QuietHours { from_minute: 1_320, until_minute: 480 }),
        per_day: 2,
        per_week: 4,
        paused: true,
    };
    granted.mei.set_asking(wanted.clone()).await.expect("set");
    assert_eq!(granted.mei.profile().await.expect("her own").asking, Some(wanted.clone()));
    granted.asks(&granted.hopp).await.expect("asks");
    assert_eq!(granted.mei.requests().await.expect("a list").len(), 1, "she has paused it");
    let bad = granted.mei.set_asking(Asking { time_zone: "Mars/Base".to_owned(), ..wanted }).await;
    assert_eq!(bad.expect_err("no zone").reason(), Some("FIELD_INVALID"));
}
