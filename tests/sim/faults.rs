//! Faults as they come and go.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use countersign_store::memory::Breakdown;
use turmoil::Sim;

use crate::{
    net::BROKER_HOST,
    plan::{AUDITOR_HOST, FAULTS, Fault},
    random::Random,
    world::World,
};

/// How often the dice are looked at.
const LOOK_EVERY_MS: u64 = 500;

/// Brings faults into a run, and takes them back.
pub(crate) struct Injector {
    world: Arc<World>,
    random: Random,
    next_look_ms: u64,
    /// Pairs of hosts whose network is harmed, until when and how.
    links: BTreeMap<(String, String), (u64, Fault)>,
    /// Hosts that are down, until when.
    down: BTreeMap<String, u64>,
    slow_until_ms: Option<u64>,
    suspended: BTreeMap<usize, u64>,
    /// Hosts whose clock is wrong, until when.
    skewed: BTreeMap<String, u64>,
}

impl Injector {
    pub(crate) fn new(world: Arc<World>) -> Self {
        let random = world.random("faults");
        Self {
            world,
            random,
            next_look_ms: 0,
            links: BTreeMap::new(),
            down: BTreeMap::new(),
            slow_until_ms: None,
            suspended: BTreeMap::new(),
            skewed: BTreeMap::new(),
        }
    }

    /// Ends what is over, and perhaps begins something.
    pub(crate) fn step(&mut self, sim: &mut Sim<'_>, now_ms: u64) {
        self.end(sim, now_ms);
        if now_ms < self.next_look_ms {
            return;
        }
        self.next_look_ms = now_ms + LOOK_EVERY_MS;
        if self.random.chance(self.world.plan.fault_percent) {
            let chosen: Vec<_> = self.world.plan.faults.iter().copied().collect();
            if let Some(fault) = self.random.pick(&chosen).copied() {
                self.begin(sim, now_ms, fault);
            }
        }
    }

    /// Ends everything, and sets the clocks right.
    pub(crate) fn heal(&mut self, sim: &mut Sim<'_>) {
        self.end(sim, u64::MAX);
        self.world.set_clocks_right();
        self.world.note("*", "all faults are over");
    }

    /// A process that has ended by itself is started again a little later, as any supervisor does.
    pub(crate) fn supervise(&mut self, sim: &mut Sim<'_>, now_ms: u64) {
        if !self.down.contains_key(BROKER_HOST) && !sim.is_host_running(BROKER_HOST) {
            let after = self.random.between(100, 2_000);
            self.down.insert(BROKER_HOST.to_owned(), now_ms + after);
        }
        self.end_downtimes(sim, now_ms);
    }

    pub(crate) fn all_are_up(&self) -> bool {
        self.down.is_empty()
    }

    fn begin(&mut self, sim: &mut Sim<'_>, now_ms: u64, fault: Fault) {
        let happened = match fault {
            Fault::Partition | Fault::OneWay | Fault::Hold | Fault::Latency => {
                self.harm_link(sim, now_ms, fault)
            }
            Fault::BrokerCrash => self.crash(sim, now_ms, BROKER_HOST),
            Fault::PartyCrash => {
                let parties: Vec<_> = self.world.plan.parties().collect();
                let party = self.random.pick(&parties).copied().unwrap_or(parties[0]);
                self.crash(sim, now_ms, party)
            }
            Fault::Doubt => self.leave_in_doubt(),
            Fault::Skew => self.skew(now_ms),
            Fault::Suspension => self.suspend(now_ms),
            Fault::SlowHandler => {
                let pause = Duration::from_millis(self.random.between(200, 9_500));
                self.world.board.lock().handler_pause = pause;
                self.slow_until_ms = Some(now_ms + self.random.between(1_000, 8_000));
                self.world.note("*", &format!("sources take {pause:?}"));
                true
            }
        };
        if happened {
            let name = FAULTS.iter().find(|(one, _)| *one == fault).map_or("", |(_, name)| *name);
            self.world.count_fault(name);
        }
    }

    /// Everybody speaks with the broker and the broker with the sources, so one end is always the broker.
    fn harm_link(&mut self, sim: &mut Sim<'_>, now_ms: u64, fault: Fault) -> bool {
        let others: Vec<_> = self.world.plan.parties().chain([AUDITOR_HOST]).collect();
        let other = *self.random.pick(&others).expect("there are partners");
        let mut pair = (BROKER_HOST.to_owned(), other.to_owned());
        if self.random.chance(50) {
            pair = (pair.1, pair.0);
        }
        if self.links.keys().any(|one| *one == pair || (&one.1, &one.0) == (&pair.0, &pair.1)) {
            return false;
        }
        let lasts = if self.random.chance(70) {
            self.random.between(300, 4_000)
        } else {
            self.random.between(4_000, 25_000)
        };
        let (from, to) = (pair.0.as_str(), pair.1.as_str());
        match fault {
            Fault::Partition => sim.partition(from, to),
            Fault::OneWay => sim.partition_oneway(from, to),
            Fault::Hold => sim.hold(from, to),
            _ => {
                let most = Duration::from_millis(self.random.between(200, 3_000));
                sim.set_link_max_message_latency(from, to, most);
            }
        }
        self.world.note("*", &format!("{fault:?} {from} {to} for {lasts} ms"));
        self.links.insert(pair, (now_ms + lasts, fault));
        true
    }

