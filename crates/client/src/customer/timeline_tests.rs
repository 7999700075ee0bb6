//! A list of records that is long, and two that have no end.

use async_trait::async_trait;
use bytes::Bytes;
use countersign_proto::{
    log::v1::{Kind, Record},
    v1::{
        Event, ListEventsRequest, ListEventsResponse, ListProvenEventsRequest, ListProvenEventsResponse,
        WatchEventsRequest, WatchEventsResponse,
        event_service_server::{EventService, EventServiceServer},
    },
};
use futures_util::stream::{Empty, empty};
use prost::Message as _;
use tonic::{Request, Response, Status, transport::server::TcpIncoming};

use super::*;
use crate::{
    book::MemoryBook,
    error::Misuse,
    fixtures::{World, not_asked},
};

/// How a broker lists.
#[derive(Clone, Copy)]
enum Lists {
    /// So many records.
    Until(u64),
    /// The same page again and again.
    InCircles,
    /// Pages without records.
    Nothing,
}

#[async_trait]
impl EventService for Lists {
    async fn list_events(
        &self,
        request: Request<ListEventsRequest>,
    ) -> Result<Response<ListEventsResponse>, Status> {
        let asked = request.into_inner();
        let first: u64 = asked.page_token.parse().unwrap_or(asked.cursor);
        let page = u64::try_from(asked.page_size).expect("not negative");
        let (first, last, next) = match self {
            Self::Until(size) => (first, (first + page).min(*size), first + page),
            Self::InCircles => (0, page, page),
            Self::Nothing => (0, 0, 1),
        };
        let ends = matches!(self, Self::Until(size) if next >= *size);
        let mut record = Record::default();
        record.set_kind(Kind::AskingChanged);
        let (kind, record) = (record.kind, Bytes::from(record.encode_to_vec()));
        let event = |index| Event { index, kind, record: record.clone(), ..Event::default() };
        let next_page_token = if ends { String::new() } else { next.to_string() };
        Ok(Response::new(ListEventsResponse { events: (first..last).map(event).collect(), next_page_token }))
    }

    type WatchEventsStream = Empty<Result<WatchEventsResponse, Status>>;

    async fn watch_events(
        &self,
        _: Request<WatchEventsRequest>,
    ) -> Result<Response<Self::WatchEventsStream>, Status> {
        Ok(Response::new(empty()))
    }

    not_asked! {
        list_proven_events(ListProvenEventsRequest) -> ListProvenEventsResponse;
    }
}

async fn customer(lists: Lists) -> Customer {
    let mut world = World::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    world.address = format!("http://{}", listener.local_addr().expect("bound"));
    let served = tonic::transport::Server::builder()
        .add_service(EventServiceServer::new(lists))
        .serve_with_incoming(TcpIncoming::from(listener));
    tokio::spawn(served);
    let book = CustomerBook::open(MemoryBook::new()).expect("opens");
    Customer::open(world.trust(), Wallet::from_secret(&[77; 32]), book, world.system()).expect("opens")
}

#[tokio::test]
async fn a_timeline_is_read_to_its_end_however_long_it_is() {
    let size = 25_000;
    let customer = customer(Lists::Until(size)).await;
    let (mut timeline, mut next) = (customer.timeline(0, &[]), 0);
    loop {
        let page = timeline.next().await.expect("a page");
        if page.is_empty() {
            break;
        }
        for activity in page {
            assert_eq!(activity.index(), next);
            next += 1;
        }
    }
    assert_eq!(next, size);
    let error = customer.activity(0, &[]).await.expect_err("too many at a time");
    assert!(matches!(error, Error::Misuse(Misuse::Malformed { what: "activity", .. })), "{error}");
    assert_eq!(customer.activity(10_000, &[]).await.expect("some").len(), 15_000);
}

#[tokio::test]
async fn a_list_without_an_end_is_noticed() {
    for (lists, check) in [(Lists::InCircles, "order"), (Lists::Nothing, "length")] {
        let error = customer(lists).await.activity(0, &[]).await.expect_err("it has no end");
        assert!(matches!(&error, Error::Misbehaved(one) if one.check == check), "{error}");
    }
}
