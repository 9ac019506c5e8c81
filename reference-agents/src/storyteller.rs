//! Tells stories, slowly: one model call a turn, nothing else. What a first agent looks like.

use turnkeep_agent::{Agent, TurnInput};

/// Makes the agent.
pub fn agent() -> Agent {
    Agent::new("storyteller", |turn: TurnInput| async move {
        Ok(turn.stream_text().system("You tell stories to children. Take your time."))
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use turnkeep_harness::MockChatAgent;
    use turnkeep_harness::model::{MockLanguageModel, say};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn remembers_the_story_so_far() {
        let model = MockLanguageModel::new()
            .pace(Duration::from_secs(30))
            .step([say("There was "), say("a fox.")])
            .step([say("It was red.")]);
        let mut chat = MockChatAgent::start(agent(), &model).await;

        let first = chat.send("Tell me a story").await;
        let second = chat.send("What colour was it?").await;

        assert_eq!(first.text(), "There was a fox.");
        assert_eq!(second.text(), "It was red.");
        let texts: Vec<String> = model.prompts()[1].messages.iter().map(|message| message.text()).collect();
        assert_eq!(texts, ["Tell me a story", "There was a fox.", "What colour was it?"]);
        chat.finish().await;
    }
}
