//! The customer's book: whom the customer is linked with and under which identity, what was signed, and the log's head.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fmt,
    sync::Arc,
};

use bytes::Bytes;
use countersign_grants::{
    catalogue::FieldPath,
    digest::Digest,
    envelope,
    id::{GrantName, LinkName, NotAName, PartnerName, SubjectHandle},
    key::PublicKey,
    statement::{CustomerChange, GrantChange, GrantTerms, MARK_BYTES, Statement, Verb},
    time::Timestamp,
};
use countersign_proto::statement::v1::Envelope;
use parking_lot::Mutex;
use prost::Message as _;

use super::entry::Entry;
use crate::{
    book::{BookError, BookStorage, MemoryBook, off_thread},
    checkpoint::HeadKeeper,
    error::LogForked,
};

/// How far the file grows beyond twice what lives in it before it is rewritten: a few thousand checkpoints.
const COMPACT_BEYOND_BYTES: u64 = 1 << 20;

/// The most previews of which the marks are kept: of the seven rows of each request of a busy month. An older grant's
/// first transfer is shown without a comparison.
const MAX_PREVIEWS: usize = 256;

/// A customer's book. Cloning shares it.
#[derive(Clone)]
pub struct CustomerBook(Arc<Inner>);

struct Inner {
    storage: Box<dyn BookStorage>,
    state: Mutex<State>,
}

/// One accepted invitation. `Debug` keeps the code back.
#[derive(Clone, PartialEq)]
pub struct LinkRow {
    /// `links/{link}`.
    pub name: LinkName,
    /// With whom.
    pub partner: PartnerName,
    /// The partner's identity key, pinned from the invitation.
    pub identity: PublicKey,
    /// The partner's handle for the customer.
    pub subject: SubjectHandle,
    /// How the customer knows the account; empty on a device that did not link it, since the broker never sees it.
    pub label: String,
    /// SHA-256 of the acceptance, which party commitments name.
    pub acceptance: Digest,
    /// The code that the partner has to be given; empty on a device that did not draw it.
    pub code: String,
    /// When the invitation lapses.
    pub expires: Timestamp,
    /// Whether the partner has confirmed: only then does the link stand.
    pub confirmed: bool,
    /// Whether it has ended, by the broker's word: it gave way to a newer link of the same account, or its key was reported
    /// stolen. Nothing new hangs on it.
    pub ended: bool,
    pub(crate) acceptance_envelope: Envelope,
    /// Counts acceptances, so that of two links with one partner the newer is known.
    order: usize,
}

/// A look at what would leave. The values themselves are not kept: a mark for each tells whether it is another one later.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PreviewRow {
    /// SHA-256 of the preview.
    pub preview: Digest,
    /// SHA-256 of the grant request.
    pub request: Digest,
    /// SHA-256 of the offer.
    pub offer: Digest,
    /// When the customer looked.
    pub time: Timestamp,
    /// By field, what its value came to under the preview's comparison key.
    pub(crate) marks: Vec<(FieldPath, [u8; MARK_BYTES])>,
}

/// Where a grant stands by what the customer signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Data may flow.
    Active,
    /// Paused.
    Paused,
    /// Stopped for good; with `erase`, the recipient must delete what it received.
    Stopped {
        /// Whether deletion was ordered.
        erase: bool,
    },
    /// A newer revision stands in its place.
    Superseded {
        /// SHA-256 of the newer terms.
        by: Digest,
    },
}

