//! The grants of a partner's own book.

use anyhow::{Context as _, Result};
use clap::Args;
use countersign_client::{
    book::{GrantRow, Side, Standing},
    grants::{
        id::{GrantName, SubjectHandle},
        time::Timestamp,
    },
};
use serde_json::{Value, json};

use crate::{arguments::Setting, homes::PartnerHome, words};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only those of this subject: `partners/{partner}/subjects/{subject}`
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,
    /// Only those that have not ended; paused and suspended ones are among them
    #[arg(long)]
    standing: bool,
    #[command(flatten)]
    home: PartnerHome,
}

impl Arguments {
    pub(crate) fn run(self, setting: &Setting) -> Result<()> {
        let subject = self.subject.as_deref().map(SubjectHandle::parse).transpose().context("the subject")?;
        let partner = self.home.open(setting)?;
        let now = setting.system().now();
        let mut rows = match &subject {
            Some(subject) => partner.book().grants_of(subject),
            None => partner.book().grants(),
        };
        rows.retain(|row| !self.standing || !row.ended(now));
        rows.sort_by_key(|row| (row.terms().time, row.digest()));
        let json: Vec<Value> = rows.iter().map(|row| grant_json(row, now)).collect();
        setting.output().show(&Value::Array(json), |output| {
            let cells = |row: &GrantRow| {
                let terms = row.terms();
                [
                    format!(
                        "{} → {}",
                        words::short(terms.source.as_str()),
                        words::short(terms.recipient.as_str())
                    ),
                    terms.purpose.to_string(),
                    state(row, now).to_owned(),
                    words::moment(terms.expire_time),
                    row.subject().to_string(),
                    row.name().to_string(),
                ]
            };
            let header = ["from → to", "for", "state", "until", "subject", "grant"];
            output.table(header, rows.iter().map(cells).collect())
        });
        Ok(())
    }
}

fn grant_json(row: &GrantRow, now: Timestamp) -> Value {
    let terms = row.terms();
    let successor = match row.standing() {
        Standing::Superseded { by } => json!(GrantName::of(by).as_str()),
        Standing::Active | Standing::Paused | Standing::Stopped { .. } => Value::Null,
    };
    json!({
        "name": row.name().as_str(),
        "side": if row.side() == Side::Source { "source" } else { "recipient" },
        "source": terms.source.as_str(),
        "recipient": terms.recipient.as_str(),
        "subject": row.subject().as_str(),
        "purpose": terms.purpose.as_str(),
        "fields": terms.fields.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "state": state(row, now),
        "use_limit": terms.uses,
        "expire_time": words::rfc3339(terms.expire_time),
        "successor": successor,
    })
}

/// Where a grant stands by this side's book alone.
fn state(row: &GrantRow, now: Timestamp) -> &'static str {
    match row.standing() {
        Standing::Stopped { .. } => "WITHDRAWN",
        Standing::Superseded { .. } => "SUPERSEDED",
        _ if row.revoked().is_some() => "REVOKED",
        _ if row.stopped_here().is_some() => "STOPPED_HERE",
        Standing::Paused => "PAUSED",
        Standing::Active if row.suspended().is_some() => "SUSPENDED",
        Standing::Active if row.held() => "HELD",
        Standing::Active if now >= row.terms().expire_time => "EXPIRED",
        Standing::Active => "ACTIVE",
    }
}
