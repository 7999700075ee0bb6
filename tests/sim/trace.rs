//! What happened, in order: its digest tells whether two runs were one and the same, its end tells how a run failed.

use std::collections::VecDeque;

use countersign_grants::digest::Digest;

/// Events that are kept to be shown when a run fails.
const KEPT: usize = 60;

/// The events of one run.
pub(crate) struct Trace {
    digest: Digest,
    recent: VecDeque<String>,
    events: u64,
    shown: bool,
}

impl Trace {
    pub(crate) fn new(shown: bool) -> Self {
        Self { digest: Digest::of(b""), recent: VecDeque::new(), events: 0, shown }
    }

    /// Adds an event at this moment of simulated time.
    pub(crate) fn add(&mut self, at_ms: u64, who: &str, what: &str) {
        let line = format!("{:>4}.{:03} {who:<9} {what}", at_ms / 1000, at_ms % 1000);
        self.digest = Digest::of_parts(&[self.digest.as_bytes(), line.as_bytes()]);
        self.events += 1;
        if self.shown {
            println!("{line}");
        }
        if self.recent.len() == KEPT {
            self.recent.pop_front();
        }
        self.recent.push_back(line);
    }

    pub(crate) fn digest(&self) -> String {
        self.digest.to_hex()[..16].to_owned()
    }

    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    pub(crate) fn recent(&self) -> Vec<String> {
        self.recent.iter().cloned().collect()
    }
}
