//! Twenty brands ask for a month, through the services, the sweeper and the ledger. What must hold is computed anew
//! ([`judge`]): from what was put, when it was shown and how it was answered, without the code that decides.

mod crowd;
mod judge;

use countersign_grants::id::Principal;
use countersign_proto::{
    log::v1::Kind,
    v1::{
        self, event_service_server::EventService as _, grant_request::State,
        grant_service_server::GrantService as _,
    },
};

use self::{
    crowd::{BRANDS, Crowd, Dice},
    judge::{DAY, HOUR, Habit, LIFETIME},
};
use super::{
    Setting,
    world::{World, as_brand, as_person, called_by, refused},
};
use crate::sweeper;

const MINUTE: u64 = 60_000;

/// The clock of a world begins at noon in London, on the 8th of March 2013. Within thirty days from then New York goes over
/// to summer time, then Berlin, and Auckland back.
///
/// Three requests at the end of each week are at noon in London too, so that these hours begin or end, on the days of the
/// change alone, between the right hour and the one beside it.
const FOUR: [Habit; 4] = [
    // Sleeps by day: noon in London is 7 in the morning there, and 8 from the 10th of March on.
    Habit {
        zone: "America/New_York",
        quiet: (8 * 60, 16 * 60),
        offsets: &[(0, -300), (43 * HOUR, -240)],
        ..NONE
    },
    // Works from two in the afternoon: noon in London is 1 there, and 2 from the 31st of March on.
    Habit {
        zone: "Europe/Berlin",
        quiet: (14 * 60, 18 * 60),
        offsets: &[(0, 60), (22 * DAY + 13 * HOUR, 120)],
        ..NONE
    },
    Habit { zone: "Asia/Kolkata", quiet: (22 * 60, 8 * 60), offsets: &[(0, 330)], ..NONE },
    Habit {
        zone: "Pacific/Auckland",
        quiet: (22 * 60, 8 * 60),
        offsets: &[(0, 780), (29 * DAY + 2 * HOUR, 720)],
        ..NONE
    },
];

/// Has set nothing: one request a day, three a week.
const NONE: Habit = Habit { zone: "", quiet: (0, 0), offsets: &[(0, 0)], budget: (0, 0) };

/// Has set the most that can be.
const OPEN: Habit = Habit { budget: (10, 30), ..NONE };

/// Before a brand has its turn each other one has at most one, and there are three in seven days.
const LONGEST_WAIT: u64 = (BRANDS as u64).div_ceil(3) * 7 * DAY;

/// With thirty turns in seven days, twenty brands have one each before the eighth.
const LONGEST_OPEN_WAIT: u64 = 7 * DAY;

/// Two brands that an open person refuses whatever they ask.
const UNWANTED: [usize; 2] = [3, 4];

#[tokio::test]
async fn twenty_brands_ask_five_people_for_a_month_within_each_ones_budget_and_hours() {
    let habits = [&FOUR[0], &FOUR[1], &FOUR[2], &FOUR[3], &OPEN];
    let mut crowd = Crowd::open(&habits, &UNWANTED).await;
    let step = 30 * MINUTE;
    for at in 0..30 * DAY / step {
        crowd.step(step, 2 * DAY).await;
        if at % (DAY / step) == 0 {
            crowd.nothing_is_told().await;
        }
    }
    crowd.events_tell_as_much().await;
    for life in &crowd.lives[..4] {
        // Four weeks and two days at three a week; the first day of the fifth week begins a fifth window.
        let counts: Vec<_> = life.judge.shown.iter().map(Vec::len).collect();
        let shows: usize = counts.iter().sum();
        assert!((13..=15).contains(&shows), "{}: {counts:?}", life.judge.habit.zone);
        assert!(counts.iter().all(|count| *count <= 1), "one twice before all once: {counts:?}");
    }
    // The days of the change moved a turn by the hours that its morning, afternoon or night was quiet then.
    let shown_at = |life: usize| crowd.lives[life].judge.spent.iter().map(|at| at - crowd.start);
    assert!(shown_at(0).any(|at| at == 2 * DAY + 8 * HOUR), "New York at 16:00 of the 10th of March");
    assert!(shown_at(1).any(|at| at == 23 * DAY + 4 * HOUR), "Berlin at 18:00 of the 31st of March");
    assert!(shown_at(3).any(|at| at == 29 * DAY + 8 * HOUR), "Auckland at 8:00 of the 7th of April");
    let open = &crowd.lives[4].judge;
    for brand in 0..BRANDS {
        let waited = open.longest_wait(brand, crowd.world.now());
        assert!(waited <= LONGEST_OPEN_WAIT, "brand {brand} starved for {waited} ms");
    }
    for brand in UNWANTED {
        assert_eq!(open.shown[brand].len(), 2, "silent after two");
        assert!(crowd.lives[4].turned_away[brand] >= 5, "it goes on asking, and is told for how long");
    }
}

#[tokio::test]
async fn each_brand_that_goes_on_asking_is_shown_within_seven_weeks_and_a_silent_one_after_ninety_days() {
    let mut crowd = Crowd::open(&[&NONE, &OPEN], &UNWANTED).await;
    let step = 2 * HOUR;
    for _ in 0..108 * DAY / step {
        crowd.step(step, 30 * DAY).await;
    }
    let patient = &crowd.lives[0].judge;
    for brand in 0..BRANDS {
        let waited = patient.longest_wait(brand, crowd.world.now());
        assert!(waited <= LONGEST_WAIT, "brand {brand} starved for {waited} ms");
        assert!(!patient.shown[brand].is_empty(), "brand {brand} was never shown");
    }
    for brand in UNWANTED {
        // The judge holds the third to 90 days after the second refusal; here it is seen to come.
        assert!(crowd.lives[1].judge.shown[brand].len() >= 3, "brand {brand} is heard again");
    }
}

