use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use turnkeep_protocol::run_api::Mark;
use turnkeep_protocol::{SeqNum, UiMessage, UiMessageChunk};

use crate::testing::*;
use crate::{Agent, Boot, ChatLocal, Error, HookError, LocalKey, OutOfMemory, TurnComplete, TurnInput, TurnStart};

fn entries(diary: &Diary) -> String {
    diary.lock().unwrap().join(" ")
}

/// An agent whose every hook notes its name.
fn diarist(diary: &Diary) -> Agent {
    macro_rules! noting {
        ($agent:expr, $($hook:ident),*) => {{
            let agent = $agent;
            $( let own = diary.clone();
            let agent = agent.$hook(move |_| { note(&own, stringify!($hook)); async { Ok(()) } }); )*
            agent
        }};
    }
    let own = diary.clone();
    let agent = talker().on_validate_messages(move |event| {
        note(&own, "on_validate_messages");
        async move { Ok(event.messages) }
    });
    let own = diary.clone();
    let agent = agent.prepare_messages(move |event| {
        note(&own, "prepare_messages");
        async move { Ok(event.messages) }
    });
    noting!(
        agent,
        on_boot,
        on_preload,
        on_chat_start,
        on_turn_start,
        on_before_turn_complete,
        on_turn_complete,
        on_chat_suspend,
        on_chat_resume
    )
}

async fn run(session: &Arc<FakeSession>, agent: Agent, payload: Value) -> Result<(), Error> {
    let lease = lease(session, 1, payload);
    serve(session, agent, FakeModel::echo(), lease).await
}

const TURN: &str = "on_turn_start prepare_messages on_before_turn_complete on_turn_complete";

#[tokio::test(start_paused = true)]
async fn hooks_run_in_the_order_of_the_turn_a42_aa3_aa47() {
    let session = Arc::new(FakeSession::default());
    let diary = Diary::default();
    let talk = async {
        session.until(|state| state.waits.len() == 1).await;
        session.say("a");
    };

    let (result, ()) = tokio::join!(run(&session, diarist(&diary), json!({ "trigger": "preload" })), talk);

    assert_eq!(result, Ok(()));
    let want = format!(
        "on_boot on_preload on_chat_suspend on_chat_resume on_validate_messages on_chat_start {TURN} on_chat_suspend"
    );
    assert_eq!(entries(&diary), want);
    assert_eq!(session.state().marks, [Mark::Preloaded, Mark::ChatStarted]);
}

