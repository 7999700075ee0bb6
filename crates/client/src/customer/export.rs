//! Everything about the customer, taken along: into a folder of plain files that others can read and check.
//!
//! What is written was verified first: each record's proof, what its commitments open to, each grant's signatures. What
//! does not verify ends the export with an error, and a folder without `manifest.json` is not a whole one.

mod consent;
mod folder;
mod json;

use std::{
    collections::{BTreeSet, HashMap},
    io,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use countersign_grants::{
    catalogue::FieldPath,
    digest::Digest,
    envelope,
    id::{GrantName, LinkName, RequestName},
    key::SigningKey,
    statement::{GrantChange, GrantTerms, Offer, Statement, WorkingKey},
};
use countersign_proto::{
    log::v1::Kind,
    statement::v1::Envelope,
    v1::{
        GetCustomerRequest, Grant, ListGrantRequestsRequest, ListGrantsRequest, ListLinksRequest,
        ListProvenEventsRequest, ProvenEvent,
    },
};
use prost::Message as _;
use serde_json::json;

use self::{
    consent::{Consent, Happened},
    folder::Folder,
    json::{dsse, message, moment},
};
use super::{Customer, GrantRow, activity::Numbering, devices::changes};
use crate::{
    auditor::proof_file,
    channel::call,
    error::{Error, Party},
    receipt::ProvenLeaf,
};

/// The version of what is written.
const VERSION: u32 = 1;

/// How much of a list is asked for at a time: what is held in memory. A request or a grant has at most some 100 KiB.
const PAGE_SIZE: i32 = 50;

/// The most records that are written: fifty a day for ten years, and a bound on what a broker can make a disk hold.
const MAX_RECORDS: usize = 200_000;

/// The most links, requests or grants: far more than a person ever has.
const MAX_LISTED: usize = super::MAX_LISTED;

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// How many links.
    pub links: usize,
    /// How many requests.
    pub requests: usize,
    /// How many grants, each with a consent receipt.
    pub grants: usize,
    /// How many records, each with a proof.
    pub records: usize,
}

/// Why an export ended. What was written so far stays, without a manifest.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The folder holds something already.
    #[error("{}: the folder is not empty; name one that is, or a new one", path.display())]
    NotEmpty {
        /// Which folder.
        path: PathBuf,
    },
    /// The file system says no.
    #[error("{}: {source}", path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A call failed, or what the broker handed over does not verify.
    #[error(transparent)]
    Call(#[from] Error),
}

impl From<tonic::Status> for ExportError {
    fn from(status: tonic::Status) -> Self {
        Self::Call(status.into())
    }
}

impl Customer {
    /// Writes everything about the customer into a new folder: from the broker over the public API, and from the book. The
    /// broker's answers are taken page by page, and no more than a page is held.
    pub async fn export(&self, path: &Path) -> Result<Exported, ExportError> {
        self.0.monitor.check()?;
        self.learn_links().await?;
        let mut folder = Folder::create(path)?;
        self.export_customer(&mut folder).await?;
        let links = self.export_links(&mut folder).await?;
        let requests = self.export_requests(&mut folder).await?;
        let (records, happened) = self.export_events(&mut folder).await?;
        let grants = self.export_grants(&mut folder, &happened).await?;
        self.settle().await?;
        folder.flush().await?;
        let exported = Exported { links, requests, grants, records };
        // The mark that all of it is there: from here the folder is a whole export.
        let manifest = json!({
            "format": "countersign-export",
            "version": VERSION,
            "customer": self.name().as_str(),
            "origin": self.origin().as_str(),
            "log_verifier_key": self.0.trust.log_key.to_string(),
            "time": moment(self.now()),
            "links": links, "requests": requests, "grants": grants, "records": records,
        });
        folder.document("manifest.json".to_owned(), &manifest).await?;
        folder.flush().await?;
        Ok(exported)
    }

