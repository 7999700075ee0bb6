//! The services over the memory engine: the main path, and what each step refuses.

mod asking;
mod closing;
mod hostile;
mod late;
mod links;
mod month;
mod notices;
mod offered;
mod paused;
mod stops;
mod vetting;
mod world;

use bytes::Bytes;
use countersign_grants::{
    digest::Digest,
    envelope,
    id::{AuditorName, Principal, SubjectHandle},
    key::SigningKey,
};
use countersign_proto::{
    log::v1::{Kind, Record},
    statement::v1::{self as wire, grant_change::Verb},
    v1::{
        self, audit_service_server::AuditService as _, customer_service_server::CustomerService as _,
        event_service_server::EventService as _, grant_service_server::GrantService as _,
        link_service_server::LinkService as _, partner_service_server::PartnerService as _,
    },
};
use prost::Message as _;
use tokio_stream::StreamExt as _;
use world::{Brand, Linked, Person, World, as_brand, as_operator, as_person, called_by, refused, row};

/// Skylark and Hopp, a customer who is linked with both, and an offer of Hopp for Skylark's data.
struct Setting {
    world: World,
    skylark: Brand,
    hopp: Brand,
    mei: Person,
    from: Linked,
    to: Linked,
    offer: wire::Offer,
}

impl Setting {
    async fn new() -> Self {
        let world = World::open().await;
        let (skylark, hopp) = (world.brand("skylark", 10).await, world.brand("hopp", 20).await);
        let mei = world.person(30).await;
        let (from, to) = (world.link(&skylark, &mei, 31).await, world.link(&hopp, &mei, 32).await);
        let offer = world.offer_statement(&skylark, &hopp);
        world.publish(&hopp, &offer).await.expect("an offer");
        Self { world, skylark, hopp, mei, from, to, offer }
    }

    fn offer_name(&self) -> countersign_grants::id::OfferName {
        countersign_grants::id::OfferName::of(Digest::of(&self.offer.encode_to_vec()))
    }

    async fn request(&self) -> v1::GrantRequest {
        let offers = [(&self.offer_name(), false)];
        self.world.request(&self.skylark, &self.from.subject, &offers).await.expect("a request")
    }

    fn terms(&self, request: &v1::GrantRequest) -> wire::GrantTerms {
        let (from, to) = ((&self.skylark, &self.from), (&self.hopp, &self.to));
        self.world.terms((request, &self.offer), from, to, 50)
    }

    async fn approved(&self) -> v1::ApproveGrantRequestResponse {
        let request = self.request().await;
        let rows = vec![row(&self.terms(&request), &self.from, &self.to)];
        self.world.approve(&self.mei, &request, rows).await.expect("an approval")
    }

    async fn kinds(&self, principal: Principal) -> Vec<Kind> {
        let request = v1::ListEventsRequest { parent: principal.to_string(), ..Default::default() };
        let events = self.world.events().list_events(called_by(principal, request)).await.expect("events");
        events.into_inner().events.iter().map(v1::Event::kind).collect()
    }
}

