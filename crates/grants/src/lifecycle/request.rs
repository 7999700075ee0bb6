//! `REQUESTED → DEFERRED | APPROVED | REFUSED | LAPSED | CANCELLED`; `DEFERRED →` the same four ends.

use countersign_proto::{row::v1::GrantRequestRow, v1::grant_request::State};

use super::{BadRow, NotAllowed, bare};
use crate::{id::GrantName, time::Timestamp};

/// Where a grant request stands. It is answered once; silence is no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrantRequest {
    /// Waits for an answer.
    Requested {
        /// When it lapses.
        expire_time: Timestamp,
    },
    /// Put off by the customer; waits on, and lapses no later for it.
    Deferred {
        /// When it lapses.
        expire_time: Timestamp,
    },
    /// Approved, in whole or in part.
    Approved {
        /// What came of it, in the order of the rows.
        grants: Vec<GrantName>,
    },
    /// Refused by the customer.
    Refused,
    /// Nobody answered in time.
    Lapsed,
    /// Taken back by the requester.
    Cancelled,
}

impl GrantRequest {
    /// The state in force at a moment.
    pub fn at(self, now: Timestamp) -> Self {
        match self {
            Self::Requested { expire_time } | Self::Deferred { expire_time } if now >= expire_time => {
                Self::Lapsed
            }
            other => other,
        }
    }

    /// The customer puts it off.
    pub fn defer(self, at: Timestamp) -> Result<Self, NotAllowed> {
        match self.at(at) {
            Self::Requested { expire_time } => Ok(Self::Deferred { expire_time }),
            other => Err(other.refused("defer")),
        }
    }

    /// The customer looks at what would leave. It waits on.
    pub fn preview(self, at: Timestamp) -> Result<(), NotAllowed> {
        match self.at(at) {
            Self::Requested { .. } | Self::Deferred { .. } => Ok(()),
            other => Err(other.refused("preview")),
        }
    }

    /// The customer approves rows of it, all together.
    pub fn approve(self, grants: Vec<GrantName>, at: Timestamp) -> Result<Self, NotAllowed> {
        self.answer("approve", Self::Approved { grants }, at)
    }

    /// The customer refuses it.
    pub fn refuse(self, at: Timestamp) -> Result<Self, NotAllowed> {
        self.answer("refuse", Self::Refused, at)
    }

    /// The requester takes it back.
    pub fn cancel(self, at: Timestamp) -> Result<Self, NotAllowed> {
        self.answer("cancel", Self::Cancelled, at)
    }

    /// The state as the API says it. Of the state in force: see [`GrantRequest::at`].
    pub fn state(&self) -> State {
        match self {
            Self::Requested { .. } => State::Requested,
            Self::Deferred { .. } => State::Deferred,
            Self::Approved { .. } => State::Approved,
            Self::Refused => State::Refused,
            Self::Lapsed => State::Lapsed,
            Self::Cancelled => State::Cancelled,
        }
    }

    /// The state that a row holds; when it lapses stands in the statement.
    pub fn from_row(row: &GrantRequestRow, expire_time: Timestamp) -> Result<Self, BadRow> {
        const RESOURCE: &str = "grant request";
        let unknown = BadRow::UnknownState { resource: RESOURCE, number: row.state };
        let request = match State::try_from(row.state) {
            Ok(State::Requested) => Self::Requested { expire_time },
            Ok(State::Deferred) => Self::Deferred { expire_time },
            Ok(State::Approved) => {
                let grants = row.grants.iter().map(|name| GrantName::parse(name)).collect::<Result<_, _>>();
                let grants = grants.map_err(|source| BadRow::Name { resource: RESOURCE, source })?;
                return Ok(Self::Approved { grants });
            }
            Ok(State::Refused) => Self::Refused,
            Ok(State::Lapsed) => Self::Lapsed,
            Ok(State::Cancelled) => Self::Cancelled,
            Ok(State::Unspecified) | Err(_) => return Err(unknown),
        };
        if row.grants.is_empty() {
            Ok(request)
        } else {
            Err(BadRow::Contradiction { resource: RESOURCE, what: "grants without an approval" })
        }
    }

