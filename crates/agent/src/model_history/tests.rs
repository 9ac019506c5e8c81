//! What the model is told for a chain and its overlay, change by change.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use turnkeep_model::{ModelOutputs, ToolOutputInput};
use turnkeep_protocol::{ContentPart, Messages, ModelMessage, ToolResultOutput, UiMessage, UiPart};

use super::*;

/// A chain of messages that nobody has seen before.
fn list(messages: &[UiMessage]) -> Messages {
    messages.iter().cloned().collect()
}

fn user(id: &str) -> UiMessage {
    UiMessage::user(id, id)
}

/// An answer of one step for each text.
fn answer(id: &str, texts: &[&str]) -> UiMessage {
    let parts = texts.iter().flat_map(|text| [UiPart::step_start(), UiPart::text(*text)]).collect();
    UiMessage::assistant(id, parts)
}

/// A message of one step, with a call in this state.
fn calling(id: &str, state: &str) -> UiMessage {
    let call = json!({ "type": "tool-ask", "toolCallId": "c", "state": state, "input": 1, "output": 2,
        "approval": { "id": "x", "approved": true } });
    let parts = json!([{ "type": "step-start" }, call]);
    serde_json::from_value(json!({ "id": id, "role": "assistant", "parts": parts })).unwrap()
}

fn word(message: &ModelMessage) -> String {
    let part = |part: &ContentPart| match part {
        ContentPart::Text(part) => part.text.clone(),
        other => other.kind().to_owned(),
    };
    format!("{}:{}", &message.role.as_str()[..1], message.content.iter().map(part).collect::<Vec<_>>().join("+"))
}

fn told(history: &mut ModelHistory, chain: &[UiMessage]) -> String {
    let messages = history.messages(&list(chain), &ModelOutputs::new()).unwrap();
    messages.iter().map(word).collect::<Vec<_>>().join(" ")
}

fn summary(history: &mut ModelHistory, chain: &[UiMessage], until: Spot) {
    history.compact(&list(chain), until, vec![ModelMessage::user("sum")]);
}

fn note(text: &str) -> Vec<ModelMessage> {
    vec![ModelMessage::user(text)]
}

#[test]
fn without_an_overlay_it_is_the_chain_converted_a136() {
    let chain = [user("u1"), calling("a1", "output-available"), user("u2"), answer("a2", &["x", "y"])];

    let mut history = ModelHistory::default();

    let whole = turnkeep_model::to_model_messages(&chain, &ModelOutputs::new()).unwrap();
    assert_eq!(history.messages(&list(&chain), &ModelOutputs::new()).unwrap(), whole);
    assert_eq!(
        told(&mut history, &chain),
        "u:u1 a:tool-call+tool-approval-request t:tool-approval-response+tool-result u:u2 a:x a:y"
    );
}

#[test]
fn an_approved_call_that_has_not_run_is_told_only_until_a_person_speaks_again_a141() {
    let mut history = ModelHistory::default();
    let mut chain = vec![user("u1"), calling("a1", "approval-responded")];

    assert_eq!(told(&mut history, &chain), "u:u1 a:tool-call+tool-approval-request t:tool-approval-response");
    chain.push(user("u2"));
    assert_eq!(told(&mut history, &chain), "u:u1 u:u2");
    chain.pop();
    assert_eq!(told(&mut history, &chain), "u:u1 a:tool-call+tool-approval-request t:tool-approval-response");
}

#[test]
fn a_long_chat_is_converted_once_a136() {
    let n_mapped = Arc::new(AtomicUsize::new(0));
    let counting = n_mapped.clone();
    let outputs = ModelOutputs::new().with("ask", move |call: ToolOutputInput<'_>| {
        counting.fetch_add(1, Ordering::Relaxed);
        Ok(ToolResultOutput::Json(call.output.clone()))
    });
    let mut history = ModelHistory::default();
    let mut chain = Vec::new();
    for turn in 0..100 {
        chain.push(user(&format!("u{turn}")));
        history.messages(&list(&chain), &outputs).unwrap();
        chain.push(calling(&format!("a{turn}"), "output-available"));
        history.messages(&list(&chain), &outputs).unwrap();
        history.messages(&list(&chain), &outputs).unwrap();
    }

    assert_eq!(n_mapped.load(Ordering::Relaxed), 100);

    // Other mappings of the same tools convert what they may change, and nothing else.
    let other =
        ModelOutputs::new().with("ask", |_: ToolOutputInput<'_>| Ok(ToolResultOutput::Text("other".to_owned())));
    let messages = history.messages(&list(&chain), &other).unwrap();
    let retold = json!(messages).to_string();
    assert_eq!(retold.matches("other").count(), 100);
}

