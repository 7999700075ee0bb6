//! The customer's grants.

use anyhow::Result;
use clap::Args;
use countersign_client::customer::{ErasureView, GrantView};
use serde_json::{Value, json};

use crate::{arguments::Setting, homes::CustomerHome, output::Output, words};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    home: CustomerHome,
}

impl Arguments {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        let customer = self.home.open(setting)?;
        let grants = customer.grants().await?;
        let compared = customer.comparisons().await?;
        customer.settle().await?;
        let json = |grant: &GrantView| {
            let mut json = grant_json(grant);
            json["since_preview"] = compared.get(&grant.row.name).map_or(Value::Null, words::compared_json);
            json
        };
        setting.output().show(&Value::Array(grants.iter().map(json).collect()), |output| {
            let row = |grant: &GrantView| {
                let terms = &grant.row.terms;
                let state = match state(grant) {
                    "WITHDRAWN" if !grant.row.is_settled() => {
                        "WITHDRAWN, not confirmed by the source yet".to_owned()
                    }
                    other if grant.reason.is_empty() => other.to_owned(),
                    other => format!("{other}: {}", grant.reason),
                };
                [
                    format!(
                        "{} → {}",
                        words::short(terms.source.as_str()),
                        words::short(terms.recipient.as_str())
                    ),
                    terms.purpose.to_string(),
                    state,
                    format!("{} of {}", grant.use_count, terms.uses),
                    words::moment(terms.expire_time),
                    compared.get(&grant.row.name).map_or_else(String::new, words::compared),
                    grant.row.name.to_string(),
                    // Last, since what is coloured has no width that a table knows.
                    erasure(output, grant),
                ]
            };
            let header =
                ["from → to", "for", "state", "uses", "until", "first transfer", "grant", "deletion"];
            output.table(header, grants.iter().map(row).collect())
        });
        Ok(())
    }
}

fn grant_json(grant: &GrantView) -> Value {
    let (row, terms) = (&grant.row, &grant.row.terms);
    json!({
        "name": row.name.as_str(),
        "source": terms.source.as_str(),
        "recipient": terms.recipient.as_str(),
        "purpose": terms.purpose.as_str(),
        "fields": terms.fields.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "state": state(grant),
        "reason": if grant.reason.is_empty() { Value::Null } else { json!(grant.reason) },
        "uses": grant.use_count,
        "use_limit": terms.uses,
        "expire_time": words::rfc3339(terms.expire_time),
        "record": row.recorded,
        "change_sequence": row.sequence,
        "acknowledged_time": row.acknowledged.map(words::rfc3339),
        "erasure": grant.erasure.map(|erasure| json!({
            "state": erasure.state().as_str_name().trim_start_matches("ERASURE_STATE_"),
            "due_time": words::rfc3339(erasure.due),
            "attested_time": erasure.attested.map(words::rfc3339),
        })),
        "fault": grant.fault.as_ref().map(ToString::to_string),
    })
}

/// Where the order to delete stands; what is late is red, and what was said of it and does not verify.
fn erasure(output: Output, grant: &GrantView) -> String {
    let stands = match grant.erasure {
        None => String::new(),
        Some(ErasureView { attested: Some(time), .. }) => {
            output.good(&format!("deleted, {}", words::moment(time)))
        }
        Some(ErasureView { overdue: true, due, .. }) => {
            output.bad(&format!("OVERDUE since {}", words::moment(due)))
        }
        Some(ErasureView { due, .. }) => format!("due {}", words::moment(due)),
    };
    match &grant.fault {
        None => stands,
        Some(fault) => format!("{stands}; {}", output.bad(&fault.to_string())),
    }
}

/// Where a grant stands; one that the broker does not know is not recorded, or was and is withheld.
fn state(grant: &GrantView) -> &'static str {
    match grant.state {
        Some(state) => state.as_str_name().trim_start_matches("STATE_"),
        None if grant.row.recorded.is_some() => "WITHHELD",
        None => "NOT_RECORDED",
    }
}
