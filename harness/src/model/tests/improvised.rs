use serde_json::{Value, json};
use turnkeep_model::{FinishReason, ModelError, Prompt, ToolSpec, Usage};
use turnkeep_protocol::{ContentPart, ModelMessage, ToolResultOutput};

use super::support::*;
use crate::model::*;

fn tool(name: &str, input_schema: Value) -> ToolSpec {
    ToolSpec { name: name.to_owned(), description: None, input_schema }
}

fn with_tools(prompt: Prompt) -> Prompt {
    let city = json!({ "type": "object", "properties": { "city": { "enum": ["Oslo"] } }, "required": ["city"] });
    Prompt { tools: vec![tool("forecast", city), tool("clock", json!({ "type": "object" }))], ..prompt }
}

/// Adds what the tools gave.
fn answered(mut prompt: Prompt, whole: &WholeAnswer, output: &str) -> Prompt {
    let calls = &whole.tool_calls;
    let call = |call: &turnkeep_model::ToolCall| {
        ContentPart::tool_call(&call.tool_call_id, &call.tool_name, call.input.clone())
    };
    let result = |call: &turnkeep_model::ToolCall| {
        let output = ToolResultOutput::Text(output.to_owned());
        ContentPart::tool_result(&call.tool_call_id, &call.tool_name, output)
    };
    prompt.messages.push(ModelMessage::assistant(calls.iter().map(call).collect()));
    prompt.messages.push(ModelMessage::tool(calls.iter().map(result).collect()));
    prompt.step += 1;
    prompt
}

#[tokio::test(start_paused = true)]
async fn every_tool_is_called_once_with_an_input_that_fits_its_schema() {
    let model = MockLanguageModel::new().call_every_tool(ToolCaller::new(7).input("clock", json!({ "zone": "UTC" })));
    let prompt = with_tools(ask("hi"));

    let first = model.generate(prompt.clone()).await.unwrap();
    let second = model.generate(answered(prompt, &first, "done")).await.unwrap();

    let called: Vec<(&str, &Value)> =
        first.tool_calls.iter().map(|call| (call.tool_name.as_str(), &call.input)).collect();
    assert_eq!(called, [("forecast", &json!({ "city": "Oslo" })), ("clock", &json!({ "zone": "UTC" }))]);
    assert_eq!(first.finish_reason, Some(FinishReason::ToolCalls));
    assert_eq!(second.text, r#"{"forecast":"done","clock":"done"}"#);
    assert!(second.tool_calls.is_empty());
    model.assert_used_up();
}

#[tokio::test(start_paused = true)]
async fn tools_may_be_called_one_by_one_and_again_in_the_next_turn() {
    let model = MockLanguageModel::new().call_every_tool(ToolCaller::new(7).one_by_one());
    let mut prompt = with_tools(ask("hi"));

    let mut called = Vec::new();
    for _ in 0..3 {
        let whole = model.generate(prompt.clone()).await.unwrap();
        called.push(whole.tool_calls.iter().map(|call| call.tool_name.clone()).collect::<Vec<_>>());
        prompt = answered(prompt, &whole, "done");
    }
    prompt.messages.push(ModelMessage::user("again"));

    assert_eq!(called, [vec!["forecast"], vec!["clock"], vec![]]);
    assert_eq!(model.generate(prompt).await.unwrap().tool_calls[0].tool_name, "forecast");
}

#[tokio::test(start_paused = true)]
async fn an_input_that_cannot_be_made_up_fails_the_test_and_says_what_to_do() {
    let model = MockLanguageModel::new().call_every_tool(ToolCaller::new(7));
    let mut prompt = ask("hi");
    let zip = json!({ "properties": { "zip": { "pattern": "^[0-9]$" } }, "required": ["zip"] });
    prompt.tools = vec![tool("post", zip)];

    let refused = model.generate(prompt).await.unwrap_err();

    insta::assert_snapshot!(refused, @r#"no input can be made up for tool `post`: input.zip: no text can be made up for pattern "^[0-9]$"; give one with `ToolCaller::input`"#);
    assert_eq!(model.verdict(), Some(refused.to_string()));
}

#[tokio::test(start_paused = true)]
async fn a_random_model_says_the_same_for_the_same_seed_whoever_asks_in_between() {
    let model = |seed| MockLanguageModel::new().random(RandomModel::new(seed).fails(0.3));
    let (quiet, noisy, other) = (model(1), model(1), model(2));

    let mut answers: [Vec<Result<WholeAnswer, ModelError>>; 3] = Default::default();
    for nth in 0..20 {
        let prompt = || with_tools(ask_from("a", "run-1", 1, &format!("{nth}")));
        answers[0].push(quiet.generate(prompt()).await);
        let _ = noisy.generate(with_tools(ask_from("b", "run-2", 1, "noise"))).await;
        answers[1].push(noisy.generate(prompt()).await);
        answers[2].push(other.generate(prompt()).await);
    }

    let texts = |answers: &[Result<WholeAnswer, ModelError>]| -> Vec<String> {
        let text = |answer: &Result<WholeAnswer, ModelError>| match answer {
            Ok(whole) => {
                let calls = whole.tool_calls.iter().map(|call| format!("{}{}", call.tool_name, call.input));
                format!("{}|{}|{}", whole.reasoning, whole.text, calls.collect::<String>())
            }
            Err(error) => error.to_string(),
        };
        answers.iter().map(text).collect()
    };
    assert_eq!(texts(&answers[0]), texts(&answers[1]));
    assert_ne!(texts(&answers[0]), texts(&answers[2]));
    let whole: Vec<&WholeAnswer> = answers[0].iter().flatten().collect();
    assert!(whole.iter().any(|whole| !whole.tool_calls.is_empty()), "it calls tools");
    assert!(whole.iter().any(|whole| !whole.reasoning.is_empty()), "it thinks");
    assert!(whole.iter().any(|whole| whole.finish_reason.is_none()), "it is cut");
    assert!(answers[0].iter().any(Result::is_err), "it fails");
}

#[tokio::test(start_paused = true)]
async fn a_random_model_that_may_not_fail_never_does() {
    let model = MockLanguageModel::new().random(RandomModel::new(3).thinks(0.0).calls_tools(0.0).max_words(5));

    for nth in 0..50 {
        let whole = model.generate(with_tools(ask(&format!("{nth}")))).await.unwrap();
        assert!(whole.finish_reason == Some(FinishReason::Stop) && whole.reasoning.is_empty());
        assert!((1..=5).contains(&whole.text.split(' ').count()), "{}", whole.text);
    }
}

#[tokio::test(start_paused = true)]
async fn a_whole_answer_is_the_sum_of_its_parts() {
    let tokens = Tokens { input_tokens: 5, output_tokens: 6, ..Tokens::default() };
    let model = MockLanguageModel::new()
        .step([think("Let me see."), speak("Rain, 4 degrees."), call("t", json!({})), usage(tokens)])
        .step([say("a"), fail("boom")]);

    let whole = model.generate(ask("hi")).await.unwrap();

    assert_eq!((whole.text.as_str(), whole.reasoning.as_str()), ("Rain, 4 degrees.", "Let me see."));
    assert_eq!(whole.tool_calls.len(), 1);
    assert_eq!((whole.finish_reason, whole.usage), (Some(FinishReason::ToolCalls), Usage::new(5, 6)));
    assert_eq!(model.generate(ask("hi")).await.unwrap_err().to_string(), "boom");
}
