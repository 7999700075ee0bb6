//! What is never asked for, whoever would agree: provenance, forms that are filled in once, and the list of what people find
//! creepy. Each rule by the refusal that it leads to, at a real broker.

use std::time::Duration;

use countersign_client::{
    Error, Fetched, OfferDraft,
    customer::{Choice, Customer},
};
use countersign_grants::{
    catalogue::{Catalogue, CatalogueError, Denied, FieldPath, SHIPPED},
    id::{GrantName, SubjectHandle},
    statement::Offer,
};
use countersign_proto::{
    log::v1::Kind,
    statement::v1::{self as wire, Envelope},
    v1,
};
use prost::Message as _;

use crate::world::{Brand, Granted, PICKUP, TRIP, World, bare_fetch, reason_of, sign_as, trip_offer};

/// What makes an offer one that nobody may publish.
type Spoil = fn(&mut wire::Offer);

/// One customer between two brands of any kind.
struct Between {
    world: World,
    source: Brand,
    recipient: Brand,
    mei: Customer,
    subject: SubjectHandle,
}

impl Between {
    async fn start(source: &str, recipient: &str) -> Self {
        let world = World::start().await;
        let (source, recipient) =
            (Box::pin(world.brand(source)).await, Box::pin(world.brand(recipient)).await);
        let mei = world.customer().await;
        let subject = Box::pin(world.link(&mei, &source)).await;
        Box::pin(world.link(&mei, &recipient)).await;
        Self { world, source, recipient, mei, subject }
    }

    /// An offer of the recipient for a purpose.
    fn draft(&self, purpose: &str, required: &[&str], optional: &[&str], uses: u32) -> OfferDraft {
        let names = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
        OfferDraft {
            purpose: purpose.to_owned(),
            required_fields: names(required),
            optional_fields: names(optional),
            duration: Duration::from_secs(3600),
            rate: Some((uses.min(2), Duration::from_secs(60))),
            ..trip_offer(self.source.name(), uses)
        }
    }

    /// The grant that the customer makes of it.
    async fn approve(&self, draft: &OfferDraft, choice: &Choice) -> GrantName {
        let offer = self.recipient.partner.publish_offer(draft).await.expect("publishes");
        let lifetime = Duration::from_secs(3600);
        let rows = [(offer, false)];
        let request = self.source.partner.request(&self.subject, &rows, lifetime).await.expect("asks");
        let read = self.mei.read_request(&request).await.expect("verifies");
        let grant = self.mei.approve(&read, choice).await.expect("approves")[0].grant.clone();
        self.source.until_in_book(&grant).await;
        self.recipient.until_in_book(&grant).await;
        grant
    }

    async fn fetch(&self, grant: &GrantName, purpose: &str, fields: &[&str]) -> Result<Fetched, Error> {
        self.recipient.partner.fetch(grant, purpose, fields).await
    }

    /// Publishes an offer that the SDK would not sign: the good one with a piece of it spoilt.
    async fn publish_spoilt(
        &self,
        good: &OfferDraft,
        spoil: impl Fn(&mut wire::Offer),
    ) -> Result<v1::Offer, tonic::Status> {
        let name = self.recipient.partner.publish_offer(good).await.expect("publishes");
        let mut offers = self.recipient.partner.connection().offers();
        let asked = v1::GetOfferRequest { name: name.to_string() };
        let published = offers.get_offer(asked).await.expect("is there").into_inner();
        let payload = published.statement.expect("has its statement").payload;
        let mut message = wire::Offer::decode(payload).expect("an offer");
        spoil(&mut message);
        let statement: Envelope = sign_as::<Offer>(&self.recipient.working, &message);
        let asked = v1::PublishOfferRequest { statement: Some(statement) };
        offers.publish_offer(asked).await.map(tonic::Response::into_inner)
    }
}

const HELP: &str = "missed_flight_help";
const OBSERVED: &str = "ride.dropoff_eta";

