//! The receipts that a source is owed: for everything it provided, proof of what became of it. So the broker can't draw
//! data and not log it without the source noticing.

use std::{collections::HashMap, sync::Arc, time::Duration};

use countersign_grants::{digest::Digest, statement::MAX_FETCH_AGE, time::Timestamp};
use countersign_proto::{
    log::v1::Kind,
    v1::{ClaimReceiptRequest, DeliverReceiptsRequest, Receipt},
};
use futures_util::{StreamExt as _, stream};

use super::{Inner, refusal::Refusal};
use crate::{
    book::{Answer, Entry, Standing, envelope_of},
    channel::call,
    error::{Error, Party},
    partner::Shared,
    receipt::{CLOCK_SKEW, ProvenLeaf, Saying},
};

/// With a receipt missing for longer than this, its grant is not served.
pub const STOP_AFTER: Duration = Duration::from_secs(60);

/// After this long a missing receipt is claimed. A claim ends the chance that the data is still released, so it comes only
/// after a recipient's retries have ended.
pub const CLAIM_AFTER: Duration = Duration::from_secs(35);

/// How long after the answer a receipt is taken that the log dates wrongly: the most by which clocks are ever off, and a
/// few rounds of claims.
const MISDATED_WITHIN: Duration = Duration::from_secs(15 * 60);

/// The pause between two rounds of claims.
pub(crate) const CLAIM_ROUND: Duration = Duration::from_secs(10);

/// The most claims in one round: two rounds, which fit between [`CLAIM_AFTER`] and [`STOP_AFTER`], claim for as many grants
/// as a source serves in a busy second.
const CLAIMS_A_ROUND: usize = 256;

/// The most claims at once: a broker that comes back with thousands of receipts missing is not flooded.
const CLAIMS_AT_ONCE: usize = 16;

/// The most receipts in one call, as the API says.
const MAX_RECEIPTS: usize = 256;

impl<H> Inner<H> {
    /// Takes the receipts that verify, and names the first that does not. One that is not owed any more is passed over:
    /// deliveries come at least once.
    pub(super) fn take_receipts(&self, request: &DeliverReceiptsRequest) -> Result<(), Refusal> {
        let shared = &self.partner.0;
        shared.monitor.check().map_err(Refusal::Halted)?;
        let mut first = Ok(());
        for delivered in request.receipts.iter().take(MAX_RECEIPTS) {
            let owed = Digest::from_slice(&delivered.fetch)
                .and_then(|fetch| shared.book.read(|state| state.owed.get(&fetch).cloned()));
            let Some(answer) = owed else { continue };
            let taken = take_receipt(shared, &answer, delivered.receipt.as_ref());
            first = first.and(taken);
        }
        Ok(first?)
    }
}

/// Verifies that a receipt is for this very answer, and clears what is owed.
fn take_receipt(shared: &Shared, answer: &Answer, receipt: Option<&Receipt>) -> Result<(), Error> {
    let leaf = ProvenLeaf::prove(receipt, &shared.monitor)?;
    let row = shared.book.grant_by(answer.grant).ok_or_else(|| {
        let ours = Party::Partner(shared.name.clone());
        Error::misbehaved(ours, "book", "fetch", "its grant is gone")
    })?;
    let terms = row.terms();
    // What is released is released while the fetch is fresh; that something was not may be entered at any time since.
    let released = leaf.record().kind() == Kind::Transfer;
    let latest = if released { answer.asked.plus(MAX_FETCH_AGE) } else { shared.system.now() };
    let saying = Saying {
        kinds: &[Kind::Transfer, Kind::ProvidedNotReleased],
        source: &terms.source,
        recipient: &terms.recipient,
        purpose: &terms.purpose,
        catalogue_version: terms.catalogue_version,
        log_tag: &terms.log_tag,
        subject: None,
        fields: Some(&answer.fields),
        evidence: Some(&[answer.grant, answer.fetch, answer.provision]),
        use_limit: Some(terms.uses),
        not_before: answer.at.minus(MAX_FETCH_AGE + CLOCK_SKEW),
        not_after: latest.plus(CLOCK_SKEW),
    };
    // What is owed is proof that the log has it. A broker whose clock was wrong can't enter it again, and to refuse what it
    // entered would end the grant for good; the recipient refuses data that comes with a wrong time. But it must come soon:
    // else data could be released long after it was provided, and dated rightly.
    let soon = shared.system.now().since(answer.at) <= MISDATED_WITHIN;
    match leaf.says(&saying) {
        Err(error) if soon => {
            let (not_before, not_after) = (Timestamp::default(), Timestamp::from_millis(u64::MAX));
            leaf.says(&Saying { not_before, not_after, ..saying })?;
            tracing::warn!(fetch = %answer.fetch, index = leaf.index(), %error, "the log dates a release wrongly");
        }
        said => said?,
    }
    Ok(shared.book.note(Entry::ReceiptTaken { fetch: *answer.fetch.as_bytes() })?)
}

