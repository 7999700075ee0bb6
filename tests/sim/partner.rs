//! A partner: its SDK and its source on its book, and the people who work there.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use countersign_client::{
    Book, Error, OfferDraft, Partner, PartnerConfig, PartnerEvent, ProvideError, SourceHandler, SourceServer,
    Value,
    book::{GrantRow, Standing},
    partner::AskedRow,
};
use countersign_grants::{
    catalogue::FieldPath,
    id::{GrantName, Principal, SubjectHandle},
    statement::{BenefitKind, OfferText},
};
use countersign_proto::log::v1::Kind;
use tokio::time::sleep;

use crate::{
    fetching,
    hosts::{PAUSE, certificate},
    net::{PARTNER_HOSTS, Port},
    random::Random,
    stops, tapping,
    world::{Ceremony, Offered, Phase, World, key_of, partner_name, value_of},
};

/// The purpose and the fields of every offer.
pub(crate) const PURPOSE: &str = "pickup_planning";

/// What every offer asks for.
pub(crate) const FIELDS: [&str; 3] = ["trip.flight_no", "trip.airport", "trip.terminal"];

/// How long a request waits for the customer.
const REQUEST_LIFE: Duration = Duration::from_secs(30);

/// One life of a partner.
pub(crate) async fn live(world: Arc<World>, at: usize) -> turmoil::Result {
    let host = PARTNER_HOSTS[at];
    while world.phase() == Phase::Begins {
        sleep(PAUSE).await;
    }
    let partner = open(&world, at)?;
    world.board.lock().partners[at] = Some(partner.clone());
    let port = Port::of_source(at).await?;
    let shelf = Shelf { world: Arc::clone(&world), host };
    let server = SourceServer::new(partner.clone(), shelf);
    tokio::spawn(server.serve_accepted(port.connections(), std::future::pending()));

    let desk = Arc::new(Desk { world, partner, at, host });
    if !desk.world.storage.is_deaf(at) {
        tokio::spawn(Arc::clone(&desk).listen());
    }
    tokio::spawn(Arc::clone(&desk).link());
    tokio::spawn(Arc::clone(&desk).propose());
    tokio::spawn(fetching::fetch(Arc::clone(&desk)));
    tokio::spawn(stops::stop(Arc::clone(&desk)));
    desk.say_what_changed().await
}

fn open(world: &Arc<World>, at: usize) -> Result<Partner, Error> {
    let (host, name) = (PARTNER_HOSTS[at], partner_name(at));
    let system = world.system(host);
    let book = Book::open(world.disks[host].clone(), system.now())?;
    let key = key_of(world.seed, &format!("working {at}"));
    let connection = world.connection(Principal::Partner(name.clone()), &key, &system);
    let config = PartnerConfig {
        trust: world.trust.clone(),
        name,
        identity: key_of(world.seed, &format!("identity {at}")).public().clone(),
        certificate: certificate(world, at).statement().clone(),
        key,
        known_keys: vec![],
    };
    Partner::open_on(config, book, system, connection)
}

/// A source's own systems.
struct Shelf {
    world: Arc<World>,
    host: &'static str,
}

#[async_trait]
impl SourceHandler for Shelf {
    async fn provide(
        &self,
        subject: &SubjectHandle,
        fields: &[FieldPath],
    ) -> Result<Vec<Value>, ProvideError> {
        let pause = self.world.board.lock().handler_pause;
        sleep(pause).await;
        let customer = self.world.board.lock().handles.get(subject.as_str()).copied();
        let customer = customer.ok_or(ProvideError::NotFound)?;
        self.world.note(self.host, &format!("provides {} fields of customer {customer}", fields.len()));
        Ok(fields.iter().map(|_| Value::from(value_of(customer))).collect())
    }
}

/// Those who work at a partner.
pub(crate) struct Desk {
    pub(crate) world: Arc<World>,
    pub(crate) partner: Partner,
    pub(crate) at: usize,
    pub(crate) host: &'static str,
}

impl Desk {
    pub(crate) fn outcome<T>(&self, what: &str, came: &Result<T, Error>, good: impl FnOnce(&T) -> String) {
        self.world.outcome(self.host, what, came, good);
    }

    pub(crate) fn works(&self) -> bool {
        self.world.phase() == Phase::Works
    }

    pub(crate) fn random(&self, what: &str) -> Random {
        self.world.random(&format!("{} {what}", self.host))
    }

    async fn listen(self: Arc<Self>) {
        let hearing = Arc::clone(&self);
        let ended = self.partner.run(move |noted| {
            hearing.hear(noted.index, &noted.event);
            std::future::ready(())
        });
        let error = ended.await;
        self.world.fail("halted", format!("{} hears nothing more: {error}", self.host));
    }

