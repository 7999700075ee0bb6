//! Reading a request: nothing of it is shown that the broker could have twisted.

use std::{collections::BTreeSet, sync::Arc};

use countersign_grants::{
    catalogue::Catalogue,
    digest::Digest,
    envelope::{self, Signed},
    id::{CatalogueName, GrantName, PartnerName, RequestName},
    statement::{GrantRequest, MAX_REQUEST_WORDS, Offer, WorkingKey},
    time::Timestamp,
};
use countersign_proto::v1::{
    self, GetCatalogueRequest, GetGrantRequestRequest, ListGrantRequestsRequest, grant_request::State,
};

use super::{Customer, GrantRow, LinkRow, PAGE_SIZE, all_pages};
use crate::{
    channel::call,
    checkpoint::Met,
    error::{Error, Party},
};

/// A request as the broker lists it: not verified, so good for a name and a badge, and no more.
#[derive(Clone, Debug)]
pub struct Waiting {
    /// `grantRequests/{request}`.
    pub name: RequestName,
    /// Who asks, by the broker's word.
    pub requester: String,
    /// Where it stands, by the broker's word.
    pub state: State,
    /// When it lapses, by the broker's word.
    pub expires: Timestamp,
}

/// A request that verified.
#[derive(Clone, Debug)]
pub struct ReadRequest {
    name: RequestName,
    statement: Signed<GrantRequest>,
    link: LinkRow,
    rows: Vec<Row>,
    state: State,
}

/// One row of a request.
#[derive(Clone, Debug)]
pub struct Row {
    /// From 1, as the person counts.
    pub number: usize,
    /// Whether it can be left out. Optional rows start switched off.
    pub optional: bool,
    /// The grant that it renews: with its approval that one ends.
    pub renews: Option<GrantName>,
    /// The offer. Signed under the recipient's pinned identity if the recipient is linked; until then nobody vouches that
    /// the identity in the offer is the brand's, and the row can't be approved.
    pub offer: Signed<Offer>,
    /// The catalogue under which it was written.
    pub catalogue: Arc<Catalogue>,
    /// What people call the source, by the broker's word.
    pub source_display_name: String,
    /// What people call the recipient, by the broker's word.
    pub recipient_display_name: String,
    pub(super) source_link: Option<LinkRow>,
    pub(super) recipient_link: Option<LinkRow>,
}

impl Row {
    /// The sides that the customer is not linked with. With any, the row can't be approved.
    pub fn missing(&self) -> Vec<&PartnerName> {
        let offer = self.offer.statement();
        let sides = [(&offer.source, &self.source_link), (&offer.recipient, &self.recipient_link)];
        sides.into_iter().filter(|(_, link)| link.is_none()).map(|(name, _)| name).collect()
    }

    /// The customer's own name for the account at the source.
    pub fn source_label(&self) -> Option<&str> {
        self.source_link.as_ref().map(|link| link.label.as_str())
    }

    /// The customer's own name for the account at the recipient.
    pub fn recipient_label(&self) -> Option<&str> {
        self.recipient_link.as_ref().map(|link| link.label.as_str())
    }
}

impl ReadRequest {
    /// `grantRequests/{request}`.
    pub fn name(&self) -> &RequestName {
        &self.name
    }

    /// What the requester signed.
    pub fn statement(&self) -> &Signed<GrantRequest> {
        &self.statement
    }

    /// The link through which the request came.
    pub fn link(&self) -> &LinkRow {
        &self.link
    }

    /// The rows, in order.
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Where it stands, by the broker's word.
    pub fn state(&self) -> State {
        self.state
    }

    #[cfg(test)]
    pub(super) fn for_test(
        name: RequestName,
        statement: Signed<GrantRequest>,
        link: LinkRow,
        rows: Vec<Row>,
    ) -> Self {
        Self { name, statement, link, rows, state: State::Requested }
    }
}

