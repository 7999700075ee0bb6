//! What a source or a recipient does to a grant by its own word: suspend, end the suspension, revoke.

use countersign_proto::statement::v1 as wire;

use super::{
    GrantTerms,
    parse::{self, Checkpoint, Malformed, Statement},
};
use crate::{
    digest::Digest,
    id::{Origin, PartnerName},
    time::Timestamp,
};

pub use countersign_proto::statement::v1::{ChangeReason, partner_change::Verb as PartnerVerb};

/// The most changes of one grant by one partner; a revocation is always taken. As many as a customer can make.
pub const MAX_PARTNER_CHANGES: u64 = 32;

/// The code of a reason, as records and the API's text fields carry it: `SECURITY`.
pub fn reason_code(reason: ChangeReason) -> &'static str {
    let name = reason.as_str_name();
    name.strip_prefix("CHANGE_REASON_").unwrap_or(name)
}

/// A partner's numbered change to a grant of which it is a side.
///
/// The other side verifies it under the identity that the customer named in the terms, so a stop by a partner needs no
/// trust in the broker. Each partner counts its own changes.
#[derive(Clone, Debug, PartialEq)]
pub struct PartnerChange {
    broker: Origin,
    /// Who changes it.
    pub partner: PartnerName,
    /// The terms.
    pub terms: Digest,
    /// Rises by one with each change of this grant by this partner, from 1.
    pub sequence: u64,
    /// What changes.
    pub verb: PartnerVerb,
    /// Why; [`ChangeReason::Unspecified`] with [`PartnerVerb::Unsuspend`] alone.
    pub reason: ChangeReason,
    /// This partner's change before this one, or the terms.
    pub previous: Digest,
    /// When the partner signed.
    pub time: Timestamp,
    /// The newest published checkpoint that the signer verified.
    pub checkpoint: Checkpoint,
}

/// Why a partner may not change a grant so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PartnerChangeError {
    /// It is of another grant.
    #[error("it is of another grant")]
    Terms,
    /// The partner is on neither side.
    #[error("its partner is on neither side of the grant")]
    Partner,
    /// Only the source suspends.
    #[error("only the source suspends a grant; a recipient revokes it")]
    Verb,
}

impl PartnerChangeError {
    /// The check that failed, in a stable word.
    pub fn check(&self) -> &'static str {
        match self {
            Self::Terms => "terms",
            Self::Partner => "partner",
            Self::Verb => "verb",
        }
    }
}

impl PartnerChange {
    /// Whether its partner may change the grant with these terms so: the source all, the recipient revoke.
    pub fn may_change(&self, terms: &GrantTerms, digest: Digest) -> Result<(), PartnerChangeError> {
        if self.terms != digest {
            return Err(PartnerChangeError::Terms);
        }
        if self.partner == terms.source {
            return Ok(());
        }
        if self.partner != terms.recipient {
            return Err(PartnerChangeError::Partner);
        }
        match self.verb {
            PartnerVerb::Revoke => Ok(()),
            PartnerVerb::Suspend | PartnerVerb::Unsuspend | PartnerVerb::Unspecified => {
                Err(PartnerChangeError::Verb)
            }
        }
    }
}

impl Statement for PartnerChange {
    type Message = wire::PartnerChange;
    const PAYLOAD_TYPE: &'static str = "application/vnd.countersign.partner-change.v1+protobuf";