/// What the customer signed, and how far it has come.
#[derive(Clone, Debug)]
pub struct GrantRow {
    /// `grants/{grant}`.
    pub name: GrantName,
    /// The terms.
    pub terms: GrantTerms,
    /// The index of the approval's record, once proven.
    pub recorded: Option<u64>,
    /// The newest change's number; 0 without one.
    pub sequence: u64,
    /// SHA-256 of the newest change, or of the terms.
    pub last: Digest,
    /// The broker's word is that no grant came of these terms. They were signed and sent: a broker that lies could use them,
    /// so they can be stopped like any other.
    pub refused: bool,
    /// Where it stands.
    pub standing: Standing,
    /// When the source acknowledged the newest change, by its own word.
    pub acknowledged: Option<Timestamp>,
    /// The index of the newest change's record, once proven.
    pub change_recorded: Option<u64>,
    pub(crate) source_link: Digest,
    pub(crate) recipient_link: Digest,
    pub(crate) source_terms: Envelope,
    pub(crate) recipient_terms: Envelope,
    /// What opens the two commitments, of terms that narrow others.
    pub(crate) salts: Option<Salts>,
    changes: Vec<Change>,
    /// A change that was signed and stands nowhere that this side has seen: source's and recipient's envelope.
    pub(crate) pending: Option<(Envelope, Envelope)>,
    /// The broker's word is that the pending change was not taken. Without any word its number is not free.
    pub(crate) pending_refused: bool,
    /// Changes that were pending before, and whose number the broker let another one have.
    abandoned: Vec<(Envelope, Envelope)>,
}

/// A change that stands.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    /// SHA-256 of the statement.
    pub(crate) digest: Digest,
    source: Bytes,
    /// As it was signed for the recipient; known where it was signed.
    pub(crate) recipient: Option<Envelope>,
    index: Option<u64>,
}

/// What opens the commitments to the links of source and recipient.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Salts {
    pub(crate) source: [u8; 32],
    pub(crate) recipient: [u8; 32],
}

#[derive(Default)]
struct State {
    links: HashMap<Digest, LinkRow>,
    /// In the order of approval, so that lists are steady.
    grants: BTreeMap<usize, GrantRow>,
    by_name: HashMap<Digest, usize>,
    /// Oldest first.
    previews: VecDeque<PreviewRow>,
    checkpoint: Option<Bytes>,
    fork: Option<LogForked>,
    /// The newest of the customer's own changes: its number, and its hash.
    identity: Option<(u64, Digest)>,
    pending_identity: Option<(Envelope, Vec<u8>)>,
    labels: BTreeMap<Digest, ([u8; 32], String)>,
    /// The newest closing of the account that was signed.
    closure: Option<Vec<u8>>,
    /// The index of its record, once proven.
    closed: Option<u64>,
    /// The index of the record of a report of theft, once proven.
    stolen: Option<u64>,
    counted: usize,
    compacted: u64,
}

impl CustomerBook {
    /// Reads a book, and rewrites the file if most of it is past.
    pub fn open(storage: impl BookStorage) -> Result<Self, BookError> {
        let entries = storage.load()?;
        let mut state = State::default();
        for (number, bytes) in entries.iter().enumerate() {
            let misfit = |problem: String| BookError::Entry { number, problem };
            state.apply(Entry::decode(bytes).map_err(misfit)?).map_err(misfit)?;
        }
        let snapshot = state.snapshot();
        if snapshot.len() < entries.len() {
            storage.rewrite(&snapshot)?;
        }
        state.compacted = storage.size();
        Ok(Self(Arc::new(Inner { storage: Box::new(storage), state: Mutex::new(state) })))
    }

    /// An empty book in memory.
    pub fn in_memory() -> Self {
        Self::open(MemoryBook::new()).expect("an empty list of entries reads, and memory takes it")
    }

    /// All links, oldest first.
    pub fn links(&self) -> Vec<LinkRow> {
        let mut links: Vec<LinkRow> = self.0.state.lock().links.values().cloned().collect();
        links.sort_by_key(|link| link.order);
        links
    }

    /// A link.
    pub fn link(&self, name: &LinkName) -> Option<LinkRow> {
        self.0.state.lock().links.get(&name.digest()).cloned()
    }

    /// The newest link with a partner that stands.
    pub fn link_with(&self, partner: &PartnerName) -> Option<LinkRow> {
        let state = self.0.state.lock();
        let standing = state.links.values().filter(|link| link.stands() && link.partner == *partner);
        standing.max_by_key(|link| link.order).cloned()
    }

    /// The link with this handle.
    pub fn link_of(&self, subject: &SubjectHandle) -> Option<LinkRow> {
        self.0.state.lock().links.values().find(|link| link.subject == *subject).cloned()
    }

