//! Key files: text, one key a file, readable by its owner alone.
//!
//! ```text
//! countersign-key v1 ed25519
//! public: <unpadded base64url of 32 bytes>
//! secret: <unpadded base64url of 32 bytes>
//! ```
//!
//! The first line is the magic: the format, its version, and the kind of key. There are three kinds:
//!
//! | kind | `public` | `secret` | who has such files |
//! |---|---|---|---|
//! | `ed25519` | the public key, unpadded base64url | the seed, unpadded base64url | every principal, and the broker for its calls |
//! | `log` | the verifier key of a signed note | its signer key, `PRIVATE+KEY+…` | the broker |
//! | `wrapping` | no such line | 32 random bytes, unpadded base64url | the broker, to wrap customers' data keys |
//!
//! A file that its group or others can read is refused: whoever could read it may hold the key by now. Files are
//! made with mode 0600 and never overwritten.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use countersign_broker::grants::key::{KEY_BYTES, PublicKey, SigningKey};
use countersign_ledger::SignerKey;
use data_encoding::BASE64URL_NOPAD;
use zeroize::Zeroizing;

/// What the first line begins with.
const MAGIC: &str = "countersign-key v1 ";

const ED25519: &str = "ed25519";
const LOG: &str = "log";
const WRAPPING: &str = "wrapping";

/// Readable and writable by the owner alone.
const MODE: u32 = 0o600;

/// The permission bits of everybody but the owner.
const OTHERS: u32 = 0o077;

/// The longest key file: a log key whose name has 128 bytes stands in it twice, beside some 200 bytes. Eight times
/// that, so that trailing comments of a later version still fit.
const MAX_FILE_BYTES: u64 = 4096;

/// The key that wraps customers' data keys. It has no `Debug` and wipes itself.
pub type WrappingKey = Zeroizing<[u8; KEY_BYTES]>;

/// Why a key file can't be read. Repeats nothing of the secret.
#[derive(Debug, thiserror::Error)]
pub enum ReadKeyError {
    /// The file system refused.
    #[error("{}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// Others than the owner may read or write it.
    #[error("{}: mode {mode:03o} lets others than its owner use it; run `chmod 600` on it if nobody has", path.display())]
    Exposed {
        /// Which file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is no key file of this kind.
    #[error("{}: not a `{MAGIC}{kind}` file: {wrong}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// Which kind was wanted.
        kind: &'static str,
        /// What is wrong with it.
        wrong: &'static str,
    },
}

/// Writes the key file of a principal.
pub fn write_signing_key(path: &Path, key: &SigningKey) -> io::Result<()> {
    let public = BASE64URL_NOPAD.encode(key.public().as_bytes());
    let secret = Zeroizing::new(BASE64URL_NOPAD.encode(key.to_secret().as_slice()));
    write(path, ED25519, Some(&public), &secret)
}

/// Reads the key file of a principal.
pub fn read_signing_key(path: &Path) -> Result<SigningKey, ReadKeyError> {
    let file = KeyFile::read(path, ED25519)?;
    let key = SigningKey::from_secret(&*file.secret_bytes()?);
    match file.public.as_deref() {
        Some(public) if same_key(public, key.public()) => Ok(key),
        _ => Err(file.malformed("`public` is not the public key of `secret`")),
    }
}

/// Writes the key file of a log.
pub fn write_log_key(path: &Path, key: &SignerKey) -> io::Result<()> {
    write(path, LOG, Some(&key.verifier().to_string()), &key.encode())
}

/// Reads the key file of a log.
pub fn read_log_key(path: &Path) -> Result<SignerKey, ReadKeyError> {
    let file = KeyFile::read(path, LOG)?;
    let key =
        SignerKey::parse(&file.secret).map_err(|_| file.malformed("`secret` is not a note's signer key"))?;
    if file.public.as_deref() == Some(key.verifier().to_string().as_str()) {
        Ok(key)
    } else {
        Err(file.malformed("`public` is not the verifier key of `secret`"))
    }
}

/// Writes the file of the key that wraps data keys.
pub fn write_wrapping_key(path: &Path, key: &WrappingKey) -> io::Result<()> {
    let secret = Zeroizing::new(BASE64URL_NOPAD.encode(key.as_slice()));
    write(path, WRAPPING, None, &secret)
}

/// Reads the file of the key that wraps data keys.
pub fn read_wrapping_key(path: &Path) -> Result<WrappingKey, ReadKeyError> {
    KeyFile::read(path, WRAPPING)?.secret_bytes()
}

fn same_key(text: &str, key: &PublicKey) -> bool {
    BASE64URL_NOPAD.decode(text.as_bytes()).is_ok_and(|bytes| bytes == key.as_bytes())
}

fn write(path: &Path, kind: &str, public: Option<&str>, secret: &str) -> io::Result<()> {
    let mut text = Zeroizing::new(format!("{MAGIC}{kind}\n"));
    if let Some(public) = public {
        text.push_str("public: ");
        text.push_str(public);
        text.push('\n');
    }
    text.push_str("secret: ");
    text.push_str(secret);
    text.push('\n');
    write_new(path, MODE, text.as_bytes())
}

/// Writes a file that must not be there yet, and syncs it.
pub(crate) fn write_new(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

struct KeyFile<'p> {
    path: &'p Path,
    kind: &'static str,
    public: Option<String>,
    secret: Zeroizing<String>,
}

