use std::sync::Arc;

use serde_json::{Value, json};
use turnkeep_protocol::{ModelMessage, SeqNum, UiMessage};

use super::inject::noting;
use crate::testing::*;
use crate::{
    Agent, Compaction, CompactionCheck, CompactionSource, PendingMessages, StepChange, Tool, TurnComplete, TurnInput,
    step_count_is,
};

async fn run(session: &Arc<FakeSession>, agent: Agent, model: Arc<FakeModel>) {
    let lease = lease(session, 1, json!({ "trigger": "preload" }));
    serve(session, agent, model, lease).await.expect("the run ends well");
}

/// An agent with a tool of its own and one that the person answers.
fn worker() -> Agent {
    Agent::new("test", |turn: TurnInput| async move {
        let here = Tool::new("t", "", json!({}), |_, _| async { Ok(json!(1)) });
        let ask = Tool::answered_by_client("ask", "", json!({}));
        Ok(turn.stream_text().tools([here, ask]).stop_when(step_count_is(5)))
    })
    .idle_timeout(std::time::Duration::from_secs(5))
}

/// Compacts whenever it is asked from a number of messages on.
fn from_messages(n_messages: usize) -> Compaction {
    Compaction::new(
        move |check: CompactionCheck| async move { Ok(check.messages.len() >= n_messages) },
        |check: CompactionCheck| async move { Ok(format!("sum of {}", check.messages.len())) },
    )
}

/// The statuses of the compactions, those of one id in one list; no message keeps any of them.
fn told(session: &FakeSession) -> Vec<Vec<String>> {
    let state = session.state();
    let chunks = state.told.iter().filter(|record| record.data["type"] == "data-compaction");
    let mut compactions: Vec<(Value, Vec<String>)> = Vec::new();
    for chunk in chunks.map(|record| &record.data) {
        assert_eq!(chunk["transient"], true);
        let status = chunk["data"]["status"].as_str().unwrap().to_owned();
        match compactions.last_mut().filter(|last| last.0 == chunk["id"]) {
            Some(last) => last.1.push(status),
            None => compactions.push((chunk["id"].clone(), vec![status])),
        }
    }
    compactions.into_iter().map(|(_, statuses)| statuses).collect()
}

const DONE: [&str; 2] = ["compacting", "complete"];
const GIVEN_UP: [&str; 2] = ["compacting", "failed"];

const SUMMED: &str = "a:[Conversation summary]\n\nsum of 2";

#[tokio::test(start_paused = true)]
async fn a_turn_that_cost_too_much_is_summed_up_at_its_end_a169_a171_a173() {
    let (session, diary, order) = (Arc::new(FakeSession::default()), Diary::default(), Diary::default());
    session.say("a");
    session.say("b");
    let (compacting, completing, deferring) = (order.clone(), order.clone(), order.clone());
    let agent = worker()
        .compaction(Compaction::above(2, |check: CompactionCheck| async move {
            assert_eq!((check.source, check.step_number), (CompactionSource::Outer, None));
            assert_eq!((check.input_tokens, check.output_tokens), (Some(1), Some(2)));
            Ok(format!("sum of {}", check.messages.len()))
        }))
        .on_turn_start(move |event| {
            let deferring = deferring.clone();
            event.chat.defer(async move {
                note(&deferring, "deferred");
                Ok(())
            });
            async { Ok(()) }
        })
        .on_compacted(move |event| {
            let texts: Vec<_> = event.messages.iter().map(ModelMessage::text).collect();
            note(&compacting, format!("{} of {} {:?}", event.summary, texts.join("+"), event.step_number));
            assert_eq!((event.message_count, event.total_tokens), (event.messages.len(), Some(3)));
            async { Ok(()) }
        })
        .on_before_turn_complete(move |_| {
            note(&completing, "before");
            async { Ok(()) }
        });

    run(&session, agent, noting(&diary, |call| says(&format!("r{call}")))).await;

    assert_eq!(entries(&diary), ["u:a".to_owned(), format!("{SUMMED} u:b")]);
    let first = ["deferred", "sum of 2 of a+r0 None", "before"];
    assert_eq!(entries(&order)[..3], first, "what the summary stands for is what was there before it");
    assert_eq!(told(&session), [DONE, DONE]);
    let want = "finish data-compaction data-compaction done(0)";
    assert!(session.story().contains(want), "{}", session.story());
    assert_eq!(session.saved_texts(), ["a", "r0", "b", "r1"], "people still see everything");
}

