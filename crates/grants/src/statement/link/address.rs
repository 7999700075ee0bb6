//! Where a code goes back to.

use std::fmt;

use crate::statement::parse::Malformed;

/// The longest address: beside it an invitation must still fit a QR code.
const MAX_BYTES: usize = 512;

/// The longest name of a host.
const MAX_HOST_BYTES: usize = 253;

/// Where a partner's app or site takes the code back: an address that the partner signed, so that nobody can send a code
/// elsewhere. It is `https`, or `http` on the machine itself; and so plain that every parser of addresses reads the same
/// host in it: a name in lower case, a port if need be, a path, a query, and nothing before an `@` or behind a `#`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnAddress(String);

impl ReturnAddress {
    /// Reads an address; refuses what is not of the form.
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        let wrong = |problem: &str| Malformed::new("return_address", problem);
        if text.len() > MAX_BYTES {
            return Err(wrong("must be at most 512 bytes"));
        }
        let (rest, secure) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
            (Some(rest), _) => (rest, true),
            (None, Some(rest)) => (rest, false),
            (None, None) => return Err(wrong("must begin with `https://`")),
        };
        let (authority, path) = rest.split_once('/').ok_or_else(|| wrong("must have a path, be it `/`"))?;
        let (host, port) =
            authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
        if !is_host(host) {
            return Err(wrong("must name a host in lower case, and no user"));
        }
        // What parses may begin with a sign or a zero, which browsers read in another way, or not at all.
        let is_port =
            |port: &str| port.starts_with(|c: char| ('1'..='9').contains(&c)) && port.parse::<u16>().is_ok();
        if port.is_some_and(|port| !is_port(port)) {
            return Err(wrong("must have a port of 1 to 65535, or none"));
        }
        if !secure && !["localhost", "127.0.0.1"].contains(&host) {
            return Err(wrong("must be https, unless it is on the machine itself"));
        }
        if !path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~!$&()*+,;=:@%/?".contains(&byte)) {
            return Err(wrong(
                "must have a path and a query of an address's own characters, and no fragment",
            ));
        }
        Ok(Self(text.to_owned()))
    }

    /// The address.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Labels of letters, digits and hyphens between dots.
fn is_host(text: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let label = |label: &str| !label.is_empty() && label.bytes().all(letter);
    text.len() <= MAX_HOST_BYTES && text.split('.').all(label)
}

impl fmt::Display for ReturnAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_plain_https_or_of_the_machine_itself() {
        let long = format!("https://skylark.example/{}", "a".repeat(MAX_BYTES));
        for (text, good) in [
            ("https://skylark.example/link?step=2", true),
            ("https://app.skylark.example:8443/", true),
            ("http://localhost:8000/link", true),
            ("http://127.0.0.1/", true),
            ("http://skylark.example/", false),
            ("http://localhost.example/", false),
            ("javascript:alert(1)//", false),
            ("data:text/html,/", false),
            ("skylark.example/", false),
            ("https://skylark.example", false),
            ("https:///link", false),
            ("https://Skylark.example/", false),
            ("https://mei@skylark.example/", false),
            ("https://skylark.example\\@evil.example/", false),
            ("https://skylark.example:/", false),
            ("https://skylark.example:070/", false),
            ("https://skylark.example:+80/", false),
            ("https://skylark.example:65536/", false),
            ("https://skylark..example/", false),
            ("https://[::1]/", false),
            ("https://skylark.example/#here", false),
            ("https://skylark.example/a b", false),
            ("https://skylark.example/\"", false),
            ("https://skylark.example/\u{e4}", false),
            (long.as_str(), false),
        ] {
            assert_eq!(ReturnAddress::parse(text).is_ok(), good, "{text}");
        }
    }
}
