//! Becoming a customer.

use anyhow::Result;
use clap::Args;
use countersign_client::customer::Wallet;
use serde_json::json;

use crate::{arguments::Setting, homes::CustomerHome};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    home: CustomerHome,
}

impl Arguments {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        self.home.make_folder()?;
        let path = self.home.wallet_file();
        if !path.is_file() {
            Wallet::draw(&setting.system()).write(&path)?;
        }
        let customer = self.home.open(setting)?;
        customer.register().await?;
        customer.settle().await?;
        let json = json!({ "name": customer.name().as_str(), "wallet": path.display().to_string() });
        setting.output().show(&json, |output| {
            format!(
                "{} {}\n{}",
                output.good("entered"),
                customer.name(),
                output.dim(&format!(
                    "Everything hangs on {}: keep a copy where nobody else looks.",
                    path.display()
                ))
            )
        });
        Ok(())
    }
}
