//! A broker over the memory engine, and the people and brands that call it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use countersign_grants::{
    catalogue,
    digest::Digest,
    envelope,
    id::{CustomerName, LinkName, OfferName, OperatorName, PartnerName, Principal, SubjectHandle},
    key::SigningKey,
    statement::{self as says, party_commitment},
    time::{Clock, Entropy, Timestamp},
    token::{Issuer, broker_audience},
};
use countersign_ledger::{KeyName, Ledger, SignerKey};
use countersign_proto::{
    statement::v1 as wire,
    v1::{self, approve_grant_request_request::ApprovedRow},
};
use countersign_store::Store;
use prost::Message as _;
use tonic::{Request, Status};
use tonic_types::StatusExt as _;

use super::paused::Paused;
use crate::{Broker, BrokerParts, Caller, Newcomer, Settings, private::Kek};

pub(super) const ORIGIN: &str = "broker.example/log";
const START: u64 = 1_362_744_000_000;
pub(super) const SALTS: [[u8; 32]; 2] = [[41; 32], [42; 32]];

/// A clock that a test moves.
pub(super) struct Hand(AtomicU64);

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// Never draws the same twice.
struct Counting(AtomicU64);

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        let digest = Digest::of(&self.0.fetch_add(1, Ordering::SeqCst).to_be_bytes());
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = digest.as_bytes()[at % 32];
        }
    }
}

pub(super) struct World {
    pub(super) broker: Arc<Broker>,
    pub(super) store: Arc<Paused>,
    clock: Arc<Hand>,
}

/// A partner with its keys.
pub(super) struct Brand {
    pub(super) name: PartnerName,
    pub(super) identity: SigningKey,
    pub(super) key: SigningKey,
}

impl Brand {
    /// The identity key's word for a working key.
    pub(super) fn certificate(&self, key: &SigningKey, sequence: u64, previous: Bytes) -> wire::Envelope {
        let message = wire::PartnerKey {
            broker: ORIGIN.to_owned(),
            partner: self.name.to_string(),
            public_key: Bytes::copy_from_slice(key.public().as_bytes()),
            sequence,
            not_before_ms: START,
            not_after_ms: START + 365 * 24 * 3_600_000,
            previous,
        };
        envelope::sign::<says::PartnerKey>(&message, &[&self.identity])
    }
}

/// A customer with their key.
pub(super) struct Person {
    pub(super) name: CustomerName,
    pub(super) key: SigningKey,
}

/// A link that stands.
pub(super) struct Linked {
    pub(super) name: LinkName,
    pub(super) subject: SubjectHandle,
    pub(super) key: SigningKey,
    pub(super) acceptance: Digest,
}

impl World {
    pub(super) async fn open() -> Self {
        let clock = Arc::new(Hand(START.into()));
        let name = KeyName::parse(ORIGIN).expect("a key name");
        let ledger_clock = Arc::clone(&clock);
        let now: countersign_ledger::Now = Arc::new(move || ledger_clock.now().as_millis());
        let store = Arc::new(Paused::default());
        let engine = Arc::clone(&store) as Arc<dyn Store>;
        let ledger = Ledger::open(engine, SignerKey::from_seed(name, &[1; 32]), now)
            .await
            .expect("an empty log opens");
        let operator = OperatorName::of_id("root").expect("an id");
        let call_key = SigningKey::from_secret(&[2; 32]);
        let origin = countersign_grants::id::Origin::parse(ORIGIN).expect("an origin");
        let broker = Broker::open(BrokerParts {
            ledger,
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            entropy: Arc::new(Counting(AtomicU64::new(0))),
            issuer: Issuer::new(Principal::Broker(origin), &call_key),
            kek: Kek::new([3; 32]),
            catalogue: Bytes::from_static(catalogue::SHIPPED),
            older_catalogues: Vec::new(),
            operators: vec![(operator, SigningKey::from_secret(&[4; 32]).public().clone())],
            // Tests sweep by hand.
            settings: Settings { sweep_interval: Duration::from_secs(24 * 3600), ..Settings::default() },
        })
        .await
        .expect("a broker opens");
        Self { broker, store, clock }
    }

