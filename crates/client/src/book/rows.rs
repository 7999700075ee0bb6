//! What stands in a book: links, grants, invitations, answers.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use countersign_grants::{
    catalogue::FieldPath,
    digest::Digest,
    envelope,
    id::{GrantName, LinkName, SubjectHandle},
    key::PublicKey,
    permit::Spent,
    statement::{
        ChangeReason, Fetch, GrantChange, GrantTerms, PartnerChange, PartnerVerb, SECRET_BYTES, Statement,
        Verb,
    },
    time::Timestamp,
};
use countersign_proto::statement::v1::Envelope;
use prost::Message as _;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{
    deletion::{Deletion, Order},
    entry::Entry,
};

/// On which side of a grant a partner stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Side {
    /// It gives.
    Source,
    /// It receives.
    Recipient,
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
struct Chain {
    changes: Vec<Bytes>,
    digests: Vec<Digest>,
}

/// A link that stands: whose key speaks for a subject.
#[derive(Clone, Debug)]
pub struct LinkRow {
    pub(super) name: LinkName,
    pub(super) subject: SubjectHandle,
    pub(super) key: PublicKey,
    pub(super) acceptance: Digest,
    pub(super) acceptance_bytes: Bytes,
    pub(super) confirmation: Bytes,
    /// The link whose place it takes.
    pub(super) replaces: Option<Digest>,
    /// When another took its place.
    pub(super) replaced: Option<Timestamp>,
}

impl LinkRow {
    /// The link.
    pub fn name(&self) -> &LinkName {
        &self.name
    }

    /// The handle that it ties.
    pub fn subject(&self) -> &SubjectHandle {
        &self.subject
    }

    /// The customer's key for this link, pinned.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// SHA-256 of the acceptance: what party commitments are made of.
    pub fn acceptance(&self) -> Digest {
        self.acceptance
    }

    /// When another link of the same account took its place; nothing new is entered under it since.
    pub fn replaced(&self) -> Option<Timestamp> {
        self.replaced
    }

    /// The link whose place it takes.
    pub(crate) fn replaces(&self) -> Option<Digest> {
        self.replaces
    }

    /// The confirmation, as it was signed.
    pub(crate) fn confirmation(&self) -> Envelope {
        envelope_of(&self.confirmation)
    }
}

/// A grant as it stands in the book.
#[derive(Clone, Debug)]
pub struct GrantRow {
    papers: Arc<Papers>,
    side: Side,
    pub(super) standing: Standing,
    pub(super) stopped_here: Option<Timestamp>,
    pub(super) held: bool,
    pub(super) sequence: u64,
    pub(super) last: Digest,
    changes: Vec<Bytes>,
    by_source: Chain,
    by_recipient: Chain,
    suspended: Option<ChangeReason>,
    revoked: Option<(Side, ChangeReason)>,
    pub(super) deletion: Deletion,
    pub(super) spent: Spent,
    /// The fetches whose receipts are owed, oldest first.
    pub(super) owed: VecDeque<(Timestamp, Digest)>,
}

#[derive(Debug)]
struct Papers {
    name: GrantName,
    digest: Digest,
    link: Digest,
    subject: SubjectHandle,
    terms: GrantTerms,
    terms_bytes: Bytes,
    salt: [u8; 32],
    offer: Bytes,
    offer_key: Bytes,
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

/// An invitation that waits for its code.
#[derive(Clone)]
pub(crate) struct Invitation {
    pub(crate) subject: SubjectHandle,
    pub(crate) secret: Zeroizing<[u8; SECRET_BYTES]>,
    pub(crate) expires: Timestamp,
    pub(crate) tries_left: u8,
    pub(crate) replaces: Option<Digest>,
}

/// What was answered to a fetch.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) key: Digest,
    pub(crate) grant: Digest,
    pub(crate) at: Timestamp,
    pub(crate) fetch: Digest,
    /// When the fetch says that it was signed, and what it asks for.
    pub(crate) asked: Timestamp,
    pub(crate) fields: Vec<FieldPath>,
    pub(crate) fetch_bytes: Bytes,
    pub(crate) sealed: Bytes,
    pub(crate) provision: Digest,
    pub(crate) provision_bytes: Bytes,
    /// The customer's tap that it used.
    pub(crate) tap: Option<Digest>,
}

