//! Putting offers to a customer.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use countersign_client::{
    grants::id::{GrantName, OfferName, SubjectHandle},
    partner::AskedRow,
};
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
    /// A row's number and the grant that it renews: `1:grants/{grant}`
    #[arg(long = "renews", value_name = "N:GRANT", value_parser = row_and_grant)]
    renews: Vec<(usize, GrantName)>,
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
        ensure!(
            self.renews.iter().all(|(number, _)| (1..=count).contains(number)),
            "--renews: the rows are 1 to {count}"
        );
        let row = |(at, name): (usize, &String)| -> Result<AskedRow> {
            let renews = self.renews.iter().find(|(number, _)| *number == at + 1);
            Ok(AskedRow {
                offer: OfferName::parse(name).context("--offer")?,
                optional: self.optional.contains(&(at + 1)),
                renews: renews.map(|(_, grant)| grant.clone()),
            })
        };
        let rows = self.offers.iter().enumerate().map(row).collect::<Result<Vec<_>>>()?;
        let life = Duration::from_secs(self.hours * 3600);
        let partner = self.home.open(setting)?;
        let request = partner.request_rows(&subject, &rows, life).await?;
        let expires = setting.system().now().plus(life);
        let json = json!({ "name": request.as_str(), "expire_time": words::rfc3339(expires) });
        setting.output().show(&json, |output| {
            format!("{} {request}, until {}", output.good("asked"), words::moment(expires))
        });
        Ok(())
    }
}

fn row_and_grant(text: &str) -> Result<(usize, GrantName), String> {
    let (row, grant) =
        text.split_once(':').ok_or("write the row's number, a colon and the grant: 1:grants/…")?;
    let row = row.parse().map_err(|_| format!("`{row}` is no row's number"))?;
    Ok((row, GrantName::parse(grant).map_err(|error| error.to_string())?))
}
