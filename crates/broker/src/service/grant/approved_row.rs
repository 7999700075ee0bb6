//! One row of an approval: what the customer signed, held against the links, the offer and the request.

use std::time::Duration;

use bytes::Bytes;
use countersign_grants::{
    digest::Digest,
    envelope::{self, Signed},
    id::{CustomerName, GrantName, LinkName, OfferName, PartnerName},
    statement::{GrantRequest, GrantTerms, open_party_commitment},
};
use countersign_proto::{
    row::v1::GrantRow,
    v1::{approve_grant_request_request::ApprovedRow, grant::State},
};

use crate::{
    Broker, Fault,
    service::fields,
    stored::{StoredLink, StoredOffer},
};

const WHAT: &str = "grant terms";

/// How far the approval's time may lie from ours, in either direction: as for a fetch. The terms' times bind both
/// sides, so an approval is not kept to be used later.
const MAX_APPROVAL_AGE: Duration = Duration::from_secs(120);

/// The length of a salt that opens a party commitment.
const SALT_BYTES: usize = 32;

/// A row that has met every check.
pub(super) struct VerifiedRow {
    /// The grant's name.
    pub(super) name: GrantName,
    /// The terms.
    pub(super) terms: Signed<GrantTerms>,
    /// The position of its offer in the request.
    pub(super) position: usize,
    recipient_signature: countersign_proto::statement::v1::Signature,
    salts: (Bytes, Bytes),
    links: (StoredLink, StoredLink),
}

impl VerifiedRow {
    /// The links to source and recipient.
    pub(super) fn links(&self) -> [&StoredLink; 2] {
        [&self.links.0, &self.links.1]
    }

    /// The row of the grant that comes of it.
    pub(super) fn grant_row(&self, request: &str, requester: &PartnerName, now_ms: u64) -> GrantRow {
        let (source, recipient) = &self.links;
        let envelope = self.terms.envelope();
        let signer = self.terms.signer().as_str();
        GrantRow {
            terms: envelope.payload.clone(),
            source_signature: envelope.signatures.iter().find(|made| made.key_id == signer).cloned(),
            recipient_signature: Some(self.recipient_signature.clone()),
            source_salt: self.salts.0.clone(),
            recipient_salt: self.salts.1.clone(),
            customer: source.customer.to_string(),
            source_subject: source.read.row.subject.clone(),
            recipient_subject: recipient.read.row.subject.clone(),
            source_link: source.name.to_string(),
            recipient_link: recipient.name.to_string(),
            request: request.to_owned(),
            requester: requester.to_string(),
            create_time_ms: now_ms,
            state: State::Active.into(),
            change_sequence: 0,
            change_hash: Bytes::from(self.terms.digest()),
            suspended_by_source: false,
            suspended_by_operator: false,
            source_sequence: 0,
            source_hash: Bytes::new(),
            recipient_sequence: 0,
            recipient_hash: Bytes::new(),
            reason: String::new(),
        }
    }

    /// The two handles.
    pub(super) fn subjects(&self) -> (&str, &str) {
        (&self.links.0.read.row.subject, &self.links.1.read.row.subject)
    }
}

/// Verifies one chosen row.
pub(super) async fn verify(
    broker: &Broker,
    customer: &CustomerName,
    (request, request_digest): (&GrantRequest, Digest),
    row: &ApprovedRow,
) -> Result<VerifiedRow, Fault> {
    let source = link(broker, customer, ("rows.source_link", &row.source_link)).await?;
    let recipient = link(broker, customer, ("rows.recipient_link", &row.recipient_link)).await?;
    let (terms, recipient_signature) = signed_twice(broker, row, &source, &recipient)?;
    let position = says(broker, &terms, request, request_digest)?;
    let salts = links_fit(&terms, row, request, (&source, &recipient))?;
    identities(broker, terms.statement()).await?;
    let offer = broker.offer(&OfferName::of(terms.statement().offer)).await?;
    let offer = offer.ok_or_else(|| Fault::says(WHAT, "offer", "there is no such offer"))?;
    within(&terms, &offer)?;
    let name = GrantName::of(terms.digest());
    Ok(VerifiedRow { name, terms, position, recipient_signature, salts, links: (source, recipient) })
}

