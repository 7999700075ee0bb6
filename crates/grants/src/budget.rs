//! The shared budget: how often a person is asked, by all partners together.
//!
//! A request waits until it is *shown*. [`Asking::next`] says which one is, and when: never more in any 24 hours and any
//! 7 days than the [`Budget`], never within [quiet hours](QuietHours), never by a partner that is silent after refusals.
//! Of those that wait, the partner comes first whose last request is longest past, so that none starves whatever the
//! others do. What the person opens herself waits for nothing and spends nothing.
//!
//! Windows roll: a limit that began anew at midnight would let two requests pass within a minute.

mod asker;
mod quiet;
#[cfg(test)]
mod simulation;

use std::time::Duration;

use countersign_proto::row::v1::AskingRow;

pub use self::{
    asker::{Asker, REFUSALS},
    quiet::{BadHours, MINUTES_A_DAY, QuietHours, UnknownZone, Zone},
};
use crate::{id::PartnerName, time::Timestamp};

/// The first window of a budget.
pub const DAY: Duration = Duration::from_secs(24 * 3600);

/// The second one.
pub const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

/// The most a day that can be set: a request an hour of an evening. More is no budget.
pub const MAX_PER_DAY: u32 = 10;

/// The most a week that can be set. It bounds what is kept of a customer's last week, too.
pub const MAX_PER_WEEK: u32 = 30;

/// The longest silence that can be set, in days: a year.
pub const MAX_SILENCE_DAYS: u32 = 366;

/// The longest silence that can be set.
pub const MAX_SILENCE: Duration = Duration::from_secs(MAX_SILENCE_DAYS as u64 * 24 * 3600);

/// How many requests are shown in any 24 hours and any 7 days.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    per_day: u32,
    per_week: u32,
}

/// A budget that can't be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBudget {
    /// The day's part.
    #[error("must be 1 to {MAX_PER_DAY} a day")]
    PerDay,
    /// The week's part.
    #[error("must be 1 to {MAX_PER_WEEK} a week")]
    PerWeek,
}

/// A silence that can't be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be at most {MAX_SILENCE_DAYS}")]
pub struct TooSilent;

/// What a broker does where a customer has set nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Defaults {
    /// The budget.
    pub budget: Budget,
    /// How long a partner is silent after [`REFUSALS`] refusals.
    pub silence: Duration,
}

/// How one customer is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asking {
    /// How often.
    pub budget: Budget,
    /// When not; always, if nothing.
    pub quiet: Option<QuietHours>,
    /// Whether not at all, for now.
    pub paused: bool,
}

/// The oldest request of one partner that waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Who asks.
    pub partner: PartnerName,
    /// How the partner stands with the customer.
    pub asker: Asker,
    /// When the request was put.
    pub created: Timestamp,
}

/// What is to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The candidate at this place is shown.
    Show(usize),
    /// Nothing is, before this moment at the earliest.
    Wait(Timestamp),
    /// Nothing is, unless something changes.
    Rest,
}

impl Budget {
    /// A budget within the bounds.
    pub const fn new(per_day: u32, per_week: u32) -> Result<Self, BadBudget> {
        if per_day == 0 || per_day > MAX_PER_DAY {
            return Err(BadBudget::PerDay);
        }
        if per_week == 0 || per_week > MAX_PER_WEEK {
            return Err(BadBudget::PerWeek);
        }
        Ok(Self { per_day, per_week })
    }

    /// So many in any 24 hours.
    pub const fn per_day(self) -> u32 {
        self.per_day
    }

    /// So many in any 7 days.
    pub const fn per_week(self) -> u32 {
        self.per_week
    }

    /// When one more is within it, of what was spent before: now, or the moment at which enough of it is past.
    fn opens(self, spent: &[Timestamp], now: Timestamp) -> Timestamp {
        let frees = |most: u32, window: Duration| {
            // The one that must have left the window before another fits: the `most`-th from the end.
            let blocking = spent.len().checked_sub(most as usize).and_then(|at| spent.get(at));
            blocking.map_or(now, |at| at.plus(window).max(now))
        };
        frees(self.per_day, DAY).max(frees(self.per_week, WEEK))
    }
}

impl Defaults {
    /// What is set, within the bounds.
    pub fn new(budget: Budget, silence: Duration) -> Result<Self, TooSilent> {
        if silence > MAX_SILENCE { Err(TooSilent) } else { Ok(Self { budget, silence }) }
    }
}

