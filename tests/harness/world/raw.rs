//! Calls by hand, for what the SDK would never send.

use std::sync::Arc;

use bytes::Bytes;
use countersign_client::{Connection, customer::Wallet};
use countersign_grants::{
    digest::Digest,
    envelope,
    id::{Principal, RequestName},
    key::SigningKey,
    statement::{Fetch, GrantChange, GrantTerms, Offer, Statement, party_commitment},
    time::Clock as _,
};
use countersign_proto::{
    statement::v1::{self as wire, Envelope},
    v1,
};
use prost::Message as _;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::{Granted, MEI, PICKUP, TRIP};

/// Code and reason of a refusal, and what its metadata names.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) code: Code,
    pub(crate) reason: String,
    pub(crate) check: String,
}

/// What a refusal says to a machine.
pub(crate) fn reason_of<T: std::fmt::Debug>(answer: Result<T, Status>) -> Said {
    let status = answer.expect_err("a refusal");
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("no reason: {status:?}"));
    assert_eq!(info.domain, "countersign");
    let named = ["check", "field", "quota", "grant"].iter().find_map(|key| info.metadata.get(*key));
    Said { code: status.code(), reason: info.reason, check: named.cloned().unwrap_or_default() }
}

/// Signs any message under any key.
pub(crate) fn sign_as<S: Statement>(key: &SigningKey, message: &S::Message) -> Envelope {
    envelope::sign::<S>(message, &[key])
}

/// A fetch of row 1 as the SDK would make it, for a test to spoil.
pub(crate) async fn bare_fetch(granted: &Granted) -> wire::Fetch {
    let checkpoint =
        granted.hopp.partner.connection().audit().get_checkpoint(v1::GetCheckpointRequest {}).await;
    wire::Fetch {
        broker: super::ORIGIN.to_owned(),
        recipient: granted.hopp.name().to_string(),
        terms: Bytes::copy_from_slice(granted.grant.digest().as_bytes()),
        purpose: PICKUP.to_owned(),
        fields: TRIP.map(str::to_owned).to_vec(),
        request_id: granted.world.system().draw_uuid(),
        time_ms: granted.world.clock.now().as_millis(),
        sealing_key: Bytes::from_static(&[9; 32]),
        checkpoint: checkpoint.expect("answers").into_inner().checkpoint,
        ..wire::Fetch::default()
    }
}

/// Calls as Mei, without her SDK.
pub(crate) fn own_connection(granted: &Granted) -> Connection {
    connection_of(granted, &Wallet::from_secret(&MEI))
}

/// The same for whoever has this wallet.
pub(crate) fn connection_of(granted: &Granted, wallet: &Wallet) -> Connection {
    let principal = Principal::Customer(wallet.customer().clone());
    let clock = Arc::new(granted.world.clock.clone());
    Connection::open(&granted.world.trust, principal, wallet.call_key(), clock).expect("an address")
}

/// An approval of this request's one row as Mei's SDK would make it, for a test to spoil.
pub(crate) fn own_approval(
    granted: &Granted,
    request: &RequestName,
    offer: &Offer,
    offer_digest: Digest,
) -> v1::ApproveGrantRequestRequest {
    let wallet = Wallet::from_secret(&MEI);
    let link = |partner| granted.mei.book().link_with(partner).expect("linked");
    let (source, recipient) = (link(&offer.source), link(&offer.recipient));
    let (source_salt, recipient_salt) = ([1; 32], [2; 32]);
    let now = granted.world.clock.now();
    let terms = wire::GrantTerms {
        broker: super::ORIGIN.to_owned(),
        source: offer.source.to_string(),
        source_identity: source.identity.as_bytes().to_vec().into(),
        recipient: offer.recipient.to_string(),
        recipient_identity: recipient.identity.as_bytes().to_vec().into(),
        source_commitment: party_commitment(&source_salt, source.acceptance).into(),
        recipient_commitment: party_commitment(&recipient_salt, recipient.acceptance).into(),
        request: request.digest().into(),
        offer: offer_digest.into(),
        catalogue_version: offer.catalogue_version.into(),
        language: "en".to_owned(),
        purpose: offer.purpose.to_string(),
        fields: offer.required_fields.iter().map(ToString::to_string).collect(),
        uses: offer.uses,
        rate: offer.rate.map(|(uses, window)| wire::Rate { uses, window_seconds: window.as_secs() }),
        retention_seconds: offer.retention.as_secs(),
        expire_time_ms: now.plus(offer.duration).as_millis(),
        log_tag: granted.world.system().draw::<32>().to_vec().into(),
        time_ms: now.as_millis(),
        previous: Bytes::new(),
    };
    let signed = |link: &countersign_client::customer::LinkRow| {
        Some(sign_as::<GrantTerms>(&wallet.link_key(link.name.digest()), &terms))
    };
    v1::ApproveGrantRequestRequest {
        name: request.to_string(),
        rows: vec![v1::approve_grant_request_request::ApprovedRow {
            source_link: source.name.to_string(),
            recipient_link: recipient.name.to_string(),
            source_terms: signed(&source),
            recipient_terms: signed(&recipient),
            source_salt: source_salt.to_vec().into(),
            recipient_salt: recipient_salt.to_vec().into(),
        }],
    }
}

