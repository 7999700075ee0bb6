//! A customer: links, decides, taps, pauses, stops, at times all at once.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use countersign_client::{
    Error, Misuse,
    customer::{
        Acknowledged, AuthenticatorSecret, Choice, Customer, CustomerBook, GrantRow, Narrowing, ReadRequest,
        Recorded, Standing,
    },
};
use countersign_grants::{
    catalogue::FieldPath,
    digest::Digest,
    id::{GrantName, Principal, RequestName},
};
use countersign_proto::{
    log::v1::Kind,
    v1::{grant, grant_request::State},
};
use tokio::time::sleep;

use crate::{
    blame::{self, Allowed},
    hosts::PAUSE,
    partner::{FIELDS, short},
    plan::CUSTOMER_HOSTS,
    random::Random,
    tapping::PLACE,
    world::{Ceremony, Leaving, Phase, World, wallet_of},
};

/// The most authenticators that a customer keeps.
const MAX_AUTHENTICATORS: usize = 4;

/// Of a hundred times that one who will leave looks at the grants, how often the account is closed: in most runs within the
/// time of the faults, and with grants to stop.
const LEAVES_PERCENT: u64 = 12;

/// How long a customer waits for the source's word.
const WAITS: Duration = Duration::from_secs(60);

/// One life of a customer's app.
pub(crate) async fn live(world: Arc<World>, at: usize) -> turmoil::Result {
    let host = CUSTOMER_HOSTS[at];
    while world.phase() == Phase::Begins {
        sleep(PAUSE).await;
    }
    let system = world.system(host);
    let (wallet, book) = (wallet_of(world.seed, at), CustomerBook::open(world.disks[host].clone())?);
    let principal = Principal::Customer(wallet.customer().clone());
    let connection = world.connection(principal, wallet.call_key(), &system);
    let customer = Customer::open_on(world.trust.clone(), wallet, book, system, connection)?;
    world.board.lock().customers[at] = Some(customer.clone());
    let app = Arc::new(App { world, customer, at, host });
    match app.leaving() {
        Leaving::No => app.register().await,
        Leaving::Begun => {}
        Leaving::Gone => {
            app.world.board.lock().at_rest[at] = true;
            std::future::pending::<()>().await;
        }
    }
    tokio::spawn(Arc::clone(&app).change());
    app.answer().await
}

pub(crate) struct App {
    pub(crate) world: Arc<World>,
    pub(crate) customer: Customer,
    pub(crate) at: usize,
    pub(crate) host: &'static str,
}

impl App {
    /// An error that came beside an answer is held against the faults too.
    pub(crate) fn excused(&self, what: &str, error: &Error) {
        if blame::judge(&self.world.plan, error) == Allowed::Never {
            self.world.fail("error", format!("{}: {what}: {error}", self.host));
        }
    }

    pub(crate) fn outcome<T>(&self, what: &str, came: &Result<T, Error>, good: impl FnOnce(&T) -> String) {
        self.world.outcome(self.host, what, came, good);
    }

    async fn register(&self) {
        loop {
            let came = self.customer.register().await;
            self.outcome("register", &came, |_| "ok".to_owned());
            if came.is_ok() {
                return;
            }
            sleep(PAUSE).await;
        }
    }

    /// Accepts invitations, and answers requests.
    async fn answer(self: Arc<Self>) -> turmoil::Result {
        let mut random = self.world.random(&format!("{} answer", self.host));
        let mut decided: BTreeMap<String, u64> = BTreeMap::new();
        loop {
            sleep(Duration::from_millis(random.between(800, 2_500))).await;
            if self.world.phase() != Phase::Works || self.leaving() == Leaving::Gone {
                continue;
            }
            for partner in 0..self.world.plan.partners {
                self.accept_from(partner).await;
            }
            self.open_requests().await;
            let came = self.customer.requests().await;
            self.outcome("requests", &came, |listed| format!("{} requests", listed.len()));
            for waiting in came.unwrap_or_default() {
                if !matches!(waiting.state, State::Requested | State::Deferred) {
                    continue;
                }
                // One mind about each request, however often its answer is sent.
                let mind = *decided.entry(waiting.name.to_string()).or_insert_with(|| random.below(100));
                self.decide(&waiting.name, waiting.state, mind, &mut random).await;
            }
        }
    }

    /// Opens what brands' own apps send this customer to. The budget shows no more than one request a day by itself.
    async fn open_requests(&self) {
        let asked = std::mem::take(&mut self.world.board.lock().asked[self.at]);
        for name in asked {
            let read = self.customer.read_request(&name).await;
            self.outcome("open request", &read, |read| format!("{} rows", read.rows().len()));
            if read.is_err() {
                self.world.board.lock().asked[self.at].push(name);
            }
        }
    }

