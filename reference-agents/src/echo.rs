//! Says what it is told, word by word. It brings its own model, a function of the prompt; `conformance-agents.md` has its row.

use std::sync::Arc;
use std::time::Duration;

use turnkeep_agent::{Agent, TurnInput};

use crate::conformance::{Scripted, newest_question};

/// The pause before each word.
const PACE: Duration = Duration::from_millis(20);

/// Makes the agent.
pub fn agent() -> Agent {
    Agent::new("echo", |turn: TurnInput| async move { Ok(turn.stream_text().model(Arc::new(parrot()))) })
}

/// Gives a model that repeats the newest user message.
pub(crate) fn parrot() -> Scripted {
    Scripted::saying(|prompt| format!("echo: {}", newest_question(prompt))).pace(PACE)
}

#[cfg(test)]
mod tests {
    use turnkeep_harness::MockChatAgent;
    use turnkeep_harness::model::MockLanguageModel;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn repeats_what_it_is_told_word_by_word() {
        let mut chat = MockChatAgent::start(agent(), &MockLanguageModel::new()).await;

        let turn = chat.send("hello there").await;

        assert_eq!(turn.text(), "echo: hello there");
        assert_eq!(turn.deltas(), ["echo:", " hello", " there"]);
        chat.finish().await;
    }
}
