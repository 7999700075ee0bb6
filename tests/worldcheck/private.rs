//! The private parts, opened and held against what their records commit to.

use std::collections::HashMap;

use bytes::Bytes;
use countersign_broker::private::{self, DataKey, Kek, SealedUnder};
use countersign_grants::{
    catalogue::FieldPath,
    commitment::{self, SALT_BYTES},
    digest::Digest,
    id::{CustomerName, Origin},
};
use countersign_proto::{log::v1::Record, row::v1::PrivatePart};

use super::{Finding, ensure, rows::Rows};

/// Opens all of them. Nobody is ever erased yet, so a key that is missing is lost.
pub(super) fn open_all(
    kek: &Kek,
    origin: &str,
    rows: &Rows,
    records: &[Record],
    sealed: &[Bytes],
) -> Result<Vec<PrivatePart>, Finding> {
    let origin = Origin::parse(origin).map_err(|error| Finding(format!("the log has no origin: {error}")))?;
    let house = kek.house_key();
    let mut keys = HashMap::<[u8; 16], DataKey>::new();
    let mut parts = Vec::with_capacity(records.len());
    for (index, (record, sealed)) in records.iter().zip(sealed).enumerate() {
        let finding =
            |error: &dyn std::fmt::Display| Finding(format!("the private part of record {index}: {error}"));
        let key = match private::sealed_under(sealed).map_err(|error| finding(&error))? {
            SealedUnder::House => &house,
            SealedUnder::Customer(id) => match keys.entry(id.0) {
                std::collections::hash_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::hash_map::Entry::Vacant(place) => {
                    let wrapped = rows.data_key(&id.0).ok_or_else(|| finding(&"its data key is missing"))?;
                    place.insert(kek.unwrap(&wrapped).map_err(|error| finding(&error))?)
                }
            },
        };
        let part = private::open(key, &origin, record, sealed).map_err(|error| finding(&error))?;
        check(record, &part).map_err(|error| finding(&error))?;
        parts.push(part);
    }
    Ok(parts)
}

fn check(record: &Record, part: &PrivatePart) -> Result<(), Finding> {
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
