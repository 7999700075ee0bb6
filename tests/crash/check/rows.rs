//! The index on disk: what was acknowledged by name, what follows from the records, and that it is what the journal
//! makes it.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, anyhow, ensure};
use countersign_broker::{private::Kek, rows};
use countersign_proto::{
    row::v1::{AskingRow, CustomerRow, GrantRequestRow, GrantRow, LinkRow, OfferRow, PartnerRow},
    v1::{Asking, QuietHours, grant, grant_request, partner},
};
use countersign_store::{Entry, Key, MAX_KEY_BYTES, Store};
use countersign_store_sled::{Options, SledStore};
use prost::Message;

use crate::{
    notes::{Book, Named},
    worldcheck,
};

/// A megabyte is enough for whoever reads all rows once.
const CACHE_BYTES: u64 = 1 << 20;

/// Opens a copy of a store, of which `records` is how many the log has, and asks it for what was acknowledged since `seen`.
/// As a `whole`, all that follows from the records is computed again, and then the index is thrown away and made again: it
/// must come out the same.
pub(crate) async fn check(
    copy: &Path,
    keys: &worldcheck::Keys,
    (book, seen): (&Book, usize),
    records: u64,
    whole: bool,
) -> Result<()> {
    let store = open(copy).await?;
    let found = inside(&store, (book, seen), records).await;
    let rows = match found {
        Ok(()) if whole => recomputed(&store, copy, keys).await.map(Some),
        found => found.map(|()| None),
    };
    store.close().await.context("the copy can't be closed")?;
    // Its lock goes with it.
    drop(store);
    let Some(rows) = rows? else { return Ok(()) };
    let sled = copy.join("sled");
    fs::remove_dir_all(&sled).with_context(|| sled.display().to_string())?;
    let store = open(copy).await.context("without its index")?;
    let again = all(&store).await;
    store.close().await.context("the copy can't be closed")?;
    compare(&rows, &again?)
}

/// The key under which customers' keys are wrapped.
pub(crate) fn wrapping_key(data: &Path) -> Result<Kek> {
    let path = data.join("keys/wrapping.key");
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let secret =
        text.lines().find_map(|line| line.strip_prefix("secret: ")).context("a key file has a secret")?;
    let secret = data_encoding::BASE64URL_NOPAD.decode(secret.trim().as_bytes())?;
    Ok(Kek::new(<[u8; 32]>::try_from(secret).map_err(|_| anyhow!("a key has 32 bytes"))?))
}

async fn open(copy: &Path) -> Result<SledStore> {
    let options = Options { cache_bytes: CACHE_BYTES, ..Options::default() };
    SledStore::open(copy, options).await.context("the copy can't be opened")
}

async fn inside(store: &SledStore, (book, seen): (&Book, usize), records: u64) -> Result<()> {
    let size = store.head().size;
    ensure!(size == records, "the store opens with {size} records, and the disk has {records}");
    for name in book.names.iter().skip(seen).filter(|name| !book.gone.contains(name)) {
        named(store, name).await.with_context(|| format!("{name:?} was acknowledged"))?;
    }
    for (customer, known) in &book.asking {
        let row = store.get(rows::asking(customer).as_bytes()).await.context("it can't be read")?;
        let row = row.map_or_else(|| Ok(AskingRow::default()), |row| AskingRow::decode(row.value))?;
        let found = asking(&row);
        ensure!(known.contains(&found), "{customer} is asked as {found:?}, and set one of {known:?}");
    }
    Ok(())
}

/// What a row says of how somebody is asked.
fn asking(row: &AskingRow) -> Asking {
    let (from_minute, until_minute) = (row.quiet_from_minute, row.quiet_until_minute);
    Asking {
        time_zone: row.time_zone.clone(),
        quiet_hours: (from_minute != until_minute).then_some(QuietHours { from_minute, until_minute }),
        per_day: row.per_day,
        per_week: row.per_week,
        paused: row.paused,
    }
}

/// Everything that follows from the records is as it follows from them. All rows.
async fn recomputed(store: &SledStore, copy: &Path, keys: &worldcheck::Keys) -> Result<Vec<(Key, Entry)>> {
    worldcheck::opened(store, copy, keys).await?;
    all(store).await
}

/// All rows, in the order of their keys.
async fn all(store: &SledStore) -> Result<Vec<(Key, Entry)>> {
    let everything = Vec::new()..vec![0xff; MAX_KEY_BYTES + 1];
    store.scan(everything, usize::MAX).await.context("the rows can't be read")
}

