//! What the clients were told. The world check believes this and the disk, and nothing else.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use bytes::Bytes;
use countersign_client::{Error, receipt::ProvenLeaf};
use countersign_grants::{
    digest::Digest,
    id::{CustomerName, GrantName, LinkName, OfferName, PartnerName, RequestName},
};
use countersign_proto::{
    log::v1::{Kind, Result as Went},
    v1::Asking,
};
use countersign_tlog::{Hash, SignedCheckpoint, VerifierKey};
use parking_lot::Mutex;

/// A grant's name in the log.
pub(crate) type Tag = [u8; 32];

/// A record that somebody was given with its proof.
#[derive(Clone, Debug)]
pub(crate) struct Noted {
    pub(crate) index: u64,
    pub(crate) leaf: Bytes,
    pub(crate) kind: Kind,
}

/// Something that was acknowledged by its name alone.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Named {
    Customer(CustomerName),
    Offer(OfferName),
    WithdrawnOffer(OfferName),
    InvitedLink(LinkName),
    AcceptedLink(LinkName),
    ConfirmedLink(LinkName),
    Request(RequestName),
    RefusedRequest(RequestName),
    CancelledRequest(RequestName),
    Grant(GrantName),
    StoppedGrant(GrantName),
    /// Another stands in its place.
    SupersededGrant(GrantName),
    /// By its source, its recipient or an operator.
    RevokedGrant(GrantName),
    /// For good: whoever suspended it never ends that.
    SuspendedGrant(GrantName),
    Partner(PartnerName),
    LivePartner(PartnerName),
    SuspendedPartner(PartnerName),
    StolenCustomer(CustomerName),
    StolenLink(LinkName),
    /// An authenticator of somebody's, and the copy that the broker keeps for it.
    Device(Digest),
    RemovedDevice(Digest),
}

/// First uses of one grant.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Uses {
    /// Released to somebody who noted it.
    pub(crate) released: u64,
    /// Asked for, and whether they were released is not known.
    pub(crate) open: u64,
}

/// Calls that make one record each, of one kind.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Calls {
    /// Answered: the record stands.
    pub(crate) answered: u64,
    /// Under way, or given up without an answer: the record may stand.
    pub(crate) open: u64,
}

/// What happened since it was last asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    /// Answers that said that something stands now, transfers left out.
    pub(crate) changes: u64,
    pub(crate) transfers: u64,
    pub(crate) stops: u64,
    /// Calls that were sent and not answered.
    pub(crate) in_doubt: u64,
    /// Of those: what had been done.
    pub(crate) done: u64,
    /// Of those: what had not.
    pub(crate) undone: u64,
    /// Refusals, by their reason.
    pub(crate) refusals: BTreeMap<String, u64>,
}

/// Everything that was noted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Book {
    pub(crate) receipts: Vec<Noted>,
    pub(crate) names: Vec<Named>,
    /// Those of people who are leaving: they may be gone.
    pub(crate) gone: HashSet<Named>,
    /// The index of each acknowledged stop.
    pub(crate) stops: HashMap<Tag, u64>,
    pub(crate) uses: HashMap<Tag, Uses>,
    /// How somebody is asked: what was acknowledged last, and what may have been set since.
    pub(crate) asking: HashMap<CustomerName, Vec<Asking>>,
    pub(crate) calls: BTreeMap<Kind, Calls>,
    /// Every tree that the log signed for somebody.
    pub(crate) heads: BTreeMap<u64, Hash>,
    /// The largest of them, as it was signed.
    pub(crate) newest: Option<Bytes>,
}

#[derive(Default)]
struct State {
    book: Book,
    tally: Tally,
    /// The size of the log at the last kill, as far as it is known.
    cut: u64,
    /// By index, every record that anybody was shown.
    leaves: HashMap<u64, Bytes>,
    fault: Option<String>,
}

/// The notes of one life. Cloning shares them.
#[derive(Clone)]
pub(crate) struct Notes {
    state: Arc<Mutex<State>>,
    log: VerifierKey,
}

