//! `cargo xtask bench price`: what durability and proof cost a call, against a bare relay that does neither.
//!
//! Both middles are processes of their own, and both pass the same messages over the same two hops: recipient, middle,
//! source, each over one connection on this machine's loopback. They take turns, slice by slice; every figure is the
//! median over the slices. Messages come in two ways:
//!
//! - `made`: all messages are signed beforehand, each fetch used once, and both ends do nothing but hand them over. The
//!   middle alone is measured.
//! - `sdk`: the real SDK at both ends. Behind the relay, the source is the SDK's, started on a copy of the source's book
//!   before each slice, since a relay can't give it the receipts that it is owed; the recipient does what the SDK does with
//!   the same functions, less what needs the log: the receipt that the relay hands over proves another transfer.
//!
//! `--json` writes one object; names are stable, and new ones may come:
//!
//! | name | what |
//! |---|---|
//! | `version`, `cores` | 1: the version of these names; processors that all processes share |
//! | `rows[].messages`, `.side`, `.in_flight` | `made` or `sdk`; `relay` or `broker`; calls under way, each begun as one ends |
//! | `rows[].calls_per_s`, `.p50_us`, `.p99_us` | calls a second; from the recipient's call to its answer, or to the opened values |
//! | `rows[].cpu_us_per_call`, `.rss_mib` | the middle's processor time a call, and its resident memory |
//! | `rows[].calls`, `.failures`, `.slices` | how many calls were measured, how many failed, in how many slices |
//! | `ratios[].messages`, `.in_flight` | the broker's figures over the relay's |
//! | `ratios[].calls_per_s`, `.cpu_us_per_call`, `.p99_us` | each a plain quotient |
//! | `disk.syncs`, `.p50_us`, `.p99_us` | `fdatasync` after an append of 4 KiB on the store's disk, between the slices |
//! | `open_loop.per_second`, `.calls`, `.failures` | made fetches sent at fixed moments: half of the most that the closed loop reached |
//! | `open_loop.source_us` | how long the source keeps each call |
//! | `open_loop.p50_us`, `.p99_us` | from the moment a call was due to its answer, less what the source kept it |
//! | `shares[].part`, `.us_per_call`, `.share` | where the broker's processor time goes, with made messages at 64 in flight |
//! | `goals[].goal`, `.wanted`, `.found`, `.met` | what is asked of the figures above |

mod disk;
mod figures;
mod learn;
mod made;
mod middle;
pub(crate) mod relay;
mod sdk;
mod shares;
mod source;

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Result, ensure};
use clap::builder::RangedU64ValueParser;

use self::{
    disk::Disk,
    figures::{Figures, Key, Messages, OpenLoop, Side, Sums},
    shares::Portion,
};
pub(super) use self::{
    figures::median,
    learn::{Setup, set_on as learn_on},
    made::{Maker, Slice, closed_loop, open_loop},
    middle::Middle,
};
use super::load::progress;

/// At which width the shares are taken, and goals are asked.
const SHARES_AT: u16 = 64;

/// Calls before anything is measured at a width: connections, caches, and how fast it roughly goes.
const WARM_UP_CALLS: usize = 600;

/// How long a source keeps a call in the open loop.
const SOURCE_WAIT: Duration = Duration::from_millis(5);

/// How often the disk is synced between two rounds: over a run a thousand times or more, so that its p99 is one.
const SYNCS_A_ROUND: usize = 120;

/// What is measured, and for how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How many slices each width has on each side.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = RangedU64ValueParser::<u64>::new().range(1..=100))]
    slices: u64,
    /// How long a slice takes, about.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 2000, value_parser = RangedU64ValueParser::<u64>::new().range(100..=10_000))]
    slice: u64,
    /// How many calls are under way at a time, one width after the other; 256 is what one partner may have.
    #[arg(long, value_name = "WIDTHS", value_delimiter = ',', default_values_t = [1, 16, 64, 256])]
    in_flight: Vec<u16>,
    /// Which messages.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Messages::Made, Messages::Sdk])]
    messages: Vec<Messages>,
    /// How many people have approved, each one grant.
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    grants: u16,
    /// How long the open loop runs.
    #[arg(long, value_name = "SECONDS", default_value_t = 8, value_parser = RangedU64ValueParser::<u64>::new().range(1..=60))]
    open_seconds: u64,
    /// Every figure as JSON on the standard output, under a stable name.
    #[arg(long)]
    json: bool,
}

/// What the measurements gather.
#[derive(Default)]
struct Gathered {
    sums: BTreeMap<Key, Sums>,
    disk: Disk,
    open_loop: Option<OpenLoop>,
    shares: Vec<Portion>,
}

