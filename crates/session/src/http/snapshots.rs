//! Addresses of chat snapshots, and the objects behind them (S §8).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{RawQuery, Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use tokio::sync::{Semaphore, oneshot};
use turnkeep_host::Tasks;
use turnkeep_protocol::session_api::{CODE_SNAPSHOT_GONE, PresignedUrl, Refusal};
use turnkeep_protocol::{SeqNum, SessionId};

use super::params::Params;
use super::reply::{Answer, Fail, Route, ok};
use super::{App, body};
use crate::RecordWriter;
use crate::actor::Stopped;
use crate::core::{Refused, end_of};
use crate::presign::{self, Op};

/// The largest snapshot: what our HTTP client takes.
const MAX_SNAPSHOT: usize = 64 * 1024 * 1024;

/// Puts under way at once, each with its body in memory; a further one waits for its place.
const MAX_PUTS: usize = 16;

/// How often a read goes after an object that was replaced meanwhile.
const MAX_GETS: usize = 4;

/// `GET /api/v1/sessions/{session}/snapshot-url`.
pub(super) async fn read_url(State(app): State<Arc<App>>, Params(session): Params<String>, request: Request) -> Answer {
    url(&app, &session, request.headers(), Op::Get).await
}

/// `PUT /api/v1/sessions/{session}/snapshot-url`; a run's headers bind the address to its lease (D-36).
pub(super) async fn write_url(
    State(app): State<Arc<App>>,
    Params(session): Params<String>,
    request: Request,
) -> Answer {
    url(&app, &session, request.headers(), Op::Put).await
}

async fn url(app: &App, session: &str, headers: &HeaderMap, op: Op) -> Answer {
    let caller = app.authenticate(headers)?;
    let action = if op == Op::Get { "read" } else { "write" };
    let located = app.authorize(&caller, action, session).await?;
    let id = located.id.ok_or_else(|| Route::Other.refuse(Refused::NoSession))?;
    let writer = if op == Op::Put { body::writer(headers)? } else { None };
    ok(&PresignedUrl { presigned_url: presign::sign(&app.environment, &id, op, writer.as_ref(), app.now()) })
}

/// `GET` on a signed address: the object, or 404 when there is none (S-197), 410 when there was one and it is lost (D-86); 500 when
/// nobody can say now.
pub(super) async fn read(
    State(app): State<Arc<App>>,
    Params(key): Params<String>,
    RawQuery(query): RawQuery,
) -> Answer {
    let checked = presign::check(&app.environment, &key, &query.unwrap_or_default(), Op::Get, app.now());
    let (session, _) = checked.ok_or_else(Fail::forbidden)?;
    let body = body_of(&app, &session).await?.ok_or_else(|| Fail::error(StatusCode::NOT_FOUND, "Not found"))?;
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}

