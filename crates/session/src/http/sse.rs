//! `GET /realtime/v1/sessions/{session}/{io}`: a channel as a stream of events (S §4).

use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use tokio::sync::Notify;
use tokio::time::Instant;
use turnkeep_protocol::{Batch, ChannelName, Ping, Record, SeqNum, Tail};

use super::params::Params;
use super::reply::{Answer, Fail, Route};
use super::{App, body};
use crate::core::Refused;
use crate::metrics::LiveReader;
use crate::wakes::Wake;

/// How long an idle reader waits for a sign of life (S-111).
const PING_EVERY: Duration = Duration::from_secs(5);

/// The wait budget of a request that names none (S-103).
const DEFAULT_BUDGET_S: u64 = 60;

/// Opens a read. The order of checks is S-101's.
pub(super) async fn subscribe(
    State(app): State<Arc<App>>,
    Params((session, io)): Params<(String, String)>,
    request: Request,
) -> Answer {
    let headers = request.headers();
    let caller = app.authenticate(headers)?;
    let channel = body::channel(&io)?;
    let located = app.authorize(&caller, "read", &session).await?;
    if located.id.is_none() && session.starts_with("session_") {
        return Err(Route::Other.refuse(Refused::NoSession));
    }
    if request.method() == Method::HEAD {
        let mut response = Response::new(Body::empty());
        response.headers_mut().insert("x-last-chunk-index", HeaderValue::from_static("0"));
        return Ok(response);
    }
    if !accepts_events(headers) {
        return Err(Fail::plain(StatusCode::BAD_REQUEST, "Accept must allow text/event-stream"));
    }
    let budget = budget(text(headers, "timeout-seconds"))?;
    let cursor = text(headers, "last-event-id").and_then(SeqNum::parse_cursor);
    let peek = text(headers, "x-peek-settled") == Some("1");
    let wanted = session.clone();
    let opened = app.actor.call(move |core, _| core.open(&wanted, channel, cursor, peek)).await?;
    let opened = opened.map_err(|refused| Route::Other.refuse(refused))?;
    let bell = app.actor.wakes().bell(Wake::Channel(located.key, channel));
    let counted = app.actor.metrics().reader(channel);
    let reader = Reader {
        app,
        counted,
        session,
        channel,
        bell,
        next: opened.start.next,
        budget: if opened.settled { Duration::ZERO } else { budget },
        live_since: None,
        last_sign: None,
        is_done: false,
    };
    let mut response = Response::new(Body::from_stream(futures::stream::unfold(reader, Reader::next)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    headers.insert("x-stream-version", HeaderValue::from_static("v2"));
    if opened.settled {
        headers.insert("x-session-settled", HeaderValue::from_static("true"));
    }
    if let Some(first) = opened.start.first_available {
        headers.insert("x-first-available-seq", HeaderValue::from(first.get()));
    }
    if let Some(tail) = opened.start.clamped_to {
        headers.insert("x-clamped-cursor", HeaderValue::from(tail.get()));
    }
    Ok(response)
}

/// One open read. Dropping it, when the client leaves, ends the read (S-112).
struct Reader {
    app: Arc<App>,
    counted: LiveReader,
    session: String,
    channel: ChannelName,
    bell: Arc<Notify>,
    next: SeqNum,
    budget: Duration,
    /// When the wait budget last started: at the live edge, and again with each batch (S-110).
    live_since: Option<Instant>,
    /// When anything was last sent at the live edge.
    last_sign: Option<Instant>,
    is_done: bool,
}

impl Reader {
    /// Gives the next event. Everything that a cancelled call may lose is still in the channel.
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        if self.is_done {
            return None;
        }
        loop {
            let bell = self.bell.clone();
            let mut rung = std::pin::pin!(bell.notified());
            // Enabled before the read: a record that comes in between rings this bell.
            rung.as_mut().enable();
            let read = self.app.helping(&self.session, self.channel, self.next).await;
            let helping = match read {
                Ok(Ok(helping)) => helping,
                Ok(Err(_)) => return Some(self.finish("event: error\ndata: the channel cannot be read now\n\n")),
                // A server that stops at once, or a store that has failed: the log says which.
                Err(_) => return Some(self.finish("event: error\ndata: the server cannot read the channel\n\n")),
            };
            if let Some(last) = helping.records.last() {
                self.next = last.seq_num.next();
                let now = Instant::now();
                if self.live_since.is_some() {
                    let stored = turnkeep_host::Timestamp::from_millis(last.timestamp);
                    self.counted.delivered(self.app.actor.clock().now().since(stored));
                }
                self.live_since = self.live_since.map(|_| now);
                self.last_sign = self.last_sign.map(|_| now);
                return Some((Ok(batch(helping.records, helping.tail)), self));
            }
            if helping.ended || self.budget.is_zero() {
                return Some(self.finish("data: [DONE]\n\n"));
            }
            let now = Instant::now();
            let out_of_budget = *self.live_since.get_or_insert(now) + self.budget;
            let ping_due = self.last_sign.map_or(now, |at| at + PING_EVERY);
            tokio::select! {
                biased;
                () = rung => {}
                // All that there is has been given; the reader comes back to whoever serves next (S-127).
                () = self.app.stop.cancelled() => return Some(self.finish("data: [DONE]\n\n")),
                () = tokio::time::sleep_until(out_of_budget) => return Some(self.finish("data: [DONE]\n\n")),
                () = tokio::time::sleep_until(ping_due) => {
                    self.last_sign = Some(Instant::now());
                    let ping = ping(self.app.now(), helping.tail);
                    return Some((Ok(ping), self));
                }
            }
        }
    }

    fn finish(mut self, last: &'static str) -> (Result<Bytes, Infallible>, Self) {
        self.is_done = true;
        (Ok(Bytes::from_static(last.as_bytes())), self)
    }
}

/// Writes a batch event; its id is opaque and no cursor (S-108).
fn batch(records: Vec<Record>, tail: Tail) -> Bytes {
    let (first, count) = (records.first().map_or(0, |record| record.seq_num.get()), records.len());
    let bytes: usize = records.iter().map(|record| record.body.len()).sum();
    let data = serde_json::to_string(&Batch { records, tail: Some(tail) }).expect("records always serialise");
    let mut event = String::with_capacity(data.len() + 64);
    write!(event, "event: batch\nid: {first},{count},{bytes}\ndata: {data}\n\n").expect("a String takes everything");
    event.into()
}

fn ping(now: turnkeep_host::Timestamp, tail: Tail) -> Bytes {
    let data = Ping { timestamp: now.as_millis(), tail: Some(tail) };
    let data = serde_json::to_string(&data).expect("numbers always serialise");
    format!("event: ping\ndata: {data}\n\n").into()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim)
}

/// Tells whether the client can read events; one that names no type can (D-55, RC-4).
fn accepts_events(headers: &HeaderMap) -> bool {
    let Some(accept) = text(headers, "accept") else { return true };
    let types = accept.split(',').map(|range| range.split(';').next().unwrap_or_default().trim());
    types.into_iter().any(|range| range.eq_ignore_ascii_case("text/event-stream") || range == "*/*")
}

/// Reads the wait budget (S-103).
fn budget(seconds: Option<&str>) -> Result<Duration, Fail> {
    let refuse = |text| Err(Fail::plain(StatusCode::BAD_REQUEST, text));
    let Some(text) = seconds.filter(|text| !text.is_empty()) else { return Ok(Duration::from_secs(DEFAULT_BUDGET_S)) };
    match text.parse::<i64>() {
        Err(_) => refuse("Invalid timeout seconds"),
        Ok(..=0) => refuse("Timeout seconds must be greater than 0"),
        Ok(seconds @ 1..=600) => Ok(Duration::from_secs(seconds.unsigned_abs())),
        Ok(_) => refuse("Timeout seconds must be less than 600"),
    }
}
