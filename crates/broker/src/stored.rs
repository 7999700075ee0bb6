//! Offers, links and grants as they are stored, read back into the types of the domain.
//!
//! What stands in these rows was verified when it was entered. It is verified again only where the type demands it:
//! a [`Signed`] can be had in no other way.

use std::sync::Arc;

use bytes::Bytes;
use countersign_grants::{
    digest::Digest,
    envelope::{self, Signed},
    id::{CustomerName, GrantName, LinkName, OfferName, PartnerName},
    key::PublicKey,
    lifecycle::{self, Allowance},
    permit::Spent,
    statement::{GrantTerms, LinkAcceptance, Offer, PartnerKey, Statement},
    time::Timestamp,
};
use countersign_proto::{
    row::v1::{GrantRow, LinkRow, OfferRow, PrivatePart},
    statement::v1::{Envelope, Signature},
};
use countersign_store::Key;

use crate::{
    broker::{Broker, damaged},
    caller::Party,
    error::Fault,
    rows::{self, Loaded},
};

/// A published offer.
pub struct StoredOffer {
    /// Its row.
    pub read: Loaded<OfferRow>,
    /// What its recipient signed.
    pub signed: Signed<Offer>,
}

/// A link that stands.
pub struct StoredLink {
    /// Its name.
    pub name: LinkName,
    /// Its row.
    pub read: Loaded<LinkRow>,
    /// Whose link it is.
    pub customer: CustomerName,
    /// The key that the customer made for it.
    pub key: PublicKey,
    /// The acceptance.
    pub acceptance: Digest,
    /// Whether it has ended: what hung on it can still be changed, and nothing new hangs on it.
    pub ended: bool,
}

/// A grant.
pub struct StoredGrant {
    /// Its name.
    pub name: GrantName,
    /// Its row.
    pub read: Loaded<GrantRow>,
    /// What the customer signed.
    pub terms: Arc<GrantTerms>,
    /// What was spent under it.
    pub spent: Spent,
}

/// How a party stands to a grant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// It gives.
    Source,
    /// It receives.
    Recipient,
    /// It approved.
    Customer,
}

impl StoredGrant {
    /// Where it stands now, expiry and consumption included.
    pub fn state(&self, now: Timestamp) -> Result<lifecycle::Grant, Fault> {
        let allowance = Allowance {
            expire_time: self.terms.expire_time,
            uses: self.terms.uses,
            spent: u64::from(self.spent.uses),
        };
        Ok(lifecycle::Grant::from_row(&self.read.row, allowance)?.at(now))
    }

    /// How this party stands to it; nothing for everybody else, to whom it does not exist.
    pub fn side(&self, party: &Party) -> Option<Side> {
        match party {
            Party::Partner(name) if *name == self.terms.source => Some(Side::Source),
            Party::Partner(name) if *name == self.terms.recipient => Some(Side::Recipient),
            Party::Customer(name) if name.as_str() == self.read.row.customer => Some(Side::Customer),
            Party::Partner(_) | Party::Customer(_) => None,
        }
    }

    /// The terms as signed for this side; to the customer, as signed for the source.
    pub fn terms_for(&self, side: Side) -> Envelope {
        let row = &self.read.row;
        let signatures = (&row.source_signature, &row.recipient_signature);
        one_of_two::<GrantTerms>(&row.terms, signatures, side)
    }

    /// What stands beside every record of this grant: the handles by which its sides know the customer.
    pub fn private_part(&self) -> PrivatePart {
        PrivatePart {
            source_subject: self.read.row.source_subject.clone(),
            recipient_subject: self.read.row.recipient_subject.clone(),
            ..PrivatePart::default()
        }
    }

    /// The customer.
    pub fn customer(&self) -> Result<CustomerName, Fault> {
        CustomerName::parse(&self.read.row.customer).map_err(|error| damaged("grant", &error))
    }
}

/// The envelope of a payload that was signed twice, with the signature for one side.
pub(crate) fn one_of_two<S: Statement>(
    payload: &Bytes,
    (source, recipient): (&Option<Signature>, &Option<Signature>),
    side: Side,
) -> Envelope {
    let signature = match side {
        Side::Source | Side::Customer => source,
        Side::Recipient => recipient,
    };
    Envelope {
        payload_type: S::PAYLOAD_TYPE.to_owned(),
        payload: payload.clone(),
        signatures: signature.iter().cloned().collect(),
    }
}

/// The counter of a grant's uses in all.
pub fn uses(grant: &GrantName) -> Key {
    [b"uses/".as_slice(), grant.digest().as_bytes()].concat()
}

