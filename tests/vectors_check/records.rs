//! Commitments, records, receipts.

use countersign_client::{
    Error,
    auditor::NotARecord,
    doors,
    receipt::{ProvenLeaf, Saying},
};
use countersign_grants::{
    catalogue::PurposeCode,
    commitment,
    digest::Digest,
    id::{CustomerName, PartnerName},
    time::Timestamp,
};
use countersign_proto::{
    log::v1::{Kind, Record, Result as Result_},
    v1::Receipt,
};
use countersign_tlog::{SignedCheckpoint, VerifierKey, hash::leaf_hash};
use prost::Message as _;
use serde_json::{Value, json};

use crate::{
    File,
    case::{Case, Outcome, array, bytes, count, hex, list, read_hex, text, texts},
    known::{self, STORY},
    message::message,
};

pub(crate) const COMMITMENTS: File = File {
    name: "commitments.json",
    about: "SHA-256(label ‖ 00 ‖ salt ‖ bytes), with the labels `countersign/v1 subject`, `countersign/v1 fields` and \
        `countersign/v1 evidence`; the bytes are the customer's name, the field list (each path after its length in two \
        bytes, big-endian), and the statements' digests one after the other. `commitment`: it does not open.",
    make: commitments,
    run: run_commitment,
};

pub(crate) const RECORDS: File = File {
    name: "records.json",
    about: "Leaves of the log. The reasons: `truncated`, `canonical`, `unknown_field`, `version`, `kind`, `result`, `text`, \
        `length`.",
    make: records,
    run: run_record,
};

pub(crate) const RECEIPTS: File = File {
    name: "receipts.json",
    about: "A receipt, the log's key, and what the record must say. The reasons, in the order of the checks: `signature` of \
        the checkpoint, `path`, `inclusion`, `version`, `kind`, `source`, `recipient`, `purpose`, `catalogue_version`, \
        `grant_tag`, `time`, `result`, `use_number`, `fields`, `evidence`, `subject`.",
    make: receipts,
    run: run_receipt,
};

fn run_commitment(input: &Value) -> Outcome {
    let salt = array::<32>(input, "salt");
    let made = match text(input, "kind") {
        "subject" => commitment::subject(&salt, &CustomerName::parse(text(input, "customer")).unwrap()),
        "fields" => commitment::fields(&salt, &known::paths(&texts(input, "fields"))),
        "evidence" => commitment::evidence(&salt, &digests(input, "evidence")),
        other => panic!("`{other}` is no kind"),
    };
    if made == Digest::from(array::<32>(input, "commitment")) {
        Ok(Value::Null)
    } else {
        Err("commitment".to_owned())
    }
}

fn digests(input: &Value, key: &str) -> Vec<Digest> {
    list(input, key).iter().map(|digest| Digest::from_slice(&read_hex(digest)).unwrap()).collect()
}

fn commitments() -> Vec<Case> {
    const SALT: [u8; 32] = [90; 32];
    let fields = known::paths(&known::FIELDS.map(str::to_owned));
    let evidence = ["source-terms", "fetch", "provision"].map(|name| STORY.digest(name));
    let subject = |customer: &str| {
        let commitment = commitment::subject(&SALT, &known::customer());
        json!({ "kind": "subject", "salt": hex(SALT), "customer": customer, "commitment": commitment.to_hex() })
    };
    let of_fields = |named: &[&str]| {
        let commitment = commitment::fields(&SALT, &fields);
        json!({ "kind": "fields", "salt": hex(SALT), "fields": named, "commitment": commitment.to_hex() })
    };
    let of_evidence = |named: &[Digest], salt: [u8; 32]| {
        let commitment = commitment::evidence(&SALT, &evidence);
        let named: Vec<String> = named.iter().map(|digest| digest.to_hex()).collect();
        json!({ "kind": "evidence", "salt": hex(salt), "evidence": named, "commitment": commitment.to_hex() })
    };
    let [one, two, three] = evidence;
    let bad = |name: &str, comment, input| Case::bad(name, comment, "commitment", input);
    vec![
        Case::good("subject", "The customer.", subject(known::customer().as_str())),
        Case::good("fields", "Two fields.", of_fields(&known::FIELDS)),
        Case::good("evidence", "Terms, fetch, provision.", of_evidence(&evidence, SALT)),
        bad("another-customer", "Another customer.", {
            subject(&format!("customers/{}", known::key(known::HOPP).id()))
        }),
        bad(
            "fields-other-order",
            "The fields in another order.",
            of_fields(&[known::FIELDS[1], known::FIELDS[0]]),
        ),
        bad("fields-fewer", "One of two.", of_fields(&known::FIELDS[..1])),
        bad("fields-none", "None.", of_fields(&[])),
        bad("evidence-other-order", "In another order.", of_evidence(&[two, one, three], SALT)),
        bad("evidence-fewer", "Without the provision.", of_evidence(&[one, two], SALT)),
        bad("another-salt", "Another salt.", of_evidence(&evidence, [91; 32])),
    ]
}

