//! Closing an account: in as many steps as it takes, each of which can be the last before the machine stops.

use std::{future::poll_fn, pin::pin, task::Poll};

use countersign_grants::{
    digest::Digest,
    envelope,
    id::{Principal, RequestName},
    statement as says,
    time::Timestamp,
};
use countersign_ledger::Housekeeping;
use countersign_proto::{
    log::v1::Kind,
    row::v1::WrappedCopyRow,
    statement::v1::{self as wire, grant_change::Verb},
    v1::{self, customer_service_server::CustomerService as _, grant_service_server::GrantService as _},
};
use countersign_store::MAX_KEY_BYTES;

use super::{Setting, change, row};
use crate::{
    Caller, agenda,
    caller::Party,
    record::Happening,
    rows,
    service::{
        customer::close::close_within,
        tests::world::{ORIGIN, as_brand, refused},
    },
    sweeper,
    work::Work,
};

/// Mei, with grants that have ended; a request that lapsed and one that was taken back, both before she saw them; and one
/// that waits.
async fn ready() -> Setting {
    let s = Setting::new().await;
    for tag in 50..53 {
        let request = s.request().await;
        let (from, to) = ((&s.skylark, &s.from), (&s.hopp, &s.to));
        let terms = s.world.terms((&request, &s.offer), from, to, tag);
        let approved = s.world.approve(&s.mei, &request, vec![row(&terms, &s.from, &s.to)]).await;
        let grant = approved.expect("an approval").grants.remove(0);
        let terms = Digest::of(&grant.terms.as_ref().expect("terms").payload);
        s.world.acknowledge(&s.hopp, &grant, terms).await.expect("an acknowledgement");
        let stop = wire::GrantChange { erase: true, ..change(&s, terms, terms, (1, Verb::Stop)) };
        s.world.change(&s.mei, &stop, (&s.from, &s.to)).await.expect("a stop");
        // At the same moment it would be the same request again.
        s.world.pass(1_000);
    }
    s.request().await;
    s.world.pass(1_000);
    let name = s.request().await.name;
    let asked = v1::CancelGrantRequestRequest { name };
    s.world.grants().cancel_grant_request(as_brand(&s.skylark, asked)).await.expect("taken back");
    s.world.pass(3_600_000);
    assert_eq!(sweeper::sweep(&s.world.broker).await.expect("sweeps"), 1);
    s.request().await;
    s
}

pub(super) fn closure(s: &Setting) -> v1::CloseCustomerRequest {
    let message = wire::AccountClosure {
        broker: ORIGIN.to_owned(),
        customer: s.mei.name.to_string(),
        time_ms: s.world.now(),
    };
    let statement = Some(envelope::sign::<says::AccountClosure>(&message, &[&s.mei.key]));
    v1::CloseCustomerRequest { name: s.mei.name.to_string(), statement }
}

/// The requests that were put to her: all of them are Skylark's.
async fn requests(s: &Setting) -> Vec<RequestName> {
    let index = rows::grant_requests_of(&Party::Partner(s.skylark.name.clone()));
    let listed = index.load(s.world.broker.store(), None, 100).await.expect("reads");
    listed.iter().map(|(_, name)| RequestName::parse(name).expect("a name")).collect()
}

/// Every row that names her, her handles, her links, or what she was asked.
async fn about_her(s: &Setting, requests: &[RequestName]) -> Vec<String> {
    let all = s.world.broker.store().scan(Vec::new()..vec![0xff; MAX_KEY_BYTES + 1], usize::MAX).await;
    let mut names = vec![s.mei.name.as_str(), s.from.subject.as_str(), s.to.subject.as_str()];
    names.extend(requests.iter().map(RequestName::as_str));
    let mut links = vec![s.from.name.digest(), s.to.name.digest()];
    links.extend(requests.iter().map(RequestName::digest));
    let mut found = Vec::new();
    for (key, entry) in all.expect("reads") {
        let holds = |marker: &[u8]| {
            [&key[..], &entry.value[..]]
                .iter()
                .any(|bytes| bytes.windows(marker.len()).any(|at| at == marker))
        };
        let by_name = names.iter().any(|name| holds(name.as_bytes()));
        if by_name || links.iter().any(|link| holds(link.as_bytes())) {
            found.push(key.escape_ascii().to_string());
        }
    }
    found
}

