//! The hooks of A, Appendix B: their order, that each is awaited, and what becomes of the failure of each.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use serde_json::{Value, json};
use turnkeep_protocol::{ChatInputChunk, SeqNum};

use crate::testing::*;
use crate::{Agent, Answer, Compaction, HookError, PendingMessages, Recovery, Tool, TurnInput, step_count_is};

/// Takes its time between its first and its last word.
async fn slowly(diary: Diary, name: &'static str) {
    diary.lock().unwrap().push(format!("<{name}"));
    tokio::time::sleep(Duration::from_millis(100)).await;
    diary.lock().unwrap().push(format!("{name}>"));
}

/// An agent whose every hook takes its time.
fn slow(diary: &Diary) -> Agent {
    macro_rules! slowed {
        ($agent:expr, $($hook:ident => |$event:ident| $answer:expr),* $(,)?) => {{
            let agent = $agent;
            $( let own = diary.clone();
            let agent = agent.$hook(move |$event| {
                let own = own.clone();
                async move { slowly(own, stringify!($hook)).await; Ok($answer) }
            }); )*
            agent
        }};
    }
    let (own, early) = (diary.clone(), diary.clone());
    let agent = Agent::new("test", move |turn: TurnInput| {
        let own = own.clone();
        async move {
            slowly(own, "run").await;
            Ok(turn.stream_text())
        }
    });
    let agent = agent.on_recovery_boot(move |_| {
        let own = early.clone();
        async move {
            slowly(own.clone(), "on_recovery_boot").await;
            let before_boot = slowly(own, "before_boot").map(Ok).boxed();
            Ok(Recovery { before_boot: Some(before_boot), ..Recovery::default() })
        }
    });
    slowed!(agent.idle_timeout(Duration::from_secs(5)),
        resolve_tools => |_event| Vec::new(),
        on_boot => |_event| (),
        on_preload => |_event| (),
        on_validate_messages => |event| event.messages,
        on_action => |_event| (),
        on_chat_start => |_event| (),
        on_turn_start => |_event| (),
        prepare_messages => |event| event.messages,
        on_before_turn_complete => |_event| (),
        on_turn_complete => |_event| (),
        on_chat_suspend => |_event| (),
        on_chat_resume => |_event| (),
    )
}

/// Gives the hooks in their order, each of which must have come to its end before the next began.
#[track_caller]
fn order(diary: &Diary) -> String {
    let words = diary.lock().unwrap().clone();
    let hook = |pair: &[String]| {
        let name = pair[0].trim_start_matches('<');
        assert_eq!(pair[1..], [format!("{name}>")], "{name} is not awaited: {words:?}");
        name.to_owned()
    };
    words.chunks(2).map(hook).collect::<Vec<_>>().join(" ")
}

const TURN: &str = "on_turn_start prepare_messages run on_before_turn_complete on_turn_complete";

#[tokio::test(start_paused = true)]
async fn every_hook_is_awaited_and_comes_in_its_place_a43_a66_a75_a76_a86_a94_a95_a97_a104_a107_a196_ar16() {
    // A first run, from its preload over an action into its sleep and out of it.
    let (session, diary) = (Arc::new(FakeSession::default()), Diary::default());
    let agent = slow(&diary).hydrate_messages({
        let own = diary.clone();
        move |event| {
            let own = own.clone();
            async move {
                slowly(own, "hydrate_messages").await;
                Ok(event.incoming_messages)
            }
        }
    });
    let talk = async {
        session.until(|state| !state.waits.is_empty()).await;
        session.say("a");
        session.until_turns(1).await;
        session.send(action(json!("x")));
    };
    let first = lease(&session, 1, json!({ "trigger": "preload" }));

    let (result, ()) = tokio::join!(serve(&session, agent, FakeModel::echo(), first), talk);

    assert_eq!(result, Ok(()));
    let want = format!(
        "on_boot on_preload on_chat_suspend on_chat_resume resolve_tools on_validate_messages hydrate_messages on_chat_start {TURN} \
         resolve_tools hydrate_messages on_action on_chat_suspend"
    );
    assert_eq!(order(&diary), want);

    // A run that takes over from one that died inside an answer.
    let (session, diary) = (cut().await, Diary::default());
    session.say("b");
    let second = lease(&session, 1, json!({ "continuation": true, "previousRunId": "run_0" }));

    serve(&session, slow(&diary), FakeModel::echo(), second).await.unwrap();

    let want = format!(
        "resolve_tools on_recovery_boot before_boot on_boot resolve_tools on_validate_messages on_chat_start {TURN} on_chat_suspend"
    );
    assert_eq!(order(&diary), want);
}

fn no<T>() -> futures::future::Ready<Result<T, HookError>> {
    futures::future::ready(Err("no".into()))
}

