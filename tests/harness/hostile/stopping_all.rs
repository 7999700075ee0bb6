//! A stop of everything that the broker would have less of: grants that it leaves out, calls ended, or refused and kept.

use countersign_client::{
    Error,
    customer::{All, Choice, Closing, GrantRow, Recorded, Standing},
};
use countersign_grants::id::GrantName;
use countersign_proto::{
    log::v1::Kind,
    v1::{
        self, ApproveGrantRequestResponse, ChangeGrantsResponse, Event, Grant, ListEventsResponse,
        ListGrantsResponse, ListProvenEventsResponse, grant::State,
    },
};
use tonic::Status;

use super::{Operator, blamed};
use crate::world::PATIENCE;

/// The one grant of every world, with its proof.
fn only<'a>(operator: &Operator, all: &'a All) -> &'a Recorded {
    let [(name, came)] = all.each.as_slice() else { panic!("{all:?}") };
    assert_eq!(*name, operator.grant);
    came.as_ref().expect("recorded, with its proof")
}

fn list_is_blamed(all: &All) -> String {
    blamed(all.list.as_ref().expect("the list is no measure"))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_out_of_the_list_is_paused_and_stopped_all_the_same() {
    let operator = Operator::start().await;
    operator.front.bend::<ListGrantsResponse>("ListGrants", |list| list.grants.clear());
    let paused = operator.mei.pause_all().await;
    only(&operator, &paused);
    assert_eq!(list_is_blamed(&paused), "the broker: grants: omitted");
    let stopped = operator.mei.stop_all(true).await;
    only(&operator, &stopped).wait_until_acknowledged(PATIENCE).await.expect("answers");
    assert_eq!(list_is_blamed(&stopped), "the broker: grants: omitted");
    assert_eq!(operator.world.count(Kind::GrantWithdrawn).await, 1);
    // Nothing is left to stop; and that the list is none is still said.
    let again = operator.mei.stop_all(true).await;
    assert!(again.each.is_empty());
    assert_eq!(list_is_blamed(&again), "the broker: grants: omitted");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_out_of_the_list_keeps_the_account_open_until_it_is_stopped_and_said() {
    let operator = Operator::start().await;
    operator.front.bend::<ListGrantsResponse>("ListGrants", |list| list.grants.clear());
    let closing = operator.mei.close_account(PATIENCE, false).await.expect("answers");
    let Closing::Waits { unheard, not_stopped, list } = closing else { panic!("{closing:?}") };
    assert!(unheard.is_empty() && not_stopped.is_empty(), "{unheard:?} {not_stopped:?}");
    assert_eq!(blamed(&list.expect("said")), "the broker: grants: omitted");
    assert_eq!(operator.world.count(Kind::GrantWithdrawn).await, 1, "it is stopped already");
    assert_eq!(operator.world.count(Kind::CustomerErased).await, 0);
    let closing = operator.mei.close_account(PATIENCE, true).await.expect("answers");
    assert!(matches!(closing, Closing::Closed { .. }), "{closing:?}");
}

/// What a broker can say that a grant has come to, though nobody ended it.
const ENDS: [State; 5] =
    [State::Expired, State::Revoked, State::Consumed, State::Withdrawn, State::Superseded];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_called_ended_is_paused_and_stopped_all_the_same() {
    for state in ENDS {
        let operator = Operator::start().await;
        operator.front.bend::<ListGrantsResponse>("ListGrants", move |list| {
            list.grants.iter_mut().for_each(|grant| grant.set_state(state));
        });
        let paused = operator.mei.pause_all().await;
        only(&operator, &paused);
        assert!(paused.list.is_none(), "{state:?}: {paused:?}");
        let stopped = operator.mei.stop_all(false).await;
        only(&operator, &stopped).wait_until_acknowledged(PATIENCE).await.expect("answers");
        assert_eq!(operator.world.count(Kind::GrantWithdrawn).await, 1, "{state:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_called_ended_is_stopped_before_the_account_is_closed() {
    for state in ENDS {
        let operator = Operator::start().await;
        operator.front.bend::<ListGrantsResponse>("ListGrants", move |list| {
            list.grants.iter_mut().for_each(|grant| grant.set_state(state));
        });
        let closing = operator.mei.close_account(PATIENCE, false).await.expect("answers");
        assert!(matches!(closing, Closing::Closed { .. }), "{state:?}: {closing:?}");
        assert_eq!(operator.world.count(Kind::GrantWithdrawn).await, 1, "{state:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_counts_on_the_proof_of_its_own_record_alone() {
    let operator = Operator::start().await;
    operator.fetch().await.expect("flows");
    let grant = operator.grant.to_string();
    operator.front.bend::<ListGrantsResponse>("ListGrants", |list| {
        list.grants.iter_mut().for_each(|grant| grant.set_state(State::Revoked));
    });
    let approval = operator.mei.book().grant(&operator.grant).expect("stands").recorded.expect("proven");
    // The approval's record, sold as the revocation's.
    operator.front.bend::<ListEventsResponse>("ListEvents", move |list| {
        let mut event = Event { index: approval, grant: grant.clone(), ..Event::default() };
        event.set_kind(Kind::GrantRevoked);
        list.events = vec![event];
    });
    let paused = operator.mei.pause_all().await;
    only(&operator, &paused);
    assert_eq!(list_is_blamed(&paused), "the broker: receipt: kind");
    // The first of twelve uses, sold as the last.
    operator.front.be_honest("ListEvents");
    operator.front.bend::<ListEventsResponse>("ListEvents", |list| {
        list.events.iter_mut().for_each(|event| event.use_number = 12);
    });
    operator.front.bend::<ListGrantsResponse>("ListGrants", |list| {
        list.grants.iter_mut().for_each(|grant| grant.set_state(State::Consumed));
    });
    let stopped = operator.mei.stop_all(false).await;
    only(&operator, &stopped);
    assert_eq!(list_is_blamed(&stopped), "the broker: receipt: use_number");
    // No proof at all.
    operator.front.bend::<ListProvenEventsResponse>("ListProvenEvents", |list| list.events.clear());
    let second = operator.one_more().await;
    let stopped = operator.mei.stop_all(false).await;
    assert!(matches!(stopped.each.as_slice(), [(name, Ok(_))] if *name == second), "{stopped:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_line_that_nobody_signed_keeps_no_other_grant_from_its_stop() {
    let operator = Operator::start().await;
    operator.front.bend::<ListGrantsResponse>("ListGrants", |list| {
        let mut made_up = list.grants[0].clone();
        made_up.name = GrantName::of([7; 32].into()).to_string();
        list.grants.insert(0, made_up);
    });
    let stopped = operator.mei.stop_all(false).await;
    only(&operator, &stopped);
    assert_eq!(list_is_blamed(&stopped), "the broker: grant: terms");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_that_is_refused_and_kept_is_stopped_with_the_rest() {
    let operator = Operator::start().await;
    let shown = operator.grant.to_string();
    let hidden = {
        let shown = shown.clone();
        move |name: &str| name != shown
    };
    // The operator takes the approval, says no, and shows nothing of it.
    operator.front.lie("ApproveGrantRequest", |asked| async move {
        asked.honest::<ApproveGrantRequestResponse>().await?;
        Err::<ApproveGrantRequestResponse, _>(Status::failed_precondition("no"))
    });
    let hides = hidden.clone();
    operator.front.lie("GetGrant", move |asked| {
        let hides =
            asked.caller().starts_with("customers/") && hides(&asked.read::<v1::GetGrantRequest>().name);
        async move { if hides { Err(Status::not_found("no grant")) } else { asked.honest::<Grant>().await } }
    });
    operator.front.bend::<ListGrantsResponse>("ListGrants", move |list| {
        list.grants.retain(|grant| !hidden(&grant.name));
    });
    let offer = operator.hopp.offer_trip(&operator.skylark, 12).await;
    let rows = [(offer, false)];
    let request = operator.skylark.partner.request(&operator.at_skylark, &rows, PATIENCE).await;
    let read = operator.mei.read_request(&request.expect("requests")).await.expect("verifies");
    let refused = operator.mei.approve(&read, &Choice::required("en")).await.expect_err("it says no");
    assert!(matches!(refused, Error::Refused(_)), "{refused}");
    let kept = operator.mei.book().grants().into_iter().find(|row| row.refused).expect("stays").name;

    let stopped = operator.mei.stop_all(false).await;
    let mut names: Vec<_> = stopped.each.iter().map(|(name, came)| (name, came.is_ok())).collect();
    names.sort();
    let mut expected = vec![(&operator.grant, true), (&kept, true)];
    expected.sort();
    assert_eq!(names, expected);
    assert!(stopped.list.is_none(), "it never said that it had the grant: {stopped:?}");
    assert_eq!(operator.world.count(Kind::GrantWithdrawn).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_does_not_fit_is_told_of_each_grant() {
    let operator = Operator::start().await;
    let second = operator.one_more().await;
    operator.front.bend::<ChangeGrantsResponse>("ChangeGrants", |answer| {
        answer.outcomes.pop();
    });
    let stopped = operator.mei.stop_all(false).await;
    let told: Vec<_> =
        stopped.each.iter().map(|(name, came)| (name, came.as_ref().err().map(blamed))).collect();
    let wrong = || Some("the broker: changes: outcomes".to_owned());
    assert_eq!(told, [(&operator.grant, wrong()), (&second, wrong())]);
    // What was signed was sent all the same: the list shows her own stops.
    operator.front.be_honest("ChangeGrants");
    let again = operator.mei.stop_all(false).await;
    assert!(again.each.is_empty() && again.list.is_none(), "{again:?}");
    let ended = |row: GrantRow| row.standing == Standing::Stopped { erase: false };
    assert!(operator.mei.book().grants().into_iter().all(ended));
    assert_eq!(operator.world.count(Kind::GrantWithdrawn).await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_that_the_broker_says_it_never_took_is_told_and_not_passed_over() {
    let operator = Operator::start().await;
    operator.front.lie("ApproveGrantRequest", |_| async {
        Err::<ApproveGrantRequestResponse, _>(Status::failed_precondition("no"))
    });
    let offer = operator.hopp.offer_trip(&operator.skylark, 12).await;
    let rows = [(offer, false)];
    let request = operator.skylark.partner.request(&operator.at_skylark, &rows, PATIENCE).await;
    let read = operator.mei.read_request(&request.expect("requests")).await.expect("verifies");
    operator.mei.approve(&read, &Choice::required("en")).await.expect_err("it says no");
    let kept = operator.mei.book().grants().into_iter().find(|row| row.refused).expect("stays").name;

    let stopped = operator.mei.stop_all(true).await;
    assert!(stopped.list.is_none() && stopped.each.len() == 2, "{stopped:?}");
    for (name, came) in &stopped.each {
        let reason = came.as_ref().err().and_then(Error::reason);
        assert_eq!(reason, (*name == kept).then_some("GRANT_UNKNOWN"), "{name}");
    }
    let closing = operator.mei.close_account(PATIENCE, false).await.expect("answers");
    let Closing::Waits { unheard, not_stopped, list: None } = closing else { panic!("{closing:?}") };
    assert!(unheard.is_empty() && matches!(not_stopped.as_slice(), [(name, _)] if *name == kept));
    // Once its time is over by her own clock, it is in the way of nothing.
    operator.world.clock.advance(std::time::Duration::from_secs(24 * 3600 + 1));
    let stopped = operator.mei.stop_all(true).await;
    assert!(stopped.each.is_empty(), "{stopped:?}");
    let closing = operator.mei.close_account(PATIENCE, false).await.expect("answers");
    assert!(matches!(closing, Closing::Closed { .. }), "{closing:?}");
}
