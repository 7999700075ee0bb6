//! Partners: enter, approve an endpoint, vet, approve, suspend, resume, list.

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use countersign_client::{
    grants::{id::PartnerName, time::Timestamp},
    proto::v1::Partner,
};
use data_encoding::BASE64URL_NOPAD;
use serde_json::{Value, json};

use crate::{arguments::Setting, homes::OperatorHome, key, output::Output, words};

#[derive(Debug, Subcommand)]
pub(crate) enum PartnerCommand {
    /// Enter a partner under its identity key
    Create {
        /// `partners/{partner}`
        partner: String,
        /// What people read
        #[arg(long, value_name = "TEXT")]
        display_name: String,
        /// The identity key: its public half in base64url, or its key file
        #[arg(long, value_name = "KEY")]
        identity_key: String,
        /// Under which number its people are reached, such as `+1 212 555 0100`; without one it can't be vetted
        #[arg(long, value_name = "NUMBER", default_value = "", hide_default_value = true)]
        contact_phone: String,
        #[command(flatten)]
        home: OperatorHome,
    },
    /// Set under which number a partner's people are reached
    Contact {
        /// `partners/{partner}`
        partner: String,
        /// Such as `+1 212 555 0100`
        phone: String,
        #[command(flatten)]
        home: OperatorHome,
    },
    /// Vouch for a partner that applied
    Vet(One),
    /// Let a partner in that another operator has vetted
    Approve(One),
    /// Approve where a source is reached
    Endpoint {
        /// `partners/{partner}`
        partner: String,
        /// An `https` address, or `http` on loopback
        endpoint: String,
        #[command(flatten)]
        home: OperatorHome,
    },
    /// Suspend a partner, from its very next call
    Suspend {
        /// `partners/{partner}`
        partner: String,
        /// Why, for the log
        #[arg(long, value_name = "TEXT")]
        reason: String,
        #[command(flatten)]
        home: OperatorHome,
    },
    /// End a suspension
    Resume(One),
    /// List all partners
    List {
        #[command(flatten)]
        home: OperatorHome,
    },
}

#[derive(Debug, Args)]
pub(crate) struct One {
    /// `partners/{partner}`
    partner: String,
    #[command(flatten)]
    home: OperatorHome,
}

impl PartnerCommand {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        let name = |partner: &str| PartnerName::parse(partner).context("the partner");
        let partner = match self {
            Self::Create { partner, display_name, identity_key, contact_phone, home } => {
                let (identity, known_as) = (key::public(&identity_key)?, (&*display_name, &*contact_phone));
                home.open(setting)?.create_partner(&name(&partner)?, known_as, &identity).await?
            }
            Self::Contact { partner, phone, home } => {
                home.open(setting)?.set_contact(&name(&partner)?, &phone).await?
            }
            Self::Vet(One { partner, home }) => home.open(setting)?.vet(&name(&partner)?).await?,
            Self::Approve(One { partner, home }) => home.open(setting)?.approve(&name(&partner)?).await?,
            Self::Endpoint { partner, endpoint, home } => {
                home.open(setting)?.set_endpoint(&name(&partner)?, &endpoint).await?
            }
            Self::Suspend { partner, reason, home } => {
                home.open(setting)?.suspend(&name(&partner)?, &reason).await?
            }
            Self::Resume(One { partner, home }) => home.open(setting)?.resume(&name(&partner)?).await?,
            Self::List { home } => {
                let partners = home.open(setting)?.partners().await?;
                let json = partners.iter().map(partner_json).collect();
                setting.output().show(&Value::Array(json), |output| table(output, &partners));
                return Ok(());
            }
        };
        setting
            .output()
            .show(&partner_json(&partner), |output| table(output, std::slice::from_ref(&partner)));
        Ok(())
    }
}

fn partner_json(partner: &Partner) -> Value {
    let created = partner.create_time.as_ref().map(|time| {
        words::rfc3339(Timestamp::from_millis(u64::try_from(time.seconds).unwrap_or_default() * 1000))
    });
    json!({
        "name": partner.name,
        "display_name": partner.display_name,
        "identity_key": BASE64URL_NOPAD.encode(&partner.identity_key),
        "source_endpoint": if partner.source_endpoint.is_empty() { Value::Null } else { json!(partner.source_endpoint) },
        "contact_phone": if partner.contact_phone.is_empty() { Value::Null } else { json!(partner.contact_phone) },
        "state": state(partner),
        "create_time": created,
    })
}

fn table(output: Output, partners: &[Partner]) -> String {
    let row = |partner: &Partner| {
        let state = state(partner).to_owned();
        [partner.name.clone(), partner.display_name.clone(), state, partner.source_endpoint.clone()]
    };
    output.table(["partner", "name", "state", "endpoint"], partners.iter().map(row).collect())
}

fn state(partner: &Partner) -> &'static str {
    partner.state().as_str_name().trim_start_matches("STATE_")
}
