//! Races: many callers at the last use, at a stop, at the end of a request. What happened is read off the log.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use countersign_client::{Connection, PartnerEvent, customer::Choice};
use countersign_grants::{
    digest::Digest,
    envelope,
    id::{GrantName, Principal, RequestName},
    key::SigningKey,
    statement::Provision,
};
use countersign_proto::{
    log::v1::{Kind, Result as Went},
    statement::v1::{self as wire, SealedField, SealedFields},
    v1::{
        DeliverReceiptsRequest, DeliverReceiptsResponse, FetchDataRequest, GetGrantRequestRequest,
        ProvideDataRequest, ProvideDataResponse, ProvidePreviewRequest, ProvidePreviewResponse,
        RefuseGrantRequestRequest,
        grant_request::State,
        source_service_server::{SourceService, SourceServiceServer},
    },
};
use prost::Message as _;
use tokio::{net::TcpListener, sync::Semaphore, task::JoinSet};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

use crate::{
    journey::check_world,
    world::{Granted, PATIENCE, bare_fetch, own_connection, reason_of},
};

/// Fetches at once for one use.
const FETCHES: usize = 1_000;

/// Connections that they come on.
const CONNECTIONS: usize = 20;

/// Rounds of a stop against fetches, each with a seed of its own.
const STOPS: u64 = 25;

/// Rounds of each pair of ends of a request.
const ENDS: u64 = 12;

/// How long a request waits: less than a token lives, so that no round ends by that.
const REQUEST_LIFE: Duration = Duration::from_secs(60);

/// Numbers that follow from a seed, so that a round that failed can be had again.
pub(crate) struct Jitter(u64);

impl Jitter {
    /// Gives way to others, up to `most` times.
    pub(crate) async fn give_way(&mut self, most: u64) {
        // xorshift64 (Marsaglia 2003).
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        for _ in 0..self.0 % most {
            tokio::task::yield_now().await;
        }
    }

    pub(crate) fn of(seed: u64, place: u64) -> Self {
        Self((seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (place + 1))
    }
}

/// A source that keeps no book: it answers whatever it is asked, as often as it is asked.
struct Generous(SigningKey, String);

#[tonic::async_trait]
impl SourceService for Generous {
    async fn provide_data(
        &self,
        request: Request<ProvideDataRequest>,
    ) -> Result<Response<ProvideDataResponse>, Status> {
        let fetch = request.into_inner().fetch.expect("there is one");
        let asked = wire::Fetch::decode(fetch.payload.clone()).expect("a fetch");
        let field = |field| SealedField { field, ciphertext: vec![5; 80].into() };
        let sealed = SealedFields {
            encapsulated_key: vec![6; 32].into(),
            fields: asked.fields.into_iter().map(field).collect(),
        };
        let sealed_fields = bytes::Bytes::from(sealed.encode_to_vec());
        let provision = wire::Provision {
            broker: asked.broker,
            source: self.1.clone(),
            fetch: envelope::digest(&fetch).into(),
            sealed: Digest::of(&sealed_fields).into(),
            time_ms: asked.time_ms,
            checkpoint: asked.checkpoint,
            ..wire::Provision::default()
        };
        let provision = Some(envelope::sign::<Provision>(&provision, &[&self.0]));
        Ok(Response::new(ProvideDataResponse { sealed_fields, provision }))
    }

    async fn provide_preview(
        &self,
        _: Request<ProvidePreviewRequest>,
    ) -> Result<Response<ProvidePreviewResponse>, Status> {
        Err(Status::unimplemented(format!("{} shows nothing", self.1)))
    }

