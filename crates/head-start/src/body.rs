//! [`HeadStartBody`]: a response's chunks as they come, at the pace that the browser takes them (C-214).

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use http_body::Frame;
use http_body_util::{Either, Full};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};
use turnkeep_protocol::UiMessageChunk;

use crate::error::Error;
use crate::step::frame;

/// How many frames wait for a slow browser; then the step waits too.
const MAX_UNREAD_FRAMES: usize = 64;

/// How long a response is silent before it says that its handler lives: a model thinks, a tool works. A page that hears nothing for a
/// minute takes the connection for dead.
const QUIET_TIME: Duration = Duration::from_secs(15);

/// A comment, which readers of events skip.
const QUIET_FRAME: &[u8] = b":\n\n";

/// The body of an answer: a stream of chunks, or the text of a failure.
#[derive(Debug)]
pub struct HeadStartBody(Either<Frames, Full<Bytes>>);

/// The browser's end of a stream; dropping it tells the handler that the browser is gone (C-195).
#[derive(Debug)]
pub(crate) struct Frames {
    frames: mpsc::Receiver<Bytes>,
    quiet: Pin<Box<Sleep>>,
}

/// The handler's end.
#[derive(Clone, Debug)]
pub(crate) struct Events(mpsc::Sender<Bytes>);

/// Makes the two ends of one response.
pub(crate) fn events() -> (Events, Frames) {
    let (sender, receiver) = mpsc::channel(MAX_UNREAD_FRAMES);
    (Events(sender), Frames { frames: receiver, quiet: Box::pin(tokio::time::sleep(QUIET_TIME)) })
}

impl Frames {
    /// Gives the next frame, or a comment when there was none for long.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let polled = match self.frames.poll_recv(context) {
            Poll::Pending => self.quiet.as_mut().poll(context).map(|()| Some(Bytes::from_static(QUIET_FRAME))),
            ready => ready,
        };
        if polled.is_ready() {
            self.quiet.as_mut().reset(Instant::now() + QUIET_TIME);
        }
        polled
    }
}

impl Events {
    /// Sends a chunk and waits for room; to a browser that is gone it sends nothing.
    pub(crate) async fn chunk(&self, chunk: &UiMessageChunk) {
        self.value(&serde_json::json!(chunk)).await;
    }

    /// Sends any JSON as a frame.
    pub(crate) async fn value(&self, value: &Value) {
        let _gone = self.0.send(frame(value).into()).await;
    }

    /// Waits until the browser is gone.
    pub(crate) async fn gone(&self) {
        self.0.closed().await;
    }
}

/// Makes the response of a head start (C-185).
pub(crate) fn response(frames: Frames, chat_id: &str, token: &str) -> Response<HeadStartBody> {
    let mut response = Response::new(HeadStartBody(Either::Left(frames)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert(CONNECTION, HeaderValue::from_static("keep-alive"));
    headers.insert(HeaderName::from_static("x-vercel-ai-ui-message-stream"), HeaderValue::from_static("v1"));
    for (name, value) in [("x-trigger-chat-id", chat_id), ("x-trigger-chat-access-token", token)] {
        // An id that no header can hold is left out: the page knows which chat it asked for.
        if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    response
}

/// Makes the answer of a handler that failed before it answered (C-215).
pub(crate) fn failure(error: &Error) -> Response<HeadStartBody> {
    let text = Full::from(Bytes::from(error.to_string()));
    let mut response = Response::new(HeadStartBody(Either::Right(text)));
    *response.status_mut() = error.status();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    debug_assert!(response.status() != StatusCode::OK);
    response
}

impl http_body::Body for HeadStartBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        match &mut self.0 {
            Either::Left(frames) => frames.poll(context).map(|bytes| Some(Ok(Frame::data(bytes?)))),
            Either::Right(text) => Pin::new(text).poll_frame(context),
        }
    }
}
