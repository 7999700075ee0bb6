//! A broker that lies about a customer's devices, and about links that gave way.

use countersign_client::{
    Error, MemoryBook, PartnerEvent,
    customer::{AuthenticatorSecret, Customer, CustomerBook, Wallet, fetch_wallet},
};
use countersign_grants::{
    envelope,
    id::{LinkName, SubjectHandle},
    statement::{ChangeReason, CustomerChange, CustomerVerb},
};
use countersign_proto::{
    log::v1::Kind,
    statement::v1 as wire,
    v1::{Event, ListCustomerChangesResponse, ListLinksResponse, WrappedCopy},
};
use tonic::Status;
use tonic_types::{ErrorDetails, StatusExt as _};

use super::{Operator, blamed};
use crate::{
    journey::check_world,
    world::{MEI, bare_fetch, reason_of},
};

fn passkey(byte: u8) -> AuthenticatorSecret {
    AuthenticatorSecret::from_secret(&[byte; 32])
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_is_withheld_is_missed_by_who_saw_it() {
    let operator = Operator::start().await;
    operator.mei.add_authenticator(&passkey(1), "telephone").await.expect("recorded");
    operator.mei.add_authenticator(&passkey(2), "key").await.expect("recorded");
    operator.mei.remove_authenticator(passkey(1).id()).await.expect("recorded");
    operator.front.bend::<ListCustomerChangesResponse>("ListCustomerChanges", |list| {
        list.changes.pop();
    });
    let error = operator.mei.devices().await.expect_err("shortened");
    assert_eq!(blamed(&error), "the broker: authenticators: sequence");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_of_the_brokers_own_is_no_authenticator() {
    let operator = Operator::start().await;
    operator.mei.add_authenticator(&passkey(1), "telephone").await.expect("recorded");
    let origin = operator.world.trust.origin.to_string();
    let customer = operator.mei.name().to_string();
    operator.front.bend::<ListCustomerChangesResponse>("ListCustomerChanges", move |list| {
        let message = wire::CustomerChange {
            broker: origin.clone(),
            customer: customer.clone(),
            sequence: 2,
            verb: CustomerVerb::AddAuthenticator.into(),
            previous: envelope::digest(&list.changes[0]).into(),
            authenticator: passkey(66).id().into(),
            wrapped: vec![6; 32].into(),
            label_commitment: vec![6; 32].into(),
            time_ms: 1,
        };
        list.changes.push(envelope::sign::<CustomerChange>(&message, &[&Operator::own_key()]));
    });
    let error = operator.mei.devices().await.expect_err("not hers");
    assert_eq!(blamed(&error), "the broker: authenticators: key");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_device_takes_no_other_secret_than_the_customers() {
    let operator = Operator::start().await;
    operator.mei.add_authenticator(&passkey(1), "telephone").await.expect("recorded");
    let (trust, system) = (&operator.world.trust, operator.world.system());
    let opens = async || match fetch_wallet(trust, &passkey(1), &system).await {
        Ok(wallet) => wallet.customer().to_string(),
        Err(error) => blamed(&error),
    };
    assert_eq!(opens().await, operator.mei.name().as_str());
    operator.front.bend::<WrappedCopy>("GetWrappedCopy", |copy| {
        let mut bytes = copy.wrapped.to_vec();
        bytes[20] ^= 1;
        copy.wrapped = bytes.into();
    });
    assert_eq!(opens().await, "the broker: wrapped_copy: opens");
    operator.front.bend::<WrappedCopy>("GetWrappedCopy", |copy| copy.customer.push('x'));
    assert_eq!(opens().await, "the broker: wrapped_copy: customer");
    // The copy is hers, and the chain that she signed does not know it: it was removed, and is handed out all the same.
    operator.front.be_honest("GetWrappedCopy");
    operator.front.bend::<ListCustomerChangesResponse>("ListCustomerChanges", |list| list.changes.clear());
    assert_eq!(opens().await, "the broker: wrapped_copy: authenticator");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_device_takes_over_no_link_that_the_customer_did_not_accept() {
    let operator = Operator::start().await;
    operator.front.bend::<ListLinksResponse>("ListLinks", |list| {
        let acceptance = list.links[0].acceptance.clone();
        list.links[1].acceptance = acceptance;
    });
    let (trust, book) = (operator.world.trust.clone(), CustomerBook::in_memory());
    let new = Customer::open(trust, Wallet::from_secret(&MEI), book, operator.world.system()).expect("opens");
    let error = new.links().await.expect_err("the other link's acceptance");
    assert_eq!(blamed(&error), "the broker: acceptance: key");
}

/// A new wallet in the place of the one that this handle stands for, up to the code that the partner confirms with.
async fn invited_anew(operator: &Operator, subject: &SubjectHandle) -> (LinkName, String) {
    let mei = operator.world.customer().await;
    let invited = operator.skylark.partner.invite_anew(subject, "Mei, gold card").await.expect("invites");
    let accepted = mei.accept(&invited.package).await.expect("accepts");
    (invited.link, accepted.code)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_of_which_the_source_has_not_heard_ends_with_its_link_as_well() {
    let operator = Operator::start().await;
    let skylark = operator.skylark.name().to_string();
    operator
        .front
        .tell(move |caller, event: &Event| caller != skylark || event.kind() != Kind::GrantApproved);
    let unheard = operator.one_more().await;
    assert!(operator.skylark.partner.book().grant(&unheard).is_none());
    let (link, code) = invited_anew(&operator, &operator.at_skylark).await;
    operator.skylark.partner.confirm(&link, &code).await.expect("revokes what it is told of, and confirms");
    let row = operator.skylark.partner.book().grant(&unheard).expect("entered");
    assert!(row.stopped_here().is_some(), "from the start");
    assert_eq!(row.revoked().map(|(_, why)| why), Some(ChangeReason::LinkReplaced));
    operator
        .hopp
        .hears(|event| match event {
            PartnerEvent::GrantRevoked { grant, .. } => (*grant.name() == unheard).then_some(()),
            _ => None,
        })
        .await;
    assert_eq!(operator.world.count(Kind::LinkReplaced).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_revokes_nothing_of_another_link_whatever_the_broker_names() {
    let operator = Operator::start().await;
    let accomplice = operator.accomplice().await;
    let (link, code) = invited_anew(&operator, &accomplice.at_skylark).await;
    let grant = operator.grant.to_string();
    operator.front.lie::<(), _>("ConfirmLink", move |_| {
        let metadata = [("grant".to_owned(), grant.clone()), ("link".to_owned(), "links/none".to_owned())];
        let details = ErrorDetails::with_error_info("GRANTS_STAND", "countersign", metadata);
        async { Err(Status::with_error_details(tonic::Code::FailedPrecondition, "one stands", details)) }
    });
    let error = operator.skylark.partner.confirm(&link, &code).await.expect_err("not of that link");
    assert_eq!(blamed(&error), "the broker: link: grant");
    operator.fetch().await.expect("flows as before");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_serves_nothing_on_a_link_that_gave_way_whatever_the_broker_says() {
    let operator = Operator::start().await;
    let fetch = operator.signed(&bare_fetch(&operator).await);
    let papers = operator.papers(&operator.grant, &fetch).await;
    let mei = operator.world.customer().await;
    let invited =
        operator.skylark.partner.invite_anew(&operator.at_skylark, "Mei, gold card").await.expect("invites");
    let accepted = mei.accept(&invited.package).await.expect("accepts");
    // The broker takes no revocation and no confirmation.
    operator.front.refuse("RevokeGrant");
    let error = operator.skylark.partner.confirm(&invited.link, &accepted.code).await.expect_err("kept back");
    assert!(error.is_transient(), "{error}");
    assert_eq!(reason_of(operator.provide(papers).await).reason, "GRANT_ENDED");
    assert_eq!(operator.skylark.shelf.asked(), 0);
    // Once it does, the same call goes on where it ended.
    operator.front.be_honest("RevokeGrant");
    operator.skylark.partner.confirm(&invited.link, &accepted.code).await.expect("confirms");
    assert!(matches!(operator.fetch().await, Err(Error::Refused(_) | Error::Misuse(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn linking_anew_goes_on_after_a_restart_wherever_it_was_cut_off() {
    let operator = Operator::start().await;
    let invited =
        operator.skylark.partner.invite_anew(&operator.at_skylark, "Mei, gold card").await.expect("invites");
    // Mei's new wallet: the acceptance does not get through, and the app starts again.
    let storage = MemoryBook::new();
    let app = || {
        let (trust, book) =
            (operator.world.trust.clone(), CustomerBook::open(storage.clone()).expect("opens"));
        Customer::open(trust, Wallet::from_secret(&[43; 32]), book, operator.world.system()).expect("opens")
    };
    let mei = app();
    mei.register().await.expect("registers");
    operator.front.refuse("AcceptLinkInvitation");
    assert!(mei.accept(&invited.package).await.expect_err("kept back").is_transient());
    let drawn = mei.book().link(&invited.link).expect("in the book").code;
    drop(mei);
    operator.front.be_honest("AcceptLinkInvitation");
    let mei = app();
    let accepted = mei.accept(&invited.package).await.expect("the same acceptance again");
    assert_eq!(accepted.code, drawn);

    // The brand: before the revocation has left, and again before the confirmation has. Its book knows from the first on.
    for (cut, revoked) in [("RevokeGrant", 0), ("ConfirmLink", 1)] {
        let skylark = operator.skylark.restarted(&operator.world);
        operator.front.refuse(cut);
        let error = skylark.confirm(&invited.link, &accepted.code).await.expect_err("kept back");
        assert!(error.is_transient(), "{cut}: {error}");
        operator.front.be_honest(cut);
        let row = operator.skylark.restarted(&operator.world).book().grant(&operator.grant).expect("stands");
        assert!(!row.stands(operator.world.system().now()), "{cut}");
        assert_eq!(operator.world.count(Kind::GrantRevoked).await, revoked, "{cut}");
        assert_eq!(operator.world.count(Kind::LinkReplaced).await, 0, "{cut}");
    }
    let skylark = operator.skylark.restarted(&operator.world);
    skylark.confirm(&invited.link, &accepted.code).await.expect("confirms");
    skylark.confirm(&invited.link, &accepted.code).await.expect("once more, the same");
    drop(mei);
    let links = app().links().await.expect("lists");
    assert!(links.len() == 1 && links[0].confirmed);
    let records = operator.world.records().await;
    let count = |kind: Kind| records.iter().filter(|record| record.kind() == kind).count();
    assert_eq!((count(Kind::GrantRevoked), count(Kind::LinkReplaced)), (1, 1));
    check_world(&records);
}
