//! Approving a request.

use anyhow::{Context as _, Result, bail};
use clap::Args;
use countersign_client::{
    customer::{Approved, Choice},
    grants::{catalogue::FieldPath, id::RequestName, time::Timestamp},
};
use serde_json::json;

use crate::{arguments::Setting, homes::CustomerHome, words};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// `grantRequests/{request}`
    request: String,
    /// Switch an optional row on, by its number
    #[arg(long = "row", value_name = "N")]
    rows: Vec<usize>,
    /// Switch an optional field of a row on: `1:trip.terminal`
    #[arg(long = "field", value_name = "N:PATH", value_parser = row_and_field)]
    fields: Vec<(usize, FieldPath)>,
    /// The language in which you read it
    #[arg(long, value_name = "LANGUAGE", default_value = "en")]
    language: String,
    /// End it all at this moment (RFC 3339), if the offers don't end earlier
    #[arg(long, value_name = "TIME", value_parser = words::read_moment)]
    until: Option<Timestamp>,
    #[command(flatten)]
    home: CustomerHome,
}

impl Arguments {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        let name = RequestName::parse(&self.request).context("the request")?;
        let mut choice = Choice::required(self.language);
        let chosen = self.rows;
        for row in &chosen {
            choice = choice.with_row(*row);
        }
        for (row, field) in self.fields {
            choice = choice.with_field(row, field);
        }
        if let Some(until) = self.until {
            choice = choice.until(until);
        }
        let customer = self.home.open(setting)?;
        let request = customer.read_request(&name).await?;
        for row in request.rows().iter().filter(|row| !row.optional || chosen.contains(&row.number)) {
            if let Some(partner) = row.missing().first() {
                bail!("row {}: {}", row.number, words::link_first(partner.as_str()));
            }
        }
        let approved = customer.approve(&request, &choice).await?;
        customer.settle().await?;
        let grant = |approved: &Approved| {
            json!({
                "row": approved.row,
                "name": approved.grant.as_str(),
                "source": approved.terms.source.as_str(),
                "recipient": approved.terms.recipient.as_str(),
                "purpose": approved.terms.purpose.as_str(),
                "fields": approved.terms.fields.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "expire_time": words::rfc3339(approved.terms.expire_time),
                "record": approved.receipt.index(),
            })
        };
        let json = json!({ "grants": approved.iter().map(grant).collect::<Vec<_>>() });
        setting.output().show(&json, |output| {
            let row = |approved: &Approved| {
                let terms = &approved.terms;
                [
                    approved.row.to_string(),
                    format!(
                        "{} → {}",
                        words::short(terms.source.as_str()),
                        words::short(terms.recipient.as_str())
                    ),
                    words::moment(terms.expire_time),
                    approved.receipt.index().to_string(),
                    approved.grant.to_string(),
                ]
            };
            let rows = approved.iter().map(row).collect();
            let table = output.table(["row", "from → to", "until", "record", "grant"], rows);
            format!("{}, and the log proves it\n{table}", output.good("approved"))
        });
        Ok(())
    }
}

fn row_and_field(text: &str) -> Result<(usize, FieldPath), String> {
    let (row, field) =
        text.split_once(':').ok_or("write the row's number, a colon and the field: 1:trip.terminal")?;
    let row = row.parse().map_err(|_| format!("`{row}` is no row's number"))?;
    Ok((row, FieldPath::parse(field).map_err(|error| error.to_string())?))
}
