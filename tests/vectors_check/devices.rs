//! Devices: the wrapped copy of a root secret, and the chain of a customer's changes.

use countersign_client::customer::{AuthenticatorSecret, UnwrapError, Wallet};
use countersign_grants::{
    digest::Digest,
    envelope,
    id::{CustomerName, Origin},
    key::SigningKey,
    lifecycle::Identity,
    statement::{CustomerChange, CustomerVerb, label_commitment},
};
use countersign_proto::statement::v1 as wire;
use serde_json::{Value, json};

use crate::{
    File,
    case::{Case, Outcome, array, bytes, hex, list, text},
    keys::public_key,
    known::{self, NOW_MS, ORIGIN},
    statements::{envelope_json, read_envelope},
};

pub(crate) const WRAPPING: File = File {
    name: "wrapping.json",
    about: "What an authenticator (a passkey's PRF output, `secret`) makes of it, and the copy of the root secret that it opens. \
        With `nonce` and `root` given, `wrapped` is made of them. `customer` is the name that follows from the root secret: \
        the call key is HKDF-SHA256(root, \"\", \"countersign/v1 call\", 32). `length`, `version`, `opens`: the copy does not.",
    make: wrapping,
    run: run_wrapping,
};

pub(crate) const CUSTOMER_CHANGES: File = File {
    name: "customer_changes.json",
    about: "A customer's changes, oldest first, under the call key. The output: the authenticators that there are. Else the \
        check that the first wrong change fails.",
    make: changes,
    run: run_changes,
};

/// The root secret of these vectors.
const ROOT: [u8; 32] = [70; 32];

fn run_wrapping(input: &Value) -> Outcome {
    let secret = AuthenticatorSecret::from_secret(&array(input, "secret"));
    let origin = Origin::parse(text(input, "broker")).unwrap();
    let wrapped = bytes(input, "wrapped");
    if input.get("root").is_some() {
        assert_eq!(secret.wrap(&origin, array(input, "nonce"), &array(input, "root")), wrapped);
    }
    let root = secret.unwrap(&origin, &wrapped).map_err(|error| {
        let check = match error {
            UnwrapError::Length => "length",
            UnwrapError::Version(_) => "version",
            UnwrapError::Opens => "opens",
        };
        check.to_owned()
    })?;
    Ok(json!({
        "lookup": hex(secret.lookup().as_slice()),
        "authenticator": secret.id().to_hex(),
        "root": hex(root.as_slice()),
        "customer": Wallet::from_secret(&root).customer().as_str(),
    }))
}

fn wrapping() -> Vec<Case> {
    let origin = Origin::parse(ORIGIN).unwrap();
    let secret = AuthenticatorSecret::from_secret(&[71; 32]);
    let wrapped = secret.wrap(&origin, [72; 12], &ROOT);
    let case = |secret: u8, broker: &str, wrapped: &[u8]| json!({ "secret": hex([secret; 32]), "broker": broker, "wrapped": hex(wrapped) });
    let mut good = case(71, ORIGIN, &wrapped);
    good["nonce"] = hex([72; 12]);
    good["root"] = hex(ROOT);
    let bent = |at: usize| {
        let mut bent = wrapped.clone();
        bent[at] ^= 1;
        bent
    };
    vec![
        Case::good("wrap", "One copy, made and opened.", good),
        Case::bad("another-authenticator", "Another passkey.", "opens", case(73, ORIGIN, &wrapped)),
        Case::bad(
            "another-broker",
            "The copy of another broker.",
            "opens",
            case(71, "other.example/log", &wrapped),
        ),
        Case::bad("version", "Version 0.", "version", case(71, ORIGIN, &bent(0))),
        Case::bad("nonce", "A bit of the nonce flipped.", "opens", case(71, ORIGIN, &bent(1))),
        Case::bad("ciphertext", "A bit of the secret flipped.", "opens", case(71, ORIGIN, &bent(13))),
        Case::bad("tag", "A bit of the tag flipped.", "opens", case(71, ORIGIN, &bent(60))),
        Case::bad("short", "The last byte is missing.", "length", case(71, ORIGIN, &wrapped[..60])),
        Case::bad("long", "A byte more.", "length", case(71, ORIGIN, &[wrapped.as_slice(), &[0]].concat())),
        Case::bad("empty", "Nothing.", "length", case(71, ORIGIN, &[])),
    ]
}

fn run_changes(input: &Value) -> Outcome {
    let key = public_key(&input["public_key"]);
    let origin = Origin::parse(text(input, "broker")).unwrap();
    let name = CustomerName::of(key.id());
    let mut identity = Identity::default();
    for change in list(input, "changes") {
        let change = read_envelope(change);
        let signed = envelope::verify::<CustomerChange>(change.as_ref(), &[&key], &origin)
            .map_err(|error| error.check().to_owned())?;
        if signed.statement().customer != name {
            return Err("customer".to_owned());
        }
        identity = identity.follow(&signed).map_err(|error| error.check().to_owned())?;
    }
    let authenticators: Vec<String> = identity.authenticators().map(|one| one.id.to_hex()).collect();
    Ok(json!({ "authenticators": authenticators, "stolen": identity.stolen().is_some() }))
}

/// A chain in the making.
struct Chain(Vec<wire::Envelope>);

