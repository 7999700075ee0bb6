//! Permit or refuse: the one place that says whether a fetch may go ahead.
//!
//! A [`Permit`] has no constructor but [`judge`]. The broker commits under it only if the grant is still the version that
//! was judged; the source judges again, by its own book.

use std::time::Duration;

use countersign_proto::v1::grant::State;

use crate::{
    catalogue::{Catalogue, FieldPath, PurposeCode},
    digest::Digest,
    envelope::Signed,
    id::{GrantName, PartnerName},
    lifecycle::Partner,
    statement::{Fetch, FetchError, GrantTerms, LocationTap},
    time::Timestamp,
};

/// What was spent under a grant so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Spent {
    /// Uses in all.
    pub uses: u32,
    /// The window that is open: since when, and how many uses in it.
    pub window: Option<(Timestamp, u32)>,
}

/// Everything that the judgement rests on.
#[derive(Clone, Debug)]
pub struct Case<'a> {
    /// Who calls, by the token.
    pub caller: &'a PartnerName,
    /// What is asked, verified under the caller's key.
    pub fetch: &'a Signed<Fetch>,
    /// What the customer signed.
    pub terms: &'a Signed<GrantTerms>,
    /// The grant's state at `now`, expiry and consumption included.
    pub state: State,
    /// Whether the customer has ordered to delete what was received. What came after that, be it again, would be there to
    /// delete once more.
    pub erasure_ordered: bool,
    /// What was spent so far.
    pub spent: Spent,
    /// The catalogue under which the terms were signed.
    pub catalogue: &'a Catalogue,
    /// The customer's tap, if there is one.
    pub tap: Tapped<'a>,
    /// The source's standing.
    pub source: Partner,
    /// The recipient's standing.
    pub recipient: Partner,
    /// The moment of judgement.
    pub now: Timestamp,
}

/// The leave that a customer's own tap gives to a fetch of a precise location.
#[derive(Clone, Copy, Debug)]
pub enum Tapped<'a> {
    /// She has not tapped, or the tap was used.
    No,
    /// She has, and nothing was fetched by it yet.
    By(&'a LocationTap, Digest),
    /// This very fetch has used it, and comes again.
    Used,
}

/// Leave for one transfer, as it was judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permit {
    grant: GrantName,
    source: PartnerName,
    recipient: PartnerName,
    purpose: PurposeCode,
    fields: Vec<FieldPath>,
    log_tag: [u8; 32],
    catalogue_version: Digest,
    terms: Digest,
    fetch: Digest,
    use_limit: u32,
    rate: Option<(u32, Duration)>,
}

impl Permit {
    /// Under which grant.
    pub fn grant(&self) -> &GrantName {
        &self.grant
    }

    /// Who gives.
    pub fn source(&self) -> &PartnerName {
        &self.source
    }

    /// Who receives.
    pub fn recipient(&self) -> &PartnerName {
        &self.recipient
    }

    /// For what.
    pub fn purpose(&self) -> &PurposeCode {
        &self.purpose
    }

    /// Which fields, in the fetch's order.
    pub fn fields(&self) -> &[FieldPath] {
        &self.fields
    }

    /// The bytes by which the log knows the grant.
    pub fn log_tag(&self) -> &[u8; 32] {
        &self.log_tag
    }

    /// The catalogue that applied.
    pub fn catalogue_version(&self) -> Digest {
        self.catalogue_version
    }

    /// The terms.
    pub fn terms(&self) -> Digest {
        self.terms
    }

    /// The fetch.
    pub fn fetch(&self) -> Digest {
        self.fetch
    }

    /// The most uses in all, which the commit holds against races.
    pub fn use_limit(&self) -> u32 {
        self.use_limit
    }

    /// The most uses in a window, which the commit holds against races.
    pub fn rate(&self) -> Option<(u32, Duration)> {
        self.rate
    }
}

/// Why there is no permit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such grant *to this caller*: unknown and somebody else's answer alike.
    #[error("there is no such grant")]
    Unknown,
    /// The caller is suspended.
    #[error("the partner is suspended: talk to the operator")]
    RecipientSuspended,
    /// The source is suspended.
    #[error("the source is suspended: back off")]
    SourceSuspended,
    /// The customer has paused the grant.
    #[error("the customer has paused the grant: wait for the event")]
    Paused,
    /// The source or an operator has suspended the grant.
    #[error("the grant is suspended: wait for the event")]
    Suspended,
    /// The grant is over.
    #[error("the grant has ended ({}): {}", .state.as_str_name(), ended_remedy(*state))]
    Ended {
        /// How it ended.
        state: State,
    },
    /// For another purpose than the customer approved.
    #[error("the grant is for `{granted}`, not for `{asked}`: ask for less")]
    PurposeNotAllowed {
        /// What the customer approved.
        granted: String,
        /// What was asked.
        asked: String,
    },
    /// For a field that the customer did not approve.
    #[error("`{field}` is not granted: ask for less")]
    FieldNotGranted {
        /// The field.
        field: String,
    },
    /// For a precise location, without a tap of the customer's that counts.
    #[error("`{field}` leaves by the customer's own tap alone: {problem}")]
    TapRequired {
        /// The field.
        field: String,
        /// What is wrong with the tap.
        problem: String,
    },
    /// Too often.
    #[error("the grant allows no further use{}", .retry_after.map_or(String::new(), |after| format!(" for {} s", after.as_secs())))]
    FrequencyExceeded {
        /// When to come again; never, if the uses are spent.
        retry_after: Option<Duration>,
    },
    /// The fetch is too old, or from the future.
    #[error("the fetch says {said}, and it is {now}: sign a new one")]
    Stale {
        /// What it says.
        said: Timestamp,
        /// What the clock says.
        now: Timestamp,
    },
}