/// A call that makes one record if it is done, from its first try to its last.
pub(crate) struct Sending {
    notes: Notes,
    what: Open,
    in_doubt: bool,
    settled: bool,
}

/// What stays open until it is answered.
#[derive(Clone, Copy)]
enum Open {
    Record(Kind),
    Use(Tag),
}

impl Notes {
    pub(crate) fn new(log: VerifierKey) -> Self {
        Self { state: Arc::default(), log }
    }

    /// What was noted so far.
    pub(crate) fn book(&self) -> Book {
        self.state.lock().book.clone()
    }

    /// Hands out the tally, and starts another.
    pub(crate) fn take_tally(&self) -> Tally {
        std::mem::take(&mut self.state.lock().tally)
    }

    /// The log had this size when the daemon was killed.
    pub(crate) fn cut_at(&self, size: u64) {
        self.state.lock().cut = size;
    }

    /// Something happened that must never. The first is kept.
    pub(crate) fn fault(&self, what: impl Into<String>) {
        self.state.lock().fault.get_or_insert_with(|| what.into());
    }

    /// The first fault.
    pub(crate) fn faulted(&self) -> Option<String> {
        self.state.lock().fault.clone()
    }

    /// An acknowledgement by name.
    pub(crate) fn named(&self, name: Named) {
        let mut state = self.state.lock();
        state.tally.changes += 1;
        state.book.names.push(name);
    }

    /// What stands by this name is about to be removed, with all that is about its customer.
    pub(crate) fn gone(&self, name: Named) {
        self.state.lock().book.gone.insert(name);
    }

    /// From here on this may be how somebody is asked.
    pub(crate) fn sets_asking(&self, customer: &CustomerName, asking: Asking) {
        let mut state = self.state.lock();
        let known = state.book.asking.entry(customer.clone()).or_insert_with(|| vec![Asking::default()]);
        known.push(asking);
    }

    /// It is acknowledged: nothing that was set before stands any more.
    pub(crate) fn has_set_asking(&self, customer: &CustomerName) {
        let mut state = self.state.lock();
        state.tally.changes += 1;
        if let Some(known) = state.book.asking.get_mut(customer) {
            known.drain(..known.len().saturating_sub(1));
        }
    }

    /// Whether it may be gone by now.
    pub(crate) fn is_gone(&self, name: &Named) -> bool {
        self.state.lock().book.gone.contains(name)
    }

    /// A record with its proof, and what it says.
    pub(crate) fn proven(&self, leaf: &ProvenLeaf) {
        self.tree(leaf.checkpoint());
        let record = leaf.record();
        self.agrees(leaf.index(), leaf.leaf());
        let noted = Noted { index: leaf.index(), leaf: leaf.leaf().clone(), kind: record.kind() };
        let mut state = self.state.lock();
        match noted.kind {
            Kind::Transfer => state.tally.transfers += 1,
            Kind::GrantWithdrawn | Kind::GrantSuperseded | Kind::GrantRevoked => {
                state.tally.stops += 1;
                if let Ok(tag) = Tag::try_from(record.grant_tag.as_ref()) {
                    state.book.stops.insert(tag, noted.index);
                }
            }
            Kind::AuditorRead => {}
            _ => state.tally.changes += 1,
        }
        state.book.receipts.push(noted);
    }

    /// A stop that is known by the record beside its own.
    pub(crate) fn stopped(&self, tag: Tag, index: u64) {
        let mut state = self.state.lock();
        state.tally.stops += 1;
        state.book.stops.insert(tag, index);
    }

    /// A checkpoint, from wherever: it must be the log's, and there is one tree of each size.
    pub(crate) fn head(&self, bytes: &Bytes) {
        match SignedCheckpoint::verify(bytes.clone(), &self.log) {
            Ok(checkpoint) => self.tree(&checkpoint),
            Err(error) => self.fault(format!("a checkpoint that the log did not sign: {error}")),
        }
    }

