//! What is said of each round, and of all of them.

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use crate::notes::Tally;

/// One round.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Round {
    pub(crate) life: u32,
    pub(crate) number: u32,
    /// How long the load had run, in milliseconds.
    pub(crate) killed_after_ms: u64,
    /// Kills while it started, before the start that was waited for.
    pub(crate) kills_in_start: u32,
    pub(crate) records: u64,
    pub(crate) changes: u64,
    pub(crate) transfers: u64,
    pub(crate) stops: u64,
    /// Calls that were not answered, and what was found of them since.
    pub(crate) in_doubt: u64,
    pub(crate) done: u64,
    pub(crate) undone: u64,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) harm: String,
    pub(crate) restart_ms: u64,
    /// Of the dead disk, of the copy's index, of the restarted broker.
    pub(crate) check_ms: [u64; 3],
}

/// All rounds of a campaign.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Campaign {
    pub(crate) seed: u64,
    pub(crate) harmed: bool,
    pub(crate) rounds: u32,
    pub(crate) lives: u32,
    pub(crate) kills: u32,
    pub(crate) kills_in_start: u32,
    pub(crate) records: u64,
    pub(crate) changes: u64,
    pub(crate) transfers: u64,
    pub(crate) stops: u64,
    pub(crate) in_doubt: u64,
    pub(crate) done: u64,
    pub(crate) undone: u64,
    /// Checkpoints of different sizes that were handed out and held against the log.
    pub(crate) heads: u64,
    pub(crate) harms: BTreeMap<String, u32>,
    pub(crate) refusals: BTreeMap<String, u64>,
    pub(crate) restart_ms_median: u64,
    pub(crate) restart_ms_most: u64,
    pub(crate) seconds: u64,
    #[serde(skip)]
    pub(crate) restarts: Vec<u64>,
}

impl Round {
    pub(crate) fn count(&mut self, tally: &Tally) {
        (self.changes, self.transfers, self.stops) = (tally.changes, tally.transfers, tally.stops);
        (self.in_doubt, self.done, self.undone) = (tally.in_doubt, tally.done, tally.undone);
    }

    /// The round in one line.
    pub(crate) fn line(&self) -> String {
        let in_start = match self.kills_in_start {
            0 => String::new(),
            times => format!(" and {times}× in start"),
        };
        let harm = if self.harm.is_empty() { String::new() } else { format!("  [{}]", self.harm) };
        format!(
            "life {} round {:>3}: killed after {:>4} ms{in_start}; {} records: {} changes, {} transfers, {} stops; \
             in doubt {} (done {}, not {}); restart {} ms; checks {} + {} | {} ms{harm}",
            self.life,
            self.number,
            self.killed_after_ms,
            self.records,
            self.changes,
            self.transfers,
            self.stops,
            self.in_doubt,
            self.done,
            self.undone,
            self.restart_ms,
            self.check_ms[0],
            self.check_ms[1],
            self.check_ms[2],
        )
    }
}

impl Campaign {
    pub(crate) fn add(&mut self, round: &Round, harm: Option<&str>, tally: &Tally) {
        self.rounds += 1;
        self.kills += 1 + round.kills_in_start;
        self.kills_in_start += round.kills_in_start;
        self.records += round.records;
        self.changes += round.changes;
        self.transfers += round.transfers;
        self.stops += round.stops;
        self.in_doubt += round.in_doubt;
        self.done += round.done;
        self.undone += round.undone;
        self.restarts.push(round.restart_ms);
        if let Some(harm) = harm {
            *self.harms.entry(harm.to_owned()).or_default() += 1;
        }
        for (reason, times) in &tally.refusals {
            *self.refusals.entry(reason.clone()).or_default() += times;
        }
    }

    pub(crate) fn close(&mut self, taken: Duration) {
        self.seconds = taken.as_secs();
        self.restarts.sort_unstable();
        self.restart_ms_median = self.restarts.get(self.restarts.len() / 2).copied().unwrap_or(0);
        self.restart_ms_most = self.restarts.last().copied().unwrap_or(0);
    }

    /// The table at the end.
    pub(crate) fn table(&self) -> String {
        let mut lines = vec![
            format!("crash: {} rounds without a fault, seed {}", self.rounds, self.seed),
            format!("  lives                {}", self.lives),
            format!("  kills                {}, {} of them while starting", self.kills, self.kills_in_start),
            format!("  records              {}", self.records),
            format!("  changes              {} acknowledged", self.changes),
            format!("  transfers            {} acknowledged", self.transfers),
            format!("  stops                {} acknowledged", self.stops),
            format!(
                "  calls in doubt       {}: {} had been done, {} had not",
                self.in_doubt, self.done, self.undone
            ),
            format!("  checkpoints          {} sizes handed out, all of them consistent", self.heads),
            format!(
                "  restart              {} ms in the median, {} at most",
                self.restart_ms_median, self.restart_ms_most
            ),
            format!("  time                 {} s", self.seconds),
        ];
        let list = |items: Vec<String>| items.join(", ");
        if !self.harms.is_empty() {
            let harms = self.harms.iter().map(|(name, times)| format!("{name} {times}")).collect();
            lines.push(format!("  harms                {}", list(harms)));
        }
        let refusals = self.refusals.iter().map(|(reason, times)| format!("{reason} {times}")).collect();
        lines.push(format!("  refusals             {}", list(refusals)));
        lines.join("\n")
    }
}
