//! [`Failure`]: a call that did not begin, and what its provider says about another try.

use std::time::{Duration, UNIX_EPOCH};

use http::{HeaderMap, StatusCode, header};
use serde_json::Value;
use turnkeep_host::Timestamp;

use crate::error::ModelError;

/// How much of an answer that is no JSON is told, in characters.
const MAX_EXCERPT_CHARS: usize = 200;

/// Holds why a call did not begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) error: ModelError,
    /// Tells whether another try may help.
    pub(crate) may_retry: bool,
    /// Tells how long to wait before it, if the provider said.
    pub(crate) retry_after: Option<Duration>,
}

impl From<ModelError> for Failure {
    fn from(error: ModelError) -> Self {
        let retry_after = match &error {
            ModelError::RateLimited { retry_after_ms, .. } => retry_after_ms.map(Duration::from_millis),
            _ => None,
        };
        Self { may_retry: error.is_retryable(), retry_after, error }
    }
}

impl Failure {
    /// Reads what the network did.
    pub(crate) fn of_transport(error: &turnkeep_host::http::Error) -> Self {
        let message = error.to_string();
        let refused = !error.is_retryable();
        Self::from(if refused { ModelError::refused(message) } else { ModelError::unavailable(message) })
    }

    /// Reads an answer with a status that is no success.
    pub(crate) fn of_status(status: StatusCode, headers: &HeaderMap, body: &[u8], now: Timestamp) -> Self {
        let retry_after = retry_after(headers, now);
        let said = Said::read(body);
        let message = said.message.clone().unwrap_or_else(|| describe(status, body));
        let error = match status.as_u16() {
            // A budget that is used up does not fill by waiting.
            429 if said.is("insufficient_quota") => ModelError::Refused { message },
            429 => ModelError::RateLimited { message, retry_after_ms: retry_after.map(whole_millis) },
            401 | 403 => ModelError::Unauthorized { message },
            408 | 409 | 500..=599 => ModelError::Unavailable { message },
            _ => ModelError::Refused { message },
        };
        let told = headers.get("x-should-retry").and_then(|value| value.to_str().ok()?.parse().ok());
        Self { may_retry: told.unwrap_or_else(|| error.is_retryable()), retry_after, error }
    }
}

/// Reads a failure that the provider reports inside its answer, or in the body of a refusal.
pub(crate) fn reported(error: &Value) -> ModelError {
    let said = Said::of(error);
    let message = said.message.clone().unwrap_or_else(|| format!("the provider reports a failure: {error}"));
    if said.is("rate_limit_error") || said.is("rate_limit_exceeded") {
        ModelError::RateLimited { message, retry_after_ms: None }
    } else if said.is("authentication_error") || said.is("permission_error") {
        ModelError::Unauthorized { message }
    } else if ["invalid_request_error", "not_found_error", "request_too_large", "insufficient_quota", "billing_error"]
        .iter()
        .any(|kind| said.is(kind))
    {
        ModelError::Refused { message }
    } else {
        ModelError::Unavailable { message }
    }
}

/// What a provider says of a failure: both write `{"error": {"message", "type", "code"?}}`.
#[derive(Default)]
struct Said {
    message: Option<String>,
    kinds: Vec<String>,
}

impl Said {
    fn read(body: &[u8]) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        body.get("error").map(Self::of).unwrap_or_default()
    }

    fn of(error: &Value) -> Self {
        let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
        // Some who imitate the API write the text alone.
        let message = text(error.get("message")).or_else(|| text(Some(error))).filter(|message| !message.is_empty());
        let kinds = ["type", "code"].into_iter().filter_map(|key| text(error.get(key))).collect();
        Self { message, kinds }
    }

    fn is(&self, kind: &str) -> bool {
        self.kinds.iter().any(|found| found == kind)
    }
}

/// Tells of an answer that does not speak for itself.
pub(crate) fn describe(status: StatusCode, body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let text = text.trim();
    let excerpt: String = text.chars().take(MAX_EXCERPT_CHARS).collect();
    let cut = if excerpt.len() < text.len() { "…" } else { "" };
    let colon = if excerpt.is_empty() { "" } else { ": " };
    format!("the provider answered {status}{colon}{excerpt}{cut}")
}

/// Reads `retry-after-ms`, then `retry-after` as seconds or as a date; a date that has passed is no wait.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let number = |text: &str, unit_s: f64| Duration::try_from_secs_f64(text.parse::<f64>().ok()? * unit_s).ok();
    if let Some(wait) = text("retry-after-ms").and_then(|text| number(text, 0.001)) {
        return Some(wait);
    }
    let after = text(header::RETRY_AFTER.as_str())?;
    number(after, 1.0).or_else(|| {
        let since_epoch = httpdate::parse_http_date(after).ok()?.duration_since(UNIX_EPOCH).ok()?;
        Some(Timestamp::default().plus(since_epoch).since(now))
    })
}

