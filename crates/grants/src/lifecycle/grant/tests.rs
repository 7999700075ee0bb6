use proptest::prelude::*;

use super::*;

const EXPIRES: Timestamp = Timestamp::from_millis(1_000);
const BEFORE: Timestamp = Timestamp::from_millis(999);
const ALLOWANCE: Allowance = Allowance { expire_time: EXPIRES, uses: 12, spent: 3 };

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    Pause,
    Resume,
    Suspend(Suspender),
    Unsuspend(Suspender),
    Withdraw,
    Revoke,
    Narrow,
    Renew,
}

use Suspender::{Operator, Source};
use Suspension::{ByBoth, ByOperator, BySource};
use Verb::{Narrow, Pause, Renew, Resume, Revoke, Suspend, Unsuspend, Withdraw};

const VERBS: [Verb; 10] = [
    Pause,
    Resume,
    Suspend(Source),
    Suspend(Operator),
    Unsuspend(Source),
    Unsuspend(Operator),
    Withdraw,
    Revoke,
    Narrow,
    Renew,
];

const ENDS: [End; 5] = [End::Withdrawn, End::Revoked, End::Expired, End::Consumed, End::Superseded];

const ACTIVE: Grant = Grant::Active(ALLOWANCE);

const fn paused(suspended: Option<Suspension>) -> Grant {
    Grant::Paused { allowance: ALLOWANCE, suspended }
}

const fn suspended(by: Suspension) -> Grant {
    Grant::Suspended { allowance: ALLOWANCE, by }
}

const OPEN: [Grant; 8] = [
    ACTIVE,
    paused(None),
    paused(Some(BySource)),
    paused(Some(ByOperator)),
    paused(Some(ByBoth)),
    suspended(BySource),
    suspended(ByOperator),
    suspended(ByBoth),
];

impl Verb {
    fn name(self) -> &'static str {
        match self {
            Pause => "pause",
            Resume => "resume",
            Suspend(_) => "suspend",
            Unsuspend(_) => "unsuspend",
            Withdraw => "withdraw",
            Revoke => "revoke",
            Narrow => "narrow",
            Renew => "renew",
        }
    }

    fn apply(self, grant: Grant, at: Timestamp) -> Result<Grant, NotAllowed> {
        match self {
            Pause => grant.pause(at),
            Resume => grant.resume(at),
            Suspend(by) => grant.suspend(by, at),
            Unsuspend(by) => grant.unsuspend(by, at),
            Withdraw => grant.withdraw(at),
            Revoke => grant.revoke(at),
            Narrow => grant.narrow(at),
            Renew => grant.renew(at),
        }
    }
}

/// The whole row of the table: what is allowed from a state, in the order of `VERBS`; `None` is refused by `name`. The
/// last says what comes of a narrowing and of a renewal alike.
fn check(from: Grant, at: Timestamp, name: &'static str, expected: &[Option<Grant>; 9]) {
    let superseding = (Renew, expected[8]);
    for (verb, expected) in VERBS.into_iter().zip(*expected).chain([superseding]) {
        let refused = NotAllowed { resource: "grant", state: name, verb: verb.name() };
        assert_eq!(verb.apply(from, at), expected.ok_or(refused), "{from:?} {verb:?} at {at}");
    }
}

#[test]
fn every_state_meets_every_verb() {
    let withdrawn = Some(Grant::Ended(End::Withdrawn));
    let revoked = Some(Grant::Ended(End::Revoked));
    let superseded = Some(Grant::Ended(End::Superseded));
    let pause = |by| Some(paused(by));
    let hold = |by| Some(suspended(by));
    let active = Some(ACTIVE);

    // pause, resume, suspend by source, by operator, unsuspend by source, by operator, withdraw, revoke, narrow or renew
    let table = [
        (
            ACTIVE,
            [pause(None), None, hold(BySource), hold(ByOperator), None, None, withdrawn, revoked, superseded],
        ),
        (
            paused(None),
            [
                None,
                active,
                pause(Some(BySource)),
                pause(Some(ByOperator)),
                None,
                None,
                withdrawn,
                revoked,
                None,
            ],
        ),
        (
            paused(Some(BySource)),
            [None, hold(BySource), None, pause(Some(ByBoth)), pause(None), None, withdrawn, revoked, None],
        ),
        (
            paused(Some(ByOperator)),
            [None, hold(ByOperator), pause(Some(ByBoth)), None, None, pause(None), withdrawn, revoked, None],
        ),
        (
            paused(Some(ByBoth)),
            [
                None,
                hold(ByBoth),
                None,
                None,
                pause(Some(ByOperator)),
                pause(Some(BySource)),
                withdrawn,
                revoked,
                None,
            ],
        ),
        (
            suspended(BySource),
            [pause(Some(BySource)), None, None, hold(ByBoth), active, None, withdrawn, revoked, None],
        ),
        (
            suspended(ByOperator),
            [pause(Some(ByOperator)), None, hold(ByBoth), None, None, active, withdrawn, revoked, None],
        ),
        (
            suspended(ByBoth),
            [
                pause(Some(ByBoth)),
                None,
                None,
                None,
                hold(ByOperator),
                hold(BySource),
                withdrawn,
                revoked,
                None,
            ],
        ),
    ];
    for (from, expected) in table {
        let name = match from {
            Grant::Active(_) => "ACTIVE",
            Grant::Paused { .. } => "PAUSED",
            _ => "SUSPENDED",
        };
        check(from, BEFORE, name, &expected);
        check(from, EXPIRES, "EXPIRED", &[None; 9]);
    }
    for (end, name) in ENDS.into_iter().zip(["WITHDRAWN", "REVOKED", "EXPIRED", "CONSUMED", "SUPERSEDED"]) {
        check(Grant::Ended(end), BEFORE, name, &[None; 9]);
        check(Grant::Ended(end), EXPIRES, name, &[None; 9]);
    }
}