    async fn accept_from(&self, partner: usize) {
        let place = (partner, self.at);
        let package = match self.world.board.lock().ceremonies.get(&place) {
            Some(Ceremony::Invited { package, code: None, .. }) => package.clone(),
            _ => return,
        };
        let came = self.customer.accept(&package).await;
        self.outcome("accept", &came, |accepted| short(accepted.link.as_str()));
        let mut board = self.world.board.lock();
        match came {
            Ok(accepted) => {
                if let Some(Ceremony::Invited { link, code, .. }) = board.ceremonies.get_mut(&place)
                    && *link == accepted.link
                {
                    *code = Some(accepted.code);
                }
                drop(board);
                self.world.checks.lock().promised(Kind::LinkAccepted);
            }
            // One that can't be accepted is asked for anew.
            Err(Error::Refused(refused)) if refused.reason.starts_with("INVITATION") => {
                board.ceremonies.remove(&place);
            }
            Err(_) => {}
        }
    }

    async fn decide(&self, name: &RequestName, state: State, mind: u64, random: &mut Random) {
        let told = short(name.as_str());
        match mind {
            0..=4 => {}
            5..=12 => {
                let came = self.customer.refuse(name).await;
                self.outcome("refuse", &came, |()| told);
                if came.is_ok() {
                    self.world.checks.lock().promised(Kind::RequestRefused);
                }
            }
            13..=22 if state == State::Requested => {
                let came = self.customer.defer(name).await;
                self.outcome("defer", &came, |()| told);
                if came.is_ok() {
                    self.world.checks.lock().promised(Kind::RequestDeferred);
                }
            }
            _ => self.approve(name, random).await,
        }
    }

    async fn approve(&self, name: &RequestName, random: &mut Random) {
        let read = self.customer.read_request(name).await;
        self.outcome("read request", &read, |read| format!("{} rows", read.rows().len()));
        let Ok(read) = read else { return };
        if random.chance(30) {
            self.preview(&read).await;
        }
        let mut choice = Choice::required("en");
        if read.rows().len() > 1 && random.chance(60) {
            choice = choice.with_row(2);
        }
        if let Ok(place) = FieldPath::parse(PLACE)
            && random.chance(70)
        {
            choice = choice.with_field(1, place);
        }
        let came = self.customer.approve(&read, &choice).await;
        self.world.keep_what_was_signed();
        self.outcome("approve", &came, |approved| {
            let names: Vec<_> = approved.iter().map(|row| short(row.grant.as_str())).collect();
            format!("{} as {}", short(name.as_str()), names.join(", "))
        });
        for approved in came.iter().flatten() {
            let store = self.world.storage.current();
            self.world.checks.lock().acknowledged(self.host, &store, &approved.receipt);
        }
    }

    /// Looks at what would leave, by the first row.
    async fn preview(&self, read: &ReadRequest) {
        let fields: Vec<FieldPath> = FIELDS.iter().filter_map(|field| FieldPath::parse(field).ok()).collect();
        let came = self.customer.preview(read, 1, &fields).await;
        self.outcome("preview", &came, |seen| format!("{} values", seen.values.len()));
        if let Ok(seen) = &came {
            self.world.checks.lock().acknowledged(self.host, &self.world.storage.current(), &seen.receipt);
        }
    }

    /// Keeps another authenticator, or lets go of the one before it.
    async fn authenticators(&self, random: &mut Random) {
        // What became of a change that was not answered, the broker says.
        let devices = self.customer.devices().await;
        self.outcome("devices", &devices, |devices| format!("{} devices", devices.len()));
        let Ok(devices) = devices else { return };
        let kept: Vec<Digest> = devices.iter().map(|device| device.authenticator).collect();
        let (what, came) = if kept.len() > 1 && random.chance(60) {
            ("remove authenticator", self.customer.remove_authenticator(kept[0]).await)
        } else if kept.len() < MAX_AUTHENTICATORS {
            let mut secret = [0; 32];
            for byte in &mut secret {
                *byte = random.below(256) as u8;
            }
            let secret = AuthenticatorSecret::from_secret(&secret);
            ("add authenticator", self.customer.add_authenticator(&secret, "telephone").await)
        } else {
            return;
        };
        self.outcome(what, &came, |leaf| format!("record {}", leaf.index()));
        if let Ok(leaf) = &came {
            self.world.checks.lock().acknowledged(self.host, &self.world.storage.current(), leaf);
        }
    }

    /// Pauses, resumes, narrows and stops; and in the end sees to it that everything that was begun is known.
    async fn change(self: Arc<Self>) {
        let mut random = self.world.random(&format!("{} change", self.host));
        while self.world.phase() == Phase::Works {
            sleep(Duration::from_millis(random.between(800, 5_000))).await;
            if self.leaving() == Leaving::Begun
                || (self.world.plan.leavers.contains(&self.at) && random.chance(LEAVES_PERCENT))
            {
                break;
            }
            if random.chance(15) {
                Box::pin(self.authenticators(&mut random)).await;
            }
            let rows = self.customer.book().grants();
            if random.chance(25) {
                Box::pin(self.tap(&rows, &mut random)).await;
            }
            let Some(row) = random.pick(&rows) else { continue };
            let roll = random.below(100);
            match (row.standing, roll) {
                (Standing::Stopped { .. } | Standing::Superseded { .. }, _) => {}
                (_, 0..=19) => {
                    Box::pin(self.changed("stop", &row.name, self.customer.stop(&row.name, roll < 10))).await;
                }
                (Standing::Active, 20..=45) => {
                    Box::pin(self.changed("pause", &row.name, self.customer.pause(&row.name))).await;
                }
                (Standing::Active, 46..=60) => {
                    Box::pin(self.narrow(row, &mut random)).await;
                }
                (Standing::Paused, 20..=85) => {
                    Box::pin(self.changed("resume", &row.name, self.customer.resume(&row.name))).await;
                }
                _ => {
                    let came = self.customer.grants().await;
                    self.outcome("grants", &came, |views| format!("{} grants", views.len()));
                }
            }
        }
        if self.world.plan.leavers.contains(&self.at) {
            Box::pin(self.leave(&mut random)).await;
            self.world.board.lock().at_rest[self.at] = true;
            return;
        }
        loop {
            let rested = Box::pin(self.settle()).await;
            self.world.board.lock().at_rest[self.at] = rested;
            sleep(PAUSE * 2).await;
        }
    }

