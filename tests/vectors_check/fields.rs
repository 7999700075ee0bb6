//! Rightly signed statements that say what no statement may: one field bent in each.

use bytes::Bytes;
use countersign_grants::statement::{
    AccountClosure, Acknowledgement, ErasureAttestation, Fetch, GrantChange, GrantRequest, GrantTerms,
    LinkAcceptance, LinkInvitation, LocationTap, Offer, PartnerChange, PartnerKey, Preview, PreviewProvision,
    Provision, Statement,
};
use countersign_proto::statement::v1::{self as wire, grant_change::Verb};
use prost::Message as _;

use crate::{
    case::Case,
    envelopes::{input, signed},
    known::{self, STORY},
};

/// One case for each field that has a form.
pub(crate) fn cases() -> Vec<Case> {
    [
        of_keys(),
        of_offers(),
        of_links(),
        of_grants(),
        of_changes(),
        of_transfers(),
        of_previews(),
        of_erasures(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A statement of the story, bent and rightly signed again.
fn bend<S: Statement>(
    told: &str,
    name: &str,
    comment: &'static str,
    expected: &'static str,
    bend: impl FnOnce(&mut S::Message),
) -> Case {
    let mut message = S::Message::decode(STORY.envelope(told).payload.clone()).unwrap();
    bend(&mut message);
    let envelope = signed(S::PAYLOAD_TYPE, message.encode_to_vec());
    Case::bad(name, comment, expected, input(S::PAYLOAD_TYPE, Some(&envelope), &[known::HOPP]))
}

/// 31 bytes, where 32 belong.
fn short() -> Bytes {
    Bytes::from_static(&[1; 31])
}

fn of_keys() -> Vec<Case> {
    vec![
        bend::<PartnerKey>("skylark-key", "key-sequence-0", "Numbers start at 1.", "sequence", |it| {
            it.sequence = 0;
        }),
        bend::<PartnerKey>(
            "skylark-key",
            "key-previous-of-first",
            "The first key has no predecessor.",
            "previous",
            |it| {
                it.previous = Bytes::from_static(&[1; 32]);
            },
        ),
        bend::<PartnerKey>(
            "skylark-next-key",
            "key-without-previous",
            "Every later one has.",
            "previous",
            |it| {
                it.previous = Bytes::new();
            },
        ),
        bend::<PartnerKey>("skylark-key", "key-no-time", "It ends when it begins.", "not_after_ms", |it| {
            it.not_after_ms = it.not_before_ms;
        }),
        bend::<PartnerKey>("skylark-key", "key-weak", "A working key of small order.", "public_key", |it| {
            it.public_key = Bytes::from_static(&[0; 32]);
        }),
    ]
}

fn of_offers() -> Vec<Case> {
    vec![
        bend::<Offer>("offer", "offer-to-itself", "Source and recipient are one.", "source", |it| {
            it.source = it.recipient.clone();
        }),
        bend::<Offer>("offer", "offer-no-fields", "Nothing is required.", "required_fields", |it| {
            it.required_fields.clear();
        }),
        bend::<Offer>("offer", "offer-field-twice", "A field required and optional.", "fields", |it| {
            it.optional_fields.push("trip.flight_no".into());
        }),
        bend::<Offer>("offer", "offer-field-form", "No field's path.", "optional_fields", |it| {
            it.optional_fields.push("Trip".into());
        }),
        bend::<Offer>("offer", "offer-33-fields", "32 fields are allowed.", "optional_fields", |it| {
            it.optional_fields = (0..33).map(|n| format!("trip.field_{n}")).collect();
        }),
        bend::<Offer>("offer", "offer-no-uses", "No use at all.", "uses", |it| {
            it.uses = 0;
        }),
        bend::<Offer>("offer", "offer-empty-rate", "A rate without uses.", "rate", |it| {
            it.rate = Some(wire::Rate { uses: 0, window_seconds: 60 });
        }),
        bend::<Offer>("offer", "offer-no-duration", "It lasts no time.", "duration_seconds", |it| {
            it.duration_seconds = 0;
        }),
        bend::<Offer>("offer", "offer-no-texts", "Nothing that the customer could read.", "texts", |it| {
            it.texts.clear();
        }),
        bend::<Offer>("offer", "offer-language-twice", "Two texts in one language.", "texts", |it| {
            it.texts.push(it.texts[0].clone());
        }),
        bend::<Offer>("offer", "offer-long-text", "281 characters of reason.", "reason", |it| {
            it.texts[0].reason = "x".repeat(281);
        }),
        bend::<Offer>("offer", "offer-control-character", "A line break in a text.", "benefit", |it| {
            it.texts[0].benefit = "a\nb".into();
        }),
        bend::<Offer>("offer", "offer-no-benefit", "No kind of benefit.", "benefit_kind", |it| {
            it.benefit_kind = 0;
        }),
        bend::<Offer>("offer", "offer-unknown-benefit", "A kind that nobody knows.", "benefit_kind", |it| {
            it.benefit_kind = 99;
        }),
        bend::<Offer>("offer", "offer-no-contact", "No telephone number.", "contact_phone", |it| {
            it.contact_phone.clear();
        }),
        bend::<Offer>(
            "offer",
            "offer-no-checkpoint",
            "Every statement of a partner carries one.",
            "checkpoint",
            |it| {
                it.checkpoint = Bytes::new();
            },
        ),
        bend::<Offer>("offer", "offer-long-checkpoint", "2,049 bytes of it.", "checkpoint", |it| {
            it.checkpoint = vec![b'x'; 2_049].into();
        }),
    ]
}

/// An invitation by which the code goes back to an address; with what is wrong with that, if it is.
fn invitation_returning(name: &str, address: &str, wrong: Option<&'static str>) -> Case {
    let good = ("An address that the code goes back to.", "ok");
    let (comment, expected) = wrong.map_or(good, |wrong| (wrong, "return_address"));
    bend::<LinkInvitation>("source-invitation", name, comment, expected, |it| {
        it.return_address = address.to_owned();
    })
}

fn of_links() -> Vec<Case> {
    vec![
        bend::<LinkInvitation>(
            "source-invitation",
            "invitation-of-another",
            "A handle of another partner.",
            "subject",
            |it| {
                it.subject = "partners/hopp/subjects/02020202020202020202020202020202".into();
            },
        ),
        bend::<LinkInvitation>(
            "source-invitation",
            "invitation-long",
            "Ten minutes and a millisecond.",
            "expire_time_ms",
            |it| {
                it.expire_time_ms = it.time_ms + 600_001;
            },
        ),
        bend::<LinkInvitation>(
            "source-invitation",
            "invitation-lapsed-at-birth",
            "No time at all.",
            "expire_time_ms",
            |it| {
                it.expire_time_ms = it.time_ms;
            },
        ),
        bend::<LinkInvitation>(
            "source-invitation",
            "invitation-short-commitment",
            "31 bytes.",
            "label_commitment",
            |it| {
                it.label_commitment = short();
            },
        ),
        invitation_returning("invitation-returns", "https://app.skylark.example:8443/link?step=2", None),
        invitation_returning("invitation-returns-here", "http://localhost:8000/link", None),
        invitation_returning("invitation-returns-http", "http://skylark.example/", Some("Not secure.")),
        invitation_returning(
            "invitation-returns-script",
            "javascript:alert(1)//",
            Some("No address at all."),
        ),
        invitation_returning(
            "invitation-returns-user",
            "https://skylark.example@evil.example/",
            Some("A user's name."),
        ),
        invitation_returning(
            "invitation-returns-slash",
            "https://skylark.example\\@evil.example/",
            Some("Read as two hosts."),
        ),
        invitation_returning(
            "invitation-returns-fragment",
            "https://skylark.example/#x",
            Some("The fragment is the code's."),
        ),
        invitation_returning("invitation-returns-case", "https://Skylark.example/", Some("Upper case.")),
        invitation_returning("invitation-returns-bare", "https://skylark.example", Some("Without a path.")),
        invitation_returning(
            "invitation-returns-port",
            "https://skylark.example:65536/",
            Some("No such port."),
        ),
        invitation_returning(
            "invitation-returns-long",
            &format!("https://skylark.example/{}", "a".repeat(489)),
            Some("513 bytes."),
        ),
        bend::<LinkAcceptance>(
            "source-acceptance",
            "acceptance-weak-key",
            "A link key of small order.",
            "link_key",
            |it| {
                it.link_key = Bytes::from_static(&[0; 32]);
            },
        ),
        bend::<LinkAcceptance>("source-acceptance", "acceptance-short-mac", "31 bytes.", "code_mac", |it| {
            it.code_mac = short();
        }),
        bend::<LinkAcceptance>("source-acceptance", "acceptance-no-time", "No time.", "time_ms", |it| {
            it.time_ms = 0;
        }),
    ]
}

fn of_grants() -> Vec<Case> {
    vec![
        bend::<GrantRequest>("request", "request-no-rows", "Nothing is asked.", "rows", |it| {
            it.rows.clear();
        }),
        bend::<GrantRequest>("request", "request-8-rows", "Seven rows are allowed.", "rows", |it| {
            it.rows = (0..8)
                .map(|n| wire::RequestedRow {
                    offer: vec![n; 32].into(),
                    optional: true,
                    renews: vec![].into(),
                })
                .collect();
        }),
        bend::<GrantRequest>("request", "request-offer-twice", "One offer in two rows.", "rows", |it| {
            it.rows.push(it.rows[0].clone());
        }),
        bend::<GrantRequest>("request", "request-short-renewal", "31 bytes of terms.", "renews", |it| {
            it.rows[0].renews = vec![1; 31].into();
        }),
        bend::<GrantRequest>("request", "request-renews-twice", "One grant in two rows.", "renews", |it| {
            it.rows.push(wire::RequestedRow {
                offer: vec![9; 32].into(),
                optional: false,
                renews: vec![1; 32].into(),
            });
            it.rows[0].renews = vec![1; 32].into();
        }),
        bend::<GrantRequest>("request", "request-short-nonce", "15 bytes.", "nonce", |it| {
            it.nonce = vec![1; 15].into();
        }),
        bend::<GrantRequest>(
            "request",
            "request-long",
            "Seven days and a millisecond.",
            "expire_time_ms",
            |it| {
                it.expire_time_ms = it.time_ms + 7 * 86_400_000 + 1;
            },
        ),
        bend::<GrantRequest>(
            "request",
            "request-of-another",
            "A handle of another partner.",
            "subject",
            |it| {
                it.subject = "partners/skylark/subjects/02020202020202020202020202020202".into();
            },
        ),
        bend::<GrantTerms>("source-terms", "terms-no-fields", "No field.", "fields", |it| {
            it.fields.clear();
        }),
        bend::<GrantTerms>("source-terms", "terms-field-twice", "A field twice.", "fields", |it| {
            it.fields.push(it.fields[0].clone());
        }),
        bend::<GrantTerms>(
            "source-terms",
            "terms-to-itself",
            "Source and recipient are one.",
            "recipient",
            |it| {
                it.recipient = it.source.clone();
            },
        ),
        bend::<GrantTerms>(
            "source-terms",
            "terms-over",
            "They end when they are signed.",
            "expire_time_ms",
            |it| {
                it.expire_time_ms = it.time_ms;
            },
        ),
        bend::<GrantTerms>("source-terms", "terms-short-previous", "31 bytes.", "previous", |it| {
            it.previous = vec![1; 31].into();
        }),
        bend::<GrantTerms>("source-terms", "terms-short-tag", "31 bytes of log tag.", "log_tag", |it| {
            it.log_tag = short();
        }),
        bend::<GrantTerms>("source-terms", "terms-no-language", "In no language.", "language", |it| {
            it.language.clear();
        }),
        bend::<GrantTerms>(
            "source-terms",
            "terms-weak-identity",
            "An identity of small order.",
            "source_identity",
            |it| {
                it.source_identity = Bytes::from_static(&[0; 32]);
            },
        ),
    ]
}

fn of_changes() -> Vec<Case> {
    vec![
        bend::<GrantChange>("pause", "change-sequence-0", "Numbers start at 1.", "sequence", |it| {
            it.sequence = 0;
        }),
        bend::<GrantChange>("pause", "change-no-verb", "Nothing changes.", "verb", |it| {
            it.verb = 0;
        }),
        bend::<GrantChange>("pause", "change-unknown-verb", "A verb that nobody knows.", "verb", |it| {
            it.verb = 9;
        }),
        bend::<GrantChange>(
            "pause",
            "change-erase-with-pause",
            "Erasure goes with STOP alone.",
            "erase",
            |it| {
                it.erase = it.verb() == Verb::Pause;
            },
        ),
        bend::<GrantChange>("narrow", "change-narrow-to-nothing", "It names no terms.", "successor", |it| {
            it.successor = Bytes::new();
        }),
        bend::<GrantChange>(
            "stop",
            "change-stop-with-successor",
            "Nothing follows a stop.",
            "successor",
            |it| {
                it.successor = Bytes::from_static(&[1; 32]);
            },
        ),
        bend::<GrantChange>("pause", "change-no-previous", "It builds on nothing.", "previous", |it| {
            it.previous = Bytes::new();
        }),
    ]
}

fn of_transfers() -> Vec<Case> {
    vec![
        bend::<Fetch>("fetch", "fetch-no-fields", "Nothing is asked.", "fields", |it| {
            it.fields.clear();
        }),
        bend::<Fetch>("fetch", "fetch-capital-id", "A request id in capitals.", "request_id", |it| {
            it.request_id = it.request_id.to_uppercase();
        }),
        bend::<Fetch>("fetch", "fetch-short-key", "A sealing key of 31 bytes.", "sealing_key", |it| {
            it.sealing_key = short();
        }),
        bend::<Fetch>("fetch", "fetch-purpose-form", "No purpose's code.", "purpose", |it| {
            it.purpose = "Pickup".into();
        }),
        bend::<Provision>("provision", "provision-short-digest", "31 bytes.", "sealed", |it| {
            it.sealed = short();
        }),
        bend::<Provision>("provision", "provision-of-nobody", "No partner's name.", "source", |it| {
            it.source = "skylark".into();
        }),
        bend::<Acknowledgement>(
            "acknowledgement",
            "acknowledgement-of-nothing",
            "No digest.",
            "statement",
            |it| {
                it.statement = Bytes::new();
            },
        ),
        bend::<Acknowledgement>(
            "acknowledgement",
            "acknowledgement-no-broker",
            "For no broker.",
            "broker",
            |it| {
                it.broker.clear();
            },
        ),
        bend::<PartnerChange>("suspension", "suspension-no-reason", "Without a reason.", "reason", |it| {
            it.reason = 0;
        }),
        bend::<PartnerChange>(
            "suspension",
            "suspension-made-up-reason",
            "A reason that is none.",
            "reason",
            |it| {
                it.reason = 99;
            },
        ),
        bend::<PartnerChange>("suspension-end", "suspension-end-reason", "With a reason.", "reason", |it| {
            it.reason = 1;
        }),
        bend::<PartnerChange>("revocation", "revocation-no-verb", "Without a verb.", "verb", |it| {
            it.verb = 0;
        }),
        bend::<PartnerChange>("revocation", "revocation-no-number", "Without a number.", "sequence", |it| {
            it.sequence = 0;
        }),
    ]
}

fn of_previews() -> Vec<Case> {
    let compared = "compared-provision";
    vec![
        bend::<Preview>("preview", "preview-no-fields", "It looks at nothing.", "fields", |it| {
            it.fields.clear();
        }),
        bend::<Preview>("preview", "preview-field-twice", "One field twice.", "fields", |it| {
            it.fields.push(it.fields[0].clone());
        }),
        bend::<Preview>(
            "preview",
            "preview-of-a-place",
            "A precise location, which leaves by a tap alone.",
            "fields",
            |it| {
                it.fields.push("pickup.location".into());
            },
        ),
        bend::<Preview>("preview", "preview-no-id", "No request id.", "request_id", |it| {
            it.request_id.clear();
        }),
        bend::<Preview>("preview", "preview-short-key", "A sealing key of 31 bytes.", "sealing_key", |it| {
            it.sealing_key = short();
        }),
        bend::<Preview>("preview", "preview-of-no-link", "31 bytes of acceptance.", "acceptance", |it| {
            it.acceptance = short();
        }),
        bend::<Preview>("preview", "preview-of-no-request", "No request.", "request", |it| {
            it.request = Bytes::new();
        }),
        bend::<Preview>("preview", "preview-of-no-offer", "No offer.", "offer", |it| {
            it.offer = Bytes::new();
        }),
        bend::<Preview>("preview", "preview-no-time", "At no time.", "time_ms", |it| {
            it.time_ms = 0;
        }),
        bend::<PreviewProvision>(
            "preview-provision",
            "preview-provision-of-nothing",
            "Of no preview.",
            "preview",
            |it| {
                it.preview = Bytes::new();
            },
        ),
        bend::<PreviewProvision>(
            "preview-provision",
            "preview-provision-no-checkpoint",
            "Without a head.",
            "checkpoint",
            |it| {
                it.checkpoint = Bytes::new();
            },
        ),
        bend::<Provision>(compared, "marks-of-no-preview", "Marks, and no preview.", "preview", |it| {
            it.preview = Bytes::new();
        }),
        bend::<Provision>(compared, "preview-without-marks", "A preview, and no mark.", "marks", |it| {
            it.marks.clear();
        }),
        bend::<Provision>(compared, "mark-twice", "Two marks of one field.", "marks", |it| {
            it.marks[1].field = it.marks[0].field.clone();
        }),
        bend::<Provision>(compared, "short-mark", "A mark of 31 bytes.", "marks", |it| {
            it.marks[0].mac = short();
        }),
        bend::<LocationTap>("location-tap", "tap-no-fields", "For nothing.", "fields", |it| {
            it.fields.clear();
        }),
        bend::<LocationTap>(
            "location-tap",
            "tap-of-no-place",
            "A field that needs no tap.",
            "fields",
            |it| {
                it.fields.push("trip.airport".into());
            },
        ),
        bend::<LocationTap>("location-tap", "tap-field-twice", "One field twice.", "fields", |it| {
            it.fields.push(it.fields[0].clone());
        }),
        bend::<LocationTap>("location-tap", "tap-of-no-terms", "31 bytes of terms.", "terms", |it| {
            it.terms = short();
        }),
        bend::<LocationTap>("location-tap", "tap-no-id", "No request id.", "request_id", |it| {
            it.request_id.clear();
        }),
        bend::<LocationTap>("location-tap", "tap-no-life", "Over when it begins.", "expire_time_ms", |it| {
            it.expire_time_ms = it.time_ms;
        }),
        bend::<LocationTap>("location-tap", "tap-long-life", "301 seconds.", "expire_time_ms", |it| {
            it.expire_time_ms = it.time_ms + 301_000;
        }),
        bend::<Fetch>("fetch", "fetch-short-tap", "31 bytes of a tap.", "tap", |it| {
            it.tap = short();
        }),
    ]
}

fn of_erasures() -> Vec<Case> {
    let attestation = "erasure-attestation";
    vec![
        bend::<ErasureAttestation>(attestation, "attestation-of-nobody", "No partner's.", "partner", |it| {
            it.partner = "hopp".into();
        }),
        bend::<ErasureAttestation>(attestation, "attestation-no-terms", "Of no grant.", "terms", |it| {
            it.terms = Bytes::new();
        }),
        bend::<ErasureAttestation>(attestation, "attestation-short-change", "31 bytes.", "change", |it| {
            it.change = short();
        }),
        bend::<ErasureAttestation>(
            attestation,
            "attestation-no-checkpoint",
            "Without a checkpoint.",
            "checkpoint",
            |it| {
                it.checkpoint = Bytes::new();
            },
        ),
        bend::<AccountClosure>("account-closure", "closure-of-a-brand", "No customer's.", "customer", |it| {
            it.customer = "partners/hopp".into();
        }),
        bend::<AccountClosure>("account-closure", "closure-no-time", "Without a time.", "time_ms", |it| {
            it.time_ms = 0;
        }),
    ]
}
