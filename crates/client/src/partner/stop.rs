//! What a partner does to a grant by its own word: suspend, end the suspension, revoke.
//!
//! The change is signed and stands in this side's book before it is sent, so this side follows it whatever the broker
//! does. The same call again sends the same bytes, and what the broker has missed before them.

use countersign_grants::{
    envelope,
    id::GrantName,
    statement::{ChangeReason, MAX_PARTNER_CHANGES, PartnerChange, PartnerVerb},
};
use countersign_proto::{
    log::v1::Kind,
    statement::v1::{self as wire, Envelope},
    v1::{
        ChangeGrantResponse, GetGrantRequest, RevokeGrantRequest, SuspendGrantRequest, UnsuspendGrantRequest,
    },
};

use super::{Partner, Shared, papers::unadmitted};
use crate::{
    book::{Entry, GrantRow, Side, Standing, envelope_bytes},
    channel::call,
    customer::MAX_CLOCK_SKEW,
    error::{Error, Misuse},
    receipt::{ProvenLeaf, Saying},
};

impl Partner {
    /// Suspends a grant of which this partner is the source: it serves nothing under it from here on, and says so. Without
    /// a broker the error is transient, and the suspension holds on this side; calling again tells the broker.
    pub async fn suspend_grant(&self, grant: &GrantName, reason: ChangeReason) -> Result<ProvenLeaf, Error> {
        self.change_grant(grant, PartnerVerb::Suspend, reason).await
    }

    /// Ends this source's suspension of a grant. A pause by the customer, and an operator's suspension, stay.
    pub async fn unsuspend_grant(&self, grant: &GrantName) -> Result<ProvenLeaf, Error> {
        self.change_grant(grant, PartnerVerb::Unsuspend, ChangeReason::Unspecified).await
    }

    /// Ends a grant for good, on either side: this side neither serves it nor fetches under it from here on. Without a
    /// broker the error is transient, and the end holds on this side; calling again tells the broker.
    pub async fn revoke_grant(&self, grant: &GrantName, reason: ChangeReason) -> Result<ProvenLeaf, Error> {
        self.change_grant(grant, PartnerVerb::Revoke, reason).await
    }

    async fn change_grant(
        &self,
        grant: &GrantName,
        verb: PartnerVerb,
        reason: ChangeReason,
    ) -> Result<ProvenLeaf, Error> {
        let shared = &self.0;
        let _turn = shared.changing.lock().await;
        let known = || shared.book.grant(grant);
        let mut row = known().ok_or_else(|| Error::Misuse(Misuse::Unknown { name: grant.to_string() }))?;
        if !is_done(&row, verb) {
            // A change that was signed on another machine comes first. But a stop waits for nobody.
            match shared.take_grant(grant).await {
                Ok(newer) => row = newer,
                Err(error @ Error::Book(_)) => return Err(error),
                Err(error) if verb == PartnerVerb::Unsuspend && !error.is_transient() => return Err(error),
                Err(error) => tracing::warn!(%grant, %error, "changing a grant by this side's book alone"),
            }
        }
        // What ended for a newer revision is left alone; the newer one is meant.
        row = shared.book.newest_revision(grant).unwrap_or(row);
        if !is_done(&row, verb) {
            may(&row, verb)?;
            row = shared.sign_partner_change(&row, verb, reason).await?;
        }
        shared.tell_partner_changes(&row).await
    }
}

impl Shared {
    /// Signs this side's next change, and enters it in the book: from here on it holds on this side.
    async fn sign_partner_change(
        &self,
        row: &GrantRow,
        verb: PartnerVerb,
        reason: ChangeReason,
    ) -> Result<GrantRow, Error> {
        let side = row.side();
        let message = wire::PartnerChange {
            broker: self.trust.origin.to_string(),
            partner: self.name.to_string(),
            terms: row.digest().into(),
            sequence: row.partner_sequence(side) + 1,
            verb: verb.into(),
            reason: reason.into(),
            previous: row.partner_last(side).into(),
            time_ms: self.system.now().as_millis(),
            checkpoint: self.monitor.for_signing().await?,
        };
        let (signed, _) = self.sign_own::<PartnerChange>("reason", &message)?;
        let entry =
            Entry::PartnerChanged { grant: *row.digest().as_bytes(), change: envelope_bytes(&signed) };
        self.book.enter_durably(entry).await?.map_err(|error| unadmitted("partner_change", &error))?;
        let unknown = || Error::Misuse(Misuse::Unknown { name: row.name().to_string() });
        self.book.grant_by(row.digest()).ok_or_else(unknown)
    }

