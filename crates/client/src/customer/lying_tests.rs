//! A broker that says no and does it, or says no and does not.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use countersign_grants::{
    envelope,
    id::GrantName,
    statement::{GrantChange, Verb},
};
use countersign_proto::v1::{
    AcknowledgeGrantRequest, ApproveGrantRequestRequest, ApproveGrantRequestResponse, AttestErasureRequest,
    AttestErasureResponse, CancelGrantRequestRequest, ChangeGrantRequest, ChangeGrantResponse,
    ChangeGrantsRequest, ChangeGrantsResponse, CreateGrantRequestRequest, DeferGrantRequestRequest,
    GetGrantRequest, GetGrantRequestRequest, Grant, GrantRequest, ListGrantRequestsRequest,
    ListGrantRequestsResponse, ListGrantsRequest, ListGrantsResponse, NarrowGrantRequest,
    NarrowGrantResponse, RefuseGrantRequestRequest, RevokeGrantRequest, SuspendGrantRequest,
    UnsuspendGrantRequest,
    grant_service_server::{GrantService, GrantServiceServer},
};
use parking_lot::Mutex;
use tonic::{Request, Response, Status, transport::server::TcpIncoming};

use super::{
    tests::{link, offer, read, request},
    *,
};
use crate::{
    book::MemoryBook,
    fixtures::{World, not_asked},
};

/// Refuses all; keeps what it is sent while `keeps`, and shows what it keeps unless `hides`.
#[derive(Default)]
struct Said {
    grants: HashMap<String, Grant>,
    keeps: bool,
    hides: bool,
    /// Turns calls away for their token, as a broker does whose clock is wrong.
    turns_away: bool,
    changes: usize,
}

#[derive(Clone, Default)]
struct Liar(Arc<Mutex<Said>>);

#[async_trait]
impl GrantService for Liar {
    async fn approve_grant_request(
        &self,
        request: Request<ApproveGrantRequestRequest>,
    ) -> Result<Response<ApproveGrantRequestResponse>, Status> {
        let mut said = self.0.lock();
        if said.keeps {
            for row in request.into_inner().rows {
                let terms = row.source_terms.expect("there are terms");
                let name = GrantName::of(envelope::digest(&terms)).to_string();
                let grant = Grant { name: name.clone(), terms: Some(terms), ..Grant::default() };
                said.grants.insert(name, grant);
            }
        }
        Err(Status::failed_precondition("no"))
    }

    async fn change_grant(
        &self,
        request: Request<ChangeGrantRequest>,
    ) -> Result<Response<ChangeGrantResponse>, Status> {
        let (mut said, request) = (self.0.lock(), request.into_inner());
        said.changes += 1;
        let keeps = said.keeps;
        if let Some(grant) = said.grants.get_mut(&request.name).filter(|_| keeps) {
            grant.changes.push(request.source_change.expect("there is a change"));
        }
        if said.turns_away {
            return Err(Status::unauthenticated("the token has expired"));
        }
        Err(Status::failed_precondition("no"))
    }

    async fn get_grant(&self, request: Request<GetGrantRequest>) -> Result<Response<Grant>, Status> {
        let said = self.0.lock();
        let grant = said.grants.get(&request.into_inner().name).filter(|_| !said.hides).cloned();
        grant.map(Response::new).ok_or_else(|| Status::not_found("no grant"))
    }

    not_asked! {
        create_grant_request(CreateGrantRequestRequest) -> GrantRequest;
        get_grant_request(GetGrantRequestRequest) -> GrantRequest;
        list_grant_requests(ListGrantRequestsRequest) -> ListGrantRequestsResponse;
        defer_grant_request(DeferGrantRequestRequest) -> GrantRequest;
        refuse_grant_request(RefuseGrantRequestRequest) -> GrantRequest;
        cancel_grant_request(CancelGrantRequestRequest) -> GrantRequest;
        list_grants(ListGrantsRequest) -> ListGrantsResponse;
        change_grants(ChangeGrantsRequest) -> ChangeGrantsResponse;
        narrow_grant(NarrowGrantRequest) -> NarrowGrantResponse;
        acknowledge_grant(AcknowledgeGrantRequest) -> Grant;
        suspend_grant(SuspendGrantRequest) -> ChangeGrantResponse;
        unsuspend_grant(UnsuspendGrantRequest) -> ChangeGrantResponse;
        revoke_grant(RevokeGrantRequest) -> ChangeGrantResponse;
        attest_erasure(AttestErasureRequest) -> AttestErasureResponse;
    }
}

struct Bench {
    liar: Liar,
    customer: Customer,
    storage: MemoryBook,
    request: ReadRequest,
}

impl Bench {
    async fn new() -> Self {
        let (mut world, liar) = (World::new(), Liar::default());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        world.address = format!("http://{}", listener.local_addr().expect("bound"));
        let served = tonic::transport::Server::builder()
            .add_service(GrantServiceServer::new(liar.clone()))
            .serve_with_incoming(TcpIncoming::from(listener));
        tokio::spawn(served);
        let (wallet, storage) = (Wallet::from_secret(&[77; 32]), MemoryBook::new());
        let book = CustomerBook::open(storage.clone()).expect("opens");
        let customer = Customer::open(world.trust(), wallet, book, world.system()).expect("opens");
        link(&world, &customer, &world.skylark, 1).await;
        let hopp = link(&world, &customer, &world.hopp, 2).await;
        let (name, request) = request(&world, &hopp, &[(offer(&world, |_| {}), false)]);
        let request = read(&customer, &name, &request).expect("verifies");
        Self { liar, customer, storage, request }
    }

