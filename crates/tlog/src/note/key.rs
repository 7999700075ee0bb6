use std::fmt;

use aws_lc_rs::digest::{Context, SHA256};
use ed25519_dalek::{PUBLIC_KEY_LENGTH, SECRET_KEY_LENGTH, Signature, Signer, SigningKey, VerifyingKey};
use zeroize::Zeroizing;

use super::{KeyName, KeyNameError, NoteSignature};
use crate::text;

/// The signature type of plain Ed25519 over the note's text, the only one that these keys are for.
const ED25519: u8 = 0x01;

/// What a secret key begins with in the text form of Go's note package.
const SECRET_PREFIX: &str = "PRIVATE+KEY+";

const ID_BYTES: usize = 4;

/// The size of an Ed25519 seed.
pub const SEED_BYTES: usize = SECRET_KEY_LENGTH;

/// The first four bytes of SHA-256(name ‖ `0A` ‖ type ‖ public key). Names a key together with its name, and proves
/// nothing. Displayed as eight hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; ID_BYTES]);

impl KeyId {
    /// Takes the four bytes.
    pub const fn from_bytes(bytes: [u8; ID_BYTES]) -> Self {
        Self(bytes)
    }

    /// The four bytes.
    pub const fn as_bytes(&self) -> &[u8; ID_BYTES] {
        &self.0
    }

    fn of(name: &KeyName, public: &VerifyingKey) -> Self {
        let mut digest = Context::new(&SHA256);
        digest.update(name.as_str().as_bytes());
        digest.update(&[b'\n', ED25519]);
        digest.update(public.as_bytes());
        Self(*digest.finish().as_ref().first_chunk().expect("SHA-256 has 32 bytes"))
    }

    /// Parses eight lowercase hexadecimal digits.
    fn parse(text: &str) -> Option<Self> {
        let lowercase = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if text.len() != 2 * ID_BYTES || !lowercase {
            return None;
        }
        u32::from_str_radix(text, 16).ok().map(|id| Self(id.to_be_bytes()))
    }
}

/// The public half of a note key, by which its signatures are verified. Text form: `name+hex(id)+base64(01 ‖ key)`.
#[derive(Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: KeyName,
    id: KeyId,
    public: VerifyingKey,
}

impl VerifierKey {
    /// Takes a public Ed25519 key under a name. Keys of small order, which some signature fits under any text, are
    /// refused, and so is a second encoding of a point.
    pub fn new(name: KeyName, public: &[u8; PUBLIC_KEY_LENGTH]) -> Result<Self, ParseKeyError> {
        if !is_reduced(public) {
            return Err(ParseKeyError::NotAPoint);
        }
        let public = VerifyingKey::from_bytes(public).map_err(|_| ParseKeyError::NotAPoint)?;
        if public.is_weak() {
            return Err(ParseKeyError::Weak);
        }
        Ok(Self { id: KeyId::of(&name, &public), name, public })
    }

    /// Parses the text form.
    pub fn parse(encoded: &str) -> Result<Self, ParseKeyError> {
        let (name, stated, public) = parts(encoded)?;
        let key = Self::new(name, &public)?;
        key.check_id(stated)?;
        Ok(key)
    }

    /// The name.
    pub fn name(&self) -> &KeyName {
        &self.name
    }

    /// The id.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The 32 bytes of the public key.
    pub fn public_bytes(&self) -> &[u8; PUBLIC_KEY_LENGTH] {
        self.public.as_bytes()
    }

    /// Whether these bytes are this key's signature over the message, by the strict rules that leave only one valid
    /// signature for each that was made.
    pub(super) fn verify(&self, message: &[u8], signature: &[u8]) -> bool {
        Signature::from_slice(signature)
            .is_ok_and(|signature| self.public.verify_strict(message, &signature).is_ok())
    }

    fn check_id(&self, stated: KeyId) -> Result<(), ParseKeyError> {
        if self.id == stated { Ok(()) } else { Err(ParseKeyError::IdMismatch { stated, computed: self.id }) }
    }
}

/// Whether the y of a point is below 2^255 − 19, as RFC 8032, section 5.1.3, has it and the library does not.
fn is_reduced(point: &[u8; PUBLIC_KEY_LENGTH]) -> bool {
    let [low, middle @ .., high] = point;
    *low < 0xed || middle.iter().any(|byte| *byte != 0xff) || high & 0x7f != 0x7f
}

/// The secret half of a note key. Overwritten when dropped, and without `Debug`, so that it reaches no log.
pub struct SignerKey {
    secret: SigningKey,
    verifier: VerifierKey,
}

impl SignerKey {
    /// Makes the key with this seed, which must be 32 bytes that nobody can guess.
    pub fn from_seed(name: KeyName, seed: &[u8; SEED_BYTES]) -> Self {
        let secret = SigningKey::from_bytes(seed);
        let public = secret.verifying_key();
        let verifier = VerifierKey { id: KeyId::of(&name, &public), name, public };
        Self { secret, verifier }
    }

