//! The proof that the invariants of what customers, partners and operators end can fail: logs as no broker may write them.

use bytes::Bytes;
use countersign_grants::digest::Digest;
use countersign_proto::log::v1::{Kind, Record, Result as Went};

use crate::checks::Checks;

/// The grant of all of these logs, and its customer.
const TAG: Bytes = Bytes::from_static(b"a tag");
const CUSTOMER: usize = 0;

/// Whether each log breaks the invariant that it is to break, and a sound one none.
pub(crate) fn can_fail() -> bool {
    use Kind::{
        GrantRevoked, GrantRevokedByOperator, GrantSuperseded, GrantSuspended, GrantSuspendedByOperator,
        GrantUnsuspended, GrantUnsuspendedByOperator, LocationTapped, Transfer,
    };
    let mut good = [
        (&[GrantSuspended, Transfer][..], Some("suspension")),
        (&[GrantSuspendedByOperator, Transfer], Some("suspension")),
        (&[GrantSuspended, GrantSuspendedByOperator, GrantUnsuspended, Transfer], Some("suspension")),
        (
            &[GrantSuspended, GrantSuspendedByOperator, GrantUnsuspendedByOperator, Transfer],
            Some("suspension"),
        ),
        (&[GrantSuspended, GrantUnsuspended, LocationTapped, Transfer], None),
        (&[GrantSuperseded, Transfer], Some("stop")),
        (&[GrantRevoked, Transfer], Some("stop")),
        (&[GrantRevokedByOperator, Transfer], Some("stop")),
    ]
    .into_iter()
    .all(|(kinds, broken)| is_found(&written(kinds), broken));
    // Closed before its last record, and with a grant that stands.
    for (kinds, size, broken) in [
        (&[LocationTapped, GrantRevoked][..], 1, Some("closed")),
        (&[Transfer, GrantRevoked], 1, Some("closed")),
        (&[Transfer], 2, Some("closed")),
        (&[Transfer, GrantRevoked], 3, None),
    ] {
        let mut before = written(&[]);
        before.closed(CUSTOMER, size);
        write(&mut before, kinds);
        let mut after = written(kinds);
        after.closed(CUSTOMER, size);
        for mut checks in [before, after] {
            checks.hold_closings();
            good &= is_found(&checks, broken);
        }
    }
    let mut taps = Checks::new();
    taps.served(Digest::of(b"one"), "hopp");
    taps.served(Digest::of(b"another"), "hopp");
    good &= is_found(&taps, None);
    taps.served(Digest::of(b"one"), "hopp");
    good &= is_found(&taps, Some("tap"));
    println!("the checks of what ends {}", if good { "can fail" } else { "DON'T FAIL WHERE THEY MUST" });
    good
}

/// A log with an approval and these records.
fn written(kinds: &[Kind]) -> Checks {
    let mut checks = Checks::new();
    checks.limit(TAG, CUSTOMER, (9, None));
    write(&mut checks, &[Kind::GrantApproved]);
    write(&mut checks, kinds);
    checks
}

fn write(checks: &mut Checks, kinds: &[Kind]) {
    for kind in kinds {
        let mut record = Record { grant_tag: TAG, ..Record::default() };
        record.set_kind(*kind);
        if *kind == Kind::Transfer {
            record.set_result(Went::Released);
            record.use_number = 1;
        }
        checks.read(prost::Message::encode_to_vec(&record).into());
    }
}

fn is_found(checks: &Checks, broken: Option<&str>) -> bool {
    let found = checks.violations().first().map(|violation| violation.invariant);
    if found != broken {
        println!("{found:?} is found for {broken:?}: {:?}", checks.violations());
    }
    found == broken
}
