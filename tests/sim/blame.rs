//! Which errors an honest party may meet, and by which faults they are excused. Whatever is not listed here is a finding.

use countersign_client::{Error, Misuse};
use tonic::Code;

use crate::plan::{Fault, Plan};

/// Whether an error may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allowed {
    /// Something in this run excuses it.
    Here,
    /// Nothing does.
    Never,
}

/// An error in a stable word or two, for the trace and the counts.
pub(crate) fn word(error: &Error) -> String {
    match error {
        Error::Refused(refused) => {
            let detail = ["check", "source_reason", "state", "quota"]
                .iter()
                .find_map(|key| refused.metadata.get(*key))
                .map_or_else(String::new, |detail| format!("/{detail}"));
            format!("{}{detail}", refused.reason)
        }
        Error::Misbehaved(one) => format!("misbehaved {}/{}", one.what, one.check),
        Error::Unreachable { .. } => "unreachable".to_owned(),
        Error::Misuse(Misuse::NotNow { problem, .. }) => format!("not now: {problem}"),
        Error::Misuse(Misuse::Unknown { .. }) => "unknown".to_owned(),
        Error::Misuse(Misuse::Malformed { what, .. }) => format!("malformed {what}"),
        Error::Misuse(other) => format!("misuse: {other}"),
        Error::LogForked(_) => "log forked".to_owned(),
        Error::Book(_) => "book".to_owned(),
    }
}

/// Whether this run's faults, or its work, excuse an error.
pub(crate) fn judge(plan: &Plan, error: &Error) -> Allowed {
    let excused = match error {
        Error::Unreachable { .. } => plan.breaks_calls(),
        Error::Refused(refused) => {
            refusal(plan, refused.code, &refused.reason, |key| refused.metadata.get(key).map(String::as_str))
        }
        // A record's time against one's own clock.
        Error::Misbehaved(one) => plan.has(Fault::Skew) && is_of_time(one.check),
        Error::Misuse(Misuse::NotNow { .. } | Misuse::Unknown { .. }) => true,
        Error::Misuse(Misuse::Malformed { .. }) => plan.has(Fault::Skew),
        Error::Misuse(_) | Error::LogForked(_) | Error::Book(_) => false,
    };
    if excused { Allowed::Here } else { Allowed::Never }
}

fn refusal<'a>(plan: &Plan, code: Code, reason: &str, metadata: impl Fn(&str) -> Option<&'a str>) -> bool {
    match reason {
        // What the work itself leads to: stops, pauses, limits, refusals, two who do the same, changes of what was signed for a
        // request that was taken back meanwhile, and grants in whose place one with fewer fields stands.
        "ASK_COOLDOWN" | "GRANT_ENDED" | "GRANT_PAUSED" | "GRANT_SUSPENDED" | "TAP_REQUIRED"
        | "FIELD_NOT_GRANTED" | "FREQUENCY_EXCEEDED" | "WRONG_STATE" | "GRANT_UNKNOWN"
        | "INVITATION_USED" | "OVERLOADED" => true,
        "SOURCE_REFUSED" => metadata("source_reason").is_some_and(|said| by_its_book(plan, said)),
        // The customer's request never arrived; nobody answered.
        "ALREADY_EXISTS" | "LOG_UNAVAILABLE" | "DEADLINE_EXCEEDED" => plan.breaks_calls(),
        // Or whoever it is about has left.
        "RESOURCE_UNKNOWN" | "LINK_MISSING" => plan.breaks_calls() || plan.somebody_leaves(),
        // A claim took the id while the recipient was away; or it is late by somebody's clock.
        "REQUEST_ID_REUSED" | "INVITATION_EXPIRED" => plan.breaks_calls() || plan.has(Fault::Skew),
        "SOURCE_UNAVAILABLE" => {
            plan.breaks_calls() || plan.has(Fault::Suspension) || plan.has(Fault::SlowHandler)
        }
        "PARTNER_SUSPENDED" => plan.has(Fault::Suspension),
        // Who has left is a stranger.
        "TOKEN_INVALID" => {
            plan.has(Fault::Skew) || (plan.somebody_leaves() && metadata("check") == Some("principal"))
        }
        // A source whose clock is set while it answers signs another time than it was asked at.
        "STATEMENT_INVALID" | "SOURCE_MISBEHAVED" => {
            plan.has(Fault::Skew) && metadata("check").is_some_and(is_of_time)
        }
        _ => code == Code::DeadlineExceeded && plan.breaks_calls(),
    }
}

/// What a source may answer by its own book.
fn by_its_book(plan: &Plan, reason: &str) -> bool {
    match reason {
        "GRANT_ENDED" | "GRANT_PAUSED" | "GRANT_SUSPENDED" | "TAP_REQUIRED" | "FREQUENCY_EXCEEDED" => true,
        "RECEIPT_MISSING" => plan.breaks_calls(),
        "REQUEST_ID_REUSED" => plan.breaks_calls() || plan.has(Fault::Skew),
        "STATEMENT_INVALID" | "TOKEN_INVALID" => plan.has(Fault::Skew),
        _ => false,
    }
}

fn is_of_time(check: &str) -> bool {
    check.contains("time") || check.contains("expire") || check.contains("fresh")
}
