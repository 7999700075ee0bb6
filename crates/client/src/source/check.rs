//! What a source checks before it asks its handler: the papers against its book, and the fetch against the papers.

use countersign_grants::{
    envelope::{self, Signed},
    id::SubjectHandle,
    permit::{self, Tapped, affordable},
    statement::{Fetch, FetchError, LocationTap},
    time::Timestamp,
};
use countersign_proto::{statement::v1::Envelope, v1::ProvideDataRequest};

use super::{Inner, STOP_AFTER, refusal::Refusal};
use crate::{
    book::{GrantRow, Side, Standing, State},
    checkpoint::Met,
    error::{Error, Party},
    partner::{Papers, unadmitted},
};

/// A fetch whose papers verified.
pub(super) struct Case {
    pub(super) row: GrantRow,
    pub(super) fetch: Signed<Fetch>,
    /// The customer's tap, where the fetch asks for a precise location.
    pub(super) tap: Option<Signed<LocationTap>>,
}

impl<H> Inner<H> {
    /// One signature is verified for a grant that is in the book: the fetch's. All others were verified when the grant was
    /// entered, or when their key was first met.
    pub(super) async fn check(&self, request: &ProvideDataRequest, now: Timestamp) -> Result<Case, Refusal> {
        let shared = &self.partner.0;
        let row = self.row(request).await?;
        if row.side() != Side::Source {
            return Err(wrong("terms", "source", "this partner is the recipient"));
        }
        let terms = row.terms();
        let recipient = Party::Partner(terms.recipient.clone());
        let key = shared
            .keys
            .certified(
                request.fetch_key.as_ref(),
                &terms.recipient_identity,
                &terms.recipient,
                &shared.trust.origin,
            )
            .map_err(|error| Error::bad_key(recipient.clone(), "fetch", &error))?;
        let fetch = key
            .verify::<Fetch>(request.fetch.as_ref(), |fetch| fetch.time)
            .map_err(|error| Error::bad_key(recipient.clone(), "fetch", &error))?;
        if !fetch.statement().is_fresh(now) {
            let detail = format!("it says {}, and it is {now}", fetch.statement().time);
            return Err(wrong("fetch", "time_ms", &detail));
        }
        within(&fetch, &row)?;
        shared.monitor.take(&fetch.statement().checkpoint.0, Met::InStatement, &recipient)?;
        let tap = match (&request.tap, fetch.statement().needs_tap()) {
            (Some(tap), Some(_)) => Some(self.tap(&row, tap)?),
            _ => None,
        };
        Ok(Case { row, fetch, tap })
    }

    /// A tap under the key of the link that is pinned: no broker and no recipient makes one.
    fn tap(&self, row: &GrantRow, tap: &Envelope) -> Result<Signed<LocationTap>, Refusal> {
        let shared = &self.partner.0;
        let Some(link) = shared.book.link_of(row.subject()) else {
            return Err(wrong("tap", "link", "the grant's subject has no link in the book"));
        };
        envelope::verify::<LocationTap>(Some(tap), &[link.key()], &shared.trust.origin)
            .map_err(|error| Error::bad_statement(Party::Customer, "tap", &error).into())
    }

    /// The grant as it stands in the book; entered now, if the fetch is quicker than the event of its approval.
    async fn row(&self, request: &ProvideDataRequest) -> Result<GrantRow, Refusal> {
        let shared = &self.partner.0;
        let subject = SubjectHandle::parse(&request.subject)
            .map_err(|error| wrong("subject", "subject", &error.to_string()))?;
        let Some(terms) = request.terms.as_ref() else {
            return Err(wrong("terms", "present", "there are no terms"));
        };
        let digest = envelope::digest(terms);
        if shared.book.grant_by(digest).is_none() {
            let entry = shared.verify_papers(&Papers {
                subject: &subject,
                terms: Some(terms),
                salt: &request.party_salt,
                offer: request.offer.as_ref(),
                offer_key: request.offer_key.as_ref(),
            })?;
            shared.take_previous(terms).await?;
            shared.book.enter_durably(entry).await?.map_err(|error| unadmitted("terms", &error))?;
        }
        let row =
            shared.book.grant_by(digest).ok_or_else(|| Refusal::Ours("an entered grant is gone".into()))?;
        // The payload is the one that verified; the handle must be the one for which it did.
        if row.subject() != &subject {
            return Err(wrong("terms", "subject", "they are of another subject"));
        }
        Ok(row)
    }
}

/// Whether the grant stands, by the book and the clock.
pub(super) fn stands(row: &GrantRow, now: Timestamp) -> Result<(), Refusal> {
    match row.standing() {
        Standing::Stopped { .. } => return Err(Refusal::Ended { how: "WITHDRAWN" }),
        Standing::Superseded { .. } => return Err(Refusal::Ended { how: "SUPERSEDED" }),
        Standing::Paused => return Err(Refusal::Paused),
        Standing::Active => {}
    }
    if row.revoked().is_some() {
        return Err(Refusal::Ended { how: "REVOKED" });
    }
    if row.suspended().is_some() {
        return Err(Refusal::Suspended);
    }
    if row.stopped_here().is_some() {
        return Err(Refusal::Ended { how: "STOPPED_BY_SOURCE" });
    }
    if row.held() {
        return Err(Refusal::Paused);
    }
    if now >= row.terms().expire_time {
        return Err(Refusal::Ended { how: "EXPIRED" });
    }
    Ok(())
}

/// Whether this side may serve one more use: its own count, and no receipt overdue, of this grant or of those in whose
/// place it stands.
pub(super) fn affords(state: &State, row: &GrantRow, now: Timestamp) -> Result<(), Refusal> {
    if let Some((since, fetch)) = state.owed_since(row)
        && now.since(since) > STOP_AFTER
    {
        return Err(Refusal::ReceiptMissing { fetch, since });
    }
    affordable(row.terms(), row.spent(), now).map_err(Refusal::Exceeds)
}

/// Whether what leaves by the customer's own tap alone has one, for this grant and of now, by which nothing left yet.
pub(super) fn tapped(case: &Case, used: bool, now: Timestamp) -> Result<(), Refusal> {
    let tap = match &case.tap {
        Some(tap) if !used => Tapped::By(tap.statement(), tap.digest()),
        _ => Tapped::No,
    };
    permit::tapped(case.fetch.statement(), case.row.digest(), tap, now).map_err(Refusal::Exceeds)
}

fn within(fetch: &Signed<Fetch>, row: &GrantRow) -> Result<(), Refusal> {
    let refusal = match fetch.statement().within(row.terms(), row.digest()) {
        Ok(()) => return Ok(()),
        Err(FetchError::Terms) => return Err(wrong("fetch", "terms", "it is under other terms")),
        Err(FetchError::Recipient) => return Err(wrong("fetch", "recipient", "it is by another partner")),
        Err(FetchError::Stale { said, now }) => permit::Refusal::Stale { said, now },
        Err(FetchError::Purpose { granted, asked }) => permit::Refusal::PurposeNotAllowed { granted, asked },
        Err(FetchError::Field { field }) => permit::Refusal::FieldNotGranted { field },
    };
    Err(Refusal::Exceeds(refusal))
}

fn wrong(statement: &'static str, check: &'static str, detail: &str) -> Refusal {
    Refusal::Statement { statement, check, detail: detail.to_owned() }
}
