//! A book in memory: what its entries add up to.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use countersign_grants::{
    digest::Digest,
    id::{LinkName, SubjectHandle},
    permit::Spent,
    statement::{Fetch, LinkAcceptance, LinkConfirmation, MAX_FETCH_AGE, MAX_TAP_LIFE, Provision},
    time::Timestamp,
};
use zeroize::Zeroizing;

use super::{
    answers::{Answer, answer_key},
    entry::Entry,
    envelopes::{handle, peek},
    grants::GrantRow,
    links::{Invitation, LinkRow},
    previews::{Previewed, Previews},
    storage::BookError,
};
use crate::error::LogForked;

/// A fetch may be signed by a clock that is [`MAX_FETCH_AGE`] ahead, and is fresh for as long after that; and a round of
/// upkeep.
const LOOKS_BACK: Duration = Duration::from_secs(2 * MAX_FETCH_AGE.as_secs() + 2);

/// A tap counts until five minutes after its time, which may lie ahead of the clock as far as a fetch's.
const TAP_REMEMBERED: Duration = Duration::from_secs(MAX_TAP_LIFE.as_secs() + MAX_FETCH_AGE.as_secs());

#[derive(Default)]
pub(crate) struct State {
    pub(crate) links: BTreeMap<Digest, LinkRow>,
    pub(super) by_subject: HashMap<String, Digest>,
    pub(crate) invitations: HashMap<Digest, Invitation>,
    pub(crate) grants: HashMap<Digest, GrantRow>,
    pub(crate) answers: HashMap<Digest, Arc<Answer>>,
    /// By the time of their fetch, which may lie ahead of that of the answer.
    answered: BTreeSet<(Timestamp, Digest)>,
    pub(crate) owed: HashMap<Digest, Arc<Answer>>,
    pub(crate) previews: Previews,
    /// The customers' taps by which something left, and until when they are remembered.
    pub(crate) taps: HashMap<Digest, Timestamp>,
    pub(crate) cursor: u64,
    pub(crate) checkpoint: Option<Bytes>,
    pub(crate) fork: Option<LogForked>,
    pub(crate) own_keys: HashSet<String>,
    /// By the tags under which the log knows them.
    pub(crate) by_tag: HashMap<[u8; 32], Digest>,
    /// Grants under which this side still has to delete what it received.
    pub(crate) to_delete: BTreeSet<Digest>,
    /// Grants under which it has, and the log does not know it yet.
    pub(crate) to_attest: BTreeSet<Digest>,
    /// Grants that are held, and whose terms have not come.
    pub(super) held: BTreeSet<Digest>,
    /// Grants that this side stopped by itself, and whose terms have not come.
    pub(super) stopped_ahead: BTreeMap<Digest, Timestamp>,
    /// What the clock said lately, each with its time of the run.
    looks: VecDeque<(Duration, Timestamp)>,
    /// What was entered since a rewrite of the file began.
    pub(crate) since_rewrite: Option<Vec<Vec<u8>>>,
}

impl State {
    /// What these entries add up to.
    pub(super) fn read(entries: &[Vec<u8>]) -> Result<Self, BookError> {
        let mut state = Self::default();
        for (number, bytes) in entries.iter().enumerate() {
            let misfit = |problem: String| BookError::Entry { number, problem };
            let entry = Entry::decode(bytes).map_err(misfit)?;
            state.fits(&entry).map_err(|error| misfit(error.to_string()))?;
            state.apply(entry).map_err(misfit)?;
        }
        Ok(state)
    }

    pub(crate) fn link_of(&self, subject: &SubjectHandle) -> Option<&LinkRow> {
        self.links.get(self.by_subject.get(subject.as_str())?)
    }

