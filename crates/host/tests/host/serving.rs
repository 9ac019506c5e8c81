//! How a server ends, and what it does about peers that take nothing; connections in memory, virtual time.

use std::convert::Infallible;
use std::io::{self, Read as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream;
use http::{Request, Response};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use turnkeep_host::http::{Shutdown, WRITE_DEADLINE, serve_until};
use turnkeep_host::{Connection, Host, Listener, Task};

use super::Body;

/// Hands out connections that the test makes.
struct Queue(mpsc::UnboundedReceiver<DuplexStream>);

impl Listener for Queue {
    fn accept(&mut self) -> BoxFuture<'_, io::Result<Connection>> {
        Box::pin(async move {
            match self.0.recv().await {
                Some(stream) => Ok(Box::new(stream) as Connection),
                None => std::future::pending().await,
            }
        })
    }

    fn local_addr(&self) -> String {
        "memory:80".to_owned()
    }
}

/// A server on connections in memory: `/slow` answers after 3 s, `/flood` never ends, `/never` never begins.
struct Served {
    connect: mpsc::UnboundedSender<DuplexStream>,
    shutdown: Shutdown,
    sent: Arc<AtomicUsize>,
    ended: oneshot::Receiver<usize>,
    _task: Task,
}

fn start(patience: Duration) -> Served {
    let (connect, queue) = mpsc::unbounded_channel();
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = sent.clone();
    let service = tower::service_fn(move |request: Request<Incoming>| {
        let counted = counted.clone();
        async move {
            match request.uri().path() {
                "/slow" => tokio::time::sleep(Duration::from_secs(3)).await,
                "/never" => std::future::pending().await,
                _ => {}
            }
            let is_flood = request.uri().path() == "/flood";
            let body: Body = StreamBody::new(stream::unfold((), move |()| {
                let n = counted.fetch_add(1, Ordering::SeqCst);
                async move { (is_flood || n == 0).then(|| (Ok(Frame::data(Bytes::from_static(&[7; 1024]))), ())) }
            }))
            .boxed();
            Ok::<_, Infallible>(Response::new(body))
        }
    });
    let shutdown = Shutdown { stop: CancellationToken::new(), patience };
    let told = shutdown.clone();
    let (tell, ended) = oneshot::channel();
    let task = Host::os().spawn(async move {
        let _ = tell.send(serve_until(&Host::os(), Box::new(Queue(queue)), service, &told).await);
    });
    Served { connect, shutdown, sent, ended, _task: task }
}

async fn ask(served: &Served, path: &str) -> DuplexStream {
    let (mut near, far) = tokio::io::duplex(2048);
    served.connect.send(far).unwrap();
    near.write_all(format!("GET {path} HTTP/1.1\r\nhost: memory\r\n\r\n").as_bytes()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    near
}

#[tokio::test(start_paused = true)]
async fn an_answer_under_way_is_finished_and_an_idle_connection_closed_at_once() {
    let served = start(Duration::from_secs(10));
    let (mut slow, mut idle) = (ask(&served, "/slow").await, ask(&served, "/").await);
    let mut head = [0; 15];
    idle.read_exact(&mut head).await.unwrap();
    let began = Instant::now();

    served.shutdown.stop.cancel();
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO, "nothing was asked on it");
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();

    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert_eq!(served.ended.await.unwrap(), 0);
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    assert!(served.connect.send(tokio::io::duplex(8).0).is_err(), "nothing is accepted any more");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_finished_when_patience_ends_is_cut() {
    let served = start(Duration::from_secs(10));
    let mut stuck = ask(&served, "/never").await;
    let began = Instant::now();

    served.shutdown.stop.cancel();

    assert_eq!(served.ended.await.unwrap(), 1);
    assert_eq!(began.elapsed(), Duration::from_secs(10));
    assert_eq!(stuck.read(&mut [0; 8]).await.unwrap(), 0, "closed");
}

#[tokio::test(start_paused = true)]
async fn a_peer_that_takes_nothing_loses_its_connection_with_a_word_and_holds_no_more_than_the_buffers() {
    let mut log = tempfile::NamedTempFile::new().unwrap();
    let lines = tracing_subscriber::fmt().with_writer(Arc::new(log.reopen().unwrap())).finish();
    let _on_this_thread = tracing::subscriber::set_default(lines);
    let served = start(Duration::ZERO);
    let mut slow = ask(&served, "/flood").await;
    let buffered = served.sent.load(Ordering::SeqCst);

    tokio::time::sleep(WRITE_DEADLINE - Duration::from_secs(1)).await;
    slow.read_exact(&mut [0; 1024]).await.unwrap();
    tokio::time::sleep(WRITE_DEADLINE - Duration::from_secs(1)).await;
    slow.read_exact(&mut [0; 1024]).await.expect("it took something in time, so the clock began again");
    tokio::time::sleep(WRITE_DEADLINE + Duration::from_secs(1)).await;

    let mut rest = Vec::new();
    slow.take(4096).read_to_end(&mut rest).await.unwrap();
    assert!(rest.len() <= 2048, "{}: what lay in the pipe", rest.len());
    assert!((8..1024).contains(&buffered), "{buffered}: bounded, whatever the peer does");
    let mut said = String::new();
    log.read_to_string(&mut said).unwrap();
    assert_eq!(said.matches("a peer took nothing for 60 s; its connection is closed").count(), 1, "{said}");
}
