//! The private parts, opened and held against what their records commit to.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use countersign_broker::private::{self, DataKey, Kek, SealedUnder};
use countersign_grants::{
    catalogue::FieldPath,
    commitment::{self, SALT_BYTES},
    digest::Digest,
    id::{CustomerName, Origin},
};
use countersign_proto::{
    log::v1::{Kind, Record},
    row::v1::PrivatePart,
};

use super::{Finding, ensure, rows::Rows};

/// The private parts by their records' indexes, and those of them whose customer was erased: nothing stands there.
pub(super) struct Parts {
    pub(super) all: Vec<PrivatePart>,
    pub(super) erased: BTreeSet<usize>,
}

impl Parts {
    /// The records, with their private parts, that are about customers who are there or about none; without what an erasure
    /// itself answered.
    pub(super) fn kept(&self, records: &[Record]) -> (Vec<Record>, Vec<PrivatePart>) {
        let kept = records.iter().zip(&self.all).enumerate().filter(|(at, (record, part))| {
            let by_erasure = matches!(record.kind(), Kind::RequestRefused | Kind::RequestLapsed)
                && part.customer.is_empty();
            !self.erased.contains(at) && !by_erasure
        });
        kept.map(|(_, (record, part))| (record.clone(), part.clone())).unzip()
    }
}

/// Opens all of them. A key that is missing is lost, unless a record says that it was destroyed; and then it is gone.
pub(super) fn open_all(
    kek: &Kek,
    origin: &str,
    rows: &Rows,
    records: &[Record],
    sealed: &[Bytes],
) -> Result<Parts, Finding> {
    let origin = Origin::parse(origin).map_err(|error| Finding(format!("the log has no origin: {error}")))?;
    let house = kek.house_key();
    let mut keys = HashMap::<[u8; 16], Option<DataKey>>::new();
    let mut destroyed = HashMap::<[u8; 16], usize>::new();
    for (index, (record, sealed)) in records.iter().zip(sealed).enumerate() {
        if record.kind() == Kind::CustomerErased {
            let part = private::open(&house, &origin, record, sealed);
            let part =
                part.map_err(|error| Finding(format!("the private part of record {index}: {error}")))?;
            let id = <[u8; 16]>::try_from(&part.erased_data_key[..]);
            let id = id.map_err(|_| Finding(format!("record {index} erases, and names no data key")))?;
            ensure(rows.data_key(&id).is_none(), || {
                format!("record {index} says that a data key was destroyed, and it stands")
            })?;
            keys.insert(id, None);
            destroyed.insert(id, index);
        }
    }
    let (mut parts, mut erased) = (Vec::with_capacity(records.len()), BTreeSet::new());
    for (index, (record, sealed)) in records.iter().zip(sealed).enumerate() {
        let finding =
            |error: &dyn std::fmt::Display| Finding(format!("the private part of record {index}: {error}"));
        let key = match private::sealed_under(sealed).map_err(|error| finding(&error))? {
            SealedUnder::House => Some(&house),
            SealedUnder::Customer(id) | SealedUnder::Erased(id) => {
                let by = destroyed.get(&id.0).copied();
                ensure(by.is_none_or(|by| index < by), || {
                    format!("record {index} is sealed under a data key that stands destroyed before it")
                })?;
                match keys.entry(id.0) {
                    std::collections::hash_map::Entry::Occupied(known) => known.into_mut().as_ref(),
                    std::collections::hash_map::Entry::Vacant(place) => {
                        let wrapped = rows.data_key(&id.0);
                        let wrapped = wrapped.ok_or_else(|| finding(&"its data key is missing"))?;
                        place.insert(Some(kek.unwrap(&wrapped).map_err(|error| finding(&error))?)).as_ref()
                    }
                }
            }
        };
        let Some(key) = key else {
            erased.insert(index);
            parts.push(PrivatePart::default());
            continue;
        };
        let part = private::open(key, &origin, record, sealed).map_err(|error| finding(&error))?;
        check(record, &part).map_err(|error| finding(&error))?;
        parts.push(part);
    }
    Ok(Parts { all: parts, erased })
}

fn check(record: &Record, part: &PrivatePart) -> Result<(), Finding> {
    if record.kind() == Kind::CustomerErased {
        let bare = PrivatePart { erased_data_key: part.erased_data_key.clone(), ..PrivatePart::default() };
        return ensure(*part == bare, || "it says more than which key was destroyed".to_owned());
    }
    let salted =
        |what: &str, salt: &Bytes, said: &Bytes, commit: &dyn Fn(&[u8; SALT_BYTES]) -> Option<Digest>| {
            if said.is_empty() && salt.is_empty() {
                return Ok(());
            }
            let salt: Option<&[u8; SALT_BYTES]> = salt.as_ref().try_into().ok();
            let computed = salt.and_then(commit);
            ensure(computed.is_some_and(|digest| digest.as_bytes()[..] == said[..]), || {
                format!("it doesn't open the commitment to the {what}")
            })
        };
    salted("customer", &part.subject_salt, &record.subject_commitment, &|salt| {
        Some(commitment::subject(salt, &CustomerName::parse(&part.customer).ok()?))
    })?;
    salted("fields", &part.fields_salt, &record.fields_commitment, &|salt| {
        let fields: Result<Vec<_>, _> = part.fields.iter().map(|field| FieldPath::parse(field)).collect();
        Some(commitment::fields(salt, &fields.ok()?))
    })?;
    salted("evidence", &part.evidence_salt, &record.evidence_commitment, &|salt| {
        let digest = |bytes: &Bytes| Some(Digest::from(<[u8; 32]>::try_from(&bytes[..]).ok()?));
        let evidence: Option<Vec<_>> = part.evidence.iter().map(digest).collect();
        Some(commitment::evidence(salt, &evidence?))
    })?;
    ensure(record.grant_tag.is_empty() == part.grant.is_empty(), || {
        "it names a grant and the record has no tag, or the other way round".to_owned()
    })
}
