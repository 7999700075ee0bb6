//! A small world for tests: a log, two partners, and a customer, whose statements are made by hand.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use countersign_grants::{
    catalogue::FieldPath,
    commitment,
    digest::Digest,
    envelope,
    id::{Origin, PartnerName, Principal, SubjectHandle},
    key::SigningKey,
    statement::{
        BenefitKind, Fetch, GrantChange, GrantTerms, LinkAcceptance, Offer, PartnerKey, Provision, Verb,
        party_commitment,
    },
    time::{Clock, Timestamp},
    token::Issuer,
};
use countersign_proto::{
    log::v1::{Kind, Record, Result as Outcome},
    statement::v1::{self as wire, Envelope},
    v1::{ProvideDataRequest, Receipt},
};
use countersign_tlog::{
    Hash, KeyName, SignedCheckpoint, SignerKey, Tile, TileCoord, Tree, hash::leaf_hash,
    proof::prove_consistency,
};
use parking_lot::Mutex;
use prost::Message as _;

use crate::{
    book::{Book, Entry, envelope_bytes},
    channel::Connection,
    checkpoint::LogView,
    error::Error,
    partner::{Partner, PartnerConfig},
    system::{System, SystemEntropy},
    trust::BrokerTrust,
};

pub(crate) const START: u64 = 1_362_700_000_000;
pub(crate) const PURPOSE: &str = "pickup_planning";
pub(crate) const FIELDS: [&str; 2] = ["trip.flight_no", "trip.terminal"];

pub(crate) struct TestClock {
    now: AtomicU64,
    /// By how much it was set, in milliseconds: no time passed in it.
    set: AtomicI64,
}

impl TestClock {
    pub(crate) fn pass(&self, millis: u64) {
        self.now.fetch_add(millis, Ordering::SeqCst);
    }

    /// Sets it so far from where it would be.
    pub(crate) fn set(&self, off_millis: i64) {
        self.set.store(off_millis, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        let now = self.now.load(Ordering::SeqCst);
        Timestamp::from_millis(now.saturating_add_signed(self.set.load(Ordering::SeqCst)))
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.now.load(Ordering::SeqCst))
    }
}

/// A log that answers from memory; it can be cut off, and it can refuse proofs.
pub(crate) struct TestLog {
    key: SignerKey,
    pub(crate) tree: Mutex<Tree>,
    leaves: Mutex<Vec<Hash>>,
    pub(crate) silent: AtomicBool,
    pub(crate) withholds: AtomicBool,
    /// Proofs alone get no answer.
    pub(crate) swallows: AtomicBool,
}

impl TestLog {
    pub(crate) fn new() -> Self {
        let name = KeyName::parse("broker.example/log").expect("a name");
        let key = SignerKey::from_seed(name, &[9; 32]);
        let log = Self {
            key,
            tree: Mutex::new(Tree::new()),
            leaves: Mutex::default(),
            silent: false.into(),
            withholds: false.into(),
            swallows: false.into(),
        };
        log.append(b"the first record");
        log
    }

    pub(crate) fn append(&self, record: &[u8]) -> u64 {
        let mut tree = self.tree.lock();
        tree.append(leaf_hash(record));
        self.leaves.lock().push(leaf_hash(record));
        tree.size() - 1
    }

    pub(crate) fn checkpoint(&self) -> SignedCheckpoint {
        let tree = self.tree.lock();
        SignedCheckpoint::sign(&self.key, tree.size(), tree.root()).expect("a root of its size")
    }

    /// Another head of the same size, which the log signed as well.
    pub(crate) fn forged(&self, size: u64) -> SignedCheckpoint {
        SignedCheckpoint::sign(&self.key, size, leaf_hash(b"another root")).expect("a root")
    }

    pub(crate) fn key(&self) -> &SignerKey {
        &self.key
    }
}

#[async_trait]
impl LogView for TestLog {
    async fn newest(&self) -> Result<Bytes, Error> {
        if self.silent.load(Ordering::SeqCst) {
            return Err(Error::Unreachable { detail: "cut off".into() });
        }
        Ok(self.checkpoint().as_bytes().clone())
    }

