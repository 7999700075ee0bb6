//! An offer as a file: what a recipient writes, in TOML or JSON.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result};
use countersign_client::{
    OfferDraft,
    grants::{
        id::PartnerName,
        statement::{BenefitKind, OfferText},
    },
};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DraftFile {
    source: String,
    purpose: String,
    required_fields: Vec<String>,
    #[serde(default)]
    optional_fields: Vec<String>,
    duration_seconds: u64,
    uses: u32,
    rate: Option<RateFile>,
    retention_seconds: u64,
    texts: Vec<TextFile>,
    benefit_kind: String,
    contact_phone: String,
    law: String,
    controller: String,
    complaint_body: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RateFile {
    uses: u32,
    window_seconds: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TextFile {
    language: String,
    reason: String,
    benefit: String,
    ends: String,
}

impl DraftFile {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
        let read = if json {
            serde_json::from_str(&text).map_err(anyhow::Error::from)
        } else {
            toml::from_str(&text).map_err(anyhow::Error::from)
        };
        read.with_context(|| path.display().to_string())
    }

    pub(super) fn draft(self) -> Result<OfferDraft> {
        let text = |text: TextFile| OfferText {
            language: text.language,
            reason: text.reason,
            benefit: text.benefit,
            ends: text.ends,
        };
        let kind = format!("BENEFIT_KIND_{}", self.benefit_kind.to_ascii_uppercase());
        let benefit_kind = BenefitKind::from_str_name(&kind).context(
            "`benefit_kind` is DISCOUNT, ONE_TAP, SPECIAL_SERVICE, TIMELY, ADVICE or CROSS_PLATFORM",
        )?;
        Ok(OfferDraft {
            source: PartnerName::parse(&self.source).context("`source`")?,
            purpose: self.purpose,
            required_fields: self.required_fields,
            optional_fields: self.optional_fields,
            duration: Duration::from_secs(self.duration_seconds),
            uses: self.uses,
            rate: self.rate.map(|rate| (rate.uses, Duration::from_secs(rate.window_seconds))),
            retention: Duration::from_secs(self.retention_seconds),
            texts: self.texts.into_iter().map(text).collect(),
            benefit_kind,
            contact_phone: self.contact_phone,
            law: self.law,
            controller: self.controller,
            complaint_body: self.complaint_body,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOML: &str = r#"
        source = "partners/skylark"
        purpose = "pickup_planning"
        required_fields = ["trip.flight_no", "trip.eta"]
        duration_seconds = 86400
        uses = 12
        rate = { uses = 6, window_seconds = 60 }
        retention_seconds = 86400
        benefit_kind = "special_service"
        contact_phone = "+1 555 0100"
        law = "consent"
        controller = "Hopp Ltd"
        complaint_body = "the authority"
        [[texts]]
        language = "en"
        reason = "To be there when you land"
        benefit = "Your driver waits 45 minutes, free."
        ends = "landing + 24 h"
    "#;

    fn read(name: &str, text: &str) -> Result<OfferDraft> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("writes");
        DraftFile::read(&path)?.draft()
    }

    #[test]
    fn toml_and_json_say_the_same() {
        let from_toml = read("offer.toml", TOML).expect("reads");
        let json =
            serde_json::to_string(&toml::from_str::<toml::Value>(TOML).expect("reads")).expect("writes");
        let from_json = read("offer.json", &json).expect("reads");
        assert_eq!(format!("{from_toml:?}"), format!("{from_json:?}"));
        assert_eq!(from_toml.rate, Some((6, Duration::from_secs(60))));
    }

    #[test]
    fn a_wrong_key_is_named() {
        let check = |from: &str, to: &str, named: &str| {
            let error = read("offer.toml", &TOML.replace(from, to)).expect_err(named);
            assert!(format!("{error:#}").contains(named), "{error:#}");
        };
        check("uses = 12", "use = 12", "use");
        check("special_service", "advertising", "benefit_kind");
        check("partners/skylark", "skylark", "source");
    }
}
