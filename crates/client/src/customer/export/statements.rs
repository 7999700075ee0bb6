//! The statements that stand beside a record and nowhere else: a fetch and its provision, a preview and its provision, a tap.
//!
//! Each is the one that the record commits to, and verifies under the key of whom it is by: of a partner under the identity
//! that the customer's own terms name, or that was pinned when the account was linked; her own under the key of the link.

use countersign_grants::{
    catalogue::FieldPath,
    digest::Digest,
    envelope::{self, Signed},
    id::{GrantName, PartnerName},
    key::PublicKey,
    statement::{Fetch, LocationTap, Preview, PreviewProvision, Provision, Statement, WorkingKey},
    time::Timestamp,
};
use countersign_proto::{log::v1::Kind, statement::v1::Envelope, v1::KeptStatement};

use super::{MET, twisted};
use crate::{
    customer::{Activity, Customer, GrantRow},
    error::{Error, Party},
};

/// How many statements stand beside a record of this kind: the last ones of its evidence.
fn kept_with(kind: Kind) -> usize {
    match kind {
        Kind::Transfer | Kind::ProvidedNotReleased | Kind::Previewed => 2,
        Kind::TransferRefused | Kind::LocationTapped => 1,
        _ => 0,
    }
}

impl Customer {
    /// Whether what is shown beside a record is what stands there, all of it, and was signed by whom it says. Returns what
    /// else the record rests on: statements that stand elsewhere.
    pub(super) async fn verify_kept<'a>(
        &self,
        activity: &Activity,
        evidence: &'a [Digest],
        shown: &[KeptStatement],
    ) -> Result<&'a [Digest], Error> {
        let kind = activity.kind();
        let parts = evidence.len().checked_sub(kept_with(kind)).map(|at| evidence.split_at(at));
        let is_all = |kept: &[Digest]| {
            let digests = shown.iter().map(|one| one.statement.as_ref().map(envelope::digest));
            digests.eq(kept.iter().copied().map(Some))
        };
        let Some((elsewhere, _)) = parts.filter(|(_, kept)| is_all(kept)) else {
            let detail =
                format!("entry {} comes with other statements than stand beside it", activity.index());
            return Err(twisted("event", "statements", &detail));
        };
        let verified = match (kind, evidence, shown) {
            (Kind::Transfer | Kind::ProvidedNotReleased, [terms, fetch, _], [asked, gave]) => {
                let grant = self.grant_under(*terms).await?;
                self.verify_fetch(activity, &grant, asked)?;
                self.verify_provision(&grant, *fetch, gave)
            }
            (Kind::TransferRefused, [terms, _], [asked]) => {
                self.verify_fetch(activity, &self.grant_under(*terms).await?, asked)
            }
            (Kind::Previewed, [request, offer, preview, _], [asked, showed]) => {
                self.verify_preview_shown(activity, (*request, *offer, *preview), (asked, showed))
            }
            (Kind::LocationTapped, _, [tap]) => self.verify_tap(activity, tap).await,
            (_, _, []) => Ok(()),
            _ => Err(twisted("event", "evidence", "is not what a record of its kind rests on")),
        };
        verified.map(|()| elsewhere)
    }

    fn verify_fetch(
        &self,
        activity: &Activity,
        grant: &GrantRow,
        shown: &KeptStatement,
    ) -> Result<(), Error> {
        let terms = &grant.terms;
        let by = (&terms.recipient, &terms.recipient_identity);
        let fetch = self.by_partner::<Fetch>("fetch", shown, by, |said| said.time)?;
        let said = fetch.statement();
        for (same, check) in [
            (said.recipient == terms.recipient, "recipient"),
            (said.terms == grant.name.digest(), "terms"),
            (is_of(activity, &said.fields), "fields"),
        ] {
            if !same {
                return Err(twisted("fetch", check, "is other than its record says"));
            }
        }
        Ok(())
    }

    fn verify_provision(&self, grant: &GrantRow, fetch: Digest, shown: &KeptStatement) -> Result<(), Error> {
        let terms = &grant.terms;
        let by = (&terms.source, &terms.source_identity);
        let provision = self.by_partner::<Provision>("provision", shown, by, |said| said.time)?;
        let said = provision.statement();
        if said.source == terms.source && said.fetch == fetch {
            Ok(())
        } else {
            Err(twisted("provision", "fetch", "does not answer the fetch beside it"))
        }
    }

    fn verify_preview_shown(
        &self,
        activity: &Activity,
        (request, offer, preview): (Digest, Digest, Digest),
        (asked, showed): (&KeptStatement, &KeptStatement),
    ) -> Result<(), Error> {
        let claimed = envelope::peek::<Preview>(asked.statement.as_ref())
            .map_err(|error| Error::bad_statement(Party::Broker, "preview", &error))?;
        let mut links = self.0.book.links().into_iter();
        let link = links.find(|link| link.acceptance == claimed.acceptance);
        let link = link.ok_or_else(|| twisted("preview", "acceptance", "is of none of her links"))?;
        let said = self.by_her::<Preview>("preview", link.name.digest(), asked.statement.as_ref())?;
        let said = said.statement();
        for (same, check) in [
            (said.request == request, "request"),
            (said.offer == offer, "offer"),
            (is_of(activity, &said.fields), "fields"),
        ] {
            if !same {
                return Err(twisted("preview", check, "is other than its record says"));
            }
        }
        let by = (&link.partner, &link.identity);
        let provision =
            self.by_partner::<PreviewProvision>("preview_provision", showed, by, |said| said.time)?;
        let said = provision.statement();
        if said.source == link.partner && said.preview == preview {
            Ok(())
        } else {
            Err(twisted("preview_provision", "preview", "does not answer the preview beside it"))
        }
    }

    async fn verify_tap(&self, activity: &Activity, shown: &KeptStatement) -> Result<(), Error> {
        let claimed = envelope::peek::<LocationTap>(shown.statement.as_ref())
            .map_err(|error| Error::bad_statement(Party::Broker, "tap", &error))?;
        let grant = self.grant_under(claimed.terms).await?;
        // As she signed it for the recipient.
        let tap = self.by_her::<LocationTap>("tap", grant.recipient_link, shown.statement.as_ref())?;
        let of_grant = activity.record.grant_tag.as_ref() == grant.terms.log_tag;
        if of_grant && is_of(activity, &tap.statement().fields) {
            Ok(())
        } else {
            Err(twisted("tap", "terms", "is of another grant, or of other fields, than its record says"))
        }
    }

    /// Her own grant under these terms. One that was approved on another device is taken over.
    async fn grant_under(&self, terms: Digest) -> Result<GrantRow, Error> {
        let name = GrantName::of(terms);
        let known = match self.0.book.grant(&name) {
            Some(row) => Some(row),
            None => self.look_up(&name).await?,
        };
        known.ok_or_else(|| twisted("event", "grant", &format!("`{name}` is no grant of this customer")))
    }

    fn by_her<S: Statement>(
        &self,
        what: &'static str,
        link: Digest,
        statement: Option<&Envelope>,
    ) -> Result<Signed<S>, Error> {
        let key = self.0.wallet.link_key(link);
        envelope::verify::<S>(statement, &[key.public()], self.origin())
            .map_err(|error| Error::bad_statement(Party::Broker, what, &error))
    }

    fn by_partner<S: Statement>(
        &self,
        what: &'static str,
        shown: &KeptStatement,
        (partner, identity): (&PartnerName, &PublicKey),
        at: impl Fn(&S) -> Timestamp,
    ) -> Result<Signed<S>, Error> {
        let who = Party::Partner(partner.clone());
        let signed = WorkingKey::certified(shown.partner_key.as_ref(), identity, partner, self.origin())
            .and_then(|key| key.verify::<S>(shown.statement.as_ref(), at))
            .map_err(|error| Error::bad_key(who.clone(), what, &error))?;
        if let Some(checkpoint) = signed.statement().checkpoint() {
            self.0.monitor.take(&checkpoint.0, MET, &who)?;
        }
        Ok(signed)
    }
}

/// Whether a record is of these fields.
fn is_of(activity: &Activity, fields: &[FieldPath]) -> bool {
    fields.iter().map(FieldPath::as_str).eq(activity.event.fields.iter().map(String::as_str))
}
