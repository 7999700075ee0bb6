//! `PublishPartnerKey`, `ListPartnerKeys`.

use bytes::Bytes;
use countersign_grants::{
    digest::Digest,
    id::{PartnerName, Principal},
    key::KeyId,
    statement::WorkingKey,
};
use countersign_proto::{
    log::v1::Kind,
    row::v1::{PartnerKeyRow, PartnerRow},
    v1::{ListPartnerKeysRequest, ListPartnerKeysResponse, PartnerKey, PublishPartnerKeyRequest},
};

use super::by;
use crate::{
    Broker, Caller, Fault,
    broker::damaged,
    record::Happening,
    rows::{self, Loaded},
    service::{fields, page, timestamp},
    work::{Work, settle},
};

const WHAT: &str = "partner key";

pub(super) async fn publish(
    broker: &Broker,
    caller: &Caller,
    request: PublishPartnerKeyRequest,
) -> Result<PartnerKey, Fault> {
    let name = fields::name("parent", &request.parent, PartnerName::parse)?;
    match &caller.principal {
        Principal::Operator(_) => {}
        Principal::Partner(partner) if *partner == name => {}
        _ => return Err(Fault::CallerNotAllowed { needs: "an operator or the partner itself" }),
    }
    settle("partner", || attempt(broker, caller, &name, &request)).await
}

async fn attempt(
    broker: &Broker,
    caller: &Caller,
    name: &PartnerName,
    request: &PublishPartnerKeyRequest,
) -> Result<Option<PartnerKey>, Fault> {
    let partner = broker.partner(name).await?;
    let identity = fields::public_key("parent", &partner.row.identity_key)
        .map_err(|_| damaged("partner", &"its identity key is none"))?;
    let envelope = fields::required("statement", request.statement.as_ref())?;
    let key = WorkingKey::certified(Some(envelope), &identity, name, broker.origin())
        .map_err(|error| Fault::key(WHAT, &error))?;
    let place = rows::partner_key(name, key.public().id());
    if let Some(published) = broker.load(place.clone()).await? {
        return again(name, &key, &published).map(Some);
    }
    follows(broker, &key, &partner.row)?;

    let statement = key.certificate().statement();
    let digest = key.certificate().digest();
    let row = PartnerKeyRow { statement: Some(envelope.clone()), publish_time_ms: broker.now().as_millis() };
    let mut changed = partner.row.clone();
    changed.key_sequence = statement.sequence;
    changed.key_hash = Bytes::from(digest);
    let mut work = Work::default();
    work.update(&partner, &changed)?;
    work.create(&place, &row)?;
    work.index(&rows::keys_of(name).entry(statement.sequence, digest), key.public().id().as_str())?;
    work.record(broker.draft(Happening {
        kind: Kind::PartnerKeyPublished,
        source: Some(name),
        evidence: &[digest],
        private: by(caller),
        ..Happening::default()
    }));
    Ok(broker.enter(work).await?.map(|_| view(name, key.public().id(), &row)))
}

/// The same statement again returns the first answer; a published key is never certified anew.
fn again(
    name: &PartnerName,
    key: &WorkingKey,
    published: &Loaded<PartnerKeyRow>,
) -> Result<PartnerKey, Fault> {
    let id = key.public().id();
    let stored = published.row.statement.as_ref().map(|envelope| &envelope.payload);
    if stored == Some(&key.certificate().envelope().payload) {
        return Ok(view(name, id, &published.row));
    }
    Err(Fault::AlreadyExists { name: format!("{name}/keys/{id}") })
}

/// Key statements form one chain, so that a partner's SDK sees any that it did not make.
fn follows(broker: &Broker, key: &WorkingKey, partner: &PartnerRow) -> Result<(), Fault> {
    let statement = key.certificate().statement();
    if statement.sequence != partner.key_sequence + 1 {
        let problem =
            format!("it is number {}, and {} is next", statement.sequence, partner.key_sequence + 1);
        return Err(Fault::says(WHAT, "sequence", problem));
    }
    if statement.previous != Digest::from_slice(&partner.key_hash) {
        return Err(Fault::says(WHAT, "previous", "it does not build on the newest key statement"));
    }
    if statement.not_after <= broker.now() {
        return Err(Fault::says(WHAT, "not_after_ms", "the key is past its time already"));
    }
    Ok(())
}

pub(super) async fn list(
    broker: &Broker,
    request: ListPartnerKeysRequest,
) -> Result<ListPartnerKeysResponse, Fault> {
    let name = fields::name("parent", &request.parent, PartnerName::parse)?;
    let range = rows::keys_of(&name);
    let page = page::Page::parse(request.page_size, &request.page_token, page::MAX_SIZE, &[range.name()])?;
    broker.partner(&name).await?;
    let mut sheet = page.sheet(broker, &range).await?;
    while let Some(id) = sheet.next() {
        let id = KeyId::parse(&id).map_err(|error| damaged("key index", &error))?;
        let read = broker.load(rows::partner_key(&name, &id)).await?;
        sheet.add(view(&name, &id, &read.ok_or_else(|| damaged("key index", &"its key is missing"))?.row));
    }
    let (partner_keys, next_page_token) = sheet.finish();
    Ok(ListPartnerKeysResponse { partner_keys, next_page_token })
}

fn view(partner: &PartnerName, id: &KeyId, row: &PartnerKeyRow) -> PartnerKey {
    PartnerKey {
        name: format!("{partner}/keys/{id}"),
        statement: row.statement.clone(),
        publish_time: timestamp(row.publish_time_ms),
    }
}
