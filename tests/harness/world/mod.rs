//! A broker in this process, on a real socket, with a clock that tests set; and the SDK on all sides of it.
//!
//! Nothing is mocked: the broker runs on the memory engine or on the embedded one, and every call goes through its stack.

mod brand;
mod raw;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use countersign_broker::{
    Broker, BrokerParts, Settings,
    private::Kek,
    surface::{self, Ended, Listener, Options, Surface},
};
use countersign_client::{
    BrokerTrust, Connection, System,
    customer::{Choice, Customer, CustomerBook, Wallet},
    system::SystemEntropy,
};
use countersign_grants::{
    catalogue,
    id::{GrantName, OperatorName, Origin, Principal, SubjectHandle},
    key::SigningKey,
    time::{Clock, Timestamp},
    token::Issuer,
};
use countersign_ledger::{Ledger, SignerKey};
use countersign_proto::{log::v1::Kind, v1};
use countersign_store::{Store, memory::MemoryStore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub(crate) use self::{
    brand::{Brand, Ears, Shelf, certify_as, trip_offer},
    raw::{
        OwnNarrowing, Said, bare_fetch, own_approval, own_change, own_connection, own_keys, own_narrowing,
        reason_of, sign_again, sign_as,
    },
};

/// How long a test waits for what must happen. Nothing is asserted about time: this ends a test that hangs.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The log of every world.
pub(crate) const ORIGIN: &str = "broker.test/log";

/// A clock that stands still until it is set.
#[derive(Clone)]
pub(crate) struct TestClock(Arc<AtomicU64>);

impl TestClock {
    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_millis()).expect("a test's time"), Ordering::SeqCst);
    }

    pub(crate) fn set_back(&self, by: Duration) {
        self.0.fetch_sub(u64::try_from(by.as_millis()).expect("a test's time"), Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(self.0.load(Ordering::SeqCst))
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }
}

