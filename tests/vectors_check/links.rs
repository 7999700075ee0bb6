//! Linking: labels, party commitments, codes, invitations.

use countersign_client::{Error, InvitationPackage, error::Misuse};
use countersign_grants::{
    digest::Digest,
    id::Origin,
    statement::{code_mac, label_commitment, open_party_commitment, party_commitment},
    time::Timestamp,
};
use countersign_proto::statement::v1::InvitationPackage as Package;
use data_encoding::BASE64URL_NOPAD;
use prost::Message as _;
use serde_json::{Value, json};
use subtle::ConstantTimeEq as _;

use crate::{
    File,
    case::{Case, Outcome, array, bytes, count, hex, text},
    keys::public_key,
    known::{self, STORY},
};

pub(crate) const LABELS_AND_PARTIES: File = File {
    name: "link_commitments.json",
    about: "`label`: SHA-256(salt ‖ label). `party`: SHA-256(salt ‖ SHA-256(acceptance)), by which terms name a link to its \
        own side alone. `commitment`: it does not open.",
    make: commitments,
    run: run_commitment,
};

pub(crate) const LINK_CODES: File = File {
    name: "link_codes.json",
    about: "HMAC-SHA256(link secret, SHA-256(invitation) ‖ link key ‖ code), the code as six ASCII digits. `code`: it does \
        not open the acceptance.",
    make: codes,
    run: run_code,
};

pub(crate) const INVITATIONS: File = File {
    name: "invitations.json",
    about: "What travels from the partner's app to the customer's. `malformed`: no package; else the check that failed.",
    make: invitations,
    run: run_invitation,
};

fn digest(input: &Value, key: &str) -> Digest {
    Digest::from(array::<32>(input, key))
}

fn run_commitment(input: &Value) -> Outcome {
    let commitment = digest(input, "commitment");
    let opens = if input.get("label").is_some() {
        label_commitment(&array(input, "salt"), text(input, "label")) == commitment
    } else {
        open_party_commitment(commitment, &bytes(input, "salt"), digest(input, "acceptance"))
    };
    if opens { Ok(Value::Null) } else { Err("commitment".to_owned()) }
}

fn commitments() -> Vec<Case> {
    let label = |salt: [u8; 32], label: &str| {
        let commitment = label_commitment(&known::LABEL_SALT, known::LABEL);
        json!({ "salt": hex(salt), "label": label, "commitment": commitment.to_hex() })
    };
    let acceptance = STORY.digest("source-acceptance");
    let party = |salt: &[u8], opened: Digest| {
        let commitment = party_commitment(&[80; 32], acceptance);
        json!({ "salt": hex(salt), "acceptance": opened.to_hex(), "commitment": commitment.to_hex() })
    };
    vec![
        Case::good("label", "The story's label.", label(known::LABEL_SALT, known::LABEL)),
        Case::bad(
            "label-another",
            "Another account.",
            "commitment",
            label(known::LABEL_SALT, "anna@example.org"),
        ),
        Case::bad("label-salt", "Another salt.", "commitment", label([0; 32], known::LABEL)),
        Case::good("party", "The source's side of the story's terms.", party(&[80; 32], acceptance)),
        Case::bad(
            "party-another-link",
            "Another link of the same customer: the grant hangs on somebody else's account.",
            "commitment",
            party(&[80; 32], STORY.digest("recipient-acceptance")),
        ),
        Case::bad("party-salt", "Another salt.", "commitment", party(&[81; 32], acceptance)),
        Case::bad("party-short-salt", "A salt of 31 bytes.", "commitment", party(&[80; 31], acceptance)),
    ]
}

fn run_code(input: &Value) -> Outcome {
    let key = public_key(&input["link_key"]);
    let made = code_mac(&array(input, "secret"), digest(input, "invitation"), &key, text(input, "code"));
    let opens = bool::from(made.ct_eq(&array::<32>(input, "code_mac")));
    if opens { Ok(Value::Null) } else { Err("code".to_owned()) }
}

