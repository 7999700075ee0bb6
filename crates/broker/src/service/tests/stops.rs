//! What source, recipient and operators do to a grant, and what each may not.

use countersign_grants::{
    digest::Digest,
    envelope,
    id::Principal,
    statement::{self as says, ChangeReason, MAX_PARTNER_CHANGES, PartnerVerb},
};
use countersign_proto::{
    log::v1::{Kind, Record},
    statement::v1::{self as wire, grant_change::Verb},
    v1::{self, grant::State, grant_service_server::GrantService as _},
};
use prost::Message as _;
use tonic::{Response, Status};

use super::{Setting, change};
use crate::service::tests::world::{Brand, ORIGIN, as_brand, as_operator, as_person, refused};

/// A grant, and what its sides have signed so far.
struct Stops {
    s: Setting,
    grant: v1::Grant,
}

impl Stops {
    async fn new() -> Self {
        let s = Setting::new().await;
        let grant = s.approved().await.grants.remove(0);
        Self { s, grant }
    }

    fn terms(&self) -> Digest {
        Digest::of(&self.grant.terms.as_ref().expect("terms").payload)
    }

    /// A change by this brand: its number, and the one before it.
    fn says(
        &self,
        brand: &Brand,
        (sequence, verb): (u64, PartnerVerb),
        previous: Digest,
    ) -> wire::PartnerChange {
        let reason =
            if verb == PartnerVerb::Unsuspend { ChangeReason::Unspecified } else { ChangeReason::Security };
        wire::PartnerChange {
            broker: ORIGIN.to_owned(),
            partner: brand.name.to_string(),
            terms: self.terms().into(),
            sequence,
            verb: verb.into(),
            reason: reason.into(),
            previous: previous.into(),
            time_ms: self.s.world.now(),
            checkpoint: self.s.world.checkpoint(),
        }
    }

    async fn send(
        &self,
        brand: &Brand,
        says: &wire::PartnerChange,
    ) -> Result<v1::ChangeGrantResponse, Status> {
        let statement = Some(envelope::sign::<says::PartnerChange>(says, &[&brand.key]));
        let (name, grants) = (self.grant.name.clone(), self.s.world.grants());
        let answer = match says.verb() {
            PartnerVerb::Suspend => {
                grants
                    .suspend_grant(as_brand(brand, v1::SuspendGrantRequest { name, statement, reason: 0 }))
                    .await
            }
            PartnerVerb::Unsuspend => {
                grants.unsuspend_grant(as_brand(brand, v1::UnsuspendGrantRequest { name, statement })).await
            }
            _ => {
                grants
                    .revoke_grant(as_brand(brand, v1::RevokeGrantRequest { name, statement, reason: 0 }))
                    .await
            }
        };
        answer.map(Response::into_inner)
    }

    async fn operator(
        &self,
        verb: PartnerVerb,
        reason: ChangeReason,
    ) -> Result<v1::ChangeGrantResponse, Status> {
        let (name, grants, reason) = (self.grant.name.clone(), self.s.world.grants(), reason.into());
        let answer = match verb {
            PartnerVerb::Suspend => {
                let asked = v1::SuspendGrantRequest { name, statement: None, reason };
                grants.suspend_grant(as_operator(asked)).await
            }
            PartnerVerb::Unsuspend => {
                grants.unsuspend_grant(as_operator(v1::UnsuspendGrantRequest { name, statement: None })).await
            }
            _ => {
                let asked = v1::RevokeGrantRequest { name, statement: None, reason };
                grants.revoke_grant(as_operator(asked)).await
            }
        };
        answer.map(Response::into_inner)
    }

    async fn seen(&self) -> v1::Grant {
        let asked = v1::GetGrantRequest { name: self.grant.name.clone() };
        let grant = self.s.world.grants().get_grant(as_brand(&self.s.hopp, asked)).await.expect("a grant");
        grant.into_inner()
    }

    async fn state(&self) -> State {
        self.seen().await.state()
    }

