use std::time::Duration;

use serde_json::json;
use turnkeep_model::{LanguageModel as _, ModelError};

use super::support::*;
use crate::model::*;

async fn played(step: ScriptStep) -> String {
    words(&answer(&MockLanguageModel::new().script([step]), ask("hi")).await.unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_cut_stream_has_no_finish_and_a_failed_one_ends_with_its_error() {
    assert_eq!(played(ScriptStep::new([say("a"), cut()])).await, r#"begin text( "a""#);
    assert_eq!(played(ScriptStep::new([say("a"), fail("boom"), say("never")])).await, r#"begin text( "a" error boom"#);
    assert_eq!(played(ScriptStep::new([cut_mid("Hello")])).await, r#"begin text( "Hel""#);
}

#[tokio::test(start_paused = true)]
async fn a_step_breaks_at_any_delta_or_call() {
    let step = || ScriptStep::new([speak("one two three"), call("t", json!({}))]);
    let broken = |at, how| played(step().break_at(at, how));

    assert_eq!(broken(0, Break::Cut).await, "begin text(");
    assert_eq!(broken(1, Break::Cut).await, r#"begin text( "one ""#);
    assert_eq!(broken(1, Break::MidToken).await, r#"begin text( "one " "tw""#);
    assert_eq!(
        broken(3, Break::Fail(Failure::ServerError(503))).await,
        r#"begin text( "one " "two " "three" ) error 503: the provider is out of order"#
    );
    assert_eq!(broken(9, Break::Cut).await, played(step()).await);
}

#[tokio::test(start_paused = true)]
async fn a_stalled_stream_gives_nothing_more() {
    let model = MockLanguageModel::new().script([ScriptStep::new([speak("one two")]).break_at(1, Break::Stall)]);

    let mut parts = model.stream(ask("hi")).await.unwrap();
    while let Ok(Some(_)) = tokio::time::timeout(Duration::from_secs(3600), parts.next()).await {}

    let call = &model.calls()[0];
    assert_eq!((call.n_parts, &call.end), (3, &CallEnd::Open));
}

#[tokio::test(start_paused = true)]
async fn a_failure_that_comes_first_refuses_the_call_and_can_be_told_from_others() {
    let refused = async |failure| {
        let model = MockLanguageModel::new().step([fail_with(failure)]);
        model.stream(ask("hi")).await.err().unwrap()
    };

    let limited = refused(Failure::RateLimited { retry_after_ms: Some(1500) }).await;
    assert!(matches!(limited, ModelError::RateLimited { retry_after_ms: Some(1500), .. }), "{limited:?}");
    assert!(refused(Failure::ServerError(500)).await.is_retryable());
    // As the adapters tell it.
    assert!(matches!(refused(Failure::Unauthorized {}).await, ModelError::Unauthorized { .. }));
    assert!(matches!(refused(Failure::Malformed("{".to_owned())).await, ModelError::Malformed { .. }));
    let model = MockLanguageModel::new().step([fail("no quota")]);
    assert_eq!(answer(&model, ask("1")).await.unwrap_err(), "no quota");
}

#[tokio::test(start_paused = true)]
async fn the_model_says_how_each_call_ended_and_when_it_saw_an_abort() {
    let model = MockLanguageModel::new()
        .step([say("whole")])
        .step([fail("no")])
        .step([say("a"), fail("late")])
        .step([say("a"), cut()])
        .step([say("a"), wait(Duration::from_secs(60)), say("never")]);

    for text in ["1", "2", "3", "4"] {
        let _ = answer(&model, ask(text)).await;
    }
    let mut parts = model.stream(ask("5")).await.unwrap();
    while tokio::time::timeout(Duration::from_secs(7), parts.next()).await.is_ok() {}
    drop(parts);

    let ends: Vec<CallEnd> = model.calls().into_iter().map(|call| call.end).collect();
    assert_eq!(
        ends,
        [
            CallEnd::Finished,
            CallEnd::Refused(ModelError::unavailable("no")),
            CallEnd::Failed(ModelError::unavailable("late")),
            CallEnd::Cut,
            CallEnd::Aborted { after: Some(Duration::from_secs(7)) },
        ]
    );
    assert_eq!(model.calls()[4].n_parts, 3);
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_leaves_after_the_finish_has_not_aborted() {
    let model = MockLanguageModel::new().step([say("a")]);

    let mut parts = model.stream(ask("1")).await.unwrap();
    for _ in 0..5 {
        parts.next().await.unwrap();
    }
    drop(parts);

    assert_eq!(model.calls()[0].end, CallEnd::Finished);
}
