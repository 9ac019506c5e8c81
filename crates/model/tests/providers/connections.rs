//! What becomes of the connection: cut, stalled, cancelled. The server is the test's own, byte by byte.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::Receiver;
use turnkeep_host::{Connection, Task};
use turnkeep_model::CallDeadlines;

use super::*;

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";

/// Takes one connection after the other, reads its request and lets `answer` do the rest.
async fn serving<A: Future<Output = ()> + Send>(
    mut answer: impl FnMut(Connection) -> A + Send + 'static,
) -> (String, Task) {
    let host = Host::os();
    let mut listener = host.net().listen("127.0.0.1:0").await.expect("listens");
    let base = format!("http://{}", listener.local_addr());
    let task = host.spawn(async move {
        loop {
            let mut connection = listener.accept().await.expect("accepts");
            let _ = connection.read(&mut [0; 4096]).await.expect("a request");
            answer(connection).await;
        }
    });
    (base, task)
}

/// The longest wait for what a test has caused; it is there at once, or never.
const SOON: Duration = Duration::from_secs(10);

/// Waits for what a server has heard.
async fn soon(heard: &mut Receiver<usize>) -> Option<usize> {
    tokio::time::timeout(SOON, heard.recv()).await.expect("the server hears of it")
}

/// Gives the first half of an answer, up to its first word.
fn half() -> String {
    let events: String = OPENAI_TEXT.split_inclusive("\n\n").take(2).collect();
    format!("{HEAD}{events}")
}

#[tokio::test]
async fn an_answer_that_is_cut_says_so_after_what_had_come() {
    let cut = |connection: Connection| async move {
        let mut connection = connection;
        connection.write_all(half().as_bytes()).await.expect("writes");
    };
    let (base, _server) = serving(cut).await;

    let parts = parts(&*openai(&base)).await;

    assert_eq!(text(&parts), "Rain, ");
    let why = "the provider's answer broke off: it ended without a finish reason";
    assert_eq!(parts.last(), Some(&StreamPart::Error(ModelError::unavailable(why))));
}

#[tokio::test]
async fn an_answer_that_is_cut_inside_its_framing_says_so_too() {
    let cut = |connection: Connection| async move {
        let mut connection = connection;
        let head = HEAD.replace("\r\n\r\n", "\r\ncontent-length: 100000\r\n\r\n");
        connection.write_all(half().replace(HEAD, &head).as_bytes()).await.expect("writes");
    };
    let (base, _server) = serving(cut).await;

    let parts = parts(&*openai(&base)).await;

    assert_eq!(text(&parts), "Rain, ");
    let Some(StreamPart::Error(error)) = parts.last() else { panic!("{parts:?}") };
    assert!(error.to_string().starts_with("the provider's answer broke off: connection failed"), "{error}");
    assert!(error.is_retryable());
}

#[tokio::test]
async fn an_answer_that_stalls_ends_at_a_named_deadline() {
    let stall = |connection: Connection| async move {
        let mut connection = connection;
        connection.write_all(half().as_bytes()).await.expect("writes");
        std::future::pending().await
    };
    let (base, _server) = serving(stall).await;
    let [provider, _] = providers(&base);
    let deadlines = CallDeadlines { idle: Duration::from_millis(50), ..CallDeadlines::default() };

    let parts = parts(&*provider.deadlines(deadlines).language_model("m")).await;

    assert_eq!(text(&parts), "Rain, ");
    let why = "the provider's answer stalled: nothing within 50 ms (idle deadline)";
    assert_eq!(parts.last(), Some(&StreamPart::Error(ModelError::unavailable(why))));
}

#[tokio::test]
async fn dropping_the_answer_closes_the_connection() {
    for (at, words) in [OPENAI_TEXT, ANTHROPIC_TEXT].into_iter().enumerate() {
        let (closed, mut heard) = tokio::sync::mpsc::channel(1);
        let hear = move |mut connection: Connection| {
            let closed = closed.clone();
            async move {
                let end = words.find("4 °C").expect("it says so");
                let said = words[..end].rfind("\n\n").expect("an event before") + 2;
                connection.write_all(format!("{HEAD}{}", &words[..said]).as_bytes()).await.expect("writes");
                // The end of what the client sends is the end of the connection: it had said all.
                let n_bytes = connection.read(&mut [0; 16]).await.unwrap_or(0);
                closed.send(n_bytes).await.expect("heard");
            }
        };
        let (base, _server) = serving(hear).await;
        let model = providers(&base)[at].clone().language_model("m");
        let mut parts = model.stream(question()).await.expect("begins");
        while !matches!(parts.next().await.expect("it goes on"), StreamPart::TextDelta { .. }) {}
        assert!(heard.try_recv().is_err(), "it is open while it is listened to");

        drop(parts);

        assert_eq!(soon(&mut heard).await, Some(0), "{at}");
    }
}

#[tokio::test]
async fn giving_up_before_the_first_part_closes_the_connection() {
    let (closed, mut heard) = tokio::sync::mpsc::channel(2);
    let hear = move |mut connection: Connection| {
        let closed = closed.clone();
        async move {
            closed.send(1).await.expect("heard");
            let n_bytes = connection.read(&mut [0; 16]).await.unwrap_or(0);
            closed.send(n_bytes).await.expect("heard");
        }
    };
    let (base, _server) = serving(hear).await;
    let model = openai(&base);
    let call = model.stream(question());

    tokio::select! {
        biased;
        _ = call => panic!("nobody answers"),
        asked = heard.recv() => assert_eq!(asked, Some(1)),
    }

    assert_eq!(soon(&mut heard).await, Some(0));
}

#[tokio::test]
async fn nobody_there_is_unavailable() {
    let listener = Host::os().net().listen("127.0.0.1:0").await.expect("listens");
    let base = format!("http://{}", listener.local_addr());
    drop(listener);
    let [provider, _] = providers(&base);

    let error = failure(&*provider.max_retries(0).language_model("m")).await;

    assert!(error.to_string().starts_with("cannot connect to 127.0.0.1:"), "{error}");
    assert!(error.is_retryable());
}
