//! How the customer is asked: shown, and set where something is given.

use anyhow::{Context as _, Result, bail};
use clap::Args;
use countersign_client::{
    grants::{id::PartnerName, time::Timestamp},
    proto::v1::{self, Asking, QuietHours},
};
use serde_json::{Value, json};

use crate::{arguments::Setting, homes::CustomerHome, output::Output, words};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The time zone of the quiet hours, such as Europe/Berlin
    #[arg(long, value_name = "ZONE")]
    time_zone: Option<String>,
    /// When nothing is put before the customer, such as 22:00-08:00; `none` ends them
    #[arg(long, value_name = "FROM-UNTIL")]
    quiet: Option<String>,
    /// Requests in any 24 hours, of all partners together; 0 for the broker's default
    #[arg(long, value_name = "COUNT")]
    per_day: Option<u32>,
    /// Requests in any 7 days; 0 for the broker's default
    #[arg(long, value_name = "COUNT")]
    per_week: Option<u32>,
    /// Put nothing before the customer for now
    #[arg(long, conflicts_with = "resume")]
    pause: bool,
    /// Go on
    #[arg(long)]
    resume: bool,
    /// Let this partner ask again that was refused: `partners/{partner}`
    #[arg(long, value_name = "PARTNER")]
    hear: Option<String>,
    #[command(flatten)]
    home: CustomerHome,
}

impl Arguments {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        let customer = self.home.open(setting)?;
        let mut profile = customer.profile().await?;
        if let Some(partner) = &self.hear {
            let partner = PartnerName::parse(partner).context("the partner")?;
            profile = customer.end_silence(&partner).await?;
        }
        let before = profile.asking.clone().unwrap_or_default();
        let wanted = self.over(before.clone())?;
        if wanted != before {
            profile = customer.set_asking(wanted).await?;
        }
        setting.output().show(&as_json(&profile), |output| text(output, &profile));
        Ok(())
    }

    fn over(&self, mut asking: Asking) -> Result<Asking> {
        if let Some(zone) = &self.time_zone {
            asking.time_zone.clone_from(zone);
        }
        match self.quiet.as_deref() {
            Some("none") => asking.quiet_hours = None,
            Some(hours) => asking.quiet_hours = Some(quiet(hours)?),
            None => {}
        }
        asking.per_day = self.per_day.unwrap_or(asking.per_day);
        asking.per_week = self.per_week.unwrap_or(asking.per_week);
        asking.paused = self.pause || (asking.paused && !self.resume);
        Ok(asking)
    }
}

/// Reads `22:00-08:00`.
fn quiet(text: &str) -> Result<QuietHours> {
    let read = || {
        let (from, until) = text.split_once('-')?;
        Some(QuietHours { from_minute: minute(from)?, until_minute: minute(until)? })
    };
    match read() {
        Some(hours) => Ok(hours),
        None => bail!("--quiet: `{text}` is not of the form 22:00-08:00"),
    }
}

fn minute(text: &str) -> Option<u32> {
    let (hour, minute) = text.split_once(':')?;
    let (hour, minute) = (hour.parse::<u32>().ok()?, minute.parse::<u32>().ok()?);
    (hour < 24 && minute < 60).then_some(hour * 60 + minute)
}

fn clock(minute: u32) -> String {
    format!("{:02}:{:02}", minute / 60, minute % 60)
}

fn hours(asking: &Asking) -> Option<String> {
    let hours = asking.quiet_hours?;
    Some(format!("{}-{}", clock(hours.from_minute), clock(hours.until_minute)))
}

fn silences(customer: &v1::Customer) -> impl Iterator<Item = (&str, Timestamp)> {
    customer.silences.iter().map(|silence| {
        let end = silence.end_time.map_or(0, |time| u64::try_from(time.seconds).unwrap_or_default());
        (silence.partner.as_str(), Timestamp::from_millis(end.saturating_mul(1000)))
    })
}

fn as_json(customer: &v1::Customer) -> Value {
    let asking = customer.asking.clone().unwrap_or_default();
    let silent = |(partner, end)| json!({ "partner": partner, "end_time": words::rfc3339(end) });
    json!({
        "time_zone": asking.time_zone,
        "quiet_hours": hours(&asking),
        "per_day": asking.per_day,
        "per_week": asking.per_week,
        "paused": asking.paused,
        "silences": silences(customer).map(silent).collect::<Vec<_>>(),
    })
}

fn text(output: Output, customer: &v1::Customer) -> String {
    let asking = customer.asking.clone().unwrap_or_default();
    let or = |count: u32| if count == 0 { "as the broker sets it".to_owned() } else { count.to_string() };
    let zone = if asking.time_zone.is_empty() { "UTC" } else { &asking.time_zone };
    let mut lines = vec![
        format!("requests in 24 hours: {}", or(asking.per_day)),
        format!("requests in 7 days: {}", or(asking.per_week)),
        format!(
            "quiet hours: {}",
            hours(&asking).map_or("none".to_owned(), |hours| format!("{hours} ({zone})"))
        ),
    ];
    if asking.paused {
        lines.push(output.bold("nothing is put before you for now"));
    }
    lines.extend(
        silences(customer).map(|(partner, end)| format!("{partner} is silent until {}", words::moment(end))),
    );
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_read_as_they_are_written() {
        let hours = quiet("22:00-08:05").expect("hours");
        assert_eq!((hours.from_minute, hours.until_minute), (1_320, 485));
        assert_eq!((clock(1_320), clock(485)), ("22:00".to_owned(), "08:05".to_owned()));
        for bad in ["", "22-8", "24:00-08:00", "22:00-08:60", "22:00"] {
            assert!(quiet(bad).is_err(), "{bad}");
        }
    }
}
