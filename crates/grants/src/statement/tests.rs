//! What statements must be, and what they must be to each other.

use bytes::Bytes;
use countersign_proto::statement::v1 as wire;
use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::{
    catalogue::Catalogue,
    digest::Digest,
    envelope::{self, StatementError},
    fixtures::{NOW_MS, fetch, key, offer, origin, signed, terms},
    id::Origin,
    time::Timestamp,
};

/// The check that refuses, and what spoils a message for it.
type Spoilt<M> = (&'static str, fn(&mut M));

/// The check that refuses this message, signed as it stands.
fn check<S: Statement + std::fmt::Debug>(message: &S::Message) -> &'static str {
    let signer = key(1);
    let envelope = envelope::sign::<S>(message, &[&signer]);
    match envelope::verify::<S>(Some(&envelope), &[signer.public()], &origin()) {
        Ok(_) => "good",
        Err(error) => error.check(),
    }
}

#[test]
fn an_offer_says_why_what_for_and_whom_to_call() {
    assert_eq!(check::<Offer>(&offer()), "good");
    let spoilt: [Spoilt<wire::Offer>; 22] = [
        ("purpose", |offer| offer.purpose.clear()),
        ("reason", |offer| offer.texts[0].reason = "  ".into()),
        ("benefit", |offer| offer.texts[0].benefit.clear()),
        ("ends", |offer| offer.texts[0].ends.clear()),
        ("texts", |offer| offer.texts.clear()),
        ("texts", |offer| offer.texts.push(offer.texts[0].clone())),
        ("reason", |offer| offer.texts[0].reason = "word ".repeat(57)),
        ("contact_phone", |offer| offer.contact_phone.clear()),
        ("law", |offer| offer.law.clear()),
        ("controller", |offer| offer.controller.clear()),
        ("complaint_body", |offer| offer.complaint_body.clear()),
        ("benefit_kind", |offer| offer.benefit_kind = 0),
        ("required_fields", |offer| offer.required_fields.clear()),
        ("fields", |offer| offer.optional_fields.push("trip.airport".into())),
        ("uses", |offer| offer.uses = 0),
        ("rate", |offer| offer.rate = Some(wire::Rate { uses: 0, window_seconds: 1 })),
        ("duration_seconds", |offer| offer.duration_seconds = 0),
        ("duration_seconds", |offer| offer.duration_seconds = u64::MAX),
        ("source", |offer| offer.source = offer.recipient.clone()),
        ("recipient_identity", |offer| offer.recipient_identity = Bytes::from_static(&[0; 32])),
        ("checkpoint", |offer| offer.checkpoint = Bytes::new()),
        ("law", |offer| offer.law = "two\nlines".into()),
    ];
    for (expected, spoil) in spoilt {
        let mut offer = offer();
        spoil(&mut offer);
        assert_eq!(check::<Offer>(&offer), expected);
    }
}

#[test]
fn what_an_offer_says_and_asks_is_bounded() {
    /// So many words of one letter.
    fn letters(count: usize) -> String {
        vec!["a"; count].join(" ")
    }
    let bounds: [Spoilt<wire::Offer>; 14] = [
        // 150 words in one language, over all of its texts.
        ("good", |offer| (offer.texts[0].reason, offer.texts[0].benefit) = (letters(100), letters(46))),
        ("texts", |offer| (offer.texts[0].reason, offer.texts[0].benefit) = (letters(100), letters(47))),
        ("good", |offer| offer.texts[0].reason = "é".repeat(280)),
        ("reason", |offer| offer.texts[0].reason = "é".repeat(281)),
        ("good", |offer| offer.law = "x".repeat(120)),
        ("law", |offer| offer.law = "x".repeat(121)),
        ("good", |offer| offer.texts = in_languages(8)),
        ("texts", |offer| offer.texts = in_languages(9)),
        ("good", |offer| offer.optional_fields = many_fields(32)),
        ("optional_fields", |offer| offer.optional_fields = many_fields(33)),
        ("good", |offer| offer.duration_seconds = 3_162_240_000),
        ("duration_seconds", |offer| offer.duration_seconds = 3_162_240_001),
        ("good", |offer| offer.checkpoint = vec![1; 2048].into()),
        ("checkpoint", |offer| offer.checkpoint = vec![1; 2049].into()),
    ];
    for (expected, bend) in bounds {
        let mut offer = offer();
        bend(&mut offer);
        assert_eq!(check::<Offer>(&offer), expected, "{offer:?}");
    }
}

