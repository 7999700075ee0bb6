//! Pausing, resuming, stopping: recorded by the log's proof, and stopped by the source's own word.

use std::time::Duration;

use countersign_grants::{
    digest::Digest,
    envelope,
    id::{GrantName, PartnerName},
    statement::{GrantChange, Verb},
    time::Timestamp,
};
use countersign_proto::{
    log::v1::Kind,
    statement::v1 as wire,
    v1::{ChangeGrantRequest, GetGrantRequest, Receipt},
};
use prost::Message as _;

use super::{Customer, GrantRow, MAX_CLOCK_SKEW, Standing, entry::Entry};
use crate::{
    channel::call,
    error::{Error, Misuse, Party},
    receipt::{ProvenLeaf, Saying},
};

/// The first pause between two looks for the acknowledgement; each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

/// How often one change is signed where another device keeps taking its number, or the recipient its uses.
pub(super) const MAX_SIGNINGS: u32 = 3;

/// The longest pause: a person is waiting.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A change that is recorded: its proof has verified. Whether the source follows it is another matter.
pub struct Recorded {
    customer: Customer,
    grant: GrantName,
    source: PartnerName,
    change: Digest,
    verb: Verb,
    receipt: ProvenLeaf,
}

/// What the source said of a change.
#[derive(Debug)]
pub enum Acknowledged {
    /// The source signed that the change stands in its book. From here it serves nothing under a stopped grant.
    BySource {
        /// Who.
        source: PartnerName,
        /// When, by its own word.
        time: Timestamp,
        /// The later change of the same grant that its word is on, if it is on none earlier: each builds on the one before, so
        /// this one stands in its book as well. Where the grant stands says the later one.
        later: Option<LaterChange>,
    },
    /// No word came in time. The log refuses all further transfers; to be sure of the source itself, stop the grant in its
    /// own app, which needs no broker.
    NotConfirmed {
        /// Who owes it.
        source: PartnerName,
        /// What came in its place, if it was not silence: a word that does not verify, or a no.
        blame: Option<Error>,
    },
}

/// A change that the customer signed after another one of the same grant, here or on another device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LaterChange {
    /// Its number.
    pub sequence: u64,
    /// What it is.
    pub verb: Verb,
}

impl Recorded {
    /// The grant.
    pub fn grant(&self) -> &GrantName {
        &self.grant
    }

    /// What was changed.
    pub fn verb(&self) -> Verb {
        self.verb
    }

    /// The proof of the change's record.
    pub fn receipt(&self) -> &ProvenLeaf {
        &self.receipt
    }

    /// Whose word is awaited.
    pub fn source(&self) -> &PartnerName {
        &self.source
    }

    /// Waits until the source's acknowledgement of this change, or of one that builds on it, verifies, or the time is over.
    /// An answer that does not hold is no word: it is told beside that none came. What halts this side ends the wait.
    pub async fn wait_until_acknowledged(&self, within: Duration) -> Result<Acknowledged, Error> {
        let mut blame = None;
        let looking = async {
            let mut pause = FIRST_PAUSE;
            loop {
                match self.customer.acknowledged_since(&self.grant, self.change).await {
                    Ok((Some(word), _)) => return Ok(word),
                    Ok((None, fault)) => blame = fault,
                    Err(error) if error.is_transient() => {}
                    Err(error) if error.halts() => return Err(error),
                    Err(error) => blame = Some(error),
                }
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        };
        let source = self.source.clone();
        match tokio::time::timeout(within, looking).await {
            Ok(word) => {
                let (time, later) = word?;
                Ok(Acknowledged::BySource { source, time, later })
            }
            Err(_) => Ok(Acknowledged::NotConfirmed { source, blame }),
        }
    }
}

impl Customer {
    /// Pauses a grant: nothing flows until it is resumed. Pausing never extends it.
    pub async fn pause(&self, grant: &GrantName) -> Result<Recorded, Error> {
        self.change(grant, Verb::Pause, false).await
    }

