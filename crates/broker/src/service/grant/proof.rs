//! The proof of a record that was entered before, for whoever did not get the first answer.

use countersign_grants::id::GrantName;
use countersign_proto::{log::v1::Kind, v1::Receipt};

use crate::{Broker, Fault, broker::damaged, caller::Party, record::stream};

/// How many items of a grant's stream are read at once.
const CHUNK: usize = 512;

/// The receipt of the `nth` record of these kinds, from 1, in a grant's stream.
pub(super) async fn of_grant(
    broker: &Broker,
    party: &Party,
    grant: &GrantName,
    kinds: &[Kind],
    nth: u64,
) -> Result<Receipt, Fault> {
    self::nth(broker, party, grant.as_str(), kinds, nth).await
}

/// The same, in the stream of any resource.
pub(in crate::service) async fn nth(
    broker: &Broker,
    party: &Party,
    resource: &str,
    kinds: &[Kind],
    nth: u64,
) -> Result<Receipt, Fault> {
    let index = find(broker, resource, kinds, nth).await?;
    let index = index.ok_or_else(|| damaged("stream", &"a record is missing from it"))?;
    Ok(broker.entered(index).await?.for_party(party))
}

/// The index of the `nth` record of these kinds, from 1, in the stream of a resource.
pub(super) async fn find(
    broker: &Broker,
    resource: &str,
    kinds: &[Kind],
    nth: u64,
) -> Result<Option<u64>, Fault> {
    let (stream, mut from, mut left) = (stream(resource), 0, nth);
    loop {
        let items = broker.ledger().stream(&stream, from, CHUNK).await?;
        let Some(last) = items.last() else { return Ok(None) };
        from = last.index + 1;
        for item in items.iter().filter(|item| kinds.contains(&item.kind)) {
            left -= 1;
            if left == 0 {
                return Ok(Some(item.index));
            }
        }
    }
}
