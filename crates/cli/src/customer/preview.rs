//! What would leave, live: each value as its source holds it now, before the answer. But a precise location, which nobody
//! sees before the customer taps.

use anyhow::{Context as _, Result};
use clap::Args;
use countersign_client::{
    Error,
    customer::{Previewed, ReadRequest, Row},
    grants::{catalogue::FieldPath, id::RequestName},
};
use serde_json::{Value, json};

use crate::{arguments::Setting, homes::CustomerHome, output::Output, words};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// `grantRequests/{request}`
    request: String,
    /// Only this row, by its number; may be given several times
    #[arg(long = "row", value_name = "N")]
    rows: Vec<usize>,
    /// The language to read it in: `en`, `zh-Hans`, `ja`
    #[arg(long, value_name = "LANGUAGE", default_value = "en")]
    language: String,
    #[command(flatten)]
    home: CustomerHome,
}

/// What became of the look at one row.
struct Looked<'a> {
    row: &'a Row,
    /// Nothing of a row that has but precise locations.
    shown: Result<Option<Previewed>, Error>,
    /// What leaves by a tap alone, and is not looked at.
    by_tap: Vec<FieldPath>,
}

impl Arguments {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        let name = RequestName::parse(&self.request).context("the request")?;
        let customer = self.home.open(setting)?;
        let request = customer.read_request(&name).await?;
        let mut looked = Vec::new();
        for row in self.chosen(&request)? {
            // All that it offers, the optional fields too: to see them is what helps to choose.
            let (by_tap, fields): (Vec<FieldPath>, Vec<FieldPath>) =
                row.offer.statement().fields().cloned().partition(FieldPath::needs_tap);
            let shown = match fields.as_slice() {
                [] => Ok(None),
                fields => customer.preview(&request, row.number, fields).await.map(Some),
            };
            looked.push(Looked { row, shown, by_tap });
        }
        customer.settle().await?;
        let json = Value::Array(looked.iter().map(row_json).collect());
        setting.output().show(&json, |output| {
            let rows: Vec<String> = looked.iter().map(|one| row_words(output, one, &self.language)).collect();
            rows.join("\n\n")
        });
        // One source that can't show anything now keeps nobody from seeing the rest; with none at all it is an error.
        match looked.into_iter().map(|one| one.shown).reduce(Result::or) {
            Some(Err(error)) => Err(error.into()),
            _ => Ok(()),
        }
    }

    fn chosen<'a>(&self, request: &'a ReadRequest) -> Result<Vec<&'a Row>> {
        let rows = request.rows();
        for number in &self.rows {
            let known = (1..=rows.len()).contains(number);
            anyhow::ensure!(known, "the request has rows 1 to {}, not {number}", rows.len());
        }
        Ok(rows.iter().filter(|row| self.rows.is_empty() || self.rows.contains(&row.number)).collect())
    }
}

fn row_json(looked: &Looked<'_>) -> Value {
    let offer = looked.row.offer.statement();
    let mut json = json!({
        "row": looked.row.number,
        "source": offer.source.as_str(),
        "recipient": offer.recipient.as_str(),
    });
    if !looked.by_tap.is_empty() {
        json["shown_when_you_tap"] = looked.by_tap.iter().map(FieldPath::as_str).collect();
    }
    match &looked.shown {
        Ok(None) => {}
        Ok(Some(shown)) => {
            let value = |(field, value): &(FieldPath, countersign_client::Value)| {
                json!({
                    "field": field.as_str(),
                    "optional": offer.optional_fields.contains(field),
                    "value": words::value(value),
                })
            };
            json["values"] = shown.values.iter().map(value).collect();
            json["record"] = json!(shown.receipt.index());
        }
        Err(error) => json["error"] = json!(error.to_string()),
    }
    json
}

fn row_words(output: Output, looked: &Looked<'_>, language: &str) -> String {
    let (row, offer) = (looked.row, looked.row.offer.statement());
    let account = row.source_label().map(|label| format!(", your account “{label}”")).unwrap_or_default();
    let heading = format!(
        "{}. {}{account} → {}",
        row.number,
        words::short(offer.source.as_str()),
        words::short(offer.recipient.as_str())
    );
    let heading = output.bold(&heading);
    let line = |field: &FieldPath, now: String| {
        let optional = offer.optional_fields.contains(field);
        [
            words::field(&row.catalogue, field, language),
            now,
            words::short(offer.source.as_str()).to_owned(),
            if optional { "optional: off".to_owned() } else { String::new() },
        ]
    };
    let (heading, values) = match &looked.shown {
        Ok(Some(shown)) => {
            let record = shown.receipt.index();
            (format!("{heading}, sealed to you alone; record {record}"), shown.values.as_slice())
        }
        Ok(None) => (heading, [].as_slice()),
        Err(error) => return format!("{heading}\n{}", output.bad(&error.to_string())),
    };
    let mut lines: Vec<_> = values.iter().map(|(field, value)| line(field, words::value(value))).collect();
    lines.extend(looked.by_tap.iter().map(|field| line(field, "shown when you tap".to_owned())));
    let table = output.table(["what", "now", "from", ""], lines);
    format!("{heading}\n{table}")
}
