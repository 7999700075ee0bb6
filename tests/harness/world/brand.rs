//! A brand: its keys, its SDK, a source server on a real socket, and its events.

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use countersign_client::{
    Book, MemoryBook, OfferDraft, Partner, PartnerConfig, PartnerEvent, ProvideError, SourceHandler,
    SourceServer, Value,
};
use countersign_grants::{
    catalogue::FieldPath,
    envelope,
    id::{GrantName, OfferName, PartnerName, SubjectHandle},
    key::SigningKey,
    statement::{BenefitKind, OfferText, PartnerKey},
    time::Clock as _,
};
use countersign_proto::{
    statement::v1::{self as wire, Envelope},
    v1,
};
use parking_lot::Mutex;
use tokio::{net::TcpListener, sync::mpsc};

use super::{PATIENCE, PICKUP, TRIP, World};

/// Where a brand's values come from; a test can put others there, or make it slow.
#[derive(Clone, Default)]
pub(crate) struct Shelf {
    values: Arc<Mutex<HashMap<String, String>>>,
    asked: Arc<Mutex<u32>>,
    delay: Arc<Mutex<Duration>>,
}

impl Shelf {
    pub(crate) fn put(&self, field: &str, value: &str) {
        self.values.lock().insert(field.to_owned(), value.to_owned());
    }

    pub(crate) fn slow_down(&self, by: Duration) {
        *self.delay.lock() = by;
    }

    /// How often the handler was asked.
    pub(crate) fn asked(&self) -> u32 {
        *self.asked.lock()
    }
}

#[async_trait]
impl SourceHandler for Shelf {
    async fn provide(&self, _: &SubjectHandle, fields: &[FieldPath]) -> Result<Vec<Value>, ProvideError> {
        *self.asked.lock() += 1;
        let delay = *self.delay.lock();
        tokio::time::sleep(delay).await;
        let values = self.values.lock();
        Ok(fields
            .iter()
            .map(|field| Value::from(values.get(field.as_str()).map_or("B6 35", String::as_str)))
            .collect())
    }
}

pub(crate) struct Brand {
    ears: Ears,
    pub(crate) partner: Partner,
    pub(crate) identity: SigningKey,
    pub(crate) working: SigningKey,
    pub(crate) shelf: Shelf,
    storage: MemoryBook,
    certificate: Envelope,
}

/// Listens for a partner, and keeps what it hears.
pub(crate) struct Ears {
    listening: tokio::task::AbortHandle,
    events: tokio::sync::Mutex<mpsc::UnboundedReceiver<PartnerEvent>>,
}

impl Ears {
    pub(crate) fn of(partner: &Partner) -> Self {
        let (heard, events) = mpsc::unbounded_channel();
        let listening = partner.clone();
        let listening = tokio::spawn(async move {
            listening
                .run(|noted| {
                    let _ = heard.send(noted.event);
                    std::future::ready(())
                })
                .await
        });
        Self { listening: listening.abort_handle(), events: tokio::sync::Mutex::new(events) }
    }

    /// Waits for an event; those before it are dropped.
    pub(crate) async fn hear<T>(&self, mut wanted: impl FnMut(PartnerEvent) -> Option<T>) -> T {
        let mut events = self.events.lock().await;
        let heard = async {
            loop {
                let event = events.recv().await.expect("the events go on");
                if let Some(found) = wanted(event) {
                    return found;
                }
            }
        };
        tokio::time::timeout(PATIENCE, heard).await.expect("the event comes")
    }

    /// From here on nothing is heard.
    pub(crate) fn close(&self) {
        self.listening.abort();
    }
}

impl Drop for Brand {
    /// Whatever a test made of a brand's book, it opens again.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.partner.book().reads_back().expect("a book opens again");
        }
    }
}

impl Brand {
    pub(super) async fn enter(world: &World, id: &str) -> Self {
        let name = PartnerName::of_id(id).expect("an id");
        let system = world.system();
        let (identity, working) =
            (SigningKey::from_secret(&system.draw()), SigningKey::from_secret(&system.draw()));
        let now = world.clock.now();
        let certificate = certify(&identity, &name, &working, now.as_millis());

        let (shelf, storage) = (Shelf::default(), MemoryBook::new());
        let partner = open(world, &name, (&identity, &working, &certificate), &storage);
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let endpoint = format!("http://{}", socket.local_addr().expect("bound"));

        let mut partners = world.operator.partners();
        let created = v1::Partner {
            display_name: id.to_owned(),
            identity_key: identity.public().as_bytes().to_vec().into(),
            source_endpoint: endpoint,
            contact_phone: "+1 212 555 0100".to_owned(),
            ..v1::Partner::default()
        };
        let request = v1::CreatePartnerRequest {
            partner_id: id.to_owned(),
            partner: Some(created),
            ..Default::default()
        };
        partners.create_partner(request).await.expect("enters");
        let request =
            v1::PublishPartnerKeyRequest { parent: name.to_string(), statement: Some(certificate.clone()) };
        partners.publish_partner_key(request).await.expect("publishes");
        partners.vet_partner(v1::VetPartnerRequest { name: name.to_string() }).await.expect("vets");
        let approve = v1::ApprovePartnerRequest { name: name.to_string() };
        world.second_operator.partners().approve_partner(approve).await.expect("approves");

        let server = SourceServer::new(partner.clone(), shelf.clone());
        tokio::spawn(server.serve(socket, None, std::future::pending()));
        Self { ears: Ears::of(&partner), partner, identity, working, shelf, storage, certificate }
    }

