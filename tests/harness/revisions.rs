//! Grants in whose place others come: narrowed by the customer alone, or renewed by a new approval.

use std::{sync::Arc, time::Duration};

use countersign_client::{
    Error, PartnerEvent,
    book::Standing,
    customer::{Acknowledged, Choice, Narrowing},
    partner::AskedRow,
};
use countersign_grants::{catalogue::FieldPath, id::GrantName, statement::Revision};
use countersign_proto::{
    log::v1::{Kind, Result as Went},
    statement::v1 as wire,
    v1::{self, grant::State},
};
use countersign_store_sled::{Options, SledStore};
use tokio::task::JoinSet;
use tonic::Status;
use tonic_types::StatusExt as _;

use crate::{
    journey::check_world,
    world::{
        Brand, Granted, OwnNarrowing, PATIENCE, PICKUP, TRIP, World, bare_fetch, own_connection,
        own_narrowing, reason_of, signer, trip_offer,
    },
    worldcheck::{self, Keys},
};

/// Fetches that race with a narrowing: with the four before them, all uses but one.
const RACING: usize = 7;

const ETA: &str = "trip.eta";

/// State and verb of a transition that was refused.
fn wrong_state<T: std::fmt::Debug>(answer: Result<T, Status>) -> (String, String) {
    let status = answer.expect_err("a refusal");
    let info = status.get_details_error_info().expect("a reason");
    assert_eq!(info.reason, "WRONG_STATE", "{status:?}");
    (info.metadata["state"].clone(), info.metadata["verb"].clone())
}

impl Granted {
    /// A grant of row 1 with the optional field too.
    async fn approve_with_eta(&self, uses: u32) -> GrantName {
        let offer = self.hopp.offer_trip(&self.skylark, uses).await;
        let rows = [(offer, false)];
        let life = Duration::from_secs(3600);
        let request = self.skylark.partner.request(&self.at_skylark, &rows, life).await.expect("requests");
        let read = self.mei.read_request(&request).await.expect("verifies");
        let choice = Choice::required("en").with_field(1, FieldPath::parse(ETA).expect("a field"));
        let grant = self.mei.approve(&read, &choice).await.expect("approves")[0].grant.clone();
        self.skylark.until_in_book(&grant).await;
        self.hopp.until_in_book(&grant).await;
        grant
    }

    async fn narrow_raw(&self, own: &OwnNarrowing) -> Result<v1::NarrowGrantResponse, Status> {
        let asked = own.request(self);
        own_connection(self).grants().narrow_grant(asked).await.map(tonic::Response::into_inner)
    }

    /// A request of Skylark's with one row, which renews this grant.
    pub(crate) async fn ask_renewal(
        &self,
        renews: &GrantName,
    ) -> Result<countersign_grants::id::RequestName, Error> {
        let offer = self.hopp.offer_trip(&self.skylark, 12).await;
        let row = AskedRow { offer, optional: false, renews: Some(renews.clone()) };
        self.skylark.partner.request_rows(&self.at_skylark, &[row], Duration::from_secs(3600)).await
    }

    /// The grant that came of approving a renewal.
    pub(crate) async fn renew(&self, renews: &GrantName) -> GrantName {
        let request = self.ask_renewal(renews).await.expect("requests");
        let read = self.mei.read_request(&request).await.expect("verifies");
        assert_eq!(read.rows()[0].renews.as_ref(), Some(renews));
        self.mei.approve(&read, &Choice::required("en")).await.expect("approves")[0].grant.clone()
    }

    async fn fetch_fields(
        &self,
        grant: &GrantName,
        fields: &[&str],
    ) -> Result<countersign_client::Fetched, Error> {
        self.hopp.partner.fetch(grant, PICKUP, fields).await
    }
}