    pub(super) fn now(&self) -> u64 {
        self.clock.now().as_millis()
    }

    pub(super) fn pass(&self, millis: u64) {
        self.clock.0.fetch_add(millis, Ordering::SeqCst);
    }

    pub(super) fn checkpoint(&self) -> Bytes {
        self.broker.ledger().published().as_bytes().clone()
    }

    /// Enters a partner and publishes its first key.
    pub(super) async fn brand(&self, id: &str, seed: u8) -> Brand {
        use v1::partner_service_server::PartnerService as _;
        let brand = Brand {
            name: PartnerName::of_id(id).expect("an id"),
            identity: SigningKey::from_secret(&[seed; 32]),
            key: SigningKey::from_secret(&[seed + 1; 32]),
        };
        let service = super::super::partner::Partners(Arc::clone(&self.broker));
        let partner = v1::Partner {
            display_name: id.to_owned(),
            identity_key: Bytes::copy_from_slice(brand.identity.public().as_bytes()),
            contact_phone: "+1 212 555 0100".to_owned(),
            ..v1::Partner::default()
        };
        let create = v1::CreatePartnerRequest {
            partner_id: id.to_owned(),
            partner: Some(partner),
            request_id: String::new(),
        };
        service.create_partner(as_operator(create)).await.expect("a partner is entered");
        let statement = Some(brand.certificate(&brand.key, 1, Bytes::new()));
        let publish = v1::PublishPartnerKeyRequest { parent: brand.name.to_string(), statement };
        service.publish_partner_key(as_operator(publish)).await.expect("a key is published");
        let name = brand.name.to_string();
        let vet = v1::VetPartnerRequest { name: name.clone() };
        service.vet_partner(as_operator(vet)).await.expect("one vets it");
        let approve = v1::ApprovePartnerRequest { name };
        service.approve_partner(as_second(approve)).await.expect("another lets it in");
        brand
    }

    /// Enters a customer by their own token.
    pub(super) async fn person(&self, seed: u8) -> Person {
        let key = SigningKey::from_secret(&[seed; 32]);
        let name = CustomerName::of(key.id());
        let created = self.enter(&key).await.expect("a customer is entered");
        assert_eq!(created.name, name.as_str());
        Person { name, key }
    }

    /// Enters whoever has this key.
    pub(super) async fn enter(&self, key: &SigningKey) -> Result<v1::Customer, Status> {
        use v1::customer_service_server::CustomerService as _;
        let name = CustomerName::of(key.id());
        let token = Issuer::new(Principal::Customer(name), key)
            .issue(&broker_audience(self.broker.origin()), self.clock.now());
        let customer = v1::Customer {
            public_key: Bytes::copy_from_slice(key.public().as_bytes()),
            ..v1::Customer::default()
        };
        let mut request = Request::new(v1::CreateCustomerRequest { customer: Some(customer) });
        request.extensions_mut().insert(Newcomer(token));
        let service = super::super::customer::Customers(Arc::clone(&self.broker));
        service.create_customer(request).await.map(tonic::Response::into_inner)
    }

    pub(super) fn offer_statement(&self, source: &Brand, recipient: &Brand) -> wire::Offer {
        wire::Offer {
            broker: ORIGIN.to_owned(),
            recipient: recipient.name.to_string(),
            recipient_identity: Bytes::copy_from_slice(recipient.identity.public().as_bytes()),
            source: source.name.to_string(),
            purpose: "pickup_planning".to_owned(),
            required_fields: vec!["trip.flight_no".to_owned(), "trip.eta".to_owned()],
            optional_fields: vec!["trip.terminal".to_owned()],
            duration_seconds: 86_400,
            uses: 12,
            rate: Some(wire::Rate { uses: 12, window_seconds: 60 }),
            retention_seconds: 86_400,
            texts: vec![wire::OfferText {
                language: "en".to_owned(),
                reason: "To meet you when you land.".to_owned(),
                benefit: "Your driver waits 45 minutes, free.".to_owned(),
                ends: "landing + 24 h".to_owned(),
            }],
            benefit_kind: wire::BenefitKind::Timely.into(),
            contact_phone: "+1 212 555 0100".to_owned(),
            law: "Consent".to_owned(),
            controller: "Hopp Rides Inc.".to_owned(),
            complaint_body: "The state's consumer office".to_owned(),
            catalogue_version: Bytes::from(self.broker.catalogues().current().version()),
            time_ms: self.now(),
            checkpoint: self.checkpoint(),
        }
    }

