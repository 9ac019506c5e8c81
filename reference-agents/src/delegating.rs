//! An editor that asks a researcher: two agents, each with chats of its own.

use turnkeep_agent::client::AgentChat;
use turnkeep_agent::host::http::BaseUrl;
use turnkeep_agent::protocol::TaskId;
use turnkeep_agent::schemars::JsonSchema;
use turnkeep_agent::serde::Deserialize;
use turnkeep_agent::{Agent, AskAgent, Tool, ToolContext, TurnInput, last_text, step_count_is};

/// The most steps of one answer.
const MAX_STEPS: usize = 5;

/// The researcher's id.
const RESEARCHER: &str = "researcher";

/// Where the session server is, and the key that talks to it.
#[derive(Clone, Debug)]
pub struct Sessions {
    /// The server's address.
    pub base: BaseUrl,
    /// The environment's secret key.
    pub secret_key: String,
}

#[derive(Deserialize, JsonSchema)]
#[serde(crate = "turnkeep_agent::serde")]
#[schemars(crate = "turnkeep_agent::schemars")]
struct Question {
    /// What is to be found out, in one sentence.
    question: String,
}

/// Makes the agent that people talk to.
pub fn editor(sessions: Sessions) -> Agent {
    Agent::new("editor", |turn: TurnInput| async move {
        Ok(turn.stream_text().system("You write short articles.").stop_when(step_count_is(MAX_STEPS)))
    })
    .tools([research(sessions)])
}

/// Makes the agent that it asks.
pub fn researcher() -> Agent {
    Agent::new(RESEARCHER, |turn: TurnInput| async move { Ok(turn.stream_text().system("You find things out.")) })
}

fn research(sessions: Sessions) -> Tool {
    Tool::streaming("research", "Finds something out.", move |input: Question, ctx: ToolContext| {
        let Sessions { base, secret_key } = sessions.clone();
        // The same call asks in the same chat, also when another worker repeats it.
        let chat_id = format!("{}/{}", ctx.chat.id(), ctx.tool_call_id);
        let chat = AgentChat::builder(ctx.chat.host().clone(), base, secret_key, TaskId::new(RESEARCHER), chat_id);
        AskAgent::new(chat.build(), input.question).end_run().answer(&ctx)
    })
    .to_model_output(last_text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use turnkeep_harness::model::{MockLanguageModel, call, say};
    use turnkeep_harness::{MOCK_SECRET_KEY, MOCK_SESSION_URL, MockChat};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_editor_writes_what_the_researcher_has_found_out_a219() {
        let base = MOCK_SESSION_URL.parse().unwrap();
        let sessions = Sessions { base, secret_key: MOCK_SECRET_KEY.to_owned() };
        let model = MockLanguageModel::new()
            .step([call("research", json!({ "question": "What do otters hold?" }))])
            .step([say("Otters hold "), say("hands.")])
            .step([say("An article on hands.")]);
        let mut chat = MockChat::cast([editor(sessions), researcher()], "editor").start(&model).await;

        let turn = chat.send("Write of otters").await;

        assert_eq!(turn.text(), "An article on hands.");
        let asked = &model.prompts()[1];
        assert_eq!(asked.system.as_deref(), Some("You find things out."));
        assert_eq!(asked.messages.last().unwrap().text(), "What do otters hold?");
        let told = format!("{:?}", model.prompts()[2].messages.last());
        assert!(told.contains("Otters hold hands."), "{told}");
        chat.finish().await;
    }
}
