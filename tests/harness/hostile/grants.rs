//! Grants that nobody gave: hung on another account, forged, widened, replayed, or put back to an older state.

use countersign_client::{
    Error, PartnerEvent,
    customer::{Customer, CustomerBook, Wallet},
};
use countersign_grants::{
    id::GrantName,
    statement::{GrantTerms, Offer},
};
use countersign_proto::{
    log::v1::Kind,
    v1::{Grant, ListGrantsResponse, ProvideDataRequest, grant::State},
};
use tonic::Code;

use super::{Operator, blamed};
use crate::world::{MEI, Said, bare_fetch, reason_of};

impl Operator {
    /// A grant that Skylark has not heard of: the operator keeps its approval back.
    async fn kept_from_skylark(&self) -> GrantName {
        let skylark = self.skylark.name().to_string();
        self.front.tell(move |caller, event| caller != skylark || event.kind() != Kind::GrantApproved);
        self.one_more().await
    }

    /// Draws under a grant with papers that were bent; says how Skylark refuses.
    async fn draws_by(&self, grant: &GrantName, bend: impl FnOnce(&mut ProvideDataRequest)) -> Said {
        let mut fetch = bare_fetch(self).await;
        fetch.terms = grant.digest().into();
        let fetch = self.signed(&fetch);
        let mut papers = self.papers(grant, &fetch).await;
        bend(&mut papers);
        let said = reason_of(self.provide(papers).await);
        assert_eq!(self.skylark.shelf.asked(), 0, "the handler was never asked");
        said
    }

    /// What Hopp says of a grant whose papers were bent on their way.
    async fn hopp_says(&self, bend: impl Fn(&mut Grant) + Send + Sync + 'static) -> String {
        let hopp = self.hopp.name().to_string();
        self.front.bend_for::<Grant>("GetGrant", move |caller, grant| {
            if caller == hopp {
                bend(grant);
            }
        });
        let grant = self.one_more().await;
        let error = self.hopp.fails(Kind::GrantApproved).await;
        assert!(self.hopp.partner.book().grant(&grant).is_none(), "nothing was entered");
        blamed(&error)
    }
}

impl crate::world::Brand {
    /// Waits for an event that led to what does not verify.
    pub(super) async fn fails(&self, wanted: Kind) -> Error {
        self.hears(|event| match event {
            PartnerEvent::Failed { kind, error, .. } if kind == wanted => Some(error),
            _ => None,
        })
        .await
    }
}

