//! The recipient's side: one call that fetches, and that hands nothing over before everything has verified.

mod fetch;
mod verify;

use countersign_grants::{catalogue::FieldPath, id::GrantName};

#[cfg(test)]
pub(crate) use self::fetch::OwnFetch;
pub use self::fetch::{FETCH_ATTEMPTS, RETRY_WITHIN};
use crate::{receipt::ProvenLeaf, value::Value};

/// What was fetched, with its proof.
#[derive(Clone, Debug)]
pub struct Fetched {
    /// The grant under which it was fetched: a newer revision, if one stands in the place of the one that was named.
    pub grant: GrantName,
    /// The values, in the order in which they were asked for.
    pub values: Vec<(FieldPath, Value)>,
    /// The record of this transfer, proven.
    pub receipt: ProvenLeaf,
}

impl Fetched {
    /// The value of a field.
    pub fn get(&self, field: &str) -> Option<&Value> {
        self.values.iter().find(|(path, _)| path.as_str() == field).map(|(_, value)| value)
    }

    /// Which use of the grant this was, from 1.
    pub fn use_number(&self) -> u64 {
        self.receipt.record().use_number
    }
}
