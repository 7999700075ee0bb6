//! A log that goes on, one that forks, and one that withholds.

use std::sync::atomic::Ordering;

use super::{
    heads::{MAX_PENDING, RECEIPTS_A_ROUND},
    *,
};
use crate::{book::Book, fixtures::World};

fn monitor(world: &World, book: &Book) -> Monitor {
    let keeper = Arc::new(book.clone());
    let log_key = world.log.key().verifier().clone();
    Monitor::open(log_key, Arc::clone(&world.log) as _, keeper, &world.system()).expect("opens")
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
async fn a_clock_that_is_set_makes_no_proof_overdue() {
    let (world, book) = (World::new(), Book::in_memory());
    let monitor = monitor(&world, &book);
    monitor.refresh().await.expect("is consistent");
    world.log.append(b"more");
    take(&monitor, &world.log.checkpoint()).expect("the log signed it");
    world.log.withholds.store(true, Ordering::SeqCst);
    for off in [600_000, -600_000, 0] {
        world.clock.set(off);
        monitor.settle().await.expect("a refusal is no fork");
        monitor.check().expect("no minute has passed");
    }
    world.clock.pass(61_000);
    monitor.settle().await.expect("a refusal is no fork");
    monitor.check().expect_err("now it has");
}

#[tokio::test]
async fn a_proof_that_stays_out_halts_as_a_refusal_does_and_heals_when_it_comes() {
    let (world, book) = (World::new(), Book::in_memory());
    let monitor = monitor(&world, &book);
    monitor.refresh().await.expect("is consistent");
    world.log.append(b"more");
    let head = world.log.checkpoint();
    monitor.take(head.as_bytes(), Met::InReceipt, &Party::Broker).expect("the log signed it");
    // Only proofs stay out, as if the connection broke: all else is answered, and comes with known heads.
    world.log.swallows.store(true, Ordering::SeqCst);
    for _ in 0..7 {
        world.clock.pass(10_000);
        take(
            &monitor,
            &book.newest().map(|bytes| monitor.verify(&bytes, &Party::Broker)).expect("kept").expect("ours"),
        )
        .expect("is proven already");
        assert!(matches!(monitor.settle().await, Err(Error::Unreachable { .. })));
    }
    let error = monitor.check().expect_err("it answers, but not this");
    assert!(matches!(&error, Error::Misbehaved(one) if one.check == "consistency"), "{error}");
    world.log.swallows.store(false, Ordering::SeqCst);
    monitor.settle().await.expect("the proof comes");
    monitor.check().expect("is proven");
    assert_eq!(monitor.head(), Some(head));
}

#[tokio::test]
async fn keeping_back_the_newest_head_keeps_back_no_clock() {
    let (world, book) = (World::new(), Book::in_memory());
    let monitor = monitor(&world, &book);
    monitor.refresh().await.expect("is consistent");
    let known = world.log.checkpoint();
    world.log.append(b"more");
    take(&monitor, &world.log.checkpoint()).expect("the log signed it");
    world.log.silent.store(true, Ordering::SeqCst);
    world.clock.pass(61_000);
    take(&monitor, &known).expect("a call comes from the broker");
    assert!(matches!(monitor.refresh().await, Err(Error::Unreachable { .. })));
    assert!(matches!(monitor.check(), Err(Error::Misbehaved(_))));
}

#[tokio::test]
async fn a_forked_head_among_larger_ones_is_found() {
    let (world, book) = (World::new(), Book::in_memory());
    let monitor = monitor(&world, &book);
    monitor.refresh().await.expect("is consistent");
    world.log.append(b"more");
    let forged = world.log.forged(2);
    monitor.take(forged.as_bytes(), Met::InReceipt, &Party::Broker).expect("the log signed it");
    for n in 0..20_u32 {
        world.log.append(&n.to_le_bytes());
        let head = world.log.checkpoint();
        monitor.take(head.as_bytes(), Met::InReceipt, &Party::Broker).expect("the log signed it");
    }
    let error = monitor.settle().await.expect_err("a fork");
    assert!(matches!(&error, Error::LogForked(fork) if fork.theirs == forged.as_bytes()), "{error}");
}

#[tokio::test]
async fn a_head_without_proof_holds_up_no_other_and_is_never_dropped() {
    let (world, book) = (World::new(), Book::in_memory());
    let monitor = monitor(&world, &book);
    monitor.refresh().await.expect("is consistent");
    // Beyond what the log has: no honest proof leads there.
    let beyond = world.log.forged(1 << 30);
    monitor.take(beyond.as_bytes(), Met::InReceipt, &Party::Broker).expect("the log signed it");
    world.log.append(b"more");
    let honest = world.log.checkpoint();
    monitor.take(honest.as_bytes(), Met::InReceipt, &Party::Broker).expect("the log signed it");
    monitor.settle().await.expect("a refusal is no fork");
    assert_eq!(monitor.head(), Some(honest));
    for n in 0..2 * MAX_PENDING {
        world.log.append(&n.to_le_bytes());
        let head = world.log.checkpoint();
        monitor.take(head.as_bytes(), Met::InReceipt, &Party::Broker).expect("the log signed it");
    }
    world.clock.pass(61_000);
    monitor.settle().await.expect("a refusal is no fork");
    assert!(matches!(monitor.check(), Err(Error::Misbehaved(_))), "it waited, whatever came");
}

#[tokio::test]
async fn more_receipts_than_can_be_proven_wait_for_a_later_round_up_to_a_bound() {
    let (world, book) = (World::new(), Book::in_memory());
    let monitor = monitor(&world, &book);
    monitor.refresh().await.expect("is consistent");
    let mut statements = Vec::new();
    for n in 0..600_u32 {
        world.log.append(&n.to_le_bytes());
        let met = if n % 10 == 0 { Met::InStatement } else { Met::InReceipt };
        let checkpoint = world.log.checkpoint();
        monitor.take(checkpoint.as_bytes(), met, &Party::Broker).expect("the log signed it");
        if met == Met::InStatement {
            statements.push(checkpoint.size());
        }
    }
    let waiting = |monitor: &Monitor| monitor.0.heads.lock().pending.len();
    assert_eq!(waiting(&monitor), statements.len() + MAX_PENDING);
    monitor.settle().await.expect("all are consistent");
    assert!(statements.iter().all(|size| monitor.0.heads.lock().proven.contains_key(size)));
    assert_eq!(waiting(&monitor), MAX_PENDING - RECEIPTS_A_ROUND);
    while waiting(&monitor) > 0 {
        monitor.settle().await.expect("all are consistent");
    }
    monitor.check().expect("all is proven");
}

#[tokio::test]
async fn statements_without_end_are_refused() {
    let (world, book) = (World::new(), Book::in_memory());
    let monitor = monitor(&world, &book);
    for n in 0..MAX_PENDING {
        take(&monitor, &world.log.forged(n as u64 + 2)).expect("the log signed it");
    }
    let error = take(&monitor, &world.log.forged(1 << 20)).expect_err("too many");
    assert!(matches!(&error, Error::Misbehaved(one) if one.check == "pending"), "{error}");
}
