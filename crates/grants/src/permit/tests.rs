use countersign_proto::statement::v1 as wire;

use super::*;
use crate::{
    fixtures::{NOW_MS, fetch, signed, signed_fetch, terms},
    statement::{MAX_FETCH_AGE, Statement as _},
};

/// One thing that a fetch can get wrong, in the order in which it is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Wrong {
    Caller,
    Recipient,
    Time,
    Order,
    State,
    Source,
    Purpose,
    Field,
    Uses,
    Rate,
}

const ALL: [Wrong; 10] = [
    Wrong::Caller,
    Wrong::Recipient,
    Wrong::Time,
    Wrong::Order,
    Wrong::State,
    Wrong::Source,
    Wrong::Purpose,
    Wrong::Field,
    Wrong::Uses,
    Wrong::Rate,
];

const STATES: [(State, Option<&str>); 9] = [
    (State::Active, None),
    (State::Paused, Some("GRANT_PAUSED")),
    (State::Suspended, Some("GRANT_SUSPENDED")),
    (State::Withdrawn, Some("GRANT_ENDED")),
    (State::Revoked, Some("GRANT_ENDED")),
    (State::Expired, Some("GRANT_ENDED")),
    (State::Superseded, Some("GRANT_ENDED")),
    (State::Unspecified, Some("GRANT_ENDED")),
    // Uses that are spent say so by their number.
    (State::Consumed, None),
];

fn expected(wrong: Wrong, state: Option<&'static str>) -> &'static str {
    match wrong {
        Wrong::Caller => "GRANT_UNKNOWN",
        Wrong::Recipient => "PARTNER_SUSPENDED",
        Wrong::Time => "STATEMENT_INVALID",
        Wrong::Order => "GRANT_ENDED",
        Wrong::State => state.expect("the state is wrong"),
        Wrong::Source => "SOURCE_UNAVAILABLE",
        Wrong::Purpose => "PURPOSE_NOT_ALLOWED",
        Wrong::Field => "FIELD_NOT_GRANTED",
        Wrong::Uses | Wrong::Rate => "FREQUENCY_EXCEEDED",
    }
}

/// What is signed, made once: four fetches, by whether purpose and field are wrong.
struct Papers {
    catalogue: Catalogue,
    terms: Signed<GrantTerms>,
    fetches: [Signed<Fetch>; 4],
}

impl Papers {
    fn new() -> Self {
        let fetches = [(false, false), (false, true), (true, false), (true, true)].map(|(purpose, field)| {
            let mut asked = fetch();
            if purpose {
                asked.purpose = "ride_updates".into();
            }
            if field {
                asked.fields.push("trip.eta".into());
            }
            signed_fetch(&asked)
        });
        Self { catalogue: Catalogue::shipped(), terms: signed::<GrantTerms>(&terms()), fetches }
    }

    fn reason(&self, wrongs: &[Wrong], state: State) -> Result<Permit, &'static str> {
        let is = |wrong| wrongs.contains(&wrong);
        let partner = |id| PartnerName::of_id(id).expect("an id");
        let standing = |suspended| if suspended { Partner::Suspended } else { Partner::Active };
        let now = Timestamp::from_millis(NOW_MS);
        judge(&Case {
            caller: &partner(if is(Wrong::Caller) { "chirp" } else { "hopp" }),
            fetch: &self.fetches[usize::from(is(Wrong::Purpose)) * 2 + usize::from(is(Wrong::Field))],
            terms: &self.terms,
            state,
            erasure_ordered: is(Wrong::Order),
            spent: Spent {
                uses: if is(Wrong::Uses) { 12 } else { 11 },
                window: Some((now, if is(Wrong::Rate) { 3 } else { 2 })),
            },
            catalogue: &self.catalogue,
            tap: Tapped::No,
            source: standing(is(Wrong::Source)),
            recipient: standing(is(Wrong::Recipient)),
            now: if is(Wrong::Time) { now.plus(MAX_FETCH_AGE + Duration::from_millis(1)) } else { now },
        })
        .map_err(|refusal| refusal.reason())
    }
}

#[test]
fn every_combination_is_refused_for_the_first_thing_that_is_wrong() {
    let papers = Papers::new();
    let mut judged = 0;
    for (state, refused) in STATES {
        for set in 0..1_u32 << ALL.len() {
            let mut wrongs: Vec<Wrong> = ALL
                .into_iter()
                .enumerate()
                .filter(|(bit, _)| set >> bit & 1 == 1)
                .map(|(_, wrong)| wrong)
                .collect();
            // The state is a dimension of its own.
            if wrongs.contains(&Wrong::State) != refused.is_some() {
                continue;
            }
            let got = papers.reason(&wrongs, state);
            wrongs.sort_unstable();
            match wrongs.first() {
                Some(first) => assert_eq!(got.err(), Some(expected(*first, refused)), "{state:?} {wrongs:?}"),
                None => assert!(got.is_ok(), "{state:?} {got:?}"),
            }
            judged += 1;
        }
    }
    assert_eq!(judged, STATES.len() << (ALL.len() - 1));
}

