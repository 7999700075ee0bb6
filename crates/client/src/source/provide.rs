//! Answering a fetch: check, ask the handler, pad, seal, sign, enter, and only then hand over.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use countersign_grants::{
    catalogue::FieldPath,
    digest::Digest,
    envelope::Signed,
    id::SubjectHandle,
    sealing::{comparison_mark, info},
    statement::{Comparison, Provision},
};
use countersign_proto::{
    statement::v1 as wire,
    v1::{ProvideDataRequest, ProvideDataResponse},
};
use parking_lot::Mutex;
use prost::Message as _;

use super::{
    Inner, SourceHandler, Turns,
    check::{Case, affords, stands, tapped},
    refusal::Refusal,
};
use crate::{
    book::{Answer, State, answer_key, envelope_bytes, envelope_of},
    sealing::{self, SealError},
    value::Value,
};

/// How long a handler may take: less than the broker waits for a source, so that the broker hears why.
pub const HANDLER_DEADLINE: Duration = Duration::from_secs(8);

impl<H: SourceHandler> Inner<H> {
    pub(super) async fn provide(&self, request: ProvideDataRequest) -> Result<ProvideDataResponse, Refusal> {
        let shared = &self.partner.0;
        shared.monitor.check().map_err(Refusal::Halted)?;
        let case = self.check(&request, shared.system.now()).await?;
        let key = answer_key(case.fetch.statement());
        let turn = self.turn(key);
        let _held = turn.lock.lock().await;
        self.answer(&case, key).await
    }

    async fn answer(&self, case: &Case, key: Digest) -> Result<ProvideDataResponse, Refusal> {
        let shared = &self.partner.0;
        let fetch = case.fetch.digest();
        // A stop may have come while this call waited for its turn.
        let row = shared.book.grant_by(case.row.digest()).unwrap_or_else(|| case.row.clone());
        stands(&row, shared.system.now())?;
        if let Some(answer) = shared.book.read(|state| state.answers.get(&key).cloned()) {
            return repeat(&answer, fetch);
        }
        let used =
            |state: &State| case.tap.as_ref().is_some_and(|tap| state.taps.contains_key(&tap.digest()));
        shared.book.read(|state| affords(state, &row, shared.system.now()))?;
        tapped(case, shared.book.read(used), shared.system.now())?;
        let values = self.values(case.row.subject(), &case.fetch.statement().fields).await?;
        let answer = self.seal(case, key, &values).await?;
        // The handler took its time: what held before it is asked again, in one step with the spending.
        let now = answer.at;
        let entered = shared.book.note_answer(answer, |state, row| {
            stands(row, now)
                .and_then(|()| affords(state, row, now))
                .and_then(|()| tapped(case, used(state), now))
        })??;
        repeat(&entered, fetch)
    }

    pub(super) async fn values(
        &self,
        subject: &SubjectHandle,
        fields: &[FieldPath],
    ) -> Result<Vec<Value>, Refusal> {
        let asked = self.handler.provide(subject, fields);
        let values = tokio::time::timeout(HANDLER_DEADLINE, asked)
            .await
            .map_err(|_| Refusal::HandlerSlow)?
            .map_err(Refusal::Handler)?;
        if values.len() != fields.len() {
            let problem = format!("the handler gave {} values for {} fields", values.len(), fields.len());
            return Err(Refusal::HandlerWrong(problem));
        }
        Ok(values)
    }

    async fn seal(&self, case: &Case, key: Digest, values: &[Value]) -> Result<Answer, Refusal> {
        let shared = &self.partner.0;
        let (asked, fetch) = (case.fetch.statement(), case.fetch.digest());
        let info = info(case.row.digest(), fetch, &asked.fields);
        let named = asked.fields.iter().zip(values).map(|(field, value)| (field.as_str(), value));
        let sealed = sealing::seal(shared.system.entropy.as_ref(), &asked.sealing_key, &info, named);
        let sealed = sealed.map_err(|error| not_sealed("fetch", error))?;
        let sealed = Bytes::from(sealed.encode_to_vec());
        let checkpoint = shared.monitor.for_signing().await?;
        let at = shared.system.now();
        let comparison = self.comparison(case, values)?;
        let provision = shared.sign::<Provision>(&wire::Provision {
            broker: shared.trust.origin.to_string(),
            source: shared.name.to_string(),
            fetch: fetch.into(),
            sealed: Digest::of(&sealed).into(),
            time_ms: at.as_millis(),
            checkpoint,
            preview: comparison.as_ref().map(|comparison| comparison.preview.into()).unwrap_or_default(),
            marks: comparison.map(|comparison| comparison.to_wire()).unwrap_or_default(),
        });
        Ok(Answer {
            key,
            grant: case.row.digest(),
            at,
            fetch,
            asked: asked.time,
            fields: asked.fields.clone(),
            fetch_bytes: envelope_bytes(case.fetch.envelope()).into(),
            sealed,
            provision: countersign_grants::envelope::digest(&provision),
            provision_bytes: envelope_bytes(&provision).into(),
            tap: case.tap.as_ref().map(Signed::digest),
        })
    }

    /// What tells the customer whether these values are those of the preview, if one was answered: in the first provision
    /// alone, whatever becomes of it. Marks under one key tell whoever sees them which values are equal; in every provision
    /// until a release is proven they would tell a broker that proves none whatever changes.
    fn comparison(&self, case: &Case, values: &[Value]) -> Result<Option<Comparison>, Refusal> {
        let Some((preview, key)) = self.partner.0.book.take_comparison(&case.row)? else { return Ok(None) };
        let named = case.fetch.statement().fields.iter().zip(values);
        let marks =
            named.map(|(field, value)| (field.clone(), comparison_mark(&key, field, value.as_bytes())));
        Ok(Some(Comparison { preview, marks: marks.collect() }))
    }

    pub(super) fn turn(&self, key: Digest) -> Turn<'_> {
        let lock = Arc::clone(self.turns.lock().entry(key).or_default());
        Turn { turns: &self.turns, key, lock }
    }
}

/// A call's place in the queue of its request id. Goes with the call, also with one that is dropped half-way.
pub(super) struct Turn<'a> {
    turns: &'a Mutex<Turns>,
    key: Digest,
    pub(super) lock: Arc<tokio::sync::Mutex<()>>,
}

impl Drop for Turn<'_> {
    /// Forgets the queue, unless somebody else stands in it.
    fn drop(&mut self) {
        /// The map's own, and this call's.
        const NOBODY_ELSE: usize = 2;
        let mut turns = self.turns.lock();
        if Arc::strong_count(&self.lock) <= NOBODY_ELSE {
            turns.remove(&self.key);
        }
    }
}

/// Why nothing was sealed: a key that is none, or a value that is too long.
pub(super) fn not_sealed(statement: &'static str, error: SealError) -> Refusal {
    match error {
        SealError::Key => Refusal::Statement { statement, check: "sealing_key", detail: error.to_string() },
        SealError::TooLong(long) => Refusal::HandlerWrong(long.to_string()),
    }
}

/// The same bytes for the same fetch, and nothing for another one under its request id.
fn repeat(answer: &Answer, fetch: Digest) -> Result<ProvideDataResponse, Refusal> {
    if answer.fetch != fetch {
        return Err(Refusal::RequestIdReused);
    }
    Ok(ProvideDataResponse {
        sealed_fields: answer.sealed.clone(),
        provision: Some(envelope_of(&answer.provision_bytes)),
    })
}
