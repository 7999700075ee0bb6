//! `EventService`: tells each party of the records that concern it.
//!
//! An event is a record as one party sees it, and a cursor is an index of the log: there is no second store of events,
//! so nothing can be missed, and what a restart repeats is the same event.

mod list;
mod proven;
mod view;
mod watch;

use std::{collections::BTreeSet, sync::Arc};

use async_trait::async_trait;
use countersign_proto::{
    log::v1::Kind,
    v1::{
        ListEventsRequest, ListEventsResponse, ListProvenEventsRequest, ListProvenEventsResponse,
        WatchEventsRequest, WatchEventsResponse, event_service_server::EventService,
    },
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use crate::{Broker, Caller, Fault};

/// The service.
pub struct Events(pub Arc<Broker>);

#[async_trait]
impl EventService for Events {
    type WatchEventsStream = ReceiverStream<Result<WatchEventsResponse, Status>>;

    async fn list_events(
        &self,
        request: Request<ListEventsRequest>,
    ) -> Result<Response<ListEventsResponse>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(list::list(&self.0, &caller, request.into_inner()).await?))
    }

    async fn watch_events(
        &self,
        request: Request<WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(watch::watch(&self.0, &caller, &request.into_inner())?))
    }

    async fn list_proven_events(
        &self,
        request: Request<ListProvenEventsRequest>,
    ) -> Result<Response<ListProvenEventsResponse>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(proven::list(&self.0, &caller, request.into_inner()).await?))
    }
}

/// The kinds that a caller wants; an empty set wants all.
struct Wanted(BTreeSet<i32>);

impl Wanted {
    fn parse(kinds: &[i32]) -> Result<Self, Fault> {
        let known = |kind: &i32| match Kind::try_from(*kind) {
            Ok(Kind::Unspecified) | Err(_) => {
                Err(Fault::field("kinds", format!("has {kind}, which is no kind")))
            }
            Ok(_) => Ok(*kind),
        };
        kinds.iter().map(known).collect::<Result<_, _>>().map(Self)
    }

    fn wants(&self, kind: Kind) -> bool {
        self.0.is_empty() || self.0.contains(&i32::from(kind))
    }
}
