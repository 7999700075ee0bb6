//! Other partners' working keys, certified once.

use std::{collections::HashMap, sync::Arc};

use countersign_grants::{
    digest::Digest,
    id::{Origin, PartnerName},
    key::PublicKey,
    statement::{KeyError, WorkingKey},
};
use countersign_proto::statement::v1::Envelope;
use parking_lot::Mutex;
use prost::Message as _;

/// The most certificates that are remembered: a few for each partner one deals with. Beyond it all are forgotten, and
/// each costs one signature again.
const MAX_REMEMBERED: usize = 1024;

/// Certificates that verified. That one did is a fact about bytes, so it stays true.
#[derive(Default)]
pub(crate) struct WorkingKeys(Mutex<HashMap<Digest, Arc<WorkingKey>>>);

impl WorkingKeys {
    /// The working key that `identity` certified for `partner`.
    pub(crate) fn certified(
        &self,
        certificate: Option<&Envelope>,
        identity: &PublicKey,
        partner: &PartnerName,
        broker: &Origin,
    ) -> Result<Arc<WorkingKey>, KeyError> {
        let bytes = certificate.map(Envelope::encode_to_vec).unwrap_or_default();
        let name = partner.as_str().as_bytes();
        let remembered = Digest::of_parts(&[identity.as_bytes(), name, &[0], &bytes]);
        if let Some(key) = self.0.lock().get(&remembered) {
            return Ok(Arc::clone(key));
        }
        let key = Arc::new(WorkingKey::certified(certificate, identity, partner, broker)?);
        let mut keys = self.0.lock();
        if keys.len() >= MAX_REMEMBERED {
            keys.clear();
        }
        keys.insert(remembered, Arc::clone(&key));
        Ok(key)
    }
}
