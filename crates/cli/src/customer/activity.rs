//! What happened to the customer's data, refusals too.

use anyhow::Result;
use clap::Args;
use countersign_client::{customer::Activity, proto::log::v1::Kind};
use serde_json::{Value, json};

use crate::{arguments::Setting, homes::CustomerHome, output::Output, words};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Go on as things happen, until interrupted
    #[arg(long)]
    follow: bool,
    /// Only these kinds of record: `TRANSFER`, `TRANSFER_REFUSED` …
    #[arg(long = "kind", value_name = "KIND", value_parser = words::read_kind)]
    kinds: Vec<Kind>,
    /// From this record of the log on
    #[arg(long, value_name = "INDEX", default_value_t = 0)]
    since: u64,
    #[command(flatten)]
    home: CustomerHome,
}

impl Arguments {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        let output = setting.output();
        let customer = self.home.open(setting)?;
        let mut timeline = customer.timeline(self.since, &self.kinds);
        let (mut all, mut cursor) = (Vec::new(), self.since);
        loop {
            let page = timeline.next().await?;
            let Some(last) = page.last() else { break };
            cursor = last.index() + 1;
            for activity in &page {
                if self.follow {
                    output.stream(&activity_json(activity), |output| activity_words(output, activity));
                } else {
                    all.push((activity_json(activity), activity_words(output, activity)));
                }
            }
        }
        if !self.follow {
            customer.settle().await?;
            let (json, lines): (Vec<Value>, Vec<String>) = all.into_iter().unzip();
            output.show(&Value::Array(json), |_| {
                if lines.is_empty() { "nothing yet".to_owned() } else { lines.join("\n") }
            });
            return Ok(());
        }
        let mut watch = customer.watch(cursor, &self.kinds);
        loop {
            let activity = tokio::select! {
                activity = watch.next() => activity?,
                _ = tokio::signal::ctrl_c() => return Ok(customer.settle().await?),
            };
            output.stream(&activity_json(&activity), |output| activity_words(output, &activity));
        }
    }
}

fn activity_json(activity: &Activity) -> Value {
    let event = &activity.event;
    let text = |text: &str| if text.is_empty() { Value::Null } else { json!(text) };
    let mut json = words::record_json(activity.index(), &activity.record);
    json["grant"] = text(&event.grant);
    json["grant_request"] = text(&event.grant_request);
    json["link"] = text(&event.link);
    json["fields"] = json!(event.fields);
    json["resource"] = text(&event.resource);
    json["since_preview"] = activity.compared.as_ref().map_or(Value::Null, words::compared_json);
    json
}

fn activity_words(output: Output, activity: &Activity) -> String {
    let sentence = words::sentence(&activity.record, &activity.event.fields);
    let sentence = match &activity.compared {
        Some(compared) => format!("{sentence}; {}", words::compared(compared)),
        None => sentence,
    };
    let sentence = match activity.kind() {
        Kind::TransferRefused | Kind::ProvidedNotReleased => output.bad(&sentence),
        _ => sentence,
    };
    let time = output.dim(&words::moment(activity.time()));
    format!("{time}  {sentence}  {}", output.dim(&format!("[{}]", activity.index())))
}
