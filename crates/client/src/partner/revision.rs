//! Grants in whose place others come: the new one enters the book with what the customer signed about the old one.

use countersign_grants::{
    envelope,
    id::GrantName,
    statement::{GrantTerms, Revision},
};
use countersign_proto::{statement::v1::Envelope, v1::Grant};

use super::Shared;
use crate::{
    book::{GrantRow, Standing},
    error::{Error, Party},
};

impl Shared {
    /// Enters the grant in whose place these terms stand, with all its changes, unless the book has it as ended by them
    /// already. For terms that verified: so the way back is no longer than what the customer signed.
    pub(crate) async fn take_previous(&self, terms: &Envelope) -> Result<(), Error> {
        let said = envelope::peek::<GrantTerms>(Some(terms))
            .map_err(|error| Error::bad_statement(Party::Broker, "terms", &error))?;
        let Some(previous) = said.previous else { return Ok(()) };
        let by = Standing::Superseded { by: envelope::digest(terms) };
        if self.book.grant_by(previous).is_none_or(|old| old.standing() != by) {
            Box::pin(self.take_grant(&GrantName::of(previous))).await?;
        }
        Ok(())
    }

    /// Takes up the grant that stands in the place of this one. Which one it is, is the customer's word: the change of the
    /// old grant that names it, or the new terms that name the old.
    pub(crate) async fn take_successor(
        &self,
        name: &GrantName,
    ) -> Result<(GrantRow, GrantRow, Revision), Error> {
        let shown = self.show(name).await?;
        let row = self.take_shown(name, &shown).await?;
        let successor = match row.standing() {
            Standing::Superseded { by } => GrantName::of(by),
            Standing::Active | Standing::Paused | Standing::Stopped { .. } => named(&shown.grant)?,
        };
        let new = self.take_grant(&successor).await?;
        match self.book.grant(name) {
            Some(old) if old.standing() == (Standing::Superseded { by: new.digest() }) => {
                let same = old.terms().request == new.terms().request;
                Ok((old, new, if same { Revision::Narrowed } else { Revision::Renewed }))
            }
            _ => Err(unsigned(format!("`{successor}` does not stand in the place of `{name}`"))),
        }
    }
}

fn named(shown: &Grant) -> Result<GrantName, Error> {
    GrantName::parse(&shown.successor).map_err(|error| unsigned(format!("its successor: {error}")))
}

fn unsigned(detail: String) -> Error {
    Error::misbehaved(Party::Broker, "revision", "successor", detail)
}
