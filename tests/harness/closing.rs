//! Closing the account: who may, what is left of the customer, and what is still owed.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use countersign_broker::{
    private::{self, DataKeyId},
    removed, rows, sweeper,
};
use countersign_client::{
    Partner, PartnerEvent,
    auditor::{Auditor, FolderLog, MemoryHeads, PrivatePart, verify},
    customer::{AuthenticatorSecret, Closing, Narrowing, Wallet},
};
use countersign_grants::{
    id::{AuditorName, RequestName},
    key::SigningKey,
    statement::AccountClosure,
    time::Clock as _,
};
use countersign_ledger::{Draft, Outcome, Unit};
use countersign_proto::{
    log::v1::{Kind, Record},
    statement::v1 as wire,
    v1,
};
use countersign_store::{ReadError, Store};

use crate::{
    erasure::RETENTION,
    journey::check_world,
    previews::paths,
    restart::{close, open},
    taps::{WITHIN, grant_with_place},
    world::{Granted, MEI, ORIGIN, PATIENCE, TRIP, World, bare_fetch, own_connection, reason_of, sign_as},
    worldcheck::{self, Keys},
};

#[tokio::test(flavor = "multi_thread")]
async fn only_the_customer_closes_the_account_and_nothing_that_stands_is_left_behind() {
    let granted = Granted::start().await;
    let (wallet, mei) = (Wallet::from_secret(&MEI), own_connection(&granted));
    let message = |time_ms: u64| wire::AccountClosure {
        broker: ORIGIN.to_owned(),
        customer: wallet.customer().to_string(),
        time_ms,
    };
    let asked = |key: &SigningKey, message: &wire::AccountClosure| v1::CloseCustomerRequest {
        name: wallet.customer().to_string(),
        statement: Some(sign_as::<AccountClosure>(key, message)),
    };
    let now = granted.world.clock.now().as_millis();
    let standing = mei.customers().close_customer(asked(wallet.call_key(), &message(now))).await;
    assert_eq!(reason_of(standing).reason, "WRONG_STATE");
    granted.mei.stop(&granted.grant, true).await.expect("recorded");
    let other = SigningKey::from_secret(&[77; 32]);
    let said = reason_of(mei.customers().close_customer(asked(&other, &message(now))).await);
    assert_eq!((said.reason.as_str(), said.check.as_str()), ("STATEMENT_INVALID", "key"));
    for time in [now - 121_000, now + 121_000] {
        let said = reason_of(mei.customers().close_customer(asked(wallet.call_key(), &message(time))).await);
        assert_eq!((said.reason.as_str(), said.check.as_str()), ("STATEMENT_INVALID", "time"));
    }
    let mut bent = message(now);
    bent.customer = granted.world.customer().await.name().to_string();
    let said = reason_of(mei.customers().close_customer(asked(wallet.call_key(), &bent)).await);
    assert_eq!((said.reason.as_str(), said.check.as_str()), ("STATEMENT_INVALID", "customer"));
    let hopp = granted.hopp.partner.connection();
    let by_hopp = hopp.customers().close_customer(asked(wallet.call_key(), &message(now))).await;
    assert_eq!(reason_of(by_hopp).reason, "CALLER_NOT_ALLOWED");
    assert_eq!(granted.world.count(Kind::CustomerErased).await, 0);
    mei.customers().close_customer(asked(wallet.call_key(), &message(now))).await.expect("closes");
}

/// Files below a folder that hold any of these bytes.
fn holding(folder: &Path, marker: &[u8]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
        if entry.file_type().expect("a type").is_dir() {
            found.extend(holding(&entry.path(), marker));
        } else if fs::read(entry.path()).expect("reads").windows(marker.len()).any(|bytes| bytes == marker) {
            found.push(entry.path());
        }
    }
    found
}

