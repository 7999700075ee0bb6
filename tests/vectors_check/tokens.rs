//! Call tokens.

use countersign_grants::{
    id::Principal,
    time::Timestamp,
    token::{Issuer, TokenError, Unverified, broker_audience},
};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

use crate::{
    File,
    case::{Case, Outcome, count, hex, text},
    keys::public_key,
    known,
};

pub(crate) const TOKENS: File = File {
    name: "tokens.json",
    about: "Call tokens, the key of whoever they say calls, who checks them, and when. `malformed`: no token of ours; \
        `signature`: that key did not sign it; `audience`, `too_long`, `future`, `expired`: in the order of the checks.",
    make,
    run,
};

fn run(input: &Value) -> Outcome {
    let check = |error: TokenError| {
        match error {
            TokenError::Malformed(_) => "malformed",
            TokenError::Signature => "signature",
            TokenError::Audience { .. } => "audience",
            TokenError::TooLong => "too_long",
            TokenError::Future { .. } => "future",
            TokenError::Expired { .. } => "expired",
        }
        .to_owned()
    };
    let claimed = Unverified::read(text(input, "token")).map_err(check)?;
    let token = claimed.verify(&public_key(&input["public_key"])).map_err(check)?;
    let now = Timestamp::from_millis(count(input, "now_ms"));
    token.check(text(input, "audience"), now).map_err(check)?;
    Ok(json!({
        "issuer": token.issuer().to_string(),
        "key_id": token.key_id().as_str(),
        "expire_time_ms": token.expires().as_millis(),
    }))
}

/// A token of any header and claims, signed by the recipient's working key.
fn signed(header: &str, claims: &str) -> String {
    let message = format!(
        "{}.{}",
        BASE64URL_NOPAD.encode(header.as_bytes()),
        BASE64URL_NOPAD.encode(claims.as_bytes())
    );
    let signature = known::key(known::HOPP).sign(message.as_bytes());
    format!("{message}.{}", BASE64URL_NOPAD.encode(&signature))
}

