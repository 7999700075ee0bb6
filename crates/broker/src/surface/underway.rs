//! What is under way on one connection: calls, and answers that its peer has yet to take.
//!
//! A peer may take an answer slowly, or never: what was made for it lies in memory meanwhile. So an answer keeps the
//! places of its call, in the house and among its principal's, until it is taken, and a peer that does not take one in
//! time loses the connection. Streams are exempt: they are counted by principal, and make nothing that is not asked for.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

use axum::{
    body::{Body, Bytes},
    response::Response,
};
use hyper::body::{Body as HttpBody, Frame, SizeHint};

use crate::stack::{Endless, Places, limits};

/// The counts of one connection.
#[derive(Default)]
pub(super) struct UnderWay {
    /// Requests so far.
    asked: AtomicUsize,
    /// Those that are not done: judged still, or their answer not taken.
    open: AtomicUsize,
    /// Turns so far.
    turn: AtomicUsize,
    /// Answers that are not taken, by whether they began in an even or an odd turn.
    untaken: [AtomicUsize; 2],
}

/// What a connection is found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// It is in use.
    Used,
    /// Nothing is under way, and nothing was asked since the last look.
    Quiet,
    /// It has not taken an answer for one turn at least.
    Slow,
}

/// A request that is under way, until this goes.
pub(super) struct Request {
    of: Arc<UnderWay>,
    /// The turn in which its answer began, unless it is a stream.
    answered: Option<usize>,
}

impl UnderWay {
    /// One more request.
    pub(super) fn enter(self: &Arc<Self>) -> Request {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        Request { of: Arc::clone(self), answered: None }
    }

    /// Whether there was a request at all.
    pub(super) fn was_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed) > 0
    }

    /// Ends a turn; `asked` is what the last look saw asked.
    pub(super) fn look(&self, asked: &mut usize) -> Found {
        let next = self.turn.load(Ordering::Relaxed).wrapping_add(1);
        // Answers of the turn before this one; those that begin from now on are counted in their place.
        let slow = self.untaken[next % 2].load(Ordering::Relaxed) > 0;
        self.turn.store(next, Ordering::Relaxed);
        let now = self.asked.load(Ordering::Relaxed);
        let quiet = self.open.load(Ordering::Relaxed) == 0 && now == *asked;
        *asked = now;
        match (slow, quiet) {
            (true, _) => Found::Slow,
            (false, true) => Found::Quiet,
            (false, false) => Found::Used,
        }
    }
}

impl Request {
    /// Its answer begins: the request is under way until the body is taken.
    pub(super) fn answer(mut self, response: Response) -> Response {
        let (mut head, body) = response.into_parts();
        let places = head.extensions.remove::<Places>();
        if head.extensions.remove::<Endless>().is_none() {
            let turn = self.of.turn.load(Ordering::Relaxed);
            self.of.untaken[turn % 2].fetch_add(1, Ordering::Relaxed);
            self.answered = Some(turn);
        }
        let body = Body::new(Untaken { body, rest: Bytes::new(), _request: self, _places: places });
        Response::from_parts(head, body)
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.of.open.fetch_sub(1, Ordering::Relaxed);
        if let Some(turn) = self.answered {
            self.of.untaken[turn % 2].fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// An answer until it is taken, in pieces: the next piece is asked for once the peer has room for it.
struct Untaken {
    body: Body,
    rest: Bytes,
    _request: Request,
    _places: Option<Places>,
}

impl HttpBody for Untaken {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let answer = self.get_mut();
        if answer.rest.is_empty() {
            let frame = std::task::ready!(Pin::new(&mut answer.body).poll_frame(context));
            match frame.map(|frame| frame.map(Frame::into_data)) {
                Some(Ok(Ok(data))) => answer.rest = data,
                Some(Ok(Err(other))) => return Poll::Ready(Some(Ok(other))),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                None => return Poll::Ready(None),
            }
        }
        let piece = answer.rest.split_to(answer.rest.len().min(limits::ANSWER_PIECE_BYTES));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.rest.is_empty() { self.body.size_hint() } else { SizeHint::default() }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    #[tokio::test]
    async fn an_answer_is_slow_once_a_whole_turn_went_by() {
        let (connection, mut asked) = (Arc::new(UnderWay::default()), 0);
        assert!(!connection.was_asked());
        let request = connection.enter();
        assert!(connection.was_asked());
        assert_eq!(connection.look(&mut asked), Found::Used);
        assert_eq!(connection.look(&mut asked), Found::Used, "a call may take its time");
        let answer = request.answer(Response::new(Body::from("answer")));
        assert_eq!(connection.look(&mut asked), Found::Used);
        assert_eq!(connection.look(&mut asked), Found::Slow);
        drop(answer);
        assert_eq!(connection.look(&mut asked), Found::Quiet);
    }

    #[tokio::test]
    async fn streams_may_wait_and_are_not_quiet() {
        let (connection, mut asked) = (Arc::new(UnderWay::default()), 0);
        let mut response = Response::new(Body::empty());
        response.extensions_mut().insert(Endless);
        let stream = connection.enter().answer(response);
        for _ in 0..4 {
            assert_eq!(connection.look(&mut asked), Found::Used);
        }
        drop(stream);
        assert_eq!(connection.look(&mut asked), Found::Quiet);
    }

    #[tokio::test]
    async fn a_large_answer_comes_in_pieces_and_whole() {
        let bytes: Vec<u8> = (0..limits::ANSWER_PIECE_BYTES * 2 + 7).map(|at| at as u8).collect();
        let connection = Arc::new(UnderWay::default());
        let mut body = connection.enter().answer(Response::new(Body::from(bytes.clone()))).into_body();
        let mut found = Vec::new();
        while let Some(frame) = body.frame().await {
            let data = frame.expect("no error").into_data().expect("data");
            assert!(data.len() <= limits::ANSWER_PIECE_BYTES);
            found.extend_from_slice(&data);
        }
        assert!(found == bytes && body.is_end_stream());
    }
}