    async fn export_customer(&self, folder: &mut Folder) -> Result<(), ExportError> {
        let asked = GetCustomerRequest { name: self.name().to_string() };
        let customer = self.0.connection.customers().get_customer(call(asked)).await?.into_inner();
        if customer.name != self.name().as_str() {
            return Err(twisted("customer", "name", "it is another one").into());
        }
        folder.document("customer.json".to_owned(), &message("v1.Customer", &customer)).await?;
        self.identity().await?;
        let changes = changes(&self.0.connection, self.name()).await?;
        let labels = self.0.book.authenticator_labels();
        let labels = labels.into_iter().map(|(id, label)| (hex(id), json!(label)));
        let devices = json!({
            "changes": changes.iter().map(dsse).collect::<Vec<_>>(),
            "labels": labels.collect::<serde_json::Map<_, _>>(),
        });
        folder.document("devices.json".to_owned(), &devices).await
    }

    async fn export_links(&self, folder: &mut Folder) -> Result<usize, ExportError> {
        let (mut list, mut pages) = (Folder::list("links.json"), Pages::new(MAX_LISTED));
        while let Some(page_token) = pages.next() {
            let asked =
                ListLinksRequest { parent: self.name().to_string(), page_size: PAGE_SIZE, page_token };
            let page = self.0.connection.links().list_links(call(asked)).await?.into_inner();
            pages.took(page.links.len(), page.next_page_token)?;
            for link in page.links {
                let known = LinkName::parse(&link.name).ok().and_then(|name| self.0.book.link(&name));
                let element = json!({
                    "link": message("v1.Link", &link),
                    // What only the customer and the partner know.
                    "label": known.as_ref().map(|row| row.label.as_str()),
                    "confirmed": known.as_ref().map(|row| row.confirmed),
                });
                list.add(folder, &element).await?;
            }
        }
        list.end(folder).await
    }

    async fn export_requests(&self, folder: &mut Folder) -> Result<usize, ExportError> {
        let (mut list, mut pages) = (Folder::list("requests.json"), Pages::new(MAX_LISTED));
        while let Some(page_token) = pages.next() {
            let asked = ListGrantRequestsRequest {
                parent: self.name().to_string(),
                page_size: PAGE_SIZE,
                page_token,
            };
            let page = self.0.connection.grants().list_grant_requests(call(asked)).await?.into_inner();
            pages.took(page.grant_requests.len(), page.next_page_token)?;
            for request in page.grant_requests {
                let name = RequestName::parse(&request.name)
                    .map_err(|error| twisted("request", "name", &error.to_string()))?;
                let (statement, link) = self.verify_statement(&name, &request)?;
                for (row, offer) in statement.statement().rows.iter().zip(&request.offers) {
                    self.verify_offer(row.offer, offer, &link)?;
                }
                let element = json!({
                    "request": message("v1.GrantRequest", &request),
                    "link": link.name.as_str(),
                });
                list.add(folder, &element).await?;
            }
        }
        list.end(folder).await
    }

