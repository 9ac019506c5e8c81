//! Which credential opens what (S §7): every scope on every route, restricted keys, the change of keys.

use http::StatusCode;
use serde_json::{Value, json};
use turnkeep_host::Timestamp;
use turnkeep_session::Environment;

use crate::support::{SECRET, World, create_body, environment, message};

/// Scopes of every action, type and id; `{id}` stands for the session's public id.
const SCOPES: [&str; 22] = [
    "",
    "admin",
    "*:all",
    "read:all",
    "write:all:chat",
    "*:sessions:chat",
    "read:sessions",
    "read:sessions:chat",
    "read:sessions:{id}",
    "read:sessions:other",
    "write:sessions",
    "write:sessions:chat",
    "write:sessions:{id}",
    "write:sessions:other",
    "admin:sessions",
    "admin:sessions:chat",
    "admin:sessions:{id}",
    "admin:sessions:other",
    "read:tasks",
    "read:tasks:agent",
    "write:tasks",
    "write:tasks:agent",
];

const CREATE: &[&str] = &["admin", "*:all", "write:sessions", "write:tasks", "write:tasks:agent"];
const LIST: &[&str] = &["admin", "*:all", "read:all", "read:sessions", "read:tasks"];
const LIST_TASK: &[&str] = &["admin", "*:all", "read:all", "read:sessions", "read:tasks", "read:tasks:agent"];
const READ: &[&str] =
    &["admin", "*:all", "read:all", "*:sessions:chat", "read:sessions", "read:sessions:chat", "read:sessions:{id}"];
const WRITE: &[&str] = &[
    "admin",
    "*:all",
    "write:all:chat",
    "*:sessions:chat",
    "write:sessions",
    "write:sessions:chat",
    "write:sessions:{id}",
];
const ADMIN: &[&str] =
    &["admin", "*:all", "*:sessions:chat", "admin:sessions", "admin:sessions:chat", "admin:sessions:{id}"];

/// What a token without a fitting scope, or any token, is told.
#[derive(Clone, Copy, PartialEq)]
enum Tokens {
    /// Tokens with a fitting scope pass.
    Fit,
    /// No token passes: 403.
    Never,
    /// The route is for keys: 401.
    Keys,
}

struct Operation {
    method: &'static str,
    path: &'static str,
    body: fn() -> Option<Value>,
    scopes: &'static [&'static str],
    tokens: Tokens,
}

