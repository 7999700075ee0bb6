//! What comes into a book, and what does not.
//!
//! Two questions are kept apart. Whether an entry *fits* is asked whenever one is read: it must follow from what stands.
//! Whether it is *admitted* is asked once, when it is entered: by what stood at that moment. What stands in the file was
//! admitted then, and is not held to what came later; so a book opens whatever its entries came to mean for each other,
//! and in whatever order a rewrite lists them.

use countersign_grants::{
    digest::Digest,
    statement::{GrantChange, GrantTerms, PartnerChange, Revision, TermsError},
};

use super::{
    entry::Entry,
    envelopes::peek,
    grants::{GrantRow, Side, Standing},
    state::State,
};

/// The most grants that are held before their terms have come. A broker that makes up more of them has no honest ones
/// waiting.
const MAX_HELD: usize = 4096;

/// The most grants that are stopped before their terms have come. Each was named by this side's own people, from what a
/// customer showed them: thousands of them, and none that the book knows, are a mistake.
const MAX_STOPPED_AHEAD: usize = 4096;

/// An entry that does not fit what the book says, or may not come in.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unadmitted {
    #[error("the grant is not in the book")]
    NoGrant,
    #[error("the link is not in the book")]
    NoLink,
    #[error("the handle has another link already")]
    Linked,
    #[error("the change has number {found}; the next is {expected}")]
    Sequence { expected: u64, found: u64 },
    #[error("the change does not build on the one before it")]
    Previous,
    #[error("the grant has ended for good")]
    Stopped,
    #[error("a newer revision stands in the place of the grant")]
    Superseded,
    #[error("the grant in whose place they stand is not in the book, or was not narrowed to them")]
    NoPrevious,
    #[error("the grant that they renew is paused, or has ended")]
    NotActive,
    #[error("they do not fit the grant in whose place they stand: {0}")]
    Revision(TermsError),
    #[error("nothing was ordered to be deleted, or it was attested before")]
    NotOrdered,
    #[error("it was ordered before, or this side received nothing")]
    Ordered,
    #[error("{MAX_HELD} grants that are not in the book are held already")]
    Held,
    #[error("{MAX_STOPPED_AHEAD} grants that are not in the book are stopped already")]
    StoppedAhead,
    #[error("does not read: {0}")]
    Unreadable(String),
}

impl State {
    /// Whether an entry follows from what stands.
    pub(super) fn fits(&self, entry: &Entry) -> Result<(), Unadmitted> {
        match entry {
            Entry::Linked { link, subject, .. } => match self.by_subject.get(subject) {
                Some(other) if other.as_bytes() != link => Err(Unadmitted::Linked),
                _ => Ok(()),
            },
            Entry::Granted { side, link, terms, .. } => {
                self.fits_link(*link)?;
                self.revised(*side, *link, terms).map(drop)
            }
            Entry::Previewed { link, .. } | Entry::Replaced { link, .. } => self.fits_link(*link),
            Entry::Changed { grant, change } => {
                let row = self.known(*grant)?;
                let (change, _) = peek::<GrantChange>(change).map_err(Unadmitted::Unreadable)?;
                follows((row.sequence + 1, row.last), (change.sequence, change.previous))
            }
            Entry::PartnerChanged { grant, change } => {
                let row = self.known(*grant)?;
                let (change, _) = peek::<PartnerChange>(change).map_err(Unadmitted::Unreadable)?;
                let side = row.side_of(&change);
                let next = (row.partner_sequence(side) + 1, row.partner_last(side));
                follows(next, (change.sequence, change.previous))
            }
            Entry::Provided { grant, .. } | Entry::Spent { grant, .. } => self.known(*grant).map(drop),
            Entry::Deleted { grant } | Entry::Attested { grant, .. } | Entry::AttestationTold { grant } => {
                let row = self.known(*grant)?;
                let ready = match entry {
                    Entry::Deleted { .. } => row.erase_due().is_some(),
                    Entry::Attested { .. } => row.deleted() && row.attestation().is_none(),
                    _ => row.attestation().is_some(),
                };
                if ready { Ok(()) } else { Err(Unadmitted::NotOrdered) }
            }
            Entry::OrderRecorded { grant, .. } => {
                let row = self.known(*grant)?;
                let ready = row.side() == Side::Recipient && row.erase_order().is_none();
                if ready { Ok(()) } else { Err(Unadmitted::Ordered) }
            }
            Entry::StoppedHere { .. }
            | Entry::Held { .. }
            | Entry::Invited { .. }
            | Entry::Replaces { .. }
            | Entry::TryFailed { .. }
            | Entry::ReceiptTaken { .. }
            | Entry::Cursor(_)
            | Entry::Checkpoint(_)
            | Entry::Forked { .. }
            | Entry::OwnKey { .. }
            | Entry::Compared { .. }
            | Entry::TapUsed { .. } => Ok(()),
        }
    }