/// What the broker knows of Mei: by each of these she could be found again.
async fn markers(granted: &Granted) -> Vec<(&'static str, Vec<u8>)> {
    let name = granted.mei.name();
    let row = granted.world.broker.load(rows::customer(name)).await.expect("reads").expect("stands").row;
    let mut markers = vec![
        ("her name", name.as_str().as_bytes().to_vec()),
        ("her call key", row.public_key.to_vec()),
        ("her wrapped data key", row.wrapped_data_key.to_vec()),
        ("skylark's handle", granted.at_skylark.as_str().as_bytes().to_vec()),
        ("hopp's handle", granted.at_hopp.as_str().as_bytes().to_vec()),
    ];
    let wallet = Wallet::from_secret(&MEI);
    for link in granted.mei.book().links() {
        let key = wallet.link_key(link.name.digest());
        markers.push(("a link's key", key.public().as_bytes().to_vec()));
        markers.push(("a link's key id", key.public().id().as_str().as_bytes().to_vec()));
        markers.push(("a link", link.name.as_str().as_bytes().to_vec()));
    }
    markers
}

/// Leaves what outlasts a call: a preview and a tap, whose ids are kept, and two requests that ended before she saw them.
async fn traces(granted: &Granted) -> Vec<(&'static str, Vec<u8>)> {
    granted.mei.preview(&granted.put().await, 1, &paths(&TRIP)).await.expect("shows");
    let tapped = grant_with_place(granted).await;
    granted.mei.tap(&tapped, WITHIN).await.expect("taps");
    let paused = v1::Asking { paused: true, ..v1::Asking::default() };
    granted.mei.set_asking(paused).await.expect("set");
    let offer = granted.hopp.offer_trip(&granted.skylark, 12).await;
    let (partner, rows, second) = (&granted.skylark.partner, [(offer, false)], Duration::from_secs(1));
    let cancelled = partner.request(&granted.at_skylark, &rows, RETENTION).await.expect("requests");
    partner.cancel_request(&cancelled).await.expect("taken back");
    let lapsed = partner.request(&granted.at_skylark, &rows, second).await.expect("requests");
    granted.world.clock.advance(second);
    granted.skylark.hears(|event| matches!(event, PartnerEvent::Lapsed { .. }).then_some(())).await;
    let marker = |name: &RequestName| name.as_str().as_bytes().to_vec();
    vec![("a request that was taken back", marker(&cancelled)), ("a request that lapsed", marker(&lapsed))]
}

