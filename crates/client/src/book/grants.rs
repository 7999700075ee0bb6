//! Grants as they stand in a book.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use countersign_grants::{
    digest::Digest,
    envelope,
    id::{GrantName, SubjectHandle},
    permit::Spent,
    statement::{ChangeReason, GrantChange, GrantTerms, PartnerChange, PartnerVerb, Verb},
    time::Timestamp,
};
use countersign_proto::statement::v1::Envelope;
use serde::{Deserialize, Serialize};

use super::{
    deletion::{Deletion, Order},
    envelopes::{envelope_of, peek},
};

/// On which side of a grant a partner stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Side {
    /// It gives.
    Source,
    /// It receives.
    Recipient,
}

impl Side {
    pub(crate) fn other(self) -> Self {
        match self {
            Self::Source => Self::Recipient,
            Self::Recipient => Self::Source,
        }
    }
}

/// Where a grant stands by the changes in the book. That its time is over or its uses are spent follows from the clock and
/// the counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Data flows.
    Active,
    /// The customer has paused it.
    Paused,
    /// The customer has stopped it.
    Stopped {
        /// The recipient must delete what it received.
        erase: bool,
    },
    /// A newer revision stands in its place, by the customer's narrowing or by a renewal that the customer approved.
    Superseded {
        /// SHA-256 of the newer terms.
        by: Digest,
    },
}

/// What one side did to a grant by its own word: a chain of changes, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Chain {
    pub(super) changes: Vec<Bytes>,
    pub(super) digests: Vec<Digest>,
}

/// A grant as it stands in the book.
#[derive(Clone, Debug)]
pub struct GrantRow {
    pub(super) papers: Arc<Papers>,
    pub(super) side: Side,
    pub(super) standing: Standing,
    pub(super) stopped_here: Option<Timestamp>,
    pub(super) held: bool,
    pub(super) sequence: u64,
    pub(super) last: Digest,
    pub(super) changes: Vec<Bytes>,
    pub(super) by_source: Chain,
    pub(super) by_recipient: Chain,
    pub(super) suspended: Option<ChangeReason>,
    pub(super) revoked: Option<(Side, ChangeReason)>,
    pub(super) deletion: Deletion,
    pub(super) spent: Spent,
    /// The fetches whose receipts are owed, oldest first.
    pub(super) owed: VecDeque<(Timestamp, Digest)>,
}

#[derive(Debug)]
pub(super) struct Papers {
    pub(super) name: GrantName,
    pub(super) digest: Digest,
    pub(super) link: Digest,
    pub(super) subject: SubjectHandle,
    pub(super) terms: GrantTerms,
    pub(super) terms_bytes: Bytes,
    pub(super) salt: [u8; 32],
    pub(super) offer: Bytes,
    pub(super) offer_key: Bytes,
}

impl GrantRow {
    /// The grant.
    pub fn name(&self) -> &GrantName {
        &self.papers.name
    }

    /// SHA-256 of the terms.
    pub fn digest(&self) -> Digest {
        self.papers.digest
    }

    /// This partner's side.
    pub fn side(&self) -> Side {
        self.side
    }

    /// This partner's handle for the customer.
    pub fn subject(&self) -> &SubjectHandle {
        &self.papers.subject
    }

    /// The link on which it hangs.
    pub(crate) fn link(&self) -> Digest {
        self.papers.link
    }

    /// What the customer signed, verified before it was entered.
    pub fn terms(&self) -> &GrantTerms {
        &self.papers.terms
    }

    /// Where it stands by the customer's changes.
    pub fn standing(&self) -> Standing {
        self.standing
    }

    /// Why its source suspends it, by the source's own signed word; nothing if it does not. An operator's suspension is
    /// the broker's affair, and stands in no book.
    pub fn suspended(&self) -> Option<ChangeReason> {
        self.suspended
    }

    /// Which side revoked it by its own signed word, and why.
    pub fn revoked(&self) -> Option<(Side, ChangeReason)> {
        self.revoked
    }

    /// Until when this side has to have deleted what it received, by the customer's signed order and terms. Nothing without
    /// an order, and on the source's side, which received nothing.
    pub fn erase_due(&self) -> Option<Timestamp> {
        self.erase_order().filter(|_| self.side == Side::Recipient).map(|order| order.due)
    }

    /// Whether this side's application said that it has deleted what it received.
    pub fn deleted(&self) -> bool {
        self.deletion.deleted
    }

    /// Whether the log has this side's attestation of that, by a proof that verified.
    pub fn attested(&self) -> bool {
        self.deletion.told
    }