#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn make() -> Vec<Case> {
    const NOW: u64 = known::NOW_MS;
    const SECONDS: u64 = NOW / 1000;
    let audience = broker_audience(&known::origin());
    let key_id = known::key(known::HOPP).id().to_string();
    let issued = |principal: &str, secret: u8, audience: &str| {
        let principal = Principal::parse(principal).unwrap();
        Issuer::new(principal, &known::key(secret)).issue(audience, Timestamp::from_millis(NOW))
    };
    let at = |token: &str, secret: u8, audience: &str, now: u64| {
        let key = hex(known::key(secret).public().as_bytes());
        json!({ "token": token, "public_key": key, "audience": audience, "now_ms": now })
    };
    let good = issued("partners/hopp", known::HOPP, &audience);
    let now = |token: &str| at(token, known::HOPP, &audience, NOW);
    let header = |text: &str| text.replace("KID", &key_id);
    let right_header = header(r#"{"typ":"countersign+jwt","alg":"EdDSA","kid":"KID"}"#);
    let claims = |issued: u64, expires: u64| {
        format!(r#"{{"iss":"partners/hopp","aud":"{audience}","iat":{issued},"exp":{expires}}}"#)
    };
    let right_claims = claims(SECONDS, SECONDS + 300);
    let with_header = |text: &str| now(&signed(&header(text), &right_claims));
    let with_claims = |claims: &str| now(&signed(&right_header, claims));
    let (customer, broker) = (known::customer(), audience.clone());
    let mut bent = good.clone().into_bytes();
    let place = bent.len() - 10;
    bent[place] = if bent[place] == b'A' { b'B' } else { b'A' };
    let bent = String::from_utf8(bent).unwrap();
    // The last of 86 characters carries two bits; the other four must be zero.
    let last = good.chars().last().unwrap();
    let loose = format!("{}{}", &good[..good.len() - 1], char::from(last as u8 + 1));
    vec![
        Case::good("partner", "A partner calls the broker.", now(&good)),
        Case::good("by-hand", "The same, put together by hand: members may stand in any order.", {
            now(&signed(&header(r#"{"kid":"KID","alg":"EdDSA","typ":"countersign+jwt"}"#), &right_claims))
        }),
        Case::good("customer", "A customer calls the broker.", {
            at(&issued(customer.as_str(), known::CUSTOMER, &audience), known::CUSTOMER, &audience, NOW)
        }),
        Case::good("broker", "The broker calls a source.", {
            let token = issued(&broker, known::BROKER, "partners/skylark");
            at(&token, known::BROKER, "partners/skylark", NOW)
        }),
        Case::good("last-moment", "A millisecond before it expires.", {
            at(&good, known::HOPP, &audience, NOW + 299_999)
        }),
        Case::good("clock-ahead", "Its maker's clock runs 30 s ahead.", {
            at(&good, known::HOPP, &audience, NOW - 30_000)
        }),
        Case::bad(
            "expired",
            "At the very moment.",
            "expired",
            at(&good, known::HOPP, &audience, NOW + 300_000),
        ),
        Case::bad("future", "31 s ahead.", "future", at(&good, known::HOPP, &audience, NOW - 31_000)),
        Case::bad("another-audience", "For another broker.", "audience", {
            at(&good, known::HOPP, "brokers/other.test/log", NOW)
        }),
        Case::bad("source-audience", "A token for the broker, shown to a source.", "audience", {
            at(&good, known::HOPP, "partners/skylark", NOW)
        }),
        Case::bad("too-long", "Good for 301 s.", "too_long", with_claims(&claims(SECONDS, SECONDS + 301))),
        Case::bad(
            "backwards",
            "It expires before it is issued.",
            "too_long",
            with_claims(&claims(SECONDS, SECONDS - 1)),
        ),
        Case::bad("no-end", "Times whose milliseconds don't fit 64 bits.", "malformed", {
            with_claims(&claims(SECONDS, u64::MAX))
        }),
        Case::bad("another-key", "Signed by the recipient, checked with the source's key.", "signature", {
            at(&good, known::SKYLARK, &audience, NOW)
        }),
        Case::bad("bent", "One character of the signature.", "signature", now(&bent)),
        Case::bad(
            "loose-base64",
            "Unused bits of the last character that are not zero.",
            "signature",
            now(&loose),
        ),
        Case::bad("no-signature", "An empty third part.", "signature", {
            now(&format!("{}.", good.rsplit_once('.').unwrap().0))
        }),
        Case::bad("swapped-claims", "The claims of another token under this signature.", "signature", {
            let parts: Vec<&str> = good.split('.').collect();
            let other = BASE64URL_NOPAD.encode(claims(SECONDS, SECONDS + 200).as_bytes());
            now(&[parts[0], &other, parts[2]].join("."))
        }),
        Case::bad(
            "plain-jwt",
            "The type of any JWT.",
            "malformed",
            with_header(r#"{"typ":"JWT","alg":"EdDSA","kid":"KID"}"#),
        ),
        Case::bad("no-type", "No type.", "malformed", with_header(r#"{"alg":"EdDSA","kid":"KID"}"#)),
        Case::bad(
            "alg-none",
            "No algorithm.",
            "malformed",
            with_header(r#"{"typ":"countersign+jwt","alg":"none","kid":"KID"}"#),
        ),
        Case::bad("alg-hs256", "A MAC whose secret would be the public key.", "malformed", {
            with_header(r#"{"typ":"countersign+jwt","alg":"HS256","kid":"KID"}"#)
        }),
        Case::bad(
            "no-kid",
            "No key id.",
            "malformed",
            with_header(r#"{"typ":"countersign+jwt","alg":"EdDSA"}"#),
        ),
        Case::bad("bad-kid", "A key id that is no thumbprint.", "malformed", {
            with_header(r#"{"typ":"countersign+jwt","alg":"EdDSA","kid":"1"}"#)
        }),
        Case::bad(
            "no-issuer",
            "Nobody calls.",
            "malformed",
            with_claims(&right_claims.replace("iss", "sub")),
        ),
        Case::bad("bad-issuer", "An issuer that is no principal.", "malformed", {
            with_claims(&right_claims.replace("partners/hopp", "hopp"))
        }),
        Case::bad("no-expiry", "No end.", "malformed", with_claims(&right_claims.replace("exp", "nbf"))),
        Case::bad("list-of-audiences", "Two audiences: a token is for one.", "malformed", {
            with_claims(&right_claims.replace(&format!("\"{audience}\""), &format!("[\"{audience}\",\"x\"]")))
        }),
        Case::bad("text-times", "Times as text.", "malformed", {
            with_claims(&right_claims.replace(&SECONDS.to_string(), &format!("\"{SECONDS}\"")))
        }),
        Case::bad("two-parts", "No third part.", "malformed", now(good.rsplit_once('.').unwrap().0)),
        Case::bad("four-parts", "A fourth part.", "malformed", now(&format!("{good}.x"))),
        Case::bad("too-large", "1,025 characters.", "malformed", now(&"x".repeat(1_025))),
        Case::bad("empty", "Nothing.", "malformed", now("")),
    ]
}