/// Bends the terms of an approved row, and signs them again as Mei's SDK would.
pub(crate) fn sign_again(
    granted: &Granted,
    row: &mut v1::approve_grant_request_request::ApprovedRow,
    bend: impl FnOnce(&mut wire::GrantTerms),
) {
    let terms = row.source_terms.as_ref().expect("there are terms");
    let mut terms = wire::GrantTerms::decode(terms.payload.clone()).expect("terms");
    bend(&mut terms);
    let (source, recipient) = own_keys(granted);
    row.source_terms = Some(sign_as::<GrantTerms>(&source, &terms));
    row.recipient_terms = Some(sign_as::<GrantTerms>(&recipient, &terms));
}

/// Mei's keys of the links to Skylark and to Hopp.
pub(crate) fn own_keys(granted: &Granted) -> (SigningKey, SigningKey) {
    let key = |brand: &super::Brand| {
        let link = granted.mei.book().link_with(brand.name()).expect("linked");
        Wallet::from_secret(&MEI).link_key(link.name.digest())
    };
    (key(&granted.skylark), key(&granted.hopp))
}

/// A change of a grant as Mei's SDK would make it, and what a test spoilt of it.
pub(crate) async fn own_change(
    granted: &Granted,
    grant: &countersign_grants::id::GrantName,
    verb: wire::grant_change::Verb,
    bend: impl FnOnce(&mut wire::GrantChange),
) -> v1::ChangeGrantRequest {
    let row = granted.world.broker.grant(grant).await.expect("reads").expect("stands").read.row;
    let mut change = wire::GrantChange {
        broker: super::ORIGIN.to_owned(),
        terms: grant.digest().into(),
        sequence: row.change_sequence + 1,
        verb: verb.into(),
        erase: false,
        previous: row.change_hash,
        time_ms: granted.world.clock.now().as_millis(),
        successor: Bytes::new(),
    };
    bend(&mut change);
    let (source, recipient) = own_keys(granted);
    v1::ChangeGrantRequest {
        name: grant.to_string(),
        source_change: Some(sign_as::<GrantChange>(&source, &change)),
        recipient_change: Some(sign_as::<GrantChange>(&recipient, &change)),
    }
}

/// A narrowing of the world's grant as Mei's SDK would make it, and what a test spoilt of it.
pub(crate) struct OwnNarrowing {
    pub(crate) terms: wire::GrantTerms,
    pub(crate) change: wire::GrantChange,
}

/// The salts of a narrowing by hand.
const NARROWING_SALTS: [[u8; 32]; 2] = [[3; 32], [4; 32]];

/// Half the uses, in the place of what was approved.
pub(crate) async fn own_narrowing(
    granted: &Granted,
    bend_terms: impl FnOnce(&mut wire::GrantTerms),
    bend_change: impl FnOnce(&mut wire::GrantChange),
) -> OwnNarrowing {
    let asked = v1::GetGrantRequest { name: granted.grant.to_string() };
    let shown = own_connection(granted).grants().get_grant(asked).await.expect("answers").into_inner();
    let old = shown.terms.expect("shown").payload;
    let link = |brand: &super::Brand| granted.mei.book().link_with(brand.name()).expect("linked").acceptance;
    let mut terms = wire::GrantTerms::decode(old).expect("terms");
    terms.uses /= 2;
    terms.previous = granted.grant.digest().into();
    terms.log_tag = granted.world.system().draw::<32>().to_vec().into();
    terms.time_ms = granted.world.clock.now().as_millis().min(terms.expire_time_ms - 1);
    terms.source_commitment = party_commitment(&NARROWING_SALTS[0], link(&granted.skylark)).into();
    terms.recipient_commitment = party_commitment(&NARROWING_SALTS[1], link(&granted.hopp)).into();
    bend_terms(&mut terms);
    let row = granted.world.broker.grant(&granted.grant).await.expect("reads").expect("stands").read.row;
    let mut change = wire::GrantChange {
        broker: super::ORIGIN.to_owned(),
        terms: granted.grant.digest().into(),
        sequence: row.change_sequence + 1,
        verb: wire::grant_change::Verb::Narrow.into(),
        erase: false,
        previous: row.change_hash,
        time_ms: granted.world.clock.now().as_millis(),
        successor: Digest::of(&terms.encode_to_vec()).into(),
    };
    bend_change(&mut change);
    OwnNarrowing { terms, change }
}

impl OwnNarrowing {
    pub(crate) fn request(&self, granted: &Granted) -> v1::NarrowGrantRequest {
        let (source, recipient) = own_keys(granted);
        v1::NarrowGrantRequest {
            name: granted.grant.to_string(),
            source_change: Some(sign_as::<GrantChange>(&source, &self.change)),
            recipient_change: Some(sign_as::<GrantChange>(&recipient, &self.change)),
            source_terms: Some(sign_as::<GrantTerms>(&source, &self.terms)),
            recipient_terms: Some(sign_as::<GrantTerms>(&recipient, &self.terms)),
            source_salt: NARROWING_SALTS[0].to_vec().into(),
            recipient_salt: NARROWING_SALTS[1].to_vec().into(),
        }
    }
}

impl Granted {
    /// Signs this fetch with Hopp's key and sends it as Hopp.
    pub(crate) async fn send(&self, fetch: &wire::Fetch) -> Result<v1::FetchDataResponse, Status> {
        self.send_envelope(sign_as::<Fetch>(&self.hopp.working, fetch)).await
    }

    /// Sends this envelope as Hopp.
    pub(crate) async fn send_envelope(&self, statement: Envelope) -> Result<v1::FetchDataResponse, Status> {
        let request = v1::FetchDataRequest { statement: Some(statement) };
        self.hopp.partner.connection().transfers().fetch_data(request).await.map(tonic::Response::into_inner)
    }
}
