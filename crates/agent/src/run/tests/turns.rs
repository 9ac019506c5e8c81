use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use turnkeep_model::{ModelError, StreamPart};
use turnkeep_protocol::{ChatInputChunk, ChatTaskWirePayload, SeqNum, Trigger, UiMessage, UiMessageChunk};

use crate::testing::*;
use crate::{Agent, Tool, ToolContext, TurnComplete, TurnInput, step_count_is};

const ANSWERED: &str = "start start-step text-start re hi text-end finish-step finish done(0)";

/// Serves a fresh run until it ends by itself, or dies for lack of anything to do.
async fn run(session: &Arc<FakeSession>, agent: Agent, model: Arc<FakeModel>) {
    let lease = lease(session, 1, json!({ "trigger": "submit-message" }));
    serve(session, agent, model, lease).await.expect("the run ends well");
}

#[tokio::test(start_paused = true)]
async fn one_message_is_one_turn_and_one_boundary_aa2_a105() {
    let session = Arc::new(FakeSession::default());
    session.say("hi");

    run(&session, talker(), FakeModel::echo()).await;

    assert_eq!(session.story(), ANSWERED);
    assert_eq!(session.saved_texts(), ["hi", "re hi"]);
    let snapshot = session.state().snapshot.clone().unwrap();
    assert_eq!((snapshot.last_in_event_id, snapshot.last_out_event_id), (Some(SeqNum::ZERO), Some(SeqNum::new(7))));
}

#[tokio::test(start_paused = true)]
async fn every_queued_message_gets_its_own_turn_in_order_ar13_aa4_aa133() {
    // S-199.
    let session = Arc::new(FakeSession::default());
    for text in ["a", "b", "c"] {
        session.say(text);
    }

    run(&session, talker(), FakeModel::echo()).await;

    assert_eq!(session.saved_texts(), ["a", "re a", "b", "re b", "c", "re c"]);
    // A queued message holds the cursor back: no boundary covers what is not answered (A-30, AR-5).
    assert_eq!(session.state().settled, Some(SeqNum::new(2)));
}

#[tokio::test(start_paused = true)]
async fn a_fresh_chat_reads_no_history_a42_af1() {
    // S-200.
    let session = Arc::new(FakeSession::default());
    session.say("hi");

    run(&session, talker(), FakeModel::echo()).await;

    assert_eq!(session.state().n_reads, 0);
}

#[tokio::test(start_paused = true)]
async fn old_turns_are_trimmed_once_their_snapshot_is_stored_a106() {
    let session = Arc::new(FakeSession::default());
    for text in ["a", "b", "c"] {
        session.say(text);
    }

    run(&session, talker(), FakeModel::echo()).await;

    let first = "done(1) start start-step text-start re c";
    assert!(session.readable().starts_with(first), "{}", session.readable());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_trimmed_that_no_snapshot_covers_ar41_a108() {
    let session = Arc::new(FakeSession::default());
    session.state().fails_snapshots = true;
    for text in ["a", "b", "c"] {
        session.say(text);
    }

    run(&session, talker(), FakeModel::echo()).await;

    assert_eq!(session.state().boundaries().len(), 3);
    assert!(session.readable().starts_with("start start-step text-start re a"));
}

#[tokio::test(start_paused = true)]
async fn tools_run_and_the_model_sees_their_results_a116_a118() {
    let session = Arc::new(FakeSession::default());
    session.say("hi");
    let model = FakeModel::new(|prompt| match prompt.step {
        0 => [calls("c1", "slow", json!({})), calls("c2", "fast", json!({}))]
            .concat()
            .into_iter()
            .enumerate()
            .filter(|(at, _)| *at != 1)
            .map(|(_, said)| said)
            .collect(),
        _ => {
            let results = prompt.messages.last().unwrap();
            says(&format!("{} results from {}", results.content.len(), results.role.as_str()))
        }
    });
    let tool = |name: &'static str, ms| {
        Tool::new(name, "", json!({}), move |_: Value, ctx: ToolContext| async move {
            tokio::time::sleep(Duration::from_millis(ms)).await;
            Ok(json!(ctx.tool_call_id))
        })
    };
    let agent = Agent::new("test", move |turn: TurnInput| {
        let tools = [tool("slow", 20), tool("fast", 10)];
        async move { Ok(turn.stream_text().tools(tools).stop_when(step_count_is(5))) }
    })
    .idle_timeout(Duration::ZERO);

    run(&session, agent, model).await;

    let want = "start start-step tool-input-available tool-input-available tool-output-available tool-output-available \
                finish-step start-step text-start 2 results from tool text-end finish-step finish done(0)";
    assert_eq!(session.story(), want);
}

