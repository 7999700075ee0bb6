//! Broker, partners, customers and auditors in one process, on a simulated network and with simulated clocks.
//!
//! A seed says who takes part, which faults can come, and every choice on the way; the same seed makes the same run, event
//! by event. Invariants are checked after each step, and after the last fault everything has to settle.

mod blame;
mod checks;
mod customer;
mod disk;
mod faults;
mod fetching;
mod hosts;
mod leaving;
mod net;
mod options;
mod partner;
mod plan;
mod proof;
mod random;
mod run;
mod stops;
mod store;
mod table;
mod tapping;
mod trace;
mod world;

use std::{
    process::ExitCode,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
};

use clap::Parser as _;

use crate::{
    options::Options,
    run::{Report, run},
    store::Mutation,
    table::Table,
};

/// Seeds that a mutation is given to show itself: it needs a stop with a fetch behind it, or a restart.
const MUTATED: u64 = 20;

fn main() -> ExitCode {
    let options = Options::parse();
    if options.is_left_out() {
        return ExitCode::SUCCESS;
    }
    let mut good = true;
    if options.tests_itself() {
        good = proof::can_fail()
            & repeats(1)
            & catches(Mutation::DropCommit, &["durable"])
            & catches(Mutation::StaleReads, &["stop"]);
    }
    good &= campaign(&options);
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs all seeds; says whether everything held.
fn campaign(options: &Options) -> bool {
    let seeds = options.chosen();
    if seeds.is_empty() {
        return true;
    }
    let (next, table) =
        (AtomicU64::new(seeds.start), Mutex::new(Table::new(options, seeds.end - seeds.start)));
    let (reports, came) = mpsc::channel::<Report>();
    thread::scope(|scope| {
        for _ in 0..options.threads.max(1) {
            let (reports, next, end) = (reports.clone(), &next, seeds.end);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || reports.send(run(seed, options.mutation, options.trace)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(reports);
        for report in came {
            table.lock().expect("nobody panics with it").add(&report);
        }
    });
    table.into_inner().expect("nobody panics with it").end()
}

/// The same seed twice is the same run.
fn repeats(seed: u64) -> bool {
    let (first, second) = (run(seed, None, false), run(seed, None, false));
    let same = first.digest == second.digest && first.events == second.events;
    println!(
        "seed {seed} twice: {} events with digest {}, and {} with {}{}",
        first.events,
        first.digest,
        second.events,
        second.digest,
        if same { "" } else { ": THEY DIFFER" }
    );
    same
}

/// A store that lies is caught, by one of these invariants.
fn catches(mutation: Mutation, by: &[&str]) -> bool {
    for seed in 1..=MUTATED {
        let violations = run(seed, Some(mutation), false).violations;
        if let Some(violation) = violations.iter().find(|one| by.contains(&one.invariant)) {
            println!("{mutation:?}: caught with seed {seed}: {}: {}", violation.invariant, violation.detail);
            return true;
        }
    }
    println!("{mutation:?}: NOT CAUGHT within {MUTATED} seeds");
    false
}
