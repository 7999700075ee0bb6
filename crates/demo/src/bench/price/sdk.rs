//! The real SDK at both ends.

use std::time::Duration;

use anyhow::{Result, bail, ensure};
use tokio::sync::mpsc::unbounded_channel;

use super::{
    Arguments, Gathered, SYNCS_A_ROUND, alternated,
    figures::{Key, Messages, Side},
    learn::{self, Setup},
    made::Slice,
    middle::{Middle, Relay},
};
use crate::{
    bench::load::progress,
    control::{Answer, Command, Loaded, ViaRelay},
    journey::Brand,
    stage::{BrandProcess, Stage},
};

/// Before a slice behind the relay, whose source has just started: connections, and what it verifies once.
const WARM_UP_MILLIS: u64 = 400;

/// How long an answer may take beyond the slice: the slowest call.
const GRACE: Duration = Duration::from_secs(60);

/// Measures both sides.
pub(super) async fn measure(arguments: &Arguments, gathered: &mut Gathered) -> Result<()> {
    let setup = learn::set(arguments.grants, true).await?;
    let relay = Relay::start(&setup.stage, &setup.papers, &setup.maker).await?;
    let via = ViaRelay {
        address: relay.address.clone(),
        folder: setup.stage.folder.brand(Brand::BenchRecipient),
        broker: setup.stage.folder.broker_file(),
    };
    let broker = Middle::broker(&setup.stage, &setup.maker)?;
    let pid = relay.pid;
    let bar = progress(arguments.slices * 2 * arguments.in_flight.len() as u64, "slices with the SDK");
    for round in 0..arguments.slices {
        for in_flight in &arguments.in_flight {
            for side in alternated([Side::Relay, Side::Broker], round) {
                let (slice, cpu, kib) = match side {
                    Side::Relay => behind_relay(arguments, &setup, &relay, (&via, pid), *in_flight).await?,
                    Side::Broker => {
                        load(&setup.stage, *in_flight, WARM_UP_MILLIS, None).await?;
                        let before = broker.processor_time()?;
                        let slice = load(&setup.stage, *in_flight, arguments.slice, None).await?;
                        let cpu = broker.processor_time()?.saturating_sub(before);
                        (slice, cpu, broker.resident_kib()?)
                    }
                };
                let key = Key { messages: Messages::Sdk, in_flight: *in_flight, side };
                gathered.sums.entry(key).or_default().add(slice, cpu, kib);
                bar.inc(1);
            }
        }
        gathered.disk.sync(setup.stage.folder.path(), SYNCS_A_ROUND).await?;
    }
    bar.finish_and_clear();
    drop((broker, relay));
    let Setup { mut stage, .. } = setup;
    let code = stage.close().await?;
    ensure!(code == Some(0), "the broker ended with {code:?}");
    Ok(())
}

/// A slice behind the relay, with a source of its own: it is gone before it misses its receipts.
async fn behind_relay(
    arguments: &Arguments,
    setup: &Setup,
    relay: &Relay,
    (via, pid): (&ViaRelay, u32),
    in_flight: u16,
) -> Result<(Slice, Duration, u64)> {
    let stage = &setup.stage;
    let own = stage.folder.path().join("relays-source");
    if own.exists() {
        std::fs::remove_dir_all(&own)?;
    }
    learn::copy(&setup.fresh_source, &own)?;
    let (sender, _events) = unbounded_channel();
    let place = (own.as_path(), ["--detached"].as_slice());
    let started = BrandProcess::start_in(&stage.binaries, &stage.folder, Brand::BenchSource, place, sender);
    let (source, ready) = started.await?;
    source.ask(Command::Open).await?;
    relay.forward_to(&ready.endpoint).await?;

    load(stage, in_flight, WARM_UP_MILLIS, Some(via)).await?;
    let before = super::super::machine::processor_time(pid)?;
    let slice = load(stage, in_flight, arguments.slice, Some(via)).await?;
    let cpu = super::super::machine::processor_time(pid)?.saturating_sub(before);
    let kib = super::super::machine::resident(pid)?.now_kib;
    source.stop().await?;
    Ok((slice, cpu, kib))
}

async fn load(stage: &Stage, in_flight: u16, millis: u64, relay: Option<&ViaRelay>) -> Result<Slice> {
    let in_flight = usize::from(in_flight);
    let command = Command::Load { in_flight, millis, measured: false, relay: relay.cloned() };
    let within = Duration::from_millis(millis) + GRACE;
    match stage.brand(Brand::BenchRecipient)?.ask_within(command, within).await? {
        Answer::Loaded(Loaded { transfers, failures, micros, p50_us, p99_us }) => {
            Ok(Slice { calls: transfers, failures, micros, p50_us, p99_us })
        }
        other => bail!("the recipient answers {other:?}"),
    }
}
