//! Every way a call can fail, whose fault it is, and its gRPC status. No other module names a gRPC code.
//!
//! What a caller reads never carries our internals: those go to the trace. Every value in a message is also in the
//! `metadata` of its `ErrorInfo`, for machines.

use std::{collections::HashMap, time::Duration};

use countersign_grants::{
    envelope::StatementError,
    id::PartnerName,
    lifecycle::{BadRow, NotAllowed},
    permit::Refusal,
    statement::{KeyError, Malformed},
    token::TokenError,
};
use countersign_ledger::{ProofError, SubmitError};
use countersign_store::ReadError;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

/// The domain of every `ErrorInfo`.
pub const DOMAIN: &str = "countersign";

/// How long a caller is told to wait when the log's queue is full: it drains within a few commits of milliseconds.
const BUSY_WAIT: Duration = Duration::from_secs(1);

/// Why a call fails.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    // The caller's misuse.
    /// A field of the request is missing or not of its form.
    #[error("`{field}`: {problem}")]
    FieldInvalid {
        /// The field, as a path in the request.
        field: &'static str,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// A signed statement does not hold.
    #[error("the {statement} is refused: {problem}")]
    StatementInvalid {
        /// Which statement.
        statement: &'static str,
        /// The check that failed, for machines.
        check: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The token does not say who calls.
    #[error("{problem}")]
    TokenInvalid {
        /// What is wrong.
        problem: String,
    },
    /// Somebody else may do this.
    #[error("only {needs} may do this")]
    CallerNotAllowed {
        /// Who may.
        needs: &'static str,
    },
    /// One answer for an unknown subject, no link, and no grant, so that nobody can probe.
    #[error("there is no such grant")]
    GrantUnknown,
    /// Absent, to somebody who may know that.
    #[error("there is no `{name}`")]
    ResourceUnknown {
        /// What was asked for.
        name: String,
    },
    /// The name is taken.
    #[error("`{name}` exists already")]
    AlreadyExists {
        /// The name.
        name: String,
    },
    /// The same request id with other bytes.
    #[error("the request id `{request_id}` was used for another request: use a new one")]
    RequestIdReused {
        /// The id.
        request_id: String,
    },
    /// The resource is in a state that does not allow the verb.
    #[error("`{name}` is {state}, which does not allow to {verb} it")]
    WrongState {
        /// The resource.
        name: String,
        /// Its state.
        state: String,
        /// What was asked.
        verb: &'static str,
    },
    /// The invitation was accepted before.
    #[error("the invitation `{name}` was used: ask for a new one")]
    InvitationUsed {
        /// The link.
        name: String,
    },
    /// The invitation lapsed.
    #[error("the invitation `{name}` lapsed at {expire_time_ms} ms: ask for a new one")]
    InvitationExpired {
        /// The link.
        name: String,
        /// When, in Unix milliseconds.
        expire_time_ms: u64,
    },
    /// A row needs a confirmed link that the customer does not have.
    #[error("the customer has no confirmed link `{link}`: link first")]
    LinkMissing {
        /// Which.
        link: String,
    },

    // Policy's refusal.
    /// A suspended partner neither sends nor receives.
    #[error("`{partner}` is suspended: talk to the operator")]
    PartnerSuspended {
        /// Who.
        partner: String,
    },
    /// The catalogue does not allow the offer.
    #[error("the offer is outside the catalogue: `{field}` {problem}")]
    OfferNotAllowed {
        /// The offer's field.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// The fetch was judged and refused.
    #[error(transparent)]
    Refused(Refusal),
    /// Too much of something.
    #[error("the quota of {quota} is used up")]
    QuotaExceeded {
        /// Of what.
        quota: &'static str,
        /// When to come again, if ever.
        retry_after: Option<Duration>,
    },

    // A peer's misbehaviour.
    /// The source can't be reached, or is too slow.
    #[error("the source `{source_name}` can't be reached: back off")]
    SourceUnavailable {
        /// Who.
        source_name: PartnerName,
        /// What happened, for the trace.
        problem: String,
    },
    /// The source refuses, by its own book.
    #[error("the source `{source_name}` refuses ({source_reason}): contact it")]
    SourceRefused {
        /// Who.
        source_name: PartnerName,
        /// The source's reason.
        source_reason: String,
    },
    /// The source's answer does not hold.
    #[error("the source `{source_name}` answered wrongly ({check}): contact it")]
    SourceMisbehaved {
        /// Who.
        source_name: PartnerName,
        /// The check that failed.
        check: &'static str,
    },

    // Our failure.
    /// Without a log nothing moves.
    #[error("the log is not available: back off")]
    LogUnavailable {
        /// What happened, for the trace.
        problem: String,
    },
    /// The store can't be read.
    #[error("the log is not available: back off")]
    StoreUnavailable(ReadError),
    /// Too many at once.
    #[error("too busy: back off")]
    Overloaded {
        /// When to come again.
        retry_after: Duration,
    },
    /// The call took longer than it may.
    #[error("the call took longer than its deadline")]
    DeadlineExceeded,
    /// Others kept changing what this call rests on.
    #[error("others kept changing `{row}`: try again")]
    Contended {
        /// The row that was changed, for the trace and the caller alike.
        row: &'static str,
    },

    // Our bug.
    /// What can't be has been.
    #[error("an internal error: tell the operator")]
    Bug {
        /// What, for the trace.
        what: &'static str,
    },
    /// A stored row or record does not read.
    #[error("an internal error: tell the operator")]
    Damaged {
        /// Which, for the trace.
        what: String,
    },
}

impl Fault {
    /// A field of the request is missing or not of its form.
    pub fn field(field: &'static str, problem: impl std::fmt::Display) -> Self {
        Self::FieldInvalid { field, problem: problem.to_string() }
    }

    /// A statement that does not verify.
    pub fn statement(statement: &'static str, error: &StatementError) -> Self {
        Self::StatementInvalid { statement, check: error.check(), problem: error.to_string() }
    }

    /// A statement by a partner that does not verify.
    pub fn key(statement: &'static str, error: &KeyError) -> Self {
        Self::StatementInvalid { statement, check: error.check(), problem: error.to_string() }
    }

    /// A statement that verifies, and says what it must not.
    pub fn says(statement: &'static str, check: &'static str, problem: impl std::fmt::Display) -> Self {
        Self::StatementInvalid { statement, check, problem: problem.to_string() }
    }

    /// A transition that the lifecycle does not have.
    pub fn not_allowed(name: impl std::fmt::Display, error: NotAllowed) -> Self {
        Self::WrongState { name: name.to_string(), state: error.state.to_owned(), verb: error.verb }
    }

    /// An offer outside the catalogue.
    pub fn offer(error: Malformed) -> Self {
        Self::OfferNotAllowed { field: error.field, problem: error.problem }
    }

    /// A token that does not hold.
    pub fn token(error: &TokenError) -> Self {
        Self::TokenInvalid { problem: error.to_string() }
    }

    /// The reason that a machine can match.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::FieldInvalid { .. } => "FIELD_INVALID",
            Self::StatementInvalid { .. } => "STATEMENT_INVALID",
            Self::TokenInvalid { .. } => "TOKEN_INVALID",
            Self::CallerNotAllowed { .. } => "CALLER_NOT_ALLOWED",
            Self::GrantUnknown => "GRANT_UNKNOWN",
            Self::ResourceUnknown { .. } => "RESOURCE_UNKNOWN",
            Self::AlreadyExists { .. } => "ALREADY_EXISTS",
            Self::RequestIdReused { .. } => "REQUEST_ID_REUSED",
            Self::WrongState { .. } => "WRONG_STATE",
            Self::InvitationUsed { .. } => "INVITATION_USED",
            Self::InvitationExpired { .. } => "INVITATION_EXPIRED",
            Self::LinkMissing { .. } => "LINK_MISSING",
            Self::PartnerSuspended { .. } => "PARTNER_SUSPENDED",
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
            Self::CallerNotAllowed { .. } | Self::PartnerSuspended { .. } => Code::PermissionDenied,
            Self::GrantUnknown | Self::ResourceUnknown { .. } => Code::NotFound,
            Self::AlreadyExists { .. } => Code::AlreadyExists,
            Self::WrongState { .. }
            | Self::InvitationUsed { .. }
            | Self::InvitationExpired { .. }
            | Self::LinkMissing { .. }
            | Self::OfferNotAllowed { .. }
            | Self::SourceRefused { .. }
            | Self::SourceMisbehaved { .. } => Code::FailedPrecondition,
            Self::Refused(refusal) => refusal_code(refusal),
            Self::QuotaExceeded { .. } => Code::ResourceExhausted,
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
            Self::Overloaded { retry_after } => Some(*retry_after),
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
            Self::PartnerSuspended { partner } => vec![("partner", partner.clone())],
            Self::Refused(refusal) => refusal_metadata(refusal),
            Self::QuotaExceeded { quota, .. } => vec![("quota", (*quota).to_owned())],
            Self::SourceUnavailable { source_name, .. } => vec![("source", source_name.to_string())],
            Self::SourceRefused { source_name, source_reason } => {
                vec![("source", source_name.to_string()), ("source_reason", source_reason.clone())]
            }
            Self::SourceMisbehaved { source_name, check } => {
                vec![("source", source_name.to_string()), ("check", (*check).to_owned())]
            }
            Self::Contended { row } => vec![("row", (*row).to_owned())],
            Self::TokenInvalid { .. }
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
        Refusal::Paused | Refusal::Suspended => Code::FailedPrecondition,
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

impl From<ReadError> for Fault {
    fn from(error: ReadError) -> Self {
        Self::StoreUnavailable(error)
    }
}

impl From<SubmitError> for Fault {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Invalid(bound) => Self::Damaged { what: format!("a unit of ours: {bound}") },
            SubmitError::Overloaded => Self::Overloaded { retry_after: BUSY_WAIT },
            SubmitError::Unreadable(error) => Self::StoreUnavailable(error),
            SubmitError::Unavailable => Self::LogUnavailable { problem: error.to_string() },
        }
    }
}

impl From<ProofError> for Fault {
    fn from(error: ProofError) -> Self {
        Self::LogUnavailable { problem: error.to_string() }
    }
}

impl From<BadRow> for Fault {
    fn from(row: BadRow) -> Self {
        Self::Damaged { what: row.to_string() }
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
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