    async fn deliver_receipts(
        &self,
        _: Request<DeliverReceiptsRequest>,
    ) -> Result<Response<DeliverReceiptsResponse>, Status> {
        Ok(Response::new(DeliverReceiptsResponse {}))
    }
}

impl Granted {
    /// Puts a source in Skylark's place that counts nothing.
    async fn be_generous(&self) {
        let key = SigningKey::from_secret(&self.skylark.working.to_secret());
        let service = SourceServiceServer::new(Generous(key, self.skylark.name().to_string()));
        let socket = TcpListener::bind("127.0.0.1:0").await.expect("binds");
        let endpoint = format!("http://{}", socket.local_addr().expect("bound"));
        let incoming = TcpListenerStream::new(socket);
        tokio::spawn(Server::builder().add_service(service).serve_with_incoming(incoming));
        self.endpoint(endpoint).await;
    }

    /// One more connection of Hopp's.
    pub(crate) fn connect(&self) -> Connection {
        let principal = Principal::Partner(self.hopp.name().clone());
        let clock = Arc::new(self.world.clock.clone());
        Connection::open(&self.world.trust, principal, &self.hopp.working, clock).expect("an address")
    }

    /// A grant with so many uses.
    pub(crate) async fn approve_uses(&self, uses: u32) -> GrantName {
        let request = self.ask(uses).await;
        let read = self.mei.read_request(&request).await.expect("verifies");
        let approved = self.mei.approve(&read, &Choice::required("en")).await.expect("approves");
        let grant = approved[0].grant.clone();
        self.skylark.until_in_book(&grant).await;
        grant
    }

    async fn ask(&self, uses: u32) -> RequestName {
        let offer = self.hopp.offer_trip(&self.skylark, uses).await;
        let (rows, lifetime) = ([(offer, false)], REQUEST_LIFE);
        self.skylark.partner.request(&self.at_skylark, &rows, lifetime).await.expect("requests")
    }