#[test]
fn a_period_is_told_whether_it_is_nothing_or_endless() {
    for (seconds, problem) in [(0, "must be at least 1 second"), (u64::MAX, "is over 3162240000 seconds")] {
        let refused = offer::seconds("duration_seconds", seconds).expect_err("refused");
        assert_eq!(refused.problem, problem);
    }
}

fn in_languages(count: usize) -> Vec<wire::OfferText> {
    (0..count).map(|at| wire::OfferText { language: format!("x-{at}"), ..offer().texts[0].clone() }).collect()
}

fn many_fields(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("stay.field_{at}")).collect()
}

#[test]
fn an_offer_is_told_in_the_language_asked_for_or_in_its_first() {
    let offer = signed::<Offer>(&wire::Offer { texts: in_languages(2), ..offer() });
    for (language, told, found) in [("x-0", "x-0", true), ("x-1", "x-1", true), ("en", "x-0", false)] {
        let (text, exact) = offer.statement().text(language);
        assert_eq!((text.language.as_str(), exact), (told, found), "{language}");
    }
}

#[test]
fn words_are_counted_as_people_read_them() {
    for (text, count) in
        [("", 0), ("one", 1), (" two  words ", 2), ("安排接机", 2), ("お迎えの手配", 3), ("B6 35 到达", 3)]
    {
        assert_eq!(words(text), count, "{text}");
    }
}

#[test]
fn an_offer_stays_within_the_catalogue() {
    let catalogue = Catalogue::shipped();
    let within = |offer: &wire::Offer| {
        signed::<Offer>(offer).statement().within(&catalogue).map_err(|error| error.field)
    };
    assert_eq!(within(&offer()), Ok(()));
    let spoilt: [Spoilt<wire::Offer>; 7] = [
        ("purpose", |offer| offer.purpose = "advertising".into()),
        ("fields", |offer| offer.required_fields.push("trip.fare".into())),
        ("fields", |offer| offer.required_fields.push("ride.eta".into())),
        ("uses", |offer| offer.uses = 25),
        ("duration_seconds", |offer| offer.duration_seconds = 31 * 24 * 3600),
        ("retention_seconds", |offer| offer.retention_seconds = 86_401),
        ("catalogue_version", |offer| offer.catalogue_version = Bytes::from_static(&[7; 32])),
    ];
    for (expected, spoil) in spoilt {
        let mut offer = offer();
        spoil(&mut offer);
        assert_eq!(within(&offer), Err(expected));
    }
}

#[test]
fn what_was_observed_is_never_required() {
    let catalogue = Catalogue::shipped();
    let help = |required: &[&str], optional: &[&str]| {
        let names = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
        let offer = wire::Offer {
            purpose: "missed_flight_help".into(),
            required_fields: names(required),
            optional_fields: names(optional),
            ..offer()
        };
        signed::<Offer>(&offer).statement().within(&catalogue)
    };
    assert_eq!(help(&["ride.status"], &["ride.dropoff_eta"]), Ok(()), "it can be switched on");
    assert_eq!(help(&["ride.status"], &[]), Ok(()), "what was provided can be required");
    for required in [&["ride.dropoff_eta"][..], &["ride.status", "ride.dropoff_eta"]] {
        let refused = help(required, &[]).expect_err("it would start switched on");
        assert_eq!(refused.field, "required_fields");
        assert!(refused.to_string().contains("`ride.dropoff_eta` is observed"), "{refused}");
    }
}