#[tokio::test(start_paused = true)]
async fn so_many_tokens_are_not_too_many_a170() {
    let (session, diary) = (Arc::new(FakeSession::default()), Diary::default());
    session.say("a");
    session.say("b");
    let agent = worker().compaction(Compaction::above(3, |_| async { Ok("never".to_owned()) }));

    run(&session, agent, noting(&diary, |call| says(&format!("r{call}")))).await;

    assert_eq!(entries(&diary)[1], "u:a a:r0 u:b");
    assert!(told(&session).is_empty());
}

#[tokio::test(start_paused = true)]
async fn between_steps_the_summary_replaces_what_came_before_once_an_answer_a170_a171_a172() {
    let (session, diary, reasons) = (Arc::new(FakeSession::default()), Diary::default(), Diary::default());
    session.say("a");
    session.say("b");
    let (preparing, compacting) = (reasons.clone(), reasons.clone());
    let agent = worker()
        .compaction(from_messages(3))
        .prepare_messages(move |event| {
            note(&preparing, event.reason);
            async move { Ok(event.messages) }
        })
        .on_compacted(move |event| {
            note(&compacting, format!("{:?} {:?}", event.source, event.step_number));
            async { Ok(()) }
        });
    let model = noting(&diary, |call| match call {
        0 | 1 => calls(&format!("c{call}"), "t", json!({})),
        _ => says(&format!("r{call}")),
    });

    run(&session, agent, model).await;

    let answer = "a:tool-call t:tool-result";
    let next_turn = format!("a:[Conversation summary]\n\nsum of 3 {answer} {answer} a:r2 u:b");
    assert_eq!(entries(&diary), ["u:a".to_owned(), "u:sum of 3".to_owned(), format!("u:sum of 3 {answer}"), next_turn]);
    let first = ["run", "Inner Some(0)", "compaction-result", "compaction-rebuild", "run"];
    assert_eq!(entries(&reasons)[..5], first, "once in the turn, its end included");
    let want = "tool-output-available finish-step data-compaction data-compaction start-step tool-input-available";
    assert!(session.story().contains(want), "no step of its own: {}", session.story());
    assert_eq!(told(&session)[0], DONE);
    assert_eq!(session.saved_texts(), ["a", "r2", "b", "r3"]);
}

