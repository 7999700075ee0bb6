//! What the fields of requests must be. Each refusal names the field.

use std::net::IpAddr;

use countersign_grants::{id::NotAName, key::PublicKey, time::Timestamp};
use url::{Host, Url};

use crate::error::Fault;

/// The longest name that people read: what fits a line of a phone.
const MAX_DISPLAY_CHARS: usize = 80;

/// The longest reason of an operator: with names and commitments it fits a record of 1 KiB in any script.
const MAX_REASON_BYTES: usize = 240;

/// The longest address.
const MAX_ENDPOINT_BYTES: usize = 256;

/// A resource name.
pub(super) fn name<T>(
    field: &'static str,
    text: &str,
    parse: impl Fn(&str) -> Result<T, NotAName>,
) -> Result<T, Fault> {
    if text.is_empty() {
        return Err(Fault::field(field, "must be set"));
    }
    parse(text).map_err(|error| Fault::field(field, error))
}

/// A message that must be there.
pub(super) fn required<T>(field: &'static str, value: Option<T>) -> Result<T, Fault> {
    value.ok_or_else(|| Fault::field(field, "must be set"))
}

/// A moment, to the millisecond, from 1970 on.
pub(super) fn moment(field: &'static str, time: &prost_types::Timestamp) -> Result<Timestamp, Fault> {
    let seconds = u64::try_from(time.seconds).ok().and_then(|seconds| seconds.checked_mul(1_000));
    let millis =
        u64::try_from(time.nanos).ok().filter(|nanos| *nanos < 1_000_000_000).map(|nanos| nanos / 1_000_000);
    let moment = seconds.zip(millis).and_then(|(seconds, millis)| seconds.checked_add(millis));
    moment.map(Timestamp::from_millis).ok_or_else(|| Fault::field(field, "must be a moment from 1970 on"))
}

/// What people call somebody.
pub(super) fn display_name(field: &'static str, text: &str) -> Result<String, Fault> {
    let chars = text.chars().count();
    if text.trim().is_empty() || chars > MAX_DISPLAY_CHARS || text.chars().any(char::is_control) {
        let problem =
            format!("must be 1 to {MAX_DISPLAY_CHARS} characters, none of them a control character");
        return Err(Fault::field(field, problem));
    }
    Ok(text.to_owned())
}

/// Why an operator does something.
pub(super) fn reason(field: &'static str, text: &str) -> Result<String, Fault> {
    if text.trim().is_empty() || text.len() > MAX_REASON_BYTES || text.chars().any(char::is_control) {
        let problem = format!("must be 1 to {MAX_REASON_BYTES} bytes, without control characters");
        return Err(Fault::field(field, problem));
    }
    Ok(text.to_owned())
}

/// A number that people call: `+`, then 7 to 15 digits (ITU-T E.164), between which a space or a hyphen may stand.
pub(super) fn phone(field: &'static str, text: &str) -> Result<String, Fault> {
    let form = text.strip_prefix('+').is_some_and(|rest| {
        let bytes = rest.as_bytes();
        let digits = bytes.iter().filter(|byte| byte.is_ascii_digit()).count();
        let separated = bytes.windows(2).all(|pair| pair.iter().any(u8::is_ascii_digit));
        let ends = [bytes.first(), bytes.last()].iter().all(|end| end.is_some_and(u8::is_ascii_digit));
        let known = bytes.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b' ' | b'-'));
        (7..=15).contains(&digits) && separated && ends && known
    });
    if form {
        return Ok(text.to_owned());
    }
    Err(Fault::field(field, "must be `+` and 7 to 15 digits, with single spaces or hyphens between them"))
}

/// A public key.
pub(super) fn public_key(field: &'static str, bytes: &[u8]) -> Result<PublicKey, Fault> {
    PublicKey::from_slice(bytes).map_err(|error| Fault::field(field, error))
}

/// A UUID, if one is given.
pub(super) fn request_id(text: &str) -> Result<Option<&str>, Fault> {
    let hyphens = |at: usize| matches!(at, 8 | 13 | 18 | 23);
    let form = text.len() == 36
        && text.bytes().enumerate().all(
            |(at, byte)| {
                if hyphens(at) { byte == b'-' } else { byte.is_ascii_hexdigit() }
            },
        );
    match text {
        "" => Ok(None),
        _ if form => Ok(Some(text)),
        _ => Err(Fault::field("request_id", "must be a UUID")),
    }
}

/// Where a source is reached: `https`, or `http` on loopback.
pub(super) fn endpoint(field: &'static str, text: &str) -> Result<String, Fault> {
    let bad = |problem: &str| Err(Fault::field(field, problem));
    if text.len() > MAX_ENDPOINT_BYTES {
        return bad("is longer than 256 bytes");
    }
    let Ok(url) = Url::parse(text) else { return bad("must be an `http` or `https` address") };
    if !url.username().is_empty()
        || url.password().is_some()
        || url.query().is_some()
        || url.fragment().is_some()
    {
        return bad("must be scheme, host and port alone");
    }
    match (url.scheme(), url.host()) {
        ("https", Some(_)) => Ok(text.to_owned()),
        ("http", Some(host)) if is_loopback(&host) => Ok(text.to_owned()),
        ("http", Some(_)) => bad("must be `https`: plain `http` is for loopback only"),
        _ => bad("must be an `http` or `https` address"),
    }
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost",
        Host::Ipv4(address) => IpAddr::V4(*address).is_loopback(),
        Host::Ipv6(address) => IpAddr::V6(*address).is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, good: bool) {
        assert_eq!(endpoint("e", text).is_ok(), good, "{text}");
    }

    #[test]
    fn endpoints_are_https_or_loopback() {
        check("https://source.example", true);
        check("https://source.example:8443", true);
        check("http://127.0.0.1:7001", true);
        check("http://[::1]:7001", true);
        check("http://localhost:7001", true);
        check("http://source.example", false);
        check("http://localhost.example", false);
        check("ftp://127.0.0.1", false);
        check("https://user@source.example", false);
        check("https://source.example/?x=1", false);
        check("source.example:80", false);
        check("", false);
    }

    #[test]
    fn numbers_can_be_called() {
        for good in ["+12125550100", "+1 212 555 0100", "+49-30-1234567"] {
            assert!(phone("p", good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "+",
            "12125550100",
            "+123456",
            "+1234567890123456",
            "+1  2125550100",
            "+1 212 555 0100 ",
            "+1 call us",
        ] {
            assert!(phone("p", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn request_ids_are_uuids_or_absent() {
        assert!(matches!(request_id(""), Ok(None)));
        assert!(matches!(request_id("9f8c2a4e-0b1d-4c3e-8f7a-6b5c4d3e2f10"), Ok(Some(_))));
        for bad in ["x", "9f8c2a4e00b1d04c3e08f7a06b5c4d3e2f10x", "9f8c2a4e-0b1d-4c3e-8f7a-6b5c4d3e2f1g"] {
            assert!(request_id(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_people_read_is_short_and_printable() {
        assert!(display_name("n", "Skylark Air").is_ok());
        for bad in ["", "  ", "a\nb", &"x".repeat(81)] {
            assert!(display_name("n", bad).is_err(), "{bad}");
        }
        assert!(reason("r", &"x".repeat(241)).is_err());
    }
}
