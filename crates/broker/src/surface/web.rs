//! The companion, as files for a browser.
//!
//! Whoever serves these files can act as the people who use them, so they are served under the strictest policy that the
//! app runs with: its own scripts alone, nothing inline, in no frame, and calls to this broker only.

use std::{collections::BTreeMap, sync::Arc};

use axum::{
    Router,
    extract::State,
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode, Uri,
        header::{
            ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
            IF_NONE_MATCH, REFERRER_POLICY, STRICT_TRANSPORT_SECURITY, VARY, X_CONTENT_TYPE_OPTIONS,
        },
    },
    response::{IntoResponse as _, Response},
    routing::get,
};
use bytes::Bytes;
use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

/// The page that a visit begins with.
const INDEX: &str = "index.html";

/// Where the app reads what it must know of the broker.
const BROKER_FILE: &str = "broker.json";

/// Files below this have the hash of their content in their names.
const HASHED: &str = "assets/";

/// A file whose name is its content's never changes: a year is the longest that caches take for an answer.
const FOR_GOOD: &str = "public, max-age=31536000, immutable";

/// Every other file is asked for each time, and not sent again if it is the same.
const ASK_AGAIN: &str = "no-cache";

/// How many bytes of its hash tell a file from what it was before: no two versions will ever share 128 bits.
const TAG_BYTES: usize = 16;

/// A file of the app.
#[derive(Clone, Debug)]
pub struct WebFile {
    /// Its path, without a `/` before it.
    pub path: &'static str,
    /// What is in it.
    pub bytes: Bytes,
    /// The same, compressed with brotli.
    pub brotli: Option<Bytes>,
}

/// The app as it is served.
#[derive(Clone, Debug)]
pub struct WebApp {
    files: Arc<BTreeMap<&'static str, Ready>>,
    policy: HeaderValue,
}

/// A file with all that is the same for each who asks for it.
#[derive(Clone, Debug)]
struct Ready {
    file: WebFile,
    tag: String,
}

impl WebApp {
    /// The app of these files, that finds `broker_file` where it looks for the broker, and may call `api`: the origin of
    /// the broker's API, unless that is the app's own.
    pub fn new(
        files: impl IntoIterator<Item = WebFile>,
        broker_file: String,
        api: Option<&super::PageOrigin>,
    ) -> Self {
        let broker_file = WebFile { path: BROKER_FILE, bytes: broker_file.into(), brotli: None };
        let files = files.into_iter().chain([broker_file]).map(|file| {
            let tag = HEXLOWER.encode(&Sha256::digest(&file.bytes)[..TAG_BYTES]);
            (file.path, Ready { file, tag })
        });
        let api = api.map(|api| format!(" {}", api.as_str())).unwrap_or_default();
        let policy = format!(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; font-src 'self'; \
             manifest-src 'self'; worker-src 'self'; connect-src 'self'{api}; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
             trusted-types countersign"
        );
        let policy = HeaderValue::try_from(policy).expect("an origin is a header's value already");
        Self { files: Arc::new(files.collect()), policy }
    }

    /// A route for each file. What is no file of the app is left to the listener's other surfaces.
    pub(super) fn pages(&self) -> Router {
        let mut pages = Router::new().route("/", get(serve));
        for path in self.files.keys() {
            pages = pages.route(&format!("/{path}"), get(serve));
        }
        pages.with_state(self.clone())
    }

    fn answer(&self, path: &str, headers: &HeaderMap) -> Option<Response> {
        let Ready { file, tag } = self.files.get(path)?;
        let brotli = file.brotli.as_ref().filter(|_| takes_brotli(headers));
        // Compressed bytes are other bytes, and a strong tag names bytes (RFC 9110, section 8.8.3).
        let tag = if brotli.is_some() { format!("\"{tag}-br\"") } else { format!("\"{tag}\"") };
        let known = headers.get_all(IF_NONE_MATCH).iter().any(|tags| names(tags, &tag));
        let mut response = if known {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            let mut response = brotli.unwrap_or(&file.bytes).clone().into_response();
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type(path)));
            if brotli.is_some() {
                response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("br"));
            }
            response
        };
        let headers = response.headers_mut();
        headers.insert(ETAG, HeaderValue::try_from(tag).expect("hexadecimal in quotes"));
        headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
        let caching = if path.starts_with(HASHED) { FOR_GOOD } else { ASK_AGAIN };
        headers.insert(CACHE_CONTROL, HeaderValue::from_static(caching));
        headers.insert(CONTENT_SECURITY_POLICY, self.policy.clone());
        for (name, value) in &GUARDS {
            headers.insert(name.clone(), HeaderValue::from_static(value));
        }
        Some(response)
    }
}

/// What every answer says beside its policy.
static GUARDS: [(HeaderName, &str); 6] = [
    // No other page gets hold of this one's window, and none includes its files.
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    // Where somebody went from here tells nobody anything.
    (REFERRER_POLICY, "no-referrer"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (
        HeaderName::from_static("permissions-policy"),
        "camera=(), display-capture=(), geolocation=(), microphone=(), payment=(), usb=(), \
         publickey-credentials-create=(self), publickey-credentials-get=(self)",
    ),
    // Browsers heed it over TLS only.
    (STRICT_TRANSPORT_SECURITY, "max-age=31536000"),
];

async fn serve(State(app): State<WebApp>, uri: Uri, headers: HeaderMap) -> Response {
    let path = uri.path().trim_start_matches('/');
    let found = app.answer(if path.is_empty() { INDEX } else { path }, &headers);
    found.unwrap_or_else(|| StatusCode::NOT_FOUND.into_response())
}

/// Whether the browser says that it takes brotli.
fn takes_brotli(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|line| line.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let weight = weight.trim().trim_start_matches("q=");
        name.trim().eq_ignore_ascii_case("br") && !(weight.starts_with('0') && weight.parse() == Ok(0.0))
    })
}

fn names(tags: &HeaderValue, tag: &str) -> bool {
    let Ok(tags) = tags.to_str() else { return false };
    tags.split(',').any(|one| one.trim().trim_start_matches("W/") == tag)
}

fn content_type(path: &str) -> &'static str {
    match path.rsplit_once('.').map_or("", |(_, ending)| ending) {
        "html" => "text/html; charset=utf-8",
        "js" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" => "application/json",
        "webmanifest" => "application/manifest+json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
