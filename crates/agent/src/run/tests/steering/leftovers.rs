//! What does not join an answer has a turn of its own, in order, and nothing runs twice.

use super::*;

#[tokio::test(start_paused = true)]
async fn what_did_not_join_runs_in_order_under_its_own_id_and_metadata_ar37_a163_d15_aa133() {
    // SR-41.
    for options in [PendingMessages::new(), PendingMessages::new().should_inject(|_| async { Ok(false) })] {
        let (session, gate, diary) = (Arc::new(FakeSession::default()), WaitingTool::default(), Diary::default());
        session.say("a");
        let seen = Diary::default();
        let told = seen.clone();
        let agent = agent(&gate, options).on_turn_start(move |event| {
            note(&told, event.client_data.to_string());
            async { Ok(()) }
        });
        let talk = gate.during(|| {
            let payload = ChatTaskWirePayload::submit("chat", UiMessage::user("s1", "s1"));
            session.send(ChatInputChunk::message(ChatTaskWirePayload { metadata: Some(json!("mine")), ..payload }));
            session.say("s2");
        });

        let ((), ()) = tokio::join!(run(&session, agent, working(&diary, 1)), talk);

        assert_eq!(injected(&session), [] as [Value; 0]);
        assert_eq!(session.saved_texts(), ["a", "r1", "s1", "r2", "s2", "r3"]);
        assert_eq!(session.saved_ids()[2], "s1");
        assert_eq!(entries(&seen), ["null", r#""mine""#, "null"]);
        // No boundary covers what is not answered (A-30, AR-5).
        assert_eq!(session.state().boundaries(), [0, 1, 2].map(|seq| Some(SeqNum::new(seq))));
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_failed_turn_has_heard_runs_once_and_steers_nothing_ar12_a85_a163() {
    let (session, gate, diary) = (Arc::new(FakeSession::default()), WaitingTool::default(), Diary::default());
    session.say("a");
    // Heard while the tool runs, and wanted by no step of that turn, which then fails.
    let options = PendingMessages::new().should_inject(|batch| async move { Ok(batch.turn > 0) });
    let agent = agent(&gate, options)
        .on_before_turn_complete(|event| async move { if event.turn == 0 { Err("no".into()) } else { Ok(()) } });
    let talk = gate.during(|| {
        session.say("m");
    });

    let ((), ()) = tokio::join!(run(&session, agent, working(&diary, 1)), talk);

    assert_eq!(injected(&session), [] as [Value; 0]);
    assert_eq!(session.saved_texts(), ["a", "r1", "m", "r2"]);
    assert_eq!(entries(&diary).last().unwrap().matches("u:m").count(), 1, "{:?}", entries(&diary));
}

#[tokio::test(start_paused = true)]
async fn a_listener_that_fails_takes_nothing_and_deafens_no_other_s150() {
    let (session, gate, diary) = (Arc::new(FakeSession::default()), WaitingTool::default(), Diary::default());
    session.say("a");
    let heard_of = Diary::default();
    let hearing = heard_of.clone();
    let options = PendingMessages::new().on_received(move |event| {
        note(&hearing, event.message.id);
        async { Err("deaf".into()) }
    });
    let talk = gate.during(|| {
        session.say("s1");
        session.say("s2");
    });

    let ((), ()) = tokio::join!(run(&session, agent(&gate, options), working(&diary, 1)), talk);

    assert_eq!(entries(&heard_of), ["s1", "s2"]);
    assert_eq!(session.saved_texts(), ["a", "r1", "s1", "r2", "s2", "r3"]);
}

#[tokio::test(start_paused = true)]
async fn prepared_to_nothing_a_message_waits_for_its_own_turn_a164() {
    let (session, gate, diary) = (Arc::new(FakeSession::default()), WaitingTool::default(), Diary::default());
    session.say("a");
    let options = always().prepare(|_| async { Ok(Vec::new()) });
    let talk = gate.during(|| {
        session.say("s");
    });

    let ((), ()) = tokio::join!(run(&session, agent(&gate, options), working(&diary, 1)), talk);

    assert_eq!(session.saved_texts(), ["a", "r1", "s", "r2"]);
}

#[tokio::test(start_paused = true)]
async fn what_waited_before_the_turn_keeps_its_own_turn_a83_aa133() {
    let (session, gate, diary) = (Arc::new(FakeSession::default()), WaitingTool::default(), Diary::default());
    for text in ["a", "b", "c"] {
        session.say(text);
    }

    run(&session, agent(&gate, always()), working(&diary, 0)).await;

    assert_eq!(injected(&session), [] as [Value; 0]);
    assert_eq!(session.saved_texts(), ["a", "r0", "b", "r1", "c", "r2"]);
}

#[tokio::test(start_paused = true)]
async fn a_message_after_a_stop_is_a_turn_and_no_steering_ar22_a145() {
    let (session, gate, diary) = (Arc::new(FakeSession::default()), WaitingTool::default(), Diary::default());
    session.say("a");
    let agent = agent(&gate, always()).on_before_turn_complete({
        let session = session.clone();
        move |event| {
            let session = session.clone();
            async move {
                // The stream has ended, the turn is in its tail: nothing will look for messages any more.
                if event.turn == 0 {
                    session.say("m");
                    heard().await;
                }
                Ok(())
            }
        }
    });
    let talk = async {
        gate.begun.notified().await;
        session.say("heard before");
        heard().await;
        session.send(stop());
    };

    let ((), ()) = tokio::join!(run(&session, agent, working(&diary, 1)), talk);

    assert_eq!(injected(&session), [] as [Value; 0]);
    assert!(session.story().starts_with("start start-step tool-input-available abort(stopped) done(0)"));
    assert_eq!(session.saved_texts(), ["a", "heard before", "r1", "m", "r2"]);
    assert_eq!(session.state().settled, Some(SeqNum::new(3)));
}

#[tokio::test(start_paused = true)]
async fn a_stop_during_the_judgement_leaves_the_message_to_its_own_turn_a145_a165() {
    let (session, gate, diary) = (Arc::new(FakeSession::default()), WaitingTool::default(), Diary::default());
    session.say("a");
    let stopper = session.clone();
    let options = PendingMessages::new().should_inject(move |_| {
        stopper.send(stop());
        futures::future::pending()
    });
    let talk = gate.during(|| {
        session.say("m");
    });

    let ((), ()) = tokio::join!(run(&session, agent(&gate, options), working(&diary, 1)), talk);

    assert_eq!(session.saved_texts(), ["a", "", "m", "r1"]);
}

#[tokio::test(start_paused = true)]
async fn records_of_other_kinds_wait_in_their_order_and_hold_the_cursor_ar5_a163_a30() {
    let (session, gate, diary) = (Arc::new(FakeSession::default()), WaitingTool::default(), Diary::default());
    session.say("a");
    let talk = gate.during(|| {
        session.send(trigger(Trigger::Action));
        session.say("s");
        session.send(regenerate());
        session.send(trigger(Trigger::Close));
    });

    let ((), ()) = tokio::join!(run(&session, agent(&gate, always()), working(&diary, 1)), talk);

    // The action waits below the message that joined, so the turn's boundary covers neither; then each in its turn, then the end.
    assert_eq!(injected(&session), [json!(["s"])]);
    assert_eq!(session.state().boundaries(), [0, 2, 3].map(|seq| Some(SeqNum::new(seq))));
    assert_eq!(session.state().settled, Some(SeqNum::new(4)));
    assert_eq!(session.saved_texts(), ["a", "s", "r2"]);
}

#[tokio::test(start_paused = true)]
async fn a_judgement_that_fails_fails_the_answer_and_the_message_keeps_its_turn_a165() {
    let (session, gate, diary) = (Arc::new(FakeSession::default()), WaitingTool::default(), Diary::default());
    session.say("a");
    let options = PendingMessages::new().should_inject(|_| async { Err("no judge".into()) });
    let talk = gate.during(|| {
        session.say("m");
    });

    let ((), ()) = tokio::join!(run(&session, agent(&gate, options), working(&diary, 1)), talk);

    let want = "start start-step tool-input-available tool-output-available finish-step error(no judge) done(0) \
                start start-step text-start r1 text-end finish-step finish done(1)";
    assert_eq!(session.story(), want);
}

#[tokio::test(start_paused = true)]
async fn a_message_sent_twice_joins_once_and_its_copy_gets_an_empty_boundary_d42_a163() {
    let (session, gate, diary) = (Arc::new(FakeSession::default()), WaitingTool::default(), Diary::default());
    session.say("a");
    let talk = gate.during(|| {
        for text in ["s", "s", "a"] {
            session.say(text);
        }
    });

    let ((), ()) = tokio::join!(run(&session, agent(&gate, always()), working(&diary, 1)), talk);

    assert_eq!(injected(&session), [json!(["s"])]);
    assert!(session.story().ends_with("finish done(1) done(2) done(3)"), "{}", session.story());
    assert_eq!(session.saved_texts(), ["a", "s", "r1"]);
}

#[tokio::test(start_paused = true)]
async fn leftovers_that_a_client_sends_again_as_one_message_run_once_d42_d15() {
    let (session, gate, diary) = (Arc::new(FakeSession::default()), WaitingTool::default(), Diary::default());
    session.say("a");
    let again = session.clone();
    let options = PendingMessages::new().should_inject(|_| async { Ok(false) });
    let agent = agent(&gate, options).on_turn_complete(move |event| {
        if event.turn == 0 {
            again.send(submit(UiMessage::user("joined", "s1\ns2")));
        }
        async { Ok(()) }
    });
    let talk = async {
        gate.during(|| {
            session.say("s1");
            session.say("s2");
        })
        .await;
        session.until_turns(4).await;
        session.say("s1\ns2");
    };

    let ((), ()) = tokio::join!(run(&session, agent, working(&diary, 1)), talk);

    // Said once more later, the words are meant.
    assert_eq!(session.saved_texts(), ["a", "r1", "s1", "r2", "s2", "r3", "s1\ns2", "r4"]);
    assert_eq!(session.state().boundaries().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn leftovers_sent_again_stay_out_of_the_history_of_the_next_run_d42_a48() {
    let (session, gate, diary) = (Arc::new(FakeSession::default()), WaitingTool::default(), Diary::default());
    session.say("a");
    let again = session.clone();
    let options = PendingMessages::new().should_inject(|_| async { Ok(false) });
    let first = agent(&gate, options).on_turn_complete(move |event| {
        if event.turn == 0 {
            again.send(submit(UiMessage::user("joined", "s1\ns2")));
        }
        async { Ok(()) }
    });
    let talk = gate.during(|| {
        session.say("s1");
        session.say("s2");
    });
    let ((), ()) = tokio::join!(run(&session, first, working(&diary, 1)), talk);
    session.say("b");

    let next = lease(&session, 1, json!({ "continuation": true, "previousRunId": "run_0" }));
    serve(&session, talker(), FakeModel::echo(), next).await.expect("the run ends well");

    assert_eq!(session.saved_texts(), ["a", "r1", "s1", "r2", "s2", "r3", "b", "re b"]);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_joined_an_answer_does_not_run_again_behind_what_waits_before_it_a166_a30_a82() {
    let (session, gate, diary) = (Arc::new(FakeSession::default()), WaitingTool::default(), Diary::default());
    session.say("a");
    let rows = Arc::new(Mutex::new(Vec::new()));
    let keeper = |agent: Agent| {
        let (reads, writes) = (rows.clone(), rows.clone());
        agent
            .hydrate_messages(move |event| {
                event.upsert_into(&mut reads.lock().unwrap());
                let messages = reads.lock().unwrap().clone();
                async { Ok(messages) }
            })
            .on_turn_complete(move |event| {
                *writes.lock().unwrap() = event.ui_messages.to_vec();
                async { Ok(()) }
            })
    };
    let talk = gate.during(|| {
        session.send(trigger(Trigger::Action));
        session.say("s");
        // The turn's last record is its boundary.
        session.state().writes_left = Some(10);
    });
    let first = async {
        let lease = lease(&session, 1, json!({ "trigger": "preload" }));
        tokio::select! {
            biased;
            _ = serve(&session, keeper(agent(&gate, always())), working(&diary, 1), lease) => panic!("the process dies"),
            () = session.until(|state| state.is_dead) => {}
        }
    };
    tokio::join!(first, talk);
    assert!(session.story().ends_with("r1 text-end finish-step finish done(0)"), "{}", session.story());
    session.revive();

    let next = lease(&session, 1, json!({ "continuation": true, "previousRunId": "run_0" }));
    serve(&session, keeper(talker()), FakeModel::echo(), next).await.expect("the run ends well");

    assert!(session.story().ends_with("finish done(0) done(2)"), "{}", session.story());
    let texts: Vec<_> = rows.lock().unwrap().iter().map(UiMessage::text).collect();
    assert_eq!(texts, ["a", "s", "r1"]);
}

#[tokio::test(start_paused = true)]
async fn nobody_steers_an_action_and_no_message_is_lost_to_one_a163_a159() {
    let (session, gate, diary) = (Arc::new(FakeSession::default()), WaitingTool::default(), Diary::default());
    session.say("a");
    session.send(trigger(Trigger::Action));
    let tool = gate.tool();
    let agent = agent(&gate, always()).on_action(move |action: crate::Action| {
        let tool = tool.clone();
        async move { Ok(action.stream_text().tools([tool]).stop_when(step_count_is(5))) }
    });
    let model = noting(&diary, |call| if call == 1 { calls("c", "t", json!({})) } else { says(&format!("r{call}")) });
    let talk = gate.during(|| {
        session.say("m");
    });

    let ((), ()) = tokio::join!(run(&session, agent, model), talk);

    assert_eq!(injected(&session), [] as [Value; 0]);
    assert_eq!(session.saved_texts(), ["a", "r0", "r2", "m", "r3"]);
}
