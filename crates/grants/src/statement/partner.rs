//! A partner's keys, and its acknowledgements.

use countersign_proto::statement::v1 as wire;

use super::parse::{self, Checkpoint, Malformed, Statement};
use crate::{
    digest::Digest,
    envelope::{self, Signed, StatementError},
    id::{Origin, PartnerName},
    key::PublicKey,
    time::Timestamp,
};

/// A partner's identity key certifies a working key.
#[derive(Clone, Debug, PartialEq)]
pub struct PartnerKey {
    broker: Origin,
    /// The partner.
    pub partner: PartnerName,
    /// The working key.
    pub key: PublicKey,
    /// Rises by one with each key, from 1.
    pub sequence: u64,
    /// From when the key signs.
    pub not_before: Timestamp,
    /// Until when the key signs.
    pub not_after: Timestamp,
    /// The key statement before this one; none for the first.
    pub previous: Option<Digest>,
}

impl Statement for PartnerKey {
    type Message = wire::PartnerKey;
    const PAYLOAD_TYPE: &'static str = "application/vnd.countersign.partner-key.v1+protobuf";

    fn parse(message: Self::Message) -> Result<Self, Malformed> {
        let previous = match (message.sequence, message.previous.as_ref()) {
            (0, _) => return Err(Malformed::new("sequence", "starts at 1")),
            (1, []) => None,
            (1, _) => return Err(Malformed::new("previous", "must be empty for the first key")),
            (_, bytes) => Some(parse::digest("previous", bytes)?),
        };
        let not_before = parse::time("not_before_ms", message.not_before_ms)?;
        let not_after = parse::time("not_after_ms", message.not_after_ms)?;
        if not_after <= not_before {
            return Err(Malformed::new("not_after_ms", "must be later than `not_before_ms`"));
        }
        Ok(Self {
            broker: parse::origin(&message.broker)?,
            partner: parse::name("partner", &message.partner, PartnerName::parse)?,
            key: parse::key("public_key", &message.public_key)?,
            sequence: message.sequence,
            not_before,
            not_after,
            previous,
        })
    }

    fn broker(&self) -> &Origin {
        &self.broker
    }

    fn checkpoint(&self) -> Option<&Checkpoint> {
        None
    }
}

/// A working key that its partner's identity key has certified. Made by [`WorkingKey::certified`] alone.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkingKey(Signed<PartnerKey>);

/// Why a working key can't stand behind a statement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The identity key has not certified it.
    #[error("the partner's key statement: {0}")]
    Certificate(StatementError),
    /// It is another partner's key.
    #[error("the key is of `{found}`, not of `{expected}`")]
    Partner {
        /// Whose key was asked for.
        expected: PartnerName,
        /// Whose key it is.
        found: PartnerName,
    },
    /// The statement was signed outside the key's time.
    #[error("the key signs from {not_before} to {not_after}, and the statement says {at}")]
    OutsideItsTime {
        /// From when the key signs.
        not_before: Timestamp,
        /// Until when the key signs.
        not_after: Timestamp,
        /// When the statement says that it was signed.
        at: Timestamp,
    },
    /// The statement itself.
    #[error(transparent)]
    Statement(StatementError),
}

impl KeyError {
    /// A stable word for the check that failed.
    pub fn check(&self) -> &'static str {
        match self {
            Self::Certificate(_) => "partner_key",
            Self::Partner { .. } => "partner_key_partner",
            Self::OutsideItsTime { .. } => "partner_key_time",
            Self::Statement(error) => error.check(),
        }
    }
}

impl WorkingKey {
    /// Verifies the identity key's statement.
    pub fn certified(
        certificate: Option<&wire::Envelope>,
        identity: &PublicKey,
        partner: &PartnerName,
        broker: &Origin,
    ) -> Result<Self, KeyError> {
        let signed = envelope::verify::<PartnerKey>(certificate, &[identity], broker)
            .map_err(KeyError::Certificate)?;
        let found = &signed.statement().partner;
        if found != partner {
            return Err(KeyError::Partner { expected: partner.clone(), found: found.clone() });
        }
        Ok(Self(signed))
    }

    /// The certificate.
    pub fn certificate(&self) -> &Signed<PartnerKey> {
        &self.0
    }

    /// The key.
    pub fn public(&self) -> &PublicKey {
        &self.0.statement().key
    }

    /// Verifies a statement that this key signed within its time; `at` reads the time that the statement names.
    pub fn verify<S: Statement>(
        &self,
        envelope: Option<&wire::Envelope>,
        at: impl Fn(&S) -> Timestamp,
    ) -> Result<Signed<S>, KeyError> {
        let key = self.0.statement();
        let signed =
            envelope::verify::<S>(envelope, &[&key.key], &key.broker).map_err(KeyError::Statement)?;
        let at = at(signed.statement());
        if at < key.not_before || at > key.not_after {
            let (not_before, not_after) = (key.not_before, key.not_after);
            return Err(KeyError::OutsideItsTime { not_before, not_after, at });
        }
        Ok(signed)
    }
}

/// A partner says that a statement stands in its book.
#[derive(Clone, Debug, PartialEq)]
pub struct Acknowledgement {
    broker: Origin,
    /// Who acknowledges.
    pub partner: PartnerName,
    /// The terms or change that is acknowledged.
    pub statement: Digest,
    /// When.
    pub time: Timestamp,
    /// The newest published checkpoint that the signer verified.
    pub checkpoint: Checkpoint,
}

impl Statement for Acknowledgement {
    type Message = wire::Acknowledgement;
    const PAYLOAD_TYPE: &'static str = "application/vnd.countersign.acknowledgement.v1+protobuf";

    fn parse(message: Self::Message) -> Result<Self, Malformed> {
        Ok(Self {
            broker: parse::origin(&message.broker)?,
            partner: parse::name("partner", &message.partner, PartnerName::parse)?,
            statement: parse::digest("statement", &message.statement)?,
            time: parse::time("time_ms", message.time_ms)?,
            checkpoint: parse::checkpoint(message.checkpoint)?,
        })
    }

    fn broker(&self) -> &Origin {
        &self.broker
    }

    fn checkpoint(&self) -> Option<&Checkpoint> {
        Some(&self.checkpoint)
    }
}