fn run_record(input: &Value) -> Outcome {
    let record = bytes(input, "record");
    doors::read_record(&record).map_err(|refused| {
        match refused {
            NotARecord::Truncated => "truncated",
            NotARecord::NotCanonical => "canonical",
            NotARecord::UnknownField => "unknown_field",
            NotARecord::Version => "version",
            NotARecord::Kind => "kind",
            NotARecord::Outcome => "result",
            NotARecord::NotText => "text",
            NotARecord::Length(_) => "length",
        }
        .to_owned()
    })?;
    Ok(json!({
        "leaf_hash": hex(leaf_hash(&record).as_bytes()),
        "message": message(".countersign.log.v1.Record", &record),
    }))
}

fn records() -> Vec<Case> {
    let of = |record: &[u8]| json!({ "record": hex(record) });
    let good = &STORY.log.records[4];
    let bent = |bend: &dyn Fn(&mut Record)| {
        let mut record = Record::decode(good.as_slice()).unwrap();
        bend(&mut record);
        of(&record.encode_to_vec())
    };
    let mut cases: Vec<Case> = STORY
        .log
        .records
        .iter()
        .zip(0..)
        .map(|(record, n)| Case::good(&format!("story-{n}"), "A record of the story.", of(record)))
        .collect();
    assert_eq!(good[..4], [8, 1, 16, 24], "version 1, TRANSFER");
    let first_text = good.windows(2).position(|pair| pair == [0x22, 16]).unwrap() + 2;
    let mut not_text = good.clone();
    not_text[first_text] = 0xff;
    cases.extend([
        Case::bad("empty", "No bytes: version 0.", "version", of(&[])),
        Case::bad("truncated", "Without its last byte.", "truncated", of(&good[..good.len() - 1])),
        Case::bad(
            "unknown-field",
            "Field 31.",
            "unknown_field",
            of(&[good.as_slice(), &[0xf8, 1, 1]].concat()),
        ),
        Case::bad(
            "field-twice",
            "The version again at the end.",
            "canonical",
            of(&[good, &good[..2]].concat()),
        ),
        Case::bad("other-order", "Kind before version.", "canonical", {
            of(&[&good[2..4], &good[..2], &good[4..]].concat())
        }),
        Case::bad(
            "long-number",
            "The version in two bytes.",
            "canonical",
            of(&[&[8, 0x81, 0], &good[2..]].concat()),
        ),
        Case::bad("long-key", "The version's key in two bytes.", "canonical", {
            of(&[&[0x88, 0, 1], &good[2..]].concat())
        }),
        Case::bad("not-text", "A source that is not UTF-8.", "text", of(&not_text)),
        Case::bad("version-2", "Of another version.", "version", bent(&|it| it.version = 2)),
        Case::bad("kind-0", "Of no kind.", "kind", bent(&|it| it.kind = 0)),
        Case::bad("kind-99", "Of a kind that nobody knows.", "kind", bent(&|it| it.kind = 99)),
        Case::bad("kind-negative", "Of a negative one.", "kind", bent(&|it| it.kind = -1)),
        Case::bad("result-99", "A result that nobody knows.", "result", bent(&|it| it.result = 99)),
        Case::bad("short-tag", "A tag of 31 bytes.", "length", bent(&|it| it.grant_tag = vec![1; 31].into())),
        Case::bad("no-id", "No record id.", "length", bent(&|it| it.record_id.clear())),
        Case::bad("short-commitment", "A commitment of 16 bytes.", "length", {
            bent(&|it| it.evidence_commitment = vec![1; 16].into())
        }),
        Case::bad("short-catalogue", "A catalogue version of 8 bytes.", "length", {
            bent(&|it| it.catalogue_version = vec![1; 8].into())
        }),
    ]);
    cases.extend(crate::kinds::cases());
    cases
}