fn compare(one: &[(Key, Entry)], other: &[(Key, Entry)]) -> Result<()> {
    if let Some(((key, _), (again, _))) = one.iter().zip(other).find(|(one, other)| one != other) {
        let (key, again) = (key.escape_ascii(), again.escape_ascii());
        return Err(anyhow!("the index differs from what the journal makes it: at {key}, or {again}"));
    }
    ensure!(one.len() == other.len(), "the index has {} rows, the journal makes {}", one.len(), other.len());
    Ok(())
}

async fn named(store: &dyn Store, acknowledged: &Named) -> Result<()> {
    match acknowledged {
        Named::Customer(name) => read(store, rows::customer(name)).await.map(drop),
        Named::Offer(name) => read(store, rows::offer(name)).await.map(drop),
        Named::WithdrawnOffer(name) => {
            let row: OfferRow = read(store, rows::offer(name)).await?;
            ensure!(row.withdrawn, "it is not withdrawn");
            Ok(())
        }
        Named::InvitedLink(name) => read(store, rows::link(name)).await.map(drop),
        Named::AcceptedLink(name) => {
            let row: LinkRow = read(store, rows::link(name)).await?;
            ensure!(row.acceptance.is_some(), "it is not accepted");
            Ok(())
        }
        Named::ConfirmedLink(name) => {
            let row: LinkRow = read(store, rows::link(name)).await?;
            ensure!(row.confirmation.is_some(), "it is not confirmed");
            Ok(())
        }
        Named::Request(name) => read(store, rows::grant_request(name)).await.map(drop),
        Named::RefusedRequest(name) => {
            let row = read(store, rows::grant_request(name)).await?;
            in_state(&row, grant_request::State::Refused)
        }
        Named::CancelledRequest(name) => {
            let row = read(store, rows::grant_request(name)).await?;
            in_state(&row, grant_request::State::Cancelled)
        }
        Named::Grant(name) => read(store, rows::grant(name)).await.map(drop),
        Named::StoppedGrant(name) => {
            let row: GrantRow = read(store, rows::grant(name)).await?;
            grant_in(&row, &[grant::State::Withdrawn])
        }
        Named::SupersededGrant(name) => {
            let row: GrantRow = read(store, rows::grant(name)).await?;
            ensure!(!row.successor.is_empty(), "nothing stands in its place");
            grant_in(&row, &[grant::State::Superseded])
        }
        Named::RevokedGrant(name) => {
            grant_in(&read(store, rows::grant(name)).await?, &[grant::State::Revoked])
        }
        Named::SuspendedGrant(name) => {
            let row: GrantRow = read(store, rows::grant(name)).await?;
            if row.suspended_by_source || row.suspended_by_operator {
                return Ok(());
            }
            grant_in(&row, &[grant::State::Withdrawn, grant::State::Revoked])
        }
        Named::Partner(name) => read(store, rows::partner(name)).await.map(drop),
        Named::LivePartner(name) | Named::SuspendedPartner(name) => {
            let row: PartnerRow = read(store, rows::partner(name)).await?;
            let state = row.stage;
            ensure!(state == i32::from(partner::State::Active), "it is in state {state}");
            let suspended = row.suspended;
            ensure!(suspended || matches!(acknowledged, Named::LivePartner(_)), "it is not suspended");
            Ok(())
        }
        Named::StolenCustomer(name) => {
            let row: CustomerRow = read(store, rows::customer(name)).await?;
            ensure!(row.stolen_time_ms > 0, "nobody reported a theft");
            Ok(())
        }
        Named::StolenLink(name) => {
            let row: LinkRow = read(store, rows::link(name)).await?;
            ensure!(row.ended != 0, "it stands");
            Ok(())
        }
        Named::Device(id) => read(store, rows::wrapped_copy(*id)).await.map(drop),
        Named::RemovedDevice(id) => {
            let copy = store.get(rows::wrapped_copy(*id).as_bytes()).await.context("it can't be read")?;
            ensure!(copy.is_none(), "its copy stands");
            Ok(())
        }
    }
}

fn grant_in(row: &GrantRow, states: &[grant::State]) -> Result<()> {
    ensure!(states.iter().any(|state| row.state == i32::from(*state)), "it is in state {}", row.state);
    Ok(())
}

fn in_state(row: &GrantRequestRow, state: grant_request::State) -> Result<()> {
    ensure!(row.state == i32::from(state), "it is in state {} and not {state:?}", row.state);
    Ok(())
}

async fn read<R: Message + Default>(store: &dyn Store, key: rows::RowKey<R>) -> Result<R> {
    let entry = store.get(key.as_bytes()).await.context("it can't be read")?;
    let entry = entry.with_context(|| format!("the index has no such {}", key.kind()))?;
    R::decode(entry.value).context("its row can't be read")
}