    /// The state, and the reason that is told for it.
    async fn why(&self) -> (State, String) {
        let seen = self.seen().await;
        (seen.state(), seen.reason)
    }
}

fn digest(says: &wire::PartnerChange) -> Digest {
    Digest::of(&says.encode_to_vec())
}

fn record(answer: &v1::ChangeGrantResponse) -> Record {
    Record::decode(answer.receipt.as_ref().expect("a receipt").record.clone()).expect("a record")
}

#[tokio::test]
async fn each_ends_its_own_suspension_alone_and_a_pause_stands_beside_it() {
    let stops = Stops::new().await;
    let (s, terms) = (&stops.s, stops.terms());
    let first = stops.says(&s.skylark, (1, PartnerVerb::Suspend), terms);
    let answer = stops.send(&s.skylark, &first).await.expect("suspends");
    assert_eq!((record(&answer).kind(), record(&answer).reason.as_str()), (Kind::GrantSuspended, "SECURITY"));
    assert_eq!(answer.grant.expect("a grant").state(), State::Suspended);
    let again = stops.send(&s.skylark, &first).await.expect("the same change");
    assert_eq!(again.receipt.expect("a receipt").record, answer.receipt.expect("a receipt").record);

    let pause = change(s, terms, terms, (1, Verb::Pause));
    s.world.change(&s.mei, &pause, (&s.from, &s.to)).await.expect("a pause");
    assert_eq!(stops.state().await, State::Paused);
    let by_operator = stops.operator(PartnerVerb::Suspend, ChangeReason::Law).await.expect("suspends");
    assert_eq!(record(&by_operator).kind(), Kind::GrantSuspendedByOperator);
    let seen = by_operator.grant.expect("a grant");
    assert!(seen.suspended_by_source && seen.suspended_by_operator && seen.terms.is_none(), "{seen:?}");
    let twice = stops.operator(PartnerVerb::Suspend, ChangeReason::Law).await;
    assert_eq!(refused(twice), "WRONG_STATE");

    let resume = change(s, terms, Digest::of(&pause.encode_to_vec()), (2, Verb::Resume));
    s.world.change(&s.mei, &resume, (&s.from, &s.to)).await.expect("the end of it");
    assert_eq!(stops.state().await, State::Suspended);
    let second = stops.says(&s.skylark, (2, PartnerVerb::Unsuspend), digest(&first));
    stops.send(&s.skylark, &second).await.expect("lifts its own");
    assert_eq!(stops.state().await, State::Suspended, "the operator's stands");
    let third = stops.says(&s.skylark, (3, PartnerVerb::Unsuspend), digest(&second));
    assert_eq!(refused(stops.send(&s.skylark, &third).await), "WRONG_STATE");
    stops.operator(PartnerVerb::Unsuspend, ChangeReason::Unspecified).await.expect("lifts its own");
    assert_eq!(stops.state().await, State::Active);

    let kinds = s.kinds(Principal::Partner(s.hopp.name.clone())).await;
    let heard: Vec<_> = kinds.into_iter().rev().take(6).collect();
    let said = [
        Kind::GrantUnsuspendedByOperator,
        Kind::GrantUnsuspended,
        Kind::GrantResumed,
        Kind::GrantSuspendedByOperator,
        Kind::GrantPaused,
        Kind::GrantSuspended,
    ];
    assert_eq!(heard, said);
    assert_eq!(
        s.kinds(Principal::Customer(s.mei.name.clone())).await.into_iter().rev().take(6).collect::<Vec<_>>(),
        said
    );
}