#[test]
fn a_permit_says_what_was_judged() {
    let permit = Papers::new().reason(&[], State::Active).expect("permitted");
    assert_eq!(permit.grant().digest(), permit.terms());
    assert_eq!(permit.fields().iter().map(FieldPath::as_str).collect::<Vec<_>>(), ["trip.airport"]);
    assert_eq!((permit.source().id(), permit.recipient().id()), ("skylark", "hopp"));
    assert_eq!((permit.use_limit(), permit.rate()), (12, Some((3, Duration::from_secs(60)))));
    assert_eq!(permit.log_tag(), &[4; 32]);
    assert_eq!(permit.fetch(), signed_fetch(&fetch()).digest());
}

#[test]
fn a_window_ends_and_spent_uses_do_not() {
    let terms = signed::<GrantTerms>(&terms());
    let start = Timestamp::from_millis(NOW_MS);
    let at = |seconds| start.plus(Duration::from_secs(seconds));
    let spent = |uses, in_window| Spent { uses, window: Some((start, in_window)) };
    let after = |refused| match refused {
        Err(Refusal::FrequencyExceeded { retry_after }) => retry_after,
        other => panic!("{other:?}"),
    };
    let check = |spent, now| affordable(terms.statement(), spent, now);
    assert_eq!(after(check(spent(3, 3), at(20))), Some(Duration::from_secs(40)));
    assert_eq!(check(spent(3, 3), at(60)), Ok(()));
    assert_eq!(after(check(spent(12, 0), at(60))), None);
    assert_eq!(check(Spent::default(), start), Ok(()));
}

#[test]
fn a_fetch_is_good_for_as_long_before_as_after() {
    let asked = signed_fetch(&fetch());
    let said = asked.statement().time;
    let over = MAX_FETCH_AGE + Duration::from_millis(1);
    for (now, fresh) in [
        (said.plus(MAX_FETCH_AGE), true),
        (said.minus(MAX_FETCH_AGE), true),
        (said.plus(over), false),
        (said.minus(over), false),
    ] {
        assert_eq!(asked.statement().is_fresh(now), fresh);
    }
}

#[test]
fn a_precise_location_waits_for_a_tap_of_its_own() {
    let terms = Digest::of(b"terms");
    let asked = |tap: Option<Digest>, fields: &[&str]| {
        let fields = fields.iter().map(|field| (*field).to_owned()).collect();
        let tap = tap.map(Into::into).unwrap_or_default();
        signed_fetch(&wire::Fetch { fields, tap, ..fetch() })
    };
    let tap = |fields: &[&str], ahead_ms: u64| {
        let message = wire::LocationTap {
            broker: crate::fixtures::origin().to_string(),
            terms: terms.into(),
            fields: fields.iter().map(|field| (*field).to_owned()).collect(),
            request_id: fetch().request_id,
            time_ms: NOW_MS + ahead_ms,
            expire_time_ms: NOW_MS + ahead_ms + 300_000,
        };
        LocationTap::parse(message).expect("a tap")
    };
    let (good, digest) = (tap(&["pickup.location"], 0), Digest::of(b"tap"));
    let (elsewhere, early) = (tap(&["ride.location"], 0), tap(&["pickup.location"], 120_001));
    let now = Timestamp::from_millis(NOW_MS);
    let reason = |fetch: &Signed<Fetch>, terms, tap, now| {
        tapped(fetch.statement(), terms, tap, now).map_err(|refusal| refusal.reason())
    };
    let by = |tap| Tapped::By(tap, digest);
    let place = asked(Some(digest), &["pickup.location", "trip.airport"]);
    let required = Err("TAP_REQUIRED");
    assert_eq!(reason(&place, terms, by(&good), now), Ok(()));
    assert_eq!(reason(&place, terms, Tapped::Used, now), Ok(()));
    assert_eq!(reason(&asked(None, &["trip.airport"]), terms, Tapped::No, now), Ok(()), "needs none");
    assert_eq!(reason(&place, terms, Tapped::No, now), required);
    assert_eq!(reason(&asked(None, &["pickup.location"]), terms, by(&good), now), required, "names none");
    let other = asked(Some(Digest::of(b"other")), &["pickup.location"]);
    assert_eq!(reason(&other, terms, by(&good), now), required);
    assert_eq!(reason(&place, Digest::of(b"other"), by(&good), now), required);
    assert_eq!(reason(&place, terms, by(&elsewhere), now), required);
    let after = |millis: u64| now.plus(Duration::from_millis(millis));
    assert_eq!(reason(&place, terms, by(&good), after(299_999)), Ok(()));
    assert_eq!(reason(&place, terms, by(&good), after(300_000)), required);
    assert_eq!(reason(&place, terms, by(&early), now), required, "of the future");
}