    /// Ends a pause.
    pub async fn resume(&self, grant: &GrantName) -> Result<Recorded, Error> {
        self.change(grant, Verb::Resume, false).await
    }

    /// Stops a grant for good; with `erase`, the recipient must delete what it received. That can be ordered once the grant
    /// has ended too, however it did.
    pub async fn stop(&self, grant: &GrantName, erase: bool) -> Result<Recorded, Error> {
        self.change(grant, Verb::Stop, erase).await
    }

    /// Asks once whether the source has acknowledged the newest change of a grant, and verifies its word.
    pub async fn acknowledgement(&self, grant: &GrantName) -> Result<Option<Timestamp>, Error> {
        self.0.monitor.check()?;
        let row = self.row(grant)?;
        if row.acknowledged.is_some() {
            return Ok(row.acknowledged);
        }
        match self.acknowledged_since(grant, row.last).await? {
            (Some((time, _)), _) => Ok(Some(time)),
            (None, Some(fault)) => Err(fault),
            (None, None) => Ok(None),
        }
    }

    /// The source's word on this change, or on the first one after it of which there is a word; and what does not hold of
    /// the rest.
    async fn acknowledged_since(
        &self,
        grant: &GrantName,
        change: Digest,
    ) -> Result<(Option<(Timestamp, Option<LaterChange>)>, Option<Error>), Error> {
        self.0.monitor.check()?;
        let row = self.row(grant)?;
        if let Some(time) = row.acknowledged.filter(|_| row.last == change) {
            return Ok((Some((time, None)), None));
        }
        let asked = GetGrantRequest { name: grant.to_string() };
        let shown = self.0.connection.grants().get_grant(call(asked)).await?.into_inner();
        // Another device may have changed it since. What the broker twists of that makes the source's word no worse.
        let (row, twisted) = match self.reconcile(&shown, |_| Some(row.sequence)).await {
            Ok(now) if now.name == *grant => (now, None),
            Ok(other) => {
                let detail = format!("asked for `{grant}`, got `{}`", other.name);
                (row, Some(Error::misbehaved(Party::Broker, "grant", "name", detail)))
            }
            Err(error) if error.halts() => return Err(error),
            Err(error) => (row, Some(error)),
        };
        let since = row.since(change);
        let changes: Vec<Digest> = since.iter().map(|(_, digest, _)| *digest).collect();
        let heard = self.heard(&row, &shown, &row.terms.source, &changes)?;
        let Some((word, time)) = heard.word else {
            let fault = heard.fault.map(|fault| Error::Misbehaved(Box::new(fault)));
            return Ok((None, fault.or(twisted)));
        };
        if word == row.last {
            let (grant, change) = (*grant.digest().as_bytes(), *word.as_bytes());
            self.0.book.enter(Entry::Acknowledged { grant, change, time_ms: time.as_millis() }).await?;
        }
        let later = since.iter().skip(1).find(|(_, digest, _)| *digest == word);
        let later = later.map(|(sequence, _, verb)| LaterChange { sequence: *sequence, verb: *verb });
        Ok((Some((time, later)), None))
    }

    async fn change(&self, grant: &GrantName, verb: Verb, erase: bool) -> Result<Recorded, Error> {
        // A pause and a stop go out even when this side has halted: to refuse is always safe. But see `send`.
        if verb == Verb::Resume {
            self.0.monitor.check()?;
        }
        let _signing = self.0.signing.lock().await;
        let same = |said: &GrantChange| said.verb == verb && said.erase == erase;
        if let Some(recorded) = self.settle_pending(grant, &same).await? {
            return Ok(recorded);
        }
        let mut tries = MAX_SIGNINGS;
        loop {
            // What ended for a newer revision is left alone; the newer one is meant.
            let mut row = self.newest(grant)?;
            if row.name != *grant {
                if let Some(recorded) = self.settle_pending(&row.name, &same).await? {
                    return Ok(recorded);
                }
                // What was pending may count by now.
                row = self.newest(grant)?;
            }
            check_standing(&row, verb, erase)?;
            let (said, source, recipient) = self.sign_change(&row, (verb, erase), None)?;
            self.0.book.enter(changing(&row, &source, &recipient)).await?;
            tries -= 1;
            match self.send(&row, &said, &source, &recipient).await {
                // The number went to a change that the same wallet signed elsewhere: the next one is free.
                Err(Error::Refused(_)) if tries > 0 && self.row(&row.name)?.sequence > row.sequence => {}
                done => return done,
            }
        }
    }

