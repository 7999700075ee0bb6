//! Resource names, each its own type. A name that parses is a name that can be used as a key.

use std::fmt;

use crate::{digest::Digest, key::KeyId};

/// The shortest and longest id that an operator gives to a partner or an auditor.
const GIVEN_ID_CHARS: std::ops::RangeInclusive<usize> = 2..=32;

/// A subject handle's random part: 16 bytes in lower-case hex.
const SUBJECT_ID_CHARS: usize = 32;

/// A name that is not of its resource's form.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not of the form `{form}`")]
pub struct NotAName {
    /// What came, cut to a length that fits a message.
    pub given: String,
    /// The form.
    pub form: &'static str,
}

impl NotAName {
    fn new(given: &str, form: &'static str) -> Self {
        /// Enough to recognise a name by; more would let a caller fill logs.
        const SHOWN_CHARS: usize = 96;
        Self { given: given.chars().take(SHOWN_CHARS).collect(), form }
    }
}

fn is_given_id(id: &str) -> bool {
    GIVEN_ID_CHARS.contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !id.starts_with('-')
        && !id.ends_with('-')
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl $name {
            /// The whole resource name.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
    };
}

macro_rules! given_name {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $form:literal) => {
        name!($(#[$doc])* $name);

        impl $name {
            /// Reads the whole name.
            pub fn parse(name: &str) -> Result<Self, NotAName> {
                match name.strip_prefix($prefix) {
                    Some(id) if is_given_id(id) => Ok(Self(name.to_owned())),
                    _ => Err(NotAName::new(name, $form)),
                }
            }

            /// Makes the name of an id.
            pub fn of_id(id: &str) -> Result<Self, NotAName> {
                Self::parse(&format!(concat!($prefix, "{}"), id))
            }

            /// The last segment.
            pub fn id(&self) -> &str {
                &self.0[$prefix.len()..]
            }
        }
    };
}

macro_rules! digest_name {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, $form:literal) => {
        name!($(#[$doc])* $name);

        impl $name {
            /// Reads the whole name.
            pub fn parse(name: &str) -> Result<Self, NotAName> {
                match name.strip_prefix($prefix).and_then(Digest::from_hex) {
                    Some(_) => Ok(Self(name.to_owned())),
                    None => Err(NotAName::new(name, $form)),
                }
            }

            /// The name of the resource whose statement has this digest.
            pub fn of(digest: Digest) -> Self {
                Self(format!(concat!($prefix, "{}"), digest))
            }

            /// The digest of the statement.
            pub fn digest(&self) -> Digest {
                Digest::from_hex(&self.0[$prefix.len()..]).expect("the name was parsed or made of a digest")
            }
        }
    };
}

given_name!(
    /// `partners/{partner}`: a brand.
    PartnerName, "partners/", "partners/{partner}: 2 to 32 of a-z, 0-9 and inner `-`"
);
given_name!(
    /// `auditors/{auditor}`.
    AuditorName, "auditors/", "auditors/{auditor}: 2 to 32 of a-z, 0-9 and inner `-`"
);
given_name!(
    /// `operators/{operator}`.
    OperatorName, "operators/", "operators/{operator}: 2 to 32 of a-z, 0-9 and inner `-`"
);
digest_name!(
    /// `offers/{offer}`: SHA-256 of the offer.
    OfferName, "offers/", "offers/{offer}: 64 of 0-9 and a-f"
);
digest_name!(
    /// `links/{link}`: SHA-256 of the invitation.
    LinkName, "links/", "links/{link}: 64 of 0-9 and a-f"
);
digest_name!(
    /// `grantRequests/{request}`: SHA-256 of the request.
    RequestName, "grantRequests/", "grantRequests/{request}: 64 of 0-9 and a-f"
);
digest_name!(
    /// `grants/{grant}`: SHA-256 of the terms.
    GrantName, "grants/", "grants/{grant}: 64 of 0-9 and a-f"
);
digest_name!(
    /// `catalogues/{version}`: SHA-256 of the document.
    CatalogueName, "catalogues/", "catalogues/{version}: 64 of 0-9 and a-f"
);

name!(
    /// `customers/{customer}`: the thumbprint of the customer's key.
    CustomerName
);

impl CustomerName {
    const PREFIX: &'static str = "customers/";

    /// Reads the whole name.
    pub fn parse(name: &str) -> Result<Self, NotAName> {
        match name.strip_prefix(Self::PREFIX).map(KeyId::parse) {
            Some(Ok(_)) => Ok(Self(name.to_owned())),
            _ => Err(NotAName::new(name, "customers/{customer}: the 43 characters of a key's thumbprint")),
        }
    }

    /// The name of the customer with this key.
    pub fn of(key: &KeyId) -> Self {
        Self(format!("{}{key}", Self::PREFIX))
    }
}

/// `partners/{partner}/subjects/{subject}`: the random name by which one partner knows one customer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubjectHandle {
    name: String,
    partner: PartnerName,
}

impl SubjectHandle {
    /// Reads the whole name.
    pub fn parse(name: &str) -> Result<Self, NotAName> {
        let bad = || NotAName::new(name, "partners/{partner}/subjects/{subject}: 32 of 0-9 and a-f");
        let (partner, subject) = name.split_once("/subjects/").ok_or_else(bad)?;
        let partner = PartnerName::parse(partner).map_err(|_| bad())?;
        let hex = subject.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if subject.len() != SUBJECT_ID_CHARS || !hex {
            return Err(bad());
        }
        Ok(Self { name: name.to_owned(), partner })
    }

    /// The handle made of 16 random bytes.
    pub fn of(partner: &PartnerName, random: [u8; 16]) -> Self {
        let name = format!("{partner}/subjects/{}", data_encoding::HEXLOWER.encode(&random));
        Self { name, partner: partner.clone() }
    }

    /// The whole resource name.
    pub fn as_str(&self) -> &str {
        &self.name
    }

    /// Whose handle it is.
    pub fn partner(&self) -> &PartnerName {
        &self.partner
    }
}

impl fmt::Display for SubjectHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

/// The origin of a broker's log: a schema-less URL such as `broker.example/log`, which also names the broker.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(String);

impl Origin {
    /// The longest origin: it stands in every statement and checkpoint.
    pub const MAX_CHARS: usize = 128;

    /// Reads an origin: printable ASCII without spaces and `+`, as key names in signed notes ask.
    pub fn parse(origin: &str) -> Result<Self, NotAName> {
        let good = origin.bytes().all(|b| b.is_ascii_graphic() && b != b'+');
        if origin.is_empty() || origin.len() > Self::MAX_CHARS || !good {
            return Err(NotAName::new(
                origin,
                "a log's origin: 1 to 128 visible ASCII characters without `+`",
            ));
        }
        Ok(Self(origin.to_owned()))
    }

    /// The origin.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whoever signs a token.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Principal {
    /// A brand.
    Partner(PartnerName),
    /// A person.
    Customer(CustomerName),
    /// A reader of the log.
    Auditor(AuditorName),
    /// Who runs the broker.
    Operator(OperatorName),
    /// The broker, when it calls a source: `brokers/{origin}`.
    Broker(Origin),
}

impl Principal {
    const BROKER_PREFIX: &'static str = "brokers/";

    /// Reads a principal's resource name.
    pub fn parse(name: &str) -> Result<Self, NotAName> {
        let form = "the name of a partner, customer, auditor, operator or broker";
        let bad = |_| NotAName::new(name, form);
        match name.split_once('/').map(|(collection, _)| collection) {
            Some("partners") => PartnerName::parse(name).map(Self::Partner).map_err(bad),
            Some("customers") => CustomerName::parse(name).map(Self::Customer).map_err(bad),
            Some("auditors") => AuditorName::parse(name).map(Self::Auditor).map_err(bad),
            Some("operators") => OperatorName::parse(name).map(Self::Operator).map_err(bad),
            Some("brokers") => {
                Origin::parse(&name[Self::BROKER_PREFIX.len()..]).map(Self::Broker).map_err(bad)
            }
            _ => Err(NotAName::new(name, form)),
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Partner(name) => name.fmt(f),
            Self::Customer(name) => name.fmt(f),
            Self::Auditor(name) => name.fmt(f),
            Self::Operator(name) => name.fmt(f),
            Self::Broker(origin) => write!(f, "{}{origin}", Self::BROKER_PREFIX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &str, good: bool) {
        assert_eq!(Principal::parse(name).is_ok(), good, "{name}");
        if good {
            assert_eq!(Principal::parse(name).expect("checked").to_string(), name);
        }
    }

    #[test]
    fn principals_read_back_as_written() {
        check("partners/skylark", true);
        check("partners/Skylark", false);
        check("partners/-a", false);
        check("partners/a-", false);
        check("partners/a-1", true);
        check("partners/a_1", false);
        check("partners/a", false);
        check("partners/skylark/subjects/1", false);
        check("customers/NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs", true);
        check("customers/short", false);
        check("auditors/ministry", true);
        check("operators/root", true);
        check("brokers/broker.example/log", true);
        check("brokers/", false);
        check("", false);
        check("é/x", false);
    }

    #[test]
    fn origins_are_visible_ascii_of_a_bounded_length() {
        let check = |origin: &str, good: bool| {
            let found = Origin::parse(origin);
            assert_eq!(found.as_ref().map(Origin::as_str).ok(), good.then_some(origin), "{origin}");
        };
        check("broker.example/log", true);
        check(&"x".repeat(Origin::MAX_CHARS), true);
        check(&"x".repeat(Origin::MAX_CHARS + 1), false);
        check("", false);
        check("a b", false);
        check("a+b", false);
        check("a\nb", false);
        check("é", false);
    }

    #[test]
    fn subject_handles_are_random_hex_of_one_partner() {
        let partner = PartnerName::of_id("hopp").expect("an id");
        let handle = SubjectHandle::of(&partner, [7; 16]);
        assert_eq!(SubjectHandle::parse(handle.as_str()), Ok(handle.clone()));
        assert_eq!(handle.partner(), &partner);
        assert_eq!(handle.to_string(), format!("partners/hopp/subjects/{}", "07".repeat(16)));
        for bad in ["partners/hopp/subjects/07", "partners/hopp", "partners/hopp/subjects/zz", "x/subjects/y"]
        {
            assert!(SubjectHandle::parse(bad).is_err(), "{bad}");
        }
    }
}