    pub(super) async fn publish(&self, recipient: &Brand, offer: &wire::Offer) -> Result<OfferName, Status> {
        use v1::offer_service_server::OfferService as _;
        let statement = envelope::sign::<says::Offer>(offer, &[&recipient.key]);
        let service = super::super::offer::Offers(Arc::clone(&self.broker));
        let request = v1::PublishOfferRequest { statement: Some(statement) };
        let offer = service.publish_offer(as_brand(recipient, request)).await?.into_inner();
        Ok(OfferName::parse(&offer.name).expect("a name"))
    }

    pub(super) async fn invite(&self, brand: &Brand, seed: u8) -> (LinkName, SubjectHandle) {
        self.invite_to(brand, seed, Bytes::new()).await
    }

    /// An invitation to link anew, in the place of this link.
    pub(super) async fn invite_anew(
        &self,
        brand: &Brand,
        seed: u8,
        old: &Linked,
    ) -> (LinkName, SubjectHandle) {
        self.invite_to(brand, seed, old.name.digest().into()).await
    }

    async fn invite_to(&self, brand: &Brand, seed: u8, replaces: Bytes) -> (LinkName, SubjectHandle) {
        use v1::link_service_server::LinkService as _;
        let subject = SubjectHandle::of(&brand.name, [seed; 16]);
        let message = wire::LinkInvitation {
            broker: ORIGIN.to_owned(),
            partner: brand.name.to_string(),
            identity_key: Bytes::copy_from_slice(brand.identity.public().as_bytes()),
            subject: subject.to_string(),
            label_commitment: Bytes::from_static(&[7; 32]),
            expire_time_ms: self.now() + 600_000,
            time_ms: self.now(),
            checkpoint: self.checkpoint(),
            replaces,
            return_address: String::new(),
        };
        let statement = envelope::sign::<says::LinkInvitation>(&message, &[&brand.key]);
        let request = v1::CreateLinkInvitationRequest { statement: Some(statement) };
        let link =
            self.links().create_link_invitation(as_brand(brand, request)).await.expect("an invitation");
        (LinkName::parse(&link.into_inner().name).expect("a name"), subject)
    }

    pub(super) async fn accept(
        &self,
        person: &Person,
        link: &LinkName,
        key: &SigningKey,
    ) -> Result<Digest, Status> {
        use v1::link_service_server::LinkService as _;
        let message = wire::LinkAcceptance {
            broker: ORIGIN.to_owned(),
            invitation: Bytes::from(link.digest()),
            link_key: Bytes::copy_from_slice(key.public().as_bytes()),
            code_mac: Bytes::from_static(&[8; 32]),
            time_ms: self.now(),
        };
        let statement = envelope::sign::<says::LinkAcceptance>(&message, &[key]);
        let digest = envelope::digest(&statement);
        let request = v1::AcceptLinkInvitationRequest { name: link.to_string(), statement: Some(statement) };
        self.links().accept_link_invitation(as_person(person, request)).await.map(|_| digest)
    }

    pub(super) async fn confirm(
        &self,
        brand: &Brand,
        link: &LinkName,
        acceptance: Digest,
    ) -> Result<v1::Link, Status> {
        use v1::link_service_server::LinkService as _;
        let message = wire::LinkConfirmation {
            broker: ORIGIN.to_owned(),
            partner: brand.name.to_string(),
            acceptance: Bytes::from(acceptance),
            time_ms: self.now(),
            checkpoint: self.checkpoint(),
        };
        let statement = envelope::sign::<says::LinkConfirmation>(&message, &[&brand.key]);
        let request = v1::ConfirmLinkRequest { name: link.to_string(), statement: Some(statement) };
        self.links().confirm_link(as_brand(brand, request)).await.map(tonic::Response::into_inner)
    }

