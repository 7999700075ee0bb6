//! Accounts that nobody can close: reported stolen, or lost with all that opens them. They are erased when nothing has stood
//! under them for so long, and no day earlier.

use std::{path::PathBuf, sync::Arc, time::Duration};

use countersign_broker::{
    private::{self, DataKeyId, Kek},
    removed, rows, sweeper,
};
use countersign_client::{
    PartnerEvent,
    auditor::{FolderLog, PrivatePart, verify},
    customer::{AuthenticatorSecret, Customer, Report, Wallet},
};
use countersign_grants::{
    lifecycle::ABANDONED_FOR,
    statement::{ChangeReason, CustomerVerb},
};
use countersign_ledger::{Outcome, Unit};
use countersign_proto::{
    log::v1::Kind,
    v1::{self, GetLinkRequest},
};
use countersign_store::{ReadError, Store};

use crate::{
    closing::{auditor, holding, markers},
    devices::{relinked, send},
    journey::check_world,
    restart::{close, open},
    stops::operator,
    world::{Brand, Granted, MEI, World, own_connection, reason_of},
    worldcheck::{self, Keys},
};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// As long as the grant of every world lasts.
const GRANTED_FOR: Duration = DAY;

impl Granted {
    /// What the broker's own sweeper does all the time, done now.
    async fn sweeps(&self) -> usize {
        let broker = &self.world.broker;
        sweeper::abandon(broker).await.expect("sweeps");
        sweeper::erase(broker).await.expect("sweeps");
        self.world.count(Kind::CustomerErased).await
    }

    /// Nobody is erased one day early, nor one millisecond: and at that moment one is.
    async fn erased_after(&self, time: Duration) {
        let last = Duration::from_millis(1);
        self.world.clock.advance(time.saturating_sub(DAY));
        assert_eq!(self.sweeps().await, 0, "a day early");
        self.world.clock.advance(DAY.saturating_sub(last));
        assert_eq!(self.sweeps().await, 0, "a moment early");
        self.world.clock.advance(last);
        assert_eq!(self.sweeps().await, 1);
    }

    /// Somebody with Mei's keys reports them stolen, and stops nothing before that.
    async fn reported_alone(&self) {
        let stolen = |it: &mut countersign_proto::statement::v1::CustomerChange| {
            it.verb = CustomerVerb::ReportStolen.into();
            it.authenticator.clear();
            it.wrapped.clear();
            it.label_commitment.clear();
        };
        assert_eq!(send(self, stolen, Wallet::from_secret(&MEI).call_key()).await, "ok");
    }

    /// The person whom Mei is now links with Hopp too, in the place of the old link.
    async fn relinked_with_hopp(&self, mei: &Customer) {
        let invited = self.hopp.partner.invite_anew(&self.at_hopp, "Mei").await.expect("invites");
        let accepted = mei.accept(&invited.package).await.expect("accepts");
        self.hopp.partner.confirm(&invited.link, &accepted.code).await.expect("confirms");
    }
}