    /// The identity that is pinned for a partner, by whatever link.
    pub fn identity_of(&self, partner: &PartnerName) -> Option<PublicKey> {
        let state = self.0.state.lock();
        state.links.values().find(|link| link.partner == *partner).map(|link| link.identity.clone())
    }

    /// All previews of which the marks are kept, oldest first.
    pub fn previews(&self) -> Vec<PreviewRow> {
        self.0.state.lock().previews.iter().cloned().collect()
    }

    /// A preview.
    pub(crate) fn preview(&self, preview: Digest) -> Option<PreviewRow> {
        self.0.state.lock().previews.iter().rev().find(|row| row.preview == preview).cloned()
    }

    /// All grants that the customer signed, oldest first.
    pub fn grants(&self) -> Vec<GrantRow> {
        self.0.state.lock().grants.values().cloned().collect()
    }

    /// A grant.
    pub fn grant(&self, name: &GrantName) -> Option<GrantRow> {
        self.0.state.lock().grant(name.digest()).cloned()
    }

    /// The newest revision of a grant: itself, unless it was narrowed, or renewed with a proof.
    pub fn newest_revision(&self, name: &GrantName) -> Option<GrantRow> {
        let state = self.0.state.lock();
        let successor = |row: &&GrantRow| match row.standing {
            Standing::Superseded { by } => state.grant(by),
            Standing::Active | Standing::Paused | Standing::Stopped { .. } => None,
        };
        std::iter::successors(state.grant(name.digest()), successor).last().cloned()
    }

    /// What the person calls an authenticator, if it was added with this book.
    pub fn authenticator_label(&self, authenticator: Digest) -> Option<String> {
        self.0.state.lock().labels.get(&authenticator).map(|(_, label)| label.clone())
    }

    /// What the person calls the authenticators that were added with this book.
    pub(crate) fn authenticator_labels(&self) -> Vec<(Digest, String)> {
        let state = self.0.state.lock();
        state.labels.iter().map(|(id, (_, label))| (*id, label.clone())).collect()
    }

    /// The newest of the customer's own changes that was seen.
    pub(crate) fn identity(&self) -> Option<(u64, Digest)> {
        self.0.state.lock().identity
    }

    /// A change of one's own that was signed and not answered, with the copy that goes with it.
    pub(crate) fn pending_identity(&self) -> Option<(Envelope, Vec<u8>)> {
        self.0.state.lock().pending_identity.clone()
    }

    /// The index of the record by which the account was closed, once it is proven.
    pub fn closed(&self) -> Option<u64> {
        self.0.state.lock().closed
    }

    /// The index of the record by which the root secret was reported stolen, once it is proven.
    pub fn reported_stolen(&self) -> Option<u64> {
        self.0.state.lock().stolen
    }

    /// Whether a closing of the account was ever signed and sent.
    pub(crate) fn closure_sent(&self) -> bool {
        self.0.state.lock().closure.is_some()
    }

    /// Enters what has to be durable before it counts, off the runtime's threads.
    pub(crate) async fn enter(&self, entry: Entry) -> Result<(), BookError> {
        let book = self.clone();
        off_thread(self.0.storage.as_ref(), move || book.append(entry, true)).await
    }

    #[cfg(test)]
    pub(super) fn compact(&self) -> Result<(), BookError> {
        self.0.storage.rewrite(&self.0.state.lock().snapshot())
    }

    fn append(&self, entry: Entry, sync: bool) -> Result<(), BookError> {
        // Held over the write, so that file and memory have one order. Entries of a customer are rare.
        let mut state = self.0.state.lock();
        self.0.storage.append(&entry.encode(), sync)?;
        // Made of verified parts, so a failure here is a bug; still no reason to take a process down.
        state.apply(entry).map_err(|problem| BookError::Entry { number: usize::MAX, problem })?;
        if self.0.storage.size() > state.compacted * 2 + COMPACT_BEYOND_BYTES {
            self.0.storage.rewrite(&state.snapshot())?;
            state.compacted = self.0.storage.size();
        }
        Ok(())
    }
}

