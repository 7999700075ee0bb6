//! The customer's own change of a grant, be it by `ChangeGrant` or `NarrowGrant`: signed with the keys of both links, and the
//! next of its grant.
//!
//! Its time is not held against ours: number and predecessor say exactly where it belongs, and a stop must not fail
//! because a phone's clock is wrong.

use countersign_grants::{
    digest::Digest,
    envelope::{self, Signed},
    id::{GrantName, LinkName},
    statement::{GrantChange, Statement, Verb},
};
use countersign_proto::{
    log::v1::Kind,
    row::v1::{GrantRow, GrantStatementRow},
    statement::v1::{Envelope, Signature},
};

use crate::{Broker, Fault, broker::damaged, rows, stored::StoredGrant, work::Work};

pub(super) const WHAT: &str = "grant change";

/// The most changes of one grant; a stop is always taken. Sixteen pauses, each with its end, are far more than anybody
/// makes in the days that a grant stands, and a grant with all of them fits a page many times over.
pub(super) const MAX_CHANGES: u64 = 32;

/// How many stops a grant can have after that: one that ends it, and one that orders its recipient to delete, if the
/// first did not.
pub(super) const MAX_STOPS: usize = 2;

/// The kinds of a change's record. One that only orders to delete has none of these.
pub(super) const KINDS: [Kind; 4] =
    [Kind::GrantPaused, Kind::GrantResumed, Kind::GrantWithdrawn, Kind::GrantSuperseded];

/// A change under both of its signatures.
pub(super) struct SignedChange {
    change: Signed<GrantChange>,
    source: Signature,
    recipient: Signature,
}

impl SignedChange {
    /// What the customer signed for this grant with the keys of both links.
    pub(super) async fn verify(
        broker: &Broker,
        grant: &StoredGrant,
        (for_source, for_recipient): (Option<&Envelope>, Option<&Envelope>),
    ) -> Result<Self, Fault> {
        let row = &grant.read.row;
        let (change, source) = one(broker, &row.source_link, for_source).await?;
        let (other, recipient) = one(broker, &row.recipient_link, for_recipient).await?;
        if change.digest() != other.digest() {
            return Err(Fault::says(WHAT, "recipient_change", "the two envelopes carry different changes"));
        }
        if change.statement().terms != grant.name.digest() {
            return Err(Fault::says(WHAT, "terms", "it changes another grant"));
        }
        Ok(Self { change, source, recipient })
    }

    /// What it says.
    pub(super) fn says(&self) -> &GrantChange {
        self.change.statement()
    }

    /// SHA-256 of it.
    pub(super) fn digest(&self) -> Digest {
        self.change.digest()
    }

    /// Whether it is the next change of its grant: else it stands already, or is refused.
    pub(super) async fn is_next(&self, broker: &Broker, grant: &StoredGrant) -> Result<bool, Fault> {
        let stored = broker.load(rows::grant_change(&grant.name, self.says().sequence)).await?;
        if stored.is_some_and(|stored| stored.row.change == self.change.envelope().payload) {
            return Ok(false);
        }
        self.follows(&grant.read.row).map(|()| true)
    }

    fn follows(&self, row: &GrantRow) -> Result<(), Fault> {
        let (says, next) = (self.says(), row.change_sequence + 1);
        if says.sequence != next {
            let problem = format!("it is number {}, and {next} is next", says.sequence);
            return Err(Fault::says(WHAT, "sequence", problem));
        }
        if row.change_hash != *says.previous.as_bytes().as_slice() {
            return Err(Fault::says(
                WHAT,
                "previous",
                "it does not build on the newest change, or the terms",
            ));
        }
        if says.verb != Verb::Stop && says.sequence > MAX_CHANGES {
            return Err(Fault::QuotaExceeded { quota: "changes of one grant", retry_after: None });
        }
        Ok(())
    }

    /// Has the grant's row say that this is the newest.
    pub(super) fn write_to(&self, row: &mut GrantRow) {
        row.change_sequence = self.says().sequence;
        row.change_hash = self.digest().into();
    }

    /// Enters it beside its grant.
    pub(super) fn enter(&self, work: &mut Work, grant: &GrantName) -> Result<(), Fault> {
        let row = GrantStatementRow {
            change: self.change.envelope().payload.clone(),
            source_signature: Some(self.source.clone()),
            recipient_signature: Some(self.recipient.clone()),
            ..GrantStatementRow::default()
        };
        work.create(&rows::grant_change(grant, self.says().sequence), &row)
    }
}

/// Verifies what the customer signed with the key of one of a grant's links.
pub(in crate::service) async fn by_link<S: Statement>(
    broker: &Broker,
    what: &'static str,
    link: &str,
    envelope: Option<&Envelope>,
) -> Result<Signed<S>, Fault> {
    let link = LinkName::parse(link).map_err(|error| damaged("grant", &error))?;
    let link = broker.confirmed_link(&link).await?;
    let link = link.ok_or_else(|| damaged("grant", &"a link of it is missing"))?;
    envelope::verify::<S>(envelope, &[&link.key], broker.origin())
        .map_err(|error| Fault::statement(what, &error))
}

async fn one(
    broker: &Broker,
    link: &str,
    envelope: Option<&Envelope>,
) -> Result<(Signed<GrantChange>, Signature), Fault> {
    let signed = by_link::<GrantChange>(broker, WHAT, link, envelope).await?;
    let id = signed.signer().as_str();
    let signature = signed.envelope().signatures.iter().find(|made| made.key_id == id).cloned();
    let signature = signature.ok_or(Fault::Bug { what: "a verified envelope lacks its signature" })?;
    Ok((signed, signature))
}
