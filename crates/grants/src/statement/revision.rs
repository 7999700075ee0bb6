//! Terms in the place of others: narrowed by the customer alone, or renewed by a new approval. Source, recipient and
//! broker all hold the new terms against the old ones.

use super::{GrantTerms, TermsError, checks::no_faster};
use crate::{digest::Digest, envelope::Signed};

/// The most narrowings between two approvals. Each makes a grant with rows and a place in every list of its own, and
/// nobody narrows one row of a trip so often.
pub const MAX_NARROWINGS: u32 = 32;

/// How terms stand in the place of others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revision {
    /// By the customer alone, under the same request: less of the same.
    Narrowed,
    /// By an approval of another request.
    Renewed,
}

impl Revision {
    /// The code that stands as the reason in the record of the grant that ended.
    pub fn code(self) -> &'static str {
        match self {
            Self::Narrowed => "NARROWED",
            Self::Renewed => "RENEWED",
        }
    }
}

impl GrantTerms {
    /// Whether these terms may stand in the place of the old ones, and how. How many uses were left is for those to hold
    /// them to who count.
    pub fn revises(&self, old: &Signed<GrantTerms>) -> Result<Revision, TermsError> {
        self.revises_terms(old.statement(), old.digest())
    }

    /// The same, where the old terms were verified before.
    pub fn revises_terms(&self, old: &Self, digest: Digest) -> Result<Revision, TermsError> {
        let wrong = |field, problem| Err(TermsError { field, problem });
        if self.previous != Some(digest) {
            return wrong("previous", "is of other terms");
        }
        if self.source != old.source || self.source_identity != old.source_identity {
            return wrong("source", "is another one");
        }
        if self.recipient != old.recipient || self.recipient_identity != old.recipient_identity {
            return wrong("recipient", "is another one");
        }
        if self.purpose != old.purpose {
            return wrong("purpose", "is another one");
        }
        if self.log_tag == old.log_tag {
            return wrong("log_tag", "is that of the old terms");
        }
        if self.request != old.request {
            return Ok(Revision::Renewed);
        }
        self.narrows(old)?;
        Ok(Revision::Narrowed)
    }

    /// No more than the old terms, in every respect.
    fn narrows(&self, old: &Self) -> Result<(), TermsError> {
        let wrong = |field, problem| Err(TermsError { field, problem });
        if self.offer != old.offer {
            return wrong("offer", "is another one");
        }
        if self.catalogue_version != old.catalogue_version {
            return wrong("catalogue_version", "is another one");
        }
        if self.language != old.language {
            return wrong("language", "is another one");
        }
        if !self.fields.iter().all(|field| old.fields.contains(field)) {
            return wrong("fields", "are more");
        }
        if self.uses > old.uses {
            return wrong("uses", "are more");
        }
        if !no_faster(self.rate, old.rate) {
            return wrong("rate", "is faster");
        }
        if self.retention > old.retention {
            return wrong("retention_seconds", "are longer");
        }
        if self.expire_time > old.expire_time {
            return wrong("expire_time_ms", "is later");
        }
        Ok(())
    }

    /// Whether these terms, which narrow the old ones, are less than them in anything, of which so many uses were left.
    pub fn is_less_than(&self, old: &Self, left: u32) -> bool {
        self.fields.len() < old.fields.len()
            || self.uses < left
            || self.rate != old.rate
            || self.retention < old.retention
            || self.expire_time < old.expire_time
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use countersign_proto::statement::v1 as wire;

    use super::*;
    use crate::fixtures;

    fn signed(message: &wire::GrantTerms) -> Signed<GrantTerms> {
        fixtures::signed::<GrantTerms>(message)
    }

    fn check(bend: impl Fn(&mut wire::GrantTerms), expected: Result<Revision, &str>) {
        let old = fixtures::terms();
        let mut new = old.clone();
        new.previous = signed(&old).digest().into();
        new.log_tag = Bytes::from_static(&[77; 32]);
        bend(&mut new);
        let found = signed(&new).statement().revises(&signed(&old)).map_err(|error| error.field);
        assert_eq!(found, expected);
    }

    #[test]
    fn less_of_the_same_is_a_narrowing() {
        check(|_| {}, Ok(Revision::Narrowed));
        check(|it| drop(it.fields.pop()), Ok(Revision::Narrowed));
        check(|it| it.uses -= 1, Ok(Revision::Narrowed));
        check(|it| it.expire_time_ms -= 1, Ok(Revision::Narrowed));
        check(|it| it.retention_seconds -= 1, Ok(Revision::Narrowed));
        check(|it| it.rate.as_mut().expect("a rate").window_seconds += 1, Ok(Revision::Narrowed));
    }

    #[test]
    fn more_of_anything_is_none() {
        check(|it| it.previous = Bytes::new(), Err("previous"));
        check(|it| it.previous = Bytes::from_static(&[1; 32]), Err("previous"));
        check(|it| it.source = "partners/other".into(), Err("source"));
        check(|it| it.source_identity = it.recipient_identity.clone(), Err("source"));
        check(|it| it.recipient = "partners/other".into(), Err("recipient"));
        check(|it| it.recipient_identity = it.source_identity.clone(), Err("recipient"));
        check(|it| it.purpose = "other_purpose".into(), Err("purpose"));
        check(|it| it.log_tag = fixtures::terms().log_tag, Err("log_tag"));
        check(|it| it.offer = Bytes::from_static(&[1; 32]), Err("offer"));
        check(|it| it.catalogue_version = Bytes::from_static(&[1; 32]), Err("catalogue_version"));
        check(|it| it.language = "de".into(), Err("language"));
        check(|it| it.fields.push("trip.gate".into()), Err("fields"));
        check(|it| it.uses += 1, Err("uses"));
        check(|it| it.rate = None, Err("rate"));
        check(|it| it.rate.as_mut().expect("a rate").uses += 1, Err("rate"));
        check(|it| it.rate.as_mut().expect("a rate").window_seconds -= 1, Err("rate"));
        check(|it| it.retention_seconds += 1, Err("retention_seconds"));
        check(|it| it.expire_time_ms += 1, Err("expire_time_ms"));
    }

    #[test]
    fn another_request_renews_and_is_held_to_its_own_offer() {
        let renewed = |it: &mut wire::GrantTerms| it.request = Bytes::from_static(&[1; 32]);
        check(renewed, Ok(Revision::Renewed));
        check(
            |it| {
                renewed(it);
                (it.uses, it.offer) = (it.uses + 1, Bytes::from_static(&[2; 32]));
            },
            Ok(Revision::Renewed),
        );
        check(
            |it| {
                renewed(it);
                it.purpose = "other_purpose".into();
            },
            Err("purpose"),
        );
    }
}
