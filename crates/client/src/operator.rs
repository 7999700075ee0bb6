//! The operator's side: who takes part, and who may read.

use std::{sync::Arc, time::Duration};

use countersign_grants::{
    id::{AuditorName, GrantName, OperatorName, PartnerName, Principal},
    key::{PublicKey, SigningKey},
    statement::ChangeReason,
    time::Timestamp,
};
use countersign_proto::{
    statement::v1::Envelope,
    v1::{
        ApprovePartnerRequest, Auditor, ChangeGrantResponse, CreateAuditorRequest, CreatePartnerRequest,
        Grant, ListPartnersRequest, Partner, PartnerKey, PublishPartnerKeyRequest, ResumePartnerRequest,
        RevokeGrantRequest, ScrubStoreRequest, SetPartnerContactRequest, SetSourceEndpointRequest,
        SuspendGrantRequest, SuspendPartnerRequest, UnsuspendGrantRequest, VetPartnerRequest,
        scrub_store_response::State,
    },
};

use crate::{
    channel::{Connection, call},
    error::{Error, Party},
    system::System,
    trust::BrokerTrust,
};

/// The largest page that the API gives.
const PAGE_SIZE: i32 = 200;

/// The most partners that are listed: a bound on what a broker can make its operator hold.
const MAX_PARTNERS: usize = 20_000;

/// How long to wait before a broker that scrubs is asked again: it waits itself before it says that it goes on.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// One operator of one broker. Cloning shares it.
#[derive(Clone)]
pub struct Operator {
    connection: Connection,
    system: System,
}

impl Operator {
    /// Prepares to call as this operator. Nothing is sent yet.
    pub fn open(
        trust: &BrokerTrust,
        name: OperatorName,
        key: &SigningKey,
        system: System,
    ) -> Result<Self, Error> {
        let connection = Connection::open(trust, Principal::Operator(name), key, Arc::clone(&system.clock))?;
        Ok(Self::open_on(system, connection))
    }

    /// The same, on a connection that was prepared for this operator.
    pub fn open_on(system: System, connection: Connection) -> Self {
        Self { connection, system }
    }

    /// Enters a partner under its offline identity key, with the number under which its people are reached. It is not
    /// live before one operator has [vetted](Self::vet) and another [approved](Self::approve) it.
    pub async fn create_partner(
        &self,
        name: &PartnerName,
        (display_name, contact_phone): (&str, &str),
        identity: &PublicKey,
    ) -> Result<Partner, Error> {
        let partner = Partner {
            display_name: display_name.to_owned(),
            contact_phone: contact_phone.to_owned(),
            identity_key: identity.as_bytes().to_vec().into(),
            ..Partner::default()
        };
        let asked = CreatePartnerRequest {
            partner_id: name.id().to_owned(),
            partner: Some(partner),
            request_id: self.system.draw_uuid(),
        };
        let entered = self.connection.partners().create_partner(call(asked)).await?.into_inner();
        named(&entered.name, name.as_str())?;
        Ok(entered)
    }

    /// Publishes a working key that the partner's identity key has certified.
    pub async fn publish_key(
        &self,
        partner: &PartnerName,
        certificate: Envelope,
    ) -> Result<PartnerKey, Error> {
        let asked = PublishPartnerKeyRequest { parent: partner.to_string(), statement: Some(certificate) };
        Ok(self.connection.partners().publish_partner_key(call(asked)).await?.into_inner())
    }

    /// Approves where a source is reached.
    pub async fn set_endpoint(&self, partner: &PartnerName, endpoint: &str) -> Result<Partner, Error> {
        let asked =
            SetSourceEndpointRequest { name: partner.to_string(), source_endpoint: endpoint.to_owned() };
        let entered = self.connection.partners().set_source_endpoint(call(asked)).await?.into_inner();
        named(&entered.name, partner.as_str())?;
        Ok(entered)
    }

    /// Sets under which number a partner's people are reached.
    pub async fn set_contact(&self, partner: &PartnerName, phone: &str) -> Result<Partner, Error> {
        let asked = SetPartnerContactRequest { name: partner.to_string(), contact_phone: phone.to_owned() };
        let entered = self.connection.partners().set_partner_contact(call(asked)).await?.into_inner();
        named(&entered.name, partner.as_str())?;
        Ok(entered)
    }

    /// Vouches for a partner that applied: who it is, that its keys are its own, that its people can be reached.
    pub async fn vet(&self, partner: &PartnerName) -> Result<Partner, Error> {
        let asked = VetPartnerRequest { name: partner.to_string() };
        let vetted = self.connection.partners().vet_partner(call(asked)).await?.into_inner();
        named(&vetted.name, partner.as_str())?;
        Ok(vetted)
    }

    /// Lets a partner in that another operator has vetted.
    pub async fn approve(&self, partner: &PartnerName) -> Result<Partner, Error> {
        let asked = ApprovePartnerRequest { name: partner.to_string() };
        let approved = self.connection.partners().approve_partner(call(asked)).await?.into_inner();
        named(&approved.name, partner.as_str())?;
        Ok(approved)
    }