    /// Since when the oldest receipt is owed of a grant, and of those in whose place it stands: another revision pays no
    /// debt. And for which fetch.
    pub(crate) fn owed_since(&self, row: &GrantRow) -> Option<(Timestamp, Digest)> {
        let previous = |row: &&GrantRow| self.grants.get(&row.terms().previous?);
        let lineage = self.grants.get(&row.digest()).into_iter();
        lineage
            .flat_map(|row| std::iter::successors(Some(row), previous))
            .filter_map(GrantRow::owed_since)
            .min()
    }

    /// Takes an entry that fits.
    pub(crate) fn apply(&mut self, entry: Entry) -> Result<(), String> {
        match entry {
            Entry::Invited { link, subject, secret, expire_ms, tries_left } => {
                let invitation = Invitation {
                    subject: handle(&subject)?,
                    secret: Zeroizing::new(secret),
                    expires: Timestamp::from_millis(expire_ms),
                    tries_left,
                    replaces: None,
                };
                self.invitations.insert(link.into(), invitation);
            }
            Entry::TryFailed { link, left: 0 } => drop(self.invitations.remove(&link.into())),
            Entry::TryFailed { link, left } => {
                if let Some(invitation) = self.invitations.get_mut(&link.into()) {
                    invitation.tries_left = left;
                }
            }
            Entry::Linked { link, subject, acceptance, confirmation } => {
                self.apply_linked(link.into(), &subject, acceptance, confirmation)?;
            }
            Entry::Granted { side, link, terms, salt, offer, offer_key } => {
                let link = self.links.get(&link.into()).ok_or("the link is not in the book")?;
                let row = GrantRow::read(side, link, terms, salt, offer, offer_key)?;
                let gave_way = link.replaced;
                self.apply_granted(row, gave_way);
            }
            Entry::Changed { grant, change } => self.apply_changed(grant, change)?,
            Entry::OrderRecorded { grant, change, at_ms } => {
                self.grant_mut(grant)?.apply_recorded_order(change.into(), Timestamp::from_millis(at_ms));
                self.look_at_order(grant.into());
            }
            Entry::Deleted { grant } => {
                self.grant_mut(grant)?.deletion.deleted = true;
                self.to_delete.remove(&grant.into());
                self.to_attest.insert(grant.into());
            }
            Entry::Attested { grant, attestation } => {
                self.grant_mut(grant)?.deletion.attestation = Some(attestation.into());
            }
            Entry::AttestationTold { grant } => {
                self.grant_mut(grant)?.deletion.told = true;
                self.to_attest.remove(&grant.into());
            }
            Entry::PartnerChanged { grant, change } => self.grant_mut(grant)?.apply_partner_change(change)?,
            Entry::StoppedHere { grant, at_ms } => {
                let at = Timestamp::from_millis(at_ms);
                match self.grants.get_mut(&grant.into()) {
                    Some(row) => row.stopped_here = Some(at),
                    None => drop(self.stopped_ahead.entry(grant.into()).or_insert(at)),
                }
            }
            Entry::Provided { grant, at_ms, fetch, sealed, provision } => {
                self.apply_provided(grant.into(), Timestamp::from_millis(at_ms), fetch, sealed, provision)?;
            }
            Entry::ReceiptTaken { fetch } => {
                let fetch = Digest::from(fetch);
                if let Some(answer) = self.owed.remove(&fetch)
                    && let Some(row) = self.grants.get_mut(&answer.grant)
                {
                    row.owed.retain(|(_, other)| *other != fetch);
                }
            }
            Entry::Spent { grant, uses, window } => {
                let window = window.map(|(start, uses)| (Timestamp::from_millis(start), uses));
                self.grant_mut(grant)?.spent = Spent { uses, window };
            }
            Entry::Cursor(cursor) => self.cursor = cursor,
            Entry::Checkpoint(bytes) => self.checkpoint = Some(bytes.into()),
            Entry::Forked { ours, theirs } => {
                self.fork = Some(LogForked { ours: ours.into(), theirs: theirs.into() });
            }
            Entry::OwnKey { key } => drop(self.own_keys.insert(key)),
            Entry::Previewed { link, at_ms, preview, sealed, provision, comparison_key } => {
                let at = Timestamp::from_millis(at_ms);
                let answer = (sealed, provision);
                self.apply_previewed(Previewed::read(link.into(), at, preview, answer, comparison_key)?);
            }
            Entry::Compared { link, preview } => self.previews.compared(link.into(), preview.into()),
            Entry::Replaces { link, replaced } => {
                let (link, replaced) = (Digest::from(link), Some(Digest::from(replaced)));
                if let Some(row) = self.links.get_mut(&link) {
                    row.replaces = replaced;
                } else if let Some(invitation) = self.invitations.get_mut(&link) {
                    invitation.replaces = replaced;
                }
            }
            Entry::Replaced { link, at_ms } => {
                self.apply_replaced(link.into(), Timestamp::from_millis(at_ms))?;
            }
            Entry::TapUsed { tap, until_ms } => {
                self.taps.insert(tap.into(), Timestamp::from_millis(until_ms));
            }
            Entry::Held { grant } => match self.grants.get_mut(&grant.into()) {
                Some(row) => row.held = true,
                None => drop(self.held.insert(grant.into())),
            },
        }
        Ok(())
    }

