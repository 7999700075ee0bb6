//! What was removed leaves the disk: some time later while the broker serves; at once, when an operator says so; or by
//! `countersignd scrub`, of a broker that is not running.

use std::{sync::Arc, time::Duration};

use countersign_broker::{Broker, grants::time::Timestamp, private, removed};
use countersign_store::ReadError;
use countersign_store_sled::{Left, ScrubError, Scrubbed, SledStore};

use crate::{
    config::{Config, Engine},
    folder::DataFolder,
    serve::store_options,
};

/// How often it is looked whether something is due.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How long after a scrub that failed the next one follows, unless an operator orders one: each writes anew all that lives.
const RETRY_AFTER: Duration = Duration::from_secs(900);

/// Scrubs the store of a broker that is not running. Nothing to do for one in memory.
pub async fn run(config: &Config) -> Result<Scrubbed, ScrubError> {
    match config.engine {
        Engine::Memory => Ok(Scrubbed::default()),
        Engine::Embedded => {
            let folder = DataFolder::at(&config.data).store();
            let store = SledStore::open(folder, store_options(config)).await.map_err(ScrubError::Store)?;
            let scrubbed = store.scrub(left()).await;
            store.close().await?;
            scrubbed
        }
    }
}

/// Scrubs the store of this broker whenever something was removed so long ago, or an operator says so. Ends with the broker's
/// log, or when dropped. A store in memory has no files, so of that one everything is gone at once.
pub(crate) async fn scrub_when_due(broker: Arc<Broker>, store: Option<Arc<SledStore>>, after: Duration) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        if !broker.ledger().is_available() {
            return;
        }
        // An order that comes while a scrub fails is one for the next.
        let known = removed::ordered(&broker).await.ok().flatten();
        if let Err(failed) = scrub_if_due(&broker, store.as_deref(), after).await {
            tracing::warn!(%failed, "what was removed is still on the disk; it is tried again");
            rest(&broker, known).await;
        }
    }
}

/// After a failure: until it is time to try again, or an operator orders it anew.
async fn rest(broker: &Broker, known: Option<Timestamp>) {
    let mut rested = Duration::ZERO;
    while rested < RETRY_AFTER {
        tokio::time::sleep(LOOK_EVERY).await;
        rested += LOOK_EVERY;
        if removed::ordered(broker).await.is_ok_and(|ordered| ordered > known) {
            return;
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error(transparent)]
    Agenda(#[from] countersign_broker::Fault),
    #[error(transparent)]
    Scrub(#[from] ScrubError),
}

async fn scrub_if_due(broker: &Broker, store: Option<&SledStore>, after: Duration) -> Result<(), Failed> {
    let due = removed::due(broker, after).await?;
    if due.is_empty() {
        return Ok(());
    }
    let Some(store) = store else { return Ok(removed::gone(broker, &due).await?) };
    let Scrubbed { blanked, removed, stripped } = store.scrub(left()).await?;
    tracing::info!(
        removals = due.len(),
        private_parts = blanked,
        segments_removed = removed,
        segments_stripped = stripped,
        "what was removed is off the disk"
    );
    // Should the process end before this, the next one scrubs again.
    Ok(removed::gone(broker, &due).await?)
}

fn left() -> Arc<Left> {
    Arc::new(|sealed: &[u8], stands: &dyn Fn(&[u8]) -> Result<bool, ReadError>| {
        private::left_of(sealed, stands)
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, net::SocketAddr, path::Path};

    use countersign_broker::{
        agenda,
        grants::{digest::Digest, id::Origin, time::Clock as _},
    };
    use countersign_ledger::{Housekeeping, HousekeepingKey};

    use super::*;
    use crate::{
        config,
        init::{Plan, init},
        real::{SystemClock, SystemEntropy},
        serve,
    };

    const MARKER: &[u8] = b"what nothing else is called";

    fn holds(folder: &Path) -> bool {
        let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
        entries.into_iter().any(|path| {
            if path.is_dir() {
                holds(&path)
            } else {
                // What is being removed at this moment holds nothing any more.
                let bytes = fs::read(&path).unwrap_or_default();
                bytes.windows(MARKER.len()).any(|window| window == MARKER)
            }
        })
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_removed_leaves_the_disk_of_a_broker_that_serves() {
        let place = tempfile::tempdir().expect("a folder");
        let (data, listen) = (place.path().join("data"), SocketAddr::from(([127, 0, 0, 1], 0)));
        let origin = Origin::parse("broker.example/log").expect("an origin");
        let plan = Plan { data, origin, listen, admin: listen, tls: None, ca_pem: None, address: None };
        init(&plan, &SystemEntropy).expect("makes it");
        let folder = DataFolder::at(plan.data);
        let config = config::read(&folder.configuration(), []).expect("a configuration");
        let ready = serve::prepare(&config).await.expect("opens");
        let (broker, store) = ready.parts();
        let store = store.expect("the embedded engine");

        let key = HousekeepingKey::new(b"a row");
        let at = agenda::REMOVED.entry(SystemClock.now(), Digest::of(b"it"), "");
        let put = Housekeeping { puts: vec![(key.clone(), MARKER.into())], deletes: Vec::new() };
        broker.ledger().housekeep(put).await.expect("commits");
        let delete = Housekeeping { puts: at.collect(), deletes: vec![key] };
        broker.ledger().housekeep(delete).await.expect("commits");
        assert!(holds(&folder.store()), "the search would find nothing");
        scrub_if_due(&broker, Some(&store), Duration::from_secs(3600)).await.expect("nothing is due yet");
        assert!(holds(&folder.store()));

        let scrubbing =
            tokio::spawn(scrub_when_due(Arc::clone(&broker), Some(Arc::clone(&store)), Duration::ZERO));
        while !removed::due(&broker, Duration::ZERO).await.expect("reads").is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        scrubbing.abort();
        assert!(!holds(&folder.store()));
        broker.ledger().shutdown().await;
        store.close().await.expect("closes");
        drop((ready, broker, store));
        // The command finds nothing more, and what it leaves is served as before.
        assert_eq!(run(&config).await.expect("scrubs").blanked, 0);
        serve::prepare(&config).await.expect("opens again");
    }
}