    /// Suspends a partner, from its very next call; the log says why.
    pub async fn suspend(&self, partner: &PartnerName, reason: &str) -> Result<Partner, Error> {
        let asked = SuspendPartnerRequest { name: partner.to_string(), reason: reason.to_owned() };
        Ok(self.connection.partners().suspend_partner(call(asked)).await?.into_inner())
    }

    /// Ends a suspension.
    pub async fn resume(&self, partner: &PartnerName) -> Result<Partner, Error> {
        let asked = ResumePartnerRequest { name: partner.to_string() };
        Ok(self.connection.partners().resume_partner(call(asked)).await?.into_inner())
    }

    /// Suspends a grant, beside whatever its source or its customer does. The log says why.
    pub async fn suspend_grant(&self, grant: &GrantName, reason: ChangeReason) -> Result<Grant, Error> {
        let asked = SuspendGrantRequest { name: grant.to_string(), reason: reason.into(), statement: None };
        stopped(grant, self.connection.grants().suspend_grant(call(asked)).await?.into_inner())
    }

    /// Ends the operators' suspension of a grant.
    pub async fn unsuspend_grant(&self, grant: &GrantName) -> Result<Grant, Error> {
        let asked = UnsuspendGrantRequest { name: grant.to_string(), statement: None };
        stopped(grant, self.connection.grants().unsuspend_grant(call(asked)).await?.into_inner())
    }

    /// Ends a grant for good. The log says why.
    pub async fn revoke_grant(&self, grant: &GrantName, reason: ChangeReason) -> Result<Grant, Error> {
        let asked = RevokeGrantRequest { name: grant.to_string(), reason: reason.into(), statement: None };
        stopped(grant, self.connection.grants().revoke_grant(call(asked)).await?.into_inner())
    }

    /// All partners.
    pub async fn partners(&self) -> Result<Vec<Partner>, Error> {
        let mut all = Vec::new();
        let mut page_token = String::new();
        loop {
            let asked = ListPartnersRequest { page_size: PAGE_SIZE, page_token };
            let page = self.connection.partners().list_partners(call(asked)).await?.into_inner();
            all.extend(page.partners);
            if page.next_page_token.is_empty() {
                return Ok(all);
            }
            if all.len() > MAX_PARTNERS {
                let detail = format!("more than {MAX_PARTNERS} partners");
                return Err(Error::misbehaved(Party::Broker, "list", "length", detail));
            }
            page_token = page.next_page_token;
        }
    }

    /// Has everything that was removed until now leave the broker's disk, and waits until it has.
    pub async fn scrub(&self) -> Result<Timestamp, Error> {
        let mut until_time = None;
        loop {
            let asked = ScrubStoreRequest { until_time };
            let answer = self.connection.operators().scrub_store(call(asked)).await?.into_inner();
            let until = answer.until_time.and_then(millis);
            let until = until.filter(|_| until_time.is_none_or(|asked| answer.until_time == Some(asked)));
            let until = until.ok_or_else(|| {
                Error::misbehaved(
                    Party::Broker,
                    "answer",
                    "until_time",
                    "is not the moment that was asked about",
                )
            })?;
            if answer.state() == State::Done {
                return Ok(until);
            }
            until_time = answer.until_time;
            tokio::time::sleep(ASK_AGAIN_AFTER).await;
        }
    }

    /// Enters an auditor under the key that signs its calls.
    pub async fn create_auditor(
        &self,
        name: &AuditorName,
        display_name: &str,
        key: &PublicKey,
    ) -> Result<Auditor, Error> {
        let auditor = Auditor {
            display_name: display_name.to_owned(),
            public_key: key.as_bytes().to_vec().into(),
            ..Auditor::default()
        };
        let asked = CreateAuditorRequest {
            auditor_id: name.id().to_owned(),
            auditor: Some(auditor),
            request_id: self.system.draw_uuid(),
        };
        let entered = self.connection.audit().create_auditor(call(asked)).await?.into_inner();
        named(&entered.name, name.as_str())?;
        Ok(entered)
    }
}

/// Unix milliseconds, from 1970 on.
fn millis(time: prost_types::Timestamp) -> Option<Timestamp> {
    let seconds = u64::try_from(time.seconds).ok()?.checked_mul(1_000)?;
    let nanos = u64::try_from(time.nanos).ok()?;
    Some(Timestamp::from_millis(seconds.checked_add(nanos / 1_000_000)?))
}

fn stopped(asked: &GrantName, answer: ChangeGrantResponse) -> Result<Grant, Error> {
    let grant = answer.grant.unwrap_or_default();
    named(&grant.name, asked.as_str())?;
    Ok(grant)
}

fn named(found: &str, expected: &str) -> Result<(), Error> {
    if found == expected {
        return Ok(());
    }
    Err(Error::misbehaved(Party::Broker, "answer", "name", format!("is `{found}`, not `{expected}`")))
}
