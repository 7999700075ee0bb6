//! The proof that the checks can fail: on copies of a sound disk something is lost, put in or invented, and each is found.

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use bytes::Bytes;
use countersign_grants::{digest::Digest, id::OfferName};
use countersign_proto::{
    log::v1::{Kind, Record, Result as Went},
    v1::Asking,
};
use countersign_store::{Batch, Store as _};
use countersign_store_sled::{Options, SledStore};
use countersign_tlog::Hash;
use prost::Message as _;

use crate::{
    check::{copy, journal, log::Log, rows},
    harm,
    notes::{Book, Calls, Named, Noted},
    rounds::Life,
};

/// How long the load runs before the disk is taken, again and again until there is enough on it.
const LOAD: Duration = Duration::from_millis(1500);
const MAX_LOADS: usize = 20;

/// The row of an offer, as the broker keys it.
const OFFER_ROW: &[u8] = b"b/offer/";

struct Trial<'a> {
    life: &'a Life,
    copy: &'a Path,
    book: &'a Book,
    found: Vec<String>,
}

/// Runs a broker under load, kills it, and tries every check on copies of what is left.
pub(crate) async fn run(seed: u64, folder: &Path) -> Result<()> {
    let deck = harm::Deck::shuffle(seed, None)?;
    let mut life = Life::begin((0, seed), &folder.join("life"), harm::environment(), deck).await?;
    for _ in 0..MAX_LOADS {
        let book = life.world.notes.book();
        let ended = |name: &Named| matches!(name, Named::StoppedGrant(_) | Named::SupersededGrant(_));
        let removed = |name: &Named| matches!(name, Named::RemovedDevice(_));
        let changed = book.names.iter().any(ended) && book.names.iter().any(removed);
        if !book.stops.is_empty() && book.receipts.len() > 20 && changed && !book.asking.is_empty() {
            break;
        }
        life.watch(LOAD).await?;
    }
    let (copied, book) = life.cut_short(LOAD).await?;
    ensure!(!book.stops.is_empty(), "nothing was stopped, so nothing can be tried");
    let mut trial = Trial { life: &life, copy: &copied, book: &book, found: Vec::new() };
    trial.log(&copied, &book).context("a sound disk")?;
    trial.index(&copied, &book).await.context("a sound index")?;

    trial.inventions()?;
    trial.losses()?;
    trial.after_the_stop()?;
    trial.index_loses().await?;
    for found in &trial.found {
        println!("self-test: {found}");
    }
    Ok(())
}

