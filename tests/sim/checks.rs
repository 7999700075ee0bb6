//! The invariants. They read the log as it is durable, and what honest parties were told, and trust no code of the broker.

use std::collections::BTreeMap;

use bytes::Bytes;
use countersign_client::{
    BrokerTrust,
    auditor::{self, LogSource, SourceError},
    receipt::ProvenLeaf,
};
use countersign_grants::{digest::Digest, statement::GrantTerms};
use countersign_proto::log::v1::{Kind, Record, Result as Went};
use countersign_tlog::{Hash, LogPath, SignedCheckpoint, Tree, hash::leaf_hash};
use prost::Message as _;

use crate::store::SimStore;

/// What does not hold.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Violation {
    /// Which invariant, in a stable word.
    pub(crate) invariant: &'static str,
    /// What was seen.
    pub(crate) detail: String,
}

/// What the log and the parties said so far.
pub(crate) struct Checks {
    leaves: Vec<Bytes>,
    tree: Tree,
    /// The root of every size.
    roots: Vec<Hash>,
    grants: BTreeMap<Bytes, Seen>,
    limits: BTreeMap<Bytes, Limits>,
    /// From which record on nothing of a customer flows, by customer.
    closed: BTreeMap<usize, u64>,
    /// How many fetches each tap has served.
    served: BTreeMap<Digest, u64>,
    kinds: BTreeMap<i32, u64>,
    promised: BTreeMap<i32, u64>,
    checkpoints: BTreeMap<u64, SignedCheckpoint>,
    last_ms: u64,
    violations: Vec<Violation>,
}

/// What the log says of a grant.
#[derive(Default)]
struct Seen {
    approved: bool,
    stopped: Option<u64>,
    paused: Option<u64>,
    /// By the source, and by the operators.
    suspended: [Option<u64>; 2],
    /// An operator has ended it.
    by_operator: bool,
    /// The last record by which data flowed, or was to flow.
    flowed: Option<u64>,
    released: u64,
    /// Since when, and how many uses in it.
    window: Option<(u64, u64)>,
}

/// What the customer signed.
struct Limits {
    customer: usize,
    uses: u64,
    rate: Option<(u64, u64)>,
}

impl Checks {
    pub(crate) fn new() -> Self {
        let tree = Tree::new();
        Self {
            leaves: Vec::new(),
            roots: vec![tree.root()],
            tree,
            grants: BTreeMap::new(),
            limits: BTreeMap::new(),
            closed: BTreeMap::new(),
            served: BTreeMap::new(),
            kinds: BTreeMap::new(),
            promised: BTreeMap::new(),
            checkpoints: BTreeMap::new(),
            last_ms: 0,
            violations: Vec::new(),
        }
    }

    pub(crate) fn violations(&self) -> &[Violation] {
        &self.violations
    }

    pub(crate) fn fail(&mut self, invariant: &'static str, detail: String) {
        self.violations.push(Violation { invariant, detail });
    }

    /// Reads what the log has grown by; gives it back, to be traced.
    pub(crate) fn catch_up(&mut self, store: &SimStore) -> Vec<(u64, Record)> {
        let seen = self.leaves.len() as u64;
        let size = store.size();
        if size < seen {
            self.fail("durable", format!("the log has {size} records and had {seen}"));
            return Vec::new();
        }
        if size == seen {
            return Vec::new();
        }
        let read = |leaf| self.read(leaf);
        store.records_from(seen).into_iter().filter_map(read).collect()
    }

    /// Reads the next record.
    pub(crate) fn read(&mut self, leaf: Bytes) -> Option<(u64, Record)> {
        let index = self.leaves.len() as u64;
        self.tree.append(leaf_hash(&leaf));
        self.roots.push(self.tree.root());
        self.leaves.push(leaf.clone());
        match Record::decode(leaf) {
            Ok(record) => {
                self.judge(index, &record);
                Some((index, record))
            }
            Err(error) => {
                self.fail("record", format!("record {index} does not read: {error}"));
                None
            }
        }
    }