impl Customer {
    /// All requests that were ever put before the customer, oldest first. Others wait for their turn; one whose name the
    /// customer has from elsewhere can be [read](Self::read_request) at once.
    pub async fn requests(&self) -> Result<Vec<Waiting>, Error> {
        self.0.monitor.check()?;
        let listed = all_pages(|page_token| async {
            let asked = ListGrantRequestsRequest {
                parent: self.name().to_string(),
                page_size: PAGE_SIZE,
                page_token,
                ..Default::default()
            };
            let page = self.0.connection.grants().list_grant_requests(call(asked)).await?.into_inner();
            Ok((page.grant_requests, page.next_page_token))
        })
        .await?;
        listed
            .into_iter()
            .map(|request| {
                let name = RequestName::parse(&request.name).map_err(|error| {
                    Error::misbehaved(Party::Broker, "request", "name", error.to_string())
                })?;
                let expires = request
                    .expire_time
                    .map_or(0, |time| u64::try_from(time.seconds).unwrap_or(0).saturating_mul(1000));
                let expires = Timestamp::from_millis(expires);
                Ok(Waiting { name, state: request.state(), requester: request.requester, expires })
            })
            .collect()
    }

    /// Fetches a request and verifies all of it.
    pub async fn read_request(&self, name: &RequestName) -> Result<ReadRequest, Error> {
        self.0.monitor.check()?;
        // One may have been confirmed since, may have ended, or may be of another device.
        self.learn_links().await?;
        let asked = GetGrantRequestRequest { name: name.to_string() };
        let request = self.0.connection.grants().get_grant_request(call(asked)).await?.into_inner();
        let (statement, link) = self.verify_statement(name, &request, Met::InStatement)?;
        let mut rows = Vec::with_capacity(request.offers.len());
        if request.offers.len() != statement.statement().rows.len() {
            let detail = format!(
                "{} offers, where {} were signed",
                request.offers.len(),
                statement.statement().rows.len()
            );
            return Err(twisted("offers", detail));
        }
        for (at, (asked, offer)) in statement.statement().rows.iter().zip(&request.offers).enumerate() {
            let (signed, mut source_link, mut recipient_link) =
                self.verify_offer(asked.offer, offer, &link, Met::InStatement)?;
            let renews = match asked.renews {
                Some(renews) => {
                    let old = self.renewed(&GrantName::of(renews), signed.statement()).await?;
                    (source_link, recipient_link) =
                        (self.link_by(old.source_link), self.link_by(old.recipient_link));
                    Some(old.name)
                }
                None => None,
            };
            let catalogue = self.catalogue(signed.statement().catalogue_version).await?;
            let said = signed.statement();
            said.within(&catalogue).map_err(|error| {
                let who = Party::Partner(said.recipient.clone());
                Error::misbehaved(who, "offer", "catalogue", error.to_string())
            })?;
            rows.push(Row {
                number: at + 1,
                optional: asked.optional,
                renews,
                offer: signed,
                catalogue,
                source_display_name: offer.source_display_name.clone(),
                recipient_display_name: offer.recipient_display_name.clone(),
                source_link,
                recipient_link,
            });
        }
        check_length(&statement, &rows)?;
        Ok(ReadRequest { name: name.clone(), statement, link, rows, state: request.state() })
    }

    /// The customer's own grant that a row renews: between the same parties, for the same purpose.
    async fn renewed(&self, name: &GrantName, offer: &Offer) -> Result<GrantRow, Error> {
        let known = match self.0.book.grant(name) {
            Some(row) => Some(row),
            None => self.look_up(name).await?,
        };
        let row = known.ok_or_else(|| twisted("renews", format!("`{name}` is no grant of this customer")))?;
        let same = row.terms.source == offer.source
            && row.terms.recipient == offer.recipient
            && row.terms.purpose == offer.purpose;
        if !same {
            let detail = format!("`{name}` is between others, or for another purpose");
            return Err(twisted("renews", detail));
        }
        Ok(row)
    }

    /// The requester's statement, under the identity pinned by the very link whose handle it names.
    pub(super) fn verify_statement(
        &self,
        name: &RequestName,
        request: &v1::GrantRequest,
        met: Met,
    ) -> Result<(Signed<GrantRequest>, LinkRow), Error> {
        let claimed = envelope::peek::<GrantRequest>(request.statement.as_ref())
            .map_err(|error| Error::bad_statement(Party::Broker, "request", &error))?;
        let Some(link) = self.0.book.link_of(&claimed.subject) else {
            return Err(twisted("subject", format!("`{}` is no handle of this customer", claimed.subject)));
        };
        let who = Party::Partner(link.partner.clone());
        let statement =
            WorkingKey::certified(request.partner_key.as_ref(), &link.identity, &link.partner, self.origin())
                .and_then(|key| key.verify::<GrantRequest>(request.statement.as_ref(), |said| said.time))
                .map_err(|error| Error::bad_key(who.clone(), "request", &error))?;
        if statement.digest() != name.digest() {
            return Err(twisted("name", format!("asked for `{name}`, got another one")));
        }
        self.0.monitor.take(&statement.statement().checkpoint.0, met, &who)?;
        Ok((statement, link))
    }

