//! A grant comes into the book, and the partner says so.

use countersign_grants::{
    digest::Digest,
    envelope,
    id::{GrantName, SubjectHandle},
    statement::Acknowledgement,
};
use countersign_proto::{
    statement::v1::{self as wire, Envelope},
    v1::{AcknowledgeGrantRequest, GetGrantRequest, Grant},
};

use super::{Papers, Shared, papers::unadmitted};
use crate::{
    book::GrantRow,
    channel::call,
    error::{Error, Party},
};

impl Shared {
    /// Fetches a grant with all its changes, verifies them, enters what is new, and acknowledges the newest.
    pub(crate) async fn take_grant(&self, name: &GrantName) -> Result<GrantRow, Error> {
        let asked = GetGrantRequest { name: name.to_string() };
        let grant = self.connection.grants().get_grant(call(asked)).await?.into_inner();
        let row = self.enter_grant(name, &grant).await?;
        if !self.has_acknowledged(&grant, row.last()) {
            self.acknowledge(name, row.last()).await?;
        }
        Ok(row)
    }

    /// Enters terms and changes as far as they are new. Nothing counts before it is synced.
    async fn enter_grant(&self, name: &GrantName, grant: &Grant) -> Result<GrantRow, Error> {
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
                self.book.enter_durably(entry).await?.map_err(|error| unadmitted("terms", &error))?;
                self.book.grant(name).ok_or_else(|| wrong("grant", "it is not in the book".into()))?
            }
        };
        for change in &grant.changes {
            row = self.enter_change(row, change).await?;
        }
        let known = row.sequence();
        let shown = grant.changes.len() as u64;
        if shown < known {
            return Err(wrong("sequence", format!("{shown} changes are shown, and the book has {known}")));
        }
        Ok(row)
    }

    async fn enter_change(&self, row: GrantRow, change: &Envelope) -> Result<GrantRow, Error> {
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
        self.book.enter_durably(entry).await?.map_err(|error| unadmitted("change", &error))?;
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
