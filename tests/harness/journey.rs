//! The main job: one approval, sealed transfers, a stop, and a log in which all of it stands in order.

use std::{sync::Arc, time::Duration};

use countersign_client::{OfferDraft, PartnerEvent, customer::Acknowledged};
use countersign_proto::log::v1::{Kind, Record, Result as Went};
use countersign_store_sled::{Options, SledStore};

use crate::world::{Granted, PATIENCE, PICKUP, World, bare_fetch, reason_of};

/// Takes one thing from an offer that it needs, or adds one that it must not have.
type Spoil = fn(&mut OfferDraft);

/// What must hold in every log: numbers without gaps, approval first, nothing after a stop, times that never run backwards.
pub(crate) fn check_world(records: &[Record]) {
    let mut grants = std::collections::HashMap::<Vec<u8>, (u64, bool)>::new();
    let mut last = 0;
    for (index, record) in records.iter().enumerate() {
        assert!(record.time_ms >= last, "record {index} runs backwards");
        last = record.time_ms;
        if record.grant_tag.is_empty() {
            continue;
        }
        let (number, stopped) = grants.entry(record.grant_tag.to_vec()).or_default();
        *number += 1;
        assert_eq!(record.grant_sequence, *number, "record {index} leaves a gap");
        assert_eq!(
            *number == 1,
            record.kind() == Kind::GrantApproved,
            "record {index}: approval comes first"
        );
        assert!(!(*stopped && record.kind() == Kind::Transfer), "record {index}: a transfer after the stop");
        *stopped |= matches!(
            record.kind(),
            Kind::GrantWithdrawn
                | Kind::GrantSuperseded
                | Kind::GrantRevoked
                | Kind::GrantRevokedByOperator
                | Kind::ErasureOrdered
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transfer_from_link_to_proof_on_both_engines() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SledStore::open(folder.path().join("store"), Options::default()).await.expect("opens");
    for world in [World::start().await, World::on(Arc::new(store)).await] {
        let granted = world.with_grant().await;
        granted.skylark.shelf.put("trip.airport", "FLL");
        let fetched = granted.fetch().await.expect("flows");
        let value = |field| fetched.get(field).and_then(|value| value.as_str().map(str::to_owned));
        assert_eq!(value("trip.airport").as_deref(), Some("FLL"));
        assert_eq!(value("trip.flight_no").as_deref(), Some("B6 35"));
        assert_eq!(value("trip.eta"), None);
        assert_eq!(fetched.use_number(), 1);

        let records = granted.world.records().await;
        check_world(&records);
        let record = &records[usize::try_from(fetched.receipt.index()).expect("small")];
        assert_eq!((record.kind(), record.result()), (Kind::Transfer, Went::Released));
        let leaf = format!("{record:?}");
        for secret in ["FLL", "trip.airport", "customers/", "subjects/"] {
            assert!(!leaf.contains(secret), "the leaf says {secret}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_source_gets_the_receipt_that_it_is_owed() {
    let granted = Granted::start().await;
    granted.fetch().await.expect("flows");
    let paid = async {
        while granted.skylark.partner.book().receipts_owed() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, paid).await.expect("the receipt comes");
}

#[tokio::test(flavor = "multi_thread")]
async fn uses_are_spent_once_each_and_then_refused() {
    let granted = Granted::start().await;
    for number in 1..=12 {
        assert_eq!(granted.fetch().await.expect("flows").use_number(), number);
    }
    let thirteenth = granted.fetch().await.expect_err("spent");
    assert_eq!(thirteenth.reason(), Some("FREQUENCY_EXCEEDED"));
    assert_eq!(granted.world.count(Kind::Transfer).await, 12);
    assert_eq!(granted.skylark.shelf.asked(), 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_fetches_at_once_the_last_uses_go_to_as_many() {
    let granted = Granted::start().await;
    for _ in 0..9 {
        granted.fetch().await.expect("flows");
    }
    let mut fetches = Vec::new();
    for _ in 0..20 {
        fetches.push(bare_fetch(&granted).await);
    }
    let granted = Arc::new(granted);
    let calls: Vec<_> = fetches
        .into_iter()
        .map(|fetch| {
            let granted = Arc::clone(&granted);
            tokio::spawn(async move { granted.send(&fetch).await.is_ok() })
        })
        .collect();
    let mut released = 0;
    for call in calls {
        released += usize::from(call.await.expect("no panic"));
    }
    assert_eq!(released, 3);
    check_world(&granted.world.records().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_is_recorded_then_acknowledged_and_nothing_follows_it() {
    let granted = Arc::new(Granted::start().await);
    granted.fetch().await.expect("flows");

    // Fetches on other connections race with the stop.
    let racing: Vec<_> = (0..8)
        .map(|_| {
            let granted = Arc::clone(&granted);
            tokio::spawn(async move {
                let fetch = bare_fetch(&granted).await;
                granted.send(&fetch).await.is_ok()
            })
        })
        .collect();
    let recorded = granted.mei.stop(&granted.grant, false).await.expect("recorded, with its proof");
    let acknowledged = recorded.wait_until_acknowledged(PATIENCE).await.expect("answers");
    assert!(matches!(acknowledged, Acknowledged::BySource { .. }), "{acknowledged:?}");
    for call in racing {
        call.await.expect("no panic");
    }

    let after = granted.fetch().await.expect_err("ended");
    assert_eq!(after.reason(), Some("GRANT_ENDED"));
    granted.hopp.hears(|event| matches!(event, PartnerEvent::Stopped { .. }).then_some(())).await;
    check_world(&granted.world.records().await);
    granted.mei.stop(&granted.grant, false).await.expect_err("an end is an end");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_holds_until_it_is_resumed() {
    let granted = Granted::start().await;
    granted.mei.pause(&granted.grant).await.expect("paused");
    let refused = granted.fetch().await.expect_err("paused");
    assert_eq!(refused.reason(), Some("GRANT_PAUSED"));
    granted.mei.resume(&granted.grant).await.expect("resumed");
    granted.skylark.hears(|event| matches!(event, PartnerEvent::Resumed { .. }).then_some(())).await;
    granted.fetch().await.expect("flows again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_reaches_the_recipient_and_an_unknown_subject_tells_nothing() {
    let granted = Granted::start().await;
    granted.skylark.partner.notify_change(&granted.at_skylark, "trip").await.expect("taken");
    let heard = granted
        .hopp
        .hears(|event| match event {
            PartnerEvent::ChangeNotice { grant, subject, resource } => Some((grant, subject, resource)),
            _ => None,
        })
        .await;
    assert_eq!(heard, (granted.grant.clone(), granted.at_hopp.clone(), "trip".to_owned()));

    let unknown = countersign_grants::id::SubjectHandle::of(granted.skylark.name(), [1; 16]);
    granted.skylark.partner.notify_change(&unknown, "trip").await.expect("the same answer");
    granted.skylark.partner.notify_change(&granted.at_skylark, "ride").await.expect("the same answer");
    assert_eq!(granted.world.count(Kind::ChangeNotice).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_answered_once_and_lapses() {
    let granted = Granted::start().await;
    let offer = granted.hopp.offer_trip(&granted.skylark, 5).await;
    let ask = async |lifetime| {
        let rows = [(offer.clone(), false)];
        granted.skylark.partner.request(&granted.at_skylark, &rows, lifetime).await.expect("asks")
    };
    let refused = ask(Duration::from_secs(600)).await;
    let read = granted.mei.read_request(&refused).await.expect("verifies");
    granted.mei.refuse(&refused).await.expect("refuses");
    granted.skylark.hears(|event| matches!(event, PartnerEvent::Refused { .. }).then_some(())).await;
    let choice = countersign_client::customer::Choice::required("en");
    let late = granted.mei.approve(&read, &choice).await.expect_err("it was refused");
    assert_eq!(late.reason(), Some("WRONG_STATE"));
    assert_eq!(granted.world.count(Kind::GrantApproved).await, 1, "the one that stood before");

    let lapsing = ask(Duration::from_secs(600)).await;
    granted.world.clock.advance(Duration::from_secs(601));
    granted
        .skylark
        .hears(|event| matches!(event, PartnerEvent::Lapsed { request } if request == lapsing).then_some(()))
        .await;
    assert_eq!(granted.world.count(Kind::RequestLapsed).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_expires_by_the_clock() {
    let granted = Granted::start().await;
    granted.world.clock.advance(Duration::from_secs(25 * 3600));
    let fetch = bare_fetch(&granted).await;
    let refused = reason_of(granted.send(&fetch).await);
    assert_eq!(refused.reason, "GRANT_ENDED");
    assert_eq!(fetch.purpose, PICKUP);
}

#[tokio::test(flavor = "multi_thread")]
async fn offers_need_everything_and_stay_within_the_catalogue() {
    let world = World::start().await;
    let (skylark, hopp) = (world.brand("skylark").await, world.brand("hopp").await);
    let good = crate::world::trip_offer(skylark.name(), 12);
    let publish = async |draft| hopp.partner.publish_offer(&draft).await;
    let spoilt: [(&str, Spoil); 9] = [
        ("purpose", |draft| draft.purpose = "advertising".into()),
        ("reason", |draft| draft.texts[0].reason.clear()),
        ("benefit", |draft| draft.texts[0].benefit.clear()),
        ("contact", |draft| draft.contact_phone.clear()),
        ("law", |draft| draft.law.clear()),
        ("complaint body", |draft| draft.complaint_body.clear()),
        ("fare", |draft| draft.required_fields.push("trip.fare".into())),
        ("twice", |draft| draft.optional_fields.push("trip.airport".into())),
        ("uses", |draft| draft.uses = 25),
    ];
    let before = world.records().await.len();
    for (what, spoil) in spoilt {
        let mut draft = good.clone();
        spoil(&mut draft);
        publish(draft).await.expect_err(what);
    }
    assert_eq!(world.records().await.len(), before);
    publish(good).await.expect("published");
}
