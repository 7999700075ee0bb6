//! The shared budget, from a partner's request to a customer's list.

use std::slice::from_ref;

use countersign_grants::id::Principal;
use countersign_proto::{
    log::v1::Kind,
    v1::{
        self, Asking, QuietHours, customer_service_server::CustomerService as _,
        grant_service_server::GrantService as _, list_grant_requests_request::View,
        partner_service_server::PartnerService as _,
    },
};
use tonic_types::StatusExt as _;

use super::{
    Setting,
    world::{Brand, Linked, as_brand, as_operator, as_person, refused},
};
use crate::{service::partner::Partners, sweeper};

const HOUR: u64 = 3_600_000;
const DAY: u64 = 24 * HOUR;

impl Setting {
    /// A request that waits as long as a request can.
    async fn ask(&self, brand: &Brand, through: &Linked) -> v1::GrantRequest {
        self.try_ask(brand, through).await.expect("a request")
    }

    async fn try_ask(&self, brand: &Brand, through: &Linked) -> Result<v1::GrantRequest, tonic::Status> {
        // So that no two are the same.
        self.world.pass(1);
        let offers = [(&self.offer_name(), false)];
        self.world.request_for(7 * DAY, brand, &through.subject, &offers).await
    }

    /// The names of the requests that were put before Mei.
    async fn list(&self) -> Vec<String> {
        let asked = v1::ListGrantRequestsRequest { parent: self.mei.name.to_string(), ..Default::default() };
        let listed = self.world.grants().list_grant_requests(as_person(&self.mei, asked)).await;
        listed.expect("a list").into_inner().grant_requests.into_iter().map(|one| one.name).collect()
    }

    async fn get(&self, name: &str) -> v1::GrantRequest {
        let asked = v1::GetGrantRequestRequest { name: name.to_owned() };
        self.world.grants().get_grant_request(as_person(&self.mei, asked)).await.expect("hers").into_inner()
    }

    async fn refuse(&self, name: &str) {
        let asked = v1::RefuseGrantRequestRequest { name: name.to_owned() };
        self.world.grants().refuse_grant_request(as_person(&self.mei, asked)).await.expect("refused");
    }

    async fn set(&self, asking: Asking) -> Result<v1::Customer, tonic::Status> {
        let asked = v1::SetAskingRequest { name: self.mei.name.to_string(), asking: Some(asking) };
        self.world.customers().set_asking(as_person(&self.mei, asked)).await.map(tonic::Response::into_inner)
    }

    async fn told(&self, principal: Principal, kind: Kind) -> usize {
        self.kinds(principal).await.iter().filter(|found| **found == kind).count()
    }

    fn her(&self) -> Principal {
        Principal::Customer(self.mei.name.clone())
    }
}

#[tokio::test]
async fn one_request_a_day_is_put_before_a_person_and_no_partner_can_tell() {
    let s = Setting::new().await;
    let (first, second) = (s.ask(&s.skylark, &s.from).await, s.ask(&s.hopp, &s.to).await);
    assert_eq!(s.told(s.her(), Kind::RequestCreated).await, 0, "what waits is nothing that she hears of");
    assert_eq!(sweeper::show(&s.world.broker).await.expect("a sweep"), 2);
    assert_eq!(s.list().await, from_ref(&first.name));
    assert_eq!(s.told(s.her(), Kind::RequestShown).await, 1);

    // To both partners the two requests look the same, in their answers and in their events.
    for (brand, request) in [(&s.skylark, &first), (&s.hopp, &second)] {
        let asked = v1::GetGrantRequestRequest { name: request.name.clone() };
        let seen = s.world.grants().get_grant_request(as_brand(brand, asked)).await.expect("its own");
        assert_eq!(&seen.into_inner(), request, "as on the first day");
        assert_eq!((request.state(), request.shown_time), (v1::grant_request::State::Requested, None));
        let partner = Principal::Partner(brand.name.clone());
        assert_eq!(s.told(partner.clone(), Kind::RequestCreated).await, 1);
        assert_eq!(s.told(partner, Kind::RequestShown).await, 0);
    }
    for record in s.records().await {
        let shown = record.kind() == Kind::RequestShown;
        assert!(!shown || (record.source.is_empty() && record.recipient.is_empty()), "{record:?}");
    }

    s.world.pass(DAY - 10);
    sweeper::show(&s.world.broker).await.expect("a sweep");
    assert_eq!(s.list().await.len(), 1);
    s.world.pass(10);
    // Two of her devices look at once, and agree.
    let (one, other) = tokio::join!(s.list(), s.list());
    assert_eq!((one.len(), &one), (2, &other));
    assert_eq!(one, [first.name, second.name]);
    assert_eq!(s.told(s.her(), Kind::RequestShown).await, 2);
}

