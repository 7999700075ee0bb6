//! Tokens whose signature was good.
//!
//! The cache holds that and nothing else: time, audience, and the state of key and principal are looked at on every
//! call. Its keys are hashes, so that no token lies in memory for longer than its call.

use std::{collections::HashMap, sync::Arc};

use countersign_grants::{digest::Digest, token::Token};
use parking_lot::Mutex;

/// A bounded cache in two generations: when the young one is full it becomes the old one, and the old one goes. What
/// is in use comes back by one verification.
pub(super) struct Tokens {
    per_generation: usize,
    generations: Mutex<Generations>,
}

#[derive(Default)]
struct Generations {
    young: HashMap<Digest, Arc<Token>>,
    old: HashMap<Digest, Arc<Token>>,
}

impl Tokens {
    pub(super) fn new(per_generation: usize) -> Self {
        Self { per_generation, generations: Mutex::default() }
    }

    /// The token with this text, if its signature was found good before.
    pub(super) fn get(&self, text: &str) -> Option<Arc<Token>> {
        let key = Digest::of(text.as_bytes());
        let generations = self.generations.lock();
        generations.young.get(&key).or_else(|| generations.old.get(&key)).cloned()
    }

    /// Remembers that the signature of this text is good.
    pub(super) fn insert(&self, text: &str, token: Arc<Token>) {
        let mut generations = self.generations.lock();
        if generations.young.len() >= self.per_generation {
            generations.old = std::mem::take(&mut generations.young);
        }
        generations.young.insert(Digest::of(text.as_bytes()), token);
    }
}

#[cfg(test)]
mod tests {
    use countersign_grants::{
        id::{OperatorName, Principal},
        key::SigningKey,
        time::Timestamp,
        token::{Issuer, Unverified},
    };

    use super::*;

    #[test]
    fn the_cache_never_outgrows_its_bound() {
        let key = SigningKey::from_secret(&[1; 32]);
        let issuer = Issuer::new(Principal::Operator(OperatorName::of_id("root").expect("an id")), &key);
        let tokens = Tokens::new(4);
        let texts: Vec<_> =
            (0..20).map(|second| issuer.issue("brokers/b", Timestamp::from_millis(second * 1000))).collect();
        for text in &texts {
            let token = Unverified::read(text).expect("reads").verify(key.public()).expect("verifies");
            tokens.insert(text, Arc::new(token));
            assert!(tokens.get(text).is_some());
            let generations = tokens.generations.lock();
            assert!(generations.young.len() + generations.old.len() <= 8);
        }
        assert!(tokens.get(&texts[0]).is_none());
    }
}