    /// From here on it hears of nothing.
    pub(crate) fn goes_away(&self) {
        self.ears.close();
    }

    /// This brand after a restart: from what its book holds on disk. It neither serves nor listens, and the one before does
    /// not listen any more: a book has one writer.
    pub(crate) fn restarted(&self, world: &World) -> Partner {
        self.goes_away();
        open(world, self.name(), (&self.identity, &self.working, &self.certificate), &self.storage)
    }

    pub(crate) fn name(&self) -> &PartnerName {
        self.partner.name()
    }

    /// Waits for an event; those before it are dropped.
    pub(crate) async fn hears<T>(&self, wanted: impl FnMut(PartnerEvent) -> Option<T>) -> T {
        self.ears.hear(wanted).await
    }

    /// Waits until the grant was verified and stands in this brand's book.
    pub(crate) async fn until_in_book(&self, name: &GrantName) {
        self.hears(|event| match event {
            PartnerEvent::Approved { grant, .. } if grant.name() == name => Some(()),
            PartnerEvent::Failed { error, .. } => panic!("the grant failed a check: {error}"),
            _ => None,
        })
        .await;
    }

    /// Waits until this brand, as a source, has a receipt for each of its answers: a clock that is moved on before that would
    /// make it claim them.
    pub(crate) async fn until_receipts_are_in(&self) {
        let told = async {
            while self.partner.book().receipts_owed() > 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, told).await.expect("the receipts come");
    }

    /// Publishes row 1 of the journey.
    pub(crate) async fn offer_trip(&self, source: &Brand, uses: u32) -> OfferName {
        self.partner.publish_offer(&trip_offer(source.name(), uses)).await.expect("publishes")
    }
}

fn open(
    world: &World,
    name: &PartnerName,
    (identity, working, certificate): (&SigningKey, &SigningKey, &Envelope),
    storage: &MemoryBook,
) -> Partner {
    let config = PartnerConfig {
        trust: world.trust.clone(),
        name: name.clone(),
        identity: identity.public().clone(),
        certificate: certificate.clone(),
        key: SigningKey::from_secret(&working.to_secret()),
        known_keys: vec![],
    };
    let book = Book::open(storage.clone(), world.clock.now()).expect("opens");
    Partner::open(config, book, world.system()).expect("opens")
}

/// Row 1 of the journey.
pub(crate) fn trip_offer(source: &PartnerName, uses: u32) -> OfferDraft {
    OfferDraft {
        source: source.clone(),
        purpose: PICKUP.to_owned(),
        required_fields: TRIP.map(str::to_owned).to_vec(),
        optional_fields: vec!["trip.eta".to_owned()],
        duration: Duration::from_secs(24 * 3600),
        uses,
        rate: Some((uses.min(12), Duration::from_secs(60))),
        retention: Duration::from_secs(24 * 3600),
        texts: vec![OfferText {
            language: "en".to_owned(),
            reason: "To have a car there when you land.".to_owned(),
            benefit: "Late flight? Your driver waits 45 minutes, free.".to_owned(),
            ends: "landing + 24 h".to_owned(),
        }],
        benefit_kind: BenefitKind::SpecialService,
        contact_phone: "+1 212 555 0100".to_owned(),
        law: "Consent, GDPR Art. 6(1)(a)".to_owned(),
        controller: "Hopp Rides Inc.".to_owned(),
        complaint_body: "The data protection authority".to_owned(),
    }
}

/// The identity key's statement for a working key, good for a year.
pub(crate) fn certify(
    identity: &SigningKey,
    name: &PartnerName,
    working: &SigningKey,
    now_ms: u64,
) -> Envelope {
    certify_as(identity, name, working, 1, now_ms)
}

/// The same, under any number.
pub(crate) fn certify_as(
    identity: &SigningKey,
    name: &PartnerName,
    working: &SigningKey,
    sequence: u64,
    now_ms: u64,
) -> Envelope {
    let previous = if sequence == 1 { vec![] } else { vec![7; 32] };
    let message = wire::PartnerKey {
        broker: super::ORIGIN.to_owned(),
        partner: name.to_string(),
        public_key: working.public().as_bytes().to_vec().into(),
        sequence,
        not_before_ms: now_ms - 24 * 3600 * 1000,
        not_after_ms: now_ms + 365 * 24 * 3600 * 1000,
        previous: previous.into(),
    };
    envelope::sign::<PartnerKey>(&message, &[identity])
}
