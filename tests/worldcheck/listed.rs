//! The list by which a source's notices find the grants of a handle: which grants stand in it follows from the records.
//!
//! A grant is listed by its approval, and taken from the list by the record that ends it. One that ended by its time or by
//! its last use stays until a notice to another grant of the same handle takes it along.

use std::collections::{BTreeMap, HashMap};

use bytes::Bytes;
use countersign_proto::{
    log::v1::{Kind, Record, Result as Went},
    row::v1::{GrantRow, PrivatePart},
    statement::v1::GrantTerms,
};
use prost::Message as _;

use super::{Finding, ensure};

/// The records that take a grant from the list.
const ENDS: [Kind; 5] = [
    Kind::GrantWithdrawn,
    Kind::GrantSuperseded,
    Kind::GrantRevoked,
    Kind::GrantRevokedByOperator,
    // Of a grant that its last use or its time had ended.
    Kind::ErasureOrdered,
];

/// Grants that a notice looks at together: of a handle with no more, each notice looks at all.
const PAGE: usize = 63;

/// A notice is decided up to this long before its record: longer than a call may take. What ended meanwhile, it may not
/// have seen.
const SLACK_MS: u64 = 60_000;

/// One grant, as far as the records have come.
struct Listed {
    key: Vec<u8>,
    name: String,
    subject: String,
    terms: GrantTerms,
    uses: u64,
    consumed_ms: Option<u64>,
    place: Place,
}

/// Whether it stands in the list.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Listed,
    /// It had ended about when a notice was given that takes such along.
    Either,
    Gone,
}

impl Listed {
    fn new(name: &str, grants: &BTreeMap<Vec<u8>, Bytes>) -> Result<Listed, Finding> {
        let missing = || Finding(format!("{name} was approved, and its row is none"));
        let digest = name.strip_prefix("grants/").and_then(super::rows::unhex).ok_or_else(missing)?;
        let row = grants.get(&digest).and_then(|row| GrantRow::decode(row.clone()).ok());
        let GrantRow { source_subject, create_time_ms, terms, .. } = row.ok_or_else(missing)?;
        let terms = GrantTerms::decode(terms).map_err(|_| missing())?;
        let place = [source_subject.as_bytes(), b"/", &create_time_ms.to_be_bytes(), &digest].concat();
        Ok(Listed {
            key: place,
            name: name.to_owned(),
            subject: source_subject,
            terms,
            uses: 0,
            consumed_ms: None,
            place: Place::Listed,
        })
    }

    fn used(&mut self, at_ms: u64) {
        self.uses += 1;
        if self.uses >= self.terms.uses.into() {
            self.consumed_ms.get_or_insert(at_ms);
        }
    }

    /// A notice to another grant of its handle, which looks at all that are listed if they are `few`.
    fn passed(&mut self, at_ms: u64, few: bool) {
        let ended_ms = self.consumed_ms.unwrap_or(u64::MAX).min(self.terms.expire_time_ms);
        if few && ended_ms.saturating_add(SLACK_MS) <= at_ms {
            self.place = Place::Gone;
        } else if ended_ms <= at_ms && self.place == Place::Listed {
            self.place = Place::Either;
        }
    }
}

/// Holds the list against the records about customers who are there.
pub(super) fn check(
    found: &BTreeMap<Vec<u8>, Bytes>,
    grants: &BTreeMap<Vec<u8>, Bytes>,
    records: &[Record],
    parts: &[PrivatePart],
) -> Result<(), Finding> {
    let mut listed = Vec::<Listed>::new();
    let (mut by_name, mut by_subject) = (HashMap::<&str, usize>::new(), HashMap::<String, Vec<usize>>::new());
    for (record, part) in records.iter().zip(parts) {
        if record.kind() == Kind::GrantApproved {
            let one = Listed::new(&part.grant, grants)?;
            by_name.insert(&part.grant, listed.len());
            by_subject.entry(one.subject.clone()).or_default().push(listed.len());
            listed.push(one);
        }
        let Some(at) = by_name.get(part.grant.as_str()).copied() else { continue };
        match (record.kind(), record.result()) {
            (Kind::Transfer, Went::Released) => listed[at].used(record.time_ms),
            (Kind::ChangeNotice, _) => {
                let all = by_subject.get(&listed[at].subject).map_or(&[][..], Vec::as_slice);
                for other in all.iter().filter(|other| **other != at) {
                    listed[*other].passed(record.time_ms, all.len() <= PAGE);
                }
            }
            (kind, _) if ENDS.contains(&kind) => listed[at].place = Place::Gone,
            _ => {}
        }
    }
    let mut extra = found.clone();
    for Listed { key, name, place, .. } in &listed {
        let there = extra.remove(key);
        let says = there.clone().and_then(|name| String::decode(name).ok());
        ensure(says.as_ref().is_none_or(|says| says == name), || {
            format!("the list of grants names {says:?} where {name} stands")
        })?;
        let right = match place {
            Place::Listed => there.is_some(),
            Place::Either => true,
            Place::Gone => there.is_none(),
        };
        ensure(right, || {
            let stands = there.is_some();
            format!("{name} is listed for its source's notices: {stands}, and the records make it otherwise")
        })?;
    }
    match extra.into_keys().next() {
        None => Ok(()),
        Some(key) => {
            Err(Finding(format!("the list of grants has {}, which nobody approved", key.escape_ascii())))
        }
    }
}