#[tokio::test]
async fn from_request_to_stop() {
    let s = Setting::new().await;
    let approved = s.approved().await;
    let (grant, receipt) = (&approved.grants[0], &approved.receipts[0]);
    assert_eq!(grant.state(), v1::grant::State::Active);
    let record = Record::decode(receipt.record.clone()).expect("a record");
    assert_eq!((record.kind(), record.grant_sequence), (Kind::GrantApproved, 1));
    assert!(!receipt.subject_salt.is_empty(), "the customer can open all");

    // Each side gets its own envelope, handle and salt.
    let get = || v1::GetGrantRequest { name: grant.name.clone() };
    let at_source =
        s.world.grants().get_grant(as_brand(&s.skylark, get())).await.expect("a grant").into_inner();
    let at_recipient =
        s.world.grants().get_grant(as_brand(&s.hopp, get())).await.expect("a grant").into_inner();
    assert_eq!(at_source.subject, s.from.subject.as_str());
    assert_eq!(at_recipient.subject, s.to.subject.as_str());
    assert_eq!(at_source.request, approved.grant_request.as_ref().expect("a request").name);
    assert_eq!(at_recipient.request, "", "hopp did not make the request");
    let signer = |grant: &v1::Grant| grant.terms.as_ref().expect("terms").signatures[0].key_id.clone();
    assert_eq!(signer(&at_source), s.from.key.id().as_str());
    assert_eq!(signer(&at_recipient), s.to.key.id().as_str());

    // Terms acknowledged, a pause, its end, a stop; each may be repeated.
    let terms = Digest::of(&grant.terms.as_ref().expect("terms").payload);
    s.world.acknowledge(&s.skylark, grant, terms).await.expect("an acknowledgement");
    let mut previous = terms;
    for (sequence, verb) in [(1, Verb::Pause), (2, Verb::Resume), (3, Verb::Stop)] {
        let change = change(&s, terms, previous, (sequence, verb));
        let first = s.world.change(&s.mei, &change, (&s.from, &s.to)).await.expect("a change");
        let again = s.world.change(&s.mei, &change, (&s.from, &s.to)).await.expect("the same change");
        let record =
            |answer: &v1::ChangeGrantResponse| answer.receipt.as_ref().expect("a receipt").record.clone();
        assert_eq!(record(&first), record(&again));
        previous = Digest::of(&change.encode_to_vec());
    }
    let stopped = s.world.acknowledge(&s.hopp, grant, previous).await.expect("an acknowledgement");
    assert_eq!(stopped.state(), v1::grant::State::Withdrawn);
    assert_eq!((stopped.changes.len(), stopped.acknowledgements.len()), (3, 2));
    let late = change(&s, terms, previous, (4, Verb::Resume));
    assert_eq!(refused(s.world.change(&s.mei, &late, (&s.from, &s.to)).await), "WRONG_STATE");

    let kinds = s.kinds(Principal::Partner(s.hopp.name.clone())).await;
    assert_eq!(
        kinds[kinds.len() - 6..],
        [
            Kind::GrantApproved,
            Kind::Acknowledged,
            Kind::GrantPaused,
            Kind::GrantResumed,
            Kind::GrantWithdrawn,
            Kind::Acknowledged
        ]
    );
    let kinds = s.kinds(Principal::Customer(s.mei.name.clone())).await;
    let of = |kind| kinds.iter().filter(|found| **found == kind).count();
    assert_eq!((of(Kind::RequestCreated), of(Kind::RequestShown)), (0, 1), "told when it was shown");
}

fn change(s: &Setting, terms: Digest, previous: Digest, (sequence, verb): (u64, Verb)) -> wire::GrantChange {
    wire::GrantChange {
        broker: world::ORIGIN.to_owned(),
        terms: Bytes::from(terms),
        sequence,
        verb: verb.into(),
        erase: false,
        previous: Bytes::from(previous),
        time_ms: s.world.now(),
        successor: Bytes::new(),
    }
}

#[tokio::test]
async fn an_approval_is_held_to_every_binding() {
    let s = Setting::new().await;
    let request = s.request().await;
    let other = s.world.link(&s.skylark, &s.mei, 33).await;
    let eve = s.world.person(60).await;
    let eves = s.world.link(&s.hopp, &eve, 61).await;
    let check = async |change: &dyn Fn(&mut wire::GrantTerms), from: &Linked, to: &Linked, expected: &str| {
        let mut terms = s.terms(&request);
        change(&mut terms);
        let answer = s.world.approve(&s.mei, &request, vec![row(&terms, from, to)]).await;
        assert_eq!(refused(answer), expected);
    };
    let (from, to) = (&s.from, &s.to);
    check(&|_| {}, from, &eves, "LINK_MISSING").await;
    check(&|_| {}, &other, to, "STATEMENT_INVALID source_link").await;
    check(&|_| {}, to, from, "STATEMENT_INVALID source_link").await;
    check(
        &|t| t.source_commitment = Bytes::from_static(&[1; 32]),
        from,
        to,
        "STATEMENT_INVALID source_commitment",
    )
    .await;
    check(
        &|t| t.recipient_identity = t.source_identity.clone(),
        from,
        to,
        "STATEMENT_INVALID recipient_identity",
    )
    .await;
    check(&|t| t.request = Bytes::from_static(&[1; 32]), from, to, "STATEMENT_INVALID request").await;
    check(&|t| t.time_ms -= 121_000, from, to, "STATEMENT_INVALID time").await;
    check(&|t| t.uses += 1, from, to, "STATEMENT_INVALID uses").await;
    check(&|t| t.fields.push("trip.airport".to_owned()), from, to, "STATEMENT_INVALID fields").await;
    check(&|t| t.language = "de".to_owned(), from, to, "STATEMENT_INVALID language").await;
    check(&|t| "another.example/log".clone_into(&mut t.broker), from, to, "STATEMENT_INVALID broker").await;

    // Nothing of all that changed anything: the right one is taken, once, and its repeat gets the same proof.
    let rows = || vec![row(&s.terms(&request), from, to)];
    let first = s.world.approve(&s.mei, &request, rows()).await.expect("an approval");
    let again = s.world.approve(&s.mei, &request, rows()).await.expect("the same approval");
    assert_eq!(first.receipts[0].record, again.receipts[0].record);
    let mut other = s.terms(&request);
    other.log_tag = Bytes::from_static(&[51; 32]);
    let answer = s.world.approve(&s.mei, &request, vec![row(&other, from, to)]).await;
    assert_eq!(refused(answer), "WRONG_STATE");
}

