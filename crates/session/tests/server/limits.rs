//! Too many requests (S-189), final refusals (D-61, RC-3), request ids, wrong methods and paths (S-187, S-191).

use std::time::Duration;

use http::StatusCode;
use serde_json::{Value, json};
use turnkeep_session::RateLimit;

use crate::support::{World, create_body, environment, message};

const APPEND: &str = "/realtime/v1/sessions/chat/in/append";
const ORIGIN: (&str, &str) = ("origin", "https://app.example");

fn limit(burst: u32, every: Duration) -> RateLimit {
    RateLimit { burst, refill: 1, every }
}

async fn limited(burst: u32, every: Duration) -> World {
    World::start_for(environment().rate_limit(limit(burst, every))).await
}

#[tokio::test]
async fn one_request_too_many_is_429_with_the_reset_and_cors_s189_s121() {
    let world = limited(2, Duration::from_secs(3600)).await;
    world.create().await;
    world.send("the last one").await;

    let refused = world.call_with("POST", APPEND, Some(message("a")), &[ORIGIN]).await;

    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!((refused.header("x-ratelimit-limit"), refused.header("x-ratelimit-remaining")), (Some("2"), Some("0")));
    let now = turnkeep_host::Host::os().clock().now();
    let reset: u64 = refused.header("x-ratelimit-reset").unwrap().parse().unwrap();
    assert!((now.as_millis()..=now.plus(Duration::from_secs(3600)).as_millis()).contains(&reset), "{reset}");
    assert_eq!(refused.header("access-control-allow-origin"), Some(ORIGIN.1));
    let exposed = refused.header("access-control-expose-headers").unwrap().to_lowercase();
    for name in ["x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset"] {
        assert!(exposed.contains(name), "{name}");
    }
    assert_eq!(refused.header("x-should-retry"), None, "it is no final refusal");
    let error = refused.json::<Value>()["error"].as_str().unwrap().to_owned();
    assert!(error.contains("retry in"), "{error}");
}

#[tokio::test]
async fn a_retry_after_the_reset_with_the_same_part_id_is_one_record_s189_s74() {
    let world = limited(2, Duration::from_millis(200)).await;
    world.create().await;
    let part = [("x-part-id", "p")];
    let mut seqs = Vec::new();

    for _ in 0..3 {
        let mut reply = world.call_with("POST", APPEND, Some(message("a")), &part).await;
        while reply.status == StatusCode::TOO_MANY_REQUESTS {
            let reset =
                turnkeep_host::Timestamp::from_millis(reply.header("x-ratelimit-reset").unwrap().parse().unwrap());
            tokio::time::sleep(reset.since(turnkeep_host::Host::os().clock().now())).await;
            reply = world.call_with("POST", APPEND, Some(message("a")), &part).await;
        }
        seqs.push(reply.json::<Value>()["seq"].clone());
    }

    assert_eq!(seqs, [json!(0), json!(0), json!(0)]);
}

#[tokio::test]
async fn strangers_preflights_and_runs_take_nothing_out_of_the_bucket_s189() {
    let world = limited(2, Duration::from_secs(3600)).await;
    world.create().await;
    let run = world.lease(0).await.unwrap();
    for _ in 0..3 {
        let stranger = world.call_with("GET", "/api/v1/sessions/chat", None, &[("authorization", "Bearer who")]).await;
        assert_eq!(stranger.status, StatusCode::UNAUTHORIZED);
        assert_eq!(world.call_with("OPTIONS", APPEND, None, &[ORIGIN]).await.status, StatusCode::NO_CONTENT);
        assert_eq!(world.run_call(&run, "heartbeat", json!({})).await.status, StatusCode::OK);
        assert_eq!(world.write(&run, &[crate::support::delta("a")]).await.status, StatusCode::OK);
        let headers = [("x-run-id", run.run_id.as_str()), ("x-run-attempt", "1")];
        let drained = world.call_with("GET", "/realtime/v1/sessions/chat/in/records", None, &headers).await;
        assert_eq!(drained.status, StatusCode::OK);
    }

    world.send("still in").await;
    let headers = [("x-run-id", run.run_id.as_str())];
    let token = world.call("POST", "/api/v1/auth/public-tokens", Some(json!({ "scopes": ["read:sessions"] }))).await;
    let bearer = format!("Bearer {}", token.json::<Value>()["token"].as_str().unwrap());
    let mut posing = vec![("authorization", bearer.as_str())];
    posing.extend(headers);

    let posing = world.call_with("GET", "/api/v1/sessions/chat", None, &posing).await;
    assert_eq!(posing.status, StatusCode::TOO_MANY_REQUESTS, "a token cannot pose as a run");
}

