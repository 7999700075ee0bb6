//! `CreatePartner`.

use bytes::Bytes;
use countersign_grants::id::PartnerName;
use countersign_proto::{
    log::v1::Kind,
    row::v1::PartnerRow,
    v1::{CreatePartnerRequest, Partner, partner::State},
};
use prost::Message as _;

use super::{by, view};
use crate::{
    Broker, Caller, Fault,
    broker::damaged,
    record::Happening,
    rows,
    service::fields,
    work::{Done, Work},
};

pub(super) async fn create(
    broker: &Broker,
    caller: &Caller,
    request: CreatePartnerRequest,
) -> Result<Partner, Fault> {
    caller.operator()?;
    let digest = Broker::digest_of(&request);
    let name = fields::name("partner_id", &request.partner_id, PartnerName::of_id)?;
    let partner = fields::required("partner", request.partner)?;
    if !partner.name.is_empty() && partner.name != name.as_str() {
        return Err(Fault::field("partner.name", "must be absent, or the name of `partner_id`"));
    }
    let row = PartnerRow {
        name: name.to_string(),
        display_name: fields::display_name("partner.display_name", &partner.display_name)?,
        identity_key: Bytes::copy_from_slice(
            fields::public_key("partner.identity_key", &partner.identity_key)?.as_bytes(),
        ),
        source_endpoint: match partner.source_endpoint.as_str() {
            "" => String::new(),
            endpoint => fields::endpoint("partner.source_endpoint", endpoint)?,
        },
        contact_phone: match partner.contact_phone.as_str() {
            "" => String::new(),
            phone => fields::phone("partner.contact_phone", phone)?,
        },
        create_time_ms: broker.now().as_millis(),
        stage: State::Applied.into(),
        ..PartnerRow::default()
    };
    let answer = view(&row, caller);

    let mut work = Work::default();
    work.create(&rows::partner(&name), &row)?;
    if let Some(id) = fields::request_id(&request.request_id)? {
        work.request(&caller.principal, id, digest, answer.encode_to_vec().into());
    }
    work.record(broker.draft(Happening {
        kind: Kind::PartnerCreated,
        source: Some(&name),
        private: by(caller),
        ..Happening::default()
    }));
    match broker.commit(work).await? {
        Done::Committed { .. } => Ok(answer),
        Done::Replayed { answer, .. } => Partner::decode(answer).map_err(|error| damaged("answer", &error)),
        Done::Conflict => Err(Fault::AlreadyExists { name: name.to_string() }),
    }
}
