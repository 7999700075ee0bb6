//! The requests that were put to the customer.

use anyhow::Result;
use clap::Args;
use countersign_client::{customer::Waiting, proto::v1::grant_request::State};
use serde_json::{Value, json};

use crate::{arguments::Setting, homes::CustomerHome, words};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Only those that wait for an answer
    #[arg(long)]
    open: bool,
    #[command(flatten)]
    home: CustomerHome,
}

impl Arguments {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        let customer = self.home.open(setting)?;
        let mut requests = customer.requests().await?;
        if self.open {
            requests.retain(|request| matches!(request.state, State::Requested | State::Deferred));
        }
        customer.settle().await?;
        let json = |request: &Waiting| {
            json!({
                "name": request.name.as_str(), "requester": request.requester, "state": state(request.state),
                "expire_time": words::rfc3339(request.expires),
            })
        };
        setting.output().show(&Value::Array(requests.iter().map(json).collect()), |output| {
            let row = |request: &Waiting| {
                let until = words::moment(request.expires);
                [request.name.to_string(), request.requester.clone(), state(request.state).to_owned(), until]
            };
            output.table(["request", "from", "state", "until"], requests.iter().map(row).collect())
        });
        Ok(())
    }
}

pub(super) fn state(state: State) -> &'static str {
    state.as_str_name().trim_start_matches("STATE_")
}
