//! Partners that come in beside those that carry the load: entered, vetted by one operator, approved by another, suspended
//! and resumed. Each asks, wherever it stands, whether it may take part.

use std::sync::Arc;

use anyhow::Context as _;
use countersign_client::{Connection, Error, System, channel::call, keyfile, operator::Operator};
use countersign_grants::{
    id::{PartnerName, Principal},
    key::SigningKey,
};
use countersign_proto::{
    log::v1::Kind,
    v1::{FetchDataRequest, Partner},
};

use super::{ask, insist, refused, rest, said_no, wrong_state};
use crate::{
    brand::{PHONE, certify, leaves_open},
    notes::{Named, Notes},
    random::Random,
    world::World,
};

/// Another number under which people are reached.
const OTHER_PHONE: &str = "+1 212 555 0199";

/// One partner after the other.
pub(crate) async fn run(world: Arc<World>, mut random: Random) {
    for number in 0_u64.. {
        rest(&mut random, 50, 300).await;
        world.may_begin().await;
        let newcomer = match Newcomer::draw(&world, number) {
            Ok(newcomer) => newcomer,
            Err(error) => return world.notes.fault(format!("a newcomer: {error:#}")),
        };
        // Whatever was refused is noted where it was.
        let _ = newcomer.comes(&world, &mut random).await;
    }
}

struct Newcomer<'a> {
    name: PartnerName,
    identity: SigningKey,
    working: SigningKey,
    own: Connection,
    notes: &'a Notes,
}

impl<'a> Newcomer<'a> {
    fn draw(world: &'a World, number: u64) -> anyhow::Result<Self> {
        let system = System::real();
        let name = PartnerName::of_id(&format!("newcomer-{number}")).context("a partner's name")?;
        let (identity, working) = (keyfile::draw(&system), keyfile::draw(&system));
        let own =
            Connection::open(&world.trust, Principal::Partner(name.clone()), &working, system.clock.clone())?;
        Ok(Self { name, identity, working, own, notes: &world.notes })
    }

    async fn comes(&self, world: &World, random: &mut Random) -> Result<(), Error> {
        let [one, other] = &world.operators;
        let name = &self.name;
        let entered = || one.create_partner(name, (name.id(), PHONE), self.identity.public());
        self.insist(Kind::PartnerCreated, entered, |error| error.reason() == Some("ALREADY_EXISTS")).await?;
        self.notes.named(Named::Partner(name.clone()));
        let certificate = certify(&world.trust, name, &self.identity, &self.working);
        let published = || one.publish_key(name, certificate.clone());
        self.insist(Kind::PartnerKeyPublished, published, |_| false).await?;
        self.may("PARTNER_NOT_LIVE").await?;

        self.moves(Kind::PartnerVetted, || one.vet(name)).await?;
        if random.chance(1, 3) {
            self.changes_its_number(one).await?;
        }
        self.may("PARTNER_NOT_LIVE").await?;
        if random.chance(1, 4) {
            return Ok(());
        }
        self.moves(Kind::PartnerApproved, || other.approve(name)).await?;
        self.notes.named(Named::LivePartner(name.clone()));
        self.may("FIELD_INVALID").await?;

        for _ in 0..random.below(3) {
            self.moves(Kind::PartnerSuspended, || one.suspend(name, "complaints")).await?;
            self.may("PARTNER_SUSPENDED").await?;
            if random.chance(1, 3) {
                self.notes.named(Named::SuspendedPartner(name.clone()));
                return Ok(());
            }
            self.moves(Kind::PartnerResumed, || other.resume(name)).await?;
            self.may("FIELD_INVALID").await?;
        }
        Ok(())
    }

    /// What was vetted and changes is vetted again. Each call is a change of its own, so one without an answer is given up,
    /// and the partner with it.
    async fn changes_its_number(&self, operator: &Operator) -> Result<(), Error> {
        let mut sending = self.notes.sending(Kind::PartnerContactSet);
        match operator.set_contact(&self.name, OTHER_PHONE).await {
            Ok(_) => sending.done(None),
            Err(error) if leaves_open(&error) => {
                sending.doubt();
                return Err(error);
            }
            Err(error) => {
                refused(self.notes, "a number", sending, &error);
                return Err(error);
            }
        }
        match ask(|| operator.approve(&self.name)).await {
            Err(error) if wrong_state(&error) == Some("APPLIED") => {}
            other => self.notes.fault(format!("{} changed and is not vetted again: {other:?}", self.name)),
        }
        self.moves(Kind::PartnerVetted, || operator.vet(&self.name)).await
    }

    /// A step that is made once: nobody else makes it, so that it was made is known by the state.
    async fn moves<F>(&self, kind: Kind, attempt: impl FnMut() -> F) -> Result<(), Error>
    where
        F: Future<Output = Result<Partner, Error>>,
    {
        self.insist(kind, attempt, |error| wrong_state(error).is_some()).await
    }

    async fn insist<T, F>(
        &self,
        kind: Kind,
        attempt: impl FnMut() -> F,
        was_done: impl Fn(&Error) -> bool,
    ) -> Result<(), Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut sending = self.notes.sending(kind);
        match insist(&mut sending, attempt).await {
            Ok(_) => sending.done(None),
            Err(error) if sending.is_in_doubt() && was_done(&error) => sending.found(),
            Err(error) => {
                self.notes.fault(format!("{}: {kind:?}: {error}", self.name));
                refused(self.notes, "a newcomer's step", sending, &error);
                return Err(error);
            }
        }
        Ok(())
    }

    /// How the broker takes a call that means nothing: for what it says only if whoever makes it may take part.
    async fn may(&self, reason: &str) -> Result<(), Error> {
        let asked = || async {
            let empty = FetchDataRequest::default();
            Ok(self.own.transfers().fetch_data(call(empty)).await?)
        };
        match ask(asked).await {
            Err(error) if error.reason() == Some(reason) => {}
            Err(error @ Error::Refused(_)) => {
                self.notes.fault(format!("{} is told {error}, where {reason} is due", self.name));
            }
            Err(error) => said_no(self.notes, "a newcomer's call", &error),
            Ok(_) => self.notes.fault(format!("{} fetches by a statement that is none", self.name)),
        }
        Ok(())
    }
}
