//! Key files: one Ed25519 key, readable by its owner alone.
//!
//! ```text
//! countersign-key v1 ed25519
//! public: <base64url>
//! secret: <base64url>
//! ```

use std::{
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use countersign_grants::key::{KEY_BYTES, SigningKey};
use data_encoding::BASE64URL_NOPAD;
use zeroize::Zeroizing;

use crate::{files, system::System};

const HEADER: &str = "countersign-key v1 ed25519";

/// Three short lines; more is another file.
const MAX_FILE_BYTES: u64 = 512;

/// Why a key file can't be read or written.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file system says no.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others can read it.
    #[error("{}: others may read this key (mode {mode:o}); set it to 600, or make a new key", path.display())]
    Loose {
        /// Which file.
        path: PathBuf,
        /// The permission bits.
        mode: u32,
    },
    /// It is no key file.
    #[error("{}: not a key file: {problem}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
}

/// Draws a key.
pub fn draw(system: &System) -> SigningKey {
    SigningKey::from_secret(&Zeroizing::new(system.draw::<KEY_BYTES>()))
}

/// Writes a key to a file that must not exist yet, with mode 600.
pub fn write(path: &Path, key: &SigningKey) -> Result<(), KeyFileError> {
    let text = encode(key);
    let failed = |source| KeyFileError::Io { path: path.to_owned(), source };
    let mut file = files::create_private(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    files::sync_parent(path).map_err(failed)
}

/// Reads a key; refuses a file that others may read.
pub fn read(path: &Path) -> Result<SigningKey, KeyFileError> {
    let failed = |source| KeyFileError::Io { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(failed)?;
    if let Some(mode) = files::loose_mode(&file).map_err(failed)? {
        return Err(KeyFileError::Loose { path: path.to_owned(), mode });
    }
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_FILE_BYTES).read_to_string(&mut text).map_err(failed)?;
    decode(&text).map_err(|problem| KeyFileError::Malformed { path: path.to_owned(), problem })
}

fn encode(key: &SigningKey) -> Zeroizing<String> {
    let public = BASE64URL_NOPAD.encode(key.public().as_bytes());
    let secret = Zeroizing::new(BASE64URL_NOPAD.encode(key.to_secret().as_slice()));
    Zeroizing::new(format!("{HEADER}\npublic: {public}\nsecret: {}\n", *secret))
}

fn decode(text: &str) -> Result<SigningKey, &'static str> {
    let mut lines = text.lines();
    if lines.next() != Some(HEADER) {
        return Err("it does not start with `countersign-key v1 ed25519`");
    }
    let mut value = |name: &str| {
        let encoded = lines.next().and_then(|line| line.strip_prefix(name));
        encoded.and_then(|encoded| BASE64URL_NOPAD.decode(encoded.as_bytes()).ok()).map(Zeroizing::new)
    };
    let public = value("public: ").ok_or("its second line is not `public: <base64url>`")?;
    let secret = value("secret: ").ok_or("its third line is not `secret: <base64url>`")?;
    if lines.next().is_some() {
        return Err("it has a fourth line");
    }
    let secret = secret.as_slice().try_into().map_err(|_| "its secret is not 32 bytes")?;
    let key = SigningKey::from_secret(secret);
    if key.public().as_bytes() != public.as_slice() {
        return Err("its public key is not that of its secret");
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_and_is_its_owners_alone() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("key");
        let key = draw(&System::real());
        write(&path, &key).expect("writes");
        assert_eq!(read(&path).expect("reads").public(), key.public());
        assert!(matches!(write(&path, &key), Err(KeyFileError::Io { .. })), "an existing key stays");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("sets the mode");
            assert!(matches!(read(&path), Err(KeyFileError::Loose { mode: 0o640, .. })));
        }
    }

    #[test]
    fn other_files_are_no_keys() {
        let good = encode(&SigningKey::from_secret(&[1; 32]));
        let other = encode(&SigningKey::from_secret(&[2; 32]));
        assert!(decode(&good).is_ok());
        let (own, foreign) = (good.lines().nth(1).expect("a line"), other.lines().nth(1).expect("a line"));
        for bad in [
            String::new(),
            good.replace("v1", "v2"),
            good.replace("public", "pubic"),
            good.replace(own, foreign),
            good[..good.len() - 4].to_owned(),
            format!("{}x\n", *good),
        ] {
            assert!(decode(&bad).is_err(), "{bad}");
        }
    }
}
