//! Taking what was removed off the broker's disk, while it serves.

use anyhow::Result;
use clap::Args;
use serde_json::json;

use crate::{arguments::Setting, homes::OperatorHome, words};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    home: OperatorHome,
}

impl Arguments {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        let until = self.home.open(setting)?.scrub().await?;
        let json = json!({ "until_time": words::rfc3339(until) });
        setting.output().show(&json, |output| {
            let what =
                format!("what was removed until {} is in no file of the broker's", words::moment(until));
            format!("{} {what}", output.good("scrubbed:"))
        });
        Ok(())
    }
}
