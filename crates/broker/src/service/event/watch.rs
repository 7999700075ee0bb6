//! `WatchEvents`: from the cursor through what stands, then on as it comes.

use std::sync::Arc;

use countersign_grants::{id::PartnerName, lifecycle};
use countersign_ledger::Watch;
use countersign_proto::v1::{WatchEventsRequest, WatchEventsResponse};
use tokio::sync::mpsc::{self, Sender};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{Wanted, view};
use crate::{Broker, Caller, Fault, broker::stranger, caller::Party, record::stream, rows};

/// How many events wait for a slow reader: beyond them the reader's pace is ours, and memory stays flat.
const WAITING: usize = 32;

/// How many records of a stream are looked at before the partner's state is looked at again.
const CHUNK: usize = 128;

type Answer = Result<WatchEventsResponse, Status>;

pub(super) fn watch(
    broker: &Arc<Broker>,
    caller: &Caller,
    request: &WatchEventsRequest,
) -> Result<ReceiverStream<Answer>, Fault> {
    let party = caller.party_itself(&request.parent)?;
    let wanted = Wanted::parse(&request.kinds)?;
    let (events, answers) = mpsc::channel(WAITING);
    // Watch first, then read: what comes in between wakes the watch.
    let grown = broker.ledger().watch(&stream(party.as_str()));
    let watcher = Watcher { broker: Arc::clone(broker), party, wanted, next: request.cursor, events };
    tokio::spawn(watcher.run(grown));
    Ok(ReceiverStream::new(answers))
}

struct Watcher {
    broker: Arc<Broker>,
    party: Party,
    wanted: Wanted,
    next: u64,
    events: Sender<Answer>,
}

/// Why a watcher ends.
enum End {
    /// The reader has gone.
    Gone,
    /// It can't go on.
    Failed(Fault),
}

impl From<Fault> for End {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault)
    }
}

impl Watcher {
    async fn run(mut self, mut grown: Watch) {
        loop {
            match self.catch_up().await {
                Ok(()) => {}
                Err(End::Gone) => return,
                Err(End::Failed(fault)) => {
                    // A reader that has gone meanwhile misses nothing by it.
                    self.events.send(Err(fault.into())).await.ok();
                    return;
                }
            }
            tokio::select! {
                biased;
                () = self.events.closed() => return,
                changed = grown.changed() => if changed.is_err() {
                    // The log was shut down: the reader comes again elsewhere, with its cursor.
                    return;
                },
            }
        }
    }

    async fn catch_up(&mut self) -> Result<(), End> {
        let stream = stream(self.party.as_str());
        loop {
            self.still_may().await?;
            let items = self.broker.ledger().stream(&stream, self.next, CHUNK).await.map_err(Fault::from)?;
            for item in &items {
                if self.wanted.wants(item.kind) {
                    let event = view::event(&self.broker, &self.party, item.index).await?;
                    let answer = WatchEventsResponse { event: Some(event) };
                    self.events.send(Ok(answer)).await.map_err(|_| End::Gone)?;
                }
                self.next = item.index + 1;
            }
            if items.len() < CHUNK {
                return Ok(());
            }
        }
    }

    /// A closed account receives nothing more, and neither does a suspended partner, on a stream that it opened before as
    /// little as on a new one; nor does who watches with a stolen secret.
    async fn still_may(&self) -> Result<(), Fault> {
        let name = match &self.party {
            Party::Partner(name) => name,
            Party::Customer(name) => {
                let account = self.broker.load(rows::customer(name)).await?;
                let account =
                    account.filter(|account| account.row.close_time_ms == 0).ok_or_else(stranger)?;
                let stolen = account.row.stolen_time_ms != 0;
                return if stolen { Err(Fault::CustomerStolen) } else { Ok(()) };
            }
        };
        if self.broker.standing(name).await? == lifecycle::Partner::Suspended {
            return Err(suspended(name));
        }
        Ok(())
    }
}

fn suspended(name: &PartnerName) -> Fault {
    Fault::PartnerSuspended { partner: name.to_string() }
}
