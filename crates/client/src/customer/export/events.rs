//! The records that concern the customer, each with its proof, and what they say of each grant.

use std::collections::HashMap;

use bytes::Bytes;
use countersign_grants::{catalogue::FieldPath, digest::Digest, time::Timestamp};
use countersign_proto::{
    log::v1::Kind,
    v1::{ListProvenEventsRequest, ProvenEvent},
};
use serde_json::json;

use super::{
    ExportError, MAX_RECORDS, PAGE_SIZE, Pages,
    absent::Absent,
    folder::Folder,
    json::{is_at, message},
    twisted,
};
use crate::{
    auditor::proof_file,
    channel::call,
    customer::{Activity, Customer, GrantRow, activity::Numbering},
    error::Error,
    receipt::ProvenLeaf,
};

/// The members of an event that stand beside it in the same element.
const ELSEWHERE: [&str; 4] = ["record", "statement", "statement_key", "evidence_salt"];

/// One thing that happened to a grant, as its record in the log says.
#[derive(Clone, Copy)]
pub(super) struct Happened {
    pub(super) kind: Kind,
    pub(super) time: Timestamp,
    pub(super) index: u64,
    /// The first statement on which the record rests.
    rests_on: Option<Digest>,
}

/// What the log says of one grant: its changes, which are bounded, and its last use.
#[derive(Default)]
pub(super) struct Past {
    changes: Vec<Happened>,
    last_use: Option<(u64, Happened)>,
}

impl Past {
    fn take(&mut self, number: u64, one: Happened) {
        match one.kind {
            Kind::Transfer if self.last_use.is_none_or(|(last, _)| last < number) => {
                self.last_use = Some((number, one));
            }
            kind if tells_of_grant(kind) => self.changes.push(one),
            _ => {}
        }
    }

    /// What changed the grant's standing, oldest first: each by a statement that was signed for it and verified. The use that
    /// was the last is among it.
    pub(super) fn of(
        &self,
        row: &GrantRow,
        by_partners: &[Digest],
        renewed_by: &[Digest],
    ) -> Result<Vec<Happened>, Error> {
        let mut all = self.changes.clone();
        for one in &all {
            let rests = |signed: &dyn Fn(Digest) -> bool| one.rests_on.is_some_and(signed);
            let good = match one.kind {
                Kind::GrantPaused | Kind::GrantResumed | Kind::GrantWithdrawn => rests(&|it| row.has(it)),
                Kind::GrantSuperseded => rests(&|it| row.has(it) || renewed_by.contains(&it)),
                Kind::GrantSuspended | Kind::GrantUnsuspended | Kind::GrantRevoked => {
                    rests(&|it| by_partners.contains(&it))
                }
                // The operators' own acts: nothing is signed.
                _ => true,
            };
            if !good {
                let detail =
                    format!("entry {} rests on nothing that was signed for `{}`", one.index, row.name);
                return Err(twisted("event", "evidence", &detail));
            }
        }
        let spent = self.last_use.filter(|(number, _)| *number >= u64::from(row.terms.uses));
        all.extend(spent.map(|(_, one)| one));
        all.sort_by_key(|one| one.index);
        Ok(all)
    }
}

