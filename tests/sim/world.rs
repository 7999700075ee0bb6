//! What all hosts of one run share: the clocks, the trace, the checks, and what people tell each other outside the broker.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
    time::Duration,
};

use countersign_client::{
    BrokerTrust, Connection, Error, InvitationPackage, Partner, System,
    customer::{Customer, Wallet},
};
use countersign_grants::{
    id::{
        AuditorName, GrantName, LinkName, OfferName, OperatorName, Origin, PartnerName, Principal,
        RequestName,
    },
    key::SigningKey,
    statement::GrantTerms,
    time::{Clock, Timestamp},
};
use countersign_ledger::SignerKey;
use countersign_tlog::KeyName;
use parking_lot::Mutex;

use crate::{
    blame::{self, Allowed},
    checks::Checks,
    disk::Disk,
    net::{PARTNER_HOSTS, broker_address, dial},
    plan::{CUSTOMER_HOSTS, Plan},
    random::{Random, SeededEntropy},
    store::{Mutation, Storage},
    trace::Trace,
};

/// The log of every run.
const ORIGIN: &str = "broker.test/log";

/// When every run begins, in Unix milliseconds.
const BEGINNING_MS: u64 = 1_790_000_000_000;

/// How far a run has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// The operator enters the partners; nothing is harmed yet.
    Begins,
    /// Work and faults.
    Works,
    /// The faults are over; what was begun settles.
    Settles,
}

/// One run.
pub(crate) struct World {
    pub(crate) seed: u64,
    pub(crate) plan: Plan,
    pub(crate) trust: BrokerTrust,
    pub(crate) storage: Storage,
    pub(crate) checks: Mutex<Checks>,
    pub(crate) trace: Mutex<Trace>,
    pub(crate) board: Mutex<Board>,
    pub(crate) disks: BTreeMap<String, Disk>,
    pub(crate) counts: Mutex<Counts>,
    skews: BTreeMap<String, AtomicI64>,
    /// Simulated time as the driver knows it, for those who are on no host.
    elapsed_ms: AtomicU64,
    /// By how much all clocks were set forward together.
    forward_ms: AtomicU64,
    lives: AtomicU64,
}

/// How far a customer has come with closing the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leaving {
    No,
    /// It may have been sent.
    Begun,
    /// It is closed.
    Gone,
}

/// What people tell each other, and which parties are up.
pub(crate) struct Board {
    pub(crate) phase: Phase,
    pub(crate) partners: Vec<Option<Partner>>,
    pub(crate) customers: Vec<Option<Customer>>,
    /// By partner and customer.
    pub(crate) ceremonies: BTreeMap<(usize, usize), Ceremony>,
    /// Offers by recipient and source.
    pub(crate) offers: Vec<Offered>,
    /// By customer, the requests that a brand's own app sends them to.
    pub(crate) asked: Vec<Vec<RequestName>>,
    /// What customers signed.
    pub(crate) signed: BTreeMap<GrantName, (usize, GrantTerms)>,
    /// Whose data a source's handle stands for.
    pub(crate) handles: BTreeMap<String, usize>,
    /// How slow the sources' handlers are just now.
    pub(crate) handler_pause: Duration,
    pub(crate) suspended: Vec<bool>,
    /// Partners that the operator is to suspend or to resume.
    pub(crate) orders: Vec<(usize, bool)>,
    /// Final fetches that succeeded, by grant.
    pub(crate) fetched_at_last: BTreeMap<GrantName, bool>,
    /// Customers whose every change is known to have settled.
    pub(crate) at_rest: Vec<bool>,
    /// Who closes the account.
    pub(crate) leaving: Vec<Leaving>,
    /// Partners that suspend nothing any more, and whose every change the broker has.
    pub(crate) let_go: Vec<bool>,
    /// Grants that the operator may have suspended.
    pub(crate) held: Vec<GrantName>,
}

/// A link in the making.
pub(crate) enum Ceremony {
    /// The customer's app has it.
    Invited { package: Box<InvitationPackage>, link: LinkName, expires: Timestamp, code: Option<String> },
    /// It stands.
    Linked,
}

/// An offer that was published.
#[derive(Clone)]
pub(crate) struct Offered {
    pub(crate) name: OfferName,
    pub(crate) recipient: usize,
    pub(crate) source: usize,
}

