//! A log that goes on, one that forks, and one that withholds.

use std::sync::atomic::Ordering;

use super::*;
use crate::{book::Book, fixtures::World};

fn monitor(world: &World, book: &Book) -> Monitor {
    let keeper = Arc::new(book.clone());
    let log_key = world.log.key().verifier().clone();
    Monitor::open(log_key, Arc::clone(&world.log) as _, keeper, world.system().clock).expect("opens")
}

fn take(monitor: &Monitor, checkpoint: &SignedCheckpoint) -> Result<SignedCheckpoint, Error> {
    monitor.take(checkpoint.as_bytes(), Met::InStatement, &Party::Broker)
}

#[tokio::test]
async fn heads_are_proven_in_either_direction_and_the_newest_is_kept() {
    let (world, book) = (World::new(), Book::in_memory());
    let monitor = monitor(&world, &book);
    let older = world.log.checkpoint();
    (0..300_u32).for_each(|n| world.add(&n.to_le_bytes()));
    let middle = world.log.checkpoint();
    (0..300_u32).for_each(|n| world.add(&n.to_le_bytes()));
    assert_eq!(monitor.for_signing().await.expect("signs"), world.checkpoint());
    take(&monitor, &older).expect("the log signed it");
    take(&monitor, &middle).expect("the log signed it");
    monitor.settle().await.expect("both are consistent");
    world.log.append(b"more");
    take(&monitor, &world.log.checkpoint()).expect("the log signed it");
    monitor.settle().await.expect("it continues");
    assert_eq!(monitor.head(), Some(world.log.checkpoint()));
    // A statement names a published one, and for a while the same.
    assert_eq!(monitor.for_signing().await.expect("signs"), book.newest().expect("is kept"));
}

#[tokio::test]
async fn a_fork_halts_and_both_heads_stay_in_the_book() {
    for (size, settles) in [(5, false), (3, true), (9, true)] {
        let (world, book) = (World::new(), Book::in_memory());
        let watch = monitor(&world, &book);
        (0..4_u8).for_each(|n| world.add(&[n]));
        watch.refresh().await.expect("is consistent");
        (0..8_u8).for_each(|n| world.add(&[n]));
        let forged = world.log.forged(size);
        let met = take(&watch, &forged);
        let error =
            if settles { watch.settle().await.expect_err("a fork") } else { met.expect_err("a fork") };
        let Error::LogForked(fork) = error else { panic!("size {size}: {error}") };
        assert_eq!(&fork.theirs, forged.as_bytes());
        assert_ne!(fork.ours, fork.theirs);
        assert!(matches!(watch.check(), Err(Error::LogForked(_))));
        assert_eq!(book.fork().as_ref(), Some(fork.as_ref()));
        // The next run starts halted.
        assert!(matches!(monitor(&world, &book).check(), Err(Error::LogForked(_))));
    }
}

#[tokio::test]
async fn another_keys_checkpoint_is_refused_and_no_fork() {
    let (world, book) = (World::new(), Book::in_memory());
    let monitor = monitor(&world, &book);
    let mut bytes = world.checkpoint().to_vec();
    let last = bytes.len() - 3;
    bytes[last] ^= 1;
    let error = monitor.take(&bytes.into(), Met::InStatement, &Party::Broker).expect_err("is not signed");
    assert!(matches!(&error, Error::Misbehaved(one) if one.check == "signature"), "{error}");
    monitor.check().expect("it says nothing about the log");
}

#[tokio::test]
async fn a_proof_that_is_withheld_halts_after_a_minute_and_silence_does_not() {
    let (world, book) = (World::new(), Book::in_memory());
    let monitor = monitor(&world, &book);
    monitor.refresh().await.expect("is consistent");
    world.log.append(b"more");
    take(&monitor, &world.log.checkpoint()).expect("the log signed it");
    world.log.silent.store(true, Ordering::SeqCst);
    world.clock.pass(61_000);
    assert!(matches!(monitor.settle().await, Err(Error::Unreachable { .. })));
    monitor.check().expect("nobody answered");
    monitor.for_signing().await.expect("what was verified stays verified");
    world.log.silent.store(false, Ordering::SeqCst);
    world.log.withholds.store(true, Ordering::SeqCst);
    monitor.settle().await.expect("a refusal is no fork");
    let error = monitor.check().expect_err("it was withheld");
    assert!(matches!(&error, Error::Misbehaved(one) if one.check == "consistency"), "{error}");
    assert!(book.fork().is_none());
}

#[tokio::test]
async fn of_many_receipts_in_one_round_a_few_are_proven_and_statements_all() {
    let (world, book) = (World::new(), Book::in_memory());
    let monitor = monitor(&world, &book);
    monitor.refresh().await.expect("is consistent");
    let mut statements = Vec::new();
    for n in 0..400_u32 {
        world.log.append(&n.to_le_bytes());
        let met = if n % 10 == 0 { Met::InStatement } else { Met::InReceipt };
        let checkpoint = world.log.checkpoint();
        monitor.take(checkpoint.as_bytes(), met, &Party::Broker).expect("the log signed it");
        if met == Met::InStatement {
            statements.push(checkpoint.size());
        }
    }
    assert!(monitor.0.heads.lock().pending.len() <= MAX_PENDING);
    monitor.settle().await.expect("all are consistent");
    let heads = monitor.0.heads.lock();
    assert!(heads.pending.is_empty());
    assert!(statements.iter().all(|size| heads.proven.contains_key(size)));
    assert_eq!(heads.proven.len(), 1 + statements.len() + RECEIPTS_A_ROUND);
}
