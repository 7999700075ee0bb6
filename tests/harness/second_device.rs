//! A second device with the same wallet: it learns links and grants of the first, and stops them as well.

use std::time::Duration;

use countersign_client::{
    PartnerEvent,
    customer::{Acknowledged, Choice, Closing, Customer, CustomerBook, Wallet},
};
use countersign_grants::id::{GrantName, SubjectHandle};
use countersign_proto::v1::grant::State;

use crate::world::{Brand, Granted, MEI, PATIENCE};

/// Another device with Mei's wallet, and an empty book of its own.
fn device(granted: &Granted) -> Customer {
    let wallet = Wallet::from_secret(&MEI);
    Customer::open(granted.world.trust.clone(), wallet, CustomerBook::in_memory(), granted.world.system())
        .expect("opens")
}

/// Approves Skylark's trip for a recipient, with whatever links this device takes.
async fn approve(granted: &Granted, recipient: &Brand, customer: &Customer) -> GrantName {
    let offer = recipient.offer_trip(&granted.skylark, 12).await;
    let (rows, lifetime) = ([(offer, false)], Duration::from_secs(3600));
    let request = granted.skylark.partner.request(&granted.at_skylark, &rows, lifetime).await;
    let read = customer.read_request(&request.expect("requests")).await.expect("verifies");
    customer.approve(&read, &Choice::required("en")).await.expect("approves")[0].grant.clone()
}

/// Links Mei with one more account at a brand, or anew with the same.
async fn link(customer: &Customer, brand: &Brand, anew: Option<&SubjectHandle>) -> SubjectHandle {
    let invited = match anew {
        Some(subject) => brand.partner.invite_anew(subject, "Mei, gold card").await.expect("invites"),
        None => brand.partner.invite("Mei, silver card").await.expect("invites"),
    };
    let accepted = customer.accept(&invited.package).await.expect("accepts");
    brand.partner.confirm(&invited.link, &accepted.code).await.expect("confirms");
    invited.subject
}

async fn stops_all(customer: &Customer, expected: &[&GrantName]) {
    let stopped = customer.stop_all(true).await;
    assert!(stopped.list.is_none(), "{stopped:?}");
    let mut names: Vec<_> = stopped.each.iter().map(|(name, _)| name).collect();
    names.sort();
    let mut expected = expected.to_vec();
    expected.sort();
    assert_eq!(names, expected);
    for (name, came) in &stopped.each {
        let recorded = came.as_ref().unwrap_or_else(|error| panic!("{name}: {error}"));
        let word = recorded.wait_until_acknowledged(PATIENCE).await.expect("answers");
        assert!(matches!(word, Acknowledged::BySource { .. }), "{word:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_stops_what_hangs_on_a_link_that_it_has_not_learned() {
    let granted = Granted::start().await;
    let second = device(&granted);
    assert_eq!(second.grants().await.expect("lists").len(), 1);
    // The first links and approves on; the second has only ever seen the older links.
    let chirp = granted.world.brand("chirp").await;
    link(&granted.mei, &chirp, None).await;
    let with_chirp = approve(&granted, &chirp, &granted.mei).await;
    stops_all(&second, &[&granted.grant, &with_chirp]).await;
    // One that knows nothing at all finds all stopped.
    stops_all(&device(&granted), &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_two_accounts_at_a_recipient_it_signs_with_the_key_of_the_right_one() {
    let granted = Granted::start().await;
    // The newest link is not the one on which the grant hangs.
    link(&granted.mei, &granted.hopp, None).await;
    let second = device(&granted);
    let seen = second.grants().await.expect("lists");
    assert_eq!(seen[0].state, Some(State::Active));
    let recorded = second.pause(&granted.grant).await.expect("both keys are right");
    recorded.wait_until_acknowledged(PATIENCE).await.expect("answers");
    granted.hopp.hears(|event| matches!(event, PartnerEvent::Paused { .. }).then_some(())).await;
    let closing = second.close_account(PATIENCE, false).await.expect("answers");
    assert!(matches!(closing, Closing::Closed { .. }), "{closing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_linking_anew_with_the_same_wallet_it_tells_the_links_apart() {
    let granted = Granted::start().await;
    link(&granted.mei, &granted.hopp, Some(&granted.at_hopp)).await;
    let newer = approve(&granted, &granted.hopp, &granted.mei).await;
    let second = device(&granted);
    let seen = second.grants().await.expect("lists");
    let state =
        |name: &GrantName| seen.iter().find(|view| view.row.name == *name).and_then(|view| view.state);
    let states = (state(&granted.grant), state(&newer));
    assert_eq!(states, (Some(State::Revoked), Some(State::Active)), "what hung on the old link has ended");
    // What has ended is ordered to be deleted too, by the key of the link on which it hung.
    stops_all(&second, &[&granted.grant, &newer]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_gave_way_to_another_wallet_takes_no_new_grant() {
    let granted = Granted::start().await;
    let silver = link(&granted.mei, &granted.hopp, None).await;
    granted.mei.links().await.expect("lists");
    let newest = granted.mei.book().link_with(granted.hopp.name()).expect("linked");
    assert_eq!(newest.subject, silver);
    // The newer account is linked anew with another wallet.
    link(&granted.world.customer().await, &granted.hopp, Some(&silver)).await;
    let read = approve(&granted, &granted.hopp, &granted.mei).await;
    granted.hopp.until_in_book(&read).await;
    let links = granted.mei.links().await.expect("lists");
    let ended: Vec<_> = links.iter().filter(|link| link.ended).map(|link| &link.subject).collect();
    assert_eq!(ended, [&silver]);
    let takes = granted.mei.book().link_with(granted.hopp.name()).expect("the older one stands");
    assert_eq!(takes.subject, granted.at_hopp);
}
