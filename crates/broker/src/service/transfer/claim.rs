//! `ClaimReceipt`: what became of data that a source provided.

use std::time::Duration;

use bytes::Bytes;
use countersign_grants::{
    digest::Digest,
    id::{GrantName, PartnerName, Principal},
    statement::{Fetch, MAX_FETCH_AGE, Provision},
};
use countersign_proto::{
    log::v1::{Kind, Record, Result as Went},
    row::v1::PrivatePart,
    v1::{ClaimReceiptRequest, ClaimReceiptResponse, Receipt},
};
use countersign_store::Key;
use prost::Message as _;

use super::{TransferService, standing::StandingGrant};
use crate::{
    broker::damaged,
    caller::{Caller, Party},
    error::Fault,
    private,
    record::{self, CustomerKey, Happening},
    work::{Done, Work, request_key},
};

/// Records of a grant that are looked through at a time.
const PAGE: usize = 128;

/// How long after a fetch a record of it is looked for. It is released within [`MAX_FETCH_AGE`] and the longest call;
/// an hour leaves room for clocks that were set.
const LOOKED_FOR: Duration = Duration::from_secs(3_600);

/// The most records that one claim opens: a grant with a transfer a second for an hour. A claim of what
/// was released within the last hour opens none.
const MAX_OPENED: usize = 4_096;

/// When a source should come again that claims too much at once.
const COME_AGAIN: Duration = Duration::from_secs(60);

/// What a claim rests on, verified.
struct Claim {
    grant: GrantName,
    fetch: countersign_grants::envelope::Signed<Fetch>,
    provision: countersign_grants::envelope::Signed<Provision>,
}

impl Claim {
    fn recipient(&self) -> Principal {
        Principal::Partner(self.fetch.statement().recipient.clone())
    }

    fn request_key(&self) -> Key {
        request_key(&self.recipient(), &self.fetch.statement().request_id)
    }

    /// What every record of this provision rests on.
    fn evidence(&self) -> [Digest; 3] {
        [self.fetch.statement().terms, self.fetch.digest(), self.provision.digest()]
    }

    /// Whether this was kept of this provision.
    fn is(&self, answer: &[u8]) -> bool {
        self.provision.digest().as_bytes() == answer
    }
}

impl TransferService {
    pub(super) async fn claim(
        &self,
        caller: &Caller,
        request: &ClaimReceiptRequest,
    ) -> Result<ClaimReceiptResponse, Fault> {
        let source = caller.partner()?;
        // A claim comes late by its nature, so the keys' time can be over: it counts that they signed within it.
        let (provision, _) = self
            .broker
            .once_signed_by_partner::<Provision>(source, "provision", request.provision.as_ref(), |says| {
                says.time
            })
            .await?;
        let said = countersign_grants::envelope::peek::<Fetch>(request.fetch.as_ref())
            .map_err(|error| Fault::statement("fetch", &error))?;
        let (fetch, _) = self
            .broker
            .once_signed_by_partner::<Fetch>(&said.recipient, "fetch", request.fetch.as_ref(), |says| {
                says.time
            })
            .await?;
        if &provision.statement().source != source || provision.statement().fetch != fetch.digest() {
            return Err(Fault::says("provision", "fetch", "it does not answer this fetch"));
        }
        let grant = GrantName::of(fetch.statement().terms);
        let stored = self.broker.grant(&grant).await?.ok_or(Fault::GrantUnknown)?;
        let standing = self.broker.standing_grants().of(&self.broker, &stored).await?;
        if standing.source() != source || standing.recipient() != &said.recipient {
            return Err(Fault::GrantUnknown);
        }
        let customer = self.broker.customer_key(&stored.customer()?).await?;
        let claim = Claim { grant, fetch, provision };
        let receipt = match self.find(source, &customer, &claim).await? {
            Some(receipt) => receipt,
            None => self.enter_claim(source, &customer, &standing, &claim).await?,
        };
        Ok(ClaimReceiptResponse { receipt: Some(receipt) })
    }

    /// The record that this very provision came to. That it was released counts before that it once was not: data that
    /// was dropped can go with the next try of the same fetch.
    async fn find(
        &self,
        source: &PartnerName,
        customer: &CustomerKey,
        claim: &Claim,
    ) -> Result<Option<Receipt>, Fault> {
        let known = self.broker.ledger().request(&claim.request_key()).await?;
        let known = known.filter(|known| known.digest == *claim.fetch.digest().as_bytes());
        let index = match known {
            Some(known) if claim.is(&known.answer) => Some(known.first_index),
            _ => self.search(customer, claim).await?,
        };
        let Some(index) = index else { return Ok(None) };
        self.receipt(source, index).await.map(Some)
    }

