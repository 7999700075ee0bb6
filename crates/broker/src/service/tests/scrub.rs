//! An operator's order that what was removed leave the disk: kept until it is met, and a record once.

use std::time::Duration;

use countersign_grants::{id::Principal, time::Timestamp};
use countersign_proto::{
    log::v1::Kind,
    v1::{
        ScrubStoreRequest, ScrubStoreResponse, operator_service_server::OperatorService as _,
        scrub_store_response::State,
    },
};
use tonic::{Request, Status};

use super::{
    Setting,
    closing::closure,
    world::{as_operator, as_person, refused},
};
use crate::{Caller, removed, service::customer::close::close_within, service::operator::Operators, sweeper};

/// What nobody orders waits longer than any of these tests.
const LATER: Duration = Duration::from_secs(24 * 3600);

impl Setting {
    async fn scrub(&self, asked: Request<ScrubStoreRequest>) -> Result<ScrubStoreResponse, Status> {
        let answer = Operators(self.world.broker.clone()).scrub_store(asked).await;
        answer.map(tonic::Response::into_inner)
    }

    async fn orders(&self) -> usize {
        self.records().await.iter().filter(|record| record.kind() == Kind::ScrubOrdered).count()
    }
}

fn until(time: Timestamp) -> Option<prost_types::Timestamp> {
    super::super::timestamp(time.as_millis())
}

#[tokio::test(start_paused = true)]
async fn an_order_holds_until_what_was_removed_before_it_is_off_the_disk() {
    let s = Setting::new().await;
    let broker = &s.world.broker;
    let asked = || as_operator(ScrubStoreRequest::default());
    let nothing = s.scrub(asked()).await.expect("answers");
    assert_eq!((nothing.state(), s.orders().await), (State::Done, 0), "there is nothing to order");

    let caller = Caller { principal: Principal::Customer(s.mei.name.clone()) };
    close_within(broker, &caller, closure(&s), 0).await.expect("closes");
    let going = s.scrub(asked()).await.expect("answers");
    assert_eq!((going.state(), going.until_time), (State::Running, until(broker.now())));
    assert!(removed::due(broker, LATER).await.expect("reads").is_empty(), "her rows are not gone yet");
    sweeper::erase(broker).await.expect("sweeps");
    let due = removed::due(broker, LATER).await.expect("reads");
    assert_eq!(due.len(), 1, "a day early");

    // What is removed after an order waits its time, and an order that is met is forgotten.
    s.world.pass(1_000);
    removed::gone(broker, &due).await.expect("notes it");
    let other = s.world.person(90).await;
    let her = Setting { mei: other, ..s };
    let caller = Caller { principal: Principal::Customer(her.mei.name.clone()) };
    let broker = &her.world.broker;
    close_within(broker, &caller, closure(&her), usize::MAX).await.expect("closes");
    assert!(removed::due(broker, LATER).await.expect("reads").is_empty());
    assert_eq!(removed::ordered(broker).await.expect("reads"), None);
    let done = her.scrub(as_operator(ScrubStoreRequest { until_time: going.until_time })).await;
    assert_eq!((done.expect("answers").state(), her.orders().await), (State::Done, 1), "to ask is no order");
}

#[tokio::test(start_paused = true)]
async fn only_operators_order_it_and_of_no_time_to_come() {
    let s = Setting::new().await;
    let by_her = s.scrub(as_person(&s.mei, ScrubStoreRequest::default())).await;
    assert_eq!(refused(by_her), "CALLER_NOT_ALLOWED");
    let broken = prost_types::Timestamp { seconds: -1, nanos: 0 };
    let times = [until(s.world.broker.now().plus(Duration::from_millis(1))), Some(broken)];
    for until_time in times {
        let asked = as_operator(ScrubStoreRequest { until_time });
        assert_eq!(refused(s.scrub(asked).await), "FIELD_INVALID");
    }
    assert_eq!(s.orders().await, 0);
}