impl HeadKeeper for CustomerBook {
    fn newest(&self) -> Option<Bytes> {
        self.0.state.lock().checkpoint.clone()
    }

    fn keep_newest(&self, checkpoint: &Bytes) -> Result<(), BookError> {
        self.append(Entry::Checkpoint(checkpoint.to_vec()), false)
    }

    fn fork(&self) -> Option<LogForked> {
        self.0.state.lock().fork.clone()
    }

    fn keep_fork(&self, fork: &LogForked) -> Result<(), BookError> {
        let (ours, theirs) = (fork.ours.to_vec(), fork.theirs.to_vec());
        self.append(Entry::Forked { ours, theirs }, true)
    }
}

impl State {
    fn grant(&self, terms: Digest) -> Option<&GrantRow> {
        self.grants.get(self.by_name.get(&terms)?)
    }

    fn link_mut(&mut self, link: [u8; 32]) -> Result<&mut LinkRow, String> {
        self.links.get_mut(&link.into()).ok_or_else(|| "the link is not in the book".to_owned())
    }

    fn grant_mut(&mut self, terms: [u8; 32]) -> Result<&mut GrantRow, String> {
        let place = self.by_name.get(&Digest::from(terms));
        place
            .and_then(|place| self.grants.get_mut(place))
            .ok_or_else(|| "the grant is not in the book".to_owned())
    }

    fn apply(&mut self, entry: Entry) -> Result<(), String> {
        match entry {
            Entry::Linked { link, partner, identity, subject, label, acceptance, code, expire_ms } => {
                let envelope = Envelope::decode(acceptance.as_slice()).map_err(|error| error.to_string())?;
                self.counted += 1;
                let row = LinkRow {
                    name: LinkName::of(link.into()),
                    partner: PartnerName::parse(&partner).map_err(|error| error.to_string())?,
                    identity: PublicKey::from_slice(&identity).map_err(|error| error.to_string())?,
                    subject: SubjectHandle::parse(&subject).map_err(|error| error.to_string())?,
                    label,
                    acceptance: envelope::digest(&envelope),
                    code,
                    expires: Timestamp::from_millis(expire_ms),
                    confirmed: false,
                    ended: false,
                    acceptance_envelope: envelope,
                    order: self.counted,
                };
                self.links.insert(link.into(), row);
            }
            Entry::Confirmed { link } => {
                let link = self.link_mut(link)?;
                (link.confirmed, link.ended) = (true, false);
            }
            Entry::Ended { link } => self.link_mut(link)?.ended = true,
            Entry::Granted { source_link, recipient_link, source_terms, recipient_terms } => {
                let row = GrantRow::read(source_link, recipient_link, &source_terms, &recipient_terms)?;
                self.counted += 1;
                self.by_name.insert(row.name.digest(), self.counted);
                self.grants.insert(self.counted, row);
            }
            Entry::Dropped { grant } => self.grant_mut(grant)?.refused = true,
            Entry::Shown { grant } => self.grant_mut(grant)?.refused = false,
            Entry::Salts { grant, source, recipient } => {
                self.grant_mut(grant)?.salts = Some(Salts { source, recipient });
            }
            Entry::Recorded { grant, index } => {
                let row = self.grant_mut(grant)?;
                (row.recorded, row.refused) = (Some(index), false);
                self.renewed(grant.into());
            }
            Entry::Changing { grant, source_change, recipient_change } => {
                let read = |bytes: &[u8]| Envelope::decode(bytes).map_err(|error| error.to_string());
                let change = (read(&source_change)?, read(&recipient_change)?);
                let row = self.grant_mut(grant)?;
                row.abandoned.extend(row.pending.replace(change));
                row.pending_refused = false;
            }
            Entry::ChangeDropped { grant } => self.grant_mut(grant)?.pending_refused = true,
            Entry::Changed { grant, change, index } => self.grant_mut(grant)?.change(change.into(), index)?,
            Entry::Acknowledged { grant, change, time_ms } => {
                let row = self.grant_mut(grant)?;
                if row.last.as_bytes() == &change {
                    row.acknowledged = Some(Timestamp::from_millis(time_ms));
                }
            }
            Entry::Identity { sequence, last } => {
                self.identity = Some((sequence, last.into()));
                // Another device may have had its number.
                let said = |(change, _): &(Envelope, Vec<u8>)| {
                    envelope::peek::<CustomerChange>(Some(change)).map_or(0, |said| said.sequence)
                };
                self.pending_identity.take_if(|pending| said(pending) <= sequence);
            }
            Entry::IdentityPending { change, wrapped } => {
                let change = Envelope::decode(change.as_slice()).map_err(|error| error.to_string())?;
                self.pending_identity = Some((change, wrapped));
            }
            Entry::AuthenticatorLabel { authenticator, salt, label } => {
                self.labels.insert(authenticator.into(), (salt, label));
            }
            Entry::Closing { closure } => self.closure = Some(closure),
            Entry::Closed { index } => self.closed = Some(index),
            Entry::Stolen { index } => self.stolen = Some(index),
            Entry::Checkpoint(bytes) => self.checkpoint = Some(bytes.into()),
            Entry::Forked { ours, theirs } => {
                self.fork = Some(LogForked { ours: ours.into(), theirs: theirs.into() });
            }
            Entry::Previewed { preview, request, offer, time_ms, marks } => {
                self.previews.push_back(PreviewRow::read((preview, request, offer), time_ms, marks)?);
                if self.previews.len() > MAX_PREVIEWS {
                    self.previews.pop_front();
                }
            }
        }
        Ok(())
    }