/// The counter of a grant's uses in the open window. A narrowed grant goes on with the window of the one that was
/// approved: by narrowing nobody is asked more often.
pub fn uses_in_window(grant: &GrantName, row: &GrantRow) -> Key {
    let own = grant.digest();
    let approved: &[u8] = if row.approved.is_empty() { own.as_bytes() } else { &row.approved };
    [b"rate/".as_slice(), approved].concat()
}

impl Broker {
    /// A published or withdrawn offer.
    pub async fn offer(&self, name: &OfferName) -> Result<Option<StoredOffer>, Fault> {
        let Some(read) = self.load(rows::offer(name)).await? else { return Ok(None) };
        let key = envelope::peek::<PartnerKey>(read.row.partner_key.as_ref())
            .map_err(|error| damaged("offer", &error))?;
        let key = self.working_key(&key.partner, key.key.id()).await?;
        let key = key.ok_or_else(|| damaged("offer", &"its signer's key is missing"))?;
        let signed = key
            .verify::<Offer>(read.row.statement.as_ref(), |offer| offer.time)
            .map_err(|error| damaged("offer", &error))?;
        Ok(Some(StoredOffer { read, signed }))
    }

    /// A link that was confirmed; nothing before.
    pub async fn confirmed_link(&self, name: &LinkName) -> Result<Option<StoredLink>, Fault> {
        let Some(read) = self.load(rows::link(name)).await? else { return Ok(None) };
        let (customer, ended) = match lifecycle::Link::from_row(&read.row)? {
            lifecycle::Link::Confirmed { customer } => (customer, false),
            lifecycle::Link::Ended { customer, .. } => (customer, true),
            _ => return Ok(None),
        };
        let statement = read.row.acceptance.as_ref().ok_or_else(|| damaged("link", &"no acceptance"))?;
        let acceptance =
            envelope::peek::<LinkAcceptance>(Some(statement)).map_err(|error| damaged("link", &error))?;
        let digest = envelope::digest(statement);
        Ok(Some(StoredLink {
            name: name.clone(),
            read,
            customer,
            key: acceptance.link_key,
            acceptance: digest,
            ended,
        }))
    }

    /// A grant, with what was spent under it.
    pub async fn grant(&self, name: &GrantName) -> Result<Option<StoredGrant>, Fault> {
        let Some(read) = self.load(rows::grant(name)).await? else { return Ok(None) };
        let terms = self.terms(name, &read.row)?;
        let spent = self.spent(name, &read.row, &terms).await?;
        Ok(Some(StoredGrant { name: name.clone(), read, terms, spent }))
    }

    /// The terms as the customer signed them with the key of the link to the source: verified, as a judgement asks.
    pub async fn signed_terms(&self, grant: &StoredGrant) -> Result<Signed<GrantTerms>, Fault> {
        let link = LinkName::parse(&grant.read.row.source_link).map_err(|error| damaged("grant", &error))?;
        let link = self.confirmed_link(&link).await?;
        let link = link.ok_or_else(|| damaged("grant", &"its link is missing"))?;
        envelope::verify::<GrantTerms>(Some(&grant.terms_for(Side::Source)), &[&link.key], self.origin())
            .map_err(|error| damaged("grant", &error))
    }

    /// What was spent under a grant so far.
    pub(crate) async fn spent(
        &self,
        name: &GrantName,
        row: &GrantRow,
        terms: &GrantTerms,
    ) -> Result<Spent, Fault> {
        let uses = self.ledger().count(&uses(name)).await?.count;
        let window = match terms.rate {
            Some(_) => {
                let counter = self.ledger().count(&uses_in_window(name, row)).await?;
                let start = Timestamp::from_millis(counter.window_start_ms);
                (counter.count > 0).then(|| (start, u32::try_from(counter.count).unwrap_or(u32::MAX)))
            }
            None => None,
        };
        Ok(Spent { uses: u32::try_from(uses).unwrap_or(u32::MAX), window })
    }

    /// Whether a partner may take part, from its row of this moment.
    pub async fn standing(&self, name: &PartnerName) -> Result<lifecycle::Partner, Fault> {
        Ok(lifecycle::Partner::from_row(&self.partner(name).await?.row))
    }

    /// The offer under which a grant stands.
    pub(crate) async fn offer_of(&self, grant: &StoredGrant) -> Result<Loaded<OfferRow>, Fault> {
        let name = OfferName::of(grant.terms.offer);
        let read = self.load(rows::offer(&name)).await?;
        read.ok_or_else(|| damaged("grant", &"its offer is missing"))
    }
}
