//! What a campaign found.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde_json::{Value, json};

use crate::{
    campaign::milliseconds, check::Opened, disk::Unsynced, image::Index, record::Event, worldcheck::Finding,
};

/// Images of one kind.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    images: usize,
    opened: usize,
    believed: usize,
    slowest: Duration,
}

/// All that was found.
pub(crate) struct Report {
    seed: u64,
    events: usize,
    syncs: usize,
    kinds: BTreeMap<[&'static str; 3], Count>,
    pub(crate) faults: Vec<Fault>,
}

/// An image in which something doesn't hold.
pub(crate) struct Fault {
    image: usize,
    kind: [&'static str; 3],
    finding: String,
    kept: Option<PathBuf>,
}

impl Report {
    pub(crate) fn new(seed: u64, events: &[Event]) -> Report {
        let syncs = events.iter().filter(|event| event.is_sync()).count();
        Report { seed, events: events.len(), syncs, kinds: BTreeMap::new(), faults: Vec::new() }
    }

    pub(crate) fn looked_at(
        &mut self,
        unsynced: Unsynced,
        index: Index,
        again: bool,
        opened: Option<&Opened>,
    ) {
        let count = self.kinds.entry(kind(unsynced, index, again)).or_default();
        count.images += 1;
        if let Some(opened) = opened {
            count.opened += 1;
            count.believed += usize::from(opened.believed);
            count.slowest = count.slowest.max(opened.took);
        }
    }

    pub(crate) fn fault(
        &mut self,
        image: usize,
        unsynced: Unsynced,
        index: Index,
        again: bool,
        finding: &Finding,
        kept: Option<PathBuf>,
    ) {
        let kind = kind(unsynced, index, again);
        self.faults.push(Fault { image, kind, finding: finding.to_string(), kept });
    }

    pub(crate) fn images(&self) -> usize {
        self.kinds.values().map(|count| count.images).sum()
    }

    fn opened(&self) -> usize {
        self.kinds.values().map(|count| count.opened).sum()
    }

    /// Those that were found as they were closed.
    pub(crate) fn believed(&self) -> usize {
        self.kinds.values().map(|count| count.believed).sum()
    }

    fn slowest(&self) -> Duration {
        self.kinds.values().map(|count| count.slowest).max().unwrap_or_default()
    }

    /// For people.
    pub(crate) fn print(&self, took: Duration) {
        println!("{} events were recorded, {} of them syncs; seed {}", self.events, self.syncs, self.seed);
        println!(
            "{:<10}{:<10}{:<8}{:>8}{:>8}{:>14}",
            "unsynced", "index", "cut", "images", "sound", "slowest open"
        );
        for ([unsynced, index, cut], count) in &self.kinds {
            let slowest = milliseconds(count.slowest);
            println!(
                "{unsynced:<10}{index:<10}{cut:<8}{:>8}{:>8}{slowest:>11.1} ms",
                count.images, count.opened
            );
        }
        println!(
            "{} images, {} sound, {} of them believed to be as they were closed; slowest open {:.1} ms, {:.0} s in all",
            self.images(),
            self.opened(),
            self.believed(),
            milliseconds(self.slowest()),
            took.as_secs_f64(),
        );
        for fault in &self.faults {
            let [unsynced, index, cut] = fault.kind;
            println!("FAULT image {} ({unsynced}, {index} index, {cut}): {}", fault.image, fault.finding);
            if let Some(kept) = &fault.kept {
                println!("  kept in {}", kept.display());
            }
        }
    }

    /// For machines.
    pub(crate) fn json(&self, took: Duration) -> Value {
        let kinds: Vec<Value> = self
            .kinds
            .iter()
            .map(|([unsynced, index, cut], count)| {
                json!({
                    "unsynced": unsynced, "index": index, "cut": cut, "images": count.images,
                    "sound": count.opened, "slowest_open_ms": milliseconds(count.slowest),
                })
            })
            .collect();
        let faults: Vec<Value> = self
            .faults
            .iter()
            .map(|fault| json!({ "image": fault.image, "kind": fault.kind, "finding": fault.finding }))
            .collect();
        json!({
            "seed": self.seed, "events": self.events, "syncs": self.syncs, "images": self.images(),
            "sound": self.opened(), "believed": self.believed(), "slowest_open_ms": milliseconds(self.slowest()),
            "seconds": took.as_secs_f64(), "kinds": kinds, "faults": faults,
        })
    }
}

fn kind(unsynced: Unsynced, index: Index, again: bool) -> [&'static str; 3] {
    let unsynced = match unsynced {
        Unsynced::Lost => "lost",
        Unsynced::Kept => "kept",
        Unsynced::Torn => "torn",
    };
    let index = match index {
        Index::Empty => "empty",
        Index::Older(_) => "older",
        Index::Newest(_) => "newest",
    };
    [unsynced, index, if again { "again" } else { "once" }]
}
