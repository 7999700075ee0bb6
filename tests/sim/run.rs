//! One run: build the hosts, step through simulated time, look after each step, and see everything settle in the end.

use std::{
    cell::RefCell,
    panic::{self, AssertUnwindSafe},
    sync::{Arc, Once},
    time::{Duration, Instant},
};

use countersign_client::customer;
use countersign_proto::log::v1::{Kind, Record};
use turmoil::Sim;

use crate::{
    checks::Violation,
    customer as customers,
    faults::Injector,
    hosts,
    net::{BROKER_HOST, PARTNER_HOSTS},
    partner::{self, short},
    plan::{AUDITOR_HOST, CUSTOMER_HOSTS, Fault, OPERATOR_HOST, Plan},
    store::Mutation,
    world::{Counts, Leaving, Phase, World},
};

/// How far simulated time goes at once; messages are handed over between two such steps.
const TICK: Duration = Duration::from_millis(20);

/// How long the beginning may take: it is not disturbed.
const BEGINS_WITHIN_MS: u64 = 60_000;

/// After the faults everything settles within this: a source's claim comes after 45 s at most, a window of uses lasts
/// 20 s, and a dead connection is noticed after 30 s; twice over, since one can wait for another. What was signed by a clock
/// that ran ahead can be claimed once that time has come, so where clocks are skewed that comes on top.
const SETTLES_WITHIN_MS: u64 = 240_000;

/// Steps between two looks at what the parties hold.
const LOOK_EVERY: u64 = 25;

/// What came of a run.
#[derive(Clone)]
pub(crate) struct Report {
    pub(crate) seed: u64,
    pub(crate) digest: String,
    pub(crate) events: u64,
    pub(crate) steps: u64,
    pub(crate) simulated: Duration,
    pub(crate) settled_ms: u64,
    pub(crate) cpu: Duration,
    pub(crate) records: u64,
    pub(crate) transfers: u64,
    pub(crate) stops: u64,
    pub(crate) grants: u64,
    pub(crate) dropped: u64,
    pub(crate) taps: u64,
    pub(crate) superseded: u64,
    pub(crate) suspended: u64,
    pub(crate) revoked: u64,
    pub(crate) closed: u64,
    pub(crate) counts: Counts,
    pub(crate) violations: Vec<Violation>,
    pub(crate) recent: Vec<String>,
}

/// Runs a seed.
#[expect(
    clippy::disallowed_methods,
    reason = "how long a run took is for people, and nothing in it depends on it"
)]
pub(crate) fn run(seed: u64, mutation: Option<Mutation>, shown: bool) -> Report {
    catch_panics();
    let began = Instant::now();
    let plan = Plan::of(seed);
    let world = Arc::new(World::new(seed, plan, mutation, shown));
    world.note("*", &format!("{:?}", world.plan));
    let mut sim = build(&world);
    let mut driver = Driver::new(&world);
    let ended = panic::catch_unwind(AssertUnwindSafe(|| driver.drive(&mut sim)));
    for panicked in PANICS.take() {
        world.fail("panic", panicked);
    }
    if let Ok(Err(error)) = ended {
        world.fail("host", error.to_string());
    }
    // A run that failed may leave tasks behind that fail again when they are dropped.
    let dropped = panic::catch_unwind(AssertUnwindSafe(|| drop(sim)));
    drop((dropped, PANICS.take()));
    world.let_go();
    driver.report(began.elapsed())
}

thread_local! {
    /// Panics of this run: tasks that panic end quietly otherwise.
    static PANICS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn catch_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        panic::set_hook(Box::new(|info| PANICS.with_borrow_mut(|all| all.push(info.to_string()))));
    });
}

fn build(world: &Arc<World>) -> Sim<'static> {
    let mut sim = turmoil::Builder::new()
        .rng_seed(world.seed)
        .tick_duration(TICK)
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(world.plan.latency_ms))
        .simulation_duration(Duration::from_secs(86_400))
        .tcp_capacity(4_096)
        .enable_random_order()
        .build();
    let here = Arc::clone(world);
    sim.host(BROKER_HOST, move || hosts::broker(Arc::clone(&here)));
    let here = Arc::clone(world);
    sim.host(OPERATOR_HOST, move || hosts::operate(Arc::clone(&here)));
    let here = Arc::clone(world);
    sim.host(AUDITOR_HOST, move || hosts::audit(Arc::clone(&here)));
    for (at, host) in PARTNER_HOSTS.into_iter().take(world.plan.partners).enumerate() {
        let here = Arc::clone(world);
        sim.host(host, move || partner::live(Arc::clone(&here), at));
    }
    for (at, host) in CUSTOMER_HOSTS.into_iter().take(world.plan.customers).enumerate() {
        let here = Arc::clone(world);
        sim.host(host, move || customers::live(Arc::clone(&here), at));
    }
    sim
}

