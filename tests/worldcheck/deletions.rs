//! Orders to delete: each row leads to the record of its order, whoever it was about, and until it is met it opens that
//! record's evidence.

use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;
use countersign_grants::{commitment, digest::Digest};
use countersign_proto::{
    log::v1::{Kind, Record},
    row::v1::ErasureRow,
};
use prost::Message as _;

use super::{Finding, ensure};

pub(super) fn check<'a>(rows: impl Iterator<Item = &'a Bytes>, records: &[Record]) -> Result<(), Finding> {
    let of = |kind: Kind| records.iter().filter(move |record| record.kind() == kind);
    let orders: HashMap<&Bytes, &Record> =
        of(Kind::ErasureOrdered).map(|record| (&record.grant_tag, record)).collect();
    let met: BTreeSet<&Bytes> = of(Kind::ErasureAttested).map(|record| &record.grant_tag).collect();
    for row in rows {
        let row = ErasureRow::decode(row.clone())
            .map_err(|_| Finding("an order's row does not read".to_owned()))?;
        let tag = row.log_tag.escape_ascii();
        let order =
            orders.get(&row.log_tag).ok_or_else(|| Finding(format!("no record orders what {tag} says")))?;
        let salt: Option<[u8; 32]> = row.evidence_salt.as_ref().try_into().ok();
        let opens = salt.zip(Digest::from_slice(&row.order)).is_some_and(|(salt, change)| {
            commitment::evidence(&salt, &[change]).as_bytes()[..] == order.evidence_commitment[..]
        });
        let is_met = met.contains(&row.log_tag);
        ensure(if is_met { row.evidence_salt.is_empty() } else { opens }, || {
            format!(
                "the row of the order under {tag}, met: {is_met}, does not open its record, or still does"
            )
        })?;
    }
    Ok(())
}