impl Default for Defaults {
    /// One a day, three a week, 90 days.
    fn default() -> Self {
        Self { budget: Budget { per_day: 1, per_week: 3 }, silence: Duration::from_secs(90 * 24 * 3600) }
    }
}

impl Asking {
    /// What a row says, with the broker's defaults where it says nothing.
    pub fn from_row(row: &AskingRow, defaults: Defaults) -> Result<Self, UnreadableAsking> {
        let or = |set: u32, default: u32| if set == 0 { default } else { set };
        let budget = defaults.budget;
        Ok(Self {
            budget: Budget::new(or(row.per_day, budget.per_day), or(row.per_week, budget.per_week))?,
            quiet: if row.quiet_from_minute == row.quiet_until_minute {
                None
            } else {
                let zone = Zone::parse(&row.time_zone)?;
                Some(QuietHours::new(zone, row.quiet_from_minute, row.quiet_until_minute)?)
            },
            paused: row.paused,
        })
    }

    /// Which of these is shown now, given when the budget was spent before (oldest first).
    ///
    /// First the partner that was shown least recently, then the request that is oldest.
    pub fn next(&self, spent: &[Timestamp], candidates: &[Candidate], now: Timestamp) -> Next {
        if self.paused {
            return Next::Rest;
        }
        let speaks = |candidate: &Candidate| candidate.asker.speaks_from(now);
        let Some(first) = candidates.iter().map(speaks).min() else { return Next::Rest };
        let opens = self.budget.opens(spent, now).max(first);
        let at = self.quiet.as_ref().and_then(|quiet| quiet.ends(opens)).unwrap_or(opens);
        if at > now {
            return Next::Wait(at);
        }
        let fair = |candidate: &Candidate| (candidate.asker.shown, candidate.created);
        let may = candidates.iter().enumerate().filter(|(_, candidate)| speaks(candidate) <= now);
        let least = may.min_by(|(_, one), (_, two)| {
            fair(one).cmp(&fair(two)).then_with(|| one.partner.as_str().cmp(two.partner.as_str()))
        });
        least.map_or(Next::Rest, |(place, _)| Next::Show(place))
    }
}

/// What of the past counts for a budget still, oldest first.
pub fn still_counts(spent: &[Timestamp], now: Timestamp) -> impl Iterator<Item = Timestamp> + '_ {
    spent.iter().copied().filter(move |at| at.plus(WEEK) > now)
}

