//! Reporting the root secret stolen: what stands is stopped, the old identity ends, and a new wallet begins.

use std::time::Duration;

use countersign_grants::{
    id::{GrantName, PartnerName, SubjectHandle},
    statement::CustomerVerb,
};
use countersign_proto::statement::v1 as wire;

use super::{Customer, Standing, Wallet};
use crate::{error::Error, receipt::ProvenLeaf};

/// How often a stop or a report is sent that the broker refuses for a moment: a customer's calls are counted by the second.
const TRIES: u32 = 5;

/// The shortest and the longest pause between two tries.
const MIN_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(2);

/// What came of a report.
pub struct Stolen {
    /// A new root secret: link anew with it, and write it before anything else.
    pub wallet: Wallet,
    /// The grants that were stopped by the customer's signature, as partners verify it; with an order to delete, those too
    /// that had ended.
    pub stopped: Vec<GrantName>,
    /// Those of which no proof came that they are, and why. The broker lets nothing through under them once it has the
    /// report; the brands' own apps stop them.
    pub not_stopped: Vec<(GrantName, Error)>,
    /// With whom to link anew: the partner, its handle, and how the customer knows the account.
    pub relink: Vec<(PartnerName, SubjectHandle, String)>,
    /// What is known of the report.
    pub report: Report,
}

/// Whether a report of theft stands in the log, and how that is known.
#[derive(Debug)]
pub enum Report {
    /// It does, by this proof.
    Recorded(Box<ProvenLeaf>),
    /// It was reported before, and proven to this device.
    RecordedBefore {
        /// The index of its record.
        index: u64,
    },
    /// The broker says that it was reported before. It answers this customer no more, so it gives no proof.
    BrokersWord,
    /// It was signed, and stands in the book to be sent again; what came back, if anything, proves nothing.
    NotProven(Error),
}

impl Customer {
    /// Reports the root secret stolen. What stands is stopped first, each grant by a change that both its sides verify; with
    /// `erase`, the recipients must delete what they received, under what has ended too: after the report no order can be
    /// signed any more. Then this customer's calls end, whoever makes them, and what
    /// was left or approved meanwhile is refused by the broker. Called again after no answer came, it goes on.
    ///
    /// Stops and report go out even when this side has halted, since to refuse is always safe; but then nothing is called
    /// recorded. Only a book that fails ends it.
    pub async fn report_stolen(&self, erase: bool) -> Result<Stolen, Error> {
        let (mut stopped, mut not_stopped) = (Vec::new(), Vec::new());
        for grant in self.to_stop(erase).await {
            match patiently(|| Box::pin(self.stop(&grant, erase))).await {
                Ok(_) => stopped.push(grant),
                Err(error @ Error::Book(_)) => return Err(error),
                Err(error) => not_stopped.push((grant, error)),
            }
        }
        let said = wire::CustomerChange {
            verb: CustomerVerb::ReportStolen.into(),
            ..wire::CustomerChange::default()
        };
        let report = match patiently(|| Box::pin(self.change_identity(said.clone(), Vec::new()))).await {
            Ok(receipt) => Report::Recorded(Box::new(receipt)),
            Err(error) if error.reason() == Some("CUSTOMER_STOLEN") => match self.0.book.reported_stolen() {
                Some(index) => Report::RecordedBefore { index },
                None => Report::BrokersWord,
            },
            Err(error @ Error::Book(_)) => return Err(error),
            Err(error) => Report::NotProven(error),
        };
        let links = self.0.book.links().into_iter().filter(|link| link.confirmed);
        let relink = links.map(|link| (link.partner, link.subject, link.label)).collect();
        Ok(Stolen { wallet: Wallet::draw(&self.0.system), stopped, not_stopped, relink, report })
    }

    /// The grants that may stand, with what the thief approved elsewhere as far as the broker's list shows it; and, to order a
    /// deletion, what has ended and has no order yet. A word that one has ended, or is none, keeps it from no stop.
    async fn to_stop(&self, erase: bool) -> Vec<GrantName> {
        let standing = self.may_stand().await;
        if let Some(error) = &standing.fault {
            tracing::warn!(%error, "the broker's list is no measure of what a thief may have approved");
        }
        if !erase {
            return standing.views.into_iter().map(|view| view.row.name).collect();
        }
        let all = standing.to_order(self.0.book.grants()).into_iter();
        all.filter(|row| row.standing != (Standing::Stopped { erase })).map(|row| row.name).collect()
    }
}

/// Tries again what the broker refuses for a moment: so many stops in a row may use up a customer's calls.
async fn patiently<T, F>(mut attempt: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let mut tries = 1;
    loop {
        match attempt().await {
            Err(Error::Refused(refused)) if tries < TRIES && refused.retry_after.is_some() => {
                let pause = refused.retry_after.unwrap_or_default().clamp(MIN_PAUSE, MAX_PAUSE);
                tokio::time::sleep(pause).await;
                tries += 1;
            }
            answer => return answer,
        }
    }
}
