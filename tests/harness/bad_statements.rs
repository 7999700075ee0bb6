//! Statements that don't hold: each gets its reason and the check that failed, and changes nothing.

use std::time::Duration;

use bytes::Bytes;
use countersign_grants::{
    key::SigningKey,
    statement::{Acknowledgement, ErasureAttestation, Fetch, Offer},
    time::Clock as _,
};
use countersign_proto::{
    log::v1::Kind,
    statement::v1 as wire,
    v1::{AcknowledgeGrantRequest, AttestErasureRequest, GetCheckpointRequest, PublishOfferRequest},
};
use countersign_tlog::{Hash, KeyName, SignedCheckpoint, SignerKey};
use prost::Message as _;
use tonic::Code;

use crate::world::{Granted, ORIGIN, Said, bare_fetch, reason_of, sign_as};

fn refused(code: Code, reason: &str, check: &str) -> Said {
    Said { code, reason: reason.to_owned(), check: check.to_owned() }
}

fn invalid(check: &str) -> Said {
    refused(Code::InvalidArgument, "STATEMENT_INVALID", check)
}

/// Nothing was asked of the source, and no transfer stands in the log.
async fn nothing_moved(granted: &Granted) {
    assert_eq!(granted.skylark.shelf.asked(), 0);
    assert_eq!(granted.world.count(Kind::Transfer).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_must_be_exactly_what_was_signed() {
    let granted = Granted::start().await;
    let fetch = bare_fetch(&granted).await;
    let good = sign_as::<Fetch>(&granted.hopp.working, &fetch);

    let mut flipped = good.clone();
    let mut payload = flipped.payload.to_vec();
    *payload.last_mut().expect("bytes") ^= 1;
    flipped.payload = payload.into();
    assert_eq!(reason_of(granted.send_envelope(flipped).await), invalid("signature"));

    let mut wrong_type = good.clone();
    wrong_type.payload_type = "application/vnd.countersign.fetch.v2+protobuf".to_owned();
    assert_eq!(reason_of(granted.send_envelope(wrong_type).await), invalid("payload_type"));

    let mut unsigned = good.clone();
    unsigned.signatures.clear();
    assert_eq!(granted.send_envelope(unsigned).await.expect_err("refused").code(), Code::InvalidArgument);

    let mut many = good.clone();
    many.signatures = vec![good.signatures[0].clone(); 5];
    assert_eq!(reason_of(granted.send_envelope(many).await), invalid("signature_count"));

    // An unknown signature beside a good one is ignored.
    let mut extra = good.clone();
    extra.signatures.insert(
        0,
        wire::Signature {
            key_id: SigningKey::from_secret(&[77; 32]).id().to_string(),
            signature: vec![0; 64].into(),
        },
    );
    granted.send_envelope(extra).await.expect("released");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_is_of_its_signer_its_broker_and_its_time() {
    let granted = Granted::start().await;
    let good = bare_fetch(&granted).await;

    let stranger = SigningKey::from_secret(&[66; 32]);
    let answer = granted.send_envelope(sign_as::<Fetch>(&stranger, &good)).await;
    assert_eq!(reason_of(answer), invalid("key"));
    let answer = granted.send_envelope(sign_as::<Fetch>(&granted.skylark.working, &good)).await;
    assert_eq!(reason_of(answer), invalid("key"));
    let answer = granted.send_envelope(sign_as::<Fetch>(&granted.hopp.identity, &good)).await;
    assert_eq!(reason_of(answer), invalid("key"), "an identity key signs keys alone");

    let elsewhere = wire::Fetch { broker: "other.test/log".into(), ..good.clone() };
    assert_eq!(reason_of(granted.send(&elsewhere).await), invalid("broker"));

    let stale = wire::Fetch { time_ms: good.time_ms - 121_000, ..good.clone() };
    assert_eq!(reason_of(granted.send(&stale).await), invalid("time"));
    let future = wire::Fetch { time_ms: good.time_ms + 121_000, ..good.clone() };
    assert_eq!(reason_of(granted.send(&future).await), invalid("time"));

    let other = wire::Fetch { recipient: granted.skylark.name().to_string(), ..good };
    assert_eq!(reason_of(granted.send(&other).await), invalid("recipient"));
    nothing_moved(&granted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_hides_nothing_and_has_every_field() {
    let granted = Granted::start().await;
    let good = bare_fetch(&granted).await;
    let key = &granted.hopp.working;

    // A field that nobody knows, signed along: parsers would drop it.
    let mut hidden = good.encode_to_vec();
    hidden.extend_from_slice(&[0xf8, 0x07, 0x01]);
    let pae = countersign_grants::envelope::pre_authentication_encoding(
        "application/vnd.countersign.fetch.v1+protobuf",
        &hidden,
    );
    let envelope = wire::Envelope {
        payload_type: "application/vnd.countersign.fetch.v1+protobuf".into(),
        payload: hidden.into(),
        signatures: vec![wire::Signature {
            key_id: key.id().to_string(),
            signature: key.sign(&pae).to_vec().into(),
        }],
    };
    assert_eq!(reason_of(granted.send_envelope(envelope).await), invalid("canonical"));

    for (spoilt, check) in [
        (wire::Fetch { request_id: "again".into(), ..good.clone() }, "request_id"),
        (wire::Fetch { sealing_key: vec![1; 31].into(), ..good.clone() }, "sealing_key"),
        (wire::Fetch { terms: vec![1; 31].into(), ..good.clone() }, "terms"),
        (wire::Fetch { checkpoint: vec![].into(), ..good.clone() }, "checkpoint"),
        (wire::Fetch { time_ms: 0, ..good.clone() }, "time_ms"),
        (wire::Fetch { fields: vec![], ..good.clone() }, "fields"),
        (
            wire::Fetch { fields: vec!["trip.airport".into(), "trip.airport".into()], ..good.clone() },
            "fields",
        ),
        (wire::Fetch { fields: vec!["no field".into()], ..good.clone() }, "fields"),
        (wire::Fetch { recipient: "partners/Hopp".into(), ..good.clone() }, "recipient"),
    ] {
        assert_eq!(reason_of(granted.send(&spoilt).await), invalid(check));
    }
    nothing_moved(&granted).await;
}

/// A recipient whose own word would stand for good, and could be verified by nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_statement_names_a_head_that_the_log_has_signed() {
    let granted = Granted::start().await;
    granted.mei.stop(&granted.grant, true).await.expect("recorded");
    let order = granted.mei.book().grant(&granted.grant).expect("stands").last;
    let (hopp, key) = (granted.hopp.partner.connection(), &granted.hopp.working);
    let name = KeyName::parse(ORIGIN).expect("a name");
    let forged = SignedCheckpoint::sign(&SignerKey::from_seed(name, &[99; 32]), 1, Hash::EMPTY_ROOT);
    let forged = forged.expect("a head of nothing").as_bytes().clone();
    let published = hopp.audit().get_checkpoint(GetCheckpointRequest {}).await.expect("answers");
    let published = published.into_inner().checkpoint;
    // Nor one that was bent, for all that its signature was made by the log.
    let bent = Bytes::from(String::from_utf8_lossy(&published).replacen('\n', "\n1", 1));

    let (partner, time_ms) = (granted.hopp.name().to_string(), granted.world.clock.now().as_millis());
    let offer = granted.hopp.offer_trip(&granted.skylark, 5).await;
    let offer = granted.world.broker.offer(&offer).await.expect("reads").expect("published").signed;
    let offer = wire::Offer::decode(offer.envelope().payload.clone()).expect("an offer");
    for checkpoint in [Bytes::from_static(b"junk"), forged, bent] {
        let attestation = wire::ErasureAttestation {
            broker: ORIGIN.to_owned(),
            partner: partner.clone(),
            terms: granted.grant.digest().into(),
            change: order.into(),
            time_ms,
            checkpoint: checkpoint.clone(),
        };
        let statement = Some(sign_as::<ErasureAttestation>(key, &attestation));
        let attest = AttestErasureRequest { name: granted.grant.to_string(), statement };
        assert_eq!(reason_of(hopp.grants().attest_erasure(attest).await), invalid("checkpoint"));
        let word = wire::Acknowledgement {
            broker: ORIGIN.to_owned(),
            partner: partner.clone(),
            statement: order.into(),
            time_ms,
            checkpoint: checkpoint.clone(),
        };
        let statement = Some(sign_as::<Acknowledgement>(key, &word));
        let acknowledge = AcknowledgeGrantRequest { name: granted.grant.to_string(), statement };
        assert_eq!(reason_of(hopp.grants().acknowledge_grant(acknowledge).await), invalid("checkpoint"));
        let offer = wire::Offer { checkpoint: checkpoint.clone(), ..offer.clone() };
        let publish = PublishOfferRequest { statement: Some(sign_as::<Offer>(key, &offer)) };
        assert_eq!(reason_of(hopp.offers().publish_offer(publish).await), invalid("checkpoint"));
        let fetch = wire::Fetch { checkpoint, ..bare_fetch(&granted).await };
        assert_eq!(reason_of(granted.send(&fetch).await), invalid("checkpoint"));
    }
    // So nothing is in the way of her list, nor of the recipient's true word.
    granted.mei.grants().await.expect("lists");
    granted.hopp.partner.attest_erasure(&granted.grant).await.expect("recorded");
    granted.mei.grants().await.expect("lists");
    assert_eq!(granted.world.count(Kind::ErasureAttested).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_asks_for_no_more_than_was_granted() {
    let granted = Granted::start().await;
    let good = bare_fetch(&granted).await;
    let denied = |reason, field| refused(Code::PermissionDenied, reason, field);

    // In no catalogue, in the catalogue and not for this purpose, in the offer and not chosen.
    for field in ["trip.fare", "ride.eta", "trip.eta"] {
        let more = wire::Fetch { fields: vec![field.into()], ..good.clone() };
        assert_eq!(reason_of(granted.send(&more).await), denied("FIELD_NOT_GRANTED", field));
    }
    for purpose in ["ride_updates", "advertising"] {
        let other = wire::Fetch { purpose: purpose.into(), ..good.clone() };
        assert_eq!(reason_of(granted.send(&other).await).reason, "PURPOSE_NOT_ALLOWED");
    }
    nothing_moved(&granted).await;
    // Each is a record, which the customer sees.
    assert_eq!(granted.world.count(Kind::TransferRefused).await, 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_and_foreign_grants_answer_alike() {
    let granted = Granted::start().await;
    let chirp = granted.world.brand("chirp").await;
    let before = granted.world.records().await.len();
    let good = bare_fetch(&granted).await;

    let unknown = wire::Fetch { terms: vec![5; 32].into(), ..good.clone() };
    let unknown = granted.send(&unknown).await.expect_err("refused");

    let foreign = wire::Fetch { recipient: chirp.name().to_string(), ..good };
    let statement = Some(sign_as::<Fetch>(&chirp.working, &foreign));
    let request = countersign_proto::v1::FetchDataRequest { statement };
    let foreign = chirp.partner.connection().transfers().fetch_data(request).await.expect_err("refused");

    assert_eq!((unknown.code(), unknown.message()), (foreign.code(), foreign.message()));
    assert_eq!(unknown.details(), foreign.details());
    assert_eq!(reason_of::<()>(Err(foreign)), refused(Code::NotFound, "GRANT_UNKNOWN", ""));
    assert_eq!(granted.world.records().await.len(), before, "no probe leaves a record");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_is_of_one_fetch_and_a_repeat_spends_nothing() {
    let granted = Granted::start().await;
    let fetch = bare_fetch(&granted).await;
    let first = granted.send(&fetch).await.expect("released");
    let again = granted.send(&fetch).await.expect("released again");
    assert_eq!(first.sealed_fields, again.sealed_fields, "the same sealed bytes");
    assert_eq!(first.provision, again.provision);
    assert_eq!(granted.skylark.shelf.asked(), 1, "the handler was asked once");

    let records = granted.world.records().await;
    let transfers: Vec<_> = records.iter().filter(|record| record.kind() == Kind::Transfer).collect();
    let said: Vec<_> =
        transfers.iter().map(|record| (record.result().as_str_name(), record.use_number)).collect();
    assert_eq!(said, [("RESULT_RELEASED", 1), ("RESULT_REPEATED", 1)]);

    let other = wire::Fetch { fields: vec!["trip.airport".into()], ..fetch.clone() };
    let answer = granted.send(&other).await;
    assert_eq!(reason_of(answer), refused(Code::InvalidArgument, "REQUEST_ID_REUSED", ""));

    granted.world.clock.advance(Duration::from_secs(121));
    let answer = granted.send(&fetch).await;
    assert_eq!(reason_of(answer), refused(Code::InvalidArgument, "REQUEST_ID_REUSED", ""));
    assert_eq!(granted.world.count(Kind::Transfer).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_have_a_size() {
    let granted = Granted::start().await;
    let mut large = sign_as::<Fetch>(&granted.hopp.working, &bare_fetch(&granted).await);
    large.payload = vec![0; 17 * 1024].into();
    assert_eq!(reason_of(granted.send_envelope(large.clone()).await), invalid("size"));
    large.payload = vec![0; 300 * 1024].into();
    let status = granted.send_envelope(large).await.expect_err("refused");
    assert!(matches!(status.code(), Code::OutOfRange | Code::ResourceExhausted), "{status:?}");
    nothing_moved(&granted).await;
}
