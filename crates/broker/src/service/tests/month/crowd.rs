//! Twenty brands that are in, each linked with every one of a few people, and how both go on.

use std::collections::BTreeMap;

use countersign_grants::id::{OfferName, Principal};
use countersign_proto::{
    log::v1::Kind,
    statement::v1 as wire,
    v1::{
        self, Asking, QuietHours, customer_service_server::CustomerService as _, grant_request::State,
        grant_service_server::GrantService as _,
    },
};
use countersign_store::Store as _;
use tonic::Status;
use tonic_types::StatusExt as _;

use super::{
    events_of,
    judge::{Habit, Judge, LIFETIME},
};
use crate::{
    service::tests::{
        row,
        world::{Brand, Linked, Person, World, as_brand, as_person},
    },
    sweeper,
};

pub(super) const BRANDS: usize = 20;

/// Numbers that look random and are the same each time (xorshift64).
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

/// A request that has not ended.
struct Open {
    brand: usize,
    put: u64,
    /// As its requester was answered.
    first: v1::GrantRequest,
    shown: bool,
    /// Whether the person has decided to let it lapse, or has put it off.
    left: bool,
}

/// One person, and the requests that she is put.
pub(super) struct Life {
    person: Person,
    links: Vec<Linked>,
    open: BTreeMap<String, Open>,
    pub(super) judge: Judge,
    /// The first record that was not looked at for a show.
    cursor: u64,
    /// How often each brand was told that it is silent.
    pub(super) turned_away: Vec<usize>,
}

pub(super) struct Crowd {
    pub(super) world: World,
    pub(super) start: u64,
    pub(super) brands: Vec<Brand>,
    offers: Vec<(OfferName, wire::Offer)>,
    pub(super) lives: Vec<Life>,
    dice: Dice,
    /// Whom the last person refuses always.
    unwanted: Vec<usize>,
    tags: u8,
    /// How the log stood when the shows were last read.
    size: u64,
    asked: Vec<usize>,
    lapsed: Vec<usize>,
}