    /// Forgets answers whose fetch is too old to be sent again, and invitations that have lapsed for as long.
    ///
    /// Too old by each look at the clock of this run's last [`LOOKS_BACK`], and what has passed since: a clock that is set
    /// forward for less, and back again, does not make this side answer a fetch twice.
    pub(crate) fn prune(&mut self, now: Timestamp, elapsed: Duration) {
        self.looks.push_back((elapsed, now));
        while self.looks.front().is_some_and(|(at, _)| elapsed.saturating_sub(*at) > LOOKS_BACK) {
            self.looks.pop_front();
        }
        let looks = self.looks.iter().map(|(at, look)| look.plus(elapsed.saturating_sub(*at)));
        let now = looks.min().unwrap_or(now);
        while let Some((asked, key)) = self.answered.first().copied()
            && now.since(asked) > MAX_FETCH_AGE
        {
            self.answered.pop_first();
            self.answers.remove(&key);
        }
        self.previews.prune(now);
        self.taps.retain(|_, until| now <= *until);
        self.invitations.retain(|_, invitation| now.since(invitation.expires) <= MAX_FETCH_AGE);
    }

    /// Entries that add up to this state.
    pub(crate) fn snapshot(&self) -> Vec<Vec<u8>> {
        let mut entries = Vec::new();
        let mut push = |entry: Entry| entries.push(entry.encode());
        for (link, invitation) in &self.invitations {
            push(Entry::Invited {
                link: *link.as_bytes(),
                subject: invitation.subject.as_str().to_owned(),
                secret: *invitation.secret,
                expire_ms: invitation.expires.as_millis(),
                tries_left: invitation.tries_left,
            });
            if let Some(replaced) = invitation.replaces {
                push(Entry::Replaces { link: *link.as_bytes(), replaced: *replaced.as_bytes() });
            }
        }
        for (link, row) in &self.links {
            push(Entry::Linked {
                link: *link.as_bytes(),
                subject: row.subject.as_str().to_owned(),
                acceptance: row.acceptance_bytes.to_vec(),
                confirmation: row.confirmation.to_vec(),
            });
            if let Some(replaced) = row.replaces {
                push(Entry::Replaces { link: *link.as_bytes(), replaced: *replaced.as_bytes() });
            }
        }
        for row in self.grants_in_order() {
            row.entries().into_iter().for_each(&mut push);
        }
        // After all grants: what stops a grant, or holds it, goes on to one that is entered in its place or under its link
        // since, and to none that was there before.
        for row in self.grants.values() {
            row.refusals().into_iter().for_each(&mut push);
        }
        for (link, row) in &self.links {
            if let Some(at) = row.replaced {
                push(Entry::Replaced { link: *link.as_bytes(), at_ms: at.as_millis() });
            }
        }
        // Answers that are no longer repeated stay for as long as their receipt is owed. After a restart they can be
        // repeated again, which harms nobody: the fetch is stale by then.
        let mut kept: BTreeMap<(Timestamp, Digest), &Arc<Answer>> = BTreeMap::new();
        kept.extend(self.owed.values().map(|answer| ((answer.at, answer.key), answer)));
        kept.extend(self.answers.values().map(|answer| ((answer.at, answer.key), answer)));
        for answer in kept.values() {
            push(answer.to_entry());
            if !self.owed.contains_key(&answer.fetch) {
                push(Entry::ReceiptTaken { fetch: *answer.fetch.as_bytes() });
            }
        }
        // After the answers: each of them counted a use again.
        for row in self.grants.values() {
            let window = row.spent.window.map(|(start, uses)| (start.as_millis(), uses));
            push(Entry::Spent { grant: *row.digest().as_bytes(), uses: row.spent.uses, window });
        }
        self.previews.entries().into_iter().for_each(&mut push);
        for (tap, until) in &self.taps {
            push(Entry::TapUsed { tap: *tap.as_bytes(), until_ms: until.as_millis() });
        }
        push(Entry::Cursor(self.cursor));
        if let Some(checkpoint) = &self.checkpoint {
            push(Entry::Checkpoint(checkpoint.to_vec()));
        }
        if let Some(fork) = &self.fork {
            push(Entry::Forked { ours: fork.ours.to_vec(), theirs: fork.theirs.to_vec() });
        }
        for grant in &self.held {
            push(Entry::Held { grant: *grant.as_bytes() });
        }
        for (grant, at) in &self.stopped_ahead {
            push(Entry::StoppedHere { grant: *grant.as_bytes(), at_ms: at.as_millis() });
        }
        for key in &self.own_keys {
            push(Entry::OwnKey { key: key.clone() });
        }
        entries
    }