    /// The whole ceremony.
    pub(super) async fn link(&self, brand: &Brand, person: &Person, seed: u8) -> Linked {
        let (name, subject) = self.invite(brand, seed).await;
        let key = SigningKey::from_secret(&[seed; 32]);
        let acceptance = self.accept(person, &name, &key).await.expect("an acceptance");
        self.confirm(brand, &name, acceptance).await.expect("a confirmation");
        Linked { name, subject, key, acceptance }
    }

    pub(super) async fn request(
        &self,
        brand: &Brand,
        subject: &SubjectHandle,
        offers: &[(&OfferName, bool)],
    ) -> Result<v1::GrantRequest, Status> {
        self.request_for(3_600_000, brand, subject, offers).await
    }

    /// A request that lapses after so many milliseconds.
    pub(super) async fn request_for(
        &self,
        lifetime_ms: u64,
        brand: &Brand,
        subject: &SubjectHandle,
        offers: &[(&OfferName, bool)],
    ) -> Result<v1::GrantRequest, Status> {
        use v1::grant_service_server::GrantService as _;
        let row = |(offer, optional): &(&OfferName, bool)| wire::RequestedRow {
            offer: Bytes::from(offer.digest()),
            optional: *optional,
            renews: Bytes::new(),
        };
        let message = wire::GrantRequest {
            broker: ORIGIN.to_owned(),
            requester: brand.name.to_string(),
            subject: subject.to_string(),
            rows: offers.iter().map(row).collect(),
            expire_time_ms: self.now() + lifetime_ms,
            time_ms: self.now(),
            nonce: Bytes::copy_from_slice(&[9; 16]),
            checkpoint: self.checkpoint(),
        };
        let statement = envelope::sign::<says::GrantRequest>(&message, &[&brand.key]);
        let request = v1::CreateGrantRequestRequest { statement: Some(statement) };
        self.grants().create_grant_request(as_brand(brand, request)).await.map(tonic::Response::into_inner)
    }

    pub(super) fn terms(
        &self,
        (request, offer): (&v1::GrantRequest, &wire::Offer),
        (source, from): (&Brand, &Linked),
        (recipient, to): (&Brand, &Linked),
        tag: u8,
    ) -> wire::GrantTerms {
        let statement = request.statement.as_ref().expect("a request carries its statement");
        let digest = |bytes: &[u8]| Bytes::from(Digest::of(bytes));
        wire::GrantTerms {
            broker: ORIGIN.to_owned(),
            source: source.name.to_string(),
            source_identity: Bytes::copy_from_slice(source.identity.public().as_bytes()),
            recipient: recipient.name.to_string(),
            recipient_identity: Bytes::copy_from_slice(recipient.identity.public().as_bytes()),
            source_commitment: Bytes::from(party_commitment(&SALTS[0], from.acceptance)),
            recipient_commitment: Bytes::from(party_commitment(&SALTS[1], to.acceptance)),
            request: digest(&statement.payload),
            offer: digest(&offer.encode_to_vec()),
            catalogue_version: offer.catalogue_version.clone(),
            language: "en".to_owned(),
            purpose: offer.purpose.clone(),
            fields: offer.required_fields.clone(),
            uses: offer.uses,
            rate: offer.rate,
            retention_seconds: offer.retention_seconds,
            expire_time_ms: self.now() + 7_200_000,
            log_tag: Bytes::copy_from_slice(&[tag; 32]),
            time_ms: self.now(),
            previous: Bytes::new(),
        }
    }

    pub(super) async fn approve(
        &self,
        person: &Person,
        request: &v1::GrantRequest,
        rows: Vec<ApprovedRow>,
    ) -> Result<v1::ApproveGrantRequestResponse, Status> {
        use v1::grant_service_server::GrantService as _;
        let approve = v1::ApproveGrantRequestRequest { name: request.name.clone(), rows };
        self.grants().approve_grant_request(as_person(person, approve)).await.map(tonic::Response::into_inner)
    }

