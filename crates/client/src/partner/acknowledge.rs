//! A grant comes into the book, and the partner says so.

use countersign_grants::{
    digest::Digest,
    envelope,
    id::{GrantName, SubjectHandle},
    statement::{Acknowledgement, PartnerChange},
};
use countersign_proto::{
    statement::v1::{self as wire, Envelope},
    v1::{self, AcknowledgeGrantRequest, GetGrantRequest, Grant},
};

use super::{Papers, Shared, papers::unadmitted};
use crate::{
    book::{GrantRow, Side},
    channel::call,
    error::{Error, Party},
};

/// A grant as the broker showed it, and how many changes the book had of it before it was asked: what has come in since,
/// by an event or another call of this side, it need not show yet.
pub(super) struct Shown {
    pub(super) grant: Grant,
    changes: u64,
    of_other: u64,
}

impl Shared {
    /// Fetches a grant with all its changes, verifies them, enters what is new, and acknowledges the newest.
    pub(crate) async fn take_grant(&self, name: &GrantName) -> Result<GrantRow, Error> {
        let shown = self.show(name).await?;
        self.take_shown(name, &shown).await
    }

    /// Has the broker show a grant.
    pub(super) async fn show(&self, name: &GrantName) -> Result<Shown, Error> {
        let before = self.book.grant(name);
        let (changes, of_other) =
            before.map_or((0, 0), |row| (row.sequence(), row.partner_sequence(row.side().other())));
        let asked = GetGrantRequest { name: name.to_string() };
        let grant = self.connection.grants().get_grant(call(asked)).await?.into_inner();
        Ok(Shown { grant, changes, of_other })
    }

    /// The same as [`Shared::take_grant`], of a grant that the broker has shown.
    pub(super) async fn take_shown(&self, name: &GrantName, shown: &Shown) -> Result<GrantRow, Error> {
        let row = self.enter_grant(name, shown).await?;
        if !self.has_acknowledged(&shown.grant, row.last()) {
            self.acknowledge(name, row.last()).await?;
        }
        Ok(row)
    }

    /// Enters terms and changes as far as they are new. Nothing counts before it is synced.
    async fn enter_grant(&self, name: &GrantName, shown: &Shown) -> Result<GrantRow, Error> {
        let grant = &shown.grant;
        let wrong = |check, detail: String| Error::misbehaved(Party::Broker, "grant", check, detail);
        let subject =
            SubjectHandle::parse(&grant.subject).map_err(|error| wrong("subject", error.to_string()))?;
        if grant.terms.as_ref().map(envelope::digest) != Some(name.digest()) {
            return Err(wrong("terms", "the terms are not those that name the grant".into()));
        }
        let mut row = match self.book.grant(name) {
            Some(row) if row.subject() == &subject => row,
            Some(_) => {
                return Err(wrong("subject", "the grant stands in the book for another subject".into()));
            }
            None => {
                let entry = self.verify_papers(&Papers {
                    subject: &subject,
                    terms: grant.terms.as_ref(),
                    salt: &grant.party_salt,
                    offer: grant.offer.as_ref(),
                    offer_key: grant.offer_key.as_ref(),
                })?;
                if let Some(terms) = &grant.terms {
                    self.take_previous(terms).await?;
                }
                self.book.enter_durably(entry).await?.map_err(|error| unadmitted("terms", &error))?;
                self.book.grant(name).ok_or_else(|| wrong("grant", "it is not in the book".into()))?
            }
        };
        // What the sides did comes first: after a change that ends the grant for another, nothing is entered of it.
        row = self.enter_partner_changes(row, shown).await?;
        for change in &grant.changes {
            row = self.enter_change(row, change).await?;
        }
        let (count, known) = (grant.changes.len() as u64, shown.changes);
        if count < known {
            return Err(wrong("sequence", format!("{count} changes are shown, and the book has {known}")));
        }
        Ok(row)
    }

