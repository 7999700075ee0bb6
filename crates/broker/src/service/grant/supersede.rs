//! A grant in whose place another one comes: its end, in the commit in which the other begins.

use bytes::Bytes;
use countersign_grants::{
    digest::Digest,
    id::{GrantName, SubjectHandle},
    statement::Revision,
};
use countersign_proto::{
    log::v1::Kind,
    row::v1::{GrantRow, PrivatePart},
};

use crate::{
    Broker, Fault,
    broker::damaged,
    record::{CustomerKey, Happening},
    rows,
    stored::StoredGrant,
    work::Work,
};

/// A grant that may end so.
pub(super) struct Superseding {
    /// The grant, as it was read.
    pub(super) old: StoredGrant,
    /// Its row as it stands afterwards, but for the successor.
    pub(super) row: GrantRow,
    /// How.
    pub(super) revision: Revision,
}

impl Superseding {
    /// Enters the end of the old grant. The record of its successor's approval goes right behind this one.
    pub(super) fn enter(
        &self,
        broker: &Broker,
        work: &mut Work,
        (successor, evidence): (&GrantName, Digest),
        customer: &CustomerKey,
    ) -> Result<(), Fault> {
        let (old, terms) = (&self.old, &self.old.terms);
        let mut row = self.row.clone();
        row.successor = Bytes::from(successor.digest());
        // A fetch that was judged under the old version conflicts from here on, and finds the grant ended.
        work.update(&old.read, &row)?;
        let from = SubjectHandle::parse(&row.source_subject).map_err(|error| damaged("grant", &error))?;
        work.delete(&rows::grants_from(&from).entry(row.create_time_ms, old.name.digest()));
        work.record(broker.draft(Happening {
            kind: Kind::GrantSuperseded,
            source: Some(&terms.source),
            recipient: Some(&terms.recipient),
            customer: Some(customer),
            purpose: Some(&terms.purpose),
            catalogue_version: Some(terms.catalogue_version),
            reason: self.revision.code(),
            grant: Some((&old.name, terms.log_tag)),
            evidence: &[evidence],
            private: PrivatePart { successor: successor.to_string(), ..old.private_part() },
            ..Happening::default()
        }));
        Ok(())
    }
}
