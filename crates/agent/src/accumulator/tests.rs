//! The accumulator, call by call.

use std::sync::{Arc, Mutex};

use serde_json::json;
use turnkeep_model::FinishReason;
use turnkeep_protocol::UiPart;

use super::*;
use crate::answer::StepResult;
use crate::event::PendingMessagesBatch;
use crate::testing::{always, tool_context};

fn user(id: &str) -> UiMessage {
    UiMessage::user(id, id)
}

fn said(id: &str, text: &str) -> UiMessage {
    UiMessage::assistant(id, vec![UiPart::text(text)])
}

fn calling(id: &str, call: Value) -> UiMessage {
    serde_json::from_value(json!({ "id": id, "role": "assistant", "parts": [call] })).unwrap()
}

/// An assistant message with one call of the tool `ask` that waits for its answer.
fn asked(id: &str) -> UiMessage {
    calling(id, json!({ "type": "tool-ask", "toolCallId": "c", "state": "input-available", "input": { "q": 1 } }))
}

/// The page's answer to that call, without its input.
fn answered(id: &str) -> UiMessage {
    calling(id, json!({ "type": "tool-ask", "toolCallId": "c", "state": "output-available", "output": 2 }))
}

fn ids(accumulator: &MessageAccumulator) -> String {
    accumulator.ui_messages().iter().map(|message| message.id.as_str()).collect::<Vec<_>>().join(" ")
}

fn read(accumulator: &mut MessageAccumulator) -> String {
    words(&accumulator.model_messages().unwrap())
}

fn words(messages: &[ModelMessage]) -> String {
    messages.iter().map(ModelMessage::text).collect::<Vec<_>>().join("|")
}

fn set(messages: &[UiMessage]) -> MessageAccumulator {
    let mut accumulator = MessageAccumulator::new();
    accumulator.set_messages(messages.to_vec());
    accumulator
}

#[track_caller]
fn check(mut to: MessageAccumulator, incoming: &[UiMessage], trigger: Trigger, turn: usize, want: (&str, bool)) {
    let added = to.add_incoming(incoming.to_vec(), trigger, turn).unwrap();

    assert_eq!((ids(&to).as_str(), added.wants_answer), want);
}

/// Holds what an earlier turn 0 has added.
fn begun() -> MessageAccumulator {
    let mut accumulator = MessageAccumulator::new();
    accumulator.add_incoming(vec![user("u1")], Trigger::SubmitMessage, 0).unwrap();
    accumulator
}

#[test]
fn what_comes_in_is_appended_laid_over_or_begins_anew_a211_a212() {
    let submit = Trigger::SubmitMessage;
    let history = [user("u1"), said("a1", "hi")];

    check(MessageAccumulator::new(), &[user("u1")], submit, 0, ("u1", true));
    check(begun(), &[user("u2")], submit, 1, ("u1 u2", true));
    // Turn 0 replaces what an earlier one has added, never what the author has put there.
    check(begun(), &[user("u2"), user("u3")], submit, 0, ("u2 u3", true));
    check(set(&history), &[user("u2")], submit, 0, ("u1 a1 u2", true));
    // A known id is laid over what is there: nothing stands there twice (AR-15).
    let mut two = MessageAccumulator::new();
    two.add_incoming(vec![user("u1"), user("u2")], submit, 0).unwrap();
    check(two, &[user("u1")], submit, 0, ("u1 u2", true));
    check(begun(), &[user("u1")], submit, 0, ("u1", true));
    check(set(&history), &[user("u1")], submit, 1, ("u1 a1", false));
    check(set(&[user("u1"), asked("a1")]), &[answered("a1")], submit, 1, ("u1 a1", true));
    check(set(&[user("u1"), asked("a1")]), &[answered("a9")], submit, 0, ("u1 a1", true));
    check(set(&history), &[], submit, 1, ("u1 a1", false));
}