impl Trial<'_> {
    fn log(&self, disk: &Path, book: &Book) -> Result<()> {
        Log::new(self.life.world.trust.log_key.clone()).check(disk, book)
    }

    async fn index(&self, disk: &Path, book: &Book) -> Result<()> {
        let mut log = Log::new(self.life.world.trust.log_key.clone());
        log.check(disk, &Book::default())?;
        let again = self.fresh("index")?;
        rows::check(&again, &self.life.keys, (book, 0), log.size(), true).await
    }

    /// Another copy, for one trial.
    fn fresh(&self, name: &str) -> Result<std::path::PathBuf> {
        let fresh = self.life.beside(&format!("trial-{name}"));
        copy::remove(&fresh)?;
        copy::folder(self.copy, &fresh)?;
        Ok(fresh)
    }

    fn must_fail(&mut self, what: &str, checked: Result<()>, word: &str) -> Result<()> {
        let Err(error) = checked else { bail!("{what}: the check does not notice") };
        let said = format!("{error:#}");
        ensure!(said.contains(word), "{what}: the check says something else: {said}");
        self.found.push(format!("{what}: {said}"));
        Ok(())
    }

    /// What somebody claims to have been told, and nobody was.
    fn inventions(&mut self) -> Result<()> {
        let first = self.book.receipts.first().context("receipts")?.clone();
        let invented = |spoil: &dyn Fn(&mut Book)| {
            let mut book = self.book.clone();
            spoil(&mut book);
            self.log(self.copy, &book)
        };
        let beyond = invented(&|book| {
            book.receipts.push(Noted { index: 1 << 40, ..first.clone() });
        });
        let other = invented(&|book| {
            book.receipts.push(Noted { leaf: Bytes::from_static(b"another"), ..first.clone() });
        });
        let head = invented(&|book| {
            book.heads.insert(7, Hash::EMPTY_ROOT);
        });
        let call = invented(&|book| book.calls.entry(Kind::CustomerCreated).or_default().answered += 100);
        let missing = invented(&|book| {
            book.calls.insert(Kind::LinkAccepted, Calls::default());
        });
        let stop = invented(&|book| {
            book.stops.insert([9; 32], 3);
        });
        let used = invented(&|book| book.uses.values_mut().for_each(|uses| uses.released += 100));
        self.must_fail("a receipt beyond the log", beyond, "was acknowledged")?;
        self.must_fail("a receipt of another record", other, "has another")?;
        self.must_fail("a checkpoint that was never of this log", head, "a tree of 7 records")?;
        self.must_fail("calls that made no record", call, "were answered")?;
        self.must_fail("records that no call made", missing, "0 calls for LinkAccepted")?;
        self.must_fail("a stop that is none", stop, "acknowledged as a stop")?;
        self.must_fail("uses that were never spent", used, "uses of a grant")
    }

    /// What was acknowledged and is on the disk no more, or otherwise.
    fn losses(&mut self) -> Result<()> {
        let disk = self.fresh("cut")?;
        let size = self.book.heads.last_key_value().map_or(0, |(size, _)| *size);
        harm::cut_below(&disk, size)?;
        let cut = self.log(&disk, self.book);
        self.must_fail("an acknowledged record removed", cut, "")?;

        let disk = self.fresh("altered")?;
        let segment = journal::read(&disk.join("journal"))?.pop().context("a segment")?;
        let frame = segment.frames.last().context("a frame")?;
        let mut bytes = std::fs::read(&segment.path)?;
        bytes[frame.offset + frame.length / 2] ^= 1;
        std::fs::write(&segment.path, bytes)?;
        let mut book = self.book.clone();
        let last = frame.records.last().cloned().unwrap_or_default();
        book.receipts.push(Noted { index: frame.size - 1, leaf: last, kind: Kind::Unspecified });
        let altered = self.log(&disk, &book);
        self.must_fail("an acknowledged record altered", altered, "")?;

        let disk = self.fresh("tile")?;
        let tile = newest_tile(&disk)?;
        let mut bytes = std::fs::read(&tile)?;
        bytes[5] ^= 1;
        std::fs::write(&tile, bytes)?;
        let tile = self.log(&disk, self.book);
        self.must_fail("a bit of a tile flipped", tile, "an auditor finds")
    }

    /// A transfer that comes after the recorded stop of its grant, written to the journal as the engine would.
    fn after_the_stop(&mut self) -> Result<()> {
        let disk = self.fresh("stopped")?;
        let segment = journal::read(&disk.join("journal"))?.pop().context("a segment")?;
        let last = segment.frames.last().context("a frame")?;
        let tag = self.book.stops.keys().next().context("a stop")?;
        let mut record =
            Record { version: 1, grant_tag: tag.to_vec().into(), use_number: 1, ..Record::default() };
        record.set_kind(Kind::Transfer);
        record.set_result(Went::Released);
        let mut bytes = std::fs::read(&segment.path)?;
        bytes.truncate(last.offset + last.length);
        bytes.extend(journal::encode(last.size + 1, last.sequence + 1, &record.encode_to_vec())?);
        std::fs::write(&segment.path, bytes)?;
        let after = self.log(&disk, self.book);
        self.must_fail("a transfer after a stop", after, "stopped its grant")
    }

    /// Rows that are gone, or there though nobody knows why.
    async fn index_loses(&mut self) -> Result<()> {
        let mut book = self.book.clone();
        book.names.push(Named::Offer(OfferName::of(Digest::of(b"an offer that was never published"))));
        let invented = self.index(self.copy, &book).await;
        self.must_fail("an offer that nobody published", invented, "the index has no such offer")?;

        self.invented_states().await?;

        let offer = self.book.names.iter().find_map(|name| match name {
            Named::Offer(offer) => Some(offer.clone()),
            _ => None,
        });
        let offer = offer.context("an offer")?;
        let disk = self.fresh("rows")?;
        let store = SledStore::open(&disk, Options::default()).await?;
        let key = [OFFER_ROW, offer.digest().as_bytes()].concat();
        store.commit(store.head(), Batch { deletes: vec![key], ..Batch::default() }).await?;
        let size = store.head().size;
        store.close().await?;
        drop(store);
        let gone = rows::check(&disk, &self.life.keys, (self.book, 0), size, false).await;
        self.must_fail("the row of an offer deleted", gone, "the index has no such offer")?;
        let unknown = rows::check(&disk, &self.life.keys, (&Book::default(), 0), size, true).await;
        self.must_fail("the same, by the records alone", unknown, "")
    }
}

