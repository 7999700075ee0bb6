//! The state that all services share, and how it is opened.

use std::{collections::HashMap, num::NonZeroU32, sync::Arc, time::Duration};

use bytes::Bytes;
use countersign_grants::{
    budget::Defaults,
    digest::Digest,
    envelope::{self, Signed},
    id::{CustomerName, GrantName, OperatorName, Origin, PartnerName, Principal, SubjectHandle},
    key::{KeyId, PublicKey},
    lifecycle,
    statement::{GrantTerms, Statement, WorkingKey},
    time::{Clock, Entropy, Timestamp},
    token::{Issuer, MAX_CLOCK_AHEAD},
};
use countersign_ledger::{Ledger, VerifierKey, work::Part};
use countersign_proto::{
    row::v1::{GrantRow, PartnerRow},
    statement::v1::Envelope,
};
use countersign_store::Store;
use prost::Message;
use tonic::transport::{Channel, Endpoint};

use crate::{
    catalogues::Catalogues,
    error::Fault,
    heads::Heads,
    pace::{self, Pace},
    private::{DataKey, DataKeyId, Kek},
    record::CustomerKey,
    remembered::Remembered,
    rows::{self, Loaded, RowKey},
    service::transfer::StandingGrants,
    stored::{self, Side},
    suspicion::Suspicions,
    sweeper,
    work::Work,
};

pub use crate::catalogues::OpenError;

/// The most working keys whose certificates are remembered as verified: some hundred partners with some ten keys each.
const MAX_REMEMBERED_KEYS: usize = 1_024;

/// Verifying what partners signed.
static STATEMENTS: Part = Part::new("statements");

/// The most grants whose terms are remembered as they read: under 1 KiB each, so 16 MiB.
const MAX_REMEMBERED_TERMS: usize = 16 * 1024;

/// What a broker is made of.
pub struct BrokerParts {
    /// The log. Its store and its origin are the broker's.
    pub ledger: Ledger,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Draws randomness.
    pub entropy: Arc<dyn Entropy>,
    /// Signs the broker's calls to sources.
    pub issuer: Issuer,
    /// Wraps the customers' data keys.
    pub kek: Kek,
    /// The catalogue's document that counts for new offers.
    pub catalogue: Bytes,
    /// The documents that counted before: grants under them are judged by them.
    pub older_catalogues: Vec<Bytes>,
    /// Who runs the broker, by name and key.
    pub operators: Vec<(OperatorName, PublicKey)>,
    /// What can be tuned.
    pub settings: Settings,
}

/// What can be tuned.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Whether the API describes itself.
    pub reflection: bool,
    /// How often it is looked for what is due: requests that lapse, or that are put before their customers.
    pub sweep_interval: Duration,
    /// How often customers are asked who have set nothing, and how long a partner is silent that they refused.
    pub asking: Defaults,
    /// The most notices of one grant in a minute.
    pub notices: NonZeroU32,
    /// Opens the channel to a source: over TCP, unless sources are reached through a tunnel or a simulated network.
    pub dial: fn(&Endpoint) -> Channel,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            reflection: true,
            sweep_interval: Duration::from_secs(1),
            asking: Defaults::default(),
            notices: pace::NOTICES_A_MINUTE,
            dial: Endpoint::connect_lazy,
        }
    }
}

/// The state that all services share.
pub struct Broker {
    ledger: Ledger,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    origin: Origin,
    issuer: Issuer,
    kek: Kek,
    house_key: DataKey,
    catalogues: Catalogues,
    operators: HashMap<OperatorName, Vec<PublicKey>>,
    settings: Settings,
    heads: Heads,
    certified: Remembered<(PartnerName, KeyId), WorkingKey>,
    terms: Remembered<GrantName, GrantTerms>,
    suspicions: Suspicions,
    standing: StandingGrants,
    requests: Pace<SubjectHandle>,
    notices: Pace<GrantName>,
}

