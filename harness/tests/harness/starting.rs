//! Starting sessions from a server, with what the runs that begin then do (A §17).

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use turnkeep_agent::{Agent, TurnInput};
use turnkeep_client::{Error, StartChat, StartSessionAction};
use turnkeep_harness::model::{MockLanguageModel, say};
use turnkeep_protocol::{ChannelName, JsonObject, PUBLIC_ACCESS_TOKEN, TaskId};

use crate::stage::{KEY, Stage};

type Diary = Arc<Mutex<Vec<String>>>;

/// Notes the hooks that make an author's rows, and the one that changes them.
fn diarist(diary: &Diary) -> Agent {
    let note = |hook: &'static str| {
        let diary = diary.clone();
        move |client_data: &serde_json::Value| diary.lock().unwrap().push(format!("{hook} {}", client_data["user"]))
    };
    let (preload, start, turn) = (note("preload"), note("chat-start"), note("turn-start"));
    Agent::new("agent", |turn: TurnInput| async move { Ok(turn.stream_text()) })
        .on_preload(move |event| {
            preload(&event.client_data);
            async { Ok(()) }
        })
        .on_chat_start(move |event| {
            start(&event.client_data);
            async { Ok(()) }
        })
        .on_turn_start(move |event| {
            turn(&event.client_data);
            async { Ok(()) }
        })
}

async fn stage(diary: &Diary) -> Stage {
    let model = MockLanguageModel::new().step([say("Hello.")]).step([say("Hello again.")]);
    Stage::new([(diarist(diary), model)]).await
}

fn user() -> JsonObject {
    serde_json::from_value(json!({ "user": 7 })).unwrap()
}

fn action(stage: &Stage, key: impl Into<String>) -> StartSessionAction {
    StartSessionAction::new(stage.sessions(key), TaskId::new("agent"))
}

#[tokio::test(start_paused = true)]
async fn a_run_that_a_servers_action_started_makes_its_rows_before_its_first_turn_a256_a256a_af13() {
    // C-239: preload makes them, or else the first turn's start, once for a chat.
    let diary = Diary::default();
    let stage = stage(&diary).await;

    let started = action(&stage, KEY).start(&StartChat::new("chat").client_data(user())).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(*diary.lock().unwrap(), ["preload 7"], "it does not wait for a message");
    let again = action(&stage, KEY).start(&StartChat::new("chat").client_data(user())).await.unwrap();
    let chat = stage.builder("agent", "chat").client_data(user()).session(None).build();
    assert_eq!(chat.send_message("hi").await.unwrap().text().await.unwrap(), "Hello.");

    assert_eq!((again.session_id, again.run_id), (started.session_id, started.run_id), "one session for one chat id");
    assert_eq!(*diary.lock().unwrap(), ["preload 7", "chat-start 7", "turn-start 7"]);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_the_server_client_started_makes_its_rows_before_its_first_turn_a256a_af13() {
    for is_preloaded in [true, false] {
        let diary = Diary::default();
        let stage = stage(&diary).await;
        let chat = stage.builder("agent", "chat").client_data(user()).build();
        if is_preloaded {
            chat.preload(None).await.unwrap();
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(*diary.lock().unwrap(), ["preload 7"]);
        }

        assert_eq!(chat.send_message("hi").await.unwrap().text().await.unwrap(), "Hello.");

        let told = diary.lock().unwrap().clone();
        assert_eq!(told[told.len() - 2..], ["chat-start 7", "turn-start 7"], "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_token_starts_chats_with_its_agent_for_a_day_and_does_nothing_else_a257() {
    let stage = stage(&Diary::default()).await;
    let token = stage.sessions(KEY).task_token(&TaskId::new("agent")).await.unwrap();
    let refused = |error: Error| error.status().unwrap();

    let started = action(&stage, &*token).start(&StartChat::new("chat")).await.unwrap();
    let other = StartSessionAction::new(stage.sessions(&*token), TaskId::new("other"));
    let other = other.start(&StartChat::new("other-chat")).await.unwrap_err();
    let read = stage.sessions(&*token).retrieve("chat").await.unwrap_err();
    let own = stage.sessions(started.public_access_token).retrieve("chat").await;

    assert_eq!((refused(other), refused(read), own.is_ok()), (403, 403, true));
    tokio::time::sleep(Duration::from_secs(24 * 3600 - 60)).await;
    assert!(action(&stage, &*token).start(&StartChat::new("late-chat")).await.is_ok());
    tokio::time::sleep(Duration::from_secs(120)).await;
    let late = action(&stage, &*token).start(&StartChat::new("later-chat")).await.unwrap_err();
    assert_eq!(refused(late), 401);
}

#[tokio::test(start_paused = true)]
async fn a_turns_token_lives_as_long_as_the_agent_says_a93() {
    let agent = diarist(&Diary::default()).chat_access_token_ttl(Duration::from_secs(90));
    let stage = Stage::new([(agent, MockLanguageModel::new().step([say("Hello.")]))]).await;
    stage.chat("agent", "chat").send_message("Hi").await.unwrap().text().await.unwrap();
    let records = stage.sessions(KEY).drain("chat", ChannelName::Out, None).await.unwrap();
    let token = records.iter().flat_map(|record| &record.headers).find(|header| header.0 == PUBLIC_ACCESS_TOKEN);
    let own = stage.sessions(&*token.expect("the boundary brings one").1);

    tokio::time::sleep(Duration::from_secs(80)).await;
    let in_time = own.retrieve("chat").await;
    tokio::time::sleep(Duration::from_secs(20)).await;
    let late = own.retrieve("chat").await;

    assert!(in_time.is_ok(), "{in_time:?}");
    assert_eq!(late.unwrap_err().status(), Some(401));
}