    async fn consistency(&self, from: u64, to: u64) -> Result<Vec<Bytes>, Error> {
        if self.silent.load(Ordering::SeqCst) || self.swallows.load(Ordering::SeqCst) {
            return Err(Error::Unreachable { detail: "cut off".into() });
        }
        if self.withholds.load(Ordering::SeqCst) {
            return Err(tonic::Status::invalid_argument("no such tree").into());
        }
        let leaves = self.leaves.lock().clone();
        let shown = leaves.get(..to as usize).ok_or_else(|| tonic::Status::invalid_argument("sizes"))?;
        let mut tree = Tree::new();
        for leaf in shown {
            tree.append(*leaf);
        }
        let tiles: HashMap<TileCoord, Tile> = tree
            .tiles_since(0)
            .expect("all leaves are held")
            .into_iter()
            .map(|(coord, bytes)| (coord, Tile::parse(coord, bytes).expect("a tile of its width")))
            .collect();
        let proof = prove_consistency(from, to, &tiles).expect("all tiles are there");
        Ok(proof.iter().map(|hash| Bytes::copy_from_slice(hash.as_bytes())).collect())
    }
}

pub(crate) struct Brand {
    pub(crate) name: PartnerName,
    pub(crate) identity: SigningKey,
    pub(crate) seed: u8,
}

impl Brand {
    fn new(id: &str, seed: u8) -> Self {
        let name = PartnerName::of_id(id).expect("an id");
        Self { name, identity: SigningKey::from_secret(&[seed; 32]), seed }
    }

    pub(crate) fn working(&self) -> SigningKey {
        SigningKey::from_secret(&[self.seed + 1; 32])
    }

    pub(crate) fn certificate(&self) -> Envelope {
        let message = wire::PartnerKey {
            broker: ORIGIN.into(),
            partner: self.name.to_string(),
            public_key: self.working().public().as_bytes().to_vec().into(),
            sequence: 1,
            not_before_ms: START - 1_000_000,
            not_after_ms: START + 100_000_000,
            previous: Bytes::new(),
        };
        envelope::sign::<PartnerKey>(&message, &[&self.identity])
    }
}

pub(crate) const ORIGIN: &str = "broker.example/log";

