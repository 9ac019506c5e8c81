//! What a send waits for, and how it fails (A-265 … A-269).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use turnkeep_agent::{Agent, BeforeTurnComplete, Boot, Tool, TurnComplete, TurnInput, TurnStart};
use turnkeep_harness::model::{MockLanguageModel, call, cut, fail, say, stall, wait};
use turnkeep_harness::{At, MockChat, MockChatAgent, MockOutcome};
use turnkeep_protocol::run_api::RunOutcome;
use turnkeep_protocol::{ChatInputChunk, ChatTaskWirePayload, SESSION_IN_EVENT_ID, SeqNum, UiMessage};

use crate::support::*;

#[tokio::test(start_paused = true)]
async fn one_message_is_one_turn_with_its_chunks_and_records_aa2() {
    let model = MockLanguageModel::new().step([say("Hel"), say("lo")]);
    let mut chat = MockChatAgent::start(plain(), &model).await;

    let turn = chat.send("hi").await;

    turn.assert_text("Hello").assert_tools(&[]).assert_records(&[
        "start",
        "start-step",
        "text-start",
        "text-delta",
        "text-delta",
        "text-end",
        "finish-step",
        "finish",
        "turn-complete",
    ]);
    assert_eq!((turn.input(), turn.last_event_id()), (Some(SeqNum::ZERO), Some(SeqNum::new(8))));
    assert_eq!(turn.raw_chunks()[8].header(SESSION_IN_EVENT_ID), Some("0"));
    assert_eq!(chat.messages().iter().map(UiMessage::text).collect::<Vec<_>>(), ["hi", "Hello"]);
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn hooks_run_in_order_and_the_completion_tells_the_finish_reason_aa3_aa7() {
    let diary = Diary::default();
    let told = diary.clone();
    let agent = plain()
        .on_turn_start(noting::<TurnStart>(&diary, "start"))
        .on_before_turn_complete(noting::<BeforeTurnComplete>(&diary, "before"))
        .on_turn_complete(move |event: TurnComplete| {
            told.note(format!("complete({})", event.finish_reason.unwrap()));
            async { Ok(()) }
        });
    let model = MockLanguageModel::new().step([say("a")]);
    let mut chat = MockChatAgent::start(agent, &model).await;

    chat.send("hi").await;

    assert_eq!(diary.read(), "start before complete(stop)");
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn several_sends_are_several_turns_with_a_growing_history_aa4() {
    let model = MockLanguageModel::new().step([say("one")]).step([say("two")]);
    let mut chat = MockChatAgent::start(plain(), &model).await;

    chat.send("a").await;
    chat.send("b").await;

    model.assert_prompt(0).reads(&["user: a"]);
    model.assert_prompt(1).reads(&["user: a", "assistant: one", "user: b"]);
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn client_data_reaches_run_and_hooks_aa5() {
    let diary = Diary::default();
    let (in_boot, in_run) = (diary.clone(), diary.clone());
    let agent = Agent::new("plain", move |turn: TurnInput| {
        in_run.note(format!("run {}", turn.client_data));
        async move { Ok(turn.stream_text()) }
    })
    .on_boot(move |event: Boot| {
        in_boot.note(format!("boot {}", event.client_data));
        async { Ok(()) }
    });
    let model = MockLanguageModel::new().step([say("a")]);
    let mut chat = MockChat::new(agent).client_data(json!({ "user": 7 })).start(&model).await;

    chat.send("hi").await;

    assert_eq!(diary.read(), r#"boot {"user":7} run {"user":7}"#);
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn end_run_leaves_the_loop_after_the_turn_aa6() {
    let agent = Agent::new("plain", |turn: TurnInput| async move {
        turn.chat.end_run();
        Ok(turn.stream_text())
    });
    let model = MockLanguageModel::new().step([say("a")]).step([say("b")]);
    let mut chat = MockChatAgent::start(agent, &model).await;

    chat.send("hi").await;
    let first = chat.run_attempt();
    chat.send("again").await;

    assert_eq!(chat.outcome(), Some(MockOutcome::Ok));
    assert_ne!(chat.run_attempt(), first, "the second message has a run of its own");
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_send_waits_for_its_own_turn_whoever_else_talks_a265() {
    let model = MockLanguageModel::new()
        .step_when("mine", [wait(Duration::from_secs(5)), say("for me")])
        .step_when("theirs", [say("for them")]);
    let mut chat = MockChatAgent::start(plain(), &model).await;

    // Somebody else's message is first, and its turn ends first.
    let theirs = ChatTaskWirePayload::submit(chat.chat_id(), UiMessage::user("other", "theirs"));
    chat.append(ChatInputChunk::message(theirs)).await;
    let turn = chat.send("mine").await;

    assert_eq!(turn.text(), "for me");
    // Its records are its own too: its boundary is the one that covers its place on `in`.
    let boundary = turn.raw_chunks().last().unwrap();
    assert_eq!((turn.input(), boundary.header(SESSION_IN_EVENT_ID)), (Some(SeqNum::new(1)), Some("1")));
    assert_eq!(turn.last_event_id(), Some(boundary.seq_num));
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_send_waits_for_hooks_and_snapshot_unless_told_otherwise_a266() {
    let agent = plain().on_turn_complete(|_: TurnComplete| async move {
        tokio::time::sleep(Duration::from_secs(7)).await;
        Ok(())
    });
    let model = MockLanguageModel::new().step([say("a")]).step([say("b")]);
    let mut chat = MockChatAgent::start(agent, &model).await;
    let started = tokio::time::Instant::now();

    chat.send("one").completed().await;
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
    assert_eq!(chat.get_snapshot().await, None);

    chat.send("two").settled().await;
    assert_eq!(started.elapsed().as_secs(), 14);
    let saved = chat.get_snapshot().await.unwrap().messages;
    assert_eq!(saved.iter().map(UiMessage::text).collect::<Vec<_>>(), ["one", "a", "two", "b"]);
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_posted_input_can_be_waited_for_later_and_in_any_order_a266() {
    let model = MockLanguageModel::new().step([say("a")]).step([say("b")]);
    let mut chat = MockChatAgent::start(plain(), &model).await;

    let first = chat.send("one").begin().await;
    let second = chat.send("two").begin().await;
    let second = second.turn().await;

    assert_eq!(second.text(), "b");
    // The page follows one stream at a time: the second send took over, and the first turn is told from the records.
    let first = first.turn().await;
    assert_eq!((first.input(), first.text().as_str()), (Some(SeqNum::ZERO), "a"));
    assert_eq!(first.raw_chunks().last().unwrap().seq_num.get() + 1, second.raw_chunks()[0].seq_num.get());
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_throws_fails_the_send_with_its_outcome_a267() {
    let agent = plain().on_boot(|event: Boot| async move {
        if event.continuation { Ok(()) } else { Err("the database is down".into()) }
    });
    let model = MockLanguageModel::new().step([say("a")]);
    let mut chat = MockChatAgent::start(agent, &model).await;

    assert_eq!(chat.outcome(), Some(MockOutcome::Error("failed: on_boot failed: the database is down".to_owned())));
    // The run that follows answers.
    chat.send("hi").await.assert_text("a");
    let leaks = chat.try_finish().await.unwrap_err();
    redacted(
        || insta::assert_snapshot!(leaks, @"run [run] of chat test-chat ended: failed: on_boot failed: the database is down"),
    );
}

#[tokio::test(start_paused = true)]
async fn the_message_after_a_runs_last_turn_is_answered_by_the_next_run_a112_rc22() {
    const MAX_TURNS: usize = 100;
    let model = (0..=MAX_TURNS).fold(MockLanguageModel::new(), |model, turn| model.step([say(format!("a{turn}"))]));
    let mut chat = MockChatAgent::start(plain(), &model).await;
    let first = chat.run_attempt();

    for turn in 0..MAX_TURNS {
        chat.send("again").await.assert_text(&format!("a{turn}"));
    }
    assert_eq!(chat.run_attempt(), first);
    chat.send("once more").await.assert_text("a100");

    assert_ne!(chat.run_attempt(), first);
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_run_that_dies_in_a_turn_fails_the_send_with_place_and_records_a267() {
    let agent = Agent::new("plain", |turn: TurnInput| async move {
        let answer = turn.stream_text();
        if turn.turn == 1 { panic!("a bug") } else { Ok(answer) }
    })
    .on_turn_start(|event: TurnStart| async move {
        let progress = json!({ "type": "data-progress", "data": event.turn });
        event.writer.write(turnkeep_protocol::UiMessageChunk::from_value(progress).unwrap()).await?;
        Ok(())
    });
    let model = MockLanguageModel::new().step([say("a")]);
    let mut chat = MockChatAgent::start(agent, &model).await;
    chat.send("hi").await;

    let error = error_of(chat.send("And tomorrow?").try_wait().await);

    assert!(matches!(error.outcome(), Some(RunOutcome::Crashed { .. })), "{error}");
    redacted(|| {
        insta::assert_snapshot!(error, @r#"
        message 2 ("And tomorrow?") of chat test-chat was not answered: run [run], attempt 1, ended: crashed: panic: a bug
          the run was last at `before run`
          the turn so far: record 9 on `out`: data-progress
        "#)
    });
    chat.kill();
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "message 1 (\"hi\") of chat test-chat was not answered: it took longer than 1s")]
async fn a_send_that_takes_too_long_panics_with_the_input() {
    let model = MockLanguageModel::new().step([say("a"), stall()]);
    let mut chat = MockChatAgent::start(plain(), &model).await;

    chat.send("hi").within(Duration::from_secs(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_failed_turn_is_an_answer_with_an_error_not_a_failed_send_a151() {
    let model = MockLanguageModel::new().step([say("half"), fail("overloaded")]).step([say("a"), cut()]);
    let mut chat = MockChatAgent::start(plain(), &model).await;

    let failed = chat.send("one").await;
    let broken_off = chat.send("two").await;

    assert_eq!((failed.text().as_str(), failed.error().as_deref()), ("half", Some("overloaded")));
    assert_eq!(broken_off.error().as_deref(), Some("the model's answer broke off"));
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_is_not_as_wanted_names_itself_and_shows_the_difference() {
    let model = MockLanguageModel::new().step([say("Rain, 4 degrees.")]);
    let mut chat = MockChatAgent::start(plain(), &model).await;
    let turn = chat.send("What is it like in Oslo?").await;
    let panic_of = |check: &dyn Fn()| {
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(check)).expect_err("the check fails");
        panic.downcast_ref::<String>().cloned().unwrap()
    };

    redacted(|| {
        insta::assert_snapshot!(panic_of(&|| { turn.assert_text("Rain, 5 degrees."); }), @r#"message 1 ("What is it like in Oslo?") of chat test-chat, records 0–7 on `out`: the text differs: Rain, [-5-]{+4+} degrees."#);
        insta::assert_snapshot!(panic_of(&|| { turn.assert_tools(&["forecast"]); }), @r#"message 1 ("What is it like in Oslo?") of chat test-chat, records 0–7 on `out`: the tools differ: wanted ["forecast"], called were []"#);
        insta::assert_snapshot!(panic_of(&|| { turn.assert_records(&["start", "start-step", "text-delta"]); }), @r#"message 1 ("What is it like in Oslo?") of chat test-chat: record 2 is text-start, wanted text-delta: {"data":{"type":"text-start","id":"text-0"},"id":"tNjnNks"}"#);
        insta::assert_snapshot!(panic_of(&|| { turn.assert_records(&["start"]); }), @r#"message 1 ("What is it like in Oslo?") of chat test-chat: record 1 is one more: start-step; its records are ["start", "start-step", "text-start", "text-delta", "text-end", "finish-step", "finish", "turn-complete"]"#);
    });
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn regenerate_drops_the_answer_and_runs_again_aa12() {
    let model = MockLanguageModel::new().step([say("no")]).step([say("yes")]);
    let mut chat = MockChatAgent::start(plain(), &model).await;
    chat.send("hi").await;

    chat.send_regenerate().await.assert_text("yes");

    model.assert_prompt(1).reads(&["user: hi"]);
    assert_eq!(chat.messages().iter().map(UiMessage::text).collect::<Vec<_>>(), ["hi", "yes"]);
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_action_reaches_the_hook_and_ends_with_its_boundary_aa23_aa24() {
    let diary = Diary::default();
    let told = diary.clone();
    let agent = plain().on_action(move |action: turnkeep_agent::Action| {
        told.note(action.action["rate"].to_string());
        async move { Ok(()) }
    });
    let mut chat = MockChatAgent::start(agent, &MockLanguageModel::new()).await;

    let turn = chat.send_action(json!({ "rate": 5 })).await;

    assert_eq!(diary.read(), "5");
    turn.assert_records(&["turn-complete"]);
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_reaches_the_model_and_ends_the_turn_with_what_was_said_a273() {
    let model = MockLanguageModel::new().step([say("Once upon"), stall()]).step([say("Good bye.")]);
    let mut chat = MockChatAgent::start(plain(), &model).await;
    let barrier = chat.barrier(At::after_record("text-delta"));

    let posted = chat.send("Tell me a story").begin().await;
    barrier.reached().await;
    barrier.release();
    assert!(chat.send_stop().await);
    posted.turn().await;

    assert!(model.calls()[0].is_aborted(), "{:?}", model.calls()[0].end);
    let saved = chat.get_snapshot().await.unwrap().messages;
    assert_eq!(saved[1].text(), "Once upon");
    chat.send("bye").await.assert_text("Good bye.");
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn records_are_kept_with_their_places_though_the_channel_is_trimmed_a269_a270() {
    let model = MockLanguageModel::new().step([say("a")]).step([say("b")]).step([say("c")]);
    let mut chat = MockChatAgent::start(plain(), &model).await;

    for text in ["one", "two", "three"] {
        chat.send(text).await;
    }

    let raw = chat.all_raw_chunks();
    assert!(raw.iter().enumerate().all(|(at, record)| record.seq_num == SeqNum::new(at as u64)));
    assert!(raw.iter().any(|record| record.kind() == turnkeep_protocol::RecordKind::Command("trim")));
    assert_eq!(chat.all_chunks().iter().filter(|chunk| chunk.kind() == "text-delta").count(), 3);
    assert_eq!(chat.all_inputs().len(), 3);
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_may_give_its_reason_a142() {
    let model = MockLanguageModel::new().step([say("Once upon"), stall()]);
    let mut chat = MockChatAgent::start(plain(), &model).await;
    let barrier = chat.barrier(At::after_record("text-delta"));

    let posted = chat.send("Tell me a story").begin().await;
    barrier.reached().await;
    barrier.release();
    chat.send_stop_because("bedtime").await;
    let turn = posted.turn().await;

    let aborted = turn.chunks().into_iter().find(|chunk| chunk.kind() == "abort");
    let reason = serde_json::to_value(aborted.unwrap()).unwrap()["reason"].clone();
    assert_eq!(reason, Value::from("bedtime"));
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_goes_on_with_a_message_is_one_message_on_the_page_a205() {
    let ask = Tool::answered_by_client("ask", "Asks.", json!({ "type": "object" }));
    let agent = plain().tools([ask]);
    let model = MockLanguageModel::new().step([say("Well. "), call("ask", json!({}))]).step([say("Blue.")]);
    let mut chat = MockChatAgent::start(agent, &model).await;
    chat.send("hi").await.assert_text("Well. ").assert_tools(&["ask"]);

    let turn = chat.send_tool_output("ask", json!("blue")).await;

    turn.assert_text("Blue.").assert_tools(&[]);
    assert_eq!((turn.message().text().as_str(), turn.misfits()), ("Well. Blue.", &[][..]));
    assert_eq!(chat.messages().len(), 2);
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
#[should_panic(expected = "no call of ask in chat test-chat waits for its result")]
async fn a_result_for_a_call_that_nobody_made_fails_the_test() {
    let model = MockLanguageModel::new().step([say("Hello")]);
    let mut chat = MockChatAgent::start(plain(), &model).await;
    chat.send("hi").await;

    chat.send_tool_output("ask", json!("blue")).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_wished_before_a_send_holds_behind_it_and_its_crashes_are_known_a267() {
    let has_crashed = Arc::new(AtomicBool::new(false));
    let agent = plain().on_turn_start(move |_| {
        let is_first = !has_crashed.swap(true, Ordering::SeqCst);
        async move { if is_first { panic!("a bug") } else { Ok(()) } }
    });
    let model = MockLanguageModel::new().step([say("a")]);
    let mut chat = MockChatAgent::start(agent, &model).await;

    let posted = chat.send("hi").through_crashes().begin().await;

    posted.turn().await.assert_text("a");
    chat.finish().await;
}
