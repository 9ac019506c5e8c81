//! How a session ends, and what it leaves to the run after it (A-217, AR-34).

use super::*;
use crate::custom::CustomRun;

#[test]
fn nothing_is_taken_up_once_the_session_shall_end_a217_a241_ar34() {
    #[track_caller]
    fn check(n_turns: usize, max_turns: usize, is_cancelled: bool, want: bool) {
        assert_eq!(Standing { n_turns, max_turns, is_cancelled }.takes_more(), want);
    }
    check(0, 100, false, true);
    check(99, 100, false, true);
    check(100, 100, false, false);
    check(0, 0, false, false);
    check(0, 100, true, false);
}

/// Why a run ends while a message waits.
#[derive(Clone, Copy, Debug)]
enum Exit {
    MaxTurns,
    Cancelled,
    Draining,
    Leaves,
    Fails,
}

/// Answers turn A, in which the exit is asked for.
fn leaving(exit: Exit, said: &Arc<FakeSession>) -> CustomAgent {
    let said = said.clone();
    Agent::custom("test", move |run: CustomRun| {
        let said = said.clone();
        async move {
            let (signal, input) = (Signal::new(), run.attempt.input.clone());
            let options = brief().signal(signal.clone());
            let options = if matches!(exit, Exit::MaxTurns) { options.max_turns(1) } else { options };
            let mut session = run.create_session(options);
            while let Some(mut turn) = session.next().await? {
                // M2 is there, and received, before the turn ends.
                said.say("b");
                while input.cursors().1.is_none_or(|received| received.get() < 1) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                match exit {
                    Exit::Draining => input.drain(),
                    Exit::Fails => return Err("no".into()),
                    _ => {}
                }
                let answer = turn.stream_text()?;
                turn.complete(answer).await?;
                match exit {
                    Exit::Cancelled => signal.set("upgrade"),
                    Exit::Leaves => return Ok(()),
                    _ => {}
                }
            }
            Ok(())
        }
    })
}

#[tokio::test(start_paused = true)]
async fn whatever_ends_a_session_a_message_that_waits_is_left_to_the_next_run_ar34_a217_a241() {
    for exit in [Exit::MaxTurns, Exit::Cancelled, Exit::Draining, Exit::Leaves, Exit::Fails] {
        let (session, prompts) = (Arc::new(FakeSession::default()), Diary::default());
        session.say("a");

        let ended =
            try_run(&session, leaving(exit, &session), FakeModel::echo(), json!({ "trigger": "preload" })).await;

        let settled = session.state().settled.map(|settled| settled.get());
        let has_failed = matches!(exit, Exit::Fails);
        assert_eq!((ended.is_err(), settled), (has_failed, (!has_failed).then_some(0)), "{exit:?}");
        try_run(&session, talker(brief()), noting(&prompts), continuation()).await.unwrap();
        let want: &[&str] = if has_failed { &["u:a", "u:a a:r0 u:b"] } else { &["u:b"] };
        assert_eq!(entries(&prompts), want, "{exit:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_close_ends_the_iteration_and_what_follows_it_is_left_a217_a39() {
    let (session, prompts) = (Arc::new(FakeSession::default()), Diary::default());
    session.say("a");
    session.send(trigger(Trigger::Close));
    session.say("b");

    run(&session, talker(brief()), noting(&prompts)).await;

    assert_eq!(entries(&prompts), ["u:a"]);
    assert_eq!(session.state().settled.map(|settled| settled.get()), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_session_closes_its_turn_and_keeps_nothing_of_it_a215_a144() {
    let (session, told) = (Arc::new(FakeSession::default()), Diary::default());
    session.say("a");
    let signal = Signal::new();
    let (options, diary) = (brief().signal(signal.clone()), told.clone());
    let agent = turns(options, move |mut turn| {
        let diary = diary.clone();
        async move {
            let answer = turn.stream_text()?;
            let done = turn.complete(answer).await?;
            note(&diary, format!("{} {} {}", texts(turn.ui_messages()), turn.stopped(), done.response.is_some()));
            Ok(())
        }
        .boxed()
    });
    let model = FakeModel::new(|_| [begins("half"), vec![Said::Silence]].concat());
    let talk = async {
        session.until(|state| state.told.len() >= 4).await;
        session.say("b");
        signal.set("over");
    };

    let (ran, ()) = tokio::join!(try_run(&session, agent, model, json!({ "trigger": "preload" })), talk);

    assert_eq!(ran, Ok(()));
    assert_eq!(entries(&told), ["a false false"]);
    assert_eq!(session.story(), "start start-step text-start half abort(over) done(0)");
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_session_waits_for_nothing_a213() {
    let session = Arc::new(FakeSession::default());
    let signal = Signal::new();
    let agent = talker(SessionOptions::new().idle_timeout(Duration::ZERO).signal(signal.clone()));
    let talk = async {
        session.until(|state| !state.waits.is_empty()).await;
        signal.set("over");
    };

    let begun = tokio::time::Instant::now();
    tokio::join!(run(&session, agent, FakeModel::echo()), talk);

    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_session_waits_warm_for_30_s_then_asleep_for_an_hour_a213() {
    let session = Arc::new(FakeSession::default());
    let begun = tokio::time::Instant::now();

    run(&session, talker(SessionOptions::new()), FakeModel::echo()).await;

    let limits: Vec<_> = session.state().waits.iter().map(|wait| wait.limit.as_secs()).collect();
    assert_eq!(limits, [3600]);
    assert_eq!(begun.elapsed().as_secs(), 30 + 20, "the fake wait gives up after 20 s");
}

#[tokio::test(start_paused = true)]
async fn ending_the_run_serves_what_waits_first_a198_a214() {
    let (session, prompts) = (Arc::new(FakeSession::default()), Diary::default());
    session.say("a");
    session.say("b");
    let agent = turns(brief(), |turn| {
        turn.chat.end_run();
        answer(turn).boxed()
    });

    run(&session, agent, noting(&prompts)).await;

    assert_eq!(entries(&prompts).len(), 2);
    assert_eq!(session.state().waits.len(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_next_that_is_dropped_over_a_payload_goes_on_with_it_later_ar34_a217() {
    let (session, prompts) = (Arc::new(FakeSession::default()), Diary::default());
    session.send(ChatInputChunk::message(ChatTaskWirePayload::new("chat", Trigger::SubmitMessage)));
    session.say("a");
    let agent = Agent::custom("test", |run: CustomRun| async move {
        let input = run.attempt.input.clone();
        while input.cursors().1.is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let mut session = run.create_session(brief());
        // The boundary of a message without words is on its way when the future is dropped.
        assert!(session.next().now_or_never().is_none());
        assert!(session.opening.is_some());
        while let Some(turn) = session.next().await? {
            answer(turn).await?;
        }
        Ok(())
    });

    run(&session, agent, noting(&prompts)).await;

    assert_eq!(entries(&prompts), ["u:a"]);
    assert_eq!(boundaries(&session).last(), Some(&1));
}