impl Broker {
    /// Opens the broker on its log: reads the catalogues, enters the current one in the log if it is new there, and
    /// starts the sweeper, which ends with the broker.
    pub async fn open(parts: BrokerParts) -> Result<Arc<Self>, OpenError> {
        let origin = Origin::parse(parts.ledger.verifier().name().as_str())?;
        let catalogues = Catalogues::parse(&parts.catalogue, &parts.older_catalogues)?;
        let mut operators = HashMap::<_, Vec<_>>::new();
        for (name, key) in parts.operators {
            operators.entry(name).or_default().push(key);
        }
        let heads = Heads::new(parts.ledger.verifier().clone());
        let broker = Arc::new(Self {
            ledger: parts.ledger,
            clock: parts.clock,
            entropy: parts.entropy,
            origin,
            issuer: parts.issuer,
            house_key: parts.kek.house_key(),
            kek: parts.kek,
            catalogues,
            operators,
            settings: parts.settings,
            heads,
            certified: Remembered::new(MAX_REMEMBERED_KEYS),
            terms: Remembered::new(MAX_REMEMBERED_TERMS),
            suspicions: Suspicions::default(),
            standing: StandingGrants::default(),
            requests: Pace::new(pace::REQUESTS_A_DAY, pace::DAY),
            notices: Pace::new(parts.settings.notices, pace::MINUTE),
        });
        broker.put_catalogue_to_use().await?;
        sweeper::start(&broker);
        Ok(broker)
    }

    /// The log's one writer.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The store, for reading.
    pub fn store(&self) -> &dyn Store {
        self.ledger.store().as_ref()
    }

    /// The moment it is.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The clock, for those who outlive a call.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// Where randomness comes from.
    pub fn entropy(&self) -> &dyn Entropy {
        self.entropy.as_ref()
    }

    /// The origin of the log, which names the broker.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The key that checkpoints are verified by.
    pub fn log_key(&self) -> &VerifierKey {
        self.ledger.verifier()
    }

    /// Signs the broker's calls to sources.
    pub fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// The catalogues, by version.
    pub fn catalogues(&self) -> &Catalogues {
        &self.catalogues
    }

    /// What was verified of grants for transfers.
    pub(crate) fn standing_grants(&self) -> &StandingGrants {
        &self.standing
    }

    /// How many requests are put to each subject.
    pub(crate) fn requests(&self) -> &Pace<SubjectHandle> {
        &self.requests
    }

    /// How many notices are given of each grant.
    pub(crate) fn notices(&self) -> &Pace<GrantName> {
        &self.notices
    }

    /// What can be tuned.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Which sources answered wrongly of late.
    pub(crate) fn suspicions(&self) -> &Suspicions {
        &self.suspicions
    }

    /// The key-encryption key.
    pub(crate) fn kek(&self) -> &Kek {
        &self.kek
    }

    /// The key of private parts without a customer.
    pub(crate) fn house_key(&self) -> &DataKey {
        &self.house_key
    }

    /// Reads a row.
    pub async fn load<R: Message + Default>(&self, key: RowKey<R>) -> Result<Option<Loaded<R>>, Fault> {
        key.load(self.store()).await
    }

    /// Reads the row of a partner that a stored row or a verified statement names.
    pub async fn partner(&self, name: &PartnerName) -> Result<Loaded<PartnerRow>, Fault> {
        let unknown = || Fault::ResourceUnknown { name: name.to_string() };
        self.load(rows::partner(name)).await?.ok_or_else(unknown)
    }

    /// The key that verifies this principal's tokens, and whether the principal may call with it *now*: both are read
    /// on every call, and nothing of them is cached. The second is for those alone who proved to hold the key.
    pub async fn call_key(&self, principal: &Principal, key_id: &KeyId) -> Result<CallKey, Fault> {
        let key = match principal {
            Principal::Partner(name) => return self.partner_call_key(name, key_id).await,
            Principal::Customer(name) => return self.customer_call_key(name, key_id).await,
            Principal::Auditor(name) => match self.load(rows::auditor(name)).await? {
                Some(auditor) => Some(stored_key(&auditor.row.public_key)?),
                None => None,
            },
            Principal::Operator(name) => {
                self.operators.get(name).and_then(|keys| keys.iter().find(|key| key.id() == key_id).cloned())
            }
            Principal::Broker(_) => None,
        };
        let key = key.filter(|key| key.id() == key_id).ok_or_else(stranger)?;
        Ok(CallKey { key, may_call: Ok(()), is_live: Ok(()) })
    }

    async fn customer_call_key(&self, name: &CustomerName, key_id: &KeyId) -> Result<CallKey, Fault> {
        // Who closed the account is a stranger, however much of it is still to go.
        let open = self.load(rows::customer(name)).await?.filter(|customer| customer.row.close_time_ms == 0);
        let customer = open.ok_or_else(stranger)?.row;
        let key = Some(stored_key(&customer.public_key)?).filter(|key| key.id() == key_id);
        let stolen = customer.stolen_time_ms != 0;
        let may_call = if stolen { Err(Fault::CustomerStolen) } else { Ok(()) };
        Ok(CallKey { key: key.ok_or_else(stranger)?, may_call, is_live: Ok(()) })
    }

