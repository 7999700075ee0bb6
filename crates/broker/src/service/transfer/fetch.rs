//! `FetchData`: judge, have the source provide, commit, release. In this order, and no byte before the commit.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use countersign_grants::{
    digest::Digest,
    envelope::{self, Signed},
    id::{GrantName, PartnerName, Principal},
    lifecycle::Partner,
    permit::{self, Case, Permit, Refusal, Spent, Tapped},
    statement::{Fetch, LocationTap, WorkingKey},
    time::Timestamp,
};
use countersign_ledger::{Ceiling, Outcome, work::Part};
use countersign_proto::{
    log::v1::{Kind, Record, Result as Went},
    row::v1::{GrantRow, PartnerRow, PrivatePart},
    v1::{FetchDataRequest, FetchDataResponse, ProvideDataRequest, grant::State},
};
use prost::Message as _;

use super::{TransferService, provided::Provided, standing::StandingGrant};
use crate::{
    broker::damaged,
    caller::{Caller, Party},
    error::Fault,
    record::{CustomerKey, Entered, Happening},
    rows::Loaded,
    stored::{self, StoredGrant},
    work::{MAX_TRIES, Work, request_key},
};

/// Longer than a release waits between its last judgement and its commit: a call has 15 s in all.
const COMMITTED_WITHIN: Duration = Duration::from_secs(15);

/// Writing to a source, and reading its answer.
static CALLING: Part = Part::new("source call");

/// A fetch that is its caller's own, under a grant to which the caller is the recipient.
pub(super) struct Asked {
    pub caller: PartnerName,
    pub fetch: Signed<Fetch>,
    pub key: Arc<WorkingKey>,
    pub name: GrantName,
    /// When it came. It is fresh or stale by this moment, however long its source then takes.
    pub arrived: Timestamp,
}

impl Asked {
    /// What stands beside the record of a fetch, besides what every record has.
    pub(super) fn private(&self, read: &Read, provided: Option<&Provided>) -> PrivatePart {
        let mut envelopes = vec![self.fetch.envelope().clone()];
        envelopes.extend(provided.map(|provided| provided.provision.envelope().clone()));
        PrivatePart {
            envelopes,
            source_subject: read.standing.source_subject.as_str().to_owned(),
            recipient_subject: read.standing.recipient_subject.as_str().to_owned(),
            ..PrivatePart::default()
        }
    }

    fn reused(&self) -> Fault {
        Fault::RequestIdReused { request_id: self.fetch.statement().request_id.clone() }
    }
}

/// Everything that a judgement rests on, as it stood at one moment; the commit expects that it still stands so.
pub(super) struct Read {
    pub grant: StoredGrant,
    pub standing: Arc<StandingGrant>,
    pub source: Loaded<PartnerRow>,
    pub recipient: Loaded<PartnerRow>,
    pub customer: CustomerKey,
}

impl Read {
    /// The customer's tap that waits to be used, if the fetch asks for what leaves by a tap alone. It was verified when it
    /// came, under the keys of both links.
    fn tap(&self, asked: &Asked) -> Result<Option<(LocationTap, Digest)>, Fault> {
        let tap = self.grant.read.row.tap.as_ref();
        let Some(tap) = tap.filter(|_| asked.fetch.statement().needs_tap().is_some()) else {
            return Ok(None);
        };
        let says = envelope::peek(Some(tap)).map_err(|error| damaged("tap", &error))?;
        Ok(Some((says, envelope::digest(tap))))
    }
}

/// Whether these bytes were asked before.
enum Before {
    /// Never.
    No,
    /// And released, with this use number and these bytes: a repeat brings the same ones, or nothing.
    Released { use_number: u64, provision: Bytes },
}