#[test]
fn terms_lie_within_their_offer() {
    let offer = signed::<Offer>(&offer());
    let within = |terms: &wire::GrantTerms| {
        signed::<GrantTerms>(terms).statement().within(&offer).map_err(|error| error.field)
    };
    assert_eq!(within(&terms()), Ok(()));
    let mut chosen = terms();
    chosen.fields.push("trip.eta".into());
    assert_eq!(within(&chosen), Ok(()));
    let (one, other) = (signed::<GrantTerms>(&terms()), signed::<GrantTerms>(&chosen));
    assert!(one.same_terms(one.envelope()) && !one.same_terms(other.envelope()));
    let spoilt: [Spoilt<wire::GrantTerms>; 14] = [
        ("offer", |terms| terms.offer = Bytes::from_static(&[9; 32])),
        ("source", |terms| terms.source = "partners/chirp".into()),
        ("recipient", |terms| terms.recipient = "partners/chirp".into()),
        ("recipient", |terms| terms.recipient_identity = terms.source_identity.clone()),
        ("purpose", |terms| terms.purpose = "ride_updates".into()),
        ("catalogue_version", |terms| terms.catalogue_version = Bytes::from_static(&[9; 32])),
        ("fields", |terms| drop(terms.fields.pop())),
        ("fields", |terms| terms.fields.reverse()),
        ("fields", |terms| terms.fields.push("trip.gate".into())),
        ("uses", |terms| terms.uses = 13),
        ("rate", |terms| terms.rate = None),
        ("rate", |terms| terms.rate = Some(wire::Rate { uses: 3, window_seconds: 59 })),
        ("retention_seconds", |terms| terms.retention_seconds += 1),
        ("expire_time_ms", |terms| terms.expire_time_ms += 1),
    ];
    for (expected, spoil) in spoilt {
        let mut terms = terms();
        spoil(&mut terms);
        assert_eq!(within(&terms), Err(expected));
    }
}

#[test]
fn a_fetch_names_fields_once_and_a_request_id_of_its_form() {
    assert_eq!(check::<Fetch>(&fetch()), "good");
    let spoilt: [Spoilt<wire::Fetch>; 11] = [
        ("fields", |fetch| fetch.fields.clear()),
        ("fields", |fetch| fetch.fields.push("trip.airport".into())),
        ("good", |fetch| fetch.request_id = "89abcdef-0123-4567-89ab-cdef01234567".into()),
        ("request_id", |fetch| fetch.request_id = "89ABCDEF-0123-4567-89AB-CDEF01234567".into()),
        ("request_id", |fetch| fetch.request_id = "89abcdeg-0123-4567-89ab-cdef01234567".into()),
        ("request_id", |fetch| fetch.request_id = "89abcdef00123-4567-89ab-cdef01234567".into()),
        ("request_id", |fetch| fetch.request_id = "89abcde--0123-4567-89ab-cdef01234567".into()),
        ("request_id", |fetch| fetch.request_id = "89abcdef-0123-4567-89ab-cdef0123456".into()),
        ("request_id", |fetch| fetch.request_id = "89abcdef-0123-4567-89ab-cdef012345670".into()),
        ("sealing_key", |fetch| fetch.sealing_key = Bytes::from_static(&[5; 31])),
        ("time_ms", |fetch| fetch.time_ms = 0),
    ];
    for (expected, spoil) in spoilt {
        let mut fetch = fetch();
        spoil(&mut fetch);
        assert_eq!(check::<Fetch>(&fetch), expected, "{fetch:?}");
    }
}

