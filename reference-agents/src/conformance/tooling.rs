//! Agents that call tools: `tool` runs one, `hitl` leaves one to the person's page, `approval` asks before it runs one.

use serde_json::{Value, json};
use turnkeep_agent::model::{Prompt, StreamPart};
use turnkeep_agent::protocol::ToolResultOutput;
use turnkeep_agent::{Agent, Tool, ToolContext, TurnInput, step_count_is};

use super::scripted::{Scripted, newest_question, newest_result, words};

/// The most steps of one answer.
const MAX_STEPS: usize = 5;

/// Makes an agent with one tool, whose model says something about the newest result, or else calls the tool.
fn with_tool(
    id: &str,
    tool: Tool,
    input: impl Fn(&Prompt) -> Value + Send + Sync + 'static,
    say: impl Fn(&ToolResultOutput) -> String + Send + Sync + 'static,
) -> Agent {
    let name = tool.name().to_owned();
    let model = std::sync::Arc::new(Scripted::new(move |prompt| match newest_result(prompt) {
        Some(result) => words(&say(&result)),
        // Every question of a chat has a call of its own.
        None => vec![StreamPart::tool_call(format!("call-{}", prompt.messages.len()), name.clone(), input(prompt))],
    }));
    Agent::new(id, move |turn: TurnInput| {
        let model = model.clone();
        async move { Ok(turn.stream_text().model(model).stop_when(step_count_is(MAX_STEPS))) }
    })
    .tools([tool])
}

/// Gives a field of a result, or nothing.
fn field(result: &ToolResultOutput, name: &str) -> String {
    match result {
        ToolResultOutput::Json(value) => value[name].as_str().map_or_else(|| value[name].to_string(), str::to_owned),
        _ => String::new(),
    }
}

pub(super) fn tool() -> Agent {
    let schema = json!({ "type": "object", "properties": { "city": { "type": "string" } }, "required": ["city"] });
    let weather =
        Tool::new("getWeather", "Tells the weather of a city.", schema, |input: Value, _: ToolContext| async move {
            Ok(json!({ "city": input["city"], "celsius": 21 }))
        });
    let input = |prompt: &Prompt| json!({ "city": city(&newest_question(prompt)) });
    with_tool("tool", weather, input, |result| {
        format!("It is {}C in {}", field(result, "celsius"), field(result, "city"))
    })
}

/// Gives the word after `in `, else Paris.
fn city(text: &str) -> String {
    let mut places = text.split_whitespace().skip_while(|word| *word != "in").skip(1);
    let word: String =
        places.next().unwrap_or_default().chars().take_while(|letter| letter.is_alphanumeric()).collect();
    if word.is_empty() { "Paris".to_owned() } else { word }
}

pub(super) fn hitl() -> Agent {
    let schema =
        json!({ "type": "object", "properties": { "question": { "type": "string" } }, "required": ["question"] });
    let ask = Tool::answered_by_client("askUser", "Asks the person.", schema);
    let input = |_: &Prompt| json!({ "question": "what color?" });
    with_tool("hitl", ask, input, |answer| format!("you said: {}", field(answer, "color")))
}

pub(super) fn approval() -> Agent {
    let schema =
        json!({ "type": "object", "properties": { "resource": { "type": "string" } }, "required": ["resource"] });
    let delete =
        Tool::new("deleteResource", "Deletes a resource.", schema, |input: Value, _: ToolContext| async move {
            Ok(json!({ "deleted": input["resource"] }))
        })
        .needs_approval();
    let input = |_: &Prompt| json!({ "resource": "widget-1" });
    with_tool("approval", delete, input, |result| match result {
        ToolResultOutput::Json(_) => "deleted widget-1".to_owned(),
        _ => "kept widget-1".to_owned(),
    })
}
