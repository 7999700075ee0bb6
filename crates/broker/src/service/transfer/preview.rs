//! `PreviewData`: have the source show the customer what would leave, commit, release. In this order, as for a fetch.
//!
//! No broker can ask for itself: the customer signs with the key of the link, which the source pinned, and the values are
//! sealed to a key of hers.

use std::sync::Arc;

use bytes::Bytes;
use countersign_grants::{
    digest::Digest,
    envelope::{self, Signed},
    id::{CustomerName, LinkName, OfferName, PartnerName, Principal, RequestName},
    lifecycle::{self, Partner},
    permit::Refusal,
    statement::{Preview, PreviewProvision, WorkingKey, check_previewed},
};
use countersign_proto::{
    log::v1::Kind,
    row::v1::{CustomerRow, GrantRequestRow, PartnerRow, PrivatePart},
    statement::v1::SealedFields,
    v1::{PreviewDataRequest, PreviewDataResponse, ProvidePreviewRequest, ProvidePreviewResponse},
};
use prost::Message as _;

use super::TransferService;
use crate::{
    caller::{Caller, Party},
    error::Fault,
    record::{CustomerKey, Entered, Happening},
    rows::{self, Loaded},
    service::{fields, grant},
    stored::{StoredLink, StoredOffer},
    work::{Done, MAX_TRIES, Work, request_key},
};

const WHAT: &str = "preview";

/// A preview that its customer signed, with the key of a link that stands.
struct Asked {
    caller: CustomerName,
    link: LinkName,
    preview: Signed<Preview>,
    name: RequestName,
}

/// Everything that it rests on, as it stood at one moment; the commit expects that it still stands so.
struct Read {
    link: StoredLink,
    request: Loaded<GrantRequestRow>,
    offer: StoredOffer,
    source: Loaded<PartnerRow>,
    /// Whether the account is open, and its keys in the right hands.
    account: Loaded<CustomerRow>,
    customer: CustomerKey,
}

/// Sealed fields that their source signed for this very preview.
struct Shown {
    sealed_fields: Bytes,
    provision: Signed<PreviewProvision>,
    key: Arc<WorkingKey>,
}

impl Read {
    fn source_name(&self) -> &PartnerName {
        &self.offer.signed.statement().source
    }
}

impl TransferService {
    pub(super) async fn preview(
        &self,
        caller: &Caller,
        request: &PreviewDataRequest,
    ) -> Result<PreviewDataResponse, Fault> {
        let asked = self.preview_asked(caller, request).await?;
        let read = self.preview_read(&asked).await?;
        self.preview_is_new(&asked).await?;
        let message = ProvidePreviewRequest {
            subject: read.link.read.row.subject.clone(),
            preview: Some(asked.preview.envelope().clone()),
            offer: Some(read.offer.signed.envelope().clone()),
            offer_key: read.offer.read.row.partner_key.clone(),
        };
        let answer = self.sources.provide_preview(read.source_name(), &read.source.row, message).await?;
        let shown = match self.shown(&asked, read.source_name(), answer).await {
            Ok(shown) => self.show(&asked, read, shown).await,
            Err(fault) => Err(fault),
        };
        if let Err(fault) = &shown {
            self.broker.weigh(fault).await;
        }
        shown
    }

    /// Who asks, and what: verified, before anything that it names is looked up.
    async fn preview_asked(&self, caller: &Caller, request: &PreviewDataRequest) -> Result<Asked, Fault> {
        let caller = caller.customer()?.clone();
        let name = fields::name("source_link", &request.source_link, LinkName::parse)?;
        let link = self.previewed_link(&caller, &name).await?;
        let preview =
            envelope::verify::<Preview>(request.statement.as_ref(), &[&link.key], self.broker.origin())
                .map_err(|error| Fault::statement(WHAT, &error))?;
        // Fresh or stale by this moment, however long its source then takes.
        let (says, arrived) = (preview.statement(), self.broker.now());
        if says.acceptance != link.acceptance {
            return Err(Fault::says(WHAT, "acceptance", "it names another link"));
        }
        if !says.is_fresh(arrived) {
            let problem = format!("it says {}, and it is {arrived}: sign a new one", says.time);
            return Err(Fault::says(WHAT, "time_ms", problem));
        }
        let request = RequestName::of(says.request);
        Ok(Asked { caller, link: name, preview, name: request })
    }

    /// The link, if it is the caller's and stands.
    async fn previewed_link(&self, caller: &CustomerName, name: &LinkName) -> Result<StoredLink, Fault> {
        let link = self.broker.confirmed_link(name).await?;
        let link = link.filter(|link| link.customer == *caller && !link.ended);
        link.ok_or_else(|| Fault::LinkMissing { link: name.to_string() })
    }

