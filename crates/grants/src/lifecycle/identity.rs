//! What opens a customer's root secret: a chain of changes, each building on the one before.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    digest::Digest,
    envelope::Signed,
    statement::{Authenticator, CustomerChange, CustomerChanged},
    time::Timestamp,
};

/// The most authenticators at a time: a person's devices and security keys, and as many again.
pub const MAX_AUTHENTICATORS: usize = 16;

/// The most changes of one customer; a report of theft is always taken. Adding and removing one each month for ten years.
pub const MAX_CUSTOMER_CHANGES: u64 = 256;

/// What a customer's changes so far add up to. Broker and devices compute it alike, so that none can show another.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    sequence: u64,
    last: Option<Digest>,
    authenticators: BTreeMap<Digest, Authenticator>,
    /// All that ever were: an id is never used twice.
    ever: BTreeSet<Digest>,
    stolen: Option<Timestamp>,
}

/// Why a change does not follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotNext {
    /// It has another number.
    #[error("it is number {found}, and {expected} is next")]
    Sequence {
        /// Which is next.
        expected: u64,
        /// Which it has.
        found: u64,
    },
    /// It does not build on the newest.
    #[error("it does not build on the newest change")]
    Previous,
    /// The root secret was reported stolen.
    #[error("the root secret was reported stolen: nothing follows")]
    Stolen,
    /// Its authenticator is or was there.
    #[error("its authenticator was added before")]
    Known,
    /// Its authenticator is not there.
    #[error("its authenticator is not among those that are there")]
    Unknown,
    /// The last one can't be removed.
    #[error("it removes the last authenticator: add another first")]
    Last,
    /// There are as many as there can be.
    #[error("there are {MAX_AUTHENTICATORS} authenticators already: remove one first")]
    TooMany,
    /// There were as many changes as there can be.
    #[error("there were {MAX_CUSTOMER_CHANGES} changes already")]
    TooOften,
}

impl NotNext {
    /// The check that failed, in a stable word.
    pub fn check(&self) -> &'static str {
        match self {
            Self::Sequence { .. } | Self::TooOften => "sequence",
            Self::Previous => "previous",
            Self::Stolen => "verb",
            Self::Known | Self::Unknown | Self::Last | Self::TooMany => "authenticator",
        }
    }
}

impl Identity {
    /// The next change, if it is one.
    pub fn follow(mut self, change: &Signed<CustomerChange>) -> Result<Self, NotNext> {
        let said = change.statement();
        let expected = self.sequence + 1;
        if said.sequence != expected {
            return Err(NotNext::Sequence { expected, found: said.sequence });
        }
        if said.previous != self.last {
            return Err(NotNext::Previous);
        }
        if self.stolen.is_some() {
            return Err(NotNext::Stolen);
        }
        if said.sequence > MAX_CUSTOMER_CHANGES && said.what != CustomerChanged::Stolen {
            return Err(NotNext::TooOften);
        }
        match &said.what {
            CustomerChanged::Added(one) => {
                if self.authenticators.len() == MAX_AUTHENTICATORS {
                    return Err(NotNext::TooMany);
                }
                if !self.ever.insert(one.id) {
                    return Err(NotNext::Known);
                }
                self.authenticators.insert(one.id, one.clone());
            }
            CustomerChanged::Removed { authenticator } => {
                if !self.authenticators.contains_key(authenticator) {
                    return Err(NotNext::Unknown);
                }
                if self.authenticators.len() == 1 {
                    return Err(NotNext::Last);
                }
                self.authenticators.remove(authenticator);
            }
            CustomerChanged::Stolen => {
                self.authenticators.clear();
                self.stolen = Some(said.time);
            }
        }
        (self.sequence, self.last) = (said.sequence, Some(change.digest()));
        Ok(self)
    }

    /// The newest change's number; 0 without one.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The newest change.
    pub fn last(&self) -> Option<Digest> {
        self.last
    }

    /// What opens the root secret now.
    pub fn authenticators(&self) -> impl ExactSizeIterator<Item = &Authenticator> {
        self.authenticators.values()
    }

    /// One of them.
    pub fn authenticator(&self, id: Digest) -> Option<&Authenticator> {
        self.authenticators.get(&id)
    }

    /// When the root secret was reported stolen.
    pub fn stolen(&self) -> Option<Timestamp> {
        self.stolen
    }
}

#[cfg(test)]
mod tests {
    use countersign_proto::statement::v1 as wire;

    use super::*;
    use crate::{
        envelope,
        id::{CustomerName, Origin},
        key::SigningKey,
        statement::CustomerVerb,
    };

