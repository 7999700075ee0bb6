//! The statements that stand beside records alone: in the folder, and under the keys of whom they are by.

use std::{collections::BTreeMap, path::Path};

use countersign_client::customer::{Customer, CustomerBook, Wallet};
use countersign_grants::{
    digest::Digest,
    envelope,
    id::{GrantName, LinkName, PartnerName},
    key::{PublicKey, SigningKey},
    statement::{
        Fetch, GrantTerms, LinkInvitation, LocationTap, Preview, PreviewProvision, Provision, Statement,
        WorkingKey,
    },
};
use countersign_proto::{statement::v1::Envelope, v1::ListProvenEventsRequest};
use data_encoding::HEXLOWER;
use serde_json::Value;

use super::{dsse, of, read};
use crate::{
    previews::paths,
    taps::Tapping,
    world::{Granted, MEI, PICKUP, TRIP, bare_fetch, connection_of, own_connection, reason_of},
};

/// Each kind of record beside which something stands: what was previewed and then left, what was refused for want of a tap
/// and left by one, and what a source gave and a broker never entered.
async fn lived() -> Granted {
    let tapping = Box::pin(Tapping::start()).await;
    tapping.refused(None).await;
    let tap = tapping.tap().await;
    tapping.fetch(Some(tap)).await.expect("flows");
    let granted = tapping.granted;
    let request = granted.put().await;
    granted.mei.preview(&request, 1, &paths(&TRIP)).await.expect("shows");
    let grant = granted.approve(&request).await;
    granted.hopp.partner.fetch(&grant, PICKUP, &TRIP).await.expect("flows");
    let signed = granted.signed(&bare_fetch(&granted).await);
    let provided = granted.draw(&signed).await;
    granted.claim(&signed, provided.provision).await.expect("a receipt");
    granted
}

/// A reader of a folder, who has nothing but it, the wallet, and trust in the broker's origin.
struct Reader<'a> {
    folder: &'a Path,
    granted: &'a Granted,
}

