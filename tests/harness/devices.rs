//! Devices, theft, and linking anew: what opens the root secret, and what ends when it is in other hands.

use std::{sync::Arc, time::Duration};

use countersign_client::{
    Connection, Error, PartnerEvent,
    book::Standing,
    customer::{AuthenticatorSecret, Choice, Customer, CustomerBook, Report, Wallet, fetch_wallet},
};
use countersign_grants::{
    digest::Digest,
    envelope,
    id::{CustomerName, LinkName, Principal, SubjectHandle},
    key::SigningKey,
    statement::{ChangeReason, CustomerChange, CustomerVerb, LinkConfirmation, LinkInvitation},
    time::Clock as _,
};
use countersign_proto::{
    log::v1::Kind,
    statement::v1 as wire,
    v1::{self, ChangeCustomerRequest, GetWrappedCopyRequest, grant::State, link},
};

use crate::{
    journey::check_world,
    world::{Brand, Granted, MEI, PATIENCE, World, bare_fetch, own_connection, reason_of, sign_as},
};

fn passkey(byte: u8) -> AuthenticatorSecret {
    AuthenticatorSecret::from_secret(&[byte; 32])
}

impl Granted {
    /// Another device with Mei's wallet, and a book of its own.
    pub(crate) fn second_device(&self) -> Customer {
        self.device_with(Wallet::from_secret(&MEI))
    }

    fn device_with(&self, wallet: Wallet) -> Customer {
        Customer::open(self.world.trust.clone(), wallet, CustomerBook::in_memory(), self.world.system())
            .expect("opens")
    }
}