    /// Writes the state into its row.
    pub fn write_to(&self, row: &mut GrantRequestRow) {
        row.state = self.state().into();
        row.grants = match self {
            Self::Approved { grants } => grants.iter().map(|name| name.as_str().to_owned()).collect(),
            _ => Vec::new(),
        };
    }

    fn answer(self, verb: &'static str, end: Self, at: Timestamp) -> Result<Self, NotAllowed> {
        match self.at(at) {
            Self::Requested { .. } | Self::Deferred { .. } => Ok(end),
            other => Err(other.refused(verb)),
        }
    }

    fn refused(&self, verb: &'static str) -> NotAllowed {
        NotAllowed { resource: "grant request", state: bare(self.state().as_str_name()), verb }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Digest;

    const EXPIRES: Timestamp = Timestamp::from_millis(1_000);
    const BEFORE: Timestamp = Timestamp::from_millis(999);

    fn approved() -> GrantRequest {
        GrantRequest::Approved { grants: vec![GrantName::of(Digest::of(b"terms"))] }
    }

    fn open() -> [GrantRequest; 2] {
        [GrantRequest::Requested { expire_time: EXPIRES }, GrantRequest::Deferred { expire_time: EXPIRES }]
    }

    fn ends() -> [GrantRequest; 4] {
        [approved(), GrantRequest::Refused, GrantRequest::Lapsed, GrantRequest::Cancelled]
    }

    /// One state, one verb, one moment: the state after it, or the name of the state that refuses it.
    fn check(
        from: &GrantRequest,
        verb: &'static str,
        at: Timestamp,
        expected: Result<GrantRequest, &'static str>,
    ) {
        let from = from.clone();
        let found = match verb {
            "defer" => from.clone().defer(at),
            "approve" => from.clone().approve(vec![GrantName::of(Digest::of(b"terms"))], at),
            "refuse" => from.clone().refuse(at),
            _ => from.clone().cancel(at),
        };
        let expected = expected.map_err(|state| NotAllowed { resource: "grant request", state, verb });
        assert_eq!(found, expected, "{from:?} {verb} at {at}");
    }

    #[test]
    fn every_state_meets_every_verb() {
        let [requested, deferred] = open();
        check(&requested, "defer", BEFORE, Ok(deferred.clone()));
        check(&deferred, "defer", BEFORE, Err("DEFERRED"));
        for state in open() {
            check(&state, "approve", BEFORE, Ok(approved()));
            check(&state, "refuse", BEFORE, Ok(GrantRequest::Refused));
            check(&state, "cancel", BEFORE, Ok(GrantRequest::Cancelled));
        }
        for (state, name) in ends().iter().zip(["APPROVED", "REFUSED", "LAPSED", "CANCELLED"]) {
            for verb in ["defer", "approve", "refuse", "cancel"] {
                check(state, verb, BEFORE, Err(name));
                check(state, verb, EXPIRES, Err(name));
            }
        }
    }

    #[test]
    fn an_open_request_lapses_by_the_clock() {
        for state in open() {
            assert_eq!(state.clone().at(BEFORE), state);
            assert_eq!(state.clone().at(EXPIRES), GrantRequest::Lapsed);
            for verb in ["defer", "approve", "refuse", "cancel"] {
                check(&state, verb, EXPIRES, Err("LAPSED"));
            }
        }
    }

    #[test]
    fn rows_keep_the_state() {
        for state in open().into_iter().chain(ends()) {
            let mut row = GrantRequestRow { grants: vec!["stale".to_owned()], ..GrantRequestRow::default() };
            state.write_to(&mut row);
            assert_eq!(GrantRequest::from_row(&row, EXPIRES), Ok(state));
        }
        let row = |state, grants: &[&str]| GrantRequestRow {
            state,
            grants: grants.iter().map(|&name| name.to_owned()).collect(),
            ..GrantRequestRow::default()
        };
        for bad in [row(0, &[]), row(7, &[]), row(-1, &[]), row(1, &["grants/x"]), row(3, &["grants/x"])] {
            assert!(GrantRequest::from_row(&bad, EXPIRES).is_err(), "{bad:?}");
        }
    }
}