impl Reader<'_> {
    fn terms(&self, hash: Digest) -> (GrantTerms, Value) {
        let grants = read(self.folder, "grants.json");
        let grant = of(&grants, &GrantName::of(hash)).clone();
        (envelope::peek(Some(&dsse(&grant["grant"]["terms"]))).expect("terms"), grant)
    }

    /// The key of the link of this name, or with this acceptance; and what its invitation pins.
    fn link(&self, found: impl Fn(&Value) -> bool) -> (SigningKey, LinkInvitation) {
        let links = read(self.folder, "links.json");
        let link = links.as_array().expect("a list").iter().find(|link| found(&link["link"])).expect("there");
        let name = LinkName::parse(link["link"]["name"].as_str().expect("a name")).expect("a link");
        let invitation = envelope::peek(Some(&dsse(&link["link"]["invitation"]))).expect("an invitation");
        (Wallet::from_secret(&MEI).link_key(name.digest()), invitation)
    }

    fn by_partner<S: Statement + Clone>(
        &self,
        one: &Value,
        (partner, identity): (&PartnerName, &PublicKey),
        at: impl Fn(&S) -> countersign_grants::time::Timestamp,
    ) -> S {
        let origin = &self.granted.world.trust.origin;
        let key = WorkingKey::certified(Some(&dsse(&one["partner_key"])), identity, partner, origin);
        let signed = key.and_then(|key| key.verify::<S>(Some(&dsse(&one["statement"])), at));
        signed.expect("verifies").statement().clone()
    }

    fn by_her<S: Statement + Clone>(&self, one: &Value, key: &SigningKey) -> S {
        assert!(one.get("partner_key").is_none(), "her own");
        let statement: Envelope = dsse(&one["statement"]);
        let origin = &self.granted.world.trust.origin;
        envelope::verify::<S>(Some(&statement), &[key.public()], origin)
            .expect("verifies")
            .statement()
            .clone()
    }

    /// Verifies what stands beside a record: how many statements.
    fn verify(&self, event: &Value) -> usize {
        let statements = event["statements"].as_array().expect("a list");
        let evidence: Vec<Digest> = event["evidence"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|hash| HEXLOWER.decode(hash.as_str().expect("hex").as_bytes()).expect("hex"))
            .map(|bytes| Digest::from_slice(&bytes).expect("32 bytes"))
            .collect();
        let digests: Vec<Digest> =
            statements.iter().map(|one| envelope::digest(&dsse(&one["statement"]))).collect();
        assert!(evidence.ends_with(&digests), "{event}");
        match event["event"]["kind"].as_str().expect("a kind") {
            "KIND_TRANSFER" | "KIND_PROVIDED_NOT_RELEASED" | "KIND_TRANSFER_REFUSED" => {
                let (terms, _) = self.terms(evidence[0]);
                let by = (&terms.recipient, &terms.recipient_identity);
                let fetch = self.by_partner::<Fetch>(&statements[0], by, |said| said.time);
                assert_eq!(fetch.terms, evidence[0]);
                assert_eq!(statements[0]["statement"]["said"]["fields"], event["event"]["fields"]);
                if let Some(gave) = statements.get(1) {
                    let by = (&terms.source, &terms.source_identity);
                    let provision = self.by_partner::<Provision>(gave, by, |said| said.time);
                    assert_eq!(provision.fetch, digests[0]);
                }
            }
            "KIND_PREVIEWED" => {
                let said = &statements[0]["statement"]["said"];
                let accepted = |link: &Value| {
                    let acceptance = envelope::digest(&dsse(&link["acceptance"]));
                    said["acceptance"] == data_encoding::BASE64.encode(acceptance.as_bytes())
                };
                let (key, invitation) = self.link(accepted);
                let preview = self.by_her::<Preview>(&statements[0], &key);
                assert_eq!((preview.request, preview.offer), (evidence[0], evidence[1]));
                let by = (&invitation.partner, &invitation.identity);
                let shown = self.by_partner::<PreviewProvision>(&statements[1], by, |said| said.time);
                assert_eq!(shown.preview, digests[0]);
            }
            "KIND_LOCATION_TAPPED" => {
                let terms: LocationTap =
                    envelope::peek(Some(&dsse(&statements[0]["statement"]))).expect("a tap");
                let (_, grant) = self.terms(terms.terms);
                let (key, _) = self.link(|link| link["name"] == grant["recipient_link"]);
                self.by_her::<LocationTap>(&statements[0], &key);
            }
            _ => assert_eq!(statements.len(), 0, "{event}"),
        }
        statements.len()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_record_rests_on_is_in_the_folder_and_verifies_by_itself() {
    let granted = Box::pin(lived()).await;
    let folder = tempfile::tempdir().expect("a folder");
    granted.mei.export(folder.path()).await.expect("exports");
    // And from a device that has seen nothing of it.
    let (trust, system) = (granted.world.trust.clone(), granted.world.system());
    let second = Customer::open(trust, Wallet::from_secret(&MEI), CustomerBook::in_memory(), system);
    let elsewhere = tempfile::tempdir().expect("a folder");
    second.expect("opens").export(elsewhere.path()).await.expect("exports");

    for folder in [folder.path(), elsewhere.path()] {
        let reader = Reader { folder, granted: &granted };
        let events = read(folder, "events.json");
        let mut found = BTreeMap::<String, usize>::new();
        for event in events.as_array().expect("a list") {
            let kept = reader.verify(event);
            if kept > 0 {
                *found.entry(event["event"]["kind"].as_str().expect("a kind").to_owned()).or_default() +=
                    kept;
            }
            // Each once.
            for member in ["record", "statement", "statement_key", "evidence_salt"] {
                assert!(event["event"].get(member).is_none(), "{event}");
            }
        }
        let found: Vec<(&str, usize)> = found.iter().map(|(kind, kept)| (kind.as_str(), *kept)).collect();
        let expected = [
            ("KIND_LOCATION_TAPPED", 1),
            ("KIND_PREVIEWED", 2),
            ("KIND_PROVIDED_NOT_RELEASED", 2),
            ("KIND_TRANSFER", 4),
            ("KIND_TRANSFER_REFUSED", 1),
        ];
        assert_eq!(found, expected);
        // All else that a record rests on is in another file.
        assert_eq!(read(folder, "absent.json"), serde_json::json!([]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_come_to_the_customer_alone_and_only_when_asked_for() {
    let granted = Granted::start().await;
    granted.fetch().await.expect("flows");
    let asked = |with_statements| ListProvenEventsRequest {
        parent: granted.mei.name().to_string(),
        with_statements,
        ..Default::default()
    };
    let mei = own_connection(&granted);
    let count = async |with_statements| -> usize {
        let page = mei.events().list_proven_events(asked(with_statements)).await.expect("lists").into_inner();
        page.events.iter().map(|event| event.statements.len()).sum()
    };
    assert_eq!((count(false).await, count(true).await), (0, 2));
    for brand in [&granted.hopp, &granted.skylark] {
        for parent in [brand.name().to_string(), granted.mei.name().to_string()] {
            let asked = ListProvenEventsRequest { parent, with_statements: true, ..Default::default() };
            let said = brand.partner.connection().events().list_proven_events(asked).await;
            assert_eq!(reason_of(said).reason, "CALLER_NOT_ALLOWED");
        }
    }
    let kai = || Wallet::from_secret(&[7; 32]);
    granted.world.customer_with(kai()).await;
    let kai = connection_of(&granted, &kai()).events().list_proven_events(asked(true)).await;
    assert_eq!(reason_of(kai).reason, "CALLER_NOT_ALLOWED");
}