impl TransferService {
    pub(super) async fn fetch(
        &self,
        caller: &Caller,
        request: FetchDataRequest,
    ) -> Result<FetchDataResponse, Fault> {
        let asked = self.asked(caller, &request).await?;
        let mut read = self.read(&asked).await?;
        let before = self.before(&asked).await?;
        if let Err(refusal) = self.judge(&asked, &mut read, &before)? {
            return Err(self.refuse(&asked, &read, refusal).await);
        }
        let provided = self.provide(&asked, &read).await?;
        self.release(&asked, read, before, provided).await
    }

    /// Who asks, and what: verified, before anything that it names is looked up.
    async fn asked(&self, caller: &Caller, request: &FetchDataRequest) -> Result<Asked, Fault> {
        let caller = caller.partner()?.clone();
        let statement = request.statement.as_ref();
        let (fetch, key) =
            self.broker.signed_by_partner::<Fetch>(&caller, "fetch", statement, |fetch| fetch.time).await?;
        if fetch.statement().recipient != caller {
            return Err(Fault::says("fetch", "recipient", "the recipient is not the caller"));
        }
        let name = GrantName::of(fetch.statement().terms);
        Ok(Asked { caller, fetch, key, name, arrived: self.broker.now() })
    }

    /// Reads what the judgement rests on. Unknown, and somebody else's, answer alike.
    pub(super) async fn read(&self, asked: &Asked) -> Result<Read, Fault> {
        let broker = &self.broker;
        let grant = broker.grant(&asked.name).await?.ok_or(Fault::GrantUnknown)?;
        let standing = broker.standing_grants().of(broker, &grant).await?;
        if standing.recipient() != &asked.caller {
            return Err(Fault::GrantUnknown);
        }
        let source = broker.partner(standing.source()).await?;
        let recipient = broker.partner(standing.recipient()).await?;
        let customer = broker.customer_key(&grant.customer()?).await?;
        Ok(Read { grant, standing, source, recipient, customer })
    }

    /// Whether this request id was used, and if so, whether for these bytes and within their time.
    async fn before(&self, asked: &Asked) -> Result<Before, Fault> {
        let fetch = asked.fetch.statement();
        let key = request_key(&Principal::Partner(asked.caller.clone()), &fetch.request_id);
        let Some(known) = self.broker.ledger().request(&key).await? else { return Ok(Before::No) };
        if known.digest != *asked.fetch.digest().as_bytes() || !fetch.is_fresh(asked.arrived) {
            return Err(asked.reused());
        }
        self.first(asked, known.first_index, known.answer).await
    }

    /// What the first of several equal fetches came to. What was claimed as never released stays so.
    async fn first(&self, asked: &Asked, index: u64, provision: Bytes) -> Result<Before, Fault> {
        let leaf = self.broker.ledger().leaves(index..index + 1).await?.pop();
        let record = leaf.and_then(|leaf| Record::decode(leaf).ok());
        let record = record.ok_or(Fault::Bug { what: "a request id names no record" })?;
        match record.kind() {
            Kind::Transfer => Ok(Before::Released { use_number: record.use_number, provision }),
            _ => Err(asked.reused()),
        }
    }

    /// Judges by what was read, and by the clock of this moment.
    fn judge(
        &self,
        asked: &Asked,
        read: &mut Read,
        before: &Before,
    ) -> Result<Result<Permit, Refusal>, Fault> {
        if matches!(before, Before::Released { .. }) {
            // A repeat spends nothing, so nothing that was spent stands in its way.
            read.grant.spent = Spent::default();
        }
        let terms = &read.standing.terms;
        let catalogue = self.broker.kept_catalogue(terms.statement().catalogue_version)?;
        let state = read.grant.state(self.broker.now())?.state();
        let tap = read.tap(asked)?;
        let tap = match (before, &tap) {
            (Before::Released { .. }, _) => Tapped::Used,
            (Before::No, Some((tap, digest))) => Tapped::By(tap, *digest),
            (Before::No, None) => Tapped::No,
        };
        Ok(permit::judge(&Case {
            caller: &asked.caller,
            fetch: &asked.fetch,
            terms,
            // What a thief approved in the moment before the report has nobody to stop it.
            state: if read.customer.stolen { State::Revoked } else { state },
            erasure_ordered: read.grant.read.row.erasure_ordered,
            spent: read.grant.spent,
            catalogue,
            tap,
            source: Partner::from_row(&read.source.row),
            recipient: Partner::from_row(&read.recipient.row),
            now: asked.arrived,
        }))
    }

