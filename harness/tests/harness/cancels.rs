//! A run that is cancelled from outside (A-199, A-294, D-70).

use std::time::Duration;

use serde_json::json;
use turnkeep_agent::{
    Agent, ChildContext, ChildEnd, ChildTask, HookError, Recovery, RecoveryBoot, Suspension, TaskComplete, TaskEvent,
    TaskFailure, Tool, TurnComplete, TurnInput, step_count_is,
};
use turnkeep_harness::model::{MockLanguageModel, call, say, stall, wait};
use turnkeep_harness::{InMemoryTasks, MockChatAgent, MockOutcome, Restart};

use crate::support::*;

/// Notes every hook that could tell of an end.
fn noting_ends(diary: &Diary) -> Agent {
    plain()
        .on_turn_complete(noting::<TurnComplete>(diary, "turn"))
        .on_chat_suspend(noting::<Suspension>(diary, "suspend"))
        .on_resume(noting::<TaskEvent>(diary, "resume"))
        .on_success(noting::<TaskEvent>(diary, "success"))
        .on_failure(noting::<TaskFailure>(diary, "failure"))
        .on_complete(noting::<TaskComplete>(diary, "complete"))
        .on_cancel(noting::<TaskEvent>(diary, "cancel"))
        .on_recovery_boot({
            let diary = diary.clone();
            move |event: RecoveryBoot| {
                diary.note(format!("recovery({})", event.partial_assistant.text()));
                async { Ok(Recovery::default()) }
            }
        })
}

