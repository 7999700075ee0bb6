//! A customer who closes the account: again and again, until that is proven, or the broker knows nobody of that name.

use std::{sync::Arc, time::Duration};

use countersign_client::customer::Closing;
use tokio::time::sleep;

use crate::{
    customer::App,
    hosts::PAUSE,
    random::Random,
    world::{Leaving, Phase},
};

impl App {
    /// Whether this customer has begun to leave, or has left.
    pub(crate) fn leaving(&self) -> Leaving {
        self.world.board.lock().leaving[self.at]
    }

    /// Closes the account, and sees to it that nothing is answered any more.
    pub(crate) async fn leave(self: &Arc<Self>, random: &mut Random) {
        self.world.board.lock().leaving[self.at] = Leaving::Begun;
        loop {
            // In the end nobody waits for who is not heard.
            let anyway = self.world.phase() != Phase::Works || random.chance(25);
            let within = Duration::from_millis(random.between(500, 6_000));
            let came = Box::pin(self.customer.close_account(within, anyway)).await;
            self.world.keep_what_was_signed();
            self.outcome("close", &came, told);
            if let Ok(closing) = &came
                && let Some(size) = self.closed_at(closing)
            {
                self.world.checks.lock().closed(self.at, size);
                break;
            }
            sleep(PAUSE).await;
        }
        self.world.board.lock().leaving[self.at] = Leaving::Gone;
        let after = self.customer.requests().await;
        self.outcome("requests after the closing", &after, |listed| format!("{} requests", listed.len()));
        if after.is_ok() {
            self.world.fail("closed", format!("{} is still answered", self.host));
        }
    }

    /// The size of the log with the record of the closing, if the account is closed.
    fn closed_at(&self, closing: &Closing) -> Option<u64> {
        match closing {
            Closing::Closed { receipt } => {
                self.world.checks.lock().acknowledged(self.host, &self.world.storage.current(), receipt);
                Some(receipt.index() + 1)
            }
            Closing::Unproven { stranger: true, .. } => Some(self.world.storage.current().size()),
            Closing::Unproven { stranger: false, refused } => {
                self.excused("close", refused);
                None
            }
            Closing::Waits { unheard, not_stopped, list } => {
                let unheard = unheard.iter().filter_map(|one| one.blame.as_ref());
                for error in unheard.chain(not_stopped.iter().map(|(_, error)| error)).chain(list) {
                    self.excused("what keeps an account open", error);
                }
                None
            }
        }
    }
}

fn told(closing: &Closing) -> String {
    match closing {
        Closing::Closed { receipt } => format!("record {}", receipt.index()),
        Closing::Unproven { stranger, .. } => format!("unproven, as a stranger: {stranger}"),
        Closing::Waits { unheard, not_stopped, list } => format!(
            "waits for {} sides and {} stops{}",
            unheard.len(),
            not_stopped.len(),
            if list.is_some() { ", and for the list" } else { "" }
        ),
    }
}