#[tokio::test(start_paused = true)]
async fn without_a_stop_condition_there_is_one_step_a115() {
    let session = Arc::new(FakeSession::default());
    session.say("hi");
    let model = FakeModel::new(|_| calls("c1", "t", json!({})));
    let agent = Agent::new("test", |turn: TurnInput| async move {
        let tool = Tool::new("t", "", json!({}), |_, _| async { Ok(json!(1)) });
        Ok(turn.stream_text().tools([tool]))
    });

    run(&session, agent, model).await;

    assert_eq!(
        session.story(),
        "start start-step tool-input-available tool-output-available finish-step finish done(0)"
    );
}

#[tokio::test(start_paused = true)]
async fn unknown_tools_bad_inputs_and_failing_tools_are_told_to_the_model_a119() {
    let session = Arc::new(FakeSession::default());
    session.say("hi");
    let model = FakeModel::new(|prompt| match prompt.step {
        0 => calls("c1", "nobody", json!({})),
        1 => calls("c2", "t", json!({})),
        2 => calls("c3", "t", json!({ "x": 1 })),
        _ => says("well"),
    });
    let agent = Agent::new("test", |turn: TurnInput| async move {
        let schema = json!({ "type": "object", "required": ["x"] });
        let tool = Tool::new("t", "", schema, |_, _| async { Err("out of order".into()) });
        Ok(turn.stream_text().tools([tool]).stop_when(step_count_is(9)))
    });

    run(&session, agent, model).await;

    let want = "start start-step tool-input-error finish-step start-step tool-input-error finish-step \
                start-step tool-input-available tool-output-error finish-step \
                start-step text-start well text-end finish-step finish done(0)";
    assert_eq!(session.story(), want);
}

#[tokio::test(start_paused = true)]
async fn a_call_without_executor_waits_for_the_person_and_their_answer_continues_the_message_a117_a205_ar28() {
    let session = Arc::new(FakeSession::default());
    session.say("hi");
    let model = FakeModel::new(|prompt| match prompt.messages.last().unwrap().role.as_str() {
        "user" => calls("c1", "ask", json!({ "q": 1 })),
        _ => says("thanks"),
    });
    let agent = Agent::new("test", |turn: TurnInput| async move {
        let ask = Tool::answered_by_client("ask", "", json!({}));
        Ok(turn.stream_text().tools([ask]).stop_when(step_count_is(9)))
    });
    let talk = async {
        session.until_turns(1).await;
        session.until(|state| state.snapshot.is_some()).await;
        let id = session.saved_ids()[1].clone();
        let answer = json!({ "id": id, "role": "assistant", "parts": [{ "type": "tool-ask", "toolCallId": "c1", "state": "output-available", "output": 2 }] });
        session.send(submit(serde_json::from_value(answer).unwrap()));
        session.until_turns(2).await;
    };

    let (_, ()) = tokio::join!(run(&session, agent, model), talk);

    let state = session.state();
    let messages = &state.snapshot.as_ref().unwrap().messages;
    assert_eq!(messages.len(), 2, "the answer is no message of its own");
    let call = messages[1].tool_part("c1").unwrap();
    assert_eq!((call.input.clone(), call.output.clone()), (Some(json!({ "q": 1 })), Some(json!(2))));
    assert_eq!(messages[1].text(), "thanks");
}