#[tokio::test(flavor = "multi_thread")]
async fn no_offer_is_published_without_all_that_a_person_must_be_told() {
    let between = Between::start("skylark", "hopp").await;
    let good = between.draft(PICKUP, &TRIP, &["trip.eta"], 12);
    let refused = async |spoil: Spoil| {
        let said = reason_of(between.publish_spoilt(&good, spoil).await);
        format!("{} {}", said.reason, said.check)
    };
    let untold: [(&str, Spoil); 8] = [
        ("purpose", |offer| offer.purpose.clear()),
        ("reason", |offer| offer.texts[0].reason.clear()),
        ("benefit", |offer| offer.texts[0].benefit.clear()),
        ("benefit_kind", |offer| offer.benefit_kind = 0),
        ("contact_phone", |offer| offer.contact_phone.clear()),
        ("law", |offer| offer.law.clear()),
        ("controller", |offer| offer.controller.clear()),
        ("complaint_body", |offer| offer.complaint_body.clear()),
    ];
    for (field, spoil) in untold {
        assert_eq!(refused(spoil).await, format!("STATEMENT_INVALID {field}"));
    }
    // No advert has a purpose in the catalogue, and what no catalogue declares is in no offer.
    let foreign: [(&str, Spoil); 5] = [
        ("purpose", |offer| offer.purpose = "advertising".into()),
        ("purpose", |offer| offer.purpose = "marketing".into()),
        ("purpose", |offer| offer.purpose = "search_ads".into()),
        ("fields", |offer| offer.required_fields.push("person.passport_no".into())),
        ("fields", |offer| offer.optional_fields.push("person.contacts".into())),
    ];
    for (field, spoil) in foreign {
        assert_eq!(refused(spoil).await, format!("OFFER_NOT_ALLOWED {field}"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_provided_can_be_required() {
    let between = Between::start("hopp", "skylark").await;
    let draft = between.draft(HELP, &["ride.status"], &[OBSERVED], 6);
    between.source.shelf.put("ride.status", "ON_TRIP");
    let grant = between.approve(&draft, &Choice::required("en")).await;
    between.fetch(&grant, HELP, &["ride.status"]).await.expect("flows");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_observed_starts_off_and_is_never_required() {
    let between = Between::start("hopp", "skylark").await;
    let draft = between.draft(HELP, &["ride.status"], &[OBSERVED], 6);
    between.source.shelf.put("ride.status", "ON_TRIP");
    between.source.shelf.put(OBSERVED, "2013-03-08T17:05:00-05:00");

    let required = between.draft(HELP, &["ride.status", OBSERVED], &[], 6);
    let refused = between.recipient.partner.publish_offer(&required).await;
    assert!(matches!(refused, Err(Error::Misuse(_))), "our SDK signs no such offer: {refused:?}");
    let refused =
        between.publish_spoilt(&draft, |offer| offer.required_fields.append(&mut offer.optional_fields));
    let said = reason_of(refused.await);
    assert_eq!((said.reason.as_str(), said.check.as_str()), ("OFFER_NOT_ALLOWED", "required_fields"));

    // Silence is no.
    let silent = between.approve(&draft, &Choice::required("en")).await;
    let refused = between.fetch(&silent, HELP, &[OBSERVED]).await.expect_err("it was not switched on");
    assert_eq!(refused.reason(), Some("FIELD_NOT_GRANTED"));
    assert_eq!(between.source.shelf.asked(), 0);

    let on = Choice::required("en").with_field(1, FieldPath::parse(OBSERVED).expect("a path"));
    let chosen = between.approve(&draft, &on).await;
    between.fetch(&chosen, HELP, &[OBSERVED]).await.expect("it was switched on");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_inferred_is_in_no_catalogue() {
    let shipped = std::str::from_utf8(SHIPPED).expect("text");
    let inferred = shipped.replace("\"OBSERVED\"", "\"INFERRED\"");
    let refused = Catalogue::parse_for_use(inferred.as_bytes()).expect_err("never shared");
    assert!(matches!(refused, CatalogueError::Inferred { .. }), "{refused:?}");
    let said = refused.to_string();
    assert!(said.contains("`ride.dropoff_eta`") && said.contains("take it out"), "{said}");
    let refused = World::opens_with(inferred.into()).await.expect_err("no broker opens with it");
    assert_eq!(refused, format!("the catalogue is refused: {said}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_broker_opens_with_what_is_never_brokered() {
    let shipped = std::str::from_utf8(SHIPPED).expect("text");
    for (path, class) in [
        ("person.contacts", Denied::OtherPeople),
        ("person.photo", Denied::Photo),
        ("person.face", Denied::Biometric),
        ("person.fingerprint", Denied::Biometric),
        ("person.bank_name", Denied::Money),
        ("person.health_note", Denied::Health),
        ("person.passport_no", Denied::IdentityNumber),
        ("person.messages", Denied::MessageContent),
        ("person.religion", Denied::SensitiveTopic),
        ("person.search_terms", Denied::Trace),
    ] {
        let document = shipped.replace("person.given_name", path);
        let said = World::opens_with(document.into()).await.expect_err(path);
        assert!(said.contains(&format!("field `{path}`: {class}")), "{said}");
    }
    // A precise location shows by its path, finds a person, and serves a pick-up alone.
    let hidden = shipped.replace("pickup.location", "pickup.spot");
    let said = World::opens_with(hidden.into()).await.expect_err("under another name");
    assert!(said.contains(&format!("field `pickup.spot`: {}", Denied::PreciseLocation)), "{said}");
    let wide = shipped.replace("pickup.location", "pickup.spot").replace("GPSCoordinate", "Location");
    let said = World::opens_with(wide.into()).await.expect_err("by a term that holds it");
    assert!(said.contains(&format!("field `pickup.spot`: {}", Denied::PreciseLocation)), "{said}");
    let said = World::opens_with(shipped.replace("person.given_name", "person.lat").into()).await;
    let said = said.expect_err("for any purpose");
    assert!(said.contains("a precise location serves a purpose that picks a person up"), "{said}");
    for code in ["search_ads", "nearby_texts", "partner_marketing", "guest_profiling", "post_mirroring"] {
        let document = shipped.replace("\"member_benefits\"", &format!("\"{code}\""));
        let said = World::opens_with(document.into()).await.expect_err(code);
        assert!(said.contains(&format!("purpose `{code}`")), "{said}");
    }
    World::opens_with(SHIPPED.into()).await.expect("the shipped one");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_format_counts_for_no_new_offer() {
    let shipped = std::str::from_utf8(SHIPPED).expect("text");
    let old = shipped.replace("format = 3", "format = 1");
    let refused =
        Catalogue::parse(old.as_bytes()).expect_err("a precise location could not be brokered then");
    assert!(matches!(refused, CatalogueError::Denied { class: Denied::PreciseLocation, .. }), "{refused}");
    let old = old.replace("pickup.location", "pickup.place").replace("GPSCoordinate", "TravelHistory");
    Catalogue::parse(old.as_bytes()).expect("grants under it can be judged");
    let said = World::opens_with(old.into()).await.expect_err("a rule could be passed by");
    assert!(said.contains("format 1 is read for older grants alone"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_form_is_filled_in_once() {
    let between = Between::start("skylark", "harbour").await;
    let draft = between.draft("prefill", &["person.given_name", "person.language"], &[], 1);
    between.source.shelf.put("person.given_name", "Mei");
    between.source.shelf.put("person.language", "en");
    let spoilt = between.publish_spoilt(&draft, |offer| {
        offer.uses = 2;
        offer.time_ms += 1;
    });
    let said = reason_of(spoilt.await);
    assert_eq!((said.reason.as_str(), said.check.as_str()), ("OFFER_NOT_ALLOWED", "uses"));

    let grant = between.approve(&draft, &Choice::required("en")).await;
    between.fetch(&grant, "prefill", &["person.given_name"]).await.expect("the one use");
    let second = between.fetch(&grant, "prefill", &["person.language"]).await.expect_err("the second");
    assert_eq!(second.reason(), Some("FREQUENCY_EXCEEDED"));
    between.world.clock.advance(Duration::from_secs(120));
    let later = between.fetch(&grant, "prefill", &["person.language"]).await.expect_err("waiting is no help");
    assert_eq!(later.reason(), Some("FREQUENCY_EXCEEDED"));
    assert_eq!(between.source.shelf.asked(), 1);
    assert_eq!(between.world.count(Kind::Transfer).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn hotel_and_retail_share_what_they_may() {
    let between = Between::start("harbour", "market").await;
    let purpose = "delivery_to_stay";
    let draft = between.draft(purpose, &["stay.hotel", "stay.check_out_time"], &["person.given_name"], 4);
    between.source.shelf.put("stay.hotel", "Harbour House");
    between.source.shelf.put("stay.check_out_time", "2013-03-10T11:00:00-05:00");
    let grant = between.approve(&draft, &Choice::required("en")).await;
    let fetched = between.fetch(&grant, purpose, &["stay.hotel"]).await.expect("flows");
    let hotel = fetched.get("stay.hotel").and_then(|value| value.as_str().map(str::to_owned));
    assert_eq!(hotel.as_deref(), Some("Harbour House"));
    let refused = between.fetch(&grant, purpose, &["person.given_name"]).await.expect_err("not switched on");
    assert_eq!(refused.reason(), Some("FIELD_NOT_GRANTED"));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_contacted_under_a_grant_that_is_not_for_it() {
    let granted = Granted::start().await;
    for (purpose, field, reason) in [
        ("pickup_planning", "contact.reply_alias", "FIELD_NOT_GRANTED"),
        ("driver_contact", "contact.reply_alias", "PURPOSE_NOT_ALLOWED"),
        ("support_chat", "trip.flight_no", "PURPOSE_NOT_ALLOWED"),
        ("advertising", "trip.flight_no", "PURPOSE_NOT_ALLOWED"),
        ("nearby_texts", "trip.airport", "PURPOSE_NOT_ALLOWED"),
    ] {
        let mut fetch = bare_fetch(&granted).await;
        fetch.purpose = purpose.to_owned();
        fetch.fields = vec![field.to_owned()];
        assert_eq!(reason_of(granted.send(&fetch).await).reason, reason, "{purpose} {field}");
    }
    assert_eq!(granted.skylark.shelf.asked(), 0, "the source was not troubled");
}
