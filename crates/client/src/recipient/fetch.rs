//! Fetching.

use std::time::Duration;

use countersign_grants::{
    catalogue::{FieldPath, PurposeCode},
    digest::Digest,
    envelope,
    id::GrantName,
    statement::Fetch,
};
use countersign_proto::{
    statement::v1 as wire,
    v1::{FetchDataRequest, FetchDataResponse, grant::State},
};

use super::Fetched;
use crate::{
    book::{GrantRow, Side, Standing},
    channel::call,
    error::{Error, Misuse},
    partner::Partner,
    sealing::OpeningKey,
};

/// How often one fetch is tried: a dropped connection, a broker that restarts, a source that does.
pub const FETCH_ATTEMPTS: u32 = 4;

/// No new try begins after this long. A fetch is good for 120 s, but a source claims its receipt after 35 s, and what was
/// claimed as not released can't be released any more: 18 s and a call's deadline of 15 s stay below that.
pub const RETRY_WITHIN: Duration = Duration::from_secs(18);

/// The pause before the second try, doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(200);

/// A fetch that this side signed itself, so that its signature needs no verifying.
pub(crate) struct OwnFetch {
    pub(crate) digest: Digest,
    pub(crate) envelope: wire::Envelope,
    pub(crate) statement: Fetch,
}

impl Partner {
    /// Fetches fields under a grant, for its purpose, in one signed statement. Tries again with the same bytes while
    /// nobody answers, which spends no second use. Whether the grant still allows it is for the broker and the source to
    /// say: the refusal is what the log shows. Where a newer revision stands in the grant's place, it is fetched under that
    /// one. Values that come once the book says that they are to be deleted, or that the grant is revoked, stopped here or
    /// held, are not opened: [`Misuse::NotNow`].
    pub async fn fetch(&self, grant: &GrantName, purpose: &str, fields: &[&str]) -> Result<Fetched, Error> {
        self.0.monitor.check()?;
        let mut row = self.receiving(grant)?;
        if let Standing::Superseded { .. } = row.standing() {
            // The change is in the book, and the terms that it names are on their way.
            let (_, newer, _) = self.0.take_successor(row.name()).await?;
            row = self.receiving(newer.name())?;
        }
        match self.fetch_under(&row, (purpose, fields), None).await {
            // The fetch was quicker than the event that says so.
            Err(error) if was_superseded(&error) => match self.0.take_successor(row.name()).await {
                Ok((_, newer, _)) => self.fetch_under(&newer, (purpose, fields), None).await,
                Err(found) => {
                    tracing::warn!(grant = %row.name(), error = %found, "a newer revision was not taken up");
                    Err(error)
                }
            },
            done => done,
        }
    }

    /// The same, where a field is a precise location: by the customer's own tap, which [`PartnerEvent::LocationTapped`]
    /// brought. One tap is good for one fetch, for minutes, and of these very terms: no newer revision is taken up.
    ///
    /// [`PartnerEvent::LocationTapped`]: crate::PartnerEvent::LocationTapped
    pub async fn fetch_tapped(
        &self,
        grant: &GrantName,
        purpose: &str,
        fields: &[&str],
        tap: Digest,
    ) -> Result<Fetched, Error> {
        self.0.monitor.check()?;
        let row = self.receiving(grant)?;
        self.fetch_under(&row, (purpose, fields), Some(tap)).await
    }

    async fn fetch_under(
        &self,
        row: &GrantRow,
        asked: (&str, &[&str]),
        tap: Option<Digest>,
    ) -> Result<Fetched, Error> {
        let key = OpeningKey::draw(&self.0.system);
        let fetch = self.sign_fetch(row, asked, tap, &key).await?;
        let answer = self.ask(&fetch).await?;
        self.open_answer(row, &fetch, &key, &answer)
    }

    /// Verifies everything that can be known without the values, and only then opens them: if this side may still have them.
    pub(crate) fn open_answer(
        &self,
        row: &GrantRow,
        fetch: &OwnFetch,
        key: &OpeningKey,
        answer: &FetchDataResponse,
    ) -> Result<Fetched, Error> {
        let (sealed, receipt) = self.0.verify_answer(row, fetch, answer)?;
        self.still_receives(row)?;
        let info = countersign_grants::sealing::info(row.digest(), fetch.digest, &fetch.statement.fields);
        let values = key.open(&sealed, &info).map_err(|error| {
            Error::misbehaved(Self::source_of(row), "sealed_fields", "open", error.to_string())
        })?;
        let values = fetch.statement.fields.iter().cloned().zip(values).collect();
        Ok(Fetched { grant: row.name().clone(), values, receipt })
    }

