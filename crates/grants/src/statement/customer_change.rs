//! What a customer does to the copies of the root secret: add an authenticator, remove one, report it stolen.

use countersign_proto::statement::v1 as wire;

use super::parse::{self, Checkpoint, Malformed, Statement};
use crate::{
    digest::Digest,
    id::{CustomerName, Origin},
    time::Timestamp,
};

pub use countersign_proto::statement::v1::customer_change::Verb as CustomerVerb;

/// A customer's numbered change. Signed by the key of the customer's calls, whose thumbprint is the customer's name; so
/// everybody who knows the name can verify the chain.
#[derive(Clone, Debug, PartialEq)]
pub struct CustomerChange {
    broker: Origin,
    /// Whose it is.
    pub customer: CustomerName,
    /// Rises by one with each change of this customer, from 1.
    pub sequence: u64,
    /// The change before this one; none with the first.
    pub previous: Option<Digest>,
    /// What changes.
    pub what: CustomerChanged,
    /// When the customer signed.
    pub time: Timestamp,
}

/// What a customer's change does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CustomerChanged {
    /// One more authenticator opens the root secret.
    Added(Authenticator),
    /// An authenticator's copy is gone.
    Removed {
        /// The authenticator.
        authenticator: Digest,
    },
    /// The root secret is in somebody else's hands.
    Stolen,
}

/// What opens one copy of a customer's root secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authenticator {
    /// SHA-256 of its lookup secret.
    pub id: Digest,
    /// SHA-256 of the wrapped copy.
    pub wrapped: Digest,
    /// SHA-256(salt ‖ label), what the person calls it.
    pub label_commitment: Digest,
}

impl CustomerChanged {
    /// The verb that says it.
    pub fn verb(&self) -> CustomerVerb {
        match self {
            Self::Added(_) => CustomerVerb::AddAuthenticator,
            Self::Removed { .. } => CustomerVerb::RemoveAuthenticator,
            Self::Stolen => CustomerVerb::ReportStolen,
        }
    }
}

impl Statement for CustomerChange {
    type Message = wire::CustomerChange;
    const PAYLOAD_TYPE: &'static str = "application/vnd.countersign.customer-change.v1+protobuf";

    fn parse(message: Self::Message) -> Result<Self, Malformed> {
        if message.sequence == 0 {
            return Err(Malformed::new("sequence", "starts at 1"));
        }
        let previous = match (message.sequence, message.previous.is_empty()) {
            (1, true) => None,
            (1, false) => return Err(Malformed::new("previous", "is absent with number 1")),
            _ => Some(parse::digest("previous", &message.previous)?),
        };
        let what = match message.verb() {
            CustomerVerb::AddAuthenticator => CustomerChanged::Added(Authenticator {
                id: parse::digest("authenticator", &message.authenticator)?,
                wrapped: parse::digest("wrapped", &message.wrapped)?,
                label_commitment: parse::digest("label_commitment", &message.label_commitment)?,
            }),
            CustomerVerb::RemoveAuthenticator => CustomerChanged::Removed {
                authenticator: parse::digest("authenticator", &message.authenticator)?,
            },
            CustomerVerb::ReportStolen => CustomerChanged::Stolen,
            CustomerVerb::Unspecified => {
                let problem = "must be ADD_AUTHENTICATOR, REMOVE_AUTHENTICATOR or REPORT_STOLEN";
                return Err(Malformed::new("verb", problem));
            }
        };
        let verb = what.verb();
        let absent = |field, bytes: &[u8], with: bool| {
            if bytes.is_empty() || with {
                Ok(())
            } else {
                Err(Malformed::new(field, "is absent with this verb"))
            }
        };
        absent("authenticator", &message.authenticator, verb != CustomerVerb::ReportStolen)?;
        absent("wrapped", &message.wrapped, verb == CustomerVerb::AddAuthenticator)?;
        absent("label_commitment", &message.label_commitment, verb == CustomerVerb::AddAuthenticator)?;
        Ok(Self {
            broker: parse::origin(&message.broker)?,
            customer: parse::name("customer", &message.customer, CustomerName::parse)?,
            sequence: message.sequence,
            previous,
            what,
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

    fn message() -> wire::CustomerChange {
        let key = SigningKey::from_secret(&[1; 32]);
        wire::CustomerChange {
            broker: "broker.test/log".into(),
            customer: CustomerName::of(key.id()).to_string(),
            sequence: 1,
            verb: CustomerVerb::AddAuthenticator.into(),
            authenticator: vec![1; 32].into(),
            wrapped: vec![2; 32].into(),
            label_commitment: vec![3; 32].into(),
            time_ms: 1,
            ..Default::default()
        }
    }

    fn check(bend: impl FnOnce(&mut wire::CustomerChange), expected: Result<(), &str>) {
        let mut message = message();
        bend(&mut message);
        let key = SigningKey::from_secret(&[1; 32]);
        let signed = envelope::sign::<CustomerChange>(&message, &[&key]);
        let origin = Origin::parse("broker.test/log").expect("an origin");
        let verified = envelope::verify::<CustomerChange>(Some(&signed), &[key.public()], &origin);
        assert_eq!(verified.map(drop).map_err(|error| error.check()), expected);
    }

    #[test]
    fn each_field_is_of_its_form_and_goes_with_its_verb() {
        let removes = |it: &mut wire::CustomerChange| {
            it.verb = CustomerVerb::RemoveAuthenticator.into();
            it.wrapped.clear();
            it.label_commitment.clear();
        };
        check(|_| {}, Ok(()));
        check(removes, Ok(()));
        check(
            |it| {
                removes(it);
                it.verb = CustomerVerb::ReportStolen.into();
            },
            Err("authenticator"),
        );
        check(|it| it.verb = 0, Err("verb"));
        check(|it| it.verb = 9, Err("verb"));
        check(|it| it.sequence = 0, Err("sequence"));
        check(|it| it.sequence = 2, Err("previous"));
        check(|it| it.previous = vec![7; 32].into(), Err("previous"));
        check(|it| it.authenticator = vec![1; 31].into(), Err("authenticator"));
        check(|it| it.wrapped.clear(), Err("wrapped"));
        check(|it| it.label_commitment.clear(), Err("label_commitment"));
        check(|it| it.verb = CustomerVerb::RemoveAuthenticator.into(), Err("wrapped"));
        check(|it| it.customer = "customers/x".into(), Err("customer"));
        check(|it| it.time_ms = 0, Err("time_ms"));
    }
}