/// A row that no customer can have set.
#[derive(Debug, thiserror::Error)]
pub enum UnreadableAsking {
    /// Its budget.
    #[error(transparent)]
    Budget(#[from] BadBudget),
    /// Its zone: one that the database here doesn't have, or not any more.
    #[error(transparent)]
    Zone(#[from] UnknownZone),
    /// Its hours.
    #[error(transparent)]
    Hours(#[from] BadHours),
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

    fn candidate(id: &str, shown: Option<Timestamp>, created: u64) -> Candidate {
        Candidate {
            partner: PartnerName::of_id(id).expect("an id"),
            asker: Asker { shown, ..Asker::default() },
            created: Timestamp::from_millis(created),
        }
    }

    fn asking() -> Asking {
        Asking { budget: Defaults::default().budget, quiet: None, paused: false }
    }

    fn check(asking: &Asking, ago: &[Duration], candidates: &[Candidate], expected: Next) {
        let spent: Vec<_> = ago.iter().map(|ago| NOW.minus(*ago)).collect();
        assert_eq!(asking.next(&spent, candidates, NOW), expected, "{spent:?} {candidates:?}");
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_silence_ends_within_a_year() {
        let budget = Defaults::default().budget;
        let silence = |silence| Defaults::new(budget, silence).map(|set| set.silence);
        assert_eq!(silence(MAX_SILENCE), Ok(Duration::from_secs(366 * 24 * 3600)));
        assert_eq!(silence(Duration::ZERO), Ok(Duration::ZERO));
        let longer = MAX_SILENCE + Duration::from_millis(1);
        assert_eq!(silence(longer), Err(TooSilent));
        assert_eq!(silence(longer).expect_err("longer").to_string(), "must be at most 366");
    }

    #[test]
    fn a_budget_is_spent_and_comes_back() {
        let one = [candidate("hopp", None, 5)];
        check(&asking(), &[], &[], Next::Rest);
        check(&asking(), &[], &one, Next::Show(0));
        check(&asking(), &[HOUR], &one, Next::Wait(NOW.plus(23 * HOUR)));
        check(&asking(), &[24 * HOUR], &one, Next::Show(0));
        let three = [72 * HOUR, 48 * HOUR, 24 * HOUR];
        check(&asking(), &three, &one, Next::Wait(NOW.plus(96 * HOUR)));
        check(&asking(), &[168 * HOUR, 48 * HOUR, 24 * HOUR], &one, Next::Show(0));
        check(&Asking { paused: true, ..asking() }, &[], &one, Next::Rest);
        // What was set lower later holds at once.
        let many = [4 * HOUR, 3 * HOUR, 2 * HOUR, HOUR];
        check(&asking(), &many, &one, Next::Wait(NOW.plus(165 * HOUR)));
    }

    #[test]
    fn the_least_recently_shown_partner_comes_first_then_the_oldest_request() {
        let (long, late) = (Some(NOW.minus(9 * WEEK)), Some(NOW.minus(2 * DAY)));
        check(&asking(), &[], &[candidate("aa", late, 1), candidate("bb", long, 9)], Next::Show(1));
        check(&asking(), &[], &[candidate("aa", long, 1), candidate("bb", None, 9)], Next::Show(1));
        check(&asking(), &[], &[candidate("aa", None, 9), candidate("bb", None, 1)], Next::Show(1));
        check(&asking(), &[], &[candidate("bb", None, 1), candidate("aa", None, 1)], Next::Show(1));
    }

    #[test]
    fn who_is_silent_is_passed_over_and_waits_for_its_end() {
        let end = NOW.plus(5 * DAY);
        let silent = |id, until| {
            let mut one = candidate(id, None, 1);
            one.asker.silent_until = Some(until);
            one
        };
        check(&asking(), &[], &[silent("aa", end), candidate("bb", None, 9)], Next::Show(1));
        check(&asking(), &[], &[silent("aa", end)], Next::Wait(end));
        check(&asking(), &[], &[silent("aa", NOW)], Next::Show(0));
    }

    #[test]
    fn quiet_hours_move_what_the_budget_allows() {
        // 1,790,000,000 s is 14:13:20 UTC of some day.
        let midnight = NOW.minus(Duration::from_secs(14 * 3600 + 13 * 60 + 20));
        let zone = Zone::parse("UTC").expect("a zone");
        let quiet = |from, until| Asking {
            quiet: Some(QuietHours::new(zone.clone(), from, until).expect("hours")),
            ..asking()
        };
        let one = [candidate("hopp", None, 5)];
        check(&quiet(22 * 60, 8 * 60), &[], &one, Next::Show(0));
        check(&quiet(12 * 60, 15 * 60), &[], &one, Next::Wait(midnight.plus(15 * HOUR)));
        // The budget opens at 03:13:20, within the night; the morning is what counts.
        check(&quiet(22 * 60, 8 * 60), &[11 * HOUR], &one, Next::Wait(midnight.plus(32 * HOUR)));
    }

    #[test]
    fn budgets_and_rows_have_bounds() {
        assert_eq!(Budget::new(0, 3), Err(BadBudget::PerDay));
        assert_eq!(Budget::new(11, 3), Err(BadBudget::PerDay));
        assert_eq!(Budget::new(1, 0), Err(BadBudget::PerWeek));
        assert_eq!(Budget::new(1, 31), Err(BadBudget::PerWeek));
        let read = |row: &AskingRow| Asking::from_row(row, Defaults::default());
        assert_eq!(read(&AskingRow::default()).expect("defaults"), asking());
        let own = AskingRow { per_day: 2, per_week: 30, ..AskingRow::default() };
        assert_eq!(read(&own).expect("within").budget, Budget::new(2, 30).expect("within"));
        for bad in [
            AskingRow { per_day: 99, ..AskingRow::default() },
            AskingRow { quiet_until_minute: 2_000, ..AskingRow::default() },
            AskingRow { quiet_until_minute: 9, time_zone: "Mars/Base".to_owned(), ..AskingRow::default() },
        ] {
            assert!(read(&bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn only_a_week_of_the_past_counts() {
        let spent = [NOW.minus(WEEK), NOW.minus(6 * DAY), NOW];
        assert_eq!(still_counts(&spent, NOW).collect::<Vec<_>>(), spent[1..]);
    }
}
