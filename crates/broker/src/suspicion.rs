//! The rule by which the broker suspends a source by itself: answers that don't hold, in a row.
//!
//! A source that signs what it did not send, or sends what was not asked, is refused each time, and nothing of it is
//! released. So the counts are not what protects anybody; they end the flood, and call a person. They are in memory:
//! a source that goes on after a restart fills them again within the window.
//!
//! What a wrong clock does, or a key that has run out, is not counted: these are the commonest accidents, and end when the
//! clock is set or the next key is published. A forked
//! head in a partner's statement is not either: only the log's own key can have signed it, so it accuses the broker.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use countersign_grants::{id::PartnerName, lifecycle, time::Timestamp};
use countersign_proto::log::v1::Kind;
use parking_lot::Mutex;

use crate::{
    broker::Broker,
    error::Fault,
    record::Happening,
    work::{Work, settle},
};

/// So many wrong answers within [`WINDOW`] suspend a source: more than a deployment that was rolled back at once makes
/// by a handful of calls, and less than a second of a flood.
pub const MISBEHAVIOURS: usize = 32;

/// How long a wrong answer counts.
pub const WINDOW: Duration = Duration::from_secs(10 * 60);

/// The rule's name, in its record.
const RULE: &str = "SOURCE_MISBEHAVED";

/// The checks that a wrong clock fails: a statement from the future, and one outside the time of the key that signed it,
/// which is also what a key fails that has run out with nobody noticing.
const CLOCK: [&str; 2] = ["time", "partner_key_time"];

/// The wrong answers of late, by source: as many moments for each as the rule counts.
#[derive(Default)]
pub(crate) struct Suspicions(Mutex<HashMap<PartnerName, VecDeque<Timestamp>>>);

impl Suspicions {
    /// Counts one; whether that is enough.
    fn note(&self, source: &PartnerName, now: Timestamp) -> bool {
        let mut all = self.0.lock();
        let seen = all.entry(source.clone()).or_default();
        seen.push_back(now);
        while seen.len() > MISBEHAVIOURS || seen.front().is_some_and(|at| at.plus(WINDOW) <= now) {
            seen.pop_front();
        }
        seen.len() == MISBEHAVIOURS
    }

    /// Begins anew: an operator who lets a source in again means it.
    fn forget(&self, source: &PartnerName) {
        self.0.lock().remove(source);
    }
}

impl Broker {
    /// Weighs how a call failed. If it can't suspend now, the next wrong answer tries again.
    pub(crate) async fn weigh(&self, fault: &Fault) {
        let Fault::SourceMisbehaved { source_name, check } = fault else { return };
        if CLOCK.contains(check) || !self.suspicions().note(source_name, self.now()) {
            return;
        }
        match settle("partner", || self.suspend_by_rule(source_name)).await {
            Ok(()) => {
                self.suspicions().forget(source_name);
                tracing::error!(source = %source_name, "suspended: its answers don't hold");
            }
            Err(fault) => tracing::warn!(%fault, source = %source_name, "it can't be suspended now"),
        }
    }

    async fn suspend_by_rule(&self, source: &PartnerName) -> Result<Option<()>, Fault> {
        let read = self.partner(source).await?;
        // Somebody was faster.
        let Ok(state) = lifecycle::Partner::from_row(&read.row).suspend() else { return Ok(Some(())) };
        let mut row = read.row.clone();
        state.write_to(&mut row);
        let mut work = Work::default();
        work.update(&read, &row)?;
        work.record(self.draft(Happening {
            kind: Kind::PartnerSuspendedAutomatically,
            source: Some(source),
            reason: RULE,
            ..Happening::default()
        }));
        Ok(self.enter(work).await?.map(|_| ()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_enough_and_a_trickle_is_not() {
        let (source, other) =
            (PartnerName::of_id("skylark").expect("an id"), PartnerName::of_id("hopp").expect("an id"));
        let at = |n: usize, apart: Duration| {
            Timestamp::from_millis(1_000).plus(apart * u32::try_from(n).expect("few"))
        };
        let suspicions = Suspicions::default();
        for n in 1..=MISBEHAVIOURS {
            assert!(!suspicions.note(&other, at(n, WINDOW / 31)), "a trickle");
            assert_eq!(suspicions.note(&source, at(n, Duration::from_secs(1))), n == MISBEHAVIOURS, "{n}");
        }
        assert!(suspicions.note(&source, at(33, Duration::from_secs(1))), "it goes on to be enough");
        suspicions.forget(&source);
        assert!(!suspicions.note(&source, at(34, Duration::from_secs(1))));
    }
}