impl Refusal {
    /// The reason that a machine can match, as in the API's `ErrorInfo` and in the log.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unknown => "GRANT_UNKNOWN",
            Self::RecipientSuspended => "PARTNER_SUSPENDED",
            Self::SourceSuspended => "SOURCE_UNAVAILABLE",
            Self::Paused => "GRANT_PAUSED",
            Self::Suspended => "GRANT_SUSPENDED",
            Self::Ended { .. } => "GRANT_ENDED",
            Self::PurposeNotAllowed { .. } => "PURPOSE_NOT_ALLOWED",
            Self::FieldNotGranted { .. } => "FIELD_NOT_GRANTED",
            Self::TapRequired { .. } => "TAP_REQUIRED",
            Self::FrequencyExceeded { .. } => "FREQUENCY_EXCEEDED",
            Self::Stale { .. } => "STATEMENT_INVALID",
        }
    }
}

fn ended_remedy(state: State) -> &'static str {
    match state {
        State::Superseded => "a newer revision stands in its place, which the event names",
        _ => "delete the data and don't ask again",
    }
}

/// Judges one fetch. First who asks, then whether the grant stands, then what is asked, then how often.
pub fn judge(case: &Case<'_>) -> Result<Permit, Refusal> {
    let (fetch, terms) = (case.fetch.statement(), case.terms.statement());
    if case.caller != &terms.recipient || fetch.recipient != terms.recipient {
        return Err(Refusal::Unknown);
    }
    if !case.recipient.is_live() {
        return Err(Refusal::RecipientSuspended);
    }
    if !fetch.is_fresh(case.now) {
        return Err(Refusal::Stale { said: fetch.time, now: case.now });
    }
    if case.erasure_ordered {
        return Err(Refusal::Ended { state: case.state });
    }
    flows(case.state)?;
    if !case.source.is_live() {
        return Err(Refusal::SourceSuspended);
    }
    within(fetch, case.terms, case.catalogue)?;
    tapped(fetch, case.terms.digest(), case.tap, case.now)?;
    affordable(terms, case.spent, case.now)?;
    Ok(Permit {
        grant: GrantName::of(case.terms.digest()),
        source: terms.source.clone(),
        recipient: terms.recipient.clone(),
        purpose: terms.purpose.clone(),
        fields: fetch.fields.clone(),
        log_tag: terms.log_tag,
        catalogue_version: terms.catalogue_version,
        terms: case.terms.digest(),
        fetch: case.fetch.digest(),
        use_limit: terms.uses,
        rate: terms.rate,
    })
}

/// Whether data may flow under a grant in this state; whether a use is left is for others to say.
pub fn flows(state: State) -> Result<(), Refusal> {
    match state {
        State::Active | State::Consumed => Ok(()),
        State::Paused => Err(Refusal::Paused),
        State::Suspended => Err(Refusal::Suspended),
        State::Unspecified | State::Withdrawn | State::Revoked | State::Expired | State::Superseded => {
            Err(Refusal::Ended { state })
        }
    }
}

/// Whether a fetch of a precise location has the customer's leave: a tap for these fields of this grant, that counts now.
/// Source and broker both ask.
pub fn tapped(fetch: &Fetch, terms: Digest, tap: Tapped<'_>, now: Timestamp) -> Result<(), Refusal> {
    let Some(field) = fetch.needs_tap() else { return Ok(()) };
    let refused = |problem: String| Err(Refusal::TapRequired { field: field.to_string(), problem });
    match tap {
        Tapped::Used => Ok(()),
        Tapped::No => refused("wait for the next".to_owned()),
        Tapped::By(_, digest) if fetch.tap != Some(digest) => refused("the fetch names another".to_owned()),
        Tapped::By(tap, _) => {
            tap.allows(terms, &fetch.fields, now).or_else(|error| refused(error.to_string()))
        }
    }
}

fn within(fetch: &Fetch, terms: &Signed<GrantTerms>, catalogue: &Catalogue) -> Result<(), Refusal> {
    match fetch.within(terms.statement(), terms.digest()) {
        Ok(()) => {}
        Err(FetchError::Terms | FetchError::Recipient) => return Err(Refusal::Unknown),
        Err(FetchError::Purpose { granted, asked }) => {
            return Err(Refusal::PurposeNotAllowed { granted, asked });
        }
        Err(FetchError::Field { field }) => return Err(Refusal::FieldNotGranted { field }),
        Err(FetchError::Stale { said, now }) => return Err(Refusal::Stale { said, now }),
    }
    // The customer's signature is not enough: what the catalogue does not allow is never brokered.
    let Some(purpose) = catalogue.purpose(fetch.purpose.as_str()) else {
        let granted = terms.statement().purpose.to_string();
        return Err(Refusal::PurposeNotAllowed { granted, asked: fetch.purpose.to_string() });
    };
    match fetch.fields.iter().find(|field| !purpose.allows(field)) {
        Some(field) => Err(Refusal::FieldNotGranted { field: field.to_string() }),
        None => Ok(()),
    }
}

/// Whether one more use lies within the terms. Source and broker both count.
pub fn affordable(terms: &GrantTerms, spent: Spent, now: Timestamp) -> Result<(), Refusal> {
    if spent.uses >= terms.uses {
        return Err(Refusal::FrequencyExceeded { retry_after: None });
    }
    if let (Some((most, length)), Some((start, uses))) = (terms.rate, spent.window)
        && uses >= most
        && now.since(start) < length
    {
        return Err(Refusal::FrequencyExceeded { retry_after: Some(start.plus(length).since(now)) });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