    async fn provide(&self, asked: &Asked, read: &Read) -> Result<Provided, Fault> {
        let standing = &read.standing;
        let message = ProvideDataRequest {
            subject: standing.source_subject.as_str().to_owned(),
            fetch: Some(asked.fetch.envelope().clone()),
            fetch_key: Some(asked.key.certificate().envelope().clone()),
            terms: Some(standing.terms.envelope().clone()),
            party_salt: standing.source_salt.clone(),
            offer: Some(standing.offer.clone()),
            offer_key: Some(standing.offer_key.clone()),
            tap: read.grant.read.row.tap.clone().filter(|_| asked.fetch.statement().needs_tap().is_some()),
        };
        let answer = self.sources.provide(standing.source(), &read.source.row, message);
        let answer = CALLING.drive(answer).await?;
        let provided = self.provided(asked, standing.source(), answer).await;
        if let Err(fault) = &provided {
            self.broker.weigh(fault).await;
        }
        provided
    }

    /// Commits the release, and only then lets the data go. Before each try everything is judged, with the provision in
    /// hand: the source took its time. Data that may not go is dropped, and a record says so.
    async fn release(
        &self,
        asked: &Asked,
        mut read: Read,
        mut before: Before,
        provided: Provided,
    ) -> Result<FetchDataResponse, Fault> {
        for _ in 0..MAX_TRIES {
            let permit = match self.judge(asked, &mut read, &before)? {
                Ok(permit) => permit,
                Err(refusal) => {
                    self.not_released(asked, &read, &provided, refusal.reason()).await;
                    return Err(Fault::Refused(refusal));
                }
            };
            if let Before::Released { provision, .. } = &before
                && !provided.is(provision)
            {
                let fault = Fault::SourceMisbehaved { source_name: permit.source().clone(), check: "repeat" };
                self.not_released(asked, &read, &provided, fault.reason()).await;
                self.broker.weigh(&fault).await;
                return Err(fault);
            }
            let mut work = self.transfer(asked, &read, &before, &permit, &provided)?;
            if self.may_be_closed(&read, &before) {
                self.broker.expect_open(&mut work, &read.customer).await?;
            }
            let (unit, mut salts) = work.into_unit();
            match self.broker.ledger().submit(unit).await? {
                Outcome::Committed(mut committed) => {
                    // From here on the record is public: the data leaves, or the same fetch brings it again.
                    let (receipt, salts) = committed
                        .receipts
                        .pop()
                        .zip(salts.pop())
                        .ok_or(Fault::Bug { what: "a transfer was committed without its record" })?;
                    return Ok(self.released(asked, &read, provided, &Entered { receipt, salts }));
                }
                Outcome::Conflict { .. } => read = self.read(asked).await?,
                // The same fetch overtook us on another connection: this release is its repeat.
                Outcome::Replayed { first_index, answer } => {
                    let same = provided.is(&answer);
                    before = match self.first(asked, first_index, answer).await {
                        Ok(before) => before,
                        Err(fault) => {
                            // A claim overtook us. Its record is of the provision that it came with, and of no other.
                            if !same {
                                self.not_released(asked, &read, &provided, fault.reason()).await;
                            }
                            return Err(fault);
                        }
                    };
                }
                Outcome::IdReused => {
                    self.not_released(asked, &read, &provided, "REQUEST_ID_REUSED").await;
                    return Err(asked.reused());
                }
                Outcome::Ceiling { retry_after_ms, .. } => {
                    let retry_after = retry_after_ms.map(Duration::from_millis);
                    let refusal = Refusal::FrequencyExceeded { retry_after };
                    self.not_released(asked, &read, &provided, refusal.reason()).await;
                    return Err(Fault::Refused(refusal));
                }
            }
        }
        self.not_released(asked, &read, &provided, "OVERLOADED").await;
        Err(Fault::Contended { row: "grant" })
    }

