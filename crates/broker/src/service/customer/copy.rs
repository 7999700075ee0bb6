//! `GetWrappedCopy`: for a device that has an authenticator, and nothing else yet.
//!
//! It has no key to sign a token with: that is what it comes for. What it shows instead is a secret of 32 bytes that only
//! the authenticator yields; the copy is looked up by its hash, so nobody finds one by guessing, and what is looked up tells
//! nothing. The copy is ciphertext, which the same authenticator opens. Calls count as newcomers' calls.

use countersign_grants::{digest::Digest, id::CustomerName};
use countersign_proto::v1::{GetWrappedCopyRequest, WrappedCopy};

use crate::{Broker, Fault, broker::damaged, rows};

/// The length of a lookup secret in bytes.
const LOOKUP_BYTES: usize = 32;

pub(super) async fn get(broker: &Broker, request: GetWrappedCopyRequest) -> Result<WrappedCopy, Fault> {
    if request.lookup.len() != LOOKUP_BYTES {
        return Err(Fault::field("lookup", format!("must be the {LOOKUP_BYTES} bytes of a lookup secret")));
    }
    let found = broker.load(rows::wrapped_copy(Digest::of(&request.lookup))).await?;
    // Never there, removed, reported stolen, closed: one answer.
    let unknown = || Fault::ResourceUnknown { name: "wrapped copy".to_owned() };
    let found = found.ok_or_else(unknown)?;
    let name = CustomerName::parse(&found.row.customer).map_err(|error| damaged("wrapped copy", &error))?;
    // Of an account that was closed just now the copies go in the commits after that.
    let account = broker.load(rows::customer(&name)).await?;
    account.filter(|account| account.row.close_time_ms == 0).ok_or_else(unknown)?;
    Ok(WrappedCopy { customer: found.row.customer, wrapped: found.row.wrapped })
}