async fn auditor(world: &World) -> Auditor {
    let (name, key) = (AuditorName::of_id("eve").expect("an id"), SigningKey::from_secret(&[50; 32]));
    let entered = v1::Auditor {
        display_name: "Eve".to_owned(),
        public_key: key.public().as_bytes().to_vec().into(),
        ..v1::Auditor::default()
    };
    let asked = v1::CreateAuditorRequest {
        auditor_id: "eve".to_owned(),
        auditor: Some(entered),
        ..v1::CreateAuditorRequest::default()
    };
    world.operator.audit().create_auditor(asked).await.expect("enters");
    let heads = Arc::new(MemoryHeads::default());
    Auditor::open(&world.trust, name, &key, heads, &world.system()).expect("an address")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_account_leaves_the_log_the_broker_and_after_a_scrub_the_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().join("store");
    let store = open(&folder).await;
    let granted = World::on(Arc::clone(&store) as Arc<dyn Store>).await.with_grant().await;
    granted.fetch().await.expect("flows");
    let second = granted.approve_one().await;
    let passkey = AuthenticatorSecret::from_secret(&[7; 32]);
    granted.mei.add_authenticator(&passkey, "telephone").await.expect("recorded");
    let mut markers = markers(&granted).await;
    markers.push(("her authenticator", passkey.id().as_bytes().to_vec()));
    markers.extend(traces(&granted).await);
    for (what, marker) in &markers {
        assert!(!holding(&folder, marker).is_empty(), "{what} is nowhere: the search would find nothing");
    }
    // One request waits, and one was there before.
    let offer = granted.hopp.offer_trip(&granted.skylark, 12).await;
    let rows = [(offer.clone(), false)];
    granted.skylark.partner.request(&granted.at_skylark, &rows, RETENTION).await.expect("requests");
    let fetch = bare_fetch(&granted).await;

    let closing = granted.mei.close_account(PATIENCE, false).await.expect("closes");
    let Closing::Closed { receipt } = closing else { panic!("not closed: {closing:?}") };
    assert_eq!(granted.mei.book().closed(), Some(receipt.index()));
    sweeper::erase(&granted.world.broker).await.expect("sweeps");

    // To everybody she is a stranger, and her handles and grants are unknown like any other.
    let refused = granted.mei.grants().await.expect_err("a stranger");
    assert_eq!(refused.reason(), Some("TOKEN_INVALID"));
    assert_eq!(reason_of(granted.send(&fetch).await).reason, "GRANT_UNKNOWN");
    let connection = granted.hopp.partner.connection();
    let get = v1::GetGrantRequest { name: granted.grant.to_string() };
    assert_eq!(reason_of(connection.grants().get_grant(get).await).reason, "GRANT_UNKNOWN");
    let asks = granted.skylark.partner.request(&granted.at_skylark, &[(offer, false)], RETENTION).await;
    assert_eq!(asks.expect_err("unknown").reason(), Some("GRANT_UNKNOWN"));
    granted.skylark.hears(|event| matches!(event, PartnerEvent::Refused { .. }).then_some(())).await;

    // What was ordered is still owed, and attested, by grants of which nothing else is left.
    for grant in [&granted.grant, &second] {
        granted.hopp.partner.attest_erasure(grant).await.expect("recorded");
    }
    assert_eq!(granted.world.count(Kind::ErasureAttested).await, 2);

    // The auditor tells what was erased, by a record that says so, from what is missing.
    let eve = auditor(&granted.world).await;
    let records = granted.world.records().await;
    check_world(&records);
    let first = |kind: Kind| records.iter().position(|record| record.kind() == kind).expect("there") as u64;
    let (_, part) = eve.entry_and_private_part(first(Kind::Transfer)).await.expect("proven");
    assert!(matches!(part, PrivatePart::Erased { by } if by.index() == receipt.index()));
    let (_, part) = eve.entry_and_private_part(first(Kind::PartnerCreated)).await.expect("proven");
    assert!(matches!(part, PrivatePart::Kept));
    missing(&granted, &eve).await;

    for (what, marker) in markers.iter().take(3) {
        assert!(!holding(&folder, marker).is_empty(), "{what} goes with time, and not at once");
    }
    // What was removed is known to be due, and no longer once the store was scrubbed, which the broker goes on through.
    let broker = Arc::clone(&granted.world.broker);
    assert!(removed::due(&broker, Duration::from_secs(3600)).await.expect("reads").is_empty(), "not yet");
    let due = removed::due(&broker, Duration::ZERO).await.expect("reads");
    assert_eq!(due.len(), 1);
    let left =
        |sealed: &[u8], stands: &dyn Fn(&[u8]) -> Result<bool, ReadError>| private::left_of(sealed, stands);
    store.scrub(Arc::new(left)).await.expect("scrubs");
    for (what, marker) in &markers {
        assert_eq!(holding(&folder, marker), Vec::<PathBuf>::new(), "{what}");
    }
    removed::gone(&broker, &due).await.expect("notes it");
    assert!(removed::due(&broker, Duration::ZERO).await.expect("reads").is_empty());
    let (_, part) = eve.entry_and_private_part(first(Kind::Transfer)).await.expect("proven");
    assert!(matches!(part, PrivatePart::Erased { by } if by.index() == receipt.index()));
    drop((broker, eve));

    let (world, log_key) = (granted.world, crate::world::signer(1).verifier().clone());
    world.end().await;
    drop((granted.mei, granted.skylark, granted.hopp));
    close(store).await;
    // The log in the folder verifies in full, by itself.
    let mut log = FolderLog::open(&folder.join("log")).expect("a folder");
    let report = verify(&mut log, &log_key, &[], &mut |_| ()).expect("reads");
    assert!(report.is_sound(), "{:?}", report.findings);
    assert_eq!(report.count(Kind::CustomerErased), 1);
    let store = open(&folder).await;
    let world = World::on(Arc::clone(&store) as Arc<dyn Store>).await;
    assert!(world.records().await.starts_with(&records), "the log goes on as it was");
    world.end().await;
    close(store).await;
}