    /// A renewal that is proven ends what it renews. A narrowing does so by its change.
    fn renewed(&mut self, by: Digest) {
        let Some((new, previous)) = self.grant(by).and_then(|new| Some((&new.terms, new.terms.previous?)))
        else {
            return;
        };
        let request = new.request;
        if let Ok(old) = self.grant_mut(*previous.as_bytes())
            && old.terms.request != request
            && matches!(old.standing, Standing::Active | Standing::Paused)
        {
            old.standing = Standing::Superseded { by };
        }
    }

    /// Entries that add up to this state.
    fn snapshot(&self) -> Vec<Vec<u8>> {
        let mut links: Vec<&LinkRow> = self.links.values().collect();
        links.sort_by_key(|link| link.order);
        let mut entries: Vec<Entry> = links.into_iter().flat_map(LinkRow::entries).collect();
        entries.extend(self.grants.values().flat_map(GrantRow::entries));
        entries.extend(self.previews.iter().map(PreviewRow::entry));
        entries.extend(self.labels.iter().map(|(id, (salt, label))| Entry::AuthenticatorLabel {
            authenticator: *id.as_bytes(),
            salt: *salt,
            label: label.clone(),
        }));
        let identity =
            self.identity.map(|(sequence, last)| Entry::Identity { sequence, last: *last.as_bytes() });
        entries.extend(identity);
        entries.extend(self.pending_identity.iter().map(|(change, wrapped)| Entry::IdentityPending {
            change: change.encode_to_vec(),
            wrapped: wrapped.clone(),
        }));
        entries.extend(self.closure.iter().map(|bytes| Entry::Closing { closure: bytes.clone() }));
        entries.extend(self.closed.map(|index| Entry::Closed { index }));
        entries.extend(self.stolen.map(|index| Entry::Stolen { index }));
        entries.extend(self.checkpoint.iter().map(|bytes| Entry::Checkpoint(bytes.to_vec())));
        entries.extend(
            self.fork
                .iter()
                .map(|fork| Entry::Forked { ours: fork.ours.to_vec(), theirs: fork.theirs.to_vec() }),
        );
        entries.iter().map(Entry::encode).collect()
    }
}

impl fmt::Debug for LinkRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinkRow")
            .field("name", &self.name)
            .field("partner", &self.partner)
            .field("subject", &self.subject)
            .field("label", &self.label)
            .field("confirmed", &self.confirmed)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

