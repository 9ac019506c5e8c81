//! Each row of `docs/spec/conformance-agents.md`, by its id.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use turnkeep_harness::model::MockLanguageModel;
use turnkeep_harness::{MOCK_SECRET_KEY, MOCK_SESSION_URL, MockChat, MockChatAgent, MockTurn};

use super::*;

fn server() -> SessionServer {
    let base_url = MOCK_SESSION_URL.parse().expect("a fixed address parses");
    SessionServer { base_url, secret_key: MOCK_SECRET_KEY.to_owned() }
}

fn agent(id: &str) -> Agent {
    agents(&server()).into_iter().find(|agent| agent.id().as_str() == id).expect("the table has it")
}

async fn start(id: &str) -> MockChatAgent {
    MockChatAgent::start(agent(id), &MockLanguageModel::new()).await
}

async fn start_with(id: &str, client_data: Value) -> MockChatAgent {
    MockChat::new(agent(id)).client_data(client_data).start(&MockLanguageModel::new()).await
}

fn kinds(turn: &MockTurn) -> Vec<String> {
    turn.chunks().iter().map(|chunk| chunk.kind().to_owned()).collect()
}

#[test]
fn the_agents_are_those_of_the_table_in_its_order() {
    let table = include_str!("../../../docs/spec/conformance-agents.md");
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));

    let made = agents(&server());

    let made: Vec<&str> = made.iter().map(|agent| agent.id().as_str()).collect();
    assert_eq!(made, rows.map(|(id, _)| id).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn echo_repeats_the_text_and_a_turn_has_every_chunk_of_the_table() {
    // Row `echo`, and what the table says of every turn.
    let mut chat = start("echo").await;

    let turn = chat.send("two  spaces").await;

    assert_eq!(turn.deltas(), ["echo:", " two", " ", " spaces"]);
    turn.assert_records(&[
        "start",
        "start-step",
        "text-start",
        "text-delta",
        "text-delta",
        "text-delta",
        "text-delta",
        "text-end",
        "finish-step",
        "finish",
        "turn-complete",
    ]);
    let again = chat.send("two").await;
    assert_ne!(turn.message().id, again.message().id, "every turn has a message of its own");
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn slow_says_a_hundred_words_or_as_many_as_it_is_asked_for_50_ms_apart() {
    // Row `slow`.
    let mut chat = start("slow").await;

    let began = Instant::now();
    let all = chat.send("go").await;
    let took = began.elapsed();

    assert_eq!(
        (all.deltas().len(), all.text().starts_with("w0 w1 w2 "), all.text().ends_with(" w99")),
        (100, true, true)
    );
    assert!(took >= Duration::from_secs(5) && took < Duration::from_secs(6), "{took:?}");
    chat.send("words=3, please").await.assert_text("w0 w1 w2");
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn think_is_silent_for_two_and_a_half_seconds() {
    // Row `think`.
    let mut chat = start("think").await;

    let began = Instant::now();
    chat.send("well").await.assert_text("echo: well");

    assert!(began.elapsed() >= Duration::from_millis(2500), "{:?}", began.elapsed());
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn slow_boot_reads_its_first_message_after_700_ms() {
    // Row `slow-boot`.
    let began = Instant::now();
    let mut chat = start("slow-boot").await;

    chat.send("hello").await.assert_text("echo: hello");

    assert!(began.elapsed() >= Duration::from_millis(700), "{:?}", began.elapsed());
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn history_tells_what_the_model_reads_and_undo_drops_the_last_question() {
    // Row `history`.
    let mut chat = start("history").await;
    chat.send("one").await.assert_text("seen u:one assistants:0");
    chat.send("two").await.assert_text("seen u:one,two assistants:1");

    let undone = chat.send_action(json!({ "type": "undo" })).await;
    assert_eq!((undone.text(), undone.error()), (String::new(), None));
    chat.send("three").await.assert_text("seen u:one,three assistants:1");
    let refused = chat.send_action(json!({ "type": "redo" })).await;

    assert!(refused.error().is_some());
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn hydrate_reads_the_messages_of_its_metadata_and_the_incoming_one() {
    // Row `hydrate`.
    let kept = json!([
        { "id": "k1", "role": "user", "parts": [{ "type": "text", "text": "kept" }] },
        { "id": "k2", "role": "assistant", "parts": [{ "type": "text", "text": "yes" }] },
    ]);
    let mut chat = start_with("hydrate", json!({ "hydrated": kept })).await;

    chat.send("new").await.assert_text("seen u:kept,new assistants:1");
    chat.send("newer").await.assert_text("seen u:kept,newer assistants:1");

    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn meta_tells_its_metadata_with_sorted_keys_in_one_delta() {
    // Row `meta`.
    let mut chat =
        start_with("meta", json!({ "user": "u1", "zone": 0, "plan": { "z": [1, { "b": 2, "a": null }], "a": "x y" } }))
            .await;

    let turn = chat.send("hello").await;

    assert_eq!(turn.deltas(), [r#"meta: {"plan":{"a":"x y","z":[1,{"a":null,"b":2}]},"user":"u1","zone":0}"#]);
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn validate_rejects_a_blocked_word_before_the_model_runs_rc11() {
    // Row `validate`.
    let mut chat = start("validate").await;

    let refused = chat.send("this has a blocked-word in it").await;
    assert!(refused.error().is_some_and(|error| error.contains("content filter")), "{:?}", refused.error());
    refused.assert_records(&["error", "turn-complete"]);

    chat.send("this has none").await.assert_text("echo: this has none");
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn tool_asks_for_the_weather_of_the_city_after_in() {
    // Row `tool`.
    let mut chat = start("tool").await;

    let oslo = chat.send("Is there rain in Oslo?").await;
    oslo.assert_tools(&["getWeather"]).assert_text("It is 21C in Oslo");
    assert_eq!(oslo.message().tool_parts().next().unwrap().output, Some(json!({ "city": "Oslo", "celsius": 21 })));

    chat.send("And here, raining in").await.assert_text("It is 21C in Paris");
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn hitl_asks_for_a_colour_and_says_what_came() {
    // Row `hitl`.
    let mut chat = start("hitl").await;
    let asked = chat.send("ask me").await;
    assert_eq!(asked.message().tool_parts().next().unwrap().input, Some(json!({ "question": "what color?" })));

    let answered = chat.send_tool_output("askUser", json!({ "color": "blue" })).await;

    assert!(answered.text().ends_with("you said: blue"), "{}", answered.text());
    assert_eq!(chat.messages().len(), 2, "the answer goes on with the same message");
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn approval_deletes_when_it_may_and_keeps_when_not_and_tells_so_before_its_next_step_rc11() {
    // Row `approval`.
    for (approved, want) in [(true, "deleted widget-1"), (false, "kept widget-1")] {
        let mut chat = start("approval").await;
        let asked = chat.send("delete it").await;
        assert!(kinds(&asked).contains(&"tool-approval-request".to_owned()), "{:?}", kinds(&asked));

        let decided = chat.send_tool_approval(approved, None).await;

        decided.assert_text(want);
        let outcome = if approved { "tool-output-available" } else { "tool-output-denied" };
        assert_eq!(kinds(&decided)[..3], ["start", outcome, "start-step"]);

        let ran = chat.messages()[1].tool_parts().next().unwrap().output.is_some();
        assert_eq!(ran, approved);
        chat.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn parts_shows_one_of_each_kind_in_order() {
    // Row `parts`.
    let mut chat = start("parts").await;

    let turn = chat.send("show me").await;

    turn.assert_text("all parts").assert_records(&[
        "start",
        "start-step",
        "data-progress",
        "reasoning-start",
        "reasoning-delta",
        "reasoning-delta",
        "reasoning-end",
        "source-url",
        "data-progress",
        "text-start",
        "text-delta",
        "text-delta",
        "text-end",
        "finish-step",
        "finish",
        "turn-complete",
    ]);
    let parts = serde_json::to_value(&turn.message().parts).unwrap();
    assert_eq!(parts[1], json!({ "type": "data-progress", "id": "p", "data": { "pct": 100 } }));
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn idle_sleeps_after_a_second_and_is_woken_by_the_next_message() {
    // Row `idle`.
    let mut chat = start("idle").await;
    chat.send("one").await.assert_text("echo: one");
    let run = chat.run_attempt();

    let began = Instant::now();
    chat.suspend().await;
    assert!(began.elapsed() <= Duration::from_millis(1500), "{:?}", began.elapsed());
    chat.resume("two").await.assert_text("echo: two");

    assert_eq!(chat.run_attempt(), run, "the same run goes on");
    chat.finish().await;
}

/// Sends two messages, `pause` apart, and tells whether two runs have answered them; the second knows the first.
async fn answered_by_two_runs(id: &str, pause: Duration) -> bool {
    let mut chat = start(id).await;
    chat.send("one").await.assert_text("seen u:one assistants:0");
    let first = chat.run_attempt().unwrap();
    chat.advance(pause).await;
    chat.send("two").await.assert_text("seen u:one,two assistants:1");
    let second = chat.run_attempt().unwrap();
    chat.finish().await;
    first.0 != second.0
}

#[tokio::test(start_paused = true)]
async fn endrun_answers_every_message_with_a_run_of_its_own() {
    // Row `endrun`.
    assert!(answered_by_two_runs("endrun", Duration::ZERO).await);
    assert!(!answered_by_two_runs("history", Duration::ZERO).await);
}

#[tokio::test(start_paused = true)]
async fn timeout_ends_its_run_when_800_ms_bring_no_message() {
    // Row `timeout`.
    assert!(!answered_by_two_runs("timeout", Duration::from_millis(600)).await);
    assert!(answered_by_two_runs("timeout", Duration::from_millis(1000)).await);
}

#[tokio::test(start_paused = true)]
async fn upgrade_hands_its_first_message_to_a_new_run() {
    // Row `upgrade`.
    let mut chat = start("upgrade").await;
    let booted = chat.run_attempt().unwrap();

    chat.send("one").through_crashes().await.assert_text("seen u:one assistants:0");

    let after = chat.run_attempt().unwrap();
    assert_ne!(booted.0, after.0);
    let controls = chat.all_raw_chunks().into_iter().filter_map(|record| match record.kind() {
        turnkeep_agent::protocol::RecordKind::Control(control) => Some(control.to_owned()),
        _ => None,
    });
    assert_eq!(controls.collect::<Vec<_>>(), ["upgrade-required", "turn-complete"]);
    chat.send("two").await.assert_text("seen u:one,two assistants:1");
    assert_eq!(chat.run_attempt().unwrap(), after, "it asks once");
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn crashonce_answers_boom_with_its_second_attempt() {
    // Row `crashonce`.
    let mut chat = start("crashonce").await;
    let (run, attempt) = chat.run_attempt().unwrap();

    chat.send("boom").through_crashes().await.assert_text("seen u:boom assistants:0");

    assert_eq!(chat.run_attempt().unwrap(), (run, attempt + 1));
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn closer_closes_its_session_on_goodbye_and_finishes_the_turn() {
    // Row `closer`.
    let mut chat = start("closer").await;
    chat.send("hello").await.assert_text("echo: hello");

    let last = chat.send("well, goodbye").await;

    last.assert_text("echo: well, goodbye");
    let boundary = last.raw_chunks().last().unwrap();
    assert_eq!(boundary.header("session-closed-reason"), Some("agent said so"));
    chat.send("still there?").try_wait().await.unwrap_err();
    chat.finish().await;
}
