//! The filter of `ListLogEntries`: conditions joined by `AND`, a subset of AIP-160. What is not in it is refused, so that
//! no condition is ever ignored.

use std::ops::Range;

use countersign_grants::{catalogue::PurposeCode, id::PartnerName};
use countersign_proto::log::v1::{Kind, Record};

/// The longest filter: every condition once, with names of full length.
const MAX_FILTER_BYTES: usize = 1_024;

/// What an auditor asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    /// A side of the record.
    pub(super) partner: Option<PartnerName>,
    /// The purpose.
    pub(super) purpose: Option<String>,
    /// What happened.
    pub(super) kind: Option<Kind>,
    /// Why it was refused.
    pub(super) reason: Option<String>,
    /// When, in Unix milliseconds.
    pub(super) time_ms: Range<u64>,
    /// Where.
    pub(super) index: Range<u64>,
}

impl Default for Filter {
    fn default() -> Self {
        let all = 0..u64::MAX;
        Self { partner: None, purpose: None, kind: None, reason: None, time_ms: all.clone(), index: all }
    }
}

impl Filter {
    /// Reads a filter; says what is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_FILTER_BYTES {
            return Err(format!("is longer than {MAX_FILTER_BYTES} bytes"));
        }
        let mut filter = Self::default();
        let mut rest = text.trim();
        if rest.is_empty() {
            return Ok(filter);
        }
        let mut seen = Vec::new();
        loop {
            let (condition, after) = Condition::read(rest)?;
            let place = (condition.field, condition.operator);
            if seen.contains(&place) {
                return Err(format!("has `{} {}` twice", condition.field, condition.operator));
            }
            seen.push(place);
            filter.add(&condition)?;
            if after.is_empty() {
                return Ok(filter);
            }
            rest = match after.strip_prefix("AND") {
                Some(more) if more.starts_with(char::is_whitespace) => more.trim_start(),
                _ => return Err(format!("has `{}` where `AND` belongs", shown(after))),
            };
        }
    }

    /// Whether a record meets all conditions but those on its index.
    pub(crate) fn takes(&self, record: &Record) -> bool {
        let partner =
            |name: &PartnerName| name.as_str() == record.source || name.as_str() == record.recipient;
        self.partner.as_ref().is_none_or(partner)
            && self.purpose.as_ref().is_none_or(|purpose| *purpose == record.purpose)
            && self.kind.is_none_or(|kind| kind == record.kind())
            && self.reason.as_ref().is_none_or(|reason| *reason == record.reason)
            && self.time_ms.contains(&record.time_ms)
    }

    fn add(&mut self, condition: &Condition<'_>) -> Result<(), String> {
        let Condition { field, operator, value, quoted } = *condition;
        match (field, operator, quoted) {
            ("partner", "=", true) => {
                self.partner = Some(PartnerName::parse(value).map_err(|error| error.to_string())?);
            }
            ("purpose", "=", true) => {
                self.purpose =
                    Some(PurposeCode::parse(value).map_err(|error| error.to_string())?.to_string());
            }
            ("kind", "=", false) => self.kind = Some(kind(value)?),
            ("reason", "=", true) => self.reason = Some(value.to_owned()),
            ("time", ">=", true) => self.time_ms.start = time(value)?,
            ("time", "<", true) => self.time_ms.end = time(value)?,
            ("index", ">=", false) => self.index.start = number(value)?,
            ("index", "<", false) => self.index.end = number(value)?,
            ("partner" | "purpose" | "reason" | "time", _, false) => {
                return Err(format!("`{field}` takes its value in double quotes"));
            }
            ("kind" | "index", _, true) => return Err(format!("`{field}` takes its value without quotes")),
            ("partner" | "purpose" | "reason" | "kind", ..) => {
                return Err(format!("`{field}` can be compared by `=` alone"));
            }
            ("time" | "index", ..) => return Err(format!("`{field}` can be compared by `>=` and `<` alone")),
            _ => {
                let field = shown(field);
                return Err(format!(
                    "has `{field}`; it can have partner, purpose, kind, reason, time, index"
                ));
            }
        }
        Ok(())
    }
}

#[derive(Clone, Copy)]
struct Condition<'a> {
    field: &'a str,
    operator: &'a str,
    value: &'a str,
    quoted: bool,
}

impl<'a> Condition<'a> {
    /// Reads one condition; returns what follows it, without leading white space.
    fn read(text: &'a str) -> Result<(Self, &'a str), String> {
        let (field, rest) = split(text, |c: char| c.is_ascii_alphanumeric() || c == '_');
        if field.is_empty() {
            return Err(format!("has `{}` where a field belongs", shown(text)));
        }
        let (operator, rest) = split(rest.trim_start(), |c: char| matches!(c, '=' | '<' | '>' | '!' | ':'));
        if operator.is_empty() {
            return Err(format!("has no comparison after `{}`", shown(field)));
        }
        let rest = rest.trim_start();
        let (value, quoted, rest) = if let Some(inside) = rest.strip_prefix('"') {
            let end = || "has a quote without its end".to_owned();
            let (value, rest) = inside.split_once('"').ok_or_else(end)?;
            if value.contains('\\') {
                return Err("has a backslash; no value needs one".to_owned());
            }
            (value, true, rest)
        } else {
            let (value, rest) = split(rest, |c: char| c.is_ascii_alphanumeric() || c == '_');
            if value.is_empty() {
                return Err(format!("has no value after `{} {operator}`", shown(field)));
            }
            (value, false, rest)
        };
        Ok((Self { field, operator, value, quoted }, rest.trim_start()))
    }
}

