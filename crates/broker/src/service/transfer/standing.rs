//! The part of a grant that never changes, verified once and remembered.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use countersign_grants::{
    envelope::Signed,
    id::{GrantName, PartnerName, SubjectHandle},
    statement::GrantTerms,
};
use countersign_proto::statement::v1::Envelope;
use parking_lot::Mutex;

use crate::{
    broker::{Broker, damaged},
    error::Fault,
    stored::StoredGrant,
};

/// The most grants that are remembered: some 4 KiB each, so 64 MiB.
const MAX_REMEMBERED: usize = 16 * 1024;

/// What a grant's statements say for good. Whether the grant still stands is not among it.
pub(super) struct StandingGrant {
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
#[derive(Default)]
pub(super) struct StandingGrants(Mutex<HashMap<GrantName, Arc<StandingGrant>>>);

impl StandingGrants {
    /// What this grant's statements say, from memory or from its rows.
    pub(super) async fn of(&self, broker: &Broker, grant: &StoredGrant) -> Result<Arc<StandingGrant>, Fault> {
        let name = &grant.name;
        if let Some(grant) = self.0.lock().get(name) {
            return Ok(Arc::clone(grant));
        }
        let grant = Arc::new(read(broker, grant).await?);
        let mut grants = self.0.lock();
        if grants.len() >= MAX_REMEMBERED {
            grants.clear();
        }
        grants.insert(name.clone(), Arc::clone(&grant));
        Ok(grant)
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