#[test]
fn a_regenerate_drops_the_newest_answer_and_never_all_of_it_a212_a92() {
    let regenerate = Trigger::RegenerateMessage;
    let history = [user("u1"), said("a1", "hi"), user("u2"), said("a2", "ho")];

    check(set(&history), &[], regenerate, 1, ("u1 a1 u2", true));
    check(set(&history), &[user("u9")], regenerate, 1, ("u9", true));
    let mut named = set(&history);
    named.regenerate(Some("a1")).unwrap();
    assert_eq!(ids(&named), "u1");
    let nothing = MessageAccumulator::new().add_incoming(Vec::new(), regenerate, 0);
    assert_eq!(nothing, Err(NothingToRegenerate));
}

#[test]
fn other_triggers_bring_nothing_a217() {
    for trigger in [Trigger::Action, Trigger::Close, Trigger::Preload, Trigger::HandoverPrepare] {
        check(begun(), &[user("u2")], trigger, 1, ("u1", false));
    }
}

#[test]
fn an_answer_to_a_call_keeps_its_input_and_a_forged_one_is_refused_a212_a201_a203_ar28() {
    let mut accumulator = set(&[user("u1"), asked("a1")]);
    accumulator.add_incoming(vec![answered("a1")], Trigger::SubmitMessage, 1).unwrap();
    let part = accumulator.ui_messages()[1].tool_part("c").unwrap();
    assert_eq!((part.input.clone(), part.output.clone()), (Some(json!({ "q": 1 })), Some(json!(2))));

    let ours = Tool::new("ask", "", json!({}), |_, _| async { Ok(json!(1)) });
    let mut accumulator = MessageAccumulator::new().tools(&[ours]);
    accumulator.set_messages(vec![user("u1"), asked("a1")]);
    let forged = accumulator.add_incoming(vec![answered("a1")], Trigger::SubmitMessage, 1).unwrap();

    assert!(!forged.wants_answer && forged.warnings[0].contains("was not taken over"), "{forged:?}");
    assert_eq!(accumulator.ui_messages()[1].tool_part("c").unwrap().output, None, "the call waits as before");
}

#[test]
fn an_incoming_assistant_leaves_open_calls_behind_a211_a84() {
    check(MessageAccumulator::new(), &[asked("a1")], Trigger::SubmitMessage, 0, ("a1", true));
    let mut accumulator = MessageAccumulator::new();

    accumulator.add_incoming(vec![asked("a1")], Trigger::SubmitMessage, 0).unwrap();

    assert_eq!(accumulator.ui_messages()[0].parts, []);
}

#[tokio::test]
async fn an_answer_takes_the_place_of_its_id_and_loses_the_providers_ids_a211_a102_af14() {
    let mut accumulator = begun();
    let part = json!({ "type": "text", "text": "hi", "providerMetadata": { "openai": { "itemId": "msg_1" } } });
    let answer = serde_json::from_value(json!({ "id": "a1", "role": "assistant", "parts": [part] })).unwrap();

    accumulator.add_response(answer).await.unwrap();
    assert!(!format!("{:?}", accumulator.model_messages().unwrap()).contains("msg_1"));
    accumulator.add_response(said("a1", "ho")).await.unwrap();
    accumulator.add_response(UiMessage::assistant("a2", Vec::new())).await.unwrap();

    assert_eq!(ids(&accumulator), "u1 a1", "one that says nothing is not added");
    assert_eq!(read(&mut accumulator), "u1|ho");
}

#[test]
fn what_is_steered_waits_once_and_can_be_taken_back_a211_a217_d15() {
    let mut accumulator = begun();

    assert_eq!(accumulator.steer(user("u1")), Ok(false), "the history has it");
    assert_eq!(accumulator.steer(user("s1")), Ok(true));
    assert_eq!(accumulator.steer(user("s1")), Ok(false), "it waits already");
    assert!(accumulator.steer_as(user("s2"), vec![ModelMessage::user("other words")]));

    let left: Vec<String> = accumulator.drain_steering().into_iter().map(|message| message.id).collect();
    assert_eq!(left, ["s1", "s2"]);
    assert_eq!(accumulator.drain_steering(), []);
    assert_eq!(accumulator.steer(user("s1")), Ok(true), "what was taken back is not known any more");
}

