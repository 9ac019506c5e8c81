//! What a handler leaves of a request's body: read and dropped before the answer goes out.
//!
//! A connection that is closed with bytes unread is reset, and a client that sends all before it listens then sees a broken network in
//! place of the refusal, and tries again (RC-4).

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;

/// The longest announced body that is read to its end only to be dropped.
const MAX_DROPPED: u64 = 16 * 1024 * 1024;

/// How long a caller may take over it; who is slower is answered all the same.
const DROP_DEADLINE: Duration = Duration::from_secs(30);

type Slot = Arc<Mutex<Option<Body>>>;

/// The place where a lent body comes back to.
pub(super) struct Leftover(Slot);

/// Lends `body` to a handler.
pub(super) fn lend(body: Body) -> (Body, Leftover) {
    let slot = Slot::default();
    (Body::new(Lent { body, slot: slot.clone() }), Leftover(slot))
}

/// Tells whether what is left of such a request's body is to be read: its length was announced and is bearable, and the caller has not
/// asked first, in which case it is answered before it sends.
pub(super) fn is_read(headers: &HeaderMap) -> bool {
    let announced = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    announced.is_some_and(|length| length <= MAX_DROPPED) && !headers.contains_key(header::EXPECT)
}

impl Leftover {
    /// Reads what the handler has left, if it is done with the body.
    pub(super) async fn drop_all(self) {
        let left = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut body) = left.filter(|body| !body.is_end_stream()) else {
            return;
        };
        let all = async { while let Some(Ok(_)) = body.frame().await {} };
        let _ = tokio::time::timeout(DROP_DEADLINE, all).await;
    }
}

struct Lent {
    body: Body,
    slot: Slot,
}

impl http_body::Body for Lent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let body = std::mem::take(&mut self.body);
        self.slot.lock().unwrap_or_else(PoisonError::into_inner).replace(body);
    }
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt as _, stream};

    use super::*;

    type Sent = Result<Bytes, std::convert::Infallible>;

    #[tokio::test(start_paused = true)]
    async fn what_was_not_taken_is_read_and_a_body_that_never_ends_only_for_so_long() {
        let pieces = Arc::new(Mutex::new(0));
        let counted = pieces.clone();
        let three = stream::iter(0..3).map(move |_| -> Sent {
            *counted.lock().unwrap() += 1;
            Ok(Bytes::from_static(b"x"))
        });
        for (body, want) in [
            (Body::from_stream(three), Duration::ZERO),
            (Body::from_stream(stream::pending::<Sent>()), DROP_DEADLINE),
            (Body::empty(), Duration::ZERO),
        ] {
            let began = tokio::time::Instant::now();
            let (lent, leftover) = lend(body);
            drop(lent);

            leftover.drop_all().await;

            assert_eq!(began.elapsed(), want);
        }
        assert_eq!(*pieces.lock().unwrap(), 3);
    }

    #[tokio::test]
    async fn what_a_handler_still_holds_is_its_own() {
        let (lent, leftover) = lend(Body::from("abc"));

        leftover.drop_all().await;

        assert_eq!(lent.collect().await.unwrap().to_bytes(), "abc");
    }

    #[test]
    fn only_a_bearable_length_is_read_and_none_of_who_asks_first() {
        let headers = |pairs: &[(http::HeaderName, &str)]| {
            pairs.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect::<HeaderMap>()
        };
        let length = |value| (header::CONTENT_LENGTH, value);

        assert!(is_read(&headers(&[length("16777216")])));
        assert!(!is_read(&headers(&[length("16777217")])) && !is_read(&headers(&[length("-1")])));
        assert!(!is_read(&headers(&[])), "of unknown length");
        assert!(!is_read(&headers(&[length("9"), (header::EXPECT, "100-continue")])));
    }
}
