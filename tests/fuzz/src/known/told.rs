//! The story, statement by statement.

use bytes::Bytes;
use countersign_client::{Value, doors};
use countersign_grants::{
    digest::Digest,
    envelope,
    id::SubjectHandle,
    sealing,
    statement::{
        AccountClosure, Acknowledgement, ChangeReason, ErasureAttestation, Fetch, GrantChange, GrantRequest,
        GrantTerms, LinkAcceptance, LinkConfirmation, LinkInvitation, LocationTap, Offer, PartnerChange,
        PartnerKey, PartnerVerb, Preview, PreviewProvision, Provision, Statement, code_mac, label_commitment,
    },
};
use countersign_proto::statement::v1::{self as wire, grant_change::Verb};
use prost::Message as _;

use super::{
    CODE, COMPARISON_KEY, CUSTOMER, EPHEMERAL, FIELDS, Fixed, HOPP, HOPP_IDENTITY, LABEL, LABEL_SALT,
    LINK_SECRET, Log, NOW_MS, OPENING, ORIGIN, RECIPIENT_LINK, SKYLARK, SKYLARK_IDENTITY, SOURCE_LINK, Story,
    Told, VALUES, customer, fetch, key, offer, partner, paths, public, published, request, terms,
};

/// Tells all of it.
pub(super) fn tell() -> Story {
    let mut teller = Teller { told: Vec::new() };
    teller.keys();
    let offer = teller.say::<Offer>("offer", &offer(), HOPP);
    let source = teller.link(
        ["source-invitation", "source-acceptance", "source-confirmation"],
        &Ends {
            partner: "skylark",
            identity: SKYLARK_IDENTITY,
            working: SKYLARK,
            link: SOURCE_LINK,
            subject: 1,
        },
    );
    let recipient = teller.link(
        ["recipient-invitation", "recipient-acceptance", "recipient-confirmation"],
        &Ends { partner: "hopp", identity: HOPP_IDENTITY, working: HOPP, link: RECIPIENT_LINK, subject: 2 },
    );
    let request = teller.say::<GrantRequest>("request", &request(offer), HOPP);
    let terms = terms(offer, request, source, recipient);
    let granted = teller.say::<GrantTerms>("source-terms", &terms, SOURCE_LINK);
    teller.say::<GrantTerms>("recipient-terms", &terms, RECIPIENT_LINK);
    let (sealed, evidence) = teller.transfer(granted);
    teller.changes(granted);
    teller.revision(terms, granted);
    teller.preview(offer, request, source);
    teller.tap(granted);
    let told =
        |name: &str| teller.told.iter().find(|told| told.name == name).map(|told| told.envelope.clone());
    let package = wire::InvitationPackage {
        invitation: told("source-invitation"),
        partner_key: told("skylark-key"),
        secret: Bytes::copy_from_slice(&LINK_SECRET),
        salt: Bytes::copy_from_slice(&LABEL_SALT),
        label: LABEL.into(),
    };
    Story { statements: teller.told, package, sealed, log: Log::of(&evidence) }
}

struct Teller {
    told: Vec<Told>,
}

/// A partner, and the customer's key for the link with it.
struct Ends {
    partner: &'static str,
    identity: u8,
    working: u8,
    link: u8,
    subject: u8,
}

impl Teller {
    fn say<S: Statement>(&mut self, name: &'static str, message: &S::Message, signer: u8) -> Digest {
        let envelope = envelope::sign::<S>(message, &[&key(signer)]);
        let digest = envelope::digest(&envelope);
        self.told.push(Told { name, envelope, signer });
        digest
    }

    fn keys(&mut self) {
        let certify = |partner: &str, secret: u8, sequence: u64, previous: Bytes| wire::PartnerKey {
            broker: ORIGIN.into(),
            partner: partner.into(),
            public_key: public(secret),
            sequence,
            not_before_ms: NOW_MS - 1_000,
            not_after_ms: NOW_MS + 86_400_000,
            previous,
        };
        let first = certify("partners/skylark", SKYLARK, 1, Bytes::new());
        let first = self.say::<PartnerKey>("skylark-key", &first, SKYLARK_IDENTITY);
        let next = certify("partners/skylark", SKYLARK + 2, 2, first.into());
        self.say::<PartnerKey>("skylark-next-key", &next, SKYLARK_IDENTITY);
        let hopp = certify("partners/hopp", HOPP, 1, Bytes::new());
        self.say::<PartnerKey>("hopp-key", &hopp, HOPP_IDENTITY);
    }