#[tokio::test]
async fn nobody_learns_what_is_not_theirs() {
    let s = Setting::new().await;
    let approved = s.approved().await;
    let chirp = s.world.brand("chirp", 70).await;
    let grant = approved.grants[0].name.clone();
    let known = v1::GetGrantRequest { name: grant.clone() };
    let unknown = v1::GetGrantRequest { name: format!("grants/{}", Digest::of(b"none")) };
    let of = async |request| s.world.grants().get_grant(as_brand(&chirp, request)).await;
    let (one, two) = (of(known).await.expect_err("not hers"), of(unknown).await.expect_err("none"));
    assert_eq!((one.code(), one.message(), one.details()), (two.code(), two.message(), two.details()));

    // A handle without a link, and one of nobody.
    let (_, invited) = s.world.invite(&chirp, 71).await;
    let nobody = SubjectHandle::of(&chirp.name, [72; 16]);
    for subject in [invited, nobody] {
        let answer = s.world.request(&chirp, &subject, &[(&s.offer_name(), false)]).await;
        assert_eq!(refused(answer), "GRANT_UNKNOWN");
    }
    let theirs = v1::ListGrantsRequest { parent: s.hopp.name.to_string(), ..Default::default() };
    assert_eq!(refused(s.world.grants().list_grants(as_brand(&chirp, theirs)).await), "CALLER_NOT_ALLOWED");

    // What partners see of events never names the customer.
    let parent = s.hopp.name.to_string();
    let request = v1::ListEventsRequest { parent, ..Default::default() };
    let events = s.world.events().list_events(as_brand(&s.hopp, request)).await.expect("events").into_inner();
    let bytes = String::from_utf8_lossy(&events.encode_to_vec()).into_owned();
    assert!(!bytes.contains("customers/") && !bytes.contains(s.from.subject.as_str()));
}

#[tokio::test]
async fn a_request_is_its_customers_to_answer_and_its_requesters_to_take_back() {
    let s = Setting::new().await;
    let (name, eve, grants) = (s.request().await.name, s.world.person(60).await, s.world.grants());
    let unknown = "RESOURCE_UNKNOWN";
    // Hopp is a side of the row that Skylark asks for.
    let cancel = v1::CancelGrantRequestRequest { name: name.clone() };
    assert_eq!(refused(grants.cancel_grant_request(as_brand(&s.hopp, cancel.clone())).await), unknown);
    let defer = v1::DeferGrantRequestRequest { name: name.clone() };
    assert_eq!(refused(grants.defer_grant_request(as_person(&eve, defer)).await), unknown);
    let refuse = v1::RefuseGrantRequestRequest { name };
    assert_eq!(refused(grants.refuse_grant_request(as_person(&eve, refuse.clone())).await), unknown);
    assert_eq!(
        refused(grants.cancel_grant_request(as_person(&s.mei, cancel.clone())).await),
        "CALLER_NOT_ALLOWED"
    );
    assert_eq!(
        refused(grants.refuse_grant_request(as_brand(&s.skylark, refuse)).await),
        "CALLER_NOT_ALLOWED"
    );
    let taken_back = grants.cancel_grant_request(as_brand(&s.skylark, cancel.clone())).await;
    assert_eq!(taken_back.expect("its own").into_inner().state(), v1::grant_request::State::Cancelled);
    assert_eq!(refused(grants.cancel_grant_request(as_brand(&s.skylark, cancel)).await), "WRONG_STATE");
}

