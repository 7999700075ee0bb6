//! Linking: each traveller with each brand, by invitation and code; then one request, read and approved once.

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::{Context, Result, ensure};
use countersign_client::{
    BrokerTrust, FileBook, InvitationPackage, System,
    customer::{Choice, Customer, CustomerBook, Previewed, ReadRequest, Wallet},
    grants::{
        catalogue::FieldPath,
        id::{GrantName, RequestName},
    },
};
use futures_util::stream::{self, StreamExt as _};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{
    cast::{Cast, MEI, Traveller, Who},
    story::Story,
};
use crate::{
    control::{Answer, Command},
    journey::{BRANDS, Brand, ROWS, row},
    stage::Stage,
};

/// How many travellers link at a time: enough to keep two processors busy.
const AT_A_TIME: usize = 4;

/// The rows at whose values Mei looks before she answers: those of Skylark. Hopp has no ride of hers yet to show.
pub(super) const LOOKS_AT: [usize; 2] = [1, 4];

/// What came of one traveller's linking.
struct Linked {
    subjects: BTreeMap<Brand, String>,
    customer: Customer,
    request: ReadRequest,
    /// What was looked at before the answer.
    looked: Vec<Previewed>,
}

/// A traveller who looked at row 1, and has not answered yet.
pub(super) struct Waits {
    pub(super) who: Who,
    pub(super) customer: Customer,
    request: ReadRequest,
}

impl Waits {
    /// Approves after all.
    pub(super) async fn approve(&self) -> Result<BTreeMap<u8, GrantName>> {
        approve(&self.customer, &self.request).await
    }
}

/// Mei links and approves while we watch; then everybody else, but for one who waits. Comes back with Mei's app and with
/// that one's.
pub(super) async fn everybody(
    stage: &Stage,
    cast: &mut Cast,
    story: &mut Story,
    waits: Who,
) -> Result<(Customer, Waits)> {
    story.chapter("One request, one approval");
    let linked = one(stage, &cast.travellers[MEI], &LOOKS_AT).await.context("Mei")?;
    for brand in BRANDS {
        let label = label(brand, &cast.mei().name);
        story.aside(&format!(
            "linked with {}: {label} (invitation, code, confirmation)",
            brand.display_name()
        ));
    }
    show(story, &linked.request)?;
    live(story, &linked.looked);
    let Linked { subjects, customer: mei, request, .. } = linked;
    let grants = approve(&mei, &request).await.context("Mei")?;
    story.note("Mei approves rows 1 to 4 once. Row 5 is optional and stays off.");
    cast.entered(MEI, subjects, grants);

    let waits = wait(stage, cast, story, waits).await?;
    let others: Vec<Who> = (MEI + 1..cast.travellers.len()).filter(|who| *who != waits.who).collect();
    let bar = progress(others.len());
    let done: Vec<(Who, Result<_>)> = stream::iter(others)
        .map(|who| {
            let (traveller, bar) = (&cast.travellers[who], &bar);
            async move {
                let linked = one(stage, traveller, &[]).await;
                let approved = match linked {
                    Ok(Linked { subjects, customer, request, .. }) => {
                        approve(&customer, &request).await.map(|grants| (subjects, grants))
                    }
                    Err(error) => Err(error),
                };
                bar.inc(1);
                (who, approved)
            }
        })
        .buffer_unordered(AT_A_TIME)
        .collect()
        .await;
    bar.finish_and_clear();
    for (who, approved) in done {
        let name = cast.travellers[who].name.clone();
        let (subjects, grants) = approved.context(name)?;
        cast.entered(who, subjects, grants);
    }
    Ok((mei, waits))
}

/// One looks at what Hopp would get, and says *not now*.
async fn wait(stage: &Stage, cast: &mut Cast, story: &Story, who: Who) -> Result<Waits> {
    let name = cast.travellers[who].name.clone();
    let linked = one(stage, &cast.travellers[who], &[1]).await;
    let Linked { subjects, customer, request, looked } = linked.with_context(|| name.clone())?;
    customer.defer(request.name()).await?;
    cast.entered(who, subjects, BTreeMap::new());
    story.note(&format!("{name} is asked the same, looks, and says: not now."));
    for one in &looked {
        let values = one.values.iter().filter_map(|(_, value)| value.as_str()).collect::<Vec<_>>().join(", ");
        story.aside(&format!("   row {}: {values}; record {}", one.row, one.receipt.index()));
    }
    Ok(Waits { who, customer, request })
}

fn progress(travellers: usize) -> ProgressBar {
    let style =
        ProgressStyle::with_template("   {bar:24} {pos}/{len} travellers linked and approved  {elapsed}")
            .expect("a constant that a test reads");
    ProgressBar::with_draw_target(Some(travellers as u64), ProgressDrawTarget::stderr()).with_style(style)
}

/// How a person knows their account at a brand. The broker never sees it.
fn label(brand: Brand, name: &str) -> String {
    match brand {
        Brand::Skylark => format!("{name}, frequent flyer"),
        Brand::Hopp => format!("{name}'s rides"),
        _ => format!("@{}", name.to_lowercase().replace(' ', "-")),
    }
}

/// Opens a traveller's app: wallet and book in a folder of their own.
fn app(folder: &Path, trust: &BrokerTrust, system: &System) -> Result<Customer> {
    std::fs::create_dir_all(folder)?;
    let wallet = Wallet::draw(system);
    // The names that `countersign customer --home` looks for.
    wallet.write(&folder.join("wallet"))?;
    let book = CustomerBook::open(FileBook::open(&folder.join("book"))?)?;
    Ok(Customer::open(trust.clone(), wallet, book, system.clone())?)
}

