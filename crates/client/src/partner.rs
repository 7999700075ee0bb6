//! A partner: what source and recipient have in common.

mod acknowledge;
mod erase;
mod event;
mod events;
mod invite;
mod keys;
mod offer;
mod papers;
mod request;
mod revision;
mod stop;
mod upkeep;

use std::{fmt, sync::Arc};

use countersign_grants::{
    envelope,
    id::{GrantName, PartnerName, Principal, SubjectHandle},
    key::{KeyId, PublicKey, SigningKey},
    statement::{Statement, WorkingKey},
};
use countersign_proto::statement::v1::Envelope;

pub(crate) use self::{
    erase::check_attestation,
    keys::WorkingKeys,
    papers::{Papers, unadmitted},
};
pub use self::{
    event::{Noted, PartnerEvent},
    events::EventWatch,
    invite::{InviteOptions, Invited},
    offer::OfferDraft,
    request::AskedRow,
};
use crate::{
    book::{Book, Entry, GrantRow},
    channel::Connection,
    checkpoint::{LogView, Monitor},
    error::{Error, Misuse},
    system::System,
    trust::BrokerTrust,
};

/// Who a partner is, and under which keys.
pub struct PartnerConfig {
    /// The broker.
    pub trust: BrokerTrust,
    /// The partner's name.
    pub name: PartnerName,
    /// The public half of the offline identity key.
    pub identity: PublicKey,
    /// The identity key's statement for the working key.
    pub certificate: Envelope,
    /// The working key, which signs calls and statements.
    pub key: SigningKey,
    /// Further keys of the partner that are no surprise in the log, such as another machine's. Every key under which this
    /// book was ever opened is known anyway.
    pub known_keys: Vec<KeyId>,
}

/// A partner at work. Cloning shares it.
#[derive(Clone)]
pub struct Partner(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) trust: BrokerTrust,
    pub(crate) name: PartnerName,
    pub(crate) identity: PublicKey,
    pub(crate) certificate: Envelope,
    pub(crate) key: SigningKey,
    pub(crate) system: System,
    pub(crate) book: Book,
    pub(crate) connection: Connection,
    pub(crate) monitor: Monitor,
    pub(crate) keys: WorkingKeys,
    /// One ceremony at a time: three tries are three tries, however many codes come at once.
    pub(crate) ceremony: tokio::sync::Mutex<()>,
    /// One change of a grant at a time: each builds on the one before it.
    pub(crate) changing: tokio::sync::Mutex<()>,
}

impl Partner {
    /// Opens a partner on its book, and starts its upkeep: the watch over the log's heads, the book's syncs, and claims of
    /// receipts that are missing. Nothing is sent yet. Must be called on a tokio runtime.
    pub fn open(config: PartnerConfig, book: Book, system: System) -> Result<Self, Error> {
        let principal = Principal::Partner(config.name.clone());
        let connection = Connection::open(&config.trust, principal, &config.key, Arc::clone(&system.clock))?;
        Self::open_on(config, book, system, connection)
    }

    /// The same, on a connection that was prepared for this partner.
    pub fn open_on(
        config: PartnerConfig,
        book: Book,
        system: System,
        connection: Connection,
    ) -> Result<Self, Error> {
        let log = Arc::new(connection.clone());
        Self::assemble(config, book, system, connection, log)
    }

    pub(crate) fn assemble(
        config: PartnerConfig,
        book: Book,
        system: System,
        connection: Connection,
        log: Arc<dyn LogView>,
    ) -> Result<Self, Error> {
        let PartnerConfig { trust, name, identity, certificate, key, known_keys } = config;
        let wrong = |problem: String| Error::Misuse(Misuse::Certificate { problem });
        let working = WorkingKey::certified(Some(&certificate), &identity, &name, &trust.origin)
            .map_err(|error| wrong(error.to_string()))?;
        if working.public() != key.public() {
            return Err(wrong(format!("is for key `{}`, and this is `{}`", working.public().id(), key.id())));
        }
        for own in known_keys.iter().chain([key.id()]) {
            if !book.knows_own_key(own) {
                book.note(Entry::OwnKey { key: own.as_str().to_owned() })?;
            }
        }
        let keeper = Arc::new(book.clone());
        let monitor = Monitor::open(trust.log_key.clone(), log, keeper, &system)?;
        monitor.spawn();
        let partner = Self(Arc::new(Shared {
            trust,
            name,
            identity,
            certificate,
            key,
            system,
            book,
            connection,
            monitor,
            keys: WorkingKeys::default(),
            ceremony: tokio::sync::Mutex::default(),
            changing: tokio::sync::Mutex::default(),
        }));
        upkeep::spawn(&partner.0);
        Ok(partner)
    }

    /// The partner's name.
    pub fn name(&self) -> &PartnerName {
        &self.0.name
    }

    /// The book.
    pub fn book(&self) -> &Book {
        &self.0.book
    }

    /// The connection to the broker, for calls that need no checks of this side.
    pub fn connection(&self) -> &Connection {
        &self.0.connection
    }

    /// The watch over the log.
    pub fn monitor(&self) -> &Monitor {
        &self.0.monitor
    }

    /// The grants of a subject that have not ended, by this side's book alone: data may flow under them, be it only once a
    /// pause, a suspension or a hold is over.
    pub fn standing_grants(&self, subject: &SubjectHandle) -> Vec<GrantRow> {
        self.0.book.standing_of(subject, self.0.system.now())
    }

    /// Stops a grant on this side, durably and without any broker; be it one that this side has not heard of, whenever it
    /// comes. The name of what is stopped comes back: the newest revision of the grant.
    pub async fn stop_locally(&self, grant: &GrantName) -> Result<GrantName, Error> {
        let (now, name) = (self.0.system.now(), grant.clone());
        let stopped = self.0.book.off_thread(move |book| book.stop_locally(&name, now)).await?;
        stopped.ok_or_else(|| {
            let problem = "is not in the book, and thousands of such names are stopped already";
            Error::Misuse(Misuse::NotNow { name: grant.to_string(), problem })
        })
    }
}

impl fmt::Debug for Partner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Partner({})", self.0.name)
    }
}

impl Shared {
    /// Signs a statement with the working key.
    pub(crate) fn sign<S: Statement>(&self, message: &S::Message) -> Envelope {
        envelope::sign::<S>(message, &[&self.key])
    }

    /// Signs a statement that an application filled, unless it is not of its form.
    pub(crate) fn sign_checked<S: Statement>(
        &self,
        what: &'static str,
        message: &S::Message,
    ) -> Result<envelope::Signed<S>, Error> {
        let signed = self.sign::<S>(message);
        envelope::verify::<S>(Some(&signed), &[self.key.public()], &self.trust.origin)
            .map_err(|error| Error::malformed(what, error))
    }

    /// Signs a statement that is known to be of its form except for what an application asked, without the cost of
    /// verifying one's own signature.
    pub(crate) fn sign_own<S: Statement>(
        &self,
        what: &'static str,
        message: &S::Message,
    ) -> Result<(Envelope, S), Error> {
        let signed = self.sign::<S>(message);
        let statement = envelope::peek::<S>(Some(&signed)).map_err(|error| Error::malformed(what, error))?;
        Ok((signed, statement))
    }
}

#[cfg(test)]
#[path = "partner/tests.rs"]
mod tests;
