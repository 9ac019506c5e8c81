//! What a run before the first one has left.

use std::sync::{Arc, Mutex};

use serde_json::json;
use turnkeep_agent::{Recovery, RecoveryBoot};
use turnkeep_harness::model::{MockLanguageModel, say};
use turnkeep_harness::{MockChat, MockMode, Restart};
use turnkeep_protocol::message::TextPart;
use turnkeep_protocol::{ChatSnapshot, SeqNum, ToolPart, ToolState, UiMessage, UiMessageChunk, UiPart};

use crate::support::*;

fn answer(id: &str, text: &str) -> UiMessage {
    UiMessage::assistant(id, vec![UiPart::text(text)])
}

#[tokio::test(start_paused = true)]
async fn a_seeded_snapshot_seeds_the_history_of_a_continuation_aa11() {
    let model = MockLanguageModel::new().step([say("Fine.")]);
    let history = [UiMessage::user("u-1", "Hi"), answer("a-1", "Hello.")];
    let mut chat = MockChat::new(plain()).seed_snapshot(history.clone()).start(&model).await;
    assert_eq!(chat.messages(), history);

    chat.send("How are you?").await;

    model.assert_prompt(0).reads(&["user: Hi", "assistant: Hello.", "user: How are you?"]);
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn the_snapshot_getter_gives_what_was_stored_last_aa10() {
    let model = MockLanguageModel::new().step([say("a")]);
    let mut chat = MockChat::new(plain()).start(&model).await;
    assert_eq!(chat.get_snapshot().await, None);

    let turn = chat.send("hi").await;

    let snapshot = chat.get_snapshot().await.unwrap();
    assert_eq!(snapshot.messages.iter().map(UiMessage::text).collect::<Vec<_>>(), ["hi", "a"]);
    assert_eq!((snapshot.last_out_event_id, snapshot.last_in_event_id), (turn.last_event_id(), Some(SeqNum::ZERO)));
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn seeds_are_real_records_with_places_and_cursors_a279() {
    let model = MockLanguageModel::new().step([say("b")]);
    let mut chat = MockChat::new(plain())
        .seed_snapshot([UiMessage::user("u-1", "Hi"), answer("a-1", "Hello.")])
        .seed_session_in_tail([UiMessage::user("u-2", "Still there?")])
        .start(&model)
        .await;
    chat.advance(std::time::Duration::from_secs(1)).await;

    // The message that was left is answered, from its record.
    model.assert_prompt(0).reads(&["user: Hi", "assistant: Hello.", "user: Still there?"]);
    assert_eq!(chat.all_inputs().len(), 2);
    assert!(chat.all_raw_chunks()[0].is_turn_complete());
    assert_eq!(chat.get_snapshot().await.unwrap().last_in_event_id, Some(SeqNum::new(1)));
    chat.close().await;
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_partial_answer_reaches_the_recovery_hook_raw_and_cleaned_a279_aa79_aa80() {
    let seen: Arc<Mutex<Option<RecoveryBoot>>> = Arc::default();
    let sees = seen.clone();
    let agent = plain().on_recovery_boot(move |event: RecoveryBoot| {
        *sees.lock().unwrap() = Some(event);
        async { Ok(Recovery::default()) }
    });
    let call = ToolPart {
        tool_name: "forecast".to_owned(),
        tool_call_id: "c-1".to_owned(),
        state: ToolState::InputAvailable,
        input: Some(json!({ "city": "Oslo" })),
        ..ToolPart::default()
    };
    let partial = UiMessage::assistant("a-1", vec![UiPart::text("Let me see"), UiPart::Tool(call)]);
    let chat = MockChat::new(agent)
        .seed_session_in_tail([UiMessage::user("u-1", "What is it like in Oslo?")])
        .seed_session_out_partial(partial)
        .start(&MockLanguageModel::new())
        .await;

    // Taken out: whoever keeps the event keeps its writer, and with it the run's tasks.
    let event = seen.lock().unwrap().take().expect("the hook ran");
    assert_eq!(event.in_flight_users.iter().map(UiMessage::text).collect::<Vec<_>>(), ["What is it like in Oslo?"]);
    assert_eq!(event.partial_assistant.text(), "Let me see");
    assert_eq!(event.partial_assistant.tool_parts().count(), 0, "the cleaned form has no open call");
    assert_eq!(event.pending_tool_calls[0].tool_call_id, "c-1");
    drop(event);
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_on_out_that_was_never_closed_is_taken_over_ar47_a279() {
    let chunks = [
        json!({ "type": "start", "messageId": "a-1" }),
        json!({ "type": "text-start", "id": "t" }),
        json!({ "type": "text-delta", "id": "t", "delta": "Said." }),
        json!({ "type": "text-end", "id": "t" }),
        json!({ "type": "finish" }),
    ];
    let model = MockLanguageModel::new().step([say("next")]);
    let mut chat = MockChat::new(plain())
        .seed_session_in_tail([UiMessage::user("u-1", "Say it")])
        .seed_session_out_tail(chunks.map(|chunk| UiMessageChunk::from_value(chunk).unwrap()))
        .start(&model)
        .await;

    chat.send("And now?").await;

    model.assert_prompt(0).reads(&["user: Say it", "assistant: Said.", "user: And now?"]);
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn any_snapshot_can_be_left_even_a_strange_one_a46() {
    let snapshot = ChatSnapshot::new(5, vec![answer("a-1", "I begin.")], None, None);
    let model = MockLanguageModel::new().step([say("b")]);
    let mut chat = MockChat::new(plain()).snapshot(snapshot).start(&model).await;

    chat.send("hi").await;

    model.assert_prompt(0).reads(&["assistant: I begin.", "user: hi"]);
    assert_eq!(chat.messages()[0].text(), "I begin.", "the page has it too");
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn the_snapshot_that_is_seeded_last_counts_a278() {
    let raw = ChatSnapshot::new(5, vec![answer("a-1", "raw")], None, None);
    let model = MockLanguageModel::new().step([say("b")]).step([say("b")]);
    for (chat, want) in [
        (MockChat::new(plain()).snapshot(raw.clone()).seed_snapshot([answer("a-2", "made")]), "made"),
        (MockChat::new(plain()).seed_snapshot([answer("a-2", "made")]).snapshot(raw.clone()), "raw"),
    ] {
        let chat = chat.start(&model).await;
        assert_eq!(chat.get_snapshot().await.unwrap().messages[0].text(), want);
        chat.kill();
    }
}

#[tokio::test(start_paused = true)]
async fn a_chat_id_may_be_any_text_a260() {
    let model = MockLanguageModel::new().step([say("b")]).step([say("c")]);
    let history = [UiMessage::user("u-1", "Hi"), answer("a-1", "Hello.")];
    let mut chat = MockChat::new(plain()).chat_id("a/b c?").seed_snapshot(history).start(&model).await;

    chat.send("one").await;
    chat.restart(Restart::EndAndContinue).await;
    chat.send("two").await.assert_text("c");

    assert_eq!(chat.get_snapshot().await.unwrap().messages.len(), 6);
    assert!(!chat.read_out(None).await.is_empty());
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn what_a_fresh_boot_would_not_read_is_refused_a278() {
    let refused = async |chat: MockChat| {
        let chat = chat.mode(MockMode::Preload).try_start(&MockLanguageModel::new()).await;
        chat.unwrap_err().to_string()
    };
    let message = || UiMessage::user("u", "hi");

    insta::assert_snapshot!(refused(MockChat::new(plain()).seed_snapshot([message()])).await, @"the seeded snapshot would not be read: only a continuation reads what an earlier run has left");
    insta::assert_snapshot!(refused(MockChat::new(plain()).seed_session_in_tail([message()])).await, @"the seeded tail of `in` would not be read: only a continuation reads what an earlier run has left");
    let partial = UiMessage::assistant("a", vec![UiPart::Text(TextPart::default())]);
    insta::assert_snapshot!(refused(MockChat::new(plain()).seed_session_out_partial(partial)).await, @"the seeded tail of `out` would not be read: only a continuation reads what an earlier run has left");
}
