use std::panic::{AssertUnwindSafe, catch_unwind};

use serde_json::json;
use turnkeep_model::{Prompt, ToolSpec};
use turnkeep_protocol::{ContentPart, ModelMessage};

use super::support::*;
use crate::model::*;

/// The text of the panic.
pub(in crate::model) fn panic_of(check: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(check)).expect_err("the check fails");
    let text = panic.downcast_ref::<String>().cloned();
    text.unwrap_or_else(|| (*panic.downcast_ref::<&str>().expect("a panic has a text")).to_owned())
}

async fn model_that_was_asked() -> MockLanguageModel {
    let model = MockLanguageModel::new().when_it_runs_out(RunsOut::RepeatLast).step([say("ok")]);
    let mut prompt = Prompt { system: Some("You tell the weather.".to_owned()), ..ask("What is it like in Oslo?") };
    prompt.messages.push(ModelMessage::assistant(vec![ContentPart::tool_call(
        "c1",
        "forecast",
        json!({ "city": "Oslo" }),
    )]));
    prompt.messages.push(with_result("", "forecast", "c1", "rain").messages.pop().unwrap());
    prompt.tools =
        vec![ToolSpec { name: "forecast".to_owned(), description: None, input_schema: json!({ "type": "object" }) }];
    prompt.settings.insert("temperature".to_owned(), json!(0));
    text(&model, prompt).await;
    text(&model, ask_from("chat-1", "run_1", 2, "And tomorrow?")).await;
    model
}

#[tokio::test(start_paused = true)]
async fn a_prompt_is_checked_from_every_side() {
    let model = model_that_was_asked().await;

    model
        .assert_prompt(0)
        .last_user_text("What is it like in Oslo?")
        .system("You tell the weather.")
        .has_tool("forecast")
        .tools(&["forecast"])
        .contains("rain")
        .lacks("snow")
        .n_messages(3)
        .reads(&[
            "user: What is it like in Oslo?",
            "assistant: calls forecast {\"city\":\"Oslo\"}",
            "tool: forecast gives rain",
        ])
        .setting("temperature", &json!(0));
    model.assert_prompt(1).messages(&[ModelMessage::user("And tomorrow?")]);
    model.assert_calls(2);
}

