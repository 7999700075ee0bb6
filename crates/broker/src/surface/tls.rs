//! TLS: our own acceptor, since readers of the log speak HTTP/1.1 and partners HTTP/2, on one port.

use std::sync::Arc;

use tokio_rustls::rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{
        CertificateDer, PrivateKeyDer,
        pem::{self, PemObject as _},
    },
};

/// What is offered, the preferred one first.
const PROTOCOLS: [&[u8]; 2] = [b"h2", b"http/1.1"];

/// Why a certificate can't be served with.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate's file is not PEM.
    #[error("the certificate chain is not PEM: {0}")]
    Certificate(pem::Error),
    /// The certificate's file has no certificate.
    #[error("the certificate chain is empty")]
    NoCertificate,
    /// The key's file is not PEM, or has no key.
    #[error("the key is not PEM: {0}")]
    Key(pem::Error),
    /// The two don't belong together, or are of a kind that isn't spoken.
    #[error("the certificate and the key can't be used: {0}")]
    Unusable(tokio_rustls::rustls::Error),
}

/// What a listener needs to speak TLS 1.2 and 1.3 with this chain and key, both PEM.
pub fn server_config(chain: &[u8], key: &[u8]) -> Result<Arc<ServerConfig>, TlsError> {
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(chain).collect::<Result<_, _>>().map_err(TlsError::Certificate)?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate);
    }
    let key = PrivateKeyDer::from_pem_slice(key).map_err(TlsError::Key)?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Unusable)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(TlsError::Unusable)?;
    config.alpn_protocols = PROTOCOLS.map(<[u8]>::to_vec).into();
    Ok(Arc::new(config))
}
