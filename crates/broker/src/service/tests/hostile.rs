//! What a hostile or unlucky reader would try: long lists, borrowed statements, late claims, rows that don't read.

use bytes::Bytes;
use countersign_grants::{
    digest::Digest,
    envelope,
    id::{GrantName, Principal},
    key::SigningKey,
    statement as says,
};
use countersign_proto::{
    log::v1::{Kind, Record},
    statement::v1::{self as wire, Envelope},
    v1::{
        self, audit_service_server::AuditService as _, event_service_server::EventService as _,
        grant_service_server::GrantService as _, link_service_server::LinkService as _,
        offer_service_server::OfferService as _, partner_service_server::PartnerService as _,
        transfer_service_server::TransferService as _,
    },
};
use prost::Message as _;

use super::{
    Setting,
    world::{Brand, ORIGIN, as_brand, called_by, refused, row},
};
use crate::{
    record::Happening, rows, service::transfer::TransferService, stored::StoredGrant, sweeper, work::Work,
};

impl Setting {
    /// Enters records of this kind, side by side, in Hopp's stream.
    async fn note(&self, kind: Kind, times: usize) {
        let mut work = Work::default();
        for _ in 0..times {
            let happening = Happening { kind, recipient: Some(&self.hopp.name), ..Happening::default() };
            work.record(self.world.broker.draft(happening));
        }
        self.world.broker.enter(work).await.expect("the log takes it").expect("no conflict");
    }

    /// One more grant, whose record carries this tag.
    pub(super) async fn approve_with_tag(&self, tag: u8) -> GrantName {
        self.world.pass(1);
        let request = self.request().await;
        let (from, to) = ((&self.skylark, &self.from), (&self.hopp, &self.to));
        let terms = self.world.terms((&request, &self.offer), from, to, tag);
        let rows = vec![row(&terms, &self.from, &self.to)];
        let approved = self.world.approve(&self.mei, &request, rows).await.expect("an approval");
        GrantName::parse(&approved.grants[0].name).expect("a name")
    }

    pub(super) async fn records(&self) -> Vec<Record> {
        let leaves = self.world.broker.ledger().leaves(0..u64::MAX).await.expect("reads");
        leaves.into_iter().map(|leaf| Record::decode(leaf).expect("a record")).collect()
    }

    pub(super) async fn count(&self, kind: Kind) -> usize {
        self.records().await.iter().filter(|record| record.kind() == kind).count()
    }
}

