//! Ctrl-C, and what a supervisor sends instead.

use tokio::signal::{
    ctrl_c,
    unix::{SignalKind, signal},
};

/// Comes back when the program is asked to end.
pub(crate) async fn interrupted() {
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminated) => drop(terminated.recv().await),
            // Without it, Ctrl-C is left.
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = ctrl_c() => {}
        () = terminated => {}
    }
}
