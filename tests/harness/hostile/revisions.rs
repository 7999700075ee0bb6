//! Revisions that are withheld, invented, or taken from what was signed and given up.

use std::sync::{Arc, Mutex};

use countersign_client::{
    Error, PartnerEvent,
    book::Standing,
    customer::{Acknowledged, Choice, Narrowing},
};
use countersign_grants::{
    digest::Digest,
    envelope,
    id::{GrantName, OfferName},
    statement::{ChangeReason, GrantChange, GrantTerms},
};
use countersign_proto::{
    log::v1::Kind,
    statement::v1 as wire,
    v1::{
        ApproveGrantRequestRequest, Event, Grant, NarrowGrantRequest, NarrowGrantResponse,
        ProvideDataRequest, ProvideDataResponse, grant::State,
    },
};
use prost::Message;
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt as _};

use super::{Operator, blamed};
use crate::world::{PATIENCE, bare_fetch, own_connection, own_narrowing, reason_of};

fn less() -> Narrowing {
    Narrowing::default().uses(5)
}

/// What came, as it was signed.
type Caught<M> = Arc<Mutex<Option<M>>>;

impl Operator {
    /// Says no to a narrowing, and keeps what the customer signed for it.
    fn catch_narrowing(&self) -> Caught<NarrowGrantRequest> {
        self.catch("NarrowGrant")
    }

    /// Says no to what comes by this method, and keeps it.
    fn catch<M: Message + Default + 'static>(&self, method: &str) -> Caught<M> {
        let caught = Caught::default();
        let keeping = Arc::clone(&caught);
        self.front.lie::<(), _>(method, move |asked| {
            *keeping.lock().expect("nobody panicked") = Some(asked.read());
            async {
                let details = ErrorDetails::with_error_info("WRONG_STATE", "countersign", []);
                Err(Status::with_error_details(tonic::Code::FailedPrecondition, "not so", details))
            }
        });
        caught
    }

    /// A fetch under these terms, with what Skylark is handed.
    async fn fetch_under(&self, request: &NarrowGrantRequest) -> ProvideDataRequest {
        self.fetch_with(request.source_terms.as_ref(), &request.source_salt).await
    }

    async fn fetch_with(&self, terms: Option<&wire::Envelope>, salt: &bytes::Bytes) -> ProvideDataRequest {
        let said = envelope::peek::<GrantTerms>(terms).expect("signed");
        let offer =
            self.world.broker.offer(&OfferName::of(said.offer)).await.expect("reads").expect("stands");
        let mut fetch = bare_fetch(self).await;
        fetch.terms = envelope::digest(terms.expect("signed")).into();
        let fetch = self.signed(&fetch);
        ProvideDataRequest {
            terms: terms.cloned(),
            party_salt: salt.clone(),
            offer: offer.read.row.statement,
            offer_key: offer.read.row.partner_key,
            ..self.papers(&self.grant, &fetch).await
        }
    }

    /// What Skylark's server says to a fetch under this grant.
    async fn asked_under(&self, grant: &GrantName) -> Result<ProvideDataResponse, Status> {
        let mut fetch = bare_fetch(self).await;
        fetch.terms = grant.digest().into();
        let fetch = self.signed(&fetch);
        self.provide(self.papers(grant, &fetch).await).await
    }
}