/// What is shown of a run in the end.
#[derive(Clone, Default)]
pub(crate) struct Counts {
    pub(crate) calls: u64,
    pub(crate) outcomes: BTreeMap<String, u64>,
    pub(crate) faults: BTreeMap<&'static str, u64>,
}

impl World {
    pub(crate) fn new(seed: u64, plan: Plan, mutation: Option<Mutation>, shown: bool) -> Self {
        let trust = BrokerTrust {
            origin: Origin::parse(ORIGIN).expect("an origin"),
            log_key: log_key(seed).verifier().clone(),
            call_key: call_key(seed).public().clone(),
            address: broker_address(),
            ca_pem: None,
        };
        let hosts = plan.hosts();
        let board = Board {
            phase: Phase::Begins,
            partners: vec![None; plan.partners],
            customers: vec![None; plan.customers],
            ceremonies: BTreeMap::new(),
            offers: Vec::new(),
            asked: vec![Vec::new(); plan.customers],
            signed: BTreeMap::new(),
            handles: BTreeMap::new(),
            handler_pause: Duration::ZERO,
            suspended: vec![false; plan.partners],
            orders: Vec::new(),
            fetched_at_last: BTreeMap::new(),
            at_rest: vec![false; plan.customers],
            leaving: vec![Leaving::No; plan.customers],
            let_go: vec![false; plan.partners],
            held: Vec::new(),
        };
        Self {
            seed,
            trust,
            storage: Storage::new(mutation),
            checks: Mutex::new(Checks::new()),
            trace: Mutex::new(Trace::new(shown)),
            board: Mutex::new(board),
            disks: hosts.iter().map(|host| (host.clone(), Disk::default())).collect(),
            counts: Mutex::default(),
            skews: hosts.into_iter().map(|host| (host, AtomicI64::new(0))).collect(),
            elapsed_ms: AtomicU64::new(0),
            forward_ms: AtomicU64::new(0),
            lives: AtomicU64::new(0),
            plan,
        }
    }

    /// Simulated time since the beginning.
    pub(crate) fn elapsed_ms(&self) -> u64 {
        let here = turmoil::in_simulation().then(turmoil::sim_elapsed).flatten();
        here.map_or_else(|| self.elapsed_ms.load(Ordering::Relaxed), |time| time.as_millis() as u64)
    }

    pub(crate) fn set_elapsed(&self, elapsed: Duration) {
        self.elapsed_ms.store(elapsed.as_millis() as u64, Ordering::Relaxed);
    }

    /// Sets one host's clock.
    pub(crate) fn set_skew(&self, host: &str, skew_ms: i64) {
        self.skews[host].store(skew_ms, Ordering::Relaxed);
    }

    /// Sets all clocks right, and forward past the newest record: the log's time never goes back, so a broker whose clock
    /// was ahead has to wait, and this is the wait.
    pub(crate) fn set_clocks_right(&self) {
        self.skews.values().for_each(|skew| skew.store(0, Ordering::Relaxed));
        let behind = self.checks.lock().last_ms().saturating_sub(BEGINNING_MS + self.elapsed_ms());
        self.forward_ms.store(behind, Ordering::Relaxed);
    }

    pub(crate) fn phase(&self) -> Phase {
        self.board.lock().phase
    }

    pub(crate) fn note(&self, who: &str, what: &str) {
        let at = self.elapsed_ms();
        self.trace.lock().add(at, who, what);
    }

    pub(crate) fn fail(&self, invariant: &'static str, detail: String) {
        self.note("!", &format!("{invariant}: {detail}"));
        self.checks.lock().fail(invariant, detail);
    }

    /// What came of a call of an honest party: traced, counted, and held against what the faults excuse.
    pub(crate) fn outcome<T>(
        &self,
        who: &str,
        what: &str,
        came: &Result<T, Error>,
        good: impl FnOnce(&T) -> String,
    ) {
        let word = match came {
            Ok(done) => {
                self.note(who, &format!("{what}: {}", good(done)));
                "ok".to_owned()
            }
            Err(error) => {
                let word = blame::word(error);
                self.note(who, &format!("{what}: {word}"));
                if blame::judge(&self.plan, error) == Allowed::Never {
                    self.fail("error", format!("{who}: {what}: {error}"));
                }
                word
            }
        };
        let mut counts = self.counts.lock();
        counts.calls += 1;
        *counts.outcomes.entry(word).or_default() += 1;
    }