    /// Enters what the sides did by their own word. Of this side's own changes the broker may lack some that were signed
    /// while it was away, and the book some that were signed on another machine.
    async fn enter_partner_changes(&self, mut row: GrantRow, shown: &Shown) -> Result<GrantRow, Error> {
        let wrong = |check, detail: String| Error::misbehaved(Party::Broker, "partner_change", check, detail);
        let other = row.side().other();
        let mut shown_of_other = 0;
        for change in &shown.grant.partner_changes {
            let claimed = envelope::peek::<PartnerChange>(change.statement.as_ref())
                .map_err(|error| Error::bad_statement(Party::Broker, "partner_change", &error))?;
            let side = row.side_of(&claimed);
            shown_of_other += u64::from(side == other);
            row = self.enter_partner_change(row, side, claimed.sequence, change).await?;
        }
        let known = shown.of_other;
        if shown_of_other < known {
            let detail = format!("{shown_of_other} of the other side are shown, and the book has {known}");
            return Err(wrong("sequence", detail));
        }
        Ok(row)
    }

    pub(super) async fn enter_partner_change(
        &self,
        row: GrantRow,
        side: Side,
        sequence: u64,
        shown: &v1::PartnerChange,
    ) -> Result<GrantRow, Error> {
        let digest = shown.statement.as_ref().map(envelope::digest);
        if sequence <= row.partner_sequence(side) && row.partner_change(side, sequence) == digest {
            return Ok(row);
        }
        let signed = self.verify_partner_change(&row, shown)?;
        if sequence <= row.partner_sequence(side) {
            let who = Party::Partner(signed.statement().partner.clone());
            let detail = format!("the book has another change under number {sequence}");
            return Err(Error::misbehaved(who, "partner_change", "sequence", detail));
        }
        let entry = crate::book::Entry::PartnerChanged {
            grant: *row.digest().as_bytes(),
            change: crate::book::envelope_bytes(signed.envelope()),
        };
        let entered = self.book.enter_durably(entry).await?;
        let now = self.entered(&row)?;
        // An event, or another call of this side, may have entered it meanwhile.
        if now.partner_change(side, sequence) != digest {
            entered.map_err(|error| unadmitted("partner_change", &error))?;
        }
        Ok(now)
    }

    pub(super) async fn enter_change(&self, row: GrantRow, change: &Envelope) -> Result<GrantRow, Error> {
        let signed = self.verify_change(&row, change)?;
        let sequence = signed.statement().sequence;
        if sequence <= row.sequence() {
            // An older number is refused, unless it is the very change that the book has under it.
            if row.change(sequence) == Some(signed.digest()) {
                return Ok(row);
            }
            let detail = format!("the book has another change under number {sequence}");
            return Err(Error::misbehaved(Party::Customer, "change", "sequence", detail));
        }
        let entry = crate::book::Entry::Changed {
            grant: *row.digest().as_bytes(),
            change: crate::book::envelope_bytes(change),
        };
        let entered = self.book.enter_durably(entry).await?;
        let now = self.entered(&row)?;
        // An event, or another call of this side, may have entered it meanwhile.
        if now.change(sequence) != Some(signed.digest()) {
            entered.map_err(|error| unadmitted("change", &error))?;
        }
        Ok(now)
    }

    /// A grant of the book, as it stands by now.
    fn entered(&self, row: &GrantRow) -> Result<GrantRow, Error> {
        self.book
            .grant_by(row.digest())
            .ok_or_else(|| Error::misbehaved(Party::Broker, "grant", "grant", "it is not in the book"))
    }

    fn has_acknowledged(&self, grant: &Grant, statement: Digest) -> bool {
        let own = grant.acknowledgements.iter().filter(|one| one.partner == self.name.as_str());
        own.filter_map(|one| envelope::peek::<Acknowledgement>(one.statement.as_ref()).ok())
            .any(|said| said.statement == statement)
    }

    async fn acknowledge(&self, name: &GrantName, statement: Digest) -> Result<(), Error> {
        let message = wire::Acknowledgement {
            broker: self.trust.origin.to_string(),
            partner: self.name.to_string(),
            statement: statement.into(),
            time_ms: self.system.now().as_millis(),
            checkpoint: self.monitor.for_signing().await?,
        };
        let statement = Some(self.sign::<Acknowledgement>(&message));
        let asked = AcknowledgeGrantRequest { name: name.to_string(), statement };
        match self.connection.grants().acknowledge_grant(call(asked)).await.map_err(Error::from) {
            Ok(_) => Ok(()),
            // Until it is said this side has not handled what it heard.
            Err(error) if error.is_transient() || error.is_for_now() => Err(error),
            // A newer change may have overtaken it. The book has it, which is what counts for this side.
            Err(error) => {
                tracing::warn!(grant = %name, %error, "the acknowledgement was not taken");
                Ok(())
            }
        }
    }
}
