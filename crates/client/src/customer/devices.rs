//! The customer's devices: adding and removing an authenticator, and the wallet on a new device.
//!
//! The broker keeps a copy of the root secret for each authenticator, and can open none. Which authenticators there are is a
//! chain that the customer signs: each device knows the newest change that it has seen, so a broker that adds a copy of its
//! own, or shows the chain without its end, is found out.

use countersign_grants::{
    digest::Digest,
    envelope::{self, Signed},
    id::{CustomerName, Origin, Principal},
    key::{PublicKey, SigningKey},
    lifecycle::Identity,
    statement::{CustomerChange, CustomerVerb, SECRET_BYTES, label_commitment},
};
use countersign_proto::{
    log::v1::Kind,
    statement::v1::{self as wire, Envelope},
    v1::{ChangeCustomerRequest, GetWrappedCopyRequest, ListCustomerChangesRequest},
};
use prost::Message as _;

use super::{AuthenticatorSecret, Customer, MAX_CLOCK_SKEW, PAGE_SIZE, Wallet, all_pages, entry::Entry};
use crate::{
    channel::{Connection, call},
    error::{Error, Misuse, Party},
    receipt::ProvenLeaf,
    system::System,
    trust::BrokerTrust,
};

/// The longest label of an authenticator.
const MAX_LABEL_CHARS: usize = 120;

/// An authenticator that opens the root secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// By what the broker and other devices know it.
    pub authenticator: Digest,
    /// What the person calls it; known where it was added.
    pub label: Option<String>,
}

/// The wallet of a customer who has nothing but an authenticator: its copy is fetched, opened, and held against the chain
/// that the customer signed.
pub async fn fetch_wallet(
    trust: &BrokerTrust,
    secret: &AuthenticatorSecret,
    system: &System,
) -> Result<Wallet, Error> {
    let wrong = |check, detail: String| Error::misbehaved(Party::Broker, "wrapped_copy", check, detail);
    // The call needs no token. The channel signs one, with a key that is made for this call and thrown away.
    let key = SigningKey::from_secret(&system.draw());
    let nobody = Principal::Customer(CustomerName::of(key.id()));
    let connection = Connection::open(trust, nobody, &key, std::sync::Arc::clone(&system.clock))?;
    let asked = GetWrappedCopyRequest { lookup: secret.lookup().to_vec().into() };
    let copy = connection.customers().get_wrapped_copy(call(asked)).await?.into_inner();
    let root =
        secret.unwrap(&trust.origin, &copy.wrapped).map_err(|error| wrong("opens", error.to_string()))?;
    let wallet = Wallet::from_secret(&root);
    if copy.customer != wallet.customer().as_str() {
        return Err(wrong("customer", format!("is said to be of `{}`, and is not", copy.customer)));
    }
    let principal = Principal::Customer(wallet.customer().clone());
    let connection =
        Connection::open(trust, principal, wallet.call_key(), std::sync::Arc::clone(&system.clock))?;
    let known = chain(&connection, wallet.customer(), wallet.call_key().public(), &trust.origin).await?;
    match known.authenticator(secret.id()) {
        Some(one) if one.wrapped == Digest::of(&copy.wrapped) => Ok(wallet),
        _ => Err(wrong("authenticator", "is in no change that the customer signed".to_owned())),
    }
}

impl Customer {
    /// The authenticators, from the chain that the customer signed, held against what this device has seen of it.
    pub async fn devices(&self) -> Result<Vec<Device>, Error> {
        self.0.monitor.check()?;
        let identity = self.identity().await?;
        let device = |id: Digest| Device { authenticator: id, label: self.0.book.authenticator_label(id) };
        Ok(identity.authenticators().map(|one| device(one.id)).collect())
    }