fn whole_millis(wait: Duration) -> u64 {
    u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn failure(status: u16, headers: &[(&'static str, &str)], body: &str) -> Failure {
        let status = StatusCode::from_u16(status).expect("a status");
        let headers = headers.iter().map(|(name, value)| (name.parse().expect("name"), value.parse().expect("value")));
        Failure::of_status(status, &headers.collect(), body.as_bytes(), Timestamp::from_millis(784_111_777_000))
    }

    #[track_caller]
    fn check_error(status: u16, body: &str, want: ModelError) {
        assert_eq!(failure(status, &[], body).error, want);
    }

    #[test]
    fn a_status_becomes_the_error_that_a_caller_acts_on() {
        let body = r#"{"error":{"message":"no","type":"t","code":null}}"#;
        let message = || "no".to_owned();
        for status in [400, 404, 413, 422, 302] {
            check_error(status, body, ModelError::Refused { message: message() });
        }
        for status in [401, 403] {
            check_error(status, body, ModelError::Unauthorized { message: message() });
        }
        for status in [408, 409, 500, 502, 503, 529] {
            check_error(status, body, ModelError::Unavailable { message: message() });
        }
        check_error(429, body, ModelError::RateLimited { message: message(), retry_after_ms: None });
        let quota = r#"{"error":{"message":"no","code":"insufficient_quota"}}"#;
        check_error(429, quota, ModelError::Refused { message: message() });
    }

    #[test]
    fn an_answer_that_is_no_json_is_told_in_part() {
        let long = "x".repeat(300);
        let text = |status, body: &str| failure(status, &[], body).error.to_string();

        assert_eq!(text(502, ""), "the provider answered 502 Bad Gateway");
        assert_eq!(text(502, " <html> "), "the provider answered 502 Bad Gateway: <html>");
        assert_eq!(text(400, &long), format!("the provider answered 400 Bad Request: {}…", &long[..200]));
        assert_eq!(text(404, r#"{"error":"model not found"}"#), "model not found");
    }

    #[test]
    fn the_wait_is_read_in_every_form_providers_write_it() {
        let wait = |headers: &[(&'static str, &str)]| failure(429, headers, "").retry_after;

        assert_eq!(wait(&[]), None);
        assert_eq!(wait(&[("retry-after", "3")]), Some(Duration::from_secs(3)));
        assert_eq!(wait(&[("retry-after", "0.5")]), Some(Duration::from_millis(500)));
        assert_eq!(wait(&[("retry-after-ms", "20"), ("retry-after", "3")]), Some(Duration::from_millis(20)));
        assert_eq!(wait(&[("retry-after", "Sun, 06 Nov 1994 08:49:39 GMT")]), Some(Duration::from_secs(2)));
        assert_eq!(wait(&[("retry-after", "Sun, 06 Nov 1994 08:49:30 GMT")]), Some(Duration::ZERO));
        assert_eq!(wait(&[("retry-after", "-1")]), None);
        assert_eq!(wait(&[("retry-after", "soon")]), None);
        let limited = failure(429, &[("retry-after", "3")], "").error;
        assert!(matches!(limited, ModelError::RateLimited { retry_after_ms: Some(3000), .. }));
    }

    #[test]
    fn the_provider_has_the_last_word_on_another_try() {
        let may_retry = |status, headers: &[(&'static str, &str)]| failure(status, headers, "").may_retry;

        assert!(may_retry(503, &[]) && !may_retry(400, &[]));
        assert!(!may_retry(503, &[("x-should-retry", "false")]));
        assert!(may_retry(400, &[("x-should-retry", "true")]));
    }

    #[test]
    fn a_reported_failure_is_read_by_its_kind() {
        let error = |kind: &str| reported(&json!({ "type": kind, "message": "m" }));
        let message = || "m".to_owned();

        assert_eq!(error("overloaded_error"), ModelError::Unavailable { message: message() });
        assert_eq!(error("api_error"), ModelError::Unavailable { message: message() });
        assert_eq!(error("rate_limit_error"), ModelError::RateLimited { message: message(), retry_after_ms: None });
        assert_eq!(error("authentication_error"), ModelError::Unauthorized { message: message() });
        assert_eq!(error("invalid_request_error"), ModelError::Refused { message: message() });
        assert_eq!(reported(&json!({ "a": 1 })).to_string(), r#"the provider reports a failure: {"a":1}"#);
    }
}
