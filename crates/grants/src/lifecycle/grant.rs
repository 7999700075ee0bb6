//! `ACTIVE ⇄ PAUSED` by the customer, `ACTIVE ⇄ SUSPENDED` by source or operator, both at once where both say so;
//! from any of these `→ WITHDRAWN | REVOKED | EXPIRED`; `ACTIVE → CONSUMED | SUPERSEDED`. An end is an end.

use countersign_proto::{row::v1::GrantRow, v1::grant::State};

use super::{BadRow, NotAllowed, bare};
use crate::time::Timestamp;

const RESOURCE: &str = "grant";

/// Where a grant stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// Data flows.
    Active(Allowance),
    /// The customer has paused it. Pausing never extends.
    Paused {
        /// What it returns to.
        allowance: Allowance,
        /// Who suspends it besides: that stays when the customer resumes.
        suspended: Option<Suspension>,
    },
    /// The source or an operator suspends it; the customer has not paused it.
    Suspended {
        /// What it returns to.
        allowance: Allowance,
        /// Who suspends it.
        by: Suspension,
    },
    /// It never opens again.
    Ended(End),
}

/// What ends a grant without anybody's word: its time and its uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Allowance {
    /// The first moment at which it is over.
    pub expire_time: Timestamp,
    /// How many uses there are in all.
    pub uses: u32,
    /// How many of them are spent, as counted when the grant was read.
    pub spent: u64,
}

/// How a grant ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The customer stopped it.
    Withdrawn,
    /// Somebody else ended it.
    Revoked,
    /// Its time was over.
    Expired,
    /// Its uses were spent.
    Consumed,
    /// A newer revision stands in its place.
    Superseded,
}

/// Who can suspend a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspender {
    /// The source of the data.
    Source,
    /// Who runs the broker.
    Operator,
}

/// Who suspends a grant just now. Each lifts only its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suspension {
    /// The source alone.
    BySource,
    /// An operator alone.
    ByOperator,
    /// Both: it takes both to lift it.
    ByBoth,
}

impl Grant {
    /// The state in force at a moment.
    ///
    /// Uses are spent while a grant is active, never while it is stopped or over: so one whose uses are spent was
    /// consumed before anybody paused it and before its time came, whatever was written later.
    pub fn at(self, now: Timestamp) -> Self {
        match self {
            Self::Active(allowance) | Self::Paused { allowance, .. } | Self::Suspended { allowance, .. } => {
                if allowance.spent >= u64::from(allowance.uses) {
                    Self::Ended(End::Consumed)
                } else if now >= allowance.expire_time {
                    Self::Ended(End::Expired)
                } else {
                    self
                }
            }
            Self::Ended(_) => self,
        }
    }

    /// The customer pauses it.
    pub fn pause(self, at: Timestamp) -> Result<Self, NotAllowed> {
        match self.at(at) {
            Self::Active(allowance) => Ok(Self::Paused { allowance, suspended: None }),
            Self::Suspended { allowance, by } => Ok(Self::Paused { allowance, suspended: Some(by) }),
            other => Err(other.refuse("pause")),
        }
    }

    /// The customer ends the pause; a suspension stays.
    pub fn resume(self, at: Timestamp) -> Result<Self, NotAllowed> {
        match self.at(at) {
            Self::Paused { allowance, suspended: None } => Ok(Self::Active(allowance)),
            Self::Paused { allowance, suspended: Some(by) } => Ok(Self::Suspended { allowance, by }),
            other => Err(other.refuse("resume")),
        }
    }

    /// The source or an operator suspends it.
    pub fn suspend(self, by: Suspender, at: Timestamp) -> Result<Self, NotAllowed> {
        const VERB: &str = "suspend";
        let now = self.at(at);
        let joined = |present| Suspension::join(present, by).ok_or_else(|| now.refuse(VERB));
        match now {
            Self::Active(allowance) => Ok(Self::Suspended { allowance, by: joined(None)? }),
            Self::Suspended { allowance, by } => Ok(Self::Suspended { allowance, by: joined(Some(by))? }),
            Self::Paused { allowance, suspended } => {
                Ok(Self::Paused { allowance, suspended: Some(joined(suspended)?) })
            }
            Self::Ended(_) => Err(now.refuse(VERB)),
        }
    }

    /// Who suspended it lifts that; a pause, and the other's suspension, stay.
    pub fn unsuspend(self, by: Suspender, at: Timestamp) -> Result<Self, NotAllowed> {
        const VERB: &str = "unsuspend";
        let now = self.at(at);
        let left = |present| Suspension::leave(present, by).ok_or_else(|| now.refuse(VERB));
        match now {
            Self::Suspended { allowance, by } => Ok(match left(by)? {
                Some(by) => Self::Suspended { allowance, by },
                None => Self::Active(allowance),
            }),
            Self::Paused { allowance, suspended: Some(by) } => {
                Ok(Self::Paused { allowance, suspended: left(by)? })
            }
            Self::Active(_) | Self::Paused { suspended: None, .. } | Self::Ended(_) => Err(now.refuse(VERB)),
        }
    }

    /// The customer stops it, for good.
    pub fn withdraw(self, at: Timestamp) -> Result<Self, NotAllowed> {
        self.end("withdraw", End::Withdrawn, at)
    }

    /// Anybody else who may ends it, for good.
    pub fn revoke(self, at: Timestamp) -> Result<Self, NotAllowed> {
        self.end("revoke", End::Revoked, at)
    }

