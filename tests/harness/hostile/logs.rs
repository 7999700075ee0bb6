//! Two logs under one name, a log that goes back, and a log whose records break the rules.

use std::sync::Arc;

use bytes::Bytes;
use countersign_client::{
    Error, Monitor, System,
    auditor::{Finding, LogSource, Problem, SourceError, verify},
    checkpoint::HeadKeeper as _,
    customer::Report,
    error::LogForked,
};
use countersign_ledger::Ledger;
use countersign_proto::log::v1::{Kind, Record};
use countersign_tlog::{LogPath, SignedCheckpoint, VerifierKey};
use tokio::runtime::Handle;

use super::{Operator, operator::append};
use crate::world::{PATIENCE, World, bare_fetch, reason_of};

impl Operator {
    /// A second broker with the same keys, on a copy of the database as it is now.
    async fn twin(&self) -> World {
        World::at(Arc::new(self.store.recovered()), self.world.clock.clone()).await
    }

    /// What an auditor finds in the log.
    pub(super) async fn audited(&self) -> Vec<Finding> {
        let ledger = self.world.broker.ledger().clone();
        grow(&ledger, 0).await;
        let (files, log) = (Files(ledger, Handle::current()), self.world.trust.log_key.clone());
        let report = tokio::task::spawn_blocking(move || {
            let mut files = files;
            verify(&mut files, &log, &[], &mut |_| {}).expect("reads")
        });
        report.await.expect("no panic").findings
    }
}

/// Lets a log grow by records that no other log has, until its newest head is published.
async fn grow(ledger: &Ledger, records: usize) {
    for _ in 0..records {
        let record_id = Bytes::copy_from_slice(&System::real().draw::<16>());
        let record = Record { version: 1, kind: Kind::AuditorRead.into(), record_id, ..Record::default() };
        append(ledger, record).await;
    }
    let published = async {
        while ledger.published().size() < ledger.latest().size() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, published).await.expect("published");
}

