//! [`Faults`]: what goes wrong between a worker and its server, when the test says so.
//!
//! They stand in the way as a proxy: what is not to go wrong passes, streams included.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use http::{Method, Request, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use serde_json::{Value, json};
use turnkeep_host::http::{BaseUrl, BodyStream, Deadlines, HttpClient};
use turnkeep_host::{Host, Task};

use crate::watched::Watched;

/// How long the server may take to begin an answer; long polls included.
const PATIENCE: Duration = Duration::from_secs(120);

type ProxyBody = UnsyncBoxBody<Bytes, io::Error>;

/// What a worker asks of its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FaultPoint {
    /// It asks for a run.
    Lease,
    /// A run says that it is alive.
    Heartbeat,
    /// A run reports its end.
    End,
    /// A run asks for its successor.
    EndAndContinue,
    /// A run reads the chat snapshot.
    SnapshotRead,
    /// A run stores the chat snapshot.
    SnapshotWrite,
    /// A run appends to `out`; a batch that trims is [`FaultPoint::Trim`].
    OutWrite,
    /// A run trims `out`.
    Trim,
    /// A run reads what a channel holds.
    Records,
    /// A run follows `in`.
    InDelivery,
    /// A run begins or continues a durable wait.
    Wait,
    /// A run mints the chat's access token.
    MintToken,
    /// A run sets a once-per-chat marker.
    Mark,
}

/// What goes wrong.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// The server answers with this status and does nothing. From 500 on the caller tries again.
    Status(u16),
    /// The server answers this JSON and does nothing.
    Answer(Value),
    /// The connection breaks before the server hears of it.
    Cut,
    /// The server does it, and its answer is lost.
    Lost,
    /// The request waits so long.
    Delay(Duration),
    /// The request waits until [`Faults::release`].
    Hold,
}

/// The faults of one test; clones share them. Give them to [`super::MockChat::faults`].
#[derive(Clone, Default)]
pub struct Faults {
    state: Arc<Watched<State>>,
}

#[derive(Default)]
struct State {
    planned: BTreeMap<FaultPoint, Vec<Planned>>,
    n_met: BTreeMap<FaultPoint, usize>,
    /// Counts the releases of each point; a request waits for the next one.
    n_released: BTreeMap<FaultPoint, usize>,
}

struct Planned {
    fault: Fault,
    /// None means for ever.
    left: Option<usize>,
}

impl Faults {
    /// Makes faults that do nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the next request of this kind go wrong. Several faults of one kind are met in the order in which they were planned.
    pub fn next(&self, point: FaultPoint, fault: Fault) {
        self.times(point, fault, 1);
    }

    /// Lets the next requests of this kind go wrong, so many.
    pub fn times(&self, point: FaultPoint, fault: Fault, times: usize) {
        if times > 0 {
            self.plan(point, Planned { fault, left: Some(times) });
        }
    }

    /// Lets every request of this kind go wrong from now on; none is no fault of the test.
    pub fn always(&self, point: FaultPoint, fault: Fault) {
        self.plan(point, Planned { fault, left: None });
    }

    /// Mints these tokens, one a turn, then none.
    pub fn mint_tokens(&self, tokens: impl IntoIterator<Item = impl Into<String>>) {
        for token in tokens {
            let token: String = token.into();
            self.next(FaultPoint::MintToken, Fault::Answer(json!({ "token": token })));
        }
        self.always(FaultPoint::MintToken, Fault::Status(500));
    }

    fn plan(&self, point: FaultPoint, planned: Planned) {
        self.state.change(|state| state.planned.entry(point).or_default().push(planned));
    }

    /// Takes away what is still planned for this kind.
    pub fn clear(&self, point: FaultPoint) {
        self.state.change(|state| drop(state.planned.remove(&point)));
    }

    /// Lets every request of this kind that waits go on.
    pub fn release(&self, point: FaultPoint) {
        self.state.change(|state| *state.n_released.entry(point).or_default() += 1);
    }

    /// Counts the requests of this kind that went wrong so far.
    pub fn met(&self, point: FaultPoint) -> usize {
        self.state.look(|state| state.n_met.get(&point).copied().unwrap_or_default())
    }

    /// Names what was planned and never met.
    pub(super) fn unmet(&self) -> Vec<String> {
        self.state.look(|state| {
            let left = state.planned.iter().flat_map(|(point, planned)| {
                let left: usize = planned.iter().filter_map(|planned| planned.left).sum();
                (left > 0).then(|| format!("{} planned at {point:?}, never met", crate::model::count(left, "fault")))
            });
            left.collect()
        })
    }

    fn take(&self, point: FaultPoint) -> Option<Fault> {
        self.state.change(|state| {
            let planned = state.planned.get_mut(&point)?;
            let first = planned.first_mut()?;
            let fault = first.fault.clone();
            if let Some(left) = &mut first.left {
                *left -= 1;
                if *left == 0 {
                    planned.remove(0);
                }
            }
            *state.n_met.entry(point).or_default() += 1;
            Some(fault)
        })
    }

