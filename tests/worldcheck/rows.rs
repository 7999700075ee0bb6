//! The index, computed again from the records and their private parts.
//!
//! The shapes of the rows are read here with a reader of their own: streams in blocks of 128 items and a tail, counters
//! as two numbers, all as varints.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use bytes::Bytes;
use countersign_grants::{catalogue::FieldPath, digest::Digest};
use countersign_proto::{
    log::v1::{Kind, Record, Result as Went},
    row::v1::{GrantRow, PrivatePart},
    statement::v1::{Fetch, GrantTerms, Rate},
    v1::grant::State,
};
use countersign_store::{Entry, Head, Key};
use prost::{Message as _, encoding::decode_varint};

use super::{Finding, asking, deletions, ensure, listed, private::Parts, vetting};

const BLOCK_ITEMS: usize = 128;

/// Streams by their names, each with its items: index and kind.
type Streams = BTreeMap<Vec<u8>, Vec<(u64, i32)>>;

/// Counters by their keys: the count, and when its window began.
type Counters = BTreeMap<Vec<u8>, (u64, u64)>;

/// All rows of a store, by what they are.
pub(super) struct Rows {
    streams: Streams,
    counters: Counters,
    /// The broker's, by kind and the rest of the key.
    broker: BTreeMap<String, BTreeMap<Vec<u8>, Bytes>>,
}

impl Rows {
    pub(super) fn sort(all: Vec<(Key, Entry)>, head: Head) -> Result<Rows, Finding> {
        let mut rows = Rows { streams: Streams::new(), counters: Counters::new(), broker: BTreeMap::new() };
        let mut blocks = Streams::new();
        let mut tails = BTreeMap::<Vec<u8>, Bytes>::new();
        for (key, Entry { value, version }) in all {
            let name = key.escape_ascii().to_string();
            ensure((1..=head.sequence).contains(&version), || {
                format!("the row {name} is of commit {version} of {}", head.sequence)
            })?;
            let unknown = || Finding(format!("the row {name} is none of ours"));
            if let Some(counter) = key.strip_prefix(b"c/") {
                let mut value = &value[..];
                let pair = (varint(&mut value), varint(&mut value));
                let (Some(count), Some(start)) = pair else { return Err(unknown()) };
                rows.counters.insert(counter.to_vec(), (count, start));
            } else if let Some(rest) = key.strip_prefix(b"s/") {
                let (stream, place) = stream_row(rest).ok_or_else(unknown)?;
                match place {
                    Some(last) => {
                        let items = items(&value).ok_or_else(unknown)?;
                        ensure(items.len() == BLOCK_ITEMS && items[BLOCK_ITEMS - 1].0 == last, || {
                            format!("the block {name} is not full, or stands in another's place")
                        })?;
                        // In the order of their keys, which is that of their items.
                        blocks.entry(stream.to_vec()).or_default().extend(items);
                    }
                    None => {
                        tails.insert(stream.to_vec(), value);
                    }
                }
            } else if let Some(rest) = key.strip_prefix(b"b/") {
                let slash = rest.iter().position(|byte| *byte == b'/').ok_or_else(unknown)?;
                let kind = String::from_utf8_lossy(&rest[..slash]).into_owned();
                rows.broker.entry(kind).or_default().insert(rest[slash + 1..].to_vec(), value);
            } else {
                ensure(key.starts_with(b"h/"), || format!("the row {name} is none of ours"))?;
            }
        }
        for (stream, tail) in tails {
            let mut whole = blocks.remove(&stream).unwrap_or_default();
            let name = stream.escape_ascii().to_string();
            let (length, last, rest) =
                read_tail(&tail).ok_or_else(|| Finding(format!("the tail of {name} is none")))?;
            whole.extend(rest);
            ensure(whole.len() as u64 == length && whole.last().map(|item| item.0) == Some(last), || {
                format!(
                    "the tail of {name} says {length} items up to {last}, and its rows hold {}",
                    whole.len()
                )
            })?;
            rows.streams.insert(stream, whole);
        }
        match blocks.into_keys().next() {
            None => Ok(rows),
            Some(name) => Err(Finding(format!("the stream {} has no tail", name.escape_ascii()))),
        }
    }

    /// A wrapped data key. Rows of bytes alone are messages too.
    pub(super) fn data_key(&self, id: &[u8; 16]) -> Option<Bytes> {
        Bytes::decode(self.broker.get("data-key")?.get(&id[..])?.clone()).ok()
    }

    /// Holds all rows against the records.
    pub(super) fn check(&self, records: &[Record], parts: &Parts) -> Result<(), Finding> {
        self.check_streams(records, parts)?;
        self.check_counters(records, parts)?;
        self.check_grants(records, &parts.all)?;
        let (asked, asked_parts) = parts.kept(records);
        asking::check(&asked, &asked_parts)?;
        vetting::check(records, &parts.all)?;
        deletions::check(self.broker.get("erasure").into_iter().flat_map(BTreeMap::values), records)?;
        self.check_kinds(records, parts)
    }