async fn links(customer: &Customer, brand: &Brand) {
    let invited = brand.partner.invite("Mei, gold card").await.expect("invites");
    let accepted = customer.accept(&invited.package).await.expect("accepts");
    brand.partner.confirm(&invited.link, &accepted.code).await.expect("confirms");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_account_is_erased_in_time_and_leaves_the_disk() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path().join("store");
    let store = open(&folder).await;
    let granted = World::on(Arc::clone(&store) as Arc<dyn Store>).await.with_grant().await;
    granted.fetch().await.expect("flows");
    let bystander = granted.world.customer().await;
    links(&bystander, &granted.hopp).await;
    let passkey = AuthenticatorSecret::from_secret(&[7; 32]);
    granted.mei.add_authenticator(&passkey, "telephone").await.expect("recorded");
    let mut markers = markers(&granted).await;
    markers.push(("her authenticator", passkey.id().as_bytes().to_vec()));
    for (what, marker) in &markers {
        assert!(!holding(&folder, marker).is_empty(), "{what} is nowhere: the search would find nothing");
    }
    let stolen = granted.mei.report_stolen(true).await.expect("reported");
    assert!(matches!(stolen.report, Report::Recorded(_)), "{:?}", stolen.report);
    granted.hopp.hears(|event| matches!(event, PartnerEvent::EraseDue { .. }).then_some(())).await;
    granted.hopp.partner.attest_erasure(&granted.grant).await.expect("recorded");
    granted.erased_after(ABANDONED_FOR).await;

    // To everybody it is as unknown as one that was closed, and the log says which of the two it was.
    let refused = reason_of(
        own_connection(&granted)
            .customers()
            .get_customer(v1::GetCustomerRequest { name: granted.mei.name().to_string() })
            .await,
    );
    assert_eq!((refused.reason.as_str(), refused.check.as_str()), ("TOKEN_INVALID", "principal"));
    let eve = auditor(&granted.world).await;
    let records = granted.world.records().await;
    check_world(&records);
    let at = records.iter().position(|record| record.kind() == Kind::Transfer).expect("flowed") as u64;
    let (_, part) = eve.entry_and_private_part(at).await.expect("proven");
    let PrivatePart::Erased { by } = part else { panic!("{part:?}") };
    let said = by.record();
    assert_eq!((said.reason.as_str(), said.evidence_commitment.len()), ("ABANDONED", 0));
    assert_eq!(bystander.links().await.expect("lists").len(), 1, "nobody else is touched");

    // The person with other keys: of the old link nobody knows any more, and it is in no new one's way.
    let anew = granted.world.customer_with(stolen.wallet).await;
    let replacing = granted.skylark.partner.invite_anew(&granted.at_skylark, "Mei").await.err();
    assert_eq!(replacing.as_ref().and_then(countersign_client::Error::reason), Some("RESOURCE_UNKNOWN"));
    links(&anew, &granted.skylark).await;

    let due = removed::due(&granted.world.broker, Duration::ZERO).await.expect("reads");
    assert_eq!(due.len(), 2, "the copies that the report removed, and all else");
    let left =
        |sealed: &[u8], stands: &dyn Fn(&[u8]) -> Result<bool, ReadError>| private::left_of(sealed, stands);
    store.scrub(Arc::new(left)).await.expect("scrubs");
    for (what, marker) in &markers {
        assert_eq!(holding(&folder, marker), Vec::<PathBuf>::new(), "{what}");
    }
    let keys = Keys { log: crate::world::signer(1).verifier().clone(), broker: Some(Kek::new([4; 32])) };
    let standing = bystander.name().clone();
    let Granted { world, mei, skylark, hopp, .. } = granted;
    world.end().await;
    drop((eve, mei, skylark, hopp, anew, bystander));
    close(store).await;
    worldcheck::disk(&folder, &keys).await.unwrap_or_else(|found| panic!("{found}"));
    let mut log = FolderLog::open(&folder.join("log")).expect("a folder");
    let report = verify(&mut log, &keys.log, &[], &mut |_| ()).expect("reads");
    assert!(report.is_sound(), "{:?}", report.findings);
    assert_eq!((report.count(Kind::CustomerErased), report.abandoned), (1, 1));

    // An account on which a link stands is called abandoned. Whoever has the broker's key finds it; by the log alone, in
    // which other links ended, nobody can.
    let store = open(&folder).await;
    let world = World::on(Arc::clone(&store) as Arc<dyn Store>).await;
    let ledger = world.broker.ledger();
    let row = world.broker.load(rows::customer(&standing)).await.expect("reads").expect("is open").row;
    let id = DataKeyId::of(&row.wrapped_data_key);
    let draft = world.broker.draft_erased(&standing, id, None).draft;
    let deletes = vec![rows::data_key(id).as_bytes().to_vec()];
    let unit = Unit { records: vec![draft], deletes, ..Unit::default() };
    assert!(matches!(ledger.submit(unit).await, Ok(Outcome::Committed(_))));
    world.end().await;
    close(store).await;
    let found = worldcheck::disk(&folder, &keys).await.err().expect("it is found").to_string();
    assert!(found.contains("calls an account abandoned on which a link stands"), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_account_is_erased_when_every_brand_is_linked_anew() {
    let granted = Granted::start().await;
    granted.fetch().await.expect("flows");
    let mei = relinked(&granted).await;
    granted.world.clock.advance(2 * ABANDONED_FOR);
    assert_eq!(granted.sweeps().await, 0, "one link of the old account stands");
    granted.relinked_with_hopp(&mei).await;
    granted.erased_after(ABANDONED_FOR).await;
    assert_eq!(mei.links().await.expect("lists").len(), 2, "the new account stands");
    granted.world.clock.advance(2 * ABANDONED_FOR);
    assert_eq!(granted.sweeps().await, 1, "and stays");
    check_world(&granted.world.records().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_whose_person_comes_back_in_time_is_kept() {
    let granted = Granted::start().await;
    let mei = relinked(&granted).await;
    granted.relinked_with_hopp(&mei).await;
    // The old keys are found. A word from them is as much time again, and a link keeps the account.
    granted.world.clock.advance(ABANDONED_FOR.saturating_sub(DAY));
    let asking = v1::Asking { paused: true, ..v1::Asking::default() };
    granted.mei.set_asking(asking).await.expect("set");
    granted.world.clock.advance(ABANDONED_FOR.saturating_sub(DAY));
    assert_eq!(granted.sweeps().await, 0);
    links(&granted.mei, &granted.skylark).await;
    granted.world.clock.advance(3 * ABANDONED_FOR);
    assert_eq!(granted.sweeps().await, 0);
    let standing = granted.mei.links().await.expect("lists");
    let link =
        standing.iter().find(|link| link.subject != granted.at_skylark && link.subject != granted.at_hopp);
    let asked = GetLinkRequest { name: link.expect("the one that she found them for").name.to_string() };
    let shown = own_connection(&granted).links().get_link(asked).await.expect("answers").into_inner();
    assert_eq!(shown.state(), v1::link::State::Confirmed);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_erased_while_a_grant_stands_or_was_over_for_less() {
    // Reported by somebody who stops nothing: the grant ends by its time alone.
    let granted = Granted::start().await;
    granted.reported_alone().await;
    granted.world.clock.advance(GRANTED_FOR.saturating_sub(Duration::from_millis(1)));
    assert_eq!(granted.sweeps().await, 0);
    granted.world.clock.advance(Duration::from_millis(1));
    granted.erased_after(ABANDONED_FOR).await;

    // Or by an operator's revocation, later than the links.
    let granted = Granted::start().await;
    granted.reported_alone().await;
    granted.world.clock.advance(GRANTED_FOR / 2);
    operator(&granted).revoke_grant(&granted.grant, ChangeReason::Law).await.expect("revokes");
    granted.erased_after(ABANDONED_FOR).await;
}
