//! `PUBLISHED → WITHDRAWN`.

use countersign_proto::{row::v1::OfferRow, v1::offer::State};

use super::{NotAllowed, bare};

/// Whether an offer can be put into new requests. A withdrawn offer leaves its grants alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// Can be put into requests.
    Published,
    /// Can't any more.
    Withdrawn,
}

impl Offer {
    /// The recipient withdraws it, for good.
    pub fn withdraw(self) -> Result<Self, NotAllowed> {
        match self {
            Self::Published => Ok(Self::Withdrawn),
            Self::Withdrawn => Err(self.refuse("withdraw")),
        }
    }

    /// The state as the API says it.
    pub fn state(self) -> State {
        match self {
            Self::Published => State::Published,
            Self::Withdrawn => State::Withdrawn,
        }
    }

    /// The state that a row holds.
    pub fn from_row(row: &OfferRow) -> Self {
        if row.withdrawn { Self::Withdrawn } else { Self::Published }
    }

    /// Writes the state into its row.
    pub fn write_to(self, row: &mut OfferRow) {
        row.withdrawn = self == Self::Withdrawn;
    }

    fn refuse(self, verb: &'static str) -> NotAllowed {
        NotAllowed { resource: "offer", state: bare(self.state().as_str_name()), verb }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_is_withdrawn_once() {
        assert_eq!(Offer::Published.withdraw(), Ok(Offer::Withdrawn));
        let refused = Offer::Withdrawn.withdraw().unwrap_err();
        assert_eq!(refused, NotAllowed { resource: "offer", state: "WITHDRAWN", verb: "withdraw" });
        assert_eq!(refused.to_string(), "`withdraw` is not allowed: the offer is WITHDRAWN");
    }

    #[test]
    fn rows_keep_the_state() {
        for offer in [Offer::Published, Offer::Withdrawn] {
            let mut row = OfferRow { withdrawn: true, ..OfferRow::default() };
            offer.write_to(&mut row);
            assert_eq!(Offer::from_row(&row), offer);
        }
    }
}