#[tokio::test]
async fn a_restricted_key_is_counted_where_runs_write_and_a_run_is_not_s189_s177() {
    let narrow = [("authorization", "Bearer tr_narrow")];
    let batch = || Some(json!({ "records": [crate::support::delta("a")] }));
    let mark = || Some(json!({ "mark": "preloaded" }));
    for (path, body) in
        [("/realtime/v1/sessions/chat/out/batch", batch as fn() -> Option<Value>), ("/api/v1/sessions/chat/mark", mark)]
    {
        let key = environment().restricted_key("tr_narrow", ["write:sessions:chat"]);
        let world = World::start_for(key.rate_limit(limit(2, Duration::from_secs(3600)))).await;
        world.create().await;
        let run = world.lease(0).await.unwrap();
        let as_run = [("x-run-id", run.run_id.as_str()), ("x-run-attempt", "1")];
        let posing: Vec<_> = narrow.into_iter().chain(as_run).collect();

        let within = world.call_with("POST", path, body(), &posing).await;
        let beyond = world.call_with("POST", path, body(), &posing).await;
        let of_run = world.call_with("POST", path, body(), &as_run).await;

        assert_eq!(within.status, StatusCode::OK, "{path}: the second request after the create");
        assert_eq!(beyond.status, StatusCode::TOO_MANY_REQUESTS, "{path}");
        assert_eq!(of_run.status, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn every_final_refusal_says_so_and_nothing_else_does_d61_rc3() {
    let world = World::start().await;
    world.create().await;
    let mut gone = create_body(json!({}));
    gone["externalId"] = json!("gone");
    world.call("POST", "/api/v1/sessions", Some(gone.clone())).await;
    world.call("POST", "/api/v1/sessions/gone/close", None).await;
    let big = || Some(json!("x".repeat(1_048_576)));
    let lost = [("x-run-id", "run_1"), ("x-run-attempt", "1")];
    for (method, path, body, headers, status) in [
        ("GET", "/api/v1/sessions/chat", None, &[][..], 200),
        ("POST", "/api/v1/sessions", Some(json!({})), &[], 400),
        ("GET", "/realtime/v1/sessions/chat/out", None, &[("accept", "text/html")], 400),
        ("GET", "/api/v1/sessions/chat", None, &[("authorization", "Bearer who")], 401),
        ("GET", "/snapshots/x", None, &[], 403),
        ("GET", "/api/v1/sessions/nobody", None, &[], 404),
        ("DELETE", "/api/v1/sessions/chat", None, &[], 405),
        ("POST", "/realtime/v1/sessions/gone/in/append", Some(json!({})), &[], 409),
        ("POST", "/api/v1/sessions", Some(gone), &[], 409),
        ("POST", "/realtime/v1/sessions/chat/out/append", Some(json!({})), &lost, 409),
        ("POST", APPEND, big(), &[], 413),
        ("PATCH", "/api/v1/sessions/chat", Some(json!({ "externalId": "new" })), &[], 422),
        ("PUT", "/realtime/v1/sessions/chat/out", None, &[], 501),
    ] {
        let reply = world.call_with(method, path, body, headers).await;
        assert_eq!(reply.status.as_u16(), status, "{method} {path}");
        let want = (status >= 400).then_some("false");
        assert_eq!(reply.header("x-should-retry"), want, "{method} {path}: {status}");
    }
}

#[tokio::test]
async fn every_answer_has_a_request_id_the_callers_own_if_it_gave_one() {
    let world = World::start().await;

    let one = world.call("GET", "/api/v1/sessions/nobody", None).await;
    let two = world.call_with("GET", "/nowhere", None, &[("authorization", ""), ORIGIN]).await;
    let own = world.call_with("OPTIONS", APPEND, None, &[("x-request-id", "trace-7"), ORIGIN]).await;

    let ids = [&one, &two].map(|reply| reply.header("x-request-id").unwrap());
    assert!(ids.iter().all(|id| id.starts_with("req_")) && ids[0] != ids[1], "{ids:?}");
    assert_eq!(own.header("x-request-id"), Some("trace-7"));
    assert!(own.header("access-control-expose-headers").unwrap().contains("X-Request-Id"));
}

#[tokio::test]
async fn a_wrong_method_is_405_with_allow_on_every_route_s187() {
    let world = World::start().await;
    for (path, allow) in [
        ("/api/v1/sessions", "GET,HEAD,POST"),
        ("/api/v1/sessions/chat", "GET,HEAD,PATCH"),
        ("/api/v1/sessions/chat/close", "POST"),
        ("/api/v1/sessions/chat/end-and-continue", "POST"),
        ("/api/v1/sessions/chat/mark", "POST"),
        ("/api/v1/sessions/chat/snapshot-url", "GET,HEAD,PUT"),
        ("/realtime/v1/sessions/chat/out", "GET,HEAD,PUT"),
        ("/realtime/v1/sessions/chat/in/append", "POST"),
        ("/realtime/v1/sessions/chat/out/batch", "POST"),
        ("/realtime/v1/sessions/chat/out/records", "GET,HEAD"),
        ("/api/v1/runs/run_1/session-streams/wait", "POST"),
        ("/api/v1/workers/lease", "POST"),
    ] {
        let reply = world.call("DELETE", path, None).await;
        assert_eq!((reply.status, reply.header("allow")), (StatusCode::METHOD_NOT_ALLOWED, Some(allow)), "{path}");
    }
}

#[tokio::test]
async fn a_path_that_cannot_be_read_is_400_with_details_s191() {
    let world = World::start().await;
    for (method, path, at) in [
        ("POST", "/realtime/v1/sessions/chat/sideways/append", json!(["io"])),
        ("GET", "/realtime/v1/sessions/chat/sideways", json!(["io"])),
        ("GET", "/realtime/v1/sessions/chat/sideways/records", json!(["io"])),
        ("PUT", "/realtime/v1/sessions/chat/sideways", json!(["io"])),
        ("POST", "/realtime/v1/sessions/chat/in/batch", json!(["io"])),
        ("GET", "/api/v1/sessions/%ff", json!([])),
    ] {
        let reply = world.call(method, path, (method == "POST").then(|| json!({ "records": [] }))).await;
        let body = reply.json::<Value>();
        assert_eq!(
            (reply.status, &body["error"]),
            (StatusCode::BAD_REQUEST, &json!("Params Error")),
            "{method} {path}"
        );
        assert_eq!(body["details"][0]["path"], at, "{method} {path}");
        assert!(body["details"][0]["message"].is_string());
    }
}
