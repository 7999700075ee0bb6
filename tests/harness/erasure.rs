//! Deleting what was received, and closing the account: orders, attestations, what is late, and what is left on a disk.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use countersign_broker::{
    private::{self, DataKeyId},
    removed, rows, sweeper,
};
use countersign_client::{
    Error, Partner, PartnerConfig, PartnerEvent,
    auditor::{Auditor, FolderLog, MemoryHeads, PrivatePart, verify},
    customer::{AuthenticatorSecret, Closing, Narrowing, Wallet},
};
use countersign_grants::{
    digest::Digest,
    envelope,
    id::{AuditorName, GrantName, PartnerName, RequestName},
    key::SigningKey,
    statement::{AccountClosure, ChangeReason, ErasureAttestation, PartnerKey},
    time::Clock as _,
};
use countersign_ledger::{Draft, Outcome, Unit};
use countersign_proto::{
    log::v1::{Kind, Record},
    statement::v1 as wire,
    v1::{self, grant::ErasureState},
};
use countersign_store::{ReadError, Store};

use crate::{
    journey::check_world,
    previews::paths,
    restart::{close, open},
    stops::operator,
    taps::{WITHIN, grant_with_place},
    world::{
        Granted, MEI, ORIGIN, PATIENCE, PICKUP, TRIP, World, bare_fetch, own_connection, reason_of, sign_as,
    },
    worldcheck::{self, Keys},
};

/// As long as the first working key of every brand lasts.
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// As long as the offer of every world lets a recipient keep what it received.
const RETENTION: Duration = Duration::from_secs(24 * 3600);

async fn state(granted: &Granted) -> Option<ErasureState> {
    let seen = granted.mei.grants().await.expect("answers").remove(0);
    seen.erasure.map(|erasure| erasure.state())
}