impl Answer {
    pub(crate) fn to_entry(&self) -> Entry {
        Entry::Provided {
            grant: *self.grant.as_bytes(),
            at_ms: self.at.as_millis(),
            fetch: self.fetch_bytes.to_vec(),
            sealed: self.sealed.to_vec(),
            provision: self.provision_bytes.to_vec(),
        }
    }
}

/// The key under which an answer is kept: the recipient and its request id.
pub(crate) fn answer_key(fetch: &Fetch) -> Digest {
    Digest::of_parts(&[fetch.recipient.as_str().as_bytes(), &[0], fetch.request_id.as_bytes()])
}

impl GrantRow {
    pub(super) fn read(
        side: Side,
        link: &LinkRow,
        terms: Vec<u8>,
        salt: [u8; 32],
        offer: Vec<u8>,
        offer_key: Vec<u8>,
    ) -> Result<Self, String> {
        let (read, digest) = peek::<GrantTerms>(&terms)?;
        let papers = Papers {
            name: GrantName::of(digest),
            digest,
            link: link.name.digest(),
            subject: link.subject.clone(),
            terms: read,
            terms_bytes: terms.into(),
            salt,
            offer: offer.into(),
            offer_key: offer_key.into(),
        };
        Ok(Self {
            papers: Arc::new(papers),
            side,
            standing: Standing::Active,
            stopped_here: None,
            held: false,
            sequence: 0,
            last: digest,
            changes: Vec::new(),
            by_source: Chain::default(),
            by_recipient: Chain::default(),
            suspended: None,
            revoked: None,
            deletion: Deletion::default(),
            spent: Spent::default(),
            owed: VecDeque::new(),
        })
    }

    pub(super) fn apply_change(&mut self, bytes: Vec<u8>) -> Result<(), String> {
        let (change, digest) = peek::<GrantChange>(&bytes)?;
        self.standing = match change.verb {
            Verb::Pause => Standing::Paused,
            Verb::Resume => Standing::Active,
            Verb::Stop => Standing::Stopped { erase: change.erase },
            Verb::Narrow => {
                Standing::Superseded { by: change.successor.ok_or("the narrowing names no successor")? }
            }
            Verb::Unspecified => return Err("the change has no verb".to_owned()),
        };
        if change.erase {
            self.deletion.signed(digest, change.time, &self.papers.terms);
        }
        self.sequence = change.sequence;
        self.last = digest;
        self.held = false;
        self.changes.push(bytes.into());
        Ok(())
    }

    pub(super) fn apply_recorded_order(&mut self, change: Digest, at: Timestamp) {
        self.deletion.recorded(change, at, &self.papers.terms);
    }

    pub(super) fn apply_partner_change(&mut self, bytes: Vec<u8>) -> Result<(), String> {
        let (change, digest) = peek::<PartnerChange>(&bytes)?;
        let side = self.side_of(&change);
        match change.verb {
            PartnerVerb::Suspend => self.suspended = Some(change.reason),
            PartnerVerb::Unsuspend => self.suspended = None,
            PartnerVerb::Revoke => self.revoked = self.revoked.or(Some((side, change.reason))),
            PartnerVerb::Unspecified => return Err("the change has no verb".to_owned()),
        }
        let chain = match side {
            Side::Source => &mut self.by_source,
            Side::Recipient => &mut self.by_recipient,
        };
        chain.digests.push(digest);
        chain.changes.push(bytes.into());
        Ok(())
    }

    /// On which side of which link it stands.
    pub(super) fn place(&self) -> (Side, Digest) {
        (self.side, self.papers.link)
    }

