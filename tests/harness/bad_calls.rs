//! Tokens and callers that may not, and partners that were suspended.

use std::{sync::Arc, time::Duration};

use countersign_client::Connection;
use countersign_grants::{
    id::{PartnerName, Principal},
    key::SigningKey,
    time::{Clock, Timestamp},
    token::{Issuer, broker_audience},
};
use countersign_proto::{
    log::v1::Kind,
    v1::{self, partner_service_client::PartnerServiceClient},
};
use tonic::{Code, Request, Status, transport::Endpoint};

use crate::world::{Granted, World, reason_of};

/// Asks for a partner with this text as the authorization, or with none.
async fn ask(world: &World, authorization: Option<&str>) -> Result<v1::Partner, Status> {
    let channel = Endpoint::from_shared(world.trust.address.clone()).expect("an address").connect_lazy();
    let mut request = Request::new(v1::GetPartnerRequest { name: "partners/skylark".to_owned() });
    if let Some(authorization) = authorization {
        request.metadata_mut().insert("authorization", authorization.parse().expect("ASCII"));
    }
    PartnerServiceClient::new(channel).get_partner(request).await.map(tonic::Response::into_inner)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_says_who_calls_whom_and_until_when() {
    let world = World::start().await;
    let skylark = world.brand("skylark").await;
    let audience = broker_audience(&world.trust.origin);
    let principal = || Principal::Partner(skylark.name().clone());
    let (good, now) = (Issuer::new(principal(), &skylark.working), world.clock.now());
    let at =
        |issuer: &Issuer, audience: &str, now: Timestamp| format!("Bearer {}", issuer.issue(audience, now));

    ask(&world, Some(&at(&good, &audience, now))).await.expect("a good token");

    let stranger = Issuer::new(principal(), &SigningKey::from_secret(&[8; 32]));
    let borrowed =
        Issuer::new(Principal::Partner(PartnerName::of_id("hopp").expect("an id")), &skylark.working);
    let own_audience = skylark.name().to_string();
    for (what, check, token) in [
        ("none", "form", None),
        ("no bearer", "form", Some("Basic eDp5".to_owned())),
        ("malformed", "form", Some("Bearer a.b.c".to_owned())),
        ("for a source", "aud", Some(at(&good, &own_audience, now))),
        ("for another broker", "aud", Some(at(&good, "brokers/other.test/log", now))),
        ("expired", "exp", Some(at(&good, &audience, now.minus(Duration::from_secs(301))))),
        ("from the future", "iat", Some(at(&good, &audience, now.plus(Duration::from_secs(60))))),
        ("an unknown key", "principal", Some(at(&stranger, &audience, now))),
        ("a key of somebody else", "principal", Some(at(&borrowed, &audience, now))),
    ] {
        let refused = reason_of(ask(&world, token.as_deref()).await);
        assert_eq!(
            (refused.code, refused.reason.as_str(), refused.check.as_str()),
            (Code::Unauthenticated, "TOKEN_INVALID", check),
            "{what}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_good_expires_though_it_is_remembered() {
    let world = World::start().await;
    let skylark = world.brand("skylark").await;
    let issuer = Issuer::new(Principal::Partner(skylark.name().clone()), &skylark.working);
    let token = format!("Bearer {}", issuer.issue(&broker_audience(&world.trust.origin), world.clock.now()));
    ask(&world, Some(&token)).await.expect("good");
    world.clock.advance(Duration::from_secs(300));
    assert_eq!(reason_of(ask(&world, Some(&token)).await).reason, "TOKEN_INVALID");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_verb_is_for_its_principal() {
    let granted = Granted::start().await;
    let hopp = granted.hopp.partner.connection();
    let allowed = |reason: crate::world::Said| {
        assert_eq!((reason.code, reason.reason.as_str()), (Code::PermissionDenied, "CALLER_NOT_ALLOWED"));
    };
    let name = granted.skylark.name().to_string();
    allowed(reason_of(hopp.partners().create_partner(v1::CreatePartnerRequest::default()).await));
    let suspend = v1::SuspendPartnerRequest { name: name.clone(), reason: "rival".into() };
    allowed(reason_of(hopp.partners().suspend_partner(suspend).await));
    allowed(reason_of(hopp.audit().list_log_entries(v1::ListLogEntriesRequest::default()).await));
    allowed(reason_of(hopp.audit().create_auditor(v1::CreateAuditorRequest::default()).await));
    allowed(reason_of(hopp.customers().get_customer(v1::GetCustomerRequest::default()).await));
    let events = v1::ListEventsRequest { parent: name.clone(), ..Default::default() };
    allowed(reason_of(hopp.events().list_events(events).await));
    let grants = v1::ListGrantsRequest { parent: granted.mei.name().to_string(), ..Default::default() };
    allowed(reason_of(hopp.grants().list_grants(grants).await));
    let operator = granted.world.operator.transfers().fetch_data(v1::FetchDataRequest::default()).await;
    allowed(reason_of(operator));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_partner_neither_sends_nor_receives_from_its_next_call() {
    let granted = Granted::start().await;
    granted.fetch().await.expect("flows");
    granted.world.suspend(&granted.skylark).await;
    let refused = granted.fetch().await.expect_err("the source is suspended");
    assert_eq!(refused.reason(), Some("SOURCE_UNAVAILABLE"));

    let resume = v1::ResumePartnerRequest { name: granted.skylark.name().to_string() };
    granted.world.operator.partners().resume_partner(resume).await.expect("resumes");
    granted.fetch().await.expect("flows again");

    granted.world.suspend(&granted.hopp).await;
    let refused = granted.fetch().await.expect_err("the recipient is suspended");
    assert_eq!(refused.reason(), Some("PARTNER_SUSPENDED"));
    assert_eq!(granted.world.count(Kind::Transfer).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_fields_are_named() {
    let world = World::start().await;
    let field = |answer: Result<tonic::Response<v1::Partner>, Status>, expected: &str| {
        let refused = reason_of(answer);
        assert_eq!((refused.code, refused.reason.as_str()), (Code::InvalidArgument, "FIELD_INVALID"));
        assert_eq!(refused.check, expected);
    };
    let mut partners = world.operator.partners();
    let partner = |identity: &[u8]| {
        Some(v1::Partner {
            display_name: "Skylark Air".into(),
            identity_key: identity.to_vec().into(),
            ..v1::Partner::default()
        })
    };
    let key = SigningKey::from_secret(&[5; 32]);
    let good = key.public().as_bytes();
    let create = |id: &str, partner| v1::CreatePartnerRequest {
        partner_id: id.into(),
        partner,
        ..v1::CreatePartnerRequest::default()
    };
    field(partners.create_partner(create("SKYLARK", partner(good))).await, "partner_id");
    field(partners.create_partner(create("skylark", None)).await, "partner");
    field(partners.create_partner(create("skylark", partner(&[0; 32]))).await, "partner.identity_key");
    field(partners.get_partner(v1::GetPartnerRequest { name: "skylark".into() }).await, "name");
    let list = v1::ListPartnersRequest { page_size: -1, ..Default::default() };
    assert_eq!(reason_of(partners.list_partners(list).await).check, "page_size");
    let list = v1::ListPartnersRequest { page_token: "made up".into(), ..Default::default() };
    assert_eq!(reason_of(partners.list_partners(list).await).check, "page_token");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newcomer_enters_its_own_key_alone() {
    let world = World::start().await;
    let (one, two) = (SigningKey::from_secret(&[21; 32]), SigningKey::from_secret(&[22; 32]));
    let name = countersign_grants::id::CustomerName::of(one.id());
    let clock: Arc<dyn Clock> = Arc::new(world.clock.clone());
    let connection = Connection::open(&world.trust, Principal::Customer(name), &one, clock).expect("opens");
    let customer = |key: &SigningKey| v1::CreateCustomerRequest {
        customer: Some(v1::Customer {
            public_key: key.public().as_bytes().to_vec().into(),
            ..v1::Customer::default()
        }),
    };
    let before = world.records().await.len();
    connection.customers().create_customer(customer(&two)).await.expect_err("another's key");
    assert_eq!(world.records().await.len(), before);
    let first = connection.customers().create_customer(customer(&one)).await.expect("entered").into_inner();
    let again = connection.customers().create_customer(customer(&one)).await.expect("the same").into_inner();
    assert_eq!(first, again);
    assert_eq!(world.records().await.len(), before + 1);
}
