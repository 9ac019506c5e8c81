//! Messages that come while a turn is answered.

use super::*;
use crate::answer::{StepChange, step_count_is};
use crate::compaction::Compaction;
use crate::event::CompactionCheck;
use crate::steering::PendingMessages;

/// Answers in steps, and notes the conversation behind each turn.
fn agent(gate: &WaitingTool, options: SessionOptions, told: &Diary) -> CustomAgent {
    let diary = told.clone();
    turns(options.tools([gate.tool()]), move |mut turn| {
        let diary = diary.clone();
        async move {
            let answer = turn.stream_text()?.stop_when(step_count_is(5));
            turn.complete(answer).await?;
            note(&diary, texts(turn.ui_messages()));
            Ok(())
        }
        .boxed()
    })
}

/// A model that calls the tool first, then answers with a count.
fn working(prompts: &Diary) -> Arc<FakeModel> {
    let prompts = prompts.clone();
    FakeModel::new(move |prompt| {
        let said: Vec<_> = prompt.messages.iter().map(|message| message.text()).collect();
        note(&prompts, said.join("|"));
        let n_calls = entries(&prompts).len();
        if n_calls == 1 { calls("c", "t", json!({})) } else { says(&format!("r{n_calls}")) }
    })
}

#[tokio::test(start_paused = true)]
async fn a_message_joins_the_answer_between_its_steps_and_is_served_with_it_a163_a166_a217() {
    let (session, gate, told, prompts) =
        (Arc::new(FakeSession::default()), WaitingTool::default(), Diary::default(), Diary::default());
    session.say("a");
    let talk = gate.during(|| {
        session.say("s");
        // The same message once more joins nothing: it is de-duplicated by its id.
        session.say("s");
    });

    let agent = agent(&gate, brief().pending_messages(always()), &told);
    tokio::join!(run(&session, agent, working(&prompts)), talk);

    let want = "start start-step tool-input-available tool-output-available finish-step data-pending-message-injected \
                start-step text-start r2 text-end finish-step finish done(1) done(2)";
    assert_eq!(session.story(), want, "one answer, whose boundary covers both");
    assert_eq!(entries(&told), ["a s r2"]);
    assert_eq!(entries(&prompts), ["a", "a|||s"]);
}

#[tokio::test(start_paused = true)]
async fn the_answer_has_the_mark_where_a_message_came_in_a164_a215() {
    let (session, gate) = (Arc::new(FakeSession::default()), WaitingTool::default());
    session.say("a");
    let tool = gate.tool();
    let kinds = Diary::default();
    let diary = kinds.clone();
    let agent = turns(brief().tools([tool]).pending_messages(always()), move |mut turn| {
        let diary = diary.clone();
        async move {
            let answer = turn.stream_text()?.stop_when(step_count_is(5));
            let response = turn.complete(answer).await?.response.expect("an answer");
            let value = serde_json::to_value(&response).expect("messages are JSON");
            let parts = value["parts"].as_array().cloned().unwrap_or_default();
            parts.iter().for_each(|part| note(&diary, part["type"].as_str().unwrap_or_default()));
            Ok(())
        }
        .boxed()
    });
    let talk = gate.during(|| {
        session.say("s");
    });

    tokio::join!(run(&session, agent, working(&Diary::default())), talk);

    assert_eq!(entries(&kinds), ["step-start", "tool-t", "data-pending-message-injected", "step-start", "text"]);
}