fn step(number: usize, texts: &str) -> PrepareStep {
    let result = StepResult { finish_reason: FinishReason::ToolCalls, usage: Usage::new(5, 5), calls: Vec::new() };
    PrepareStep {
        chat: tool_context().chat,
        turn: 1,
        client_data: Value::Null,
        step_number: number,
        steps: vec![result; number],
        messages: texts.split_whitespace().map(ModelMessage::user).collect(),
    }
}

fn changed(change: StepChange) -> String {
    change.messages.map_or("-".to_owned(), |messages| words(&messages))
}

#[tokio::test]
async fn what_waits_joins_at_the_next_step_and_stays_there_a167_a164_a212() {
    let mut accumulator = begun().pending_messages(always());
    let prepare = accumulator.prepare_step();

    assert_eq!(changed(prepare(step(0, "u1")).await.unwrap()), "-", "no change, no override");
    // Steered after the preparation was made: they share one live queue.
    accumulator.steer(user("s1")).unwrap();
    assert_eq!(changed(prepare(step(1, "u1 x")).await.unwrap()), "u1|x|s1");
    assert_eq!(accumulator.steer(user("s1")), Ok(false), "it has joined");
    accumulator.steer_as(user("s2"), vec![ModelMessage::user("other words")]);
    assert_eq!(changed(prepare(step(2, "u1 x y")).await.unwrap()), "u1|x|s1|y|other words");

    assert_eq!(accumulator.drain_steering(), []);
}

#[tokio::test]
async fn what_joined_stands_before_the_answer_and_is_read_between_its_steps_a166_a138() {
    let mut accumulator = begun().pending_messages(always());
    let prepare = accumulator.prepare_step();
    let _ = prepare(step(0, "u1")).await.unwrap();
    accumulator.steer(user("s1")).unwrap();
    let _ = prepare(step(1, "u1 x")).await.unwrap();
    let steps = vec![UiPart::step_start(), UiPart::text("one"), UiPart::step_start(), UiPart::text("two")];

    accumulator.add_response(UiMessage::assistant("a1", steps)).await.unwrap();

    assert_eq!(ids(&accumulator), "u1 s1 a1");
    assert_eq!(read(&mut accumulator), "u1|one|s1|two");
}

#[tokio::test]
async fn what_joined_an_answer_that_nobody_added_waits_for_the_next_a163() {
    let mut accumulator = begun().pending_messages(always());
    let prepare = accumulator.prepare_step();
    accumulator.steer(user("s1")).unwrap();
    assert_eq!(changed(prepare(step(0, "u1")).await.unwrap()), "u1|s1");

    assert_eq!(changed(prepare(step(0, "u1")).await.unwrap()), "u1|s1");
}

#[tokio::test]
async fn what_is_drained_joins_nothing_and_what_is_refused_waits_on_a165_a212() {
    let mut accumulator = begun().pending_messages(always());
    let prepare = accumulator.prepare_step();
    accumulator.steer(user("s1")).unwrap();
    accumulator.drain_steering();
    assert_eq!(changed(prepare(step(0, "u1")).await.unwrap()), "-");

    let mut accumulator = begun().pending_messages(PendingMessages::new());
    let prepare = accumulator.prepare_step();
    accumulator.steer(user("s1")).unwrap();
    assert_eq!(changed(prepare(step(0, "u1")).await.unwrap()), "-", "nobody said that it may");
    assert_eq!(accumulator.drain_steering(), [user("s1")]);
}

