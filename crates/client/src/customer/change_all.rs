//! Stopping or pausing all that stands: one call for every 64 grants, and a proof for each.

use countersign_grants::{
    envelope,
    id::GrantName,
    statement::{GrantChange, Verb},
};
use countersign_proto::{
    statement::v1 as wire,
    v1::{ChangeGrantRequest, ChangeGrantsRequest, change_grants_response::Outcome, grant::State},
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

/// A change that is signed and stands in the book.
struct Signed {
    row: GrantRow,
    said: GrantChange,
    source: wire::Envelope,
    recipient: wire::Envelope,
}

impl Customer {
    /// Stops every grant that stands, for good. Each has an outcome of its own: one that fails keeps no other from its end.
    pub async fn stop_all(&self, erase: bool) -> Result<Vec<Each>, Error> {
        self.change_all(Verb::Stop, erase).await
    }

    /// Pauses every grant that stands and is not paused yet.
    pub async fn pause_all(&self) -> Result<Vec<Each>, Error> {
        self.change_all(Verb::Pause, false).await
    }

    async fn change_all(&self, verb: Verb, erase: bool) -> Result<Vec<Each>, Error> {
        let standing = self.all_standing(verb).await?;
        let _signing = self.0.signing.lock().await;
        let (mut done, mut signed) = (Vec::with_capacity(standing.len()), Vec::new());
        for name in standing {
            match self.prepare(&name, verb, erase).await {
                Ok(Prepared::Settled(recorded)) => done.push((name, Ok(*recorded))),
                Ok(Prepared::Signed(one)) => signed.push(*one),
                Ok(Prepared::Nothing) => {}
                Err(error @ Error::Book(_)) => return Err(error),
                Err(error) => done.push((name, Err(error))),
            }
        }
        for page in signed.chunks(MAX_CHANGES_IN_CALL) {
            done.extend(self.send_page(page).await?);
        }
        Ok(done)
    }

    /// The names of what stands. What the same wallet signed elsewhere is among it, as far as the broker answers; where it
    /// does not, the book's own grants are.
    async fn all_standing(&self, verb: Verb) -> Result<Vec<GrantName>, Error> {
        let open =
            |state: Option<State>| matches!(state, Some(State::Active | State::Paused | State::Suspended));
        let wanted = |row: &GrantRow| match row.standing {
            Standing::Active => true,
            Standing::Paused => verb == Verb::Stop,
            Standing::Stopped { .. } | Standing::Superseded { .. } => false,
        };
        match self.grants().await {
            Ok(views) => {
                let views = views.into_iter().filter(|view| open(view.state) && wanted(&view.row));
                Ok(views.map(|view| view.row.name).collect())
            }
            Err(error @ Error::Book(_)) => Err(error),
            // A list that does not verify must keep nobody from stopping.
            Err(error) => {
                tracing::warn!(%error, "stopping what the book has: the broker's list is no good");
                let now = self.now();
                let rows = self.0.book.grants().into_iter();
                Ok(rows
                    .filter(|row| wanted(row) && now < row.terms.expire_time)
                    .map(|row| row.name)
                    .collect())
            }
        }
    }

    async fn prepare(&self, name: &GrantName, verb: Verb, erase: bool) -> Result<Prepared, Error> {
        let same = |said: &GrantChange| said.verb == verb && said.erase == erase;
        if let Some(recorded) = self.settle_pending(name, &same).await? {
            return Ok(Prepared::Settled(Box::new(recorded)));
        }
        // What was settled may have been a narrowing: then its successor is meant.
        let row = self.newest(name)?;
        let stands = match row.standing {
            Standing::Active => true,
            Standing::Paused => verb == Verb::Stop,
            Standing::Stopped { .. } | Standing::Superseded { .. } => false,
        };
        if !stands {
            return Ok(Prepared::Nothing);
        }
        let (said, source, recipient) = self.sign_change(&row, (verb, erase), None)?;
        self.0.book.enter(changing(&row, &source, &recipient)).await?;
        Ok(Prepared::Signed(Box::new(Signed { row, said, source, recipient })))
    }

    async fn send_page(&self, page: &[Signed]) -> Result<Vec<Each>, Error> {
        let changes = page.iter().map(|one| ChangeGrantRequest {
            name: one.row.name.to_string(),
            source_change: Some(one.source.clone()),
            recipient_change: Some(one.recipient.clone()),
        });
        let asked = ChangeGrantsRequest { changes: changes.collect() };
        let answer = match self.0.connection.grants().change_grants(call(asked)).await {
            Ok(answer) => answer.into_inner().outcomes,
            // Each may stand, and is sent again with the same bytes by whatever comes next.
            Err(status) => {
                let failed = |one: &Signed| (one.row.name.clone(), Err(Error::from(status.clone())));
                return Ok(page.iter().map(failed).collect());
            }
        };
        if answer.len() != page.len() {
            let detail = format!("{} outcomes for {} changes", answer.len(), page.len());
            return Err(Error::misbehaved(Party::Broker, "changes", "outcomes", detail));
        }
        let mut done = Vec::with_capacity(page.len());
        for (one, outcome) in page.iter().zip(answer) {
            let came = match self.take_outcome(one, outcome).await {
                Err(error @ Error::Book(_)) => return Err(error),
                came => came,
            };
            done.push((one.row.name.clone(), came));
        }
        Ok(done)
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
        if refused.is_transient() {
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
