//! Who calls, as the stack has verified it.
//!
//! The authentication layer puts a [`Caller`] into the request's extensions; no service reads a token. One call has
//! no principal yet: `CreateCustomer` is signed by the key that it enters, so it comes with a [`Newcomer`].

use countersign_grants::id::{AuditorName, CustomerName, OperatorName, PartnerName, Principal};

use crate::error::Fault;

/// An authenticated principal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Who it is.
    pub principal: Principal,
}

/// The token of somebody who is no principal yet; its key is in the request. Empty of a device that comes for its key.
#[derive(Clone)]
pub struct Newcomer(pub String);

impl Caller {
    /// The caller of this request. Without one the stack let a call through that it must not: our bug.
    pub fn of<T>(request: &tonic::Request<T>) -> Result<Self, Fault> {
        let caller = request.extensions().get::<Self>().cloned();
        caller.ok_or(Fault::Bug { what: "a call reached its service without a caller" })
    }

    /// The caller, if it is a partner.
    pub fn partner(&self) -> Result<&PartnerName, Fault> {
        match &self.principal {
            Principal::Partner(name) => Ok(name),
            _ => Err(Fault::CallerNotAllowed { needs: "a partner" }),
        }
    }

    /// The caller, if it is a customer.
    pub fn customer(&self) -> Result<&CustomerName, Fault> {
        match &self.principal {
            Principal::Customer(name) => Ok(name),
            _ => Err(Fault::CallerNotAllowed { needs: "a customer" }),
        }
    }

    /// The caller, if it is an operator.
    pub fn operator(&self) -> Result<&OperatorName, Fault> {
        match &self.principal {
            Principal::Operator(name) => Ok(name),
            _ => Err(Fault::CallerNotAllowed { needs: "an operator" }),
        }
    }

    /// The caller, if it is an auditor.
    pub fn auditor(&self) -> Result<&AuditorName, Fault> {
        match &self.principal {
            Principal::Auditor(name) => Ok(name),
            _ => Err(Fault::CallerNotAllowed { needs: "an auditor" }),
        }
    }

    /// The caller as a party to records: a partner or a customer.
    pub fn party(&self) -> Result<Party, Fault> {
        match &self.principal {
            Principal::Partner(name) => Ok(Party::Partner(name.clone())),
            Principal::Customer(name) => Ok(Party::Customer(name.clone())),
            _ => Err(Fault::CallerNotAllowed { needs: "a partner or a customer" }),
        }
    }

    /// The caller as the party that a list is of: everybody lists its own alone.
    pub fn party_itself(&self, parent: &str) -> Result<Party, Fault> {
        let party = self.party()?;
        if party.as_str() == parent {
            return Ok(party);
        }
        Err(Fault::CallerNotAllowed { needs: "the party that is listed" })
    }
}

/// Whom records can concern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Party {
    /// A brand.
    Partner(PartnerName),
    /// A person.
    Customer(CustomerName),
}

impl Party {
    /// The resource name.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Partner(name) => name.as_str(),
            Self::Customer(name) => name.as_str(),
        }
    }
}