#[tokio::test(start_paused = true)]
async fn once_per_chat_hooks_follow_their_markers_aa48_aa49_a77_a80_d45() {
    for payload in [json!({ "continuation": true, "previousRunId": "r" }), json!({ "trigger": "preload" })] {
        let session = Arc::new(FakeSession::default());
        session.state().marks = vec![Mark::ChatStarted, Mark::Preloaded];
        session.say("a");
        let diary = Diary::default();

        run(&session, diarist(&diary), payload).await.unwrap();

        assert_eq!(entries(&diary), format!("on_boot on_validate_messages {TURN} on_chat_suspend"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_chat_start_that_failed_runs_again_with_the_next_message_a103_af5() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    session.say("b");
    let diary = Diary::default();
    let own = diary.clone();
    let agent = talker().on_chat_start(move |_| {
        note(&own, "start");
        let n_starts = own.lock().unwrap().len();
        async move { if n_starts == 1 { Err("database is down".into()) } else { Ok(()) } }
    });

    run(&session, agent, json!({})).await.unwrap();

    assert_eq!(entries(&diary), "start start");
    assert_eq!(session.state().marks, [Mark::ChatStarted]);
    assert!(session.story().starts_with("error(database is down) done(0) start"));
    // The failed message is in the history all the same (AA-28, A-155).
    assert_eq!(session.saved_texts(), ["a", "b", "re b"]);
}

#[tokio::test(start_paused = true)]
async fn a_throw_before_the_merge_keeps_the_message_af3_aa28_a152() {
    // AA-27, S-199, C-237.
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let seen = Diary::default();
    let own = seen.clone();
    let agent = talker().on_validate_messages(|_| async { Err("too rude".into()) }).on_turn_complete(
        move |event: TurnComplete| {
            assert_eq!(
                (event.stopped, event.client_data.clone(), event.chat_access_token.as_str()),
                (false, Value::Null, "")
            );
            note(&own, format!("{} {}", event.error.unwrap(), event.new_ui_messages.len()));
            async { Ok(()) }
        },
    );

    run(&session, agent, json!({})).await.unwrap();

    assert_eq!((session.story().as_str(), entries(&seen).as_str()), ("error(too rude) done(0)", "too rude 1"));
    assert_eq!(session.saved_texts(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn a_throw_after_commit_keeps_the_answer_as_committed_aa31_a153() {
    // S-199.
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let agent = talker().on_before_turn_complete(|_| async { Err("no".into()) });

    run(&session, agent, json!({})).await.unwrap();

    assert_eq!(session.story(), "start start-step text-start re a text-end finish-step finish error(no) done(0)");
    assert_eq!(session.saved_texts(), ["a", "re a"]);
}

#[tokio::test(start_paused = true)]
async fn a_throw_in_turn_complete_writes_no_second_boundary_ar20_a110() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    session.say("b");

    run(&session, talker().on_turn_complete(|_| async { Err("no".into()) }), json!({})).await.unwrap();

    assert_eq!(session.state().boundaries(), [Some(SeqNum::ZERO), Some(SeqNum::new(1))]);
    assert!(!session.story().contains("error"));
    assert_eq!(session.saved_texts().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn a_message_after_a_throwing_turn_runs_once_ar12_aa36() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let agent = Agent::new("test", |turn: TurnInput| async move {
        if turn.turn == 0 { Err("no".into()) } else { Ok(turn.stream_text()) }
    });
    let talk = async {
        session.until_turns(1).await;
        session.say("b");
    };

    let (result, ()) = tokio::join!(run(&session, agent, json!({})), talk);

    assert_eq!(result, Ok(()));
    assert_eq!(session.story().matches("re b").count(), 1);
}

#[tokio::test(start_paused = true)]
async fn data_parts_of_hooks_join_the_answer_and_late_ones_too_a104_a189_aa34() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let agent = talker()
        .on_turn_start(|event| async move {
            event.writer.write(UiMessageChunk::data("plan", Some("1"), json!("old"))).await?;
            event.writer.write(UiMessageChunk::data("plan", Some("1"), json!("new"))).await?;
            event.writer.write(UiMessageChunk::transient_data("tick", json!(1))).await?;
            Ok(())
        })
        .on_before_turn_complete(|event| async move {
            assert_eq!(event.response_message.as_ref().unwrap().text(), "re a");
            event.writer.write(UiMessageChunk::data("cost", None, json!(3))).await?;
            Ok(())
        })
        .on_turn_complete(|event| async move {
            let kinds: Vec<_> =
                event.response_message.unwrap().parts.iter().map(|part| part.kind().into_owned()).collect();
            assert_eq!(kinds, ["step-start", "text", "data-plan", "data-cost"]);
            Ok(())
        });

    run(&session, agent, json!({})).await.unwrap();

    let want =
        "data-plan data-plan data-tick start start-step text-start re a text-end finish-step finish data-cost done(0)";
    assert_eq!(session.story(), want);
    let state = session.state();
    let plan = state.snapshot.as_ref().unwrap().messages[1].parts.iter().find_map(|part| part.as_data()).unwrap();
    assert_eq!(plan.data, json!("new"));
}

#[tokio::test(start_paused = true)]
async fn a_hooks_chunks_precede_its_error_a157_a190() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let agent = talker().on_turn_start(|event| async move {
        event.writer.write(UiMessageChunk::data("note", None, json!(1))).await?;
        Err("no".into())
    });

    run(&session, agent, json!({})).await.unwrap();

    assert_eq!(session.story(), "data-note start error(no) done(0)");
}

#[tokio::test(start_paused = true)]
async fn client_data_is_parsed_per_turn_and_invalid_data_fails_the_turn_a8_a9_aa5() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let agent = talker().client_data(|raw| if raw.is_null() { Err("who are you".into()) } else { Ok(raw) });

    run(&session, agent, json!({ "metadata": { "user": 1 } })).await.unwrap();

    assert_eq!(session.story(), "error(who are you) done(0)");
}

#[tokio::test(start_paused = true)]
async fn invalid_boot_data_sinks_a_fresh_run_and_no_continuation_a9_a10() {
    let diary = Diary::default();
    let agent = || {
        let own = diary.clone();
        talker().client_data(|raw| if raw == 1 { Err("bad".into()) } else { Ok(raw) }).on_boot(move |event| {
            note(&own, format!("{} {:?}", event.client_data, event.client_data_error));
            async { Ok(()) }
        })
    };
    let session = Arc::new(FakeSession::default());

    let fresh = run(&session, agent(), json!({ "trigger": "preload", "metadata": 1 })).await;
    let continued = run(&session, agent(), json!({ "continuation": true, "metadata": 1 })).await;
    let valid = run(&session, agent(), json!({ "continuation": true, "metadata": 2 })).await;

    assert_eq!(fresh.unwrap_err().to_string(), "on_boot failed: bad");
    assert_eq!((continued, valid), (Ok(()), Ok(())));
    assert_eq!(entries(&diary), "1 Some(\"bad\") 2 None", "the hook is told that the data is not what it demands");
}

#[tokio::test(start_paused = true)]
async fn a_failing_boot_or_preload_hook_fails_the_run_a75_a76() {
    let session = Arc::new(FakeSession::default());
    let boot = run(&session, talker().on_boot(|_| async { Err("no".into()) }), json!({})).await;
    let preload = run(&session, talker().on_preload(|_| async { Err("no".into()) }), json!({})).await;

    assert_eq!(boot.unwrap_err().to_string(), "on_boot failed: no");
    assert_eq!(preload.unwrap_err().to_string(), "on_preload failed: no");
    assert_eq!(session.state().marks, []);
}

#[tokio::test(start_paused = true)]
async fn out_of_memory_ends_the_attempt_without_a_word_a151_a200() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let agent = Agent::new("test", |_| async { Err::<(), HookError>(OutOfMemory.into()) });

    assert_eq!(run(&session, agent, json!({})).await, Err(Error::OutOfMemory));
    assert_eq!((session.story(), session.state().settled), (String::new(), None));
}

#[tokio::test(start_paused = true)]
async fn history_overrides_become_the_chain_at_the_end_of_their_hook_a180_a181_ar27() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    session.say("b");
    let agent = Agent::new("test", |turn: TurnInput| async move {
        if turn.turn == 0 {
            turn.chat.history().set(vec![]);
            return Err("no".into());
        }
        // The failed turn's override is gone; this turn's own is the base of its answer.
        assert_eq!(turn.chat.history().all().len(), 2);
        turn.chat.history().remove("a");
        Ok(turn.stream_text())
    });

    run(&session, agent, json!({})).await.unwrap();

    assert_eq!(session.saved_texts(), ["b", "re b"]);
}

#[tokio::test(start_paused = true)]
async fn deferred_work_is_awaited_before_the_turn_is_told_complete_but_not_for_ever_a177() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let diary = Diary::default();
    let (own, told) = (diary.clone(), diary.clone());
    let agent = talker()
        .on_turn_start(move |event| {
            let own = own.clone();
            async move {
                event.chat.defer(async move {
                    tokio::time::sleep(Duration::from_secs(1)).await;
                    note(&own, "stored");
                    Err("ignored".into())
                });
                event.chat.defer(async { panic!("ignored too") });
                event.chat.defer(futures::future::pending());
                Ok(())
            }
        })
        .on_before_turn_complete(move |_| {
            note(&told, "complete");
            async { Ok(()) }
        });

    run(&session, agent, json!({})).await.unwrap();

    assert_eq!(entries(&diary), "stored complete");
}

