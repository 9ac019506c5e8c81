//! What the log says, and what it never says.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use futures::TryStreamExt as _;
use http::StatusCode;
use object_store::ObjectStoreExt as _;
use serde_json::{Value, json};
use tracing_subscriber::filter::LevelFilter;
use turnkeep_session::ObjectStore as _;

use crate::support::{SECRET, World, create_body, message};

/// What was logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// Calls routes of every kind with each credential.
async fn knock(world: &World, credentials: &[&str]) {
    for credential in credentials {
        for (method, path, body) in [
            ("POST", "/api/v1/sessions", Some(create_body(json!({})))),
            ("GET", "/api/v1/sessions/chat", None),
            ("GET", "/api/v1/sessions?apiKey=tr_dev_hunter2", None),
            ("POST", "/realtime/v1/sessions/chat/in/append", Some(message("hi"))),
            ("POST", "/realtime/v1/sessions/chat/out/append", Some(message("hi"))),
            ("POST", "/api/v1/auth/public-tokens", Some(json!({ "scopes": ["read:sessions"] }))),
            ("POST", "/api/v1/workers/lease", Some(json!({ "workerId": "w1" }))),
            ("GET", "/metrics", None),
            ("GET", "/nowhere?token=tr_dev_hunter2", None),
        ] {
            world.call_with(method, path, body, &[("authorization", credential)]).await;
        }
    }
}

#[tokio::test]
async fn no_line_holds_a_key_a_token_or_a_signature_whatever_is_refused_or_fails() {
    let log = Log::default();
    let writer = log.clone();
    let lines = tracing_subscriber::fmt().with_max_level(LevelFilter::TRACE).with_ansi(false);
    let _on_this_thread = tracing::subscriber::set_default(lines.with_writer(move || writer.clone()).finish());
    let world = World::start().await;
    let token = world.create().await["publicAccessToken"].as_str().unwrap().to_owned();
    let (of_token, forged) = (format!("Bearer {token}"), format!("Bearer {token}hunter2"));
    let of_key = format!("Bearer {SECRET}");

    knock(&world, &["", "Bearer tr_dev_hunter2", "Basic hunter2", &forged, &of_token, &of_key]).await;
    // A snapshot at a signed address: put, got at a forged one, lost.
    let url = |reply: Value| reply["presignedUrl"].as_str().unwrap().to_owned();
    let route = "/api/v1/sessions/chat/snapshot-url";
    let put = url(world.call("PUT", route, None).await.json());
    let get = url(world.call("GET", route, None).await.json());
    world.call_with("PUT", &put, Some(json!({ "version": 1 })), &[]).await;
    world.call_with("GET", &format!("{get}hunter2"), None, &[]).await;
    let lying: Vec<_> = world.objects.list(None).map_ok(|meta| meta.location).try_collect().await.unwrap();
    world.objects.delete(&lying[0]).await.unwrap();
    let lost = world.call_with("GET", &get, None, &[]).await;
    world.stop().await;

    let text = log.text();
    assert_eq!(lost.status, StatusCode::GONE);
    for said in ["request refused", "the object of a snapshot is gone", "path=\"/api/v1/sessions/chat\"", "status=401"]
    {
        assert!(text.contains(said), "{said} is not in {text}");
    }
    let signatures = [&put, &get].map(|url| url.split_once('?').unwrap().1);
    let of_token = token.rsplit_once('.').unwrap().1;
    for secret in [SECRET, "hunter2", &token, of_token, signatures[0], signatures[1], "Bearer"] {
        assert!(!text.contains(secret), "{secret} is in {text}");
    }
}
