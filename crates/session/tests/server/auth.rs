//! Who may do what (S §7), and CORS (S-121).

use http::StatusCode;
use serde_json::{Value, json};

use crate::support::{Reply, World, create_body, message};

const APPEND: &str = "/realtime/v1/sessions/chat/in/append";

struct Tokens {
    world: World,
    chat: String,
    id: String,
}

async fn two_chats() -> Tokens {
    let world = World::start().await;
    let chat = world.create().await;
    let mut other = create_body(json!({}));
    other["externalId"] = json!("other");
    world.call("POST", "/api/v1/sessions", Some(other)).await;
    let token = chat["publicAccessToken"].as_str().unwrap();
    Tokens { world, chat: format!("Bearer {token}"), id: chat["id"].as_str().unwrap().to_owned() }
}

impl Tokens {
    async fn as_client(&self, method: &str, path: &str, body: Option<Value>) -> Reply {
        self.world.call_with(method, path, body, &[("authorization", &self.chat)]).await
    }
}

#[tokio::test]
async fn nobody_gets_in_without_a_credential_s185() {
    let tokens = two_chats().await;
    let (signed, _) = tokens.chat.rsplit_once('.').unwrap();
    for credential in ["", "Bearer ", "Bearer wrong", "Basic dHI6", &format!("{signed}.AAAA")] {
        for (method, path) in [
            ("POST", "/api/v1/sessions"),
            ("GET", "/api/v1/sessions/chat"),
            ("POST", "/api/v1/sessions/chat/close"),
            ("POST", APPEND),
            ("GET", "/realtime/v1/sessions/chat/out"),
            ("GET", "/realtime/v1/sessions/chat/out/records"),
            ("POST", "/realtime/v1/sessions/chat/out/batch"),
            ("PUT", "/realtime/v1/sessions/chat/out"),
            ("POST", "/api/v1/workers/lease"),
            ("GET", "/api/v1/sessions/chat/snapshot-url"),
        ] {
            let reply = tokens.world.call_with(method, path, None, &[("authorization", credential)]).await;
            assert_eq!(reply.status, StatusCode::UNAUTHORIZED, "{method} {path} with {credential:?}");
            assert!(reply.json::<Value>()["error"].is_string());
        }
    }
}

