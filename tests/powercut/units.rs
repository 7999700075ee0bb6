//! The units of the scenario: what a broker hands to its ledger, in its proportions, with made-up bytes.

use std::collections::BTreeMap;

use bytes::Bytes;
use countersign_ledger::{Ceiling, Draft, Housekeeping, HousekeepingKey, Request, StreamKey, Unit};
use countersign_proto::log::v1::{Kind, Record, Result as Went};
use countersign_store::Key;

use crate::{
    gone::{self, Person},
    random::Random,
};

const PARTNERS: usize = 5;
const CUSTOMERS: usize = 12;

/// Uses that a grant has, and that its window has.
const USES: u64 = 9;
const USES_IN_WINDOW: u64 = 4;
const WINDOW_MS: u64 = 60_000;

/// Private parts that are about somebody who may go: one in so many.
const MARKED_ONE_IN: usize = 3;

/// A grant as the driver knows it from answers.
pub(crate) struct Grant {
    tag: Vec<u8>,
    pub(crate) version: Option<u64>,
    paused: bool,
    stopped: bool,
}

/// What is handed in.
pub(crate) enum Work {
    Unit(Box<Unit>),
    Housekeeping(Housekeeping),
}

/// Draws units from a seed.
pub(crate) struct Units {
    pub(crate) random: Random,
    pub(crate) grants: BTreeMap<Key, Grant>,
    requests: Vec<Request>,
    /// People who are there.
    people: Vec<Person>,
    met: Person,
    made: u64,
}

impl Units {
    pub(crate) fn new(random: Random) -> Units {
        Units { random, grants: BTreeMap::new(), requests: Vec::new(), people: Vec::new(), met: 0, made: 0 }
    }

    pub(crate) fn draw(&mut self) -> Work {
        self.made += 1;
        let unit = match self.random.below(100) {
            0..10 => return Work::Housekeeping(self.housekeeping()),
            10..25 => Some(self.approve()),
            25..75 => self.transfer(),
            75..88 => self.change(),
            88..93 => self.notices(),
            93..96 => Some(self.person()),
            96..98 => self.leave(),
            _ => None,
        };
        // Also where there is no grant yet that anything could happen to.
        Work::Unit(Box::new(unit.unwrap_or_else(|| self.customer())))
    }

    /// Learns what was written of grants.
    pub(crate) fn committed(&mut self, unit: &Unit, version: u64) {
        let kind = unit.records.first().map(|draft| draft.record.kind());
        for (key, _) in &unit.puts {
            if let Some(grant) = self.grants.get_mut(key) {
                grant.version = Some(version);
                match kind {
                    Some(Kind::GrantPaused) => grant.paused = true,
                    Some(Kind::GrantResumed) => grant.paused = false,
                    Some(Kind::GrantWithdrawn) => grant.stopped = true,
                    _ => {}
                }
            }
        }
    }

    fn approve(&mut self) -> Unit {
        let key = format!("b/grant/{:08}", self.made).into_bytes();
        let tag = self.random.bytes(32);
        let grant = Grant { tag, version: None, paused: false, stopped: false };
        self.grants.insert(key.clone(), grant);
        let draft = self.draft(Kind::GrantApproved, Some(&key));
        let (row, index) = (self.value(600), format!("b/grants-of/{:08}", self.made));
        Unit {
            records: vec![draft],
            puts: vec![(key.clone(), row), (index.into_bytes(), Bytes::from(key.clone()))],
            expected: vec![(key, None)],
            ..Unit::default()
        }
    }

    fn transfer(&mut self) -> Option<Unit> {
        let key = self.pick(|grant| !grant.stopped && !grant.paused)?;
        let mut draft = self.draft(Kind::Transfer, Some(&key));
        draft.record.set_result(Went::Released);
        // Now and then what was read of the grant is out of date, and a request is a repeat, or another's.
        let version = self.grants[&key].version;
        let version = if self.random.one_in(15) { version.map(|version| version - 1) } else { version };
        let request = match self.random.below(12) {
            0 if !self.requests.is_empty() => self.requests[self.random.below(self.requests.len())].clone(),
            1 if !self.requests.is_empty() => {
                let digest = self.digest();
                Request { digest, ..self.requests[self.random.below(self.requests.len())].clone() }
            }
            _ => {
                let request = Request {
                    key: format!("partners/p/{:08}", self.made).into_bytes(),
                    digest: self.digest(),
                    answer: self.value(60),
                };
                self.requests.push(request.clone());
                request
            }
        };
        let digest = key["b/grant/".len()..].to_vec();
        let ceilings = vec![
            Ceiling {
                counter: [b"uses/", digest.as_slice()].concat(),
                window_ms: None,
                at_most: USES,
                numbers_record: true,
            },
            Ceiling {
                counter: [b"rate/", digest.as_slice()].concat(),
                window_ms: Some(WINDOW_MS),
                at_most: USES_IN_WINDOW,
                numbers_record: false,
            },
        ];
        let expected = vec![(key, version)];
        Some(Unit { records: vec![draft], expected, ceilings, request: Some(request), ..Unit::default() })
    }

