//! A daemon that serves, and whose operator has what was erased leave the disk now.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use countersign_client::{
    BrokerTrust, Connection, System,
    auditor::{FolderLog, verify},
    customer::{AuthenticatorSecret, Closing, Customer, CustomerBook, Wallet},
    keyfile,
    operator::Operator,
};
use countersign_grants::id::{OperatorName, Origin, Principal};
use countersign_proto::{log::v1::Kind, v1::ScrubStoreRequest};
use countersignd::{
    config,
    folder::DataFolder,
    init::{Plan, init},
    real::SystemEntropy,
    serve,
};
use tokio_util::sync::CancellationToken;

use crate::{
    closing::holding,
    world::{MEI, ORIGIN, PATIENCE, reason_of},
};

/// As long as what was removed waits for a scrub that nobody ordered.
const DAY: Duration = Duration::from_secs(24 * 3600);

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_has_what_was_erased_leave_the_disk_while_the_daemon_serves() {
    let place = tempfile::tempdir().expect("a folder");
    let (data, listen) = (place.path().join("data"), SocketAddr::from(([127, 0, 0, 1], 0)));
    let origin = Origin::parse(ORIGIN).expect("an origin");
    let plan = Plan { data, origin, listen, admin: listen, tls: None, ca_pem: None, address: None };
    init(&plan, &SystemEntropy).expect("makes it");
    let folder = DataFolder::at(plan.data);
    let config = config::read(&folder.configuration(), []).expect("a configuration");
    assert_eq!(config.erasure.scrub_after(), DAY, "as it is unless somebody sets it");
    let ready = serve::prepare(&config).await.expect("opens");
    let mut trust = BrokerTrust::read(&folder.trust()).expect("reads");
    trust.address = ready.listeners()[0].url();
    let stop = CancellationToken::new();
    let serving = tokio::spawn(ready.run(stop.clone()));

    let wallet = Wallet::from_secret(&MEI);
    let (name, key) = (wallet.customer().clone(), wallet.call_key().public().clone());
    let mei =
        Customer::open(trust.clone(), wallet, CustomerBook::in_memory(), System::real()).expect("opens");
    mei.register().await.expect("registers");
    let passkey = AuthenticatorSecret::from_secret(&[7; 32]);
    mei.add_authenticator(&passkey, "telephone").await.expect("recorded");
    let markers = [
        ("her name", name.as_str().as_bytes().to_vec()),
        ("her call key", key.as_bytes().to_vec()),
        ("her authenticator", passkey.id().as_bytes().to_vec()),
    ];
    let closing = mei.close_account(PATIENCE, false).await.expect("closes");
    assert!(matches!(closing, Closing::Closed { .. }), "{closing:?}");
    for (what, marker) in &markers {
        assert!(!holding(folder.path(), marker).is_empty(), "{what} goes with time, and not at once");
    }

    // It is no customer's to order.
    let other = Wallet::draw(&System::real());
    let principal = Principal::Customer(other.customer().clone());
    let connection =
        Connection::open(&trust, principal, other.call_key(), System::real().clock).expect("an address");
    let stranger =
        Customer::open(trust.clone(), other, CustomerBook::in_memory(), System::real()).expect("opens");
    stranger.register().await.expect("registers");
    let refused = connection.operators().scrub_store(ScrubStoreRequest::default()).await;
    assert_eq!(reason_of(refused).reason, "CALLER_NOT_ALLOWED");

    let operator = OperatorName::of_id("root").expect("an id");
    let key = keyfile::read(&folder.operator_key()).expect("reads");
    let operator = Operator::open(&trust, operator, &key, System::real()).expect("an address");
    operator.scrub().await.expect("scrubs");
    for (what, marker) in &markers {
        assert_eq!(holding(folder.path(), marker), Vec::<PathBuf>::new(), "{what}");
    }
    operator.scrub().await.expect("there is nothing left to do");
    assert!(stranger.links().await.expect("it serves as before").is_empty());

    stop.cancel();
    serving.await.expect("no panic").expect("it was told to stop");
    let mut log = FolderLog::open(&folder.store().join("log")).expect("a folder");
    let report = verify(&mut log, &trust.log_key, &[], &mut |_| ()).expect("reads");
    assert!(report.is_sound(), "{:?}", report.findings);
    assert_eq!([Kind::CustomerErased, Kind::ScrubOrdered].map(|kind| report.count(kind)), [1, 1]);
}
