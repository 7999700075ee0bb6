//! One life: a fresh broker, its parties, and what they do to it without end.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64},
    },
    time::Duration,
};

use anyhow::{Context as _, Result};
use countersign_client::{
    BrokerTrust, System,
    auditor::{Auditor, MemoryHeads},
    customer::Customer,
    grants::id::{AuditorName, GrantName, OfferName, OperatorName, SubjectHandle},
    keyfile,
    operator::Operator,
};
use countersign_proto::log::v1::Kind;
use parking_lot::Mutex;
use tokio::{sync::watch, task::JoinSet};

use crate::{
    brand::{Brand, PLACE, draft},
    load,
    notes::{Named, Notes, Tag},
    random::Random,
};

/// The partners, by their ids: the first gives, the second gives and receives, the third receives.
const BRANDS: [&str; 3] = ["skylark", "hopp", "chirp"];

/// Uses that nobody spends.
pub(crate) const MANY_USES: u32 = 1_000_000;

/// Uses that are spent within a second or two.
pub(crate) const FEW_USES: u32 = 6;

/// A window that fills up and opens again.
const RATE: (u32, Duration) = (10, Duration::from_secs(1));

/// The most grants that are fetched under at a time: enough that no two fetches wait for one counter for long.
const MAX_POOL: usize = 40;

/// An offer that requests are made of.
#[derive(Clone, Debug)]
pub(crate) struct Offered {
    pub(crate) name: OfferName,
    pub(crate) source: usize,
    pub(crate) recipient: usize,
    /// Whether its uses never run out.
    pub(crate) endless: bool,
    /// Whether it asks for what leaves by a tap alone.
    pub(crate) located: bool,
}

/// A grant that stands, as far as anybody was told.
pub(crate) struct Granted {
    pub(crate) name: GrantName,
    pub(crate) tag: Tag,
    pub(crate) source: usize,
    pub(crate) recipient: usize,
    pub(crate) customer: Customer,
    pub(crate) source_subject: SubjectHandle,
    /// Nobody changes it, so each notice for its subject is a record.
    pub(crate) steady: bool,
    /// It may be narrowed or renewed. It is fetched under by hand alone: the SDK goes on under the newer revision by
    /// itself, and each use is to be counted under the grant that it was asked for.
    pub(crate) revisable: bool,
    /// It has a field that leaves by a tap alone.
    pub(crate) located: bool,
    /// The customer gave the field that can be left out.
    pub(crate) chosen: bool,
    /// An end, or a suspension for good, was acknowledged.
    pub(crate) stopped: AtomicBool,
}

impl Granted {
    /// A grant that was just approved, which nobody changes but whoever made it.
    pub(crate) fn new(
        customer: Customer,
        offered: &Offered,
        (name, tag, chosen): (GrantName, Tag, bool),
        source_subject: SubjectHandle,
    ) -> Self {
        Self {
            name,
            tag,
            source: offered.source,
            recipient: offered.recipient,
            customer,
            source_subject,
            steady: false,
            revisable: false,
            located: offered.located,
            chosen,
            stopped: AtomicBool::new(false),
        }
    }
}

/// Everything that the clients share.
pub(crate) struct World {
    pub(crate) folder: PathBuf,
    pub(crate) trust: BrokerTrust,
    pub(crate) notes: Notes,
    pub(crate) brands: Vec<Brand>,
    pub(crate) offers: Vec<Offered>,
    pub(crate) operators: [Operator; 2],
    pub(crate) auditor: Auditor,
    pub(crate) pool: Mutex<Vec<Arc<Granted>>>,
    /// How many people there were.
    pub(crate) people: AtomicU64,
    /// Whether anything new may begin. What has begun goes on.
    gate: watch::Sender<bool>,
}