    /// A thousand fetches under a grant with one use, on twenty connections; how each came out, by reason.
    async fn storm(&self) -> BTreeMap<String, usize> {
        let grant = self.approve_uses(1).await;
        let like = wire::Fetch { terms: grant.digest().into(), ..bare_fetch(self).await };
        let mut storm = JoinSet::new();
        let connections: Vec<_> = (0..CONNECTIONS).map(|_| self.connect()).collect();
        for at in 0..FETCHES {
            let fetch = wire::Fetch { request_id: self.world.system().draw_uuid(), ..like.clone() };
            let statement = Some(self.signed(&fetch));
            let mut transfers = connections[at % CONNECTIONS].transfers();
            storm.spawn(async move {
                // A partner has 256 calls in progress at most, and a busy source takes its time: who is turned away comes
                // again, with the same fetch.
                loop {
                    let asked = FetchDataRequest { statement: statement.clone() };
                    let reason = match transfers.fetch_data(asked).await {
                        Ok(_) => return "released".to_owned(),
                        Err(status) => reason_of::<()>(Err(status)).reason,
                    };
                    if !matches!(reason.as_str(), "QUOTA_EXCEEDED" | "OVERLOADED" | "SOURCE_UNAVAILABLE") {
                        return reason;
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            });
        }
        let mut ends = BTreeMap::new();
        while let Some(end) = storm.join_next().await {
            *ends.entry(end.expect("no panic")).or_default() += 1;
        }
        let records = self.world.records().await;
        check_world(&records);
        let released = |record: &&countersign_proto::log::v1::Record| {
            record.kind() == Kind::Transfer && record.result() == Went::Released
        };
        assert_eq!(records.iter().filter(released).count(), 1, "{ends:?}");
        assert_eq!(ends.get("released"), Some(&1), "{ends:?}");
        assert_eq!(ends.values().sum::<usize>(), FETCHES);
        let stored = self.world.broker.grant(&grant).await.expect("reads").expect("stands");
        assert_eq!(stored.spent.uses, 1);
        ends
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_thousand_fetches_one_has_the_last_use() {
    let granted = Granted::start().await;
    let ends = granted.storm().await;
    // A source that keeps a book gives once; all others are refused there, or by the broker's count.
    let reasons = ["released", "SOURCE_REFUSED", "FREQUENCY_EXCEEDED"];
    assert!(ends.keys().all(|reason| reasons.contains(&reason.as_str())), "{ends:?}");
    let served: u32 = granted.skylark.partner.book().grants().iter().map(|row| row.spent().uses).sum();
    assert_eq!(served, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_thousand_fetches_one_has_the_last_use_though_the_source_gives_to_all() {
    let granted = Granted::start().await;
    granted.be_generous().await;
    let ends = granted.storm().await;
    let reasons = ["released", "FREQUENCY_EXCEEDED"];
    assert!(ends.keys().all(|reason| reasons.contains(&reason.as_str())), "{ends:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_transfer_follows_a_stop_on_any_connection() {
    let granted = Arc::new(Granted::start().await);
    let connections: Arc<Vec<_>> = Arc::new((0..6).map(|_| granted.connect()).collect());
    let mut released = HashMap::new();
    for seed in 0..STOPS {
        // One use more than are fetched, so that the stop meets a grant that stands.
        let grant = granted.approve_uses(13).await;
        let like = wire::Fetch { terms: grant.digest().into(), ..bare_fetch(&granted).await };
        let mut racing = JoinSet::new();
        let went = Arc::new(Semaphore::new(0));
        for at in 0..connections.len() {
            let (granted, connections, like) = (Arc::clone(&granted), Arc::clone(&connections), like.clone());
            let went = Arc::clone(&went);
            racing.spawn(async move {
                let (mut jitter, mut indexes) = (Jitter::of(seed, at as u64), Vec::new());
                for _ in 0..2 {
                    jitter.give_way(40).await;
                    let request_id = granted.world.system().draw_uuid();
                    let statement = Some(granted.signed(&wire::Fetch { request_id, ..like.clone() }));
                    let asked = FetchDataRequest { statement };
                    match connections[at].transfers().fetch_data(asked).await {
                        Ok(answer) => {
                            indexes.push(answer.into_inner().receipt.expect("set").index);
                            went.add_permits(1);
                        }
                        // The broker knows of the stop, or already the source: never anything else.
                        Err(status) => {
                            let reason = reason_of::<()>(Err(status)).reason;
                            assert!(
                                matches!(reason.as_str(), "GRANT_ENDED" | "SOURCE_REFUSED"),
                                "{seed}: {reason}"
                            );
                        }
                    }
                }
                indexes
            });
        }
        // The stop comes when so many went: in the midst of the others, however busy the machine is.
        let so_many = u32::try_from(seed % 9).expect("small");
        let gone = tokio::time::timeout(PATIENCE, went.acquire_many(so_many)).await.expect("they go");
        drop(gone.expect("open"));
        Jitter::of(seed, 99).give_way(120).await;
        let stopped = granted.mei.stop(&grant, false).await.expect("recorded").receipt().index();
        let mut indexes = Vec::new();
        while let Some(done) = racing.join_next().await {
            indexes.extend(done.expect("no panic"));
        }
        assert!(
            indexes.iter().all(|index| *index < stopped),
            "seed {seed}: {indexes:?}, stopped at {stopped}"
        );
        released.insert(
            granted.skylark.partner.book().grant(&grant).expect("stays").terms().log_tag,
            indexes.len(),
        );
    }
    // The log says the same as those who got an answer.
    let records = granted.world.records().await;
    check_world(&records);
    for (tag, count) in &released {
        let of_grant = records.iter().filter(|one| one.grant_tag == tag[..] && one.kind() == Kind::Transfer);
        assert_eq!(of_grant.count(), *count);
    }
    // Else this was no race.
    let (all, least) = (released.values().sum::<usize>(), (0..STOPS).map(|seed| seed % 9).sum::<u64>());
    assert!(all as u64 >= least, "{all} released of at least {least}");
}

/// How a request ended, by the log and by all who took part.
async fn ended(granted: &Granted, request: &RequestName, before: usize) -> Kind {
    let ends = [Kind::GrantApproved, Kind::RequestRefused, Kind::RequestCancelled, Kind::RequestLapsed];
    let found = async {
        loop {
            let records = granted.world.records().await;
            let found: Vec<_> = records[before..]
                .iter()
                .map(countersign_proto::log::v1::Record::kind)
                .filter(|kind| ends.contains(kind))
                .collect();
            if !found.is_empty() {
                return found;
            }
            tokio::task::yield_now().await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, found).await.expect("it ends");
    assert_eq!(found.len(), 1, "one end: {found:?}");
    let heard = granted
        .skylark
        .hears(|event| match event {
            PartnerEvent::Approved { request: Some(named), .. } => Some((Kind::GrantApproved, named)),
            PartnerEvent::Refused { request } => Some((Kind::RequestRefused, request)),
            PartnerEvent::Cancelled { request } => Some((Kind::RequestCancelled, request)),
            PartnerEvent::Lapsed { request } => Some((Kind::RequestLapsed, request)),
            _ => None,
        })
        .await;
    assert_eq!(heard, (found[0], request.clone()), "the requester hears the same");
    let state = match found[0] {
        Kind::GrantApproved => State::Approved,
        Kind::RequestRefused => State::Refused,
        Kind::RequestCancelled => State::Cancelled,
        _ => State::Lapsed,
    };
    let asked = || GetGrantRequestRequest { name: request.to_string() };
    let own = own_connection(granted).grants().get_grant_request(asked()).await.expect("answers");
    assert_eq!(own.into_inner().state(), state, "the customer reads the same");
    let theirs = granted.skylark.partner.connection().grants().get_grant_request(asked()).await;
    assert_eq!(theirs.expect("answers").into_inner().state(), state, "the requester reads the same");
    found[0]
}

/// Races an approval with another end, round by round.
async fn race(other: impl AsyncFn(&Granted, &RequestName)) -> BTreeMap<i32, u64> {
    let granted = Granted::start().await;
    let mut ends = BTreeMap::new();
    for seed in 0..ENDS {
        let request = granted.ask(3).await;
        let read = granted.mei.read_request(&request).await.expect("verifies");
        let before = granted.world.records().await.len();
        let grants = granted.mei.book().grants().iter().filter(|row| !row.refused).count();
        let approving = async {
            Jitter::of(seed, 1).give_way(60).await;
            granted.mei.approve(&read, &Choice::required("en")).await
        };
        let ending = async {
            Jitter::of(seed, 2).give_way(60).await;
            other(&granted, &request).await;
        };
        let (approved, ()) = tokio::join!(approving, ending);
        let end = ended(&granted, &request, before).await;
        assert_eq!(approved.is_ok(), end == Kind::GrantApproved, "seed {seed}: {approved:?}");
        if let Err(error) = &approved {
            assert_eq!(error.reason(), Some("WRONG_STATE"), "seed {seed}: {error}");
        }
        let now = granted.mei.book().grants().iter().filter(|row| !row.refused).count();
        assert_eq!(now - grants, usize::from(approved.is_ok()), "seed {seed}: the customer's book");
        // Two refusals would silence the requester.
        granted.mei.end_silence(granted.skylark.name()).await.expect("may ask again");
        if let Ok(approved) = approved {
            granted.hopp.until_in_book(&approved[0].grant).await;
        }
        *ends.entry(end.into()).or_default() += 1;
    }
    check_world(&granted.world.records().await);
    assert_eq!(ends.values().sum::<u64>(), ENDS);
    ends
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_and_a_refusal_have_one_winner() {
    Box::pin(race(async |granted, request| {
        let refuse = RefuseGrantRequestRequest { name: request.to_string() };
        let refused = own_connection(granted).grants().refuse_grant_request(refuse).await;
        if let Err(status) = refused {
            assert_eq!(reason_of::<()>(Err(status)).reason, "WRONG_STATE");
        }
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_and_a_taking_back_have_one_winner() {
    Box::pin(race(async |granted, request| {
        if let Err(error) = granted.skylark.partner.cancel_request(request).await {
            assert_eq!(error.reason(), Some("WRONG_STATE"), "{error}");
        }
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_and_a_lapse_have_one_winner() {
    Box::pin(race(async |granted, _| granted.world.clock.advance(REQUEST_LIFE))).await;
}
