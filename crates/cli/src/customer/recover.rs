//! The wallet on a new device.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use countersign_client::customer::{AuthenticatorSecret, fetch_wallet};
use serde_json::json;

use crate::{arguments::Setting, homes::CustomerHome, words};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The authenticator's file
    #[arg(long, value_name = "FILE")]
    authenticator: PathBuf,
    #[command(flatten)]
    home: CustomerHome,
}

impl Arguments {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        let secret = AuthenticatorSecret::read(&self.authenticator)?;
        let wallet = fetch_wallet(&setting.trust()?, &secret, &setting.system()).await?;
        self.home.make_folder()?;
        wallet.write(&self.home.wallet_file())?;
        let customer = self.home.open(setting)?;
        let links = customer.links().await?.len();
        let grants = customer.grants().await?.len();
        customer.settle().await?;
        let json = json!({ "name": customer.name().as_str(), "links": links, "grants": grants });
        setting.output().show(&json, |output| {
            let (links, grants) =
                (words::counted(links as u64, "link"), words::counted(grants as u64, "grant"));
            format!("{} {}: {links}, {grants}", output.good("recovered"), customer.name())
        });
        Ok(())
    }
}
