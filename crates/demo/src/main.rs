//! The demo: three brands on the real flights of one day.

use anyhow::{Context, Result};

#[expect(unused_imports, reason = "the brands that ask for the rest come with the journey")]
#[cfg_attr(not(test), expect(dead_code, reason = "likewise"))]
mod flights;

fn main() -> Result<()> {
    let day = flights::FlightDay::load()?;
    let delayed = day.delayed_flights(40);
    println!("{} flights, {} of them at least 40 minutes late", day.flights().len(), delayed.len());
    let flight = delayed.first().context("the day has late flights")?;
    for belief in flight.beliefs() {
        let arrival = belief.arrival.map_or("-".to_owned(), |at| flight.destination.wall_clock(at));
        println!("{} to {}: {:?}, arrives {arrival}", flight.number, flight.destination.name, belief.status);
    }
    Ok(())
}
