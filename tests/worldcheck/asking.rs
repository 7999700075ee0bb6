//! How people were asked: each once, before they answered, and within the budget.

use std::collections::{HashMap, HashSet};

use countersign_proto::{
    log::v1::{Kind, Record},
    row::v1::PrivatePart,
};

use super::{Finding, ensure};

/// The budget of whoever has set nothing: one in a day, three in a week.
const DEFAULT: [(usize, u64); 2] = [(1, DAY_MS), (3, 7 * DAY_MS)];

/// The most that anybody can set.
const MOST: [(usize, u64); 2] = [(10, DAY_MS), (30, 7 * DAY_MS)];

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// A record comes a moment after the clock was read by which it was decided.
const SLACK_MS: u64 = 60_000;

/// What the records so far say.
#[derive(Default)]
struct Asked<'a> {
    /// Requests by name: who made them.
    requests: HashMap<&'a str, &'a str>,
    shown: HashSet<&'a str>,
    /// By customer, when the budget was spent.
    spent: HashMap<&'a str, Vec<u64>>,
    /// Who has set a budget of their own.
    own: HashSet<&'a str>,
}

/// How many rows of each sort the records make.
pub(super) struct Counts {
    pub(super) askers: usize,
    pub(super) asked: usize,
    pub(super) waiting: usize,
    /// Requests that ended before they were shown.
    pub(super) unseen: usize,
    /// Handles by which a partner was refused.
    pub(super) refused: usize,
}

pub(super) fn check(records: &[Record], parts: &[PrivatePart]) -> Result<(), Finding> {
    let mut asked = Asked::default();
    for (index, (record, part)) in records.iter().zip(parts).enumerate() {
        let request = part.grant_request.as_str();
        if matches!(record.kind(), Kind::RequestShown | Kind::RequestDeferred) {
            ensure(record.source.is_empty() && record.recipient.is_empty(), || {
                format!("record {index} says in clear whose turn it was")
            })?;
        }
        match record.kind() {
            Kind::RequestCreated => {
                asked.requests.insert(request, &record.source);
            }
            Kind::AskingChanged if record.reason.is_empty() => {
                asked.own.insert(&part.customer);
            }
            Kind::RequestShown => {
                ensure(asked.requests.contains_key(request) && asked.shown.insert(request), || {
                    format!("record {index} shows {request}, which is not there or was shown before")
                })?;
                if record.reason.is_empty() {
                    asked.spend(index, record.time_ms, &part.customer)?;
                }
            }
            // A narrowing answers no request.
            Kind::GrantApproved if request.is_empty() => {}
            Kind::RequestDeferred | Kind::RequestRefused | Kind::GrantApproved => {
                ensure(asked.shown.contains(request), || {
                    format!("record {index} answers {request}, which was never shown")
                })?;
            }
            _ => {}
        }
    }
    Ok(())
}

impl<'a> Asked<'a> {
    fn spend(&mut self, index: usize, at: u64, customer: &'a str) -> Result<(), Finding> {
        let budget = if self.own.contains(customer) { MOST } else { DEFAULT };
        let spent = self.spent.entry(customer).or_default();
        spent.push(at);
        for (most, window) in budget {
            let within = spent.iter().filter(|spent| **spent + window > at + SLACK_MS).count();
            ensure(within <= most, || format!("record {index} is request {within} of a window with {most}"))?;
        }
        Ok(())
    }
}

impl Counts {
    pub(super) fn of(records: &[Record], parts: &[PrivatePart]) -> Self {
        let (mut open, mut requesters) = (HashSet::new(), HashMap::new());
        let (mut askers, mut asked, mut unseen) = (HashSet::new(), HashSet::new(), 0);
        let mut refused = HashSet::new();
        for (record, part) in records.iter().zip(parts) {
            let request = part.grant_request.as_str();
            match record.kind() {
                Kind::RequestCreated => {
                    open.insert(request);
                    requesters.insert(request, record.source.as_str());
                }
                Kind::RequestShown => {
                    open.remove(request);
                    askers.insert((part.customer.as_str(), requesters.get(request).copied()));
                    if record.reason.is_empty() {
                        asked.insert(part.customer.as_str());
                    }
                }
                Kind::RequestRefused => {
                    refused.insert((part.customer.as_str(), part.source_subject.as_str()));
                }
                Kind::RequestCancelled | Kind::RequestLapsed => {
                    unseen += usize::from(open.remove(request));
                }
                Kind::AskingChanged if record.reason.is_empty() => {
                    asked.insert(part.customer.as_str());
                }
                _ => {}
            }
        }
        Self { askers: askers.len(), asked: asked.len(), waiting: open.len(), unseen, refused: refused.len() }
    }
}
