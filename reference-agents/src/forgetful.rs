//! Remembers the gist: a chat that has grown is summed up, and from then on the model reads the summary where people still see every
//! word.

use turnkeep_agent::{Agent, Compaction, CompactionCheck, TurnInput};

/// How many messages the model reads at most before they are summed up.
const MAX_MESSAGES: usize = 3;

/// Makes the agent.
pub fn agent() -> Agent {
    Agent::new("forgetful", |turn: TurnInput| async move { Ok(turn.stream_text()) }).compaction(Compaction::new(
        |event: CompactionCheck| async move { Ok(event.messages.len() > MAX_MESSAGES) },
        // An author would ask a model; what is said of the chat here is short and true.
        |event: CompactionCheck| async move { Ok(format!("{} messages were exchanged.", event.messages.len())) },
    ))
}

#[cfg(test)]
mod tests {
    use turnkeep_harness::MockChatAgent;
    use turnkeep_harness::model::{MockLanguageModel, say};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_model_reads_the_summary_and_people_every_word_a172_a173() {
        let model = MockLanguageModel::new().step([say("One.")]).step([say("Two.")]).step([say("Three.")]);
        let mut chat = MockChatAgent::start(agent(), &model).await;
        for text in ["One?", "Two?", "Three?"] {
            chat.send(text).await;
        }

        let newest = format!("{:?}", model.prompts()[2].messages);
        assert!(newest.contains("4 messages were exchanged") && !newest.contains("Two."), "{newest}");
        assert_eq!(chat.get_snapshot().await.unwrap().messages.len(), 6);
        chat.finish().await;
    }
}
