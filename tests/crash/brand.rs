//! A partner of the campaign: its keys, its SDK on a file book, and a source server on a real socket. It outlives the
//! daemon's deaths.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use bytes::Bytes;
use countersign_client::{
    Book, BrokerTrust, Error, FileBook, OfferDraft, Partner, PartnerConfig, PartnerEvent, ProvideError,
    SourceHandler, SourceServer, System, Value, keyfile, operator::Operator,
};
use countersign_grants::{
    catalogue::FieldPath,
    digest::Digest,
    envelope,
    id::{PartnerName, SubjectHandle},
    key::SigningKey,
    statement::{BenefitKind, OfferText, PartnerKey},
};
use countersign_proto::{log::v1::Kind, statement::v1 as wire};
use parking_lot::Mutex;
use tokio::{net::TcpListener, task::JoinSet};

use crate::{
    load::said_no,
    notes::{Named, Notes},
};

/// The purpose of every offer.
pub(crate) const PURPOSE: &str = "pickup_planning";

/// The fields that every offer requires.
pub(crate) const FIELDS: [&str; 2] = ["trip.flight_no", "trip.airport"];

/// The field that every offer has and that the customer may leave out.
pub(crate) const OPTIONAL: &str = "trip.terminal";

/// The field that leaves by a tap alone.
pub(crate) const PLACE: &str = "pickup.location";

/// A number under which people are reached.
pub(crate) const PHONE: &str = "+1 212 555 0100";

/// Certificates begin a day ago, so that clocks don't matter, and last a year.
const DAY_MS: u64 = 24 * 3600 * 1000;

type Heard = Arc<Mutex<BTreeSet<u64>>>;
type Taps = Arc<Mutex<BTreeMap<u64, Digest>>>;

/// One partner.
pub(crate) struct Brand {
    pub(crate) partner: Partner,
    pub(crate) working: SigningKey,
    /// The log indexes of the change notices that its loop was handed.
    pub(crate) heard: Heard,
    /// The taps that its loop was handed, by the index of their records.
    pub(crate) taps: Taps,
}

struct Shelf;

#[async_trait]
impl SourceHandler for Shelf {
    async fn provide(&self, _: &SubjectHandle, fields: &[FieldPath]) -> Result<Vec<Value>, ProvideError> {
        Ok(fields.iter().map(|_| Value::from("B6 35")).collect())
    }
}

impl Brand {
    /// Makes a partner, has the operators let it in, and starts what it runs for as long as `tasks` do.
    pub(crate) async fn enter(
        (id, folder): (&str, &Path),
        trust: &BrokerTrust,
        [operator, second]: [&Operator; 2],
        notes: &Notes,
        tasks: &mut JoinSet<()>,
    ) -> Result<Self> {
        let system = System::real();
        let name = PartnerName::of_id(id).map_err(|error| anyhow::anyhow!("{id}: {error}"))?;
        let (identity, working) = (keyfile::draw(&system), keyfile::draw(&system));
        let certificate = certify(trust, &name, &identity, &working);
        let book = Book::open(FileBook::open(&folder.join(format!("{id}.book")))?, system.now())?;
        let config = PartnerConfig {
            trust: trust.clone(),
            name: name.clone(),
            identity: identity.public().clone(),
            certificate: certificate.clone(),
            key: SigningKey::from_secret(&working.to_secret()),
            known_keys: vec![],
        };
        let partner = Partner::open(config, book, system)?;
        let socket = TcpListener::bind("127.0.0.1:0").await.context("a source's socket")?;
        let endpoint = format!("http://{}", socket.local_addr()?);

        let kinds =
            [Kind::PartnerCreated, Kind::PartnerKeyPublished, Kind::PartnerVetted, Kind::PartnerApproved];
        let sending = kinds.map(|kind| notes.sending(kind));
        operator.create_partner(&name, (id, PHONE), identity.public()).await?;
        operator.publish_key(&name, certificate).await?;
        operator.set_endpoint(&name, &endpoint).await?;
        operator.vet(&name).await?;
        second.approve(&name).await?;
        for sending in sending {
            sending.done(None);
        }
        notes.named(Named::LivePartner(name));

        let server = SourceServer::new(partner.clone(), Shelf);
        tasks.spawn(async move {
            // It ends when the campaign does.
            let _ = server.serve(socket, None, std::future::pending()).await;
        });
        let (heard, taps) = (Arc::default(), Arc::default());
        tasks.spawn(listen(partner.clone(), (Arc::clone(&heard), Arc::clone(&taps)), notes.clone()));
        Ok(Self { partner, working, heard, taps })
    }