    /// The customer puts a narrower revision in its place. Out of a pause or a suspension it can't: these would not be
    /// the new one's, so it would reopen what somebody had stopped.
    pub fn narrow(self, at: Timestamp) -> Result<Self, NotAllowed> {
        self.supersede("narrow", at)
    }

    /// The customer approves a renewal, which takes its place.
    pub fn renew(self, at: Timestamp) -> Result<Self, NotAllowed> {
        self.supersede("renew", at)
    }

    /// The state as the API says it. Of the state in force: see [`Grant::at`]. Where the customer has paused what
    /// is suspended too, her own word comes first: PAUSED.
    pub fn state(&self) -> State {
        match self {
            Self::Active(_) => State::Active,
            Self::Paused { .. } => State::Paused,
            Self::Suspended { .. } => State::Suspended,
            Self::Ended(End::Withdrawn) => State::Withdrawn,
            Self::Ended(End::Revoked) => State::Revoked,
            Self::Ended(End::Expired) => State::Expired,
            Self::Ended(End::Consumed) => State::Consumed,
            Self::Ended(End::Superseded) => State::Superseded,
        }
    }

    /// The state that a row holds. Time and uses stand in the terms, the count with the ledger.
    pub fn from_row(row: &GrantRow, allowance: Allowance) -> Result<Self, BadRow> {
        let suspended = Suspension::of(row.suspended_by_source, row.suspended_by_operator);
        let contradiction = |what| BadRow::Contradiction { resource: RESOURCE, what };
        let end = match State::try_from(row.state) {
            Ok(State::Active) if suspended.is_none() => return Ok(Self::Active(allowance)),
            Ok(State::Active) => return Err(contradiction("active and suspended")),
            Ok(State::Paused) => return Ok(Self::Paused { allowance, suspended }),
            Ok(State::Suspended) => {
                let by = suspended.ok_or_else(|| contradiction("suspended by nobody"))?;
                return Ok(Self::Suspended { allowance, by });
            }
            Ok(State::Withdrawn) => End::Withdrawn,
            Ok(State::Revoked) => End::Revoked,
            Ok(State::Expired) => End::Expired,
            Ok(State::Consumed) => End::Consumed,
            Ok(State::Superseded) => End::Superseded,
            Ok(State::Unspecified) | Err(_) => {
                return Err(BadRow::UnknownState { resource: RESOURCE, number: row.state });
            }
        };
        if suspended.is_some() { Err(contradiction("ended and suspended")) } else { Ok(Self::Ended(end)) }
    }

    /// Writes the state into its row.
    pub fn write_to(&self, row: &mut GrantRow) {
        let suspended = match self {
            Self::Paused { suspended, .. } => *suspended,
            Self::Suspended { by, .. } => Some(*by),
            Self::Active(_) | Self::Ended(_) => None,
        };
        row.state = self.state().into();
        row.suspended_by_source = matches!(suspended, Some(Suspension::BySource | Suspension::ByBoth));
        row.suspended_by_operator = matches!(suspended, Some(Suspension::ByOperator | Suspension::ByBoth));
    }

    fn supersede(self, verb: &'static str, at: Timestamp) -> Result<Self, NotAllowed> {
        match self.at(at) {
            Self::Active(_) => Ok(Self::Ended(End::Superseded)),
            other => Err(other.refuse(verb)),
        }
    }

    fn end(self, verb: &'static str, end: End, at: Timestamp) -> Result<Self, NotAllowed> {
        match self.at(at) {
            Self::Active(_) | Self::Paused { .. } | Self::Suspended { .. } => Ok(Self::Ended(end)),
            ended @ Self::Ended(_) => Err(ended.refuse(verb)),
        }
    }

    fn refuse(self, verb: &'static str) -> NotAllowed {
        NotAllowed { resource: RESOURCE, state: bare(self.state().as_str_name()), verb }
    }
}

impl Suspension {
    fn of(source: bool, operator: bool) -> Option<Self> {
        match (source, operator) {
            (false, false) => None,
            (true, false) => Some(Self::BySource),
            (false, true) => Some(Self::ByOperator),
            (true, true) => Some(Self::ByBoth),
        }
    }

    /// With one more; nothing if that one suspends it already.
    fn join(present: Option<Self>, by: Suspender) -> Option<Self> {
        match (present, by) {
            (None, Suspender::Source) => Some(Self::BySource),
            (None, Suspender::Operator) => Some(Self::ByOperator),
            (Some(Self::BySource), Suspender::Operator) | (Some(Self::ByOperator), Suspender::Source) => {
                Some(Self::ByBoth)
            }
            (Some(_), _) => None,
        }
    }

    /// With one less; nothing if that one doesn't suspend it.
    #[expect(clippy::option_option, reason = "refused, lifted altogether, lifted in part: three answers")]
    fn leave(present: Self, by: Suspender) -> Option<Option<Self>> {
        match (present, by) {
            (Self::BySource, Suspender::Source) | (Self::ByOperator, Suspender::Operator) => Some(None),
            (Self::ByBoth, Suspender::Source) => Some(Some(Self::ByOperator)),
            (Self::ByBoth, Suspender::Operator) => Some(Some(Self::BySource)),
            (Self::BySource, Suspender::Operator) | (Self::ByOperator, Suspender::Source) => None,
        }
    }
}

#[cfg(test)]
mod tests;
