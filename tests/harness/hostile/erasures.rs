//! Deletions that are invented, forged or hidden, and private parts that are lost and called erased.

use std::sync::Arc;

use countersign_broker::{private::DataKeyId, rows};
use countersign_client::{
    Connection, Error,
    auditor::{Auditor, MemoryHeads},
};
use countersign_grants::{
    digest::Digest,
    id::{AuditorName, Principal},
    key::SigningKey,
    statement::ErasureAttestation,
    time::Clock as _,
};
use countersign_ledger::{Draft, Outcome, Unit};
use countersign_proto::{
    log::v1::{Kind, Record},
    statement::v1 as wire,
    v1::{self, ListGrantsResponse, grant::ErasureState, log_entry::PrivatePartState},
};

use super::{Operator, blamed};
use crate::world::{ORIGIN, sign_as};

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
