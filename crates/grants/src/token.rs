//! Call tokens: short JWTs that a principal signs itself.
//!
//! A token says who calls; the statement in the call says what they meant. The signature is checked apart from
//! the time, so that a cache can hold *that a signature was good* and nothing else.

use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    id::{Origin, Principal},
    key::{KeyId, PublicKey, SigningKey},
    time::Timestamp,
};

/// The longest that a token is good for.
pub const MAX_TOKEN_LIFE: Duration = Duration::from_secs(300);

/// How far ahead of ours the clock of whoever made the token may run.
pub const MAX_CLOCK_AHEAD: Duration = Duration::from_secs(30);

/// The longest token: two names of a hundred characters each and a signature, in base64, twice over.
pub const MAX_TOKEN_BYTES: usize = 1024;

/// The fixed `typ`, so that no other JWT passes for one of these.
const TYPE: &str = "countersign+jwt";

/// PKCS #8 version 1 of an Ed25519 secret key, up to its 32 bytes (RFC 8410).
const PKCS8_PREFIX: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

#[derive(Serialize, Deserialize)]
struct Claims {
    iss: String,
    aud: String,
    iat: u64,
    exp: u64,
}

/// Why a token is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a token of ours at all.
    #[error("the token is malformed: {0}")]
    Malformed(&'static str),
    /// The named key did not sign it.
    #[error("the token's signature does not verify")]
    Signature,
    /// It is for somebody else.
    #[error("the token is for `{found}`, not for `{expected}`")]
    Audience {
        /// Who checks.
        expected: String,
        /// Whom the token names.
        found: String,
    },
    /// It lives longer than a token may.
    #[error("the token is good for longer than {} s", MAX_TOKEN_LIFE.as_secs())]
    TooLong,
    /// Its time is over.
    #[error("the token expired at {at}")]
    Expired {
        /// When.
        at: Timestamp,
    },
    /// It is from the future.
    #[error("the token was issued at {at}, which is still to come: set the clock")]
    Future {
        /// When.
        at: Timestamp,
    },
}

impl TokenError {
    /// The check that failed, in a stable word.
    pub fn check(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "form",
            Self::Signature => "signature",
            Self::Audience { .. } => "aud",
            Self::TooLong => "life",
            Self::Expired { .. } => "exp",
            Self::Future { .. } => "iat",
        }
    }
}

/// Signs tokens for one principal.
pub struct Issuer {
    principal: Principal,
    header: Header,
    key: EncodingKey,
}

impl Issuer {
    /// Signs with this key.
    pub fn new(principal: Principal, key: &SigningKey) -> Self {
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some(TYPE.to_owned());
        header.kid = Some(key.id().as_str().to_owned());
        let mut der = Zeroizing::new(PKCS8_PREFIX.to_vec());
        der.extend_from_slice(key.to_secret().as_slice());
        Self { principal, header, key: EncodingKey::from_ed_der(&der) }
    }

    /// Who signs.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// A token to call `audience` with, good from now on for as long as tokens are.
    pub fn issue(&self, audience: &str, now: Timestamp) -> String {
        let claims = Claims {
            iss: self.principal.to_string(),
            aud: audience.to_owned(),
            iat: now.as_secs(),
            exp: now.as_secs() + MAX_TOKEN_LIFE.as_secs(),
        };
        jsonwebtoken::encode(&self.header, &claims, &self.key)
            .expect("the key is PKCS #8 of 32 bytes, and the claims are strings and numbers")
    }
}

/// The audience of calls to the broker of this log.
pub fn broker_audience(origin: &Origin) -> String {
    Principal::Broker(origin.clone()).to_string()
}

/// A token as it claims to be: read, not verified.
#[derive(Debug)]
pub struct Unverified<'a> {
    text: &'a str,
    issuer: Principal,
    key_id: KeyId,
}

