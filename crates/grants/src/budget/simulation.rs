//! Twenty brands ask one person for a month. What must hold is computed here anew, without the code that decides.

use std::time::Duration;

use super::{
    Asker, Asking, Budget, Candidate, DAY, Defaults, Next, QuietHours, REFUSALS, WEEK, Zone, still_counts,
};
use crate::{id::PartnerName, time::Timestamp};

const BRANDS: usize = 20;
const START: u64 = 1_790_000_000_000;
const MINUTE: u64 = 60_000;
/// How finely time passes.
const STEP: u64 = 5 * MINUTE;
const DAY_MS: u64 = 24 * 60 * MINUTE;
/// The longest that a request can wait.
const LIFETIME_MS: u64 = 7 * DAY_MS;
/// Kolkata has one offset all year, so that local time is a sum.
const OFFSET_MS: u64 = 330 * MINUTE;
const QUIET: (u64, u64) = (22 * 60, 8 * 60);

/// Numbers that look random and are the same each time (xorshift64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// One brand, as the person meets it.
#[derive(Default)]
struct Brand {
    /// When its requests that wait were put, oldest first.
    waiting: Vec<u64>,
    asker: Asker,
    /// When it was refused in a row.
    refused: Vec<u64>,
    /// Shows of others since it began to wait without a break.
    overtaken: usize,
    shown: Vec<u64>,
}

struct Month {
    seed: u64,
    budget: Budget,
    days: u64,
    /// One brand puts a request in so many steps, on average.
    every: u64,
    /// Of ten answers so many are refusals.
    refusals: u64,
}

/// Runs a month; what became of each brand.
fn run(month: &Month) -> Vec<Brand> {
    let seed = month.seed;
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15 ^ seed);
    let zone = Zone::parse("Asia/Kolkata").expect("a zone");
    let quiet = QuietHours::new(zone, QUIET.0 as u32, QUIET.1 as u32).expect("hours");
    let asking = Asking { budget: month.budget, quiet: Some(quiet), paused: false };
    let silence = Defaults::default().silence;
    let names: Vec<_> =
        (0..BRANDS).map(|n| PartnerName::of_id(&format!("brand-{n}")).expect("an id")).collect();
    let mut brands: Vec<Brand> = (0..BRANDS).map(|_| Brand::default()).collect();
    let mut spent = Vec::<Timestamp>::new();

    for step in 0..month.days * DAY_MS / STEP {
        let ms = START + step * STEP;
        let now = Timestamp::from_millis(ms);
        for (n, brand) in brands.iter_mut().enumerate() {
            brand.waiting.retain(|put| ms < put + LIFETIME_MS);
            // The first one floods: whoever asks more often must not get more.
            let often = if n == 0 { month.every / 50 } else { month.every };
            if dice.roll(often.max(1)) == 0 {
                brand.waiting.push(ms);
            }
            if brand.waiting.is_empty() || brand.asker.silent_for(now).is_some() {
                brand.overtaken = 0;
            }
        }
        let kept: Vec<_> = still_counts(&spent, now).collect();
        let (places, candidates): (Vec<_>, Vec<_>) = (0..BRANDS)
            .filter_map(|n| {
                let created = Timestamp::from_millis(*brands[n].waiting.first()?);
                Some((n, Candidate { partner: names[n].clone(), asker: brands[n].asker, created }))
            })
            .unzip();
        let next = asking.next(&kept, &candidates, now);
        match next {
            Next::Show(place) => {
                let n = places[place];
                may_be_shown(month, &spent, ms);
                fair(&brands, n, ms, seed);
                spent.push(now);
                for (other, brand) in brands.iter_mut().enumerate() {
                    brand.overtaken = if other == n { 0 } else { brand.overtaken + 1 };
                    assert!(
                        brand.waiting.is_empty() || brand.overtaken < BRANDS,
                        "seed {seed}: brand {other} starves at {ms}"
                    );
                }
                answer(&mut brands[n], ms, now, dice.roll(10) < month.refusals, silence);
            }
            Next::Wait(until) => {
                assert!(until > now, "seed {seed}: waits for what is past");
                idle_for_a_reason(month, &brands, &spent, ms);
            }
            Next::Rest => assert!(candidates.is_empty(), "seed {seed}: rests while {candidates:?} wait"),
        }
    }
    brands
}