impl Crowd {
    /// All are linked with all, by the world's first moment.
    pub(super) async fn open(habits: &[&'static Habit], unwanted: &[usize]) -> Self {
        let world = World::open().await;
        let start = world.now();
        let mut brands = Vec::new();
        for n in 0..BRANDS {
            let seed = u8::try_from(10 + 2 * n).expect("few brands");
            brands.push(world.brand(&format!("brand-{n}"), seed).await);
        }
        let mut offers = Vec::new();
        for (n, recipient) in brands.iter().enumerate() {
            let offer = world.offer_statement(&brands[(n + 1) % BRANDS], recipient);
            offers.push((world.publish(recipient, &offer).await.expect("an offer"), offer));
        }
        let mut lives = Vec::new();
        for (n, habit) in (0_u8..).zip(habits) {
            let person = world.person(60 + n).await;
            let mut links = Vec::new();
            for (seed, brand) in (100 + 20 * n..).zip(&brands) {
                links.push(world.link(brand, &person, seed).await);
            }
            let (from_minute, until_minute) = habit.quiet;
            let minute = |minute| u32::try_from(minute).expect("of a day");
            let quiet_hours = (from_minute != until_minute)
                .then(|| QuietHours { from_minute: minute(from_minute), until_minute: minute(until_minute) });
            let asking = Asking {
                time_zone: habit.zone.to_owned(),
                quiet_hours,
                per_day: habit.budget.0,
                per_week: habit.budget.1,
                paused: false,
            };
            let set = v1::SetAskingRequest { name: person.name.to_string(), asking: Some(asking) };
            world.customers().set_asking(as_person(&person, set)).await.expect("set");
            lives.push(Life {
                person,
                links,
                open: BTreeMap::new(),
                judge: Judge::new(habit, start),
                cursor: 0,
                turned_away: vec![0; BRANDS],
            });
        }
        assert_eq!(world.now(), start, "the clock stood");
        let (dice, unwanted) = (Dice(0x9E37_79B9_7F4A_7C15), unwanted.to_vec());
        let (asked, lapsed) = (vec![0; BRANDS], vec![0; BRANDS]);
        Self { world, start, brands, offers, lives, dice, unwanted, tags: 0, size: 0, asked, lapsed }
    }

    /// Puts this brand's offer to a person, for as long as can be.
    pub(super) async fn put(&self, life: usize, brand: usize) -> Result<v1::GrantRequest, Status> {
        let subject = &self.lives[life].links[brand].subject;
        let offers = [(&self.offers[brand].0, false)];
        self.world.request_for(LIFETIME, &self.brands[brand], subject, &offers).await
    }

    /// A person looks at her list.
    pub(super) async fn lists(&self, life: usize) {
        let person = &self.lives[life].person;
        let asked = v1::ListGrantRequestsRequest { parent: person.name.to_string(), ..Default::default() };
        self.world.grants().list_grant_requests(as_person(person, asked)).await.expect("a list");
    }

    pub(super) async fn as_seen_by(&self, brand: usize, request: &str) -> v1::GrantRequest {
        let asked = v1::GetGrantRequestRequest { name: request.to_owned() };
        let seen = self.world.grants().get_grant_request(as_brand(&self.brands[brand], asked)).await;
        seen.expect("its own").into_inner()
    }

    /// Brands ask, people look and answer, the sweeper sweeps; then time goes on by so much. A brand asks when nothing of
    /// its waits, and beside that about once in `every`, and the first one ten times as often.
    pub(super) async fn step(&mut self, step: u64, every: u64) {
        for life in 0..self.lives.len() {
            self.lapse(life).await;
            for brand in 0..BRANDS {
                let often = if brand == 0 { every / 10 } else { every };
                let more = self.dice.roll((often / step).max(1)) == 0;
                let judge = &self.lives[life].judge;
                let silent = judge.silent_for(brand, self.world.now());
                if more || (!judge.is_waiting(brand) && silent.is_none()) {
                    self.ask(life, brand, silent).await;
                }
            }
            if self.dice.roll(6) == 0 {
                self.lists(life).await;
                self.read_shows(life).await;
                self.answers(life).await;
            }
        }
        sweeper::sweep(&self.world.broker).await.expect("a sweep");
        sweeper::show(&self.world.broker).await.expect("a sweep");
        let size = self.world.store.head().size;
        for life in 0..self.lives.len() {
            if size != self.size {
                self.read_shows(life).await;
            }
            self.lives[life].judge.rests_for_a_reason(self.world.now());
        }
        self.size = size;
        self.world.pass(step);
    }

    async fn ask(&mut self, life: usize, brand: usize, silent: Option<u64>) {
        let (now, answer) = (self.world.now(), self.put(life, brand).await);
        let life = &mut self.lives[life];
        match (answer, silent) {
            (Ok(first), None) => {
                assert_eq!(first.state(), State::Requested);
                let name = first.name.clone();
                life.open.insert(name, Open { brand, put: now, first, shown: false, left: false });
                life.judge.put(brand, now);
                self.asked[brand] += 1;
            }
            (Err(status), Some(left)) => {
                let info = status.get_details_error_info().expect("a reason");
                assert_eq!(info.reason, "ASK_COOLDOWN");
                let wait =
                    status.get_details_retry_info().and_then(|info| info.retry_delay).expect("how long");
                assert_eq!(wait.as_millis(), u128::from(left));
                life.turned_away[brand] += 1;
            }
            (answer, silent) => panic!("brand {brand}, silent for {silent:?}, is answered {answer:?}"),
        }
    }

    /// What has lapsed by now is so to its requester, whether it was shown or not.
    async fn lapse(&mut self, life: usize) {
        let now = self.world.now();
        let due: Vec<_> = self.lives[life]
            .open
            .iter()
            .filter(|(_, open)| open.put + LIFETIME <= now)
            .map(|(name, open)| (name.clone(), open.brand))
            .collect();
        for (name, brand) in due {
            assert_eq!(self.as_seen_by(brand, &name).await.state(), State::Lapsed);
            self.lives[life].open.remove(&name);
            self.lapsed[brand] += 1;
        }
        for brand in 0..BRANDS {
            self.lives[life].judge.lapse(brand, now);
        }
    }

    /// Has the judge look at what was shown since the last time, in the order of the log.
    async fn read_shows(&mut self, life: usize) {
        let her = Principal::Customer(self.lives[life].person.name.clone());
        let cursor = self.lives[life].cursor;
        let shows = events_of(&self.world, her, cursor, &[Kind::RequestShown]).await;
        let (life, now) = (&mut self.lives[life], self.world.now());
        for event in &shows {
            let open = life.open.get_mut(&event.grant_request).expect("what is shown has not ended");
            assert!(!open.shown, "once");
            open.shown = true;
            life.judge.show(open.brand, open.put, now);
        }
        life.cursor = shows.last().map_or(cursor, |event| event.index + 1);
    }

    /// A person answers what she was shown: a refusal, an approval, or not now; and some she never answers.
    async fn answers(&mut self, life: usize) {
        let shown: Vec<String> = self.lives[life]
            .open
            .iter()
            .filter(|(_, open)| open.shown && !open.left)
            .map(|(name, _)| name.clone())
            .collect();
        for name in shown {
            let (brand, now) = (self.lives[life].open[&name].brand, self.world.now());
            let refuses_always = life + 1 == self.lives.len() && self.unwanted.contains(&brand);
            // Of the others nobody becomes silent, so that all are there till the end.
            let may_refuse = refuses_always || !self.lives[life].judge.is_at_the_edge(brand);
            match if refuses_always { 0 } else { self.dice.roll(8) } {
                0..2 if may_refuse => {
                    let asked = v1::RefuseGrantRequestRequest { name: name.clone() };
                    let person = &self.lives[life].person;
                    let refused = self.world.grants().refuse_grant_request(as_person(person, asked)).await;
                    refused.expect("refused");
                    assert_eq!(self.as_seen_by(brand, &name).await.state(), State::Refused);
                    self.lives[life].judge.refuse(brand, now);
                    self.lives[life].open.remove(&name);
                }
                0..4 => {
                    self.approves(life, &name).await;
                    assert_eq!(self.as_seen_by(brand, &name).await.state(), State::Approved);
                    self.lives[life].judge.approve(brand);
                    self.lives[life].open.remove(&name);
                }
                4..6 => {
                    let asked = v1::DeferGrantRequestRequest { name: name.clone() };
                    let person = &self.lives[life].person;
                    self.world.grants().defer_grant_request(as_person(person, asked)).await.expect("put off");
                    self.lives[life].open.get_mut(&name).expect("is open").left = true;
                }
                _ => self.lives[life].open.get_mut(&name).expect("is open").left = true,
            }
        }
    }

    async fn approves(&mut self, life: usize, name: &str) {
        self.tags = self.tags.checked_add(1).expect("fewer approvals than tags");
        let life = &self.lives[life];
        let Open { brand, first, .. } = &life.open[name];
        let giver = (brand + 1) % BRANDS;
        let (from, to) = (&life.links[giver], &life.links[*brand]);
        let sides = ((&self.brands[giver], from), (&self.brands[*brand], to));
        let terms = self.world.terms((first, &self.offers[*brand].1), sides.0, sides.1, self.tags);
        let rows = vec![row(&terms, from, to)];
        self.world.approve(&life.person, first, rows).await.expect("approves");
    }

    /// To its requester each request that has not ended is as it was answered on its first day, whatever the queue did.
    pub(super) async fn nothing_is_told(&self) {
        for life in &self.lives {
            for (name, open) in &life.open {
                if open.put + LIFETIME > self.world.now() {
                    assert_eq!(self.as_seen_by(open.brand, name).await, open.first);
                }
            }
        }
    }

    /// A brand's events tell what it asked, and what was answered; nothing of turns, and of nobody else's requests.
    pub(super) async fn events_tell_as_much(&self) {
        for brand in 0..BRANDS {
            let events = self.events(brand).await;
            let of = |kind: Kind| events.iter().filter(|event| event.kind() == kind).count();
            assert_eq!(of(Kind::RequestCreated), self.asked[brand], "its own, and no others");
            assert_eq!((of(Kind::RequestShown), of(Kind::RequestDeferred)), (0, 0));
            assert_eq!(of(Kind::RequestLapsed), self.lapsed[brand], "each once");
            assert!(self.asked[brand] > 20 && self.lapsed[brand] > 0, "it went on asking");
        }
    }
}