fn run_receipt(input: &Value) -> Outcome {
    let log = VerifierKey::parse(text(input, "log_key")).unwrap();
    let checkpoint = SignedCheckpoint::verify(text(input, "checkpoint").to_owned(), &log);
    let checkpoint = checkpoint.map_err(|_| "signature".to_owned())?;
    let receipt = Receipt {
        record: bytes(input, "record"),
        index: count(input, "index"),
        path: list(input, "path").iter().map(read_hex).collect(),
        checkpoint: checkpoint.as_bytes().clone(),
        fields_salt: bytes(input, "fields_salt"),
        evidence_salt: bytes(input, "evidence_salt"),
        subject_salt: bytes(input, "subject_salt"),
    };
    let check = |error: Error| match error {
        Error::Misbehaved(misbehaved) => misbehaved.check.to_owned(),
        other => panic!("{other}"),
    };
    let leaf = ProvenLeaf::under(&receipt, checkpoint).map_err(check)?;
    let says = &input["says"];
    let partner = |key: &str| PartnerName::parse(text(says, key)).unwrap();
    let kinds: Vec<Kind> =
        texts(says, "kinds").iter().map(|kind| Kind::from_str_name(kind).unwrap()).collect();
    // Of a record that names no fields, or whose customer is not the reader's to know, that is not looked at.
    let given = |key: &str| says.get(key).filter(|value| !value.is_null());
    let customer = given("customer").map(|_| CustomerName::parse(text(says, "customer")).unwrap());
    let fields = given("fields").map(|_| known::paths(&texts(says, "fields")));
    let saying = Saying {
        kinds: &kinds,
        source: &partner("source"),
        recipient: &partner("recipient"),
        purpose: &PurposeCode::parse(text(says, "purpose")).unwrap(),
        catalogue_version: Digest::from(array::<32>(says, "catalogue_version")),
        log_tag: &array(says, "grant_tag"),
        subject: customer.as_ref(),
        fields: fields.as_deref(),
        evidence: Some(&digests(says, "evidence")),
        use_limit: given("use_limit").map(|_| u32::try_from(count(says, "use_limit")).unwrap()),
        not_before: Timestamp::from_millis(count(says, "not_before_ms")),
        not_after: Timestamp::from_millis(count(says, "not_after_ms")),
    };
    leaf.says(&saying).map_err(check)?;
    Ok(json!({ "index": leaf.index(), "leaf_hash": hex(leaf_hash(leaf.leaf()).as_bytes()) }))
}