#[tokio::test]
async fn a_partner_cannot_tell_that_its_request_was_put_off() {
    let s = Setting::new().await;
    let asked = s.ask(&s.hopp, &s.to).await;
    let before = s.kinds(Principal::Partner(s.hopp.name.clone())).await;
    let put_off = v1::DeferGrantRequestRequest { name: asked.name.clone() };
    let hers = s.world.grants().defer_grant_request(as_person(&s.mei, put_off)).await.expect("put off");
    assert_eq!(hers.into_inner().state(), v1::grant_request::State::Deferred);
    assert_eq!(s.told(s.her(), Kind::RequestDeferred).await, 1);

    assert_eq!(s.kinds(Principal::Partner(s.hopp.name.clone())).await, before);
    let get = v1::GetGrantRequestRequest { name: asked.name.clone() };
    let seen = s.world.grants().get_grant_request(as_brand(&s.hopp, get)).await.expect("its own");
    assert_eq!(seen.into_inner(), asked, "as on the first day");
    let list = v1::ListGrantRequestsRequest { parent: s.hopp.name.to_string(), ..Default::default() };
    let listed = s.world.grants().list_grant_requests(as_brand(&s.hopp, list)).await.expect("its own");
    assert_eq!(listed.into_inner().grant_requests, [asked]);
    let records = s.records().await;
    let record = records.iter().find(|record| record.kind() == Kind::RequestDeferred).expect("stands");
    assert!(record.source.is_empty() && record.recipient.is_empty(), "{record:?}");
}

#[tokio::test]
async fn the_sweeper_comes_back_when_the_budget_does() {
    let s = Setting::new().await;
    for (brand, through) in [(&s.skylark, &s.from), (&s.hopp, &s.to), (&s.skylark, &s.from)] {
        s.ask(brand, through).await;
    }
    let mut shown = Vec::new();
    for _ in 0..4 {
        sweeper::show(&s.world.broker).await.expect("a sweep");
        shown.push(s.told(s.her(), Kind::RequestShown).await);
        assert_eq!(sweeper::show(&s.world.broker).await.expect("a sweep"), 0, "it knows when");
        s.world.pass(DAY);
    }
    assert_eq!(shown, [1, 2, 3, 3]);
}

#[tokio::test]
async fn to_list_what_waits_shows_nothing_even_when_its_turn_has_come() {
    let s = Setting::new().await;
    let asked = s.ask(&s.skylark, &s.from).await;
    for (view, expected) in [(View::Waiting, vec![asked.name.clone()]), (View::NeverShown, Vec::new())] {
        let list = v1::ListGrantRequestsRequest {
            parent: s.mei.name.to_string(),
            view: view.into(),
            ..Default::default()
        };
        let listed = s.world.grants().list_grant_requests(as_person(&s.mei, list)).await.expect("a list");
        let names: Vec<_> = listed.into_inner().grant_requests.into_iter().map(|one| one.name).collect();
        assert_eq!(names, expected);
        assert_eq!(s.told(s.her(), Kind::RequestShown).await, 0, "{view:?}");
    }
    assert_eq!(s.list().await, [asked.name], "its turn had come");
    assert_eq!(s.told(s.her(), Kind::RequestShown).await, 1);
}

