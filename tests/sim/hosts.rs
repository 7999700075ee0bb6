//! The broker, its operator and its auditor.

use std::{sync::Arc, time::Duration};

use countersign_broker::{
    Broker, BrokerParts, Settings,
    private::Kek,
    stack::Quotas,
    surface::{self, Listener, Options, Surface},
};
use countersign_client::{
    Error, KeyCertificate,
    auditor::{Auditor, Filter, MemoryHeads},
    operator::Operator,
};
use countersign_grants::{catalogue, id::Principal, token::Issuer};
use countersign_ledger::Ledger;
use countersign_proto::log::v1::Kind;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{
    net::{Port, dial, source_address},
    plan::{AUDITOR_HOST, OPERATOR_HOST},
    stops,
    world::{
        Phase, World, auditor, call_key, key_of, log_key, operator, partner_name, second_operator, secret,
    },
};

/// Calls a second for everybody: the quotas count by the machine's clock, which here stands almost still.
const NO_QUOTA: std::num::NonZeroU32 = std::num::NonZeroU32::new(1_000_000_000).expect("is not zero");

/// Whose key the second operator has; it calls from the first one's host.
const SECOND_OPERATOR: &str = "second operator";

/// How long whoever fails waits before the next try.
pub(crate) const PAUSE: Duration = Duration::from_millis(700);

/// One life of the broker. It ends when its log takes nothing any more.
pub(crate) async fn broker(world: Arc<World>) -> turmoil::Result {
    let system = world.system(crate::net::BROKER_HOST);
    let store = world.storage.reopen();
    let now = Arc::clone(&system.clock);
    let ledger = Ledger::open(store, log_key(world.seed), Arc::new(move || now.now().as_millis())).await?;
    let name = Principal::Broker(world.trust.origin.clone());
    let broker = Broker::open(BrokerParts {
        ledger,
        clock: system.clock,
        entropy: system.entropy,
        issuer: Issuer::new(name, &call_key(world.seed)),
        kek: Kek::new(secret(world.seed, "kek")),
        catalogue: catalogue::SHIPPED.into(),
        older_catalogues: vec![],
        operators: vec![
            (operator(), key_of(world.seed, OPERATOR_HOST).public().clone()),
            (second_operator(), key_of(world.seed, SECOND_OPERATOR).public().clone()),
        ],
        settings: Settings { reflection: false, dial, ..Settings::default() },
    })
    .await?;
    let port = Port::of_broker().await?;
    let address = "127.0.0.1:7000".parse().expect("an address");
    let listener = Listener::over(port, address, &[Surface::Api])?;
    let quotas = Quotas {
        partner: NO_QUOTA,
        customer: NO_QUOTA,
        auditor: NO_QUOTA,
        operator: NO_QUOTA,
        newcomers: NO_QUOTA,
    };
    let options = Options { quotas, ..Options::default() };
    let ended = surface::serve(broker, vec![listener], options, CancellationToken::new()).await;
    world.note(crate::net::BROKER_HOST, &format!("ended: {ended:?}"));
    Ok(())
}