    /// Goes on where the grant left off that these terms narrow: the open window, what this side has spent beyond the
    /// broker's count, and what this side did by itself.
    pub(super) fn go_on_from(&mut self, old: &Self) {
        self.keep_stops_of(old);
        self.spent.uses = old.spent.uses.saturating_add(self.terms().uses).saturating_sub(old.terms().uses);
        self.spent.window = self.terms().rate.and(old.spent.window);
    }

    /// Stands in the place of a grant by terms that the customer approved anew. An end before that stays. What the broker
    /// said of the old one without a signature still holds: no change that ended that is among what she signed.
    pub(super) fn renews(&mut self, old: &mut Self) {
        self.keep_stops_of(old);
        self.held |= old.held;
        if matches!(old.standing, Standing::Active | Standing::Paused) {
            old.standing = Standing::Superseded { by: self.digest() };
        }
    }

    /// What this side did to the grant before, alone or by its signed word, holds for the one in its place. The word has to
    /// be signed anew for that one: see [`GrantRow::unsaid`].
    fn keep_stops_of(&mut self, old: &Self) {
        self.stopped_here = self.stopped_here.or(old.stopped_here);
        self.revoked = old.revoked.filter(|(side, _)| *side == self.side);
        self.suspended = old.suspended.filter(|_| self.side == Side::Source);
    }

    pub(super) fn spend(&mut self, at: Timestamp) {
        self.spent.uses = self.spent.uses.saturating_add(1);
        let Some((_, length)) = self.terms().rate else { return };
        self.spent.window = match self.spent.window {
            Some((start, uses)) if at.since(start) < length => Some((start, uses.saturating_add(1))),
            _ => Some((at, 1)),
        };
    }

    pub(super) fn entries(&self) -> Vec<Entry> {
        let papers = &self.papers;
        let grant = *papers.digest.as_bytes();
        let mut entries = vec![Entry::Granted {
            side: self.side,
            link: *papers.link.as_bytes(),
            terms: papers.terms_bytes.to_vec(),
            salt: papers.salt,
            offer: papers.offer.to_vec(),
            offer_key: papers.offer_key.to_vec(),
        }];
        entries.extend(self.changes.iter().map(|change| Entry::Changed { grant, change: change.to_vec() }));
        let by_partners = self.by_source.changes.iter().chain(&self.by_recipient.changes);
        entries.extend(by_partners.map(|change| Entry::PartnerChanged { grant, change: change.to_vec() }));
        entries.extend(self.deletion.entries(grant));
        entries
    }

    /// Why this side refuses what the customer's changes allow, but for its own signed word.
    pub(super) fn refusals(&self) -> Vec<Entry> {
        let grant = *self.papers.digest.as_bytes();
        let stopped = |at: Timestamp| Entry::StoppedHere { grant, at_ms: at.as_millis() };
        self.stopped_here.map(stopped).into_iter().chain(self.held.then_some(Entry::Held { grant })).collect()
    }
}

/// An envelope as it stands in an entry.
pub(crate) fn envelope_bytes(envelope: &Envelope) -> Vec<u8> {
    envelope.encode_to_vec()
}

/// An envelope from an entry. One that does not read is empty, and fails every check.
pub(crate) fn envelope_of(bytes: &Bytes) -> Envelope {
    Envelope::decode(bytes.clone()).unwrap_or_default()
}

/// Reads a statement that verified before it was entered.
pub(super) fn peek<S: Statement>(bytes: &[u8]) -> Result<(S, Digest), String> {
    let envelope = Envelope::decode(bytes).map_err(|error| error.to_string())?;
    let statement = envelope::peek::<S>(Some(&envelope)).map_err(|error| error.to_string())?;
    Ok((statement, envelope::digest(&envelope)))
}

pub(super) fn handle(subject: &str) -> Result<SubjectHandle, String> {
    SubjectHandle::parse(subject).map_err(|error| error.to_string())
}
