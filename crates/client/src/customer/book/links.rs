//! Links: with whom the customer is linked, and by which key each partner is known.

use std::fmt;

use countersign_grants::{
    digest::Digest,
    id::{LinkName, PartnerName, SubjectHandle},
    key::PublicKey,
    time::Timestamp,
};
use countersign_proto::statement::v1::Envelope;
use prost::Message as _;

use crate::customer::entry::Entry;

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
    pub(super) order: usize,
}

impl LinkRow {
    /// Whether the partner has confirmed it, and it has not ended.
    pub fn stands(&self) -> bool {
        self.confirmed && !self.ended
    }

    pub(super) fn entries(&self) -> Vec<Entry> {
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
