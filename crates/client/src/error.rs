//! Errors by whose fault they are: the broker's considered no, somebody's misbehaviour, the network's, the caller's, and
//! one's own book's.

use std::{collections::BTreeMap, fmt, time::Duration};

use bytes::Bytes;
use countersign_grants::{envelope::StatementError, id::PartnerName, statement::KeyError};
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::book::BookError;

/// The domain of the API's reasons.
pub const ERROR_DOMAIN: &str = "countersign";

/// Why a call of the SDK did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The broker, or through it the source, says no, and why.
    #[error(transparent)]
    Refused(Box<Refused>),
    /// Somebody handed over what does not verify. Nothing of it was used.
    #[error(transparent)]
    Misbehaved(Box<Misbehaved>),
    /// There was no answer. Whether the call had an effect is not known.
    #[error("the broker can't be reached: {detail}")]
    Unreachable {
        /// What the network says.
        detail: String,
    },
    /// The caller asked for what can't be.
    #[error(transparent)]
    Misuse(Misuse),
    /// The log has shown two faces. Every later call fails with this too, until a person has looked.
    #[error(transparent)]
    LogForked(Box<LogForked>),
    /// The book can't be read or written.
    #[error(transparent)]
    Book(BookError),
}

/// A refusal, as the API words it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The gRPC code.
    pub code: Code,
    /// The reason that a machine can match, such as `GRANT_ENDED`; empty if the answer carried none.
    pub reason: String,
    /// Every value that the message names.
    pub metadata: BTreeMap<String, String>,
    /// For people.
    pub message: String,
    /// When to come again, if the answer says so.
    pub retry_after: Option<Duration>,
}

/// A check that failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{who} handed over what does not verify: {what}: `{check}`: {detail}. Nothing of it was used: {}", .who.remedy())]
pub struct Misbehaved {
    /// Whose word it was.
    pub who: Party,
    /// What was checked, such as `provision`.
    pub what: &'static str,
    /// The check that failed, in a stable word.
    pub check: &'static str,
    /// For people.
    pub detail: String,
}

/// Whose word does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Party {
    /// The broker's.
    Broker,
    /// A partner's.
    Partner(PartnerName),
    /// The customer's, or that of somebody who poses as the customer.
    Customer,
}

/// What the caller asked that can't be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misuse {
    /// A name or a value is not of its form.
    #[error("`{what}`: {problem}")]
    Malformed {
        /// Which argument.
        what: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// No such thing stands in the book.
    #[error("`{name}` is not in the book")]
    Unknown {
        /// What was asked for.
        name: String,
    },
    /// The thing stands in the book and does not allow this.
    #[error("`{name}`: {problem}")]
    NotNow {
        /// What was asked for.
        name: String,
        /// Why not.
        problem: &'static str,
    },
    /// The code does not open the acceptance.
    #[error("the code does not open the acceptance; {tries_left} tries are left")]
    WrongCode {
        /// How many tries are left; with none the invitation is gone.
        tries_left: u8,
    },
    /// The certificate is not for this identity, partner or key.
    #[error("the working key's certificate: {problem}")]
    Certificate {
        /// What is wrong with it.
        problem: String,
    },
    /// The broker's address can't be used.
    #[error("the address `{address}`: {problem}")]
    Address {
        /// The address.
        address: String,
        /// What is wrong with it.
        problem: String,
    },
}

/// Two checkpoints that one log signed and that can't both be true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogForked {
    /// The one that this side had proven.
    pub ours: Bytes,
    /// The one that came.
    pub theirs: Bytes,
}

impl fmt::Display for LogForked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the log shows two faces; keep the book, and show both checkpoints to the others. Ours:\n",
        )?;
        write!(f, "{}Theirs:\n{}", String::from_utf8_lossy(&self.ours), String::from_utf8_lossy(&self.theirs))
    }
}

impl std::error::Error for LogForked {}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.reason.is_empty() {
            write!(f, "refused: {:?}: {}", self.code, self.message)
        } else {
            write!(f, "refused: {}: {}", self.reason, self.message)
        }
    }
}

impl std::error::Error for Refused {}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broker => f.write_str("the broker"),
            Self::Partner(name) => name.fmt(f),
            Self::Customer => f.write_str("the customer"),
        }
    }
}

impl Party {
    /// What to do about a word of theirs that does not hold.
    fn remedy(&self) -> &'static str {
        match self {
            Self::Broker => "keep this line with your book, and show both to an auditor of the log",
            Self::Partner(_) => {
                "ask them by another way than through the broker, which may have bent it on its way"
            }
            Self::Customer => {
                "take it for nobody's; the customer can say in your own app whether it is theirs"
            }
        }
    }
}

