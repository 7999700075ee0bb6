//! Watching a partner's events.

use anyhow::Result;
use clap::Args;
use countersign_client::{PartnerEvent, grants::statement::reason_code, partner::Noted};
use serde_json::{Value, json};

use crate::{arguments::Setting, homes::PartnerHome, words};

#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// End after this many events
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    #[command(flatten)]
    home: PartnerHome,
}

impl Arguments {
    pub(crate) async fn run(self, setting: &Setting) -> Result<()> {
        let output = setting.output();
        let partner = self.home.open(setting)?;
        let mut watch = partner.watch_events();
        let mut seen = 0;
        while self.count.is_none_or(|count| seen < count) {
            let noted = tokio::select! {
                noted = watch.next() => noted?,
                _ = tokio::signal::ctrl_c() => break,
            };
            let (kind, names) = told(&noted.event);
            output.stream(&event_json(&noted, kind, &names), |output| {
                let names = names
                    .iter()
                    .map(|(name, value)| format!("{name} {value}"))
                    .collect::<Vec<_>>()
                    .join(", ");
                let time = output.dim(&words::moment(noted.time));
                format!(
                    "{time}  {}  {names}  {}",
                    output.bold(kind),
                    output.dim(&format!("[{}]", noted.index))
                )
            });
            seen += 1;
        }
        Ok(())
    }
}

fn event_json(noted: &Noted, kind: &str, names: &[(&'static str, String)]) -> Value {
    let mut json = json!({ "index": noted.index, "time": words::rfc3339(noted.time), "event": kind });
    for (name, value) in names {
        json[*name] = json!(value);
    }
    json
}

/// What an event is called, and what it names.
fn told(event: &PartnerEvent) -> (&'static str, Vec<(&'static str, String)>) {
    let of_grant = |grant: &countersign_client::book::GrantRow| {
        vec![("grant", grant.name().to_string()), ("subject", grant.subject().to_string())]
    };
    match event {
        PartnerEvent::LinkAccepted { link } => ("link_accepted", vec![("link", link.to_string())]),
        PartnerEvent::LinkStolen { link, subject } => {
            ("link_stolen", vec![("link", link.to_string()), ("subject", subject.to_string())])
        }
        PartnerEvent::Approved { grant, request } => {
            let mut names = of_grant(grant);
            names.extend(request.iter().map(|request| ("request", request.to_string())));
            ("approved", names)
        }
        PartnerEvent::Refused { request } => ("refused", vec![("request", request.to_string())]),
        PartnerEvent::Cancelled { request } => ("cancelled", vec![("request", request.to_string())]),
        PartnerEvent::Lapsed { request } => ("lapsed", vec![("request", request.to_string())]),
        PartnerEvent::Paused { grant } => ("paused", of_grant(grant)),
        PartnerEvent::Resumed { grant } => ("resumed", of_grant(grant)),
        PartnerEvent::Stopped { grant, erase } => {
            let mut names = of_grant(grant);
            names.push(("erase", erase.to_string()));
            ("stopped", names)
        }
        PartnerEvent::Superseded { grant, successor, why } => {
            let mut names = of_grant(grant);
            names.push(("successor", successor.name().to_string()));
            names.push(("reason", why.code().to_owned()));
            ("superseded", names)
        }
        PartnerEvent::GrantSuspended { grant } => ("grant_suspended", of_grant(grant)),
        PartnerEvent::GrantUnsuspended { grant } => ("grant_unsuspended", of_grant(grant)),
        PartnerEvent::GrantRevoked { grant, reason, .. } => {
            let mut names = of_grant(grant);
            names.push(("reason", reason_code(*reason).to_owned()));
            ("grant_revoked", names)
        }
        PartnerEvent::GrantSuspendedByOperator { grant, reason } => {
            ("grant_suspended_by_operator", vec![("grant", grant.to_string()), ("reason", reason.clone())])
        }
        PartnerEvent::GrantUnsuspendedByOperator { grant } => {
            ("grant_unsuspended_by_operator", vec![("grant", grant.to_string())])
        }
        PartnerEvent::GrantRevokedByOperator { grant, reason } => {
            ("grant_revoked_by_operator", vec![("grant", grant.to_string()), ("reason", reason.clone())])
        }
        PartnerEvent::Expiring { grant } => {
            let mut names = of_grant(grant);
            names.push(("expire_time", words::rfc3339(grant.terms().expire_time)));
            ("expiring", names)
        }
        PartnerEvent::EraseDue { grant, subject, due, signed } => (
            "erase_due",
            vec![
                ("grant", grant.to_string()),
                ("subject", subject.to_string()),
                ("due_time", words::rfc3339(*due)),
                ("signed", signed.to_string()),
            ],
        ),
        PartnerEvent::ErasureAttested { grant, time } => {
            ("erasure_attested", vec![("grant", grant.to_string()), ("attested_time", words::rfc3339(*time))])
        }
        PartnerEvent::ErasureOverdue { grant } => ("erasure_overdue", vec![("grant", grant.to_string())]),
        PartnerEvent::AccountClosed { grant, subject } => {
            ("account_closed", vec![("grant", grant.to_string()), ("subject", subject.to_string())])
        }
        PartnerEvent::Acknowledged { grant } => ("acknowledged", vec![("grant", grant.to_string())]),
        PartnerEvent::ChangeNotice { grant, subject, resource } => (
            "change_notice",
            vec![
                ("grant", grant.to_string()),
                ("subject", subject.to_string()),
                ("resource", resource.clone()),
            ],
        ),
        PartnerEvent::LocationTapped { grant, tap, expires, .. } => {
            let mut names = of_grant(grant);
            names.extend([("tap", tap.to_hex()), ("expire_time", words::rfc3339(*expires))]);
            ("location_tapped", names)
        }
        PartnerEvent::UnknownKeys { keys } => {
            ("unknown_keys", keys.iter().map(|key| ("key", key.to_string())).collect())
        }
        PartnerEvent::Live => ("live", Vec::new()),
        PartnerEvent::Suspended => ("suspended", Vec::new()),
        PartnerEvent::Unsuspended => ("unsuspended", Vec::new()),
        PartnerEvent::Failed { kind, grant, error } => {
            let mut names = vec![("kind", words::kind(*kind).to_owned()), ("error", error.to_string())];
            names.extend(grant.iter().map(|grant| ("grant", grant.to_string())));
            ("failed", names)
        }
        // The SDK may tell of more than this version of the command knows.
        other => ("other", vec![("what", format!("{other:?}"))]),
    }
}
