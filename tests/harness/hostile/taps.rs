//! What the broker can do with a tap: make one up, keep one, hand over another's.

use std::sync::Arc;

use countersign_broker::{record::Happening, rows, work::Work};
use countersign_client::PartnerEvent;
use countersign_grants::{digest::Digest, id::GrantName, statement::LocationTap};
use countersign_proto::{log::v1::Kind, statement::v1::Envelope, v1::ProvideDataRequest};
use parking_lot::Mutex;

use super::{Operator, blamed};
use crate::{
    taps::{FIELDS, WITHIN, grant_with_place},
    world::{PICKUP, reason_of},
};

async fn tap(operator: &Operator, grant: &GrantName) -> Digest {
    operator.mei.tap(grant, WITHIN).await.expect("taps");
    operator
        .hopp
        .hears(|event| match event {
            PartnerEvent::LocationTapped { tap, .. } => Some(tap),
            PartnerEvent::Failed { error, .. } => panic!("the tap failed a check: {error}"),
            _ => None,
        })
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_takes_her_own_tap_alone() {
    let operator = Operator::start().await;
    let grant = grant_with_place(&operator).await;
    let fails = async |reason: &str, check: &str| {
        let tap = tap(&operator, &grant).await;
        let error =
            operator.hopp.partner.fetch_tapped(&grant, PICKUP, &FIELDS, tap).await.expect_err("refused");
        assert_eq!(error.reason(), Some("SOURCE_REFUSED"), "{error}");
        let said = operator.behind.last_refusal("ProvideData").expect("the source refused");
        let said = reason_of::<()>(Err(said));
        assert_eq!((said.reason.as_str(), said.check.as_str()), (reason, check));
    };
    operator.behind.bend_ask::<ProvideDataRequest>("ProvideData", |asked| asked.tap = None);
    fails("TAP_REQUIRED", "").await;
    // Another time, another key.
    operator.behind.bend_ask::<ProvideDataRequest>("ProvideData", |asked| {
        asked.tap =
            Some(Operator::bent::<LocationTap>(asked.tap.as_ref(), |tap| tap.expire_time_ms += 60_000));
    });
    fails("STATEMENT_INVALID", "signature").await;
    operator.behind.bend_ask::<ProvideDataRequest>("ProvideData", |asked| {
        asked.tap = Some(Operator::forged::<LocationTap>(asked.tap.as_ref(), |_| {}));
    });
    fails("STATEMENT_INVALID", "key").await;
    // One that it kept from before, in the place of the one that the fetch names.
    let kept = Arc::new(Mutex::new(None::<Envelope>));
    operator.behind.bend_ask::<ProvideDataRequest>("ProvideData", move |asked| {
        let first = kept.lock().get_or_insert_with(|| asked.tap.clone().expect("there is one")).clone();
        // The first is made useless too, so that what is kept was never used.
        asked.tap = (Some(&first) != asked.tap.as_ref()).then_some(first);
    });
    fails("TAP_REQUIRED", "").await;
    fails("TAP_REQUIRED", "").await;
    assert_eq!(operator.skylark.shelf.asked(), 0, "the handler was never asked");

    // The broker forgets that a tap was used; the source does not.
    operator.behind.be_honest("ProvideData");
    let (used, broker) = (tap(&operator, &grant).await, &operator.world.broker);
    let read = async || broker.load(rows::grant(&grant)).await.expect("reads").expect("stands");
    let with_tap = read().await.row;
    let fetch = async || operator.hopp.partner.fetch_tapped(&grant, PICKUP, &FIELDS, used).await;
    fetch().await.expect("flows");
    let (mut work, without) = (Work::default(), read().await);
    assert!(without.row.tap.is_none() && with_tap.tap.is_some());
    work.update(&without, &with_tap).expect("encodes");
    work.record(broker.draft(Happening { kind: Kind::CustomerCreated, ..Happening::default() }));
    broker.enter(work).await.expect("enters").expect("nobody else does");
    let error = fetch().await.expect_err("once");
    assert_eq!(error.reason(), Some("SOURCE_REFUSED"), "{error}");
    let said = reason_of::<()>(Err(operator.behind.last_refusal("ProvideData").expect("refused")));
    assert_eq!(said.reason, "TAP_REQUIRED");
    assert_eq!(operator.skylark.shelf.asked(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recipient_hears_of_her_own_tap_alone() {
    let operator = Operator::start().await;
    let grant = grant_with_place(&operator).await;
    operator.front.bend_events(|event| {
        if let Some(tap) = event.statement.take() {
            event.statement = Some(Operator::forged::<LocationTap>(Some(&tap), |_| {}));
        }
    });
    operator.mei.tap(&grant, WITHIN).await.expect("taps");
    let error = operator
        .hopp
        .hears(|event| match event {
            PartnerEvent::Failed { error, .. } => Some(error),
            PartnerEvent::LocationTapped { .. } => panic!("nobody signed this"),
            _ => None,
        })
        .await;
    assert_eq!(blamed(&error), "the customer: tap: key");
}