/// An agent of which one hook fails, every time.
fn failing(hook: &str) -> Agent {
    let agent = talker();
    match hook {
        "on_boot" => agent.on_boot(|_| no()),
        "on_preload" => agent.on_preload(|_| no()),
        "resolve_tools" => agent.resolve_tools(|_| no()),
        "on_validate_messages" => agent.on_validate_messages(|_| no()),
        "hydrate_messages" => agent.hydrate_messages(|_| no()),
        "hydrate_store" => agent.hydrate_store(|_| no()),
        "on_action" => agent.on_action(|_| no::<()>()),
        "on_chat_start" => agent.on_chat_start(|_| no()),
        "on_turn_start" => agent.on_turn_start(|_| no()),
        "prepare_messages" => agent.prepare_messages(|_| no()),
        "run" => Agent::new("test", |_| no::<Answer>()).idle_timeout(Duration::from_secs(5)),
        "on_before_turn_complete" => agent.on_before_turn_complete(|_| no()),
        "on_turn_complete" => agent.on_turn_complete(|_| no()),
        "on_chat_suspend" => agent.on_chat_suspend(|_| no()),
        "on_chat_resume" => agent.on_chat_resume(|_| no()),
        other => panic!("{other} is no hook"),
    }
}

/// What a failing hook leads to.
#[derive(Clone, Copy)]
enum Outcome {
    RunFails,
    /// The turn, or the action, ends with the error; the run goes on.
    Error,
    /// The answer stays, and then there is the error.
    ErrorBehindAnswer,
    /// The run warns and goes on as if nothing had happened.
    Warning,
}