#[tokio::test(start_paused = true)]
async fn validation_may_change_the_message_a86() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let agent = talker()
        .on_validate_messages(|event| async move { Ok(vec![UiMessage::user(event.messages[0].id.clone(), "polite")]) });

    run(&session, agent, json!({})).await.unwrap();

    assert_eq!(session.saved_texts(), ["polite", "re polite"]);
}

#[tokio::test(start_paused = true)]
async fn usage_and_finish_reason_reach_the_completion_aa7_a101() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    session.say("b");
    let hooked = Diary::default();
    let agent = talker()
        .on_turn_start(noted(&hooked, "on_turn_start", |event: TurnStart| async move {
            assert_eq!(event.previous_turn_usage.is_some(), event.turn == 1);
            Ok(())
        }))
        .on_turn_complete(noted(&hooked, "on_turn_complete", |event: TurnComplete| async move {
            assert_eq!(event.finish_reason.unwrap().as_str(), "stop");
            assert_eq!(event.usage.unwrap().total_tokens, Some(3));
            assert_eq!(event.total_usage.total_tokens, Some(3 * (event.turn as u64 + 1)));
            assert_eq!(event.chat_access_token, "token");
            Ok(())
        }));

    run(&session, agent, json!({})).await.unwrap();

    assert_eq!(hooked.lock().unwrap().len(), 4);
    assert!(
        session.state().told.iter().any(|record| record.headers.iter().any(|header| header.0 == "public-access-token"))
    );
}

