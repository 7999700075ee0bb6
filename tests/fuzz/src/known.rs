//! One story told in real bytes, from fixed keys: what fuzz corpora are seeded with, and what vectors are made of.
//!
//! An airline gives, a ride-hailing brand receives, one customer agrees. The secrets stand here on purpose: what verifies
//! under these keys and was not signed here has been forged.

// Named, since this file is also included from elsewhere, where its folder would be another.
#[path = "known/told.rs"]
mod told;

use std::sync::LazyLock;

use bytes::Bytes;
use countersign_client::doors;
use countersign_grants::{
    catalogue::{Catalogue, FieldPath},
    commitment,
    digest::Digest,
    envelope,
    id::{CustomerName, Origin, PartnerName, SubjectHandle},
    key::SigningKey,
    statement::party_commitment,
    time::Entropy,
};
use countersign_proto::{
    log::v1::{Kind, Record, Result as Outcome},
    statement::v1 as wire,
};
use countersign_tlog::{ProofFile, SignedCheckpoint, SignerKey, Tree, hash::leaf_hash, note::KeyName};
use prost::Message as _;

/// The origin of the story's log.
pub const ORIGIN: &str = "broker.test/log";

/// When it is, and when everything is signed.
pub const NOW_MS: u64 = 1_790_000_000_000;

/// The seed of the log's key.
pub const LOG_SEED: u8 = 1;
/// The secret of the broker's call key; each secret is 32 times its byte.
pub const BROKER: u8 = 2;
/// The secrets of the source's identity key and of its working keys.
pub const SKYLARK_IDENTITY: u8 = 10;
/// The working key.
pub const SKYLARK: u8 = 20;
/// The secret of the recipient's identity key.
pub const HOPP_IDENTITY: u8 = 11;
/// The working key.
pub const HOPP: u8 = 21;
/// The secret of the customer's call key.
pub const CUSTOMER: u8 = 30;
/// The secret of the key of the customer's link to the source.
pub const SOURCE_LINK: u8 = 31;
/// The secret of the key of the customer's link to the recipient.
pub const RECIPIENT_LINK: u8 = 32;
/// The material of the fetch's sealing key.
pub const OPENING: [u8; 32] = [40; 32];
/// The randomness with which the source seals.
pub const EPHEMERAL: u8 = 41;
/// The comparison key of the preview.
pub const COMPARISON_KEY: [u8; 32] = [42; 32];
/// The code that the customer reads out.
pub const CODE: &str = "271828";
/// What the link invitation's salt and secret are.
pub const LABEL_SALT: [u8; 32] = [50; 32];
/// The link secret.
pub const LINK_SECRET: [u8; 32] = [51; 32];
/// How the person knows the account.
pub const LABEL: &str = "anna@example.com";

/// The catalogue of the story: one purpose, three fields.
pub const CATALOGUE: &str = r#"format = 1
languages = ["en"]

[[purpose]]
code = "pickup_planning"
iri = "https://w3id.org/dpv#RequestedServiceProvision"
titles = { en = "Planning your pick-up" }
fields = ["trip.flight_no", "trip.airport", "trip.eta"]
[purpose.ceilings]
duration_seconds = 2_592_000
uses = 24
rate = { uses = 12, window_seconds = 60 }
retention_seconds = 86_400

[[purpose]]
code = "trip_updates"
iri = "https://w3id.org/dpv#ServiceProvision"
titles = { en = "Trip updates in your chat" }
fields = ["trip.flight_no"]
[purpose.ceilings]
duration_seconds = 86_400
uses = 2
retention_seconds = 3_600

[[field]]
path = "trip.flight_no"
type = "TEXT"
category = "https://w3id.org/dpv/pd#Travel"
sensitivity = "LOW"
provenance = "PROVIDED"
max_bytes = 16
titles = { en = "Flight number" }

[[field]]
path = "trip.airport"
type = "TEXT"
category = "https://w3id.org/dpv/pd#Travel"
sensitivity = "LOW"
provenance = "PROVIDED"
max_bytes = 16
titles = { en = "Airport" }

[[field]]
path = "trip.eta"
type = "INSTANT"
category = "https://w3id.org/dpv/pd#Travel"
sensitivity = "LOW"
provenance = "OBSERVED"
max_bytes = 40
titles = { en = "Arrival" }
"#;

/// The key with this secret.
pub fn key(secret: u8) -> SigningKey {
    SigningKey::from_secret(&[secret; 32])
}

/// The broker's log, as statements name it.
pub fn origin() -> Origin {
    Origin::parse(ORIGIN).expect("an origin")
}

