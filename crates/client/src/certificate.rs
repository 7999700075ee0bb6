//! Certificates: the offline identity key's statement for one working key, and the file in which it travels.
//!
//! ```text
//! countersign-certificate v1
//! partner: partners/skylark
//! identity: <base64url>
//! statement: <base64url>
//! ```
//!
//! Nothing in it is secret. A partner's machine holds this file and a working key; the identity key stays off line.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
};

use countersign_grants::{
    digest::Digest,
    envelope,
    id::{Origin, PartnerName},
    key::{PublicKey, SigningKey},
    statement::{KeyError, PartnerKey, Statement as _, WorkingKey},
    time::Timestamp,
};
use countersign_proto::statement::v1 as wire;
use data_encoding::BASE64URL_NOPAD;
use prost::Message as _;

use crate::files;

const HEADER: &str = "countersign-certificate v1";

/// Four lines, the longest a statement of some 400 bytes; more is another file.
const MAX_FILE_BYTES: u64 = 4096;

/// A working key's certificate, verified.
#[derive(Clone, Debug)]
pub struct KeyCertificate {
    identity: PublicKey,
    working: WorkingKey,
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The file system says no.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is no certificate.
    #[error("{}: not a certificate: {problem}", path.display())]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// It does not verify.
    #[error("the certificate: {0}")]
    Unverified(KeyError),
    /// The one before it is of another partner or identity.
    #[error("the certificate before this one is of another partner or identity")]
    OtherPredecessor,
}

impl KeyCertificate {
    /// Certifies a working key with the identity key. Numbered from 1; a later one names the one before it.
    pub fn certify(
        identity: &SigningKey,
        broker: &Origin,
        partner: &PartnerName,
        key: &PublicKey,
        (not_before, not_after): (Timestamp, Timestamp),
        previous: Option<&Self>,
    ) -> Result<Self, CertificateError> {
        if previous.is_some_and(|one| one.partner() != partner || one.identity != *identity.public()) {
            return Err(CertificateError::OtherPredecessor);
        }
        let message = wire::PartnerKey {
            broker: broker.to_string(),
            partner: partner.to_string(),
            public_key: key.as_bytes().to_vec().into(),
            sequence: previous.map_or(0, Self::sequence) + 1,
            not_before_ms: not_before.as_millis(),
            not_after_ms: not_after.as_millis(),
            previous: previous.map(|one| one.digest().as_bytes().to_vec().into()).unwrap_or_default(),
        };
        let statement = envelope::sign::<PartnerKey>(&message, &[identity]);
        Self::verify(identity.public(), partner, broker, &statement)
    }

    fn verify(
        identity: &PublicKey,
        partner: &PartnerName,
        broker: &Origin,
        statement: &wire::Envelope,
    ) -> Result<Self, CertificateError> {
        let working = WorkingKey::certified(Some(statement), identity, partner, broker)
            .map_err(CertificateError::Unverified)?;
        Ok(Self { identity: identity.clone(), working })
    }

    /// Writes the file, which must not exist yet.
    pub fn write(&self, path: &Path) -> Result<(), CertificateError> {
        let failed = |source| CertificateError::Io { path: path.to_owned(), source };
        let text = format!(
            "{HEADER}\npartner: {}\nidentity: {}\nstatement: {}\n",
            self.partner(),
            BASE64URL_NOPAD.encode(self.identity.as_bytes()),
            BASE64URL_NOPAD.encode(&self.statement().encode_to_vec()),
        );
        let mut file = File::create_new(path).map_err(failed)?;
        file.write_all(text.as_bytes()).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        files::sync_parent(path).map_err(failed)
    }