#[test]
fn exactly_the_asked_fields_come_in_their_order() {
    let fetch = signed::<Fetch>(&wire::Fetch {
        fields: vec!["trip.airport".into(), "trip.flight_no".into()],
        ..fetch()
    });
    let answered = |paths: &[&str], expected: Result<(), &str>| {
        let field = |path: &&str| wire::SealedField { field: (*path).into(), ..Default::default() };
        let sealed = wire::SealedFields { fields: paths.iter().map(field).collect(), ..Default::default() };
        let found = check_asked(fetch.statement(), &sealed).map_err(|error| error.field);
        assert_eq!(found, expected, "{paths:?}");
    };
    answered(&["trip.airport", "trip.flight_no"], Ok(()));
    answered(&["trip.flight_no", "trip.airport"], Err("sealed_fields"));
    answered(&["trip.airport"], Err("sealed_fields"));
    answered(&["trip.airport", "trip.flight_no", "trip.gate"], Err("sealed_fields"));
    answered(&[], Err("sealed_fields"));
}

#[test]
fn a_party_commitment_opens_to_its_own_link() {
    let (salt, acceptance) = ([1; 32], Digest::of(b"acceptance"));
    let commitment = party_commitment(&salt, acceptance);
    assert!(open_party_commitment(commitment, &salt, acceptance));
    assert!(!open_party_commitment(commitment, &[2; 32], acceptance));
    assert!(!open_party_commitment(commitment, &salt, Digest::of(b"another")));
    assert!(!open_party_commitment(party_commitment(&[1; 31], acceptance), &[1; 31], acceptance));
}

#[test]
fn a_code_opens_its_own_acceptance() {
    let (secret, invitation, link_key) = ([1; 32], Digest::of(b"invitation"), key(3));
    let acceptance = signed::<LinkAcceptance>(&wire::LinkAcceptance {
        broker: "broker.test/log".into(),
        invitation: invitation.into(),
        link_key: Bytes::copy_from_slice(link_key.public().as_bytes()),
        code_mac: Bytes::copy_from_slice(&code_mac(&secret, invitation, link_key.public(), "123456")),
        time_ms: NOW_MS,
    });
    assert!(mac_opens(&secret, acceptance.statement(), "123456"));
    assert!(!mac_opens(&secret, acceptance.statement(), "123457"));
    assert!(!mac_opens(&[2; 32], acceptance.statement(), "123456"));
}

#[test]
fn a_working_key_signs_within_its_time_for_its_partner() {
    let (identity, working) = (key(11), key(12));
    let hopp = crate::id::PartnerName::of_id("hopp").expect("an id");
    let message = wire::PartnerKey {
        broker: "broker.test/log".into(),
        partner: "partners/hopp".into(),
        public_key: Bytes::copy_from_slice(working.public().as_bytes()),
        sequence: 1,
        not_before_ms: NOW_MS - 10,
        not_after_ms: NOW_MS + 10,
        previous: Bytes::new(),
    };
    let certify = |message: &wire::PartnerKey, identity: &crate::key::SigningKey| {
        let certificate = envelope::sign::<PartnerKey>(message, &[identity]);
        WorkingKey::certified(Some(&certificate), key(11).public(), &hopp, &origin())
    };
    let certified = certify(&message, &identity).expect("certified");
    assert_eq!(certify(&message, &working).map_err(|error| error.check()), Err("partner_key"));
    let other = wire::PartnerKey { partner: "partners/chirp".into(), ..message.clone() };
    assert_eq!(certify(&other, &identity).map_err(|error| error.check()), Err("partner_key_partner"));

    for (time_ms, expected) in [
        (NOW_MS - 11, "partner_key_time"),
        (NOW_MS - 10, "good"),
        (NOW_MS + 10, "good"),
        (NOW_MS + 11, "partner_key_time"),
    ] {
        let asked = envelope::sign::<Fetch>(&wire::Fetch { time_ms, ..fetch() }, &[&working]);
        let got = certified.verify::<Fetch>(Some(&asked), |fetch| fetch.time);
        assert_eq!(got.map_or_else(|error| error.check(), |_| "good"), expected);
    }
    for (expected, spoil) in [
        ("sequence", wire::PartnerKey { sequence: 0, ..message.clone() }),
        ("previous", wire::PartnerKey { sequence: 2, ..message.clone() }),
        ("previous", wire::PartnerKey { previous: Bytes::from_static(&[1; 32]), ..message.clone() }),
        ("not_after_ms", wire::PartnerKey { not_after_ms: NOW_MS - 10, ..message.clone() }),
    ] {
        assert_eq!(check::<PartnerKey>(&spoil), expected);
    }
}

