//! What an operator does to one grant.

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use countersign_client::grants::{id::GrantName, statement::ChangeReason};
use serde_json::json;

use crate::{arguments::Setting, homes::OperatorHome, words};

#[derive(Debug, Subcommand)]
pub(crate) enum GrantCommand {
    /// Suspend a grant, from the next commit on
    Suspend(Because),
    /// End the operators' suspension of a grant
    Unsuspend(One),
    /// End a grant for good
    Revoke(Because),
}

#[derive(Debug, Args)]
pub(crate) struct Because {
    #[command(flatten)]
    one: One,
    /// Why, for the log: security, dispute, wrong-data, not-needed, closed, law or maintenance
    #[arg(long, value_name = "REASON", value_parser = words::read_reason)]
    reason: ChangeReason,
}

#[derive(Debug, Args)]
pub(crate) struct One {
    /// `grants/{grant}`
    grant: String,
    #[command(flatten)]
    home: OperatorHome,
}

impl GrantCommand {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        let name = |one: &One| GrantName::parse(&one.grant).context("the grant");
        let grant = match self {
            Self::Suspend(Because { one, reason }) => {
                one.home.open(setting)?.suspend_grant(&name(&one)?, reason).await?
            }
            Self::Unsuspend(one) => one.home.open(setting)?.unsuspend_grant(&name(&one)?).await?,
            Self::Revoke(Because { one, reason }) => {
                one.home.open(setting)?.revoke_grant(&name(&one)?, reason).await?
            }
        };
        let state = grant.state().as_str_name().trim_start_matches("STATE_").to_owned();
        let json = json!({
            "name": grant.name,
            "source": grant.source,
            "recipient": grant.recipient,
            "purpose": grant.purpose,
            "state": state,
            "reason": grant.reason,
        });
        setting.output().show(&json, |output| {
            let row = [
                grant.name.clone(),
                grant.source.clone(),
                grant.recipient.clone(),
                state,
                grant.reason.clone(),
            ];
            output.table(["grant", "source", "recipient", "state", "reason"], vec![row])
        });
        Ok(())
    }
}