    pub(super) async fn change(
        &self,
        person: &Person,
        message: &wire::GrantChange,
        (from, to): (&Linked, &Linked),
    ) -> Result<v1::ChangeGrantResponse, Status> {
        use v1::grant_service_server::GrantService as _;
        let digest = Digest::from_slice(&message.terms).expect("32 bytes");
        let request = v1::ChangeGrantRequest {
            name: countersign_grants::id::GrantName::of(digest).to_string(),
            source_change: Some(envelope::sign::<says::GrantChange>(message, &[&from.key])),
            recipient_change: Some(envelope::sign::<says::GrantChange>(message, &[&to.key])),
        };
        self.grants().change_grant(as_person(person, request)).await.map(tonic::Response::into_inner)
    }

    pub(super) async fn acknowledge(
        &self,
        brand: &Brand,
        grant: &v1::Grant,
        statement: Digest,
    ) -> Result<v1::Grant, Status> {
        use v1::grant_service_server::GrantService as _;
        let message = wire::Acknowledgement {
            broker: ORIGIN.to_owned(),
            partner: brand.name.to_string(),
            statement: Bytes::from(statement),
            time_ms: self.now(),
            checkpoint: self.checkpoint(),
        };
        let statement = envelope::sign::<says::Acknowledgement>(&message, &[&brand.key]);
        let request = v1::AcknowledgeGrantRequest { name: grant.name.clone(), statement: Some(statement) };
        self.grants().acknowledge_grant(as_brand(brand, request)).await.map(tonic::Response::into_inner)
    }

    pub(super) fn links(&self) -> super::super::link::Links {
        super::super::link::Links(Arc::clone(&self.broker))
    }

    pub(super) fn grants(&self) -> super::super::grant::Grants {
        super::super::grant::Grants(Arc::clone(&self.broker))
    }

    pub(super) fn customers(&self) -> super::super::customer::Customers {
        super::super::customer::Customers(Arc::clone(&self.broker))
    }

    pub(super) fn events(&self) -> super::super::event::Events {
        super::super::event::Events(Arc::clone(&self.broker))
    }

    pub(super) fn audits(&self) -> super::super::audit::Audits {
        super::super::audit::Audits(Arc::clone(&self.broker))
    }
}

/// One row as the app sends it.
pub(super) fn row(terms: &wire::GrantTerms, from: &Linked, to: &Linked) -> ApprovedRow {
    ApprovedRow {
        source_link: from.name.to_string(),
        recipient_link: to.name.to_string(),
        source_terms: Some(envelope::sign::<says::GrantTerms>(terms, &[&from.key])),
        recipient_terms: Some(envelope::sign::<says::GrantTerms>(terms, &[&to.key])),
        source_salt: Bytes::from_static(&SALTS[0]),
        recipient_salt: Bytes::from_static(&SALTS[1]),
    }
}

pub(super) fn called_by<T>(principal: Principal, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(Caller { principal });
    request
}

pub(super) fn as_operator<T>(message: T) -> Request<T> {
    called_by(Principal::Operator(OperatorName::of_id("root").expect("an id")), message)
}

pub(super) fn as_second<T>(message: T) -> Request<T> {
    called_by(Principal::Operator(OperatorName::of_id("second").expect("an id")), message)
}

pub(super) fn as_brand<T>(brand: &Brand, message: T) -> Request<T> {
    called_by(Principal::Partner(brand.name.clone()), message)
}

pub(super) fn as_person<T>(person: &Person, message: T) -> Request<T> {
    called_by(Principal::Customer(person.name.clone()), message)
}

/// Why a call was refused, with the check that failed where there is one.
pub(super) fn refused<T>(answer: Result<T, Status>) -> String {
    let Err(status) = answer else { return "OK".to_owned() };
    let info = status.get_details_error_info().expect("every fault has an ErrorInfo");
    match info.metadata.get("check") {
        Some(check) => format!("{} {check}", info.reason),
        None => info.reason,
    }
}
