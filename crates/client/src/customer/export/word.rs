//! What nobody but the broker vouches for: it stands in an export as the API has it, and the manifest says so.

use serde_json::{Map, Value, json};

/// By file, the members of each element that rest on the broker's word alone. All others are verified before they are
/// written, or come from the book.
const BROKERS_WORD: [(&str, &[&str]); 5] = [
    ("customer.json", &["create_time", "asking", "silences"]),
    ("links.json", &["link.state"]),
    (
        "requests.json",
        &[
            "shown",
            "request.state",
            "request.create_time",
            "request.grants",
            "request.shown_time",
            "request.offers.source_display_name",
            "request.offers.recipient_display_name",
        ],
    ),
    (
        "grants.json",
        &[
            "grant.state",
            "grant.use_count",
            "grant.create_time",
            "grant.suspended_by_source",
            "grant.suspended_by_operator",
            "grant.reason",
            "grant.successor",
        ],
    ),
    (
        "events.json",
        &[
            "event.grant",
            "event.grant_request",
            "event.link",
            "event.subject",
            "event.resource",
            "event.successor",
            "event.erase_due_time",
            "event.erased",
            "event.erasure_order",
        ],
    ),
];

/// As the manifest has it.
pub(super) fn brokers_word() -> Value {
    Value::Object(
        BROKERS_WORD
            .iter()
            .map(|(file, members)| ((*file).to_owned(), json!(members)))
            .collect::<Map<_, _>>(),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::customer::export::json::members;

    /// Each member of a message is verified, or is said to be the broker's word: so a new one is not forgotten.
    fn check(file: &str, prefix: &str, message: &str, verified: &[&str]) {
        let (_, word) = BROKERS_WORD.iter().find(|(of, _)| *of == file).expect("a file of the list");
        let told =
            word.iter().filter_map(|member| member.strip_prefix(prefix)).filter(|rest| !rest.contains('.'));
        let told: BTreeSet<&str> = told.chain(verified.iter().copied()).collect();
        let all = members(message);
        assert_eq!(told, all.iter().map(String::as_str).collect(), "{message}");
    }

    #[test]
    fn each_member_is_verified_or_said_to_be_the_brokers_word() {
        check("customer.json", "", "v1.Customer", &["name", "public_key"]);
        let link = [
            "name",
            "partner",
            "subject",
            "invitation",
            "acceptance",
            "confirmation",
            "partner_keys",
            "expire_time",
        ];
        check("links.json", "link.", "v1.Link", &link);
        let request = ["name", "requester", "statement", "partner_key", "offers", "expire_time"];
        check("requests.json", "request.", "v1.GrantRequest", &request);
        check("requests.json", "request.offers.", "v1.GrantRequest.Offer", &["statement", "partner_key"]);
        let by_terms = [
            "name",
            "source",
            "recipient",
            "subject",
            "purpose",
            "fields",
            "use_limit",
            "expire_time",
            "request",
        ];
        let signed = [
            "terms",
            "party_salt",
            "recipient_salt",
            "offer",
            "offer_key",
            "changes",
            "acknowledgements",
            "partner_changes",
            "previous",
        ];
        let erasure = ["erasure_state", "erase_due_time", "erasure_attestation", "erasure_attestation_key"];
        check("grants.json", "grant.", "v1.Grant", &[by_terms.as_slice(), &signed, &erasure].concat());
        let event = [
            "index",
            "kind",
            "event_time",
            "source",
            "recipient",
            "purpose",
            "reason",
            "fields",
            "use_number",
            // Not written there: they stand beside the event, verified.
            "record",
            "statement",
            "statement_key",
            "evidence_salt",
        ];
        check("events.json", "event.", "v1.Event", &event);
    }
}