impl World {
    /// Enters partners, offers and an auditor at a broker that listens. `data` is its data folder.
    pub(crate) async fn set(
        folder: &Path,
        data: &Path,
        trust: BrokerTrust,
        tasks: &mut JoinSet<()>,
    ) -> Result<Arc<Self>> {
        let system = System::real();
        let notes = Notes::new(trust.log_key.clone());
        let open = |name: &str, key: &str| -> Result<_> {
            let name = OperatorName::parse(name).context("a constant")?;
            Ok(Operator::open(&trust, name, &keyfile::read(&data.join(key))?, system.clone())?)
        };
        let operator = open("operators/root", "keys/operator.key")?;
        let second = open("operators/second", "keys/second-operator.key")?;
        let mut brands = Vec::with_capacity(BRANDS.len());
        for id in BRANDS {
            let brand = Brand::enter((id, folder), &trust, [&operator, &second], &notes, tasks).await;
            brands.push(brand.with_context(|| format!("entering {id}"))?);
        }
        let name = AuditorName::parse("auditors/ada").context("a constant")?;
        let key = keyfile::draw(&system);
        operator.create_auditor(&name, "Ada", key.public()).await?;
        let heads = Arc::new(MemoryHeads::default());
        let auditor = Auditor::open(&trust, name, &key, heads, &system)?;
        let mut world = Self {
            folder: folder.to_owned(),
            trust,
            notes,
            brands,
            offers: Vec::new(),
            operators: [operator, second],
            auditor,
            pool: Mutex::default(),
            people: AtomicU64::new(0),
            gate: watch::Sender::new(true),
        };
        let kinds = [
            (0, 1, MANY_USES, None, false),
            (0, 1, FEW_USES, None, false),
            (0, 2, MANY_USES, Some(RATE), false),
            (1, 2, MANY_USES, None, false),
            (0, 1, MANY_USES, None, true),
        ];
        for (source, recipient, uses, rate, located) in kinds {
            let sending = world.notes.sending(Kind::OfferPublished);
            let mut draft = draft(world.brands[source].name(), uses, rate);
            draft.required_fields.extend(located.then(|| PLACE.to_owned()));
            let name = world.brands[recipient].partner.publish_offer(&draft).await?;
            sending.done(None);
            world.notes.named(Named::Offer(name.clone()));
            let endless = uses == MANY_USES && rate.is_none();
            world.offers.push(Offered { name, source, recipient, endless, located });
        }
        Ok(Arc::new(world))
    }

    /// Starts everybody; they go on, whatever becomes of the broker, for as long as `tasks` do.
    pub(crate) fn go(self: &Arc<Self>, seed: u64, tasks: &mut JoinSet<()>) {
        let random = |name, number| Random::part(seed, name, number);
        for number in 0..2 {
            tasks.spawn(load::people::run(Arc::clone(self), random("people", number)));
        }
        for number in 0..6 {
            tasks.spawn(load::transfers::run(Arc::clone(self), random("transfers", number)));
        }
        for number in 0..2 {
            tasks.spawn(load::changes::run(Arc::clone(self), random("changes", number)));
        }
        for number in 0..2 {
            tasks.spawn(load::taps::run(Arc::clone(self), random("taps", number)));
        }
        tasks.spawn(load::renewals::run(Arc::clone(self), random("renewals", 0)));
        tasks.spawn(load::stops::partners(Arc::clone(self), random("partners' stops", 0)));
        tasks.spawn(load::stops::operators(Arc::clone(self), random("operators' stops", 0)));
        tasks.spawn(load::newcomers::run(Arc::clone(self), random("newcomers", 0)));
        tasks.spawn(load::thefts::run(Arc::clone(self), random("thefts", 0)));
        tasks.spawn(load::leavers::run(Arc::clone(self), random("leavers", 0)));
        tasks.spawn(load::residents::run(Arc::clone(self), random("residents", 0)));
        tasks.spawn(load::offers::run(Arc::clone(self), random("offers", 0)));
        tasks.spawn(load::readers::heads(Arc::clone(self), random("heads", 0)));
        tasks.spawn(load::readers::auditor(Arc::clone(self), random("auditor", 0)));
        tasks.spawn(load::readers::watcher(Arc::clone(self), random("watcher", 0)));
    }

    /// Lets new things begin, or keeps them waiting while the checks have the machine.
    pub(crate) fn open_gate(&self, open: bool) {
        self.gate.send_replace(open);
    }

    /// Waits until new things may begin.
    pub(crate) async fn may_begin(&self) {
        // The sender is this world's own, so it never goes before the receiver.
        let _ = self.gate.subscribe().wait_for(|open| *open).await;
    }

    /// A grant that stands becomes one that is fetched under.
    pub(crate) fn add(&self, granted: Granted, random: &mut Random) {
        let mut pool = self.pool.lock();
        if pool.len() >= MAX_POOL
            && let Ok(place) = usize::try_from(random.below(MAX_POOL as u64))
        {
            // Whoever leaves the pool is heard of no more; the grant stands as it did.
            pool.swap_remove(place);
        }
        pool.push(Arc::new(granted));
    }

    /// One of the grants that are fetched under.
    pub(crate) fn any(&self, random: &mut Random) -> Option<Arc<Granted>> {
        random.pick(&self.pool.lock()).cloned()
    }

    /// One of them that is such.
    pub(crate) fn one(&self, random: &mut Random, such: impl Fn(&Granted) -> bool) -> Option<Arc<Granted>> {
        let such: Vec<_> = self.pool.lock().iter().filter(|granted| such(granted)).cloned().collect();
        random.pick(&such).cloned()
    }

    /// This one is spent, or stopped.
    pub(crate) fn retire(&self, name: &GrantName) {
        self.pool.lock().retain(|granted| granted.name != *name);
    }
}
