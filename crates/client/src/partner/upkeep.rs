//! What a partner does once a second without being asked: sync the book, forget what is past, claim what is missing.

use std::{sync::Arc, time::Duration};

use super::Shared;
use crate::source::{CLAIM_ROUND, claim_missing};

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
}
