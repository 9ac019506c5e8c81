use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use turnkeep_protocol::ModelMessage;

use super::inject::{noting, sent};
use crate::testing::*;
use crate::{Agent, PrepareStep, StepChange, Tool, ToolChoice, TurnComplete, TurnInput, step_count_is};

async fn run(session: &Arc<FakeSession>, agent: Agent, model: Arc<FakeModel>) {
    session.say("hi");
    let lease = lease(session, 1, json!({ "trigger": "submit-message" }));
    serve(session, agent, model, lease).await.expect("the run ends well");
}

fn tool(name: &'static str) -> Tool {
    Tool::new(name, "", json!({}), |_, _| async { Ok(json!(1)) })
}

/// An agent of three steps at most, each prepared by `prepare`.
fn prepared<F, Fut>(prepare: F) -> Agent
where
    F: Fn(PrepareStep) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<StepChange, crate::HookError>> + Send + 'static,
{
    Agent::new("test", move |turn: TurnInput| {
        let prepare = prepare.clone();
        async move {
            let stream = turn.stream_text().system("usual").tools([tool("t")]).setting("temperature", json!(1));
            Ok(stream.stop_when(step_count_is(3)).prepare_step(prepare))
        }
    })
}

#[tokio::test(start_paused = true)]
async fn a_step_may_be_asked_differently_and_the_next_one_is_as_usual_again_a167() {
    let session = Arc::new(FakeSession::default());
    let special = FakeModel::new(|prompt| {
        let tools: Vec<_> = prompt.tools.iter().map(|tool| tool.name.as_str()).collect();
        assert_eq!((sent(prompt).as_str(), prompt.system.as_deref()), ("s:only this", Some("special")));
        assert_eq!((tools.as_slice(), prompt.step), (["u"].as_slice(), 1));
        let settings = json!({ "temperature": 1, "toolChoice": { "type": "tool", "toolName": "u" } });
        assert_eq!(Value::Object(prompt.settings.clone()), settings);
        assert_eq!(Value::Object(prompt.provider_options.clone()), json!({ "acme": { "fast": true } }));
        calls("c2", "u", json!({}))
    });
    let agent = prepared(move |step: PrepareStep| {
        let special = special.clone();
        async move {
            Ok(match step.step_number {
                1 => StepChange::none()
                    .model(special)
                    .messages(vec![ModelMessage::system("only this")])
                    .system("special")
                    .tools([tool("u")])
                    .tool_choice(ToolChoice::Tool("u".to_owned()))
                    .provider_options("acme", json!({ "fast": true })),
                _ => StepChange::none(),
            })
        }
    });
    let usual = FakeModel::new(|prompt| {
        assert_eq!((prompt.system.as_deref(), prompt.tools[0].name.as_str()), (Some("usual"), "t"));
        assert_eq!(Value::Object(prompt.settings.clone()), json!({ "temperature": 1 }));
        match prompt.step {
            0 => calls("c1", "t", json!({})),
            _ => {
                assert_eq!(sent(prompt), "u:hi a:tool-call t:tool-result a:tool-call t:tool-result");
                says("done")
            }
        }
    });

    run(&session, agent, usual).await;

    assert!(session.story().contains("start-step text-start done text-end"), "{}", session.story());
}

#[tokio::test(start_paused = true)]
async fn a_step_is_prepared_with_what_came_of_the_steps_before_a167() {
    let session = Arc::new(FakeSession::default());
    let seen: Arc<Mutex<Vec<String>>> = Arc::default();
    let noted = seen.clone();
    let agent = prepared(move |step: PrepareStep| {
        let calls: Vec<_> = step.steps.iter().flat_map(|step| &step.calls).map(|call| call.is_answered).collect();
        let tokens: Vec<_> = step.steps.iter().map(|step| step.usage.total_tokens).collect();
        noted.lock().unwrap().push(format!("{} {calls:?} {tokens:?} {}", step.step_number, step.messages.len()));
        async { Ok(StepChange::none()) }
    });
    let diary = Arc::default();
    let model = noting(&diary, |call| if call == 0 { calls("c1", "t", json!({})) } else { says("done") });

    run(&session, agent, model).await;

    assert_eq!(*seen.lock().unwrap(), ["0 [] [] 1", "1 [true] [Some(3)] 3"]);
}

#[tokio::test(start_paused = true)]
async fn a_preparation_that_fails_is_an_error_of_the_stream_and_keeps_what_was_said_a167_a158() {
    let session = Arc::new(FakeSession::default());
    let hooked = Diary::default();
    let agent = prepared(|step: PrepareStep| async move {
        if step.step_number == 1 { Err("no idea".into()) } else { Ok(StepChange::none()) }
    })
    .on_turn_complete(noted(&hooked, "on_turn_complete", |event: TurnComplete| async move {
        assert_eq!(event.error.as_deref(), Some("no idea"));
        Ok(())
    }));
    let model = FakeModel::new(|_| calls("c1", "t", json!({})));

    run(&session, agent, model).await;

    assert_eq!(entries(&hooked).len(), 1);
    let want = "start start-step tool-input-available tool-output-available finish-step error(no idea) done(0)";
    assert_eq!(session.story(), want);
    assert_eq!(session.saved_ids().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_stop_does_not_wait_for_a_preparation_a143() {
    let session = Arc::new(FakeSession::default());
    let agent = prepared(|_| futures::future::pending());
    let talk = async {
        session.until(|state| state.out.len() == 1).await;
        session.send(stop());
    };
    let model = FakeModel::new(|_| panic!("the model must not be asked"));

    let ((), ()) = tokio::join!(run(&session, agent, model), talk);

    assert_eq!(session.story(), "start abort(stopped) done(1)");
}
