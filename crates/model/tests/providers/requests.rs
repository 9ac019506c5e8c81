//! Requests, refusals and retries, against whole answers.

use serde_json::{Value, json};
use turnkeep_host::http::BaseUrl;
use turnkeep_model::{CallDeadlines, FORBID_MODEL_CALLS};
use wiremock::matchers::{body_partial_json, header, method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;

pub(super) fn stream(body: &str) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_raw(body.to_owned(), "text/event-stream; charset=utf-8")
}

/// Refuses with a status, in the words of both providers, and asks for no wait before another try.
fn refusal(status: u16, kind: &str, message: &str) -> ResponseTemplate {
    let error = json!({ "type": kind, "message": message, "code": null, "param": null });
    ResponseTemplate::new(status).insert_header("retry-after-ms", "1").set_body_json(json!({ "error": error }))
}

/// Answers the calls in this order and fails the test when there are more, or fewer.
pub(super) async fn answering(answers: impl IntoIterator<Item = ResponseTemplate>) -> MockServer {
    let server = MockServer::start().await;
    for answer in answers {
        Mock::given(method("POST")).respond_with(answer).up_to_n_times(1).expect(1).mount(&server).await;
    }
    server
}

#[tokio::test]
async fn each_api_is_asked_in_its_own_words() {
    let server = MockServer::start().await;
    Mock::given(method("POST"))
        .and(path("/v1/chat/completions"))
        .and(header("authorization", "Bearer key"))
        .and(header("accept", "text/event-stream"))
        .and(header("content-type", "application/json"))
        .and(body_partial_json(
            json!({ "model": "m", "stream": true, "messages": [{ "role": "user", "content": "Rain?" }] }),
        ))
        .respond_with(stream(OPENAI_TEXT))
        .expect(1)
        .mount(&server)
        .await;
    Mock::given(method("POST"))
        .and(path("/v1/messages"))
        .and(header("x-api-key", "key"))
        .and(header("anthropic-version", "2023-06-01"))
        .and(body_partial_json(json!({ "model": "m", "stream": true, "max_tokens": 4096 })))
        .respond_with(stream(ANTHROPIC_TEXT))
        .expect(1)
        .mount(&server)
        .await;

    for provider in providers(&format!("{}/v1", server.uri())) {
        let parts = parts(&*provider.language_model("m")).await;

        assert_eq!(text(&parts), "Rain, 4 °C — brr.");
        assert_eq!(parts[0], StreamPart::StreamStart);
        assert!(matches!(parts.last(), Some(StreamPart::Finish { .. })));
    }
}

#[tokio::test]
async fn headers_of_the_author_and_of_the_prompt_are_sent() {
    let server = MockServer::start().await;
    let sent = Mock::given(header("x-team", "weather")).and(header("x-turn", "1")).and(header("authorization", "mine"));
    sent.respond_with(stream(OPENAI_TEXT)).expect(1).mount(&server).await;
    let [provider, _] = providers(&server.uri());
    let team = (http::HeaderName::from_static("x-team"), http::HeaderValue::from_static("weather"));
    let own_key = (http::header::AUTHORIZATION, http::HeaderValue::from_static("mine"));
    let model = provider.header(team.0, team.1).header(own_key.0, own_key.1).language_model("m");
    let mut prompt = question();
    prompt.settings.insert("headers".to_owned(), json!({ "x-turn": "1" }));

    let parts: Vec<_> = model.stream(prompt).await.expect("begins").collect().await;

    assert_eq!(text(&parts), "Rain, 4 °C — brr.");
}

#[tokio::test]
async fn an_empty_key_is_no_key_and_a_bad_one_is_never_told() {
    let server = answering([stream(OPENAI_TEXT)]).await;
    let base: BaseUrl = server.uri().parse().expect("a base");
    let with = |key: &str| {
        let provider = Provider::openai(Host::os(), key).base_url(base.clone()).real_calls(RealCalls::Allowed);
        provider.language_model("m")
    };

    parts(&*with("")).await;
    let refused = failure(&*with("se\ncret")).await;

    let received = server.received_requests().await.expect("recorded");
    assert!(!received[0].headers.contains_key("authorization"));
    assert_eq!(refused, ModelError::refused("the header `authorization` holds characters that no header may"));
}

#[tokio::test]
async fn a_call_is_tried_again_when_the_provider_is_busy_or_down() {
    for provider in 0..2 {
        let body = [OPENAI_TEXT, ANTHROPIC_TEXT][provider];
        let busy = refusal(429, "rate_limit_error", "slow down");
        let server = answering([busy, refusal(529, "overloaded_error", "Overloaded"), stream(body)]).await;

        let parts = parts(&*providers(&server.uri())[provider].language_model("m")).await;

        assert_eq!(text(&parts), "Rain, 4 °C — brr.");
    }
}

#[tokio::test]
async fn a_failure_inside_the_answer_is_tried_again_until_its_first_part() {
    let error = json!({ "type": "error", "error": { "type": "rate_limit_error", "message": "slow down" } });
    let start = ANTHROPIC_TEXT.split_inclusive("\n\n").next().expect("an event");
    let failed = format!("{start}event: error\ndata: {error}\n\n");
    let later = include_str!("../streams/anthropic/overloaded.sse");
    let server = answering([stream(&failed), stream(later)]).await;
    let [_, provider] = providers(&server.uri());
    let model = provider.max_retries(1).language_model("m");

    let parts = parts(&*model).await;

    // Its second try had said something: what is said is not taken back.
    assert_eq!(text(&parts), "Ra");
    assert_eq!(parts.last(), Some(&StreamPart::Error(ModelError::unavailable("Overloaded"))));
}

