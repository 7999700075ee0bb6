//! What comes beside a closing of the account, and is committed after it: no record stands behind the one that says that the
//! key is destroyed under which it would be sealed.

use std::pin::pin;

use countersign_grants::{digest::Digest, id::Principal, statement as says};
use countersign_proto::{
    log::v1::Kind,
    statement::v1::{self as wire, grant_change::Verb},
    v1::{self, grant_service_server::GrantService as _, transfer_service_server::TransferService as _},
};

use super::{
    Setting, change,
    closing::closure,
    world::{as_brand, as_operator, as_person},
};
use crate::{
    Caller,
    private::DataKeyId,
    rows,
    service::{customer::close::close_within, transfer::TransferService},
    sweeper,
};

/// Longer than any grant or request of these tests lasts.
const OVER: u64 = 7_200_001;

impl Setting {
    /// Closes the account at the moment at which a call has looked whether it is open, when all that stood is over; and then
    /// lets the call go on.
    async fn closes_beside<T>(&self, what: &str, call: impl Future<Output = T>) {
        let broker = &self.world.broker;
        let her = broker.load(rows::customer(&self.mei.name)).await.expect("reads").expect("is open").row;
        let key = rows::data_key(DataKeyId::of(&her.wrapped_data_key));
        let gate = self.world.store.hold_row(key.as_bytes());
        let closing = async {
            gate.has_read.notified().await;
            self.world.pass(OVER);
            let caller = Caller { principal: Principal::Customer(self.mei.name.clone()) };
            close_within(broker, &caller, closure(self), 0).await.expect("closes");
            gate.go.notify_one();
        };
        let mut call = pin!(call);
        tokio::select! {
            biased;
            _ = &mut call => panic!("{what}: it goes through without a look whether the account is open"),
            () = closing => {}
        }
        call.await;
        let kinds: Vec<Kind> =
            self.records().await.iter().map(countersign_proto::log::v1::Record::kind).collect();
        assert_eq!(kinds.last(), Some(&Kind::CustomerErased), "{what}: {kinds:?}");
    }

    /// A grant of Mei's, and the hash of its terms.
    async fn granted(&self) -> (String, Digest) {
        let grant = self.approved().await.grants.remove(0);
        (grant.name, Digest::of(&grant.terms.expect("terms").payload))
    }
}

#[tokio::test]
async fn nothing_of_a_request_is_recorded_behind_the_closing_of_its_customers_account() {
    for what in ["lapse", "turn", "look", "deferral", "refusal", "taking back"] {
        let s = Setting::new().await;
        let name = s.request().await.name;
        let (grants, her) = (s.world.grants(), &s.mei);
        match what {
            "lapse" => {
                s.world.pass(3_600_000);
                s.closes_beside(what, sweeper::sweep(&s.world.broker)).await;
            }
            "turn" => s.closes_beside(what, sweeper::show(&s.world.broker)).await,
            "look" => {
                let asked = v1::GetGrantRequestRequest { name };
                s.closes_beside(what, grants.get_grant_request(as_person(her, asked))).await;
            }
            "taking back" => {
                let asked = v1::CancelGrantRequestRequest { name };
                s.closes_beside(what, grants.cancel_grant_request(as_brand(&s.skylark, asked))).await;
            }
            answer => {
                sweeper::show(&s.world.broker).await.expect("shows it");
                if answer == "deferral" {
                    let asked = v1::DeferGrantRequestRequest { name };
                    s.closes_beside(what, grants.defer_grant_request(as_person(her, asked))).await;
                } else {
                    let asked = v1::RefuseGrantRequestRequest { name };
                    s.closes_beside(what, grants.refuse_grant_request(as_person(her, asked))).await;
                }
            }
        }
    }
}

#[tokio::test]
async fn nothing_of_a_grant_is_recorded_behind_the_closing_of_its_customers_account() {
    for what in ["late order", "pause", "suspension", "notice"] {
        let s = Setting::new().await;
        let (name, terms) = s.granted().await;
        match what {
            "late order" => {
                let stop = change(&s, terms, terms, (1, Verb::Stop));
                s.world.change(&s.mei, &stop, (&s.from, &s.to)).await.expect("a stop");
                let previous = Digest::of(&prost::Message::encode_to_vec(&stop));
                let order = wire::GrantChange { erase: true, ..change(&s, terms, previous, (2, Verb::Stop)) };
                s.closes_beside(what, s.world.change(&s.mei, &order, (&s.from, &s.to))).await;
            }
            "pause" => {
                let pause = change(&s, terms, terms, (1, Verb::Pause));
                s.closes_beside(what, s.world.change(&s.mei, &pause, (&s.from, &s.to))).await;
            }
            "suspension" => {
                let reason = says::ChangeReason::Dispute.into();
                let asked = v1::SuspendGrantRequest { name, reason, ..v1::SuspendGrantRequest::default() };
                s.closes_beside(what, s.world.grants().suspend_grant(as_operator(asked))).await;
            }
            _ => {
                let transfers = TransferService::new(s.world.broker.clone());
                let (subject, resource) = (s.from.subject.to_string(), "trip".to_owned());
                let asked = v1::NotifyChangeRequest { subject, resource, ..Default::default() };
                s.closes_beside(what, transfers.notify_change(as_brand(&s.skylark, asked))).await;
            }
        }
    }
}