fn due(event: PartnerEvent) -> Option<GrantName> {
    match event {
        PartnerEvent::EraseDue { grant, .. } => Some(grant),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recipient_deletes_and_says_so_and_both_others_see_it() {
    let granted = Granted::start().await;
    granted.fetch().await.expect("flows");
    let (mei, hopp, skylark) = (&granted.mei, &granted.hopp, &granted.skylark);
    let early = hopp.partner.attest_erasure(&granted.grant).await;
    assert!(matches!(early, Err(Error::Misuse(_))), "nobody ordered it: {early:?}");
    assert_eq!(state(&granted).await, None);

    let recorded = mei.stop(&granted.grant, true).await.expect("recorded");
    assert_eq!(recorded.receipt().record().kind(), Kind::GrantWithdrawn);
    assert_eq!(state(&granted).await, Some(ErasureState::Due));
    assert_eq!(hopp.hears(due).await, granted.grant);
    let to_do = hopp.partner.erasures_due();
    assert_eq!(to_do.len(), 1);
    assert_eq!(to_do[0].erase_due(), Some(granted.world.clock.now().plus(RETENTION)));

    let proof = hopp.partner.attest_erasure(&granted.grant).await.expect("recorded");
    assert_eq!(proof.record().kind(), Kind::ErasureAttested);
    let again = hopp.partner.attest_erasure(&granted.grant).await.expect("the same again");
    assert_eq!(again.index(), proof.index());
    assert!(hopp.partner.erasures_due().is_empty());
    assert_eq!(state(&granted).await, Some(ErasureState::Attested));
    let heard = |event| match event {
        PartnerEvent::ErasureAttested { grant, .. } => Some(grant),
        _ => None,
    };
    assert_eq!(skylark.hears(heard).await, granted.grant);
    let source_cant = skylark.partner.attest_erasure(&granted.grant).await;
    assert!(matches!(source_cant, Err(Error::Misuse(_))), "it received nothing: {source_cant:?}");
    let twice = mei.stop(&granted.grant, true).await;
    assert!(matches!(twice, Err(Error::Misuse(_))), "{twice:?}");
    check_world(&granted.world.records().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_late_is_overdue_and_late_is_better_than_never() {
    let granted = Granted::start().await;
    granted.mei.stop(&granted.grant, true).await.expect("recorded");
    assert_eq!(granted.hopp.hears(due).await, granted.grant);
    granted.world.clock.advance(RETENTION.saturating_sub(Duration::from_millis(1)));
    assert_eq!(sweeper::announce_erasures(&granted.world.broker).await.expect("sweeps"), 0);
    assert_eq!(state(&granted).await, Some(ErasureState::Due));
    granted.world.clock.advance(Duration::from_millis(1));
    sweeper::announce_erasures(&granted.world.broker).await.expect("sweeps");
    assert_eq!(granted.world.count(Kind::ErasureOverdue).await, 1);
    assert_eq!(state(&granted).await, Some(ErasureState::Overdue));
    assert_eq!(granted.hopp.hears(due).await, granted.grant, "it is told again");
    let heard = |event| match event {
        PartnerEvent::ErasureOverdue { grant } => Some(grant),
        _ => None,
    };
    assert_eq!(granted.skylark.hears(heard).await, granted.grant);
    assert_eq!(sweeper::announce_erasures(&granted.world.broker).await.expect("sweeps"), 0, "once is enough");

    let attested = async {
        while granted.hopp.partner.attest_erasure(&granted.grant).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, attested).await.expect("its head is proven anew after the jump");
    assert_eq!(state(&granted).await, Some(ErasureState::Attested));
    check_world(&granted.world.records().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_away_when_it_is_ordered_attests_by_itself_once_the_broker_is_there() {
    let granted = Granted::start().await;
    granted.fetch().await.expect("flows");
    let hopp = granted.hopp.restarted(&granted.world);
    // Nobody listens at Hopp: the order comes, and its time goes by.
    granted.mei.stop(&granted.grant, true).await.expect("recorded");
    granted.world.clock.advance(RETENTION);
    sweeper::announce_erasures(&granted.world.broker).await.expect("sweeps");
    assert_eq!(granted.world.count(Kind::ErasureOverdue).await, 1);
    assert!(hopp.erasures_due().is_empty(), "it has not heard of it");

    let (heard, mut events) = tokio::sync::mpsc::unbounded_channel();
    let listening = hopp.clone();
    let listening = tokio::spawn(async move {
        listening
            .run(|noted| {
                let _ = heard.send(noted.event);
                std::future::ready(())
            })
            .await
    });
    let told = async {
        loop {
            if let Some(grant) = due(events.recv().await.expect("the events go on")) {
                return grant;
            }
        }
    };
    assert_eq!(tokio::time::timeout(PATIENCE, told).await.expect("it hears"), granted.grant);
    // It deletes while the broker takes nothing of its, and is told that this is for now; then nobody asks it any more.
    granted.world.suspend(&granted.hopp).await;
    hopp.attest_erasure(&granted.grant).await.expect_err("not now");
    let row = hopp.book().grant(&granted.grant).expect("stands");
    assert!(row.deleted() && !row.attested());
    assert_eq!(state(&granted).await, Some(ErasureState::Overdue));
    let resume = v1::ResumePartnerRequest { name: granted.hopp.name().to_string() };
    granted.world.operator.partners().resume_partner(resume).await.expect("resumes");
    let attested = async {
        while !hopp.book().grant(&granted.grant).is_some_and(|row| row.attested()) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, attested).await.expect("upkeep brings it in");
    assert_eq!(state(&granted).await, Some(ErasureState::Attested));
    assert_eq!(granted.world.count(Kind::ErasureAttested).await, 1);
    listening.abort();
    check_world(&granted.world.records().await);
}

/// Hopp with its next working key, on the book that it had.
async fn with_its_next_key(granted: &Granted) -> Partner {
    let (world, hopp) = (&granted.world, &granted.hopp);
    let first = world.broker.load(rows::partner_key(hopp.name(), hopp.working.id())).await.expect("reads");
    let first = first.expect("published").row.statement.expect("signed");
    let next = SigningKey::from_secret(&[77; 32]);
    let now = world.clock.now();
    let message = wire::PartnerKey {
        broker: ORIGIN.to_owned(),
        partner: hopp.name().to_string(),
        public_key: next.public().as_bytes().to_vec().into(),
        sequence: 2,
        not_before_ms: now.as_millis(),
        not_after_ms: now.plus(YEAR).plus(YEAR).as_millis(),
        previous: envelope::digest(&first).into(),
    };
    let certificate = sign_as::<PartnerKey>(&hopp.identity, &message);
    let (parent, statement) = (hopp.name().to_string(), Some(certificate.clone()));
    let asked = v1::PublishPartnerKeyRequest { parent, statement };
    world.operator.partners().publish_partner_key(asked).await.expect("publishes");
    let config = PartnerConfig {
        trust: world.trust.clone(),
        name: hopp.name().clone(),
        identity: hopp.identity.public().clone(),
        certificate,
        key: next,
        known_keys: vec![],
    };
    Partner::open(config, hopp.partner.book().clone(), world.system()).expect("opens")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deletion_is_attested_though_the_key_that_signed_it_is_past_its_time() {
    let granted = Granted::start().await;
    granted.mei.stop(&granted.grant, true).await.expect("recorded");
    assert_eq!(granted.hopp.hears(due).await, granted.grant);
    // It is signed, and the broker takes nothing of Hopp's.
    granted.world.suspend(&granted.hopp).await;
    granted.hopp.partner.attest_erasure(&granted.grant).await.expect_err("not now");
    let row = granted.hopp.partner.book().grant(&granted.grant).expect("stands");
    assert!(row.deleted() && !row.attested());

    let hopp = with_its_next_key(&granted).await;
    granted.world.clock.advance(YEAR + RETENTION);
    let resume = v1::ResumePartnerRequest { name: hopp.name().to_string() };
    granted.world.operator.partners().resume_partner(resume).await.expect("resumes");
    let proof = hopp.attest_erasure(&granted.grant).await.expect("the same bytes, late");
    assert_eq!(proof.record().kind(), Kind::ErasureAttested);
    // Under the old key, which is over, nobody brings in anything.
    let asked = v1::GetGrantRequest { name: granted.grant.to_string() };
    let old = granted.hopp.partner.connection().grants().get_grant(asked).await;
    assert_eq!(reason_of(old).reason, "TOKEN_INVALID");
    assert_eq!(state(&granted).await, Some(ErasureState::Attested));
    check_world(&granted.world.records().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_has_ended_can_still_be_ordered_to_be_deleted() {
    for by_partner in [false, true] {
        let granted = Granted::start().await;
        if by_partner {
            granted
                .skylark
                .partner
                .revoke_grant(&granted.grant, ChangeReason::Closed)
                .await
                .expect("recorded");
        } else {
            granted.mei.stop(&granted.grant, false).await.expect("recorded");
        }
        assert_eq!(state(&granted).await, None);
        let recorded = granted.mei.stop(&granted.grant, true).await.expect("recorded");
        assert_eq!(recorded.receipt().record().kind(), Kind::ErasureOrdered);
        assert_eq!(granted.world.count(Kind::GrantWithdrawn).await, usize::from(!by_partner));
        assert_eq!(granted.hopp.hears(due).await, granted.grant);
        granted.hopp.partner.attest_erasure(&granted.grant).await.expect("recorded");
        assert_eq!(state(&granted).await, Some(ErasureState::Attested));
        check_world(&granted.world.records().await);
    }
}

/// How all is ordered to be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum All {
    ByAStop,
    ByAReport,
    OnceTimeIsUp,
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_to_delete_all_reaches_what_has_ended_however_it_did() {
    for how in [All::ByAStop, All::ByAReport, All::OnceTimeIsUp] {
        let granted = Granted::start().await;
        granted.fetch().await.expect("flows");
        let prefill = granted.approve_uses(1).await;
        granted.hopp.until_in_book(&prefill).await;
        granted.hopp.partner.fetch(&prefill, PICKUP, &TRIP).await.expect("its one use");
        let (kept, revoked) = (granted.approve_one().await, granted.approve_one().await);
        granted.mei.stop(&kept, false).await.expect("recorded");
        granted.hopp.partner.revoke_grant(&revoked, ChangeReason::NotNeeded).await.expect("recorded");
        // What another one took the place of goes by the order under that one, on a device too that did not approve it.
        let renewed = granted.approve_one().await;
        let newest = granted.renew(&renewed).await;
        granted.hopp.until_in_book(&newest).await;
        if how == All::OnceTimeIsUp {
            granted.world.clock.advance(RETENTION + Duration::from_secs(1));
        }
        let mut expected = vec![granted.grant.clone(), prefill, kept, revoked, newest];
        expected.sort();

        let device = granted.second_device();
        let mut ordered: Vec<GrantName> = match how {
            All::ByAReport => {
                let stolen = device.report_stolen(true).await.expect("goes out");
                assert!(stolen.not_stopped.is_empty(), "{:?}", stolen.not_stopped);
                stolen.stopped
            }
            All::ByAStop | All::OnceTimeIsUp => {
                let all = device.stop_all(true).await;
                assert!(all.list.is_none(), "{how:?}: {all:?}");
                let done = |(name, came): (GrantName, Result<_, Error>)| match came {
                    Ok(_) => name,
                    Err(error) => panic!("{how:?}: {name}: {error}"),
                };
                all.each.into_iter().map(done).collect()
            }
        };
        ordered.sort();
        assert_eq!(ordered, expected, "{how:?}");
        assert_eq!(granted.world.count(Kind::ErasureOrdered).await, expected.len(), "{how:?}");
        let mut heard = Vec::new();
        for _ in &expected {
            heard.push(granted.hopp.hears(due).await);
        }
        heard.sort();
        assert_eq!(heard, expected, "{how:?}");
        check_world(&granted.world.records().await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_received_by_the_last_use_does_not_come_again_once_it_is_to_be_deleted() {
    let granted = Granted::start().await;
    let grant = granted.approve_uses(1).await;
    let fetch = wire::Fetch { terms: grant.digest().into(), ..bare_fetch(&granted).await };
    granted.send(&fetch).await.expect("released");
    granted.send(&fetch).await.expect("the same bytes, repeated");
    let recorded = granted.mei.stop(&grant, true).await.expect("recorded");
    assert_eq!(recorded.receipt().record().kind(), Kind::ErasureOrdered, "its last use had ended it");
    // Within the time in which a repeat would bring it.
    assert_eq!(reason_of(granted.send(&fetch).await).reason, "GRANT_ENDED");
    assert_eq!(granted.world.count(Kind::Transfer).await, 2);
    check_world(&granted.world.records().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_ordered_after_its_time_does_not_stand_again_when_the_clock_is_set_back() {
    let granted = Granted::start().await;
    let (grant, operator) = (&granted.grant, operator(&granted));
    operator.suspend_grant(grant, ChangeReason::Security).await.expect("recorded");
    let ahead = granted.skylark.partner.book().grant(grant).expect("stands").terms().expire_time;
    let ahead = Duration::from_millis(ahead.as_millis() - granted.world.clock.now().as_millis());
    granted.world.clock.advance(ahead);
    let shown = || async {
        let asked = v1::GetGrantRequest { name: grant.to_string() };
        let connection = own_connection(&granted);
        let shown = connection.grants().get_grant(asked).await.expect("answers").into_inner();
        (shown.state(), shown.suspended_by_operator)
    };
    assert_eq!(shown().await, (v1::grant::State::Expired, false), "an end clears what stood beside it");
    let recorded = granted.mei.stop(grant, true).await.expect("recorded");
    assert_eq!(recorded.receipt().record().kind(), Kind::ErasureOrdered);

    granted.world.clock.set_back(ahead);
    assert_eq!(shown().await, (v1::grant::State::Expired, false));
    let late = operator.revoke_grant(grant, ChangeReason::Security).await.expect_err("it has ended");
    assert_eq!(late.reason(), Some("WRONG_STATE"), "{late}");
    assert_eq!(reason_of(granted.send(&bare_fetch(&granted).await).await).reason, "GRANT_ENDED");
    check_world(&granted.world.records().await);
}

/// What the broker must refuse of an attestation, each by its own reason.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_attests_for_another_or_what_was_not_ordered() {
    let granted = Granted::start().await;
    let hopp = granted.hopp.partner.connection();
    let checkpoint = hopp.audit().get_checkpoint(v1::GetCheckpointRequest {}).await.expect("answers");
    let checkpoint = checkpoint.into_inner().checkpoint;
    let message = |partner: &PartnerName, change: Digest| wire::ErasureAttestation {
        broker: ORIGIN.to_owned(),
        partner: partner.to_string(),
        terms: granted.grant.digest().into(),
        change: change.into(),
        time_ms: granted.world.clock.now().as_millis(),
        checkpoint: checkpoint.clone(),
    };
    let asked = |key: &SigningKey, message: &wire::ErasureAttestation| v1::AttestErasureRequest {
        name: granted.grant.to_string(),
        statement: Some(sign_as::<ErasureAttestation>(key, message)),
    };
    let own = &granted.hopp.working;
    let before = asked(own, &message(granted.hopp.name(), granted.grant.digest()));
    assert_eq!(reason_of(hopp.grants().attest_erasure(before).await).reason, "GRANT_UNKNOWN");

    granted.mei.stop(&granted.grant, true).await.expect("recorded");
    let order = granted.mei.book().grant(&granted.grant).expect("stands").last;
    let check = async |statement: v1::AttestErasureRequest, expected: (&str, &str)| {
        let said = reason_of(hopp.grants().attest_erasure(statement).await);
        assert_eq!((said.reason.as_str(), said.check.as_str()), expected);
    };
    let invalid = "STATEMENT_INVALID";
    check(asked(own, &message(granted.hopp.name(), granted.grant.digest())), (invalid, "change")).await;
    check(asked(own, &message(granted.skylark.name(), order)), (invalid, "partner")).await;
    let mut other = message(granted.hopp.name(), order);
    other.terms = vec![7; 32].into();
    check(asked(own, &other), (invalid, "terms")).await;
    check(asked(&granted.skylark.working, &message(granted.hopp.name(), order)), (invalid, "key")).await;
    // The source is a side of the grant, and not the one that owes it.
    let skylark = granted.skylark.partner.connection();
    let its = asked(&granted.skylark.working, &message(granted.skylark.name(), order));
    assert_eq!(reason_of(skylark.grants().attest_erasure(its).await).reason, "GRANT_UNKNOWN");
    assert_eq!(granted.world.count(Kind::ErasureAttested).await, 0);

    hopp.grants().attest_erasure(asked(own, &message(granted.hopp.name(), order))).await.expect("its own");
    let mut later = message(granted.hopp.name(), order);
    later.time_ms -= 1;
    assert_eq!(reason_of(hopp.grants().attest_erasure(asked(own, &later)).await).reason, "WRONG_STATE");
}

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
pub(crate) fn holding(folder: &Path, marker: &[u8]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
        if entry.file_type().expect("a type").is_dir() {
            found.extend(holding(&entry.path(), marker));
        } else {
            let bytes = match fs::read(entry.path()) {
                // A store that serves removes files, and what is gone holds nothing.
                Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
                read => read.expect("reads"),
            };
            if bytes.windows(marker.len()).any(|bytes| bytes == marker) {
                found.push(entry.path());
            }
        }
    }
    found
}

/// What the broker knows of Mei: by each of these she could be found again.
pub(crate) async fn markers(granted: &Granted) -> Vec<(&'static str, Vec<u8>)> {
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

pub(crate) async fn auditor(world: &World) -> Auditor {
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