#[tokio::test]
async fn what_a_person_opens_herself_waits_for_nothing_and_spends_nothing() {
    let s = Setting::new().await;
    let first = s.ask(&s.skylark, &s.from).await;
    assert_eq!(s.list().await.len(), 1);
    let (second, third) = (s.ask(&s.hopp, &s.to).await, s.ask(&s.skylark, &s.from).await);
    assert_eq!(s.list().await.len(), 1);
    let opened = s.get(&second.name).await;
    assert!(opened.shown_time.is_some() && opened.state() == v1::grant_request::State::Requested);
    assert_eq!(s.get(&second.name).await, opened, "once");
    assert_eq!(s.told(s.her(), Kind::RequestShown).await, 2);
    assert_eq!(s.list().await, [first.name, second.name]);
    // It spent nothing: the third has its turn a day after the first.
    s.world.pass(DAY);
    assert_eq!(s.list().await.len(), 3);
    // An answer to what was never shown is an act of her own as well, and it is shown first.
    let fourth = s.ask(&s.hopp, &s.to).await;
    s.refuse(&fourth.name).await;
    let kinds = s.kinds(s.her()).await;
    assert_eq!(kinds[kinds.len() - 2..], [Kind::RequestShown, Kind::RequestRefused]);
    drop(third);
}

#[tokio::test]
async fn two_refusals_silence_a_partner_and_no_other() {
    let s = Setting::new().await;
    let waiting = s.ask(&s.hopp, &s.to).await;
    for _ in 0..2 {
        let asked = s.ask(&s.hopp, &s.to).await;
        s.refuse(&asked.name).await;
    }
    let status = s.try_ask(&s.hopp, &s.to).await.expect_err("it is silent");
    let wait = status.get_details_retry_info().and_then(|info| info.retry_delay).expect("it says how long");
    assert!(wait.as_secs() > 89 * 24 * 3_600 && wait.as_secs() <= 90 * 24 * 3_600, "{wait:?}");
    assert_eq!(refused::<()>(Err(status)), "ASK_COOLDOWN");
    // What it had asked before waits on, and is never shown.
    assert!(!s.list().await.contains(&waiting.name));
    s.world.pass(2 * DAY);
    assert!(!s.list().await.contains(&waiting.name));
    let others = s.ask(&s.skylark, &s.from).await;
    assert!(s.list().await.contains(&others.name));

    let end = |by: &super::Person, of: &super::Person| {
        let asked = v1::EndSilenceRequest { name: of.name.to_string(), partner: s.hopp.name.to_string() };
        as_person(by, asked)
    };
    let eve = s.world.person(60).await;
    assert_eq!(refused(s.world.customers().end_silence(end(&eve, &s.mei)).await), "CALLER_NOT_ALLOWED");
    let asked = v1::GetCustomerRequest { name: s.mei.name.to_string() };
    let silences =
        s.world.customers().get_customer(as_person(&s.mei, asked)).await.expect("she").into_inner();
    assert_eq!(silences.silences[0].partner, s.hopp.name.as_str());
    let heard = s.world.customers().end_silence(end(&s.mei, &s.mei)).await.expect("heard").into_inner();
    assert_eq!(heard.silences, []);
    s.ask(&s.hopp, &s.to).await;
    s.world.pass(DAY);
    assert!(s.list().await.contains(&waiting.name), "its turn comes again");
}

#[tokio::test]
async fn a_silence_does_not_tell_which_handles_are_one_persons() {
    let s = Setting::new().await;
    let other = s.world.link(&s.hopp, &s.mei, 33).await;
    // Refused once by each handle, Hopp is silent, and can't know by whom.
    for through in [&s.to, &other] {
        let asked = s.ask(&s.hopp, through).await;
        s.refuse(&asked.name).await;
    }
    let mut unshown = vec![s.ask(&s.hopp, &s.to).await, s.ask(&s.hopp, &other).await];
    // Refused twice by one of them, it is told so by that one.
    s.refuse(&unshown.remove(0).name).await;
    assert_eq!(refused(s.try_ask(&s.hopp, &s.to).await), "ASK_COOLDOWN");
    unshown.push(s.ask(&s.hopp, &other).await);
    assert!(unshown.iter().all(|asked| asked.state() == v1::grant_request::State::Requested));
    for _ in 0..3 {
        let listed = s.list().await;
        assert!(unshown.iter().all(|asked| !listed.contains(&asked.name)), "they wait, and are not shown");
        s.world.pass(DAY);
    }
    // Let ask again, it may by all of them.
    let heard = v1::EndSilenceRequest { name: s.mei.name.to_string(), partner: s.hopp.name.to_string() };
    s.world.customers().end_silence(as_person(&s.mei, heard)).await.expect("heard");
    s.ask(&s.hopp, &s.to).await;
    assert!(s.list().await.contains(&unshown[0].name), "its turn comes");
}

