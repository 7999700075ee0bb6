//! The word that data was deleted, and the word that an account is to be.

use countersign_proto::statement::v1 as wire;

use super::parse::{self, Checkpoint, Malformed, Statement};
use crate::{
    digest::Digest,
    id::{CustomerName, Origin, PartnerName},
    time::Timestamp,
};

/// A grant's recipient says that it has deleted what it received.
#[derive(Clone, Debug, PartialEq)]
pub struct ErasureAttestation {
    broker: Origin,
    /// Who deleted.
    pub partner: PartnerName,
    /// The terms.
    pub terms: Digest,
    /// The customer's change that ordered it.
    pub change: Digest,
    /// When the partner signed.
    pub time: Timestamp,
    /// The newest published checkpoint that the signer verified.
    pub checkpoint: Checkpoint,
}

impl Statement for ErasureAttestation {
    type Message = wire::ErasureAttestation;
    const PAYLOAD_TYPE: &'static str = "application/vnd.countersign.erasure-attestation.v1+protobuf";

    fn parse(message: Self::Message) -> Result<Self, Malformed> {
        Ok(Self {
            broker: parse::origin(&message.broker)?,
            partner: parse::name("partner", &message.partner, PartnerName::parse)?,
            terms: parse::digest("terms", &message.terms)?,
            change: parse::digest("change", &message.change)?,
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

/// A customer closes the account.
#[derive(Clone, Debug, PartialEq)]
pub struct AccountClosure {
    broker: Origin,
    /// Who.
    pub customer: CustomerName,
    /// When the customer signed.
    pub time: Timestamp,
}

impl Statement for AccountClosure {
    type Message = wire::AccountClosure;
    const PAYLOAD_TYPE: &'static str = "application/vnd.countersign.account-closure.v1+protobuf";

    fn parse(message: Self::Message) -> Result<Self, Malformed> {
        Ok(Self {
            broker: parse::origin(&message.broker)?,
            customer: parse::name("customer", &message.customer, CustomerName::parse)?,
            time: parse::time("time_ms", message.time_ms)?,
        })
    }

    fn broker(&self) -> &Origin {
        &self.broker
    }

    fn checkpoint(&self) -> Option<&Checkpoint> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{envelope, key::SigningKey};

    const DIGEST: [u8; 32] = [7; 32];

    fn check<S: Statement>(message: &S::Message, expected: Result<(), &str>) {
        let key = SigningKey::from_secret(&[1; 32]);
        let signed = envelope::sign::<S>(message, &[&key]);
        let origin = Origin::parse("broker.test/log").expect("an origin");
        let verified = envelope::verify::<S>(Some(&signed), &[key.public()], &origin);
        assert_eq!(verified.map(drop).map_err(|error| error.check()), expected);
    }

    #[test]
    fn each_field_of_an_attestation_is_of_its_form() {
        let bent = |bend: &dyn Fn(&mut wire::ErasureAttestation), expected| {
            let mut message = wire::ErasureAttestation {
                broker: "broker.test/log".into(),
                partner: "partners/hopp".into(),
                terms: DIGEST.to_vec().into(),
                change: DIGEST.to_vec().into(),
                time_ms: 1,
                checkpoint: vec![1].into(),
            };
            bend(&mut message);
            check::<ErasureAttestation>(&message, expected);
        };
        bent(&|_| {}, Ok(()));
        bent(&|it| it.partner = "customers/hopp".into(), Err("partner"));
        bent(&|it| it.terms = vec![7; 31].into(), Err("terms"));
        bent(&|it| it.change = vec![].into(), Err("change"));
        bent(&|it| it.time_ms = 0, Err("time_ms"));
        bent(&|it| it.checkpoint = vec![].into(), Err("checkpoint"));
        bent(&|it| it.broker = "other.test/log".into(), Err("broker"));
    }

    #[test]
    fn each_field_of_a_closure_is_of_its_form() {
        let bent = |bend: &dyn Fn(&mut wire::AccountClosure), expected| {
            let key = SigningKey::from_secret(&[1; 32]);
            let mut message = wire::AccountClosure {
                broker: "broker.test/log".into(),
                customer: CustomerName::of(key.public().id()).to_string(),
                time_ms: 1,
            };
            bend(&mut message);
            check::<AccountClosure>(&message, expected);
        };
        bent(&|_| {}, Ok(()));
        bent(&|it| it.customer = "customers/mei".into(), Err("customer"));
        bent(&|it| it.time_ms = 0, Err("time_ms"));
        bent(&|it| it.broker = "other.test/log".into(), Err("broker"));
    }
}