#[tokio::test]
async fn a_message_steered_during_the_judgement_is_not_judged_with_it_ar25_a165() {
    let accumulator = Arc::new(Mutex::new(MessageAccumulator::new()));
    let late = accumulator.clone();
    let judged: Arc<Mutex<Vec<String>>> = Arc::default();
    let told = judged.clone();
    let options = PendingMessages::new().should_inject(move |batch: PendingMessagesBatch| {
        let ids: Vec<_> = batch.messages.iter().map(|message| message.id.clone()).collect();
        told.lock().unwrap().push(ids.join("+"));
        late.lock().unwrap().steer(user("s2")).unwrap();
        async move { if ids.len() == 1 { Err("not yet".into()) } else { Ok(true) } }
    });
    let prepare = {
        let mut accumulator = accumulator.lock().unwrap();
        *accumulator = begun().pending_messages(options);
        accumulator.steer(user("s1")).unwrap();
        accumulator.prepare_step()
    };

    assert!(prepare(step(0, "u1")).await.is_err());
    assert_eq!(changed(prepare(step(1, "u1 x")).await.unwrap()), "u1|x|s1|s2");

    assert_eq!(*judged.lock().unwrap(), ["s1", "s1+s2"]);
}

fn summing(above: u64) -> Compaction {
    Compaction::above(above, |check: CompactionCheck| async move { Ok(format!("sum of {}", words(&check.messages))) })
}

#[tokio::test]
async fn a_step_that_has_read_too_much_is_followed_by_a_summary_a167_a170_a172() {
    let mut accumulator = begun().compaction(summing(9)).pending_messages(always());
    let prepare = accumulator.prepare_step();
    assert_eq!(changed(prepare(step(0, "u1")).await.unwrap()), "-");

    accumulator.steer(user("s1")).unwrap();
    // Compaction first, then what waits.
    assert_eq!(changed(prepare(step(1, "u1 x")).await.unwrap()), "sum of u1|x|s1");
    assert_eq!(changed(prepare(step(2, "u1 x y")).await.unwrap()), "sum of u1|x|s1|y", "once an answer");
    accumulator.add_response(said("a1", "done")).await.unwrap();

    assert_eq!(ids(&accumulator), "u1 s1 a1", "people still see all of it");
    assert!(read(&mut accumulator).starts_with("[Conversation summary]\n\nsum of u1|x|"));
}

fn context() -> CompactionContext {
    CompactionContext { chat: tool_context().chat, turn: 0, client_data: Value::Null, total_usage: Usage::new(5, 5) }
}

#[tokio::test]
async fn a_turn_that_is_over_is_compacted_when_it_is_time_a173_a211() {
    let mut plain = begun();
    assert!(!plain.compact_if_needed(Usage::new(50, 50), context()).await.unwrap(), "nobody asked for it");
    let mut accumulator = begun().compaction(summing(9));
    assert!(!accumulator.compact_if_needed(Usage::new(4, 5), context()).await.unwrap());

    assert!(accumulator.compact_if_needed(Usage::new(5, 5), context()).await.unwrap());

    assert_eq!(
        (ids(&accumulator).as_str(), read(&mut accumulator).as_str()),
        ("u1", "[Conversation summary]\n\nsum of u1")
    );
}

#[tokio::test]
async fn a_compaction_that_fails_or_is_not_safe_changes_nothing_a174_a175() {
    let failing = Compaction::above(0, |_| async { Err("no".into()) });
    let mut accumulator = begun().compaction(failing);
    let failed = accumulator.compact_if_needed(Usage::new(5, 5), context()).await;
    assert_eq!((failed.unwrap_err().to_string().as_str(), read(&mut accumulator).as_str()), ("no", "u1"));

    let mut accumulator = set(&[user("u1"), asked("a1")]).compaction(summing(0));

    assert!(!accumulator.compact_if_needed(Usage::new(5, 5), context()).await.unwrap(), "a call still waits");
}