#[tokio::test]
async fn a_person_says_how_often_and_when_not() {
    let s = Setting::new().await;
    for _ in 0..4 {
        s.ask(&s.skylark, &s.from).await;
    }
    // The world's clock stands at 12:00 UTC, which is 17:30 in Kolkata.
    let quiet = |from: u32, until: u32| Asking {
        time_zone: "Asia/Kolkata".to_owned(),
        quiet_hours: Some(QuietHours { from_minute: from * 60, until_minute: until * 60 }),
        per_day: 2,
        per_week: 30,
        paused: false,
    };
    s.set(quiet(17, 19)).await.expect("set");
    assert_eq!(s.list().await.len(), 0);
    s.set(Asking { paused: true, ..quiet(19, 20) }).await.expect("set");
    assert_eq!(s.list().await.len(), 0);
    let set = s.set(quiet(19, 20)).await.expect("set");
    assert_eq!(set.asking, Some(quiet(19, 20)));
    sweeper::show(&s.world.broker).await.expect("a sweep");
    assert_eq!(s.told(s.her(), Kind::RequestShown).await, 2, "her own budget, and at once");
    assert_eq!(s.told(s.her(), Kind::AskingChanged).await, 3);
    s.set(quiet(19, 20)).await.expect("the same");
    assert_eq!(s.told(s.her(), Kind::AskingChanged).await, 3, "nothing changed");
    // A broken setting changes nothing and names its field.
    let refuses = async |asking: Asking, field: &str| {
        let status = s.set(asking).await.expect_err(field);
        let info = status.get_details_error_info().expect("a reason");
        assert_eq!((info.reason.as_str(), info.metadata["field"].as_str()), ("FIELD_INVALID", field));
    };
    refuses(Asking { per_day: 11, ..quiet(1, 2) }, "asking.per_day").await;
    refuses(Asking { per_week: 31, ..quiet(1, 2) }, "asking.per_week").await;
    refuses(Asking { time_zone: "Mars/Base".to_owned(), ..quiet(1, 2) }, "asking.time_zone").await;
    refuses(quiet(24, 2), "asking.quiet_hours").await;
    refuses(quiet(2, 2), "asking.quiet_hours").await;
    let eve = s.world.person(60).await;
    let asked = v1::SetAskingRequest { name: s.mei.name.to_string(), asking: Some(quiet(1, 2)) };
    let answer = s.world.customers().set_asking(as_person(&eve, asked.clone())).await;
    assert_eq!(refused(answer), "CALLER_NOT_ALLOWED");
    assert_eq!(refused(s.world.customers().set_asking(as_brand(&s.hopp, asked)).await), "CALLER_NOT_ALLOWED");
}

#[tokio::test]
async fn what_was_never_shown_lapses_and_leaves_the_queue() {
    let s = Setting::new().await;
    let first = s.request().await;
    assert_eq!(s.list().await, from_ref(&first.name));
    s.world.pass(1);
    let second = s.request().await;
    s.world.pass(HOUR);
    sweeper::sweep(&s.world.broker).await.expect("a sweep");
    let third = s.ask(&s.hopp, &s.to).await;
    s.world.pass(DAY);
    sweeper::show(&s.world.broker).await.expect("a sweep");
    assert_eq!(s.list().await, [first.name, third.name]);
    let lapsed = s.get(&second.name).await;
    assert_eq!((lapsed.state(), lapsed.shown_time), (v1::grant_request::State::Lapsed, None));
    // Its end is nothing that she hears of, as it never was.
    assert_eq!(s.told(s.her(), Kind::RequestLapsed).await, 1, "the first one's");
    assert_eq!(s.told(Principal::Partner(s.skylark.name.clone()), Kind::RequestLapsed).await, 2);
}

