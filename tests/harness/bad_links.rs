//! The linking ceremony under attack: forwarded and reused invitations, guessed codes, a grant on another's account.

use std::time::Duration;

use countersign_client::{Error, Misuse};
use countersign_grants::{
    envelope::Signed,
    id::RequestName,
    statement::{LinkAcceptance, Offer},
};
use countersign_proto::{
    statement::v1 as wire,
    v1::{self, approve_grant_request_request::ApprovedRow},
};
use prost::Message as _;
use tonic::Code;

use crate::world::{Granted, World, own_approval, own_connection, reason_of, sign_as};

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_is_used_once() {
    let world = World::start().await;
    let skylark = world.brand("skylark").await;
    let (mei, stranger) = (world.customer().await, world.customer().await);
    let invited = skylark.partner.invite("Mei").await.expect("invites");
    let accepted = mei.accept(&invited.package).await.expect("accepts");

    // Forwarded after use: the broker refuses, and the code that would open another acceptance opens nothing.
    let refused = stranger.accept(&invited.package).await.expect_err("used");
    assert_eq!(refused.reason(), Some("INVITATION_USED"));
    let first = skylark.partner.confirm(&invited.link, &accepted.code).await.expect("confirms");
    // Confirming again repeats the answer, and pins nothing new.
    let again = skylark.partner.confirm(&invited.link, &accepted.code).await.expect("repeats");
    assert_eq!(first.name(), again.name());
    assert_eq!(skylark.partner.book().links().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_has_three_tries() {
    let world = World::start().await;
    let skylark = world.brand("skylark").await;
    let mei = world.customer().await;
    let invited = skylark.partner.invite("Mei").await.expect("invites");
    let accepted = mei.accept(&invited.package).await.expect("accepts");
    let wrong = if accepted.code == "123456" { "654321" } else { "123456" };
    for left in [2, 1, 0] {
        match skylark.partner.confirm(&invited.link, wrong).await {
            Err(Error::Misuse(Misuse::WrongCode { tries_left })) => assert_eq!(tries_left, left),
            other => panic!("{other:?}"),
        }
    }
    // Burnt: the right code comes too late.
    skylark.partner.confirm(&invited.link, &accepted.code).await.expect_err("burnt");
    let links = skylark.partner.book().links();
    assert!(links.is_empty(), "nothing was pinned");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_accepts_a_forwarded_link_is_not_tied_without_the_code() {
    let world = World::start().await;
    let skylark = world.brand("skylark").await;
    let (mei, stranger) = (world.customer().await, world.customer().await);
    let invited = skylark.partner.invite("Mei").await.expect("invites");
    // The stranger is first. Mei's own try is refused, and the code that the stranger's app shows never reaches Mei's session.
    stranger.accept(&invited.package).await.expect("accepts");
    let refused = mei.accept(&invited.package).await.expect_err("used");
    assert_eq!(refused.reason(), Some("INVITATION_USED"));
    assert!(skylark.partner.book().links().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_acceptance_without_the_secret_opens_with_no_code() {
    // What a broker could do by itself: it knows the invitation, and not the secret.
    let world = World::start().await;
    let skylark = world.brand("skylark").await;
    let key = countersign_grants::key::SigningKey::from_secret(&[56; 32]);
    let name = countersign_grants::id::CustomerName::of(key.id());
    let principal = countersign_grants::id::Principal::Customer(name);
    let clock = std::sync::Arc::new(world.clock.clone());
    let forger =
        countersign_client::Connection::open(&world.trust, principal, &key, clock).expect("an address");
    let public_key = key.public().as_bytes().to_vec().into();
    let entered = v1::Customer { public_key, ..v1::Customer::default() };
    let create = v1::CreateCustomerRequest { customer: Some(entered) };
    forger.customers().create_customer(create).await.expect("enters");
    let invited = skylark.partner.invite("Mei").await.expect("invites");
    let own = countersign_grants::key::SigningKey::from_secret(&[55; 32]);
    let acceptance = wire::LinkAcceptance {
        broker: crate::world::ORIGIN.into(),
        invitation: bytes::Bytes::copy_from_slice(invited.link.digest().as_bytes()),
        link_key: own.public().as_bytes().to_vec().into(),
        code_mac: vec![1; 32].into(),
        time_ms: world.system().now().as_millis(),
    };
    let request = v1::AcceptLinkInvitationRequest {
        name: invited.link.to_string(),
        statement: Some(sign_as::<LinkAcceptance>(&own, &acceptance)),
    };
    forger.links().accept_link_invitation(request).await.expect("the broker can't tell");
    let refused = skylark.partner.confirm(&invited.link, "123456").await.expect_err("no code opens it");
    assert!(matches!(refused, Error::Misuse(Misuse::WrongCode { .. })), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_lapses() {
    let world = World::start().await;
    let skylark = world.brand("skylark").await;
    let mei = world.customer().await;
    let early = skylark.partner.invite("Mei").await.expect("invites");
    world.clock.advance(Duration::from_secs(601));
    mei.accept(&early.package).await.expect_err("lapsed by the customer's clock");

    let invited = skylark.partner.invite("Mei").await.expect("invites");
    let accepted = mei.accept(&invited.package).await.expect("accepts");
    world.clock.advance(Duration::from_secs(601));
    skylark.partner.confirm(&invited.link, &accepted.code).await.expect_err("lapsed by the partner's clock");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_can_not_be_hung_on_another_account() {
    let granted = Granted::start().await;
    // Another person's links, in the place of Mei's: the party commitments open to Mei's links alone.
    let other = granted.world.customer().await;
    granted.world.link(&other, &granted.skylark).await;
    granted.world.link(&other, &granted.hopp).await;
    let offer = granted.hopp.offer_trip(&granted.skylark, 3).await;
    let rows = [(offer, false)];
    let request = granted
        .skylark
        .partner
        .request(&granted.at_skylark, &rows, Duration::from_secs(600))
        .await
        .expect("asks");
    let row = read_only_row(&granted, &request).await;
    let connection = own_connection(&granted);
    let approve = async |approval: v1::ApproveGrantRequestRequest| {
        connection.grants().approve_grant_request(approval).await
    };
    let good = own_approval(&granted, &request, row.statement(), row.digest());
    let own = good.rows[0].clone();
    let with = |row| v1::ApproveGrantRequestRequest { rows: vec![row], ..good.clone() };
    let before = granted.world.records().await.len();

    let links: Vec<String> = other.book().links().iter().map(|link| link.name.to_string()).collect();
    let hung = ApprovedRow { source_link: links[0].clone(), ..own.clone() };
    assert_eq!(reason_of(approve(with(hung)).await).reason, "LINK_MISSING");

    // Mei's other account with nobody: the right links, and a salt that opens another commitment.
    let salted = ApprovedRow { source_salt: vec![9; 32].into(), ..own.clone() };
    let refused = reason_of(approve(with(salted)).await);
    assert_eq!((refused.code, refused.reason.as_str()), (Code::InvalidArgument, "STATEMENT_INVALID"));

    // Any changed term fails both signatures.
    let signed = own.source_terms.clone().expect("signed");
    let mut said = wire::GrantTerms::decode(signed.payload.clone()).expect("terms");
    said.uses += 1;
    let more = wire::Envelope { payload: said.encode_to_vec().into(), ..signed };
    let widened =
        ApprovedRow { source_terms: Some(more.clone()), recipient_terms: Some(more), ..own.clone() };
    let refused = reason_of(approve(with(widened)).await);
    assert_eq!((refused.code, refused.reason.as_str()), (Code::InvalidArgument, "STATEMENT_INVALID"));

    // The two envelopes must carry one payload.
    let swapped = ApprovedRow { recipient_terms: own.source_terms.clone(), ..own.clone() };
    let refused = reason_of(approve(with(swapped)).await);
    assert_eq!((refused.code, refused.reason.as_str()), (Code::InvalidArgument, "STATEMENT_INVALID"));

    let none = v1::ApproveGrantRequestRequest { rows: vec![], ..good.clone() };
    assert_eq!(reason_of(approve(none).await).code, Code::InvalidArgument);
    assert_eq!(granted.world.records().await.len(), before, "nothing changed");
    approve(good).await.expect("the unspoilt one stands");
}

async fn read_only_row(granted: &Granted, request: &RequestName) -> Signed<Offer> {
    let read = granted.mei.read_request(request).await.expect("verifies");
    read.rows()[0].offer.clone()
}