    /// A chain in the making: adds, removes and reports, each signed.
    #[derive(Clone, Default)]
    struct Chain(Identity);

    impl Chain {
        fn next(&self, verb: CustomerVerb, id: u8) -> wire::CustomerChange {
            let adds = verb == CustomerVerb::AddAuthenticator;
            let bytes = |set: bool, byte: u8| if set { vec![byte; 32].into() } else { bytes::Bytes::new() };
            wire::CustomerChange {
                broker: "broker.test/log".into(),
                customer: CustomerName::of(SigningKey::from_secret(&[1; 32]).id()).to_string(),
                sequence: self.0.sequence() + 1,
                verb: verb.into(),
                previous: self.0.last().map(|last| last.as_bytes().to_vec().into()).unwrap_or_default(),
                authenticator: bytes(verb != CustomerVerb::ReportStolen, id),
                wrapped: bytes(adds, 2),
                label_commitment: bytes(adds, 3),
                time_ms: 1,
            }
        }

        fn take(&mut self, message: &wire::CustomerChange) -> Result<(), NotNext> {
            let (key, origin) =
                (SigningKey::from_secret(&[1; 32]), Origin::parse("broker.test/log").expect("an origin"));
            let signed = envelope::sign::<CustomerChange>(message, &[&key]);
            let signed = envelope::verify(Some(&signed), &[key.public()], &origin).expect("verifies");
            self.0 = self.0.clone().follow(&signed)?;
            Ok(())
        }

        fn add(&mut self, id: u8) -> Result<(), NotNext> {
            self.take(&self.next(CustomerVerb::AddAuthenticator, id))
        }

        fn remove(&mut self, id: u8) -> Result<(), NotNext> {
            self.take(&self.next(CustomerVerb::RemoveAuthenticator, id))
        }
    }

    #[test]
    fn authenticators_come_and_go_and_one_remains() {
        let mut chain = Chain::default();
        assert_eq!(chain.remove(1), Err(NotNext::Unknown));
        chain.add(1).expect("the first");
        assert_eq!(chain.add(1), Err(NotNext::Known));
        assert_eq!(chain.remove(1), Err(NotNext::Last));
        chain.add(2).expect("another");
        chain.remove(1).expect("one remains");
        assert_eq!(chain.add(1), Err(NotNext::Known), "an id is never used twice");
        assert_eq!(chain.0.authenticators().map(|one| one.id).collect::<Vec<_>>(), [Digest::from([2; 32])]);
        for id in 3..=17 {
            chain.add(id).expect("room");
        }
        assert_eq!(chain.0.authenticators().len(), MAX_AUTHENTICATORS);
        assert_eq!(chain.add(18), Err(NotNext::TooMany));
    }

    #[test]
    fn a_change_builds_on_the_newest() {
        let mut chain = Chain::default();
        chain.add(1).expect("the first");
        let late = chain.next(CustomerVerb::AddAuthenticator, 2);
        chain.add(3).expect("the second");
        assert_eq!(chain.take(&late), Err(NotNext::Sequence { expected: 3, found: 2 }));
        let mut other = chain.next(CustomerVerb::AddAuthenticator, 2);
        other.previous = vec![9; 32].into();
        assert_eq!(chain.take(&other), Err(NotNext::Previous));
    }

    #[test]
    fn nothing_follows_a_report_of_theft_and_it_is_always_taken() {
        let mut chain = Chain::default();
        chain.add(0).expect("the first");
        for turn in 0..MAX_CUSTOMER_CHANGES / 2 {
            let id = u8::try_from(turn % 200).expect("small") + 1;
            let mut adds = chain.next(CustomerVerb::AddAuthenticator, id);
            adds.authenticator = Digest::of(&turn.to_be_bytes()).as_bytes().to_vec().into();
            if chain.take(&adds).is_err() {
                break;
            }
            let mut removes = chain.next(CustomerVerb::RemoveAuthenticator, id);
            removes.authenticator = adds.authenticator;
            if chain.take(&removes).is_err() {
                break;
            }
        }
        assert_eq!(chain.0.sequence(), MAX_CUSTOMER_CHANGES);
        assert_eq!(chain.add(250), Err(NotNext::TooOften));
        chain.take(&chain.clone().next(CustomerVerb::ReportStolen, 0)).expect("is always taken");
        assert_eq!((chain.0.authenticators().len(), chain.0.stolen().is_some()), (0, true));
        assert_eq!(chain.add(251), Err(NotNext::Stolen));
    }
}