/// A partner of the story.
pub fn partner(id: &str) -> PartnerName {
    PartnerName::of_id(id).expect("an id")
}

/// The customer of the story.
pub fn customer() -> CustomerName {
    CustomerName::of(key(CUSTOMER).id())
}

/// The story's catalogue.
pub fn catalogue() -> Catalogue {
    Catalogue::parse(CATALOGUE.as_bytes()).expect("a catalogue")
}

/// Field paths.
pub fn paths(fields: &[String]) -> Vec<FieldPath> {
    fields.iter().map(|path| FieldPath::parse(path).expect("a path")).collect()
}

/// Randomness that is one byte over and over.
pub struct Fixed(pub u8);

impl Entropy for Fixed {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(self.0);
    }
}

/// One statement of the story.
pub struct Told {
    /// What it is, in one word.
    pub name: &'static str,
    /// The statement.
    pub envelope: wire::Envelope,
    /// The secret of the key that signed it.
    pub signer: u8,
}

/// All that was signed.
pub struct Story {
    /// Every statement, in the order in which it was signed.
    pub statements: Vec<Told>,
    /// The invitation's package, as it reaches the customer.
    pub package: wire::InvitationPackage,
    /// The values, sealed.
    pub sealed: wire::SealedFields,
    /// The log.
    pub log: Log,
}

impl Story {
    /// The statement of this name.
    pub fn told(&self, name: &str) -> &Told {
        self.statements.iter().find(|told| told.name == name).expect("a statement of the story")
    }

    /// Its envelope.
    pub fn envelope(&self, name: &str) -> &wire::Envelope {
        &self.told(name).envelope
    }

    /// Its digest.
    pub fn digest(&self, name: &str) -> Digest {
        envelope::digest(self.envelope(name))
    }
}

/// The story.
pub static STORY: LazyLock<Story> = LazyLock::new(told::tell);

/// The log of the story.
pub struct Log {
    /// The key that signs its heads.
    pub key: SignerKey,
    /// The leaves.
    pub records: Vec<Vec<u8>>,
}

impl Log {
    fn of(digests: &[Digest]) -> Self {
        let key = SignerKey::from_seed(KeyName::parse(ORIGIN).expect("a name"), &[LOG_SEED; 32]);
        let kinds = [
            (Kind::PartnerCreated, Outcome::Unspecified),
            (Kind::OfferPublished, Outcome::Unspecified),
            (Kind::LinkConfirmed, Outcome::Unspecified),
            (Kind::GrantApproved, Outcome::Unspecified),
            (Kind::Transfer, Outcome::Released),
            (Kind::Transfer, Outcome::Repeated),
            (Kind::TransferRefused, Outcome::Refused),
        ];
        let fields = paths(&FIELDS.map(str::to_owned));
        let records = kinds.iter().zip(0_u8..).map(|((kind, outcome), n)| {
            let of_grant = n >= 3;
            let salt = |what: u8| [100 + 10 * n + what; 32];
            let tag = if of_grant { Bytes::from_static(&LOG_TAG) } else { Bytes::new() };
            let text = |text: &str| if of_grant { text.to_owned() } else { String::new() };
            Record {
                version: 1,
                kind: (*kind).into(),
                time_ms: NOW_MS + u64::from(n),
                source: "partners/skylark".into(),
                recipient: text("partners/hopp"),
                purpose: text("pickup_planning"),
                catalogue_version: if of_grant { catalogue().version().into() } else { Bytes::new() },
                result: (*outcome).into(),
                reason: if *outcome == Outcome::Refused { "GRANT_PAUSED".into() } else { String::new() },
                grant_tag: tag,
                grant_sequence: if of_grant { u64::from(n) - 2 } else { 0 },
                use_number: u64::from(*kind == Kind::Transfer),
                record_id: Bytes::copy_from_slice(&[200 + n; 16]),
                subject_commitment: commitment::subject(&salt(0), &customer()).into(),
                fields_commitment: commitment::fields(&salt(1), &fields).into(),
                evidence_commitment: commitment::evidence(&salt(2), if of_grant { digests } else { &[] })
                    .into(),
            }
            .encode_to_vec()
        });
        Self { key, records: records.collect() }
    }

    /// The tree of its first leaves.
    pub fn tree(&self, size: usize) -> Tree {
        let mut tree = Tree::new();
        self.records[..size].iter().for_each(|record| tree.append(leaf_hash(record)));
        tree
    }

    /// The signed head of its first leaves.
    pub fn checkpoint(&self, size: usize) -> SignedCheckpoint {
        let tree = self.tree(size);
        SignedCheckpoint::sign(&self.key, tree.size(), tree.root()).expect("a root of its size")
    }