    /// Invitation, acceptance, confirmation; the hash of the acceptance.
    fn link(&mut self, [invited, accepted, confirmed]: [&'static str; 3], ends: &Ends) -> Digest {
        let name = partner(ends.partner);
        let invitation = wire::LinkInvitation {
            broker: ORIGIN.into(),
            partner: name.to_string(),
            identity_key: public(ends.identity),
            subject: SubjectHandle::of(&name, [ends.subject; 16]).to_string(),
            label_commitment: label_commitment(&LABEL_SALT, LABEL).into(),
            expire_time_ms: NOW_MS + 600_000,
            time_ms: NOW_MS,
            checkpoint: published(),
            ..Default::default()
        };
        let invitation = self.say::<LinkInvitation>(invited, &invitation, ends.working);
        let acceptance = wire::LinkAcceptance {
            broker: ORIGIN.into(),
            invitation: invitation.into(),
            link_key: public(ends.link),
            code_mac: code_mac(&LINK_SECRET, invitation, key(ends.link).public(), CODE).to_vec().into(),
            time_ms: NOW_MS,
        };
        let acceptance = self.say::<LinkAcceptance>(accepted, &acceptance, ends.link);
        let confirmation = wire::LinkConfirmation {
            broker: ORIGIN.into(),
            partner: name.to_string(),
            acceptance: acceptance.into(),
            time_ms: NOW_MS,
            checkpoint: published(),
        };
        self.say::<LinkConfirmation>(confirmed, &confirmation, ends.working);
        acceptance
    }

    /// What was sealed, and the statements on which the transfer's record rests.
    fn transfer(&mut self, granted: Digest) -> (wire::SealedFields, [Digest; 3]) {
        let fetch = fetch(granted);
        let fetched = self.say::<Fetch>("fetch", &fetch, HOPP);
        let info = sealing::info(granted, fetched, &paths(&fetch.fields));
        let values =
            FIELDS.iter().zip(VALUES).map(|(field, value)| ((*field).to_owned(), Value::from(value)));
        let values: Vec<(String, Value)> = values.collect();
        let sealed = doors::seal(&Fixed(EPHEMERAL), &doors::sealing_key(&OPENING), &info, &values);
        let sealed = sealed.expect("a key and short values");
        let provision = wire::Provision {
            broker: ORIGIN.into(),
            source: partner("skylark").to_string(),
            fetch: fetched.into(),
            sealed: Digest::of(&sealed.encode_to_vec()).into(),
            time_ms: NOW_MS,
            checkpoint: published(),
            ..wire::Provision::default()
        };
        let provided = self.say::<Provision>("provision", &provision, SKYLARK);
        (sealed, [granted, fetched, provided])
    }

    /// What the customer would have narrowed it to in the place of all that: the terms, and the change that names them.
    fn revision(&mut self, terms: wire::GrantTerms, granted: Digest) {
        let narrower = wire::GrantTerms {
            fields: vec![FIELDS[0].to_owned()],
            uses: 6,
            expire_time_ms: terms.expire_time_ms - 60_000,
            log_tag: Bytes::from_static(&[91; 32]),
            time_ms: NOW_MS + 1,
            previous: granted.into(),
            ..terms
        };
        let successor = self.say::<GrantTerms>("narrower-terms", &narrower, SOURCE_LINK);
        let narrow = wire::GrantChange {
            broker: ORIGIN.into(),
            terms: granted.into(),
            sequence: 1,
            verb: Verb::Narrow.into(),
            erase: false,
            previous: granted.into(),
            time_ms: NOW_MS + 1,
            successor: successor.into(),
        };
        self.say::<GrantChange>("narrow", &narrow, SOURCE_LINK);
    }

    /// What the customer could have looked at before the terms, and the provision that can be compared with it.
    fn preview(&mut self, offer: Digest, request: Digest, acceptance: Digest) {
        let preview = wire::Preview {
            broker: ORIGIN.into(),
            acceptance: acceptance.into(),
            request: request.into(),
            offer: offer.into(),
            fields: FIELDS.map(str::to_owned).to_vec(),
            request_id: "5b0a7f52-3c1d-4e0b-8f64-1d2f9a7c3e55".into(),
            time_ms: NOW_MS,
            sealing_key: Bytes::copy_from_slice(&doors::sealing_key(&OPENING)),
        };
        let previewed = self.say::<Preview>("preview", &preview, SOURCE_LINK);
        let fields = paths(&preview.fields);
        let mut values: Vec<(String, Value)> =
            FIELDS.iter().zip(VALUES).map(|(field, value)| ((*field).to_owned(), value.into())).collect();
        values.push((sealing::COMPARISON_KEY.to_owned(), COMPARISON_KEY.to_vec().into()));
        let info = sealing::preview_info(previewed, &fields);
        let sealed = doors::seal(&Fixed(EPHEMERAL), &doors::sealing_key(&OPENING), &info, &values);
        let sealed = sealed.expect("a key and short values").encode_to_vec();
        let shown = wire::PreviewProvision {
            broker: ORIGIN.into(),
            source: partner("skylark").to_string(),
            preview: previewed.into(),
            sealed: Digest::of(&sealed).into(),
            time_ms: NOW_MS,
            checkpoint: published(),
        };
        self.say::<PreviewProvision>("preview-provision", &shown, SKYLARK);
        let provision = self.told.iter().find(|told| told.name == "provision").expect("was told");
        let provision = wire::Provision::decode(provision.envelope.payload.clone()).expect("a provision");
        let marks = fields.iter().zip(VALUES).map(|(field, value)| wire::ComparisonMark {
            field: field.to_string(),
            mac: Bytes::copy_from_slice(&sealing::comparison_mark(&COMPARISON_KEY, field, value.as_bytes())),
        });
        let compared = wire::Provision { preview: previewed.into(), marks: marks.collect(), ..provision };
        self.say::<Provision>("compared-provision", &compared, SKYLARK);
    }

    /// The customer's own tap, as signed for the source. The story's terms have no place in them, so it stands by itself.
    fn tap(&mut self, granted: Digest) {
        let tap = wire::LocationTap {
            broker: ORIGIN.into(),
            terms: granted.into(),
            fields: vec!["pickup.location".into()],
            request_id: "8d1f5a0e-6b7c-4c2d-9e3f-0a1b2c3d4e5f".into(),
            time_ms: NOW_MS,
            expire_time_ms: NOW_MS + 120_000,
        };
        self.say::<LocationTap>("location-tap", &tap, SOURCE_LINK);
    }

    /// Pause, resume, stop, each upon the one before it; and the source's word that it has the stop.
    fn changes(&mut self, granted: Digest) {
        let mut previous = granted;
        for (sequence, name, verb) in
            [(1, "pause", Verb::Pause), (2, "resume", Verb::Resume), (3, "stop", Verb::Stop)]
        {
            let change = wire::GrantChange {
                broker: ORIGIN.into(),
                terms: granted.into(),
                sequence,
                verb: verb.into(),
                erase: verb == Verb::Stop,
                previous: previous.into(),
                time_ms: NOW_MS + sequence,
                successor: vec![].into(),
            };
            previous = self.say::<GrantChange>(name, &change, SOURCE_LINK);
        }
        let acknowledgement = wire::Acknowledgement {
            broker: ORIGIN.into(),
            partner: partner("skylark").to_string(),
            statement: previous.into(),
            time_ms: NOW_MS + 4,
            checkpoint: published(),
        };
        self.say::<Acknowledgement>("acknowledgement", &acknowledgement, SKYLARK);
        self.erasure(granted, previous);
        self.stops_by_partners(granted);
    }

    /// The recipient has deleted what it received; and the customer closes the account.
    fn erasure(&mut self, granted: Digest, stop: Digest) {
        let attestation = wire::ErasureAttestation {
            broker: ORIGIN.into(),
            partner: partner("hopp").to_string(),
            terms: granted.into(),
            change: stop.into(),
            time_ms: NOW_MS + 5,
            checkpoint: published(),
        };
        self.say::<ErasureAttestation>("erasure-attestation", &attestation, HOPP);
        let closure = wire::AccountClosure {
            broker: ORIGIN.into(),
            customer: customer().to_string(),
            time_ms: NOW_MS + 6,
        };
        self.say::<AccountClosure>("account-closure", &closure, CUSTOMER);
    }

    /// What the sides could have done by their own word: the source's suspension and its end, the recipient's revocation.
    fn stops_by_partners(&mut self, granted: Digest) {
        let mut previous = granted;
        let said = [
            ("suspension", "skylark", 1, PartnerVerb::Suspend, ChangeReason::Security),
            ("suspension-end", "skylark", 2, PartnerVerb::Unsuspend, ChangeReason::Unspecified),
            ("revocation", "hopp", 1, PartnerVerb::Revoke, ChangeReason::NotNeeded),
        ];
        for (name, by, sequence, verb, reason) in said {
            let first = if sequence == 1 { granted } else { previous };
            let change = wire::PartnerChange {
                broker: ORIGIN.into(),
                partner: partner(by).to_string(),
                terms: granted.into(),
                sequence,
                verb: verb.into(),
                reason: reason.into(),
                previous: first.into(),
                time_ms: NOW_MS + 4 + sequence,
                checkpoint: published(),
            };
            let signer = if by == "hopp" { HOPP } else { SKYLARK };
            previous = self.say::<PartnerChange>(name, &change, signer);
        }
    }
}
