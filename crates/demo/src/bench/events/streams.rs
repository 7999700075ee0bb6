//! Open `WatchEvents` streams, and what they bring.

use std::sync::Arc;

use anyhow::{Context, Result};
use countersign_client::proto::{
    log::v1::Kind,
    v1::{Event, WatchEventsRequest},
};
use tokio::{task::JoinSet, time::Instant};
use tonic::Request;

use super::cast::{Party, STREAMS_ON_ONE};

/// What is done with each event, as soon as a stream has brought it.
pub(super) type Sink = Arc<dyn Fn(&Event, Instant) + Send + Sync>;

/// Streams that are open until they are dropped.
pub(super) struct Streams(JoinSet<Result<()>>);

impl Streams {
    /// Opens so many streams for each party, from `cursor` on. When this returns, the broker watches for all of them.
    pub(super) async fn open(
        parties: &[(&Party, usize)],
        kind: Kind,
        cursor: u64,
        sink: &Sink,
    ) -> Result<Self> {
        let mut open = JoinSet::new();
        for (party, count) in parties {
            for nth in 0..*count {
                let connection = party.connections.get(nth / STREAMS_ON_ONE);
                let connection = connection.context("more streams than one principal may have")?;
                let parent = party.name.clone();
                let asked = WatchEventsRequest { parent, cursor, kinds: vec![kind.into()] };
                // Without a deadline: the stream is meant to stay.
                let opened = connection.events().watch_events(Request::new(asked)).await;
                let mut stream =
                    opened.with_context(|| format!("stream {nth} of {}", party.name))?.into_inner();
                let sink = Arc::clone(sink);
                open.spawn(async move {
                    while let Some(answer) = stream.message().await? {
                        let at = Instant::now();
                        sink(&answer.event.context("an answer without an event")?, at);
                    }
                    Ok(())
                });
            }
        }
        Ok(Self(open))
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    /// Why a stream has ended, if one has: none should.
    pub(super) fn check(&mut self) -> Result<()> {
        match self.0.try_join_next() {
            None => Ok(()),
            Some(ended) => ended?.and_then(|()| anyhow::bail!("the broker ended it")).context("a stream"),
        }
    }
}
