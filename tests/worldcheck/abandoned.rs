//! Who was erased without a closure: an account on which no link stood any more, for so long.
//!
//! What an erased account's private parts said is gone. But each still names the data key that it was sealed under, so the
//! records of one account are known to belong together, and they show what became of its links.

use bytes::Bytes;
use countersign_broker::private::{self, SealedUnder};
use countersign_grants::{
    lifecycle::{ABANDONED, erased_at},
    time::Timestamp,
};
use countersign_proto::log::v1::{Kind, Record};

use super::{Finding, ensure, private::Parts};

pub(super) fn check(records: &[Record], sealed: &[Bytes], parts: &Parts) -> Result<(), Finding> {
    for (index, record) in records.iter().enumerate().filter(|(_, it)| it.kind() == Kind::CustomerErased) {
        let closed = record.reason.is_empty() && !record.evidence_commitment.is_empty();
        let abandoned = record.reason == ABANDONED && record.evidence_commitment.is_empty();
        ensure(closed || abandoned, || format!("record {index} erases a customer, and says not why"))?;
        if !abandoned {
            continue;
        }
        let key = &parts.all[index].erased_data_key;
        let of_it = |sealed: &Bytes| match private::sealed_under(sealed) {
            Ok(SealedUnder::Customer(id) | SealedUnder::Erased(id)) => id.0[..] == key[..],
            Ok(SealedUnder::House) | Err(_) => false,
        };
        let own: Vec<&Record> = records
            .iter()
            .zip(sealed)
            .filter(|(_, sealed)| of_it(sealed))
            .map(|(record, _)| record)
            .collect();
        let count = |kinds: &[Kind]| own.iter().filter(|one| kinds.contains(&one.kind())).count();
        // One that was reported stolen and replaced later ends twice.
        let (stood, ends) = (count(&[Kind::LinkConfirmed]), count(&[Kind::LinkReplaced, Kind::LinkStolen]));
        ensure(ends >= stood, || {
            format!("record {index} calls an account abandoned on which a link stands")
        })?;
        let last = own.iter().rev().find(|one| {
            matches!(
                one.kind(),
                Kind::LinkConfirmed | Kind::LinkReplaced | Kind::LinkStolen | Kind::CustomerStolen
            )
        });
        let last = last.ok_or_else(|| {
            Finding(format!("record {index} calls an account abandoned on which no link ever ended"))
        })?;
        let due = erased_at(Timestamp::from_millis(last.time_ms));
        ensure(due <= Timestamp::from_millis(record.time_ms), || {
            format!("record {index} erases an abandoned account before {due}")
        })?;
    }
    Ok(())
}