    /// Writes each record with its proof, and keeps what happened to each grant, by its tag.
    async fn export_events(
        &self,
        folder: &mut Folder,
    ) -> Result<(usize, HashMap<Bytes, Vec<Happened>>), ExportError> {
        let (mut list, mut pages) = (Folder::list("events.json"), Pages::new(MAX_RECORDS));
        let (mut numbering, mut happened) = (Numbering::new(true), HashMap::<Bytes, Vec<Happened>>::new());
        let mut next = 0;
        while let Some(page_token) = pages.next() {
            let asked = ListProvenEventsRequest {
                parent: self.name().to_string(),
                cursor: 0,
                page_size: PAGE_SIZE,
                page_token,
            };
            let page = self.0.connection.events().list_proven_events(call(asked)).await?.into_inner();
            pages.took(page.events.len(), page.next_page_token)?;
            for proven in page.events {
                let evidence = evidence(&proven)?;
                let receipt = proven.receipt.clone();
                let activity = self.check(proven.event.unwrap_or_default())?;
                let leaf = ProvenLeaf::prove(receipt.as_ref(), &self.0.monitor)?;
                if leaf.leaf() != &activity.event.record || leaf.index() != activity.index() {
                    return Err(twisted("event", "receipt", "is the proof of another record").into());
                }
                if leaf.index() < next {
                    return Err(twisted("events", "index", "is not larger than the one before").into());
                }
                next = leaf.index() + 1;
                numbering.take(&activity)?;
                self.opens(&leaf, &activity.event.fields, &evidence)?;
                let record = leaf.record();
                if tells_of_grant(record.kind()) {
                    happened.entry(record.grant_tag.clone()).or_default().push(Happened {
                        kind: record.kind(),
                        time: activity.time(),
                        index: leaf.index(),
                    });
                }
                let proof = format!("proofs/{}.tlog-proof", leaf.index());
                let mut event = message("v1.Event", &activity.event);
                // It stands in the receipt, once.
                if let Some(event) = event.as_object_mut() {
                    event.remove("record");
                }
                let evidence =
                    evidence.iter().map(|digest| data_encoding::HEXLOWER.encode(digest.as_bytes()));
                let element = json!({
                    "index": leaf.index(),
                    "event": event,
                    "record": message("log.v1.Record", record),
                    "receipt": message("v1.Receipt", leaf.receipt()),
                    "evidence": evidence.collect::<Vec<_>>(),
                    "proof": proof,
                });
                list.add(folder, &element).await?;
                folder.add(proof, proof_file(&leaf)?.to_string().into_bytes()).await?;
            }
        }
        Ok((list.end(folder).await?, happened))
    }

    /// Whether all that a record commits to is what was handed over.
    fn opens(&self, leaf: &ProvenLeaf, fields: &[String], evidence: &[Digest]) -> Result<(), Error> {
        let record = leaf.record();
        let fields = fields.iter().map(|field| FieldPath::parse(field)).collect::<Result<Vec<_>, _>>();
        let fields = fields.map_err(|error| twisted("event", "fields", &error.to_string()))?;
        // They can come when the account is closed, so they name nobody.
        let names_nobody = matches!(record.kind(), Kind::ErasureAttested | Kind::ErasureOverdue);
        leaf.opens(
            (!names_nobody).then_some(self.name()),
            (!record.fields_commitment.is_empty()).then_some(&fields),
            (!record.evidence_commitment.is_empty()).then_some(evidence),
        )
    }

    async fn export_grants(
        &self,
        folder: &mut Folder,
        happened: &HashMap<Bytes, Vec<Happened>>,
    ) -> Result<usize, ExportError> {
        let (mut list, mut pages) = (Folder::list("grants.json"), Pages::new(MAX_LISTED));
        let mut catalogues = BTreeSet::new();
        while let Some(page_token) = pages.next() {
            // As it stood before the broker was asked: what is changed meanwhile it need not show yet.
            let known: HashMap<_, _> =
                self.0.book.grants().into_iter().map(|row| (row.name, row.sequence)).collect();
            let asked =
                ListGrantsRequest { parent: self.name().to_string(), page_size: PAGE_SIZE, page_token };
            let page = self.0.connection.grants().list_grants(call(asked)).await?.into_inner();
            pages.took(page.grants.len(), page.next_page_token)?;
            for grant in page.grants {
                let row = self.reconcile(&grant, |name: &GrantName| known.get(name).copied()).await?;
                let offer = self.offer_of(&row, &grant)?;
                let version = row.terms.catalogue_version;
                let catalogue = self.catalogue(version).await?;
                if catalogues.insert(version) {
                    let name = format!("catalogues/{}.toml", hex(version));
                    folder.add(name, catalogue.document().to_vec()).await?;
                }
                let none = Vec::new();
                let consent = Consent {
                    origin: self.origin(),
                    customer: self.name(),
                    row: &row,
                    offer: &offer,
                    catalogue: &catalogue,
                    state: grant.state(),
                    happened: happened.get(row.terms.log_tag.as_slice()).unwrap_or(&none),
                    now: self.now(),
                };
                let name = format!("consents/{}.jsonld", hex(row.name.digest()));
                folder.document(name.clone(), &consent.receipt()).await?;
                list.add(folder, &self.grant_element(&row, &grant, &name)?).await?;
            }
        }
        list.end(folder).await
    }

