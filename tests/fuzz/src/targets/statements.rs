//! Statements, envelopes, tokens, invitations, sealed fields.

use std::{sync::LazyLock, time::Duration};

use bytes::Bytes;
use countersign_client::{InvitationPackage, doors};
use countersign_grants::{
    envelope::{self, MAX_PAYLOAD_BYTES, StatementError, pre_authentication_encoding},
    key::{PublicKey, SIGNATURE_BYTES},
    sealing,
    statement::{
        AccountClosure, Acknowledgement, CustomerChange, ErasureAttestation, Fetch, GrantChange,
        GrantRequest, GrantTerms, LinkAcceptance, LinkConfirmation, LinkInvitation, LocationTap, Offer,
        PartnerChange, PartnerKey, Preview, PreviewProvision, Provision, Statement,
    },
    time::Timestamp,
    token::{Issuer, Unverified, broker_audience},
};
use countersign_proto::statement::v1::{Envelope, SealedFields, Signature};
use prost::Message;

use super::super::known::{self, STORY};

/// The kinds of statements, in the order of the first byte that chooses one.
pub const KINDS: [&str; 18] = [
    PartnerKey::PAYLOAD_TYPE,
    Offer::PAYLOAD_TYPE,
    LinkInvitation::PAYLOAD_TYPE,
    LinkAcceptance::PAYLOAD_TYPE,
    LinkConfirmation::PAYLOAD_TYPE,
    GrantRequest::PAYLOAD_TYPE,
    GrantTerms::PAYLOAD_TYPE,
    GrantChange::PAYLOAD_TYPE,
    Fetch::PAYLOAD_TYPE,
    Provision::PAYLOAD_TYPE,
    Acknowledgement::PAYLOAD_TYPE,
    PartnerChange::PAYLOAD_TYPE,
    Preview::PAYLOAD_TYPE,
    PreviewProvision::PAYLOAD_TYPE,
    CustomerChange::PAYLOAD_TYPE,
    ErasureAttestation::PAYLOAD_TYPE,
    AccountClosure::PAYLOAD_TYPE,
    LocationTap::PAYLOAD_TYPE,
];

/// A payload, after a byte that says of which statement. What reads is canonical; signed, it verifies; bent, it does not.
pub(super) fn statement(data: &[u8]) {
    const READ: [fn(&[u8]); KINDS.len()] = [
        payload::<PartnerKey>,
        payload::<Offer>,
        payload::<LinkInvitation>,
        payload::<LinkAcceptance>,
        payload::<LinkConfirmation>,
        payload::<GrantRequest>,
        payload::<GrantTerms>,
        payload::<GrantChange>,
        payload::<Fetch>,
        payload::<Provision>,
        payload::<Acknowledgement>,
        payload::<PartnerChange>,
        payload::<Preview>,
        payload::<PreviewProvision>,
        payload::<CustomerChange>,
        payload::<ErasureAttestation>,
        payload::<AccountClosure>,
        payload::<LocationTap>,
    ];
    if let Some((kind, bytes)) = data.split_first() {
        READ[usize::from(*kind) % READ.len()](bytes);
    }
}

fn payload<S: Statement>(bytes: &[u8]) {
    let key = known::key(known::HOPP);
    let sealed_by = |signature: &[u8]| Envelope {
        payload_type: S::PAYLOAD_TYPE.to_owned(),
        payload: Bytes::copy_from_slice(bytes),
        signatures: vec![Signature {
            key_id: key.id().as_str().to_owned(),
            signature: Bytes::copy_from_slice(signature),
        }],
    };
    let decoded = S::Message::decode(bytes);
    let canonical = decoded.as_ref().is_ok_and(|message| message.encode_to_vec() == bytes);
    let peeked = envelope::peek::<S>(Some(&sealed_by(&[0; SIGNATURE_BYTES])));
    match &peeked {
        Ok(_) | Err(StatementError::Malformed(_)) => assert!(canonical),
        Err(StatementError::NotCanonical) => assert!(decoded.is_ok() && !canonical),
        Err(StatementError::Unparsable) => assert!(decoded.is_err()),
        Err(StatementError::TooLarge { .. }) => assert!(bytes.len() > MAX_PAYLOAD_BYTES),
        Err(other) => panic!("{other}"),
    }
    let Ok(statement) = peeked else { return };
    let signature = key.sign(&pre_authentication_encoding(S::PAYLOAD_TYPE, bytes));
    let signed = sealed_by(&signature);
    let verify =
        |envelope: &Envelope| envelope::verify::<S>(Some(envelope), &[key.public()], &known::origin());
    match verify(&signed) {
        Ok(verified) => {
            assert_eq!(verified.envelope(), &signed);
            assert_eq!(verified.statement().broker(), &known::origin());
        }
        Err(StatementError::Broker { .. }) => assert_ne!(statement.broker(), &known::origin()),
        Err(other) => panic!("{other}"),
    }
    // One place, chosen by the bytes themselves: a whole round of bits would cost a second.
    let mut bent = bytes.to_vec();
    let place = usize::from(signature[0]) * bent.len() / 256;
    bent[place] ^= 1 << (signature[1] % 8);
    let bent = Envelope { payload: bent.into(), ..signed };
    assert!(matches!(verify(&bent), Err(StatementError::Signature { .. })));
}

