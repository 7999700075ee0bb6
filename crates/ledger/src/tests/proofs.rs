//! Proofs for old records, and between all heads that were handed out.

use std::collections::BTreeMap;

use super::*;
use crate::ProofError;
use countersign_tlog::proof::verify_consistency;

/// A log that grew in uneven steps, and every head that was handed out on the way.
async fn grown(ledger: &Ledger) -> BTreeMap<u64, SignedCheckpoint> {
    let mut heads = BTreeMap::from([(0, (*ledger.latest()).clone())]);
    for step in [1, 1, 1, 2, 250, 1, 1, 255, 257, 500, 3, 512, 300, 1, 400, 5] {
        for outcome in together(ledger, (0..step).map(|id| unit(format!("{step} {id}"))).collect()).await {
            let head = verify(&committed(outcome).receipts[0]);
            heads.insert(head.size(), head);
        }
    }
    heads
}

async fn check(ledger: &Ledger, heads: &BTreeMap<u64, SignedCheckpoint>) {
    for (from, old) in heads {
        for (to, new) in heads.range(from..) {
            let proof = ledger.consistency(*from, *to).await.unwrap();
            verify_consistency(*from, old.root(), *to, new.root(), &proof).unwrap();
        }
    }
    let size = ledger.latest().size();
    for index in (0..size).step_by(7).chain(size - 10..size) {
        let receipt = ledger.proof(index).await.unwrap();
        assert_eq!((receipt.index, verify(&receipt).size()), (index, size));
    }
    assert_eq!(ledger.proof(size).await, Err(ProofError::Beyond { asked: size, size }));
    assert_eq!(ledger.consistency(1, size + 1).await, Err(ProofError::Beyond { asked: size + 1, size }));
    assert_eq!(ledger.consistency(2, 1).await, Err(ProofError::Beyond { asked: 2, size: 1 }));
    check_world(ledger).await;
}

#[tokio::test(start_paused = true)]
async fn every_proof_verifies_before_and_after_publication_and_reopening() {
    let (ledger, store) = fresh().await;
    let heads = grown(&ledger).await;
    assert!(heads.len() > 10);
    assert_eq!(ledger.published().size(), 0);
    check(&ledger, &heads).await;

    ledger.shutdown().await;
    assert_eq!(ledger.published().size(), ledger.latest().size());
    check(&ledger, &heads).await;

    let ledger = open(&store).await;
    check(&ledger, &heads).await;
    // Beyond what is published: old tiles come from the store, new ones from the tree.
    let mut heads = heads;
    for outcome in together(&ledger, (0..600).map(unit).collect()).await {
        let head = verify(&committed(outcome).receipts[0]);
        heads.insert(head.size(), head);
    }
    assert!(ledger.published().size() < ledger.latest().size());
    check(&ledger, &heads).await;
}
