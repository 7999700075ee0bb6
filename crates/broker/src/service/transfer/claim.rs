//! `ClaimReceipt`: what became of data that a source provided.

use countersign_grants::{
    digest::Digest,
    id::{GrantName, PartnerName, Principal},
    statement::{Fetch, Provision},
};
use countersign_proto::{
    log::v1::{Kind, Record, Result as Went},
    row::v1::PrivatePart,
    v1::{ClaimReceiptRequest, ClaimReceiptResponse, Receipt},
};
use prost::Message as _;

use super::{TransferService, standing::StandingGrant};
use crate::{
    broker::damaged,
    caller::{Caller, Party},
    error::Fault,
    private,
    record::{self, CustomerKey, Entered, Happening, Salts},
    work::{Done, Work},
};

/// Records of a grant that are looked through at a time.
const PAGE: usize = 128;

/// What a claim rests on, verified.
struct Claim {
    grant: GrantName,
    fetch: countersign_grants::envelope::Signed<Fetch>,
    provision: countersign_grants::envelope::Signed<Provision>,
}

impl TransferService {
    pub(super) async fn claim(
        &self,
        caller: &Caller,
        request: &ClaimReceiptRequest,
    ) -> Result<ClaimReceiptResponse, Fault> {
        let source = caller.partner()?;
        let (provision, _) = self
            .broker
            .signed_by_partner::<Provision>(source, "provision", request.provision.as_ref(), |says| says.time)
            .await?;
        let said = countersign_grants::envelope::peek::<Fetch>(request.fetch.as_ref())
            .map_err(|error| Fault::statement("fetch", &error))?;
        let (fetch, _) = self
            .broker
            .signed_by_partner::<Fetch>(&said.recipient, "fetch", request.fetch.as_ref(), |says| says.time)
            .await?;
        if &provision.statement().source != source || provision.statement().fetch != fetch.digest() {
            return Err(Fault::says("provision", "fetch", "it does not answer this fetch"));
        }
        let grant = GrantName::of(fetch.statement().terms);
        let stored = self.broker.grant(&grant).await?.ok_or(Fault::GrantUnknown)?;
        let standing = self.standing.of(&self.broker, &stored).await?;
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

    /// The newest record of the grant that rests on this fetch.
    async fn find(
        &self,
        source: &PartnerName,
        customer: &CustomerKey,
        claim: &Claim,
    ) -> Result<Option<Receipt>, Fault> {
        let (stream, ledger) = (record::stream(claim.grant.as_str()), self.broker.ledger());
        let (mut from, mut found) = (0, None);
        loop {
            let page = ledger.stream(&stream, from, PAGE).await?;
            for item in &page {
                if !matches!(item.kind, Kind::Transfer | Kind::ProvidedNotReleased) {
                    continue;
                }
                let part = self.opened(customer, item.index).await?;
                if part.evidence.iter().any(|digest| digest.as_ref() == claim.fetch.digest().as_bytes()) {
                    found = Some((item.index, Salts::of(&part)));
                }
            }
            match page.last() {
                Some(last) if page.len() == PAGE => from = last.index + 1,
                _ => break,
            }
        }
        let Some((index, salts)) = found else { return Ok(None) };
        let receipt = ledger.proof(index).await.map_err(|error| damaged("proof", &error))?;
        Ok(Some(Entered { receipt, salts }.for_party(&Party::Partner(source.clone()))))
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
        let evidence: [Digest; 3] = [standing.terms.digest(), claim.fetch.digest(), claim.provision.digest()];
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
        let recipient = Principal::Partner(terms.recipient.clone());
        let id = &claim.fetch.statement().request_id;
        work.request(&recipient, id, claim.fetch.digest(), bytes::Bytes::new());
        let mut done = self.broker.commit(work).await;
        if matches!(done, Err(Fault::RequestIdReused { .. })) {
            // Another fetch went under this id, so this one can't be released any more: its record needs no id.
            done = self.broker.commit(draft()).await;
        }
        match done? {
            Done::Committed { mut entered, .. } => {
                let entered =
                    entered.pop().ok_or(Fault::Bug { what: "a claim was committed without its record" })?;
                Ok(entered.for_party(&Party::Partner(source.clone())))
            }
            // The release overtook the claim: it stands in the grant's stream now.
            Done::Replayed { .. } => {
                let found = self.find(source, customer, claim).await?;
                found.ok_or(Fault::Bug { what: "a fetch was released without a record of its grant" })
            }
            Done::Conflict => Err(Fault::Bug { what: "a claim expects nothing" }),
        }
    }
}