    /// The customer's order to delete.
    pub(crate) fn erase_order(&self) -> Option<Order> {
        self.deletion.order
    }

    /// This side's attestation, as it was signed.
    pub(crate) fn attestation(&self) -> Option<Envelope> {
        self.deletion.attestation.as_ref().map(envelope_of)
    }

    /// When this side stopped it by itself.
    pub fn stopped_here(&self) -> Option<Timestamp> {
        self.stopped_here
    }

    /// Whether the broker says that the customer stopped or paused it, and has handed over no signed change since. Until one
    /// comes and verifies, this side refuses: that is always safe.
    pub fn held(&self) -> bool {
        self.held
    }

    /// The number of the newest change; 0 without one.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// SHA-256 of the newest change, or of the terms.
    pub fn last(&self) -> Digest {
        self.last
    }

    /// What this side has served.
    pub fn spent(&self) -> Spent {
        self.spent
    }

    /// Whether it has ended, by this book alone. What is paused, suspended or held has not.
    pub fn ended(&self, now: Timestamp) -> bool {
        matches!(self.standing, Standing::Superseded { .. }) || self.is_over(now)
    }

    /// Whether it has ended, and no newer revision goes on from it.
    pub(super) fn is_over(&self, now: Timestamp) -> bool {
        matches!(self.standing, Standing::Stopped { .. })
            || self.revoked.is_some()
            || self.stopped_here.is_some()
            || now >= self.terms().expire_time
            || self.spent.uses >= self.terms().uses
    }

    /// Whether data may flow at this moment, by this book alone.
    pub fn stands(&self, now: Timestamp) -> bool {
        self.standing == Standing::Active && self.suspended.is_none() && !self.held && !self.ended(now)
    }

    /// Since when the oldest receipt of this very grant is owed, and for which fetch.
    pub(crate) fn owed_since(&self) -> Option<(Timestamp, Digest)> {
        // Not the first: a clock that was ahead for a while must not hide what is owed since.
        self.owed.iter().min().copied()
    }

    /// Whether the customer ever signed such a change.
    pub(crate) fn ever(&self, verb: Verb) -> bool {
        self.changes.iter().any(|bytes| peek::<GrantChange>(bytes).is_ok_and(|(said, _)| said.verb == verb))
    }

    /// How many changes one side made by its own word.
    pub(crate) fn partner_sequence(&self, side: Side) -> u64 {
        self.chain(side).changes.len() as u64
    }

    /// What the next change of that side builds on: its newest, or the terms.
    pub(crate) fn partner_last(&self, side: Side) -> Digest {
        self.chain(side).digests.last().copied().unwrap_or(self.digest())
    }

    /// What this side did by its signed word to the grant in whose place this one stands, and has not said of this one.
    pub(crate) fn unsaid(&self) -> Option<(PartnerVerb, ChangeReason)> {
        if self.partner_sequence(self.side) > 0 {
            return None;
        }
        match (self.revoked, self.suspended) {
            (Some((by, reason)), _) if by == self.side => Some((PartnerVerb::Revoke, reason)),
            (None, Some(reason)) if self.side == Side::Source => Some((PartnerVerb::Suspend, reason)),
            _ => None,
        }
    }

    /// The hash of that side's change with this number.
    pub(crate) fn partner_change(&self, side: Side, sequence: u64) -> Option<Digest> {
        let at = usize::try_from(sequence.checked_sub(1)?).ok()?;
        self.chain(side).digests.get(at).copied()
    }

    /// That side's changes, oldest first, as they were signed.
    pub(crate) fn partner_changes(&self, side: Side) -> Vec<Envelope> {
        self.chain(side).changes.iter().map(envelope_of).collect()
    }

    /// Whether the source ever signed such a change.
    pub(crate) fn source_ever(&self, verb: PartnerVerb) -> bool {
        let mut changes = self.by_source.changes.iter();
        changes.any(|bytes| peek::<PartnerChange>(bytes).is_ok_and(|(said, _)| said.verb == verb))
    }

    /// On which side of the grant the partner of a change stands.
    pub(crate) fn side_of(&self, change: &PartnerChange) -> Side {
        if change.partner == self.papers.terms.source { Side::Source } else { Side::Recipient }
    }

    fn chain(&self, side: Side) -> &Chain {
        match side {
            Side::Source => &self.by_source,
            Side::Recipient => &self.by_recipient,
        }
    }

    /// The hash of the change with this number.
    pub(crate) fn change(&self, sequence: u64) -> Option<Digest> {
        let at = usize::try_from(sequence.checked_sub(1)?).ok()?;
        self.changes.get(at).map(|bytes| envelope::digest(&envelope_of(bytes)))
    }
}
