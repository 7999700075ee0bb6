//! Several brands in one request, a brand that is linked on the way, and a stop of everything.

use std::time::Duration;

use countersign_client::{
    Error, OfferDraft, PartnerEvent,
    customer::{Acknowledged, Choice, Customer, Narrowing},
};
use countersign_grants::{
    envelope,
    id::{GrantName, OfferName},
    statement::{ChangeReason, GrantTerms, Verb},
};
use countersign_proto::{
    log::v1::Kind,
    statement::v1::grant_change,
    v1::{self, grant::State},
};

use crate::{
    journey::check_world,
    world::{Brand, Granted, PATIENCE, World, own_change, own_connection, reason_of, trip_offer},
};

/// Row 4 of the journey: Skylark's gates to Chirp.
fn gate_offer(source: &Brand) -> OfferDraft {
    OfferDraft {
        purpose: "trip_updates".to_owned(),
        required_fields: vec!["trip.gate".to_owned(), "trip.boarding_time".to_owned()],
        optional_fields: vec!["trip.terminal".to_owned()],
        rate: Some((10, Duration::from_secs(60))),
        ..trip_offer(source.name(), 10)
    }
}

/// Row 2 of the journey: Hopp's ride to Chirp.
fn ride_offer(source: &Brand) -> OfferDraft {
    OfferDraft {
        purpose: "ride_updates".to_owned(),
        required_fields: vec!["ride.status".to_owned(), "ride.eta".to_owned()],
        optional_fields: vec!["ride.plate_last3".to_owned()],
        rate: Some((10, Duration::from_secs(60))),
        ..trip_offer(source.name(), 10)
    }
}

struct Three {
    world: World,
    skylark: Brand,
    hopp: Brand,
    chirp: Brand,
    mei: Customer,
    offers: [OfferName; 3],
}