    #[expect(
        clippy::type_complexity,
        reason = "the offer and the links of its two sides, taken apart at once"
    )]
    pub(super) fn verify_offer(
        &self,
        expected: Digest,
        offer: &v1::grant_request::Offer,
        asking: &LinkRow,
        met: Met,
    ) -> Result<(Signed<Offer>, Option<LinkRow>, Option<LinkRow>), Error> {
        let claimed = envelope::peek::<Offer>(offer.statement.as_ref())
            .map_err(|error| Error::bad_statement(Party::Broker, "offer", &error))?;
        if offer.statement.as_ref().map(envelope::digest) != Some(expected) {
            return Err(twisted("offers", "an offer is not the one that the requester named"));
        }
        // Of the requester's links, the one that it asks through.
        let link_with = |partner: &PartnerName| {
            if asking.partner == *partner {
                Some(asking.clone()).filter(LinkRow::stands)
            } else {
                self.0.book.link_with(partner)
            }
        };
        let (source_link, recipient_link) = (link_with(&claimed.source), link_with(&claimed.recipient));
        let identity = recipient_link.as_ref().map_or(&claimed.recipient_identity, |link| &link.identity);
        let who = Party::Partner(claimed.recipient.clone());
        let signed =
            WorkingKey::certified(offer.partner_key.as_ref(), identity, &claimed.recipient, self.origin())
                .and_then(|key| key.verify::<Offer>(offer.statement.as_ref(), |said| said.time))
                .map_err(|error| Error::bad_key(who.clone(), "offer", &error))?;
        if signed.statement().recipient_identity != *identity {
            return Err(Error::misbehaved(who, "offer", "recipient_identity", "is not the pinned one"));
        }
        self.0.monitor.take(&signed.statement().checkpoint.0, met, &who)?;
        Ok((signed, source_link, recipient_link))
    }

    /// A catalogue, by the hash of its document.
    pub(super) async fn catalogue(&self, version: Digest) -> Result<Arc<Catalogue>, Error> {
        if let Some(known) = self.0.catalogues.lock().get(&version) {
            return Ok(Arc::clone(known));
        }
        let asked = GetCatalogueRequest { name: CatalogueName::of(version).to_string() };
        let answer = self.0.connection.catalogue().get_catalogue(call(asked)).await?.into_inner();
        if Digest::of(&answer.document) != version {
            return Err(Error::misbehaved(
                Party::Broker,
                "catalogue",
                "version",
                "its document has another hash",
            ));
        }
        let catalogue = Catalogue::parse(&answer.document)
            .map_err(|error| Error::misbehaved(Party::Broker, "catalogue", "rules", error.to_string()))?;
        let catalogue = Arc::new(catalogue);
        self.0.catalogues.lock().insert(version, Arc::clone(&catalogue));
        Ok(catalogue)
    }
}

/// Whether a person reads it to the end, in every language that it has.
fn check_length(statement: &Signed<GrantRequest>, rows: &[Row]) -> Result<(), Error> {
    let texts = rows.iter().flat_map(|row| &row.offer.statement().texts);
    let languages: BTreeSet<&str> = texts.map(|text| text.language.as_str()).collect();
    for language in languages {
        let words: usize = rows.iter().map(|row| row.offer.statement().text(language).0.words()).sum();
        if words > MAX_REQUEST_WORDS {
            let who = Party::Partner(statement.statement().requester.clone());
            let detail = format!("{words} words in `{language}`; {MAX_REQUEST_WORDS} are allowed");
            return Err(Error::misbehaved(who, "request", "words", detail));
        }
    }
    Ok(())
}

fn twisted(check: &'static str, detail: impl Into<String>) -> Error {
    Error::misbehaved(Party::Broker, "request", check, detail)
}
