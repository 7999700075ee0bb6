//! How a grant in a book comes to stand as it does: what its terms, its changes and its uses make of it.

use std::{collections::VecDeque, sync::Arc};

use countersign_grants::{
    digest::Digest,
    id::GrantName,
    permit::Spent,
    statement::{GrantChange, GrantTerms, PartnerChange, PartnerVerb, Verb},
    time::Timestamp,
};

use super::{
    deletion::Deletion,
    entry::Entry,
    envelopes::peek,
    grants::{Chain, GrantRow, Papers, Side, Standing},
    links::LinkRow,
};

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