    fn parse(message: Self::Message) -> Result<Self, Malformed> {
        let verb = message.verb();
        if verb == PartnerVerb::Unspecified {
            return Err(Malformed::new("verb", "must be SUSPEND, UNSUSPEND or REVOKE"));
        }
        if message.sequence == 0 {
            return Err(Malformed::new("sequence", "starts at 1"));
        }
        // An unknown number reads as the default: it is told from an absent one by the number itself.
        let reason = ChangeReason::try_from(message.reason)
            .map_err(|_| Malformed::new("reason", "is none that is known"))?;
        if (verb == PartnerVerb::Unsuspend) != (reason == ChangeReason::Unspecified) {
            return Err(Malformed::new("reason", "goes with every change but UNSUSPEND"));
        }
        Ok(Self {
            broker: parse::origin(&message.broker)?,
            partner: parse::name("partner", &message.partner, PartnerName::parse)?,
            terms: parse::digest("terms", &message.terms)?,
            sequence: message.sequence,
            verb,
            reason,
            previous: parse::digest("previous", &message.previous)?,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        envelope,
        fixtures::{signed, terms},
        key::SigningKey,
    };

    const DIGEST: [u8; 32] = [7; 32];

    fn message() -> wire::PartnerChange {
        wire::PartnerChange {
            broker: "broker.test/log".into(),
            partner: "partners/skylark".into(),
            terms: DIGEST.to_vec().into(),
            sequence: 1,
            verb: PartnerVerb::Suspend.into(),
            reason: ChangeReason::Security.into(),
            previous: DIGEST.to_vec().into(),
            time_ms: 1,
            checkpoint: vec![1].into(),
        }
    }

    fn check(bend: impl FnOnce(&mut wire::PartnerChange), expected: Result<(), &str>) {
        let mut message = message();
        bend(&mut message);
        let key = SigningKey::from_secret(&[1; 32]);
        let signed = envelope::sign::<PartnerChange>(&message, &[&key]);
        let origin = Origin::parse("broker.test/log").expect("an origin");
        let verified = envelope::verify::<PartnerChange>(Some(&signed), &[key.public()], &origin);
        assert_eq!(verified.map(drop).map_err(|error| error.check()), expected);
    }

    #[test]
    fn each_field_is_of_its_form() {
        check(|_| {}, Ok(()));
        check(|it| it.verb = 0, Err("verb"));
        check(|it| it.verb = 4, Err("verb"));
        check(|it| it.sequence = 0, Err("sequence"));
        check(|it| it.reason = 0, Err("reason"));
        check(|it| it.reason = 99, Err("reason"));
        check(|it| it.verb = PartnerVerb::Unsuspend.into(), Err("reason"));
        check(
            |it| {
                it.verb = PartnerVerb::Unsuspend.into();
                it.reason = 0;
            },
            Ok(()),
        );
        check(|it| it.partner = "skylark".into(), Err("partner"));
        check(|it| it.previous = vec![1].into(), Err("previous"));
        check(|it| it.checkpoint = bytes::Bytes::new(), Err("checkpoint"));
    }

    #[test]
    fn the_source_does_all_and_the_recipient_revokes() {
        let grant = signed::<GrantTerms>(&terms());
        let check = |partner: &str, verb: PartnerVerb, expected: Result<(), &str>| {
            let lifts = verb == PartnerVerb::Unsuspend;
            let change = signed::<PartnerChange>(&wire::PartnerChange {
                partner: partner.into(),
                terms: grant.digest().into(),
                verb: verb.into(),
                reason: if lifts { ChangeReason::Unspecified } else { ChangeReason::Security }.into(),
                ..message()
            });
            let found = change.statement().may_change(grant.statement(), grant.digest());
            assert_eq!(found.map_err(|error| error.check()), expected, "{partner} {verb:?}");
            let elsewhere = change.statement().may_change(grant.statement(), Digest::of(b"another grant"));
            assert_eq!(elsewhere.map_err(|error| error.check()), Err("terms"), "{partner} {verb:?}");
        };
        for verb in [PartnerVerb::Suspend, PartnerVerb::Unsuspend, PartnerVerb::Revoke] {
            let revokes = verb == PartnerVerb::Revoke;
            check("partners/skylark", verb, Ok(()));
            check("partners/hopp", verb, if revokes { Ok(()) } else { Err("verb") });
            check("partners/chirp", verb, Err("partner"));
        }
    }

    #[test]
    fn reasons_have_codes_that_fit_a_record() {
        assert_eq!(reason_code(ChangeReason::NotNeeded), "NOT_NEEDED");
        assert_eq!(reason_code(ChangeReason::Security), "SECURITY");
    }
}