#[tokio::test(start_paused = true)]
async fn injected_locals_are_there_from_on_boot_to_run_and_fresh_in_every_run_aa8_a183() {
    static GREETING: LocalKey<String> = LocalKey::new("greeting");
    static COUNT: ChatLocal<u32> = ChatLocal::new("count");
    let session = Arc::new(FakeSession::default());
    session.say("a");
    session.say("b");
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = heard.clone();
    let agent = Agent::new("test", move |turn: TurnInput| {
        let hears = hears.clone();
        async move {
            let count = turn.chat.local(&COUNT);
            count.update(|count| *count += 1)?;
            let greeting = turn.chat.locals().get(&GREETING).expect("the test put it there");
            hears.lock().unwrap().push(format!("{greeting} {}", count.get()?));
            Ok(turn.stream_text())
        }
    })
    .on_boot(|event: Boot| async move {
        event.chat.local(&COUNT).init(10);
        Ok(())
    })
    .setup_locals(|locals| locals.set(&GREETING, "hello".to_owned()));

    for attempt in 1..=2 {
        let lease = lease(&session, attempt, json!({ "trigger": "submit-message" }));
        serve(&session, agent.clone(), FakeModel::echo(), lease).await.unwrap();
        session.say("c");
    }

    assert_eq!(*heard.lock().unwrap(), ["hello 11", "hello 12", "hello 11"]);
}

#[tokio::test(start_paused = true)]
async fn out_of_memory_ends_the_attempt_even_behind_a_stop_a151() {
    for acts in [false, true] {
        let session = Arc::new(FakeSession::default());
        if acts {
            session.send(action(json!(1)));
        } else {
            session.say("a");
        }
        let own = session.clone();
        let starve = move || {
            let session = own.clone();
            async move {
                session.send(stop());
                heard().await;
                Err::<(), HookError>(OutOfMemory.into())
            }
        };
        let starves = starve.clone();
        let agent = Agent::new("test", move |_| starve()).on_action(move |_| starves());

        assert_eq!(run(&session, agent, json!({})).await, Err(Error::OutOfMemory));
        assert_eq!(session.state().boundaries(), []);
    }
}

#[tokio::test(start_paused = true)]
async fn what_validation_drops_gets_its_boundary_and_is_nowhere_a86_d81() {
    let session = Arc::new(FakeSession::default());
    session.say("bad");
    session.say("good");
    let agent = talker().on_validate_messages(|event| async move {
        Ok(event.messages.into_iter().filter(|message| message.text() != "bad").collect())
    });

    run(&session, agent, json!({})).await.unwrap();

    assert_eq!(session.story(), "done(0) start start-step text-start re good text-end finish-step finish done(1)");
    assert_eq!(session.saved_texts(), ["good", "re good"]);
}

#[tokio::test(start_paused = true)]
async fn what_validation_puts_in_front_of_a_message_stands_there_a86_a137_d81() {
    let session = Arc::new(FakeSession::default());
    session.say("ask");
    let diary = Diary::default();
    let own = diary.clone();
    let agent = talker()
        .on_validate_messages(|event| async move {
            let mut messages = vec![UiMessage::user("note", "note"), UiMessage::user("", "nameless")];
            messages.extend(event.messages);
            Ok(messages)
        })
        .on_turn_complete(move |event| {
            note(&own, event.new_ui_messages.iter().map(UiMessage::text).collect::<Vec<_>>().join(","));
            async { Ok(()) }
        });

    run(&session, agent, json!({})).await.unwrap();

    assert_eq!(session.saved_texts(), ["note", "nameless", "ask", "re ask"]);
    assert_eq!(entries(&diary), "note,nameless,ask,re ask");
}
