use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;
use turnkeep_host::Host;
use turnkeep_protocol::{ChatInputChunk, SeqNum, Trigger, UiMessage};

use crate::checkpoint::Gate;
use crate::input::InputChannel;
use crate::link::Link;
use crate::run::RunParts;
use crate::testing::*;
use crate::{Agent, Error, RunContext, SuspendPhase};

async fn run(session: &Arc<FakeSession>, agent: Agent) -> Result<(), Error> {
    let lease = lease(session, 1, json!({ "trigger": "preload" }));
    serve(session, agent, FakeModel::echo(), lease).await
}

#[tokio::test(start_paused = true)]
async fn a_suspended_run_wakes_for_the_next_message_and_serves_it_once_a31_a196_ar4_ar7_aa136() {
    let session = Arc::new(FakeSession::default());
    let talk = async {
        session.until(|state| state.waits.len() == 1).await;
        session.say("a");
        session.until(|state| state.waits.len() == 2).await;
        session.say("b");
    };

    let (result, ()) = tokio::join!(run(&session, talker()), talk);

    assert_eq!(result, Ok(()));
    assert_eq!(session.saved_texts(), ["a", "re a", "b", "re b"]);
    let state = session.state();
    let consumed: Vec<_> = state.waits.iter().map(|wait| (wait.consumed, wait.settled)).collect();
    let (a, b) = (Some(SeqNum::ZERO), Some(SeqNum::new(1)));
    assert_eq!(consumed, [(None, None), (a, a), (b, b)]);
}

#[tokio::test(start_paused = true)]
async fn a_record_in_the_suspend_window_is_taken_instead_of_sleeping_ar6_a33_sr36() {
    // S-167.
    let session = Arc::new(FakeSession::default());
    let sender = session.clone();
    let agent = talker().idle_timeout(Duration::ZERO).on_chat_suspend(move |event| {
        let session = sender.clone();
        async move {
            if event.phase == SuspendPhase::Preload {
                session.say("a");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            Ok(())
        }
    });

    run(&session, agent).await.unwrap();

    assert_eq!(session.saved_texts(), ["a", "re a"]);
    assert_eq!(session.state().waits.len(), 1, "only the wait after the turn");
}

#[tokio::test(start_paused = true)]
async fn suspend_hooks_run_once_however_many_stops_come_a32_a35() {
    // C-249.
    let session = Arc::new(FakeSession::default());
    let agent = talker()
        .on_chat_suspend(|event| async move {
            event.chat.history().all();
            Ok(())
        })
        .on_chat_resume(|event| async move { Ok(event.chat.set_turn_timeout(Duration::from_secs(10)).await?) });
    let talk = async {
        session.until(|state| state.waits.len() == 1).await;
        tokio::time::sleep(Duration::from_secs(7)).await;
        session.send(stop());
        session.until(|state| state.waits.len() == 2).await;
        session.say("a");
        session.until_turns(1).await;
    };

    let (result, ()) = tokio::join!(run(&session, agent), talk);

    assert_eq!(result, Ok(()));
    let state = session.state();
    assert_eq!(state.waits[0].limit - state.waits[1].limit, Duration::from_secs(7), "one deadline for the whole wait");
    assert_eq!(state.waits[2].limit, Duration::from_secs(10), "a run-time override counts from then on (A-195)");
}

#[tokio::test(start_paused = true)]
async fn an_idle_preload_may_end_instead_of_sleeping_a76() {
    // S-169.
    let session = Arc::new(FakeSession::default());

    run(&session, talker().exit_after_preload_idle()).await.unwrap();

    assert_eq!(session.state().waits, []);
}

#[tokio::test(start_paused = true)]
async fn idle_times_follow_override_agent_payload_default_a76_a195_af16() {
    let idle = |agent: Agent, payload: serde_json::Value| async move {
        let session = Arc::new(FakeSession::default());
        let began = Instant::now();
        let lease = lease(&session, 1, payload);
        serve(&session, agent.exit_after_preload_idle(), FakeModel::echo(), lease).await.unwrap();
        began.elapsed().as_secs()
    };
    let bare = || Agent::new("test", |_| async { Ok(()) });
    let payload = || json!({ "trigger": "preload", "idleTimeoutInSeconds": 7 });

    assert_eq!(idle(bare(), json!({})).await, 30);
    assert_eq!(idle(bare(), payload()).await, 7);
    assert_eq!(idle(bare().idle_timeout(Duration::from_secs(3)), payload()).await, 3);
    assert_eq!(idle(bare().preload_idle_timeout(Duration::from_secs(2)), payload()).await, 2);
    let boot = bare().on_boot(|event| async move { Ok(event.chat.set_idle_timeout_in_seconds(1).await?) });
    assert_eq!(idle(boot, payload()).await, 1);
}

#[tokio::test(start_paused = true)]
async fn no_timeout_is_beyond_what_a_clock_can_name_a76_a194() {
    let idle = |agent: Agent, payload: serde_json::Value| async move {
        let session = Arc::new(FakeSession::default());
        let began = Instant::now();
        let lease = lease(&session, 1, payload);
        serve(&session, agent.exit_after_preload_idle(), FakeModel::echo(), lease).await.unwrap();
        began.elapsed().as_secs()
    };
    let bare = || Agent::new("test", |_| async { Ok(()) });
    let month = 30 * 24 * 60 * 60;

    assert_eq!(idle(bare(), json!({ "idleTimeoutInSeconds": u64::MAX })).await, 3600);
    assert_eq!(idle(bare(), json!({ "idleTimeoutInSeconds": 0 })).await, 0, "it sleeps at once (A-197)");
    assert_eq!(idle(bare().idle_timeout(Duration::MAX), json!({})).await, month);

    let session = Arc::new(FakeSession::default());
    run(&session, talker().turn_timeout(Duration::MAX)).await.unwrap();
    assert!(session.state().waits[0].limit <= Duration::from_secs(month));
}

#[tokio::test(start_paused = true)]
async fn a_closed_session_ends_the_next_wait_after_what_came_before_d2_d37() {
    let session = Arc::new(FakeSession::default());
    let talk = async {
        session.until(|state| state.waits.len() == 1).await;
        session.state().input.clear();
        session.say("last");
        session.close();
    };

    let (result, ()) = tokio::join!(run(&session, talker()), talk);

    assert_eq!(result, Ok(()));
    assert_eq!(session.saved_texts(), ["last", "re last"]);
}

#[tokio::test(start_paused = true)]
async fn a_run_of_a_closed_session_serves_what_is_there_and_ends_d2() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    session.close();

    run(&session, talker()).await.unwrap();

    assert_eq!(session.saved_texts(), ["a", "re a"]);
    assert_eq!(session.state().waits, []);
}

