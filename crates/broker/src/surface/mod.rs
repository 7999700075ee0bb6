//! The ports, and what is behind them.
//!
//! A listener serves one or more [`Surface`]s on one port, over HTTP/1.1 and HTTP/2, with TLS everywhere but on
//! loopback. [`serve`] runs until it is told to stop, or until the log takes nothing any more, and then ends in order:
//! ports close, streams end, calls in flight finish, the log finishes its queue.

mod admin;
mod api;
mod browser;
mod connection;
mod listener;
mod log;
mod pages;
#[cfg(test)]
mod patience;
#[cfg(test)]
mod tests;
pub mod tls;
mod underway;
mod web;

use std::{fmt, sync::Arc};

use metrics_exporter_prometheus::PrometheusHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub use self::{
    admin::{CALL_SECONDS_BUCKETS, recorder},
    browser::{NotAPageOrigin, PageOrigin},
    listener::{BindError, Incoming, Listener},
    web::{WebApp, WebFile},
};
use self::{api::Api, connection::Connections, pages::Doors};
use crate::{
    Broker,
    stack::{Gate, Quotas, limits},
};

/// A part of the broker that a listener can serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Surface {
    /// The gRPC services, health and reflection; to browsers as gRPC-Web.
    Api,
    /// The companion, as files for a browser.
    Web,
    /// `/checkpoint`, `/tile/…`, and for auditors `/tile/entries/…`.
    Log,
    /// `/metrics`, `/health`, `/health/detail`.
    Admin,
}

impl fmt::Display for Surface {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Api => "api",
            Self::Web => "web",
            Self::Log => "log",
            Self::Admin => "admin",
        })
    }
}

/// How the surfaces are served.
#[derive(Clone)]
pub struct Options {
    /// How often who may call.
    pub quotas: Quotas,
    /// The most connections at a time on each listener.
    pub max_connections: u32,
    /// What `/metrics` shows; without it there is no such page.
    pub metrics: Option<PrometheusHandle>,
    /// The addresses whose pages may call the API, beside that at which a page finds both.
    pub page_origins: Vec<PageOrigin>,
    /// What the `web` surface serves; without it there is no such page.
    pub web: Option<WebApp>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            quotas: Quotas::default(),
            max_connections: limits::MAX_CONNECTIONS,
            metrics: None,
            page_origins: Vec::new(),
            web: None,
        }
    }
}

/// Why serving ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Ended {
    /// It was told to.
    Stopped,
    /// The log takes nothing any more: a commit failed, and what became of it is known only once the store is opened
    /// again.
    LogUnavailable,
}

/// Serves the broker on these listeners until `stop` is cancelled, or until the log takes nothing any more, and then
/// ends in order. Returns when the log is shut down; at most [`limits::STOP_WITHIN`] and the log's own queue after that.
/// If it is the log that ends it, `stop` is cancelled here, and calls have [`limits::STOP_WITHOUT_LOG_WITHIN`].
pub async fn serve<I: Incoming>(
    broker: Arc<Broker>,
    listeners: Vec<Listener<I>>,
    options: Options,
    stop: CancellationToken,
) -> Ended {
    let gate = Gate::new(broker, options.quotas, stop.clone());
    let api = Api::new(&gate).await;
    let ended = serve_api(&gate, &api, listeners, &options, stop).await;
    gate.broker().ledger().shutdown().await;
    ended
}

/// Serves until `stop` is cancelled or the log fails, and returns when no connection is open any more.
async fn serve_api<I: Incoming>(
    gate: &Arc<Gate>,
    api: &Api,
    listeners: Vec<Listener<I>>,
    options: &Options,
    stop: CancellationToken,
) -> Ended {
    let (open, cut) = (TaskTracker::new(), CancellationToken::new());
    let mut accepting = Vec::with_capacity(listeners.len());
    for listener in listeners {
        let doors = Doors::new(listener.surfaces(), gate, api, options);
        let connections = Connections { doors, open: open.clone(), stop: stop.clone(), cut: cut.clone() };
        accepting.push(tokio::spawn(listener.accept(connections, options.max_connections)));
    }

    let ended = tidy_until_ended(gate, api, options.metrics.as_ref(), &stop).await;

    api.say_whether_serving(false).await;
    if ended == Ended::LogUnavailable {
        tracing::error!("the log takes nothing any more: it has to be opened again");
        stop.cancel();
    }
    for accepting in accepting {
        // A port is closed when its task has ended; its only other end is a panic, which closes it as well.
        drop(accepting.await);
    }
    open.close();
    let within = match ended {
        Ended::Stopped => limits::STOP_WITHIN,
        Ended::LogUnavailable => limits::STOP_WITHOUT_LOG_WITHIN,
    };
    if timeout(within, open.wait()).await.is_err() {
        tracing::warn!(connections = open.len(), "calls did not finish in time and are cut off");
        cut.cancel();
        open.wait().await;
    }
    ended
}

/// Until the end: looks after the log, forgets what is idle.
async fn tidy_until_ended(
    gate: &Gate,
    api: &Api,
    metrics: Option<&PrometheusHandle>,
    stop: &CancellationToken,
) -> Ended {
    api.say_whether_serving(true).await;
    let (mut looks, mut ticks) = (interval(limits::LOOK_EVERY), interval(limits::TIDY_EVERY));
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return Ended::Stopped,
            _ = looks.tick() => if !gate.broker().ledger().is_available() {
                return Ended::LogUnavailable;
            },
            _ = ticks.tick() => {
                gate.tidy();
                if let Some(metrics) = metrics {
                    metrics.run_upkeep();
                }
            }
        }
    }
}
