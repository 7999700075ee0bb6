//! `cargo xtask bench flood`: whether one partner at full speed fails a call of another, and what it does to its p99.
//!
//! The other partner fetches at fixed moments, well below its quota. The flooding one sends as fast as answers come, over
//! several connections, fetches that it signed itself and that name a grant that nobody knows: what is within its quota
//! costs the broker a signature and a look, all else is refused. Slices with the flood and without it alternate. All
//! processes share the processors, so what the flood costs its sender slows the other partner's end as well.
//!
//! `--json` writes one object; names are stable, and new ones may come:
//!
//! | name | what |
//! |---|---|
//! | `version`, `cores` | 1: the version of these names; processors that all processes share |
//! | `per_second` | how often the other partner calls |
//! | `quiet.calls`, `.failures`, `.p50_us`, `.p99_us` | its calls without the flood: sums, and medians over the slices |
//! | `flooded.calls`, `.failures`, `.p50_us`, `.p99_us` | its calls with the flood |
//! | `p99_ratio` | with over without |
//! | `flood_per_second`, `flood_refused_per_second` | the flood's calls that were answered, and those of them that its quota refused |

use std::{
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context, Result};
use clap::builder::RangedU64ValueParser;
use countersign_client::{
    BrokerTrust, Connection, System,
    channel::call,
    grants::{
        digest::Digest,
        id::{PartnerName, Principal},
    },
    keyfile,
    proto::v1::GetCheckpointRequest,
};
use serde::{Deserialize, Serialize};
use tokio::{
    io::AsyncReadExt as _,
    process::{Child, Command},
    time::{Instant, sleep},
};

use super::{
    load::progress,
    price::{Maker, Middle, Setup, Slice, learn_on, median, open_loop, prepare},
};
use crate::{director::grouped, journey::Brand, stage::Stage};

/// The quota of partners, as the broker has it unless configured.
const QUOTA: &str = "5000";

/// Connections of the flooding partner.
const CONNECTIONS: usize = 4;

/// Its calls under way on each: together more than one partner may have.
const IN_FLIGHT_ON_EACH: usize = 100;

/// How long the flood runs before a slice begins.
const RISES_WITHIN: Duration = Duration::from_millis(500);

/// Different fetches that the flood sends.
const FLOOD_MESSAGES: usize = 256;

/// What is measured, and for how long.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// How many slices there are with the flood, and as many without it.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = RangedU64ValueParser::<u64>::new().range(1..=100))]
    slices: u64,
    /// How long a slice takes.
    #[arg(long, value_name = "SECONDS", default_value_t = 4, value_parser = RangedU64ValueParser::<u64>::new().range(1..=60))]
    seconds: u64,
    /// How often the other partner calls.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
    per_second: u32,
    /// Every figure as JSON on the standard output, under a stable name.
    #[arg(long)]
    json: bool,
}

/// How the flood's process is started.
#[derive(Debug, clap::Args)]
pub(crate) struct FlooderArguments {
    /// The broker file.
    #[arg(long)]
    broker: PathBuf,
    /// Who floods.
    #[arg(long)]
    name: String,
    /// Its key.
    #[arg(long)]
    key: PathBuf,
}

#[derive(Debug, Serialize)]
struct Figures {
    version: u32,
    cores: usize,
    per_second: u32,
    quiet: Side,
    flooded: Side,
    p99_ratio: f64,
    flood_per_second: f64,
    flood_refused_per_second: f64,
}

#[derive(Debug, Serialize)]
struct Side {
    calls: u64,
    failures: u64,
    p50_us: f64,
    p99_us: f64,
}

/// What the flood came to.
#[derive(Debug, Serialize, Deserialize)]
struct Flooded {
    answered: u64,
    refused: u64,
    seconds: f64,
}

/// Measures; whether no call of the other partner failed.
pub(crate) async fn run(arguments: &Arguments) -> Result<bool> {
    let mut setup = learn_on(100, &[("QUOTAS__PARTNER", QUOTA)]).await?;
    setup.stage.dismiss().await?;
    let Setup { mut stage, stub, maker, .. } = setup;
    let middle = Middle::broker(&stage, &maker)?;
    let calls = arguments.per_second as usize * usize::try_from(arguments.seconds)?;
    let (mut quiet, mut flooded, mut floods) = (Vec::new(), Vec::new(), Vec::new());
    let bar = progress(arguments.slices * 2, "slices");
    for _ in 0..arguments.slices {
        for with_flood in [false, true] {
            let flood = if with_flood { Some(Flood::start(&stage).await?) } else { None };
            let prepared = prepare(&maker, &stub, calls).await?;
            let slice = open_loop(&middle.connection, &prepared, arguments.per_second.into()).await?;
            match flood {
                None => quiet.push(slice),
                Some(flood) => {
                    flooded.push(slice);
                    floods.push(flood.stop().await?);
                }
            }
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    stage.close().await?;
    let (quiet, flooded) = (Side::of(&quiet), Side::of(&flooded));
    let a_second = |value: &dyn Fn(&Flooded) -> u64| {
        median(floods.iter().map(|flood| value(flood) as f64 / flood.seconds).collect())
    };
    let figures = Figures {
        version: 1,
        cores: std::thread::available_parallelism().map_or(0, usize::from),
        per_second: arguments.per_second,
        p99_ratio: flooded.p99_us / quiet.p99_us,
        quiet,
        flooded,
        flood_per_second: a_second(&|flood| flood.answered),
        flood_refused_per_second: a_second(&|flood| flood.refused),
    };
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&figures)?);
    } else {
        print(&figures);
    }
    Ok(figures.quiet.failures + figures.flooded.failures == 0)
}