/// The orders to delete that the broker tells a brand of, by the leaves of a customer who is erased.
async fn orders_left(brand: &Partner) -> Vec<Option<v1::ErasureOrder>> {
    let kinds = vec![Kind::ErasureOrdered.into()];
    let asked = v1::ListEventsRequest { parent: brand.name().to_string(), kinds, ..Default::default() };
    let told = brand.connection().events().list_events(asked).await.expect("lists").into_inner().events;
    assert!(told.iter().all(|event| event.erased && event.grant.is_empty()), "{told:?}");
    told.into_iter().map(|event| event.erasure_order).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recipient_that_was_away_until_all_else_was_gone_still_deletes_and_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().join("store");
    let store = open(&folder).await;
    let granted = World::on(Arc::clone(&store) as Arc<dyn Store>).await.with_grant().await;
    granted.fetch().await.expect("flows");
    let markers = markers(&granted).await;
    granted.hopp.goes_away();
    let closing = granted.mei.close_account(Duration::from_millis(200), true).await.expect("closes");
    assert!(matches!(closing, Closing::Closed { .. }), "{closing:?}");
    let order = granted.mei.book().grant(&granted.grant).expect("stands").last;
    sweeper::erase(&granted.world.broker).await.expect("sweeps");
    let left =
        |sealed: &[u8], stands: &dyn Fn(&[u8]) -> Result<bool, ReadError>| private::left_of(sealed, stands);
    store.scrub(Arc::new(left)).await.expect("scrubs");
    for (what, marker) in &markers {
        assert_eq!(holding(&folder, marker), Vec::<PathBuf>::new(), "{what}");
    }

    // It is told that the account is closed, and then what it owes.
    let hopp = granted.hopp.restarted(&granted.world);
    let mut events = hopp.watch_events();
    let first = events.next().await.expect("hears").event;
    assert!(matches!(first, PartnerEvent::AccountClosed { .. }), "{first:?}");
    let until = granted.world.clock.now().plus(RETENTION);
    let owes = |event: PartnerEvent| {
        let PartnerEvent::EraseDue { grant, subject, due, signed } = event else { panic!("{event:?}") };
        assert_eq!((grant, subject), (granted.grant.clone(), granted.at_hopp.clone()));
        assert_eq!((due, signed), (until, false), "by the record's time, and by nothing that she signed");
    };
    owes(events.next().await.expect("hears").event);
    drop((events, hopp));
    // It stands in the book, whatever becomes of the event.
    let hopp = granted.hopp.restarted(&granted.world);
    owes(hopp.watch_events().next().await.expect("hears").event);
    let left = orders_left(&hopp).await;
    assert_eq!(left[0].as_ref().expect("it is due").change, order.as_bytes()[..]);
    assert_eq!(orders_left(&granted.skylark.partner).await, [None], "it is not the source's affair");

    let proof = hopp.attest_erasure(&granted.grant).await.expect("recorded");
    assert_eq!(proof.record().kind(), Kind::ErasureAttested);
    let again = hopp.attest_erasure(&granted.grant).await.expect("the same again");
    assert_eq!(again.index(), proof.index());
    assert!(hopp.erasures_due().is_empty());
    assert_eq!(orders_left(&hopp).await, [None], "what is met needs nothing to be met by");
    granted.world.clock.advance(RETENTION);
    sweeper::announce_erasures(&granted.world.broker).await.expect("sweeps");
    check_world(&granted.world.records().await);
    drop(hopp);

    let keys = Keys {
        log: crate::world::signer(1).verifier().clone(),
        broker: Some(countersign_broker::private::Kek::new([4; 32])),
    };
    let Granted { world, .. } = granted;
    world.end().await;
    close(store).await;
    worldcheck::disk(&folder, &keys).await.unwrap_or_else(|found| panic!("{found}"));
    let mut log = FolderLog::open(&folder.join("log")).expect("a folder");
    let report = verify(&mut log, &keys.log, &[], &mut |_| ()).expect("reads");
    assert!(report.is_sound(), "{:?}", report.findings);
    let said = [Kind::ErasureOrdered, Kind::CustomerErased, Kind::ErasureAttested, Kind::ErasureOverdue];
    assert_eq!(said.map(|kind| report.count(kind)), [1, 1, 1, 0]);
    assert_eq!(report.overdue_erasures, 0);
}

