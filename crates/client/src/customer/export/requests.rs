//! Requests, with those that were never put before the customer: to take them along is not to be asked.

use std::collections::HashSet;

use countersign_grants::id::RequestName;
use countersign_proto::v1::{self, ListGrantRequestsRequest, list_grant_requests_request::View};
use serde_json::json;

use super::{
    ExportError, MAX_RECORDS, MET, PAGE_SIZE, Pages,
    absent::Absent,
    folder::Folder,
    json::{is_at, message},
    twisted,
};
use crate::{
    channel::call,
    customer::{Customer, LinkRow},
    error::Error,
};

/// The lists, in an order in which a request that goes from one to another while they are read is met in the later one.
const VIEWS: [View; 3] = [View::Waiting, View::NeverShown, View::Unspecified];

impl Customer {
    pub(super) async fn export_requests(
        &self,
        folder: &mut Folder,
        absent: &mut Absent,
    ) -> Result<usize, ExportError> {
        // Whom nobody shows anything can still be asked a hundred times a day by each brand.
        let (mut list, mut written) = (Folder::list("requests.json"), HashSet::new());
        for view in VIEWS {
            let mut pages = Pages::new(MAX_RECORDS);
            while let Some(page_token) = pages.next() {
                let asked = ListGrantRequestsRequest {
                    parent: self.name().to_string(),
                    page_size: PAGE_SIZE,
                    page_token,
                    view: view.into(),
                };
                let page = self.0.connection.grants().list_grant_requests(call(asked)).await?.into_inner();
                pages.took(page.grant_requests.len(), page.next_page_token)?;
                for request in page.grant_requests {
                    let name = RequestName::parse(&request.name)
                        .map_err(|error| twisted("request", "name", &error.to_string()))?;
                    let link = self.verify_request(&name, &request)?;
                    if !written.insert(name.digest()) {
                        continue;
                    }
                    let element = json!({
                        "request": message("v1.GrantRequest", &request),
                        "link": link.name.as_str(),
                        "shown": request.shown_time.is_some(),
                    });
                    list.add(folder, &element).await?;
                    absent.written(request.statement.as_ref());
                    for offer in &request.offers {
                        absent.written(offer.statement.as_ref());
                    }
                }
            }
        }
        list.end(folder).await
    }

    /// The link through which a request came, if all of it verifies that was signed, and the rest agrees.
    fn verify_request(&self, name: &RequestName, request: &v1::GrantRequest) -> Result<LinkRow, Error> {
        let (statement, link) = self.verify_statement(name, request, MET)?;
        let said = statement.statement();
        if request.offers.len() != said.rows.len() {
            return Err(twisted("request", "offers", "are not as many as were signed"));
        }
        for (row, offer) in said.rows.iter().zip(&request.offers) {
            self.verify_offer(row.offer, offer, &link, MET)?;
        }
        if request.requester != said.requester.as_str() {
            return Err(twisted("request", "requester", "is another than the one who signed"));
        }
        if !is_at(request.expire_time.as_ref(), said.expire_time) {
            return Err(twisted("request", "expire_time", "is other than the requester signed"));
        }
        Ok(link)
    }
}