    /// Adds an authenticator, whose copy of the root secret the broker keeps. Called again after no answer came, it sends
    /// the same bytes again.
    pub async fn add_authenticator(
        &self,
        secret: &AuthenticatorSecret,
        label: &str,
    ) -> Result<ProvenLeaf, Error> {
        let length = label.chars().count();
        if label.trim().is_empty() || length > MAX_LABEL_CHARS || label.chars().any(char::is_control) {
            let problem = format!("has 1 to {MAX_LABEL_CHARS} characters, none of them a control character");
            return Err(Error::malformed("label", problem));
        }
        let salt = self.0.system.draw::<SECRET_BYTES>();
        let wrapped = secret.wrap(self.origin(), self.0.system.draw(), self.0.wallet.root());
        let entry = Entry::AuthenticatorLabel {
            authenticator: *secret.id().as_bytes(),
            salt,
            label: label.to_owned(),
        };
        self.0.book.enter(entry).await?;
        let said = wire::CustomerChange {
            verb: CustomerVerb::AddAuthenticator.into(),
            authenticator: secret.id().as_bytes().to_vec().into(),
            wrapped: Digest::of(&wrapped).as_bytes().to_vec().into(),
            label_commitment: label_commitment(&salt, label).as_bytes().to_vec().into(),
            ..wire::CustomerChange::default()
        };
        self.change_identity(said, wrapped).await
    }

    /// Removes an authenticator, but not the last: its copy is gone from the broker. Whoever opened a copy before has the
    /// root secret all the same; see [`Customer::report_stolen`].
    pub async fn remove_authenticator(&self, authenticator: Digest) -> Result<ProvenLeaf, Error> {
        let said = wire::CustomerChange {
            verb: CustomerVerb::RemoveAuthenticator.into(),
            authenticator: authenticator.as_bytes().to_vec().into(),
            ..wire::CustomerChange::default()
        };
        self.change_identity(said, Vec::new()).await
    }

    /// Signs the next change, notes it, sends it, and verifies the proof of its record.
    pub(super) async fn change_identity(
        &self,
        said: wire::CustomerChange,
        wrapped: Vec<u8>,
    ) -> Result<ProvenLeaf, Error> {
        // A report of theft goes out even when this side has halted: to refuse is always safe. But see `send_identity`.
        if said.verb() != CustomerVerb::ReportStolen {
            self.0.monitor.check()?;
        }
        let _signing = self.0.signing.lock().await;
        let mut identity = self.identity().await?;
        // What was signed before and never answered comes first: its number is taken.
        if let Some((change, wrapped)) = self.0.book.pending_identity() {
            let same = |before: &wire::CustomerChange| {
                (before.verb, &before.authenticator) == (said.verb, &said.authenticator)
            };
            let before = wire::CustomerChange::decode(change.payload.clone()).unwrap_or_default();
            let sent = self.send_identity(&change, wrapped).await;
            match sent {
                Ok(proof) if same(&before) => return Ok(proof),
                Ok(_) => {}
                // Another device had its number.
                Err(error) if error.is_no() => {}
                Err(error) => return Err(error),
            }
            identity = self.identity().await?;
        }
        let message = wire::CustomerChange {
            broker: self.origin().to_string(),
            customer: self.name().to_string(),
            sequence: identity.sequence() + 1,
            previous: identity.last().map(|last| last.as_bytes().to_vec().into()).unwrap_or_default(),
            time_ms: self.now().as_millis(),
            ..said
        };
        let change = envelope::sign::<CustomerChange>(&message, &[self.0.wallet.call_key()]);
        let signed = self.own_change(&change)?;
        identity.follow(&signed).map_err(|error| Error::malformed("authenticator", error))?;
        let entry = Entry::IdentityPending { change: change.encode_to_vec(), wrapped: wrapped.clone() };
        self.0.book.enter(entry).await?;
        self.send_identity(&change, wrapped).await
    }

    async fn send_identity(&self, change: &Envelope, wrapped: Vec<u8>) -> Result<ProvenLeaf, Error> {
        let signed = self.own_change(change)?;
        let asked = ChangeCustomerRequest {
            name: self.name().to_string(),
            statement: Some(change.clone()),
            wrapped: wrapped.into(),
        };
        let answer = self.0.connection.customers().change_customer(call(asked)).await?.into_inner();
        // A log with two faces proves nothing: what was sent is not called recorded.
        self.0.monitor.check()?;
        let leaf = ProvenLeaf::prove(answer.receipt.as_ref(), &self.0.monitor)?;
        let said = signed.statement();
        let wrong = |check, detail: String| Error::misbehaved(Party::Broker, "receipt", check, detail);
        let record = leaf.record();
        if record.kind() != kind(said.what.verb()) {
            return Err(wrong("kind", format!("the record says {}", record.kind().as_str_name())));
        }
        leaf.opens(Some(self.name()), None, Some(&[signed.digest()]))?;
        let time = countersign_grants::time::Timestamp::from_millis(record.time_ms);
        let (earliest, latest) = (said.time.minus(MAX_CLOCK_SKEW), self.now().plus(MAX_CLOCK_SKEW));
        if !(earliest..=latest).contains(&time) {
            return Err(wrong("time", format!("the record says {time}")));
        }
        let entry = Entry::Identity { sequence: said.sequence, last: *signed.digest().as_bytes() };
        self.0.book.enter(entry).await?;
        if said.what.verb() == CustomerVerb::ReportStolen {
            // The broker answers this customer no more: what is not known of it now never will be.
            self.0.book.enter(Entry::Stolen { index: leaf.index() }).await?;
        }
        Ok(leaf)
    }

