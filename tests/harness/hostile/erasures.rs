//! Deletions that are invented, forged or hidden, and private parts that are lost and called erased.

use std::sync::Arc;

use bytes::Bytes;
use countersign_broker::{caller::Party, private::DataKeyId, rows};
use countersign_client::{
    Connection, Error, PartnerEvent,
    auditor::{Auditor, MemoryHeads, Problem},
    book::GrantRow,
    customer::Narrowing,
    error::Misuse,
};
use countersign_grants::{
    digest::Digest,
    id::{AuditorName, Principal},
    key::SigningKey,
    statement::{ChangeReason, ErasureAttestation},
    time::Clock as _,
};
use countersign_ledger::{Draft, Outcome, Unit};
use countersign_proto::{
    log::v1::{Kind, Record},
    statement::v1 as wire,
    v1::{self, FetchDataResponse, ListGrantsResponse, grant::ErasureState, log_entry::PrivatePartState},
};
use tokio::sync::Notify;

use super::{Operator, blamed};
use crate::{
    journey::check_world,
    world::{ORIGIN, sign_as},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_that_the_recipient_did_not_sign_is_refused() {
    let operator = Operator::start().await;
    operator.mei.stop(&operator.grant, true).await.expect("recorded");
    let order = operator.mei.book().grant(&operator.grant).expect("stands").last;
    let hopp = operator.hopp.partner.connection();
    let checkpoint = hopp.audit().get_checkpoint(v1::GetCheckpointRequest {}).await.expect("answers");
    let checkpoint = checkpoint.into_inner().checkpoint;
    let shows = |key: &SigningKey, change: Digest, certificate: Option<wire::Envelope>| {
        let said = wire::ErasureAttestation {
            broker: ORIGIN.into(),
            partner: operator.hopp.name().to_string(),
            terms: operator.grant.digest().into(),
            change: change.into(),
            time_ms: operator.world.clock.now().as_millis(),
            checkpoint: checkpoint.clone(),
        };
        let statement = sign_as::<ErasureAttestation>(key, &said);
        let hopp = operator.hopp.name().to_string();
        operator.front.bend::<ListGrantsResponse>("ListGrants", move |list| {
            let grant = list.grants.first_mut().expect("listed");
            let words = grant.acknowledgements.iter();
            let honest = words.into_iter().find(|one| one.partner == hopp).expect("acknowledged");
            grant.erasure_attestation_key = certificate.clone().or(honest.partner_key.clone());
            grant.erasure_attestation = Some(statement.clone());
            grant.set_erasure_state(ErasureState::Attested);
        });
    };
    // It counts as absent, and is told of this grant.
    let blamed_of = async || {
        let seen = operator.mei.grants().await.expect("lists").remove(0);
        assert_eq!(seen.erasure.map(|erasure| erasure.state()), Some(ErasureState::Due));
        blamed(&Error::Misbehaved(Box::new(seen.fault.expect("told"))))
    };
    let own = Operator::own_key();
    shows(&own, order, None);
    assert_eq!(blamed_of().await, "partners/hopp: attestation: key");
    shows(&own, order, Some(operator.own_certificate(operator.hopp.name())));
    assert_eq!(blamed_of().await, "partners/hopp: attestation: partner_key");
    // Hopp's own word, on another order.
    shows(&operator.hopp.working, operator.grant.digest(), None);
    assert_eq!(blamed_of().await, "partners/hopp: attestation: change");

    // To say that nothing was ordered, or that it is done, changes nothing about what the book knows.
    for state in [ErasureState::Unspecified, ErasureState::Attested] {
        operator.front.bend::<ListGrantsResponse>("ListGrants", move |list| {
            let grant = list.grants.first_mut().expect("listed");
            grant.set_erasure_state(state);
            (grant.erasure_attestation, grant.erasure_attestation_key) = (None, None);
        });
        let seen = operator.mei.grants().await.expect("answers").remove(0);
        assert_eq!(seen.erasure.map(|erasure| erasure.state()), Some(ErasureState::Due), "{state:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invented_order_deletes_nothing() {
    let operator = Operator::start().await;
    operator.claims(Kind::ErasureOrdered).await;
    assert_eq!(blamed(&operator.hopp.fails(Kind::ErasureOrdered).await), "the broker: change: present");
    assert!(operator.hopp.partner.erasures_due().is_empty());
    operator.fetch().await.expect("it stands as before");
}

impl Operator {
    /// The newest record of this kind, as a receipt with what opens it.
    async fn receipt_of(&self, kind: Kind) -> v1::Receipt {
        let records = self.world.records().await;
        let index = records.iter().rposition(|record| record.kind() == kind).expect("there") as u64;
        let entered = self.world.broker.entered(index).await.expect("reads");
        entered.for_party(&Party::Partner(self.hopp.name().clone()))
    }

    /// Says from now on of every order to delete that its customer has closed the account, and shows this for it.
    fn calls_erased(&self, shown: Option<v1::ErasureOrder>) {
        self.front.bend_events(move |event| {
            if event.kind() == Kind::ErasureOrdered {
                event.erased = true;
                event.grant.clear();
                event.erasure_order.clone_from(&shown);
            }
        });
    }
}

#[expect(clippy::needless_pass_by_value, reason = "what a brand hears is handed over")]
fn due(event: PartnerEvent) -> Option<bool> {
    match event {
        PartnerEvent::EraseDue { signed, .. } => Some(signed),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_of_an_erased_customer_counts_by_its_record_alone() {
    let operator = Operator::start().await;
    let made_up = Digest::of(b"nothing that anybody signed");
    let other = operator.one_more().await;
    operator.claims(Kind::ErasureOrdered).await;
    assert_eq!(blamed(&operator.hopp.fails(Kind::ErasureOrdered).await), "the broker: change: present");
    let honest = operator.receipt_of(Kind::ErasureOrdered).await;
    let of_other = operator.receipt_of(Kind::GrantApproved).await;
    let order = |change: &[u8], receipt: Option<v1::Receipt>| v1::ErasureOrder {
        change: change.to_vec().into(),
        receipt,
    };
    let mut unproven = honest.clone();
    unproven.record = of_other.record.clone();
    for (shown, expected) in [
        (order(made_up.as_bytes(), None), "the broker: receipt: present"),
        (order(made_up.as_bytes(), Some(unproven)), "the broker: receipt: inclusion"),
        (order(made_up.as_bytes(), Some(of_other)), "the broker: receipt: kind"),
        (order(other.digest().as_bytes(), Some(honest.clone())), "the broker: receipt: evidence"),
        (order(&[7; 31], Some(honest)), "the broker: erasure_order: change"),
    ] {
        operator.calls_erased(Some(shown));
        operator.claims(Kind::ErasureOrdered).await;
        assert_eq!(blamed(&operator.hopp.fails(Kind::ErasureOrdered).await), expected);
    }
    assert!(operator.hopp.partner.erasures_due().is_empty());
    let row = operator.hopp.partner.book().grant(&operator.grant).expect("stands");
    assert!(row.held(), "to refuse is always safe");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_the_broker_makes_up_stands_in_the_log_and_gives_way_to_a_signed_one() {
    let operator = Operator::start().await;
    let (hopp, grant) = (&operator.hopp, &operator.grant);
    operator.fetch().await.expect("flows");
    operator.calls_erased(None);
    operator.claims(Kind::ErasureOrdered).await;
    let held = |event| matches!(event, PartnerEvent::AccountClosed { .. }).then_some(());
    hopp.hears(held).await;
    let change = Bytes::copy_from_slice(Digest::of(b"nothing that anybody signed").as_bytes());
    let mut receipt = operator.receipt_of(Kind::ErasureOrdered).await;
    operator.calls_erased(Some(v1::ErasureOrder { change: change.clone(), receipt: Some(receipt) }));
    operator.claims(Kind::ErasureOrdered).await;
    assert!(!hopp.hears(due).await, "it is told as the broker's word");
    hopp.partner.attest_erasure(grant).await.expect_err("the broker has nothing to meet");
    let attested = |row: GrantRow| (row.deleted(), row.attested());
    assert_eq!(attested(hopp.partner.book().grant(grant).expect("stands")), (true, false));

    // Whoever audits the log finds what stands in it twice; and what Mei orders is told, met and believed as ever.
    operator.front.bend_events(|_| ());
    operator.mei.stop(grant, true).await.expect("recorded");
    assert!(hopp.hears(due).await, "now she signed it");
    assert_eq!(attested(hopp.partner.book().grant(grant).expect("stands")), (false, false));
    hopp.partner.attest_erasure(grant).await.expect("recorded");
    let seen = operator.mei.grants().await.expect("lists").remove(0);
    assert_eq!(seen.erasure.map(|erasure| erasure.state()), Some(ErasureState::Attested));
    assert!(seen.fault.is_none(), "{:?}", seen.fault);
    let findings = operator.audited().await;
    let twice = Problem::Erasure { kind: Kind::ErasureOrdered };
    assert!(findings.iter().any(|finding| finding.problem == twice), "{findings:?}");

    // The signed one is met: no record takes its place.
    receipt = operator.receipt_of(Kind::ErasureOrdered).await;
    operator.calls_erased(Some(v1::ErasureOrder { change, receipt: Some(receipt) }));
    operator.claims(Kind::ErasureOrdered).await;
    operator.claims(Kind::GrantSuspendedByOperator).await;
    let next = |event| match event {
        PartnerEvent::EraseDue { .. } | PartnerEvent::Failed { .. } => Some(false),
        PartnerEvent::GrantSuspendedByOperator { .. } => Some(true),
        _ => None,
    };
    assert!(hopp.hears(next).await, "nothing comes of it");
    assert_eq!(attested(hopp.partner.book().grant(grant).expect("stands")), (true, true));
}

/// What comes to a grant while the answer of a fetch is kept back.
#[derive(Clone, Copy, Debug)]
enum Meanwhile {
    Deleted,
    DeletedByItsRevision,
    StoppedHere,
    Revoked,
}

async fn comes(operator: &Operator, meanwhile: Meanwhile) {
    let (mei, hopp, grant) = (&operator.mei, &operator.hopp, &operator.grant);
    let ordered = match meanwhile {
        Meanwhile::Deleted => grant.clone(),
        Meanwhile::DeletedByItsRevision => {
            let narrowed = mei.narrow(grant, &Narrowing::default().uses(2)).await.expect("recorded").grant;
            hopp.until_in_book(&narrowed).await;
            narrowed
        }
        Meanwhile::StoppedHere => {
            hopp.partner
                .book()
                .stop_locally(grant, operator.world.clock.now())
                .expect("is written")
                .expect("stands");
            return;
        }
        Meanwhile::Revoked => {
            hopp.partner.revoke_grant(grant, ChangeReason::NotNeeded).await.expect("recorded");
            return;
        }
    };
    mei.stop(&ordered, true).await.expect("recorded");
    hopp.hears(|event| matches!(event, PartnerEvent::EraseDue { .. }).then_some(())).await;
    hopp.partner.attest_erasure(&ordered).await.expect("recorded");
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_come_once_they_are_to_be_deleted_are_not_opened() {
    for meanwhile in
        [Meanwhile::Deleted, Meanwhile::DeletedByItsRevision, Meanwhile::StoppedHere, Meanwhile::Revoked]
    {
        let operator = Operator::start().await;
        let (released, go) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let gate = (Arc::clone(&released), Arc::clone(&go));
        // The release stands in the log, and its answer is kept.
        operator.front.lie("FetchData", move |asked| {
            let (released, go) = gate.clone();
            async move {
                let answer = asked.honest::<FetchDataResponse>().await;
                released.notify_one();
                go.notified().await;
                answer
            }
        });
        let deleting = async {
            released.notified().await;
            comes(&operator, meanwhile).await;
            go.notify_one();
        };
        let (fetched, ()) = tokio::join!(operator.fetch(), deleting);
        let error = fetched.err().unwrap_or_else(|| panic!("{meanwhile:?}: values were handed over"));
        assert!(matches!(&error, Error::Misuse(Misuse::NotNow { .. })), "{meanwhile:?}: {error}");
        let records = operator.world.records().await;
        assert_eq!(records.iter().filter(|record| record.kind() == Kind::Transfer).count(), 1);
        check_world(&records);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_lost_can_not_be_called_erased() {
    let operator = Operator::start().await;
    let (name, key) = (AuditorName::of_id("eve").expect("an id"), SigningKey::from_secret(&[50; 32]));
    let entered = v1::Auditor {
        display_name: "Eve".to_owned(),
        public_key: key.public().as_bytes().to_vec().into(),
        ..v1::Auditor::default()
    };
    let asked = v1::CreateAuditorRequest {
        auditor_id: "eve".to_owned(),
        auditor: Some(entered),
        ..v1::CreateAuditorRequest::default()
    };
    operator.world.operator.audit().create_auditor(asked).await.expect("enters");
    let system = operator.world.system();
    let principal = Principal::Auditor(name);
    let connection = Connection::open(&operator.world.trust, principal, &key, Arc::clone(&system.clock));
    let heads = Arc::new(MemoryHeads::default());
    let trust = &operator.world.trust;
    let eve = Auditor::open_on(trust, heads, &system, connection.expect("an address")).expect("opens");

    // The key of Mei's private parts goes, without a record.
    let broker = &operator.world.broker;
    let row = broker.load(rows::customer(operator.mei.name())).await.expect("reads").expect("stands").row;
    let record = Record { version: 1, kind: Kind::CataloguePublished.into(), ..Record::default() };
    let unit = Unit {
        records: vec![Draft { record, ..Draft::default() }],
        deletes: vec![rows::data_key(DataKeyId::of(&row.wrapped_data_key)).as_bytes().to_vec()],
        ..Unit::default()
    };
    assert!(matches!(broker.ledger().submit(unit).await, Ok(Outcome::Committed(_))));
    let records = operator.world.records().await;
    let lost = records.iter().position(|record| record.kind() == Kind::GrantApproved).expect("there") as u64;
    let later = records.len() as u64 - 1;
    for (named, expected) in [
        (String::new(), "the broker: entry: erasure"),
        (format!("logs/-/entries/{}", lost - 1), "the broker: entry: erasure"),
        (format!("logs/-/entries/{later}"), "the broker: entry: erasure"),
    ] {
        operator.front.bend::<v1::LogEntry>("GetLogEntry", move |entry| {
            entry.set_private_part(PrivatePartState::Erased);
            entry.erasure.clone_from(&named);
        });
        let error = eve.entry_and_private_part(lost).await.expect_err("nobody was erased");
        assert_eq!(blamed(&error), expected);
    }
}
