//! Looks up the forecast while people may still add to their question: what they say between its steps joins the answer.

use turnkeep_agent::{Agent, PendingMessages};

/// Makes the agent.
pub fn agent() -> Agent {
    crate::weather::called("steered").pending_messages(PendingMessages::new().should_inject(|_| async { Ok(true) }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use turnkeep_harness::MockChatAgent;
    use turnkeep_harness::model::{MockLanguageModel, call, say};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn answers_like_any_other_when_nobody_steers_it() {
        let model = MockLanguageModel::new()
            .step([call("forecast", json!({ "city": "Oslo" }))])
            .step([say("Rain, 4 degrees.")]);
        let mut chat = MockChatAgent::start(agent(), &model).await;

        let turn = chat.send("What is it like in Oslo?").await;

        assert_eq!(turn.text(), "Rain, 4 degrees.");
        chat.finish().await;
    }
}