/// An envelope. What verifies under a key of the story was signed in the story.
pub(super) fn envelope(data: &[u8]) {
    let Ok(envelope) = Envelope::decode(data) else { return };
    assert!(envelope::claimed_signers(&envelope).count() <= envelope::MAX_SIGNATURES);
    judged::<PartnerKey>(&envelope);
    judged::<Offer>(&envelope);
    judged::<LinkInvitation>(&envelope);
    judged::<LinkAcceptance>(&envelope);
    judged::<CustomerChange>(&envelope);
    judged::<LinkConfirmation>(&envelope);
    judged::<GrantRequest>(&envelope);
    judged::<GrantTerms>(&envelope);
    judged::<GrantChange>(&envelope);
    judged::<Fetch>(&envelope);
    judged::<Provision>(&envelope);
    judged::<Acknowledgement>(&envelope);
    judged::<PartnerChange>(&envelope);
    judged::<Preview>(&envelope);
    judged::<PreviewProvision>(&envelope);
    judged::<ErasureAttestation>(&envelope);
    judged::<AccountClosure>(&envelope);
    judged::<LocationTap>(&envelope);
}

fn judged<S: Statement>(envelope: &Envelope) {
    static KEYS: LazyLock<Vec<PublicKey>> = LazyLock::new(|| {
        let mut signers: Vec<u8> = STORY.statements.iter().map(|told| told.signer).collect();
        signers.sort_unstable();
        signers.dedup();
        signers.into_iter().map(|signer| known::key(signer).public().clone()).collect()
    });
    let keys: Vec<&PublicKey> = KEYS.iter().collect();
    let peeked = envelope::peek::<S>(Some(envelope));
    if let Ok(verified) = envelope::verify::<S>(Some(envelope), &keys, &known::origin()) {
        assert!(peeked.is_ok());
        let signed = STORY.statements.iter().any(|told| {
            told.envelope.payload_type == envelope.payload_type
                && told.envelope.payload == envelope.payload
                && known::key(told.signer).id() == verified.signer()
        });
        assert!(signed, "forged: {envelope:?}");
    }
}

/// The tokens of the story.
pub static TOKENS: LazyLock<Vec<String>> = LazyLock::new(|| {
    let issue = |principal: &str, secret: u8, audience: &str| {
        let principal = countersign_grants::id::Principal::parse(principal).expect("a principal");
        Issuer::new(principal, &known::key(secret)).issue(audience, Timestamp::from_millis(known::NOW_MS))
    };
    let broker = broker_audience(&known::origin());
    vec![
        issue("partners/hopp", known::HOPP, &broker),
        issue("partners/skylark", known::SKYLARK, &broker),
        issue(known::customer().as_str(), known::CUSTOMER, &broker),
        issue(&broker, known::BROKER, "partners/skylark"),
    ]
});

/// A token. What verifies was issued in the story, letter by letter; its times are judged without wrapping.
pub(super) fn token(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(claimed) = Unverified::read(text) else { return };
    let issuer = claimed.issuer().clone();
    let keys = [known::HOPP, known::SKYLARK, known::CUSTOMER, known::BROKER].map(known::key);
    let Some(key) = keys.iter().find(|key| key.id() == claimed.key_id()) else { return };
    let Ok(token) = claimed.verify(key.public()) else { return };
    assert!(TOKENS.iter().any(|issued| issued == text), "forged: {text}");
    assert_eq!(token.issuer(), &issuer);
    let now = Timestamp::from_millis(known::NOW_MS);
    for moment in [Timestamp::default(), now, now.plus(Duration::from_secs(300)), now.plus(Duration::MAX)] {
        let good = token.check("partners/skylark", moment).is_ok()
            || token.check(&broker_audience(&known::origin()), moment).is_ok();
        assert_eq!(good, moment == now);
    }
}

/// An invitation as text. What reads is written in one way from then on; what verifies is the story's.
pub(super) fn invitation(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(package) = InvitationPackage::parse(text) else { return };
    let again = package.to_text();
    // Unknown fields are dropped, so it may have become shorter; from here on it stays.
    for form in
        [again.clone(), package.to_fragment(), format!("https://app.example/link#{}", package.to_fragment())]
    {
        let read = InvitationPackage::parse(&form).map(|package| package.to_text());
        assert_eq!(read.ok(), Some(again.clone()));
    }
    if let Ok(verified) = package.verify(&known::origin(), Timestamp::from_millis(known::NOW_MS)) {
        assert_eq!(verified.invitation.digest(), STORY.digest("source-invitation"));
        assert_eq!(verified.label, known::LABEL);
    }
}

/// A padded value after a zero; sealed fields after anything else. What opens is what the story sealed.
pub(super) fn sealed(data: &[u8]) {
    let Some((what, bytes)) = data.split_first() else { return };
    if *what == 0 {
        if let Ok(value) = sealing::unpad(bytes) {
            assert_eq!(sealing::pad(&value).as_deref(), Ok(bytes));
        }
        return;
    }
    let Ok(fields) = SealedFields::decode(bytes) else { return };
    let asked = known::paths(&known::FIELDS.map(str::to_owned));
    let info = sealing::info(STORY.digest("source-terms"), STORY.digest("fetch"), &asked);
    if let Ok(values) = doors::open(&known::OPENING, &fields, &info) {
        let sealed = |fields: &SealedFields| {
            fields.fields.iter().map(|field| field.ciphertext.clone()).collect::<Vec<_>>()
        };
        assert!(STORY.sealed.encapsulated_key == fields.encapsulated_key || values.is_empty());
        assert!(sealed(&STORY.sealed).starts_with(&sealed(&fields)));
    }
}