    /// The proof of one leaf under all of them.
    pub fn proof(&self, index: u64) -> ProofFile {
        let size = self.records.len();
        let path = self.tree(size).inclusion(index).expect("a leaf of the tree");
        ProofFile::new(index, path, &self.checkpoint(size)).expect("a short path")
    }
}

/// The grant's tag in the log.
pub const LOG_TAG: [u8; 32] = [60; 32];

/// The fields that are granted, and fetched.
pub const FIELDS: [&str; 2] = ["trip.flight_no", "trip.airport"];

/// Their values.
pub const VALUES: [&str; 2] = ["SK 17", "JFK"];

fn public(secret: u8) -> Bytes {
    Bytes::copy_from_slice(key(secret).public().as_bytes())
}

/// The newest checkpoint that everybody in the story had verified when it began.
pub fn published() -> Bytes {
    static PUBLISHED: LazyLock<Bytes> = LazyLock::new(|| Log::of(&[]).checkpoint(1).as_bytes().clone());
    PUBLISHED.clone()
}

/// The recipient's offer.
pub fn offer() -> wire::Offer {
    wire::Offer {
        broker: ORIGIN.into(),
        recipient: "partners/hopp".into(),
        recipient_identity: public(HOPP_IDENTITY),
        source: "partners/skylark".into(),
        purpose: "pickup_planning".into(),
        required_fields: vec!["trip.flight_no".into()],
        optional_fields: vec!["trip.airport".into(), "trip.eta".into()],
        duration_seconds: 3_600,
        uses: 12,
        rate: Some(wire::Rate { uses: 3, window_seconds: 60 }),
        retention_seconds: 86_400,
        texts: vec![wire::OfferText {
            language: "en".into(),
            reason: "To have a car there when you land.".into(),
            benefit: "Your driver waits for free.".into(),
            ends: "one hour after landing".into(),
        }],
        benefit_kind: wire::BenefitKind::SpecialService.into(),
        contact_phone: "+1 212 555 0100".into(),
        law: "Consent".into(),
        controller: "Hopp Rides Inc.".into(),
        complaint_body: "The authority".into(),
        catalogue_version: catalogue().version().into(),
        time_ms: NOW_MS,
        checkpoint: published(),
    }
}

/// The recipient's request.
pub fn request(offer: Digest) -> wire::GrantRequest {
    wire::GrantRequest {
        broker: ORIGIN.into(),
        requester: "partners/hopp".into(),
        subject: SubjectHandle::of(&partner("hopp"), [2; 16]).to_string(),
        rows: vec![wire::RequestedRow { offer: offer.into(), optional: false, renews: Bytes::new() }],
        expire_time_ms: NOW_MS + 3_600_000,
        time_ms: NOW_MS,
        nonce: Bytes::from_static(&[70; 16]),
        checkpoint: published(),
    }
}

/// What the customer agrees to. The salts of the party commitments are 32 times 80 and 81.
pub fn terms(offer: Digest, request: Digest, source: Digest, recipient: Digest) -> wire::GrantTerms {
    wire::GrantTerms {
        broker: ORIGIN.into(),
        source: "partners/skylark".into(),
        source_identity: public(SKYLARK_IDENTITY),
        recipient: "partners/hopp".into(),
        recipient_identity: public(HOPP_IDENTITY),
        source_commitment: party_commitment(&[80; 32], source).into(),
        recipient_commitment: party_commitment(&[81; 32], recipient).into(),
        request: request.into(),
        offer: offer.into(),
        catalogue_version: catalogue().version().into(),
        language: "en".into(),
        purpose: "pickup_planning".into(),
        fields: FIELDS.map(str::to_owned).to_vec(),
        uses: 12,
        rate: Some(wire::Rate { uses: 3, window_seconds: 60 }),
        retention_seconds: 86_400,
        expire_time_ms: NOW_MS + 3_600_000,
        log_tag: Bytes::from_static(&LOG_TAG),
        time_ms: NOW_MS,
        previous: Bytes::new(),
    }
}

/// The recipient's fetch.
pub fn fetch(terms: Digest) -> wire::Fetch {
    wire::Fetch {
        broker: ORIGIN.into(),
        recipient: "partners/hopp".into(),
        terms: terms.into(),
        purpose: "pickup_planning".into(),
        fields: FIELDS.map(str::to_owned).to_vec(),
        request_id: "0f2d6c1e-7a54-4a3b-9a57-2f8f6f0c9d11".into(),
        time_ms: NOW_MS,
        sealing_key: Bytes::copy_from_slice(&doors::sealing_key(&OPENING)),
        checkpoint: published(),
        ..wire::Fetch::default()
    }
}
