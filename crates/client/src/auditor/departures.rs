//! The erasures of customers: each by a closure of its customer, or of an account that was abandoned.
//!
//! Which account it was no checker can tell. But each that was abandoned had a link that ended, or was reported stolen, and
//! stood empty afterwards for [`ABANDONED_FOR`]: so there are never more of them than of those ends, counted that much
//! earlier.

use std::collections::VecDeque;

use countersign_grants::{
    lifecycle::{ABANDONED, erased_at},
    time::Timestamp,
};
use countersign_proto::log::v1::Kind;

use super::{
    leaf::Leaf,
    report::{Findings, Problem},
};

/// What is known of ends and erasures: eight bytes for each end of the last 30 days.
#[derive(Default)]
pub(super) struct Departures {
    /// When links ended and thefts were reported, as long as that is no reason yet to erase anybody.
    recent: VecDeque<Timestamp>,
    /// How many of them came before.
    ended: u64,
    /// How many accounts were erased as abandoned.
    abandoned: u64,
}

impl Departures {
    /// Takes a record. As many as `unread` before it can be ends that nobody could read.
    pub(super) fn take(&mut self, index: u64, leaf: &Leaf<'_>, unread: u64, findings: &mut Findings) {
        let now = Timestamp::from_millis(leaf.time_ms);
        while self.recent.front().is_some_and(|end| erased_at(*end) <= now) {
            self.recent.pop_front();
            self.ended += 1;
        }
        match leaf.kind {
            Kind::LinkReplaced | Kind::LinkStolen | Kind::CustomerStolen => {
                self.recent.push_back(now);
            }
            Kind::CustomerErased => match (leaf.reason, leaf.has_evidence) {
                ("", true) => {}
                (ABANDONED, false) => self.abandon(index, unread, findings),
                _ => findings.add(index, Problem::Cause),
            },
            _ => {}
        }
    }

    fn abandon(&mut self, index: u64, unread: u64, findings: &mut Findings) {
        self.abandoned += 1;
        if self.abandoned > self.ended + unread {
            findings.add(index, Problem::NotAbandoned { abandoned: self.abandoned, ended: self.ended });
        }
    }

    /// How many accounts were erased as abandoned.
    pub(super) fn abandoned(&self) -> u64 {
        self.abandoned
    }
}
