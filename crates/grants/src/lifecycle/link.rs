//! `INVITED → ACCEPTED → CONFIRMED`; `INVITED | ACCEPTED → LAPSED` by the clock; `CONFIRMED → REPLACED | STOLEN`,
//! `STOLEN → REPLACED`.

use countersign_proto::{row::v1::LinkRow, v1::link::State};

use super::{BadRow, NotAllowed, bare};
use crate::{id::CustomerName, time::Timestamp};

/// How far the ceremony of a link has come. Until it stands, the invitation's end is its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// The partner has invited.
    Invited {
        /// When the invitation lapses.
        expire_time: Timestamp,
    },
    /// A customer has accepted: from here nobody else can.
    Accepted {
        /// Who.
        customer: CustomerName,
        /// When the invitation lapses.
        expire_time: Timestamp,
    },
    /// The partner has confirmed: the link stands, and no clock ends it.
    Confirmed {
        /// Whose link it is.
        customer: CustomerName,
    },
    /// The invitation lapsed before the link stood.
    Lapsed,
    /// It stood, and does no more: nothing new hangs on it.
    Ended {
        /// Whose link it was.
        customer: CustomerName,
        /// How it ended.
        how: LinkEnd,
    },
}

/// How a link ends that stood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkEnd {
    /// A later link of the same account stands in its place.
    Replaced,
    /// Its customer reported the keys stolen.
    Stolen,
}

impl LinkEnd {
    /// The state as the API says it.
    pub fn state(self) -> State {
        match self {
            Self::Replaced => State::Replaced,
            Self::Stolen => State::Stolen,
        }
    }
}

impl Link {
    /// The state in force at a moment.
    pub fn at(self, now: Timestamp) -> Self {
        match self {
            Self::Invited { expire_time } | Self::Accepted { expire_time, .. } if now >= expire_time => {
                Self::Lapsed
            }
            other => other,
        }
    }

    /// A customer accepts the invitation. One use.
    pub fn accept(self, customer: CustomerName, at: Timestamp) -> Result<Self, NotAllowed> {
        match self.at(at) {
            Self::Invited { expire_time } => Ok(Self::Accepted { customer, expire_time }),
            other => Err(other.refuse("accept")),
        }
    }

    /// The partner confirms the acceptance.
    pub fn confirm(self, at: Timestamp) -> Result<Self, NotAllowed> {
        match self.at(at) {
            Self::Accepted { customer, .. } => Ok(Self::Confirmed { customer }),
            other => Err(other.refuse("confirm")),
        }
    }

    /// A later link of the same account takes its place, or its customer reports the keys stolen.
    pub fn end(self, how: LinkEnd) -> Result<Self, NotAllowed> {
        match (self, how) {
            (Self::Confirmed { customer }, _)
            | (Self::Ended { customer, how: LinkEnd::Stolen }, LinkEnd::Replaced) => {
                Ok(Self::Ended { customer, how })
            }
            (other, LinkEnd::Replaced) => Err(other.refuse("replace")),
            (other, LinkEnd::Stolen) => Err(other.refuse("report stolen")),
        }
    }

    /// The state as the API says it. Of the state in force: see [`Link::at`].
    pub fn state(&self) -> State {
        match self {
            Self::Invited { .. } => State::Invited,
            Self::Accepted { .. } => State::Accepted,
            Self::Confirmed { .. } => State::Confirmed,
            Self::Lapsed => State::Lapsed,
            Self::Ended { how, .. } => how.state(),
        }
    }

    /// The state that a row holds: it follows from which statements of the ceremony stand there. Nothing writes it
    /// back, since each transition writes its statement.
    pub fn from_row(row: &LinkRow) -> Result<Self, BadRow> {
        let contradiction = |what| Err(BadRow::Contradiction { resource: "link", what });
        let expire_time = Timestamp::from_millis(row.expire_time_ms);
        let ended = match State::try_from(row.ended) {
            Ok(State::Unspecified) => None,
            Ok(State::Replaced) => Some(LinkEnd::Replaced),
            Ok(State::Stolen) => Some(LinkEnd::Stolen),
            _ => return Err(BadRow::UnknownState { resource: "link", number: row.ended }),
        };
        if ended.is_some() && row.confirmation.is_none() {
            return contradiction("an end without a confirmation");
        }
        match (row.acceptance.is_some(), row.confirmation.is_some()) {
            (false, false) if row.customer.is_empty() => Ok(Self::Invited { expire_time }),
            (false, false) => contradiction("a customer without an acceptance"),
            (false, true) => contradiction("a confirmation without an acceptance"),
            (true, confirmed) => {
                let customer = CustomerName::parse(&row.customer)
                    .map_err(|source| BadRow::Name { resource: "link", source })?;
                Ok(match (confirmed, ended) {
                    (false, _) => Self::Accepted { customer, expire_time },
                    (true, None) => Self::Confirmed { customer },
                    (true, Some(how)) => Self::Ended { customer, how },
                })
            }
        }
    }