fn codes() -> Vec<Case> {
    let key = known::key(known::SOURCE_LINK);
    let invitation = STORY.digest("source-invitation");
    let mac = code_mac(&known::LINK_SECRET, invitation, key.public(), known::CODE);
    let good = json!({
        "secret": hex(known::LINK_SECRET),
        "invitation": invitation.to_hex(),
        "link_key": hex(key.public().as_bytes()),
        "code": known::CODE,
        "code_mac": hex(mac),
    });
    let with = |key: &str, value: Value| {
        let mut input = good.clone();
        input[key] = value;
        input
    };
    let other_key = hex(known::key(known::RECIPIENT_LINK).public().as_bytes());
    vec![
        Case::good("good", "The story's code.", good.clone()),
        Case::bad("another-code", "One digit.", "code", with("code", json!("271829"))),
        Case::bad("code-with-space", "The code as it was typed; an app strips what is no digit.", "code", {
            with("code", json!("271 828"))
        }),
        Case::bad(
            "another-key",
            "A key that the broker put in the customer's place.",
            "code",
            with("link_key", other_key),
        ),
        Case::bad("another-invitation", "The acceptance of another invitation.", "code", {
            with("invitation", json!(STORY.digest("recipient-invitation").to_hex()))
        }),
        Case::bad("another-secret", "Somebody who guesses the secret.", "code", with("secret", hex([0; 32]))),
    ]
}

fn run_invitation(input: &Value) -> Outcome {
    let check = |error: Error| match error {
        Error::Misuse(Misuse::Malformed { .. }) => "malformed".to_owned(),
        Error::Misbehaved(misbehaved) => misbehaved.check.to_owned(),
        other => panic!("{other}"),
    };
    let package = InvitationPackage::parse(text(input, "text")).map_err(check)?;
    let broker = Origin::parse(text(input, "broker")).unwrap();
    let now = Timestamp::from_millis(count(input, "now_ms"));
    let verified = package.verify(&broker, now).map_err(check)?;
    Ok(json!({
        "link": package.link().as_str(),
        "partner": verified.invitation.statement().partner.as_str(),
        "identity": hex(verified.invitation.statement().identity.as_bytes()),
        "subject": verified.invitation.statement().subject.as_str(),
        "label": verified.label,
        "secret": hex(verified.secret),
    }))
}

fn invitations() -> Vec<Case> {
    let at = |text: &str, now: u64| json!({ "text": text, "broker": known::ORIGIN, "now_ms": now });
    let written = |package: &Package| BASE64URL_NOPAD.encode(&package.encode_to_vec());
    let good = written(&STORY.package);
    let now = |text: &str| at(text, known::NOW_MS);
    let bent = |bend: &dyn Fn(&mut Package)| {
        let mut package = STORY.package.clone();
        bend(&mut package);
        now(&written(&package))
    };
    vec![
        Case::good("text", "Unpadded base64url of the package.", now(&good)),
        Case::good("url", "In the fragment of a URL.", {
            now(&format!("https://app.example/link#countersign-invitation={good}"))
        }),
        Case::bad("padded", "Padded base64url.", "malformed", now(&format!("{good}=="))),
        Case::bad("empty", "Nothing: a package without an invitation.", "malformed", now("")),
        Case::bad("long", "4,097 characters.", "malformed", now(&"A".repeat(4_097))),
        Case::bad(
            "lapsed",
            "At the moment when it lapses.",
            "expire_time",
            at(&good, known::NOW_MS + 600_000),
        ),
        Case::bad("another-broker", "For another broker.", "partner_key", {
            let mut input = now(&good);
            input["broker"] = json!("other.test/log");
            input
        }),
        Case::bad(
            "no-certificate",
            "Without the identity key's word.",
            "partner_key",
            bent(&|it| it.partner_key = None),
        ),
        Case::bad("certificate-of-another", "With another partner's.", "partner_key", {
            bent(&|it| it.partner_key = Some(STORY.envelope("hopp-key").clone()))
        }),
        Case::bad("another-label", "Another account than the one that was signed.", "label", {
            bent(&|it| it.label = "mallory@example.com".into())
        }),
        Case::bad("another-salt", "Another salt.", "label", bent(&|it| it.salt = vec![0; 32].into())),
        Case::bad("short-secret", "31 bytes.", "secret", bent(&|it| it.secret = vec![0; 31].into())),
        Case::bad("bent", "One bit of the invitation.", "signature", {
            bent(&|it| {
                let invitation = it.invitation.as_mut().unwrap();
                let mut payload = invitation.payload.to_vec();
                let last = payload.len() - 1;
                payload[last] ^= 1;
                invitation.payload = payload.into();
            })
        }),
    ]
}