#[tokio::test(start_paused = true)]
async fn a_close_ends_the_wait_and_a_close_at_boot_boots_nothing_a39_a79() {
    let session = Arc::new(FakeSession::default());
    session.send(trigger(Trigger::Close));
    run(&session, talker()).await.unwrap();
    assert_eq!((session.story(), session.state().settled), (String::new(), Some(SeqNum::ZERO)));

    let session = Arc::new(FakeSession::default());
    session.say("a");
    let lease = lease(&session, 1, json!({ "trigger": "close" }));
    serve(&session, talker(), FakeModel::echo(), lease).await.unwrap();
    assert_eq!((session.story(), session.state().settled), (String::new(), None));
}

#[tokio::test(start_paused = true)]
async fn a_failing_suspend_hook_fails_the_run_at_boot_and_only_warns_later_a293() {
    let failing = |phase: SuspendPhase| {
        talker()
            .on_chat_suspend(move |event| async move { if event.phase == phase { Err("no".into()) } else { Ok(()) } })
    };
    let session = Arc::new(FakeSession::default());
    let error = run(&session, failing(SuspendPhase::Preload)).await.unwrap_err();
    assert_eq!(error.to_string(), "on_chat_suspend failed: no");

    let session = Arc::new(FakeSession::default());
    session.say("a");
    assert_eq!(run(&session, failing(SuspendPhase::Turn)).await, Ok(()));
    assert_eq!(session.state().boundaries().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn suspend_hooks_have_client_data_as_the_newest_turn_had_it_a8_a196() {
    let session = Arc::new(FakeSession::default());
    let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
    let own = seen.clone();
    let agent = talker().client_data(|raw| Ok(json!({ "parsed": raw }))).on_chat_suspend(move |event| {
        own.lock().unwrap().push((event.phase, event.client_data["parsed"].clone()));
        async { Ok(()) }
    });
    let talk = async {
        session.until(|state| state.waits.len() == 1).await;
        let payload = turnkeep_protocol::ChatTaskWirePayload::submit("chat", UiMessage::user("a", "a"));
        let payload = turnkeep_protocol::ChatTaskWirePayload { metadata: Some(json!("turn")), ..payload };
        session.send(ChatInputChunk::message(payload));
    };
    let lease = lease(&session, 1, json!({ "trigger": "preload", "metadata": "boot" }));

    let (result, ()) = tokio::join!(serve(&session, agent, FakeModel::echo(), lease), talk);

    assert_eq!(result, Ok(()));
    assert_eq!(*seen.lock().unwrap(), [(SuspendPhase::Preload, json!("boot")), (SuspendPhase::Turn, json!("turn"))]);
}

#[tokio::test(start_paused = true)]
async fn a_tail_that_skips_a_record_is_read_again_from_where_it_was_whole_s54_a30() {
    let session = Arc::new(FakeSession::default());
    session.state().hole = Some(SeqNum::new(1));
    for text in ["a", "b", "c"] {
        session.say(text);
    }

    assert_eq!(run(&session, talker()).await, Ok(()));

    assert_eq!(session.saved_texts(), ["a", "re a", "b", "re b", "c", "re c"]);
    assert_eq!(session.state().tails[..2], [None, Some(SeqNum::ZERO)]);
}

/// Serves a fresh run on a worker that begins to drain when `is_time`.
async fn run_draining(session: &Arc<FakeSession>, agent: Agent, is_time: impl Fn(&State) -> bool) {
    let host = Host::os();
    let lease = lease(session, 1, json!({ "trigger": "preload" }));
    let link: Arc<dyn Link> = Arc::new(FakeLink(session.clone()));
    let input = InputChannel::new(host.clone(), link.clone(), host.entropy().child("input"));
    let (warn, gate, model) = (Arc::new(|_: &RunContext, _: String| {}), Gate::default(), FakeModel::echo());
    let parts = RunParts { host, agent, model, link, input: input.clone(), lease, warn, gate };
    let drains = async {
        session.until(is_time).await;
        input.drain();
    };
    let task = parts.task();
    let (ended, ()) = tokio::join!(parts.serve(task), drains);
    ended.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_draining_worker_ends_a_run_in_its_wait_warm_or_asleep_d35() {
    let warm = Arc::new(FakeSession::default());
    let started = Instant::now();
    warm.say("a");
    run_draining(&warm, talker(), |state| state.snapshot.is_some()).await;
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());

    let asleep = Arc::new(FakeSession::default());
    run_draining(&asleep, talker(), |state| state.waits.len() == 1).await;
    assert_eq!(started.elapsed(), Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_draining_worker_finishes_its_turn_and_leaves_the_rest_owed_d35() {
    let session = Arc::new(FakeSession::default());
    for text in ["a", "b"] {
        session.say(text);
    }

    let agent = talker().on_turn_complete(|_: crate::TurnComplete| async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok(())
    });
    run_draining(&session, agent, |state| state.boundaries().len() == 1).await;

    assert_eq!(session.saved_texts(), ["a", "re a"]);
    assert_eq!(session.state().settled, Some(SeqNum::ZERO));
}

#[tokio::test(start_paused = true)]
async fn without_idle_time_the_run_sleeps_at_once_and_keeps_its_memory_a197_a196() {
    // S-152.
    let session = Arc::new(FakeSession::default());
    let n_boots = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let own = n_boots.clone();
    let agent = talker().idle_timeout(Duration::ZERO).on_boot(move |_| {
        own.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        async { Ok(()) }
    });
    let agent = agent.on_turn_start(|event| async move {
        assert_eq!(event.ui_messages.len(), event.turn * 2 + 1, "the chat is as it was before the sleep");
        Ok(())
    });
    let talk = async {
        for (n_waits, text) in [(1, "a"), (2, "b")] {
            let began = Instant::now();
            session.until(|state| state.waits.len() == n_waits).await;
            assert!(began.elapsed() < Duration::from_millis(100), "wait {n_waits} after {:?}", began.elapsed());
            session.say(text);
            session.until_turns(n_waits).await;
        }
    };

    let (result, ()) = tokio::join!(run(&session, agent), talk);

    assert_eq!(result, Ok(()));
    assert_eq!(n_boots.load(std::sync::atomic::Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_runs_out_ends_the_run_without_a_word_or_a_hook_a294_a196_a80() {
    // S-169.
    for payload in [json!({ "trigger": "preload" }), json!({ "continuation": true, "previousRunId": "run_0" })] {
        let session = Arc::new(FakeSession::default());
        let agent = talker()
            .on_turn_start(|_| async { panic!("there is no turn") })
            .on_turn_complete(|_| async { panic!("there is no turn") })
            .on_chat_resume(|_| async { panic!("nothing came") });
        let lease = lease(&session, 1, payload);

        serve(&session, agent, FakeModel::echo(), lease).await.unwrap();

        assert_eq!((session.story(), session.state().waits.len()), (String::new(), 1));
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_failed_turn_the_run_waits_like_after_any_other_a156_a39() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let phases = Arc::new(std::sync::Mutex::new(Vec::new()));
    let own = phases.clone();
    let agent = talker().on_turn_start(|_| async { Err("no".into()) }).on_chat_suspend(move |event| {
        own.lock().unwrap().push((event.phase, event.turn, event.ui_messages.len()));
        async { Ok(()) }
    });
    let talk = async {
        session.until(|state| state.waits.len() == 1).await;
        session.send(trigger(Trigger::Close));
    };

    let (result, ()) = tokio::join!(run(&session, agent), talk);

    assert_eq!(result, Ok(()));
    assert_eq!(*phases.lock().unwrap(), [(SuspendPhase::Turn, Some(1), 1)]);
    assert_eq!((session.story().as_str(), session.state().settled), ("error(no) done(0)", Some(SeqNum::new(1))));
}

#[tokio::test(start_paused = true)]
async fn a_run_sleeps_only_when_its_snapshot_is_stored_ar18_a108() {
    // SR-49.
    let session = Arc::new(FakeSession::default());
    session.say("a");
    session.state().snapshot_takes = Duration::from_secs(8);
    let talk = async {
        session.until(|state| state.waits.iter().any(|wait| wait.settled.is_some())).await;
        assert_eq!(session.saved_texts(), ["a", "re a"]);
    };

    let (result, ()) = tokio::join!(run(&session, talker().idle_timeout(Duration::ZERO)), talk);

    assert_eq!(result, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn deferred_work_is_done_before_the_run_sleeps_or_ends_ar40_a177_a178() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let n_done = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let work = |done: &Arc<std::sync::atomic::AtomicUsize>| {
        let done = done.clone();
        async move {
            tokio::time::sleep(Duration::from_secs(3)).await;
            done.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            Ok(())
        }
    };
    let (boots, completes, resumes) = (n_done.clone(), n_done.clone(), n_done.clone());
    let agent = talker()
        .idle_timeout(Duration::ZERO)
        .on_boot(move |event| {
            event.chat.defer(work(&boots));
            async { Ok(()) }
        })
        .on_turn_complete(move |event| {
            event.chat.defer(work(&completes));
            if event.turn == 1 {
                event.chat.end_run();
            }
            async { Ok(()) }
        });
    let talk = async {
        session.until(|state| !state.waits.is_empty()).await;
        assert_eq!(resumes.load(std::sync::atomic::Ordering::SeqCst), 2, "before the sleep");
        session.say("b");
    };

    let (result, ()) = tokio::join!(run(&session, agent), talk);

    assert_eq!(result, Ok(()));
    assert_eq!(n_done.load(std::sync::atomic::Ordering::SeqCst), 3, "before the end");
}

#[tokio::test(start_paused = true)]
async fn what_arrives_while_a_run_ends_is_left_to_the_next_one_a113_ar21() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let sender = session.clone();
    let agent = talker().max_turns(1).on_turn_complete(move |_| {
        let session = sender.clone();
        async move {
            session.say("b");
            tokio::time::sleep(Duration::from_millis(10)).await;
            Ok(())
        }
    });

    run(&session, agent).await.unwrap();

    // The end reports what is settled and no more: the server starts a continuation for the rest (D-3).
    assert_eq!(session.state().settled, Some(SeqNum::ZERO));
    let next = lease(&session, 1, json!({ "continuation": true, "previousRunId": "run_1" }));
    serve(&session, talker(), FakeModel::echo(), next).await.unwrap();
    assert_eq!(session.saved_texts(), ["a", "re a", "b", "re b"]);
}

#[tokio::test(start_paused = true)]
async fn a_tail_that_breaks_is_opened_again_after_one_second_doubling_to_thirty_a36_s160() {
    let session = Arc::new(FakeSession::default());
    session.state().n_failing_tails = 7;
    let talk = async {
        tokio::time::sleep(Duration::from_secs(100)).await;
        session.say("a");
        session.until_turns(1).await;
    };

    let (result, ()) = tokio::join!(run(&session, talker().idle_timeout(Duration::from_secs(300))), talk);

    assert_eq!(result, Ok(()));
    let times = session.state().tail_times.clone();
    for (gap, pause_s) in times.windows(2).zip([1, 2, 4, 8, 16, 30, 30]) {
        let (gap, pause) = (gap[1] - gap[0], Duration::from_secs(pause_s));
        // Jitter takes up to half of a pause away.
        assert!(gap >= pause / 2 && gap <= pause + Duration::from_millis(10), "{gap:?} for {pause:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_read_behind_the_back_of_a_sleep_a36_ar7() {
    // S-165.
    let session = Arc::new(FakeSession::default());
    let talk = async {
        session.until(|state| state.waits.len() == 1).await;
        let n_tails = session.state().tails.len();
        tokio::time::sleep(Duration::from_secs(15)).await;
        assert_eq!(session.state().tails.len(), n_tails);
        session.say("a");
        session.until_turns(1).await;
        assert!(session.state().tails.len() > n_tails, "the reader is back with the turn");
    };

    let (result, ()) = tokio::join!(run(&session, talker()), talk);

    assert_eq!(result, Ok(()));
    assert_eq!(session.saved_texts(), ["a", "re a"]);
}