    fn tree(&self, checkpoint: &SignedCheckpoint) {
        let (size, root) = (checkpoint.size(), *checkpoint.root());
        let mut state = self.state.lock();
        if state.book.heads.last_key_value().is_none_or(|(largest, _)| *largest < size) {
            state.book.newest = Some(checkpoint.as_bytes().clone());
        }
        let known = *state.book.heads.entry(size).or_insert(root);
        drop(state);
        if known != root {
            self.fault(format!("the log signed two trees of {size} records: {known} and {root}"));
        }
    }

    /// The size of the largest tree that anybody was shown.
    pub(crate) fn book_size(&self) -> u64 {
        self.state.lock().book.heads.last_key_value().map_or(0, |(size, _)| *size)
    }

    /// A record as it was read again: at one index there is one leaf, for everybody and for ever.
    pub(crate) fn agrees(&self, index: u64, leaf: &Bytes) {
        let mut state = self.state.lock();
        let known = state.leaves.entry(index).or_insert_with(|| leaf.clone());
        let differs = known != leaf;
        drop(state);
        if differs {
            self.fault(format!("record {index} was shown with two contents"));
        }
    }

    /// A refusal. One that says that the broker is damaged is a fault.
    pub(crate) fn refused(&self, error: &Error) {
        let Error::Refused(refused) = error else { return };
        if matches!(refused.reason.as_str(), "INTERNAL" | "") {
            self.fault(format!("a refusal for the broker's own failure: {refused}"));
        }
        *self.state.lock().tally.refusals.entry(refused.reason.clone()).or_default() += 1;
    }

    /// A call is about to be sent that makes one record of this kind.
    pub(crate) fn sending(&self, kind: Kind) -> Sending {
        self.state.lock().book.calls.entry(kind).or_default().open += 1;
        Sending { notes: self.clone(), what: Open::Record(kind), in_doubt: false, settled: false }
    }

    /// A fetch is about to be sent under this grant.
    pub(crate) fn fetching(&self, tag: Tag) -> Sending {
        self.state.lock().book.uses.entry(tag).or_default().open += 1;
        Sending { notes: self.clone(), what: Open::Use(tag), in_doubt: false, settled: false }
    }
}

impl Sending {
    /// No answer came to a try.
    pub(crate) fn doubt(&mut self) {
        if !std::mem::replace(&mut self.in_doubt, true) {
            self.notes.state.lock().tally.in_doubt += 1;
        }
    }

    /// Whether a try was not answered.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.in_doubt
    }

    /// The answer says that it stands, at this index if it came with its record.
    pub(crate) fn done(mut self, index: Option<u64>) {
        let before = index.map(|index| index < self.notes.state.lock().cut);
        self.settle(true, before);
    }

    /// No try was answered, and it was found to stand: what was not answered had been done.
    pub(crate) fn found(mut self) {
        self.settle(true, Some(true));
    }

    /// The answer to a fetch: a repeat says that the first try had been released.
    pub(crate) fn released(mut self, went: Went) {
        self.settle(true, Some(went == Went::Repeated));
    }

    /// The answer says that it does not stand, and never will by this call.
    pub(crate) fn undone(mut self) {
        self.settle(false, None);
    }

    fn settle(&mut self, stands: bool, before: Option<bool>) {
        self.settled = true;
        let mut state = self.notes.state.lock();
        match self.what {
            Open::Record(kind) => {
                let calls = state.book.calls.entry(kind).or_default();
                calls.open -= 1;
                calls.answered += u64::from(stands);
            }
            Open::Use(tag) => {
                let uses = state.book.uses.entry(tag).or_default();
                uses.open -= 1;
                uses.released += u64::from(stands);
            }
        }
        if self.in_doubt {
            match before {
                Some(true) => state.tally.done += 1,
                Some(false) => state.tally.undone += 1,
                None if !stands => state.tally.undone += 1,
                None => {}
            }
        }
    }
}

impl Drop for Sending {
    fn drop(&mut self) {
        // Given up: it stays open, since its record may stand.
        if !self.settled && !self.in_doubt {
            self.notes.state.lock().tally.in_doubt += 1;
        }
    }
}
