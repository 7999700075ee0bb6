//! Each grant, as its records leave it.

use std::collections::HashMap;

use bytes::Bytes;
use countersign_grants::{catalogue::FieldPath, digest::Digest};
use countersign_proto::{
    log::v1::{Kind, Record, Result as Went},
    row::v1::{GrantRow, PrivatePart},
    statement::v1::{Fetch, GrantTerms},
    v1::grant::State,
};
use prost::Message as _;

use super::{Finding, Rows, ensure, unhex};

impl Rows {
    /// A grant's terms, from its row; the row can't say others, since the grant's name is the hash of these.
    pub(super) fn terms(&self, name: &str) -> Result<(Vec<u8>, GrantTerms), Finding> {
        let (digest, row) = self.grant(name)?;
        let terms = GrantTerms::decode(row.terms.clone()).ok();
        let terms = terms.filter(|_| Digest::of(&row.terms).as_bytes()[..] == digest[..]);
        Ok((digest, terms.ok_or_else(|| Finding(format!("the row of {name} holds other terms")))?))
    }

    pub(super) fn grant(&self, name: &str) -> Result<(Vec<u8>, GrantRow), Finding> {
        let digest = name.strip_prefix("grants/").and_then(unhex).unwrap_or_default();
        let row = self.broker.get("grant").and_then(|grants| grants.get(&digest));
        let row = row.and_then(|row| GrantRow::decode(row.clone()).ok());
        Ok((digest, row.ok_or_else(|| Finding(format!("a record is about {name}, whose row is missing")))?))
    }

    /// The grant that was approved and of which this one is what narrowings left: by the terms, not by the row.
    pub(super) fn approved(&self, mut digest: Vec<u8>, terms: &GrantTerms) -> Result<Vec<u8>, Finding> {
        let (mut previous, request) = (terms.previous.clone(), &terms.request);
        while !previous.is_empty() {
            let (old, terms) = self.terms(&format!("grants/{}", hex(&previous)))?;
            if terms.request != *request {
                break;
            }
            (digest, previous) = (old, terms.previous);
        }
        Ok(digest)
    }

    /// The terms of a revision ask for no more than those in whose place they stand left.
    fn check_revision(&self, name: &str, spent: &HashMap<&str, u64>) -> Result<(), Finding> {
        let (_, new) = self.terms(name)?;
        if new.previous.is_empty() {
            return Ok(());
        }
        let old_name = format!("grants/{}", hex(&new.previous));
        let (_, row) = self.grant(&old_name)?;
        let (_, old) = self.terms(&old_name)?;
        ensure(format!("grants/{}", hex(&row.successor)) == name, || {
            format!("{name} stands in the place of {old_name}, whose row names another")
        })?;
        let left =
            u64::from(old.uses).saturating_sub(spent.get(old_name.as_str()).copied().unwrap_or_default());
        let narrowed = new.request == old.request;
        ensure(!narrowed || u64::from(new.uses) <= left, || {
            format!("{name} grants {} uses, and {left} were left of {old_name}", new.uses)
        })?;
        ensure(!narrowed || new.fields.iter().all(|field| old.fields.contains(field)), || {
            format!("{name} narrows {old_name}, and has a field more")
        })?;
        ensure(!narrowed || new.expire_time_ms <= old.expire_time_ms, || {
            format!("{name} narrows {old_name}, and ends later")
        })
    }

    /// What had ended a grant by itself when it was ordered that what it brought be deleted: its time, or its last use.
    fn ended_by_itself(
        &self,
        name: &str,
        ordered_ms: u64,
        spent: &HashMap<&str, u64>,
    ) -> Result<State, Finding> {
        let (_, terms) = self.terms(name)?;
        let consumed = spent.get(name).copied().unwrap_or_default() >= u64::from(terms.uses);
        ensure(consumed || ordered_ms >= terms.expire_time_ms, || {
            format!("{name} is ordered to be deleted alone, and had not ended")
        })?;
        Ok(if consumed { State::Consumed } else { State::Expired })
    }

