//! What a run is made of, as its seed says: who takes part, and which faults can come.

use std::collections::BTreeSet;

use crate::{
    net::{BROKER_HOST, PARTNER_HOSTS},
    random::Random,
};

/// The customers' hosts.
pub(crate) const CUSTOMER_HOSTS: [&str; 3] = ["mei", "noa", "sam"];

/// The operator's host.
pub(crate) const OPERATOR_HOST: &str = "operator";

/// The auditor's host.
pub(crate) const AUDITOR_HOST: &str = "auditor";

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// Two hosts don't hear each other; what was under way is lost.
    Partition,
    /// One of two hosts doesn't hear the other.
    OneWay,
    /// What two hosts send each other comes late, all at once.
    Hold,
    /// A connection becomes slow.
    Latency,
    /// The broker's process ends.
    BrokerCrash,
    /// A partner's or a customer's process ends; at times its machine, with what its book had not synced.
    PartyCrash,
    /// A commit whose outcome the broker doesn't learn.
    Doubt,
    /// A host's clock is wrong, and jumps.
    Skew,
    /// The operator suspends a partner.
    Suspension,
    /// A source's own systems are slow.
    SlowHandler,
}

/// All of them, with the name that the table shows.
pub(crate) const FAULTS: [(Fault, &str); 10] = [
    (Fault::Partition, "partition"),
    (Fault::OneWay, "one-way"),
    (Fault::Hold, "hold"),
    (Fault::Latency, "latency"),
    (Fault::BrokerCrash, "broker"),
    (Fault::PartyCrash, "party"),
    (Fault::Doubt, "doubt"),
    (Fault::Skew, "skew"),
    (Fault::Suspension, "suspension"),
    (Fault::SlowHandler, "slow"),
];

/// One run, before it begins.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) partners: usize,
    pub(crate) customers: usize,
    /// Who closes the account, early or at the end.
    pub(crate) leavers: BTreeSet<usize>,
    pub(crate) faults: BTreeSet<Fault>,
    /// Of a hundred looks at the dice, two a second, how many bring a fault.
    pub(crate) fault_percent: u64,
    /// The farthest that a clock is wrong.
    pub(crate) max_skew_ms: u64,
    /// The longest that a message takes while all is well.
    pub(crate) latency_ms: u64,
    /// How long work goes on before the first fault: in most runs links and grants stand by then.
    pub(crate) calm_ms: u64,
    /// How long work and faults last.
    pub(crate) work_ms: u64,
}

impl Plan {
    /// Each seed has some of the faults: those that hide each other meet apart in some runs, and together in others.
    pub(crate) fn of(seed: u64) -> Self {
        let mut random = Random::new(seed, "plan");
        let calm = random.chance(5);
        let share = random.between(15, 70);
        let chosen = FAULTS.iter().filter(|_| !calm && random.chance(share)).map(|(fault, _)| *fault);
        let faults: BTreeSet<Fault> = chosen.collect();
        let minute = 60_000;
        let partners = random.between(2, 3) as usize;
        let customers = random.between(1, 3) as usize;
        Self {
            partners,
            customers,
            leavers: (0..customers).filter(|_| random.chance(25)).collect(),
            faults,
            fault_percent: random.between(5, 40),
            max_skew_ms: if random.chance(40) { minute / 3 } else { 10 * minute },
            latency_ms: random.between(5, 60),
            calm_ms: if random.chance(75) { random.between(4_000, 10_000) } else { 0 },
            work_ms: random.between(20_000, 45_000),
        }
    }

    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.faults.contains(&fault)
    }

    /// Whether a call may go without an answer.
    pub(crate) fn breaks_calls(&self) -> bool {
        use Fault::{BrokerCrash, Doubt, Hold, Latency, OneWay, Partition, PartyCrash};
        [Partition, OneWay, Hold, Latency, BrokerCrash, PartyCrash, Doubt]
            .iter()
            .any(|fault| self.has(*fault))
    }

    /// Whether a customer closes the account.
    pub(crate) fn somebody_leaves(&self) -> bool {
        !self.leavers.is_empty()
    }

    /// All hosts.
    pub(crate) fn hosts(&self) -> Vec<String> {
        let all = [BROKER_HOST, OPERATOR_HOST, AUDITOR_HOST].into_iter();
        all.chain(self.parties()).map(str::to_owned).collect()
    }

    /// The hosts that crash and are cut off: partners, then customers.
    pub(crate) fn parties(&self) -> impl Iterator<Item = &'static str> {
        let partners = PARTNER_HOSTS.into_iter().take(self.partners);
        partners.chain(CUSTOMER_HOSTS.into_iter().take(self.customers))
    }
}