impl Customer {
    /// Writes each record with its proof, and keeps what they say of each grant, by its tag.
    pub(super) async fn export_events(
        &self,
        folder: &mut Folder,
        absent: &mut Absent,
    ) -> Result<(usize, HashMap<Bytes, Past>), ExportError> {
        let (mut list, mut pages) = (Folder::list("events.json"), Pages::new(MAX_RECORDS));
        let (mut numbering, mut past) = (Numbering::new(true), HashMap::<Bytes, Past>::new());
        let mut next = 0;
        while let Some(page_token) = pages.next() {
            let asked = ListProvenEventsRequest {
                parent: self.name().to_string(),
                cursor: 0,
                page_size: PAGE_SIZE,
                page_token,
                with_statements: true,
            };
            let page = self.0.connection.events().list_proven_events(call(asked)).await?.into_inner();
            pages.took(page.events.len(), page.next_page_token)?;
            for proven in page.events {
                let evidence = evidence(&proven)?;
                let (receipt, statements) = (proven.receipt, proven.statements);
                let activity = self.check(proven.event.unwrap_or_default())?;
                let leaf = ProvenLeaf::prove(receipt.as_ref(), &self.0.monitor)?;
                if leaf.leaf() != &activity.event.record || leaf.index() != activity.index() {
                    return Err(twisted("event", "receipt", "is the proof of another record").into());
                }
                if leaf.index() < next {
                    return Err(twisted("events", "index", "is not larger than the one before").into());
                }
                next = leaf.index() + 1;
                numbering.take(&activity)?;
                self.opens(&leaf, &activity, &evidence)?;
                let elsewhere = self.verify_kept(&activity, &evidence, &statements).await?;
                for on in elsewhere {
                    absent.rests(leaf.index(), *on);
                }
                let record = leaf.record();
                if !record.grant_tag.is_empty() {
                    let one = Happened {
                        kind: record.kind(),
                        time: activity.time(),
                        index: leaf.index(),
                        rests_on: evidence.first().copied(),
                    };
                    past.entry(record.grant_tag.clone()).or_default().take(record.use_number, one);
                }
                let proof = format!("proofs/{}.tlog-proof", leaf.index());
                let mut event = message("v1.Event", &activity.event);
                // These stand in `receipt` and `statements`, once.
                if let Some(event) = event.as_object_mut() {
                    for member in ELSEWHERE {
                        event.remove(member);
                    }
                }
                let evidence =
                    evidence.iter().map(|digest| data_encoding::HEXLOWER.encode(digest.as_bytes()));
                let element = json!({
                    "index": leaf.index(),
                    "event": event,
                    "record": message("log.v1.Record", record),
                    "receipt": message("v1.Receipt", leaf.receipt()),
                    "evidence": evidence.collect::<Vec<_>>(),
                    "statements": statements.iter().map(|one| message("v1.KeptStatement", one)).collect::<Vec<_>>(),
                    "proof": proof,
                });
                list.add(folder, &element).await?;
                folder.add(proof, proof_file(&leaf)?.to_string().into_bytes()).await?;
            }
        }
        Ok((list.end(folder).await?, past))
    }

    /// Whether all that a record commits to is what was handed over, and no more was.
    fn opens(&self, leaf: &ProvenLeaf, activity: &Activity, evidence: &[Digest]) -> Result<(), Error> {
        let (record, event) = (leaf.record(), &activity.event);
        if !is_at(event.event_time.as_ref(), activity.time()) {
            return Err(twisted("event", "event_time", "is other than its record says"));
        }
        for (shown, commitment, what) in [
            (!event.fields.is_empty(), &record.fields_commitment, "fields"),
            (!evidence.is_empty(), &record.evidence_commitment, "evidence"),
        ] {
            if shown == commitment.is_empty() {
                return Err(twisted(
                    "event",
                    what,
                    "are shown, and its record commits to none, or the other way round",
                ));
            }
        }
        let fields = event.fields.iter().map(|field| FieldPath::parse(field)).collect::<Result<Vec<_>, _>>();
        let fields = fields.map_err(|error| twisted("event", "fields", &error.to_string()))?;
        // They can come when the account is closed, so they name nobody.
        let names_nobody = matches!(record.kind(), Kind::ErasureAttested | Kind::ErasureOverdue);
        leaf.opens(
            (!names_nobody).then_some(self.name()),
            (!record.fields_commitment.is_empty()).then_some(&fields),
            (!record.evidence_commitment.is_empty()).then_some(evidence),
        )
    }
}

fn evidence(proven: &ProvenEvent) -> Result<Vec<Digest>, Error> {
    let read = |bytes: &Bytes| <[u8; 32]>::try_from(bytes.as_ref()).map(Digest::from);
    let read = proven.evidence.iter().map(read).collect::<Result<_, _>>();
    read.map_err(|_| twisted("event", "evidence", "a hash is not 32 bytes"))
}

/// Whether a record says that a grant's standing changed.
fn tells_of_grant(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::GrantPaused
            | Kind::GrantResumed
            | Kind::GrantWithdrawn
            | Kind::GrantSuperseded
            | Kind::GrantSuspended
            | Kind::GrantUnsuspended
            | Kind::GrantRevoked
            | Kind::GrantSuspendedByOperator
            | Kind::GrantUnsuspendedByOperator
            | Kind::GrantRevokedByOperator
    )
}