fn split(text: &str, inside: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c: char| !inside(c)).unwrap_or(text.len()))
}

/// `KIND_TRANSFER`, or without its prefix.
fn kind(text: &str) -> Result<Kind, String> {
    let full = if text.starts_with("KIND_") { text.to_owned() } else { format!("KIND_{text}") };
    match Kind::from_str_name(&full) {
        Some(Kind::Unspecified) | None => Err(format!("has the kind `{}`, which is none", shown(text))),
        Some(kind) => Ok(kind),
    }
}

fn time(text: &str) -> Result<u64, String> {
    let moment: jiff::Timestamp =
        text.parse().map_err(|_| format!("has the time `{}`, which is not RFC 3339", shown(text)))?;
    u64::try_from(moment.as_millisecond()).map_err(|_| "has a time before 1970".to_owned())
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("has the index `{}`, which is no number", shown(text)))
}

fn shown(text: &str) -> String {
    /// Enough to find the place by.
    const SHOWN_CHARS: usize = 32;
    text.chars().take(SHOWN_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<Filter, &str>) {
        match expected {
            Ok(filter) => assert_eq!(Filter::parse(text), Ok(filter), "{text}"),
            Err(part) => {
                let error = Filter::parse(text).expect_err(text);
                assert!(error.contains(part), "{text}: {error}");
            }
        }
    }

    #[test]
    fn each_condition_reads() {
        check("", Ok(Filter::default()));
        check("  ", Ok(Filter::default()));
        let hopp = PartnerName::parse("partners/hopp").expect("a name");
        check(
            r#"partner = "partners/hopp""#,
            Ok(Filter { partner: Some(hopp.clone()), ..Filter::default() }),
        );
        check("kind = TRANSFER", Ok(Filter { kind: Some(Kind::Transfer), ..Filter::default() }));
        check("kind=KIND_TRANSFER", Ok(Filter { kind: Some(Kind::Transfer), ..Filter::default() }));
        check(
            r#"reason = "FIELD_NOT_GRANTED" AND index >= 5 AND index < 9"#,
            Ok(Filter { reason: Some("FIELD_NOT_GRANTED".into()), index: 5..9, ..Filter::default() }),
        );
        check(
            r#"time >= "2013-03-08T12:00:00Z" AND time < "2013-03-08T13:00:00+01:00" AND partner="partners/hopp""#,
            Ok(Filter {
                partner: Some(hopp),
                time_ms: 1_362_744_000_000..1_362_744_000_000,
                ..Filter::default()
            }),
        );
    }

    #[test]
    fn everything_else_is_refused() {
        check("customer = \"x\"", Err("it can have partner"));
        check("partner = \"partners/HOPP\"", Err("partners/{partner}"));
        check("partner = partners/hopp", Err("double quotes"));
        check("partner != \"partners/hopp\"", Err("`=` alone"));
        check("kind = \"TRANSFER\"", Err("without quotes"));
        check("kind = NOTHING", Err("which is none"));
        check("kind = UNSPECIFIED", Err("which is none"));
        check("index > 5", Err("`>=` and `<` alone"));
        check("index >= x", Err("no number"));
        check("index >= 99999999999999999999", Err("no number"));
        check("time >= \"yesterday\"", Err("RFC 3339"));
        check("time >= \"1969-12-31T00:00:00Z\"", Err("before 1970"));
        check("index >= 1 OR index < 5", Err("`AND` belongs"));
        check("index >= 1 ANDindex < 5", Err("`AND` belongs"));
        check("index >= 1 AND", Err("`AND` belongs"));
        check("index >= 1 AND index >= 2", Err("twice"));
        check("index", Err("no comparison"));
        check("index >=", Err("no value"));
        check("reason = \"x", Err("without its end"));
        check("= 1", Err("a field belongs"));
        check(&"x".repeat(2_000), Err("longer"));
        check("é", Err("a field belongs"));
    }

    #[test]
    fn a_record_meets_all_conditions_or_is_left_out() {
        let record = Record {
            kind: Kind::Transfer.into(),
            source: "partners/skylark".into(),
            recipient: "partners/hopp".into(),
            time_ms: 1_000,
            ..Record::default()
        };
        let takes = |text: &str| Filter::parse(text).expect(text).takes(&record);
        assert!(takes(""));
        assert!(takes(r#"partner = "partners/hopp" AND kind = TRANSFER"#));
        assert!(takes(r#"partner = "partners/skylark""#));
        assert!(!takes(r#"partner = "partners/chirp""#));
        assert!(!takes("kind = TRANSFER_REFUSED"));
        assert!(!takes(r#"time < "1970-01-01T00:00:01Z""#));
    }
}
