//! Revisions that are withheld, invented, or taken from what was signed and given up.

use std::sync::{Arc, Mutex};

use countersign_client::{
    Error,
    book::Standing,
    customer::{Acknowledged, Narrowing},
};
use countersign_grants::{digest::Digest, envelope, id::GrantName, statement::GrantChange};
use countersign_proto::{
    log::v1::Kind,
    statement::v1 as wire,
    v1::{Event, Grant, NarrowGrantRequest, NarrowGrantResponse, ProvideDataRequest},
};
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt as _};

use super::{Operator, blamed};
use crate::world::{PATIENCE, bare_fetch, own_connection, own_narrowing, reason_of};

fn less() -> Narrowing {
    Narrowing::default().uses(5)
}

/// What came by `NarrowGrant`, as it was signed.
type Caught = Arc<Mutex<Option<NarrowGrantRequest>>>;

impl Operator {
    /// Says no to a narrowing, and keeps what the customer signed for it.
    fn catch_narrowing(&self) -> Caught {
        let caught = Caught::default();
        let keeping = Arc::clone(&caught);
        self.front.lie::<NarrowGrantResponse, _>("NarrowGrant", move |asked| {
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
        let mut fetch = bare_fetch(self).await;
        fetch.terms = envelope::digest(request.source_terms.as_ref().expect("signed")).into();
        let fetch = self.signed(&fetch);
        let mut papers = self.papers(&self.grant, &fetch).await;
        papers.terms.clone_from(&request.source_terms);
        papers.party_salt.clone_from(&request.source_salt);
        papers
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
    let source = operator.skylark.name().clone();
    assert_eq!(word.expect("answers"), Acknowledged::NotConfirmed { source });

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
    request.source_terms = Some(Operator::forged::<countersign_grants::statement::GrantTerms>(
        request.source_terms.as_ref(),
        |_| {},
    ));
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
