//! `ACTIVE ⇄ SUSPENDED`.

use countersign_proto::{row::v1::PartnerRow, v1::partner::State};

use super::{NotAllowed, bare};

/// Whether a partner sends and receives. A suspension holds from its very next call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partner {
    /// Sends and receives.
    Active,
    /// Does neither.
    Suspended,
}

impl Partner {
    /// An operator suspends it.
    pub fn suspend(self) -> Result<Self, NotAllowed> {
        match self {
            Self::Active => Ok(Self::Suspended),
            Self::Suspended => Err(self.refuse("suspend")),
        }
    }

    /// An operator lets it send and receive again.
    pub fn resume(self) -> Result<Self, NotAllowed> {
        match self {
            Self::Suspended => Ok(Self::Active),
            Self::Active => Err(self.refuse("resume")),
        }
    }

    /// The state as the API says it.
    pub fn state(self) -> State {
        match self {
            Self::Active => State::Active,
            Self::Suspended => State::Suspended,
        }
    }

    /// The state that a row holds.
    pub fn from_row(row: &PartnerRow) -> Self {
        if row.suspended { Self::Suspended } else { Self::Active }
    }

    /// Writes the state into its row.
    pub fn write_to(self, row: &mut PartnerRow) {
        row.suspended = self == Self::Suspended;
    }

    fn refuse(self, verb: &'static str) -> NotAllowed {
        NotAllowed { resource: "partner", state: bare(self.state().as_str_name()), verb }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(
        from: Partner,
        verb: fn(Partner) -> Result<Partner, NotAllowed>,
        expected: Result<Partner, (&str, &str)>,
    ) {
        let found = verb(from);
        assert_eq!(found.map_err(|refused| (refused.state, refused.verb)), expected, "{from:?}");
    }

    #[test]
    fn every_state_meets_every_verb() {
        check(Partner::Active, Partner::suspend, Ok(Partner::Suspended));
        check(Partner::Active, Partner::resume, Err(("ACTIVE", "resume")));
        check(Partner::Suspended, Partner::suspend, Err(("SUSPENDED", "suspend")));
        check(Partner::Suspended, Partner::resume, Ok(Partner::Active));
    }

    #[test]
    fn rows_keep_the_state() {
        for partner in [Partner::Active, Partner::Suspended] {
            let mut row = PartnerRow { suspended: true, ..PartnerRow::default() };
            partner.write_to(&mut row);
            assert_eq!(Partner::from_row(&row), partner);
        }
    }
}
