//! Suspensions and revocations, from the one who says so to the book of the other side.

use countersign_client::{
    Error, PartnerEvent,
    book::{GrantRow, Side},
    operator::Operator,
};
use countersign_grants::{id::OperatorName, key::SigningKey, statement::ChangeReason};
use countersign_proto::{log::v1::Kind, v1::grant::State};

use crate::{
    journey::check_world,
    world::{Granted, bare_fetch, reason_of},
};

/// The operator whose key every world has.
pub(crate) fn operator(granted: &Granted) -> Operator {
    let name = OperatorName::of_id("root").expect("an id");
    Operator::open(&granted.world.trust, name, &SigningKey::from_secret(&[3; 32]), granted.world.system())
        .expect("an address")
}

async fn check_refused(granted: &Granted, reason: &str) {
    let refused = granted.fetch().await.expect_err("stopped");
    assert_eq!(refused.reason(), Some(reason), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspension_stops_the_flow_and_only_who_stopped_resumes() {
    let granted = Granted::start().await;
    granted.fetch().await.expect("flows");
    let (skylark, hopp) = (&granted.skylark, &granted.hopp);
    skylark.partner.suspend_grant(&granted.grant, ChangeReason::WrongData).await.expect("recorded");
    check_refused(&granted, "GRANT_SUSPENDED").await;
    let heard = |event| match event {
        PartnerEvent::GrantSuspended { grant } => Some(grant.suspended()),
        _ => None,
    };
    assert_eq!(hopp.hears(heard).await, Some(ChangeReason::WrongData));
    let seen = granted.mei.grants().await.expect("answers").remove(0);
    assert_eq!((seen.state, seen.reason.as_str()), (Some(State::Suspended), "WRONG_DATA"));

    let operator = operator(&granted);
    operator.suspend_grant(&granted.grant, ChangeReason::Dispute).await.expect("suspends");
    granted.mei.pause(&granted.grant).await.expect("recorded");
    check_refused(&granted, "GRANT_PAUSED").await;
    skylark.partner.unsuspend_grant(&granted.grant).await.expect("recorded");
    granted.mei.resume(&granted.grant).await.expect("recorded");
    check_refused(&granted, "GRANT_SUSPENDED").await;
    let not_its_own = skylark.partner.unsuspend_grant(&granted.grant).await.expect("says it again");
    assert_eq!(not_its_own.record().kind(), Kind::GrantUnsuspended);
    check_refused(&granted, "GRANT_SUSPENDED").await;
    operator.unsuspend_grant(&granted.grant).await.expect("ends it");
    hopp.hears(|event| matches!(event, PartnerEvent::GrantUnsuspendedByOperator { .. }).then_some(())).await;
    skylark.hears(|event| matches!(event, PartnerEvent::Resumed { .. }).then_some(())).await;
    granted.fetch().await.expect("flows");
    let cant = hopp.partner.suspend_grant(&granted.grant, ChangeReason::Law).await;
    assert!(matches!(cant, Err(Error::Misuse(_))), "{cant:?}");
    check_world(&granted.world.records().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_follows_a_revocation_whoever_says_it() {
    for by in ["source", "recipient", "operator"] {
        let granted = Granted::start().await;
        granted.fetch().await.expect("flows");
        let (skylark, hopp) = (&granted.skylark, &granted.hopp);
        match by {
            "source" => {
                drop(skylark.partner.revoke_grant(&granted.grant, ChangeReason::Closed).await.expect(by));
            }
            "recipient" => {
                drop(hopp.partner.revoke_grant(&granted.grant, ChangeReason::NotNeeded).await.expect(by));
            }
            _ => {
                drop(
                    operator(&granted).revoke_grant(&granted.grant, ChangeReason::Security).await.expect(by),
                );
            }
        }
        let late = bare_fetch(&granted).await;
        assert_eq!(reason_of(granted.send(&late).await).reason, "GRANT_ENDED", "{by}");
        for brand in [skylark, hopp] {
            let heard = |event| match event {
                PartnerEvent::GrantRevoked { by, .. } => Some(Some(by)),
                PartnerEvent::GrantRevokedByOperator { .. } => Some(None),
                _ => None,
            };
            let expected = match by {
                "source" => Some(Side::Source),
                "recipient" => Some(Side::Recipient),
                _ => None,
            };
            assert_eq!(brand.hears(heard).await, expected, "{by}");
        }
        // An operator signs nothing: the grant is held, which is no end by this book.
        let listed = skylark.partner.standing_grants(&granted.at_skylark);
        let standing = by == "operator" && listed.iter().all(GrantRow::held);
        assert!(listed.is_empty() || standing, "{by}");
        let fetched = granted.fetch().await.expect_err("this side stops by itself");
        assert!(matches!(fetched, Error::Misuse(_)), "{by}: {fetched}");
        let seen = granted.mei.grants().await.expect("answers").remove(0);
        assert_eq!(seen.state, Some(State::Revoked), "{by}");
        let records = granted.world.records().await;
        check_world(&records);
        let revoked = |record: &&countersign_proto::log::v1::Record| {
            matches!(record.kind(), Kind::GrantRevoked | Kind::GrantRevokedByOperator)
        };
        assert_eq!(records.iter().filter(revoked).count(), 1, "{by}");
    }
}
