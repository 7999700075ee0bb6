//! SIGTERM and SIGINT: the first asks for an orderly end, the second ends at once.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// The exit code when a second signal cuts the orderly end short.
const CUT_SHORT: i32 = 1;

/// Cancels `stop` at the first signal.
pub fn cancel_on_signal(stop: CancellationToken) -> io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        either(&mut terminate, &mut interrupt).await;
        tracing::info!("stopping: calls in flight finish; a second signal ends at once");
        stop.cancel();
        either(&mut terminate, &mut interrupt).await;
        // Safe: what was acknowledged is durable, and the journal is made for ends like this.
        std::process::exit(CUT_SHORT);
    });
    Ok(())
}

async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! {
        _ = one.recv() => {}
        _ = other.recv() => {}
    }
}
