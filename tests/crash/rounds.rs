//! The campaign: lives of many rounds, each of load, a kill, a check of the disk, and a restart.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use crate::{
    check::{self, copy, log::Log},
    daemon::{Daemon, Program, Setting, Started, free_port},
    harm::{self, Harm},
    load,
    notes::{Book, Tally},
    options::Options,
    random::Random,
    report::{Campaign, Round},
    world::World,
    worldcheck,
};

/// The log's name.
pub(crate) const ORIGIN: &str = "crash.countersign.example/log";

/// Ceilings that never bind, so that offers alone bound the uses; and a field that leaves by a tap alone.
const CATALOGUE: &str = include_str!("catalogue.toml");

/// How often faults and the daemon's own end are looked for.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The shortest load before a kill.
const LEAST_LOAD_MS: u64 = 60;

/// The most kills in a row while it starts.
const MAX_KILLS_IN_START: u32 = 3;

/// In one check of so many all that follows from the records is computed again, and the copy's index is thrown away and
/// made again; at the end of a life too. In the others the index is asked for what was acknowledged since.
const WHOLE_EVERY: u32 = 4;

/// A round that takes longer than this hangs.
const ROUND_WITHIN: Duration = Duration::from_secs(180);

/// How long partners may take, at the end of a life, to hear what they have not heard yet.
const HEAR_WITHIN: Duration = Duration::from_secs(60);

/// One broker with its clients, from its first start to its last.
pub(crate) struct Life {
    pub(crate) setting: Setting,
    pub(crate) world: Arc<World>,
    pub(crate) log: Log,
    pub(crate) keys: worldcheck::Keys,
    folder: PathBuf,
    number: u32,
    seed: u64,
    daemon: Daemon,
    /// How long the last start took.
    start: Duration,
    /// Those who never end: partners' servers and their events.
    standing: JoinSet<()>,
    /// Those who make the load.
    load: JoinSet<()>,
    /// Up to where the notes and the log were checked.
    names: usize,
    since: u64,
    harms: harm::Deck,
}

/// Runs all rounds. A fault names the life in which it happened.
pub(crate) async fn run(options: &Options, (rounds, harmed): (u32, bool), folder: &Path) -> Result<Campaign> {
    let begun = Instant::now();
    let mut campaign = Campaign { seed: options.seed, harmed, ..Campaign::default() };
    let mut left = rounds;
    let mut number = 0;
    while left > 0 {
        let seed = options.seed + u64::from(number);
        let folder = folder.join(format!("life-{number}"));
        let rounds = left.min(options.life.max(1));
        let lived = live(options, &mut campaign, (number, seed, rounds, harmed), &folder).await;
        lived.with_context(|| {
            let harm = if harmed { " --harm" } else { "" };
            format!("life {number}; again: cargo xtask crash --rounds {rounds} --seed {seed}{harm}")
        })?;
        copy::remove(&folder)?;
        left -= rounds;
        number += 1;
        campaign.lives += 1;
    }
    campaign.close(begun.elapsed());
    Ok(campaign)
}

async fn live(
    options: &Options,
    campaign: &mut Campaign,
    (number, seed, rounds, harmed): (u32, u64, u32, bool),
    folder: &Path,
) -> Result<()> {
    let deck = harm::Deck::shuffle(seed, options.only.as_deref())?;
    let mut environment = harm::environment();
    if !harmed {
        // After a scrub there is one snapshot for some time, where harm to the newest rests on an older one.
        environment.push(("COUNTERSIGN_ERASURE__SCRUB_AFTER_SECONDS".to_owned(), "1".to_owned()));
    }
    let mut life = Life::begin((number, seed), folder, environment, deck).await?;
    for round in 0..rounds {
        let harmed = harmed.then(|| life.harms.draw(&life.setting.data.join("store")));
        let running = life.round(round, options.load_ms, harmed);
        let ran = timeout(ROUND_WITHIN, running).await;
        let (row, tally) = ran
            .map_err(|_| anyhow!("it hangs"))
            .and_then(|ran| ran)
            .with_context(|| format!("round {round}"))?;
        campaign.add(&row, harmed.map(Harm::name), &tally);
        if options.json {
            println!("{}", serde_json::to_string(&row)?);
        } else {
            println!("{}", row.line());
        }
    }
    campaign.heads += life.end().await.context("the end of the life")?;
    Ok(())
}