impl<'p> KeyFile<'p> {
    fn read(path: &'p Path, kind: &'static str) -> Result<Self, ReadKeyError> {
        let text = read_private(path)?;
        let wrong = |wrong| ReadKeyError::Malformed { path: path.to_owned(), kind, wrong };
        let mut lines = text.lines();
        let magic = lines.next().and_then(|line| line.strip_prefix(MAGIC));
        if magic != Some(kind) {
            return Err(wrong("its first line says otherwise"));
        }
        let mut file = Self { path, kind, public: None, secret: Zeroizing::new(String::new()) };
        for line in lines {
            match line.split_once(": ") {
                Some(("public", public)) if file.public.is_none() => file.public = Some(public.to_owned()),
                Some(("secret", secret)) if file.secret.is_empty() => file.secret.push_str(secret),
                _ => return Err(wrong("a line is neither `public: …` nor `secret: …`, or comes twice")),
            }
        }
        Ok(file)
    }

    fn secret_bytes(&self) -> Result<Zeroizing<[u8; KEY_BYTES]>, ReadKeyError> {
        let bytes = BASE64URL_NOPAD.decode(self.secret.as_bytes()).map(Zeroizing::new);
        let bytes = bytes.map_err(|_| self.malformed("`secret` is not unpadded base64url"))?;
        let mut secret = Zeroizing::new([0; KEY_BYTES]);
        if bytes.len() != KEY_BYTES {
            return Err(self.malformed("`secret` is not 32 bytes"));
        }
        secret.copy_from_slice(&bytes);
        Ok(secret)
    }

    fn malformed(&self, wrong: &'static str) -> ReadKeyError {
        ReadKeyError::Malformed { path: self.path.to_owned(), kind: self.kind, wrong }
    }
}

fn read_private(path: &Path) -> Result<Zeroizing<String>, ReadKeyError> {
    let failed = |source| ReadKeyError::File { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    // Of the open file, so that it can't be exchanged between the check and the reading.
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    if mode & OTHERS != 0 {
        return Err(ReadKeyError::Exposed { path: path.to_owned(), mode });
    }
    let mut text = Zeroizing::new(String::new());
    file.take(MAX_FILE_BYTES).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use countersign_ledger::KeyName;

    use super::*;

    fn place() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("a.key");
        (folder, path)
    }

    fn refused(text: &str, mode: u32) -> String {
        let (_folder, path) = place();
        write_new(&path, mode, text.as_bytes()).expect("writes");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("sets the mode");
        read_signing_key(&path).err().expect("refused").to_string()
    }

    #[test]
    fn a_principals_key_reads_back() {
        let (_folder, path) = place();
        write_signing_key(&path, &SigningKey::from_secret(&[7; 32])).expect("writes");
        assert_eq!(fs::metadata(&path).expect("is there").permissions().mode() & 0o777, 0o600);
        assert_eq!(
            fs::read_to_string(&path).expect("reads"),
            "countersign-key v1 ed25519\n\
             public: 6kpsY-KcUgq-9VB7Ey7F-ZVHdq6-vnuSQh7qaRRG0iw\n\
             secret: BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc\n"
        );
        let key = read_signing_key(&path).expect("reads");
        assert_eq!(key.public(), SigningKey::from_secret(&[7; 32]).public());
    }

    #[test]
    fn the_log_key_and_the_wrapping_key_read_back() {
        let (_folder, path) = place();
        let name = KeyName::parse("broker.example/log").expect("a name");
        write_log_key(&path, &SignerKey::from_seed(name, &[3; 32])).expect("writes");
        assert_eq!(read_log_key(&path).expect("reads").name().as_str(), "broker.example/log");
        assert!(read_wrapping_key(&path).is_err());

        let (_folder, path) = place();
        write_wrapping_key(&path, &Zeroizing::new([9; 32])).expect("writes");
        assert_eq!(*read_wrapping_key(&path).expect("reads"), [9; 32]);
        assert!(read_log_key(&path).is_err());
    }

    #[test]
    fn no_key_is_overwritten() {
        let (_folder, path) = place();
        write_signing_key(&path, &SigningKey::from_secret(&[1; 32])).expect("writes");
        let again = write_signing_key(&path, &SigningKey::from_secret(&[2; 32]));
        assert_eq!(again.expect_err("refused").kind(), io::ErrorKind::AlreadyExists);
        assert!(
            read_signing_key(&path).expect("reads").public() == SigningKey::from_secret(&[1; 32]).public()
        );
    }

    #[test]
    fn what_others_can_read_is_refused() {
        let good = "countersign-key v1 ed25519\n\
             public: 6kpsY-KcUgq-9VB7Ey7F-ZVHdq6-vnuSQh7qaRRG0iw\n\
             secret: BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc\n";
        for mode in [0o640, 0o604, 0o660, 0o610] {
            assert!(refused(good, mode).contains("chmod 600"), "{mode:o}");
        }
    }

    #[test]
    fn other_texts_are_no_keys() {
        let secret = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";
        for (text, why) in [
            (String::new(), "first line"),
            (format!("countersign-key v2 ed25519\nsecret: {secret}\n"), "first line"),
            (format!("countersign-key v1 ed25519\nsecret: {secret}\n"), "public key of"),
            (format!("countersign-key v1 ed25519\npublic: {secret}\nsecret: {secret}\n"), "public key of"),
            (format!("countersign-key v1 ed25519\nsecret: {secret}\nsecret: {secret}\n"), "twice"),
            ("countersign-key v1 ed25519\nsecret: AAAA\n".to_owned(), "32 bytes"),
            ("countersign-key v1 ed25519\nsecret: !\n".to_owned(), "base64url"),
        ] {
            let error = refused(&text, 0o600);
            assert!(error.contains(why), "{error}");
            assert!(!error.contains(secret), "a secret in an error");
        }
    }
}