    fn judge(&mut self, index: u64, record: &Record) {
        if record.time_ms < self.last_ms {
            self.fail("time", format!("record {index} is older than the one before it"));
        }
        self.last_ms = record.time_ms;
        *self.kinds.entry(record.kind).or_default() += 1;
        if record.grant_tag.is_empty() {
            return;
        }
        let limits = self.limits.get(&record.grant_tag);
        let closed = limits.and_then(|limits| self.closed.get(&limits.customer));
        let grant = self.grants.entry(record.grant_tag.clone()).or_default();
        let mut wrong = None;
        if lets_flow(record.kind()) {
            grant.flowed = Some(index);
            if closed.is_some_and(|closed| index >= *closed) {
                let kind = record.kind().as_str_name();
                wrong = Some(("closed", format!("record {index}, {kind}, is of a customer who has left")));
            }
        }
        match record.kind() {
            Kind::GrantApproved => grant.approved = true,
            Kind::GrantPaused => grant.paused = Some(index),
            Kind::GrantResumed => grant.paused = None,
            Kind::GrantSuspended => grant.suspended[0] = Some(index),
            Kind::GrantUnsuspended => grant.suspended[0] = None,
            Kind::GrantSuspendedByOperator => grant.suspended[1] = Some(index),
            Kind::GrantUnsuspendedByOperator => grant.suspended[1] = None,
            Kind::GrantWithdrawn | Kind::GrantSuperseded | Kind::GrantRevoked => {
                grant.stopped = Some(index);
            }
            Kind::GrantRevokedByOperator => {
                grant.stopped = Some(index);
                grant.by_operator = true;
            }
            Kind::Transfer => {
                if let Some(stop) = grant.stopped {
                    wrong = Some(("stop", format!("transfer {index} follows the stop {stop} of its grant")));
                } else if let Some(pause) = grant.paused {
                    wrong =
                        Some(("pause", format!("transfer {index} follows the pause {pause} of its grant")));
                } else if let Some(since) = grant.suspended.iter().flatten().next() {
                    let detail = format!("transfer {index} follows the suspension {since} of its grant");
                    wrong = Some(("suspension", detail));
                } else if !grant.approved {
                    wrong =
                        Some(("approval", format!("transfer {index} is of a grant that nobody approved")));
                } else if record.result() == Went::Released {
                    wrong = wrong.or(grant.spend(index, record, limits));
                } else if record.result() != Went::Repeated
                    || record.use_number == 0
                    || record.use_number > grant.released
                {
                    let detail = format!("transfer {index} repeats use {} of none", record.use_number);
                    wrong = Some(("uses", detail));
                }
            }
            _ => {}
        }
        if let Some((invariant, detail)) = wrong {
            self.fail(invariant, detail);
        }
    }

    /// What the customer signed for a grant; to be told before a transfer is released under it.
    pub(crate) fn signed(&mut self, customer: usize, terms: &GrantTerms) {
        let rate = terms.rate.map(|(most, window)| (u64::from(most), window.as_millis() as u64));
        self.limit(Bytes::copy_from_slice(&terms.log_tag), customer, (terms.uses.into(), rate));
    }

    /// The uses of a grant, and how many of them in which window.
    pub(crate) fn limit(&mut self, tag: Bytes, customer: usize, (uses, rate): (u64, Option<(u64, u64)>)) {
        self.limits.insert(tag, Limits { customer, uses, rate });
    }

    /// A customer's account is closed: with this many records in the log nothing stands, and from there on nothing flows.
    pub(crate) fn closed(&mut self, customer: usize, size: u64) {
        self.closed.insert(customer, size);
    }

    /// What was read of the log before it was known that somebody has left.
    pub(crate) fn hold_closings(&mut self) {
        let mut wrong = Vec::new();
        for (tag, limits) in &self.limits {
            let Some(size) = self.closed.get(&limits.customer) else { continue };
            let Some(seen) = self.grants.get(tag).filter(|_| *size <= self.leaves.len() as u64) else {
                continue;
            };
            let customer = limits.customer;
            if let Some(flowed) = seen.flowed.filter(|flowed| flowed >= size) {
                wrong.push(format!("record {flowed} is of customer {customer}, who had left by {size}"));
            } else if seen.approved && !seen.has_ended(Some(limits)) {
                wrong.push(format!("customer {customer} has left by {size}, and a grant stands"));
            }
        }
        for detail in wrong {
            self.fail("closed", detail);
        }
    }

    /// A fetch was answered that named this tap.
    pub(crate) fn served(&mut self, tap: Digest, who: &str) {
        let served = self.served.entry(tap).or_default();
        *served += 1;
        if *served > 1 {
            let detail = format!("{who}: one tap has served {served} fetches");
            self.fail("tap", detail);
        }
    }

    /// An honest party was told that a record stands.
    pub(crate) fn acknowledged(&mut self, who: &str, store: &SimStore, leaf: &ProvenLeaf) {
        // The log is read before each judgement, so what is not there now was not durable when it was told.
        let read = self.leaves.get(leaf.index() as usize).cloned();
        let stands = read.or_else(|| store.records_from(leaf.index()).into_iter().next());
        if stands.as_ref() != Some(leaf.leaf()) {
            let detail = format!("{who} was given proof of record {}, and the log has another", leaf.index());
            self.fail("acknowledged", detail);
        }
        self.handed_out(who, store, leaf.checkpoint());
    }

    /// An honest party was told that something was done which has a record of this kind.
    pub(crate) fn promised(&mut self, kind: Kind) {
        *self.promised.entry(kind.into()).or_default() += 1;
    }

