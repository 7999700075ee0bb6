//! Narrowing a grant: less of what was approved, without anybody else.

use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use countersign_client::{
    customer::Narrowing,
    grants::{catalogue::FieldPath, id::GrantName, time::Timestamp},
};
use serde_json::json;

use super::stop::wait_for_word;
use crate::{arguments::Setting, homes::CustomerHome, words};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// `grants/{grant}`
    grant: String,
    /// Leave a field out: `trip.eta`
    #[arg(long = "without", value_name = "PATH", value_parser = words::read_field)]
    without: Vec<FieldPath>,
    /// End it at this moment (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = words::read_moment)]
    until: Option<Timestamp>,
    /// How many uses are left from now on
    #[arg(long, value_name = "N")]
    uses: Option<u32>,
    /// How often at most: uses, and a window in seconds, such as `2/3600`
    #[arg(long, value_name = "N/SECONDS", value_parser = words::read_rate)]
    rate: Option<(u32, Duration)>,
    /// How many hours after the end what was received may be kept
    #[arg(long, value_name = "HOURS")]
    kept: Option<u64>,
    /// How many seconds to wait for the source's word
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait: u64,
    #[command(flatten)]
    home: CustomerHome,
}

impl Arguments {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        let grant = GrantName::parse(&self.grant).context("the grant")?;
        let customer = self.home.open(setting)?;
        let narrowed = Box::pin(customer.narrow(&grant, &self.narrowing())).await?;
        let terms = &narrowed.terms;
        let json = json!({
            "state": "narrowed",
            "name": narrowed.grant.as_str(),
            "previous": narrowed.recorded.grant().as_str(),
            "fields": terms.fields.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "use_limit": terms.uses,
            "expire_time": words::rfc3339(terms.expire_time),
            "record": narrowed.record,
        });
        let output = setting.output();
        output.stream(&json, |output| {
            format!(
                "{}: {} stands in the place of {}, {} until {}",
                output.good("narrowed"),
                narrowed.grant,
                narrowed.recorded.grant(),
                words::counted(u64::from(terms.uses), "use"),
                words::moment(terms.expire_time)
            )
        });
        let waiting = (self.wait, "superseded", "stop the old grant there, if it must not flow");
        wait_for_word(setting, &narrowed.recorded, waiting).await?;
        Ok(customer.settle().await?)
    }

    fn narrowing(&self) -> Narrowing {
        let mut narrowing = Narrowing::default();
        for field in &self.without {
            narrowing = narrowing.without_field(field.clone());
        }
        if let Some(until) = self.until {
            narrowing = narrowing.until(until);
        }
        if let Some(uses) = self.uses {
            narrowing = narrowing.uses(uses);
        }
        if let Some((uses, window)) = self.rate {
            narrowing = narrowing.rate(uses, window);
        }
        if let Some(hours) = self.kept {
            narrowing = narrowing.retention(Duration::from_secs(hours.saturating_mul(3600)));
        }
        narrowing
    }
}
