//! Requests that were never put before the customer: hers to take along, and asked no sooner by it.

use std::collections::BTreeMap;

use countersign_client::customer::Wallet;
use countersign_proto::{
    log::v1::Kind,
    v1::{Asking, ListGrantRequestsRequest, list_grant_requests_request::View},
};

use super::read;
use crate::{
    asking::LIFETIME,
    journey::check_world,
    world::{Granted, connection_of, own_connection, reason_of},
};

/// The root secret of somebody else.
const KAI: [u8; 32] = [7; 32];

/// Of each request of an export whether it was shown, and where it stands.
async fn requests(granted: &Granted) -> BTreeMap<String, (bool, String)> {
    let folder = tempfile::tempdir().expect("a folder");
    let exported = granted.mei.export(folder.path()).await.expect("exports");
    let requests = read(folder.path(), "requests.json");
    let requests = requests.as_array().expect("a list");
    assert_eq!(exported.requests, requests.len());
    let one = |element: &serde_json::Value| {
        let text = |member: &str| element["request"][member].as_str().expect("text").to_owned();
        assert!(element["request"]["statement"]["said"]["rows"].is_array(), "what was asked is there");
        let shown = element["shown"].as_bool().expect("said");
        assert_eq!(element["request"].get("shown_time").is_some(), shown);
        (text("name"), (shown, text("state")))
    };
    let all: BTreeMap<_, _> = requests.iter().map(one).collect();
    assert_eq!(all.len(), requests.len(), "each once");
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_waits_is_taken_along_and_not_asked_by_it() {
    let granted = Granted::start().await;
    granted.mei.set_asking(Asking { paused: true, ..Asking::default() }).await.expect("set");
    let waits = granted.asks(&granted.skylark).await.expect("asks").to_string();
    let taken_back = granted.asks(&granted.hopp).await.expect("asks");
    granted.hopp.partner.cancel_request(&taken_back).await.expect("takes it back");
    let shown = granted.world.count(Kind::RequestShown).await;
    let told = granted.mei.activity(0, &[]).await.expect("lists").len();

    let all = requests(&granted).await;
    let never = |state: &str| (false, format!("STATE_{state}"));
    assert_eq!(all.len(), 3);
    assert_eq!(all[&waits], never("REQUESTED"));
    assert_eq!(all[taken_back.as_str()], never("CANCELLED"));
    assert_eq!(all.values().filter(|(shown, _)| *shown).count(), 1);
    // Nothing was put before her by that, and nobody is told of it.
    assert_eq!(granted.mei.requests().await.expect("a list").len(), 1);
    assert_eq!(granted.world.count(Kind::RequestShown).await, shown);
    assert_eq!(granted.mei.activity(0, &[]).await.expect("lists").len(), told);
    // It lapses as ever.
    granted.world.clock.advance(LIFETIME);
    assert_eq!(requests(&granted).await[&waits], never("LAPSED"));
    check_world(&granted.world.records().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_whose_turn_came_is_there_once_and_shown() {
    let granted = Granted::start().await;
    granted.mei.set_asking(Asking { paused: true, ..Asking::default() }).await.expect("set");
    let first = granted.asks(&granted.hopp).await.expect("asks").to_string();
    let second = granted.asks(&granted.skylark).await.expect("asks").to_string();
    granted.mei.set_asking(Asking { per_day: 1, ..Asking::default() }).await.expect("set");
    let all = requests(&granted).await;
    assert_eq!(all.len(), 3);
    let shown = [&first, &second].map(|name| all[name].0);
    assert!(shown.iter().filter(|shown| **shown).count() <= 1, "one a day: {all:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn whether_a_request_waits_is_for_its_customer_alone() {
    let granted = Granted::start().await;
    granted.mei.set_asking(Asking { paused: true, ..Asking::default() }).await.expect("set");
    granted.asks(&granted.hopp).await.expect("asks");
    let asked = |parent: &str, view: View| ListGrantRequestsRequest {
        parent: parent.to_owned(),
        view: view.into(),
        ..Default::default()
    };
    let kai = granted.world.customer_with(Wallet::from_secret(&KAI)).await;
    let calls = connection_of(&granted, &Wallet::from_secret(&KAI));
    for view in [View::Waiting, View::NeverShown] {
        for brand in [&granted.hopp, &granted.skylark] {
            let mut grants = brand.partner.connection().grants();
            let own = grants.list_grant_requests(asked(brand.name().as_str(), view)).await;
            let said = reason_of(own);
            assert_eq!((said.reason.as_str(), said.check.as_str()), ("FIELD_INVALID", "view"));
            let hers = grants.list_grant_requests(asked(granted.mei.name().as_str(), view)).await;
            assert_eq!(reason_of(hers).reason, "CALLER_NOT_ALLOWED");
        }
        let mut grants = calls.grants();
        let hers = grants.list_grant_requests(asked(granted.mei.name().as_str(), view)).await;
        assert_eq!(reason_of(hers).reason, "CALLER_NOT_ALLOWED");
        let own = grants.list_grant_requests(asked(kai.name().as_str(), view)).await.expect("lists");
        assert_eq!(own.into_inner().grant_requests, []);
    }
    let mut none = asked(granted.mei.name().as_str(), View::Waiting);
    none.view = 9;
    let said = own_connection(&granted).grants().list_grant_requests(none).await;
    assert_eq!(reason_of(said).check, "view");
}