#[tokio::test(start_paused = true)]
async fn what_joins_no_answer_has_turns_of_its_own_and_is_not_served_again_a163_a217_d42() {
    let (session, gate, told, prompts) =
        (Arc::new(FakeSession::default()), WaitingTool::default(), Diary::default(), Diary::default());
    session.say("a");
    let talk = async {
        gate.during(|| {
            session.say("s1");
            session.say("s2");
        })
        .await;
        session.until_turns(1).await;
        // A client that owns its leftovers sends them again as one.
        session.send(submit(UiMessage::user("again", "s1\ns2")));
    };

    let agent = agent(&gate, brief().pending_messages(PendingMessages::new()), &told);
    tokio::join!(run(&session, agent, working(&prompts)), talk);

    assert_eq!(entries(&told), ["a r2", "a r2 s1 r3", "a r2 s1 r3 s2 r4"]);
    assert_eq!(boundaries(&session), [0, 1, 2, 3], "the re-send gets its boundary");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_heard_once_the_answer_is_over_whoever_still_prepares_steps_a216_a145() {
    let (session, told) = (Arc::new(FakeSession::default()), Diary::default());
    session.say("a");
    let (diary, said) = (told.clone(), session.clone());
    let received = told.clone();
    let pending = always().on_received(move |event| {
        note(&received, format!("received {}", event.message.id));
        async { Ok(()) }
    });
    let agent = turns(brief().pending_messages(pending), move |mut turn| {
        let (diary, said) = (diary.clone(), said.clone());
        async move {
            let prepare = turn.prepare_step();
            if turn.number == 0 {
                let answer = turn.stream_text()?;
                turn.complete(answer).await?;
                said.say("b");
                heard().await;
                let late = turn.stream_text()?.prepare_step(prepare);
                turn.chat.pipe(late, crate::pipe::PipeOptions::new()).await?;
                return Ok(());
            }
            note(&diary, format!("turn {}", texts(turn.ui_messages())));
            turn.done().await?;
            Ok(())
        }
        .boxed()
    });

    run(&session, agent, FakeModel::echo()).await;

    assert_eq!(entries(&told), ["turn a re a b"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_stopped_turn_has_heard_or_hears_later_is_a_turn_and_no_steering_a145_a217_ar22() {
    let (session, gate, told, prompts) =
        (Arc::new(FakeSession::default()), WaitingTool::default(), Diary::default(), Diary::default());
    session.say("a");
    let (diary, said) = (told.clone(), session.clone());
    let agent = turns(brief().tools([gate.tool()]).pending_messages(always()), move |mut turn| {
        let (diary, said) = (diary.clone(), said.clone());
        async move {
            let answer = turn.stream_text()?.stop_when(step_count_is(5));
            turn.complete(answer).await?;
            note(&diary, format!("{} {}", turn.stopped(), texts(turn.ui_messages())));
            if turn.number == 0 {
                // The turn is in its tail: nothing will look for messages any more.
                said.say("m");
                heard().await;
            }
            Ok(())
        }
        .boxed()
    });
    let talk = async {
        gate.begun.notified().await;
        session.say("s");
        heard().await;
        session.send(stop());
    };

    tokio::join!(run(&session, agent, working(&prompts)), talk);

    assert!(session.story().starts_with("start start-step tool-input-available abort(stopped) done(0) start "));
    assert!(!session.story().contains("injected"), "{}", session.story());
    assert_eq!(entries(&told), ["true a", "false a s r2", "false a s r2 m r3"]);
    assert_eq!(entries(&prompts).len(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_author_hears_of_a_message_while_the_answer_streams_a163() {
    let (session, gate, told) = (Arc::new(FakeSession::default()), WaitingTool::default(), Diary::default());
    session.say("a");
    let received = told.clone();
    let pending = PendingMessages::new().on_received(move |event| {
        note(&received, format!("received {} in {}", event.message.id, event.turn));
        async { Ok(()) }
    });
    let heard = told.clone();
    let talk = async {
        gate.during(|| {
            session.say("s");
        })
        .await;
        // The tool still runs: nothing was prepared since.
        assert_eq!(entries(&heard), ["received s in 0"]);
    };

    let agent = agent(&gate, brief().pending_messages(pending), &Diary::default());
    tokio::join!(run(&session, agent, working(&Diary::default())), talk);

    assert_eq!(entries(&told), ["received s in 0"]);
}

#[tokio::test(start_paused = true)]
async fn what_joined_an_answer_that_is_not_kept_has_a_turn_of_its_own_a166_a215() {
    let (session, gate, told, prompts) =
        (Arc::new(FakeSession::default()), WaitingTool::default(), Diary::default(), Diary::default());
    session.say("a");
    let diary = told.clone();
    let agent = turns(brief().tools([gate.tool()]).pending_messages(always()), move |mut turn| {
        let diary = diary.clone();
        async move {
            let answer = turn.stream_text()?.stop_when(step_count_is(5));
            if turn.number == 0 {
                // By hand, and then forgotten.
                turn.chat.pipe(answer, crate::pipe::PipeOptions::new()).await?;
                return Ok(());
            }
            turn.complete(answer).await?;
            note(&diary, texts(turn.ui_messages()));
            Ok(())
        }
        .boxed()
    });
    let talk = gate.during(|| {
        session.say("s");
    });

    tokio::join!(run(&session, agent, working(&prompts)), talk);

    assert_eq!(entries(&prompts), ["a", "a|||s", "a|s"]);
    assert_eq!(entries(&told), ["a s r3"]);
    assert_eq!(boundaries(&session), [1]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_reads_too_much_goes_on_from_a_summary_a167_a170_a215() {
    let (session, gate, told, prompts) =
        (Arc::new(FakeSession::default()), WaitingTool::default(), Diary::default(), Diary::default());
    session.say("a");
    session.say("b");
    let sums = Diary::default();
    let counted = sums.clone();
    let compaction = Compaction::new(
        |check: CompactionCheck| async move { Ok(check.turn == 0) },
        move |check: CompactionCheck| {
            note(&counted, format!("{:?}", check.source));
            async move { Ok("sum".to_owned()) }
        },
    );

    let agent = agent(&gate, brief().compaction(compaction), &told);
    tokio::join!(run(&session, agent, working(&prompts)), gate.during(|| {}));

    assert_eq!(entries(&sums), ["Inner"], "once a turn");
    let want = ["a", "sum", "[Conversation summary]\n\nsum|||r2|b"];
    assert_eq!(entries(&prompts), want);
    assert_eq!(entries(&told)[1], "a r2 b r3", "people still see all of it");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_comes_with_a_message_which_joins_is_taken_when_it_joins_a185_a163_d63() {
    let (session, gate, told) = (Arc::new(FakeSession::default()), WaitingTool::default(), Diary::default());
    session.say("a");
    let diary = told.clone();
    let agent = turns(brief().tools([gate.tool()]).pending_messages(always()), move |mut turn| {
        let diary = diary.clone();
        async move {
            let answer = turn.stream_text()?.stop_when(step_count_is(5));
            turn.complete(answer).await?;
            note(&diary, format!("{:?}", turn.chat.store().get()));
            Ok(())
        }
        .boxed()
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

    tokio::join!(run(&session, agent, working(&Diary::default())), talk);

    // The last word counts, and every reader is told.
    assert_eq!(entries(&told), [format!("{:?}", Some(json!({ "at": 2 })))]);
    assert_eq!(session.story().matches("store-snapshot").count(), 1, "{}", session.story());
    assert_eq!(boundaries(&session), [3]);
}

#[tokio::test(start_paused = true)]
async fn however_an_answer_is_made_its_steps_are_prepared_before_the_author_does_a167_a213() {
    for made in ["own step preparation", "the session's step preparation", "piped by hand"] {
        let (session, gate, told, prompts) =
            (Arc::new(FakeSession::default()), WaitingTool::default(), Diary::default(), Diary::default());
        session.say("a");
        let diary = told.clone();
        let options = brief().tools([gate.tool()]).pending_messages(always());
        let options =
            options.compaction(Compaction::new(
                |check: CompactionCheck| async move {
                    Ok(check.turn == 0 && check.source == crate::CompactionSource::Inner)
                },
                |_| async { Ok("sum".to_owned()) },
            ));
        let agent = turns(options, move |mut turn| {
            let diary = diary.clone();
            async move {
                let (answer, chat) = (turn.stream_text()?.stop_when(step_count_is(5)), turn.chat.clone());
                match made {
                    "own step preparation" => {
                        let seen = diary.clone();
                        let answer = answer.prepare_step(move |step| {
                            note(&seen, format!("step {} reads {}", step.step_number, step.messages.len()));
                            async { Ok(StepChange::none()) }
                        });
                        turn.complete(answer).await?;
                    }
                    "the session's step preparation" => {
                        let prepare = turn.prepare_step();
                        turn.complete(answer.prepare_step(prepare)).await?;
                    }
                    _ => {
                        let captured = chat.pipe_and_capture(answer, crate::PipeOptions::new()).await;
                        turn.add_response(captured.message.expect("an answer")).await?;
                        turn.done().await?;
                    }
                }
                note(&diary, texts(turn.ui_messages()));
                Ok(())
            }
            .boxed()
        });
        let talk = async {
            gate.during(|| {
                session.say("s");
            })
            .await;
            session.until_turns(1).await;
            session.say("b");
        };

        tokio::join!(run(&session, agent, working(&prompts)), talk);

        let later = "[Conversation summary]\n\nsum|||s|r2|b";
        assert_eq!(entries(&prompts), ["a", "sum|s", later], "{made}");
        let told = entries(&told);
        let turns: Vec<_> = told.iter().filter(|entry| !entry.starts_with("step")).collect();
        assert_eq!(turns, ["a s r2", "a s r2 b r3"], "{made}");
        let steps: Vec<_> = told.iter().filter(|entry| entry.starts_with("step")).collect();
        let want = ["step 0 reads 1", "step 1 reads 2", "step 0 reads 6"];
        assert_eq!(steps, if made == "own step preparation" { &want[..] } else { &[] }, "{made}");
        assert_eq!(boundaries(&session), [1, 2], "{made}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_answer_that_is_not_kept_told_the_model_unasked_stays_told_a176_a138() {
    let (session, prompts) = (Arc::new(FakeSession::default()), Diary::default());
    session.say("a");
    session.say("b");
    let agent = turns(brief(), |mut turn| {
        async move {
            if turn.number == 1 {
                return answer(turn).await;
            }
            turn.chat.inject([turnkeep_protocol::ModelMessage::user("psst")])?;
            let answer = turn.stream_text()?;
            turn.chat.pipe(answer, crate::PipeOptions::new()).await?;
            Ok(())
        }
        .boxed()
    });

    run(&session, agent, noting(&prompts)).await;

    assert_eq!(entries(&prompts), ["u:a u:psst", "u:a u:psst u:b"]);
}
