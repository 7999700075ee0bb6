//! `GetCheckpoint`, `GetConsistencyProof`: for every principal.

use bytes::Bytes;
use countersign_proto::{
    log::v1::Record,
    v1::{GetCheckpointResponse, GetConsistencyProofRequest, GetConsistencyProofResponse},
};
use prost::Message as _;

use crate::{Broker, Fault, broker::damaged, service::timestamp};

pub(super) async fn get(broker: &Broker) -> Result<GetCheckpointResponse, Fault> {
    let published = broker.ledger().published();
    // A checkpoint says no time; it was published within a second or so of its newest record.
    let newest = published.size().saturating_sub(1);
    let publish_time = match broker.ledger().leaves(newest..published.size()).await?.pop() {
        Some(leaf) => timestamp(Record::decode(leaf).map_err(|error| damaged("record", &error))?.time_ms),
        None => None,
    };
    Ok(GetCheckpointResponse { checkpoint: published.as_bytes().clone(), publish_time })
}

pub(super) async fn consistency(
    broker: &Broker,
    request: GetConsistencyProofRequest,
) -> Result<GetConsistencyProofResponse, Fault> {
    let (from, to) = (request.from_size, request.to_size);
    // Each head that was handed out is the latest or before it.
    let latest = broker.ledger().latest().size();
    if from == 0 {
        return Err(Fault::field("from_size", "must be at least 1: every log continues the empty one"));
    }
    if from > to {
        return Err(Fault::field("from_size", "must be at most `to_size`"));
    }
    if to > latest {
        return Err(Fault::field("to_size", format!("must be at most {latest}, the log's size")));
    }
    let hashes = broker.ledger().consistency(from, to).await?;
    let hashes = hashes.iter().map(|hash| Bytes::copy_from_slice(hash.as_bytes())).collect();
    Ok(GetConsistencyProofResponse { hashes })
}
