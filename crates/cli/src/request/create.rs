//! Putting offers to a customer.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use countersign_client::grants::id::{OfferName, SubjectHandle};
use serde_json::json;

use crate::{arguments::Setting, homes::PartnerHome, words};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The customer, as this partner knows them: `partners/{partner}/subjects/{subject}`
    subject: String,
    /// The offers, in the order of the rows
    #[arg(long = "offer", value_name = "OFFER", required = true)]
    offers: Vec<String>,
    /// The number of a row that can be left out, from 1
    #[arg(long = "optional", value_name = "N")]
    optional: Vec<usize>,
    /// How many hours it waits for an answer
    #[arg(long, value_name = "HOURS", default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=168))]
    hours: u64,
    #[command(flatten)]
    home: PartnerHome,
}

impl Arguments {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        let subject = SubjectHandle::parse(&self.subject).context("the subject")?;
        let count = self.offers.len();
        ensure!(
            self.optional.iter().all(|number| (1..=count).contains(number)),
            "--optional: the rows are 1 to {count}"
        );
        let row = |(at, name): (usize, &String)| -> Result<(OfferName, bool)> {
            Ok((OfferName::parse(name).context("--offer")?, self.optional.contains(&(at + 1))))
        };
        let rows = self.offers.iter().enumerate().map(row).collect::<Result<Vec<_>>>()?;
        let life = Duration::from_secs(self.hours * 3600);
        let partner = self.home.open(setting)?;
        let request = partner.request(&subject, &rows, life).await?;
        let expires = setting.system().now().plus(life);
        let json = json!({ "name": request.as_str(), "expire_time": words::rfc3339(expires) });
        setting.output().show(&json, |output| {
            format!("{} {request}, until {}", output.good("asked"), words::moment(expires))
        });
        Ok(())
    }
}