#[tokio::test]
async fn retries_end_with_the_last_error() {
    let server = answering((0..3).map(|_| refusal(500, "server_error", "boom"))).await;

    let error = failure(&*openai(&server.uri())).await;

    assert_eq!(error, ModelError::unavailable("boom"));
}

#[tokio::test]
async fn the_number_of_retries_is_chosen_by_the_author_and_then_by_the_prompt() {
    let server = answering((0..3).map(|_| refusal(503, "server_error", "boom"))).await;
    let [provider, _] = providers(&server.uri());
    let model = provider.max_retries(0).language_model("m");
    let mut prompt = question();
    prompt.settings.insert("maxRetries".to_owned(), json!(1));

    assert!(failure(&*model).await.is_retryable());
    assert!(model.stream(prompt).await.is_err());

    assert_eq!(server.received_requests().await.expect("recorded").len(), 3);
}

#[tokio::test]
async fn a_longer_wait_than_is_bearable_is_told_and_not_waited() {
    let busy = ResponseTemplate::new(429).insert_header("retry-after", "3600").set_body_string("");
    let server = answering([busy]).await;

    let error = failure(&*openai(&server.uri())).await;

    let message = "the provider answered 429 Too Many Requests".to_owned();
    assert_eq!(error, ModelError::RateLimited { message, retry_after_ms: Some(3_600_000) });
}

#[tokio::test]
async fn what_no_other_try_cures_is_told_at_once_in_the_providers_words() {
    let unauthorized = refusal(401, "authentication_error", "invalid x-api-key");
    let server = answering([unauthorized, refusal(400, "invalid_request_error", "prompt is too long")]).await;
    let model = openai(&server.uri());

    let unauthorized = failure(&*model).await;
    let refused = failure(&*model).await;

    assert_eq!(unauthorized, ModelError::Unauthorized { message: "invalid x-api-key".to_owned() });
    assert_eq!(refused, ModelError::refused("prompt is too long"));
    assert!(!unauthorized.is_retryable() && !refused.is_retryable());
}

#[tokio::test]
async fn a_malformed_event_ends_the_answer() {
    let begun: String = OPENAI_TEXT.split_inclusive("\n\n").take(2).collect();
    let server = answering([stream(&format!("{begun}data: {{\"choices\n\n{OPENAI_TEXT}"))]).await;

    let parts = parts(&*openai(&server.uri())).await;

    assert_eq!(text(&parts), "Rain, ");
    assert!(matches!(parts.last(), Some(StreamPart::Error(ModelError::Malformed { .. }))), "{parts:?}");
}

#[tokio::test]
async fn a_page_instead_of_a_stream_is_told_in_part() {
    let page = ResponseTemplate::new(200).set_body_raw("<html>Please log in</html>", "text/html");
    let server = answering([page]).await;

    let error = failure(&*openai(&server.uri())).await;

    let told = "expected an event stream and got text/html: the provider answered 200 OK: <html>Please log in</html>";
    assert_eq!(error, ModelError::malformed(told));
}

#[tokio::test]
async fn raw_chunks_come_when_asked_for_and_before_what_they_mean() {
    let server = answering([stream(OPENAI_TEXT)]).await;
    let [provider, _] = providers(&server.uri());

    let parts = parts(&*provider.include_raw_chunks().language_model("m")).await;

    let StreamPart::Raw(first) = &parts[1] else { panic!("{parts:?}") };
    assert_eq!(first["id"], "chatcmpl-B9MBs8");
    assert!(matches!(parts[2], StreamPart::ResponseMetadata { .. }));
    assert!(parts.contains(&StreamPart::Raw(Value::from("[DONE]"))));
}

#[tokio::test]
async fn silence_before_the_answer_is_a_named_deadline() {
    let late = stream(OPENAI_TEXT).set_delay(std::time::Duration::from_secs(30));
    let server = answering([late]).await;
    let [provider, _] = providers(&server.uri());
    let headers = std::time::Duration::from_millis(50);
    let deadlines = CallDeadlines { headers, ..CallDeadlines::default() };
    let model = provider.deadlines(deadlines).max_retries(0).language_model("m");

    assert_eq!(failure(&*model).await, ModelError::unavailable("no response headers within 50 ms"));
}

#[tokio::test]
async fn calls_are_refused_before_anything_is_dialled_where_they_are_forbidden() {
    let server = answering([]).await;
    let base: BaseUrl = server.uri().parse().expect("a base");
    let [allowed, _] = providers(&server.uri());
    // The workspace's own .cargo/config.toml forbids real calls for every test, this one included.
    let by_env = Provider::openai(Host::os(), "key").base_url(base);

    for provider in [by_env, allowed.real_calls(RealCalls::Forbidden)] {
        let error = failure(&*provider.language_model("gpt-5")).await;

        assert!(error.to_string().starts_with("a call to the real model `gpt-5` is forbidden here"), "{error}");
        assert!(error.to_string().contains(FORBID_MODEL_CALLS) && !error.is_retryable());
    }
    assert_eq!(server.received_requests().await.expect("recorded").len(), 0);
}
