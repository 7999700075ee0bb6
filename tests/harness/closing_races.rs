//! Closing an account beside a tap, a repeated fetch, a narrowing and an approval, on many connections.
//!
//! What happened is read off the log: nothing is released after the record that says that the customer is erased, nothing
//! stands behind it but what a recipient says of its own deletion and that requests are over, and what is left on the disk
//! adds up.

use std::{sync::Arc, time::Duration};

use countersign_broker::{rows, sweeper};
use countersign_client::{Connection, customer::Closing};
use countersign_grants::{envelope, statement::LocationTap, time::Clock as _};
use countersign_proto::{
    log::v1::Kind,
    statement::v1 as wire,
    v1::{
        ApproveGrantRequestRequest, FetchDataRequest, FetchDataResponse, NarrowGrantRequest,
        TapLocationRequest,
    },
};
use countersign_store::Store;
use tokio::{sync::Semaphore, task::JoinSet};
use tonic::{Response, Status};

use crate::{
    journey::check_world,
    races::Jitter,
    restart::{close, open},
    taps::{FIELDS, grant_with_place},
    world::{
        Granted, ORIGIN, PATIENCE, World, bare_fetch, own_approval, own_connection, own_keys, own_narrowing,
        reason_of, sign_as,
    },
    worldcheck::{self, Keys},
};

/// Rounds of each race, each with a seed of its own.
const ROUNDS: u64 = 6;

/// Connections on which others go on: with two uses each fewer than a grant has, so that no round ends by that.
const CONNECTIONS: u64 = 5;

/// How long a closing waits for the sides before it looks anew at what stands.
const HEARING: Duration = Duration::from_secs(10);

/// What the others may be told: that it is over, that somebody was quicker, or to come again; never anything else.
const ENDS: [&str; 7] = [
    "GRANT_ENDED",
    "GRANT_UNKNOWN",
    "OVERLOADED",
    "SOURCE_REFUSED",
    "TAP_REQUIRED",
    "TOKEN_INVALID",
    "WRONG_STATE",
];

/// One of those who go on, on two connections of its own.
struct Racer {
    granted: Arc<Granted>,
    hers: Connection,
    hopps: Connection,
    jitter: Jitter,
    /// Where in the log what was released to it stands.
    released: Vec<u64>,
    went: Arc<Semaphore>,
}

impl Racer {
    /// The answer, or nothing where it was refused for a reason that there may be.
    fn allowed<T: std::fmt::Debug>(answer: Result<Response<T>, Status>) -> Option<T> {
        match answer {
            Ok(answer) => Some(answer.into_inner()),
            Err(status) => {
                let said = reason_of::<()>(Err(status));
                // Of a change by hand: another one has its number.
                let outrun = (said.reason.as_str(), said.check.as_str()) == ("STATEMENT_INVALID", "sequence");
                assert!(outrun || ENDS.contains(&said.reason.as_str()), "{said:?}");
                None
            }
        }
    }

    /// Sends this fetch as Hopp; whether it brought anything.
    async fn fetch(&mut self, fetch: &wire::Fetch) -> bool {
        let asked = FetchDataRequest { statement: Some(self.granted.signed(fetch)) };
        let Some(FetchDataResponse { receipt, .. }) =
            Self::allowed(self.hopps.transfers().fetch_data(asked).await)
        else {
            return false;
        };
        self.released.push(receipt.expect("set").index);
        self.went.add_permits(1);
        true
    }

    /// Another fetch like this one under the grant with these terms.
    async fn fetch_under(&mut self, terms: Option<&wire::Envelope>, like: &wire::Fetch) {
        let terms = envelope::digest(terms.expect("approved terms"));
        let request_id = self.granted.world.system().draw_uuid();
        self.fetch(&wire::Fetch { terms: terms.into(), request_id, ..like.clone() }).await;
    }
}

