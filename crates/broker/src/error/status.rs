//! A fault as its gRPC status. No other module names a gRPC code.
//!
//! What a caller reads never carries our internals: those go to the trace. Every value in a message is also in the
//! `metadata` of its `ErrorInfo`, for machines.

use std::{collections::HashMap, time::Duration};

use countersign_grants::permit::Refusal;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::Fault;

/// The domain of every `ErrorInfo`.
pub const DOMAIN: &str = "countersign";

impl From<Fault> for Status {
    fn from(fault: Fault) -> Self {
        fault.trace();
        let mut details = ErrorDetails::with_error_info(fault.reason(), DOMAIN, fault.metadata());
        if let Fault::FieldInvalid { field, problem } = &fault {
            details.add_bad_request_violation(*field, problem.clone());
        }
        if let Some(after) = fault.retry_after() {
            details.set_retry_info(Some(after));
        }
        Status::with_error_details(fault.code(), fault.to_string(), details)
    }
}

impl Fault {
    /// The reason that a machine can match.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::FieldInvalid { .. } => "FIELD_INVALID",
            Self::StatementInvalid { .. } => "STATEMENT_INVALID",
            Self::TokenInvalid { .. } => "TOKEN_INVALID",
            Self::CallerNotAllowed { .. } => "CALLER_NOT_ALLOWED",
            Self::OriginNotAllowed { .. } => "ORIGIN_NOT_ALLOWED",
            Self::GrantUnknown => "GRANT_UNKNOWN",
            Self::ResourceUnknown { .. } => "RESOURCE_UNKNOWN",
            Self::AlreadyExists { .. } => "ALREADY_EXISTS",
            Self::RequestIdReused { .. } => "REQUEST_ID_REUSED",
            Self::WrongState { .. } => "WRONG_STATE",
            Self::InvitationUsed { .. } => "INVITATION_USED",
            Self::InvitationExpired { .. } => "INVITATION_EXPIRED",
            Self::LinkMissing { .. } => "LINK_MISSING",
            Self::PartnerSuspended { .. } => "PARTNER_SUSPENDED",
            Self::PartnerNotLive { .. } => "PARTNER_NOT_LIVE",
            Self::ContactMissing { .. } => "CONTACT_MISSING",
            Self::AskCooldown { .. } => "ASK_COOLDOWN",
            Self::CustomerStolen => "CUSTOMER_STOLEN",
            Self::GrantsStand { .. } => "GRANTS_STAND",
            Self::OfferNotAllowed { .. } => "OFFER_NOT_ALLOWED",
            Self::Refused(refusal) => refusal.reason(),
            Self::QuotaExceeded { .. } => "QUOTA_EXCEEDED",
            Self::SourceUnavailable { .. } => "SOURCE_UNAVAILABLE",
            Self::SourceRefused { .. } => "SOURCE_REFUSED",
            Self::SourceMisbehaved { .. } => "SOURCE_MISBEHAVED",
            Self::LogUnavailable { .. } | Self::StoreUnavailable(_) => "LOG_UNAVAILABLE",
            Self::Overloaded { .. } | Self::Contended { .. } => "OVERLOADED",
            Self::DeadlineExceeded => "DEADLINE_EXCEEDED",
            Self::Bug { .. } | Self::Damaged { .. } => "INTERNAL",
        }
    }

    fn code(&self) -> Code {
        match self {
            Self::FieldInvalid { .. } | Self::StatementInvalid { .. } | Self::RequestIdReused { .. } => {
                Code::InvalidArgument
            }
            Self::TokenInvalid { .. } => Code::Unauthenticated,
            Self::CallerNotAllowed { .. }
            | Self::OriginNotAllowed { .. }
            | Self::PartnerSuspended { .. }
            | Self::PartnerNotLive { .. }
            | Self::CustomerStolen => Code::PermissionDenied,
            Self::GrantUnknown | Self::ResourceUnknown { .. } => Code::NotFound,
            Self::AlreadyExists { .. } => Code::AlreadyExists,
            Self::WrongState { .. }
            | Self::InvitationUsed { .. }
            | Self::InvitationExpired { .. }
            | Self::LinkMissing { .. }
            | Self::ContactMissing { .. }
            | Self::GrantsStand { .. }
            | Self::OfferNotAllowed { .. }
            | Self::SourceRefused { .. }
            | Self::SourceMisbehaved { .. } => Code::FailedPrecondition,
            Self::Refused(refusal) => refusal_code(refusal),
            Self::QuotaExceeded { .. } | Self::AskCooldown { .. } => Code::ResourceExhausted,
            Self::SourceUnavailable { .. }
            | Self::LogUnavailable { .. }
            | Self::StoreUnavailable(_)
            | Self::Overloaded { .. }
            | Self::Contended { .. } => Code::Unavailable,
            Self::DeadlineExceeded => Code::DeadlineExceeded,
            Self::Bug { .. } | Self::Damaged { .. } => Code::Internal,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused(Refusal::FrequencyExceeded { retry_after })
            | Self::QuotaExceeded { retry_after, .. } => *retry_after,
            Self::Overloaded { retry_after } | Self::AskCooldown { retry_after } => Some(*retry_after),
            _ => None,
        }
    }

    fn metadata(&self) -> HashMap<String, String> {
        let pairs: Vec<(&str, String)> = match self {
            Self::FieldInvalid { field, .. } => vec![("field", (*field).to_owned())],
            Self::OfferNotAllowed { field, problem } => {
                vec![("field", (*field).to_owned()), ("problem", problem.clone())]
            }
            Self::StatementInvalid { statement, check, .. } => {
                vec![("statement", (*statement).to_owned()), ("check", (*check).to_owned())]
            }
            Self::CallerNotAllowed { needs } => vec![("needs", (*needs).to_owned())],
            Self::OriginNotAllowed { origin } => vec![("origin", origin.clone())],
            Self::ResourceUnknown { name } | Self::AlreadyExists { name } | Self::InvitationUsed { name } => {
                vec![("name", name.clone())]
            }
            Self::RequestIdReused { request_id } => vec![("request_id", request_id.clone())],
            Self::WrongState { name, state, verb } => {
                vec![("name", name.clone()), ("state", state.clone()), ("verb", (*verb).to_owned())]
            }
            Self::InvitationExpired { name, expire_time_ms } => {
                vec![("name", name.clone()), ("expire_time_ms", expire_time_ms.to_string())]
            }
            Self::LinkMissing { link } => vec![("link", link.clone())],
            Self::PartnerSuspended { partner } | Self::ContactMissing { partner } => {
                vec![("partner", partner.clone())]
            }
            Self::PartnerNotLive { partner, state } => {
                vec![("partner", partner.clone()), ("state", (*state).to_owned())]
            }
            Self::GrantsStand { link, grant } => vec![("link", link.clone()), ("grant", grant.clone())],
            Self::Refused(refusal) => refusal_metadata(refusal),
            Self::AskCooldown { retry_after } => {
                vec![("retry_after_seconds", retry_after.as_secs().to_string())]
            }
            Self::QuotaExceeded { quota, .. } => vec![("quota", (*quota).to_owned())],
            Self::SourceUnavailable { source_name, .. } => vec![("source", source_name.to_string())],
            Self::SourceRefused { source_name, source_reason } => {
                vec![("source", source_name.to_string()), ("source_reason", source_reason.clone())]
            }
            Self::SourceMisbehaved { source_name, check } => {
                vec![("source", source_name.to_string()), ("check", (*check).to_owned())]
            }
            Self::Contended { row } => vec![("row", (*row).to_owned())],
            Self::TokenInvalid { check, .. } => vec![("check", (*check).to_owned())],
            Self::CustomerStolen
            | Self::GrantUnknown
            | Self::LogUnavailable { .. }
            | Self::StoreUnavailable(_)
            | Self::Overloaded { .. }
            | Self::DeadlineExceeded
            | Self::Bug { .. }
            | Self::Damaged { .. } => vec![],
        };
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    /// What must not leave the house, said to the trace.
    fn trace(&self) {
        match self {
            Self::LogUnavailable { problem } => tracing::error!(problem, "the log is not available"),
            Self::StoreUnavailable(error) => tracing::error!(%error, "the store can't be read"),
            Self::Bug { what } => tracing::error!(what, "a bug"),
            Self::Damaged { what } => tracing::error!(what, "a stored row or record does not read"),
            Self::SourceUnavailable { source_name, problem } => {
                tracing::warn!(source = %source_name, problem, "a source can't be reached");
            }
            Self::SourceMisbehaved { source_name, check } => {
                tracing::warn!(source = %source_name, check, "a source answered wrongly");
            }
            Self::Contended { row } => tracing::warn!(row, "a call gave up after too many conflicts"),
            _ => tracing::debug!(reason = self.reason(), "{self}"),
        }
    }
}