/// Lets one record come in while the run is warm, or while it sleeps, and checks what becomes of the hook's failure.
async fn check(hook: &str, payload: Value, input: ChatInputChunk, sleeps: bool, outcome: Outcome) {
    let session = Arc::new(FakeSession::default());
    let talk = async {
        if sleeps {
            session.until(|state| !state.waits.is_empty()).await;
        }
        session.send(input);
    };
    let first = lease(&session, 1, payload);

    let (result, ()) = tokio::join!(serve(&session, failing(hook), FakeModel::echo(), first), async {
        // A run that fails before its sleep leaves nobody to talk to.
        let _ = tokio::time::timeout(Duration::from_secs(20), talk).await;
    });

    const ANSWER: &str = "start start-step text-start re a text-end finish-step finish";
    let (ends_well, story, n_warnings) = match outcome {
        Outcome::RunFails => (false, String::new(), 0),
        Outcome::Error => (true, "error(no) done(0)".to_owned(), 0),
        Outcome::ErrorBehindAnswer => (true, format!("{ANSWER} error(no) done(0)"), 0),
        Outcome::Warning => (true, format!("{ANSWER} done(0)"), 1),
    };
    let end = if ends_well { Ok(()) } else { Err(format!("{hook} failed: no")) };
    assert_eq!((result.map_err(|error| error.to_string()), session.story()), (end, story), "{hook}");
    let warnings = session.state().warnings.clone();
    assert_eq!(warnings.iter().filter(|warning| warning.contains(hook)).count(), n_warnings, "{hook}: {warnings:?}");
    if matches!(outcome, Outcome::ErrorBehindAnswer | Outcome::Warning) {
        assert_eq!(session.saved_texts(), ["a", "re a"], "{hook}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_hooks_failure_ends_as_appendix_b_says_a9_a32_a75_a76_a84_a86_a87_a94_a95_a97_a104_a110_a162_a293() {
    let message = || submit(turnkeep_protocol::UiMessage::user("a", "a"));
    let preload = || json!({ "trigger": "preload" });
    let submit = || json!({ "trigger": "submit-message" });
    use Outcome::*;

    check("on_boot", preload(), message(), false, RunFails).await;
    check("on_preload", preload(), message(), false, RunFails).await;
    for hook in [
        "resolve_tools",
        "on_validate_messages",
        "hydrate_messages",
        "hydrate_store",
        "on_chat_start",
        "on_turn_start",
        "prepare_messages",
        "run",
    ] {
        check(hook, submit(), message(), false, Error).await;
    }
    check("on_action", submit(), action(json!(1)), false, Error).await;
    check("on_before_turn_complete", submit(), message(), false, ErrorBehindAnswer).await;
    check("on_turn_complete", submit(), message(), false, Warning).await;
    // Before the first turn, and behind one.
    check("on_chat_suspend", preload(), message(), true, RunFails).await;
    check("on_chat_resume", preload(), message(), true, RunFails).await;
    check("on_chat_suspend", submit(), message(), false, Warning).await;
}

// The turn-phase row of the table: the record that woke the run is served.
#[tokio::test(start_paused = true)]
async fn a_resume_hook_that_fails_behind_a_turn_is_worth_a_warning_and_the_record_is_served_a32_a293() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let talk = async {
        session.until(|state| !state.waits.is_empty()).await;
        session.say("b");
        session.until_turns(2).await;
        session.close();
    };
    let first = lease(&session, 1, json!({ "trigger": "submit-message" }));

    let (result, ()) = tokio::join!(serve(&session, failing("on_chat_resume"), FakeModel::echo(), first), talk);

    assert_eq!(result, Ok(()));
    assert_eq!(session.saved_texts(), ["a", "re a", "b", "re b"]);
    assert_eq!(session.state().boundaries(), [Some(SeqNum::new(0)), Some(SeqNum::new(1))]);
    assert_eq!(session.state().warnings, ["on_chat_resume failed: no"]);
}

/// An agent of which one hook between the steps of an answer fails, every time.
fn failing_between_steps(hook: &str, ran: &Diary) -> Agent {
    macro_rules! fails {
        () => {{
            let (ran, hook) = (ran.clone(), hook.to_owned());
            move |_| {
                note(&ran, &hook);
                no()
            }
        }};
    }
    let sums_up = || Compaction::new(|_| async { Ok(true) }, |_| async { Ok("sum".to_owned()) });
    let tool = Tool::new("t", "", json!({}), |_, _| async { Ok(json!(1)) });
    let agent = Agent::new("test", move |turn: TurnInput| {
        let tool = tool.clone();
        async move { Ok(turn.stream_text().tools([tool]).stop_when(step_count_is(5))) }
    });
    let agent = agent.idle_timeout(Duration::from_secs(5));
    match hook {
        "on_received" => agent.pending_messages(always().on_received(fails!())),
        "on_injected" => agent.pending_messages(always().on_injected(fails!())),
        "should_inject" => agent.pending_messages(PendingMessages::new().should_inject(fails!())),
        "prepare" => agent.pending_messages(always().prepare(fails!())),
        "should_compact" => agent.compaction(Compaction::new(fails!(), |_| no())),
        "summarize" => agent.compaction(Compaction::new(|_| async { Ok(true) }, fails!())),
        "on_compacted" => agent.compaction(sums_up()).on_compacted(fails!()),
        "prepare_messages" => {
            let fails = fails!();
            agent.compaction(sums_up()).prepare_messages(move |event| match event.reason {
                "run" => futures::future::ready(Ok(event.messages)),
                _ => fails(()),
            })
        }
        other => panic!("{other} is no hook between steps"),
    }
}

/// Lets a message come in before the first step, which calls a tool, and checks what becomes of the hook's failure.
async fn check_between_steps(hook: &str, want: &str) {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let says_more = session.clone();
    let ran = Diary::default();
    let agent = failing_between_steps(hook, &ran).on_turn_start(move |event| {
        let session = says_more.clone();
        async move {
            if event.turn == 0 {
                session.say("s");
                heard().await;
            }
            Ok(())
        }
    });
    let model = FakeModel::new(|prompt| match prompt.messages.last().unwrap().role.as_str() {
        "tool" => says("done"),
        _ => calls("c", "t", json!({})),
    });
    let first = lease(&session, 1, json!({ "trigger": "submit-message" }));

    let result = serve(&session, agent, model, first).await;

    assert_eq!(result, Ok(()), "{hook}");
    assert_eq!(entries(&ran).first().map(String::as_str), Some(hook));
    assert!(session.story().starts_with(want), "{hook}: {}", session.story());
    assert_eq!(session.state().settled, Some(SeqNum::new(1)), "{hook}: whoever did not join has a turn");
    // Compaction is tried once more at each turn's end, where it is only worth a warning.
    let warnings = session.state().warnings.clone();
    assert!(warnings.iter().all(|warning| warning == "the compaction failed: no"), "{hook}: {warnings:?}");
}

#[tokio::test(start_paused = true)]
async fn every_hook_between_two_steps_fails_its_answer_or_nobody_a97_a163_a165_a169() {
    const CALL: &str = "start-step tool-input-available tool-output-available finish-step";
    let joined = format!(
        "start data-pending-message-injected {CALL} start-step text-start done text-end finish-step finish done(1)"
    );
    for ignored in ["on_received", "on_injected"] {
        check_between_steps(ignored, &joined).await;
    }
    for steering in ["should_inject", "prepare"] {
        check_between_steps(steering, &format!("start error(no) done(0) start {CALL}")).await;
    }
    check_between_steps("should_compact", &format!("start {CALL} error(no) done(0) start {CALL}")).await;
    for summing_up in ["summarize", "on_compacted", "prepare_messages"] {
        check_between_steps(summing_up, &format!("start {CALL} data-compaction data-compaction error(no) ")).await;
    }
}