#[tokio::test(start_paused = true)]
async fn a_failed_check_names_the_call_and_shows_the_difference() {
    let model = model_that_was_asked().await;
    let first = || model.assert_prompt(0);

    insta::assert_snapshot!(panic_of(|| drop(first().last_user_text("What is it like in Bergen?"))), @r#"model call 0 asked "What is it like in Oslo?": the newest user message differs: What is it like in [-Bergen?-]{+Oslo?+}"#);
    insta::assert_snapshot!(panic_of(|| drop(first().has_tool("search"))), @r#"model call 0 asked "What is it like in Oslo?": tool `search` is not offered; on offer: ["forecast"]"#);
    insta::assert_snapshot!(panic_of(|| drop(first().contains("snow"))), @r#"
    model call 0 asked "What is it like in Oslo?": "snow" is nowhere in the prompt:
      system: You tell the weather.
      user: What is it like in Oslo?
      assistant: calls forecast {"city":"Oslo"}
      tool: forecast gives rain
    "#);
    insta::assert_snapshot!(panic_of(|| drop(first().lacks("rain"))), @r#"model call 0 asked "What is it like in Oslo?": "rain" is in the prompt: tool: forecast gives rain"#);
    insta::assert_snapshot!(panic_of(|| drop(first().n_messages(1))), @r#"
    model call 0 asked "What is it like in Oslo?": wanted 1 message, there are 3:
      system: You tell the weather.
      user: What is it like in Oslo?
      assistant: calls forecast {"city":"Oslo"}
      tool: forecast gives rain
    "#);
    insta::assert_snapshot!(panic_of(|| drop(first().setting("temperature", &json!(1)))), @r#"model call 0 asked "What is it like in Oslo?": setting `temperature` differs: wanted 1, there is 0"#);
    insta::assert_snapshot!(panic_of(|| drop(first().reads(&["user: What is it like in Oslo?"]))), @r#"model call 0 asked "What is it like in Oslo?": message 1 differs: {+assistant: calls forecast {"city":"Oslo"}+}"#);
    let wanted = [ModelMessage::user("And yesterday?"), ModelMessage::user("x")];
    insta::assert_snapshot!(panic_of(|| drop(model.assert_prompt(1).messages(&wanted))), @r#"model call 1 (chat chat-1, run 0, attempt 2, turn 0, step 0) asked "And tomorrow?": message 0 differs: user: And [-yesterday?-]{+tomorrow?+}"#);
    insta::assert_snapshot!(panic_of(|| model.assert_calls(1)), @r#"
    wanted 1 model call, there were 2:
      model call 0 asked "What is it like in Oslo?"
      model call 1 (chat chat-1, run 0, attempt 2, turn 0, step 0) asked "And tomorrow?"
    "#);
    insta::assert_snapshot!(panic_of(|| drop(model.assert_prompt(7))), @"there is no model call 7; there were 2");
}

#[tokio::test(start_paused = true)]
async fn an_unexpected_call_names_the_nearest_step_and_shows_the_difference() {
    let model = MockLanguageModel::new()
        .step_when(When::new().user("tell me about dogs").system("kind"), [say("a")])
        .step_when("tell me about cats", [say("meow")])
        .step_when(When::new().tool_result("forecast"), [say("rain")]);

    answer(&model, ask_from("chat-1", "run_1", 1, "please tell me about bats")).await.unwrap_err();

    insta::assert_snapshot!(panic_of(|| model.assert_used_up()), @r#"
    the agent and the script disagree
    the script has no step for model call 0 (chat chat-1, run 0, attempt 1, turn 0, step 0) asked "please tell me about bats"
      nearest is step 1, which wants user "tell me about cats"
        the newest user message: {+please +}tell me about [-cats-]{+bats+}
      step 0 wants user "tell me about dogs", system "kind"
      step 2 wants tool_result "forecast"
    step 0 of 3 still waits for a call: it wants user "tell me about dogs", system "kind" and plays [{"say":"a"}]
      nearest came model call 0 (chat chat-1, run 0, attempt 1, turn 0, step 0) asked "please tell me about bats"
        the newest user message: {+please +}tell me about [-dogs-]{+bats+}
        the system prompt: wanted "kind", there is none
    step 1 of 3 still waits for a call: it wants user "tell me about cats" and plays [{"say":"meow"}]
      nearest came model call 0 (chat chat-1, run 0, attempt 1, turn 0, step 0) asked "please tell me about bats"
        the newest user message: {+please +}tell me about [-cats-]{+bats+}
    step 2 of 3 still waits for a call: it wants tool_result "forecast" and plays [{"say":"rain"}]
      nearest came model call 0 (chat chat-1, run 0, attempt 1, turn 0, step 0) asked "please tell me about bats"
        the tool whose result is newest: wanted "forecast", there is none
    "#);
    assert_eq!(model.complaints().len(), 1);
    insta::assert_snapshot!(model.complaints()[0], @r#"the script has no step for model call 0 (chat chat-1, run 0, attempt 1, turn 0, step 0) asked "please tell me about bats"; nearest is step 1, which wants user "tell me about cats"; the newest user message: {+please +}tell me about [-cats-]{+bats+}; step 0 wants user "tell me about dogs", system "kind"; step 2 wants tool_result "forecast""#);
}

#[tokio::test(start_paused = true)]
async fn an_empty_or_used_up_script_says_so() {
    let model = MockLanguageModel::new();
    insta::assert_snapshot!(answer(&model, ask("hi")).await.unwrap_err(), @r#"the script has no step for model call 0 asked "hi"; it is empty"#);

    let model = MockLanguageModel::new().step([say("a")]);
    text(&model, ask("1")).await;
    insta::assert_snapshot!(answer(&model, ask("2")).await.unwrap_err(), @r#"the script has no step for model call 1 asked "2"; its one step is used up"#);
}

#[tokio::test(start_paused = true)]
async fn a_step_left_over_names_the_call_that_came_nearest() {
    let model = MockLanguageModel::new()
        .step([say("a")])
        .script([ScriptStep::new([say("meow")]).when("the cat sat").times(2)])
        .step_with(|_: &ModelCall| [say("x")]);
    insta::assert_snapshot!(panic_of(|| model.assert_used_up()), @r#"
    the agent and the script disagree
    step 0 of 3 still waits for a call: it wants any call and plays [{"say":"a"}]
      the model was never called
    step 1 of 3 still waits for 2 more calls: it wants user "the cat sat" and plays [{"say":"meow"}]
      the model was never called
    step 2 of 3 still waits for a call: it wants any call and plays what a function says
      the model was never called
    "#);

    text(&model, ask("the hat sat")).await;

    insta::assert_snapshot!(panic_of(|| model.assert_used_up()), @r#"
    the agent and the script disagree
    step 1 of 3 still waits for 2 more calls: it wants user "the cat sat" and plays [{"say":"meow"}]
      nearest came model call 0 asked "the hat sat"
        the newest user message: the [-cat-]{+hat+} sat
    step 2 of 3 still waits for a call: it wants any call and plays what a function says
      the model had 1 call
    "#);
}