    fn apply_changed(&mut self, grant: [u8; 32], change: Vec<u8>) -> Result<(), String> {
        self.grant_mut(grant)?.apply_change(change)?;
        self.look_at_order(grant.into());
        Ok(())
    }

    /// What is to be deleted once an order came, which may have taken another's place.
    fn look_at_order(&mut self, grant: Digest) {
        if self.grants.get(&grant).is_some_and(|row| row.erase_due().is_some() && !row.deleted()) {
            self.to_delete.insert(grant);
            self.to_attest.remove(&grant);
        }
    }

    /// One that was written while its link gave way is none: that came first.
    fn apply_previewed(&mut self, one: Previewed) {
        if self.links.get(&one.link).is_some_and(|row| row.replaced.is_none()) {
            self.previews.insert(one);
        }
    }

    /// Whether the entries of a snapshot add up to the state of which it was taken, over and over.
    pub(crate) fn reads_back(&self) -> Result<(), BookError> {
        let sorted = |mut entries: Vec<Vec<u8>>| {
            entries.sort_unstable();
            entries
        };
        let mut written = self.snapshot();
        for _ in 0..2 {
            let again = Self::read(&written)?.snapshot();
            if sorted(written) != sorted(again.clone()) {
                let problem = "the entries add up to another book".to_owned();
                return Err(BookError::Entry { number: 0, problem });
            }
            written = again;
        }
        Ok(())
    }

    /// A grant comes in: with what was said of it before its terms came, with what this side did to the one in whose place
    /// it stands, and stopped if its link gave way.
    fn apply_granted(&mut self, mut row: GrantRow, gave_way: Option<Timestamp>) {
        let digest = row.digest();
        self.by_tag.insert(row.terms().log_tag, digest);
        if self.grants.contains_key(&digest) {
            return;
        }
        row.held = self.held.remove(&digest);
        row.stopped_here = self.stopped_ahead.remove(&digest);
        if let Some(old) = row.terms().previous.and_then(|previous| self.grants.get_mut(&previous)) {
            if old.terms().request == row.terms().request {
                row.go_on_from(old);
            } else {
                row.renews(old);
            }
        }
        row.stopped_here = row.stopped_here.or(gave_way);
        self.grants.insert(digest, row);
    }