/// What an erasure comes to, once the sweeper has taken up what a stop left of it.
async fn is_gone(s: &Setting, requests: &[RequestName], when: &str) {
    let broker = &s.world.broker;
    sweeper::erase(broker).await.expect("sweeps");
    assert_eq!(about_her(s, requests).await, Vec::<String>::new(), "{when}");
    let told = s.kinds(Principal::Partner(s.skylark.name.clone())).await;
    // The one that waited is refused, once; the other two had their ends before.
    for end in [Kind::RequestRefused, Kind::RequestLapsed, Kind::RequestCancelled] {
        assert_eq!(told.iter().filter(|kind| **kind == end).count(), 1, "{when}, {end:?}: {told:?}");
    }
    // Closed accounts are looked for no more, and what recipients owe is still there.
    assert_eq!(sweeper::erase(broker).await.expect("sweeps"), 0);
    let owed = rows::erasures_due().load(broker.store(), None, 10).await.expect("reads");
    assert_eq!(owed.len(), 3);
}

#[tokio::test]
async fn an_erasure_goes_on_wherever_it_was_interrupted() {
    let mut units = 0;
    loop {
        let s = ready().await;
        let requests = requests(&s).await;
        assert_eq!(requests.len(), 6);
        let caller = Caller { principal: Principal::Customer(s.mei.name.clone()) };
        let closed = close_within(&s.world.broker, &caller, closure(&s), units).await.expect("closes");
        assert!(!closed.receipt.expect("a receipt").subject_salt.is_empty(), "she alone can open it");
        let left = about_her(&s, &requests).await;
        // From the first commit on nobody is there, however much of the rows is left.
        let broker = &s.world.broker;
        let again = close_within(broker, &caller, closure(&s), units).await.expect_err("a stranger");
        assert_eq!(again.reason(), "TOKEN_INVALID");
        let key = broker.call_key(&caller.principal, s.mei.key.id()).await;
        assert_eq!(key.err().map(|fault| fault.reason()), Some("TOKEN_INVALID"));
        let request = s.world.request(&s.hopp, &s.to.subject, &[(&s.offer_name(), false)]).await;
        assert_eq!(refused(request), "GRANT_UNKNOWN");

        is_gone(&s, &requests, &format!("after {units} units")).await;
        if left.is_empty() {
            assert!(units > 3, "it takes several units");
            return;
        }
        units += 1;
    }
}

