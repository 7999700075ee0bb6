//! Inviting a person to link.

use anyhow::{Context as _, Result};
use clap::Args;
use countersign_client::{
    grants::{id::SubjectHandle, statement::ReturnAddress},
    partner::InviteOptions,
};
use serde_json::json;

use crate::{arguments::Setting, homes::PartnerHome, words};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// How the person knows their account here; the broker never sees it
    #[arg(long, value_name = "TEXT")]
    label: String,
    /// The handle of the link whose place the new one takes: the person lost its keys, or they were stolen
    #[arg(long, value_name = "SUBJECT")]
    replaces: Option<String>,
    /// Where the customer's app takes the code, as `#countersign-code=` and six digits; without it the person types it
    #[arg(long, value_name = "URL")]
    return_address: Option<String>,
    #[command(flatten)]
    home: PartnerHome,
}

impl Arguments {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        let options = InviteOptions {
            replaces: self.replaces.as_deref().map(SubjectHandle::parse).transpose().context("--replaces")?,
            return_address: self
                .return_address
                .as_deref()
                .map(ReturnAddress::parse)
                .transpose()
                .context("--return-address")?,
        };
        let partner = self.home.open(setting)?;
        let invited = partner.invite_with(&self.label, &options).await?;
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
