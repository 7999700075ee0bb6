//! Every statement of the story: exact bytes, what is signed, and the digest by which others name it.

use bytes::Bytes;
use countersign_grants::{
    envelope::{self, Signed, StatementError, pre_authentication_encoding},
    id::Origin,
    key::PublicKey,
    statement::{
        AccountClosure, Acknowledgement, ErasureAttestation, Fetch, GrantChange, GrantRequest, GrantTerms,
        LinkAcceptance, LinkConfirmation, LinkInvitation, LocationTap, Offer, PartnerChange, PartnerKey,
        Preview, PreviewProvision, Provision, Statement,
    },
};
use countersign_proto::statement::v1::{Envelope, Signature};
use serde_json::{Value, json};

use crate::{
    File,
    case::{Case, Outcome, bytes, hex, list, text},
    keys::public_key,
    known::{self, STORY},
    message::message,
};

pub(crate) const STATEMENTS: File = File {
    name: "statements.json",
    about: "One story from keys to stop, statement by statement: the payload, what it says, the pre-authentication encoding \
        that is signed, and the digest. Ed25519 is deterministic: signing `pae` with the secret that is 32 times `secret` \
        gives `signature`.",
    make,
    run,
};

/// What verifying a statement of any kind gives.
pub(crate) struct Verified {
    pub(crate) digest: String,
    pub(crate) signer: String,
}

/// Verifies an envelope as a statement of this type.
pub(crate) fn verify(
    payload_type: &str,
    envelope: Option<&Envelope>,
    keys: &[&PublicKey],
    broker: &Origin,
) -> Result<Verified, StatementError> {
    fn of<S: Statement>(signed: Result<Signed<S>, StatementError>) -> Result<Verified, StatementError> {
        signed
            .map(|signed| Verified { digest: signed.digest().to_hex(), signer: signed.signer().to_string() })
    }
    macro_rules! by_type {
        ($($kind:ident),*) => {
            match payload_type {
                $($kind::PAYLOAD_TYPE => of(envelope::verify::<$kind>(envelope, keys, broker)),)*
                other => panic!("`{other}` is no type of ours"),
            }
        };
    }
    by_type!(
        AccountClosure,
        Acknowledgement,
        ErasureAttestation,
        Fetch,
        GrantChange,
        GrantRequest,
        GrantTerms,
        LinkAcceptance,
        LinkConfirmation,
        LinkInvitation,
        LocationTap,
        Offer,
        PartnerChange,
        PartnerKey,
        Preview,
        PreviewProvision,
        Provision
    )
}

/// The name of the message in a payload of this type.
pub(crate) fn message_name(payload_type: &str) -> String {
    let kind = payload_type.strip_prefix("application/vnd.countersign.").unwrap();
    let kind = kind.strip_suffix(".v1+protobuf").unwrap();
    let words = kind.split('-').map(|word| word[..1].to_uppercase() + &word[1..]);
    format!(".countersign.statement.v1.{}", words.collect::<String>())
}

/// An envelope in JSON.
pub(crate) fn envelope_json(envelope: &Envelope) -> Value {
    let signatures: Vec<Value> = envelope
        .signatures
        .iter()
        .map(|made| json!({ "key_id": made.key_id, "signature": hex(&made.signature) }))
        .collect();
    json!({
        "payload_type": envelope.payload_type, "payload": hex(&envelope.payload), "signatures": signatures,
    })
}

/// An envelope from JSON; `null` is none.
pub(crate) fn read_envelope(value: &Value) -> Option<Envelope> {
    if value.is_null() {
        return None;
    }
    let signatures = list(value, "signatures").iter().map(|made| Signature {
        key_id: text(made, "key_id").to_owned(),
        signature: bytes(made, "signature"),
    });
    Some(Envelope {
        payload_type: text(value, "payload_type").to_owned(),
        payload: bytes(value, "payload"),
        signatures: signatures.collect(),
    })
}

fn run(input: &Value) -> Outcome {
    let (payload_type, payload) = (text(input, "payload_type"), bytes(input, "payload"));
    let key = public_key(&input["public_key"]);
    let encoding = pre_authentication_encoding(payload_type, &payload);
    let secret = known::key(u8::try_from(input["secret"].as_u64().unwrap()).unwrap());
    assert_eq!(secret.public(), &key);
    let signature = bytes(input, "signature");
    assert_eq!(Bytes::copy_from_slice(&secret.sign(&encoding)), signature, "Ed25519 is deterministic");
    let made = Signature { key_id: key.id().as_str().to_owned(), signature };
    let envelope =
        Envelope { payload_type: payload_type.to_owned(), payload: payload.clone(), signatures: vec![made] };
    let broker = Origin::parse(text(input, "broker")).unwrap();
    let verified = verify(payload_type, Some(&envelope), &[&key], &broker);
    let verified = verified.map_err(|error| error.check().to_owned())?;
    Ok(json!({
        "digest": verified.digest,
        "key_id": verified.signer,
        "pae": hex(encoding),
        "message": message(&message_name(payload_type), &payload),
    }))
}

fn make() -> Vec<Case> {
    let told = STORY.statements.iter().map(|told| {
        let input = json!({
            "broker": known::ORIGIN,
            "payload_type": told.envelope.payload_type,
            "payload": hex(&told.envelope.payload),
            "secret": told.signer,
            "public_key": hex(known::key(told.signer).public().as_bytes()),
            "signature": hex(&told.envelope.signatures[0].signature),
        });
        let comment = match told.name {
            "skylark-key" => "The source's identity key certifies its first working key.",
            "skylark-next-key" => "And the next one, which names the one before it.",
            "hopp-key" => "The recipient's identity key certifies its working key.",
            "offer" => "What the recipient proposes.",
            "source-invitation" => "The source invites the person who is signed in.",
            "source-acceptance" => "The customer accepts, with a key for this link alone.",
            "source-confirmation" => "The source has pinned that key.",
            "recipient-invitation" => "The recipient invites the same person.",
            "recipient-acceptance" => "Accepted with another key.",
            "recipient-confirmation" => "And confirmed.",
            "request" => "The recipient asks for one row.",
            "source-terms" => "The terms, signed with the key of the link to the source.",
            "recipient-terms" => "The same payload, signed with the key of the link to the recipient.",
            "fetch" => "The recipient asks for two fields.",
            "provision" => "The source says what it gave: `sealing.json` has the sealed fields.",
            "pause" => "The first change builds on the terms.",
            "resume" => "The second builds on the first.",
            "stop" => "The third ends the grant, and asks for erasure.",
            "narrower-terms" => {
                "In the place of the terms, had the customer narrowed them before she did anything else."
            }
            "narrow" => {
                "The change that ends the terms for these; like any first change it builds on the terms."
            }
            "acknowledgement" => "The source has the stop in its book.",
            "erasure-attestation" => "The recipient has deleted what it received, as the stop orders.",
            "account-closure" => "The customer closes the account, with the key that signs her calls.",
            "suspension" => "The source suspends the grant; a partner's first change builds on the terms.",
            "suspension-end" => "It ends its suspension, which needs no reason.",
            "revocation" => "The recipient ends the grant; each partner counts its own changes.",
            "preview" => "Before the terms, the customer could have looked; signed with the key of the link to the source.",
            "preview-provision" => "What the source then says that it showed: `comparisons.json` has the marks.",
            "compared-provision" => "The provision as it is when there was a preview: the customer can compare.",
            "location-tap" => "The customer taps: a precise location may leave once, within two minutes.",
            other => panic!("`{other}` needs a comment"),
        };
        Case::good(told.name, comment, input)
    });
    told.collect()
}
