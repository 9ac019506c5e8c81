//! What a builder says, and what the agent that it made says on top (A-258, A-259).

use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use turnkeep_model::{ModelError, StreamPart, UiStreamOptions};

use crate::testing::*;
use crate::{Agent, AgentBuilder, Compaction, TurnInput};

/// Every hook that a builder may have, in the order in which [`converse`] comes to them.
const HOOKS: [&str; 9] = [
    "on_boot",
    "on_preload",
    "on_chat_suspend",
    "on_chat_resume",
    "on_chat_start",
    "on_turn_start",
    "on_compacted",
    "on_before_turn_complete",
    "on_turn_complete",
];

/// Sets each of [`HOOKS`] to note `who`; the one called `failing` fails.
macro_rules! noting {
    ($to:expr, $who:literal, $diary:expr, $failing:expr) => {
        noting!($to, $who, $diary, $failing; on_boot, on_preload, on_chat_suspend, on_chat_resume, on_chat_start,
            on_turn_start, on_compacted, on_before_turn_complete, on_turn_complete)
    };
    ($to:expr, $who:literal, $diary:expr, $failing:expr; $($hook:ident),*) => {{
        let to = $to;
        $( let (diary, failing) = ($diary.clone(), $failing);
        let to = to.$hook(move |_| {
            diary.lock().unwrap().push(format!("{} {}", $who, stringify!($hook)));
            async move { if failing == stringify!($hook) { Err("no".into()) } else { Ok(()) } }
        }); )*
        to
    }};
}

/// Serves a chat that is opened early, sleeps, gets one message and is summed up.
async fn converse(agent: Agent) -> Arc<FakeSession> {
    let session = Arc::new(FakeSession::default());
    let opened = lease(&session, 1, json!({ "trigger": "preload" }));
    let talk = async {
        session.until(|state| state.waits.len() == 1).await;
        session.say("a");
        std::future::pending::<()>().await;
    };
    tokio::select! {
        biased;
        // Some of these runs fail, as their hooks do.
        _ = serve(&session, agent, FakeModel::echo(), opened) => {}
        () = talk => {}
    }
    session
}

fn summing(agent: Agent) -> Agent {
    let compaction = Compaction::above(2, |_| async { Ok("sum".to_owned()) });
    agent.idle_timeout(Duration::from_secs(5)).compaction(compaction)
}

async fn answer(turn: TurnInput) -> Result<crate::StreamText, crate::HookError> {
    Ok(turn.stream_text())
}

#[tokio::test(start_paused = true)]
async fn a_builders_hook_runs_before_the_agents_own_every_time_a258() {
    let diary = Diary::default();
    let builder = noting!(AgentBuilder::new(), "builder", diary, "");

    converse(noting!(summing(builder.agent("test", answer)), "agent", diary, "")).await;

    let said = diary.lock().unwrap().clone();
    let pairs: Vec<&[String]> = said.chunks(2).collect();
    let hooks: Vec<&str> = pairs.iter().map(|pair| pair[0].strip_prefix("builder ").unwrap()).collect();
    assert_eq!(hooks[..9], HOOKS);
    assert_eq!(hooks[9..], ["on_chat_suspend"], "the run sleeps once more before it ends");
    for (pair, hook) in pairs.iter().zip(hooks) {
        assert_eq!(pair[1], format!("agent {hook}"));
    }
}

#[tokio::test(start_paused = true)]
async fn when_a_builders_hook_fails_the_agents_own_does_not_run_a258() {
    for failing in HOOKS {
        let diary = Diary::default();
        let builder = noting!(AgentBuilder::new(), "builder", diary, failing);

        converse(noting!(summing(builder.agent("test", answer)), "agent", diary, "")).await;

        let said = diary.lock().unwrap().clone();
        assert!(said.contains(&format!("builder {failing}")), "{failing}: {said:?}");
        assert!(!said.contains(&format!("agent {failing}")), "{failing}: {said:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_builder_makes_many_agents_and_each_keeps_its_own_hooks_a258() {
    let diary = Diary::default();
    let own = diary.clone();
    let builder = AgentBuilder::new().on_boot(move |_| {
        own.lock().unwrap().push("builder".to_owned());
        async { Ok(()) }
    });
    let own = diary.clone();
    let first = builder.agent("first", answer).on_boot(move |_| {
        own.lock().unwrap().push("first".to_owned());
        async { Ok(()) }
    });

    converse(summing(first.clone().on_boot(|_| async { Ok(()) }))).await;
    converse(summing(first)).await;
    converse(summing(builder.agent("second", answer))).await;

    let want = ["builder", "builder", "first", "builder"];
    assert_eq!(
        *diary.lock().unwrap(),
        want,
        "a hook that is set again takes the place of the agent's, not of the builder's"
    );
}

#[tokio::test(start_paused = true)]
async fn the_agents_stream_options_win_over_the_builders_one_by_one_a258_a121() {
    let session = Arc::new(FakeSession::default());
    session.say("a");
    let options = UiStreamOptions::new().send_reasoning(false).send_start(false).on_error(|_| "masked".to_owned());
    let agent = AgentBuilder::new()
        .ui_options(options)
        .agent("test", answer)
        .ui_options(UiStreamOptions::new().send_start(true))
        .idle_timeout(Duration::ZERO);
    let model = FakeModel::new(|_| {
        let reasoning = StreamPart::ReasoningStart { id: "r".to_owned(), provider_metadata: None };
        vec![part(reasoning), part(StreamPart::Error(ModelError::unavailable("at host 7")))]
    });

    serve(&session, agent, model, lease(&session, 1, json!({}))).await.expect("the run ends well");

    assert_eq!(session.story(), "start start-step error(masked) done(0)");
}

#[derive(Deserialize, JsonSchema)]
#[expect(dead_code, reason = "only its schema is looked at")]
struct Person {
    name: String,
}

#[tokio::test(start_paused = true)]
async fn the_builders_client_data_is_checked_and_published_unless_the_agent_has_its_own_a258_a259() {
    let builder = AgentBuilder::new().client_data_as::<Person>();
    let agent = builder.agent("test", answer).idle_timeout(Duration::ZERO);
    let own = agent.clone().client_data(Ok);
    let publishes = |agent: &Agent| agent.payload_schema().map(|schema| schema["required"].clone());
    assert_eq!(publishes(&agent), Some(json!(["name"])));
    assert_eq!(publishes(&own), None);

    let story = async |agent: Agent| {
        let session = Arc::new(FakeSession::default());
        session.say("a");
        let lease = lease(&session, 1, json!({ "metadata": Value::Null }));
        serve(&session, agent, FakeModel::echo(), lease).await.expect("the run ends well");
        session.story()
    };

    assert_eq!(story(agent).await, "error(clientData is not of type \"object\") done(0)");
    assert!(story(own).await.contains("re a"));
}
