//! Lifecycles: what a grant, a request, an erasure order, a link, an offer and a partner can become.
//!
//! Each is an enum that carries its data. A transition consumes the state and takes the moment as a value; what is
//! not listed is refused with the state and the verb. Expiry and lapse follow from the moment that the caller
//! passes: `at` yields the state in force then, and every transition judges that one. What is stored doesn't change
//! by itself.

mod abandoned;
mod erasure;
mod expiring;
mod grant;
mod identity;
mod link;
mod offer;
mod partner;
mod request;

pub use abandoned::{ABANDONED, ABANDONED_FOR, erased_at};
pub use erasure::{Erasure, MIN_NOTICE};
pub use expiring::{MAX_LEAD, announced_at};
pub use grant::{Allowance, End, Grant, Suspender, Suspension};
pub use identity::{Identity, MAX_AUTHENTICATORS, MAX_CUSTOMER_CHANGES, NotNext};
pub use link::{Link, LinkEnd};
pub use offer::Offer;
pub use partner::{NotApproved, Partner};
pub use request::GrantRequest;

/// A transition that the lifecycle doesn't have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{verb}` is not allowed: the {resource} is {state}")]
pub struct NotAllowed {
    /// What it is: `grant`, `grant request`, `erasure order`, `link`, `offer` or `partner`.
    pub resource: &'static str,
    /// The state in force at that moment, as the API writes it without its prefix: `PAUSED`.
    pub state: &'static str,
    /// What was tried: `resume`.
    pub verb: &'static str,
}

/// A stored row that no lifecycle of ours wrote. Our failure, never the caller's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRow {
    /// The state's number is unknown, or means nothing.
    #[error("a stored {resource} has the state {number}, which is none")]
    UnknownState {
        /// What it is.
        resource: &'static str,
        /// The number.
        number: i32,
    },
    /// Two columns exclude each other.
    #[error("a stored {resource} contradicts itself: {what}")]
    Contradiction {
        /// What it is.
        resource: &'static str,
        /// Which columns, and how.
        what: &'static str,
    },
    /// A name doesn't parse.
    #[error("a stored {resource} has a bad name: {source}")]
    Name {
        /// What it is.
        resource: &'static str,
        /// What is wrong with the name.
        source: crate::id::NotAName,
    },
}

/// `STATE_PAUSED` → `PAUSED`: within one lifecycle the prefix says nothing.
fn bare(api_name: &'static str) -> &'static str {
    let name = api_name.strip_prefix("ERASURE_").unwrap_or(api_name);
    name.strip_prefix("STATE_").unwrap_or(api_name)
}
