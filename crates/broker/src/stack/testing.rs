//! A house for tests: a broker on the memory engine, with a clock that stands still until it is moved.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use countersign_grants::{
    catalogue::SHIPPED,
    envelope,
    id::{OperatorName, Origin, PartnerName, Principal},
    key::SigningKey,
    lifecycle,
    statement::PartnerKey,
    time::{Clock, Entropy, Timestamp},
    token::{Issuer, broker_audience},
};
use countersign_ledger::{KeyName, Ledger, SignerKey};
use countersign_proto::{
    log::v1::Kind,
    row::v1::{PartnerKeyRow, PartnerRow},
    statement::v1 as wire,
};
use countersign_store::memory::MemoryStore;

use crate::{Broker, BrokerParts, Settings, private::Kek, record::Happening, rows, work::Work};

pub(crate) const ORIGIN: &str = "broker.example/log";

/// When the tests take place.
pub(crate) const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// A clock that is moved by hand.
pub(crate) struct Hands(AtomicU64);

impl Hands {
    pub(crate) fn forward(&self, by: Duration) {
        self.0.store(self.now().plus(by).as_millis(), Ordering::SeqCst);
    }
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// Bytes that are different each time, and the same in each run.
struct Counting(AtomicU8);

impl Entropy for Counting {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(self.0.fetch_add(1, Ordering::SeqCst));
    }
}

/// A broker with one operator.
pub(crate) struct House {
    pub(crate) broker: Arc<Broker>,
    pub(crate) clock: Arc<Hands>,
}

impl House {
    /// Opens a broker, closes it, and opens it again: so its first record, that of its catalogue, is published.
    pub(crate) async fn open() -> Self {
        let store = Arc::new(MemoryStore::new());
        Self::on(Arc::clone(&store)).await.broker.ledger().shutdown().await;
        Self::on(store).await
    }

    async fn on(store: Arc<MemoryStore>) -> Self {
        let clock = Arc::new(Hands(AtomicU64::new(NOW.as_millis())));
        let key = SignerKey::from_seed(KeyName::parse(ORIGIN).expect("a name"), &[9; 32]);
        let hands = Arc::clone(&clock);
        let now = Arc::new(move || hands.now().as_millis());
        let broker = Broker::open(BrokerParts {
            ledger: Ledger::open(store, key, now).await.expect("opens"),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            entropy: Arc::new(Counting(AtomicU8::new(0))),
            issuer: Issuer::new(Principal::Broker(origin()), &SigningKey::from_secret(&[8; 32])),
            kek: Kek::new([7; 32]),
            catalogue: SHIPPED.into(),
            older_catalogues: vec![],
            operators: vec![(operator_name(), operator_key().public().clone())],
            settings: Settings::default(),
        });
        Self { broker: broker.await.expect("opens"), clock }
    }

    /// The operator's token at this moment.
    pub(crate) fn token(&self) -> String {
        operator().issue(&broker_audience(&origin()), self.clock.now())
    }

    /// Enters a partner that is suspended, with this working key.
    pub(crate) async fn enter_suspended(&self, name: &PartnerName, key: &SigningKey) {
        // Its identity key is its working key here.
        let identity_key = Bytes::copy_from_slice(key.public().as_bytes());
        let mut row = PartnerRow { name: name.to_string(), identity_key, ..PartnerRow::default() };
        lifecycle::Partner::Suspended.write_to(&mut row);
        let certificate = wire::PartnerKey {
            broker: ORIGIN.to_owned(),
            partner: name.to_string(),
            public_key: Bytes::copy_from_slice(key.public().as_bytes()),
            sequence: 1,
            not_before_ms: NOW.as_millis(),
            not_after_ms: NOW.plus(Duration::from_secs(3_600)).as_millis(),
            previous: Bytes::new(),
        };
        let statement = Some(envelope::sign::<PartnerKey>(&certificate, &[key]));
        let certificate = PartnerKeyRow { statement, publish_time_ms: NOW.as_millis() };
        let mut work = Work::default();
        work.create(&rows::partner(name), &row).expect("a row");
        work.create(&rows::partner_key(name, key.public().id()), &certificate).expect("a row");
        let happening =
            Happening { kind: Kind::PartnerSuspended, source: Some(name), ..Happening::default() };
        work.record(self.broker.draft(happening));
        self.broker.enter(work).await.expect("the log takes it").expect("no conflict");
    }
}

pub(crate) fn origin() -> Origin {
    Origin::parse(ORIGIN).expect("an origin")
}

pub(crate) fn operator_name() -> OperatorName {
    OperatorName::of_id("root").expect("an id")
}

pub(crate) fn operator_key() -> SigningKey {
    SigningKey::from_secret(&[1; 32])
}

/// Signs as the operator.
pub(crate) fn operator() -> Issuer {
    Issuer::new(Principal::Operator(operator_name()), &operator_key())
}
