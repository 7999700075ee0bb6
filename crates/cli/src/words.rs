//! Times, durations and records in words.

use std::time::Duration;

use countersign_client::{
    customer::{Compared, SincePreview},
    grants::{
        catalogue::{Catalogue, FieldPath},
        lifecycle::ABANDONED,
        statement::ChangeReason,
        time::Timestamp,
    },
    proto::log::v1::{Kind, Record, Result as Outcome},
};
use data_encoding::HEXLOWER;
use serde_json::{Value, json};

/// A moment for machines: RFC 3339 in UTC.
pub(crate) fn rfc3339(time: Timestamp) -> String {
    let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX).to_string()
}

/// A moment for people: in this machine's time zone.
pub(crate) fn moment(time: Timestamp) -> String {
    let millis = i64::try_from(time.as_millis()).unwrap_or(i64::MAX);
    let time = jiff::Timestamp::from_millisecond(millis).unwrap_or(jiff::Timestamp::MAX);
    time.to_zoned(jiff::tz::TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S %Z").to_string()
}

/// Reads a moment: RFC 3339.
pub(crate) fn read_moment(text: &str) -> Result<Timestamp, String> {
    let time: jiff::Timestamp =
        text.parse().map_err(|error| format!("{error}; write 2013-03-08T17:05:00Z"))?;
    Ok(Timestamp::from_millis(u64::try_from(time.as_millisecond()).map_err(|_| "lies before 1970")?))
}

/// A duration in its largest whole unit.
pub(crate) fn duration(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (count, unit) = match seconds {
        0 => return "no time".to_owned(),
        s if s % 86_400 == 0 && s >= 2 * 86_400 => (s / 86_400, "day"),
        s if s % 3_600 == 0 => (s / 3_600, "hour"),
        s if s % 60 == 0 => (s / 60, "minute"),
        s => (s, "second"),
    };
    counted(count, unit)
}

/// `1 hour`, `2 hours`.
pub(crate) fn counted(count: u64, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// A field as people read it: its title in the catalogue.
pub(crate) fn field(catalogue: &Catalogue, path: &FieldPath, language: &str) -> String {
    let title = catalogue.field(path.as_str()).map(|field| field.titles().or_english(language));
    title.map_or_else(|| path.to_string(), |title| format!("{title} ({path})"))
}

/// A value as people read it; bytes that are no text, in hexadecimal.
pub(crate) fn value(value: &countersign_client::Value) -> String {
    value.as_str().map_or_else(|| HEXLOWER.encode(value.as_bytes()), str::to_owned)
}

/// What a first transfer moved, held against what was previewed.
pub(crate) fn compared(compared: &Compared) -> String {
    if compared.as_previewed() {
        return "as previewed".to_owned();
    }
    let list = |stand| compared.fields_that(stand).map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let (changed, unseen) = (list(SincePreview::Changed), list(SincePreview::NotPreviewed));
    let said = [("changed since the preview: ", changed), ("not previewed: ", unseen)];
    let said = said.into_iter().filter(|(_, list)| !list.is_empty());
    said.map(|(what, list)| format!("{what}{list}")).collect::<Vec<_>>().join("; ")
}

/// The same, for machines.
pub(crate) fn compared_json(compared: &Compared) -> Value {
    let list = |stand| compared.fields_that(stand).map(ToString::to_string).collect::<Vec<_>>();
    json!({
        "as_previewed": list(SincePreview::AsPreviewed),
        "changed": list(SincePreview::Changed),
        "not_previewed": list(SincePreview::NotPreviewed),
    })
}

/// `TRANSFER`.
pub(crate) fn kind(kind: Kind) -> &'static str {
    kind.as_str_name().trim_start_matches("KIND_")
}

/// Reads `TRANSFER`, `transfer` or `KIND_TRANSFER`.
pub(crate) fn read_kind(text: &str) -> Result<Kind, String> {
    let upper = text.to_ascii_uppercase().replace('-', "_");
    let name = if upper.starts_with("KIND_") { upper } else { format!("KIND_{upper}") };
    Kind::from_str_name(&name).filter(|kind| *kind != Kind::Unspecified).ok_or_else(|| {
        format!("`{text}` is no kind of record; TRANSFER, TRANSFER_REFUSED, GRANT_APPROVED … are")
    })
}

/// A record in one sentence; `fields` are those that it moved, for those who may know.
pub(crate) fn sentence(record: &Record, fields: &[String]) -> String {
    let (source, recipient) = (short(&record.source), short(&record.recipient));
    let purpose = &record.purpose;
    let what = if fields.is_empty() { "data".to_owned() } else { fields.join(", ") };
    match record.kind() {
        Kind::Transfer => {
            let again = if record.result() == Outcome::Repeated { " again" } else { "" };
            format!(
                "{recipient} received {what} from {source}{again} for {purpose} (use {})",
                record.use_number
            )
        }
        Kind::Previewed => format!("{source} showed the customer what it would give for {purpose}: {what}"),
        Kind::TransferRefused => {
            format!("{recipient} asked {source} for {what} and was refused: {}", record.reason)
        }
        Kind::ProvidedNotReleased => format!("{source} gave data for {recipient} that was never released"),
        Kind::GrantApproved => format!("approved: {source} → {recipient} for {purpose}"),
        Kind::GrantPaused => format!("paused: {source} → {recipient} for {purpose}"),
        Kind::GrantResumed => format!("resumed: {source} → {recipient} for {purpose}"),
        Kind::GrantWithdrawn => format!("stopped: {source} → {recipient} for {purpose}"),
        Kind::GrantSuperseded => {
            format!("replaced by a newer revision: {source} → {recipient} for {purpose} ({})", record.reason)
        }
        Kind::GrantSuspended => {
            format!("suspended by {source}: {source} → {recipient} for {purpose} ({})", record.reason)
        }
        Kind::GrantUnsuspended => {
            format!("no longer suspended by {source}: {source} → {recipient} for {purpose}")
        }
        Kind::GrantRevoked => {
            format!("revoked by a brand: {source} → {recipient} for {purpose} ({})", record.reason)
        }
        Kind::GrantSuspendedByOperator => {
            format!("suspended by an operator: {source} → {recipient} for {purpose} ({})", record.reason)
        }
        Kind::GrantUnsuspendedByOperator => {
            format!("no longer suspended by an operator: {source} → {recipient} for {purpose}")
        }
        Kind::GrantRevokedByOperator => {
            format!("revoked by an operator: {source} → {recipient} for {purpose} ({})", record.reason)
        }
        Kind::GrantExpiring => format!("ends before long: {source} → {recipient} for {purpose}"),
        Kind::LinkReplaced => format!("the link with {source} gave way to a new one"),
        Kind::LinkStolen => format!("the link with {source} is over: its keys were reported stolen"),
        Kind::CustomerStolen => {
            "the keys were reported stolen: nothing is done with them any more".to_owned()
        }
        Kind::ErasureOrdered => {
            format!("{recipient} is to delete what it received from {source} for {purpose}")
        }
        Kind::ErasureAttested => {
            format!("{recipient} signed that it deleted what it received from {source} for {purpose}")
        }
        Kind::ErasureOverdue => {
            format!("{recipient} is late to delete what it received from {source} for {purpose}")
        }
        Kind::CustomerErased if record.reason == ABANDONED => {
            "an account was erased on which no link stood any more".to_owned()
        }
        Kind::CustomerErased => "a customer closed the account, and was erased".to_owned(),
        Kind::ScrubOrdered => "an operator had what was removed leave the disk".to_owned(),
        Kind::LocationTapped => format!("tapped: {source} may give {recipient} {what} once"),
        Kind::Acknowledged => format!("acknowledged: {source} → {recipient} for {purpose}"),
        Kind::ChangeNotice => format!("{source} told {recipient} that something changed"),
        kind => {
            let word = self::kind(kind).to_ascii_lowercase().replace('_', " ");
            let parties = [source, recipient].into_iter().filter(|name| !name.is_empty()).collect::<Vec<_>>();
            let reason =
                if record.reason.is_empty() { String::new() } else { format!(": {}", record.reason) };
            if parties.is_empty() {
                format!("{word}{reason}")
            } else {
                format!("{word}: {}{reason}", parties.join(", "))
            }
        }
    }
}

/// A record as JSON, in a shape that stays.
pub(crate) fn record_json(index: u64, record: &Record) -> Value {
    let hex = |bytes: &[u8]| if bytes.is_empty() { Value::Null } else { json!(HEXLOWER.encode(bytes)) };
    let text = |text: &str| if text.is_empty() { Value::Null } else { json!(text) };
    json!({
        "index": index,
        "kind": kind(record.kind()),
        "time": rfc3339(Timestamp::from_millis(record.time_ms)),
        "source": text(&record.source),
        "recipient": text(&record.recipient),
        "purpose": text(&record.purpose),
        "catalogue_version": hex(&record.catalogue_version),
        "result": text(record.result().as_str_name().trim_start_matches("RESULT_").trim_start_matches("UNSPECIFIED")),
        "reason": text(&record.reason),
        "grant_tag": hex(&record.grant_tag),
        "grant_sequence": record.grant_sequence,
        "use_number": record.use_number,
        "record_id": hex(&record.record_id),
        "subject_commitment": hex(&record.subject_commitment),
        "fields_commitment": hex(&record.fields_commitment),
        "evidence_commitment": hex(&record.evidence_commitment),
    })
}

/// What to do about a row whose side is not linked yet.
pub(crate) fn link_first(partner: &str) -> String {
    format!(
        "you are not linked with {partner}: take an invitation from its own app, run `countersign link accept`, and come \
         back to this request; it waits"
    )
}

/// Reads a field: `trip.eta`.
pub(crate) fn read_field(text: &str) -> Result<FieldPath, String> {
    FieldPath::parse(text).map_err(|error| error.to_string())
}

/// Reads a rate: uses, and a window in seconds, such as `2/3600`.
pub(crate) fn read_rate(text: &str) -> Result<(u32, Duration), String> {
    let form = || format!("`{text}` is no rate; write uses and seconds, such as 2/3600");
    let (uses, seconds) = text.split_once('/').ok_or_else(form)?;
    let (uses, seconds) = (uses.parse().map_err(|_| form())?, seconds.parse().map_err(|_| form())?);
    if uses == 0 || seconds == 0 { Err(form()) } else { Ok((uses, Duration::from_secs(seconds))) }
}

/// Reads a reason: `security`, `not-needed` or `NOT_NEEDED`.
pub(crate) fn read_reason(text: &str) -> Result<ChangeReason, String> {
    let code = text.to_ascii_uppercase().replace('-', "_");
    let reason = ChangeReason::from_str_name(&format!("CHANGE_REASON_{code}"));
    reason.filter(|reason| *reason != ChangeReason::Unspecified).ok_or_else(|| {
        format!(
            "`{text}` is no reason; security, dispute, wrong-data, not-needed, closed, law and maintenance are"
        )
    })
}

/// `partners/hopp` as `hopp`.
pub(crate) fn short(name: &str) -> &str {
    name.split_once('/').map_or(name, |(_, id)| id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_say_them() {
        let check = |seconds, expected: &str| assert_eq!(duration(Duration::from_secs(seconds)), expected);
        check(0, "no time");
        check(1, "1 second");
        check(90, "90 seconds");
        check(60, "1 minute");
        check(3_600, "1 hour");
        check(86_400, "24 hours");
        check(2_592_000, "30 days");
    }

    #[test]
    fn kinds_and_moments_are_read() {
        for text in ["TRANSFER", "transfer", "KIND_TRANSFER"] {
            assert_eq!(read_kind(text), Ok(Kind::Transfer));
        }
        assert!(read_kind("unspecified").is_err());
        for text in ["not-needed", "NOT_NEEDED", "Not_Needed"] {
            assert_eq!(read_reason(text), Ok(ChangeReason::NotNeeded));
        }
        assert_eq!(read_rate("2/3600"), Ok((2, Duration::from_secs(3_600))));
        assert!(["2", "0/60", "2/0", "two/60"].into_iter().all(|text| read_rate(text).is_err()));
        assert!(read_reason("unspecified").is_err() && read_reason("because").is_err());
        assert_eq!(read_moment("2013-03-08T00:00:00Z").map(Timestamp::as_millis), Ok(1_362_700_800_000));
        assert_eq!(rfc3339(Timestamp::from_millis(1_362_700_800_000)), "2013-03-08T00:00:00Z");
        assert!(read_moment("yesterday").is_err());
    }
}