    /// Parses the text form of Go's note package: `PRIVATE+KEY+name+hex(id)+base64(01 ‖ seed)`. No error repeats any
    /// of the text.
    pub fn parse(encoded: &str) -> Result<Self, ParseKeyError> {
        let rest = encoded.strip_prefix(SECRET_PREFIX).ok_or(ParseKeyError::NotSecret)?;
        let (name, stated, seed) = parts(rest)?;
        let key = Self::from_seed(name, &seed);
        key.verifier.check_id(stated)?;
        Ok(key)
    }

    /// The text form. Whoever has it can sign.
    pub fn encode(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new([ED25519; 1 + SEED_BYTES]);
        bytes[1..].copy_from_slice(self.secret.as_bytes());
        let encoded = Zeroizing::new(text::base64(bytes.as_slice()));
        let name = &self.verifier.name;
        let id = self.verifier.id;
        Zeroizing::new(format!("{SECRET_PREFIX}{name}+{id}+{}", *encoded))
    }

    /// The public half.
    pub fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// The name.
    pub fn name(&self) -> &KeyName {
        &self.verifier.name
    }

    /// Signs a note's text.
    pub(super) fn sign(&self, text: &[u8]) -> NoteSignature {
        let bytes = self.secret.sign(text).to_bytes().to_vec();
        NoteSignature::new(self.verifier.name.clone(), self.verifier.id, bytes)
            .expect("an Ed25519 signature has 64 bytes")
    }
}

/// Takes `name+hex(id)+base64(01 ‖ 32 bytes)` apart. The 32 bytes can be a secret.
fn parts(encoded: &str) -> Result<(KeyName, KeyId, Zeroizing<[u8; 32]>), ParseKeyError> {
    // Base64 can have plus signs of its own.
    let mut split = encoded.splitn(3, '+');
    let (Some(name), Some(id), Some(key)) = (split.next(), split.next(), split.next()) else {
        return Err(ParseKeyError::Parts);
    };
    let name = KeyName::parse(name).map_err(ParseKeyError::Name)?;
    let id = KeyId::parse(id).ok_or(ParseKeyError::Id)?;
    let bytes = Zeroizing::new(text::unbase64(key).ok_or(ParseKeyError::Base64)?);
    match bytes.split_first() {
        Some((&ED25519, key)) => {
            let found = key.len();
            let key = key.try_into().map_err(|_| ParseKeyError::Length { found })?;
            Ok((name, id, Zeroizing::new(key)))
        }
        Some((&found, _)) => Err(ParseKeyError::Algorithm { found }),
        None => Err(ParseKeyError::Length { found: 0 }),
    }
}

/// Why a text is no key. Repeats nothing that could be part of a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseKeyError {
    /// A secret key begins with `PRIVATE+KEY+`.
    #[error("a secret key begins with {SECRET_PREFIX:?}")]
    NotSecret,
    /// A key has a name, an id and key material, with plus signs between.
    #[error("a key has three parts, a name, an id and key material, with plus signs between")]
    Parts,
    /// The name is no key name.
    #[error(transparent)]
    Name(KeyNameError),
    /// The id is not eight lowercase hexadecimal digits.
    #[error("a key's id has eight lowercase hexadecimal digits")]
    Id,
    /// The key material is not canonical base64.
    #[error("the key material is not canonical base64")]
    Base64,
    /// Another signature type than Ed25519.
    #[error("the key is of signature type {found:#04x}; only {ED25519:#04x} (Ed25519) is known here")]
    Algorithm {
        /// The type byte.
        found: u8,
    },
    /// Ed25519 keys have 32 bytes.
    #[error("an Ed25519 key has 32 bytes, not {found}")]
    Length {
        /// How many there are after the type byte.
        found: usize,
    },
    /// The id is not the one that name and key give.
    #[error("the key's id is {computed}, not {stated}")]
    IdMismatch {
        /// The id in the text.
        stated: KeyId,
        /// The id of this name and key.
        computed: KeyId,
    },
    /// The public key is no point of the curve.
    #[error("the public key is no point of the curve")]
    NotAPoint,
    /// The public key has small order.
    #[error("the public key has small order, so that signatures under it prove nothing")]
    Weak,
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", u32::from_be_bytes(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = [[ED25519].as_slice(), self.public.as_bytes()].concat();
        write!(f, "{}+{}+{}", self.name, self.id, text::base64(&key))
    }
}

impl fmt::Debug for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifierKey({self})")
    }
}

impl std::str::FromStr for VerifierKey {
    type Err = ParseKeyError;

    fn from_str(encoded: &str) -> Result<Self, ParseKeyError> {
        Self::parse(encoded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_y_below_the_prime_is_reduced() {
        let check = |low, middle, high, expected| {
            let mut point = [0xff; PUBLIC_KEY_LENGTH];
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
}
