//! Deleting what was received, as a customer ordered, and saying so.
//!
//! The application deletes, and says so: that is in the book before anything else. The statement is signed and in the book
//! before it is sent, and sent again, byte for byte, until the log proves that it has it. None of this needs the broker to
//! be there.

use countersign_grants::{
    digest::Digest,
    envelope,
    id::GrantName,
    statement::{ErasureAttestation, WorkingKey},
    time::Timestamp,
};
use countersign_proto::{
    log::v1::Kind,
    statement::v1 as wire,
    v1::{AttestErasureRequest, ErasureOrder, GetGrantRequest},
};

use super::{Partner, PartnerEvent, Shared, papers::unadmitted};
use crate::{
    book::{Entry, GrantRow, Side, envelope_bytes},
    channel::call,
    checkpoint::Met,
    customer::MAX_CLOCK_SKEW,
    error::{Error, Misuse, Party},
    receipt::{ProvenLeaf, Saying},
};

impl Partner {
    /// The grants under which this partner has to delete what it received, and has not said so, by its book alone.
    pub fn erasures_due(&self) -> Vec<GrantRow> {
        self.0.book.erasures_due()
    }

    /// Says that this partner has deleted what it received under a grant, as the customer ordered: call it after it is done.
    /// A fetch whose answer comes after the order stands in the book brings nothing any more; what one brought before is the
    /// application's to delete.
    /// Without a broker the error is transient: the word stands in the book, and upkeep brings it to the log.
    pub async fn attest_erasure(&self, grant: &GrantName) -> Result<ProvenLeaf, Error> {
        let shared = &self.0;
        let unknown = || Error::Misuse(Misuse::Unknown { name: grant.to_string() });
        let row = shared.book.grant(grant).ok_or_else(unknown)?;
        if row.erase_due().is_none() {
            let problem = "has no order to this partner to delete";
            return Err(Error::Misuse(Misuse::NotNow { name: grant.to_string(), problem }));
        }
        if !row.deleted() {
            let entry = Entry::Deleted { grant: *row.digest().as_bytes() };
            shared.book.enter_durably(entry).await?.map_err(|error| unadmitted("attestation", &error))?;
        }
        shared.attest(grant).await
    }
}

/// Attests what was deleted and is not proven to be in the log. Says whether nothing of it is left.
pub(super) async fn attest_deleted(shared: &Shared) -> bool {
    let mut all = true;
    for row in shared.book.erasures_to_attest() {
        if let Err(error) = shared.attest(row.name()).await {
            all = false;
            tracing::warn!(partner = %shared.name, grant = %row.name(), %error, "a deletion is not attested yet");
        }
    }
    all
}

/// What the application hears of an order that it has not met.
pub(super) fn erase_due(row: &GrantRow) -> Option<PartnerEvent> {
    let due = row.erase_due().filter(|_| !row.deleted())?;
    let signed = row.erase_order().is_some_and(|order| order.recorded.is_none());
    Some(PartnerEvent::EraseDue { grant: row.name().clone(), subject: row.subject().clone(), due, signed })
}

impl Shared {
    /// Signs the attestation, unless it was before, and sends it.
    async fn attest(&self, name: &GrantName) -> Result<ProvenLeaf, Error> {
        // Upkeep and the application may come at once, and what is signed is signed once.
        let _turn = self.changing.lock().await;
        let unknown = || Error::Misuse(Misuse::Unknown { name: name.to_string() });
        let row = self.book.grant(name).ok_or_else(unknown)?;
        let (Some(order), grant) = (row.erase_order(), *row.digest().as_bytes()) else {
            return Err(unknown());
        };
        let statement = if let Some(signed) = row.attestation() {
            signed
        } else {
            let message = wire::ErasureAttestation {
                broker: self.trust.origin.to_string(),
                partner: self.name.to_string(),
                terms: row.digest().into(),
                change: order.change.into(),
                time_ms: self.system.now().as_millis(),
                checkpoint: self.monitor.for_signing().await?,
            };
            let (signed, _) = self.sign_own::<ErasureAttestation>("attestation", &message)?;
            let entry = Entry::Attested { grant, attestation: envelope_bytes(&signed) };
            self.book.enter_durably(entry).await?.map_err(|error| unadmitted("attestation", &error))?;
            signed
        };
        let receipt = self.tell_attestation(&row, statement).await?;
        // It does not fit if the customer's own order took the place of the one that this answers: that is to be met anew.
        let _ = self.book.enter_durably(Entry::AttestationTold { grant }).await?;
        Ok(receipt)
    }

