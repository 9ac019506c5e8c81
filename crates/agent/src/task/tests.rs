use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::testing::*;
use crate::{Agent, AgentBuilder, Error, HookError, OutOfMemory, TaskComplete, TaskEvent, TaskFailure, TurnInput};

type Diary = Arc<Mutex<Vec<String>>>;

/// Notes every hook of the task, and those of the chat beside them; `fails` names the one that fails.
fn noting(diary: &Diary, fails: &'static str) -> Agent {
    let note = move |name: &'static str, diary: &Diary| {
        diary.lock().unwrap().push(name.to_owned());
        async move { if name == fails { Err::<(), HookError>("no".into()) } else { Ok(()) } }
    };
    let diaries: [Diary; 9] = std::array::from_fn(|_| diary.clone());
    let [start, wait, resume, success, failure, complete, boot, suspend, wake] = diaries;
    talker()
        .on_start(move |_: TaskEvent| note("start", &start))
        .on_wait(move |_: TaskEvent| note("wait", &wait))
        .on_resume(move |_: TaskEvent| note("resume", &resume))
        .on_success(move |_: TaskEvent| note("success", &success))
        .on_failure(move |event: TaskFailure| note("failure", &failure).then_saying(&failure, event.error))
        .on_complete(move |event: TaskComplete| {
            let ended = event.result.err().unwrap_or_else(|| "well".to_owned());
            note("complete", &complete).then_saying(&complete, ended)
        })
        .on_boot(move |_| note("boot", &boot))
        .on_chat_suspend(move |_| note("suspend", &suspend))
        .on_chat_resume(move |_| note("wake", &wake))
}

trait ThenSaying: Future<Output = Result<(), HookError>> + Send + Sized + 'static {
    /// Notes what the event said.
    fn then_saying(self, diary: &Diary, text: String) -> Self {
        diary.lock().unwrap().push(format!("({text})"));
        self
    }
}

impl<F: Future<Output = Result<(), HookError>> + Send + 'static> ThenSaying for F {}

async fn story(session: &Arc<FakeSession>, agent: Agent, attempt: u32, diary: &Diary) -> (Result<(), Error>, String) {
    let lease = lease(session, attempt, json!({ "trigger": "submit-message" }));
    let ended = serve(session, agent, FakeModel::echo(), lease).await;
    (ended, std::mem::take(&mut *diary.lock().unwrap()).join(" "))
}

#[tokio::test(start_paused = true)]
async fn the_hooks_of_the_task_run_around_those_of_the_chat_a196() {
    let (session, diary) = (Arc::new(FakeSession::default()), Diary::default());
    session.say("a");

    let (ended, told) = story(&session, noting(&diary, ""), 1, &diary).await;

    assert_eq!(ended, Ok(()));
    assert_eq!(told, "start boot suspend wait resume success complete (well)");
}

#[tokio::test(start_paused = true)]
async fn on_wait_fires_for_every_durable_wait_and_the_chats_hooks_once_a196_a32() {
    // C-250, CR-40: the stop wakes the wait once, and does not wake it again.
    let (session, diary) = (Arc::new(FakeSession::default()), Diary::default());
    let talk = async {
        session.until(|state| state.waits.len() == 1).await;
        session.send(stop());
        session.until(|state| state.waits.len() == 2).await;
        session.say("a");
        session.until_turns(1).await;
    };

    let ((ended, told), ()) = tokio::join!(story(&session, noting(&diary, ""), 1, &diary), talk);

    assert_eq!(ended, Ok(()));
    let waits = "start boot suspend wait resume wait resume wake suspend wait resume success complete (well)";
    assert_eq!(told, waits);
}

#[tokio::test(start_paused = true)]
async fn a_run_starts_once_however_many_attempts_it_takes_a196() {
    let (session, diary) = (Arc::new(FakeSession::default()), Diary::default());
    session.say("a");
    // The first attempt was lost before it began; the second one begins the run and runs out of memory.
    let dies = noting(&diary, "").on_boot(|_| async { Err(OutOfMemory.into()) });

    let second = story(&session, dies, 2, &diary).await;
    let third = story(&session, noting(&diary, ""), 3, &diary).await;

    assert_eq!(second, (Err(Error::OutOfMemory), "start".to_owned()), "another attempt may follow: nothing is over");
    assert_eq!(third, (Ok(()), "boot suspend wait resume success complete (well)".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_hook_that_fails_at_the_start_fails_the_run_and_a_later_one_is_warned_of_a196() {
    let run = async |fails: &'static str| {
        let (session, diary) = (Arc::new(FakeSession::default()), Diary::default());
        session.say("a");
        let (ended, told) = story(&session, noting(&diary, fails), 1, &diary).await;
        let warnings = session.state().warnings.join("; ");
        (ended.map_err(|error| error.to_string()), told, warnings)
    };
    let failed = |what: &str| Err(format!("{what} failed: no"));

    let (ended, told, _) = run("start").await;
    assert_eq!(
        (ended, &*told),
        (failed("on_start"), "start failure (on_start failed: no) complete (on_start failed: no)")
    );
    let (ended, told, _) = run("boot").await;
    let boot = "start boot failure (on_boot failed: no) complete (on_boot failed: no)";
    assert_eq!((ended, &*told), (failed("on_boot"), boot));
    for name in ["wait", "resume", "success", "complete"] {
        let (ended, told, warnings) = run(name).await;
        assert_eq!(ended, Ok(()), "{name}");
        assert_eq!(told, "start boot suspend wait resume success complete (well)", "{name}");
        assert_eq!(warnings, format!("on_{name} failed: no"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_builders_hook_comes_first_and_the_payload_is_passed_on_unchanged_a196_a258() {
    let (session, diary) = (Arc::new(FakeSession::default()), Diary::default());
    let (first, own) = (diary.clone(), diary.clone());
    let agent = AgentBuilder::new()
        .on_start(move |event: TaskEvent| {
            first.lock().unwrap().push(format!("builder {}", event.ctx.attempt));
            async { Ok(()) }
        })
        .agent("test", |turn: TurnInput| async move { Ok(turn.stream_text()) })
        .idle_timeout(Duration::ZERO)
        .on_start(move |event: TaskEvent| {
            own.lock().unwrap().push(Value::Object(event.payload).to_string());
            async { Ok(()) }
        });

    let (_, told) = story(&session, agent, 1, &diary).await;

    assert_eq!(told, r#"builder 1 {"chatId":"chat","trigger":"submit-message"}"#);
}