    fn lies(&self, keeps: bool, hides: bool) {
        let mut said = self.liar.0.lock();
        (said.keeps, said.hides) = (keeps, hides);
    }

    async fn approve(&self) -> Error {
        self.customer.approve(&self.request, &Choice::required("en")).await.expect_err("it says no")
    }

    /// The grant, and the same after the book was opened again, as it is and rewritten.
    fn row(&self) -> GrantRow {
        let row = self.customer.book().grants().remove(0);
        for _ in 0..2 {
            let again = CustomerBook::open(self.storage.clone()).expect("opens");
            let same = again.grant(&row.name).expect("is there");
            assert_eq!(
                (same.refused, same.standing, same.sequence, same.pending_refused, &same.pending),
                (row.refused, row.standing, row.sequence, row.pending_refused, &row.pending)
            );
            assert_eq!(same.abandoned(), row.abandoned());
            again.compact().expect("rewrites");
        }
        row
    }
}

fn caught(error: &Error) -> bool {
    matches!(error, Error::Misbehaved(one) if one.check == "refusal")
}

#[tokio::test]
async fn a_grant_that_stands_in_spite_of_a_no_stays_in_the_book() {
    let bench = Bench::new().await;
    bench.lies(true, false);
    let error = bench.approve().await;
    assert!(caught(&error), "{error}");
    let row = bench.row();
    assert!(!row.refused);

    // The same with its stop: what it shows counts.
    let error = bench.customer.stop(&row.name, true).await.expect_err("it says no");
    assert!(caught(&error), "{error}");
    assert_eq!(bench.row().standing, Standing::Stopped { erase: true });
}

#[tokio::test]
async fn a_grant_that_is_hidden_behind_a_no_can_still_be_stopped() {
    let bench = Bench::new().await;
    bench.lies(true, true);
    assert!(matches!(bench.approve().await, Error::Refused(_)));
    let row = bench.row();
    assert!(row.refused);
    for sent in 1..=2 {
        let error = bench.customer.stop(&row.name, false).await.expect_err("it says no");
        assert!(matches!(error, Error::Refused(_)), "{error}");
        assert_eq!(bench.liar.0.lock().changes, sent);
    }
    let row = bench.row();
    assert!(row.pending.is_some() && row.pending_refused && row.sequence == 0);

    // It comes to light, with the stop that was refused.
    bench.liar.0.lock().grants.values_mut().for_each(|grant| grant.changes.truncate(1));
    bench.lies(false, false);
    bench.customer.look_up(&row.name).await.expect("verifies").expect("is shown");
    let row = bench.row();
    assert_eq!((row.refused, row.standing), (false, Standing::Stopped { erase: false }));
    assert!(row.pending.is_none() && row.abandoned().is_empty());
}

#[tokio::test]
async fn a_number_is_used_again_only_where_the_broker_shows_no_change_under_it() {
    let bench = Bench::new().await;
    bench.lies(true, false);
    bench.approve().await;
    let name = bench.row().name;
    bench.lies(false, false);
    let paused = bench.customer.pause(&name).await.expect_err("it says no");
    assert!(matches!(paused, Error::Refused(_)), "{paused}");
    let (pause, _) = bench.row().pending.expect("it stays");

    // The stop takes the pause's number; the pause is not forgotten.
    let stopped = bench.customer.stop(&name, false).await.expect_err("it says no");
    assert!(matches!(stopped, Error::Refused(_)), "{stopped}");
    let row = bench.row();
    assert_eq!(row.abandoned().iter().map(|(source, _)| source).collect::<Vec<_>>(), [&pause]);

    // Now the broker shows the pause under that number: the same call goes on to the next.
    bench.liar.0.lock().grants.values_mut().for_each(|grant| grant.changes.push(pause.clone()));
    bench.lies(true, false);
    let error = bench.customer.stop(&name, false).await.expect_err("it says no");
    assert!(caught(&error), "{error}");
    let row = bench.row();
    assert_eq!((row.sequence, row.standing), (2, Standing::Stopped { erase: false }));
    let shown = bench.liar.0.lock().grants[name.as_str()].changes.clone();
    let last = envelope::peek::<GrantChange>(shown.last()).expect("a change");
    assert_eq!((last.verb, last.sequence), (Verb::Stop, 2));
}

#[tokio::test]
async fn a_call_that_is_turned_away_for_its_token_says_nothing_of_an_earlier_one() {
    let bench = Bench::new().await;
    bench.lies(true, false);
    bench.approve().await;
    let name = bench.row().name;
    // The first stop arrived, its answer was lost, and the next attempt comes to a broker whose clock is wrong.
    bench.liar.0.lock().turns_away = true;
    let turned_away = bench.customer.stop(&name, false).await.expect_err("it is turned away");
    assert!(matches!(&turned_away, Error::Refused(one) if one.code == tonic::Code::Unauthenticated));
    let row = bench.row();
    assert!(row.pending.is_some() && !row.pending_refused, "what became of it is not known");

    // The same bytes settle it.
    bench.liar.0.lock().turns_away = false;
    let error = bench.customer.stop(&name, false).await.expect_err("it says no");
    assert!(caught(&error), "{error}");
    let shown = bench.liar.0.lock().grants[name.as_str()].changes.clone();
    assert!(shown.len() == 2 && shown[0] == shown[1]);
}
