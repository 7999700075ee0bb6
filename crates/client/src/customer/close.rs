//! Closing the account: every grant is stopped with an order to delete, its sides are heard, and then the customer is
//! erased at the broker.

use std::time::Duration;

use countersign_grants::{
    digest::Digest,
    envelope,
    id::{GrantName, PartnerName},
    statement::AccountClosure,
};
use countersign_proto::{
    log::v1::Kind,
    statement::v1 as wire,
    v1::{CloseCustomerRequest, GetGrantRequest},
};
use prost::Message as _;

use super::{Customer, MAX_CLOCK_SKEW, Standing, entry::Entry};
use crate::{channel::call, error::Error, receipt::ProvenLeaf};

/// The reason by which a broker refuses a token.
const TOKEN: &str = "TOKEN_INVALID";

/// The check that fails of a stranger's token.
const STRANGER: &str = "principal";

/// The reason by which it refuses to close over a grant that stands.
const STANDS: &str = "WRONG_STATE";

/// The pause between two looks for acknowledgements: a person is waiting, and several grants are looked at.
const BETWEEN_LOOKS: Duration = Duration::from_millis(250);

/// What came of closing the account.
#[derive(Debug)]
pub enum Closing {
    /// The customer is erased at the broker.
    Closed {
        /// The proof of its record. It opens to nobody but its holder: keep it.
        receipt: Box<ProvenLeaf>,
    },
    /// A closing was sent before, its answer was lost, and the broker refuses this customer's token now. Nothing proves that
    /// the account is closed.
    Unproven {
        /// Whether it refuses it as a stranger's, as it does once the account is closed; else for another reason, such as the
        /// time, and the account may well be open.
        stranger: bool,
        /// Its refusal.
        refused: Error,
    },
    /// Every grant that could be is stopped, with an order to delete, and nothing is closed: something is left. Once the
    /// account is closed, the signed stops are gone, and who has not heard of one has no more than the log's word for it.
    Waits {
        /// The sides that have not acknowledged their grant's stop.
        unheard: Vec<Unheard>,
        /// The grants whose stop is not recorded, and why.
        not_stopped: Vec<(GrantName, Error)>,
        /// Why the broker's list is no measure of what stands, as of [`All`](super::All).
        list: Option<Error>,
    },
}

/// A side that has not acknowledged the stop of a grant.
#[derive(Debug)]
pub struct Unheard {
    /// The grant.
    pub grant: GrantName,
    /// Who.
    pub partner: PartnerName,
    /// What came in the place of its word, if it was not silence.
    pub blame: Option<Error>,
}

impl Customer {
    /// Closes the account for good. Stops every grant with an order to delete, whatever the broker says of it, waits for its
    /// sides to acknowledge that, and has the broker erase the customer. If something is left when the time is over,
    /// nothing is closed, unless `anyway`. The book stays: it proves what was signed.
    pub async fn close_account(&self, within: Duration, anyway: bool) -> Result<Closing, Error> {
        self.0.monitor.check()?;
        if self.0.book.closure_sent() {
            match self.send_closure().await {
                // Something stands, approved since or elsewhere.
                Err(error) if error.reason() == Some(STANDS) => {}
                done => return done,
            }
        }
        // Boxed, since whoever closes the account holds this future.
        let (stopped, not_stopped, list) = Box::pin(self.stop_and_order()).await?;
        let unheard = self.unheard(&stopped, within).await?;
        let all_done = unheard.is_empty() && not_stopped.is_empty() && list.is_none();
        if !all_done && !anyway {
            return Ok(Closing::Waits { unheard, not_stopped, list });
        }
        self.send_closure().await
    }

    /// Stops all with an order to delete, what has ended too: the names of what is stopped, of what is not and why, and why
    /// the broker's list is no measure.
    async fn stop_and_order(
        &self,
    ) -> Result<(Vec<GrantName>, Vec<(GrantName, Error)>, Option<Error>), Error> {
        let standing = self.may_stand().await;
        let (mut stopped, mut not_stopped) = (Vec::new(), Vec::new());
        for row in standing.to_order(self.0.book.grants()) {
            if row.standing != (Standing::Stopped { erase: true }) {
                match Box::pin(self.stop(&row.name, true)).await {
                    Ok(_) => {}
                    Err(error) if error.halts() => return Err(error),
                    Err(error) => {
                        not_stopped.push((row.name, error));
                        continue;
                    }
                }
            }
            stopped.push(row.name);
        }
        Ok((stopped, not_stopped, standing.fault))
    }