pub(crate) struct World {
    pub(crate) log: Arc<TestLog>,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) skylark: Brand,
    pub(crate) hopp: Brand,
    pub(crate) call_key: SigningKey,
    pub(crate) address: String,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            log: Arc::new(TestLog::new()),
            clock: Arc::new(TestClock { now: START.into(), set: AtomicI64::new(0) }),
            skylark: Brand::new("skylark", 10),
            hopp: Brand::new("hopp", 20),
            call_key: SigningKey::from_secret(&[40; 32]),
            // A port on which nothing listens: most of what is tested here needs no broker.
            address: "http://127.0.0.1:1".into(),
        }
    }

    pub(crate) fn add(&self, record: &[u8]) {
        self.log.append(record);
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn origin() -> Origin {
        Origin::parse(ORIGIN).expect("an origin")
    }

    pub(crate) fn system(&self) -> System {
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as _;
        System { clock, entropy: Arc::new(SystemEntropy) }
    }

    pub(crate) fn trust(&self) -> BrokerTrust {
        BrokerTrust {
            origin: Self::origin(),
            log_key: self.log.key().verifier().clone(),
            call_key: self.call_key.public().clone(),
            address: self.address.clone(),
            ca_pem: None,
        }
    }

    pub(crate) fn partner(&self, brand: &Brand, book: Book) -> Partner {
        let config = PartnerConfig {
            trust: self.trust(),
            name: brand.name.clone(),
            identity: brand.identity.public().clone(),
            certificate: brand.certificate(),
            key: brand.working(),
            known_keys: vec![],
        };
        let principal = Principal::Partner(brand.name.clone());
        let system = self.system();
        let connection = Connection::open(&config.trust, principal, &config.key, Arc::clone(&system.clock))
            .expect("opens");
        Partner::assemble(config, book, system, connection, Arc::clone(&self.log) as _).expect("assembles")
    }

    pub(crate) fn token(&self, audience: &str, key: &SigningKey, issuer: Principal) -> String {
        format!("Bearer {}", Issuer::new(issuer, key).issue(audience, self.now()))
    }

    pub(crate) fn checkpoint(&self) -> Bytes {
        self.log.checkpoint().as_bytes().clone()
    }

    /// A link of a partner with the customer, as an entry of its book.
    pub(crate) fn link(brand: &Brand, number: u8) -> Linked {
        let key = SigningKey::from_secret(&[100 + brand.seed + number; 32]);
        let subject = SubjectHandle::of(&brand.name, [number; 16]);
        let invitation = Digest::of(&[brand.seed, number]);
        let message = wire::LinkAcceptance {
            broker: ORIGIN.into(),
            invitation: invitation.into(),
            link_key: key.public().as_bytes().to_vec().into(),
            code_mac: vec![0; 32].into(),
            time_ms: START,
        };
        let acceptance = envelope::sign::<LinkAcceptance>(&message, &[&key]);
        let digest = envelope::digest(&acceptance);
        let entry = Entry::Linked {
            link: *invitation.as_bytes(),
            subject: subject.as_str().to_owned(),
            acceptance: envelope_bytes(&acceptance),
            confirmation: vec![],
        };
        Linked { key, subject, acceptance: digest, entry }
    }

    pub(crate) fn offer(&self, change: impl FnOnce(&mut wire::Offer)) -> Envelope {
        let mut message = wire::Offer {
            broker: ORIGIN.into(),
            recipient: self.hopp.name.to_string(),
            recipient_identity: self.hopp.identity.public().as_bytes().to_vec().into(),
            source: self.skylark.name.to_string(),
            purpose: PURPOSE.into(),
            required_fields: vec![FIELDS[0].into()],
            optional_fields: vec![FIELDS[1].into(), "trip.gate".into()],
            duration_seconds: 86_400,
            uses: 3,
            rate: Some(wire::Rate { uses: 2, window_seconds: 3_600 }),
            retention_seconds: 86_400,
            texts: vec![wire::OfferText {
                language: "en".into(),
                reason: "To be there when you land".into(),
                benefit: "No waiting".into(),
                ends: "landing + 24 h".into(),
            }],
            benefit_kind: BenefitKind::OneTap.into(),
            contact_phone: "+1 555 0100".into(),
            law: "consent".into(),
            controller: "Hopp Ltd".into(),
            complaint_body: "the authority".into(),
            catalogue_version: Digest::of(b"catalogue").into(),
            time_ms: START,
            checkpoint: self.checkpoint(),
        };
        change(&mut message);
        envelope::sign::<Offer>(&message, &[&self.hopp.working()])
    }

    /// Terms for the offer, with both links; `change` bends them before they are signed.
    pub(crate) fn terms(
        &self,
        offer: &Envelope,
        links: (&Linked, &Linked),
        change: impl FnOnce(&mut wire::GrantTerms),
    ) -> wire::GrantTerms {
        let mut message = wire::GrantTerms {
            broker: ORIGIN.into(),
            source: self.skylark.name.to_string(),
            source_identity: self.skylark.identity.public().as_bytes().to_vec().into(),
            recipient: self.hopp.name.to_string(),
            recipient_identity: self.hopp.identity.public().as_bytes().to_vec().into(),
            source_commitment: party_commitment(&SALT, links.0.acceptance).into(),
            recipient_commitment: party_commitment(&SALT, links.1.acceptance).into(),
            request: Digest::of(b"request").into(),
            offer: envelope::digest(offer).into(),
            catalogue_version: Digest::of(b"catalogue").into(),
            language: "en".into(),
            purpose: PURPOSE.into(),
            fields: FIELDS.map(str::to_owned).to_vec(),
            uses: 3,
            rate: Some(wire::Rate { uses: 2, window_seconds: 3_600 }),
            retention_seconds: 3_600,
            expire_time_ms: START + 80_000_000,
            log_tag: vec![5; 32].into(),
            time_ms: START,
            previous: vec![].into(),
        };
        change(&mut message);
        message
    }

    /// A stop that orders the recipient to delete.
    pub(crate) fn erasing_stop(
        &self,
        link: &Linked,
        grant: Digest,
        sequence: u64,
        previous: Digest,
    ) -> Envelope {
        let message = wire::GrantChange {
            broker: ORIGIN.into(),
            terms: grant.into(),
            sequence,
            verb: Verb::Stop.into(),
            erase: true,
            previous: previous.into(),
            time_ms: self.now().as_millis(),
            successor: Bytes::new(),
        };
        envelope::sign::<GrantChange>(&message, &[&link.key])
    }

    pub(crate) fn change(
        &self,
        link: &Linked,
        grant: Digest,
        sequence: u64,
        verb: Verb,
        previous: Digest,
    ) -> Envelope {
        let message = wire::GrantChange {
            broker: ORIGIN.into(),
            terms: grant.into(),
            sequence,
            verb: verb.into(),
            erase: false,
            previous: previous.into(),
            time_ms: self.now().as_millis(),
            successor: vec![].into(),
        };
        envelope::sign::<GrantChange>(&message, &[&link.key])
    }

    pub(crate) fn fetch(&self, grant: Digest, change: impl FnOnce(&mut wire::Fetch)) -> wire::Fetch {
        let mut message = wire::Fetch {
            broker: ORIGIN.into(),
            recipient: self.hopp.name.to_string(),
            terms: grant.into(),
            purpose: PURPOSE.into(),
            fields: FIELDS.map(str::to_owned).to_vec(),
            request_id: self.system().draw_uuid(),
            time_ms: self.now().as_millis(),
            sealing_key: vec![9; 32].into(),
            checkpoint: self.checkpoint(),
            ..wire::Fetch::default()
        };
        change(&mut message);
        message
    }

    /// The grant that most tests are about, with everything that a source is handed for a fetch under it.
    pub(crate) fn grant(&self) -> Granted {
        self.grant_with(|_| {})
    }

    pub(crate) fn grant_with(&self, change: impl FnOnce(&mut wire::GrantTerms)) -> Granted {
        let (source, recipient) = (Self::link(&self.skylark, 1), Self::link(&self.hopp, 2));
        let offer = self.offer(|_| {});
        let terms = self.terms(&offer, (&source, &recipient), change);
        Granted { source, recipient, offer, terms }
    }

    pub(crate) fn request(&self, granted: &Granted, fetch: &wire::Fetch) -> ProvideDataRequest {
        ProvideDataRequest {
            subject: granted.source.subject.as_str().to_owned(),
            fetch: Some(envelope::sign::<Fetch>(fetch, &[&self.hopp.working()])),
            fetch_key: Some(self.hopp.certificate()),
            terms: Some(granted.signed_for(&granted.source)),
            party_salt: SALT.to_vec().into(),
            offer: Some(granted.offer.clone()),
            offer_key: Some(self.hopp.certificate()),
            ..ProvideDataRequest::default()
        }
    }

    /// Logs a transfer and hands out its receipt; `change` bends the record first.
    pub(crate) fn receipt(
        &self,
        granted: &Granted,
        statements: [Digest; 3],
        fields: &[FieldPath],
        change: impl FnOnce(&mut Record),
    ) -> Receipt {
        let salt = [6; 32];
        let mut record = Record {
            version: 1,
            kind: Kind::Transfer.into(),
            time_ms: self.now().as_millis(),
            source: granted.terms.source.clone(),
            recipient: granted.terms.recipient.clone(),
            purpose: granted.terms.purpose.clone(),
            catalogue_version: granted.terms.catalogue_version.clone(),
            result: Outcome::Released.into(),
            reason: String::new(),
            grant_tag: granted.terms.log_tag.clone(),
            grant_sequence: 2,
            use_number: 1,
            record_id: vec![7; 16].into(),
            subject_commitment: vec![8; 32].into(),
            fields_commitment: commitment::fields(&salt, fields).into(),
            evidence_commitment: commitment::evidence(&salt, &statements).into(),
        };
        change(&mut record);
        let record = Bytes::from(record.encode_to_vec());
        let index = self.log.append(&record);
        let path = self.log.tree.lock().inclusion(index).expect("it is the newest leaf");
        Receipt {
            record,
            index,
            path: path.iter().map(|hash| Bytes::copy_from_slice(hash.as_bytes())).collect(),
            checkpoint: self.checkpoint(),
            fields_salt: salt.to_vec().into(),
            evidence_salt: salt.to_vec().into(),
            subject_salt: Bytes::new(),
        }
    }
}

