//! What the layers share.

use std::sync::Arc;

use countersign_grants::{id::Principal, token::broker_audience};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::{
    limits,
    quota::{Quotas, Rates},
    slots::Slots,
    tokens::Tokens,
};
use crate::Broker;

/// What the layers share: the broker that they ask, and the counts that they keep.
pub struct Gate {
    pub(super) broker: Arc<Broker>,
    pub(super) audience: String,
    pub(super) tokens: Tokens,
    pub(super) rates: Rates,
    pub(super) house: Arc<Semaphore>,
    pub(super) calls: Slots<Principal>,
    pub(super) streams: Slots<Option<Principal>>,
    pub(super) stopping: CancellationToken,
}

impl Gate {
    /// The gate of this broker; its streams end when `stopping` is cancelled.
    pub fn new(broker: Arc<Broker>, quotas: Quotas, stopping: CancellationToken) -> Arc<Self> {
        Arc::new(Self {
            audience: broker_audience(broker.origin()),
            broker,
            tokens: Tokens::new(limits::REMEMBERED_TOKENS),
            rates: Rates::new(quotas),
            house: Arc::new(Semaphore::new(limits::MAX_CALLS)),
            calls: Slots::default(),
            streams: Slots::default(),
            stopping,
        })
    }

    /// The broker behind the gate.
    pub fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// Whether calls can succeed: not once the log takes nothing, or the broker is to stop.
    pub(crate) fn is_serving(&self) -> bool {
        !self.stopping.is_cancelled() && self.broker.ledger().is_available()
    }

    /// Calls in progress.
    pub(crate) fn in_progress(&self) -> usize {
        limits::MAX_CALLS - self.house.available_permits()
    }

    /// Forgets the quotas of principals that went quiet.
    pub fn tidy(&self) {
        self.rates.tidy();
    }
}
