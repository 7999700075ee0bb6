//! Offers that come and go beside those that requests are made of.

use std::{sync::Arc, time::Duration};

use countersign_client::{Partner, channel::call};
use countersign_grants::id::OfferName;
use countersign_proto::{log::v1::Kind, v1::WithdrawOfferRequest};

use super::{insist, refused, rest};
use crate::{
    brand::{draft, leaves_open},
    notes::{Named, Notes},
    random::Random,
    world::World,
};

/// One offer after the other; half of them are withdrawn.
pub(crate) async fn run(world: Arc<World>, mut random: Random) {
    let source = world.brands[0].name();
    let recipient = &world.brands[1].partner;
    loop {
        rest(&mut random, 100, 400).await;
        world.may_begin().await;
        let uses = 1 + u32::try_from(random.below(100)).unwrap_or(0);
        let mut sending = world.notes.sending(Kind::OfferPublished);
        // Each call makes an offer of its own, so one without an answer is given up.
        match recipient.publish_offer(&draft(source, uses, Some((uses, Duration::from_secs(60))))).await {
            Ok(name) => {
                sending.done(None);
                world.notes.named(Named::Offer(name.clone()));
                if random.chance(1, 2) {
                    withdraw(&world.notes, recipient, name).await;
                }
            }
            Err(error) if leaves_open(&error) => sending.doubt(),
            Err(error) => refused(&world.notes, "an offer", sending, &error),
        }
    }
}

async fn withdraw(notes: &Notes, recipient: &Partner, name: OfferName) {
    let mut sending = notes.sending(Kind::OfferWithdrawn);
    let connection = recipient.connection();
    let take_back = || async {
        let asked = WithdrawOfferRequest { name: name.to_string() };
        Ok(connection.offers().withdraw_offer(call(asked)).await?)
    };
    match insist(&mut sending, take_back).await {
        Ok(_) => sending.done(None),
        Err(error) if sending.is_in_doubt() && error.reason() == Some("WRONG_STATE") => sending.found(),
        Err(error) => return refused(notes, "a withdrawal", sending, &error),
    }
    notes.named(Named::WithdrawnOffer(name));
}