impl Chain {
    fn message(&self, verb: CustomerVerb, authenticator: u8) -> wire::CustomerChange {
        let adds = verb == CustomerVerb::AddAuthenticator;
        let some = |set: bool, digest: Digest| if set { digest.into() } else { bytes::Bytes::new() };
        wire::CustomerChange {
            broker: ORIGIN.into(),
            customer: CustomerName::of(call_key().id()).to_string(),
            sequence: self.0.len() as u64 + 1,
            verb: verb.into(),
            previous: self.0.last().map(|last| envelope::digest(last).into()).unwrap_or_default(),
            authenticator: some(
                verb != CustomerVerb::ReportStolen,
                AuthenticatorSecret::from_secret(&[authenticator; 32]).id(),
            ),
            wrapped: some(adds, Digest::of(&[authenticator])),
            label_commitment: some(adds, label_commitment(&[74; 32], "telephone")),
            time_ms: NOW_MS,
        }
    }

    fn with(mut self, verb: CustomerVerb, authenticator: u8) -> Self {
        let message = self.message(verb, authenticator);
        self.0.push(envelope::sign::<CustomerChange>(&message, &[&call_key()]));
        self
    }

    fn bent(
        mut self,
        verb: CustomerVerb,
        authenticator: u8,
        key: &SigningKey,
        bend: impl FnOnce(&mut wire::CustomerChange),
    ) -> Value {
        let mut message = self.message(verb, authenticator);
        bend(&mut message);
        self.0.push(envelope::sign::<CustomerChange>(&message, &[key]));
        self.input()
    }

    fn input(&self) -> Value {
        let changes: Vec<Value> = self.0.iter().map(envelope_json).collect();
        json!({ "broker": ORIGIN, "public_key": hex(call_key().public().as_bytes()), "changes": changes })
    }
}

fn call_key() -> SigningKey {
    known::key(30)
}

/// A change of each verb: added, removed, reported stolen.
pub(crate) fn changes_of_each_verb() -> [Digest; 3] {
    use CustomerVerb::{AddAuthenticator as Add, RemoveAuthenticator as Remove, ReportStolen as Stolen};
    let chain = Chain(Vec::new()).with(Add, 75).with(Add, 76).with(Remove, 75).with(Stolen, 0);
    [0, 2, 3].map(|at| envelope::digest(&chain.0[at]))
}

fn changes() -> Vec<Case> {
    use CustomerVerb::{AddAuthenticator as Add, RemoveAuthenticator as Remove, ReportStolen as Stolen};
    let two = || Chain(Vec::new()).with(Add, 75).with(Add, 76);
    let own = &call_key();
    let full = (75..91).fold(Chain(Vec::new()), |chain, id| chain.with(Add, id));
    vec![
        Case::good("none", "A customer who has only a wallet.", Chain(Vec::new()).input()),
        Case::good("two", "Two authenticators.", two().input()),
        Case::good("removed", "One of them removed.", two().with(Remove, 75).input()),
        Case::good("stolen", "The root secret is in other hands.", two().with(Stolen, 0).input()),
        Case::bad(
            "last",
            "One must remain.",
            "authenticator",
            two().with(Remove, 75).with(Remove, 76).input(),
        ),
        Case::bad("twice", "It is there.", "authenticator", two().with(Add, 75).input()),
        Case::bad(
            "again",
            "It was there: an id is never used twice.",
            "authenticator",
            two().with(Remove, 75).with(Add, 75).input(),
        ),
        Case::bad("unknown", "It was never there.", "authenticator", two().with(Remove, 77).input()),
        Case::bad("too-many", "The seventeenth.", "authenticator", full.with(Add, 91).input()),
        Case::bad(
            "after-theft",
            "Nothing follows the report.",
            "verb",
            two().with(Stolen, 0).with(Add, 77).input(),
        ),
        Case::bad(
            "number",
            "A number is left out.",
            "sequence",
            two().bent(Add, 77, own, |it| it.sequence = 4),
        ),
        Case::bad(
            "number-zero",
            "Numbers start at 1.",
            "sequence",
            two().bent(Add, 77, own, |it| it.sequence = 0),
        ),
        Case::bad(
            "previous",
            "It builds on another change.",
            "previous",
            two().bent(Add, 77, own, |it| it.previous = vec![7; 32].into()),
        ),
        Case::bad(
            "first-previous",
            "The first builds on nothing.",
            "previous",
            Chain(Vec::new()).bent(Add, 77, own, |it| it.previous = vec![7; 32].into()),
        ),
        Case::bad("signer", "Somebody else's key.", "key", two().bent(Add, 77, &known::key(31), |_| {})),
        Case::bad(
            "customer",
            "Another customer's name.",
            "customer",
            two().bent(Add, 77, own, |it| {
                it.customer = CustomerName::of(known::key(31).id()).to_string();
            }),
        ),
        Case::bad(
            "broker",
            "Another broker's.",
            "broker",
            two().bent(Add, 77, own, |it| it.broker = "other.example/log".into()),
        ),
        Case::bad("verb", "No verb.", "verb", two().bent(Add, 77, own, |it| it.verb = 0)),
        Case::bad(
            "no-copy",
            "Added without a copy.",
            "wrapped",
            two().bent(Add, 77, own, |it| it.wrapped.clear()),
        ),
        Case::bad(
            "removed-with-copy",
            "Removed with a copy.",
            "wrapped",
            two().bent(Remove, 75, own, |it| it.wrapped = vec![7; 32].into()),
        ),
        Case::bad(
            "stolen-with-authenticator",
            "A report names no authenticator.",
            "authenticator",
            two().bent(Stolen, 0, own, |it| it.authenticator = vec![7; 32].into()),
        ),
    ]
}
