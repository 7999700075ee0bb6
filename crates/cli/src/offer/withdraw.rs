//! Withdrawing an offer.

use anyhow::{Context as _, Result};
use clap::Args;
use countersign_client::{Error, channel::call, grants::id::OfferName, proto::v1::WithdrawOfferRequest};
use serde_json::json;

use crate::{arguments::Setting, homes::PartnerHome};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// `offers/{offer}`
    offer: String,
    #[command(flatten)]
    home: PartnerHome,
}

impl Arguments {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        let offer = OfferName::parse(&self.offer).context("the offer")?;
        let partner = self.home.open(setting)?;
        let asked = WithdrawOfferRequest { name: offer.to_string() };
        partner.connection().offers().withdraw_offer(call(asked)).await.map_err(Error::from)?;
        let json = json!({ "name": offer.as_str(), "state": "WITHDRAWN" });
        setting
            .output()
            .show(&json, |output| format!("{} {offer}; grants under it stand", output.good("withdrawn")));
        Ok(())
    }
}
