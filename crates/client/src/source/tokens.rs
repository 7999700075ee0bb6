//! Who calls: the broker, by a token under the key that is trusted for its calls.

use std::collections::HashMap;

use countersign_grants::{
    digest::Digest,
    id::Principal,
    token::{Token, Unverified},
};
use parking_lot::Mutex;
use tonic::metadata::MetadataMap;

use super::{Inner, refusal::Refusal};

/// The most tokens that are remembered: a broker mints one for some minutes; several brokers behind one name mint several.
const MAX_REMEMBERED: usize = 64;

/// Tokens whose signature was good. Whether one is good now is checked on every call.
#[derive(Default)]
pub(super) struct Tokens(Mutex<HashMap<Digest, Token>>);

impl<H> Inner<H> {
    /// Refuses every call that is not the broker's to this very partner.
    pub(super) fn authenticate(&self, metadata: &MetadataMap) -> Result<(), Refusal> {
        let shared = &self.partner.0;
        let text = metadata.get("authorization").and_then(|value| value.to_str().ok());
        let text = text.and_then(|value| value.strip_prefix("Bearer ")).ok_or(Refusal::Token(None))?;
        let refused = |error| Refusal::Token(Some(error));
        let digest = Digest::of(text.as_bytes());
        let remembered = self.tokens.0.lock().get(&digest).cloned();
        let token = if let Some(token) = remembered {
            token
        } else {
            let unverified = Unverified::read(text).map_err(refused)?;
            if unverified.issuer() != &Principal::Broker(shared.trust.origin.clone()) {
                return Err(Refusal::NotTheBroker { caller: unverified.issuer().to_string() });
            }
            let token = unverified.verify(&shared.trust.call_key).map_err(refused)?;
            let mut tokens = self.tokens.0.lock();
            if tokens.len() >= MAX_REMEMBERED {
                tokens.clear();
            }
            tokens.insert(digest, token.clone());
            token
        };
        token.check(shared.name.as_str(), shared.system.now()).map_err(refused)
    }
}