    fn crash(&mut self, sim: &mut Sim<'_>, now_ms: u64, host: &str) -> bool {
        if self.down.contains_key(host) || !sim.is_host_running(host) {
            return false;
        }
        self.world.keep_what_was_signed();
        let lasts = self.random.between(50, 6_000);
        // A process that ends closes its connections; a machine that ends says nothing.
        let silent = self.random.chance(50);
        let harmed = |other: &str| {
            let is = |(a, b): &(String, String)| (a == host && b == other) || (b == host && a == other);
            self.links.keys().any(is)
        };
        let mut others = self.world.plan.hosts();
        others.retain(|other| other != host && !harmed(other));
        if silent {
            for other in &others {
                sim.partition_oneway(host, other.as_str());
            }
        }
        sim.crash(host);
        if silent {
            for other in &others {
                sim.repair_oneway(host, other.as_str());
            }
            if let Some(disk) = self.world.disks.get(host) {
                let lost = disk.lose_power(&mut self.random);
                self.world.note("*", &format!("{host} loses {lost} entries"));
            }
        }
        self.world.forget_handles(host);
        self.world
            .note("*", &format!("{host} crashes for {lasts} ms{}", if silent { ", silently" } else { "" }));
        self.down.insert(host.to_owned(), now_ms + lasts);
        true
    }

    fn leave_in_doubt(&mut self) -> bool {
        let breakdown = if self.random.chance(50) { Breakdown::Lost } else { Breakdown::Persisted };
        self.world.storage.current().break_next_commit(breakdown);
        self.world.note("*", &format!("the next commit is {breakdown:?}, and nobody is told"));
        true
    }

    fn skew(&mut self, now_ms: u64) -> bool {
        let hosts = self.world.plan.hosts();
        let host = self.random.pick(&hosts).expect("there are hosts").clone();
        let most = self.world.plan.max_skew_ms;
        let skew = self.random.between(0, 2 * most).cast_signed() - most.cast_signed();
        self.world.set_skew(&host, skew);
        let lasts = self.random.between(1_000, 15_000);
        self.world.note("*", &format!("the clock of {host} is {skew} ms off for {lasts} ms"));
        self.skewed.insert(host, now_ms + lasts);
        true
    }

    fn suspend(&mut self, now_ms: u64) -> bool {
        let partner = self.random.below(self.world.plan.partners as u64) as usize;
        if self.suspended.contains_key(&partner) {
            return false;
        }
        let lasts = self.random.between(500, 10_000);
        self.suspended.insert(partner, now_ms + lasts);
        self.world.board.lock().orders.push((partner, true));
        true
    }

    fn end(&mut self, sim: &mut Sim<'_>, now_ms: u64) {
        let over: Vec<_> = self.links.iter().filter(|(_, (until, _))| *until <= now_ms).collect();
        let over: Vec<_> = over.into_iter().map(|(pair, (_, fault))| (pair.clone(), *fault)).collect();
        for (pair, fault) in over {
            self.links.remove(&pair);
            let (from, to) = (pair.0.as_str(), pair.1.as_str());
            match fault {
                Fault::Partition => sim.repair(from, to),
                Fault::OneWay => sim.repair_oneway(from, to),
                Fault::Hold => sim.release(from, to),
                _ => {
                    let usual = Duration::from_millis(self.world.plan.latency_ms);
                    sim.set_link_max_message_latency(from, to, usual);
                }
            }
            self.world.note("*", &format!("{fault:?} {from} {to} is over"));
        }
        if self.slow_until_ms.is_some_and(|until| until <= now_ms) {
            self.slow_until_ms = None;
            self.world.board.lock().handler_pause = Duration::ZERO;
        }
        let over = due(&self.suspended, now_ms);
        for partner in over {
            self.suspended.remove(&partner);
            self.world.board.lock().orders.push((partner, false));
        }
        let over = due(&self.skewed, now_ms);
        for host in over {
            self.skewed.remove(&host);
            self.world.set_skew(&host, 0);
            self.world.note("*", &format!("the clock of {host} is right"));
        }
        self.end_downtimes(sim, now_ms);
    }

    fn end_downtimes(&mut self, sim: &mut Sim<'_>, now_ms: u64) {
        let over = due(&self.down, now_ms);
        for host in over {
            self.down.remove(&host);
            self.world.note("*", &format!("{host} starts again"));
            sim.bounce(host.as_str());
        }
    }
}

/// What has lasted until now.
fn due<K: Ord + Clone>(until: &BTreeMap<K, u64>, now_ms: u64) -> Vec<K> {
    until.iter().filter(|(_, end)| **end <= now_ms).map(|(what, _)| what.clone()).collect()
}
