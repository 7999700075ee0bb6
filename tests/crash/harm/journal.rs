//! Harm to the journal.

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use countersign_client::{
    BrokerTrust, Connection, Error, Monitor, System,
    auditor::MemoryHeads,
    checkpoint::HeadKeeper as _,
    customer::{Customer, CustomerBook, Wallet},
};
use countersign_grants::id::Principal;
use tokio::time::sleep;

use super::{Done, Expected};
use crate::{
    check::{copy, journal},
    daemon::{Daemon, Setting, Started, free_port},
    notes::Book,
    random::Random,
    rounds::{Life, up},
};

/// How often a witness looks again, and how many times, until the log has grown beyond what it was shown before.
const LOOK_EVERY: Duration = Duration::from_millis(250);
const LOOKS: u32 = 40;

/// Cuts the journal within its last frame. So that nobody was told of that frame, it is one that is written for this:
/// the broker is started where no client finds it, a stranger enters, whose answer is forgotten, and it is killed.
pub(super) async fn cut_end(life: &Life, random: &mut Random) -> Result<Done> {
    let (mut daemon, trust) = apart(&life.setting, &life.world.trust, random).await?;
    let before = journal::read(&life.store().join("journal"))?;
    stranger(&trust).await.context("the stranger")?;
    daemon.kill()?;
    let after = journal::read(&life.store().join("journal"))?;
    let reached = |segments: &[journal::Segment]| {
        segments.iter().flat_map(|segment| &segment.frames).map(|frame| frame.sequence).max().unwrap_or(0)
    };
    let last = after.last().context("a segment")?;
    let frame = last.frames.last().context("the stranger's frame")?;
    ensure!(frame.sequence > reached(&before), "the stranger left no frame");
    let bytes = std::fs::read(&last.path)?;
    let within = usize::try_from(random.below(frame.length as u64))?;
    let at = frame.offset + within;
    copy::replace(&last.path, &bytes[..at])?;
    let detail = format!(
        "segment {} cut at {at}, {within} bytes into its last frame of {}",
        last.number, frame.length
    );
    // If its record was published within the milliseconds, then somebody could have been told of it after all.
    Ok(Done { detail, expected: Expected::Either(vec!["the journal ends at".to_owned()]) })
}

/// Flips a bit in a frame that others follow.
pub(super) fn flip(store: &Path, random: &mut Random) -> Result<Done> {
    let segments = journal::read(&store.join("journal"))?;
    let last = segments.last().map(|segment| segment.number);
    let frames: Vec<(&journal::Segment, &journal::Frame)> = segments
        .iter()
        .flat_map(|segment| {
            let kept = segment.frames.len()
                - usize::from(Some(segment.number) == last && !segment.frames.is_empty());
            segment.frames[..kept].iter().map(move |frame| (segment, frame))
        })
        .collect();
    let Some((segment, frame)) = random.pick(&frames) else {
        return Ok(Done { detail: "no frame before the last".to_owned(), expected: Expected::Listens });
    };
    let mut bytes = std::fs::read(&segment.path)?;
    let byte = frame.offset + usize::try_from(random.below(frame.length as u64))?;
    let bit = random.below(8);
    bytes[byte] ^= 1 << bit;
    copy::replace(&segment.path, &bytes)?;
    let detail = format!("bit {bit} of byte {byte} of segment {} flipped", segment.number);
    let words = vec![format!("segment {}", segment.number), format!("byte {}", frame.offset)];
    Ok(Done { detail, expected: Expected::Refuses(words) })
}

