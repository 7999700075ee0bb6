//! What must hold of the requests that one person is shown, computed from when they were put, shown and answered.

use super::crowd::BRANDS;

pub(super) const HOUR: u64 = 3_600_000;
pub(super) const DAY: u64 = 24 * HOUR;

/// The longest that a request can wait.
pub(super) const LIFETIME: u64 = 7 * DAY;

const SILENCE: u64 = 90 * DAY;

/// How a person is asked.
pub(super) struct Habit {
    pub(super) zone: &'static str,
    /// Minutes of the local day; none if both are the same.
    pub(super) quiet: (u64, u64),
    /// Minutes between the zone's clock and UTC, each from so many milliseconds after the start on.
    pub(super) offsets: &'static [(u64, i64)],
    /// A day and a week; what the broker does by itself if 0.
    pub(super) budget: (u32, u32),
}

/// What one person was shown, and by whom.
pub(super) struct Judge {
    pub(super) habit: &'static Habit,
    start: u64,
    /// When a request was shown, all brands together.
    pub(super) spent: Vec<u64>,
    /// The same by brand.
    pub(super) shown: Vec<Vec<u64>>,
    /// Refusals in a row, by brand.
    refused: Vec<Vec<u64>>,
    /// When the requests that wait were put, by brand.
    waiting: Vec<Vec<u64>>,
    /// Since when a brand has had something that waits, without a break.
    since: Vec<Option<u64>>,
    /// Turns of others since then.
    overtaken: Vec<usize>,
    longest_wait: Vec<u64>,
}

impl Judge {
    pub(super) fn new(habit: &'static Habit, start: u64) -> Self {
        Self {
            habit,
            start,
            spent: Vec::new(),
            shown: vec![Vec::new(); BRANDS],
            refused: vec![Vec::new(); BRANDS],
            waiting: vec![Vec::new(); BRANDS],
            since: vec![None; BRANDS],
            overtaken: vec![0; BRANDS],
            longest_wait: vec![0; BRANDS],
        }
    }

    pub(super) fn is_waiting(&self, brand: usize) -> bool {
        !self.waiting[brand].is_empty()
    }

    /// How long a brand is silent still.
    pub(super) fn silent_for(&self, brand: usize, now: u64) -> Option<u64> {
        let until = self.refused[brand].get(1)? + SILENCE;
        (until > now).then(|| until - now)
    }

    /// The longest that a brand has waited for a turn, or waits by now.
    pub(super) fn longest_wait(&self, brand: usize, now: u64) -> u64 {
        self.longest_wait[brand].max(self.since[brand].map_or(0, |since| now - since))
    }

    pub(super) fn put(&mut self, brand: usize, now: u64) {
        self.waiting[brand].push(now);
        self.since[brand].get_or_insert(now);
    }

    /// What waits no longer since its time is up.
    pub(super) fn lapse(&mut self, brand: usize, now: u64) {
        self.waiting[brand].retain(|put| now < put + LIFETIME);
    }

    /// A request of this brand was shown.
    pub(super) fn show(&mut self, brand: usize, put: u64, now: u64) {
        let zone = self.habit.zone;
        assert!(self.has_budget(now), "{zone}: over the budget at {now}, after {:?}", self.spent);
        assert!(!self.is_quiet(now), "{zone}: shown in quiet hours at {now}");
        assert_eq!(
            self.silent_for(brand, now),
            None,
            "{zone}: brand {brand} is silent, and was shown at {now}"
        );
        assert_eq!(self.waiting[brand].first(), Some(&put), "{zone}: brand {brand}'s oldest comes first");
        let last = |brand: usize| self.shown[brand].last();
        for other in (0..BRANDS).filter(|other| self.speaks(*other, now)) {
            assert!(
                last(other) >= last(brand),
                "{zone}: brand {other}'s turn came before {brand}'s at {now}"
            );
        }
        let waited = now - self.since[brand].take().expect("it waits");
        self.longest_wait[brand] = self.longest_wait[brand].max(waited);
        self.waiting[brand].remove(0);
        self.since[brand] = self.is_waiting(brand).then_some(now);
        self.spent.push(now);
        self.shown[brand].push(now);
        for other in 0..BRANDS {
            // Whose own turn came in this moment is overtaken by nobody.
            let its_turn = self.shown[other].last() == Some(&now);
            self.overtaken[other] = if its_turn { 0 } else { self.overtaken[other] + 1 };
            assert!(
                !self.speaks(other, now) || self.overtaken[other] < BRANDS,
                "{zone}: brand {other} starves at {now}"
            );
        }
        if self.refused[brand].len() == 2 {
            self.refused[brand].clear();
        }
    }

    pub(super) fn refuse(&mut self, brand: usize, now: u64) {
        if self.refused[brand].len() < 2 {
            self.refused[brand].push(now);
        }
    }

    pub(super) fn approve(&mut self, brand: usize) {
        self.refused[brand].clear();
    }

    /// Whether she had answered so often with a refusal that another one silences.
    pub(super) fn is_at_the_edge(&self, brand: usize) -> bool {
        self.refused[brand].len() == 1
    }

    /// A moment passes without a turn outside the budget alone, in quiet hours, or when whoever waits is silent. Whoever has
    /// nothing that waits by its end, or is silent, has stopped asking.
    pub(super) fn rests_for_a_reason(&mut self, now: u64) {
        let speaks = (0..BRANDS).any(|brand| self.speaks(brand, now));
        assert!(
            !speaks || !self.has_budget(now) || self.is_quiet(now),
            "{}: nobody has a turn at {now}",
            self.habit.zone
        );
        for brand in 0..BRANDS {
            if !self.speaks(brand, now) {
                (self.since[brand], self.overtaken[brand]) = (None, 0);
            }
        }
    }

    fn speaks(&self, brand: usize, now: u64) -> bool {
        self.is_waiting(brand) && self.silent_for(brand, now).is_none()
    }

    fn has_budget(&self, now: u64) -> bool {
        let (day, week) = match self.habit.budget {
            (0, 0) => (1, 3),
            set => set,
        };
        let within = |window: u64| self.spent.iter().filter(|at| **at + window > now).count();
        within(DAY) < day as usize && within(7 * DAY) < week as usize
    }

    fn is_quiet(&self, now: u64) -> bool {
        let passed = now - self.start;
        let (_, offset) =
            *self.habit.offsets.iter().rfind(|(from, _)| *from <= passed).expect("one from the start on");
        let utc = i64::try_from(now / 60_000).expect("minutes of this age");
        let minute = u64::try_from((utc + offset).rem_euclid(24 * 60)).expect("of a day");
        let (from, until) = self.habit.quiet;
        match from.cmp(&until) {
            std::cmp::Ordering::Equal => false,
            std::cmp::Ordering::Less => (from..until).contains(&minute),
            std::cmp::Ordering::Greater => minute >= from || minute < until,
        }
    }
}