impl Life {
    /// A fresh folder, a broker in it, partners, people.
    pub(crate) async fn begin(
        (number, seed): (u32, u64),
        folder: &Path,
        environment: Vec<(String, String)>,
        harms: harm::Deck,
    ) -> Result<Self> {
        std::fs::create_dir_all(folder)?;
        let mut random = Random::part(seed, "beginning", 0);
        let catalogue = folder.join("catalogue.toml");
        std::fs::write(&catalogue, CATALOGUE)?;
        let (program, data) = (Program::beside_this_one()?, folder.join("broker"));
        let port = free_port(random.next())?;
        let trust = program.init(&data, ORIGIN, port)?;
        let setting = Setting {
            program,
            data: data.clone(),
            port,
            catalogue,
            log: folder.join("broker.log"),
            environment,
        };
        // A folder that is only being made must survive that too.
        for _ in 0..random.below(3) {
            setting.start_and_kill(Duration::from_millis(random.below(400))).await?;
        }
        let (daemon, start) = up(&setting).await?;
        let mut standing = JoinSet::new();
        let world = World::set(folder, &data, trust, &mut standing).await?;
        // So that there are full bundles, segments and snapshots from the first round on.
        load::people::crowd(&world).await?;
        let mut load = JoinSet::new();
        world.go(seed, &mut load);
        let log = Log::new(world.trust.log_key.clone());
        let kek = check::rows::wrapping_key(&data)?;
        let keys = worldcheck::Keys { log: world.trust.log_key.clone(), broker: Some(kek) };
        let folder = folder.to_owned();
        Ok(Self {
            setting,
            world,
            log,
            keys,
            folder,
            number,
            seed,
            daemon,
            start,
            standing,
            load,
            names: 0,
            since: 0,
            harms,
        })
    }

    /// Where the engine keeps everything.
    pub(crate) fn store(&self) -> PathBuf {
        self.setting.data.join("store")
    }

