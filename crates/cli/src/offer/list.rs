//! A partner's offers.

use anyhow::Result;
use clap::Args;
use countersign_client::{
    Error,
    channel::call,
    proto::v1::{ListOffersRequest, Offer},
};
use serde_json::{Value, json};

use crate::{arguments::Setting, homes::PartnerHome};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    home: PartnerHome,
}

impl Arguments {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        let partner = self.home.open(setting)?;
        let mut offers = Vec::new();
        let mut page_token = String::new();
        loop {
            let asked = ListOffersRequest { parent: partner.name().to_string(), page_size: 200, page_token };
            let page = partner
                .connection()
                .offers()
                .list_offers(call(asked))
                .await
                .map_err(Error::from)?
                .into_inner();
            offers.extend(page.offers);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        let json = |offer: &Offer| {
            json!({
                "name": offer.name, "source": offer.source, "recipient": offer.recipient,
                "purpose": offer.purpose, "state": state(offer),
            })
        };
        setting.output().show(&Value::Array(offers.iter().map(json).collect()), |output| {
            let row = |offer: &Offer| {
                [offer.name.clone(), offer.source.clone(), offer.purpose.clone(), state(offer).to_owned()]
            };
            output.table(["offer", "source", "purpose", "state"], offers.iter().map(row).collect())
        });
        Ok(())
    }
}

fn state(offer: &Offer) -> &'static str {
    offer.state().as_str_name().trim_start_matches("STATE_")
}
