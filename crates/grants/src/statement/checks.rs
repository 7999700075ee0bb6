//! What one statement must be to another. Source, recipient and broker all call these.

use std::time::Duration;

use countersign_proto::statement::v1 as wire;

use super::{Fetch, GrantTerms, Offer};
use crate::{digest::Digest, envelope::Signed, time::Timestamp};

/// SHA-256(salt ‖ SHA-256(acceptance)): names a link to those alone who know it.
pub fn party_commitment(salt: &[u8], acceptance: Digest) -> Digest {
    Digest::of_parts(&[salt, acceptance.as_bytes()])
}

/// Whether the salt opens the commitment to this very link.
pub fn open_party_commitment(commitment: Digest, salt: &[u8], acceptance: Digest) -> bool {
    salt.len() == crate::digest::DIGEST_BYTES && party_commitment(salt, acceptance) == commitment
}

/// How terms step outside their offer, or what they stand in the place of.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the terms say more than they may: `{field}` {problem}")]
pub struct TermsError {
    /// The field of the terms.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: &'static str,
}

impl GrantTerms {
    /// Whether these terms are no more than what the offer proposed.
    pub fn within(&self, offer: &Signed<Offer>) -> Result<(), TermsError> {
        let wrong = |field, problem| Err(TermsError { field, problem });
        let proposed = offer.statement();
        if self.offer != offer.digest() {
            return wrong("offer", "is another one");
        }
        if self.source != proposed.source {
            return wrong("source", "is another one");
        }
        if self.recipient != proposed.recipient || self.recipient_identity != proposed.recipient_identity {
            return wrong("recipient", "is another one");
        }
        if self.purpose != proposed.purpose {
            return wrong("purpose", "is another one");
        }
        if self.catalogue_version != proposed.catalogue_version {
            return wrong("catalogue_version", "is another one");
        }
        if !proposed.required_fields.iter().all(|field| self.fields.contains(field)) {
            return wrong("fields", "leave out one that is required");
        }
        // In the offer's order, so that one choice has one encoding.
        let chosen = proposed.fields().filter(|field| self.fields.contains(field));
        if !chosen.eq(self.fields.iter()) {
            return wrong("fields", "are not fields of the offer, in its order");
        }
        if self.uses > proposed.uses {
            return wrong("uses", "are more");
        }
        if !no_faster(self.rate, proposed.rate) {
            return wrong("rate", "is faster");
        }
        if self.retention > proposed.retention {
            return wrong("retention_seconds", "are longer");
        }
        if self.expire_time.since(self.time) > proposed.duration {
            return wrong("expire_time_ms", "is later");
        }
        Ok(())
    }
}

/// Whether one rate allows at no time more than another: no more uses, in no shorter a window.
pub(super) fn no_faster(rate: Option<(u32, Duration)>, than: Option<(u32, Duration)>) -> bool {
    match (rate, than) {
        (_, None) => true,
        (None, Some(_)) => false,
        (Some((uses, window)), Some((most, least))) => uses <= most && window >= least,
    }
}

/// How a fetch steps outside its terms.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// Under other terms.
    #[error("the fetch is under other terms")]
    Terms,
    /// By somebody else.
    #[error("the fetch is by another partner than the grant's recipient")]
    Recipient,
    /// For another purpose.
    #[error("the grant is for `{granted}`, not for `{asked}`")]
    Purpose {
        /// What the customer approved.
        granted: String,
        /// What was asked.
        asked: String,
    },
    /// For a field that was not granted.
    #[error("`{field}` is not granted")]
    Field {
        /// The field.
        field: String,
    },
    /// Too old, or from the future.
    #[error("the fetch says {said}, and it is {now}")]
    Stale {
        /// What it says.
        said: Timestamp,
        /// What the clock says.
        now: Timestamp,
    },
}

impl Fetch {
    /// Whether the fetch asks for no more than the terms grant.
    pub fn within(&self, terms: &GrantTerms, terms_digest: Digest) -> Result<(), FetchError> {
        if self.terms != terms_digest {
            return Err(FetchError::Terms);
        }
        if self.recipient != terms.recipient {
            return Err(FetchError::Recipient);
        }
        if self.purpose != terms.purpose {
            let (granted, asked) = (terms.purpose.to_string(), self.purpose.to_string());
            return Err(FetchError::Purpose { granted, asked });
        }
        match self.fields.iter().find(|field| !terms.fields.contains(field)) {
            Some(field) => Err(FetchError::Field { field: field.to_string() }),
            None => Ok(()),
        }
    }
}

/// The terms' payload under one of its two signatures: what one side is handed.
impl Signed<GrantTerms> {
    /// Whether another envelope carries the same terms.
    pub fn same_terms(&self, other: &wire::Envelope) -> bool {
        self.envelope().payload == other.payload
    }
}