#[test]
fn a_conversion_that_failed_is_tried_again_a73() {
    let n_tries = Arc::new(AtomicUsize::new(0));
    let counting = n_tries.clone();
    let outputs = ModelOutputs::new().with("ask", move |call: ToolOutputInput<'_>| {
        match counting.fetch_add(1, Ordering::Relaxed) {
            0 => Err("not now".to_owned()),
            _ => Ok(ToolResultOutput::Json(call.output.clone())),
        }
    });
    let mut history = ModelHistory::default();
    let chain = [user("u1"), calling("a1", "output-available")];

    assert!(history.messages(&list(&chain), &outputs).is_err());
    assert_eq!(history.messages(&list(&chain), &outputs).unwrap().len(), 3);
}

#[test]
fn item_ids_of_the_provider_are_sent_back_on_no_conversion_a102_af14() {
    let part =
        |text: &str| json!({ "type": "text", "text": text, "providerMetadata": { "openai": { "itemId": "x" } } });
    let said = |text: &str| -> UiMessage {
        serde_json::from_value(json!({ "id": "a1", "role": "assistant", "parts": [part(text)] })).unwrap()
    };
    let mut history = ModelHistory::default();

    for text in ["first", "changed"] {
        let messages = history.messages(&list(&[said(text)]), &ModelOutputs::new()).unwrap();
        assert_eq!(messages[0].text(), text);
        assert!(!json!(messages).to_string().contains("itemId"));
    }
}

#[test]
fn injected_messages_keep_their_place_through_later_turns_and_rebuilds_a138_a176() {
    let mut history = ModelHistory::default();
    let mut chain = vec![user("u1")];
    history.inject(&list(&chain), note("n1"));
    chain.push(answer("a1", &["x"]));
    history.inject(&list(&chain), note("n2"));
    chain.push(user("u2"));

    assert_eq!(told(&mut history, &chain), "u:u1 u:n1 a:x u:n2 u:u2");

    // A human answer changes a message that stands before a note: the note stays where it is.
    chain[1] = answer("a1", &["x", "more"]);
    assert_eq!(told(&mut history, &chain), "u:u1 u:n1 a:x u:n2 a:more u:u2");
}

#[test]
fn a_note_moves_with_its_message_and_goes_with_a_history_that_is_cut_off_a138_a180() {
    let mut history = ModelHistory::default();
    let chain = vec![user("u1"), answer("a1", &["x"]), user("u2")];
    history.inject(&list(&chain), note("n"));
    let whole = [chain.clone(), vec![answer("a2", &["y"])]].concat();

    assert_eq!(told(&mut history, &whole), "u:u1 a:x u:u2 u:n a:y");
    // Taken out of the middle: the spot stays with what was in front.
    let without = [vec![user("new")], whole[..2].to_vec(), whole[3..].to_vec()].concat();
    assert_eq!(told(&mut history, &without), "u:new u:u1 a:x u:n a:y");
    // Rolled back: what came later never was.
    assert_eq!(told(&mut history, &chain[..1]), "u:u1");
    assert_eq!(told(&mut history, &whole), "u:u1 a:x u:u2 a:y");
}

#[test]
fn steered_messages_are_told_where_they_came_in_and_not_twice_a138_a166() {
    let mut history = ModelHistory::default();
    let chain = vec![user("u1"), user("s"), answer("a1", &["x", "y"])];

    history.steer(&list(&chain), ("a1", 1), note("steered"), vec!["s".to_owned()]);

    assert_eq!(told(&mut history, &chain), "u:u1 a:x u:steered a:y");
    let later = [chain.clone(), vec![user("u2")]].concat();
    assert_eq!(told(&mut history, &later), "u:u1 a:x u:steered a:y u:u2");
    // The answer is given anew: the message is a question like any other.
    assert_eq!(told(&mut history, &chain[..2]), "u:u1 u:s");
}

#[test]
fn a_steered_message_that_an_author_removes_is_told_nowhere_a166_a180() {
    let mut history = ModelHistory::default();
    let chain = vec![user("u1"), user("s"), answer("a1", &["x", "y"])];
    history.steer(&list(&chain), ("a1", 1), note("steered"), vec!["s".to_owned()]);

    let without = [chain[0].clone(), chain[2].clone()];

    assert_eq!(told(&mut history, &without), "u:u1 a:x a:y");
}

