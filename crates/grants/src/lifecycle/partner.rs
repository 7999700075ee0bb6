//! `APPLIED → VETTED → ACTIVE ⇄ SUSPENDED`; `VETTED → APPLIED` when what was vetted changes.

use countersign_proto::{row::v1::PartnerRow, v1::partner::State};

use super::{NotAllowed, bare};
use crate::id::OperatorName;

/// Whether a partner is live: asks, links, sends and receives. Two operators bring it there, so that no one of them
/// alone lets a brand in. A suspension holds from its very next call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Partner {
    /// Was entered.
    Applied,
    /// Was vetted, and waits for a second operator.
    Vetted {
        /// By whom; nothing if the row does not say, and then nobody can approve it.
        by: Option<OperatorName>,
    },
    /// Is live.
    Active,
    /// Was live, and is stopped.
    Suspended,
}

/// Why a partner is not approved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotApproved {
    /// It is in another state.
    #[error(transparent)]
    NotAllowed(#[from] NotAllowed),
    /// Who vetted it can't approve it as well.
    #[error("another operator must approve what one has vetted")]
    SameOperator,
}

impl Partner {
    /// An operator vouches for it.
    pub fn vet(self, by: &OperatorName) -> Result<Self, NotAllowed> {
        match self {
            Self::Applied => Ok(Self::Vetted { by: Some(by.clone()) }),
            other => Err(other.refuse("vet")),
        }
    }

    /// A second operator lets it in.
    pub fn approve(self, by: &OperatorName) -> Result<Self, NotApproved> {
        match self {
            Self::Vetted { by: Some(vetter) } if vetter != *by => Ok(Self::Active),
            Self::Vetted { .. } => Err(NotApproved::SameOperator),
            other => Err(other.refuse("approve").into()),
        }
    }

    /// What an operator vouched for is another from now on.
    pub fn changed(self) -> Self {
        match self {
            Self::Vetted { .. } => Self::Applied,
            other => other,
        }
    }

    /// An operator, or a rule of the broker, suspends it.
    pub fn suspend(self) -> Result<Self, NotAllowed> {
        match self {
            Self::Active => Ok(Self::Suspended),
            other => Err(other.refuse("suspend")),
        }
    }

    /// An operator lets it send and receive again.
    pub fn resume(self) -> Result<Self, NotAllowed> {
        match self {
            Self::Suspended => Ok(Self::Active),
            other => Err(other.refuse("resume")),
        }
    }

    /// Whether it asks, links, sends and receives.
    pub fn is_live(&self) -> bool {
        *self == Self::Active
    }

    /// The state as the API says it.
    pub fn state(&self) -> State {
        match self {
            Self::Applied => State::Applied,
            Self::Vetted { .. } => State::Vetted,
            Self::Active => State::Active,
            Self::Suspended => State::Suspended,
        }
    }

    /// The state that a row holds. What a row does not say clearly is the least that it can mean.
    pub fn from_row(row: &PartnerRow) -> Self {
        match State::try_from(row.stage) {
            Ok(State::Active) if row.suspended => Self::Suspended,
            Ok(State::Active) => Self::Active,
            Ok(State::Vetted) => Self::Vetted { by: OperatorName::parse(&row.vetted_by).ok() },
            Ok(State::Applied | State::Suspended | State::Unspecified) | Err(_) => Self::Applied,
        }
    }

    /// Writes the state into its row.
    pub fn write_to(&self, row: &mut PartnerRow) {
        row.suspended = *self == Self::Suspended;
        let stage = if row.suspended { State::Active } else { self.state() };
        row.stage = stage.into();
        row.vetted_by = match self {
            Self::Vetted { by: Some(by) } => by.to_string(),
            _ => String::new(),
        };
    }

    fn refuse(&self, verb: &'static str) -> NotAllowed {
        NotAllowed { resource: "partner", state: bare(self.state().as_str_name()), verb }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operator(id: &str) -> OperatorName {
        OperatorName::of_id(id).expect("an id")
    }

    fn all() -> [Partner; 4] {
        let vetted = Partner::Vetted { by: Some(operator("root")) };
        [Partner::Applied, vetted, Partner::Active, Partner::Suspended]
    }

    /// A verb from every state: where it leads, in the order of the states; nothing where it is refused.
    fn check(verb: &str, expected: [Option<Partner>; 4]) {
        for (from, expected) in all().into_iter().zip(expected) {
            let found = match verb {
                "vet" => from.clone().vet(&operator("root")),
                "suspend" => from.clone().suspend(),
                "resume" => from.clone().resume(),
                _ => from.clone().approve(&operator("second")).map_err(|error| match error {
                    NotApproved::NotAllowed(error) => error,
                    NotApproved::SameOperator => panic!("another one approves"),
                }),
            };
            let state = bare(from.state().as_str_name());
            let refused = NotAllowed { resource: "partner", state, verb: Box::leak(verb.into()) };
            assert_eq!(found, expected.ok_or(refused), "{from:?} {verb}");
        }
    }

    #[test]
    fn every_state_meets_every_verb() {
        let [_, vetted, active, suspended] = all();
        check("vet", [Some(vetted), None, None, None]);
        check("approve", [None, Some(active.clone()), None, None]);
        check("suspend", [None, None, Some(suspended), None]);
        check("resume", [None, None, None, Some(active)]);
    }

    #[test]
    fn two_operators_are_two() {
        let vetted = Partner::Applied.vet(&operator("root")).expect("applied");
        assert_eq!(vetted.clone().approve(&operator("root")), Err(NotApproved::SameOperator));
        assert_eq!(Partner::Vetted { by: None }.approve(&operator("root")), Err(NotApproved::SameOperator));
        assert_eq!(vetted.clone().changed(), Partner::Applied);
        assert_eq!(vetted.approve(&operator("second")), Ok(Partner::Active));
        assert_eq!(Partner::Active.changed(), Partner::Active);
    }

    #[test]
    fn rows_keep_the_state_and_say_no_more_than_they_say() {
        for partner in all() {
            let mut row = PartnerRow { suspended: true, vetted_by: "stale".into(), ..PartnerRow::default() };
            partner.write_to(&mut row);
            assert_eq!(Partner::from_row(&row), partner);
        }
        for row in [PartnerRow::default(), PartnerRow { stage: 9, suspended: true, ..PartnerRow::default() }]
        {
            assert!(!Partner::from_row(&row).is_live());
        }
    }
}