#[tokio::test]
async fn an_invitation_has_one_use() {
    let s = Setting::new().await;
    let eve = s.world.person(60).await;
    let (link, _) = s.world.invite(&s.hopp, 80).await;
    let key = SigningKey::from_secret(&[81; 32]);
    let acceptance = s.world.accept(&eve, &link, &key).await.expect("an acceptance");
    assert_eq!(refused(s.world.accept(&s.mei, &link, &key).await), "INVITATION_USED");
    assert_eq!(
        refused(s.world.accept(&eve, &link, &SigningKey::from_secret(&[82; 32])).await),
        "INVITATION_USED"
    );
    assert_eq!(refused(s.world.confirm(&s.skylark, &link, acceptance).await), "RESOURCE_UNKNOWN");
    let wrong = s.world.confirm(&s.hopp, &link, Digest::of(b"another")).await;
    assert_eq!(refused(wrong), "STATEMENT_INVALID acceptance");

    let (late, _) = s.world.invite(&s.hopp, 83).await;
    s.world.pass(600_000);
    assert_eq!(refused(s.world.accept(&s.mei, &late, &key).await), "INVITATION_EXPIRED");
    assert_eq!(refused(s.world.confirm(&s.hopp, &link, acceptance).await), "INVITATION_EXPIRED");
    let get = v1::GetLinkRequest { name: late.to_string() };
    let link = s.world.links().get_link(as_brand(&s.hopp, get)).await.expect("a link").into_inner();
    assert_eq!(link.state(), v1::link::State::Lapsed);
}

#[tokio::test]
async fn a_lapse_is_an_event() {
    let s = Setting::new().await;
    let request = s.request().await;
    s.world.pass(3_600_000);
    let get = || as_person(&s.mei, v1::GetGrantRequestRequest { name: request.name.clone() });
    let state =
        async || s.world.grants().get_grant_request(get()).await.expect("a request").into_inner().state();
    assert_eq!(state().await, v1::grant_request::State::Lapsed, "by the clock, before any sweep");
    crate::sweeper::sweep(&s.world.broker).await.expect("a sweep");
    assert_eq!(crate::sweeper::sweep(&s.world.broker).await.expect("a sweep"), 0, "once");
    assert_eq!(state().await, v1::grant_request::State::Lapsed);
    let kinds = s.kinds(Principal::Partner(s.skylark.name.clone())).await;
    assert_eq!(kinds.last(), Some(&Kind::RequestLapsed));
    let refuse = v1::RefuseGrantRequestRequest { name: request.name.clone() };
    assert_eq!(
        refused(s.world.grants().refuse_grant_request(as_person(&s.mei, refuse)).await),
        "WRONG_STATE"
    );
}

#[tokio::test]
async fn a_watch_goes_on_from_its_cursor() {
    let s = Setting::new().await;
    let parent = s.hopp.name.to_string();
    let kinds = vec![Kind::GrantApproved.into(), Kind::LinkConfirmed.into()];
    let watch = v1::WatchEventsRequest { parent, cursor: 0, kinds };
    let mut events =
        s.world.events().watch_events(as_brand(&s.hopp, watch)).await.expect("a watch").into_inner();
    let mut next = async || events.next().await.expect("goes on").expect("an event").event.expect("set");
    assert_eq!(next().await.kind(), Kind::LinkConfirmed);
    s.approved().await;
    let approved = next().await;
    assert_eq!(approved.kind(), Kind::GrantApproved);
    assert_eq!((approved.subject.as_str(), approved.grant_request.as_str()), (s.to.subject.as_str(), ""));
    assert_eq!(approved.fields, ["trip.flight_no", "trip.eta"]);

    let suspend =
        v1::SuspendPartnerRequest { name: s.hopp.name.to_string(), reason: "complaints".to_owned() };
    let partners = super::partner::Partners(s.world.broker.clone());
    partners.suspend_partner(as_operator(suspend)).await.expect("a suspension");
    let end = events.next().await.expect("it is told why");
    assert_eq!(refused(end), "PARTNER_SUSPENDED");
}