    /// Settles what became of a change that was signed before: without an answer its number is taken, and the same bytes
    /// again settle it. One that the broker refused is sent again only if it is what is asked for; else its number is free
    /// once the broker has said again that it has no such change.
    pub(super) async fn settle_pending(
        &self,
        grant: &GrantName,
        wanted: &(dyn Fn(&GrantChange) -> bool + Sync),
    ) -> Result<Option<Recorded>, Error> {
        let row = self.row(grant)?;
        let Some((source, recipient)) = &row.pending else { return Ok(None) };
        let said =
            envelope::peek::<GrantChange>(Some(source)).map_err(|error| Error::malformed("book", error))?;
        let same = wanted(&said);
        if row.pending_refused && !same {
            self.look_up(grant).await?;
            return Ok(None);
        }
        match self.send(&row, &said, source, recipient).await {
            Ok(recorded) => Ok(same.then_some(recorded)),
            Err(error) if error.is_no() => {
                // Another change has its number, or it is another that is wanted now.
                if !same || self.row(grant)?.sequence > row.sequence { Ok(None) } else { Err(error) }
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn sign_change(
        &self,
        row: &GrantRow,
        (verb, erase): (Verb, bool),
        successor: Option<Digest>,
    ) -> Result<(GrantChange, wire::Envelope, wire::Envelope), Error> {
        let message = wire::GrantChange {
            broker: self.origin().to_string(),
            terms: row.name.digest().as_bytes().to_vec().into(),
            sequence: row.sequence + 1,
            verb: verb.into(),
            erase,
            previous: row.last.as_bytes().to_vec().into(),
            time_ms: self.now().as_millis(),
            successor: successor.map(Into::into).unwrap_or_default(),
        };
        let sign = |link: Digest| envelope::sign::<GrantChange>(&message, &[&self.0.wallet.link_key(link)]);
        let (source, recipient) = (sign(row.source_link), sign(row.recipient_link));
        let said = envelope::peek::<GrantChange>(Some(&source))
            .map_err(|error| Error::malformed("change", error))?;
        Ok((said, source, recipient))
    }

    /// What was signed and sent stays in the book whatever the broker says. If it shows the change that it refused, the
    /// change counts.
    pub(super) async fn doubt_refused_change(
        &self,
        row: &GrantRow,
        change: Digest,
        refusal: Error,
    ) -> Result<Error, Error> {
        self.look_up(&row.name).await?;
        let now = self.row(&row.name)?;
        if now.has(change) {
            let detail = format!("says no ({refusal}), and shows that the change stands");
            return Err(Error::misbehaved(Party::Broker, "change", "refusal", detail));
        }
        if now.pending.is_some() && !now.pending_refused {
            self.0.book.enter(Entry::ChangeDropped { grant: *row.name.digest().as_bytes() }).await?;
        }
        Ok(refusal)
    }

    /// Sends a change that stands in the book, and verifies the proof of its record.
    pub(super) async fn send(
        &self,
        row: &GrantRow,
        said: &GrantChange,
        source: &wire::Envelope,
        recipient: &wire::Envelope,
    ) -> Result<Recorded, Error> {
        if let Some(successor) = said.successor {
            // Boxed, since every change holds this future in its own.
            return Box::pin(self.send_narrowing(row, (said, successor), source, recipient)).await;
        }
        let asked = ChangeGrantRequest {
            name: row.name.to_string(),
            source_change: Some(source.clone()),
            recipient_change: Some(recipient.clone()),
        };
        let answer = match self.0.connection.grants().change_grant(call(asked)).await.map_err(Error::from) {
            Ok(answer) => answer.into_inner(),
            Err(error) if error.is_no() => {
                return Err(self.doubt_refused_change(row, envelope::digest(source), error).await?);
            }
            Err(error) => return Err(error),
        };
        self.recorded(row, said, source, answer.receipt.as_ref()).await
    }

    /// Verifies the proof of a change's record, and enters the change.
    pub(super) async fn recorded(
        &self,
        row: &GrantRow,
        said: &GrantChange,
        source: &wire::Envelope,
        receipt: Option<&Receipt>,
    ) -> Result<Recorded, Error> {
        // A log with two faces proves nothing: what was sent is not called recorded.
        self.0.monitor.check()?;
        let receipt = ProvenLeaf::prove(receipt, &self.0.monitor)?;
        let (terms, change) = (&row.terms, envelope::digest(source));
        receipt.says(&Saying {
            subject: Some(self.name()),
            evidence: Some(&[change]),
            ..Saying::of(
                terms,
                kinds(said.verb, said.erase),
                (said.time.minus(MAX_CLOCK_SKEW), self.now().plus(MAX_CLOCK_SKEW)),
            )
        })?;
        let grant = *row.name.digest().as_bytes();
        let changed = Entry::Changed { grant, change: source.encode_to_vec(), index: Some(receipt.index()) };
        self.0.book.enter(changed).await?;
        Ok(Recorded {
            customer: self.clone(),
            grant: row.name.clone(),
            source: terms.source.clone(),
            change,
            verb: said.verb,
            receipt,
        })
    }

    pub(super) fn row(&self, grant: &GrantName) -> Result<GrantRow, Error> {
        self.0.book.grant(grant).ok_or_else(|| Error::Misuse(Misuse::Unknown { name: grant.to_string() }))
    }

    /// The newest revision of a grant.
    pub(super) fn newest(&self, grant: &GrantName) -> Result<GrantRow, Error> {
        self.0
            .book
            .newest_revision(grant)
            .ok_or_else(|| Error::Misuse(Misuse::Unknown { name: grant.to_string() }))
    }
}

impl std::fmt::Debug for Recorded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recorded")
            .field("grant", &self.grant)
            .field("change", &self.change)
            .finish_non_exhaustive()
    }
}

/// What stands in the book before a change leaves.
pub(super) fn changing(row: &GrantRow, source: &wire::Envelope, recipient: &wire::Envelope) -> Entry {
    Entry::Changing {
        grant: *row.name.digest().as_bytes(),
        source_change: source.encode_to_vec(),
        recipient_change: recipient.encode_to_vec(),
    }
}

pub(super) fn check_standing(row: &GrantRow, verb: Verb, erase: bool) -> Result<(), Error> {
    let problem = match (row.standing, verb) {
        // What was stopped without it can still be ordered to be deleted.
        (Standing::Stopped { erase: false }, Verb::Stop) if erase => return Ok(()),
        (Standing::Stopped { .. }, _) => "is stopped for good",
        (Standing::Superseded { .. }, _) => "has ended for a newer revision, which this book has not seen",
        (Standing::Paused, Verb::Pause) => "is paused already",
        (Standing::Paused, Verb::Narrow) => "is paused: only what is active is narrowed",
        (Standing::Active, Verb::Resume) => "is not paused",
        _ => return Ok(()),
    };
    Err(Error::Misuse(Misuse::NotNow { name: row.name.to_string(), problem }))
}

/// What a change's record says. One that orders to delete under a grant that has ended says that alone.
fn kinds(verb: Verb, erase: bool) -> &'static [Kind] {
    match verb {
        Verb::Pause => &[Kind::GrantPaused],
        Verb::Resume => &[Kind::GrantResumed],
        Verb::Stop if erase => &[Kind::GrantWithdrawn, Kind::ErasureOrdered],
        Verb::Stop => &[Kind::GrantWithdrawn],
        Verb::Narrow => &[Kind::GrantSuperseded],
        Verb::Unspecified => &[],
    }
}
