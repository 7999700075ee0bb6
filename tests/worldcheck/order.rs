//! What the order of the records promises.

use std::collections::{HashMap, HashSet};

use countersign_proto::log::v1::{Kind, Record, Result as Went};

use super::{Finding, ensure};

/// What the records so far say of one grant.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "each follows from records of its own")]
struct Grant {
    records: u64,
    uses: u64,
    paused: bool,
    suspended: [bool; 2],
    stopped: bool,
    expiring: bool,
    ordered: bool,
    overdue: bool,
    attested: bool,
}

pub(super) fn check(records: &[Record]) -> Result<(), Finding> {
    let mut grants = HashMap::<&[u8], Grant>::new();
    let mut suspended = HashSet::<&str>::new();
    let mut ids = HashSet::<&[u8]>::new();
    let mut superseded = None::<(usize, &Record)>;
    let mut time_ms = 0;
    for (index, record) in records.iter().enumerate() {
        ensure(record.time_ms >= time_ms, || {
            format!("record {index} is of {}, after one of {time_ms}: time runs backwards", record.time_ms)
        })?;
        time_ms = record.time_ms;
        ensure(ids.insert(&record.record_id), || format!("record {index} has the id of another"))?;
        if let Some((before, old)) = superseded.take() {
            let same = [&old.source, &old.recipient, &old.purpose]
                == [&record.source, &record.recipient, &record.purpose];
            ensure(record.kind() == Kind::GrantApproved && same, || {
                format!("record {before} ends a grant for another, and record {index} approves none like it")
            })?;
        }
        if record.kind() == Kind::GrantSuperseded {
            superseded = Some((index, record));
        }
        match record.kind() {
            Kind::PartnerSuspended | Kind::PartnerSuspendedAutomatically => {
                suspended.insert(&record.source);
            }
            Kind::PartnerResumed => {
                suspended.remove(record.source.as_str());
            }
            _ => {}
        }
        if record.grant_tag.is_empty() {
            ensure(record.grant_sequence == 0, || format!("record {index} is numbered, and has no grant"))?;
            ensure(record.kind() != Kind::Transfer, || {
                format!("record {index} is a transfer without a grant")
            })?;
            if record.kind() == Kind::Previewed {
                ensure(record.recipient.is_empty(), || format!("record {index} tells who asked"))?;
                ensure(!suspended.contains(record.source.as_str()), || {
                    format!("record {index} is a preview while {} is suspended", record.source)
                })?;
            }
            continue;
        }
        ensure(record.kind() != Kind::Previewed, || format!("record {index} is a preview under a grant"))?;
        let grant = grants.entry(&record.grant_tag).or_default();
        grant.records += 1;
        ensure(record.grant_sequence == grant.records, || {
            format!(
                "record {index} is number {} of its grant, {} is due",
                record.grant_sequence, grant.records
            )
        })?;
        ensure((grant.records == 1) == (record.kind() == Kind::GrantApproved), || {
            format!("record {index}: the approval, and it alone, is a grant's first record")
        })?;
        match record.kind() {
            Kind::GrantPaused => grant.paused = true,
            Kind::GrantResumed => grant.paused = false,
            Kind::GrantSuspended => grant.suspended[0] = true,
            Kind::GrantUnsuspended => grant.suspended[0] = false,
            Kind::GrantSuspendedByOperator => grant.suspended[1] = true,
            Kind::GrantUnsuspendedByOperator => grant.suspended[1] = false,
            Kind::GrantWithdrawn
            | Kind::GrantSuperseded
            | Kind::GrantRevoked
            | Kind::GrantRevokedByOperator => grant.stopped = true,
            Kind::GrantExpiring => {
                ensure(!grant.stopped && !grant.expiring, || {
                    format!("record {index} says again, or after its stop, that a grant ends")
                })?;
                grant.expiring = true;
            }
            Kind::ErasureOrdered | Kind::ErasureOverdue | Kind::ErasureAttested => {
                erasure(index, record.kind(), grant)?;
            }
            Kind::LocationTapped => {
                ensure(!(grant.stopped || grant.paused) && grant.suspended == [false; 2], || {
                    format!("record {index} is a tap while its grant is stopped, paused or suspended")
                })?;
            }
            Kind::Transfer => {
                transfer(index, record, grant)?;
                for side in [&record.source, &record.recipient] {
                    ensure(!suspended.contains(side.as_str()), || {
                        format!("record {index} is a transfer while {side} is suspended")
                    })?;
                }
            }
            _ => {}
        }
    }
    ensure(superseded.is_none(), || "the last record ends a grant for another, and none follows".to_owned())
}

/// An order to delete comes once, ends its grant, and is met or late once.
fn erasure(index: usize, kind: Kind, grant: &mut Grant) -> Result<(), Finding> {
    let sound = match kind {
        Kind::ErasureOrdered => !std::mem::replace(&mut grant.ordered, true),
        Kind::ErasureOverdue => {
            grant.ordered && !grant.attested && !std::mem::replace(&mut grant.overdue, true)
        }
        _ => grant.ordered && !std::mem::replace(&mut grant.attested, true),
    };
    grant.stopped = true;
    ensure(sound, || format!("record {index} is {}, which has no place there", kind.as_str_name()))
}

fn transfer(index: usize, record: &Record, grant: &mut Grant) -> Result<(), Finding> {
    ensure(!grant.stopped, || format!("record {index} is a transfer after the stop of its grant"))?;
    ensure(!grant.paused, || format!("record {index} is a transfer while its grant is paused"))?;
    ensure(grant.suspended == [false; 2], || {
        format!("record {index} is a transfer while its grant is suspended")
    })?;
    match record.result() {
        Went::Released => {
            grant.uses += 1;
            ensure(record.use_number == grant.uses, || {
                format!("record {index} is use {} of its grant, {} is due", record.use_number, grant.uses)
            })
        }
        Went::Repeated => ensure((1..=grant.uses).contains(&record.use_number), || {
            format!("record {index} repeats use {} of {}", record.use_number, grant.uses)
        }),
        other => Err(Finding(format!("record {index} is a transfer that went {other:?}"))),
    }
}
