//! What a partner does without being asked: once a second sync the book, forget what is past, claim what is missing; and
//! attest what was deleted, until the log has it.

use std::{sync::Arc, time::Duration};

use super::{Shared, erase::attest_deleted};
use crate::source::{CLAIM_ROUND, claim_missing};

/// The longest wait between two tries to attest a deletion: a broker that is back hears of it within five minutes.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// Use counts may lag a crash by this much.
const ROUND: Duration = Duration::from_secs(1);

/// Runs for as long as the partner is in use.
pub(crate) fn spawn(shared: &Arc<Shared>) {
    let weak = Arc::downgrade(shared);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(ROUND).await;
            let Some(shared) = weak.upgrade() else { return };
            let (now, elapsed) = (shared.system.now(), shared.system.elapsed());
            if let Err(error) = shared.book.off_thread(move |book| book.tidy(now, elapsed)).await {
                tracing::error!(partner = %shared.name, %error, "the book can't be kept");
            }
        }
    });
    let weak = Arc::downgrade(shared);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(CLAIM_ROUND).await;
            let Some(shared) = weak.upgrade() else { return };
            claim_missing(&shared).await;
        }
    });
    let weak = Arc::downgrade(shared);
    tokio::spawn(async move {
        let mut wait = ROUND;
        loop {
            tokio::time::sleep(wait).await;
            let Some(shared) = weak.upgrade() else { return };
            wait = if attest_deleted(&shared).await { ROUND } else { (wait * 2).min(LONGEST_WAIT) };
        }
    });
}