/// Closes the account, however often something came between; where in the log that stands.
async fn closes(granted: &Granted) -> u64 {
    let closing = async {
        loop {
            match granted.mei.close_account(HEARING, false).await {
                Ok(Closing::Closed { receipt }) => return receipt.index(),
                // Approved or narrowed since it was looked at what stands: the next try stops that.
                Ok(Closing::Waits { .. }) => {}
                Err(error) if error.reason() == Some("WRONG_STATE") => {}
                came => panic!("{came:?}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, closing).await.expect("it closes")
}

/// Races the closing of an account with others, round by round: `prepare` makes what one of them needs, for each, and
/// `go_on` is one of them.
async fn race<P, F>(prepare: impl AsyncFn(&Granted) -> P, go_on: impl Fn(Racer, P) -> F)
where
    F: Future<Output = Vec<u64>> + Send + 'static,
{
    let mut raced = 0;
    for seed in 0..ROUNDS {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().join("store");
        let store = open(&folder).await;
        let granted = Box::pin(World::on(Arc::clone(&store) as Arc<dyn Store>).await.with_grant()).await;
        let granted = Arc::new(granted);
        let (mut racing, went) = (JoinSet::new(), Arc::new(Semaphore::new(0)));
        let mut prepared = Vec::new();
        for _ in 0..CONNECTIONS {
            prepared.push(prepare(&granted).await);
        }
        for (place, prepared) in (0..).zip(prepared) {
            let (hers, hopps) = (own_connection(&granted), granted.connect());
            let (granted, went) = (Arc::clone(&granted), Arc::clone(&went));
            let (jitter, released) = (Jitter::of(seed, place), Vec::new());
            racing.spawn(go_on(Racer { granted, hers, hopps, jitter, released, went }, prepared));
        }
        // The closing comes when so many went: in the midst of the others, however busy the machine is.
        let so_many = u32::try_from(seed % 3).expect("small");
        let gone = tokio::time::timeout(PATIENCE, went.acquire_many(so_many)).await.expect("they go");
        drop(gone.expect("open"));
        Jitter::of(seed, 99).give_way(120).await;
        let erased = closes(&granted).await;
        let released: Vec<u64> = racing.join_all().await.into_iter().flatten().collect();
        assert!(
            released.iter().all(|index| *index < erased),
            "seed {seed}: {released:?}, erased at {erased}"
        );
        raced += released.len();
        let granted = Arc::into_inner(granted).expect("all have ended");
        let keys = Keys {
            log: granted.world.trust.log_key.clone(),
            broker: Some(countersign_broker::private::Kek::new([4; 32])),
        };
        judge(seed, granted, erased).await;
        close(store).await;
        worldcheck::disk(&folder, &keys).await.unwrap_or_else(|found| panic!("seed {seed}: {found}"));
    }
    // Else this was no race.
    assert!(raced as u64 >= (0..ROUNDS).map(|seed| seed % 3).sum::<u64>(), "{raced} released");
}

/// What must hold once the account is closed and nobody goes on.
async fn judge(seed: u64, granted: Granted, erased: u64) {
    let (world, hopp) = (&granted.world, &granted.hopp.partner);
    sweeper::erase(&world.broker).await.expect("sweeps");
    let row = world.broker.load(rows::customer(granted.mei.name())).await.expect("reads");
    assert!(row.is_none(), "seed {seed}: her row stands");
    // What was ordered to be deleted is owed, and said to be done.
    let attested = async {
        while world.count(Kind::ErasureAttested).await < world.count(Kind::ErasureOrdered).await {
            for due in hopp.erasures_due() {
                hopp.attest_erasure(due.name()).await.expect("recorded");
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, attested).await.expect("every order is met");
    let records = world.records().await;
    check_world(&records);
    let behind = &records[usize::try_from(erased).expect("small")..];
    assert_eq!(behind[0].kind(), Kind::CustomerErased);
    // Requests that waited are refused in nobody's name.
    for record in &behind[1..] {
        let attested = record.kind() == Kind::ErasureAttested;
        let refused = record.kind() == Kind::RequestRefused && record.grant_tag.is_empty();
        assert!(attested || refused, "seed {seed}: behind the erasure: {record:?}");
    }
    let approved = records.iter().filter(|record| record.kind() == Kind::GrantApproved);
    for approval in approved {
        let ends = [Kind::GrantWithdrawn, Kind::GrantSuperseded];
        let of = |record: &&_| {
            let record: &countersign_proto::log::v1::Record = record;
            record.grant_tag == approval.grant_tag && ends.contains(&record.kind())
        };
        assert_eq!(records.iter().filter(of).count(), 1, "seed {seed}: each grant ended once, and before it");
    }
    granted.world.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_place_is_given_away_by_a_tap_beside_the_closing_of_the_account() {
    let prepare = async |granted: &Granted| {
        let grant = grant_with_place(granted).await;
        let now = granted.world.clock.now().as_millis();
        let tap = wire::LocationTap {
            broker: ORIGIN.to_owned(),
            terms: grant.digest().into(),
            fields: vec![FIELDS[1].to_owned()],
            request_id: String::new(),
            time_ms: now,
            expire_time_ms: now + 120_000,
        };
        let fields = FIELDS.map(str::to_owned).to_vec();
        let fetch = wire::Fetch { terms: grant.digest().into(), fields, ..bare_fetch(granted).await };
        (grant, tap, fetch)
    };
    Box::pin(race(prepare, |mut racer, (grant, tap, fetch)| async move {
        for _ in 0..2 {
            racer.jitter.give_way(40).await;
            let system = racer.granted.world.system();
            let tap = wire::LocationTap { request_id: system.draw_uuid(), ..tap.clone() };
            let (source, recipient) = own_keys(&racer.granted);
            let asked = TapLocationRequest {
                name: grant.to_string(),
                source_tap: Some(sign_as::<LocationTap>(&source, &tap)),
                recipient_tap: Some(sign_as::<LocationTap>(&recipient, &tap)),
            };
            let digest = envelope::digest(asked.source_tap.as_ref().expect("signed"));
            if Racer::allowed(racer.hers.transfers().tap_location(asked).await).is_some() {
                racer.jitter.give_way(20).await;
                let (request_id, tap) = (system.draw_uuid(), digest.into());
                racer.fetch(&wire::Fetch { request_id, tap, ..fetch.clone() }).await;
            }
        }
        racer.released
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_repeat_of_a_fetch_brings_anything_beside_or_behind_the_closing_of_the_account() {
    Box::pin(race(bare_fetch, |mut racer, fetch| async move {
        // The same bytes again and again, until they bring nothing any more.
        while racer.fetch(&fetch).await {
            racer.jitter.give_way(20).await;
        }
        assert!(!racer.fetch(&fetch).await, "it is over for good");
        racer.released
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_narrowed_grant_outlives_the_closing_of_the_account() {
    let prepare = async |granted: &Granted| -> (NarrowGrantRequest, wire::Fetch) {
        let narrowing = own_narrowing(granted, |_| {}, |_| {}).await;
        (narrowing.request(granted), bare_fetch(granted).await)
    };
    Box::pin(race(prepare, |mut racer, (narrowing, fetch)| async move {
        racer.fetch(&fetch).await;
        racer.jitter.give_way(40).await;
        let terms = narrowing.recipient_terms.clone();
        // One of them narrows what all had in view.
        if Racer::allowed(racer.hers.grants().narrow_grant(narrowing).await).is_some() {
            racer.fetch_under(terms.as_ref(), &fetch).await;
        }
        racer.released
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_grant_is_approved_behind_the_closing_of_the_account() {
    let prepare = async |granted: &Granted| -> (ApproveGrantRequestRequest, wire::Fetch) {
        let read = granted.put().await;
        let offer = &read.rows()[0].offer;
        let approval = own_approval(granted, read.name(), offer.statement(), offer.digest());
        (approval, bare_fetch(granted).await)
    };
    Box::pin(race(prepare, |mut racer, (approval, fetch)| async move {
        racer.fetch(&fetch).await;
        racer.jitter.give_way(40).await;
        let terms = approval.rows[0].recipient_terms.clone();
        if Racer::allowed(racer.hers.grants().approve_grant_request(approval).await).is_some() {
            racer.fetch_under(terms.as_ref(), &fetch).await;
        }
        racer.released
    }))
    .await;
}