#[tokio::test]
async fn a_reason_is_of_who_suspends_it_and_of_nobody_else() {
    let stops = Stops::new().await;
    let (s, terms) = (&stops.s, stops.terms());
    let says = |state, reason: &str| (state, reason.to_owned());
    let suspends = |number, previous| stops.says(&s.skylark, (number, PartnerVerb::Suspend), previous);
    let first = suspends(1, terms);
    stops.send(&s.skylark, &first).await.expect("suspends");
    stops.operator(PartnerVerb::Suspend, ChangeReason::Law).await.expect("suspends too");
    assert_eq!(stops.why().await, says(State::Suspended, "SECURITY"), "the source's stays the source's");
    stops.operator(PartnerVerb::Unsuspend, ChangeReason::Unspecified).await.expect("lifts its own");
    assert_eq!(stops.why().await, says(State::Suspended, "SECURITY"));
    stops.operator(PartnerVerb::Suspend, ChangeReason::Law).await.expect("suspends again");
    let second = stops.says(&s.skylark, (2, PartnerVerb::Unsuspend), digest(&first));
    stops.send(&s.skylark, &second).await.expect("lifts its own");
    assert_eq!(stops.why().await, says(State::Suspended, "LAW"));

    // Her own pause has no reason of anybody's, nor has her stop.
    let pause = change(s, terms, terms, (1, Verb::Pause));
    s.world.change(&s.mei, &pause, (&s.from, &s.to)).await.expect("a pause");
    assert_eq!(stops.why().await, says(State::Paused, ""));
    let stop = change(s, terms, Digest::of(&pause.encode_to_vec()), (2, Verb::Stop));
    let stopped = s.world.change(&s.mei, &stop, (&s.from, &s.to)).await.expect("a stop");
    assert_eq!(stopped.grant.expect("a grant").reason, "");
    assert_eq!(stops.why().await, says(State::Withdrawn, ""));

    // Nor has the time that is over; a revocation has its own.
    let over = Stops::new().await;
    over.operator(PartnerVerb::Suspend, ChangeReason::Law).await.expect("suspends");
    over.s.world.pass(7_200_000);
    assert_eq!(over.why().await, says(State::Expired, ""));
    let revoked = Stops::new().await;
    revoked.operator(PartnerVerb::Suspend, ChangeReason::Law).await.expect("suspends");
    revoked.operator(PartnerVerb::Revoke, ChangeReason::Dispute).await.expect("revokes");
    assert_eq!(revoked.why().await, says(State::Revoked, "DISPUTE"));
}

#[tokio::test]
async fn a_revocation_is_for_good_whoever_says_it() {
    for by in ["source", "recipient", "operator"] {
        let stops = Stops::new().await;
        let (s, terms) = (&stops.s, stops.terms());
        // Something of the source before it, so that the proof of a repeat is looked for behind that.
        let before = stops.says(&s.skylark, (1, PartnerVerb::Suspend), terms);
        stops.send(&s.skylark, &before).await.expect("suspends");
        let says = match by {
            "source" => Some((&s.skylark, stops.says(&s.skylark, (2, PartnerVerb::Revoke), digest(&before)))),
            "recipient" => Some((&s.hopp, stops.says(&s.hopp, (1, PartnerVerb::Revoke), terms))),
            _ => None,
        };
        let answer = match &says {
            Some((brand, says)) => {
                let first = stops.send(brand, says).await.expect("revokes");
                let again = stops.send(brand, says).await.expect("the same change");
                assert_eq!(record(&first), record(&again), "{by}");
                first
            }
            None => stops.operator(PartnerVerb::Revoke, ChangeReason::Security).await.expect("revokes"),
        };
        let kind = if says.is_some() { Kind::GrantRevoked } else { Kind::GrantRevokedByOperator };
        assert_eq!((record(&answer).kind(), stops.state().await), (kind, State::Revoked), "{by}");

        let late = change(s, terms, terms, (1, Verb::Stop));
        assert_eq!(refused(s.world.change(&s.mei, &late, (&s.from, &s.to)).await), "WRONG_STATE", "{by}");
        let late = stops.operator(PartnerVerb::Suspend, ChangeReason::Law).await;
        assert_eq!(refused(late), "WRONG_STATE", "{by}");
        let shown = answer.grant.expect("a grant").partner_changes.len();
        assert_eq!(shown, says.map_or(0, |_| 2), "{by}");
    }
}

