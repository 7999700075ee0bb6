//! The heads that one side has met: which are proven, which wait, and which of those the next round proves.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, VecDeque},
    time::Duration,
};

use bytes::Bytes;
use countersign_grants::time::{Entropy, draw};
use countersign_tlog::SignedCheckpoint;

use super::{Met, PROVE_WITHIN};
use crate::{
    error::{Error, LogForked, Party},
    system::System,
};

/// The most heads of statements, and the most heads of receipts, that wait for their proof. Statements name published ones,
/// at most one a second, for a minute; of receipts' heads a busy side meets hundreds a second.
pub(super) const MAX_PENDING: usize = 512;

/// The most heads of statements that one round proves: many times what is published between two rounds.
pub(super) const STATEMENTS_A_ROUND: usize = 64;

/// The most heads of receipts that one round proves: all of them on most sides, and at 400 a second one in thirteen.
pub(super) const RECEIPTS_A_ROUND: usize = 32;

/// The most checkpoints that are remembered as verified or proven: two minutes of published ones and some receipts'.
const MAX_REMEMBERED: usize = 256;

#[derive(Default)]
pub(super) struct Heads {
    /// The largest head that is proven.
    pub(super) head: Option<SignedCheckpoint>,
    /// The newest published one that is proven, and when in this run it was asked for.
    pub(super) published: Option<(SignedCheckpoint, Option<Duration>)>,
    /// By size. Two roots of one size are a fork.
    pub(super) proven: BTreeMap<u64, SignedCheckpoint>,
    pub(super) pending: BTreeMap<u64, Pending>,
    /// Of those the sizes whose proof did not come, while the broker was heard when it was overdue already: it answers, but
    /// not this. Each call asks whether there is one.
    pub(super) withheld: BTreeSet<u64>,
    pub(super) verified: HashMap<Bytes, SignedCheckpoint>,
    pub(super) verified_order: VecDeque<Bytes>,
    pub(super) forked: Option<LogForked>,
    /// When the broker was last heard, by whatever call. These times are of the run: a clock that is set must not make a
    /// proof overdue.
    pub(super) heard: Option<Duration>,
}

pub(super) struct Pending {
    pub(super) checkpoint: SignedCheckpoint,
    pub(super) since: Duration,
    pub(super) met: Met,
    /// Its proof was asked for and did not come. Such a head stays until it is proven, whatever else comes.
    pub(super) tried: bool,
    /// The broker has said no.
    pub(super) refused: bool,
}

impl Heads {
    /// The head that is known for a size.
    pub(super) fn known(&self, size: u64) -> Option<&SignedCheckpoint> {
        self.proven.get(&size).or_else(|| self.pending.get(&size).map(|one| &one.checkpoint))
    }

    /// Takes a head among those that wait. Which receipt's head goes when there are too many is for this side's randomness
    /// to say; with too many statements' heads the newcomer is refused, and what it came with.
    pub(super) fn line_up(
        &mut self,
        checkpoint: SignedCheckpoint,
        met: Met,
        system: &System,
    ) -> Result<(), Error> {
        if self.pending.values().filter(|one| one.met == met).count() >= MAX_PENDING {
            if met == Met::InStatement {
                let detail = format!("{MAX_PENDING} other trees wait for their proof");
                return Err(Error::misbehaved(Party::Broker, "checkpoint", "pending", detail));
            }
            let mut loose: Vec<u64> = self.loose().chain([checkpoint.size()]).collect();
            match pick(&mut loose, system.entropy.as_ref()) {
                Some(size) if size != checkpoint.size() => drop(self.pending.remove(&size)),
                _ => return Ok(()),
            }
        }
        let since = system.elapsed();
        let (size, tried, refused) = (checkpoint.size(), false, false);
        self.pending.insert(size, Pending { checkpoint, since, met, tried, refused });
        Ok(())
    }

    /// What one round proves, largest first. Heads of statements by their age, and the largest of them; heads of receipts
    /// as this side's randomness draws them, so that nobody who hands them out knows which; and each head whose proof did
    /// not come, again. The rest keep waiting.
    pub(super) fn choose(&self, entropy: &dyn Entropy) -> Vec<SignedCheckpoint> {
        let mut statements: Vec<(Duration, u64)> = self
            .pending
            .iter()
            .filter(|(_, one)| one.met == Met::InStatement)
            .map(|(size, one)| (one.since, *size))
            .collect();
        let largest = statements.last().map(|(_, size)| *size);
        statements.sort_unstable();
        statements.truncate(STATEMENTS_A_ROUND);
        let mut chosen: Vec<u64> = statements.into_iter().map(|(_, size)| size).chain(largest).collect();

        let again = self.pending.iter().filter(|(_, one)| one.met == Met::InReceipt && one.tried);
        let again: Vec<u64> = again.map(|(size, _)| *size).collect();
        let mut loose: Vec<u64> = self.loose().collect();
        for _ in again.len()..RECEIPTS_A_ROUND {
            chosen.extend(pick(&mut loose, entropy));
        }
        chosen.extend(again);
        chosen.sort_unstable_by(|one, other| other.cmp(one));
        chosen.dedup();
        chosen.iter().filter_map(|size| self.pending.get(size)).map(|one| one.checkpoint.clone()).collect()
    }

    /// The sizes of the receipts' heads whose proof was never asked for.
    fn loose(&self) -> impl Iterator<Item = u64> {
        let loose = self.pending.iter().filter(|(_, one)| one.met == Met::InReceipt && !one.tried);
        loose.map(|(size, _)| *size)
    }

    /// A proof did not come.
    pub(super) fn not_proven(&mut self, size: u64, refused: bool) {
        let heard = self.heard;
        let Some(pending) = self.pending.get_mut(&size) else { return };
        pending.tried = true;
        pending.refused |= refused;
        if heard.is_some_and(|heard| heard.saturating_sub(pending.since) > PROVE_WITHIN) {
            self.withheld.insert(size);
        }
    }

    /// A head is proven.
    pub(super) fn enter(&mut self, checkpoint: SignedCheckpoint) {
        self.pending.remove(&checkpoint.size());
        self.withheld.remove(&checkpoint.size());
        if self.head.as_ref().is_none_or(|head| head.size() <= checkpoint.size()) {
            self.head = Some(checkpoint.clone());
        }
        self.proven.insert(checkpoint.size(), checkpoint);
        if self.proven.len() > MAX_REMEMBERED {
            self.proven.pop_first();
        }
    }

    /// Remembers a signature that is good.
    pub(super) fn remember(&mut self, bytes: &Bytes, checkpoint: &SignedCheckpoint) {
        if self.verified.insert(bytes.clone(), checkpoint.clone()).is_none() {
            self.verified_order.push_back(bytes.clone());
            if self.verified_order.len() > MAX_REMEMBERED
                && let Some(oldest) = self.verified_order.pop_front()
            {
                self.verified.remove(&oldest);
            }
        }
    }
}

/// Takes one out, whichever this side's randomness says.
fn pick(among: &mut Vec<u64>, entropy: &dyn Entropy) -> Option<u64> {
    let count = u64::try_from(among.len()).ok().filter(|count| *count > 0)?;
    // The bias of the remainder is below 2^-50 for so few.
    let at = u64::from_be_bytes(draw(entropy)) % count;
    Some(among.swap_remove(usize::try_from(at).ok()?))
}