/// Proves what waits until this side has halted, and gives what it found.
async fn halts(monitor: &Monitor) -> LogForked {
    let halted = async {
        loop {
            if let Err(Error::LogForked(fork)) = monitor.check() {
                return *fork;
            }
            let _ = monitor.settle().await;
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, halted).await.expect("a fork is found")
}

/// Both heads are the log's own, and can't both be true: whoever is shown them needs nothing else.
fn check_evidence(fork: &LogForked, log: &VerifierKey) {
    let head = |bytes: &Bytes| SignedCheckpoint::verify(bytes.clone(), log).expect("the log signed it");
    let (ours, theirs) = (head(&fork.ours), head(&fork.theirs));
    assert!(ours.size() != theirs.size() || ours.root() != theirs.root());
    let text = fork.to_string();
    assert!(text.contains("keep the book, and show both checkpoints to the others"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_partners_who_are_shown_two_logs_find_out_and_halt() {
    let operator = Operator::start().await;
    let (skylark, hopp) = (&operator.skylark.partner, &operator.hopp.partner);
    // From here on Hopp is shown another log than everybody else.
    let twin = operator.twin().await;
    operator.front.lead(hopp.name().as_str(), &twin.trust.address);
    let (real, other) = (operator.world.broker.ledger(), twin.broker.ledger());
    grow(real, 5).await;
    grow(other, 8).await;
    skylark.monitor().refresh().await.expect("a log like any other");
    hopp.monitor().refresh().await.expect("a log like any other");

    // The transfer stands in Hopp's log alone, and each side's proof is good. But Hopp's fetch names a head of the one
    // log, and Skylark's provision one of the other.
    operator.fetch().await.expect("either log is fine by itself");
    grow(real, 20).await;
    let log = &operator.world.trust.log_key;
    for partner in [skylark, hopp] {
        let fork = halts(partner.monitor()).await;
        check_evidence(&fork, log);
        assert_eq!(partner.book().fork(), Some(fork), "the book keeps both heads");
    }
    // Both have halted.
    let error = operator.fetch().await.expect_err("halted");
    assert!(matches!(error, Error::LogForked(_)), "{error}");
    let fetch = operator.signed(&bare_fetch(&operator).await);
    let refused = reason_of(operator.provide(operator.papers(&operator.grant, &fetch).await).await);
    assert_eq!(refused.reason, "LOG_FORKED");
    let error = skylark.invite("Mei").await.map(drop).expect_err("halted");
    assert!(matches!(error, Error::LogForked(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_who_meets_the_other_log_in_an_offer_halts_too() {
    let operator = Operator::start().await;
    let twin = operator.twin().await;
    operator.front.lead(operator.hopp.name().as_str(), &twin.trust.address);
    grow(operator.world.broker.ledger(), 5).await;
    grow(twin.broker.ledger(), 8).await;
    operator.hopp.partner.monitor().refresh().await.expect("a log like any other");
    // What Hopp publishes in its log the operator enters in the other, where the customer reads.
    let offer = operator.hopp.offer_trip(&operator.skylark, 3).await;
    let published = twin.broker.offer(&offer).await.expect("reads").expect("published").read.row;
    let publish = countersign_proto::v1::PublishOfferRequest { statement: published.statement };
    operator.front.lead(operator.hopp.name().as_str(), &operator.world_address());
    operator.hopp.partner.connection().offers().publish_offer(publish).await.expect("takes it");
    let lifetime = std::time::Duration::from_secs(600);
    let rows = [(offer, false)];
    let asked = operator.skylark.partner.request(&operator.at_skylark, &rows, lifetime).await.expect("asks");
    grow(operator.world.broker.ledger(), 20).await;
    let read = operator.mei.read_request(&asked).await;
    // The head in the offer is of another tree: found now, or as soon as its proof was asked for.
    assert!(matches!(read, Ok(_) | Err(Error::LogForked(_))), "{read:?}");
    let halted = async {
        loop {
            if let Err(Error::LogForked(fork)) = operator.mei.settle().await {
                return *fork;
            }
            tokio::task::yield_now().await;
        }
    };
    let fork = tokio::time::timeout(PATIENCE, halted).await.expect("a fork is found");
    check_evidence(&fork, &operator.world.trust.log_key);
    let error = operator.mei.read_request(&asked).await.map(drop).expect_err("halted");
    assert!(matches!(error, Error::LogForked(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_goes_back_and_another_way_halts_who_saw_it() {
    let operator = Operator::start().await;
    let before = operator.twin().await;
    operator.fetch().await.expect("flows");
    grow(operator.world.broker.ledger(), 3).await;
    operator.hopp.partner.monitor().refresh().await.expect("the log goes on");
    operator.mei.settle().await.expect("the log goes on");
    let seen = operator.hopp.partner.monitor().head().expect("proven").size();
    // An older copy of the database is put back: the transfer is gone. No proof leads from there to what was seen.
    for caller in [operator.hopp.name().to_string(), operator.mei.name().to_string()] {
        operator.front.lead(&caller, &before.trust.address);
    }
    let error = operator.hopp.partner.monitor().refresh().await.map(drop).expect_err("of another past");
    assert_eq!(super::blamed(&error), "the broker: checkpoint: consistency");
    while before.broker.ledger().latest().size() <= seen {
        grow(before.broker.ledger(), 1).await;
    }
    let error = operator.hopp.partner.monitor().refresh().await.map(drop).expect_err("another tree");
    let Error::LogForked(fork) = error else { panic!("{error}") };
    check_evidence(&fork, &operator.world.trust.log_key);
    let error = operator.mei.settle().await.expect_err("another tree");
    assert!(matches!(error, Error::LogForked(_)), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_theft_is_reported_to_a_log_with_two_faces_and_not_called_recorded() {
    let operator = Operator::start().await;
    let before = operator.twin().await;
    operator.fetch().await.expect("flows");
    grow(operator.world.broker.ledger(), 3).await;
    operator.mei.settle().await.expect("the log goes on");
    let mei = operator.mei.name().to_string();
    operator.front.lead(&mei, &before.trust.address);
    grow(before.broker.ledger(), 8).await;
    let halted = async { while !matches!(operator.mei.settle().await, Err(Error::LogForked(_))) {} };
    tokio::time::timeout(PATIENCE, halted).await.expect("another tree is found");
    operator.front.lead(&mei, &operator.world_address());

    let stolen = operator.mei.report_stolen(true).await.expect("goes out");
    assert!(matches!(stolen.report, Report::NotProven(Error::LogForked(_))), "{:?}", stolen.report);
    let [(grant, Error::LogForked(_))] = stolen.not_stopped.as_slice() else { panic!("not proven either") };
    assert_eq!((grant, stolen.stopped.len(), stolen.relink.len()), (&operator.grant, 0, 2));
    // It is there all the same, and so is her stop.
    assert_eq!(operator.world.count(Kind::CustomerStolen).await, 1);
    assert_eq!(operator.world.count(Kind::GrantWithdrawn).await, 1);
    let again = operator.mei.report_stolen(true).await.expect("goes out");
    assert!(matches!(again.report, Report::BrokersWord), "{:?}", again.report);
}

/// A log as an auditor reads it: from the broker's files.
struct Files(Ledger, Handle);

impl LogSource for Files {
    fn read(&mut self, path: LogPath) -> Result<Option<Bytes>, SourceError> {
        Ok(self.1.block_on(self.0.store().file(&path.to_string())).expect("reads"))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_auditor_finds_what_a_log_must_not_say() {
    let operator = Operator::start().await;
    operator.fetch().await.expect("flows");
    operator.mei.stop(&operator.grant, false).await.expect("recorded");
    // The operator enters a transfer after the stop, a resume after it, and a transfer under a grant that nobody gave.
    operator.claims(Kind::Transfer).await;
    operator.claims(Kind::GrantResumed).await;
    let ledger = operator.world.broker.ledger();
    let transfer = operator.world.records().await.into_iter().find(|record| record.kind() == Kind::Transfer);
    let made_up =
        Record { grant_tag: vec![5; 32].into(), grant_sequence: 1, ..transfer.expect("there is one") };
    append(ledger, made_up).await;
    let findings = operator.audited().await;
    let found = |wanted: &Problem| findings.iter().any(|finding| &finding.problem == wanted);
    assert!(found(&Problem::AfterStop), "{findings:?}");
    assert!(found(&Problem::ChangeAfterStop { kind: Kind::GrantResumed }), "{findings:?}");
    assert!(found(&Problem::NotApproved { kind: Kind::Transfer }), "{findings:?}");
}