    /// Looks through the records of the grant from the time of the fetch.
    async fn search(&self, customer: &CustomerKey, claim: &Claim) -> Result<Option<u64>, Fault> {
        let (stream, ledger) = (record::stream(claim.grant.as_str()), self.broker.ledger());
        let asked = claim.fetch.statement().time;
        let mut from = ledger.index_at(asked.minus(MAX_FETCH_AGE).as_millis()).await?;
        let end = ledger.index_at(asked.plus(LOOKED_FOR).as_millis()).await?;
        let evidence = claim.evidence().map(Bytes::from);
        let (mut opened, mut dropped) = (0, None);
        loop {
            let page = ledger.stream(&stream, from, PAGE).await?;
            for item in page.iter().take_while(|item| item.index < end) {
                if !matches!(item.kind, Kind::Transfer | Kind::ProvidedNotReleased) {
                    continue;
                }
                opened += 1;
                if opened > MAX_OPENED {
                    return Err(Fault::QuotaExceeded { quota: "records of one grant", retry_after: None });
                }
                if self.opened(customer, item.index).await?.evidence != evidence {
                    continue;
                }
                match item.kind {
                    Kind::Transfer => return Ok(Some(item.index)),
                    _ => dropped = Some(item.index),
                }
            }
            match page.last() {
                Some(last) if page.len() == PAGE && last.index < end => from = last.index + 1,
                _ => return Ok(dropped),
            }
        }
    }

    async fn receipt(&self, source: &PartnerName, index: u64) -> Result<Receipt, Fault> {
        Ok(self.broker.entered(index).await?.for_party(&Party::Partner(source.clone())))
    }

    async fn opened(&self, customer: &CustomerKey, index: u64) -> Result<PrivatePart, Fault> {
        let ledger = self.broker.ledger();
        let leaf = ledger.leaves(index..index + 1).await?.pop();
        let sealed = ledger.private_parts(index..index + 1).await?.pop();
        let (leaf, sealed) = leaf.zip(sealed).ok_or(Fault::Bug { what: "a stream names no record" })?;
        let record = Record::decode(leaf).map_err(|error| damaged("record", &error))?;
        private::open(&customer.key, self.broker.origin(), &record, &sealed)
            .map_err(|error| damaged("private part", &error))
    }

    /// Data that was never released is entered as such, and its request id is taken so that it never will be.
    async fn enter_claim(
        &self,
        source: &PartnerName,
        customer: &CustomerKey,
        standing: &StandingGrant,
        claim: &Claim,
    ) -> Result<Receipt, Fault> {
        let terms = standing.terms.statement();
        let evidence = claim.evidence();
        let draft = || {
            let mut work = Work::default();
            work.record(self.broker.draft(Happening {
                kind: Kind::ProvidedNotReleased,
                source: Some(&terms.source),
                recipient: Some(&terms.recipient),
                customer: Some(customer),
                purpose: Some(&terms.purpose),
                catalogue_version: Some(terms.catalogue_version),
                result: Went::Refused,
                reason: "CLAIMED",
                grant: Some((&claim.grant, terms.log_tag)),
                fields: &claim.fetch.statement().fields,
                evidence: &evidence,
                private: PrivatePart {
                    envelopes: vec![claim.fetch.envelope().clone(), claim.provision.envelope().clone()],
                    source_subject: standing.source_subject.as_str().to_owned(),
                    recipient_subject: standing.recipient_subject.as_str().to_owned(),
                    ..PrivatePart::default()
                },
                ..Happening::default()
            }));
            work
        };
        let mut work = draft();
        self.broker.expect_open(&mut work, customer).await?;
        let (recipient, id) = (claim.recipient(), &claim.fetch.statement().request_id);
        work.request(&recipient, id, claim.fetch.digest(), claim.provision.digest().into());
        let done = match self.broker.commit(work).await {
            // The release overtook the claim.
            Ok(Done::Replayed { first_index, answer }) if claim.is(&answer) => {
                return self.receipt(source, first_index).await;
            }
            // Another provision, or another fetch, went under this id, so this one can't be released any more: its record
            // needs no id. Any number of them can be signed, so they are counted.
            Ok(Done::Replayed { .. }) | Err(Fault::RequestIdReused { .. }) => {
                if !self.refusals.allows(source) {
                    return Err(Fault::QuotaExceeded { quota: "claims", retry_after: Some(COME_AGAIN) });
                }
                let mut work = draft();
                self.broker.expect_open(&mut work, customer).await?;
                self.broker.commit(work).await?
            }
            done => done?,
        };
        // On a conflict the customer closed the account.
        let Done::Committed { mut entered, .. } = done else { return Err(Fault::GrantUnknown) };
        let entered = entered.pop().ok_or(Fault::Bug { what: "a claim was committed without its record" })?;
        Ok(entered.for_party(&Party::Partner(source.clone())))
    }
}