    /// Takes over what customers signed: from their own books, since an answer can be lost.
    pub(crate) fn keep_what_was_signed(&self) {
        let mut board = self.board.lock();
        let customers: Vec<_> = board.customers.iter().cloned().enumerate().collect();
        for (at, customer) in customers {
            for row in customer.iter().flat_map(|customer| customer.book().grants()) {
                self.checks.lock().signed(at, &row.terms);
                board.signed.insert(row.name, (at, row.terms));
            }
        }
    }

    /// A host is down: nobody sees into it.
    pub(crate) fn forget_handles(&self, host: &str) {
        let mut board = self.board.lock();
        if let Some(at) = PARTNER_HOSTS.iter().position(|one| *one == host) {
            board.partners[at] = None;
            board.let_go[at] = false;
        }
        if let Some(at) = CUSTOMER_HOSTS.iter().position(|one| *one == host) {
            board.customers[at] = None;
            board.at_rest[at] = false;
        }
    }

    /// The run is over. Whoever is up has a clock, which has this world, which has whoever is up: they would stay for good.
    pub(crate) fn let_go(&self) {
        let mut board = self.board.lock();
        let parties = (std::mem::take(&mut board.partners), std::mem::take(&mut board.customers));
        drop(board);
        drop(parties);
    }

    pub(crate) fn count_fault(&self, kind: &'static str) {
        *self.counts.lock().faults.entry(kind).or_default() += 1;
    }

    /// A host's clock and randomness; the randomness is new in each of its lives.
    pub(crate) fn system(self: &Arc<Self>, host: &str) -> System {
        let life = self.lives.fetch_add(1, Ordering::Relaxed);
        System {
            clock: Arc::new(HostClock { world: Arc::clone(self), host: host.to_owned() }),
            entropy: Arc::new(SeededEntropy::new(self.seed, &format!("{host}/{life}"))),
        }
    }

    /// What a host decides by.
    pub(crate) fn random(&self, name: &str) -> Random {
        let life = self.lives.fetch_add(1, Ordering::Relaxed);
        Random::new(self.seed, &format!("{name}#{life}"))
    }

    pub(crate) fn connection(&self, principal: Principal, key: &SigningKey, system: &System) -> Connection {
        Connection::dialled(&self.trust, principal, key, Arc::clone(&system.clock), dial)
            .expect("an address of loopback")
    }
}

struct HostClock {
    world: Arc<World>,
    host: String,
}

impl Clock for HostClock {
    fn now(&self) -> Timestamp {
        let world = &self.world;
        let right = BEGINNING_MS + world.elapsed_ms() + world.forward_ms.load(Ordering::Relaxed);
        Timestamp::from_millis(right.saturating_add_signed(world.skews[&self.host].load(Ordering::Relaxed)))
    }

    fn elapsed(&self) -> Duration {
        Duration::from_millis(self.world.elapsed_ms())
    }
}

pub(crate) fn log_key(seed: u64) -> SignerKey {
    SignerKey::from_seed(KeyName::parse(ORIGIN).expect("a name"), &secret(seed, "log"))
}

pub(crate) fn call_key(seed: u64) -> SigningKey {
    SigningKey::from_secret(&secret(seed, "broker"))
}

pub(crate) fn operator() -> OperatorName {
    OperatorName::of_id("root").expect("an id")
}

pub(crate) fn second_operator() -> OperatorName {
    OperatorName::of_id("second").expect("an id")
}

pub(crate) fn auditor() -> AuditorName {
    AuditorName::of_id("audit").expect("an id")
}

pub(crate) fn partner_name(partner: usize) -> PartnerName {
    PartnerName::of_id(PARTNER_HOSTS[partner]).expect("an id")
}

/// A key of somebody that every life has.
pub(crate) fn key_of(seed: u64, who: &str) -> SigningKey {
    SigningKey::from_secret(&secret(seed, who))
}

pub(crate) fn wallet_of(seed: u64, customer: usize) -> Wallet {
    Wallet::from_secret(&secret(seed, &format!("wallet {customer}")))
}

pub(crate) fn secret(seed: u64, what: &str) -> [u8; 32] {
    countersign_grants::time::draw(&SeededEntropy::new(seed, what))
}

/// A customer's data: what every source gives for that customer, and nobody else's.
pub(crate) fn value_of(customer: usize) -> String {
    format!("CU {customer}")
}