/// A confirmed link of this customer. Another's is as absent as none.
async fn link(
    broker: &Broker,
    customer: &CustomerName,
    (field, name): (&'static str, &str),
) -> Result<StoredLink, Fault> {
    let name = fields::name(field, name, LinkName::parse)?;
    let link = broker.confirmed_link(&name).await?;
    let link = link.filter(|link| link.customer == *customer && !link.ended);
    link.ok_or_else(|| Fault::LinkMissing { link: name.to_string() })
}

fn signed_twice(
    broker: &Broker,
    row: &ApprovedRow,
    source: &StoredLink,
    recipient: &StoredLink,
) -> Result<(Signed<GrantTerms>, countersign_proto::statement::v1::Signature), Fault> {
    let refused = |error| Fault::statement(WHAT, &error);
    let terms = envelope::verify::<GrantTerms>(row.source_terms.as_ref(), &[&source.key], broker.origin())
        .map_err(refused)?;
    let other =
        envelope::verify::<GrantTerms>(row.recipient_terms.as_ref(), &[&recipient.key], broker.origin())
            .map_err(refused)?;
    if !terms.same_terms(other.envelope()) {
        return Err(Fault::says(WHAT, "recipient_terms", "the two envelopes carry different terms"));
    }
    let signer = recipient.key.id().as_str();
    let signature = other.envelope().signatures.iter().find(|made| made.key_id == signer).cloned();
    let signature = signature.ok_or(Fault::Bug { what: "a verified envelope lacks its signature" })?;
    Ok((terms, signature))
}

/// What the terms say of the request and of time; the position of the row's offer in the request.
fn says(
    broker: &Broker,
    terms: &Signed<GrantTerms>,
    request: &GrantRequest,
    request_digest: Digest,
) -> Result<usize, Fault> {
    let (says, now) = (terms.statement(), broker.now());
    if says.request != request_digest {
        return Err(Fault::says(WHAT, "request", "they answer another request"));
    }
    if says.time.distance(now) > MAX_APPROVAL_AGE {
        return Err(Fault::says(
            WHAT,
            "time",
            format!("they say {}, and it is {now}: sign again", says.time),
        ));
    }
    if says.expire_time <= now {
        return Err(Fault::says(WHAT, "expire_time_ms", "they are over already"));
    }
    let position = request.rows.iter().position(|row| row.offer == says.offer);
    position.ok_or_else(|| Fault::says(WHAT, "offer", "the request has no such row"))
}

/// Whether the links are those of the parties, of the account that was asked, and those that the terms commit to.
fn links_fit(
    terms: &Signed<GrantTerms>,
    row: &ApprovedRow,
    request: &GrantRequest,
    (source, recipient): (&StoredLink, &StoredLink),
) -> Result<(Bytes, Bytes), Fault> {
    let says = terms.statement();
    let sides = [("source_link", source, &says.source), ("recipient_link", recipient, &says.recipient)];
    for (check, link, partner) in sides {
        if link.read.row.partner != partner.as_str() {
            return Err(Fault::says(WHAT, check, format!("the link is not with `{partner}`")));
        }
        // A person can have two accounts with the requester: the grant hangs on the one that was asked.
        if request.requester == *partner && link.read.row.subject != request.subject.as_str() {
            return Err(Fault::says(WHAT, check, "the link is of another account than was asked"));
        }
    }
    let commitments = [
        ("source_commitment", says.source_commitment, &row.source_salt, source),
        ("recipient_commitment", says.recipient_commitment, &row.recipient_salt, recipient),
    ];
    for (check, commitment, salt, link) in commitments {
        if salt.len() != SALT_BYTES || !open_party_commitment(commitment, salt, link.acceptance) {
            return Err(Fault::says(WHAT, check, "the salt does not open it to this link"));
        }
    }
    Ok((row.source_salt.clone(), row.recipient_salt.clone()))
}

/// The customer pinned both identities; the broker's directory must say the same, or one of them is wrong.
async fn identities(broker: &Broker, terms: &GrantTerms) -> Result<(), Fault> {
    let sides = [
        ("source_identity", &terms.source, &terms.source_identity),
        ("recipient_identity", &terms.recipient, &terms.recipient_identity),
    ];
    for (check, partner, pinned) in sides {
        if broker.partner(partner).await?.row.identity_key != *pinned.as_bytes().as_slice() {
            return Err(Fault::says(WHAT, check, format!("`{partner}` has another identity key here")));
        }
    }
    Ok(())
}

fn within(terms: &Signed<GrantTerms>, offer: &StoredOffer) -> Result<(), Fault> {
    let says = terms.statement();
    says.within(&offer.signed).map_err(|error| Fault::says(WHAT, error.field, &error))?;
    if !offer.signed.statement().text(&says.language).1 {
        return Err(Fault::says(WHAT, "language", "the offer has no text in it"));
    }
    Ok(())
}
