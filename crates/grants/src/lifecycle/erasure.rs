//! `DUE → ATTESTED | OVERDUE; OVERDUE → ATTESTED`: a grant's recipient is to delete what it received.

use std::time::Duration;

use countersign_proto::{row::v1::ErasureRow, v1::grant::ErasureState};

use super::{BadRow, NotAllowed, bare};
use crate::{statement::GrantTerms, time::Timestamp};

const RESOURCE: &str = "erasure order";

/// How long after the order a recipient is overdue at the earliest, however short the customer's terms let it keep the
/// data: one that is there hears within a second, and one that looks for the broker again does so every five.
pub const MIN_NOTICE: Duration = Duration::from_secs(10);

/// Where an order to delete stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Erasure {
    /// The recipient has until then.
    Due {
        /// The first moment at which it is late.
        due: Timestamp,
    },
    /// It has not attested in time.
    Overdue {
        /// Until when it had.
        due: Timestamp,
    },
    /// It signed that it has deleted what it received.
    Attested {
        /// Until when it had.
        due: Timestamp,
    },
}

impl Erasure {
    /// The customer orders it at this moment. What the terms let the recipient keep counts from the grant's end, which was
    /// at their expiry at the latest.
    pub fn order(terms: &GrantTerms, at: Timestamp) -> Self {
        let signed = at.min(terms.expire_time).plus(terms.retention);
        Self::Due { due: signed.max(at.plus(MIN_NOTICE)) }
    }

    /// The state in force at a moment.
    pub fn at(self, now: Timestamp) -> Self {
        match self {
            Self::Due { due } if now >= due => Self::Overdue { due },
            other => other,
        }
    }

    /// The recipient attests it: late is better than never.
    pub fn attest(self) -> Result<Self, NotAllowed> {
        match self {
            Self::Due { due } | Self::Overdue { due } => Ok(Self::Attested { due }),
            Self::Attested { .. } => {
                let state = bare(self.state().as_str_name());
                Err(NotAllowed { resource: RESOURCE, state, verb: "attest" })
            }
        }
    }

    /// Until when it was due.
    pub fn due(self) -> Timestamp {
        match self {
            Self::Due { due } | Self::Overdue { due } | Self::Attested { due } => due,
        }
    }

    /// The state as the API says it.
    pub fn state(self) -> ErasureState {
        match self {
            Self::Due { .. } => ErasureState::Due,
            Self::Overdue { .. } => ErasureState::Overdue,
            Self::Attested { .. } => ErasureState::Attested,
        }
    }

    /// The state that a row holds.
    pub fn from_row(row: &ErasureRow) -> Result<Self, BadRow> {
        let due = Timestamp::from_millis(row.due_time_ms);
        match ErasureState::try_from(row.state) {
            Ok(ErasureState::Due) => Ok(Self::Due { due }),
            Ok(ErasureState::Overdue) => Ok(Self::Overdue { due }),
            Ok(ErasureState::Attested) => Ok(Self::Attested { due }),
            Ok(ErasureState::Unspecified) | Err(_) => {
                Err(BadRow::UnknownState { resource: RESOURCE, number: row.state })
            }
        }
    }

    /// Writes the state into its row.
    pub fn write_to(self, row: &mut ErasureRow) {
        row.state = self.state().into();
        row.due_time_ms = self.due().as_millis();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::{self, signed};

    const DUE: Timestamp = Timestamp::from_millis(50_000);

    fn check(from: Erasure, now: u64, state: &str, attested: bool) {
        let now = from.at(Timestamp::from_millis(now));
        assert_eq!(bare_state(now), state, "{from:?}");
        match now.attest() {
            Ok(after) => assert!(attested && after == Erasure::Attested { due: DUE }, "{after:?}"),
            Err(refused) => {
                assert!(!attested);
                assert_eq!((refused.state, refused.verb), ("ATTESTED", "attest"));
            }
        }
    }

    fn bare_state(erasure: Erasure) -> &'static str {
        erasure.state().as_str_name().trim_start_matches("ERASURE_STATE_")
    }

    #[test]
    fn every_state_meets_time_and_attestation() {
        check(Erasure::Due { due: DUE }, 49_999, "DUE", true);
        check(Erasure::Due { due: DUE }, 50_000, "OVERDUE", true);
        check(Erasure::Overdue { due: DUE }, 1, "OVERDUE", true);
        check(Erasure::Attested { due: DUE }, 99_999, "ATTESTED", false);
    }

    #[test]
    fn it_is_due_by_what_was_signed_and_never_before_it_could_be_heard() {
        let check = |expire_ms: u64, retention_s: u64, at_ms: u64, due_ms: u64| {
            let mut terms = signed::<GrantTerms>(&fixtures::terms()).statement().clone();
            terms.expire_time = Timestamp::from_millis(expire_ms);
            terms.retention = Duration::from_secs(retention_s);
            let found = Erasure::order(&terms, Timestamp::from_millis(at_ms)).due();
            assert_eq!(found, Timestamp::from_millis(due_ms), "{expire_ms} {retention_s} {at_ms}");
        };
        // Stopped before its time: from the stop on.
        check(100_000, 60, 40_000, 100_000);
        // Ordered after its time: from the expiry on.
        check(100_000, 60, 130_000, 160_000);
        // What was to be gone by now still takes a moment.
        check(100_000, 0, 40_000, 50_000);
        check(100_000, 60, 500_000, 510_000);
    }

    #[test]
    fn rows_keep_the_state() {
        for erasure in
            [Erasure::Due { due: DUE }, Erasure::Overdue { due: DUE }, Erasure::Attested { due: DUE }]
        {
            let mut row = ErasureRow::default();
            assert!(Erasure::from_row(&row).is_err());
            erasure.write_to(&mut row);
            assert_eq!(Erasure::from_row(&row), Ok(erasure));
        }
    }
}