    /// A grant as the broker shows it, and the recipient's copies of what was signed: the same payloads, signed with the key
    /// of the link to the recipient, which gives the same signature each time.
    fn grant_element(
        &self,
        row: &GrantRow,
        grant: &Grant,
        consent: &str,
    ) -> Result<serde_json::Value, Error> {
        let key = self.0.wallet.link_key(row.recipient_link);
        let terms = grant.terms.as_ref().map(|terms| again::<GrantTerms>(terms, &key)).transpose()?;
        let changes = grant.changes.iter().map(|change| Ok(dsse(&again::<GrantChange>(change, &key)?)));
        Ok(json!({
            "grant": message("v1.Grant", grant),
            "recipient_terms": terms.as_ref().map(dsse),
            "recipient_changes": changes.collect::<Result<Vec<_>, Error>>()?,
            "source_link": LinkName::of(row.source_link).as_str(),
            "recipient_link": LinkName::of(row.recipient_link).as_str(),
            "consent": consent,
        }))
    }

    /// The offer, as its recipient signed it under the identity that the terms name.
    fn offer_of(&self, row: &GrantRow, grant: &Grant) -> Result<Offer, Error> {
        let terms = &row.terms;
        let who = Party::Partner(terms.recipient.clone());
        let signed = WorkingKey::certified(
            grant.offer_key.as_ref(),
            &terms.recipient_identity,
            &terms.recipient,
            self.origin(),
        )
        .and_then(|key| key.verify::<Offer>(grant.offer.as_ref(), |said| said.time))
        .map_err(|error| Error::bad_key(who, "offer", &error))?;
        if signed.digest() == terms.offer {
            Ok(signed.statement().clone())
        } else {
            Err(twisted("grant", "offer", "is not the one that the terms name"))
        }
    }
}

/// The same payload, signed with another key.
fn again<S: Statement>(envelope: &Envelope, key: &SigningKey) -> Result<Envelope, Error> {
    let message = S::Message::decode(envelope.payload.clone())
        .map_err(|error| twisted("grant", "payload", &error.to_string()))?;
    Ok(envelope::sign::<S>(&message, &[key]))
}

fn evidence(proven: &ProvenEvent) -> Result<Vec<Digest>, Error> {
    let read = |bytes: &Bytes| <[u8; 32]>::try_from(bytes.as_ref()).map(Digest::from);
    let read = proven.evidence.iter().map(read).collect::<Result<_, _>>();
    read.map_err(|_| twisted("event", "evidence", "a hash is not 32 bytes"))
}

/// Whether a record says that a grant's standing changed. Its changes are bounded, so that these may be held.
fn tells_of_grant(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::GrantPaused
            | Kind::GrantResumed
            | Kind::GrantWithdrawn
            | Kind::GrantSuspended
            | Kind::GrantUnsuspended
            | Kind::GrantRevoked
            | Kind::GrantSuspendedByOperator
            | Kind::GrantUnsuspendedByOperator
            | Kind::GrantRevokedByOperator
    )
}

fn hex(digest: Digest) -> String {
    data_encoding::HEXLOWER.encode(digest.as_bytes())
}

fn twisted(what: &'static str, check: &'static str, detail: &str) -> Error {
    Error::misbehaved(Party::Broker, what, check, detail)
}

/// A list that is read page by page, up to a bound.
struct Pages {
    token: Option<String>,
    left: usize,
}

impl Pages {
    fn new(most: usize) -> Self {
        Self { token: Some(String::new()), left: most }
    }

    /// The token of the next page; none after the last.
    fn next(&mut self) -> Option<String> {
        self.token.take()
    }

    fn took(&mut self, items: usize, next: String) -> Result<(), Error> {
        // An empty page counts too, so that a list of nothing ends.
        self.left = self
            .left
            .checked_sub(items.max(1))
            .ok_or_else(|| twisted("list", "length", "has more entries than a person ever has"))?;
        self.token = Some(next).filter(|token| !token.is_empty());
        Ok(())
    }
}