    async fn wait_for_release(&self, point: FaultPoint) {
        let released = move |state: &State| state.n_released.get(&point).copied().unwrap_or_default();
        let before = self.state.look(released);
        self.state.until(|state| (released(state) > before).then_some(())).await;
    }

    /// Stands on `addr` in the way to `server`.
    pub(super) async fn serve(&self, host: Host, addr: &str, server: BaseUrl) -> io::Result<Task> {
        let listener = host.net().listen(addr).await?;
        let faults = self.clone();
        let (machine, on) = (host.clone(), host.clone());
        Ok(host.spawn(async move {
            let service = tower::service_fn(move |request: Request<Incoming>| {
                let (faults, machine, server) = (faults.clone(), machine.clone(), server.clone());
                async move { Ok::<_, Infallible>(faults.pass(machine, server, request).await) }
            });
            match turnkeep_host::http::serve(&on, listener, service).await {}
        }))
    }

    async fn pass(&self, host: Host, server: BaseUrl, request: Request<Incoming>) -> Response<ProxyBody> {
        let (head, body) = request.into_parts();
        let Ok(body) = body.collect().await else {
            return broken();
        };
        let body = body.to_bytes();
        let point = point(&head.method, head.uri.path(), &body);
        let fault = point.and_then(|point| Some((point, self.take(point)?)));
        match &fault {
            Some((_, Fault::Status(status))) => return answer(*status, &json!({ "error": "a planned fault" })),
            Some((_, Fault::Answer(value))) => return answer(200, value),
            Some((_, Fault::Cut)) => return broken(),
            Some((_, Fault::Delay(delay))) => tokio::time::sleep(*delay).await,
            Some((point, Fault::Hold)) => self.wait_for_release(*point).await,
            Some((_, Fault::Lost)) | None => {}
        }
        let deadlines = Deadlines { headers: PATIENCE, ..Deadlines::default() };
        let client = HttpClient::new(host, server, deadlines);
        match client.open(Request::from_parts(head, body)).await {
            Ok(_) if matches!(fault, Some((_, Fault::Lost))) => broken(),
            Ok(response) => response.map(|body| relay(body, client)),
            Err(_) => broken(),
        }
    }
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").field("met", &self.state.look(|state| state.n_met.clone())).finish_non_exhaustive()
    }
}

/// Tells what a request is.
fn point(method: &Method, path: &str, body: &[u8]) -> Option<FaultPoint> {
    let trims = || body.windows(6).any(|window| window == b"\"trim\"");
    Some(match (method, path) {
        (_, "/api/v1/workers/lease") => FaultPoint::Lease,
        (_, "/api/v1/auth/public-tokens") => FaultPoint::MintToken,
        (_, path) if path.ends_with("/heartbeat") => FaultPoint::Heartbeat,
        (_, path) if path.ends_with("/end-and-continue") => FaultPoint::EndAndContinue,
        (_, path) if path.ends_with("/end") => FaultPoint::End,
        (_, path) if path.ends_with("/mark") => FaultPoint::Mark,
        (_, path) if path.ends_with("/session-streams/wait") => FaultPoint::Wait,
        (&Method::GET, path) if path.starts_with("/snapshots/") => FaultPoint::SnapshotRead,
        (&Method::PUT, path) if path.starts_with("/snapshots/") => FaultPoint::SnapshotWrite,
        (_, path) if path.ends_with("/out/batch") && trims() => FaultPoint::Trim,
        (_, path) if path.ends_with("/out/batch") => FaultPoint::OutWrite,
        (_, path) if path.ends_with("/records") => FaultPoint::Records,
        (&Method::GET, path) if path.starts_with("/realtime/") && path.ends_with("/in") => FaultPoint::InDelivery,
        _ => return None,
    })
}

fn answer(status: u16, value: &Value) -> Response<ProxyBody> {
    let body = Full::new(Bytes::from(value.to_string())).map_err(|never: Infallible| match never {});
    let mut response = Response::new(body.boxed_unsync());
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
}

/// Answers with a body that breaks off at once.
fn broken() -> Response<ProxyBody> {
    let failed = stream::iter([Err(io::Error::from(io::ErrorKind::ConnectionReset))]);
    Response::new(StreamBody::new(failed).boxed_unsync())
}

/// Passes a body on as it comes; the client lives as long as the body.
fn relay(body: BodyStream, client: HttpClient) -> ProxyBody {
    let frames = stream::unfold((body, client), |(mut body, client)| async move {
        let chunk = body.next_chunk().await?;
        let frame = chunk.map(Frame::data).map_err(io::Error::other);
        Some((frame, (body, client)))
    });
    StreamBody::new(frames).boxed_unsync()
}
