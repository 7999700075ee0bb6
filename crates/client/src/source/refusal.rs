//! Why a source does not provide, and how that looks to the broker.

use std::{collections::HashMap, time::Duration};

use countersign_grants::{digest::Digest, permit, time::Timestamp, token::TokenError};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use crate::{
    book::BookError,
    error::{ERROR_DOMAIN, Error},
};

/// Why a handler has no values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProvideError {
    /// The subject has no such data, such as a traveller without a trip.
    #[error("there is no such data")]
    NotFound,
    /// Not now. The recipient will come again.
    #[error("the data can't be had now: {0}")]
    Unavailable(String),
}

/// Why a call is refused.
#[derive(Debug)]
pub(super) enum Refusal {
    /// There is no token, or it is no good.
    Token(Option<TokenError>),
    /// A token of somebody else than the broker.
    NotTheBroker { caller: String },
    /// A statement fails a check.
    Statement { statement: &'static str, check: &'static str, detail: String },
    /// The grant is paused.
    Paused,
    /// This source suspends the grant.
    Suspended,
    /// The grant is over: how.
    Ended { how: &'static str },
    /// The fetch asks for more than the terms grant.
    Exceeds(permit::Refusal),
    /// Another fetch came under this request id.
    RequestIdReused,
    /// The customer looked too often lately.
    TooManyPreviews { lately: usize },
    /// A receipt has been missing for too long.
    ReceiptMissing { fetch: Digest, since: Timestamp },
    /// The log has forked, or its consistency is not proven.
    Halted(Error),
    /// The handler has no values.
    Handler(ProvideError),
    /// The handler took too long.
    HandlerSlow,
    /// The handler broke its contract.
    HandlerWrong(String),
    /// Something on this side.
    Ours(String),
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        match error {
            Error::Misbehaved(one) => {
                Self::Statement { statement: one.what, check: one.check, detail: one.detail }
            }
            error @ Error::LogForked(_) => Self::Halted(error),
            error @ (Error::Refused(_) | Error::Unreachable { .. } | Error::Misuse(_) | Error::Book(_)) => {
                Self::Ours(error.to_string())
            }
        }
    }
}

impl From<BookError> for Refusal {
    fn from(error: BookError) -> Self {
        Self::Ours(error.to_string())
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let (code, reason, message, metadata, retry) = refusal.parts();
        let metadata: HashMap<String, String> =
            metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        let mut details = ErrorDetails::with_error_info(reason, ERROR_DOMAIN, metadata);
        if retry.is_some() {
            details.set_retry_info(retry);
        }
        Status::with_error_details(code, message, details)
    }
}

type Parts = (Code, &'static str, String, Vec<(&'static str, String)>, Option<Duration>);

impl Refusal {
    fn parts(self) -> Parts {
        let plain = |code, reason, message: String| (code, reason, message, Vec::new(), None);
        match self {
            Self::Token(error) => {
                let detail = error.map_or("there is no token".to_owned(), |error| error.to_string());
                plain(Code::Unauthenticated, "TOKEN_INVALID", detail)
            }
            Self::NotTheBroker { caller } => {
                let message = format!("`{caller}` is not this source's broker");
                (Code::PermissionDenied, "CALLER_NOT_ALLOWED", message, vec![("caller", caller)], None)
            }
            Self::Statement { statement, check, detail } => {
                let metadata = vec![("statement", statement.to_owned()), ("check", check.to_owned())];
                (Code::InvalidArgument, "STATEMENT_INVALID", format!("{statement}: {detail}"), metadata, None)
            }
            Self::Paused => {
                let message = "the customer has paused the grant, or the broker says that it changed and shows no signed change";
                plain(Code::FailedPrecondition, "GRANT_PAUSED", message.into())
            }
            Self::Suspended => {
                let message = "this source suspends the grant: wait for the event";
                plain(Code::FailedPrecondition, "GRANT_SUSPENDED", message.into())
            }
            Self::Ended { how } => {
                let message = format!("the grant has ended ({how})");
                (Code::PermissionDenied, "GRANT_ENDED", message, vec![("state", how.to_owned())], None)
            }
            Self::Exceeds(refusal) => {
                let retry = match &refusal {
                    permit::Refusal::FrequencyExceeded { retry_after } => *retry_after,
                    _ => None,
                };
                let code = match &refusal {
                    permit::Refusal::FrequencyExceeded { .. } => Code::ResourceExhausted,
                    permit::Refusal::TapRequired { .. } => Code::FailedPrecondition,
                    _ => Code::PermissionDenied,
                };
                (code, refusal.reason(), refusal.to_string(), Vec::new(), retry)
            }
            Self::RequestIdReused => {
                let message = "another fetch was answered under this request id".into();
                plain(Code::InvalidArgument, "REQUEST_ID_REUSED", message)
            }
            Self::TooManyPreviews { lately } => {
                let message = format!("{lately} previews within a day: come again tomorrow");
                let metadata = vec![("previews", lately.to_string())];
                (Code::ResourceExhausted, "QUOTA_EXCEEDED", message, metadata, None)
            }
            Self::ReceiptMissing { fetch, since } => {
                let message = format!(
                    "this source is owed the receipt of fetch {fetch} since {since}: it serves this grant again when the \
                     broker shows what became of the data"
                );
                let metadata =
                    vec![("fetch", fetch.to_string()), ("since_ms", since.as_millis().to_string())];
                (Code::FailedPrecondition, "RECEIPT_MISSING", message, metadata, None)
            }
            Self::Halted(error) => {
                plain(Code::FailedPrecondition, "LOG_FORKED", format!("this source has halted: {error}"))
            }
            Self::Handler(error @ ProvideError::NotFound) => {
                plain(Code::NotFound, "RESOURCE_UNKNOWN", error.to_string())
            }
            Self::Handler(error @ ProvideError::Unavailable(_)) => {
                plain(Code::Unavailable, "SOURCE_UNAVAILABLE", error.to_string())
            }
            Self::HandlerSlow => {
                plain(Code::Unavailable, "SOURCE_UNAVAILABLE", "the data did not come in time".into())
            }
            // Internals reach this side's log, and not the caller.
            Self::HandlerWrong(problem) | Self::Ours(problem) => {
                tracing::error!(%problem, "a fetch could not be answered");
                plain(Code::Unavailable, "SOURCE_UNAVAILABLE", "this source can't answer now".into())
            }
        }
    }
}
