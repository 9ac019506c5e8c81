//! Looks up the forecast before it answers: two steps with a tool between them.

use serde_json::{Value, json};
use turnkeep_agent::{Agent, Tool, ToolContext, TurnInput, step_count_is};

/// The most steps of one answer: a model that keeps asking is stopped here.
pub(crate) const MAX_STEPS: usize = 5;

/// Makes the agent.
pub fn agent() -> Agent {
    called("weather")
}

/// Makes it under another id, for agents that add to it.
pub(crate) fn called(id: &str) -> Agent {
    Agent::new(id, |turn: TurnInput| async move {
        Ok(turn.stream_text().system("You tell the weather.").stop_when(step_count_is(MAX_STEPS)))
    })
    .tools([forecast()])
}

pub(crate) fn forecast() -> Tool {
    let schema = json!({
        "type": "object",
        "properties": { "city": { "type": "string" } },
        "required": ["city"],
    });
    Tool::new(
        "forecast",
        "Looks up today's forecast for a city.",
        schema,
        |input: Value, _ctx: ToolContext| async move {
            match input["city"].as_str() {
                Some("Oslo") => Ok(json!({ "sky": "rain", "celsius": 4 })),
                Some(city) => Err(format!("no forecast for {city}").into()),
                None => Err("the city is missing".into()),
            }
        },
    )
}

#[cfg(test)]
mod tests {
    use turnkeep_harness::MockChatAgent;
    use turnkeep_harness::model::{MockLanguageModel, call, say};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn looks_up_the_forecast_before_answering() {
        let model = MockLanguageModel::new()
            .step([call("forecast", json!({ "city": "Oslo" }))])
            .step([say("Rain, "), say("4 degrees.")]);
        let mut chat = MockChatAgent::start(agent(), &model).await;

        let turn = chat.send("What is it like in Oslo?").await;

        assert_eq!(turn.text(), "Rain, 4 degrees.");
        assert_eq!(turn.tools(), ["forecast"]);
        chat.finish().await; // Fails if the script has steps left.
    }

    #[tokio::test(start_paused = true)]
    async fn tells_the_model_when_there_is_no_forecast() {
        let model = MockLanguageModel::new()
            .step([call("forecast", json!({ "city": "Atlantis" }))])
            .step([say("I cannot tell.")]);
        let mut chat = MockChatAgent::start(agent(), &model).await;

        let turn = chat.send("And in Atlantis?").await;

        assert_eq!(turn.text(), "I cannot tell.");
        let told = format!("{:?}", model.prompts()[1].messages.last());
        assert!(told.contains("no forecast for Atlantis"), "{told}");
        chat.finish().await;
    }
}
