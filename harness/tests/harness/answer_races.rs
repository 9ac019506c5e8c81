//! Races and faults around an answer: inputs that meet, late answers to tool calls, what is told after the turn (A Appendix A).

use std::time::Duration;

use serde_json::json;
use turnkeep_agent::{
    Action, Agent, Compaction, CompactionCheck, PendingMessageReceived, PendingMessages, Tool, ToolContext,
    TurnComplete, TurnInput, TurnStart, step_count_is,
};
use turnkeep_client::{Outcome, SendMessages};
use turnkeep_harness::model::{MockLanguageModel, MockTool, call, provider_metadata, say, wait};
use turnkeep_harness::{At, MockChatAgent, Restart};
use turnkeep_protocol::{
    ChatInputChunk, ChatTaskWirePayload, ModelMessage, Patch, SESSION_IN_EVENT_ID, SeqNum, UiMessage, UiMessageChunk,
};

use crate::support::*;

const SECOND: Duration = Duration::from_secs(1);

/// Answers in up to five steps with these tools.
fn working(tools: impl IntoIterator<Item = Tool>) -> Agent {
    Agent::new("plain", |turn: TurnInput| async move { Ok(turn.stream_text().stop_when(step_count_is(5))) })
        .tools(tools)
}

#[tokio::test(start_paused = true)]
async fn a_denied_call_is_not_revived_by_an_approval_that_comes_late_ar29_a202() {
    // 1 a call waits for a person, who says no: it is `output-denied`; 2 a record of an older tab comes late and says yes; 3 the denied tool must
    // not run, and the call stays denied.
    let refund = MockTool::new("refund").otherwise(json!("paid"));
    let model = MockLanguageModel::new().step([call("refund", json!({}))]).step([say("So be it.")]);
    let mut chat = MockChatAgent::start(working([refund.tool().needs_approval()]), &model).await;
    chat.send("Pay me back").await;
    let mut late = chat.messages()[1].clone();
    let id = late.pending_approvals().remove(0);
    late.add_tool_approval_response(&id, true, None);
    chat.send_tool_approval(false, None).await.assert_text("So be it.");

    chat.append(ChatInputChunk::message(ChatTaskWirePayload::submit("test-chat", late))).await;
    chat.suspend().await;

    assert_eq!(refund.calls(), []);
    let stored = chat.get_snapshot().await.unwrap().messages;
    let call = stored[1].tool_parts().next().unwrap();
    assert_eq!((call.state.as_str(), call.approval.as_ref().unwrap().approved), ("output-denied", Some(false)));
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_message_behind_an_action_is_shown_its_own_answer_ar43_a20() {
    // 1 an action is appended, and a message behind it, whose page reads; 2 the action's boundary arrives there, covering the action
    // alone; 3 the page must read on until the message's own boundary.
    let model = MockLanguageModel::new().step([say("a")]);
    let agent = plain().on_action(|_: Action| async { Ok(()) });
    let mut chat = MockChatAgent::start(agent, &model).await;
    let barrier = chat.barrier(At::before("on_action"));
    let action = chat.send_action(json!("undo")).begin().await;
    barrier.reached().await;
    let one = chat.send("one").begin().await;
    // The run has heard of the message before it closes the action.
    chat.advance(SECOND).await;

    barrier.release();

    one.turn().await.assert_text("a");
    action.turn().await.assert_text("");
    let boundaries = chat.all_raw_chunks().into_iter().filter(|record| record.is_turn_complete());
    let covered: Vec<_> =
        boundaries.filter_map(|record| record.header(SESSION_IN_EVENT_ID).map(str::to_owned)).collect();
    assert_eq!(covered, ["0", "1"]);
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_send_right_behind_a_boundary_reads_on_to_its_own_answer_ar42_c100() {
    // 1 the tail is turn 1's boundary; 2 the page sends and reads, and the run says nothing yet; 3 nobody may tell the page that there is
    // nothing more to come; 4 turn 2 is shown.
    let model = MockLanguageModel::new().step([say("a")]).step([say("b")]);
    let mut chat = MockChatAgent::start(plain(), &model).await;
    chat.send("one").await;
    let barrier = chat.barrier(At::before("run"));
    let two = SendMessages::submit([UiMessage::user("u-2", "two")]);
    let mut page = chat.transport().send_messages(chat.chat_id(), two).await.unwrap();
    barrier.reached().await;
    assert!(chat.all_raw_chunks().last().unwrap().is_turn_complete());

    let reading = async {
        let mut shown = String::new();
        while let Some(next) = page.next().await {
            if let UiMessageChunk::TextDelta(text) = next.unwrap().chunk {
                shown += &text.delta;
            }
        }
        (shown, page.outcome())
    };
    let later = async {
        chat.advance(SECOND * 3).await;
        barrier.release();
    };
    let ((shown, outcome), ()) = tokio::join!(reading, later);

    assert_eq!((shown.as_str(), outcome), ("b", Some(Outcome::Completed)));
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn what_was_deferred_after_a_turn_is_done_before_the_run_sleeps_ar40_a177() {
    // 1 `on_turn_complete` defers work that ends with an injection; 2 the idle time is over while it is under way; 3 the run must not sleep
    // yet; 4 the next turn reads what was injected.
    let agent = plain().idle_timeout(SECOND).on_turn_complete(|event: TurnComplete| async move {
        let chat = event.chat.clone();
        event.chat.defer(async move {
            tokio::time::sleep(SECOND * 3).await;
            Ok(chat.inject([ModelMessage::user("be brief")])?)
        });
        Ok(())
    });
    let model = MockLanguageModel::new().step([say("a")]).step([say("b")]);
    let mut chat = MockChatAgent::start(agent, &model).await;
    let barrier = chat.barrier(At::idle_end());
    chat.send("one").await;
    barrier.reached().await;
    barrier.release();

    chat.suspend().await;
    chat.resume("two").await.assert_text("b");

    model.assert_prompt(1).reads(&["user: one", "assistant: a", "user: two", "user: be brief"]);
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_rollback_of_a_turn_that_failed_does_not_take_the_next_message_away_ar27_a182() {
    // 1 `run` rolls the history back and throws, so that nobody takes the override up; 2 the next message is put behind the chain; 3 the look
    // after `on_turn_start` must not find the old override: the message stays.
    let diary = Diary::default();
    let seen = diary.clone();
    let agent = Agent::new("plain", |turn: TurnInput| async move {
        if turn.turn == 1 {
            turn.chat.history().rollback_to("user-1");
            return Err("no".into());
        }
        Ok(turn.stream_text())
    })
    .on_turn_start(noting::<TurnStart>(&diary, "start"))
    .on_turn_complete(move |event: TurnComplete| {
        seen.note(event.ui_messages.iter().map(UiMessage::text).collect::<Vec<_>>().join("-"));
        async { Ok(()) }
    });
    let model = MockLanguageModel::new().step([say("a")]).step([say("c")]);
    let mut chat = MockChatAgent::start(agent, &model).await;
    chat.send("one").await;
    assert_eq!(chat.send("two").await.error().as_deref(), Some("no"));

    chat.send("three").await.assert_text("c");

    model.assert_prompt(1).reads(&["user: one", "assistant: a", "user: two", "user: three"]);
    assert_eq!(diary.read(), "start one-a start one-a-two start one-a-two-three-c");
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_found_no_step_to_join_is_answered_though_nobody_sends_it_again_ar37_a163() {
    // 1 a message comes while the only step streams, and is heard for steering; 2 the model is through, there is no other step; 3 the next turn
    // begins; 4 the page is gone and sends nothing again: the message must have its turn.
    let diary = Diary::default();
    let steering = PendingMessages::new()
        .should_inject(|_| async { Ok(true) })
        .on_received(noting::<PendingMessageReceived>(&diary, "heard"));
    let model = MockLanguageModel::new().step([say("It "), wait(SECOND * 2), say("rains.")]).step([say("Take one.")]);
    let mut chat = MockChatAgent::start(working([]).pending_messages(steering), &model).await;
    let barrier = chat.barrier(At::before_record("finish"));
    let one = chat.send("What is it like?").begin().await;
    chat.advance(SECOND).await;
    let two = chat.send("An umbrella?").begin().await.input();
    barrier.reached().await;
    let heard = diary.read();
    barrier.release();

    one.turn().await.assert_text("It rains.");
    chat.suspend().await;

    assert_eq!((heard.as_str(), two.map(SeqNum::get)), ("heard", Some(1)));
    model.assert_prompt(1).last_user_text("An umbrella?");
    let stored: Vec<String> = chat.get_snapshot().await.unwrap().messages.iter().map(UiMessage::text).collect();
    assert_eq!(stored, ["What is it like?", "It rains.", "An umbrella?", "Take one."]);
    chat.finish().await;
}

/// Compacts once, between the first two steps of the first turn.
fn brief() -> Compaction {
    Compaction::new(
        |check: CompactionCheck| async move { Ok(check.turn == 0 && check.steps.len() == 1) },
        |_| async { Ok("in short".to_owned()) },
    )
}

#[tokio::test(start_paused = true)]
async fn a_tool_answer_rebuilds_the_models_history_with_summary_note_and_steering_af10_a138() {
    // 1 between two steps a message joins the answer, a tool leaves a note and the history is summed up; 2 the model asks the person through a
    // tool of the page, so the turn ends; 3 her answer changes the stored message, and the history is made anew; 4 the model must still read
    // summary, note and message.
    let model = MockLanguageModel::new()
        .step([call("work", json!({}))])
        .step([call("ask", json!({}))])
        .step([say("Well.")])
        .step([say("Still.")]);
    let work = Tool::new("work", "", json!({ "type": "object" }), |_, ctx: ToolContext| async move {
        tokio::time::sleep(SECOND * 2).await;
        ctx.chat.inject([ModelMessage::user("a note")])?;
        Ok(json!(1))
    });
    let ask = Tool::answered_by_client("ask", "", json!({ "type": "object" }));
    let steering = PendingMessages::new().should_inject(|_| async { Ok(true) });
    let agent = working([work, ask]).compaction(brief()).pending_messages(steering);
    let mut chat = MockChatAgent::start(agent, &model).await;
    let one = chat.send("one").begin().await;
    chat.advance(SECOND).await;
    let two = chat.send("two").begin().await;
    one.turn().await;
    two.turn().await;

    chat.send_tool_output("ask", json!("yes")).await.assert_text("Well.");
    chat.send("three").await.assert_text("Still.");

    for nth in 2..4 {
        let prompt = model.assert_prompt(nth);
        prompt.contains("in short").contains("a note").contains("two").lacks("one");
    }
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_patch_with_a_forbidden_key_fails_its_action_and_reaches_nobody_af12_a186() {
    // 1 the chat's store has a value; 2 an action brings a patch of which one path has a forbidden segment; 3 nothing of it may be kept or
    // told to a page that would assign it; 4 the next patch is taken.
    let diary = Diary::default();
    let told = diary.clone();
    let agent = plain().on_action(move |event: Action| {
        let diary = told.clone();
        async move {
            let store = event.chat.store();
            // The author either reads the patch of the client, or makes one with a path of the client.
            let patch = match event.action.as_str() {
                Some(path) => Ok(Patch::new().add(path, json!(1))),
                None => Patch::parse(event.action),
            };
            let patched = match patch {
                Ok(patch) => store.patch(patch).await.map_err(Into::into),
                Err(refused) => Err(refused.into()),
            };
            diary.note(store.get().unwrap_or_default().to_string());
            patched
        }
    });
    let add = |path: &str| json!({ "op": "add", "path": path, "value": 1 });
    let mut chat = MockChatAgent::start(agent, &MockLanguageModel::new()).await;
    chat.send_action(json!([{ "op": "add", "path": "", "value": { "a": 1 } }])).await;

    let forged = chat.send_action(json!([add("/b"), add("/a/__proto__/isAdmin")])).await;
    let forged_too = chat.send_action(json!("/constructor")).await;
    chat.send_action(json!([add("/c")])).await;

    for error in [forged.error(), forged_too.error()] {
        assert!(error.as_ref().is_some_and(|error| error.contains("forbidden")), "{error:?}");
    }
    let was = r#"{"a":1}"#;
    assert_eq!(diary.read(), format!(r#"{was} {was} {was} {{"a":1,"c":1}}"#));
    let written: String = chat.all_raw_chunks().into_iter().map(|record| record.body).collect();
    assert!(
        !written.contains("/b") && !written.contains("/constructor") && !written.contains(r#""constructor":"#),
        "{written}"
    );
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_item_id_of_the_provider_does_not_go_back_with_the_next_turn_nor_after_a_crash_af14_a102() {
    // 1 the provider streams a text with its item id; 2 the next turn sends the history to it; 3 the id must not be in it, for the provider has
    // forgotten it; 4 nor when the history was read from the snapshot.
    let ids = || provider_metadata(json!({ "openai": { "itemId": "msg_1", "phase": "final" } }));
    let model = MockLanguageModel::new().step([ids(), say("a")]).step([ids(), say("b")]).step([say("c")]);
    let mut chat = MockChatAgent::start(plain(), &model).await;
    chat.send("one").await;
    chat.send("two").await;
    chat.restart(Restart::Crash).await;
    chat.send("three").await;

    let stored = format!("{:?}", chat.get_snapshot().await.unwrap().messages[1]);
    assert!(stored.contains("msg_1"), "the page may want it: {stored}");
    for prompt in &model.prompts()[1..] {
        let sent = format!("{:?}", prompt.messages);
        assert!(sent.contains("phase") && !sent.contains("itemId"), "{sent}");
    }
    chat.finish().await;
}