impl Trial<'_> {
    /// States in which nothing stands.
    async fn invented_states(&mut self) -> Result<()> {
        let find = |such: &dyn Fn(&Named) -> Option<Named>| {
            self.book.names.iter().filter(|name| !self.book.gone.contains(name)).find_map(such)
        };
        let partner = find(&|name| match name {
            Named::LivePartner(name) => Some(Named::SuspendedPartner(name.clone())),
            _ => None,
        });
        let customer = find(&|name| match name {
            Named::Customer(name) => Some(Named::StolenCustomer(name.clone())),
            _ => None,
        });
        let device = find(&|name| match name {
            Named::Device(id) => Some(Named::RemovedDevice(*id)),
            _ => None,
        });
        let removed = find(&|name| match name {
            Named::RemovedDevice(id) => Some(Named::Device(*id)),
            _ => None,
        });
        let grant = find(&|name| match name {
            Named::StoppedGrant(name) | Named::SupersededGrant(name) => {
                Some(Named::RevokedGrant(name.clone()))
            }
            _ => None,
        });
        let invented = [
            ("a partner that nobody suspended", partner, "it is not suspended"),
            ("a theft that nobody reported", customer, "nobody reported a theft"),
            ("a grant that nobody revoked", grant, "it is in state"),
            ("an authenticator that nobody removed", device, "its copy stands"),
            ("an authenticator that was removed", removed, "the index has no such wrapped-copy"),
        ];
        let mut log = Log::new(self.life.world.trust.log_key.clone());
        log.check(self.copy, &Book::default())?;
        for (what, name, word) in invented {
            let book = Book { names: vec![name.context(what)?], ..Book::default() };
            let again = self.fresh("state")?;
            let checked = rows::check(&again, &self.life.keys, (&book, 0), log.size(), false).await;
            self.must_fail(what, checked, word)?;
        }
        let mut book = Book { asking: self.book.asking.clone(), ..Book::default() };
        let one = book.asking.values_mut().next().context("somebody who set how she is asked")?;
        *one = vec![Asking { per_day: u32::MAX, ..Asking::default() }];
        let again = self.fresh("asking")?;
        let checked = rows::check(&again, &self.life.keys, (&book, 0), log.size(), false).await;
        self.must_fail("a setting that nobody made", checked, "and set one of")
    }
}

fn newest_tile(store: &Path) -> Result<std::path::PathBuf> {
    let folder = store.join("log/tile/0");
    let mut newest = None;
    for entry in std::fs::read_dir(&folder)? {
        let path = entry?.path();
        let files = if path.is_dir() {
            std::fs::read_dir(&path)?
                .map(|entry| entry.map(|entry| entry.path()))
                .collect::<Result<Vec<_>, _>>()?
        } else {
            vec![path]
        };
        let length = |path: &Path| std::fs::metadata(path).map_or(0, |found| found.len());
        newest = files.into_iter().chain(newest).max_by_key(|path| length(path));
    }
    newest.context("a tile")
}
