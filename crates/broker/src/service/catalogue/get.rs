//! `GetCatalogue`, `ListCatalogues`.

use bytes::Bytes;
use countersign_grants::id::CatalogueName;
use countersign_proto::v1::{Catalogue, GetCatalogueRequest, ListCataloguesRequest, ListCataloguesResponse};

use crate::{
    Broker, Fault,
    broker::damaged,
    catalogues::MAX_CATALOGUES,
    rows,
    service::{fields, page, timestamp},
};

/// The name of whatever counts now.
const CURRENT: &str = "catalogues/current";

pub(super) async fn get(broker: &Broker, request: GetCatalogueRequest) -> Result<Catalogue, Fault> {
    let name = match request.name.as_str() {
        CURRENT => CatalogueName::of(broker.catalogues().current().version()),
        name => fields::name("name", name, CatalogueName::parse)?,
    };
    let unknown = || Fault::ResourceUnknown { name: name.to_string() };
    let document = broker.catalogues().version(name.digest()).ok_or_else(unknown)?.document().clone();
    Ok(Catalogue { document, ..view(broker, &name).await? })
}

pub(super) async fn list(
    broker: &Broker,
    request: ListCataloguesRequest,
) -> Result<ListCataloguesResponse, Fault> {
    let page = page::Page::parse(request.page_size, &request.page_token, page::MAX_SIZE, &[b"catalogues"])?;
    let [seen] = page.numbers()?.unwrap_or_default();
    let mut names = rows::catalogues().load(broker.store(), None, MAX_CATALOGUES).await?;
    // Newest first. The place is how many were shown, counted from the oldest end, so that a new one shifts nothing.
    names.reverse();
    let total = names.len() as u64;
    let start = if seen == 0 { 0 } else { total.saturating_sub(seen) };
    let mut catalogues = Vec::new();
    for (_, name) in names.into_iter().skip(start as usize).take(page.size) {
        let name = CatalogueName::parse(&name).map_err(|error| damaged("catalogue index", &error))?;
        catalogues.push(view(broker, &name).await?);
    }
    let left = total - start - catalogues.len() as u64;
    let next_page_token = if left == 0 { String::new() } else { page.token_of(&[left]) };
    Ok(ListCataloguesResponse { catalogues, next_page_token })
}

async fn view(broker: &Broker, name: &CatalogueName) -> Result<Catalogue, Fault> {
    let unknown = || Fault::ResourceUnknown { name: name.to_string() };
    let read = broker.load(rows::catalogue(name)).await?.ok_or_else(unknown)?;
    Ok(Catalogue {
        name: name.to_string(),
        version: Bytes::from(name.digest()),
        document: Bytes::new(),
        publish_time: timestamp(read.row.publish_time_ms),
    })
}
