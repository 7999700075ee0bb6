//! Everything about the customer, taken along: into a folder of plain files that others can read and check.
//!
//! What is written was verified first: each record's proof, what its commitments open to, each signature of the customer's
//! and of partners. What does not verify ends the export with an error, and a folder without `manifest.json` is not a whole
//! one. What nobody but the broker vouches for is named in the manifest.

mod absent;
mod consent;
mod events;
mod folder;
mod grants;
mod json;
mod requests;
mod statements;
mod word;

use std::{
    io,
    path::{Path, PathBuf},
};

use countersign_grants::{digest::Digest, id::LinkName};
use countersign_proto::v1::{self, GetCustomerRequest, ListLinksRequest};
use serde_json::json;

use self::{
    absent::Absent,
    folder::Folder,
    json::{dsse, is_at, message, moment},
};
use super::{Customer, GrantRow, LinkRow};
use crate::{
    channel::call,
    checkpoint::Met,
    error::{Error, Party},
};

/// The version of what is written.
const VERSION: u32 = 2;

/// How much of a list is asked for at a time: what is held in memory. A request or a grant has at most some 100 KiB.
const PAGE_SIZE: i32 = 50;

/// The most records that are written: fifty a day for ten years, and a bound on what a broker can make a disk hold.
const MAX_RECORDS: usize = 200_000;

/// The most links or grants: far more than a person ever has.
const MAX_LISTED: usize = super::MAX_LISTED;

/// An export meets the heads of years at once, in statements too: of these as many are proven as of the receipts'.
const MET: Met = Met::InReceipt;

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exported {
    /// How many links.
    pub links: usize,
    /// How many requests, those that were never shown among them.
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
        let (mut folder, mut absent) = (Folder::create(path)?, Absent::default());
        // Records come first: what they rest on was there before them, and is in what is listed after them.
        let (records, past) = self.export_events(&mut folder, &mut absent).await?;
        self.export_customer(&mut folder, &mut absent).await?;
        let links = self.export_links(&mut folder, &mut absent).await?;
        let requests = self.export_requests(&mut folder, &mut absent).await?;
        // A grant's end can rest on the terms of a later one: all of them are in the book first.
        self.grants().await?;
        let grants = self.export_grants(&mut folder, &past, &mut absent).await?;
        absent.write(&mut folder).await?;
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
            "brokers_word": word::brokers_word(),
        });
        folder.document("manifest.json".to_owned(), &manifest).await?;
        folder.flush().await?;
        Ok(exported)
    }

    async fn export_customer(&self, folder: &mut Folder, absent: &mut Absent) -> Result<(), ExportError> {
        let asked = GetCustomerRequest { name: self.name().to_string() };
        let customer = self.0.connection.customers().get_customer(call(asked)).await?.into_inner();
        if customer.name != self.name().as_str() {
            return Err(twisted("customer", "name", "it is another one").into());
        }
        if customer.public_key != self.0.wallet.call_key().public().as_bytes().as_slice() {
            return Err(twisted("customer", "public_key", "it is another one").into());
        }
        folder.document("customer.json".to_owned(), &message("v1.Customer", &customer)).await?;
        let (_, changes) = self.identity_and_changes().await?;
        for change in &changes {
            absent.written(Some(change));
        }
        let labels = self.0.book.authenticator_labels();
        let labels = labels.into_iter().map(|(id, label)| (hex(id), json!(label)));
        let devices = json!({
            "changes": changes.iter().map(dsse).collect::<Vec<_>>(),
            "labels": labels.collect::<serde_json::Map<_, _>>(),
        });
        folder.document("devices.json".to_owned(), &devices).await
    }

    async fn export_links(&self, folder: &mut Folder, absent: &mut Absent) -> Result<usize, ExportError> {
        let (mut list, mut pages) = (Folder::list("links.json"), Pages::new(MAX_LISTED));
        while let Some(page_token) = pages.next() {
            let asked =
                ListLinksRequest { parent: self.name().to_string(), page_size: PAGE_SIZE, page_token };
            let page = self.0.connection.links().list_links(call(asked)).await?.into_inner();
            pages.took(page.links.len(), page.next_page_token)?;
            for link in page.links {
                let row = self.known_link(&link).await?;
                let element = json!({
                    "link": message("v1.Link", &link),
                    // What only the customer and the partner know.
                    "label": row.label.as_str(),
                    "confirmed": row.confirmed,
                });
                list.add(folder, &element).await?;
                let signed = [&link.invitation, &link.acceptance, &link.confirmation];
                for one in signed {
                    absent.written(one.as_ref());
                }
            }
        }
        list.end(folder).await
    }

    /// The book's row of a link of which every statement verifies. One that came since the links were learnt is taken over.
    async fn known_link(&self, link: &v1::Link) -> Result<LinkRow, Error> {
        let name =
            LinkName::parse(&link.name).map_err(|error| twisted("link", "name", &error.to_string()))?;
        let row = match self.0.book.link(&name) {
            Some(row) => row,
            None => self.adopt_link(&name, link).await?,
        };
        let invitation = self.verify_link(&row, link)?;
        let said = invitation.statement();
        for (same, check) in [
            (link.partner == said.partner.as_str(), "partner"),
            (link.subject == said.subject.as_str(), "subject"),
            (is_at(link.expire_time.as_ref(), said.expire_time), "expire_time"),
        ] {
            if !same {
                return Err(twisted("link", check, "is other than the invitation says"));
            }
        }
        Ok(row)
    }
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