#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn receipts() -> Vec<Case> {
    const INDEX: usize = 4;
    let log = &STORY.log;
    let size = log.records.len();
    let salt = |what: u8| hex([100 + 10 * INDEX as u8 + what; 32]);
    let hashes = |index: u64| {
        let path = log.tree(size).inclusion(index).unwrap();
        Value::Array(path.iter().map(|hash| hex(hash.as_bytes())).collect())
    };
    let checkpoint = String::from_utf8(log.checkpoint(size).as_bytes().to_vec()).unwrap();
    let evidence = ["source-terms", "fetch", "provision"].map(|name| STORY.digest(name).to_hex());
    let good = json!({
        "log_key": log.key.verifier().to_string(),
        "record": hex(&log.records[INDEX]),
        "index": INDEX,
        "path": hashes(INDEX as u64),
        "checkpoint": checkpoint,
        "subject_salt": salt(0), "fields_salt": salt(1), "evidence_salt": salt(2),
        "says": {
            "kinds": ["KIND_TRANSFER"],
            "source": "partners/skylark",
            "recipient": "partners/hopp",
            "purpose": "pickup_planning",
            "catalogue_version": known::catalogue().version().to_hex(),
            "grant_tag": hex(known::LOG_TAG),
            "customer": known::customer().as_str(),
            "fields": known::FIELDS,
            "evidence": evidence,
            "use_limit": 12,
            "not_before_ms": known::NOW_MS - 30_000,
            "not_after_ms": known::NOW_MS + 120_000 + 30_000,
        },
    });
    let with = |key: &str, value: Value| {
        let mut input = good.clone();
        input[key] = value;
        input
    };
    let saying = |key: &str, value: Value| {
        let mut input = good.clone();
        input["says"][key] = value;
        input
    };
    // A log of one record, which says something else.
    let other_record = |bend: &dyn Fn(&mut Record)| {
        let mut record = Record::decode(log.records[INDEX].as_slice()).unwrap();
        bend(&mut record);
        let record = record.encode_to_vec();
        let head = SignedCheckpoint::sign(&log.key, 1, leaf_hash(&record)).unwrap();
        let mut input = with("record", hex(record));
        input["index"] = json!(0);
        input["path"] = json!([]);
        input["checkpoint"] = json!(std::str::from_utf8(head.as_bytes()).unwrap());
        input
    };
    // The same of the order to delete, as its recipient checks it when the customer is erased.
    let ordered = |evidence: &str, bend: &dyn Fn(&mut Record)| {
        let mut input = other_record(&|it| {
            it.set_kind(Kind::ErasureOrdered);
            it.set_result(Result_::Unspecified);
            (it.use_number, it.fields_commitment) = (0, vec![].into());
            let stop = [STORY.digest("stop")];
            it.evidence_commitment = commitment::evidence(&[100 + 10 * INDEX as u8 + 2; 32], &stop).into();
            bend(it);
        });
        let says = &mut input["says"];
        says["kinds"] = json!(["KIND_ERASURE_ORDERED"]);
        says["evidence"] = json!([STORY.digest(evidence).to_hex()]);
        for unknown in ["customer", "fields", "use_limit"] {
            says[unknown] = Value::Null;
        }
        input
    };
    let mut short = hashes(INDEX as u64);
    short.as_array_mut().unwrap().pop();
    vec![
        Case::good("good", "The story's first transfer.", good.clone()),
        Case::bad("another-log", "A checkpoint that another key signed.", "signature", {
            let other = known::key(99);
            let name = countersign_tlog::KeyName::parse(known::ORIGIN).unwrap();
            let key = VerifierKey::new(name, other.public().as_bytes()).unwrap();
            with("log_key", json!(key.to_string()))
        }),
        Case::bad("bent-root", "A root that was not signed.", "signature", {
            with("checkpoint", json!(checkpoint.replace("\n7\n", "\n6\n")))
        }),
        Case::bad("short-hash", "A hash of 31 bytes.", "path", with("path", json!([hex([1; 31])]))),
        Case::bad("short-path", "A path without its last hash.", "inclusion", with("path", short)),
        Case::bad("another-leaf", "The proof of another record.", "inclusion", {
            let mut input = with("index", json!(5));
            input["path"] = hashes(5);
            input
        }),
        Case::bad("another-record", "A record that is not in the log.", "inclusion", {
            let mut record = log.records[INDEX].clone();
            *record.last_mut().unwrap() ^= 1;
            with("record", hex(record))
        }),
        Case::bad(
            "another-index",
            "Right record and path, another index.",
            "inclusion",
            with("index", json!(6)),
        ),
        Case::bad("version-2", "A record of another version.", "version", other_record(&|it| it.version = 2)),
        Case::bad("refused", "The leaf says that it was refused.", "kind", {
            other_record(&|it| it.kind = Kind::TransferRefused.into())
        }),
        Case::bad(
            "another-source",
            "From another source.",
            "source",
            saying("source", json!("partners/chirp")),
        ),
        Case::bad(
            "another-recipient",
            "To another.",
            "recipient",
            saying("recipient", json!("partners/chirp")),
        ),
        Case::bad(
            "another-purpose",
            "For another purpose.",
            "purpose",
            saying("purpose", json!("trip_updates")),
        ),
        Case::bad("another-catalogue", "Under another catalogue.", "catalogue_version", {
            saying("catalogue_version", hex([1; 32]))
        }),
        Case::bad("another-tag", "Of another grant.", "grant_tag", saying("grant_tag", hex([61; 32]))),
        Case::bad(
            "too-early",
            "Before the fetch was signed.",
            "time",
            saying("not_before_ms", json!(known::NOW_MS + 5)),
        ),
        Case::bad("too-late", "After it was over.", "time", saying("not_after_ms", json!(known::NOW_MS + 3))),
        Case::bad("no-result", "A transfer that does not say how it went.", "result", {
            other_record(&|it| it.result = Result_::Unspecified.into())
        }),
        Case::bad("use-0", "A use without a number.", "use_number", other_record(&|it| it.use_number = 0)),
        Case::bad(
            "use-13",
            "More uses than the terms allow.",
            "use_number",
            other_record(&|it| it.use_number = 13),
        ),
        Case::bad(
            "other-fields",
            "Other fields than were asked for.",
            "fields",
            saying("fields", json!(["trip.eta"])),
        ),
        Case::bad("fields-salt", "Another salt.", "fields", with("fields_salt", hex([0; 32]))),
        Case::bad("short-salt", "A salt of 31 bytes.", "fields", with("fields_salt", hex([0; 31]))),
        Case::bad("other-evidence", "It rests on another provision.", "evidence", {
            let evidence = ["source-terms", "fetch", "pause"].map(|name| STORY.digest(name).to_hex());
            saying("evidence", json!(evidence))
        }),
        Case::bad("another-customer", "Of another customer.", "subject", {
            saying("customer", json!(format!("customers/{}", known::key(known::HOPP).id())))
        }),
        Case::good("order-to-delete", "An order whose customer is erased, to its recipient.", {
            ordered("stop", &|_| ())
        }),
        Case::bad("another-order", "It commits to another change than is shown.", "evidence", {
            ordered("pause", &|_| ())
        }),
        Case::bad("order-of-another-grant", "It is of another grant.", "grant_tag", {
            ordered("stop", &|it| it.grant_tag = vec![61; 32].into())
        }),
        Case::bad("no-order", "A stop that orders nothing.", "kind", {
            ordered("stop", &|it| it.set_kind(Kind::GrantWithdrawn))
        }),
    ]
}
