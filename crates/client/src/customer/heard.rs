//! What a grant's sides say of a change: each side's own signed word, and nothing of the broker's.

use countersign_grants::{
    digest::Digest,
    envelope::{self, Signed},
    id::PartnerName,
    key::PublicKey,
    statement::{self as statements, WorkingKey},
    time::Timestamp,
};
use countersign_proto::v1::{Acknowledgement, Grant};

use super::{Customer, GrantRow};
use crate::{
    checkpoint::Met,
    error::{Error, Misbehaved, Party},
};

/// What is there of a side's words on some changes.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// Which of them it acknowledged, and when, by a word that verified.
    pub(super) word: Option<(Digest, Timestamp)>,
    /// A word on them that does not verify. It counts as absent.
    pub(super) fault: Option<Misbehaved>,
}

impl Customer {
    /// The first of these changes that a side has acknowledged. Whoever makes a word that does not verify, the side itself
    /// or the broker on its way, gains no more than by none; what only the log's own key can make still halts.
    pub(super) fn heard(
        &self,
        row: &GrantRow,
        shown: &Grant,
        side: &PartnerName,
        changes: &[Digest],
    ) -> Result<Heard, Error> {
        let terms = &row.terms;
        let identity = if *side == terms.source { &terms.source_identity } else { &terms.recipient_identity };
        let mut heard = Heard::default();
        let mut best = usize::MAX;
        for word in shown.acknowledgements.iter().filter(|word| word.partner == side.as_str()) {
            // Words on what came before are good, and say nothing here.
            let said = envelope::peek::<statements::Acknowledgement>(word.statement.as_ref());
            let about = said.map(|said| changes.iter().position(|change| *change == said.statement));
            if matches!(about, Ok(None)) {
                continue;
            }
            match self.verify_acknowledged((side, identity), word) {
                Ok(signed) => {
                    let said = signed.statement();
                    let at = changes.iter().position(|change| *change == said.statement);
                    if let Some(at) = at.filter(|at| *at < best) {
                        (best, heard.word) = (at, Some((said.statement, said.time)));
                    }
                }
                Err(Error::Misbehaved(fault)) => drop(heard.fault.get_or_insert(*fault)),
                Err(error) => return Err(error),
            }
        }
        Ok(heard)
    }

    /// A side's word that a statement is in its book.
    pub(super) fn verify_acknowledged(
        &self,
        (partner, identity): (&PartnerName, &PublicKey),
        word: &Acknowledgement,
    ) -> Result<Signed<statements::Acknowledgement>, Error> {
        let who = Party::Partner(partner.clone());
        let signed = WorkingKey::certified(word.partner_key.as_ref(), identity, partner, self.origin())
            .and_then(|key| {
                key.verify::<statements::Acknowledgement>(word.statement.as_ref(), |said| said.time)
            })
            .map_err(|error| Error::bad_key(who.clone(), "acknowledgement", &error))?;
        let said = signed.statement();
        if said.partner != *partner {
            return Err(Error::misbehaved(who, "acknowledgement", "partner", "names another partner"));
        }
        self.0.monitor.take(&said.checkpoint.0, Met::InStatement, &who)?;
        Ok(signed)
    }
}