impl Brand {
    /// Waits until a revision was verified and stands in this brand's book: what it replaced, by what, and how.
    async fn hears_revision(&self) -> (GrantName, GrantName, Revision) {
        self.hears(|event| match event {
            PartnerEvent::Superseded { grant, successor, why } => {
                Some((grant.name().clone(), successor.name().clone(), why))
            }
            PartnerEvent::Failed { error, .. } => panic!("a revision failed a check: {error}"),
            _ => None,
        })
        .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn less_stands_in_the_place_of_more_and_both_sides_follow() {
    let granted = Granted::start().await;
    let old = granted.approve_with_eta(12).await;
    for _ in 0..2 {
        granted.fetch_fields(&old, &[ETA]).await.expect("flows");
    }
    let ends = granted.world.system().now().plus(Duration::from_secs(600));
    let narrowing = Narrowing::default()
        .without_field(FieldPath::parse(ETA).expect("a field"))
        .until(ends)
        .uses(3)
        .retention(Duration::from_secs(60));
    let narrowed = granted.mei.narrow(&old, &narrowing).await.expect("recorded, with both proofs");
    let terms = &narrowed.terms;
    assert_eq!((terms.uses, terms.expire_time, terms.retention), (3, ends, Duration::from_secs(60)));
    assert_eq!(terms.previous, Some(old.digest()));
    let word = narrowed.recorded.wait_until_acknowledged(PATIENCE).await.expect("answers");
    assert!(matches!(word, Acknowledged::BySource { .. }), "{word:?}");
    for brand in [&granted.skylark, &granted.hopp] {
        let expected = (old.clone(), narrowed.grant.clone(), Revision::Narrowed);
        assert_eq!(brand.hears_revision().await, expected);
        brand.until_in_book(&narrowed.grant).await;
    }

    // The partner's code goes on as it was written: by the old name.
    let fetched = granted.fetch_fields(&old, &TRIP).await.expect("flows under the new terms");
    assert_eq!((&fetched.grant, fetched.use_number()), (&narrowed.grant, 1));
    let refused = granted.fetch_fields(&old, &[ETA]).await.expect_err("no longer granted");
    assert_eq!(refused.reason(), Some("FIELD_NOT_GRANTED"));
    let mut late = bare_fetch(&granted).await;
    late.terms = old.digest().into();
    assert_eq!(reason_of(granted.send(&late).await).reason, "GRANT_ENDED", "the old terms are over");
    let skylark = granted.skylark.partner.standing_grants(&granted.at_skylark);
    let names: Vec<_> = skylark.iter().map(|row| row.name().clone()).collect();
    assert!(names.contains(&narrowed.grant) && !names.contains(&old));

    for _ in 0..2 {
        granted.fetch_fields(&narrowed.grant, &TRIP).await.expect("flows");
    }
    let fourth = granted.fetch_fields(&narrowed.grant, &TRIP).await.expect_err("spent");
    assert_eq!(fourth.reason(), Some("FREQUENCY_EXCEEDED"));

    let seen = granted.mei.grants().await.expect("answers");
    let state =
        |name: &GrantName| seen.iter().find(|view| view.row.name == *name).and_then(|view| view.state);
    assert_eq!(state(&old), Some(State::Superseded));
    assert_eq!(state(&narrowed.grant), Some(State::Consumed));
    let records = granted.world.records().await;
    check_world(&records);
    let at = usize::try_from(narrowed.recorded.receipt().index()).expect("small");
    assert_eq!((records[at].kind(), records[at].reason.as_str()), (Kind::GrantSuperseded, "NARROWED"));
    assert_eq!(records[at + 1].kind(), Kind::GrantApproved, "side by side");
    assert_eq!(narrowed.record, at as u64 + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_of_the_old_name_stops_what_stands_now() {
    let granted = Granted::start().await;
    let narrowed = granted.mei.narrow(&granted.grant, &Narrowing::default().uses(4)).await.expect("recorded");
    let stopped = granted.mei.stop(&granted.grant, false).await.expect("recorded");
    assert_eq!(stopped.grant(), &narrowed.grant);
    let late = granted.fetch().await.expect_err("ended");
    assert!(matches!(&late, Error::Refused(_) | Error::Misuse(_)), "{late}");
    granted.hopp.hears(|event| matches!(event, PartnerEvent::Stopped { .. }).then_some(())).await;
    assert_eq!(granted.fetch().await.expect_err("ended").reason(), Some("GRANT_ENDED"));
    check_world(&granted.world.records().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_that_is_quicker_than_the_event_takes_the_revision_up_by_itself() {
    let granted = Granted::start().await;
    let narrowed = granted.mei.narrow(&granted.grant, &Narrowing::default().uses(4)).await.expect("recorded");
    let fetched = granted.fetch().await.expect("flows");
    assert_eq!(fetched.grant, narrowed.grant);
    let row = granted.hopp.partner.book().grant(&granted.grant).expect("stands");
    assert_eq!(row.standing(), Standing::Superseded { by: narrowed.grant.digest() });
}

/// Puts the grant in a state from which it can be neither narrowed nor renewed.
async fn bring(granted: &Granted, state: &str) {
    use countersign_grants::statement::ChangeReason;
    let (mei, grant) = (&granted.mei, &granted.grant);
    match state {
        "PAUSED" => drop(mei.pause(grant).await.expect(state)),
        "SUSPENDED" => {
            let skylark = &granted.skylark.partner;
            drop(skylark.suspend_grant(grant, ChangeReason::Dispute).await.expect(state));
        }
        "WITHDRAWN" => drop(mei.stop(grant, false).await.expect(state)),
        "REVOKED" => {
            drop(granted.hopp.partner.revoke_grant(grant, ChangeReason::NotNeeded).await.expect(state));
        }
        "EXPIRED" => granted.world.clock.advance(Duration::from_secs(25 * 3600)),
        "CONSUMED" => {
            for _ in 0..12 {
                granted.fetch().await.expect("flows");
            }
        }
        "SUPERSEDED" => drop(mei.narrow(grant, &Narrowing::default().uses(5)).await.expect(state)),
        _ => panic!("{state} is no state"),
    }
}

const NOT_ACTIVE: [&str; 7] =
    ["PAUSED", "SUSPENDED", "WITHDRAWN", "REVOKED", "EXPIRED", "CONSUMED", "SUPERSEDED"];

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_active_is_narrowed() {
    for state in NOT_ACTIVE {
        let granted = Granted::start().await;
        bring(&granted, state).await;
        let own = own_narrowing(&granted, |_| {}, |_| {}).await;
        let expected = (state.to_owned(), "narrow".to_owned());
        assert_eq!(wrong_state(granted.narrow_raw(&own).await), expected);
        if state != "SUPERSEDED" {
            assert_eq!(granted.world.count(Kind::GrantSuperseded).await, 0, "{state}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_active_is_renewed() {
    for state in NOT_ACTIVE {
        // When it is asked for …
        let granted = Granted::start().await;
        let request = granted.ask_renewal(&granted.grant).await.expect("requests");
        let read = granted.mei.read_request(&request).await.expect("verifies");
        bring(&granted, state).await;
        let Err(Error::Refused(refused)) = granted.ask_renewal(&granted.grant).await else {
            panic!("{state} is renewed")
        };
        assert_eq!(refused.reason, "WRONG_STATE");
        assert_eq!((refused.metadata["state"].as_str(), refused.metadata["verb"].as_str()), (state, "renew"));
        // … and when it is approved.
        let approved = granted.mei.approve(&read, &Choice::required("en")).await;
        let Err(Error::Refused(refused)) = approved else { panic!("{state}: {approved:?}") };
        if state == "EXPIRED" {
            assert_eq!(refused.metadata["name"], request.to_string(), "the request lapsed before");
            continue;
        }
        assert_eq!((refused.metadata["state"].as_str(), refused.metadata["verb"].as_str()), (state, "renew"));
    }
}

/// What a narrowing by hand bends: its terms, and its change.
type Bend = (fn(&mut wire::GrantTerms), fn(&mut wire::GrantChange));

#[tokio::test(flavor = "multi_thread")]
async fn a_narrowing_that_asks_for_more_is_refused_by_its_field() {
    let granted = Granted::start().await;
    granted.fetch().await.expect("flows");
    let nothing: fn(&mut wire::GrantChange) = |_| {};
    let same: fn(&mut wire::GrantTerms) = |_| {};
    let table: [(&str, Bend); 21] = [
        ("fields", (|it| it.fields.push(ETA.into()), nothing)),
        ("fields", (|it| drop(it.fields.pop()), nothing)),
        ("uses", (|it| it.uses = 12, nothing)),
        ("rate", (|it| it.rate = None, nothing)),
        ("rate", (|it| it.rate.as_mut().expect("a rate").window_seconds -= 1, nothing)),
        ("retention_seconds", (|it| it.retention_seconds += 1, nothing)),
        ("expire_time_ms", (|it| it.expire_time_ms += 1, nothing)),
        ("expire_time_ms", (|it| (it.time_ms, it.expire_time_ms) = (1, 2), nothing)),
        ("narrower", (|it| it.uses = 11, nothing)),
        ("previous", (|it| it.previous = bytes::Bytes::new(), nothing)),
        ("previous", (|it| it.previous = vec![1; 32].into(), nothing)),
        ("request", (|it| it.request = vec![1; 32].into(), nothing)),
        ("offer", (|it| it.offer = vec![1; 32].into(), nothing)),
        ("source_commitment", (|it| it.source_commitment = vec![1; 32].into(), nothing)),
        ("recipient_commitment", (|it| it.recipient_commitment = vec![1; 32].into(), nothing)),
        ("language", (|it| it.language = "de".into(), nothing)),
        ("sequence", (same, |it| it.sequence = 2)),
        ("previous", (same, |it| it.previous = vec![1; 32].into())),
        ("terms", (same, |it| it.terms = vec![1; 32].into())),
        ("successor", (same, |it| it.successor = vec![1; 32].into())),
        ("verb", (same, |it| (it.verb, it.successor) = (1, bytes::Bytes::new()))),
    ];
    for (check, (terms, change)) in table {
        let own = own_narrowing(&granted, terms, change).await;
        let said = reason_of(granted.narrow_raw(&own).await);
        assert_eq!((said.reason.as_str(), said.check.as_str()), ("STATEMENT_INVALID", check));
    }
    let own = own_narrowing(&granted, |it| it.log_tag = vec![0; 32].into(), nothing).await;
    let mut asked = own.request(&granted);
    asked.recipient_terms = asked.source_terms.clone();
    let said = reason_of(own_connection(&granted).grants().narrow_grant(asked).await);
    assert_eq!(said.check, "key", "the recipient's envelope is signed with the key of its own link");
    let asked = v1::ChangeGrantRequest {
        name: granted.grant.to_string(),
        source_change: own.request(&granted).source_change,
        recipient_change: own.request(&granted).recipient_change,
    };
    let said = reason_of(own_connection(&granted).grants().change_grant(asked).await);
    assert_eq!(said.check, "verb", "without its terms it is none");
    assert_eq!(granted.world.count(Kind::GrantSuperseded).await, 0);
    assert_eq!(granted.fetch().await.expect("the old terms stand").use_number(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_narrowing_again_gets_the_first_answer() {
    let granted = Granted::start().await;
    let own = own_narrowing(&granted, |_| {}, |_| {}).await;
    let first = granted.narrow_raw(&own).await.expect("narrows");
    granted.world.clock.advance(Duration::from_secs(300));
    let again = granted.narrow_raw(&own).await.expect("answers");
    let told = |answer: &v1::NarrowGrantResponse| {
        let (ended, began) = (answer.superseded_receipt.clone(), answer.receipt.clone());
        (ended.expect("a proof").record, began.expect("a proof").record)
    };
    assert_eq!(told(&first), told(&again));
    assert_eq!(
        again.superseded.as_ref().expect("shown").successor,
        again.grant.as_ref().expect("shown").name
    );
    assert_eq!(again.grant.expect("shown").previous, granted.grant.to_string());
    assert_eq!(granted.world.count(Kind::GrantSuperseded).await, 1);
    // Another one of the same grant finds its end.
    let other = own_narrowing(&granted, |it| it.uses = 2, |it| it.sequence = 2).await;
    let expected = ("SUPERSEDED".to_owned(), "narrow".to_owned());
    assert_eq!(wrong_state(granted.narrow_raw(&other).await), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn fetches_that_race_with_a_narrowing_spend_no_use_twice() {
    for round in 0..6 {
        let granted = Arc::new(Granted::start().await);
        for _ in 0..4 {
            granted.fetch().await.expect("flows");
        }
        let mut racing = JoinSet::new();
        for _ in 0..RACING {
            let granted = Arc::clone(&granted);
            racing.spawn(async move {
                let fetch = bare_fetch(&granted).await;
                drop(granted.send(&fetch).await);
            });
        }
        for _ in 0..round {
            tokio::task::yield_now().await;
        }
        let ends = granted.world.system().now().plus(Duration::from_secs(3600));
        let narrowed = granted.mei.narrow(&granted.grant, &Narrowing::default().until(ends)).await;
        racing.join_all().await;
        // Whatever raced: what was approved is twelve uses in all.
        let left = match narrowed {
            Ok(narrowed) => narrowed.terms.uses,
            // The count moved under each of its tries: then the old terms stand.
            Err(Error::Refused(refused)) if refused.metadata["check"] == "uses" => 0,
            Err(error) => panic!("one use was left for it: {error}"),
        };
        while granted.fetch().await.is_ok() {}
        let records = granted.world.records().await;
        check_world(&records);
        let released = |record: &&countersign_proto::log::v1::Record| {
            (record.kind(), record.result()) == (Kind::Transfer, Went::Released)
        };
        let spent = records.iter().filter(released).count();
        assert!(spent <= 12, "{spent} uses of twelve were released, {left} of them granted anew");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_narrowed_grant_goes_on_with_the_window_that_is_open() {
    let granted = Granted::start().await;
    let mut draft = trip_offer(granted.skylark.name(), 12);
    draft.rate = Some((2, Duration::from_secs(60)));
    let offer = granted.hopp.partner.publish_offer(&draft).await.expect("publishes");
    let life = Duration::from_secs(3600);
    let rows = [(offer, false)];
    let request = granted.skylark.partner.request(&granted.at_skylark, &rows, life).await.expect("requests");
    let read = granted.mei.read_request(&request).await.expect("verifies");
    let grant = granted.mei.approve(&read, &Choice::required("en")).await.expect("approves")[0].grant.clone();
    granted.hopp.until_in_book(&grant).await;
    for _ in 0..2 {
        granted.fetch_fields(&grant, &TRIP).await.expect("flows");
    }
    let mut newest = grant;
    for uses in [8, 7] {
        newest = granted.mei.narrow(&newest, &Narrowing::default().uses(uses)).await.expect("recorded").grant;
    }
    let refused = granted.fetch_fields(&newest, &TRIP).await;
    // The newest revision may not be in the book yet: then by the first name.
    let refused = match refused {
        Err(Error::Misuse(_)) => {
            granted.hopp.until_in_book(&newest).await;
            granted.fetch_fields(&newest, &TRIP).await
        }
        other => other,
    };
    let Err(Error::Refused(refused)) = refused else { panic!("a third within the window: {refused:?}") };
    assert_eq!(refused.reason, "FREQUENCY_EXCEEDED");
    assert!(refused.retry_after.is_some(), "waiting helps");
    granted.skylark.until_receipts_are_in().await;
    granted.world.clock.advance(Duration::from_secs(61));
    assert_eq!(granted.fetch_fields(&newest, &TRIP).await.expect("a new window").use_number(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_is_a_new_approval_and_ends_what_it_renews() {
    let granted = Granted::start().await;
    for _ in 0..12 {
        // All but the last use.
        if granted.world.count(Kind::Transfer).await < 11 {
            granted.fetch().await.expect("flows");
        }
    }
    let new = granted.renew(&granted.grant).await;
    for brand in [&granted.skylark, &granted.hopp] {
        assert_eq!(brand.hears_revision().await, (granted.grant.clone(), new.clone(), Revision::Renewed));
        brand.until_in_book(&new).await;
    }
    let fetched = granted.fetch().await.expect("flows under the new terms");
    assert_eq!((&fetched.grant, fetched.use_number()), (&new, 1));
    let late = bare_fetch(&granted).await;
    assert_eq!(reason_of(granted.send(&late).await).reason, "GRANT_ENDED");
    let stopped = granted.mei.stop(&granted.grant, false).await.expect("recorded");
    assert_eq!(stopped.grant(), &new, "what was renewed is what she means");
    let records = granted.world.records().await;
    check_world(&records);
    let at = records.iter().position(|record| record.kind() == Kind::GrantSuperseded).expect("there is one");
    assert_eq!((records[at].reason.as_str(), records[at + 1].kind()), ("RENEWED", Kind::GrantApproved));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_is_of_the_same_parties_purpose_and_subject() {
    let granted = Granted::start().await;
    let check = |error: Error| match error {
        Error::Refused(refused) => {
            (refused.reason.clone(), refused.metadata.get("check").cloned().unwrap_or_default())
        }
        other => panic!("{other}"),
    };
    let invalid = ("STATEMENT_INVALID".to_owned(), "renews".to_owned());
    let life = Duration::from_secs(3600);
    let ask = async |brand: &Brand, subject, offer, renews: &GrantName| {
        let row = AskedRow { offer, optional: false, renews: Some(renews.clone()) };
        check(brand.partner.request_rows(subject, &[row], life).await.expect_err("refused"))
    };
    // For another purpose.
    let mut draft = trip_offer(granted.skylark.name(), 5);
    (draft.purpose, draft.required_fields) = ("trip_updates".into(), vec!["trip.flight_no".into()]);
    draft.optional_fields.clear();
    let other = granted.hopp.partner.publish_offer(&draft).await.expect("publishes");
    assert_eq!(ask(&granted.skylark, &granted.at_skylark, other, &granted.grant).await, invalid);
    // Between others.
    let chirp = Box::pin(granted.world.brand("chirp")).await;
    let to_chirp = chirp.offer_trip(&granted.skylark, 5).await;
    assert_eq!(ask(&granted.skylark, &granted.at_skylark, to_chirp.clone(), &granted.grant).await, invalid);
    // Of another account of the same person: that they are one's, the brand does not learn.
    let second = granted.world.link(&granted.mei, &granted.skylark).await;
    let offer = granted.hopp.offer_trip(&granted.skylark, 5).await;
    assert_eq!(ask(&granted.skylark, &second, offer.clone(), &granted.grant).await, invalid);
    // By who is no side of it, and of what nobody knows: one answer.
    let unknown = ("GRANT_UNKNOWN".to_owned(), String::new());
    let at_chirp = granted.world.link(&granted.mei, &chirp).await;
    assert_eq!(ask(&chirp, &at_chirp, to_chirp, &granted.grant).await, unknown);
    let nobody = GrantName::of([7; 32].into());
    assert_eq!(ask(&granted.skylark, &granted.at_skylark, offer, &nobody).await, unknown);
    assert_eq!(granted.world.count(Kind::RequestCreated).await, 1, "the one of the grant that stands");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_renews_what_its_row_names_and_nothing_else() {
    let granted = Granted::start().await;
    let (plain, bent) = (granted.approve_one().await, granted.grant.clone());
    let raw = crate::world::own_approval;
    // A row that renews nothing, approved as if it did; and the other way round.
    let offer = granted.hopp.offer_trip(&granted.skylark, 12).await;
    for (renews, claims) in [(None, Some(plain.clone())), (Some(bent), None)] {
        let row = AskedRow { offer: offer.clone(), optional: false, renews: renews.clone() };
        let life = Duration::from_secs(3600);
        let asked = granted.skylark.partner.request_rows(&granted.at_skylark, &[row], life).await;
        let request = asked.expect("requests");
        let stored = granted.world.broker.offer(&offer).await.expect("reads").expect("published");
        let mut approval = raw(&granted, &request, stored.signed.statement(), offer.digest());
        let previous = claims.map(|claims| claims.digest().into()).unwrap_or_default();
        crate::world::sign_again(&granted, &mut approval.rows[0], |terms| terms.previous = previous);
        let said = reason_of(own_connection(&granted).grants().approve_grant_request(approval).await);
        assert_eq!((said.reason.as_str(), said.check.as_str()), ("STATEMENT_INVALID", "previous"));
    }
    assert_eq!(granted.world.count(Kind::GrantSuperseded).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_disk_of_narrowed_and_renewed_grants_adds_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("store");
    let store = Arc::new(SledStore::open(place.clone(), Options::default()).await.expect("opens"));
    let granted = World::on(Arc::clone(&store) as Arc<_>).await.with_grant().await;
    granted.fetch().await.expect("flows");
    let once =
        granted.mei.narrow(&granted.grant, &Narrowing::default().uses(9)).await.expect("recorded").grant;
    granted.fetch().await.expect("flows");
    let twice = granted.mei.narrow(&once, &Narrowing::default().uses(5)).await.expect("recorded").grant;
    let renewed = granted.renew(&twice).await;
    granted.fetch().await.expect("flows");
    let last = granted.mei.narrow(&renewed, &Narrowing::default().uses(2)).await.expect("recorded").grant;
    granted.fetch().await.expect("flows");
    granted.mei.stop(&last, false).await.expect("recorded");
    check_world(&granted.world.records().await);
    let Granted { world, skylark, hopp, mei, .. } = granted;
    drop((skylark, hopp, mei));
    world.end().await;
    let let_go = async {
        while Arc::strong_count(&store) > 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, let_go).await.expect("an ended broker holds nothing");
    store.close().await.expect("closes");
    drop(store);
    let keys = Keys {
        log: signer(1).verifier().clone(),
        broker: Some(countersign_broker::private::Kek::new([4; 32])),
    };
    worldcheck::disk(&place, &keys).await.unwrap_or_else(|found| panic!("{found}"));
}
