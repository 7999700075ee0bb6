//! What a party must know of a broker before it calls it for the first time.

use std::path::{Path, PathBuf};

use countersign_grants::{
    id::{NotAName, Origin},
    key::{NotAPublicKey, PublicKey},
    token::broker_audience,
};
use countersign_tlog::{VerifierKey, note::ParseKeyError};
use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Serialize};

/// The broker's names, keys and address, learned outside the broker: from the file that `countersignd init` writes.
#[derive(Clone, Debug)]
pub struct BrokerTrust {
    /// The origin of its log, which names the broker in every statement.
    pub origin: Origin,
    /// The key under which the log signs its checkpoints.
    pub log_key: VerifierKey,
    /// The key under which the broker signs its calls to sources.
    pub call_key: PublicKey,
    /// Where it is called: an `https` address, or `http` on loopback.
    pub address: String,
    /// The authorities that may vouch for its TLS certificate, in PEM. An `https` address needs them.
    pub ca_pem: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TrustFile {
    origin: String,
    log_verifier_key: String,
    broker_public_key: String,
    address: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ca_pem: Option<String>,
}

/// Why a file does not say whom to trust.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// It can't be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// It is not the JSON that `countersignd init` writes.
    #[error("the broker file: {0}")]
    Json(serde_json::Error),
    /// `origin` is no origin.
    #[error("the broker file: `origin`: {0}")]
    Origin(NotAName),
    /// `log_verifier_key` is no verifier key.
    #[error("the broker file: `log_verifier_key`: {0}")]
    LogKey(ParseKeyError),
    /// The log's key is named otherwise than the log.
    #[error("the broker file: `log_verifier_key` is named `{found}`, and the log `{expected}`")]
    KeyName {
        /// The origin.
        expected: Origin,
        /// The key's name.
        found: String,
    },
    /// `broker_public_key` is no key in base64url.
    #[error("the broker file: `broker_public_key`: {0}")]
    CallKey(NotAPublicKey),
}

impl BrokerTrust {
    /// Reads the broker file.
    pub fn read(path: &Path) -> Result<Self, TrustError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| TrustError::Unreadable { path: path.to_owned(), source })?;
        Self::from_json(&text)
    }

    /// Reads the broker file's text.
    pub fn from_json(text: &str) -> Result<Self, TrustError> {
        let file: TrustFile = serde_json::from_str(text).map_err(TrustError::Json)?;
        let origin = Origin::parse(&file.origin).map_err(TrustError::Origin)?;
        let log_key = VerifierKey::parse(&file.log_verifier_key).map_err(TrustError::LogKey)?;
        if log_key.name().as_str() != origin.as_str() {
            let found = log_key.name().to_string();
            return Err(TrustError::KeyName { expected: origin, found });
        }
        let call_key = BASE64URL_NOPAD.decode(file.broker_public_key.as_bytes()).unwrap_or_default();
        let call_key = PublicKey::from_slice(&call_key).map_err(TrustError::CallKey)?;
        Ok(Self { origin, log_key, call_key, address: file.address, ca_pem: file.ca_pem })
    }

    /// The broker file's text.
    pub fn to_json(&self) -> String {
        let file = TrustFile {
            origin: self.origin.to_string(),
            log_verifier_key: self.log_key.to_string(),
            broker_public_key: BASE64URL_NOPAD.encode(self.call_key.as_bytes()),
            address: self.address.clone(),
            ca_pem: self.ca_pem.clone(),
        };
        serde_json::to_string_pretty(&file).expect("five strings have a JSON form")
    }

    /// Whom tokens for the broker name.
    pub fn audience(&self) -> String {
        broker_audience(&self.origin)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_grants::key::SigningKey;
    use countersign_tlog::{KeyName, SignerKey};

    fn trust() -> BrokerTrust {
        let name = KeyName::parse("broker.example/log").expect("a name");
        BrokerTrust {
            origin: Origin::parse("broker.example/log").expect("an origin"),
            log_key: SignerKey::from_seed(name, &[1; 32]).verifier().clone(),
            call_key: SigningKey::from_secret(&[2; 32]).public().clone(),
            address: "http://127.0.0.1:1".into(),
            ca_pem: None,
        }
    }

    #[test]
    fn the_file_reads_back_as_written() {
        let trust = trust();
        let read = BrokerTrust::from_json(&trust.to_json()).expect("reads");
        assert_eq!((read.origin, read.address), (trust.origin, trust.address));
        assert_eq!((read.log_key, read.call_key), (trust.log_key, trust.call_key));
    }

    #[test]
    fn a_wrong_file_is_refused_by_the_name_of_its_field() {
        let check = |from: &str, to: &str, named: &str| {
            let error = BrokerTrust::from_json(&trust().to_json().replace(from, to)).expect_err(named);
            assert!(error.to_string().contains(named), "{error}");
        };
        check("\"origin\"", "\"origins\"", "origins");
        check("\"origin\": \"broker.example/log\"", "\"origin\": \"other.example\"", "other.example");
        check("\"log_verifier_key\": \"b", "\"log_verifier_key\": \"c", "log_verifier_key");
        check("\"broker_public_key\": \"", "\"broker_public_key\": \"_", "broker_public_key");
    }
}
