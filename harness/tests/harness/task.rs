//! Any task in a run of its own.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use turnkeep_agent::{CustomRun, HookError, LocalKey, RunContext, WaitOptions};
use turnkeep_harness::{MockTaskContext, MockTaskDrivers, run_in_mock_task_context};
use turnkeep_protocol::{ChatInputChunk, RunId, SeqNum, UiMessage, UiMessageChunk};

/// Says every message back until nothing comes any more; counts them.
async fn parrot(mut run: CustomRun) -> Result<usize, HookError> {
    let mut n_said = 0;
    while let Some(payload) = run.next_message(WaitOptions::new()).await? {
        let said = payload.message.as_ref().map(UiMessage::text).unwrap_or_default();
        run.chat.writer().write(UiMessageChunk::data("said", None, json!(said))).await?;
        run.write_turn_complete(None).await?;
        n_said += 1;
    }
    Ok(n_said)
}

#[tokio::test(start_paused = true)]
async fn a_task_is_driven_by_inputs_and_seen_by_its_outputs_a263() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = heard.clone();
    let driven = async move |drivers: MockTaskDrivers| {
        drivers.on_write(move |record| hears.lock().unwrap().push(record.seq_num));
        assert_eq!(drivers.send_message("one").await, Some(SeqNum::ZERO));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let one = drivers.chunks();
        drivers.clear();
        drivers.send_message("two").await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let (two, raw) = (drivers.chunks(), drivers.all());
        drivers.close().await;
        (one, two, raw)
    };

    let ran = run_in_mock_task_context(MockTaskContext::new(), |run, drivers| async move {
        let (n_said, seen) = tokio::join!(parrot(run), driven(drivers));
        Ok((n_said?, seen))
    });
    let (n_said, (one, two, raw)) = ran.await.unwrap();

    let said = |text: &str| vec![UiMessageChunk::data("said", None, json!(text))];
    assert_eq!((n_said, one, two), (2, said("one"), said("two")));
    // The second turn's data, its boundary and the trim up to the first boundary, each heard once.
    assert_eq!(raw.iter().filter(|record| record.is_turn_complete()).count(), 1);
    let places: Vec<SeqNum> = (0..raw.last().unwrap().seq_num.get() + 1).map(SeqNum::new).collect();
    assert_eq!(heard.lock().unwrap()[..places.len()], places);
}

#[tokio::test(start_paused = true)]
async fn a_task_sleeps_and_is_woken_by_an_input_a263_a271() {
    let ran = run_in_mock_task_context(MockTaskContext::new(), |mut run: CustomRun, drivers| async move {
        let wait = WaitOptions::new().idle_timeout(Duration::ZERO);
        let drive = async {
            drivers.until_suspended().await;
            drivers.send_message("wake up").await;
        };
        let (woken, ()) = tokio::join!(run.next_message(wait), drive);
        Ok(woken?.and_then(|payload| payload.message).map(|message| message.text()))
    });

    assert_eq!(ran.await.unwrap().as_deref(), Some("wake up"));
}

#[tokio::test(start_paused = true)]
async fn a_task_is_told_what_the_test_says_of_its_run_a263() {
    let context = || {
        MockTaskContext::new()
            .chat_id("chat-7")
            .payload("metadata", json!({ "user": 7 }))
            .ctx(|ctx| (ctx.attempt, ctx.run_id) = (3, RunId::new("run_other")))
    };
    let told = |context| {
        run_in_mock_task_context(context, |run: CustomRun, drivers: MockTaskDrivers| async move {
            assert_eq!(drivers.ctx(), &run.ctx);
            Ok((run.ctx, run.chat.id().to_owned(), run.payload.metadata))
        })
    };

    let (ctx, chat_id, metadata) = told(context()).await.unwrap();

    assert_eq!((ctx.attempt, ctx.run_id.as_str(), ctx.task_id.as_str()), (3, "run_other", "mock-task"));
    assert_eq!((chat_id.as_str(), metadata), ("chat-7", Some(json!({ "user": 7 }))));
    // Without a word the ids are the same in every test, and the attempt is the first.
    let ids = |told: &(RunContext, String, _)| (told.0.run_id.clone(), told.0.session_id.clone(), told.0.attempt);
    let (first, second) = (told(MockTaskContext::new()).await.unwrap(), told(MockTaskContext::new()).await.unwrap());
    assert_eq!((ids(&first), ids(&first).2), (ids(&second), 1));
}

#[tokio::test(start_paused = true)]
async fn a_tasks_locals_are_set_before_it_and_read_beside_it_a263() {
    static DATABASE: LocalKey<&'static str> = LocalKey::new("database");
    let context = MockTaskContext::new().setup_locals(|locals| locals.set(&DATABASE, "double"));

    let ran = run_in_mock_task_context(context, |run: CustomRun, drivers: MockTaskDrivers| async move {
        let before = *run.chat.locals().get(&DATABASE).unwrap();
        drivers.locals().set(&DATABASE, "another");
        Ok((before, *run.chat.locals().get(&DATABASE).unwrap()))
    });

    assert_eq!(ran.await.unwrap(), ("double", "another"));
}

#[tokio::test(start_paused = true)]
async fn a_task_that_fails_or_panics_says_so_a263() {
    let failed = run_in_mock_task_context(MockTaskContext::new(), |_: CustomRun, _| async {
        Err::<(), _>("no database".into())
    });
    let panicked = run_in_mock_task_context(MockTaskContext::new(), |_: CustomRun, drivers| async move {
        drivers.send(ChatInputChunk::Stop { message: None }).await;
        if drivers.ctx().attempt == 1 { panic!("a bug") } else { Ok(()) }
    });

    assert_eq!(failed.await.unwrap_err().to_string(), "no database");
    let panicked = panicked.await.unwrap_err().to_string();
    assert_eq!(panicked, "the task did not come to its end: its run crashed: panic: a bug");
}
