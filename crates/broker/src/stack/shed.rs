//! A full house turns callers away at once, rather than let all of them wait.

use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use super::{Gate, limits};
use crate::Fault;

/// A place in the house, for as long as it is held.
pub(crate) fn enter(gate: &Gate) -> Result<OwnedSemaphorePermit, Fault> {
    let place = Arc::clone(&gate.house).try_acquire_owned();
    place.map_err(|_| Fault::Overloaded { retry_after: limits::COME_AGAIN })
}