impl Side {
    fn of(slices: &[Slice]) -> Self {
        let median_of =
            |value: fn(&Slice) -> u64| median(slices.iter().map(|one| value(one) as f64).collect());
        Self {
            calls: slices.iter().map(|slice| slice.calls).sum(),
            failures: slices.iter().map(|slice| slice.failures).sum(),
            p50_us: median_of(|slice| slice.p50_us),
            p99_us: median_of(|slice| slice.p99_us),
        }
    }
}

fn print(figures: &Figures) {
    println!(
        "A partner that fetches {} times a second, while another sends {} calls a second, of which its quota refuses {}",
        figures.per_second,
        grouped(figures.flood_per_second.round() as u64),
        grouped(figures.flood_refused_per_second.round() as u64)
    );
    println!("{:>12}{:>10}{:>10}{:>10}{:>10}", "", "calls", "failed", "p50 ms", "p99 ms");
    for (name, side) in [("quiet", &figures.quiet), ("flooded", &figures.flooded)] {
        let (p50, p99) = (side.p50_us / 1000.0, side.p99_us / 1000.0);
        println!("{name:>12}{:>10}{:>10}{p50:>10.2}{p99:>10.2}", grouped(side.calls), side.failures);
    }
    println!("{:>12}{:>40.2}", "ratio", figures.p99_ratio);
}

/// The flooding partner's process.
struct Flood(Child);

impl Flood {
    /// Starts it, and lets it rise. It floods as the source, which is a partner as any.
    async fn start(stage: &Stage) -> Result<Self> {
        let child = Command::new(&stage.binaries.demo)
            .arg("flooder")
            .arg("--broker")
            .arg(stage.folder.broker_file())
            .arg("--key")
            .arg(stage.folder.brand(Brand::BenchSource).join("key"))
            .arg(format!("--name={}", Brand::BenchSource.partner()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("the flood can't be started")?;
        sleep(RISES_WITHIN).await;
        Ok(Self(child))
    }

    async fn stop(mut self) -> Result<Flooded> {
        drop(self.0.stdin.take());
        let output = self.0.wait_with_output().await?;
        serde_json::from_slice(&output.stdout).context("what the flood came to")
    }
}

/// Floods until the bench hangs up.
pub(crate) async fn flooder(arguments: &FlooderArguments) -> Result<()> {
    let trust = BrokerTrust::read(&arguments.broker)?;
    let (name, key) = (PartnerName::parse(&arguments.name)?, Arc::new(keyfile::read(&arguments.key)?));
    let principal = Principal::Partner(name.clone());
    let asks = Connection::open(&trust, principal, &key, System::real().clock)?;
    let published = asks.audit().get_checkpoint(call(GetCheckpointRequest {})).await?;
    let maker = Maker {
        origin: trust.origin.clone(),
        recipient: name.clone(),
        recipient_key: Arc::clone(&key),
        source: name.clone(),
        source_key: Arc::clone(&key),
        grants: Arc::new(vec![Digest::of(b"a grant that nobody knows")]),
        checkpoint: published.into_inner().checkpoint,
    };
    let messages = Arc::new(maker.make(FLOOD_MESSAGES).await?.fetches);
    let (answered, refused) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    let begun = Instant::now();
    for _ in 0..CONNECTIONS {
        let principal = Principal::Partner(name.clone());
        let connection = Connection::open(&trust, principal, &key, System::real().clock)?;
        for worker in 0..IN_FLIGHT_ON_EACH {
            let (connection, messages) = (connection.clone(), Arc::clone(&messages));
            let (answered, refused) = (Arc::clone(&answered), Arc::clone(&refused));
            tokio::spawn(async move {
                for message in messages.iter().cycle().skip(worker) {
                    let answer = connection.transfers().fetch_data(call(message.clone())).await;
                    answered.fetch_add(1, Ordering::Relaxed);
                    if answer.is_err_and(|status| status.code() == tonic::Code::ResourceExhausted) {
                        refused.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    }
    tokio::io::stdin().read_to_end(&mut Vec::new()).await?;
    let flooded = Flooded {
        answered: answered.load(Ordering::Relaxed),
        refused: refused.load(Ordering::Relaxed),
        seconds: begun.elapsed().as_secs_f64(),
    };
    println!("{}", serde_json::to_string(&flooded)?);
    Ok(())
}