struct Driver {
    world: Arc<World>,
    injector: Injector,
    steps: u64,
    simulated: Duration,
    settled_ms: u64,
}

impl Driver {
    fn new(world: &Arc<World>) -> Self {
        Self {
            world: Arc::clone(world),
            injector: Injector::new(Arc::clone(world)),
            steps: 0,
            simulated: Duration::ZERO,
            settled_ms: 0,
        }
    }

    /// Ends at the first violation, or when everything has settled.
    fn drive(&mut self, sim: &mut Sim<'static>) -> turmoil::Result {
        let mut begun = 0;
        while self.world.phase() == Phase::Begins && self.step(sim)? {
            if self.now_ms() > BEGINS_WITHIN_MS {
                self.world.fail("liveness", "the partners were not entered".to_owned());
            }
            begun = self.now_ms();
        }
        while self.now_ms() < begun + self.world.plan.work_ms && self.step(sim)? {
            let now = self.now_ms();
            if now > begun + self.world.plan.calm_ms {
                self.injector.step(sim, now);
            }
        }
        self.injector.heal(sim);
        self.world.board.lock().phase = Phase::Settles;
        let healed = self.now_ms();
        let plan = &self.world.plan;
        let ahead = if plan.has(Fault::Skew) { plan.max_skew_ms } else { 0 };
        while self.step(sim)? {
            self.settled_ms = self.now_ms() - healed;
            if self.steps.is_multiple_of(LOOK_EVERY) {
                match self.unsettled() {
                    None => break,
                    Some(what) if self.settled_ms > SETTLES_WITHIN_MS + ahead => {
                        self.world.fail("liveness", what);
                    }
                    Some(_) => {}
                }
            }
        }
        if self.world.checks.lock().violations().is_empty() {
            self.look();
            let store = self.world.storage.current();
            self.world.checks.lock().audit(&store, &self.world.trust);
        }
        Ok(())
    }

    fn now_ms(&self) -> u64 {
        self.simulated.as_millis() as u64
    }

    /// One step of simulated time. Says whether to go on.
    fn step(&mut self, sim: &mut Sim<'static>) -> Result<bool, Box<dyn std::error::Error>> {
        sim.step()?;
        self.steps += 1;
        self.simulated = sim.elapsed();
        self.world.set_elapsed(self.simulated);
        let now = self.now_ms();
        self.injector.supervise(sim, now);
        self.read_log();
        if self.steps.is_multiple_of(LOOK_EVERY) {
            self.look();
        }
        if PANICS.with_borrow(|all| !all.is_empty()) {
            return Ok(false);
        }
        Ok(self.world.checks.lock().violations().is_empty())
    }

    fn read_log(&self) {
        let store = self.world.storage.current();
        if store.size() != self.world.checks.lock().records() {
            self.world.keep_what_was_signed();
        }
        let new = self.world.checks.lock().catch_up(&store);
        for (index, record) in new {
            self.world.note("log", &told(index, &record));
        }
        if let Some(violation) = self.world.checks.lock().violations().last() {
            let line = format!("{}: {}", violation.invariant, violation.detail);
            let at = self.now_ms();
            self.world.trace.lock().add(at, "!", &line);
        }
    }

    /// The heads that the parties hold, and what they were told.
    fn look(&self) {
        let (board, store) = (self.world.board.lock(), self.world.storage.current());
        let mut checks = self.world.checks.lock();
        for partner in board.partners.iter().flatten() {
            if let Some(head) = partner.monitor().head() {
                checks.handed_out(partner.name().as_str(), &store, &head);
            }
        }
        checks.hold_promises();
        checks.hold_closings();
    }

