//! The customer's one secret, and the keys that follow from it.
//!
//! ```text
//! countersign-wallet v1
//! secret: <base64url>
//! ```

use std::{
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use countersign_grants::{
    digest::Digest,
    id::CustomerName,
    key::{KEY_BYTES, SigningKey},
};
use data_encoding::BASE64URL_NOPAD;
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{files, system::System};

const HEADER: &str = "countersign-wallet v1";

/// Two short lines; more is another file.
const MAX_FILE_BYTES: u64 = 256;

/// HKDF's `info` of the key that signs the customer's calls.
const CALL: &[u8] = b"countersign/v1 call";

/// HKDF's `info` of a link's key, before SHA-256 of the invitation.
const LINK: &[u8] = b"countersign/v1 link";

/// A customer's root secret. Every key follows from it, so a copy of this file is a copy of the customer: it has no
/// `Debug` and wipes itself.
pub struct Wallet {
    root: Zeroizing<[u8; KEY_BYTES]>,
    call: SigningKey,
    name: CustomerName,
}

/// Why a wallet, or an authenticator's file, can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    /// The file system says no.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others can read it.
    #[error("{}: others may read this secret (mode {mode:o}); set it to 600", path.display())]
    Loose {
        /// Which file.
        path: PathBuf,
        /// The permission bits.
        mode: u32,
    },
    /// It is no such file.
    #[error("{}: not the file of a secret: {problem}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
}

impl Wallet {
    /// Draws a wallet, which lives in memory alone until it is [written](Self::write).
    pub fn draw(system: &System) -> Self {
        Self::from_secret(&Zeroizing::new(system.draw()))
    }

    /// The wallet of a root secret.
    pub fn from_secret(root: &[u8; KEY_BYTES]) -> Self {
        let call = derive(root, &[CALL]);
        let name = CustomerName::of(call.id());
        Self { root: Zeroizing::new(*root), call, name }
    }

    /// Writes the wallet to a file that must not exist yet, with mode 600.
    pub fn write(&self, path: &Path) -> Result<(), WalletError> {
        write_secret(path, HEADER, &self.root)
    }

    /// Reads a wallet; refuses a file that others may read.
    pub fn read(path: &Path) -> Result<Self, WalletError> {
        read_secret(path, HEADER).map(|root| Self::from_secret(&root))
    }

    /// The root secret, to be wrapped.
    pub(super) fn root(&self) -> &[u8; KEY_BYTES] {
        &self.root
    }

    /// Who the customer is at the broker.
    pub fn customer(&self) -> &CustomerName {
        &self.name
    }

    /// The key that signs the customer's calls, and nothing else.
    pub fn call_key(&self) -> &SigningKey {
        &self.call
    }

    /// The key of the link that comes of an invitation, made for that link alone.
    pub fn link_key(&self, invitation: Digest) -> SigningKey {
        derive(&self.root, &[LINK, invitation.as_bytes()])
    }
}

fn derive(root: &[u8; KEY_BYTES], info: &[&[u8]]) -> SigningKey {
    let mut secret = Zeroizing::new([0; KEY_BYTES]);
    Hkdf::<Sha256>::new(None, root)
        .expand_multi_info(info, secret.as_mut_slice())
        .expect("HKDF-SHA256 gives up to 8,160 bytes, and these are 32");
    SigningKey::from_secret(&secret)
}

/// Writes a secret to a file that must not exist yet, with mode 600.
pub(super) fn write_secret(path: &Path, header: &str, secret: &[u8; KEY_BYTES]) -> Result<(), WalletError> {
    let failed = |source| WalletError::Io { path: path.to_owned(), source };
    let secret = Zeroizing::new(BASE64URL_NOPAD.encode(secret));
    let text = Zeroizing::new(format!("{header}\nsecret: {}\n", *secret));
    let mut file = files::create_private(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    files::sync_parent(path).map_err(failed)
}

/// Reads a secret; refuses a file that others may read.
pub(super) fn read_secret(path: &Path, header: &str) -> Result<Zeroizing<[u8; KEY_BYTES]>, WalletError> {
    let failed = |source| WalletError::Io { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    if let Some(mode) = files::loose_mode(&file).map_err(failed)? {
        return Err(WalletError::Loose { path: path.to_owned(), mode });
    }
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_FILE_BYTES).read_to_string(&mut text).map_err(failed)?;
    decode(&text, header).map_err(|problem| WalletError::Malformed { path: path.to_owned(), problem })
}

fn decode(text: &str, header: &str) -> Result<Zeroizing<[u8; KEY_BYTES]>, &'static str> {
    let mut lines = text.lines();
    if lines.next() != Some(header) {
        return Err("its first line names another kind of file, or another version");
    }
    let secret = lines.next().and_then(|line| line.strip_prefix("secret: "));
    let secret =
        secret.and_then(|encoded| BASE64URL_NOPAD.decode(encoded.as_bytes()).ok()).map(Zeroizing::new);
    let secret = secret.ok_or("its second line is not `secret: <base64url>`")?;
    if lines.next().is_some() {
        return Err("it has a third line");
    }
    let root: &[u8; KEY_BYTES] = secret.as_slice().try_into().map_err(|_| "its secret is not 32 bytes")?;
    Ok(Zeroizing::new(*root))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_follow_from_the_secret_and_differ_from_each_other() {
        let (one, again, other) =
            (Wallet::from_secret(&[1; 32]), Wallet::from_secret(&[1; 32]), Wallet::from_secret(&[2; 32]));
        assert_eq!(one.customer(), again.customer());
        assert_ne!(one.customer(), other.customer());
        let (first, second) = (Digest::of(b"first"), Digest::of(b"second"));
        assert_eq!(one.link_key(first).id(), again.link_key(first).id());
        let ids = [
            one.call_key().id().clone(),
            one.link_key(first).id().clone(),
            one.link_key(second).id().clone(),
        ];
        assert!(ids[0] != ids[1] && ids[1] != ids[2] && ids[0] != ids[2]);
    }

    #[test]
    fn derivation_is_that_of_rfc_5869() {
        // HMAC-SHA256 by hand, so that another language's app derives the same keys.
        use hmac_by_hand::hmac;
        let root = [7; 32];
        let pseudo_random_key = hmac(&[0; 32], &root);
        let expected = hmac(&pseudo_random_key, b"countersign/v1 call\x01");
        let wallet = Wallet::from_secret(&root);
        assert_eq!(wallet.call_key().id(), SigningKey::from_secret(&expected).id());
    }

    #[test]
    fn the_file_reads_back_and_keeps_others_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("wallet");
        let wallet = Wallet::draw(&System::real());
        wallet.write(&path).expect("writes");
        assert_eq!(Wallet::read(&path).expect("reads").customer(), wallet.customer());
        assert!(matches!(wallet.write(&path), Err(WalletError::Io { .. })), "a wallet is never overwritten");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("sets");
            assert!(matches!(Wallet::read(&path), Err(WalletError::Loose { mode: 0o640, .. })));
        }
        for bad in ["", "countersign-wallet v2\nsecret: AA\n", "countersign-wallet v1\nsecret: AA\n"] {
            assert!(decode(bad, HEADER).is_err(), "{bad}");
        }
    }

    mod hmac_by_hand {
        use sha2::{Digest as _, Sha256};

        pub(super) fn hmac(key: &[u8; 32], message: &[u8]) -> [u8; 32] {
            let pad = |with: u8| {
                let mut block = [with; 64];
                block.iter_mut().zip(key).for_each(|(byte, key)| *byte ^= key);
                block
            };
            let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
            Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().into()
        }
    }
}
