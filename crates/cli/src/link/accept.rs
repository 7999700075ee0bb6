//! Accepting an invitation.

use anyhow::{Context as _, Result};
use clap::Args;
use countersign_client::InvitationPackage;
use serde_json::json;

use crate::{arguments::Setting, homes::CustomerHome};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The invitation: its text, the URL that carries it, or `@FILE` with one of these
    #[arg(value_name = "PACKAGE")]
    package: String,
    #[command(flatten)]
    home: CustomerHome,
}

impl Arguments {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        let text = match self.package.strip_prefix('@') {
            Some(path) => std::fs::read_to_string(path).with_context(|| path.to_owned())?,
            None => self.package,
        };
        let package = InvitationPackage::parse(&text)?;
        let customer = self.home.open(setting)?;
        let accepted = customer.accept(&package).await?;
        let json = json!({
            "link": accepted.link.as_str(),
            "partner": accepted.partner.as_str(),
            "label": accepted.label,
            "code": accepted.code,
        });
        setting.output().show(&json, |output| {
            format!(
                "{} {} as “{}”\n\nType this code in {}'s own app, where you are signed in, and nowhere else:\n\n    {}\n",
                output.bold("Linking with"),
                accepted.partner,
                accepted.label,
                crate::words::short(accepted.partner.as_str()),
                output.bold(&accepted.code),
            )
        });
        Ok(())
    }
}
