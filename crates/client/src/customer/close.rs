//! Closing the account: every grant is stopped with an order to delete, its sides are heard, and then the customer is
//! erased at the broker.

use std::time::Duration;

use countersign_grants::{
    digest::Digest,
    envelope,
    id::{GrantName, PartnerName},
    statement::{self as statements, AccountClosure},
};
use countersign_proto::{
    log::v1::Kind,
    statement::v1 as wire,
    v1::{Acknowledgement, CloseCustomerRequest, GetGrantRequest},
};
use prost::Message as _;

use super::{Customer, GrantRow, MAX_CLOCK_SKEW, Standing, entry::Entry};
use crate::{channel::call, error::Error, receipt::ProvenLeaf};

/// The reason by which a broker refuses a stranger's token.
const STRANGER: &str = "TOKEN_INVALID";

/// The reason by which it refuses to close over a grant that stands.
const STANDS: &str = "WRONG_STATE";

/// The pause between two looks for acknowledgements: a person is waiting, and several grants are looked at.
const BETWEEN_LOOKS: Duration = Duration::from_millis(250);

/// What came of closing the account.
#[derive(Debug)]
pub enum Closing {
    /// The customer is erased at the broker.
    Closed {
        /// The proof of its record. It opens to nobody but its holder: keep it. Absent if the answer was lost, and the broker
        /// does not know the customer any more.
        receipt: Option<Box<ProvenLeaf>>,
    },
    /// Every grant is stopped, with an order to delete; these sides have not acknowledged it, and nothing is closed. Once it
    /// is, the signed stop is gone, and they have no more than the log's word for it.
    Waits {
        /// Grant and partner.
        unheard: Vec<(GrantName, PartnerName)>,
    },
}

impl Customer {
    /// Closes the account for good. Stops every grant with an order to delete, waits for its sides to acknowledge that, and
    /// has the broker erase the customer. If a side has not answered when the time is over, nothing is closed, unless
    /// `anyway`. The book stays: it proves what was signed.
    pub async fn close_account(&self, within: Duration, anyway: bool) -> Result<Closing, Error> {
        if self.0.book.closure_sent() {
            match self.send_closure().await {
                // Something stands, approved since or elsewhere.
                Err(error) if error.reason() == Some(STANDS) => {}
                done => return done,
            }
        }
        let mut stopped = Vec::new();
        for view in Box::pin(self.grants()).await? {
            // What the broker does not know never was a grant, or is none that it could use.
            if view.state.is_none() {
                continue;
            }
            match view.row.standing {
                // What it gave goes by the order under the grant in its place.
                Standing::Superseded { .. } => continue,
                Standing::Stopped { erase: true } => {}
                Standing::Active | Standing::Paused | Standing::Stopped { .. } => {
                    // Boxed, since whoever closes the account holds this future.
                    Box::pin(self.stop(&view.row.name, true)).await?;
                }
            }
            stopped.push(view.row.name);
        }
        let unheard = self.unheard(&stopped, within).await?;
        if !unheard.is_empty() && !anyway {
            return Ok(Closing::Waits { unheard });
        }
        self.send_closure().await
    }

    /// The sides that have not acknowledged the newest change of their grant within this time.
    async fn unheard(
        &self,
        grants: &[GrantName],
        within: Duration,
    ) -> Result<Vec<(GrantName, PartnerName)>, Error> {
        let mut left: Vec<(GrantName, PartnerName)> = Vec::new();
        for name in grants {
            if let Some(row) = self.0.book.grant(name) {
                left.push((name.clone(), row.terms.source.clone()));
                left.push((name.clone(), row.terms.recipient.clone()));
            }
        }
        let looking = async {
            loop {
                let mut still = Vec::new();
                for (name, partner) in &left {
                    if !self.has_heard(name, partner).await? {
                        still.push((name.clone(), partner.clone()));
                    }
                }
                left = still;
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

    async fn has_heard(&self, name: &GrantName, partner: &PartnerName) -> Result<bool, Error> {
        let Some(row) = self.0.book.grant(name) else { return Ok(true) };
        let asked = GetGrantRequest { name: name.to_string() };
        let shown = self.0.connection.grants().get_grant(call(asked)).await?.into_inner();
        let words = shown.acknowledgements.iter().filter(|word| word.partner == partner.as_str());
        for word in words {
            if self.acknowledges(&row, partner, word)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether this is that side's word for the newest change.
    fn acknowledges(
        &self,
        row: &GrantRow,
        partner: &PartnerName,
        word: &Acknowledgement,
    ) -> Result<bool, Error> {
        let said = envelope::peek::<statements::Acknowledgement>(word.statement.as_ref());
        if said.is_ok_and(|said| said.statement != row.last) {
            return Ok(false);
        }
        let identity = if *partner == row.terms.source {
            &row.terms.source_identity
        } else {
            &row.terms.recipient_identity
        };
        Ok(self.verify_word(row, (partner, identity), word)?.is_some())
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
                // Of a closing whose answer was lost: the broker can't tell any more whom it does not know.
                return if before && error.reason() == Some(STRANGER) {
                    Ok(Closing::Closed { receipt: None })
                } else {
                    Err(error)
                };
            }
        };
        let receipt = ProvenLeaf::prove(answer.receipt.as_ref(), &self.0.monitor)?;
        self.says_erased(&receipt, digest)?;
        self.0.book.enter(Entry::Closed { index: receipt.index() }).await?;
        Ok(Closing::Closed { receipt: Some(Box::new(receipt)) })
    }

    fn says_erased(&self, receipt: &ProvenLeaf, closure: Digest) -> Result<(), Error> {
        receipt.says_of_customer(
            Kind::CustomerErased,
            (self.name(), closure),
            self.now().minus(MAX_CLOCK_SKEW)..=self.now().plus(MAX_CLOCK_SKEW),
        )
    }
}