    fn hear(self: &Arc<Self>, index: u64, event: &PartnerEvent) {
        let what = match event {
            PartnerEvent::Failed { kind, error, .. } => {
                let came = Err::<(), _>(error);
                if let Err(error) = came
                    && crate::blame::judge(&self.world.plan, error) == crate::blame::Allowed::Never
                {
                    self.world.fail("event", format!("{} at record {index}: {error}", self.host));
                }
                format!("Failed {}: {}", kind.as_str_name(), crate::blame::word(error))
            }
            PartnerEvent::EraseDue { grant, .. } => {
                let (world, host) = (Arc::clone(&self.world), self.host);
                let (partner, grant) = (self.partner.clone(), grant.clone());
                tokio::spawn(async move {
                    // What can't be sent now is sent by the SDK's own upkeep.
                    let came = partner.attest_erasure(&grant).await;
                    let told = short(grant.as_str());
                    world.outcome(host, "attest erasure", &came, |leaf| {
                        format!("{told}, record {}", leaf.index())
                    });
                    if let Ok(leaf) = &came {
                        world.checks.lock().acknowledged(host, &world.storage.current(), leaf);
                    }
                });
                "EraseDue".to_owned()
            }
            PartnerEvent::LocationTapped { grant, tap, .. } => {
                tokio::spawn(tapping::fetch(Arc::clone(self), (**grant).clone(), *tap));
                "LocationTapped".to_owned()
            }
            PartnerEvent::UnknownKeys { .. } => {
                self.world.fail("event", format!("{} hears of unknown keys", self.host));
                "UnknownKeys".to_owned()
            }
            event => {
                let text = format!("{event:?}");
                text.split([' ', '{', '(']).next().unwrap_or_default().to_owned()
            }
        };
        self.world.note(self.host, &format!("hears of record {index}: {what}"));
    }

    /// Links with every customer, by way of the customers' apps.
    async fn link(self: Arc<Self>) {
        let mut random = self.random("link");
        loop {
            sleep(Duration::from_millis(random.between(500, 1_500))).await;
            for customer in 0..self.world.plan.customers {
                self.link_with(customer).await;
            }
        }
    }

    async fn link_with(&self, customer: usize) {
        let place = (self.at, customer);
        let now = self.world.system(self.host).now();
        let (link, code) = match self.world.board.lock().ceremonies.get(&place) {
            Some(Ceremony::Invited { expires, .. }) if now >= *expires => (None, None),
            Some(Ceremony::Linked | Ceremony::Invited { code: None, .. }) => return,
            Some(Ceremony::Invited { link, code: Some(code), .. }) => {
                (Some(link.clone()), Some(code.clone()))
            }
            None => (None, None),
        };
        if let (Some(link), Some(code)) = (link, code) {
            let came = self.partner.confirm(&link, &code).await;
            self.outcome("confirm", &came, |_| format!("customer {customer}"));
            match came {
                Ok(row) => {
                    let mut board = self.world.board.lock();
                    board.handles.insert(row.subject().as_str().to_owned(), customer);
                    board.ceremonies.insert(place, Ceremony::Linked);
                    drop(board);
                    self.world.checks.lock().promised(Kind::LinkConfirmed);
                }
                Err(error) if error.is_transient() || error.reason().is_some() => {}
                // It lapsed, or a crash took it.
                Err(_) => drop(self.world.board.lock().ceremonies.remove(&place)),
            }
            return;
        }
        if !self.works() {
            return;
        }
        let came = self.partner.invite(&format!("customer {customer}")).await;
        self.outcome("invite", &came, |invited| {
            format!("customer {customer}, {}", short(invited.link.as_str()))
        });
        if let Ok(invited) = came {
            let (package, link, expires) = (Box::new(invited.package), invited.link, invited.expire_time);
            let ceremony = Ceremony::Invited { package, link, expires, code: None };
            self.world.board.lock().ceremonies.insert(place, ceremony);
            self.world.checks.lock().promised(Kind::LinkInvited);
        }
    }

    /// Publishes an offer, and puts offers to customers.
    async fn propose(self: Arc<Self>) {
        let mut random = self.random("propose");
        while self.works() {
            sleep(Duration::from_millis(random.between(400, 2_500))).await;
            let published = {
                let board = self.world.board.lock();
                board.offers.iter().filter(|offer| offer.recipient == self.at).count()
            };
            if published == 0 || (published == 1 && random.chance(20)) {
                self.offer(&mut random).await;
            } else if random.chance(40) {
                self.request(&mut random).await;
            } else if random.chance(5) {
                sleep(Duration::from_secs(2)).await;
            }
        }
    }