#[test]
fn an_invitation_is_to_a_handle_of_its_partner_and_short() {
    let invitation = wire::LinkInvitation {
        broker: "broker.test/log".into(),
        partner: "partners/skylark".into(),
        identity_key: Bytes::copy_from_slice(key(10).public().as_bytes()),
        subject: format!("partners/skylark/subjects/{}", "0".repeat(32)),
        label_commitment: label_commitment(&[1; 32], "mei@skylark").into(),
        expire_time_ms: NOW_MS + 600_000,
        time_ms: NOW_MS,
        checkpoint: Bytes::from_static(b"a checkpoint"),
        replaces: Bytes::new(),
        return_address: "https://skylark.example/link".into(),
    };
    assert_eq!(check::<LinkInvitation>(&invitation), "good");
    let spoilt: [Spoilt<wire::LinkInvitation>; 7] = [
        ("return_address", |invitation| invitation.return_address = "http://skylark.example/link".into()),
        ("subject", |invitation| invitation.partner = "partners/hopp".into()),
        ("expire_time_ms", |invitation| invitation.expire_time_ms = NOW_MS + 600_001),
        ("expire_time_ms", |invitation| invitation.expire_time_ms = NOW_MS),
        ("expire_time_ms", |invitation| invitation.expire_time_ms = NOW_MS - 1),
        ("label_commitment", |invitation| invitation.label_commitment = Bytes::from_static(&[1; 31])),
        ("identity_key", |invitation| invitation.identity_key = Bytes::new()),
    ];
    for (expected, spoil) in spoilt {
        let mut invitation = invitation.clone();
        spoil(&mut invitation);
        assert_eq!(check::<LinkInvitation>(&invitation), expected);
    }
}

#[test]
fn a_label_commitment_is_to_salt_and_label() {
    let commitment = label_commitment(&[1; 32], "mei@skylark");
    assert_eq!(commitment, Digest::of(&[&[1; 32][..], b"mei@skylark"].concat()));
}