#[tokio::test(start_paused = true)]
async fn a_summary_survives_the_turn_of_a_tool_answer_af10_a138() {
    let (session, diary) = (Arc::new(FakeSession::default()), Diary::default());
    session.say("a");
    let agent = worker().compaction(from_messages(3));
    let model = noting(&diary, |call| match call {
        0 => calls("c0", "t", json!({})),
        1 => calls("c1", "ask", json!({})),
        _ => says("thanks"),
    });
    let talk = async {
        session.until_turns(1).await;
        session.until(|state| state.snapshot.is_some()).await;
        let part = json!({ "type": "tool-ask", "toolCallId": "c1", "state": "output-available", "output": 2 });
        let answer = json!({ "id": session.saved_ids()[1], "role": "assistant", "parts": [part] });
        session.send(submit(serde_json::from_value(answer).unwrap()));
        session.until_turns(2).await;
    };

    let ((), ()) = tokio::join!(run(&session, agent, model), talk);

    let answer = "a:tool-call t:tool-result a:tool-call t:tool-result";
    assert_eq!(entries(&diary)[2], format!("a:[Conversation summary]\n\nsum of 3 {answer}"));
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_waits_for_a_person_is_not_summed_up_a173_a174() {
    let session = Arc::new(FakeSession::default());
    session.say("a");

    run(&session, worker().compaction(from_messages(1)), FakeModel::new(|_| calls("c1", "ask", json!({})))).await;

    assert!(told(&session).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_stopped_turn_is_not_summed_up_a173_a143() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    // Its first step has told what it cost, so only the stop keeps the summary away.
    let hooked = Diary::default();
    let agent = worker().compaction(from_messages(4)).on_turn_complete(noted(
        &hooked,
        "on_turn_complete",
        |event: TurnComplete| async move {
            assert!(event.stopped && event.usage.is_some());
            Ok(())
        },
    ));
    let model = FakeModel::new(|prompt| match prompt.step {
        0 => calls("c1", "t", json!({})),
        _ => [begins("half"), vec![Said::Silence]].concat(),
    });
    let talk = async {
        session.until(|state| state.out.len() == 8).await;
        session.send(stop());
    };

    let ((), ()) = tokio::join!(run(&session, agent, model), talk);

    assert_eq!(entries(&hooked).len(), 1);
    assert!(session.story().ends_with("half abort(stopped) done(1)"), "{}", session.story());
}

#[tokio::test(start_paused = true)]
async fn the_author_chooses_what_model_and_people_keep_and_the_history_shows_it_at_once_a172_a173() {
    let (session, diary, seen) = (Arc::new(FakeSession::default()), Diary::default(), Diary::default());
    session.say("a");
    session.say("b");
    let told = seen.clone();
    let compaction = from_messages(2)
        .compact_model_messages(|event| async move {
            let kept = event.model_messages.last().cloned().into_iter();
            Ok([ModelMessage::system(event.summary)].into_iter().chain(kept).collect())
        })
        .compact_ui_messages(|event| async move {
            let kept = event.ui_messages.last().cloned().into_iter();
            Ok([UiMessage::user("s", "shortened")].into_iter().chain(kept).collect())
        });
    let agent = worker().compaction(compaction).on_before_turn_complete(move |event| {
        let ids = event.chat.history().all().iter().map(UiMessage::text).collect::<Vec<_>>().join("+");
        note(&told, ids);
        async { Ok(()) }
    });

    run(&session, agent, noting(&diary, |call| says(&format!("r{call}")))).await;

    assert_eq!(entries(&seen)[0], "shortened+r0");
    assert_eq!(entries(&diary)[1], "s:sum of 2 a:r0 u:b");
}

#[tokio::test(start_paused = true)]
async fn a_failing_summary_costs_a_finished_answer_nothing_a175() {
    let (session, diary) = (Arc::new(FakeSession::default()), Diary::default());
    session.say("a");
    session.say("b");
    let agent = worker().compaction(Compaction::above(0, |_| async { Err("no words".into()) })).on_turn_complete(
        |event| async move {
            assert_eq!(
                (event.error.as_deref(), event.finish_reason.map(|reason| reason.as_str())),
                (None, Some("stop"))
            );
            Ok(())
        },
    );

    run(&session, agent, noting(&diary, |call| says(&format!("r{call}")))).await;

    assert_eq!(told(&session), [GIVEN_UP, GIVEN_UP]);
    assert_eq!(entries(&diary)[1], "u:a a:r0 u:b");
    assert_eq!(session.saved_texts(), ["a", "r0", "b", "r1"]);
}

#[tokio::test(start_paused = true)]
async fn a_failing_summary_between_steps_fails_the_answer_and_keeps_what_was_said_a175() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let agent = worker().compaction(Compaction::above(0, |_| async { Err("no words".into()) }));

    run(&session, agent, FakeModel::new(|_| calls("c1", "t", json!({})))).await;

    let want = "start start-step tool-input-available tool-output-available finish-step \
                data-compaction data-compaction error(no words) data-compaction data-compaction done(0)";
    assert_eq!(session.story(), want);
    assert_eq!(session.saved_ids().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_summary_and_leaves_none_under_way_a143_a171() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let agent = worker().compaction(Compaction::above(0, |_| futures::future::pending()));
    let talk = async {
        session.until(|state| state.out.len() == 6).await;
        session.send(stop());
    };

    let ((), ()) = tokio::join!(run(&session, agent, FakeModel::new(|_| calls("c1", "t", json!({})))), talk);

    let want = "start start-step tool-input-available tool-output-available finish-step \
                data-compaction data-compaction abort(stopped) done(1)";
    assert_eq!(session.story(), want);
    assert_eq!(told(&session), [GIVEN_UP]);
}

#[tokio::test(start_paused = true)]
async fn before_a_step_come_compaction_steering_injection_and_the_author_in_this_order_a167() {
    let (session, diary, seen) = (Arc::new(FakeSession::default()), Diary::default(), Diary::default());
    session.say("a");
    let (steering, preparing) = (session.clone(), seen.clone());
    let agent = Agent::new("test", move |turn: TurnInput| {
        let (session, seen) = (steering.clone(), preparing.clone());
        async move {
            let tool = Tool::new("t", "", json!({}), move |_, ctx: crate::ToolContext| {
                let session = session.clone();
                async move {
                    ctx.chat.inject([ModelMessage::user("injected")])?;
                    session.say("steered");
                    for _ in 0..100 {
                        tokio::task::yield_now().await;
                    }
                    Ok(json!(1))
                }
            });
            let author = move |step: crate::PrepareStep| {
                note(&seen, step.messages.iter().map(ModelMessage::text).collect::<Vec<_>>().join("+"));
                async { Ok(StepChange::none()) }
            };
            Ok(turn.stream_text().tools([tool]).stop_when(step_count_is(5)).prepare_step(author))
        }
    })
    .compaction(from_messages(3))
    .pending_messages(PendingMessages::new().should_inject(|_| async { Ok(true) }));
    let model = noting(&diary, |call| if call == 0 { calls("c1", "t", json!({})) } else { says("done") });

    run(&session, agent, model).await;

    assert_eq!(entries(&seen), ["a", "sum of 3+steered+injected"]);
    assert_eq!(entries(&diary)[1], "u:sum of 3 u:steered u:injected");
    assert_eq!(session.state().settled, Some(SeqNum::new(1)));
}