    /// The sides that have not acknowledged the newest change of their grant within this time.
    async fn unheard(&self, grants: &[GrantName], within: Duration) -> Result<Vec<Unheard>, Error> {
        let mut left: Vec<Unheard> = Vec::new();
        for row in grants.iter().filter_map(|name| self.0.book.grant(name)) {
            for partner in [row.terms.source, row.terms.recipient] {
                left.push(Unheard { grant: row.name.clone(), partner, blame: None });
            }
        }
        let looking = async {
            loop {
                let mut at = 0;
                while let Some(one) = left.get_mut(at) {
                    if self.has_heard(one).await? {
                        left.remove(at);
                    } else {
                        at += 1;
                    }
                }
                if left.is_empty() {
                    return Ok::<(), Error>(());
                }
                tokio::time::sleep(BETWEEN_LOOKS).await;
            }
        };
        // Out of time: what was not heard by then is what is left.
        if let Ok(done) = tokio::time::timeout(within, looking).await {
            done?;
        }
        Ok(left)
    }

    /// Whether that side's word for the newest change verifies. What does not is no word, and no reason to give up: whoever
    /// made it would keep the account open for good.
    async fn has_heard(&self, one: &mut Unheard) -> Result<bool, Error> {
        let Some(row) = self.0.book.grant(&one.grant) else { return Ok(true) };
        let asked = GetGrantRequest { name: one.grant.to_string() };
        let shown = match self.0.connection.grants().get_grant(call(asked)).await {
            Ok(shown) => shown.into_inner(),
            Err(status) => {
                one.blame = Some(status.into());
                return Ok(false);
            }
        };
        let heard = self.heard(&row, &shown, &one.partner, &[row.last])?;
        one.blame = heard.fault.map(|fault| Error::Misbehaved(Box::new(fault)));
        Ok(heard.word.is_some())
    }

    async fn send_closure(&self) -> Result<Closing, Error> {
        let message = wire::AccountClosure {
            broker: self.origin().to_string(),
            customer: self.name().to_string(),
            time_ms: self.now().as_millis(),
        };
        let statement = envelope::sign::<AccountClosure>(&message, &[self.0.wallet.call_key()]);
        let digest = envelope::digest(&statement);
        let before = self.0.book.closure_sent();
        self.0.book.enter(Entry::Closing { closure: statement.encode_to_vec() }).await?;
        let asked = CloseCustomerRequest { name: self.name().to_string(), statement: Some(statement) };
        let answer = match self.0.connection.customers().close_customer(call(asked)).await {
            Ok(answer) => answer.into_inner(),
            Err(status) => {
                let error = Error::from(status);
                return match &error {
                    // Of a closing whose answer was lost: the broker can't tell any more whom it does not know.
                    Error::Refused(refused) if before && refused.reason == TOKEN => {
                        let stranger = refused.metadata.get("check").is_some_and(|check| check == STRANGER);
                        Ok(Closing::Unproven { stranger, refused: error })
                    }
                    _ => Err(error),
                };
            }
        };
        let receipt = ProvenLeaf::prove(answer.receipt.as_ref(), &self.0.monitor)?;
        self.says_erased(&receipt, digest)?;
        self.0.book.enter(Entry::Closed { index: receipt.index() }).await?;
        Ok(Closing::Closed { receipt: Box::new(receipt) })
    }

    fn says_erased(&self, receipt: &ProvenLeaf, closure: Digest) -> Result<(), Error> {
        receipt.says_of_customer(
            Kind::CustomerErased,
            (self.name(), closure),
            self.now().minus(MAX_CLOCK_SKEW)..=self.now().plus(MAX_CLOCK_SKEW),
        )
    }
}