/// A connection without any standing: no principal has its key.
fn nobody(world: &World) -> Connection {
    let key = SigningKey::from_secret(&[99; 32]);
    let principal = Principal::Customer(CustomerName::of(key.id()));
    Connection::open(&world.trust, principal, &key, Arc::new(world.clock.clone())).expect("an address")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_device_gets_the_wallet_from_its_authenticator_and_finds_everything() {
    let granted = Granted::start().await;
    granted.fetch().await.expect("flows");
    granted.mei.add_authenticator(&passkey(1), "telephone").await.expect("recorded");
    granted.mei.add_authenticator(&passkey(2), "key at home").await.expect("recorded");
    let devices = granted.mei.devices().await.expect("lists");
    let labels: Vec<_> = devices.iter().filter_map(|one| one.label.as_deref()).collect();
    assert_eq!((devices.len(), labels.contains(&"telephone")), (2, true));

    let wallet =
        fetch_wallet(&granted.world.trust, &passkey(2), &granted.world.system()).await.expect("opens");
    assert_eq!(wallet.customer(), granted.mei.name());
    let new = granted.device_with(wallet);
    assert_eq!(new.links().await.expect("lists").len(), 2, "links follow from the root secret");
    let grants = new.grants().await.expect("lists");
    assert_eq!((grants.len(), grants[0].state), (1, Some(State::Active)));
    assert_eq!(new.devices().await.expect("lists").len(), 2);
    new.stop(&granted.grant, false).await.expect("recorded");

    // A removed one opens nothing any more; a device that was there knows.
    new.remove_authenticator(passkey(1).id()).await.expect("recorded");
    let gone = fetch_wallet(&granted.world.trust, &passkey(1), &granted.world.system()).await;
    let never = fetch_wallet(&granted.world.trust, &passkey(9), &granted.world.system()).await;
    let said = |refused: Result<Wallet, Error>| match refused {
        Err(Error::Refused(refused)) => (refused.reason, refused.message, refused.metadata),
        Err(error) => panic!("{error}"),
        Ok(_) => panic!("opened"),
    };
    let (gone, never) = (said(gone), said(never));
    assert_eq!(gone.0, "RESOURCE_UNKNOWN");
    assert_eq!(gone, never, "one that was removed answers like one that never was");
    assert_eq!(granted.mei.devices().await.expect("lists").len(), 1);
    let last = new.remove_authenticator(passkey(2).id()).await.expect_err("the last one");
    assert!(last.to_string().contains("last authenticator"), "{last}");

    let records = granted.world.records().await;
    let of = |kind: Kind| records.iter().filter(|record| record.kind() == kind).collect::<Vec<_>>();
    assert_eq!((of(Kind::AuthenticatorAdded).len(), of(Kind::AuthenticatorRemoved).len()), (2, 1));
    for record in of(Kind::AuthenticatorAdded) {
        let leaf = format!("{record:?}");
        assert!(!leaf.contains("customers/") && !leaf.contains("telephone"), "{leaf}");
        assert!(record.source.is_empty() && !record.subject_commitment.is_empty());
    }
    check_world(&records);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_devices_share_one_chain() {
    let granted = Granted::start().await;
    let second = granted.second_device();
    granted.mei.add_authenticator(&passkey(1), "telephone").await.expect("recorded");
    second.add_authenticator(&passkey(2), "tablet").await.expect("takes the next number");
    granted.mei.add_authenticator(&passkey(3), "key").await.expect("and so does the first again");
    let again = granted.mei.add_authenticator(&passkey(3), "key").await.expect_err("it is there");
    assert!(again.to_string().contains("added before"), "{again}");
    assert_eq!(second.devices().await.expect("lists").len(), 3);
}

/// A change as a hostile app would send it.
pub(crate) async fn send(
    granted: &Granted,
    bend: impl FnOnce(&mut wire::CustomerChange),
    signer: &SigningKey,
) -> String {
    let wallet = Wallet::from_secret(&MEI);
    let mut message = wire::CustomerChange {
        broker: granted.world.trust.origin.to_string(),
        customer: wallet.customer().to_string(),
        sequence: 1,
        verb: CustomerVerb::AddAuthenticator.into(),
        authenticator: vec![1; 32].into(),
        wrapped: Digest::of(b"opaque").as_bytes().to_vec().into(),
        label_commitment: vec![3; 32].into(),
        time_ms: granted.world.clock.now().as_millis(),
        ..Default::default()
    };
    bend(&mut message);
    let statement = envelope::sign::<CustomerChange>(&message, &[signer]);
    let connection = own_connection(granted);
    let asked = ChangeCustomerRequest {
        name: wallet.customer().to_string(),
        statement: Some(statement),
        wrapped: b"opaque".to_vec().into(),
    };
    match connection.customers().change_customer(asked).await {
        Ok(_) => "ok".to_owned(),
        Err(status) => {
            let refused = Error::from(status);
            let Error::Refused(refused) = refused else { panic!("{refused}") };
            let check = refused.metadata.get("check").or(refused.metadata.get("field"));
            format!("{}: {}", refused.reason, check.map_or("", String::as_str))
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_the_customer_did_not_sign_next_is_refused_by_name() {
    let granted = Granted::start().await;
    let wallet = Wallet::from_secret(&MEI);
    let own = wallet.call_key();
    let before = granted.world.records().await.len();
    assert_eq!(send(&granted, |_| {}, &SigningKey::from_secret(&[5; 32])).await, "STATEMENT_INVALID: key");
    assert_eq!(
        send(&granted, |it| it.broker = "other.test/log".into(), own).await,
        "STATEMENT_INVALID: broker"
    );
    let other = CustomerName::of(SigningKey::from_secret(&[5; 32]).id());
    assert_eq!(
        send(&granted, |it| it.customer = other.to_string(), own).await,
        "STATEMENT_INVALID: customer"
    );
    assert_eq!(
        send(
            &granted,
            |it| {
                it.sequence = 2;
                it.previous = vec![1; 32].into();
            },
            own
        )
        .await,
        "STATEMENT_INVALID: sequence"
    );
    assert_eq!(send(&granted, |it| it.time_ms += 60_000, own).await, "STATEMENT_INVALID: time");
    assert_eq!(send(&granted, |it| it.wrapped = vec![9; 32].into(), own).await, "FIELD_INVALID: wrapped");
    let removes = |it: &mut wire::CustomerChange| {
        it.verb = CustomerVerb::RemoveAuthenticator.into();
        it.wrapped.clear();
        it.label_commitment.clear();
    };
    assert_eq!(send(&granted, removes, own).await, "STATEMENT_INVALID: authenticator");
    assert_eq!(granted.world.records().await.len(), before, "none of it is a record");
    assert_eq!(send(&granted, |_| {}, own).await, "ok");
    assert_eq!(send(&granted, |_| {}, own).await, "ok", "the same again is the first answer");
    assert_eq!(granted.world.count(Kind::AuthenticatorAdded).await, 1);

    let lookup = |bytes: Vec<u8>| GetWrappedCopyRequest { lookup: bytes.into() };
    let short = nobody(&granted.world).customers().get_wrapped_copy(lookup(vec![1; 31])).await;
    assert_eq!(reason_of(short).reason, "FIELD_INVALID");
    let unknown = nobody(&granted.world).customers().get_wrapped_copy(lookup(vec![1; 32])).await;
    assert_eq!(reason_of(unknown).reason, "RESOURCE_UNKNOWN");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_secret_does_nothing_from_the_next_call_on() {
    let granted = Granted::start().await;
    granted.fetch().await.expect("flows");
    granted.mei.add_authenticator(&passkey(1), "telephone").await.expect("recorded");
    let thief = granted.second_device();
    thief.links().await.expect("the thief has it all");
    let waiting = granted.hopp.offer_trip(&granted.skylark, 5).await;
    let asked = granted
        .skylark
        .partner
        .request(&granted.at_skylark, &[(waiting, false)], Duration::from_secs(600))
        .await
        .expect("asks");
    let read = thief.read_request(&asked).await.expect("reads");
    let mut watching = thief.watch(0, &[]);
    watching.next().await.expect("the thief watches");

    let stolen = granted.mei.report_stolen(true).await.expect("reported");
    assert_eq!(
        (stolen.stopped.as_slice(), stolen.not_stopped.len()),
        ([granted.grant.clone()].as_slice(), 0)
    );
    assert_eq!(stolen.relink.len(), 2);
    assert_ne!(stolen.wallet.customer(), granted.mei.name());

    let refused = thief.approve(&read, &Choice::required("en")).await.expect_err("ended");
    assert_eq!(refused.reason(), Some("CUSTOMER_STOLEN"));
    assert_eq!(thief.grants().await.expect_err("ended").reason(), Some("CUSTOMER_STOLEN"));
    let ended = async {
        loop {
            if let Err(error) = watching.next().await {
                return error;
            }
        }
    };
    let ended = tokio::time::timeout(PATIENCE, ended).await.expect("an open stream ends too");
    assert_eq!(ended.reason(), Some("CUSTOMER_STOLEN"));
    let copy = fetch_wallet(&granted.world.trust, &passkey(1), &granted.world.system()).await;
    assert_eq!(
        copy.err().and_then(|error| error.reason().map(str::to_owned)).as_deref(),
        Some("RESOURCE_UNKNOWN")
    );
    assert_eq!(reason_of(granted.send(&bare_fetch(&granted).await).await).reason, "GRANT_ENDED");

    // Both brands have the customer's own signed stop, and hear that the link's keys are in other hands.
    for (brand, subject) in [(&granted.skylark, &granted.at_skylark), (&granted.hopp, &granted.at_hopp)] {
        brand
            .hears(|event| match event {
                PartnerEvent::LinkStolen { subject: told, .. } => (told == *subject).then_some(()),
                _ => None,
            })
            .await;
        let row = brand.partner.book().grant(&granted.grant).expect("stands in the book");
        assert!(matches!(row.standing(), Standing::Stopped { erase: true }));
    }
    let offer = granted.hopp.offer_trip(&granted.skylark, 6).await;
    let lifetime = Duration::from_secs(600);
    let gone = granted.skylark.partner.request(&granted.at_skylark, &[(offer, false)], lifetime).await;
    assert_eq!(gone.expect_err("the handle stands for nobody").reason(), Some("GRANT_UNKNOWN"));
    // Who has seen the proof knows it; to everybody else it is the broker's bare word.
    let Report::Recorded(proof) = &stolen.report else { panic!("{:?}", stolen.report) };
    let again = granted.mei.report_stolen(true).await.expect("reported before");
    assert!(matches!(again.report, Report::RecordedBefore { index } if index == proof.index()));
    let other = granted.second_device().report_stolen(true).await.expect("answers");
    assert!(matches!(other.report, Report::BrokersWord), "{:?}", other.report);

    // A new wallet links anew.
    let mei = granted.world.customer_with(stolen.wallet).await;
    let invited =
        granted.skylark.partner.invite_anew(&granted.at_skylark, "Mei, gold card").await.expect("invites");
    let accepted = mei.accept(&invited.package).await.expect("accepts");
    granted.skylark.partner.confirm(&invited.link, &accepted.code).await.expect("confirms");
    let records = granted.world.records().await;
    let count = |kind: Kind| records.iter().filter(|record| record.kind() == kind).count();
    assert_eq!((count(Kind::CustomerStolen), count(Kind::LinkStolen), count(Kind::LinkReplaced)), (1, 2, 1));
    check_world(&records);
}

/// More than one page of what a broker ends at once.
const MORE_THAN_A_PAGE: usize = 26;

#[tokio::test(flavor = "multi_thread")]
async fn a_report_of_theft_ends_every_link_and_grant_however_many() {
    let granted = Granted::start().await;
    for _ in 0..MORE_THAN_A_PAGE {
        granted.world.link(&granted.mei, &granted.skylark).await;
        granted.approve_one().await;
    }
    granted.mei.links().await.expect("all are confirmed");
    let stolen = granted.mei.report_stolen(false).await.expect("reported");
    assert!(matches!(stolen.report, Report::Recorded(_)), "{:?}", stolen.report);
    assert_eq!((stolen.stopped.len(), stolen.not_stopped.len()), (MORE_THAN_A_PAGE + 1, 0));
    assert_eq!(stolen.relink.len(), MORE_THAN_A_PAGE + 2);
    let records = granted.world.records().await;
    let count = |kind: Kind| records.iter().filter(|record| record.kind() == kind).count();
    assert_eq!(count(Kind::LinkStolen), MORE_THAN_A_PAGE + 2, "each partner hears of each");
    assert_eq!(count(Kind::GrantWithdrawn), MORE_THAN_A_PAGE + 1);
    check_world(&records);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_thief_approved_at_the_last_moment_flows_nowhere() {
    let granted = Granted::start().await;
    let thief = granted.second_device();
    // The report of a device that knows nothing of the grant, as if it had been approved between its stops and its report.
    let wallet = Wallet::from_secret(&MEI);
    let stolen = |it: &mut wire::CustomerChange| {
        it.verb = CustomerVerb::ReportStolen.into();
        it.authenticator.clear();
        it.wrapped.clear();
        it.label_commitment.clear();
    };
    assert_eq!(send(&granted, stolen, wallet.call_key()).await, "ok");
    assert_eq!(thief.grants().await.expect_err("ended").reason(), Some("CUSTOMER_STOLEN"));
    let before = granted.skylark.shelf.asked();
    assert_eq!(reason_of(granted.send(&bare_fetch(&granted).await).await).reason, "GRANT_ENDED");
    assert_eq!(granted.skylark.shelf.asked(), before, "the source is not asked");
    granted.hopp.hears(|event| matches!(event, PartnerEvent::LinkStolen { .. }).then_some(())).await;
    let held = granted.fetch().await.expect_err("the recipient holds it");
    assert!(matches!(held, Error::Misuse(_)), "{held}");
}

/// Mei has lost everything: a new wallet, linked with Skylark in the place of the old link.
pub(crate) async fn relinked(granted: &Granted) -> Customer {
    let mei = granted.world.customer().await;
    let invited =
        granted.skylark.partner.invite_anew(&granted.at_skylark, "Mei, gold card").await.expect("invites");
    let accepted = mei.accept(&invited.package).await.expect("accepts");
    granted.skylark.partner.confirm(&invited.link, &accepted.code).await.expect("confirms");
    assert_ne!(invited.subject, granted.at_skylark);
    mei
}

#[tokio::test(flavor = "multi_thread")]
async fn linking_anew_ends_what_hung_on_the_old_link_on_all_sides() {
    let granted = Granted::start().await;
    granted.fetch().await.expect("flows");
    let offer = granted.hopp.offer_trip(&granted.skylark, 5).await;
    let lifetime = Duration::from_secs(600);
    let waiting = granted
        .skylark
        .partner
        .request(&granted.at_skylark, &[(offer, false)], lifetime)
        .await
        .expect("asks");
    let thief = granted.second_device();
    thief.links().await.expect("lists");
    let read = thief.read_request(&waiting).await.expect("reads");
    let mei = relinked(&granted).await;

    // By the broker, by the source, by the recipient.
    assert_eq!(reason_of(granted.send(&bare_fetch(&granted).await).await).reason, "GRANT_ENDED");
    let at_source = granted.skylark.partner.book().grant(&granted.grant).expect("stands");
    assert!(!at_source.stands(granted.world.clock.now()));
    assert_eq!(at_source.revoked().map(|(_, why)| why), Some(ChangeReason::LinkReplaced));
    let why = granted
        .hopp
        .hears(|event| match event {
            PartnerEvent::GrantRevoked { reason, .. } => Some(reason),
            _ => None,
        })
        .await;
    assert_eq!(why, ChangeReason::LinkReplaced);
    assert!(matches!(granted.fetch().await, Err(Error::Misuse(_))), "the recipient's own book refuses");

    // The old wallet approves nothing more with that brand, and nobody is found under the old handle.
    let refused = thief.approve(&read, &Choice::required("en")).await.expect_err("the link is over");
    assert_eq!(refused.reason(), Some("LINK_MISSING"));
    let link =
        thief.book().links().into_iter().find(|link| link.subject == granted.at_skylark).expect("known");
    let asked = v1::GetLinkRequest { name: link.name.to_string() };
    let shown = own_connection(&granted).links().get_link(asked).await.expect("answers").into_inner();
    assert_eq!(shown.state(), link::State::Replaced);
    let offer = granted.hopp.offer_trip(&granted.skylark, 6).await;
    let gone = granted.skylark.partner.request(&granted.at_skylark, &[(offer, false)], lifetime).await;
    assert_eq!(gone.expect_err("nobody").reason(), Some("GRANT_UNKNOWN"));
    assert_eq!(mei.links().await.expect("lists").len(), 1);
    let records = granted.world.records().await;
    check_world(&records);
    let last = records.iter().rposition(|record| record.kind() == Kind::GrantRevoked).expect("revoked");
    let replaced = records.iter().position(|record| record.kind() == Kind::LinkReplaced).expect("replaced");
    assert!(last < replaced, "a link gives way when nothing hangs on it");
}

async fn checkpoint(brand: &Brand) -> bytes::Bytes {
    let answer = brand.partner.connection().audit().get_checkpoint(v1::GetCheckpointRequest {}).await;
    answer.expect("answers").into_inner().checkpoint
}

/// A confirmation as a partner's own code could send it, without revoking anything first.
async fn bare_confirmation(granted: &Granted, link: &LinkName) -> Result<v1::Link, tonic::Status> {
    let skylark = &granted.skylark;
    let asked = v1::GetLinkRequest { name: link.to_string() };
    let shown = skylark.partner.connection().links().get_link(asked).await.expect("answers").into_inner();
    let message = wire::LinkConfirmation {
        broker: granted.world.trust.origin.to_string(),
        partner: skylark.name().to_string(),
        acceptance: envelope::digest(shown.acceptance.as_ref().expect("accepted")).into(),
        time_ms: granted.world.clock.now().as_millis(),
        checkpoint: checkpoint(skylark).await,
    };
    let statement = Some(sign_as::<LinkConfirmation>(&skylark.working, &message));
    let asked = v1::ConfirmLinkRequest { name: link.to_string(), statement };
    skylark.partner.connection().links().confirm_link(asked).await.map(tonic::Response::into_inner)
}

/// An invitation that names any link at all.
async fn bare_invitation(
    brand: &Brand,
    granted: &Granted,
    replaces: Digest,
) -> Result<v1::Link, tonic::Status> {
    let now = granted.world.clock.now();
    let message = wire::LinkInvitation {
        broker: granted.world.trust.origin.to_string(),
        partner: brand.name().to_string(),
        identity_key: brand.identity.public().as_bytes().to_vec().into(),
        subject: SubjectHandle::of(brand.name(), granted.world.system().draw()).to_string(),
        label_commitment: vec![7; 32].into(),
        expire_time_ms: now.plus(Duration::from_secs(600)).as_millis(),
        time_ms: now.as_millis(),
        checkpoint: checkpoint(brand).await,
        replaces: replaces.into(),
        return_address: String::new(),
    };
    let statement = Some(sign_as::<LinkInvitation>(&brand.working, &message));
    let asked = v1::CreateLinkInvitationRequest { statement };
    brand.partner.connection().links().create_link_invitation(asked).await.map(tonic::Response::into_inner)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_does_not_give_way_while_a_grant_hangs_on_it_or_to_a_stranger() {
    let granted = Granted::start().await;
    // Another brand names Skylark's link: to it there is none.
    let invited = granted.skylark.partner.invite_anew(&granted.at_skylark, "Mei").await.expect("invites");
    let unknown = granted.hopp.partner.invite_anew(&granted.at_skylark, "Mei").await;
    assert!(matches!(unknown, Err(Error::Misuse(_))), "its own book has no such handle");
    let old = granted.skylark.partner.book().link_of(&granted.at_skylark).expect("linked").name().clone();
    let refused = reason_of(bare_invitation(&granted.hopp, &granted, old.digest()).await);
    assert_eq!(refused.reason, "RESOURCE_UNKNOWN", "to the broker it has none");
    let refused = reason_of(bare_invitation(&granted.skylark, &granted, Digest::of(b"none")).await);
    assert_eq!(refused.reason, "RESOURCE_UNKNOWN");
    let pending = granted.skylark.partner.invite("Mei").await.expect("invites").link;
    let refused = reason_of(bare_invitation(&granted.skylark, &granted, pending.digest()).await);
    assert_eq!(refused.reason, "WRONG_STATE", "it never stood");

    // Skylark's confirmation without its revocations, as a partner's own code might send it.
    let mei = granted.world.customer().await;
    let accepted = mei.accept(&invited.package).await.expect("accepts");
    let refused = reason_of(bare_confirmation(&granted, &invited.link).await);
    assert_eq!((refused.reason.as_str(), refused.check.as_str()), ("GRANTS_STAND", granted.grant.as_str()));
    granted.fetch().await.expect("flows as before");

    granted.skylark.partner.confirm(&invited.link, &accepted.code).await.expect("revokes, then confirms");
    // Sent again it changes nothing; and what gave way once does so no more.
    granted.skylark.partner.confirm(&invited.link, &accepted.code).await.expect("the same");
    let again = granted.skylark.partner.invite_anew(&granted.at_skylark, "Mei").await.err();
    assert_eq!(again.as_ref().and_then(Error::reason), Some("WRONG_STATE"), "it was replaced");
    check_world(&granted.world.records().await);
}