impl<'a> Unverified<'a> {
    /// Reads who claims to call, and under which key.
    pub fn read(text: &'a str) -> Result<Self, TokenError> {
        if text.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Malformed("longer than any token"));
        }
        let header = jsonwebtoken::decode_header(text).map_err(|_| TokenError::Malformed("no JWT header"))?;
        if header.typ.as_deref() != Some(TYPE) {
            return Err(TokenError::Malformed("`typ` is not `countersign+jwt`"));
        }
        if header.alg != Algorithm::EdDSA {
            return Err(TokenError::Malformed("`alg` is not `EdDSA`"));
        }
        let key_id = header
            .kid
            .and_then(|kid| KeyId::parse(&kid).ok())
            .ok_or(TokenError::Malformed("`kid` is not a key's thumbprint"))?;
        let claims: Claims = jsonwebtoken::dangerous::insecure_decode_claims(text)
            .map_err(|_| TokenError::Malformed("needs `iss`, `aud`, `iat` and `exp`"))?;
        let issuer = Principal::parse(&claims.iss)
            .map_err(|_| TokenError::Malformed("`iss` is not a principal's resource name"))?;
        Ok(Self { text, issuer, key_id })
    }

    /// Who claims to call.
    pub fn issuer(&self) -> &Principal {
        &self.issuer
    }

    /// The key that claims to have signed.
    pub fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    /// Checks the signature, and that alone.
    pub fn verify(self, key: &PublicKey) -> Result<Token, TokenError> {
        if key.id() != &self.key_id {
            return Err(TokenError::Signature);
        }
        let mut validation = Validation::new(Algorithm::EdDSA);
        // Time and audience are checked on every call by `Token::check`, against the clock that it is given.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let key = DecodingKey::from_ed_der(key.as_bytes());
        let claims = jsonwebtoken::decode::<Claims>(self.text, &key, &validation)
            .map_err(|_| TokenError::Signature)?
            .claims;
        Ok(Token {
            issuer: self.issuer,
            key_id: self.key_id,
            audience: claims.aud,
            issued: seconds(claims.iat)?,
            expires: seconds(claims.exp)?,
        })
    }
}

fn seconds(seconds: u64) -> Result<Timestamp, TokenError> {
    seconds
        .checked_mul(1000)
        .map(Timestamp::from_millis)
        .ok_or(TokenError::Malformed("`iat` and `exp` are seconds since the epoch"))
}

/// A token whose signature was good. Whether it is good *now* is [`Token::check`]'s to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    issuer: Principal,
    key_id: KeyId,
    audience: String,
    issued: Timestamp,
    expires: Timestamp,
}

impl Token {
    /// Who calls.
    pub fn issuer(&self) -> &Principal {
        &self.issuer
    }

    /// The key that signed.
    pub fn key_id(&self) -> &KeyId {
        &self.key_id
    }

    /// When its time is over.
    pub fn expires(&self) -> Timestamp {
        self.expires
    }

