//! Changes that are withheld or invented.

use std::time::Duration;

use countersign_client::{
    Error, PartnerEvent,
    book::Standing,
    customer::{Acknowledged, Customer, CustomerBook, ExportError, Wallet},
};
use countersign_grants::{
    digest::Digest,
    envelope,
    statement::{Acknowledgement, GrantChange, Verb},
};
use countersign_proto::{
    log::v1::{Kind, Record},
    statement::v1 as wire,
    v1::{
        self, ChangeGrantResponse, Event, Grant, ListEventsResponse, ListProvenEventsResponse, ProvenEvent,
    },
};
use prost::Message as _;
use tonic::Status;

use super::{Operator, blamed};
use crate::world::{MEI, PATIENCE, bare_fetch, reason_of, sign_as};

/// Long enough for a word that is on its way; none is.
const A_WHILE: Duration = Duration::from_millis(500);

impl Operator {
    /// Keeps changes of grants from Skylark.
    fn keep_from_skylark(&self) {
        let skylark = self.skylark.name().to_string();
        let changes = [Kind::GrantPaused, Kind::GrantResumed, Kind::GrantWithdrawn];
        self.front.tell(move |caller, event: &Event| caller != skylark || !changes.contains(&event.kind()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_is_kept_from_the_source_is_recorded_and_not_stopped() {
    let operator = Operator::start().await;
    operator.keep_from_skylark();
    let recorded = operator.mei.stop(&operator.grant, false).await.expect("recorded, with its proof");
    let word = recorded.wait_until_acknowledged(A_WHILE).await.expect("answers");
    let Acknowledged::NotConfirmed { source, blame: None } = word else { panic!("who says that? {word:?}") };
    assert_eq!(source, *operator.skylark.name());
    // Nothing that was acknowledged before counts for it.
    assert_eq!(operator.mei.acknowledgement(&operator.grant).await.expect("answers"), None);

    // The operator can still draw: the source does not know. The customer stops it there, without any broker.
    operator.front.refuse("ClaimReceipt");
    let fetch = operator.signed(&bare_fetch(&operator).await);
    operator.draw(&fetch).await;
    let standing = operator.skylark.partner.standing_grants(&operator.at_skylark);
    assert_eq!(
        standing.iter().map(|row| row.name().clone()).collect::<Vec<_>>(),
        std::slice::from_ref(&operator.grant)
    );
    operator.skylark.partner.stop_locally(&operator.grant).await.expect("stops");
    let fetch = operator.signed(&bare_fetch(&operator).await);
    let refused = reason_of(operator.provide(operator.papers(&operator.grant, &fetch).await).await);
    assert_eq!(refused.reason, "GRANT_ENDED");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acknowledgement_that_the_source_did_not_sign_is_refused() {
    let operator = Operator::start().await;
    operator.keep_from_skylark();
    let recorded = operator.mei.stop(&operator.grant, false).await.expect("recorded");
    let stop = operator.mei.book().grant(&operator.grant).expect("stands").last;
    let (skylark, now) = (operator.skylark.name().to_string(), operator.world.system().now().as_millis());
    let acknowledges = |statement: Digest, certificate: Option<wire::Envelope>| {
        let skylark = skylark.clone();
        operator.front.bend::<Grant>("GetGrant", move |grant| {
            let of_skylark = grant.acknowledgements.iter().find(|one| one.partner == skylark);
            let honest = of_skylark.expect("it acknowledged the terms").partner_key.clone();
            let said = wire::Acknowledgement {
                broker: crate::world::ORIGIN.into(),
                partner: skylark.clone(),
                statement: statement.into(),
                time_ms: now,
                checkpoint: vec![1].into(),
            };
            grant.acknowledgements.push(v1::Acknowledgement {
                partner: skylark.clone(),
                statement: Some(sign_as::<Acknowledgement>(&Operator::own_key(), &said)),
                partner_key: certificate.clone().or(honest),
            });
        });
    };
    let blame = async || match recorded.wait_until_acknowledged(A_WHILE).await.expect("answers") {
        Acknowledged::NotConfirmed { blame, .. } => blame.as_ref().map(blamed),
        word @ Acknowledged::BySource { .. } => panic!("forged: {word:?}"),
    };
    acknowledges(stop, None);
    assert_eq!(blame().await.as_deref(), Some("partners/skylark: acknowledgement: key"));
    acknowledges(stop, Some(operator.own_certificate(operator.skylark.name())));
    assert_eq!(blame().await.as_deref(), Some("partners/skylark: acknowledgement: partner_key"));
    // Skylark's own word, on the terms: good, and about something else.
    operator.front.be_honest("GetGrant");
    assert_eq!(blame().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_no_in_the_place_of_a_word_is_told_beside_that_none_came() {
    let operator = Operator::start().await;
    let recorded = operator.mei.stop(&operator.grant, false).await.expect("recorded");
    operator.front.lie::<Grant, _>("GetGrant", |_| async { Err(Status::not_found("no grant")) });
    let word = recorded.wait_until_acknowledged(A_WHILE).await.expect("answers");
    let Acknowledged::NotConfirmed { blame: Some(blame), .. } = word else { panic!("{word:?}") };
    assert!(matches!(blame, Error::Refused(_)), "{blame}");
    operator.front.be_honest("GetGrant");
    let word = recorded.wait_until_acknowledged(PATIENCE).await.expect("answers");
    assert!(matches!(word, Acknowledged::BySource { later: None, .. }), "{word:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_word_on_a_later_change_is_told_as_one() {
    let operator = Operator::start().await;
    let paused = operator.mei.pause(&operator.grant).await.expect("recorded");
    let pause = operator.mei.book().grant(&operator.grant).expect("stands").last;
    paused.wait_until_acknowledged(PATIENCE).await.expect("answers");
    // Another device of hers changes the grant next: this one's book does not know.
    let (trust, book) = (operator.world.trust.clone(), CustomerBook::in_memory());
    let other =
        Customer::open(trust, Wallet::from_secret(&MEI), book, operator.world.system()).expect("opens");
    other.grants().await.expect("lists");
    let resumed = other.resume(&operator.grant).await.expect("recorded");
    let word = resumed.wait_until_acknowledged(PATIENCE).await.expect("answers");
    assert!(matches!(word, Acknowledged::BySource { later: None, .. }), "{word:?}");

    let without = |hidden: Digest| {
        operator.front.bend::<Grant>("GetGrant", move |grant| {
            grant.acknowledgements.retain(|word| {
                let said = envelope::peek::<Acknowledgement>(word.statement.as_ref()).expect("a word");
                said.statement != hidden
            });
        });
    };
    // The word on the pause is kept back: the one on the resumption covers it, and is not called a pause.
    without(pause);
    let (trust, book) = (operator.world.trust.clone(), CustomerBook::in_memory());
    let third =
        Customer::open(trust, Wallet::from_secret(&MEI), book, operator.world.system()).expect("opens");
    third.grants().await.expect("lists");
    let paused = third.pause(&operator.grant).await.expect("recorded");
    let second_pause = third.book().grant(&operator.grant).expect("stands").last;
    let resumed = third.resume(&operator.grant).await.expect("recorded");
    let resume = third.book().grant(&operator.grant).expect("stands").last;
    without(second_pause);
    let word = paused.wait_until_acknowledged(PATIENCE).await.expect("answers");
    let Acknowledged::BySource { later: Some(later), .. } = word else { panic!("{word:?}") };
    assert_eq!((later.sequence, later.verb), (4, Verb::Resume));
    // The other way round: the word on the pause says nothing of the resumption.
    without(resume);
    let word = paused.wait_until_acknowledged(PATIENCE).await.expect("answers");
    assert!(matches!(word, Acknowledged::BySource { later: None, .. }), "{word:?}");
    let (trust, book) = (operator.world.trust.clone(), CustomerBook::in_memory());
    let fourth =
        Customer::open(trust, Wallet::from_secret(&MEI), book, operator.world.system()).expect("opens");
    fourth.grants().await.expect("lists");
    assert_eq!(fourth.acknowledgement(&operator.grant).await.expect("answers"), None);
    drop(resumed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_that_is_not_recorded_is_not_called_recorded() {
    let operator = Operator::start().await;
    let approval = operator.mei.book().grant(&operator.grant).expect("stands").recorded.expect("proven");
    let proof = operator.world.broker.ledger().proof(approval).await.expect("a proof");
    let other = countersign_broker::record::bare(&proof);
    let answers = |receipt: Option<v1::Receipt>| {
        operator.front.lie("ChangeGrant", move |_| {
            let receipt = receipt.clone();
            async move { Ok(ChangeGrantResponse { grant: None, receipt }) }
        });
    };
    answers(None);
    let error = operator.mei.stop(&operator.grant, true).await.expect_err("no proof");
    assert_eq!(blamed(&error), "the broker: receipt: present");
    answers(Some(other));
    let error = operator.mei.stop(&operator.grant, true).await.expect_err("a proof of the approval");
    assert_eq!(blamed(&error), "the broker: receipt: kind");
    // What was signed stays in the book, and the same bytes settle it with a broker that does its work.
    operator.front.be_honest("ChangeGrant");
    let recorded = operator.mei.stop(&operator.grant, true).await.expect("recorded");
    let word = recorded.wait_until_acknowledged(PATIENCE).await.expect("answers");
    assert!(matches!(word, Acknowledged::BySource { .. }), "{word:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invented_resume_moves_nothing() {
    let operator = Operator::start().await;
    operator.mei.pause(&operator.grant).await.expect("recorded");
    for brand in [&operator.skylark, &operator.hopp] {
        brand.hears(|event| matches!(event, PartnerEvent::Paused { .. }).then_some(())).await;
    }
    let standing = || operator.skylark.partner.book().grant(&operator.grant).expect("stands").standing();
    // The record alone: nothing that the customer signed comes with it.
    operator.claims(Kind::GrantResumed).await;
    for brand in [&operator.skylark, &operator.hopp] {
        assert_eq!(blamed(&brand.fails(Kind::GrantResumed).await), "the broker: change: present");
    }
    // A resume that the operator signed.
    let (grant, last) =
        (operator.grant.digest(), operator.mei.book().grant(&operator.grant).expect("stands").last);
    operator.front.bend::<Grant>("GetGrant", move |shown| {
        let said = wire::GrantChange {
            broker: crate::world::ORIGIN.into(),
            terms: grant.into(),
            sequence: 2,
            verb: Verb::Resume.into(),
            erase: false,
            previous: last.into(),
            time_ms: 1_790_000_000_000,
            successor: bytes::Bytes::new(),
        };
        shown.changes.push(sign_as::<GrantChange>(&Operator::own_key(), &said));
    });
    operator.claims(Kind::GrantResumed).await;
    for brand in [&operator.skylark, &operator.hopp] {
        assert_eq!(blamed(&brand.fails(Kind::GrantResumed).await), "the customer: change: key");
    }
    // The customer's own pause, sold as the second change.
    operator.front.bend::<Grant>("GetGrant", |shown| {
        let second = Operator::bent::<GrantChange>(shown.changes.first(), |said| {
            (said.sequence, said.verb) = (2, Verb::Resume.into());
        });
        shown.changes.push(second);
    });
    operator.claims(Kind::GrantResumed).await;
    for brand in [&operator.skylark, &operator.hopp] {
        assert_eq!(blamed(&brand.fails(Kind::GrantResumed).await), "the customer: change: signature");
    }
    assert_eq!(standing(), Standing::Paused);
    let fetch = operator.signed(&bare_fetch(&operator).await);
    let refused = reason_of(operator.provide(operator.papers(&operator.grant, &fetch).await).await);
    assert_eq!(refused.reason, "GRANT_PAUSED");
    assert_eq!(operator.skylark.shelf.asked(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invented_pause_or_stop_is_held_and_never_believed() {
    for kind in [Kind::GrantPaused, Kind::GrantWithdrawn] {
        let operator = Operator::start().await;
        operator.claims(kind).await;
        for brand in [&operator.skylark, &operator.hopp] {
            assert_eq!(blamed(&brand.fails(kind).await), "the broker: change: present");
            let row = brand.partner.book().grant(&operator.grant).expect("stands");
            assert!(row.held() && row.standing() == Standing::Active, "to refuse is always safe");
        }
        let error = operator.fetch().await.expect_err("held");
        assert!(matches!(error, Error::Misuse(_)), "{error}");
        assert!(error.to_string().contains("shows no signed change"), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_is_left_out_of_the_customers_list_is_missed() {
    let operator = Operator::start().await;
    for _ in 0..3 {
        operator.fetch().await.expect("flows");
    }
    let all = operator.mei.activity(0, &[]).await.expect("without a gap");
    let transfers: Vec<u64> = all
        .iter()
        .filter(|one| one.kind() == Kind::Transfer)
        .map(countersign_client::customer::Activity::index)
        .collect();
    let hidden = transfers[1];
    operator.front.bend::<ListEventsResponse>("ListEvents", move |list| {
        list.events.retain(|event| event.index != hidden);
    });
    let error = operator.mei.activity(0, &[]).await.expect_err("a gap");
    assert_eq!(blamed(&error), "the broker: activity: grant_sequence");
    // One that says other than its record.
    operator.front.bend::<ListEventsResponse>("ListEvents", move |list| {
        let event = list.events.iter_mut().find(|event| event.index == hidden).expect("listed");
        event.use_number = 7;
    });
    let error = operator.mei.activity(0, &[]).await.expect_err("bent");
    assert_eq!(blamed(&error), "the broker: event: record");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_with_a_twisted_record_ends_without_a_manifest() {
    type Bend = fn(&mut ListProvenEventsResponse);
    let operator = Operator::start().await;
    operator.fetch().await.expect("flows");
    let bends: [(Bend, &str); 5] = [
        (
            |list| {
                let number = |one: &ProvenEvent| {
                    let record = one.event.as_ref().expect("set").record.clone();
                    Record::decode(record).expect("a record").grant_sequence
                };
                list.events.retain(|one| number(one) != 2);
            },
            "the broker: activity: grant_sequence",
        ),
        (|list| list.events[3].receipt = list.events[2].receipt.clone(), "the broker: event: receipt"),
        (|list| list.events.swap(0, 1), "the broker: events: index"),
        (
            |list| drop(list.events[2].receipt.as_mut().expect("set").path.pop()),
            "the broker: receipt: inclusion",
        ),
        (
            |list| {
                let of = |event: &&mut ProvenEvent| !event.evidence.is_empty();
                list.events.iter_mut().find(of).expect("some").evidence[0] = vec![7; 32].into();
            },
            "the broker: receipt: evidence",
        ),
    ];
    for (bend, expected) in bends {
        operator.front.bend::<ListProvenEventsResponse>("ListProvenEvents", bend);
        let folder = tempfile::tempdir().expect("a folder");
        let error = operator.mei.export(folder.path()).await.expect_err("twisted");
        let ExportError::Call(error) = error else { panic!("{error}") };
        assert_eq!(blamed(&error), expected);
        assert!(!folder.path().join("manifest.json").exists());
    }
}
