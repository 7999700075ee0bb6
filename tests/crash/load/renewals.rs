//! Renewals: the source of a grant asks its customer anew, and with the approval the grant ends in the same commit.

use std::sync::Arc;

use countersign_client::Error;

use super::{
    changes::{Successor, give_way},
    people, rest, said_no,
};
use crate::{
    random::Random,
    world::{Granted, Offered, World},
};

/// One grant after the other.
pub(crate) async fn run(world: Arc<World>, mut random: Random) {
    loop {
        rest(&mut random, 50, 250).await;
        world.may_begin().await;
        let Some(granted) = world.one(&mut random, |granted| granted.revisable) else { continue };
        if let Err(error) = Box::pin(one(&world, &granted, &mut random)).await {
            said_no(&world.notes, "a renewal", &error);
        }
    }
}

/// Somebody may have narrowed, stopped or suspended it meanwhile: then the renewal is refused when it is asked, or when it
/// is approved, and nothing has changed.
async fn one(world: &World, granted: &Granted, random: &mut Random) -> Result<(), Error> {
    let sides = (granted.source, granted.recipient);
    let same: Vec<&Offered> =
        world.offers.iter().filter(|offered| (offered.source, offered.recipient) == sides).collect();
    let Some(offered) = random.pick(&same).copied() else { return Ok(()) };
    let asks = (&world.brands[granted.source], &granted.source_subject);
    let request = people::request(&world.notes, asks, offered, Some(&granted.name)).await?;
    let renews = Some((&granted.name, granted.tag));
    let chosen = random.chance(1, 2);
    let (name, tag, chosen) =
        people::approve(&world.notes, &granted.customer, &request, (renews, chosen)).await?;
    give_way(world, granted, Successor { name, tag, located: offered.located, chosen }, random).await;
    Ok(())
}
