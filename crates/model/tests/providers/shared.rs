//! What holds for both providers alike, each case in either's own words.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::time::Instant;
use wiremock::ResponseTemplate;

use super::requests::{answering, stream};
use super::*;

/// The same answers from each provider.
struct Words {
    text: &'static str,
    /// Two calls, their inputs in pieces.
    calls: &'static str,
    reasoning: &'static str,
}

const WORDS: [Words; 2] = [
    Words {
        text: OPENAI_TEXT,
        calls: include_str!("../streams/openai/parallel-tools.sse"),
        reasoning: include_str!("../streams/openai/reasoning.sse"),
    },
    Words {
        text: ANTHROPIC_TEXT,
        calls: include_str!("../streams/anthropic/reasoning-and-tools.sse"),
        reasoning: include_str!("../streams/anthropic/reasoning-and-tools.sse"),
    },
];

/// Asks each provider, who gives these answers one after the other, and every one of them.
async fn each(answers: impl Fn(&Words) -> Vec<ResponseTemplate>, check: impl Fn(&Words, Vec<StreamPart>)) {
    for (at, words) in WORDS.iter().enumerate() {
        let server = answering(answers(words)).await;
        let provider = providers(&server.uri())[at].clone();
        check(words, parts(&*provider.language_model("m")).await);
    }
}

fn ends_well(parts: &[StreamPart]) -> bool {
    matches!(parts.last(), Some(StreamPart::Finish { .. }))
}

/// Gives the first events of an answer, as many as say something.
fn begun(words: &Words) -> String {
    let until = words.text.find("Rain").expect("it says so");
    let end = until + words.text[until..].find("\n\n").expect("an event") + 2;
    words.text[..end].to_owned()
}

#[tokio::test]
async fn calls_side_by_side_come_whole_and_in_order() {
    each(
        |words| vec![stream(words.calls)],
        |_, parts| {
            let calls: Vec<&Value> = parts
                .iter()
                .filter_map(|part| match part {
                    StreamPart::ToolCall(call) => Some(&call.input),
                    _ => None,
                })
                .collect();
            // The second one of Anthropic's asks for nothing.
            assert_eq!((calls.len(), calls[0]), (2, &json!({ "city": "Oslo" })));
            assert!(ends_well(&parts));
        },
    )
    .await;
}

#[tokio::test]
async fn reasoning_comes_before_what_it_leads_to() {
    each(
        |words| vec![stream(words.reasoning)],
        |_, parts| {
            let thought: String = parts
                .iter()
                .filter_map(|part| match part {
                    StreamPart::ReasoningDelta { delta, .. } => Some(delta.as_str()),
                    _ => None,
                })
                .collect();
            assert!(!thought.is_empty() && ends_well(&parts), "{parts:?}");
        },
    )
    .await;
}

#[tokio::test]
async fn what_is_cut_or_no_json_ends_the_answer_behind_what_was_said() {
    each(
        |words| vec![stream(&begun(words))],
        |_, parts| {
            assert_eq!(text(&parts), "Rain, ");
            assert!(matches!(parts.last(), Some(StreamPart::Error(ModelError::Unavailable { .. }))), "{parts:?}");
        },
    )
    .await;
    each(
        |words| vec![stream(&format!("{}data: {{\"no\n\n{}", begun(words), words.text))],
        |_, parts| {
            assert_eq!(text(&parts), "Rain, ");
            assert!(matches!(parts.last(), Some(StreamPart::Error(ModelError::Malformed { .. }))), "{parts:?}");
        },
    )
    .await;
}

#[tokio::test]
async fn who_is_busy_or_down_is_asked_again_when_it_said() {
    // Real time, since the sockets are real: a second is waited, and a date is as far off as the host's clock says.
    let date = || {
        let at = Host::os().clock().now().plus(Duration::from_secs(2)).as_millis();
        httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_millis(at))
    };
    for (status, is_date) in [(429, false), (500, false), (529, false), (429, true)] {
        let began = Instant::now();
        let busy = || {
            let after = if is_date { date() } else { "1".to_owned() };
            ResponseTemplate::new(status).insert_header("retry-after", &*after)
        };
        each(|words| vec![busy(), stream(words.text)], |_, parts| assert!(ends_well(&parts))).await;
        // Each provider had its wait; a date has no fraction of a second.
        assert!(began.elapsed() >= Duration::from_secs(2), "{status} {is_date}: {:?}", began.elapsed());
    }
}
