//! What a recipient has to delete under a grant, and what it said of it.

use bytes::Bytes;
use countersign_grants::{digest::Digest, lifecycle::Erasure, statement::GrantTerms, time::Timestamp};

use super::entry::Entry;

/// The customer's order to delete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Order {
    /// The change that ordered it: what the attestation names.
    pub(crate) change: Digest,
    /// Until when it is to be met.
    pub(crate) due: Timestamp,
    /// When it was recorded, where the log's record is all that this side has of it: the customer's signature went with the
    /// account.
    pub(crate) recorded: Option<Timestamp>,
}

/// The order to delete of one grant, and how far it is met.
#[derive(Clone, Debug, Default)]
pub(super) struct Deletion {
    pub(super) order: Option<Order>,
    /// Whether the application said that it has deleted.
    pub(super) deleted: bool,
    /// This side's attestation, as it was signed.
    pub(super) attestation: Option<Bytes>,
    /// Whether the log has it.
    pub(super) told: bool,
}

impl Deletion {
    /// The order that the customer signed. It takes the place of another one that stands here by the log's word alone: that
    /// one was never given, and what was said of it answers another order than this.
    pub(super) fn signed(&mut self, change: Digest, time: Timestamp, terms: &GrantTerms) {
        if self.order.is_some_and(|order| order.change != change) {
            *self = Self::default();
        }
        self.order = Some(Order { change, due: Erasure::order(terms, time).due(), recorded: None });
    }

    /// An order of which the log's record is left.
    pub(super) fn recorded(&mut self, change: Digest, at: Timestamp, terms: &GrantTerms) {
        self.order = Some(Order { change, due: Erasure::order(terms, at).due(), recorded: Some(at) });
    }

    /// Entries that add up to this, behind those of the customer's changes.
    pub(super) fn entries(&self, grant: [u8; 32]) -> Vec<Entry> {
        let mut entries = Vec::new();
        if let Some(Order { change, recorded: Some(at), .. }) = self.order {
            entries.push(Entry::OrderRecorded { grant, change: *change.as_bytes(), at_ms: at.as_millis() });
        }
        entries.extend(self.deleted.then_some(Entry::Deleted { grant }));
        let attested = |bytes: &Bytes| Entry::Attested { grant, attestation: bytes.to_vec() };
        entries.extend(self.attestation.as_ref().map(attested));
        entries.extend(self.told.then_some(Entry::AttestationTold { grant }));
        entries
    }
}