impl PreviewRow {
    fn read(
        (preview, request, offer): ([u8; 32], [u8; 32], [u8; 32]),
        time_ms: u64,
        marks: Vec<(String, [u8; MARK_BYTES])>,
    ) -> Result<Self, String> {
        let marks = marks.into_iter().map(|(field, mark)| Ok((FieldPath::parse(&field)?, mark)));
        let marks = marks.collect::<Result<_, NotAName>>().map_err(|error| error.to_string())?;
        let time = Timestamp::from_millis(time_ms);
        Ok(Self { preview: preview.into(), request: request.into(), offer: offer.into(), time, marks })
    }

    pub(crate) fn entry(&self) -> Entry {
        Entry::Previewed {
            preview: *self.preview.as_bytes(),
            request: *self.request.as_bytes(),
            offer: *self.offer.as_bytes(),
            time_ms: self.time.as_millis(),
            marks: self.marks.iter().map(|(field, mark)| (field.to_string(), *mark)).collect(),
        }
    }
}

impl LinkRow {
    /// Whether the partner has confirmed it, and it has not ended.
    pub fn stands(&self) -> bool {
        self.confirmed && !self.ended
    }

    fn entries(&self) -> Vec<Entry> {
        let link = *self.name.digest().as_bytes();
        let mut entries = vec![Entry::Linked {
            link,
            partner: self.partner.to_string(),
            identity: *self.identity.as_bytes(),
            subject: self.subject.to_string(),
            label: self.label.clone(),
            acceptance: self.acceptance_envelope.encode_to_vec(),
            code: self.code.clone(),
            expire_ms: self.expires.as_millis(),
        }];
        entries.extend(self.confirmed.then_some(Entry::Confirmed { link }));
        entries.extend(self.ended.then_some(Entry::Ended { link }));
        entries
    }
}

impl GrantRow {
    /// Whether the broker ever showed that it has the grant: by the proof of its record, by a change that stands, or to a
    /// device that did not sign it.
    pub(crate) fn was_shown(&self) -> bool {
        self.recorded.is_some() || self.sequence > 0 || self.recipient_terms == Envelope::default()
    }

    /// Whether the source has confirmed the newest change.
    pub fn is_settled(&self) -> bool {
        self.pending.is_none() && (self.sequence == 0 || self.acknowledged.is_some())
    }

    fn read(
        source_link: [u8; 32],
        recipient_link: [u8; 32],
        source_terms: &[u8],
        recipient_terms: &[u8],
    ) -> Result<Self, String> {
        let (terms, digest, source_terms) = peek::<GrantTerms>(source_terms)?;
        Ok(Self {
            name: GrantName::of(digest),
            terms,
            recorded: None,
            refused: false,
            sequence: 0,
            last: digest,
            standing: Standing::Active,
            acknowledged: None,
            change_recorded: None,
            source_link: source_link.into(),
            recipient_link: recipient_link.into(),
            source_terms,
            recipient_terms: Envelope::decode(recipient_terms).map_err(|error| error.to_string())?,
            salts: None,
            changes: Vec::new(),
            pending: None,
            pending_refused: false,
            abandoned: Vec::new(),
        })
    }

    /// Whether this very change stands.
    pub(crate) fn has(&self, change: Digest) -> bool {
        self.changes.iter().any(|stands| stands.digest == change)
    }

    /// What stands, oldest first.
    pub(crate) fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// The terms as they were signed for the recipient; known where they were signed.
    pub(crate) fn terms_for_recipient(&self) -> Option<&Envelope> {
        Some(&self.recipient_terms).filter(|terms| !terms.signatures.is_empty())
    }

    /// This change, or the terms as number 0, and what was signed after it, oldest first: number and hash of each, and what
    /// it is. Nothing if it does not stand.
    pub(crate) fn since(&self, change: Digest) -> Vec<(u64, Digest, Verb)> {
        let read = |bytes: &Bytes| peek::<GrantChange>(bytes).ok();
        let all = self.changes.iter().filter_map(|change| read(&change.source));
        let all = all.map(|(said, digest, _)| (said.sequence, digest, said.verb));
        let all = std::iter::once((0, self.name.digest(), Verb::Unspecified)).chain(all);
        all.skip_while(|(_, digest, _)| *digest != change).collect()
    }

