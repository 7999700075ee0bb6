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
    let (stream, mut from, mut left) = (stream(resource), 0, nth);
    loop {
        let items = broker.ledger().stream(&stream, from, CHUNK).await?;
        let Some(last) = items.last() else {
            return Err(damaged("stream", &"a record is missing from it"));
        };
        from = last.index + 1;
        for item in items.iter().filter(|item| kinds.contains(&item.kind)) {
            left -= 1;
            if left == 0 {
                return Ok(broker.entered(item.index).await?.for_party(party));
            }
        }
    }
}