/// Every operation on sessions; bodies that would end the session or the test are refused for themselves, after the check.
fn operations() -> Vec<Operation> {
    fn nothing() -> Option<Value> {
        None
    }
    fn empty() -> Option<Value> {
        Some(json!({}))
    }
    use Tokens::{Fit, Keys, Never};
    let session = "/api/v1/sessions/{s}";
    let row =
        |method, path, body: fn() -> Option<Value>, scopes, tokens| Operation { method, path, body, scopes, tokens };
    vec![
        row("POST", "/api/v1/sessions", || Some(create_body(json!({ "chatId": "chat" }))), CREATE, Fit),
        row("GET", "/api/v1/sessions", nothing, LIST, Fit),
        row("GET", "/api/v1/sessions?filter[taskIdentifier]=agent", nothing, LIST_TASK, Fit),
        row("GET", "/api/v1/sessions?filter[taskIdentifier]=agent,b", nothing, LIST, Fit),
        row("GET", session, nothing, READ, Fit),
        row("HEAD", "/realtime/v1/sessions/{s}/out", nothing, READ, Fit),
        row("HEAD", "/realtime/v1/sessions/{s}/in", nothing, READ, Fit),
        row("GET", "/realtime/v1/sessions/{s}/out/records", nothing, READ, Fit),
        row("GET", "/realtime/v1/sessions/{s}/in/records", nothing, READ, Fit),
        row("GET", "/api/v1/sessions/{s}/snapshot-url", nothing, READ, Fit),
        row("PUT", "/api/v1/sessions/{s}/snapshot-url", nothing, WRITE, Fit),
        row("POST", "/realtime/v1/sessions/{s}/in/append", || Some(message("m")), WRITE, Fit),
        row("POST", "/realtime/v1/sessions/{s}/out/append", empty, WRITE, Never),
        row("PUT", "/realtime/v1/sessions/{s}/out", nothing, WRITE, Never),
        row("PUT", "/realtime/v1/sessions/{s}/in", nothing, WRITE, Never),
        row("POST", "/api/v1/sessions/{s}/end-and-continue", empty, WRITE, Fit),
        row("PATCH", session, || Some(json!({ "tags": 7 })), ADMIN, Fit),
        row("POST", "/api/v1/sessions/{s}/close", || Some(json!({ "reason": 7 })), ADMIN, Fit),
        row("POST", "/realtime/v1/sessions/{s}/out/batch", empty, WRITE, Keys),
        row("POST", "/api/v1/sessions/{s}/mark", empty, WRITE, Keys),
        row("POST", "/api/v1/workers/lease", empty, &[], Keys),
        row("POST", "/api/v1/runs/run_1/heartbeat", empty, &[], Keys),
        row("POST", "/api/v1/runs/run_1/end", empty, &[], Keys),
        row("POST", "/api/v2/runs/run_1/cancel", nothing, &[], Keys),
        row("POST", "/api/v1/runs/run_1/session-streams/wait", empty, &[], Keys),
        row("GET", "/api/v1/waitpoints/waitpoint_1", nothing, &[], Keys),
        row("POST", "/api/v1/auth/jwt/claims", nothing, &[], Keys),
        row("POST", "/api/v1/auth/public-tokens", empty, &[], Keys),
    ]
}

