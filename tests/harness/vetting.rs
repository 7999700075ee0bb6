//! How a partner comes in, and how one is put out.

use countersign_client::Connection;
use countersign_grants::{
    id::{PartnerName, Principal},
    key::SigningKey,
    time::Clock as _,
};
use countersign_proto::{log::v1::Kind, v1};
use tonic::Code;

use crate::{
    journey::check_world,
    world::{World, certify_as, reason_of},
};

/// A partner that two operators have to do with, and its own connection.
async fn entered(world: &World, contact: &str) -> (PartnerName, Connection) {
    let name = PartnerName::of_id("chirp").expect("an id");
    let (identity, working) = (SigningKey::from_secret(&[91; 32]), SigningKey::from_secret(&[92; 32]));
    let partner = v1::Partner {
        display_name: "Chirp".to_owned(),
        identity_key: identity.public().as_bytes().to_vec().into(),
        contact_phone: contact.to_owned(),
        ..v1::Partner::default()
    };
    let create = v1::CreatePartnerRequest {
        partner_id: name.id().to_owned(),
        partner: Some(partner),
        ..v1::CreatePartnerRequest::default()
    };
    let created = world.operator.partners().create_partner(create).await.expect("enters").into_inner();
    assert_eq!(created.state(), v1::partner::State::Applied);
    let statement = Some(certify_as(&identity, &name, &working, 1, world.clock.now().as_millis()));
    let publish = v1::PublishPartnerKeyRequest { parent: name.to_string(), statement };
    world.operator.partners().publish_partner_key(publish).await.expect("publishes");
    let clock = std::sync::Arc::new(world.clock.clone());
    let own = Connection::open(&world.trust, Principal::Partner(name.clone()), &working, clock);
    (name, own.expect("an address"))
}

async fn vet(operator: &Connection, name: &PartnerName) -> Result<v1::Partner, tonic::Status> {
    let asked = v1::VetPartnerRequest { name: name.to_string() };
    operator.partners().vet_partner(asked).await.map(tonic::Response::into_inner)
}

async fn approve(operator: &Connection, name: &PartnerName) -> Result<v1::Partner, tonic::Status> {
    let asked = v1::ApprovePartnerRequest { name: name.to_string() };
    operator.partners().approve_partner(asked).await.map(tonic::Response::into_inner)
}

/// Whether the partner may do none of what partners do, and may look at what leads it there.
async fn takes_no_part(own: &Connection, name: &PartnerName) {
    let denied = |said: crate::world::Said| {
        assert_eq!((said.code, said.reason.as_str()), (Code::PermissionDenied, "PARTNER_NOT_LIVE"));
    };
    denied(reason_of(own.links().create_link_invitation(v1::CreateLinkInvitationRequest::default()).await));
    denied(reason_of(own.links().confirm_link(v1::ConfirmLinkRequest::default()).await));
    denied(reason_of(own.offers().publish_offer(v1::PublishOfferRequest::default()).await));
    denied(reason_of(own.grants().create_grant_request(v1::CreateGrantRequestRequest::default()).await));
    denied(reason_of(own.grants().list_grants(v1::ListGrantsRequest::default()).await));
    denied(reason_of(own.transfers().fetch_data(v1::FetchDataRequest::default()).await));
    denied(reason_of(own.transfers().notify_change(v1::NotifyChangeRequest::default()).await));
    denied(reason_of(own.transfers().claim_receipt(v1::ClaimReceiptRequest::default()).await));
    own.partners()
        .get_partner(v1::GetPartnerRequest { name: name.to_string() })
        .await
        .expect("its own entry");
    let events = v1::ListEventsRequest { parent: name.to_string(), ..Default::default() };
    own.events().list_events(events).await.expect("its own events");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_operators_let_a_partner_in_and_until_then_it_takes_no_part() {
    let world = World::start().await;
    let (name, own) = entered(&world, "+1 212 555 0100").await;
    takes_no_part(&own, &name).await;
    let early = reason_of(approve(&world.second_operator, &name).await);
    assert_eq!(early.reason, "WRONG_STATE", "nobody has vetted it");
    vet(&world.operator, &name).await.expect("vets");
    takes_no_part(&own, &name).await;
    let alone = reason_of(approve(&world.operator, &name).await);
    assert_eq!((alone.code, alone.reason.as_str()), (Code::PermissionDenied, "CALLER_NOT_ALLOWED"));
    assert_eq!(reason_of(vet(&world.second_operator, &name).await).reason, "WRONG_STATE");
    assert_eq!(reason_of(approve(&own, &name).await).reason, "CALLER_NOT_ALLOWED", "it is no operator");

    // What was vetted and changes is to be vetted again.
    let moved = v1::SetSourceEndpointRequest {
        name: name.to_string(),
        source_endpoint: "http://127.0.0.1:7001".to_owned(),
    };
    let moved = world.operator.partners().set_source_endpoint(moved).await.expect("sets").into_inner();
    assert_eq!(moved.state(), v1::partner::State::Applied);
    assert_eq!(reason_of(approve(&world.second_operator, &name).await).reason, "WRONG_STATE");
    vet(&world.second_operator, &name).await.expect("vets");
    let live = approve(&world.operator, &name).await.expect("another approves");
    assert_eq!(live.state(), v1::partner::State::Active);
    let said = reason_of(own.transfers().fetch_data(v1::FetchDataRequest::default()).await);
    assert_eq!(said.reason, "FIELD_INVALID", "it is judged by what it says from now on");
    for (kind, count) in [(Kind::PartnerCreated, 1), (Kind::PartnerVetted, 2), (Kind::PartnerApproved, 1)] {
        assert_eq!(world.count(kind).await, count);
    }
    check_world(&world.records().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partner_whose_people_nobody_can_call_is_not_let_in() {
    let world = World::start().await;
    let (name, _) = entered(&world, "").await;
    let said = reason_of(vet(&world.operator, &name).await);
    assert_eq!((said.code, said.reason.as_str()), (Code::FailedPrecondition, "CONTACT_MISSING"));
    let contact = |phone: &str| v1::SetPartnerContactRequest {
        name: name.to_string(),
        contact_phone: phone.to_owned(),
    };
    let bad = world.operator.partners().set_partner_contact(contact("call us")).await;
    assert_eq!(reason_of(bad).reason, "FIELD_INVALID");
    world.operator.partners().set_partner_contact(contact("+1 212 555 0199")).await.expect("sets");
    vet(&world.operator, &name).await.expect("vets");
    let live = approve(&world.second_operator, &name).await.expect("approves");
    assert_eq!((live.state(), live.contact_phone.as_str()), (v1::partner::State::Active, "+1 212 555 0199"));
}
