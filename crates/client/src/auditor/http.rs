//! A log behind an address: what `https://log.example/` serves as `/checkpoint` and `/tile/…`.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use countersign_tlog::LogPath;
use http::{Request, StatusCode, Uri, header::AUTHORIZATION};
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use tokio::{runtime::Handle, task::JoinHandle};

use super::source::{LogSource, SourceError};
use crate::channel::is_loopback;

/// The largest file: a bundle of 256 records of 65,535 bytes, each after two bytes of length.
const MAX_FILE_BYTES: usize = 256 * (65_535 + 2);

/// How long one file may take: the largest at half a megabyte a second.
const DEADLINE: Duration = Duration::from_secs(40);

/// How often a file is asked for before the check gives up.
const ATTEMPTS: u32 = 4;

/// The pause after the first attempt; twice as long after each.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// Gives the `authorization` header of each request: tokens are short-lived, and a check may take longer.
pub type Authorization = Arc<dyn Fn() -> String + Send + Sync>;

/// A log behind an address. Its reads block, so they belong on a thread where that is allowed:
/// [`tokio::task::spawn_blocking`].
pub struct HttpLog {
    fetcher: Fetcher,
    runtime: Handle,
    ahead: HashMap<LogPath, JoinHandle<Result<Option<Bytes>, SourceError>>>,
}

#[derive(Clone)]
struct Fetcher {
    client: Client<HttpsConnector<HttpConnector>, Empty<Bytes>>,
    prefix: String,
    authorization: Option<Authorization>,
}

impl HttpLog {
    /// Prepares to read from an address: `https` with the authorities that may vouch for it, or `http`, which carries a
    /// token on loopback only. Nothing is sent yet. Must be called within a tokio runtime.
    pub fn open(
        address: &str,
        ca_pem: Option<&str>,
        authorization: Option<Authorization>,
    ) -> Result<Self, SourceError> {
        let wrong = |problem: String| SourceError::Address { address: address.to_owned(), problem };
        let uri: Uri = address.parse().map_err(|error: http::uri::InvalidUri| wrong(error.to_string()))?;
        let mut roots = RootCertStore::empty();
        match uri.scheme_str() {
            Some("https") => {
                let pem =
                    ca_pem.ok_or_else(|| wrong("needs the authorities that may vouch for it".into()))?;
                for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
                    let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
                    roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
                }
            }
            Some("http") if authorization.is_none() || is_loopback(uri.host()) => {}
            Some("http") => {
                return Err(wrong("a token does not travel over plain `http`, but on loopback".into()));
            }
            _ => return Err(wrong("must start with `https://` or `http://`".into())),
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(error.to_string()))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector =
            HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        let client = Client::builder(TokioExecutor::new()).build(connector);
        let prefix = address.trim_end_matches('/').to_owned();
        let fetcher = Fetcher { client, prefix, authorization };
        Ok(Self { fetcher, runtime: Handle::current(), ahead: HashMap::new() })
    }
}

impl LogSource for HttpLog {
    fn read(&mut self, path: LogPath) -> Result<Option<Bytes>, SourceError> {
        match self.ahead.remove(&path) {
            Some(fetched) => match self.runtime.block_on(fetched) {
                Ok(fetched) => fetched,
                Err(error) => Err(self.fetcher.failed(path, error.to_string())),
            },
            None => self.runtime.block_on(self.fetcher.fetch(path)),
        }
    }

    fn expect(&mut self, paths: &[LogPath]) {
        for path in paths {
            let (fetcher, path) = (self.fetcher.clone(), *path);
            self.ahead
                .entry(path)
                .or_insert_with(|| self.runtime.spawn(async move { fetcher.fetch(path).await }));
        }
    }
}

impl Fetcher {
    async fn fetch(&self, path: LogPath) -> Result<Option<Bytes>, SourceError> {
        let mut pause = FIRST_PAUSE;
        for _ in 1..ATTEMPTS {
            match self.attempt(path).await {
                Err(SourceError::Unreachable { .. }) => {}
                done => return done,
            }
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
        self.attempt(path).await
    }

    async fn attempt(&self, path: LogPath) -> Result<Option<Bytes>, SourceError> {
        match tokio::time::timeout(DEADLINE, self.ask(path)).await {
            Ok(done) => done,
            Err(_) => Err(self.failed(path, format!("no answer within {} s", DEADLINE.as_secs()))),
        }
    }

    async fn ask(&self, path: LogPath) -> Result<Option<Bytes>, SourceError> {
        let mut request = Request::get(self.address(path));
        if let (LogPath::Bundle(_), Some(authorization)) = (path, &self.authorization) {
            // Checkpoint and tiles are public; only entries are asked for by name.
            request = request.header(AUTHORIZATION, authorization());
        }
        let request = request.body(Empty::new()).map_err(|error| self.failed(path, error.to_string()))?;
        let answer = self.client.request(request).await.map_err(|error| self.failed(path, chain(&error)))?;
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND | StatusCode::GONE => return Ok(None),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(SourceError::Denied {
                    address: self.address(path),
                    status: answer.status().as_u16(),
                });
            }
            status => return Err(self.failed(path, format!("the server answers {status}"))),
        }
        let body = Limited::new(answer.into_body(), MAX_FILE_BYTES).collect().await;
        Ok(Some(body.map_err(|error| self.failed(path, error.to_string()))?.to_bytes()))
    }

    fn address(&self, path: LogPath) -> String {
        format!("{}/{path}", self.prefix)
    }

    fn failed(&self, path: LogPath, detail: String) -> SourceError {
        SourceError::Unreachable { address: self.address(path), detail }
    }
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
