//! A recipient behind a bare relay: the work of the SDK's `fetch`, by the same functions, without what needs the log. It
//! draws a key, signs the fetch, verifies the source's provision, and opens the values; there is no proof to verify.

use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};
use countersign_client::{
    BrokerTrust, Connection, Partner, System,
    channel::call,
    grants::{
        digest::Digest,
        envelope,
        id::{GrantName, Principal},
        key::SigningKey,
        sealing::info,
        statement::{Fetch, Provision, Statement as _, WorkingKey, check_asked},
    },
    keyfile,
    proto::{
        statement::v1::{self as wire, SealedFields},
        v1::FetchDataRequest,
    },
    sealing::OpeningKey,
};
use prost::Message as _;

use crate::control::ViaRelay;

/// A partner and its relay.
pub(super) struct Relayed {
    partner: Partner,
    connection: Connection,
    trust: BrokerTrust,
    key: SigningKey,
    system: System,
    /// The source's key, once its certificate verified, as the SDK remembers it.
    source: OnceLock<WorkingKey>,
}

impl Relayed {
    /// Prepares the connection.
    pub(super) fn open(partner: &Partner, relay: &ViaRelay) -> Result<Self> {
        let system = System::real();
        let key = keyfile::read(&relay.folder.join("key")).context("the recipient's key")?;
        let mut trust = BrokerTrust::read(&relay.broker)?;
        trust.address.clone_from(&relay.address);
        let principal = Principal::Partner(partner.name().clone());
        let connection = Connection::open(&trust, principal, &key, system.clock.clone())?;
        Ok(Self { partner: partner.clone(), connection, trust, key, system, source: OnceLock::new() })
    }

    /// Fetches and opens.
    pub(super) async fn fetch(&self, grant: &GrantName, purpose: &str, fields: &[&str]) -> Result<()> {
        let row = self.partner.book().grant(grant).context("a grant of the book")?;
        let opening = OpeningKey::draw(&self.system);
        let message = wire::Fetch {
            broker: self.trust.origin.to_string(),
            recipient: self.partner.name().to_string(),
            terms: row.digest().into(),
            purpose: purpose.to_owned(),
            fields: fields.iter().map(|field| (*field).to_owned()).collect(),
            request_id: self.system.draw_uuid(),
            time_ms: self.system.now().as_millis(),
            sealing_key: opening.public().to_vec().into(),
            checkpoint: self.partner.monitor().for_signing().await?,
            ..wire::Fetch::default()
        };
        let statement = Fetch::parse(message.clone())?;
        let signed = envelope::sign::<Fetch>(&message, &[&self.key]);
        let digest = envelope::digest(&signed);
        let asked = FetchDataRequest { statement: Some(signed) };
        let answer = self.connection.transfers().fetch_data(call(asked)).await?.into_inner();

        let terms = row.terms();
        let key = if let Some(key) = self.source.get() {
            key
        } else {
            let (identity, name) = (&terms.source_identity, &terms.source);
            let key = WorkingKey::certified(answer.source_key.as_ref(), identity, name, &self.trust.origin)?;
            self.source.get_or_init(|| key)
        };
        let provision = key.verify::<Provision>(answer.provision.as_ref(), |provision| provision.time)?;
        let said = provision.statement();
        ensure!(said.source == terms.source && said.fetch == digest, "the provision is of another fetch");
        ensure!(said.sealed == Digest::of(&answer.sealed_fields), "the provision is over other fields");
        let sealed = SealedFields::decode(answer.sealed_fields.clone())?;
        check_asked(&statement, &sealed)?;
        let values = opening.open(&sealed, &info(row.digest(), digest, &statement.fields))?;
        ensure!(values.len() == fields.len(), "a value is missing");
        Ok(())
    }
}