#[tokio::test]
async fn a_session_token_opens_its_own_session_by_both_ids_s180_s182() {
    let tokens = two_chats().await;
    for url_id in ["chat", &tokens.id.clone()] {
        let append = format!("/realtime/v1/sessions/{url_id}/in/append");
        let records = format!("/realtime/v1/sessions/{url_id}/in/records");
        assert_eq!(tokens.as_client("POST", &append, Some(message("m"))).await.status, StatusCode::OK);
        assert_eq!(tokens.as_client("GET", &records, None).await.status, StatusCode::OK);
        assert_eq!(tokens.as_client("GET", &format!("/api/v1/sessions/{url_id}"), None).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_session_token_opens_nothing_else_and_scope_comes_before_existence_s181_s186() {
    let tokens = two_chats().await;
    for (method, path) in [
        ("POST", "/realtime/v1/sessions/other/in/append"),
        ("GET", "/realtime/v1/sessions/other/out"),
        ("GET", "/realtime/v1/sessions/other/in/records"),
        ("GET", "/api/v1/sessions/other"),
        ("GET", "/api/v1/sessions/nobody"),
        ("GET", "/api/v1/sessions/other/snapshot-url"),
        ("PUT", "/api/v1/sessions/session_unknown/snapshot-url"),
        ("POST", "/api/v1/sessions/chat/close"),
        ("PUT", "/realtime/v1/sessions/chat/in"),
    ] {
        let body = (method == "POST").then(|| json!({}));
        let reply = tokens.as_client(method, path, body).await;
        assert_eq!(reply.status, StatusCode::FORBIDDEN, "{method} {path}");
    }
    let create = tokens.as_client("POST", "/api/v1/sessions", Some(create_body(json!({})))).await;
    let want =
        json!({ "error": "Unauthorized", "code": "unauthorized", "param": "access_token", "type": "authorization" });
    assert_eq!((create.status, create.json::<Value>()), (StatusCode::FORBIDDEN, want));
}

#[tokio::test]
async fn run_routes_are_for_the_secret_key_only_s181_s185() {
    let tokens = two_chats().await;
    for path in [
        "/api/v1/workers/lease",
        "/api/v1/runs/run_1/heartbeat",
        "/api/v1/runs/run_1/end",
        "/api/v2/runs/run_1/cancel",
        "/api/v1/runs/run_1/session-streams/wait",
        "/realtime/v1/sessions/chat/out/batch",
        "/api/v1/sessions/chat/mark",
    ] {
        assert_eq!(tokens.as_client("POST", path, Some(json!({}))).await.status, StatusCode::UNAUTHORIZED, "{path}");
    }
    assert_eq!(tokens.as_client("GET", "/api/v1/waitpoints/waitpoint_1", None).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn out_is_never_appended_with_a_token_s62() {
    let tokens = two_chats().await;
    let path = "/realtime/v1/sessions/chat/out/append";

    let refused = tokens.as_client("POST", path, Some(json!({}))).await;
    let allowed = tokens.world.call("POST", path, Some(json!({}))).await;
    tokens.world.call("POST", "/api/v1/sessions/chat/close", Some(json!({}))).await;
    let closed = tokens.as_client("POST", path, Some(json!({}))).await;

    let want = json!({ "ok": false, "error": "Appending to the out channel requires secret key authentication" });
    assert_eq!((refused.status, refused.json::<Value>()), (StatusCode::FORBIDDEN, want));
    assert_eq!(allowed.status, StatusCode::OK);
    assert_eq!(closed.status, StatusCode::CONFLICT, "closed is checked first (S-60)");
}

#[tokio::test]
async fn direct_writes_are_not_there_d39() {
    let world = World::start().await;
    world.create().await;

    let reply = world.call("PUT", "/realtime/v1/sessions/chat/out", None).await;

    assert_eq!((reply.status, reply.header("x-should-retry")), (StatusCode::NOT_IMPLEMENTED, Some("false")));
}

#[tokio::test]
async fn browsers_can_read_every_answer_errors_included_s65_s121_sr14() {
    let tokens = two_chats().await;
    let big = json!("x".repeat(1_048_576));
    for (method, path, body, credential, want) in [
        ("POST", APPEND, Some(json!({})), tokens.chat.as_str(), 200),
        ("POST", APPEND, Some(big), tokens.chat.as_str(), 413),
        ("POST", APPEND, Some(json!({})), "Bearer wrong", 401),
        ("POST", "/realtime/v1/sessions/other/in/append", Some(json!({})), tokens.chat.as_str(), 403),
        ("POST", "/realtime/v1/sessions/chat/sideways/append", Some(json!({})), tokens.chat.as_str(), 400),
        ("GET", "/api/v1/sessions/chat/nothing", None, tokens.chat.as_str(), 404),
        ("DELETE", "/api/v1/sessions", None, tokens.chat.as_str(), 405),
        ("GET", "/snapshots/x", None, "", 403),
    ] {
        let headers = [("origin", "https://app.example"), ("authorization", credential)];
        let reply = tokens.world.call_with(method, path, body, &headers).await;
        assert_eq!(reply.status.as_u16(), want, "{method} {path}");
        assert_eq!(reply.header("access-control-allow-origin"), Some("https://app.example"), "{method} {path}");
        let exposed = reply.header("access-control-expose-headers").unwrap().to_lowercase();
        for name in ["x-stream-version", "x-session-settled", "x-first-available-seq", "x-clamped-cursor"] {
            assert!(exposed.contains(name), "{name}");
        }
    }
}

#[tokio::test]
async fn preflights_are_answered_without_a_credential_s121_rc19() {
    let world = World::start().await;
    let preflight = |path: &'static str| {
        let headers = [
            ("origin", "https://app.example"),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "authorization,x-part-id,x-trigger-source"),
        ];
        world.call_with("OPTIONS", path, None, Box::leak(Box::new(headers)))
    };

    for path in [APPEND, "/api/v1/sessions", "/api/v1/sessions/chat/close", "/realtime/v1/sessions/chat/out"] {
        let reply = preflight(path).await;
        assert_eq!(reply.status, StatusCode::NO_CONTENT, "{path}");
        assert_eq!(reply.header("access-control-allow-headers"), Some("authorization,x-part-id,x-trigger-source"));
        assert_eq!(reply.header("access-control-max-age"), Some("300"));
        assert!(reply.header("access-control-allow-methods").unwrap().contains("PUT"));
    }
    let server_to_server = preflight("/api/v1/runs/run_1/session-streams/wait").await;
    assert_eq!(server_to_server.header("access-control-allow-origin"), None);
    let same_site = world.call("GET", "/api/v1/sessions/chat", None).await;
    assert_eq!(same_site.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn a_holder_of_the_secret_key_learns_what_to_sign_rc21() {
    let world = World::start().await;

    let claims = world.call("POST", "/api/v1/auth/jwt/claims", None).await;

    assert_eq!((claims.status, claims.json::<Value>()), (StatusCode::OK, json!({ "sub": "env_1", "pub": true })));
}

#[tokio::test]
async fn a_minted_token_has_the_asked_scopes_and_life_s183_c220() {
    let tokens = two_chats().await;
    let mint = |body: Value| tokens.world.call("POST", "/api/v1/auth/public-tokens", Some(body));
    let token = mint(json!({ "scopes": ["read:sessions:other"], "expirationTime": "5m" })).await.json::<Value>();
    let bearer = format!("Bearer {}", token["token"].as_str().unwrap());
    let get = |path: &'static str| {
        tokens.world.call_with(
            "GET",
            path,
            None,
            Box::leak(Box::new([("authorization", bearer.clone().leak() as &str)])),
        )
    };

    assert_eq!(get("/api/v1/sessions/other").await.status, StatusCode::OK);
    assert_eq!(get("/api/v1/sessions/chat").await.status, StatusCode::FORBIDDEN);
    for life in [json!("soon"), json!("0s"), json!(1_000), json!(true)] {
        let refused = mint(json!({ "scopes": [], "expirationTime": life })).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{life}");
    }
    let by_token = tokens.as_client("POST", "/api/v1/auth/public-tokens", Some(json!({ "scopes": ["admin"] }))).await;
    assert_eq!(by_token.status, StatusCode::UNAUTHORIZED, "a token mints no token");
}
