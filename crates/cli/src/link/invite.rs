//! Inviting a person to link.

use anyhow::Result;
use clap::Args;
use serde_json::json;

use crate::{arguments::Setting, homes::PartnerHome, words};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// How the person knows their account here; the broker never sees it
    #[arg(long, value_name = "TEXT")]
    label: String,
    #[command(flatten)]
    home: PartnerHome,
}

impl Arguments {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        let invited = self.home.open(setting)?.invite(&self.label).await?;
        let package = invited.package.to_text();
        let json = json!({
            "link": invited.link.as_str(),
            "subject": invited.subject.as_str(),
            "package": package,
            "fragment": invited.package.to_fragment(),
            "expire_time": words::rfc3339(invited.expire_time),
        });
        setting.output().show(&json, |output| {
            format!(
                "{} until {}, {}\n{}\n\n{package}\n\n{} {}",
                output.bold("Invited"),
                words::moment(invited.expire_time),
                invited.link,
                output.dim("For the customer's app alone, never through the broker:"),
                output.dim("subject"),
                invited.subject,
            )
        });
        Ok(())
    }
}