#[test]
fn changes_and_requests_have_their_form() {
    let change = wire::GrantChange {
        broker: "broker.test/log".into(),
        terms: Bytes::from_static(&[1; 32]),
        sequence: 1,
        verb: Verb::Stop.into(),
        erase: true,
        previous: Bytes::from_static(&[1; 32]),
        time_ms: NOW_MS,
        successor: Bytes::new(),
    };
    assert_eq!(check::<GrantChange>(&change), "good");
    let narrow = wire::GrantChange {
        verb: Verb::Narrow.into(),
        erase: false,
        successor: Bytes::from_static(&[2; 32]),
        ..change.clone()
    };
    assert_eq!(check::<GrantChange>(&narrow), "good");
    assert_eq!(check::<GrantChange>(&wire::GrantChange { erase: true, ..narrow.clone() }), "erase");
    for successor in [Bytes::new(), Bytes::from_static(&[2; 31])] {
        assert_eq!(check::<GrantChange>(&wire::GrantChange { successor, ..narrow.clone() }), "successor");
    }
    let stop = wire::GrantChange { successor: narrow.successor, ..change.clone() };
    assert_eq!(check::<GrantChange>(&stop), "successor");
    assert_eq!(check::<GrantChange>(&wire::GrantChange { sequence: 0, ..change.clone() }), "sequence");
    assert_eq!(check::<GrantChange>(&wire::GrantChange { verb: 0, ..change.clone() }), "verb");
    assert_eq!(check::<GrantChange>(&wire::GrantChange { verb: 77, ..change.clone() }), "verb");
    assert_eq!(check::<GrantChange>(&wire::GrantChange { verb: Verb::Pause.into(), ..change }), "erase");

    let row =
        wire::RequestedRow { offer: Bytes::from_static(&[1; 32]), optional: false, renews: Bytes::new() };
    let request = wire::GrantRequest {
        broker: "broker.test/log".into(),
        requester: "partners/skylark".into(),
        subject: format!("partners/skylark/subjects/{}", "0".repeat(32)),
        rows: vec![row.clone()],
        expire_time_ms: NOW_MS + 1000,
        time_ms: NOW_MS,
        nonce: Bytes::from_static(&[1; 16]),
        checkpoint: Bytes::from_static(b"a checkpoint"),
    };
    assert_eq!(check::<GrantRequest>(&request), "good");
    assert_eq!(check::<GrantRequest>(&wire::GrantRequest { rows: vec![], ..request.clone() }), "rows");
    assert_eq!(
        check::<GrantRequest>(&wire::GrantRequest { rows: vec![row.clone(); 2], ..request.clone() }),
        "rows"
    );
    let rows = |count| {
        let row =
            |at| wire::RequestedRow { offer: Bytes::from(vec![at; 32]), ..wire::RequestedRow::default() };
        wire::GrantRequest { rows: (0..count).map(row).collect(), ..request.clone() }
    };
    assert_eq!(check::<GrantRequest>(&rows(7)), "good");
    assert_eq!(check::<GrantRequest>(&rows(8)), "rows");
    let renews = |offer: u8, renews: &'static [u8]| wire::RequestedRow {
        offer: Bytes::from(vec![offer; 32]),
        renews: Bytes::from_static(renews),
        optional: true,
    };
    let renewing = |rows| check::<GrantRequest>(&wire::GrantRequest { rows, ..request.clone() });
    assert_eq!(renewing(vec![renews(1, &[7; 32]), renews(2, &[8; 32])]), "good");
    assert_eq!(renewing(vec![renews(1, &[7; 32]), renews(2, &[7; 32])]), "renews");
    assert_eq!(renewing(vec![renews(1, &[7; 31])]), "renews");
    assert_eq!(
        check::<GrantRequest>(&wire::GrantRequest { nonce: Bytes::new(), ..request.clone() }),
        "nonce"
    );
    let foreign = wire::GrantRequest { requester: "partners/hopp".into(), ..request.clone() };
    assert_eq!(check::<GrantRequest>(&foreign), "subject");
    for (life_ms, expected) in
        [(0, "expire_time_ms"), (1, "good"), (604_800_000, "good"), (604_800_001, "expire_time_ms")]
    {
        let request = wire::GrantRequest { expire_time_ms: NOW_MS + life_ms, ..request.clone() };
        assert_eq!(check::<GrantRequest>(&request), expected, "{life_ms}");
    }
}