#[tokio::test]
async fn nobody_changes_a_grant_in_anothers_name() {
    let stops = Stops::new().await;
    let (s, terms) = (&stops.s, stops.terms());
    let check = async |brand: &Brand, says: wire::PartnerChange, expected: &str| {
        assert_eq!(refused(stops.send(brand, &says).await), expected, "{says:?}");
    };
    let good = || stops.says(&s.skylark, (1, PartnerVerb::Suspend), terms);
    check(&s.hopp, stops.says(&s.hopp, (1, PartnerVerb::Suspend), terms), "STATEMENT_INVALID verb").await;
    check(&s.hopp, good(), "STATEMENT_INVALID partner").await;
    check(&s.skylark, stops.says(&s.skylark, (2, PartnerVerb::Suspend), terms), "STATEMENT_INVALID sequence")
        .await;
    check(
        &s.skylark,
        stops.says(&s.skylark, (1, PartnerVerb::Suspend), Digest::of(b"x")),
        "STATEMENT_INVALID previous",
    )
    .await;
    check(
        &s.skylark,
        wire::PartnerChange { terms: Digest::of(b"x").into(), ..good() },
        "STATEMENT_INVALID terms",
    )
    .await;
    check(
        &s.skylark,
        wire::PartnerChange { time_ms: s.world.now() + 60_000, ..good() },
        "STATEMENT_INVALID time",
    )
    .await;
    check(&s.skylark, stops.says(&s.skylark, (1, PartnerVerb::Unsuspend), terms), "WRONG_STATE").await;
    let other = s.world.brand("chirp", 40).await;
    check(&other, stops.says(&other, (1, PartnerVerb::Revoke), terms), "GRANT_UNKNOWN").await;

    let statement = Some(envelope::sign::<says::PartnerChange>(&good(), &[&s.skylark.key]));
    let crossed = v1::RevokeGrantRequest { name: stops.grant.name.clone(), statement, reason: 0 };
    let grants = s.world.grants();
    assert_eq!(refused(grants.revoke_grant(as_brand(&s.skylark, crossed)).await), "STATEMENT_INVALID verb");
    let asked = || v1::RevokeGrantRequest { name: stops.grant.name.clone(), statement: None, reason: 1 };
    assert_eq!(refused(grants.revoke_grant(as_person(&s.mei, asked())).await), "CALLER_NOT_ALLOWED");
    assert_eq!(refused(grants.revoke_grant(as_brand(&s.skylark, asked())).await), "FIELD_INVALID");
    assert_eq!(
        refused(stops.operator(PartnerVerb::Revoke, ChangeReason::Unspecified).await),
        "FIELD_INVALID"
    );
    assert_eq!(stops.state().await, State::Active);
}

#[tokio::test]
async fn changes_of_one_grant_are_counted_and_a_revocation_is_always_taken() {
    let stops = Stops::new().await;
    let (s, mut previous) = (&stops.s, stops.terms());
    for sequence in 1..=MAX_PARTNER_CHANGES {
        let verb = if sequence % 2 == 1 { PartnerVerb::Suspend } else { PartnerVerb::Unsuspend };
        let says = stops.says(&s.skylark, (sequence, verb), previous);
        stops.send(&s.skylark, &says).await.expect("a change");
        previous = digest(&says);
    }
    let next = MAX_PARTNER_CHANGES + 1;
    let more = stops.says(&s.skylark, (next, PartnerVerb::Suspend), previous);
    assert_eq!(refused(stops.send(&s.skylark, &more).await), "QUOTA_EXCEEDED");
    let last = stops.says(&s.skylark, (next, PartnerVerb::Revoke), previous);
    let shown = stops.send(&s.skylark, &last).await.expect("revokes").grant.expect("a grant").partner_changes;
    assert_eq!(shown.len() as u64, next);
}
