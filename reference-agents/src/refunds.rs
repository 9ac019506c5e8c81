//! Pays money back, but only when a person agrees: the turn ends with the request, and her answer goes on with the same message
//!

use serde_json::{Value, json};
use turnkeep_agent::{Agent, Tool, ToolContext, TurnInput, step_count_is};

/// The most steps of one answer.
const MAX_STEPS: usize = 5;

/// Makes the agent.
pub fn agent() -> Agent {
    Agent::new("refunds", |turn: TurnInput| async move {
        Ok(turn.stream_text().system("You look after refunds.").stop_when(step_count_is(MAX_STEPS)))
    })
    .tools([refund()])
}

fn refund() -> Tool {
    let schema = json!({
        "type": "object",
        "properties": { "order": { "type": "string" }, "euros": { "type": "integer" } },
        "required": ["order", "euros"],
    });
    Tool::new("refund", "Pays an order back.", schema, |input: Value, ctx: ToolContext| async move {
        // A worker may die behind this line and the call run again; under one id it is paid once.
        let payment = format!("{}/{}", input["order"].as_str().unwrap_or_default(), ctx.tool_call_id);
        Ok(json!({ "payment": payment, "euros": input["euros"] }))
    })
    .needs_approval()
}

#[cfg(test)]
mod tests {
    use turnkeep_harness::MockChatAgent;
    use turnkeep_harness::model::{MockLanguageModel, When, call, say};

    use super::*;

    fn model() -> MockLanguageModel {
        MockLanguageModel::new()
            .step_when(When::new().turn(0), [call("refund", json!({ "order": "A1", "euros": 20 }))])
            .step_when(When::new().turn(1), [say("So be it.")])
    }

    #[tokio::test(start_paused = true)]
    async fn pays_when_she_agrees_and_not_before_a117_a135() {
        let model = model();
        let mut chat = MockChatAgent::start(agent(), &model).await;
        let asked = chat.send("Pay order A1 back").await;

        assert!(asked.chunks().iter().all(|chunk| chunk.kind() != "tool-output-available"));
        chat.send_tool_approval(true, None).await.assert_text("So be it.");

        let call = chat.messages()[1].tool_parts().next().cloned().unwrap();
        assert_eq!(call.output, Some(json!({ "payment": "A1/call-1", "euros": 20 })));
        chat.finish().await;
    }

    #[tokio::test(start_paused = true)]
    async fn pays_nothing_when_she_does_not_a134() {
        let model = model();
        let mut chat = MockChatAgent::start(agent(), &model).await;
        chat.send("Pay order A1 back").await;

        chat.send_tool_approval(false, Some("wrong order")).await.assert_text("So be it.");

        let call = chat.messages()[1].tool_parts().next().cloned().unwrap();
        assert_eq!((call.state.as_str(), call.output), ("output-denied", None));
        let told = format!("{:?}", model.prompts()[1].messages.last());
        assert!(told.contains("wrong order"), "{told}");
        chat.finish().await;
    }
}