    fn refuse(&self, verb: &'static str) -> NotAllowed {
        NotAllowed { resource: "link", state: bare(self.state().as_str_name()), verb }
    }
}

#[cfg(test)]
mod tests {
    use countersign_proto::statement::v1::Envelope;

    use super::*;

    const EXPIRES: Timestamp = Timestamp::from_millis(600_000);
    const BEFORE: Timestamp = Timestamp::from_millis(599_999);

    fn mei() -> CustomerName {
        CustomerName::parse("customers/NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs").expect("a name")
    }

    fn accepted() -> Link {
        Link::Accepted { customer: mei(), expire_time: EXPIRES }
    }

    fn confirmed() -> Link {
        Link::Confirmed { customer: mei() }
    }

    /// `accept` and `confirm` from one state at one moment; `Err` names the state in force.
    fn check(
        from: &Link,
        at: Timestamp,
        accept: Result<Link, &'static str>,
        confirm: Result<Link, &'static str>,
    ) {
        let refused = |verb| move |state| NotAllowed { resource: "link", state, verb };
        assert_eq!(from.clone().accept(mei(), at), accept.map_err(refused("accept")), "{from:?} at {at}");
        assert_eq!(from.clone().confirm(at), confirm.map_err(refused("confirm")), "{from:?} at {at}");
    }

    #[test]
    fn every_state_meets_every_verb() {
        let invited = Link::Invited { expire_time: EXPIRES };
        check(&invited, BEFORE, Ok(accepted()), Err("INVITED"));
        check(&accepted(), BEFORE, Err("ACCEPTED"), Ok(confirmed()));
        check(&confirmed(), BEFORE, Err("CONFIRMED"), Err("CONFIRMED"));
        check(&Link::Lapsed, BEFORE, Err("LAPSED"), Err("LAPSED"));

        check(&invited, EXPIRES, Err("LAPSED"), Err("LAPSED"));
        check(&accepted(), EXPIRES, Err("LAPSED"), Err("LAPSED"));
        check(&confirmed(), EXPIRES, Err("CONFIRMED"), Err("CONFIRMED"));
    }

    #[test]
    fn rows_say_how_far_it_came() {
        let row = |customer: &str, acceptance: bool, confirmation: bool| LinkRow {
            customer: customer.to_owned(),
            acceptance: acceptance.then(Envelope::default),
            confirmation: confirmation.then(Envelope::default),
            expire_time_ms: EXPIRES.as_millis(),
            ..LinkRow::default()
        };
        let name = mei();
        assert_eq!(Link::from_row(&row("", false, false)), Ok(Link::Invited { expire_time: EXPIRES }));
        assert_eq!(Link::from_row(&row(name.as_str(), true, false)), Ok(accepted()));
        assert_eq!(Link::from_row(&row(name.as_str(), true, true)), Ok(confirmed()));
        for (customer, acceptance, confirmation) in
            [(name.as_str(), false, false), ("", false, true), ("", true, false), ("customers/x", true, true)]
        {
            assert!(Link::from_row(&row(customer, acceptance, confirmation)).is_err(), "{customer}");
        }
    }

    #[test]
    fn a_link_that_stood_ends_once_and_a_stolen_one_is_replaced() {
        let stands = Link::Confirmed { customer: mei() };
        let stolen = stands.clone().end(LinkEnd::Stolen).expect("it stood");
        assert_eq!(stolen.state(), State::Stolen);
        let replaced = stolen.clone().end(LinkEnd::Replaced).expect("linked anew");
        assert_eq!(replaced, stands.end(LinkEnd::Replaced).expect("it stood"));
        assert!(stolen.end(LinkEnd::Stolen).is_err());
        assert_eq!(replaced.clone().end(LinkEnd::Replaced).map_err(|no| no.state), Err("REPLACED"));
        assert!(replaced.confirm(BEFORE).is_err());
        assert_eq!(accepted().end(LinkEnd::Replaced).map_err(|no| no.state), Err("ACCEPTED"));
        let row = LinkRow { ended: State::Stolen.into(), ..LinkRow::default() };
        assert!(matches!(Link::from_row(&row), Err(BadRow::Contradiction { .. })));
        let row = LinkRow { ended: State::Lapsed.into(), ..LinkRow::default() };
        assert!(matches!(Link::from_row(&row), Err(BadRow::UnknownState { .. })));
    }
}