    /// The change that orders the recipient to delete, as it was signed for the source.
    pub(crate) fn erase_order(&self) -> Option<Envelope> {
        // Nothing follows it.
        let ordered = matches!(self.standing, Standing::Stopped { erase: true });
        let change = self.changes.last().filter(|_| ordered)?;
        Envelope::decode(change.source.clone()).ok()
    }

    #[cfg(test)]
    pub(super) fn abandoned(&self) -> &[(Envelope, Envelope)] {
        &self.abandoned
    }

    fn change(&mut self, bytes: Bytes, index: Option<u64>) -> Result<(), String> {
        let (change, digest, _) = peek::<GrantChange>(&bytes)?;
        if change.sequence != self.sequence + 1 || change.previous != self.last {
            return Err(format!("change {} does not follow {}", change.sequence, self.sequence));
        }
        self.standing = match change.verb {
            Verb::Pause => Standing::Paused,
            Verb::Resume => Standing::Active,
            Verb::Stop => Standing::Stopped { erase: change.erase },
            Verb::Narrow => {
                Standing::Superseded { by: change.successor.ok_or("the narrowing names no successor")? }
            }
            Verb::Unspecified => return Err("the change has no verb".to_owned()),
        };
        (self.sequence, self.last) = (change.sequence, digest);
        (self.acknowledged, self.change_recorded) = (None, index);
        // A change stands only where there is a grant.
        self.refused = false;
        self.pending_refused = false;
        let signed_here = |(source, _): &&(Envelope, Envelope)| envelope::digest(source) == digest;
        let recipient = self.pending.iter().chain(&self.abandoned).find(signed_here);
        let recipient = recipient.map(|(_, recipient)| recipient.clone());
        self.abandoned.extend(self.pending.take().filter(|pending| !signed_here(&pending)));
        self.changes.push(Change { digest, source: bytes, recipient, index });
        Ok(())
    }

    fn entries(&self) -> Vec<Entry> {
        let grant = *self.name.digest().as_bytes();
        let mut entries = vec![Entry::Granted {
            source_link: *self.source_link.as_bytes(),
            recipient_link: *self.recipient_link.as_bytes(),
            source_terms: self.source_terms.encode_to_vec(),
            recipient_terms: self.recipient_terms.encode_to_vec(),
        }];
        let salts = self.salts.filter(|_| self.recorded.is_none());
        let kept = |Salts { source, recipient }| Entry::Salts { grant, source, recipient };
        entries.extend(salts.map(kept));
        entries.extend(self.recorded.map(|index| Entry::Recorded { grant, index }));
        let changing = |(source, recipient): &(Envelope, Envelope)| Entry::Changing {
            grant,
            source_change: source.encode_to_vec(),
            recipient_change: recipient.encode_to_vec(),
        };
        // Each gives way to the next, and the last to the first change or to the pending one: it gave way to one of them.
        entries.extend(self.abandoned.iter().map(changing));
        for change in &self.changes {
            let (source_change, index) = (change.source.to_vec(), change.index);
            if let Some(recipient) = &change.recipient {
                let recipient_change = recipient.encode_to_vec();
                entries.push(Entry::Changing {
                    grant,
                    source_change: source_change.clone(),
                    recipient_change,
                });
            }
            entries.push(Entry::Changed { grant, change: source_change, index });
        }
        entries.extend(self.acknowledged.map(|time| Entry::Acknowledged {
            grant,
            change: *self.last.as_bytes(),
            time_ms: time.as_millis(),
        }));
        entries.extend(self.pending.iter().map(changing));
        entries.extend(self.pending_refused.then_some(Entry::ChangeDropped { grant }));
        entries.extend(self.refused.then_some(Entry::Dropped { grant }));
        entries
    }
}

/// Reads a statement that verified before it was entered.
fn peek<S: Statement>(bytes: &[u8]) -> Result<(S, Digest, Envelope), String> {
    let envelope = Envelope::decode(bytes).map_err(|error| error.to_string())?;
    let statement = envelope::peek::<S>(Some(&envelope)).map_err(|error| error.to_string())?;
    let digest = envelope::digest(&envelope);
    Ok((statement, digest, envelope))
}