fn refusal_code(refusal: &Refusal) -> Code {
    match refusal {
        Refusal::Unknown => Code::NotFound,
        Refusal::RecipientSuspended
        | Refusal::Ended { .. }
        | Refusal::PurposeNotAllowed { .. }
        | Refusal::FieldNotGranted { .. } => Code::PermissionDenied,
        Refusal::SourceSuspended => Code::Unavailable,
        Refusal::Paused | Refusal::Suspended | Refusal::TapRequired { .. } => Code::FailedPrecondition,
        Refusal::FrequencyExceeded { .. } => Code::ResourceExhausted,
        Refusal::Stale { .. } => Code::InvalidArgument,
    }
}

fn refusal_metadata(refusal: &Refusal) -> Vec<(&'static str, String)> {
    match refusal {
        Refusal::Unknown
        | Refusal::RecipientSuspended
        | Refusal::SourceSuspended
        | Refusal::Paused
        | Refusal::Suspended => vec![],
        Refusal::Ended { state } => vec![("state", state.as_str_name().to_owned())],
        Refusal::PurposeNotAllowed { granted, asked } => {
            vec![("granted", granted.clone()), ("asked", asked.clone())]
        }
        Refusal::FieldNotGranted { field } => vec![("field", field.clone())],
        Refusal::TapRequired { field, problem } => {
            vec![("field", field.clone()), ("problem", problem.clone())]
        }
        Refusal::FrequencyExceeded { retry_after } => {
            retry_after.iter().map(|after| ("retry_after_seconds", after.as_secs().to_string())).collect()
        }
        Refusal::Stale { said, now } => vec![
            ("statement", "fetch".to_owned()),
            ("check", "time".to_owned()),
            ("said_ms", said.as_millis().to_string()),
            ("now_ms", now.as_millis().to_string()),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(fault: Fault, code: Code, reason: &str, shown: &[(&str, &str)]) {
        let message = fault.to_string();
        let status = Status::from(fault);
        assert_eq!(status.code(), code, "{message}");
        let info = status.get_details_error_info().expect("every fault has an ErrorInfo");
        assert_eq!((info.reason.as_str(), info.domain.as_str()), (reason, DOMAIN));
        for (key, value) in shown {
            assert_eq!(info.metadata.get(*key).map(String::as_str), Some(*value), "{message}");
        }
    }

    #[test]
    fn each_side_reads_what_it_can_act_on() {
        check(
            Fault::field("page_size", "must not be negative"),
            Code::InvalidArgument,
            "FIELD_INVALID",
            &[("field", "page_size")],
        );
        check(Fault::GrantUnknown, Code::NotFound, "GRANT_UNKNOWN", &[]);
        check(Fault::Refused(Refusal::Unknown), Code::NotFound, "GRANT_UNKNOWN", &[]);
        check(
            Fault::WrongState { name: "grants/x".into(), state: "WITHDRAWN".into(), verb: "pause" },
            Code::FailedPrecondition,
            "WRONG_STATE",
            &[("state", "WITHDRAWN"), ("verb", "pause")],
        );
        check(
            Fault::Refused(Refusal::FieldNotGranted { field: "trip.fare".into() }),
            Code::PermissionDenied,
            "FIELD_NOT_GRANTED",
            &[("field", "trip.fare")],
        );
    }

    #[test]
    fn unknown_and_refused_as_unknown_are_the_same_bytes() {
        let (one, two) = (Status::from(Fault::GrantUnknown), Status::from(Fault::Refused(Refusal::Unknown)));
        assert_eq!((one.code(), one.message(), one.details()), (two.code(), two.message(), two.details()));
    }

    #[test]
    fn internals_stay_inside() {
        let status = Status::from(Fault::Damaged { what: "grant row of a secret".into() });
        assert!(!status.message().contains("secret"));
        let details = String::from_utf8_lossy(status.details()).into_owned();
        assert!(!details.contains("secret"));
    }

    #[test]
    fn waiting_is_said_in_retry_info() {
        let after = Duration::from_secs(9);
        let status = Status::from(Fault::Refused(Refusal::FrequencyExceeded { retry_after: Some(after) }));
        assert_eq!(status.get_details_retry_info().and_then(|info| info.retry_delay), Some(after));
        let spent = Status::from(Fault::Refused(Refusal::FrequencyExceeded { retry_after: None }));
        assert!(spent.get_details_retry_info().is_none());
    }
}
