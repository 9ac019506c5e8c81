use turnkeep_model::{LanguageModel as _, ToolSpec};

use super::support::*;
use crate::model::*;

#[tokio::test(start_paused = true)]
async fn content_decides_first_and_order_the_rest() {
    let model = MockLanguageModel::new()
        .step([say("first")])
        .step_when("cat", [say("meow")])
        .step([say("second")])
        .step_when(When::new().user("cat").system("loud"), [say("MEOW")]);
    let loud = |text| turnkeep_model::Prompt { system: Some("Be loud.".to_owned()), ..ask(text) };

    assert_eq!(text(&model, loud("the cat")).await, "MEOW");
    assert_eq!(text(&model, loud("the cat")).await, "meow");
    assert_eq!(text(&model, ask("the dog")).await, "first");
    assert_eq!(text(&model, ask("the cat")).await, "second");
}

#[tokio::test(start_paused = true)]
async fn steps_find_their_call_by_tool_results_ids_and_offers() {
    let model = MockLanguageModel::new()
        .step_when(When::new().tool_result("forecast").result("rain"), [say("umbrella")])
        .step_when(When::new().tool_call_id("call-7"), [say("seven")])
        .step_when(When::new().offers("search"), [say("searching")]);
    let mut offering = ask("find");
    offering.tools =
        vec![ToolSpec { name: "search".to_owned(), description: None, input_schema: serde_json::json!({}) }];

    assert_eq!(text(&model, with_result("find", "other", "call-7", "-")).await, "seven");
    assert_eq!(text(&model, offering).await, "searching");
    assert_eq!(text(&model, with_result("find", "forecast", "call-1", "rain, 4 degrees")).await, "umbrella");
}

#[tokio::test(start_paused = true)]
async fn turn_and_step_numbers_only_order_steps_that_fit_equally_well() {
    let model = MockLanguageModel::new()
        .step_when(When::new().user("hi").turn(1), [say("again")])
        .step_when(When::new().user("hi").turn(0), [say("hello")])
        .step_when(When::new().turn(5), [say("shifted")]);

    // The first message gets the step of its turn, although another stands before it.
    assert_eq!(text(&model, ask("hi")).await, "hello");
    // A conversation that is a turn behind keeps its answers.
    assert_eq!(text(&model, ask("hi")).await, "again");
    assert_eq!(text(&model, ask("anything")).await, "shifted");
}

#[tokio::test(start_paused = true)]
async fn a_step_may_answer_several_calls_or_any_number() {
    let model = MockLanguageModel::new()
        .script([ScriptStep::new([say("ping")]).when("ping").forever(), ScriptStep::new([say("twice")]).times(2)]);

    for want in ["twice", "twice", "refused: the script has no step for model call 2 asked \"x\""] {
        assert_eq!(text(&model, ask("x")).await, want);
    }
    for _ in 0..3 {
        assert_eq!(text(&model, ask("ping")).await, "ping");
    }
    assert!(model.unused().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_script_that_runs_out_fails_repeats_or_begins_again() {
    let model = |runs_out| MockLanguageModel::new().step([say("a")]).step([say("b")]).when_it_runs_out(runs_out);
    let four = async |model: MockLanguageModel| {
        let mut texts = Vec::new();
        for _ in 0..4 {
            texts.push(text(&model, ask("x")).await);
        }
        (texts.join(" "), model.verdict().is_some())
    };

    assert_eq!(four(model(RunsOut::RepeatLast)).await, ("a b b b".to_owned(), false));
    assert_eq!(four(model(RunsOut::Loop)).await, ("a b a b".to_owned(), false));
    let (texts, disagrees) = four(model(RunsOut::Fail)).await;
    assert!(texts.starts_with("a b refused: the script has no step for model call 2"), "{texts}");
    assert!(disagrees);
}

#[tokio::test(start_paused = true)]
async fn a_function_may_answer_a_step_or_whatever_the_script_does_not() {
    let model = MockLanguageModel::new()
        .step_with(|call: &ModelCall| [say(format!("first of {}", call.n_messages))])
        .step_with_async(|call: ModelCall| async move {
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            [say(format!("slowly: {}", call.asked))]
        })
        .otherwise(|call: &ModelCall| [say(format!("echo {} ({})", call.asked, call.nth_of_run))]);

    assert_eq!(text(&model, ask("x")).await, "first of 1");
    assert_eq!(text(&model, ask("y")).await, "slowly: y");
    assert_eq!(text(&model, ask("z")).await, "echo z (2)");
    model.assert_used_up();
    assert_eq!(model.calls()[2].answer, Some(ScriptStep::new([say("echo z (2)")])));
}

#[tokio::test(start_paused = true)]
async fn one_script_serves_each_chat_run_and_attempt_its_own_answers() {
    let model = MockLanguageModel::new()
        .script_for_chat("a", [ScriptStep::new([say("for a")])])
        .script_for_chat("b", [ScriptStep::new([say("for b")])])
        .script_for_run(1, [ScriptStep::new([say("second run")])])
        .step_when(When::new().chat("c").attempt(2), [say("second attempt")])
        .step_when(When::new().chat("c").attempt(1), [say("first attempt")]);

    assert_eq!(text(&model, ask_from("b", "run-b", 1, "x")).await, "for b");
    assert_eq!(text(&model, ask_from("a", "run-a", 1, "x")).await, "for a");
    assert_eq!(text(&model, ask_from("a", "run-a2", 1, "x")).await, "second run");
    assert_eq!(text(&model, ask_from("c", "run-c", 1, "x")).await, "first attempt");
    assert_eq!(text(&model, ask_from("c", "run-c", 2, "x")).await, "second attempt");
    model.assert_used_up();
}

#[tokio::test(start_paused = true)]
async fn the_place_in_the_script_survives_its_caller_and_an_interrupted_step_may_be_played_again() {
    let die = async |model: &MockLanguageModel| {
        let mut parts = model.stream(ask_from("a", "run-1", 1, "x")).await.unwrap();
        parts.next().await;
    };
    let script = || MockLanguageModel::new().step([say("one")]).step([say("two")]);

    let moves_on = script();
    die(&moves_on).await;
    assert_eq!(text(&moves_on, ask_from("a", "run-1", 2, "x")).await, "two");

    let replays = script().replay_interrupted();
    die(&replays).await;
    assert_eq!(text(&replays, ask_from("b", "run-9", 1, "x")).await, "two");
    assert_eq!(text(&replays, ask_from("a", "run-1", 2, "x")).await, "one");
    replays.assert_used_up();
}
