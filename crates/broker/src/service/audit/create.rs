//! `CreateAuditor`.

use bytes::Bytes;
use countersign_grants::id::AuditorName;
use countersign_proto::{
    log::v1::Kind,
    row::v1::{PrincipalRow, PrivatePart},
    v1::{Auditor, CreateAuditorRequest},
};
use prost::Message as _;

use crate::{
    Broker, Caller, Fault,
    broker::damaged,
    record::Happening,
    rows,
    service::{fields, timestamp},
    work::{Done, Work},
};

pub(super) async fn create(
    broker: &Broker,
    caller: &Caller,
    request: CreateAuditorRequest,
) -> Result<Auditor, Fault> {
    caller.operator()?;
    let digest = Broker::digest_of(&request);
    let name = fields::name("auditor_id", &request.auditor_id, AuditorName::of_id)?;
    let auditor = fields::required("auditor", request.auditor)?;
    if !auditor.name.is_empty() && auditor.name != name.as_str() {
        return Err(Fault::field("auditor.name", "must be absent, or the name of `auditor_id`"));
    }
    let key = fields::public_key("auditor.public_key", &auditor.public_key)?;
    let row = PrincipalRow {
        name: name.to_string(),
        display_name: fields::display_name("auditor.display_name", &auditor.display_name)?,
        public_key: Bytes::copy_from_slice(key.as_bytes()),
        create_time_ms: broker.now().as_millis(),
    };
    let answer = Auditor {
        name: row.name.clone(),
        display_name: row.display_name.clone(),
        public_key: row.public_key.clone(),
        create_time: timestamp(row.create_time_ms),
    };

    let mut work = Work::default();
    work.create(&rows::auditor(&name), &row)?;
    if let Some(id) = fields::request_id(&request.request_id)? {
        work.request(&caller.principal, id, digest, answer.encode_to_vec().into());
    }
    work.record(broker.draft(Happening {
        kind: Kind::AuditorCreated,
        private: PrivatePart { actor: caller.principal.to_string(), ..PrivatePart::default() },
        ..Happening::default()
    }));
    match broker.commit(work).await? {
        Done::Committed { .. } => Ok(answer),
        Done::Replayed { answer, .. } => Auditor::decode(answer).map_err(|error| damaged("answer", &error)),
        Done::Conflict => Err(Fault::AlreadyExists { name: name.to_string() }),
    }
}
