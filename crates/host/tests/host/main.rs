//! The HTTP client and the accept loop over real TCP on loopback; the real machine's files and programs.

#[cfg(unix)]
mod machine;

mod serving;

#[cfg(feature = "tls")]
mod tls;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use turnkeep_host::http::{BaseUrl, Deadlines, Error, HttpClient, serve};
use turnkeep_host::{Connection, Host, Listener, Task, Tasks};

type Body = http_body_util::combinators::BoxBody<Bytes, Infallible>;

/// Counts the connections that a listener hands out.
struct Counted {
    inner: Box<dyn Listener>,
    accepted: Arc<AtomicUsize>,
}

impl Listener for Counted {
    fn accept(&mut self) -> BoxFuture<'_, std::io::Result<Connection>> {
        Box::pin(async move {
            let connection = self.inner.accept().await?;
            self.accepted.fetch_add(1, Ordering::SeqCst);
            Ok(connection)
        })
    }

    fn local_addr(&self) -> String {
        self.inner.local_addr()
    }
}

struct TestServer {
    base: BaseUrl,
    accepted: Arc<AtomicUsize>,
    _task: Task,
}

/// Answers `/echo` with the request's body, `/silent` never, and `/drip` with one chunk and then silence.
async fn start(host: &Host) -> TestServer {
    let inner = host.net().listen("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", inner.local_addr()).parse().unwrap();
    let accepted = Arc::new(AtomicUsize::new(0));
    let listener = Box::new(Counted { inner, accepted: accepted.clone() });
    let service = tower::service_fn(|request: Request<Incoming>| async move {
        let path = request.uri().path().to_owned();
        if path == "/silent" {
            std::future::pending::<()>().await;
        }
        let body: Body = if path == "/drip" {
            let first = futures::stream::iter([Ok(Frame::data(Bytes::from_static(b"drop")))]);
            StreamBody::new(futures::StreamExt::chain(first, futures::stream::pending())).boxed()
        } else {
            Full::new(request.into_body().collect().await.unwrap().to_bytes()).boxed()
        };
        Ok::<_, Infallible>(Response::new(body))
    });
    let server_host = host.clone();
    let task = host.spawn(async move {
        serve(&server_host, listener, service).await;
    });
    TestServer { base, accepted, _task: task }
}

fn ask(path: &str, body: &'static str) -> Request<Bytes> {
    Request::post(path).body(Bytes::from_static(body.as_bytes())).unwrap()
}

#[tokio::test]
async fn bounded_requests_share_one_connection_and_streams_own_theirs() {
    let host = Host::os();
    let server = start(&host).await;
    let client = HttpClient::new(host, server.base.clone(), Deadlines::default());

    for _ in 0..3 {
        let response = client.fetch(ask("/echo", "hello")).await.unwrap();
        assert_eq!((response.status(), response.body().as_ref()), (StatusCode::OK, &b"hello"[..]));
        assert!(!response.headers().contains_key("date"), "a date would differ from run to run");
    }
    let mut stream = client.open(ask("/drip", "")).await.unwrap().into_body();
    assert_eq!(stream.next_chunk().await.unwrap().unwrap(), "drop");
    client.fetch(ask("/echo", "x")).await.unwrap();

    // The stream took over the idle connection, so the request after it dialled a second one.
    assert_eq!(server.accepted.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn silence_becomes_an_error_that_says_what_was_awaited() {
    let host = Host::os();
    let server = start(&host).await;
    let limit = Duration::from_millis(20);
    let deadlines = Deadlines { headers: limit, body: limit, ..Deadlines::default() };
    let client = HttpClient::new(host, server.base.clone(), deadlines);

    let silent = client.fetch(ask("/silent", "")).await.unwrap_err();
    let drip = client.fetch(ask("/drip", "")).await.unwrap_err();

    assert_eq!(silent.to_string(), "no response headers within 20 ms");
    assert_eq!(drip.to_string(), "no response body within 20 ms");
    assert!(silent.is_retryable() && drip.is_retryable());
}

#[tokio::test]
async fn a_refused_connection_names_the_authority() {
    let host = Host::os();
    let listener = host.net().listen("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr();
    drop(listener);
    let client = HttpClient::new(host, format!("http://{addr}").parse().unwrap(), Deadlines::default());

    let refused = client.fetch(ask("/", "")).await.unwrap_err();

    assert!(matches!(&refused, Error::Connect { authority, .. } if *authority == addr), "{refused}");
    assert!(refused.is_retryable());
}

#[tokio::test]
async fn a_kept_connection_that_died_is_replaced_without_an_error() {
    let host = Host::os();
    let mut listener = host.net().listen("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr()).parse().unwrap();
    let server = host.spawn(async move {
        // Each connection answers one request, promises to stay, and closes.
        for _ in 0..2 {
            let mut connection = listener.accept().await.unwrap();
            let mut head = [0; 1024];
            let _ = connection.read(&mut head).await.unwrap();
            connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
        }
        std::future::pending().await
    });
    let client = HttpClient::new(host, base, Deadlines::default());

    for _ in 0..2 {
        assert_eq!(client.fetch(ask("/", "")).await.unwrap().body(), "ok");
        // Lets the client's task read the end of the connection.
        tokio::task::yield_now().await;
    }
    drop(server);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_an_error_and_not_an_end() {
    let host = Host::os();
    let mut listener = host.net().listen("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr()).parse().unwrap();
    let _server = host.spawn(async move {
        let mut connection = listener.accept().await.unwrap();
        let mut head = [0; 1024];
        let _ = connection.read(&mut head).await.unwrap();
        connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await.unwrap();
    });
    let client = HttpClient::new(host, base, Deadlines::default());

    let mut body = client.open(ask("/", "")).await.unwrap().into_body();

    assert_eq!(body.next_chunk().await.unwrap().unwrap(), "half");
    assert!(matches!(body.next_chunk().await, Some(Err(Error::Broken(_)))));
}

#[tokio::test]
async fn dropping_a_task_ends_it_and_a_set_forgets_what_has_finished() {
    let host = Host::os();
    let (alive, gone) = tokio::sync::oneshot::channel::<()>();
    let task = host.spawn(async move {
        let _alive = alive;
        std::future::pending().await
    });
    let tasks = Tasks::new();
    tasks.add(host.spawn(async {}));

    drop(task);
    let ended = gone.await;
    tasks.add(host.spawn(std::future::pending()));

    assert!(ended.is_err(), "the task's end drops what it owned");
    assert_eq!(tasks.running(), 1);
}