    async fn tell_attestation(&self, row: &GrantRow, statement: wire::Envelope) -> Result<ProvenLeaf, Error> {
        let said = envelope::peek::<ErasureAttestation>(Some(&statement))
            .map_err(|error| Error::malformed("book", error))?;
        let digest = envelope::digest(&statement);
        let asked = AttestErasureRequest { name: row.name().to_string(), statement: Some(statement) };
        let answer = self.connection.grants().attest_erasure(call(asked)).await?.into_inner();
        let receipt = ProvenLeaf::prove(answer.receipt.as_ref(), &self.monitor)?;
        let terms = row.terms();
        receipt.says(&Saying {
            evidence: Some(&[digest]),
            // It may have been signed long before the broker could be reached.
            ..Saying::of(
                terms,
                &[Kind::ErasureAttested],
                (said.time.minus(MAX_CLOCK_SKEW), self.system.now().plus(MAX_CLOCK_SKEW)),
            )
        })?;
        Ok(receipt)
    }

    /// An order that came while this side was away, of a customer who has closed the account since: nothing signed is left of
    /// it, and its record in the log is. What that commits to is what this side attests to; and a broker that makes one up
    /// has to do it where every audit looks.
    pub(super) async fn ordered_by_record(
        &self,
        row: &GrantRow,
        left: &ErasureOrder,
    ) -> Result<Option<PartnerEvent>, Error> {
        let change = Digest::from_slice(&left.change);
        let unread = || Error::misbehaved(Party::Broker, "erasure_order", "change", "is no hash");
        let change = change.ok_or_else(unread)?;
        let (receipt, terms) = (ProvenLeaf::prove(left.receipt.as_ref(), &self.monitor)?, row.terms());
        receipt.says(&Saying {
            evidence: Some(&[change]),
            ..Saying::of(
                terms,
                &[Kind::ErasureOrdered],
                (terms.time.minus(MAX_CLOCK_SKEW), self.system.now().plus(MAX_CLOCK_SKEW)),
            )
        })?;
        let entry = Entry::OrderRecorded {
            grant: *row.digest().as_bytes(),
            change: *change.as_bytes(),
            at_ms: receipt.record().time_ms,
        };
        self.book.enter_durably(entry).await?.map_err(|error| unadmitted("erasure_order", &error))?;
        Ok(self.book.grant(row.name()).as_ref().and_then(erase_due))
    }

    /// What a source hears of its recipient's attestation, once that verified. To the recipient its own is no news; and once
    /// the customer has closed the account there is nothing to look at any more.
    pub(super) async fn attested_by_recipient(
        &self,
        name: &GrantName,
    ) -> Result<Option<PartnerEvent>, Error> {
        let Some(row) = self.book.grant(name).filter(|row| row.side() == Side::Source) else {
            return Ok(None);
        };
        let asked = GetGrantRequest { name: name.to_string() };
        let shown = match self.connection.grants().get_grant(call(asked)).await {
            Ok(shown) => shown.into_inner(),
            Err(status) if status.code() == tonic::Code::NotFound => return Ok(None),
            Err(status) => return Err(status.into()),
        };
        let terms = row.terms();
        let who = Party::Partner(terms.recipient.clone());
        let key = WorkingKey::certified(
            shown.erasure_attestation_key.as_ref(),
            &terms.recipient_identity,
            &terms.recipient,
            &self.trust.origin,
        );
        let signed = key
            .and_then(|key| {
                key.verify::<ErasureAttestation>(shown.erasure_attestation.as_ref(), |said| said.time)
            })
            .map_err(|error| Error::bad_key(who.clone(), "attestation", &error))?;
        let said = signed.statement();
        let order = row.erase_order().map(|order| order.change);
        check_attestation(said, (row.digest(), order), &who)?;
        self.monitor.take(&said.checkpoint.0, Met::InStatement, &who)?;
        Ok(Some(PartnerEvent::ErasureAttested { grant: name.clone(), time: said.time }))
    }

    /// What it means to this side that an attestation is late.
    pub(super) fn overdue(&self, name: &GrantName) -> Option<PartnerEvent> {
        let row = self.book.grant(name)?;
        match row.side() {
            Side::Source => Some(PartnerEvent::ErasureOverdue { grant: name.clone() }),
            Side::Recipient => erase_due(&row),
        }
    }
}

/// Whether a recipient's attestation is of these terms, and answers the order that was signed for them.
pub(crate) fn check_attestation(
    said: &ErasureAttestation,
    (terms, order): (Digest, Option<Digest>),
    who: &Party,
) -> Result<Timestamp, Error> {
    let wrong = |check, detail| Err(Error::misbehaved(who.clone(), "attestation", check, detail));
    if Party::Partner(said.partner.clone()) != *who {
        return wrong("partner", "names another partner");
    }
    if said.terms != terms {
        return wrong("terms", "is of another grant");
    }
    if Some(said.change) != order {
        return wrong("change", "answers another change than the one that ordered it");
    }
    Ok(said.time)
}