pub(crate) const SALT: [u8; 32] = [3; 32];

pub(crate) struct Linked {
    pub(crate) key: SigningKey,
    pub(crate) subject: SubjectHandle,
    pub(crate) acceptance: Digest,
    pub(crate) entry: Entry,
}

pub(crate) struct Granted {
    pub(crate) source: Linked,
    pub(crate) recipient: Linked,
    pub(crate) offer: Envelope,
    pub(crate) terms: wire::GrantTerms,
}

impl Granted {
    pub(crate) fn digest(&self) -> Digest {
        Digest::of(&self.terms.encode_to_vec())
    }

    pub(crate) fn signed_for(&self, link: &Linked) -> Envelope {
        envelope::sign::<GrantTerms>(&self.terms, &[&link.key])
    }
}

/// Reads a statement, without verifying it.
pub(crate) fn read_provision(envelope: Option<&Envelope>) -> (Provision, Digest) {
    let envelope = envelope.expect("there is a provision");
    (envelope::peek::<Provision>(Some(envelope)).expect("a provision"), envelope::digest(envelope))
}

pub(crate) fn paths(fields: &[&str]) -> Vec<FieldPath> {
    fields.iter().map(|field| FieldPath::parse(field).expect("a path")).collect()
}

/// Methods of a service that no test calls.
macro_rules! not_asked {
    ($($method:ident($request:ty) -> $response:ty;)*) => {
        $(
            fn $method<'a, 'b>(
                &'a self,
                _: tonic::Request<$request>,
            ) -> std::pin::Pin<Box<dyn Future<Output = Result<tonic::Response<$response>, tonic::Status>> + Send + 'b>>
            where
                'a: 'b,
                Self: 'b,
            {
                Box::pin(async { Err(tonic::Status::unimplemented("no test asks for it")) })
            }
        )*
    };
}
pub(crate) use not_asked;
