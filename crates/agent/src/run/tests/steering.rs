mod leftovers;

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use turnkeep_protocol::{
    ChatInputChunk, ChatTaskWirePayload, ModelMessage, SESSION_IN_EVENT_ID, SeqNum, Trigger, UiMessage,
};

use super::inject::{noting, sent};
use crate::testing::*;
use crate::{Agent, PendingMessages, PendingMessagesBatch, TurnInput, step_count_is};

fn agent(gate: &WaitingTool, options: PendingMessages) -> Agent {
    let tool = gate.tool();
    Agent::new("test", move |turn: TurnInput| {
        let tool = tool.clone();
        async move { Ok(turn.stream_text().tools([tool]).stop_when(step_count_is(5))) }
    })
    .pending_messages(options)
    .idle_timeout(std::time::Duration::from_secs(5))
}

/// A model that calls the tool in so many first steps of its life, then answers with a count.
fn working(diary: &Diary, n_calls: usize) -> Arc<FakeModel> {
    noting(
        diary,
        move |call| {
            if call < n_calls { calls(&format!("c{call}"), "t", json!({})) } else { says(&format!("r{call}")) }
        },
    )
}

async fn run(session: &Arc<FakeSession>, agent: Agent, model: Arc<FakeModel>) {
    let lease = lease(session, 1, json!({ "trigger": "preload" }));
    serve(session, agent, model, lease).await.expect("the run ends well");
}