#[test]
fn an_envelope_is_bounded_typed_and_for_this_broker() {
    let good = envelope::sign::<Fetch>(&fetch(), &[&key(1)]);
    let signer = key(1);
    let verify = |envelope: &wire::Envelope| {
        envelope::verify::<Fetch>(Some(envelope), &[signer.public()], &origin())
            .map_err(|error| error.check())
    };
    assert!(verify(&good).is_ok());
    assert_eq!(envelope::verify::<Fetch>(None, &[], &origin()), Err(StatementError::Missing));
    let with = |change: fn(&mut wire::Envelope)| {
        let mut envelope = good.clone();
        change(&mut envelope);
        envelope
    };
    assert_eq!(verify(&with(|envelope| envelope.payload_type.push('x'))).err(), Some("payload_type"));
    assert_eq!(verify(&with(|envelope| envelope.signatures.clear())).err(), Some("signature_count"));
    assert_eq!(verify(&with(|envelope| envelope.payload = vec![0; 16_385].into())).err(), Some("size"));
    assert_eq!(verify(&with(|envelope| envelope.payload = vec![0; 16_384].into())).err(), Some("signature"));
    // What is ignored is no place to hide bytes in.
    let junk = |key_id: &str, length: usize| {
        let mut envelope = good.clone();
        let signature = vec![0; length].into();
        envelope.signatures.push(wire::Signature { key_id: key_id.into(), signature });
        verify(&envelope).err()
    };
    let stranger = key(3).id().to_string();
    assert_eq!(junk(&stranger, 64), None);
    assert_eq!(junk(&stranger, 65), Some("signature_form"));
    assert_eq!(junk(&"k".repeat(4096), 64), Some("signature_form"));
    let elsewhere = Origin::parse("other.test/log").expect("an origin");
    let error = envelope::verify::<Fetch>(Some(&good), &[signer.public()], &elsewhere).expect_err("refused");
    assert_eq!(error.check(), "broker");
    assert_eq!(
        envelope::verify::<Fetch>(Some(&good), &[key(2).public()], &origin()).map_err(|e| e.check()).err(),
        Some("key")
    );
    // A good signature doesn't excuse a wrong one under a key that may sign.
    let mut both = good.clone();
    both.signatures
        .push(wire::Signature { key_id: key(2).id().to_string(), signature: Bytes::from_static(&[0; 64]) });
    let error = envelope::verify::<Fetch>(Some(&both), &[signer.public(), key(2).public()], &origin());
    assert_eq!(error.map_err(|error| error.check()).err(), Some("signature"));
    assert!(verify(&both).is_ok(), "one by an unknown key is ignored");
}

#[test]
fn those_who_claim_to_have_signed_are_few_and_have_ids() {
    let claimed = |key_ids: &[&str]| -> Vec<String> {
        let signature = |key_id: &&str| wire::Signature { key_id: (*key_id).into(), ..Default::default() };
        let signatures = key_ids.iter().map(signature).collect();
        let envelope = wire::Envelope { signatures, ..Default::default() };
        envelope::claimed_signers(&envelope).map(|id| id.to_string()).collect()
    };
    let ids: Vec<String> = (1..=5).map(|secret| key(secret).id().to_string()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    assert_eq!(claimed(&[]), [""; 0]);
    assert_eq!(claimed(&[ids[1], "no thumbprint", ids[0]]), [ids[1], ids[0]]);
    assert_eq!(claimed(&ids), ids[..4]);
}

proptest! {
    #[test]
    fn no_flipped_bit_verifies(at in 0_usize..10_000, bit in 0_u8..8) {
        let signer = key(1);
        let mut envelope = envelope::sign::<GrantTerms>(&terms(), &[&signer]);
        let mut payload = envelope.payload.to_vec();
        let place = at % payload.len();
        payload[place] ^= 1 << bit;
        envelope.payload = payload.into();
        let got = envelope::verify::<GrantTerms>(Some(&envelope), &[signer.public()], &origin());
        prop_assert_eq!(got.map_err(|error| error.check()).err(), Some("signature"));
    }

    #[test]
    fn bytes_of_strangers_never_panic(payload in proptest::collection::vec(any::<u8>(), 0..300)) {
        let envelope = wire::Envelope {
            payload_type: GrantTerms::PAYLOAD_TYPE.into(),
            payload: payload.clone().into(),
            signatures: vec![wire::Signature {
                key_id: key(1).id().to_string(),
                signature: Bytes::from_static(&[0; 64]),
            }],
        };
        let _ = envelope::peek::<GrantTerms>(Some(&envelope));
        let _ = wire::Envelope::decode(payload.as_slice());
    }

    #[test]
    fn whatever_is_signed_reads_back(uses in 1_u32.., expire in 1_u64..1_000_000) {
        let message = wire::GrantTerms { uses, expire_time_ms: NOW_MS + expire, ..terms() };
        let read = signed::<GrantTerms>(&message);
        prop_assert_eq!(read.statement().uses, uses);
        prop_assert_eq!(read.statement().expire_time, Timestamp::from_millis(NOW_MS + expire));
        prop_assert_eq!(read.digest(), Digest::of(&message.encode_to_vec()));
    }
}
