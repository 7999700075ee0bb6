//! `CatalogueService`: what data may be asked for, and for what. For every principal.

mod get;

use std::sync::Arc;

use async_trait::async_trait;
use countersign_proto::v1::{
    Catalogue, GetCatalogueRequest, ListCataloguesRequest, ListCataloguesResponse,
    catalogue_service_server::CatalogueService,
};
use tonic::{Request, Response, Status};

use crate::{Broker, Caller};

/// The service.
pub struct Catalogues(pub Arc<Broker>);

#[async_trait]
impl CatalogueService for Catalogues {
    async fn get_catalogue(
        &self,
        request: Request<GetCatalogueRequest>,
    ) -> Result<Response<Catalogue>, Status> {
        Caller::of(&request)?;
        Ok(Response::new(get::get(&self.0, request.into_inner()).await?))
    }

    async fn list_catalogues(
        &self,
        request: Request<ListCataloguesRequest>,
    ) -> Result<Response<ListCataloguesResponse>, Status> {
        Caller::of(&request)?;
        Ok(Response::new(get::list(&self.0, request.into_inner()).await?))
    }
}
