//! The time that a call may take.
//!
//! It ends the call, not its stream: a stream's answer begins within the time, and may then go on.

use std::time::Duration;

use axum::{extract::Request, http::HeaderMap};
use tokio::time::{Instant, timeout_at};

use super::limits;
use crate::Fault;

/// When the call must be done: in the extensions of every request, for services that call others.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(pub Instant);

/// The most digits of a `grpc-timeout`, by the protocol.
const MAX_DIGITS: usize = 8;

impl Deadline {
    /// When this call must be done, which its service learns as well.
    pub(super) fn set(request: &mut Request) -> Result<Self, Fault> {
        let within = asked(request.headers())?.unwrap_or(limits::DEFAULT_DEADLINE).min(limits::MAX_DEADLINE);
        let deadline = Self(Instant::now() + within);
        request.extensions_mut().insert(deadline);
        Ok(deadline)
    }

    /// Ends a call that takes longer. It may have a unit in the ledger's queue, which the ledger finishes; a retry
    /// replays it.
    pub(super) async fn hold<T>(self, call: impl Future<Output = Result<T, Fault>>) -> Result<T, Fault> {
        timeout_at(self.0, call).await.unwrap_or(Err(Fault::DeadlineExceeded))
    }
}

/// The caller's own deadline, if it named one.
fn asked(headers: &HeaderMap) -> Result<Option<Duration>, Fault> {
    let Some(value) = headers.get("grpc-timeout") else { return Ok(None) };
    let parsed = value.to_str().ok().and_then(parse);
    parsed
        .map(Some)
        .ok_or_else(|| Fault::field("grpc-timeout", "must be at most 8 digits and one of H M S m u n"))
}

fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > MAX_DIGITS || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<Duration>) {
        assert_eq!(parse(text), expected, "{text}");
    }

    #[test]
    fn timeouts_are_read_as_the_protocol_writes_them() {
        check("1S", Some(Duration::from_secs(1)));
        check("99999999H", Some(Duration::from_secs(99_999_999 * 3600)));
        check("250m", Some(Duration::from_millis(250)));
        check("3u", Some(Duration::from_micros(3)));
        check("0n", Some(Duration::ZERO));
        for wrong in ["", "S", "1", "1s", "-1S", "+1S", "1.5S", "123456789S", "1é", "1 S"] {
            check(wrong, None);
        }
    }
}
