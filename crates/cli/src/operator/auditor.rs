//! Entering an auditor.

use anyhow::{Context as _, Result};
use clap::Subcommand;
use countersign_client::grants::id::AuditorName;
use serde_json::json;

use crate::{arguments::Setting, homes::OperatorHome, key};

#[derive(Debug, Subcommand)]
pub(crate) enum AuditorCommand {
    /// Enter an auditor under the key that signs its calls
    Create {
        /// `auditors/{auditor}`
        auditor: String,
        /// What people read
        #[arg(long, value_name = "TEXT")]
        display_name: String,
        /// The auditor's key: its public half in base64url, or its key file
        #[arg(long, value_name = "KEY")]
        public_key: String,
        #[command(flatten)]
        home: OperatorHome,
    },
}

impl AuditorCommand {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        let Self::Create { auditor, display_name, public_key, home } = self;
        let name = AuditorName::parse(&auditor).context("the auditor")?;
        let key = key::public(&public_key)?;
        let entered = home.open(setting)?.create_auditor(&name, &display_name, &key).await?;
        let json =
            json!({ "name": entered.name, "display_name": entered.display_name, "key": key::key_json(&key) });
        setting.output().show(&json, |output| format!("{} {}", output.good("entered"), entered.name));
        Ok(())
    }
}