    async fn offer(&self, random: &mut Random) {
        // The first partner is a source for all others, and they for it.
        let source = usize::from(self.at == 0);
        let uses = random.between(1, 12) as u32;
        let draft = OfferDraft {
            source: partner_name(source),
            purpose: PURPOSE.to_owned(),
            required_fields: FIELDS.map(str::to_owned).to_vec(),
            optional_fields: vec!["trip.eta".to_owned(), tapping::PLACE.to_owned()],
            duration: Duration::from_secs(24 * 3600),
            uses,
            rate: random.chance(25).then(|| (uses.min(3), Duration::from_secs(20))),
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
        };
        let came = self.partner.publish_offer(&draft).await;
        self.outcome("publish offer", &came, |name| format!("{}, {uses} uses", short(name.as_str())));
        if let Ok(name) = came {
            self.world.board.lock().offers.push(Offered { name, recipient: self.at, source });
            self.world.checks.lock().promised(Kind::OfferPublished);
        }
    }

    async fn request(&self, random: &mut Random) {
        let customer = random.below(self.world.plan.customers as u64) as usize;
        let offers: Vec<Offered> = {
            let board = self.world.board.lock();
            let linked =
                |partner: usize| matches!(board.ceremonies.get(&(partner, customer)), Some(Ceremony::Linked));
            let ours = |offer: &&Offered| offer.recipient == self.at || offer.source == self.at;
            let fits = |offer: &&Offered| linked(offer.recipient) && linked(offer.source);
            board.offers.iter().filter(ours).filter(fits).cloned().collect()
        };
        let links = self.partner.book().links();
        let handle = {
            let board = self.world.board.lock();
            let is_theirs = |handle: &SubjectHandle| board.handles.get(handle.as_str()) == Some(&customer);
            links.iter().map(|link| link.subject().clone()).find(is_theirs)
        };
        let (Some(first), Some(handle)) = (random.pick(&offers), handle) else { return };
        let renews = self.to_renew(first, &handle, random);
        let mut rows = vec![AskedRow { offer: first.name.clone(), optional: false, renews }];
        if let Some(second) = random.pick(&offers)
            && second.name != first.name
        {
            rows.push(AskedRow { offer: second.name.clone(), optional: true, renews: None });
        }
        let came = self.partner.request_rows(&handle, &rows, REQUEST_LIFE).await;
        self.outcome("request", &came, |name| {
            let renews = rows[0].renews.as_ref().map(|renews| format!(", renews {}", short(renews.as_str())));
            let renews = renews.unwrap_or_default();
            format!("{}, {} rows, customer {customer}{renews}", short(name.as_str()), rows.len())
        });
        let Ok(name) = came else { return };
        self.world.checks.lock().promised(Kind::RequestCreated);
        self.world.board.lock().asked[customer].push(name.clone());
        if random.chance(8) {
            sleep(Duration::from_millis(random.between(0, 3_000))).await;
            let came = self.partner.cancel_request(&name).await;
            self.outcome("cancel", &came, |()| short(name.as_str()));
            if came.is_ok() {
                self.world.checks.lock().promised(Kind::RequestCancelled);
            }
        }
    }

    /// A grant in whose place the offer's would come; at times none, though there is one.
    fn to_renew(&self, offer: &Offered, handle: &SubjectHandle, random: &mut Random) -> Option<GrantName> {
        let (source, recipient) = (partner_name(offer.source), partner_name(offer.recipient));
        let mut grants = self.partner.book().grants_of(handle);
        grants.retain(|row| {
            let terms = row.terms();
            row.standing() == Standing::Active && terms.source == source && terms.recipient == recipient
        });
        grants.sort_by_key(GrantRow::digest);
        random.pick(&grants).filter(|_| random.chance(60)).map(|row| row.name().clone())
    }

    /// As a source: says that something changed.
    async fn say_what_changed(&self) -> turmoil::Result {
        let mut random = self.random("notify");
        loop {
            sleep(Duration::from_millis(random.between(3_000, 12_000))).await;
            let links = self.partner.book().links();
            let Some(link) = random.pick(&links).filter(|_| self.works()) else { continue };
            let came = self.partner.notify_change(link.subject(), "trip").await;
            self.outcome("notify", &came, |()| "trip".to_owned());
        }
    }
}

/// The end of a resource name: enough to tell two apart.
pub(crate) fn short(name: &str) -> String {
    let id = name.rsplit('/').next().unwrap_or(name);
    id.chars().take(6).collect()
}