/// The operator enters everybody, and then does as it is ordered.
pub(crate) async fn operate(world: Arc<World>) -> turmoil::Result {
    let system = world.system(OPERATOR_HOST);
    let key = key_of(world.seed, OPERATOR_HOST);
    let connection = world.connection(Principal::Operator(operator()), &key, &system);
    let operator = Operator::open_on(system.clone(), connection);
    let second = key_of(world.seed, SECOND_OPERATOR);
    let second = world.connection(Principal::Operator(second_operator()), &second, &system);
    let second = Operator::open_on(system.clone(), second);
    for partner in 0..world.plan.partners {
        let (name, identity) = (partner_name(partner), key_of(world.seed, &format!("identity {partner}")));
        done(&world, "create partner", Kind::PartnerCreated, async || {
            operator.create_partner(&name, (name.id(), "+1 212 555 0100"), identity.public()).await
        })
        .await;
        let certificate = certificate(&world, partner);
        done(&world, "publish key", Kind::PartnerKeyPublished, async || {
            operator.publish_key(&name, certificate.statement().clone()).await
        })
        .await;
        done(&world, "set endpoint", Kind::SourceEndpointSet, async || {
            operator.set_endpoint(&name, &source_address(partner)).await
        })
        .await;
        done(&world, "vet", Kind::PartnerVetted, async || operator.vet(&name).await).await;
        done(&world, "approve", Kind::PartnerApproved, async || second.approve(&name).await).await;
    }
    let auditors_key = key_of(world.seed, AUDITOR_HOST);
    done(&world, "create auditor", Kind::AuditorCreated, async || {
        operator.create_auditor(&auditor(), "An auditor", auditors_key.public()).await
    })
    .await;
    world.board.lock().phase = Phase::Works;
    let mut random = world.random(OPERATOR_HOST);
    loop {
        sleep(PAUSE / 2).await;
        let Some((partner, suspend)) = world.board.lock().orders.first().copied() else {
            stops::operate(&world, &operator, &mut random).await;
            continue;
        };
        let name = partner_name(partner);
        let (what, kind, came) = if suspend {
            let came = operator.suspend(&name, "an inquiry").await;
            ("suspend", Kind::PartnerSuspended, came)
        } else {
            ("resume", Kind::PartnerResumed, operator.resume(&name).await)
        };
        world.outcome(OPERATOR_HOST, &format!("{what} {name}"), &came, |_| "ok".to_owned());
        match came {
            Ok(_) => world.checks.lock().promised(kind),
            // It was done, and the answer was lost.
            Err(Error::Refused(refused)) if refused.reason == "WRONG_STATE" => {}
            Err(_) => continue,
        }
        let mut board = world.board.lock();
        board.suspended[partner] = suspend;
        board.orders.remove(0);
    }
}

/// Tries until it is done.
async fn done<T>(world: &World, what: &str, kind: Kind, call: impl AsyncFn() -> Result<T, Error>) {
    loop {
        let came = call().await;
        world.outcome(OPERATOR_HOST, what, &came, |_| "ok".to_owned());
        match came {
            Ok(_) => return world.checks.lock().promised(kind),
            Err(_) => sleep(PAUSE).await,
        }
    }
}

/// The identity key's statement for a partner's working key.
pub(crate) fn certificate(world: &World, partner: usize) -> KeyCertificate {
    let identity = key_of(world.seed, &format!("identity {partner}"));
    let working = key_of(world.seed, &format!("working {partner}"));
    // Ten days before and after the beginning: no skew leads out of it.
    let begins = countersign_grants::time::Timestamp::from_millis(1_789_136_000_000);
    let times = (begins, begins.plus(Duration::from_secs(20 * 86_400)));
    let name = partner_name(partner);
    KeyCertificate::certify(&identity, &world.trust.origin, &name, working.public(), times, None)
        .expect("is of this partner")
}

/// The auditor reads entries, with their proofs, for as long as there is work.
pub(crate) async fn audit(world: Arc<World>) -> turmoil::Result {
    let system = world.system(AUDITOR_HOST);
    let mut random = world.random(AUDITOR_HOST);
    let key = key_of(world.seed, AUDITOR_HOST);
    let connection = world.connection(Principal::Auditor(auditor()), &key, &system);
    let heads = Arc::new(MemoryHeads::default());
    let auditor = Auditor::open_on(&world.trust, heads, &system, connection).expect("has no head yet");
    loop {
        sleep(Duration::from_millis(random.between(1_000, 5_000))).await;
        if world.phase() != Phase::Works {
            continue;
        }
        let size = world.checks.lock().records();
        let index = random.below(size.max(1));
        let filter = Filter { from: Some(index), ..Filter::default() };
        let listed = auditor.list(&filter, 20, None).await;
        world.outcome(AUDITOR_HOST, "list", &listed, |page| format!("{} entries", page.entries.len()));
        let entry = auditor.entry(index).await;
        world.outcome(AUDITOR_HOST, "entry", &entry, |leaf| format!("record {}", leaf.index()));
        if let Ok(leaf) = &entry {
            world.checks.lock().acknowledged(AUDITOR_HOST, &world.storage.current(), leaf);
        }
        let settled = auditor.settle().await;
        world.outcome(AUDITOR_HOST, "settle", &settled, |()| "ok".to_owned());
    }
}
