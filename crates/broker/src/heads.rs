//! The checkpoints in what partners sign.
//!
//! Whoever is shown such a statement verifies its checkpoint, and can make nothing of the statement if the log has not
//! signed it. Where statements stand for good, one with a made-up checkpoint would be in the way of the other side and of
//! the customer for ever; so it is refused when it comes.
//!
//! Whether a head that the log did sign is one of the log as it is now is not looked at. Nobody but the log itself can
//! have made one that isn't: it accuses us, and has to reach those who meet it.

use bytes::Bytes;
use countersign_grants::digest::Digest;
use countersign_ledger::{SignedCheckpoint, VerifierKey};

use crate::remembered::Remembered;

/// The most heads that are remembered as signed. One is published in a second, and none is older than a minute in what is
/// signed now: so all that is in use, and twice over what comes late.
const MAX_REMEMBERED: usize = 128;

/// Which heads this log has signed, as far as statements named them.
pub(crate) struct Heads {
    log: VerifierKey,
    signed: Remembered<Digest, ()>,
}

impl Heads {
    pub(crate) fn new(log: VerifierKey) -> Self {
        Self { log, signed: Remembered::new(MAX_REMEMBERED) }
    }

    /// Whether the log has signed it; else why not.
    pub(crate) fn check(&self, checkpoint: &Bytes) -> Result<(), String> {
        let digest = Digest::of(checkpoint);
        if self.signed.get(&digest).is_none() {
            SignedCheckpoint::verify(checkpoint.clone(), &self.log).map_err(|error| error.to_string())?;
            self.signed.insert(digest, ());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use countersign_ledger::{KeyName, SignerKey};

    use super::*;

    #[test]
    fn a_head_is_the_logs_own_or_refused() {
        let key = |seed, name| SignerKey::from_seed(KeyName::parse(name).expect("a name"), &[seed; 32]);
        let head = |key: &SignerKey| {
            let signed = SignedCheckpoint::sign(key, 7, countersign_ledger::Hash::EMPTY_ROOT);
            signed.expect("a head").as_bytes().clone()
        };
        let log = key(1, "broker.example/log");
        let heads = Heads::new(log.verifier().clone());
        for _ in 0..2 {
            assert_eq!(heads.check(&head(&log)), Ok(()));
            assert!(heads.check(&head(&key(2, "broker.example/log"))).is_err(), "another key");
            assert!(heads.check(&head(&key(1, "other.example/log"))).is_err(), "another log");
            assert!(heads.check(&Bytes::from_static(b"junk")).is_err(), "nothing at all");
        }
    }
}
