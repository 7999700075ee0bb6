//! When heads become public.

use std::time::Duration;

use super::*;
use faulty::Faulty;
use tokio::time::{Instant, sleep};

#[tokio::test(start_paused = true)]
async fn at_most_once_a_second_and_only_when_the_log_has_grown() {
    let (ledger, store) = fresh().await;
    assert_eq!(ledger.published().size(), 0, "a fresh log is public at once");
    check_world(&ledger).await;
    let begun = Instant::now();
    let mut changes = vec![(begun, 0)];
    for id in 0..100 {
        committed(ledger.submit(unit(id)).await);
        sleep(Duration::from_millis(95)).await;
        let size = ledger.published().size();
        if size != changes.last().unwrap().1 {
            changes.push((Instant::now(), size));
            check_world(&ledger).await;
        }
    }
    assert!((9..=11).contains(&changes.len()), "{} publications in 9.5 s", changes.len());
    // Seen 95 ms late at most.
    let apart = changes.windows(2).map(|pair| pair[1].0 - pair[0].0);
    assert!(apart.min().unwrap() >= Duration::from_millis(1_000 - 95));
    sleep(Duration::from_secs(2)).await;
    assert_eq!(ledger.published(), ledger.latest());
    let published = store.file("checkpoint").await.unwrap().unwrap();
    sleep(Duration::from_secs(10)).await;
    assert_eq!(store.file("checkpoint").await.unwrap().unwrap(), published);
}

#[tokio::test(start_paused = true)]
async fn a_failed_publication_is_made_up_for() {
    let store = Arc::new(Faulty::default());
    let ledger = open(&store).await;
    store.publications_fail.store(true, Ordering::SeqCst);
    for round in 0..5 {
        together(&ledger, (0..300).map(|id| unit(format!("{round} {id}"))).collect()).await;
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(ledger.published().size(), 0);
    assert!(ledger.publishing_failure().is_some_and(|why| why.contains("a test asked for it")));
    assert!(ledger.is_available(), "units are taken all the same");
    store.publications_fail.store(false, Ordering::SeqCst);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(ledger.published().size(), 1_500);
    assert_eq!(ledger.publishing_failure(), None);
    check_world(&ledger).await;
}
