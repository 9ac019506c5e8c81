use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use turnkeep_model::{FinishReason, StreamPart, Usage};

use super::support::*;
use crate::model::*;

async fn played(parts: impl IntoIterator<Item = ScriptPart>) -> String {
    words(&answer(&MockLanguageModel::new().step(parts), ask("hi")).await.unwrap())
}

#[tokio::test(start_paused = true)]
async fn says_and_calls_become_stream_parts_with_the_right_finish() {
    let spoken = played([say("a"), say("b"), call("t", json!({ "x": 1 }))]).await;

    insta::assert_snapshot!(spoken, @r#"begin text( "a" "b" ) call-1=t{"x":1} finish tool-calls"#);
}

#[tokio::test(start_paused = true)]
async fn texts_and_thoughts_are_cut_into_deltas_as_the_step_or_the_model_says() {
    let model = MockLanguageModel::new().chunking(Chunking::Chars(4)).step([
        think("I see."),
        speak("Rain now."),
        ScriptPart::Speak(Speech { text: "Or not.".to_owned(), by: Some(Chunking::Words) }),
    ]);

    let spoken = words(&answer(&model, ask("hi")).await.unwrap());

    insta::assert_snapshot!(spoken, @r#"begin reasoning( "I se" "e." ) text( "Rain" " now" "." "Or " "not." ) finish stop"#);
}

#[tokio::test(start_paused = true)]
async fn parallel_calls_stream_their_inputs_in_turns() {
    let calls = parallel([
        ToolUse::new("a", json!({ "x": 1 })).id("one").in_deltas(Chunking::Chars(3)),
        ToolUse::new("b", json!([])).id("two").in_deltas(Chunking::Whole),
        ToolUse::new("c", json!({})),
    ]);

    insta::assert_snapshot!(played([calls]).await, @r#"begin one( two( one+{"x two+[] call-1=c{} one+":1 )two two=b[] one+} )one one=a{"x":1} finish tool-calls"#);
}

#[tokio::test(start_paused = true)]
async fn sources_files_and_provider_tools_are_parts_like_any_other() {
    let search = ScriptPart::ProviderCall { tool: "search".to_owned(), input: json!({}), output: json!("found") };
    let document =
        ScriptPart::Document { media_type: "text/plain".to_owned(), title: "Notes".to_owned(), filename: None };
    let parts = [search, source("https://a.example", "A"), document, file("image/png", "AAAA"), ScriptPart::Ping {}];

    insta::assert_snapshot!(played(parts).await, @r#"begin call-1=search{} call-1->"found" source https://a.example document Notes file image/png ping finish stop"#);
}

#[tokio::test(start_paused = true)]
async fn provider_metadata_goes_to_the_next_part_that_can_carry_it() {
    let metadata = json!({ "p": { "signature": "s" } });
    let model = MockLanguageModel::new().step([ScriptPart::Ping {}, provider_metadata(metadata.clone()), reason("hm")]);

    let parts = answer(&model, ask("hi")).await.unwrap();

    let carrier = StreamPart::ReasoningStart { id: "reasoning-0".to_owned(), provider_metadata: Some(metadata) };
    assert!(parts.contains(&carrier), "{parts:?}");
}

#[tokio::test(start_paused = true)]
async fn usage_and_finish_are_as_written_and_a_step_may_finish_twice() {
    let tokens = Tokens { input_tokens: 100, output_tokens: 7, cached_tokens: Some(90), reasoning_tokens: Some(5) };
    let model = MockLanguageModel::new().step([
        usage(tokens),
        say("a"),
        finish(FinishReason::Length),
        say("late"),
        finish(FinishReason::Stop),
    ]);

    let parts = answer(&model, ask("hi")).await.unwrap();

    insta::assert_snapshot!(words(&parts), @r#"begin text( "a" ) finish length text( "late" ) finish stop"#);
    let usage = parts.iter().find_map(|part| match part {
        StreamPart::Finish { usage, .. } => Some(*usage),
        _ => None,
    });
    let want = Usage { cached_input_tokens: Some(90), reasoning_tokens: Some(5), ..Usage::new(100, 7) };
    assert_eq!(usage, Some(want));
}

#[tokio::test(start_paused = true)]
async fn a_step_written_out_part_by_part_is_played_as_it_is() {
    let exact = [StreamPart::text_delta("nowhere", "x"), StreamPart::finish(FinishReason::Stop, Usage::default())];
    let model = MockLanguageModel::new().step(exact.clone().map(part));

    assert_eq!(answer(&model, ask("hi")).await.unwrap(), exact);
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_input_is_no_json_is_marked_so_a119() {
    insta::assert_snapshot!(played([bad_call("forecast", "{\"city\":")]).await, @"begin bad-call forecast finish tool-calls");
}

#[tokio::test(start_paused = true)]
async fn waits_and_pace_pass_in_virtual_time() {
    let pace = Pace::each(Duration::from_millis(20)).first(Duration::from_millis(500));
    let model =
        MockLanguageModel::new().pace(pace).step([say("a"), wait(Duration::from_secs(5)), say("b"), reason("c")]);
    let started = Instant::now();

    answer(&model, ask("hi")).await.unwrap();

    assert_eq!(started.elapsed(), Duration::from_millis(5560));
}

#[tokio::test(start_paused = true)]
async fn jitter_is_the_same_for_the_same_seed() {
    let elapsed = async |seed| {
        let pace = Pace::each(Duration::ZERO).jitter(Duration::from_millis(100));
        let model = MockLanguageModel::new().seed(seed).pace(pace).step([speak("a b c d e f")]);
        let started = Instant::now();
        answer(&model, ask("hi")).await.unwrap();
        started.elapsed()
    };

    assert_eq!(elapsed(1).await, elapsed(1).await);
    assert_ne!(elapsed(1).await, elapsed(2).await);
}
