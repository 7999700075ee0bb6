//! Links that end while somebody else acts: whoever comes second finds out.

use countersign_grants::{
    digest::Digest,
    envelope,
    key::SigningKey,
    statement::{self as says, CustomerVerb},
};
use countersign_proto::{
    log::v1::Kind,
    statement::v1 as wire,
    v1::{
        self, customer_service_server::CustomerService as _, grant_service_server::GrantService as _,
        link::State, link_service_server::LinkService as _,
    },
};
use tonic::Status;

use super::{
    Setting, row,
    world::{Linked, ORIGIN, SALTS, as_brand, as_person, refused},
};
use crate::{caller::Party, rows};

impl Setting {
    pub(super) fn her_party(&self) -> Party {
        Party::Customer(self.mei.name.clone())
    }

    /// Mei reports her root secret stolen.
    pub(super) async fn report(&self) -> Result<v1::ChangeCustomerResponse, Status> {
        let message = wire::CustomerChange {
            broker: ORIGIN.to_owned(),
            customer: self.mei.name.to_string(),
            sequence: 1,
            verb: CustomerVerb::ReportStolen.into(),
            time_ms: self.world.now(),
            ..wire::CustomerChange::default()
        };
        let statement = Some(envelope::sign::<says::CustomerChange>(&message, &[&self.mei.key]));
        let asked = v1::ChangeCustomerRequest {
            name: self.mei.name.to_string(),
            statement,
            ..v1::ChangeCustomerRequest::default()
        };
        let customers = self.world.customers();
        customers.change_customer(as_person(&self.mei, asked)).await.map(tonic::Response::into_inner)
    }

    async fn skylark_sees(&self, link: &Linked) -> State {
        let asked = v1::GetLinkRequest { name: link.name.to_string() };
        let link = self.world.links().get_link(as_brand(&self.skylark, asked)).await.expect("a link");
        link.into_inner().state()
    }

    /// A link that Mei has accepted, and Skylark has not confirmed yet.
    async fn accepted(&self) -> Linked {
        let (name, subject) = self.world.invite(&self.skylark, 60).await;
        let key = SigningKey::from_secret(&[60; 32]);
        let acceptance = self.world.accept(&self.mei, &name, &key).await.expect("an acceptance");
        Linked { name, subject, key, acceptance }
    }
}

#[tokio::test]
async fn no_approval_slips_in_beside_the_confirmation_of_another_link() {
    let s = Setting::new().await;
    let request = s.request().await;
    // The same person with new keys, in the place of the old link; who has the old keys approves at that moment.
    let anew = s.world.person(61).await;
    let (name, _) = s.world.invite_anew(&s.skylark, 62, &s.from).await;
    let acceptance =
        s.world.accept(&anew, &name, &SigningKey::from_secret(&[62; 32])).await.expect("accepts");
    let gate = s.world.store.hold(rows::grants_of(&s.her_party()).name(), 0);
    let thief = async {
        gate.has_read.notified().await;
        let rows = vec![row(&s.terms(&request), &s.from, &s.to)];
        let approved = s.world.approve(&s.mei, &request, rows).await;
        gate.go.notify_one();
        approved
    };
    let (confirmed, approved) = tokio::join!(s.world.confirm(&s.skylark, &name, acceptance), thief);
    approved.expect("nothing is in its way");
    assert_eq!(refused(confirmed), "GRANTS_STAND", "what came meanwhile is seen");
    assert_eq!(s.skylark_sees(&s.from).await, State::Confirmed);
}

#[tokio::test]
async fn no_narrowing_slips_in_beside_the_confirmation_of_another_link() {
    let s = Setting::new().await;
    let grant = s.approved().await.grants.remove(0);
    let old = Digest::of(&grant.terms.as_ref().expect("terms").payload);
    let anew = s.world.person(61).await;
    let (name, _) = s.world.invite_anew(&s.skylark, 62, &s.from).await;
    let acceptance =
        s.world.accept(&anew, &name, &SigningKey::from_secret(&[62; 32])).await.expect("accepts");
    let gate = s.world.store.hold(rows::grants_of(&s.her_party()).name(), 0);
    let thief = async {
        gate.has_read.notified().await;
        // By now the index has been read, with the old grant alone; when that one is looked at, it is over.
        let narrowed = s.narrow(&grant, old).await;
        gate.go.notify_one();
        narrowed
    };
    let (confirmed, narrowed) = tokio::join!(s.world.confirm(&s.skylark, &name, acceptance), thief);
    narrowed.expect("nothing is in its way");
    assert_eq!(refused(confirmed), "GRANTS_STAND");
}

impl Setting {
    /// Half the uses, in the place of what was approved.
    async fn narrow(&self, grant: &v1::Grant, old: Digest) -> Result<(), Status> {
        let mut terms = <wire::GrantTerms as prost::Message>::decode(
            grant.terms.as_ref().expect("terms").payload.clone(),
        )
        .expect("terms");
        terms.uses /= 2;
        terms.previous = old.into();
        // Of the same moment, with a name before the old one's: who goes through the index by pages has passed it.
        let mut tag = 63;
        let (new, successor) = loop {
            terms.log_tag = vec![tag; 32].into();
            let new = row(&terms, &self.from, &self.to);
            let successor = envelope::digest(new.source_terms.as_ref().expect("signed"));
            if successor < old {
                break (new, successor);
            }
            tag += 1;
        };
        let change = wire::GrantChange {
            successor: successor.into(),
            ..super::change(self, old, old, (1, wire::grant_change::Verb::Narrow))
        };
        let sign = |link: &Linked| Some(envelope::sign::<says::GrantChange>(&change, &[&link.key]));
        let asked = v1::NarrowGrantRequest {
            name: grant.name.clone(),
            source_change: sign(&self.from),
            recipient_change: sign(&self.to),
            source_terms: new.source_terms,
            recipient_terms: new.recipient_terms,
            source_salt: SALTS[0].to_vec().into(),
            recipient_salt: SALTS[1].to_vec().into(),
        };
        self.world.grants().narrow_grant(as_person(&self.mei, asked)).await.map(drop)
    }
}

#[tokio::test]
async fn no_link_of_a_stolen_identity_is_confirmed() {
    let s = Setting::new().await;
    let pending = s.accepted().await;
    s.report().await.expect("recorded");
    let late = s.world.confirm(&s.skylark, &pending.name, pending.acceptance).await;
    assert_eq!(refused(late), "CUSTOMER_STOLEN");
    assert_eq!(s.skylark_sees(&pending).await, State::Accepted);
    assert_eq!(s.skylark_sees(&s.from).await, State::Stolen);
}

#[tokio::test]
async fn a_link_that_is_confirmed_beside_a_report_of_theft_ends_with_the_others() {
    let s = Setting::new().await;
    let pending = s.accepted().await;
    // The first look finds the links, the second that there are no more: all that stood have ended by then.
    let gate = s.world.store.hold(rows::links_of(&s.her_party()).name(), 1);
    let partner = async {
        gate.has_read.notified().await;
        let confirmed = s.world.confirm(&s.skylark, &pending.name, pending.acceptance).await;
        gate.go.notify_one();
        confirmed
    };
    let (reported, confirmed) = tokio::join!(s.report(), partner);
    confirmed.expect("not reported yet");
    reported.expect("recorded");
    assert_eq!(s.skylark_sees(&pending).await, State::Stolen);
    assert_eq!((s.count(Kind::LinkStolen).await, s.count(Kind::CustomerStolen).await), (3, 1));
}