    /// A folder beside the broker's.
    pub(crate) fn beside(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    pub(crate) async fn round(
        &mut self,
        number: u32,
        load_ms: u64,
        harm: Option<Harm>,
    ) -> Result<(Round, Tally)> {
        let mut random = Random::part(self.seed, "round", number.into());
        let killed_after_ms = LEAST_LOAD_MS + random.below(load_ms.max(1));
        self.world.open_gate(true);
        self.watch(Duration::from_millis(killed_after_ms)).await?;
        self.daemon.kill()?;
        // What was sent and not answered is sent again until it is; nothing new begins while the checks have the machine.
        self.world.open_gate(false);
        let copy = self.take_copy()?;
        let book = self.world.notes.book();
        let mut row = Round { life: self.number, number, killed_after_ms, ..Round::default() };
        // Before anything is harmed: what was acknowledged until now is held against what lies there now.
        let before = self.log.size();
        let begun = Instant::now();
        self.log.check(&copy, &book).context("the disk")?;
        let check = begun.elapsed();
        row.records = self.log.size() - before;
        self.world.notes.cut_at(self.log.size());

        if let Some(harm) = harm {
            row.harm = harm::apply(self, harm, &book, &mut random).await.with_context(|| harm.name())?;
        }
        while row.kills_in_start < MAX_KILLS_IN_START && random.chance(1, 4) {
            let most = u64::try_from(self.start.as_millis())?.max(1) * 5 / 4;
            self.setting.start_and_kill(Duration::from_millis(random.below(most))).await?;
            row.kills_in_start += 1;
        }
        let (daemon, start) = up(&self.setting).await?;
        (self.daemon, self.start) = (daemon, start);
        row.restart_ms = u64::try_from(start.as_millis())?;

        let whole = number % WHOLE_EVERY == WHOLE_EVERY - 1;
        let (rows, api) = self.check_rest(&copy, &book, whole, &mut random).await?;
        row.check_ms = [check, rows, api].map(|taken| u64::try_from(taken.as_millis()).unwrap_or(u64::MAX));
        copy::remove(&copy)?;
        self.look()?;
        let tally = self.world.notes.take_tally();
        row.count(&tally);
        Ok((row, tally))
    }

    /// What takes longer, beside the restarted broker: the copy's index, and what the broker says by now. How long each
    /// took.
    async fn check_rest(
        &mut self,
        copy: &Path,
        book: &Book,
        whole: bool,
        random: &mut Random,
    ) -> Result<(Duration, Duration)> {
        let begun = Instant::now();
        let rows = async {
            let rows = check::rows::check(copy, &self.keys, (book, self.names), self.log.size(), whole);
            rows.await.context("the index on disk")?;
            anyhow::Ok(begun.elapsed())
        };
        let api = async {
            let api = check::api::check(&self.world, &self.log, book, (self.since, self.names), random);
            api.await.context("the restarted broker")?;
            anyhow::Ok(begun.elapsed())
        };
        let taken = tokio::try_join!(rows, api)?;
        (self.names, self.since) = (book.names.len(), self.log.size());
        Ok(taken)
    }

    /// The store as it lies there while nobody writes to it.
    fn take_copy(&self) -> Result<PathBuf> {
        let copy = self.beside("copy");
        copy::remove(&copy)?;
        copy::store(&self.store(), &copy)?;
        Ok(copy)
    }

    /// Lets the load run so long, kills the broker, and returns a copy of its store with what was noted until then. For
    /// whoever then does with the copy what nobody should.
    pub(crate) async fn cut_short(&mut self, after: Duration) -> Result<(PathBuf, Book)> {
        self.watch(after).await?;
        self.daemon.kill()?;
        Ok((self.take_copy()?, self.world.notes.book()))
    }

    /// Lets the load run, and looks whether all is well meanwhile.
    pub(crate) async fn watch(&mut self, time: Duration) -> Result<()> {
        let until = Instant::now() + time;
        while Instant::now() < until {
            sleep(LOOK_EVERY.min(until - Instant::now())).await;
            self.look()?;
        }
        Ok(())
    }

    /// Whether a client met what must never be, or somebody ended who must not.
    fn look(&mut self) -> Result<()> {
        if let Some(fault) = self.world.notes.faulted() {
            bail!(fault);
        }
        if let Some(status) = self.daemon.ended()? {
            bail!("the broker ended by itself: {status}: {}", self.setting.last_words());
        }
        for tasks in [&mut self.standing, &mut self.load] {
            if let Some(ended) = tasks.try_join_next() {
                ended.context("a client")?;
                bail!("a client has ended");
            }
        }
        Ok(())
    }

    /// The load ends, everybody hears what they have not heard yet, and the disk is looked at once more. Returns how
    /// many trees were handed out in this life.
    async fn end(mut self) -> Result<u64> {
        self.load.shutdown().await;
        let heard = timeout(HEAR_WITHIN, self.hear_all()).await;
        ensure!(heard.is_ok(), "{}", self.unheard().unwrap_or_default());
        self.look()?;
        self.daemon.kill()?;
        let copy = self.take_copy()?;
        let book = self.world.notes.book();
        self.log.check(&copy, &book).context("the disk")?;
        let rows = check::rows::check(&copy, &self.keys, (&book, 0), self.log.size(), true);
        rows.await.context("the index on disk")?;
        self.standing.shutdown().await;
        Ok(book.heads.len() as u64)
    }

    async fn hear_all(&self) {
        while self.unheard().is_some() {
            sleep(LOOK_EVERY).await;
        }
    }

    /// A notice of the last check that its recipient was not handed yet.
    fn unheard(&self) -> Option<String> {
        self.log.notices.iter().find_map(|(index, recipient)| {
            let brand = self.world.brands.iter().find(|brand| brand.name().as_str() == recipient)?;
            let missing = !brand.heard.lock().contains(index);
            missing.then(|| format!("{recipient} was never handed the notice of record {index}"))
        })
    }
}

/// Starts the broker, which must come up.
pub(crate) async fn up(setting: &Setting) -> Result<(Daemon, Duration)> {
    match setting.start().await? {
        Started::Listening(daemon, taken) => Ok((daemon, taken)),
        Started::Ended { code, words } => bail!("the broker does not start (exit code {code:?}): {words}"),
    }
}
