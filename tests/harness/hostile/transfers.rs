//! What the broker can do with one transfer: read it, hide it, misreport it, have it for nothing.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use countersign_client::Error;
use countersign_grants::{
    catalogue::FieldPath,
    commitment,
    digest::Digest,
    statement::{Fetch, Provision},
};
use countersign_proto::{
    log::v1::{Kind, Record, Result as Went},
    v1::{FetchDataResponse, ProvideDataRequest, Receipt},
};
use countersign_tlog::SignedCheckpoint;
use prost::Message as _;
use tonic::{Code, Status};

use super::{Operator, blamed, operator::append};
use crate::world::{Said, TRIP, bare_fetch, reason_of, signer};

fn invalid(check: &str) -> Said {
    Said { code: Code::InvalidArgument, reason: "STATEMENT_INVALID".to_owned(), check: check.to_owned() }
}

/// What the source itself said no with, behind the broker.
fn refused_by_source(operator: &Operator) -> Said {
    reason_of::<()>(Err(operator.behind.last_refusal("ProvideData").expect("the source refused")))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_swapped_sealing_key_does_not_pass_the_source() {
    let operator = Operator::start().await;
    let swap = |fetch: &mut countersign_proto::statement::v1::Fetch| {
        fetch.sealing_key = Bytes::from_static(&[8; 32]);
    };
    let fails = async |check: &str| {
        let error = operator.fetch().await.expect_err("refused");
        assert_eq!(error.reason(), Some("SOURCE_REFUSED"), "{error}");
        assert_eq!(refused_by_source(&operator), invalid(check));
        assert_eq!(operator.skylark.shelf.asked(), 0, "the handler was never asked");
    };
    operator.behind.bend_ask::<ProvideDataRequest>("ProvideData", move |asked| {
        asked.fetch = Some(Operator::bent::<Fetch>(asked.fetch.as_ref(), swap));
    });
    fails("signature").await;
    // Signed by the operator, in Hopp's name.
    operator.behind.bend_ask::<ProvideDataRequest>("ProvideData", move |asked| {
        asked.fetch = Some(Operator::forged::<Fetch>(asked.fetch.as_ref(), swap));
    });
    fails("key").await;
    // With a certificate to it. The customer's terms name the identity that counts.
    let certificate = operator.own_certificate(operator.hopp.name());
    operator.behind.bend_ask::<ProvideDataRequest>("ProvideData", move |asked| {
        asked.fetch = Some(Operator::forged::<Fetch>(asked.fetch.as_ref(), swap));
        asked.fetch_key = Some(certificate.clone());
    });
    fails("partner_key").await;
    operator.behind.be_honest("ProvideData");
    operator.fetch().await.expect("flows when nobody bends it");
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_is_drawn_and_not_logged_stops_the_source() {
    let operator = Operator::start().await;
    // The operator takes a real fetch for itself: it draws by it, enters nothing, and answers nothing.
    let drawing = Arc::clone(&operator);
    operator.front.lie::<FetchDataResponse, _>("FetchData", move |asked| {
        let operator = Arc::clone(&drawing);
        async move {
            let fetch = asked.read::<countersign_proto::v1::FetchDataRequest>().statement.expect("signed");
            operator.draw(&fetch).await;
            Err(Status::failed_precondition("no such luck"))
        }
    });
    operator.front.refuse("ClaimReceipt");
    assert!(matches!(operator.fetch().await, Err(Error::Refused(_))));
    assert_eq!(operator.skylark.partner.book().receipts_owed(), 1);
    assert_eq!(operator.world.count(Kind::Transfer).await, 0);

    // Within the minute the source serves on: an honest broker's receipt takes its time too.
    operator.front.be_honest("FetchData");
    operator.world.clock.advance(Duration::from_secs(59));
    operator.fetch().await.expect("flows");
    operator.world.clock.advance(Duration::from_secs(2));
    let error = operator.fetch().await.expect_err("owed for longer than a minute");
    let Error::Refused(refused) = &error else { panic!("{error}") };
    assert_eq!(refused.metadata.get("source_reason").map(String::as_str), Some("RECEIPT_MISSING"), "{error}");
    let said = operator.behind.last_refusal("ProvideData").expect("refused");
    assert!(said.message().contains("it serves this grant again when the broker shows"), "{said}");
    assert_eq!(operator.skylark.shelf.asked(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn data_without_proof_is_an_error() {
    let operator = Operator::start().await;
    let lies = |bend: fn(&mut FetchDataResponse)| operator.front.bend("FetchData", bend);
    let fails = async |expected: &str| {
        let error = operator.fetch().await.expect_err("refused");
        assert_eq!(blamed(&error), expected);
    };
    lies(|answer| answer.receipt = None);
    fails("the broker: receipt: present").await;
    lies(|answer| answer.receipt.as_mut().expect("there is one").checkpoint = Bytes::new());
    fails("the broker: checkpoint: signature").await;
    // A tree of the operator's own, under a key that is not the log's.
    lies(|answer| {
        let receipt = answer.receipt.as_mut().expect("there is one");
        let root = countersign_tlog::hash::leaf_hash(&receipt.record);
        let own = SignedCheckpoint::sign(&signer(9), 1, root).expect("signs");
        (receipt.index, receipt.path, receipt.checkpoint) = (0, vec![], own.as_bytes().clone());
    });
    fails("the broker: checkpoint: signature").await;

    // Data before its record: what the broker draws for itself has none yet.
    let drawing = Arc::clone(&operator);
    operator.front.lie("FetchData", move |asked| {
        let operator = Arc::clone(&drawing);
        async move {
            let fetch = asked.read::<countersign_proto::v1::FetchDataRequest>().statement.expect("signed");
            let provided = operator.draw(&fetch).await;
            let key =
                countersign_broker::rows::partner_key(operator.skylark.name(), operator.skylark.working.id());
            let key = operator.world.broker.load(key).await.expect("reads").expect("published").row;
            Ok(FetchDataResponse {
                sealed_fields: provided.sealed_fields,
                provision: provided.provision,
                source_key: key.statement,
                receipt: None,
            })
        }
    });
    fails("the broker: receipt: present").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proof_of_another_leaf_is_refused() {
    let operator = Operator::start().await;
    let fetch = bare_fetch(&operator).await;
    let earlier = operator.send(&fetch).await.expect("flows").receipt.expect("there is one");
    // The receipt of an earlier transfer of the same fields.
    operator
        .front
        .bend::<FetchDataResponse>("FetchData", move |answer| answer.receipt = Some(earlier.clone()));
    assert_eq!(blamed(&operator.fetch().await.expect_err("refused")), "the broker: receipt: evidence");
    // The right record, with the path or the index of another.
    let bends: [fn(&mut Receipt); 3] = [
        |receipt| receipt.index -= 1,
        |receipt| receipt.path.swap(0, 1),
        |receipt| {
            let mut record = Record::decode(receipt.record.clone()).expect("a record");
            record.use_number += 1;
            receipt.record = record.encode_to_vec().into();
        },
    ];
    for bend in bends {
        operator.front.bend::<FetchDataResponse>("FetchData", move |answer| {
            bend(answer.receipt.as_mut().expect("there is one"));
        });
        assert_eq!(blamed(&operator.fetch().await.expect_err("refused")), "the broker: receipt: inclusion");
    }
}

/// What a lie says, and the check that finds it.
type Says = (&'static str, fn(&mut Record, &Receipt));

#[tokio::test(flavor = "multi_thread")]
async fn a_leaf_that_says_something_else_is_refused() {
    /// Commits as the record's own salt would, to something else.
    fn salt(bytes: &Bytes) -> [u8; 32] {
        bytes.as_ref().try_into().expect("a salt")
    }
    let lies: [Says; 9] = [
        ("kind", |record, _| record.set_kind(Kind::TransferRefused)),
        ("source", |record, _| record.source = "partners/chirp".to_owned()),
        ("recipient", |record, _| record.recipient = "partners/chirp".to_owned()),
        ("purpose", |record, _| record.purpose = "ride_updates".to_owned()),
        ("grant_tag", |record, _| record.grant_tag = vec![5; 32].into()),
        ("result", |record, _| record.set_result(Went::Refused)),
        ("use_number", |record, _| record.use_number = 13),
        ("fields", |record, receipt| {
            let fewer = [FieldPath::parse(TRIP[0]).expect("a field")];
            record.fields_commitment = commitment::fields(&salt(&receipt.fields_salt), &fewer).into();
        }),
        ("evidence", |record, receipt| {
            let other = [Digest::of(b"terms"), Digest::of(b"fetch"), Digest::of(b"provision")];
            record.evidence_commitment = commitment::evidence(&salt(&receipt.evidence_salt), &other).into();
        }),
    ];
    let operator = Operator::start().await;
    for (check, lie) in lies {
        // The log's key is the operator's: every lie stands in the log, with a good proof.
        let ledger = operator.world.broker.ledger().clone();
        operator.front.lie("FetchData", move |asked| {
            let ledger = ledger.clone();
            async move {
                let mut answer: FetchDataResponse = asked.honest().await?;
                let honest = answer.receipt.take().expect("there is one");
                let mut record = Record::decode(honest.record.clone()).expect("a record");
                lie(&mut record, &honest);
                let Receipt { fields_salt, evidence_salt, .. } = honest;
                answer.receipt =
                    Some(Receipt { fields_salt, evidence_salt, ..append(&ledger, record).await });
                Ok(answer)
            }
        });
        let error = operator.fetch().await.expect_err("refused");
        assert_eq!(blamed(&error), format!("the broker: receipt: {check}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_or_forged_signature_of_the_source_is_refused() {
    let operator = Operator::start().await;
    let skylark = operator.skylark.name().clone();
    let fails = async |check: &str| {
        let error = operator.fetch().await.expect_err("refused");
        assert_eq!(blamed(&error), format!("{skylark}: provision: {check}"));
    };
    operator.front.bend::<FetchDataResponse>("FetchData", |answer| answer.provision = None);
    fails("present").await;
    operator.front.bend::<FetchDataResponse>("FetchData", |answer| {
        answer.provision.as_mut().expect("there is one").signatures.clear();
    });
    fails("signature_count").await;
    operator.front.bend::<FetchDataResponse>("FetchData", |answer| {
        answer.provision = Some(Operator::forged::<Provision>(answer.provision.as_ref(), |_| {}));
    });
    fails("key").await;
    // With a certificate for that key: the customer's terms name Skylark's identity, and it is not that.
    let certificate = operator.own_certificate(&skylark);
    operator.front.bend::<FetchDataResponse>("FetchData", move |answer| {
        answer.provision = Some(Operator::forged::<Provision>(answer.provision.as_ref(), |_| {}));
        answer.source_key = Some(certificate.clone());
    });
    fails("partner_key").await;
    // Other values than Skylark signed.
    operator.front.bend::<FetchDataResponse>("FetchData", |answer| {
        let mut fields = answer.sealed_fields.to_vec();
        *fields.last_mut().expect("bytes") ^= 1;
        answer.sealed_fields = fields.into();
    });
    fails("sealed").await;
    // What Skylark signed for another fetch.
    operator.front.be_honest("FetchData");
    let earlier = operator.send(&bare_fetch(&operator).await).await.expect("flows").provision;
    operator
        .front
        .bend::<FetchDataResponse>("FetchData", move |answer| answer.provision.clone_from(&earlier));
    fails("fetch").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replayed_fetch_reads_nothing_new() {
    let operator = Operator::start().await;
    let fetch = bare_fetch(&operator).await;
    let signed = operator.signed(&fetch);
    let first = operator.draw(&signed).await;
    operator.skylark.shelf.put("trip.airport", "SFO");
    // The operator asks again with the same fetch: the very bytes that it has, and no second look at the data.
    operator.world.clock.advance(Duration::from_secs(50));
    let again = operator.draw(&signed).await;
    assert_eq!((first.sealed_fields, first.provision), (again.sealed_fields, again.provision));
    assert_eq!(operator.skylark.shelf.asked(), 1);
    let spent = || operator.skylark.partner.book().grant(&operator.grant).expect("stands").spent().uses;
    assert_eq!(spent(), 1);
    operator.world.clock.advance(Duration::from_secs(71));
    let stale = operator.provide(operator.papers(&operator.grant, &signed).await).await;
    assert_eq!(reason_of(stale), invalid("time_ms"));

    // Other bytes under its request id can't be had from it either: they are not signed.
    let other = Operator::bent::<Fetch>(Some(&signed), |fetch| fetch.time_ms += 121_000);
    let bent = operator.provide(operator.papers(&operator.grant, &other).await).await;
    assert_eq!(reason_of(bent), invalid("signature"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_counts_for_itself_whatever_the_broker_counts() {
    let operator = Operator::start().await;
    operator.front.refuse("ClaimReceipt");
    // Recipient and operator as one hand: each fetch is signed, and the broker counts none of them.
    for _ in 0..12 {
        operator.draw(&operator.signed(&bare_fetch(&operator).await)).await;
    }
    let fetch = operator.signed(&bare_fetch(&operator).await);
    let refused = reason_of(operator.provide(operator.papers(&operator.grant, &fetch).await).await);
    assert_eq!((refused.code, refused.reason.as_str()), (Code::ResourceExhausted, "FREQUENCY_EXCEEDED"));
    assert_eq!(operator.skylark.shelf.asked(), 12);
    assert_eq!(operator.world.count(Kind::Transfer).await, 0, "by the broker's count none was spent");
}