    async fn partner_call_key(&self, name: &PartnerName, key_id: &KeyId) -> Result<CallKey, Fault> {
        let partner = self.load(rows::partner(name)).await?.ok_or_else(stranger)?;
        // The row says that the key is published now; what its statement says never changes.
        self.load(rows::partner_key(name, key_id)).await?.ok_or_else(stranger)?;
        let key = self.working_key(name, key_id).await?.ok_or_else(stranger)?;
        let key = key.certificate().statement();
        let now = self.now();
        let may_call = if lifecycle::Partner::from_row(&partner.row) == lifecycle::Partner::Suspended {
            Err(Fault::PartnerSuspended { partner: name.to_string() })
        } else if now < key.not_before || now > key.not_after {
            let problem = "the working key is outside its time: publish a new one".to_owned();
            Err(Fault::TokenInvalid { check: "key_time", problem })
        } else {
            Ok(())
        };
        let standing = lifecycle::Partner::from_row(&partner.row);
        let is_live = match standing {
            lifecycle::Partner::Active | lifecycle::Partner::Suspended => Ok(()),
            lifecycle::Partner::Applied | lifecycle::Partner::Vetted { .. } => {
                let state = standing.state().as_str_name().trim_start_matches("STATE_");
                Err(Fault::PartnerNotLive { partner: name.to_string(), state })
            }
        };
        Ok(CallKey { key: key.key.clone(), may_call, is_live })
    }

    /// A published working key of a partner, its certificate verified. Certificates never change once published, so
    /// the verification is remembered; whether the partner may act is not.
    pub async fn working_key(
        &self,
        partner: &PartnerName,
        key_id: &KeyId,
    ) -> Result<Option<Arc<WorkingKey>>, Fault> {
        let place = (partner.clone(), key_id.clone());
        if let Some(key) = self.certified.get(&place) {
            return Ok(Some(key));
        }
        let Some(row) = self.load(rows::partner_key(partner, key_id)).await? else { return Ok(None) };
        let identity = self.partner(partner).await?.row.identity_key;
        let identity = stored_key(&identity)?;
        let key = WorkingKey::certified(row.row.statement.as_ref(), &identity, partner, &self.origin)
            .map_err(|error| damaged("partner key", &error))?;
        Ok(Some(self.certified.insert(place, key)))
    }

    /// What the terms of a stored grant say. Reading them is a good part of a transfer, for the keys in them are points of
    /// a curve; and a grant's name is the hash of its terms, so what they say never changes.
    pub(crate) fn terms(&self, name: &GrantName, row: &GrantRow) -> Result<Arc<GrantTerms>, Fault> {
        if let Some(terms) = self.terms.get(name) {
            return Ok(terms);
        }
        let signatures = (&row.source_signature, &row.recipient_signature);
        let terms = stored::one_of_two::<GrantTerms>(&row.terms, signatures, Side::Source);
        let terms = envelope::peek(Some(&terms)).map_err(|error| damaged("grant", &error))?;
        Ok(self.terms.insert(name.clone(), terms))
    }

    /// Verifies what a partner signed with one of its published working keys, within that key's time, and not in the
    /// future, with a checkpoint that the log has signed; and the key's time must not be over. `what` names the statement
    /// in errors, `at` reads the time that it says.
    pub async fn signed_by_partner<S: Statement>(
        &self,
        partner: &PartnerName,
        what: &'static str,
        statement: Option<&Envelope>,
        at: impl Fn(&S) -> Timestamp + Send + Sync,
    ) -> Result<(Signed<S>, Arc<WorkingKey>), Fault> {
        let (signed, key) = self.once_signed_by_partner(partner, what, statement, at).await?;
        if self.now() > key.certificate().statement().not_after {
            return Err(Fault::says(what, "partner_key_time", "the working key is past its time"));
        }
        Ok((signed, key))
    }

