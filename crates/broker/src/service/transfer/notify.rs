//! `NotifyChange`: one record for each standing grant that covers the resource; recipients fetch under their grants.

use countersign_grants::{
    catalogue::FieldPath,
    id::{GrantName, SubjectHandle},
};
use countersign_ledger::MAX_CONDITIONS;
use countersign_proto::{
    log::v1::Kind,
    row::v1::PrivatePart,
    v1::{NotifyChangeRequest, NotifyChangeResponse, grant::State},
};

use super::TransferService;
use crate::{
    broker::damaged,
    caller::Caller,
    error::Fault,
    record::{CustomerKey, Happening},
    rows::{self, Index, RowKey},
    service::page::Page,
    stored::StoredGrant,
    work::{Work, settle},
};

/// Grants that are looked at together, and whose notices are one unit: each notice expects its grant, all of them together
/// that their customer's account is open, and a unit has [`MAX_CONDITIONS`].
const PAGE: usize = MAX_CONDITIONS - 1;

/// Pages of one call: a thousand grants of one person's one account, in as many commits as pages. With more the answer
/// says where the next call goes on. Grants that have ended leave the index as notices are given.
const MAX_PAGES: usize = 16;

impl TransferService {
    pub(super) async fn notify(
        &self,
        caller: &Caller,
        request: &NotifyChangeRequest,
    ) -> Result<NotifyChangeResponse, Fault> {
        let source = caller.partner()?;
        let subject =
            SubjectHandle::parse(&request.subject).map_err(|error| Fault::field("subject", error))?;
        if subject.partner() != source {
            return Err(Fault::GrantUnknown);
        }
        let resource = resource(&request.resource)?;
        let index = rows::grants_from(&subject);
        let arguments = [b"notify".as_slice(), index.name(), resource.as_bytes()];
        let asked = Page::parse(0, &request.page_token, PAGE, &arguments)?;
        let (mut after, mut ended) = (asked.after.clone(), Vec::new());
        // A subject without grants answers like one with them: a source learns nothing of who else asks.
        for _ in 0..MAX_PAGES {
            let page = index.load(self.broker.store(), after.as_deref(), PAGE).await?;
            let names = page.iter().map(|(_, name)| GrantName::parse(name)).collect::<Result<Vec<_>, _>>();
            let names = names.map_err(|error| damaged("index", &error))?;
            ended = settle("grant", || self.notice(&index, &names, &ended, resource)).await?;
            match page.into_iter().next_back() {
                Some((place, _)) if names.len() == PAGE => after = Some(place),
                _ => return Ok(NotifyChangeResponse::default()),
            }
        }
        let next_page_token = after.map(|place| asked.token(&place)).unwrap_or_default();
        Ok(NotifyChangeResponse { next_page_token })
    }

    /// Gives the notices of these grants, and takes from the index those that have ended, now or in a page before. Gives
    /// back what it could not take: rows change only beside a record.
    async fn notice(
        &self,
        index: &Index,
        names: &[GrantName],
        ended: &[RowKey<String>],
        resource: &str,
    ) -> Result<Option<Vec<RowKey<String>>>, Fault> {
        let (mut work, mut noted, mut ended) = (Work::default(), None, ended.to_vec());
        for name in names {
            let Some(grant) = self.broker.grant(name).await? else { continue };
            match grant.state(self.broker.now())?.state() {
                // A handle is one link's: all of these are one customer's.
                State::Active => noted = self.note(&mut work, &grant, resource).await?.or(noted),
                State::Withdrawn | State::Revoked | State::Expired | State::Consumed | State::Superseded => {
                    ended.push(index.entry(grant.read.row.create_time_ms, name.digest()));
                }
                State::Paused | State::Suspended | State::Unspecified => {}
            }
        }
        let Some(customer) = noted else { return Ok(Some(ended)) };
        self.broker.expect_open(&mut work, &customer).await?;
        for entry in &ended {
            work.delete(entry);
        }
        Ok(self.broker.enter(work).await?.map(|_| Vec::new()))
    }

    /// Adds the notice for one grant that stands, if it covers the resource. Each is one more entry of what its customer
    /// reads, so with too many of a grant there are no more of it, nor of those beside it, until its window is over.
    async fn note(
        &self,
        work: &mut Work,
        grant: &StoredGrant,
        resource: &str,
    ) -> Result<Option<CustomerKey>, Fault> {
        let terms = &grant.terms;
        if !terms.fields.iter().any(|field| field.resource() == resource) {
            return Ok(None);
        }
        self.broker.notices().count(grant.name.clone(), self.broker.now()).map_err(|wait| {
            Fault::QuotaExceeded { quota: "notices of one grant in a minute", retry_after: Some(wait) }
        })?;
        let customer = self.broker.customer_key(&grant.customer()?).await?;
        // No notice follows a stop.
        work.expect(&grant.read);
        work.record(self.broker.draft(Happening {
            kind: Kind::ChangeNotice,
            source: Some(&terms.source),
            recipient: Some(&terms.recipient),
            customer: Some(&customer),
            purpose: Some(&terms.purpose),
            catalogue_version: Some(terms.catalogue_version),
            grant: Some((&grant.name, terms.log_tag)),
            private: PrivatePart { resource: resource.to_owned(), ..grant.private_part() },
            ..Happening::default()
        }));
        Ok(Some(customer))
    }
}

/// A resource is what stands before the dot of a field.
fn resource(text: &str) -> Result<&str, Fault> {
    if FieldPath::is_resource(text) {
        return Ok(text);
    }
    Err(Fault::field("resource", "must be the first segment of a field, such as `trip`"))
}
