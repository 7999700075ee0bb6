//! Erasing an account that nobody comes back to: never while something stands, and whole wherever it is cut off.

use countersign_grants::{key::SigningKey, lifecycle::ABANDONED_FOR};
use countersign_proto::log::v1::Kind;

use super::{
    Setting,
    closing::{about_her, polled, ready, requests},
};
use crate::{agenda, rows, sweeper};

/// In milliseconds.
const LONG_ENOUGH: u64 = ABANDONED_FOR.as_secs() * 1_000;

impl Setting {
    async fn erased(&self) -> usize {
        self.records().await.iter().filter(|record| record.kind() == Kind::CustomerErased).count()
    }

    async fn sweep(&self) {
        sweeper::abandon(&self.world.broker).await.expect("sweeps");
        sweeper::erase(&self.world.broker).await.expect("sweeps");
    }
}

#[tokio::test]
async fn an_abandoned_account_is_gone_wherever_its_erasure_was_cut_off() {
    let mut polls = 0;
    loop {
        let s = ready().await;
        let requests = requests(&s).await;
        s.report().await.expect("reported");
        s.world.pass(LONG_ENOUGH);
        let broker = &s.world.broker;
        let swept = async {
            sweeper::abandon(broker).await.expect("sweeps");
            sweeper::erase(broker).await.expect("sweeps");
        };
        let whole = polled(swept, polls).await.is_some();
        s.sweep().await;
        assert_eq!(s.erased().await, 1, "once, after {polls} polls");
        assert_eq!(about_her(&s, &requests).await, Vec::<String>::new(), "after {polls} polls");
        if whole {
            assert!(polls > 6, "it waits several times");
            return;
        }
        polls += 1;
    }
}

#[tokio::test]
async fn a_report_that_was_cut_off_between_the_links_and_the_rest_is_enough() {
    let mut polls = 0;
    loop {
        let s = Setting::new().await;
        let whole = polled(s.report(), polls).await.is_some();
        // What it had handed in when it ended is committed whole, and before this.
        sweeper::announce(&s.world.broker).await.expect("sweeps");
        let mut stand = 0;
        for link in [&s.from, &s.to] {
            let read = s.world.broker.load(rows::link(&link.name)).await.expect("reads");
            stand += usize::from(read.expect("is there").row.ended == 0);
        }
        s.world.pass(LONG_ENOUGH);
        s.sweep().await;
        assert_eq!(s.erased().await, usize::from(stand == 0), "{stand} links stand after {polls} polls");
        if whole {
            assert!(polls > 1, "it waits for the links, and for the rest");
            return;
        }
        polls += 1;
    }
}

impl Setting {
    /// Mei has lost everything: somebody with other keys links in the place of her.
    async fn linked_anew(&self) {
        let anew = self.world.person(70).await;
        for (seed, brand, old) in [(71, &self.skylark, &self.from), (72, &self.hopp, &self.to)] {
            let (name, _) = self.world.invite_anew(brand, seed, old).await;
            let key = SigningKey::from_secret(&[seed; 32]);
            let acceptance = self.world.accept(&anew, &name, &key).await.expect("accepts");
            self.world.confirm(brand, &name, acceptance).await.expect("confirms");
        }
    }
}

#[tokio::test]
async fn a_link_that_is_confirmed_beside_the_erasure_keeps_the_account() {
    let s = Setting::new().await;
    s.linked_anew().await;
    s.world.pass(LONG_ENOUGH);
    // No link stands, and the grants are looked at.
    let gate = s.world.store.hold(rows::grants_of(&s.her_party()).name(), 0);
    let back = async {
        gate.has_read.notified().await;
        s.world.link(&s.skylark, &s.mei, 73).await;
        gate.go.notify_one();
    };
    let (swept, ()) = tokio::join!(sweeper::abandon(&s.world.broker), back);
    assert_eq!(swept.expect("sweeps"), 0, "it is a conflict");
    s.world.pass(2 * LONG_ENOUGH);
    s.sweep().await;
    assert_eq!(s.erased().await, 0, "a link stands");
    let (broker, name) = (&s.world.broker, s.mei.name.as_str());
    let looks = agenda::ABANDONED.of(broker, name, 10).await.expect("reads");
    assert!(looks.is_empty(), "nobody looks again before that one ends");
}

#[tokio::test]
async fn who_does_anything_has_the_same_time_again() {
    let s = Setting::new().await;
    s.linked_anew().await;
    s.world.pass(LONG_ENOUGH - 1);
    let (name, _) = s.world.invite(&s.skylark, 73).await;
    s.world.accept(&s.mei, &name, &SigningKey::from_secret(&[73; 32])).await.expect("accepts");
    s.world.pass(LONG_ENOUGH - 1);
    s.sweep().await;
    assert_eq!(s.erased().await, 0);
    s.world.pass(1);
    s.sweep().await;
    assert_eq!(s.erased().await, 1, "the brand never confirmed it");
}

#[tokio::test]
async fn an_account_that_never_had_a_link_stays() {
    let s = Setting::new().await;
    let newcomer = s.world.person(70).await;
    let (name, _) = s.world.invite(&s.skylark, 71).await;
    s.world.accept(&newcomer, &name, &SigningKey::from_secret(&[71; 32])).await.expect("accepts");
    s.world.pass(10 * LONG_ENOUGH);
    s.sweep().await;
    assert_eq!(s.erased().await, 0);
    s.world.broker.customer_key(&newcomer.name).await.expect("is open");
}