#[tokio::test]
async fn keys_form_one_chain() {
    let s = Setting::new().await;
    let partners = super::partner::Partners(s.world.broker.clone());
    let publish = async |envelope: wire::Envelope| {
        let parent = s.hopp.name.to_string();
        let request = v1::PublishPartnerKeyRequest { parent, statement: Some(envelope) };
        partners.publish_partner_key(as_brand(&s.hopp, request)).await
    };
    let first = s.hopp.certificate(&s.hopp.key, 1, Bytes::new());
    let next = SigningKey::from_secret(&[90; 32]);
    let previous = || Bytes::from(envelope::digest(&first));
    assert_eq!(refused(publish(first.clone()).await), "OK", "the same statement again");
    let skipped = s.hopp.certificate(&next, 3, previous());
    assert_eq!(refused(publish(skipped).await), "STATEMENT_INVALID sequence");
    let forked = s.hopp.certificate(&next, 2, Bytes::from_static(&[1; 32]));
    assert_eq!(refused(publish(forked).await), "STATEMENT_INVALID previous");
    let renewed = s.hopp.certificate(&s.hopp.key, 2, previous());
    assert_eq!(refused(publish(renewed).await), "ALREADY_EXISTS");
    let mut own = s.hopp.certificate(&next, 2, previous());
    assert_eq!(refused(publish(own.clone()).await), "OK");
    own.signatures[0].signature = Bytes::from_static(&[0; 64]);
    assert_eq!(refused(publish(own).await), "STATEMENT_INVALID partner_key");

    let list = v1::ListPartnerKeysRequest {
        parent: s.hopp.name.to_string(),
        page_size: 1,
        page_token: String::new(),
    };
    let page =
        partners.list_partner_keys(as_brand(&s.skylark, list.clone())).await.expect("keys").into_inner();
    let list = v1::ListPartnerKeysRequest { page_token: page.next_page_token.clone(), ..list };
    let rest = partners.list_partner_keys(as_brand(&s.skylark, list)).await.expect("keys").into_inner();
    assert!(page.partner_keys[0].name.ends_with(s.hopp.key.id().as_str()));
    assert!(rest.partner_keys[0].name.ends_with(next.id().as_str()));
    assert_eq!(rest.next_page_token, "");
}

#[tokio::test]
async fn offers_stay_inside_the_catalogue() {
    let s = Setting::new().await;
    let check = async |change: &dyn Fn(&mut wire::Offer), expected: &str| {
        let mut offer = s.world.offer_statement(&s.skylark, &s.hopp);
        offer.uses = 11;
        change(&mut offer);
        assert_eq!(refused(s.world.publish(&s.hopp, &offer).await), expected);
    };
    check(&|_| {}, "OK").await;
    check(&|o| o.required_fields.push("trip.gate".to_owned()), "OFFER_NOT_ALLOWED").await;
    check(&|o| o.required_fields.push("trip.fare".to_owned()), "OFFER_NOT_ALLOWED").await;
    check(&|o| o.uses = 25, "OFFER_NOT_ALLOWED").await;
    check(&|o| o.source = "partners/nobody".to_owned(), "OFFER_NOT_ALLOWED").await;
    check(&|o| o.recipient = "partners/chirp".to_owned(), "STATEMENT_INVALID recipient").await;
    check(&|o| o.contact_phone.clear(), "STATEMENT_INVALID contact_phone").await;
    check(&|o| o.time_ms += 60_000, "STATEMENT_INVALID time").await;
    let long = |o: &mut wire::Offer| {
        let text = o.texts[0].clone();
        for language in ["fr", "de", "it", "es", "ja", "zh", "ko"] {
            let long =
                wire::OfferText { language: language.to_owned(), reason: "é".repeat(280), ..text.clone() };
            o.texts.push(long);
        }
    };
    check(&long, "FIELD_INVALID").await;
}