    /// The grant that the log knows by this tag; its row stays when all others about it go.
    fn tagged(&self, tag: &[u8]) -> Option<String> {
        String::decode(self.broker.get("log-tag")?.get(tag)?.clone()).ok()
    }

    /// The customers whose accounts are closed and whose rows are not all gone.
    fn closing(&self) -> BTreeSet<String> {
        let rows = self.broker.get("closed-customers").into_iter().flat_map(BTreeMap::values);
        rows.filter_map(|row| String::decode(row.clone()).ok()).collect()
    }

    fn check_streams(&self, records: &[Record], parts: &Parts) -> Result<(), Finding> {
        let (mut requesters, mut shown) = (HashMap::<&str, &str>::new(), HashSet::new());
        let (mut expected, mut told_requesters) = (Streams::new(), BTreeSet::new());
        for (index, (record, part)) in (0_u64..).zip(records.iter().zip(&parts.all)) {
            let grant = self.tagged(&record.grant_tag).unwrap_or_default();
            let mut names =
                BTreeSet::from([record.source.as_str(), record.recipient.as_str(), grant.as_str()]);
            // A request is nothing that its customer hears of before it is shown, or if it never is.
            if record.kind() == Kind::RequestShown {
                shown.insert(part.grant_request.as_str());
            }
            let unseen = match record.kind() {
                Kind::RequestCreated => true,
                Kind::RequestCancelled | Kind::RequestLapsed => !shown.contains(part.grant_request.as_str()),
                _ => false,
            };
            if !unseen {
                names.insert(&part.customer);
            }
            // These name no customer, and are told the one that there is.
            let told = match record.kind() {
                Kind::ErasureAttested | Kind::ErasureOverdue => {
                    self.grant(&grant).map(|(_, row)| row.customer).unwrap_or_default()
                }
                _ => String::new(),
            };
            names.insert(told.as_str());
            if record.kind() == Kind::CustomerErased {
                let stream = [b"erased/".as_slice(), &part.erased_data_key].concat();
                expected.entry(stream).or_default().push((index, record.kind));
            }
            if record.kind() == Kind::GrantApproved && parts.erased.contains(&(index as usize)) {
                // Which request it came of is gone, and with it who was told.
                told_requesters.insert(index);
            }
            if record.kind() == Kind::RequestCreated {
                requesters.insert(&part.grant_request, &record.source);
            }
            // A narrowing answers no request, and is nothing to whoever asked once.
            let answers = !part.grant_request.is_empty() && !told_requesters.contains(&index);
            if record.kind() == Kind::GrantApproved && answers {
                let requester = requesters.get(part.grant_request.as_str()).copied();
                names.insert(requester.ok_or_else(|| {
                    Finding(format!("record {index} approves a request that no record created"))
                })?);
            }
            for name in names.into_iter().filter(|name| !name.is_empty()) {
                expected.entry(name.as_bytes().to_vec()).or_default().push((index, record.kind));
            }
        }
        let closing = self.closing();
        // Whose grants are not gone yet, of them a record can still be told.
        expected.retain(|name, _| !closing.iter().any(|closing| closing.as_bytes() == name));
        let mut found = self.streams.clone();
        found.retain(|name, items| {
            let known = expected.get(name);
            let extra = |item: &(u64, i32)| !known.is_some_and(|known| known.contains(item));
            items.retain(|item| !(told_requesters.contains(&item.0) && extra(item)));
            !items.is_empty() && !closing.iter().any(|closing| closing.as_bytes() == name)
        });
        same("stream", &found, &expected)
    }

    fn check_counters(&self, records: &[Record], parts: &Parts) -> Result<(), Finding> {
        let (mut expected, mut found) = (Counters::new(), self.counters.clone());
        for (index, (record, part)) in records.iter().zip(&parts.all).enumerate() {
            if (record.kind(), record.result()) != (Kind::Transfer, Went::Released) {
                continue;
            }
            if parts.erased.contains(&index) {
                // The terms are gone, and with them how its windows ran.
                let name = self.tagged(&record.grant_tag).unwrap_or_default();
                let digest = name.strip_prefix("grants/").and_then(unhex).unwrap_or_default();
                let all = expected.entry([b"uses/", &digest[..]].concat()).or_insert((0, record.time_ms));
                all.0 += 1;
                found.remove(&[b"rate/", &digest[..]].concat());
                continue;
            }
            let (digest, terms) = self.terms(&part.grant)?;
            ensure(part.fields.iter().all(|field| terms.fields.contains(field)), || {
                format!("record {index} releases more than the fields that {} grants", part.grant)
            })?;
            let all = expected.entry([b"uses/", &digest[..]].concat()).or_insert((0, record.time_ms));
            all.0 += 1;
            ensure(all.0 <= terms.uses.into(), || {
                format!("record {index} is use {} of a grant with {}", all.0, terms.uses)
            })?;
            if let Some(Rate { uses, window_seconds }) = terms.rate {
                // A narrowed grant goes on with the window of the one that was approved.
                let window = self.approved(digest, &terms)?;
                let window = expected.entry([b"rate/", &window[..]].concat()).or_default();
                if window.0 == 0 || window.1.saturating_add(window_seconds * 1_000) <= record.time_ms {
                    *window = (0, record.time_ms);
                }
                window.0 += 1;
                ensure(window.0 <= uses.into(), || {
                    format!("record {index} is use {} of a window with {uses}", window.0)
                })?;
            }
        }
        same("counter", &found, &expected)
    }