/// Gives the kinds of all chunks, several of a kind in a row as one.
fn kinds(chat: &MockChatAgent) -> String {
    let mut kinds: Vec<String> = chat.all_chunks().iter().map(|chunk| chunk.kind().to_owned()).collect();
    kinds.dedup();
    kinds.join(" ")
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_answer_is_aborted_its_model_stopped_and_only_on_cancel_runs_a199_a294_a196() {
    let diary = Diary::default();
    let model = MockLanguageModel::new().step([say("cut"), stall()]).step([say("new")]);
    let mut chat = MockChatAgent::start(noting_ends(&diary), &model).await;

    let cut = chat.send("a").begin().await;
    chat.advance(Duration::from_secs(1)).await;
    chat.restart(Restart::Cancel).await;

    assert!(model.calls()[0].is_aborted());
    assert_eq!(chat.outcome(), Some(MockOutcome::Cancelled));
    assert_eq!(
        cut.turn().await.text(),
        "cut",
        "the answer stays as it was cut, and the next run writes its boundary (A-65)"
    );
    assert_eq!(
        (diary.read().as_str(), kinds(&chat).as_str()),
        ("cancel suspend", "start start-step text-start text-delta abort")
    );
    chat.send("b").await.assert_text("new");
    model.assert_prompt(1).reads(&["user: a", "assistant: cut", "user: b"]);
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_run_whose_write_is_refused_first_hears_that_it_was_cancelled_too_a199_d36() {
    let diary = Diary::default();
    let words = (0..100).flat_map(|n| [say(format!("{n} ")), wait(Duration::from_millis(20))]);
    let model = MockLanguageModel::new().step(words);
    let mut chat = MockChatAgent::start(noting_ends(&diary), &model).await;

    let cut = chat.send("a").begin().await;
    chat.advance(Duration::from_millis(50)).await;
    let before = tokio::time::Instant::now();
    chat.restart(Restart::Cancel).await;

    assert!(before.elapsed() < Duration::from_secs(1), "no heartbeat was due: {:?}", before.elapsed());
    assert_eq!(cut.turn().await.text(), "0 1 2 ");
    assert_eq!(diary.read(), "cancel suspend", "it is the next run that sleeps");
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_sleeper_is_gone_without_an_abort_a199() {
    let diary = Diary::default();
    let model = MockLanguageModel::new().step([say("one")]).step([say("two")]);
    let mut chat = MockChatAgent::start(noting_ends(&diary), &model).await;
    chat.send("a").await;
    chat.suspend().await;
    let slept = chat.run_attempt().unwrap().0;

    chat.restart(Restart::Cancel).await;
    chat.send("b").await.assert_text("two");

    assert_ne!(chat.run_attempt().unwrap().0, slept);
    assert_eq!(diary.read(), "turn suspend cancel turn");
    assert!(!kinds(&chat).contains("abort"));
    model.assert_prompt(1).reads(&["user: a", "assistant: one", "user: b"]);
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_run_takes_its_children_along_and_lets_deferred_work_end_a247_a177() {
    let diary = Diary::default();
    let tasks = InMemoryTasks::new().task("wait", |(): (), ctx: ChildContext| async move {
        ctx.cancel_signal.wait().await;
        Ok("never")
    });
    let tool = Tool::of_task("wait", "Waits", &ChildTask::with_schema("wait", json!({}))).unwrap();
    let told = diary.clone();
    let agent = Agent::new("plain", |turn: TurnInput| async move {
        let chat = turn.chat.clone();
        // It holds the chat, as an author's work often does.
        turn.chat.defer(async move {
            tokio::time::sleep(Duration::from_secs(2)).await;
            drop(chat);
            Ok(())
        });
        Ok(turn.stream_text().stop_when(step_count_is(2)))
    })
    .tools([tool])
    .child_tasks(tasks.clone())
    .on_cancel({
        let tasks = tasks.clone();
        move |_: TaskEvent| {
            told.note(format!("{:?}", tasks.runs()[0].end));
            async { Ok(()) }
        }
    });
    let model = MockLanguageModel::new().step([call("wait", json!(null))]);
    let mut chat = MockChatAgent::start(agent, &model).await;

    let cut = chat.send("a").begin().await;
    chat.advance(Duration::from_secs(1)).await;
    assert_eq!(tasks.runs()[0].end, None);
    chat.restart(Restart::Cancel).await;
    cut.turn().await;

    assert_eq!(tasks.runs()[0].end, Some(ChildEnd::Cancelled));
    assert_eq!(diary.read(), "Some(Cancelled)", "on_cancel comes last");
    chat.finish().await;
}

#[tokio::test(start_paused = true)]
async fn an_on_cancel_that_fails_panics_or_never_ends_is_warned_of_and_holds_nothing_up_a199() {
    type Cancel = fn() -> futures::future::BoxFuture<'static, Result<(), HookError>>;
    let hooks: [(Cancel, &str); 3] = [
        (|| Box::pin(async { Err("no".into()) }), "on_cancel failed: no"),
        (|| Box::pin(async { panic!("at the end") }), "on_cancel panicked"),
        (|| Box::pin(std::future::pending()), "on_cancel took more than 30s and was dropped"),
    ];
    for (hook, warning) in hooks {
        let model = MockLanguageModel::new().step([say("a"), stall()]);
        let mut chat = MockChatAgent::start(plain().on_cancel(move |_: TaskEvent| hook()), &model).await;
        let cut = chat.send("a").begin().await;

        chat.restart(Restart::Cancel).await;

        assert_eq!(cut.turn().await.text(), "a");
        assert_eq!(chat.warnings(), [warning]);
        chat.finish().await;
    }
}

#[tokio::test(start_paused = true)]
async fn deferred_work_dies_with_its_process_though_it_holds_the_chat_a177_ar16() {
    let diary = Diary::default();
    let told = diary.clone();
    let agent = Agent::new("plain", move |turn: TurnInput| {
        let (chat, told) = (turn.chat.clone(), told.clone());
        turn.chat.defer(async move {
            tokio::time::sleep(Duration::from_secs(3)).await;
            told.note(format!("stored {}", chat.id()));
            Ok(())
        });
        async move { Ok(turn.stream_text()) }
    });
    let model = MockLanguageModel::new().step([say("a"), stall()]).step([say("b"), stall()]);
    let mut chat = MockChatAgent::start(agent, &model).await;
    let _cut = chat.send("a").begin().await;
    chat.advance(Duration::from_secs(1)).await;

    chat.restart(Restart::Crash).await;
    let at_boot = diary.read();
    chat.kill();
    tokio::time::sleep(Duration::from_secs(60)).await;

    assert_eq!((at_boot.as_str(), diary.read().as_str()), ("", ""));
}
