//! Stopping or pausing all that stands: one call for every 64 grants, and a proof for each.

use countersign_grants::{
    envelope,
    id::GrantName,
    statement::{GrantChange, Verb},
};
use countersign_proto::{
    statement::v1 as wire,
    v1::{ChangeGrantRequest, ChangeGrantsRequest, change_grants_response::Outcome},
};

use super::{Customer, GrantRow, Recorded, Standing, change::changing};
use crate::{
    channel::call,
    error::{Error, Party, Refused},
};

/// The most changes that a broker takes in one call.
const MAX_CHANGES_IN_CALL: usize = 64;

/// What came of one grant's stop or pause.
pub type Each = (GrantName, Result<Recorded, Error>);

/// What came of stopping or pausing all.
#[derive(Debug)]
pub struct All {
    /// Of each grant that may have stood, or had ended and was ordered to be deleted. A grant of which the broker says that there is none is among them, with that no:
    /// its terms were signed and sent.
    pub each: Vec<Each>,
    /// Why the broker's list is no measure of what stands: it did not come, something in it does not hold, or it leaves out
    /// a grant that the broker has shown before. Then what was approved on another device may stand unseen.
    pub list: Option<Error>,
}

/// A change that is signed and stands in the book.
struct Signed {
    row: GrantRow,
    said: GrantChange,
    source: wire::Envelope,
    recipient: wire::Envelope,
}

impl Customer {
    /// Stops every grant that may stand, for good: all that the customer signed, whatever the broker says of it, but for what
    /// she ended herself, what is over by her own clock, and what a proven record has ended. With `erase` these are ordered to
    /// be deleted too. Each has an outcome of its own: one that fails keeps no other from its end.
    pub async fn stop_all(&self, erase: bool) -> All {
        self.change_all(Verb::Stop, erase).await
    }

    /// Pauses every grant that may stand, by the same measure, and is not paused yet.
    pub async fn pause_all(&self) -> All {
        self.change_all(Verb::Pause, false).await
    }

    async fn change_all(&self, verb: Verb, erase: bool) -> All {
        let standing = Box::pin(self.may_stand()).await;
        let rows = if erase {
            standing.to_order(self.0.book.grants())
        } else {
            standing.views.into_iter().map(|view| view.row).collect()
        };
        let list = standing.fault;
        let _signing = self.0.signing.lock().await;
        let (mut each, mut signed) = (Vec::with_capacity(rows.len()), Vec::new());
        for row in rows.into_iter().filter(|row| moves((verb, erase), row)) {
            match self.prepare(&row.name, verb, erase).await {
                Ok(Prepared::Settled(recorded)) => each.push((row.name, Ok(*recorded))),
                Ok(Prepared::Signed(one)) => signed.push(*one),
                Ok(Prepared::Nothing) => {}
                Err(error) => each.push((row.name, Err(error))),
            }
        }
        for page in signed.chunks(MAX_CHANGES_IN_CALL) {
            each.extend(self.send_page(page).await);
        }
        All { each, list }
    }

    async fn prepare(&self, name: &GrantName, verb: Verb, erase: bool) -> Result<Prepared, Error> {
        let same = |said: &GrantChange| said.verb == verb && said.erase == erase;
        if let Some(recorded) = self.settle_pending(name, &same).await? {
            return Ok(Prepared::Settled(Box::new(recorded)));
        }
        // What was settled may have been a narrowing: then its successor is meant.
        let row = self.newest(name)?;
        if !moves((verb, erase), &row) {
            return Ok(Prepared::Nothing);
        }
        let (said, source, recipient) = self.sign_change(&row, (verb, erase), None)?;
        self.0.book.enter(changing(&row, &source, &recipient)).await?;
        Ok(Prepared::Signed(Box::new(Signed { row, said, source, recipient })))
    }

    /// What came of each change of a page; what is wrong with the answer as a whole is told of each.
    async fn send_page(&self, page: &[Signed]) -> Vec<Each> {
        let changes = page.iter().map(|one| ChangeGrantRequest {
            name: one.row.name.to_string(),
            source_change: Some(one.source.clone()),
            recipient_change: Some(one.recipient.clone()),
        });
        let asked = ChangeGrantsRequest { changes: changes.collect() };
        // Without an outcome each may stand, and is sent again with the same bytes by whatever comes next.
        let failed = |error: &dyn Fn() -> Error| {
            page.iter().map(|one| (one.row.name.clone(), Err(error()))).collect::<Vec<_>>()
        };
        let answer = match self.0.connection.grants().change_grants(call(asked)).await {
            Ok(answer) => answer.into_inner().outcomes,
            Err(status) => return failed(&|| Error::from(status.clone())),
        };
        if answer.len() != page.len() {
            let detail = format!("{} outcomes for {} changes", answer.len(), page.len());
            return failed(&|| Error::misbehaved(Party::Broker, "changes", "outcomes", detail.as_str()));
        }
        let mut done = Vec::with_capacity(page.len());
        for (one, outcome) in page.iter().zip(answer) {
            done.push((one.row.name.clone(), self.take_outcome(one, outcome).await));
        }
        done
    }

    async fn take_outcome(&self, one: &Signed, outcome: Outcome) -> Result<Recorded, Error> {
        if outcome.reason.is_empty() {
            return self.recorded(&one.row, &one.said, &one.source, outcome.receipt.as_ref()).await;
        }
        let refused = Error::Refused(Box::new(Refused {
            code: outcome.code.into(),
            reason: outcome.reason,
            metadata: std::collections::BTreeMap::new(),
            message: outcome.message,
            retry_after: None,
        }));
        if !refused.is_no() {
            return Err(refused);
        }
        Err(self.doubt_refused_change(&one.row, envelope::digest(&one.source), refused).await?)
    }
}

enum Prepared {
    /// It was signed before, and is recorded now.
    Settled(Box<Recorded>),
    /// It stands in the book, and has to leave.
    Signed(Box<Signed>),
    /// There is nothing to change any more.
    Nothing,
}

/// Whether this would change where the grant stands.
fn moves((verb, erase): (Verb, bool), row: &GrantRow) -> bool {
    match row.standing {
        Standing::Active => true,
        Standing::Paused => verb == Verb::Stop,
        // What was stopped without it can still be ordered to be deleted.
        Standing::Stopped { erase: false } => verb == Verb::Stop && erase,
        Standing::Stopped { erase: true } | Standing::Superseded { .. } => false,
    }
}