#[tokio::test]
async fn auditors_read_and_are_recorded() {
    let s = Setting::new().await;
    s.approved().await;
    let auditor = v1::Auditor {
        display_name: "The ministry".to_owned(),
        public_key: Bytes::copy_from_slice(SigningKey::from_secret(&[100; 32]).public().as_bytes()),
        ..v1::Auditor::default()
    };
    let request_id = "9f8c2a4e-0b1d-4c3e-8f7a-6b5c4d3e2f10".to_owned();
    let create =
        v1::CreateAuditorRequest { auditor_id: "ministry".to_owned(), auditor: Some(auditor), request_id };
    let first = s.world.audits().create_auditor(as_operator(create.clone())).await.expect("an auditor");
    let again = s.world.audits().create_auditor(as_operator(create.clone())).await.expect("the same");
    assert_eq!(first.into_inner(), again.into_inner());
    let other = v1::CreateAuditorRequest { auditor_id: "other".to_owned(), ..create.clone() };
    assert_eq!(refused(s.world.audits().create_auditor(as_operator(other)).await), "REQUEST_ID_REUSED");
    let anew = v1::CreateAuditorRequest { request_id: String::new(), ..create };
    assert_eq!(refused(s.world.audits().create_auditor(as_operator(anew)).await), "ALREADY_EXISTS");

    let ministry = || Principal::Auditor(AuditorName::of_id("ministry").expect("an id"));
    let list = async |filter: &str, page_size: i32| {
        let mut request = v1::ListLogEntriesRequest {
            parent: "logs/-".to_owned(),
            filter: filter.to_owned(),
            page_size,
            page_token: String::new(),
        };
        let mut kinds = Vec::new();
        loop {
            let page = s.world.audits().list_log_entries(called_by(ministry(), request.clone())).await;
            let page = page.expect("a page").into_inner();
            for entry in page.log_entries {
                let record = entry.receipt.expect("a receipt").record;
                kinds.push(Record::decode(record).expect("a record").kind());
            }
            if page.next_page_token.is_empty() {
                return kinds;
            }
            request.page_token = page.next_page_token;
        }
    };
    let all = list("", 3).await;
    assert_eq!(all.first(), Some(&Kind::CataloguePublished));
    assert_eq!(all.last(), Some(&Kind::AuditorCreated), "ends where the log ended when the list began");
    assert!(list("kind = AUDITOR_READ", 50).await.len() >= all.len() / 3);
    let hopps = list(r#"partner = "partners/hopp" AND kind = GRANT_APPROVED"#, 1).await;
    assert_eq!(hopps, [Kind::GrantApproved]);
    assert_eq!(list(r#"partner = "partners/nobody""#, 1).await, []);
    assert_eq!(list(r#"time < "2013-03-08T12:00:00Z""#, 1).await, []);

    let get = v1::GetLogEntryRequest { name: "logs/-/entries/0".to_owned() };
    let entry = s.world.audits().get_log_entry(called_by(ministry(), get.clone())).await.expect("an entry");
    let receipt = entry.into_inner().receipt.expect("a receipt");
    assert!(!receipt.checkpoint.is_empty() && receipt.evidence_salt.is_empty());
    assert_eq!(refused(s.world.audits().get_log_entry(as_brand(&s.hopp, get)).await), "CALLER_NOT_ALLOWED");
}

#[tokio::test]
async fn only_the_holder_of_a_key_becomes_its_customer() {
    let s = Setting::new().await;
    let customers = super::customer::Customers(s.world.broker.clone());
    let get = v1::GetCustomerRequest { name: s.mei.name.to_string() };
    assert!(customers.get_customer(as_person(&s.mei, get.clone())).await.is_ok());
    let eve = s.world.person(60).await;
    assert_eq!(refused(customers.get_customer(as_person(&eve, get)).await), "CALLER_NOT_ALLOWED");

    let token = countersign_grants::token::Issuer::new(Principal::Customer(s.mei.name.clone()), &eve.key)
        .issue(&countersign_grants::token::broker_audience(s.world.broker.origin()), s.world.broker.now());
    let public_key = Bytes::copy_from_slice(s.mei.key.public().as_bytes());
    let customer = Some(v1::Customer { public_key, ..v1::Customer::default() });
    let mut request = tonic::Request::new(v1::CreateCustomerRequest { customer });
    request.extensions_mut().insert(crate::Newcomer(token));
    assert_eq!(refused(customers.create_customer(request).await), "TOKEN_INVALID signature");
}

#[tokio::test]
async fn the_services_describe_themselves() {
    let s = Setting::new().await;
    // Building the routes builds both reflection services from the descriptor set.
    super::services(&s.world.broker).await;
}
