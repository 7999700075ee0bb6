//! What a receipt must prove and say.

use super::*;
use crate::{
    book::Book,
    fixtures::{FIELDS, Granted, World, paths},
};

struct Case {
    world: World,
    granted: Granted,
    statements: [Digest; 3],
    fields: Vec<FieldPath>,
}

fn case() -> Case {
    let world = World::new();
    let granted = world.grant();
    let statements = [granted.digest(), Digest::of(b"fetch"), Digest::of(b"provision")];
    Case { world, granted, statements, fields: paths(&FIELDS) }
}

impl Case {
    fn monitor(&self) -> Monitor {
        let keeper = std::sync::Arc::new(Book::in_memory());
        let log = std::sync::Arc::clone(&self.world.log);
        let log_key = log.key().verifier().clone();
        Monitor::open(log_key, log, keeper, &self.world.system()).expect("opens")
    }

    fn verify(&self, receipt: Option<&Receipt>) -> Result<ProvenLeaf, Error> {
        let leaf = ProvenLeaf::prove(receipt, &self.monitor())?;
        let now = self.world.now();
        let tag: [u8; 32] = self.granted.terms.log_tag.as_ref().try_into().expect("32 bytes");
        leaf.says(&Saying {
            kinds: &[Kind::Transfer],
            source: &self.world.skylark.name,
            recipient: &self.world.hopp.name,
            purpose: &PurposeCode::parse(&self.granted.terms.purpose).expect("a code"),
            catalogue_version: Digest::of(b"catalogue"),
            log_tag: &tag,
            subject: None,
            fields: Some(&self.fields),
            evidence: Some(&self.statements),
            use_limit: Some(3),
            not_before: now.minus(CLOCK_SKEW),
            not_after: now.plus(CLOCK_SKEW),
        })?;
        Ok(leaf)
    }

    fn receipt(&self, change: impl FnOnce(&mut Record)) -> Receipt {
        self.world.receipt(&self.granted, self.statements, &self.fields, change)
    }
}

fn check(expected: &str, receipt: Option<&Receipt>, case: &Case) {
    match case.verify(receipt) {
        Err(Error::Misbehaved(one)) => assert_eq!(one.check, expected, "{one}"),
        other => panic!("{expected}: {other:?}"),
    }
}

#[test]
fn a_good_receipt_verifies() {
    let case = case();
    let leaf = case.verify(Some(&case.receipt(|_| {}))).expect("verifies");
    assert_eq!((leaf.index(), leaf.record().use_number), (1, 1));
    let repeated = case.receipt(|record| record.set_result(Outcome::Repeated));
    case.verify(Some(&repeated)).expect("a repeat is a release");
}

#[test]
fn a_leaf_that_says_something_else_is_refused_by_name() {
    let case = case();
    let says =
        |expected: &str, change: &dyn Fn(&mut Record)| check(expected, Some(&case.receipt(change)), &case);
    says("version", &|record| record.version = 2);
    says("kind", &|record| record.set_kind(Kind::TransferRefused));
    says("source", &|record| record.source = "partners/chirp".into());
    says("recipient", &|record| record.recipient = "partners/chirp".into());
    says("purpose", &|record| record.purpose = "other".into());
    says("catalogue_version", &|record| record.catalogue_version = vec![1; 32].into());
    says("grant_tag", &|record| record.grant_tag = vec![1; 32].into());
    says("time", &|record| record.time_ms += 31_000);
    says("time", &|record| record.time_ms -= 31_000);
    says("result", &|record| record.set_result(Outcome::Refused));
    says("use_number", &|record| record.use_number = 0);
    says("use_number", &|record| record.use_number = 4);
    says("fields", &|record| record.fields_commitment = vec![1; 32].into());
    says("evidence", &|record| record.evidence_commitment = vec![1; 32].into());
}

#[test]
fn a_receipt_that_proves_nothing_is_refused_by_name() {
    let case = case();
    let bent = |expected: &str, bend: &dyn Fn(&mut Receipt)| {
        let mut receipt = case.receipt(|_| {});
        bend(&mut receipt);
        check(expected, Some(&receipt), &case);
    };
    check("present", None, &case);
    bent("signature", &|receipt| receipt.checkpoint = "not a note".into());
    bent("path", &|receipt| receipt.path[0] = vec![1; 31].into());
    bent("inclusion", &|receipt| receipt.path[0] = vec![1; 32].into());
    bent("inclusion", &|receipt| drop(receipt.path.pop()));
    bent("inclusion", &|receipt| receipt.path = vec![vec![1; 32].into(); 1000]);
    bent("inclusion", &|receipt| receipt.index += 1);
    bent("inclusion", &|receipt| receipt.record = b"another".to_vec().into());
    bent("fields", &|receipt| receipt.fields_salt = vec![1; 32].into());
    bent("fields", &|receipt| receipt.fields_salt = vec![].into());
    bent("evidence", &|receipt| receipt.evidence_salt = vec![1; 32].into());
}
