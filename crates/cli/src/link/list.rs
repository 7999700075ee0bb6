//! Listing links, from either side's book.

use anyhow::Result;
use clap::Args;
use countersign_client::customer::LinkRow;
use serde_json::{Value, json};

use crate::{arguments::Setting, homes::PartnerHome, words};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    home: PartnerHome,
}

impl Arguments {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        let as_customer = self.home.as_customer();
        if !as_customer.is_one() {
            return self.of_partner(setting);
        }
        let links = as_customer.open(setting)?.links().await?;
        let state = |link: &LinkRow| match (link.ended, link.confirmed) {
            (true, _) => "ENDED",
            (false, true) => "CONFIRMED",
            (false, false) => "ACCEPTED",
        };
        let json = links.iter().map(|link| {
            json!({
                "link": link.name.as_str(), "partner": link.partner.as_str(), "label": link.label,
                "state": state(link), "code": if link.confirmed { Value::Null } else { json!(link.code) },
                "expire_time": words::rfc3339(link.expires),
            })
        });
        setting.output().show(&Value::Array(json.collect()), |output| {
            let rows = links.iter().map(|link| {
                let waits = format!("waits for the code {} until {}", link.code, words::moment(link.expires));
                let state = match (link.ended, link.confirmed) {
                    (true, _) => "ended: link anew in the brand's own app".to_owned(),
                    (false, true) => "linked".to_owned(),
                    (false, false) => waits,
                };
                [link.partner.to_string(), link.label.clone(), state]
            });
            output.table(["partner", "account", "state"], rows.collect())
        });
        Ok(())
    }

    fn of_partner(&self, setting: &Setting) -> Result<()> {
        let links = self.home.open(setting)?.book().links();
        let json = links.iter().map(|link| {
            json!({ "link": link.name().as_str(), "subject": link.subject().as_str(), "state": "CONFIRMED" })
        });
        setting.output().show(&Value::Array(json.collect()), |output| {
            let rows = links.iter().map(|link| [link.subject().to_string(), link.name().to_string()]);
            output.table(["subject", "link"], rows.collect())
        });
        Ok(())
    }
}
