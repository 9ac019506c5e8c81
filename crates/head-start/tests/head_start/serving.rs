//! The handler as a service, on a server of our own and in axum (C-213…C-215, CA-83, CA-85).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::json;
use tower::ServiceExt;
use turnkeep_host::Task;
use turnkeep_host::http::{BodyStream, Deadlines, HttpClient, serve};

use crate::rig::{CHAT, Rig, Say, Seen, question, text};

/// Serves the handler in an author's axum application.
async fn author(rig: &Rig) -> (HttpClient, Task) {
    let listener = rig.host.net().listen("app:80").await.unwrap();
    let routes = axum::Router::new().route_service("/api/chat", rig.head_start.clone());
    let host = rig.host.clone();
    let serving = rig.host.spawn(async move {
        serve(&host, listener, routes).await;
    });
    (HttpClient::new(rig.host.clone(), "http://app".parse().unwrap(), Deadlines::default()), serving)
}

fn post(body: impl Into<Bytes>) -> Request<Bytes> {
    let request = Request::post("/api/chat").header("content-type", "application/json");
    request.body(body.into()).unwrap()
}

fn ask() -> Request<Bytes> {
    post(json!({ "chatId": CHAT, "headStartMessages": question().messages() }).to_string())
}

async fn piece(answer: &mut Response<BodyStream>) -> String {
    let bytes = answer.body_mut().next_chunk().await.unwrap().unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn words_arrive_as_they_are_said_c214_ca85() {
    let mut step = text(["Rain", "."]);
    for at in [4, 3, 2, 1] {
        step.insert(at, Say::Wait(Duration::from_secs(1)));
    }
    let rig = Rig::start(step).await;
    let (client, _serving) = author(&rig).await;

    let mut answer = client.open(ask()).await.unwrap();

    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["x-trigger-chat-id"], CHAT);
    let mut pieces: Vec<String> = Vec::new();
    while !pieces.concat().contains("\"text-end\"") {
        pieces.push(piece(&mut answer).await);
    }
    assert!(pieces.len() >= 4, "{pieces:?}");
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_waits_says_that_it_lives() {
    let mut step = text(["Rain", "."]);
    step.insert(1, Say::Wait(Duration::from_secs(50)));
    let rig = Rig::start(step).await;
    let (client, _serving) = author(&rig).await;
    let mut answer = client.open(ask()).await.unwrap();
    while !piece(&mut answer).await.contains("text-start") {}

    let mut pieces = Vec::new();
    for _ in 0..3 {
        let waited = tokio::time::Instant::now();
        pieces.push((piece(&mut answer).await, waited.elapsed().as_secs()));
    }

    assert!(pieces.iter().all(|(piece, waited)| piece == ":\n\n" && (14..=16).contains(waited)), "{pieces:?}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_closes_ends_the_step_c213_c195_ca85() {
    let mut step = text(["Rain", "."]);
    step.insert(1, Say::Hang);
    let rig = Rig::start(step).await;
    let (client, _serving) = author(&rig).await;
    let mut answer = client.open(ask()).await.unwrap();
    piece(&mut answer).await;
    let left = tokio::time::Instant::now();

    drop(answer);

    assert_eq!(rig.handover().await, json!({ "kind": "handover-skip" }));
    assert!(left.elapsed() < Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_none_is_refused_before_anything_is_asked_for_ca83() {
    let seen = Arc::new(Seen::default());
    let watch = seen.clone();
    let rig = Rig::with(Vec::new(), |head_start| head_start.fetch(watch.fetch(|_, _| false))).await;

    for (body, status, text) in [
        (r#"{"headStartMessages":[]}"#.to_owned(), 400, "chatId is missing"),
        ("no".to_owned(), 400, "the request cannot be understood: expected ident at line 1 column 2"),
        (" ".repeat(11 * 1024 * 1024), 413, "the request has more than 10485760 bytes"),
    ] {
        let answer = rig.head_start.clone().oneshot(post(body).map(Full::new)).await.unwrap();

        let (head, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        assert_eq!((head.status.as_u16(), str::from_utf8(&body).unwrap()), (status, text));
        assert_eq!(head.headers["content-type"], "text/plain");
    }
    assert_eq!(seen.count(""), 0);
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_fails_answers_500_with_its_text_c215_ca85() {
    let rig = Rig::running(Vec::new(), |head_start| head_start, |_, _| Err("no budget left".into())).await;
    let (client, _serving) = author(&rig).await;

    let answer = client.fetch(ask()).await.unwrap();

    assert_eq!((answer.status().as_u16(), &answer.body()[..]), (500, &b"no budget left"[..]));
    assert_eq!(answer.headers()["content-type"], "text/plain");
}