async fn one(stage: &Stage, traveller: &Traveller, looks_at: &[usize]) -> Result<Linked> {
    let customer = app(&stage.folder.traveller(&traveller.name), &stage.trust, &System::real())?;
    customer.register().await?;
    let mut subjects = BTreeMap::new();
    for brand in BRANDS {
        let subject = link(stage, &customer, traveller, brand).await;
        subjects.insert(brand, subject.with_context(|| format!("linking with {brand}"))?);
    }
    let request = ask(stage, &subjects).await?;
    let request = customer.read_request(&request).await?;
    check(&request)?;
    let mut looked = Vec::with_capacity(looks_at.len());
    for number in looks_at {
        let row = request.rows().get(number - 1).context("a row of the journey")?;
        let fields: Vec<FieldPath> = row.offer.statement().fields().cloned().collect();
        looked.push(customer.preview(&request, *number, &fields).await?);
    }
    Ok(Linked { subjects, customer, request, looked })
}

/// Rows 1 to 4, by one act.
async fn approve(customer: &Customer, request: &ReadRequest) -> Result<BTreeMap<u8, GrantName>> {
    let approved = customer.approve(request, &Choice::required("en")).await?;
    let grants = approved.into_iter().map(|one| Ok((u8::try_from(one.row)?, one.grant)));
    let grants = grants.collect::<Result<BTreeMap<_, _>>>()?;
    ensure!(grants.keys().copied().eq(1..=4), "rows {:?} were approved, not 1 to 4", grants.keys());
    Ok(grants)
}

/// Invitation, acceptance, code, confirmation.
async fn link(stage: &Stage, customer: &Customer, traveller: &Traveller, brand: Brand) -> Result<String> {
    let process = stage.brand(brand)?;
    let flight = (brand == Brand::Skylark).then(|| traveller.flight.number.clone());
    let invite = Command::Invite { label: label(brand, &traveller.name), flight, return_address: None };
    let Answer::Invited { package, link, subject } = process.ask(invite).await? else {
        anyhow::bail!("{brand} did not invite");
    };
    let accepted = customer.accept(&InvitationPackage::parse(&package)?).await?;
    ensure!(accepted.partner == brand.partner(), "the invitation is from {}", accepted.partner);
    process.ask(Command::Confirm { link, code: accepted.code }).await?;
    Ok(subject)
}

/// Skylark asks once, for all five rows.
async fn ask(stage: &Stage, subjects: &BTreeMap<Brand, String>) -> Result<RequestName> {
    let subject = subjects.get(&Brand::Skylark).context("Skylark has a handle")?.clone();
    let rows = ROWS.iter().map(|row| {
        let offer =
            stage.offers.get(&row.number).with_context(|| format!("no offer for row {}", row.number))?;
        Ok((offer.clone(), row.optional))
    });
    let request = Command::Request { subject, rows: rows.collect::<Result<_>>()? };
    match stage.brand(Brand::Skylark)?.ask(request).await? {
        Answer::Requested { request } => Ok(RequestName::parse(&request)?),
        other => anyhow::bail!("Skylark answers {other:?}"),
    }
}

/// The request is the journey's: the SDK has verified every signature in it.
fn check(request: &ReadRequest) -> Result<()> {
    ensure!(request.rows().len() == ROWS.len(), "the request has {} rows", request.rows().len());
    for (read, written) in request.rows().iter().zip(&ROWS) {
        let offer = read.offer.statement();
        ensure!(offer.purpose.as_str() == written.purpose, "row {} is for `{}`", read.number, offer.purpose);
        ensure!(read.optional == written.optional, "row {} is optional: {}", read.number, read.optional);
        ensure!(read.missing().is_empty(), "row {} lacks a link", read.number);
    }
    Ok(())
}

/// What Mei sees before she decides.
fn show(story: &Story, request: &ReadRequest) -> Result<()> {
    for read in request.rows() {
        let offer = read.offer.statement();
        let (text, _) = offer.text("en");
        let fields = offer.fields().map(|path| {
            read.catalogue.field(path.as_str()).map_or(path.as_str(), |field| field.titles().or_english("en"))
        });
        let fields = fields.collect::<Vec<_>>().join(", ");
        let known = u8::try_from(read.number).ok().and_then(row).context("a row of the journey")?;
        let optional = if read.optional { "  (optional, off)" } else { "" };
        story.note(&format!(
            "{}. {} \u{2192} {}: {fields}{optional}",
            read.number, known.source, known.recipient
        ));
        let times = if offer.uses == 1 { "once".to_owned() } else { format!("at most {} times", offer.uses) };
        story.aside(&format!(
            "   {}  \u{201c}{}\u{201d}  until {}, {times}",
            text.reason, text.benefit, text.ends
        ));
    }
    let offer = request.rows().first().context("the request has rows")?.offer.statement();
    let days = Duration::as_secs(&offer.retention) / 3600;
    story.aside(&format!(
        "   {}; a person at {}; kept at most {days} h after the end",
        offer.law, offer.contact_phone
    ));
    Ok(())
}

/// The values as they are at this moment, sealed to her alone.
fn live(story: &Story, looked: &[Previewed]) {
    story.note("Before she answers, she sees what would leave, live:");
    for one in looked {
        for (field, value) in &one.values {
            story.aside(&format!("   {:<22}{}", field.as_str(), value.as_str().unwrap_or_default()));
        }
        let index = one.receipt.index();
        story.aside(&format!("   row {}: sealed to Mei alone, record {index}", one.row));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_progress_bar_has_its_style() {
        assert_eq!(progress(3).length(), Some(3));
    }

    #[test]
    fn labels_are_how_a_person_knows_the_account() {
        assert_eq!(label(Brand::Skylark, "Mei"), "Mei, frequent flyer");
        assert_eq!(label(Brand::Chirp, "Traveller 26"), "@traveller-26");
    }
}
