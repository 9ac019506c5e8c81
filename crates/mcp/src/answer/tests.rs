//! What an assistant reads of an answer, chunk by chunk.

use serde_json::{Value, json};

use super::*;

fn chunk(value: Value) -> UiMessageChunk {
    serde_json::from_value(value).unwrap()
}

fn text(id: &str, delta: &str) -> UiMessageChunk {
    chunk(json!({ "type": "text-delta", "id": id, "delta": delta }))
}

fn call(id: &str, input: Value) -> UiMessageChunk {
    chunk(json!({ "type": "tool-input-available", "toolCallId": id, "toolName": "forecast", "input": input }))
}

fn output(id: &str, output: Value) -> UiMessageChunk {
    chunk(json!({ "type": "tool-output-available", "toolCallId": id, "output": output }))
}

fn of(kind: &str) -> UiMessageChunk {
    chunk(json!({ "type": kind, "id": "t" }))
}

#[track_caller]
fn check(max_chars: usize, chunks: &[UiMessageChunk], want: &str) {
    let mut answer = Answer::new(max_chars);
    for chunk in chunks {
        answer.add(chunk);
    }
    assert_eq!(answer.render(), want);
}

#[test]
fn deltas_of_one_part_are_one_text_and_parts_are_apart_c227() {
    check(99, &[text("a", "Rain, "), text("b", "Sun."), text("a", "4 degrees.")], "Rain, 4 degrees.\n\nSun.");
    check(99, &[of("text-start"), text("t", "One."), of("text-start"), text("t", "Two.")], "One.\n\nTwo.");
}

#[test]
fn tool_outputs_attach_by_call_id_c227_ca93() {
    let chunks = [
        text("a", "I look."),
        call("1", json!({ "city": "Oslo" })),
        call("2", json!(null)),
        output("2", json!("sun")),
        output("1", json!({ "rain": true })),
        text("b", "Rain."),
    ];
    let want = "I look.\n\n[Tool: forecast]\nInput: {\"city\":\"Oslo\"}\nOutput: {\"rain\":true}\n\n\
                [Tool: forecast]\nInput: null\nOutput: \"sun\"\n\nRain.";
    check(99, &chunks, want);
}

#[test]
fn overlong_tool_data_is_cut_to_200_characters_c227_ca93() {
    let long = |n: usize| json!("ö".repeat(n));
    let fits = format!("[Tool: forecast]\nInput: \"{}\"", "ö".repeat(198));
    check(99, &[call("1", long(198))], &fits);

    let cut = format!("[Tool: forecast]\nInput: 1\nOutput: \"{}…", "ö".repeat(199));
    check(99, &[call("1", json!(1)), output("1", long(199))], &cut);
}

#[test]
fn a_failed_or_denied_call_says_so_c227() {
    let failed = chunk(json!({ "type": "tool-output-error", "toolCallId": "1", "errorText": "no such city" }));
    let denied = chunk(json!({ "type": "tool-output-denied", "toolCallId": "1" }));
    check(99, &[call("1", json!(1)), failed], "[Tool: forecast]\nInput: 1\nOutput: error: no such city");
    check(99, &[call("1", json!(1)), denied], "[Tool: forecast]\nInput: 1\nOutput: denied");
}

#[test]
fn a_step_that_starts_anew_takes_back_what_it_said_c227() {
    let chunks = [text("a", "Kept."), of("start-step"), text("b", "Gone."), of("reset-step"), text("b", "Anew.")];
    check(12, &chunks, "Kept.\n\nAnew.");
}

#[test]
fn a_text_beyond_the_bound_is_cut_and_says_so() {
    check(4, &[text("a", "four")], "four");
    let cut = "four\n\n[the answer is longer and was cut here: 4 characters]";
    check(4, &[text("a", "four"), text("a", "five")], cut);
    check(4, &[text("a", "four five")], cut);

    let mut answer = Answer::new(9);
    for n in 0..=MAX_SECTIONS {
        answer.add(&call(&n.to_string(), json!(n)));
    }
    assert_eq!(answer.sections.len(), MAX_SECTIONS);
    assert!(answer.render().ends_with("was cut here: 9 characters]"));
}

#[test]
fn an_error_of_the_agent_is_kept_apart_and_an_earlier_turn_leaves_nothing_c228() {
    let mut answer = Answer::new(99);
    answer.add(&text("a", "Old."));
    answer.add(&chunk(json!({ "type": "error", "errorText": "model is gone" })));
    assert_eq!(answer.failure(), Some("model is gone"));

    answer.clear();

    assert_eq!((answer.failure(), answer.render()), (None, String::new()));
}

#[test]
fn what_is_new_is_told_for_progress() {
    let mut answer = Answer::new(6);
    assert_eq!(answer.add(&text("a", "four")).as_deref(), Some("four"));
    assert_eq!(answer.add(&call("1", json!(1))).as_deref(), Some("[Tool: forecast]"));
    assert_eq!(answer.add(&text("a", "five")).as_deref(), Some("fi"));
    assert_eq!(answer.add(&text("a", "six")), None);
}
