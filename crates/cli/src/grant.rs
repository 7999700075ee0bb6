//! What a partner does to a grant by its own word, and what its own book says of grants.

mod list;
mod stop;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use countersign_client::{
    System,
    book::GrantRow,
    grants::{id::GrantName, statement::ChangeReason},
};
use serde_json::json;

use crate::{
    arguments::Setting,
    fetch::{catch_up, catch_up_all},
    homes::PartnerHome,
    words,
};

#[derive(Debug, Subcommand)]
pub(crate) enum GrantCommand {
    /// List the grants of this partner's book, or those of one subject; asks no broker
    List(list::Arguments),
    /// Stop a grant on this side, for good and without any broker: nothing is served or fetched under it any more
    Stop(stop::Arguments),
    /// Suspend a grant of which this partner is the source
    Suspend(Because),
    /// End this source's suspension of a grant
    Unsuspend(One),
    /// End a grant for good, on either side
    Revoke(Because),
    /// Say that what was received under a grant is deleted, as the customer ordered
    Erased(One),
    /// List the grants under which this partner still has to delete what it received
    Erasures(Own),
}

#[derive(Debug, Args)]
pub(crate) struct Own {
    #[command(flatten)]
    home: PartnerHome,
}

#[derive(Debug, Args)]
pub(crate) struct Because {
    #[command(flatten)]
    one: One,
    /// Why: security, dispute, wrong-data, not-needed, closed, law or maintenance
    #[arg(long, value_name = "REASON", value_parser = words::read_reason)]
    reason: ChangeReason,
}

#[derive(Debug, Args)]
pub(crate) struct One {
    /// `grants/{grant}`
    grant: String,
    #[command(flatten)]
    home: PartnerHome,
}

impl GrantCommand {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        let (one, done) = match self {
            Self::List(arguments) => return arguments.run(setting),
            Self::Stop(arguments) => return arguments.run(setting).await,
            Self::Erasures(own) => return own.list(setting).await,
            Self::Erased(ref one) => (one, "erased"),
            Self::Suspend(ref because) => (&because.one, "suspended"),
            Self::Unsuspend(ref one) => (one, "unsuspended"),
            Self::Revoke(ref because) => (&because.one, "revoked"),
        };
        let grant = GrantName::parse(&one.grant).context("the grant")?;
        let partner = one.home.open(setting)?;
        match &self {
            Self::Erased(_) => catch_up_all(&partner).await?,
            _ => catch_up(&partner, &grant).await?,
        }
        let proof = match &self {
            Self::Suspend(because) => partner.suspend_grant(&grant, because.reason).await?,
            Self::Revoke(because) => partner.revoke_grant(&grant, because.reason).await?,
            Self::Erased(_) => partner.attest_erasure(&grant).await?,
            _ => partner.unsuspend_grant(&grant).await?,
        };
        let json = json!({ "name": grant.as_str(), "done": done, "record": proof.index() });
        setting.output().show(&json, |output| {
            format!("{} {grant}: record {} of the log, proven", output.good(done), proof.index())
        });
        Ok(())
    }
}

impl Own {
    async fn list(&self, setting: &Setting) -> Result<()> {
        let partner = self.home.open(setting)?;
        catch_up_all(&partner).await?;
        let (due, now) = (partner.erasures_due(), System::real().now());
        let late = |row: &GrantRow| row.erase_due().is_some_and(|due| now >= due);
        let json = due.iter().map(|row| {
            json!({
                "name": row.name().as_str(),
                "subject": row.subject().as_str(),
                "due_time": row.erase_due().map(words::rfc3339),
                "overdue": late(row),
            })
        });
        setting.output().show(&json.collect(), |output| {
            let row = |row: &GrantRow| {
                let due = row.erase_due().map(words::moment).unwrap_or_default();
                let due = if late(row) { output.bad(&format!("OVERDUE since {due}")) } else { due };
                [row.name().to_string(), row.subject().to_string(), due]
            };
            output.table(["grant", "subject", "due"], due.iter().map(row).collect())
        });
        Ok(())
    }
}