/// Measures; whether every call went well.
pub(crate) async fn run(arguments: &Arguments) -> Result<bool> {
    ensure!(arguments.in_flight.iter().all(|width| (1..=256).contains(width)), "1 to 256 can be in flight");
    let mut gathered = Gathered::default();
    if arguments.messages.contains(&Messages::Made) {
        Box::pin(with_made(arguments, &mut gathered)).await?;
    }
    if arguments.messages.contains(&Messages::Sdk) {
        Box::pin(sdk::measure(arguments, &mut gathered)).await?;
    }
    let figures = Figures::of(gathered);
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&figures)?);
    } else {
        print!("{}", figures.table());
    }
    Ok(figures.rows.iter().all(|row| row.failures == 0))
}

/// The middle alone.
async fn with_made(arguments: &Arguments, gathered: &mut Gathered) -> Result<()> {
    let Setup { mut stage, stub, maker, papers, .. } = learn::set(arguments.grants, false).await?;
    stage.dismiss().await?;
    let relay = middle::Relay::start(&stage, &papers, &maker).await?;
    relay.forward_to(stub.address()).await?;
    let broker = Middle::broker(&stage, &maker)?;
    let relay = Middle::relay(&stage, &maker, relay)?;
    let middles = [(Side::Relay, &relay), (Side::Broker, &broker)];

    let seconds = Duration::from_millis(arguments.slice).as_secs_f64();
    let mut rates = BTreeMap::new();
    for in_flight in &arguments.in_flight {
        for (side, middle) in middles {
            let rate = made_slice(&maker, &stub, middle, *in_flight, WARM_UP_CALLS).await?.per_second();
            rates.insert((side, *in_flight), rate);
        }
    }
    let bar = progress(arguments.slices * 2 * arguments.in_flight.len() as u64, "slices with made messages");
    let mut sampled = shares::Sampler::new(&stage)?;
    for round in 0..arguments.slices {
        for in_flight in &arguments.in_flight {
            for (side, middle) in alternated(middles, round) {
                let rate = rates[&(side, *in_flight)];
                let calls = ((rate * seconds) as usize).max(usize::from(*in_flight));
                let prepared = prepare(&maker, &stub, calls).await?;
                let sampling = side == Side::Broker && *in_flight == SHARES_AT;
                let before = middle.processor_time()?;
                if sampling {
                    sampled.begin().await?;
                }
                let slice = made::closed_loop(&middle.connection, &prepared, usize::from(*in_flight)).await?;
                if sampling {
                    sampled.end(slice.calls).await?;
                }
                let cpu = middle.processor_time()?.saturating_sub(before);
                let key = Key { messages: Messages::Made, in_flight: *in_flight, side };
                gathered.sums.entry(key).or_default().add(slice, cpu, middle.resident_kib()?);
                rates.insert((side, *in_flight), slice.per_second());
                bar.inc(1);
            }
        }
        gathered.disk.sync(stage.folder.path(), SYNCS_A_ROUND).await?;
    }
    bar.finish_and_clear();
    gathered.shares = sampled.shares();

    let most = rates.iter().filter(|((side, _), _)| *side == Side::Broker).map(|(_, rate)| *rate);
    let per_second = most.fold(0.0, f64::max) / 2.0;
    let calls = (per_second * arguments.open_seconds as f64) as usize;
    let prepared = std::sync::Arc::new(maker.make(calls.max(1)).await?);
    stub.answer_with(prepared.made.clone(), SOURCE_WAIT);
    let slice = made::open_loop(&broker.connection, &prepared, per_second).await?;
    gathered.open_loop = Some(OpenLoop::of(per_second, slice, SOURCE_WAIT));

    drop((broker, relay));
    let code = stage.close().await?;
    ensure!(code == Some(0), "the broker ended with {code:?}");
    Ok(())
}

/// Makes messages, and has the stub answer them.
pub(super) async fn prepare(
    maker: &Maker,
    stub: &learn::Served,
    calls: usize,
) -> Result<std::sync::Arc<made::Prepared>> {
    let prepared = std::sync::Arc::new(maker.make(calls).await?);
    stub.answer_with(prepared.made.clone(), Duration::ZERO);
    Ok(prepared)
}

async fn made_slice(
    maker: &Maker,
    stub: &learn::Served,
    middle: &Middle,
    in_flight: u16,
    calls: usize,
) -> Result<Slice> {
    let prepared = prepare(maker, stub, calls).await?;
    made::closed_loop(&middle.connection, &prepared, usize::from(in_flight)).await
}

/// Who begins changes from round to round, so that neither always follows the other.
fn alternated<T: Copy>(sides: [T; 2], round: u64) -> [T; 2] {
    if round.is_multiple_of(2) { sides } else { [sides[1], sides[0]] }
}