    /// Each grant stands as its records leave it.
    pub(super) fn check_grants(&self, records: &[Record], parts: &[PrivatePart]) -> Result<(), Finding> {
        let mut grants = HashMap::<&str, Stands>::new();
        let mut changed = HashMap::<&str, &[Bytes]>::new();
        let about = records.iter().zip(parts).enumerate().filter(|(_, (_, part))| !part.grant.is_empty());
        for (index, (record, part)) in about {
            if record.kind() == Kind::GrantApproved {
                grants.insert(&part.grant, Stands::default());
            } else if let Some(grant) = grants.get_mut(part.grant.as_str()) {
                grant.take(index, record, part)?;
                // An order to delete comes with the stop that ends the grant, or by a change of its own.
                let before = match record.kind() {
                    Kind::GrantWithdrawn => changed.insert(&part.grant, &part.evidence),
                    Kind::ErasureOrdered => changed.get(part.grant.as_str()).copied(),
                    _ => continue,
                };
                if record.kind() == Kind::ErasureOrdered && before != Some(&part.evidence) {
                    grant.changes += 1;
                }
            }
        }
        let mut spent = HashMap::<&str, u64>::new();
        for (record, part) in records.iter().zip(parts) {
            if (record.kind(), record.result()) == (Kind::Transfer, Went::Released) {
                *spent.entry(&part.grant).or_default() += 1;
            }
        }
        let closing = self.closing();
        for (name, said) in grants {
            let (_, row) = self.grant(name)?;
            self.check_revision(name, &spent)?;
            if closing.contains(&row.customer) {
                continue;
            }
            let mut said = said;
            said.end = match said.ended_by.take() {
                Some(at_ms) => Some(self.ended_by_itself(name, at_ms, &spent)?),
                None => said.end,
            };
            let found = Stands {
                ended_by: None,
                ordered: row.erasure_ordered,
                paused: row.state == State::Paused as i32,
                suspended: [row.suspended_by_source, row.suspended_by_operator],
                end: State::try_from(row.state)
                    .ok()
                    .filter(|state| !matches!(state, State::Active | State::Paused | State::Suspended)),
                successor: if row.successor.is_empty() {
                    String::new()
                } else {
                    format!("grants/{}", hex(&row.successor))
                },
                changes: row.change_sequence,
                by_source: row.source_sequence,
                by_recipient: row.recipient_sequence,
                tap: row.tap.as_ref().map(|tap| Digest::of(&tap.payload)),
            };
            ensure(found == said, || {
                format!("the row of {name} says {found:?}, and its records leave it at {said:?}")
            })?;
            let open = said.end.is_none() && !said.paused;
            ensure(open == [State::Active as i32, State::Suspended as i32].contains(&row.state), || {
                format!("{name} stands at state {}, and its records leave it at {said:?}", row.state)
            })?;
            ensure(row.state != State::Suspended as i32 || said.suspended != [false; 2], || {
                format!("{name} is suspended by nobody")
            })?;
        }
        Ok(())
    }
}

/// Where a grant stands.
#[derive(Debug, Default, PartialEq, Eq)]
struct Stands {
    paused: bool,
    /// By its source, by an operator.
    suspended: [bool; 2],
    end: Option<State>,
    /// When it was ordered to be deleted, if nothing that is recorded had ended it.
    ended_by: Option<u64>,
    /// The grant that stands in its place.
    successor: String,
    /// How often its customer, its source and its recipient changed it.
    changes: u64,
    by_source: u64,
    by_recipient: u64,
    /// Whether the recipient was ordered to delete.
    ordered: bool,
    /// The newest tap that no fetch has used.
    tap: Option<Digest>,
}

impl Stands {
    fn take(&mut self, index: usize, record: &Record, part: &PrivatePart) -> Result<(), Finding> {
        match (record.kind(), record.result()) {
            (Kind::LocationTapped, _) => {
                self.tap = part.envelopes.first().map(|tap| Digest::of(&tap.payload));
            }
            (Kind::Transfer, Went::Released) => {
                let fetch = part.envelopes.first().and_then(|it| Fetch::decode(it.payload.clone()).ok());
                if let Some(fetch) = fetch.filter(located) {
                    let tapped = self.tap.take();
                    ensure(tapped.is_some() && tapped == Digest::from_slice(&fetch.tap), || {
                        format!("record {index} releases the place, and no tap that stands gave leave")
                    })?;
                }
            }
            _ => {}
        }
        match record.kind() {
            Kind::GrantPaused => self.paused = true,
            Kind::GrantResumed => self.paused = false,
            Kind::GrantSuspended => self.suspended[0] = true,
            Kind::GrantUnsuspended => self.suspended[0] = false,
            Kind::GrantSuspendedByOperator => self.suspended[1] = true,
            Kind::GrantUnsuspendedByOperator => self.suspended[1] = false,
            Kind::GrantWithdrawn => self.end(State::Withdrawn),
            Kind::GrantRevoked | Kind::GrantRevokedByOperator => self.end(State::Revoked),
            Kind::GrantSuperseded => {
                self.end(State::Superseded);
                self.successor.clone_from(&part.successor);
            }
            Kind::ErasureOrdered => {
                self.ordered = true;
                if self.end.is_none() {
                    self.ended_by = Some(record.time_ms);
                    (self.paused, self.suspended) = (false, [false; 2]);
                }
            }
            _ => {}
        }
        match record.kind() {
            // A renewal ends a grant by no change of its own.
            Kind::GrantSuperseded if record.reason == "RENEWED" => {}
            Kind::GrantSuperseded | Kind::GrantPaused | Kind::GrantResumed | Kind::GrantWithdrawn => {
                self.changes += 1;
            }
            Kind::GrantSuspended | Kind::GrantUnsuspended | Kind::GrantRevoked => {
                let by =
                    if part.actor == record.source { &mut self.by_source } else { &mut self.by_recipient };
                *by += 1;
            }
            _ => {}
        }
        Ok(())
    }

    /// An end clears all stops that stood beside it.
    fn end(&mut self, state: State) {
        (self.paused, self.suspended, self.end) = (false, [false; 2], Some(state));
    }
}

/// Whether a fetch asks for what leaves by a tap alone.
fn located(fetch: &Fetch) -> bool {
    fetch.fields.iter().any(|field| FieldPath::parse(field).is_ok_and(|field| field.needs_tap()))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}