#[tokio::test]
async fn who_asks_and_takes_it_back_again_and_again_fills_nobodys_list() {
    let s = Setting::new().await;
    let mut refused = None;
    for _ in 0..200 {
        let asked = match s.try_ask(&s.hopp, &s.to).await {
            Ok(asked) => asked,
            Err(status) => {
                refused = Some(status);
                break;
            }
        };
        let back = v1::CancelGrantRequestRequest { name: asked.name };
        s.world.grants().cancel_grant_request(as_brand(&s.hopp, back)).await.expect("taken back");
    }
    let refused = refused.expect("there is a limit");
    let wait = refused.get_details_retry_info().and_then(|info| info.retry_delay).expect("it says how long");
    assert!(wait.as_secs() > 23 * 3_600 && wait.as_secs() <= 24 * 3_600, "{wait:?}");
    let info = refused.get_details_error_info().expect("a reason");
    assert_eq!(
        (info.reason.as_str(), &*info.metadata["quota"]),
        ("QUOTA_EXCEEDED", "requests to one subject in a day")
    );
    assert_eq!(s.told(s.her(), Kind::RequestCancelled).await, 0);
    assert_eq!(s.count(Kind::RequestCancelled).await, 100);
    assert_eq!(s.list().await, Vec::<String>::new());
    s.ask(&s.skylark, &s.from).await;
    s.world.pass(DAY);
    s.ask(&s.hopp, &s.to).await;
}

#[tokio::test]
async fn a_suspended_partner_has_no_turn_until_it_is_resumed() {
    let s = Setting::new().await;
    let asked = s.ask(&s.skylark, &s.from).await;
    let partners = Partners(s.world.broker.clone());
    let name = s.skylark.name.to_string();
    let suspend = v1::SuspendPartnerRequest { name: name.clone(), reason: "an inquiry".to_owned() };
    partners.suspend_partner(as_operator(suspend)).await.expect("suspended");
    sweeper::show(&s.world.broker).await.expect("a sweep");
    assert_eq!(s.list().await.len(), 0);
    let others = s.ask(&s.hopp, &s.to).await;
    assert_eq!(s.list().await, from_ref(&others.name), "it keeps no other waiting");
    s.world.pass(DAY);
    sweeper::show(&s.world.broker).await.expect("a sweep");
    let resume = v1::ResumePartnerRequest { name };
    partners.resume_partner(as_operator(resume)).await.expect("resumed");
    s.world.pass(HOUR);
    sweeper::show(&s.world.broker).await.expect("a sweep");
    assert_eq!(s.told(s.her(), Kind::RequestShown).await, 2, "nobody had to ask for it");
    assert_eq!(s.list().await, [others.name, asked.name]);
}

#[tokio::test]
async fn a_resumed_partner_has_its_turn_though_a_silent_one_waits_for_months() {
    let s = Setting::new().await;
    s.ask(&s.hopp, &s.to).await;
    for _ in 0..2 {
        let asked = s.ask(&s.hopp, &s.to).await;
        s.refuse(&asked.name).await;
    }
    s.ask(&s.skylark, &s.from).await;
    let partners = Partners(s.world.broker.clone());
    let name = s.skylark.name.to_string();
    let suspend = v1::SuspendPartnerRequest { name: name.clone(), reason: "an inquiry".to_owned() };
    partners.suspend_partner(as_operator(suspend)).await.expect("suspended");
    sweeper::show(&s.world.broker).await.expect("a sweep");
    partners.resume_partner(as_operator(v1::ResumePartnerRequest { name })).await.expect("resumed");
    assert_eq!(s.told(s.her(), Kind::RequestShown).await, 2, "those that she opened");
    s.world.pass(HOUR);
    sweeper::show(&s.world.broker).await.expect("a sweep");
    assert_eq!(s.told(s.her(), Kind::RequestShown).await, 3, "nobody had to ask for it");
}
