//! The papers of a grant, as a partner is handed them by a broker that it does not trust.

use countersign_grants::{
    envelope::{self, Signed},
    id::SubjectHandle,
    statement::{GrantChange, GrantTerms, Offer, PartnerChange, open_party_commitment},
};
use countersign_proto::{statement::v1::Envelope, v1};

use super::Shared;
use crate::{
    book::{Entry, GrantRow, LinkRow, Side, Unadmitted, envelope_bytes},
    checkpoint::Met,
    error::{Error, Party},
};

/// The papers as they came.
pub(crate) struct Papers<'a> {
    pub(crate) subject: &'a SubjectHandle,
    pub(crate) terms: Option<&'a Envelope>,
    pub(crate) salt: &'a [u8],
    pub(crate) offer: Option<&'a Envelope>,
    pub(crate) offer_key: Option<&'a Envelope>,
}

impl Shared {
    /// Verifies the papers against the book. What comes back may be entered.
    ///
    /// The terms must be signed with the key that is pinned *for this handle*, name this partner by its own identity, and
    /// commit to this very link: otherwise the broker could hang one person's grant on another's account. Under a link that
    /// gave way they are entered too, and stopped from the start: what the broker took in before it heard can be revoked.
    pub(crate) fn verify_papers(&self, papers: &Papers<'_>) -> Result<Entry, Error> {
        let Some(link) = self.book.link_of(papers.subject) else {
            return Err(Error::misbehaved(
                Party::Broker,
                "terms",
                "link",
                "the subject has no link in the book",
            ));
        };
        let terms = envelope::verify::<GrantTerms>(papers.terms, &[link.key()], &self.trust.origin)
            .map_err(|error| Error::bad_statement(Party::Customer, "terms", &error))?;
        let side = self.own_side(&terms, &link, papers.salt)?;
        let said = terms.statement();
        let recipient = Party::Partner(said.recipient.clone());
        let key = self
            .keys
            .certified(papers.offer_key, &said.recipient_identity, &said.recipient, &self.trust.origin)
            .map_err(|error| Error::bad_key(recipient.clone(), "offer", &error))?;
        let offer = key
            .verify::<Offer>(papers.offer, |offer| offer.time)
            .map_err(|error| Error::bad_key(recipient, "offer", &error))?;
        self.monitor.take(
            &offer.statement().checkpoint.0,
            Met::InStatement,
            &Party::Partner(said.recipient.clone()),
        )?;
        said.within(&offer)
            .map_err(|error| Error::misbehaved(Party::Customer, "terms", error.field, error.to_string()))?;
        Ok(Entry::Granted {
            side,
            link: *link.name().digest().as_bytes(),
            terms: envelope_bytes(terms.envelope()),
            salt: papers.salt.try_into().expect("a salt that opened a commitment is 32 bytes"),
            offer: envelope_bytes(offer.envelope()),
            offer_key: papers.offer_key.map(envelope_bytes).unwrap_or_default(),
        })
    }

    fn own_side(&self, terms: &Signed<GrantTerms>, link: &LinkRow, salt: &[u8]) -> Result<Side, Error> {
        let said = terms.statement();
        let wrong = |check, detail: &str| Err(Error::misbehaved(Party::Customer, "terms", check, detail));
        let (side, identity, commitment) = if said.source == self.name {
            (Side::Source, &said.source_identity, said.source_commitment)
        } else if said.recipient == self.name {
            (Side::Recipient, &said.recipient_identity, said.recipient_commitment)
        } else {
            return wrong("party", "this partner is on neither side");
        };
        if identity != &self.identity {
            return wrong("identity", "they name another identity key for this partner");
        }
        if !open_party_commitment(commitment, salt, link.acceptance()) {
            return wrong("party_commitment", "they commit to another link than the subject's");
        }
        Ok(side)
    }

    /// Verifies a change under the link's key. Whether it is the next one is the book's to say.
    pub(crate) fn verify_change(
        &self,
        row: &GrantRow,
        change: &Envelope,
    ) -> Result<Signed<GrantChange>, Error> {
        let Some(link) = self.book.link_of(row.subject()) else {
            return Err(Error::misbehaved(
                Party::Broker,
                "change",
                "link",
                "the subject has no link in the book",
            ));
        };
        let change = envelope::verify::<GrantChange>(Some(change), &[link.key()], &self.trust.origin)
            .map_err(|error| Error::bad_statement(Party::Customer, "change", &error))?;
        if change.statement().terms != row.digest() {
            return Err(Error::misbehaved(Party::Broker, "change", "terms", "it is of another grant"));
        }
        Ok(change)
    }

    /// Verifies a change by the source or the recipient, under the identity that *the customer* named for it. Whether it is
    /// that partner's next one is the book's to say.
    pub(crate) fn verify_partner_change(
        &self,
        row: &GrantRow,
        shown: &v1::PartnerChange,
    ) -> Result<Signed<PartnerChange>, Error> {
        let terms = row.terms();
        let claimed = envelope::peek::<PartnerChange>(shown.statement.as_ref())
            .map_err(|error| Error::bad_statement(Party::Broker, "partner_change", &error))?;
        let identity =
            if claimed.partner == terms.source { &terms.source_identity } else { &terms.recipient_identity };
        let who = Party::Partner(claimed.partner.clone());
        let signed = self
            .keys
            .certified(shown.partner_key.as_ref(), identity, &claimed.partner, &self.trust.origin)
            .and_then(|key| key.verify::<PartnerChange>(shown.statement.as_ref(), |said| said.time))
            .map_err(|error| Error::bad_key(who.clone(), "partner_change", &error))?;
        let said = signed.statement();
        said.may_change(terms, row.digest()).map_err(|error| {
            Error::misbehaved(who.clone(), "partner_change", error.check(), error.to_string())
        })?;
        self.monitor.take(&said.checkpoint.0, Met::InStatement, &who)?;
        Ok(signed)
    }
}

/// What does not fit the book is the broker's doing: it alone hands papers over.
pub(crate) fn unadmitted(what: &'static str, error: &Unadmitted) -> Error {
    let check = match error {
        Unadmitted::NoGrant | Unadmitted::Held | Unadmitted::StoppedAhead => "grant",
        Unadmitted::NoLink | Unadmitted::Linked => "link",
        Unadmitted::Sequence { .. } => "sequence",
        Unadmitted::Previous | Unadmitted::NoPrevious | Unadmitted::NotActive => "previous",
        Unadmitted::NotOrdered | Unadmitted::Ordered => "ordered",
        Unadmitted::Stopped => "stopped",
        Unadmitted::Superseded => "superseded",
        Unadmitted::Revision(error) => error.field,
        Unadmitted::Unreadable(_) => "parse",
    };
    Error::misbehaved(Party::Broker, what, check, error.to_string())
}