/// One broker and everybody around it.
pub(crate) struct World {
    pub(crate) broker: Arc<Broker>,
    pub(crate) trust: BrokerTrust,
    pub(crate) clock: TestClock,
    pub(crate) operator: Connection,
    /// Another one, who approves what the first has vetted.
    pub(crate) second_operator: Connection,
    pub(crate) call_key: SigningKey,
    stop: CancellationToken,
    serving: JoinHandle<Ended>,
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl World {
    pub(crate) async fn start() -> Self {
        Self::on(Arc::new(MemoryStore::new())).await
    }

    pub(crate) async fn on(store: Arc<dyn Store>) -> Self {
        Self::at(store, TestClock(Arc::new(AtomicU64::new(1_790_000_000_000)))).await
    }

    /// A broker with the keys that every broker here has, on this store and by this clock.
    pub(crate) async fn at(store: Arc<dyn Store>, clock: TestClock) -> Self {
        let origin = Origin::parse(ORIGIN).expect("an origin");
        let (log_key, call_key, operator_key) = (signer(1), call_key(), operator_key());
        let log_verifier = log_key.verifier().clone();
        let now = clock.clone();
        let ledger =
            Ledger::open(store, log_key, Arc::new(move || now.now().as_millis())).await.expect("opens");
        let broker =
            Broker::open(parts(ledger, clock.clone(), catalogue::SHIPPED.into())).await.expect("opens");

        let loopback = "127.0.0.1:0".parse().expect("an address");
        let listener = Listener::bind(loopback, &[Surface::Api, Surface::Log], None).await.expect("binds");
        let address = listener.url();
        let stop = CancellationToken::new();
        let served = surface::serve(Arc::clone(&broker), vec![listener], Options::default(), stop.clone());
        let serving = tokio::spawn(served);

        let trust = BrokerTrust {
            origin,
            log_key: log_verifier,
            call_key: call_key.public().clone(),
            address,
            ca_pem: None,
        };
        let operator =
            Connection::open(&trust, Principal::Operator(operator()), &operator_key, Arc::new(clock.clone()))
                .expect("an address");
        let second = Principal::Operator(second_operator());
        let second_operator =
            Connection::open(&trust, second, &second_operator_key(), Arc::new(clock.clone()))
                .expect("an address");
        Self { broker, trust, clock, operator, second_operator, call_key, stop, serving }
    }

    /// Whether a broker opens with this catalogue for new offers, or why not.
    pub(crate) async fn opens_with(catalogue: bytes::Bytes) -> Result<(), String> {
        let clock = TestClock(Arc::new(AtomicU64::new(1_790_000_000_000)));
        let now = clock.clone();
        let opened =
            Ledger::open(Arc::new(MemoryStore::new()), signer(1), Arc::new(move || now.now().as_millis()));
        let parts = parts(opened.await.expect("opens"), clock, catalogue);
        Broker::open(parts).await.map(drop).map_err(|error| error.to_string())
    }

    /// Ends the broker in order: its calls, its log.
    pub(crate) async fn end(mut self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(PATIENCE, &mut self.serving).await.expect("it ends");
        assert_eq!(ended.expect("no panic"), Ended::Stopped);
    }

    /// Waits until the broker ends by itself, and says why it did.
    pub(crate) async fn ends(mut self) -> Ended {
        let ended = tokio::time::timeout(PATIENCE, &mut self.serving).await.expect("it ends");
        ended.expect("no panic")
    }

    /// The time and randomness of everybody here.
    pub(crate) fn system(&self) -> System {
        System { clock: Arc::new(self.clock.clone()), entropy: Arc::new(SystemEntropy) }
    }

    /// A registered brand that serves as a source and hears its events.
    pub(crate) async fn brand(&self, id: &str) -> Brand {
        Brand::enter(self, id).await
    }

    /// A registered customer.
    pub(crate) async fn customer(&self) -> Customer {
        self.customer_with(Wallet::draw(&self.system())).await
    }

    /// A registered customer with this wallet.
    pub(crate) async fn customer_with(&self, wallet: Wallet) -> Customer {
        let customer = Customer::open(self.trust.clone(), wallet, CustomerBook::in_memory(), self.system());
        let customer = customer.expect("opens");
        customer.register().await.expect("registers");
        customer
    }

    /// The whole ceremony between one customer and one brand.
    pub(crate) async fn link(&self, customer: &Customer, brand: &Brand) -> SubjectHandle {
        let invited = brand.partner.invite("Mei, gold card").await.expect("invites");
        let accepted = customer.accept(&invited.package).await.expect("accepts");
        brand.partner.confirm(&invited.link, &accepted.code).await.expect("confirms");
        invited.subject
    }

    /// Two brands, one customer linked with both, and row 1 of the journey approved and acknowledged by both.
    pub(crate) async fn with_grant(self) -> Granted {
        // Boxed, since every test holds this future in its own.
        let (skylark, hopp) = (Box::pin(self.brand("skylark")).await, Box::pin(self.brand("hopp")).await);
        let mei = self.customer_with(Wallet::from_secret(&MEI)).await;
        let at_skylark = Box::pin(self.link(&mei, &skylark)).await;
        let at_hopp = Box::pin(self.link(&mei, &hopp)).await;
        let mut granted = Granted {
            world: self,
            skylark,
            hopp,
            mei,
            at_skylark,
            at_hopp,
            grant: GrantName::of([0; 32].into()),
        };
        granted.grant = Box::pin(granted.approve_one()).await;
        granted
    }

    /// Every record of the log, read from the store.
    pub(crate) async fn records(&self) -> Vec<countersign_proto::log::v1::Record> {
        use prost::Message as _;
        let leaves = self.broker.ledger().leaves(0..u64::MAX).await.expect("reads");
        leaves
            .into_iter()
            .map(|leaf| countersign_proto::log::v1::Record::decode(leaf).expect("a record"))
            .collect()
    }

    /// How many records of this kind the log has.
    pub(crate) async fn count(&self, kind: Kind) -> usize {
        self.records().await.iter().filter(|record| record.kind() == kind).count()
    }

    pub(crate) async fn suspend(&self, brand: &Brand) {
        let asked =
            v1::SuspendPartnerRequest { name: brand.partner.name().to_string(), reason: "a test".to_owned() };
        self.operator.partners().suspend_partner(asked).await.expect("suspends");
    }
}

/// What every broker here is made of.
fn parts(ledger: Ledger, clock: TestClock, catalogue: bytes::Bytes) -> BrokerParts {
    let origin = Origin::parse(ORIGIN).expect("an origin");
    BrokerParts {
        ledger,
        clock: Arc::new(clock),
        entropy: Arc::new(SystemEntropy),
        issuer: Issuer::new(Principal::Broker(origin), &call_key()),
        kek: Kek::new([4; 32]),
        catalogue,
        older_catalogues: vec![],
        operators: vec![
            (operator(), operator_key().public().clone()),
            (second_operator(), second_operator_key().public().clone()),
        ],
        settings: Settings { sweep_interval: Duration::from_millis(50), ..Settings::default() },
    }
}

fn operator() -> OperatorName {
    OperatorName::of_id("root").expect("an id")
}

fn second_operator() -> OperatorName {
    OperatorName::of_id("second").expect("an id")
}

fn second_operator_key() -> SigningKey {
    SigningKey::from_secret(&[5; 32])
}

fn call_key() -> SigningKey {
    SigningKey::from_secret(&[2; 32])
}

fn operator_key() -> SigningKey {
    SigningKey::from_secret(&[3; 32])
}

/// A key under the log's name; the log's own has seed 1.
pub(crate) fn signer(seed: u8) -> SignerKey {
    let name = countersign_tlog::note::KeyName::parse(ORIGIN).expect("a name");
    SignerKey::from_seed(name, &[seed; 32])
}

/// Mei's root secret, so that a test can sign as she would.
pub(crate) const MEI: [u8; 32] = [42; 32];

/// A world with one standing grant: Skylark's trip to Hopp.
pub(crate) struct Granted {
    pub(crate) world: World,
    pub(crate) skylark: Brand,
    pub(crate) hopp: Brand,
    pub(crate) mei: Customer,
    pub(crate) at_skylark: SubjectHandle,
    pub(crate) at_hopp: SubjectHandle,
    pub(crate) grant: GrantName,
}

/// The purpose of row 1.
pub(crate) const PICKUP: &str = "pickup_planning";

/// The fields of row 1.
pub(crate) const TRIP: [&str; 3] = ["trip.flight_no", "trip.airport", "trip.terminal"];

impl Granted {
    pub(crate) async fn start() -> Self {
        World::start().await.with_grant().await
    }

    /// One more grant of row 1 between the same parties.
    pub(crate) async fn approve_one(&self) -> GrantName {
        let offer = self.hopp.offer_trip(&self.skylark, 12).await;
        let lifetime = Duration::from_secs(3600);
        let request = self
            .skylark
            .partner
            .request(&self.at_skylark, &[(offer, false)], lifetime)
            .await
            .expect("requests");
        let read = self.mei.read_request(&request).await.expect("verifies");
        let approved = self.mei.approve(&read, &Choice::required("en")).await.expect("approves");
        let grant = approved[0].grant.clone();
        self.skylark.until_in_book(&grant).await;
        self.hopp.until_in_book(&grant).await;
        grant
    }

    /// Fetches row 1's fields through the SDK.
    pub(crate) async fn fetch(&self) -> Result<countersign_client::Fetched, countersign_client::Error> {
        self.hopp.partner.fetch(&self.grant, PICKUP, &TRIP).await
    }
}