impl Three {
    /// Three brands and their offers; Mei is linked with Skylark and Hopp alone.
    async fn start() -> (Self, countersign_grants::id::SubjectHandle) {
        let world = World::start().await;
        let (skylark, hopp, chirp) =
            (world.brand("skylark").await, world.brand("hopp").await, world.brand("chirp").await);
        let mei = world.customer().await;
        let at_skylark = world.link(&mei, &skylark).await;
        world.link(&mei, &hopp).await;
        let trip = hopp.offer_trip(&skylark, 12).await;
        let gate = chirp.partner.publish_offer(&gate_offer(&skylark)).await.expect("publishes");
        let ride = chirp.partner.publish_offer(&ride_offer(&hopp)).await.expect("publishes");
        (Self { world, skylark, hopp, chirp, mei, offers: [trip, gate, ride] }, at_skylark)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_brand_that_is_not_linked_is_linked_within_the_same_request() {
    let (three, at_skylark) = Three::start().await;
    let [trip, gate, ride] = three.offers.clone();
    let rows = [(trip, false), (gate, false), (ride, true)];
    let life = Duration::from_secs(3600);
    let request = three.skylark.partner.request(&at_skylark, &rows, life).await.expect("requests");

    let read = three.mei.read_request(&request).await.expect("verifies");
    let missing: Vec<_> = read.rows().iter().map(|row| row.missing().len()).collect();
    assert_eq!(missing, [0, 1, 1]);
    assert_eq!(read.rows()[1].missing(), [three.chirp.name()]);
    let all = Choice::required("en").with_row(3);
    let early = three.mei.approve(&read, &all).await;
    assert!(matches!(early, Err(Error::Misuse(_))), "{early:?}");
    assert_eq!(three.world.count(Kind::GrantApproved).await, 0, "none of the rows is approved alone");

    three.world.link(&three.mei, &three.chirp).await;
    let read = three.mei.read_request(&request).await.expect("verifies");
    assert!(read.rows().iter().all(|row| row.missing().is_empty()));
    let approved = three.mei.approve(&read, &all).await.expect("approves all at once");
    assert_eq!(approved.iter().map(|one| one.row).collect::<Vec<_>>(), [1, 2, 3]);
    // One act, side by side in the log.
    let indexes: Vec<u64> = approved.iter().map(|one| one.receipt.index()).collect();
    assert_eq!(indexes, [indexes[0], indexes[0] + 1, indexes[0] + 2]);
    for (brand, rows) in [(&three.skylark, 2), (&three.hopp, 2), (&three.chirp, 2)] {
        for _ in 0..rows {
            brand.hears(|event| matches!(event, PartnerEvent::Approved { .. }).then_some(())).await;
        }
        assert_eq!(brand.partner.book().grants().len(), rows);
    }
    let fetched = three.chirp.partner.fetch(&approved[1].grant, "trip_updates", &["trip.gate"]).await;
    fetched.expect("flows to the brand that was linked on the way");
    check_world(&three.world.records().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_approval_takes_the_chosen_rows_of_several_recipients() {
    let (three, at_skylark) = Three::start().await;
    three.world.link(&three.mei, &three.chirp).await;
    let [trip, gate, ride] = three.offers.clone();
    let rows = [(trip, false), (gate, true), (ride, true)];
    let life = Duration::from_secs(3600);
    let request = three.skylark.partner.request(&at_skylark, &rows, life).await.expect("requests");
    let read = three.mei.read_request(&request).await.expect("verifies");
    // What is optional starts switched off: rows and fields alike. She takes one of each.
    let choice = Choice::required("en")
        .with_row(3)
        .with_field(3, countersign_grants::catalogue::FieldPath::parse("ride.plate_last3").expect("a field"));
    let approved = three.mei.approve(&read, &choice).await.expect("approves");
    let told: Vec<_> = approved
        .iter()
        .map(|one| (one.row, one.terms.recipient.to_string(), one.terms.fields.len()))
        .collect();
    let hopp = (1, "partners/hopp".to_owned(), 3);
    let chirp = (3, "partners/chirp".to_owned(), 3);
    assert_eq!(told, [hopp, chirp]);
    assert_eq!(three.world.count(Kind::GrantApproved).await, 2);

    // Each row is signed with the keys of its own two links: no two brands see one key.
    let mut keys = std::collections::BTreeSet::new();
    for (brand, grant) in [(&three.skylark, 0), (&three.hopp, 0), (&three.hopp, 1), (&three.chirp, 1)]
        .map(|(brand, at)| (brand, &approved[at].grant))
    {
        let asked = v1::GetGrantRequest { name: grant.to_string() };
        let shown = brand.partner.connection().grants().get_grant(asked).await.expect("answers").into_inner();
        let terms = shown.terms.expect("shown");
        envelope::peek::<GrantTerms>(Some(&terms)).expect("terms");
        keys.insert((brand.name().to_string(), terms.signatures[0].key_id.clone()));
    }
    assert_eq!(keys.len(), 3, "one key for each brand: {keys:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_stops_with_one_call_and_a_proof_for_each() {
    let granted = Granted::start().await;
    let (second, third) = (granted.approve_one().await, granted.approve_one().await);
    let fourth = granted.approve_one().await;
    granted.mei.pause(&second).await.expect("recorded");
    granted.skylark.partner.suspend_grant(&third, ChangeReason::Dispute).await.expect("recorded");
    granted.hopp.partner.revoke_grant(&fourth, ChangeReason::Closed).await.expect("recorded");
    let before = granted.world.count(Kind::GrantWithdrawn).await;

    let stopped = granted.mei.stop_all(true).await;
    assert!(stopped.list.is_none(), "{stopped:?}");
    let stopped = stopped.each;
    let mut names: Vec<&GrantName> = stopped.iter().map(|(name, _)| name).collect();
    names.sort();
    let mut expected = vec![&granted.grant, &second, &third, &fourth];
    expected.sort();
    assert_eq!(
        names, expected,
        "all that stood, paused and suspended too; what had ended is ordered to be deleted"
    );
    for (_, recorded) in &stopped {
        let recorded = recorded.as_ref().expect("recorded");
        assert_eq!(recorded.verb(), Verb::Stop);
        let word = recorded.wait_until_acknowledged(PATIENCE).await.expect("answers");
        assert!(matches!(word, Acknowledged::BySource { .. }), "{word:?}");
    }
    assert_eq!(granted.world.count(Kind::GrantWithdrawn).await - before, 3);
    assert_eq!(granted.world.count(Kind::ErasureOrdered).await, 4);
    assert_eq!(granted.fetch().await.expect_err("ended").reason(), Some("GRANT_ENDED"));
    let again = granted.mei.stop_all(true).await;
    assert!(again.each.is_empty() && again.list.is_none(), "nothing stands any more: {again:?}");
    check_world(&granted.world.records().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_pauses_and_each_resumes_alone() {
    let granted = Granted::start().await;
    let second = granted.approve_one().await;
    granted.mei.pause(&second).await.expect("recorded");
    let narrowed = granted.mei.narrow(&granted.grant, &Narrowing::default().uses(3)).await.expect("recorded");
    let paused = granted.mei.pause_all().await;
    assert!(paused.list.is_none(), "{paused:?}");
    let paused = paused.each;
    assert_eq!(paused.len(), 1, "one is paused already, one was replaced");
    assert_eq!(paused[0].0, narrowed.grant);
    paused[0].1.as_ref().expect("recorded");
    granted.mei.resume(&second).await.expect("recorded");
    let seen = granted.mei.grants().await.expect("answers");
    let state =
        |name: &GrantName| seen.iter().find(|view| view.row.name == *name).and_then(|view| view.state);
    assert_eq!((state(&second), state(&narrowed.grant)), (Some(State::Active), Some(State::Paused)));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_change_that_is_refused_keeps_no_other_from_its_effect() {
    let granted = Granted::start().await;
    let second = granted.approve_one().await;
    let good = own_change(&granted, &second, grant_change::Verb::Stop, |_| {}).await;
    let bad = own_change(&granted, &granted.grant, grant_change::Verb::Stop, |it| it.sequence = 9).await;
    let none = v1::ChangeGrantRequest { name: GrantName::of([9; 32].into()).to_string(), ..bad.clone() };
    let changes = async |changes: Vec<v1::ChangeGrantRequest>| {
        let asked = v1::ChangeGrantsRequest { changes };
        own_connection(&granted).grants().change_grants(asked).await.map(tonic::Response::into_inner)
    };
    let answer = changes(vec![bad.clone(), good.clone(), none]).await.expect("answers").outcomes;
    let told: Vec<_> = answer.iter().map(|one| (one.reason.as_str(), one.receipt.is_some())).collect();
    assert_eq!(told, [("STATEMENT_INVALID", false), ("", true), ("GRANT_UNKNOWN", false)]);
    assert_eq!(granted.world.count(Kind::GrantWithdrawn).await, 1);
    granted.fetch().await.expect("the other one flows");
    // The same again gets the first answer.
    let again = changes(vec![good.clone()]).await.expect("answers").outcomes.remove(0);
    assert_eq!(again.receipt.expect("a proof").record, answer[1].receipt.clone().expect("a proof").record);

    for (wrong, how) in [(vec![], "none"), (vec![good.clone(); 2], "twice"), (vec![good; 65], "too many")] {
        let said = reason_of(changes(wrong).await);
        assert_eq!((said.reason.as_str(), said.check.as_str()), ("FIELD_INVALID", "changes"), "{how}");
    }
    let asked = v1::ChangeGrantsRequest { changes: vec![bad] };
    let said = reason_of(granted.hopp.partner.connection().grants().change_grants(asked).await);
    assert_eq!(said.reason, "CALLER_NOT_ALLOWED", "a stop is the customer's");
}
