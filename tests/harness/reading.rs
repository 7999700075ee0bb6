//! A request is short enough to be read: so many rows, and so many words in all of them together, of what is shown.

use std::time::Duration;

use countersign_client::Error;
use countersign_grants::{id::OfferName, statement::GrantRequest, time::Clock as _};
use countersign_proto::{
    statement::v1 as wire,
    v1::{CreateGrantRequestRequest, GetCheckpointRequest},
};

use crate::world::{Granted, ORIGIN, reason_of, sign_as, trip_offer};

/// As many as the requirement says.
const WORDS: usize = 150;
const ROWS: usize = 7;

const LIFETIME: Duration = Duration::from_secs(3600);

/// One offer a row, with so many words to read in each.
async fn offers(granted: &Granted, words: &[usize]) -> Vec<OfferName> {
    let mut offers = Vec::new();
    for (uses, words) in (2..).zip(words) {
        let mut draft = trip_offer(granted.skylark.name(), uses);
        let text = &mut draft.texts[0];
        (text.benefit, text.ends) = ("a free wait".to_owned(), "at landing".to_owned());
        text.reason = vec!["so"; words - 5].join(" ");
        offers.push(granted.hopp.partner.publish_offer(&draft).await.expect("publishes"));
    }
    offers
}

/// As it is sent, whatever our SDK would say to it.
async fn put(granted: &Granted, offers: &[OfferName]) -> Result<String, crate::world::Said> {
    let connection = granted.skylark.partner.connection();
    let checkpoint = connection.audit().get_checkpoint(GetCheckpointRequest {}).await.expect("answers");
    let row = |offer: &OfferName| wire::RequestedRow { offer: offer.digest().into(), ..Default::default() };
    let now = granted.world.clock.now();
    let message = wire::GrantRequest {
        broker: ORIGIN.to_owned(),
        requester: granted.skylark.name().to_string(),
        subject: granted.at_skylark.to_string(),
        rows: offers.iter().map(row).collect(),
        expire_time_ms: now.plus(LIFETIME).as_millis(),
        time_ms: now.as_millis(),
        nonce: granted.world.system().draw::<16>().to_vec().into(),
        checkpoint: checkpoint.into_inner().checkpoint,
    };
    let statement = Some(sign_as::<GrantRequest>(&granted.skylark.working, &message));
    let answer = connection.grants().create_grant_request(CreateGrantRequestRequest { statement }).await;
    answer.map(|put| put.into_inner().name).map_err(|status| reason_of::<()>(Err(status)))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_has_no_more_rows_and_words_than_a_person_reads() {
    let granted = Granted::start().await;
    let fits = offers(&granted, &[21, 21, 21, 21, 21, 21, 24]).await;
    let rows: Vec<_> = fits.iter().map(|offer| (offer.clone(), false)).collect();
    let request = granted.skylark.partner.request(&granted.at_skylark, &rows, LIFETIME).await.expect("fits");
    let shown = granted.mei.read_request(&request).await.expect("verifies");
    let rendered: Vec<String> = shown
        .rows()
        .iter()
        .map(|row| {
            let (text, is_theirs) = row.offer.statement().text("en");
            assert!(is_theirs);
            format!("{} {} {}", text.reason, text.benefit, text.ends)
        })
        .collect();
    let words: usize = rendered.iter().map(|row| row.split_whitespace().count()).sum();
    assert_eq!((rendered.len(), words), (ROWS, WORDS), "the most that there can be");

    let long = [&fits[1..], &offers(&granted, &[22]).await].concat();
    let said = put(&granted, &long).await.expect_err("one word more");
    assert_eq!((said.reason.as_str(), said.check.as_str()), ("STATEMENT_INVALID", "words"));
    let short = offers(&granted, &[6; ROWS + 1]).await;
    let said = put(&granted, &short).await.expect_err("one row more");
    assert_eq!((said.reason.as_str(), said.check.as_str()), ("STATEMENT_INVALID", "rows"));
    let rows: Vec<_> = short.iter().map(|offer| (offer.clone(), false)).collect();
    let unsigned = granted.skylark.partner.request(&granted.at_skylark, &rows, LIFETIME).await;
    assert!(matches!(unsigned, Err(Error::Misuse(_))), "our SDK signs no such request: {unsigned:?}");
    put(&granted, &short[1..]).await.expect("seven short ones");
}
