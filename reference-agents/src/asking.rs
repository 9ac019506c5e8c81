//! Asks back: the tool is answered by the person's page, so the turn ends with the open call and her answer begins the next, which
//! goes on with the same message.

use serde_json::json;
use turnkeep_agent::{Agent, Tool, TurnInput, step_count_is};

/// The most steps of one answer.
const MAX_STEPS: usize = 5;

/// Makes the agent.
pub fn agent() -> Agent {
    Agent::new("asking", |turn: TurnInput| async move { Ok(turn.stream_text().stop_when(step_count_is(MAX_STEPS))) })
        .tools([choose()])
}

fn choose() -> Tool {
    let schema = json!({
        "type": "object",
        "properties": { "question": { "type": "string" }, "options": { "type": "array", "items": { "type": "string" } } },
        "required": ["question", "options"],
    });
    Tool::answered_by_client("choose", "Lets the person choose one of several options.", schema)
}

#[cfg(test)]
mod tests {
    use turnkeep_harness::MockChatAgent;
    use turnkeep_harness::model::{MockLanguageModel, When, call, say, speak};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn goes_on_in_the_same_message_with_what_she_chose_a201_a205() {
        let options = json!({ "question": "Which one?", "options": ["red", "blue"] });
        let model = MockLanguageModel::new()
            .step([say("Well. "), call("choose", options)])
            .step_when(When::new().tool_result("choose"), [speak("Blue it is.")]);
        let mut chat = MockChatAgent::start(agent(), &model).await;
        chat.send("Paint it").await;

        chat.send_tool_output("choose", json!("blue")).await;

        let texts: Vec<_> = chat.messages().iter().map(|message| message.text()).collect();
        assert_eq!(texts, ["Paint it", "Well. Blue it is."]);
        chat.finish().await;
    }
}
