//! Partners that are put out by a rule, and what the row of one that came in says.

use countersign_proto::{
    log::v1::Kind,
    v1::{self, partner_service_server::PartnerService as _},
};

use super::{Setting, world::as_operator};
use crate::{
    Fault,
    service::partner::Partners,
    suspicion::{MISBEHAVIOURS, WINDOW},
};

impl Setting {
    async fn misbehaves(&self, check: &'static str, times: usize) {
        let fault = Fault::SourceMisbehaved { source_name: self.skylark.name.clone(), check };
        for _ in 0..times {
            self.world.broker.weigh(&fault).await;
        }
    }

    async fn skylark_is(&self) -> v1::partner::State {
        let service = Partners(self.world.broker.clone());
        let asked = v1::GetPartnerRequest { name: self.skylark.name.to_string() };
        service.get_partner(as_operator(asked)).await.expect("is there").into_inner().state()
    }
}

#[tokio::test]
async fn a_source_whose_answers_do_not_hold_is_suspended_by_a_rule_and_resumed_by_a_person() {
    use v1::partner::State;
    let s = Setting::new().await;
    s.misbehaves("time", 2 * MISBEHAVIOURS).await;
    s.misbehaves("partner_key_time", 2 * MISBEHAVIOURS).await;
    assert_eq!(
        s.skylark_is().await,
        State::Active,
        "a wrong clock is an accident, and so is a key that ran out"
    );
    s.misbehaves("fields", MISBEHAVIOURS - 1).await;
    s.world.pass(WINDOW.as_millis().try_into().expect("minutes"));
    s.misbehaves("fields", MISBEHAVIOURS - 1).await;
    assert_eq!(s.skylark_is().await, State::Active, "what is long past counts no more");
    s.misbehaves("sealed", 1).await;
    assert_eq!(s.skylark_is().await, State::Suspended);
    let record = s.records().await.pop().expect("the newest");
    assert_eq!(record.kind(), Kind::PartnerSuspendedAutomatically);
    assert_eq!(
        (record.source.as_str(), record.reason.as_str()),
        (s.skylark.name.as_str(), "SOURCE_MISBEHAVED")
    );
    s.misbehaves("sealed", MISBEHAVIOURS).await;
    assert_eq!(s.count(Kind::PartnerSuspendedAutomatically).await, 1, "once is enough");
    let resume = v1::ResumePartnerRequest { name: s.skylark.name.to_string() };
    Partners(s.world.broker.clone()).resume_partner(as_operator(resume)).await.expect("a person looked");
    assert_eq!(s.skylark_is().await, State::Active);
}
