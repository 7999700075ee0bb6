//! One record of each kind of the customer's controls and of what follows from them, as a broker writes it.

use bytes::Bytes;
use countersign_grants::{commitment, digest::Digest, lifecycle::ABANDONED};
use countersign_proto::log::v1::{Kind, Record};
use prost::Message as _;
use serde_json::json;

use crate::{
    case::{Case, hex},
    devices,
    known::{self, STORY},
};

/// Numbers between and behind the kinds, which no kind has.
const NO_KINDS: [i32; 5] = [36, 44, 50, 61, 69];

/// Whom a record names in clear.
#[derive(Clone, Copy, PartialEq)]
enum Names {
    /// Source, recipient, purpose, catalogue version and tag: it is about a grant.
    Grant,
    /// Source, purpose and catalogue version.
    Look,
    /// The partner that it is about, as source.
    Partner,
    /// Nobody.
    Nobody,
}

/// What a record of a kind has beside its time and id.
struct Form {
    kind: Kind,
    names: Names,
    reason: &'static str,
    /// Whether a commitment to the customer stands in it.
    of_customer: bool,
    /// The statements that it rests on.
    evidence: Vec<Digest>,
}

fn forms() -> Vec<Form> {
    use Names::{Grant, Look, Nobody, Partner};
    let story = |names: &[&str]| names.iter().map(|name| STORY.digest(name)).collect::<Vec<_>>();
    let of = |kind, names, reason, of_customer, evidence: Vec<Digest>| Form {
        kind,
        names,
        reason,
        of_customer,
        evidence,
    };
    let [added, removed, stolen] = devices::changes_of_each_verb();
    vec![
        of(Kind::GrantSuperseded, Grant, "NARROWED", true, story(&["narrow"])),
        of(Kind::ErasureOrdered, Grant, "", true, story(&["stop"])),
        of(Kind::ErasureAttested, Grant, "", false, story(&["erasure-attestation"])),
        of(Kind::ErasureOverdue, Grant, "", false, Vec::new()),
        of(Kind::CustomerErased, Nobody, "", true, story(&["account-closure"])),
        of(Kind::Previewed, Look, "", true, story(&["request", "offer", "preview", "preview-provision"])),
        of(Kind::LocationTapped, Grant, "", true, story(&["location-tap"])),
        of(Kind::RequestShown, Nobody, "OPENED", true, story(&["request"])),
        of(Kind::AskingChanged, Nobody, "", true, Vec::new()),
        of(Kind::PartnerVetted, Partner, "", false, Vec::new()),
        of(Kind::PartnerApproved, Partner, "", false, Vec::new()),
        of(Kind::PartnerContactSet, Partner, "", false, Vec::new()),
        of(Kind::PartnerSuspendedAutomatically, Partner, "SOURCE_MISBEHAVED", false, Vec::new()),
        of(Kind::GrantExpiring, Grant, "", true, story(&["source-terms"])),
        of(Kind::AuthenticatorAdded, Nobody, "", true, vec![added]),
        of(Kind::AuthenticatorRemoved, Nobody, "", true, vec![removed]),
        of(Kind::CustomerStolen, Nobody, "", true, vec![stolen]),
        of(Kind::LinkReplaced, Partner, "", true, story(&["source-invitation", "source-confirmation"])),
        of(Kind::LinkStolen, Partner, "", true, vec![stolen]),
        of(Kind::ScrubOrdered, Nobody, "", false, Vec::new()),
    ]
}

fn record(form: &Form, n: u8) -> Vec<u8> {
    let (of_grant, looks) = (form.names == Names::Grant, form.names == Names::Look);
    let text = |given: bool, text: &str| if given { text.to_owned() } else { String::new() };
    let bytes = |given: bool, bytes: Bytes| if given { bytes } else { Bytes::new() };
    let salt = |what: u8| [100 + 4 * n + what; 32];
    let fields = known::paths(&known::FIELDS.map(str::to_owned));
    let subject = commitment::subject(&salt(0), &known::customer());
    let (opened, rests) = (commitment::fields(&salt(1), &fields), !form.evidence.is_empty());
    Record {
        version: 1,
        kind: form.kind.into(),
        time_ms: known::NOW_MS + 100 + u64::from(n),
        source: text(form.names != Names::Nobody, "partners/skylark"),
        recipient: text(of_grant, "partners/hopp"),
        purpose: text(of_grant || looks, "pickup_planning"),
        catalogue_version: bytes(of_grant || looks, known::catalogue().version().into()),
        reason: form.reason.to_owned(),
        grant_tag: bytes(of_grant, Bytes::from_static(&known::LOG_TAG)),
        grant_sequence: if of_grant { 5 } else { 0 },
        record_id: Bytes::copy_from_slice(&[100 + n; 16]),
        subject_commitment: bytes(form.of_customer, subject.into()),
        fields_commitment: bytes(looks, opened.into()),
        evidence_commitment: bytes(rests, commitment::evidence(&salt(2), &form.evidence).into()),
        ..Record::default()
    }
    .encode_to_vec()
}

pub(crate) fn cases() -> Vec<Case> {
    let of = |record: &[u8]| json!({ "record": hex(record) });
    let mut cases = Vec::new();
    let mut newest = Vec::new();
    for (form, n) in forms().iter().zip(0_u8..) {
        let name = form.kind.as_str_name().trim_start_matches("KIND_").to_lowercase().replace('_', "-");
        let good = record(form, n);
        let kind = u8::try_from(i32::from(form.kind)).expect("a kind below 128");
        assert_eq!(good[..4], [8, 1, 16, kind], "version 1, and its kind in one byte");
        let long = [&good[..3], &[kind | 0x80, 0], &good[4..]].concat();
        cases.push(Case::good(&name, "As a broker writes it.", of(&good)));
        cases.push(Case::bad(
            &format!("{name}-long"),
            "The number of its kind in two bytes.",
            "canonical",
            of(&long),
        ));
        newest = good;
    }
    let abandoned = Form {
        kind: Kind::CustomerErased,
        names: Names::Nobody,
        reason: ABANDONED,
        of_customer: true,
        evidence: Vec::new(),
    };
    let abandoned = record(&abandoned, u8::try_from(forms().len()).expect("a few"));
    let says = "As a broker writes it of an account that was abandoned: it rests on no statement.";
    cases.push(Case::good("customer-erased-abandoned", says, of(&abandoned)));
    for number in NO_KINDS {
        let mut record = Record::decode(newest.as_slice()).expect("a record");
        record.kind = number;
        let name = format!("kind-{number}");
        cases.push(Case::bad(&name, "Of a kind that nobody knows.", "kind", of(&record.encode_to_vec())));
    }
    cases
}

#[test]
fn each_kind_from_the_customers_controls_on_has_a_record() {
    let told: Vec<i32> = forms().iter().map(|form| form.kind.into()).collect();
    let known = (i32::from(Kind::GrantSuperseded)..128).filter(|number| Kind::try_from(*number).is_ok());
    assert_eq!(told, known.collect::<Vec<_>>());
    assert!(NO_KINDS.iter().all(|number| Kind::try_from(*number).is_err()));
}