    /// An honest party holds a checkpoint as proven.
    pub(crate) fn handed_out(&mut self, who: &str, store: &SimStore, checkpoint: &SignedCheckpoint) {
        let size = checkpoint.size();
        if self.checkpoints.get(&size).is_some_and(|known| known.root() == checkpoint.root()) {
            return;
        }
        if size > store.size() {
            let detail = format!("{who} has a checkpoint of {size}, and {} are durable", store.size());
            self.fail("checkpoint", detail);
            return;
        }
        if let Some(root) = self.roots.get(size as usize) {
            if root != checkpoint.root() {
                self.fail("checkpoint", format!("{who} has another tree of {size} records than the log"));
            }
            self.checkpoints.insert(size, checkpoint.clone());
        }
    }

    /// What was told so far stands in the log.
    pub(crate) fn hold_promises(&mut self) {
        for (kind, promised) in &self.promised {
            let found = self.kinds.get(kind).copied().unwrap_or_default();
            if found < *promised {
                let kind = Kind::try_from(*kind).unwrap_or_default().as_str_name();
                let detail = format!("{promised} of {kind} were acknowledged, and the log has {found}");
                self.violations.push(Violation { invariant: "acknowledged", detail });
                return;
            }
        }
    }

    /// The whole log, from its public files, by the auditor's own check.
    pub(crate) fn audit(&mut self, store: &SimStore, trust: &BrokerTrust) {
        let older: Vec<Bytes> = self.checkpoints.values().map(|one| one.as_bytes().clone()).collect();
        match auditor::verify(&mut Files(store), &trust.log_key, &older, &mut |_| {}) {
            Ok(report) => {
                for finding in report.findings.iter().take(3) {
                    self.fail("audit", finding.to_string());
                }
                if report.records != self.leaves.len() as u64 {
                    let detail = format!("{} of {} records are public", report.records, self.leaves.len());
                    self.fail("audit", detail);
                }
            }
            Err(error) => self.fail("audit", error.to_string()),
        }
    }

    pub(crate) fn count(&self, kind: Kind) -> u64 {
        self.kinds.get(&kind.into()).copied().unwrap_or_default()
    }

    pub(crate) fn records(&self) -> u64 {
        self.leaves.len() as u64
    }

    /// The time of the newest record.
    pub(crate) fn last_ms(&self) -> u64 {
        self.last_ms
    }

    /// Whether the log has the approval of this grant.
    pub(crate) fn is_approved(&self, tag: &[u8]) -> bool {
        self.grants.get(tag).is_some_and(|seen| seen.approved)
    }

    /// Whether an operator has ended this grant.
    pub(crate) fn ended_by_operator(&self, tag: &[u8]) -> bool {
        self.grants.get(tag).is_some_and(|seen| seen.by_operator)
    }

    /// Whether data may flow under this grant by the log: approved, neither stopped nor paused nor suspended, and with uses left.
    pub(crate) fn is_open(&self, tag: &[u8]) -> bool {
        let (Some(seen), Some(limits)) = (self.grants.get(tag), self.limits.get(tag)) else { return false };
        let waits = seen.paused.is_some() || seen.suspended.iter().any(Option::is_some);
        seen.approved && !waits && !seen.has_ended(Some(limits))
    }
}

/// Whether data flows by a record of this kind, or can again.
fn lets_flow(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Transfer
            | Kind::GrantApproved
            | Kind::GrantResumed
            | Kind::GrantUnsuspended
            | Kind::GrantUnsuspendedByOperator
            | Kind::LocationTapped
    )
}

impl Seen {
    fn has_ended(&self, limits: Option<&Limits>) -> bool {
        self.stopped.is_some() || limits.is_some_and(|limits| self.released >= limits.uses)
    }

    fn spend(
        &mut self,
        index: u64,
        record: &Record,
        limits: Option<&Limits>,
    ) -> Option<(&'static str, String)> {
        self.released += 1;
        let Some(limits) = limits else {
            return Some(("approval", format!("transfer {index} is of a grant that no customer signed")));
        };
        if record.use_number != self.released || self.released > limits.uses {
            let (found, expected) = (record.use_number, self.released);
            let detail = format!("transfer {index} is use {found}; {expected} of {} are spent", limits.uses);
            return Some(("uses", detail));
        }
        let (most, length) = limits.rate?;
        let (start, count) = match self.window {
            Some((start, count)) if record.time_ms < start + length => (start, count + 1),
            _ => (record.time_ms, 1),
        };
        self.window = Some((start, count));
        (count > most).then(|| ("uses", format!("transfer {index} is number {count} in a window for {most}")))
    }
}

/// The files that the broker publishes.
struct Files<'a>(&'a SimStore);

impl LogSource for Files<'_> {
    fn read(&mut self, path: LogPath) -> Result<Option<Bytes>, SourceError> {
        Ok(self.0.public_file(&path.to_string()))
    }
}