#[tokio::test]
async fn a_list_ends_where_the_records_end() {
    let s = Setting::new().await;
    // More than the ledger gives at a time, none of them wanted, and then one that is.
    for _ in 0..11 {
        s.note(Kind::ChangeNotice, 100).await;
    }
    s.note(Kind::PartnerResumed, 1).await;
    let last = s.records().await.len() as u64 - 1;

    let mut request = v1::ListEventsRequest {
        parent: s.hopp.name.to_string(),
        kinds: vec![Kind::PartnerResumed.into()],
        ..v1::ListEventsRequest::default()
    };
    let mut found = Vec::new();
    loop {
        let page = s.world.events().list_events(as_brand(&s.hopp, request.clone())).await;
        let page = page.expect("a page").into_inner();
        found.extend(page.events.iter().map(v1::Event::kind));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(found, [Kind::PartnerResumed]);

    let ministry = || Principal::parse("auditors/ministry").expect("a name");
    let mut request = v1::ListLogEntriesRequest {
        parent: "logs/-".to_owned(),
        filter: r#"partner = "partners/hopp" AND kind = PARTNER_RESUMED"#.to_owned(),
        ..v1::ListLogEntriesRequest::default()
    };
    let mut found = Vec::new();
    loop {
        let page = s.world.audits().list_log_entries(called_by(ministry(), request.clone())).await;
        let page = page.expect("a page").into_inner();
        found.extend(page.log_entries.into_iter().map(|entry| entry.receipt.expect("a receipt").index));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(found, [last]);
}

/// The same message under another partner's signature.
fn borrowed<S: says::Statement>(envelope: Option<&Envelope>, thief: &Brand) -> Envelope {
    let message = S::Message::decode(envelope.expect("signed").payload.clone()).expect("parses");
    envelope::sign::<S>(&message, &[&thief.key])
}

#[tokio::test]
async fn a_borrowed_statement_shows_nothing_of_its_owner() {
    let s = Setting::new().await;
    let chirp = s.world.brand("chirp", 70).await;
    let before = s.records().await.len();

    let get = v1::GetLinkRequest { name: s.to.name.to_string() };
    let link = s.world.links().get_link(as_brand(&s.hopp, get)).await.expect("a link").into_inner();
    let statement = Some(borrowed::<says::LinkInvitation>(link.invitation.as_ref(), &chirp));
    let invite = v1::CreateLinkInvitationRequest { statement };
    let answer = s.world.links().create_link_invitation(as_brand(&chirp, invite)).await;
    assert_eq!(refused(answer), "STATEMENT_INVALID partner");

    let request = s.request().await;
    let statement = Some(borrowed::<says::GrantRequest>(request.statement.as_ref(), &chirp));
    let create = v1::CreateGrantRequestRequest { statement };
    let answer = s.world.grants().create_grant_request(as_brand(&chirp, create)).await;
    assert_eq!(refused(answer), "STATEMENT_INVALID requester");

    let signed = envelope::sign::<says::Offer>(&s.offer, &[&s.hopp.key]);
    let statement = Some(borrowed::<says::Offer>(Some(&signed), &chirp));
    let offers = crate::service::offer::Offers(s.world.broker.clone());
    let answer = offers.publish_offer(as_brand(&chirp, v1::PublishOfferRequest { statement })).await;
    assert_eq!(refused(answer), "STATEMENT_INVALID recipient");
    assert_eq!(s.records().await.len(), before + 1, "Skylark's own request, and nothing else");
}

#[tokio::test]
async fn a_row_that_does_not_read_keeps_no_other_waiting() {
    let s = Setting::new().await;
    s.request().await;
    let mut work = Work::default();
    let missing = format!("grantRequests/{}", Digest::of(b"none"));
    for (at, name) in [(1, "nonsense"), (2, missing.as_str())] {
        work.index(&rows::due().entry(at, Digest::of(name.as_bytes())), name).expect("a row");
    }
    work.record(s.world.broker.draft(Happening { kind: Kind::CataloguePublished, ..Happening::default() }));
    s.world.broker.enter(work).await.expect("the log takes it").expect("no conflict");
    s.world.pass(3_600_000);
    assert_eq!(sweeper::sweep(&s.world.broker).await.expect("a sweep"), 1);
}

#[tokio::test]
async fn grants_that_ended_silence_no_other() {
    let s = Setting::new().await;
    let transfers = TransferService::new(s.world.broker.clone());
    let notify = async || {
        let request = v1::NotifyChangeRequest {
            subject: s.from.subject.to_string(),
            resource: "trip".to_owned(),
            page_token: String::new(),
        };
        transfers.notify_change(as_brand(&s.skylark, request)).await.expect("taken");
    };
    let indexed = async || {
        let rows = rows::grants_from(&s.from.subject).load(s.world.broker.store(), None, 1_000).await;
        rows.expect("reads").len()
    };
    for tag in 0..99 {
        s.approve_with_tag(tag).await;
    }
    s.world.pass(7_200_001);
    notify().await;
    assert_eq!((s.count(Kind::ChangeNotice).await, indexed().await), (0, 99));
    s.approve_with_tag(200).await;
    notify().await;
    assert_eq!(
        (s.count(Kind::ChangeNotice).await, indexed().await),
        (1, 1),
        "what ended is out of the index"
    );
    notify().await;
    assert_eq!(s.count(Kind::ChangeNotice).await, 2);
}

/// A fetch of Hopp, and what Skylark provided for it.
struct Provided {
    fetch: Envelope,
    provision: Envelope,
    evidence: [Digest; 3],
}

impl Setting {
    fn provided(&self, grant: &GrantName, request_id: &str, sealed: &[u8]) -> Provided {
        let checkpoint = self.world.broker.ledger().published().as_bytes().clone();
        let fetch = wire::Fetch {
            broker: ORIGIN.to_owned(),
            recipient: self.hopp.name.to_string(),
            terms: Bytes::from(grant.digest()),
            purpose: self.offer.purpose.clone(),
            fields: self.offer.required_fields.clone(),
            request_id: request_id.to_owned(),
            time_ms: self.world.now(),
            sealing_key: Bytes::from_static(&[9; 32]),
            checkpoint: checkpoint.clone(),
            ..wire::Fetch::default()
        };
        let fetch = envelope::sign::<says::Fetch>(&fetch, &[&self.hopp.key]);
        let provision = wire::Provision {
            broker: ORIGIN.to_owned(),
            source: self.skylark.name.to_string(),
            fetch: Bytes::from(envelope::digest(&fetch)),
            sealed: Bytes::from(Digest::of(sealed)),
            time_ms: self.world.now(),
            checkpoint,
            ..wire::Provision::default()
        };
        let provision = envelope::sign::<says::Provision>(&provision, &[&self.skylark.key]);
        let evidence = [grant.digest(), envelope::digest(&fetch), envelope::digest(&provision)];
        Provided { fetch, provision, evidence }
    }

    /// Enters a record of this kind as if this had been provided.
    async fn enter(&self, grant: &StoredGrant, kind: Kind, provided: &Provided) -> u64 {
        let customer = self.world.broker.customer_key(&self.mei.name).await.expect("a customer");
        let mut work = Work::default();
        work.record(self.world.broker.draft(Happening {
            kind,
            source: Some(&self.skylark.name),
            recipient: Some(&self.hopp.name),
            customer: Some(&customer),
            grant: Some((&grant.name, grant.terms.log_tag)),
            evidence: &provided.evidence,
            ..Happening::default()
        }));
        let entered = self.world.broker.enter(work).await.expect("the log takes it").expect("no conflict");
        entered[0].receipt.index
    }

    async fn claim(&self, transfers: &TransferService, provided: &Provided) -> (u64, Kind) {
        let request = v1::ClaimReceiptRequest {
            fetch: Some(provided.fetch.clone()),
            provision: Some(provided.provision.clone()),
        };
        let answer = transfers.claim_receipt(as_brand(&self.skylark, request)).await.expect("a receipt");
        let receipt = answer.into_inner().receipt.expect("set");
        (receipt.index, Record::decode(receipt.record).expect("a record").kind())
    }
}

const FIRST: &str = "9f8c2a4e-0b1d-4c3e-8f7a-6b5c4d3e2f10";
const SECOND: &str = "9f8c2a4e-0b1d-4c3e-8f7a-6b5c4d3e2f11";

#[tokio::test]
async fn a_claim_is_answered_by_what_became_of_that_very_provision() {
    let s = Setting::new().await;
    let transfers = TransferService::new(s.world.broker.clone());
    let name = s.approve_with_tag(50).await;
    let grant = s.world.broker.grant(&name).await.expect("reads").expect("stands");
    let (first, other) = (s.provided(&name, FIRST, b"one"), s.provided(&name, FIRST, b"two"));
    let second = s.provided(&name, SECOND, b"one");

    // Dropped, released with the next try, and dropped again when it was repeated after a stop.
    s.enter(&grant, Kind::ProvidedNotReleased, &first).await;
    s.enter(&grant, Kind::Transfer, &second).await;
    let released = s.enter(&grant, Kind::Transfer, &first).await;
    s.enter(&grant, Kind::ProvidedNotReleased, &first).await;
    assert_eq!(s.claim(&transfers, &first).await, (released, Kind::Transfer));

    // Another provision for the same fetch was never released, whatever became of the first.
    let (index, kind) = s.claim(&transfers, &other).await;
    assert_eq!(kind, Kind::ProvidedNotReleased);
    assert!(index > released + 1);
    let size = s.records().await.len();
    assert_eq!(s.claim(&transfers, &other).await, (index, kind), "once");
    assert_eq!(s.claim(&transfers, &first).await, (released, Kind::Transfer));
    assert_eq!(s.records().await.len(), size, "asking again enters nothing");
}

#[tokio::test]
async fn a_claim_outlives_the_keys_that_signed() {
    let s = Setting::new().await;
    let transfers = TransferService::new(s.world.broker.clone());
    let name = s.approve_with_tag(50).await;
    let provided = s.provided(&name, FIRST, b"one");
    // A working key is good for a year here.
    s.world.pass(366 * 24 * 3_600_000);
    let fetch = v1::FetchDataRequest { statement: Some(provided.fetch.clone()) };
    let answer = transfers.fetch_data(as_brand(&s.hopp, fetch)).await;
    assert_eq!(refused(answer), "STATEMENT_INVALID partner_key_time");
    let (index, kind) = s.claim(&transfers, &provided).await;
    assert_eq!(kind, Kind::ProvidedNotReleased);
    assert_eq!(s.claim(&transfers, &provided).await, (index, kind), "once");

    // Signed outside the key's time, a claim is refused as ever.
    let late = s.provided(&name, SECOND, b"one");
    let request = v1::ClaimReceiptRequest { fetch: Some(late.fetch), provision: Some(late.provision) };
    let answer = transfers.claim_receipt(as_brand(&s.skylark, request)).await;
    assert_eq!(refused(answer), "STATEMENT_INVALID partner_key_time");
}

/// A partner signs, and puts a signature before it that a key of its own has not made which it publishes afterwards.
#[tokio::test]
async fn the_key_that_signed_is_found_behind_one_that_is_only_said_to_have() {
    let s = Setting::new().await;
    let name = s.approve_with_tag(50).await;
    let mut fetch = s.provided(&name, FIRST, b"one").fetch;
    let later = SigningKey::from_secret(&[90; 32]);
    let made_up =
        wire::Signature { key_id: later.public().id().to_string(), signature: Bytes::from_static(&[7; 64]) };
    fetch.signatures.insert(0, made_up);
    let first = s.hopp.certificate(&s.hopp.key, 1, Bytes::new());
    let certificate = s.hopp.certificate(&later, 2, Bytes::from(envelope::digest(&first)));
    let request =
        v1::PublishPartnerKeyRequest { parent: s.hopp.name.to_string(), statement: Some(certificate) };
    let partners = super::super::partner::Partners(s.world.broker.clone());
    partners.publish_partner_key(as_brand(&s.hopp, request)).await.expect("is published");

    let broker = &s.world.broker;
    let found = broker.key_that_signed::<says::Fetch>(&s.hopp.name, &fetch, |said| said.time).await;
    assert_eq!(found.expect("is found").certificate().envelope().payload, first.payload);
    fetch.signatures.truncate(1);
    let none = broker.key_that_signed::<says::Fetch>(&s.hopp.name, &fetch, |said| said.time).await;
    assert!(none.is_err(), "nobody made that one");
}