/// Polls a future at most so many times, and drops it: a call whose connection has ended, at whatever it waits for.
async fn polled<F: Future>(future: F, times: usize) -> Option<F::Output> {
    let (mut future, mut left) = (pin!(future), times);
    poll_fn(move |context| {
        let Some(next) = left.checked_sub(1) else { return Poll::Ready(None) };
        left = next;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

#[tokio::test]
async fn a_call_that_ends_within_an_erasure_leaves_nothing_that_leads_nowhere() {
    let mut polls = 0;
    loop {
        let s = ready().await;
        let requests = requests(&s).await;
        let caller = Caller { principal: Principal::Customer(s.mei.name.clone()) };
        let broker = &s.world.broker;
        let closed = polled(close_within(broker, &caller, closure(&s), usize::MAX), polls).await;
        // What it had handed in when it ended is committed whole, and before this.
        sweeper::announce(broker).await.expect("sweeps");
        let listed =
            v1::ListGrantRequestsRequest { parent: s.skylark.name.to_string(), ..Default::default() };
        let listed = s.world.grants().list_grant_requests(as_brand(&s.skylark, listed)).await.expect("lists");
        let there = rows::grant_requests_of(&Party::Partner(s.skylark.name.clone()));
        let there = there.load(broker.store(), None, 100).await.expect("reads");
        assert_eq!(listed.into_inner().grant_requests.len(), there.len(), "each is there: {polls} polls");
        let is_open = broker.customer_key(&s.mei.name).await.is_ok();
        if !is_open {
            is_gone(&s, &requests, &format!("after {polls} polls")).await;
        }
        if closed.is_some() {
            assert!(polls > 6, "it waits several times");
            return;
        }
        polls += 1;
    }
}

#[tokio::test]
async fn who_comes_again_with_the_same_key_is_somebody_new() {
    let s = ready().await;
    let caller = Caller { principal: Principal::Customer(s.mei.name.clone()) };
    close_within(&s.world.broker, &caller, closure(&s), 0).await.expect("closes");
    assert_eq!(refused(s.world.enter(&s.mei.key).await), "WRONG_STATE", "as long as her rows are there");
    sweeper::erase(&s.world.broker).await.expect("sweeps");
    s.world.enter(&s.mei.key).await.expect("enters");
    let grants = s.world.grants();
    let get = v1::ListGrantsRequest { parent: s.skylark.name.to_string(), ..Default::default() };
    let listed = grants.list_grants(as_brand(&s.skylark, get)).await.expect("answers").into_inner();
    assert!(listed.grants.is_empty());
}

#[tokio::test]
async fn no_copy_of_a_wallet_is_handed_out_once_the_account_is_closed() {
    let s = ready().await;
    let broker = &s.world.broker;
    let lookup = [9; 32];
    let copy = WrappedCopyRow { customer: s.mei.name.to_string(), wrapped: vec![1; 60].into() };
    let mut work = Work::default();
    work.create(&rows::wrapped_copy(Digest::of(&lookup)), &copy).expect("fits");
    work.record(broker.draft(Happening { kind: Kind::CataloguePublished, ..Happening::default() }));
    broker.enter(work).await.expect("the log takes it").expect("no conflict");
    let get = || async {
        let asked = v1::GetWrappedCopyRequest { lookup: lookup.to_vec().into() };
        s.world.customers().get_wrapped_copy(tonic::Request::new(asked)).await
    };
    assert_eq!(get().await.expect("answers").into_inner().customer, s.mei.name.as_str());
    let caller = Caller { principal: Principal::Customer(s.mei.name.clone()) };
    close_within(broker, &caller, closure(&s), 0).await.expect("closes");
    assert!(broker.load(rows::wrapped_copy(Digest::of(&lookup))).await.expect("reads").is_some());
    assert_eq!(refused(get().await), "RESOURCE_UNKNOWN", "though its row is there still");
}

#[tokio::test]
async fn an_account_that_cannot_be_erased_keeps_no_other_waiting() {
    let s = ready().await;
    let requests = requests(&s).await;
    // Both come before hers: one that is no name, and one of somebody who never closed.
    let broker = &s.world.broker;
    let eve = s.world.person(60).await;
    let mut work = Work::default();
    for (at, name) in [(1, "nobody"), (2, eve.name.as_str())] {
        work.index(&rows::closed_customers().entry(at, Digest::of(name.as_bytes())), name).expect("fits");
    }
    work.record(broker.draft(Happening { kind: Kind::CataloguePublished, ..Happening::default() }));
    broker.enter(work).await.expect("the log takes it").expect("no conflict");
    let caller = Caller { principal: Principal::Customer(s.mei.name.clone()) };
    close_within(broker, &caller, closure(&s), 0).await.expect("closes");
    assert_eq!(sweeper::erase(broker).await.expect("sweeps"), 1);
    assert_eq!(about_her(&s, &requests).await, Vec::<String>::new());
}

/// Rows for somebody's entries in an agenda, each at a moment of its own.
async fn enter_asked(s: &Setting, name: &str, moments: std::ops::Range<u64>) {
    for some in moments.collect::<Vec<_>>().chunks(500) {
        let entry =
            |at: &u64| agenda::ASKED.entry(Timestamp::from_millis(*at), Digest::of(&at.to_be_bytes()), name);
        let puts = some.iter().flat_map(entry).collect();
        s.world.broker.ledger().housekeep(Housekeeping { puts, deletes: vec![] }).await.expect("commits");
    }
}

#[tokio::test]
async fn an_agenda_gives_the_entries_of_one_without_all_others() {
    let s = Setting::new().await;
    let (broker, name) = (&s.world.broker, s.mei.name.as_str());
    enter_asked(&s, "customers/another", 0..1_000).await;
    enter_asked(&s, name, 1_000..1_003).await;
    enter_asked(&s, "customers/another", 1_003..2_000).await;
    let of = async |limit| agenda::ASKED.of(broker, name, limit).await.expect("reads");
    // Each stands in two rows.
    assert_eq!((of(2).await.len(), of(9).await.len()), (4, 6));
    for key in of(9).await {
        assert!(broker.store().get(&key).await.expect("reads").is_some(), "{}", key.escape_ascii());
    }
    let due = agenda::ASKED.due(broker, Timestamp::from_millis(1_000), 2_000).await.expect("reads").pop();
    let due = due.expect("hers is due");
    assert_eq!(due.name, name);
    let later = Timestamp::from_millis(5_000);
    agenda::ASKED.done(broker, &due, Some(later)).await.expect("moves");
    assert_eq!(of(9).await.len(), 6);
    let moved = agenda::ASKED.due(broker, later, 2_001).await.expect("reads").pop().expect("it is there");
    assert_eq!((moved.at, moved.name.as_str()), (5_000, name));
    agenda::ASKED.done(broker, &moved, None).await.expect("drops");
    assert_eq!(of(9).await.len(), 4);
}