    /// Whether the link stands, and the request is the caller's and waits, and has a row of this offer, of whose source the
    /// link is.
    async fn preview_read(&self, asked: &Asked) -> Result<Read, Fault> {
        let (broker, says) = (&self.broker, asked.preview.statement());
        let stands = self.previewed_link(&asked.caller, &asked.link).await?;
        let party = Party::Customer(asked.caller.clone());
        let (request, put) = grant::load_request(broker, &party, &asked.name).await?;
        lifecycle::GrantRequest::from_row(&request.row, put.expire_time)?
            .preview(broker.now())
            .map_err(|error| Fault::not_allowed(&asked.name, error))?;
        if !put.rows.iter().any(|row| row.offer == says.offer) {
            return Err(Fault::says(WHAT, "offer", "the request has no such row"));
        }
        let offer = broker.offer(&OfferName::of(says.offer)).await?;
        let offer = offer.ok_or_else(|| Fault::says(WHAT, "offer", "there is no such offer"))?;
        says.within(&offer.signed).map_err(|error| Fault::says(WHAT, error.check(), &error))?;
        let source = &offer.signed.statement().source;
        let link = &stands.read.row;
        if link.partner != source.as_str() {
            return Err(Fault::says(WHAT, "source_link", format!("the link is not with `{source}`")));
        }
        // A person can have two accounts with the requester: it is the one that was asked that is looked at.
        if put.requester == *source && link.subject != put.subject.as_str() {
            return Err(Fault::says(WHAT, "source_link", "the link is of another account than was asked"));
        }
        let source = broker.partner(source).await?;
        if !Partner::from_row(&source.row).is_live() {
            return Err(Fault::Refused(Refusal::SourceSuspended));
        }
        let account = broker.load(rows::customer(&asked.caller)).await?.ok_or(Fault::GrantUnknown)?;
        let customer = broker.customer_key(&asked.caller).await?;
        if customer.stolen {
            return Err(Fault::CustomerStolen);
        }
        Ok(Read { link: stands, request, offer, source, account, customer })
    }

    /// Refuses other bytes under a request id before the source is troubled. That the same bytes bring the same record is
    /// the commit's to see to.
    async fn preview_is_new(&self, asked: &Asked) -> Result<(), Fault> {
        let request_id = &asked.preview.statement().request_id;
        let key = request_key(&Principal::Customer(asked.caller.clone()), request_id);
        match self.broker.ledger().request(&key).await? {
            Some(known) if known.digest != *asked.preview.digest().as_bytes() => {
                Err(Fault::RequestIdReused { request_id: request_id.clone() })
            }
            _ => Ok(()),
        }
    }

    /// Verifies what the source signed, and that exactly the asked fields came.
    async fn shown(
        &self,
        asked: &Asked,
        source: &PartnerName,
        answer: ProvidePreviewResponse,
    ) -> Result<Shown, Fault> {
        let wrong = |check: &'static str| Fault::SourceMisbehaved { source_name: source.clone(), check };
        let (provision, key) = self
            .signed_by_source::<PreviewProvision>(source, answer.provision.as_ref(), |says| says.time)
            .await?;
        let says = provision.statement();
        if &says.source != source {
            return Err(wrong("source"));
        }
        if says.preview != asked.preview.digest() {
            return Err(wrong("preview"));
        }
        if says.sealed != Digest::of(&answer.sealed_fields) {
            return Err(wrong("sealed"));
        }
        let sealed =
            SealedFields::decode(answer.sealed_fields.clone()).map_err(|_| wrong("sealed_fields"))?;
        check_previewed(asked.preview.statement(), &sealed).map_err(|_| wrong("fields"))?;
        Ok(Shown { sealed_fields: answer.sealed_fields, provision, key })
    }

    /// Commits the record, and only then lets the values go. What may not go any more is dropped: it was sealed to the
    /// customer, who gets a refusal.
    async fn show(&self, asked: &Asked, mut read: Read, shown: Shown) -> Result<PreviewDataResponse, Fault> {
        let party = Party::Customer(asked.caller.clone());
        for _ in 0..MAX_TRIES {
            let entered = match self.broker.commit(self.previewed(asked, &read, &shown)).await? {
                Done::Committed { mut entered, .. } => {
                    entered.pop().ok_or(Fault::Bug { what: "a preview was committed without its record" })?
                }
                // The same preview again: the same bytes, under the record that it has.
                Done::Replayed { first_index, answer } if answer == Bytes::from(shown.provision.digest()) => {
                    self.broker.entered(first_index).await?
                }
                Done::Replayed { .. } => {
                    let source_name = read.source_name().clone();
                    return Err(Fault::SourceMisbehaved { source_name, check: "repeat" });
                }
                Done::Conflict => {
                    read = self.preview_read(asked).await?;
                    continue;
                }
            };
            return Ok(response(&party, shown, &entered));
        }
        Err(Fault::Contended { row: "grant request" })
    }

    fn previewed(&self, asked: &Asked, read: &Read, shown: &Shown) -> Work {
        let (says, offer) = (asked.preview.statement(), read.offer.signed.statement());
        let mut work = Work::default();
        // A link that gives way, a report of theft, and a closing of the account each write one of these.
        work.expect(&read.link.read);
        work.expect(&read.account);
        work.expect(&read.request);
        work.expect(&read.source);
        let principal = Principal::Customer(asked.caller.clone());
        let answer = Bytes::from(shown.provision.digest());
        work.request(&principal, &says.request_id, asked.preview.digest(), answer);
        work.record(self.broker.draft(Happening {
            kind: Kind::Previewed,
            // No recipient: whether somebody looked before answering is not the asker's to know.
            source: Some(&offer.source),
            customer: Some(&read.customer),
            purpose: Some(&offer.purpose),
            catalogue_version: Some(offer.catalogue_version),
            fields: &says.fields,
            evidence: &[says.request, says.offer, asked.preview.digest(), shown.provision.digest()],
            private: PrivatePart {
                envelopes: vec![asked.preview.envelope().clone(), shown.provision.envelope().clone()],
                grant_request: asked.name.to_string(),
                link: asked.link.to_string(),
                source_subject: read.link.read.row.subject.clone(),
                ..PrivatePart::default()
            },
            ..Happening::default()
        }));
        work
    }
}

fn response(party: &Party, shown: Shown, entered: &Entered) -> PreviewDataResponse {
    PreviewDataResponse {
        sealed_fields: shown.sealed_fields,
        provision: Some(shown.provision.envelope().clone()),
        source_key: Some(shown.key.certificate().envelope().clone()),
        receipt: Some(entered.for_party(party)),
    }
}
