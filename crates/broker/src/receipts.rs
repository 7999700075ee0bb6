//! Delivering receipts to sources, so that none can be drawn from without noticing.
//!
//! Receipts wait in memory and go out in batches right after their commits. What is lost with the process, or overflows,
//! the source claims itself: it knows what it is owed.

use std::{collections::HashMap, sync::Arc, time::Duration};

use countersign_grants::{digest::Digest, id::PartnerName};
use countersign_proto::v1::{DeliverReceiptsRequest, Receipt, deliver_receipts_request::TransferReceipt};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::{broker::Broker, rows, sources::Sources};

/// Receipts that wait for one source: a source that hangs for a minute at 60 transfers a second. Some 4 MiB.
const MAX_WAITING: usize = 4_096;

/// Receipts in one call, as the API promises.
const MAX_BATCH: usize = 256;

/// How long the first receipt of a batch waits for others. A source looks after 60 s.
const GATHER: Duration = Duration::from_millis(50);

/// How often a batch is tried; after that the source claims.
const TRIES: u32 = 5;

/// The wait after the first failure; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_millis(250);

/// Queues of receipts, by source. The queues end with it.
pub struct Deliveries {
    broker: Arc<Broker>,
    sources: Arc<Sources>,
    queues: Mutex<HashMap<PartnerName, mpsc::Sender<TransferReceipt>>>,
}

impl Deliveries {
    /// Delivers to these sources.
    pub fn new(broker: Arc<Broker>, sources: Arc<Sources>) -> Self {
        Self { broker, sources, queues: Mutex::default() }
    }

    /// Has a receipt delivered soon.
    pub fn deliver(&self, source: &PartnerName, fetch: Digest, receipt: Receipt) {
        let receipt = TransferReceipt { fetch: fetch.into(), receipt: Some(receipt) };
        let mut queues = self.queues.lock();
        let queue = queues.entry(source.clone()).or_insert_with(|| {
            let (queue, waiting) = mpsc::channel(MAX_WAITING);
            let (broker, sources) = (Arc::clone(&self.broker), Arc::clone(&self.sources));
            tokio::spawn(run(broker, sources, source.clone(), waiting));
            queue
        });
        if queue.try_send(receipt).is_err() {
            metrics::counter!("countersign_receipts_left_to_claim_total").increment(1);
        }
    }
}

async fn run(
    broker: Arc<Broker>,
    sources: Arc<Sources>,
    source: PartnerName,
    mut waiting: mpsc::Receiver<TransferReceipt>,
) {
    let mut batch = Vec::with_capacity(MAX_BATCH);
    while waiting.recv_many(&mut batch, MAX_BATCH).await > 0 {
        if batch.len() < MAX_BATCH {
            tokio::time::sleep(GATHER).await;
            while batch.len() < MAX_BATCH
                && let Ok(receipt) = waiting.try_recv()
            {
                batch.push(receipt);
            }
        }
        let message = DeliverReceiptsRequest { receipts: std::mem::take(&mut batch) };
        if !push(&broker, &sources, &source, message).await {
            metrics::counter!("countersign_receipts_left_to_claim_total").increment(1);
            tracing::warn!(%source, "receipts were not taken: the source has to claim them");
        }
    }
}

async fn push(
    broker: &Broker,
    sources: &Sources,
    source: &PartnerName,
    message: DeliverReceiptsRequest,
) -> bool {
    let mut wait = FIRST_WAIT;
    for _ in 0..TRIES {
        if let Ok(Some(partner)) = broker.load(rows::partner(source)).await
            && let Ok(mut called) = sources.reach(source, &partner.row)
        {
            let request = called.request(message.clone());
            match called.client().deliver_receipts(request).await {
                Ok(_) => return true,
                Err(status) => tracing::debug!(%source, code = ?status.code(), "receipts were not taken"),
            }
        }
        tokio::time::sleep(wait).await;
        wait *= 2;
    }
    false
}
