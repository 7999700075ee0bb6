//! Who waits for which stream.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use crate::outcome::Closed;
use crate::stream::StreamKey;

/// The streams that somebody watches. One that nobody watches any more is forgotten.
pub(crate) struct Hub {
    /// `None` once the ledger was shut down.
    watched: Mutex<Option<HashMap<StreamKey, watch::Sender<()>>>>,
}

/// Wakes when a stream grows; see [`Ledger::watch`](crate::Ledger::watch).
pub struct Watch {
    stream: StreamKey,
    /// `None` only while it is dropped, and if the ledger was shut down before.
    receiver: Option<watch::Receiver<()>>,
    hub: Arc<Hub>,
}

impl Watch {
    /// Waits until the stream has grown since the last call, or since [`Ledger::watch`](crate::Ledger::watch). Growth
    /// in between isn't missed; several at once wake once. Dropping the future loses nothing.
    pub async fn changed(&mut self) -> Result<(), Closed> {
        let receiver = self.receiver.as_mut().ok_or(Closed)?;
        receiver.changed().await.map_err(|_| Closed)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Under the lock, so that nobody begins to watch between the count and the removal.
        let mut watched = self.hub.watched.lock();
        drop(self.receiver.take());
        if let Some(watched) = watched.as_mut()
            && watched.get(&self.stream).is_some_and(|sender| sender.receiver_count() == 0)
        {
            watched.remove(&self.stream);
        }
    }
}

impl Hub {
    pub(crate) fn new() -> Hub {
        Hub { watched: Mutex::new(Some(HashMap::new())) }
    }

    pub(crate) fn watch(self: &Arc<Hub>, stream: &StreamKey) -> Watch {
        let receiver = self.watched.lock().as_mut().map(|watched| {
            let sender = watched.entry(stream.clone()).or_insert_with(|| watch::Sender::new(()));
            sender.subscribe()
        });
        Watch { stream: stream.clone(), receiver, hub: Arc::clone(self) }
    }

    pub(crate) fn notify<'a>(&self, streams: impl Iterator<Item = &'a StreamKey>) {
        let watched = self.watched.lock();
        let Some(watched) = watched.as_ref().filter(|watched| !watched.is_empty()) else { return };
        for sender in streams.filter_map(|stream| watched.get(stream)) {
            sender.send_replace(());
        }
    }

    /// Ends every watch.
    pub(crate) fn close(&self) {
        self.watched.lock().take();
    }

    #[cfg(test)]
    pub(crate) fn watched(&self) -> usize {
        self.watched.lock().as_ref().map_or(0, HashMap::len)
    }
}