    /// Whether it is good for this audience at this moment.
    pub fn check(&self, audience: &str, now: Timestamp) -> Result<(), TokenError> {
        if self.audience != audience {
            /// Longer than any of our names, and short enough for a message.
            const SHOWN_CHARS: usize = 160;
            let found = self.audience.chars().take(SHOWN_CHARS).collect();
            return Err(TokenError::Audience { expected: audience.to_owned(), found });
        }
        if self.expires.since(self.issued) > MAX_TOKEN_LIFE || self.expires < self.issued {
            return Err(TokenError::TooLong);
        }
        if self.issued > now.plus(MAX_CLOCK_AHEAD) {
            return Err(TokenError::Future { at: self.issued });
        }
        if self.expires <= now {
            return Err(TokenError::Expired { at: self.expires });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::PartnerName;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn issuer(secret: u8) -> (Issuer, PublicKey) {
        let key = SigningKey::from_secret(&[secret; 32]);
        let partner = Principal::Partner(PartnerName::of_id("hopp").expect("an id"));
        (Issuer::new(partner, &key), key.public().clone())
    }

    fn check(audience: &str, now: Timestamp) -> Result<(), TokenError> {
        let (issuer, key) = issuer(1);
        let text = issuer.issue(&broker_audience(&Origin::parse("b.example").expect("an origin")), NOW);
        Unverified::read(&text)?.verify(&key)?.check(audience, now)
    }

    #[test]
    fn good_for_its_audience_and_time() {
        let later = |s| NOW.plus(Duration::from_secs(s));
        assert_eq!(check("brokers/b.example", NOW), Ok(()));
        assert_eq!(check("brokers/b.example", later(299)), Ok(()));
        assert!(matches!(check("brokers/b.example", later(300)), Err(TokenError::Expired { .. })));
        assert!(matches!(check("brokers/c.example", NOW), Err(TokenError::Audience { .. })));
        let early = NOW.minus(Duration::from_secs(31));
        assert!(matches!(check("brokers/b.example", early), Err(TokenError::Future { .. })));
    }

    #[test]
    fn the_time_of_a_token_is_bounded_on_every_side() {
        let at =
            |ms: i64| Timestamp::from_millis(NOW.as_millis().checked_add_signed(ms).expect("within time"));
        let (hopp, key) = issuer(1);
        // A token of these times, in milliseconds from now.
        let check = |from: i64, until: i64, expected: Result<(), TokenError>| {
            let token = Token {
                issuer: hopp.principal().clone(),
                key_id: key.id().clone(),
                audience: "brokers/b.example".to_owned(),
                issued: at(from),
                expires: at(until),
            };
            assert_eq!(token.expires(), at(until));
            assert_eq!(token.check("brokers/b.example", NOW), expected, "{from} to {until}");
        };
        let (life, ahead) = (MAX_TOKEN_LIFE.as_millis() as i64, MAX_CLOCK_AHEAD.as_millis() as i64);
        check(0, life, Ok(()));
        check(0, life + 1, Err(TokenError::TooLong));
        check(-1, life, Err(TokenError::TooLong));
        // A life of nothing is over; one that runs backwards is none.
        check(0, 0, Err(TokenError::Expired { at: NOW }));
        check(2, 1, Err(TokenError::TooLong));
        check(ahead, ahead + 1, Ok(()));
        check(ahead + 1, ahead + 2, Err(TokenError::Future { at: at(ahead + 1) }));
        check(-2, 1, Ok(()));
        check(-2, -1, Err(TokenError::Expired { at: at(-1) }));
    }

    #[test]
    fn another_key_does_not_verify() {
        let (issuer_one, _) = issuer(1);
        let (_, key_two) = issuer(2);
        let text = issuer_one.issue("a", NOW);
        assert_eq!(Unverified::read(&text).expect("reads").verify(&key_two), Err(TokenError::Signature));
        let mut flipped = text.into_bytes();
        let last = flipped.len() - 3;
        flipped[last] = if flipped[last] == b'A' { b'B' } else { b'A' };
        let flipped = String::from_utf8(flipped).expect("ASCII");
        let (_, key_one) = issuer(1);
        assert_eq!(Unverified::read(&flipped).expect("reads").verify(&key_one), Err(TokenError::Signature));
    }

    #[test]
    fn other_tokens_are_no_tokens() {
        let key = SigningKey::from_secret(&[1; 32]);
        let (mut other, _) = issuer(1);
        other.header.typ = Some("JWT".into());
        assert!(matches!(Unverified::read(&other.issue("a", NOW)), Err(TokenError::Malformed(_))));
        let mut nameless = Issuer::new(Principal::Broker(Origin::parse("b").expect("an origin")), &key);
        nameless.header.kid = None;
        assert!(matches!(Unverified::read(&nameless.issue("a", NOW)), Err(TokenError::Malformed(_))));
        for junk in ["", "a.b.c", "é"] {
            assert!(matches!(Unverified::read(junk), Err(TokenError::Malformed(_))), "{junk}");
        }
        let (longer, why) = ("x".repeat(MAX_TOKEN_BYTES + 1), "longer than any token");
        assert!(matches!(Unverified::read(&longer), Err(TokenError::Malformed(said)) if said == why));
        let long = &longer[1..];
        assert!(matches!(Unverified::read(long), Err(TokenError::Malformed(said)) if said != why));
    }
}
