//! Approvals of what was asked days ago: the offer can be withdrawn by then, and a side suspended.

use countersign_grants::digest::Digest;
use countersign_proto::{
    log::v1::Kind,
    statement::v1::grant_change::Verb,
    v1::{
        self, grant_service_server::GrantService as _, offer_service_server::OfferService as _,
        partner_service_server::PartnerService as _,
    },
};

use super::{
    Setting, change,
    world::{as_brand, as_operator, as_person, refused, row},
};
use crate::service::{offer::Offers, partner::Partners};

impl Setting {
    /// Mei approves a request, under terms of another tag than the first ones.
    async fn approves(&self, request: &v1::GrantRequest) -> String {
        let (from, to) = ((&self.skylark, &self.from), (&self.hopp, &self.to));
        let terms = self.world.terms((request, &self.offer), from, to, 51);
        refused(self.world.approve(&self.mei, request, vec![row(&terms, &self.from, &self.to)]).await)
    }
}

#[tokio::test]
async fn what_is_withdrawn_is_approved_no_more_and_what_was_approved_stands() {
    let s = Setting::new().await;
    let grant = s.approved().await.grants.remove(0);
    s.world.pass(1);
    let request = s.request().await;
    let asked = v1::WithdrawOfferRequest { name: s.offer_name().to_string() };
    let offers = Offers(s.world.broker.clone());
    offers.withdraw_offer(as_brand(&s.hopp, asked)).await.expect("its own");
    assert_eq!(s.approves(&request).await, "WRONG_STATE");
    assert_eq!(s.count(Kind::GrantApproved).await, 1);
    // The request has its other answers, and the grant goes its way.
    let refusal = v1::RefuseGrantRequestRequest { name: request.name };
    s.world.grants().refuse_grant_request(as_person(&s.mei, refusal)).await.expect("is answered");
    let terms = Digest::of(&grant.terms.expect("terms").payload);
    let mut previous = terms;
    for (sequence, verb) in [(1, Verb::Pause), (2, Verb::Resume)] {
        let said = change(&s, terms, previous, (sequence, verb));
        let answer = s.world.change(&s.mei, &said, (&s.from, &s.to)).await.expect("a change");
        let state = answer.grant.expect("a grant").state();
        assert_eq!(state == v1::grant::State::Active, verb == Verb::Resume);
        previous = Digest::of(&prost::Message::encode_to_vec(&said));
    }
}

#[tokio::test]
async fn nothing_is_approved_while_a_side_is_suspended_and_the_request_waits_for_it() {
    let s = Setting::new().await;
    let partners = Partners(s.world.broker.clone());
    let request = s.request().await;
    for side in [&s.skylark, &s.hopp] {
        let name = side.name.to_string();
        let suspend = v1::SuspendPartnerRequest { name: name.clone(), reason: "a test".to_owned() };
        partners.suspend_partner(as_operator(suspend)).await.expect("suspends");
        assert_eq!(s.approves(&request).await, "PARTNER_SUSPENDED", "{name}");
        let resume = v1::ResumePartnerRequest { name };
        partners.resume_partner(as_operator(resume)).await.expect("resumes");
    }
    assert_eq!(s.count(Kind::GrantApproved).await, 0);
    assert_eq!(s.approves(&request).await, "OK");
}