    /// Whether an entry fits, and may come in now.
    pub(crate) fn admits(&self, entry: &Entry) -> Result<(), Unadmitted> {
        self.fits(entry)?;
        match entry {
            Entry::Granted { side, link, terms, .. } => match self.revised(*side, *link, terms)? {
                Some((old, revision, new)) => may_revise(old, revision, new),
                None => Ok(()),
            },
            Entry::Changed { grant, change } => {
                let (change, _) = peek::<GrantChange>(change).map_err(Unadmitted::Unreadable)?;
                match self.known(*grant)?.standing {
                    // A stop is for good; one that did not order to delete can be followed by one that does.
                    Standing::Stopped { erase: false } if change.erase => Ok(()),
                    Standing::Stopped { .. } | Standing::Superseded { .. } => Err(Unadmitted::Stopped),
                    Standing::Active | Standing::Paused => Ok(()),
                }
            }
            Entry::PartnerChanged { grant, change } => {
                let row = self.known(*grant)?;
                let (change, _) = peek::<PartnerChange>(change).map_err(Unadmitted::Unreadable)?;
                let side = row.side_of(&change);
                match (row.revoked(), row.standing) {
                    // One that went on from the grant before was not said of this one yet.
                    (Some((by, _)), _) if by == side && row.partner_sequence(side) > 0 => {
                        Err(Unadmitted::Stopped)
                    }
                    // What this side did to the old grant went on to the new one when that came in: what came later would not.
                    (_, Standing::Superseded { by }) if self.grants.contains_key(&by) => {
                        Err(Unadmitted::Superseded)
                    }
                    _ => Ok(()),
                }
            }
            Entry::Held { grant } => {
                let known = self.known(*grant).is_ok() || self.held.contains(&Digest::from(*grant));
                if known || self.held.len() < MAX_HELD { Ok(()) } else { Err(Unadmitted::Held) }
            }
            Entry::StoppedHere { grant, .. } => {
                let ahead = &self.stopped_ahead;
                let known = self.known(*grant).is_ok() || ahead.contains_key(&Digest::from(*grant));
                if known || ahead.len() < MAX_STOPPED_AHEAD { Ok(()) } else { Err(Unadmitted::StoppedAhead) }
            }
            _ => Ok(()),
        }
    }

    fn known(&self, grant: [u8; 32]) -> Result<&GrantRow, Unadmitted> {
        self.grants.get(&Digest::from(grant)).ok_or(Unadmitted::NoGrant)
    }

    fn fits_link(&self, link: [u8; 32]) -> Result<(), Unadmitted> {
        if self.links.contains_key(&Digest::from(link)) { Ok(()) } else { Err(Unadmitted::NoLink) }
    }

    /// The grant in whose place these terms stand, if they name one, how they do, and their hash. Nothing of terms that
    /// are in the book.
    fn revised(
        &self,
        side: Side,
        link: [u8; 32],
        terms: &[u8],
    ) -> Result<Option<(&GrantRow, Revision, Digest)>, Unadmitted> {
        let (terms, digest) = peek::<GrantTerms>(terms).map_err(Unadmitted::Unreadable)?;
        let Some(previous) = terms.previous.filter(|_| !self.grants.contains_key(&digest)) else {
            return Ok(None);
        };
        let old = self.grants.get(&previous).ok_or(Unadmitted::NoPrevious)?;
        if old.place() != (side, Digest::from(link)) {
            let problem = "is of another link than theirs";
            return Err(Unadmitted::Revision(TermsError { field: "previous", problem }));
        }
        let revision = terms.revises_terms(old.terms(), previous).map_err(Unadmitted::Revision)?;
        Ok(Some((old, revision, digest)))
    }
}

/// Whether terms may come in the place of these. Nothing that was signed and given up comes in beside a later pause or
/// stop: narrower ones only if the customer's change of the old grant names them, renewed ones only while the old grant
/// is what the broker would have had to find it, ACTIVE. What this side did by itself, alone or by its signed word, may
/// cross with the customer's revision: that comes in with them, and holds.
fn may_revise(old: &GrantRow, revision: Revision, new: Digest) -> Result<(), Unadmitted> {
    if old.revoked().is_some_and(|(by, _)| by != old.side()) {
        return Err(Unadmitted::Stopped);
    }
    match (revision, old.standing) {
        (Revision::Narrowed, Standing::Superseded { by }) if by == new => Ok(()),
        (Revision::Narrowed, _) => Err(Unadmitted::NoPrevious),
        (Revision::Renewed, Standing::Active) => Ok(()),
        (Revision::Renewed, _) => Err(Unadmitted::NotActive),
    }
}

/// Whether a change is the next, and builds on the last.
fn follows((expected, last): (u64, Digest), (found, previous): (u64, Digest)) -> Result<(), Unadmitted> {
    if found != expected {
        return Err(Unadmitted::Sequence { expected, found });
    }
    if previous != last {
        return Err(Unadmitted::Previous);
    }
    Ok(())
}