    /// Whether the account can be closed before this release is committed. A grant that stands is in the way of that, and
    /// one that ends meanwhile is a conflict, or a ceiling: but a repeat goes under one that its last use has ended, and time
    /// ends one without a word.
    fn may_be_closed(&self, read: &Read, before: &Before) -> bool {
        let ends = read.standing.terms.statement().expire_time;
        matches!(before, Before::Released { .. }) || ends <= self.broker.now().plus(COMMITTED_WITHIN)
    }

    fn transfer(
        &self,
        asked: &Asked,
        read: &Read,
        before: &Before,
        permit: &Permit,
        provided: &Provided,
    ) -> Result<Work, Fault> {
        let mut work = Work::default();
        if matches!(before, Before::No) && asked.fetch.statement().needs_tap().is_some() {
            // One tap, one fetch.
            work.update(&read.grant.read, &GrantRow { tap: None, ..read.grant.read.row.clone() })?;
        } else {
            work.expect(&read.grant.read);
        }
        work.expect(&read.source);
        work.expect(&read.recipient);
        let (result, use_number) = match before {
            Before::No => {
                for ceiling in ceilings(permit, &read.grant) {
                    work.ceiling(ceiling);
                }
                let principal = Principal::Partner(asked.caller.clone());
                let id = &asked.fetch.statement().request_id;
                // The number itself is the ledger's to give; a repeat reads it off the first record.
                work.request(&principal, id, asked.fetch.digest(), provided.answer());
                (Went::Released, 0)
            }
            Before::Released { use_number, .. } => (Went::Repeated, *use_number),
        };
        work.record(self.broker.draft(Happening {
            kind: Kind::Transfer,
            source: Some(permit.source()),
            recipient: Some(permit.recipient()),
            customer: Some(&read.customer),
            purpose: Some(permit.purpose()),
            catalogue_version: Some(permit.catalogue_version()),
            result,
            grant: Some((permit.grant(), *permit.log_tag())),
            fields: permit.fields(),
            evidence: &[permit.terms(), permit.fetch(), provided.provision.digest()],
            use_number,
            private: asked.private(read, Some(provided)),
            ..Happening::default()
        }));
        Ok(work)
    }

    fn released(
        &self,
        asked: &Asked,
        read: &Read,
        provided: Provided,
        entered: &Entered,
    ) -> FetchDataResponse {
        let source = read.standing.source();
        let receipt = entered.for_party(&Party::Partner(asked.caller.clone()));
        self.deliveries.deliver(source, asked.fetch.digest(), receipt.clone());
        FetchDataResponse {
            sealed_fields: provided.sealed_fields,
            provision: Some(provided.provision.envelope().clone()),
            source_key: Some(provided.key.certificate().envelope().clone()),
            receipt: Some(receipt),
        }
    }
}

/// What a release under this permit may spend at most. The first ceiling numbers the record.
fn ceilings(permit: &Permit, grant: &StoredGrant) -> impl Iterator<Item = Ceiling> {
    let all = Ceiling {
        counter: stored::uses(permit.grant()),
        window_ms: None,
        at_most: permit.use_limit().into(),
        numbers_record: true,
    };
    let window = permit.rate().map(|(most, length)| Ceiling {
        counter: stored::uses_in_window(&grant.name, &grant.read.row),
        window_ms: Some(length.as_millis().try_into().unwrap_or(u64::MAX)),
        at_most: most.into(),
        numbers_record: false,
    });
    [Some(all), window].into_iter().flatten()
}