    /// Reads a file, and verifies it for the broker that it names.
    pub fn read(path: &Path) -> Result<Self, CertificateError> {
        let failed = |source| CertificateError::Io { path: path.to_owned(), source };
        let mut text = String::new();
        let file = File::open(path).map_err(failed)?;
        file.take(MAX_FILE_BYTES).read_to_string(&mut text).map_err(failed)?;
        let bad = |problem: String| CertificateError::Malformed { path: path.to_owned(), problem };
        let mut lines = text.lines();
        if lines.next() != Some(HEADER) {
            return Err(bad(format!("it does not start with `{HEADER}`")));
        }
        let mut line = |name: &str| {
            let value = lines.next().and_then(|line| line.strip_prefix(name)?.strip_prefix(": "));
            value.ok_or_else(|| bad(format!("a line `{name}: …` is missing")))
        };
        let partner = PartnerName::parse(line("partner")?).map_err(|error| bad(error.to_string()))?;
        let bytes = |name: &str, text: &str| {
            BASE64URL_NOPAD.decode(text.as_bytes()).map_err(|_| bad(format!("`{name}` is not base64url")))
        };
        let identity = bytes("identity", line("identity")?)?;
        let identity = PublicKey::from_slice(&identity).map_err(|error| bad(error.to_string()))?;
        let statement = bytes("statement", line("statement")?)?;
        let statement =
            wire::Envelope::decode(statement.as_slice()).map_err(|error| bad(error.to_string()))?;
        let claimed =
            envelope::peek::<PartnerKey>(Some(&statement)).map_err(|error| bad(error.to_string()))?;
        Self::verify(&identity, &partner, claimed.broker(), &statement)
    }

    /// Whose key it is.
    pub fn partner(&self) -> &PartnerName {
        &self.said().partner
    }

    /// The identity key that certified it.
    pub fn identity(&self) -> &PublicKey {
        &self.identity
    }

    /// The working key.
    pub fn key(&self) -> &PublicKey {
        self.working.public()
    }

    /// Its number, from 1.
    pub fn sequence(&self) -> u64 {
        self.said().sequence
    }

    /// From when to when the key signs.
    pub fn validity(&self) -> (Timestamp, Timestamp) {
        (self.said().not_before, self.said().not_after)
    }

    /// The identity key's statement.
    pub fn statement(&self) -> &wire::Envelope {
        self.working.certificate().envelope()
    }

    fn digest(&self) -> Digest {
        self.working.certificate().digest()
    }

    fn said(&self) -> &PartnerKey {
        self.working.certificate().statement()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMES: (Timestamp, Timestamp) = (Timestamp::from_millis(1_000), Timestamp::from_millis(2_000));

    fn certify(identity: u8, previous: Option<&KeyCertificate>) -> Result<KeyCertificate, CertificateError> {
        let identity = SigningKey::from_secret(&[identity; 32]);
        let key = SigningKey::from_secret(&[9; 32]);
        let broker = Origin::parse("broker.example/log").expect("an origin");
        let partner = PartnerName::of_id("hopp").expect("an id");
        KeyCertificate::certify(&identity, &broker, &partner, key.public(), TIMES, previous)
    }

    #[test]
    fn certificates_are_numbered_and_chained() {
        let first = certify(1, None).expect("certifies");
        let second = certify(1, Some(&first)).expect("certifies");
        assert_eq!((first.sequence(), second.sequence()), (1, 2));
        assert_eq!(second.said().previous, Some(first.digest()));
        assert_eq!(second.validity(), TIMES);
        assert!(matches!(certify(2, Some(&first)), Err(CertificateError::OtherPredecessor)));
    }

    #[test]
    fn the_file_reads_back_and_damage_is_refused() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("certificate");
        let certificate = certify(1, None).expect("certifies");
        certificate.write(&path).expect("writes");
        assert_eq!(KeyCertificate::read(&path).expect("reads").statement(), certificate.statement());
        assert!(certificate.write(&path).is_err(), "a certificate is never overwritten");
        let text = std::fs::read_to_string(&path).expect("reads");
        let check = |from: &str, to: &str| {
            std::fs::write(&path, text.replace(from, to)).expect("writes");
            assert!(KeyCertificate::read(&path).is_err(), "{from} as {to}");
        };
        check("v1", "v2");
        check("partners/hopp", "partners/skylark");
        check("identity: ", "identity: A");
        check("statement: ", "statement: !");
    }
}