    pub(crate) fn name(&self) -> &PartnerName {
        self.partner.name()
    }
}

/// Hears the partner's events for good; that the loop ends is a fault, since only a fork or a broken book ends it.
async fn listen(partner: Partner, (heard, taps): (Heard, Taps), notes: Notes) {
    let name = partner.name().clone();
    let ended = partner
        .run(|noted| {
            match &noted.event {
                PartnerEvent::EraseDue { grant, .. } => {
                    let (partner, grant, notes) = (partner.clone(), grant.clone(), notes.clone());
                    tokio::spawn(async move {
                        // What can't be sent now is sent by the SDK's own upkeep.
                        if let Err(error) = partner.attest_erasure(&grant).await {
                            said_no(&notes, "an attestation", &error);
                        }
                    });
                }
                PartnerEvent::ChangeNotice { .. } => drop(heard.lock().insert(noted.index)),
                PartnerEvent::LocationTapped { tap, .. } => drop(taps.lock().insert(noted.index, *tap)),
                PartnerEvent::Failed { kind, error, .. } => {
                    notes.fault(format!("{name}: event {} ({kind:?}) failed a check: {error}", noted.index));
                }
                PartnerEvent::UnknownKeys { keys } => {
                    notes.fault(format!("{name}: unknown keys: {keys:?}"));
                }
                _ => {}
            }
            std::future::ready(())
        })
        .await;
    notes.fault(format!("{name}: its events ended: {ended}"));
}

/// The certificate of a partner's first working key.
pub(crate) fn certify(
    trust: &BrokerTrust,
    name: &PartnerName,
    identity: &SigningKey,
    working: &SigningKey,
) -> wire::Envelope {
    let now = System::real().now().as_millis();
    let certificate = wire::PartnerKey {
        broker: trust.origin.to_string(),
        partner: name.to_string(),
        public_key: Bytes::copy_from_slice(working.public().as_bytes()),
        sequence: 1,
        not_before_ms: now - DAY_MS,
        not_after_ms: now + 365 * DAY_MS,
        ..wire::PartnerKey::default()
    };
    envelope::sign::<PartnerKey>(&certificate, &[identity])
}

/// An offer, for so many uses, at most `rate` of them in a second or two.
pub(crate) fn draft(source: &PartnerName, uses: u32, rate: Option<(u32, Duration)>) -> OfferDraft {
    OfferDraft {
        source: source.clone(),
        purpose: PURPOSE.to_owned(),
        required_fields: FIELDS.map(str::to_owned).to_vec(),
        optional_fields: vec![OPTIONAL.to_owned()],
        duration: Duration::from_secs(24 * 3600),
        uses,
        rate,
        retention: Duration::from_secs(24 * 3600),
        texts: vec![OfferText {
            language: "en".to_owned(),
            reason: "To have a car there when you land.".to_owned(),
            benefit: "Your driver waits, free.".to_owned(),
            ends: "landing + 24 h".to_owned(),
        }],
        benefit_kind: BenefitKind::SpecialService,
        contact_phone: PHONE.to_owned(),
        law: "Consent, GDPR Art. 6(1)(a)".to_owned(),
        controller: "Hopp Rides Inc.".to_owned(),
        complaint_body: "The data protection authority".to_owned(),
    }
}

/// Whether an error leaves open what happened. All others say it.
pub(crate) fn leaves_open(error: &Error) -> bool {
    error.is_transient()
}