    /// Sends this side's changes that the broker does not have yet, and in any case the newest: its proof comes back.
    async fn tell_partner_changes(&self, row: &GrantRow) -> Result<ProvenLeaf, Error> {
        let own = row.partner_changes(row.side());
        let asked = GetGrantRequest { name: row.name().to_string() };
        let shown = self.connection.grants().get_grant(call(asked)).await?.into_inner().partner_changes;
        let known = shown.iter().filter(|one| one.partner == self.name.as_str()).count();
        let mut proof = None;
        for change in own.iter().skip(known.min(own.len().saturating_sub(1))) {
            proof = Some(self.tell_partner_change(row, change).await?);
        }
        proof.ok_or_else(|| Error::Misuse(Misuse::Unknown { name: row.name().to_string() }))
    }

    async fn tell_partner_change(&self, row: &GrantRow, change: &Envelope) -> Result<ProvenLeaf, Error> {
        let said =
            envelope::peek::<PartnerChange>(Some(change)).map_err(|error| Error::malformed("book", error))?;
        let answer = self.send_partner_change(row.name(), &said, change).await?;
        let receipt = ProvenLeaf::prove(answer.receipt.as_ref(), &self.monitor)?;
        let terms = row.terms();
        receipt.says(&Saying {
            kinds: &[kind(said.verb)],
            source: &terms.source,
            recipient: &terms.recipient,
            purpose: &terms.purpose,
            catalogue_version: terms.catalogue_version,
            log_tag: &terms.log_tag,
            subject: None,
            fields: None,
            evidence: Some(&[envelope::digest(change)]),
            use_limit: None,
            // It may have been signed long before the broker could be reached.
            not_before: said.time.minus(MAX_CLOCK_SKEW),
            not_after: self.system.now().plus(MAX_CLOCK_SKEW),
        })?;
        Ok(receipt)
    }

    async fn send_partner_change(
        &self,
        name: &GrantName,
        said: &PartnerChange,
        change: &Envelope,
    ) -> Result<ChangeGrantResponse, Error> {
        let (name, statement) = (name.to_string(), Some(change.clone()));
        let mut grants = self.connection.grants();
        let answer = match said.verb {
            PartnerVerb::Suspend => {
                grants.suspend_grant(call(SuspendGrantRequest { name, statement, reason: 0 })).await
            }
            PartnerVerb::Unsuspend => {
                grants.unsuspend_grant(call(UnsuspendGrantRequest { name, statement })).await
            }
            PartnerVerb::Revoke | PartnerVerb::Unspecified => {
                grants.revoke_grant(call(RevokeGrantRequest { name, statement, reason: 0 })).await
            }
        };
        Ok(answer?.into_inner())
    }
}

/// Whether this side's book says so already, so that there is nothing to sign.
fn is_done(row: &GrantRow, verb: PartnerVerb) -> bool {
    let revoked = matches!(row.revoked(), Some((side, _)) if side == row.side());
    match verb {
        PartnerVerb::Suspend => row.side() == Side::Source && row.suspended().is_some() && !revoked,
        PartnerVerb::Unsuspend => {
            row.side() == Side::Source
                && row.suspended().is_none()
                && row.partner_sequence(Side::Source) > 0
                && !revoked
        }
        PartnerVerb::Revoke => revoked,
        PartnerVerb::Unspecified => false,
    }
}

fn may(row: &GrantRow, verb: PartnerVerb) -> Result<(), Error> {
    let ended = matches!(row.standing(), Standing::Stopped { .. } | Standing::Superseded { .. });
    let problem = if ended || row.revoked().is_some() {
        "has ended for good"
    } else if verb == PartnerVerb::Revoke {
        return Ok(());
    } else if row.side() != Side::Source {
        "this partner is the recipient: only the source suspends a grant"
    } else if verb == PartnerVerb::Unsuspend && row.suspended().is_none() {
        "this partner does not suspend it"
    } else if row.partner_sequence(Side::Source) >= MAX_PARTNER_CHANGES {
        "was changed as often as a grant can be; it can be revoked"
    } else {
        return Ok(());
    };
    Err(Error::Misuse(Misuse::NotNow { name: row.name().to_string(), problem }))
}

fn kind(verb: PartnerVerb) -> Kind {
    match verb {
        PartnerVerb::Suspend => Kind::GrantSuspended,
        PartnerVerb::Unsuspend => Kind::GrantUnsuspended,
        PartnerVerb::Revoke => Kind::GrantRevoked,
        PartnerVerb::Unspecified => Kind::Unspecified,
    }
}
