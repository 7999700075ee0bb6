//! Taking everything along: what is in the folder, that others can read it, and that it proves itself offline.

mod kept;
mod unasked;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use countersign_client::{
    customer::{Choice, Customer, CustomerBook, ExportError, Narrowing, Wallet},
    partner::AskedRow,
};
use countersign_grants::{
    commitment,
    digest::Digest,
    envelope,
    id::{GrantName, LinkName},
    statement::{ChangeReason, GrantChange, GrantTerms},
};
use countersign_proto::{
    log::v1::{Kind, Record},
    statement::v1::{Envelope, Signature},
};
use countersign_tlog::ProofFile;
use data_encoding::{BASE64, HEXLOWER};
use oxjsonld::JsonLdParser;
use prost::Message as _;
use serde_json::Value;

use crate::world::{Granted, MEI, PICKUP, TRIP};

fn read(folder: &Path, name: &str) -> Value {
    let text = fs::read_to_string(folder.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn all_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("reads").map(|entry| entry.expect("reads").path());
    entries.flat_map(|path| if path.is_dir() { all_files(&path) } else { vec![path] }).collect()
}

fn dsse(json: &Value) -> Envelope {
    let text = |json: &Value| json.as_str().expect("text").to_owned();
    let bytes = |json: &Value| BASE64.decode(text(json).as_bytes()).expect("base64").into();
    let signatures = json["signatures"].as_array().expect("signatures").iter();
    Envelope {
        payload_type: text(&json["payloadType"]),
        payload: bytes(&json["payload"]),
        signatures: signatures
            .map(|one| Signature { key_id: text(&one["keyid"]), signature: bytes(&one["sig"]) })
            .collect(),
    }
}

/// A grant of an export.
fn of<'a>(grants: &'a Value, name: &GrantName) -> &'a Value {
    let mut grants = grants.as_array().expect("a list").iter();
    grants.find(|grant| grant["grant"]["name"] == name.as_str()).unwrap_or_else(|| panic!("no {name}"))
}

/// A life that was lived, and who else was there.
struct Lived {
    granted: Granted,
    /// A grant that was narrowed, and what stands in its place, of which all uses are spent.
    narrowed: [GrantName; 2],
    /// A grant that was renewed, and what stands in its place.
    renewed: [GrantName; 2],
    /// What must not be in anything of Mei's.
    of_kai: Vec<String>,
}

impl Granted {
    /// Another moment: lists are in the order of time.
    fn later(&self) {
        self.world.clock.advance(Duration::from_secs(1));
    }

    /// Puts another grant in the place of this one, by a new approval.
    async fn renewed(&self, renews: &GrantName) -> GrantName {
        let offer = self.hopp.offer_trip(&self.skylark, 12).await;
        let rows = [AskedRow { offer, optional: false, renews: Some(renews.clone()) }];
        let life = Duration::from_secs(3600);
        let asked = self.skylark.partner.request_rows(&self.at_skylark, &rows, life).await.expect("asks");
        let read = self.mei.read_request(&asked).await.expect("verifies");
        self.mei.approve(&read, &Choice::required("en")).await.expect("approves")[0].grant.clone()
    }
}

