//! People who each approve one grant, so that the load spreads as it does in life: no two fetches wait for one counter.

use anyhow::{Context, Result, bail};
use countersign_client::{
    InvitationPackage, System,
    customer::{Choice, Customer, CustomerBook, Wallet},
    grants::id::RequestName,
};
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};

use super::load::progress;
use crate::{
    control::{Answer, Command},
    journey::Brand,
    stage::Stage,
};

/// How many people link at a time.
const AT_A_TIME: usize = 16;

/// Links so many people, each with both sides, and has them approve.
pub(super) async fn approve(stage: &Stage, people: u16) -> Result<()> {
    let bar = progress(u64::from(people), "people linked and approved");
    let linked = stream::iter(0..people).map(|nth| {
        let bar = &bar;
        async move {
            one(stage, nth).await.with_context(|| format!("person {nth}"))?;
            bar.inc(1);
            anyhow::Ok(())
        }
    });
    linked.buffer_unordered(AT_A_TIME).try_collect::<Vec<()>>().await?;
    bar.finish_and_clear();
    Ok(())
}

async fn one(stage: &Stage, nth: u16) -> Result<()> {
    let system = System::real();
    let book = CustomerBook::in_memory();
    let customer = Customer::open(stage.trust.clone(), Wallet::draw(&system), book, system)?;
    customer.register().await?;
    let mut asks_through = None;
    for brand in [Brand::BenchSource, Brand::BenchRecipient] {
        let process = stage.brand(brand)?;
        let invite = Command::Invite { label: format!("person {nth}"), flight: None, return_address: None };
        let Answer::Invited { package, link, subject } = process.ask(invite).await? else {
            bail!("{brand} did not invite");
        };
        let accepted = customer.accept(&InvitationPackage::parse(&package)?).await?;
        process.ask(Command::Confirm { link, code: accepted.code }).await?;
        asks_through = Some(subject);
    }
    let offer = stage.offers.get(&1).context("the bench's offer")?.clone();
    let subject = asks_through.context("the recipient's handle")?;
    let asked = Command::Request { subject, rows: vec![(offer, false)] };
    let Answer::Requested { request } = stage.brand(Brand::BenchRecipient)?.ask(asked).await? else {
        bail!("the recipient did not ask");
    };
    let request = customer.read_request(&RequestName::parse(&request)?).await?;
    customer.approve(&request, &Choice::required("en")).await?;
    Ok(())
}
