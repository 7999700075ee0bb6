//! Refusals: a record for a party to the grant, within its quota; metrics for all else.

use std::num::NonZeroU32;

use countersign_grants::{id::PartnerName, permit::Refusal};
use countersign_proto::log::v1::{Kind, Result as Went};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};

use super::{
    TransferService,
    fetch::{Asked, Read},
};
use crate::{error::Fault, record::Happening, work::Work};

/// Refusals of one recipient that are entered in a minute. Mistakes of a program that a person is looking at come to a
/// handful; more is noise that the customer would have to scroll through.
const RECORDED_A_MINUTE: NonZeroU32 = NonZeroU32::new(60).expect("not zero");

/// How many refusals of each recipient are entered, and how many claims of each source that take no request id.
pub(super) struct RefusalQuota(DefaultKeyedRateLimiter<PartnerName>);

impl Default for RefusalQuota {
    fn default() -> Self {
        Self(RateLimiter::keyed(Quota::per_minute(RECORDED_A_MINUTE)))
    }
}

impl RefusalQuota {
    /// Counts one; says whether it may be entered.
    pub(super) fn allows(&self, partner: &PartnerName) -> bool {
        self.0.check_key(partner).is_ok()
    }
}

impl TransferService {
    /// Enters the refusal where it belongs, and gives the answer.
    pub(super) async fn refuse(&self, asked: &Asked, read: &Read, refusal: Refusal) -> Fault {
        metrics::counter!("countersign_refusals_total", "reason" => refusal.reason()).increment(1);
        // An old fetch proves nothing about today: anybody who kept one could send it again.
        let worth_a_record = !matches!(refusal, Refusal::Unknown | Refusal::Stale { .. });
        if worth_a_record && self.refusals.allows(&asked.caller) {
            let mut work = self.refused(asked, read, &refusal);
            // On a conflict the customer closed the account, and whose refusal it was is nobody's.
            let entered = match self.broker.expect_open(&mut work, &read.customer).await {
                Ok(()) => self.broker.enter(work).await,
                Err(fault) => Err(fault),
            };
            if let Err(fault) = entered {
                return fault;
            }
        }
        Fault::Refused(refusal)
    }

    fn refused(&self, asked: &Asked, read: &Read, refusal: &Refusal) -> Work {
        let terms = read.standing.terms.statement();
        let mut work = Work::default();
        work.record(self.broker.draft(Happening {
            kind: Kind::TransferRefused,
            source: Some(&terms.source),
            recipient: Some(&terms.recipient),
            customer: Some(&read.customer),
            purpose: Some(&terms.purpose),
            catalogue_version: Some(terms.catalogue_version),
            result: Went::Refused,
            reason: refusal.reason(),
            grant: Some((&asked.name, terms.log_tag)),
            fields: &asked.fetch.statement().fields,
            evidence: &[read.standing.terms.digest(), asked.fetch.digest()],
            private: asked.private(read, None),
            ..Happening::default()
        }));
        work
    }
}