/// A world with a life in it: transfers, a pause, a stop, a revocation, a narrowing, uses that are spent, a renewal, and
/// another customer of the same brands.
async fn lived() -> Lived {
    let granted = Granted::start().await;
    granted.skylark.shelf.put("trip.airport", "FLL");
    granted.fetch().await.expect("flows");
    granted.mei.pause(&granted.grant).await.expect("pauses");
    granted.mei.resume(&granted.grant).await.expect("resumes");
    granted.mei.stop(&granted.grant, true).await.expect("stops");
    granted.later();
    let revoked = granted.approve_one().await;
    granted.skylark.partner.revoke_grant(&revoked, ChangeReason::Closed).await.expect("revokes");

    granted.later();
    let wide = granted.approve_one().await;
    granted.later();
    let narrow = granted.mei.narrow(&wide, &Narrowing::default().uses(2)).await.expect("narrows").grant;
    granted.hopp.until_in_book(&narrow).await;
    for _ in 0..2 {
        granted.hopp.partner.fetch(&narrow, PICKUP, &TRIP).await.expect("flows");
    }
    granted.later();
    let old = granted.approve_one().await;
    granted.later();
    let new = granted.renewed(&old).await;
    let (narrowed, renewed) = ([wide, narrow], [old, new]);

    let kai = granted.world.customer().await;
    let invited = granted.skylark.partner.invite("Kai, platinum card").await.expect("invites");
    let accepted = kai.accept(&invited.package).await.expect("accepts");
    granted.skylark.partner.confirm(&invited.link, &accepted.code).await.expect("confirms");
    let at_hopp = granted.world.link(&kai, &granted.hopp).await;
    let offer = granted.hopp.offer_trip(&granted.skylark, 12).await;
    let lifetime = Duration::from_secs(3600);
    let asked =
        granted.skylark.partner.request(&invited.subject, &[(offer, false)], lifetime).await.expect("asks");
    let request = kai.read_request(&asked).await.expect("verifies");
    let approved = kai.approve(&request, &Choice::required("en")).await.expect("approves");
    let of_kai = vec![
        "Kai, platinum card".to_owned(),
        kai.name().to_string(),
        invited.subject.to_string(),
        at_hopp.to_string(),
        asked.to_string(),
        approved[0].grant.to_string(),
        HEXLOWER.encode(approved[0].grant.digest().as_bytes()),
        BASE64.encode(&approved[0].terms.log_tag),
    ];
    Lived { granted, narrowed, renewed, of_kai }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_about_the_customer_is_there_and_nothing_of_anybody_else() {
    let Lived { granted, narrowed, renewed, of_kai } = Box::pin(lived()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().join("mine");
    let exported = granted.mei.export(&folder).await.expect("exports");
    let activity = granted.mei.activity(0, &[]).await.expect("lists");
    assert_eq!((exported.links, exported.requests, exported.grants), (2, 5, 6));
    assert_eq!(exported.records, activity.len());

    let manifest = read(&folder, "manifest.json");
    assert_eq!(manifest["customer"], granted.mei.name().as_str());
    assert_eq!(read(&folder, "customer.json")["name"], granted.mei.name().as_str());
    let links = read(&folder, "links.json");
    let subject = |link: &Value| link["link"]["invitation"]["said"]["subject"].clone();
    let links = links.as_array().expect("a list");
    let at_skylark = links.iter().find(|link| subject(link) == granted.at_skylark.as_str()).expect("listed");
    assert_eq!(at_skylark["label"], "Mei, gold card");
    let requests = read(&folder, "requests.json");
    let offer = &requests[0]["request"]["offers"][0]["statement"]["said"];
    assert_eq!(offer["texts"][0]["reason"], "To have a car there when you land.");

    // Both signed envelopes of terms and changes, under the keys of the two links.
    let grants = read(&folder, "grants.json");
    let grant = &grants[0];
    assert_eq!(grant["grant"]["name"], granted.grant.as_str());
    assert_eq!(grant["grant"]["erasure_state"], "ERASURE_STATE_DUE");
    assert_eq!(grant["grant"]["changes"].as_array().map(Vec::len), Some(3));
    assert_eq!(grant["grant"]["changes"][2]["said"]["verb"], "VERB_STOP");
    assert_eq!(grants[1]["grant"]["partner_changes"][0]["statement"]["said"]["verb"], "VERB_REVOKE");
    assert!(grant["grant"]["acknowledgements"].as_array().is_some_and(|words| !words.is_empty()));
    let (wallet, origin) = (Wallet::from_secret(&MEI), &granted.world.trust.origin);
    for grant in grants.as_array().expect("a list") {
        for (terms, link) in [
            (&grant["grant"]["terms"], &grant["source_link"]),
            (&grant["recipient_terms"], &grant["recipient_link"]),
        ] {
            let link = LinkName::parse(link.as_str().expect("a name")).expect("a link");
            let key = wallet.link_key(link.digest());
            let signed = envelope::verify::<GrantTerms>(Some(&dsse(terms)), &[key.public()], origin)
                .expect("verifies");
            assert_eq!(GrantName::of(signed.digest()).as_str(), grant["grant"]["name"]);
        }
    }
    for (one, all) in [(&granted.grant, 3), (&narrowed[0], 1), (&renewed[0], 0)] {
        let grant = of(&grants, one);
        let key = LinkName::parse(grant["recipient_link"].as_str().expect("a name")).expect("a link");
        let key = wallet.link_key(key.digest());
        let changes = grant["recipient_changes"].as_array().expect("a list");
        assert_eq!(changes.len(), all, "{one}");
        for change in changes {
            envelope::verify::<GrantChange>(Some(&dsse(change)), &[key.public()], origin).expect("verifies");
        }
    }
    // What nobody but the broker vouches for is said to be so.
    let word = manifest["brokers_word"]["grants.json"].as_array().expect("a list");
    assert!(word.contains(&Value::from("grant.state")) && !word.contains(&Value::from("grant.terms")));

    let files = all_files(&folder);
    for path in &files {
        let bytes = fs::read(path).expect("reads");
        let text = String::from_utf8(bytes).expect("all of it is text");
        for secret in &of_kai {
            assert!(!text.contains(secret.as_str()), "{} holds `{secret}`", path.display());
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(path).expect("stands").permissions().mode();
            assert_eq!(mode & 0o077, 0, "{} is for its owner alone", path.display());
        }
    }
    let again = granted.mei.export(&folder).await;
    assert!(matches!(again, Err(ExportError::NotEmpty { .. })), "{again:?}");

    // Another device has not what was signed for the recipient, and nothing is signed anew.
    let (trust, system) = (granted.world.trust.clone(), granted.world.system());
    let second = Customer::open(trust, wallet, CustomerBook::in_memory(), system).expect("opens");
    let elsewhere = tempfile::tempdir().expect("a folder");
    let again = second.export(elsewhere.path()).await.expect("exports");
    assert_eq!((again.grants, again.records), (exported.grants, exported.records));
    let grants = read(elsewhere.path(), "grants.json");
    let grant = of(&grants, &granted.grant);
    assert_eq!((&grant["recipient_terms"], &grant["recipient_changes"][2]), (&Value::Null, &Value::Null));
    assert_eq!(grant["grant"]["changes"][2]["said"]["verb"], "VERB_STOP");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_record_of_an_export_proves_itself_and_opens() {
    let Lived { granted, .. } = Box::pin(lived()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().join("mine");
    granted.mei.export(&folder).await.expect("exports");

    let events = read(&folder, "events.json");
    let events = events.as_array().expect("a list");
    let mut kinds = BTreeSet::new();
    for event in events {
        let file = fs::read(folder.join(event["proof"].as_str().expect("a file"))).expect("reads");
        let proof = ProofFile::parse(&file).expect("a proof file");
        let leaf = proof.extra().expect("carries its record").clone();
        let proven = proof.verify(&leaf, &granted.world.trust.log_key).expect("verifies offline");
        assert_eq!(proven.index(), event["index"].as_u64().expect("a number"));
        let mut bent = leaf.to_vec();
        bent[0] ^= 1;
        proof.verify(&bent, &granted.world.trust.log_key).expect_err("another record");

        let record = Record::decode(leaf).expect("a record");
        kinds.insert(record.kind().as_str_name());
        let salt = |name: &str| -> [u8; 32] {
            let text = event["receipt"][name].as_str().expect("a salt");
            BASE64.decode(text.as_bytes()).expect("base64").try_into().expect("32 bytes")
        };
        let subject = commitment::subject(&salt("subject_salt"), granted.mei.name());
        assert_eq!(subject.as_bytes().as_slice(), record.subject_commitment.as_ref());
        if record.kind() == Kind::Transfer {
            let evidence = event["evidence"].as_array().expect("hashes").iter().map(|hash| {
                let bytes = HEXLOWER.decode(hash.as_str().expect("hex").as_bytes()).expect("hex");
                Digest::from(<[u8; 32]>::try_from(bytes).expect("32 bytes"))
            });
            let evidence: Vec<_> = evidence.collect();
            assert_eq!(evidence.len(), 3);
            assert_eq!(event["event"]["grant"], GrantName::of(evidence[0]).as_str());
            let opened = commitment::evidence(&salt("evidence_salt"), &evidence);
            assert_eq!(opened.as_bytes().as_slice(), record.evidence_commitment.as_ref());
            assert_eq!(event["event"]["fields"][1], "trip.airport");
        }
    }
    for kind in ["KIND_CUSTOMER_CREATED", "KIND_LINK_CONFIRMED", "KIND_GRANT_APPROVED", "KIND_TRANSFER"] {
        assert!(kinds.contains(kind), "{kind} is missing: {kinds:?}");
    }
}

/// Subject, predicate and object of each triple of a consent receipt, as a JSON-LD processor reads them.
fn triples(folder: &Path, name: &str) -> BTreeSet<(String, String, String)> {
    let bytes = fs::read(folder.join(name)).expect("reads");
    let quads = JsonLdParser::new().for_slice(&bytes).map(|quad| quad.expect("valid JSON-LD"));
    quads
        .map(|quad| (quad.subject.to_string(), quad.predicate.to_string(), quad.object.to_string()))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consent_receipt_means_the_same_to_a_processor_of_json_ld() {
    let Lived { granted, narrowed, renewed, .. } = Box::pin(lived()).await;
    // A grant lasts for a day.
    granted.world.clock.advance(Duration::from_secs(25 * 3600));
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().join("mine");
    granted.mei.export(&folder).await.expect("exports");
    let grants = read(&folder, "grants.json");
    let consent = |name: &GrantName| triples(&folder, of(&grants, name)["consent"].as_str().expect("a file"));
    let triples = consent(&granted.grant);

    let own = |name: &str| format!("<https://broker.test/log/{name}>");
    let dpv = |term: &str| format!("<https://w3id.org/dpv#{term}>");
    let a = "<http://www.w3.org/1999/02/22-rdf-syntax-ns#type>".to_owned();
    let broader = "<http://www.w3.org/2004/02/skos/core#broader>".to_owned();
    let record = own(granted.grant.as_str());
    let has = |subject: &str, predicate: &str, object: &str| {
        let triple = (subject.to_owned(), predicate.to_owned(), object.to_owned());
        assert!(triples.contains(&triple), "{triple:?} is missing");
    };
    let objects = |subject: &str, predicate: &str| -> Vec<String> {
        let of = triples.iter().filter(|(s, p, _)| s == subject && p == predicate);
        of.map(|(_, _, object)| object.clone()).collect()
    };
    has(&own(&format!("{}#receipt", granted.grant)), &a, &dpv("ConsentReceipt"));
    has(&own(&format!("{}#receipt", granted.grant)), &dpv("hasRecordOfActivity"), &record);
    has(&record, &a, &dpv("ConsentRecord"));
    has(&record, "<http://purl.org/dc/terms/conformsTo>", "<https://w3id.org/dpv/schema/dpv-27560#record>");
    has(&record, &dpv("hasDataSubject"), &own(granted.mei.name().as_str()));
    has(&record, &dpv("hasDataController"), &own("partners/hopp"));
    has(&own("partners/hopp"), &dpv("hasName"), "\"Hopp Rides Inc.\"");

    let process = objects(&record, &dpv("hasProcess")).remove(0);
    has(&process, &dpv("hasRecipient"), &own("partners/hopp"));
    let purpose = objects(&process, &dpv("hasPurpose")).remove(0);
    has(&purpose, &broader, &dpv("RequestedServiceProvision"));
    let data = objects(&process, &dpv("hasPersonalData"));
    assert_eq!(data.len(), 3);
    for field in &data {
        let category = objects(field, &broader).remove(0);
        assert!(category.starts_with("<https://w3id.org/dpv"), "{category}");
        has(field, &a, &dpv("PersonalData"));
        has(field, &dpv("hasNecessity"), &dpv("Required"));
    }

    let statuses = objects(&record, &dpv("hasConsentStatus"));
    let of_type = |term: &str| {
        let of = statuses.iter().find(|status| objects(status, &a).contains(&dpv(term)));
        of.unwrap_or_else(|| panic!("no {term}")).clone()
    };
    assert_eq!(statuses.len(), 4, "given, paused, resumed, withdrawn");
    for (term, by) in
        [("ConsentGiven", granted.mei.name().as_str()), ("ConsentWithdrawn", granted.mei.name().as_str())]
    {
        has(&of_type(term), &dpv("isIndicatedBy"), &own(by));
        let time = objects(&of_type(term), &dpv("isIndicatedAtTime")).remove(0);
        assert!(time.ends_with("^^<http://www.w3.org/2001/XMLSchema#dateTime>"), "{time}");
    }
    // Somebody else's stop is another word than the customer's own.
    let statuses = |name: &GrantName| -> Vec<String> {
        let all = consent(name);
        let is = |term: &&str| all.iter().any(|(_, _, object)| *object == dpv(term));
        let terms =
            ["ConsentRevoked", "ConsentWithdrawn", "ConsentExpired", "ConsentStatusInvalidForProcessing"];
        terms.into_iter().filter(is).map(str::to_owned).collect()
    };
    let revoked = GrantName::parse(grants[1]["grant"]["name"].as_str().expect("a name")).expect("a grant");
    assert_eq!(statuses(&revoked), ["ConsentRevoked"]);
    // Each ended in its own way, and only once: for a newer revision, with the last use, or when its time was over.
    let says = |name: &GrantName, title: &str| {
        consent(name).iter().any(|(_, _, object)| *object == format!("\"{title}\""))
    };
    for old in [&narrowed[0], &renewed[0]] {
        assert_eq!(statuses(old), ["ConsentStatusInvalidForProcessing"]);
        assert!(says(old, "A newer revision stands in its place"));
    }
    assert_eq!(statuses(&narrowed[1]), ["ConsentExpired"]);
    assert!(says(&narrowed[1], "All uses are spent") && !says(&narrowed[1], "Its time is over"));
    assert_eq!(statuses(&renewed[1]), ["ConsentExpired"]);
    assert!(says(&renewed[1], "Its time is over") && !says(&renewed[1], "All uses are spent"));
    for [old, new] in [&narrowed, &renewed] {
        let replaces = "<http://purl.org/dc/terms/replaces>".to_owned();
        assert!(consent(new).contains(&(own(new.as_str()), replaces, own(old.as_str()))));
    }
}
