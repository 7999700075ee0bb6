//! Statements as parties make them, for tests to spoil.

use std::sync::LazyLock;

use bytes::Bytes;
use countersign_proto::statement::v1 as wire;

use crate::{
    catalogue::Catalogue,
    envelope::{self, Signed},
    id::Origin,
    key::SigningKey,
    statement::{Fetch, GrantTerms, Offer, Statement},
};

/// When everything here is signed.
pub(crate) const NOW_MS: u64 = 1_790_000_000_000;

pub(crate) fn origin() -> Origin {
    Origin::parse("broker.test/log").expect("an origin")
}

pub(crate) fn key(secret: u8) -> SigningKey {
    SigningKey::from_secret(&[secret; 32])
}

fn identity(secret: u8) -> Bytes {
    Bytes::copy_from_slice(key(secret).public().as_bytes())
}

pub(crate) fn signed<S: Statement>(message: &S::Message) -> Signed<S> {
    let signer = key(1);
    let envelope = envelope::sign::<S>(message, &[&signer]);
    envelope::verify::<S>(Some(&envelope), &[signer.public()], &origin()).expect("verifies")
}

fn shipped_version() -> Bytes {
    static VERSION: LazyLock<Bytes> = LazyLock::new(|| Catalogue::shipped().version().into());
    VERSION.clone()
}

pub(crate) fn offer() -> wire::Offer {
    wire::Offer {
        broker: "broker.test/log".into(),
        recipient: "partners/hopp".into(),
        recipient_identity: identity(11),
        source: "partners/skylark".into(),
        purpose: "pickup_planning".into(),
        required_fields: vec!["trip.flight_no".into(), "trip.airport".into()],
        optional_fields: vec!["trip.eta".into()],
        duration_seconds: 3600,
        uses: 12,
        rate: Some(wire::Rate { uses: 3, window_seconds: 60 }),
        retention_seconds: 86_400,
        texts: vec![wire::OfferText {
            language: "en".into(),
            reason: "To have a car there.".into(),
            benefit: "Your driver waits.".into(),
            ends: "landing + 24 h".into(),
        }],
        benefit_kind: wire::BenefitKind::SpecialService.into(),
        contact_phone: "+1 212 555 0100".into(),
        law: "Consent".into(),
        controller: "Hopp Rides Inc.".into(),
        complaint_body: "The authority".into(),
        catalogue_version: shipped_version(),
        time_ms: NOW_MS,
        checkpoint: Bytes::from_static(b"a checkpoint"),
    }
}

pub(crate) fn terms() -> wire::GrantTerms {
    let offer_digest = signed::<Offer>(&offer()).digest();
    wire::GrantTerms {
        broker: "broker.test/log".into(),
        source: "partners/skylark".into(),
        source_identity: identity(10),
        recipient: "partners/hopp".into(),
        recipient_identity: identity(11),
        source_commitment: Bytes::from_static(&[1; 32]),
        recipient_commitment: Bytes::from_static(&[2; 32]),
        request: Bytes::from_static(&[3; 32]),
        offer: offer_digest.into(),
        catalogue_version: shipped_version(),
        language: "en".into(),
        purpose: "pickup_planning".into(),
        fields: vec!["trip.flight_no".into(), "trip.airport".into()],
        uses: 12,
        rate: Some(wire::Rate { uses: 3, window_seconds: 60 }),
        retention_seconds: 86_400,
        expire_time_ms: NOW_MS + 3_600_000,
        log_tag: Bytes::from_static(&[4; 32]),
        time_ms: NOW_MS,
        previous: Bytes::new(),
    }
}

pub(crate) fn fetch() -> wire::Fetch {
    wire::Fetch {
        broker: "broker.test/log".into(),
        recipient: "partners/hopp".into(),
        terms: signed::<GrantTerms>(&terms()).digest().into(),
        purpose: "pickup_planning".into(),
        fields: vec!["trip.airport".into()],
        request_id: "00000000-0000-4000-8000-000000000000".into(),
        time_ms: NOW_MS,
        sealing_key: Bytes::from_static(&[5; 32]),
        checkpoint: Bytes::from_static(b"a checkpoint"),
        ..wire::Fetch::default()
    }
}

pub(crate) fn signed_fetch(message: &wire::Fetch) -> Signed<Fetch> {
    signed::<Fetch>(message)
}