/// The records of the injected parts: the ids that each names.
fn injected(session: &FakeSession) -> Vec<Value> {
    let state = session.state();
    let told = state.told.iter().filter(|record| record.data["type"] == "data-pending-message-injected");
    told.map(|record| record.data["data"]["messageIds"].clone()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_message_joins_the_answer_between_its_steps_and_is_served_with_it_a163_a164_a166_a168_ar24() {
    let (session, gate, diary) = (Arc::new(FakeSession::default()), WaitingTool::default(), Diary::default());
    session.say("a");
    let new = Diary::default();
    let told = new.clone();
    let agent = agent(&gate, always()).on_turn_complete(move |event| {
        let ids: Vec<_> = event.new_ui_messages.iter().map(|message| message.role.as_str()).collect();
        note(&told, format!("{} {}", ids.join("+"), event.new_messages.len()));
        async { Ok(()) }
    });
    let talk = gate.during(|| {
        session.say("s");
    });

    let ((), ()) = tokio::join!(run(&session, agent, working(&diary, 1)), talk);

    let want = "start start-step tool-input-available tool-output-available finish-step data-pending-message-injected \
                start-step text-start r1 text-end finish-step finish done(1)";
    assert_eq!(session.story(), want, "one message, one boundary, and its cursor covers both");
    assert_eq!(entries(&diary), ["u:a", "u:a a:tool-call t:tool-result u:s"]);
    assert_eq!(entries(&new), ["user+user+assistant 5"]);
    assert_eq!(session.saved_texts(), ["a", "s", "r1"]);
    let state = session.state();
    let part = &state.told[5].data;
    assert_eq!(part["data"], json!({ "messageIds": ["s"], "messages": [{ "id": "s", "text": "s" }] }));
    assert!(part["id"].as_str().is_some_and(|id| !id.is_empty()) && part["transient"].is_null(), "{part}");
    let response = state.snapshot.as_ref().unwrap().messages[2].clone();
    assert!(response.parts.iter().any(|part| part.as_data().is_some()), "the response tells where it was steered");
}

#[tokio::test(start_paused = true)]
async fn a_steered_message_keeps_its_place_for_the_model_in_later_turns_a138_a136() {
    let (session, gate, diary) = (Arc::new(FakeSession::default()), WaitingTool::default(), Diary::default());
    session.say("a");
    let talk = async {
        gate.during(|| {
            session.say("s");
        })
        .await;
        session.until_turns(1).await;
        session.say("b");
    };

    let ((), ()) = tokio::join!(run(&session, agent(&gate, always()), working(&diary, 1)), talk);

    assert_eq!(entries(&diary)[2], "u:a a:tool-call t:tool-result u:s a:r1 u:b");
}

#[tokio::test(start_paused = true)]
async fn all_that_wait_are_judged_as_one_before_every_step_a164_a165() {
    let (session, gate, diary) = (Arc::new(FakeSession::default()), WaitingTool::default(), Diary::default());
    session.say("a");
    let judged = Diary::default();
    let told = judged.clone();
    let options = PendingMessages::new().should_inject(move |batch: PendingMessagesBatch| {
        let ids: Vec<_> = batch.messages.iter().map(|message| message.id.as_str()).collect();
        let told_model = batch.model_messages.len();
        note(&told, format!("{} {:?} {} {told_model}", ids.join("+"), batch.step_number, batch.steps.len()));
        async move { Ok(batch.messages.len() == 2) }
    });
    let talk = async {
        for text in ["s1", "s2"] {
            gate.during(|| {
                session.say(text);
            })
            .await;
        }
    };

    let ((), ()) = tokio::join!(run(&session, agent(&gate, options), working(&diary, 2)), talk);

    assert_eq!(entries(&judged), ["s1 Some(0) 1 3", "s1+s2 Some(1) 2 5"]);
    assert_eq!(injected(&session), [json!(["s1", "s2"])]);
    assert_eq!(entries(&diary)[2], "u:a a:tool-call t:tool-result a:tool-call t:tool-result u:s1 u:s2");
    assert_eq!(session.state().boundaries(), [Some(SeqNum::new(2))]);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_arrives_during_the_judgement_is_neither_judged_nor_lost_ar25_a165() {
    let (session, gate, diary) = (Arc::new(FakeSession::default()), WaitingTool::default(), Diary::default());
    session.say("a");
    let late = session.clone();
    let options = PendingMessages::new().should_inject(move |batch: PendingMessagesBatch| {
        let session = late.clone();
        async move {
            if batch.messages[0].id == "m2" {
                session.say("m3");
                heard().await;
            }
            // The judgement is m2's alone, and m3 is not wanted.
            Ok(batch.messages.iter().all(|message| message.id == "m2"))
        }
    });
    let talk = gate.during(|| {
        session.say("m2");
    });

    let ((), ()) = tokio::join!(run(&session, agent(&gate, options), working(&diary, 1)), talk);

    assert_eq!(injected(&session), [json!(["m2"])]);
    assert_eq!(session.saved_texts(), ["a", "m2", "r1", "m3", "r2"]);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_comes_with_a_message_which_joins_is_taken_when_it_joins_a185_a163() {
    let (session, gate, diary) = (Arc::new(FakeSession::default()), WaitingTool::default(), Diary::default());
    session.say("a");
    let seen = Diary::default();
    let told = seen.clone();
    let agent = agent(&gate, always()).on_before_turn_complete(move |event| {
        note(&told, format!("{:?}", event.chat.store().get()));
        async { Ok(()) }
    });
    let steer = |text: &str, store| {
        let payload = ChatTaskWirePayload::submit("chat", UiMessage::user(text, text));
        session.send(ChatInputChunk::message(ChatTaskWirePayload { incoming_store: store, ..payload }));
    };
    let talk = gate.during(|| {
        steer("s1", Some(json!({ "at": 1 })));
        steer("s2", Some(json!({ "at": 2 })));
        steer("s3", None);
    });

    let ((), ()) = tokio::join!(run(&session, agent, working(&diary, 1)), talk);

    // The last word counts, every reader is told, and it is stored.
    assert_eq!(entries(&seen), [format!("{:?}", Some(json!({ "at": 2 })))]);
    assert_eq!(session.story().matches("store-snapshot").count(), 1, "{}", session.story());
    assert_eq!(session.state().snapshot.as_ref().unwrap().store, Some(json!({ "at": 2 })));
    assert_eq!(session.saved_texts(), ["a", "s1", "s2", "s3", "r1"]);
}

#[tokio::test(start_paused = true)]
async fn the_author_shapes_what_the_model_reads_and_hears_of_every_message_a163_a164() {
    let (session, gate, diary) = (Arc::new(FakeSession::default()), WaitingTool::default(), Diary::default());
    session.say("a");
    let (heard_of, joined) = (Diary::default(), Diary::default());
    let (hearing, joining) = (heard_of.clone(), joined.clone());
    let options = always()
        .prepare(|batch| async move {
            let texts: Vec<_> = batch.messages.iter().map(UiMessage::text).collect();
            Ok(vec![ModelMessage::system(format!("they add: {}", texts.join(", ")))])
        })
        .on_received(move |event| {
            note(&hearing, format!("{} {}", event.message.id, event.turn));
            // Its failure concerns nobody.
            async { Err("deaf".into()) }
        })
        .on_injected(move |event| {
            let texts: Vec<_> = event.injected_model_messages.iter().map(ModelMessage::text).collect();
            note(&joining, format!("{} {:?} {}", event.messages.len(), event.step_number, texts.join("|")));
            async { Err("dumb".into()) }
        });
    let told = heard_of.clone();
    let talk = async {
        gate.begun.notified().await;
        session.say("s1");
        session.say("s2");
        heard().await;
        assert_eq!(entries(&told), ["s1 0", "s2 0"], "while the tool still runs");
        gate.go_on.notify_one();
        session.until_turns(1).await;
        session.say("b");
    };

    let ((), ()) = tokio::join!(run(&session, agent(&gate, options), working(&diary, 1)), talk);

    assert_eq!(entries(&heard_of), ["s1 0", "s2 0"]);
    assert_eq!(entries(&joined), ["2 Some(0) they add: s1, s2"]);
    let steered = "u:a a:tool-call t:tool-result s:they add: s1, s2";
    assert_eq!(entries(&diary)[1..], [steered.to_owned(), format!("{steered} a:r1 u:b")]);
    assert_eq!(session.saved_texts(), ["a", "s1", "s2", "r1", "b", "r2"]);
}

#[tokio::test(start_paused = true)]
async fn what_arrives_in_the_hooks_joins_before_the_first_step_a164() {
    let (session, gate, diary) = (Arc::new(FakeSession::default()), WaitingTool::default(), Diary::default());
    session.say("a");
    let late = session.clone();
    let options = PendingMessages::new().should_inject(|batch| async move {
        assert_eq!((batch.step_number, batch.steps.len()), (None, 0));
        Ok(true)
    });
    let agent = agent(&gate, options).on_turn_start(move |event| {
        let session = late.clone();
        async move {
            if event.turn == 0 {
                session.say("s");
                heard().await;
            }
            Ok(())
        }
    });

    run(&session, agent, working(&diary, 0)).await;

    let want = "start data-pending-message-injected start-step text-start r0 text-end finish-step finish done(1)";
    assert_eq!(session.story(), want);
    assert_eq!(entries(&diary), ["u:a u:s"]);
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_fails_after_the_message_joined_has_served_it_a166_a155() {
    let (session, gate, diary) = (Arc::new(FakeSession::default()), WaitingTool::default(), Diary::default());
    session.say("a");
    let agent = agent(&gate, always()).on_before_turn_complete(|_| async { Err("late".into()) });
    let talk = gate.during(|| {
        session.say("s");
    });

    let ((), ()) = tokio::join!(run(&session, agent, working(&diary, 1)), talk);

    assert!(session.story().ends_with("finish error(late) done(1)"), "{}", session.story());
    assert_eq!(session.saved_texts(), ["a", "s", "r1"]);
}

#[tokio::test(start_paused = true)]
async fn a_turn_whose_chunk_is_too_large_keeps_what_joined_it_a166_a153() {
    let (session, gate, diary) = (Arc::new(FakeSession::default()), WaitingTool::default(), Diary::default());
    session.say("a");
    let model = noting(&diary, |call| match call {
        0 => calls("c0", "t", json!({})),
        1 => says(&"x".repeat(1_100_000)),
        _ => says("well"),
    });
    let talk = async {
        gate.during(|| {
            session.say("s");
        })
        .await;
        session.until_turns(1).await;
        session.say("b");
    };

    let ((), ()) = tokio::join!(run(&session, agent(&gate, always()), model), talk);

    assert_eq!(session.saved_texts(), ["a", "s", "", "b", "well"]);
    assert_eq!(entries(&diary)[2], "u:a a:tool-call t:tool-result u:s u:b");
}

#[tokio::test(start_paused = true)]
async fn a_text_too_large_to_be_repeated_is_told_by_its_id_a164_a17() {
    let (session, gate, diary) = (Arc::new(FakeSession::default()), WaitingTool::default(), Diary::default());
    session.say("a");
    let talk = gate.during(|| {
        session.send(submit(UiMessage::user("s", "x".repeat(1_047_500))));
    });

    let ((), ()) = tokio::join!(run(&session, agent(&gate, always()), working(&diary, 1)), talk);

    assert_eq!(injected(&session), [json!(["s"])]);
    assert_eq!(session.state().boundaries(), [Some(SeqNum::new(1))]);
}

#[tokio::test(start_paused = true)]
async fn a_crash_after_any_write_answers_what_joined_once_aa166_a166_d31() {
    for n_writes in 0..16 {
        let (session, gate, diary) = (Arc::new(FakeSession::default()), WaitingTool::default(), Diary::default());
        session.say("a");
        session.state().writes_left = Some(n_writes);
        let options = always;
        let first = lease(&session, 1, json!({}));
        let model = FakeModel::new(|prompt| match prompt.messages.last().unwrap().role.as_str() {
            "user" if !sent(prompt).contains("tool-result") => calls("c", "t", json!({})),
            _ => says("re"),
        });
        let talk = gate.during(|| {
            session.say("s");
        });
        tokio::select! {
            biased;
            (result, ()) = futures::future::join(serve(&session, agent(&gate, options()), model, first), talk) =>
                result.expect("the run ends well"),
            () = session.until(|state| state.is_dead) => {}
        }
        // Whatever the first attempt has seen of it, the message is there for the second.
        if session.state().input.len() == 1 {
            session.say("s");
        }
        session.revive();
        let second = lease(&session, 2, json!({}));
        let recovered = serve(&session, agent(&gate, options()), working(&diary, 0), second);
        recovered.await.expect("the recovered run ends well");

        check_served(&session, n_writes);
    }
}

/// Each message is in the history once, in order, and answered; nothing is owed; no message was answered by two whole answers.
fn check_served(session: &FakeSession, n_writes: usize) {
    let ids = session.saved_ids();
    let asked: Vec<_> = ids.iter().filter(|id| id.len() == 1).collect();
    assert_eq!(asked, ["a", "s"], "after {n_writes} writes: {} {ids:?}", session.story());
    assert!(ids.last().unwrap().len() > 1, "after {n_writes} writes: {ids:?}");
    let state = session.state();
    assert_eq!(state.settled, Some(SeqNum::new(1)), "after {n_writes} writes");
    let last = state.told.iter().rfind(|record| record.headers.iter().any(|header| header.0 == SESSION_IN_EVENT_ID));
    assert!(last.is_some(), "after {n_writes} writes");
    let n_joined = state.told.iter().filter(|record| record.data["type"] == "data-pending-message-injected").count();
    assert!(n_joined <= 2, "after {n_writes} writes");
}