impl Error {
    /// The reason of a refusal.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Refused(refused) => Some(&refused.reason),
            _ => None,
        }
    }

    /// Whether the same call may succeed a little later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused(refused) => matches!(refused.code, Code::Unavailable | Code::DeadlineExceeded),
            Self::Misbehaved(_) | Self::Misuse(_) | Self::LogForked(_) | Self::Book(_) => false,
        }
    }

    /// Whether the broker judged what was asked and says no. A call that was turned away for its token, or for coming too
    /// soon, was never looked at, and one that failed within the broker may have been carried out: what it asked, or an
    /// earlier one, may stand all the same.
    pub(crate) fn is_no(&self) -> bool {
        let Self::Refused(refused) = self else { return false };
        match refused.code {
            Code::Unauthenticated | Code::Internal | Code::Unknown => false,
            // Where no time helps it is a limit of the thing itself.
            Code::ResourceExhausted => refused.retry_after.is_none(),
            _ => !self.is_transient(),
        }
    }

    /// Whether this side does nothing more until a person has looked: the log has two faces, or the book can't be written.
    pub(crate) fn halts(&self) -> bool {
        matches!(self, Self::LogForked(_) | Self::Book(_))
    }

    /// Whether the broker refused for what passes without this side doing anything else: an operator has suspended it, or
    /// its clock, or the broker's, is wrong.
    pub(crate) fn is_for_now(&self) -> bool {
        let Self::Refused(refused) = self else { return false };
        match refused.reason.as_str() {
            "PARTNER_SUSPENDED" | "TOKEN_INVALID" => true,
            "STATEMENT_INVALID" => refused.metadata.get("check").is_some_and(|check| check == "time"),
            _ => false,
        }
    }

    pub(crate) fn misbehaved(
        who: Party,
        what: &'static str,
        check: &'static str,
        detail: impl Into<String>,
    ) -> Self {
        Self::Misbehaved(Box::new(Misbehaved { who, what, check, detail: detail.into() }))
    }

    pub(crate) fn bad_statement(who: Party, what: &'static str, error: &StatementError) -> Self {
        Self::misbehaved(who, what, error.check(), error.to_string())
    }

    pub(crate) fn bad_key(who: Party, what: &'static str, error: &KeyError) -> Self {
        Self::misbehaved(who, what, error.check(), error.to_string())
    }

    pub(crate) fn malformed(what: &'static str, problem: impl fmt::Display) -> Self {
        Self::Misuse(Misuse::Malformed { what, problem: problem.to_string() })
    }
}

impl From<BookError> for Error {
    fn from(error: BookError) -> Self {
        Self::Book(error)
    }
}

/// An answer that is no success: a refusal if the API's details say so or the code can't come from the network alone.
impl From<Status> for Error {
    fn from(status: Status) -> Self {
        let info = status.get_details_error_info().filter(|info| info.domain == ERROR_DOMAIN);
        let from_network = matches!(
            status.code(),
            // tonic's own timeout shows as `Cancelled`; a connection that breaks as any of the others.
            Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded | Code::Unknown | Code::Internal
        );
        if info.is_none() && from_network {
            let mut detail = format!("{:?}: {}", status.code(), status.message());
            let mut cause = std::error::Error::source(&status);
            while let Some(error) = cause {
                detail.push_str(": ");
                detail.push_str(&error.to_string());
                cause = error.source();
            }
            return Self::Unreachable { detail };
        }
        let retry_after = status.get_details_retry_info().and_then(|info| info.retry_delay);
        let (reason, metadata) = info.map(|info| (info.reason, info.metadata)).unwrap_or_default();
        Self::Refused(Box::new(Refused {
            code: status.code(),
            reason,
            metadata: metadata.into_iter().collect(),
            message: status.message().to_owned(),
            retry_after,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic_types::ErrorDetails;

    #[test]
    fn a_refusal_carries_what_the_details_say() {
        let mut details = ErrorDetails::with_error_info(
            "FREQUENCY_EXCEEDED",
            ERROR_DOMAIN,
            [("grant".to_owned(), "grants/1".to_owned())],
        );
        details.set_retry_info(Some(Duration::from_secs(7)));
        let error = Error::from(Status::with_error_details(Code::ResourceExhausted, "too often", details));
        let Error::Refused(refused) = error else { panic!("{error}") };
        assert_eq!((refused.reason.as_str(), refused.message.as_str()), ("FREQUENCY_EXCEEDED", "too often"));
        assert_eq!(refused.metadata.get("grant").map(String::as_str), Some("grants/1"));
        assert_eq!(refused.retry_after, Some(Duration::from_secs(7)));
    }

    #[test]
    fn only_what_the_broker_judged_is_a_no() {
        let check = |code, retry_after: Option<u64>, expected| {
            let mut details = ErrorDetails::with_error_info("REASON", ERROR_DOMAIN, []);
            details.set_retry_info(retry_after.map(Duration::from_secs));
            let error = Error::from(Status::with_error_details(code, "x", details));
            assert_eq!(error.is_no(), expected, "{error:?}");
        };
        for code in [Code::FailedPrecondition, Code::InvalidArgument, Code::NotFound, Code::PermissionDenied]
        {
            check(code, None, true);
        }
        for code in [Code::Unauthenticated, Code::Internal, Code::Unavailable, Code::DeadlineExceeded] {
            check(code, None, false);
        }
        // Too many calls; too many narrowings of one grant, which no time helps.
        check(Code::ResourceExhausted, Some(1), false);
        check(Code::ResourceExhausted, None, true);
        assert!(!Error::from(Status::unavailable("x")).is_no());
    }

    #[test]
    fn silence_is_no_refusal() {
        for status in [Status::unavailable("x"), Status::cancelled("Timeout expired"), Status::unknown("x")] {
            assert!(matches!(Error::from(status), Error::Unreachable { .. }));
        }
        assert!(matches!(Error::from(Status::unimplemented("x")), Error::Refused(_)));
        let details = ErrorDetails::with_error_info("LOG_UNAVAILABLE", ERROR_DOMAIN, []);
        let error = Error::from(Status::with_error_details(Code::Unavailable, "x", details));
        assert_eq!((error.reason(), error.is_transient()), (Some("LOG_UNAVAILABLE"), true));
    }
}
