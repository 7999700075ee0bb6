//! Requests that nobody made, and requests that say other than who made them.

use std::time::Duration;

use countersign_client::PartnerEvent;
use countersign_grants::statement::{GrantRequest as Asked, Offer};
use countersign_proto::v1::{GrantRequest, ListGrantRequestsResponse};

use super::{Operator, blamed};

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_nobody_made_is_not_shown() {
    let operator = Operator::start().await;
    let (skylark, mei) = (&operator.skylark, &operator.mei);
    let offer = operator.hopp.offer_trip(skylark, 5).await;
    let rows = [(offer, false)];
    let real =
        skylark.partner.request(&operator.at_skylark, &rows, Duration::from_secs(600)).await.expect("asks");
    let says = |bend: fn(&mut GrantRequest)| operator.front.bend("GetGrantRequest", bend);
    let fails = async |expected: &str| {
        assert_eq!(blamed(&mei.read_request(&real).await.expect_err("refused")), expected);
    };
    // Signed by the operator, as Skylark; then with a certificate for that key.
    says(|request| request.statement = Some(Operator::forged::<Asked>(request.statement.as_ref(), |_| {})));
    fails("partners/skylark: request: key").await;
    let certificate = operator.own_certificate(skylark.name());
    operator.front.bend::<GrantRequest>("GetGrantRequest", move |request| {
        request.statement = Some(Operator::forged::<Asked>(request.statement.as_ref(), |_| {}));
        request.partner_key = Some(certificate.clone());
    });
    fails("partners/skylark: request: partner_key").await;
    // Bent: it waits longer than Skylark said.
    says(|request| {
        request.statement =
            Some(Operator::bent::<Asked>(request.statement.as_ref(), |said| said.expire_time_ms += 1));
    });
    fails("partners/skylark: request: signature").await;
    // For a handle that is none of Mei's.
    says(|request| {
        let handle = "partners/skylark/subjects/00000000000000000000000000000000".to_owned();
        request.statement =
            Some(Operator::bent::<Asked>(request.statement.as_ref(), |said| said.subject = handle));
    });
    fails("the broker: request: subject").await;
    says(|request| request.offers.clear());
    fails("the broker: request: offers").await;
    // Another offer than the one that was named, be it signed by its recipient.
    let hopp = countersign_grants::key::SigningKey::from_secret(&operator.hopp.working.to_secret());
    operator.front.bend::<GrantRequest>("GetGrantRequest", move |request| {
        let offer = &mut request.offers[0].statement;
        *offer = Some(Operator::signed_by::<Offer>(&hopp, offer.as_ref(), |said| said.uses = 9));
    });
    fails("the broker: request: offers").await;

    // Another request of the same partner in its place; and one that is listed and does not exist.
    let other =
        skylark.partner.request(&operator.at_skylark, &rows, Duration::from_secs(600)).await.expect("asks");
    operator.front.be_honest("GetGrantRequest");
    mei.read_request(&other).await.expect("verifies");
    let statement = {
        let connection = crate::world::own_connection(&operator);
        let asked = countersign_proto::v1::GetGrantRequestRequest { name: other.to_string() };
        connection.grants().get_grant_request(asked).await.expect("answers").into_inner()
    };
    operator.front.bend::<GrantRequest>("GetGrantRequest", move |request| *request = statement.clone());
    fails("the broker: request: name").await;
    operator.front.be_honest("GetGrantRequest");
    operator.front.bend::<ListGrantRequestsResponse>("ListGrantRequests", |list| {
        let made_up = format!("grantRequests/{}", "ab".repeat(32));
        list.grant_requests[0].name = made_up;
    });
    let listed = mei.requests().await.expect("a list is for names and a badge");
    let error = mei.read_request(&listed[0].name).await.expect_err("there is none");
    assert_eq!(error.reason(), Some("RESOURCE_UNKNOWN"), "{error}");
    operator.front.be_honest("ListGrantRequests");
    mei.read_request(&real).await.expect("verifies when nobody bends it");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_is_of_the_request_that_the_customer_signed_for() {
    let operator = Operator::start().await;
    // The operator names another request with the approval than the terms do.
    operator.front.bend_events(|event| {
        if !event.grant_request.is_empty() && !event.grant.is_empty() {
            event.grant_request = format!("grantRequests/{}", "ab".repeat(32));
        }
    });
    let grant = operator.one_more().await;
    let named = operator
        .skylark
        .hears(|event| match event {
            PartnerEvent::Approved { grant: row, request } if row.name() == &grant => Some(request),
            _ => None,
        })
        .await;
    assert_eq!(named, None);
}
