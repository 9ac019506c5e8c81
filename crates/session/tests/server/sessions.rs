//! The session's row over the wire (S §1).

use http::StatusCode;
use serde_json::{Value, json};

use crate::support::{World, create_body};

#[tokio::test]
async fn create_answers_201_then_200_with_every_field_present_s17_rc8() {
    let world = World::start().await;

    let new = world.call("POST", "/api/v1/sessions", Some(create_body(json!({ "chatId": "chat" })))).await;
    let found = world.call("POST", "/api/v1/sessions", Some(create_body(json!({ "chatId": "chat" })))).await;

    assert_eq!((new.status, found.status), (StatusCode::CREATED, StatusCode::OK));
    let (new, found) = (new.json::<Value>(), found.json::<Value>());
    assert_eq!((&new["isCached"], &found["isCached"]), (&json!(false), &json!(true)));
    assert_eq!(new["runId"], new["currentRunId"]);
    assert_eq!((&new["id"], &new["runId"]), (&found["id"], &found["runId"]));
    for field in ["closedAt", "closedReason", "expiresAt", "metadata"] {
        assert_eq!(new.get(field), Some(&Value::Null), "{field} must be there, as null");
    }
    let created_at = new["createdAt"].as_str().unwrap();
    assert!(created_at.ends_with('Z') && created_at.len() == 24, "{created_at}");
    assert_eq!(new["publicAccessToken"].as_str().unwrap().split('.').count(), 3);
}

#[tokio::test]
async fn create_refuses_what_breaks_a_limit_with_400_s12_s19_s191() {
    let world = World::start().await;
    let with = |field: &str, value: Value| {
        let mut body = create_body(json!({}));
        body[field] = value;
        body
    };
    let config = |field: &str, value: Value| {
        let mut body = create_body(json!({}));
        body["triggerConfig"][field] = value;
        body
    };
    for (body, names) in [
        (with("type", json!("")), "type"),
        (with("type", json!("x".repeat(65))), "type"),
        (with("taskIdentifier", json!("")), "taskIdentifier"),
        (with("externalId", json!("session_mine")), "externalId"),
        (with("externalId", json!("   ")), "externalId"),
        (with("externalId", json!("x".repeat(257))), "externalId"),
        (with("tags", json!(vec!["t"; 11])), "tags"),
        (with("expiresAt", json!("soon")), "expiresAt"),
        (with("triggerConfig", json!({})), "basePayload"),
        (config("maxAttempts", json!(0)), "maxAttempts"),
        (config("maxAttempts", json!(11)), "maxAttempts"),
        (config("maxDuration", json!(0)), "maxDuration"),
        (config("idleTimeoutInSeconds", json!(3601)), "idleTimeoutInSeconds"),
        (config("tags", json!(vec!["t"; 6])), "tags"),
        (config("queue", json!("q".repeat(129))), "queue"),
    ] {
        let reply = world.call("POST", "/api/v1/sessions", Some(body.clone())).await;
        let error = reply.json::<Value>()["error"].as_str().unwrap_or_default().to_owned();
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{body}");
        assert!(error.contains(names), "{names} in {error}");
    }
    assert!(world.lease(0).await.is_none(), "a refused create starts nothing");
}

#[tokio::test]
async fn the_idle_time_of_a_base_payload_has_the_same_limits_s12_s36() {
    for (value, status) in [
        (json!(0), StatusCode::BAD_REQUEST),
        (json!(3601), StatusCode::BAD_REQUEST),
        (json!(-1), StatusCode::BAD_REQUEST),
        (json!(1.5), StatusCode::BAD_REQUEST),
        (json!("60"), StatusCode::BAD_REQUEST),
        (json!(1), StatusCode::CREATED),
        (json!(3600), StatusCode::CREATED),
        (Value::Null, StatusCode::CREATED),
    ] {
        let world = World::start().await;
        let body = create_body(json!({ "chatId": "chat", "idleTimeoutInSeconds": value }));

        let reply = world.call("POST", "/api/v1/sessions", Some(body)).await;

        let names_it = reply.json::<Value>()["error"].as_str().is_some_and(|error| error.contains("basePayload.idle"));
        assert_eq!((reply.status, names_it), (status, status == StatusCode::BAD_REQUEST), "{value}");
    }
}

#[tokio::test]
async fn body_caps_empty_bodies_and_bad_json_are_told_apart_s191() {
    let world = World::start().await;
    let huge = create_body(json!({ "x": "x".repeat(32 * 1024) }));

    let too_large = world.call("POST", "/api/v1/sessions", Some(huge)).await;
    let empty = world.call("POST", "/api/v1/sessions", None).await;
    let bad = world.raw("POST", "/api/v1/sessions", "{".into(), &[]).await;

    assert_eq!(too_large.status, StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(
        (empty.status, empty.json::<Value>()),
        (StatusCode::BAD_REQUEST, json!({ "error": "Request body is empty" }))
    );
    assert_eq!(bad.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn an_external_id_is_trimmed_and_either_form_retrieves_s12_s3_s21() {
    let world = World::start().await;
    let mut body = create_body(json!({}));
    body["externalId"] = json!("  a chat/with:all?  ");
    let created = world.call("POST", "/api/v1/sessions", Some(body)).await.json::<Value>();

    let by_external = world.call("GET", "/api/v1/sessions/a%20chat%2Fwith%3Aall%3F", None).await;
    let by_id = world.call("GET", &format!("/api/v1/sessions/{}", created["id"].as_str().unwrap()), None).await;

    assert_eq!(created["externalId"], "a chat/with:all?");
    assert_eq!(by_external.status, StatusCode::OK);
    assert_eq!(by_external.body, by_id.body);
    let item = by_id.json::<Value>();
    assert_eq!(item.get("publicAccessToken"), None);
    assert_eq!(item["triggerConfig"], json!({ "basePayload": {} }));
}

#[tokio::test]
async fn an_unknown_session_is_404_and_final_s21_rc3() {
    let world = World::start().await;

    let reply = world.call("GET", "/api/v1/sessions/nobody", None).await;

    assert_eq!((reply.status, reply.json::<Value>()), (StatusCode::NOT_FOUND, json!({ "error": "Not found" })));
    assert_eq!(reply.header("x-should-retry"), Some("false"));
}

#[tokio::test]
async fn a_wrong_method_is_405_with_allow_s187() {
    let world = World::start().await;

    let reply = world.call("DELETE", "/api/v1/sessions/chat/close", None).await;

    assert_eq!((reply.status, reply.header("allow")), (StatusCode::METHOD_NOT_ALLOWED, Some("POST")));
    assert_eq!(reply.header("x-should-retry"), Some("false"));
}
