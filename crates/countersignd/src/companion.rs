//! The companion, for the listeners that serve it.

use bytes::Bytes;
use countersign_broker::{
    grants::key::PublicKey,
    surface::{WebApp, WebFile},
};
use countersign_ledger::VerifierKey;
use data_encoding::BASE64URL_NOPAD;
use serde_json::json;

use crate::config::{Config, Surface};

/// The app and its broker file, if a listener is to serve them.
pub(crate) fn app(config: &Config, log_key: &VerifierKey, call_key: &PublicKey) -> Option<WebApp> {
    if !config.listeners.iter().any(|listener| listener.surfaces.contains(&Surface::Web)) {
        return None;
    }
    if !countersign_companion::is_built() {
        tracing::warn!("this program was compiled without the companion: its page says how to build it");
    }
    let files = countersign_companion::files().iter().map(|file| WebFile {
        path: file.path,
        bytes: Bytes::from_static(file.bytes),
        brotli: file.brotli.map(Bytes::from_static),
    });
    Some(WebApp::new(files, broker_file(config, log_key, call_key), config.companion.address.as_ref()))
}

/// What the app must know of the broker: the trust file, as far as it means something in a browser.
fn broker_file(config: &Config, log_key: &VerifierKey, call_key: &PublicKey) -> String {
    let mut file = json!({
        "origin": config.origin.as_str(),
        "log_verifier_key": log_key.to_string(),
        "broker_public_key": BASE64URL_NOPAD.encode(call_key.as_bytes()),
    });
    if let Some(address) = &config.companion.address {
        file["address"] = address.as_str().into();
    }
    file.to_string() + "\n"
}