fn invalid(check: &str) -> Said {
    Said { code: Code::InvalidArgument, reason: "STATEMENT_INVALID".to_owned(), check: check.to_owned() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_hung_on_another_account_is_refused_by_the_source() {
    let operator = Operator::start().await;
    let other = operator.accomplice().await;
    let (handle, key) = (other.at_skylark.to_string(), other.skylark_key);
    // A grant that stands in Skylark's book, for another handle.
    let said = operator.draws_by(&operator.grant, |papers| papers.subject.clone_from(&handle)).await;
    assert_eq!(said, invalid("subject"));
    // One that it has not heard of: Mei's signature is not that of the other account's key.
    let grant = operator.kept_from_skylark().await;
    let said = operator.draws_by(&grant, |papers| papers.subject.clone_from(&handle)).await;
    assert_eq!(said, invalid("key"));
    // The other account's holder signs Mei's terms along. The commitment in them opens to Mei's link alone.
    let said = operator
        .draws_by(&grant, |papers| {
            papers.subject.clone_from(&handle);
            papers.terms = Some(Operator::signed_by::<GrantTerms>(&key, papers.terms.as_ref(), |_| {}));
        })
        .await;
    assert_eq!(said, invalid("party_commitment"));
    assert!(operator.skylark.partner.book().grant(&grant).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_hung_on_another_account_is_refused_by_the_recipient() {
    let operator = Operator::start().await;
    let other = operator.accomplice().await;
    let handle = other.at_hopp.to_string();
    let said = operator.hopp_says(move |grant| grant.subject.clone_from(&handle)).await;
    assert_eq!(said, "the customer: terms: key");
    let (handle, key) = (other.at_hopp.to_string(), other.hopp_key);
    let said = operator
        .hopp_says(move |grant| {
            grant.subject.clone_from(&handle);
            grant.terms = Some(Operator::signed_by::<GrantTerms>(&key, grant.terms.as_ref(), |_| {}));
        })
        .await;
    assert_eq!(said, "the customer: terms: party_commitment");
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_and_widened_terms_are_refused_by_the_source() {
    let operator = Operator::start().await;
    let grant = operator.kept_from_skylark().await;
    let hopp = operator.hopp.name().clone();
    let said = operator
        .draws_by(&grant, |papers| {
            papers.terms = Some(Operator::forged::<GrantTerms>(papers.terms.as_ref(), |_| {}));
        })
        .await;
    assert_eq!(said, invalid("key"));
    // More uses, a later end, one more field: the customer's signature is not over that.
    let wider: [fn(&mut countersign_proto::statement::v1::GrantTerms); 3] = [
        |terms| terms.uses = 1_000_000,
        |terms| terms.expire_time_ms += 1,
        |terms| terms.fields.push("trip.eta".to_owned()),
    ];
    for widen in wider {
        let said = operator
            .draws_by(&grant, |papers| {
                papers.terms = Some(Operator::bent::<GrantTerms>(papers.terms.as_ref(), widen));
            })
            .await;
        assert_eq!(said, invalid("signature"));
    }
    // Another offer under the same terms: forged, or of the recipient's own and not the one that was approved.
    let said = operator
        .draws_by(&grant, |papers| {
            papers.offer = Some(Operator::forged::<Offer>(papers.offer.as_ref(), |offer| offer.uses = 24));
        })
        .await;
    assert_eq!(said, invalid("key"));
    let certificate = operator.own_certificate(&hopp);
    let said = operator
        .draws_by(&grant, |papers| {
            papers.offer = Some(Operator::forged::<Offer>(papers.offer.as_ref(), |offer| offer.uses = 24));
            papers.offer_key = Some(certificate.clone());
        })
        .await;
    assert_eq!(said, invalid("partner_key"));
    let said = operator
        .draws_by(&grant, |papers| {
            let own = &operator.hopp.working;
            let signed = Operator::signed_by::<Offer>(own, papers.offer.as_ref(), |offer| {
                offer.retention_seconds += 1;
            });
            papers.offer = Some(signed);
        })
        .await;
    assert_eq!(said, invalid("offer"));
    assert!(operator.skylark.partner.book().grant(&grant).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_and_widened_terms_are_refused_by_the_recipient() {
    let operator = Operator::start().await;
    let said = operator
        .hopp_says(|grant| {
            let terms = Operator::bent::<GrantTerms>(grant.terms.as_ref(), |terms| terms.uses = 1_000_000);
            grant.terms = Some(terms);
        })
        .await;
    assert_eq!(said, "the broker: grant: terms", "a grant is named by its terms");
    let said = operator
        .hopp_says(|grant| grant.terms = Some(Operator::forged::<GrantTerms>(grant.terms.as_ref(), |_| {})))
        .await;
    assert_eq!(said, "the customer: terms: key");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_was_stopped_is_not_replayed() {
    let operator = Operator::start().await;
    operator.mei.stop(&operator.grant, false).await.expect("recorded");
    let stopped = |event| matches!(event, PartnerEvent::Stopped { .. }).then_some(());
    operator.skylark.hears(stopped).await;
    operator.hopp.hears(stopped).await;
    // The terms and their signature are as good as ever.
    let said = operator.draws_by(&operator.grant, |_| {}).await;
    assert_eq!((said.code, said.reason.as_str()), (Code::PermissionDenied, "GRANT_ENDED"));
    // Approved once more, by the operator's word: the stop stands in both books.
    operator.front.bend::<Grant>("GetGrant", |grant| grant.changes.clear());
    operator.claims(Kind::GrantApproved).await;
    for brand in [&operator.skylark, &operator.hopp] {
        let error = brand.fails(Kind::GrantApproved).await;
        assert_eq!(blamed(&error), "the broker: grant: sequence");
        let row = brand.partner.book().grant(&operator.grant).expect("stays");
        assert!(!row.stands(operator.world.system().now()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_state_of_a_grant_is_refused_by_all_three() {
    let operator = Operator::start().await;
    operator.mei.pause(&operator.grant).await.expect("recorded");
    let paused = |event| matches!(event, PartnerEvent::Paused { .. }).then_some(());
    operator.skylark.hears(paused).await;
    operator.hopp.hears(paused).await;

    // To partners: the grant as it was, with an event that makes them look.
    operator.front.bend::<Grant>("GetGrant", |grant| grant.changes.clear());
    operator.claims(Kind::GrantResumed).await;
    for brand in [&operator.skylark, &operator.hopp] {
        let error = brand.fails(Kind::GrantResumed).await;
        assert_eq!(blamed(&error), "the broker: grant: sequence");
    }
    let said = operator.draws_by(&operator.grant, |_| {}).await;
    assert_eq!((said.code, said.reason.as_str()), (Code::FailedPrecondition, "GRANT_PAUSED"));

    // To the customer, in the list of grants.
    operator.front.bend::<ListGrantsResponse>("ListGrants", |list| {
        for grant in &mut list.grants {
            grant.changes.clear();
            grant.set_state(State::Active);
        }
    });
    let error = operator.mei.grants().await.expect_err("an older state");
    assert_eq!(blamed(&error), "the broker: grant: sequence");
    // The change is shown, and the state is not as it says: what is proven counts.
    operator.front.bend::<ListGrantsResponse>("ListGrants", |list| {
        list.grants.iter_mut().for_each(|grant| grant.set_state(State::Active));
    });
    let grants = operator.mei.grants().await.expect("lists");
    assert_eq!(grants[0].state, Some(State::Paused));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_the_customer_never_gave_is_not_listed() {
    let operator = Operator::start().await;
    operator.front.bend::<ListGrantsResponse>("ListGrants", |list| {
        let mut made_up = list.grants[0].clone();
        let terms = Operator::forged::<GrantTerms>(made_up.terms.as_ref(), |terms| {
            terms.log_tag = vec![3; 32].into();
        });
        made_up.name = GrantName::of(countersign_grants::envelope::digest(&terms)).to_string();
        made_up.terms = Some(terms);
        list.grants.push(made_up);
    });
    let error = operator.mei.grants().await.expect_err("nobody signed it");
    assert_eq!(blamed(&error), "the broker: grant: terms");
    assert_eq!(operator.mei.book().grants().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notice_is_filed_under_its_own_subject_alone() {
    let operator = Operator::start().await;
    let other = operator.accomplice().await;
    // The record's own private part says whose notice it is: the operator bends what Hopp is told of it.
    let handle = other.at_hopp.to_string();
    operator.front.bend_events(move |event| {
        if event.kind() == Kind::ChangeNotice {
            event.subject.clone_from(&handle);
        }
    });
    operator.skylark.partner.notify_change(&operator.at_skylark, "trip").await.expect("taken");
    let error = operator.hopp.fails(Kind::ChangeNotice).await;
    assert_eq!(blamed(&error), "the broker: notice: subject");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_device_takes_the_link_to_the_recipient_that_was_signed_and_no_other() {
    let operator = Operator::start().await;
    let (trust, book) = (operator.world.trust.clone(), CustomerBook::in_memory());
    let new = Customer::open(trust, Wallet::from_secret(&MEI), book, operator.world.system()).expect("opens");
    for salt in [vec![], vec![7; 32]] {
        operator.front.bend::<ListGrantsResponse>("ListGrants", move |list| {
            list.grants.iter_mut().for_each(|grant| grant.recipient_salt = salt.clone().into());
        });
        let error = new.grants().await.expect_err("it opens to no link of hers");
        assert_eq!(blamed(&error), "the broker: grant: recipient_salt");
    }
    operator.front.be_honest("ListGrants");
    assert_eq!(new.grants().await.expect("lists").len(), 1);
}
