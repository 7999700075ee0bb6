//! The gRPC surface: the services behind their stack.

use std::sync::Arc;

use axum::Router;
use tonic::service::Routes;
use tonic_health::{ServingStatus, server::HealthReporter};

use crate::{
    service::{Services, services},
    stack::{Gate, stack},
};

/// The services behind their stack.
pub(super) struct Api {
    router: Router,
    health: HealthReporter,
}

impl Api {
    pub(super) async fn new(gate: &Arc<Gate>) -> Self {
        Self::of(services(gate.broker()).await, gate)
    }

    pub(super) fn of(services: Services, gate: &Arc<Gate>) -> Self {
        let router = stack(services.routes.prepare().into_axum_router(), gate);
        Self { router, health: services.health }
    }

    pub(super) fn router(&self) -> Router {
        self.router.clone()
    }

    /// What a listener without the API answers gRPC with: that it has no such service.
    pub(super) fn nothing() -> Router {
        Routes::default().prepare().into_axum_router()
    }

    /// Says whether calls can succeed. The empty name is the whole server's, by the health protocol.
    pub(super) async fn say_whether_serving(&self, serving: bool) {
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        self.health.set_service_status("", status).await;
    }
}
