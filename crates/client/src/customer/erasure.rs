//! Orders to delete: where each stands, by what the customer signed and what the recipient did. The broker's word counts
//! for nothing in it.

use countersign_grants::{
    envelope,
    lifecycle::Erasure,
    statement::{ErasureAttestation, GrantChange, WorkingKey},
    time::Timestamp,
};
use countersign_proto::v1::{Grant, grant::ErasureState};

use super::{Customer, GrantRow};
use crate::{
    checkpoint::Met,
    error::{Error, Misbehaved, Party},
    partner::check_attestation,
};

/// Where an order to a grant's recipient stands to delete what it received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErasureView {
    /// Until when it is due, by what the customer signed.
    pub due: Timestamp,
    /// When the recipient deleted, by its own signed word, which verified.
    pub attested: Option<Timestamp>,
    /// Whether it is late: not attested, and past its time.
    pub overdue: bool,
}

impl ErasureView {
    /// The state as the API names it.
    pub fn state(&self) -> ErasureState {
        match (self.attested, self.overdue) {
            (Some(_), _) => ErasureState::Attested,
            (None, true) => ErasureState::Overdue,
            (None, false) => ErasureState::Due,
        }
    }
}

impl Customer {
    /// Where the order stands that the customer signed for a grant; nothing if there is none. `shown` is what the broker
    /// says of the grant: it only brings the attestation. One that does not verify counts as absent, and comes as the
    /// fault of this grant alone: its recipient can make one, and must not keep the customer from her other grants. What
    /// only the log's own key can make still halts.
    pub(super) fn erasure(
        &self,
        row: &GrantRow,
        shown: Option<&Grant>,
    ) -> Result<(Option<ErasureView>, Option<Misbehaved>), Error> {
        let Some(order) = row.erase_order() else { return Ok((None, None)) };
        let said =
            envelope::peek::<GrantChange>(Some(&order)).map_err(|error| Error::malformed("book", error))?;
        let due = Erasure::order(&row.terms, said.time).due();
        let (attested, fault) = match shown {
            Some(shown) if shown.erasure_attestation.is_some() => {
                match self.verify_attestation(row, envelope::digest(&order), shown) {
                    Ok(time) => (Some(time), None),
                    Err(Error::Misbehaved(fault)) => (None, Some(*fault)),
                    Err(error) => return Err(error),
                }
            }
            _ => (None, None),
        };
        let overdue = attested.is_none() && self.now() >= due;
        Ok((Some(ErasureView { due, attested, overdue }), fault))
    }

    fn verify_attestation(
        &self,
        row: &GrantRow,
        order: countersign_grants::digest::Digest,
        shown: &Grant,
    ) -> Result<Timestamp, Error> {
        let recipient = &row.terms.recipient;
        let who = Party::Partner(recipient.clone());
        let signed = WorkingKey::certified(
            shown.erasure_attestation_key.as_ref(),
            &row.terms.recipient_identity,
            recipient,
            self.origin(),
        )
        .and_then(|key| {
            key.verify::<ErasureAttestation>(shown.erasure_attestation.as_ref(), |said| said.time)
        })
        .map_err(|error| Error::bad_key(who.clone(), "attestation", &error))?;
        let said = signed.statement();
        let time = check_attestation(said, (row.name.digest(), Some(order)), &who)?;
        self.0.monitor.take(&said.checkpoint.0, Met::InStatement, &who)?;
        Ok(time)
    }
}