/// All that a brand can see of its requests while nobody answers: what each call says, and each of its events.
async fn seen_by_one(others: bool) -> Vec<String> {
    let crowd = Crowd::open(&[&FOUR[0], &OPEN], &[]).await;
    let mut dice = Dice(7);
    let mut seen = Vec::new();
    let mut own: Vec<String> = Vec::new();
    for step in 0..14 * DAY / (6 * HOUR) {
        for life in 0..crowd.lives.len() {
            if others {
                for brand in 1..BRANDS {
                    if dice.roll(3) == 0 {
                        crowd.put(life, brand).await.expect("is put");
                    }
                }
            }
            if step % 3 == 0 {
                let answer = crowd.put(life, 0).await.expect("is put");
                seen.push(told(&answer));
                own.push(answer.name);
            }
            crowd.lists(life).await;
        }
        sweeper::sweep(&crowd.world.broker).await.expect("a sweep");
        sweeper::show(&crowd.world.broker).await.expect("a sweep");
        for name in &own {
            seen.push(told(&crowd.as_seen_by(0, name).await));
        }
        crowd.world.pass(6 * HOUR);
    }
    // What ends in one moment is told in the order of hashes, which say nothing.
    let told = |event: v1::Event| {
        format!("{:?} {:?} {} {}", event.event_time, event.kind(), event.reason, event.subject)
    };
    let mut events: Vec<_> = crowd.events(0).await.into_iter().map(told).collect();
    events.sort_unstable();
    seen.append(&mut events);
    seen
}

/// A request without the hashes that follow from the checkpoint that it names.
fn told(request: &v1::GrantRequest) -> String {
    let (state, grants) = (request.state(), &request.grants);
    let times = (&request.create_time, &request.expire_time, &request.shown_time);
    format!("{state:?} {grants:?} {times:?}")
}

#[tokio::test]
async fn what_a_brand_sees_is_the_same_whether_nineteen_others_ask_or_none() {
    let (alone, crowded) = (seen_by_one(false).await, seen_by_one(true).await);
    assert!(alone.iter().any(|seen| seen.starts_with("Lapsed")), "some ended");
    assert!(alone.iter().any(|seen| seen.contains("RequestLapsed")), "and it was told so");
    let differs = alone.iter().zip(&crowded).find(|(alone, crowded)| alone != crowded);
    assert_eq!((differs, alone.len()), (None, crowded.len()));
}

#[tokio::test]
async fn what_waits_lapses_by_its_age_and_to_the_moment() {
    let s = Setting::new().await;
    let ask = async || {
        s.world.pass(1);
        s.world
            .request_for(LIFETIME, &s.hopp, &s.to.subject, &[(&s.offer_name(), false)])
            .await
            .expect("asks")
    };
    let (first, waiting) = (ask().await, ask().await);
    sweeper::show(&s.world.broker).await.expect("a sweep");
    let state = async |request: &v1::GrantRequest| {
        let asked = v1::GetGrantRequestRequest { name: request.name.clone() };
        let seen = s.world.grants().get_grant_request(as_brand(&s.hopp, asked)).await.expect("its own");
        seen.into_inner().state()
    };
    // The first was shown at once, the second waits: both by the day on which they were put.
    s.world.pass(LIFETIME - 2);
    assert_eq!((state(&first).await, state(&waiting).await), (State::Requested, State::Requested));
    s.world.pass(1);
    assert_eq!((state(&first).await, state(&waiting).await), (State::Lapsed, State::Requested));
    s.world.pass(1);
    assert_eq!((state(&first).await, state(&waiting).await), (State::Lapsed, State::Lapsed));
    let refuse = v1::RefuseGrantRequestRequest { name: waiting.name };
    assert_eq!(
        refused(s.world.grants().refuse_grant_request(as_person(&s.mei, refuse)).await),
        "WRONG_STATE"
    );
}

impl Crowd {
    /// All events of one brand about requests and grants.
    async fn events(&self, brand: usize) -> Vec<v1::Event> {
        let its = Principal::Partner(self.brands[brand].name.clone());
        let kinds = [
            Kind::RequestCreated,
            Kind::RequestShown,
            Kind::RequestDeferred,
            Kind::RequestRefused,
            Kind::RequestCancelled,
            Kind::RequestLapsed,
        ];
        events_of(&self.world, its, 0, &kinds).await
    }
}

/// All events of a principal of these kinds, from a record on.
async fn events_of(world: &World, principal: Principal, cursor: u64, kinds: &[Kind]) -> Vec<v1::Event> {
    let (mut events, mut page_token) = (Vec::new(), String::new());
    loop {
        let asked = v1::ListEventsRequest {
            parent: principal.to_string(),
            cursor,
            kinds: kinds.iter().map(|kind| i32::from(*kind)).collect(),
            page_size: 200,
            page_token,
        };
        let page = world.events().list_events(called_by(principal.clone(), asked)).await.expect("events");
        let page = page.into_inner();
        events.extend(page.events);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return events;
        }
    }
}