    /// A grant's terms, from its row; the row can't say others, since the grant's name is the hash of these.
    fn terms(&self, name: &str) -> Result<(Vec<u8>, GrantTerms), Finding> {
        let (digest, row) = self.grant(name)?;
        let terms = GrantTerms::decode(row.terms.clone()).ok();
        let terms = terms.filter(|_| Digest::of(&row.terms).as_bytes()[..] == digest[..]);
        Ok((digest, terms.ok_or_else(|| Finding(format!("the row of {name} holds other terms")))?))
    }

    fn grant(&self, name: &str) -> Result<(Vec<u8>, GrantRow), Finding> {
        let digest = name.strip_prefix("grants/").and_then(unhex).unwrap_or_default();
        let row = self.broker.get("grant").and_then(|grants| grants.get(&digest));
        let row = row.and_then(|row| GrantRow::decode(row.clone()).ok());
        Ok((digest, row.ok_or_else(|| Finding(format!("a record is about {name}, whose row is missing")))?))
    }

    /// The grant that was approved and of which this one is what narrowings left: by the terms, not by the row.
    fn approved(&self, mut digest: Vec<u8>, terms: &GrantTerms) -> Result<Vec<u8>, Finding> {
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
    fn check_grants(&self, records: &[Record], parts: &[PrivatePart]) -> Result<(), Finding> {
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

    /// As many rows of each kind as records that make one, less those of erased customers.
    fn check_kinds(&self, records: &[Record], parts: &Parts) -> Result<(), Finding> {
        if !self.closing().is_empty() {
            // Some of the rows are gone, and which is nobody's promise.
            return Ok(());
        }
        let every = |kind: Kind| records.iter().filter(|record| record.kind() == kind).count();
        let kept = || records.iter().zip(&parts.all).enumerate().filter(|(at, _)| !parts.erased.contains(at));
        let of = |kind: Kind| kept().filter(|(_, (record, _))| record.kind() == kind).count();
        let approved_requests: BTreeSet<&str> = kept()
            .filter(|(_, (record, _))| record.kind() == Kind::GrantApproved)
            .map(|(_, (_, part))| part.grant_request.as_str())
            .filter(|request| !request.is_empty())
            .collect();
        let (requests, grants) = (of(Kind::RequestCreated), of(Kind::GrantApproved));
        // What an erasure answered names nobody, and neither does its request any more.
        let answers = [Kind::RequestRefused, Kind::RequestCancelled, Kind::RequestLapsed];
        let answered = approved_requests.len()
            + kept()
                .filter(|(_, (record, part))| answers.contains(&record.kind()) && !part.customer.is_empty())
                .count();
        let mut stops = BTreeSet::new();
        let late_orders = kept()
            .filter(|(_, (record, part))| match record.kind() {
                Kind::GrantWithdrawn => !stops.insert(&part.evidence),
                Kind::ErasureOrdered => !stops.contains(&part.evidence),
                _ => false,
            })
            .count();
        let changes = of(Kind::GrantPaused)
            + of(Kind::GrantResumed)
            + of(Kind::GrantWithdrawn)
            + late_orders
            + of(Kind::GrantSuspended)
            + of(Kind::GrantUnsuspended)
            + of(Kind::GrantRevoked)
            + kept()
                .filter(|(_, (record, _))| {
                    record.kind() == Kind::GrantSuperseded && record.reason == "NARROWED"
                })
                .count();
        let customer_changes =
            of(Kind::AuthenticatorAdded) + of(Kind::AuthenticatorRemoved) + of(Kind::CustomerStolen);
        let tags = |kinds: &[Kind]| -> BTreeSet<&Bytes> {
            let found = records.iter().filter(|record| kinds.contains(&record.kind()));
            found.map(|record| &record.grant_tag).collect()
        };
        let announced = tags(&[Kind::ErasureAttested, Kind::ErasureOverdue]).len();
        let customers = every(Kind::CustomerCreated) - every(Kind::CustomerErased);
        let gone_links = every(Kind::LinkAccepted) - of(Kind::LinkAccepted);
        let expected = [
            ("auditor", of(Kind::AuditorCreated)),
            ("catalogue", of(Kind::CataloguePublished)),
            ("catalogues", of(Kind::CataloguePublished)),
            ("customer", customers),
            ("customer-change", customer_changes),
            ("data-key", customers),
            ("erasure", every(Kind::ErasureOrdered)),
            ("erasures-due", every(Kind::ErasureOrdered) - announced),
            ("due", requests - answered.min(requests)),
            ("grant", grants),
            ("grant-statement", changes + of(Kind::Acknowledged)),
            ("grants-of", 3 * grants),
            ("keys-of", of(Kind::PartnerKeyPublished)),
            ("link", of(Kind::LinkInvited) - gone_links),
            ("links-of", of(Kind::LinkInvited) - gone_links + of(Kind::LinkAccepted)),
            ("log-tag", every(Kind::GrantApproved)),
            ("offer", of(Kind::OfferPublished)),
            ("offers-of", of(Kind::OfferPublished)),
            ("partner", of(Kind::PartnerCreated)),
            ("partner-key", of(Kind::PartnerKeyPublished)),
            ("request", requests),
            ("requests-of", requests + of(Kind::RequestShown)),
        ];
        let (asked, asked_parts) = parts.kept(records);
        let none = BTreeMap::new();
        let of_kind = |kind: &str| self.broker.get(kind).unwrap_or(&none);
        listed::check(of_kind("grants-from"), of_kind("grant"), &asked, &asked_parts)?;
        let asking = asking::Counts::of(&asked, &asked_parts);
        let expected = expected.into_iter().chain([
            ("asker", asking.askers),
            ("asker-by", asking.refused),
            ("asking", asking.asked),
            ("unseen-requests-of", asking.unseen),
            ("waiting", asking.waiting),
            ("wrapped-copy", copies(&asked, &asked_parts)),
        ]);
        for (kind, count) in expected {
            let found = self.broker.get(kind).map_or(0, BTreeMap::len);
            ensure(found == count, || format!("{found} rows b/{kind}, and the records make {count}"))?;
        }
        Ok(())
    }
}

/// How many wrapped copies the changes of all customers leave: a report of theft leaves none.
fn copies(records: &[Record], parts: &[PrivatePart]) -> usize {
    let mut copies = HashMap::<&str, usize>::new();
    for (record, part) in records.iter().zip(parts) {
        let of = copies.entry(&part.customer).or_default();
        match record.kind() {
            Kind::AuthenticatorAdded => *of += 1,
            Kind::AuthenticatorRemoved => *of = of.saturating_sub(1),
            Kind::CustomerStolen => *of = 0,
            _ => {}
        }
    }
    copies.values().sum()
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

/// Compares what is there with what follows from the records, and names the first difference.
fn same<V: PartialEq + std::fmt::Debug>(
    what: &str,
    found: &BTreeMap<Vec<u8>, V>,
    expected: &BTreeMap<Vec<u8>, V>,
) -> Result<(), Finding> {
    for key in expected.keys().chain(found.keys()) {
        let (found, expected) = (found.get(key), expected.get(key));
        ensure(found == expected, || {
            let name = key.escape_ascii();
            format!("the {what} {name} holds {found:?}, and the records make it {expected:?}")
        })?;
    }
    Ok(())
}

/// The stream of a row's key after `s/`, and the index of a block's last item; `None` for the tail.
fn stream_row(rest: &[u8]) -> Option<(&[u8], Option<u64>)> {
    let (length, rest) = rest.split_first()?;
    let (stream, place) = rest.split_at_checked(usize::from(*length))?;
    match place.split_first()? {
        (b't', []) => Some((stream, None)),
        (b'b', last) => Some((stream, Some(u64::from_be_bytes(last.try_into().ok()?)))),
        _ => None,
    }
}

fn items(mut bytes: &[u8]) -> Option<Vec<(u64, i32)>> {
    let (mut items, mut index) = (Vec::new(), 0_u64);
    while !bytes.is_empty() {
        index = index.checked_add(varint(&mut bytes)?)?;
        items.push((index, i32::try_from(varint(&mut bytes)?).ok()?));
    }
    Some(items)
}

/// Length, index of the last item, and the items that fill no block.
type Tail = (u64, u64, Vec<(u64, i32)>);

fn read_tail(mut bytes: &[u8]) -> Option<Tail> {
    Some((varint(&mut bytes)?, varint(&mut bytes)?, items(bytes)?))
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    decode_varint(bytes).ok()
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    let pair = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(pair).collect()
}
