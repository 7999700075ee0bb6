//! The linking ceremony: invitation, acceptance, confirmation, and the arithmetic between them.

use std::time::Duration;

use countersign_proto::statement::v1 as wire;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::parse::{self, Checkpoint, Malformed, Statement};
use crate::{
    digest::Digest,
    id::{Origin, PartnerName, SubjectHandle},
    key::PublicKey,
    time::Timestamp,
};

mod address;

pub use self::address::ReturnAddress;

/// The longest that an invitation stands: the person is at it.
pub const MAX_INVITATION_LIFE: Duration = Duration::from_secs(600);

/// The length of the link secret and of the label's salt, in bytes.
pub const SECRET_BYTES: usize = 32;

/// The digits of the code. With three tries, a guess opens it once in 333,333 ceremonies.
pub const CODE_DIGITS: usize = 6;

/// A partner invites the person who is signed in with it.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkInvitation {
    broker: Origin,
    /// Who invites.
    pub partner: PartnerName,
    /// The partner's identity key, which the customer pins.
    pub identity: PublicKey,
    /// The handle by which the partner will know the customer.
    pub subject: SubjectHandle,
    /// What the label must open.
    pub label_commitment: Digest,
    /// When it lapses.
    pub expire_time: Timestamp,
    /// When the partner signed.
    pub time: Timestamp,
    /// The newest published checkpoint that the signer verified.
    pub checkpoint: Checkpoint,
    /// The invitation of the link that this one replaces, once it is confirmed.
    pub replaces: Option<Digest>,
    /// Where the customer's app takes the code.
    pub return_address: Option<ReturnAddress>,
}

impl Statement for LinkInvitation {
    type Message = wire::LinkInvitation;
    const PAYLOAD_TYPE: &'static str = "application/vnd.countersign.link-invitation.v1+protobuf";

    fn parse(message: Self::Message) -> Result<Self, Malformed> {
        let invitation = Self {
            broker: parse::origin(&message.broker)?,
            partner: parse::name("partner", &message.partner, PartnerName::parse)?,
            identity: parse::key("identity_key", &message.identity_key)?,
            subject: parse::name("subject", &message.subject, SubjectHandle::parse)?,
            label_commitment: parse::digest("label_commitment", &message.label_commitment)?,
            expire_time: parse::time("expire_time_ms", message.expire_time_ms)?,
            time: parse::time("time_ms", message.time_ms)?,
            checkpoint: parse::checkpoint(message.checkpoint)?,
            replaces: match message.replaces.as_ref() {
                [] => None,
                bytes => Some(parse::digest("replaces", bytes)?),
            },
            return_address: match message.return_address.as_str() {
                "" => None,
                text => Some(ReturnAddress::parse(text)?),
            },
        };
        if invitation.subject.partner() != &invitation.partner {
            return Err(Malformed::new("subject", "must be a handle of the inviting partner"));
        }
        let life = invitation.expire_time.since(invitation.time);
        if life.is_zero() || life > MAX_INVITATION_LIFE {
            return Err(Malformed::new("expire_time_ms", "must be at most ten minutes after `time_ms`"));
        }
        Ok(invitation)
    }

    fn broker(&self) -> &Origin {
        &self.broker
    }

    fn checkpoint(&self) -> Option<&Checkpoint> {
        Some(&self.checkpoint)
    }
}

/// The customer accepts with a key made for this link alone.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkAcceptance {
    broker: Origin,
    /// The invitation.
    pub invitation: Digest,
    /// The link's key.
    pub link_key: PublicKey,
    /// What the code must open.
    pub code_mac: [u8; 32],
    /// When the customer signed.
    pub time: Timestamp,
}

impl Statement for LinkAcceptance {
    type Message = wire::LinkAcceptance;
    const PAYLOAD_TYPE: &'static str = "application/vnd.countersign.link-acceptance.v1+protobuf";

    fn parse(message: Self::Message) -> Result<Self, Malformed> {
        Ok(Self {
            broker: parse::origin(&message.broker)?,
            invitation: parse::digest("invitation", &message.invitation)?,
            link_key: parse::key("link_key", &message.link_key)?,
            code_mac: parse::array("code_mac", &message.code_mac)?,
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

/// The partner has pinned the link's key.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkConfirmation {
    broker: Origin,
    /// Who confirms.
    pub partner: PartnerName,
    /// The acceptance.
    pub acceptance: Digest,
    /// When the partner signed.
    pub time: Timestamp,
    /// The newest published checkpoint that the signer verified.
    pub checkpoint: Checkpoint,
}

impl Statement for LinkConfirmation {
    type Message = wire::LinkConfirmation;
    const PAYLOAD_TYPE: &'static str = "application/vnd.countersign.link-confirmation.v1+protobuf";

    fn parse(message: Self::Message) -> Result<Self, Malformed> {
        Ok(Self {
            broker: parse::origin(&message.broker)?,
            partner: parse::name("partner", &message.partner, PartnerName::parse)?,
            acceptance: parse::digest("acceptance", &message.acceptance)?,
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

/// SHA-256(salt ‖ label): binds what the person calls the account without showing it to the broker.
pub fn label_commitment(salt: &[u8; SECRET_BYTES], label: &str) -> Digest {
    Digest::of_parts(&[salt, label.as_bytes()])
}

/// HMAC-SHA256(link secret, SHA-256(invitation) ‖ link key ‖ code).
pub fn code_mac(
    secret: &[u8; SECRET_BYTES],
    invitation: Digest,
    link_key: &PublicKey,
    code: &str,
) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("HMAC takes a key of any length");
    mac.update(invitation.as_bytes());
    mac.update(link_key.as_bytes());
    mac.update(code.as_bytes());
    mac.finalize().into_bytes().into()
}

/// Whether the code opens the acceptance; takes the same time either way.
pub fn mac_opens(secret: &[u8; SECRET_BYTES], acceptance: &LinkAcceptance, code: &str) -> bool {
    code_mac(secret, acceptance.invitation, &acceptance.link_key, code).ct_eq(&acceptance.code_mac).into()
}
