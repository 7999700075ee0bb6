//! Precise location leaves by the person's own tap alone: once, for minutes, under the grant that was tapped.

use std::time::Duration;

use countersign_client::{
    Error, PartnerEvent,
    customer::{Choice, Narrowing},
};
use countersign_grants::{
    digest::Digest, id::GrantName, key::SigningKey, statement::LocationTap, time::Clock as _,
};
use countersign_proto::{
    log::v1::Kind,
    statement::v1 as wire,
    v1::{TapLocationRequest, TapLocationResponse},
};
use tonic::Status;

use crate::{
    journey::check_world,
    previews::paths,
    world::{Granted, ORIGIN, PICKUP, Said, bare_fetch, own_connection, reason_of, sign_as},
};

/// What needs a tap, and something beside it that needs none.
pub(crate) const FIELDS: [&str; 2] = ["trip.airport", "pickup.location"];

pub(crate) const WITHIN: Duration = Duration::from_secs(120);

/// Approves one more grant of row 1 that has the place of the pick-up too.
pub(crate) async fn grant_with_place(granted: &Granted) -> GrantName {
    let request = granted.put_with_place().await;
    let choice = Choice::required("en").with_field(1, paths(&FIELDS[1..]).remove(0));
    let grant = granted.mei.approve(&request, &choice).await.expect("approves")[0].grant.clone();
    granted.skylark.until_in_book(&grant).await;
    granted.hopp.until_in_book(&grant).await;
    grant
}

/// One grant of row 1 that has the place of the pick-up too.
pub(crate) struct Tapping {
    pub(crate) granted: Granted,
    pub(crate) grant: GrantName,
}

impl Tapping {
    pub(crate) async fn start() -> Self {
        let granted = Granted::start().await;
        let grant = grant_with_place(&granted).await;
        Self { granted, grant }
    }

    /// Taps, and waits until Hopp has verified it.
    pub(crate) async fn tap(&self) -> Digest {
        self.granted.mei.tap(&self.grant, WITHIN).await.expect("taps");
        self.granted
            .hopp
            .hears(|event| match event {
                PartnerEvent::LocationTapped { grant, tap, .. } if grant.name() == &self.grant => Some(tap),
                PartnerEvent::Failed { error, .. } => panic!("the tap failed a check: {error}"),
                _ => None,
            })
            .await
    }

    pub(crate) async fn fetch(&self, tap: Option<Digest>) -> Result<countersign_client::Fetched, Error> {
        let hopp = &self.granted.hopp.partner;
        match tap {
            Some(tap) => hopp.fetch_tapped(&self.grant, PICKUP, &FIELDS, tap).await,
            None => hopp.fetch(&self.grant, PICKUP, &FIELDS).await,
        }
    }

    pub(crate) async fn refused(&self, tap: Option<Digest>) {
        let error = self.fetch(tap).await.expect_err("refused");
        assert_eq!(error.reason(), Some("TAP_REQUIRED"), "{error}");
    }

    /// A tap as Mei's SDK would make it, for a test to spoil.
    fn own(&self, spoil: impl FnOnce(&mut wire::LocationTap)) -> wire::LocationTap {
        let now = self.granted.world.clock.now().as_millis();
        let mut tap = wire::LocationTap {
            broker: ORIGIN.to_owned(),
            terms: self.grant.digest().into(),
            fields: vec![FIELDS[1].to_owned()],
            request_id: self.granted.world.system().draw_uuid(),
            time_ms: now,
            expire_time_ms: now + 120_000,
        };
        spoil(&mut tap);
        tap
    }