    fn change(&mut self) -> Option<Unit> {
        let key = self.pick(|grant| !grant.stopped)?;
        let grant = &self.grants[&key];
        let kind = match (grant.paused, self.random.below(3)) {
            (_, 0) => Kind::GrantWithdrawn,
            (true, _) => Kind::GrantResumed,
            (false, _) => Kind::GrantPaused,
        };
        let draft = self.draft(kind, Some(&key));
        let version = self.grants[&key].version;
        let index = [b"b/grants-of/", &key["b/grant/".len()..]].concat();
        let deletes = if kind == Kind::GrantWithdrawn { vec![index] } else { Vec::new() };
        let puts = vec![(key.clone(), self.value(600))];
        Some(Unit { records: vec![draft], puts, deletes, expected: vec![(key, version)], ..Unit::default() })
    }

    /// One record for each of many grants, and no condition.
    fn notices(&mut self) -> Option<Unit> {
        let from = self.pick(|grant| grant.version.is_some())?;
        let most = self.random.below(12) + 1;
        let keys: Vec<Key> = self
            .grants
            .range(from..)
            .filter(|(_, grant)| grant.version.is_some() && !grant.stopped)
            .map(|(key, _)| key.clone())
            .take(most)
            .collect();
        let mut records = Vec::new();
        for key in keys {
            records.push(self.draft(Kind::ChangeNotice, Some(&key)));
        }
        (!records.is_empty()).then(|| Unit { records, ..Unit::default() })
    }

    fn customer(&mut self) -> Unit {
        let draft = self.draft(Kind::CustomerCreated, None);
        let most = if self.random.one_in(8) { 4_000 } else { 200 };
        let row = (format!("b/customer/{:08}", self.random.below(500)).into_bytes(), self.value(most));
        let gone = format!("b/customer/{:08}", self.random.below(500)).into_bytes();
        Unit { records: vec![draft], puts: vec![row], deletes: vec![gone], ..Unit::default() }
    }

    /// Somebody comes.
    fn person(&mut self) -> Unit {
        self.met += 1;
        self.people.push(self.met);
        let value = self.value(300);
        let row = [gone::mark(self.met).as_slice(), &value].concat();
        let draft = self.draft(Kind::CustomerCreated, None);
        Unit { records: vec![draft], puts: vec![(gone::key(self.met), row.into())], ..Unit::default() }
    }

    /// Somebody goes: with the row, what makes the private parts readable.
    fn leave(&mut self) -> Option<Unit> {
        if self.people.is_empty() {
            return None;
        }
        let person = self.people.swap_remove(self.random.below(self.people.len()));
        let draft = self.draft(Kind::CustomerErased, None);
        Some(Unit { records: vec![draft], deletes: vec![gone::key(person)], ..Unit::default() })
    }

    fn housekeeping(&mut self) -> Housekeeping {
        let name = |random: &mut Random| HousekeepingKey::new(format!("place/{}", random.below(30)));
        let put = name(&mut self.random);
        let deletes = vec![name(&mut self.random)].into_iter().filter(|key| *key != put).collect();
        Housekeeping { puts: vec![(put, self.value(40))], deletes }
    }

    fn draft(&mut self, kind: Kind, grant: Option<&Key>) -> Draft {
        let random = &mut self.random;
        let mut name = |what: &str, of: usize| StreamKey::from(format!("{what}/{:04}", random.below(of)));
        let mut streams = vec![name("customers", CUSTOMERS)];
        if grant.is_some() {
            streams.push(name("partners", PARTNERS));
            streams.push(name("sources", PARTNERS));
        }
        let mut record = Record { version: 1, record_id: random.bytes(16).into(), ..Record::default() };
        record.set_kind(kind);
        for commitment in
            [&mut record.subject_commitment, &mut record.fields_commitment, &mut record.evidence_commitment]
        {
            *commitment = random.bytes(32).into();
        }
        let length = random.below(900) + 100;
        let mut private = random.bytes(length);
        if !self.people.is_empty() && random.one_in(MARKED_ONE_IN) {
            let mark = gone::mark(self.people[random.below(self.people.len())]);
            private[..mark.len()].copy_from_slice(&mark);
        }
        let private = private.into();
        let grant = grant.map(|key| {
            record.grant_tag = self.grants[key].tag.clone().into();
            StreamKey::from(key.as_slice())
        });
        Draft { record, private, streams, grant }
    }

    fn pick(&mut self, wanted: impl Fn(&Grant) -> bool) -> Option<Key> {
        let standing = |(_, grant): &(&Key, &Grant)| grant.version.is_some() && wanted(grant);
        let found: Vec<&Key> = self.grants.iter().filter(standing).map(|(key, _)| key).collect();
        found.get(self.random.below(found.len())).map(|key| (*key).clone())
    }

    fn value(&mut self, most: usize) -> Bytes {
        let length = self.random.below(most) + 1;
        self.random.bytes(length).into()
    }

    fn digest(&mut self) -> [u8; 32] {
        self.random.bytes(32).try_into().expect("32 bytes")
    }
}
