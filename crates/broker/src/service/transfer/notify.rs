//! `NotifyChange`: one record for each standing grant that covers the resource; recipients fetch under their grants.

use countersign_grants::{
    catalogue::FieldPath,
    id::{GrantName, SubjectHandle},
};
use countersign_proto::{
    log::v1::Kind,
    row::v1::PrivatePart,
    v1::{NotifyChangeRequest, NotifyChangeResponse, grant::State},
};

use super::TransferService;
use crate::{
    broker::damaged, caller::Caller, error::Fault, record::Happening, rows, stored::StoredGrant, work::Work,
};

/// Grants of one subject that are told of a change: far more than brands that one person shares one account's data with.
const MAX_GRANTS: usize = 100;

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
        let mut work = Work::default();
        let mut any = false;
        // A subject without grants answers like one with them: a source learns nothing of who else asks.
        for (_, name) in rows::grants_from(&subject).load(self.broker.store(), None, MAX_GRANTS).await? {
            let name = GrantName::parse(&name).map_err(|error| damaged("index", &error))?;
            let Some(grant) = self.broker.grant(&name).await? else { continue };
            any |= self.note(&mut work, &grant, resource).await?;
        }
        if any {
            self.broker.enter(work).await?;
        }
        Ok(NotifyChangeResponse {})
    }

    /// Adds the notice for one grant, if it stands and covers the resource.
    async fn note(&self, work: &mut Work, grant: &StoredGrant, resource: &str) -> Result<bool, Fault> {
        let terms = &grant.terms;
        if !terms.fields.iter().any(|field| field.resource() == resource) {
            return Ok(false);
        }
        if grant.state(self.broker.now())?.state() != State::Active {
            return Ok(false);
        }
        let customer = self.broker.customer_key(&grant.customer()?).await?;
        work.record(self.broker.draft(Happening {
            kind: Kind::ChangeNotice,
            source: Some(&terms.source),
            recipient: Some(&terms.recipient),
            not_to_source: true,
            customer: Some(&customer),
            purpose: Some(&terms.purpose),
            catalogue_version: Some(terms.catalogue_version),
            grant: Some((&grant.name, terms.log_tag)),
            private: PrivatePart {
                source_subject: grant.read.row.source_subject.clone(),
                recipient_subject: grant.read.row.recipient_subject.clone(),
                resource: resource.to_owned(),
                ..PrivatePart::default()
            },
            ..Happening::default()
        }));
        Ok(true)
    }
}

/// A resource is what stands before the dot of a field.
fn resource(text: &str) -> Result<&str, Fault> {
    if FieldPath::is_resource(text) {
        return Ok(text);
    }
    Err(Fault::field("resource", "must be the first segment of a field, such as `trip`"))
}