#[test]
fn without_a_response_steered_messages_stand_at_the_end_a166() {
    let mut history = ModelHistory::default();
    let chain = [user("u1"), user("s")];

    history.steer(&list(&chain), ("a1", 0), note("steered"), vec!["s".to_owned()]);

    assert_eq!(told(&mut history, &chain), "u:u1 u:steered");
}

#[test]
fn a_summary_survives_the_turn_of_a_tool_answer_a138_af10() {
    let mut history = ModelHistory::default();
    let mut chain = vec![user("u1"), answer("a1", &["x"]), user("u2")];
    // Compacted between the steps of the answer, which then asks the person.
    summary(&mut history, &chain, Spot::end(&list(&chain)));
    chain.push(calling("a2", "input-available"));
    assert_eq!(told(&mut history, &chain), "u:sum");

    chain[3] = calling("a2", "output-available");

    let answered = "u:sum a:tool-call+tool-approval-request t:tool-approval-response+tool-result";
    assert_eq!(told(&mut history, &chain), answered);
    chain.push(user("u3"));
    assert_eq!(told(&mut history, &chain), format!("{answered} u:u3"));
}

#[test]
fn a_summary_at_the_end_of_a_turn_takes_the_answer_in_and_not_what_it_goes_on_with_a173() {
    let mut history = ModelHistory::default();
    let mut chain = vec![user("u1"), answer("a1", &["x"])];
    history.inject(&list(&chain), note("old"));
    summary(&mut history, &chain, Spot::end(&list(&chain)));
    history.inject(&list(&chain), note("new"));

    chain[1] = answer("a1", &["x", "more"]);
    chain.push(user("u2"));

    assert_eq!(told(&mut history, &chain), "u:sum u:new a:more u:u2");
}

#[test]
fn a_call_that_is_answered_after_the_summary_is_told_behind_it_a138() {
    let mut history = ModelHistory::default();
    let mut chain = vec![user("u1"), calling("a1", "input-available"), user("u2"), answer("a2", &["x"])];
    summary(&mut history, &chain, Spot::end(&list(&chain)));

    chain[1] = calling("a1", "output-available");

    let answered = "a:tool-call+tool-approval-request t:tool-approval-response+tool-result";
    assert_eq!(told(&mut history, &chain), format!("u:sum {answered} u:u2 a:x"));
}

#[test]
fn a_summary_goes_with_a_history_that_is_rolled_back_behind_it_a180() {
    let mut history = ModelHistory::default();
    let chain = vec![user("u1"), answer("a1", &["x"]), user("u2"), answer("a2", &["y"])];
    summary(&mut history, &chain, Spot::end(&list(&chain)));

    assert_eq!(told(&mut history, &chain), "u:sum");
    assert_eq!(told(&mut history, &chain[..2]), "u:u1 a:x");
}

#[test]
fn a_chain_that_was_shortened_with_the_summary_is_told_after_it_a172() {
    let mut history = ModelHistory::default();
    let chain = vec![user("u1"), answer("a1", &["x"]), user("u2")];
    told(&mut history, &chain);
    let shortened = vec![answer("s", &["shown summary"]), user("u2")];
    summary(&mut history, &shortened, Spot::end(&list(&shortened)));

    let next = [shortened, vec![answer("a2", &["y"]), user("u3")]].concat();

    assert_eq!(told(&mut history, &next), "u:sum a:y u:u3");
}

#[test]
fn messages_without_ids_are_told_apart_by_what_they_hold() {
    let nameless = |text: &str| UiMessage::user("", text);
    let mut history = ModelHistory::default();
    let chain = vec![nameless("a"), nameless("b")];
    history.inject(&list(&chain), note("n"));

    assert_eq!(told(&mut history, &[chain, vec![nameless("c")]].concat()), "u:a u:b u:n u:c");
    assert_eq!(told(&mut history, &[nameless("a"), nameless("c")]), "u:a u:n u:c");
}

#[test]
fn an_empty_note_is_no_note() {
    let mut history = ModelHistory::default();

    history.inject(&list(&[]), Vec::new());

    assert_eq!(history.messages(&list(&[]), &ModelOutputs::new()).unwrap(), []);
}
