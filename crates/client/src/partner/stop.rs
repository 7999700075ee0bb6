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
    book::{Entry, GrantRow, Side, Standing, Unadmitted, envelope_bytes},
    channel::call,
    customer::MAX_CLOCK_SKEW,
    error::{Error, Misuse},
    receipt::{ProvenLeaf, Saying},
};

/// How often a change is signed anew because a newer revision took the grant's place meanwhile. Each is made by its
/// customer's hand: nobody makes so many within the milliseconds of as many signatures.
const MAX_OVERTAKEN: u32 = 8;

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
        let row = known().ok_or_else(|| Error::Misuse(Misuse::Unknown { name: grant.to_string() }))?;
        if !is_done(&row, verb) {
            // A change that was signed on another machine comes first. But a stop waits for nobody.
            match shared.take_grant(grant).await {
                Ok(_) => {}
                Err(error @ Error::Book(_)) => return Err(error),
                Err(error) if verb == PartnerVerb::Unsuspend && !error.is_transient() => return Err(error),
                Err(error) => tracing::warn!(%grant, %error, "changing a grant by this side's book alone"),
            }
        }
        shared.say_again(grant).await?;
        let wanted = |row: &GrantRow| {
            if is_done(row, verb) {
                return Ok(None);
            }
            may(row, verb).map(|()| Some((verb, reason)))
        };
        let row = shared.sign_partner_change(grant, wanted).await?;
        shared.tell_partner_changes(&row).await
    }
}

impl Shared {
    /// What this side did to a grant holds for the newer revision that took its place meanwhile. Says it of that one too,
    /// to the broker as well.
    pub(super) async fn hand_on(&self, row: &GrantRow) -> Result<(), Error> {
        if row.terms().previous.is_none() {
            return Ok(());
        }
        let _turn = self.changing.lock().await;
        let row = self.say_again(row.name()).await?;
        if row.partner_sequence(row.side()) == 0 {
            return Ok(());
        }
        match self.tell_partner_changes(&row).await {
            Ok(_) => Ok(()),
            // Until it is said this side has not handled what it heard.
            Err(error) if error.is_transient() || error.is_for_now() => Err(error),
            // It may have ended meanwhile. The book has it, which is what counts for this side.
            Err(error) => {
                tracing::warn!(grant = %row.name(), %error, "what this side did to the grant before it was not taken");
                Ok(())
            }
        }
    }

    /// Signs for the newest revision of a grant what this side did to the one before.
    async fn say_again(&self, grant: &GrantName) -> Result<GrantRow, Error> {
        self.sign_partner_change(grant, |row| Ok(row.unsaid())).await
    }

    /// Signs this side's next change of a grant's newest revision, if one is wanted, and enters it in the book: from here on
    /// it holds on this side.
    async fn sign_partner_change(
        &self,
        grant: &GrantName,
        wanted: impl Fn(&GrantRow) -> Result<Option<(PartnerVerb, ChangeReason)>, Error> + Send,
    ) -> Result<GrantRow, Error> {
        let unknown = || Error::Misuse(Misuse::Unknown { name: grant.to_string() });
        for _ in 0..MAX_OVERTAKEN {
            // What ended for a newer revision is left alone; the newer one is meant.
            let row = self.book.newest_revision(grant).ok_or_else(unknown)?;
            let Some((verb, reason)) = wanted(&row)? else { return Ok(row) };
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
            match self.book.enter_durably(entry).await? {
                Ok(()) => return self.book.grant_by(row.digest()).ok_or_else(unknown),
                // A newer revision came in while this was signed: it is signed for that one.
                Err(Unadmitted::Superseded) => {}
                Err(error) => return Err(unadmitted("partner_change", &error)),
            }
        }
        let problem = "newer revisions come in faster than a change can be signed; come again";
        Err(Error::Misuse(Misuse::NotNow { name: grant.to_string(), problem }))
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
            evidence: Some(&[envelope::digest(change)]),
            // It may have been signed long before the broker could be reached.
            ..Saying::of(
                terms,
                &[kind(said.verb)],
                (said.time.minus(MAX_CLOCK_SKEW), self.system.now().plus(MAX_CLOCK_SKEW)),
            )
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
    // One whose successor has not come yet can still be changed: it holds for that one then.
    let ended = matches!(row.standing(), Standing::Stopped { .. });
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