impl Operation {
    /// Tries the operation with a credential, by both forms of the session's id; gives what authorisation has said.
    async fn told(&self, world: &World, id: &str, bearer: &str) -> Told {
        let mut told = Vec::new();
        for form in ["chat", id] {
            let path = self.path.replace("{s}", form);
            let headers = [("authorization", bearer)];
            let reply = world.call_with(self.method, &path, (self.body)(), &headers).await;
            assert_ne!(reply.status, StatusCode::INTERNAL_SERVER_ERROR, "{} {path}", self.method);
            told.push(match reply.status {
                StatusCode::UNAUTHORIZED => Told::Unauthorized,
                StatusCode::FORBIDDEN => Told::Forbidden,
                _ => Told::Allowed,
            });
        }
        assert_eq!(
            told[0], told[1],
            "{} {}: one form of the id opens more than the other (S-180)",
            self.method, self.path
        );
        told[0]
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Allowed,
    Unauthorized,
    Forbidden,
}

async fn created() -> (World, String) {
    let world = World::start().await;
    let id = world.create().await["id"].as_str().unwrap().to_owned();
    (world, id)
}

#[tokio::test]
async fn every_scope_of_a_token_opens_exactly_its_routes_by_either_id_s7_s62_s95_s99_s179_s180_s185_s186_s188() {
    let (world, id) = created().await;
    for scope in SCOPES {
        let written = scope.replace("{id}", &id);
        let minted = world.call("POST", "/api/v1/auth/public-tokens", Some(json!({ "scopes": [written] }))).await;
        let bearer = format!("Bearer {}", minted.json::<Value>()["token"].as_str().unwrap());
        for operation in operations() {
            let want = match operation.tokens {
                Tokens::Keys => Told::Unauthorized,
                Tokens::Fit if operation.scopes.contains(&scope) => Told::Allowed,
                Tokens::Fit | Tokens::Never => Told::Forbidden,
            };
            let told = operation.told(&world, &id, &bearer).await;
            assert_eq!(told, want, "`{scope}` on {} {}", operation.method, operation.path);
        }
    }
}

#[tokio::test]
async fn a_restricted_key_is_a_key_within_its_scopes_and_useless_where_no_scope_speaks_s177() {
    let (world, id) = created().await;
    let key = |scope: &str| format!("tr_restricted_{scope}");
    let keys = SCOPES
        .iter()
        .fold(environment(), |environment, scope| environment.restricted_key(key(scope), [scope.replace("{id}", &id)]));
    let world = world.restart_as(keys).await;
    for scope in SCOPES {
        let bearer = format!("Bearer {}", key(scope));
        for operation in operations() {
            let want = if operation.scopes.contains(&scope) { Told::Allowed } else { Told::Forbidden };
            let told = operation.told(&world, &id, &bearer).await;
            assert_eq!(told, want, "`{scope}` on {} {}", operation.method, operation.path);
        }
    }
}

#[tokio::test]
async fn the_secret_key_opens_every_route_s177() {
    let (world, id) = created().await;
    for operation in operations() {
        let told = operation.told(&world, &id, &format!("Bearer {SECRET}")).await;
        assert_eq!(told, Told::Allowed, "{} {}", operation.method, operation.path);
    }
}

#[tokio::test]
async fn a_restricted_key_writes_out_like_a_key_s62_s177() {
    let world = World::start_for(environment().restricted_key("tr_narrow", ["write:sessions:chat"])).await;
    world.create().await;
    let narrow = [("authorization", "Bearer tr_narrow")];

    let out = "/realtime/v1/sessions/chat/out";
    let appended = world.call_with("POST", &format!("{out}/append"), Some(json!({})), &narrow).await;
    let batch = world.call_with("POST", &format!("{out}/batch"), Some(json!({ "records": [] })), &narrow).await;
    let direct = world.call_with("PUT", out, None, &narrow).await;

    assert_eq!([appended.status, batch.status], [StatusCode::OK; 2]);
    assert_eq!(direct.status, StatusCode::NOT_IMPLEMENTED);
}

#[tokio::test]
async fn after_a_change_of_keys_the_old_key_and_its_tokens_count_until_the_grace_period_ends_s178() {
    let world = World::start_for(Environment::new("env_1", "tr_old")).await;
    let old = [("authorization", "Bearer tr_old")];
    let body = create_body(json!({}));
    let created = world.call_with("POST", "/api/v1/sessions", Some(body.clone()), &old).await.json::<Value>();
    let token = format!("Bearer {}", created["publicAccessToken"].as_str().unwrap());
    let address = world.call_with("GET", "/api/v1/sessions/chat/snapshot-url", None, &old).await.json::<Value>();
    let changed = || Environment::new("env_1", SECRET);
    let (later, before) = (Timestamp::from_millis(u64::MAX), Timestamp::from_millis(1));

    for (until, counts) in [(later, true), (before, false)] {
        let left = turnkeep_session::MemoryDisk::with(world.disk.synced()).into();
        let lease = std::time::Duration::from_secs(10);
        let world = World::start_as(left, lease, changed().retired_key("tr_old", until)).await;
        for bearer in ["Bearer tr_old", token.as_str()] {
            let reply = world.call_with("GET", "/api/v1/sessions/chat", None, &[("authorization", bearer)]).await;
            let want = if counts { StatusCode::OK } else { StatusCode::UNAUTHORIZED };
            assert_eq!(reply.status, want, "{bearer} until {until}");
        }
        let snapshot =
            world.call_with("GET", address["presignedUrl"].as_str().unwrap(), None, &[("authorization", "")]).await;
        assert_eq!(snapshot.status == StatusCode::NOT_FOUND, counts, "an address that the old key signed");
        let new = world.call("POST", "/api/v1/sessions", Some(body.clone())).await.json::<Value>();
        let new_token = format!("Bearer {}", new["publicAccessToken"].as_str().unwrap());
        let reply = world.call_with("GET", "/api/v1/sessions/chat", None, &[("authorization", &new_token)]).await;
        assert_eq!(reply.status, StatusCode::OK, "the new key signs");
    }
}