/// Claims receipts that are missing: of each grant the oldest, then of each the next. So a recipient that cancels thousands
/// of calls under one grant keeps no other grant waiting. What is over comes last: of a customer who closed the account the
/// broker can prove nothing any more, and however many they get, those claims keep no grant from being served.
pub(crate) async fn claim_missing(shared: &Arc<Shared>) {
    let now = shared.system.now();
    let missing: Vec<Arc<Answer>> = shared.book.read(|state| {
        state.owed.values().filter(|answer| now.since(answer.at) > CLAIM_AFTER).cloned().collect()
    });
    let is_over = |answer: &Answer| {
        let row = shared.book.grant_by(answer.grant);
        row.is_some_and(|row| row.held() || matches!(row.standing(), Standing::Stopped { .. }))
    };
    let claims = stream::iter(in_order(missing, is_over).take(CLAIMS_A_ROUND));
    claims
        .for_each_concurrent(CLAIMS_AT_ONCE, |answer| async move {
            if let Err(error) = claim(shared, &answer).await {
                tracing::warn!(fetch = %answer.fetch, %error, "a receipt is missing, and the claim for it failed");
            }
        })
        .await;
}

/// What is over after all else, each in its turn.
fn in_order(
    missing: Vec<Arc<Answer>>,
    is_over: impl Fn(&Answer) -> bool,
) -> impl Iterator<Item = Arc<Answer>> {
    let (over, others) = missing.into_iter().partition(|answer| is_over(answer));
    in_turn(others).into_iter().chain(in_turn(over))
}

/// Oldest first within a grant, and no second of a grant before the first of every other.
fn in_turn(mut missing: Vec<Arc<Answer>>) -> Vec<Arc<Answer>> {
    // By the fetch as well, so that the order is one whatever a map's is.
    missing.sort_by_key(|answer| (answer.at, answer.fetch));
    let mut turns: HashMap<Digest, usize> = HashMap::new();
    let mut placed: Vec<(usize, Arc<Answer>)> = Vec::with_capacity(missing.len());
    for answer in missing {
        let turn = turns.entry(answer.grant).or_default();
        placed.push((*turn, answer));
        *turn += 1;
    }
    // Stable: within a turn the oldest stays first.
    placed.sort_by_key(|(turn, _)| *turn);
    placed.into_iter().map(|(_, answer)| answer).collect()
}

async fn claim(shared: &Shared, answer: &Answer) -> Result<(), Error> {
    let asked = ClaimReceiptRequest {
        fetch: Some(envelope_of(&answer.fetch_bytes)),
        provision: Some(envelope_of(&answer.provision_bytes)),
    };
    let claimed = shared.connection.transfers().claim_receipt(call(asked)).await?.into_inner();
    take_receipt(shared, answer, claimed.receipt.as_ref())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use bytes::Bytes;

    use super::*;

    fn owed(grant: &str, at: u64) -> Arc<Answer> {
        let (key, none) = (Digest::of(format!("{grant} {at}").as_bytes()), Bytes::new());
        Arc::new(Answer {
            key,
            grant: Digest::of(grant.as_bytes()),
            at: Timestamp::from_millis(at),
            fetch: key,
            asked: Timestamp::from_millis(at),
            fields: Vec::new(),
            fetch_bytes: none.clone(),
            sealed: none.clone(),
            provision: key,
            provision_bytes: none,
            tap: None,
        })
    }

    #[test]
    fn no_grant_waits_for_the_second_claim_of_another() {
        let mut missing: Vec<_> = (0..1000).rev().map(|at| owed("a cancelled thousand", at)).collect();
        missing.extend([owed("another", 2000), owed("another", 1999), owed("a third", 1500)]);
        let order: Vec<u64> = in_turn(missing).iter().map(|answer| answer.at.as_millis()).collect();
        assert_eq!(order[..6], [0, 1500, 1999, 1, 2000, 2]);
        assert_eq!(order.len(), 1003);
    }

    #[test]
    fn nothing_that_stands_waits_for_what_is_over() {
        let gone: Vec<_> = (0..1000).map(|at| owed(&format!("closed account {at}"), at)).collect();
        let over: HashSet<_> = gone.iter().map(|answer| answer.grant).collect();
        let standing = [owed("standing", 2001), owed("another", 2000)];
        let missing = gone.into_iter().chain(standing).collect();
        let order = in_order(missing, |answer| over.contains(&answer.grant));
        let order: Vec<u64> = order.map(|answer| answer.at.as_millis()).collect();
        assert_eq!(order[..4], [2000, 2001, 0, 1]);
        assert_eq!(order.len(), 1002);
    }
}
