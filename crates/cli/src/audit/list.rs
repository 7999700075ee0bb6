//! Listing entries.

use anyhow::{Context as _, Result};
use clap::Args;
use countersign_client::{
    auditor::{Entry, Filter},
    grants::{id::PartnerName, time::Timestamp},
    proto::log::v1::Kind,
};
use serde_json::{Value, json};

use crate::{arguments::Setting, homes::AuditorHome, words};

/// The largest page that the API gives.
const PAGE_SIZE: i32 = 500;

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Source or recipient: `partners/{partner}`
    #[arg(long, value_name = "NAME")]
    partner: Option<String>,
    /// The purpose's code
    #[arg(long, value_name = "CODE")]
    purpose: Option<String>,
    /// The kind of record: `TRANSFER`, `TRANSFER_REFUSED`, `GRANT_WITHDRAWN` …
    #[arg(long, value_name = "KIND", value_parser = words::read_kind)]
    kind: Option<Kind>,
    /// The reason of a refusal: `GRANT_ENDED` …
    #[arg(long, value_name = "REASON")]
    reason: Option<String>,
    /// From this moment on (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = words::read_moment)]
    since: Option<Timestamp>,
    /// Before this moment (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = words::read_moment)]
    until: Option<Timestamp>,
    /// The most entries to list
    #[arg(long, value_name = "N", default_value_t = 500)]
    limit: usize,
    #[command(flatten)]
    home: AuditorHome,
}

impl Arguments {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        let filter = Filter {
            partner: self.partner.as_deref().map(PartnerName::parse).transpose().context("--partner")?,
            purpose: self.purpose,
            kind: self.kind,
            reason: self.reason,
            since: self.since,
            until: self.until,
            ..Filter::default()
        };
        let auditor = self.home.open(setting)?;
        let mut entries: Vec<Entry> = Vec::new();
        let mut next = None;
        let more = loop {
            let size = i32::try_from(self.limit - entries.len()).unwrap_or(PAGE_SIZE).min(PAGE_SIZE);
            let page = auditor.list(&filter, size, next).await?;
            entries.extend(page.entries);
            next = page.next;
            if next.is_none() || entries.len() >= self.limit {
                break next.is_some();
            }
        };
        auditor.settle().await?;
        let listed: Vec<Value> =
            entries.iter().map(|entry| words::record_json(entry.index, &entry.record)).collect();
        setting.output().show(&json!({ "entries": listed, "more": more }), |output| {
            let row = |entry: &Entry| {
                [
                    entry.index.to_string(),
                    words::moment(Timestamp::from_millis(entry.record.time_ms)),
                    words::kind(entry.record.kind()).to_owned(),
                    words::sentence(&entry.record, &[]),
                ]
            };
            let table = output.table(["record", "time", "kind", "what"], entries.iter().map(row).collect());
            if more {
                format!("{table}\n{}", output.dim("there are more: raise --limit, or filter"))
            } else {
                table
            }
        });
        Ok(())
    }
}
