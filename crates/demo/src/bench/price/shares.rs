//! Where the broker's processor time goes: what the kernel counted for each of its threads, and inside the threads that
//! carry calls, what the broker counted itself.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context, Result};
use serde::Serialize;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    bench::machine::{processor_time, thread_times},
    stage::Stage,
};

/// The broker's own counter of time, by part.
const COUNTER: &str = "countersign_work_nanoseconds_total{part=\"";

/// The engine's threads, by the part that they do.
const THREADS: [(&str, &str); 3] =
    [("store-commits", "journal"), ("store-index", "sled"), ("store-bundles", "bundles and tiles")];

/// What is left: reading and writing messages, HTTP/2, the sockets, the runtime.
const REST: &str = "rpc: messages, HTTP/2, sockets, runtime";

/// One part of the work.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Portion {
    pub(super) part: String,
    pub(super) us_per_call: f64,
    pub(super) share: f64,
}

/// Adds up over slices.
pub(super) struct Sampler {
    pid: u32,
    admin: Option<String>,
    began: Option<Sample>,
    sum: Sample,
    calls: u64,
}

#[derive(Clone, Default)]
struct Sample {
    whole: Duration,
    parts: BTreeMap<String, Duration>,
}

impl Sampler {
    pub(super) fn new(stage: &Stage) -> Result<Self> {
        let pid = stage.broker.pid().context("the broker has ended")?;
        let admin = stage.broker.admin().map(str::to_owned);
        Ok(Self { pid, admin, began: None, sum: Sample::default(), calls: 0 })
    }

    pub(super) async fn begin(&mut self) -> Result<()> {
        self.began = Some(self.sample().await?);
        Ok(())
    }

    pub(super) async fn end(&mut self, calls: u64) -> Result<()> {
        let (began, ended) = (self.began.take().unwrap_or_default(), self.sample().await?);
        self.sum.whole += ended.whole.saturating_sub(began.whole);
        for (part, time) in ended.parts {
            let before = began.parts.get(&part).copied().unwrap_or_default();
            *self.sum.parts.entry(part).or_default() += time.saturating_sub(before);
        }
        self.calls += calls;
        Ok(())
    }

    async fn sample(&self) -> Result<Sample> {
        let mut parts = BTreeMap::new();
        for (name, time) in thread_times(self.pid)? {
            if let Some((_, part)) = THREADS.iter().find(|(thread, _)| *thread == name) {
                *parts.entry((*part).to_owned()).or_default() += time;
            }
        }
        if let Some(admin) = &self.admin {
            parts.extend(counters(&metrics(admin).await?));
        }
        Ok(Sample { whole: processor_time(self.pid)?, parts })
    }

    /// The parts, largest first, and what is left.
    pub(super) fn shares(&self) -> Vec<Portion> {
        let named: Duration = self.sum.parts.values().sum();
        let rest = self.sum.whole.saturating_sub(named);
        let whole = self.sum.whole.as_secs_f64().max(f64::MIN_POSITIVE);
        let parts = self.sum.parts.iter().map(|(part, time)| (part.clone(), *time));
        let mut shares: Vec<Portion> = parts
            .chain([(REST.to_owned(), rest)])
            .map(|(part, time)| Portion {
                part,
                us_per_call: time.as_secs_f64() * 1e6 / self.calls.max(1) as f64,
                share: time.as_secs_f64() / whole,
            })
            .collect();
        shares.sort_by(|one, other| other.share.total_cmp(&one.share));
        shares
    }
}

/// The broker's own counters, from its metrics page.
fn counters(page: &str) -> impl Iterator<Item = (String, Duration)> + '_ {
    page.lines().filter_map(|line| {
        let (part, value) = line.strip_prefix(COUNTER)?.split_once("\"} ")?;
        Some((part.to_owned(), Duration::from_nanos(value.trim().parse().ok()?)))
    })
}

/// The metrics page, over HTTP/1.1.
async fn metrics(admin: &str) -> Result<String> {
    let address = admin.trim_start_matches("http://");
    let mut socket = TcpStream::connect(address).await.context("the broker's admin listener")?;
    let request = format!("GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await?;
    let mut page = String::new();
    socket.read_to_string(&mut page).await?;
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_brokers_counters_are_read_from_its_page() {
        let page = "# TYPE countersign_work_nanoseconds_total counter\n\
                    countersign_work_nanoseconds_total{part=\"token\"} 1500\n\
                    countersign_calls_total{method=\"x\",code=\"OK\"} 7\n";
        let found: Vec<_> = counters(page).collect();
        assert_eq!(found, [("token".to_owned(), Duration::from_nanos(1500))]);
    }
}