/// Takes acknowledged frames away, on a copy. Either the broker itself finds that something is ahead of its journal, or
/// whoever holds a checkpoint finds that the log does not continue it.
pub(super) async fn roll_back(life: &Life, book: &Book, random: &mut Random) -> Result<Done> {
    let nothing = |detail: &str| Done { detail: detail.to_owned(), expected: Expected::Listens };
    let Some(newest) = book.newest.clone() else { return Ok(nothing("nobody was told anything yet")) };
    let size = book.heads.last_key_value().map_or(0, |(size, _)| *size);
    let data = life.beside("rolled");
    copy::remove(&data)?;
    for kept in ["keys", "catalogues"] {
        copy::folder(&life.setting.data.join(kept), &data.join(kept))?;
    }
    std::fs::copy(life.setting.data.join("countersign.toml"), data.join("countersign.toml"))?;
    copy::store(&life.store(), &data.join("store"))?;
    let detail = cut_below(&data.join("store"), size)?;
    if random.chance(2, 3) {
        copy::remove(&data.join("store/sled"))?;
    }
    let setting = Setting { data: data.clone(), log: life.beside("rolled.log"), ..life.setting.clone() };
    let setting = Setting { port: free_port(random.next())?, ..setting };
    let noticed = match setting.start().await? {
        Started::Ended { words, .. } => {
            let said =
                ["the journal ends at", "is published", "is known"].iter().any(|word| words.contains(word));
            ensure!(said, "{detail}: the broker ended: {words}");
            "the broker does not start"
        }
        Started::Listening(daemon, _) => {
            let trust = BrokerTrust { address: address(&setting), ..life.world.trust.clone() };
            witness(&trust, &newest).await.with_context(|| detail.clone())?;
            drop(daemon);
            "a client finds the fork"
        }
    };
    copy::remove(&data)?;
    Ok(nothing(&format!("{detail}: {noticed}")))
}

/// Cuts the journal so that fewer records are left than somebody holds a tree of.
pub(crate) fn cut_below(store: &Path, size: u64) -> Result<String> {
    let folder = store.join("journal");
    let mut found = None;
    for segment in journal::read(&folder)? {
        if found.is_some() {
            std::fs::remove_file(&segment.path)?;
        } else if let Some(frame) = segment.frames.iter().find(|frame| frame.size >= size) {
            let bytes = std::fs::read(&segment.path)?;
            copy::replace(&segment.path, &bytes[..frame.offset])?;
            let left = frame.size - frame.records.len() as u64;
            found = Some(format!("{left} records left where a tree of {size} was handed out"));
        }
    }
    found.context("no frame reaches what was handed out")
}

/// Somebody who holds a checkpoint asks whether the log continues it. It must never say so; once it has grown past that
/// size, the two trees are proof for everybody.
async fn witness(trust: &BrokerTrust, newest: &bytes::Bytes) -> Result<()> {
    let system = System::real();
    let wallet = Wallet::draw(&system);
    let principal = Principal::Customer(wallet.customer().clone());
    let connection = Connection::open(trust, principal, wallet.call_key(), Arc::clone(&system.clock))?;
    let customer = Customer::open(trust.clone(), wallet, CustomerBook::in_memory(), system.clone())?;
    customer.register().await?;
    let heads = MemoryHeads::default();
    heads.keep_newest(newest)?;
    let monitor = Monitor::open(trust.log_key.clone(), Arc::new(connection), Arc::new(heads), &system)?;
    for _ in 0..LOOKS {
        match monitor.refresh().await {
            Err(Error::LogForked(_)) => return Ok(()),
            Err(Error::Misbehaved(_) | Error::Unreachable { .. } | Error::Refused(_)) => {}
            Ok(head) => bail!("the log of {} records passes as one that continues what it lost", head.size()),
            Err(error) => return Err(error).context("the witness"),
        }
        for _ in 0..8 {
            stranger(trust).await?;
        }
        sleep(LOOK_EVERY).await;
    }
    bail!("nobody finds the fork")
}

/// The broker on a port that no client knows.
async fn apart(setting: &Setting, trust: &BrokerTrust, random: &mut Random) -> Result<(Daemon, BrokerTrust)> {
    let setting = Setting { port: free_port(random.next())?, ..setting.clone() };
    let (daemon, _) = up(&setting).await?;
    Ok((daemon, BrokerTrust { address: address(&setting), ..trust.clone() }))
}

fn address(setting: &Setting) -> String {
    format!("http://127.0.0.1:{}", setting.port)
}

/// A customer who enters and is never heard of again: one record.
async fn stranger(trust: &BrokerTrust) -> Result<()> {
    let system = System::real();
    let customer = Customer::open(trust.clone(), Wallet::draw(&system), CustomerBook::in_memory(), system)?;
    customer.register().await?;
    Ok(())
}
