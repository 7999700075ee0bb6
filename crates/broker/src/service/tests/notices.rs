//! Notices to many, and notices of an end.

use countersign_grants::{
    digest::Digest,
    id::{GrantName, Principal},
};
use countersign_proto::{
    log::v1::Kind,
    statement::v1::grant_change::Verb,
    v1::{self, event_service_server::EventService as _, transfer_service_server::TransferService as _},
};

use tonic_types::StatusExt as _;

use super::{
    Setting, change,
    world::{as_brand, called_by, refused},
};
use crate::{record::Happening, rows, service::transfer::TransferService, sweeper, work::Work};

/// More grants than one call looks at.
const MANY: usize = 1_100;

/// A unit expects no more rows than this.
const AT_A_TIME: usize = 64;

impl Setting {
    /// Copies of a grant under other names, so that there are [`MANY`]: what many approvals would come to.
    async fn copy(&self, of: &GrantName) {
        let broker = &self.world.broker;
        let read = broker.load(rows::grant(of)).await.expect("reads").expect("stands");
        let index = rows::grants_from(&self.from.subject);
        for chunk in (1..MANY).collect::<Vec<_>>().chunks(AT_A_TIME) {
            let mut work = Work::default();
            for n in chunk {
                let name = GrantName::of(Digest::of(&n.to_be_bytes()));
                work.create(&rows::grant(&name), &read.row).expect("fits");
                work.index(&index.entry(read.row.create_time_ms, name.digest()), name.as_str())
                    .expect("fits");
            }
            work.record(broker.draft(Happening { kind: Kind::CataloguePublished, ..Happening::default() }));
            broker.enter(work).await.expect("the log takes it").expect("no conflict");
        }
    }

    /// Every event of Hopp of this kind, from a cursor on.
    async fn hopp_hears(&self, cursor: u64, kind: Kind) -> Vec<v1::Event> {
        let hopp = Principal::Partner(self.hopp.name.clone());
        let (mut events, mut page_token) = (Vec::new(), String::new());
        loop {
            let asked = v1::ListEventsRequest {
                parent: hopp.to_string(),
                cursor,
                kinds: vec![kind.into()],
                page_size: 200,
                page_token,
            };
            let page = self.world.events().list_events(called_by(hopp.clone(), asked)).await.expect("a page");
            let page = page.into_inner();
            events.extend(page.events);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return events;
            }
        }
    }
}

#[tokio::test]
async fn a_notice_reaches_a_thousand_grants_and_waits_for_who_is_away() {
    let s = Setting::new().await;
    let grant = GrantName::parse(&s.approved().await.grants[0].name).expect("a name");
    s.copy(&grant).await;
    let cursor = s.records().await.len() as u64;
    let transfers = TransferService::new(s.world.broker.clone());
    let notify = async |resource: &str, page_token: &str| {
        let asked = v1::NotifyChangeRequest {
            subject: s.from.subject.to_string(),
            resource: resource.to_owned(),
            page_token: page_token.to_owned(),
        };
        transfers.notify_change(as_brand(&s.skylark, asked)).await.map(tonic::Response::into_inner)
    };
    let first = notify("trip", "").await.expect("taken");
    assert_eq!(s.count(Kind::ChangeNotice).await, 1_008);
    assert_eq!(refused(notify("ride", &first.next_page_token).await), "FIELD_INVALID");
    let last = notify("trip", &first.next_page_token).await.expect("taken");
    assert_eq!(last.next_page_token, "");
    // Hopp was away all the time: from its cursor on it meets each of them once.
    let heard = s.hopp_hears(cursor, Kind::ChangeNotice).await;
    assert_eq!(heard.len(), MANY);
    assert!(heard.windows(2).all(|pair| pair[0].index < pair[1].index));
    let names: std::collections::BTreeSet<_> = heard.iter().map(|event| event.grant.as_str()).collect();
    assert_eq!(names.len(), MANY, "one for each grant");
    assert_eq!(s.hopp_hears(heard[99].index + 1, Kind::ChangeNotice).await.len(), MANY - 100);
}

#[tokio::test]
async fn a_source_that_gives_notice_without_end_fills_no_list() {
    let s = Setting::new().await;
    s.approved().await;
    let transfers = TransferService::new(s.world.broker.clone());
    let notify = async |resource: &str| {
        let subject = s.from.subject.to_string();
        let asked = v1::NotifyChangeRequest { subject, resource: resource.to_owned(), ..Default::default() };
        transfers.notify_change(as_brand(&s.skylark, asked)).await
    };
    for _ in 0..60 {
        notify("trip").await.expect("taken");
    }
    s.world.pass(20_000);
    let status = notify("trip").await.expect_err("too many");
    let wait = status.get_details_retry_info().and_then(|info| info.retry_delay).expect("it says how long");
    assert_eq!(wait.as_secs(), 40);
    let info = status.get_details_error_info().expect("a reason");
    assert_eq!(
        (info.reason.as_str(), &*info.metadata["quota"]),
        ("QUOTA_EXCEEDED", "notices of one grant in a minute")
    );
    assert_eq!(s.count(Kind::ChangeNotice).await, 60);
    notify("ride").await.expect("no grant has that");
    s.world.pass(40_000);
    notify("trip").await.expect("taken");
    assert_eq!(s.count(Kind::ChangeNotice).await, 61);
}

#[tokio::test]
async fn an_end_is_told_once_to_all_who_are_concerned() {
    let s = Setting::new().await;
    // Of two hours; a tenth is twelve minutes.
    let grant = s.approved().await.grants.remove(0);
    s.world.pass(7_200_000 - 720_001);
    assert_eq!(sweeper::announce(&s.world.broker).await.expect("a sweep"), 0);
    s.world.pass(1);
    assert_eq!(sweeper::announce(&s.world.broker).await.expect("a sweep"), 1);
    assert_eq!(sweeper::announce(&s.world.broker).await.expect("a sweep"), 0, "once");
    for party in [
        Principal::Partner(s.skylark.name.clone()),
        Principal::Partner(s.hopp.name.clone()),
        Principal::Customer(s.mei.name.clone()),
    ] {
        let kinds = s.kinds(party).await;
        assert_eq!(kinds.iter().filter(|kind| **kind == Kind::GrantExpiring).count(), 1);
    }
    let heard = s.hopp_hears(0, Kind::GrantExpiring).await;
    assert_eq!((heard[0].grant.as_str(), heard[0].subject.as_str()), (&*grant.name, s.to.subject.as_str()));
}

#[tokio::test]
async fn no_end_is_told_of_what_was_stopped_or_is_over() {
    let s = Setting::new().await;
    let grant = s.approved().await.grants.remove(0);
    let terms = Digest::of(&grant.terms.as_ref().expect("terms").payload);
    let stop = change(&s, terms, terms, (1, Verb::Stop));
    s.world.change(&s.mei, &stop, (&s.from, &s.to)).await.expect("a stop");
    s.world.pass(7_200_000 - 1);
    assert_eq!(sweeper::announce(&s.world.broker).await.expect("a sweep"), 0);
    s.approve_with_tag(99).await;
    s.world.pass(7_200_000);
    assert_eq!(sweeper::announce(&s.world.broker).await.expect("a late sweep"), 0);
    assert_eq!(s.count(Kind::GrantExpiring).await, 0);
}
