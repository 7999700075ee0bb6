//! Deleting what was received: orders, attestations, and what is late.

use std::time::Duration;

use countersign_broker::{rows, sweeper};
use countersign_client::{Error, Partner, PartnerConfig, PartnerEvent};
use countersign_grants::{
    digest::Digest,
    envelope,
    id::{GrantName, PartnerName},
    key::SigningKey,
    statement::{ChangeReason, ErasureAttestation, PartnerKey},
    time::Clock as _,
};
use countersign_proto::{
    log::v1::Kind,
    statement::v1 as wire,
    v1::{self, grant::ErasureState},
};

use crate::{
    journey::check_world,
    stops::operator,
    world::{Ears, Granted, ORIGIN, PATIENCE, PICKUP, TRIP, bare_fetch, own_connection, reason_of, sign_as},
};

/// As long as the first working key of every brand lasts.
const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// As long as the offer of every world lets a recipient keep what it received.
pub(crate) const RETENTION: Duration = Duration::from_secs(24 * 3600);

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

    let ears = Ears::of(&hopp);
    assert_eq!(ears.hear(due).await, granted.grant);
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
    ears.close();
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
