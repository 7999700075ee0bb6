//! What opens the root secret on a device: a passkey's PRF output in an app, a key file here.
//!
//! ```text
//! lookup secret = HKDF-SHA256(ikm = secret, salt = "", info = "countersign/v1 lookup", 32)
//! wrapping key  = HKDF-SHA256(ikm = secret, salt = "", info = "countersign/v1 wrap", 32)
//! id            = SHA-256(lookup secret)
//! wrapped copy  = 01 ‖ nonce(12) ‖ AES-256-GCM(wrapping key, nonce, aad, root secret(32)) ‖ tag(16)
//! aad           = "countersign/v1 wrapped copy" ‖ 00 ‖ origin ‖ 00 ‖ id
//! ```
//!
//! Browsers have all of it in WebCrypto. The file of the stand-in:
//!
//! ```text
//! countersign-authenticator v1
//! secret: <base64url>
//! ```

use std::path::Path;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use countersign_grants::{digest::Digest, id::Origin, key::KEY_BYTES};
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use super::wallet::{WalletError, read_secret, write_secret};
use crate::system::System;

/// The length of a wrapped copy: version, nonce, secret, tag.
pub const WRAPPED_BYTES: usize = 1 + NONCE_LEN + KEY_BYTES + 16;

const HEADER: &str = "countersign-authenticator v1";
const VERSION: u8 = 1;
const LOOKUP: &[u8] = b"countersign/v1 lookup";
const WRAP: &[u8] = b"countersign/v1 wrap";
const COPY: &[u8] = b"countersign/v1 wrapped copy";

/// What opens one copy of the root secret. Whoever has it and the copy has the customer: no `Debug`, and it wipes itself.
pub struct AuthenticatorSecret(Zeroizing<[u8; KEY_BYTES]>);

/// Why a copy does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnwrapError {
    /// It has another length.
    #[error("a wrapped copy has {WRAPPED_BYTES} bytes")]
    Length,
    /// It is of a version that this SDK does not know.
    #[error("the copy is of version {0}, and 1 is known")]
    Version(u8),
    /// It was made by another authenticator, for another broker, or changed since.
    #[error("it does not open with this authenticator and for this broker")]
    Opens,
}

impl AuthenticatorSecret {
    /// Draws one, which lives in memory alone until it is [written](Self::write).
    pub fn draw(system: &System) -> Self {
        Self(Zeroizing::new(system.draw()))
    }

    /// A passkey's PRF output.
    pub fn from_secret(secret: &[u8; KEY_BYTES]) -> Self {
        Self(Zeroizing::new(*secret))
    }

    /// Writes it to a file that must not exist yet, with mode 600.
    pub fn write(&self, path: &Path) -> Result<(), WalletError> {
        write_secret(path, HEADER, &self.0)
    }

    /// Reads one; refuses a file that others may read.
    pub fn read(path: &Path) -> Result<Self, WalletError> {
        read_secret(path, HEADER).map(Self)
    }

    /// What the copy is asked for with.
    pub fn lookup(&self) -> Zeroizing<[u8; 32]> {
        self.derive(LOOKUP)
    }

    /// By what the broker and other devices know it.
    pub fn id(&self) -> Digest {
        Digest::of(self.lookup().as_slice())
    }

    /// Wraps a root secret for a broker. A nonce must never be used twice with one authenticator.
    pub fn wrap(&self, origin: &Origin, nonce: [u8; NONCE_LEN], root: &[u8; KEY_BYTES]) -> Vec<u8> {
        let mut sealed = root.to_vec();
        self.key()
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), self.aad(origin), &mut sealed)
            .expect("AES-GCM seals 32 bytes under any key and nonce");
        [&[VERSION], nonce.as_slice(), sealed.as_slice()].concat()
    }

    /// Opens a copy.
    pub fn unwrap(&self, origin: &Origin, wrapped: &[u8]) -> Result<Zeroizing<[u8; KEY_BYTES]>, UnwrapError> {
        if wrapped.len() != WRAPPED_BYTES {
            return Err(UnwrapError::Length);
        }
        if wrapped[0] != VERSION {
            return Err(UnwrapError::Version(wrapped[0]));
        }
        let (nonce, sealed) = wrapped[1..].split_at(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(nonce).expect("split at the nonce's length");
        let mut sealed = Zeroizing::new(sealed.to_vec());
        let opened = self.key().open_in_place(nonce, self.aad(origin), &mut sealed);
        let opened = opened.map_err(|_| UnwrapError::Opens)?;
        let root: &[u8; KEY_BYTES] = (&*opened).try_into().map_err(|_| UnwrapError::Length)?;
        Ok(Zeroizing::new(*root))
    }

    fn derive(&self, info: &[u8]) -> Zeroizing<[u8; KEY_BYTES]> {
        let mut out = Zeroizing::new([0; KEY_BYTES]);
        Hkdf::<Sha256>::new(None, self.0.as_slice())
            .expand(info, out.as_mut_slice())
            .expect("HKDF-SHA256 gives up to 8,160 bytes, and these are 32");
        out
    }

    fn key(&self) -> LessSafeKey {
        let key = UnboundKey::new(&AES_256_GCM, self.derive(WRAP).as_slice());
        LessSafeKey::new(key.expect("AES-256 takes 32 bytes"))
    }

    fn aad(&self, origin: &Origin) -> Aad<Vec<u8>> {
        Aad::from([COPY, &[0], origin.as_str().as_bytes(), &[0], self.id().as_bytes().as_slice()].concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_opens_with_its_authenticator_and_for_its_broker_alone() {
        let (here, there) = (
            Origin::parse("broker.test/log").expect("an origin"),
            Origin::parse("other.test/log").expect("an origin"),
        );
        let (one, other) =
            (AuthenticatorSecret::from_secret(&[1; 32]), AuthenticatorSecret::from_secret(&[2; 32]));
        let wrapped = one.wrap(&here, [3; 12], &[7; 32]);
        assert_eq!(wrapped.len(), WRAPPED_BYTES);
        assert_eq!(one.unwrap(&here, &wrapped).expect("opens").as_slice(), [7; 32]);
        assert_eq!(other.unwrap(&here, &wrapped).err(), Some(UnwrapError::Opens));
        assert_eq!(one.unwrap(&there, &wrapped).err(), Some(UnwrapError::Opens));
        for at in 0..wrapped.len() {
            let mut bent = wrapped.clone();
            bent[at] ^= 1;
            let expected = if at == 0 { UnwrapError::Version(0) } else { UnwrapError::Opens };
            assert_eq!(one.unwrap(&here, &bent).err(), Some(expected), "{at}");
        }
        assert_eq!(one.unwrap(&here, &wrapped[1..]).err(), Some(UnwrapError::Length));
        assert_ne!(one.lookup().as_slice(), one.derive(WRAP).as_slice());
    }
}