    /// Takes some of what is left of a grant away.
    async fn narrow(self: &Arc<Self>, row: &GrantRow, random: &mut Random) {
        let mut narrowing = Narrowing::default().until(row.terms.expire_time.minus(Duration::from_secs(1)));
        if random.chance(50) {
            narrowing = narrowing.uses(row.terms.uses.saturating_sub(1).max(1));
        }
        let narrowed = async {
            let came = self.customer.narrow(&row.name, &narrowing).await;
            self.world.keep_what_was_signed();
            came.map(|narrowed| narrowed.recorded)
        };
        Box::pin(self.changed("narrow", &row.name, narrowed)).await;
    }

    /// Gives leave for one fetch of the place, under one of the grants that have it.
    async fn tap(&self, rows: &[GrantRow], random: &mut Random) {
        let has_place = |row: &&GrantRow| row.terms.fields.iter().any(FieldPath::needs_tap);
        let stands = |row: &&GrantRow| row.standing == Standing::Active;
        let rows: Vec<_> = rows.iter().filter(has_place).filter(stands).collect();
        let Some(row) = random.pick(&rows) else { return };
        let within = Duration::from_secs(random.between(1, 120));
        let came = self.customer.tap(&row.name, within).await;
        self.outcome(&format!("tap {}", short(row.name.as_str())), &came, |tapped| {
            format!("record {}, for {within:?}", tapped.receipt.index())
        });
        if let Ok(tapped) = &came {
            self.world.checks.lock().acknowledged(self.host, &self.world.storage.current(), &tapped.receipt);
        }
    }

    /// Whether the broker takes changes of the grant, as far as it is known.
    async fn changed(
        self: &Arc<Self>,
        what: &str,
        name: &GrantName,
        change: impl Future<Output = Result<Recorded, Error>>,
    ) -> bool {
        let came = change.await;
        let told = short(name.as_str());
        self.outcome(&format!("{what} {told}"), &came, |done| format!("record {}", done.receipt().index()));
        let recorded = match came {
            Ok(recorded) => recorded,
            Err(Error::Misuse(Misuse::NotNow { .. })) => return false,
            Err(error) => return error.reason() != Some("WRONG_STATE"),
        };
        self.world.checks.lock().acknowledged(self.host, &self.world.storage.current(), recorded.receipt());
        let app = Arc::clone(self);
        tokio::spawn(async move {
            let came = recorded.wait_until_acknowledged(WAITS).await;
            app.outcome(&format!("acknowledged {told}"), &came, |word| match word {
                Acknowledged::BySource { .. } => "by the source".to_owned(),
                Acknowledged::NotConfirmed { .. } => "not within a minute".to_owned(),
            });
        });
        true
    }

    /// Whether the book knows what became of everything that was signed, and every change has the source's word.
    async fn settle(self: &Arc<Self>) -> bool {
        let came = self.customer.grants().await;
        self.outcome("grants", &came, |views| format!("{} grants", views.len()));
        let Ok(views) = came else { return false };
        let mut rested = true;
        for view in views.into_iter().filter(|view| view.state.is_some()) {
            let row = view.row;
            // A change that never arrived before the grant ended by another's hand can't arrive any more.
            let ended = matches!(view.state, Some(grant::State::Consumed | grant::State::Revoked));
            if row.is_settled() || ended {
                continue;
            }
            if is_pending(&row) {
                // What was signed before is sent again, and then the grant is stopped; unless it was renewed meanwhile.
                let stop = self.customer.stop(&row.name, false);
                let taken = Box::pin(self.changed("stop", &row.name, stop)).await;
                rested &= !taken && view.state == Some(grant::State::Superseded);
                continue;
            }
            rested = false;
            let came = self.customer.acknowledgement(&row.name).await;
            self.outcome("acknowledgement", &came, |word| {
                word.map_or("none yet", |_| "by the source").to_owned()
            });
        }
        rested
    }
}

/// A change was signed, and what became of it is not known.
fn is_pending(row: &GrantRow) -> bool {
    !row.is_settled() && (row.sequence == 0 || row.acknowledged.is_some())
}
