//! Quiet hours in a person's own time zone.
//!
//! Zones come from the database that is compiled in. One of the machine's files would be I/O, and would differ from
//! machine to machine.

use std::sync::LazyLock;

use jiff::{
    Zoned,
    civil::Time,
    tz::{Disambiguation, TimeZone, TimeZoneDatabase},
};

use crate::time::Timestamp;

/// Minutes of a day on the clock. A day of 23 or 25 hours has the same.
pub const MINUTES_A_DAY: u32 = 24 * 60;

/// The longest name of a zone that there is has 30 characters, and the database is not asked for longer ones than this.
const MAX_NAME_BYTES: usize = 64;

static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// A time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(TimeZone);

/// A name that is no zone's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be the IANA name of a time zone, such as `Europe/Berlin`")]
pub struct UnknownZone;

/// Hours of the local day within which nothing is shown. They may go over midnight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuietHours {
    zone: Zone,
    from_minute: u32,
    until_minute: u32,
}

/// Hours that can't be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be two different minutes of a day, 0 to 1439")]
pub struct BadHours;

impl Zone {
    /// The zone of this IANA name; of the empty one UTC.
    pub fn parse(name: &str) -> Result<Self, UnknownZone> {
        match name {
            "" => Ok(Self(TimeZone::UTC)),
            name if name.len() > MAX_NAME_BYTES => Err(UnknownZone),
            name => ZONES.get(name).map(Self).map_err(|_| UnknownZone),
        }
    }
}

impl QuietHours {
    /// From one minute of the local day until another.
    pub fn new(zone: Zone, from_minute: u32, until_minute: u32) -> Result<Self, BadHours> {
        if from_minute >= MINUTES_A_DAY || until_minute >= MINUTES_A_DAY || from_minute == until_minute {
            return Err(BadHours);
        }
        Ok(Self { zone, from_minute, until_minute })
    }

    /// When the quiet hours end in which this moment lies; nothing if it lies in none.
    pub fn ends(&self, at: Timestamp) -> Option<Timestamp> {
        let local = self.local(at)?;
        let minute = local.time().hour() as u32 * 60 + local.time().minute() as u32;
        let over_midnight = self.from_minute > self.until_minute;
        let (after_from, before_until) = (minute >= self.from_minute, minute < self.until_minute);
        let tomorrow = match (over_midnight, after_from, before_until) {
            (false, true, true) | (true, _, true) => false,
            (true, true, false) => true,
            _ => return None,
        };
        let date = if tomorrow { local.date().tomorrow().ok()? } else { local.date() };
        // In range: `new` holds minutes to those of a day.
        let time = Time::new((self.until_minute / 60) as i8, (self.until_minute % 60) as i8, 0, 0).ok()?;
        let end = |how: Disambiguation| {
            let zoned = self.zone.0.to_ambiguous_zoned(date.to_datetime(time)).disambiguate(how).ok()?;
            u64::try_from(zoned.timestamp().as_millisecond()).ok().map(Timestamp::from_millis)
        };
        // Where the clock is set back, that time comes twice; the first may be past.
        end(Disambiguation::Compatible).filter(|end| *end > at).or_else(|| end(Disambiguation::Later))
    }

    /// The local time of a moment; nothing for one beyond the calendar, which is as good as never quiet.
    fn local(&self, at: Timestamp) -> Option<Zoned> {
        let millis = i64::try_from(at.as_millis()).ok()?;
        Some(jiff::Timestamp::from_millisecond(millis).ok()?.to_zoned(self.zone.0.clone()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        let moment: jiff::Timestamp = text.parse().expect("a moment");
        Timestamp::from_millis(u64::try_from(moment.as_millisecond()).expect("after 1970"))
    }

    fn check(zone: &str, (from, until): (u32, u32), now: &str, expected: Option<&str>) {
        let quiet = QuietHours::new(Zone::parse(zone).expect("a zone"), from, until).expect("hours");
        assert_eq!(quiet.ends(at(now)), expected.map(at), "{zone} {from} {until} at {now}");
    }

    const NIGHT: (u32, u32) = (22 * 60, 8 * 60);

    #[test]
    fn hours_are_those_of_the_zone() {
        check("", NIGHT, "2026-07-01T21:59:59Z", None);
        check("", NIGHT, "2026-07-01T22:00:00Z", Some("2026-07-02T08:00:00Z"));
        check("", NIGHT, "2026-07-02T07:59:59.999Z", Some("2026-07-02T08:00:00Z"));
        check("", NIGHT, "2026-07-02T08:00:00Z", None);
        check("Europe/Berlin", NIGHT, "2026-07-01T20:00:00Z", Some("2026-07-02T06:00:00Z"));
        check("Europe/Berlin", NIGHT, "2026-01-01T20:00:00Z", None);
        check("Asia/Kolkata", NIGHT, "2026-01-01T16:30:00Z", Some("2026-01-02T02:30:00Z"));
        check("America/New_York", (12 * 60, 13 * 60), "2026-07-01T16:20:00Z", Some("2026-07-01T17:00:00Z"));
        check("America/New_York", (12 * 60, 13 * 60), "2026-07-01T15:59:00Z", None);
    }

    #[test]
    fn hours_end_once_where_the_clock_is_set() {
        // Forward: 02:30 does not come; half past three is when an hour and a half after two have passed.
        check("Europe/Berlin", (60, 150), "2026-03-29T00:30:00Z", Some("2026-03-29T01:30:00Z"));
        // Back: 02:30 comes twice. Before the first, the first; between the two, the second.
        check("Europe/Berlin", (60, 150), "2026-10-25T00:10:00Z", Some("2026-10-25T00:30:00Z"));
        check("Europe/Berlin", (60, 150), "2026-10-25T01:10:00Z", Some("2026-10-25T01:30:00Z"));
        check("Europe/Berlin", (60, 150), "2026-10-25T01:30:00Z", None);
    }

    #[test]
    fn what_is_no_zone_and_no_hours_is_refused() {
        for bad in ["Mars/Base", "+02:00", " ", &"x".repeat(65)] {
            assert_eq!(Zone::parse(bad), Err(UnknownZone), "{bad}");
        }
        let zone = Zone::parse("UTC").expect("a zone");
        for (from, until) in [(0, 1_440), (1_440, 0), (5, 5)] {
            assert_eq!(QuietHours::new(zone.clone(), from, until), Err(BadHours));
        }
        let quiet = QuietHours::new(zone, 0, 1).expect("hours");
        assert_eq!(quiet.ends(Timestamp::from_millis(u64::MAX)), None, "beyond the calendar");
    }
}
