//! A partner's requests.

use anyhow::Result;
use clap::Args;
use countersign_client::{
    Error,
    channel::call,
    grants::time::Timestamp,
    proto::v1::{GrantRequest, ListGrantRequestsRequest},
};
use serde_json::{Value, json};

use crate::{arguments::Setting, homes::PartnerHome, words};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    home: PartnerHome,
}

impl Arguments {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        let partner = self.home.open(setting)?;
        let mut requests = Vec::new();
        let mut page_token = String::new();
        loop {
            let asked = ListGrantRequestsRequest {
                parent: partner.name().to_string(),
                page_size: 200,
                page_token,
                ..Default::default()
            };
            let answer = partner.connection().grants().list_grant_requests(call(asked)).await;
            let page = answer.map_err(Error::from)?.into_inner();
            requests.extend(page.grant_requests);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        let json = |request: &GrantRequest| {
            json!({
                "name": request.name, "state": state(request), "grants": request.grants,
                "expire_time": words::rfc3339(expires(request)),
            })
        };
        setting.output().show(&Value::Array(requests.iter().map(json).collect()), |output| {
            let row = |request: &GrantRequest| {
                let grants = words::counted(request.grants.len() as u64, "grant");
                [request.name.clone(), state(request).to_owned(), grants, words::moment(expires(request))]
            };
            output.table(["request", "state", "came of it", "until"], requests.iter().map(row).collect())
        });
        Ok(())
    }
}

fn state(request: &GrantRequest) -> &'static str {
    request.state().as_str_name().trim_start_matches("STATE_")
}

fn expires(request: &GrantRequest) -> Timestamp {
    let seconds = request.expire_time.as_ref().map_or(0, |time| time.seconds);
    Timestamp::from_millis(u64::try_from(seconds).unwrap_or_default() * 1000)
}
