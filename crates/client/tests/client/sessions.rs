//! The secret-key client of the session routes.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use turnkeep_client::{Error, SessionsApi};
use turnkeep_host::{Host, Task, http::serve};
use turnkeep_protocol::session_api::{CloseSession, CreateSession, TriggerConfig};
use turnkeep_protocol::{ChannelName, ChatInputChunk, PartId, RunId, SeqNum, TaskId};

use crate::fake::AppendPlan;
use crate::net;
use crate::rig::Rig;

#[tokio::test(start_paused = true)]
async fn an_append_with_the_secret_key_keeps_the_callers_part_id_c18_d6() {
    let rig = Rig::start().await;
    rig.fake.on_append(AppendPlan::StoreThen(503));
    let api = SessionsApi::new(rig.host.clone(), "http://session/".parse().unwrap(), "sk_test");
    let stop = ChatInputChunk::Stop { message: None };

    let first = api.append("chat-1", &stop, &PartId::new("mine")).await.unwrap();
    let again = api.append("chat-1", &stop, &PartId::new("mine")).await.unwrap();

    assert_eq!((first, again), (Some(SeqNum::ZERO), Some(SeqNum::ZERO)));
    let appends = rig.fake.appends();
    assert_eq!(appends.len(), 3);
    assert!(appends.iter().all(|seen| seen.token == "sk_test" && seen.part_id == "mine"));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_keeps_its_status_and_text_c21() {
    let rig = Rig::start().await;
    let body = serde_json::json!({ "ok": false, "error": "session not found" });
    rig.fake.on_append(AppendPlan::Refuse(404, body, Vec::new()));
    let api = SessionsApi::new(rig.host.clone(), "http://session".parse().unwrap(), "sk_test");

    let error = api.append("chat-1", &ChatInputChunk::HandoverSkip, &PartId::new("p")).await.unwrap_err();

    assert_eq!((error.status(), error.to_string().as_str()), (Some(404), "status 404: session not found"));
}

#[tokio::test(start_paused = true)]
async fn each_route_is_asked_as_the_session_server_wants_it_s12_s23_s43_s97() {
    let host = net::host();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let _server = serve_echo(&host, asked.clone()).await;
    let api = SessionsApi::new(host.clone(), "http://session".parse().unwrap(), "sk_test");
    let create = CreateSession {
        kind: "chat.agent".to_owned(),
        task_identifier: TaskId::new("agent"),
        trigger_config: TriggerConfig::default(),
        external_id: Some("a/b".to_owned()),
        tags: None,
        metadata: None,
        expires_at: None,
    };

    // The echo is no session, so each answer is refused as unreadable: a success that says nothing is not a success.
    assert!(matches!(api.create(&create).await, Err(Error::BadResponse { .. })));
    assert!(matches!(api.retrieve("a/b").await, Err(Error::BadResponse { .. })));
    assert!(matches!(api.close("a/b", &CloseSession::default()).await, Err(Error::BadResponse { .. })));
    assert!(matches!(
        api.end_and_continue("a/b", &RunId::new("run_1"), "upgrade").await,
        Err(Error::BadResponse { .. })
    ));
    assert_eq!(api.drain("a/b", ChannelName::Out, None).await.unwrap(), []);
    assert_eq!(api.drain("a/b", ChannelName::In, Some(SeqNum::new(4))).await.unwrap(), []);

    let want = [
        "POST /api/v1/sessions",
        "GET /api/v1/sessions/a%2Fb",
        "POST /api/v1/sessions/a%2Fb/close",
        "POST /api/v1/sessions/a%2Fb/end-and-continue",
        "GET /realtime/v1/sessions/a%2Fb/out/records",
        "GET /realtime/v1/sessions/a%2Fb/in/records?afterEventId=4",
    ];
    assert_eq!(*asked.lock().unwrap(), want);
}

/// Answers everything with an empty list of records, and notes what was asked with which key.
async fn serve_echo(host: &Host, asked: Arc<Mutex<Vec<String>>>) -> Task {
    let listener = host.net().listen("session:80").await.unwrap();
    let own_host = host.clone();
    host.spawn(async move {
        let service = tower::service_fn(move |request: Request<Incoming>| {
            assert_eq!(request.headers()["authorization"], "Bearer sk_test");
            asked.lock().unwrap().push(format!("{} {}", request.method(), request.uri()));
            async { Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(br#"{"records":[]}"#)))) }
        });
        match serve(&own_host, listener, service).await {}
    })
}
