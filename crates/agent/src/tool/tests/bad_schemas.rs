//! Tools whose input schema is none: nobody is served with one, and no model is asked.

use turnkeep_host::Host;

use super::*;
use crate::{Error, Worker, WorkerOptions};

const PROBLEM: &str = "tool `look` has a bad input schema: schema.required is not of type \"array\"";

fn look() -> Tool {
    Tool::new("look", "", json!({ "required": "city" }), |_, _| async { Ok(Value::Null) })
}

#[tokio::test]
async fn a_worker_does_not_start_with_a_bad_schema_a119() {
    let options = WorkerOptions::new("http://localhost:1", "key", "w");
    let agent = Agent::new("weather", |turn: TurnInput| async move { Ok(turn.stream_text()) }).tools([cafe(), look()]);

    let served = Worker::new(Host::os(), options).model(FakeModel::echo()).agent(agent).run_until(async {}).await;

    assert_eq!(served, Err(Error::BadOptions(format!("agent `weather`: {PROBLEM}"))));
}

#[track_caller]
fn fails_its_turn(session: &FakeSession) {
    assert!(session.story().contains(&format!("error({PROBLEM})")), "{}", session.story());
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_given_a_bad_schema_fails_before_the_model_is_asked_a119() {
    let model = FakeModel::new(|_| panic!("the model is asked"));

    fails_its_turn(&*ask(vec![look()], model).await);
}

#[tokio::test(start_paused = true)]
async fn resolved_tools_with_a_bad_schema_fail_their_turn_a119_a84() {
    let agent = stepper().resolve_tools(|_: crate::ResolveTools| async { Ok(vec![look()]) });

    fails_its_turn(&*ask_twice(agent).await);
}
