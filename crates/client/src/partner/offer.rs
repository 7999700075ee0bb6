//! Publishing offers.

use countersign_grants::{
    catalogue::Catalogue,
    digest::Digest,
    id::{OfferName, PartnerName},
    statement::{BenefitKind, Offer, OfferText},
};
use countersign_proto::{
    statement::v1 as wire,
    v1::{GetCatalogueRequest, PublishOfferRequest},
};

use super::Partner;
use crate::{
    channel::call,
    error::{Error, Party},
};
use std::time::Duration;

/// What a recipient proposes, in its own words. The SDK adds broker, recipient, catalogue, time and checkpoint.
#[derive(Clone, Debug)]
pub struct OfferDraft {
    /// Who holds the data.
    pub source: PartnerName,
    /// The catalogue's code of the purpose.
    pub purpose: String,
    /// The fields without which it makes no sense, in order.
    pub required_fields: Vec<String>,
    /// The fields that the customer may add, in order.
    pub optional_fields: Vec<String>,
    /// The longest that a grant may stand.
    pub duration: Duration,
    /// How often data may be fetched in all.
    pub uses: u32,
    /// How often data may be fetched in one window.
    pub rate: Option<(u32, Duration)>,
    /// The longest that what was received is kept after the end.
    pub retention: Duration,
    /// What the customer reads, one a language.
    pub texts: Vec<OfferText>,
    /// The kind of benefit.
    pub benefit_kind: BenefitKind,
    /// A staffed telephone number.
    pub contact_phone: String,
    /// The legal basis.
    pub law: String,
    /// Who is responsible in law.
    pub controller: String,
    /// Where the customer can complain.
    pub complaint_body: String,
}

impl Partner {
    /// The broker's current catalogue, verified to be what its version says.
    pub async fn catalogue(&self) -> Result<Catalogue, Error> {
        let asked = GetCatalogueRequest { name: "catalogues/current".into() };
        let answer = self.0.connection.catalogue().get_catalogue(call(asked)).await?.into_inner();
        let wrong = |check, detail: String| Error::misbehaved(Party::Broker, "catalogue", check, detail);
        let catalogue =
            Catalogue::parse(&answer.document).map_err(|error| wrong("document", error.to_string()))?;
        if Digest::from_slice(&answer.version) != Some(catalogue.version()) {
            return Err(wrong("version", "the document is of another version".into()));
        }
        Ok(catalogue)
    }

    /// Signs and publishes an offer under the current catalogue. Each call makes an offer of its own: keep the name.
    pub async fn publish_offer(&self, draft: &OfferDraft) -> Result<OfferName, Error> {
        let shared = &self.0;
        shared.monitor.check()?;
        let catalogue = self.catalogue().await?;
        let message = draft.message(self, &catalogue, shared.monitor.for_signing().await?);
        let signed = shared.sign_checked::<Offer>("offer", &message)?;
        signed.statement().within(&catalogue).map_err(|error| Error::malformed("offer", error))?;
        let asked = PublishOfferRequest { statement: Some(signed.envelope().clone()) };
        shared.connection.offers().publish_offer(call(asked)).await?;
        Ok(OfferName::of(signed.digest()))
    }
}

impl OfferDraft {
    fn message(&self, partner: &Partner, catalogue: &Catalogue, checkpoint: bytes::Bytes) -> wire::Offer {
        let shared = &partner.0;
        let text = |text: &OfferText| wire::OfferText {
            language: text.language.clone(),
            reason: text.reason.clone(),
            benefit: text.benefit.clone(),
            ends: text.ends.clone(),
        };
        let rate = |(uses, window): (u32, Duration)| wire::Rate { uses, window_seconds: window.as_secs() };
        wire::Offer {
            broker: shared.trust.origin.to_string(),
            recipient: shared.name.to_string(),
            recipient_identity: shared.identity.as_bytes().to_vec().into(),
            source: self.source.to_string(),
            purpose: self.purpose.clone(),
            required_fields: self.required_fields.clone(),
            optional_fields: self.optional_fields.clone(),
            duration_seconds: self.duration.as_secs(),
            uses: self.uses,
            rate: self.rate.map(rate),
            retention_seconds: self.retention.as_secs(),
            texts: self.texts.iter().map(text).collect(),
            benefit_kind: self.benefit_kind.into(),
            contact_phone: self.contact_phone.clone(),
            law: self.law.clone(),
            controller: self.controller.clone(),
            complaint_body: self.complaint_body.clone(),
            catalogue_version: catalogue.version().into(),
            time_ms: shared.system.now().as_millis(),
            checkpoint,
        }
    }
}
