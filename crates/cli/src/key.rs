//! Keys: make one, show its public half.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Subcommand;
use countersign_client::{grants::key::PublicKey, keyfile};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

use crate::{arguments::Setting, output::Output};

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Draw a key and write it to a file that must not exist yet
    New {
        /// The file, which only its owner can read
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
    /// Show the public half of a key file
    Show {
        /// The key file
        #[arg(value_name = "FILE")]
        key: PathBuf,
    },
}

impl KeyCommand {
    pub(crate) fn run(self, setting: &Setting) -> Result<()> {
        let key = match &self {
            Self::New { out } => make(setting, out)?,
            Self::Show { key } => keyfile::read(key)?.public().clone(),
        };
        setting.output().show(&key_json(&key), |output| key_words(output, &key));
        Ok(())
    }
}

/// Draws a key into a file.
pub(crate) fn make(setting: &Setting, path: &std::path::Path) -> Result<PublicKey> {
    let key = keyfile::draw(&setting.system());
    keyfile::write(path, &key).context("a key is never overwritten")?;
    Ok(key.public().clone())
}

pub(crate) fn key_json(key: &PublicKey) -> Value {
    json!({ "public_key": BASE64URL_NOPAD.encode(key.as_bytes()), "key_id": key.id().as_str() })
}

pub(crate) fn key_words(output: Output, key: &PublicKey) -> String {
    format!(
        "{} {}\n{} {}",
        output.dim("public key"),
        BASE64URL_NOPAD.encode(key.as_bytes()),
        output.dim("key id    "),
        key.id()
    )
}

/// A public key: in base64url, or that of a key file.
pub(crate) fn public(text: &str) -> Result<PublicKey> {
    let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok();
    if let Some(key) = bytes.and_then(|bytes| PublicKey::from_slice(&bytes).ok()) {
        return Ok(key);
    }
    let key = keyfile::read(std::path::Path::new(text));
    Ok(key
        .with_context(|| format!("`{text}` is neither a public key in base64url nor a key file"))?
        .public()
        .clone())
}