    /// What has not settled yet.
    fn unsettled(&self) -> Option<String> {
        if !self.injector.all_are_up() {
            return Some("a host is down".to_owned());
        }
        let board = self.world.board.lock();
        if let Some((partner, _)) = board.orders.first() {
            return Some(format!("the operator has not dealt with partner {partner}"));
        }
        if let Some(name) = board.held.first() {
            return Some(format!("the operator still holds {}", short(name.as_str())));
        }
        if let Some(partner) = board.let_go.iter().position(|gone| !gone) {
            return Some(format!("partner {partner} has not let go of what it suspended"));
        }
        for (at, customer) in board.customers.iter().enumerate() {
            let Some(customer) = customer else { return Some(format!("customer {at} is down")) };
            if !board.at_rest[at] {
                return Some(format!("customer {at} waits for the end of a change"));
            }
            // Who was not heard before the account was closed keeps what it knew.
            if board.leaving[at] == Leaving::Gone {
                continue;
            }
            if let Some(what) = self.books_differ(&board.partners, customer) {
                return Some(what);
            }
        }
        for partner in board.partners.iter().flatten() {
            let owed = partner.book().receipts_owed();
            // What a customer took along who has left, nobody can prove any more.
            if owed > 0 && !board.leaving.contains(&Leaving::Gone) {
                return Some(format!("{} is owed {owed} receipts", partner.name()));
            }
        }
        let checks = self.world.checks.lock();
        let waits = board.signed.iter().find(|(name, (_, terms))| {
            checks.is_open(&terms.log_tag) && !board.fetched_at_last.contains_key(*name)
        });
        if let Some((name, _)) = waits {
            return Some(format!("nothing can be fetched under {}", short(name.as_str())));
        }
        let published = self.world.storage.current().public_file("checkpoint");
        let size =
            published.and_then(|bytes| String::from_utf8_lossy(&bytes).lines().nth(1)?.parse::<u64>().ok());
        (size != Some(checks.records())).then(|| "the newest records are not public".to_owned())
    }

    /// Source and recipient have each change that the customer knows to be recorded.
    fn books_differ(
        &self,
        partners: &[Option<countersign_client::Partner>],
        customer: &customer::Customer,
    ) -> Option<String> {
        let checks = self.world.checks.lock();
        for row in customer.book().grants() {
            if !checks.is_approved(&row.terms.log_tag) {
                continue;
            }
            for partner in partners.iter().flatten() {
                if *partner.name() != row.terms.source && *partner.name() != row.terms.recipient {
                    continue;
                }
                let (name, told) = (partner.name(), short(row.name.as_str()));
                match partner.book().grant(&row.name) {
                    None => return Some(format!("{name} does not have grant {told}")),
                    // What an operator ended, a book holds by the broker's word.
                    Some(theirs)
                        if theirs.sequence() != row.sequence
                            || (theirs.held() && !checks.ended_by_operator(&row.terms.log_tag)) =>
                    {
                        return Some(format!("{name} has another change of {told} than its customer"));
                    }
                    Some(_) => {}
                }
            }
        }
        None
    }

    fn report(self, cpu: Duration) -> Report {
        let (checks, trace) = (self.world.checks.lock(), self.world.trace.lock());
        Report {
            seed: self.world.seed,
            digest: trace.digest(),
            events: trace.events(),
            steps: self.steps,
            simulated: self.simulated,
            settled_ms: self.settled_ms,
            cpu,
            records: checks.records(),
            transfers: checks.count(Kind::Transfer),
            stops: checks.count(Kind::GrantWithdrawn),
            grants: checks.count(Kind::GrantApproved),
            dropped: checks.count(Kind::ProvidedNotReleased),
            taps: checks.count(Kind::LocationTapped),
            superseded: checks.count(Kind::GrantSuperseded),
            suspended: checks.count(Kind::GrantSuspended) + checks.count(Kind::GrantSuspendedByOperator),
            revoked: checks.count(Kind::GrantRevoked) + checks.count(Kind::GrantRevokedByOperator),
            closed: checks.count(Kind::CustomerErased),
            counts: self.world.counts.lock().clone(),
            violations: checks.violations().to_vec(),
            recent: trace.recent(),
        }
    }
}

/// A record in a line.
fn told(index: u64, record: &Record) -> String {
    let kind = record.kind().as_str_name().trim_start_matches("KIND_");
    let went = record.result().as_str_name().trim_start_matches("RESULT_");
    let tag = record.grant_tag.first_chunk::<3>();
    let of = tag.map(|tag| format!(" of {:02x}{:02x}{:02x}", tag[0], tag[1], tag[2])).unwrap_or_default();
    let spent = match record.use_number {
        0 => String::new(),
        number => format!(" use {number} {went}"),
    };
    let reason = if record.reason.is_empty() { "" } else { " " };
    format!("{index} {kind}{of}{spent}{reason}{}", record.reason)
}
