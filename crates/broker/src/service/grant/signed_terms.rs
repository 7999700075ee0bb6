//! Terms that a customer signed for both sides, held against the links, the directory and the offer.

use bytes::Bytes;
use countersign_grants::{
    envelope::{self, Signed},
    id::{CustomerName, GrantName, LinkName, OfferName, PartnerName},
    statement::{GrantRequest, GrantTerms, open_party_commitment},
};
use countersign_proto::{
    row::v1::GrantRow,
    statement::v1::Signature,
    v1::{approve_grant_request_request::ApprovedRow, grant::State},
};

use crate::{Broker, Fault, service::fields, stored::StoredLink};

pub(super) const WHAT: &str = "grant terms";

/// The length of a salt that opens a party commitment.
const SALT_BYTES: usize = 32;

/// Terms under both of their signatures, within their offer, and between the customer's own links.
pub(super) struct SignedTerms {
    /// The grant's name.
    pub(super) name: GrantName,
    /// The terms.
    pub(super) terms: Signed<GrantTerms>,
    /// The link to the source, and that to the recipient.
    pub(super) links: (StoredLink, StoredLink),
    recipient_signature: Signature,
    salts: (Bytes, Bytes),
}

impl SignedTerms {
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
            change_hash: Bytes::from(self.terms.digest()),
            ..GrantRow::default()
        }
    }
}

/// Verifies terms, whatever they answer; if it is a request, of the very account that was asked.
pub(super) async fn verify(
    broker: &Broker,
    customer: &CustomerName,
    row: &ApprovedRow,
    request: Option<&GrantRequest>,
) -> Result<SignedTerms, Fault> {
    let source = link(broker, customer, ("rows.source_link", &row.source_link)).await?;
    let recipient = link(broker, customer, ("rows.recipient_link", &row.recipient_link)).await?;
    let (terms, recipient_signature) = signed_twice(broker, row, &source, &recipient)?;
    let says = terms.statement();
    if says.expire_time <= broker.now() {
        return Err(Fault::says(WHAT, "expire_time_ms", "they are over already"));
    }
    links_fit(says, row, request, (&source, &recipient))?;
    identities(broker, says).await?;
    within(broker, says).await?;
    let salts = (row.source_salt.clone(), row.recipient_salt.clone());
    let name = GrantName::of(terms.digest());
    Ok(SignedTerms { name, terms, links: (source, recipient), recipient_signature, salts })
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
) -> Result<(Signed<GrantTerms>, Signature), Fault> {
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

/// Whether the links are those of the parties, and those that the terms commit to.
fn links_fit(
    says: &GrantTerms,
    row: &ApprovedRow,
    request: Option<&GrantRequest>,
    (source, recipient): (&StoredLink, &StoredLink),
) -> Result<(), Fault> {
    let sides = [("source_link", source, &says.source), ("recipient_link", recipient, &says.recipient)];
    for (check, link, partner) in sides {
        if link.read.row.partner != partner.as_str() {
            return Err(Fault::says(WHAT, check, format!("the link is not with `{partner}`")));
        }
        // A person can have two accounts with the requester: the grant hangs on the one that was asked.
        let asked = request.filter(|request| request.requester == *partner);
        if asked.is_some_and(|request| link.read.row.subject != request.subject.as_str()) {
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
    Ok(())
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

async fn within(broker: &Broker, says: &GrantTerms) -> Result<(), Fault> {
    let offer = broker.offer(&OfferName::of(says.offer)).await?;
    let offer = offer.ok_or_else(|| Fault::says(WHAT, "offer", "there is no such offer"))?;
    says.within(&offer.signed).map_err(|error| Fault::says(WHAT, error.field, &error))?;
    if !offer.signed.statement().text(&says.language).1 {
        return Err(Fault::says(WHAT, "language", "the offer has no text in it"));
    }
    Ok(())
}
