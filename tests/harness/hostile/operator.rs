//! The operator who lies, and everything that it holds.

use std::{ops::Deref, sync::Arc};

use countersign_broker::{
    record::{Happening, bare},
    work::Work,
};
use countersign_client::customer::{Customer, Wallet};
use countersign_grants::{
    digest::Digest,
    envelope,
    id::{GrantName, PartnerName},
    key::SigningKey,
    statement::Statement,
};
use countersign_ledger::{Draft, Ledger, Outcome, Unit};
use countersign_proto::{
    log::v1::{Kind, Record},
    statement::v1::Envelope,
    v1::Receipt,
};
use countersign_store::memory::MemoryStore;

use super::Proxy;
use crate::world::{Granted, World, certify_as};

/// A world with one grant, and a proxy on either side of its broker.
pub(super) struct Operator {
    granted: Granted,
    /// Between the broker and everybody who calls it.
    pub(super) front: Proxy,
    /// Between the broker and Skylark's server.
    pub(super) behind: Proxy,
    /// The database.
    pub(super) store: Arc<MemoryStore>,
    address: String,
}

impl Deref for Operator {
    type Target = Granted;

    fn deref(&self) -> &Granted {
        &self.granted
    }
}

impl Operator {
    pub(super) async fn start() -> Arc<Self> {
        let store = Arc::new(MemoryStore::new());
        let mut world = World::on(Arc::clone(&store) as Arc<_>).await;
        let address = std::mem::take(&mut world.trust.address);
        let front = Proxy::before(&address).await;
        world.trust.address = front.address();
        let granted = Box::pin(world.with_grant()).await;
        let source = granted.world.broker.partner(granted.skylark.name()).await.expect("reads").row;
        let behind = Proxy::before(&source.source_endpoint).await;
        granted.endpoint(behind.address()).await;
        Arc::new(Self { granted, front, behind, store, address })
    }

    /// The broker itself, behind the proxy.
    pub(super) fn world_address(&self) -> String {
        self.address.clone()
    }

    /// A key of the operator's own.
    pub(super) fn own_key() -> SigningKey {
        SigningKey::from_secret(&[66; 32])
    }

    /// A certificate for the operator's key in this partner's name, signed by the operator: nobody else would.
    pub(super) fn own_certificate(&self, partner: &PartnerName) -> Envelope {
        let now = self.world.system().now().as_millis();
        certify_as(&Self::own_key(), partner, &Self::own_key(), 2, now)
    }

    /// Bends what a statement says, and leaves its signature as it is.
    pub(super) fn bent<S: Statement>(
        statement: Option<&Envelope>,
        bend: impl FnOnce(&mut S::Message),
    ) -> Envelope
    where
        S::Message: prost::Message + Default,
    {
        use prost::Message as _;
        let statement = statement.expect("there is one");
        let mut message = S::Message::decode(statement.payload.clone()).expect("a statement");
        bend(&mut message);
        Envelope { payload: message.encode_to_vec().into(), ..statement.clone() }
    }

    /// Signs what a statement says anew, with the operator's key.
    pub(super) fn forged<S: Statement>(
        statement: Option<&Envelope>,
        bend: impl FnOnce(&mut S::Message),
    ) -> Envelope
    where
        S::Message: prost::Message + Default,
    {
        Self::signed_by::<S>(&Self::own_key(), statement, bend)
    }

    /// Signs what a statement says anew, with this key.
    pub(super) fn signed_by<S: Statement>(
        key: &SigningKey,
        statement: Option<&Envelope>,
        bend: impl FnOnce(&mut S::Message),
    ) -> Envelope
    where
        S::Message: prost::Message + Default,
    {
        use prost::Message as _;
        let unsigned = Self::bent::<S>(statement, bend);
        envelope::sign::<S>(&S::Message::decode(unsigned.payload).expect("as it was encoded"), &[key])
    }

    /// Enters a record of what never happened to the grant, as the broker's own code enters what did: all who are
    /// concerned hear of it.
    pub(super) async fn claims(&self, kind: Kind) {
        let broker = &self.world.broker;
        let grant = broker.grant(&self.grant).await.expect("reads").expect("stands");
        let customer = broker.customer_key(self.mei.name()).await.expect("reads");
        let terms = &grant.terms;
        let mut work = Work::default();
        work.record(broker.draft(Happening {
            kind,
            source: Some(&terms.source),
            recipient: Some(&terms.recipient),
            customer: Some(&customer),
            purpose: Some(&terms.purpose),
            catalogue_version: Some(terms.catalogue_version),
            grant: Some((&grant.name, terms.log_tag)),
            evidence: &[Digest::of(b"nothing that anybody signed")],
            private: grant.private_part(),
            ..Happening::default()
        }));
        broker.enter(work).await.expect("enters").expect("expects nothing");
    }

    /// Asks for and approves one more grant of row 1, without waiting for anybody to hear of it.
    pub(super) async fn one_more(&self) -> GrantName {
        let offer = self.hopp.offer_trip(&self.skylark, 12).await;
        let lifetime = std::time::Duration::from_secs(3600);
        let rows = [(offer, false)];
        let request =
            self.skylark.partner.request(&self.at_skylark, &rows, lifetime).await.expect("requests");
        let read = self.mei.read_request(&request).await.expect("verifies");
        let choice = countersign_client::customer::Choice::required("en");
        self.mei.approve(&read, &choice).await.expect("approves")[0].grant.clone()
    }

    /// Another customer, who is linked with both brands, and whose secret the operator knows: they work together.
    pub(super) async fn accomplice(&self) -> Accomplice {
        const SECRET: [u8; 32] = [13; 32];
        let customer = self.world.customer_with(Wallet::from_secret(&SECRET)).await;
        let at_skylark = self.world.link(&customer, &self.skylark).await;
        let at_hopp = self.world.link(&customer, &self.hopp).await;
        customer.links().await.expect("both are confirmed");
        let key = |partner| {
            let link = customer.book().link_with(partner).expect("linked");
            Wallet::from_secret(&SECRET).link_key(link.name.digest())
        };
        let (skylark_key, hopp_key) = (key(self.skylark.name()), key(self.hopp.name()));
        Accomplice { _customer: customer, at_skylark, at_hopp, skylark_key, hopp_key }
    }
}

/// A customer who lies along.
pub(super) struct Accomplice {
    _customer: Customer,
    pub(super) at_skylark: countersign_grants::id::SubjectHandle,
    pub(super) at_hopp: countersign_grants::id::SubjectHandle,
    pub(super) skylark_key: SigningKey,
    pub(super) hopp_key: SigningKey,
}

/// Enters a record as it is, and returns its proof: whoever holds the log's key can prove any lie to stand in it.
pub(super) async fn append(ledger: &Ledger, record: Record) -> Receipt {
    let draft = Draft { record, ..Draft::default() };
    let done =
        ledger.submit(Unit { records: vec![draft], ..Unit::default() }).await.expect("the log takes it");
    let Outcome::Committed(committed) = done else { panic!("{done:?}") };
    bare(&committed.receipts[0])
}