    /// All grants, each after the one in whose place it stands.
    fn grants_in_order(&self) -> Vec<&GrantRow> {
        let revision = |row: &&GrantRow| {
            let previous = |row: &&GrantRow| self.grants.get(&row.terms().previous?);
            std::iter::successors(Some(*row), previous).count()
        };
        let mut rows: Vec<&GrantRow> = self.grants.values().collect();
        rows.sort_by_cached_key(revision);
        rows
    }

    fn grant_mut(&mut self, grant: [u8; 32]) -> Result<&mut GrantRow, String> {
        self.grants.get_mut(&grant.into()).ok_or_else(|| "the grant is not in the book".to_owned())
    }

    fn apply_linked(
        &mut self,
        link: Digest,
        subject: &str,
        acceptance: Vec<u8>,
        confirmation: Vec<u8>,
    ) -> Result<(), String> {
        let (accepted, digest) = peek::<LinkAcceptance>(&acceptance)?;
        let replaces = self.invitations.remove(&link).and_then(|invitation| invitation.replaces);
        // In the same entry: there is no moment at which both links stand.
        if let Some(old) = replaces.filter(|old| self.links.contains_key(old)) {
            let (confirmed, _) = peek::<LinkConfirmation>(&confirmation)?;
            self.apply_replaced(old, confirmed.time)?;
        }
        let row = LinkRow {
            name: LinkName::of(link),
            subject: handle(subject)?,
            key: accepted.link_key,
            acceptance: digest,
            acceptance_bytes: acceptance.into(),
            confirmation: confirmation.into(),
            replaces,
            replaced: None,
        };
        self.by_subject.insert(subject.to_owned(), link);
        self.links.insert(link, row);
        Ok(())
    }

    /// The link gives way, and with it all that hangs on it, on this side and at once.
    fn apply_replaced(&mut self, link: Digest, at: Timestamp) -> Result<(), String> {
        self.links.get_mut(&link).ok_or("the link is not in the book")?.replaced.get_or_insert(at);
        for row in self.grants.values_mut().filter(|row| row.link() == link) {
            row.stopped_here.get_or_insert(at);
        }
        self.previews.forget(link);
        Ok(())
    }

    fn apply_provided(
        &mut self,
        grant: Digest,
        at: Timestamp,
        fetch: Vec<u8>,
        sealed: Vec<u8>,
        provision: Vec<u8>,
    ) -> Result<(), String> {
        let (asked, fetch_digest) = peek::<Fetch>(&fetch)?;
        let (_, provision_digest) = peek::<Provision>(&provision)?;
        self.provided(Answer {
            key: answer_key(&asked),
            grant,
            at,
            fetch: fetch_digest,
            asked: asked.time,
            fields: asked.fields,
            fetch_bytes: fetch.into(),
            sealed: sealed.into(),
            provision: provision_digest,
            provision_bytes: provision.into(),
            tap: asked.tap,
        })
        .map(drop)
    }

    /// Takes an answer, as it stands in an entry that was admitted.
    pub(crate) fn provided(&mut self, answer: Answer) -> Result<Arc<Answer>, String> {
        let row = self.grants.get_mut(&answer.grant).ok_or("the grant is not in the book")?;
        if let Some(tap) = answer.tap {
            self.taps.insert(tap, answer.at.plus(TAP_REMEMBERED));
        }
        row.spend(answer.at);
        row.owed.push_back((answer.at, answer.fetch));
        let answer = Arc::new(answer);
        self.owed.insert(answer.fetch, Arc::clone(&answer));
        self.answered.insert((answer.asked, answer.key));
        self.answers.insert(answer.key, Arc::clone(&answer));
        Ok(answer)
    }
}
