//! Takes the newest exchange back when it is asked to: an action edits the history, and the next answer knows nothing of what was
//! taken back (A-159 … A-162).

use serde_json::{Value, json};
use turnkeep_agent::{Action, ActionAnswer, Agent, HookError, TurnInput};

/// Makes the agent.
pub fn agent() -> Agent {
    with_undo(Agent::new("undoing", |turn: TurnInput| async move { Ok(turn.stream_text()) }))
}

/// Teaches an agent to take the newest exchange back.
pub(crate) fn with_undo(agent: Agent) -> Agent {
    agent.action_schema(known).on_action(|event: Action| async move {
        let history = event.chat.history();
        let last_question = history.all().iter().rposition(|message| message.is_user());
        history.slice(0, Some(last_question.unwrap_or_default()));
        Ok(ActionAnswer::Nothing)
    })
}

/// Lets `{"type": "undo"}` pass and nothing else.
fn known(action: Value) -> Result<Value, HookError> {
    if action == json!({ "type": "undo" }) { Ok(action) } else { Err(format!("no such action: {action}").into()) }
}

#[cfg(test)]
mod tests {
    use turnkeep_harness::MockChatAgent;
    use turnkeep_harness::model::{MockLanguageModel, say};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_model_knows_nothing_of_what_was_taken_back_a162() {
        // C-246: an undo is an action, and what it leaves is the path that a page loads.
        let model = MockLanguageModel::new().step([say("One.")]).step([say("Two.")]).step([say("Three.")]);
        let mut chat = MockChatAgent::start(agent(), &model).await;
        chat.send("One?").await;
        chat.send("Two?").await;

        chat.send_action(json!({ "type": "undo" })).await.assert_text("");
        chat.send("Three?").await;

        let handed: Vec<_> = model.prompts().iter().map(|prompt| prompt.messages.len()).collect();
        assert_eq!(handed, [1, 3, 3]);
        let snapshot = chat.get_snapshot().await.unwrap();
        let texts: Vec<_> = snapshot.messages.iter().map(|message| message.text()).collect();
        assert_eq!(texts, ["One?", "One.", "Three?", "Three."]);
        chat.finish().await;
    }

    #[tokio::test(start_paused = true)]
    async fn an_action_that_it_does_not_know_changes_nothing_aa23() {
        let model = MockLanguageModel::new().step([say("One.")]);
        let mut chat = MockChatAgent::start(agent(), &model).await;
        chat.send("One?").await;

        let refused = chat.send_action(json!({ "type": "forget" })).await;

        assert!(refused.error().is_some());
        let texts: Vec<_> = chat.get_snapshot().await.unwrap().messages.iter().map(|message| message.text()).collect();
        assert_eq!(texts, ["One?", "One."]);
        chat.finish().await;
    }
}
