//! Every way a call can fail, and whose fault it is. What a caller reads of it is in its `status`.

mod status;

use std::time::Duration;

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

pub use status::DOMAIN;

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
        /// The check that failed, for machines.
        check: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// Somebody else may do this.
    #[error("only {needs} may do this")]
    CallerNotAllowed {
        /// Who may.
        needs: &'static str,
    },
    /// A page of another address, which the operator has not let call.
    #[error("pages of `{origin}` may not call: the operator lets them by naming it in `companion.origins`")]
    OriginNotAllowed {
        /// The page's origin, as its browser says.
        origin: String,
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
    #[error("`{partner}` is suspended: it talks to the operator, and its customers come back later")]
    PartnerSuspended {
        /// Who.
        partner: String,
    },
    /// Nobody can be reached at this partner.
    #[error("`{partner}` has no contact number: set one first")]
    ContactMissing {
        /// Who.
        partner: String,
    },
    /// A partner that no second operator approved yet takes no part.
    #[error("`{partner}` is {state}, and not live: talk to the operator")]
    PartnerNotLive {
        /// Who.
        partner: String,
        /// How far it came.
        state: &'static str,
    },
    /// The customer refused this partner, and it asks again too soon.
    #[error("the customer refused you: don't ask before {} s have passed", retry_after.as_secs())]
    AskCooldown {
        /// When it may ask again.
        retry_after: Duration,
    },
    /// A customer whose root secret is in other hands does nothing.
    #[error("the customer's keys were reported stolen: link anew with new ones")]
    CustomerStolen,
    /// A link gives way once nothing hangs on it.
    #[error("`{grant}` still hangs on `{link}`: revoke it first")]
    GrantsStand {
        /// The link that shall give way.
        link: String,
        /// One of the grants.
        grant: String,
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
        Self::TokenInvalid { check: error.check(), problem: error.to_string() }
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
