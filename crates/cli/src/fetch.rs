//! Fetching data under a grant.

use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use countersign_client::{
    Partner,
    grants::{digest::Digest, id::GrantName},
};
use serde_json::{Map, json};

use crate::{arguments::Setting, homes::PartnerHome};

/// How long the approval of a grant that is not in the book yet may take to come.
const CATCH_UP: Duration = Duration::from_secs(10);

/// How long no event comes once all that there were have come.
const QUIET: Duration = Duration::from_secs(1);

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// `grants/{grant}`
    grant: String,
    /// The fields, in order; without any, all that are granted
    #[arg(long = "field", value_name = "PATH")]
    fields: Vec<String>,
    /// The customer's tap, where a field is a precise location, as `countersign watch` tells it
    #[arg(long, value_name = "HEX", value_parser = read_tap)]
    tap: Option<Digest>,
    /// What the data will be used for; by default the grant's own purpose
    #[arg(long, value_name = "CODE")]
    purpose: Option<String>,
    #[command(flatten)]
    home: PartnerHome,
}

impl Arguments {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        let grant = GrantName::parse(&self.grant).context("the grant")?;
        let partner = self.home.open(setting)?;
        catch_up(&partner, &grant).await?;
        let row = partner.book().newest_revision(&grant);
        let purpose = self.purpose.or_else(|| row.as_ref().map(|row| row.terms().purpose.to_string()));
        let fields = match (self.fields, &row) {
            (fields, Some(row)) if fields.is_empty() => {
                row.terms().fields.iter().map(ToString::to_string).collect()
            }
            (fields, _) => fields,
        };
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        let purpose = purpose.unwrap_or_default();
        let fetched = match self.tap {
            Some(tap) => partner.fetch_tapped(&grant, &purpose, &fields, tap).await?,
            None => partner.fetch(&grant, &purpose, &fields).await?,
        };
        let value = |value: &countersign_client::Value| match value.as_str() {
            Some(text) => json!(text),
            None => json!({ "base64url": data_encoding::BASE64URL_NOPAD.encode(value.as_bytes()) }),
        };
        let values: Map<String, _> =
            fetched.values.iter().map(|(path, found)| (path.to_string(), value(found))).collect();
        let json = json!({
            "grant": fetched.grant.as_str(),
            "values": values,
            "use_number": fetched.use_number(),
            "record": fetched.receipt.index(),
        });
        setting.output().show(&json, |output| {
            let rows = fetched.values.iter().map(|(path, value)| {
                let text =
                    value.as_str().map_or_else(|| format!("{} bytes", value.as_bytes().len()), str::to_owned);
                [path.to_string(), text]
            });
            let table = output.table(["field", "value"], rows.collect());
            let proof = format!(
                "use {}, record {} of the log, proven",
                fetched.use_number(),
                fetched.receipt.index()
            );
            format!("{table}\n{}", output.dim(&proof))
        });
        Ok(())
    }
}

/// Takes events into the book until the grant stands there: a partner that does not watch hears of it now.
pub(crate) async fn catch_up(partner: &Partner, grant: &GrantName) -> Result<()> {
    let mut watch = partner.watch_events();
    let hearing = async {
        while partner.book().grant(grant).is_none() {
            watch.next().await?;
        }
        Ok(())
    };
    // Without it in time, the fetch itself says that the grant is unknown.
    tokio::time::timeout(CATCH_UP, hearing).await.unwrap_or(Ok::<(), countersign_client::Error>(()))?;
    Ok(())
}

/// Takes events into the book until none has come for a moment: a partner that does not watch hears of all of them now.
pub(crate) async fn catch_up_all(partner: &Partner) -> Result<()> {
    let mut watch = partner.watch_events();
    while let Ok(noted) = tokio::time::timeout(QUIET, watch.next()).await {
        noted?;
    }
    Ok(())
}

fn read_tap(text: &str) -> Result<Digest, String> {
    let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok();
    bytes
        .and_then(|bytes| Digest::from_slice(&bytes))
        .ok_or_else(|| "is not 64 hex digits in lower case".to_owned())
}
