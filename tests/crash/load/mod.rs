//! What the clients do, without end. Each notes what it was told, tries again with the same bytes what was not answered,
//! and never stops for a broker that is away.

pub(crate) mod changes;
pub(crate) mod leavers;
pub(crate) mod newcomers;
pub(crate) mod offers;
pub(crate) mod people;
pub(crate) mod readers;
pub(crate) mod renewals;
pub(crate) mod residents;
pub(crate) mod stops;
pub(crate) mod taps;
pub(crate) mod thefts;
pub(crate) mod transfers;

use std::time::Duration;

use countersign_client::Error;
use tokio::time::sleep;

use crate::{
    brand::leaves_open,
    notes::{Notes, Sending},
    random::Random,
};

/// Between two tries of a call that was not answered.
pub(crate) const PAUSE: Duration = Duration::from_millis(40);

/// Tries until there is an answer, be it no.
pub(crate) async fn insist<T, F>(sending: &mut Sending, mut attempt: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    loop {
        match attempt().await {
            Err(error) if leaves_open(&error) => sending.doubt(),
            answer => return answer,
        }
        sleep(PAUSE).await;
    }
}

/// The same for what makes no record.
pub(crate) async fn ask<T, F>(mut attempt: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    loop {
        match attempt().await {
            Err(error) if leaves_open(&error) => sleep(PAUSE).await,
            answer => return answer,
        }
    }
}

/// Notes a refusal; anything worse is a fault of the broker, or of the SDK.
pub(crate) fn said_no(notes: &Notes, what: &str, error: &Error) {
    match error {
        Error::Refused(_) => notes.refused(error),
        Error::Unreachable { .. } | Error::Misuse(_) => {}
        Error::Misbehaved(_) | Error::LogForked(_) | Error::Book(_) => {
            notes.fault(format!("{what}: {error}"));
        }
    }
}

/// A refusal ends a call. Where a try before it was not answered, what became of that one stays open.
pub(crate) fn refused(notes: &Notes, what: &str, sending: Sending, error: &Error) {
    said_no(notes, what, error);
    if !sending.is_in_doubt() {
        sending.undone();
    }
}

/// Whether it is refused for the state in which the thing stands, and in which.
pub(crate) fn wrong_state(error: &Error) -> Option<&str> {
    let Error::Refused(refused) = error else { return None };
    refused.metadata.get("state").map(String::as_str).filter(|_| refused.reason == "WRONG_STATE")
}

/// A pause of random length.
pub(crate) async fn rest(random: &mut Random, from_ms: u64, to_ms: u64) {
    sleep(Duration::from_millis(from_ms + random.below(to_ms - from_ms))).await;
}
