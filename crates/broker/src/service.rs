//! The gRPC services: one folder per service, one file per verb: authorize, parse, load, decide, commit.

pub mod audit;
pub mod catalogue;
pub mod customer;
pub mod event;
mod fields;
pub mod grant;
pub mod link;
pub mod offer;
pub mod operator;
pub(crate) mod page;
pub mod partner;
#[cfg(test)]
mod tests;
pub mod transfer;

use std::sync::Arc;

use countersign_proto::{
    FILE_DESCRIPTOR_SET,
    v1::{
        audit_service_server::AuditServiceServer, catalogue_service_server::CatalogueServiceServer,
        customer_service_server::CustomerServiceServer, event_service_server::EventServiceServer,
        grant_service_server::GrantServiceServer, link_service_server::LinkServiceServer,
        offer_service_server::OfferServiceServer, operator_service_server::OperatorServiceServer,
        partner_service_server::PartnerServiceServer, transfer_service_server::TransferServiceServer,
    },
};
use tonic::service::Routes;
use tonic_health::server::HealthReporter;

use crate::Broker;

/// The largest message that a caller may send: an approval of seven rows in two envelopes of at most 16 KiB each is
/// 224 KiB, and nothing else comes near.
pub const MAX_REQUEST_BYTES: usize = 256 * 1024;

/// The largest answer. Pages end at 2 MiB, and one item may follow.
pub const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// The services, and the reporter of their health.
pub struct Services {
    /// All services with health and reflection, for the stack to be put in front.
    pub routes: Routes,
    /// Says that they serve; the daemon takes it back when it shuts down.
    pub health: HealthReporter,
}

macro_rules! bounded {
    ($server:ident, $service:expr) => {
        $server::new($service)
            .max_decoding_message_size(MAX_REQUEST_BYTES)
            .max_encoding_message_size(MAX_ANSWER_BYTES)
    };
}

/// The services of this broker.
pub async fn services(broker: &Arc<Broker>) -> Services {
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_service_status("", tonic_health::ServingStatus::Serving).await;
    let shared = || Arc::clone(broker);
    let routes = Routes::new(health_service)
        .add_service(bounded!(PartnerServiceServer, partner::Partners(shared())))
        .add_service(bounded!(CatalogueServiceServer, catalogue::Catalogues(shared())))
        .add_service(bounded!(OfferServiceServer, offer::Offers(shared())))
        .add_service(bounded!(LinkServiceServer, link::Links(shared())))
        .add_service(bounded!(GrantServiceServer, grant::Grants(shared())))
        .add_service(bounded!(TransferServiceServer, transfer::TransferService::new(shared())))
        .add_service(bounded!(CustomerServiceServer, customer::Customers(shared())))
        .add_service(bounded!(EventServiceServer, event::Events(shared())))
        .add_service(bounded!(AuditServiceServer, audit::Audits(shared())))
        .add_service(bounded!(OperatorServiceServer, operator::Operators(shared())));
    let routes = if broker.settings().reflection { with_reflection(routes) } else { routes };
    Services { routes, health }
}

/// Both versions: some languages' clients ask for v1alpha alone.
fn with_reflection(routes: Routes) -> Routes {
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let proof = "the descriptor set is generated with the code, and a test asks the service for it";
    routes
        .add_service(builder().build_v1().expect(proof))
        .add_service(builder().build_v1alpha().expect(proof))
}

/// Unix milliseconds as the API writes a moment.
fn timestamp(millis: u64) -> Option<prost_types::Timestamp> {
    let seconds = i64::try_from(millis / 1000).ok()?;
    // Below 10⁹, so it fits.
    Some(prost_types::Timestamp { seconds, nanos: (millis % 1000) as i32 * 1_000_000 })
}