fn answer(brand: &mut Brand, ms: u64, now: Timestamp, refuses: bool, silence: Duration) {
    let silent = brand.refused.len() == REFUSALS as usize;
    assert!(!silent || ms >= brand.refused[1] + 90 * DAY_MS, "a silent brand was shown at {ms}");
    if silent {
        brand.refused.clear();
    }
    brand.waiting.remove(0);
    brand.shown.push(ms);
    brand.asker = brand.asker.shown(now);
    if refuses {
        brand.asker = brand.asker.refused(now, silence);
        brand.refused.push(ms);
    } else {
        brand.asker = brand.asker.approved();
        brand.refused.clear();
    }
}

fn in_budget(month: &Month, spent: &[Timestamp], ms: u64) -> bool {
    let within = |window: Duration| {
        let window = u64::try_from(window.as_millis()).expect("a week");
        spent.iter().filter(|at| at.as_millis() + window > ms).count() as u64
    };
    within(DAY) < month.budget.per_day().into() && within(WEEK) < month.budget.per_week().into()
}

fn is_quiet(ms: u64) -> bool {
    let minute = (ms + OFFSET_MS) / MINUTE % (24 * 60);
    minute >= QUIET.0 || minute < QUIET.1
}

fn may_be_shown(month: &Month, spent: &[Timestamp], ms: u64) {
    assert!(in_budget(month, spent, ms), "seed {}: over the budget at {ms}", month.seed);
    assert!(!is_quiet(ms), "seed {}: within quiet hours at {ms}", month.seed);
}

/// No partner that may be shown was shown longer ago than the one that is.
fn fair(brands: &[Brand], shown: usize, ms: u64, seed: u64) {
    let now = Timestamp::from_millis(ms);
    let last = |brand: &Brand| brand.shown.last().copied();
    for (n, brand) in brands.iter().enumerate() {
        let waits = !brand.waiting.is_empty() && brand.asker.silent_for(now).is_none();
        assert!(!waits || last(brand) >= last(&brands[shown]), "seed {seed}: {n} before {shown} at {ms}");
    }
}

/// A step passes without a show only outside the budget, within quiet hours, or when all who wait are silent.
fn idle_for_a_reason(month: &Month, brands: &[Brand], spent: &[Timestamp], ms: u64) {
    let now = Timestamp::from_millis(ms);
    let speaks = |brand: &&Brand| !brand.waiting.is_empty() && brand.asker.silent_for(now).is_none();
    assert!(
        !in_budget(month, spent, ms) || is_quiet(ms) || brands.iter().all(|brand| !speaks(&brand)),
        "seed {}: idle at {ms}",
        month.seed
    );
}

#[test]
fn twenty_brands_in_thirty_days_stay_inside_the_budget() {
    for seed in 1..=8 {
        let month = Month { seed, budget: Defaults::default().budget, days: 30, every: 400, refusals: 3 };
        let brands = run(&month);
        let shows: usize = brands.iter().map(|brand| brand.shown.len()).sum();
        // Four weeks and two days at three a week; the first day of the fifth week begins a fifth window.
        assert!((13..=15).contains(&shows), "seed {seed}: {shows} shows");
        assert!(brands.iter().all(|brand| brand.shown.len() <= 1), "seed {seed}: one twice before all once");
    }
}

#[test]
fn no_brand_starves_however_long_and_whoever_floods() {
    for seed in 1..=3 {
        let budget = Budget::new(10, 30).expect("within");
        let brands = run(&Month { seed, budget, days: 60, every: 200, refusals: 0 });
        let counts: Vec<_> = brands.iter().map(|brand| brand.shown.len()).collect();
        let shows: usize = counts.iter().sum();
        assert!(shows > 200, "seed {seed}: {shows} shows");
        assert!(counts.iter().all(|count| *count >= 8), "seed {seed}: {counts:?}");
        // Fifty times as many requests bring the turns at which few others wait, and no more.
        assert!(counts[0] <= shows / BRANDS * 3 / 2 + 1, "seed {seed}: {counts:?}");
    }
}

#[test]
fn who_is_refused_twice_is_silent_for_a_season() {
    for seed in 1..=3 {
        let budget = Budget::new(10, 30).expect("within");
        let brands = run(&Month { seed, budget, days: 30, every: 400, refusals: 10 });
        assert!(brands.iter().all(|brand| brand.shown.len() <= REFUSALS as usize), "seed {seed}");
        assert!(brands.iter().any(|brand| brand.shown.len() == REFUSALS as usize), "seed {seed}");
    }
}
