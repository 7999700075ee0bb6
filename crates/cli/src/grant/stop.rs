//! A stop that needs no broker.

use anyhow::{Context as _, Result, bail};
use clap::Args;
use countersign_client::grants::id::{GrantName, SubjectHandle};
use serde_json::json;

use crate::{arguments::Setting, homes::PartnerHome};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// `grants/{grant}`
    #[arg(required_unless_present = "subject", conflicts_with = "subject")]
    grant: Option<String>,
    /// Every grant of this subject that has not ended, paused and suspended ones too: `partners/{partner}/subjects/{subject}`
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,
    #[command(flatten)]
    home: PartnerHome,
}

impl Arguments {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        let partner = self.home.open(setting)?;
        let grants = match (&self.grant, &self.subject) {
            (Some(grant), _) => vec![GrantName::parse(grant).context("the grant")?],
            (None, Some(subject)) => {
                let subject = SubjectHandle::parse(subject).context("the subject")?;
                partner.standing_grants(&subject).iter().map(|row| row.name().clone()).collect()
            }
            (None, None) => bail!("name a grant or a subject"),
        };
        let mut stopped = Vec::with_capacity(grants.len());
        for grant in &grants {
            stopped.push(partner.stop_locally(grant).await?);
        }
        let names: Vec<&str> = stopped.iter().map(GrantName::as_str).collect();
        setting.output().show(&json!({ "stopped": names }), |output| {
            if stopped.is_empty() {
                return "no grant stands".to_owned();
            }
            let lines = stopped.iter().map(|name| {
                let heard = partner.book().grant(name).is_some();
                let how = if heard { "stopped here" } else { "stopped here before it came" };
                format!("{} {name}", output.good(how))
            });
            let dim =
                output.dim("The customer's own stop, which the log shows, goes through the customer's app.");
            lines.chain([dim]).collect::<Vec<_>>().join("\n")
        });
        Ok(())
    }
}