    /// What the changes add up to. Fewer than this device has seen, or others, are the broker's misbehaviour.
    async fn identity(&self) -> Result<Identity, Error> {
        self.identity_and_changes().await.map(|(identity, _)| identity)
    }

    /// The same, with the changes.
    pub(super) async fn identity_and_changes(&self) -> Result<(Identity, Vec<Envelope>), Error> {
        let wrong = |check, detail: String| Error::misbehaved(Party::Broker, "authenticators", check, detail);
        let (key, known) = (self.0.wallet.call_key().public(), self.0.book.identity());
        let mut seen_before = known.is_none();
        let mut identity = Identity::default();
        let changes = changes(&self.0.connection, self.name()).await?;
        for change in &changes {
            identity = follow(identity, change, key, self.name(), self.origin())?;
            if known.is_some_and(|(sequence, last)| {
                sequence == identity.sequence() && Some(last) == identity.last()
            }) {
                seen_before = true;
            }
        }
        if !seen_before {
            let sequence = known.map_or(0, |(sequence, _)| sequence);
            let shown = identity.sequence();
            return Err(if shown < sequence {
                wrong("sequence", format!("{shown} changes are shown, and the book has {sequence}"))
            } else {
                wrong("previous", format!("change {sequence} is another than the one in the book"))
            });
        }
        if let Some(last) = identity.last()
            && known.is_none_or(|(sequence, _)| sequence < identity.sequence())
        {
            let entry = Entry::Identity { sequence: identity.sequence(), last: *last.as_bytes() };
            self.0.book.enter(entry).await?;
        }
        Ok((identity, changes))
    }

    fn own_change(&self, change: &Envelope) -> Result<Signed<CustomerChange>, Error> {
        let key = self.0.wallet.call_key().public();
        envelope::verify::<CustomerChange>(Some(change), &[key], self.origin())
            .map_err(|error| Error::Misuse(Misuse::Malformed { what: "change", problem: error.to_string() }))
    }
}

/// The chain of a customer's changes, from the broker.
async fn chain(
    connection: &Connection,
    name: &CustomerName,
    key: &PublicKey,
    origin: &Origin,
) -> Result<Identity, Error> {
    let changes = changes(connection, name).await?;
    changes
        .iter()
        .try_fold(Identity::default(), |identity, change| follow(identity, change, key, name, origin))
}

async fn changes(connection: &Connection, name: &CustomerName) -> Result<Vec<Envelope>, Error> {
    all_pages(|page_token| async {
        let asked = ListCustomerChangesRequest { parent: name.to_string(), page_size: PAGE_SIZE, page_token };
        let page = connection.customers().list_customer_changes(call(asked)).await?.into_inner();
        Ok((page.changes, page.next_page_token))
    })
    .await
}

fn follow(
    identity: Identity,
    change: &Envelope,
    key: &PublicKey,
    name: &CustomerName,
    origin: &Origin,
) -> Result<Identity, Error> {
    let signed = envelope::verify::<CustomerChange>(Some(change), &[key], origin)
        .map_err(|error| Error::bad_statement(Party::Broker, "authenticators", &error))?;
    let wrong = |check, detail: String| Error::misbehaved(Party::Broker, "authenticators", check, detail);
    if signed.statement().customer != *name {
        return Err(wrong("customer", "a change is of another customer".to_owned()));
    }
    identity.follow(&signed).map_err(|error| wrong(error.check(), error.to_string()))
}

fn kind(verb: CustomerVerb) -> Kind {
    match verb {
        CustomerVerb::AddAuthenticator => Kind::AuthenticatorAdded,
        CustomerVerb::RemoveAuthenticator => Kind::AuthenticatorRemoved,
        CustomerVerb::ReportStolen => Kind::CustomerStolen,
        CustomerVerb::Unspecified => Kind::Unspecified,
    }
}