/// A data key that goes without a record is missing, and nothing else.
async fn missing(granted: &Granted, eve: &Auditor) {
    let broker = &granted.world.broker;
    let other = granted.world.customer().await;
    let stream = countersign_broker::record::stream(other.name().as_str());
    let index = broker.ledger().stream(&stream, 0, 1).await.expect("reads")[0].index;
    let row = broker.load(rows::customer(other.name())).await.expect("reads").expect("stands").row;
    let draft = Draft {
        record: Record {
            version: 1,
            kind: Kind::CataloguePublished.into(),
            record_id: vec![7; 16].into(),
            ..Record::default()
        },
        private: broker.ledger().private_parts(0..1).await.expect("reads").remove(0),
        ..Draft::default()
    };
    let unit = Unit {
        records: vec![draft],
        deletes: vec![rows::data_key(DataKeyId::of(&row.wrapped_data_key)).as_bytes().to_vec()],
        ..Unit::default()
    };
    assert!(matches!(broker.ledger().submit(unit).await, Ok(Outcome::Committed(_))));
    let (_, part) = eve.entry_and_private_part(index).await.expect("proven");
    assert!(matches!(part, PrivatePart::Missing), "{part:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_an_erasure_every_row_still_follows_from_the_records() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().join("store");
    let store = open(&folder).await;
    let granted = World::on(Arc::clone(&store) as Arc<dyn Store>).await.with_grant().await;
    granted.fetch().await.expect("flows");
    let bystander = granted.world.customer().await;
    granted.world.link(&bystander, &granted.hopp).await;
    for (customer, secret) in [(&granted.mei, 1), (&bystander, 2)] {
        let passkey = AuthenticatorSecret::from_secret(&[secret; 32]);
        customer.add_authenticator(&passkey, "telephone").await.expect("recorded");
    }
    // What hopp received under the first terms goes by the order under those in their place.
    let narrowing = Narrowing::default().uses(2);
    let narrowed = granted.mei.narrow(&granted.grant, &narrowing).await.expect("recorded");
    for brand in [&granted.skylark, &granted.hopp] {
        brand.until_in_book(&narrowed.grant).await;
    }
    let closing = granted.mei.close_account(PATIENCE, false).await.expect("closes");
    assert!(matches!(closing, Closing::Closed { .. }), "{closing:?}");
    sweeper::erase(&granted.world.broker).await.expect("sweeps");
    granted.hopp.partner.attest_erasure(&narrowed.grant).await.expect("recorded");
    let keys = Keys {
        log: crate::world::signer(1).verifier().clone(),
        broker: Some(countersign_broker::private::Kek::new([4; 32])),
    };
    let records = granted.world.records().await;
    let of_hers =
        records.iter().position(|record| record.kind() == Kind::GrantApproved).expect("there") as u64;
    let Granted { world, .. } = granted;
    world.end().await;
    close(store).await;
    worldcheck::disk(&folder, &keys).await.unwrap_or_else(|found| panic!("{found}"));

    // One more record under the key that went is found.
    let store = open(&folder).await;
    let world = World::on(Arc::clone(&store) as Arc<dyn Store>).await;
    let ledger = world.broker.ledger();
    let private = ledger.private_parts(of_hers..of_hers + 1).await.expect("reads").remove(0);
    let kind = Kind::CataloguePublished.into();
    let record = Record { version: 1, kind, record_id: vec![7; 16].into(), ..Record::default() };
    let unit = Unit { records: vec![Draft { record, private, ..Draft::default() }], ..Unit::default() };
    assert!(matches!(ledger.submit(unit).await, Ok(Outcome::Committed(_))));
    world.end().await;
    close(store).await;
    let found = worldcheck::disk(&folder, &keys).await.err().expect("it is found").to_string();
    assert!(found.contains("a data key that stands destroyed before it"), "{found}");
}