    fn receiving(&self, grant: &GrantName) -> Result<GrantRow, Error> {
        let row = self.0.book.newest_revision(grant).ok_or_else(|| unknown(grant))?;
        if row.side() != Side::Recipient {
            return Err(not_now(grant, "this partner is the source of the grant"));
        }
        may_receive(&row)?;
        Ok(row)
    }

    /// Whether the book, as it stands now, still lets this side have what comes under a grant. An answer can be on its way
    /// for as long as a fetch is tried, and what was to be deleted meanwhile would come back with it.
    fn still_receives(&self, fetched: &GrantRow) -> Result<(), Error> {
        let book = &self.0.book;
        for row in [book.grant(fetched.name()), book.newest_revision(fetched.name())] {
            let row = row.ok_or_else(|| unknown(fetched.name()))?;
            may_receive(&row)?;
            if row.erase_due().is_some() {
                return Err(not_now(
                    row.name(),
                    "the customer has ordered that what came under it is deleted",
                ));
            }
        }
        Ok(())
    }

    async fn sign_fetch(
        &self,
        row: &GrantRow,
        (purpose, fields): (&str, &[&str]),
        tap: Option<Digest>,
        key: &OpeningKey,
    ) -> Result<OwnFetch, Error> {
        let shared = &self.0;
        PurposeCode::parse(purpose).map_err(|error| Error::malformed("purpose", error))?;
        for field in fields {
            FieldPath::parse(field).map_err(|error| Error::malformed("fields", error))?;
        }
        let checkpoint = shared.monitor.for_signing().await?;
        let message = wire::Fetch {
            broker: shared.trust.origin.to_string(),
            recipient: shared.name.to_string(),
            terms: row.digest().into(),
            purpose: purpose.to_owned(),
            fields: fields.iter().map(|field| (*field).to_owned()).collect(),
            request_id: shared.system.draw_uuid(),
            time_ms: shared.system.now().as_millis(),
            sealing_key: key.public().to_vec().into(),
            checkpoint,
            tap: tap.map(Into::into).unwrap_or_default(),
        };
        let (envelope, statement) = shared.sign_own::<Fetch>("fields", &message)?;
        Ok(OwnFetch { digest: envelope::digest(&envelope), envelope, statement })
    }

    async fn ask(&self, fetch: &OwnFetch) -> Result<FetchDataResponse, Error> {
        let begun = fetch.statement.time;
        let mut attempt = 0;
        loop {
            let asked = FetchDataRequest { statement: Some(fetch.envelope.clone()) };
            let error = match self.0.connection.transfers().fetch_data(call(asked)).await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) => Error::from(status),
            };
            attempt += 1;
            let mut pause = FIRST_PAUSE.saturating_mul(1 << attempt.min(8)) / 2;
            if let Error::Refused(refused) = &error {
                pause = refused.retry_after.unwrap_or(pause);
            }
            let too_late = self.0.system.now().plus(pause).since(begun) > RETRY_WITHIN;
            if !error.is_transient() || attempt >= FETCH_ATTEMPTS || too_late {
                return Err(error);
            }
            tracing::debug!(fetch = %fetch.digest, %error, "trying the same fetch again");
            tokio::time::sleep(pause).await;
        }
    }

    pub(super) fn source_of(row: &GrantRow) -> crate::error::Party {
        crate::error::Party::Partner(row.terms().source.clone())
    }
}

fn unknown(grant: &GrantName) -> Error {
    Error::Misuse(Misuse::Unknown { name: grant.to_string() })
}

fn not_now(grant: &GrantName, problem: &'static str) -> Error {
    Error::Misuse(Misuse::NotNow { name: grant.to_string(), problem })
}

/// Whether nothing in the book ended the grant but the customer's own change, of which the broker's refusal is on record.
fn may_receive(row: &GrantRow) -> Result<(), Error> {
    let problem = if row.revoked().is_some() {
        "a side of the grant has revoked it"
    } else if row.stopped_here().is_some() {
        "this partner has stopped the grant itself"
    } else if row.held() {
        "the broker says that the customer stopped or paused it, and shows no signed change"
    } else {
        return Ok(());
    };
    Err(not_now(row.name(), problem))
}

/// Whether the broker says that the grant ended for a newer revision.
fn was_superseded(error: &Error) -> bool {
    let Error::Refused(refused) = error else { return false };
    let state = refused.metadata.get("state").map(String::as_str);
    refused.reason == "GRANT_ENDED" && state == Some(State::Superseded.as_str_name())
}
