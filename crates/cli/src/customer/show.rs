//! A request in plain words: who, what, why, what you get, until when, how often, kept how long, law, phone.

use anyhow::{Context as _, Result};
use clap::Args;
use countersign_client::{
    customer::{ReadRequest, Row},
    grants::{catalogue::FieldPath, id::RequestName},
};
use serde_json::{Value, json};

use super::requests::state;
use crate::{arguments::Setting, homes::CustomerHome, output::Output, words};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// `grantRequests/{request}`
    request: String,
    /// The language to read it in: `en`, `zh-Hans`, `ja`
    #[arg(long, value_name = "LANGUAGE", default_value = "en")]
    language: String,
    #[command(flatten)]
    home: CustomerHome,
}

impl Arguments {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        let name = RequestName::parse(&self.request).context("the request")?;
        let customer = self.home.open(setting)?;
        let request = customer.read_request(&name).await?;
        customer.settle().await?;
        let json = request_json(&request, &self.language);
        setting.output().show(&json, |output| request_words(output, &request, &self.language));
        Ok(())
    }
}

fn request_json(request: &ReadRequest, language: &str) -> Value {
    let said = request.statement().statement();
    json!({
        "name": request.name().as_str(),
        "requester": said.requester.as_str(),
        "account": request.link().label,
        "state": state(request.state()),
        "expire_time": words::rfc3339(said.expire_time),
        "rows": request.rows().iter().map(|row| row_json(row, language)).collect::<Vec<_>>(),
    })
}

fn row_json(row: &Row, language: &str) -> Value {
    let offer = row.offer.statement();
    let (text, translated) = offer.text(language);
    let paths = |fields: &[FieldPath]| fields.iter().map(ToString::to_string).collect::<Vec<_>>();
    json!({
        "number": row.number,
        "optional": row.optional,
        "source": offer.source.as_str(),
        "source_name": row.source_display_name,
        "source_account": row.source_label(),
        "recipient": offer.recipient.as_str(),
        "recipient_name": row.recipient_display_name,
        "recipient_account": row.recipient_label(),
        "purpose": offer.purpose.as_str(),
        "required_fields": paths(&offer.required_fields),
        "optional_fields": paths(&offer.optional_fields),
        "language": text.language,
        "translated": translated,
        "reason": text.reason,
        "benefit": text.benefit,
        "ends": text.ends,
        "duration_seconds": offer.duration.as_secs(),
        "uses": offer.uses,
        "rate": offer.rate.map(|(uses, window)| json!({ "uses": uses, "window_seconds": window.as_secs() })),
        "retention_seconds": offer.retention.as_secs(),
        "law": offer.law,
        "controller": offer.controller,
        "complaint_body": offer.complaint_body,
        "contact_phone": offer.contact_phone,
        "renews": row.renews.as_ref().map(ToString::to_string),
        "missing_links": row.missing().iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

fn request_words(output: Output, request: &ReadRequest, language: &str) -> String {
    let said = request.statement().statement();
    let mut lines = vec![
        format!(
            "{} asks, through your account “{}”.",
            output.bold(said.requester.as_str()),
            request.link().label
        ),
        format!("{}; it lapses {}.", state_words(request), words::moment(said.expire_time)),
    ];
    for row in request.rows() {
        lines.push(String::new());
        lines.extend(row_words(output, row, language));
    }
    lines.push(String::new());
    lines.push(
        "Nothing is passed on to anybody else. Each row stands alone, and you can stop it at any time."
            .into(),
    );
    lines.join("\n")
}

fn state_words(request: &ReadRequest) -> &'static str {
    use countersign_client::proto::v1::grant_request::State;
    match request.state() {
        State::Requested => "It waits for your answer",
        State::Deferred => "You put it off",
        State::Approved => "You approved it",
        State::Refused => "You refused it",
        State::Lapsed => "Nobody answered in time",
        State::Cancelled => "It was taken back",
        State::Unspecified => "Where it stands is not known",
    }
}

fn row_words(output: Output, row: &Row, language: &str) -> Vec<String> {
    let offer = row.offer.statement();
    let (text, _) = offer.text(language);
    let titled = |fields: &[FieldPath]| {
        fields.iter().map(|path| words::field(&row.catalogue, path, language)).collect::<Vec<_>>().join(", ")
    };
    let party = |display: &str, name: &str| {
        if display.is_empty() { name.to_owned() } else { format!("{display} ({name})") }
    };
    let purpose = row.catalogue.purpose(offer.purpose.as_str());
    let purpose = purpose.map_or(offer.purpose.as_str(), |purpose| purpose.titles().or_english(language));
    let often = match offer.rate {
        Some((uses, window)) => {
            let in_window = format!("at most {uses} in {}", words::duration(window));
            format!("{} in all, {in_window}", words::counted(u64::from(offer.uses), "time"))
        }
        None => format!("{} in all", words::counted(u64::from(offer.uses), "time")),
    };
    let heading = format!(
        "{}. {} → {}{}",
        row.number,
        party(&row.source_display_name, offer.source.as_str()),
        party(&row.recipient_display_name, offer.recipient.as_str()),
        if row.optional { ", optional: off" } else { "" }
    );
    let line = |name: &str, text: &str| format!("   {} {text}", output.dim(&format!("{name:<12}")));
    let mut lines = vec![
        output.bold(&heading),
        line("what", &titled(&offer.required_fields)),
        line("why", &format!("{purpose}: {}", text.reason)),
        line("you get", &text.benefit),
        line(
            "until",
            &format!("{}; at the latest {} after you approve", text.ends, words::duration(offer.duration)),
        ),
        line("how often", &often),
        line("kept", &format!("{} after the end", words::duration(offer.retention))),
        line("law", &format!("{}; {} answers for it", offer.law, offer.controller)),
        line("complaints", &offer.complaint_body),
        line("phone", &offer.contact_phone),
    ];
    if !offer.optional_fields.is_empty() {
        lines.insert(2, line("you may add", &titled(&offer.optional_fields)));
    }
    if let Some(renews) = &row.renews {
        lines.push(line("renews", &format!("{renews}, which ends when you approve")));
    }
    for partner in row.missing() {
        lines.push(line("", &output.bad(&words::link_first(partner.as_str()))));
    }
    lines
}
