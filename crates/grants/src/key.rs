//! Ed25519 keys, and the thumbprints by which statements and tokens name them.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use ed25519_dalek::{Signer as _, SigningKey as DalekSigningKey, VerifyingKey};
use zeroize::Zeroizing;

use crate::digest::{DIGEST_BYTES, Digest};

/// The length of an Ed25519 public key, and of a secret key, in bytes.
pub const KEY_BYTES: usize = 32;

/// The length of an Ed25519 signature in bytes.
pub const SIGNATURE_BYTES: usize = 64;

/// The length of a thumbprint: 32 bytes, six bits a character.
const KEY_ID_CHARS: usize = 43;

/// An RFC 7638 thumbprint of an OKP key: 43 characters of unpadded base64url.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(String);

/// A text that is no thumbprint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key id is the 43 characters of an RFC 7638 thumbprint")]
pub struct NotAKeyId;

impl KeyId {
    /// Reads a thumbprint.
    pub fn parse(text: &str) -> Result<Self, NotAKeyId> {
        if text.len() != KEY_ID_CHARS {
            return Err(NotAKeyId);
        }
        match BASE64URL_NOPAD.decode_mut(text.as_bytes(), &mut [0; DIGEST_BYTES]) {
            Ok(_) => Ok(Self(text.to_owned())),
            Err(_) => Err(NotAKeyId),
        }
    }

    /// The thumbprint's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// A public key: a point that can verify, and its thumbprint.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    key: VerifyingKey,
    id: KeyId,
}

/// Bytes that are no usable Ed25519 public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an Ed25519 public key: the 32 canonical bytes of a point that is not of small order")]
pub struct NotAPublicKey;

impl PublicKey {
    /// Reads a public key. Points of small order, for which anybody can sign, are refused here already, and so is a second
    /// encoding of a point: one key has one id.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, NotAPublicKey> {
        let bytes: &[u8; KEY_BYTES] = bytes.try_into().map_err(|_| NotAPublicKey)?;
        if !is_reduced(bytes) {
            return Err(NotAPublicKey);
        }
        let key = VerifyingKey::from_bytes(bytes).map_err(|_| NotAPublicKey)?;
        if key.is_weak() {
            return Err(NotAPublicKey);
        }
        Ok(Self::of(key))
    }

    fn of(key: VerifyingKey) -> Self {
        let x = BASE64URL_NOPAD.encode(key.as_bytes());
        // RFC 7638 §3.3, RFC 8037 §2: the required members in the order of their names, without white space.
        let jwk = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
        let id = KeyId(BASE64URL_NOPAD.encode(Digest::of(jwk.as_bytes()).as_bytes()));
        Self { key, id }
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        self.key.as_bytes()
    }

    /// The thumbprint.
    pub fn id(&self) -> &KeyId {
        &self.id
    }

    /// Whether this key made the signature. Strict: evidence has one meaning only.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        ed25519_dalek::Signature::from_slice(signature)
            .is_ok_and(|signature| self.key.verify_strict(message, &signature).is_ok())
    }
}

/// Whether the y of a point is below 2^255 − 19, as RFC 8032, section 5.1.3, has it and the library does not.
fn is_reduced(point: &[u8; KEY_BYTES]) -> bool {
    let [low, middle @ .., high] = point;
    *low < 0xed || middle.iter().any(|byte| *byte != 0xff) || high & 0x7f != 0x7f
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.id)
    }
}

/// A secret key. It has no `Debug` and wipes itself.
pub struct SigningKey {
    key: DalekSigningKey,
    public: PublicKey,
}

impl SigningKey {
    /// The key of 32 secret bytes.
    pub fn from_secret(secret: &[u8; KEY_BYTES]) -> Self {
        let key = DalekSigningKey::from_bytes(secret);
        let public = PublicKey::of(key.verifying_key());
        Self { key, public }
    }

    /// The public half.
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The thumbprint of the public half.
    pub fn id(&self) -> &KeyId {
        self.public.id()
    }

    /// Signs a message.
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_BYTES] {
        self.key.sign(message).to_bytes()
    }

    /// The 32 secret bytes, for key files.
    pub fn to_secret(&self) -> Zeroizing<[u8; KEY_BYTES]> {
        Zeroizing::new(self.key.to_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thumbprint_is_that_of_rfc_8037() {
        // RFC 8037, appendix A.3.
        let x = BASE64URL_NOPAD.decode(b"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo").expect("base64url");
        let key = PublicKey::from_slice(&x).expect("a key");
        assert_eq!(key.id().as_str(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    }

    #[test]
    fn weak_and_short_keys_are_refused() {
        assert_eq!(PublicKey::from_slice(&[0; 32]), Err(NotAPublicKey));
        assert_eq!(PublicKey::from_slice(&[1; 31]), Err(NotAPublicKey));
    }

    #[test]
    fn a_second_encoding_of_a_key_is_refused() {
        let mut three = [0; 32];
        three[0] = 3;
        assert!(PublicKey::from_slice(&three).is_ok(), "y = 3 is on the curve");
        let mut three_plus_p = [0xff; 32];
        (three_plus_p[0], three_plus_p[31]) = (0xf0, 0x7f);
        assert_eq!(PublicKey::from_slice(&three_plus_p), Err(NotAPublicKey));
    }

    #[test]
    fn only_a_y_below_the_prime_is_reduced() {
        let check = |low, middle, high, expected| {
            let mut point = [0xff; 32];
            (point[0], point[17], point[31]) = (low, middle, high);
            assert_eq!(is_reduced(&point), expected, "{low:02x} {middle:02x} {high:02x}");
        };
        check(0xec, 0xff, 0x7f, true);
        check(0xed, 0xff, 0x7f, false);
        check(0xff, 0xff, 0x7f, false);
        check(0xed, 0xfe, 0x7f, true);
        check(0xed, 0xff, 0x7e, true);
        // The highest bit is the sign of x, and no part of y.
        check(0xec, 0xff, 0xff, true);
        check(0xed, 0xff, 0xff, false);
        check(0xed, 0xff, 0xfe, true);
    }

    #[test]
    fn a_secret_key_comes_back() {
        let secret = std::array::from_fn(|at| at as u8);
        assert_eq!(*SigningKey::from_secret(&secret).to_secret(), secret);
    }

    #[test]
    fn a_signature_verifies_for_its_message_and_key_alone() {
        let (one, two) = (SigningKey::from_secret(&[1; 32]), SigningKey::from_secret(&[2; 32]));
        let signature = one.sign(b"message");
        assert!(one.public().verifies(b"message", &signature));
        assert!(!one.public().verifies(b"massage", &signature));
        assert!(!two.public().verifies(b"message", &signature));
        assert!(!one.public().verifies(b"message", &signature[..63]));
    }
}