/// The check that fails, and how what it looks at is bent.
type Bend<M> = (&'static str, fn(&mut M));

#[tokio::test(flavor = "multi_thread")]
async fn an_invented_revision_is_held_and_never_believed() {
    let operator = Operator::start().await;
    operator.claims(Kind::GrantSuperseded).await;
    for brand in [&operator.skylark, &operator.hopp] {
        assert_eq!(blamed(&brand.fails(Kind::GrantSuperseded).await), "the broker: revision: successor");
        let row = brand.partner.book().grant(&operator.grant).expect("stands");
        assert!(row.held() && row.standing() == Standing::Active, "to refuse is always safe");
    }
    // Another grant of hers, sold as the one in its place.
    let other = operator.approve_one().await;
    let operator = Operator::start().await;
    operator.front.bend::<Grant>("GetGrant", move |grant| grant.successor = other.to_string());
    operator.claims(Kind::GrantSuperseded).await;
    let error = operator.hopp.fails(Kind::GrantSuperseded).await;
    assert!(matches!(error, Error::Refused(_) | Error::Misbehaved(_)), "{error}");
    assert!(operator.hopp.partner.book().grant(&operator.grant).expect("stands").held());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standing_grant_is_not_sold_as_the_successor_of_another() {
    let operator = Operator::start().await;
    let (own, other) = (operator.grant.clone(), operator.approve_one().await);
    let named = other.clone();
    operator.front.bend::<Grant>("GetGrant", move |grant| {
        if grant.name == own.as_str() {
            grant.successor = named.to_string();
        }
    });
    operator.claims(Kind::GrantSuperseded).await;
    assert_eq!(blamed(&operator.hopp.fails(Kind::GrantSuperseded).await), "the broker: revision: successor");
    let standing = operator.hopp.partner.book().grant(&other).expect("stands").standing();
    assert_eq!(standing, Standing::Active);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_narrowing_that_is_kept_from_the_source_is_recorded_and_not_done() {
    let operator = Operator::start().await;
    let skylark = operator.skylark.name().to_string();
    let told = [Kind::GrantSuperseded, Kind::GrantApproved];
    operator.front.tell(move |caller, event: &Event| caller != skylark || !told.contains(&event.kind()));
    let narrowed = operator.mei.narrow(&operator.grant, &less()).await.expect("recorded");
    let word = narrowed.recorded.wait_until_acknowledged(std::time::Duration::from_millis(500)).await;
    let Acknowledged::NotConfirmed { source, blame: None } = word.expect("answers") else {
        panic!("by whom?")
    };
    assert_eq!(source, *operator.skylark.name());

    // The first fetch under the new terms tells the source all the same, and from then on the old ones are nothing to it.
    let mut fetch = bare_fetch(&operator).await;
    fetch.terms = narrowed.grant.digest().into();
    let fetch = operator.signed(&fetch);
    let papers = operator.papers(&narrowed.grant, &fetch).await;
    operator.provide(papers).await.expect("provides");
    let row = operator.skylark.partner.book().grant(&operator.grant).expect("stands");
    assert_eq!(row.standing(), Standing::Superseded { by: narrowed.grant.digest() });
    let old = operator.signed(&bare_fetch(&operator).await);
    let refused = reason_of(operator.provide(operator.papers(&operator.grant, &old).await).await);
    assert_eq!(refused.reason, "GRANT_ENDED");
    let word = narrowed.recorded.wait_until_acknowledged(PATIENCE).await.expect("answers");
    assert!(matches!(word, Acknowledged::BySource { .. }), "{word:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_new_terms_do_not_count_without_the_change_that_names_them() {
    let operator = Operator::start().await;
    let skylark = operator.skylark.name().to_string();
    operator.front.tell(move |caller, event: &Event| {
        caller != skylark || !matches!(event.kind(), Kind::GrantSuperseded | Kind::GrantApproved)
    });
    let narrowed = operator.mei.narrow(&operator.grant, &less()).await.expect("recorded");
    // The change is kept back: so the source would serve under both.
    operator.front.bend::<Grant>("GetGrant", |grant| grant.changes.clear());
    let mut fetch = bare_fetch(&operator).await;
    fetch.terms = narrowed.grant.digest().into();
    let fetch = operator.signed(&fetch);
    let refused = reason_of(operator.provide(operator.papers(&narrowed.grant, &fetch).await).await);
    assert_eq!((refused.reason.as_str(), refused.check.as_str()), ("STATEMENT_INVALID", "previous"));
    assert!(operator.skylark.partner.book().grant(&narrowed.grant).is_none(), "nothing was entered");
    assert_eq!(operator.skylark.shelf.asked(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn terms_that_were_signed_and_refused_do_not_come_back_beside_a_later_pause() {
    let operator = Operator::start().await;
    let caught = operator.catch_narrowing();
    let refused = operator.mei.narrow(&operator.grant, &less()).await.expect_err("the broker says no");
    assert_eq!(refused.reason(), Some("WRONG_STATE"));
    operator.front.be_honest("NarrowGrant");
    let kept = caught.lock().expect("nobody panicked").clone().expect("it came");
    let name = GrantName::of(envelope::digest(kept.source_terms.as_ref().expect("signed")));
    assert!(operator.mei.book().grant(&name).expect("what was signed stays").refused);

    let paused = operator.mei.pause(&operator.grant).await.expect("recorded");
    paused.wait_until_acknowledged(PATIENCE).await.expect("answers");
    let papers = operator.fetch_under(&kept).await;
    let refused = reason_of(operator.provide(papers).await);
    assert_eq!((refused.reason.as_str(), refused.check.as_str()), ("STATEMENT_INVALID", "previous"));
    assert_eq!(operator.skylark.shelf.asked(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_says_no_and_shows_that_it_stands_is_caught() {
    let operator = Operator::start().await;
    operator.front.lie::<NarrowGrantResponse, _>("NarrowGrant", |asked| async move {
        asked.honest::<NarrowGrantResponse>().await.expect("narrows");
        let details = ErrorDetails::with_error_info("WRONG_STATE", "countersign", []);
        Err(Status::with_error_details(tonic::Code::FailedPrecondition, "not so", details))
    });
    let error = operator.mei.narrow(&operator.grant, &less()).await.expect_err("a lie");
    assert_eq!(blamed(&error), "the broker: change: refusal");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_narrowing_that_is_not_recorded_is_not_called_recorded() {
    let operator = Operator::start().await;
    let bends: [Bend<NarrowGrantResponse>; 3] = [
        ("receipt: present", |it| it.receipt = None),
        ("receipt: present", |it| it.superseded_receipt = None),
        ("receipt: kind", |it| it.superseded_receipt.clone_from(&it.receipt)),
    ];
    for (check, bend) in bends {
        operator.front.bend::<NarrowGrantResponse>("NarrowGrant", bend);
        let error = operator.mei.narrow(&operator.grant, &less()).await.expect_err("no proof");
        assert_eq!(blamed(&error), format!("the broker: {check}"));
    }
    // What was signed stays in the book, and the same bytes settle it with a broker that does its work.
    operator.front.be_honest("NarrowGrant");
    let narrowed = operator.mei.narrow(&operator.grant, &less()).await.expect("recorded");
    assert_eq!(narrowed.recorded.grant(), &operator.grant);
    assert_eq!(operator.world.count(Kind::GrantSuperseded).await, 1);
}

/// Terms that the customer herself signed as a narrowing, and that are more.
#[tokio::test(flavor = "multi_thread")]
async fn wider_terms_are_refused_by_the_source_whoever_signed_them() {
    let operator = Operator::start().await;
    let bends: [Bend<wire::GrantTerms>; 4] = [
        ("fields", |it| it.fields.push("trip.eta".into())),
        ("uses", |it| it.uses = 24),
        ("expire_time_ms", |it| it.expire_time_ms += 1),
        ("retention_seconds", |it| it.retention_seconds += 1),
    ];
    for (check, bend) in bends {
        let operator = Operator::start().await;
        let own = own_narrowing(
            &operator,
            |terms| {
                terms.uses = 12;
                bend(terms);
            },
            |_| {},
        )
        .await;
        let request = own.request(&operator);
        // The broker does not take it; its operator hands it on all the same.
        reason_of(own_connection(&operator).grants().narrow_grant(request.clone()).await);
        let change = request.source_change.clone().expect("signed");
        operator.front.bend::<Grant>("GetGrant", move |grant| grant.changes = vec![change.clone()]);
        let refused = reason_of(operator.provide(operator.fetch_under(&request).await).await);
        assert_eq!((refused.reason.as_str(), refused.check.as_str()), ("STATEMENT_INVALID", check));
        assert_eq!(operator.skylark.shelf.asked(), 0);
    }
    // What is no customer's at all is refused before that.
    let own = own_narrowing(&operator, |_| {}, |_| {}).await;
    let mut request = own.request(&operator);
    request.source_terms = Some(Operator::forged::<GrantTerms>(request.source_terms.as_ref(), |_| {}));
    let refused = reason_of(operator.provide(operator.fetch_under(&request).await).await);
    assert_eq!(refused.check, "key");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_carries_over_what_it_served_and_the_broker_did_not_count() {
    let operator = Operator::start().await;
    operator.front.refuse("ClaimReceipt");
    // The operator draws four times and enters nothing.
    for _ in 0..4 {
        let fetch = operator.signed(&bare_fetch(&operator).await);
        operator.draw(&fetch).await;
    }
    let narrowed =
        operator.mei.narrow(&operator.grant, &Narrowing::default().uses(10)).await.expect("recorded");
    assert_eq!(narrowed.terms.uses, 10, "by the broker's count twelve were left");
    operator.skylark.until_in_book(&narrowed.grant).await;
    let at_source = operator.skylark.partner.book().grant(&narrowed.grant).expect("stands");
    assert_eq!(at_source.spent().uses, 2, "twelve in all: four were served, so eight are left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_in_the_sources_own_app_outlasts_a_narrowing() {
    let operator = Operator::start().await;
    operator.skylark.partner.stop_locally(&operator.grant).await.expect("stops");
    let narrowed = operator.mei.narrow(&operator.grant, &less()).await.expect("recorded");
    operator.skylark.until_in_book(&narrowed.grant).await;
    assert!(operator.skylark.partner.standing_grants(&operator.at_skylark).is_empty());
    operator.hopp.until_in_book(&narrowed.grant).await;
    let refused = operator.fetch().await.expect_err("stopped by the source");
    let Error::Refused(refused) = refused else { panic!("{refused}") };
    assert_eq!(refused.metadata.get("source_reason").map(String::as_str), Some("GRANT_ENDED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_a_grant_that_was_narrowed_comes_too_late() {
    let operator = Operator::start().await;
    let narrowed = operator.mei.narrow(&operator.grant, &less()).await.expect("recorded");
    operator.hopp.until_in_book(&narrowed.grant).await;
    let last = operator.mei.book().grant(&operator.grant).expect("stands").last;
    let (grant, key) = (operator.grant.digest(), crate::world::own_keys(&operator).1);
    let hopp = operator.hopp.name().to_string();
    // A resume after the end, which she signed herself: an end is an end.
    operator.front.bend_for::<Grant>("GetGrant", move |caller, shown| {
        if caller == hopp && shown.changes.len() == 1 {
            let said = wire::GrantChange {
                broker: crate::world::ORIGIN.into(),
                terms: grant.into(),
                sequence: 2,
                verb: wire::grant_change::Verb::Resume.into(),
                erase: false,
                previous: Digest::from(*last.as_bytes()).into(),
                time_ms: 1_790_000_000_000,
                successor: bytes::Bytes::new(),
            };
            shown.changes.push(crate::world::sign_as::<GrantChange>(&key, &said));
        }
    });
    operator.claims(Kind::GrantResumed).await;
    assert_eq!(blamed(&operator.hopp.fails(Kind::GrantResumed).await), "the broker: change: stopped");
}

/// She names the old grant, and what she did last to the newer one never arrived.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_by_the_old_name_comes_after_what_was_signed_for_the_new_grant() {
    let operator = Operator::start().await;
    let renewed = operator.renew(&operator.grant).await;
    operator.front.refuse("ChangeGrant");
    operator.mei.pause(&renewed).await.expect_err("no answer");
    operator.front.be_honest("ChangeGrant");
    operator.mei.stop(&operator.grant, false).await.expect("recorded");
    let row = operator.mei.book().grant(&renewed).expect("stands");
    let stopped = countersign_client::customer::Standing::Stopped { erase: false };
    assert_eq!((row.standing, row.sequence), (stopped, 2), "the pause, and then the stop");
    assert_eq!(operator.world.count(Kind::GrantPaused).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renewal_that_was_refused_does_not_come_back_beside_a_later_pause_or_stop() {
    for stops in [false, true] {
        let operator = Operator::start().await;
        let request = operator.ask_renewal(&operator.grant).await.expect("requests");
        let read = operator.mei.read_request(&request).await.expect("verifies");
        let caught = operator.catch::<ApproveGrantRequestRequest>("ApproveGrantRequest");
        operator.mei.approve(&read, &Choice::required("en")).await.expect_err("the broker says no");
        operator.front.be_honest("ApproveGrantRequest");
        let kept = caught.lock().expect("nobody panicked").clone().expect("it came").rows.remove(0);

        let changed = if stops {
            operator.mei.stop(&operator.grant, false).await
        } else {
            operator.mei.pause(&operator.grant).await
        };
        changed.expect("recorded").wait_until_acknowledged(PATIENCE).await.expect("answers");
        let papers = operator.fetch_with(kept.source_terms.as_ref(), &kept.source_salt).await;
        let refused = reason_of(operator.provide(papers).await);
        assert_eq!((refused.reason.as_str(), refused.check.as_str()), ("STATEMENT_INVALID", "previous"));
        let renewed = GrantName::of(envelope::digest(kept.source_terms.as_ref().expect("signed")));
        assert!(operator.skylark.partner.book().grant(&renewed).is_none(), "nothing was entered");
        assert_eq!(operator.skylark.shelf.asked(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_source_did_while_its_broker_was_away_holds_for_the_revision_that_crossed_it() {
    for renews in [false, true] {
        let operator = Operator::start().await;
        operator.front.refuse("SuspendGrant");
        let away = operator.skylark.partner.suspend_grant(&operator.grant, ChangeReason::Dispute).await;
        assert!(away.is_err_and(|error| error.is_transient()));
        // The broker knows nothing of it, so it takes the revision.
        let new = if renews {
            operator.renew(&operator.grant).await
        } else {
            operator.mei.narrow(&operator.grant, &less()).await.expect("recorded").grant
        };
        assert_eq!(reason_of(operator.asked_under(&new).await).reason, "GRANT_SUSPENDED");
        assert_eq!(operator.skylark.shelf.asked(), 0);
        let row = operator.skylark.partner.book().grant(&new).expect("entered");
        assert_eq!(row.suspended(), Some(ChangeReason::Dispute));

        // Once the broker is back it hears of it, and so does the recipient: under the new name.
        operator.front.be_honest("SuspendGrant");
        operator
            .hopp
            .hears(|event| match event {
                PartnerEvent::GrantSuspended { grant } => (*grant.name() == new).then_some(()),
                _ => None,
            })
            .await;
        operator.skylark.partner.unsuspend_grant(&operator.grant).await.expect("by the old name too");
        operator.asked_under(&new).await.expect("provides");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_that_crosses_a_narrowing_ends_the_narrower_grant() {
    let operator = Operator::start().await;
    operator.front.refuse("RevokeGrant");
    for brand in [&operator.skylark, &operator.hopp] {
        let away = brand.partner.revoke_grant(&operator.grant, ChangeReason::NotNeeded).await;
        assert!(away.is_err_and(|error| error.is_transient()));
    }
    let new = operator.mei.narrow(&operator.grant, &less()).await.expect("recorded").grant;
    let refused = reason_of(operator.asked_under(&new).await);
    assert_eq!((refused.reason.as_str(), operator.skylark.shelf.asked()), ("GRANT_ENDED", 0));
    operator.front.be_honest("RevokeGrant");
    // Whose word comes first ends it for everybody.
    operator
        .hopp
        .hears(|event| match event {
            PartnerEvent::GrantRevoked { grant, .. } => (*grant.name() == new).then_some(()),
            _ => None,
        })
        .await;
    let row = operator.world.broker.grant(&new).await.expect("reads").expect("stands");
    assert_eq!(row.state(operator.world.system().now()).expect("reads").state(), State::Revoked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_in_the_sources_own_app_holds_for_what_was_kept_from_it() {
    let operator = Operator::start().await;
    let skylark = operator.skylark.name().to_string();
    let told = [Kind::GrantSuperseded, Kind::GrantApproved];
    operator.front.tell(move |caller, event: &Event| caller != skylark || !told.contains(&event.kind()));
    // One that it has not heard of, stopped by the name that the customer's app shows.
    let unheard = operator.one_more().await;
    assert_eq!(operator.skylark.partner.stop_locally(&unheard).await.expect("stops"), unheard);
    assert_eq!(reason_of(operator.asked_under(&unheard).await).reason, "GRANT_ENDED");
    // And one that took the place of the one that it stopped.
    operator.skylark.partner.stop_locally(&operator.grant).await.expect("stops");
    let renewed = operator.renew(&operator.grant).await;
    assert_eq!(reason_of(operator.asked_under(&renewed).await).reason, "GRANT_ENDED");
    assert_eq!(operator.skylark.shelf.asked(), 0);
    assert!(operator.skylark.partner.standing_grants(&operator.at_skylark).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_that_is_owed_is_not_forgotten_by_a_revision() {
    let operator = Operator::start().await;
    operator.front.refuse("ClaimReceipt");
    operator.draw(&operator.signed(&bare_fetch(&operator).await)).await;
    let new = operator.mei.narrow(&operator.grant, &less()).await.expect("recorded").grant;
    operator.asked_under(&new).await.expect("within the minute it serves on");
    operator.world.clock.advance(std::time::Duration::from_secs(61));
    let refused = reason_of(operator.asked_under(&new).await);
    assert_eq!(refused.reason, "RECEIPT_MISSING");
    assert_eq!(operator.skylark.shelf.asked(), 2);
}
