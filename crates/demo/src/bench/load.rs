//! Transfers under load: a closed loop of one recipient against one source through one broker.

use std::{io::IsTerminal as _, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::time::timeout;

use super::{
    Arguments,
    figures::{Memory, Width},
    machine::{processor_time, resident},
    people,
};
use crate::{
    control::{Answer, Command, Event, Loaded},
    journey::Brand,
    stage::{Folder, Setting, Stage},
};

/// The catalogue with ceilings that never bind.
const CATALOGUE: &str = include_str!("../../data/bench-catalogue.toml");

/// Calls a second that nobody here reaches: the broker is measured, and not its limits.
const QUOTA: &str = "1000000";

/// The widths take turns of this length, so that what disturbs the machine for a while disturbs them all.
const SLICE: Duration = Duration::from_secs(2);

/// Before anything is measured: connections, caches, the first segments.
const WARM_UP: Duration = Duration::from_secs(3);

/// How long an answer may take beyond the slice: the slowest call.
const GRACE: Duration = Duration::from_secs(60);

/// How long it may take until every grant stands in both books.
const STAND_WITHIN: Duration = Duration::from_secs(120);

/// The processes whose time is counted.
struct Processes {
    broker: u32,
    source: u32,
    recipient: u32,
}

/// Sums over one width's slices.
#[derive(Default)]
struct Sums {
    loaded: Vec<Loaded>,
    /// The broker's, the source's, the recipient's processor time.
    cpu: [Duration; 3],
}

/// Sets everything up, and measures each width.
pub(super) async fn measure(arguments: &Arguments) -> Result<(Vec<Width>, Memory)> {
    let (mut stage, _) = stage(arguments.grants, &[]).await?;
    let pid = |id: Option<u32>| id.context("the process has ended");
    let processes = Processes {
        broker: pid(stage.broker.pid())?,
        source: pid(stage.brand(Brand::BenchSource)?.pid())?,
        recipient: pid(stage.brand(Brand::BenchRecipient)?.pid())?,
    };
    let start = resident(processes.broker)?;
    let sums = slices(arguments, &stage, &processes).await?;
    let mut widths = Vec::with_capacity(sums.len());
    for (width, sums) in arguments.in_flight.iter().zip(sums) {
        widths.push(sums.figures(*width, &stage).await?);
    }
    let end = resident(processes.broker)?;
    let memory = Memory { rss_start_kib: start.now_kib, rss_end_kib: end.now_kib, peak_kib: end.peak_kib };
    let code = stage.close().await?;
    ensure!(code == Some(0), "the broker ended with {code:?}");
    Ok((widths, memory))
}

/// Sets up a broker whose limits don't bind, a source, a recipient, and so many grants between them: their names.
pub(super) async fn stage(grants: u16, environment: &[(&str, &str)]) -> Result<(Stage, Vec<String>)> {
    let mut stage = unbounded(&[Brand::BenchSource, Brand::BenchRecipient], environment).await?;
    people::approve(&stage, grants).await?;
    let names = stand(&mut stage, usize::from(grants)).await?;
    Ok((stage, names))
}

/// Sets up a broker whose limits don't bind, and these brands.
pub(super) async fn unbounded(brands: &[Brand], environment: &[(&str, &str)]) -> Result<Stage> {
    let folder = Folder::open(None, false)?;
    let catalogue = folder.path().join("bench-catalogue.toml");
    std::fs::write(&catalogue, CATALOGUE)?;
    let variable = |name: &str, value: &str| (format!("COUNTERSIGN_{name}"), value.to_owned());
    let mut all = vec![
        variable("CATALOGUE", &catalogue.display().to_string()),
        variable("QUOTAS__PARTNER", QUOTA),
        variable("QUOTAS__CUSTOMER", QUOTA),
        variable("QUOTAS__NEWCOMERS", QUOTA),
    ];
    all.extend(environment.iter().map(|(name, value)| variable(name, value)));
    Stage::set(folder, Setting { brands, environment: all }).await
}

/// Waits until every grant stands in both books.
async fn stand(stage: &mut Stage, grants: usize) -> Result<Vec<String>> {
    let standing = async {
        let (mut names, mut sides) = (Vec::with_capacity(grants), 0);
        while sides < 2 * grants {
            match stage.events.recv().await {
                Some((_, Event::Granted { grant, receives, .. })) => {
                    sides += 1;
                    names.extend(receives.then_some(grant));
                }
                Some((brand, Event::Trouble { what })) => bail!("{brand}: {what}"),
                Some(_) => {}
                None => bail!("both sides have ended"),
            }
        }
        Ok(names)
    };
    timeout(STAND_WITHIN, standing).await.context("the grants do not reach both books")?
}

async fn slices(arguments: &Arguments, stage: &Stage, processes: &Processes) -> Result<Vec<Sums>> {
    let slices = arguments.seconds.div_ceil(SLICE.as_secs());
    let length = Duration::from_secs(arguments.seconds) / u32::try_from(slices)?;
    let widths = &arguments.in_flight;
    let bar = progress(slices * widths.len() as u64, "slices measured");
    let widest = widths.iter().max().copied().context("no width is given")?;
    slice(stage, widest, WARM_UP, false).await?;
    let mut sums: Vec<Sums> = widths.iter().map(|_| Sums::default()).collect();
    for _ in 0..slices {
        for (width, sums) in widths.iter().zip(&mut sums) {
            let before = processes.times()?;
            sums.loaded.push(slice(stage, *width, length, true).await?);
            let after = processes.times()?;
            for (sum, (before, after)) in sums.cpu.iter_mut().zip(before.into_iter().zip(after)) {
                *sum += after.saturating_sub(before);
            }
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    Ok(sums)
}

async fn slice(stage: &Stage, in_flight: u16, length: Duration, measured: bool) -> Result<Loaded> {
    let millis = u64::try_from(length.as_millis())?;
    let command = Command::Load { in_flight: usize::from(in_flight), millis, measured, relay: None };
    match stage.brand(Brand::BenchRecipient)?.ask_within(command, length + GRACE).await? {
        Answer::Loaded(loaded) => Ok(loaded),
        other => bail!("the recipient answers {other:?}"),
    }
}

impl Processes {
    fn times(&self) -> Result<[Duration; 3]> {
        Ok([processor_time(self.broker)?, processor_time(self.source)?, processor_time(self.recipient)?])
    }
}

impl Sums {
    async fn figures(self, in_flight: u16, stage: &Stage) -> Result<Width> {
        let asked = Command::Figures { in_flight: usize::from(in_flight) };
        let Answer::Figures(figures) = stage.brand(Brand::BenchRecipient)?.ask(asked).await? else {
            bail!("the recipient has no figures");
        };
        let transfers: u64 = self.loaded.iter().map(|one| one.transfers).sum();
        ensure!(
            transfers == figures.transfers,
            "{transfers} transfers, and {} were timed",
            figures.transfers
        );
        let micros: u64 = self.loaded.iter().map(|one| one.micros).sum();
        let seconds = micros as f64 / 1e6;
        let each = |time: Duration| time.as_secs_f64() * 1e6 / transfers.max(1) as f64;
        let [broker, source, recipient] = self.cpu;
        Ok(Width {
            in_flight,
            transfers,
            failures: self.loaded.iter().map(|one| one.failures).sum(),
            seconds,
            per_second: transfers as f64 / seconds,
            p50_us: figures.p50_us,
            p99_us: figures.p99_us,
            max_us: figures.max_us,
            broker_cpu_us: each(broker),
            source_cpu_us: each(source),
            recipient_cpu_us: each(recipient),
        })
    }
}

/// Progress on the standard error: a bar on a terminal, and one line elsewhere.
pub(super) fn progress(length: u64, what: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        eprintln!("{length} {what}, to come");
    }
    let style = ProgressStyle::with_template("{bar:24} {pos}/{len} {msg}  {elapsed}")
        .expect("a constant that a test reads");
    ProgressBar::new(length).with_style(style).with_message(what.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_progress_bar_has_its_style() {
        assert_eq!(progress(3, "steps").length(), Some(3));
    }

    #[test]
    fn the_catalogue_lets_the_benchs_row_through() {
        use countersign_client::grants::catalogue::{Catalogue, Ceilings};
        let catalogue = Catalogue::parse(CATALOGUE.as_bytes()).unwrap();
        let draft = crate::journey::BENCH_ROW.draft();
        let purpose = catalogue.purpose(&draft.purpose).unwrap();
        let Ceilings { uses, duration, rate, retention } = Ceilings {
            uses: draft.uses,
            duration: draft.duration,
            rate: draft.rate,
            retention: draft.retention,
        };
        assert_eq!(purpose.ceilings().check(&Ceilings { uses, duration, rate, retention }), Ok(()));
    }
}
