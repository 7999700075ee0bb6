//! Grants: what the customer signed, and how far each statement has come.

use bytes::Bytes;
use countersign_grants::{
    digest::Digest,
    envelope,
    id::GrantName,
    statement::{GrantChange, GrantTerms, Statement, Verb},
    time::Timestamp,
};
use countersign_proto::statement::v1::Envelope;
use prost::Message as _;

use crate::customer::entry::Entry;

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
    pub(super) abandoned: Vec<(Envelope, Envelope)>,
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

    pub(super) fn read(
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
    pub(in crate::customer) fn abandoned(&self) -> &[(Envelope, Envelope)] {
        &self.abandoned
    }

    pub(super) fn change(&mut self, bytes: Bytes, index: Option<u64>) -> Result<(), String> {
        let (change, digest, _) = peek::<GrantChange>(&bytes)?;
        // Two tasks of one customer can take the same change, one from its answer and one from what the broker lists.
        if let Some(known) = self.changes.iter_mut().find(|known| known.digest == digest) {
            known.index = known.index.or(index);
            if digest == self.last {
                self.change_recorded = self.change_recorded.or(index);
            }
            return Ok(());
        }
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

    pub(super) fn entries(&self) -> Vec<Entry> {
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