#[tokio::test(start_paused = true)]
async fn a_stop_ends_the_answer_and_the_next_message_runs_a143_a145_ar22() {
    let session = Arc::new(FakeSession::default());
    session.say("long");
    let model = FakeModel::new(|prompt| match prompt.messages.len() {
        1 => [begins("Once"), vec![Said::Silence]].concat(),
        _ => says("sure"),
    });
    let talk = async {
        session.until(|state| state.out.len() == 4).await;
        session.send(stop());
        session.say("next");
    };

    let (_, ()) = tokio::join!(run(&session, talker(), model), talk);

    let want = "start start-step text-start Once abort(stopped) done(1) \
                start start-step text-start sure text-end finish-step finish done(2)";
    assert_eq!(session.story(), want);
    assert_eq!(session.saved_texts(), ["long", "Once", "next", "sure"]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_before_run_asks_no_model_a146() {
    let session = Arc::new(FakeSession::default());
    session.say("hi");
    let model = FakeModel::new(|_| panic!("the model must not be asked"));
    let stopper = session.clone();
    let hooked = Diary::default();
    let agent = talker()
        .on_turn_start(move |_| {
            let session = stopper.clone();
            async move {
                session.send(stop());
                tokio::time::sleep(Duration::from_millis(1)).await;
                Ok(())
            }
        })
        .on_turn_complete(noted(&hooked, "on_turn_complete", |event: TurnComplete| async move {
            assert!(event.stopped && event.response_message.is_none());
            Ok(())
        }));

    run(&session, agent, model).await;

    assert_eq!(entries(&hooked).len(), 1);
    assert_eq!(session.story(), "abort(stopped) done(1)");
    assert_eq!(session.saved_texts(), ["hi"]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_between_turns_has_no_effect_a27_a78() {
    let session = Arc::new(FakeSession::default());
    session.send(stop());
    session.say("hi");

    run(&session, talker(), FakeModel::echo()).await;

    assert_eq!(session.story(), ANSWERED.replace("done(0)", "done(1)"));
}

#[tokio::test(start_paused = true)]
async fn a_stop_drops_running_tools_a143() {
    let session = Arc::new(FakeSession::default());
    session.say("hi");
    let model = FakeModel::new(|_| calls("c1", "t", json!({})));
    let agent = Agent::new("test", |turn: TurnInput| async move {
        Ok(turn.stream_text().tools([Tool::new("t", "", json!({}), |_, _| futures::future::pending())]))
    });
    let talk = async {
        session.until(|state| state.out.len() == 3).await;
        session.send(stop());
    };

    let (_, ()) = tokio::join!(run(&session, agent, model), talk);

    assert_eq!(session.story(), "start start-step tool-input-available abort(stopped) done(1)");
    // Nobody can answer the call any more: nothing of the answer is left.
    assert_eq!(session.saved_texts(), ["hi"]);
}

#[tokio::test(start_paused = true)]
async fn regenerate_redoes_the_last_answer_a92_a148_aa12() {
    let session = Arc::new(FakeSession::default());
    session.say("hi");
    session.send(regenerate());

    run(&session, talker(), FakeModel::echo()).await;

    let state = session.state();
    assert_eq!(state.boundaries(), [Some(SeqNum::ZERO), Some(SeqNum::new(1))]);
    drop(state);
    assert_eq!(session.saved_texts(), ["hi", "re hi"]);
}

#[tokio::test(start_paused = true)]
async fn regenerate_with_nothing_to_redo_is_an_errored_turn_a92() {
    let session = Arc::new(FakeSession::default());
    session.send(regenerate());

    run(&session, talker(), FakeModel::echo()).await;

    assert_eq!(session.story(), "error(there is no message to regenerate an answer for) done(0)");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_answered_already_gets_an_empty_boundary_d42_a163() {
    let session = Arc::new(FakeSession::default());
    session.say("hi");
    session.say("hi");

    run(&session, talker(), FakeModel::echo()).await;

    assert_eq!(session.story(), format!("{ANSWERED} done(1)"));
    assert_eq!(session.state().warnings, [""; 0], "a re-send is nothing to warn of");
}

#[tokio::test(start_paused = true)]
async fn a_known_message_that_says_something_else_is_not_changed_and_warned_of_d80_d42() {
    // C-242: what a page says of a message it has sent before changes no history.
    let said = |text: &str| ChatTaskWirePayload::submit("chat", UiMessage::user("u-1", text));
    let session = Arc::new(FakeSession::default());
    session.send(ChatInputChunk::message(said("hi")));
    session.send(ChatInputChunk::message(said("bye")));

    run(&session, talker(), FakeModel::echo()).await;

    assert_eq!(session.story(), format!("{ANSWERED} done(1)"));
    assert_eq!(session.saved_texts(), ["hi", "re hi"]);
    let warnings = session.state().warnings.join("; ");
    assert!(warnings.contains("message u-1 is known and says something else now"), "{warnings}");
}

#[tokio::test(start_paused = true)]
async fn records_that_carry_nothing_run_no_model_a39_a81_a150_a161_af7() {
    let session = Arc::new(FakeSession::default());
    session.send(trigger(Trigger::Preload));
    session.send(trigger(Trigger::SubmitMessage));
    session.send(trigger(Trigger::Action));
    session.send(trigger(Trigger::HandoverPrepare));
    session.send(trigger(Trigger::Close));
    session.say("too late");
    let model = FakeModel::new(|_| panic!("the model must not be asked"));

    run(&session, talker(), model).await;

    assert_eq!(session.story(), "done(1) done(2) error(a head start needs a run of its own) done(3)");
    // The close is finished, what came after it is still owed.
    assert_eq!(session.state().settled, Some(SeqNum::new(4)));
}

#[tokio::test(start_paused = true)]
async fn a_failing_model_stream_keeps_the_partial_and_the_run_a158_aa29_aa30_af9() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    session.say("b");
    let model = FakeModel::new(|prompt| match prompt.messages.len() {
        1 => [begins("half"), vec![part(StreamPart::Error(ModelError::unavailable("overloaded")))]].concat(),
        _ => says(&prompt.messages.iter().map(|message| message.text()).collect::<Vec<_>>().join("|")),
    });
    let hooked = Diary::default();
    let agent = talker().on_turn_complete(noted(&hooked, "on_turn_complete", |event: TurnComplete| async move {
        if event.turn == 0 {
            assert_eq!(event.error.as_deref(), Some("overloaded"));
            assert_eq!(event.finish_reason.unwrap().as_str(), "error");
            assert_eq!(event.response_message.as_ref().unwrap().text(), "half");
        }
        Ok(())
    }));

    run(&session, agent, model).await;

    assert_eq!(entries(&hooked).len(), 2);
    let want = "start start-step text-start half error(overloaded) done(0) \
                start start-step text-start a|half|b text-end finish-step finish done(1)";
    assert_eq!(session.story(), want);
}

#[tokio::test(start_paused = true)]
async fn a_model_that_never_began_leaves_no_empty_message_a102_af9() {
    let session = Arc::new(FakeSession::default());
    session.say("hi");
    let model = FakeModel::new(|_| vec![Said::Refusal(ModelError::refused("no key"))]);

    run(&session, talker(), model).await;

    assert_eq!(session.story(), "start start-step error(no key) done(0)");
    assert_eq!(session.saved_texts(), ["hi"]);
}

#[tokio::test(start_paused = true)]
async fn a_chunk_too_large_is_an_errored_turn_and_what_was_written_stays_a17_aa164_af11() {
    let session = Arc::new(FakeSession::default());
    session.say("hi");
    let agent = Agent::new("test", |turn: TurnInput| async move {
        turn.writer.write(UiMessageChunk::data("small", None, json!(1))).await?;
        turn.writer.write(UiMessageChunk::data("large", None, json!("x".repeat(1_100_000)))).await?;
        Ok(())
    });

    run(&session, agent, FakeModel::echo()).await;

    let story = session.story();
    assert!(story.starts_with("data-small start error(data-large chunk of 1100"), "{story}");
    assert!(story.ends_with("exceeds the cap of 1047552 bytes) done(0)"), "{story}");
    // The small part is kept with the failed turn (AA-34).
    assert_eq!(session.saved_ids().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn max_turns_leaves_the_rest_untouched_a112() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    session.say("b");

    run(&session, talker().max_turns(1), FakeModel::echo()).await;

    assert_eq!(session.saved_texts(), ["a", "re a"]);
    assert_eq!(session.state().settled, Some(SeqNum::ZERO));
}

#[tokio::test(start_paused = true)]
async fn end_run_drains_what_is_queued_first_a111_a198_aa6() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    session.say("b");
    let agent = Agent::new("test", |turn: TurnInput| async move {
        turn.chat.end_run();
        Ok(turn.stream_text())
    });

    run(&session, agent, FakeModel::echo()).await;

    assert_eq!(session.saved_texts(), ["a", "re a", "b", "re b"]);
    assert!(session.state().waits.is_empty(), "the run ends without waiting");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_nothing_closes_the_turn_a99() {
    let session = Arc::new(FakeSession::default());
    session.send(submit(UiMessage::user("u", "hi")));

    run(&session, Agent::new("test", |_| async { Ok(()) }), FakeModel::echo()).await;

    assert_eq!(session.story(), "done(0)");
}
