//! A brand that keeps an account open by words that do not verify, and a broker that calls one closed.

use std::time::Duration;

use countersign_client::{Error, customer::Closing};
use countersign_grants::{
    key::SigningKey,
    statement::{Acknowledgement, ErasureAttestation},
};
use countersign_proto::{
    log::v1::Kind,
    statement::v1 as wire,
    v1::{CloseCustomerResponse, Grant, ListGrantsResponse, grant::ErasureState},
};
use countersign_tlog::{Hash, SignedCheckpoint};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::{Operator, blamed};
use crate::world::{ORIGIN, PATIENCE, sign_as};

/// Long enough for a look; none brings a word.
const A_WHILE: Duration = Duration::from_millis(500);

impl Operator {
    /// Hopp's own attestation of the order that stands, over this checkpoint, in the list of grants.
    fn attests_over(&self, checkpoint: impl Into<bytes::Bytes>) {
        let order = self.mei.book().grant(&self.grant).expect("stands").last;
        let said = wire::ErasureAttestation {
            broker: ORIGIN.into(),
            partner: self.hopp.name().to_string(),
            terms: self.grant.digest().into(),
            change: order.into(),
            time_ms: self.world.system().now().as_millis(),
            checkpoint: checkpoint.into(),
        };
        let statement = sign_as::<ErasureAttestation>(&self.hopp.working, &said);
        let (grant, hopp) = (self.grant.to_string(), self.hopp.name().to_string());
        self.front.bend::<ListGrantsResponse>("ListGrants", move |list| {
            let grant = list.grants.iter_mut().find(|one| one.name == grant).expect("listed");
            let key = grant.acknowledgements.iter().find(|one| one.partner == hopp).expect("acknowledged");
            grant.erasure_attestation_key.clone_from(&key.partner_key);
            grant.erasure_attestation = Some(statement.clone());
            grant.set_erasure_state(ErasureState::Attested);
        });
    }

    /// Hopp's words are its own, and over a checkpoint that no log signed.
    fn hopp_acknowledges_over_junk(&self) {
        let (key, hopp) = (self.hopp.working.to_secret(), self.hopp.name().to_string());
        self.front.bend_for::<Grant>("GetGrant", move |caller, grant| {
            if !caller.starts_with("customers/") {
                return;
            }
            for word in grant.acknowledgements.iter_mut().filter(|word| word.partner == hopp) {
                let key = SigningKey::from_secret(&key);
                let junk = |said: &mut wire::Acknowledgement| said.checkpoint = vec![1].into();
                word.statement =
                    Some(Self::signed_by::<Acknowledgement>(&key, word.statement.as_ref(), junk));
            }
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recipient_keeps_nobody_from_the_list_by_an_attestation_over_junk() {
    let operator = Operator::start().await;
    let second = operator.one_more().await;
    operator.mei.stop(&operator.grant, true).await.expect("recorded");
    operator.attests_over(vec![1]);
    let seen = operator.mei.grants().await.expect("lists");
    let [bad, good] = seen.as_slice() else { panic!("{seen:?}") };
    assert_eq!((&bad.row.name, &good.row.name), (&operator.grant, &second));
    assert_eq!(bad.erasure.map(|erasure| erasure.state()), Some(ErasureState::Due), "it counts as absent");
    let fault = bad.fault.clone().expect("shown on this grant");
    assert_eq!(blamed(&Error::Misbehaved(Box::new(fault))), "partners/hopp: checkpoint: signature");
    assert!(good.fault.is_none(), "and on no other");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_head_of_the_log_halts_wherever_it_comes_from() {
    let operator = Operator::start().await;
    let recorded = operator.mei.stop(&operator.grant, true).await.expect("recorded");
    // Nobody but the log's own key can make it, whoever hands it over.
    let (log, known) = (crate::world::signer(1), recorded.receipt().receipt().checkpoint.clone());
    let size = SignedCheckpoint::verify(known, log.verifier()).expect("the log's").size();
    let other =
        SignedCheckpoint::sign(&log, size, Hash::from_bytes([9; 32])).expect("a tree that is not empty");
    operator.attests_over(other.as_bytes().clone());
    let error = operator.mei.grants().await.expect_err("two faces");
    assert!(matches!(error, Error::LogForked(_)), "{error}");
    let closing = operator.mei.close_account(A_WHILE, true).await.expect_err("halted");
    assert!(matches!(closing, Error::LogForked(_)), "{closing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recipient_keeps_no_account_open_by_words_over_junk() {
    let operator = Operator::start().await;
    operator.hopp_acknowledges_over_junk();
    let closing = operator.mei.close_account(Duration::from_secs(2), false).await.expect("answers");
    let Closing::Waits { unheard, not_stopped, list } = closing else { panic!("{closing:?}") };
    assert!(not_stopped.is_empty() && list.is_none(), "{not_stopped:?} {list:?}");
    let of_hopp = unheard.iter().find(|one| one.partner == *operator.hopp.name()).expect("unheard");
    let blame = of_hopp.blame.as_ref().expect("told");
    assert_eq!(blamed(blame), "partners/hopp: checkpoint: signature");
    operator.attests_over(vec![1]);
    let closing = operator.mei.close_account(A_WHILE, true).await.expect("answers");
    assert!(matches!(closing, Closing::Closed { .. }), "{closing:?}");
    assert_eq!(operator.world.count(Kind::CustomerErased).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_called_closed_on_its_proof_alone() {
    let operator = Operator::start().await;
    // The statement goes out, and is kept back.
    operator.front.refuse("CloseCustomer");
    let lost = operator.mei.close_account(PATIENCE, false).await.expect_err("no answer");
    assert!(lost.is_transient(), "{lost}");
    // From here on her token is refused: for its time, or as a stranger's. Neither proves anything.
    for (check, is_stranger) in [("exp", false), ("aud", false), ("principal", true)] {
        operator.front.lie::<(), _>("CloseCustomer", move |_| {
            let check = ("check".to_owned(), check.to_owned());
            let details = ErrorDetails::with_error_info("TOKEN_INVALID", "countersign", [check]);
            async { Err(Status::with_error_details(Code::Unauthenticated, "no", details)) }
        });
        let closing = operator.mei.close_account(A_WHILE, false).await.expect("answers");
        let Closing::Unproven { stranger, refused } = closing else { panic!("{closing:?}") };
        assert_eq!((stranger, refused.reason()), (is_stranger, Some("TOKEN_INVALID")));
    }
    assert_eq!((operator.mei.book().closed(), operator.world.count(Kind::CustomerErased).await), (None, 0));
    // An answer that is lost on its way: the account is closed, and nothing proves it to her.
    operator.front.lie("CloseCustomer", |asked| async move {
        asked.honest::<CloseCustomerResponse>().await?;
        Err::<CloseCustomerResponse, _>(Status::unavailable("lost"))
    });
    operator.mei.close_account(A_WHILE, false).await.expect_err("lost");
    operator.front.be_honest("CloseCustomer");
    let closing = operator.mei.close_account(A_WHILE, false).await.expect("answers");
    assert!(matches!(closing, Closing::Unproven { stranger: true, .. }), "{closing:?}");
    assert_eq!(operator.world.count(Kind::CustomerErased).await, 1);
}
