//! The index, computed again from the records and their private parts.
//!
//! The shapes of the rows are read here with a reader of their own: streams in blocks of 128 items and a tail, counters
//! as two numbers, all as varints.

mod grants;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use bytes::Bytes;
use countersign_proto::{
    log::v1::{Kind, Record, Result as Went},
    row::v1::PrivatePart,
    statement::v1::Rate,
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