/// Gets the body of a session's snapshot, if it has one.
async fn body_of(app: &App, session: &SessionId) -> Result<Option<Bytes>, Fail> {
    let named = async |session: SessionId| app.actor.call(move |core, _| core.snapshot(&session)).await;
    let mut object = named(session.clone()).await?;
    for _ in 0..MAX_GETS {
        // A store that fails is another matter: it may have the object.
        let Some(name) = object else { return Ok(None) };
        if let Some(body) = app.objects.get(session, name).await? {
            return Ok(Some(body));
        }
        // It may have been replaced, and deleted, since its name was asked for; or while it was looked for again.
        let mut now = named(session.clone()).await?;
        if now == object {
            if let Some(body) = app.objects.get_again(session, name).await? {
                return Ok(Some(body));
            }
            now = named(session.clone()).await?;
        }
        if now == object {
            tracing::error!(%session, object = %name, "the object of a snapshot is gone");
            return Err(gone());
        }
        object = now;
    }
    Err(Fail::error(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"))
}

/// Says that the row names an object that the store does not have; the next put replaces that name.
fn gone() -> Fail {
    let error = "The snapshot of this session is lost".to_owned();
    let code = Some(CODE_SNAPSHOT_GONE.to_owned());
    Fail::json(StatusCode::GONE, &Refusal { ok: None, error, code, closed_reason: None })
}

/// `PUT` on a signed address: replaces the object (S-196).
///
/// Whoever goes away before the answer leaves no half of it: what was begun is brought to its end.
pub(super) async fn write(
    State(app): State<Arc<App>>,
    Params(key): Params<String>,
    RawQuery(query): RawQuery,
    request: Request,
) -> Answer {
    let checked = presign::check(&app.environment, &key, &query.unwrap_or_default(), Op::Put, app.now());
    let (session, writer) = checked.ok_or_else(Fail::forbidden)?;
    let (head, body) = request.into_parts();
    let place = app.puts.places.clone().acquire_owned().await.expect("the places are never closed");
    let body = body::read(&head.headers, body, MAX_SNAPSHOT).await?;
    let not_text = |_| Fail::error(StatusCode::BAD_REQUEST, "A snapshot is JSON text");
    let end = end_of(std::str::from_utf8(&body).map_err(not_text)?);
    let (tell, told) = oneshot::channel();
    let put = Put { session, writer, end, body };
    let on = app.clone();
    app.puts.tasks.add(app.host.spawn(async move {
        // Nobody may be there to hear of it.
        let _ = tell.send(put.run(&on).await);
        drop(place);
    }));
    told.await.map_err(|_| Stopped)??;
    Ok(Response::new(Body::empty()))
}

/// The puts under way.
pub(super) struct Puts {
    tasks: Tasks,
    places: Arc<Semaphore>,
}

impl Default for Puts {
    fn default() -> Self {
        Self { tasks: Tasks::new(), places: Arc::new(Semaphore::new(MAX_PUTS)) }
    }
}

/// A snapshot that was read whole.
struct Put {
    session: SessionId,
    writer: Option<RecordWriter>,
    end: Option<SeqNum>,
    body: Bytes,
}

impl Put {
    /// Stores the object, names it in the row, deletes what it replaced.
    async fn run(self, app: &App) -> Result<(), Fail> {
        let Self { session, writer, end, body } = self;
        let (id, by) = (session.clone(), writer.clone());
        let may = app.actor.call(move |core, now| core.may_put_snapshot(now, &id, by.as_ref(), end)).await?;
        may.map_err(|refused| Route::Other.refuse(refused))?;
        let object = app.objects.put(&session, body).await?;
        let id = session.clone();
        // When the core does not answer any more, nobody knows whether the row names the object: it stays for the next life's sweep.
        let put = app.actor.call(move |core, now| core.put_snapshot(now, &id, writer.as_ref(), end, object)).await?;
        match put {
            Ok(None) => {}
            Ok(Some(replaced)) => app.objects.delete(&session, replaced).await,
            Err(refused) => {
                app.objects.delete(&session, object).await;
                return Err(Route::Other.refuse(refused));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};
    use std::time::Duration;

    use futures::TryStreamExt as _;
    use object_store::ObjectStore as _;
    use turnkeep_host::Host;

    use super::*;
    use crate::actor::Driver;
    use crate::core::{Core, NewSession};
    use crate::objects::Objects;
    use crate::{Environment, InMemoryObjects, Loaded, MemoryStorage, StoreId};

    #[tokio::test]
    async fn whoever_leaves_during_a_put_leaves_one_object_which_the_row_names_d26_s196() {
        // A first put is done; a second one's client leaves after so many polls of its request.
        for n_polls in 1..8 {
            let host = Host::os();
            let core = Core::load(Loaded::default(), host.entropy().draws(), Duration::from_secs(10));
            let storage = Arc::new(MemoryStorage::without_journal());
            let (driver, actor) = Driver::new(core, storage.clone(), host.clone());
            let (environment, store) = (Environment::new("env_1", "secret"), Arc::new(InMemoryObjects::new()));
            let objects = Objects::new(store.clone(), &environment, host.entropy().draws(), StoreId(1));
            let app = App::new(host, actor, storage, objects, environment, Default::default());
            let _running = app.host.spawn(async move { driver.run().await.unwrap() });
            let session =
                app.actor.call(|core, now| core.create(now, NewSession::plain())).await.unwrap().unwrap().row.id;
            let put = |body: &'static str| {
                let address = presign::sign(&app.environment, &session, Op::Put, None, app.now());
                let (key, query) = address.split_once('?').unwrap();
                let key = key.split_once(presign::ROOT).unwrap().1.to_owned();
                let request = Request::builder().header("content-length", body.len()).body(Body::from(body)).unwrap();
                Box::pin(write(State(app.clone()), Params(key), RawQuery(Some(query.to_owned())), request))
            };
            put("{}").await.expect("the first put");

            let mut leaving = put("[]");
            for _ in 0..n_polls {
                if leaving.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            drop(leaving);
            // Each step of a put takes a round or two of the tasks.
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }

            let lying: Vec<_> = store.list(None).try_collect().await.unwrap();
            let named = body_of(&app, &session).await.expect("the row names an object that is there");
            assert_eq!((lying.len(), named.as_deref()), (1, Some(&b"[]"[..])), "after {n_polls} polls");
        }
    }
}