    /// As [`signed_by_partner`](Self::signed_by_partner), for what may be shown long after it was signed: the key's time
    /// can be over by now.
    pub async fn once_signed_by_partner<S: Statement>(
        &self,
        partner: &PartnerName,
        what: &'static str,
        statement: Option<&Envelope>,
        at: impl Fn(&S) -> Timestamp + Send + Sync,
    ) -> Result<(Signed<S>, Arc<WorkingKey>), Fault> {
        let envelope = statement.ok_or_else(|| Fault::field("statement", "must be set"))?;
        let claimed: Vec<KeyId> = envelope::claimed_signers(envelope).collect();
        for key_id in claimed {
            let Some(key) = self.working_key(partner, &key_id).await? else { continue };
            let signed = STATEMENTS.run(|| key.verify::<S>(Some(envelope), &at));
            let signed = signed.map_err(|error| Fault::key(what, &error))?;
            let (says, now) = (at(signed.statement()), self.now());
            if says > now.plus(MAX_CLOCK_AHEAD) {
                return Err(Fault::says(
                    what,
                    "time",
                    format!("it says {says}, and it is {now}: set the clock"),
                ));
            }
            if let Some(checkpoint) = signed.statement().checkpoint() {
                let checked = STATEMENTS.run(|| self.heads.check(&checkpoint.0));
                checked.map_err(|problem| Fault::says(what, "checkpoint", problem))?;
            }
            return Ok((signed, key));
        }
        Err(Fault::says(what, "key", "it is not signed by a published working key of its partner"))
    }

    /// The key under which a partner's statement that was taken verifies. The first that it names needn't be it: that one may
    /// have been published later, with a signature in its name that it never made.
    pub(crate) async fn key_that_signed<S: Statement>(
        &self,
        partner: &PartnerName,
        statement: &Envelope,
        at: impl Fn(&S) -> Timestamp + Send + Sync,
    ) -> Result<Arc<WorkingKey>, Fault> {
        let claimed: Vec<KeyId> = envelope::claimed_signers(statement).collect();
        for key_id in claimed {
            let Some(key) = self.working_key(partner, &key_id).await? else { continue };
            if key.verify::<S>(Some(statement), &at).is_ok() {
                return Ok(key);
            }
        }
        Err(damaged("private part", &"no key of its partner signed a statement"))
    }

    /// The key of a customer's private parts. Where the account was closed, whatever led here is as unknown as it will be
    /// once its own row is gone too.
    pub async fn customer_key(&self, name: &CustomerName) -> Result<CustomerKey, Fault> {
        let row = self.load(rows::customer(name)).await?;
        let row = row.filter(|read| read.row.close_time_ms == 0).ok_or(Fault::GrantUnknown)?;
        let wrapped = &row.row.wrapped_data_key;
        let key = self.kek.unwrap(wrapped).map_err(|error| damaged("customer", &error))?;
        let stolen = row.row.stolen_time_ms != 0;
        Ok(CustomerKey { name: name.clone(), id: DataKeyId::of(wrapped), key, stolen })
    }

    /// Has a unit that makes rows or records of a customer fail if the account is closed meanwhile: else rows would outlast
    /// the erasure, and a record would stand behind the one that says so, sealed under the key that it says is destroyed. A
    /// row of the customer's that the unit expects is not enough: the erasure removes these in later commits. A unit needs
    /// no more that expects the customer's own row, or a grant that stands: that one is in the way of a closing.
    pub async fn expect_open(&self, work: &mut Work, customer: &CustomerKey) -> Result<(), Fault> {
        // It is written once, and removed when the account is closed.
        let key = self.load(rows::data_key(customer.id)).await?;
        work.expect(&key.ok_or(Fault::GrantUnknown)?);
        Ok(())
    }

    /// Forgets what is remembered of a grant, when its customer is erased.
    pub(crate) fn forget(&self, grant: &GrantName) {
        self.terms.forget(grant);
        self.standing.forget(grant);
    }

    /// The digest of a request as it came, by which a repeat is told from another under the same id.
    pub fn digest_of<M: Message>(request: &M) -> Digest {
        Digest::of(&request.encode_to_vec())
    }
}

/// A key that verifies a principal's tokens.
pub struct CallKey {
    /// The key.
    pub key: PublicKey,
    /// Whether its holder may call at this moment.
    pub may_call: Result<(), Fault>,
    /// Whether it is live, as all are but partners that two operators have not let in yet. Those call what
    /// [newcomers](crate::stack) may.
    pub is_live: Result<(), Fault>,
}

/// One answer for an unknown principal, an unknown key, and a signature that another key made: whoever holds no key
/// learns nothing of who is known here.
pub(crate) fn stranger() -> Fault {
    Fault::TokenInvalid {
        check: "principal",
        problem: "the token's principal and key are not known here, or the signature is not theirs"
            .to_owned(),
    }
}

pub(crate) fn stored_key(bytes: &[u8]) -> Result<PublicKey, Fault> {
    PublicKey::from_slice(bytes).map_err(|error| damaged("key", &error))
}

/// What we stored and can't read: never the caller's fault.
pub(crate) fn damaged(what: &str, error: &dyn std::fmt::Display) -> Fault {
    Fault::Damaged { what: format!("a stored {what}: {error}") }
}
