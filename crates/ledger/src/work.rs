//! How long each part of the work keeps a processor, told as `countersign_work_nanoseconds_total{part=…}`.
//!
//! Only the time in which something runs counts, not what it waits for: a future is timed while it is polled. A part
//! that runs inside another one counts for itself alone. On a machine with more to run than processors, a part counts
//! what it was interrupted for as well, as all parts do. A mark costs two readings of the clock, some 60 ns.

use std::{
    cell::Cell,
    pin::Pin,
    sync::OnceLock,
    task::{Context, Poll},
    time::Duration,
};

use metrics::Counter;
use pin_project_lite::pin_project;
use tokio::time::Instant;

thread_local! {
    /// What parts inside the one that runs here have counted for themselves.
    static INSIDE: Cell<Duration> = const { Cell::new(Duration::ZERO) };
}

/// A part of the work: a `static`, so that its counter is looked up once.
pub struct Part {
    name: &'static str,
    counter: OnceLock<Counter>,
}

impl Part {
    /// A part by the name that operators read.
    pub const fn new(name: &'static str) -> Self {
        Self { name, counter: OnceLock::new() }
    }

    /// Runs something that is of this part.
    pub fn run<T>(&self, work: impl FnOnce() -> T) -> T {
        let outer = INSIDE.replace(Duration::ZERO);
        let begun = Instant::now();
        let done = work();
        let took = begun.elapsed();
        let own = took.saturating_sub(INSIDE.get());
        INSIDE.set(outer + took);
        self.counter().increment(u64::try_from(own.as_nanos()).unwrap_or(u64::MAX));
        done
    }

    /// Drives a future that is of this part, and counts while it is polled.
    pub fn drive<F: Future>(&'static self, work: F) -> Driven<F> {
        Driven { part: self, work }
    }

    fn counter(&self) -> &Counter {
        self.counter
            .get_or_init(|| metrics::counter!("countersign_work_nanoseconds_total", "part" => self.name))
    }
}

pin_project! {
    /// A future that is of a part of the work.
    pub struct Driven<F> {
        part: &'static Part,
        #[pin]
        work: F,
    }
}

impl<F: Future> Future for Driven<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let driven = self.project();
        driven.part.run(|| driven.work.poll(context))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static OUTER: Part = Part::new("outer");
    static INNER: Part = Part::new("inner");

    #[tokio::test(start_paused = true)]
    async fn what_runs_inside_counts_for_itself() {
        let nothing = Duration::ZERO;
        let seen = OUTER
            .drive(async {
                INNER.run(|| ());
                INSIDE.get()
            })
            .await;
        // The clock stands still, so nothing took any time; and the thread is left as it was found.
        assert_eq!((seen, INSIDE.get()), (nothing, nothing));
        INSIDE.set(Duration::from_secs(3));
        assert_eq!(INNER.run(|| 7), 7);
        assert_eq!(INSIDE.get(), Duration::from_secs(3));
    }
}
