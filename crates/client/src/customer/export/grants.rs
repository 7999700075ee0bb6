//! Grants, with all that was signed about each, and a consent receipt of each.
//!
//! Nothing is signed here: what goes into the folder was signed before, and verifies under the keys that the customer's own
//! terms name. A key of a link signs as source's or recipient's alike, so a payload of the broker's choosing under it would be
//! a permission.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use countersign_grants::{
    catalogue::FieldPath,
    digest::Digest,
    envelope,
    id::{GrantName, LinkName, PartnerName, RequestName},
    key::PublicKey,
    statement::{GrantTerms, Offer, PartnerChange, WorkingKey, open_party_commitment},
};
use countersign_proto::{
    statement::v1::Envelope,
    v1::{Grant, ListGrantsRequest},
};
use serde_json::json;

use super::{
    ExportError, MAX_LISTED, PAGE_SIZE, Pages,
    absent::Absent,
    consent::Consent,
    events::Past,
    folder::Folder,
    hex,
    json::{dsse, is_at, message, timestamp},
    twisted,
};
use crate::{
    channel::call,
    checkpoint::Met,
    customer::{Customer, GrantRow},
    error::{Error, Party},
};

impl Customer {
    pub(super) async fn export_grants(
        &self,
        folder: &mut Folder,
        past: &HashMap<Bytes, Past>,
        absent: &mut Absent,
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
            for mut grant in page.grants {
                let row = self.reconcile(&grant, |name: &GrantName| known.get(name).copied()).await?;
                let (offer, by_partners) = self.verify_grant(&row, &mut grant)?;
                let happened = match past.get(row.terms.log_tag.as_slice()) {
                    Some(past) => past.of(&row, &by_partners, &self.renewals_of(&row))?,
                    None => Vec::new(),
                };
                let version = row.terms.catalogue_version;
                let catalogue = self.catalogue(version).await?;
                if catalogues.insert(version) {
                    let name = format!("catalogues/{}.toml", hex(version));
                    folder.add(name, catalogue.document().to_vec()).await?;
                }
                let consent = Consent {
                    origin: self.origin(),
                    customer: self.name(),
                    row: &row,
                    offer: &offer,
                    catalogue: &catalogue,
                    happened,
                    now: self.now(),
                };
                let name = format!("consents/{}.jsonld", hex(row.name.digest()));
                folder.document(name.clone(), &consent.receipt()).await?;
                list.add(folder, &element(&row, &grant, &name)).await?;
                for one in envelopes(&grant) {
                    absent.written(Some(one));
                }
            }
        }
        list.end(folder).await
    }

    /// Whether all is as it was signed that is said of a grant and does not rest on the broker's word alone. Where an order to
    /// delete stands is written by what was signed. Returns the offer, and which statements its partners' changes are.
    fn verify_grant(&self, row: &GrantRow, grant: &mut Grant) -> Result<(Offer, Vec<Digest>), Error> {
        agrees(&row.terms, grant)?;
        let salted = self.0.book.link(&LinkName::of(row.recipient_link)).is_some_and(|link| {
            open_party_commitment(row.terms.recipient_commitment, &grant.recipient_salt, link.acceptance)
        });
        if !salted {
            return Err(twisted(
                "grant",
                "recipient_salt",
                "opens the recipient's commitment to none of her links",
            ));
        }
        let shown = grant.changes.iter().map(envelope::digest);
        // Others may have come since the broker was asked.
        if !row.changes().iter().map(|stands| stands.digest).take(grant.changes.len()).eq(shown) {
            return Err(twisted("grant", "changes", "are others than those in the book"));
        }
        for word in &grant.acknowledgements {
            let signed = self.verify_acknowledged(side(&row.terms, &word.partner)?, word)?;
            let of = signed.statement().statement;
            if of != row.name.digest() && !row.has(of) {
                return Err(twisted("acknowledgement", "statement", "is of neither the terms nor a change"));
            }
        }
        let by_partners = self.verify_partner_changes(row, grant)?;
        let (erasure, fault) = self.erasure(row, Some(grant))?;
        if let Some(fault) = fault {
            return Err(Error::Misbehaved(Box::new(fault)));
        }
        if erasure.is_none()
            && (grant.erasure_attestation.is_some() || grant.erasure_attestation_key.is_some())
        {
            return Err(twisted("grant", "erasure_attestation", "answers an order that nobody signed"));
        }
        grant.erasure_state = erasure.map(|erasure| erasure.state()).unwrap_or_default().into();
        grant.erase_due_time = erasure.map(|erasure| timestamp(erasure.due));
        Ok((self.offer_of(row, grant)?, by_partners))
    }

    /// The changes of source and recipient, each partner's in one chain without a gap.
    fn verify_partner_changes(&self, row: &GrantRow, grant: &Grant) -> Result<Vec<Digest>, Error> {
        let mut all = Vec::with_capacity(grant.partner_changes.len());
        let mut newest: HashMap<&PartnerName, (u64, Digest)> = HashMap::new();
        for change in &grant.partner_changes {
            let (partner, identity) = side(&row.terms, &change.partner)?;
            let (before, previous) = newest.get(partner).copied().unwrap_or((0, row.name.digest()));
            let who = Party::Partner(partner.clone());
            let key = WorkingKey::certified(change.partner_key.as_ref(), identity, partner, self.origin());
            let signed = key
                .and_then(|key| key.verify::<PartnerChange>(change.statement.as_ref(), |said| said.time))
                .map_err(|error| Error::bad_key(who.clone(), "partner_change", &error))?;
            let said = signed.statement();
            said.may_change(&row.terms, row.name.digest()).map_err(|error| {
                Error::misbehaved(who.clone(), "partner_change", error.check(), error.to_string())
            })?;
            if said.partner != *partner || (said.sequence, said.previous) != (before + 1, previous) {
                return Err(twisted("partner_change", "sequence", "does not follow the one before it"));
            }
            self.0.monitor.take(&said.checkpoint.0, Met::InStatement, &who)?;
            newest.insert(partner, (said.sequence, signed.digest()));
            all.push(signed.digest());
        }
        Ok(all)
    }

    /// The terms in the book that renew a grant.
    fn renewals_of(&self, row: &GrantRow) -> Vec<Digest> {
        let renews = |new: &GrantRow| new.terms.previous == Some(row.name.digest());
        self.0.book.grants().into_iter().filter(renews).map(|new| new.name.digest()).collect()
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

/// A grant as the broker shows it, and the recipient's copies of what was signed, as far as they are in the book.
fn element(row: &GrantRow, grant: &Grant, consent: &str) -> serde_json::Value {
    let changes = row.changes().iter().take(grant.changes.len());
    let changes = changes.map(|change| change.recipient.as_ref().map(dsse));
    json!({
        "grant": message("v1.Grant", grant),
        "recipient_terms": row.terms_for_recipient().map(dsse),
        "recipient_changes": changes.collect::<Vec<_>>(),
        "source_link": LinkName::of(row.source_link).as_str(),
        "recipient_link": LinkName::of(row.recipient_link).as_str(),
        "consent": consent,
    })
}

/// What was signed of a grant and is written with it.
fn envelopes(grant: &Grant) -> impl Iterator<Item = &Envelope> {
    let words = grant.acknowledgements.iter().filter_map(|word| word.statement.as_ref());
    let by_partners = grant.partner_changes.iter().filter_map(|change| change.statement.as_ref());
    let single = [&grant.terms, &grant.offer, &grant.erasure_attestation];
    single.into_iter().flatten().chain(&grant.changes).chain(words).chain(by_partners)
}

/// Whether what is said of a grant beside its terms is what the terms say.
fn agrees(terms: &GrantTerms, grant: &Grant) -> Result<(), Error> {
    let previous = terms.previous.map(|previous| GrantName::of(previous).to_string());
    for (same, check) in [
        (grant.source == terms.source.as_str(), "source"),
        (grant.recipient == terms.recipient.as_str(), "recipient"),
        (grant.subject.is_empty() && grant.party_salt.is_empty(), "subject"),
        (grant.purpose == terms.purpose.as_str(), "purpose"),
        (grant.fields.iter().map(String::as_str).eq(terms.fields.iter().map(FieldPath::as_str)), "fields"),
        (grant.use_limit == terms.uses, "use_limit"),
        (is_at(grant.expire_time.as_ref(), terms.expire_time), "expire_time"),
        (grant.request == RequestName::of(terms.request).as_str(), "request"),
        (grant.previous == previous.unwrap_or_default(), "previous"),
    ] {
        if !same {
            return Err(twisted("grant", check, "is other than the terms say"));
        }
    }
    Ok(())
}

/// The side of a grant that this partner is, and the identity that the terms name for it.
fn side<'a>(terms: &'a GrantTerms, partner: &str) -> Result<(&'a PartnerName, &'a PublicKey), Error> {
    if partner == terms.source.as_str() {
        Ok((&terms.source, &terms.source_identity))
    } else if partner == terms.recipient.as_str() {
        Ok((&terms.recipient, &terms.recipient_identity))
    } else {
        Err(twisted("grant", "partner", "a word is by a partner that is on neither side"))
    }
}
