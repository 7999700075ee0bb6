//! What travels from a partner's app to the customer's, and never through the broker: invitation, link secret, label.

use countersign_grants::{
    digest::Digest,
    envelope::{self, Signed},
    id::{LinkName, Origin},
    statement::{KeyError, LinkInvitation, SECRET_BYTES, WorkingKey, label_commitment},
    time::Timestamp,
};
use countersign_proto::statement::v1 as wire;
use data_encoding::BASE64URL_NOPAD;
use prost::Message as _;

use crate::error::{Error, Party};

/// The name of the package in a URL's fragment, which browsers don't send to any server.
const FRAGMENT_KEY: &str = "countersign-invitation=";

/// The longest text of a package: two small statements, two salts and a label; a QR code holds less than this.
const MAX_TEXT_CHARS: usize = 4096;

/// The longest label.
const MAX_LABEL_CHARS: usize = 120;

/// An invitation with what opens it. Whoever holds it can accept in the person's place until the code is asked for, so it
/// has no `Debug`.
#[derive(Clone)]
pub struct InvitationPackage(wire::InvitationPackage);

/// A package whose every part verified: what the customer's app may show.
#[derive(Clone)]
pub struct VerifiedInvitation {
    /// The invitation.
    pub invitation: Signed<LinkInvitation>,
    /// The link secret.
    pub secret: [u8; SECRET_BYTES],
    /// How the person knows the account.
    pub label: String,
}

impl InvitationPackage {
    pub(crate) fn new(
        invitation: wire::Envelope,
        partner_key: wire::Envelope,
        secret: &[u8; SECRET_BYTES],
        salt: &[u8; SECRET_BYTES],
        label: &str,
    ) -> Self {
        Self(wire::InvitationPackage {
            invitation: Some(invitation),
            partner_key: Some(partner_key),
            secret: secret.to_vec().into(),
            salt: salt.to_vec().into(),
            label: label.to_owned(),
        })
    }

    /// The link that comes of it.
    pub fn link(&self) -> LinkName {
        LinkName::of(self.0.invitation.as_ref().map_or(Digest::of(b""), envelope::digest))
    }

    /// As text: unpadded base64url.
    pub fn to_text(&self) -> String {
        BASE64URL_NOPAD.encode(&self.0.encode_to_vec())
    }

    /// As the fragment of a URL, without `#`.
    pub fn to_fragment(&self) -> String {
        format!("{FRAGMENT_KEY}{}", self.to_text())
    }

    /// Reads the text, the fragment, or a whole URL with the fragment.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let text = text.trim();
        let text = text.rsplit_once(FRAGMENT_KEY).map_or(text, |(_, package)| package);
        let bad = |problem: &str| Error::malformed("invitation", problem);
        if text.len() > MAX_TEXT_CHARS {
            return Err(bad("longer than any invitation"));
        }
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| bad("not base64url"))?;
        let package =
            wire::InvitationPackage::decode(bytes.as_slice()).map_err(|_| bad("not an invitation"))?;
        Ok(Self(package))
    }

    /// Verifies the whole package: that the identity that it names certified the key that signed it, that the label is the
    /// one that was signed, and that it has not lapsed. Whether that identity is the brand's is what the person judges, by
    /// whose app the package came from.
    pub fn verify(&self, broker: &Origin, now: Timestamp) -> Result<VerifiedInvitation, Error> {
        let claimed = envelope::peek::<LinkInvitation>(self.0.invitation.as_ref())
            .map_err(|error| Error::malformed("invitation", error))?;
        let who = Party::Partner(claimed.partner.clone());
        let bad_key = |error: KeyError| Error::bad_key(who.clone(), "invitation", &error);
        let key =
            WorkingKey::certified(self.0.partner_key.as_ref(), &claimed.identity, &claimed.partner, broker)
                .map_err(bad_key)?;
        let invitation =
            key.verify::<LinkInvitation>(self.0.invitation.as_ref(), |said| said.time).map_err(bad_key)?;
        let wrong = |check, detail: &str| Error::misbehaved(who.clone(), "invitation", check, detail);
        let bytes32 = |bytes: &[u8]| <[u8; SECRET_BYTES]>::try_from(bytes).ok();
        let secret = bytes32(&self.0.secret).ok_or_else(|| wrong("secret", "is not 32 bytes"))?;
        let salt = bytes32(&self.0.salt).ok_or_else(|| wrong("salt", "is not 32 bytes"))?;
        if self.0.label.chars().count() > MAX_LABEL_CHARS
            || label_commitment(&salt, &self.0.label) != invitation.statement().label_commitment
        {
            return Err(wrong("label", "is not the one that was signed"));
        }
        if now >= invitation.statement().expire_time {
            return Err(wrong("expire_time", "the invitation has lapsed; ask for a new one"));
        }
        Ok(VerifiedInvitation { invitation, secret, label: self.0.label.clone() })
    }
}