    async fn send(
        &self,
        tap: &wire::LocationTap,
        (source, recipient): (&SigningKey, &SigningKey),
    ) -> Result<TapLocationResponse, Status> {
        let asked = TapLocationRequest {
            name: self.grant.to_string(),
            source_tap: Some(sign_as::<LocationTap>(source, tap)),
            recipient_tap: Some(sign_as::<LocationTap>(recipient, tap)),
        };
        own_connection(&self.granted).transfers().tap_location(asked).await.map(tonic::Response::into_inner)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_precise_location_leaves_by_a_tap_and_once() {
    let tapping = Box::pin(Tapping::start()).await;
    let world = &tapping.granted.world;
    tapping.granted.skylark.shelf.put("pickup.location", "40.6413,-73.7781");
    tapping.refused(None).await;
    tapping.refused(Some(Digest::of(b"no tap"))).await;
    assert_eq!(tapping.granted.skylark.shelf.asked(), 0, "the handler was never asked");
    assert_eq!(world.count(Kind::TransferRefused).await, 2, "and she sees that it was tried");
    // What is no precise location flows as ever.
    let fields = &FIELDS[..1];
    tapping.granted.hopp.partner.fetch(&tapping.grant, PICKUP, fields).await.expect("flows");

    let tap = tapping.tap().await;
    tapping.refused(None).await;
    let fetched = tapping.fetch(Some(tap)).await.expect("flows");
    let values: Vec<_> = fetched.values.iter().map(|(_, value)| value.as_str()).collect();
    assert_eq!(values, [Some("B6 35"), Some("40.6413,-73.7781")]);
    tapping.refused(Some(tap)).await;
    // Another tap, another fetch; the one before it counts no more.
    let (older, newer) = (tapping.tap().await, tapping.tap().await);
    tapping.refused(Some(older)).await;
    tapping.fetch(Some(newer)).await.expect("flows");
    assert_eq!(world.count(Kind::LocationTapped).await, 3);
    check_world(&world.records().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tap_is_over_after_its_minutes() {
    let tapping = Box::pin(Tapping::start()).await;
    let tap = tapping.tap().await;
    tapping.granted.world.clock.advance(WITHIN);
    tapping.refused(Some(tap)).await;
    assert_eq!(tapping.granted.skylark.shelf.asked(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_tap_gives_leave_once_the_uses_are_spent() {
    let mut tapping = Box::pin(Tapping::start()).await;
    let narrowing = Narrowing::default().uses(1);
    let narrowed = Box::pin(tapping.granted.mei.narrow(&tapping.grant, &narrowing)).await.expect("recorded");
    tapping.grant = narrowed.grant;
    tapping.granted.skylark.until_in_book(&tapping.grant).await;
    tapping.granted.hopp.until_in_book(&tapping.grant).await;
    let tap = tapping.tap().await;
    tapping.fetch(Some(tap)).await.expect("flows");
    let late = tapping.granted.mei.tap(&tapping.grant, WITHIN).await.expect_err("nothing is left to bring");
    assert_eq!(late.reason(), Some("GRANT_ENDED"), "{late}");
    assert_eq!(tapping.granted.world.count(Kind::LocationTapped).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tap_is_of_its_grant_alone() {
    let tapping = Box::pin(Tapping::start()).await;
    let other = Tapping { grant: grant_with_place(&tapping.granted).await, ..tapping };
    let tap = other.tap().await;
    other.fetch(Some(tap)).await.expect("flows");
    let tap = other.tap().await;
    let first = Tapping { grant: grant_with_place(&other.granted).await, ..other };
    first.refused(Some(tap)).await;
    // Nor does one help a grant without such a field.
    let none = first.granted.mei.tap(&first.granted.grant, WITHIN).await;
    assert!(matches!(none, Err(Error::Misuse(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_fetch_again_brings_the_same_and_needs_no_second_tap() {
    let tapping = Box::pin(Tapping::start()).await;
    let tap = tapping.tap().await;
    let fetch = wire::Fetch {
        terms: tapping.grant.digest().into(),
        fields: FIELDS.map(str::to_owned).to_vec(),
        tap: tap.into(),
        ..bare_fetch(&tapping.granted).await
    };
    let first = tapping.granted.send(&fetch).await.expect("flows");
    let again = tapping.granted.send(&fetch).await.expect("the same");
    assert_eq!((first.sealed_fields, first.provision), (again.sealed_fields, again.provision));
    assert_eq!(tapping.granted.skylark.shelf.asked(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tap_is_signed_by_her_twice_and_says_nothing_else() {
    let tapping = Box::pin(Tapping::start()).await;
    let granted = &tapping.granted;
    let keys = (granted.link_key(&granted.skylark), granted.link_key(&granted.hopp));
    let keys = (&keys.0, &keys.1);
    let invalid = |check: &str| Said {
        code: tonic::Code::InvalidArgument,
        reason: "STATEMENT_INVALID".to_owned(),
        check: check.to_owned(),
    };
    let says =
        async |spoil: fn(&mut wire::LocationTap)| reason_of(tapping.send(&tapping.own(spoil), keys).await);
    assert_eq!(says(|tap| tap.terms = vec![1; 32].into()).await, invalid("terms"));
    assert_eq!(says(|tap| tap.fields = vec!["trip.airport".into()]).await, invalid("fields"));
    assert_eq!(says(|tap| tap.fields = vec!["ride.location".into()]).await, invalid("fields"));
    assert_eq!(says(|tap| tap.fields.clear()).await, invalid("fields"));
    assert_eq!(says(|tap| tap.request_id.clear()).await, invalid("request_id"));
    assert_eq!(says(|tap| tap.expire_time_ms = tap.time_ms + 300_001).await, invalid("expire_time_ms"));
    assert_eq!(says(|tap| tap.expire_time_ms = tap.time_ms).await, invalid("expire_time_ms"));
    assert_eq!(
        says(|tap| (tap.time_ms, tap.expire_time_ms) = (tap.time_ms - 200_000, tap.time_ms)).await,
        invalid("time_ms")
    );
    assert_eq!(
        says(|tap| (tap.time_ms, tap.expire_time_ms) = (tap.time_ms + 121_000, tap.time_ms + 200_000)).await,
        invalid("time_ms")
    );
    // By other keys: a stranger's, one link's for both.
    let stranger = SigningKey::from_secret(&[77; 32]);
    let by = async |source: &SigningKey, recipient: &SigningKey| {
        reason_of(tapping.send(&tapping.own(|_| {}), (source, recipient)).await)
    };
    assert_eq!(by(&stranger, keys.1).await, invalid("key"));
    assert_eq!(by(keys.0, &stranger).await, invalid("key"));
    assert_eq!(by(keys.0, keys.0).await, invalid("key"));
    assert_eq!(by(&granted.hopp.working, &granted.hopp.working).await, invalid("key"));
    // Two taps in the place of one.
    let (one, other) = (tapping.own(|_| {}), tapping.own(|_| {}));
    let asked = TapLocationRequest {
        name: tapping.grant.to_string(),
        source_tap: Some(sign_as::<LocationTap>(keys.0, &one)),
        recipient_tap: Some(sign_as::<LocationTap>(keys.1, &other)),
    };
    let said = own_connection(granted).transfers().tap_location(asked.clone()).await;
    assert_eq!(reason_of(said), invalid("recipient_tap"));
    // By a partner; under a grant that is paused.
    let said = granted.hopp.partner.connection().transfers().tap_location(asked).await;
    assert_eq!(reason_of(said).reason, "CALLER_NOT_ALLOWED");
    assert_eq!(granted.world.count(Kind::LocationTapped).await, 0);
    // The same tap again is one record, and one leave.
    let tap = tapping.own(|_| {});
    let (first, again) = (tapping.send(&tap, keys).await, tapping.send(&tap, keys).await);
    let index =
        |answer: Result<TapLocationResponse, Status>| answer.expect("taps").receipt.expect("proven").index;
    assert_eq!(index(first), index(again));
    granted.mei.pause(&tapping.grant).await.expect("pauses");
    assert_eq!(reason_of(tapping.send(&tapping.own(|_| {}), keys).await).reason, "GRANT_PAUSED");
    assert_eq!(granted.world.count(Kind::LocationTapped).await, 1);
}
