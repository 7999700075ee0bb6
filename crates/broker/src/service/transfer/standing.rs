//! The part of a grant that never changes, verified once and remembered.

use std::sync::Arc;

use bytes::Bytes;
use countersign_grants::{
    envelope::Signed,
    id::{GrantName, PartnerName, SubjectHandle},
    statement::GrantTerms,
};
use countersign_proto::statement::v1::Envelope;

use crate::{
    broker::{Broker, damaged},
    error::Fault,
    remembered::Remembered,
    stored::StoredGrant,
};

/// The most grants that are remembered: some 4 KiB each, so 64 MiB.
const MAX_REMEMBERED: usize = 16 * 1024;

/// What a grant's statements say for good. Whether the grant still stands is not among it.
pub(crate) struct StandingGrant {
    /// The terms, verified under the key of the link to the source.
    pub terms: Signed<GrantTerms>,
    /// Opens the source's party commitment.
    pub source_salt: Bytes,
    /// The source's handle for the customer.
    pub source_subject: SubjectHandle,
    /// The recipient's handle for the customer.
    pub recipient_subject: SubjectHandle,
    /// The offer.
    pub offer: Envelope,
    /// The certificate of the key that signed the offer.
    pub offer_key: Envelope,
}

/// The grants of which this is remembered.
pub(crate) struct StandingGrants(Remembered<GrantName, StandingGrant>);

impl Default for StandingGrants {
    fn default() -> Self {
        Self(Remembered::new(MAX_REMEMBERED))
    }
}

impl StandingGrants {
    /// Forgets a grant whose customer is erased.
    pub(crate) fn forget(&self, grant: &GrantName) {
        self.0.forget(grant);
    }

    /// What this grant's statements say, from memory or from its rows.
    pub(super) async fn of(&self, broker: &Broker, grant: &StoredGrant) -> Result<Arc<StandingGrant>, Fault> {
        match self.0.get(&grant.name) {
            Some(grant) => Ok(grant),
            None => Ok(self.0.insert(grant.name.clone(), read(broker, grant).await?)),
        }
    }
}

async fn read(broker: &Broker, grant: &StoredGrant) -> Result<StandingGrant, Fault> {
    let offer = broker.offer_of(grant).await?.row;
    let row = &grant.read.row;
    let subject = |handle: &str| SubjectHandle::parse(handle).map_err(|error| damaged("grant", &error));
    Ok(StandingGrant {
        terms: broker.signed_terms(grant).await?,
        source_salt: row.source_salt.clone(),
        source_subject: subject(&row.source_subject)?,
        recipient_subject: subject(&row.recipient_subject)?,
        offer: offer.statement.unwrap_or_default(),
        offer_key: offer.partner_key.unwrap_or_default(),
    })
}

impl StandingGrant {
    /// Who gives.
    pub(super) fn source(&self) -> &PartnerName {
        &self.terms.statement().source
    }

    /// Who receives.
    pub(super) fn recipient(&self) -> &PartnerName {
        &self.terms.statement().recipient
    }
}