#[test]
fn clock_and_count_end_what_is_open() {
    let with = |expire, spent| {
        let allowance = Allowance { expire_time: Timestamp::from_millis(expire), uses: 12, spent };
        Grant::Active(allowance).at(BEFORE)
    };
    assert_eq!(with(999, 0), Grant::Ended(End::Expired), "the expiry itself is over");
    assert_eq!(with(999, 12), Grant::Ended(End::Consumed), "uses are spent before the time is over");
    assert_eq!(with(1_000, 12), Grant::Ended(End::Consumed));
    assert_eq!(with(1_000, u64::MAX), Grant::Ended(End::Consumed));
    assert!(matches!(with(1_000, 11), Grant::Active(_)));
    for grant in OPEN {
        assert_eq!(grant.at(BEFORE), grant);
        assert_eq!(grant.at(EXPIRES), Grant::Ended(End::Expired));
    }
}

#[test]
fn what_was_consumed_is_not_reopened_by_a_pause() {
    let spent = Allowance { spent: 12, ..ALLOWANCE };
    check(Grant::Active(spent), BEFORE, "CONSUMED", &[None; 9]);
    check(Grant::Paused { allowance: spent, suspended: None }, BEFORE, "CONSUMED", &[None; 9]);
    check(Grant::Suspended { allowance: spent, by: ByBoth }, BEFORE, "CONSUMED", &[None; 9]);
}

#[test]
fn rows_keep_the_state() {
    for grant in OPEN.into_iter().chain(ENDS.map(Grant::Ended)) {
        let mut row =
            GrantRow { suspended_by_source: true, suspended_by_operator: true, ..GrantRow::default() };
        grant.write_to(&mut row);
        assert_eq!(Grant::from_row(&row, ALLOWANCE), Ok(grant));
    }
}

#[test]
fn rows_that_nothing_wrote_are_refused() {
    let read = |state: i32, suspended_by_source| {
        Grant::from_row(&GrantRow { state, suspended_by_source, ..GrantRow::default() }, ALLOWANCE)
    };
    for number in [i32::MIN, -1, 0, 9, i32::MAX] {
        assert_eq!(read(number, false), Err(BadRow::UnknownState { resource: "grant", number }));
    }
    for (state, by_source) in [
        (State::Active, true),
        (State::Suspended, false),
        (State::Withdrawn, true),
        (State::Superseded, true),
    ] {
        let found = read(state.into(), by_source);
        assert!(matches!(found, Err(BadRow::Contradiction { .. })), "{state:?}: {found:?}");
    }
}

fn any_grant() -> impl Strategy<Value = Grant> {
    let allowance = (0..2_000_u64, 0..4_u32, 0..4_u64).prop_map(|(expire, uses, spent)| Allowance {
        expire_time: Timestamp::from_millis(expire),
        uses,
        spent,
    });
    let open = (allowance, proptest::sample::select(&OPEN[..])).prop_map(|(allowance, grant)| match grant {
        Grant::Active(_) => Grant::Active(allowance),
        Grant::Paused { suspended, .. } => Grant::Paused { allowance, suspended },
        Grant::Suspended { by, .. } => Grant::Suspended { allowance, by },
        ended @ Grant::Ended(_) => ended,
    });
    prop_oneof![4 => open, 1 => proptest::sample::select(&ENDS[..]).prop_map(Grant::Ended)]
}

fn any_verbs() -> impl Strategy<Value = Vec<(Verb, u64)>> {
    // Moments in any order: a caller whose clock went back must not reopen what was written as ended.
    proptest::collection::vec((proptest::sample::select(&VERBS[..]), 0..2_000_u64), 0..24)
}

proptest! {
    #[test]
    fn an_ended_grant_never_reopens(start in any_grant(), verbs in any_verbs()) {
        let mut grant = start;
        for (verb, at) in verbs {
            let before = grant;
            if let Ok(after) = verb.apply(grant, Timestamp::from_millis(at)) {
                prop_assert!(!matches!(before, Grant::Ended(_)), "{before:?} {verb:?} gave {after:?}");
                grant = after;
            }
        }
    }

    #[test]
    fn what_is_over_stays_over(grant in any_grant(), now in 0..2_000_u64, later in 0..2_000_u64) {
        let first = grant.at(Timestamp::from_millis(now));
        let then = Timestamp::from_millis(now + later);
        prop_assert_eq!(first.at(then), grant.at(then), "judging twice changes nothing");
        if matches!(first, Grant::Ended(_)) {
            prop_assert_eq!(grant.at(then), first);
            for verb in VERBS {
                prop_assert!(verb.apply(grant, then).is_err(), "{:?} {:?}", grant, verb);
            }
        }
    }

    #[test]
    fn no_stop_extends(grant in any_grant(), verbs in any_verbs(), at in 0..2_000_u64) {
        let end = Timestamp::from_millis(2_000);
        let mut grant = grant;
        for (verb, moment) in verbs {
            grant = verb.apply(grant, Timestamp::from_millis(moment.min(at))).unwrap_or(grant);
        }
        prop_assert!(matches!(grant.at(end), Grant::Ended(_)), "every expiry drawn lies before the end");
    }
}
